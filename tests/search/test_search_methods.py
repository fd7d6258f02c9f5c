"""Beam and MCTS on toy tables: against trying everything, with a value that knows, side by side."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from toy import Table, shape

from r1jax.data.examples.steps import step_ends
from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rollout.policy import load_policy
from r1jax.rollout.requests import Generated
from r1jax.search.config import SearchConfig, check_method
from r1jax.search.drawing import Drawing, Engines
from r1jax.search.side_by_side import Order
from r1jax.search.tree import Tree

ENDS = [*itertools.product(range(3), repeat=3)]


def test_a_beam_that_keeps_all_is_exhaustive():
    table = Table(3, 3)
    (tree,) = table.searched("beam", knows=False, keep=27, branch=3, tokens=30)
    best = max(tree.ends, key=lambda end: end.value)
    assert sorted(map(tree.tokens, tree.ends)) == ENDS and tree.spent == 3 + 9 + 27
    assert best.value == max(table.hashed([(tree, end) for end in tree.ends]))


@pytest.mark.parametrize("right", [(0, 0, 0), (2, 1, 0), (1, 2, 2)])
def test_a_narrow_beam_with_a_perfect_value_finds_what_is_right(right):
    table = Table(3, 3, [right])
    (tree,) = table.searched("beam", weigh=table.perfect, branch=3, tokens=8)
    assert tree.spent == 9  # of 39 steps that there are
    assert [tree.tokens(end) for end in tree.ends if end.value == 1.0] == [right]


def test_a_beam_is_narrower_behind_an_end_and_begins_anew():
    table = Table(2, 1)
    (tree,) = table.searched("beam", knows=False, keep=2, branch=2, tokens=6)
    assert len(tree.ends) == 2 and tree.spent == 6 and table.calls == 3
    assert tree.root.visits == 2  # found again, an end counts no second time


def test_a_beam_that_begins_anew_leaves_what_has_failed():
    table = Table(3, 2, [(2, 1)])
    blind = lambda places: [0.0] * len(places)  # noqa: E731
    (tree,) = table.searched("beam", weigh=blind, branch=3, tokens=18)
    assert [node.q for node in tree.root.children] == [-1.0, -1.0, pytest.approx(-1 / 3)]
    assert (2, 1) in map(tree.tokens, tree.ends) and tree.spent == 3 * (3 + 3)


def test_mcts_with_a_perfect_value_finds_what_is_right():
    right = (2, 0, 1, 2)
    table = Table(3, 4, [right])
    how = dict(branch=3, simulations=12, c=0.5)
    (tree,) = table.searched("mcts", weigh=table.perfect, **how)
    assert right in map(tree.tokens, tree.ends)
    (blind,) = table.searched("mcts", weigh=lambda places: [0.0] * len(places), **how)
    assert right not in map(blind.tokens, blind.ends)


def test_mcts_ends_where_all_is_seen_and_after_its_simulations():
    (tree,) = Table(2, 2).searched("mcts", branch=2, simulations=40)
    assert sorted(map(tree.tokens, tree.ends)) == [*itertools.product(range(2), repeat=2)]
    assert tree.root.visits == 3 + 4  # three nodes were grown, four ends found
    (tree,) = Table(5, 8).searched("mcts", branch=5, simulations=6)
    assert sum(bool(node.children) for node in tree.root.walk()) == 6
    few, many = (Table(5, 8, luck=True).searched("mcts", c=c, simulations=12)[0] for c in (0.01, 9))
    deepest = lambda t: max(len(n.path) for n in t.root.walk() if n.children)  # noqa: E731
    assert deepest(few) > deepest(many)  # the larger c is, the more it explores


@pytest.mark.parametrize("method", ["beam", "mcts", "sample"])
def test_many_problems_together_are_each_as_alone(method):
    names, flags = ("a", "b", "c", "d"), dict(branch=2, tokens=12)
    table = Table(3, 4, [(0, 1, 2, 0)], luck=True)
    together = table.searched(method, names, **flags)
    calls, table.calls = table.calls, 0
    alone = [table.searched(method, (name,), **flags)[0] for name in names]
    assert [shape(t) for t in together] == [shape(t) for t in alone]
    assert [t.spent for t in together] == [t.spent for t in alone]
    assert calls < table.calls


@pytest.mark.parametrize("method", ["beam", "mcts", "sample"])
def test_tokens_are_spent_as_evenly_as_steps_allow(method):
    spent = [
        Table(4, 5, luck=True).searched(method, branch=3, tokens=tokens)[0].spent
        for tokens in range(20, 60)
    ]
    over = np.asarray(spent) - np.arange(20, 60)
    assert abs(over).max() <= 4 and abs(over.mean()) < 1  # a solution of 5, or 3 steps, at a time


def test_a_depth_ends_what_is_not_whole():
    (tree,) = Table(2, 4, [(0, 0, 0, 0)]).searched("mcts", branch=2, depth=2)
    assert {end.reason for end in tree.ends} == {"length"}
    assert {end.value for end in tree.ends} == {-1.0}


def test_flags_that_a_method_does_not_read_are_refused():
    check_method(SearchConfig(simulations=3, c=2.0), "mcts")
    check_method(SearchConfig(tokens=5, solutions=1), "sample")
    for method, flags, said in (
        ("beam", {"simulations": 3}, "--search.simulations 3: --method beam does not read it"),
        ("mcts", {"keep": 2}, "--search.keep 2: .* or use --method beam"),
        ("sample", {"step_tokens": 9}, "--search.step-tokens 9: .* --method beam or mcts"),
    ):
        with pytest.raises(UserError, match=said):
            check_method(SearchConfig(**flags), method)
    with pytest.raises(UserError, match="--search.branch"):
        SearchConfig(branch=0)


@pytest.fixture(scope="module")
def drawing():
    policy = load_policy("embedded", "mini")
    engines = Engines(policy, "sentence", 12, None, None)
    return Drawing(engines, None, None, 0, 0, lambda totals: float(totals.sum()))


def written(drawing, text, ended=False):
    policy = drawing.engines.policy
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    ids += [policy.stop_ids[0]] * ended
    logp = -np.arange(1.0, len(ids) + 1).astype(np.float32)
    return Generated(np.asarray(ids, np.int32), logp, 0 * logp, 0, 0, "stop", (1, 2))


def test_a_step_is_kept_without_what_was_drawn_of_the_next(drawing):
    decode = drawing.engines.policy.tokenizer.decode
    g = written(drawing, " First 12+34=46. Then")
    found = drawing._step(g, left=40)
    (step,) = found.steps
    assert decode(step.tokens) == " First 12+34=46." and found.reason is None
    assert found.drawn == len(g.tokens) > len(step.tokens)
    assert step.logp == pytest.approx(-(len(step.tokens) + 1) / 2)
    whole = drawing._step(written(drawing, " = 46", ended=True), left=40)
    assert whole.reason == "stop" and whole.drawn == len(whole.steps[0].tokens)
    g = written(drawing, " 12+34+56+78+9")
    cut = drawing._step(Generated(*(x[:12] for x in g.arrays), 0, 0, "length", (1,)), left=40)
    assert cut.steps[0].capped and cut.reason is None
    over = drawing._step(Generated(*(x[:12] for x in g.arrays), 0, 0, "length", (1,)), left=12)
    assert over.reason == "length" and not over.steps[0].capped


def test_a_solution_is_cut_into_the_steps_of_its_text(drawing):
    policy, text = drawing.engines.policy, " First 1+2=3. 再算3+4=7。答案是7。"
    g = written(drawing, text, ended=True)
    found = drawing._whole(g)
    ids = [token for step in found.steps for token in step.tokens]
    assert ids == g.tokens.tolist() and found.reason == "stop"
    assert len(found.steps) == len(step_ends(text, "sentence")) == 3
    assert policy.tokenizer.decode(found.steps[0].tokens) == " First 1+2=3."
    blank = drawing._whole(written(drawing, "", ended=True))
    assert len(blank.steps) == 1 and blank.reason == "stop"


class Echo:
    """An engine that writes the same to everybody."""

    def __init__(self, g, max_tokens):
        self.g, self.config, self.asked = g, type("", (), {"max_tokens": max_tokens}), []

    def generate(self, weights, prompts, sampling, seed, rollout):
        self.asked += prompts
        for i, p in enumerate(prompts):
            for sample in range(p.first_sample, p.first_sample + p.samples):
                yield Generated(*self.g.arrays, i, sample, "stop", p.tokens)


def test_what_is_asked_of_the_engine_and_counted(drawing):
    g = written(drawing, " 1+2=3. Then")
    engine = Echo(g, 40)
    engines = Engines(drawing.engines.policy, "sentence", 12, engine, engine)
    draw = Drawing(engines, None, None, 0, 0, lambda totals: float(totals.sum()))
    tree = Tree(Problem("a", "?", "!"), (7, 8, 9))
    (found,) = draw([Order(tree, tree.root, 2, 5)], False)
    (prompt,) = engine.asked
    assert prompt.tokens == (7, 8, 9) and (prompt.first_sample, prompt.samples) == (5, 2)
    assert prompt.limit == 12 and prompt.problem == tree.problem.number
    # What both begin with is read once.
    assert len(found) == 2 and tree.operations == {"rollout": 3 + 2 * len(g.tokens)}
    node = tree.grow(tree.root, found[0], None, merge=True)
    draw([Order(tree, node, 1, 7)], False)
    assert engine.asked[1].tokens == (7, 8, 9, *node.step.tokens)
