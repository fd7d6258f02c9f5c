"""R1-Zero (paper, section 2): GRPO straight on a base model, judged by rules alone."""

from __future__ import annotations

import time
from typing import Any

import jax

from r1jax.checkpoint import Checkpoints
from r1jax.environment import environment
from r1jax.evaluate import Evaluation, paired_gain
from r1jax.models import hub
from r1jax.progress import Progress
from r1jax.report import write_report
from r1jax.rollout.policy import load_weights
from r1jax.run import RunDirectory
from r1jax.sinks import open_sinks
from r1jax.training import memory
from r1jax.training.config import RLConfig
from r1jax.training.rl import Files, Loop, begin, held_out, train
from r1jax.training.setup import Parts, build

FREE = ("overwrite", "run", "log", "memory")  # flags that may differ when a run is resumed


def run(config: RLConfig) -> None:
    """Trains, evaluates before and after, and leaves the run directory with its report."""
    first = jax.process_index() == 0
    directory = RunDirectory.start(
        config.run, config, overwrite=config.overwrite, write=first, ignore=FREE
    )
    if directory.status == "finished":
        print(f"finished already: {directory.report}")
        return
    started = time.time()
    parts = build(config, note=print)
    if first:
        print(config.plan)
    planned = None if config.memory == "off" else memory.plan(parts)
    if first and planned:
        print(memory.check(planned, config.memory))
    checkpoints = Checkpoints(directory.checkpoints, config.checkpoint.keep)
    start = checkpoints.latest() or 0
    sinks = open_sinks(config.log, directory, config, start)
    with parts.pool, Progress(config.updates, config.run, start=start, enabled=first) as progress:
        files = Files(directory, checkpoints, sinks, progress)
        loop = begin(parts, files)
        progress.phase("evaluation")
        before = held_out(parts, load_weights(parts.policy, parts.mesh))
        if loop.update == 0:
            for evaluation in before:
                directory.evaluation(0, evaluation.record)
        progress.note(f"update 0: held-out pass@1 {before[0].record['pass_at_1']:.3f}")
        loop = train(parts, loop, files)
        after = loop.judged[1] if loop.judged else held_out(parts, loop.state.params)
    checkpoints.close()
    for sink in sinks:
        sink.close()
    extra = {
        "wall_seconds": time.time() - started,
        "memory_plan": planned,
        "memory_peak": memory.measured(),
    }
    finish(parts, loop, directory, before, after, extra)


def finish(
    parts: Parts,
    loop: Loop,
    directory: RunDirectory,
    before: list[Evaluation],
    after: list[Evaluation],
    extra: dict[str, Any],
) -> None:
    """Digest, export and report."""
    if parts.config.export:
        hub.save(directory.path / "hf", loop.state.params, parts.policy.config)
        parts.policy.tokenizer.save_pretrained(directory.path / "hf")
    if not directory.write:
        return
    directory.finish(digest(loop, before, after) | extra)
    gain = paired_gain(before[0].record, after[0].record)
    low, high = gain["ci"]
    print(
        f"held-out pass@1 {before[0].record['pass_at_1']:.3f} -> "
        f"{after[0].record['pass_at_1']:.3f} (gain {gain['gain']:+.3f}, 95 % {low:+.3f} to "
        f"{high:+.3f}), {extra['wall_seconds']:.0f} s\n{write_report(directory.path)}"
    )


def digest(loop: Loop, before: list[Evaluation], after: list[Evaluation]) -> dict[str, Any]:
    """What summary.json says: before, after, gain, transcripts; further sets beside the first."""
    gain = paired_gain(before[0].record, after[0].record)
    sets = {
        new.record["set"]: {"before": _short(old), "after": _short(new)}
        for old, new in zip(before[1:], after[1:], strict=True)
    }
    return {
        "before": _short(before[0]),
        "after": _short(after[0]),
        "gain": {"pass_at_1": gain["gain"], "ci": gain["ci"]},
        "sets": sets,
        "updates": loop.update,
        "rollouts": loop.rollout - 1,
        "environment": environment(),
        "transcripts": transcripts(before[0], after[0]),
    }


def _short(evaluation: Evaluation) -> dict[str, Any]:
    return {k: v for k, v in evaluation.record.items() if k != "per_problem"}


def transcripts(before: Evaluation, after: Evaluation, count: int = 12) -> list[dict[str, Any]]:
    """First samples of the same problems before and after, families and languages in turn."""
    rows = []
    for problem, old, new in zip(before.problems, before.judged, after.judged, strict=True):
        sides = {
            name: {"text": judged[0].completion.text, "correct": judged[0].lenient}
            for name, judged in (("before", old), ("after", new))
        }
        fields = {name: problem.metadata.get(name, "") for name in ("family", "language")}
        rows.append({"question": problem.question, "answer": problem.answer, **fields, **sides})
    return rows[:count]
