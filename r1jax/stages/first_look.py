"""A first look at a base before its first update: what it writes, and what the run will cost.

Most runs that learn nothing show why in their first samples: an answer in another place than the
reward looks at, texts that never end, problems beyond the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from r1jax.data.packing import Denominators, pack
from r1jax.evaluate.reading import Grader, Judged, judge
from r1jax.problem import Problem
from r1jax.rewards.answers.graders import UNRULED
from r1jax.rollout.engine import Generated
from r1jax.run.progress import duration
from r1jax.training.batches import place_batch
from r1jax.training.rl import collect, memory
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.loop import scorers
from r1jax.training.rl.setup import Parts
from r1jax.training.rl.state import Loop
from r1jax.training.update import empty_total
from r1jax.types import Params

GROUP = 4  # samples of a problem
STOPS = ("</answer>", "\nUser:", "User:", "\nQuestion:", "\nProblem:")
"""What a base that runs on writes where its answer has ended."""


@dataclass(frozen=True)
class Look:
    """Shares and means of the samples."""

    samples: int
    lenient: float  # right, wherever the answer stands
    strict: float  # right, within the envelope
    format: float
    truncated: float
    boxed: float  # an answer in \\boxed, and no envelope
    mixed: float  # of the problems: some samples right, some wrong
    tokens: float
    longest: int
    runs_on: str = ""  # after it most of those that were cut go on

    @property
    def line(self) -> str:
        """All of it in words."""
        return (
            f"{self.samples} samples before the first update: right {self.lenient:.0%} (within the "
            f"tags {self.strict:.0%}), format {self.format:.0%}, cut {self.truncated:.0%}, "
            f"{self.tokens:.0f} tokens; {self.mixed:.0%} of the problems have right and wrong ones"
        )


@dataclass(frozen=True)
class Speed:
    """Measured on the samples, programs already compiled."""

    step: float  # seconds of a decode step, whatever the number of slots in use
    token: float  # seconds of a token of prompt or completion in an update
    prompt: float  # mean tokens


def look(parts: Parts, loop: Loop, peak: int | None, phase: Callable[[str], None]) -> list[str]:
    """The lines that tell of --look samples of the first training problems; changes nothing.

    `peak` are the bytes per device that were planned; `phase` is told what is being done. Every
    process calls it. Problems that no rule judges are left out; where there are no others nothing
    is said.
    """
    count = max(2, parts.config.look // GROUP)
    problems = [p for p in parts.stream.take(0, count) if p.grader != UNRULED]
    if len(problems) < 2:
        return []
    model = parts.model(loop.state.params)
    weights = parts.engine.prepare(model, weights=parts.config.rollout.weights)
    half = len(problems) // 2
    phase("rollout")
    drawn = _draw(parts, weights, problems[:half])  # which compiles the programs
    began = time.perf_counter()
    drawn += _draw(parts, weights, problems[half:])
    step = (time.perf_counter() - began) / max(parts.engine.steps_taken, 1)
    del weights
    texts = [parts.policy.completion(g) for g in drawn]
    groups = [texts[i : i + GROUP] for i in range(0, len(texts), GROUP)]
    seen = seen_in(judge(problems, groups, Grader(parts.pool, sandbox=parts.config.sandbox)))
    prompt = float(np.mean([len(g.prompt_tokens) for g in drawn]))
    phase("update")
    update = _update_seconds(parts, loop, drawn)
    spent = hours(parts.config, seen, Speed(step, update, prompt),
                  [len(found) for found in parts.eval_sets.values()])  # fmt: skip
    held = f", {peak / 2**30:.1f} of {memory.capacity() / 2**30:.1f} GiB" if peak else ""
    expected = f"expected: about {duration(3600 * spent)} for {parts.config.updates} updates{held}"
    return [seen.line, expected, *advice(seen, parts.config)]


def seen_in(judged: Sequence[Sequence[Judged]]) -> Look:
    """What groups of judged samples say."""
    every = [j for group in judged for j in group]
    share = lambda found: float(np.mean([bool(x) for x in found]))  # noqa: E731
    cut = [j.completion.text for j in every if j.truncated]
    after = (s for s in STOPS if cut and share(s in text[:-1] for text in cut) > 0.5)
    return Look(
        samples=len(every),
        lenient=share(j.lenient for j in every),
        strict=share(j.strict for j in every),
        format=share(j.format for j in every),
        truncated=share(j.truncated for j in every),
        boxed=share("\\boxed" in j.completion.text and not j.format for j in every),
        mixed=share(0 < sum(j.lenient for j in group) < len(group) for group in judged),
        tokens=float(np.mean([j.length for j in every])),
        longest=max(j.length for j in every),
        runs_on=next(after, ""),
    )


def hours(config: RLConfig, seen: Look, speed: Speed, held_out: Sequence[int]) -> float:
    """Hours of all updates and evaluations, should answers stay as long; grading is not counted.

    `held_out` are the problems of each evaluation set.
    """
    r, parts, slots = config.rollout, config.train.updates_per_rollout, config.rollout.slots
    size = r.prompts * r.group

    def sampled(count: int) -> float:  # while some wait all slots are busy, then the longest ends
        return speed.step * (max(0, count - slots) * seen.tokens / slots + seen.longest)

    passes = 1 + ((parts > 1) + (config.loss.beta > 0)) / 3  # forward alone: a third of an update
    learnt = size * (speed.prompt + seen.tokens) * speed.token * passes
    rollouts = -(-config.updates // parts)
    every = config.eval.every
    evaluations = config.eval.before + 1 + ((config.updates - 1) // every if every else 0)
    each = config.eval.samples + config.eval.greedy
    judged = sum(sampled(problems * each) for problems in held_out)
    return (rollouts * (sampled(size) + learnt) + evaluations * judged) / 3600


def advice(seen: Look, config: RLConfig) -> list[str]:
    """What to change where the samples look wrong: a line for each reason."""
    r, found = config.rollout, []
    if seen.truncated > 0.25 and seen.runs_on:
        found.append(
            f"most answers that were cut go on after {seen.runs_on!r}: --rollout.stop "
            f"{seen.runs_on.strip()!r} ends them there"
        )
    elif seen.truncated > 0.25:
        longer = 2 * r.max_tokens
        width = max(config.train.width, r.max_prompt + longer)
        found.append(
            f"{seen.truncated:.0%} of the answers are cut at {r.max_tokens} tokens and earn "
            f"nothing: --rollout.max-tokens {longer} --train.width {width}"
        )
    if seen.boxed > 0.3:
        found.append(
            "answers stand in \\boxed, not in tags: --data.template qwen_boxed --reward.format 0 "
            "(or chat_boxed, by the model's chat template) asks for boxes; --data.prefill "
            "'<think>' leads to tags"
        )
    elif seen.format == 0 and config.reward.format:
        found.append(
            "no sample has the tags, so that no group can learn them: --data.prefill '<think>' "
            "begins them, --reward.tag-count 0.1 pays for parts, r1jax sft teaches them first"
        )
    if seen.lenient == 0 and seen.truncated < 0.5:
        found.append(
            "nothing is right, so that there is nothing to learn from: read transcripts.jsonl; is "
            "it --data.template, --data.grader, or are the problems too hard for this base?"
        )
    elif seen.lenient > 0.95:
        found.append("nearly all is right already: take harder problems (--data.train)")
    elif seen.mixed == 0 and seen.lenient:
        found.append(
            "all samples of a problem are alike: --rollout.group 16 or more tells them apart"
        )
    if seen.tokens < 8:
        asks = config.data.template in ("r1_zero", "tags")
        think = "r1jax sft teaches to think" if asks else "--data.template r1_zero asks to think"
        found.append(f"answers have {seen.tokens:.0f} tokens: {think}")
    return [f"advice: {line}" for line in found]


def _draw(parts: Parts, weights: Params, problems: Sequence[Problem]) -> list[Generated]:
    r, seed = parts.config.rollout, parts.config.seed
    return collect.generate(
        parts.engine, parts.policy, weights, problems, GROUP, r.sampling, seed, rollout=0
    )


def _update_seconds(parts: Parts, loop: Loop, drawn: list[Generated]) -> float:
    """Seconds of a token in an update: gradients of these samples, which change nothing."""
    sequences = collect.to_sequences(drawn)
    known = sequences.columns["sampler_logp"]
    columns = {name: known for names in scorers(parts, loop) for name in names}
    columns["advantages"] = np.zeros(len(drawn), np.float32)
    totals = Denominators.of(sequences, parts.config.rollout.max_tokens)
    batches = pack(sequences.with_columns(**columns), *parts.config.train.shape, totals)
    for timed in (False, True):
        began, total = time.perf_counter(), empty_total(parts.functions, loop.state)
        for batch in batches if timed else batches[:1]:
            placed = place_batch(batch, parts.mesh)
            total = parts.functions.accumulate(loop.state.params, total, placed, parts.frozen)
        jax.block_until_ready(total)
    return (time.perf_counter() - began) / int(sequences.totals.sum())
