"""What one device does in each program, and the seconds that takes it: an additive model.

Work is counted by formula: products by the weights a token meets, everything between them by the
numbers that go in and out of the matrices, collectives by the layout of the weight table. Seconds
add up, as they did on an H200: nothing is hidden behind anything else. The constants stand here;
`calibration.py` has what they predict beside what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jax.sharding import Mesh

from experiments.plan import counts
from experiments.plan.chips import COPIES, PRODUCTS, Chip, link, shards
from experiments.plan.counts import NOTHING, Assumed
from r1jax.models.config import ModelConfig
from r1jax.training.batches import ComputeConfig

ATTENTION = 0.5
"""Share of the peak that fused attention reaches, over the half of the pairs that are seen."""
FORWARD, BACKWARD, LOGITS = 2.0, 4.0, 4.0
"""Passes over what goes in and out of a layer's matrices, and over the logits of an update."""
GRADIENT, CAST, OPTIMIZER = 16.0, 6.0, 28.0
"""Bytes per weight: a micro-batch's gradient added up, the copy in 16 bits, the optimizer's step
(AdamW; adafactor was as slow)."""
DRAWING = 3.0
"""Passes over the logits of a decode step."""
LAYER_SECONDS = 10e-6
"""Of a layer of a decode step, whatever its size."""


SCORES = 6.0
"""Passes over attention's scores for a forward pass without a fused kernel, twice that backwards:
f32 products, mask, softmax and its cast. Never measured."""


class Sent(NamedTuple):
    """Bytes that a device receives in collectives of one kind over the devices of one axis."""

    kind: str
    axis: str
    bytes: float


@dataclass(frozen=True)
class PartWork:
    """One device's part: operations (at a share of the peak), bytes of its memory, collectives."""

    flops: float = 0.0
    bytes: float = 0.0
    sent: tuple[Sent, ...] = ()
    share: float = PRODUCTS
    fixed: float = 0.0  # seconds


Program = dict[str, PartWork]


def seconds(program: Program, mesh: Mesh, chip: Chip) -> float:
    """Of all its parts, one after the other."""
    return sum(part_seconds(work, mesh, chip) for work in program.values())


def part_seconds(work: PartWork, mesh: Mesh, chip: Chip) -> float:
    """Operations, then memory, then collectives."""
    computed = work.flops / (chip.flops_per_s * work.share)
    moved = work.bytes / (chip.bytes_per_s * COPIES)
    return (
        computed + moved + sum(s.bytes / link(mesh, chip, s.axis) for s in work.sent) + work.fixed
    )


def forward(
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    totals: Sequence[float],
    how: Assumed = NOTHING,
) -> Program:
    """Log-probabilities of one micro-batch of sequences of these lengths, without gradient."""
    program = _passes(c, mesh, compute, forwards=1.0, backwards=0.0, learnt=False)
    return program | {"attention": _attention(c, mesh, compute, totals, how, backward=False)}


def update(
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    totals: Sequence[float],
    trained: float | None = None,
    how: Assumed = NOTHING,
) -> Program:
    """The gradient of one micro-batch; `trained` factors in place of all weights: LoRA's."""
    forwards = 2.0 if compute.remat == "full" else 1.0
    backwards = 2.0 if trained is None else 1.0
    program = _passes(c, mesh, compute, forwards, backwards, learnt=trained is None)
    weights = counts.held(c, mesh) if trained is None else trained
    cast = CAST if trained is None else 0.0
    return program | {
        "attention": _attention(c, mesh, compute, totals, how, backward=True),
        "gradients": PartWork(bytes=(GRADIENT + cast) * weights),
    }


def _attention(
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    totals: Sequence[float],
    how: Assumed,
    backward: bool,
) -> PartWork:
    """All layers' attention; that of a backward pass begins with another forward one."""
    devices, again = counts.token_devices(mesh) * shards(mesh, "heads"), 3.0 if backward else 0.0
    if counts.fused(c, mesh, compute, how):
        return PartWork(counts.pairs(c, totals) / devices * (1 + again), share=ATTENTION)
    whole = 2 * counts.pairs(c, [compute.width] * compute.rows) / devices
    passes = 4 * SCORES * (4 if backward else 1) * c.n_layers
    return PartWork(whole * (1 + again), passes * counts.scores(c, mesh, compute))


def apply(c: ModelConfig, mesh: Mesh, trained: float | None = None) -> Program:
    """The optimizer's step."""
    weights = counts.held(c, mesh) if trained is None else trained
    return {"optimizer": PartWork(bytes=OPTIMIZER * weights)}


def _passes(
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    forwards: float,
    backwards: float,
    learnt: bool,
) -> Program:
    """Layers and logits, so many times forwards and backwards (a half without weight gradients)."""
    tokens = compute.rows * compute.width / counts.token_devices(mesh)
    cut, run = shards(mesh, "ffn"), counts.experts_run(c, mesh)
    times = forwards + backwards
    head = c.d_model * c.vocab_size / shards(mesh, "vocab")
    between = 2 * (FORWARD * forwards + (BACKWARD if backwards else 0.0)) * counts.passing(c, run)
    read = 4 * (LOGITS if backwards else LOGITS / 2) * c.vocab_size / shards(mesh, "vocab")
    return {
        "products": PartWork(2 * times * tokens * counts.products(c, run) / cut),
        "logits": PartWork(2 * (2 + backwards if backwards else 1) * tokens * head, tokens * read),
        "between": PartWork(bytes=between * tokens / cut),
        "collectives": PartWork(sent=collectives(c, mesh, tokens, forwards, backwards, learnt)),
    }


def collectives(
    c: ModelConfig, mesh: Mesh, tokens: float, forwards: float, backwards: float, learnt: bool
) -> tuple[Sent, ...]:
    """Of one micro-batch with so many tokens on each device.

    Weights are gathered in 16 bits, and again for the backward pass; their f32 gradients are
    scattered over the same devices and summed over the others that have rows. Cut matrices
    leave sums of activations, experts elsewhere an exchange there and back.
    """
    passes, devices = forwards + bool(backwards), counts.token_devices(mesh)
    gathered = scattered = reduced = 0.0
    for row in counts.all_rows(c):
        f, kept = counts.ways(mesh, row, *counts.GATHERED), counts.ways(mesh, row, *counts.KEPT)
        whole = math.prod(row.shape) / kept
        gathered += (1 + bool(backwards)) * 2 * whole * (f - 1) / f
        scattered += 4 * whole * (f - 1) / f
        others = max(devices / f / counts.ways(mesh, row, "experts"), 1.0)
        reduced += 2 * 4 * whole / f * (others - 1) / others
    cut = shards(mesh, "ffn")
    along = shards(mesh, "tokens")
    # Attention needs whole rows: queries, keys, values and what is mixed go to heads and back.
    turned = 4 * counts.pairs(c, [1]) * passes * tokens / cut * (along - 1) / along
    found = (
        Sent("all-gather", "embed", gathered),
        Sent("reduce-scatter", "embed", scattered if learnt else 0.0),
        Sent("all-reduce", "batch", reduced if learnt else 0.0),
        Sent("all-reduce", "ffn", _sums(c, mesh, passes * tokens)),
        Sent("all-to-all", "experts", _exchanged(c, mesh, passes * tokens * counts.ROOM)),
        Sent("all-to-all", "tokens", turned),
    )
    return tuple(s for s in found if s.bytes)


def _sums(c: ModelConfig, mesh: Mesh, tokens: float) -> float:
    """Bytes of sums of activations in 16 bits, two of each layer, where matrices are cut."""
    cut = shards(mesh, "ffn")
    return 2 * c.n_layers * 2 * (cut - 1) / cut * tokens * c.d_model * 2


def _exchanged(c: ModelConfig, mesh: Mesh, tokens: float) -> float:
    """Bytes that go to the devices of experts and come back, in 16 bits."""
    if c.experts is None:
        return 0.0
    spread = shards(mesh, "experts")
    rows = tokens * c.experts.chosen * (spread - 1) / spread
    return 2 * (c.n_layers - c.dense_layers) * rows * c.d_model * 2


def prefill(c: ModelConfig, mesh: Mesh, prompts: int, width: int) -> Program:
    """Prompts of one width through the layers, on every device of a copy of the model: the logits
    are those of the last tokens alone, and hardly count."""
    tokens, run = prompts * width / counts.copies(mesh), counts.experts_run(c, mesh)
    seen = counts.pairs(c, [width] * prompts) / counts.copies(mesh) / shards(mesh, "heads")
    return {
        "products": PartWork(2 * tokens * counts.products(c, run) / shards(mesh, "ffn")),
        "attention": PartWork(seen, share=ATTENTION),
        "between": PartWork(
            bytes=2 * FORWARD * tokens * counts.passing(c, run) / shards(mesh, "ffn")
        ),
    }


def decode(
    c: ModelConfig, mesh: Mesh, slots: float, cache: float, how: Assumed = NOTHING
) -> Program:
    """One step of `slots` slots over all devices, whose caches are read for `cache` tokens each."""
    here, run, cut = slots / counts.copies(mesh), counts.experts_run(c, mesh), shards(mesh, "ffn")
    head = c.d_model * c.vocab_size / shards(mesh, "vocab")
    drawn = 4 * DRAWING * here * c.vocab_size / shards(mesh, "vocab")
    lies, met = counts.decoded(c, mesh, how.own), counts.decoded(c, mesh, own=True)
    read = met - head * (1 if c.tied else 2)
    found = (
        Sent("all-gather", "embed", 2 * max(met - lies, 0.0)),
        Sent("all-reduce", "ffn", _sums(c, mesh, here)),
        Sent("all-to-all", "experts", _exchanged(c, mesh, here)),
    )
    return {
        "products": PartWork(2 * here * counts.products(c, run) / cut, 2 * read),
        "attention": PartWork(
            2 * here * cache * counts.absorbed(c) / shards(mesh, "heads"), share=ATTENTION
        ),
        "cache": PartWork(bytes=here * cache * counts.cache_bytes(c, mesh)),
        "between": PartWork(bytes=2 * FORWARD * here * counts.passing(c, run) / cut),
        "logits": PartWork(2 * here * head, 2 * head + drawn),
        "collectives": PartWork(sent=tuple(s for s in found if s.bytes)),
        "layers": PartWork(fixed=LAYER_SECONDS * c.n_layers),
    }
