"""Drops training problems that evaluation problems repeat, by common 10-grams.

python -m experiments.decontaminate --train FILE --eval FILE [FILE ...] --out CLEAN.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("decontaminate"))
