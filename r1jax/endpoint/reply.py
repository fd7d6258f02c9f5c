"""What is asked of an endpoint, what comes back, and how it is read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r1jax.endpoint.wire import HEARD, Failed
from r1jax.errors import once_each

Message = Mapping[str, str]
"""A message of a chat: role and content."""


@dataclass(frozen=True)
class ChatRequest:
    """What is asked; `seed` tells several samples of one chat apart, None leaves it out."""

    messages: tuple[Message, ...]
    seed: int | None = None


@dataclass(frozen=True)
class Reply:
    """What came back. `thought` is the reasoning where the server returns it apart."""

    text: str
    thought: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @property
    def whole(self) -> bool:
        """Whether the model itself ended it: no limit, filter or call of a tool did."""
        return self.finish_reason == "stop"

    @property
    def full_text(self) -> str:
        """Thought and text as a model writes them in one piece."""
        return f"<think>\n{self.thought}\n</think>\n\n{self.text}" if self.thought else self.text


def read_reply(raw: bytes) -> Reply:
    """The reply in a response's body; Failed where it holds none or says nothing."""
    try:
        answer = json.loads(raw, object_pairs_hook=once_each)
        choice = answer["choices"][0]
        message, usage = choice["message"], answer.get("usage")
        text = _text(message.get("content"))
        thought = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
        ended = _text(choice.get("finish_reason", "stop"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        said = raw[:HEARD].decode("utf-8", "replace")
        raise Failed("no chat completion", "request", again=True, said=said) from None
    # A thought that met the limit leaves no text, and is a reply that was cut.
    if not text.strip() and ended != "length":
        raise Failed("the answer has no text", "request", again=True, said=f"ended by {ended}")
    counts = usage if isinstance(usage, dict) else {}
    tokens = [_whole_number(counts.get(name)) for name in ("prompt_tokens", "completion_tokens")]
    return Reply(text, thought.strip(), ended, *tokens)


def _text(value: Any) -> str:
    """Text that every file can hold: half a surrogate pair is no character. "" for what is none."""
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else ""


def _whole_number(value: Any) -> int:
    """A count as the server gave it, 0 where it is none."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 1e15 else 0
