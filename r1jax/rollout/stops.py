"""Stop strings: where a completion's text first holds one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def first_stop(
    tokens: np.ndarray,
    searched: int,
    strings: Sequence[str],
    detokenize: Callable[[Sequence[int]], str] | None,
) -> int | None:
    """Tokens of i32[n] up to and with the first of the `strings`, None where there is none.

    The first `searched` tokens are known to hold none. Only what follows is turned into text, with
    as many tokens before it as a string can reach back (a token is at least one byte of it).
    """
    if not strings:
        return None
    reach = max(len(s.encode()) for s in strings) + 8
    start = max(0, searched - reach)

    def seen(n: int) -> bool:
        text = detokenize(tokens[start:n].tolist())
        return any(s in text for s in strings)

    low, high = searched, len(tokens)
    if not seen(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high
