"""The arithmetic of TinyZero's gate: what runs left behind in, rows, intervals and verdicts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.gates.table import gain_of, mean, pass_at_table, rule, runs_table, shown
from r1jax.evaluate.statistics import t_interval
from r1jax.report.markdown import markdown_table

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
PLAIN = {"length_before", "length", "length_change", "tries_before", "tries", "tries_change",
         "seconds", "tokens"}  # fmt: skip
CHANGES = {
    "gain": "gain in pass@1",
    "reward_gain": "gain in TinyZero's reward",
    "length_change": "change of response length in tokens",
    "tries_change": "change of tries per response",
}
CONTROLS = ("random", "rejection")
RAISES, GROWS = "R1-Zero raises held-out pass@1", "Response length grows"


def row(
    summary: Mapping[str, Any], base: Mapping[str, float], last: Mapping[str, float]
) -> dict[str, float | None]:
    """The numbers of one run.

    `base` and `last` are what TinyZero's reward makes of the base's and the run's last completions
    (empty where that was not judged).
    """
    before, after, gain = summary["before"], summary["after"], summary["gain"]
    numbers = {
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
        numbers |= {f"{name}_before": base.get(name), name: last.get(name)}
    for name, change in (("reward", "reward_gain"), ("tries", "tries_change")):
        numbers[change] = last[name] - base[name] if name in last and name in base else None
    return numbers


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
    seeds = [numbers for name, numbers in rows.items() if name.startswith("seed")]
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
    bounds = None if None in values else t_interval(values)
    return bounds and {"mean": sum(values) / len(values), "low": bounds[0], "high": bounds[1]}


def verdicts(
    rows: Mapping[str, Mapping[str, Any]], intervals: Mapping[str, Mapping[str, float] | None]
) -> list[dict[str, Any]]:
    """Each rule with its limit, what was found, and whether it holds (None: not run).

    The rules were fixed before the first run: the lower end of the 95 % interval of the mean over
    seeds lies above 0, and above what each control gains.
    """

    gain, length = ((intervals[key] or {}).get("low") for key in ("gain", "length_change"))
    random, rejection = (gain_of(rows, name) for name in CONTROLS)
    return [
        rule(RAISES, gain, 0.0) | {"unit": "share"},
        rule(GROWS, length, 0.0) | {"unit": "tokens"},
        rule("R1-Zero gains more than a random reward", gain, random) | {"unit": "share"},
        rule("R1-Zero gains more than rejection sampling", gain, rejection) | {"unit": "share"},
    ]


def markdown(gate: Mapping[str, Any]) -> str:
    """Verdicts, rows, intervals over seeds and pass@k; shares in percent, lengths in tokens."""
    said = {True: "yes", False: "NO", None: "not judged (needs two seeds or more, and the control)"}
    lines = [f"**{v['criterion']}: {said[v['holds']]}**  " for v in gate["verdicts"]]
    if any(v["holds"] is False for v in gate["verdicts"][:2]):
        lines.append("\nThis is a negative result.")
    rules = [
        [v["criterion"], *(shown(v[key], v["unit"], PLAIN) for key in ("limit", "value"))]
        for v in gate["verdicts"]
    ]
    tables = [
        markdown_table(["rule: lower 95 % bound over seeds", "above", "found"], rules),
        runs_table(gate, COLUMNS, CONTROLS, PLAIN),
        _intervals(gate),
        *pass_at_table(gate),
    ]
    return "\n\n".join(["\n".join(lines), *tables]) + "\n"


def _intervals(gate: Mapping[str, Any]) -> str:
    rows = []
    for key, text in CHANGES.items():
        values = gate["intervals"][key] or {}
        numbers = (shown(values.get(name), key, PLAIN) for name in ("mean", "low", "high"))
        rows.append([text, *numbers])
    return markdown_table(["over seeds", "mean", "95 % from", "to"], rows)
