"""The flags under `--search`: how far a problem is searched."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from r1jax.errors import UserError, check_ranges

Method = Literal["beam", "mcts", "sample"]


@dataclass(frozen=True)
class SearchConfig:
    """How a problem is searched; AlphaMath's numbers (2405.03553) are the defaults."""

    tokens: int = 1024
    """The policy's tokens for each problem: a search ends where they come nearest to this. A beam
    that is over before begins anew from the question, and sampling draws one more solution."""
    branch: int = 5
    """Steps drawn from a node; equal ones count once."""
    keep: int = 1
    """Partial solutions that a beam keeps, those that the value model likes best."""
    simulations: int = 40
    """Most leaves that MCTS visits for a problem."""
    c: float = 1.25
    """Weight of the prior in PUCT: the larger, the more MCTS explores."""
    depth: int = 8
    """Most steps of a solution; one that is not whole by then counts as wrong."""
    step_tokens: int = 256
    """Most tokens of a step (R1's limit of a node's extension); one that is longer is cut there,
    and what follows is another step."""
    solutions: int = 4
    """Most different right solutions of a problem that are learnt from, and most wrong ones."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        ones = ("tokens", "branch", "keep", "simulations", "depth", "step_tokens", "solutions")
        check_ranges(self, "--search.", c="[0,]", **dict.fromkeys(ones, "[1,]"))


READ: dict[str, tuple[Method, ...]] = {
    "branch": ("beam", "mcts"),
    "keep": ("beam",),
    "simulations": ("mcts",),
    "c": ("mcts",),
    "depth": ("beam", "mcts"),
    "step_tokens": ("beam", "mcts"),
}
"""Which methods read a flag that not all of them read."""


def check_method(config: SearchConfig, method: Method) -> None:
    """UserError for a flag that was changed and that `method` does not read."""
    usual = SearchConfig()
    for name in (f.name for f in fields(config)):
        methods, value = READ.get(name, (method,)), getattr(config, name)
        if method not in methods and value != getattr(usual, name):
            flag = f"--search.{name.replace('_', '-')}"
            raise UserError(
                f"{flag} {value}: --method {method} does not read it; "
                f"leave it out, or use --method {' or '.join(methods)}"
            )
