"""The bases of the claims: which there are, and the runs that make them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.claims.runs import Config
from experiments.gates import command_line
from experiments.gates.study import PlannedJob
from experiments.pretraining import config as pretraining
from r1jax.training.batches import ComputeConfig

CARD = "card.json"
"""What marks the end of a pre-training."""
FIRST_SEED = 10
"""Of base number 0: the package's own base has seed 0, those of the first campaign 0 and 1."""
TINYZERO = "tinyzero0"


def _fast(train: ComputeConfig) -> ComputeConfig:
    return replace(train, dtype="bfloat16")


_WORLD = pretraining.Config(train=_fast(pretraining.Config().train), dtype="bfloat16", workers=2)
KINDS: dict[str, pretraining.Config] = {
    "base": _WORLD,
    "student": replace(
        _WORLD,
        d_model=pretraining.STUDENT_QWEN.d_model, d_ff=pretraining.STUDENT_QWEN.d_ff,
        layers=pretraining.STUDENT_QWEN.layers, heads=pretraining.STUDENT_QWEN.heads,
        kv_heads=pretraining.STUDENT_QWEN.kv_heads,
    ),
    "chinese": replace(_WORLD, chinese=0.8),
    "large": replace(
        _WORLD, d_model=384, d_ff=1024, heads=12, kv_heads=4, train=replace(_WORLD.train, rows=64)
    ),
    "tinyzero": replace(
        pretraining.COUNTDOWN, steps=2000, dtype="bfloat16", workers=8,
        train=replace(pretraining.COUNTDOWN.train, rows=38),
    ),
}  # fmt: skip
"""Of each kind there is one for every number: the package's base, its student of less than a
quarter, one that has read four Chinese documents to one English, one of four times the parameters,
TinyZero's. Fewer rows at a time for the larger two, so that others have room beside them on a
device. Exported in bfloat16: a base takes 3.5 MB."""


@dataclass(frozen=True)
class BaseJob:
    """A pre-training, left in a directory of its own."""

    name: str
    config: pretraining.Config

    def finished(self, out: Path) -> bool:
        """Whether its card is there, wherever the other runs are."""
        return (Path(self.config.out) / CARD).exists()

    @property
    def command(self) -> list[str]:
        """The command line."""
        told = command_line.flags(self.config, pretraining.Config())
        return [sys.executable, "-m", "experiments.pretraining.base", *told]


def base(config: Config, kind: str, number: int) -> PlannedJob:
    """The pre-training of a base."""
    name, usual = f"{kind}{number}", KINDS[kind]
    run = replace(usual, out=str(Path(config.bases_in) / name), seed=FIRST_SEED + number)
    if usual.corpus == "world":
        run = replace(run, steps=config.pretraining, documents=config.documents)
    return PlannedJob(BaseJob(name, run))


def place(config: Config, kind: str, number: int) -> str:
    """Directory of a base."""
    return config.model or str(Path(config.bases_in) / f"{kind}{number}")


def needed(config: Config, kind: str, number: int) -> tuple[str, ...]:
    """The run that a run on this base waits for."""
    return () if config.model else (f"{kind}{number}",)
