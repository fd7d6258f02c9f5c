"""Will Brown's GSM8K demonstration: five small rewards, <reasoning> and <answer> (his gist).

    python -m experiments.reproductions.will_brown --model QWEN2.5-1.5B-INSTRUCT-DIRECTORY \\
        --data.train gsm8k_train.jsonl --data.eval gsm8k_test.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("will_brown"))
