"""PUCT by hand, and what holds of every tree that was searched."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import Table

from r1jax.problem import Problem
from r1jax.search.tree import Continuation, Node, Tree, WrittenStep, make_root, puct, select


def child(root, prior, visits=0, total=0.0):
    root.children.append(Node(WrittenStep((len(root.children),), math.log(prior)), root))
    root.children[-1].visits, root.children[-1].total = visits, total
    return root.children[-1]


def test_puct_by_hand():
    root = make_root()
    root.visits = 9
    often, once, never = child(root, 0.5, 4, 2.0), child(root, 0.2, 1, -0.5), child(root, 0.2)
    # q + c·P·√9 / (1 + N)
    assert puct(often, 1.25) == pytest.approx(0.5 + 1.25 * 0.5 * 3 / 5)  # 0.875
    assert puct(once, 1.25) == pytest.approx(-0.5 + 1.25 * 0.2 * 3 / 2)  # -0.125
    assert puct(never, 1.25) == pytest.approx(1.25 * 0.2 * 3)  # 0.75
    assert select(root, 1.25) is often
    assert select(root, 30.0) is never  # 0.5 + 9 < 18
    often.closed = True
    assert select(root, 1.25) is never
    never.closed = once.closed = True
    assert select(root, 1.25) is None and root.closed


def test_a_value_is_backed_up_to_the_root_as_a_mean():
    root = make_root()
    inner = child(root, 0.5)
    leaf = child(inner, 0.5)
    for value in (1.0, -1.0, 1.0, 1.0):
        leaf.back_up(value)
    inner.back_up(0.0)
    assert (leaf.visits, leaf.q) == (4, 0.5)
    assert (inner.visits, inner.q) == (5, 0.4) and root.q == 0.4
    assert make_root().q == 0.0 and leaf.path == [inner, leaf]


def test_equal_steps_are_one_node_and_what_is_too_deep_is_cut():
    tree = Tree(Problem("a", "?", "!"), (1,))
    one = Continuation((WrittenStep((5, 6), -0.5),), None, 3)
    first, again = (tree.grow(tree.root, one, 2, merge=True) for _ in range(2))
    assert first is again and len(tree.root.children) == 1 and tree.spent == 6
    second = tree.grow(first, one, 2, merge=True)
    assert tree.tokens(second) == (5, 6, 5, 6) and second.reason == "length"
    assert tree.ends == [second] and first.reason is None
    chain = Continuation((WrittenStep((5, 6), -0.5), WrittenStep((7,), -0.5)), "stop", 3)
    ends = [tree.grow(tree.root, chain, None, merge=False) for _ in range(2)]
    assert ends[0] is not ends[1] and tree.ends[1:] == ends and len(tree.root.children) == 3


@settings(max_examples=60)
@given(
    st.sampled_from(["beam", "mcts", "sample"]), st.integers(1, 4), st.integers(1, 4),
    st.integers(1, 40), st.integers(1, 3), st.booleans(), st.booleans(),
)  # fmt: skip
def test_visits_and_values_add_up(method, branch, depth, tokens, draws, knows, luck):
    table = Table(branch, depth, right=[(0,) * depth], luck=luck)
    (tree,) = table.searched(method, knows=knows, tokens=tokens, branch=draws)
    for node in tree.root.walk():
        own = node.reason is not None or (method == "mcts" and bool(node.children))
        assert node.visits == own + sum(c.visits for c in node.children)
        below = sum(c.total for c in node.children) + (node.value if own else 0.0)
        assert node.total == pytest.approx(below) and -1 <= node.q <= 1
        if node.reason and knows:
            assert node.value == (1.0 if tree.tokens(node) == (0,) * depth else -1.0)
    found = [node for node in tree.root.walk() if node.reason]
    assert set(map(id, found)) == set(map(id, tree.ends)) and tree.spent >= len(found) > -1
