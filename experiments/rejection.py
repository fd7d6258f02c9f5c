"""Rejection sampling: keeps what a checkpoint gets right and says readably (paper, 2.3.3).

python -m experiments.rejection --preset demo --parent runs/demo/checkpoints
python -m experiments.sft --preset demo --data.train runs/rejection/kept.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("rejection"))
