"""The pieces that reports are built of: templates, tables, figures, and how numbers are written.

Every page is one of the Jinja templates in `assets/report`, which escape what they are given.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from r1jax.report.chart import DARK, LIGHT, Chart
from r1jax.report.transcripts import pieces
from r1jax.run.directory import write_text
from r1jax.run.visible import visible

NONE = "–"  # stands where there is no value


class Fact(NamedTuple):
    """A figure at the top of a page, and what it is; `gain` sets it apart."""

    shown: str
    meaning: str
    gain: bool = False


Cell = str | tuple[str, str]  # text, or text and the class that sets it apart


class Table(NamedTuple):
    """Heads, and lines (head, cells, what stands small below the head), all of it text."""

    heads: Sequence[str]
    lines: Sequence[tuple[str, Sequence[Cell], str]]


class Measure(NamedTuple):
    """What a page says of models: its key in a record, name, meaning, and how it is written."""

    key: str
    name: str = ""
    meaning: str = ""
    percent: bool = True
    decimals: int = 1

    def of(self, record: Mapping[str, Any]) -> str:
        """What a record has of it; a dash where it has nothing."""
        return self.write(record.get(self.key))

    def write(self, value: float | None) -> str:
        """A value as a reader wants it."""
        if value is None:
            return NONE
        return percent(value) if self.percent else f"{value:.{self.decimals}f}"

    def change(self, before: float | None, after: float | None) -> str:
        """The difference with its sign; a dash where a side is missing."""
        if before is None or after is None:
            return NONE
        return points(after - before) if self.percent else signed(after - before, self.decimals)


class Figure(NamedTuple):
    """A chart with its PNG in both themes, as base64."""

    chart: Chart
    light: str
    dark: str


def write(path: Path, template: str, **context: Any) -> Path:
    """Fills a template of `assets/report` and leaves it at `path`."""
    write_text(path, _templates().get_template(template).render(context))
    return path


@functools.cache
def _templates() -> jinja2.Environment:
    """Where a name is not given, filling fails: a template cannot silently leave a hole."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("r1jax", "assets/report"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )  # fmt: skip
    templates.filters["pieces"] = pieces
    return templates


def pictures(charts: Iterable[Chart], folder: Path) -> list[Figure]:
    """The charts in both themes, each drawn once; leaves the light ones as PNG in `folder`."""
    folder.mkdir(exist_ok=True)
    figures = []
    for chart in charts:
        light = chart.png(LIGHT)
        (folder / f"{chart.name}.png").write_bytes(light)
        encoded = (base64.b64encode(png).decode() for png in (light, chart.png(DARK)))
        figures.append(Figure(chart, *encoded))
    return figures


def hardware(environment: Mapping[str, Any]) -> list[str]:
    """Devices and the version of jax, for the line below a title."""
    facts = []
    if environment.get("device_kind"):
        count = environment.get("device_count", 1)
        facts.append(f"{count} × {environment['device_kind']}" if count > 1
                     else str(environment["device_kind"]))  # fmt: skip
    jax = (environment.get("packages") or {}).get("jax")
    return facts + ([f"jax {jax}"] if jax else [])


def machine(environment: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run ran on, by name, and its flags as JSON."""
    rest = dict(environment)
    packages = rest.pop("packages", None) or {}
    command = rest.pop("command", None)
    facts = {key.replace("_", " "): str(v) for key, v in rest.items() if v is not None}
    if packages:
        facts["packages"] = ", ".join(f"{name} {v}" for name, v in packages.items() if v)
    if command:
        facts["command"] = " ".join(map(str, command))
    return {"facts": facts, "flags": json.dumps(config, indent=2, ensure_ascii=False)}


def changed(
    key: str,
    meaning: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    shown: Callable[[float], str] | None = None,
) -> list[Fact]:
    """The figure `key` of two records as a headline; nothing where one of them has none.

    Without a record of before, that of after stands alone.
    """
    values = [record.get(key) for record in (before, after)][0 if before else 1 :]
    return [] if None in values else [Fact(" → ".join(map(shown or percent, values)), meaning)]


def percent(share: float) -> str:
    """0.312 as 31.2 %."""
    return f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return signed(100 * difference)


def signed(value: float, decimals: int = 1) -> str:
    """Some decimals with their sign; a true minus, no sign for zero."""
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")
