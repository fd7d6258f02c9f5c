"""Direct preference optimisation on pairs: the baseline that needs no reward model.

python -m experiments.dpo --model DIRECTORY --data.train PAIRS.jsonl --data.eval-count 200
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("dpo"))
