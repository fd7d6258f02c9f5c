"""A model in training on one micro-batch of packed rows, and what an update of it costs."""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from experiments.bench.clock import Compiled, timed
from experiments.bench.rows import Case, batches_of, draw
from experiments.bench.table import peak_gb
from r1jax.data.packing import packing_efficiency
from r1jax.losses import PRESETS, grpo
from r1jax.models import table
from r1jax.models.attention import choose_kernel
from r1jax.models.config import ModelConfig
from r1jax.models.lora import LoraConfig
from r1jax.training.batches import ComputeConfig, abstract_batch, place_batch
from r1jax.training.flops import train_flops, utilisation
from r1jax.training.loss_scale import scale_of
from r1jax.training.optimizer import OptimizerConfig, make_optimizer
from r1jax.training.rl.memory import nbytes
from r1jax.training.train_state import abstract_state, init_state
from r1jax.training.update import (
    Accumulator,
    empty_total,
    make_functions,
    make_sums,
    trained_rows,
    update,
)
from r1jax.training.weights import drawn
from r1jax.types import Batch


class Trainer:
    """A model in training on one micro-batch: random weights, GRPO's loss (research).

    Making one compiles its programs, in `compile_seconds`; `start` then makes the weights.
    `attention` is the kernel the programs call, by the text of the compiled program;
    `gradient_bytes` and `step_bytes` are what a device holds of everything while they run.
    """

    def __init__(
        self,
        c: ModelConfig,
        mesh: Mesh,
        compute: ComputeConfig,
        optimizer: OptimizerConfig,
        lora: LoraConfig,
        case: Case,
        seed: int = 0,
    ) -> None:
        self.sequences = draw(case, c.vocab_size, seed)
        (self.batch,) = batches_of(case, self.sequences)
        segments = self.batch.lengths.shape[1]
        self.compute = replace(compute, rows=case.rows, width=case.width, max_segments=segments)
        self.model, self.mesh, self.seed = c, mesh, seed
        self.lora = lora if lora.on else None
        rows = trained_rows(c, self.lora)
        self.optimizer = make_optimizer(optimizer, 1000, table.decay_mask(rows), self.compute.dtype)
        loss = grpo(PRESETS["research"], on_policy=True)
        for made in (make_functions, make_sums):  # compiling is measured too
            made.cache_clear()
        self.functions = make_functions(c, mesh, self.compute, loss, self.optimizer, lora=self.lora)
        self._compile(rows)

    def _compile(self, rows: table.Rows) -> None:
        """Later calls of the same functions find what is compiled here, before anything is held."""
        began, dtype = time.perf_counter(), self.compute.dtype
        state = abstract_state(self.optimizer, rows, self.mesh)
        base = table.abstract(self.model, self.mesh, dtype) if self.lora else None
        total = self.functions.start.eval_shape(scale_of(state.opt_state))
        batch = abstract_batch(self.compute, self.mesh, self.batch.columns)
        gradient = self.functions.accumulate.lower(state.params, total, batch, base).compile()
        step = self.functions.apply.lower(state, total).compile()
        self.compile_seconds = time.perf_counter() - began
        self.attention = "cudnn" if "__cudnn$fmha" in gradient.as_text() else "xla"
        self.gradient_bytes = _needed(gradient) + nbytes(state.opt_state)
        self.step_bytes = _needed(step) + nbytes(base)

    @property
    def needed_bytes(self) -> int:
        """What an update needs of a device's memory."""
        return max(self.gradient_bytes, self.step_bytes)

    def start(self) -> Trainer:
        """Makes the weights and the optimizer's state on the devices; returns itself."""
        c, mesh, seed, lora = self.model, self.mesh, self.seed, self.lora
        self.base = drawn(c, mesh, seed, self.compute.dtype) if lora else None
        self.state = init_state(self.optimizer, drawn(trained_rows(c, lora), mesh, seed), mesh)
        return self

    def whole(self) -> dict[str, float]:
        """One update as training makes it, from the host's arrays to the metrics on the host."""
        self.state, metrics = update(self.functions, self.state, [self.batch], self.mesh, self.base)
        return metrics

    def accumulated(self, placed: Batch) -> Accumulator:
        """Gradients of the micro-batch, added to zeros."""
        total = empty_total(self.functions, self.state)
        return self.functions.accumulate(self.state.params, total, placed, self.base)

    def applied(self, total: Accumulator) -> Any:
        """One step of the optimizer; the new state."""
        self.state, _ = self.functions.apply(self.state, total)
        return self.state


def _needed(program: jax.stages.Compiled) -> int:
    """Bytes a program holds at most: what goes in and comes out, shared bytes once, and between."""
    sizes = program.memory_analysis()
    inout = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return int(inout + sizes.temp_size_in_bytes)


def measured(trainer: Trainer, case: Case, repeats: int, matrix_rate: float) -> dict[str, Any]:
    """A row of a table: whole updates, then their two parts; UserError if these compile anything.

    Seconds are medians. `matrix_rate` is one device's, in FLOP/s.
    """
    first = trainer.whole()
    trainer.whole()  # its state comes from an update, as every later one's does
    with Compiled() as compiled:
        whole = timed(trainer.whole, repeats, warmup=0)
        gradient, step = _parts(trainer, repeats)
    compiled.require_none(case.name)
    seconds, totals = median(whole), trainer.sequences.totals
    flops = train_flops(trainer.model, totals, trainer.lora) / trainer.mesh.size
    mfu = utilisation(flops * jax.device_count(), seconds)
    return {
        "case": case.name,
        "tokens": int(totals.sum()),
        "packing %": 100 * packing_efficiency([trainer.batch]),
        "ms": 1e3 * seconds,
        "tok/s": float(totals.sum() / seconds),
        "MFU %": None if mfu is None else 100 * mfu,
        "of matrix rate %": 100 * flops / seconds / matrix_rate,
        "accumulate ms": 1e3 * gradient,
        "apply ms": 1e3 * step,
        "spread ms": 1e3 * (max(whole) - min(whole)),
        "needed GB": trainer.needed_bytes / 1e9,
        "needed for": {"gradient": trainer.gradient_bytes, "step": trainer.step_bytes},
        "peak GB so far": peak_gb(),
        "compile s": trainer.compile_seconds,
        "attention": _attention(trainer),
        "loss": first["loss"],
    }


def _parts(trainer: Trainer, repeats: int) -> tuple[float, float]:
    """Median seconds of the gradient and of the optimizer's step, each waited for."""
    placed = place_batch(trainer.batch, trainer.mesh)
    gradient = timed(functools.partial(trainer.accumulated, placed), repeats, warmup=0)
    total = trainer.accumulated(placed)
    step = timed(functools.partial(trainer.applied, total), repeats, warmup=0)
    return median(gradient), median(step)


def _attention(trainer: Trainer) -> str:
    """The kernel that was compiled, and the one that was asked for where it is another."""
    compute, compiled = trainer.compute, trainer.attention
    asked = compute.kernel
    if asked == "auto":
        asked = choose_kernel(trainer.mesh, jnp.dtype(compute.dtype), trainer.model.head_dim)
    return compiled if compiled == asked else f"{compiled} (asked: {asked})"
