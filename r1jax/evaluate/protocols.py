"""Published evaluations by name: what is asked, how the answer is read, how many samples.

A protocol is a preset of the command's flags with three things beside: the words around a question,
where a reply's answer stands, and which rows count. What departs from it is said with every number.
Sources: huggingface/lighteval (AIME, GPQA), openai/simple-evals (GSM8K with the English prompt of
MGSM, multiple choice, HumanEval),
WildEval/ZeroEval (MMLU-Redux), LiveCodeBench, google-research's IFEval; samples as in open-r1.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from r1jax.data.problems.choices import LETTERS, lettered
from r1jax.data.problems.layouts import Layout
from r1jax.errors import UserError
from r1jax.evaluate.measures import Evaluation
from r1jax.problem import Completion, Problem
from r1jax.rewards.answers.extract import extract
from r1jax.rewards.answers.instructions import followed
from r1jax.rewards.answers.wrapped import after_thought

_LETTER = re.compile(r"(?i)Answer[ \t]*:[ \t]*\$?\(?([A-J])(?![A-Za-z])")
_FIELD = re.compile(r'(?i)"answer"\s*:\s*"?\(?([A-J])(?![A-Za-z])')

MATH = (
    "Solve the following math problem efficiently and clearly. The last line of your response "
    "should be of the following format: 'Therefore, the final answer is: $\\boxed{ANSWER}$. I hope "
    "it is correct' (without quotes) where ANSWER is just the final number or expression that "
    "solves the problem. Think step by step before answering.\n\n{question}"
)
GSM8K = (
    "Solve this math problem. Give the reasoning steps before giving the final answer on the last "
    'line by itself in the format of "Answer:". Do not add anything other than the integer answer '
    'after "Answer:".\n\n{question}'
)
CHOICE = (
    "Answer the following multiple choice question. The last line of your response should be of "
    "the following format: 'Answer: $LETTER' (without quotes) where LETTER is one of {letters}. "
    "Think step by step before answering.\n\n{question}\n\n{options}"
)
REDUX = (
    "## Question:\n\n{question}\n\n## Choices:\n\n{options}\n\n## Instruction\n\nPlease answer "
    "this question by first reasoning and then selecting the correct choice.\nPresent your "
    "reasoning and solution in the following json format.\nPlease show your choice in the `answer` "
    'field with only the choice letter, e.g., `"answer": "C"`.\n\n```json\n{\n    "reasoning": '
    '"___",\n    "answer": "___"\n}\n```'
)
HUMANEVAL = (
    "Read the following function signature and docstring, and fully implement the function "
    "described. Your response should only contain the code for this function.\n\n{question}"
)
MBPP = "You are an expert Python programmer, and here is your task: {question}"
# What LiveCodeBench puts before every program, so that none fails for an import it left out.
PRELUDE = (
    "from string import *\nfrom re import *\nfrom datetime import *\nfrom collections import *\n"
    "from heapq import *\nfrom bisect import *\nfrom copy import *\nfrom math import *\n"
    "from random import *\nfrom statistics import *\nfrom itertools import *\n"
    "from functools import *\nfrom operator import *\nfrom io import *\nfrom sys import *\n"
    "from json import *\nfrom builtins import *\nfrom typing import *\nimport string\nimport re\n"
    "import datetime\nimport collections\nimport heapq\nimport bisect\nimport copy\nimport math\n"
    "import random\nimport statistics\nimport itertools\nimport functools\nimport operator\n"
    "import io\nimport sys\nimport json\n"
)

Read = Callable[[Problem, Completion], str | None]


def _stated(problem: Problem, completion: Completion) -> str | None:
    """The answer as rewards find it: after the thought, where it is said or boxed, else last."""
    return extract(completion.text, "auto", problem)


def _last(pattern: re.Pattern[str]) -> Read:
    def read(problem: Problem, completion: Completion) -> str | None:
        text = re.sub(r"[*_`]", "", after_thought(completion.text))
        return next((m.upper() for m in reversed(pattern.findall(text))), None)

    return read


def _with_imports(problem: Problem, completion: Completion) -> str | None:
    found = _stated(problem, completion)
    return f"```python\n{PRELUDE}\n{found}\n```" if found and found.strip() else None


@dataclass(frozen=True)
class Protocol:
    """One published evaluation.

    `prompt` holds {question}, and {options} with one line for each, written as `option`; `source`
    is its home at Hugging Face, empty where rows come from files alone; `rows` is how many there
    are; `shuffled` says that the options' order is drawn, from seed and id.
    """

    name: str
    layout: Layout
    rows: int
    samples: int
    prompt: str
    how: str
    read: Read = _stated
    source: str = ""
    option: str = "{letter}) {text}"
    shuffled: bool = False
    dates: tuple[str, str] | None = None

    def asked(self, problem: Problem, seed: int) -> Problem:
        """The problem as it is put to the model."""
        options = problem.metadata.get("options")
        if problem.grader != "choice" or not options:  # a column of another row may be called so
            return replace(problem, question=self.prompt.replace("{question}", problem.question))
        question = problem.question.removesuffix(lettered("", options))
        order = list(range(len(options)))
        if self.shuffled:
            random.Random(f"{self.name} {seed} {problem.id}").shuffle(order)
        texts = [options[i] for i in order]
        letters = LETTERS[: len(texts)]
        lines = [
            self.option.replace("{letter}", letter).replace("{text}", text)
            for letter, text in zip(letters, texts, strict=True)
        ]
        # Options last: what a row says is never taken for a place to fill.
        text = self.prompt.replace("{letters}", letters)
        before, _, after = text.partition("{question}")
        middle, _, end = after.partition("{options}")
        return replace(
            problem,
            question=before + question + middle + "\n".join(lines) + end,
            answer=letters[order.index(LETTERS.index(problem.answer))],
            metadata=dict(problem.metadata) | {"options": texts},
        )

    def counts(self, problem: Problem) -> bool:
        """Whether a row belongs to it: no faulty question, no contest outside its dates."""
        data = problem.metadata
        if self.name == "mmlu-redux" and data.get("error_type", "ok") != "ok":
            return False
        day = str(data.get("contest_date", ""))[:10]
        return not self.dates or self.dates[0] <= day <= self.dates[1]


_BOX = "the answer that is said or boxed after the thought, else the last; by rules, no model"
_LINE = "the last 'Answer: X' after the thought"
_CODE = "the last block of Python after the thought; all tests must pass"

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("aime24", "aime", 30, 64, MATH, _BOX, source="hf:HuggingFaceH4/aime_2024"),
        Protocol("aime25", "aime", 30, 64, MATH, _BOX, source="hf:yentinglin/aime_2025"),
        Protocol(
            "math500", "plain", 500, 4, MATH, _BOX, source="hf:HuggingFaceH4/MATH-500?split=test"
        ),
        Protocol(
            "gsm8k", "gsm8k", 1319, 1, GSM8K, _BOX,
            source="hf:openai/gsm8k?config=main&split=test",
        ),
        Protocol(
            "gpqa", "gpqa", 198, 8, CHOICE, _LINE, _last(_LETTER),
            "hf:Idavidrein/gpqa?config=gpqa_diamond", shuffled=True,
        ),
        Protocol(
            "mmlu", "choice", 14042, 1, CHOICE, _LINE, _last(_LETTER),
            "hf:cais/mmlu?config=all&split=test",
        ),
        Protocol(
            "mmlu-redux", "choice", 5700, 1, REDUX,
            'the last "answer": "X" after the thought; rows whose error_type is not ok are left '
            "out", _last(_FIELD), option="- ({letter}) {text}",
        ),
        Protocol(
            "ifeval", "ifeval", 541, 1, "{question}",
            "all that follows the thought; pass@1 asks for all instructions of a prompt, strictly",
            source="hf:google/IFEval",
        ),
        Protocol(
            "humaneval", "humaneval", 164, 1, HUMANEVAL, _CODE,
            source="hf:openai/openai_humaneval?split=test",
        ),
        Protocol(
            "mbpp", "mbpp", 257, 1, MBPP, _CODE,
            source="hf:google-research-datasets/mbpp?config=sanitized&split=test",
        ),
        Protocol(
            "livecodebench", "livecodebench", 0, 16, "{question}", _CODE, _with_imports,
            dates=("2024-08-01", "2025-01-31"),
        ),
    )
}  # fmt: skip


def find(name: str) -> Protocol:
    """The protocol of a name; UserError where there is none."""
    if name not in PROTOCOLS:
        raise UserError(f"--protocol {name}: no such protocol; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def prepared(protocol: Protocol, problems: Sequence[Problem], seed: int) -> list[Problem]:
    """The rows that count, as they are put to the model; UserError where none is left."""
    kept = [protocol.asked(problem, seed) for problem in problems if protocol.counts(problem)]
    if not kept:
        raise UserError(
            f"--protocol {protocol.name}: none of {len(problems)} rows counts ({protocol.how}"
            f"{'; contests of ' + ' to '.join(protocol.dates) if protocol.dates else ''})"
        )
    return kept


def described(
    protocol: Protocol, departures: Sequence[str], rows: int, left_out: int, seed: int
) -> dict[str, Any]:
    """What stands beside every number: the protocol, and what this evaluation did otherwise."""
    other = list(departures)
    if protocol.rows and rows + left_out != protocol.rows:
        other.append(f"rows: {protocol.rows} -> {rows + left_out}")
    return {
        "name": protocol.name, "prompt": protocol.prompt, "answer": protocol.how,
        "samples": protocol.samples, "option_order": f"seed {seed} and id" if protocol.shuffled
        else "as in the data", "contests": protocol.dates, "rows": rows, "left_out": left_out,
        "departures": other,
    }  # fmt: skip


def line_of(said: Mapping[str, Any]) -> str:
    """A described protocol in one line."""
    parts = [f"protocol {said['name']}: answer: {said['answer']}"]
    parts += [f"contests of {' to '.join(said['contests'])}"] if said["contests"] else []
    parts += [f"{said['left_out']} rows left out"] if said["left_out"] else []
    departs = "; ".join(said["departures"])
    return "; ".join([*parts, f"departs from it in {departs}" if departs else "as published here"])


def instruction_measures(evaluation: Evaluation) -> dict[str, float]:
    """IFEval's four numbers: by prompt and by instruction, strictly and loosely.

    A reply that the token limit cut follows nothing.
    """
    found: dict[str, list[bool]] = {
        f"{by}_{how}": [] for by in ("prompt", "instruction") for how in ("strict", "loose")
    }
    for problem, samples in zip(evaluation.problems, evaluation.judged, strict=True):
        for judged in samples:
            reply = "" if judged.truncated else after_thought(judged.completion.text).strip()
            for how in ("strict", "loose"):
                each = followed(problem, reply, loose=how == "loose")
                found[f"prompt_{how}"].append(all(each))
                found[f"instruction_{how}"] += each
    return {name: sum(values) / len(values) for name, values in found.items()}
