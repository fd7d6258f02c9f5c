"""The embedded world: keys and splits, honest flags, right arithmetic, independent mixing."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.data.problems.generated import held_out as is_eval
from r1jax.data.templates import TEMPLATES, render
from r1jax.data.tokenizer import load_tokenizer
from r1jax.data.world import (
    FAMILIES,
    MODES,
    Document,
    Mix,
    Shares,
    describe,
    distinct,
    documents,
    generate,
    tokenizer_texts,
)
from r1jax.data.world.countdown import expressions
from r1jax.data.world.keys import countdown_key, sum_key
from r1jax.errors import UserError
from r1jax.problem import Problem

BASE = Path(__file__).parents[2] / "r1jax" / "assets" / "base"
RUN = re.compile(r"\d+(?:[-+*]\d+)+")
EQUATION = re.compile(r"(\d+(?:[-+*]\d+)+)=(\d+)")
TAGS = re.compile(r"</?(?:think|answer)>")
STORY_ORACLES = {
    "purchase": lambda a, b, c: a * b + c,
    "change": lambda a, b, c: c - a * b,
    "basket": lambda a, b, c, d: a * b + c * d,
    "older": lambda a, b, c: a + b + c,
    "times": lambda a, b, c: a * b - c,
    "together": lambda a, b, c: a + a * b + c,
    "factory": lambda a, b, c: a * b - c,
    "trip": lambda a, b, c, d: a * b + c * d,
    "reading": lambda a, b, c: (a + b) * c,
}


@cache
def corpus(count: int = 20_000) -> tuple[Document, ...]:
    """Documents of problems alone: tests/data/test_world_general.py reads the others."""
    return tuple(documents(seed=11, start=0, count=count, mix=Mix(general=0.0)))


def value(text: str) -> int:
    """Oracle: products first, then signed terms."""
    total = 0
    for sign, term in re.findall(r"([-+]?)(\d+(?:\*\d+)*)", text):
        product = int(np.prod([int(factor) for factor in term.split("*")]))
        total += -product if sign == "-" else product
    return total


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", text)]


def is_right(problem: Problem, completion: str) -> bool:
    """Oracle of `correct`, from the question's and the completion's text alone."""
    text = TAGS.sub(" ", completion)
    if problem.metadata["family"] == "sum":
        return numbers(text)[-1] == value(RUN.search(problem.question)[0])
    if problem.metadata["family"] == "word":
        truth = STORY_ORACLES[problem.metadata["story"]](*problem.metadata["numbers"])
        return numbers(text)[-1] == truth
    asked = numbers(problem.question)
    at = -1 if problem.question.startswith(("Use", "用", "把")) else 0
    target = asked.pop(at)
    answer = RUN.findall(text)[-1]
    return value(answer) == target and sorted(numbers(answer)) == sorted(asked)


# --- keys and splits


def test_keys_forget_order_and_language() -> None:
    assert sum_key((47, 38, -16), 69) == sum_key((38, 47, -16), 69) == "sum|-16,38,47|69"
    assert countdown_key((7, 25, 3), 21) == "countdown|3,7,25|21"
    assert sum_key((47, 38, -16), 69) != sum_key((47, 16, -38), 25)


def test_split_is_the_hash_of_the_key() -> None:
    assert [i for i in range(60) if is_eval(f"k{i}")] == [47]


@pytest.mark.parametrize("split", ["train", "eval"])
@pytest.mark.parametrize("harder", [False, True])
def test_problems_stay_in_their_split(split: str, harder: bool) -> None:
    for index in range(600):
        problem = generate(FAMILIES, split=split, index=index, harder=harder)
        assert is_eval(problem.metadata["key"]) == (split == "eval")
        assert problem.id.startswith(problem.metadata["key"])


def test_no_evaluation_key_occurs_in_the_corpus_nor_in_its_trials() -> None:
    trained = {document.problem.metadata["key"] for document in corpus()}
    held_out = {generate(split="eval", index=i).metadata["key"] for i in range(20_000)}
    harder = {generate(split="eval", index=i, harder=True).metadata["key"] for i in range(3000)}
    assert len(trained) > 10_000 and len(held_out) > 5_000
    assert not trained & held_out and not trained & harder and not held_out & harder
    spelled = set()
    for document in corpus():
        for text in RUN.findall(document.text):
            if len(numbers(text)) > 2:  # sums have no one-digit number, every countdown has one
                signed = [int(n) for n in re.findall(r"[-+]?\d+", text)]
                is_sum = min(numbers(text)) >= 10
                key = (sum_key if is_sum else countdown_key)(
                    signed if is_sum else numbers(text), value(text)
                )
                assert not is_eval(key), text
                spelled.add(key)
    assert len(spelled) > 10_000 and not spelled & held_out


def test_harder_is_larger_than_anything_in_the_corpus() -> None:
    terms = {family: 0 for family in FAMILIES}
    largest = 0
    for document in corpus():
        fields = document.problem.metadata
        terms[fields["family"]] = max(terms[fields["family"]], len(fields["numbers"]))
        if fields["family"] == "word":
            largest = max(largest, *fields["numbers"])
    assert terms == {"sum": 5, "countdown": 3, "word": 4} and largest <= 99
    for index in range(300):
        fields = generate(split="eval", index=index, harder=True).metadata
        if fields["family"] == "word":
            assert max(fields["numbers"]) >= 100
        else:
            assert len(fields["numbers"]) == terms[fields["family"]] + 1


def test_evaluation_set_is_balanced_and_distinct() -> None:
    problems = distinct(300)
    assert len({problem.metadata["key"] for problem in problems}) == 300
    for family in FAMILIES:
        chosen = [p for p in problems if p.metadata["family"] == family]
        assert len(chosen) == 100
        assert sum(p.metadata["language"] == "zh" for p in chosen) == 50


def test_too_large_an_evaluation_set_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    one = generate(split="eval")
    monkeypatch.setattr("r1jax.data.world.problems.generate", lambda *_, **__: one)
    with pytest.raises(UserError, match="ask for fewer"):
        distinct(2)


@given(st.integers(0, 2**31), st.integers(0, 10**9))
def test_generate_is_a_function_of_its_index(seed: int, index: int) -> None:
    assert generate(seed=seed, index=index) == generate(seed=seed, index=index)


def test_streams_differ_by_seed_split_and_language() -> None:
    first = generate(index=0).question
    assert generate(index=0, seed=1).question != first
    assert generate(index=0, split="eval").question != first
    assert {generate(index=i, language="zh").metadata["language"] for i in range(9)} == {"zh"}


@pytest.mark.parametrize(
    "change", [{"families": ("chess",)}, {"split": "test"}, {"language": "fr"}, {"families": ()}]
)
def test_unknown_names_are_user_errors(change: dict) -> None:
    with pytest.raises(UserError, match="choose from"):
        generate(**change)


@pytest.mark.parametrize("harder", [False, True])
def test_answers_are_right(harder: bool) -> None:
    for index in range(900):
        problem = generate(index=index, harder=harder)
        assert is_right(problem, f" <answer> {problem.answer} </answer>"), problem
        shown = sorted(numbers(problem.question))
        fields = problem.metadata
        target = [fields["target"]] if fields["family"] == "countdown" else []
        assert shown == sorted([*map(abs, fields["numbers"]), *target])


def test_expressions_are_all_there_are_without_brackets() -> None:
    found = {text: result for text, result, *_ in expressions((9, 4, 2))}
    assert found == {text: value(text) for text in found}
    assert list(found)[0] == "9+4+2"
    assert {"4*2-9"}.isdisjoint(found) and {"9-4*2", "9*4*2", "9+4-2", "9-4-2"} <= found.keys()
    assert len(found) == 11  # counted by hand: 4 sums, 6 with one product, 9*4*2


# --- documents


def test_documents_are_random_access() -> None:
    whole = list(documents(3, 0, 60))
    assert whole[20:40] == list(documents(3, 20, 20))
    assert whole[:5] != list(documents(4, 0, 5))


def test_correct_flags_agree_with_the_text() -> None:
    wrong = [d.text for d in corpus() if d.correct != is_right(d.problem, d.completion)]
    assert not wrong, wrong[:3]


def test_equations_of_long_chains_are_right() -> None:
    checked = 0
    for document in corpus():
        for left, right in EQUATION.findall(document.completion):
            if document.mode == "long":
                assert value(left) == int(right), document.text
                checked += 1
    assert checked > 5_000


def test_checked_chains_repair_their_slips() -> None:
    repaired = 0
    for document in corpus():
        if document.mode == "checked":
            claims = EQUATION.findall(document.completion)
            for i, (left, right) in enumerate(claims):
                if value(left) != int(right):
                    assert (left, str(value(left))) in claims[i + 1 :], document.text
                    repaired += 1
    assert repaired > 300


def test_every_family_mode_language_and_ending_occurs() -> None:
    kinds = {
        (d.problem.metadata["family"], d.mode, d.problem.metadata["language"], d.tags)
        for d in corpus()
    }
    assert len(kinds) == 3 * len(MODES) * 2 * 3


def test_defaults_make_a_base_with_room_to_grow() -> None:
    report = describe(corpus())
    assert report["documents"] == 20_000
    assert 0.30 <= report["correct"] <= 0.38
    assert report["chinese"] == pytest.approx(0.5, abs=0.02)
    assert report["mixed"] == pytest.approx(0.30, abs=0.01)
    assert report["tagged"] == pytest.approx(0.16, abs=0.01)
    for family in FAMILIES:
        shares = {mode: report["modes"][f"{family}/{mode}"] for mode in MODES}
        assert sum(cell["share"] for cell in shares.values()) == pytest.approx(1)
        assert shares["guess"]["correct"] < shares["short"]["correct"] < 0.35
        assert min(shares["long"]["correct"], shares["checked"]["correct"]) > 0.8


def test_knobs_turn() -> None:
    only = Shares(guess=0, short=0, long=1, checked=0, long_right=1)
    mix = Mix(sum=only, families=(1, 0, 0), chinese_share=1, tagged=1, half_tagged=0, mixing=0,
              general=0)  # fmt: skip
    for document in documents(0, 0, 300, mix):
        assert document.correct and document.mode == "long" and document.tags == "full"
        assert document.problem.metadata["family"] == "sum" and not document.mixed
        assert re.fullmatch(r" <think> [^<]+ </think> <answer> \d+ </answer>", document.completion)
        assert not re.search("[A-Za-z]{2}", TAGS.sub("", document.completion))
    half = replace(mix, tagged=0, half_tagged=1)
    assert all(" </think> " in d.text and "<answer> " not in d.completion
               for d in documents(0, 0, 50, half))  # fmt: skip


def test_mixed_thoughts_hold_the_other_language_and_others_do_not() -> None:
    for document in islice(corpus(), 5_000):
        thought = TAGS.sub("", document.completion)
        other = "[A-Za-z]{2}" if document.problem.metadata["language"] == "zh" else "[一-鿿]"
        if "= " not in thought:  # a bare "= 56" belongs to either language
            assert bool(re.search(other, thought)) == document.mixed, document.text


@pytest.mark.slow
def test_mixing_is_independent_of_correctness_mode_and_length() -> None:
    tokenizer = load_tokenizer(BASE)
    count = 50_000
    sample = corpus(count)
    ids = tokenizer([d.completion for d in sample], add_special_tokens=False)["input_ids"]
    mixed = np.array([d.mixed for d in sample], float)
    columns = {
        "correct": [d.correct for d in sample],
        "tokens": [len(i) for i in ids],
        "guess": [d.mode == "guess" for d in sample],
        "tagged": [d.tags == "full" for d in sample],
    }
    for name, column in columns.items():
        assert abs(np.corrcoef(mixed, np.array(column, float))[0, 1]) < 0.02, name


@pytest.mark.slow
def test_no_document_is_too_long() -> None:
    tokenizer = load_tokenizer(BASE)
    texts = tokenizer([d.text for d in corpus()], add_special_tokens=False)["input_ids"]
    prompts = tokenizer([d.prompt for d in corpus()], add_special_tokens=False)["input_ids"]
    completions = [len(t) - len(p) + 1 for t, p in zip(texts, prompts, strict=True)]
    assert max(map(len, texts)) < 176
    # A few long searches and rambling notes pass what the demo lets a policy write.
    assert sum(length > 128 for length in completions) < 0.003 * len(completions)
    assert 18 <= median(completions) <= 60
    assert median(map(len, prompts)) <= 48
    tokens = describe(corpus()[:500], tokenizer)["tokens"]
    assert tokens["sum/guess"]["p50"] < tokens["sum/short"]["p50"] < tokens["sum/long"]["p50"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_worded_thoughts_have_fifteen_words_at_the_median(language: str) -> None:
    """Words are runs of Latin letters or digits, and single Chinese characters."""
    counts = []
    for document in corpus():
        fields = document.problem.metadata
        if fields["family"] == "word" and fields["language"] == language and not document.mixed:
            thought = document.completion.split("</think>")[0].replace("<think>", "")
            counts.append(len(re.findall(r"[一-鿿]|[A-Za-z]+|[\d+*=-]+", thought)))
    assert len(counts) > 2_000 and median(counts) >= 15


# --- templates


def test_r1_zero_template_is_the_papers() -> None:
    problem = generate()
    prompt = render(TEMPLATES["r1_zero"], problem)
    assert prompt == (
        "A conversation between User and Assistant. The user asks a question, and the Assistant "
        "solves it. The assistant first thinks about the reasoning process in the mind and then "
        "provides the user with the answer. The reasoning process and answer are enclosed within "
        "<think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning "
        "process here </think> <answer> answer here </answer>. User: "
        f"{problem.question}. Assistant:"
    )


def test_templates_keep_braces_of_a_question() -> None:
    problem = replace(generate(), question="What is {x} in {question}?")
    for template in TEMPLATES.values():
        assert problem.question in render(template, problem)
        assert template.text.count("{question}") == 1
    assert render(TEMPLATES["mini"], generate()).endswith("\nAssistant:")


def test_tokenizer_texts_hold_the_instruction() -> None:
    texts = list(tokenizer_texts(0, 80))
    assert len(texts) == 82 and texts.count(TEMPLATES["r1_zero"].text) == 2
