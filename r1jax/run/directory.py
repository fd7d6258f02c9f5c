"""The run directory: every file a run leaves behind, how it is written, and how it is resumed.

`runs/<name>/` holds `config.json`, `environment.json`, `metrics.jsonl`, `samples.jsonl`,
`eval.json`, `transcripts.jsonl`, `summary.json`, `checkpoints/`, `plots/` and `report.html`
(`r1jax.run.names`). A file is either appended to line by line or replaced in one atomic step; every
one is strict JSON.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from r1jax.errors import UserError
from r1jax.run import names, processes
from r1jax.run.environment import environment
from r1jax.run.settings import lasting

Status = Literal["new", "resume", "finished"]

Record = Mapping[str, Any]
"""A row of such a file, or what a whole one holds."""

SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """One run on disk. With `write=False` (every process but the first) nothing is ever written.

    Rows carry the counters `update` (also as `step`) and `rollout`; both count from 1, with the
    row's own, so a checkpoint with counters (u, r) covers rows with update <= u and rollout <= r.
    """

    path: Path
    status: Status
    write: bool = True
    known: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)
    """Of each file that this process has added to: its bytes, or its evaluations."""

    @classmethod
    def start(
        cls,
        path: str | Path,
        config: Any,
        *,
        overwrite: bool = False,
        ignore: Sequence[str] = ("overwrite",),
    ) -> RunDirectory:
        """Opens `path` for `config`; the status says whether to begin, to resume or to do nothing.

        Every process of the run calls it. Raises UserError as `inspect` does.
        """
        path = Path(path)
        # Every process asks what is on disk before the first one touches it.
        status = inspect(path, config, overwrite=overwrite, ignore=ignore)
        processes.barrier("run directory inspected")
        run = cls(path, status, write=jax.process_index() == 0)
        if run.write and status != "finished":
            if status == "new":
                _clear(path)
            for folder in (path, run.checkpoints, run.plots):
                folder.mkdir(parents=True, exist_ok=True)
            write_json(path / names.ENVIRONMENT, environment())
            write_json(path / names.CONFIG, lasting(config))
        processes.barrier("run directory started")
        return run

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / names.SAVED

    @property
    def plots(self) -> Path:
        """Folder of the figures."""
        return self.path / names.PLOTS

    @property
    def report(self) -> Path:
        """Where the report of the run belongs."""
        return self.path / names.REPORT

    def metrics(self, update: int, rollout: int, values: Mapping[str, float]) -> None:
        """Appends the row of one optimizer update to `metrics.jsonl`."""
        counters = {"update": update, "step": update, "rollout": rollout}
        self._append(names.METRICS, [counters | dict(values)])

    def samples(self, update: int, rollout: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends completions (prompt, text, reward parts) of a rollout to `samples.jsonl`.

        `update` counts the updates made before the rollout was sampled.
        """
        counters = {"update": update, "step": update, "rollout": rollout}
        self._append(names.SAMPLES, [counters | dict(row) for row in rows])

    def evaluation(
        self, update: int, values: Mapping[str, Any], texts: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        """Adds the evaluation made after `update` to the list in `eval.json`.

        `texts` are some of the completions that it judged, for `transcripts.jsonl`.
        """
        counter = {"update": update, "step": update}
        self._append(names.TRANSCRIPTS, [counter | dict(row) for row in texts])
        if self.write:
            self.known[names.EVALUATIONS] = now = [*self.evaluations(), counter | dict(values)]
            write_json(self.path / names.EVALUATIONS, now)

    def evaluations(self) -> list[dict[str, Any]]:
        """The evaluations so far, whatever somebody did to their file since."""
        path = self.path / names.EVALUATIONS
        if path.name in self.known:
            return self.known[path.name]
        return read_json(path) if path.exists() else []

    def transcripts(self) -> list[dict[str, Any]]:
        """The texts of all evaluations so far."""
        path = self.path / names.TRANSCRIPTS
        return read_jsonl(path) if path.exists() else []

    def finish(self, digest: Mapping[str, Any]) -> None:
        """Writes `summary.json`, which is what marks a run as finished."""
        if self.write:
            write_json(self.path / names.SUMMARY, {"schema": SCHEMA, **digest})

    def _append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if self.write and rows:
            with (self.path / name).open("a", encoding="utf-8", errors="backslashreplace") as file:
                if file.tell() < self.known.get(name, 0):
                    print(f"warning: {file.name}: rows were removed; the run goes on without them")
                file.write("".join(_line(row) for row in rows))
                self.known[name] = file.tell()


def inspect(
    path: str | Path,
    config: Any,
    *,
    overwrite: bool = False,
    ignore: Sequence[str] = ("overwrite",),
) -> Status:
    """What `RunDirectory.start` would do; reads only, so every process can ask.

    Fields named in `ignore` (dotted; a prefix covers its fields) may differ between the run on
    disk and `config`. Raises UserError when other fields differ ("field: old -> new"), and when
    `path` holds something that is not a run.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file; a run needs a directory of its own")
    if not (path / names.CONFIG).exists():
        present = os.listdir(path) if path.exists() else []
        if {name.removesuffix(".tmp") for name in present} - {*names.FILES, *names.FOLDERS}:
            raise UserError(f"{path}: holds other files and no config.json; name a new directory")
        if present and not overwrite and _begun(path):
            raise UserError(
                f"{path}: holds a run without its config.json; put it back, name a new directory, "
                "or start anew with --overwrite"
            )
        return "new"
    if overwrite:
        return "new"
    differing = differences(read_json(path / names.CONFIG), to_json(config), ignore)
    if differing and not _begun(path):
        return "new"
    if differing:
        raise UserError(
            f"{path}: was run with other flags ({'; '.join(differing)}); repeat those flags, "
            "name a new directory, or start anew with --overwrite"
        )
    return "finished" if (path / names.SUMMARY).exists() else "resume"


def _begun(path: Path) -> bool:
    """Whether a run made anything; one that a mistake in its flags ended leaves those alone."""
    flags = {names.CONFIG, names.ENVIRONMENT, names.OWNER}
    left = (p for p in path.iterdir() if p.name.removesuffix(".tmp") not in flags)
    return any(any(p.iterdir()) if p.is_dir() else p.stat().st_size for p in left)


def differences(old: Any, new: Any, ignore: Sequence[str] = ()) -> list[str]:
    """Dotted fields that differ between two JSON configs, as "field: old -> new"."""
    before, after = flatten(old), flatten(new)
    absent = object()

    def shown(value: Any) -> str:
        return "(absent)" if value is absent else json.dumps(value, ensure_ascii=False)

    return [
        f"{name}: {shown(before.get(name, absent))} -> {shown(after.get(name, absent))}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name, absent) != after.get(name, absent)
        and not any(name == prefix or name.startswith(prefix + ".") for prefix in ignore)
    ]


def to_json(value: Any) -> Any:
    """Turns dataclasses, tuples, paths, functions and numpy or jax values into strict JSON values.

    Non-finite numbers become None: JSON has no word for them.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "tolist"):
        return to_json(value.tolist())
    if callable(value):
        return f"{value.__module__}:{value.__qualname__}"
    return str(value)


def read_json(path: Path) -> Any:
    """Raises UserError when the file is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); put it back, or take --overwrite") from None


def read_jsonl(path: Path, torn: bool = False) -> list[dict[str, Any]]:
    """The rows of a file that was appended to; a half-written last line is left out.

    Raises UserError naming the line when an earlier one is no JSON object; with `torn`, where a
    power cut may have left blocks of nothing at the end, only if a row follows it.
    """
    rows, broken = [], 0
    # What follows the last newline is empty, or a row whose writing was interrupted.
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            whole = isinstance(row, dict) and isinstance(row.get("update", 0), int)
        except (ValueError, RecursionError):
            whole = False
        if not whole:
            broken = broken or number
        if broken and (whole or not torn):
            raise UserError(f"{path}, line {broken}: not JSON; remove it, or take --overwrite")
        if whole:
            rows.append(row)
    return rows


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` in one step: a reader, or a crash, sees the old file or the new one."""
    text = json.dumps(to_json(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, f"{text}\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replaces `path` in one step by a line for each row."""
    write_text(path, "".join(map(_line, rows)))


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(to_json(row), ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Replaces `path` in one step by a text; half a character (a lone surrogate) by its escape."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """A JSON object of objects as one with dotted names; an empty object stays as it is."""
    if not isinstance(value, Mapping) or not value:
        return {prefix[:-1]: value}
    below = (flatten(item, f"{prefix}{key}.") for key, item in value.items())
    return {name: leaf for flat in below for name, leaf in flat.items()}


def _clear(path: Path) -> None:
    """Removes what an earlier run left in `path`, and nothing else."""
    for name in set(names.FILES) - {names.OWNER}:
        (path / name).unlink(missing_ok=True)
    for name in names.FOLDERS:
        shutil.rmtree(path / name, ignore_errors=True)
