"""R1-Zero on any base model and any problems (paper, section 2).

python -m experiments.zero --model DIRECTORY --data.train FILE.jsonl --data.eval TEST.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("zero"))
