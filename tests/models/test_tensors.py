"""Files of tensors."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import load_file

from r1jax.models.tensors import save_tensors


def test_others_may_read_weights_as_they_may_read_any_new_file(tmp_path):
    beside, path = tmp_path / "config.json", tmp_path / "model.safetensors"
    beside.write_text("{}")
    save_tensors({"w": np.arange(3.0)}, path)
    assert path.stat().st_mode == beside.stat().st_mode
    path.chmod(0o640)
    save_tensors({"w": np.arange(4.0)}, path)
    assert path.stat().st_mode & 0o777 == 0o640
    np.testing.assert_array_equal(load_file(path)["w"], np.arange(4.0))
