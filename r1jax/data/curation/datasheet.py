"""What a set of kept samples is made of and what was left out: the sheet that goes with the data.

Everything in it comes from the streams, so that an interrupted run leaves the same sheet.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from r1jax.data.curation.streams import DROPPED, KEPT, CurationFiles

BINS = 10


def datasheet(streams: CurationFiles, title: str, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of prompts and samples, reasons, pass rates, lengths and languages.

    `origin` says where the samples come from. `sha256` is that of kept.jsonl.
    """
    prompts = streams.prompts
    tokens, words, languages, kept = [], [], Counter[str](), 0
    for row in streams.rows(KEPT):
        kept += 1
        tokens.append(row["tokens"])
        words.append(row["words"])
        languages[row["language"]] += 1
    reasons = Counter(row["reason"] for row in streams.rows(DROPPED))
    rates = [p["pass_rate"] for p in prompts if p["pass_rate"] is not None]
    return {
        "title": title,
        "origin": dict(origin),
        "prompts": len(prompts),
        "prompts_kept": sum(p["kept"] > 0 for p in prompts),
        "samples": sum(p["samples"] for p in prompts),
        "kept": kept,
        "dropped": reasons.total(),
        "dropped_by_reason": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        "pass_rate_mean": sum(rates) / len(rates) if rates else None,
        "pass_rates": histogram(rates),
        "tokens": quantiles(tokens),
        "words": quantiles(words),
        "languages": dict(sorted(languages.items())),
        "sha256": hashlib.sha256((streams.path / "kept.jsonl").read_bytes()).hexdigest(),
    }


def histogram(rates: Iterable[float], bins: int = BINS) -> dict[str, int]:
    """Prompts by pass rate: none right, `bins` equal parts between, all right."""
    counts = {"0": 0} | {f"({i / bins:g}, {(i + 1) / bins:g}]": 0 for i in range(bins - 1)}
    counts |= {f"({(bins - 1) / bins:g}, 1)": 0, "1": 0}
    names = list(counts)
    for rate in rates:
        if rate in (0, 1):
            counts[names[0] if rate == 0 else names[-1]] += 1
        else:
            # Just below a border belongs to the part under it; rates are ratios of small numbers.
            part = next(i for i in range(bins) if rate <= (i + 1) / bins + 1e-9)
            counts[names[1 + part]] += 1
    return counts


def quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """Least, 5 %, median, mean, 95 %, largest and sum; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    at = lambda share: ordered[int(share * (len(ordered) - 1))]  # noqa: E731
    total = sum(ordered)
    return {
        "min": ordered[0], "p5": at(0.05), "median": at(0.5), "mean": total / len(ordered),
        "p95": at(0.95), "max": ordered[-1], "sum": total,
    }  # fmt: skip
