"""Many problems searched side by side: what all of them need next is one call of the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from r1jax.search.config import SearchConfig
from r1jax.search.methods import METHODS, Grow, Method, Weigh
from r1jax.search.tree import Continuation, Node, Tree

TreeNode = tuple[Tree, Node]


@dataclass(frozen=True)
class Order:
    """Continuations of a node to be drawn; `first` is the number of the first of its tree."""

    tree: Tree
    node: Node
    count: int
    first: int


@dataclass(frozen=True)
class Oracles:
    """What a search asks; each answers for many problems at once.

    `judge` says of whole solutions whether they are right; None where nobody may know, as in an
    evaluation: then the value model judges ends, too.
    """

    draw: Callable[[Sequence[Order], bool], list[list[Continuation]]]
    weigh: Callable[[Sequence[TreeNode]], Sequence[float]]
    judge: Callable[[Sequence[TreeNode]], Sequence[bool]] | None = None


def search(
    trees: Sequence[Tree],
    method: Method,
    config: SearchConfig,
    oracles: Oracles,
    budgets: Sequence[SearchConfig] | None = None,
) -> None:
    """Searches every tree to its end; each by settings of its own where there are `budgets`.

    A tree comes out as it would alone: problems share calls, and nothing else.
    """
    settings = budgets or [config] * len(trees)
    searches = [METHODS[method](t, own) for t, own in zip(trees, settings, strict=True)]
    asked = {i: want for i, s in enumerate(searches) if (want := next(s, None)) is not None}
    while asked:
        weighed = [(trees[i], n) for i, want in asked.items() if isinstance(want, Weigh)
                   for n in want.nodes]  # fmt: skip
        _weigh(weighed, oracles)
        grown = {i: want for i, want in asked.items() if isinstance(want, Grow)}
        answers = _grow(trees, grown, oracles) if grown else {}
        following: dict[int, Grow | Weigh] = {}
        for i in asked:
            try:
                following[i] = searches[i].send(answers.get(i, []))
            except StopIteration:
                continue
        asked = following


def _weigh(places: Sequence[TreeNode], oracles: Oracles) -> None:
    if places:
        for (_, node), value in zip(places, oracles.weigh(places), strict=True):
            node.value = float(value)


def _grow(trees: Sequence[Tree], grown: dict[int, Grow], oracles: Oracles) -> dict[int, list[Node]]:
    """The nodes that were drawn, by number of the tree, each once; new ends are settled."""
    before = {i: len(trees[i].ends) for i in grown}
    steps = {i: want for i, want in grown.items() if not want.whole}
    solutions = {i: want for i, want in grown.items() if want.whole}
    found = _draw(trees, steps, False, oracles) | _draw(trees, solutions, True, oracles)
    _settle([(trees[i], end) for i in grown for end in trees[i].ends[before[i] :]], oracles)
    return found


def _draw(
    trees: Sequence[Tree], grown: dict[int, Grow], whole: bool, oracles: Oracles
) -> dict[int, list[Node]]:
    """One call for all steps, or all `whole` solutions, that are asked for."""
    orders: list[tuple[int, Order]] = []
    for i, want in grown.items():
        for node in want.nodes:
            orders.append((i, Order(trees[i], node, want.count, trees[i].drawn)))
            trees[i].drawn += want.count
    drawn = oracles.draw([order for _, order in orders], whole) if orders else []
    found: dict[int, list[Node]] = {i: [] for i in grown}
    for (i, order), continuations in zip(orders, drawn, strict=True):
        for one in continuations:
            node = trees[i].grow(order.node, one, grown[i].depth, merge=not whole)
            found[i] += [] if node in found[i] else [node]
    return found


def _settle(ends: Sequence[TreeNode], oracles: Oracles) -> None:
    """Gives ends their value, 1 or -1 by the rule or the value model's, and backs it up.

    What was cut is wrong: nobody is asked.
    """
    whole = [place for place in ends if place[1].reason == "stop"]
    for _, node in ends:
        node.value = -1.0
    if oracles.judge is None:
        _weigh(whole, oracles)
    elif whole:
        for (_, node), right in zip(whole, oracles.judge(whole), strict=True):
            node.value = 1.0 if right else -1.0
    for _, node in ends:
        node.back_up(node.value or 0.0)
