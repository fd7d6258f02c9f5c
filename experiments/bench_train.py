"""How fast one optimizer update is: tokens per second, share of the chip's peak, memory, kernels.

    python -m experiments.bench_train --shape 1.5b --cases 16x1024 4x8192 1x32768 --logp

Whole updates as training makes them (fp32 master weights, AdamW, gradient clipping, GRPO's loss) on
packed rows of random tokens: no padding is counted as work. `--optimizer.kind adafactor` and
`--lora.rank 32` are the ways to 7B on one device. `--logp` adds a table of the log-probability and
entropy beside their bare matrix products, `--scaling data` compares one device with all (`--shape
v3-3b --scaling data expert`: a mixture's experts all on every device, or each on one). About a
minute a case on an accelerator, most of it compilation (kept where JAX_COMPILATION_CACHE_DIR says).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
from jax.sharding import Mesh

from experiments.bench.ceilings import measured_ceilings
from experiments.bench.kernels import kernels, shares, top
from experiments.bench.products import compared
from experiments.bench.rows import Case, RowFilling, cases_of
from experiments.bench.shapes import ShapeFlags, chosen
from experiments.bench.table import emit
from experiments.bench.train import Trainer, measured
from r1jax.commands import cli
from r1jax.errors import UserError, check_ranges
from r1jax.mesh import MeshConfig, make_mesh, row_devices
from r1jax.models.config import ModelConfig
from r1jax.models.lora import LoraConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig

PIECE = 1024  # tokens of a device's rows whose logits exist at a time, without --train.chunk


@dataclass(frozen=True)
class CutConfig(ComputeConfig):
    """A chunk may be left to the case."""

    least_chunk = 0
    chunk: int = 0
    """Tokens of a row whose vocabulary logits exist at a time; 0: 1,024 over all rows."""


@dataclass(frozen=True)
class Config(ShapeFlags):
    """What is measured."""

    cases: tuple[str, ...] = ("16x1024", "4x8192", "1x32768")
    """Rows of the update, as ROWSxWIDTH."""
    sequences: tuple[RowFilling, ...] = ()
    """packed: GSM8K-like lengths side by side; single: a sequence per row; both: a row of the table
    each. None given: rows above 2,048 tokens are packed, a lone row is measured both ways."""
    repeats: int = 5
    """Updates that are timed; the table has their median."""
    kernels: int = 0
    """Longest kernels to list, with the shares by kind; 0: no trace is made."""
    logp: bool = False
    """Also log-probability and entropy against their four matrix products, on one device."""
    scaling: tuple[Literal["data", "fsdp", "expert", "context"], ...] = ()
    """Each case on one device, then on all by each of these axes, and how much faster."""
    rows_each: bool = False
    """With --scaling: a case's rows are each device's, not those of all."""
    train: CutConfig = CutConfig(dtype="bfloat16", remat="dots", unroll=0)
    """The update; rows, width and max_segments are the cases', and so is chunk where it is 0: 1,024
    tokens of all rows of a device together."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """The optimizer."""
    lora: LoraConfig = LoraConfig()
    """Low-rank training."""

    def __post_init__(self) -> None:
        """Raises UserError on flags that nothing would read."""
        super().__post_init__()
        plain = ComputeConfig()
        for name in ("rows", "width", "max_segments"):
            if getattr(self.train, name) != getattr(plain, name):
                flag = name.replace("_", "-")
                raise UserError(f"--train.{flag}: the cases say it; use --cases ROWSxWIDTH")
        if self.scaling and self.mesh != MeshConfig():
            raise UserError("--scaling: chooses the meshes itself; leave out --mesh")
        if self.rows_each and not self.scaling:
            raise UserError("--rows-each: says what --scaling compares; add --scaling data")
        check_ranges(self, "--", repeats="[1,]", kernels="[0,]")


def main(config: Config) -> None:
    """Prints the tables."""
    name, c = chosen(config.shape, config.model)
    cases, meshes = cases_of(config.cases, config.sequences), meshes_of(config)
    if not config.rows_each:
        for case in cases:
            check_rows(case, meshes)
    matrix_rate = measured_ceilings(config.train.dtype).flops_per_s
    rows = []
    for case in cases:
        first = None
        for label, mesh in meshes.items():
            mesh_case = replace(case, rows=case.rows * mesh.size) if config.rows_each else case
            row = row_of(config, c, mesh_case, label, mesh, matrix_rate)
            if config.scaling and "ms" in row:
                first = first or row["tok/s"]
                row |= {"mesh": label, "speed-up": row["tok/s"] / first}
            rows.append(row)
    emit(f"{name}, one update, {described(config)}", rows, config.out)
    if config.logp:
        t, shapes = config.train, {(case.rows, case.width): None for case in cases}
        rows = [
            compared(c, rows, width, chunk_of(config, rows), t.dtype, config.repeats)
            for rows, width in shapes
        ]
        emit(f"{name}, log-probability and entropy, {t.dtype}", rows, beside(config.out, "logp"))


def chunk_of(config: Config, rows: int) -> int:
    """Tokens of a row whose logits exist at a time."""
    return config.train.chunk or max(1, PIECE // rows)


def described(config: Config) -> str:
    """The settings that a table is read with."""
    t = config.train
    lora = f", LoRA rank {config.lora.rank}" if config.lora.on else ""
    m = config.mesh
    axes = ("fsdp", "tensor", "expert", "context")
    cut = "".join(f", {axis} {getattr(m, axis)}" for axis in axes if getattr(m, axis) > 1)
    chunk = t.chunk or f"{PIECE} / rows"
    kind = config.optimizer.kind
    return f"{t.dtype}, {kind}, remat {t.remat}, unroll {t.unroll}, chunk {chunk}{lora}{cut}"


def beside(out: str, part: str) -> str:
    """The file of a further table: NAME-part.json beside NAME.json."""
    path = Path(out)
    return str(path.with_name(f"{path.stem}-{part}{path.suffix}")) if out else ""


def meshes_of(config: Config) -> dict[str, Mesh]:
    """The meshes to measure on, by name; UserError where there is but one device to scale over."""
    devices = list(make_mesh(MeshConfig()).devices.flat)
    n = len(devices)
    if not config.scaling:
        return {"given": make_mesh(config.mesh)}
    if n == 1:
        raise UserError("--scaling: there is one device; leave it out, or run where there are more")
    return {"1 device": make_mesh(MeshConfig(), devices[:1])} | {
        f"{axis}={n}": make_mesh(replace(MeshConfig(data=1), **{axis: n}))
        for axis in config.scaling
    }


def check_rows(case: Case, meshes: dict[str, Mesh]) -> None:
    """UserError where a case's rows cannot be dealt to the devices: each would do all of them."""
    shards = max(map(row_devices, meshes.values()))
    if case.rows % shards:
        raise UserError(
            f"--cases {case.rows}x{case.width}: {case.rows} rows do not divide over {shards} "
            f"devices; name cases whose rows do, such as {shards * case.rows}x{case.width}"
        )


def row_of(
    config: Config, c: ModelConfig, case: Case, label: str, mesh: Mesh, matrix_rate: float
) -> dict[str, Any]:
    """A row of the table; where the device has too little memory, it says just that."""
    try:
        rows = case.rows // row_devices(mesh)
        compute = replace(config.train, chunk=chunk_of(config, rows))
        print(f"{case.name}, mesh {label}: compiling", flush=True)
        trainer = Trainer(c, mesh, compute, config.optimizer, config.lora, case, config.seed)
        needed = f"{trainer.gradient_bytes / 1e9:.1f} and {trainer.step_bytes / 1e9:.1f} GB"
        print(
            f"{case.name}, mesh {label}: compiled in {trainer.compile_seconds:.0f} s; gradient and "
            f"step need {needed}",
            flush=True,
        )
        row = measured(trainer.start(), case, config.repeats, matrix_rate)
        print(
            f"{case.name}, mesh {label}: {row['ms']:.0f} ms, {row['tok/s']:,.0f} tok/s\n",
            flush=True,
        )
        if config.kernels:
            traced = kernels(trainer.whole)
            row |= {f"{kind} %": 100 * share for kind, share in shares(traced).items()}
            emit(f"{case.name}, longest kernels of an update", top(traced, config.kernels), "")
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return {"case": case.name, "attention": "out of memory"}
    return row


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
