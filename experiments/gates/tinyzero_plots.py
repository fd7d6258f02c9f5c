"""Curves of several seeds in one picture: a thin line each, their mean, its 95 % interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from r1jax.evaluate.statistics import t_interval
from r1jax.report.chart import Chart, Line, lines

Points = Sequence[Sequence[float]]
"""(update, value) pairs, the updates rising."""

PICTURES = {
    "pass_at_1": ("accuracy", "Held-out pass@1", "held-out pass@1", True),
    "length_mean": ("length", "Length of held-out responses", "tokens", False),
    "tries": ("tries", "Tries per response in training", "tries", False),
}
CAPTION = "Thin: one seed. Thick: their mean, with its 95 % interval over seeds."
NAMES = {"random": "random reward"}


def charts(curves: Mapping[str, Mapping[str, Points]]) -> list[Chart]:
    """One picture for each measure that any run has; `curves` are points by run and measure."""
    pictures = []
    for key, (name, title, unit, share) in PICTURES.items():
        by_run = {run: measures[key] for run, measures in curves.items() if measures.get(key)}
        pictures.append(
            lines(name, title, CAPTION, unit, drawn(by_run), span=(0, None), share=share)
        )
    return [chart for chart in pictures if chart is not None]


def drawn(of: Mapping[str, Points]) -> Iterator[Line]:
    """A thin line for each seed, their mean, and the controls, which may be a single point."""
    seeds = [points for run, points in of.items() if run.startswith("seed")]
    yield from (Line("", points, color=0, thin=True) for points in seeds)
    if seeds:
        yield spread(f"mean of {len(seeds)} seeds", shared(seeds), "-", 0)
    rest = [run for run in of if not run.startswith("seed")]
    for color, run in enumerate(rest, 1):
        yield Line(NAMES.get(run, run), of[run], "--" if len(of[run]) > 1 else "o", color)


def shared(seeds: Sequence[Points]) -> dict[int, list[float]]:
    """The values of all seeds at the updates that all of them have."""
    tables = [{int(update): value for update, value in points} for points in seeds]
    updates = sorted(set.intersection(*map(set, tables)))
    return {update: [table[update] for table in tables] for update in updates}


def spread(label: str, values: Mapping[int, Sequence[float]], style: str, color: int) -> Line:
    """The mean of the values at each x, with its 95 % interval where they are two or more."""
    ends = [(x, *bounds) for x, numbers in values.items() if (bounds := t_interval(numbers))]
    return Line(label, [(x, fmean(numbers)) for x, numbers in values.items()], style, color, ends)
