"""The arithmetic of TinyZero's gate: what runs left behind in, rows, intervals and verdicts out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.gates.table import mean, shown, table_line

COLUMNS = {
    "before": "pass@1 before",
    "after": "after",
    "gain": "gain",
    "low": "95 % from",
    "high": "to",
    "greedy_before": "greedy before",
    "greedy": "after",
    "reward_before": "TinyZero reward before",
    "reward": "after",
    "tagged_before": "answer tag before",
    "tagged": "after",
    "length_before": "tokens before",
    "length": "after",
    "tries_before": "tries before",
    "tries": "after",
    "truncated": "truncated after",
    "seconds": "seconds",
}
PLAIN = {"length_before", "length", "length_change", "tries_before", "tries", "seconds", "tokens"}
CHANGES = {
    "gain": "gain in pass@1",
    "reward_gain": "gain in TinyZero's reward",
    "length_change": "change of response length in tokens",
    "tries_change": "change of tries per response",
}
CONTROLS = ("random", "rejection")
RAISES, GROWS = "R1-Zero raises held-out pass@1", "Response length grows"

_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 1 to 9 degrees of freedom


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of independent values (Student's t); None for fewer than two."""
    n = len(values)
    if n < 2:
        return None
    center = sum(values) / n
    spread = math.sqrt(sum((v - center) ** 2 for v in values) / (n - 1) / n)
    # Beyond the table the expansion of the quantile in 1/df, right to 0.005.
    z, df = 1.96, n - 1
    series = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    t = _T[df - 1] if df <= len(_T) else series
    return center - t * spread, center + t * spread


def row(
    summary: Mapping[str, Any], base: Mapping[str, float], last: Mapping[str, float]
) -> dict[str, float | None]:
    """The numbers of one run.

    `base` and `last` are what TinyZero's reward makes of the base's and the run's last completions
    (empty where that was not judged).
    """
    before, after, gain = summary["before"], summary["after"], summary["gain"]
    found = {
        "before": before["pass_at_1"],
        "after": after["pass_at_1"],
        "gain": gain["pass_at_1"],
        "low": gain["ci"][0],
        "high": gain["ci"][1],
        "greedy_before": before["pass_at_1_greedy"],
        "greedy": after["pass_at_1_greedy"],
        "length_before": before["length_mean"],
        "length": after["length_mean"],
        "length_change": after["length_mean"] - before["length_mean"],
        "truncated": after["truncated"],
        "seconds": summary["wall_seconds"],
    }
    for name in ("reward", "tagged", "tries"):
        found |= {f"{name}_before": base.get(name), name: last.get(name)}
    for name, change in (("reward", "reward_gain"), ("tries", "tries_change")):
        known = base.get(name) is not None and last.get(name) is not None
        found[change] = last[name] - base[name] if known else None
    return found


def collate(
    summaries: Mapping[str, Mapping[str, Any]],
    judged: Mapping[str, Mapping[str, float]],
    curves: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The gate as JSON: rows, the mean over seeds with intervals, verdicts, curves, pass@k.

    `summaries` are summary.json by run (seed0, ..., and the controls), `judged` what TinyZero's
    reward makes of each run's last completions and of the base's, `curves` passed through.
    """
    base = judged.get("base", {})
    rows = {name: row(s, base, judged.get(name, {})) for name, s in summaries.items()}
    seeds = [found for name, found in rows.items() if name.startswith("seed")]
    intervals = {key: interval(seeds, key) for key in CHANGES}
    pass_at = {f"{name} {when}": summary[when]["pass_at"]
               for name, summary in summaries.items() for when in ("before", "after")
               if name == "seed0" or when == "after"}  # fmt: skip
    return {
        "rows": rows,
        "mean": mean(seeds) if seeds else None,
        "intervals": intervals,
        "verdicts": verdicts(rows, intervals),
        "pass_at": pass_at,
        "curves": dict(curves),
    }


def interval(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, float] | None:
    """Mean over seeds and its 95 % interval; None where a seed lacks the number or is alone."""
    values = [r[key] for r in rows]
    found = None if None in values else t_interval(values)
    return found and {"mean": sum(values) / len(values), "low": found[0], "high": found[1]}


def verdicts(
    rows: Mapping[str, Mapping[str, Any]], intervals: Mapping[str, Mapping[str, float] | None]
) -> list[dict[str, Any]]:
    """Each rule with its limit, what was found, and whether it holds (None: not run).

    The rules were fixed before the first run: the lower end of the 95 % interval of the mean over
    seeds lies above 0, and above what each control gains.
    """

    def above(text: str, change: str, limit: float | None) -> dict[str, Any]:
        value = (intervals[change] or {}).get("low")
        holds = None if value is None or limit is None else value > limit
        unit = "tokens" if change == "length_change" else "share"
        return {"criterion": text, "value": value, "limit": limit, "holds": holds, "unit": unit}

    return [
        above(RAISES, "gain", 0.0),
        above(GROWS, "length_change", 0.0),
        above("R1-Zero gains more than a random reward", "gain", _gain(rows, "random")),
        above("R1-Zero gains more than rejection sampling", "gain", _gain(rows, "rejection")),
    ]


def _gain(rows: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    return rows[name]["gain"] if name in rows else None


def markdown(gate: Mapping[str, Any]) -> str:
    """Verdicts, rows, intervals over seeds and pass@k; shares in percent, lengths in tokens."""
    said = {True: "yes", False: "NO", None: "not judged (needs two seeds or more, and the control)"}
    lines = [f"**{v['criterion']}: {said[v['holds']]}**  " for v in gate["verdicts"]]
    if any(v["holds"] is False for v in gate["verdicts"][:2]):
        lines.append("\nThis is a negative result.")
    head = ["rule: lower 95 % bound over seeds", "above", "found"]
    lines += ["", table_line(head), table_line(["---"] * 3)]
    for v in gate["verdicts"]:
        numbers = (shown(v[key], v["unit"], PLAIN) for key in ("limit", "value"))
        lines.append(table_line([v["criterion"], *numbers]))
    return "\n".join([*lines, "", *_rows(gate), "", *_intervals(gate), "", *_pass_at(gate)]) + "\n"


def _rows(gate: Mapping[str, Any]) -> list[str]:
    lines = [table_line(["run", *COLUMNS.values()]), table_line(["---"] * (len(COLUMNS) + 1))]
    seeds = {name: r for name, r in gate["rows"].items() if name.startswith("seed")}
    controls = {name: gate["rows"][name] for name in CONTROLS if name in gate["rows"]}
    average = {"mean of seeds": gate["mean"]} if gate["mean"] else {}
    for name, r in (seeds | average | controls).items():
        lines.append(table_line([name, *(shown(r[key], key, PLAIN) for key in COLUMNS)]))
    return lines


def _intervals(gate: Mapping[str, Any]) -> list[str]:
    lines = [table_line(["over seeds", "mean", "95 % from", "to"]), table_line(["---"] * 4)]
    for key, text in CHANGES.items():
        found = gate["intervals"][key] or {}
        unit = "tokens" if key in ("length_change", "tries_change") else "share"
        numbers = (shown(found.get(name), unit, PLAIN) for name in ("mean", "low", "high"))
        lines.append(table_line([text, *numbers]))
    return lines


def _pass_at(gate: Mapping[str, Any]) -> list[str]:
    if not gate["pass_at"]:
        return []
    ks = list(next(iter(gate["pass_at"].values())))
    lines = [table_line(["pass@k", *ks]), table_line(["---"] * (len(ks) + 1))]
    for name, curve in gate["pass_at"].items():
        lines.append(table_line([name, *(shown(curve[k], "share", PLAIN) for k in ks)]))
    return lines
