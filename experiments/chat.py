"""Talks to a model in the terminal: the answer appears token by token, its thought dimmed.

python -m experiments.chat --checkpoint runs/demo/checkpoints
python -m experiments.chat --question "58-21+40=?" --temperature 0
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("chat"))
