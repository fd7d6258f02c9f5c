"""Safetensors files in: each opened once, checked, read tensor by tensor straight into shards."""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from safetensors import SafetensorError, safe_open

from r1jax.errors import UserError, once_each
from r1jax.models.config import ModelConfig
from r1jax.models.hub import blocks
from r1jax.models.hub.deepseek import copies
from r1jax.models.hub.keys import shown
from r1jax.models.row import Row, flipped
from r1jax.models.table import table

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
DTYPES = {"F32": jnp.float32, "F16": jnp.float16, "BF16": jnp.bfloat16}
"""What weights may be stored as, by safetensors' names."""

HEAD = "lm_head.weight"
PIECE = 1 << 24  # numbers of a matrix that are compared at a time
IGNORED = "rotary_emb.inv_freq"
"""Ending of tensors that old files hold though they follow from the config."""


def json_object(path: Path) -> dict[str, Any]:
    """The object a JSON file holds; UserError naming the file where it holds none."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once_each)
    except (ValueError, RecursionError) as error:
        if "integer string conversion" in str(error):
            error = ValueError("a whole number of thousands of digits")
        raise UserError(f"{path}: not valid JSON ({error})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: holds a {type(raw).__name__}, not a JSON object")
    return raw


@dataclass(frozen=True)
class Stored:
    """A tensor of an open file; its bytes are mapped, and read when asked for."""

    name: str
    path: Path
    view: Any  # safetensors' slice
    scales: Stored | None = None  # of the blocks of a matrix in FP8

    @property
    def shape(self) -> tuple[int, ...]:
        """As the file says."""
        return tuple(self.view.get_shape())

    @property
    def dtype(self) -> str:
        """One of DTYPES, for a scaled matrix that of what it stands for.

        UserError where weights are stored in another way.
        """
        dtype = "BF16" if self.scales else self.view.get_dtype()
        if dtype not in DTYPES:
            raise UserError(
                f"{self.path}: tensor {self.name} is stored as {dtype}; only {', '.join(DTYPES)} "
                "are read, so a quantised model has to be dequantised first"
            )
        return dtype

    def read(self, spans: tuple[tuple[int, int], ...]) -> np.ndarray:
        """The part between (start, stop) of every dimension; f32 of a scaled matrix."""
        part = tuple(slice(*span) for span in spans)
        if self.view.get_dtype() in blocks.DTYPES:
            found = blocks.mapped(self.path, self.name)[part]
            if self.scales is None:
                return found
            return blocks.scaled(found, spans, self.scales.read(blocks.covering(spans)))
        try:
            return self.view[part]
        except (SafetensorError, OSError) as error:
            raise UserError(f"{self.path}: tensor {self.name} cannot be read ({error})") from error


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[dict[str, Stored]]:
    """Every tensor of a directory's files by name; each file is opened once.

    Raises UserError naming a file that is missing or not whole, or a tensor only the index holds.
    """
    promised = _index(directory)
    stored: dict[str, Stored] = {}
    with contextlib.ExitStack() as files:
        for path in sorted(set(promised.values())) or [directory / SINGLE]:
            try:
                file = files.enter_context(safe_open(path, framework="numpy"))
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path}: not a whole safetensors file ({error})") from error
            stored |= {name: Stored(name, path, file.get_slice(name)) for name in file.keys()}
        for name, path in promised.items():
            if name not in stored or stored[name].path != path:
                raise UserError(f"{path}: tensor {name} is missing, though {INDEX} names it")
        yield _with_scales(stored)


def _with_scales(stored: dict[str, Stored]) -> dict[str, Stored]:
    """Matrices in FP8 joined to their scales, which are no tensors of their own then."""
    joined = dict(stored)
    for name, tensor in stored.items():
        scales = stored.get(name + blocks.SCALES)
        if tensor.view.get_dtype() != blocks.WEIGHTS or scales is None:
            continue
        if len(tensor.shape) != 2 or scales.shape != blocks.scales_shape(tensor.shape):
            raise UserError(
                f"{scales.path}: tensor {scales.name} has shape {list(scales.shape)}; "
                f"{list(tensor.shape)} in blocks of {blocks.BLOCK} has "
                f"{list(blocks.scales_shape(tensor.shape))}"
            )
        joined[name] = replace(tensor, scales=scales)
        del joined[scales.name]
    return joined


def _index(directory: Path) -> dict[str, Path]:
    """Tensor name -> the file that is to hold it; empty where a single file holds all.

    Where both are there the single file counts, as in transformers.
    """
    path, whole = directory / INDEX, is_file(directory / SINGLE)
    if whole and is_file(path):
        say(f"{directory}: {SINGLE} is read, as transformers does; {INDEX} beside it is not")
    if whole:
        return {}
    if not is_file(path):
        other = ", ".join(sorted(file.name for file in directory.glob("*.bin"))[:1])
        named = f"; {other} is in another form: save the model by transformers" if other else ""
        raise UserError(f"--model {directory}: neither {SINGLE} nor {INDEX} there{named}")
    weight_map = json_object(path).get("weight_map")
    names = weight_map.values() if isinstance(weight_map, dict) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: has no weight_map (tensor name -> file)")
    for file in sorted(set(names)):
        parts = PurePath(file)
        if parts.is_absolute() or ".." in parts.parts:
            raise UserError(
                f"{path}: names {shown(file)}; only files in its own directory are read"
            )
        if not is_file(directory / file):
            raise UserError(f"{shown(str(directory / file))} is listed in {INDEX} but not there")
    return {name: directory / file for name, file in weight_map.items()}


def is_file(path: Path) -> bool:
    """Whether a file is there; no name is too long or too odd to ask."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@functools.cache
def say(line: str) -> None:
    """Prints a line for the user, once."""
    print(line, file=sys.stderr, flush=True)


def check(directory: Path, c: ModelConfig, stored: Mapping[str, Stored]) -> None:
    """UserError naming a tensor that is missing, surplus, of another shape or of no float type."""
    expected = {n: row for row in jax.tree.leaves(table(c)) for _, n in row.names()}
    missing = expected.keys() - stored.keys()
    others = stored.keys() - expected.keys() - copies(c).keys()
    surplus = {n for n in others if not n.endswith(IGNORED)}
    if c.tied and HEAD in surplus:
        _check_tied(stored[HEAD], stored.get(table(c)["embed"].hf))
        surplus.remove(HEAD)
    for what, names in (("missing", missing), ("not part of this model", surplus)):
        if names:
            raise UserError(f"{directory}: tensor {min(names)} is {what} ({len(names)} in all)")
    for name, row in expected.items():
        tensor = stored[name]
        if tensor.dtype and tensor.shape != row.stored:
            raise UserError(
                f"{tensor.path}: tensor {name} has shape {list(tensor.shape)}, "
                f"the config asks for {list(row.stored)}"
            )


def _check_tied(head: Stored, embed: Stored | None) -> None:
    """UserError where a head that the config ties to the embedding is stored as another matrix."""
    if embed is None:
        return
    same = head.shape == embed.shape and len(head.shape) == 2
    rows, width = head.shape if same else (0, 0)
    step = max(1, PIECE // max(width, 1))
    for start in range(0, rows, step):
        spans = (start, min(start + step, rows)), (0, width)
        same = same and np.array_equal(head.read(spans), embed.read(spans))
    if not same:
        raise UserError(
            f"{head.path}: tensor {head.name} differs from the embedding that the config ties it "
            "to; set tie_word_embeddings to false to use it, or remove it"
        )


def load_row(row: Row, stored: Mapping[str, Stored], array: jax.Array) -> jax.Array:
    """One tensor after the other into the stacked `array`, which goes into what comes back.

    Every device takes its own part of each.

    Devices that share a leading axis (experts) are served side by side, each with its own tensor.
    """
    where = cast(NamedSharding, array.sharding)
    for at in np.ndindex(*where.shard_shape(row.shape)[: row.lead]):
        piece = _piece(row, where, at, stored)
        array = _insert(array, piece, at, where=where, transposed=row.transposed)
        # One tensor on the host at a time, not as many as are queued or not yet let go of.
        jax.block_until_ready(array)
        piece.delete()
        gc.collect(0)
    return array


def finite(x: np.ndarray) -> bool:
    """Whether no number is NaN or infinite, from the bits: as integers those are the largest."""
    # Of the signed integers for positive numbers, of the unsigned ones for negative numbers.
    ends = ((f"i{x.itemsize}", np.inf), (f"u{x.itemsize}", -np.inf))
    return all(x.view(kind).max() < np.asarray(end, x.dtype).view(kind) for kind, end in ends)


def _piece_sharding(where: NamedSharding, lead: int, transposed: bool) -> NamedSharding:
    plain = flipped(where.spec[lead:], transposed)
    return NamedSharding(where.mesh, PartitionSpec(*where.spec[:lead], *plain))


def _piece(
    row: Row, where: NamedSharding, at: tuple[int, ...], stored: Mapping[str, Stored]
) -> jax.Array:
    """The tensors at index `at` of every device's leading block, as they are stored.

    Its leading axes count the blocks: 1 where all devices hold all layers.
    """
    lead = row.lead
    holders: dict[tuple, list[jax.Device]] = defaultdict(list)
    for device, index in where.addressable_devices_indices_map(row.shape).items():
        spans = [s.indices(n)[:2] for s, n in zip(index, row.shape, strict=True)]
        number = tuple(start + i for (start, _), i in zip(spans[:lead], at, strict=True))
        holders[number, flipped(spans[lead:], row.transposed)].append(device)
    shards = []
    for (number, spans), devices in holders.items():
        tensor = stored[row.name(number)]
        host = tensor.read(spans)
        if not finite(host):
            raise UserError(
                f"{tensor.path}: tensor {tensor.name} holds NaN or infinite numbers; what wrote it "
                "went wrong, so name other weights"
            )
        host = host.reshape((1,) * lead + host.shape)
        shards += [jax.block_until_ready(jax.device_put(host, device)) for device in devices]
    local = where.shard_shape(row.shape)[:lead]
    blocks = tuple(n // m for n, m in zip(row.shape[:lead], local, strict=True))
    given = _piece_sharding(where, lead, row.transposed)
    return jax.make_array_from_single_device_arrays((*blocks, *row.stored), given, shards)


@functools.partial(jax.jit, static_argnames=("where", "transposed"), donate_argnames="array")
def _insert(
    array: jax.Array,
    piece: jax.Array,
    at: tuple[int, ...],
    *,
    where: NamedSharding,
    transposed: bool,
) -> jax.Array:
    """Every device flips, casts and writes its part of a piece; nothing is communicated."""

    def local(array: jax.Array, piece: jax.Array, at: tuple[int, ...]) -> jax.Array:
        piece = (jnp.swapaxes(piece, -1, -2) if transposed else piece).astype(array.dtype)
        start = (*at, *(0,) * (array.ndim - len(at)))
        return jax.lax.dynamic_update_slice(array, piece, start)

    given = _piece_sharding(where, len(at), transposed)
    specs = (where.spec, given.spec, PartitionSpec())
    run = jax.shard_map(local, mesh=where.mesh, in_specs=specs, out_specs=where.spec)
    return run(array, piece, at)
