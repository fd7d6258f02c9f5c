"""Trains a base from scratch on a generated corpus of mixed quality.

    python -m experiments.pretraining.base --out base --steps 3000
    python -m experiments.pretraining.base --preset student-qwen --out runs/student_qwen
    python -m experiments.pretraining.base --preset student-llama --out runs/student_llama
    python -m experiments.pretraining.base --preset v3-tiny --out runs/v3_tiny
    python -m experiments.pretraining.base --preset countdown --out runs/tinyzero_base

A base has read worked problems, guesses and mistakes, notes and refusals of mixed quality, but was
never rewarded. The first is the one `make demo` starts from (1.8M parameters, the bilingual world);
the students that it teaches have a quarter of its size and other families' shapes; `v3-tiny` has
DeepSeek-V3's, latent attention and experts, and has read the same; the last is for TinyZero's
countdown (24M parameters, tries at countdowns and arithmetic; claim t of `experiments.claims`
continues from one). Minutes on one H200 (2 for the first); hours on a laptop CPU. Leaves a Hugging
Face directory (config, weights, tokenizer) and card.json with what it was trained on; judge it with
`python -m experiments.evaluate`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.pretraining.config import KNOBS, PRESETS, SHAPES, Config
from r1jax.checkpoint import Checkpoints, Saved
from r1jax.commands import cli
from r1jax.data.packing import Sequences
from r1jax.data.tinyzero import corpus as tinyzero_corpus
from r1jax.data.tokenizer import load_tokenizer, train_tokenizer
from r1jax.data.world import corpus as world
from r1jax.errors import UserError
from r1jax.losses.sft import sft
from r1jax.mesh import MeshConfig, make_mesh
from r1jax.models import table
from r1jax.models.config import ModelConfig
from r1jax.models.hub import directory as hub
from r1jax.models.hub.find import model_directory
from r1jax.training.optimizer import make_optimizer
from r1jax.training.supervised.loop import fit
from r1jax.training.train_state import init_state
from r1jax.training.update import make_functions
from r1jax.training.weights import drawn
from r1jax.types import TrainState

NOT_LEARNT = ("out", "workers", "dtype", "shard_mb", "save_every")

Document = world.Document | tinyzero_corpus.TinyZeroDocument


def corpus_of(config: Config) -> tuple[Any, Any]:
    """The module that writes the corpus, and what that is made of; None: the module's own mix."""
    if config.corpus == "countdown":
        return tinyzero_corpus, None
    shares = world.Shares(habit=config.habit)
    families = {"sum": shares, "countdown": shares, "word": shares}
    options = {"mixing": config.mixing, "general": config.general, "chinese_share": config.chinese}
    return world, world.Mix(**families, **options)


def documents(config: Config, start: int, count: int) -> Iterator[Document]:
    """Documents `start` to `start + count` of the chosen corpus."""
    corpus, mix = corpus_of(config)
    return corpus.documents(config.seed, start, count, mix)


def tokenizer_texts(config: Config, count: int) -> Iterator[str]:
    """What a new tokenizer is trained on."""
    corpus, mix = corpus_of(config)
    return corpus.tokenizer_texts(config.seed, count, mix)


def describe(config: Config, tokenizer: Any) -> dict[str, Any]:
    """What the card says of the corpus, and the knobs it was made with."""
    corpus, mix = corpus_of(config)
    knobs = {name: getattr(config, name) for name in KNOBS if mix}
    return knobs | {"corpus": corpus.describe(documents(config, 0, 20_000), tokenizer)}


def encode(config: Config, tokenizer_path: str, start: int, count: int) -> tuple[np.ndarray, ...]:
    """Tokens of documents as one flat array, their lengths, and their prompts' lengths."""
    tokenizer = load_tokenizer(tokenizer_path)
    chosen = list(documents(config, start, count))
    options = {"add_special_tokens": False, "verbose": False}
    prompts = tokenizer([d.prompt for d in chosen], **options)["input_ids"]
    completions = tokenizer([d.completion for d in chosen], **options)["input_ids"]
    eos = tokenizer.eos_token_id
    ids = [p + r + [eos] for p, r in zip(prompts, completions, strict=True)]
    flat = np.fromiter((t for doc in ids for t in doc), np.int16)
    return flat, np.array([len(doc) for doc in ids]), np.array([len(p) for p in prompts])


def read_corpus(config: Config, tokenizer_path: str) -> Sequences:
    """The corpus (tokens i16[documents, longest]), written by several processes.

    Of the world everything after a document's first token is learnt, of countdown its completion:
    TinyZero's long prompt is the same in every document.
    """
    workers = config.workers or os.cpu_count() or 1
    step = max(min(config.documents // workers, 20_000), 1)
    starts = range(0, config.documents, step)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = list(
            pool.map(
                encode,
                *zip(*((config, tokenizer_path, s, step) for s in starts), strict=True),
            )
        )
    lengths = np.concatenate([part[1] for part in parts])
    tokens = np.zeros((len(lengths), lengths.max()), np.int16)
    tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = np.concatenate([p[0] for p in parts])
    prompt_lengths = np.concatenate([part[2] for part in parts])
    prompt_lengths = prompt_lengths if config.corpus == "countdown" else np.ones_like(lengths)
    return Sequences(tokens, prompt_lengths, lengths - prompt_lengths)


def make_tokenizer(config: Config, out: Path) -> None:
    """Puts the tokenizer's files into `out`: trained on the corpus, or another model's."""
    if config.tokenizer == "new":
        train_tokenizer(tokenizer_texts(config, 60_000), out, config.vocab)
        return
    out.mkdir(parents=True, exist_ok=True)
    source = model_directory(config.tokenizer)
    for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"):
        if (source / name).exists():
            shutil.copy(source / name, out / name)


def model_config(config: Config, tokenizer: Any) -> ModelConfig:
    """The base's shape."""
    return ModelConfig(
        family=config.family,
        vocab_size=len(tokenizer),
        d_model=config.d_model,
        d_ff=config.d_ff,
        n_layers=config.layers,
        n_heads=config.heads,
        n_kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        max_position=config.max_position,
        bos_id=tokenizer.bos_token_id,
        eos_ids=(tokenizer.eos_token_id,),
        **SHAPES[config.family],
    )


def asked(config: Config) -> dict[str, Any]:
    """The flags that decide what is learnt: those that a run which goes on must share."""
    return {k: v for k, v in dataclasses.asdict(config).items() if k not in NOT_LEARNT}


def in_parts(
    run: Callable[..., tuple[TrainState, dict[str, float]]],
    state: TrainState,
    config: Config,
) -> tuple[TrainState, dict[str, float]]:
    """`fit` up to the last update, from the newest checkpoint, and saved on the way.

    The last part is always run, so that there are metrics of the last update.
    """
    every, identity = config.save_every, {"flags": asked(config)}
    if not every:
        return run(state, updates=config.steps)
    checkpoints = Checkpoints(Path(config.out) / "checkpoints", keep=2)
    with contextlib.closing(checkpoints):
        if (step := checkpoints.latest()) is not None:
            state = checkpoints.restore(step, state, identity).state
            print(f"goes on after update {step}", flush=True)
        for end in range(int(state.update) + every, config.steps, every):
            state, _ = run(state, updates=end)
            checkpoints.save(Saved(state, None, {}, identity))
    return run(state, updates=config.steps)


def main(config: Config) -> None:
    """Tokenizer, corpus, training, export."""
    out = Path(config.out)
    if (out / hub.SINGLE).exists() or (out / hub.INDEX).exists():
        raise UserError(f"--out {out}: there is a model already; name another directory")
    started = time.time()
    make_tokenizer(config, out)
    sequences = read_corpus(config, str(out))
    totals = sequences.totals
    print(f"corpus: {len(totals)} documents, {totals.sum() / 1e6:.1f}M tokens, the longest "
          f"{totals.max()}, {time.time() - started:.0f} s", flush=True)  # fmt: skip
    if totals.max() > config.train.width:
        raise UserError(
            f"--train.width {config.train.width}: the longest document has {totals.max()} tokens; "
            "use at least so many, or --tokenizer new"
        )
    tokenizer = load_tokenizer(out)
    c = model_config(config, tokenizer)
    mesh = make_mesh(MeshConfig())
    optimizer = make_optimizer(
        config.optimizer, config.steps, table.decay_mask(c), config.train.dtype
    )
    state = init_state(optimizer, drawn(c, mesh, config.seed), mesh)
    functions = make_functions(c, mesh, config.train, sft, optimizer)
    trained = time.time()

    def show(step: int, metrics: dict[str, float]) -> None:
        if step % 100 == 0 or step == config.steps:
            rate = step * config.batch * totals.mean() / (time.time() - trained)
            print(f"update {step}: {metrics['sft/nll']:.4f} nats per token, "
                  f"{rate / 1e3:.0f}k tokens/s", flush=True)  # fmt: skip

    run = functools.partial(
        fit, functions, examples=sequences, compute=config.train, mesh=mesh,
        batch=config.batch, seed=config.seed, each=show,
    )  # fmt: skip
    state, metrics = in_parts(run, state, config)
    shard = config.shard_mb << 20 or 4 << 30
    hub.save(out, state.params, c, dtype=jnp.dtype(config.dtype), shard_bytes=shard)
    card = {
        "parameters": table.count(c),
        "documents": int(len(totals)),
        "corpus_tokens": int(totals.sum()),
        "updates": config.steps,
        "documents_per_update": config.batch,
        "nats_per_token": metrics["sft/nll"],
        "seed": config.seed,
        "family": config.family,
    } | describe(config, tokenizer)
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(f"{out}: {table.count(c):,} parameters, {time.time() - started:.0f} s")


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config(), presets=PRESETS))
