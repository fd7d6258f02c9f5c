"""The gate: does R1-Zero on the embedded base learn to reason, and is it the reward that teaches?

    python -m experiments.gates.zero --seeds 5 --jobs 2 --out runs/gate

Runs the demo over several seeds, then what could explain it away, from the same base: a random
reward, the format reward alone, supervised training on the base's own right answers; on a harder
set as well; and pass@1 to pass@256 before and after (paper, section 2.3; the doubt that RL only
sharpens what the base can do anyway). Flags of the demo go under --demo. What is finished in --out
is not run again. About 8 minutes per seed on 2 CPU cores, less on an accelerator, where several
jobs share a device by --memory-fraction. Leaves gate.json and gate.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from experiments.gates import jobs as processes
from experiments.gates import rejection_sft
from experiments.gates import table as gate_table
from experiments.gates.jobs import Job
from r1jax.commands import cli
from r1jax.errors import check_ranges
from r1jax.evaluate.measures import EvalConfig
from r1jax.presets.zero import PRESETS
from r1jax.run.directory import read_json
from r1jax.training.rl.config import RLConfig

DEMO = PRESETS["demo"]
WORLD = "world:sum,countdown,word"


@dataclass(frozen=True)
class Config(processes.GateSetting):
    """Which runs make the gate."""

    controls: bool = True
    """Also run the random reward, the format reward alone, and rejection sampling."""
    curve_problems: int = 64
    """Problems of the pass@k curves; 0 leaves the curves out."""
    curve_samples: int = 256
    """Samples for each of them."""
    demo: RLConfig = replace(DEMO, data=replace(DEMO.data, eval=(WORLD, WORLD + "?harder=true")))
    """Every run's flags, but for run directory, seeds and, in the controls, the reward."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", curve_problems="[0,]", curve_samples="[1,]")


def runs(config: Config) -> list[Job]:
    """The demo's seeds and the controls."""
    out, demo = Path(config.out), config.demo

    def job(run: RLConfig) -> Job:
        return Job(Path(run.run).name, "experiments.zero_demo", run, DEMO)

    def control(name: str, **weights: float) -> Job:
        return job(replace(demo, run=str(out / name), reward=demo.reward.only(**weights)))

    seeds = [job(run) for run in processes.seed_runs(demo, config.seeds, out).values()]
    if not config.controls:
        return seeds
    rejection = processes.rejection(demo, out)
    return [
        *seeds,
        control("random", random=1.0),
        control("format", format=1.0),
        Job("rejection", "experiments.gates.rejection_sft", rejection, rejection_sft.Config()),
    ]


def curves(config: Config) -> list[Job]:
    """pass@k of the base and of every seed's last weights, on the same problems."""
    if not config.curve_problems:
        return []
    out = Path(config.out)
    eval_config = EvalConfig(samples=config.curve_samples, greedy=False)
    common = processes.judging(config.demo, config.curve_problems, eval_config)
    where = {"curve-base": ""} | {
        f"curve-seed{i}": str(out / f"seed{i}" / "checkpoints") for i in range(config.seeds)
    }
    return [processes.evaluation(name, common, out, checkpoint=c) for name, c in where.items()]


def main(config: Config) -> None:
    """Runs everything, then collates what there is; UserError when a run failed."""
    out = Path(config.out)

    def then(done: list[Job]) -> list[Job]:
        names = {"curve-base", *(f"curve-{job.name}" for job in done)}
        return [job for job in curves(config) if job.name in names]

    done, judged, failed = processes.in_two(runs(config), then, config)
    gate = gate_table.collate(
        {job.name: read_json(out / job.name / "summary.json") for job in done},
        {
            job.name.removeprefix("curve-"): read_json(out / job.name / "eval.json")[0]["pass_at"]
            for job in judged
        },
    )
    processes.conclude(gate, gate_table.markdown(gate), failed, config)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
