"""Keeping what XLA compiles, so that equal programs of several stages or runs are built once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

SHORTEST = 0.3  # seconds of compilation below which keeping costs more than it saves


def settings(directory: str | Path, shortest: float = SHORTEST) -> dict[str, str | float]:
    """JAX's settings that keep in `directory` what takes at least `shortest` seconds."""
    return {
        "jax_compilation_cache_dir": str(Path(directory).absolute()),
        "jax_persistent_cache_min_compile_time_secs": shortest,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }


@contextlib.contextmanager
def kept_in(directory: str | Path, shortest: float = SHORTEST) -> Iterator[None]:
    """Programs compiled inside are kept in `directory` and found there again.

    Those that take less than `shortest` seconds are not kept. Does nothing where the user has named
    a place (JAX_COMPILATION_CACHE_DIR).
    """
    if jax.config.jax_compilation_cache_dir:
        yield
        return
    keeping = settings(directory, shortest)
    before = {name: getattr(jax.config, name) for name in keeping}
    for name, value in keeping.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
