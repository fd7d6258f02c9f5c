"""Makes the golden models of this folder with transformers and torch: python tests/golden/make.py.

Each folder is a random toy model (config.json, model.safetensors), expected.npz: tokens, the
logits transformers computes for them and a greedy continuation of each of two prompts, and
gradients.safetensors: the gradient of the mean loss over those tokens. rope.json holds rotary
frequencies and the factor of cosines and sines for each of SCALINGS.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file
from transformers.modeling_layers import MtpModel

MODELS: dict[str, tuple[str, dict[str, object]]] = {
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "llama": ("llama", {}),
    "llama_biased": ("llama", dict(attention_bias=True, mlp_bias=True)),
    "qwen2_windowed": (
        "qwen2",
        dict(
            use_sliding_window=True,
            sliding_window=6,
            num_hidden_layers=3,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
    ),
    "deepseek_v3": ("deepseek_v3", {}),
}
"""Folder -> family, and what its config says beside the shape."""
NAMES = {
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "llama": "Llama",
    "mistral": "Mistral",
    "seed_oss": "SeedOss",
    "deepseek_v3": "DeepseekV3",
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
SCALINGS: dict[str, dict[str, object]] = {
    "linear": {"rope_type": "linear", "factor": 2.5},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "llama3": LLAMA3,
    "yarn": YARN,
    "yarn_scaled": YARN
    | {"beta_fast": 20.0, "beta_slow": 0.5, "mscale": 0.9, "mscale_all_dim": 0.4},
    "yarn_equal": YARN | {"beta_fast": 1.0, "beta_slow": 1.0, "factor": 32.0},
    "yarn_whole": YARN | {"truncate": False, "attention_factor": 1.5},
}
"""What config.json says under rope_parameters beside the base."""
LENGTHS = (1, 32, 33, 100)
"""Lengths of a sequence, of a model made for 32 tokens: only dynamic frequencies depend on it."""

V3 = dict(
    num_hidden_layers=3, num_key_value_heads=4, q_lora_rank=12, kv_lora_rank=8,
    qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=5, head_dim=4, n_routed_experts=8,
    num_experts_per_tok=3, n_group=4, topk_group=2, moe_intermediate_size=12, n_shared_experts=2,
    first_k_dense_replace=1, routed_scaling_factor=1.7, rms_norm_eps=1e-3,
    num_mtp_layers=1,
    rope_parameters=YARN | {"rope_theta": 100.0, "mscale": 1.0, "mscale_all_dim": 0.8},
)  # fmt: skip
"""A DeepSeek-V3: a dense layer, then two with experts."""


def frequencies() -> dict[str, dict[str, object]]:
    """What each of SCALINGS says, and by length 8 frequencies, then the factor of the tables."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    found = {}
    for name, keys in SCALINGS.items():
        said = {"rope_theta": 1000.0, **keys}
        config = transformers.LlamaConfig(
            head_dim=16, max_position_embeddings=32, rope_parameters=dict(said)
        )
        run = ROPE_INIT_FUNCTIONS[said["rope_type"]]
        rows = {n: run(config, "cpu", seq_len=torch.tensor(n)) for n in LENGTHS}
        found[name] = {"said": said, "found": {n: [*f.tolist(), x] for n, (f, x) in rows.items()}}
    return found


def build(family: str, seed: int = 0, **changes: object) -> transformers.PreTrainedModel:
    """A random toy model of a family, its biases and norms moved off their neutral values."""
    rope = {"rope_theta": 10000.0, **(LLAMA3 if family == "llama" else {"rope_type": "default"})}
    shape = dict(
        vocab_size=61,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8 if family == "qwen3" else 4,
        max_position_embeddings=128,
        tie_word_embeddings=family == "qwen2",
        rope_parameters=rope,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    if family == "deepseek_v3":
        shape |= V3
    config = getattr(transformers, f"{NAMES[family]}Config")(**(shape | changes))
    torch.manual_seed(seed)
    model = getattr(transformers, f"{NAMES[family]}ForCausalLM")(config).eval()
    with torch.no_grad():
        moved = [b for name, b in model.named_buffers() if name.endswith("correction_bias")]
        for weight in (*model.parameters(), *moved):
            weight.add_(0.1 * torch.randn_like(weight))
    return model


@torch.no_grad()
def logits(model: transformers.PreTrainedModel, tokens: np.ndarray) -> np.ndarray:
    """f32[B, T, V] for i64[B, T]."""
    return model(torch.from_numpy(tokens)).logits.numpy()


def gradients(model: transformers.PreTrainedModel, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Gradient of the mean loss per token of i64[B, T], the first ones left out, by tensor name."""
    model.zero_grad()
    batch = torch.from_numpy(tokens)
    model(batch, labels=batch).loss.backward()
    return dict(_apart({name: weight.grad.numpy() for name, weight in model.named_parameters()}))


def _apart(tensors: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors by their names in files, where each expert has its own."""
    for name, x in tensors.items():
        where, _, kind = name.rpartition(".experts.")
        if not where:
            yield name, x
            continue
        halves = np.split(x, 2, axis=1) if kind == "gate_up_proj" else [x]
        parts = ("gate_proj", "up_proj") if kind == "gate_up_proj" else ("down_proj",)
        for part, of_all in zip(parts, halves, strict=True):
            for i, one in enumerate(of_all):
                yield f"{where}.experts.{i}.{part}.weight", np.ascontiguousarray(one)


def greedy(model: transformers.PreTrainedModel, prompt: np.ndarray, new: int) -> np.ndarray:
    """The `new` most likely tokens after a prompt i64[T], one after the other."""
    tokens = prompt
    for _ in range(new):
        tokens = np.append(tokens, logits(model, tokens[None])[0, -1].argmax())
    return tokens[len(prompt) :]


def further(
    model: transformers.PreTrainedModel, tokens: np.ndarray, seed: int = 1
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A random module that predicts ahead, by its names in files, and its logits f32[B, T - 1, V].

    Position i, of tokens up to i + 1, predicts token i + 2.
    """
    torch.manual_seed(seed)
    module = MtpModel(model, 1).eval()
    module.set_experts_implementation("eager")
    layer, given = module.layers[0], torch.from_numpy(tokens)
    with torch.no_grad():
        for weight in layer.parameters():  # which transformers leaves as the memory was
            weight.normal_(*((1.0, 0.1) if weight.ndim == 1 else (0.0, 0.3)))
        layer.mtp_block.mlp.gate.e_score_correction_bias.normal_(0, 0.1)
        hidden = model.model(given).last_hidden_state[:, :-1]
        positions = torch.arange(1, tokens.shape[1])[None]
        found = module.forward_layer(0, hidden, positions, None, input_ids=given[:, 1:])
        logits = model.lm_head(found).numpy()
    named = {name: weight.detach().numpy() for name, weight in layer.state_dict().items()}
    where = f"model.layers.{model.config.num_hidden_layers}."
    short = {"mtp_block.": "", "post_norm": "shared_head.norm"}
    weights = {}
    for name, x in _apart(named):
        for old, new in short.items():
            name = name.replace(old, new)
        weights[where + name] = x
    return weights, logits


def write_ahead(model: transformers.PreTrainedModel, tokens: np.ndarray, folder: Path) -> None:
    """Adds the module to a model's files and its logits to expected.npz."""
    weights, logits = further(model, tokens)
    file, expected = folder / "model.safetensors", folder / "expected.npz"
    save_file({**load_file(file), **weights}, file, metadata={"format": "pt"})
    np.savez_compressed(expected, **np.load(expected), further=logits)


def main(names: list[str]) -> None:
    """Writes rope.json and a folder for each model, or for those named."""
    rope = json.dumps(frequencies(), indent=1) + "\n"
    (Path(__file__).parent / "rope.json").write_text(rope)
    for name in names or MODELS:
        folder = Path(__file__).parent / name
        shutil.rmtree(folder, ignore_errors=True)
        family, own = MODELS[name]
        model = build(family, **own)
        model.save_pretrained(folder)
        tokens = np.random.default_rng(0).integers(0, 61, (2, 24))
        continuations = [greedy(model, row[:n], 64) for row, n in zip(tokens, (5, 9), strict=True)]
        np.savez_compressed(
            folder / "expected.npz",
            tokens=tokens,
            logits=logits(model, tokens),
            greedy=np.stack(continuations),
        )
        save_file(gradients(model, tokens), folder / "gradients.safetensors")
        if family == "deepseek_v3":
            write_ahead(model, tokens, folder)


if __name__ == "__main__":
    main(sys.argv[1:])
