"""What the page of the claims says before its tables."""

HEAD = """\
# The paper's claims in miniature

What *DeepSeek-R1* (arXiv 2501.12948) and its readers claim, tried on the embedded world: models of
0.4 to 7 million parameters, three families of problems, two languages. A verdict speaks of this
world alone; where it differs from the paper's, that is a finding about small bases as much as about
the claim. Lines, signs, smallest effects, conditions and statistics stood in `experiments/claims/`
before the first run of this campaign. Written by `python -m experiments.claims.page` from
`docs/claims/figures.jsonl`, which has a line for each run.

**Units.** Five bases, independently trained for this (`experiments/claims/bases.py`: other seeds of
corpus and weights than the package's), each with two seeds or more. What a line says is taken
within a pair of base and seed, averaged over the seeds of a base (or their median, where the claim
says so), and estimated over bases by Student's t with four degrees of freedom. Where all bases were
judged problem by problem on the same problems (marked \\*), these are drawn as well: the variance
is V(bases) + V(problems) - V(rest), of the means by base, of the means by problem and of what
neither explains, never less than the larger of the first two, with Satterthwaite's degrees of
freedom (`experiments/gates/verdicts.py`). A few claims have one base, whose units are seeds; they
say so.

**Lines.** A claim has one primary line, or two or three (claim l: six) that share the level of 5 %
by Holm; *level* is that of the interval shown. Everything else stands beside, with a 95 % interval
and without a verdict.

- *supported*: the interval excludes the null on the claimed side, and the mean reaches the
  smallest effect that counts (a bound is both at once);
- *smaller than claimed*: it excludes the null, but the mean falls short of that effect, or the
  whole interval does;
- *of the other sign*: it excludes the null on the other side (of a bound: it lies beyond it);
- *larger than claimed* (of two things claimed to be alike): the interval lies beyond the margin;
- *inconclusive*: anything else;
- *not tested because* runs are missing, an arm diverged (its numbers were not finite), a condition
  does not hold, or the arm compared with leaves no room for the effect.

**Rates.** Every arm that learns chooses its peak rate from 3e-5, 1e-4, 3e-4 and 1e-3 by pass@1 on a
selection set: a sixth base, seeds 90 and 91, 128 problems behind the 256 held-out ones. Where it is
otherwise (e, h, t and the random reward), the claim says so.

The bases lie in `runs/claims_bases`; they and `docs/claims/figures.jsonl` are all that a further
call needs. Any of the commands below goes on where it stood, and several letters may follow
`--only`."""

UNDECLARED = """\
## Claims without a file yet

(n) process rewards: segmentation, label bias, hacking; (o) search: o1 search beside best-of-N at
equal tokens, the policy without search, iterated search beside rejection sampling; (q) accuracy
rises with the thought budget. **Not tested because** their runs are not planned here; nearest to
them are `docs/process_rewards.md`, `docs/search.md` and, on a real model, the budgets of
`docs/real_model.md`. From (a) to (m) and (p) all have a file and a command above."""

FIRST = """\
## The first campaign

Two bases, five seeds on each, 2026-11-22, NVIDIA H200, jax 0.11.2. Its verdicts took the ten pairs
for ten independent units, did not draw the problems, had 36 deciding lines without a correction,
and chose some rates on the problems that were reported. They are withdrawn; the means stand here
with what can be said of them. No verdict above rests on them."""
