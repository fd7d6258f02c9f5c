"""Rounds of search and learning, as R1 tried (paper v2, G.2): search, train on what was found."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from r1jax.checkpoint import Checkpoints
from r1jax.run import rows as recorded
from r1jax.run.directory import Record, read_jsonl
from r1jax.run.names import METRICS
from r1jax.run.progress import Display
from r1jax.run.saved import Saved
from r1jax.run.signals import keeping
from r1jax.stages.opening import Run, opened
from r1jax.stages.search.config import SearchRunConfig
from r1jax.stages.search.found import digest_of_solutions, searched
from r1jax.stages.search.learn import learn_policy, learn_value, numbered, policy_state
from r1jax.stages.search.measure import policy_alone, with_search
from r1jax.stages.search.parts import SearchParts, build
from r1jax.stages.summary import digest, gained, transcripts
from r1jax.training.rl.state import own_operations, spent, timed
from r1jax.training.weights import export, starting_weights
from r1jax.types import Params, TrainState


@dataclass
class Standing:
    """Policy and value model after so many rounds, and what each round learnt from."""

    policy: TrainState
    value: TrainState
    rounds: int = 0
    lineage: list[dict[str, Any]] = field(default_factory=list)
    operations: float = 0.0  # of the policy, in search and in learning


def run(config: SearchRunConfig, display: Display | None = None) -> None:
    """Searches, learns, measures, round by round; leaves the run directory with its report."""
    with opened(config, display) as run:
        if run.finished:
            return
        parts = build(config, run.note)
        run.hold(parts.pool)
        where = run.directory.checkpoints
        settle = lambda: recorded.settle(run.directory)  # noqa: E731
        keep, unverified = config.rounds, config.checkpoint.unverified
        checkpoints = Checkpoints(where, keep, unverified, run.note, settle)
        run.held.callback(checkpoints.close)
        standing = begin(parts, run, checkpoints)
        while standing.rounds < config.rounds and not spent(standing, config.until_operations):
            one_round(parts, run, standing)
            checkpoints.save(saved(parts, standing))
            checkpoints.wait()
        if config.export:
            export(run.directory, parts.policy, standing.policy.params)
        summary = summarised(run, standing)
        run.finish(summary, gained(summary))


def begin(parts: SearchParts, run: Run, checkpoints: Checkpoints) -> Standing:
    """Where the newest checkpoint stands, or the start, whose policy is judged."""
    config, step = parts.config, checkpoints.latest()
    if step is not None:
        towers = {"value": parts.value.abstract()}
        kept = checkpoints.restore(step, policy_state(parts, None), parts.identity, towers)
        for line in recorded.cut(run.directory, step, 0):
            run.note(line)
        run.note(f"resumed after round {step}")
        counted = kept.meta["lineage"], kept.meta.get("operations", 0.0)
        return Standing(kept.state, kept.towers["value"], step, *counted)
    recorded.cut(run.directory, -1, 0)
    weights = starting_weights(parts.policy, parts.mesh, parts.parent)
    value = parts.value.fresh(weights, config.seed)
    standing = Standing(policy_state(parts, weights), value)
    with keeping(lambda: "nothing was saved yet; the same command begins anew"):
        policy_alone(parts, prepared(parts, standing), run.directory, 0)
    return standing


def prepared(parts: SearchParts, standing: Standing) -> Params:
    """The policy's weights for generation; the engine of steps takes them as well."""
    return parts.engine.prepare(standing.policy.params)


def one_round(parts: SearchParts, run: Run, standing: Standing) -> None:
    """Searches the next problems, learns from what was found, measures; all of it recorded."""
    number, seconds = standing.rounds + 1, {}
    clock = functools.partial(timed, seconds)
    before = f"round {standing.rounds}" if standing.rounds else "the start"
    with clock("rollout"):
        weights = prepared(parts, standing)
        rows = searched(parts, run, number, weights, standing.value.params)
    metrics = of_search(rows)
    del weights  # before the optimizers come
    with keeping(lambda: f"round {number} is searched; the same command learns from it again, "
                         f"from {before}"):  # fmt: skip
        with clock("update"):
            standing.policy, learnt = learn_policy(parts, standing.policy, rows, number)
            metrics |= learnt
            standing.value, learnt = learn_value(parts, standing.value, rows, number)
            metrics |= learnt
        with clock("eval"):
            weights = prepared(parts, standing)
            metrics["policy/pass_at_1"] = policy_alone(parts, weights, run.directory, number)
            metrics |= with_search(parts, weights, standing.value.params, number)
    standing.policy = numbered(standing.policy, number)
    standing.rounds = number
    standing.operations += own_operations(metrics)
    parent = f"checkpoints/{number - 1}" if number > 1 else parts.parent or parts.config.model
    standing.lineage.append(
        {"round": number, "parent": parent, "data": digest_of_solutions(rows),
         "solutions": f"rounds/{number}/solutions.jsonl", "checkpoint": f"checkpoints/{number}"}
    )  # fmt: skip
    run.directory.metrics(number, 0, metrics | seconds)
    run.note(said(number, metrics))


def of_search(rows: Sequence[Record]) -> dict[str, Any]:
    """What the search of a round's training problems came to, and what it cost."""
    total = lambda who: sum(row["operations"].get(who, 0.0) for row in rows)  # noqa: E731
    mean = lambda name: float(np.mean([row[name] for row in rows]))  # noqa: E731
    nodes = sum(row["nodes"] for row in rows)
    return {
        "found/solved": float(np.mean([any(s["right"] for s in r["solutions"]) for r in rows])),
        "found/tokens": mean("spent"), "found/nodes": mean("nodes"), "found/ends": mean("ends"),
        "found/capped_frac": sum(row["capped"] for row in rows) / max(nodes, 1),
        "tokens/rollout": float(sum(row["spent"] for row in rows)),
        "operations/rollout": total("rollout"), "operations/value": total("value"),
    }  # fmt: skip


def said(number: int, metrics: Record) -> str:
    """A round in one line."""
    share = lambda name: f"{100 * metrics[name]:.1f}"  # noqa: E731
    line = f"round {number}: pass@1 {share('policy/pass_at_1')}; "
    if "search/best" in metrics:
        line += f"search {share('search/best')}, "
    line += f"for as many tokens best of N {share('sample/best')}, vote {share('sample/vote')}"
    ranked = metrics.get("value/auc")
    return line if ranked is None else f"{line}; AUC of values {ranked:.3f}"


def saved(parts: SearchParts, standing: Standing) -> Saved:
    """What the checkpoint of a round holds."""
    counted = {"lineage": standing.lineage, "operations": standing.operations}
    meta = {**parts.identity, **counted}
    return Saved(standing.policy, None, {}, meta, {"value": standing.value})


def summarised(run: Run, standing: Standing) -> dict[str, Any]:
    """What summary.json says: before and after, every round, and where each came from."""
    rounds = read_jsonl(run.path / METRICS)
    spent = {name for row in rounds for name in row if name.startswith(("operations/", "tokens/"))}
    return digest(run.directory, standing.rounds) | {
        "rounds": rounds,
        "lineage": standing.lineage,
        "spent": {name: sum(row.get(name, 0.0) for row in rounds) for name in sorted(spent)},
        "transcripts": transcripts(run.directory, standing.rounds),
    }
