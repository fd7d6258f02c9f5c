"""Turns of a chat as rows have them: who speaks, what is said, and what makes a row unfit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1jax.data.rows import Row, is_blank
from r1jax.errors import UserError

ROLES = ("system", "user", "assistant", "tool")
SHAREGPT = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "observation": "tool",
}
"""ShareGPT's names of the speakers."""
CALLS = ("tool_calls", "function_call")
THOUGHTS = (
    "reasoning_content", "reasoning", "reasoning_details", "thinking", "thought", "thoughts",
)  # fmt: skip
"""Keys and columns in which others keep a thought apart from the text that follows it."""
SYSTEMS = ("system", "system_prompt")
TOOLS = ("tools", "functions")


class Unfit(Exception):
    """Why a row teaches nothing: it is left out, counted and listed; any other fault is an end."""


def read_messages(value: Any, where: str, column: str) -> list[dict[str, Any]]:
    """Messages of role and content from those, or from ShareGPT's from and value.

    Keys without a value are left out. Raises Unfit where the assistant says nothing or calls a
    tool, UserError naming the message where it is none, its content is no text, or a thought stands
    beside the content.
    """
    if value == []:
        raise Unfit(f"column {column} is empty")
    if not isinstance(value, list):
        raise UserError(f"{where}, column {column}: expected a list of messages (role, content)")
    return [
        _message(message, i, f"{where}, column {column}, message {i}")
        for i, message in enumerate(value, start=1)
    ]


def _message(message: Any, number: int, place: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise UserError(f"{place}: is {message!r:.60}; expected an object of role and content")
    speaker, names = ("from", tuple(SHAREGPT)) if "from" in message else ("role", ROLES)
    said = message.get(speaker)
    if said not in names:
        raise UserError(f"{place}: {speaker} is {said!r:.60}; expected one of {', '.join(names)}")
    kept = {key: item for key, item in message.items() if item is not None}
    if speaker == "from":
        kept |= {"role": SHAREGPT[kept.pop("from")], "content": kept.pop("value", None)}
    if isinstance(kept.get("content"), list):
        kept["content"] = joined(kept["content"], f"{place}, content")
    if kept["role"] == "assistant":
        if said in CALLS or any(kept.get(key) for key in CALLS):
            raise Unfit(f"message {number}: a call of a tool, which is not learnt")
        if is_blank(kept.get("content")):
            raise Unfit(f"message {number}: the assistant says nothing")
        # A template would place it; the learnt turn is the content alone and would lose it.
        refuse_thought(kept, place, "write it into the content as the model is to write it")
    text(kept.get("content"), f"{place}, content")
    return kept


def joined(parts: list[Any], place: str) -> str:
    """The text of content that comes in parts of a type; UserError where one is no text."""
    texts = []
    for number, part in enumerate(parts, start=1):
        kind = part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__
        if kind != "text" or not isinstance(part.get("text"), str):
            fault = "has no text" if kind == "text" else f"is of type {kind!r:.60}"
            raise UserError(
                f"{place}, part {number}: {fault}; only text is read, as in "
                '{"type": "text", "text": ...}'
            )
        texts.append(part["text"])
    return "".join(texts)


def refuse_thought(holder: Row, place: str, advice: str) -> None:
    """Raises UserError where a key or column holds a thought that would be lost."""
    for key in THOUGHTS:
        if not is_empty(holder.get(key)):
            raise UserError(
                f"{place}: {key} beside the content; {advice} (a thought as <think>...</think>)"
            )


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: blank, or a list or an object without an entry."""
    return value in ([], {}) or is_blank(value)


def refuse_tools(row: Row, where: str, advice: str) -> None:
    """Raises UserError where a column holds tools, which no template is given."""
    if lost := next((name for name in TOOLS if not is_empty(row.get(name))), None):
        raise UserError(
            f"{where}: column {lost} would be lost, as prompts have no tools here; {advice}"
        )


def system_of(row: Row, where: str) -> str:
    """The text of a row's own system message, from a column; empty where it has none."""
    name = next((name for name in SYSTEMS if not is_empty(row.get(name))), None)
    return text(row[name], f"{where}, column {name}") if name else ""


def led(system: str, messages: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """Messages with a row's own system message before them, unless it already stands there.

    Raises UserError where another one stands there.
    """
    said = [message["content"] for message in messages if message["role"] == "system"]
    if system and said and said[0].strip() != system.strip():
        raise UserError(f"{where}: its column system and its system message differ; take one out")
    return [{"role": "system", "content": system}, *messages] if system and not said else messages


def text(value: Any, place: str) -> str:
    """The value where it is text; UserError where not."""
    if not isinstance(value, str):
        kind = "null" if value is None else type(value).__name__
        raise UserError(f"{place}: is {kind}; expected text")
    return value


def column_of(row: Row, where: str, *names: str) -> Any:
    """The value of the first of `names` that holds one; Unfit where all that there are are empty.

    Raises UserError where there is no such column.
    """
    there = [name for name in names if name in row]
    if not there:
        has = ", ".join(row) or "none"
        raise UserError(f"{where}: no column {' or '.join(names)}; it has {has}")
    for name in there:
        if row[name] is not None:
            return row[name]
    raise Unfit(f"column {there[0]} is empty")
