"""(c) Thoughts mix languages under reinforcement learning; the language reward mends it.

    python -m experiments.claims --only c --bases runs/base0 runs/base1 \\
        --chinese-bases runs/chinese0 runs/chinese1

40 runs of the demo, 10 of them claim a's; see `python -m experiments.claims`.
"""

from __future__ import annotations

from dataclasses import replace

from experiments.claims import runs
from experiments.claims.claim import Claim, Comparison, Numbers, Picture, above, below
from experiments.claims.results import change, numbers, summary
from experiments.claims.runs import BaseAndSeed, Config, PlannedJob

ARMS = {"zero": "1:1", "language": "1:1 rewarded", "chinese": "4:1",
        "chinese-language": "4:1 rewarded"}  # fmt: skip
MEASURES = {"consistency": "language_consistency", "words": "thought_words_mean",
            "pass@1": "pass_at_1"}  # fmt: skip
WORLD = "world:sum,countdown,word"
WEIGHT = 1.0  # of the language reward: added directly, as in the paper


def steps(config: Config, pair: BaseAndSeed) -> list[PlannedJob]:
    """With and without the reward, on either share of Chinese."""
    plain, chinese = config.bases[pair.base], config.chinese_bases[pair.base]
    sources = (f"{WORLD}?language=zh", f"{WORLD}?language=en")
    data = replace(config.zero.data, seed=pair.seed, train=sources, weights=(4.0, 1.0))
    reward = replace(config.zero.reward, language=WEIGHT)
    return [
        runs.zero(config, pair),
        runs.learning(config, pair.named("language"), pair, plain, reward=reward),
        runs.learning(config, pair.named("chinese"), pair, chinese, data=data),
        runs.learning(
            config, pair.named("chinese-language"), pair, chinese, data=data, reward=reward
        ),
    ]


def measure(config: Config, pair: BaseAndSeed) -> Numbers:
    """Consistency, words per thought, accuracy."""
    measured: dict[str, float | None] = {}
    for what, arm in ARMS.items():
        done = summary(config, pair.named(what))
        sides = {arm: done.get("after", {})}
        if not arm.endswith("rewarded"):
            sides = {f"{arm} base": done.get("before", {})} | sides
        for side, record in sides.items():
            measured |= numbers(record, side, MEASURES)
    for arm in ("1:1", "4:1"):
        with_it, without = (measured[f"words/{side}"] for side in (f"{arm} rewarded", arm))
        measured[f"words change, %/{arm} rewarded"] = change(with_it, without)
    return measured


def _of(share: str) -> tuple[Comparison, ...]:
    rewarded = f"{share} rewarded"
    return (
        below(f"{share}, without: consistency", 95, f"consistency/{share}", unit="%"),
        above(f"{share}, with: consistency", 95, f"consistency/{rewarded}", unit="%"),
        Comparison(
            f"{share}: consistency, with - without", f"consistency/{rewarded}",
            f"consistency/{share}", least=5,
        ),
        above(f"{share}: words per thought, with against without", -20,
              f"words change, %/{rewarded}", unit="%"),
        above(f"{share}: pass@1, with - without", -3, f"pass@1/{rewarded}", f"pass@1/{share}"),
        Comparison(
            f"{share}, without: consistency falls from the base's", f"consistency/{share}",
            f"consistency/{share} base", sign=-1, least=-2, role="beside",
        ),
    )  # fmt: skip


CLAIM = Claim(
    letter="c",
    title="Thoughts mix languages; the language reward mends it at little cost",
    source="Section 2.3.2 and supplement B.6: without the reward consistency decays, with it it is "
    "stable, at slightly lower accuracy in code.",
    hypothesis="Without the language reward thoughts stay under 95 % consistent; with it they "
    "reach 95 %, while words per thought fall by less than 20 % and pass@1 by less than 3 points, "
    "whether base and problems are half Chinese or four fifths.",
    protocol="60 updates of R1-Zero with `--reward.language` 0 and 1, from bases whose corpus is "
    "half (1:1) and four fifths Chinese (4:1), on problems in the same proportion; 256 held-out "
    "problems, half Chinese. Consistency: mean share of a thought's words in the question's "
    "language; digits, formulas and tags are no words.",
    comparisons=_of("1:1") + _of("4:1"),
    picture=Picture("Language consistency", "percent", ("consistency",)),
    steps=steps,
    measure=measure,
    needs=("chinese_bases",),
)
