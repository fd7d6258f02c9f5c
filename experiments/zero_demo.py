"""R1-Zero end to end on a laptop: the embedded base learns to reason in a few minutes.

python -m experiments.zero_demo
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("zero_demo"))
