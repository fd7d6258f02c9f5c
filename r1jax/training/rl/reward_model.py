"""A trained reward model as a reward: loaded from its run, run on the devices in packed batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jax.sharding import Mesh
from scipy.special import expit

from r1jax import mesh as meshes
from r1jax.checkpoint import read_meta, restore_params
from r1jax.data.examples.conversations import wrapped
from r1jax.data.examples.encoding import Encoder
from r1jax.data.examples.judged_steps import last_tokens
from r1jax.data.examples.preferences import JudgeKind, View, seen
from r1jax.data.examples.steps import Cut, step_ends
from r1jax.data.packing import Sequences
from r1jax.data.padding import side_by_side
from r1jax.errors import UserError
from r1jax.mesh import MeshConfig, make_mesh, row_devices
from r1jax.models import scalar, table
from r1jax.models.lora import LoraConfig
from r1jax.problem import Completion, Problem, RewardContext, Value
from r1jax.rewards.adapters import split_weight
from r1jax.rewards.base import BaseReward
from r1jax.rewards.tokens import tokens_to
from r1jax.rollout.policy import Policy, load_policy
from r1jax.run.digests import find_step
from r1jax.run.names import SAVED
from r1jax.training.batches import ComputeConfig, PerToken, over_completions
from r1jax.training.supervised.preference import token_scores
from r1jax.training.weights import starting_weights
from r1jax.types import Params

CELLS = 16_384  # tokens of a micro-batch on each device, or one row where that is longer
SHORTEST = 64  # the narrowest row; widths are this times a power of two
SEGMENTS = 32  # responses a row may hold


@dataclass(frozen=True)
class Described:
    """What a reward model's checkpoint says of how it is to be used."""

    kind: JudgeKind
    view: View
    model: str
    family: str
    template: str
    system: str
    dtype: str
    steps: Cut = "line"  # of kind process


@dataclass(frozen=True)
class RewardModel(BaseReward):
    """Scores of a trained reward model.

    Weights are read, and spread over all devices, at the first call. It runs in the main process
    and, where there are several, in every one of them, with the same arguments. A completion is
    scored as training saw responses: the prompt in the model's own template, the text (or what
    follows its </think>), the stop token; an unfinished thought has an empty summary.

    One of kind process rewards tokens: the last of every step has the stated probability, from 0
    to 1, that the step is right.
    """

    directory: Path  # of the checkpoints
    step: int
    about: Described
    lora: LoraConfig | None
    parent: Mapping[str, Any] | None
    view: View
    only: tuple[str, str] | None = None
    mesh: Mesh | None = None  # None: every device a shard of weights and rows
    per_item = False  # a batch of the devices, whole rollouts
    place = "devices"

    @property
    def per_token(self) -> bool:
        """Whether steps are judged: their rewards stand at tokens."""
        return self.about.kind == "process"

    def __call__(
        self,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        context: RewardContext,
    ) -> list[Value]:
        """The score of each completion, or of its steps; None for what `only` leaves out."""
        mine = [i for i, problem in enumerate(problems) if self._asked(problem)]
        asked = [problems[i].question for i in mine], [completions[i].text for i in mine]
        if self.per_token:
            found = [
                on_tokens(completions[i], judged, context.tokenizer)
                for i, judged in zip(mine, self.step_scores(*asked), strict=True)
            ]
        else:
            found = self.scores(*asked).tolist()
        value_of = dict(zip(mine, found, strict=True))
        return [value_of.get(i) for i in range(len(problems))]

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """f32[N], the score of each response (a pointwise model's is the log-odds of safe)."""
        if not len(prompts):
            return np.zeros(0, np.float32)
        return self._run(self._encode(prompts, responses))[:, 0]

    def step_scores(
        self, prompts: Sequence[str], responses: Sequence[str]
    ) -> list[list[tuple[int, float]]]:
        """(where it ends in the text, probability that it is right) of each response's steps."""
        if not len(prompts):
            return []
        sequences = self._encode(prompts, responses)
        values = self._run(sequences).astype(np.float64)
        found = []
        for i, text in enumerate(responses):
            ends, before = step_ends(text, self.about.steps), int(sequences.prompt_lengths[i])
            tokens = sequences.tokens[i, : sequences.totals[i]].tolist()
            learn, where = np.arange(len(tokens)) >= before, f"{self.directory}, completion {i + 1}"
            at = last_tokens(tokens, learn, text, ends, self._loaded.encoder, where)
            right = expit(values[i])
            judged = [
                (end, float(right[token - before]))
                for end, token in zip(ends, at, strict=True) if token is not None
            ]  # fmt: skip
            found.append(judged)
        return found

    def _run(self, sequences: Sequences) -> np.ndarray:
        """f32[N, C], scores at tokens of completions; rows have few widths, to compile little."""
        width = SHORTEST
        while width < sequences.totals.max():
            width *= 2
        devices = row_devices(self._devices)
        rows = max(1, CELLS // width) * devices
        rows = min(rows, -(-len(sequences.lengths) // devices) * devices)
        compute = ComputeConfig(rows, width, SEGMENTS)
        run, params = self._loaded.run, self._loaded.params
        return over_completions(run, params, sequences, compute, self._devices)

    def _asked(self, problem: Problem) -> bool:
        return self.only is None or str(problem.metadata.get(self.only[0])) == self.only[1]

    def _encode(self, prompts: Sequence[str], responses: Sequence[str]) -> Sequences:
        """Prompts with responses, tokenised as the model's training data was."""
        texts = [
            wrapped(prompt, seen(response, self.view), self.about.template, self.about.system)
            for prompt, response in zip(prompts, responses, strict=True)
        ]
        places = [(f"{self.directory}, completion {i}", text) for i, text in enumerate(texts, 1)]
        examples = [sequences[0] for sequences in self._loaded.encoder.encode(places)]
        begins = [learn.index(True) for _, learn in examples]
        tokens = [tokens for tokens, _ in examples]
        return side_by_side((t[:begin], t[begin:]) for t, begin in zip(tokens, begins, strict=True))

    @property
    def abstract(self) -> Params:
        """ShapeDtypeStructs of its weights as they lie on the devices, LoRA's factors left out."""
        rows = scalar.rows(self.policy.config, None)
        return table.abstract(rows, self._devices, self.about.dtype)

    @cached_property
    def policy(self) -> Policy:
        """The model that it began as, but for its weights."""
        return load_policy(self.about.model, "plain", family=self.about.family)

    @cached_property
    def _devices(self) -> Mesh:
        return self.mesh or make_mesh(MeshConfig(data=1, fsdp=len(meshes.available())))

    @cached_property
    def _loaded(self) -> _Loaded:
        about, mesh, policy = self.about, self._devices, self.policy
        params = scalar.cast(load_scorer(self, mesh), about.dtype)
        compute = ComputeConfig(dtype=about.dtype, remat="none")
        run = token_scores(policy.config, mesh, compute, self.per_token)
        return _Loaded(Encoder(policy.tokenizer, policy.stop_ids), params, run)


def on_tokens(
    completion: Completion, judged: Sequence[tuple[int, float]], tokenizer: Any
) -> list[float | None]:
    """The probabilities of steps at those of the completion's own tokens that complete them."""
    rewards: list[float | None] = [None] * len(completion.token_ids)
    counts = tokens_to(completion, tokenizer, (end for end, _ in judged))
    for count, (_, probability) in zip(counts, judged, strict=True):
        if count:
            rewards[count - 1] = probability
    return rewards


@dataclass(frozen=True)
class _Loaded:
    encoder: Encoder
    params: Params
    run: PerToken


def load_reward_model(
    where: str | Path,
    view: View | None = None,
    step: int | None = None,
    only: tuple[str, str] | None = None,
    mesh: Mesh | None = None,
    unverified: bool = False,
    use: str = "?unverified=true behind the directory",
) -> RewardModel:
    """The reward model of a run directory, or of its checkpoints.

    Args:
      where: runs/NAME, or runs/NAME/checkpoints.
      view: what of a completion is scored; None: what the model was trained on.
      step: update of the checkpoint; None: the newest.
      only: (column, value) of a problem's metadata; other problems are left out.
      mesh: devices it runs on; None: all of them.
      unverified: take a checkpoint that was committed without digests.
      use: what asks for such a one, for the line that refuses it.

    Raises:
      UserError: there is no checkpoint of a reward model, or as `check_tokens` does.
    """
    directory = Path(where)
    if (directory / SAVED).is_dir():
        directory = directory / SAVED
    step = find_step(directory, step, unverified, use)
    meta = read_meta(directory, step)
    if "reward_model" not in meta:
        raise UserError(f"{where}: holds no reward model; name a run of r1jax reward_model")
    about = Described(**meta["reward_model"])
    lora = LoraConfig(**meta["lora"]) if meta.get("lora") else None
    parent = meta.get("parent")
    model = RewardModel(directory, step, about, lora, parent, view or about.view, only, mesh)
    check_tokens(model, meta["tokenizer"])
    return model


def check_tokens(model: RewardModel, known: Mapping[str, Any]) -> None:
    """UserError where the model it began as has other tokens than were `known` in its training."""
    own = model.policy.identity["tokenizer"]["tokens"]
    if known.get("tokens", own) != own:  # an older checkpoint does not say which
        raise UserError(
            f"{model.directory}: learnt with other tokens than {model.policy.directory} has now; "
            "put that model's tokenizer back"
        )


def load_scorer(model: RewardModel, mesh: Mesh) -> Params:
    """The parameters `scalar.every_token` takes, LoRA's factors joined to what they sit on."""
    policy = model.policy
    rows = scalar.rows(policy.config, model.lora)
    params = restore_params(model.directory, model.step, rows, mesh)
    if model.lora is None:
        return params
    below = starting_weights(policy, mesh, model.parent)
    return scalar.join(params, scalar.body(below), model.lora)


def named_reward_model(text: str) -> tuple[str, RewardModel, float]:
    """(name, reward, weight) of `RUN?view=summary&only=COLUMN:VALUE&unverified=true=WEIGHT`.

    Options and weight (default 1) may be left out; the name is the run directory's. Raises
    UserError for what is malformed, and as `load_reward_model` does.
    """
    spec, weight = split_weight(text, "--reward.model")
    place, mark, query = spec.partition("?")
    options: dict[str, str] = {}
    for pair in query.split("&") if mark else ():
        key, equals, value = pair.partition("=")
        if not equals or key not in ("view", "only", "unverified"):
            raise UserError(
                f"--reward.model {text}: no option {key!r}; there are view, only and unverified"
            )
        options[key] = value
    view, only = options.get("view"), options.get("only")
    if view is not None and view not in get_args(View):
        raise UserError(f"--reward.model {text}: view {view!r}; expected summary or whole")
    column, colon, value = (only or "").partition(":")
    if only is not None and not (colon and column):
        raise UserError(f"--reward.model {text}: only {only!r}; expected COLUMN:VALUE")
    if (unverified := options.get("unverified", "false")) not in ("true", "false"):
        raise UserError(f"--reward.model {text}: unverified {unverified!r}; expected true or false")
    chosen = (column, value) if only else None
    try:
        model = load_reward_model(place, view, only=chosen, unverified=unverified == "true")
    except UserError as error:
        raise UserError(f"--reward.model {error}") from None
    return model_name(place), model, weight


def model_name(place: str) -> str:
    """What a reward model is logged as: the name of its run directory."""
    path = Path(place.partition("?")[0].partition("=")[0])
    return path.parent.name if path.name == SAVED else path.name
