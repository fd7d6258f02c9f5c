"""The stream of training problems, whose whole state is one integer, and the evaluation sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from r1jax.data.config import DataConfig, EvalDataConfig, TrainDataConfig
from r1jax.data.problems.files import DataReport
from r1jax.data.problems.prompt_length import PromptRoom
from r1jax.data.problems.sources import Source, open_source, refuse_skip, set_name, unfit
from r1jax.problem import Problem

if TYPE_CHECKING:
    import grain  # brings jax along, which the rest of this folder does without


class ProblemStream:
    """All training problems in one endless order: a pure function of the config.

    Sources are mixed by weight; a finite one is shuffled anew for each pass over it. Late sources
    join after a number of problems, and the others go on where they were. Every host builds the
    same stream and asks for the same places, so the number of problems taken so far is all there is
    to save. `reports` says what was dropped from files, and what made problems had no room.
    """

    def __init__(self, config: TrainDataConfig, room: PromptRoom | None = None) -> None:
        """Raises UserError when a source cannot be opened, or a prompt exceeds the `room`."""
        specs = (*config.train, *config.late)
        for spec in specs:
            refuse_skip(spec)
        opened = [open_source(spec, config, config.seed, room) for spec in specs]
        reports = [
            report or unfit(f"{spec}, its first problems", source)
            for spec, (source, report) in zip(specs, opened, strict=True)
        ]
        self.reports: tuple[DataReport, ...] = tuple(filter(None, reports))
        seeds = [(config.seed + place) % 2**32 for place in range(len(opened))]
        every = [_endless(source, seed) for (source, _), seed in zip(opened, seeds, strict=True)]
        first, late = every[: len(config.train)], every[len(config.train) :]
        self._problems = _mix(first, config.weights)
        self._late_after = config.late_after if late else None
        if late:
            rest = self._problems[config.late_after :]
            shares = (1 - config.late_share, config.late_share)
            self._later = _mix([rest, _mix(late)], shares)

    def take(self, start: int, count: int) -> list[Problem]:
        """Problems number `start` to `start + count - 1`, counted from 0."""
        return [self._at(place) for place in range(start, start + count)]

    def _at(self, place: int) -> Problem:
        if self._late_after is None or place < self._late_after:
            return self._problems[place]
        return self._later[place - self._late_after]


def load_eval_sets(
    config: EvalDataConfig,
    note: Callable[[DataReport], None] | None = None,
    room: PromptRoom | None = None,
) -> dict[str, list[Problem]]:
    """The evaluation sets by name, at most `config.eval_count` different problems each.

    They depend neither on --data.seed nor on the order of a file, so runs are comparable.
    `note` receives the report on each file. Raises UserError when a source cannot be opened, or a
    prompt exceeds the `room`.
    """
    sets: dict[str, list[Problem]] = {}
    for spec in config.eval:
        source, report = open_source(spec, config, 0, room)
        sets[_free(set_name(spec), sets)] = source.evaluation(config.eval_count)
        if note and (said := report or unfit(spec, source)):
            note(said)
    return sets


class Mixture(NamedTuple):
    """Problems to train on and to be judged on, as a run has opened them."""

    stream: ProblemStream
    eval_sets: dict[str, list[Problem]]
    digests: dict[str, str]  # of what was read from files, by source

    def first(self, count: int) -> list[Problem]:
        """The first `count` problems to train on, and all to be judged on."""
        sets = self.eval_sets.values()
        return [*self.stream.take(0, count), *(problem for each in sets for problem in each)]


def open_problems(config: DataConfig, room: PromptRoom, note: Callable[[str], Any]) -> Mixture:
    """Opens all sources; `note` is told what became of the rows of files.

    Raises UserError as `ProblemStream` and `load_eval_sets` do.
    """
    stream = ProblemStream(config, room)
    reports = list(stream.reports)
    eval_sets = load_eval_sets(config, reports.append, room)
    for report in reports:
        note(str(report))
    return Mixture(stream, eval_sets, {r.source: r.digest for r in reports if r.digest})


def _mix(
    datasets: Sequence[grain.MapDataset[Problem]], weights: Sequence[float] = ()
) -> grain.MapDataset[Problem]:
    import grain

    weights = weights or (1.0,) * len(datasets)
    return grain.MapDataset.mix(datasets, weights=[weight / sum(weights) for weight in weights])


def _endless(source: Source, seed: int) -> grain.MapDataset[Problem]:
    import grain

    dataset = grain.MapDataset.source(source)
    # What is generated comes in no particular order already, and has no end to shuffle.
    return dataset.shuffle(seed).repeat() if len(source) < 2**31 else dataset


def _free(name: str, taken: dict[str, list[Problem]]) -> str:
    if name not in taken:
        return name
    return next(f"{name}-{n}" for n in range(2, len(taken) + 3) if f"{name}-{n}" not in taken)
