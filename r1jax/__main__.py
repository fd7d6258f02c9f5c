"""The console script: `r1jax COMMAND --flags`; alone it lists the commands."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence

import r1jax
from r1jax import commands
from r1jax.commands.ending import ended, leaving

USAGE = "usage: r1jax COMMAND [--flags]; r1jax COMMAND --help explains one, r1jax --version"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that `argv` (default: the process's) begins with; the exit status."""
    asked, *flags = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if asked in ("-h", "--help"):
        return ended(lambda: print(listing()))
    if asked == "--version":
        return ended(lambda: print(f"r1jax {r1jax.__version__}"))
    names = commands.paths()
    name = asked.replace("-", "_")
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else "r1jax alone lists them"
        print(f"error: r1jax {asked}: no such command; {hint}", file=sys.stderr)
        return 2
    # A script's path begins with its own folder; users' modules lie where they start (python -m).
    sys.path.insert(0, os.getcwd())
    return leaving(commands.run(name, flags), argv)


def listing() -> str:
    """Usage, and a line for each command."""
    found = commands.paths()
    width = max(map(len, found))
    lines = [f"  {name:{width}}  {commands.summary(file)}" for name, file in found.items()]
    return "\n".join([USAGE, "", *lines])


if __name__ == "__main__":
    raise SystemExit(main())
