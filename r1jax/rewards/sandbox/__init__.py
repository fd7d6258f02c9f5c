"""Runs generated Python against tests in processes that can touch nothing; see `host`."""

from r1jax.rewards.sandbox.config import Calls, SandboxConfig, Streams, Tests, Verdict
from r1jax.rewards.sandbox.host import require_isolation, run_program

__all__ = [
    "Calls",
    "SandboxConfig",
    "Streams",
    "Tests",
    "Verdict",
    "require_isolation",
    "run_program",
]
