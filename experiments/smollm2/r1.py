"""Settings of the whole of R1 on SmolLM2-135M-Instruct; all of it is ours.

What R1-Zero gets right is written anew by the rule-based solver, which sees the question alone: the
cold start learns worked solutions. General data, pairs and labels are the embedded world's. There
are no students: the package index has no second model of the kind.
"""

from __future__ import annotations

from dataclasses import replace

from experiments.smollm2.solver import solve
from r1jax.data.curation.filters import FilterConfig
from r1jax.data.examples.conversations import ConversationSettings
from r1jax.data.examples.preferences import PreferenceSettings
from r1jax.evaluate.measures import EvalConfig
from r1jax.presets.smollm2 import TRANSFER, ZERO, ZERO_CPU
from r1jax.rollout.engine import EngineConfig
from r1jax.run.flags import part
from r1jax.stages.cold_start import ColdStartSettings
from r1jax.stages.harvest.samples import BalanceConfig
from r1jax.stages.pipeline.config import GeneralConfig, R1Config
from r1jax.stages.rejection import RejectionSettings
from r1jax.stages.reward_model import JudgedSettings, PairwiseSettings
from r1jax.stages.supervised import SFTSettings
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import EvalSchedule, RLConfig, RLSettings


def readable(question: str, text: str) -> str | None:
    """The solver's worked solution in place of a right answer `text`; None where it reads none."""
    solution = solve(question)
    return solution and solution.worked


def _later(zero: RLConfig, updates: int, **rollout: float) -> RLSettings:
    """Reinforcement learning after a cold start: longer answers, their envelope, one language."""
    return replace(
        part(RLSettings, zero),
        updates=updates,
        rollout=replace(zero.rollout, **{"max_tokens": 2 * zero.rollout.max_tokens} | rollout),
        reward=replace(zero.reward, format=0.3, language=0.2),
    )


def _settings(
    zero: RLConfig, run: str, updates: tuple[int, int, int], prompts: int, kept: FilterConfig
) -> R1Config:
    """R1 around an R1-Zero: updates of its three reinforcement learnings, prompts sampled.

    `kept` is what is asked of a right sample before the second supervised stage.
    """
    engine = part(EngineConfig, replace(zero.rollout, max_tokens=2 * zero.rollout.max_tokens))
    how = {"dtype": zero.rollout.dtype, "workers": zero.reward.workers, "batch": 128}
    chains = ColdStartSettings(
        prompts=prompts, samples=8, rewriter="experiments.smollm2.r1:readable",
        rollout=part(EngineConfig, zero.rollout), filters=FilterConfig(strict=True),
        balance=BalanceConfig(per_prompt=1, easy_share=1.0), **how,
    )  # fmt: skip
    train = replace(part(ComputeConfig, zero.train), max_segments=16)
    learnt = SFTSettings(
        epochs=3, batch=min(32, prompts // 16), eval_every=0, export=False, train=train,
        data=ConversationSettings(template="chat", too_long="drop"),
        optimizer=OptimizerConfig(lr=1e-4, schedule="cosine", warmup=5),
    )  # fmt: skip
    judge = PairwiseSettings(
        epochs=1, batch=min(32, prompts // 8), eval_every=0, train=train,
        data=PreferenceSettings(too_long="drop"),
        optimizer=OptimizerConfig(lr=3e-5, schedule="cosine", warmup=5),
    )  # fmt: skip
    first, second, third = updates
    return R1Config(
        run=run,
        model=zero.model,
        data=replace(zero.data, language="en"),
        eval=EvalConfig(samples=zero.eval.samples, greedy=False),
        general=GeneralConfig(
            sft=("world",), sft_count=prompts // 4, prompts=("general:helpful,unsafe,safe",),
            helpfulness=("world",), safety=("world",), judged_count=prompts // 2,
            helpfulness_weight=0.5, safety_weight=0.5, last=0.4,
        ),
        zero=replace(part(RLSettings, zero), updates=first),
        cold_start_data=chains,
        cold_start=learnt,
        reasoning_rl=_later(zero, second),
        rejection=RejectionSettings(
            prompts=prompts, samples=4, rollout=engine, filters=kept,
            balance=BalanceConfig(per_prompt=1, easy_share=1.0), **how,
        ),
        general_sft=learnt,
        helpfulness=judge,
        safety=part(JudgedSettings, judge),
        general_rl=_later(zero, third, temperature=0.7),  # temperature: paper (v2 3.2.2)
        distill=learnt,
    )  # fmt: skip


_SHORT = replace(
    ZERO,
    data=replace(ZERO.data, eval=(*ZERO.data.train, *TRANSFER)),
    eval=EvalSchedule(every=0, samples=8, greedy=False),
)

PRESETS: dict[str, R1Config] = {
    "smollm2-r1": replace(
        _settings(_SHORT, "runs/smollm2-r1", (60, 60, 40), 2048, FilterConfig(strict=True)),
        budget_minutes=25,
    ),
    # Shortened for two CPU cores: every stage once, to see them work. A cold start of a few updates
    # teaches no envelope: what is right is kept without one.
    "smollm2-r1-cpu": _settings(
        replace(ZERO_CPU, eval=EvalSchedule(every=0, samples=2, greedy=False)),
        "runs/smollm2-r1-cpu", (8, 4, 4), 64, FilterConfig(complete=False, shortest=0),
    ),
}  # fmt: skip
