"""Where problems come from, each kind named by one string: a file, a generator, a function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from r1jax.data.config import SourceConfig
from r1jax.data.problems.files import DataReport, load_file
from r1jax.data.problems.generated import is_task, user_task
from r1jax.data.problems.gym import GymSource
from r1jax.data.problems.options import parse_params
from r1jax.data.problems.prompt_length import FittingSource, PromptRoom
from r1jax.data.rows import HUB
from r1jax.data.tinyzero.tasks import TINYZERO, tinyzero
from r1jax.data.world import (
    FAMILIES,
    KINDS,
    distinct,
    distinct_general,
    generate,
    generate_general,
)
from r1jax.errors import UserError
from r1jax.problem import Problem

WORLD, GENERAL, GYM = "world", "general", "reasoning_gym"
TASK, FILE = "task", "file"  # kinds of sources that bear no word of their own


class Source(Protocol):
    """Random access to problems: item i is a pure function of the source's name, seed and i."""

    def __len__(self) -> int:
        """Number of problems; `sys.maxsize` when there is no end."""

    def __getitem__(self, index: int) -> Problem:
        """Training problem number `index`."""

    def evaluation(self, count: int) -> list[Problem]:
        """At most `count` different problems to be judged on."""


class WorldSource:
    """Problems or general prompts of the embedded world, without end; names and languages in turn.

    `generate` and `distinct` are the world's functions of that name, for problems or for general
    prompts; of the latter, training reads part "policy", as part "reward" is for reward models.
    """

    def __init__(
        self,
        generate: Callable[..., Problem],
        distinct: Callable[..., list[Problem]],
        names: Sequence[str],
        options: Mapping[str, Any],
        skip: int = 0,
    ) -> None:
        """Raises UserError for a name or language that does not exist."""
        self._generate, self._distinct = generate, distinct
        self._names, self._options, self._skip = names, options, skip
        self[0]

    def __len__(self) -> int:
        """No end."""
        return sys.maxsize

    def __getitem__(self, index: int) -> Problem:
        """Training problem number `index`."""
        return self._generate(self._names, index=int(index), **self._options)

    def evaluation(self, count: int) -> list[Problem]:
        """The `count` held-out problems with different keys behind those that are skipped."""
        return self._distinct(self._skip + count, self._names, **self._options)[self._skip :]


class FileSource:
    """The problems of a file, in memory; `report` says what was dropped."""

    def __init__(self, path: str, config: SourceConfig, room: PromptRoom | None = None) -> None:
        """Raises UserError as `load_file` does."""
        self._problems, self.report = load_file(path, config, room)

    def __len__(self) -> int:
        """Number of problems."""
        return len(self._problems)

    def __getitem__(self, index: int) -> Problem:
        """The problem at place `index`."""
        return self._problems[index]

    def evaluation(self, count: int) -> list[Problem]:
        """`count` problems chosen by their ids alone: a reordered file gives the same set."""
        chosen = {problem.id for problem in sorted(self._problems, key=_rank)[:count]}
        return [problem for problem in self._problems if problem.id in chosen]


def open_source(
    spec: str, config: SourceConfig, seed: int, room: PromptRoom | None = None
) -> tuple[Source, DataReport | None]:
    """Opens the source that `spec` names; a file comes with a report on its rows.

    Raises UserError when it does not exist, cannot be read, or takes no such parameters, and where
    a prompt exceeds the `room` there is and `config.too_long` says so.
    """
    kind, name, query = _parts(spec)
    if kind in (FILE, HUB):
        source = FileSource(spec, config, room)
        return source, source.report
    params = parse_params(query, spec)
    if kind in (WORLD, GENERAL):
        made: Source = _world(spec, params, config, seed)
    else:
        opener = {TASK: user_task, TINYZERO: tinyzero, GYM: GymSource}[kind]
        made = opener(name, params, seed)
    return FittingSource(made, spec, room, config.too_long) if room else made, None


def refuse_skip(spec: str) -> None:
    """Raises UserError where a source to train on would skip problems, as only evaluation does."""
    kind, _, query = _parts(spec)
    if kind in (WORLD, GENERAL, GYM) and "skip" in parse_params(query, spec):
        raise UserError(f"{spec}: skip leaves out held-out problems; leave it out of training data")


def unfit(spec: str, source: Source) -> DataReport | None:
    """What of a made source's problems had no room, of those that were looked at; None: all had."""
    if not isinstance(source, FittingSource) or not source.long:
        return None
    count = source.looked_at
    return DataReport(spec, count, count - len(source.long), too_long=source.long)


def set_name(spec: str) -> str:
    """A short name for a source, for metrics and files: world, general-safe, chain_sum, aime."""
    kind, name, query = _parts(spec)
    if kind == FILE:
        return Path(name).stem
    if kind == TASK:
        return name.partition(":")[2]
    if kind == TINYZERO:
        return f"{TINYZERO}-{name}"
    if kind in (GYM, HUB):
        return name.rpartition("/")[2]
    families = _families(name)
    every = FAMILIES if kind == WORLD else KINDS
    parts = [kind, *(families if set(families) != set(every) else ())]
    return "-".join([*parts, "harder"] if parse_params(query, spec).get("harder") else parts)


def _parts(spec: str) -> tuple[str, str, str]:
    """(kind, name, what follows the question mark) of a source; a file's name is its path."""
    whole, _, query = spec.partition("?")
    kind, colon, name = whole.partition(":")
    if colon and kind in (WORLD, GENERAL, GYM, TINYZERO, HUB):
        return kind, name, query
    return TASK if is_task(spec) else FILE, whole, query


def _world(spec: str, params: dict[str, Any], config: SourceConfig, seed: int) -> WorldSource:
    kind, name, _ = _parts(spec)
    usual: dict[str, Any] = {"language": config.language}
    if kind == WORLD:
        make, different, there = generate, distinct, "there are harder, language and skip"
        usual["harder"] = False
    else:
        make, different, there = generate_general, distinct_general, "there are language and skip"
    skip = params.pop("skip", 0)
    if not isinstance(skip, int) or isinstance(skip, bool) or skip < 0:
        raise UserError(f"{spec}: skip={skip}; expected a whole number of held-out problems")
    if unknown := params.keys() - usual.keys():
        raise UserError(f"{spec}: no parameter {unknown.pop()}; {there}")
    options = usual | params | {"seed": seed}
    if not isinstance(options.get("harder", False), bool):
        raise UserError(f"{spec}: harder={options['harder']}; expected true or false")
    try:
        return WorldSource(make, different, _families(name), options, skip)
    except UserError as error:
        raise UserError(f"{spec}: {error}") from None


def _families(name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in name.split(","))


def _rank(problem: Problem) -> tuple[int, str]:
    return problem.number, problem.id
