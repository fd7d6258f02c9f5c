"""Judged responses: rows of a file as pairs (chosen, rejected) or as responses with a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from r1jax.data.examples.conversations import (
    PROMPTS,
    READERS,
    Chat,
    ConversationConfig,
    Pair,
    check_flags,
)
from r1jax.data.examples.messages import (
    SYSTEMS,
    THOUGHTS,
    Unfit,
    column_of,
    is_empty,
    read_messages,
    refuse_thought,
    refuse_tools,
)
from r1jax.data.rows import Row, is_blank, open_rows
from r1jax.errors import UserError

Feedback = Literal["pairwise", "pointwise"]
"""What a row says: which of two responses is better, or whether one is right."""
JudgeKind = Literal["pairwise", "pointwise", "process"]
"""What a reward model learns from: whole responses, or the steps of one."""
View = Literal["summary", "whole"]
PROMPT_COLUMNS = (*PROMPTS, "conversations", "messages")
RESPONSE_COLUMNS = ("response", "completion", "answer")
CHOICES = ("chosen", "rejected")
LABELS = {
    "safe": 1.0, "1": 1.0, "1.0": 1.0, "true": 1.0,
    "unsafe": 0.0, "0": 0.0, "0.0": 0.0, "false": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class PreferenceSettings:
    """How judged responses are read, and which are tested on."""

    eval: tuple[str, ...] = ()
    """Sources to be tested on, each reported apart."""
    eval_count: int = 0
    """Without --data.eval: pairs (or responses) held out of the training data, by whole prompts;
    0: none."""
    view: Literal["auto", "summary", "whole"] = "auto"
    """What of a response is judged: summary (what follows </think>), whole (the thought too), auto
    (a reward model's summary for pairs and whole for labels, as DeepSeek-R1's; DPO's whole)."""
    prompt_column: str | None = None
    """Column of the prompt; None takes the first of prompt, question, problem, conversations,
    messages."""
    template: str = ""
    """Template around a prompt that is text (r1_zero, mini, ..., or chat: the tokenizer's own);
    empty: the prompt as it stands. Messages always take the tokenizer's own."""
    system: str = ""
    """System message of chats that have none."""
    too_long: Literal["error", "drop"] = "error"
    """What becomes of a pair (both responses, each with its prompt) or a response longer than
    --train.width: stop, or leave it out."""

    def __post_init__(self) -> None:
        """Raises UserError when the values do not fit together."""
        check_flags(self.template, self.eval, self.eval_count)


@dataclass(frozen=True)
class PreferenceConfig(PreferenceSettings):
    """Judged responses to learn from, and to be tested on.

    A source is the path of a .jsonl or .parquet file (`?column=value` keeps some of its rows), or
    `hf:OWNER/NAME?split=train&config=main`. A prompt is text or a list of messages (role, content,
    or ShareGPT's from, value), a response text, a message, or a list of messages that ends in it.
    """

    train: tuple[str, ...] = ()
    """Sources to learn from: FILE.jsonl|.parquet, hf:OWNER/NAME?split=train."""


@dataclass(frozen=True)
class JudgedRow:
    """A prompt with its judged responses: chosen then rejected, or one with its label."""

    responses: tuple[Pair | Chat, ...]
    label: float = 1.0  # of a single response: 1 safe, 0 unsafe


def read_judged(
    source: str,
    config: PreferenceConfig,
    kind: Feedback,
    view: View,
    unfit: list[str] | None = None,
) -> Iterator[tuple[str, JudgedRow]]:
    """(place, row) of every row of `source`, in order.

    A row with an empty response (or prompt, or label) is left out; which and why is added to
    `unfit`. Raises UserError naming file, line and column: a missing column, a value of another
    kind, a label that is none, messages that are no conversation.
    """
    unit, rows = open_rows(source)
    reader = {"pairwise": _pair, "pointwise": _labelled}[kind]
    number = 0
    for number, row in rows:
        where = f"{source}, {unit} {number}"
        try:
            judged = reader(row, where, config, view)
        except Unfit as why:
            if unfit is not None:
                unfit.append(f"{unit} {number} ({why})")
            continue
        yield where, judged
    if not number:
        raise UserError(f"{source}: is empty; expected one row per {unit}")


def summary(text: str) -> str:
    """What follows the thought: the text after </think>, or all of it where no thought is opened.

    A thought that is never closed leaves nothing.
    """
    thought, closed, rest = text.partition("</think>")
    if closed:
        return rest.strip()
    return "" if "<think>" in thought else text.strip()


def seen(text: str, view: View) -> str:
    """The part of a response that is judged."""
    return summary(text) if view == "summary" else text


def _pair(row: Row, where: str, config: PreferenceConfig, view: View) -> JudgedRow:
    responses = [_response(column_of(row, where, name), where, name) for name in CHOICES]
    for name in CHOICES:
        if apart := next((k for k in THOUGHTS if not is_empty(row.get(f"{name}_{k}"))), None):
            raise UserError(
                f"{where}: column {name}_{apart} would be lost; write it into column {name} (a "
                "thought as <think>...</think>)"
            )
    prompts = [_context(row, where, config, before) for before, _ in responses if before]
    if not prompts or _asked(row, config) and len(prompts) == 1:
        prompts.append(_context(row, where, config, []))
    if _told(prompts[0]) != _told(prompts[-1]):
        raise UserError(f"{where}: the messages before chosen and before rejected differ")
    prompt = prompts[0]
    return JudgedRow(
        tuple(
            _conversation(row, prompt, text, where, name, config, view)
            for name, (_, text) in zip(CHOICES, responses, strict=True)
        )
    )


def _labelled(row: Row, where: str, config: PreferenceConfig, view: View) -> JudgedRow:
    name = next((n for n in RESPONSE_COLUMNS if row.get(n) is not None), RESPONSE_COLUMNS[0])
    before, text = _response(column_of(row, where, name), where, name)
    label = str(column_of(row, where, "label")).strip().lower()
    if label not in LABELS:
        raise UserError(f"{where}, column label: {row['label']!r}; expected safe, unsafe, 1 or 0")
    prompt = _context(row, where, config, before)
    if view == "whole" and "<think>" not in text:
        refuse_thought(row, where, f"write it into column {name}")
    return JudgedRow((_conversation(row, prompt, text, where, name, config, view),), LABELS[label])


def _prompt(row: Row, where: str, config: PreferenceConfig) -> str | list[dict[str, Any]]:
    names = (config.prompt_column,) if config.prompt_column else PROMPT_COLUMNS
    prompt = column_of(row, where, *names)
    if isinstance(prompt, str):
        return prompt
    return read_messages(prompt, where, next(n for n in names if row.get(n) is not None))


def _asked(row: Row, config: PreferenceConfig) -> bool:
    names = (config.prompt_column,) if config.prompt_column else PROMPT_COLUMNS[:-1]
    return not all(is_empty(row.get(name)) for name in names)


def _context(
    row: Row, where: str, config: PreferenceConfig, before: list[dict[str, Any]]
) -> str | list[dict[str, Any]]:
    """What a response answers: the prompt, and the messages that come with the response.

    Those may repeat the prompt or go on from it. Raises UserError where they begin otherwise.
    """
    refuse_tools(row, where, "take it out")
    if before and not _asked(row, config):
        return before
    prompt = _prompt(row, where, config)
    if not before:
        return prompt
    if before[0]["role"] == "assistant":
        first = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return first + before
    told, begun = _told(prompt), _told(before)
    if all(role != "system" for role, _ in told):
        begun = [turn for turn in begun if turn[0] != "system"]
    if begun[: len(told)] != told and not (isinstance(prompt, str) and told[0] in begun):
        raise UserError(f"{where}: the prompt is not what stands before the response; take one out")
    return before


def _told(prompt: str | list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(role, content) of a prompt's messages, spaces at their ends aside."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return [(message["role"], message["content"].strip()) for message in messages]


def _response(value: Any, where: str, column: str) -> tuple[list[dict[str, Any]], str]:
    """(messages before the response, where it comes with them; its text)."""
    if isinstance(value, str):
        return [], value
    *before, last = read_messages([value] if isinstance(value, Mapping) else value, where, column)
    if last["role"] != "assistant":
        raise UserError(f"{where}, column {column}: expected text, or a message of the assistant's")
    return before, last["content"]


def _conversation(
    row: Row,
    prompt: str | list[dict[str, Any]],
    text: str,
    where: str,
    column: str,
    config: PreferenceConfig,
    view: View,
) -> Pair | Chat:
    """The prompt with what is judged of one response, checked as supervised examples are."""
    judged = seen(text, view)
    if is_blank(judged):
        after = " after </think>" if text.strip() else ""
        raise Unfit(f"column {column} is empty{after}")
    like = ConversationConfig(template=config.template, system=config.system, turns="last")
    system = {name: row[name] for name in SYSTEMS if name in row}
    whole = isinstance(prompt, str)
    completion = judged if whole else [{"role": "assistant", "content": judged}]
    return READERS["pairs"]({"prompt": prompt, "completion": completion} | system, where, like)
