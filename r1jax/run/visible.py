"""Text of a model or a stranger as it is shown: it cannot speak to a terminal or a page."""

from __future__ import annotations

import re

# C0 without tab and newline, DEL and C1: a terminal obeys them (colours, titles, the clipboard).
# Marks that turn the direction of reading, that have no width, or that say what is to come.
_SPEAKING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)


def visible(text: str) -> str:
    """`text` with every character that would be obeyed rather than seen as its code, \\x1b."""
    return _SPEAKING.sub(lambda found: _code(found.group()), text.replace("\r\n", "\n"))


def line(text: str) -> str:
    """`text` made visible, in one line."""
    return visible(text).replace("\n", "\\n").replace("\t", " ")


def _code(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
