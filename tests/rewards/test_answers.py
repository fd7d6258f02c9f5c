"""The reading and comparison of final answers: pairs with their right verdict, and laws."""

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import accuracy, check_gold, grade
from r1jax.rewards.answers.extract import extract
from r1jax.rewards.answers.values import read
from r1jax.rewards.format import is_strict_format

# (gold, answer): what a careful examiner accepts.
RIGHT = [
    ("(2, 2), (6, 2)", "\\boxed{(2, 2)} \\quad \\text{and} \\quad \\boxed{(6, 2)}"),
    ("1,2", "$x=\\boxed{1}$ and $x=\\boxed{2}$"),
    ("\\boxed{1} papers and \\boxed{2} bins", "1, 2"),
    ("\\frac{1}{3}", "$\\frac13$"),
    ("0.5", "$\\frac12$"),
    ("918\\frac12", "918\\frac12"),
    ("918.5", "918\\frac12"),
    ("\\frac13", "\\cfrac{1}{3}"),
    ("\\sqrt{17}", "\\sqrt{17}"),
    ("10", "(9+1)"),
    ("7", "<think>first guess \\boxed{3}</think>The answer is 7."),
    ("7", "<think><answer>3</answer></think>The answer is 7."),
    ("10455", "So we get \\boxed{255} first. The final answer is $10,455$"),
    ("42", "#### 42\nI checked it in 3 ways."),
    ("42", "The final answer is 42. Let me verify with step 1."),
    ("73", "**73**"),
    ("73", "The answer is **73**"),
    ("73", "`73`"),
    ("42", "答案是42"),
    ("42", "共42个"),
    ("(1,2)", "（1，2）"),
    ("1", "x＝1"),
    ("5/4", "1 1/4"),
    ("\\frac54", "1 1/4"),
    ("\\infty", "∞"),
    ("x^2", "x²"),
    ("x^2", "x**2"),
    ("\\frac{\\pi}{2}", "pi/2"),
    ("10080", "10 080"),
    ("10080", "10,080"),
    ("1\\times10^6", "1e6"),
    ("1\\times 10^{6}", "1e6"),
    ("1000000", "1e6"),
    ("\\text{Tuesday}", "tuesday"),
    ("\\text{Tuesday}", "The answer is Tuesday."),
    ("10080", "10\u2009080"),
    ("10080", "10\u00a0080"),
    ("10080", "10{,}080"),
    ("10080", "10\\,080"),
    ("5", "2+3=5"),
    ("7", "x=7"),
    ("7", "x=3+4=7"),
    ("101_2", "101_{2}"),
    ("\\{1,2\\}", "\\{2,1\\}"),
    ("y=2x+1", "2x-y+1=0"),
    ("y=2x+1", "y=1+2x"),
    ("[1,2]", "1 \\le x \\le 2"),
    ("(-\\infty,3)", "x<3"),
    ("x<3", "(-\\infty,3)"),
    ("4", "\\fbox{4}"),
    ("4", "So it is \\boxed 4."),
    ("4", "\\boxed4"),
    (
        "x=\\frac12, x=\\frac{-1\\pm\\sqrt{13}}{4}",
        "x=\\frac12, x=\\frac{-1+\\sqrt{13}}{4}, x=\\frac{-1-\\sqrt{13}}{4}",
    ),
    ("x=\\frac12, x=\\frac{-1\\pm\\sqrt{13}}{4}", "x=\\frac{-1\\pm\\sqrt{13}}{4},\\frac12"),
    ("1/3", "0.333333"),
    ("0.333", "0.333"),
    ("0.5", "1/2"),
    ("5", "5 apples"),
    ("5\\text{ cm}", "5"),
    ("5", "5\\text{ cm}"),
    ("12", "$12"),
    ("12", "\\$12"),
    ("50%", "50"),
    ("0.5", "50%"),
    ("50", "50%"),
    ("90^\\circ", "90"),
    ("90", "90°"),
    ("90", "90 degrees"),
    ("x^2+2x+1", "(x+1)^2"),
    ("\\sqrt{8}", "2\\sqrt{2}"),
    ("2\\sqrt{3}", "The value is $2\\sqrt{3}$."),
    ("\\frac{\\pi}{2}", "\\pi/2"),
    ("\\text{Paris}", "Paris"),
    ("1,2", "2,1"),
    ("1,2", "\\{2, 1\\}"),
    ("1,2", "x=1 or x=2"),
    ("1,2", "x = 1, x = 2"),
    ("\\frac{1}{2}", "½"),
    ("3/2", "1½"),
    ("\\sqrt{3}", "√3"),
    ("2\\sqrt{3}", "2√3"),
    ("\\sqrt{x+1}", "√(x+1)"),
    ("7", "7, not 8"),
    ("7", "The answer is 7, not 8."),
    ("2,-2", "\\pm 2"),
    ("\\pm2", "2, -2"),
    ("x=\\pm 2", "x=2 or x=-2"),
    ("(-\\infty,1)\\cup(2,\\infty)", "x<1 or x>2"),
    ("(-\\infty,1)\\cup(2,\\infty)", "(2,\\infty)\\cup(-\\infty,1)"),
    ("3.14", "3,14"),
    ("1234", "1,234"),
    ("100,200", "100, 200"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"),
    ("\\frac{3}{4}", "0.75"),
    ("3/4", "$\\frac{3}{4}$"),
    ("x=5", "5"),
    ("5", "f(2)=5"),
    ("60", "\\angle ABC = 60^\\circ"),
    ("5", "AB=5"),
    ("42", "The answer is: 42"),
    ("42", "**Final Answer:** 42"),
    ("42", "**Answer**: $42$"),
    ("42", "## Final Answer\n\n42"),
    ("42", "最终答案：**42**"),
    ("42", "答案为42。"),
    ("42", "因此，答案是 $42$。"),
    ("42", "Therefore $6\\times 7=42$."),
    ("42", "So there are 42 apples."),
    ("42", "小明一共有42个苹果。"),
    ("42", "The final answer is $\\boxed{42}$. I hope it is correct."),
    ("42", "Final Answer: The final answer is $42$. I hope it is correct."),
    ("42", "\\[ \\boxed{42} \\]"),
    ("42", "$$x=42$$"),
    ("42", "\\(42\\)"),
    ("-5", "−5"),
    ("-5", "-5"),
    ("6.02*10^{23}", "6.02e23"),
    ("\\frac{x}{2}", "x/2"),
    ("\\frac{x}{2}", "0.5x"),
    ("2^{10}", "1024"),
    ("10!", "3628800"),
    ("\\binom{5}{2}", "10"),
    ("1:2", "1:2"),
    ("\\text{(B)}", "B"),
    ("B", "(B)"),
    ("\\text{yes}", "Yes"),
    ("\\text{even}", "Even."),
    ("\\emptyset", "∅"),
    ("\\frac12", "\\frac{2}{4}"),
    ("25\\%", "25\\%"),
    ("1/4", "25%"),
    ("x^2+y^2=1", "x^2+y^2-1=0"),
    ("x=5", "5=x"),
    ("2x+4y=6", "x+2y=3"),
    ("3+4i", "4i+3"),
    ("e^{i\\pi}", "-1"),
    ("10 cm^2", "10"),
    ("10", "10 cm^2"),
    ("10", "10\\text{ cm}^2"),
    ("3", "The answer is $\\sqrt{9}$"),
    ("7", "answer: 7"),
    ("5,6", "5 and 6"),
    ("5,6", "The answers are $5$ and $6$."),
    ("\\{1,2,3\\}", "{1,2,3}"),
    ("0", "0"),
    ("0.1", "1/10"),
    (".5", "0.5"),
    ("1", "1."),
    ("2", "2.0"),
    ("12", "012"),
    ("2/3", "$2/3$ of the cake"),
    ("18", "He pays $18 in total."),
    ("18", "Total: 18 dollars"),
    ("7 hours", "7 hours"),
    ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}"),
    ("2", "$\\log_2 4$"),
    ("\\log_2 3", "\\frac{\\ln 3}{\\ln 2}"),
    ("\\sin^2 x", "1-\\cos^2 x"),
    ("x \\in [1,2]", "[1,2]"),
    ("[1,2]", "x\\in[1,2]"),
    ("abc", "cba"),
    ("12.5", "12.5\\%"),
    ("\\text{odd}", "Odd"),
    ("\\mathbb{R}", "$(-\\infty,\\infty)$"),
    ("5", "$$\\begin{aligned} x &= 2+3 \\\\ &= 5 \\end{aligned}$$"),
    ("\\begin{cases} x=1\\\\ y=2\\end{cases}", "x=1,y=2"),
    ("\\emptyset", "\\{\\}"),
    ("\\log 100", "2"),
    ("{10 \\choose 3}", "120"),
    ("p \\approx 0.67", "0.67"),
    ("0.\\overline{3}", "1/3"),
    ("3 \\times 10^8", "$3\\times 10^8$ m/s"),
    ("\\tan^{-1} 1", "\\frac{\\pi}{4}"),
    ("6", "$S_{\\triangle ABC}=6$"),
    ("6", "3 x 2 = 6"),
    ("6", "\\boxed{\\{6\\}}"),
    ("2", "So, x=2 (since x>0)."),
    ("-1<x<3", "x\\in(-1,3)"),
    ("4", "€4"),
    ("30", "30 ℃"),
    ("\\text{Yes}", "Yes, because it is."),
    ("\\text{no solution}", "There is no solution."),
    ("AB=5", "5"),
    ("11", "eleven"),
    ("5", "five"),
]

WRONG = [
    ("3", "3.0000001"),
    ("7", "\\boxed{7} or 8"),
    ("7", "8 or \\boxed{7}"),
    ("4", "4 (or 5)"),
    ("3", "3i"),
    ("2^{100}", "1267650600228229401496703205377"),
    ("2", "$x=\\boxed{1}$ and $x=\\boxed{2}$"),
    ("\\boxed{1} papers and \\boxed{2} bins", "2"),
    ("7", "$8$, $7$"),
    ("7", "$5$ or $7$"),
    ("7", "$5$ $6$ $7$"),
    ("7", "8, $7$"),
    ("7", "5或7"),
    ("5", "5或3"),
    ("2", "$\\frac{1+\\sqrt{5}}{2}$"),
    ("3", "$2\\sqrt{3}$"),
    ("3", "$x^2+3$"),
    ("7", "$\\sqrt{7}$"),
    ("1", "$-[0,1)$"),
    ("3", "<think>first guess \\boxed{3}</think>The answer is 7."),
    ("3", "<think><answer>3</answer></think>The answer is 7."),
    ("255", "So we get \\boxed{255} first. The final answer is $10,455$"),
    ("3", "#### 42\nI checked it in 3 ways."),
    ("\\text{Tuesday}", "The answer is Monday."),
    ("12", "5=12"),
    ("7", "5=6=7"),
    ("7", "x+y=7"),
    ("0", "1=0"),
    ("101_2", "101_3"),
    ("101_2", "101"),
    ("\\{1,2\\}", "(2,1)"),
    ("y=2x+1", "2x+1"),
    ("(-\\infty,3)", "x\\le3"),
    ("[1,2]", "(1,2)"),
    ("1/3", "0.333"),
    ("\\sqrt2", "1.414"),
    ("5 cm", "5 m"),
    ("42", "42 + tax"),
    ("3", "3x+4"),
    ("x+3", "3"),
    ("5", "x=5 or x=6"),
    ("42", "41, 42"),
    ("[1,2]", "[1,2)"),
    ("\\frac{1}{2}", "\\frac{1}{"),
    ("(1,2)", "(2,1)"),
    ("7", "I got 7 but it could be 8"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{bmatrix}1\\\\3\\end{bmatrix}"),
    ("x=5", "y=5"),
    ("5", "-5"),
    ("7", "The answer is not 7"),
    ("1000", "1 km"),
    ("6", "The answers are $5$ and $6$."),
    ("0", "1e-9"),
    ("0.0000001", "0.0000002"),
    ("7", "Let x=7. Then 8."),
]


def verdict(gold: str, text: str, policy: str = "auto", grader: str = "math") -> float:
    problem = Problem("p", "?", gold, grader)
    (value,) = accuracy(policy)([problem], [Completion.parse(text)], RewardContext())
    return value


@pytest.mark.parametrize(("gold", "text"), RIGHT)
def test_a_right_answer_is_right_inside_tags_and_out(gold, text):
    assert verdict(gold, text) == 1.0
    if "<think>" not in text:
        tagged = f"<think>w</think><answer> {text} </answer>"
        assert verdict(gold, tagged) == verdict(gold, tagged, "answer_tag") == 1.0


@pytest.mark.parametrize(("gold", "text"), WRONG)
def test_a_wrong_answer_is_wrong_inside_tags_and_out(gold, text):
    assert verdict(gold, text) == 0.0
    if "<think>" not in text:
        tagged = f"<think>w</think><answer> {text} </answer>"
        assert verdict(gold, tagged) == verdict(gold, tagged, "answer_tag") == 0.0


GOLDS = [
    "42", "-5", "0.5", "\\frac{1}{2}", "\\sqrt{17}", "2\\sqrt{3}", "x^2+2x+1", "10,455",
    "918\\frac12",
    "1.5\\times10^{6}", "(1,2)", "[1,2)", "\\{1,2,3\\}", "1,2", "(-\\infty,1)\\cup(2,\\infty)",
    "x=5", "y=2x+1", "x^2+y^2=1", "1\\le x\\le2", "x>3", "101_2", "\\pi/2", "50\\%", "90^\\circ",
    "5\\text{ cm}", "\\text{Tuesday}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\infty",
    "3+4i", "\\frac{a+b}{2}", "\\log_2 3", "x=\\frac12, x=\\frac{-1\\pm\\sqrt{13}}{4}", 
    "\\emptyset",
    "\\binom{5}{2}", "$7!$", "e^{-x}", "(2,2),(6,2)", "3:4", "1\\frac{3}{4}", "-\\frac{7}{3}",
    "\\boxed{1} papers and \\boxed{2} bins", "\\fbox{4}", "12平方厘米", "x=3或x=-1",
]  # fmt: skip
WRAPPINGS = [
    "{}", "${}$", "\\({}\\)", "$${}$$", "\\[{}\\]", "\\boxed{{{}}}", "\\fbox{{{}}}",
    "$\\boxed{{{}}}$", "**{}**", "The answer is {}", "The answer is **{}**.",
    "The final answer is ${}$. I hope it is correct.", "答案是{}。", "最终答案：${}$",
    "**Answer:** ${}$", "## Final Answer\n\n${}$", "So we are done.\n\n#### {}",
    "It follows that\n\\[\\boxed{{{}}}\\]\nas was to be shown.",
    "### **{}**", "- **{}**", "** {} **", "~~99~~ {}", "> The answer is {}", "```\n{}\n```",
    "The answer is {}, I believe.", "I said 99. Wait, no, the answer is {}.",
    "\\boxed{{99}}\n\nOops, I made a mistake. The answer is \\boxed{{{}}}.",
]  # fmt: skip


def wrapped(wrapping: str, answer: str) -> str:
    return wrapping.format(answer)


@pytest.mark.parametrize("gold", GOLDS)
def test_a_gold_that_is_accepted_equals_itself_in_every_wrapping(gold):
    assert check_gold(Problem("p", "?", gold)) is None
    for wrapping in WRAPPINGS:
        if wrapping != "{}" and ("box" in gold or "$" in gold):
            continue
        text = wrapped(wrapping, gold)
        assert verdict(gold, text) == 1.0, text
        assert verdict(gold, f"<think>w</think><answer>{text}</answer>", "answer_tag") == 1.0, text


SINGLE = ["42", "-5", "\\frac{1}{2}", "\\sqrt{17}", "2\\sqrt{3}", "x^2+1", "(1,2)", "[1,2)", "0.25"]
JOINS = ["{} or {}", "${}$ or ${}$", "${}$, ${}$", "\\boxed{{{}}} or \\boxed{{{}}}", "${}$ ${}$",
         "\\boxed{{{}}}, \\boxed{{{}}}", "{}或{}", "The answer is {} or {}.", "答案是{}或{}。",
         "${}$ or perhaps ${}$", "\\boxed{{{}}} \\boxed{{{}}}"]  # fmt: skip


@given(st.sampled_from(SINGLE), st.sampled_from(SINGLE), st.sampled_from(JOINS), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_right_answer_beside_a_wrong_one_is_a_guess(gold, other, join, first):
    assume(gold != other)
    pair = (gold, other) if first else (other, gold)
    assert verdict(gold, join.format(*pair)) == 0.0


@given(st.sampled_from(GOLDS[:-3]), st.text("abcxyz ,.!?*$\\\\{}()答案是的和<>=", max_size=40))
@settings(max_examples=60, deadline=None)
def test_junk_earns_nothing_and_raises_nothing(gold, junk):
    assert verdict(gold, junk) == 0.0


@given(st.sampled_from(GOLDS), st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_no_text_raises(gold, text):
    read(text)
    assert verdict(gold, text) in (0.0, 1.0)


@given(st.integers(-(10**9), 10**9), st.sampled_from(WRAPPINGS), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_wrapping_never_changes_the_verdict_of_a_number(n, wrapping, off):
    for grader in ("math", "number"):
        assert verdict(str(n), wrapped(wrapping, f"{n:,}"), grader=grader) == 1.0
        assert verdict(str(n), wrapped(wrapping, str(n + off)), grader=grader) == 0.0


CHOICES = [
    # gold, text, right
    ("B", "The answer is B. A triangle has three sides.", 1),
    ("A", "The answer is B. A triangle has three sides.", 0),
    ("C", "The answer is C, I think.", 1),
    ("I", "The answer is C, I think.", 0),
    ("C", "C because of Newton's law F = ma", 1),
    ("F", "C because of Newton's law F = ma", 0),
    ("C", "The correct option is C. A common mistake is B.", 1),
    ("B", "The correct option is C. A common mistake is B.", 0),
    ("D", "D. it can't be A or B", 1),
    ("D", "Answer: D\n\nExplanation: A and B ignore friction.", 1),
    ("B", "故选B。A项错误，因为速度不变。", 1),
    ("C", "正确答案是C，而不是D。", 1),
    ("A", "The answer is not A.", 0),
    ("B", "Either (A) or (B).", 0),
    ("D", "d", 1),
    ("B", "**B**", 1),
    ("B", "The answer is A or B.", 0),
    ("C", "\\boxed{\\text{(C)}}", 1),
]


@pytest.mark.parametrize(("gold", "text", "right"), CHOICES)
def test_choices(gold, text, right):
    assert verdict(gold, text, grader="choice") == right
    tagged = f"<think>A?</think><answer>{text}</answer>"
    assert verdict(gold, tagged, "answer_tag", "choice") == right


THOUGHTS = [
    # text, what auto reads for a gold 7
    ("<think>\\boxed{3}</think>The answer is 7.", "7"),
    ("<think><answer>3</answer></think>The answer is 7.", "7"),
    ("guess \\boxed{3}</think>It is $7$.", "7"),
    ("<think>a</think>b<think>\\boxed{3}</think>It is $7$.", "7"),
    ("<think>The answer is \\boxed{7}.", None),
    ("<think>w <answer>7</answer>", "7"),
    ("It is 7", "7"),
]


@pytest.mark.parametrize(("text", "found"), THOUGHTS)
def test_only_what_follows_the_thought_counts(text, found):
    answer = extract(text, "auto", Problem("p", "?", "7"))
    assert (None if answer is None else grade(Problem("p", "?", "7"), answer)) == (
        None if found is None else 1.0
    )


def test_what_cannot_be_seen_is_no_thought():
    for unseen in ("\u200b", "\u2060\ufeff", "\u3164", " \n"):
        assert not is_strict_format(f"<think>{unseen}</think><answer>7</answer>")
        assert not is_strict_format(f"<think>w</think><answer>{unseen}</answer>")
    assert is_strict_format("<think>w</think><answer>7</answer>")


_DIGITS = st.integers(1, 99)


@given(shape=st.sampled_from(["\\frac{%d}{%d}", "%d^{%d}", "%d\\sqrt{%d}", "\\frac{%d}{x^{%d}}"]),
       gold=st.tuples(_DIGITS, _DIGITS), cut=st.integers(1, 3))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_digits_do_not_move_between_braces(shape, gold, cut):
    digits = f"{gold[0]}{gold[1]}"
    assume(cut < len(digits) and digits[cut] != "0")
    moved = (int(digits[:cut]), int(digits[cut:]))
    assume(moved != gold and _worth(shape, *moved) != _worth(shape, *gold))
    problem = Problem("p", "", shape % gold, grader="math")
    assert grade(problem, shape % gold) == 1.0
    assert grade(problem, shape % moved) == 0.0


def _worth(shape: str, a: int, b: int) -> object:
    """What tells two formulas of one shape apart."""
    if "\\sqrt" in shape:
        return a * a * b
    if "x" in shape:
        return a, b
    return Fraction(a, b) if "frac" in shape else a**b
