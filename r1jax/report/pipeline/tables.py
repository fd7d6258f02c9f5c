"""The tables of a pipeline's report: checkpoints, students, data, reward models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from r1jax.report import watch
from r1jax.report.html import line, number, percent, pictures, points, table
from r1jax.report.pipeline.recorded import CHECKPOINTS, Record, Recorded, StageFiles
from r1jax.run.directory import read_jsonl

JUDGES = ("helpfulness", "safety")
SAMPLED = {"cold_start_data": "Cold start", "rejection": "Rejection sampling"}
UNSURE = ("wrong", "truncated", "empty", "unjudged")
"""Reasons of dropping that come before a sample counts as right."""
REASONS = 5  # reasons of dropping that are named


@dataclass(frozen=True)
class Column:
    """A measure of a checkpoint: its key, its head, how it is written, which end of it is good."""

    key: str
    head: str
    percent: bool = True
    best: int = 1  # 1: the highest, -1: the lowest, 0: neither


def _columns(record: Record) -> list[Column]:
    return [
        Column("pass_at_1", "pass@1"),
        Column("pass_at_1_strict", "strict"),
        Column(f"cons_at_{record.get('samples')}", f"cons@{record.get('samples')}"),
        Column("format", "format"),
        Column("language_consistency", "language"),
        Column("length_mean", "length", percent=False, best=0),
        Column("thought_words_mean", "words", percent=False, best=0),
        Column("helpfulness", "helpful"),
        Column("unsafe_compliance", "complies", best=-1),
        Column("safe_refusal", "refuses", best=-1),
    ]


def stage_table(found: Mapping[str, Record]) -> str:
    """The checkpoints by every measure that any of them has; the best of a column is marked."""
    if not found:
        return ""
    first = next(iter(found.values()))
    columns = [c for c in _columns(first) if any(r.get(c.key) is not None for r in found.values())]
    meanings = dict(CHECKPOINTS.values())
    lines = [
        line(name, (_marked(column, record, found) for column in columns), meanings.get(name, ""))
        for name, record in found.items()
    ]
    general = (
        " On general prompts: helpfulness by a score that no reward ever saw, unsafe requests "
        "that are complied with, safe ones that are refused."
        if any(column.key == "helpfulness" for column in columns)
        else ""
    )
    return (
        table(["", *(column.head for column in columns)], lines)
        + f'<p class="soft">{first["problems"]:,} held-out problems, {first["samples"]} samples '
        f"each at temperature {first['temperature']}, top-p {first['top_p']}. Strict: the answer "
        "inside its tags, whole envelope. Language: share of a thought’s words in the language of "
        f"the question. Length in tokens, words per thought.{general} Best of a column in "
        "colour.</p>"
    )


def _marked(column: Column, record: Record, found: Mapping[str, Record]) -> str:
    """A cell, set apart where it is the best of several."""
    value = record.get(column.key)
    shown = number(value, column.percent)
    known = [r[column.key] for r in found.values() if r.get(column.key) is not None]
    if value is None or not column.best or len(set(known)) < 2:
        return shown
    best = max(known) if column.best > 0 else min(known)
    return f'<b class="best">{shown}</b>' if value == best else shown


def students(run: Recorded) -> str:
    """Every student before and after."""
    known = run.summary.get("students") or {}
    lines = []
    for name, stage in run.stages.items():
        short = name.removeprefix("student-")
        before, after = (stage.json(f).get("record") for f in ("before.json", "judged.json"))
        if short == name or not before or not after:
            continue
        gain, parameters = (known.get(short, {}).get(key) for key in ("gain", "parameters"))
        shown = points(after["pass_at_1"] - before["pass_at_1"])
        if gain:
            shown = f"{points(gain['pass_at_1'])} [{', '.join(points(x) for x in gain['ci'])}]"
        cells = [f"{parameters:,}" if parameters else "–", percent(before["pass_at_1"]),
                 percent(after["pass_at_1"]), shown, percent(after["format"]),
                 number(after.get("language_consistency"), True),
                 number(after.get("length_mean"), False)]  # fmt: skip
        lines.append(line(short, cells))
    heads = ["", "parameters", "pass@1 before", "after", "gain [95 %]", "format", "language",
             "length"]  # fmt: skip
    told = (
        "<p>Fine-tuned on the data of Dev3, without reinforcement learning; judged like the rest."
        "</p>"
    )
    return told + table(heads, lines) if lines else ""


def data(stages: Mapping[str, StageFiles]) -> str:
    """What was sampled, what was kept of it, and why the rest was not."""
    lines, told = [], []
    for name, title in SAMPLED.items():
        sheet = stages[name].json("datasheet.json") if name in stages else {}
        if not sheet:
            continue
        reasons = sheet["dropped_by_reason"]
        right = sheet["samples"] - sum(reasons.get(reason, 0) for reason in UNSURE)
        cells = [f"{n:,}" for n in (sheet["prompts"], sheet["samples"], right, sheet["kept"])]
        lines.append(line(title, [*cells, number(sheet["pass_rate_mean"], True)]))
        top = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:REASONS]
        listed = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in top)
        languages = ", ".join(f"{n:,} {code}" for code, n in sheet["languages"].items())
        told.append(f"{title}: left out {listed or 'nothing'}. Kept thoughts: {languages}.")
    if "general_data" in stages:
        files = sorted(stages["general_data"].path.glob("*.jsonl"))
        counts = [f"{file.stem} {len(read_jsonl(file)):,}" for file in files]
        told.append(f"General data: {', '.join(counts)} rows.")
    heads = ["", "prompts", "drawn", "right and whole", "kept", "pass rate"]
    said_of = "".join(f"<p>{escape(text)}</p>" for text in told)
    return (table(heads, lines) if lines else "") + said_of


def judges(run: Recorded) -> str:
    """The reward models as they were held out, and the watch over them in the last stage."""
    lines = []
    for name in JUDGES:
        summary = run.stages[name].json("summary.json") if name in run.stages else {}
        after = summary.get("after") or {}
        if after.get("accuracy") is None:
            continue
        interval = " to ".join(percent(x) for x in after.get("accuracy_ci") or []) or "–"
        cells = [escape(str(summary.get("kind", "–"))), f"{summary.get('examples', 0):,}",
                 number((summary.get("before") or {}).get("accuracy"), True),
                 percent(after["accuracy"]), interval,
                 number(after.get("ece"), True)]  # fmt: skip
        lines.append(line(name, cells))
    html = ""
    if lines:
        heads = ["", "kind", "learnt from", "accuracy before", "held out", "95 %",
                 "calibration error"]  # fmt: skip
        html = table(heads, lines)
    if "general_rl" not in run.stages:
        return html
    stage = run.stages["general_rl"]
    metrics, config = stage.lines("metrics.jsonl"), stage.json("config.json")
    watched = watch.charts(metrics, config)
    if watched and not watch.warnings(metrics, config):
        html += (
            '<p class="soft">In the last reinforcement learning no score rose while rule accuracy '
            "fell.</p>"
        )
    return html + watch.notice(metrics, config) + pictures(watched, run.path / "plots")
