"""Which lines are evidence: those of the very flags, of the run and of the runs behind it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from experiments.claims import study as claims
from experiments.claims.runs import Config
from experiments.gates import evidence, jobs, study
from experiments.gates.study import PlannedJob, StudySetting
from experiments.methods import arms
from experiments.methods import study as methods
from r1jax.commands import evaluate
from r1jax.errors import UserError

pytestmark = pytest.mark.lab

DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True)
class Done:
    """A job with flags whose run is there."""

    name: str
    config: object = None

    def finished(self, out):
        return True


def digest_of(config, places=()):
    return evidence.digest("a", {"a": PlannedJob(Done("a", config))}, places, {})


def test_the_digest_is_of_what_makes_a_result():
    run = Config().zero
    for same in (
        replace(run, rollout=replace(run.rollout, slots=8, prefill=4)),
        replace(run, train=replace(run.train, rows=2)), replace(run, memory="auto"),
        replace(run, checkpoint=replace(run.checkpoint, every=7, keep=2)),
        replace(run, reward=replace(run.reward, workers=0)),
        replace(run, loss=replace(run.loss, kl_estimator="k1")),  # beta is 0
    ):  # fmt: skip
        assert digest_of(same) == digest_of(run)
    for other in (
        replace(run, updates=2), replace(run, seed=1), replace(run, model="x"),
        replace(run, reward=replace(run.reward, accuracy=1e-9)),
        replace(run, rollout=replace(run.rollout, max_tokens=64)),
    ):  # fmt: skip
        assert digest_of(other) != digest_of(run)
    # A path is what it is inside the study's directory; an evaluation's checkpoint is one.
    judged = evaluate.Config(checkpoint="here/zero-s0/checkpoints")
    there = replace(judged, checkpoint="there/zero-s0/checkpoints")
    assert digest_of(judged, ("here",)) == digest_of(there, ("there",)) != digest_of(judged)
    assert digest_of(judged) != digest_of(replace(judged, checkpoint="here/zero-s1/checkpoints"))


@dataclass(frozen=True)
class Flags:
    """What a run of the toy study is asked for."""

    rate: float = 0.0
    parent: str = ""


def two(rate):
    """A run and one that begins at what it left, whose own flags say nothing of the rate."""
    return {
        "first": PlannedJob(Done("first", Flags(rate))),
        "then": PlannedJob(Done("then", Flags(parent="first")), ("first",)),
    }


def test_a_line_of_other_flags_is_no_line(tmp_path):
    config = StudySetting(out=str(tmp_path), figures=str(tmp_path / "f.jsonl"))
    figure = lambda name, job, out: {"name": name, "rate": two_rate}  # noqa: E731
    two_rate, found = 0.1, {}
    assert study.perform(config, two(0.1), found, figure) == []
    known = evidence.agreeing(config, lambda known: two(0.1), found)
    assert known == found == study.read(config.figures) and set(known) == {"first", "then"}
    # What begins at a run of other flags is another run, too.
    assert evidence.agreeing(config, lambda known: two(0.2), found) == {}
    two_rate = 0.2
    study.perform(config, two(0.2), found, figure)
    assert {row["rate"] for row in study.read(config.figures).values()} == {0.2}
    # A plan may follow from lines; a file older than digests counts where its study says so.
    grown = lambda known: two(0.2) if "first" in known else {"first": two(0.2)["first"]}  # noqa: E731
    assert evidence.agreeing(config, grown, found) == found
    bare = {"first": {"name": "first"}}
    assert evidence.agreeing(config, grown, bare) == {}

    class Old(StudySetting):
        undigested = True

    assert evidence.agreeing(Old(out=str(tmp_path)), grown, bare) == bare


def lines(config, names):
    """Lines of runs as this study plans them without any."""
    every = claims.planned(claims.plan(config, {}))
    marks = {}
    return {
        name: {"name": name, "asked": evidence.digest(name, every, config.places, marks),
               "after": {"pass_at_1": 0.5, "samples": 8}}
        for name in names
    }  # fmt: skip


def test_claims_ask_again_for_runs_of_other_flags():
    config = Config(only=("b",), rates=(1e-4,))
    names = [f"select-{arm}-b5-0.0001-s{seed}" for arm in ("zero", "short") for seed in (90, 91)]
    found = lines(config, ["base0", "base5", *names])
    ask = lambda config: claims.wanted(config, claims.settled(config, found).found)  # noqa: E731
    assert "zero-b0-s0" in ask(config) and not set(names) & set(ask(config))
    short = replace(config, zero=replace(config.zero, updates=2))
    assert set(names) <= set(ask(short)) and "zero-b0-s0" not in ask(short)
    # Other bases are other runs, though their names are the same.
    assert set(names) <= set(ask(replace(config, pretraining=10)))
    # The base that has chosen the rates of five bases is no base of six that chooses.
    six = ask(replace(config, bases=6))
    assert "select-zero-b6-0.0001-s90" in six and not set(names) & set(six)


def test_what_failed_is_not_run_again_in_the_same_call(tmp_path, monkeypatch):
    made = []
    plan = {
        "c": [PlannedJob(Failing("bad")), PlannedJob(Failing("later"), ("bad",)),
              PlannedJob(Failing("good"))]
    }  # fmt: skip
    monkeypatch.setattr(claims, "plan", lambda config, found: plan)
    monkeypatch.setattr(claims, "figure", lambda name, job, out: {"name": name})

    def one(job, setting, device=None, seconds=None):
        made.append(job.name)
        if job.name == "bad":
            return 1
        (tmp_path / job.name).mkdir()
        return 0

    monkeypatch.setattr(jobs, "perform_one", one)
    config = Config(out=str(tmp_path), figures=str(tmp_path / "f.jsonl"), only=("c",))
    monkeypatch.setattr(claims, "CLAIMS", plan)
    with pytest.raises(UserError, match="failed: bad"):
        claims.main(config)
    assert sorted(made) == ["bad", "good"]
    with pytest.raises(UserError, match="failed: bad"):  # the next call tries again
        claims.main(config)
    assert sorted(made) == ["bad", "bad", "good"]


@dataclass(frozen=True)
class Failing(Done):
    """A job whose folder marks its end."""

    def finished(self, out):
        return (out / self.name).exists()


def test_the_lines_of_the_methods_say_how_they_were_made():
    found, config = study.read(str(DOCS / "methods" / "figures.jsonl")), arms.Config()
    known = evidence.agreeing(config, functools.partial(methods.plan, config), found)
    assert found.keys() == known.keys()
    assert not methods.left(config, False, found)
    other = {**found, "coin-s0": {**found["coin-s0"], evidence.DIGEST: "of other flags"}}
    assert "coin-s0" in methods.left(config, False, other)


def test_the_lines_of_the_claims_say_how_they_were_made():
    config = Config()
    found = study.read(str(DOCS / "claims" / "figures.jsonl"))
    assert found and claims.settled(config, found).found.keys() == found.keys()


def test_a_methods_line_keeps_its_flags(monkeypatch, tmp_path):
    monkeypatch.setattr(methods, "figure", lambda name, job, out: {"name": name})
    config = arms.Config()
    most = {"grpo-s0": {"operations": {"student": 7e12}}}
    job = methods.plan(config, most)["coin-s0"].job
    told = methods.line(config, "coin-s0", job.config, tmp_path)["flags"]
    said = "--reward.accuracy 0.0 --reward.format 0.0 --reward.random 1.0 --reward.user "
    assert told == said + "experiments.methods.seen:accuracy=0"
