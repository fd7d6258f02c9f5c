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
says so), and estimated over bases by Student's t with one degree of freedom less than there are
bases. Where all bases were judged problem by problem on the same problems (marked \\*), these are
drawn as well: the variance is V(bases) + V(problems) - V(rest), of the means by base, of the means
by problem and of what neither explains, never less than the larger of the first two, with
Satterthwaite's degrees of freedom (`experiments/gates/verdicts.py`). Such an interval may miss
somewhat more often than it says: of five bases with 256 problems, drawn with standard deviations of
4 points between bases, 25 between problems and 25 for the rest, 95 % intervals missed in 5.8 % of
8,000 draws. A few claims have one base, whose units are seeds (claim t: eight, seven degrees of
freedom); they say so.

**Evidence.** A line of figures counts where it was made with these very flags: it keeps a digest of
its run's and of those of the runs behind it (base, parent, data).

**Lines.** A claim has one primary line, or two or three that share the level of 5 % by Holm;
*level* is that of the interval shown, and after the first line that fails it is the level that
failed. Claim l has six lines and one verdict: *supported* if all six 90 % intervals lie within the
margin, *contradicted* if one 95 % interval (Holm over six) lies beyond it. That verdict is wrong in
5 % at most, either way; a single line's word *alike* is at 5 % by itself, without Holm. Everything
else stands beside, with a 95 % interval and without a verdict.

- *supported*: the interval excludes the null on the claimed side, and the mean reaches the
  smallest effect that counts (a bound is both at once);
- *smaller than claimed* (not of a bound): it excludes the null, but the mean falls short of that
  effect, or the whole interval does;
- *of the other sign*: it excludes the null on the other side (of a bound: it lies beyond it);
- *alike* (of two things claimed to be): the 90 % interval, which is shown, lies within the margin;
- *larger than claimed* (of the same): the interval lies beyond the margin;
- *inconclusive*: anything else;
- *not tested because* runs are missing, an arm diverged (its numbers were not finite; with every
  rate, where none is left to be compared), its arms were judged on different problems, a condition
  does not hold or is not known for all pairs, or the arm compared with leaves no room for the
  effect.

**Rates.** Every arm that learns chooses its peak rate from 3e-5, 1e-4, 3e-4 and 1e-3 by pass@1 on a
selection set: a sixth base, seeds 90 and 91, 128 problems behind the 256 held-out ones. Where it is
otherwise (e, h, n, t and the random reward), the claim says so.

The bases lie in `runs/claims_bases`; they and `docs/claims/figures.jsonl` are all that a further
call needs. Any of the commands below goes on where it stood, and several letters may follow
`--only`."""

FIRST = """\
## The first campaign

Two bases, five seeds on each, 2026-11-22, NVIDIA H200, jax 0.11.2. Its verdicts took the ten pairs
for ten independent units, did not draw the problems, had 36 deciding lines without a correction,
and chose some rates on the problems that were reported. They are withdrawn; the means stand here
with what can be said of them. No verdict above rests on them."""
