"""How an answer of the embedded world was found, told from its text, and what lengths owe to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from r1jax.data.world.traces import MODES, Mode
from r1jax.problem import split_envelope

_EQUATION = re.compile(r"[0-9)]\s*=\s*-?[0-9]")
# As the paper's ten words, but for those with which a search dismisses a trial (wrong, 不对).
_DOUBT = re.compile(
    r"(?<![A-Za-z])(?:wait|but|mistake|retry|however|check|verify)(?![A-Za-z])"
    r"|等等|但是|有误|不过|检查|验证",
    re.IGNORECASE,
)
_TRIED = 3  # equations from which a search of a countdown is a long one


def mode_of(text: str, family: str) -> Mode:
    """guess: no equation; short: one (up to two tries of a countdown); checked: a word of doubt or
    of verification beside an equation; long: any other chain.
    """
    thought, _ = split_envelope(text)
    shown = text if thought is None else thought
    equations = len(_EQUATION.findall(shown))
    if not equations:
        return "guess"
    if _DOUBT.search(shown):
        return "checked"
    return "long" if equations >= (_TRIED if family == "countdown" else 2) else "short"


def profile(
    rows: Sequence[Mapping[str, Any]], families: Mapping[str, str]
) -> dict[Mode, tuple[float, float]]:
    """(share, mean length in tokens) of each mode over rows of completions.jsonl.

    `families` gives the family of each problem id. The length of an absent mode is 0.
    """
    lengths: dict[Mode, list[int]] = {mode: [] for mode in MODES}
    for row in rows:
        lengths[mode_of(row["text"], families[row["id"]])].append(row["length"])
    count = max(1, len(rows))
    return {
        mode: (len(of_mode) / count, sum(of_mode) / len(of_mode) if of_mode else 0.0)
        for mode, of_mode in lengths.items()
    }


def split_growth(
    before: Mapping[Mode, tuple[float, float]], after: Mapping[Mode, tuple[float, float]]
) -> tuple[float, float]:
    """(growth of the mean length from changed shares, from lengths within modes); they add up.

    Each part is weighted with the mean of both sides. A mode that one side lacks has no length of
    its own there, and the other's is taken: all of its part is share.
    """
    shares = within = 0.0
    for mode in MODES:
        (old_share, old_length), (new_share, new_length) = before[mode], after[mode]
        old_length = old_length if old_share else new_length
        new_length = new_length if new_share else old_length
        shares += (new_share - old_share) * (old_length + new_length) / 2
        within += (old_share + new_share) / 2 * (new_length - old_length)
    return shares, within
