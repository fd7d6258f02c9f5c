"""Who says whether a sample is right: the graders of problems, or a model behind an endpoint."""

from __future__ import annotations

from collections.abc import Sequence

from r1jax.data.curation.filters import Text
from r1jax.endpoint import ChatRequest, Endpoint, judge_messages, mark_of, parse_verdict
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import Accuracy, RewardPool
from r1jax.stages.harvest.samples import Judge

JUDGED_CHARACTERS = 4000
"""The end of a completion without a summary that a judge gets to see."""


def rule_judge(reward: Accuracy, pool: RewardPool) -> Judge:
    """Judges by each problem's grader, as the accuracy reward does."""

    def judge(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[bool | None]:
        values, _ = pool.map(reward, problems, completions, RewardContext(), "accuracy")
        return [None if value is None else value == 1.0 for value in values]

    return judge


def endpoint_judge(endpoint: Endpoint) -> Judge:
    """A model compares with the reference answer (paper, supplement, Listing 4).

    It sees what follows the thought; a completion that was cut is wrong unasked.
    """

    def judge(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[bool | None]:
        places = [i for i, c in enumerate(completions) if c.finish_reason != "length"]
        asked = [(problems[i].question, problems[i].answer, _told(completions[i])) for i in places]
        replies = endpoint.chat([ChatRequest(judge_messages(*texts)) for texts in asked])
        verdicts: list[bool | None] = [False] * len(completions)
        for i, texts, reply in zip(places, asked, replies, strict=True):
            verdicts[i] = parse_verdict(reply, mark_of(*texts))
        return verdicts

    return judge


def _told(completion: Completion) -> str:
    summary = Text.of("", completion.text).summary
    return summary or completion.text[-JUDGED_CHARACTERS:]
