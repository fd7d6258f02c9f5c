"""Rejection sampling (paper, section 2.3.3): keep what is right and reads well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax

from r1jax.data import ProblemStream, TrainDataConfig
from r1jax.data.curation.exports import ExportLayout
from r1jax.data.curation.filters import FilterConfig, make_filters
from r1jax.data.problems.prompt_length import PromptRoom
from r1jax.data.templates import Template
from r1jax.endpoint import EndpointConfig
from r1jax.errors import UserError, check_ranges
from r1jax.evaluate.kept_samples import KeptSamples
from r1jax.mesh import make_mesh
from r1jax.plugin import load_function
from r1jax.problem import Completion, Problem
from r1jax.rewards import AnswerPolicy, SandboxConfig, accuracy
from r1jax.rollout.engine import EngineConfig
from r1jax.rollout.policy import Policy, load_policy, make_engine, make_sampler
from r1jax.rollout.sampling import Sampling
from r1jax.run.flags import Flags, RunFlags
from r1jax.run.names import DATASHEET, PART
from r1jax.run.progress import Display
from r1jax.stages.harvest.judges import endpoint_judge, rule_judge
from r1jax.stages.harvest.place import ENDPOINT, Place, finish, open_place
from r1jax.stages.harvest.samples import (
    BalanceConfig,
    Generator,
    Judge,
    Rewriter,
    Steps,
    harvest,
    training_layout,
)
from r1jax.stages.opening import opened
from r1jax.training.weights import find_parent, starting_weights

RULES = "rules"
FRUITLESS = 1000
"""Problems in a row that were all seen before, after which a source counts as used up."""


@dataclass(frozen=True)
class RejectionSettings(Flags):
    """What is sampled, how it is judged, what is kept."""

    prompts: int = 1024
    """Different problems, each sampled once; all of them where the sources hold fewer."""
    batch: int = 64
    """Problems sampled at a time: what a kill may cost."""
    samples: int = 8
    """Completions of each problem."""
    temperature: float = 1.0
    """Sampling temperature (paper, cold start: 1)."""
    top_p: float = 1.0
    """Nucleus of the sampling distribution."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic and cache of generation."""
    judge: str = RULES
    """Who says what is right: rules (each problem's grader), endpoint (a model compares with the
    reference answer), or your own package.module:function of (problem, completion) -> bool."""
    answer: AnswerPolicy = "auto"
    """Where rules look for the answer: answer_tag, boxed, last, or auto (what is said to be it)."""
    workers: int | None = None
    """Processes that grade answers; None: one per core, at most 8; 0: in this one, unlimited."""
    rollout: EngineConfig = field(default_factory=EngineConfig)
    """Shapes of the generation engine."""
    filters: FilterConfig = field(default_factory=FilterConfig)
    """What is asked of a right sample."""
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    """How much of one prompt, and of easy ones."""
    export: tuple[ExportLayout, ...] = ()
    """Further layouts to leave the kept samples in, as kept.LAYOUT.jsonl: sharegpt, stratos
    (Bespoke-Stratos), mixture (Mixture-of-Thoughts)."""
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    """A model behind an address, where one is asked."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range or parts do not fit together."""
        super().__post_init__()
        check_ranges(
            self, "--", prompts="[1,]", batch="[1,]", samples="[1,]", temperature="[0,]",
            top_p="(0,1]", workers="[0,]",
        )  # fmt: skip
        if "stratos" in self.export and not self.filters.complete:
            raise UserError("--export stratos: needs a thought and a summary (--filters.complete)")
        if self.endpoint != EndpointConfig() and ENDPOINT not in self.askers.values():
            raise UserError(
                f"--endpoint.*: nothing here asks an endpoint; set {' or '.join(self.askers)} "
                f"to {ENDPOINT}, or leave these out"
            )

    @property
    def askers(self) -> dict[str, str]:
        """The flags that may send something to the endpoint, with their values."""
        return {"--judge": self.judge}


@dataclass(frozen=True)
class RejectionConfig(RejectionSettings, RunFlags):
    """A run of rejection sampling."""

    run: str = "runs/rejection"
    data: TrainDataConfig = field(default_factory=TrainDataConfig)
    """Problems, and the template that the kept samples are to be learnt in."""
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    """Running programs, where answers are such."""


def run(config: RejectionConfig, display: Display | None = None) -> None:
    """Samples, judges, filters, balances; leaves kept and dropped samples with a datasheet."""
    with opened(config, display, DATASHEET) as run:
        if run.finished:
            return
        place = open_place(run, config.workers, config.sandbox, config.endpoint)
        policy, generate, origin = local_model(config, place)
        room = PromptRoom(config.rollout.max_prompt, policy.prompts)
        problems = distinct_problems(config, run.note, room)
        steps = make_steps(config, place, policy)
        harvest(steps, generate, problems, place.streams, config.batch, run.note)
        finish(place, "Rejection sampling", origin, config.export)


def make_steps(
    config: RejectionConfig, place: Place, policy: Policy, rewrite: Rewriter | None = None
) -> Steps:
    """What is done with every batch, from the flags."""
    tokenizer = policy.tokenizer
    return Steps(
        judge=make_judge(config, place),
        rewrite=rewrite,
        filters=make_filters(config.filters),
        balance=config.balance,
        layout=training_layout(policy),
        together=config.judge in (RULES, ENDPOINT),
        tokens=lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
    )


def distinct_problems(
    config: RejectionConfig, note: Callable[[str], Any], room: PromptRoom | None = None
) -> list[Problem]:
    """The first `config.prompts` problems of the stream with different ids, in its order.

    Raises UserError where the rules that are to judge them cannot, or a prompt exceeds the `room`.
    """
    stream = ProblemStream(config.data, room)
    for report in stream.reports:
        note(str(report))
    by_id: dict[str, Problem] = {}
    position = fruitless = 0
    while len(by_id) < config.prompts and fruitless < max(FRUITLESS, 2 * len(by_id)):
        (problem,) = stream.take(position, 1)
        position += 1
        fruitless = fruitless + 1 if problem.id in by_id else 0
        by_id.setdefault(problem.id, problem)
    if len(by_id) < config.prompts:
        note(f"--prompts {config.prompts:,}: the sources hold {len(by_id):,} different problems")
    problems = list(by_id.values())
    if config.judge == RULES:
        accuracy(config.answer, sandbox=config.sandbox).check(problems)
    return problems


def local_model(
    config: RejectionConfig,
    place: Place,
    template: Template | None = None,
    stop: tuple[str, ...] = (),
) -> tuple[Policy, Generator, dict[str, Any]]:
    """(policy, generator, where its samples come from) of the model or parent that flags name.

    `template` stands around the question in sampling in place of the one under --data; `stop` are
    strings that end a completion. Samples that a signal finds undecided stay in the `place`.
    """
    mesh = make_mesh(config.mesh)
    data = config.data
    policy = load_policy(config.model, data.template, data.system, data.prefill, config.family)
    parent = find_parent(policy, config.parent, config.parent_step, config.checkpoint.unverified)
    asked = replace(policy, template=template) if template else policy
    engine = make_engine(policy, mesh, config.rollout, stop_strings=stop, dtype=config.dtype)
    weights = engine.prepare(starting_weights(policy, mesh, parent))
    sampling = Sampling(config.temperature, config.top_p)
    sampler = make_sampler(engine, asked, weights, rollout=1)
    step = {"parent_step": parent["step"]} if parent else {}
    origin = {"model": config.model, "parent": config.parent, **step, "samples": config.samples,
              "temperature": config.temperature, "top_p": config.top_p,
              "seed": config.seed}  # fmt: skip
    draw: Callable[..., list[list[Completion]]] = sampler
    kept = None
    if jax.process_count() == 1:  # several would have to agree on what is still to be drawn
        kept = KeptSamples(place.run.path / PART, origin)
        draw = kept.sampler("this batch", sampler)

    def generate(problems: Sequence[Problem]) -> list[list[Completion | None]]:
        if kept:
            kept.only(problems)  # of the others all is decided
        return list(map(list, draw(problems, config.samples, sampling, config.seed)))

    return policy, generate, origin


def make_judge(config: RejectionConfig, place: Place) -> Judge:
    """The judge that `config.judge` names. UserError where there is none of that name."""
    if config.judge == RULES or not place.writes:
        return rule_judge(accuracy(config.answer, sandbox=config.sandbox), place.pool)
    if config.judge == ENDPOINT:
        return endpoint_judge(place.ask("--judge"))
    user_judge = load_function(config.judge, "--judge", ("problem", "completion"))
    return lambda problems, completions: [
        verdict if (verdict := user_judge(p, c)) is None else bool(verdict)
        for p, c in zip(problems, completions, strict=True)
    ]
