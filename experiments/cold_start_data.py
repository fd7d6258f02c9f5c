"""Data for the cold start: readable chains of thought, by the paper's four routes (2.3.1).

python -m experiments.cold_start_data --preset demo --parent runs/demo/checkpoints
python -m experiments.sft --preset demo --data.train runs/cold_start_data/kept.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("cold_start_data"))
