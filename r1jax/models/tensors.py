"""A file of tensors, in the format of safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def save_tensors(tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """Writes tensors to `path`, readable by whom other new files are.

    safetensors 0.8 puts a temporary file of its owner alone in the place of what was there: a
    server that runs as another user could not read the model.
    """
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path, metadata={"format": "pt"})
    path.chmod(mode)
