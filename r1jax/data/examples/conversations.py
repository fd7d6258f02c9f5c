"""What supervised training reads: rows of a file as prompts with completions, chats or texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from r1jax.data.rows import Row, open_rows
from r1jax.data.templates import TEMPLATES, check_template
from r1jax.errors import UserError

ConversationLayout = Literal["auto", "pairs", "messages", "sharegpt", "text"]
PROMPTS = ("prompt", "question", "problem")
COMPLETIONS = ("completion", "response", "solution", "answer")
ROLES = ("system", "user", "assistant", "tool")
SHAREGPT = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "tool": "tool",
    "observation": "tool",
}
"""ShareGPT's names of the speakers."""


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
    source: str, config: ConversationConfig
) -> Iterator[tuple[str, Pair | Chat]]:
    """(place, example) of every row of `source`, in order; the layout is the first row's.

    Raises UserError naming file, line and column: a missing column, a value of another kind, an
    empty completion, messages that are no conversation.
    """
    unit, rows = open_rows(source)
    layout: str = config.layout
    number = 0
    for number, row in rows:
        where = f"{source}, {unit} {number}"
        if layout == "auto":
            layout = detect(row, where, config)
        yield where, READERS[layout](row, where, config)
    if not number:
        raise UserError(f"{source}: is empty; expected one example per {unit}")


def detect(row: Row, where: str, config: ConversationConfig) -> str:
    """The layout of a row by its columns; UserError where they fit none."""
    prompt = _first(row, config.prompt_column, PROMPTS)
    completion = _first(row, config.completion_column, COMPLETIONS)
    if config.prompt_column or config.completion_column:
        return "pairs"
    if "messages" in row:
        return "messages"
    if "conversations" in row:
        return "sharegpt"
    if prompt and completion:
        return "pairs"
    if "text" in row:
        return "text"
    raise UserError(
        f"{where}: columns {', '.join(row) or '(none)'} fit no layout; expected prompt and "
        "completion, messages, conversations, or text (--data.prompt-column and "
        "--data.completion-column name others)"
    )


def _pair(row: Row, where: str, config: ConversationConfig) -> Pair | Chat:
    names = {
        "prompt": _first(row, config.prompt_column, PROMPTS),
        "completion": _first(row, config.completion_column, COMPLETIONS),
    }
    for part, name in names.items():
        if name is None or row.get(name) is None:
            missing = getattr(config, f"{part}_column") or f"{part} (--data.{part}-column names it)"
            raise UserError(f"{where}: no column {missing}; it has {', '.join(row) or 'none'}")
    prompt, completion = (row[name] for name in names.values())
    if isinstance(prompt, list) and isinstance(completion, list):
        messages = _messages(prompt + completion, where, "prompt and completion")
        return _chat(messages, where, config, first=len(prompt))
    for name, value in zip(names.values(), (prompt, completion), strict=True):
        _text(value, f"{where}, column {name}", empty=name == names["prompt"])
    if config.system and not (config.template and TEMPLATES[config.template].chat):
        raise UserError(
            f"--data.system: {where} is no chat and has no system message; use --data.template chat"
        )
    return wrapped(prompt, completion, config.template, config.system)


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


def _from_messages(row: Row, where: str, config: ConversationConfig) -> Chat:
    return _chat(_messages(column_of(row, where, "messages"), where, "messages"), where, config)


def _from_sharegpt(row: Row, where: str, config: ConversationConfig) -> Chat:
    turns = column_of(row, where, "conversations")
    named = []
    for i, turn in enumerate(turns if isinstance(turns, list) else [], start=1):
        speaker = turn.get("from") if isinstance(turn, Mapping) else None
        if speaker not in SHAREGPT:
            raise UserError(
                f"{where}, column conversations, message {i}: from is {speaker!r}; expected one of "
                + ", ".join(SHAREGPT)
            )
        named.append({"role": SHAREGPT[speaker], "content": turn.get("value")})
    messages = _messages(named, where, "conversations")
    if row.get("system"):
        system = _text(row["system"], f"{where}, column system")
        messages = [{"role": "system", "content": system}, *messages]
    return _chat(messages, where, config)


def _from_text(row: Row, where: str, config: ConversationConfig) -> Pair:
    text = _text(column_of(row, where, "text"), f"{where}, column text")
    if config.template or config.system:
        flag = "--data.template" if config.template else "--data.system"
        raise UserError(f"{flag}: {where} is plain text, which has no prompt; leave it out")
    return Pair("", text)


READERS = {
    "pairs": _pair,
    "messages": _from_messages,
    "sharegpt": _from_sharegpt,
    "text": _from_text,
}


def _messages(value: Any, where: str, column: str) -> list[dict[str, Any]]:
    """The messages of a chat, checked one by one; keys without a value are left out."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}, column {column}: expected a list of messages (role, content)")
    messages = []
    for i, message in enumerate(value, start=1):
        place = f"{where}, column {column}, message {i}"
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            role = message.get("role") if isinstance(message, Mapping) else message
            raise UserError(f"{place}: role is {role!r}; expected one of {', '.join(ROLES)}")
        kept = {key: item for key, item in message.items() if item is not None}
        _text(kept.get("content"), f"{place}, content", empty=kept["role"] != "assistant")
        # A template would place them; the learnt turn is the content alone and would lose them.
        for key in ("tool_calls", "reasoning_content"):
            if kept.get(key):
                raise UserError(
                    f"{place}: {key} beside the content; write it into the content as the model "
                    "is to write it (a thought as <think>...</think>)"
                )
        messages.append(kept)
    return messages


def _chat(
    messages: Sequence[Mapping[str, Any]], where: str, config: ConversationConfig, first: int = 0
) -> Chat:
    """A chat with its learnt turns, none of them before message `first`."""
    if config.template not in ("", "chat"):
        raise UserError(
            f"--data.template {config.template}: {where} holds messages, which take the "
            "tokenizer's own template; leave the flag out"
        )
    roles = [message["role"] for message in messages]
    learnt = [i for i in range(first, len(roles)) if roles[i] == "assistant"]
    if not learnt:
        raise UserError(f"{where}: no message of the assistant's to learn; give at least one")
    if "user" not in roles[: learnt[0]]:
        raise UserError(f"{where}: the assistant speaks before the user; begin with a user message")
    if config.turns == "last":
        learnt = learnt[-1:]
    if config.system and "system" not in roles:
        messages = [{"role": "system", "content": config.system}, *messages]
        learnt = [i + 1 for i in learnt]
    return Chat(tuple(messages), tuple(learnt))


def _first(row: Row, given: str | None, usual: Sequence[str]) -> str | None:
    return given or next((name for name in usual if name in row), None)


def column_of(row: Row, where: str, *names: str) -> Any:
    """The value of the first of `names` that there is."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise UserError(f"{where}: no column {' or '.join(names)}; it has {', '.join(row) or 'none'}")


def _text(value: Any, place: str, empty: bool = False) -> str:
    """The value where it is text; UserError where not, or where it is empty and must not be."""
    if not isinstance(value, str):
        raise UserError(f"{place}: is {type(value).__name__}; expected text")
    if not value and not empty:
        raise UserError(f"{place}: is empty; expected the text to be learnt")
    return value
