"""R1 as a list of stages (paper v2, figure 2): who starts from whose weights, who reads whose data.

    base --zero------------------------------------------------> R1-Zero
    base --cold_start (R1-Zero's outputs, made readable)-------> Dev1
    Dev1 --reasoning_rl (rules + language consistency)---------> Dev2
    base --general_sft (Dev2's right samples + general data)---> Dev3
    Dev3 --general_rl (rules + language + reward models)-------> R1
    students --distill (the data of Dev3)

Both supervised stages start from the base, never from the checkpoint before them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from r1jax.data import TrainDataConfig
from r1jax.data.curation.streams import KEPT
from r1jax.data.examples.conversations import ConversationConfig
from r1jax.data.examples.preferences import Feedback, PreferenceConfig
from r1jax.errors import UserError
from r1jax.run.flags import GraceConfig, part
from r1jax.run.names import BASE, SAVED, STAGES
from r1jax.stages import cold_start, general_data, rejection, reward_model, supervised, zero
from r1jax.stages.cold_start import ColdStartConfig
from r1jax.stages.general_data import HELPFULNESS, SAFETY, SFT, TESTS, GeneralDataConfig
from r1jax.stages.pipeline.config import NAMES, WORLD, R1Config, StageName
from r1jax.stages.rejection import RejectionConfig
from r1jax.stages.reward_model import RewardModelConfig
from r1jax.stages.students import STUDENTS
from r1jax.stages.supervised import SFTConfig, SFTSettings
from r1jax.training.rl.config import RLConfig, RLSettings


@dataclass(frozen=True)
class Stage:
    """One run of the pipeline: a function and its flags, complete."""

    name: str  # unique; of a student student-<name>
    kind: StageName  # what --from, --to and --only call it
    run: Callable[..., None]
    config: Any
    parent: str | None = None  # the stage or base whose weights it starts from; None: trains none
    asks: tuple[str, ...] = ()  # further stages whose checkpoints it uses
    reads: tuple[str, ...] = ()  # files that it learns from
    makes: tuple[str, ...] = ()  # files that it leaves in its directory for others
    judged: bool = False  # whether its checkpoint is judged on the held-out problems

    @property
    def path(self) -> Path:
        """Its run directory."""
        return Path(self.config.run)


def plan(config: R1Config) -> list[Stage]:
    """All stages in their order, each with its flags worked out; pure.

    Raises UserError for a student that is neither NAME=MODEL nor one of the paper's.
    """
    places = _Places(config)
    kept = f"{KEPT}.jsonl"
    general = config.general
    chains = str(places.of("cold_start_data") / kept)
    samples = (str(places.of("rejection") / kept), *_files(places, SFT, general.sft))
    stages = [
        _policy(places, "zero", BASE, config.zero),
        _sampled(places, "cold_start_data", config.cold_start_data, "zero"),
        _learnt(places, "cold_start", config.cold_start, BASE, (chains,)),
        _policy(places, "reasoning_rl", "cold_start", config.reasoning_rl),
        _sampled(places, "rejection", config.rejection, "reasoning_rl"),
    ]
    if general.generated:
        stages.append(_general(places))
    stages.append(_learnt(places, "general_sft", config.general_sft, BASE, samples))
    if general.helpfulness:
        stages.append(_judge(places, "helpfulness", "pairwise"))
    if general.safety:
        stages.append(_judge(places, "safety", "pointwise"))
    stages.append(_final(places))
    return stages + [_student(places, student, samples) for student in config.students]


# --- where -----------------------------------------------------------------------------------


class _Places:
    """Directories of the stages, numbered in their order."""

    def __init__(self, config: R1Config) -> None:
        self.config = config
        general = config.general
        present = {
            "general_data": general.generated,
            "helpfulness": bool(general.helpfulness),
            "safety": bool(general.safety),
            "distill": False,  # a run for each student, below
        }
        names: list[str] = [name for name in NAMES if present.get(name, True)]
        names += [f"student-{student.partition('=')[0]}" for student in config.students]
        self._numbers = {name: number for number, name in enumerate(names, 1)}
        if len(self._numbers) < len(names):
            raise UserError(f"--students {' '.join(config.students)}: a name occurs twice")

    def of(self, name: str) -> Path:
        """The run directory of a stage."""
        return Path(self.config.run) / STAGES / f"{self._numbers[name]:02d}-{name}"

    def flags(self, name: str, parent: str) -> dict[str, Any]:
        """What the pipeline decides of a stage's flags, but for its data."""
        c = self.config
        checkpoints = "" if parent.startswith(BASE) else str(self.of(parent) / SAVED)
        return {
            "run": str(self.of(name)), "model": c.model, "family": c.family, "parent": checkpoints,
            "seed": 100 * c.seed + self._numbers[name], "mesh": c.mesh, "process": c.process,
        }  # fmt: skip


def _files(places: _Places, file: str, sources: tuple[str, ...]) -> tuple[str, ...]:
    """The sources with the place of the generated file where they say world."""
    made = str(places.of("general_data") / file) if WORLD in sources else ""
    return tuple(made if source == WORLD else source for source in sources)


# --- what ------------------------------------------------------------------------------------


def _drawn(places: _Places, flags: dict[str, Any], **late: Any) -> dict[str, Any]:
    """A stage's problems, and how their programs are run.

    They come in an order of its own: no stage sees those of another one again first.
    """
    c = places.config
    data = replace(c.data, seed=c.data.seed + flags["seed"], **late)
    return flags | {"data": data, "sandbox": c.sandbox}


def _policy(places: _Places, name: StageName, parent: str, stage: RLSettings, **late: Any) -> Stage:
    flags = _drawn(places, places.flags(name, parent), **late)
    return Stage(name, name, zero.run, RLConfig(**vars(stage), **flags), parent, judged=True)


def _sampled(places: _Places, name: StageName, stage: Any, teacher: str) -> Stage:
    """A stage that samples a checkpoint and leaves what it keeps."""
    chains = name == "cold_start_data"
    kind, run = (ColdStartConfig, cold_start.run) if chains else (RejectionConfig, rejection.run)
    flags = _drawn(places, places.flags(name, teacher))
    flags["data"] = part(TrainDataConfig, flags["data"])
    flags["checkpoint"] = places.config.checkpoint
    config = kind(**vars(stage), **flags)
    return Stage(name, name, run, config, asks=(teacher,), makes=(f"{KEPT}.jsonl",))


def _learnt(
    places: _Places,
    name: str,
    stage: SFTSettings,
    parent: str,
    files: tuple[str, ...],
    **changes: Any,
) -> Stage:
    """A supervised stage."""
    data = ConversationConfig(**vars(stage.data), train=files)
    flags = vars(stage) | places.flags(name, parent) | {"data": data} | changes
    kind = name if name in NAMES else "distill"
    return Stage(name, kind, supervised.run, SFTConfig(**flags), parent, reads=files, judged=True)


def _judge(places: _Places, name: StageName, kind: Feedback) -> Stage:
    """A reward model."""
    stage, sources = (getattr(flags, name) for flags in (places.config, places.config.general))
    file = f"{name}.jsonl"
    read = _files(places, file, sources)
    template = stage.data.template or places.config.data.template
    data = vars(stage.data) | {"train": read, "template": template}
    if WORLD in sources and not (stage.data.eval or stage.data.eval_count):
        data["eval"] = (str(places.of("general_data") / TESTS[file]),)
    # The paper's reward models start from R1 as it then was: the checkpoint they are to judge.
    flags = vars(stage) | places.flags(name, "general_sft") | {"data": PreferenceConfig(**data)}
    config = RewardModelConfig(**flags, kind=kind)
    return Stage(name, name, reward_model.run, config, "general_sft", reads=read)


def _general(places: _Places) -> Stage:
    config, general = places.config, places.config.general
    flags = GeneralDataConfig(
        run=str(places.of("general_data")),
        template=config.data.template,
        sft=general.sft_count if WORLD in general.sft else 0,
        helpfulness=general.judged_count if WORLD in general.helpfulness else 0,
        safety=general.judged_count if WORLD in general.safety else 0,
        noise=general.noise,
        seed=config.seed,
        checkpoint=part(GraceConfig, config.checkpoint),
    )
    counts = {SFT: flags.sft, HELPFULNESS: flags.helpfulness, SAFETY: flags.safety}
    made = tuple(file for file, count in counts.items() if count)
    return Stage("general_data", "general_data", general_data.run, flags, makes=made)


def _final(places: _Places) -> Stage:
    """The last reinforcement learning: general prompts and reward models in its last part."""
    config, general = places.config, places.config.general
    stage, late, models = config.general_rl, {}, {}
    if general.prompts:
        parts = stage.train.updates_per_rollout
        before = round(stage.updates * (1 - general.last)) // parts * stage.rollout.prompts
        late = {"late": general.prompts, "late_after": before, "late_share": general.share}
    if general.helpfulness:
        models["helpfulness"] = general.helpfulness_weight
    if general.safety:
        models["safety"] = general.safety_weight
    named = tuple(
        f"{places.of(name)}?only={general.column}:{name}={weight}"
        for name, weight in models.items()
    )
    stage = replace(stage, reward=replace(stage.reward, model=(*stage.reward.model, *named)))
    planned = _policy(places, "general_rl", "general_sft", stage, **late)
    return replace(planned, asks=tuple(models))


def _student(places: _Places, student: str, samples: tuple[str, ...]) -> Stage:
    name, equals, model = student.partition("=")
    stage = places.config.distill
    if not equals:
        if name not in STUDENTS:
            raise UserError(
                f"--students {student}: expected NAME=MODEL, or one of {', '.join(STUDENTS)}"
            )
        model = STUDENTS[name].base
        stage = replace(stage, optimizer=replace(stage.optimizer, lr=STUDENTS[name].lr))
    base = f"{BASE}:{name}"
    return _learnt(places, f"student-{name}", stage, base, samples, model=model, family="")
