"""The whole of R1 (paper, section 3): four stages, rejection sampling, distillation, one command.

python -m experiments.r1 --preset demo
python -m experiments.r1 --model DIRECTORY --data.train PROBLEMS.jsonl --data.eval TEST.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("r1"))
