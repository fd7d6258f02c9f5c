"""The flags of what is sampled at a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from r1jax.errors import UserError, check_ranges
from r1jax.models.decoding.quantized import WeightFormat
from r1jax.rollout.engine import EngineConfig
from r1jax.rollout.sampling import Sampling


@dataclass(frozen=True)
class RolloutConfig(EngineConfig):
    """What is sampled from the policy at each rollout, and the shapes it is sampled in."""

    prompts: int = 32
    """Different problems per rollout."""
    group: int = 8
    """Completions per problem; their mean reward is the baseline."""
    temperature: float = 1.0
    """Sampling temperature; scoring divides by the same."""
    top_p: float = 1.0
    """Draw from the fewest likely tokens of this mass; below 1 needs --rollout.keep-set."""
    top_k: int = 0
    """Draw from the k most likely tokens (before top-p); above 0 needs --rollout.keep-set."""
    keep_set: int = 0
    """Ids stored of each token, at most, that top-p and top-k kept. Sampler, policy and reference
    are compared over that set (DeepSeek-V3.2), so that the ratio of what has not changed is 1;
    where more are kept, over the whole vocabulary (rollout/set_unknown_frac says how often)."""
    max_rounds: int = 1
    """Above 1, dynamic sampling (DAPO): prompts are drawn for up to so many rounds, until enough
    groups hold both right and wrong answers."""
    accuracy_low: float = 0.0
    """Least share of right answers in a group that counts as one of these (PRIME: 0.2)."""
    accuracy_high: float = 1.0
    """The largest (PRIME: 0.8)."""
    leave: float = 0.0
    """Share of a rollout's completions that need not be finished: when no more than these are being
    written they end as truncated, so that few long ones hold up nobody. 0: all are finished."""
    carry: int = 0
    """Above 0, nobody is cut: a share `leave` of groups is under way beyond `prompts`, a rollout
    ends with its first `prompts` whole groups, and the others go on in the next, over at most so
    many rollouts. Needs --loss.importance-cap, by which tokens of older weights are weighed."""
    stop: tuple[str, ...] = ()
    """Strings that end a completion, beside the model's own stop tokens."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic and cache of generation."""
    weights: WeightFormat = "same"
    """Matrices of the layers in training's rollouts: same (as dtype says), or float8, with what is
    multiplied by them in 8 bits as well (needs r1jax[quantized] and --loss.importance-cap, which
    corrects for it). Evaluation never uses them."""

    def __post_init__(self) -> None:
        """Raises UserError on values that cannot train."""
        super().__post_init__()
        check_ranges(
            self, "--rollout.", prompts="[1,]", group="[1,]", temperature="(0,]", leave="[0,1)",
            carry="[0,]", max_rounds="[1,]", accuracy_low="[0,1]", accuracy_high="[0,1]",
            top_p="(0,1]", top_k="[0,]", keep_set="[0,]",
        )  # fmt: skip
        self._check_set()
        if "" in self.stop:
            raise UserError('--rollout.stop "": every text begins with it; name a string, or none')
        if self.carry and not self.leave:
            raise UserError(
                f"--rollout.carry {self.carry}: needs the share of groups that are carried, "
                "--rollout.leave (0.1)"
            )
        if self.carry and self.max_rounds > 1:
            raise UserError(
                f"--rollout.carry {self.carry}: dynamic sampling asks for whole rounds; use "
                "--rollout.max-rounds 1, or 0 here"
            )

    @property
    def sampling(self) -> Sampling:
        """How training samples are drawn."""
        return Sampling(self.temperature, self.top_p, self.top_k, self.keep_set)

    def _check_set(self) -> None:
        """Raises UserError where tokens are kept unknown to training, or are known to be all."""
        cuts = {"--rollout.top-p": self.top_p < 1 and self.top_p, "--rollout.top-k": self.top_k}
        cut = " ".join(f"{flag} {value}" for flag, value in cuts.items() if value)
        if cut and not self.keep_set:
            raise UserError(
                f"{cut}: training has to know what was kept; set --rollout.keep-set "
                f"({self.top_k or 64}), the most ids stored of a token, or leave it out"
            )
        if self.keep_set and not cut:
            raise UserError(
                f"--rollout.keep-set {self.keep_set}: every token is kept; set --rollout.top-p or "
                "--rollout.top-k, or use 0"
            )
        if self.top_k > self.keep_set:
            raise UserError(
                f"--rollout.top-k {self.top_k}: keeps more than --rollout.keep-set "
                f"{self.keep_set} stores; use {self.top_k} there"
            )
