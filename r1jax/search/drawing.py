"""Steps and solutions drawn by the engine: one request for each continuation of a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jax.sharding import Mesh

from r1jax.data.examples.steps import Cut, step_ends
from r1jax.problem import Completion
from r1jax.rewards.tokens import tokens_to
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.policy import Policy, make_engine
from r1jax.rollout.requests import Generated
from r1jax.rollout.sampling import Sampling
from r1jax.search.side_by_side import Order
from r1jax.search.tree import Continuation, WrittenStep
from r1jax.types import Params

Operations = Callable[[np.ndarray], float]
"""Of a forward pass over sequences of so many tokens each."""


@dataclass(frozen=True)
class Engines:
    """A policy's two engines: one that stops at a step's end, one that writes whole solutions."""

    policy: Policy
    cut: Cut
    step_tokens: int
    steps: Engine
    whole: Engine

    @classmethod
    def of(
        cls, policy: Policy, mesh: Mesh, shapes: EngineConfig, cut: Cut, step_tokens: int,
        dtype: str,
    ) -> Engines:  # fmt: skip
        """`shapes` are those of whole solutions; what a step continues counts as its prompt."""
        longest = min(step_tokens, shapes.max_tokens)
        behind = replace(
            shapes, max_prompt=shapes.max_prompt + shapes.max_tokens, max_tokens=longest
        )
        # A step is over when the next one has begun: what is a point may be a number's.
        over = lambda text: len(step_ends(text, cut)) > 1  # noqa: E731
        steps = make_engine(policy, mesh, behind, dtype=dtype, stop_rule=over)
        whole = make_engine(policy, mesh, shapes, dtype=dtype)
        return cls(policy, cut, longest, steps, whole)


@dataclass(frozen=True)
class Drawing:
    """Continuations with some weights, counted in their trees; the `draw` of a search's oracles.

    A text depends on seed, rollout, problem and its number in the tree, not on what is drawn
    beside it.
    """

    engines: Engines
    weights: Params  # of `Engine.prepare`
    sampling: Sampling
    seed: int
    rollout: int
    operations: Operations

    def __call__(self, orders: Sequence[Order], whole: bool) -> list[list[Continuation]]:
        """The continuations of each order."""
        engines = self.engines
        engine = engines.whole if whole else engines.steps
        room = engines.whole.config.max_tokens
        written = [order.tree.tokens(order.node) for order in orders]
        prompts = [
            Prompt(
                (*o.tree.prompt, *before), o.tree.problem.number, o.count, o.first,
                limit=room if whole else min(engines.step_tokens, room - len(before)),
            )
            for o, before in zip(orders, written, strict=True)
        ]  # fmt: skip
        found = engine.generate(
            self.weights, prompts, self.sampling, seed=self.seed, rollout=self.rollout
        )
        drawn: list[list[Continuation]] = [[] for _ in orders]
        for g in sorted(found, key=lambda g: (g.prompt, g.sample)):
            left = room - len(written[g.prompt])
            drawn[g.prompt].append(self._whole(g) if whole else self._step(g, left))
        for order, prompt, some in zip(orders, prompts, drawn, strict=True):
            # What all of a node's continuations begin with is read once for them.
            ahead, count = self.operations, len(some)
            totals = len(prompt.tokens) + np.asarray([one.drawn for one in some])
            shared = (count - 1) * ahead(np.asarray([len(prompt.tokens)]))
            order.tree.count("rollout", ahead(totals) - shared)
        return drawn

    def _step(self, g: Generated, left: int) -> Continuation:
        """A step, without what was drawn of the next one to see that this one is over."""
        n, ended = len(g.tokens), self._ended(g)
        ends = self._ends(g)
        kept = ends[0] if len(ends) > 1 else n
        reason = "stop" if ended and kept == n else "length" if kept == left else None
        capped = not ended and len(ends) < 2 and reason is None
        return Continuation((self._made(g, 0, kept, capped),), reason, n)

    def _whole(self, g: Generated) -> Continuation:
        """A solution in its steps; the last one has the stop token."""
        n = len(g.tokens)
        ends = [*self._ends(g)[:-1], n]
        steps = tuple(self._made(g, a, b) for a, b in zip([0, *ends], ends, strict=False))
        return Continuation(steps, "stop" if self._ended(g) else "length", n)

    def _made(self, g: Generated, begin: int, end: int, capped: bool = False) -> WrittenStep:
        logp = float(np.mean(g.logp[begin:end], dtype=np.float64))
        return WrittenStep(tuple(g.tokens[begin:end].tolist()), logp, capped)

    def _ended(self, g: Generated) -> bool:
        return int(g.tokens[-1]) in self.engines.policy.stop_ids

    def _ends(self, g: Generated) -> list[int]:
        """Tokens up to the end of each step of the text."""
        tokenizer, ids = self.engines.policy.tokenizer, g.tokens.tolist()
        shown = ids[:-1] if self._ended(g) else ids
        completion = Completion.parse(tokenizer.decode(shown), shown)
        ends = step_ends(completion.text, self.engines.cut)
        return sorted(set(tokens_to(completion, tokenizer, ends)))
