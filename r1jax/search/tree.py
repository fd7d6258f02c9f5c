"""A tree of partial solutions, a step each; the rule by which MCTS walks down it. Imports no jax.

AlphaMath (2405.03553, section 3.2 and its code): a node is a text up to a step's end. What is found
below a node is backed up as a mean, q; an end counts 1 where the answer is right and -1 where not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from r1jax.problem import FinishReason, Problem


@dataclass(frozen=True)
class WrittenStep:
    """Tokens of a step, and the mean log-probability that the policy gave them."""

    tokens: tuple[int, ...]
    logp: float
    capped: bool = False  # it was cut at the most tokens a step may have


@dataclass(frozen=True)
class Continuation:
    """What was drawn from a node: its steps, and why the solution ends behind them, if it does."""

    steps: tuple[WrittenStep, ...]
    reason: FinishReason | None  # stop: it is whole; length: it was cut; None: it may go on
    drawn: int  # tokens it took, those that were not kept included


@dataclass(eq=False)
class Node:
    """A partial solution: its parent's and one step more."""

    step: WrittenStep
    parent: Node | None = None
    reason: FinishReason | None = None
    value: float | None = None
    """From -1 to 1: what the value model says of it; of an end, where the rule knows, the rule."""
    children: list[Node] = field(default_factory=list)
    visits: int = 0
    total: float = 0.0  # of the values backed up through it
    closed: bool = False  # nothing below it is left to be visited

    @property
    def prior(self) -> float:
        """exp of its step's mean log-probability."""
        return math.exp(self.step.logp)

    @property
    def q(self) -> float:
        """Mean of what was backed up through it; 0 before."""
        return self.total / self.visits if self.visits else 0.0

    @property
    def path(self) -> list[Node]:
        """The steps of its solution, the first one first; of a root none."""
        steps, node = [], self
        while node.parent is not None:
            steps.append(node)
            node = node.parent
        return steps[::-1]

    @property
    def stops(self) -> list[int]:
        """How many tokens its solution has up to the end of each step."""
        return list(itertools.accumulate(len(node.step.tokens) for node in self.path))

    def back_up(self, value: float) -> None:
        """Counts a value here and in all nodes above."""
        node: Node | None = self
        while node is not None:
            node.visits, node.total = node.visits + 1, node.total + value
            node = node.parent

    def walk(self) -> Iterator[Node]:
        """Itself and all nodes below it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            waiting += node.children
            yield node


def make_root() -> Node:
    """A tree's first node: nothing is written yet."""
    return Node(WrittenStep((), 0.0))


@dataclass(eq=False)
class Tree:
    """What is searched for one problem, and what it has cost."""

    problem: Problem
    prompt: tuple[int, ...]
    root: Node = field(default_factory=make_root)
    ends: list[Node] = field(default_factory=list)  # in the order in which they were found
    drawn: int = 0  # continuations so far, for their random keys
    spent: int = 0  # the policy's tokens
    operations: dict[str, float] = field(default_factory=dict)  # by who computed

    def tokens(self, node: Node) -> tuple[int, ...]:
        """Of the solution up to a node, without the prompt."""
        return tuple(token for part in node.path for token in part.step.tokens)

    def grow(self, node: Node, found: Continuation, depth: int | None, merge: bool) -> Node:
        """Hangs a continuation below a node; returns its last step.

        With `merge` a step that is there already is that one. At `depth` steps (None: no limit) a
        solution ends as if it were cut.
        """
        self.spent += found.drawn
        for number, step in enumerate(found.steps, start=1):
            same = [c for c in node.children if merge and c.step.tokens == step.tokens]
            if same:
                node = same[0]
                continue
            node.children.append(Node(step, node))
            node = node.children[-1]
            if number == len(found.steps):
                too_deep = depth is not None and len(node.path) >= depth
                node.reason = found.reason or ("length" if too_deep else None)
                node.closed = node.reason is not None
                self.ends += [node] if node.closed else []
        return node

    def count(self, who: str, operations: float) -> None:
        """Adds what was computed for this problem."""
        self.operations[who] = self.operations.get(who, 0.0) + operations


def puct(node: Node, c: float) -> float:
    """q + c·P·√N(parent) / (1 + N): what is known of a node, and what it is worth to know more."""
    assert node.parent is not None
    return node.q + c * node.prior * math.sqrt(node.parent.visits) / (1 + node.visits)


def select(root: Node, c: float) -> Node | None:
    """The leaf that PUCT leads to, the first of equal ones; None where none may go on."""
    node = root
    while node.children:
        going = [child for child in node.children if not child.closed]
        if going:
            node = max(going, key=lambda child: puct(child, c))
        else:
            node.closed = True
            if node is root:
                return None
            node = root
    return None if node.closed else node
