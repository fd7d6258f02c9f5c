"""DeepSeek-V3: laws of latent attention, experts and the real model's numbers.

Parity with transformers stands in test_golden.py and test_parity.py.
"""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file, save_file
from test_golden import GOLDEN
from tiny import (
    drawn,
    gradient_difference,
    identical,
    mesh_of,
    on_device,
    packed,
    placed,
    random_sequences,
)

from r1jax.errors import UserError
from r1jax.losses.sft import sft
from r1jax.models import attention as attn
from r1jax.models import decoder, experts, kinds, latent, lora, multi_token, table
from r1jax.models.config import Latent, Stack
from r1jax.models.decoding import cache
from r1jax.models.hub import directory as hub
from r1jax.models.hub.families import from_hf
from r1jax.models.layers import rope_frequencies
from r1jax.training import train_state, update
from r1jax.training.auxiliary import AuxiliaryConfig, balanced
from r1jax.training.metrics import finish
from r1jax.training.rl.tower import copied

R1 = {
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}, "bos_token_id": 0,
    "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu",
    "hidden_size": 7168, "initializer_range": 0.02, "intermediate_size": 18432,
    "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": "deepseek_v3",
    "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256,
    "n_shared_experts": 1, "norm_topk_prob": True, "num_attention_heads": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3",
    "quant_method": "fp8", "weight_block_size": [128, 128]}, "rms_norm_eps": 1e-06,
    "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0,
    "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096, "type": "yarn"},
    "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
    "tie_word_embeddings": False, "topk_group": 4, "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16", "transformers_version": "4.46.3", "use_cache": True,
    "v_head_dim": 128, "vocab_size": 129280,
}  # fmt: skip
"""config.json of deepseek-ai/DeepSeek-R1."""
MOONLIGHT = R1 | {
    "bos_token_id": 163584, "eos_token_id": 163585, "first_k_dense_replace": 1,
    "hidden_size": 2048, "intermediate_size": 11264, "max_position_embeddings": 8192,
    "moe_intermediate_size": 1408, "n_group": 1, "n_routed_experts": 64, "n_shared_experts": 2,
    "num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 27,
    "num_key_value_heads": 16, "num_nextn_predict_layers": 0, "q_lora_rank": None,
    "quantization_config": None, "rms_norm_eps": 1e-05, "rope_scaling": None,
    "rope_theta": 50000.0, "routed_scaling_factor": 2.446, "topk_group": 1, "vocab_size": 163840,
}  # fmt: skip
"""That of moonshotai/Moonlight-16B-A3B, as far as it differs."""
KIMI = R1 | {
    "model_type": "kimi_k2", "n_group": 1, "topk_group": 1, "n_routed_experts": 384,
    "num_attention_heads": 64, "num_key_value_heads": 64, "first_k_dense_replace": 1,
    "num_nextn_predict_layers": 0, "rope_theta": 50000.0, "routed_scaling_factor": 2.827,
    "rope_scaling": R1["rope_scaling"] | {"beta_fast": 1.0, "factor": 32.0},
    "vocab_size": 163840, "bos_token_id": 163584, "eos_token_id": 163585,
}  # fmt: skip


def test_the_real_models_have_their_published_sizes():
    c = from_hf(R1)
    assert c.stacks == (Stack("latent", "dense", 3), Stack("latent", "experts", 58))
    assert table.count(c) == 671_026_419_200
    assert table.active(c) == 37_552_297_472
    assert table.count(table.table(c)["ahead"]) == 11_610_068_224
    assert cache.token_bytes(c, 2) == 61 * 576 * 2 + 58 * 8  # and the experts taken
    moonlight, kimi = from_hf(MOONLIGHT), from_hf(KIMI)
    assert moonlight.latent == Latent(0, 512, 128, 128) and moonlight.ahead is None
    assert 15.9e9 < table.count(moonlight) < 16.0e9
    assert 1.02e12 < table.count(kimi) < 1.03e12 and kimi.family == "deepseek_v3"
    assert 32e9 < table.active(kimi) < 33e9


def test_yarn_of_the_real_model_is_that_of_its_code():
    c = from_hf(R1)
    plain = 10000.0 ** (-np.arange(32) / 32)
    ramp = np.clip((np.arange(32) - 10) / (23 - 10), 0, 1)
    np.testing.assert_allclose(rope_frequencies(c), plain * (1 - ramp) + plain / 40 * ramp, 1e-6)
    assert latent.scale(c) * 192**0.5 == pytest.approx(1.8739, abs=5e-5)
    assert latent.scale(from_hf(MOONLIGHT)) == pytest.approx(192**-0.5)


@functools.cache
def toy():
    """(config, parameters) of the golden model: three layers, two of them with 8 experts."""
    c = hub.read_config(GOLDEN / "deepseek_v3")
    return c, hub.load(GOLDEN / "deepseek_v3", c, mesh_of())


def layer_of(stack, i=0):
    return jax.tree.map(lambda w: on_device(np.asarray(w)[i]), toy()[1]["stacks"][stack])


def test_absorbed_decoding_is_the_plain_form():
    c, params = toy()
    tokens = on_device(np.random.default_rng(0).integers(0, c.vocab_size, (3, 16)))
    positions = jnp.broadcast_to(jnp.arange(16), tokens.shape)
    segments = attn.Segments(jnp.ones_like(tokens))
    hidden = jax.jit(decoder.forward, static_argnums=1)(params, c, tokens, positions, segments)
    want = np.asarray(jax.nn.log_softmax(decoder.logits(params, hidden)))
    weights = jax.jit(decoder.unstack, static_argnums=(1, 2))(params, c, jnp.float32)
    assert "wa" in weights["stacks"][0] and "shared_gate_up" in weights["stacks"][1]
    prefill = jax.jit(decoder.prefill, static_argnums=1)
    found, kept = prefill(weights, c, tokens[:, :4], jnp.full(3, 4))
    kept = cache.each(lambda _, x: cache.lengthened(x, 16), c, kept)
    assert {layer["latent"].shape for layer in kept.layers} == {(3, 16, 8 + 4)}
    step = jax.jit(decoder.decode_step, static_argnums=1)
    for t in range(4, 16):
        np.testing.assert_allclose(jax.nn.log_softmax(found), want[:, t - 1], 1e-5, 1e-5)
        found, kept = step(weights, c, tokens[:, t], jnp.full(3, t), kept)


def test_the_bias_chooses_and_the_scores_weigh():
    c, layer = toy()[0], layer_of(1)
    x = on_device(np.random.default_rng(1).normal(size=(5, c.d_model)), jnp.float32)
    choose = jax.jit(experts.choose, static_argnums=0)
    choice = choose(c, layer, x)
    e = c.experts
    scores = 1 / (1 + np.exp(-np.asarray(x, np.float64) @ np.asarray(layer["router"], np.float64)))
    for row, s in enumerate(scores):
        biased = s + np.asarray(layer["router_bias"])
        groups = np.sort(biased.reshape(e.groups, -1), axis=1)[:, -2:].sum(1)
        kept = np.argsort(-groups)[: e.groups_kept]
        allowed = [i for i in range(e.count) if i // (e.count // e.groups) in kept]
        chosen = sorted(allowed, key=lambda i: -biased[i])[: e.chosen]
        want = np.zeros(e.count)
        want[chosen] = s[chosen] / s[chosen].sum() * e.scale
        np.testing.assert_allclose(choice.gates[row], want, rtol=1e-5)
    # A bias beyond every score puts its expert, and the group's, in front of all.
    moved = layer | {"router_bias": jnp.zeros(e.count).at[3].set(9.0)}
    again = choose(c, moved, x)
    assert bool(jnp.all(again.chosen[:, 3]))
    np.testing.assert_allclose(jnp.sum(again.gates, axis=-1), e.scale, rtol=1e-6)


def test_the_balance_of_equal_experts_is_one_and_of_packed_rows_that_of_each():
    c = toy()[0]
    n, k = c.experts.count, c.experts.chosen
    even = on_device([[(t + i) % n < k for i in range(n)] for t in range(n)])[None]
    equal = experts.Choice(even * 1.0, even, jnp.ones((1, n, n)))
    whole = attn.Segments(jnp.ones((1, n), jnp.int32))
    assert float(experts.told(c, equal, whole)["balance"][0, 0]) == pytest.approx(1)
    rng = np.random.default_rng(2)
    x = on_device(rng.normal(size=(1, 12, c.d_model)), jnp.float32)
    ids = on_device([[1] * 5 + [2] * 4 + [0] * 3])
    layer = layer_of(1)
    run = jax.jit(
        lambda x, ids, m: experts.run(c, layer, x, attn.Segments(ids, m), None)[1], static_argnums=2
    )
    together = run(x, ids, 3)
    for m, (start, stop) in enumerate(((0, 5), (5, 9))):
        alone = run(x[:, start:stop], jnp.ones((1, stop - start), jnp.int32), 1)
        np.testing.assert_allclose(together["balance"][0, m], alone["balance"][0, 0], rtol=1e-6)
        together["load"] -= alone["load"]
    assert together["balance"][0, 2] == 0 and np.all(np.abs(together["load"]) < 1e-6)


def test_experts_in_another_order_are_the_same_layer():
    c, layer = replace(toy()[0], experts=replace(toy()[0].experts, groups=1, groups_kept=1)), {}
    turned = layer_of(1)
    layer = dict(turned)
    for name in ("expert_gate", "expert_up", "expert_down", "router_bias"):
        turned[name] = turned[name][::-1]
    turned["router"] = turned["router"][:, ::-1]
    x = on_device(np.random.default_rng(3).normal(size=(2, 9, c.d_model)), jnp.float32)
    segments = attn.Segments(jnp.ones((2, 9), jnp.int32))
    run = jax.jit(lambda w: experts.run(c, w, x, segments, None))
    (y, told), (z, other) = run(layer), run(turned)
    np.testing.assert_allclose(y, z, atol=1e-5)
    np.testing.assert_allclose(told["load"], other["load"][::-1])


MESHES = [
    (1, 2, 4), (1, 2, 1, 2, 2), (1, 1, 1, 8, 1), (2, 1, 1, 4, 1), (1, 2, 2, 2, 1), (1, 2, 1, 1, 4),
    (1, 1, 2, 2, 2),
]  # fmt: skip
SEQUENCES = random_sequences([4, 1, 3, 6, 2, 5, 3, 2], [5, 9, 2, 7, 8, 3, 6, 4], vocab=61)


OPTIMIZER = optax.sgd(1e-3)
LEARNT = AuxiliaryConfig(router_step=0.01, ahead=0.5, ahead_alone=True)
"""Of the tests of the module ahead and of the biases, which share what is compiled."""


def summed(learnt, rows):
    """(functions, metrics and gradient of an update in micro-batches of so many rows)."""
    compute = update.ComputeConfig(rows, 24, 2, chunk=8, remat="none", auxiliary=learnt)
    functions = update.make_functions(toy()[0], mesh_of(), compute, sft, OPTIMIZER)
    total = functions.start()
    for batch in packed(SEQUENCES, rows, 24, 2):
        total = functions.accumulate(toy()[1], total, update.place_batch(batch, mesh_of()))
    return functions, total


@functools.cache
def accumulated(axes):
    """(gradient, share, metrics) of an update with all auxiliary losses, over a mesh."""
    c, params = toy()
    mesh = mesh_of(*axes)
    learnt = AuxiliaryConfig(balance=0.3, ahead=0.5, ahead_alone=False)
    compute = update.ComputeConfig(8, 24, 2, chunk=8, remat="none", room=8.0, auxiliary=learnt)
    functions = update.make_functions(c, mesh, compute, sft, optax.identity())
    total = functions.start()
    for batch in packed(SEQUENCES, 8, 24, 2):
        batch = update.place_batch(batch, mesh)
        total = functions.accumulate(placed(params, c, mesh), total, batch)
    return jax.device_get(total.grads), float(total.share), finish(jax.device_get(total.metrics))


@pytest.mark.parametrize(
    "axes",  # data, fsdp, tensor, expert, context
    [pytest.param(axes, marks=pytest.mark.slow) for axes in MESHES],
    ids=str,
)
def test_an_update_is_the_same_over_eight_devices(axes):
    (alone, share, metrics), (spread, other, seen) = accumulated((1, 1, 1)), accumulated(axes)
    assert other == pytest.approx(share, rel=1e-5)
    assert gradient_difference(*map(moved, (spread, alone))) < 2e-5
    assert not seen.get("experts/lost") and not seen.get("ahead/lost")
    assert metrics["experts/balance"] > 1 and metrics["ahead/nll"] > 1
    for name, value in metrics.items():
        assert seen[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def moved(gradient):
    """The gradient without the routers' biases, which have none."""
    stack, further = dict(gradient["stacks"][1]), dict(gradient["ahead"])
    assert not np.any(stack.pop("router_bias")) and not np.any(further.pop("router_bias"))
    return {**gradient, "stacks": (gradient["stacks"][0], stack), "ahead": further}


def test_router_and_bias_stay_f32_in_any_arithmetic():
    c, params = toy()
    small = kinds.cast(params, jnp.bfloat16)["stacks"][1]
    wide = {name for name, w in small.items() if w.dtype == jnp.float32}
    assert wide == {"router", "router_bias"}
    assert np.array_equal(small["router"], params["stacks"][1]["router"])
    shapes = table.abstract(c, dtype=jnp.bfloat16)["stacks"][1]
    assert {name for name, w in shapes.items() if w.dtype == jnp.float32} == wide


def test_lora_sits_on_latent_attention_and_shared_experts():
    c, params = toy()
    config = lora.LoraConfig(2)
    factors = drawn(lora.rows(c, config))
    latent_names = {"wq_a", "wq_b", "wkv_a", "wkv_b", "wo"}
    assert [set(stack) for stack in factors["stacks"]] == [
        latent_names | {"gate", "up", "down"},
        latent_names | {"shared_gate", "shared_up", "shared_down"},
    ]
    factors = jax.tree.map(lambda w: np.asarray(w) + np.float32(0.1), factors)
    tokens = jnp.arange(10)[None]
    given = tokens, tokens, attn.Segments(jnp.ones_like(tokens))
    joined = lora.attach(params, factors, config)
    run = jax.jit(decoder.forward, static_argnums=1)
    with_factors = run(joined, c, *given)
    np.testing.assert_allclose(with_factors, run(jax.jit(lora.merge)(joined), c, *given), atol=1e-3)
    assert np.max(np.abs(with_factors - run(params, c, *given))) > 0.1


def test_eight_bits_are_refused_in_one_line():
    c, params = toy()
    with pytest.raises(
        UserError, match=r"\A--rollout.weights float8: [^\n]* of latent layers[^\n]*\Z"
    ):
        decoder.unstack(params, c, "float32", weights="float8")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scoring_func": "softmax"}, "scoring_func 'softmax' is not supported; only 'sigmoid' is"),
        ({"topk_method": "greedy"}, "topk_method 'greedy' is not supported; only 'noaux_tc' is"),
        ({"moe_layer_freq": 2}, "moe_layer_freq 2 is not supported"),
        ({"head_dim": 128}, "head_dim 128 is not supported; only 64 is"),
        ({"num_key_value_heads": 8}, "num_key_value_heads 8 is not supported; only 128 is"),
        ({"first_k_dense_replace": 62}, "first_k_dense_replace is 62; there are 61 layers"),
        ({"n_routed_experts": 250}, "n_routed_experts 250 does not make 8 groups of 2 or more"),
        ({"topk_group": 9}, "topk_group is 9; there are 8 groups"),
        ({"num_experts_per_tok": 129}, "num_experts_per_tok is 129; topk_group leaves 128 experts"),
        ({"num_local_experts": 8}, "num_local_experts 8 is not n_routed_experts"),
        ({"n_shared_experts": 0}, "n_shared_experts is 0; it must be a whole number above 0"),
        ({"q_lora_rank": 1.5}, "q_lora_rank is 1.5; it must be a whole number from 0"),
        ({"qk_rope_head_dim": 0}, "qk_rope_head_dim is 0; it must be"),
        ({"quantization_config": {"bits": 4}}, "quantization_config .* only fp8"),
        ({"quantization_config": R1["quantization_config"] | {"weight_block_size": [64, 64]}},
         r"weight_block_size \[64, 64\] is not supported; only \[128, 128\] is"),
        ({"model_type": "deepseek_v2"}, "model_type 'deepseek_v2' is not one of"),
    ],
)  # fmt: skip
def test_other_arithmetic_is_refused_in_one_line(change, named):
    with pytest.raises(UserError, match=rf"\A{named}[^\n]*\Z"):
        from_hf(R1 | change)


@pytest.mark.parametrize("alone", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_loss_ahead_is_that_of_its_formula_and_reaches_what_it_should(alone):
    c, params = toy()
    learnt = LEARNT if alone else replace(LEARNT, ahead_alone=False)
    run = {w: summed(replace(learnt, ahead=w), rows=2)[1] for w in (0.0, 0.5)}
    want, count = 0.0, 0

    @jax.jit
    def log_probabilities(tokens):
        given = tokens, jnp.arange(16)[None], attn.Segments(jnp.ones_like(tokens))
        hidden = decoder.forward(params, c, *given)
        further = multi_token.forward(params, c, hidden, *given)
        return jax.nn.log_softmax(decoder.logits(params, further))[0]

    for row, start, n in zip(
        SEQUENCES.tokens, SEQUENCES.prompt_lengths, SEQUENCES.lengths, strict=True
    ):
        logp = log_probabilities(on_device(np.pad(row[:16], (0, 16 - len(row[:16]))))[None])
        at = np.arange(max(start, 2), start + n)
        want, count = want - float(np.sum(np.asarray(logp)[at - 2, row[at]])), count + len(at)
    assert finish(jax.device_get(run[0.5].metrics))["ahead/nll"] == pytest.approx(
        want / count, 1e-5
    )
    added = float(run[0.5].share - run[0.0].share)
    assert added == pytest.approx(0.5 * want / SEQUENCES.lengths.sum(), rel=1e-4)
    apart = jax.tree.map(
        lambda a, b: float(np.max(np.abs(a - b))),
        *(jax.device_get(run[w].grads) for w in (0.5, 0.0)),
    )
    assert apart["ahead"]["project"] > 1e-3
    below = {k: v for k, v in apart.items() if k != "ahead"}
    assert (max(jax.tree.leaves(below)) < 1e-6) == alone


def test_biases_move_against_the_load_of_the_whole_update_and_not_by_a_spoilt_one():
    c, params = toy()
    functions, total = summed(LEARNT, rows=2)  # several micro-batches
    fresh = lambda: train_state.init_state(OPTIMIZER, copied(params), mesh_of())  # noqa: E731
    spoilt = replace(copied(total), share=on_device(np.nan, np.float32))
    before = np.asarray(params["stacks"][1]["router_bias"])
    kept = functions.apply(fresh(), spoilt)[0].params["stacks"][1]["router_bias"]
    np.testing.assert_array_equal(kept, before)
    loads = np.asarray(total.metrics["experts/load_max"].counts)
    tokens = (SEQUENCES.prompt_lengths + SEQUENCES.lengths).sum()
    np.testing.assert_allclose(loads.sum(axis=1), tokens * c.experts.chosen)
    state, _ = functions.apply(fresh(), copied(total))
    want = 0.01 * np.sign(loads.mean(axis=1, keepdims=True) - loads)
    np.testing.assert_allclose(state.params["stacks"][1]["router_bias"] - before, want, atol=1e-7)
    load = np.asarray(total.metrics["ahead/load_max"].counts)
    assert load.sum() == tokens * c.experts.chosen
    change = state.params["ahead"]["router_bias"] - params["ahead"]["router_bias"]
    np.testing.assert_allclose(change, 0.01 * np.sign(load.mean() - load), atol=1e-7)
    assert balanced(params, total.metrics, 0.0) is params


@pytest.mark.slow
def test_loads_and_biases_are_the_same_however_an_update_is_cut():
    cuts = [summed(LEARNT, rows) for rows in (8, 2)]  # one micro-batch, and several
    np.testing.assert_array_equal(*(total.metrics["experts/load_max"].counts for _, total in cuts))
    fresh = lambda: copied(toy()[1])  # noqa: E731
    biases = [
        functions.apply(train_state.init_state(OPTIMIZER, fresh(), mesh_of()), total)[0].params[
            "stacks"
        ][1]["router_bias"]
        for functions, total in cuts
    ]
    np.testing.assert_array_equal(*biases)


@pytest.mark.parametrize(
    ("flags", "change", "lora", "named"),
    [
        ({"balance": 0.1}, {"experts": None}, False, "balance 0.1: the model has no experts"),
        ({"router_step": 0.1}, {"experts": None}, False, "router-step 0.1: the model has no exp"),
        ({"ahead": 0.1}, {"ahead": None}, False, "ahead 0.1: the model has no module that pred"),
        ({"ahead": 0.1}, {}, True, "ahead 0.1: what it moves is frozen under LoRA"),
        ({"router_step": 0.1}, {}, True, "router-step 0.1: what it moves is frozen under LoRA"),
    ],
)
def test_a_weight_that_nothing_would_read_is_refused(flags, change, lora, named):
    with pytest.raises(UserError, match=rf"\A--train.auxiliary.{named}[^\n]*\Z"):
        AuxiliaryConfig(**flags).applied(replace(toy()[0], **change), lora)


def test_files_without_the_module_ahead_are_read_without_it(tmp_path, capsys):
    c, params = toy()
    without = {name: leaf for name, leaf in params.items() if name != "ahead"}
    hub.save(tmp_path, without, replace(c, ahead=None))
    raw = json.loads((tmp_path / "config.json").read_text())
    assert raw["num_nextn_predict_layers"] == 0
    (tmp_path / "config.json").write_text(json.dumps(raw | {"num_nextn_predict_layers": 1}))
    assert hub.read_config(tmp_path) == replace(c, ahead=None)
    assert "of the layer that predicts ahead the files hold nothing" in capsys.readouterr().err
    # With it copies of embedding and head lie there, as in DeepSeek's files.
    hub.save(tmp_path, params, c)
    stored = load_file(tmp_path / hub.SINGLE)
    assert hub.read_config(tmp_path) == c
    for whole, copy in (("model.embed_tokens", "embed_tokens"), ("lm_head", "shared_head.head")):
        again = stored.pop(f"model.layers.3.{copy}.weight")
        np.testing.assert_array_equal(again, stored[f"{whole}.weight"])
    odd = np.zeros((2, 2), np.float32)
    for tensors in (stored, {**stored, "model.layers.3.embed_tokens.weight": odd}):
        save_file(tensors, tmp_path / hub.SINGLE)  # without them, or with others: nothing is read
        assert identical(hub.load(tmp_path, c, mesh_of()), params)
