"""A run of an arm: its base, seed and rate; and how a rate is chosen on the selection set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, NamedTuple

from experiments.claims import bases
from experiments.claims.claim import Arm, Steps
from experiments.claims.runs import WORLD, Config
from experiments.gates.study import Figures
from r1jax.training.rl.config import RLConfig

SELECTION_SEEDS = (90, 91)
"""Of every run that chooses a rate; no other run has them."""

LONGER = 4
"""Updates, in R1-Zero's, that usually suffice to spend as many operations."""


COMPARED = re.compile(r"(.+)-b\d+-s\d+")
"""A run that chooses no rate, by the name of its arm."""

LOST = {"diverged": True, "rates": True}
"""What is found of an arm that diverged with every rate."""


class BaseAndSeed(NamedTuple):
    """The number of a base, and a seed."""

    base: int
    seed: int

    def named(self, arm: str) -> str:
        """The name of an arm's run."""
        return f"{arm}-b{self.base}-s{self.seed}"


@dataclass(frozen=True)
class Study:
    """The flags, and what finished runs have found."""

    config: Config
    found: Figures

    def pairs(self, seeds: int = 0) -> list[BaseAndSeed]:
        """Every base with every seed, each seed on all bases before the next one."""
        c = self.config
        return [BaseAndSeed(b, s) for s in range(seeds or c.seeds) for b in range(c.bases)]

    def row(self, name: str) -> Mapping[str, Any]:
        """The line of a run, with what an evaluation apart has found of it; empty without.

        Where the run waits for that evaluation, its line alone is no line. A run that was not made
        because its arm diverged with every rate has the line LOST.
        """
        if name not in self.found and (match := COMPARED.fullmatch(name)) and self.lost(match[1]):
            return LOST
        judged, own = self.found.get(f"judge-{name}", {}), self.found.get(name, {})
        return {**judged, **own} if "after" in judged or "after" in own or diverged(own) else {}

    def selecting(self) -> Iterator[ClaimTrial]:
        """The trials that choose a rate, on a base of their own."""
        for rate in self.config.rates:
            for seed in SELECTION_SEEDS:
                yield ClaimTrial(self, self.config.bases, seed, rate, selecting=True)

    def tried(self, arm: str) -> dict[float, float] | None:
        """Mean pass@1 on the selection set by rate; None until all rates are tried.

        A rate with which a run diverged is not among them: empty where all did.
        """
        means: dict[float, float] = {}
        for rate in self.config.rates:
            trials = [trial for trial in self.selecting() if trial.rate == rate]
            rows = [self.row(trial.named(arm)) for trial in trials]
            if not all(rows):
                return None
            if not any(map(diverged, rows)):
                means[rate] = fmean(row["after"]["pass_at_1"] for row in rows)
        return means

    def rate(self, arm: str) -> float | None:
        """The rate that does best on the selection set; None until that is known."""
        means = self.tried(arm)
        return max(means, key=lambda rate: means[rate]) if means else None

    def lost(self, arm: str) -> bool:
        """Whether runs diverged with every rate, so that there is none to go on with."""
        return self.tried(arm) == {}

    def best(self, arms: Sequence[str]) -> str | None:
        """The arm that does best there, each at its rate; None until all are tried, or lost."""
        tried = {arm: self.tried(arm) for arm in arms}
        known = {arm: max(means.values()) for arm, means in tried.items() if means}
        if not known or None in tried.values():
            return None
        return max(known, key=lambda arm: known[arm])

    def steps(self, *arms: Arm, seeds: int = 0, kind: str = "base") -> Steps:
        """The runs of arms: those that choose a rate, then those of all bases and seeds."""
        planned = []
        for arm in arms:
            trials = list(self.selecting())
            if (rate := self.rate(arm.name)) is not None:
                trials += [ClaimTrial(self, *pair, rate) for pair in self.pairs(seeds)]
            planned += [step for t in trials for step in arm.steps(replace(t, kind=kind))]
        return planned


@dataclass(frozen=True)
class ClaimTrial:
    """An arm's run, on the held-out problems or, while it chooses a rate, on the selection set."""

    study: Study
    base: int
    seed: int
    rate: float = 0.0
    selecting: bool = False
    kind: str = "base"
    """Of the base that is trained."""
    most: float = 0.0
    """Operations that the student may spend; 0: as many updates as R1-Zero makes."""
    longer: int = LONGER
    """Updates, in R1-Zero's, after which a run ends that has not spent them."""

    @property
    def config(self) -> Config:
        """The flags."""
        return self.study.config

    @property
    def model(self) -> str:
        """Directory of its base."""
        return bases.place(self.config, self.kind, self.base)

    @property
    def needed(self) -> tuple[str, ...]:
        """The run that makes its base."""
        return bases.needed(self.config, self.kind, self.base)

    def named(self, arm: str) -> str:
        """The run's name."""
        if self.selecting:
            return f"select-{arm}-b{self.base}-{self.rate:g}-s{self.seed}"
        return BaseAndSeed(self.base, self.seed).named(arm)

    def of(self, arm: str, kind: str = "base") -> ClaimTrial | None:
        """The same base and seed at another arm's rate; None until that is known."""
        rate = self.study.rate(arm)
        return None if rate is None else replace(self, rate=rate, kind=kind, most=0.0)

    def inside(self, arm: str, file: str) -> str:
        """A file of an arm's run."""
        return self.config.place(self.named(arm), file)

    @property
    def zero(self) -> RLConfig:
        """R1-Zero on its base with this seed and rate; the base is judged apart, once."""
        c = self.config
        run = replace(
            c.zero, model=self.model, seed=self.seed,
            data=replace(c.zero.data, seed=self.seed),
            optimizer=replace(c.zero.optimizer, lr=self.rate),
            eval=replace(c.zero.eval, before=False),
        )  # fmt: skip
        if self.most:
            run = replace(run, updates=self.longer * run.updates, until_operations=self.most)
        return selected(run, c) if self.selecting else run


def selected(run: RLConfig, config: Config) -> RLConfig:
    """The run judged on the selection set: the problems behind the held-out ones."""
    skip = config.zero.data.eval_count
    data = replace(run.data, eval=(f"{WORLD}?skip={skip}",), eval_count=config.selection)
    return replace(run, data=data, eval=replace(run.eval, samples=max(1, run.eval.samples // 2)))


def diverged(row: Mapping[str, Any]) -> bool:
    """Whether a run was stopped because its numbers were not finite."""
    return bool(row.get("diverged"))
