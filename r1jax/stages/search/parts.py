"""Everything a run of search works with, built from its flags before any weight is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from r1jax.data.padding import side_by_side
from r1jax.data.problems.mixture import ProblemStream, open_problems
from r1jax.data.problems.prompt_length import PromptRoom
from r1jax.errors import UserError
from r1jax.mesh import make_mesh
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, accuracy
from r1jax.rewards.answers.graders import UNRULED
from r1jax.rollout.engine import Engine
from r1jax.rollout.policy import Policy, load_policy
from r1jax.rollout.requests import Generated, nothing
from r1jax.rollout.sampling import Sampling
from r1jax.search.drawing import Drawing, Engines
from r1jax.search.side_by_side import Oracles, TreeNode
from r1jax.search.tree import Node, Tree
from r1jax.stages.search.config import SearchRunConfig
from r1jax.training.batches import fit_rows
from r1jax.training.flops import scoring_flops
from r1jax.training.supervised.value import ValueModel, make_value_model
from r1jax.training.weights import Parent, find_parent
from r1jax.types import Params


@dataclass(frozen=True)
class SearchParts:
    """What stays as it is from round to round."""

    config: SearchRunConfig
    mesh: Mesh
    policy: Policy
    engines: Engines
    value: ValueModel
    stream: ProblemStream
    eval_sets: dict[str, list[Problem]]
    pool: RewardPool
    parent: Parent | None
    data: Mapping[str, str]  # digests of files of problems by name

    @property
    def engine(self) -> Engine:
        """That which writes whole solutions, as the policy does without a search."""
        return self.engines.whole

    @property
    def identity(self) -> dict[str, Any]:
        """What every checkpoint of the run must agree with."""
        data = {"data": dict(self.data)} if self.data else {}
        return self.policy.identity | {"parent": self.parent} | data

    def tree(self, problem: Problem) -> Tree:
        """A tree with nothing below its root."""
        return Tree(problem, self.policy.prompt(problem))

    def oracles(self, weights: Params, value: Params, number: int, knows: bool) -> Oracles:
        """What a search of round `number` asks; with `knows` the rule judges ends.

        `weights` are of `Engine.prepare`, `value` the value model's parameters.
        """
        c, config = self.policy.config, self.config
        draw = Drawing(
            self.engines, weights, Sampling(config.temperature), config.seed, number,
            lambda totals: scoring_flops(c, totals),
        )  # fmt: skip

        def weigh(places: Sequence[TreeNode]) -> np.ndarray:
            prefixes = [(*tree.prompt, *tree.tokens(node)) for tree, node in places]
            for (tree, _), prefix in zip(places, prefixes, strict=True):
                tree.count("value", self.value.operations(np.asarray([len(prefix)])))
            return self.value.of_prefixes(value, prefixes)

        return Oracles(draw, weigh, self.judge if knows else None)

    def step_values(self, value: Params, ends: Sequence[TreeNode]) -> list[np.ndarray]:
        """What the value model says behind each step of whole solutions, each of them read once."""
        solutions = side_by_side((tree.prompt, tree.tokens(end)) for tree, end in ends)
        values = self.value.values(value, solutions)
        return [row[np.asarray(end.stops) - 1] for row, (_, end) in zip(values, ends, strict=True)]

    def judge(self, places: Sequence[TreeNode]) -> list[bool]:
        """Whether each whole solution's answer is right."""
        problems = [tree.problem for tree, _ in places]
        completions = [self.completion(tree, node) for tree, node in places]
        reward = accuracy(sandbox=self.config.sandbox)
        scores, _ = self.pool.map(reward, problems, completions, RewardContext())
        return [score == 1 for score in scores]

    def completion(self, tree: Tree, node: Node) -> Completion:
        """A solution as text."""
        tokens, none = np.asarray(tree.tokens(node), np.int32), nothing()
        whole = Generated(tokens, none.logp, none.log_mass, 0, 0, node.reason, tree.prompt)
        return self.policy.completion(whole)


def build(config: SearchRunConfig, note: Callable[[str], Any]) -> SearchParts:
    """Loads no weights, compiles nothing, but refuses what cannot run (UserError)."""
    if jax.process_count() > 1:
        raise UserError(
            "--process: a search runs in one process, whose tree all of its devices grow; "
            "start one process a host"
        )
    mesh = make_mesh(config.mesh)
    config = fit_rows(config, mesh, note)
    d, shapes = config.data, config.rollout
    policy = load_policy(config.model, d.template, d.system, d.prefill, config.family)
    problems = open_problems(d, PromptRoom(shapes.max_prompt, policy.prompts), note)
    known = problems.first(config.prompts)
    unruled = next((p for p in known if p.grader == UNRULED), None)
    if unruled is not None:
        raise UserError(
            f"--data.train: no rule judges problem {unruled.id} (grader {UNRULED}), and a search "
            "learns from what is right; leave such sources out"
        )
    accuracy(sandbox=config.sandbox).check(known)
    optimizer = replace(config.optimizer, lr=config.value.lr)
    cut = config.steps, config.search.step_tokens
    return SearchParts(
        config=config,
        mesh=mesh,
        policy=policy,
        engines=Engines.of(policy, mesh, shapes, *cut, config.dtype),
        value=make_value_model(
            policy, mesh, config.train, optimizer, config.value.parent, config.checkpoint.unverified
        ),
        stream=problems.stream,
        eval_sets=problems.eval_sets,
        pool=RewardPool(config.workers, **config.sandbox.room),
        parent=find_parent(policy, config.parent, config.parent_step, config.checkpoint.unverified),
        data=problems.digests,
    )
