"""The pieces that reports are built of: a page, tables, figures, and how numbers are written."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from r1jax.report.chart import DARK, LIGHT, Chart

LEGEND = (
    '<p class="soft">Where a curve has many points, the thin line is every one and the bold line '
    "their running mean.</p>"
)


def page(title: str, sections: Iterable[tuple[str, str]]) -> str:
    """A whole page that needs no other file: (heading, HTML) of each section, empty ones left out.

    A section without a heading gets none.
    """
    css = (resources.files("r1jax") / "assets" / "report.css").read_text(encoding="utf-8")
    body = "\n".join(
        f"<section>{f'<h2>{heading}</h2>' if heading else ''}{html}</section>"
        for heading, html in sections
        if html
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · r1jax</title>\n<style>\n{css}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def pictures(charts: Iterable[Chart], folder: Path) -> str:
    """The charts as figures of a page, in both themes; leaves the light ones as PNG in `folder`."""
    folder.mkdir(exist_ok=True)
    figures = []
    for chart in charts:
        light = chart.png(LIGHT)
        (folder / f"{chart.name}.png").write_bytes(light)
        figures.append(figure(chart, light, chart.png(DARK)))
    return f'<div class="curves">{"".join(figures)}</div>' if figures else ""


def figure(chart: Chart, light: bytes, dark: bytes) -> str:
    """The picture in both themes, inside the page."""
    day, night = (f"data:image/png;base64,{base64.b64encode(b).decode()}" for b in (light, dark))
    return (
        f"<figure{' class=wide' if chart.wide else ''}><h3>{escape(chart.title)}</h3>"
        f"<figcaption>{escape(chart.caption)}</figcaption><picture>"
        f'<source srcset="{night}" media="(prefers-color-scheme: dark)">'
        f'<img src="{day}" alt="{escape(chart.title)}"></picture></figure>'
    )


def table(heads: Sequence[str], lines: Sequence[str], prose: bool = False) -> str:
    """A table of rows that are HTML already, under heads that are text; `prose` aligns it left."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    kind = " class=prose" if prose else ""
    return (
        f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def line(head: str, cells: Iterable[str], small: str = "") -> str:
    """A line of a table; `head` and `small`, below it, are text, the cells HTML."""
    below = f"<small>{escape(small)}</small>" if small else ""
    written = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(head)}{below}</th>{written}</tr>'


def hardware(environment: Mapping[str, Any]) -> list[str]:
    """Devices and the version of jax, for the line below a title."""
    facts = []
    if environment.get("device_kind"):
        count = environment.get("device_count", 1)
        facts.append(f"{count} × {environment['device_kind']}" if count > 1
                     else str(environment["device_kind"]))  # fmt: skip
    jax = (environment.get("packages") or {}).get("jax")
    return facts + ([f"jax {jax}"] if jax else [])


def machine(environment: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What a run ran on, and its flags."""
    rest = dict(environment)
    packages = rest.pop("packages", None) or {}
    command = rest.pop("command", None)
    facts = {key.replace("_", " "): str(v) for key, v in rest.items() if v is not None}
    if packages:
        facts["packages"] = ", ".join(f"{name} {v}" for name, v in packages.items() if v)
    if command:
        facts["command"] = " ".join(map(str, command))
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    flags = escape(json.dumps(config, indent=2, ensure_ascii=False))
    return f"<dl>{items}</dl><details><summary>Resolved flags</summary><pre>{flags}</pre></details>"


def number(value: float | None, in_percent: bool, decimals: int = 1) -> str:
    """A number or a share; a dash where there is none."""
    if value is None:
        return "–"
    return percent(value) if in_percent else f"{value:.{decimals}f}"


def change(before: float | None, after: float | None, in_percent: bool, decimals: int = 1) -> str:
    """The difference with its sign; a dash where a side is missing."""
    if before is None or after is None:
        return "–"
    return points(after - before) if in_percent else signed(after - before, decimals)


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
