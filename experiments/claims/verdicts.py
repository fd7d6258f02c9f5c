"""Numbers of pairs in, verdicts out: supported, contradicted or inconclusive.

Each base with each seed is a pair. A comparison's values are one for each pair; their mean has a
95 % interval by Student's t. On the claimed side of everything below:

- supported: the whole interval lies beyond the null, and the mean reaches the smallest effect;
- contradicted: the whole interval falls short of the smallest effect;
- inconclusive: anything else, and fewer than two pairs;
- not run: no pair at all.

A claim is supported when each comparison that decides is, contradicted when one of them is. Where a
condition is not supported it is inconclusive whatever they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from experiments.claims.claim import Claim, Comparison, Numbers
from r1jax.evaluate.statistics import t_interval

Verdict = Literal["supported", "contradicted", "inconclusive", "not run"]
DIGITS = 4  # of every number that is kept


def verdict(comparison: Comparison, values: Sequence[float]) -> Verdict:
    """What the values of all pairs say."""
    if not values:
        return "not run"
    interval = t_interval(values)
    if interval is None:
        return "inconclusive"
    sign = comparison.sign
    low, high = sorted(sign * end for end in interval)
    mean, null, least = (sign * v for v in (_mean(values), comparison.null, comparison.least))
    if low > null and mean >= least:
        return "supported"
    return "contradicted" if high < least else "inconclusive"


def overall(verdicts: Iterable[tuple[str, Verdict]]) -> Verdict:
    """The claim's verdict from (role, verdict) of its comparisons."""
    judged = list(verdicts)
    deciding = [v for role, v in judged if role == "decides"]
    if all(v == "not run" for v in deciding):
        return "not run"
    if any(role == "condition" and v != "supported" for role, v in judged):
        return "inconclusive"
    if "contradicted" in deciding:
        return "contradicted"
    return "supported" if all(v == "supported" for v in deciding) else "inconclusive"


def differences(comparison: Comparison, pairs: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """plus - minus of each pair; None where one of them was not measured."""
    values = []
    for pair in pairs:
        numbers: Numbers = pair["numbers"]
        plus = numbers.get(comparison.plus)
        minus = numbers.get(comparison.minus) if comparison.minus else 0.0
        values.append(None if plus is None or minus is None else plus - minus)
    return values


def collate(claim: Claim, pairs: Sequence[Mapping[str, Any]], planned: int) -> dict[str, Any]:
    """The claim as JSON: its declaration, the numbers of each pair, comparisons and verdicts.

    `pairs` are {"base", "seed", "numbers"}; `planned` is how many there were to be.
    """
    rows = [row(comparison, pairs) for comparison in claim.comparisons]
    return {
        "schema": 1,
        "letter": claim.letter,
        "title": claim.title,
        "source": claim.source,
        "hypothesis": claim.hypothesis,
        "protocol": claim.protocol,
        "planned": planned,
        "verdict": overall((r["role"], r["verdict"]) for r in rows),
        "comparisons": rows,
        "picture": vars(claim.picture) | {"measures": list(claim.picture.measures)},
        "pairs": [dict(pair) | {"numbers": _rounded(pair["numbers"])} for pair in pairs],
    }


def row(comparison: Comparison, pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One comparison with its declaration and what was found."""
    of_base: dict[int, list[float]] = {base: [] for base in sorted({p["base"] for p in pairs})}
    values = []
    for pair, value in zip(pairs, differences(comparison, pairs), strict=True):
        if value is not None:
            values.append(value)
            of_base[pair["base"]].append(value)
    interval = t_interval(values)
    return {
        "says": comparison.says,
        "claimed": comparison.claimed,
        "role": comparison.role,
        "unit": comparison.unit,
        "n": len(values),
        "mean": _round(_mean(values)),
        "interval": None if interval is None else [_round(end) for end in interval],
        "by_base": {str(base): _round(_mean(diffs)) for base, diffs in of_base.items()},
        "verdict": verdict(comparison, values),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _rounded(numbers: Numbers) -> dict[str, float | None]:
    return {key: _round(value) for key, value in numbers.items()}
