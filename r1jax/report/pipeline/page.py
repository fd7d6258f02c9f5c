"""The page of a pipeline: headline, sections, one problem through every stage, time."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from r1jax.evaluate.statistics import mixes_languages
from r1jax.problem import Completion
from r1jax.report.html import LEGEND, hardware, machine, page, percent, pictures, points, table
from r1jax.report.pipeline.curves import Course, charts, stage_chart
from r1jax.report.pipeline.lineage import lineage
from r1jax.report.pipeline.recorded import CHECKPOINTS, Record, Recorded, StageFiles
from r1jax.report.pipeline.tables import data, judges, stage_table, students
from r1jax.report.transcripts import said
from r1jax.run.progress import duration

RL = ("zero", "reasoning_rl", "general_rl")


def write_pipeline_report(path: str | Path) -> Path:
    """Draws `plots/*.png`, writes `report.html`, returns its path.

    Works for a pipeline that has not finished: stages that are not there are not shown. Raises
    UserError where `path` is not a pipeline's directory.
    """
    run = Recorded.read(Path(path))
    courses = [
        Course(
            CHECKPOINTS[name][0],
            run.stages[name].lines("metrics.jsonl"),
            run.stages[name].json("eval.json") or [],
        )
        for name in RL
        if name in run.stages
    ]
    stages = stage_chart(run.checkpoints)
    curves = pictures([*([stages] if stages else []), *charts(courses)], run.path / "plots")
    sections = [
        ("", _top(run)),
        ("Stage by stage", stage_table(run.checkpoints)),
        ("Students", students(run)),
        ("Curves", curves and LEGEND + curves),
        ("Data", data(run.stages)),
        ("Reward models", judges(run)),
        ("One problem through every stage", _followed(run)),
        ("Lineage", lineage(run.lineage, list(run.stages))),
        ("Time", _time(run)),
        ("Machine and flags", machine(run.environment, run.config)),
    ]
    report = run.path / "report.html"
    report.write_text(page(run.name, sections), encoding="utf-8")
    return report


# --- the top ---------------------------------------------------------------------------------


def _top(run: Recorded) -> str:
    count = len(run.stages)
    facts = [f"{count} stage{'s' * (count != 1)}"]
    if run.summary.get("wall_seconds") is not None:
        facts.append(_spent(run.summary["wall_seconds"], run.summary.get("budget_seconds")))
    facts += hardware(run.environment)
    notice = "" if run.summary else (
        '<p class="notice">This pipeline has not finished. The page shows the stages that are '
        "there; run the same command again to go on.</p>"
    )  # fmt: skip
    return (
        f'<h1>{escape(run.name)}</h1><p class="facts">{escape(" · ".join(facts))}</p>{notice}'
        f"{_headline(run)}{_abstract(run.checkpoints)}"
    )


def _headline(run: Recorded) -> str:
    found, parts = run.checkpoints, []
    last = list(found)[-1] if found else "Base"
    if {"Base", last} <= found.keys() and last != "Base":
        shown = f"{percent(found['Base']['pass_at_1'])} → {percent(found[last]['pass_at_1'])}"
        parts.append(f"<div><b>{shown}</b><span>held-out pass@1, base and {last}</span></div>")
    zero, end = (found.get(n, {}).get("language_consistency") for n in ("Zero", "R1"))
    if zero is not None and end is not None:
        shown = f"{percent(zero)} → {percent(end)}"
        parts.append(f"<div><b>{shown}</b><span>language consistency, Zero and R1</span></div>")
    known = run.summary.get("students") or {}
    if known:
        shown = " · ".join(points(student["gain"]["pass_at_1"]) for student in known.values())
        who = escape(", ".join(known))
        parts.append(f'<div class="gain"><b>{shown}</b><span>points gained by {who}</span></div>')
    return f'<div class="headline">{"".join(parts)}</div>' if parts else ""


def _abstract(found: Mapping[str, Record]) -> str:
    """The result in sentences."""
    if not {"Base", "Zero", "R1"} <= found.keys():
        return ""
    base, zero, r1 = (found[name] for name in ("Base", "Zero", "R1"))
    told = (
        f"Of {base['problems']:,} held-out problems the base answers {percent(base['pass_at_1'])} "
        f"rightly, Zero (reinforcement learning by rules alone) {percent(zero['pass_at_1'])}, R1 "
        f"(the whole pipeline) {percent(r1['pass_at_1'])}; {percent(r1['format'])} of what R1 "
        "writes is in the strict format."
    )
    return f"<p>{escape(told)}</p>"


# --- one problem -----------------------------------------------------------------------------


def _followed(run: Recorded) -> str:
    """One problem, and one general prompt where there is one, as every checkpoint answered them."""
    sides = {
        name: {item["question"]: item for item in judged.get("transcripts") or []}
        for name, judged in run.sides.items()
    }
    return "".join(_story(question, sides) for question in chosen(sides))


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


def _story(question: str, sides: Mapping[str, Mapping[str, Record]]) -> str:
    told = {name: own[question] for name, own in sides.items() if question in own}
    item = next(iter(told.values()))
    language = escape(str(item.get("language") or ""))
    facts = [f"right answer: {item['answer']}"] if item.get("answer") else ["a general prompt"]
    facts += [str(item[key]) for key in ("family", "language") if item.get(key)]
    cards = "".join(said(name, i["text"], i["correct"], language) for name, i in told.items())
    return (
        f'<article><h3 lang="{language}">{escape(question)}</h3>'
        f'<p class="facts">{escape(" · ".join(facts))}</p><div class="pair">{cards}</div></article>'
    )


# --- time ------------------------------------------------------------------------------------


def _time(run: Recorded) -> str:
    """Seconds of every stage, one after the other, with the way to its own page."""
    if not run.stages:
        return ""
    spent, budget = run.seconds, run.summary.get("budget_seconds")
    total, before = sum(spent.values()), 0.0
    whole = max(budget or 0.0, total) or 1.0
    lines = []
    for name, stage in run.stages.items():
        lines.append(_took(stage, spent.get(name), before / whole, whole))
        before += spent.get(name, 0.0)
    width = "the budget" if whole == budget else "all stages"
    return (
        f"<p>{_spent(total, budget)}. The stages follow one another; the whole width is {width}."
        f"</p>{table(['', 'took', ''], lines)}"
    )


def _took(stage: StageFiles, seconds: float | None, start: float, whole: float) -> str:
    """The line of a stage; its name leads to its own page, where it has one."""
    there = [name for name in ("report.html", "datasheet.md") if (stage.path / name).exists()]
    head = escape(stage.name)
    if there:
        head = f'<a href="{quote(f"stages/{stage.path.name}/{there[0]}")}">{head}</a>'
    took = bar = ""
    if seconds is not None:
        took = duration(seconds)
        place = f"margin-left:{100 * start:.1f}%;width:{100 * seconds / whole:.1f}%"
        bar = f'<span class="bar" style="{place}"></span>'
    return f'<tr><th scope="row">{head}</th><td>{took}</td><td class="wide">{bar}</td></tr>'


def _spent(seconds: float, budget: float | None) -> str:
    """The time taken, and of how much."""
    return f"{duration(seconds)} of {duration(budget)}" if budget else duration(seconds)
