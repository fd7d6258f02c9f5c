"""Which flags of a critic, a reward tower or a teacher would do nothing, or cannot be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from r1jax.errors import UserError
from r1jax.losses import CriticConfig, PrimeConfig

if TYPE_CHECKING:
    from r1jax.training.rl.config import RLConfig, RLSettings


def check_critic(run: RLSettings) -> None:
    """Raises UserError where a critic would do nothing, or cannot be had."""
    wanted, critic = run.loss.advantage_baseline == "critic", run.critic
    if critic != CriticConfig() and not wanted:
        raise UserError("--critic: is read with --loss.advantage-baseline critic alone")
    if wanted and run.lora.on and critic.tower == "separate":
        raise UserError(
            "--critic.tower separate: trains all weights of a second model, and --lora.rank "
            "asks for low rank; use --critic.tower shared"
        )
    if wanted and critic.warmup >= run.updates:
        raise UserError(
            f"--critic.warmup {critic.warmup}: of {run.updates} updates none is left for "
            "the policy; ask for more --updates"
        )
    size = run.rollout.prompts * run.rollout.group // run.train.updates_per_rollout
    if wanted and size < critic.parts:
        raise UserError(f"--critic.parts {critic.parts}: an update has {size} completions")


def check_prime(run: RLSettings) -> None:
    """Raises UserError where a reward tower would do nothing, or cannot be had."""
    prime = run.prime
    if not prime.on:
        if prime != PrimeConfig():
            raise UserError("--prime: is read with a --prime.weight above 0 alone")
        return
    if not run.reward.accuracy:
        raise UserError(
            f"--prime.weight {prime.weight}: the tower learns from raw accuracy; give "
            "--reward.accuracy a weight"
        )
    if run.loss.advantage_baseline in ("critic", "token") or run.rollout.group == 1:
        raise UserError(
            f"--prime.weight {prime.weight}: compares a token with the rest of its group; use "
            "--loss.advantage-baseline others and --rollout.group 2 or more"
        )
    if run.train.reference_every:
        raise UserError(
            f"--train.reference-every {run.train.reference_every}: what tokens earn is measured "
            "from a reference that stays; use 0 with --prime.weight"
        )
    if run.lora.on and prime.parent:
        raise UserError(
            f"--prime.parent {prime.parent}: with --lora.rank the tower is factors on the policy's "
            "own base; leave it out"
        )
    size = run.rollout.prompts * run.rollout.group
    if size < prime.parts:
        raise UserError(f"--prime.parts {prime.parts}: a rollout has {size} completions")


def check_shown(run: RLConfig) -> None:
    """Raises UserError where a policy that teaches itself has nothing to be shown."""
    if run.teacher.shown and run.rollout.group == 1:
        raise UserError(
            f"--teacher.shown {run.teacher.shown}: shows another answer to the same problem; use "
            "--rollout.group 2 or more"
        )


def check_served(run: RLConfig) -> None:
    """Raises UserError where a served teacher would say something of another distribution."""
    for name, right in {"temperature": 1.0, "keep_set": 0}.items():
        value = getattr(run.rollout, name)
        if run.teacher.served and value != right:
            raise UserError(
                f"--rollout.{name.replace('_', '-')} {value}: the log-probabilities of "
                "--teacher.endpoint are those of all tokens at temperature 1; use "
                f"{right:g}"
            )
