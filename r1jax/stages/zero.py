"""R1-Zero (paper, section 2): GRPO straight on a base model, judged by rules alone."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any, Protocol

import jax
from jax.experimental import multihost_utils

from r1jax import mesh as meshes
from r1jax.checkpoint import Checkpoints
from r1jax.evaluate.measures import Evaluation, paired_gain
from r1jax.models.lora import LoraConfig, merge, save_peft
from r1jax.report.page import write_report
from r1jax.rollout.policy import Policy, save_policy
from r1jax.run.directory import RunDirectory, inspect
from r1jax.run.environment import environment
from r1jax.run.profile import Profiler
from r1jax.run.progress import Alone, Display
from r1jax.run.sinks import open_sinks
from r1jax.training.rl import memory
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.held_out import held_out
from r1jax.training.rl.loop import Files, Loop, begin, train
from r1jax.training.rl.setup import Parts, build, starting_weights, with_base
from r1jax.types import Params


class Exported(Protocol):
    """What the parts of every kind of run have in common: a policy, and a way to its weights."""

    @property
    def policy(self) -> Policy:
        """The model but for its weights."""

    @property
    def lora(self) -> LoraConfig | None:
        """LoRA's settings, None where all weights are trained."""

    def model(self, params: Params) -> Params:
        """The parameters a model function takes, from those that are trained."""


# Flags that may differ when a run is resumed.
FREE = ("overwrite", "run", "log", "memory", "mesh", "process", "profile")


def run(config: RLConfig, display: Display | None = None) -> None:
    """Trains, evaluates before and after, and leaves the run directory with its report."""
    display = display or Alone()
    meshes.start_processes(config.process)
    directory = open_run(config, display)
    if directory is None:
        return
    started = time.time()
    note = display.note if directory.write else _silent
    parts = build(config, note)
    note(config.plan)
    with contextlib.ExitStack() as opened:
        opened.enter_context(parts.pool)
        planned = None if config.memory == "off" else memory.plan(parts)
        if planned:
            note(memory.check(planned, config.memory))
        parts = with_base(parts)
        files = open_files(parts.config, directory, opened, display)
        loop = begin(parts, files)
        files.progress.phase("evaluation")
        before = held_out(parts, untrained(parts, loop))
        if loop.update == 0:
            for evaluation in before:
                directory.evaluation(0, evaluation.record)
        files.progress.note(f"update 0: held-out pass@1 {before[0].record['pass_at_1']:.3f}")
        loop = train(parts, loop, files)
        after = loop.judged[1] if loop.judged else held_out(parts, parts.model(loop.state.params))
    extra = {
        "wall_seconds": time.time() - started,
        "memory_plan": planned,
        "memory_peak": memory.measured(),
    }
    finish(parts, loop, directory, before, after, extra, display)


def untrained(parts: Parts, loop: Loop) -> Params:
    """The weights before update 1: those in hand at that point, later read again."""
    if loop.update == 0 and parts.lora is None:
        return loop.state.params
    return starting_weights(parts.policy, parts.mesh, parts.parent)


def open_run(config: Any, display: Display | None = None) -> RunDirectory | None:
    """The directory of `config.run`, in every process; None where that run is finished.

    Every process asks what is on disk before the first one touches it.
    """
    path = Path(config.run)
    status = inspect(path, config, overwrite=config.overwrite, ignore=FREE)
    meshes.barrier("run directory inspected")
    if jax.process_index() > 0:
        return None if status == "finished" else RunDirectory(path, status, write=False)
    directory = RunDirectory.start(path, config, overwrite=config.overwrite, ignore=FREE)
    if status != "finished":
        return directory
    # A run that ended between its summary and its report has none yet.
    done = directory.report if directory.report.exists() else write_report(path)
    (display or Alone()).result(f"finished already: {done}")
    return None


def open_files(
    config: Any,
    directory: RunDirectory,
    opened: contextlib.ExitStack,
    display: Display | None = None,
) -> Files:
    """Checkpoints, sinks and display of a run; `opened` closes them, whatever happens.

    `config` is an RLConfig, or that of another kind of run with the same flags for these.
    """
    checkpoints = Checkpoints(directory.checkpoints, config.checkpoint.keep)
    opened.callback(checkpoints.close)
    start = checkpoints.latest() or 0
    sinks = open_sinks(config.log, directory, config, start)
    for sink in sinks:
        opened.callback(sink.close)
    profiler = Profiler(config.profile, directory.path / "profile")
    opened.callback(profiler.close)
    shown = (display or Alone()).progress(config.updates, config.run, start, directory.write)
    return Files(directory, checkpoints, sinks, opened.enter_context(shown), profiler)


def _silent(line: str) -> None:
    """Where every process but the first prints."""


def finish(
    parts: Parts,
    loop: Loop,
    directory: RunDirectory,
    before: list[Evaluation],
    after: list[Evaluation],
    extra: dict[str, Any],
    display: Display | None = None,
) -> None:
    """Digest, export and report."""
    if parts.config.export:
        export(parts, loop.state.params, directory)
    if not directory.write:
        return
    close_run(directory, digest(before, after, loop.update, loop.rollout - 1) | extra, display)


def export(parts: Exported, params: Params, directory: RunDirectory) -> None:
    """Writes <run>/hf, a model directory as Hugging Face lays it out; every process calls it.

    With LoRA its weights are the merged ones, and <run>/adapter holds the factors alone.
    """
    if parts.lora:
        factors = params
        if jax.process_count() > 1:
            whole = lambda x: multihost_utils.process_allgather(x, tiled=True)  # noqa: E731
            factors = jax.tree.map(whole, params)
        if directory.write:
            where = directory.path / "adapter"
            save_peft(where, factors, parts.policy.config, parts.lora, str(parts.policy.directory))
    weights = jax.jit(merge)(parts.model(params))
    save_policy(directory.path / "hf", parts.policy, weights, write=directory.write)


def close_run(
    directory: RunDirectory, summary: dict[str, Any], display: Display | None = None
) -> None:
    """Writes the summary, then the report; shows the result and the report's path."""
    directory.finish(summary)
    before, after, gain = summary["before"], summary["after"], summary["gain"]
    low, high = gain["ci"]
    (display or Alone()).result(
        f"held-out pass@1 {before['pass_at_1']:.3f} -> {after['pass_at_1']:.3f} "
        f"(gain {gain['pass_at_1']:+.3f}, 95 % {low:+.3f} to {high:+.3f}), "
        f"{summary['wall_seconds']:.0f} s\n{write_report(directory.path)}"
    )


def digest(
    before: list[Evaluation], after: list[Evaluation], updates: int, rollouts: int
) -> dict[str, Any]:
    """What summary.json says: before, after, gain, transcripts; further sets beside the first."""
    sets = {
        new.record["set"]: {
            "before": _short(old),
            "after": _short(new),
            "gain": _gain(old, new),
        }
        for old, new in zip(before[1:], after[1:], strict=True)
    }
    return {
        "before": _short(before[0]),
        "after": _short(after[0]),
        "gain": _gain(before[0], after[0]),
        "sets": sets,
        "updates": updates,
        "rollouts": rollouts,
        "environment": environment(),
        "transcripts": transcripts(before[0], after[0]),
    }


def _gain(before: Evaluation, after: Evaluation) -> dict[str, Any]:
    gain = paired_gain(before.record, after.record)
    return {"pass_at_1": gain["gain"], "ci": gain["ci"]}


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
