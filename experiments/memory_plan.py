"""What a run would need of each device's memory, before any weights are loaded.

python -m experiments.memory_plan --model QWEN2.5-7B-DIRECTORY --lora.rank 16 --device-gb 80
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("memory_plan"))
