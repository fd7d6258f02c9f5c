"""Rounds of search: what is learnt of what was found, resumed runs, refusals."""

from __future__ import annotations

import dataclasses
import json
import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from runs import changed, rows, save_model, with_other_tokens, write_rows
from scipy.special import expit
from tiny import drawn, mesh_of, only, placed

from r1jax.data import DataConfig
from r1jax.data.examples.steps import BETWEEN, read_solutions
from r1jax.data.padding import side_by_side
from r1jax.data.problems.known import digest_of
from r1jax.errors import UserError
from r1jax.evaluate.measures import EvalConfig
from r1jax.models import scalar
from r1jax.models.hub.find import model_directory
from r1jax.presets.search import PRESETS
from r1jax.problem import Problem
from r1jax.report import searches
from r1jax.rollout.engine import EngineConfig
from r1jax.rollout.policy import load_policy
from r1jax.search.config import SearchConfig
from r1jax.search.tree import Continuation, Tree, WrittenStep
from r1jax.stages import opening
from r1jax.stages.search import found, measure
from r1jax.stages.search import run as stage
from r1jax.stages.search.config import SearchRunConfig, ValueConfig
from r1jax.stages.search.parts import SearchParts, build
from r1jax.training.batches import ComputeConfig, over_completions
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.supervised import value
from r1jax.training.supervised.preference import token_scores


def toy(model, path, **changes):
    config = SearchRunConfig(
        run=str(path), model=model, method="beam", rounds=2, prompts=4, batch=2, steps="line",
        search=SearchConfig(tokens=24, branch=2), value=ValueConfig(lr=1e-2, epochs=1), epochs=1,
        examples=4, optimizer=OptimizerConfig(lr=1e-3),
        train=ComputeConfig(rows=8, width=56, max_segments=2, remat="none", chunk=32, kernel="xla"),
        rollout=EngineConfig(slots=8, max_prompt=36, max_tokens=16, prefill=4),
        data=DataConfig(template="mini", train=("world:sum",), eval=("world:sum",), eval_count=3),
        eval=EvalConfig(samples=2, temperature=1.0, top_p=1.0, greedy=False), workers=0,
    )  # fmt: skip
    return changed(config, changes)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "tiny")


def grown():
    """A question with a step that both a right and a wrong solution begin with."""
    tree = Tree(Problem("a", "1+1?", "2"), (7, 8))
    first = tree.grow(tree.root, Continuation((WrittenStep((1, 2), -0.5),), None, 3), 8, True)
    for token, right in ((3, 1.0), (4, -1.0), (5, -1.0)):
        end = tree.grow(first, Continuation((WrittenStep((token,), -1.0),), "stop", 1), 8, True)
        end.value = right
        end.back_up(right)
    return tree


def test_what_is_learnt_of_a_tree():
    tree = grown()
    twin = tree.grow(tree.root, Continuation((WrittenStep((1, 2), -0.5), WrittenStep((3,), -1.0)),
                                             "stop", 3), None, False)  # fmt: skip
    twin.value = 1.0
    assert [tree.tokens(end) for end in found.learnt(tree, 4)] == [(1, 2, 3), (1, 2, 4), (1, 2, 5)]
    assert len(found.learnt(tree, 1)) == 2
    parts = SimpleNamespace(config=SimpleNamespace(search=SearchConfig(solutions=1)))
    row = json.loads(json.dumps(found.row_of(parts, tree)))
    third = pytest.approx(-1 / 3)
    assert row["q"] == third and row["spent"] == 9 and row["ends"] == 4
    assert row["solutions"][0] == {"right": True, "tokens": [1, 2, 3], "ends": [2, 3],
                                   "q": [third, 1.0]}  # fmt: skip
    policy, marked = found.right_solutions([row]), found.marked_steps([row])
    assert policy.tokens.tolist() == [[7, 8, 1, 2, 3]] and policy.prompt_lengths.tolist() == [2]
    # The question's last token, and that of each step.
    assert marked.prompt_lengths.tolist() == [1, 1] and marked.lengths.tolist() == [4, 4]
    assert marked.learn.tolist() == [[True, False, True, True]] * 2
    np.testing.assert_allclose(
        marked.columns["q"], [[-1 / 3, 0, -1 / 3, 1], [-1 / 3, 0, -1 / 3, -1]]
    )
    wrong = row | {"solutions": row["solutions"][1:]}
    assert found.right_solutions([wrong]) is None and found.marked_steps([]) is None


def test_the_search_and_its_control_are_told_apart_by_hand():
    judged = lambda right, vote: SimpleNamespace(lenient=right, vote=vote)  # noqa: E731
    tree, other = grown(), Tree(Problem("b", "?", "!"), (7, 8))
    for end, v in zip(tree.ends, (0.1, 0.7, -0.3), strict=True):
        end.value = v
    answers = [judged(True, ("right",)), judged(False, "5"), judged(False, "5")]
    found_ = measure.chosen("search", [tree, other], [answers, []])
    assert found_["search/best"] == found_["search/vote"] == 0.0 and found_["search/any"] == 0.5
    assert found_["search/tokens"] == 3.0 and found_["search/ends"] == 1.5
    tree.ends[0].value = 0.9
    assert measure.chosen("search", [tree, other], [answers, []])["search/best"] == 0.5


def test_values_of_prefixes_by_hand():
    told = measure._told(np.array([0.9, 0.4, 0.6, 0.1]), np.array([1.0, 1.0, 0.0, 0.0]), "_2")
    assert told["value/auc_2"] == 0.75 and told["value/prefixes_2"] == 4.0
    assert told["value/brier_2"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert told["value/brier_of_share_2"] == 0.25
    assert measure._told(np.array([0.9]), np.array([1.0]), "")["value/auc"] is None


def test_refusals_are_one_line(model, tmp_path, monkeypatch):
    config = toy(model, tmp_path / "run")
    with pytest.raises(UserError, match="--train.width 40: prompt and solution may have 52 tokens"):
        toy(model, tmp_path, **{"train.width": 40})
    with pytest.raises(UserError, match="--search.keep 3: --method mcts does not read it"):
        toy(model, tmp_path, **{"method": "mcts", "search.keep": 3})
    asks = write_rows(tmp_path / "asks.jsonl", [{"question": "a?", "answer": "", "grader": "none"}])
    with pytest.raises(UserError, match="no rule judges problem .*a search learns"):
        build(changed(config, {"data.train": (asks,)}), print)
    with pytest.raises(UserError, match="--steps line: no solution of the first 2 problems has a"):
        found.refuse_no_steps("line", [{"solutions": [{"ends": [4]}]}, {"solutions": []}])
    with pytest.raises(UserError, match="--value.parent .*nowhere"):
        build(changed(config, {"value.parent": str(tmp_path / "nowhere")}), print)
    other = with_other_tokens(model, tmp_path / "other")
    about = SimpleNamespace(kind="process")
    judge = SimpleNamespace(per_token=True, about=about, policy=load_policy(other, "plain"))
    asked = []
    monkeypatch.setattr(
        value, "load_reward_model", lambda *a, **k: asked.append(k["unverified"]) or judge
    )
    with pytest.raises(UserError, match="--value.parent x: has other tokens than the policy"):
        build(changed(config, {"value.parent": "x"}), print)
    judge.per_token, about.kind = False, "pairwise"
    with pytest.raises(UserError, match="--value.parent x: is a reward model of kind pairwise"):
        build(changed(config, {"value.parent": "x", "checkpoint.unverified": True}), print)
    assert asked == [False, True]


def test_other_problems_are_refused_where_a_search_goes_on(model, tmp_path):
    own, other = (Problem("a", "1+1?", answer) for answer in "23")
    row = {"id": "a", "problem": digest_of(other)}
    (tmp_path / "rounds" / "1").mkdir(parents=True)
    write_rows(tmp_path / "rounds" / "1" / "found.jsonl.part", [row])
    stream = SimpleNamespace(take=lambda start, count: [own])
    parts = SimpleNamespace(config=SimpleNamespace(prompts=1), stream=stream)
    run = SimpleNamespace(path=tmp_path)
    with pytest.raises(UserError, match="found.jsonl.part, line 1: has a, where .* another answer"):
        found.searched(parts, run, 1, None, None)

    def data(answer):
        source = write_rows(tmp_path / "sums.jsonl", [{"question": "1+1?", "answer": answer}])
        config = toy(model, tmp_path / "run", **{"data.train": (source,)})
        return build(config, lambda line: None).identity["data"]

    assert data("2") == data("2") != data("3")


@pytest.mark.slow
def test_a_process_reward_model_is_a_value_to_begin_with(model, monkeypatch):
    """V is 2p - 1 of its probability p of a right step; without one, V begins as 0 everywhere."""
    policy, mesh = load_policy(model, "mini"), mesh_of()
    weights = placed(drawn(policy.config), policy.config, mesh)
    learnt = {**scalar.body(weights), scalar.HEAD: np.linspace(-1, 1, policy.config.d_model)}
    judge = SimpleNamespace(per_token=True, policy=policy)
    monkeypatch.setattr(value, "load_reward_model", lambda *a, **k: judge)
    monkeypatch.setattr(value, "load_scorer", lambda *a: jax.tree.map(np.float32, learnt))
    compute = ComputeConfig(rows=1, width=16, max_segments=2, remat="none", kernel="xla")
    how = policy, mesh, compute, OptimizerConfig()
    prefixes = [(5, 6, 7), (5, 6), (8, 9, 10, 11)]
    begun = value.make_value_model(*how, "x")
    scores = token_scores(begun.model, mesh, compute, steps=True)
    last = side_by_side((prefix[:-1], prefix[-1:]) for prefix in prefixes)
    p = expit(over_completions(scores, learnt, last, compute, mesh)[:, 0])
    found = begun.of_prefixes(begun.fresh(weights, 0).params, prefixes)
    np.testing.assert_allclose(found, 2 * p - 1, atol=1e-6)
    assert np.abs(found).min() > 1e-3
    plain = value.make_value_model(*how, "")
    assert not plain.of_prefixes(plain.fresh(weights, 0).params, prefixes).any()


def test_the_presets_numbers_are_alphamaths():
    config = PRESETS["alphamath"]
    s = config.search
    assert (config.method, config.rounds, s.branch, s.simulations, s.c, s.depth) == (
        "mcts", 3, 5, 40, 1.25, 8)  # fmt: skip
    assert config.optimizer.lr == 4e-5 and config.examples == 1024 and config.epochs == 10
    for method in ("beam", "mcts", "sample"):  # the control is the same command
        dataclasses.replace(PRESETS["demo"], method=method)


def test_rounds_are_drawn_for_a_search_alone():
    row = {"update": 1, "found/solved": 0.5, "policy/pass_at_1": 0.4, "search/best": 0.6,
           "value/auc": 0.7, "value/auc_2": 0.8, "operations/rollout": 1e9}  # fmt: skip
    names = [chart.name for chart in searches.charts([row])]
    assert names == ["search", "found", "value_auc", "operations"]
    assert searches.charts([{"update": 1, "policy/pass_at_1": 0.4}]) == []


@pytest.fixture
def vowels(monkeypatch):
    """What a model of random tokens writes: steps end at vowels, and every second end is right."""
    monkeypatch.setitem(BETWEEN, "line", re.compile("[aeiou]"))
    even = lambda self, places: [sum(tree.tokens(node)) % 2 == 0 for tree, node in places]  # noqa: E731
    monkeypatch.setattr(SearchParts, "judge", even)
    with only(1):
        yield


def test_a_round_from_end_to_end(model, tmp_path, vowels, monkeypatch):
    monkeypatch.setattr(opening, "write_report", lambda path: path / "report.html")  # seconds
    path, said = tmp_path / "run", []

    def step_values(parts, params, ends, real=SearchParts.step_values):
        prefixes = [(*t.prompt, *t.tokens(node)) for t, end in ends for node in end.path]
        found = real(parts, params, ends)
        said.append((np.concatenate(found), parts.value.of_prefixes(params, prefixes)))
        return found

    monkeypatch.setattr(SearchParts, "step_values", step_values)
    stage.run(toy(model, path, until_operations=1.0))  # one round is more than that
    ((of_solutions, of_prefixes),) = said
    np.testing.assert_allclose(of_solutions, of_prefixes, atol=1e-6)
    assert of_prefixes.any()
    summary = json.loads((path / "summary.json").read_text())
    (row,) = summary["rounds"]
    assert {"search/best", "sample/best", "sample/vote", "value/auc", "value/brier_1"} <= row.keys()
    assert abs(row["search/tokens"] - row["sample/tokens"]) <= 12  # less than a solution
    assert row["policy/pass_at_1"] == summary["after"]["pass_at_1"]
    spent = summary["spent"]
    assert min(spent[f"operations/{who}"] for who in ("rollout", "value", "value_update")) > 0
    (entry,) = summary["lineage"]
    kept = [json.loads(line) for line in (path / "rounds/1/found.jsonl").open()]
    assert entry["data"] == found.digest_of_solutions(kept) and len(kept) == 4
    assert sum(r["spent"] for r in kept) == spent["tokens/rollout"]
    rights = [s["right"] for r in kept for s in r["solutions"]]
    assert row["solutions/all"] == len(rights) and row["solutions/right"] == sum(rights) > 0
    assert spent["operations/update"] > 0
    assert row["policy/updates"] == max(1, sum(rights) // 4)  # --examples, in --epochs passes
    labels = [s.labels for _, s in read_solutions(str(path / "rounds/1/solutions.jsonl"))]
    assert all(0 <= label <= 1 for some in labels for label in some)
    assert model_directory(str(path / "hf")).is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["beam", "mcts", "sample"])
def test_a_run_stopped_anywhere_goes_on_as_if_it_had_not_been(
    model, tmp_path, monkeypatch, vowels, method
):
    """Killed as it searches in the first round and as it learns in the second."""
    flags = {"method": method, "search.branch": SearchConfig.branch}
    whole = toy(model, tmp_path / "whole", **flags)
    stage.run(whole)
    config = toy(model, tmp_path / "cut", **flags)

    def stops(module, name, at):
        real, seen = getattr(module, name), []

        def call(*arguments):
            seen.append(arguments)
            if len(seen) == at:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(module, name, call)
        with pytest.raises(KeyboardInterrupt):
            stage.run(config)
        monkeypatch.setattr(module, name, real)

    stops(found, "search", 2)
    part = tmp_path / "cut" / "rounds" / "1" / "found.jsonl.part"
    assert len(part.read_text().splitlines()) == 2  # a batch; the second one is lost
    stops(stage, "learn_value", 2)
    stage.run(config)
    for name in ("metrics.jsonl", "rounds/1/found.jsonl", "rounds/2/solutions.jsonl"):
        assert rows(tmp_path / "cut", name) == rows(tmp_path / "whole", name), name
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert [entry["round"] for entry in summary["lineage"]] == [1, 2]
    assert summary["lineage"][1]["parent"] == "checkpoints/1" and not part.exists()
    assert ("search/best" in summary["rounds"][0]) == (method != "sample")
    text = (tmp_path / "whole" / "report.html").read_text()
    assert "With a search, and without" in text and "2 rounds" in text
    with pytest.raises(UserError, match="--steps paragraph: no solution of the first 2 problems"):
        stage.run(changed(whole, {"run": str(tmp_path / "other"), "steps": "paragraph"}))
