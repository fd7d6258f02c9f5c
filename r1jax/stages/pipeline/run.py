"""The whole of R1: every stage in its turn, judged, with its lineage; resumed at any point."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import jax
from jax.sharding import Mesh

from r1jax import mesh as meshes
from r1jax.checkpoint import restore_params
from r1jax.errors import UserError
from r1jax.models import scalar
from r1jax.report.pipeline import write_pipeline_report
from r1jax.rewards import RewardPool
from r1jax.run import names, processes
from r1jax.run.compilation import kept_in
from r1jax.run.digests import find_step
from r1jax.run.directory import SCHEMA, inspect, read_json, write_json
from r1jax.run.display import Stages
from r1jax.run.environment import environment
from r1jax.run.lock import owned
from r1jax.run.settings import lasting
from r1jax.run.signals import watched
from r1jax.stages.opening import FREE
from r1jax.stages.pipeline.assess import Assessor, headline, make_assessor
from r1jax.stages.pipeline.config import R1Config
from r1jax.stages.pipeline.digest import summary
from r1jax.stages.pipeline.lineage import (
    Entry,
    add_entry,
    drop_entries,
    file_digest,
    outdated,
    read_lineage,
    weights_digest,
)
from r1jax.stages.pipeline.plan import Stage, plan
from r1jax.stages.pipeline.refusals import check, check_chosen, named_for, refuse_outdated


@dataclass
class Pipeline:
    """Where the stages stand: flags, plan, and what judging needs, made when it is first used."""

    config: R1Config
    stages: list[Stage]
    pool: RewardPool
    _assessors: dict[str, Assessor] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The run directory."""
        return Path(self.config.run)

    @property
    def lineage(self) -> Path:
        """Where the lineage is kept."""
        return self.path / names.LINEAGE

    @cached_property
    def mesh(self) -> Mesh:
        """The devices."""
        return meshes.make_mesh(self.config.mesh)

    def assessor(self, stage: Stage) -> Assessor:
        """What judges a stage's model; its engine is compiled once for all stages of a model."""
        model, family = stage.config.model, stage.config.family
        if model not in self._assessors:
            made = make_assessor(self.config, model, family, self.mesh, self.pool)
            self._assessors[model] = made
        return self._assessors[model]

    def key(self, file: str) -> str:
        """A file's name in the lineage: within the run directory from there."""
        path = Path(file.partition("?")[0])
        return str(path.relative_to(self.path) if path.is_relative_to(self.path) else path)


def run(config: R1Config) -> None:
    """Runs the chosen stages that are not finished; summary and report as far as they go."""
    processes.start_processes(config.process)
    with watched(config.checkpoint.grace), owned(Path(config.run), config.take_over):
        run_stages(config)


def run_stages(config: R1Config) -> None:
    """As `run`, for who owns the run directory."""
    stages = plan(config)
    check_chosen(config, stages)
    writes = jax.process_index() == 0
    if writes and config.overwrite:
        forget(config, stages)
    processes.barrier("stages to begin anew are gone")
    check(config, stages)
    started = time.monotonic()
    with contextlib.ExitStack() as opened:
        # Stages of one model compile the same programs.
        opened.enter_context(kept_in(Path(config.run) / "compiled"))
        pool = opened.enter_context(RewardPool(config.zero.reward.workers, **config.sandbox.room))
        pipeline = Pipeline(config, stages, pool)
        if writes:
            pipeline.path.mkdir(parents=True, exist_ok=True)
            write_json(pipeline.path / names.CONFIG, lasting(config))
            write_json(pipeline.path / names.ENVIRONMENT, environment())
        budget = 60 * config.budget_minutes or None
        shown = opened.enter_context(Stages([s.name for s in stages], budget, enabled=writes))
        for stage in stages:
            if stage.kind not in config.chosen:
                shown.skip(stage.name, "not asked for")
            elif finished(pipeline, stage):
                shown.skip(stage.name, result(stage) or "finished before")
            else:
                perform(pipeline, stage, shown)
    if writes:
        close(pipeline, time.monotonic() - started)


def forget(config: R1Config, stages: Sequence[Stage]) -> None:
    """Removes what is there of the chosen stages, for --overwrite; of students those `spoilt`."""
    path = Path(config.run) / names.LINEAGE
    chosen = [stage for stage in stages if stage.kind in config.chosen]
    if {stage.kind for stage in chosen} == {"distill"}:
        chosen = [stage for stage in chosen if spoilt(stage, read_lineage(path))] or chosen
    gone = [stage.name for stage in chosen]
    drop_entries(path, gone)
    spent = Path(config.run) / names.SECONDS
    if spent.exists():
        write_json(spent, {k: v for k, v in read_json(spent).items() if k not in gone})
    for name in (names.SUMMARY, names.REPORT):
        (Path(config.run) / name).unlink(missing_ok=True)
    for stage in chosen:
        shutil.rmtree(stage.path, ignore_errors=True)


def spoilt(stage: Stage, known: Mapping[str, Entry]) -> bool:
    """Whether a student cannot stay as it is: its flags, or what it came from, are others now."""
    try:
        if stage.name in known:
            refuse_outdated(stage, known)
        inspect(stage.path, stage.config, ignore=FREE)
    except UserError:
        return True
    return False


def finished(pipeline: Pipeline, stage: Stage) -> bool:
    """Whether a stage is on file with these flags, and what it came from is still there.

    Raises UserError where it is, but with other flags or from what has been made anew since.
    """
    known = read_lineage(pipeline.lineage)
    if stage.name not in known:
        return False
    refuse_outdated(stage, known)
    with named_for(stage, pipeline.config):
        return inspect(stage.path, stage.config, ignore=FREE) == "finished"


def perform(pipeline: Pipeline, stage: Stage, shown: Stages) -> None:
    """Runs a stage, judges the checkpoint it leaves, and writes down where that came from."""
    started = time.monotonic()
    display = shown.stage(stage.name)
    with named_for(stage, pipeline.config):
        stage.run(stage.config, display=display)
    if stage.judged:
        display.note("judging the checkpoint")
        judge_model(pipeline, stage)
        digest = judge(
            pipeline.assessor(stage), stage.path / names.JUDGED, stage.path / names.SAVED
        )
    else:
        digest = reward_model_digest(pipeline, stage) if stage.parent else None
    if jax.process_index() == 0:
        record(pipeline, stage, digest)
        spend(pipeline.path / names.SECONDS, stage.name, time.monotonic() - started)
    processes.barrier(f"{stage.name} finished")
    shown.done(stage.name, result(stage))


def judge(assessor: Assessor, path: Path, checkpoints: str | Path = "") -> str:
    """Judges the newest of `checkpoints`, or the model itself, into `path`; its weights' digest."""
    weights = assessor.weights(checkpoints)
    judged = assessor.judge(weights)
    if jax.process_index() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, judged)
    return weights_digest(weights)


def reward_model_digest(pipeline: Pipeline, stage: Stage) -> str:
    """The digest of a reward model's weights (with LoRA of its factors and head)."""
    lora = stage.config.lora if stage.config.lora.on else None
    rows = scalar.rows(pipeline.assessor(stage).policy.config, lora)
    where = stage.path / names.SAVED
    return weights_digest(restore_params(where, find_step(where), rows, pipeline.mesh))


def judge_model(pipeline: Pipeline, stage: Stage) -> None:
    """Judges the model that a stage starts from, where that is no other stage's, once."""
    path = (
        stage.path / names.BEFORE if stage.kind == "distill" else pipeline.path / names.BASE_JUDGED
    )
    name = stage.parent or names.BASE
    if name in read_lineage(pipeline.lineage):
        return
    digest = judge(pipeline.assessor(stage), path)
    if jax.process_index() == 0:
        add_entry(pipeline.lineage, name, Entry(weights=digest))
    processes.barrier(f"{name} judged")


def record(pipeline: Pipeline, stage: Stage, digest: str | None) -> None:
    """Adds a stage to the lineage."""
    known = read_lineage(pipeline.lineage)
    used = [*([stage.parent] if stage.parent else []), *stage.asks]
    files = {pipeline.key(file): file_digest(file.partition("?")[0]) for file in stage.reads}
    made = [str(stage.path / file) for file in stage.makes]
    entry = Entry(
        parent=stage.parent,
        weights=digest,
        used={name: known[name].weights for name in used},
        data=files,
        made={pipeline.key(file): file_digest(file) for file in made},
        ended=read_json(stage.path / names.SUMMARY).get("ended", ""),
    )
    add_entry(pipeline.lineage, stage.name, entry)


def spend(path: Path, name: str, seconds: float) -> None:
    """Adds to the seconds of a stage: one that was interrupted took them in parts."""
    known = read_json(path) if path.exists() else {}
    write_json(path, known | {name: known.get(name, 0.0) + seconds})


def result(stage: Stage) -> str:
    """What there is to say of a finished stage, in a few words."""
    if (stage.path / names.JUDGED).exists():
        return headline(read_json(stage.path / names.JUDGED))
    path = stage.path / names.SUMMARY
    summary = read_json(path) if path.exists() else {}
    if "kept" in summary:
        return f"{summary['kept']:,} of {summary['samples']:,} samples kept"
    accuracy = (summary.get("after") or {}).get("accuracy")
    return f"held-out accuracy {accuracy:.3f}" if accuracy is not None else ""


def close(pipeline: Pipeline, seconds: float) -> None:
    """The summary, once all stages are there; the report of those that are."""
    known = read_lineage(pipeline.lineage)
    if all(s.name in known and not outdated(known, s.name) for s in pipeline.stages):
        contents = summary(pipeline.config, pipeline.stages, seconds)
        write_json(pipeline.path / names.SUMMARY, {"schema": SCHEMA, **contents})
    print(write_pipeline_report(pipeline.path))
