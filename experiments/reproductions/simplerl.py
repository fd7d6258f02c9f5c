"""SimpleRL-reason: 8,000 MATH problems, a rule for a reward, a base model (2503.18892).

    python -m experiments.reproductions.simplerl --model QWEN2.5-7B-DIRECTORY \\
      --data.train MATH_3_TO_5.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("simplerl"))
