"""LoRA: joined equals merged, a fresh adapter changes nothing, only factors are trained."""

from __future__ import annotations

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file
from tiny import (
    SPECIAL,
    drawn,
    identical,
    mesh_of,
    on_device,
    packed,
    placed,
    random_sequences,
    tiny_config,
    tiny_params,
)

from r1jax.errors import UserError
from r1jax.losses.sft import sft
from r1jax.models import decoder
from r1jax.models.attention import Segments
from r1jax.models.lora import Lora, LoraConfig, attach, merge, rows, save_peft
from r1jax.training import update

CONFIG = tiny_config("qwen3")
LORA = LoraConfig(rank=3, alpha=6.0, targets=("wq", "down"))
MESH = mesh_of(1, 1, 1)
TOKENS = np.arange(10).reshape(2, 5) % CONFIG.vocab_size


def factors(seed=0, random_b=True, config=CONFIG):
    """Factors; B is zero at a true start, random where a difference is wanted."""
    fresh = drawn(rows(config, LORA), seed)
    if not random_b:
        return fresh
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: x + on_device(rng.normal(0, 0.3, x.shape), x.dtype), fresh)


@functools.partial(jax.jit, static_argnames="config")
def hidden(params, config=CONFIG):
    positions = np.broadcast_to(np.arange(5), TOKENS.shape)
    return decoder.forward(params, config, TOKENS, positions, Segments(np.ones_like(TOKENS), 1))


@pytest.mark.parametrize("family", ["qwen3", *SPECIAL])
def test_joined_equals_merged_and_differs_from_the_base(family):
    config = tiny_config(family)
    base = tiny_params(config)
    joined = attach(base, factors(config=config), LORA)
    np.testing.assert_allclose(hidden(joined, config), hidden(merge(joined), config), atol=2e-5)
    assert np.abs(hidden(joined, config) - hidden(base, config)).max() > 1e-2


def test_scale_is_alpha_over_rank():
    leaf = Lora(jnp.zeros((2, 2)), jnp.eye(2)[:, :1], jnp.ones((1, 2)), LoraConfig(4, 6.0).scale)
    np.testing.assert_allclose(leaf.apply(jnp.array([[2.0, 5.0]])), [[3.0, 3.0]])


def test_a_fresh_adapter_changes_nothing():
    base, fresh = tiny_params(CONFIG), factors(random_b=False)
    assert not any(own["b"].any() for own in fresh["stacks"][0].values())
    np.testing.assert_allclose(hidden(attach(base, fresh, LORA)), hidden(base), atol=1e-5)


def test_decode_weights_are_the_merged_ones():
    joined = attach(tiny_params(CONFIG), factors(), LORA)
    got, want = (decoder.unstack(p, CONFIG, jnp.float32) for p in (joined, merge(joined)))
    assert identical(got, want)


def test_only_the_factors_are_trained_and_their_gradient_is_the_full_one_projected():
    compute = update.ComputeConfig(rows=2, width=32, max_segments=4, remat="none", chunk=8)
    base = placed(tiny_params(CONFIG), CONFIG, MESH)
    functions = update.make_functions(CONFIG, MESH, compute, sft, optax.sgd(0.1), lora=LORA)
    (batch,) = packed(random_sequences([3, 4, 2], [5, 6, 4]), 2, 32, 4)
    start = factors()
    batch = update.place_batch(batch, MESH)
    got = functions.accumulate(start, functions.start(), batch, base).grads
    assert jax.tree.structure(got) == jax.tree.structure(start)

    whole = update.make_functions(CONFIG, MESH, compute, sft, optax.sgd(0.1))
    merged = merge(attach(base, start, LORA))
    full = whole.accumulate(merged, whole.start(), batch).grads["stacks"][0]
    for name in LORA.targets:
        own, slope = start["stacks"][0][name], full[name]
        a = LORA.scale * slope @ jnp.swapaxes(own["b"], 1, 2)  # ∂L/∂A = s·G·Bᵀ
        b = LORA.scale * jnp.swapaxes(own["a"], 1, 2) @ slope  # ∂L/∂B = s·Aᵀ·G
        np.testing.assert_allclose(got["stacks"][0][name]["a"], a, atol=1e-5)
        np.testing.assert_allclose(got["stacks"][0][name]["b"], b, atol=1e-5)


def test_peft_layout(tmp_path):
    own = factors()
    save_peft(tmp_path, own, CONFIG, LORA, "some/base")
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert settings["r"] == 3 and settings["lora_alpha"] == 6.0
    assert settings["target_modules"] == ["q_proj", "down_proj"]
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert len(tensors) == 2 * 2 * CONFIG.n_layers
    name = "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"
    np.testing.assert_array_equal(tensors[name], own["stacks"][0]["down"]["a"][1].T)


@pytest.mark.parametrize("wrong", [{"rank": -1}, {"rank": 2, "targets": ("q_proj",)}])
def test_wrong_settings_are_one_line(wrong):
    with pytest.raises(UserError, match="--lora"):
        LoraConfig(**wrong)
