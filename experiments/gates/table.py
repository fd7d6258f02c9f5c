"""The gate's arithmetic: summaries of runs in, verdict and table out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

LOWER, EACH, FORMAT, RANDOM, ALONE = 0.20, 0.12, 0.9, 0.03, 0.05
CONTROLS = ("random", "format", "rejection")
COLUMNS = {
    "before": "before",
    "after": "after",
    "gain": "gain",
    "low": "95 % from",
    "high": "to",
    "cons_before": "cons before",
    "strict": "strict after",
    "format_before": "format before",
    "format": "after",
    "length_before": "length before",
    "length": "after",
    "harder_before": "harder before",
    "harder": "after",
    "seconds": "seconds",
}
PLAIN = {"length_before", "length", "seconds"}


def collate(
    summaries: Mapping[str, Mapping[str, Any]], pass_at: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """The gate as JSON: a row for each run, the mean over seeds, the verdicts, the curves.

    `summaries` are summary.json by run (seed0, seed1, ..., and the controls), `pass_at` the curves
    by run and of the base. A criterion whose runs are absent has the verdict None.
    """
    rows = {name: row(summary) for name, summary in summaries.items()}
    seeds = [r for name, r in rows.items() if name.startswith("seed")]
    average = mean(seeds) if seeds else None
    return {
        "rows": rows,
        "mean": average,
        "verdicts": verdicts(rows, seeds, average),
        "pass_at": dict(pass_at),
    }


def row(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """The numbers of one run; the harder set is the second one, where there is one."""
    before, after, gain = summary["before"], summary["after"], summary["gain"]
    harder = next(iter(summary["sets"].values()), {"before": {}, "after": {}})
    return {
        "before": before["pass_at_1"],
        "after": after["pass_at_1"],
        "gain": gain["pass_at_1"],
        "low": gain["ci"][0],
        "high": gain["ci"][1],
        "cons_before": before[f"cons_at_{before['samples']}"],
        "strict": after["pass_at_1_strict"],
        "format_before": before["format"],
        "format": after["format"],
        "length_before": before["length_mean"],
        "length": after["length_mean"],
        "harder_before": harder["before"].get("pass_at_1"),
        "harder": harder["after"].get("pass_at_1"),
        "seconds": summary["wall_seconds"],
    }


def mean(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Column by column; None where a run has no number."""
    columns = {key: [r[key] for r in rows] for key in rows[0]}
    return {k: None if None in v else sum(v) / len(v) for k, v in columns.items()}


def verdicts(
    rows: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[Mapping[str, Any]],
    average: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """Every criterion with its limit, what was found, and whether it holds (None: not run)."""

    def above(text: str, value: float | None, limit: float | None, strictly: bool) -> dict:
        known = value is not None and limit is not None
        holds = (value > limit if strictly else value >= limit) if known else None
        return {"criterion": text, "value": value, "limit": limit, "holds": holds}

    def at_most(text: str, name: str, limit: float) -> dict[str, Any]:
        value = rows[name]["gain"] if name in rows else None
        holds = None if value is None else value <= limit
        return {"criterion": text, "value": value, "limit": limit, "holds": holds}

    found = average or {}
    lowest = {key: min((r[key] for r in seeds), default=None) for key in ("gain", "format")}
    return [
        above("lower bound of the gain, mean over seeds, at least", found.get("low"), LOWER, False),
        above("smallest gain of a seed, at least", lowest["gain"], EACH, False),
        above(
            "mean pass@1 after, above the base's majority vote",
            found.get("after"),
            found.get("cons_before"),
            True,
        ),
        above("smallest strict format of a seed, above", lowest["format"], FORMAT, True),
        at_most("gain of a random reward, at most", "random", RANDOM),
        at_most("gain of the format reward alone, at most", "format", ALONE),
    ]


def markdown(gate: Mapping[str, Any]) -> str:
    """Tables of runs, verdicts and pass@k; shares in percent, lengths in tokens."""
    lines = [table_line(["run", *COLUMNS.values()]), table_line(["---"] * (len(COLUMNS) + 1))]
    seeds = {name: r for name, r in gate["rows"].items() if name.startswith("seed")}
    controls = {name: gate["rows"][name] for name in CONTROLS if name in gate["rows"]}
    average = {"mean of seeds": gate["mean"]} if gate["mean"] else {}
    for name, r in (seeds | average | controls).items():
        lines.append(table_line([name, *(shown(r[key], key) for key in COLUMNS)]))
    lines += ["", table_line(["criterion", "limit", "found", "holds"]), table_line(["---"] * 4)]
    for v in gate["verdicts"]:
        holds = {True: "yes", False: "NO", None: "not run"}[v["holds"]]
        numbers = (shown(v[key], "share") for key in ("limit", "value"))
        lines.append(table_line([v["criterion"], *numbers, holds]))
    if gate["pass_at"]:
        ks = list(next(iter(gate["pass_at"].values())))
        lines += ["", table_line(["pass@k", *ks]), table_line(["---"] * (len(ks) + 1))]
        for name, curve in gate["pass_at"].items():
            lines.append(table_line([name, *(shown(curve[k], "share") for k in ks)]))
    return "\n".join(lines) + "\n"


def shown(value: float | None, key: str, plain: Collection[str] = PLAIN) -> str:
    """A number as the table writes it: in percent, unless its column is `plain`."""
    if value is None:
        return "–"
    return f"{value:.1f}" if key in plain else f"{100 * value:.1f}"


def table_line(cells: Sequence[str]) -> str:
    """One line of a markdown table."""
    return "| " + " | ".join(cells) + " |"
