"""How every training loop ends when nothing finite comes of its updates."""

from __future__ import annotations

import numpy as np

from r1jax.errors import UserError
from r1jax.run.directory import RunDirectory
from r1jax.types import Batch


def stop_on_nonfinite(
    run: RunDirectory, update: int, times: int, batches: list[Batch], advice: str
) -> None:
    """Saves the batch that could not be learnt from and ends the run."""
    path = run.path / "nonfinite_batch.npz"
    if run.write:
        arrays = {f"{k}/{i}": v for i, b in enumerate(batches) for k, v in vars(b).items()}
        np.savez(path, **arrays)
    raise UserError(
        f"update {update}: loss or gradient was not finite {times} times in a row; the batch is "
        f"in {path}; {advice}"
    )
