"""The runs of claims: queue, deadline, resume, flags, what is shared, comparison data."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from experiments.claims import coins, figures, gold, study
from experiments.claims.every import CLAIMS
from experiments.claims.runs import DEMO, WORLD, Config
from experiments.claims.trial import SELECTION_SEEDS, BaseAndSeed, Study
from experiments.gates import jobs
from experiments.gates.study import PlannedJob, read
from experiments.methods.changes import SEEN
from experiments.pretraining import config as pretraining
from experiments.pretraining.base import model_config
from r1jax.commands import cli, evaluate
from r1jax.data import DataConfig, EvalDataConfig
from r1jax.data.examples.preferences import PreferenceConfig
from r1jax.data.problems.sources import open_source
from r1jax.data.tokenizer import load_tokenizer
from r1jax.errors import UserError
from r1jax.evaluate.measures import EvalConfig
from r1jax.models import table
from r1jax.models.hub.find import model_directory
from r1jax.presets.r1 import PRESETS as R1
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import per_completion
from r1jax.rewards.adapters import named_reward
from r1jax.run.directory import write_jsonl
from r1jax.run.flags import part
from r1jax.stages.search.config import SearchRunConfig
from r1jax.training.rl.config import RLConfig

pytestmark = pytest.mark.lab

CONFIG = Config()


@dataclass(frozen=True)
class Script:
    """A job that writes down when it ran, on which GPU, and what of it was there before."""

    name: str
    out: Path
    code: str = ""
    config: object = None

    def finished(self, out):
        return (out / f"{self.name}.done").exists()

    @property
    def command(self):
        text = f"import os, time\nstart, log = time.monotonic(), {str(self.out / 'order')!r}\n"
        text += self.code
        text += (
            f"\nopen(log, 'a').write('{self.name} %s\\n' % os.environ.get('CUDA_VISIBLE_DEVICES'))"
            f"\nopen({str(self.out / (self.name + '.done'))!r}, 'w').close()"
        )
        return [sys.executable, "-S", "-c", text]


@dataclass(frozen=True)
class Setting:
    out: str
    seeds: int = 1
    jobs: int = 1
    memory_fraction: float = 0.0


def order(out):
    path = out / "order"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def test_jobs_wait_for_what_they_need(tmp_path):
    names = ["rl", "sft", "data", "zero", "other"]
    scripts = [Script(name, tmp_path) for name in names]
    after = {"rl": ("sft",), "sft": ("data",), "data": ("zero",)}
    assert jobs.perform(scripts, Setting(str(tmp_path)), after) == []
    assert order(tmp_path) == ["zero", "data", "sft", "rl", "other"]
    # What is finished is not run again, and counts as done for those that wait for it.
    (tmp_path / "sft.done").unlink()
    (tmp_path / "rl.done").unlink()
    assert jobs.perform(scripts, Setting(str(tmp_path), jobs=2), after) == []
    assert order(tmp_path)[5:] == ["sft", "rl"]


def test_what_waits_for_a_failed_job_is_not_run(tmp_path):
    scripts = [
        Script("data", tmp_path, "raise SystemExit(3)"), Script("rl", tmp_path),
        Script("other", tmp_path),
    ]  # fmt: skip
    failed = jobs.perform(scripts, Setting(str(tmp_path), jobs=2), {"rl": ("data",)})
    assert failed == ["data"]
    assert order(tmp_path) == ["other"]


def test_jobs_in_a_circle_are_refused(tmp_path):
    scripts = [Script("a", tmp_path), Script("b", tmp_path), Script("c", tmp_path)]
    with pytest.raises(UserError, match="a, b: wait for each other"):
        jobs.perform(scripts, Setting(str(tmp_path)), {"a": ("b",), "b": ("a",)})


def test_jobs_are_dealt_over_devices(tmp_path):
    meet = "while len(os.listdir({0!r})) < 4 and time.monotonic() < start + 20: time.sleep(0.01)"
    here = tmp_path / "here"
    here.mkdir()
    scripts = [
        Script(f"j{i}", tmp_path, f"open({str(here / str(i))!r}, 'w')\n" + meet.format(str(here)))
        for i in range(4)
    ]
    assert jobs.perform(scripts, Setting(str(tmp_path), jobs=2), devices=2) == []
    seen = [line.split()[1] for line in (tmp_path / "order").read_text().splitlines()]
    assert sorted(seen) == ["0", "0", "1", "1"]


@pytest.mark.parametrize(
    ("number", "count", "cores", "own"),
    [
        (0, 1, 4, [0, 1, 2, 3]), (1, 2, 8, [4, 5, 6, 7]), (2, 3, 8, [5, 6]),
        (3, 8, 8, [3, 4]), (7, 8, 8, [7, 0]), (5, 16, 8, [2, 3]), (1, 3, 1, [0]),
    ],
)  # fmt: skip
def test_jobs_share_the_cores(number, count, cores, own):
    assert jobs.cores_of(number, count, list(range(cores))) == own


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_job_keeps_to_its_cores(tmp_path):
    mine = sorted(os.sched_getaffinity(0))
    code = "open({0!r}, 'w').write(str(sorted(os.sched_getaffinity(0))))"
    scripts = [Script(f"j{i}", tmp_path, code.format(str(tmp_path / f"c{i}"))) for i in range(8)]
    assert jobs.perform(scripts, Setting(str(tmp_path), jobs=4)) == []
    allowed = {str(sorted(jobs.cores_of(i, 4, mine))) for i in range(4)}
    assert {(tmp_path / f"c{i}").read_text() for i in range(8)} <= allowed
    assert sorted(os.sched_getaffinity(0)) == mine


def test_the_deadline_stops_and_a_second_call_goes_on(tmp_path, capsys):
    first = "if not os.path.exists({0!r}):\n    open({0!r}, 'w').close()\n    time.sleep(60)"
    slow = Script("long", tmp_path, first.format(str(tmp_path / "m")))
    scripts = [Script("quick", tmp_path), slow, Script("late", tmp_path)]
    started = time.monotonic()
    assert jobs.perform(scripts, Setting(str(tmp_path)), until=started + 2) == []
    assert time.monotonic() - started < 20
    assert order(tmp_path) == ["quick"]
    assert "long: stopped" in capsys.readouterr().out
    assert jobs.perform(scripts, Setting(str(tmp_path)), until=time.monotonic() + 60) == []
    assert order(tmp_path) == ["quick", "long", "late"]


# --- the plan ----------------------------------------------------------------------------------


def line(name, value=0.5, **more):
    """What is found of a run, as far as plans ask for it."""
    course = {"accuracy": [0.9] * 9, "operations": [1e11] * 9}
    return {"name": name, "after": {"pass_at_1": value, "samples": 16}, "course": course,
            "operations": {"student": 1e12}, **more}  # fmt: skip


@pytest.fixture(scope="module")
def phases():
    """(the runs of all claims, phase by phase, each planned from the lines of those before)."""
    found, made = {}, []
    while todo := study.wanted(CONFIG, found):
        made.append(todo)
        new = {name: line(name) for name in todo if name not in found}
        assert new
        for name, step in todo.items():  # what a run waits for is done, or is done first
            assert all(first in found or first in todo for first in step.after), name
        found |= new
    return made


def jobs_of(phases):
    return {name: step.job for todo in phases for name, step in todo.items()}


def test_rates_are_chosen_before_anything_is_compared(phases):
    """On another base, other seeds and other problems, for every arm from the same grid."""
    found = jobs_of(phases)
    chosen = {name: job for name, job in found.items() if name.startswith("select-")}
    compared = {name: job for name, job in found.items() if "-b0-s1" in name}
    arms = {name.removesuffix("-b0-s1") for name in compared}
    for arm in ("zero", "zero-mean", "rejection", "rl-cold", "cold", "distil-1024", "std",
                "student-rl", "method-ppo", "coin", "on-policy", "cap-raised", "search-mcts",
                "search-own"):  # fmt: skip
        tried = {name for name in chosen if name.startswith(f"select-{arm}-b5-")}
        assert len(tried) == len(CONFIG.rates) * len(SELECTION_SEEDS), arm
        assert arm in arms
    for name, job in chosen.items():
        if isinstance(job.config, (RLConfig, SearchRunConfig, evaluate.Config)):
            assert job.config.data.eval == (f"{WORLD}?skip=256",), name
            assert job.config.data.eval_count == 128
            assert job.config.seed in SELECTION_SEEDS and job.config.model.endswith("5"), name
    held_out = [job.config for job in compared.values() if isinstance(job.config, RLConfig)]
    assert all(run.data.eval == (WORLD,) and run.seed == 1 for run in held_out)
    assert {run.model[-1] for run in held_out} == {"0"}
    assert not any(name.startswith("zero-b") for name in phases[0])


def test_every_base_has_every_seed(phases):
    found = jobs_of(phases)
    for arm, seeds in (("zero", 3), ("zero-mean", 2), ("rl-corpus", 3), ("distil-4096", 2)):
        assert {name for name in found if re.fullmatch(rf"{arm}-b\d-s\d", name)} == {
            f"{arm}-b{base}-s{seed}" for base in range(5) for seed in range(seeds)
        }
    assert {name for name in found if re.fullmatch(r"base\d", name)} == {
        f"base{number}" for number in range(6)
    }
    assert sum(name.startswith("countdown-") for name in found) == 8 * 6


def test_the_best_rate_is_taken_and_what_diverged_is_not():
    found = {}
    for rate, value in zip(CONFIG.rates, (0.3, 0.6, 0.5, 0.9), strict=True):
        for seed in SELECTION_SEEDS:
            found[f"select-zero-b5-{rate:g}-s{seed}"] = line("", value)
    assert Study(CONFIG, found).rate("zero") == 1e-3
    found["select-zero-b5-0.001-s91"] = {"name": "", "diverged": True}
    assert Study(CONFIG, found).rate("zero") == 1e-4
    del found["select-zero-b5-3e-05-s90"]
    assert Study(CONFIG, found).rate("zero") is None
    # Where a run is judged apart, its own line is not enough.
    found = {name: {"name": name, "updates": 3} for name in found}
    assert Study(CONFIG, found).row("select-zero-b5-0.0001-s90") == {}
    found["judge-select-zero-b5-0.0001-s90"] = line("")
    assert Study(CONFIG, found).row("select-zero-b5-0.0001-s90")["updates"] == 3


def test_what_waits_for_a_run_that_diverged_is_not_asked_for_again():
    config, found = replace(CONFIG, only=("d",)), {}
    while todo := study.wanted(config, found):
        for name in todo:
            if name.startswith("select-cold-b5-0.001"):
                found[name] = {"name": name, "diverged": True}
            elif not name.startswith("judge-select-cold-b5-0.001"):  # had nothing to judge
                found[name] = line(name)
    assert "rl-cold-b4-s2" in found


def test_all_students_spend_what_reinforcement_learning_spends(phases):
    found = jobs_of(phases)
    for arm in ("distil-256", "distil-4096", "student-on-policy", "method-grpo", "method-prime"):
        run = found[f"{arm}-b2-s1"].config
        most = 1e11 if arm.startswith("method") else 1e12
        assert run.until_operations == most, arm
    assert found["search-own-b2-s1"].config.until_operations == 1e12
    assert found["student-own-b2-s1"].config.until_operations == 0
    charged = found["charged-rl-b2-s1"].config
    assert (charged.until_operations, charged.updates) == (2e12, 8 * 60)
    assert found["student-rl-b2-s1"].config.until_operations == 0


def test_flags_mean_what_the_claims_say(phases):
    found = jobs_of(phases)
    run = lambda name: found[name].config  # noqa: E731
    assert run("zero-b1-s1").model == "runs/claims_bases/base1"
    assert replace(run("zero-b1-s1").loss) == DEMO.loss
    assert run("zero-mean-b0-s0").loss.reduction == "sequence_mean"
    assert run("chinese-language-b0-s1").data.weights == (4.0, 1.0)
    assert run("chinese-language-b0-s1").reward.language == 1.0
    assert run("rl-cold-b1-s1").parent == "runs/claims/cold-b1-s1/checkpoints"
    assert run("cap-kept-b0-s0").rollout.max_tokens == 48
    assert run("full-cap-kept-b0-s0").rollout.max_tokens == 128
    assert run("cap-raised-b0-s0").updates == 30
    assert run("cap-raised-b0-s0").data.seed != run("cap-first-b0-s0").data.seed
    assert run("clip-10-b0-s0").loss.clip_low == 10
    assert run("clip-10-b0-s0").train.updates_per_rollout == 16
    assert run("clip-10-b0-s0").updates == 16 * 24
    assert run("proxy-few-b0-s0").data == PreferenceConfig(
        train=("runs/claims/pairs-few-s0/pairs.jsonl",),
        eval=("runs/claims/pairs-few-s0/held_out.jsonl",), template="mini",
    )  # fmt: skip
    assert run("pairs-null-s0").noise == 0.5
    assert run("hack-many-b1-s0").reward.accuracy == 0
    assert run("distil-256-b3-s0").model == "runs/claims_bases/student3"
    for name in ("on-policy-b0-s1", "student-on-policy-b0-s1"):  # accuracy is seen, not learnt
        assert run(name).reward == CONFIG.zero.reward.only(user=SEEN)
    assert run("on-policy-b0-s1").teacher.parent == "runs/claims/zero-b0-s1/checkpoints"
    assert run("countdown-quarter-s3").optimizer.lr == 1.25e-5
    assert run("countdown-text-s3").reward.user == ("experiments.claims.coins:of_text",)
    assert run("countdown-sample-s3").reward.random == 1
    assert run("many-zero-b0-s1-1").data.eval == (f"{WORLD}?harder=true",)
    assert run("many-base0-s90-0").seed == 90 and run("many-base0-s0-0").eval.samples == 256
    assert run("rl-instruct-b2-s1").parent == "runs/claims/instruct-b2-s1/checkpoints"
    assert run("instruct-b2-s1").data.train == ("runs/claims/replies-s1/replies.jsonl",)
    assert run("forced-en-zh-zero-b0-s0").data.prefill == "<think> 先"


def test_flags_mean_what_the_claims_of_steps_say(phases):
    found = jobs_of(phases)
    run = lambda name: found[name].config  # noqa: E731
    assert (run("steps-hard-b0-s1").labels, run("steps-hard-b0-s1").steps) == ("hard", "sentence")
    assert (run("steps-whole-b0-s1").labels, run("steps-whole-b0-s1").steps) == ("truth", "line")
    assert run("steps-tested-b0-s1").data.seed == 1001 != run("steps-truth-b0-s1").data.seed
    assert run("prm-hard-b0-s1").kind == "process" and run("prm-hard-b0-s1").steps == "sentence"
    assert run("prm-hard-b0-s1").data.train == ("runs/claims/steps-hard-b0-s1/rows.jsonl",)
    assert run("prm-hard-b0-s1").data.eval == ("runs/claims/steps-tested-b0-s1/rows.jsonl",)
    assert run("best-truth-b2-s1").completions == "runs/claims/judge-base2/completions.jsonl"
    assert run("best-truth-b2-s1").reward == "runs/claims/prm-truth-b2-s1"
    alone, watched = run("pleasing-b0-s0").reward, run("watching-b0-s0").reward
    assert alone.model == ("runs/claims/prm-hard-b0-s0=1.0",) and alone.format == 0
    assert alone.accuracy == 0 and alone.user == (*SEEN, *watched.user) and len(watched.user) == 2
    assert watched.model == ("runs/claims/prm-hard-b0-s0=0",) and watched.accuracy == 1
    search, zero = run("search-beam-b1-s1"), run("zero-b1-s1")
    assert (search.rounds, search.method, search.model) == (3, "beam", "runs/claims_bases/base1")
    assert search.data == zero.data and search.eval == part(EvalConfig, zero.eval)
    assert run("thinking-zero-b1-s1").budgets == (8, 16, 32, 64, 128)
    assert run("thinking-zero-b1-s1").checkpoints == "runs/claims/zero-b1-s1/checkpoints"


def test_command_lines_are_read_back_as_they_were_meant(phases):
    found = jobs_of(phases)
    names = ["zero-b1-s1", "rl-cold-b1-s1", "cold-b0-s0", "cold-data-b0-s0",
             "teacher-data-256-b0-s0", "rejection-b0-s0", "proxy-few-b0-s0", "hack-null-b1-s0",
             "method-ppo-b0-s0",
             "countdown-unclipped-s0", "many-base0-s90-1", "cold-others-b0-s0", "pairs-few-s0",
             "on-policy-b0-s0", "clip-10-b0-s0", "steps-hard-b0-s0", "prm-whole-b0-s0",
             "best-hard-b0-s0", "pleasing-b0-s0", "watching-b0-s0", "search-mcts-b0-s0",
             "search-own-b0-s0", "thinking-zero-b0-s0"]  # fmt: skip
    for name in names:
        job = found[name]
        assert cli.parse(job.default, job.command[3:]) == job.config, name
    for name, job in found.items():  # none says what nothing would read
        assert not job.config or not set(job.command) & cli.idle_flags(job.config).keys(), name
    for kind in ("base3", "student0", "chinese0", "large0", "tinyzero0"):
        job = found[kind]
        assert cli.parse(pretraining.Config(), job.command[3:]) == job.config
    large, small = (model_shape(found[kind].config) for kind in ("base0", "student0"))
    assert large[0] == 1_771_456 and small[0] < large[0] / 4
    job = found["r1-b1-s1"]
    assert job.command[3:5] == ["--preset", "demo"]
    config = cli.parse(R1["demo"], job.command[5:])
    assert (config.model, config.seed) == ("runs/claims_bases/base1", 1)
    assert config.general_rl.rollout.slots == config.rejection.rollout.slots == 256
    assert config.cold_start_data.prompts == R1["demo"].cold_start_data.prompts


def model_shape(config):
    """(parameters, layers) of what a pre-training makes."""
    tokenizer = load_tokenizer(model_directory("embedded"))
    c = model_config(config, tokenizer)
    return table.count(c), c.n_layers


def test_equal_texts_share_a_coin():
    problem = Problem("p", "?", "")
    toss = lambda text: coins.of_text([problem], [Completion.parse(text)], RewardContext())  # noqa: E731
    tossed = [toss(f"guess {i}")[0] for i in range(64)]
    assert set(tossed) == {0.0, 1.0} and 16 < sum(tossed) < 48
    assert toss("guess 3") == toss("guess 3") == [tossed[3]]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--only", "x"], "--only x: no such claim; choose from random g f a d"),
        (["--rates", "0"], "--rates (0.0,): name learning rates above 0"),
        (["--seeds", "0"], "--seeds 0"),
        (["--bases", "0"], "--bases 0"),
    ],
)
def test_studies_that_cannot_be_are_refused(flags, said, tmp_path, capsys):
    argv = [*flags, "--out", str(tmp_path / "out")]
    assert cli.run(study.main, Config(), argv, presets=study.PRESETS) == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")
    assert not (tmp_path / "out").exists()


# --- the line of a run -------------------------------------------------------------------------


def test_a_diverged_run_has_a_line_and_a_failed_one_has_none(tmp_path):
    config = replace(CONFIG, out=str(tmp_path), figures=str(tmp_path / "f.jsonl"))
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "nonfinite_batch.npz").write_bytes(b"")
    found = {}
    (tmp_path / "stages" / "zero").mkdir(parents=True)
    (tmp_path / "stages" / "zero" / "nonfinite_batch.npz").write_bytes(b"")
    names = ["lost", "stages", "broken"]
    todo = {name: PlannedJob(Script(name, tmp_path)) for name in names}
    assert study.still_failed(config, todo, found, names) == ["broken"]
    assert [(name, row["diverged"]) for name, row in found.items()] == [
        ("lost", True), ("stages", True),
    ]  # fmt: skip
    assert read(config.figures) == found and found["lost"]["asked"]


def test_an_evaluations_texts_are_told_by_modes_or_by_tries(tmp_path):
    problems = open_source(WORLD, DataConfig(), 0, None)[0].evaluation(2)
    said = ((0, " = 4"), ("greedy", " First 2+2=4. = 4"))
    rows = [
        {"id": p.id, "question": p.question, "sample": sample, "text": text, "length": 4,
         "lenient": True, "finish_reason": "stop"}
        for p in problems for sample, text in said
    ]  # fmt: skip
    job = evaluate.Config(data=EvalDataConfig(eval_count=2, template="mini"))
    write_jsonl(tmp_path / "completions.jsonl", rows)
    found = figures.texts(job, tmp_path)
    assert found["modes"]["guess"] == [1.0, 4.0] and len(found["greedy"]) == 2
    (problem,) = open_source("tinyzero:countdown", DataConfig(), 0, None)[0].evaluation(1)
    made = "<think>\n1+2=3, 3+4=7 no\n1+4=5 yes\n</think>\n<answer> 1 </answer>"
    rows = [rows[0] | {"id": problem.id, "sample": s, "text": made} for s in (0, 1, "greedy")]
    write_jsonl(tmp_path / "completions.jsonl", rows)
    job = replace(job, data=replace(job.data, eval=("tinyzero:countdown",), eval_count=1))
    found = figures.texts(job, tmp_path)
    assert (found["reward"], found["tagged"]) == (0.1, 1.0)
    assert (found["tries"], found["greedy_tries"]) == (2.0, 2.0)


def test_what_steps_search_and_budgets_leave_is_read(tmp_path):
    record = {"samples": 4, "pass_at_1": 0.5, "pass_at_1_ci": [0.4, 0.6], "pass_at_1_strict": 0.5,
              "format": 1.0, "length_mean": 9.0, "truncated": 0.0, "cons_at_4": 0.5,
              "per_problem": [{"correct": 0.25}, {"correct": 0.75}]}  # fmt: skip
    summary = {
        "budgets": [record | {"budget": 8}, record | {"budget": 16}],
        "measures": {"vote": {"mean": 0.75, "per_problem": [1.0, 0.5]}},
        "after": {"f1": 0.123456, "auc": 0.9, "rows": 7},
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert figures.choices(tmp_path) == {"choices": {"vote": "1 0.5"}}
    assert figures.reward_model(tmp_path) == {"after": {"f1": 0.123456, "auc": 0.9}}
    assert figures.budgets(tmp_path)["budgets"]["16"]["right"] == "1 3"
    evaluations = [record | {"update": 0}, record | {"update": 1, "cons_at_4": 1.0}]
    (tmp_path / "eval.json").write_text(json.dumps(evaluations))
    write_jsonl(tmp_path / "metrics.jsonl", [{"search/best": 0.5, "search/best_ci": [0, 1]}])
    found = figures.rounds(tmp_path)
    assert found["before"]["cons"] == 0.5 and found["after"]["cons"] == 1.0
    assert found["rounds"] == [found["after"] | {"search/best": 0.5}]


def test_the_world_counts_its_true_steps():
    problem = Problem("s", "12+34-5=?", "41", "number", {"family": "sum", "target": 41})
    written = Completion.parse(" First 12+34=36. Then 36+5=41. The answer is 41.")
    of = lambda term: term([problem], [written], RewardContext())  # noqa: E731
    assert of(gold.steps) == [3.0] and of(gold.true_steps) == [2.0]


def test_every_problem_is_in_the_line_of_a_run():
    record = {"samples": 4, "language_consistency": 0.5, "pass_at_1_greedy": None,
              "per_problem": [{"correct": 0.25}, {"correct": 1.0}]}  # fmt: skip
    assert figures.more(record) == {"language_consistency": 0.5, "right": "1 4"}
    rows = [{"rollout": 1, "reward/gold": 0.5, "reward/accuracy": 1.0, "policy/clip_frac": 0.0},
            {"rollout": 1, "policy/clip_frac": 0.5}]  # fmt: skip
    assert figures.watched(rows) == {"reward/gold": [0.5], "clipped": [0.25]}


def test_the_gold_is_a_reward_of_weight_0():
    name, reward, weight = named_reward("experiments.claims.gold:gold=0")
    assert (name, weight) == ("gold", 0.0)
    assert type(reward) is type(per_completion(lambda problem, completion: 0.0))


@pytest.mark.slow
def test_a_claim_from_end_to_end(tmp_path, capsys):
    argv = ["--preset", "smoke", "--only", "b", "--bases", "1", "--out", str(tmp_path / "runs")]
    argv += ["--figures", str(tmp_path / "figures.jsonl")]
    for _ in range(2):
        assert cli.run(study.main, Config(), argv, presets=study.PRESETS) == 0
    assert capsys.readouterr().out.count("short-b0-s0: started") == 1
    config = cli.parse(study.SMOKE, argv[2:])
    known = Study(config, read(config.figures))
    row = CLAIMS["b"].measure(known, BaseAndSeed(0, 0))
    assert row["cons@16/short R1-Zero"] is not None and row["pass@1/base"] is not None
