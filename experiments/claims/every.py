"""All claims by letter, in the order in which they are run where time runs short."""

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
    l_methods,
    m_instruct,
    n_process,
    o_search,
    p_policy,
    q_budget,
    random_reward,
    t_tinyzero,
)
from experiments.claims.claim import Claim

_ALL = (
    random_reward, g_pass_at_k, f_distillation, a_zero, d_cold_start, e_stages, b_majority,
    c_language, h_hacking, i_length_cap, j_size, k_clipping, l_methods, m_instruct,
    n_process, o_search, p_policy, q_budget, t_tinyzero,
)  # fmt: skip

CLAIMS: dict[str, Claim] = {module.CLAIM.letter: module.CLAIM for module in _ALL}
