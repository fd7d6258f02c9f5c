"""R1-Zero on GSM8K with low-rank factors: a 7B model on one 80 GB device.

    python -m experiments.reproductions.gsm8k_lora --model QWEN2.5-7B-DIRECTORY \
      --data.train gsm8k_train.jsonl --data.eval gsm8k_test.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("gsm8k_lora"))
