"""What a program may use, what it is tested with, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from r1jax.errors import check_ranges


@dataclass(frozen=True)
class SandboxConfig:
    """What a generated program may use over all its tests; beyond it the program has failed."""

    cpu_seconds: float = 6.0
    """CPU time of a program."""
    wall_seconds: float = 9.0
    """Wall clock of a program; a run keeps it below --reward.wall-seconds."""
    memory_mb: int = 512
    """Memory a program may ask for, in MiB."""
    file_mb: int = 16
    """Files of a program together, in MiB. (For one test it may print 2 MiB.)"""
    processes: int = 16
    """Threads of a program, its first one included; further processes are always refused."""
    unsafe: bool = False
    """Run programs even where the system lets nobody isolate them: they then have the network and
    your files."""

    def __post_init__(self) -> None:
        """Raises UserError on a limit that is not above 0."""
        limits = (field.name for field in fields(self) if field.name != "unsafe")
        check_ranges(self, "--sandbox.", **dict.fromkeys(limits, "(0,]"))

    @property
    def room(self) -> dict[str, float]:
        """Limits of a process that grades such programs, which run under it."""
        return {"wall_seconds": 1 + self.wall_seconds, "memory_mb": 1024 + self.memory_mb}


@dataclass(frozen=True)
class Calls:
    """Tests that call functions of the program: Python statements with `assert`.

    `names` are the functions they take from the program; `setup` (trusted, as the tests are) runs
    before them. With `entry` the tests define `check`, which is called with that function.
    """

    tests: tuple[str, ...]
    names: tuple[str, ...]
    setup: str = ""
    entry: str = ""


@dataclass(frozen=True)
class Streams:
    """Tests of a whole program: (standard input, expected standard output) pairs.

    With `tolerance` numbers in the output may differ by it, absolutely or as a share.
    """

    pairs: tuple[tuple[str, str], ...]
    tolerance: float | None = None


Tests = Calls | Streams


@dataclass(frozen=True)
class Verdict:
    """Tests passed of `total`, and why the rest did not: "" (all passed), wrong (answers or
    exceptions), cpu, wall, output (too much of it, or of a strange form), died.
    """

    passed: int
    total: int
    reason: str = ""

    @property
    def right(self) -> bool:
        """Whether every test passed, and there was one."""
        return not self.reason and self.passed == self.total > 0

    @property
    def share(self) -> float:
        """Passed tests of all."""
        return self.passed / self.total if self.total else 0.0
