"""What docs/losses.md says before and behind its tables."""

from __future__ import annotations

INTRODUCTION = """\
# One batch, every dialect

Written by `python -m experiments.pages.losses`; `tests/lab/test_losses_page.py` holds it to the
code.

Libraries call different things GRPO. This page puts one small batch through each of them. All are
settings of one function, `r1jax.losses.grpo`, and flags under `--loss`. Two prompts, three
completions each; the lists run over the tokens of a completion:
"""

CLOSING = """\
## A critic in place of the group

With `--loss.advantage-baseline critic` advantages are PPO's: generalised advantage estimation over
the values of a second model, or of a head on the policy's own trunk (`--critic.tower shared`); its
settings are `--critic.*`. It begins at 0 everywhere, learns ½ max((V − R)², (clip(V) − R)²) before
each update of the policy, and `critic/explained_variance` says how much of the returns it foresees.
A reward stands at a completion's last token and the KL of `--loss.kl-as return` at each; after the
last token there is nothing more to come, for a truncated answer as well.

## A teacher

`--teacher.model` names a frozen model with the policy's tokens, `--teacher.parent` a checkpoint for
its weights; `--teacher.weight` times log π_T − log π_old is added to each token's advantage, after
any whitening. `python -m experiments.distill --on-policy` has no reward beside it:
on-policy distillation. `teacher/kl` is the mean of log π_old − log π_T, `operations/teacher` what
the teacher computes, beside the policy's `operations/rollout` and `operations/update`.

`--teacher.kind forward`, `jsd` or `reverse` adds the divergence of whole distributions, at every
token that the policy wrote, to the loss (GKD; `teacher/divergence`); `--teacher.top-k` tells the
teacher's likeliest tokens apart, all others as one. `jsd` is β KL(T‖M) + (1 − β) KL(π‖M) with M =
β T + (1 − β) π. `distill` on samples of others (without `--on-policy`) knows the same three. Where
the teacher gives 0.5 0.25 0.15 0.07 0.03 to five tokens and the policy 0.2 0.4 0.1 0.2 0.1:

DIVERGENCES

A teacher that does not fit here may be served: `--teacher.endpoint.base-url http://HOST:8000/v1
--teacher.endpoint.model NAME` (its key in the environment variable of
`--teacher.endpoint.key-variable`) asks `/v1/completions` for the log-probabilities of what the
policy wrote. Two answers are read, whichever the server gives at the start: vLLM's
`prompt_logprobs`, and `logprobs` of an echoed prompt (SGLang). llama.cpp's server gives neither and
is refused, and so is one that cuts a text into other tokens than the student. Prompts go there as
token ids, so that the server's own template plays no part; `--rollout.temperature` has to be 1 and
every token kept (no top-p or top-k), as servers score. `--teacher.kind jsd` (forward, reverse)
needs `--teacher.top-k` and a server that names so many likeliest tokens by their ids (vLLM:
`serve --max-logprobs`). A rollout is scored while the devices score it too,
`--teacher.endpoint.concurrency` completions at a time. A completion whose answer does not come, is
cut short, holds other tokens or no finite number is not learnt from the teacher: it is named in a
line and counted in `teacher/lost`; with more than `--teacher.endpoint.max-lost` of a rollout, or
where the server refuses all, the run ends in one line, after a checkpoint, and the same command
goes on. `lineage.json` holds address, model and what the server called itself at the start; of
other weights behind the same names nobody can know. What a served teacher computes is not counted
in `operations/teacher`, and one answer may hold 16 MiB.

`--teacher.shown policy` or `reference` needs no other model (SDPO, arXiv 2601.20802): the policy
as it stands, or its reference (with `--train.reference-every 1 --train.reference-rate 0.05` its
moving average), judges each answer behind a prompt that shows another one of the same group that is
right; answers without one teach nothing. `distill --on-policy --preset sdpo` has no reward beside
it: accuracy then only says which answers are right. `teacher/shown_frac` is the share of answers
that were judged so. With `cispo_cap` at 2 it is TRL's loss by sampled tokens, log π_T − log π taken
at the rollout.

The control that learns the policy's own samples as they are, right or wrong (SSD), is `python -m
experiments.gates.rejection_sft --unverified`.

## Rewards of tokens that outcomes teach

With `--prime.weight` above 0 advantages are PRIME's (arXiv 2502.01456). A second model φ begins as
the policy does and learns from right and wrong alone, by the cross-entropy of σ(β Σ q), where q is
log φ − log π_ref of a token and the reference stays as it is. A token earns q; that is compared
with the rest of its group (RLOO) and added up from the token to the end, beside RLOO of the
outcome, and the sum is whitened (`--loss.advantage-baseline others --loss.advantage-whiten`). As
long as φ is its reference nothing but RLOO is left. Two readings are published, each a `--preset`:

- **`prime`**, the authors' code: rewards are φ's before it learns from a completion
  (`--prime.update after`), at every token, and weigh as much as the outcome.
- **`prime-verl`**, verl's recipe: φ learns first and is asked again (`before`); a token earns β q,
  the last one nothing, and both returns count five times.

`--prime.norm batch` divides what tokens earn by the largest return of the rollout. `prime/dpo_acc`
is the share of a group's pairs of right and wrong that Σ q puts in order: before φ has learnt from
them under `after`, afterwards under `before`; `prime/accuracy` is of completions, always before.
`--rollout.accuracy-low 0.2 --rollout.accuracy-high 0.8` with `--rollout.max-rounds` is its filter.

## Not here

M2PO's threshold, and AReaL's approximation of π_prox without its own pass.
"""
