"""What is counted in programs themselves: products in a jaxpr, collectives in compiled text."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

_SHAPE = re.compile(r"\b([a-z]+\d+[a-z0-9]*|pred)\[([\d,]*)\]")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_COLLECTIVE = re.compile(
    r" = (.*?) (all-gather|all-reduce|reduce-scatter|all-to-all|ragged-all-to-all"
    r"|collective-permute)(?:-start)?\("
)
_CALLED = re.compile(
    r"\b(?:body|condition|to_apply|calls|branch_computations)=(?:%([\w.\-]+)|\{([^}]*)\})"
)
_CONSTANT = re.compile(r"%([\w.\-]+) = [su]32\[\][^ ]* constant\((\d+)\)")
_BELOW = re.compile(r"ROOT .* compare\((.*?)\), direction=LT")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


def flops(f: Callable[..., Any], *args: Any) -> float:
    """Operations of all matrix products that f does, whatever devices share them.

    A scan's body counts as often as it runs, a while loop's once (a decode step), a branch's if it
    is the largest, a kernel's for every block of its grid (also those that it leaves out), and what
    each device does of a `shard_map` for every device.
    """
    return _flops(jax.make_jaxpr(f)(*args).jaxpr)


def _flops(jaxpr: Any) -> float:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left, out = equation.invars[0].aval, equation.outvars[0].aval
        return 2.0 * math.prod(out.shape) * math.prod(left.shape[i] for i in contracted)
    if name in ("ragged_dot", "ragged_dot_general"):  # every row meets one group's matrix
        rows, matrices = equation.invars[0].aval, equation.invars[1].aval
        return 2.0 * math.prod(rows.shape) * matrices.shape[-1]
    inner = [_flops(sub) for sub in _subs(params)]
    if name == "cond":
        return max(inner)
    times = params["length"] if name == "scan" else 1
    if name == "pallas_call":
        times = math.prod(params["grid_mapping"].grid)
    if name == "shard_map":
        # Other versions of jax say `manual_axes`.
        axes = params["newly_manual_axes" if "newly_manual_axes" in params else "manual_axes"]
        times = math.prod(params["mesh"].shape[axis] for axis in axes)
    return times * sum(inner)


def _subs(params: dict[str, Any]) -> list[Any]:
    """The jaxprs among an equation's parameters."""
    found = []
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else [value]:
            one = getattr(one, "jaxpr", one)
            if hasattr(one, "eqns"):
                found.append(one)
    return found


def collectives(text: str) -> dict[str, float]:
    """Bytes of results by kind of collective in a compiled module, those in a loop as often as it
    runs (once where its text does not say)."""
    computations, entry = _computations(text)
    total: Counter[str] = Counter()

    def walk(name: str, times: float) -> None:
        for line in computations.get(name, ()):
            if found := _COLLECTIVE.search(line):
                total[found[2]] += times * _bytes(found[1], "-start(" in line)
            again = _turns(line, computations) if " while(" in line else 1
            for one, several in _CALLED.findall(line):
                for sub in (one or several).replace("%", "").split(","):
                    walk(sub.strip(), times * again)

    walk(entry, 1.0)
    return dict(total)


def _turns(loop: str, computations: dict[str, list[str]]) -> int:
    """How often a loop runs: as the compiler says, or as its condition compares from 0 on."""
    if told := _TRIPS.search(loop):
        return int(told[1])
    condition = re.search(r"condition=%([\w.\-]+)", loop)
    lines = computations.get(condition[1], []) if condition else []
    constants = dict(found.groups() for line in lines if (found := _CONSTANT.search(line)))
    compared = next((found[1] for line in lines if (found := _BELOW.search(line))), "")
    names = re.findall(r"%([\w.\-]+)", compared)
    return next((int(constants[name]) for name in names if name in constants), 1)


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation of a module, and the name of the one that is entered."""
    computations: dict[str, list[str]] = {}
    name = entry = ""
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            name = found[1]
            computations[name] = []
            entry = name if line.startswith("ENTRY") else entry
        elif name:
            computations[name].append(line)
    return computations, entry


def _bytes(shapes: str, started: bool) -> float:
    """Bytes of a result's arrays; an operation that has only started names its operand as well."""
    sizes = [
        math.prod(int(n) for n in dims.split(",") if n) * _itemsize(kind)
        for kind, dims in _SHAPE.findall(shapes)
    ]
    return float(max(sizes, default=0) if started else sum(sizes))


def _itemsize(kind: str) -> float:
    if kind == "pred":
        return 1
    return np.ceil(int(re.findall(r"\d+", kind)[0]) / 8)
