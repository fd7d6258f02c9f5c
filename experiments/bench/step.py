"""Whole steps of R1-Zero on random weights: the loop of training, phase by phase."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from r1jax.data.packing import packing_efficiency
from r1jax.models.config import ModelConfig, to_hf
from r1jax.models.hub.find import model_directory
from r1jax.run.progress import Alone, Progress
from r1jax.stages.opening import opened
from r1jax.training.flops import utilisation
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.learning import learn
from r1jax.training.rl.loop import Files, Loop, new_rollout, record
from r1jax.training.rl.resume import new_loop
from r1jax.training.rl.setup import Parts, build, initial_state
from r1jax.training.train_state import init_state
from r1jax.training.weights import drawn


@dataclass(frozen=True)
class MeasuredStep:
    """One rollout and its updates: wall time of the phases and of all, in seconds."""

    phases: dict[str, float]
    whole: float
    completions: int
    completion_tokens: int
    update_flops: float
    packing: float
    metrics: dict[str, float]  # of all its updates, the last one's where they share a name

    @property
    def outside(self) -> float:
        """Seconds that no phase accounts for."""
        return self.whole - sum(self.phases.values())


class Lines(Progress):
    """Shows the second at which each phase begins, so that a long step is seen to move."""

    def phase(self, name: str) -> None:
        """Prints a line."""
        print(f"{self.clock() - self._began:7.1f} s  {name}", flush=True)


class Plain(Alone):
    """A display of lines: drawing is no part of a step."""

    def progress(self, total: int, title: str, start: int, enabled: bool) -> Progress:
        """The phases alone."""
        return Lines(total, title, start=start, enabled=False)

    def note(self, line: str) -> None:
        """Says nothing."""


def write_model(path: Path, c: ModelConfig) -> ModelConfig:
    """A model directory without weights: config.json, and a tokenizer of the whole vocabulary.

    The tokenizer is the embedded one, every id beyond its own a word, so that what random weights
    sample is text as long as theirs. A vocabulary smaller than the embedded one's is widened to it;
    returns the shape as written.
    """
    source = model_directory("embedded")
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    c = replace(c, vocab_size=max(c.vocab_size, len(words)))
    words |= {f"▁w{i}": i for i in range(len(words), c.vocab_size)}
    (path / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    shutil.copy(source / "tokenizer_config.json", path)
    (path / "config.json").write_text(json.dumps(to_hf(c)))
    return c


@contextlib.contextmanager
def prepared(config: RLConfig, shape: ModelConfig | None) -> Iterator[tuple[Parts, Loop, Files]]:
    """The parts of a run, random weights in its loop, and files in a folder that goes afterwards.

    `shape` None: the shape and the tokenizer of `config.model`, though not its weights. Reward
    workers are ended with the block.
    """
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(TemporaryDirectory()))
        config = replace(config, run=str(folder / "run"))
        if shape is not None:
            (folder / "model").mkdir()
            write_model(folder / "model", shape)
            config = replace(config, model=str(folder / "model"))
        run = held.enter_context(opened(config, Plain()))
        parts = build(config, note=functools.partial(print, flush=True))
        run.hold(parts.pool)
        parts, loop = _started(parts)
        yield parts, loop, run.files(parts.config)


def _started(parts: Parts) -> tuple[Parts, Loop]:
    """What `r1jax.training.rl.resume.begin` does for a new run, with weights that no file holds."""
    c, mesh, seed = parts.policy.config, parts.mesh, parts.config.seed
    if parts.lora:
        parts = replace(parts, base=drawn(c, mesh, seed, parts.config.train.dtype))
        state = initial_state(parts)
    else:
        state = init_state(parts.optimizer, drawn(c, mesh, seed), mesh)
    return parts, new_loop(parts, state)


def step(parts: Parts, loop: Loop, files: Files) -> MeasuredStep:
    """The next rollout and all updates from it, as `r1jax.training.rl.loop.train` makes them."""
    phases: Counter[str] = Counter()
    began = time.perf_counter()
    loop.scored = new_rollout(parts, loop, files)
    sequences, batches, metrics, flops = loop.scored.sequences, [], {}, 0.0
    while loop.scored is not None:
        update_metrics, update_batches = learn(parts, loop)
        metrics |= update_metrics
        batches += update_batches
        flops += loop.learning
        phases.update({k.removeprefix("time/"): v for k, v in loop.seconds.items()})
        record(parts, loop, files, update_metrics)
    whole = time.perf_counter() - began
    return MeasuredStep(
        phases=dict(phases),
        whole=whole,
        completions=len(sequences.lengths),
        completion_tokens=int(sequences.lengths.sum()),
        update_flops=flops,
        packing=packing_efficiency(batches),
        metrics=metrics,
    )


def phase_rows(steps: list[MeasuredStep]) -> list[dict[str, Any]]:
    """A row for each phase, what lies outside them, and the whole: mean, spread, share."""
    names = list(dict.fromkeys(name for one in steps for name in one.phases))
    seconds = {name: [one.phases.get(name, 0.0) for one in steps] for name in names}
    seconds |= {"outside": [one.outside for one in steps], "whole": [one.whole for one in steps]}
    whole = np.mean(seconds["whole"])
    return [
        {
            "phase": name,
            "mean s": float(np.mean(values)),
            "standard deviation s": float(np.std(values)),
            "least s": min(values),
            "most s": max(values),
            "share %": float(100 * np.mean(values) / whole),
        }
        for name, values in seconds.items()
    ]


def rates(steps: list[MeasuredStep]) -> dict[str, Any]:
    """What the steps come to: tokens of completions per second, MFU of the updates in percent.

    Rewards are judged while completions are written: the phase is what was waited for, here stands
    what judging took.
    """
    tokens = sum(one.completion_tokens for one in steps)
    spent = Counter({"whole": sum(one.whole for one in steps)})
    for one in steps:
        spent.update(one.phases)
    mfu = utilisation(sum(one.update_flops for one in steps), spent["update"])
    return {
        "steps": len(steps),
        "completions": steps[0].completions,
        "tokens of one": tokens / sum(one.completions for one in steps),
        "s per step": spent["whole"] / len(steps),
        "tok/s end to end": tokens / spent["whole"],
        "tok/s rollout": tokens / spent["rollout"],
        "s judging": float(np.mean([one.metrics["perf/reward_seconds"] for one in steps])),
        "packing %": 100 * float(np.mean([one.packing for one in steps])),
        "MFU of update %": None if mfu is None else 100 * mfu,
    }
