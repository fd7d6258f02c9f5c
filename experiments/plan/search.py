"""The fewest devices that a stage of R1 fits, and how it would best use them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jax.sharding import Mesh

from experiments.plan import counts, memory, stage
from experiments.plan.chips import CHIPS, Topology, absent_mesh, shards
from r1jax.mesh import MeshConfig
from r1jax.models import table
from r1jax.models.config import ModelConfig
from r1jax.rollout.ladder import EngineConfig
from r1jax.training.batches import ComputeConfig

IDEAL = counts.Assumed(fused=True, own=True)
ROOM = 8192
"""Tokens that the cache has room for in a slot, in the mean (`--rollout.cache-tokens`)."""
SLOTS = (256, 128, 64, 32, 16, 8)
"""Of one copy of the model; as many as fit."""


@dataclass(frozen=True)
class StageNeeds:
    """What a stage holds: an update of rows of this width, a reference, sampling, reward models."""

    name: str
    width: int = 0  # 0: no update
    reference: bool = False
    samples: bool = False
    judges: int = 0  # reward models of the policy's size


def stages(run: stage.RunConfig) -> tuple[StageNeeds, ...]:
    """The stages of R1 by what they ask of memory; rows hold the longest completion."""
    width = run.prompt + run.longest
    return (
        StageNeeds("supervised", width),
        StageNeeds("sampling", samples=True),
        StageNeeds("RL", width, reference=True, samples=True),
        StageNeeds("general RL", width, reference=True, samples=True, judges=2),
    )


@dataclass(frozen=True)
class Found:
    """A way to use so many chips that a stage fits."""

    chip: str
    mesh: Mesh
    compute: ComputeConfig
    rollout: EngineConfig | None

    @property
    def devices(self) -> int:
        """Chips in all."""
        return self.mesh.devices.size

    @property
    def axes(self) -> str:
        """The mesh in words."""
        cut = [f"{name} {size}" for name, size in self.mesh.shape.items() if size > 1]
        return ", ".join(cut) or "one"

    def update(self, c: ModelConfig, run: stage.RunConfig) -> stage.UpdateSeconds:
        """Its seconds for an update of R1-Zero: the old policy and the reference score."""
        chip = CHIPS[self.chip]
        return stage.update_of(c, self.mesh, chip, run, self.compute, self.rollout, 2, IDEAL)

    def tokens_per_second(self, c: ModelConfig, run: stage.RunConfig) -> float:
        """Of completions, over all devices."""
        chip = CHIPS[self.chip]
        return stage.tokens_per_second(c, self.mesh, chip, run, self.rollout, IDEAL)


def meshes(c: ModelConfig, devices: int) -> Iterator[MeshConfig]:
    """Ways to cut a model over devices: tensor within what heads divide by, experts and long rows
    where the mesh has axes for them, the rest by fsdp."""
    known = {field.name for field in dataclasses.fields(MeshConfig)}
    experts = (1, 8, 16, 32, 64) if "expert" in known and c.experts else (1,)
    contexts = (1, 2, 4, 8) if "context" in known else (1,)
    for tensor, expert, context in itertools.product((1, 2, 4, 8, 16), experts, contexts):
        cut = tensor * expert * context
        if devices % cut or c.n_heads % (tensor * context) or c.vocab_size % tensor:
            continue
        more = {"expert": expert} if expert > 1 else {}
        more |= {"context": context} if context > 1 else {}
        yield MeshConfig(data=1, fsdp=devices // cut, tensor=tensor, **more)


def fitting(
    c: ModelConfig, chip: str, devices: int, one: StageNeeds, run: stage.RunConfig
) -> list[Found]:
    """All ways to use so many devices in which the stage fits."""
    where = Topology(chip, CHIPS[chip], devices)
    found = []
    for config in meshes(c, devices):
        mesh = absent_mesh(config, where)
        compute = ComputeConfig(
            rows=shards(mesh, "batch"), width=max(one.width, 1), dtype="bfloat16", chunk=512
        )
        held = _training(c, mesh, compute, one)
        if memory.peak(held)["while learning"] > where.chip.memory:
            continue
        for rollout in _rollouts(mesh, run) if one.samples else [None]:
            drawn = memory.sampling(c, mesh, rollout, IDEAL) if rollout else {}
            both = memory.peak(held | drawn)
            if max(both["while learning"], both["while sampling"]) <= where.chip.memory:
                found.append(Found(chip, mesh, compute, rollout))
                break
    return found


def _training(
    c: ModelConfig, mesh: Mesh, compute: ComputeConfig, one: StageNeeds
) -> dict[str, float]:
    """What lies there beside sampling; a stage that learns nothing has the weights alone."""
    if not one.width:
        return {"weights": 4 * counts.held(c, mesh)}
    held = memory.training(c, mesh, compute, "adamw", one.reference, IDEAL)
    return held | {"reward models": one.judges * 4 * counts.held(c, mesh)}


def _rollouts(mesh: Mesh, run: stage.RunConfig) -> Iterator[EngineConfig]:
    """Sampling with fewer and fewer slots; no more in all than a rollout has completions."""
    completions, copies = run.completions * run.of_a_rollout, counts.copies(mesh)
    for each in SLOTS:
        slots = each * copies
        if slots <= max(completions, 8 * copies):
            yield EngineConfig(
                slots=slots,
                max_prompt=run.prompt,
                max_tokens=run.longest,
                cache_tokens=slots * ROOM,
            )


def fewest(
    c: ModelConfig, chip: str, one: StageNeeds, run: stage.RunConfig, sizes: Sequence[int]
) -> list[Found]:
    """All ways to use the smallest of these numbers of devices on which the stage fits at all."""
    least = 4 * table.count(c) / CHIPS[chip].memory
    for devices in sizes:
        if devices >= least and (found := fitting(c, chip, devices, one, run)):
            return found
    return []
