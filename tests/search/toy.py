"""Trees whose steps stand in a table, so that a search needs no model."""

from __future__ import annotations

import hashlib

from r1jax.problem import Problem
from r1jax.search.config import SearchConfig
from r1jax.search.side_by_side import Oracles, search
from r1jax.search.tree import Continuation, Tree, WrittenStep


class Table:
    """Every node has `branch` steps of one token each, down to ends `depth` steps below the root.

    The numbers of a draw go round the steps in turn, so that `branch` draws find all of them; with
    `luck` they are chosen by a hash of who asks. `right` are the ends that are so.
    """

    def __init__(self, branch=3, depth=3, right=(), luck=False):
        self.branch, self.depth, self.right, self.luck = branch, depth, set(right), luck
        self.calls = 0

    def draw(self, orders, whole):
        self.calls += 1
        return [[self._one(o, o.first + i, whole) for i in range(o.count)] for o in orders]

    def _one(self, order, number, whole):
        path = [*order.tree.tokens(order.node)]
        begin, goal = len(path), self.depth if whole else len(path) + 1
        while len(path) < goal:
            seen = f"{order.tree.problem.id} {path} {number}".encode()
            lucky = hashlib.sha256(seen).digest()[0]
            path.append((lucky if self.luck else number) % self.branch)
        steps = tuple(WrittenStep((token,), -0.1 * (token + 1)) for token in path[begin:])
        return Continuation(steps, "stop" if len(path) == self.depth else None, len(steps))

    def judge(self, places):
        return [tree.tokens(node) in self.right for tree, node in places]

    def perfect(self, places):
        """1 where a right end can still be reached, else -1."""
        below = [tree.tokens(node) for tree, node in places]
        return [1.0 if any(end[: len(p)] == p for end in self.right) else -1.0 for p in below]

    @staticmethod
    def hashed(places):
        """A number of each prefix, for no reason."""
        seen = [f"{t.problem.id} {t.tokens(n)}".encode() for t, n in places]
        return [hashlib.sha256(text).digest()[0] / 128 - 1 for text in seen]

    def searched(self, method, names=("a",), weigh=None, knows=True, **flags):
        """The trees of problems of these names after a search."""
        trees = [Tree(Problem(name, "?", "!"), (1, 2)) for name in names]
        oracles = Oracles(self.draw, weigh or self.hashed, self.judge if knows else None)
        search(trees, method, SearchConfig(**flags), oracles)
        return trees


def shape(tree):
    """All that a search has found out, in an order of its own."""
    return sorted((tree.tokens(n), n.visits, n.total, n.value, n.reason) for n in tree.root.walk())
