"""Runs side by side: the flags in which they differ, and what became of each.

python -m experiments.compare --runs runs/sweep/* --by optimizer.lr
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("compare"))
