"""What a checkpoint of reinforcement learning holds, and how a run begins or goes on from one."""

from __future__ import annotations

from r1jax.checkpoint import restore_saved
from r1jax.run.saved import Saved
from r1jax.training.rl import carry
from r1jax.training.rl.collect import Scored
from r1jax.training.rl.continued import SourceCheckpoint
from r1jax.training.rl.setup import Parts, copy, initial_state
from r1jax.training.rl.state import Files, Loop
from r1jax.types import TrainState


def saved(parts: Parts, loop: Loop) -> Saved:
    """What a checkpoint of this moment holds: with it the next update is the very same."""
    pending = {"scored": loop.scored.arrays()} if loop.scored else {}
    if loop.carried:
        pending["carried"] = carry.to_arrays(loop.carried)
    meta = parts.identity | {
        "rollout": loop.rollout,
        "taken": loop.taken,
        "done": loop.done,
        "seen": [loop.tokens_seen, loop.learnt_tokens_seen],
        "unjudged": loop.unjudged,
        "scores": loop.scores,
        "history": loop.history,
        "entropy_weight": loop.entropy_weight,
        "rollout_metrics": loop.scored.metrics if loop.scored else {},
    }
    return Saved(loop.state, loop.reference, pending, meta, loop.critic)


def begin(parts: Parts, files: Files) -> Loop:
    """A fresh loop, or the one the newest checkpoint holds; run files are cut to its counters."""
    step = files.checkpoints.latest()
    if step is None:
        files.cut(-1, 0)  # the evaluation before update 1 is made again as well
        if parts.source:
            return going_on(parts, parts.source)
        state = initial_state(parts)
        reference = copy(state.params) if parts.needs_reference else None
        return Loop(state, reference, new_critic(parts, state))
    critic = parts.critic and parts.critic.abstract()
    like = initial_state(parts, fresh=False)
    restored = files.checkpoints.restore(step, like, parts.identity, critic)
    pending = restored.pending.get("scored")
    scored = Scored.from_arrays(pending, restored.meta["rollout_metrics"]) if pending else None
    loop = Loop(restored.state, restored.reference, restored.critic, restored.meta["rollout"],
                restored.meta["taken"], scored, restored.meta["done"])  # fmt: skip
    loop.tokens_seen, loop.learnt_tokens_seen = restored.meta["seen"]
    loop.unjudged = restored.meta.get("unjudged", False)
    loop.scores, loop.history = (restored.meta.get(name, []) for name in ("scores", "history"))
    loop.entropy_weight = restored.meta.get("entropy_weight")
    loop.carried = carry.from_arrays(
        restored.pending.get("carried", {}), parts.stream, parts.policy
    )
    since = (parts.start, parts.source.rollout - 1 if parts.source else 0)
    files.cut(loop.update, loop.rollout if scored else loop.rollout - 1, since)
    files.progress.note(f"resumed after update {loop.update}")
    return loop


def new_critic(parts: Parts, state: TrainState) -> TrainState | None:
    """A critic that has learnt nothing, where the run has one."""
    if parts.critic is None:
        return None
    return parts.critic.fresh(parts.model(state.params), parts.config.seed)


def going_on(parts: Parts, source: SourceCheckpoint) -> Loop:
    """The state of another run's checkpoint; its samples are left, as flags may be others now.

    A reference that it does not have is the policy as it stands, and so is a critic.
    """
    like, critic = initial_state(parts, fresh=False), parts.critic and parts.critic.abstract()
    restored = restore_saved(source.checkpoints, source.step, like, parts.model_identity, critic)
    reference = None
    if parts.needs_reference:
        reference = restored.reference or copy(restored.state.params)
    critic = restored.critic or new_critic(parts, restored.state)
    loop = Loop(restored.state, reference, critic, source.rollout, source.meta["taken"])
    loop.tokens_seen, loop.learnt_tokens_seen = source.meta["seen"]
    loop.entropy_weight = source.meta.get("entropy_weight")
    return loop
