"""A reward model from pairs (helpfulness) or labelled responses (safety) (paper v2, section 3.1).

    python -m experiments.reward_model --model DIRECTORY --data.train PAIRS.jsonl \\
        --data.eval-count 200
    python -m experiments.reward_model --kind pointwise --data.train LABELLED.jsonl
"""

from r1jax.commands import run

if __name__ == "__main__":
    raise SystemExit(run("reward_model"))
