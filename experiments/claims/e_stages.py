"""(e) What each stage of R1 gives and takes.

    python -m experiments.claims --only e --bases runs/base0 runs/base1

10 runs of `experiments.r1 --preset demo` with the default seeds and the larger cold start that the
preset had when they were made, several minutes each on an accelerator; see `python -m
experiments.claims`.
"""

from __future__ import annotations

from experiments.claims import runs
from experiments.claims.claim import Claim, Comparison, Numbers, Picture, above, gain
from experiments.claims.results import number, numbers, summary
from experiments.claims.runs import BaseAndSeed, Config, ModuleJob, PlannedJob

STAGES = ("Zero", "Dev1", "Dev2", "Dev3", "R1")
RL_STAGES = ("zero", "reasoning-rl", "general-rl")
SAMPLERS = ("cold-start-data", "rejection")
SUPERVISED = ("cold-start", "general-sft", "helpfulness", "safety", "distill")
MEASURES = {
    "pass@1": "pass_at_1", "format": "format", "consistency": "language_consistency",
    "tokens": "length_mean",
}  # fmt: skip
COLD_START = 448  # prompts: those of the preset when the runs were made; it takes 128 now


def steps(config: Config, pair: BaseAndSeed) -> list[PlannedJob]:
    """The whole pipeline."""
    name = pair.named("r1")
    model = config.general_base(pair.base)
    flags = ["--preset", "demo", "--run", runs.place(config, name), "--seed", str(pair.seed),
             "--model", model]  # fmt: skip
    flags += ["--cold-start-data.prompts", str(COLD_START)]
    r, t = config.zero.rollout, config.zero.train
    for stage in RL_STAGES + SAMPLERS:
        flags += [f"--{stage}.rollout.slots", str(r.slots)]
        flags += [f"--{stage}.rollout.prefill", str(r.prefill)]
    for stage in RL_STAGES:
        flags += [f"--{stage}.train.rows", str(t.rows), f"--{stage}.reward.workers", "1"]
    for stage in SUPERVISED:
        flags += [f"--{stage}.train.rows", str(config.sft.train.rows)]
    return [PlannedJob(ModuleJob(name, "experiments.r1", tuple(flags)))]


def measure(config: Config, pair: BaseAndSeed) -> Numbers:
    """Every stage on the same problems."""
    done = summary(config, pair.named("r1")).get("stages", {})
    measured: dict[str, float | None] = {}
    for stage in STAGES:
        record = done.get(stage, {})
        measured |= numbers(record, stage, MEASURES)
        for key in ("helpfulness", "unsafe_compliance", "safe_refusal"):
            value = number(record, "general", key)
            measured[f"{key.replace('_', ' ')}/{stage}"] = None if value is None else 100 * value
    return measured


def _kept(measure: str, new: str, old: str, loss: float) -> Comparison:
    return above(f"{measure}: {new} - {old}", -loss, f"{measure}/{new}", f"{measure}/{old}")


CLAIM = Claim(
    letter="e",
    title="What each stage gives and takes",
    source="Table 3 of version 2: the cold start raises instruction following (IF-Eval 46.6 to "
    "71.7) and lowers reasoning (AIME 77.9 to 59.0), reasoning RL brings it back (74.0), general "
    "data and the final RL keep it (78.1, 79.8) and raise preference scores (AlpacaEval 62.1 to "
    "87.6).",
    hypothesis="Reasoning RL raises the pass@1 that a cold start leaves by at least 2 points; the "
    "general SFT and the final RL lose less than 3 points each; the final RL gains at least 5 "
    "points of helpfulness; R1 ends at least 5 points above Dev1, less than 3 below Zero, and at "
    "least 95 % consistent in language.",
    protocol="`experiments.r1 --preset demo` with 448 prompts in the cold start (the preset has "
    "128 since then): zero, cold start (Dev1), reasoning RL (Dev2), "
    "rejection sampling, general SFT of the base (Dev3), general RL with reward models in its last "
    "part (R1); every checkpoint on the same held-out problems x 16 samples, and on held-out "
    "general prompts by a gold score that no reward model has seen.",
    comparisons=(
        gain("pass@1", "Dev2", "Dev1", 2),
        _kept("pass@1", "Dev3", "Dev2", 3),
        _kept("pass@1", "R1", "Dev3", 3),
        gain("pass@1", "R1", "Dev1", 5),
        _kept("pass@1", "R1", "Zero", 3),
        above("consistency of R1", 95, "consistency/R1", unit="%"),
        gain("helpfulness", "R1", "Dev3", 5),
        gain("consistency", "Dev1", "Zero", 2, role="beside"),
        gain("helpfulness", "Dev1", "Zero", 2, role="beside"),
        gain("helpfulness", "Dev3", "Dev2", 5, role="beside"),
        Comparison("the cold start lowers pass@1: Dev1 - Zero", "pass@1/Dev1", "pass@1/Zero",
                   sign=-1, least=-2, role="beside"),
    ),
    picture=Picture("The stages", "percent", ("pass@1", "consistency", "helpfulness")),
    steps=steps,
    measure=measure,
)  # fmt: skip
