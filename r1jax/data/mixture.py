"""The stream of training problems, whose whole state is one integer, and the evaluation sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from r1jax.data.config import DataConfig
from r1jax.data.files import DataReport
from r1jax.data.sources import Source, open_source, set_name
from r1jax.problem import Problem

if TYPE_CHECKING:
    import grain


class ProblemStream:
    """All training problems in one endless order: a pure function of the config.

    Sources are mixed by weight; a finite one is shuffled anew for each pass over it. Every host
    builds the same stream and asks for the same places, so the number of problems taken so far
    is all there is to save. `reports` says what was dropped from files.
    """

    def __init__(self, config: DataConfig) -> None:
        """Raises UserError when a source cannot be opened."""
        import grain  # brings jax along, which the rest of this folder does without

        opened = [open_source(spec, config, config.seed) for spec in config.train]
        self.reports: tuple[DataReport, ...] = tuple(report for _, report in opened if report)
        weights = config.weights or (1.0,) * len(opened)
        seeds = [(config.seed + place) % 2**32 for place in range(len(opened))]
        self._problems = grain.MapDataset.mix(
            [_endless(source, seed) for (source, _), seed in zip(opened, seeds, strict=True)],
            weights=[weight / sum(weights) for weight in weights],
        )

    def take(self, start: int, count: int) -> list[Problem]:
        """Problems number `start` to `start + count - 1`, counted from 0."""
        return [self._problems[place] for place in range(start, start + count)]


def load_eval_sets(
    config: DataConfig, note: Callable[[DataReport], None] | None = None
) -> dict[str, list[Problem]]:
    """The evaluation sets by name, at most `config.eval_count` different problems each.

    They depend neither on `config.seed` nor on the order of a file, so runs are comparable.
    `note` receives the report on each file. Raises UserError when a source cannot be opened.
    """
    sets: dict[str, list[Problem]] = {}
    for spec in config.eval:
        source, report = open_source(spec, config, seed=0)
        if report and note:
            note(report)
        sets[_free(set_name(spec), sets)] = source.evaluation(config.eval_count)
    return sets


def _endless(source: Source, seed: int) -> grain.MapDataset[Problem]:
    import grain

    dataset = grain.MapDataset.source(source)
    # What is generated comes in no particular order already, and has no end to shuffle.
    return dataset.shuffle(seed).repeat() if len(source) < 2**31 else dataset


def _free(name: str, taken: dict[str, list[Problem]]) -> str:
    if name not in taken:
        return name
    return next(f"{name}-{n}" for n in range(2, len(taken) + 3) if f"{name}-{n}" not in taken)
