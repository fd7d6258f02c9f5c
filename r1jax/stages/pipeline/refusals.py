"""What a pipeline cannot do, said before anything runs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from r1jax.data import ProblemStream
from r1jax.errors import UserError
from r1jax.run.names import LINEAGE
from r1jax.stages.exhausted_memory import OutOfMemory
from r1jax.stages.harvest.place import ENDPOINT
from r1jax.stages.pipeline.config import R1Config
from r1jax.stages.pipeline.lineage import Entry, outdated, read_lineage
from r1jax.stages.pipeline.plan import Stage

LOOKED_AT = 64  # general prompts that are asked for their judge
_FLAG = re.compile(r"(?<![\w.-])--[a-z][a-z0-9.-]*[a-z0-9]")


def check(config: R1Config, stages: Sequence[Stage]) -> None:
    """Raises UserError where a chosen stage builds on one that is neither chosen nor finished."""
    done = read_lineage(Path(config.run) / LINEAGE)
    by_name = {stage.name: stage for stage in stages}
    makers = {str(stage.path / file): stage.name for stage in stages for file in stage.makes}
    if "general_rl" in config.chosen:
        check_prompts(config)
    asked = config.cold_start_data
    if "cold_start_data" in config.chosen and not asked.endpoint.base_url:
        for flag in ("rewriter", "generator", "judge"):
            if getattr(asked, flag) == ENDPOINT:
                raise UserError(
                    f"--cold-start-data.{flag} endpoint: needs --cold-start-data.endpoint.base-url "
                    "and --cold-start-data.endpoint.model"
                )
    for stage in stages:
        if stage.kind not in config.chosen:
            continue
        used = [*(makers[file] for file in stage.reads if file in makers), *stage.asks]
        used += [stage.parent] if stage.parent in by_name else []
        for name in used:
            if by_name[name].kind in config.chosen:
                continue
            if name not in done:
                raise UserError(
                    f"--run {config.run}: {stage.name} builds on {name}, which is not finished; "
                    f"run that first (--from {by_name[name].kind})"
                )
            refuse_outdated(by_name[name], done)


def check_chosen(config: R1Config, stages: Sequence[Stage]) -> None:
    """Raises UserError where the plan has none of the chosen stages: nothing would be done."""
    if not {stage.kind for stage in stages} & set(config.chosen):
        raise UserError(
            f"--from, --to, --only: the plan has no stage {', '.join(config.chosen)}; distill "
            "needs --students, the reward models need --general.helpfulness or --general.safety"
        )


def check_prompts(config: R1Config) -> None:
    """Raises UserError where a general prompt does not say which of the reward models judges it."""
    general = config.general
    judges = [name for name in ("helpfulness", "safety") if getattr(general, name)]
    if not general.prompts:
        return
    data = replace(config.data, train=general.prompts, weights=())
    for problem in ProblemStream(data).take(0, LOOKED_AT):
        said = problem.metadata.get(general.column)
        if said not in judges:
            raise UserError(
                f"--general.prompts: {problem.id} has {said!r} in column {general.column}; "
                f"expected {' or '.join(judges)} (--general.column names another column)"
            )


def refuse_outdated(stage: Stage, known: Mapping[str, Entry]) -> None:
    """Raises UserError where what a stage came from has been made anew since."""
    if changed := outdated(known, stage.name):
        raise UserError(
            f"{stage.path}: came from another {', '.join(changed)} than is there now; repeat it "
            f"and what follows with --from {stage.kind} --overwrite"
        )


@contextlib.contextmanager
def named_for(stage: Stage, config: R1Config) -> Iterator[None]:
    """Inside, a mistake names flags as the pipeline has them: --zero.train.rows for --train.rows.

    A stage knows neither its name nor that it is begun anew by other flags than a run alone: there
    --overwrite would take every stage.
    """
    anew = f"--from {stage.kind} --overwrite"

    def full(flag: re.Match[str]) -> str:
        if flag[0] == "--overwrite":
            return anew
        inside = getattr(config, stage.kind, None)
        for name in flag[0][2:].replace("-", "_").split("."):
            if not hasattr(inside, name):
                return flag[0]
            inside = getattr(inside, name)
        return f"--{stage.kind.replace('_', '-')}.{flag[0][2:]}"

    try:
        yield
    except UserError as mistake:
        said = str(mistake)
        if isinstance(mistake, OutOfMemory):
            said = f"{mistake.said}; --overwrite begins the stage anew with it"
        raise UserError(_FLAG.sub(full, said)) from mistake
