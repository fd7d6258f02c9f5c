"""The tables of a pipeline's report: checkpoints, students, data, reward models."""

from __future__ import annotations

from collections.abc import Mapping

from r1jax.report.files import RecordedFiles
from r1jax.report.html import NONE, Cell, Measure, Table, percent, points
from r1jax.report.pipeline.recorded import MEANINGS, Record, Recorded
from r1jax.run.directory import read_jsonl
from r1jax.run.names import BEFORE, JUDGED, SUMMARY

JUDGES = ("helpfulness", "safety")
SAMPLED = {"cold_start_data": "Cold start", "rejection": "Rejection sampling"}
UNSURE = ("no_reply", "wrong", "truncated", "empty", "unjudged")
"""Reasons of dropping that come before a sample counts as right."""
REASONS = 5  # reasons of dropping that are named


COUNTED = Measure("pass_rate_mean")
CONSISTENT, LENGTH = Measure("language_consistency"), Measure("length_mean", percent=False)


def _columns(record: Record) -> list[tuple[Measure, int]]:
    """Measures of a checkpoint, and which end is good: 1 the highest, -1 the lowest, 0 neither."""
    samples = record.get("samples")
    return [
        (Measure("pass_at_1", "pass@1"), 1),
        (Measure("pass_at_1_strict", "strict"), 1),
        (Measure(f"cons_at_{samples}", f"cons@{samples}"), 1),
        (Measure("format", "format"), 1),
        (Measure("language_consistency", "language"), 1),
        (Measure("length_mean", "length", percent=False), 0),
        (Measure("thought_words_mean", "words", percent=False), 0),
        (Measure("helpfulness", "helpful"), 1),
        (Measure("unsafe_compliance", "complies"), -1),
        (Measure("safe_refusal", "refuses"), -1),
    ]


def stage_table(found: Mapping[str, Record]) -> Table:
    """The checkpoints by every measure that any of them has; the best of a column is marked."""
    columns = []
    for measure, good in _columns(next(iter(found.values()), {})):
        known = {r[measure.key] for r in found.values() if r.get(measure.key) is not None}
        best = max(known, key=lambda value: good * value) if good and len(known) > 1 else None
        if known:
            columns.append((measure, best))

    def cells(record: Record) -> list[Cell]:
        return [
            measure.of(record) if best is None or record.get(measure.key) != best
            else (measure.of(record), "best")
            for measure, best in columns
        ]  # fmt: skip

    lines = [(name, cells(record), MEANINGS.get(name, "")) for name, record in found.items()]
    return Table(["", *(measure.name for measure, _ in columns)], lines)


def set_table(found: Mapping[str, Mapping[str, Record]]) -> Table:
    """pass@1 of the checkpoints on every held-out set; empty where there is but one."""
    names = list(dict.fromkeys(name for sets in found.values() for name in sets))
    measure = Measure("pass_at_1")
    lines = [(checkpoint, [measure.of(sets.get(name, {})) for name in names], "")
             for checkpoint, sets in found.items()]  # fmt: skip
    return Table(["", *names], lines if len(names) > 1 else [])


def students(run: Recorded) -> Table:
    """Every student before and after."""
    known = run.summary.get("students") or {}
    lines = []
    for name, stage in run.stages.items():
        short = name.removeprefix("student-")
        before, after = (stage.json(f).get("record") for f in (BEFORE, JUDGED))
        if short == name or not before or not after:
            continue
        gain, parameters = (known.get(short, {}).get(key) for key in ("gain", "parameters"))
        shown = points(after["pass_at_1"] - before["pass_at_1"])
        if gain:
            shown = f"{points(gain['pass_at_1'])} [{', '.join(points(x) for x in gain['ci'])}]"
        cells = [f"{parameters:,}" if parameters else NONE, percent(before["pass_at_1"]),
                 percent(after["pass_at_1"]), shown, percent(after["format"]),
                 CONSISTENT.of(after), LENGTH.of(after)]  # fmt: skip
        lines.append((short, cells, ""))
    heads = ["", "parameters", "pass@1 before", "after", "gain [95 %]", "format", "language",
             "length"]  # fmt: skip
    return Table(heads, lines)


def data(stages: Mapping[str, RecordedFiles]) -> tuple[Table, list[str]]:
    """What was sampled, what was kept of it, and in sentences why the rest was not."""
    lines, sentences = [], []
    for name, title in SAMPLED.items():
        sheet = stages[name].json("datasheet.json") if name in stages else {}
        if not sheet:
            continue
        reasons = sheet["dropped_by_reason"]
        right = sheet["samples"] - sum(reasons.get(reason, 0) for reason in UNSURE)
        cells = [f"{n:,}" for n in (sheet["prompts"], sheet["samples"], right, sheet["kept"])]
        lines.append((title, [*cells, COUNTED.of(sheet)], ""))
        top = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:REASONS]
        listed = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in top)
        languages = ", ".join(f"{n:,} {code}" for code, n in sheet["languages"].items())
        sentences.append(f"{title}: left out {listed or 'nothing'}. Kept thoughts: {languages}.")
    if "general_data" in stages:
        files = sorted(stages["general_data"].path.glob("*.jsonl"))
        counts = [f"{file.stem} {len(read_jsonl(file)):,}" for file in files]
        sentences.append(f"General data: {', '.join(counts)} rows.")
    heads = ["", "prompts", "drawn", "right and whole", "kept", "pass rate"]
    return Table(heads, lines), sentences


def judges(run: Recorded) -> Table:
    """The reward models as they were held out."""
    lines = []
    for name in JUDGES:
        summary = run.stages[name].json(SUMMARY) if name in run.stages else {}
        after = summary.get("after") or {}
        if after.get("accuracy") is None:
            continue
        interval = " to ".join(percent(x) for x in after.get("accuracy_ci") or []) or NONE
        accuracy = Measure("accuracy")
        cells = [str(summary.get("kind", NONE)), f"{summary.get('examples', 0):,}",
                 accuracy.of(summary.get("before") or {}), accuracy.of(after), interval,
                 Measure("ece").of(after)]  # fmt: skip
        lines.append((name, cells, ""))
    heads = ["", "kind", "learnt from", "accuracy before", "held out", "95 %",
             "calibration error"]  # fmt: skip
    return Table(heads, lines)
