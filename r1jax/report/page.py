"""A run directory becomes pictures under `plots/` and one `report.html` that opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from r1jax.errors import UserError
from r1jax.report import judges as reliability
from r1jax.report import watch
from r1jax.report.curves import charts
from r1jax.report.html import (
    LEGEND,
    change,
    hardware,
    line,
    machine,
    number,
    page,
    percent,
    pictures,
    points,
    table,
)
from r1jax.report.transcripts import first_and_latest, pairs
from r1jax.run.directory import read_json, read_jsonl
from r1jax.run.progress import duration

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Recorded:
    """What a run has written so far; whatever is not there yet is empty."""

    name: str
    config: Record
    environment: Record
    metrics: Sequence[Record]
    samples: Sequence[Record]
    evaluations: Sequence[Record]
    summary: Record

    @classmethod
    def read(cls, path: Path) -> Recorded:
        """Raises UserError where `path` is not a run directory or a file in it is not JSON."""
        if not (path / "config.json").exists():
            raise UserError(f"{path}: holds no config.json; name the directory of a run")

        def read(name: str, empty: Any) -> Any:
            reader = read_jsonl if name.endswith("l") else read_json
            return reader(path / name) if (path / name).exists() else empty

        return cls(
            name=path.resolve().name,
            config=read("config.json", {}),
            environment=read("environment.json", {}),
            metrics=read("metrics.jsonl", []),
            samples=read("samples.jsonl", []),
            evaluations=read("eval.json", []),
            summary=read("summary.json", {}),
        )


@dataclass(frozen=True)
class Row:
    """One line of the digest: the key in a record, its name, what it means, how it is written."""

    key: str
    name: str
    meaning: str
    percent: bool = True
    decimals: int = 1


def write_report(run_path: str | Path) -> Path:
    """Draws `plots/*.png`, writes `report.html`, returns its path.

    Works for a run that has not finished: what is missing is left out. Raises UserError where
    `run_path` is not a run directory.
    """
    path = Path(run_path)
    run = Recorded.read(path)
    drawn = charts(run.metrics, run.evaluations)
    drawn += watch.charts(run.metrics, run.config)
    drawn += reliability.charts(run.metrics, run.evaluations)
    figures = pictures(drawn, path / "plots")
    sections = [
        ("", _top(run)),
        ("Curves", figures and LEGEND + figures),
        ("Calibration", reliability.section(run.summary)),
        ("By kind of problem", _breakdown(run.summary)),
        ("The same problems before and after", pairs(run.summary.get("transcripts") or [])),
        ("Samples seen in training", first_and_latest(run.samples)),
        ("Machine and flags", machine(run.environment, run.config)),
    ]
    report = path / "report.html"
    report.write_text(page(run.name, sections), encoding="utf-8")
    return report


def _top(run: Recorded) -> str:
    summary = run.summary
    last = run.metrics[-1] if run.metrics else {}
    updates = summary.get("updates", last.get("update", 0))
    rollouts = summary.get("rollouts", last.get("rollout", 0))
    facts = [f"{updates:,} updates"] + ([f"{rollouts:,} rollouts"] if rollouts else [])
    if summary.get("learnt_tokens_seen") is not None:
        facts.append(f"{summary['learnt_tokens_seen']:,} tokens learnt")
    if summary.get("wall_seconds") is not None:
        facts.append(duration(summary["wall_seconds"]))
    facts += hardware(run.environment)
    notice = "" if summary else (
        '<p class="notice">This run has not finished. The page shows what it has recorded so far; '
        "run the same command again to resume it.</p>"
    )  # fmt: skip
    return (
        f'<h1>{escape(run.name)}</h1><p class="facts">{escape(" · ".join(facts))}</p>{notice}'
        f"{watch.notice(run.metrics, run.config)}{_headline(summary)}{_digest(summary)}"
    )


def _headline(summary: Record) -> str:
    before, after = summary.get("before") or {}, summary.get("after") or {}
    gain = summary.get("gain") or {}
    parts = []
    if before.get("pass_at_1") is not None and after.get("pass_at_1") is not None:
        shown = f"{percent(before['pass_at_1'])} → {percent(after['pass_at_1'])}"
        parts.append(f"<div><b>{shown}</b><span>held-out pass@1, before and after</span></div>")
    if gain.get("pass_at_1") is not None:
        low, high = gain["ci"]
        interval = f"{points(low)} to {points(high)}"
        parts.append(
            f'<div class="gain"><b>{points(gain["pass_at_1"])}</b>'
            f"<span>points gained; 95 % interval {interval}</span></div>"
        )
    if before.get("nll") is not None and after.get("nll") is not None:
        shown = f"{before['nll']:.3f} → {after['nll']:.3f}"
        parts.append(f"<div><b>{shown}</b><span>held-out loss, nats per token</span></div>")
    parts += reliability.headline(before, after)
    return f'<div class="headline">{"".join(parts)}</div>' if parts else ""


def _digest_rows(record: Record) -> list[Row]:
    k = record.get("samples", 16)
    return [
        Row("nll", "loss", "held-out nats per learnt token", percent=False, decimals=4),
        Row("perplexity", "perplexity", "its exponential", percent=False, decimals=3),
        *(Row(*row) for row in reliability.ROWS),
        Row("pass_at_1", "pass@1", f"mean of {k} samples; tags ignored"),
        Row("pass_at_1_strict", "pass@1, strict", "answer inside its tags, whole envelope"),
        Row("pass_at_1_greedy", "pass@1, greedy", "one completion at temperature 0"),
        Row(f"cons_at_{k}", f"cons@{k}", f"majority vote of {k} samples"),
        Row(f"pass_at_{k}", f"pass@{k}", f"at least one of {k} samples right"),
        Row("format", "format", "share in the strict envelope"),
        Row("length_mean", "length", "mean tokens of a completion", percent=False),
        Row("truncated", "truncated", "share cut at the token limit"),
    ]


def _digest(summary: Record) -> str:
    records = [(name, summary[name]) for name in ("before", "after") if summary.get(name)]
    if not records:
        return ""
    lines = []
    for row in _digest_rows(records[-1][1]):
        values = [record.get(row.key) for _, record in records]
        if all(value is None for value in values):
            continue
        written = [number(value, row.percent, row.decimals) for value in values]
        if len(records) == 2:
            written.append(change(values[0], values[1], row.percent, row.decimals))
        lines.append(line(row.name, written, row.meaning))
    names = [name for name, _ in records] + (["change"] if len(records) == 2 else [])
    return table(["", *names], lines) + _protocol(records[-1][1])


def _protocol(record: Record) -> str:
    if record.get("nll") is not None:
        return (
            f'<p class="soft">{record["examples"]:,} held-out examples, {record["tokens"]:,} '
            f"learnt tokens, each counting once; set {escape(str(record['set']))}.</p>"
        )
    if not {"problems", "samples", "temperature", "top_p"} <= record.keys():
        return ""
    return (
        f'<p class="soft">{record["problems"]:,} held-out problems, {record["samples"]} samples '
        f"each at temperature {record['temperature']}, top-p {record['top_p']}.</p>"
    )


def _breakdown(summary: Record) -> str:
    """pass@1, before and after, by every metadata field that the evaluation split."""
    before, after = ((summary.get(name) or {}).get("by") or {} for name in ("before", "after"))
    lines = []
    for field in dict.fromkeys([*before, *after]):
        old, new = before.get(field, {}), after.get(field, {})
        for value in dict.fromkeys([*old, *new]):
            a, b = old.get(value, {}), new.get(value, {})
            cells = [
                str((b or a).get("problems", "–")),
                *(number(record.get("pass_at_1"), True) for record in (a, b)),
                change(a.get("pass_at_1"), b.get("pass_at_1"), True),
                *(number(record.get("format"), True) for record in (a, b)),
                *(number(record.get("length_mean"), False) for record in (a, b)),
            ]
            lines.append(line(value, cells, field))
    heads = ["", "problems", "pass@1 before", "after", "change", "format before", "after",
             "length before", "after"]  # fmt: skip
    return table(heads, lines) if lines else ""
