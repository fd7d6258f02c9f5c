"""The flags of a reinforcement-learning run, one frozen dataclass per part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from r1jax.data.config import DataConfig
from r1jax.errors import UserError, check_ranges
from r1jax.evaluate.measures import EvalConfig
from r1jax.losses import GRPO, CriticConfig, PrimeConfig
from r1jax.losses.config import BESIDE_THE_POLICY_TERM, OF_THE_POLICY_TERM
from r1jax.models.hub.gguf.write import Storage
from r1jax.problem import Problem
from r1jax.rewards import SandboxConfig
from r1jax.rewards.sandbox import require_isolation
from r1jax.run.flags import RunFlags
from r1jax.run.sinks import LogConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.rl import tower_flags as towers
from r1jax.training.rl.reward import RewardConfig
from r1jax.training.rl.sampled import RolloutConfig
from r1jax.training.settings import TrainingSettings
from r1jax.training.teacher import PolicyTeacher


@dataclass(frozen=True)
class TrainConfig(ComputeConfig):
    """How a rollout becomes updates, and the shapes they are computed in."""

    updates_per_rollout: int = 1
    """Equal parts a rollout is split into, at random; each is one optimizer update."""
    replay_routes: bool = False
    """Experts of the update are those that the sampler chose, in prompts as well (routing replay);
    how much each counts is computed anew. no: policy/route_diff_frac says how many would differ."""
    reference_every: int = 0
    """Updates after which the policy becomes the new reference of the KL term; 0: never."""
    reference_rate: float = 1.0
    """Step of the reference towards the policy at those updates: 1 replaces it, less averages."""
    max_skipped: int = 5
    """Non-finite updates in a row after which the run stops and saves the batch."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(
            self, "--train.", updates_per_rollout="[1,]", reference_every="[0,]",
            reference_rate="(0,1]", max_skipped="[1,]",
        )  # fmt: skip
        if self.reference_rate != 1 and not self.reference_every:
            raise UserError(
                f"--train.reference-rate {self.reference_rate}: the reference never moves; set "
                "--train.reference-every (1), or leave it out"
            )

    @property
    def compute(self) -> ComputeConfig:
        """What programs are compiled for: runs that differ in the rest alone share them."""
        return ComputeConfig(**{f.name: getattr(self, f.name) for f in fields(ComputeConfig)})


@dataclass(frozen=True)
class EvalSchedule(EvalConfig):
    """How and how often a policy is judged in training."""

    every: int = 20
    """Updates between evaluations; 0: only before and after."""
    before: bool = True
    """Judge the weights that a run begins with too: without, no gain is told."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--eval.", every="[0,]")


@dataclass(frozen=True)
class RolloutLogConfig(LogConfig):
    """Further places to send metrics and completions to."""

    samples: int = 8
    """Completions of each rollout that go there too, at most 16: a table in Weights & Biases, text
    in TensorBoard; 0: none."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(self, "--log.", samples="[0,16]")


@dataclass(frozen=True)
class RLSettings(TrainingSettings):
    """How a policy learns from rewards."""

    updates: int = 100
    """Optimizer updates in all."""
    user_loss: str = ""
    """Your own loss in place of GRPO's: package.module:function, as r1jax.types.Loss says."""
    look: int = 0
    """Samples that are judged before the first update, to say what the base writes, what the run
    will take, and which flags to change where that looks wrong; 0: none."""
    until_plateau: int = 0
    """End before that when held-out pass@1 has gained less than a point over so many evaluations,
    the best of them compared with all before; 0: make all updates."""
    until_operations: float = 0.0
    """End before that after the update with which writing, scoring and learning have taken so many
    operations (the sum of operations/rollout and operations/update); 0: make all updates."""
    stop_on_collapse: bool = False
    """Stop where entropy, length or format collapse, or updates are not finite, with the best
    checkpoint in <run>/hf; docs/training.md says what counts as a collapse."""
    export: bool = False
    """Write the final weights to <run>/hf in the Hugging Face layout."""
    export_gguf: Storage | None = None
    """Write them to <run>/gguf as well, quantised so, for llama.cpp and Ollama (docs/gguf.md)."""
    export_every: int = 0
    """Updates between exports of the weights to <run>/exports/UPDATE; 0: none on the way."""
    memory: Literal["error", "warn", "off"] = "warn"
    """What to do when the memory plan exceeds the device: stop, say so, or make no plan."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    """Sampling from the policy."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """Judging completions."""
    loss: GRPO = field(default_factory=GRPO)
    """The objective."""
    critic: CriticConfig = field(default_factory=CriticConfig)
    """The value model of PPO."""
    prime: PrimeConfig = field(default_factory=PrimeConfig)
    """The reward tower of PRIME."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The update."""
    eval: EvalSchedule = field(default_factory=EvalSchedule)
    """Held-out evaluation."""
    log: RolloutLogConfig = field(default_factory=RolloutLogConfig)
    """Further places to send metrics and completions to."""

    def __post_init__(self) -> None:
        """Raises UserError when parts do not fit together."""
        super().__post_init__()
        size, parts = self.rollout.prompts * self.rollout.group, self.train.updates_per_rollout
        if size % parts:
            raise UserError(
                f"--train.updates-per-rollout {parts}: must divide the {size} completions of a "
                f"rollout (prompts {self.rollout.prompts} x group {self.rollout.group})"
            )
        towers.check_critic(self)
        towers.check_prime(self)
        if self.rollout.group == 1 and self.loss.advantage_baseline not in ("none", "critic"):
            raise UserError(
                "--rollout.group 1: a completion alone has nothing to be better than, so that "
                "nothing is learnt; use 2 or more, or --loss.advantage-baseline none or critic"
            )
        if self.rollout.max_rounds > 1 and not self.reward.accuracy:
            raise UserError(
                f"--rollout.max-rounds {self.rollout.max_rounds}: dynamic sampling looks at the "
                "raw accuracy; give --reward.accuracy a weight, or use 1"
            )
        bounds = self.rollout.accuracy_low, self.rollout.accuracy_high
        if self.rollout.max_rounds == 1 and bounds != (0.0, 1.0):
            raise UserError(
                "--rollout.accuracy-low, accuracy-high: say which groups dynamic sampling keeps; "
                "use --rollout.max-rounds above 1, or leave them out"
            )
        uncorrected = not (self.loss.corrects or self.user_loss)
        if self.rollout.weights != "same" and uncorrected:
            raise UserError(
                f"--rollout.weights {self.rollout.weights}: samples from another policy than the "
                "trained one; set --loss.importance-cap 2.0 to correct for it, or use same"
            )
        if self.rollout.carry and uncorrected:
            raise UserError(
                f"--rollout.carry {self.rollout.carry}: older weights draw a part of the tokens; "
                "set --loss.importance-cap (2.0), which corrects for it, or use 0"
            )
        check_ranges(
            self, "--", updates="[1,]", look="[0,]", until_plateau="[0,]", export_every="[0,]",
            until_operations="[0,]",
        )  # fmt: skip
        if self.until_plateau and not self.eval.every:
            raise UserError(
                f"--until-plateau {self.until_plateau}: needs evaluations on the way; set "
                "--eval.every (20)"
            )

    @property
    def idle(self) -> dict[str, str]:
        """Fields that nothing reads, and when they would be."""
        names = (f"train.reference_{name}" for name in ("every", "rate"))
        found = (
            {}
            if self.has_reference
            else dict.fromkeys(names, "with a reference (--loss.beta above 0)")
        )
        if not self.user_loss:
            return found
        loss, unread = self.loss, {*OF_THE_POLICY_TERM, *BESIDE_THE_POLICY_TERM}
        if loss.advantage_baseline == "critic":
            unread.discard("reduction")
        if loss.entropy_target is not None:
            unread.discard("entropy_bonus")
        if loss.kl_in_reward:
            unread.discard("kl_estimator")
        return found | dict.fromkeys((f"loss.{name}" for name in unread), "without --user-loss")

    @property
    def has_reference(self) -> bool:
        """Whether anything is measured against an earlier policy."""
        return bool(self.loss.beta or self.prime.on)

    @property
    def plan(self) -> str:
        """The run's arithmetic in one line."""
        r, parts = self.rollout, self.train.updates_per_rollout
        size = r.prompts * r.group
        return (
            f"{r.prompts} prompts x {r.group} = {size} completions -> {parts} update"
            f"{'s' if parts > 1 else ''} of {size // parts}; {self.updates} updates"
        )


@dataclass(frozen=True)
class RLConfig(RLSettings, RunFlags):
    """A reinforcement-learning run."""

    run: str = "runs/zero"
    continue_from: str = ""
    """Directory of a run whose checkpoint this one goes on from, in its own --run: weights,
    optimizer and counters, so that --updates counts from the start of that one. Flags may differ;
    lineage.json says which."""
    continue_step: int | None = None
    """Update of that checkpoint; None: the newest."""
    data: DataConfig = field(default_factory=DataConfig)
    """Problems."""
    teacher: PolicyTeacher = field(default_factory=PolicyTeacher)
    """A frozen model that judges every token, beside the reward or alone."""
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    """Running programs, where answers are such."""

    def __post_init__(self) -> None:
        """Raises UserError where the run would begin at two places, on itself, or nowhere."""
        super().__post_init__()
        towers.check_shown(self)
        towers.check_served(self)
        # Before --overwrite can clear the directory.
        if self.continue_from and Path(self.continue_from).resolve() == Path(self.run).resolve():
            raise UserError(
                f"--continue-from {self.continue_from}: is this run itself; name a new directory "
                "with --run"
            )
        if self.continue_from and self.parent:
            raise UserError(
                f"--continue-from {self.continue_from}: has weights of its own; leave --parent out"
            )
        check_ranges(self, "--", continue_step="[0,]")
        if self.continue_step is not None and not self.continue_from:
            raise UserError(f"--continue-step {self.continue_step}: needs --continue-from, the run")

    @property
    def idle(self) -> dict[str, str]:
        """Fields that nothing reads, and when they would be."""
        found = super().idle
        if self.teacher.whole:  # its term is added up in the same way
            found.pop("loss.reduction", None)
        return found

    @property
    def has_reference(self) -> bool:
        """Whether anything is measured against an earlier policy."""
        return super().has_reference or self.teacher.shown == "reference"

    def control(self, **weights: float | tuple[str, ...]) -> dict[str, Any]:
        """The changes that make a control of this run: these terms judge, and nothing else.

        No other term of the reward, no teacher, and no tower that outcomes teach.
        """
        reward = self.reward.only(**weights)
        return {"reward": reward, "teacher": PolicyTeacher(), "prime": PrimeConfig()}

    def check_programs(self, problems: Iterable[Problem]) -> None:
        """Raises UserError where `problems` ask for programs that could not be run as asked."""
        if not any(problem.grader == "code" for problem in problems):
            return
        require_isolation(self.sandbox)
        for limit in ("wall_seconds", "memory_mb"):
            inner, outer = getattr(self.sandbox, limit), getattr(self.reward, limit)
            if self.reward.workers != 0 and inner >= outer:
                flag = limit.replace("_", "-")
                raise UserError(
                    f"--sandbox.{flag} {inner}: a program runs under a reward worker, which has "
                    f"{outer}; raise --reward.{flag} above it"
                )
