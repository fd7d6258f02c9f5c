"""A reward model from pairs (helpfulness), labelled responses (safety) or the steps of solutions.

    python -m experiments.reward_model --model DIRECTORY --data.train PAIRS.jsonl \\
        --data.eval-count 200
    python -m experiments.reward_model --kind pointwise --data.train LABELLED.jsonl
    python -m experiments.reward_model --kind process --data.train SOLUTIONS.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("reward_model"))
