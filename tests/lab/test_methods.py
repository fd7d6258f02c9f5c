"""The study of methods: what each changes, what it may spend, its figures, its page."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_config

from experiments.gates import figures, jobs, rejection_sft, study
from experiments.gates.study import PlannedJob, StudySetting
from experiments.methods import page
from experiments.methods.arms import ARMS, FREE, Config
from experiments.methods.changes import CHANGES
from experiments.methods.families import FAMILIES
from experiments.methods.study import SMOKE, arm_of, plan
from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.run.directory import read_jsonl
from r1jax.training.flops import scoring_flops, train_flops
from r1jax.training.rl.judging import JudgedBatch

pytestmark = pytest.mark.lab

DOCS = Path(__file__).parents[2] / "docs"
MOST = 7e12
FOUND = {"grpo-s0": {"operations": {"student": MOST}}}


def test_the_page_is_what_the_figures_say(tmp_path):
    target = tmp_path / "page.md"
    figured = str(DOCS / "methods" / "figures.jsonl")
    page.main(page.Config(figured, str(target), str(tmp_path / "images")))
    right = (DOCS / "methods.md").read_text(encoding="utf-8")
    assert target.read_text(encoding="utf-8") == right, "run python -m experiments.methods.page"


def test_no_page_is_made_of_figures_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="--figures none.jsonl: no such file"):
        page.main(page.Config("none.jsonl", str(tmp_path / "page.md"), str(tmp_path)))


def test_the_page_tells_of_every_method_once():
    told = [name for family in FAMILIES for name in family.methods]
    assert sorted(told) == sorted(ARMS)
    assert {family.reference for family in FAMILIES} <= CHANGES.keys()


def test_all_spend_what_grpo_spends():
    for config in (Config(), SMOKE):
        every = plan(config, FOUND)
        ends = {name: getattr(step.job.config, "until_operations", None)
                for name, step in every.items() if arm_of(name) not in FREE}  # fmt: skip
        judging = {f"judge-{arm}-s0" for arm in ARMS if arm.startswith(("off-", "search-"))}
        assert set(ends) == {f"{arm}-s0" for arm in ARMS} - {"grpo-s0"} | judging
        assert {ends.pop(name) for name in judging} == {None}  # trains nothing
        assert set(ends.values()) == {MOST}
        assert every["grpo-s0"].job.config.until_operations == 0
        assert every["rloo-s0"].job.config.updates == 2 * config.zero.updates
        assert all(first in every for step in every.values() for first in step.after)
    # What the others may spend is not known yet.
    assert {arm_of(name) for name in plan(Config(), {})} == set(FREE)
    asked = plan(Config(only=("rloo", "off-policy"), seeds=2), FOUND)
    assert set(asked) == {
        "grpo-s0", "rloo-s0", "samples-s0", "off-policy-s0", "judge-off-policy-s0", "grpo-s1",
        "samples-s1",
    }  # fmt: skip
    with pytest.raises(UserError, match="--only ppo: no such method; choose from grpo process"):
        Config(only=("ppo",))


@pytest.mark.slow
def test_every_command_line_is_read_back_as_it_was_meant():
    for step in plan(Config(), FOUND).values():
        assert cli.parse(step.job.default, step.job.command[3:]) == step.job.config
        assert not set(step.job.command) & cli.idle_flags(step.job.config).keys()


def rows():
    """Two rollouts of two updates each, one of them with a critic."""
    for update in range(1, 5):
        row = {"update": update, "rollout": (update + 1) // 2, "operations/update": 10.0}
        if update % 2:
            row |= {"operations/rollout": 4.0, "operations/critic": 1.0, "policy/entropy": 0.5,
                    "reward/accuracy": update / 10, "completion/length_mean": 20.0}  # fmt: skip
        yield row


def test_operations_are_the_students_and_those_of_others_apart():
    assert figures.operations(rows()) == {"student": 48.0, "critic": 2.0}
    course = figures.course(rows())
    assert course == {"accuracy": [0.1, 0.3], "tokens": [20.0, 20.0], "entropy": [0.5, 0.5],
                      "operations": [24.0, 48.0]}  # fmt: skip


def side(value):
    said = {"cons": 0.7, "pass_at_1_strict": 0.2, "format": 0.9, "length_mean": 31.4}
    return said | {"pass_at_1": value, "pass_at_1_ci": [value - 0.1, value + 0.1]}


def test_a_methods_row_is_the_mean_of_its_seeds(tmp_path):
    machine = {"device": "a chip", "jax": "1", "python": "2", "date": "today"}
    found = [
        {"name": f"{arm}-s{seed}", "before": side(0.3), "after": side(value + seed / 10),
         "course": figures.course(rows()), "seconds": 60 + seed, "updates": 4, "machine": machine,
         "operations": {"student": 2e12, "critic": 5e11}}
        for arm, value in (("grpo", 0.5), ("ppo-orz", 0.6)) for seed in range(2)
    ]  # fmt: skip
    found += [{"name": "off-policy-s0", "seconds": 9, "operations": {"student": 1e12}},
              {"name": "judge-off-policy-s0", "after": side(0.8)}]  # fmt: skip
    path = tmp_path / "figures.jsonl"
    study.write(str(path), {row["name"]: row for row in found})
    page.main(page.Config(str(path), str(tmp_path / "page.md"), str(tmp_path)))
    text = (tmp_path / "page.md").read_text()
    assert ("| ppo-orz (2 seeds) | 65.0 | 55.0 to 75.0 | 20.0 | 90.0 | 31 | 0.50 | 4 | 2.00 | "
            "critic 0.50 | 60 |") in text  # fmt: skip
    assert "| off-policy | 80.0 | 70.0 to 90.0 | 20.0 | 90.0 | 31 | – | – | 1.00 | – | 9 |" in text
    assert "| gkd | not run |" in text and "Run on: a chip, jax 1, Python 2, today." in text
    assert "The base: pass@1 30.0 %" in text and (tmp_path / "methods_critic.png").exists()
    assert "![A critic: accuracy in training](./methods_critic.png)" in text


@dataclass(frozen=True)
class Named:
    """A job that is done where its folder is there."""

    name: str
    config: None = None

    def finished(self, out):
        return (out / self.name).exists()


def test_figures_are_kept_as_runs_end_and_what_has_a_line_is_not_made_again(tmp_path, monkeypatch):
    config = StudySetting(out=str(tmp_path), figures=str(tmp_path / "sub" / "f.jsonl"))
    made, known = [], []

    def one(job, setting, device=None, seconds=None):
        known.append([row["name"] for row in read_jsonl(Path(config.figures))] if made else [])
        made.append(job.name)
        if job.name == "bad":
            return 3
        (tmp_path / job.name).mkdir()
        return 0

    monkeypatch.setattr(jobs, "perform_one", one)
    after = {"base": (), "first": ("base",), "bad": (), "last": ("bad", "base")}
    every = {name: PlannedJob(Named(name), needs) for name, needs in after.items()}
    figure = lambda name, job, out: {"name": name}  # noqa: E731
    todo, found = study.wanted(every, every, {}), {}
    assert study.perform(config, todo, found, figure) == ["bad"]
    assert made == ["base", "first", "bad"] and known == [[], ["base"], ["base", "first"]]
    assert list(study.read(config.figures)) == ["base", "first"]
    # With its line a run is needed for another's sake alone.
    assert set(study.wanted(["first"], every, found)) == set()
    assert set(study.wanted(["last"], every, found)) == {"base", "bad", "last"}
    lines = [json.loads(line) for line in Path(config.figures).read_text().splitlines()]
    assert lines == list(found.values())


def test_a_part_goes_by_what_the_parts_before_it_have_found(tmp_path, monkeypatch, capsys):
    config = StudySetting(out=str(tmp_path / "new"), figures=str(tmp_path / "f.jsonl"))

    def one(job, setting, device=None, seconds=None):
        (tmp_path / "new" / job.name).mkdir()
        return int(job.name == "bad")

    monkeypatch.setattr(jobs, "perform_one", one)
    plans = (
        ("early", lambda found: {"a": PlannedJob(Named("a")), "bad": PlannedJob(Named("bad"))}),
        ("late", lambda found: {f"{n}2": PlannedJob(Named(f"{n}2")) for n in found}),
    )
    with pytest.raises(UserError, match="failed: bad"):
        study.conduct(config, plans, lambda name, job, out: {"name": name})
    assert list(study.read(config.figures)) == ["a", "a2"]
    assert "early: 2 runs\n" in (said := capsys.readouterr().out) and "late: 1 runs\n" in said
    # Time is up before anything begins: nothing is asked for, and nothing has failed.
    study.conduct(replace(config, minutes=1e-9), plans, None)
    assert capsys.readouterr().out.startswith("2 runs have their figures")


def test_own_samples_are_drawn_until_operations_are_spent(monkeypatch):
    c = tiny_config()
    one = SimpleNamespace(prompt_tokens=(1,) * 4, tokens=np.zeros(6))
    batches = tuple(JudgedBatch([], [one] * n, [], np.zeros(n), None) for n in (2, 1))
    monkeypatch.setattr(rejection_sft, "one_rollout", lambda *args: batches)
    monkeypatch.setattr(rejection_sft.collect, "to_sequences", list)
    engine = SimpleNamespace(prepare=lambda *args, **flags: None)
    parts = SimpleNamespace(engine=engine, policy=SimpleNamespace(config=c))
    # Ten tokens each: two completions are sampled, one is learnt twice.
    each = scoring_flops(c, [10, 10]) + 2 * train_flops(c, [10])
    config = rejection_sft.Config(rollouts=9, until_operations=2.5 * each)
    drawn = rejection_sft.draw(parts, config, None)
    assert (drawn.rollouts, drawn.tokens, len(drawn.kept)) == (3, 36, 3)
    assert drawn.operations == pytest.approx(3 * each)
    assert rejection_sft.draw(parts, rejection_sft.Config(rollouts=4), None).rollouts == 4


def test_the_settings_of_a_study_are_refused_in_a_line():
    for flags, said in (({"minutes": -1.0}, "--minutes -1.0"), ({"devices": -1}, "--devices -1")):
        with pytest.raises(UserError, match=said):
            StudySetting(**flags)
