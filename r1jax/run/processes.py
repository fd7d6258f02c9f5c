"""The processes of a run on several hosts: how they find each other, and wait for each other."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jax.experimental import multihost_utils

from r1jax.errors import UserError, check_ranges


@dataclass(frozen=True)
class ProcessConfig:
    """How the processes of a run on several hosts find each other; by default there is one."""

    coordinator: str = ""
    """HOST:PORT of process 0; auto: ask the cluster (Slurm, GKE, a TPU pod); empty: one process."""
    count: int | None = None
    """Number of processes; None where the cluster says."""
    id: int | None = None
    """Number of this process, from 0; None where the cluster says."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(self, "--process.", count="[1,]", id="[0,]")


def start_processes(config: ProcessConfig) -> None:
    """Joins the other processes of the run; before any other use of JAX devices.

    Does nothing for a single process, and where the processes have been joined already. Raises
    UserError when the flags do not fit together.
    """
    given = config.count is not None and config.id is not None
    if config.coordinator in ("", "auto"):
        if config.count is not None or config.id is not None:
            raise UserError(
                "--process.count and --process.id need --process.coordinator HOST:PORT; "
                "with auto the cluster says both"
            )
        if config.coordinator and not jax.distributed.is_initialized():
            jax.distributed.initialize()
        return
    if not given or not 0 <= config.id < config.count:
        raise UserError(
            f"--process.coordinator {config.coordinator}: needs --process.count N and --process.id "
            f"from 0 to N - 1; got {config.count} and {config.id}"
        )
    if not jax.distributed.is_initialized():
        jax.distributed.initialize(config.coordinator, config.count, config.id)


def most(value: int) -> int:
    """The largest `value` of all processes of the run; every one calls it."""
    if jax.process_count() == 1:
        return int(value)
    return int(multihost_utils.process_allgather(np.int32(value)).max())


def barrier(name: str) -> None:
    """Waits until every process of the run is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
