"""What docs/graders.md says around its tables."""

INTRODUCTION = """\
# Right answers right, wrong ones wrong

Written by `python -m experiments.pages.graders`; `tests/lab/test_graders_page.py` holds it to the
code.

Each line is a gold answer and what a model wrote. *Right* is the verdict of a careful examiner,
decided by mathematics: 1 gives the point. *Ours* is the accuracy reward of the whole text with the
defaults of a run, *math-verify* what `verify(parse(gold), parse(text))` gives on the same text with
its defaults; its golds stand in dollars as its README asks, and letters of a choice are read by its
`StringExtractionConfig`. A wrong verdict is **bold**: a false 1 teaches a trick, a false 0 punishes
what is right. Where the two differ, the page says who is right.

Ours were mended until they were right on the pairs of the page's own, so their score says only that
they stay so. The first run of the blind pairs, at the end, is the comparison. Fourteen later sets
were written as models write, the last six as public suites ask, each after what was wrong in the
one before had been mended; their first run gave 419 of 493, 288 of 319, 265 of 282, 110 of 127, 76
of 87, 308 of 335, 205 of 217, 170 of 181, 411 of 438, 244 of 279, 449 of 479, 308 of 335, 77 of 83
and 111 of 116 right (math-verify 316, 209, 197, 74, 62, 216, 103, 109, 299, 201, 373, 234, 46 and
89). Of the sets but the last four the page holds what was wrong, in the six groups before the last
four; of these four all but ten pairs, most of which only the question decides.

- Alternatives where one value is asked for are a guess, and wrong. A gold with several values wants
  all of them and no other, in any order; a point has an order, a set has none.
- What stands in the thought is a draft; an explicit final answer outranks an earlier box.
- A decimal stands for a fraction or a root only where it is exact. Units may be added or left out,
  never contradicted. A chain of equations has to hold, and so does an equality of numbers in the
  tag or sentence that holds the answer: `2+4=7, so 6` is wrong, a slip in earlier working is not.
- A bound is another answer than its number, but "she needs at least 17 coins" answers how many she
  needs; `5, 5` are two values, `17 \\ldots` is none. `> 17` is a bound too (only below other lines
  is it a quotation of Markdown), and says the gold `x>17`, as "greater than 17" does. "From 3 to 5"
  is no value, unless something rises from 3 to 5.
- What explains an answer that stands alone before it is no answer, unless it concludes otherwise;
  nor is an offer of more help, an aside in brackets, or "8 fails" behind the answer.
  "None are left" and "no student passed" count 0; "None" alone says nothing, nor does "See C."
- Letters that are compared (`B > C`), name something (C major) or are called wrong choose nothing.
- What is taken back does not count ("wait, no, it is 72"; struck out; a root called rejected), nor
  does a number beside "I cannot tell". The same words with another value each time are a guess.
- A pair may stand without its brackets, in its order: `-3, 3` is (-3, 3), though nobody can see
  whether an interval was meant. Digits without their base are decimal ones, and `m+n=601` states
  601 only where the question asks for m + n (the pairs have no question). The gold `m+n=601` is
  said by 601; `x+y=7`, which may be a line, is not said by 7. What was
  calculated is said: `a+b+c=5+4+2=11` is 11. An equation is no set of its roots.
- A question mark behind the only value is a tone: `seventeen?` is 17.

`⏎` stands for a line feed, `⟨U+…⟩` for a sign that cannot be seen.
"""

BLIND = """\
## Pairs written blind

Written before the graders were changed, by somebody who had not read them. The first run, before
anything was mended on them: {first} (false 1: {false_1}, false 0: {false_0}), math-verify {theirs}.
The column *first run* keeps its verdicts. Later verdicts are no longer blind.
"""
