"""An evaluation that a signal stopped goes on with the samples that were there."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest
from runs import Boundaries, save_model

from r1jax.commands import evaluate
from r1jax.data import EvalDataConfig
from r1jax.errors import Stopped, UserError
from r1jax.evaluate.kept_samples import KeptSamples
from r1jax.evaluate.measures import EvalConfig
from r1jax.problem import Completion, Problem
from r1jax.rollout.engine import EngineConfig
from r1jax.rollout.sampling import Sampling
from r1jax.run.directory import read_jsonl, write_jsonl
from r1jax.run.lock import owned

PART = "samples.part.jsonl"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def config(model, out, **changes):
    return evaluate.Config(**{
        "model": model, "out": str(out), "workers": 0, "eval": EvalConfig(samples=2),
        "data": EvalDataConfig(template="mini", eval=("world:sum", "world:word"), eval_count=8),
        "rollout": EngineConfig(slots=4, max_prompt=160, max_tokens=8, prefill=2), **changes,
    })  # fmt: skip


def test_what_others_wrote_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "link").symlink_to("/")
    for out in (tmp_path, tmp_path / "link"):
        with pytest.raises(UserError, match=f"--out {out}: holds other files; name a new direct"):
            evaluate.main(config("nowhere", out))
    assert len(list(tmp_path.iterdir())) == 2


def test_an_update_of_no_checkpoint_is_refused():
    with pytest.raises(UserError, match="--step 3: needs --checkpoint, the directory of"):
        evaluate.Config(step=3)


def left(out):
    """(records without their seconds, rows) that an evaluation left."""
    records = json.loads((out / "eval.json").read_text())
    return [r | {"seconds": 0} for r in records], (out / "completions.jsonl").read_text()


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """What one that nothing disturbed left, and how many boundaries it had."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        clock = Boundaries(patch)
        evaluate.main(config(model, out))
        return left(out), clock.seen


def test_stopped_again_and_again_it_is_the_same_evaluation(model, whole, tmp_path, monkeypatch):
    expected, boundaries = whole
    assert boundaries > 8
    said, parts = [], []
    for _ in range(boundaries):
        with monkeypatch.context() as patch:
            Boundaries(patch, at=2)
            try:
                evaluate.main(config(model, tmp_path))
                break
            except Stopped as stopped:
                said.append(str(stopped))
        parts.append(read_jsonl(tmp_path / PART) if (tmp_path / PART).exists() else [])
        with (tmp_path / PART).open("a") as file:
            file.write('{"of": ["half')
    assert left(tmp_path) == expected and not (tmp_path / PART).exists()
    assert len({len(part) for part in parts}) > 3
    assert all(b[: len(a)] == a for a, b in itertools.pairwise(parts))  # none was drawn again
    assert "of 8 problems of world-sum are answered; the same command goes on with" in said[0]


def test_two_do_not_write_into_one_directory(tmp_path):
    with owned(tmp_path, take_over=False), pytest.raises(UserError, match="process .* writes ther"):
        evaluate.main(config("no model is looked for", tmp_path))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("row", "said"),
    [({"x": 1}, "KeyError: 'of'"), ({"of": ["a"], "samples": 5}, "TypeError: 'int' object")],
)
def test_a_row_that_is_none_of_its_own_is_one_line(tmp_path, row, said):
    write_jsonl(tmp_path / PART, [{"origin": {"seed": 0}}, row])
    with pytest.raises(UserError, match=rf"none of ours \({said}.*\); remove the file$"):
        KeptSamples(tmp_path / PART, {"seed": 0})


def test_what_nobody_asks_for_again_is_let_go(tmp_path):
    problems = [Problem(name, f"{name}?", "1") for name in "abc"]
    drawn = []

    def draw(problems, samples, sampling, seed, whole):
        drawn.extend(problem.id for problem in problems)
        for problem in problems:
            whole(problem, [Completion.parse(problem.id)] * samples)

    def ask(kept, problems):
        texts = kept.sampler("these", draw)(problems, 2, Sampling(), 0)
        assert [[c.text for c in own] for own in texts] == [[p.id] * 2 for p in problems]

    kept = KeptSamples(tmp_path / PART, {"seed": 0})
    assert not [*tmp_path.iterdir()]  # a run that has drawn nothing may begin with other flags
    ask(kept, problems[:2])
    kept.only(problems[1:])
    ask(kept, problems[1:])
    ask(KeptSamples(tmp_path / PART, {"seed": 0}), problems[1:])
    assert drawn == ["a", "b", "c"]
    assert [row.get("of", [0] * 5)[3] for row in read_jsonl(tmp_path / PART)] == [0, "b", "c"]


def test_samples_of_other_flags_or_weights_are_not_taken_up(model, tmp_path, monkeypatch):
    other = str(shutil.copytree(model, tmp_path / "model"))
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        Boundaries(patch, at=5)
        evaluate.main(config(other, out))
    part = (out / PART).read_bytes()
    assert part
    with pytest.raises(UserError, match=r"were not finished, of other .*seed: 0 -> 1.*remove it"):
        evaluate.main(config(other, out, seed=1))
    (tmp_path / "model" / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"of other flags or files \(files.*model.safetensors"):
        evaluate.main(config(other, out))
    assert (out / PART).read_bytes() == part
