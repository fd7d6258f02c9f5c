"""Where problems come from, each kind named by one string: a file, a generator, a function."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from r1jax.data.config import SourceConfig
from r1jax.data.problems.files import DataReport, load_file
from r1jax.data.problems.generated import is_task, user_task
from r1jax.data.problems.gym import GymSource
from r1jax.data.problems.options import parse_params
from r1jax.data.rows import HUB
from r1jax.data.tinyzero.tasks import TINYZERO, tinyzero
from r1jax.data.world import (
    FAMILIES,
    KINDS,
    Language,
    RequestKind,
    distinct,
    distinct_general,
    generate,
    generate_general,
)
from r1jax.errors import UserError
from r1jax.problem import Problem

WORLD, GENERAL, GYM = "world", "general", "reasoning_gym"


class Source(Protocol):
    """Random access to problems: item i is a pure function of the source's name, seed and i."""

    def __len__(self) -> int:
        """Number of problems; `sys.maxsize` when there is no end."""

    def __getitem__(self, index: int) -> Problem:
        """Training problem number `index`."""

    def evaluation(self, count: int) -> list[Problem]:
        """At most `count` different problems to be judged on."""


class WorldSource:
    """Training problems of the embedded world, without end; families and languages take turns."""

    def __init__(
        self, families: Sequence[str], language: Language, seed: int, harder: bool = False
    ) -> None:
        """Raises UserError for a family or language that does not exist."""
        self._families = tuple(families)
        self._language, self._seed, self._harder = language, seed, harder
        self[0]

    def __len__(self) -> int:
        """No end."""
        return sys.maxsize

    def __getitem__(self, index: int) -> Problem:
        """Training problem number `index`."""
        return generate(
            self._families,
            split="train",
            language=self._language,
            seed=self._seed,
            index=int(index),
            harder=self._harder,
        )

    def evaluation(self, count: int) -> list[Problem]:
        """The first `count` held-out problems with different keys."""
        return distinct(
            count,
            self._families,
            split="eval",
            language=self._language,
            seed=self._seed,
            harder=self._harder,
        )


class GeneralSource:
    """General prompts of the embedded world, without end; kinds and languages take turns.

    Training reads those of part "policy"; those of part "reward" are for reward models alone.
    """

    def __init__(self, kinds: Sequence[RequestKind], language: Language, seed: int) -> None:
        """Raises UserError for a kind or language that does not exist."""
        self._kinds, self._language, self._seed = tuple(kinds), language, seed
        self[0]

    def __len__(self) -> int:
        """No end."""
        return sys.maxsize

    def __getitem__(self, index: int) -> Problem:
        """Training prompt number `index`."""
        return generate_general(
            self._kinds, part="policy", language=self._language, seed=self._seed, index=int(index)
        )

    def evaluation(self, count: int) -> list[Problem]:
        """The first `count` held-out prompts with different keys."""
        return distinct_general(
            count, self._kinds, part="eval", language=self._language, seed=self._seed
        )


class FileSource:
    """The problems of a file, in memory; `report` says what was dropped."""

    def __init__(self, path: str, config: SourceConfig) -> None:
        """Raises UserError as `load_file` does."""
        self._problems, self.report = load_file(path, config)

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


def open_source(spec: str, config: SourceConfig, seed: int) -> tuple[Source, DataReport | None]:
    """Opens the source that `spec` names; a file comes with a report on its rows.

    Raises UserError when it does not exist, cannot be read, or takes no such parameters.
    """
    kind, colon, rest = spec.partition(":")
    name, _, query = rest.partition("?")
    generated = colon and kind in (WORLD, GENERAL, GYM, TINYZERO)
    if not generated and kind != HUB and is_task(spec):
        return user_task(f"{kind}:{name}", parse_params(query, spec), seed), None
    if not generated:
        source = FileSource(spec, config)
        return source, source.report
    params = parse_params(query, spec)
    if kind == TINYZERO:
        return tinyzero(name, params, seed), None
    if kind == GYM:
        return GymSource(name, params, seed), None
    if kind == GENERAL:
        return _general(spec, name, params, config, seed), None
    return _world(spec, name, params, config, seed), None


def set_name(spec: str) -> str:
    """A short name for a source, for metrics and files: world, general-safe, chain_sum, aime."""
    kind, colon, rest = spec.partition(":")
    name, _, query = rest.partition("?")
    if colon and kind in (GYM, HUB):
        return name.rpartition("/")[2]
    if colon and kind == TINYZERO:
        return f"{TINYZERO}-{name}"
    ours = colon and kind in (WORLD, GENERAL)
    if not ours and is_task(spec):
        return name
    if not ours:
        return Path(spec.partition("?")[0]).stem
    families = _families(name)
    every = FAMILIES if kind == WORLD else KINDS
    parts = [kind, *(families if set(families) != set(every) else ())]
    return "-".join([*parts, "harder"] if parse_params(query, spec).get("harder") else parts)


def _world(
    spec: str, name: str, params: dict[str, Any], config: SourceConfig, seed: int
) -> WorldSource:
    options = {"harder": False, "language": config.language} | params
    unknown = params.keys() - {"harder", "language"}
    if unknown:
        raise UserError(f"{spec}: no parameter {unknown.pop()}; there are harder and language")
    if not isinstance(options["harder"], bool):
        raise UserError(f"{spec}: harder={options['harder']}; expected true or false")
    try:
        return WorldSource(_families(name), options["language"], seed, options["harder"])
    except UserError as error:
        raise UserError(f"{spec}: {error}") from None


def _general(
    spec: str, name: str, params: dict[str, Any], config: SourceConfig, seed: int
) -> GeneralSource:
    if unknown := params.keys() - {"language"}:
        raise UserError(f"{spec}: no parameter {unknown.pop()}; there is language")
    try:
        return GeneralSource(_families(name), params.get("language", config.language), seed)
    except UserError as error:
        raise UserError(f"{spec}: {error}") from None


def _families(name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in name.split(","))


def _rank(problem: Problem) -> tuple[int, str]:
    return problem.number, problem.id
