"""A checkpoint becomes numbers: pass@1 over k samples, cons@k, pass@k, with intervals."""

from r1jax.evaluate.measures import EvalConfig, Evaluation, evaluate, paired_gain

__all__ = ["EvalConfig", "Evaluation", "evaluate", "paired_gain"]
