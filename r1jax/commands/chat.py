"""Talks to a model in the terminal: the answer appears token by token, its thought dimmed.

    r1jax chat --checkpoint runs/demo/checkpoints
    r1jax chat --question "58-21+40=?" --temperature 0

Any model directory, the embedded base, or the weights of a run's checkpoint. Every question stands
alone: R1-Zero is trained on single turns. An empty line or Ctrl-D ends. Starts in seconds; the
embedded base writes several hundred tokens per second on a laptop CPU.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jax
from rich.console import Console
from rich.text import Text

from r1jax.commands import Command
from r1jax.data.templates import check_template
from r1jax.errors import check_ranges
from r1jax.mesh import make_mesh
from r1jax.models.decoder import unstack
from r1jax.problem import Problem
from r1jax.rollout.policy import load_policy
from r1jax.rollout.sampling import Sampling
from r1jax.rollout.stream import pieces, stream, thoughts
from r1jax.run.flags import AskedFlags
from r1jax.run.visible import visible
from r1jax.training.weights import trained_weights


@dataclass(frozen=True)
class Config(AskedFlags):
    """Which model is asked what, and how its answer is drawn."""

    question: str = ""
    """Answer this one question and leave; empty: ask for questions."""
    template: str = "mini"
    """Prompt template around the question, as in training: mini (the demo's), r1_zero, tags, qa
    or plain."""
    temperature: float = 0.6
    """Sampling temperature; 0 takes the most likely token."""
    top_p: float = 0.95
    """Nucleus of the sampling distribution; 1 keeps all."""
    top_k: int = 0
    """Most likely tokens kept; 0 keeps all."""
    max_tokens: int = 512
    """Longest answer in tokens."""

    def __post_init__(self) -> None:
        """Raises UserError on values outside their range."""
        super().__post_init__()
        check_template(self.template, "--template")
        check_ranges(self, "--", temperature="[0,]", top_p="(0,1]", top_k="[0,]", max_tokens="[1,]")


def main(config: Config) -> None:
    """Loads the weights, then answers until there are no more questions."""
    console = Console(highlight=False)
    mesh = make_mesh(config.mesh)
    policy = load_policy(config.model, config.template, family=config.family)
    params = trained_weights(policy, mesh, config.checkpoint, config.step, config.unverified)
    weights = jax.jit(unstack, static_argnums=(1, 2, 3))(params, policy.config, config.dtype, mesh)
    sampling = Sampling(config.temperature, config.top_p, config.top_k)
    asked: Counter[str] = Counter()
    for question in [config.question] if config.question else questions(console):
        problem = Problem(question, question, "")
        tokens = stream(
            weights, policy.config, policy.prompt(problem), sampling, mesh=mesh,
            max_tokens=config.max_tokens, stop_ids=policy.stop_ids,
            problem=problem.number, sample=asked[question], seed=config.seed,
        )  # fmt: skip
        asked[question] += 1
        show(console, tokens, policy.tokenizer.decode, policy.stop_ids)


def questions(console: Console) -> Iterator[str]:
    """What is typed, line by line, until an empty line or the end of input."""
    while True:
        try:
            line = console.input("[bold]question:[/bold] ").strip()
        except EOFError:
            return
        if not line:
            return
        yield line


def show(
    console: Console,
    tokens: Iterator[int],
    decode: Callable[[list[int]], str],
    stop_ids: Sequence[int],
) -> None:
    """Prints a completion as it is written, then its length and speed."""
    moments: list[float] = []

    def timed() -> Iterator[int]:
        for token in tokens:
            moments.append(time.perf_counter())
            if token not in stop_ids:
                yield token

    for text, thinking in thoughts(pieces(timed(), decode)):
        part = Text(visible(text), style="dim" if thinking else "")
        console.print(part, end="", soft_wrap=True)
    # Two tokens in, prefill and decoding are compiled.
    steady = len(moments) - 2
    rate = f", {steady / (moments[-1] - moments[1]):.0f} tokens/s" if steady > 0 else ""
    console.print(Text(f"\n({len(moments)} tokens{rate})", style="dim"), soft_wrap=True)


COMMAND = Command(main, Config())
