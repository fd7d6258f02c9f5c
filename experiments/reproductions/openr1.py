"""Open-R1's GRPO recipe: an instruct model, three rewards, TRL's loss (huggingface/open-r1).

    python -m experiments.reproductions.openr1 --model QWEN2.5-1.5B-INSTRUCT-DIRECTORY \\
      --data.train FILE.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("openr1"))
