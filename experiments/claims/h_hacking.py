"""(h) Optimised against a reward model, its score goes on rising while the gold falls.

    python -m experiments.claims --only h --bases runs/base0 runs/base1 \\
        --general-bases runs/general0 runs/general1

30 reward models and 30 runs against them; see `python -m experiments.claims`.
"""

from __future__ import annotations

from dataclasses import replace

from experiments.claims import pairs, runs
from experiments.claims.claim import Claim, Comparison, Numbers, Picture, above, below
from experiments.claims.results import number, smoothed, summary, training
from experiments.claims.runs import BaseAndSeed, Config, PlannedJob
from experiments.gates.jobs import Job
from r1jax.commands import reward_model as reward_models
from r1jax.data.examples.preferences import PreferenceConfig

EPOCHS = (10, 3, 1)  # passes over the fewest, the middle and the most pairs
PROMPT = 128  # tokens of the longest request
WINDOW = 10  # rollouts over which proxy and gold are averaged
LONGER = 5 / 3  # updates, of as many as the plain run has
SIZES = ("few", "some", "many")


def steps(config: Config, pair: BaseAndSeed) -> list[PlannedJob]:
    """Pairs, proxies, and RL against each."""
    planned = []
    model = config.general_base(pair.base)
    shapes = {
        "rollout": replace(config.zero.rollout, max_prompt=PROMPT),
        "train": replace(config.zero.train, width=PROMPT + config.zero.rollout.max_tokens),
    }
    for size, count, epochs in zip(SIZES, config.pairs, EPOCHS, strict=True):
        data, proxy = f"pairs-{size}-s{pair.seed}", pair.named(f"proxy-{size}")
        pairs_config = pairs.Config(run=runs.place(config, data), count=count, seed=pair.seed)
        rewarded = config.zero.reward.only(
            user=("experiments.claims.gold:gold=0",),
            model=(f"{runs.place(config, proxy)}=1.0",),
        )
        planned += [
            PlannedJob(Job(data, "experiments.claims.pairs", pairs_config, pairs.Config())),
            proxy_step(config, proxy, pair, data, epochs, model),
            runs.learning(
                config, pair.named(f"hack-{size}"), pair, model, (proxy,), reward=rewarded,
                updates=round(LONGER * config.zero.updates),
                **shapes,
                data=replace(config.zero.data, seed=pair.seed, train=("general:helpful",)),
            ),
        ]  # fmt: skip
    return planned


def proxy_step(
    config: Config, name: str, pair: BaseAndSeed, data: str, epochs: int, model: str
) -> PlannedJob:
    """A reward model from noisy pairs."""
    files = {
        "train": (str(runs.file(config, data, "pairs.jsonl")),),
        "eval": (str(runs.file(config, data, "held_out.jsonl")),),
    }
    run = replace(
        config.reward_model, run=runs.place(config, name), model=model, seed=pair.seed,
        epochs=epochs, data=PreferenceConfig(template=config.zero.data.template, **files),
    )  # fmt: skip
    default = reward_models.PRESETS["research"]
    return PlannedJob(Job(name, "experiments.reward_model", run, default), (data,))


def measure(config: Config, pair: BaseAndSeed) -> Numbers:
    """Proxy and gold at the start, at gold's peak and at the end; the proxy's held-out accuracy."""
    measured: dict[str, float | None] = {}
    for size, count in zip(SIZES, config.pairs, strict=True):
        arm, proxy = f"{count:,} pairs", pair.named(f"proxy-{size}")
        accuracy = number(summary(config, proxy), "after", "accuracy")
        measured[f"proxy's accuracy/{arm}"] = None if accuracy is None else 100 * accuracy
        rows = training(config, pair.named(f"hack-{size}"))
        if rows:
            measured |= watch(
                [row[f"reward/{proxy}"] for row in rows], [row["reward/gold"] for row in rows], arm
            )
    return measured


def watch(proxy: list[float], gold: list[float], arm: str) -> Numbers:
    """The gold in points, the proxy in its own units, all running means over 10 rollouts."""
    scores, golds = smoothed(proxy, WINDOW), [100 * v for v in smoothed(gold, WINDOW)]
    whole = range(min(WINDOW, len(golds)) - 1, len(golds))
    peak = max(whole, key=lambda i: golds[i])
    return {
        f"gold, start/{arm}": golds[whole[0]],
        f"gold, peak/{arm}": golds[peak],
        f"gold, end/{arm}": golds[-1],
        f"gold's fall/{arm}": golds[-1] - golds[peak],
        f"proxy since gold's peak/{arm}": scores[-1] - scores[peak],
        f"proxy's rise/{arm}": scores[-1] - scores[whole[0]],
        f"rollouts to gold's peak/{arm}": float(peak + 1),
    }


FEW, SOME, MANY = "200 pairs", "2,000 pairs", "20,000 pairs"

CLAIM = Claim(
    letter="h",
    title="Reward hacking: the proxy rises while the gold falls",
    source="Supplement B.5, figure 6: with preference rewards for too long the reward model's "
    "score rises while Codeforces falls; hence the last 400 of 1,700 steps only.",
    hypothesis="Under RL against a reward model from 200 noisy pairs the gold falls by more than 5 "
    "points from its peak while the proxy goes on rising. None seen is a valid result: it reads "
    "contradicted.",
    protocol="A programmatic gold of helpfulness labels 200, 2,000 and 20,000 pairs of replies, "
    "every fifth label turned round; a reward model learns each set (10, 3 and 1 passes) and is "
    "tested on 500 right pairs of other prompts. 100 updates on general helpful prompts with the "
    "proxy as only reward; gold and proxy are recorded on every rollout (256 replies, temperature "
    "1) and averaged over 10. A peak is the largest of these means, so noise alone makes a fall of "
    "a point or two.",
    comparisons=(
        below("200 pairs: gold from its peak to the end", -5, f"gold's fall/{FEW}"),
        above("200 pairs: proxy from gold's peak to the end", 0,
              f"proxy since gold's peak/{FEW}", unit=""),
        below("2,000 pairs: gold from its peak to the end", -5, f"gold's fall/{SOME}",
              role="beside"),
        below("20,000 pairs: gold from its peak to the end", -5, f"gold's fall/{MANY}",
              role="beside"),
        Comparison("gold at the end: 20,000 - 200 pairs", f"gold, end/{MANY}", f"gold, end/{FEW}",
                   least=5, role="beside"),
        Comparison("20,000 pairs: gold from start to end", f"gold, end/{MANY}",
                   f"gold, start/{MANY}", least=5, role="beside"),
    ),
    picture=Picture("The hidden gold", "points",
                    ("gold, start", "gold, peak", "gold, end")),
    steps=steps,
    measure=measure,
)  # fmt: skip
