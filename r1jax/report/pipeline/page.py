"""The page of a pipeline: headline, sections, one problem through every stage, time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1jax.evaluate.statistics import mixes_languages
from r1jax.problem import Completion
from r1jax.report import watch
from r1jax.report.files import RecordedFiles
from r1jax.report.html import Fact, changed, hardware, machine, percent, pictures, points, write
from r1jax.report.pipeline.curves import StageCurves, charts, stage_chart
from r1jax.report.pipeline.lineage import SHORT, lineage
from r1jax.report.pipeline.recorded import Record, Recorded
from r1jax.report.pipeline.tables import data, judges, set_table, stage_table, students
from r1jax.report.transcripts import Card, PromptTranscript, story
from r1jax.run import names
from r1jax.run.progress import duration

RL = ("zero", "reasoning_rl", "general_rl")
UNFINISHED = (
    "This pipeline has not finished. The page shows the stages that are there; run the same "
    "command again to go on."
)


def write_pipeline_report(path: str | Path) -> Path:
    """Draws `plots/*.png`, writes `report.html`, returns its path.

    Works for a pipeline that has not finished: stages that are not there are not shown. Raises
    UserError where `path` is not a pipeline's directory.
    """
    run = Recorded.read(path)
    stages, plots = run.stages, run.files.path / names.PLOTS
    courses = [
        StageCurves(
            names.CHECKPOINTS[name],
            stages[name].rows(names.METRICS),
            stages[name].json(names.EVALUATIONS) or [],
        )
        for name in RL
        if name in stages
    ]
    drawn = [*filter(None, [stage_chart(run.checkpoints)]), *charts(courses)]
    last = stages.get("general_rl")
    watched = (last.rows(names.METRICS), last.json(names.CONFIG)) if last else ([], {})
    sheets, sentences = data(stages)
    return write(
        run.files.path / names.REPORT,
        "pipeline.html",
        title=run.files.name,
        facts=_facts(run),
        notices=[] if run.summary else [UNFINISHED],
        headline=_headline(run),
        abstract=_abstract(run.checkpoints),
        protocol=next(iter(run.checkpoints.values()), {}),
        stages=stage_table(run.checkpoints),
        sets=set_table(run.sets),
        students=students(run),
        figures=pictures(drawn, plots),
        data=sheets,
        told=sentences,
        judges=judges(run),
        warnings=watch.warnings(*watched),
        watched=pictures(watch.charts(*watched), plots),
        followed=_followed(run),
        lineage=lineage(run.lineage, list(stages)),
        short=SHORT,
        time=_time(run),
        machine=machine(run.environment, run.config),
    )


def _facts(run: Recorded) -> list[str]:
    count = len(run.stages)
    facts = [f"{count} stage{'s' * (count != 1)}"]
    if run.summary.get("wall_seconds") is not None:
        facts.append(_spent(run.summary["wall_seconds"], run.summary.get("budget_seconds")))
    return facts + hardware(run.environment)


def _headline(run: Recorded) -> list[Fact]:
    checkpoints, facts = run.checkpoints, []
    last = list(checkpoints)[-1] if checkpoints else "Base"
    if last != "Base":
        base = checkpoints.get("Base", {})
        facts += changed("pass_at_1", f"held-out pass@1, base and {last}", base, checkpoints[last])
    zero, end = (checkpoints.get(name, {}) for name in ("Zero", "R1"))
    facts += changed("language_consistency", "language consistency, Zero and R1", zero, end)
    known = run.summary.get("students") or {}
    if known:
        shown = " · ".join(points(student["gain"]["pass_at_1"]) for student in known.values())
        facts.append(Fact(shown, f"points gained by {', '.join(known)}", gain=True))
    return facts


def _abstract(found: Mapping[str, Record]) -> str:
    """The result in sentences."""
    if not {"Base", "Zero", "R1"} <= found.keys():
        return ""
    base, zero, r1 = (found[name] for name in ("Base", "Zero", "R1"))
    return (
        f"Of {base['problems']:,} held-out problems the base answers {percent(base['pass_at_1'])} "
        f"rightly, Zero (reinforcement learning by rules alone) {percent(zero['pass_at_1'])}, R1 "
        f"(the whole pipeline) {percent(r1['pass_at_1'])}; {percent(r1['format'])} of what R1 "
        "writes is in the strict format."
    )


def _followed(run: Recorded) -> list[PromptTranscript]:
    """One problem, and one general prompt where there is one, as every checkpoint answered them."""
    sides = {
        name: {item["question"]: item for item in judged.get("transcripts") or []}
        for name, judged in run.sides.items()
    }
    stories = []
    for question in chosen(sides):
        answered = {
            name: answers[question] for name, answers in sides.items() if question in answers
        }
        cards = [Card(name, item["text"], item["correct"]) for name, item in answered.items()]
        stories.append(story(next(iter(answered.values())), cards, "a general prompt"))
    return stories


def chosen(sides: Mapping[str, Mapping[str, Record]]) -> list[str]:
    """The questions worth following: at most one with a right answer, and one without.

    `sides` are transcripts by checkpoint and question. Of the former the one that as much as
    possible the base gets wrong and the last checkpoint right, and where Zero mixes languages; of
    those alike the first.
    """
    if not sides:
        return []
    *_, last = sides.values()
    first, zero = next(iter(sides.values())), sides.get("Zero", {})

    def worth(question: str) -> tuple[bool, bool, bool]:
        text = zero[question]["text"] if question in zero else ""
        wrong = question in first and first[question]["correct"] is False
        mixed = mixes_languages(Completion.parse(text).thought or text)
        return last[question]["correct"] is True, wrong, mixed

    ruled = [question for question, item in last.items() if item["correct"] is not None]
    general = [question for question, item in last.items() if item["correct"] is None]
    return [*([max(ruled, key=worth)] if ruled else []), *general[:1]]


def _time(run: Recorded) -> dict[str, Any]:
    """Seconds of every stage, one after the other: the total, and a line for each."""
    spent, budget = run.seconds, run.summary.get("budget_seconds")
    total, before = sum(spent.values()), 0.0
    whole = max(budget or 0.0, total) or 1.0
    lines = []
    for name, stage in run.stages.items():
        took = spent.get(name)
        line = {"name": name, "page": _page_of(stage), "took": "", "start": 0.0, "share": 0.0}
        if took is not None:
            line |= {"took": duration(took), "start": before / whole, "share": took / whole}
            before += took
        lines.append(line)
    return {
        "spent": _spent(total, budget),
        "width": "the budget" if whole == budget else "all stages",
        "lines": lines,
    }


def _page_of(stage: RecordedFiles) -> str:
    """The way from the report to a stage's own page; empty where it has none."""
    there = [name for name in (names.REPORT, names.DATASHEET) if (stage.path / name).exists()]
    return f"stages/{stage.path.name}/{there[0]}" if there else ""


def _spent(seconds: float, budget: float | None) -> str:
    """The time taken, and of how much."""
    return f"{duration(seconds)} of {duration(budget)}" if budget else duration(seconds)
