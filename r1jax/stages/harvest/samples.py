"""Samples to learn from: draw, judge, rewrite, filter, balance, write; one batch of prompts a time.

What cold start and rejection sampling share. A generator gives completions, a judge says which are
right, a rewriter (where there is one) makes them readable, filters and balance choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

from r1jax.data.curation.filters import Filter, Text, first_reason, words
from r1jax.data.curation.streams import CurationFiles
from r1jax.data.problems.known import digest_of
from r1jax.data.rows import Row
from r1jax.errors import check_ranges
from r1jax.problem import Completion, Problem
from r1jax.rewards.language import language_of
from r1jax.rollout.policy import Policy
from r1jax.run.signals import keeping

Generator = Callable[[Sequence[Problem]], list[list[Completion | None]]]
"""Problems -> the completions of each; None: it was asked for and did not come."""
Judge = Callable[[Sequence[Problem], Sequence[Completion]], list[bool | None]]
"""Whether each completion answers its problem rightly; None: cannot be said."""
Rewriter = Callable[[Sequence[tuple[str, str]]], list[str | None]]
"""(question, text) of each completion -> a readable text, or None; the right answer is not told."""


@dataclass(frozen=True)
class BalanceConfig:
    """How much of one prompt, and of prompts without difficulty, is kept."""

    per_prompt: int = 4
    """Most samples kept of a prompt, those drawn first."""
    easy_share: float = 0.5
    """Of the prompts kept, the largest share whose every sample was right; 1: no limit."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(self, "--balance.", per_prompt="[1,]", easy_share="[0,1]")


@dataclass(frozen=True)
class Sample:
    """One completion of a problem with what is known of it.

    `source` is the text before it was rewritten, `anew` says that the text is no model's own,
    `reason` why it is dropped already.
    """

    problem: Problem
    completion: Completion
    right: bool | None
    source: str | None = None
    anew: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class Steps:
    """What is done with every batch; `layout` gives the columns that training reads."""

    judge: Judge
    rewrite: Rewriter | None
    filters: Sequence[Filter]
    balance: BalanceConfig
    layout: Callable[[Problem, str, bool], Row]
    tokens: Callable[[str], int]
    together: bool = True  # a batch is judged as one; else each problem is settled before the next


class Room:
    """Whether one more prompt may be kept whose every sample was right."""

    def __init__(self, share: float, prompts: Sequence[Row]) -> None:
        """Counts on from the prompts that are written already."""
        self.share = share
        self.kept = sum(p["kept"] > 0 for p in prompts)
        self.easy = sum(p["kept"] > 0 and p["easy"] for p in prompts)

    def for_easy(self) -> bool:
        """Whether the share would still hold with one more."""
        return self.easy + 1 <= self.share * (self.kept + 1)

    def count(self, easy: bool) -> None:
        """Takes note of a kept prompt."""
        self.kept += 1
        self.easy += easy


def harvest(
    steps: Steps,
    generate: Generator,
    problems: Sequence[Problem],
    streams: CurationFiles,
    batch: int,
    note: Callable[[str], Any],
) -> None:
    """Works off the problems that are not in the streams yet, in their order, each once.

    Every process generates; the first one judges and writes.
    """
    streams.check(problems)
    room = Room(steps.balance.easy_share, streams.prompts)
    with keeping(lambda: streams.left(len(problems))):
        for start in range(len(streams.prompts), len(problems), batch):
            part = problems[start : start + batch]
            drawn = generate(part)
            if jax.process_index() > 0:
                continue
            hand = len(part) if steps.together else 1
            for first in range(0, len(part), hand):
                asked = part[first : first + hand]
                found = judged(steps, asked, drawn[first : first + hand])
                for problem, samples in zip(asked, found, strict=True):
                    settle(steps, problem, samples, streams, room)
            streams.settle()
            kept = sum(p["kept"] for p in streams.prompts)
            note(f"{len(streams.prompts):,} of {len(problems):,} prompts, {kept:,} samples kept")


def judged(
    steps: Steps, problems: Sequence[Problem], drawn: Sequence[Sequence[Completion | None]]
) -> list[list[Sample]]:
    """The samples of each problem, judged, and rewritten where they are right."""
    asked = [(p, c) for p, group in zip(problems, drawn, strict=True) for c in group]
    came = [(p, c) for p, c in asked if c is not None]
    verdicts = iter(steps.judge([p for p, _ in came], [c for _, c in came]))
    samples = [
        Sample(p, Completion.parse(""), None, reason="no_reply")
        if c is None
        else Sample(p, c, next(verdicts))
        for p, c in asked
    ]
    if steps.rewrite:
        samples = rewritten(steps.rewrite, steps.judge, samples)
    in_order = iter(samples)
    return [[next(in_order) for _ in group] for group in drawn]


def rewritten(rewrite: Rewriter, judge: Judge, samples: Sequence[Sample]) -> list[Sample]:
    """The samples with the right ones rewritten, and judged once more."""
    places = [i for i, s in enumerate(samples) if s.right and _whole(s)]
    texts = rewrite([(samples[i].problem.question, samples[i].completion.text) for i in places])
    result = list(samples)
    changed: list[int] = []
    for i, text in zip(places, texts, strict=True):
        source = samples[i].completion.text
        if text is None:
            result[i] = replace(samples[i], source=source, reason="not_rewritten")
        else:
            new = Completion.parse(text)
            result[i] = replace(samples[i], source=source, anew=True, completion=new)
            changed.append(i)
    again = judge([result[i].problem for i in changed], [result[i].completion for i in changed])
    for i, right in zip(changed, again, strict=True):
        if not right:
            reason = "unjudged" if right is None else "rewritten_wrong"
            result[i] = replace(result[i], reason=reason)
    return result


def settle(
    steps: Steps, problem: Problem, samples: Sequence[Sample], streams: CurationFiles, room: Room
) -> None:
    """Decides on the samples of one prompt and writes them; its pass rate is of those judged."""
    verdicts = [s.right for s in samples if s.right is not None]
    right = sum(verdicts)
    easy = bool(verdicts) and all(verdicts)
    reasons = decide(samples, steps.filters, steps.balance.per_prompt, room.for_easy() or not easy)
    rate = right / len(verdicts) if verdicts else None
    kept, dropped = [], []
    for number, (sample, reason) in enumerate(zip(samples, reasons, strict=True)):
        text = sample.completion.text
        row: dict[str, Any] = {"id": problem.id, "sample": number, "pass_rate": rate}
        if reason is not None:
            dropped.append(row | {"reason": reason, "question": problem.question, "text": text})
            continue
        thought = Text.of(problem.question, text).thought
        row |= {"question": problem.question, "gold": problem.answer, "grader": problem.grader}
        row |= steps.layout(problem, text, sample.anew)
        row |= {"tokens": steps.tokens(text), "words": words(thought)}
        row |= {"language": language_of(thought or text)}
        kept.append(row if sample.source is None else row | {"source": sample.source})
    if kept:
        room.count(easy)
    facts = {
        "id": problem.id,
        "problem": digest_of(problem),
        "samples": len(samples),
        "right": right,
        "pass_rate": rate,
    }
    streams.add(facts | {"easy": easy, "kept": len(kept)}, kept, dropped)


def decide(
    samples: Sequence[Sample], filters: Sequence[Filter], most: int, wanted: bool
) -> list[str | None]:
    """Why each sample of a prompt is dropped, None for those kept.

    In this order: what is known already, `truncated`, `empty`, `unjudged`, `wrong`, the filters',
    `duplicate` of an earlier text, `easy` where the prompt is not `wanted`, `enough` beyond `most`.
    """
    reasons: list[str | None] = []
    seen: set[str] = set()
    kept = 0
    for sample in samples:
        text = sample.completion.text
        reason = _unfit(sample) or first_reason(filters, Text.of(sample.problem.question, text))
        if reason is None:
            fit = "enough" if kept >= most else None
            reason = "duplicate" if text in seen else fit if wanted else "easy"
            seen.add(text)
        kept += reason is None
        reasons.append(reason)
    return reasons


def _unfit(sample: Sample) -> str | None:
    if sample.reason:
        return sample.reason
    if not _whole(sample):
        return "truncated"
    if not sample.completion.text.strip():
        return "empty"
    return {None: "unjudged", False: "wrong", True: None}[sample.right]


def _whole(sample: Sample) -> bool:
    return sample.completion.finish_reason != "length"


def training_layout(policy: Policy) -> Callable[[Problem, str, bool], Row]:
    """The columns that supervised training reads: messages for a chat template, else a pair.

    A text that was written anew gets a space before it where the prompt does not end in one.
    """
    prefill = policy.template.prefill

    def layout(problem: Problem, text: str, anew: bool) -> Row:
        if policy.template.chat:
            system = [{"role": "system", "content": policy.system}] if policy.system else []
            asked = {"role": "user", "content": policy.template.fill(problem.question)}
            return {"messages": [*system, asked, {"role": "assistant", "content": text}]}
        prompt = policy.prompt_text(problem)
        opened = prefill.strip()
        if anew and opened and text.lstrip().startswith(opened):
            text = text.lstrip()[len(opened) :]
        elif anew and not prompt[-1:].isspace():
            text = f" {text.lstrip()}"
        elif not anew:
            text = text.removeprefix(prefill)
        return {"prompt": prompt, "completion": text}

    return layout
