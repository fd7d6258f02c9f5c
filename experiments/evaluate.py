"""Judges a model: pass@1 over k samples, majority vote, pass@k, with intervals (paper, section 3).

python -m experiments.evaluate --model DIRECTORY --data.eval FILE.jsonl --out evaluation
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("evaluate"))
