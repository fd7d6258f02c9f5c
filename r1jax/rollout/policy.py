"""A policy as text sees it: model, tokenizer and template; problems in, completions out."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.data.templates import TEMPLATES, Template, chat_text, render
from r1jax.data.tokenizer import load_tokenizer
from r1jax.errors import UserError
from r1jax.models.config import ModelConfig
from r1jax.models.hub import directory as hub
from r1jax.models.hub.families import Family, from_hf
from r1jax.models.hub.find import model_directory
from r1jax.models.hub.gguf import write as gguf
from r1jax.models.hub.gguf.tokenizer import gguf_tokenizer
from r1jax.plugin import load_function, users_own
from r1jax.problem import Completion, Problem
from r1jax.rollout.engine import Engine, EngineConfig, Generated, Prompt
from r1jax.rollout.sampling import Sampling
from r1jax.rollout.stops import StopRule
from r1jax.types import Params

GGUF = "model.gguf"
_OPENED = re.compile(r"<think>\s*\Z")


@dataclass(frozen=True)
class Policy:
    """Everything about a model but its weights and devices.

    `directory` may be a GGUF file. `template.prefill` is what every completion's text begins with
    though the prompt holds it.
    """

    directory: Path
    config: ModelConfig
    tokenizer: Any
    template: Template
    stop_ids: tuple[int, ...]
    system: str = ""

    def prompt(self, problem: Problem) -> tuple[int, ...]:
        """Token ids of a problem's prompt; BOS only as the tokenizer sets it, and only once."""
        return self.prompts([problem])[0]

    def prompts(self, problems: Sequence[Problem]) -> list[tuple[int, ...]]:
        """Token ids of the prompts of several problems."""
        texts = [self.prompt_text(problem) for problem in problems]
        # A chat template writes its own BOS.
        special = not self.template.chat
        every = self.tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        for ids in every:
            while bos is not None and ids[:2] == [bos, bos]:
                del ids[0]
        return list(map(tuple, every))

    def prompt_text(self, problem: Problem) -> str:
        """The prompt as text, prefill included."""
        if not self.template.chat:
            return render(self.template, problem)
        messages = asked(self.template.fill(problem.question), self.system)
        text = chat_text(self.tokenizer, messages, f"problem {problem.id}")
        # The chat template may end with the same opening tag.
        return text if text.endswith(self.template.prefill) else text + self.template.prefill

    def completion(self, generated: Generated) -> Completion:
        """Text of a generated completion, without its stop token, split into thought and answer.

        The text begins with the prefill; `token_ids` are the generated ones alone.
        """
        ids = generated.tokens.tolist()
        shown = ids[:-1] if ids and ids[-1] in self.stop_ids else ids
        text = self.template.prefill + self.tokenizer.decode(shown)
        return Completion.parse(text, ids, generated.finish_reason, generated.sample)

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with: shape of the model, and the tokenizer's tokens."""
        size, eos = len(self.tokenizer), self.tokenizer.eos_token_id
        return {
            "model": json.loads(json.dumps(hub.to_hf(self.config))),
            "tokenizer": {"size": size, "eos": eos, "tokens": self._tokens},
        }

    @functools.cached_property
    def _tokens(self) -> str:
        """A digest of the tokens by their numbers."""
        text = json.dumps(sorted(self.tokenizer.get_vocab().items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def asked(message: str, system: str = "") -> list[dict[str, str]]:
    """The messages of a chat in which a user asks."""
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": message}]


def _tried(tokenizer: Any, template: str, system: str) -> str:
    """A question in the tokenizer's chat template; UserError where that refuses or loses a part."""
    question, flags = "QUESTION", f"--data.template {template}"
    flags += " with --data.system" if system else ""
    text = chat_text(tokenizer, asked(question, system), flags)
    for part, said in ((question, "user's"), (system.strip(), "system")):
        if part not in text:
            raise UserError(
                f"{flags}: the chat template of {tokenizer.name_or_path} leaves the {said} message "
                "out; use r1_zero or another text template"
            )
    return text


def load_policy(
    model: str, template: str, system: str = "", prefill: str | None = None, family: str = ""
) -> Policy:
    """Reads config, tokenizer and stop tokens of a model.

    Args:
      model: `embedded`, `smollm2`, a directory, a GGUF file, or owner/name[@revision] at Hugging
        Face.
      template: one of `r1jax.data.templates.TEMPLATES`.
      system: system message of a chat template.
      prefill: what completions begin with; None keeps the template's own; for a chat template that
        opens <think> itself it is that tag.
      family: `package.module:function` that reads config.json, a `models.hub.families.Family`;
        empty: one of the families r1jax knows.

    Raises:
      UserError: a part is missing, unsupported, or does not belong to the others.
    """
    directory = model_directory(model)
    config = hub.read_config(directory, reader(family) if family else from_hf)
    tokenizer = (gguf_tokenizer if directory.is_file() else load_tokenizer)(directory)
    ids = max(len(tokenizer), *(i + 1 for i in tokenizer.get_vocab().values()))
    if ids > config.vocab_size:
        raise UserError(
            f"{directory}: the tokenizer has tokens up to number {ids}, the model's vocabulary "
            f"{config.vocab_size}; they do not belong together"
        )
    stops = {tokenizer.eos_token_id, *config.eos_ids, *hub.read_generation(directory, config)[1]}
    chosen = TEMPLATES[template]
    if chosen.chat and not tokenizer.chat_template:
        raise UserError(
            f"--data.template {template}: the tokenizer in {directory} has no chat template; "
            "use r1_zero or another text template"
        )
    if chosen.chat:
        opened = _OPENED.search(_tried(tokenizer, template, system))
        prefill = prefill if prefill is not None else opened.group() if opened else ""
    chosen = chosen if prefill is None else dataclasses.replace(chosen, prefill=prefill)
    return Policy(directory, config, tokenizer, chosen, tuple(sorted(stops)), system)


def reader(family: str) -> Family:
    """The user's function `package.module:function`; what it raises becomes one line."""
    read = load_function(family, "--family", ("raw",))

    def one(raw: Mapping[str, Any]) -> ModelConfig:
        with users_own(f"--family {family}", read, "it is given config.json as a mapping"):
            return read(raw)

    return one


def load_weights(policy: Policy, mesh: Mesh, dtype: Any = jnp.float32) -> Params:
    """The policy's weights as sharded arrays."""
    return hub.load(policy.directory, policy.config, mesh, dtype)


def save_policy(
    directory: str | Path, policy: Policy, params: Params, *, write: bool = True
) -> None:
    """Writes a model directory that `transformers` and `load_policy` read: weights and tokenizer.

    Weights are cast to the type they were loaded from; the generation config is the source's, with
    every token the policy stops at. Every process calls it, and one has `write`.
    """
    tokenizer = policy.tokenizer
    stops = list(policy.stop_ids)
    source, _ = hub.read_generation(policy.directory, policy.config)
    generation = {"pad_token_id": tokenizer.pad_token_id, **source}
    generation |= {"eos_token_id": stops[0] if len(stops) == 1 else stops}
    hub.save(
        directory,
        params,
        policy.config,
        dtype=hub.source_dtype(policy.directory, policy.config),
        generation=generation,
        write=write,
    )
    if write:
        tokenizer.save_pretrained(str(directory))


def gguf_metadata(policy: Policy, kind: str) -> dict[str, Any]:
    """What a GGUF file of the policy says of itself; UserError where it cannot be one."""
    try:
        return gguf.metadata(policy.config, policy.tokenizer, policy.stop_ids, kind)
    except UserError as error:
        raise UserError(f"--export-gguf {kind}: {policy.directory} has {error}") from error


def save_policy_gguf(
    directory: str | Path, policy: Policy, params: Params, kind: str, *, write: bool = True
) -> None:
    """Writes model.gguf for llama.cpp, and a Modelfile for Ollama beside it, as `save_policy`."""
    directory = Path(directory)
    said = gguf_metadata(policy, kind)
    gguf.save_gguf(directory / GGUF, params, policy.config, said, kind, write=write)
    if write:
        stops = policy.tokenizer.convert_ids_to_tokens(list(policy.stop_ids))
        text = gguf.modelfile(GGUF, _ollama_prompt(policy), stops)
        (directory / "Modelfile").write_text(text, encoding="utf-8")


def _ollama_prompt(policy: Policy) -> str:
    """The prompt that a question becomes, in Ollama's words; without the BOS it puts there."""
    tokenizer, asked_for = policy.tokenizer, "{{ .Prompt }}"
    if policy.template.chat or not tokenizer.chat_template:
        text = policy.prompt_text(Problem(id="ollama", question=asked_for, answer=""))
    else:
        text = chat_text(tokenizer, asked(asked_for), "--export-gguf")
    put = tokenizer("a").input_ids[0] == tokenizer.bos_token_id
    return text.removeprefix(tokenizer.bos_token) if put else text


def make_engine(
    policy: Policy,
    mesh: Mesh,
    config: EngineConfig,
    *,
    stop_strings: Sequence[str] = (),
    dtype: Any = jnp.float32,
    stop_rule: StopRule | None = None,
) -> Engine:
    """The generation engine of a policy."""
    return Engine(
        policy.config,
        mesh,
        config,
        stop_ids=policy.stop_ids,
        stop_strings=stop_strings,
        detokenize=policy.tokenizer.decode,
        dtype=dtype,
        stop_rule=stop_rule,
    )


def make_sampler(
    engine: Engine,
    policy: Policy,
    weights: Params,
    max_tokens: int | None = None,
    rollout: int = 0,
) -> Callable[[Sequence[Problem], int, Sampling, int], list[list[Completion]]]:
    """The sampler that `r1jax.evaluate.measures` wants, over weights from `engine.prepare`.

    All its samples are of one `rollout`: a text depends on its problem, not on what it is asked
    with. It takes a fifth argument as well, which gets each problem as soon as its samples are
    there.
    """

    def sample(
        problems: Sequence[Problem],
        samples: int,
        sampling: Sampling,
        seed: int,
        whole: Callable[[Problem, list[Completion]], Any] = lambda problem, completions: None,
    ) -> list[list[Completion]]:
        prompts = [Prompt(policy.prompt(p), p.number, samples) for p in problems]
        found: list[dict[int, Completion]] = [{} for _ in problems]
        for generated in engine.generate(
            weights, prompts, sampling, seed=seed, rollout=rollout, max_tokens=max_tokens
        ):
            own = found[generated.prompt]
            own[generated.sample] = policy.completion(generated)
            if len(own) == samples:
                whole(problems[generated.prompt], [own[j] for j in range(samples)])
        return [[own[j] for j in range(samples)] for own in found]

    return sample
