"""IFEval's 25 instructions: for each kind a reply that follows it and replies that do not."""

import time

import pytest

from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rewards import check_gold, extract, grade
from r1jax.rewards.answers.instructions import KINDS, LANGUAGE, followed, sentences


def of(name, **arguments):
    data = {"instruction_id_list": [name], "kwargs": [arguments | {"unused": None}]}
    return Problem("p", "q", name, "ifeval", data)


EN = "the weather is lovely today and we are going to the park with our friends"
CASES = [
    ("keywords:existence", {"keywords": ["Cat", "dog"]}, "cat and DOG", ["cat alone"]),
    ("keywords:frequency", {"keyword": "a.b", "frequency": 2, "relation": "at least"},
     "a.b A.B", ["a.b axb"]),
    ("keywords:frequency", {"keyword": "x", "frequency": 2, "relation": "less than"}, "x", ["xx"]),
    ("keywords:forbidden_words", {"forbidden_words": ["no"]}, "know nothing", ["No."]),
    ("keywords:letter_frequency", {"letter": "Q", "let_frequency": 2, "let_relation": "at least"},
     "quick Q", ["quick"]),
    ("language:response_language", {"language": "de"},
     "Das Wetter ist heute sehr schön und wir gehen spazieren.", [EN]),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"},
     "One. Two! Three?", ["One. Two!", "Dr. A. Smith went."]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2},
     "one\n***\ntwo", ["one\n\ntwo", "one *** *** two", "a *** b *** c"]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 1}, "***\none\n***", ["a *** b"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"},
     "two words", ["three words here"]),
    ("length_constraints:nth_paragraph_first_word",
     {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
     "First.\n\n\"Then, it", ["First.\n\nit", "a\n\nthen\n\nb", "then\nthen", "\n\n"]),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b c]", ["[a] b"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "x\np. s. y", ["x ps y"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "x\nP.P.S y", ["x P.S. y"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b\n**c**",
     ["* a", "- a\n- b\n- c"]),
    ("detectable_format:constrained_response", {}, "Well. My answer is no.", ["My answer: no."]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2},
     "*a* and *b*", ["*a*", "** ** *a*"]),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2},
     "SECTION 1\na\nSECTION 2\nb", ["SECTION 1 a", "SECTION a SECTION b"]),
    ("detectable_format:json_format", {}, "```json\n{\"a\": 1}\n```", ["{a: 1}", "x {\"a\": 1}"]),
    ("detectable_format:title", {}, "<<A title>>\nx", ["<< >>", "<A>"]),
    ("combination:two_responses", {}, "one\n******\ntwo", ["one", "a******a", "a******b******c"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it. "}, " say it. Yes",
     ["Yes, say it."]),
    ("startend:end_checker", {"end_phrase": "The end."}, 'x "The END."', ["The end. x"]),
    ("startend:quotation", {}, '"all of it"', ['"', 'a "b"', "'a'"]),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"},
     "STATE-OF art NOW", ["NOW and Then"]),
    ("change_case:english_capital", {}, EN.upper(), [EN, "DAS WETTER IST HEUTE SEHR SCHÖN, JA"]),
    ("change_case:english_lowercase", {}, EN, [EN.capitalize()]),
    ("punctuation:no_comma", {}, "a; b", ["a, b"]),
]  # fmt: skip


def test_every_one_of_the_25_kinds_has_a_case():
    assert len(KINDS) == 25 and {name for name, *_ in CASES} == KINDS.keys()


@pytest.mark.parametrize("name, arguments, right, wrong", CASES)
def test_a_kind(name, arguments, right, wrong):
    if name in LANGUAGE:
        pytest.importorskip("py3langid")
    problem = of(name, **arguments)
    assert check_gold(problem) is None
    assert followed(problem, right) == [True]
    assert [followed(problem, reply) for reply in wrong] == [[False]] * len(wrong)
    assert not any(followed(problem, reply)[0] for reply in ("", "  \n"))


@pytest.mark.parametrize(
    "text, count",
    [("", 0), ("One", 1), ("One. Two", 2), ("Mr. Hay paid 3.50 e.g. today. Good!", 2),
     ('He said "no." Then left.', 2), ("天気。雨！", 2), ("a... b", 1), ("Wait... What?", 2)],
)  # fmt: skip
def test_sentences_end_at_punctuation(text, count):
    assert sentences(text) == count


def test_loosely_a_first_or_last_line_or_stars_do_not_count():
    title = of("startend:quotation")
    reply = 'Sure, here it is:\n"text"\nHope it helps!'
    assert followed(title, reply) == [False] and followed(title, reply, loose=True) == [True]
    end = of("startend:end_checker", end_phrase="bye")
    assert followed(end, "x **bye**") == [False] and followed(end, "x **bye**", loose=True) == [
        True
    ]
    assert followed(end, "bye not", loose=True) == [False]


def test_each_kind_is_linear_in_the_text():
    texts = [c * 60_000 + "a" for c in ("[", "<<", ".", "\n", " ", "* ", "- ", '."', "A. ")]
    began = time.process_time()
    for name, arguments, *_ in CASES:
        if name not in LANGUAGE:
            for text in texts:
                KINDS[name](text, **arguments)
    assert time.process_time() - began < 5


def test_it_is_a_grader_of_the_whole_reply_behind_the_thought():
    both = Problem("p", "q", "two", "ifeval", {
        "instruction_id_list": ["punctuation:no_comma", "keywords:existence"],
        "kwargs": [{}, {"keywords": ["yes"]}],
    })  # fmt: skip
    text = "<think>well, then</think>\nyes " + "word " * 2000
    assert grade(both, extract(text, "auto", both)) == 1.0
    assert grade(both, extract(text + ",", "auto", both)) == 0.0
    assert followed(both, "no") == [True, False]


@pytest.mark.parametrize(
    "data, said",
    [
        ({"instruction_id_list": ["a:b"], "kwargs": [{}]}, "unknown instruction a:b"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}, {}]}, "as many kwargs"),
        ({}, "as many kwargs as instructions"),
    ],
)
def test_a_row_that_cannot_be_judged_is_one_line(data, said):
    with pytest.raises(UserError, match=said):
        check_gold(Problem("p", "q", "a", "ifeval", data))
