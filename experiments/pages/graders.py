"""Writes docs/graders.md: our verdict on pairs of gold and completion, beside math-verify's.

The pairs are in `experiments/pages/pairs/`: `own.jsonl`, and `blind.jsonl`, which nobody looked at
while the graders were written. A minute on a CPU:

    python -m experiments.pages.graders --out docs/graders.md
"""

from __future__ import annotations

import datetime
import json
import logging
import platform
import re
import time
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.pages.graders_text import BLIND, INTRODUCTION
from r1jax.commands import cli
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.report.markdown import markdown_table
from r1jax.rewards import RewardPool, accuracy
from r1jax.rewards.base import BaseReward

PAIRS = Path(__file__).parent / "pairs"
MEASURED = "<!-- measured -->\n"
"""Below this line stands what differs between machines."""


@dataclass(frozen=True)
class ExaminedPair:
    """A gold answer, a completion, and the verdict of a careful examiner with its reason."""

    id: str
    kind: str
    gold: str
    text: str
    right: int
    why: str
    group: str = ""
    wrapping: str = ""
    first: int | None = None
    """Our verdict when a blind pair was first judged."""

    @property
    def problem(self) -> Problem:
        """The problem whose answer is the gold; the question is not asked."""
        return Problem(self.id, "", self.gold, grader=self.kind)


@dataclass(frozen=True)
class ComparedPair:
    """A pair with both verdicts."""

    pair: ExaminedPair
    ours: int
    theirs: int

    @property
    def better(self) -> str:
        """Who is right where the two differ."""
        if self.ours == self.theirs:
            return ""
        return "ours" if self.ours == self.pair.right else "math-verify"


def read_pairs(name: str) -> list[ExaminedPair]:
    """The pairs of `own` or `blind`; none where there is no such file."""
    path = PAIRS / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [ExaminedPair(**json.loads(line)) for line in lines]


def ours(pair: ExaminedPair) -> int:
    """The accuracy reward of the text, with a run's defaults."""
    (value,) = accuracy()([pair.problem], [Completion.parse(pair.text)], RewardContext())
    return int(value == 1.0)


def theirs(pair: ExaminedPair) -> int:
    """math-verify's verdict on the same text, with its defaults and no time limit."""
    from math_verify import parse, verify
    from math_verify.parser import ExprExtractionConfig as Expression
    from math_verify.parser import LatexExtractionConfig as Latex
    from math_verify.parser import StringExtractionConfig as Letters

    gold, kinds = pair.gold, [Latex(), Expression()]
    if pair.kind == "choice":
        kinds = [Letters(strings=tuple("ABCDEFGHIJ"))]
    elif "$" not in gold and "box" not in gold:
        gold = f"${gold}$"
    parsed = (parse(text, kinds, parsing_timeout=None) for text in (gold, pair.text))
    return int(verify(*parsed, timeout_seconds=None))


def judge(pairs: Iterable[ExaminedPair]) -> list[ComparedPair]:
    """Both verdicts on each pair."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # math-verify warns that it has no time limit
    try:
        return [ComparedPair(pair, ours(pair), theirs(pair)) for pair in pairs]
    finally:
        logging.disable(before)


def shown(text: str) -> str:
    """A text as code in a cell of a Markdown table, with what cannot be seen written out."""
    text = text.replace("\n", "⏎").replace("|", "\\|")
    text = "".join(c if _visible(c) else f"⟨U+{ord(c):04X}⟩" for c in text)
    if not text:
        return "(empty)"
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _visible(char: str) -> bool:
    return char == " " or unicodedata.category(char)[0] not in "CZ"


def verdicts_table(rows: Iterable[ComparedPair]) -> str:
    """The pairs with both verdicts, and that of the first run where there was one."""
    rows = list(rows)
    first = [row.pair.first for row in rows]
    heads = ["kind", "gold", "text", "right", "ours", "math-verify", "who is right", "why"]
    lines = [
        [
            ", ".join(filter(None, (row.pair.kind, row.pair.wrapping))),
            *(shown(text) for text in (row.pair.gold, row.pair.text)),
            int(row.pair.right),
            *(_marked(verdict, row.pair.right) for verdict in (row.ours, row.theirs)),
            row.better,
            row.pair.why,
        ]
        for row in rows
    ]
    if None not in first:
        heads.insert(4, "first run")
        for line, row in zip(lines, rows, strict=True):
            line.insert(4, _marked(row.pair.first, row.pair.right))
    return markdown_table(heads, lines)


def _marked(verdict: int | None, right: int) -> str:
    return str(verdict) if verdict == right else f"**{verdict}**"


def blind_text(rows: Sequence[ComparedPair]) -> str:
    """The blind pairs' introduction, with what their first run gave."""
    wrong = [row.pair.first for row in rows if row.pair.first != row.pair.right]
    return BLIND.format(
        first=f"{len(rows) - len(wrong)} of {len(rows)} right",
        false_1=wrong.count(1),
        false_0=wrong.count(0),
        theirs=sum(row.theirs == row.pair.right for row in rows),
    )


def totals_table(title: str, parts: dict[str, Sequence[ComparedPair]]) -> str:
    """Right verdicts and wrong ones in both directions, a line for each part."""
    columns = ["right", "false 1", "false 0"]
    heads = [title, "pairs", *(f"{who}: {c}" for who in ("ours", "math-verify") for c in columns)]
    lines = []
    for name, rows in parts.items():
        counts: list[Any] = [name, len(rows)]
        for verdicts in ([r.ours for r in rows], [r.theirs for r in rows]):
            wrong = [v for v, row in zip(verdicts, rows, strict=True) if v != row.pair.right]
            counts += [len(rows) - len(wrong), wrong.count(1), wrong.count(0)]
        lines.append(counts)
    return markdown_table(heads, lines)


def by(rows: Iterable[ComparedPair], field: str) -> dict[str, list[ComparedPair]]:
    """The pairs by a field, in order of first appearance."""
    parts: dict[str, list[ComparedPair]] = {}
    for row in rows:
        parts.setdefault(getattr(row.pair, field), []).append(row)
    return parts


def differences(rows: Sequence[ComparedPair]) -> str:
    """Where the two differ and who is right, in a sentence."""
    better = [row.better for row in rows if row.better]
    return (
        f"The two differ on {len(better)} pairs: ours is right on {better.count('ours')}, "
        f"math-verify on {better.count('math-verify')}."
    )


def page() -> str:
    """docs/graders.md down to what is measured."""
    own, blind = judge(read_pairs("own")), judge(read_pairs("blind"))
    groups = by(own, "group")
    parts = [
        INTRODUCTION,
        totals_table("what is tried", groups | {"**all**": own}),
        "",
        totals_table("grader", by(own, "kind")),
        f"\n{differences(own)}\n",
    ]
    for name, rows in groups.items():
        parts += [f"## {name[0].upper()}{name[1:]}\n", verdicts_table(rows), ""]
    if blind:
        totals = totals_table("grader", by(blind, "kind") | {"**all**": blind})
        parts += [blind_text(blind), totals, f"\n{differences(blind)}\n", verdicts_table(blind), ""]
    return "\n".join(parts)


@dataclass(frozen=True)
class Seconds(BaseReward):
    """How long the accuracy reward takes over a completion, where it is judged."""

    needs_tokens = False

    def of(self, problem: Problem, completion: Completion, context: RewardContext) -> float:
        """Wall-clock seconds of one verdict."""
        start = time.perf_counter()
        accuracy()([problem], [completion], context)
        return time.perf_counter() - start


def measured() -> str:
    """How long a verdict takes in a warm worker, as a paragraph."""
    pairs = read_pairs("own") + read_pairs("blind")
    # The first pair of each kind warms the worker up, and is left out.
    first = {pair.kind: i for i, pair in reversed(list(enumerate(pairs)))}.values()
    order = [*first, *(i for i in range(len(pairs)) if i not in first)]
    problems = [pairs[i].problem for i in order]
    completions = [Completion.parse(pairs[i].text) for i in order]
    with RewardPool(workers=1) as pool:
        values, _ = pool.map(Seconds(), problems, completions, RewardContext())
    ms = 1e3 * np.array(values[len(first) :], float)
    where = f"{_processor()}, Python {platform.python_version()}, {datetime.date.today()}"
    return (
        f"{MEASURED}\n## Speed\n\nA verdict of ours in a warm worker takes "
        f"{np.median(ms):.2f} ms at the median, {np.quantile(ms, 0.95):.1f} ms at the 95th "
        f"percentile, {ms.max():.0f} ms at most ({len(ms)} pairs of this page, each once; "
        f"{where}).\n"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


@dataclass(frozen=True)
class Config:
    """Where the page goes."""

    out: str = "docs/graders.md"
    """File to write."""


def main(config: Config) -> None:
    """Writes the page."""
    Path(config.out).write_text(f"{page()}\n{measured()}", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
