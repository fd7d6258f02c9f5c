"""config.json: what cannot be read is named, and every config survives its file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import FAMILIES, tiny_config

from r1jax.errors import UserError
from r1jax.models.config import ModelConfig, to_hf
from r1jax.models.hub import directory as hub
from r1jax.models.hub.families import from_hf
from r1jax.models.rope import Dynamic, Linear, Llama3, Yarn

ONE_LINE = r"\A[^\n]*\Z"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "no config.json"),
        ("{", "not valid JSON"),
        ("[1]", "JSON object"),
        ('{"rms_norm_eps": 1e-6, "rms_norm_eps": 1e-5}', "has the key 'rms_norm_eps' twice"),
        ('{"model_type": "gpt2"}', "'gpt2' is not one of qwen2, qwen3, llama"),
        ('{"model_type": "llama"}', "'num_attention_heads' is missing"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_line(tmp_path, text, named):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=ONE_LINE) as caught:
        hub.read_config(tmp_path)
    assert named in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "'longrope'"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8}}, "'low_freq_factor' is missing"),
        ({"num_attention_heads": None}, "'num_attention_heads' is missing"),
    ],
)
def test_an_unsupported_variant_is_named(change, named):
    raw = to_hf(tiny_config("llama")) | change
    raw = {key: value for key, value in raw.items() if value is not None}
    with pytest.raises(UserError, match=ONE_LINE) as caught:
        from_hf(raw)
    assert named in str(caught.value)


def test_the_older_layout_of_rotary_scaling_is_read():
    raw = to_hf(tiny_config("llama"))
    nested = raw.pop("rope_parameters")
    theta = nested.pop("rope_theta")
    older = raw | {"rope_theta": theta, "rope_scaling": nested}
    assert from_hf(older) == tiny_config("llama")


@st.composite
def configs(draw):
    family = draw(st.sampled_from(FAMILIES))
    size, number = st.integers(1, 4096), st.floats(1e-6, 1e6)
    low, maybe = draw(st.floats(1e-3, 1e3)), st.none() | number
    scaling = draw(
        st.none()
        | st.builds(Linear, number)
        | st.builds(Dynamic, number)
        | st.builds(Llama3, number, st.just(low), st.floats(1.5, 8).map(low.__mul__), size)
        | st.builds(
            Yarn, number, size, st.none() | st.floats(2, 64), st.none() | st.floats(0.1, 2), maybe,
            maybe, maybe, st.booleans(),
        )
    )  # fmt: skip
    kv_heads, layers = draw(st.integers(1, 16)), draw(st.integers(1, 40))
    windowed = tuple(draw(st.lists(st.booleans(), min_size=layers, max_size=layers)))
    window = draw(size) if any(windowed) and family != "llama" else 0
    bias = family != "qwen2" and draw(st.booleans())
    return ModelConfig(
        family=family,
        **{k: draw(size) for k in ("d_model", "d_ff", "max_position")},
        vocab_size=10 + draw(size),
        n_layers=layers,
        head_dim=2 * draw(size),
        n_kv_heads=kv_heads,
        n_heads=kv_heads * draw(st.integers(1, 8)),
        rope_theta=1 + draw(number),
        rope_scaling=scaling,
        rms_eps=draw(st.floats(1e-12, 0.5)),
        attention_bias=family == "qwen2" or bias,
        output_bias=bias,
        ffn_bias=family == "llama" and draw(st.booleans()),
        window=window,
        windowed=windowed if window else (),
        qk_norm=family == "qwen3",
        tied=draw(st.booleans()),
        bos_id=draw(st.none() | st.integers(0, 9)),
        eos_ids=tuple(draw(st.lists(st.integers(0, 9), max_size=3))),
        init_std=draw(number),
    )


@given(configs())
@settings(max_examples=100, deadline=None)
def test_a_config_survives_its_file(config):
    assert from_hf(json.loads(json.dumps(to_hf(config)))) == config
