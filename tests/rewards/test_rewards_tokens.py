"""Rewards that judge token by token: offsets, workers and this process, what is wrong with them."""

import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.data.tokenizer import load_tokenizer
from r1jax.errors import UserError
from r1jax.models.hub.find import model_directory
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import (
    BaseReward,
    RewardPool,
    Term,
    per_answer,
    per_completion,
    per_token,
    score,
    strict_format,
)
from r1jax.rewards.adapters import lifted
from r1jax.rewards.tokens import tokens_to, with_offsets
from r1jax.rewards.workers.board import NUMBERS
from r1jax.rewards.workers.schedule import Unit, chunks

PREFILL = "<think>"
STOP = 2
TOKENIZER = load_tokenizer(model_directory("embedded"))
CONTEXT = RewardContext(step=7, tokenizer=TOKENIZER)
LIGHT = RewardContext(step=7, tokenizer=TOKENIZER.backend_tokenizer)
"""Decodes alike, and costs the workers, whom each reward has of its own, no import."""
NAN = math.nan


def completion(text, stop=True):
    """A completion as a policy makes it: prefilled, and with a stop token that is not shown."""
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text
    return Completion.parse(PREFILL + text, (*ids, STOP) if stop else ids)


def problems(n):
    return [Problem(f"p{i}", "?", "1") for i in range(n)]


def plain(values):
    """Lists with None for NaN, to be compared."""
    return [v and [None if math.isnan(x) else x for x in v] for v in values]


@pytest.fixture(scope="module", params=[0, 2])
def pool(request):
    """This process, and workers whose CPU limit is far below what importing a tokenizer takes."""
    with RewardPool(workers=request.param, cpu_seconds=0.5, wall_seconds=5) as pool:
        yield pool


# --- where tokens stand ----------------------------------------------------------------------


def pieces(c):
    return [c.text[start:end] for start, end in c.offsets]


@pytest.mark.parametrize("text", ["", "a", "1 + 2 = 3\nso 3", "先算 1 + 2\n等于 3。", "ab\n\n"])
def test_pieces_are_the_text_behind_the_prefill(text):
    c = with_offsets(completion(text), TOKENIZER)
    assert "".join(pieces(c)) == text and pieces(c)[-1] == ""  # the stop token
    for token, piece in zip(c.token_ids[:-1], pieces(c), strict=False):
        if "\ufffd" not in TOKENIZER.decode([token]):
            assert piece == TOKENIZER.decode([token])
    assert with_offsets(c, TOKENIZER) is c
    cut = with_offsets(completion(text, stop=False), TOKENIZER)
    assert cut.offsets == c.offsets[:-1]


def test_a_character_belongs_to_the_last_of_its_tokens():
    """Four bytes in two tokens, between two letters."""

    class Bytes:
        def decode(self, ids):
            parts = {1: b"a", 2: "\U0001f600".encode()[:2], 3: "\U0001f600".encode()[2:], 4: b"b"}
            return b"".join(parts[i] for i in ids).decode(errors="replace")

    c = with_offsets(Completion.parse("a\U0001f600b", (1, 2, 3, 4)), Bytes())
    assert pieces(c) == ["a", "", "\U0001f600", "b"]
    assert tokens_to(c, Bytes(), (1, 2, 3)) == [1, 3, 4]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(3, 1023), max_size=30))
def test_offsets_of_any_tokens_cover_the_text_in_order(ids):
    text = PREFILL + TOKENIZER.decode(ids)
    c = with_offsets(Completion.parse(text, ids), TOKENIZER)
    assert len(c.offsets) == len(ids)
    if ids:
        assert "".join(pieces(c)) == text[len(PREFILL) :]
        assert all(a[1] == b[0] for a, b in zip(c.offsets, c.offsets[1:], strict=False))


def test_tokens_of_another_text_are_refused():
    with pytest.raises(ValueError, match="do not spell"):
        with_offsets(Completion.parse("abc", completion("xyz").token_ids), TOKENIZER)


# --- what they give --------------------------------------------------------------------------


@per_token
@per_completion
def line_ends(problem, completion):
    """1 at each token that ends a line, nothing elsewhere; texts without lines are left out."""
    if "\n" not in completion.text:
        return None
    return [1.0 if "\n" in completion.text[a:b] else None for a, b in completion.offsets]


@per_token
def longest(problems, completions, context):
    """Each token earns what its completion is longer than the shortest of its group."""
    assert len(set(context.group_ids)) == 1 and context.step == 7
    lengths = [len(c.token_ids) for c in completions]
    return [[float(n - min(lengths))] * n for n in lengths]


TEXTS = ["12\n3\n", "12", "\n"]


def test_a_process_reward_in_workers_and_here(pool):
    completions = [completion(text) for text in TEXTS]
    values, counts = pool.map(line_ends, problems(3), completions, CONTEXT)
    assert pool._launcher is None or type(TOKENIZER).__module__ in pool._launcher.modules
    assert counts.lost == 0 and counts.first_error == ""
    assert plain(values) == [[None, None, 1.0, None, 1.0, None], None, [1.0, None]]


def test_a_group_is_judged_token_by_token(pool):
    completions = [completion("1" * n, stop=False) for n in (2, 1, 1, 3)]
    context = RewardContext(7, (0, 1, 0, 1), TOKENIZER)
    values, counts = pool.map(longest, problems(4), completions, context)
    assert counts.lost == 0
    assert plain(values) == [[1.0, 1.0], [0.0], [0.0], [2.0, 2.0, 2.0]]


def test_many_completions_come_back_in_their_order(pool):
    @per_token
    @per_completion
    def places(problem, completion):
        return [float(problem.id[1:]) + i / 8 for i in range(len(completion.token_ids))]

    completions = [Completion.parse("", range(i % 5)) for i in range(600)]
    values, _ = pool.map(places, problems(600), completions, RewardContext())
    assert [list(v) for v in values] == [[i + k / 8 for k in range(i % 5)] for i in range(600)]


@pytest.mark.parametrize(
    ("value", "given"),
    [([1.0], "1 numbers"), ([0.0] * 9, "9 numbers"), (0.5, "0.5"), ([], "0 numbers")],
)
def test_a_wrong_number_of_numbers_is_one_clear_line(pool, value, given):
    def wrong(problem, completion):
        if problem.id == "p0":
            raise ValueError("an earlier mistake of another kind")
        return value

    message = f"^reward wrong returned {given} for 3 tokens; return a list of one number, or None,"
    with pytest.raises(UserError, match=message):
        pool.map(per_token(per_completion(wrong)), problems(2), [completion("12")] * 2, LIGHT)


def test_a_list_for_too_few_completions_is_one_too(pool):
    short = per_token(lambda problems, completions, context: [[1.0] * 3])
    context = RewardContext(group_ids=(0, 0), tokenizer=LIGHT.tokenizer)
    with pytest.raises(UserError, match="returned 1 values for 2 completions"):
        pool.map(short, problems(2), [completion("12")] * 2, context)


@pytest.mark.parametrize("kind", ["nan", "raise", "text", "loop", "exit"])
def test_what_is_lost_earns_nothing_at_its_last_token(pool, kind):
    if kind in ("loop", "exit") and pool.workers == 0:
        pytest.skip("this process has no limits")

    def fragile(problem, completion):
        if problem.id == "p1":
            while kind == "loop":
                pass
            if kind == "raise":
                raise KeyError("no such step")
            if kind == "exit":
                os._exit(1)
            return [0.0, NAN if kind == "nan" else "high", 0.0]
        return [1.0, None, 2.0]

    reward = per_token(per_completion(fragile))
    values, counts = pool.map(reward, problems(3), [completion("12")] * 3, LIGHT)
    assert plain(values) == [[1.0, None, 2.0], [None, None, 0.0], [1.0, None, 2.0]]
    assert counts.lost == 1


def test_the_limits_of_a_chunk_are_kept():
    units = [Unit((i,), numbers=NUMBERS // 2) for i in range(3)]
    portions = [len(chunk) for chunk in chunks(units * 100, workers=1)]
    assert sum(portions) == 300 and max(portions) == 2
    with pytest.raises(UserError, match=f"{NUMBERS + 1} tokens to judge is too large"):
        chunks([Unit((0,), numbers=NUMBERS + 1)], workers=1)


def test_only_what_sees_tokens_can_judge_them():
    with pytest.raises(UserError, match="PerAnswer cannot judge token by token"):
        per_token(per_answer(lambda problem, answer: 1.0))


# --- the door into the protocol --------------------------------------------------------------


def test_the_total_leaves_out_what_tokens_earn():
    terms = [Term("format", strict_format, 0.5), Term("lines", line_ends, 10.0)]
    c = completion("12\n")
    total, parts, counts = score(terms, problems(1), [c], CONTEXT)
    assert total == [0.0] and parts["format"] == [0.0]
    assert plain(parts["lines"]) == [[None, None, 1.0, None]] and counts["lines"].lost == 0


def test_what_a_reward_says_of_itself():
    def group(problems, completions, context):
        return [1.0] * len(completions)

    class Object:
        per_item = True

        def __call__(self, problems, completions, context):
            return [len(completions)] * len(completions)

    assert lifted(line_ends) is line_ends
    assert (line_ends.per_item, line_ends.per_token, line_ends.place) == (True, True, "worker")
    assert (lifted(group).per_item, lifted(group).per_token) == (False, False)
    assert lifted(group).needs_tokenizer and not lifted(Object()).needs_tokenizer
    assert strict_format.place == "here"
    found, _ = RewardPool(workers=0).map(Object(), problems(2), [completion("1")] * 2, CONTEXT)
    assert found == [1.0, 1.0]  # one at a time


def test_a_reward_without_a_rule_says_what_it_needs():
    class Empty(BaseReward):
        pass

    with pytest.raises(NotImplementedError, match="Empty needs `of`"):
        Empty()(problems(1), [completion("1")], CONTEXT)


def test_a_place_of_its_own_needs_no_worker():
    class Here(BaseReward):
        place = "here"

        def of(self, problem, completion, context):
            return float(os.getpid())

    with RewardPool(workers=1) as pool:
        values, _ = pool.map(Here(), problems(2), [completion("1")] * 2, CONTEXT)
        assert values == [os.getpid()] * 2 and not pool._team
