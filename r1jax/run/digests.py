"""Digests of a checkpoint's files: written once it is there, checked before it is believed.

Every process writes `digests.<process>.json` for the files that are its own; a checkpoint is sealed
when all of them are there. What is damaged later, by a disk or by hand, no longer agrees.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax

from r1jax.errors import UserError
from r1jax.run import processes
from r1jax.run.names import SAVED

SMALL = 2**20  # bytes of a file that is quickly read
_WRITING = ".writing"
_OWNER = re.compile(r"(?:^|[./])process_(\d+)(?:/|$)")  # in Orbax's names of a process's own files
UNVERIFIED = "--checkpoint.unverified (evaluate, chat: --unverified)"
_NAME, _MISSING = "digests.{}.json", "is missing"


def seal(folder: Path, process: int = 0, processes: int = 1) -> None:
    """Writes the digests of the files of `process`, in one step and onto the disk."""
    mine = [name for name in _files(folder) if _process(name, processes) == process]
    text = _text(processes, dict(zip(mine, _each(_digest, folder, mine), strict=True)))
    path = folder / _NAME.format(process)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def sealed(folder: Path) -> bool:
    """Whether every process has written its digests."""
    return not any(wrong and wrong.endswith(_MISSING) for _, wrong in _books(folder))


def fault(folder: Path, largest: int | None = None) -> str | None:
    """What is wrong with the files of a sealed checkpoint, in a few words; None: nothing.

    Several processes share the work: each speaks for its part of the files alone. With `largest`,
    only files of at most so many bytes are read; sizes are compared all the same.
    """
    known: dict[str, list[Any]] = {}
    for files, wrong in _books(folder):
        if wrong:
            return wrong
        known |= files
    names = sorted(known)
    mine = names[jax.process_index() :: jax.process_count()]
    try:
        for name in names:
            size = (folder / name).stat().st_size
            if size != known[name][0]:
                return f"{name} has {size} bytes, not {known[name][0]}"
        mine = [name for name in mine if largest is None or known[name][0] <= largest]
        found = _each(_digest, folder, mine)
    except OSError as error:
        return f"{Path(error.filename).name}: {error.strerror}"
    wrong = (n for n, digest in zip(mine, found, strict=True) if digest != known[n])
    return next((f"{name} is not what was written" for name in wrong), None)


def check(folder: Path) -> None:
    """Raises UserError where a file of a sealed checkpoint is damaged; every process calls it."""
    wrong = fault(folder) if sealed(folder) else None
    if processes.most(wrong is not None):
        raise UserError(f"{folder}: damaged ({wrong or 'as another process found'}); name another")


def _books(folder: Path) -> Iterator[tuple[dict[str, list[Any]], str | None]]:
    """(digest of each file, what is wrong) of every process's file of digests."""
    process, processes = 0, 1
    while process < processes:
        name = _NAME.format(process)
        try:
            text = (folder / name).read_text(encoding="utf-8")
            book = json.loads(text)
            processes, files = book["processes"], book["files"]
            wrong = None if text == _text(processes, files) else f"{name} is not what was written"
        except OSError:
            files, wrong = {}, f"{name} {_MISSING}"
        except (ValueError, KeyError, TypeError):
            files, wrong = {}, f"{name} is not what was written"
        yield files, wrong
        if wrong:
            return
        process += 1


def _text(processes: int, files: dict[str, Any]) -> str:
    """A file of digests, with one of itself."""
    body = {"processes": processes, "files": files}
    own = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "sha256": own}, sort_keys=True, indent=1) + "\n"


def _files(folder: Path) -> list[str]:
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(p.as_posix() for p in found if not p.as_posix().startswith("digests."))


def _process(name: str, processes: int) -> int:
    """Whose file it is: the first one's where no process is named."""
    named = _OWNER.search(name)
    number = int(named[1]) if named else 0
    return number if number < processes else 0


def _each(f: Callable[[Path], Any], folder: Path, names: list[str]) -> list[Any]:
    """`f` of each file, several at a time: hashing leaves the interpreter to others."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(f, [folder / name for name in names]))


def _digest(path: Path) -> list[Any]:
    """[bytes, SHA-256] of a file."""
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


# --- what a run goes on from -----------------------------------------------------------------


def steps(directory: Path) -> list[int]:
    """The checkpoints that were committed, by update; what is set aside has another name."""
    return sorted(int(p.name) for p in directory.glob("*") if p.name.isdigit())


def find_step(
    directory: str | Path, step: int | None = None, unverified: bool = False, use: str = UNVERIFIED
) -> int:
    """Update of the newest checkpoint in `directory`, or `step`; UserError where there is none.

    One without digests counts only where such are wanted (`unverified`), by what `use` says.
    """
    if not Path(directory).is_dir():
        raise UserError(f"{directory}: no such directory of checkpoints")
    there = steps(Path(directory))
    known = [s for s in there if unverified or sealed(Path(directory) / str(s))]
    chosen = max(known or there, default=None) if step is None else step
    if chosen is None or chosen not in there:
        wanted = "" if step is None else f" {step}"
        inside = Path(directory) / SAVED
        hint = f"; name {inside}" if inside.is_dir() else ""
        raise UserError(
            f"{directory}: no checkpoint{wanted} there; found updates {there or 'none'}{hint}"
        )
    if chosen not in known:
        raise UserError(
            f"{directory}/{chosen}: was committed without digests, so that nothing says whether it "
            f"is whole; {use} takes it as it is"
        )
    return chosen


def mark(directory: Path, step: int) -> None:
    """Says that checkpoint `step` is being written."""
    unmark(directory)
    if jax.process_index() == 0:
        (directory / f"{step}{_WRITING}").touch()


def unmark(directory: Path) -> None:
    """Removes what says so of checkpoints that are sealed by now, or gone."""
    for path in directory.glob("*" + _WRITING) if jax.process_index() == 0 else ():
        folder = path.with_suffix("")
        if sealed(folder) or not folder.exists():
            path.unlink(missing_ok=True)


def set_aside(directory: Path, unverified: bool) -> list[str]:
    """Sets aside what cannot be trusted, so that the newest checkpoint can; a line for each.

    They are renamed: a damaged one to <step>.damaged, one without digests to <step>.unverified,
    unless such are wanted. Of those before the newest only small files are read. Every process of
    the run calls it. Raises UserError, and renames nothing, where no checkpoint is left; one whose
    writing was interrupted is no loss.
    """
    aside: dict[int, tuple[str, str]] = {}
    lost = newest = None
    for step in reversed(steps(directory)):
        folder = directory / str(step)
        whole = sealed(folder)
        if whole:
            wrong = fault(folder, None if newest is None else SMALL)
        else:
            wrong = None if unverified or newest is not None else "was committed without digests"
        if processes.most(wrong is not None):
            wrong = wrong or "a file is not what was written"
            aside[step] = ("damaged" if whole else "unverified", wrong)
            if lost is None and (whole or not folder.with_suffix(_WRITING).exists()):
                lost = step
        elif newest is None:
            newest = step
    if newest is None and lost is not None:
        state, wrong = aside[lost]
        use = " --checkpoint.unverified goes on from it," if state == "unverified" else ""
        raise UserError(f"{directory / str(lost)}: {wrong}, and there is no whole checkpoint before"
                        f" it;{use} --overwrite starts anew")  # fmt: skip
    then = "the beginning" if newest is None else f"update {newest}"
    lines = [f"{directory / str(step)}: {state} ({wrong}); set aside, the run goes on from {then}"
             for step, (state, wrong) in aside.items()]  # fmt: skip
    if jax.process_index() == 0:
        for step, (state, _) in aside.items():
            names = (f"{step}.{state}{n or ''}" for n in itertools.count())
            free = next(name for name in names if not (directory / name).exists())
            (directory / str(step)).rename(directory / free)
    processes.barrier("damaged checkpoints set aside")
    if newest is not None and not sealed(directory / str(newest)):
        lines.append(f"{directory / str(newest)}: used unverified; it has no digests")
    return lines
