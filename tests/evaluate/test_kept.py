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
from r1jax.evaluate.measures import EvalConfig
from r1jax.rollout.engine import EngineConfig
from r1jax.run.directory import read_jsonl

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
        parts.append(read_jsonl(tmp_path / PART))
        with (tmp_path / PART).open("a") as file:
            file.write('{"of": ["half')
    assert left(tmp_path) == expected and not (tmp_path / PART).exists()
    assert len({len(part) for part in parts}) > 3
    assert all(b[: len(a)] == a for a, b in itertools.pairwise(parts))  # none was drawn again
    assert "of 8 problems of world-sum are answered; the same command goes on with" in said[0]


def test_samples_of_other_flags_or_weights_are_not_taken_up(model, tmp_path, monkeypatch):
    other = str(shutil.copytree(model, tmp_path / "model"))
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        Boundaries(patch, at=2)
        evaluate.main(config(other, out))
    part = (out / PART).read_bytes()
    with pytest.raises(UserError, match=r"was not finished, with .*seed: 0 -> 1.*remove it"):
        evaluate.main(config(other, out, seed=1))
    (tmp_path / "model" / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"with other flags or files \(files.*model.safetensors"):
        evaluate.main(config(other, out))
    assert (out / PART).read_bytes() == part
