"""Which kernels the device ran, how often and how long, from a profiler trace."""

from __future__ import annotations

import gzip
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

KINDS: dict[str, str] = {
    "attention": r"atten[dt]|flash|fmha|sdpa|cudnn|pallas|mosaic|splash",
    "collective": r"nccl|all[-_]?reduce|all[-_]?gather|reduce[-_]?scatter|all[-_]?to[-_]?all",
    "matrix product": r"nvjet|gem[mv]|cublas|cutlass|xmma|(^|[^a-z])dot([^a-z]|$)|ynn",
    "copy": r"memcpy|memset|^(?=.*(copy|transpose))"
    r"((input|loop|wrapped|copy|transpose|fusion)[._\d]*)+$",
    "sort": r"sort|radix",
}
"""Kind of a kernel by a pattern in its name, in lower case; the first that is found counts.

CPU traces name fusions of XLA's matrix library ynn, with whatever else was fused.
"""

OTHER = "fusion"
CONTAINERS = re.compile(r"(while|call|conditional)[.\d]*$")


@dataclass(frozen=True)
class Kernel:
    """All runs of the kernels of one name."""

    name: str
    count: int
    seconds: float

    @property
    def kind(self) -> str:
        """Matrix product, attention, copy and so on; `OTHER` where no pattern fits."""
        low = self.name.lower()
        return next((kind for kind, pattern in KINDS.items() if re.search(pattern, low)), OTHER)


def kernels(run: Callable[[], Any]) -> list[Kernel]:
    """Traces one call of `run` until its result is there; longest kernels first.

    Of a GPU the events on its streams, of a CPU those of XLA's operations. JAX's trace keeps a
    million events: trace something shorter where a call would make more.
    """
    with tempfile.TemporaryDirectory() as directory:
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # Python's calls would fill the trace
        with jax.profiler.trace(directory, profiler_options=options):
            jax.block_until_ready(run())
        events: list[Mapping[str, Any]] = []
        for path in sorted(Path(directory).rglob("*.trace.json.gz")):
            events += json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return summed(events)


def summed(events: Sequence[Mapping[str, Any]]) -> list[Kernel]:
    """Kernels of a trace's events (Chrome's format, microseconds), longest first."""
    named = [e for e in events if e.get("ph") == "M"]
    gpus = {e["pid"] for e in named if e["name"] == "process_name" and "GPU" in e["args"]["name"]}
    streams = {
        (e["pid"], e["tid"])
        for e in named
        if e["name"] == "thread_name" and "Stream" in e["args"]["name"]
    }

    def on_device(event: Mapping[str, Any]) -> bool:
        if gpus:
            return event["pid"] in gpus and (event["pid"], event["tid"]) in streams
        # A loop's own event spans those of its body.
        return "hlo_op" in event.get("args", {}) and not CONTAINERS.match(event["name"])

    runs: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("ph") == "X" and on_device(event):
            runs[event["name"]].append(event["dur"] * 1e-6)
    totals = [Kernel(name, len(seconds), sum(seconds)) for name, seconds in runs.items()]
    return sorted(totals, key=lambda kernel: -kernel.seconds)


def top(found: Sequence[Kernel], n: int) -> list[dict[str, Any]]:
    """Rows of a table: the first n of kernels, the longest ones, with their share of all."""
    total = sum(kernel.seconds for kernel in found)
    return [
        {
            "kernel": kernel.name[:80],
            "kind": kernel.kind,
            "runs": kernel.count,
            "ms": kernel.seconds * 1e3,
            "share": f"{kernel.seconds / total:.1%}",
        }
        for kernel in found[:n]
    ]


def shares(found: Iterable[Kernel]) -> dict[str, float]:
    """Share of the kernels' time by kind, largest first; they add up to 1."""
    seconds: dict[str, float] = defaultdict(float)
    for kernel in found:
        seconds[kernel.kind] += kernel.seconds
    total = sum(seconds.values())
    return {k: s / total for k, s in sorted(seconds.items(), key=lambda item: -item[1])}
