"""Chips by their data sheets, how many of them, and what of their rates was seen to be reached."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from jax.sharding import Mesh

from r1jax import mesh as meshes
from r1jax.errors import UserError
from r1jax.models.kernels import HOPPER
from r1jax.training.flops import PEAK


@dataclass(frozen=True)
class Chip:
    """One device; rates in bytes per second are what leaves it or passes its memory."""

    platform: Literal["gpu", "tpu"]
    flops_per_s: float  # bfloat16, dense
    bytes_per_s: float  # of its memory
    memory: float  # bytes
    link: float  # to devices of its host (GPU), along one axis of the torus (TPU)
    per_host: int  # devices that `link` joins; 0: all
    network: float  # to all others


CHIPS = {
    "v5e": Chip("tpu", PEAK["TPU v5 lite"], 819e9, 15.75 * 2**30, 100e9, 0, 0.0),
    "v5p": Chip("tpu", PEAK["TPU v5p"], 2765e9, 95.73 * 2**30, 200e9, 0, 0.0),
    "v6e": Chip("tpu", PEAK["TPU v6 lite"], 1640e9, 31.24 * 2**30, 200e9, 0, 0.0),
    "h100": Chip("gpu", PEAK["NVIDIA H100"], 3350e9, 80e9, 450e9, 8, 50e9),
    "h200": Chip("gpu", PEAK["NVIDIA H200"], 4800e9, 141e9, 450e9, 8, 50e9),
}
"""From the vendors' data sheets; a TPU's memory is what its compiler leaves to programs.

A TPU's link is two of its four or six: a collective over one axis of the torus, both ways round.
GPUs have NVLink within eight, and 400 Gb/s each beyond.
"""

PRODUCTS, COPIES = 0.735, 0.85
"""Shares of the data sheet's rates that an H200 reached: 727 of 989 TFLOP/s over the products of an
update, 4.1 of 4.8 TB/s in a copy (docs/results.md). Assumed of every chip."""


@dataclass(frozen=True)
class Topology:
    """So many chips of one kind."""

    name: str
    chip: Chip
    count: int


def topology(name: str) -> Topology:
    """The devices that "v5p:8x8x8" or "h200:64" names; UserError for anything else."""
    found = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", name)
    sizes = [int(size) for size in found[2].split("x")] if found else []
    if not found or found[1] not in CHIPS or not all(sizes):
        raise UserError(
            f"--topology {name}: write KIND:AxBxC (v5p:8x8x8) or KIND:COUNT (h200:64), the kind "
            f"one of {', '.join(CHIPS)}"
        )
    return Topology(name, CHIPS[found[1]], math.prod(sizes))


@dataclass(frozen=True)
class Absent:
    """A device that is not here: enough of one to lay arrays out on."""

    id: int
    platform: str
    process_index: int = 0
    compute_capability: str = HOPPER  # of all GPUs in CHIPS


def absent_mesh(config: Any, where: Topology) -> Mesh:
    """The mesh over devices that are not here; UserError where axes do not make their number."""
    devices = [Absent(i, where.chip.platform) for i in range(where.count)]
    return meshes.make_mesh(config, devices)


def shards(mesh: Mesh, logical: str) -> int:
    """Devices that a logical axis is spread over; 1 for an axis that the rules do not know."""
    return math.prod(mesh.shape[name] for name in meshes.RULES.get(logical, ()))


def link(mesh: Mesh, chip: Chip, logical: str) -> float:
    """Bytes per second of a collective over the axes of `logical`: the network's where it leaves a
    host. Devices of one host stand side by side in the mesh's last axes."""
    names = list(mesh.axis_names)
    rule = meshes.RULES.get(logical, ())
    firsts = [names.index(name) for name in rule if mesh.shape[name] > 1]
    span = math.prod(mesh.devices.shape[min(firsts) :]) if firsts else 1
    return chip.link if not chip.per_host or span <= chip.per_host else chip.network
