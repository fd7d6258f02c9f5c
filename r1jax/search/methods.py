"""Beam search, Monte Carlo tree search and plain sampling over one problem's tree.

Each is a generator that asks for what it needs next, so that many problems are searched side by
side (`r1jax.search.side_by_side`): `Grow` is answered with the nodes drawn, `Weigh` with nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from r1jax.search.config import Method, SearchConfig
from r1jax.search.tree import Node, Tree, select


@dataclass(frozen=True)
class Grow:
    """Draw `count` continuations of each node: a step each, or whole solutions."""

    nodes: Sequence[Node]
    count: int
    depth: int | None  # most steps of a solution; None: whole ones, however many they have

    @property
    def whole(self) -> bool:
        """Whether whole solutions are asked for."""
        return self.depth is None


@dataclass(frozen=True)
class Weigh:
    """Have the value model say of each node how it will end."""

    nodes: Sequence[Node]


Search = Generator[Grow | Weigh, list[Node], None]


def beam(tree: Tree, config: SearchConfig) -> Search:
    """Keeps the best steps of each depth by the value model's word; ends leave the beam.

    AlphaMath's algorithm 2: of B1 partial solutions B2 steps are drawn each, the B1 best of all go
    on; where one of them is an end, the beam is narrower from then on. One that begins anew goes by
    the ends below a step, where it has been there, so that it does not fail in the same way again.
    """
    while affords(tree, config, config.branch):
        beams, width = [tree.root], config.keep
        while beams and affords(tree, config, len(beams) * config.branch):
            found = yield Grow(beams, config.branch, config.depth)
            unknown = [node for node in found if node.value is None]
            if unknown:
                yield Weigh(unknown)
            best = sorted(found, key=_promise, reverse=True)[:width]
            beams = [node for node in best if not node.closed]
            width -= len(best) - len(beams)


def mcts(tree: Tree, config: SearchConfig) -> Search:
    """Simulations: PUCT walks to a leaf, which is weighed and grown; its value is backed up."""
    for _ in range(config.simulations):
        leaf = select(tree.root, config.c)
        if leaf is None or not affords(tree, config, config.branch):
            return
        if leaf.value is None:
            yield Weigh([leaf])
        yield Grow([leaf], config.branch, config.depth)
        leaf.back_up(_value(leaf))


def sample(tree: Tree, config: SearchConfig) -> Search:
    """Whole solutions, as many as the tokens allow: the control without a search."""
    count = 1
    while affords(tree, config, 1):
        yield Grow([tree.root], count, depth=None)
        # No more than half of what seems to fit, nor than it was drawn from: that may be short.
        fitting = (config.tokens - tree.spent) * tree.drawn / tree.spent
        count = max(1, min(tree.drawn, math.floor(fitting / 2)))


def affords(tree: Tree, config: SearchConfig, count: int) -> bool:
    """Whether at least half of `count` more continuations are within the tokens, as they go.

    So that a search and its control take as many on the average, whatever they draw at a time.
    """
    each = tree.spent / tree.drawn if tree.drawn else 0.0
    return tree.spent + each * count / 2 < config.tokens


METHODS: dict[Method, Callable[[Tree, SearchConfig], Search]] = {
    "beam": beam, "mcts": mcts, "sample": sample,
}  # fmt: skip


def _value(node: Node) -> float:
    assert node.value is not None, "a node is weighed before it is compared"
    return node.value


def _promise(node: Node) -> float:
    return node.q if node.visits else _value(node)
