"""What a checkpoint of reinforcement learning holds, and how a run begins or goes on from one."""

from __future__ import annotations

from r1jax.checkpoint import restore_saved
from r1jax.run.saved import Saved
from r1jax.training.rl import carried_groups
from r1jax.training.rl.collect import Scored
from r1jax.training.rl.continued import SourceCheckpoint
from r1jax.training.rl.setup import Parts, initial_state
from r1jax.training.rl.state import Files, Loop
from r1jax.training.rl.tower import copied
from r1jax.types import TrainState


def saved(parts: Parts, loop: Loop) -> Saved:
    """What a checkpoint of this moment holds: with it the next update is the very same."""
    # Rewards and advantages are kept, never made again: a grader may time out the second time.
    pending = {"scored": loop.scored.arrays()} if loop.scored else {}
    if loop.carried:
        pending["carried"] = carried_groups.to_arrays(loop.carried)
    meta = parts.identity | {
        "rollout": loop.rollout,
        "taken": loop.taken,
        "done": loop.done,
        **loop.counts,
        "unjudged": loop.unjudged,
        "judged": loop.judged,
        "scores": loop.scores,
        "history": loop.history,
        "entropy_weight": loop.entropy_weight,
        "rollout_metrics": loop.scored.metrics if loop.scored else {},
    }
    towers = {parts.tower.name: loop.tower} if parts.tower else {}
    return Saved(loop.state, loop.reference, pending, meta, towers)


def begin(parts: Parts, files: Files) -> Loop:
    """A fresh loop, or the one the newest checkpoint holds; run files are cut to its counters."""
    step = files.checkpoints.latest()
    if step is None:
        files.cut(-1, 0)  # the evaluation before update 1 is made again as well
        if parts.source:
            return going_on(parts, parts.source)
        return new_loop(parts, initial_state(parts))
    # Shapes and shardings alone: no weights are made that would be overwritten.
    like = initial_state(parts, fresh=False)
    restored = files.checkpoints.restore(step, like, parts.identity, abstract_towers(parts))
    pending = restored.pending.get("scored")
    scored = Scored.from_arrays(pending, restored.meta["rollout_metrics"]) if pending else None
    tower = next(iter(restored.towers.values()), None)
    loop = Loop(restored.state, restored.reference, tower, restored.meta["rollout"],
                restored.meta["taken"], scored, restored.meta["done"])  # fmt: skip
    loop.count_on(restored.meta)
    loop.unjudged = restored.meta.get("unjudged", False)
    loop.judged = restored.meta.get("judged", {})
    loop.scores, loop.history = (restored.meta.get(name, []) for name in ("scores", "history"))
    loop.entropy_weight = restored.meta.get("entropy_weight")
    loop.carried = carried_groups.from_arrays(
        restored.pending.get("carried", {}), parts.stream, parts.policy
    )
    since = (parts.start, parts.source.rollout - 1 if parts.source else 0)
    # Rows of what was done after the checkpoint go: it is done again, and would stand twice.
    files.cut(loop.update, loop.rollout if scored else loop.rollout - 1, since)
    files.progress.note(f"resumed after update {loop.update}")
    return loop


def new_loop(parts: Parts, state: TrainState, found: Saved | None = None) -> Loop:
    """The loop around a policy that has learnt nothing here: its reference is the policy itself.

    So is what a critic begins with; a reward tower begins as the reference. What was `found` in
    another run's checkpoint is taken from there.
    """
    reference = tower = None
    if parts.needs_reference:
        reference = found and found.reference or copied(state.params)
    if parts.tower:
        tower = found and found.towers.get(parts.tower.name)
    if parts.critic and tower is None:
        tower = parts.critic.fresh(parts.model(state.params), parts.config.seed)
    if parts.rewarder and tower is None:
        tower = parts.rewarder.fresh(reference)
    return Loop(state, reference, tower)


def abstract_towers(parts: Parts) -> dict[str, TrainState]:
    """Shapes of what learns beside the policy, by name."""
    return {parts.tower.name: parts.tower.abstract()} if parts.tower else {}


def going_on(parts: Parts, source: SourceCheckpoint) -> Loop:
    """The state of another run's checkpoint; its samples are left, as flags may be others now.

    A reference that it does not have is the policy as it stands, and so is a tower.
    """
    like, towers = initial_state(parts, fresh=False), abstract_towers(parts)
    restored = restore_saved(source.checkpoints, source.step, like, parts.model_identity, towers)
    loop = new_loop(parts, restored.state, restored)
    loop.rollout, loop.taken = source.rollout, source.meta["taken"]
    loop.count_on(source.meta)
    loop.entropy_weight = source.meta.get("entropy_weight")
    return loop
