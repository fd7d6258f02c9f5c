"""(n) Rewards of steps: it matters where they are cut and who labels them, and they are hacked.

python -m experiments.claims --only n --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from experiments.claims import arms, gold
from experiments.claims.arms import ZERO
from experiments.claims.claim import (
    Claim,
    ClaimLine,
    Condition,
    Number,
    Numbers,
    Picture,
    Steps,
    gain,
)  # fmt: skip
from experiments.claims.h_hacking import watched
from experiments.claims.results import Row, course, of_arms, went
from experiments.claims.trial import BaseAndSeed, ClaimTrial, Study
from experiments.gates.jobs import Job
from experiments.gates.study import PlannedJob
from experiments.methods.changes import SEEN
from experiments.process_reward import best, labels
from experiments.process_reward.labels import ROWS, LabelKind
from r1jax.commands import reward_model as reward_models
from r1jax.data.examples.steps import Cut


class StepModel(NamedTuple):
    """What a process reward model learns: whose labels, of steps that are cut how."""

    called: str
    labels: LabelKind
    cut: Cut


MODELS = {
    "truth": StepModel("labels of truth", "truth", gold.CUT),
    "hard": StepModel("labels of continuations", "hard", gold.CUT),
    "whole": StepModel("one step", "truth", "line"),
}
TESTED = "tested"
"""Solutions apart, whose steps truth has judged."""
GOLD = ("experiments.claims.gold:true_steps=0", "experiments.claims.gold:steps=0")
JUDGE = "hard"
"""The model that is optimised against: its labels need nobody who knows each step."""
POLICIES = {
    "pleasing": "rewarded by the model", "pleasing-truth": "rewarded by the model of truth",
    "watching": "rewarded by the rule",
}  # fmt: skip
PLEASED = (POLICIES["pleasing"], POLICIES["watching"])
OVER = "steps called right that are not, %"


def solutions(trial: ClaimTrial, called: str, who: LabelKind, cut: Cut, seed: int) -> PlannedJob:
    """Solutions of the base, their steps labelled."""
    c, name = trial.config, trial.named(f"steps-{called}")
    run = replace(
        c.labels, run=c.place(name), model=trial.model, seed=trial.seed, labels=who, steps=cut,
        data=replace(c.labels.data, seed=seed),
    )  # fmt: skip
    job = Job(name, "experiments.process_reward.labels", run, labels.Config())
    return PlannedJob(job, trial.needed)


def judge(trial: ClaimTrial, called: str) -> Steps:
    """A model of steps, what it says of solutions apart, and what it chooses of the base's."""
    c, (_, who, cut) = trial.config, MODELS[called]
    data, name, tested = (trial.named(f"{n}-{called}") for n in ("steps", "prm", "best"))
    needed, judged = [data], f"judge-base{trial.base}"
    files = {"train": (c.place(data, ROWS),)}
    if cut == gold.CUT:
        files["eval"] = (trial.inside(f"steps-{TESTED}", ROWS),)
        needed.append(trial.named(f"steps-{TESTED}"))
    run = replace(
        c.step_model, run=c.place(name), model=trial.model, seed=trial.seed, steps=cut,
        data=replace(c.step_model.data, **files),
    )  # fmt: skip
    completions = c.place(judged, "completions.jsonl")
    choice = best.Config(run=c.place(tested), completions=completions, reward=c.place(name))
    default = reward_models.COMMAND.default
    return [
        solutions(trial, called, who, cut, trial.seed),
        PlannedJob(Job(name, "experiments.reward_model", run, default), (*trial.needed, *needed)),
        PlannedJob(
            Job(tested, "experiments.process_reward.best", choice, best.Config()), (name, judged)
        ),
    ]


def policies(trial: ClaimTrial) -> Steps:
    """Reinforcement learning by a model's word alone, and by the rule with that model watching."""
    zero, planned = trial.zero, []
    for arm, model in (("pleasing", JUDGE), ("pleasing-truth", "truth")):
        name = trial.named(f"prm-{model}")
        place = trial.config.place(name)
        alone = zero.control(user=(*SEEN, *GOLD), model=(f"{place}=1.0",))
        planned.append(arms.learning(trial, arm, (name,), **alone))
    name = trial.named(f"prm-{JUDGE}")
    reward = replace(zero.reward, user=GOLD, model=(f"{trial.config.place(name)}=0",))
    return [*planned, arms.learning(trial, "watching", (name,), reward=reward)]


def steps(study: Study) -> Steps:
    """Labels, models and choices of every base and seed; policies at R1-Zero's rate."""
    planned = arms.every_base(study.config, "base") + arms.bases_judged(study)
    planned += study.steps(ZERO)
    if (rate := study.rate(ZERO.name)) is None:
        return planned
    for pair in study.pairs():
        trial = ClaimTrial(study, *pair, rate)
        apart = arms.DATA_SEED + trial.seed
        planned.append(solutions(trial, TESTED, "truth", gold.CUT, apart))
        planned += [step for called in MODELS for step in judge(trial, called)]
        planned += policies(trial)
    return planned


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Choices and first errors of every model; what each policy's steps are said to be and are."""
    found: dict[str, Number] = of_arms(study, pair, POLICIES)
    for model, (called, _, _) in MODELS.items():
        get = lambda kind, name=model: study.found.get(pair.named(f"{kind}-{name}"), {})  # noqa: E731
        chosen, judged = get("best").get("choices", {}), get("prm").get("after", {})
        found |= went(get("prm"), called)
        found[f"best of 16/{called}"] = percents(chosen.get("best of N, min"))
        found[f"vote/{called}"] = percents(chosen.get("vote"))
        for said, key in (("first errors found, F1", "f1"), ("AUC, %", "auc")):
            found[f"{said}/{called}"] = percent(judged.get(key))
        for key in ("wrong_called_right", "right_called_wrong"):
            found[f"{key.replace('_', ' ')}, %/{called}"] = percent(get("steps").get(key))
    for arm, called in POLICIES.items():
        model = "truth" if arm == "pleasing-truth" else JUDGE
        row = study.row(pair.named(arm))
        found |= watched(overstated(row, pair.named(f"prm-{model}")), called, OVER, 100)
        found |= watched(course(row, "reward/steps"), called, "steps", 1)
    return found


def overstated(row: Row, model: str) -> list[float]:
    """Steps that the model calls right beyond those that are, by those written, in each rollout."""
    said, true, written = (course(row, f"reward/{key}") for key in (model, "true_steps", "steps"))
    return [(s - t) / n for s, t, n in zip(said, true, written, strict=True)]


def percent(value: float | None) -> float | None:
    """A share in percent."""
    return None if value is None else 100 * value


def percents(text: str | None) -> Number:
    """The shares of all problems in percent."""
    return None if text is None else [100 * float(value) for value in text.split()]


CLAIM = Claim(
    letter="n",
    title="Rewards of steps: where they are cut, who labels them, and how they are hacked",
    source="Section 4.2 of version 1 (G.2 of 2): a fine-grained step is hard to define, whether a "
    "step is right is hard to tell (labels by models may not satisfy), and a model of it leads to "
    "reward hacking; it is good at choosing among samples all the same.",
    hypothesis="A model of steps chooses at least 2 points better than one to which a solution is "
    "one step, labels of continuations find first errors at least 5 points of F1 worse than "
    "truth, and of what a policy writes that such a model rewards the model comes to overstate the "
    "steps by at least 5 points more than of what one writes that the rule rewards.",
    protocol="Of each base 512 training problems x 4 solutions at temperature 1, cut at sentences, "
    "labelled by the world's truth or by 8 continuations of each step (right if any ends right); "
    "and cut at lines, of which the world writes one, by truth. A process reward model learns each "
    "(the reward demo's rate). Segmentation: the best of the base's 16 samples by their worst "
    "step, on 256 held-out problems. Label bias: ProcessBench's F1 on further solutions that truth "
    "has judged. Hacking: 60 updates as R1-Zero with the word of the model of continuations as "
    "only reward, at R1-Zero's rate; the model's word less the true steps, by the steps written, "
    "last 10 rollouts against the first 10: and the same where the rule rewards and the model only "
    "watches, whose word changes there with what is written, unasked. Beside: a policy rewarded by "
    "the model of truth.",
    lines=(
        gain("best of 16", "labels of truth", "one step", 2),
        gain("first errors found, F1", "labels of truth", "labels of continuations", 5),
        gain(f"{OVER}, change", *PLEASED, 5, "% of the steps"),
    ),
    conditions=(
        Condition("the model of truth tells right steps from wrong ones (AUC of 70 %)",
                  "AUC, %/labels of truth", low=70),
    ),
    beside=(
        ClaimLine("wrong steps that continuations call right, %",
                  "wrong called right, %/labels of continuations"),
        ClaimLine("best of 16 by the model of truth - vote", "best of 16/labels of truth",
                  "vote/labels of truth"),
        gain("best of 16", "labels of truth", "labels of continuations", 0),
        *(ClaimLine(f"{OVER}, change: {called}", f"{OVER}, change/{called}")
          for called in POLICIES.values()),
        gain("steps, change", *PLEASED, 0, "steps"),
        gain("pass@1", *PLEASED, 0),
    ),
    picture=Picture("Steps called right that are not", "percent of the steps",
                    (f"{OVER}, first", f"{OVER}, last")),
    steps=steps,
    measure=measure,
    minutes=20,
)  # fmt: skip
