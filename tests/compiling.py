"""Flags of XLA with which toys are compiled in less time than they take to run."""

from __future__ import annotations

import importlib.util
import mmap
from pathlib import Path

# Without LLVM's optimisation, without lowering each fusion through MLIR, and in one piece.
QUICK = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)


def quick_flags():
    """Those of `QUICK` that this jaxlib has; one that it does not know would end the process."""
    library = Path(importlib.util.find_spec("jaxlib").origin).parent / "libjax_common.so"
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return [f for f in QUICK if text.find(f.strip("-").partition("=")[0].encode()) >= 0]
