"""Rounds of search over steps and learning from what was found (paper v2, G.2).

python -m experiments.search --method beam
python -m experiments.search --preset demo --method mcts --rounds 3
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("search"))
