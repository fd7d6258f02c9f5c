"""Stop strings and rules: where a completion's text first holds, or meets, one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

StopRule = Callable[[str], bool]
"""Whether a completion's text is to end by now; what it says yes to, it does when more follows."""


def first_stop(
    tokens: np.ndarray,
    searched: int,
    strings: Sequence[str],
    detokenize: Callable[[Sequence[int]], str] | None,
    rule: StopRule | None = None,
) -> int | None:
    """Tokens of i32[n] up to and with the first of the `strings`, None where there is none.

    The first `searched` tokens are known to hold none. Only what follows is turned into text, with
    as many tokens before it as a string can reach back (a token is at least one byte of it); for a
    `rule`, which ends short texts, all of it.
    """
    if not strings and rule is None:
        return None
    reach = searched if rule else max(len(s.encode()) for s in strings) + 8
    start = max(0, searched - reach)

    def seen(n: int) -> bool:
        text = detokenize(tokens[start:n].tolist())
        return any(s in text for s in strings) or (rule is not None and rule(text))

    low, high = searched, len(tokens)
    if not seen(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high
