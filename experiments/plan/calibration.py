"""What the model of `work.py` predicts beside what an H200 was measured to take (docs/results.md).

The constants were set by looking at the first update and the first rollout; the other cases are
predictions. No TPU has been measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.bench.roofline import mean_cache
from experiments.bench.shapes import SHAPES
from experiments.plan import counts, work
from experiments.plan.chips import absent_mesh, topology
from r1jax.mesh import MeshConfig
from r1jax.models.decoder import Remat
from r1jax.training.batches import ComputeConfig

TOLERANCE = 0.25


@dataclass(frozen=True)
class UpdateCase:
    """An update measured by bench_train: rows of sequences of one length on every device."""

    shape: str
    rows: int
    width: int
    ms: float
    sequences: int = 1  # in a row
    remat: Remat = "dots"
    rank: int = 0  # of LoRA's factors
    mesh: MeshConfig = MeshConfig()
    scoring: bool = False  # a pass without gradient

    @property
    def name(self) -> str:
        """As the tables of docs/results.md name it."""
        what = "score" if self.scoring else f"LoRA {self.rank}" if self.rank else "update"
        packed = f", {self.sequences} a row" if self.sequences > 1 else ""
        where = f", {_devices(self.mesh)} devices" if _devices(self.mesh) > 1 else ""
        return f"{self.shape} {what} {self.rows} x {self.width}{packed}{where}"

    @property
    def predicted(self) -> float:
        """Milliseconds."""
        where = topology(f"h200:{_devices(self.mesh)}")
        c, mesh = SHAPES[self.shape], absent_mesh(self.mesh, where)
        compute = ComputeConfig(
            rows=self.rows, width=self.width, dtype="bfloat16", remat=self.remat
        )
        totals = [self.width / self.sequences] * (self.rows * self.sequences)
        if self.scoring:
            return 1e3 * work.seconds(work.forward(c, mesh, compute, totals), mesh, where.chip)
        factors = self.rank * counts.passing(c, 0) if self.rank else None
        both = work.update(c, mesh, compute, totals, factors) | work.apply(c, mesh, factors)
        return 1e3 * work.seconds(both, mesh, where.chip)

    measured = property(lambda self: self.ms)
    unit = "ms"


@dataclass(frozen=True)
class RolloutCase:
    """A rollout measured by bench_rollout on one device."""

    shape: str
    slots: int
    tokens: int
    per_second: float
    prompt: int = 128
    group: int = 16

    @property
    def name(self) -> str:
        """As the tables of docs/results.md name it."""
        return (
            f"{self.shape} rollout {self.slots} x {self.tokens} after {self.prompt} / {self.group}"
        )

    @property
    def predicted(self) -> float:
        """Tokens per second, prefill inside the time."""
        where = topology("h200:1")
        c, mesh = SHAPES[self.shape], absent_mesh(MeshConfig(), where)
        cache = mean_cache([(0, self.tokens)]) + self.prompt / self.group
        step = work.seconds(work.decode(c, mesh, self.slots, cache), mesh, where.chip)
        before = work.prefill(c, mesh, self.slots // self.group, self.prompt)
        whole = self.tokens * step + work.seconds(before, mesh, where.chip)
        return self.slots * self.tokens / whole

    measured = property(lambda self: self.per_second)
    unit = "tok/s"


def _devices(mesh: MeshConfig) -> int:
    return abs(mesh.data) * mesh.fsdp * mesh.tensor


CASES: tuple[UpdateCase | RolloutCase, ...] = (
    UpdateCase("1.5b", 16, 1024, 332),
    RolloutCase("1.5b", 256, 256, 97_300),
    RolloutCase("1.5b", 1024, 256, 123_900),
    RolloutCase("1.5b", 256, 1024, 79_000),
    RolloutCase("1.5b", 256, 256, 75_200, group=1),
    RolloutCase("1.5b", 1024, 256, 92_000, group=1),
    RolloutCase("1.5b", 256, 1024, 73_400, group=1),
    RolloutCase("0.5b", 256, 256, 177_300),
    RolloutCase("1.5b", 64, 1024, 5_200, prompt=30_720),
    RolloutCase("1.5b", 16, 32_768, 4_320),
    UpdateCase("1.5b", 1, 32768, 1294),
    UpdateCase("0.5b", 16, 1024, 137),
    UpdateCase("1.5b", 32, 1024, 351, mesh=MeshConfig(2)),
    UpdateCase("7b", 8, 1024, 583, remat="full", rank=32),
    UpdateCase("7b", 8, 1024, 801, remat="full"),
    UpdateCase("7b", 16, 1024, 884, remat="full", mesh=MeshConfig(1, 2)),
)


def rows() -> list[dict[str, Any]]:
    """A row of a table for each case."""
    return [
        {
            "case": case.name,
            "predicted": float(case.predicted),
            "measured": float(case.measured),
            "unit": case.unit,
            "predicted / measured": case.predicted / case.measured,
            f"within {TOLERANCE:.0%}": "yes" if within(case) else "**no**",
        }
        for case in CASES
    ]


def within(case: UpdateCase | RolloutCase) -> bool:
    """Whether the prediction of a case is as near as it is meant to be."""
    return abs(case.predicted / case.measured - 1) <= TOLERANCE
