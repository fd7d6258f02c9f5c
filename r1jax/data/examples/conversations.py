"""What supervised training reads: rows of a file as prompts with completions, chats or texts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from r1jax.data.examples.messages import (
    Unfit,
    column_of,
    is_empty,
    led,
    read_messages,
    refuse_thought,
    refuse_tools,
    system_of,
    text,
)
from r1jax.data.rows import Row, is_blank, open_rows
from r1jax.data.templates import TEMPLATES, check_template
from r1jax.errors import UserError

ConversationLayout = Literal["auto", "pairs", "messages", "sharegpt", "text"]
PROMPTS = ("prompt", "question", "problem")
COMPLETIONS = ("completion", "response", "solution", "answer")


@dataclass(frozen=True)
class ConversationSettings:
    """How examples are read, and which are judged by their loss."""

    eval: tuple[str, ...] = ()
    """Sources whose loss is measured, each reported apart."""
    eval_count: int = 0
    """Without --data.eval: examples held out of the training data (a few more where several share
    their prompt, which stay together); 0: none."""
    layout: ConversationLayout = "auto"
    """What the columns hold; auto goes by the first row: pairs (prompt and completion, as text or
    as lists of messages), messages (role, content), sharegpt (conversations of from, value), text
    (all of it is learnt)."""
    prompt_column: str | None = None
    """Column of the prompt in pairs; None takes the first of prompt, question, problem."""
    completion_column: str | None = None
    """Column of the completion; None: the first of completion, response, solution, answer."""
    template: str = ""
    """Template around a prompt that is text (r1_zero, mini, ..., or chat: the tokenizer's own);
    empty: the prompt as it stands. Messages always take the tokenizer's own."""
    system: str = ""
    """System message of chats that have none."""
    turns: Literal["all", "last"] = "all"
    """Assistant turns of a chat that are learnt."""
    too_long: Literal["error", "drop", "truncate"] = "error"
    """What becomes of an example longer than --train.width: stop, leave it out, or cut its end."""

    def __post_init__(self) -> None:
        """Raises UserError when the values do not fit together."""
        check_flags(self.template, self.eval, self.eval_count)


@dataclass(frozen=True)
class ConversationConfig(ConversationSettings):
    """Examples to learn from, and to be judged on by their loss.

    A source is the path of a .jsonl or .parquet file (`?column=value` keeps some of its rows), or
    `hf:OWNER/NAME?split=train&config=main`. Naming one twice makes it count twice.
    """

    train: tuple[str, ...] = ()
    """Sources to learn from: FILE.jsonl|.parquet, hf:OWNER/NAME?split=train."""


def check_flags(template: str, evaluation: Sequence[str], count: int) -> None:
    """Raises UserError on an unknown template, and on two answers to what is held out."""
    if template:
        check_template(template, "--data.template")
    if count < 0:
        raise UserError(f"--data.eval-count {count}: must be 0 or more")
    if evaluation and count:
        raise UserError(
            f"--data.eval-count {count}: holds out training examples where there is no "
            "--data.eval; give one of the two"
        )


@dataclass(frozen=True)
class Pair:
    """A text to be read and a text to be learnt after it; for plain text the first is empty."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Chat:
    """Messages of role and content, and the assistant's among them that are learnt, by number."""

    messages: tuple[Mapping[str, Any], ...]
    learnt: tuple[int, ...]


def read_conversations(
    source: str, config: ConversationConfig, unfit: list[str] | None = None
) -> Iterator[tuple[str, Pair | Chat]]:
    """(place, example) of every row of `source`, in order; the layout is the first row's.

    A row that teaches nothing (an empty text, a call of a tool) is left out; which and why is added
    to `unfit`. Raises UserError naming file, line and column: a missing column, a value of another
    kind, messages that are no conversation, a thought beside the text.
    """
    unit, rows = open_rows(source)
    layout: str = config.layout
    number = 0
    for number, row in rows:
        where = f"{source}, {unit} {number}"
        if layout == "auto":
            layout = detect(row, where, config)
        try:
            example = READERS[layout](row, where, config)
        except Unfit as why:
            if unfit is not None:
                unfit.append(f"{unit} {number} ({why})")
            continue
        yield where, example
    if not number:
        raise UserError(f"{source}: is empty; expected one example per {unit}")


def detect(row: Row, where: str, config: ConversationConfig) -> str:
    """The layout of a row by its columns, filled ones first; UserError where they fit none."""
    if config.prompt_column or config.completion_column:
        return "pairs"
    for names in ([name for name in row if row[name] is not None], row):
        if "messages" in names:
            return "messages"
        if "conversations" in names:
            return "sharegpt"
        if {*names} & {*PROMPTS} and {*names} & {*COMPLETIONS}:
            return "pairs"
        if "text" in names:
            return "text"
    raise UserError(
        f"{where}: columns {', '.join(row) or '(none)'} fit no layout; expected prompt and "
        "completion, messages, conversations, or text (--data.prompt-column and "
        "--data.completion-column name others)"
    )


def _pair(row: Row, where: str, config: ConversationConfig) -> Pair | Chat:
    names = [
        _first(row, where, "prompt", config.prompt_column, PROMPTS),
        _first(row, where, "completion", config.completion_column, COMPLETIONS),
    ]
    for name in names:
        if row[name] is None or row[name] == []:
            raise Unfit(f"column {name} is empty")
    prompt, completion = (row[name] for name in names)
    own = system_of(row, where)
    if isinstance(prompt, list) and isinstance(completion, list):
        read = read_messages(prompt + completion, where, "prompt and completion")
        _refuse_lost(row, where, config, read)
        messages = led(own, read, where)
        return _chat(messages, where, config, first=len(prompt) + len(messages) - len(read))
    for name, value in zip(names, (prompt, completion), strict=True):
        text(value, f"{where}, column {name}")
    if is_blank(completion):
        raise Unfit(f"column {names[1]} is empty")
    if config.completion_column is None and "<think>" not in completion:
        advice = f"write it into column {names[1]}, or name that by --data.completion-column"
        refuse_thought(row, where, advice)
    if config.layout == "auto":
        refuse_tools(row, where, LEAVE.format("pairs"))
    system = own or config.system
    if system and not (config.template and TEMPLATES[config.template].chat):
        what = (
            f"{where}: its column system, {own!r:.40}, would be lost as it"
            if own
            else (f"--data.system: {where}")
        )
        raise UserError(f"{what} is no chat and has no system message; use --data.template chat")
    return wrapped(prompt, completion, config.template, system)


def wrapped(prompt: str, completion: str, template: str, system: str) -> Pair | Chat:
    """A prompt that is text, in its template, with a completion that may be empty."""
    if not template:
        return Pair(prompt, completion)
    chosen = TEMPLATES[template]
    filled = chosen.fill(prompt)
    if not chosen.chat:
        return Pair(filled + chosen.prefill, completion)
    turns = [("system", system)] if system else []
    turns += [("user", filled), ("assistant", completion)]
    messages = tuple({"role": role, "content": content} for role, content in turns)
    return Chat(messages, (len(messages) - 1,))


LEAVE = "take it out, or leave it unread by --data.layout {}"


def _from_list(row: Row, where: str, config: ConversationConfig, column: str) -> Chat:
    messages = read_messages(column_of(row, where, column), where, column)
    _refuse_lost(row, where, config, messages)
    return _chat(led(system_of(row, where), messages, where), where, config)


def _from_messages(row: Row, where: str, config: ConversationConfig) -> Chat:
    return _from_list(row, where, config, "messages")


def _from_sharegpt(row: Row, where: str, config: ConversationConfig) -> Chat:
    return _from_list(row, where, config, "conversations")


def _refuse_lost(
    row: Row, where: str, config: ConversationConfig, messages: Sequence[Mapping[str, Any]]
) -> None:
    """Raises UserError where a column beside a chat would be lost and --data.layout is auto.

    That is a thought that stands in no message, tools, and a completion that is none of the turns.
    """
    if config.layout != "auto":
        return
    given = "messages" if row.get("messages") else "sharegpt" if row.get("conversations") else ""
    leave = LEAVE.format(given or "pairs")
    if not any("<think>" in m["content"] for m in messages if m["role"] == "assistant"):
        refuse_thought(row, where, f"write it into the assistant's turn, {leave[12:]}")
    refuse_tools(row, where, leave)
    said = [m["content"].strip() for m in messages]
    completion = row.get("completion")
    lost = given and not is_empty(row.get("prompt")) and not is_empty(completion)
    if lost and not (isinstance(completion, str) and completion.strip() in said):
        raise UserError(
            f"{where}: column completion beside {given} would be lost; {leave}, or read it by "
            "--data.layout pairs"
        )


def _from_text(row: Row, where: str, config: ConversationConfig) -> Pair:
    content = text(column_of(row, where, "text"), f"{where}, column text")
    if config.template or config.system:
        flag = "--data.template" if config.template else "--data.system"
        raise UserError(f"{flag}: {where} is plain text, which has no prompt; leave it out")
    if is_blank(content):
        raise Unfit("column text is empty")
    if config.layout == "auto" and "<think>" not in content:
        refuse_thought(row, where, f"write it into column text, {LEAVE.format('text')[12:]}")
    return Pair("", content)


READERS = {
    "pairs": _pair,
    "messages": _from_messages,
    "sharegpt": _from_sharegpt,
    "text": _from_text,
}


def _chat(
    messages: Sequence[Mapping[str, Any]], where: str, config: ConversationConfig, first: int = 0
) -> Chat:
    """A chat with its learnt turns, none of them before message `first`."""
    if config.template not in ("", "chat"):
        raise UserError(
            f"--data.template {config.template}: {where} holds messages, which take the "
            "tokenizer's own template; leave the flag out"
        )
    for message, name in itertools.product(messages, ("weight", "train")):
        if message.get(name) not in (None, 0, 1):
            raise UserError(f"{where}, a message's {name}: is {message[name]!r}; expected 0 or 1")
    roles = [message["role"] for message in messages]
    learnt = [i for i in range(first, len(roles)) if roles[i] == "assistant"]
    if not learnt:
        raise UserError(f"{where}: no message of the assistant's to learn; give at least one")
    if not (learnt := [i for i in learnt if not _left_out(messages[i])]):
        raise Unfit("every message of the assistant's has weight 0")
    if "user" not in roles[: learnt[0]]:
        raise UserError(f"{where}: the assistant speaks before the user; begin with a user message")
    if config.turns == "last":
        learnt = learnt[-1:]
    if config.system and "system" not in roles:
        messages = [{"role": "system", "content": config.system}, *messages]
        learnt = [i + 1 for i in learnt]
    return Chat(tuple(messages), tuple(learnt))


def _left_out(message: Mapping[str, Any]) -> bool:
    """Whether a message says of itself that it is read and not learnt, as OpenAI's weight 0."""
    return any(message.get(name, 1) == 0 for name in ("weight", "train"))


def _first(row: Row, where: str, what: str, given: str | None, usual: Sequence[str]) -> str:
    """The column that a flag names, or the first usual one, filled ones before empty ones."""
    there = [name for name in ((given,) if given else usual) if name in row]
    if not there:
        missing = given or f"{what} (--data.{what}-column names it)"
        raise UserError(f"{where}: no column {missing}; it has {', '.join(row) or 'none'}")
    return next((name for name in there if row[name] is not None), there[0])
