"""The very functions of training and rollouts, compiled for a TPU that is not here."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

import r1jax
from experiments.plan import memory, traffic
from experiments.plan.chips import Topology
from experiments.plan.config import Config
from experiments.plan.counts import copies
from r1jax.errors import UserError
from r1jax.losses import GRPO, grpo
from r1jax.mesh import make_mesh, replicated
from r1jax.models import table
from r1jax.models.config import ModelConfig
from r1jax.rollout import on_devices
from r1jax.rollout.ladder import ladder, widths
from r1jax.rollout.programs import programs
from r1jax.rollout.sampling import Sampling
from r1jax.run.directory import write_json
from r1jax.training import train_state, update
from r1jax.training.batches import abstract_batch
from r1jax.training.optimizer import OptimizerConfig, make_optimizer

ALONE = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_MIN_LOG_LEVEL": "3",
}
"""What keeps libtpu from looking for a TPU, and lets several processes have it at once."""

PROMPTS = 4
"""Widths that prompts are padded to; longer ones are those of completions taken up again."""


class Compilable(NamedTuple):
    """A jitted function with the shapes that it is compiled for."""

    name: str
    function: Any
    args: tuple[Any, ...]
    options: dict[str, Any] = {}


def found(c: ModelConfig, config: Config, where: Topology) -> list[dict[str, Any]]:
    """What each program of `config.programs` needs of a device; kept as JSON, read from there.

    Each is kept as soon as it is known, so that a plan that was stopped goes on behind it. Raises
    UserError where libtpu is missing or does not know the topology.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"--topology {where.name}: compiling for a TPU needs libtpu, in the version jax asks "
            "for (pip install 'jax[tpu]'); --no-compile plans by formula alone"
        )
    kept = Path(config.kept) / f"{_digest(c, config)}.json"
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    if before.get("complete"):
        print(f"compiled before: {kept}\n")
        return before["programs"]
    rows = before.get("programs", [])
    kept.parent.mkdir(parents=True, exist_ok=True)
    told = {"plan": asdict(config), "versions": _versions(), "date": time.strftime("%Y-%m-%d")}
    with _topology(where, config.quick) as devices:
        for one in asked(c, make_mesh(config.mesh, devices), config):
            if one.name not in [row["program"] for row in rows]:
                rows.append(_compiled(one))
                write_json(kept, told | {"complete": False, "programs": rows})
    write_json(kept, told | {"complete": True, "programs": rows})
    return rows


def _versions() -> dict[str, str]:
    return {"jax": jax.__version__, "libtpu": version("libtpu")}


def _digest(c: ModelConfig, config: Config) -> str:
    """Of all that what is compiled depends on, this code included."""
    names = ("topology", "mesh", "train", "rollout", "optimizer", "programs", "quick")
    told = [repr(c), *(repr(getattr(config, name)) for name in names), *_versions().values()]
    told += [p.read_text() for p in sorted(Path(r1jax.__file__).parent.rglob("*.py"))]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _topology(where: Topology, quick: bool) -> Iterator[list[Any]]:
    """The devices of a TPU topology, and for the time of the block XLA's level of optimisation."""
    from jax.experimental import topologies

    before = {name: os.environ.get(name) for name in ALONE}
    os.environ.update({name: os.environ.get(name, value) for name, value in ALONE.items()})
    level = jax.config.jax_optimization_level
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=where.name)
        if quick:
            jax.config.update("jax_optimization_level", "O1")
        yield list(found.devices)
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--topology {where.name}: {_first_line(error)}") from None
    finally:
        jax.config.update("jax_optimization_level", level)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def asked(c: ModelConfig, mesh: Mesh, config: Config) -> Iterator[Compilable]:
    """The programs of a run of R1-Zero with abstract arguments; no array is ever made."""
    optimizer = make_optimizer(
        OptimizerConfig(kind=config.optimizer), config.run.updates, table.decay_mask(c)
    )
    compute, loss = config.train, grpo(GRPO(beta=0.001 if config.reference else 0.0))
    functions = update.make_functions(c, mesh, compute, loss, optimizer)
    state = train_state.abstract_state(optimizer, c, mesh)
    total = _laid_like(jax.eval_shape(functions.start), state)
    batch = abstract_batch(compute, mesh, functions.columns())
    if "accumulate" in config.programs:
        yield Compilable("accumulate", functions.accumulate, (state.params, total, batch))
    if "apply" in config.programs:
        yield Compilable("apply", functions.apply, (state, total))
    if "score" in config.programs:
        score = update.make_score(compute.roomy(c), mesh, compute, 1.0)
        logp = jax.jit(lambda *args: score(*args).logp, out_shardings=replicated(mesh))
        yield Compilable("score", logp, (state.params, abstract_batch(compute, mesh)))
    if {"prepare", "prefill", "decode"} & set(config.programs):
        yield from _rollout(c, mesh, config, state.params)


def _laid_like(total: Any, state: Any) -> Any:
    """Sums of an update with gradients laid out as their weights are."""
    place = lambda x, w: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=w.sharding)  # noqa: E731
    return total.replace(grads=jax.tree.map(place, total.grads, state.params))


def _rollout(c: ModelConfig, mesh: Mesh, config: Config, params: Any) -> Iterator[Compilable]:
    """The weights of rollouts made of training's; on those, as they lie, prefills of each width and
    a loop of decode steps of each shape."""
    r = config.rollout.engine
    shapes = ladder(r, copies(mesh))
    made = [programs(c, mesh, shape, r.max_tokens, (1,), jnp.bfloat16) for shape in shapes]
    weights = _weights(made[0].prepare, on_devices.layout(c, mesh, jnp.bfloat16), params)
    whole = lambda *shape: jax.ShapeDtypeStruct(shape, np.int32, sharding=replicated(mesh))  # noqa: E731
    if "prepare" in config.programs:
        yield Compilable("prepare", made[0].prepare, (params,))
    if "prefill" in config.programs:
        for width in widths(r, shapes)[:PROMPTS]:
            args = weights, whole(r.prefill, width), whole(r.prefill)
            yield Compilable(f"prefill {r.prefill} x {width}", made[0].prefill, args)
    if "decode" in config.programs:
        for shape, its in zip(shapes, made, strict=True):
            args = weights, laid_out(its.empty), whole(), whole()
            name = f"decode {shape.slots} x {shape.length}"
            yield Compilable(name, its.decode, args, {"sampling": Sampling(1.0)})


def _weights(prepare: Any, layout: Any, params: Any) -> Any:
    """What `prepare` makes of the parameters; only where no `layout` is given has XLA to say it."""
    if layout is None:
        return laid_out(prepare, params)
    place = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)  # noqa: E731
    made = jax.eval_shape(prepare, params)
    if isinstance(layout, jax.sharding.Sharding):
        layout = jax.tree.map(lambda _: layout, made)
    return jax.tree.map(place, made, layout)


def laid_out(function: Any, *args: Any) -> Any:
    """ShapeDtypeStructs of what a jitted function returns, where its compiled form puts it."""
    where = function.lower(*args).compile().output_shardings
    place = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)  # noqa: E731
    return jax.tree.map(place, jax.eval_shape(function, *args), where)


def _compiled(one: Compilable) -> dict[str, Any]:
    """What a program needs of one device, or what the compiler said of one that does not fit."""
    print(f"compiling {one.name}", flush=True)
    began = time.process_time()
    counted = traffic.flops(lambda *args: one.function(*args, **one.options), *one.args)
    told: dict[str, Any] = {"program": one.name, "FLOP of all devices": counted}
    try:
        program = one.function.lower(*one.args, **one.options).compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return told | {"refused": _first_line(error)}
    sizes = program.memory_analysis()
    return told | {
        "arguments": int(sizes.argument_size_in_bytes),
        "temporaries": int(sizes.temp_size_in_bytes),
        "peak": int(sizes.peak_memory_in_bytes),
        "collectives": traffic.collectives(program.as_text()),
        "CPU seconds to compile": time.process_time() - began,
    }


def _first_line(error: Exception) -> str:
    """The sentence of a compiler's message that says what is too large, or its beginning."""
    text = " ".join(str(error).split())
    sized = re.search(r"(Used|Attempting|Ran out)[^.]*\d[^.]*\.\d*[^.]*\.", text)
    return (sized[0] if sized else text)[:200]


def row(one: dict[str, Any]) -> dict[str, Any]:
    """A program's row of a table: GiB of a device, collectives in one cell."""
    if "refused" in one:
        return {"program": one["program"], "collectives": f"does not fit: {one['refused']}"}
    sent = ", ".join(f"{kind} {n / 2**30:,.2f}" for kind, n in sorted(one["collectives"].items()))
    return {
        "program": one["program"],
        "arguments": one["arguments"] / 2**30,
        "temporaries": one["temporaries"] / 2**30,
        "peak": one["peak"] / 2**30,
        "TFLOP, all devices": one["FLOP of all devices"] / 1e12,
        "collectives": sent,
    }


def check(found: list[dict[str, Any]], held: dict[str, float], limit: float) -> None:
    """Raises UserError for the first program that does not fit beside what its phase holds.

    Arguments are of that already: what is held beside them is the optimizer's state and the
    reference while an update runs, and all of training's while decoding.
    """
    for one in found:
        learning = one["program"] in ("accumulate", "apply", "score")
        advice = memory.ADVICE["update" if learning else "sampling"]
        if "refused" in one:
            raise UserError(f"{one['program']} does not fit: {one['refused']}; {advice}")
        beside = held["reference"]
        if one["program"] in ("accumulate", "score"):
            beside += held["optimizer"]
        if not learning:
            beside += held["optimizer"]
        if not learning and one["program"] != "prepare":  # those are its arguments
            beside += held["weights"]
        if one["peak"] + beside > limit:
            raise UserError(
                f"{one['program']} does not fit: {one['peak'] / 2**30:,.1f} GiB compiled and "
                f"{beside / 2**30:,.1f} beside it, of {limit / 2**30:,.1f}; {advice}"
            )
