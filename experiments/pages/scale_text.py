"""The words of docs/scale.md."""

INTRODUCTION = """\
# At scale: predicted, not measured

Nothing on this page has been run. `python -m experiments.pages.scale` writes it from formulas
(`experiments/plan`), whose constants were set on one H200 with models of up to 7B; prices, lengths
and numbers of devices are its flags. For one model on one set of devices `python -m
experiments.plan` says more: what holds memory, operations, bytes and collectives of every program,
and for TPUs what the very functions take when they are compiled for them without one.
"""

ASSUMED = """\
- R1-Zero's numbers are the paper's: {updates:,} updates of {completions} completions, rollouts
  of {of_a_rollout} updates, {group} completions of a prompt, at most {longest:,} tokens. Its mean
  length is not given: {tokens:,} tokens are assumed over the run, and {prompt} of a prompt.
- An update is its share of a rollout, two passes that score (the policy before the rollout's
  updates, the reference) and learning; these follow one another. A rollout takes what its tokens
  take, or its longest completion alone, whichever is more. Judging and evaluation take nothing.
- Weights, AdamW's moments, gradients and the reference are float32, arithmetic bfloat16,
  recomputation full, rows as long as the longest completion, one on each device that rows are
  spread over. *Supervised* is cold start, general SFT and distillation of that model; *sampling* is
  rejection sampling; *general RL* holds two reward models of the policy's size.
- Caches have room for 8,192 tokens in a slot in the mean (`--rollout.cache-tokens`); slots, at most
  256 to a copy of the model, are as many as fit.
- Completions of mixed lengths are written at 0.66 of the rate of equal ones, as measured on a list
  of requests; rows are filled to 95 %.
- **What the code does not have**: where `--mesh.tensor` cuts the model, weights of rollouts laid
  out by rules of their own (today a decode step gathers what `--mesh.fsdp` has cut).
- Attention is fused: splash on TPUs, which no TPU has run, cuDNN's on GPUs. V3's values are filled
  up to the width of its keys there, which the formula does not count.
- Every chip reaches the shares of its data sheet that an H200 reached: 73.5 % of its products, 85 %
  of its memory's rate. Collectives are hidden behind nothing: 100 GB/s on a v5e, 200 on v5p and v6e
  (one axis of the torus), 450 between eight H200 of a host and 50 beyond it.
- A mixture of experts is counted with all its experts over all tokens where no axis of the mesh
  spreads them, as the code does on TPUs; on H100 and H200 in 16 bits it computes less, by kernels
  that the formula does not know. Spread, twice the even share.
- Prices are examples, dollars per chip and hour: {prices}.
- No device fails, nothing is compiled, nothing is saved. The paper's R1-Zero took about 198 hours
  on 512 H800: other chips, other code, and lengths that it does not give.
"""

COMPILING = """\
What libtpu says of the functions that training and rollouts run, from abstract weights: DeepSeek-V3
on 512 chips, `python -m experiments.plan --quick --topology v5p:8x8x8 --mesh.fsdp 16 --mesh.expert
32`, a few `--programs` at a time, on a share of two CPU cores
({versions}, {date}). GiB of a chip, which has 95.7, and of what
collectives give it. A plan keeps each program as it is found, and goes on there.
"""

COMPILED_ALSO = """
**It does not fit as it is**: making the rollouts' weights (`prepare`) of all layers in one program
was refused, for 100.8 GiB of temporaries. Of 3 and 9 layers it had 0.9 and 3.5 beside what it made:
what is gathered of a layer waits for others. One program for each layer, which the code does not
have, should do without. And the decode step of 4,096 slots with 4,096 tokens takes 75.0 GiB where
training holds 21.1: 0.4 too much, with fewer slots not.

Tracing and lowering take 2 seconds of a program, all else is the compiler's. Training's layers are
scanned, so that 61 take it no longer than 2. Prefills and decode steps have theirs side by side: of
2, 3 and 5 layers (`--model` with such a config.json) and of all 61 the first decode step took 10,
12, 17 and 109 CPU seconds, with peaks of 5.8, 6.9, 9.2 and 73.3 GiB. Without `--quick` that of 2
took 17. **Not compiled**, and predicted by formula alone: prefills of 256, 384 and 512 tokens.
"""

MISSED = """\
Updates in milliseconds, rollouts in tokens per second, from `docs/results.md`. The constants were
set by looking at traces of the first update and the first rollout, and for attention at the row of
32,768 tokens. One case is far off: after prompts of 30,720 tokens the formula reads a group's
prompt once, where the measured rate is nearer to reading it again for each of the 16 samples. No
TPU, no network between hosts and no update of a mixture of experts has been measured.
"""
