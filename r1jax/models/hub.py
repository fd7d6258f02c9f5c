"""Hugging Face directories in and out: config.json and safetensors, read into shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from r1jax import mesh as meshes
from r1jax.errors import UserError
from r1jax.models.config import ModelConfig, from_hf, to_hf
from r1jax.models.table import Row, table
from r1jax.types import Params

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


def read_config(directory: str | Path) -> ModelConfig:
    """The ModelConfig of a model directory; UserError if it has none or an unsupported one."""
    path = Path(directory) / "config.json"
    if not path.is_file():
        raise UserError(f"--model {directory}: no config.json there; name a model directory")
    return from_hf(_json_object(path), str(path))


def _json_object(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: holds a {type(raw).__name__}, not a JSON object")
    return raw


def load(directory: str | Path, c: ModelConfig, mesh: Mesh, dtype: Any = jnp.float32) -> Params:
    """Parameters from safetensors, read slice by slice straight into their shards.

    Raises UserError naming the file or tensor when one is missing, surplus, misshaped or corrupt.
    """
    directory = Path(directory)
    files = _files(directory)
    _check_names(directory, c, set(files))
    return jax.tree.map(lambda row: _load_row(row, files, mesh, dtype), table(c))


def _files(directory: Path) -> dict[str, Path]:
    """Tensor name -> the file that holds it."""
    if (directory / INDEX).is_file():
        weight_map = _json_object(directory / INDEX).get("weight_map")
        if not isinstance(weight_map, dict):
            raise UserError(f"{directory / INDEX}: has no weight_map (tensor name -> file)")
        paths = {name: directory / file for name, file in weight_map.items()}
        for path in set(paths.values()):
            if not path.is_file():
                raise UserError(f"{path}: listed in {INDEX} but not there")
        return paths
    path = directory / SINGLE
    if not path.is_file():
        raise UserError(f"--model {directory}: neither {SINGLE} nor {INDEX} there")
    with _open(path) as file:
        return dict.fromkeys(file.keys(), path)


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from error


def _names(row: Row) -> list[str]:
    return [row.hf.format(i) for i in range(row.shape[0])] if row.stacked else [row.hf]


def _check_names(directory: Path, c: ModelConfig, found: set[str]) -> None:
    expected = {name for row in jax.tree.leaves(table(c)) for name in _names(row)}
    missing, surplus = expected - found, found - expected
    surplus = {n for n in surplus if not n.endswith("rotary_emb.inv_freq")}
    if c.tied:
        surplus.discard("lm_head.weight")
    for what, names in (("missing", missing), ("not part of this model", surplus)):
        if names:
            raise UserError(f"{directory}: tensor {min(names)} is {what} ({len(names)} in all)")


def _load_row(row: Row, files: dict[str, Path], mesh: Mesh, dtype: Any) -> jax.Array:
    names = _names(row)
    plain = row.shape[1:] if row.stacked else row.shape
    stored = (*plain[:-2], plain[-1], plain[-2]) if row.transposed else plain

    def read(name: str, index: tuple[slice, ...]) -> np.ndarray:
        with _open(files[name]) as file:
            if name not in file.keys():
                raise UserError(f"{files[name]}: tensor {name} is missing, though {INDEX} names it")
            view = file.get_slice(name)
            if tuple(view.get_shape()) != stored:
                raise UserError(
                    f"{files[name]}: tensor {name} has shape {view.get_shape()}, "
                    f"the config asks for {list(stored)}"
                )
            if row.transposed:
                return np.swapaxes(view[(*index[:-2], index[-1], index[-2])], -1, -2)
            return view[index]

    def shard(index: tuple[slice, ...]) -> np.ndarray:
        if not row.stacked:
            return read(names[0], index).astype(dtype)
        layers = range(*index[0].indices(row.shape[0]))
        return np.stack([read(names[i], index[1:]).astype(dtype) for i in layers])

    where = meshes.sharding(mesh, row.axes, row.shape)
    return jax.make_array_from_callback(row.shape, where, shard)


def tensors(params: Params, c: ModelConfig) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """(Hugging Face name, function that fetches the tensor) of every weight, layer by layer."""
    rows, leaves = jax.tree.leaves(table(c)), jax.tree.leaves(params)
    for row, leaf in zip(rows, leaves, strict=True):
        for i, name in enumerate(_names(row)):

            def fetch(leaf: jax.Array = leaf, i: int = i, row: Row = row) -> np.ndarray:
                x = np.asarray(leaf[i] if row.stacked else leaf)
                return np.ascontiguousarray(np.swapaxes(x, -1, -2) if row.transposed else x)

            yield name, fetch


def save(
    directory: str | Path,
    params: Params,
    c: ModelConfig,
    *,
    dtype: Any = None,
    shard_bytes: int = 4 << 30,
) -> None:
    """Writes config.json, generation_config.json and (sharded) safetensors that transformers reads.

    `dtype` casts the weights (the parameters' own otherwise).
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    first = jax.tree.leaves(params)[0]
    raw = to_hf(c) | {"dtype": str(np.dtype(dtype or first.dtype))}
    (directory / "config.json").write_text(json.dumps(raw, indent=2) + "\n")
    generation = {"bos_token_id": c.bos_id, "eos_token_id": raw["eos_token_id"], "do_sample": True}
    (directory / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    groups: list[dict[str, np.ndarray]] = [{}]
    size = 0
    for name, fetch in tensors(params, c):
        x = fetch() if dtype is None else fetch().astype(dtype)
        if size + x.nbytes > shard_bytes and groups[-1]:
            groups.append({})
            size = 0
        groups[-1][name] = x
        size += x.nbytes
    _write_groups(directory, groups)


def _write_groups(directory: Path, groups: list[dict[str, np.ndarray]]) -> None:
    if len(groups) == 1:
        save_file(groups[0], directory / SINGLE, metadata={"format": "pt"})
        return
    weight_map = {}
    for i, group in enumerate(groups, 1):
        name = f"model-{i:05d}-of-{len(groups):05d}.safetensors"
        save_file(group, directory / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(group, name)
    total = sum(x.nbytes for group in groups for x in group.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n")
