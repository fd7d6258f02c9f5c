"""(o) Search over steps helps where answers are written, and does not improve the model itself.

python -m experiments.claims --only o --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from experiments.claims import arms
from experiments.claims.claim import (
    Arm,
    Claim,
    ClaimLine,
    Condition,
    Number,
    Numbers,
    Picture,
    Steps,
    below,
    gain,
)  # fmt: skip
from experiments.claims.results import RIGHT, numbers, of_arms
from experiments.claims.trial import BaseAndSeed, ClaimTrial, Study
from experiments.gates.jobs import Job
from experiments.gates.study import PlannedJob
from r1jax.evaluate.measures import EvalConfig
from r1jax.presets.search import PRESETS as SEARCH
from r1jax.run.flags import part
from r1jax.search.config import Method

METHODS: tuple[Method, ...] = get_args(Method)
CALLED = {"beam": "beam", "mcts": "MCTS", "sample": "no search"}
WORTH = {"search/best": "", "sample/best": ", as many samples"}
"""What the end is called that the value model likes best: the search's, or that of samples."""


def searched(method: Method) -> Arm:
    """Rounds of a search and of learning from what it found."""
    arm = f"search-{method}"

    def steps(trial: ClaimTrial) -> Steps:
        c, zero, name = trial.config, trial.zero, trial.named(arm)
        run = replace(
            c.search, run=c.place(name), model=trial.model, method=method, seed=trial.seed,
            data=zero.data, eval=part(EvalConfig, zero.eval),
            optimizer=replace(c.search.optimizer, lr=trial.rate),
        )  # fmt: skip
        return [PlannedJob(Job(name, "experiments.search", run, SEARCH["demo"]), trial.needed)]

    return Arm(arm, steps)


ARMS = {method: searched(method) for method in METHODS}
BEAM = ARMS["beam"]


def spent(trial: ClaimTrial) -> float | None:
    """Operations of the policy in the beam's rounds with the same base and seed."""
    beam = trial.of(BEAM.name)
    row = trial.study.row(beam.named(BEAM.name)) if beam else {}
    return row.get("operations", {}).get("student")


OWN = arms.at_equal_operations(arms.own_samples("search-own"), spent)


def steps(study: Study) -> Steps:
    """Rounds by every method, then supervised training on own right samples for the same."""
    planned = arms.every_base(study.config, "base") + arms.bases_judged(study)
    return planned + study.steps(*ARMS.values(), OWN)


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """The policy alone after each round, and what the value model chooses from search or samples.

    What is chosen comes as a mean over problems; the policy alone is known problem by problem.
    """
    found: dict[str, Number] = of_arms(study, pair, {OWN.name: "own right samples"})
    for method, arm in ARMS.items():
        row, called = study.row(pair.named(arm.name)), CALLED[method]
        found |= numbers(row, called, RIGHT)
        for number, judged in enumerate(row.get("rounds", ()), start=1):
            found |= numbers({"after": judged}, called, {f"pass@1, round {number}": "right"})
            for key, behind in WORTH.items():
                if key in judged:
                    found[f"chosen, round {number}/{called}{behind}"] = 100 * judged[key]
    return found


def chosen(called: str, number: int) -> ClaimLine:
    """What the search chooses against the best of as many tokens of samples."""
    return gain(f"chosen, round {number}", called, f"{called}, as many samples", 2)


CLAIM = Claim(
    letter="o",
    title="Search helps where answers are written, not the model itself",
    source="Section 4.2 of version 1 (G.2 of 2): MCTS guided by a value model improves inference; "
    "to boost the model iteratively by self-search remains a challenge. AlphaMath (2405.03553) "
    "reports gains over its rounds.",
    hypothesis="A beam over steps, guided by a value model, is at least 2 points better than the "
    "best of as many tokens of samples; the policy itself gains less than 2 points from the first "
    "round to the third, and ends less than 2 above supervised training on its own right samples.",
    protocol="Three rounds of {search 512 problems for 192 tokens each, learn from at most two "
    "right solutions of each, teach the value model q of every step} (`docs/search.md`), the "
    "value model begun as the policy, at the demo's rate, judged on 256 held-out problems. o1, in "
    "the first round: the end that the value model likes best among the search's, against its best "
    "of plain samples of as many tokens, problem by problem (bases are its only units: the runs "
    "keep means). o2: the policy alone, 16 samples, after the third round against the first. o3: "
    "against supervised training on right samples of the base, drawn and learnt until the policy's "
    "operations of the beam's rounds are spent. Beside: MCTS, and rounds without a search for the "
    "same tokens.",
    lines=(
        chosen("beam", 1),
        below("the policy alone: round 3 - round 1", 2, "pass@1, round 3/beam",
              "pass@1, round 1/beam"),
        below("the policy alone: beam - own right samples", 2, "pass@1/beam",
              "pass@1/own right samples"),
    ),
    conditions=(
        Condition("after the first round the policy is below 95 %", "pass@1, round 1/beam",
                  high=95),
    ),
    beside=(
        chosen("beam", 3),
        chosen("MCTS", 1),
        gain("pass@1", "beam", "no search", 0),
        gain("pass@1", "MCTS", "no search", 0),
        gain("pass@1", "beam", "base", 0),
        ClaimLine("no search: round 3 - round 1", "pass@1, round 3/no search",
                  "pass@1, round 1/no search"),
    ),
    picture=Picture("Held-out accuracy", "percent", ("pass@1, round 1", "pass@1, round 3")),
    steps=steps,
    measure=measure,
    minutes=30,
)  # fmt: skip
