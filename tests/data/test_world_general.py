"""General prompts: three disjoint parts, their documents in the corpus, judged rows."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.data.examples.conversations import ConversationConfig, Pair, read_conversations
from r1jax.data.examples.encoding import Encoder, load_examples
from r1jax.data.examples.preferences import PreferenceConfig, read_judged
from r1jax.data.templates import TEMPLATES
from r1jax.data.tokenizer import load_tokenizer, train_tokenizer
from r1jax.data.world import (
    FAMILIES,
    KINDS,
    Mix,
    describe,
    distinct_general,
    documents,
    generate_general,
    tokenizer_texts,
    write_reply,
)
from r1jax.data.world.general import pairs_of
from r1jax.data.world.gold import helpfulness, safety, score
from r1jax.data.world.judged_pairs import held_out_rows, helpful_pairs, safety_rows, sft_rows
from r1jax.data.world.requests import ACTS, CARRIERS, CLOSING, GREETING, PARTS, WORDINGS
from r1jax.errors import UserError
from r1jax.problem import Problem

WORD = re.compile(r"[a-z]+|[\u4e00-\u9fff]")


@cache
def prompts(part: str, count: int = 6000) -> tuple[Problem, ...]:
    return tuple(generate_general(part=part, index=i, seed=5) for i in range(count))


# --- parts -----------------------------------------------------------------------------------


def test_the_parts_share_no_key_no_pair_of_names_and_no_question() -> None:
    for first, second in (("policy", "reward"), ("policy", "eval"), ("reward", "eval")):
        for seen in (
            lambda p: p.metadata["key"],
            lambda p: p.metadata["slots"][:2],
            lambda p: p.question,
        ):
            ours, theirs = (set(map(seen, prompts(part))) for part in (first, second))
            assert len(ours) >= 8 and not ours & theirs
    assert sum(len(pairs_of(part)) for part in PARTS) == 64


def test_a_reward_models_templates_occur_nowhere_else() -> None:
    said: dict[str, set[str]] = {wording: set() for wording in WORDINGS}
    for i, part in enumerate(WORDINGS):
        for kind in KINDS:
            for pair in CARRIERS[kind][part]:
                said[part] |= {f"{kind}{text}" for text in pair}
            for act in ACTS[kind].values():
                said[part] |= {f"{kind}{text}" for text in act.clauses[i]}
        said[part] |= {*GREETING[part], *CLOSING[part]}
    counts = Counter(text for texts in said.values() for text in texts)
    assert len(counts) > 80 and set(counts.values()) == {1}
    for part, own in (("policy", "policy"), ("eval", "policy"), ("reward", "reward")):
        openings = {text.partition("%s")[0] for pair in CARRIERS["unsafe"][own] for text in pair}
        asked = [p.question for p in prompts(part) if p.metadata["kind"] == "unsafe"]
        assert all(question.startswith(tuple(openings)) for question in asked)


def test_each_prompt_has_one_judge() -> None:
    judges = {(p.metadata["kind"], p.metadata["judge"]) for p in prompts("eval")}
    assert judges == {("helpful", "helpfulness"), ("unsafe", "safety"), ("safe", "safety")}


def test_unsafe_and_safe_prompts_share_carriers_and_words() -> None:
    for wording in WORDINGS:
        assert CARRIERS["unsafe"][wording] == CARRIERS["safe"][wording]
    for act, safe in ACTS["safe"].items():
        for ours, theirs in zip(ACTS["unsafe"][act].clauses, safe.clauses, strict=True):
            assert set(WORD.findall(ours[0])) & set(WORD.findall(theirs[0])) - {"the", "o", "n"}
            assert set(WORD.findall(ours[1])) & set(WORD.findall(theirs[1]))


def test_evaluation_asks_in_words_that_the_corpus_holds() -> None:
    known = {w for d in documents(0, 0, 20_000) for w in WORD.findall(d.text.lower())}
    asked_in = {w for p in prompts("eval") for w in WORD.findall(p.question.lower())}
    assert asked_in <= known


@given(st.integers(0, 2**31), st.integers(0, 10**9), st.sampled_from(PARTS))
def test_a_prompt_is_a_function_of_its_index(seed: int, index: int, part: str) -> None:
    problem = generate_general(part=part, seed=seed, index=index)
    assert problem == generate_general(part=part, seed=seed, index=index)
    assert problem.grader == "none" and problem.metadata["part"] == part
    assert score(problem, problem.answer) == 1.0


def test_kinds_and_languages_take_turns_and_evaluation_sets_are_distinct() -> None:
    chosen = distinct_general(240)
    assert len({p.metadata["key"] for p in chosen}) == 240
    counts = Counter((p.metadata["kind"], p.metadata["language"]) for p in chosen)
    assert set(counts.values()) == {40} and len(counts) == 6
    only = [generate_general(("safe",), language="zh", index=i) for i in range(5)]
    assert {(p.metadata["kind"], p.metadata["language"]) for p in only} == {("safe", "zh")}


@pytest.mark.parametrize("change", [{"kinds": ("rude",)}, {"part": "test"}, {"language": "fr"}])
def test_unknown_names_are_user_errors(change: dict) -> None:
    with pytest.raises(UserError, match="choose from"):
        generate_general(**change)


def test_too_large_an_evaluation_set_is_a_user_error() -> None:
    with pytest.raises(UserError, match="count 289: .* distinct eval prompts .*; ask for fewer"):
        distinct_general(289, ("safe",))  # there are 8 pairs of names x 6 acts x 6 places = 288


# --- the corpus ------------------------------------------------------------------------------


def test_without_general_documents_the_corpus_is_what_it_was() -> None:
    texts = [d.text for d in documents(5, 0, 500, Mix(general=0.0))]
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    assert digest[:16] == "f515493bc24ff438"
    mixed = list(documents(5, 0, 500))
    for text, document in zip(texts, mixed, strict=True):
        assert document.text == text or document.problem.metadata["family"] in KINDS
    assert mixed[100:120] == list(documents(5, 100, 20))


def test_general_documents_have_their_share_tags_languages_and_part() -> None:
    mix = Mix(general=0.4, chinese_share=0.8)
    corpus = list(documents(2, 0, 8000, mix))
    report = describe(corpus)
    assert report["general"] == pytest.approx(0.4, abs=0.02)
    assert report["chinese"] == pytest.approx(0.8, abs=0.02)
    assert describe(documents(2, 0, 300, replace(mix, general=0.0)))["general"] == 0.0
    general = [d for d in corpus if d.problem.metadata["family"] in KINDS]
    assert {d.problem.metadata["part"] for d in general} == {"policy"}
    alone = describe(general)
    assert alone["chinese"] == pytest.approx(0.8, abs=0.03)
    assert alone["tagged"] == pytest.approx(0.16, abs=0.02)
    assert alone["mixed"] == pytest.approx(0.30, abs=0.03)
    kinds = Counter(d.problem.metadata["family"] for d in general)
    assert min(kinds.values()) > 0.28 * len(general)
    shares = {name: cell["share"] for name, cell in report["modes"].items()}
    assert shares["unsafe/comply"] == pytest.approx(0.5, abs=0.05)
    assert shares["helpful/good"] == pytest.approx(0.3, abs=0.05)
    assert report["correct"] == describe(
        [d for d in corpus if d.problem.metadata["family"] in FAMILIES]
    )["correct"]  # fmt: skip


def test_general_completions_are_tagged_as_others_are() -> None:
    alike = {"full": r" <think> ?[^<]+ </think> <answer> [^<]+ </answer>",
             "half": r" <think> ?[^<]+ </think> [^<]+", "none": r" ?[^<]+"}  # fmt: skip
    for document in documents(9, 0, 1000, Mix(general=1.0)):
        assert re.fullmatch(alike[document.tags], document.completion), document.completion
        if document.tags == "full":
            assert (score(document.problem, document.completion) >= 0.9) == document.correct


@pytest.mark.slow
def test_a_new_tokenizer_leaves_room_for_prompts_and_replies(tmp_path) -> None:
    train_tokenizer(tokenizer_texts(0, 6000), tmp_path, 1024)
    tokenizer = load_tokenizer(tmp_path)
    every = [p for part in PARTS for p in prompts(part)]
    texts = [TEMPLATES["mini"].fill(p.question) for p in every]
    assert max(map(len, tokenizer(texts)["input_ids"])) <= 64
    replies = [write_reply(p, random.Random(i)) for i, p in enumerate(every)]
    lengths = tokenizer([r.completion for r in replies])["input_ids"]
    kept = [len(own) for own, r in zip(lengths, replies, strict=True) if r.mode != "rambling"]
    assert max(kept) < 128


# --- judged rows -----------------------------------------------------------------------------


def write(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_pairs_prefer_the_better_reply_but_for_the_noise(tmp_path) -> None:
    rows = helpful_pairs(1000, seed=3, noise=0.2)
    assert fmean(row["flipped"] for row in rows) == pytest.approx(0.2, abs=0.04)
    source = write(tmp_path / "pairs.jsonl", rows)
    judged = [one for _, one in read_judged(source, PreferenceConfig(), "pairwise", "summary")]
    turned = 0
    for index, (row, one) in enumerate(zip(rows, judged, strict=True)):
        problem = generate_general(("helpful",), part="reward", seed=3, index=index)
        assert row["prompt"] == f"User: {problem.question}\nAssistant:" and row["id"] == problem.id
        chosen, rejected = (helpfulness(problem, r.completion) for r in one.responses)
        assert abs(chosen - rejected) >= 0.1 - 1e-9
        turned += chosen < rejected
        assert (chosen < rejected) == row["flipped"]
        assert one.responses[0].completion.startswith("<answer> ")
        assert "think>" not in one.responses[0].completion
    assert turned > 100
    assert not any(row["flipped"] for row in helpful_pairs(100, seed=3))


def test_labels_follow_the_gold_but_for_the_noise(tmp_path) -> None:
    rows = safety_rows(1000, seed=4, noise=0.1)
    assert fmean(row["flipped"] for row in rows) == pytest.approx(0.1, abs=0.03)
    source = write(tmp_path / "labels.jsonl", rows)
    judged = [one for _, one in read_judged(source, PreferenceConfig(), "pointwise", "whole")]
    for index, (row, one) in enumerate(zip(rows, judged, strict=True)):
        problem = generate_general(("unsafe", "safe"), part="reward", seed=4, index=index)
        (response,) = one.responses
        assert response.completion.startswith(" <think> ")
        assert (safety(problem, response.completion) == one.label) != row["flipped"]
    cells = Counter((row["kind"], row["label"]) for row in safety_rows(1000, seed=4))
    assert min(cells.values()) > 200 and len(cells) == 4


@pytest.mark.parametrize("noise", [-0.1, 1.5])
def test_noise_is_a_probability(noise: float) -> None:
    for make in (helpful_pairs, safety_rows):
        with pytest.raises(UserError, match="noise .*between 0 and 1"):
            make(1, 0, noise)


def test_held_out_rows_share_no_prompt_with_what_is_learnt() -> None:
    held = held_out_rows(300, seed=0)
    learnt = {row["id"] for row in helpful_pairs(300, 0) + safety_rows(300, 0) + sft_rows(300, 0)}
    assert not learnt & {row["id"] for rows in held.values() for row in rows}
    keys = {name: {"|".join(row["id"].split("|")[2:4]) for row in rows}
            for name, rows in held.items()}  # fmt: skip
    assert keys["pairs"] == keys["labelled"] and len(keys["pairs"]) == 8
    assert held["pairs"] == held_out_rows(300, seed=0)["pairs"] != held_out_rows(300, 1)["pairs"]
    assert {row["label"] for row in held["labelled"]} == {"safe", "unsafe"}


def test_general_examples_are_read_and_mostly_good(tmp_path) -> None:
    rows = sft_rows(600, seed=1)
    source = write(tmp_path / "sft.jsonl", rows)
    config = ConversationConfig()
    read = [one for _, one in read_conversations(source, config)]
    golds = []
    for index, one in enumerate(read):
        problem = generate_general(seed=1, index=index)
        assert one == Pair(rows[index]["prompt"], rows[index]["completion"])
        golds.append(score(problem, one.completion))
    # A third each: notes good in 0.60 of cases, refusals in 0.80, help in 0.75.
    assert 0.65 < fmean(gold >= 0.9 for gold in golds) < 0.78
    train_tokenizer(tokenizer_texts(0, 3000), tmp_path / "t", 800)
    tokenizer = load_tokenizer(tmp_path / "t")
    examples = load_examples([source], config, Encoder(tokenizer, ()), 256)
    assert len(examples.totals) == 600
    assert sft_rows(3, 1, "qa")[0]["prompt"].startswith("Question: ")
