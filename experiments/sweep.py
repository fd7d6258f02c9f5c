"""Which learning rate suits a model and its problems: three rates, two seeds each, side by side.

    python -m experiments.sweep --zero.model DIRECTORY --zero.data.train FILE.jsonl \\
        --zero.data.eval TEST.jsonl --out runs/sweep

Flags of experiments.zero go under --zero, its presets by --preset. What is finished in --out is not
run again and what was stopped goes on, so that the same command takes a sweep up where it stood,
with more seeds as well. Six times one run's time, less with --jobs or --gpus. Leaves sweep.json and
sweep.md: each rate's mean over seeds, and the command that trains at the best one. That one's
result is the best of several: judge it on problems that had no say in the choice.
"""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.gates import jobs as processes
from experiments.gates.jobs import Job
from r1jax.commands import cli, zero
from r1jax.errors import UserError, check_ranges
from r1jax.report.markdown import markdown_table
from r1jax.run.directory import read_json, write_json
from r1jax.training.rl.config import RLConfig

DEFAULT, PRESETS = zero.COMMAND.default, zero.COMMAND.presets
HEADS = ("rate", "seeds", "before", "after", "lowest", "highest", "length", "format")


@dataclass(frozen=True)
class Config(processes.GateSetting):
    """Which runs make the sweep."""

    out: str = "runs/sweep"
    """Directory of all runs and of the result."""
    seeds: int = 2
    """Runs of each rate, seeds 0 to seeds - 1 (of sampling and of the training problems)."""
    rates: tuple[float, ...] = ()
    """Learning rates; none given: a third of --zero.optimizer.lr, that, and three times that."""
    gpus: int = 0
    """GPUs to which the runs are dealt out, --jobs on each; 0: --jobs in all."""
    zero: RLConfig = DEFAULT
    """Every run's flags, but for run directory, rate and seeds."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", gpus="[0,]")
        shown = {f"{rate:g}" for rate in self.rates}  # as directories are named
        if len(shown) < len(self.rates) or any(not rate > 0 for rate in self.rates):
            raise UserError(f"--rates {self.rates}: expected numbers above 0 that differ")
        given, usual = self.zero, {"": DEFAULT} | PRESETS
        for flag, own, of in (
            ("run", "--out", lambda c: c.run), ("seed", "--seeds", lambda c: c.seed),
            ("data.seed", "--seeds", lambda c: c.data.seed),
        ):  # fmt: skip
            if of(given) not in {of(run) for run in usual.values()}:
                raise UserError(
                    f"--zero.{flag} {of(given)}: {own} says it of all runs; leave it out"
                )

    @property
    def grid(self) -> tuple[float, ...]:
        """The learning rates, the smallest first."""
        middle = self.zero.optimizer.lr
        return tuple(sorted(self.rates or (float(f"{middle / 3:.2g}"), middle, 3 * middle)))


def runs(config: Config) -> dict[float, list[Job]]:
    """The runs of each rate."""
    out = Path(config.out)

    def job(rate: float, seed: int) -> Job:
        name = f"lr{rate:g}-seed{seed}"
        run = replace(
            at(config.zero, rate), run=str(out / name), seed=seed,
            data=replace(config.zero.data, seed=seed),
        )  # fmt: skip
        return Job(name, "experiments.zero", run, DEFAULT)

    return {rate: [job(rate, seed) for seed in range(config.seeds)] for rate in config.grid}


def at(run: RLConfig, rate: float) -> RLConfig:
    """The run at another learning rate."""
    return replace(run, optimizer=replace(run.optimizer, lr=rate))


def row(rate: float, summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the finished runs of a rate came to, means over seeds."""

    def mean(side: str, key: str) -> float | None:  # of what was not judged before there is none
        found = [summary[side].get(key) for summary in summaries]
        return None if None in found else statistics.fmean(found)

    after = [summary["after"]["pass_at_1"] for summary in summaries]
    return {
        "rate": rate, "seeds": len(summaries), "before": mean("before", "pass_at_1"),
        "after": mean("after", "pass_at_1"), "lowest": min(after), "highest": max(after),
        "length": mean("after", "length_mean"), "format": mean("after", "format"),
    }  # fmt: skip


def command(config: Config, rate: float) -> str:
    """The command that trains at a rate as the sweep did, in a directory of its own."""
    run = replace(at(config.zero, rate), run=str(Path(config.out) / "best"))
    return shlex.join(["python", "-m", "experiments.zero", *processes.flags(run, DEFAULT)])


def main(config: Config) -> None:
    """Runs what is not finished, then compares what there is; UserError when a run failed."""
    out, by_rate = Path(config.out), runs(config)
    if not config.zero.data.eval:
        raise UserError("--zero.data.eval: name problems to be judged on, by which rates compare")
    out.mkdir(parents=True, exist_ok=True)
    every = [job for found in by_rate.values() for job in found]
    failed = processes.perform(every, config, devices=config.gpus)
    done = {
        rate: [read_json(out / job.name / "summary.json") for job in found
               if job.name not in failed]
        for rate, found in by_rate.items()
    }  # fmt: skip
    rows = [row(rate, summaries) for rate, summaries in done.items() if summaries]
    if rows:
        best = max(rows, key=lambda found: found["after"])
        how = command(config, best["rate"])
        write_json(out / "sweep.json", {"rows": rows, "best": best["rate"], "command": how})
        table = markdown_table(HEADS, [[f"{r['rate']:g}", *list(r.values())[1:]] for r in rows])
        text = f"{table}\n\nbest by held-out pass@1: {best['rate']:g}\n\n    {how}\n"
        (out / "sweep.md").write_text(text)
        print(text)
    processes.complain(failed, config)


if __name__ == "__main__":
    made = {name: Config(zero=preset) for name, preset in PRESETS.items()}
    raise SystemExit(cli.run(main, Config(), presets=made))
