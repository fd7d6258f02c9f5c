"""The gate's arithmetic: summaries of runs in, verdict and table out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from typing import Any

from r1jax.report.markdown import markdown_table

LOWER, EACH, FORMAT, RANDOM, ALONE = 0.20, 0.12, 0.9, 0.03, 0.05
CONTROLS = ("random", "format", "rejection")
COLUMNS = {
    "before": ("before", ("before", "pass_at_1")),
    "after": ("after", ("after", "pass_at_1")),
    "gain": ("gain", ("gain", "pass_at_1")),
    "low": ("95 % from", ("gain", "ci", 0)),
    "high": ("to", ("gain", "ci", 1)),
    "cons_before": ("cons before", ("before", "cons")),
    "strict": ("strict after", ("after", "pass_at_1_strict")),
    "format_before": ("format before", ("before", "format")),
    "format": ("after", ("after", "format")),
    "length_before": ("length before", ("before", "length_mean")),
    "length": ("after", ("after", "length_mean")),
    "harder_before": ("harder before", ("harder", "before", "pass_at_1")),
    "harder": ("after", ("harder", "after", "pass_at_1")),
    "seconds": ("seconds", ("wall_seconds",)),
}
"""The head of a column, and where a summary has its number."""
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
    before, unknown = summary["before"], {"pass_at_1": None}
    record = summary | {
        "before": before | {"cons": before[f"cons_at_{before['samples']}"]},
        "harder": next(iter(summary["sets"].values()), {"before": unknown, "after": unknown}),
    }
    return {key: reduce(operator.getitem, place, record) for key, (_, place) in COLUMNS.items()}


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

    means = average or {}
    gain, form = (min((r[key] for r in seeds), default=None) for key in ("gain", "format"))
    after, vote = means.get("after"), means.get("cons_before")
    random, alone = (gain_of(rows, name) for name in ("random", "format"))
    at_least, at_most = operator.ge, operator.le
    return [
        rule("lower bound of the gain, mean over seeds, at least", means.get("low"), LOWER,
             at_least),
        rule("smallest gain of a seed, at least", gain, EACH, at_least),
        rule("mean pass@1 after, above the base's majority vote", after, vote),
        rule("smallest strict format of a seed, above", form, FORMAT),
        rule("gain of a random reward, at most", random, RANDOM, at_most),
        rule("gain of the format reward alone, at most", alone, ALONE, at_most),
    ]  # fmt: skip


def rule(
    text: str,
    value: float | None,
    limit: float | None,
    holds: Callable[[float, float], bool] = operator.gt,
) -> dict[str, Any]:
    """A criterion with its limit, what was found, and whether it holds (None: not run)."""
    known = value is not None and limit is not None
    verdict = holds(value, limit) if known else None
    return {"criterion": text, "value": value, "limit": limit, "holds": verdict}


def gain_of(rows: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    """The gain of a run; None where it was not run."""
    return rows[name]["gain"] if name in rows else None


def markdown(gate: Mapping[str, Any]) -> str:
    """Tables of runs, verdicts and pass@k; shares in percent, lengths in tokens."""
    says = {True: "yes", False: "NO", None: "not run"}
    verdicts = [
        [v["criterion"], shown(v["limit"]), shown(v["value"]), says[v["holds"]]]
        for v in gate["verdicts"]
    ]
    heads = {key: head for key, (head, _) in COLUMNS.items()}
    criteria = markdown_table(["criterion", "limit", "found", "holds"], verdicts)
    return "\n\n".join([runs_table(gate, heads, CONTROLS), criteria, *pass_at_table(gate)]) + "\n"


def runs_table(
    gate: Mapping[str, Any],
    columns: Mapping[str, str],
    controls: Sequence[str],
    plain: Collection[str] = PLAIN,
) -> str:
    """The numbers of every seed, of their mean and of the controls."""
    rows = {name: r for name, r in gate["rows"].items() if name.startswith("seed")}
    rows |= {"mean of seeds": gate["mean"]} if gate["mean"] else {}
    rows |= {name: gate["rows"][name] for name in controls if name in gate["rows"]}
    lines = [[name, *(shown(r[key], key, plain) for key in columns)] for name, r in rows.items()]
    return markdown_table(["run", *columns.values()], lines)


def pass_at_table(gate: Mapping[str, Any]) -> list[str]:
    """pass@k of the runs for which it was measured, one table or none."""
    if not gate["pass_at"]:
        return []
    ks = list(next(iter(gate["pass_at"].values())))
    rows = [[name, *(shown(curve[k]) for k in ks)] for name, curve in gate["pass_at"].items()]
    return [markdown_table(["pass@k", *ks], rows)]


def shown(value: float | None, key: str = "share", plain: Collection[str] = PLAIN) -> str:
    """A number as the table writes it: in percent, unless its column is `plain`."""
    if value is None:
        return "–"
    return f"{value:.1f}" if key in plain else f"{100 * value:.1f}"
