"""The page's tables of what is described beside the primary lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean as mean
from typing import Any

from experiments.gates.study import Figures
from experiments.smollm2 import figures
from experiments.smollm2.verdicts import arm
from r1jax.report.markdown import markdown_table

ROOM = 0.95
"""A base that solves so many problems in its many samples leaves pass@k nothing to show."""
THINKING = ("base", "grpo", "answer-grpo", "worked", "worked-grpo")


def tables(found: Figures) -> list[str]:
    """All of them; empty where no run of a table is there yet."""
    return [many(found), votes(found), budgets(found), english(found), gsm8k(found)]


def percent(values: Iterable[float]) -> str:
    """Their mean, in percent."""
    return f"{100 * mean(values):.1f}"


def many(found: Figures) -> str:
    """pass@k of the base and of what was sampled many times, where the base leaves room."""
    base = found.get("many-base")
    if base is None:
        return ""
    best = {task: list(side["pass_at"].values())[-1] for task, side in base["after"].items()}
    tasks = [task for task, value in best.items() if value < ROOM]
    names = [name for name in found if name.startswith("many-")]
    curves = [
        (name, task, found[name]["after"][task]["pass_at"]) for name in names for task in tasks
    ]
    rows = [[name[5:], task, *(percent([v]) for v in curve.values())]
            for name, task, curve in curves]  # fmt: skip
    full = [f"{task} ({percent([v])} %)" for task, v in best.items() if task not in tasks]
    said = f"Left out, because the base solves 95 % or more: {', '.join(full)}." if full else ""
    heads = [f"k = {k}" for k in next(iter(base["after"].values()))["pass_at"]]
    table = markdown_table(["pass@k, T 1", "task", *heads], rows) if rows else ""
    return "\n\n".join(part for part in (table, said) if part)


def votes(found: Figures) -> str:
    """The vote of as many short answers as one long one pays for, beside the long one."""
    rows = []
    for seed, row in arm(found, "vote-answer-grpo").items():
        long = found.get(f"worked-grpo-s{seed}")
        if long:
            sides = [row["after"][task] for task in figures.TRAINED]
            rows.append(
                [str(seed), str(sides[0]["samples"]), percent(s["cons"] for s in sides),
                 percent(s["pass_at_1"] for s in sides), f"{figures.score(long):.1f}"]
            )  # fmt: skip
    heads = ["seed", "k", "vote of k answers (answer-grpo)", "one of them", "worked-grpo, one"]
    return markdown_table(heads, rows) if rows else ""


def budgets(found: Figures) -> str:
    """Accuracy, tokens and seconds alone by the budget of the thought, means over seeds."""
    rows = []
    for name in THINKING:
        runs = list(arm(found, f"budget-{name}").values())
        for budget in runs[0]["budgets"] if runs else ():
            sides = [run["budgets"][budget][task] for run in runs for task in figures.TRAINED]
            rows.append([name, budget if int(budget) else "none", str(len(runs)), *thought(sides)])
    heads = ["arm", "budget, tokens", "seeds", "pass@1", "tokens", "cut", "seconds at batch 1"]
    return markdown_table(heads, rows) if rows else ""


def thought(sides: Sequence[Mapping[str, Any]]) -> list[str]:
    """pass@1, tokens, share cut and seconds of some sets."""
    return [
        percent(s["pass_at_1"] for s in sides), f"{mean(s['length_mean'] for s in sides):.0f}",
        percent(s["truncated"] for s in sides), f"{mean(s['seconds'] for s in sides):.2f}",
    ]  # fmt: skip


def english(found: Figures) -> str:
    """How likely plain English is, and what training has taken from it."""
    base = found.get("english-base")
    if base is None:
        return ""
    rows = [["base", "1", f"{base['logp']:.4f}", "–"]]
    for name in figures.ARMS:
        runs = list(arm(found, f"english-{name}").values())
        if runs:
            logp = mean(run["logp"] for run in runs)
            rows.append([name, str(len(runs)), f"{logp:.4f}", f"{logp - base['logp']:+.4f}"])
    return markdown_table(["plain English", "seeds", "nats a token", "against the base"], rows)


def gsm8k(found: Figures) -> str:
    """The base's one number on GSM8K."""
    row = found.get("gsm8k-base")
    if row is None:
        return ""
    (side,) = row["after"].values()
    low, high = (percent([end]) for end in side["pass_at_1_ci"])
    return (
        f"GSM8K, the base, protocol gsm8k (`docs/evaluation.md`), {len(side['right'])} problems, "
        f"one sample, at most 512 tokens: {percent([side['pass_at_1']])} % ({low} to {high}), "
        f"{percent([side['truncated']])} % cut."
    )
