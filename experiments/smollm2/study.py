"""What R1-Zero and a cold start teach a real language model, SmolLM2-135M-Instruct.

    python -m experiments.smollm2.study --devices 4 --jobs 3 --memory-fraction 0.3 --minutes 9.5
    python -m experiments.smollm2.page

Every arm chooses its rate from the same grid on a selection split; then come GRPO beside a coin,
supervised training on own samples, the cold start and the answers alone with GRPO behind them, what
a thought is worth, and what keeps exploration alive. What is asked, by which bars and statistics,
was fixed before the first run and stands in docs/real_model.md. Meant for four H100 with three runs
on each, 15 to 20 minutes. What is finished is not run again, what was stopped goes on; `--figures`,
a line for each run, is all that has to be kept: a run with a line is made again only where another
needs its weights.
`--preset smoke` runs everything in miniature with the embedded base on a CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from experiments.gates import evidence, study
from experiments.gates.study import Figures, PlannedJob
from experiments.smollm2 import arms, beside, figures
from experiments.smollm2.arms import SELECTION_SEED, Config, Trial
from experiments.smollm2.verdicts import CUT
from r1jax.commands import cli
from r1jax.training.rl.config import EvalSchedule

Rates = Mapping[str, float]

EMPTY = "<think>\n\n</think>\n<answer>"
"""The beginning of an answer whose thought was left empty."""


def single(trial: Trial) -> dict[str, list[PlannedJob]]:
    """The arms that begin at the base and need no other, longest first, with a trial's runs."""
    return {
        "unverified": [arms.own_samples(trial, unverified=True)],
        "coin": [arms.coin(trial)],
        "grpo": [arms.grpo(trial)],
        "rejection": [arms.own_samples(trial, unverified=False)],
        "worked": ending(trial, "worked"),
        "answer": ending(trial, "answer"),
    }


def chained(trial: Trial, rates: Rates) -> dict[str, list[PlannedJob]]:
    """Solutions first, then GRPO: `rates` are those of the supervised arms."""
    steps = {}
    for kind in ("answer", "worked"):
        before = replace(trial, rate=rates[kind], selecting=False)
        first = arms.tuned(before, kind)
        steps[f"{kind}-grpo"] = [*first, arms.learning(trial, f"{kind}-grpo", before.named(kind))]
    return steps


def ending(trial: Trial, kind: str) -> list[PlannedJob]:
    """Supervised training on solutions, and what it is worth."""
    steps = arms.tuned(trial, kind)
    name = trial.named(kind)
    return [*steps, beside.judged(trial, name, f"judge-{name}")]


def selecting(config: Config) -> Iterator[Trial]:
    """The trials that choose a rate."""
    for rate in config.rates:
        yield Trial(config, SELECTION_SEED, rate, selecting=True)


def seeded(config: Config, rate: float, count: int) -> Iterator[Trial]:
    """The trials of an arm whose rate is known."""
    for seed in range(count):
        yield Trial(config, seed, rate)


def chosen(config: Config, found: Figures, arm: str) -> float | None:
    """The rate that did best on the selection split; None until all that can be is known.

    Where completions were cut the rate does not count, unless they were with every rate.
    """
    prefix = "judge-" if arm in ("worked", "answer") else ""
    tried = {t.rate: found.get(prefix + t.named(arm)) for t in selecting(config)}
    if None in tried.values():
        return None
    whole = {r: f for r, f in tried.items() if figures.truncated(f) <= CUT} or tried
    return max(whole, key=lambda r: figures.score(whole[r]))


def select(config: Config, found: Figures) -> list[PlannedJob]:
    """All rates of the arms that begin at the base."""
    trials = [single(trial) for trial in selecting(config)]
    return [step for arm in trials[0] for trial in trials for step in trial[arm]]


def main_arms(config: Config, found: Figures) -> list[PlannedJob]:
    """GRPO and the coin, then rates of the chains."""
    steps: list[PlannedJob] = []
    known = known_rates(config, found)
    for seed in range(config.seeds):
        steps += [s for arm in ("grpo", "coin") if arm in known
                  for s in single(Trial(config, seed, known[arm]))[arm]]  # fmt: skip
    if {"worked", "answer"} <= known.keys():
        for trial in selecting(config):
            # What a rate of GRPO is tried on is the cold start of the selection's own seed.
            for kind in ("answer", "worked"):
                before = Trial(config, SELECTION_SEED, known[kind], selecting=True)
                name = f"{kind}-grpo"
                steps.append(arms.learning(trial, name, before.named(kind)))
    return steps


def known_rates(config: Config, found: Figures) -> dict[str, float]:
    """The rates of those single arms that have all that chooses one."""
    rates = {arm: chosen(config, found, arm) for arm in single(next(selecting(config)))}
    return {arm: rate for arm, rate in rates.items() if rate is not None}


def supervised(config: Config, found: Figures) -> list[PlannedJob]:
    """Supervised training alone, on own samples or on solutions: described only."""
    known = known_rates(config, found)
    return [
        step
        for arm in ("unverified", "rejection", "worked", "answer")
        if arm in known
        for trial in seeded(config, known[arm], config.few)
        for step in single(trial)[arm]
    ]


def chains(config: Config, found: Figures) -> list[PlannedJob]:
    """Answers or worked solutions, then GRPO."""
    kinds = ("answer", "worked")
    rates = {k: chosen(config, found, k) for k in (*kinds, *(f"{k}-grpo" for k in kinds))}
    if None in rates.values():
        return []
    steps = []
    for seed in range(config.seeds):
        for kind in kinds:
            trial = Trial(config, seed, rates[f"{kind}-grpo"])
            steps += chained(trial, rates)[f"{kind}-grpo"]
    return steps


def thought(config: Config, found: Figures) -> list[PlannedJob]:
    """The cold start with GRPO when its thought is left empty, pass@k, and votes."""
    steps = []
    for seed in range(config.seeds):
        trial, name = Trial(config, seed, config.rates[0]), f"worked-grpo-s{seed}"
        if name in found:
            steps.append(beside.judged(trial, name, f"empty-{name}", prefill=EMPTY))
    steps.append(beside.many_samples(config, "", "many-base"))
    for seed in range(config.few):
        of = [name for arm in ("grpo", "worked-grpo") if (name := f"{arm}-s{seed}") in found]
        steps += [beside.many_samples(config, name, f"many-{name}") for name in of]
    for seed in range(config.seeds):
        short, long = (f"{kind}-grpo-s{seed}" for kind in ("answer", "worked"))
        if {short, long} <= found.keys():
            trial = Trial(config, seed, config.rates[0])
            count = max(1, round(figures.tokens(found[long]) / figures.tokens(found[short])))
            steps.append(beside.votes(trial, short, count, f"vote-{short}"))
    return steps


def budget(config: Config, found: Figures) -> list[PlannedJob]:
    """Thoughts that are closed early, beside arms that have none and end by themselves."""
    steps = []
    for trial in seeded(config, config.rates[0], config.few):
        for arm in ("", "grpo", "answer-grpo", "worked", "worked-grpo"):
            of = f"{arm}-s{trial.seed}" if arm else ""
            if of in found or not of:
                budgets = config.budgets if arm.startswith("worked") else (0,)
                name = f"budget-{arm or 'base'}-s{trial.seed}"
                steps.append(beside.budgeted(trial, of, name, budgets))
    return steps


def english(config: Config, found: Figures) -> list[PlannedJob]:
    """How likely plain English still is, to the base and to every arm."""
    steps = [beside.reading(config, "", "english-base")]
    for seed in range(config.few):
        for arm in figures.ARMS:
            if (of := f"{arm}-s{seed}") in found:
                exported = arm in ("rejection", "unverified")
                steps.append(beside.reading(config, of, f"english-{of}", exported))
    return steps


def gsm8k(config: Config, found: Figures) -> list[PlannedJob]:
    """GSM8K from the base, where its rows are named."""
    return [beside.gsm8k(config)] if config.gsm8k else []


def explore(config: Config, found: Figures) -> list[PlannedJob]:
    """One change at a time, at GRPO's rate."""
    rate = chosen(config, found, "grpo")
    if rate is None:
        return []
    return [s for t in seeded(config, rate, config.few) for s in arms.exploring(t)]


PLANS: dict[str, Callable[[Config, Figures], list[PlannedJob]]] = {
    "select": select, "main": main_arms, "chains": chains, "thought": thought,
    "supervised": supervised, "gsm8k": gsm8k, "budget": budget, "english": english,
    "explore": explore,
}  # fmt: skip


def wanted(config: Config, part: str, found: Figures) -> dict[str, PlannedJob]:
    """The runs of a part without a line, and those of any part whose weights one of them needs."""
    every = functools.partial(planned, config)
    known = evidence.agreeing(config, every, found)
    names = (step.job.name for step in PLANS[part](config, known))
    return study.wanted(names, every(known), known)


def planned(config: Config, found: Figures) -> dict[str, PlannedJob]:
    """The runs of all parts, by name."""
    plans = (plan(config, found) for plan in PLANS.values())
    return {step.job.name: step for steps in plans for step in steps}


def main(config: Config) -> None:
    """Runs what has no line yet, part by part; UserError when a run failed."""
    parts = [(part, functools.partial(wanted, config, part)) for part in config.only]
    study.conduct(config, parts, figures.figure)


_FULL = Config()
SMOKE = replace(
    _FULL,
    out="runs/smollm2-smoke",
    figures="runs/smollm2-smoke/figures.jsonl",
    model="embedded",
    seeds=2,
    few=1,
    rates=(1e-4,),
    problems=32,
    selection=4,
    many=4,
    budgets=(4, 8),
    zero=replace(
        _FULL.zero,
        updates=2,
        data=replace(
            _FULL.zero.data, template="mini", eval_count=4,
            train=("reasoning_gym:chain_sum?max_terms=2&max_digits=1",) * 2,
        ),
        rollout=replace(
            _FULL.zero.rollout, prompts=8, group=16, slots=64, prefill=4, max_prompt=128,
            max_tokens=32, dtype="float32",
        ),
        reward=replace(_FULL.zero.reward, workers=0),
        train=replace(
            _FULL.zero.train, rows=2, width=192, max_segments=4, dtype="float32", remat="none"
        ),
        eval=EvalSchedule(every=0, samples=2, greedy=False),
    ),
    sft=replace(
        _FULL.sft, epochs=1, batch=8,
        train=replace(_FULL.sft.train, rows=2, width=256, dtype="float32", remat="none"),
    ),
)  # fmt: skip
"""Every run in seconds, to see that all of it works; what it finds means nothing."""

if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config(), description=__doc__, presets={"smoke": SMOKE}))
