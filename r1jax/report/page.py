"""A run directory becomes pictures under `plots/` and one `report.html` that opens offline."""

from __future__ import annotations

from pathlib import Path

from r1jax.report import judges, searches, watch
from r1jax.report.curves import charts
from r1jax.report.files import RecordedFiles
from r1jax.report.html import (
    NONE,
    Fact,
    Measure,
    Table,
    changed,
    hardware,
    machine,
    pictures,
    points,
    write,
)
from r1jax.report.transcripts import first_and_latest, pairs
from r1jax.run import names
from r1jax.run.directory import Record
from r1jax.run.progress import duration

UNFINISHED = (
    "This run has not finished. The page shows what it has recorded so far; run the same command "
    "again to resume it."
)


def write_report(run_path: str | Path) -> Path:
    """Draws `plots/*.png`, writes `report.html`, returns its path.

    Works for a run that has not finished: what is missing is left out. Raises UserError where
    `run_path` is not a run directory.
    """
    run = RecordedFiles.of(run_path, "run")
    config, summary, environment = (
        run.json(name) for name in (names.CONFIG, names.SUMMARY, names.ENVIRONMENT)
    )
    metrics, evaluations = run.rows(names.METRICS), run.json(names.EVALUATIONS) or []
    before, after = summary.get("before") or {}, summary.get("after") or {}
    last = metrics[-1] if metrics else {}
    counter = "round" if searches.is_search(last) else "update"
    drawn = charts(metrics, evaluations, counter)
    drawn += watch.charts(metrics, config)
    drawn += judges.charts(metrics, evaluations)
    drawn += searches.charts(metrics)
    return write(
        run.path / names.REPORT,
        "run.html",
        title=run.name,
        facts=_facts(summary, last, counter) + hardware(environment),
        notices=([] if summary else [UNFINISHED]) + watch.warnings(metrics, config),
        headline=_headline(before, after, summary.get("gain")),
        digest=_digest(before, after),
        protocol=_protocol(after or before),
        figures=pictures(drawn, run.path / "plots"),
        kind=summary.get("kind"),
        calibration=judges.calibration(after),
        breakdown=_breakdown(before.get("by") or {}, after.get("by") or {}),
        pairs=pairs(summary.get("transcripts") or []),
        samples=first_and_latest(run.rows("samples.jsonl")),
        machine=machine(environment, config),
    )


def _facts(summary: Record, last: Record, counter: str) -> list[str]:
    """How far the run came, and how long it took; `last` is the last row of its metrics."""
    updates = summary.get("updates", last.get("update", 0))
    rollouts = summary.get("rollouts", last.get("rollout", 0))
    facts = [f"{updates:,} {counter}s"] + ([f"{rollouts:,} rollouts"] if rollouts else [])
    if summary.get("learnt_tokens_seen") is not None:
        facts.append(f"{summary['learnt_tokens_seen']:,} tokens learnt")
    if summary.get("wall_seconds") is not None:
        facts.append(duration(summary["wall_seconds"]))
    return facts


def _headline(before: Record, after: Record, gain: Record | None) -> list[Fact]:
    when = "before and after" if before else "at the end"
    facts = changed("pass_at_1", f"held-out pass@1, {when}", before, after)
    if gain and gain.get("pass_at_1") is not None:
        interval = " to ".join(points(end) for end in gain["ci"])
        meaning = f"points gained; 95 % interval {interval}"
        facts.append(Fact(points(gain["pass_at_1"]), meaning, gain=True))
    facts += changed("nll", "held-out loss, nats per token", before, after, "{:.3f}".format)
    return facts + judges.headline(before, after)


def _measures(record: Record) -> list[Measure]:
    k = record.get("samples", 16)
    return [
        Measure("nll", "loss", "held-out nats per learnt token", percent=False, decimals=4),
        Measure("perplexity", "perplexity", "its exponential", percent=False, decimals=3),
        *judges.MEASURES,
        Measure("pass_at_1", "pass@1", f"mean of {k} samples; tags ignored"),
        Measure("pass_at_1_strict", "pass@1, strict", "answer inside its tags, whole envelope"),
        Measure("pass_at_1_greedy", "pass@1, greedy", "one completion at temperature 0"),
        Measure(f"cons_at_{k}", f"cons@{k}", f"majority vote of {k} samples"),
        Measure(f"pass_at_{k}", f"pass@{k}", f"at least one of {k} samples right"),
        Measure("format", "format", "share in the strict envelope"),
        Measure("length_mean", "length", "mean tokens of a completion", percent=False),
        Measure("truncated", "truncated", "share cut at the token limit"),
    ]


def _digest(before: Record, after: Record) -> Table:
    """Every measure that was taken, before, after and their difference."""
    sides = {name: side for name, side in (("before", before), ("after", after)) if side}
    lines = []
    for measure in _measures(after or before):
        values = [side.get(measure.key) for side in sides.values()]
        if all(value is None for value in values):
            continue
        cells = [measure.write(value) for value in values]
        if len(sides) == 2:
            cells.append(measure.change(*values))
        lines.append((measure.name, cells, measure.meaning))
    return Table(["", *sides, *(["change"] if len(sides) == 2 else [])], lines)


def _protocol(record: Record) -> str:
    """What the digest was measured on."""
    if record.get("nll") is not None:
        return (
            f"{record['examples']:,} held-out examples, {record['tokens']:,} learnt tokens, each "
            f"counting once; set {record['set']}."
        )
    if not {"problems", "samples", "temperature", "top_p"} <= record.keys():
        return ""
    return (
        f"{record['problems']:,} held-out problems, {record['samples']} samples each at "
        f"temperature {record['temperature']}, top-p {record['top_p']}."
    )


def _breakdown(before: Record, after: Record) -> Table:
    """pass@1, before and after, by every metadata field that the evaluation split."""
    accuracy, length = Measure("pass_at_1"), Measure("length_mean", percent=False)
    lines = []
    for field in before | after:
        old, new = before.get(field, {}), after.get(field, {})
        for value in old | new:
            sides = [old.get(value, {}), new.get(value, {})]
            cells = [
                str((sides[1] or sides[0]).get("problems", NONE)),
                *(accuracy.of(side) for side in sides),
                accuracy.change(*(side.get("pass_at_1") for side in sides)),
                *(Measure("format").of(side) for side in sides),
                *(length.of(side) for side in sides),
            ]
            lines.append((value, cells, field))
    heads = ["", "problems", "pass@1 before", "after", "change", "format before", "after",
             "length before", "after"]  # fmt: skip
    return Table(heads, lines)
