"""TinyZero's countdown: an equation from 3 or 4 numbers, learnt by trial (Jiayi-Pan/TinyZero).

python -m experiments.reproductions.tinyzero_countdown --model QWEN2.5-3B-DIRECTORY
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("tinyzero_countdown"))
