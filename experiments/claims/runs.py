"""The runs that claims are made of: their flags, their names, what each waits for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from experiments.claims import traces
from experiments.gates import jobs, rejection_sft
from experiments.gates.jobs import Job
from experiments.gates.study import PlannedJob
from r1jax.checkpoint import CheckpointConfig
from r1jax.commands import cold_start_data, rejection, sft
from r1jax.commands import reward_model as reward_models
from r1jax.data.examples.conversations import ConversationConfig
from r1jax.errors import UserError, check_ranges
from r1jax.presets.zero import PRESETS
from r1jax.rollout.engine import EngineConfig
from r1jax.run.flags import part
from r1jax.stages.cold_start import ColdStartConfig
from r1jax.stages.harvest.samples import BalanceConfig
from r1jax.stages.rejection import RejectionConfig
from r1jax.stages.reward_model import RewardModelConfig
from r1jax.stages.supervised import SFTConfig
from r1jax.training.rl.config import EvalSchedule, RLConfig

DEMO = PRESETS["demo"]
ORDER = tuple("aecdfbgikhj")
"""The claims, the most important first."""

# The demo's run in an accelerator's shapes: as many samples at once as a rollout has.
ZERO = replace(
    DEMO,
    rollout=replace(DEMO.rollout, slots=256, prefill=32),
    reward=replace(DEMO.reward, workers=1),
    train=replace(DEMO.train, rows=48),
    eval=EvalSchedule(every=0, samples=16, greedy=False),
    checkpoint=CheckpointConfig(every=20, keep=1),
    memory="off",
)

_SHAPES = part(EngineConfig, ZERO.rollout)


@dataclass(frozen=True)
class Config(jobs.GateSetting):
    """Which claims are tested, on what, how many runs at a time."""

    out: str = "runs/claims"
    results: str = "docs/claims"
    """Directory of one JSON file for each claim."""
    only: tuple[str, ...] = ORDER
    """Letters of the claims, the most important first."""
    bases: tuple[str, ...] = ("embedded",)
    """Independently trained bases: model directories, or embedded."""
    chinese_bases: tuple[str, ...] = ()
    """The same trained on four Chinese documents to one English, for claim c."""
    general_bases: tuple[str, ...] = ()
    """The same trained on general replies as well, for claims e and h; none: --bases are."""
    students: tuple[str, ...] = ()
    """Bases of at most a quarter of the parameters, for claim f."""
    sizes: tuple[str, ...] = ()
    """Bases of several sizes, each size from the same seeds, for claim j."""
    devices: int = 0
    """GPUs, the jobs dealt out to them in turn; 0: what JAX finds."""
    deadline: float = 0.0
    """Seconds after which no run is started and those under way are stopped, to be gone on with by
    the same command; 0: none."""
    judge_problems: int = 64
    """Held-out problems of the pass@k curves and of the modes."""
    judge_samples: int = 256
    """Samples of each of them."""
    zero: RLConfig = ZERO
    """Every reinforcement learning, but for what a claim changes."""
    sft: SFTConfig = replace(
        sft.PRESETS["demo"],
        eval_every=0,
        export=False,
        train=replace(sft.PRESETS["demo"].train, rows=16),
        checkpoint=CheckpointConfig(every=0, keep=1),
    )
    """Every supervised training, but for data and what a claim changes."""
    cold_start: ColdStartConfig = replace(
        cold_start_data.PRESETS["demo"], batch=128, workers=1, rollout=_SHAPES
    )
    """Cold-start data."""
    rejection: RejectionConfig = replace(
        rejection.PRESETS["demo"],
        batch=128,
        workers=1,
        rollout=_SHAPES,
        balance=BalanceConfig(per_prompt=4, easy_share=1.0),
    )
    """Samples of a teacher."""
    reward_model: RewardModelConfig = replace(
        reward_models.PRESETS["demo"],
        eval_every=0,
        train=replace(reward_models.PRESETS["demo"].train, rows=16),
        checkpoint=CheckpointConfig(every=0, keep=1),
    )
    """The proxies of claim h."""
    pairs: tuple[int, ...] = (200, 2000, 20_000)
    """Pairs that the proxies of claim h learn from."""
    long: int = 300
    """Updates of claim f's long reinforcement learning of the student."""

    def __post_init__(self) -> None:
        """Raises UserError on values that make no study."""
        super().__post_init__()
        if unknown := [letter for letter in self.only if letter not in ORDER]:
            raise UserError(f"--only {unknown[0]}: no such claim; choose from {' '.join(ORDER)}")
        check_ranges(
            self, "--", devices="[0,]", deadline="[0,]", judge_problems="[1,]",
            judge_samples="[1,]", long="[1,]",
        )  # fmt: skip

    @property
    def pairings(self) -> list[BaseAndSeed]:
        """Every base with every seed, each seed on all bases before the next one."""
        return [BaseAndSeed(b, s) for s in range(self.seeds) for b in range(len(self.bases))]

    def general_base(self, base: int) -> str:
        """The base that has read general replies."""
        return (self.general_bases or self.bases)[base]


class BaseAndSeed(NamedTuple):
    """The number of a base, and a seed."""

    base: int
    seed: int

    def named(self, what: str) -> str:
        """The name of a run."""
        return f"{what}-b{self.base}-s{self.seed}"


@dataclass(frozen=True)
class ModuleJob:
    """A module to run with flags as they stand; `result`, in its folder, is what marks its end."""

    name: str
    module: str
    arguments: tuple[str, ...]
    result: str = "summary.json"
    config: None = None

    def finished(self, out: Path) -> bool:
        """Whether its result is there."""
        return (out / self.name / self.result).exists()

    @property
    def command(self) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", self.module, *self.arguments]


def place(config: Config, name: str) -> str:
    """Directory of a run."""
    return str(Path(config.out) / name)


def file(config: Config, name: str, inside: str) -> Path:
    """A file of a run."""
    return Path(config.out) / name / inside


def weights(config: Config, name: str) -> str:
    """Directory of a run's checkpoints."""
    return str(file(config, name, "checkpoints"))


def learning(
    config: Config,
    name: str,
    pair: BaseAndSeed,
    model: str,
    after: Sequence[str] = (),
    **changes: Any,
) -> PlannedJob:
    """Reinforcement learning as `config.zero`, with `changes` to its flags."""
    run = replace(config.zero, run=place(config, name), model=model, seed=pair.seed)
    run = replace(run, **{"data": replace(run.data, seed=pair.seed)} | changes)
    return PlannedJob(Job(name, "experiments.zero_demo", run, DEMO), tuple(after))


def zero(config: Config, pair: BaseAndSeed) -> PlannedJob:
    """The plain R1-Zero that most claims look at."""
    return learning(config, pair.named("zero"), pair, config.bases[pair.base])


def tuning(
    config: Config,
    name: str,
    pair: BaseAndSeed,
    model: str,
    data: str,
    after: Sequence[str],
    **changes: Any,
) -> PlannedJob:
    """Supervised training of a base on the file `data`."""
    run = replace(config.sft, run=place(config, name), model=model, seed=pair.seed)
    run = replace(run, data=ConversationConfig(train=(data,)), **changes)
    return PlannedJob(Job(name, "experiments.sft", run, sft.PRESETS["research"]), tuple(after))


def judging(
    config: Config,
    name: str,
    model: str,
    of: str = "",
    problems: int | None = None,
    samples: int | None = None,
) -> PlannedJob:
    """An evaluation of a base or of the run `of` it, on a few problems with many samples."""
    run = replace(config.zero, model=model)
    eval_config = replace(config.zero.eval, samples=samples or config.judge_samples, greedy=False)
    judged = jobs.judging(run, problems or config.judge_problems, eval_config)
    checkpoint = weights(config, of) if of else ""
    job = jobs.evaluation(name, judged, Path(config.out), checkpoint=checkpoint)
    return PlannedJob(job, (of,) if of else ())


def cold_start(config: Config, name: str, pair: BaseAndSeed, of: str) -> PlannedJob:
    """Readable samples of the R1-Zero `of`."""
    run, default = sampling(config.cold_start, config, name, pair, of), cold_start_data.PRESETS
    return PlannedJob(Job(name, "experiments.cold_start_data", run, default["research"]), (of,))


def teaching(config: Config, name: str, pair: BaseAndSeed, of: str) -> PlannedJob:
    """What the R1-Zero `of` gets right, for others to learn from."""
    run, default = sampling(config.rejection, config, name, pair, of), rejection.PRESETS
    return PlannedJob(Job(name, "experiments.rejection", run, default["research"]), (of,))


def sampling(stage: Any, config: Config, name: str, pair: BaseAndSeed, of: str) -> Any:
    """A stage that samples the R1-Zero `of` a base, on problems that it has not learnt from."""
    return replace(
        stage,
        run=place(config, name),
        model=config.bases[pair.base],
        parent=weights(config, of),
        seed=pair.seed,
        data=replace(stage.data, seed=1000 + pair.seed),
    )


def corpus_traces(config: Config, name: str, pair: BaseAndSeed, like: str) -> PlannedJob:
    """As many right traces of the corpus as the run `like` has kept; its samples unrewritten."""
    run = traces.Config(
        run=place(config, name),
        like=str(Path(config.out) / like / "kept.jsonl"),
        seed=1000 + pair.seed,
        template=config.zero.data.template,
    )
    return PlannedJob(Job(name, "experiments.claims.traces", run, traces.Config()), (like,))


def own_samples(
    config: Config, name: str, pair: BaseAndSeed, model: str, **changes: Any
) -> PlannedJob:
    """Supervised training on the model's own right answers."""
    run = replace(config.zero, model=model, seed=pair.seed)
    run = replace(run, data=replace(run.data, seed=pair.seed))
    made = replace(jobs.rejection(run, Path(config.out)), run=place(config, name), **changes)
    return PlannedJob(Job(name, "experiments.gates.rejection_sft", made, rejection_sft.Config()))
