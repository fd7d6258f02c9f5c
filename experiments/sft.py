"""Supervised fine-tuning of any model on prompts with completions, or on chats (paper, 2.3.3).

python -m experiments.sft --model DIRECTORY --data.train TRACES.jsonl --data.eval-count 200
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("sft"))
