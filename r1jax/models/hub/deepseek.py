"""DeepSeek-V3's keys of a config.json: latent attention and experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1jax.errors import UserError
from r1jax.models.config import Ahead, Experts, Latent, ModelConfig
from r1jax.models.hub.keys import flag, number, refuse, shown, whole
from r1jax.models.row import Row
from r1jax.models.table import table

AHEAD = ("num_nextn_predict_layers", "num_mtp_layers")
COPIES = ("embed_tokens", "shared_head.head")
"""What DeepSeek's files repeat within the layer that predicts ahead."""
READS = ("kv_lora_rank", "n_routed_experts", "num_local_experts", "quantization_config")
"""Keys that Llama-shaped decoders must not have."""


def fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    """`latent`, `experts`, `dense_layers`, `ahead` and `head_dim` of a ModelConfig.

    Defaults are those of transformers. Raises UserError for another arithmetic.
    """
    refuse(
        raw, scoring_func=(None, "sigmoid"), topk_method=(None, "noaux_tc"),
        moe_layer_freq=(None, 1), mlp_bias=(None, False),
    )  # fmt: skip
    rotated = number(raw, "qk_rope_head_dim", int, 64)
    latent = Latent(
        # Absent it is 1,536; null says that queries have no latent.
        q_rank=_q_rank(raw),
        kv_rank=number(raw, "kv_lora_rank", int, 512),
        nope=number(raw, "qk_nope_head_dim", int, 128),
        value=number(raw, "v_head_dim", int, 128),
        interleaved=flag(raw, "rope_interleave", True),
    )
    heads = number(raw, "num_attention_heads", int)
    refuse(
        raw, head_dim=(None, rotated), qk_head_dim=(None, latent.nope + rotated),
        num_key_value_heads=(None, heads),
    )  # fmt: skip
    layers = number(raw, "num_hidden_layers", int)
    first = whole(raw, "first_k_dense_replace", 3)
    if first > layers:
        raise UserError(f"first_k_dense_replace is {first}; there are {layers} layers")
    experts = _experts(raw)
    _fp8(raw.get("quantization_config"))
    further = _further(raw)
    return dict(latent=latent, experts=experts, dense_layers=first, ahead=further, head_dim=rotated)


def copies(c: ModelConfig) -> dict[str, Row]:
    """Embedding and head under the names they also have where there is a layer ahead."""
    if c.ahead is None:
        return {}
    rows = table(c)
    embed = rows["embed"]
    # The head of a tied model is the embedding, in files as well.
    own = embed, embed if c.tied else rows["head"]
    names = (f"model.layers.{c.n_layers}.{name}.weight" for name in COPIES)
    return dict(zip(names, own, strict=True))


def _further(raw: Mapping[str, Any]) -> Ahead | None:
    """The module that predicts further; `hub.directory` leaves it out where files have none."""
    said = {whole(raw, key, 1) for key in AHEAD if raw.get(key) is not None}
    if len(said) > 1 or any(n > 1 for n in said):
        raise UserError(f"{AHEAD[0]} is {max(said)}; 0 or 1 modules that predict ahead are read")
    return Ahead() if said != {0} else None


def _q_rank(raw: Mapping[str, Any]) -> int:
    rank = raw.get("q_lora_rank", 1536)
    return 0 if rank is None else whole({"q_lora_rank": rank}, "q_lora_rank", 0)


def _experts(raw: Mapping[str, Any]) -> Experts:
    found = {key: raw.get(key) for key in ("n_routed_experts", "num_local_experts")}
    said = {value for value in found.values() if value is not None}
    if len(said) > 1:
        raise UserError(f"num_local_experts {found['num_local_experts']} is not n_routed_experts")
    count = number({"n_routed_experts": said.pop() if said else 256}, "n_routed_experts", int)
    groups, kept = number(raw, "n_group", int, 8), number(raw, "topk_group", int, 4)
    chosen = number(raw, "num_experts_per_tok", int, 8)
    if count % groups or count < 2 * groups:
        raise UserError(f"n_routed_experts {count} does not make {groups} groups of 2 or more")
    if kept > groups:
        raise UserError(f"topk_group is {kept}; there are {groups} groups (n_group)")
    if chosen > count // groups * kept:
        raise UserError(
            f"num_experts_per_tok is {chosen}; topk_group leaves {count // groups * kept} experts"
        )
    return Experts(
        count=count,
        chosen=chosen,
        width=number(raw, "moe_intermediate_size", int, 2048),
        shared=number(raw, "n_shared_experts", int, 1),
        groups=groups,
        groups_kept=kept,
        scale=number(raw, "routed_scaling_factor", float, 2.5),
        normed=flag(raw, "norm_topk_prob", True),
    )


def _fp8(said: Any) -> None:
    """UserError unless weights are plain, or FP8 with scales of blocks, as DeepSeek's files are."""
    if said is None:
        return
    if not isinstance(said, Mapping) or said.get("quant_method") != "fp8":
        raise UserError(f"quantization_config {shown(said)} is not supported; only fp8 is")
    refuse(said, fmt=(None, "e4m3"), weight_block_size=([128, 128],), scale_fmt=(None, "ue8m0"))
