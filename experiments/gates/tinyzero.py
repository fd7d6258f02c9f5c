"""TinyZero for real: does R1-Zero teach a small base to search, and does its text grow by itself?

    python -m experiments.pretraining.base --preset countdown --out runs/tinyzero_base
    python -m experiments.gates.tinyzero --base runs/tinyzero_base --jobs 7 \\
      --memory-fraction 0.13

TinyZero's countdown (prompt, task and reward: experiments.reproductions.tinyzero_countdown) from a
base that has read tries of every patience, over several seeds, beside a random reward and
supervised training on the base's own right answers. Leaves gate.json, gate.md and plots: held-out
pass@1 and length with intervals over seeds, the reward, tries per response, and a verdict by rules
that stand in experiments.gates.tinyzero_table; a negative one is said as plainly. Flags of the runs
go under --zero. Runs share a GPU by --jobs and --memory-fraction. What is finished in --out is not
run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from experiments.gates import jobs, rejection_sft, tinyzero_plots, tinyzero_table
from experiments.gates.jobs import Job
from r1jax.checkpoint import CheckpointConfig
from r1jax.commands import cli
from r1jax.data import load_eval_sets
from r1jax.data.tinyzero.corpus import count_tries
from r1jax.presets.reproductions import REPRODUCTIONS
from r1jax.problem import Completion, Problem
from r1jax.rewards import tinyzero
from r1jax.run.directory import read_json, read_jsonl
from r1jax.run.flags import part
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import EvalSchedule, RLConfig

PUBLISHED = REPRODUCTIONS["tinyzero-countdown"]
BINS = 12  # stretches of training over which tries are averaged

# TinyZero's, but for what a base of 24M parameters asks: all of this is ours.
ZERO = replace(
    PUBLISHED,
    updates=200,  # 50 rollouts, each split into 4 as published
    rollout=replace(
        PUBLISHED.rollout, prompts=64, max_prompt=160, max_tokens=288, slots=512, prefill=32
    ),
    reward=replace(PUBLISHED.reward, workers=2),
    loss=replace(PUBLISHED.loss, beta=0.0, importance_cap=2.0),
    optimizer=OptimizerConfig(lr=5e-5, warmup=8),
    train=replace(
        PUBLISHED.train, rows=64, width=512, max_segments=4, remat="none", unroll=4, chunk=256
    ),
    eval=EvalSchedule(every=40, samples=16),
    checkpoint=CheckpointConfig(every=0, keep=1),
)


@dataclass(frozen=True)
class Config(jobs.GateSetting):
    """Which runs make the gate."""

    base: str = "runs/tinyzero_base"
    """Directory of the base."""
    out: str = "runs/tinyzero"
    controls: bool = True
    """Also run the random reward and rejection sampling."""
    judge: bool = True
    """Also draw the last completions again, for TinyZero's own reward and the count of tries."""
    zero: RLConfig = ZERO
    """Every run's flags, but for model, run directory, seeds and, in the control, the reward."""
    sft: rejection_sft.KeptSFTConfig = rejection_sft.KeptSFTConfig(
        batch=128,
        optimizer=OptimizerConfig(lr=5e-5, schedule="cosine", warmup=5),
        train=part(ComputeConfig, ZERO.train),
    )
    """How rejection sampling learns what it has kept."""


def runs(config: Config) -> list[Job]:
    """The seeds and the controls."""
    out, zero = Path(config.out), replace(config.zero, model=config.base)

    def job(run: RLConfig) -> Job:
        module = "experiments.reproductions.tinyzero_countdown"
        return Job(Path(run.run).name, module, run, PUBLISHED)

    seeds = [job(run) for run in jobs.seed_runs(zero, config.seeds, out).values()]
    if not config.controls:
        return seeds
    random = replace(zero, run=str(out / "random"), reward=zero.reward.only(random=1.0))
    rejection = replace(jobs.rejection(zero, out), sft=config.sft)
    return [
        *seeds,
        job(random),
        Job("rejection", "experiments.gates.rejection_sft", rejection, rejection_sft.Config()),
    ]


def judgements(config: Config, done: Iterable[Job]) -> list[Job]:
    """An evaluation of the base, and of the last weights of every run in `done`."""
    if not config.judge:
        return []
    out, zero = Path(config.out), replace(config.zero, model=config.base)
    common = jobs.judging(zero, zero.data.eval_count, replace(zero.eval, greedy=False))
    places = {"base": {}} | {job.name: last_weights(out / job.name, job) for job in done}
    return [jobs.evaluation(f"judge-{n}", common, out, **place) for n, place in places.items()]


def last_weights(run: Path, job: Job) -> dict[str, str]:
    """Where a run has left its weights, as flags of experiments.evaluate."""
    if job.module == "experiments.gates.rejection_sft":
        return {"model": str(run / "hf")}
    return {"checkpoint": str(run / "checkpoints")}


def measures(path: Path, problems: Mapping[str, Problem]) -> dict[str, float]:
    """TinyZero's reward, share of answer tags it sees, and tries, over the file of completions."""
    rewards, tries = [], []
    for row in read_jsonl(path):
        completion = Completion.parse(row["text"], (), row["finish_reason"])
        rewards.append(tinyzero.countdown.function(problems[row["id"]], completion))
        tries.append(count_tries(row["text"]))
    n = len(rewards)
    tagged = sum(reward > 0 for reward in rewards) / n
    return {"reward": sum(rewards) / n, "tagged": tagged, "tries": sum(tries) / n}


def curves(run: Path) -> dict[str, list[tuple[float, float]]]:
    """(update, value) of held-out pass@1 and length, and of the tries in training."""
    records = read_json(run / "eval.json")
    records = [record for record in records if record["set"] == records[0]["set"]]
    points = {
        key: [(record["update"], record[key]) for record in records]
        for key in ("pass_at_1", "length_mean")
    }
    samples = run / "samples.jsonl"
    return points | {"tries": tries_in_training(read_jsonl(samples)) if samples.exists() else []}


def tries_in_training(rows: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """(first update of a stretch, mean tries of the samples kept of its rollouts)."""
    counted: dict[int, list[int]] = {}
    for row in rows:
        counted.setdefault(row["update"], []).append(count_tries(row["text"]))
    updates = sorted(counted)
    size = max(1, -(-len(updates) // BINS))
    points = []
    for i in range(0, len(updates), size):
        values = [n for update in updates[i : i + size] for n in counted[update]]
        points.append((updates[i], sum(values) / len(values)))
    return points


def main(config: Config) -> None:
    """Runs everything, then collates what there is; UserError when a run failed."""
    out = Path(config.out)
    done, judged, failed = jobs.in_two(runs(config), partial(judgements, config), config)
    problems = {p.id: p for p in next(iter(load_eval_sets(config.zero.data).values()))}
    gate = tinyzero_table.collate(
        {job.name: read_json(out / job.name / "summary.json") for job in done},
        {
            job.name.removeprefix("judge-"): measures(
                out / job.name / "completions.jsonl", problems
            )
            for job in judged
        },
        {job.name: curves(out / job.name) for job in done},
    )
    (out / "plots").mkdir(exist_ok=True)
    for chart in tinyzero_plots.charts(gate["curves"]):
        (out / "plots" / f"{chart.name}.png").write_bytes(chart.png())
    jobs.conclude(gate, tinyzero_table.markdown(gate), failed, config)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
