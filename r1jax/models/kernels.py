"""Whether kernels written here serve, or what XLA makes of the same sums: one switch for all."""

from __future__ import annotations

import os

from jax.sharding import Mesh

from r1jax.errors import UserError
from r1jax.mesh import platform

ASKED = "R1JAX_KERNELS"
"""The environment variable that says xla, should a kernel fail on a card; otherwise auto."""
HOPPER = "9.0"
"""The compute capability of H100, H200 and GH200: others have less memory for a tile."""


def own_kernels(mesh: Mesh | None) -> bool:
    """Whether they serve on a mesh: on CUDA devices, where R1JAX_KERNELS does not say xla.

    What is traced stays as it is. Raises UserError where it says neither auto nor xla.
    """
    said = os.environ.get(ASKED) or "auto"
    if said not in ("auto", "xla"):
        raise UserError(f"{ASKED}={said}: expected auto or xla")
    return platform(mesh) == "gpu" and said == "auto"


def hopper_kernels(mesh: Mesh | None) -> bool:
    """Whether those serve whose tiles are chosen for Hopper, and fit no smaller card."""
    return own_kernels(mesh) and capability(mesh) == HOPPER


def capability(mesh: Mesh) -> str:
    """The compute capability of a mesh's CUDA devices."""
    return mesh.devices.flat[0].compute_capability
