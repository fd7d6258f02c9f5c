"""The plan of R1: who descends from whom, who reads what, and which flags the pipeline decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from r1jax.commands.cli import parse
from r1jax.errors import UserError
from r1jax.presets.r1 import PRESETS
from r1jax.run.directory import write_json
from r1jax.run.names import BASE, CHECKPOINTS
from r1jax.stages.pipeline.config import NAMES, GeneralConfig
from r1jax.stages.pipeline.lineage import Entry, add_entry, read_lineage
from r1jax.stages.pipeline.plan import plan
from r1jax.stages.pipeline.refusals import check, check_chosen
from r1jax.stages.pipeline.run import forget

DEMO = PRESETS["demo"]


def by_name(config):
    return {stage.name: stage for stage in plan(config)}


@pytest.mark.parametrize("name", PRESETS)
def test_the_recipe_of_the_paper(name):
    stages = by_name(PRESETS[name])
    parents = {stage.name: stage.parent for stage in stages.values() if stage.kind != "distill"}
    assert (
        parents.items()
        >= {
            "zero": BASE,
            "cold_start": BASE,
            "reasoning_rl": "cold_start",
            "general_sft": BASE,  # the base again, not Dev2
            "general_rl": "general_sft",
            "cold_start_data": None,
            "rejection": None,
        }.items()
    )
    assert stages["cold_start_data"].asks == ("zero",)
    assert stages["rejection"].asks == ("reasoning_rl",)
    kept = {
        name: str(stages[name].path / "kept.jsonl") for name in ("cold_start_data", "rejection")
    }
    assert stages["cold_start"].reads == (kept["cold_start_data"],)
    assert stages["general_sft"].reads[0] == kept["rejection"]
    students = [stage for stage in stages.values() if stage.kind == "distill"]
    assert len(students) == len(PRESETS[name].students)
    assert all(s.reads == stages["general_sft"].reads for s in students)
    assert all(s.parent == f"base:{s.name.removeprefix('student-')}" for s in students)
    assert [s.name for s in stages.values() if s.judged] == [
        *CHECKPOINTS,
        *(s.name for s in students),
    ]
    assert {stage.kind for stage in stages.values()} <= set(NAMES)


def test_what_the_stages_are_told():
    config = replace(DEMO, run="out", seed=3, model="mine")
    stages = by_name(config)
    assert stages["reasoning_rl"].config.parent == "out/stages/03-cold_start/checkpoints"
    assert stages["rejection"].config.parent == "out/stages/04-reasoning_rl/checkpoints"
    assert stages["general_sft"].config.parent == ""
    assert stages["general_sft"].config.data.train == (
        "out/stages/05-rejection/kept.jsonl",
        "out/stages/06-general_data/sft.jsonl",
    )
    assert stages["student-llama"].path.name == "12-student-llama"
    assert stages["student-llama"].config.model == "embedded:student-llama"
    others = [s for s in stages.values() if s.kind not in ("distill", "general_data")]
    assert {stage.config.model for stage in others} == {"mine"}
    seeds = [s.config.seed for s in stages.values() if s.kind != "general_data"]
    assert len(set(seeds)) == len(seeds) and min(seeds) == 301
    orders = [stages[name].config.data.seed for name in ("zero", "reasoning_rl", "general_rl")]
    assert len(set(orders)) == 3


def test_preference_rewards_come_in_the_last_part_only():
    general = GeneralConfig(
        prompts=("general:helpful",), helpfulness=("world",), safety=("labels.jsonl",), last=0.25
    )
    config = replace(DEMO, run="out", general=general)
    config = replace(config, general_rl=replace(config.general_rl, updates=40))
    found = by_name(config)["general_rl"]
    assert found.config.data.late == ("general:helpful",)
    assert found.config.data.late_after == 30 * config.general_rl.rollout.prompts
    assert found.config.reward.model == (
        "out/stages/08-helpfulness?only=judge:helpfulness=1.0",
        "out/stages/09-safety?only=judge:safety=1.0",
    )
    assert found.asks == ("helpfulness", "safety")
    assert found.config.rollout.temperature == 0.7
    assert by_name(config)["safety"].reads == ("labels.jsonl",)
    assert by_name(config)["safety"].parent == "general_sft"


def test_without_general_data_there_are_no_stages_for_it():
    stages = by_name(replace(DEMO, general=GeneralConfig(), students=()))
    assert list(stages) == [
        "zero", "cold_start_data", "cold_start", "reasoning_rl", "rejection", "general_sft",
        "general_rl",
    ]  # fmt: skip
    assert stages["general_rl"].path.name == "07-general_rl"
    assert not stages["general_rl"].config.data.late


def test_a_missing_address_is_refused_before_anything_runs(tmp_path):
    config = replace(PRESETS["paper"], run=str(tmp_path), students=())
    with pytest.raises(UserError, match="--cold-start-data.rewriter endpoint: needs --cold-start"):
        check(config, plan(config))
    check(replace(PRESETS["research"], run=str(tmp_path)), plan(PRESETS["research"]))


def test_a_student_of_the_paper_has_its_learning_rate():
    stages = by_name(replace(PRESETS["paper"], students=("qwen-7b", "own=dir")))
    assert stages["student-qwen-7b"].config.model == "Qwen/Qwen2.5-Math-7B"
    assert stages["student-qwen-7b"].config.optimizer.lr == 8e-5
    assert stages["student-own"].config.optimizer.lr == PRESETS["paper"].distill.optimizer.lr
    assert stages["student-own"].config.model == "dir"


def test_a_student_that_can_stay_is_not_begun_anew(tmp_path):
    config = replace(DEMO, run=str(tmp_path), from_="distill", students=("a=x", "b=y"))
    students = {s.name: s for s in plan(config) if s.kind == "distill"}
    for name, stage in students.items():
        stage.path.mkdir(parents=True)
        write_json(stage.path / "config.json", stage.config)
        write_json(stage.path / "summary.json", {})
        add_entry(tmp_path / "lineage.json", name, Entry(weights=name))
    other = replace(config, students=("a=x", "b=z"))
    forget(other, plan(other))
    assert students["student-a"].path.exists() and not students["student-b"].path.exists()
    assert list(read_lineage(tmp_path / "lineage.json")) == ["student-a"]
    alone = replace(config, students=("a=x",))
    forget(alone, plan(alone))
    assert not students["student-a"].path.exists()  # nothing else can be meant


@pytest.mark.parametrize("only", [("distill",), ("safety", "helpfulness")])
def test_stages_that_the_plan_has_not_are_refused(only):
    config = replace(DEMO, only=only, students=(), general=GeneralConfig())
    with pytest.raises(UserError, match=rf"the plan has no stage .*{only[0]}.*--students"):
        check_chosen(config, plan(config))
    check_chosen(DEMO, plan(DEMO))


def test_stages_are_chosen():
    parsed = parse(DEMO, ["--from", "rejection", "--to", "general_rl"])
    assert parsed.chosen == NAMES[4:10]
    assert parse(DEMO, ["--only", "zero", "distill"]).chosen == ("zero", "distill")
    assert DEMO.chosen == NAMES


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "zero", "--to", "zero"], "--only, --from, --to: give --only or"),
        (["--from", "rejection", "--to", "zero"], "the first comes after the second"),
        (["--zero.run", "x"], "--zero.run: unknown flag"),
        (["--reasoning-rl.parent", "x"], "--reasoning-rl.parent: unknown flag"),
        (["--cold-start.data.train", "x"], "--cold-start.data.train: unknown flag"),
        (["--rejection.data.seed", "3"], "--rejection.data.seed: unknown flag"),
        (["--safety.kind", "pairwise"], "--safety.kind: unknown flag"),
        (["--zero.updates", "0"], "--zero.updates 0: must be at least 1"),
        (["--general-rl.rollout.group=0"], "--general-rl.rollout.group 0: must be at least 1"),
        (["--general.prompts"], "no prompts to judge"),
        (["--general.last", "1.5"], "--general.last 1.5: must be above 0 and below 1"),
        (["--general.noise", "0.5"], "--general.noise 0.5"),
        (["--general.sft-count", "0"], "--general.sft-count 0"),
        (["--general.helpfulness", "--general.safety"], "nothing would judge them"),
    ],
)
def test_what_does_not_fit_is_refused(flags, message):
    with pytest.raises(UserError, match=message):
        parse(DEMO, flags)


@pytest.mark.parametrize(
    ("students", "message"),
    [(("bert",), "--students bert: expected NAME=MODEL"), (("a=x", "a=y"), "a name occurs twice")],
)
def test_students_that_are_none(students, message):
    with pytest.raises(UserError, match=message):
        plan(replace(DEMO, students=students))
