"""Distils a reasoning model into a dense student (paper, section 2.4).

python -m experiments.distill --preset qwen-7b --model DIRECTORY --data.train SAMPLES.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("distill"))
