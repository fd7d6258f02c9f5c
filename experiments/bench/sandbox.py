"""How many programs a core judges in a second: small ones of three kinds, in the sandbox.

    python -m experiments.bench.sandbox --seconds 10

One process asks and waits, so that only one core works at a time; a reward pool runs as many side
by side as it has workers. Half a minute.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from r1jax.commands import cli
from r1jax.errors import check_ranges
from r1jax.rewards.sandbox import Calls, SandboxConfig, Streams, Tests, run_program

PROGRAMS: dict[str, tuple[str, Tests]] = {
    "calls, 3 asserts": (
        "def double(x):\n    return 2 * x",
        Calls(tuple(f"assert double({i}) == {2 * i}" for i in range(3)), ("double",)),
    ),
    "calls, 100 asserts": (
        "def double(x):\n    return 2 * x",
        Calls(tuple(f"assert double({i}) == {2 * i}" for i in range(100)), ("double",)),
    ),
    "streams, 3 inputs": (
        "print(2 * int(input()))",
        Streams(tuple((f"{i}\n", f"{2 * i}\n") for i in range(3))),
    ),
}


@dataclass(frozen=True)
class Config:
    """What is measured."""

    seconds: float = 10.0
    """Wall clock for each kind of program."""
    sandbox: SandboxConfig = SandboxConfig()
    """Limits of the programs."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(self, "--", seconds="(0,]")


def main(config: Config) -> None:
    """Prints programs per second for each kind."""
    for name, (program, tests) in PROGRAMS.items():
        print(f"{name:20} {rate(program, tests, config):7.1f} programs per second and core")


def rate(program: str, tests: Tests, config: Config) -> float:
    """Programs judged in a second, one after the other; each must pass."""
    assert run_program(program, tests, config.sandbox).right  # the sandbox is built before
    start, count = time.monotonic(), 0
    while time.monotonic() - start < config.seconds:
        assert run_program(program, tests, config.sandbox).right
        count += 1
    return count / (time.monotonic() - start)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
