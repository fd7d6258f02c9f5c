"""What a run is trained on and judged on: the flags under `--data`."""

from __future__ import annotations

from dataclasses import dataclass

from r1jax.data.problems.layouts import Layout
from r1jax.data.problems.prompt_length import TooLong
from r1jax.data.templates import TEMPLATES, check_template
from r1jax.data.world.problems import Language
from r1jax.errors import SEEDS, UserError, check_ranges


@dataclass(frozen=True)
class SourceConfig:
    """How problems are read from their sources, and put to the model.

    A source is one string. `world:sum,countdown,word` names families of the embedded world;
    `?harder=true` after them asks for one operand or digit more. `general:helpful,unsafe,safe`
    names kinds of its general prompts, which no rule judges (grader none); `?language=zh` after
    either asks for one language, `?skip=256` leaves out the first of the held-out ones.
    `reasoning_gym:NAME?a=1&b=2` names any reasoning-gym task; `tinyzero:countdown` and
    `tinyzero:multiply` are TinyZero's.
    `hf:OWNER/NAME?split=train&config=main` names a Hugging Face data set (package `datasets`).
    `package.module:function?a=1` names your own function (rng, a) -> Problem, and training and
    evaluation are kept apart by the problems' ids.
    Anything else is the path of a .jsonl or .parquet file; `?column=value` keeps some of its rows.
    """

    template: str = "r1_zero"
    """Prompt template around the question: r1_zero (the paper's), tags, mini, qa, plain, tinyzero,
    tinyzero_multiply, qwen_boxed, qwen_math_cot, abel, or the tokenizer's own: chat, chat_boxed."""
    system: str = ""
    """System message; only the templates chat and chat_boxed have one."""
    prefill: str | None = None
    """Beginning of every answer, written for the model (<think>); part of the prompt, and of the
    text that rewards see. None: what the template has."""
    language: Language = "both"
    """Language of the embedded world's problems; both: they take turns."""
    layout: Layout = "auto"
    """How the rows of a file are read; auto goes by the columns: plain, gsm8k (after ####), math
    (last box of the solution), aime, choice (MMLU), gpqa, mbpp, humaneval, streams
    (APPS: a program, its input and output), livecodebench, ifeval, countdown."""
    question_column: str | None = None
    """Column of the question; None takes the first of question, problem, prompt."""
    answer_column: str | None = None
    """Column of the gold answer; None takes answer, then solution."""
    grader: str = "auto"
    """How answers to problems of a file are judged, unless a column `grader` says otherwise: math,
    number, choice, countdown, code, your own as package.module:function; auto: as the layout has it
    (plain: math)."""
    too_long: TooLong = "error"
    """What becomes of a problem whose prompt is longer than --rollout.max-prompt: an error that
    names it before anything runs, or drop: left out and counted (of made ones another is taken)."""
    strict: bool = False
    """Refuse a file in which any gold answer cannot be read (otherwise: over 1 percent)."""

    def __post_init__(self) -> None:
        """Raises UserError on an unknown template, and on a system message it has no place for."""
        check_template(self.template, "--data.template")
        if self.system and not TEMPLATES[self.template].chat:
            chats = " or ".join(name for name, template in TEMPLATES.items() if template.chat)
            raise UserError(
                f"--data.system: --data.template {self.template} has no system message; use {chats}"
            )


@dataclass(frozen=True)
class EvalDataConfig(SourceConfig):
    """Problems to be judged on."""

    eval: tuple[str, ...] = ("world:sum,countdown,word",)
    """Sources to be judged on, each reported apart; generated ones are disjoint from training."""
    eval_count: int = 256
    """Problems of each evaluation set (fewer when the source has fewer)."""

    def __post_init__(self) -> None:
        """Raises UserError where nothing would be judged."""
        super().__post_init__()
        check_ranges(self, "--data.", eval_count="[1,]")


@dataclass(frozen=True)
class TrainDataConfig(SourceConfig):
    """Problems to be trained on, or sampled."""

    train: tuple[str, ...] = ("world:sum,countdown,word",)
    """Sources to train on: world:FAMILIES, general:KINDS, reasoning_gym:NAME?param=value,
    tinyzero:TASK, hf:OWNER/NAME?split=train, package.module:function, FILE.jsonl|.parquet."""
    weights: tuple[float, ...] = ()
    """Relative share of each training source; none given: equal shares."""
    late: tuple[str, ...] = ()
    """Sources that join those of --data.train later, as the paper's last reinforcement learning
    has general prompts in its last part only; equal shares among them."""
    late_after: int = 0
    """Problems drawn before they join."""
    late_share: float = 0.5
    """Their share of the problems from then on."""
    seed: int = 0
    """Seed of the training problems' generation and order; evaluation sets do not depend on it."""

    def __post_init__(self) -> None:
        """Raises UserError when the values do not fit together."""
        super().__post_init__()
        if not self.train:
            raise UserError("--data.train: no source; name one, e.g. world:sum,countdown,word")
        if self.weights and len(self.weights) != len(self.train):
            raise UserError(
                f"--data.weights: {len(self.weights)} weights for {len(self.train)} sources of "
                "--data.train; give one for each"
            )
        if any(not 0 < weight < float("inf") for weight in self.weights):
            raise UserError(f"--data.weights {self.weights}: every weight must be above 0")
        if (self.late_after or self.late_share != 0.5) and not self.late:
            raise UserError("--data.late-after, --data.late-share: need --data.late, the sources")
        check_ranges(self, "--data.", late_after="[0,]", late_share="(0,1)", seed=SEEDS)


@dataclass(frozen=True)
class DataConfig(TrainDataConfig, EvalDataConfig):
    """Problems to train on and to be judged on."""
