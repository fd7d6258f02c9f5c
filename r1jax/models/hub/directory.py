"""Models in, from Hugging Face directories or GGUF files, and directories out."""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from r1jax.errors import UserError
from r1jax.models.config import ModelConfig, to_hf
from r1jax.models.hub.deepseek import copies
from r1jax.models.hub.families import Family, checked, from_hf
from r1jax.models.hub.gguf import model as gguf
from r1jax.models.hub.keys import DRAWN, IRRELEVANT, Asked, shown, token_ids
from r1jax.models.hub.shards import (
    DTYPES,
    INDEX,
    SINGLE,
    Stored,
    check,
    is_file,
    json_object,
    load_row,
    opened,
    say,
)
from r1jax.models.row import Row
from r1jax.models.table import abstract, table
from r1jax.models.tensors import save_tensors
from r1jax.types import Params

ADAPTER = "adapter_config.json"
OURS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
"""Names that an export's weights have."""


def read_config(directory: str | Path, family: Family = from_hf) -> ModelConfig:
    """The ModelConfig that `family` reads from a directory's config.json, or from a GGUF file.

    Raises UserError, naming the file, if there is none or it is not supported.
    """
    if is_file(Path(directory)):
        path, raw = Path(directory), Asked(gguf.described(directory))
    else:
        path, raw = _config(Path(directory))
    try:
        config = checked(family(raw))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if config.ahead is not None and not _has_ahead(path.parent, config):
        say(f"{path}: of the layer that predicts ahead the files hold nothing; it is left out")
        config = replace(config, ahead=None)
    unread = set(raw.unread).difference(*IRRELEVANT.values())
    if unread:
        say(f"{path}: not read, as nothing here knows them: {', '.join(sorted(unread))}")
    return config


def _config(directory: Path) -> tuple[Path, Asked]:
    path = directory / "config.json"
    if is_file(path.with_name(ADAPTER)):
        raise UserError(
            f"--model {directory}: holds {ADAPTER}; merge the adapter into its base first"
        )
    if not is_file(path):
        files = sorted(file.name for file in directory.glob("*.gguf"))
        named = f"; name the file, as {directory / files[0]}" if files else ""
        raise UserError(
            f"--model {directory}: no config.json there" + (named or "; name a model directory")
        )
    return path, Asked(json_object(path))


def _has_ahead(directory: Path, c: ModelConfig) -> bool:
    """Whether the files, if there are any, hold the module ahead: transformers writes none."""
    if not any(is_file(directory / name) for name in (INDEX, SINGLE)):
        return True
    with opened(directory) as stored:
        return any(name in stored for _, name in table(c)["ahead"]["project"].names())


def read_generation(
    directory: str | Path, c: ModelConfig
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """(a model's generation_config.json, empty where it has none, the ids it stops at).

    Raises UserError, naming the file, if it cannot be read; says what of it is not applied.
    """
    path, stops = Path(directory) / "generation_config.json", None
    raw = json_object(path) if is_file(path) else {}
    if is_file(Path(directory)):
        path, stops = Path(directory), {"eos_token_id": gguf.stop_ids(directory)}
    changes = [key for key, neutral in DRAWN.items() if raw.get(key) not in neutral]
    if changes:
        said = ", ".join(f"{key} {shown(raw[key])}" for key in changes)
        say(f"{path}: text is drawn as the flags say; not applied: {said}")
    try:
        return raw, token_ids(stops or raw, "eos_token_id", c.vocab_size)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def load(directory: str | Path, c: ModelConfig, mesh: Mesh, dtype: Any = jnp.float32) -> Params:
    """Parameters from safetensors or GGUF, each tensor straight into its shards and cast there.

    The host holds one tensor of a file at a time, in the file's type, and of that only what this
    process's devices need. Raises UserError naming the file or tensor when one is missing,
    surplus, misshaped or corrupt.
    """
    with _opened(directory) as stored:
        check(Path(directory), c, stored)
        rows, structure = jax.tree.flatten(table(c))
        empty = _zeros(tuple(jax.tree.leaves(abstract(c, mesh, dtype))))()
        return structure.unflatten(map(load_row, rows, itertools.repeat(stored), empty))


@functools.lru_cache(maxsize=16)
def _zeros(shapes: tuple[jax.ShapeDtypeStruct, ...]) -> Callable[[], list[jax.Array]]:
    """Makes all arrays of these shapes and shardings: one program, not one for each."""
    where = [s.sharding for s in shapes]
    return jax.jit(lambda: [jnp.zeros(s.shape, s.dtype) for s in shapes], out_shardings=where)


def _opened(directory: str | Path) -> AbstractContextManager[dict[str, Stored]]:
    return (gguf.opened if is_file(Path(directory)) else opened)(Path(directory))


def source_dtype(directory: str | Path, c: ModelConfig) -> np.dtype:
    """The narrowest type that holds every weight of a directory's files without loss.

    Exported in it, weights that were loaded and never changed are the files' bit for bit. Those
    that are `wide` do not count: they are written in f32 anyway.
    """
    rows = [row for row in jax.tree.leaves(table(c)) if not row.wide]
    with _opened(directory) as stored:
        dtypes = {DTYPES[stored[name].dtype] for row in rows for _, name in row.names()}
    return np.dtype(functools.reduce(jnp.promote_types, dtypes))


@dataclass(frozen=True)
class Weight:
    """A tensor to be written; nothing is fetched before `fetch`, which every process calls."""

    name: str
    nbytes: int
    fetch: Callable[[], np.ndarray]


def weights(params: Params, c: ModelConfig, dtype: Any = None) -> Iterator[Weight]:
    """Every weight as Hugging Face names and lays it out, in `dtype` (its own otherwise)."""
    for row, leaf in zip(jax.tree.leaves(table(c)), jax.tree.leaves(params), strict=True):
        for at, name in row.names():
            yield _weight(name, row, leaf, at, dtype)


def _weight(name: str, row: Row, leaf: Any, at: tuple[int, ...], dtype: Any) -> Weight:
    kind = np.dtype(row.dtype(dtype or leaf.dtype))
    fetch = functools.partial(_fetch, leaf, at, row.transposed, kind)
    return Weight(name, math.prod(row.stored) * kind.itemsize, fetch)


def _copies(params: Params, c: ModelConfig, dtype: Any) -> Iterator[Weight]:
    """Embedding and head once more, as other readers look for them in the layer ahead."""
    for name, row in copies(c).items():
        leaf = params["embed" if row.hf == table(c)["embed"].hf else "head"]
        yield _weight(name, row, leaf, (), dtype)


def _fetch(
    leaf: jax.Array | np.ndarray, at: tuple[int, ...], transposed: bool, dtype: np.dtype
) -> np.ndarray:
    cut = _cut_on_device if isinstance(leaf, jax.Array) else _cut
    x = cut(leaf, at, transposed, dtype)
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        x = multihost_utils.process_allgather(x, tiled=True)
    return np.ascontiguousarray(x)


def _cut(x: Any, at: tuple[int, ...], transposed: bool, dtype: np.dtype) -> Any:
    x = x[at].astype(dtype)
    return x.swapaxes(-1, -2) if transposed else x


# One program for all layers of a stack, not one for each step of the cut.
_cut_on_device = jax.jit(_cut, static_argnames=("transposed", "dtype"))


def save(
    directory: str | Path,
    params: Params,
    c: ModelConfig,
    *,
    dtype: Any = None,
    generation: Mapping[str, Any] | None = None,
    shard_bytes: int = 4 << 30,
    write: bool = True,
) -> None:
    """Writes config.json, generation_config.json and (sharded) safetensors that transformers reads.

    Weights that an earlier export left there go, once the new ones are whole.

    Args:
      directory: made where it is not there.
      params: weights, sharded over this and other processes in any way.
      c: the model they belong to.
      dtype: what weights are cast to; their own otherwise.
      generation: keys of generation_config.json beside or instead of those of the config.
      shard_bytes: size of a file; the host holds one at a time.
      write: whether this process writes; every process of a run calls, one writes.
    """
    directory = Path(directory)
    everything = itertools.chain(weights(params, c, dtype), _copies(params, c, dtype))
    groups = _groups(everything, shard_bytes)
    raw = to_hf(c) | {"dtype": str(np.dtype(dtype or jax.tree.leaves(params)[0].dtype))}
    if write:
        directory.mkdir(parents=True, exist_ok=True)
        _write_json(directory / "config.json", raw)
        stops = {"bos_token_id": c.bos_id, "eos_token_id": raw["eos_token_id"], "do_sample": True}
        _write_json(directory / "generation_config.json", stops | dict(generation or {}))
    sharded = len(groups) > 1
    weight_map = {}
    for i, group in enumerate(groups, 1):
        file = f"model-{i:05d}-of-{len(groups):05d}.safetensors" if sharded else SINGLE
        _write_group(directory / file, group, write)
        weight_map |= {weight.name: file for weight in group}
    if write and sharded:
        total = sum(weight.nbytes for group in groups for weight in group)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        _write_json(directory / INDEX, index)
    if write:
        written = {*weight_map.values(), *([INDEX] if sharded else [])}
        for path in directory.glob("model*.safetensors*"):
            if OURS.fullmatch(path.name) and path.name not in written:
                path.unlink()


def _groups(weights: Iterator[Weight], shard_bytes: int) -> list[list[Weight]]:
    """Weights by file, in order; no file is larger than asked for, unless a tensor is."""
    groups: list[list[Weight]] = [[]]
    size = 0
    for weight in weights:
        if size + weight.nbytes > shard_bytes and groups[-1]:
            groups.append([])
            size = 0
        groups[-1].append(weight)
        size += weight.nbytes
    return groups


def _write_group(path: Path, group: list[Weight], write: bool) -> None:
    tensors = {}
    for weight in group:
        value = weight.fetch()
        if write:
            tensors[weight.name] = value
    if write:
        save_tensors(tensors, path)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
