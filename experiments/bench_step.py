"""How long a whole step of R1-Zero takes: rollout, rewards, scoring, update, and what is between.

    python -m experiments.bench_step --shape 1.5b
    python -m experiments.bench_step --preset 512x1024

The loop of `experiments.zero` on random weights: real sampling with stop handling, a reference for
the KL term, a coin added to the rewards of a run, whose accuracy is judged in worker processes. By
default 128 completions of 256 tokens. A few minutes on an accelerator, most of them compilation;
each phase says when it begins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from experiments.bench.clock import Compiled
from experiments.bench.shapes import ShapeFlags, chosen
from experiments.bench.step import MeasuredStep, phase_rows, prepared, rates, step
from experiments.bench.table import emit, peak_gb
from r1jax.commands import cli
from r1jax.data.config import DataConfig, TrainDataConfig
from r1jax.errors import UserError, check_ranges
from r1jax.losses import GRPO
from r1jax.losses import PRESETS as LOSSES
from r1jax.models.lora import LoraConfig
from r1jax.rewards import SandboxConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import RLConfig, RolloutConfig, TrainConfig
from r1jax.training.rl.reward import RewardConfig


@dataclass(frozen=True)
class Config(ShapeFlags):
    """What is measured; the parts are those of `experiments.zero`."""

    steps: int = 5
    """Steps that are measured."""
    warmup: int = 2
    """Steps before, which compile everything."""
    data: TrainDataConfig = TrainDataConfig()
    """Problems."""
    rollout: RolloutConfig = RolloutConfig(
        prompts=8, group=16, max_prompt=160, max_tokens=256, slots=128, dtype="bfloat16"
    )
    """Sampling."""
    reward: RewardConfig = RewardConfig(accuracy=1.0, format=0.1, random=1.0)
    """Judging; random weights earn the coin alone, but every answer is read as in a run."""
    sandbox: SandboxConfig = SandboxConfig()
    """Running programs, where answers are such."""
    loss: GRPO = replace(LOSSES["research"], beta=0.04)
    """The objective; its beta asks for the reference."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """The optimizer."""
    train: TrainConfig = TrainConfig(
        rows=13, width=2048, dtype="bfloat16", remat="dots", unroll=0, chunk=80
    )
    """The update."""
    lora: LoraConfig = LoraConfig()
    """Low-rank training."""

    def __post_init__(self) -> None:
        """Raises UserError on numbers that measure nothing, or that mix up compiling and work."""
        super().__post_init__()
        check_ranges(self, "--", steps="[1,]", warmup="[1,]")
        if self.train.max_skipped != TrainConfig.max_skipped:
            raise UserError(
                f"--train.max-skipped {self.train.max_skipped}: a step is measured, finite or not; "
                "leave it out"
            )

    @property
    def run(self) -> RLConfig:
        """The run whose steps are measured."""
        sections = {
            name: getattr(self, name)
            for name in ("seed", "rollout", "reward", "sandbox", "loss", "optimizer", "train",
                         "lora", "mesh")
        }  # fmt: skip
        data = DataConfig(**vars(self.data), eval_count=1)
        updates = (self.steps + self.warmup) * self.train.updates_per_rollout
        return RLConfig(**sections, data=data, model=self.model, updates=updates, memory="off")


def main(config: Config) -> None:
    """Prints the phases of a step, then its rates."""
    name, shape = chosen(config.shape, config.model)
    with prepared(config.run, None if config.model else shape) as (parts, loop, files):
        before = [told(step(parts, loop, files)) for _ in range(config.warmup)]
        with Compiled() as compiled:
            steps = [told(step(parts, loop, files)) for _ in range(config.steps)]
    r, beta = config.rollout, config.loss.beta
    title = f"{name}, a step of {r.prompts} x {r.group} x {r.max_tokens} tokens, beta {beta}"
    emit(f"{title}, phases", phase_rows(steps), "")
    emit(title, [summary(before, steps, compiled)], config.out)
    if compiled.count:
        names = ", ".join(sorted(set(compiled.names)))
        print(f"warning: the steps above compiled {names}; raise --warmup {config.warmup}")


def told(one: MeasuredStep) -> MeasuredStep:
    """The step, its seconds printed."""
    phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in one.phases.items())
    print(f"a step of {one.whole:.2f} s: {phases}", flush=True)
    return one


def summary(
    before: list[MeasuredStep], steps: list[MeasuredStep], compiled: Compiled
) -> dict[str, Any]:
    """The row of rates; the file also gets the phases, every step's seconds and what compiled."""
    row = rates(steps)
    return row | {
        "outside %": phase_rows(steps)[-2]["share %"],
        "peak GB": peak_gb(),
        "compile s": before[0].whole - row["s per step"],
        "compiled after warm-up": compiled.count,
        "reward": steps[-1].metrics["reward/mean"],
        "loss": steps[-1].metrics["loss"],
        "names compiled": compiled.names,
        "phases": phase_rows(steps),
        "each step": [one.phases | {"whole": one.whole} for one in [*before, *steps]],
    }


DEFAULT = Config()
PRESETS: dict[str, Config] = {
    "128x256": DEFAULT,
    "512x1024": replace(
        DEFAULT,
        steps=2,
        warmup=1,
        rollout=replace(DEFAULT.rollout, prompts=32, max_tokens=1024, slots=512),
        train=replace(DEFAULT.train, rows=9, width=3584, max_segments=4),
    ),
    "tiny": replace(
        DEFAULT,
        shape="tiny",
        steps=2,
        data=replace(DEFAULT.data, template="mini"),
        rollout=replace(DEFAULT.rollout, prompts=2, group=4, max_prompt=64, max_tokens=8, slots=8),
        train=replace(DEFAULT.train, rows=2, width=128, dtype="float32", chunk=64),
    ),
}
"""Sizes of a step by name; rows and widths are those that their sequences fill."""

if __name__ == "__main__":
    raise SystemExit(cli.run(main, PRESETS["128x256"], presets=PRESETS))
