"""Does a run learn as much in 16 bits as in float32?

    python -m experiments.gates.arithmetic --jobs 3 --memory-fraction 0.3

Runs R1-Zero in float32, bfloat16 and float16 (sampler and trainer alike) from one base under the
same seeds, and says how far each is from float32: held-out pass@1 at the end, by seed and as a mean
with its paired t interval, the difference of sampler and trainer over the run, and the updates that
the loss scale of float16 skipped. The flags of every run go under --zero.; of another model, on the
task of sums:

    python -m experiments.gates.arithmetic --jobs 3 --memory-fraction 0.3 --out runs/sums
      --zero.model DIRECTORY --zero.data.template chat --zero.rollout.max-prompt 96
      --zero.data.train "reasoning_gym:chain_sum?min_terms=2&max_terms=2&min_digits=1&max_digits=2"
      --zero.data.eval "reasoning_gym:chain_sum?min_terms=2&max_terms=2&min_digits=1&max_digits=2"
      --zero.rollout.group 16 --zero.rollout.slots 512 --zero.rollout.max-tokens 96
      --zero.reward.format 0 --zero.optimizer.lr 1e-5 --zero.train.rows 16 --zero.train.width 512

What is finished in --out is not run again. Leaves gate.json and gate.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.gates import jobs as processes
from experiments.gates.jobs import Job
from r1jax.commands import cli
from r1jax.evaluate.statistics import t_interval
from r1jax.presets.zero import PRESETS
from r1jax.report.markdown import markdown_table
from r1jax.run.directory import read_json, read_jsonl
from r1jax.run.names import METRICS, SUMMARY
from r1jax.training.rl.config import RLConfig

DEMO = PRESETS["demo"]
KINDS = ("float32", "bfloat16", "float16")
MARGIN = 0.02  # points of pass@1 that 16 bits may lose


@dataclass(frozen=True)
class Config(processes.GateSetting):
    """Which runs are compared."""

    out: str = "runs/arithmetic"
    seeds: int = 3
    zero: RLConfig = replace(DEMO, eval=replace(DEMO.eval, every=0, greedy=False))
    """Every run's flags, but for run directory, seeds and arithmetic."""


def runs(config: Config) -> list[Job]:
    """Every seed in every arithmetic, seed by seed."""
    out, found = Path(config.out), []
    for seed, run in processes.seed_runs(config.zero, config.seeds, out).items():
        for kind in KINDS:
            same = replace(
                run,
                run=str(out / f"{kind}-{seed}"),
                rollout=replace(run.rollout, dtype=kind),
                train=replace(run.train, dtype=kind),
            )
            found.append(Job(f"{kind}-{seed}", "experiments.zero_demo", same, DEMO))
    return found


def row(summary: Mapping[str, Any], metrics: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What one run came to."""
    every = list(metrics)
    return {
        "before": summary["before"]["pass_at_1"],
        "after": summary["after"]["pass_at_1"],
        "logp_diff_mean": fmean(r["policy/logp_diff_mean"] for r in every),
        "logp_diff_p99": fmean(r["policy/logp_diff_p99"] for r in every),
        "skipped": sum(r["skipped"] for r in every),
    }


def collate(rows: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The rows of all runs, and each arithmetic against float32 over the seeds that both have."""
    against = {}
    for kind in KINDS[1:]:
        pairs = [
            (rows[name]["after"], rows[f"{KINDS[0]}-{seed}"]["after"])
            for name, seed in ((name, name.partition("-")[2]) for name in rows)
            if name.startswith(f"{kind}-") and f"{KINDS[0]}-{seed}" in rows
        ]
        gains = [own - exact for own, exact in pairs]
        if gains:
            mean = fmean(gains)
            against[kind] = {
                "by_seed": gains, "mean": mean, "ci": t_interval(gains), "holds": mean >= -MARGIN
            }  # fmt: skip
    return {"rows": dict(rows), "against_float32": against}


def markdown(gate: Mapping[str, Any]) -> str:
    """Both as tables; shares in percent."""
    heads = ("run", "before", "after", "sampler - trainer, mean", "p99", "skipped")
    lines: list[Sequence[Any]] = [
        (name, 100 * r["before"], 100 * r["after"], r["logp_diff_mean"], r["logp_diff_p99"],
         int(r["skipped"]))
        for name, r in gate["rows"].items()
    ]  # fmt: skip
    text = markdown_table(heads, lines)
    heads = ("pass@1 minus float32's", "points", "95 % from", "to", "at least -2 points")
    lines = [
        (kind, 100 * a["mean"], *([100 * x for x in a["ci"]] if a["ci"] else (None, None)),
         "yes" if a["holds"] else "no")
        for kind, a in gate["against_float32"].items()
    ]  # fmt: skip
    return f"{text}\n\n{markdown_table(heads, lines)}\n"


def main(config: Config) -> None:
    """Runs what is not finished, then collates what there is; UserError when a run failed."""
    out, every = Path(config.out), runs(config)
    out.mkdir(parents=True, exist_ok=True)
    failed = processes.perform(every, config)
    rows = {
        job.name: row(read_json(out / job.name / SUMMARY), read_jsonl(out / job.name / METRICS))
        for job in every
        if job.name not in failed
    }
    gate = collate(rows)
    processes.conclude(gate, markdown(gate), failed, config)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
