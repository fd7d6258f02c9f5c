"""Judging a policy: pass@1 over several samples, majority votes, pass@k, intervals, tables.

Completions are read as `r1jax.evaluate.reading` describes; accuracy without further word is the
lenient one. Imports no jax: whoever owns the engine hands in the sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1jax.errors import UserError, check_ranges
from r1jax.evaluate.reading import Grader, Judged, judge
from r1jax.evaluate.statistics import (
    bootstrap_interval,
    mixes_languages,
    pass_at_k,
    powers_of_two,
    reflection_count,
    vote,
)
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards.answers.graders import UNRULED
from r1jax.rewards.language import language_consistency, thought_words
from r1jax.rewards.sandbox import SandboxConfig
from r1jax.rewards.workers.pool import RewardPool
from r1jax.rollout.knobs import Sampling

Sampler = Callable[[Sequence[Problem], int, Sampling, int], list[list[Completion]]]
"""(problems, samples, how they are drawn, seed) -> the samples of each problem."""
GREEDY = Sampling(temperature=0.0)


@dataclass(frozen=True)
class EvalConfig:
    """How a policy is judged: the paper's protocol by default (16 samples, T 0.6, top-p 0.95)."""

    samples: int = 16
    """Completions drawn for each problem; pass@1 is their mean."""
    temperature: float = 0.6
    """Sampling temperature."""
    top_p: float = 0.95
    """Nucleus of the sampling distribution."""
    greedy: bool = True
    """Also draw one completion at temperature 0."""
    max_tokens: int = 0
    """Longest completion in tokens; 0: the rollout's limit."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(
            self, "--eval.", samples="[1,]", temperature="[0,]", top_p="(0,1]", max_tokens="[0,]"
        )

    @property
    def sampling(self) -> Sampling:
        """How the samples are drawn."""
        return Sampling(self.temperature, self.top_p)


@dataclass(frozen=True)
class Evaluation:
    """The record (JSON) of one set, and the judged completions behind it.

    `judged[i]` are the samples of `problems[i]`, `greedy[i]` is its greedy completion; `greedy` is
    empty when none was drawn. `lost` answers could not be graded within the pool's limits and count
    as wrong.
    """

    record: dict[str, Any]
    problems: tuple[Problem, ...]
    judged: tuple[tuple[Judged, ...], ...]
    greedy: tuple[Judged, ...]
    lost: int = 0


def evaluate(
    problems: Sequence[Problem],
    sampler: Sampler,
    config: EvalConfig,
    pool: RewardPool | None = None,
    set_name: str = "eval",
    seed: int = 0,
    fields: Sequence[str] = ("family", "language"),
    sandbox: SandboxConfig | None = None,
    read: Callable[[Problem, Completion], str | None] | None = None,
) -> Evaluation:
    """Draws and judges completions; `fields` are the metadata that get a table of their own.

    `read` finds the answer of a completion, where a protocol says how.

    Without a `pool` answers are graded in this process, which a hostile one can hang; programs run
    within the limits of `sandbox`. Raises UserError for an empty set, an id that occurs twice, an
    unknown grader, and programs that cannot be isolated.
    """
    problems = tuple(problems)
    if not problems:
        raise UserError(f"evaluation set {set_name!r} is empty; name one with problems")
    if any(problem.grader == UNRULED for problem in problems):
        raise UserError(
            f"evaluation set {set_name!r} holds problems of grader {UNRULED}, which no rule "
            "judges; leave them out"
        )
    if len({problem.id for problem in problems}) < len(problems):
        raise UserError(f"evaluation set {set_name!r} holds a problem id twice; ids must differ")
    drawn = sampler(problems, config.samples, config.sampling, seed)
    grader = Grader(pool, sandbox=sandbox or SandboxConfig(), read=read)
    judged = judge(problems, drawn, grader)
    greedy: list[Judged] = []
    if config.greedy:
        drawn = sampler(problems, 1, GREEDY, seed)
        greedy = [samples[0] for samples in judge(problems, drawn, grader)]
    record = {
        "set": set_name,
        "problems": len(problems),
        "samples": config.samples,
        "temperature": config.temperature,
        "top_p": config.top_p,
        **measures(problems, judged),
        "pass_at_1_greedy": _mean(j.lenient for j in greedy),
        "by": {name: table for name in fields if (table := _table(name, problems, judged))},
        "per_problem": [
            {
                "id": problem.id,
                "correct": _mean(j.lenient for j in samples),
                "strict": _mean(j.strict for j in samples),
            }
            for problem, samples in zip(problems, judged, strict=True)
        ],
    }
    return Evaluation(record, problems, tuple(map(tuple, judged)), tuple(greedy), grader.lost)


def measures(problems: Sequence[Problem], judged: Sequence[Sequence[Judged]]) -> dict[str, Any]:
    """The numbers of a set of problems with the same number of samples each; accuracy is lenient.

    Lengths are in tokens; a length of no completion at all is None. Language consistency is the
    mean of the reward of that name, with the question's own language as target (paper, eq. 7).
    """
    every = [j for samples in judged for j in samples]
    language = language_consistency()
    consistent = [
        language.of(problem, j.completion, RewardContext())
        for problem, samples in zip(problems, judged, strict=True)
        for j in samples
    ]
    k = len(judged[0])
    correct = [sum(j.lenient for j in samples) for samples in judged]
    passes = {n: _mean(pass_at_k(k, c, n) for c in correct) for n in powers_of_two(k)}
    tokens = max(1, sum(j.length for j in every))
    texts = [j.completion.text for j in every]
    return {
        "pass_at_1": _mean(j.lenient for j in every),
        "pass_at_1_ci": list(bootstrap_interval([c / k for c in correct])),
        "pass_at_1_strict": _mean(j.strict for j in every),
        f"cons_at_{k}": _mean(_majority(samples) for samples in judged),
        "pass_at": {str(n): value for n, value in passes.items()},
        f"pass_at_{k}": passes[k],
        "format": _mean(j.format for j in every),
        "length_mean": _mean(j.length for j in every),
        "length_mean_correct": _mean(j.length for j in every if j.lenient),
        "length_mean_wrong": _mean(j.length for j in every if not j.lenient),
        "truncated": _mean(j.truncated for j in every),
        "reflection_per_1k": 1000 * sum(map(reflection_count, texts)) / tokens,
        "reflection_zh_per_1k": 1000 * sum(reflection_count(t, "zh") for t in texts) / tokens,
        "mixed": _mean(mixes_languages(_thought(j.completion)) for j in every),
        "language_consistency": _mean(consistent),
        "thought_words_mean": _mean(thought_words(j.completion).total() for j in every),
    }


def paired_gain(
    before: Mapping[str, Any], after: Mapping[str, Any], resamples: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """Difference of two records' pass@1 on the same problems, with its paired 95 % interval.

    Raises UserError where the records do not hold the same problem ids.
    """
    old = {row["id"]: row["correct"] for row in before["per_problem"]}
    new = {row["id"]: row["correct"] for row in after["per_problem"]}
    if old.keys() != new.keys():
        raise UserError(
            f"evaluations of {before['set']!r} and {after['set']!r} judge different problems "
            f"({len(old.keys() ^ new.keys())} ids in one only); a gain needs the same set"
        )
    differences = [new[name] - old[name] for name in old]
    return {
        "gain": _mean(differences),
        "ci": list(bootstrap_interval(differences, resamples, seed)),
    }


def completions_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One JSON row for each completion; `sample` counts from 0, the greedy one is "greedy"."""
    greedy = evaluation.greedy or (None,) * len(evaluation.problems)
    return [
        {
            "set": evaluation.record["set"],
            "id": problem.id,
            "question": problem.question,
            "gold": problem.answer,
            "sample": sample,
            "text": j.completion.text,
            "extracted": j.lenient_answer,
            "extracted_strict": j.strict_answer,
            "lenient": j.lenient,
            "strict": j.strict,
            "length": j.length,
            "finish_reason": j.completion.finish_reason,
        }
        for problem, samples, best in zip(
            evaluation.problems, evaluation.judged, greedy, strict=True
        )
        for sample, j in [*enumerate(samples), *([("greedy", best)] if best else [])]
    ]


def transcripts(evaluation: Evaluation, count: int = 12) -> list[dict[str, Any]]:
    """The first sample of each of the first problems, and whether it is right."""
    pairs = list(zip(evaluation.problems, evaluation.judged, strict=True))[:count]
    return [
        transcript(problem, samples[0].completion.text, samples[0].lenient)
        for problem, samples in pairs
    ]


def transcript(problem: Problem, text: str, correct: bool | None) -> dict[str, Any]:
    """A reply beside its question and answer; no answer where no rule judges."""
    fields = {name: problem.metadata.get(name, "") for name in ("family", "language")}
    answer = "" if problem.grader == UNRULED else problem.answer
    return {"question": problem.question, "answer": answer, **fields, "text": text,
            "correct": correct}  # fmt: skip


def _majority(samples: Sequence[Judged]) -> float:
    return vote([j.vote for j in samples], [j.lenient for j in samples])


def _table(
    field: str, problems: Sequence[Problem], judged: Sequence[Sequence[Judged]]
) -> dict[str, dict[str, Any]]:
    """Measures of the problems that share a value of the metadata `field`, by value."""
    groups: dict[str, list[tuple[Problem, Sequence[Judged]]]] = {}
    for problem, samples in zip(problems, judged, strict=True):
        if field in problem.metadata:
            groups.setdefault(str(problem.metadata[field]), []).append((problem, samples))
    k = len(judged[0])
    shown = ("pass_at_1", "pass_at_1_strict", f"cons_at_{k}", "format", "length_mean", "truncated",
             "language_consistency")  # fmt: skip
    by_value = {
        value: measures(*zip(*group, strict=True)) for value, group in sorted(groups.items())
    }
    return {
        value: {"problems": len(groups[value])} | {key: numbers[key] for key in shown}
        for value, numbers in by_value.items()
    }


def _thought(completion: Completion) -> str:
    """The thought, or, where no tag marks one, what stands before the answer."""
    if completion.thought is not None:
        return completion.thought
    return completion.text.partition("<answer>")[0]


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return sum(values) / len(values) if values else None
