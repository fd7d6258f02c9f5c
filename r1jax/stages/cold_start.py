"""Data for the cold start (paper, section 2.3.1), by the four routes that the paper names.

`few_shot` and `direct` ask a model for long chains of thought, `zero` rewrites R1-Zero's outputs so
that they read well, `human` hands samples to people and takes back what they accept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from r1jax.data.problems.prompt_length import PromptRoom
from r1jax.data.rows import open_rows
from r1jax.data.templates import TEMPLATES, Template
from r1jax.data.world.rewrite import rewrite as world_rewrite
from r1jax.endpoint import ChatRequest, Endpoint, rewrite_messages
from r1jax.errors import UserError
from r1jax.plugin import load_function
from r1jax.problem import Completion, Problem
from r1jax.rollout.policy import Policy, load_policy
from r1jax.run.names import DATASHEET
from r1jax.run.progress import Alone, Display
from r1jax.stages.harvest.place import ENDPOINT, Place, finish, open_place
from r1jax.stages.harvest.review import export_review, read_review, reviewed
from r1jax.stages.harvest.samples import (
    BalanceConfig,
    Generator,
    Rewriter,
    Room,
    harvest,
    settle,
)
from r1jax.stages.opening import opened
from r1jax.stages.rejection import (
    RULES,
    RejectionConfig,
    RejectionSettings,
    distinct_problems,
    local_model,
    make_steps,
)

Source = Literal["few_shot", "direct", "zero", "human"]
AUTO, NONE = "auto", "none"
STOP = ("</answer>",)
"""Where sampling ends when the prompt asks for the tags: a base would go on to a next question."""

DIRECT = """\
Answer the question below. Think first, in the first person and in the language of the question, \
between <think> and </think>: go step by step, doubt what you did, go back where a step is wrong, \
and verify the result before you trust it. Then give the final result alone between <answer> and \
</answer>.
User: {question}
Assistant:"""

EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "A farmer has 17 sheep and buys 3 pens of 8 sheep each. Then 12 are sold. How many are "
        "left?",
        "<think> I want to know how many sheep are left. First I count what is bought: 3*8=24. "
        "With the old ones I have 17+24=41. Then I take off 12: 41-12=31. Wait, is that right? "
        "40-12=28, and 41 is one more than 40, so it must be 28+1=29, not 31. I made a slip. I "
        "check it the other way round: 29+12=41, good. So the answer is 29. </think> "
        "<answer> 29 </answer>",
    ),
    (
        "一本书有96页，小林第一天看了28页，第二天看的是第一天的2倍。还剩多少页？",
        "<think> 我要算还剩多少页。第二天看了28*2=56页。两天一共看了28+56=84页。等等，我再检查："
        "84-56=28，没错。剩下96-84=12页。我验算：84+12=96，对。所以答案是12。 </think> "
        "<answer> 12 </answer>",
    ),
)
"""Long chains of thought that the few-shot prompt shows, ours."""


@dataclass(frozen=True)
class ColdStartSettings(RejectionSettings):
    """Where readable chains of thought come from; the rest as in rejection sampling."""

    source: Source = "zero"
    """few_shot: a prompt with long chains of thought; direct: a prompt that asks for reflection and
    verification; zero: outputs of an R1-Zero (--parent), rewritten; human: samples that people
    reviewed (--review)."""
    generator: Literal["local", "endpoint"] = "local"
    """Who answers: the model or checkpoint named here, or the one behind --endpoint."""
    rewriter: str = AUTO
    """Who makes right answers readable: rules (the embedded world's), endpoint, none, or your own
    package.module:function of (question, text) -> text or None; auto: rules for zero, else none."""
    examples: str = ""
    """File of examples for few_shot (columns question and completion); empty: two of ours."""
    review: str = ""
    """File that people fill in for human: written when it is not there, read when it is."""
    review_from: str = ""
    """Run directory whose kept samples are to be reviewed."""
    balance: BalanceConfig = field(
        default_factory=lambda: BalanceConfig(per_prompt=2, easy_share=1.0)
    )
    """How much of one prompt, and of easy ones."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range or parts do not fit together."""
        super().__post_init__()
        if self.source == "human" and not self.review:
            raise UserError("--review: --source human needs the file that people fill in")
        if self.source != "human" and (self.review or self.review_from):
            raise UserError("--review, --review-from: only --source human reads them")
        if self.examples and self.source != "few_shot":
            raise UserError(f"--examples {self.examples}: only --source few_shot shows examples")

    @property
    def askers(self) -> dict[str, str]:
        """The flags that may send something to the endpoint, with their values."""
        own = {"--generator": self.generator, "--rewriter": self.rewriter}
        return super().askers | own


@dataclass(frozen=True)
class ColdStartConfig(ColdStartSettings, RejectionConfig):
    """A run that makes data for the cold start."""

    run: str = "runs/cold_start_data"


def run(config: ColdStartConfig, display: Display | None = None) -> None:
    """Leaves kept and dropped samples with a datasheet, or the file that people are to review."""
    if config.source == "human" and not Path(config.review).exists():
        said = export_review(config.review_from, config.review)
        (display or Alone()).result(said)
        return
    with opened(config, display, DATASHEET) as run:
        if run.finished:
            return
        place = open_place(run, config.workers, config.sandbox, config.endpoint)
        if config.source == "human":
            origin = import_review(config, place)
        else:
            policy, generate, origin = make_generator(config, place)
            rewriter = chosen_rewriter(config)
            problems = distinct_problems(config, run.note, prompt_room(config, policy))
            steps = make_steps(config, place, policy, make_rewriter(rewriter, place))
            if ":" in rewriter:  # a function of the user's, one text after the other
                steps = replace(steps, together=False)
            harvest(steps, generate, problems, place.streams, config.batch, run.note)
            origin = {"source": config.source, "rewriter": rewriter} | origin
        finish(place, f"Cold start: {config.source}", origin, config.export)


# --- who answers -----------------------------------------------------------------------------


def asking_template(config: ColdStartConfig) -> Template | None:
    """The template that samples are drawn with; None: the one under --data."""
    chat = TEMPLATES[config.data.template].chat
    if config.source == "direct":
        text = DIRECT.removesuffix("\nAssistant:") if chat else DIRECT
        return Template("direct", text, chat=chat)
    if config.source == "few_shot":
        shown = "".join(f"Question: {q}\nAnswer: {a}\n\n" for q, a in read_examples(config))
        return Template("few_shot", shown + "Question: {question}\nAnswer:", chat=chat)
    return None


def prompt_room(config: ColdStartConfig, policy: Policy) -> PromptRoom | None:
    """Room for the prompts that samples are drawn with; None where an endpoint draws them."""
    if config.generator == ENDPOINT:
        return None
    asked = replace(policy, template=asking_template(config) or policy.template)
    return PromptRoom(config.rollout.max_prompt, asked.prompts)


def read_examples(config: ColdStartConfig) -> list[tuple[str, str]]:
    """(question, completion) of each example. UserError naming the row that lacks one."""
    if not config.examples:
        return list(EXAMPLES)
    unit, rows = open_rows(config.examples)
    examples = []
    for number, row in rows:
        pair = (row.get("question"), row.get("completion"))
        if not all(isinstance(text, str) and text for text in pair):
            raise UserError(
                f"{config.examples}, {unit} {number}: expected text in question and completion"
            )
        examples.append(pair)
    if not examples:
        raise UserError(f"{config.examples}: is empty; expected an example per {unit}")
    return examples


def make_generator(
    config: ColdStartConfig, place: Place
) -> tuple[Policy, Generator, dict[str, Any]]:
    """(policy of the training layout, who answers, where the samples come from)."""
    template = asking_template(config)
    if config.generator == "local":
        return local_model(config, place, template, STOP if template else ())
    d, e = config.data, config.endpoint
    policy = load_policy(config.model, d.template, d.system, d.prefill, config.family)
    asked = template or policy.template
    endpoint = place.ask("--generator") if place.writes else None
    origin = {"endpoint": e.model, "samples": config.samples, "temperature": e.temperature,
              "top_p": e.top_p, "seed": config.seed}  # fmt: skip
    return policy, endpoint_generator(endpoint, asked, config), origin


def endpoint_generator(
    endpoint: Endpoint | None, template: Template, config: ColdStartConfig
) -> Generator:
    """Samples of an endpoint, told apart by their seeds; only the first process asks."""

    def generate(problems: Sequence[Problem]) -> list[list[Completion | None]]:
        if endpoint is None:
            return [[] for _ in problems]
        n = config.samples
        requests = [
            ChatRequest(
                ({"role": "user", "content": template.fill(problem.question)},), config.seed * n + i
            )
            for problem in problems
            for i in range(n)
        ]
        completions = [
            reply and Completion.parse(reply.full_text, (), "stop" if reply.whole else "length")
            for reply in endpoint.chat(requests)
        ]
        return [completions[i * n : (i + 1) * n] for i in range(len(problems))]

    return generate


# --- who rewrites ----------------------------------------------------------------------------


def chosen_rewriter(config: ColdStartConfig) -> str:
    """The name of the rewriter, auto settled."""
    if config.rewriter != AUTO:
        return config.rewriter
    return RULES if config.source == "zero" else NONE


def make_rewriter(name: str, place: Place) -> Rewriter | None:
    """The rewriter of that name: rules, endpoint, none or package.module:function."""
    if name == NONE:
        return None
    if name == ENDPOINT:
        return endpoint_rewriter(place.ask("--rewriter")) if place.writes else None
    if name == RULES:
        return each(world_rewrite)
    return each(load_function(name, "--rewriter", ("question", "text")))


def each(function: Callable[[str, str], str | None]) -> Rewriter:
    """Lifts a function of one question and text."""
    return lambda pairs: [function(question, text) for question, text in pairs]


def endpoint_rewriter(endpoint: Endpoint) -> Rewriter:
    """Asks a model; a reply that was cut is no rewriting."""

    def rewrite(pairs: Sequence[tuple[str, str]]) -> list[str | None]:
        replies = endpoint.chat([ChatRequest(rewrite_messages(*pair)) for pair in pairs])
        # The reasoning of the model that rewrites is not the thought it was asked to write.
        return [r.text.strip() if r and r.whole else None for r in replies]

    return rewrite


def import_review(config: ColdStartConfig, place: Place) -> dict[str, Any]:
    """Keeps what people accepted, still right where there is a gold answer, and fit.

    Returns where the samples come from.
    """
    d = config.data
    policy = load_policy(config.model, d.template, d.system, d.prefill, config.family)
    steps = make_steps(config, place, policy)
    groups = read_review(config.review)
    if place.writes:
        place.streams.check([problem for problem, _ in groups])
        room = Room(config.balance.easy_share, place.streams.prompts)
        for problem, rows in list(groups)[len(place.streams.prompts) :]:
            samples = reviewed(problem, rows, steps.judge)
            settle(steps, problem, samples, place.streams, room)
    return {"source": "human", "review": config.review}
