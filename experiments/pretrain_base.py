"""Trains the embedded base from scratch on the generated bilingual corpus of mixed quality.

    python -m experiments.pretrain_base --out base --steps 3000

The base is what `make demo` starts from: a model that has read worked problems, guesses and
mistakes, but was never rewarded. About 2 minutes on one H200; hours on a laptop CPU. Leaves a
Hugging Face directory (config, weights, tokenizer) and card.json with what it was trained on; judge
it with `python -m experiments.evaluate`.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from r1jax import cli
from r1jax.data.packing import Sequences
from r1jax.data.tokenizer import load_tokenizer, train_tokenizer
from r1jax.data.world import corpus
from r1jax.errors import UserError
from r1jax.losses.sft import sft
from r1jax.mesh import MeshConfig, make_mesh
from r1jax.models import hub, table
from r1jax.models.config import ModelConfig
from r1jax.rollout.policy import model_directory
from r1jax.training.optimizer import OptimizerConfig, make_optimizer
from r1jax.training.sft import fit
from r1jax.training.update import ComputeConfig, init_state, make_functions


@dataclass(frozen=True)
class Config:
    """A small decoder (Qwen3 shape) and how it is trained."""

    out: str = "base"
    """Directory to write; must not hold a model yet."""
    steps: int = 3000
    """Optimizer updates."""
    batch: int = 1024
    """Documents per update."""
    documents: int = 1_000_000
    """Size of the corpus; it is read again from the start when used up."""
    seed: int = 0
    """Seed of the corpus and of the first weights."""
    tokenizer: str = "embedded"
    """Directory whose tokenizer is taken over; new: train one on the corpus."""
    habit: float = 0.25
    """Share of wrong guesses and short chains that make their family's usual mistake."""
    mixing: float = 0.3
    """Share of documents whose thought switches language."""
    vocab: int = 1024
    """Pieces of a new tokenizer."""
    d_model: int = 192
    """Width of the residual stream."""
    d_ff: int = 512
    """Width of the feed-forward layers."""
    layers: int = 4
    """Number of layers."""
    heads: int = 6
    """Query heads of 32 dimensions."""
    kv_heads: int = 2
    """Key and value heads."""
    workers: int = 0
    """Processes that write the corpus; 0: one per core."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            lr=2e-3, schedule="cosine", warmup=100, final=0.02, weight_decay=0.1
        )
    )
    """The optimizer."""
    train: ComputeConfig = field(
        default_factory=lambda: ComputeConfig(
            rows=256, width=256, max_segments=8, remat="none", unroll=4, chunk=256, kernel="xla"
        )
    )
    """How a batch is cut and computed."""


def mix(config: Config) -> corpus.Mix:
    """What the corpus is made of."""
    shares = corpus.Shares(habit=config.habit)
    return corpus.Mix(sum=shares, countdown=shares, word=shares, mixing=config.mixing)


def encode(config: Config, tokenizer_path: str, start: int, count: int) -> tuple[np.ndarray, ...]:
    """Tokens of documents as one flat array, their lengths, and their prompts' lengths."""
    tokenizer = load_tokenizer(tokenizer_path)
    documents = list(corpus.documents(config.seed, start, count, mix(config)))
    prompts = tokenizer([d.prompt for d in documents], add_special_tokens=False)["input_ids"]
    rest = tokenizer([d.completion for d in documents], add_special_tokens=False)["input_ids"]
    eos = tokenizer.eos_token_id
    ids = [p + r + [eos] for p, r in zip(prompts, rest, strict=True)]
    flat = np.fromiter((t for doc in ids for t in doc), np.int16)
    return flat, np.array([len(doc) for doc in ids]), np.array([len(p) for p in prompts])


def read_corpus(config: Config, tokenizer_path: str) -> tuple[np.ndarray, np.ndarray]:
    """(tokens i16[documents, longest], lengths): the corpus, written by several processes."""
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
    return tokens, lengths


def make_tokenizer(config: Config, out: Path) -> None:
    """Puts the tokenizer's files into `out`: trained on the corpus, or another model's."""
    if config.tokenizer == "new":
        train_tokenizer(corpus.tokenizer_texts(config.seed, 60_000, mix(config)), out, config.vocab)
        return
    out.mkdir(parents=True, exist_ok=True)
    source = model_directory(config.tokenizer)
    for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"):
        if (source / name).exists():
            shutil.copy(source / name, out / name)


def model_config(config: Config, tokenizer: Any) -> ModelConfig:
    """The base's shape."""
    return ModelConfig(
        family="qwen3",
        vocab_size=len(tokenizer),
        d_model=config.d_model,
        d_ff=config.d_ff,
        n_layers=config.layers,
        n_heads=config.heads,
        n_kv_heads=config.kv_heads,
        head_dim=32,
        max_position=512,
        qk_norm=True,
        tied=True,
        bos_id=tokenizer.bos_token_id,
        eos_ids=(tokenizer.eos_token_id,),
    )


def main(config: Config) -> None:
    """Tokenizer, corpus, training, export."""
    out = Path(config.out)
    if (out / hub.SINGLE).exists():
        raise UserError(f"--out {out}: there is a model already; name another directory")
    started = time.time()
    make_tokenizer(config, out)
    tokens, lengths = read_corpus(config, str(out))
    print(f"corpus: {len(lengths)} documents, {lengths.sum() / 1e6:.1f}M tokens, "
          f"{time.time() - started:.0f} s", flush=True)  # fmt: skip
    tokenizer = load_tokenizer(out)
    c = model_config(config, tokenizer)
    mesh = make_mesh(MeshConfig())
    initialise = jax.jit(lambda key: table.init(c, key), out_shardings=table.shardings(c, mesh))
    optimizer = make_optimizer(config.optimizer, config.steps, table.decay_mask(c))
    state = init_state(optimizer, initialise(jax.random.key(config.seed)), mesh)
    functions = make_functions(c, mesh, config.train, sft, optimizer)
    trained = time.time()

    def show(step: int, metrics: dict[str, float]) -> None:
        if step % 100 == 0 or step == config.steps:
            rate = step * config.batch * lengths.mean() / (time.time() - trained)
            print(f"update {step}: {metrics['sft/nll']:.4f} nats per token, "
                  f"{rate / 1e3:.0f}k tokens/s", flush=True)  # fmt: skip

    # The first token is the prompt; everything after it is learnt.
    sequences = Sequences(tokens, np.ones_like(lengths), lengths - 1)
    state, metrics = fit(
        functions, state, sequences, config.train, mesh,
        updates=config.steps, batch=config.batch, seed=config.seed, each=show,
    )  # fmt: skip
    hub.save(out, state.params, c, dtype=jnp.float32)
    card = {
        "parameters": table.count(c),
        "documents": int(len(lengths)),
        "corpus_tokens": int(lengths.sum()),
        "updates": config.steps,
        "documents_per_update": config.batch,
        "nats_per_token": metrics["sft/nll"],
        "seed": config.seed,
        "habit": config.habit,
        "mixing": config.mixing,
        "corpus": corpus.describe(corpus.documents(config.seed, 0, 20_000, mix(config)), tokenizer),
    }
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(f"{out}: {table.count(c):,} parameters, {time.time() - started:.0f} s")


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
