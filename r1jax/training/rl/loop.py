"""The reinforcement-learning loop: rollout, rewards, advantages, updates; resumed exactly.

Letters: a rollout has N completions, `group` of each of its `prompts` problems; the longest prompt
with its completion has L tokens, the longest completion C. An update takes its share of the N,
packed into micro-batches of B rows of T tokens.
"""

from __future__ import annotations

import functools

import jax
import numpy as np

from r1jax.errors import Collapsed
from r1jax.run.signals import boundary
from r1jax.training.batches import PerToken, over_completions
from r1jax.training.flops import scoring_flops
from r1jax.training.rl import carried_groups, collect, served_teacher, showing
from r1jax.training.rl.collect import Scored
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.credit import compared, with_entropy_weight
from r1jax.training.rl.early_stop import collapse, noted, plateaued
from r1jax.training.rl.held_out import recorded
from r1jax.training.rl.implicit import from_outcomes
from r1jax.training.rl.judgement import refuse_no_steps
from r1jax.training.rl.judging import JudgedBatch, Judging
from r1jax.training.rl.learning import learn
from r1jax.training.rl.resume import saved
from r1jax.training.rl.setup import Parts
from r1jax.training.rl.state import Files, Loop, is_due, spent
from r1jax.training.weights import export_on_the_way
from r1jax.types import Params

SAMPLES = 16  # completions of each rollout that samples.jsonl keeps


def train(parts: Parts, loop: Loop, files: Files) -> Loop:
    """Runs until the configured number of updates is made, or nothing more is gained.

    All state is in `loop`: what a checkpoint holds after an update is what the next one needs.
    Raises Collapsed where the policy is spoilt, with a checkpoint of it on disk.
    """
    config = parts.config
    with files.saving(loop, functools.partial(saved, parts)):
        if loop.unjudged:  # it was stopped as it was judged
            conclude(parts, loop, files)
        while not ending(config, loop):
            if config.stop_on_collapse and (said := collapse(loop.history)):
                if loop.update != files.checkpoints.latest():
                    files.checkpoints.save(saved(parts, loop))
                raise Collapsed(f"update {loop.update}: the policy has collapsed: {said}")
            files.profiler.before(loop.update + 1)
            if loop.scored is None:  # else a rollout has updates left, perhaps from before a resume
                with loop.given_back():
                    loop.scored = new_rollout(parts, loop, files)
            metrics, batches = learn(parts, loop)
            record(parts, loop, files, metrics)
            files.profiler.after(loop.update)
            skipped = max(int(s.skipped) for s in (loop.state, loop.tower) if s is not None)
            if skipped >= config.train.max_skipped:
                advice = "lower --optimizer.lr or check --user-loss"
                files.stop(loop.update, config.train.max_skipped, batches, advice)
            conclude(parts, loop, files)
            boundary()
    return loop


def ending(config: RLConfig, loop: Loop) -> str:
    """What ends the run now: updates, operations or a plateau; empty where it goes on."""
    if loop.update >= config.updates:
        return "updates"
    if spent(loop, config.until_operations):
        return "operations"
    return "plateau" if plateaued(loop.scores, config.until_plateau) else ""


def conclude(parts: Parts, loop: Loop, files: Files) -> None:
    """What is due after an update: an evaluation, a checkpoint, an export."""
    config, score = parts.config, None
    last = loop.update if ending(config, loop) else config.updates
    loop.unjudged = is_due(loop.update, config.eval.every, last)
    if loop.unjudged:
        score, loop.unjudged = judge_held_out(parts, loop, files), False
    # A checkpoint with every evaluation, so that the best one can be kept.
    if score is not None or is_due(loop.update, config.checkpoint.every, last):
        with loop.clock("checkpoint"):
            files.checkpoints.save(saved(parts, loop), score)
    if config.export_every and loop.update % config.export_every == 0:
        with loop.clock("export"):
            made = (parts.policy, loop.state.params, parts.base, parts.lora)
            export_on_the_way(files.run, loop.update, *made)


def new_rollout(parts: Parts, loop: Loop, files: Files) -> Scored:
    """Samples groups from the policy, with their rewards, and computes their advantages."""
    config, r = parts.config, parts.config.rollout
    # N completions with their rewards, f32[N].
    drawn, sampling_metrics = draw_groups(parts, loop, files)
    files.samples(loop, collect.sample_rows(drawn, SAMPLES), config.log.samples)
    metrics = collect.rollout_metrics(drawn) | sampling_metrics
    tokens, written = int(drawn.lengths.sum()), drawn.totals
    metrics["perf/rollout_tokens_per_s"] = tokens / loop.seconds["time/rollout"]
    if r.max_rounds > 1:  # what is learnt from; the metrics are of all that was drawn
        drawn = collect.mixed_first(drawn, r.prompts, r.accuracy_low, r.accuracy_high)
    files.progress.phase("update")
    with loop.clock("score"):
        # Prompts and completions side by side, i32[N, L]; what is known of the completions' tokens
        # are columns, f32[N, C], of which the sampler's log-probabilities are the first.
        sequences = collect.to_sequences(drawn.generated)
        with served_teacher.asked(parts, sequences) as answers:  # beside the passes of the devices
            for names, (score, params) in scorers(parts, loop).items():
                found = over_completions(score, params, sequences, config.train, parts.mesh)
                columns = zip(names, found if len(names) > 1 else (found,), strict=True)
                sequences = sequences.with_columns(**dict(columns))
            if parts.remote:
                sequences, of_remote = served_teacher.heard(parts, files, drawn, sequences, answers)
                metrics |= of_remote
        if config.teacher.shown:
            sequences, of_shown = showing.judged(parts, loop, drawn, sequences)
            metrics |= of_shown
        if parts.critic:
            scorer = parts.critic.scorer(loop.tower.params, parts.model(loop.state.params))
            found = over_completions(
                parts.critic.values, scorer, sequences, config.train, parts.mesh
            )
            sequences = sequences.with_columns(values=found)
        entropy = None  # f32[N, C], only where tokens are chosen by it
        if config.loss.top_entropy < 1:
            params = parts.model(loop.state.params)
            entropy = over_completions(parts.entropy, params, sequences, config.train, parts.mesh)
    gained = None  # f64[N, C], by a reward tower's word
    if parts.rewarder:
        gained, of_tower = from_outcomes(parts, loop, drawn, sequences)
        metrics |= of_tower
    sequences, of_towers = compared(parts, loop, drawn, sequences, entropy, gained)
    metrics |= of_towers | operations(parts, loop, written, sequences.totals)
    if config.loss.entropy_target is not None:
        sequences, metrics["policy/entropy_weight"] = with_entropy_weight(parts, loop, sequences)
    # Dealt at random: by problems, an update would see few of them. A resume deals the same.
    order = np.random.default_rng([config.seed, loop.rollout]).permutation(len(drawn.groups))
    return Scored(sequences, order, drawn.truncated, metrics)


def draw_groups(parts: Parts, loop: Loop, files: Files) -> tuple[JudgedBatch, dict[str, float]]:
    """Groups of completions with their rewards; what is to be told of the rounds of sampling.

    Groups are judged while others are being written: time/reward is what is waited for afterwards,
    perf/reward_seconds all that judging took. One round, unless `max_rounds` allows more: then
    until enough groups hold both right and wrong answers (DAPO's dynamic sampling), judged by raw
    accuracy.
    """
    r, ages, seconds = parts.config.rollout, {}, 0.0
    weights: Params | None = None
    drawn: JudgedBatch | None = None
    rounds, enough, within = 0, False, (r.accuracy_low, r.accuracy_high)
    while rounds < r.max_rounds and not enough:
        with Judging(parts.policy, parts.terms, parts.pool, loop.update) as judging:
            files.progress.phase("rollout")
            with loop.clock("rollout"):
                weights = weights or parts.engine.prepare(
                    parts.model(loop.state.params), weights=r.weights
                )
                ages = complete(parts, loop, weights, drawn, judging)
            files.progress.phase("rewards")
            with loop.clock("reward"):
                this_round = judging.finish()
        seconds += judging.seconds
        drawn = this_round if drawn is None else drawn.joined(this_round)
        rounds += 1
        enough = rounds < r.max_rounds and collect.mixed_count(drawn, *within) >= r.prompts
    refuse_no_steps(parts.terms, drawn.judgement, loop.judged)
    for line in drawn.judgement.complaints(loop.judged, parts.needed_terms):
        files.progress.note(line)
    return drawn, {"rollout/rounds": rounds, "perf/reward_seconds": seconds} | ages


def complete(
    parts: Parts, loop: Loop, weights: Params, earlier: JudgedBatch | None, judging: Judging
) -> dict[str, float]:
    """One round of sampling, a group for each of `prompts` problems; how old carried ones are.

    Groups go to `judging` as soon as they are finished. Where some may be carried over they all go
    at the end: only then it is known which of the finished ones belong to this rollout.
    """
    config, r = parts.config, parts.config.rollout
    if r.carry:
        groups = carried_groups.under_way(
            loop.carried, parts.stream, parts.policy, loop.taken, loop.rollout, r
        )
        loop.taken += len(groups) - len(loop.carried)
        whole, loop.carried = carried_groups.advance(
            parts.engine, weights, groups, r, config.seed, loop.rollout
        )
        for problem, group in carried_groups.completed(whole):
            judging.take(problem, group)
        return carried_groups.ages(whole)
    problems = parts.stream.take(loop.taken, r.prompts)
    loop.taken += r.prompts
    collect.generate(
        parts.engine, parts.policy, weights, problems,
        r.group, r.sampling, config.seed, loop.rollout, earlier, r.leave, judging.take,
    )  # fmt: skip
    return {}


def scorers(parts: Parts, loop: Loop) -> dict[tuple[str, ...], tuple[PerToken, Params]]:
    """The models whose log-probabilities a rollout needs, by the columns that a pass fills."""
    models = {}
    if parts.config.loss.advantage_baseline == "token":
        models["old_logp", "sharp_logp"] = parts.sharp_logp, parts.model(loop.state.params)
    elif parts.needs_old:  # with one update per rollout the update itself is at the old policy
        models["old_logp",] = parts.logp, parts.model(loop.state.params)
    if parts.scored_by_reference:
        models["ref_logp",] = parts.reference_logp, parts.model(loop.reference)
    if parts.teacher and parts.scored_by_teacher:
        models["teacher_logp",] = parts.teacher.logp, parts.teacher.params
    return models


def operations(
    parts: Parts, loop: Loop, written: np.ndarray, scored: np.ndarray
) -> dict[str, float]:
    """Forward operations of a rollout, from its sequences' lengths with their prompts.

    The policy's, which wrote and scored, with its reference's; beside them critic's and teacher's.
    """
    c, critic = parts.policy.config, parts.critic
    judged = parts.teacher is not None and parts.scored_by_teacher
    passes = len(scorers(parts, loop)) - judged + (parts.config.loss.top_entropy < 1)
    found = {"operations/rollout": scoring_flops(c, written) + passes * scoring_flops(c, scored)}
    if critic:
        found["operations/critic"] = critic.operations(scored, False)
    if judged:
        found["operations/teacher"] = scoring_flops(parts.teacher.policy.config, scored)
    return found


def record(parts: Parts, loop: Loop, files: Files, metrics: dict[str, float]) -> None:
    """Writes the row of an update everywhere and moves the counters on."""
    files.row(loop, parts.config, metrics)
    warn_on_mismatch(parts.config, loop, files, metrics)
    if loop.done == 0:  # with what the rollout says of itself
        loop.history = noted(loop.history, metrics)
    loop.done += 1
    if loop.done == parts.config.train.updates_per_rollout:  # used up: the next update samples anew
        loop.scored, loop.done, loop.rollout = None, 0, loop.rollout + 1


def warn_on_mismatch(config: RLConfig, loop: Loop, files: Files, metrics: dict[str, float]) -> None:
    """Says so when sampler and trainer disagree by more than their arithmetic explains.

    Of 8-bit weights and of tokens from earlier rollouts nothing is said: they differ by design, and
    how far is a metric.
    """
    if config.rollout.weights != "same" or loop.scored.metrics.get("rollout/stale_frac"):
        return
    kinds = {config.rollout.dtype, config.train.dtype}
    exact = kinds == {"float32"} and jax.default_backend() == "cpu"  # others round its products
    limits = {"max": 1e-4} if exact else {"mean": 0.01, "p99": 0.1}
    advice = "; float16 for both rounds less" if "bfloat16" in kinds else ""
    for name, limit in limits.items():
        value = metrics.get(f"policy/logp_diff_{name}", 0.0)
        if value > limit and not loop.warned:
            loop.warned = True
            found = f"logp_diff_{name} {value:.2g} > {limit}"
            files.progress.note(f"warning: sampler and trainer differ: {found}{advice}")


def judge_held_out(parts: Parts, loop: Loop, files: Files) -> float:
    """Evaluates the policy on every held-out set; returns pass@1 of the first."""
    files.progress.phase("evaluation")
    with loop.clock("eval"):
        evaluations = recorded(parts, parts.model(loop.state.params), files.run, loop.update)
    score = evaluations[0].record["pass_at_1"]
    loop.scores.append(score)
    files.progress.note(f"update {loop.update}: held-out pass@1 {score:.3f}")
    return score
