"""A coin of a completion's text, as the random reward once was: equal texts of a group share it."""

from __future__ import annotations

import hashlib

from r1jax.problem import Completion, Problem
from r1jax.rewards import per_completion


@per_completion
def of_text(problem: Problem, completion: Completion) -> float:
    """0.0 or 1.0 with equal chance, fixed by problem and text: what many write is silent."""
    key = f"{problem.id}\0{completion.text}".encode("utf-8", "surrogatepass")
    return float(hashlib.sha256(key).digest()[0] & 1)
