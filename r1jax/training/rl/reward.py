"""The flags of the reward: its terms' weights, and how they are computed."""

from __future__ import annotations

from dataclasses import dataclass, fields

from r1jax.errors import check_ranges
from r1jax.rewards import AnswerPolicy
from r1jax.rewards.language import LanguageIdentifier

HOW = (
    "answer", "language_target", "language_identifier", "overlong_cache",
    "workers", "cpu_seconds", "wall_seconds", "memory_mb",
)  # fmt: skip
"""Fields of `RewardConfig` that say how rewards are computed; all others are weights of terms."""


@dataclass(frozen=True)
class RewardConfig:
    """The terms of the reward; a term of weight 0 is not computed."""

    accuracy: float = 1.0
    """Weight of the right answer (1 or 0)."""
    answer: AnswerPolicy = "auto"
    """Where the answer stands: answer_tag, boxed, last, or auto (what is said to be the answer)."""
    code: float = 0.0
    """Weight of the share of a problem's tests that its program passes (accuracy asks for all)."""
    format: float = 0.1
    """Weight of the strict <think>...</think> <answer>...</answer> envelope (1 or 0)."""
    tag_count: float = 0.0
    """Weight of a quarter point for each tag that stands exactly once."""
    language: float = 0.0
    """Weight of language consistency: the share of a thought's words in the target language."""
    language_target: str = "question"
    """That language: question (the problem's own), or a code such as en or zh."""
    language_identifier: LanguageIdentifier = "script"
    """How a word's language is told: script, or langid (the package py3langid tells sentences of
    one script apart as well, German from English)."""
    overlong: float = 0.0
    """Weight of DAPO's soft punishment (0 to -1) of completions near the token limit."""
    overlong_cache: int = 16
    """Tokens before the limit over which that punishment grows."""
    repetition: float = 0.0
    """Weight of the repetition penalty (0 to -1) on 3-grams of words."""
    random: float = 0.0
    """Weight of a coin flip that knows nothing of the answer: the control."""
    user: tuple[str, ...] = ()
    """Your own terms: package.module:function=WEIGHT, with options as in
    package.module:function?max_len=1000=0.5; written for r1jax, TRL or verl; sets to choose from:
    r1jax.rewards.open_r1, will_brown, tinyzero, simplerl."""
    model: tuple[str, ...] = ()
    """Reward models: RUN=WEIGHT, the directory of a run of `r1jax reward_model`, with options
    as in RUN?view=summary&only=COLUMN:VALUE=WEIGHT (only: problems whose metadata say so;
    unverified=true: without digests); each is logged as reward/<name of the run>."""
    workers: int | None = None
    """Processes that grade answers; None: one per core, at most 8; 0: in this one, unlimited."""
    cpu_seconds: float = 2.0
    """CPU time an answer may take to grade; beyond it costs that answer its reward."""
    wall_seconds: float = 10.0
    """Wall clock after which a grader that does not even compute is ended."""
    memory_mb: int = 1024
    """Memory a grading process may ask for, in MiB."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(
            self, "--reward.", accuracy="(,)", code="(,)", format="(,)", tag_count="(,)",
            language="(,)", overlong="(,)", repetition="(,)", random="(,)", overlong_cache="[1,]",
            workers="[0,]", cpu_seconds="(0,]", wall_seconds="(0,]", memory_mb="[1,]",
        )  # fmt: skip

    @property
    def idle(self) -> dict[str, str]:
        """Fields that nothing reads, and when they would be."""
        terms = {
            "language_target": "language",
            "language_identifier": "language",
            "overlong_cache": "overlong",
        }
        off = {name: term for name, term in terms.items() if not getattr(self, term)}
        return {name: f"with a weight of {term}" for name, term in off.items()}

    def only(self, **weights: float | tuple[str, ...]) -> RewardConfig:
        """These terms and no others, computed as here: every weight not named is 0, or empty."""
        nothing = {f.name: type(getattr(self, f.name))() for f in fields(self)}
        return RewardConfig(**nothing | {name: getattr(self, name) for name in HOW} | weights)
