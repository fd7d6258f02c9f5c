"""Times of day: 14:30 is 2:30 p.m., and 2:30 without a half of the day is either."""

from __future__ import annotations

import re

from r1jax.rewards.answers.bounds import bounded

_TIME = re.compile(
    r"(?:\\text ?\{)? ?(?P<half>上午|早上|凌晨|中午|下午|晚上)? ?(?P<hour>[0-9]{1,2})"
    r"(?: ?[:：时点] ?(?P<minute>[0-9]{2})?(?::(?P<second>[0-9]{2}))? ?分?)?"
    r" ?(?:\\text ?\{)? ?(?P<mark>[ap])?\.? ?(?P<m>m)?\.? ?\}?",
    re.IGNORECASE,
)


def minutes(text: str) -> tuple[int, bool, bool] | None:
    """(minutes since midnight, whether the half of the day is known, and said), else None."""
    match = _TIME.fullmatch(bounded(" ".join(text.split()).strip(" .$")))
    if match is None or bool(match["mark"]) != bool(match["m"]):
        return None
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    late = (
        match["mark"] in ("p", "P") if match["mark"] else match["half"] in ("下午", "晚上", "中午")
    )
    marked = bool(match["mark"] or match["half"])
    if hour > 24 or minute > 59 or not (marked or match["minute"]):
        return None
    if marked and hour <= 12:
        hour = hour % 12 + (12 if late else 0)
    return 60 * hour + minute, marked or hour > 12 or hour == 0, marked


def same_time(gold: str, given: str) -> bool | None:
    """Whether two texts say one time of day; None where neither has a half of the day."""
    a, b = minutes(gold), minutes(given)
    if a is None or b is None or not (a[2] or b[2]):
        return None
    gap = (a[0] - b[0]) % 1440
    return gap == 0 or (gap == 720 and not (a[1] and b[1]))
