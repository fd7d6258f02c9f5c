"""All claims by letter."""

from __future__ import annotations

from experiments.claims import (
    a_zero,
    b_majority,
    c_language,
    d_cold_start,
    e_stages,
    f_distillation,
    g_pass_at_k,
    h_hacking,
    i_length_cap,
    j_size,
    k_clipping,
)
from experiments.claims.claim import Claim

_ALL = (
    a_zero, b_majority, c_language, d_cold_start, e_stages, f_distillation, g_pass_at_k, h_hacking,
    i_length_cap, j_size, k_clipping,
)  # fmt: skip

CLAIMS: dict[str, Claim] = {module.CLAIM.letter: module.CLAIM for module in _ALL}
"""In the order of their letters."""
