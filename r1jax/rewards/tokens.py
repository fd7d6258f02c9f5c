"""Where in a completion's text each of its tokens stands: for rewards that judge token by token."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from r1jax.problem import Completion

# A character has at most four bytes, so that more tokens than these hold no unfinished one.
_HELD = 8


def with_offsets(completion: Completion, tokenizer: Any) -> Completion:
    """The completion with `offsets` filled in; as it is where they are there already.

    A character whose bytes are several tokens belongs to the last of these, the others span
    nothing; so does the stop token, which the text does not show. A short window is decoded at a
    time, so that the work per token does not grow with the text. Raises ValueError where the tokens
    do not spell the end of the text.
    """
    ids, text, decode = list(completion.token_ids), completion.text, tokenizer.decode
    if len(completion.offsets) == len(ids):
        return completion
    shown, decoded = len(ids), decode(ids)
    if not text.endswith(decoded):  # without its stop token
        shown, decoded = shown - 1, decode(ids[:-1])
    if not text.endswith(decoded):
        raise ValueError("the token ids do not spell the completion's text")
    ends, end = [], len(text) - len(decoded)  # what was prefilled belongs to no token
    begin = end
    window = done = 0  # the tokens decoded again, and those whose text is settled
    for n in range(1, shown + 1):
        before, now = decode(ids[window:done]), decode(ids[window:n])
        settled = not now.endswith("\ufffd") or n - done >= _HELD
        if settled:
            end = min(end + max(len(now) - len(before), 0), len(text))
            window, done = done, n
        ends.append(end)
    if ends:
        ends[-1] = len(text)
    ends += [len(text)] * (len(ids) - shown)
    return replace(completion, offsets=tuple(zip([begin, *ends], ends, strict=False)))


def tokens_to(completion: Completion, tokenizer: Any, ends: Iterable[int]) -> list[int]:
    """How many of the completion's tokens it takes to spell its text up to each of the `ends`."""
    stops = [stop for _, stop in with_offsets(completion, tokenizer).offsets]
    return [min(bisect.bisect_left(stops, end) + 1, len(stops)) for end in ends]
