"""(e) What each stage of R1 gives and takes.

python -m experiments.claims --only e --devices 1 --jobs 10 --memory-fraction 0.08
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments.claims import arms
from experiments.claims.claim import (
    Claim,
    ClaimLine,
    Number,
    Numbers,
    Picture,
    Steps,
    above,
    gain,
)  # fmt: skip
from experiments.claims.results import number, went
from experiments.claims.trial import BaseAndSeed, ClaimTrial, Study
from experiments.gates.study import PlannedJob

STAGES = ("Zero", "Dev1", "Dev2", "Dev3", "R1")
MEASURES = {
    "pass@1": "pass_at_1", "format": "format", "consistency": "language_consistency",
    "tokens": "length_mean",
}  # fmt: skip
GENERAL = ("helpfulness", "unsafe_compliance", "safe_refusal")
RL_STAGES = ("zero", "reasoning-rl", "general-rl")
SAMPLERS = ("cold-start-data", "rejection")
SUPERVISED = ("cold-start", "general-sft", "helpfulness", "safety", "distill")


@dataclass(frozen=True)
class PipelineJob:
    """A pipeline with flags as they stand beside a preset's; its summary is what marks its end."""

    name: str
    arguments: tuple[str, ...]
    config: None = None

    def finished(self, out: Path) -> bool:
        """Whether its summary is there."""
        return (out / self.name / "summary.json").exists()

    @property
    def command(self) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "experiments.r1", "--preset", "demo", *self.arguments]


def pipeline(trial: ClaimTrial) -> PlannedJob:
    """The shipped preset from the trial's base, in an accelerator's shapes."""
    c, name = trial.config, trial.named("r1")
    flags = ["--run", c.place(name), "--seed", str(trial.seed), "--model", trial.model]
    r, t = c.zero.rollout, c.zero.train
    for stage in RL_STAGES + SAMPLERS:
        flags += [f"--{stage}.rollout.slots", str(r.slots)]
        flags += [f"--{stage}.rollout.prefill", str(r.prefill)]
    for stage in RL_STAGES:
        flags += [f"--{stage}.train.rows", str(t.rows), f"--{stage}.reward.workers", "1"]
    for stage in SUPERVISED:
        flags += [f"--{stage}.train.rows", str(c.sft.train.rows)]
    return PlannedJob(PipelineJob(name, tuple(flags)), trial.needed)


def steps(study: Study) -> Steps:
    """The whole pipeline on every base and seed, at the preset's own rates."""
    trials = [ClaimTrial(study, *pair) for pair in study.pairs()]
    return arms.every_base(study.config, "base") + [pipeline(trial) for trial in trials]


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Every stage on the same problems."""
    row = study.found.get(pair.named("r1"), {})
    done = row.get("stages", {})
    found: dict[str, Number] = {}
    for stage in STAGES:
        record = {"after": done.get(stage, {})}
        found |= {f"{said}/{stage}": number(record, key) for said, key in MEASURES.items()}
        found |= went(row, stage)
        for key in GENERAL:
            value = number(record, key)
            said = key.replace("_", " ")
            found[f"{said}/{stage}"] = None if value is None else 100 * value
    return found


CLAIM = Claim(
    letter="e",
    title="What each stage gives and takes",
    source="Table 3 of version 2: the cold start raises instruction following (IF-Eval 46.6 to "
    "71.7) and lowers reasoning (AIME 77.9 to 59.0), reasoning RL brings it back (74.0), general "
    "data and the final RL keep it (78.1, 79.8) and raise preference scores (AlpacaEval 62.1 to "
    "87.6).",
    hypothesis="The cold start lowers pass@1 by at least 5 points, reasoning RL raises it again by "
    "at least 5, and R1 ends less than 3 points below Zero.",
    protocol="`experiments.r1 --preset demo` as it is shipped, from each base: zero, cold start "
    "(Dev1), reasoning RL (Dev2), rejection sampling, general SFT of the base (Dev3), general RL "
    "with reward models in its last part (R1); every checkpoint on the same 256 held-out problems "
    "x 16 samples, and on held-out general prompts by a gold score that no reward model has seen. "
    "The preset's rates were chosen on the package's base, which is none of these.",
    lines=(
        ClaimLine(
            "the cold start lowers pass@1: Dev1 - Zero",
            "pass@1/Dev1",
            "pass@1/Zero",
            sign=-1,
            least=-5,
        ),
        gain("pass@1", "Dev2", "Dev1", 5),
        above("pass@1: R1 - Zero", -3, "pass@1/R1", "pass@1/Zero"),
    ),
    beside=(
        gain("pass@1", "Dev3", "Dev2", 0),
        gain("pass@1", "R1", "Dev3", 0),
        gain("consistency", "R1", "Zero", 0),
        gain("helpfulness", "R1", "Dev3", 0),
        gain("helpfulness", "Dev3", "Dev2", 0),
    ),
    picture=Picture("The stages", "percent", ("pass@1", "consistency", "helpfulness")),
    steps=steps,
    measure=measure,
    minutes=30,
    jobs=10,
)
