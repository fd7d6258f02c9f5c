"""Whole runs at toy size, for the tests of the loop: a model directory, flags, and how to stop."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal

import jax
from tiny import drawn, tiny_config

from r1jax.checkpoint import CheckpointConfig
from r1jax.data import DataConfig
from r1jax.data.examples.conversations import ConversationConfig
from r1jax.models.hub import directory as hub
from r1jax.models.hub.find import model_directory
from r1jax.run import signals
from r1jax.stages.opening import opened
from r1jax.stages.supervised import SFTConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import (
    EvalSchedule,
    RLConfig,
    RolloutConfig,
    TrainConfig,
)
from r1jax.training.rl.loop import train
from r1jax.training.rl.resume import begin
from r1jax.training.rl.reward import RewardConfig
from r1jax.training.rl.setup import with_frozen

VOCAB = 1024

CHAT = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def save_model(path, seed=0, **changes):
    """A random decoder with the embedded tokenizer; every sixth token or so ends its text."""
    stops = (2, *range(300, VOCAB, 6))
    config = tiny_config("qwen3", vocab_size=VOCAB, n_layers=1, tied=True, bos_id=1, eos_ids=stops)
    config = dataclasses.replace(config, **changes)
    path.mkdir(parents=True, exist_ok=True)
    hub.save(path, jax.device_get(drawn(config, seed)), config)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_directory("embedded") / name, path / name)
    return str(path)


def with_other_tokens(model, path):
    """The same model, two of whose tokens have changed places."""
    shutil.copytree(model, path)
    raw = json.loads((path / "tokenizer.json").read_text())
    vocab = raw["model"]["vocab"]
    a, b = sorted(vocab, key=vocab.get)[-2:]
    vocab[a], vocab[b] = vocab[b], vocab[a]
    (path / "tokenizer.json").write_text(json.dumps(raw))
    return str(path)


def model_with(path, chat_template):
    """The embedded base with a chat template."""
    shutil.copytree(model_directory("embedded"), path)
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(
        json.dumps(settings | {"chat_template": chat_template})
    )
    return str(path)


def write_rows(path, found):
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(path)


def environment(cache, *flags):
    """Of a run that is a process of its own: one device, and what it compiles kept in `cache`."""
    return dict(
        os.environ,
        XLA_FLAGS=" ".join(["--xla_force_host_platform_device_count=1", *flags]),
        JAX_COMPILATION_CACHE_DIR=str(cache),
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
    )


def tiny_run(model, path, changes=()):
    """Flags of 8 updates on 16 completions of at most 8 tokens, rewarded by a coin."""
    config = RLConfig(
        run=str(path),
        model=model,
        updates=8,
        data=DataConfig(template="mini", train=("world:sum",), eval=("world:sum",), eval_count=3),
        rollout=RolloutConfig(
            prompts=4, group=4, max_prompt=160, max_tokens=8, slots=16, prefill=4
        ),
        reward=RewardConfig(accuracy=0, format=0, random=1, workers=0),
        optimizer=OptimizerConfig(lr=3e-3),
        train=TrainConfig(rows=8, width=64, max_segments=4, remat="none", chunk=64, kernel="xla"),
        # Drawn as in training, so that no further program has to be compiled.
        eval=EvalSchedule(every=0, samples=2, temperature=1.0, top_p=1.0, greedy=False),
        checkpoint=CheckpointConfig(every=3),
        memory="off",
    )
    return changed(config, dict(changes))


def tiny_course(model, data, path, changes=()):
    """Flags of 8 updates on 6 of the sums, 6 of them held out."""
    config = SFTConfig(
        run=str(path),
        model=model,
        updates=8,
        batch=6,
        eval_every=3,
        data=ConversationConfig(train=(str(data / "sums.jsonl"),), eval_count=6),
        optimizer=OptimizerConfig(lr=1e-2, schedule="cosine", warmup=2),
        train=ComputeConfig(rows=8, width=32, max_segments=4, remat="none", chunk=32, kernel="xla"),
        checkpoint=CheckpointConfig(every=2),
    )
    return changed(config, dict(changes))


def changed(config, changes):
    """The config with dotted fields replaced; fields that must fit together change at once."""
    own = {name: value for name, value in changes.items() if "." not in name}
    for part in {name.partition(".")[0] for name in changes if "." in name}:
        inside = {
            n.removeprefix(f"{part}."): v for n, v in changes.items() if n.startswith(f"{part}.")
        }
        own[part] = changed(getattr(config, part), inside)
    return dataclasses.replace(config, **own)


class Interrupted(Exception):
    """What stops a run in the tests, where a power cut would."""


@dataclasses.dataclass
class StopAt:
    """A sink that ends the run as update `update` is being recorded."""

    update: int

    def log(self, update, metrics):
        if update == self.update:
            raise Interrupted

    def samples(self, update, rows):
        assert update <= self.update

    def close(self):
        pass


class Boundaries:
    """Counts the boundaries of a run and sends itself a signal before one of them."""

    def __init__(self, monkeypatch, at=None):
        self.seen, self.at = 0, at
        real = signals.boundary

        def boundary(often=False):
            if signals._watch and signals._watch.holding:
                self.seen += 1
                if self.seen == self.at:
                    os.kill(os.getpid(), signal.SIGTERM)
            real(often)

        for module in ("rollout.engine", "training.update", "training.batches", "training.rl.loop",
                       "training.supervised.loop", "training.supervised.examine"):  # fmt: skip
            monkeypatch.setattr(f"r1jax.{module}.boundary", boundary)


def go(parts, path, *sinks):
    """Starts or resumes the run of `parts` in `path`; the loop as it ends, or None if stopped."""
    parts = dataclasses.replace(parts, config=dataclasses.replace(parts.config, run=str(path)))
    with opened(parts.config) as run:
        files = dataclasses.replace(run.files(parts.config), sinks=sinks)
        parts = with_frozen(parts)
        try:
            return train(parts, begin(parts, files), files)
        except Interrupted:
            return None


def rows(path, name="metrics.jsonl"):
    """The rows of a run's file without what the clock decides."""
    lines = (path / name).read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if not k.startswith(("time/", "perf/"))}
        for line in lines
    ]
