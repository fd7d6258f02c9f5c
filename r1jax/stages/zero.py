"""R1-Zero (paper, section 2): GRPO straight on a base model, judged by rules alone."""

from __future__ import annotations

from r1jax.errors import Collapsed
from r1jax.run.progress import Display
from r1jax.stages.descent import began, ended, taught
from r1jax.stages.first_look import look
from r1jax.stages.opening import opened
from r1jax.stages.rescue import rescued
from r1jax.stages.summary import digest, gained, transcripts
from r1jax.training.rl import memory
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.loop import ending, judge_held_out, train
from r1jax.training.rl.resume import begin
from r1jax.training.rl.setup import build, with_frozen
from r1jax.training.weights import export


def run(config: RLConfig, display: Display | None = None) -> None:
    """Trains, evaluates before and after, and leaves the run directory with its report."""
    with opened(config, display) as run:
        if run.finished:
            return
        parts = build(config, run.note)
        run.note(config.plan)
        run.hold(parts.pool)
        planned = None if config.memory == "off" else memory.plan(parts)
        run.planned = planned
        if planned:
            run.note(memory.check(planned, config.memory))
        parts = with_frozen(parts)
        files = run.files(parts.config, parts.start)
        used = taught(run.directory, parts)
        loop = begin(parts, files)
        if files.fresh:
            began(run.directory, parts, loop.state.params)
            if config.look:
                for line in look(parts, loop, planned and planned["peak"], files.progress.phase):
                    files.progress.note(line)
            if config.eval.before:  # once: a resumed run has it on disk
                judge_held_out(parts, loop, files)
        try:
            loop = train(parts, loop, files)
        except Collapsed as collapsed:
            if not config.stop_on_collapse:
                raise
            # Room for the weights that are rescued.
            loop.state = loop.reference = loop.tower = None
            raise rescued(run, parts, files, collapsed) from None
        if config.export or config.export_gguf:
            made = parts.policy, loop.state.params, parts.base, parts.lora
            export(run.directory, *made, gguf=config.export_gguf)
        by = ending(config, loop)
        ended(run.directory, parts, loop.state.params, by, used)
        summary = digest(run.directory, loop.update, parts.start) | {
            "rollouts": loop.rollout - 1,
            "ended": by,
            "transcripts": transcripts(run.directory, loop.update, parts.start),
            "memory_plan": planned,
            "memory_peak": memory.measured(),
        }
        run.finish(summary, gained(summary))
