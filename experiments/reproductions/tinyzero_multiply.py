"""TinyZero's multiplication: products of numbers of up to 3 digits (Jiayi-Pan/TinyZero).

python -m experiments.reproductions.tinyzero_multiply --model QWEN2.5-3B-DIRECTORY
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("tinyzero_multiply"))
