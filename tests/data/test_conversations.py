"""Supervised data: what is read from rows, and token for token what of it is learnt.

R1JAX_TOKENIZERS names a directory with deepseek_r1/ and qwen3/ (tokenizer.json and
tokenizer_config.json each).
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from r1jax.data.examples.conversations import Chat, ConversationConfig, Pair, read_conversations
from r1jax.data.examples.encoding import Encoder, hold_out, key_of, load_examples
from r1jax.data.examples.turns import join, undoubled
from r1jax.data.templates import TEMPLATES
from r1jax.data.tokenizer import load_tokenizer
from r1jax.errors import UserError
from r1jax.models.hub.find import model_directory

# Opens turns by <role> and ends the assistant's by </s>; thoughts of earlier turns are removed.
CHAT = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>"
    "{% if m['role'] == 'assistant' %}{{ m['content'].split('</think>')[-1] }}{{ eos_token }}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
THOUGHT = "<think>2+2=4</think> 4"


def say(*turns):
    """Messages of (role, content), roles by their first letter."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": roles[role], "content": content} for role, content in turns]


TWO_TURNS = say(("u", "1+1?"), ("a", "2"), ("u", "2+2?"), ("a", "4"))
THINKING = say(("u", "1+1?"), ("a", "<think>1+1=2</think> 2"), ("u", "2+2?"), ("a", THOUGHT))


@pytest.fixture
def tokenizer():
    found = load_tokenizer(model_directory("embedded"))
    found.chat_template = CHAT
    return found


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


def read(path, rows, **flags):
    """The examples of rows written to a file."""
    source = write(path / "rows.jsonl", rows)
    return [example for _, example in read_conversations(source, ConversationConfig(**flags))]


def shown(tokenizer, conversation):
    """[(text, learnt text), ...] of the sequences of a conversation."""
    encoder = Encoder(tokenizer, (tokenizer.eos_token_id,))
    (sequences,) = encoder.encode([("here", conversation)])
    return [
        (tokenizer.decode(ids), tokenizer.decode(list(itertools.compress(ids, learn))))
        for ids, learn in sequences
    ]


# --- rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "example"),
    [
        ({"prompt": "1+1=", "completion": " 2"}, Pair("1+1=", " 2")),
        ({"question": "1+1?", "answer": "2", "level": 1}, Pair("1+1?", "2")),
        ({"problem": "1+1?", "answer": "2", "solution": "One more."}, Pair("1+1?", "One more.")),
        ({"text": "all of it"}, Pair("", "all of it")),
        ({"messages": TWO_TURNS, "problem": "x"}, Chat(tuple(TWO_TURNS), (1, 3))),
        ({"prompt": TWO_TURNS[:3], "completion": TWO_TURNS[3:]}, Chat(tuple(TWO_TURNS), (3,))),
        (
            {"system": "Be brief.", "conversations": [
                {"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "2"},
                {"from": "observation", "value": "ok"}, {"from": "assistant", "value": "4"}]},
            Chat(tuple(say(("s", "Be brief."), ("u", "1+1?"), ("a", "2"), ("t", "ok"), ("a", "4"))),
                 (2, 4)),
        ),
    ],
)  # fmt: skip
def test_layouts_are_told_by_their_columns(tmp_path, row, example):
    assert read(tmp_path, [row, row]) == [example, example]


def test_a_layout_and_columns_can_be_named(tmp_path):
    row = {"text": "t", "q": "1+1?", "a": "2", "prompt": "p", "completion": "c"}
    assert read(tmp_path, [row], layout="text") == [Pair("", "t")]
    assert read(tmp_path, [row]) == [Pair("p", "c")]
    named = {"prompt_column": "q", "completion_column": "a"}
    assert read(tmp_path, [row], **named) == [Pair("1+1?", "2")]


def test_parquet_and_a_part_of_the_rows(tmp_path):
    rows = [{"messages": TWO_TURNS, "kind": "a"}, {"messages": TWO_TURNS[:2], "kind": "b"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    source = f"{tmp_path}/rows.parquet?kind=b"
    ((where, example),) = read_conversations(source, ConversationConfig())
    assert where == f"{source}, row 2"
    assert example == Chat(tuple(TWO_TURNS[:2]), (1,))


def test_templates_go_around_prompts_that_are_text(tmp_path):
    row = {"prompt": "1+1?", "completion": " 2"}
    assert read(tmp_path, [row], template="mini") == [Pair("User: 1+1?\nAssistant:", " 2")]
    (opened,) = read(tmp_path, [row], template="tinyzero")
    assert opened.prompt == TEMPLATES["tinyzero"].fill("1+1?") + "<think>"
    (chat,) = read(tmp_path, [row], template="chat_boxed", system="Be brief.")
    asked = TEMPLATES["chat_boxed"].fill("1+1?")
    assert chat == Chat(tuple(say(("s", "Be brief."), ("u", asked), ("a", " 2"))), (2,))


def test_which_turns_are_learnt(tmp_path):
    row = {"messages": TWO_TURNS}
    assert read(tmp_path, [row], turns="last") == [Chat(tuple(TWO_TURNS), (3,))]
    with_system = tuple(say(("s", "Be brief."))) + tuple(TWO_TURNS)
    assert read(tmp_path, [row], system="Be brief.") == [Chat(with_system, (2, 4))]
    own = {"messages": say(("s", "Mine."), *(("u", "1+1?"), ("a", "2")))}
    assert read(tmp_path, [own], system="Be brief.") == [Chat(tuple(own["messages"]), (2,))]


GOOD = {"prompt": "1+1=", "completion": " 2"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "rows.jsonl: is empty; expected one example per line"),
        ([{"a": 1, "b": 2}], "line 1: columns a, b fit no layout; expected prompt and completion,"),
        ([GOOD, {"prompt": "x"}], "line 2: no column completion (--data.completion-column names"),
        ([GOOD | {"reasoning": "1 and 1"}], "line 1: reasoning beside the content; write it into "
         "column completion, or name that by --data.completion-column (a thought as <think>"),
        ([GOOD, GOOD | {"prompt": 3}], "line 2, column prompt: is int; expected text"),
        ([GOOD, GOOD | {"prompt": TWO_TURNS}], "line 2, column prompt: is list; expected text"),
        ([{"text": ["a"]}], "line 1, column text: is list; expected text"),
        ([{"messages": say(("u", None), ("a", "2"))}], "message 1, content: is null; expected te"),
        ([{"messages": "hi"}], "line 1, column messages: expected a list of messages"),
        ([{"messages": [{"role": "bot", "content": "hi"}]}],
         "column messages, message 1: role is 'bot'; expected one of system, user, assistant"),
        ([{"messages": [{"role": "user", "content": [{"type": "text"}]}]}],
         "column messages, message 1, content, part 1: has no text; only text is read"),
        ([{"messages": say(("u", "1+1?"))}], "line 1: no message of the assistant's to learn"),
        ([{"messages": say(("s", "x"), ("a", "2"))}], "line 1: the assistant speaks before the"),
        *(([{"messages": [*say(("u", "x")), {"role": "assistant", "content": "4", key: "2+2"}]}],
           f"message 2: {key} beside the content; write it into the content as")
          for key in ("reasoning_content", "reasoning", "thinking")),
        ([{"conversations": [{"from": "human", "value": "x"},
                             {"from": "gpt", "value": "4", "reasoning": "2+2"}]}],
         "column conversations, message 2: reasoning beside the content"),
        ([{"conversations": [{"from": "bing", "value": "hi"}]}],
         "column conversations, message 1: from is 'bing'; expected one of system, human"),
    ],
)  # fmt: skip
def test_bad_rows_are_named_in_one_line(tmp_path, rows, said):
    with pytest.raises(UserError) as caught:
        read(tmp_path, rows)
    assert said in str(caught.value) and "rows.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "flags", "said"),
    [
        ([GOOD], {"system": "x"}, "--data.system: .* is no chat .*; use --data.template chat"),
        ([{"text": "x"}], {"system": "x"}, "--data.system: .* is plain text"),
        ([{"text": "x"}], {"template": "mini"}, "--data.template: .* is plain text"),
        ([{"messages": TWO_TURNS}], {"template": "mini"}, "mini: .* holds messages"),
        ([GOOD], {"template": "mimi"}, "no such template; choose from r1_zero"),
        ([GOOD], {"eval_count": -1}, "--data.eval-count -1: must be 0 or more"),
        ([GOOD], {"eval_count": 1, "eval": ("x",)}, "give one of the two"),
        ([GOOD], {"completion_column": "nope"}, "line 1: no column nope; it has prompt, comp"),
    ],
)
def test_flags_that_do_not_fit_are_refused(tmp_path, rows, flags, said):
    with pytest.raises(UserError, match=said):
        read(tmp_path, rows, **flags)


# --- what is learnt --------------------------------------------------------------------------


def test_a_pair_is_tokenised_in_two_and_ends_with_the_stop_token(tokenizer):
    ((text, learnt),) = shown(tokenizer, Pair("1+1=", "2"))
    assert (text, learnt) == ("1+1=2</s>", "2</s>")
    # No token spans the boundary, though the text as a whole would have one that does.
    encoder = Encoder(tokenizer, (2,))
    (((ids, learn),),) = encoder.encode([("here", Pair("the ans", "wer is"))])
    parts = [tokenizer(t, add_special_tokens=False).input_ids for t in ("the ans", "wer is")]
    assert ids == [*parts[0], *parts[1], 2]
    assert ids[:-1] != tokenizer("the answer is", add_special_tokens=False).input_ids
    assert learn == [False] * len(parts[0]) + [True] * (len(parts[1]) + 1)


@pytest.mark.parametrize("written", ["2</s>", "2</s>\n", "2 </s></s> "])
def test_a_text_that_ends_in_the_stop_token_gets_no_second_one(tokenizer, written):
    space = " " if " <" in written else ""
    ((text, learnt),) = shown(tokenizer, Pair("1+1=", written))
    assert (text, learnt) == (f"1+1=2{space}</s>", f"2{space}</s>")
    turns = say(("u", "1+1?"), ("a", written), ("u", "2+2?"), ("a", "4</s>"))
    assert shown(tokenizer, Chat(tuple(turns), (1, 3))) == [
        (f"<s><user>1+1?\n<assistant>2{space}</s>\n<user>2+2?\n<assistant>4</s>",
         f"2{space}</s>4</s>")
    ]  # fmt: skip
    ((text, _),) = shown(tokenizer, Pair("", f"one</s>two{written}"))
    assert text == f"one</s>two2{space}</s>"


def test_an_ordinary_stop_token_is_text_like_any_other(tokenizer):
    (star,) = tokenizer("*", add_special_tokens=False).input_ids
    assert Encoder(tokenizer, (2, star)).turns(Pair("a", "b*"), "here") == [("a", "b*")]


def test_of_a_text_all_but_the_first_token_is_learnt(tokenizer):
    ids = tokenizer("one two three", add_special_tokens=False).input_ids
    ((text, learnt),) = shown(tokenizer, Pair("", "one two three"))
    assert (text, learnt) == ("one two three</s>", tokenizer.decode([*ids[1:], 2]))


def test_a_bos_of_the_tokenizer_stands_once_and_is_read_only(tokenizer):
    tokenizer.add_bos_token = True
    tokenizer.update_post_processor()
    ((text, learnt),) = shown(tokenizer, Pair("1+1=", "2"))
    assert (text, learnt) == ("<s>1+1=2</s>", "2</s>")
    ((text, learnt),) = shown(tokenizer, Pair("<s>1+1=", "2"))
    assert (text, learnt) == ("<s>1+1=2</s>", "2</s>")
    ((text, learnt),) = shown(tokenizer, Pair("", "two"))
    assert (text, learnt) == ("<s>two</s>", "two</s>")
    ((text, _),) = shown(tokenizer, Chat(tuple(TWO_TURNS), (1,)))
    assert text.count("<s>") == 1


def test_turns_share_a_sequence_where_the_next_context_begins_with_what_was_learnt(tokenizer):
    assert shown(tokenizer, Chat(tuple(TWO_TURNS), (1, 3))) == [
        ("<s><user>1+1?\n<assistant>2</s>\n<user>2+2?\n<assistant>4</s>", "2</s>4</s>")
    ]
    assert shown(tokenizer, Chat(tuple(TWO_TURNS), (3,))) == [
        ("<s><user>1+1?\n<assistant>2</s>\n<user>2+2?\n<assistant>4</s>", "4</s>")
    ]


def test_a_thought_the_template_removes_later_is_learnt_in_a_sequence_of_its_own(tokenizer):
    assert shown(tokenizer, Chat(tuple(THINKING), (1, 3))) == [
        ("<s><user>1+1?\n<assistant><think>1+1=2</think> 2</s>", "<think>1+1=2</think> 2</s>"),
        (f"<s><user>1+1?\n<assistant> 2</s>\n<user>2+2?\n<assistant>{THOUGHT}</s>",
         f"{THOUGHT}</s>"),
    ]  # fmt: skip


def test_a_thought_that_the_generation_prompt_opens_is_not_doubled(tokenizer):
    tokenizer.chat_template = CHAT.replace("<assistant>{% endif", "<assistant><think>{% endif")
    ((text, learnt),) = shown(tokenizer, Chat(tuple(THINKING[:2]), (1,)))
    assert text == "<s><user>1+1?\n<assistant><think>1+1=2</think> 2</s>"
    assert learnt == "1+1=2</think> 2</s>"


@pytest.mark.parametrize(
    ("context", "content", "left"),
    [
        ("A: <think>\n", "<think>\nso", "so"),
        ("A: <think>\n", "<think>so", "so"),
        ("A: <think>", "<think>\nso", "\nso"),
        ("A: <think>\n", "so</think>", "so</think>"),
        ("A:", "<think>\nso", "<think>\nso"),
        ("<think> A:", "<think>so", "<think>so"),
    ],
)
def test_undoubled(context, content, left):
    assert undoubled(context, content) == left


def test_a_turns_end_is_what_the_template_writes_up_to_the_first_stop_token(tokenizer):
    def end(template, stop_ids=(2,)):
        tokenizer.chat_template = template
        return Encoder(tokenizer, stop_ids).turn_end

    assert end(CHAT) == (2,)
    (star,) = tokenizer("*", add_special_tokens=False).input_ids
    assert end(CHAT.replace("{{ eos_token }}", "*")) == (2,)  # no stop token: the tokenizer's own
    assert end(CHAT.replace("{{ eos_token }}", "*"), (2, star)) == (star,)
    assert end(CHAT.replace("{{ eos_token }}", "*{{ eos_token }}")) == (star, 2)


def test_what_a_template_refuses_is_named(tokenizer):
    tokenizer.chat_template = (
        "{% if messages|length > 2 %}{{ raise_exception('roles must alternate') }}{% endif %}"
        + CHAT
    )
    with pytest.raises(UserError, match="here: the chat template refuses it .roles must alternate"):
        shown(tokenizer, Chat(tuple(TWO_TURNS), (3,)))
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}{% endfor %}"
    with pytest.raises(UserError, match="--model: the chat template leaves out one of a user's"):
        shown(tokenizer, Chat(tuple(TWO_TURNS), (3,)))
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="has no chat template, which chat messages need"):
        shown(tokenizer, Chat(tuple(TWO_TURNS), (3,)))


def test_join_goes_on_only_with_the_very_same_tokens():
    assert join([([1, 2], [3]), ([1, 2, 3, 4], [5])]) == [
        ([1, 2, 3, 4, 5], [False, False, True, False, True])
    ]
    assert join([([1, 2], [3]), ([1, 2, 9, 4], [5])]) == [
        ([1, 2, 3], [False, False, True]),
        ([1, 2, 9, 4, 5], [False] * 4 + [True]),
    ]
    assert join([([], [7, 8])]) == [([7, 8], [False, True])]


# --- sets of examples ------------------------------------------------------------------------


def load(tmp_path, tokenizer, rows, width=64, **flags):
    source, reports = write(tmp_path / "rows.jsonl", rows), []
    encoder = Encoder(tokenizer, (2,))
    found = load_examples((source,), ConversationConfig(**flags), encoder, width, reports.append)
    return found, reports[0]


def test_examples_come_back_as_sequences_with_masks(tmp_path, tokenizer):
    rows = [{"messages": TWO_TURNS}, {"prompt": [TWO_TURNS[0]], "completion": [TWO_TURNS[1]]}]
    found, report = load(tmp_path, tokenizer, rows[:1])
    assert str(report).endswith(f"1 rows -> 1 examples, {found.totals[0]} tokens, 4 learnt")
    sequences = found.take(np.array([0, 0]))
    assert sequences.learn.shape == (2, found.lengths[0])
    np.testing.assert_array_equal(sequences.learnt, [4, 4])
    p = found.prompt_lengths[0]
    assert tokenizer.decode(sequences.tokens[0, :p]) == "<s><user>1+1?\n<assistant>"
    learnt = sequences.tokens[0, p:][sequences.learn[0]]
    assert tokenizer.decode(learnt) == "2</s>4</s>"
    assert found.learn.sum() == 4
    pairs, _ = load(tmp_path, tokenizer, rows[1:])
    assert pairs.take(np.array([0])).learn is None  # all of the completion is learnt


def test_messages_and_texts_may_stand_in_one_file(tmp_path, tokenizer):
    as_messages = {"prompt": TWO_TURNS[:1], "completion": TWO_TURNS[1:2]}
    found, _ = load(tmp_path, tokenizer, [GOOD, as_messages, GOOD])
    texts = [tokenizer.decode(found.take([i]).tokens[0]) for i in range(3)]
    assert texts == ["1+1= 2</s>", "<s><user>1+1?\n<assistant>2</s>", "1+1= 2</s>"]


def test_what_is_too_long_is_refused_dropped_or_cut(tmp_path, tokenizer):
    long = {"prompt": "1+1=", "completion": " 2" * 20}
    rows = [GOOD, long, {"prompt": "1" * 30, "completion": "2"}]
    with pytest.raises(UserError, match="line 2: .* tokens; --train.width 12 holds no more; use"):
        load(tmp_path, tokenizer, rows, 12)
    found, report = load(tmp_path, tokenizer, rows, 12, too_long="drop")
    assert (len(found.totals), report.dropped, report.truncated) == (1, 2, 0)
    assert "2 too long, dropped" in str(report)
    found, report = load(tmp_path, tokenizer, rows, 12, too_long="truncate")
    # Of the third nothing that is learnt would be left.
    assert (len(found.totals), report.dropped, report.truncated) == (2, 1, 1)
    whole, _ = load(tmp_path, tokenizer, rows, 64)
    np.testing.assert_array_equal(found.take([1]).tokens[0], whole.take([1]).tokens[0, :12])
    assert found.totals.max() == 12
    with pytest.raises(UserError, match="no example is left; raise --train.width 4"):
        load(tmp_path, tokenizer, rows, 4, too_long="drop")


def test_rows_left_out_are_counted_and_the_first_are_listed(tmp_path, tokenizer):
    empty = [GOOD | {"completion": ""}] * 7
    found, report = load(tmp_path, tokenizer, [*empty, GOOD])
    assert len(found.totals) == 1 and "8 rows -> 1 examples" in str(report)
    assert "; 7 rows left out: line 1 (column completion is empty), line 2 (" in str(report)
    assert "line 5 (" in str(report) and str(report).endswith(", ...")
    with pytest.raises(UserError, match="no example is left .*7 rows left out: line 1") as caught:
        load(tmp_path, tokenizer, empty)
    assert "--train.width" not in str(caught.value) and "\n" not in str(caught.value)


def test_held_out_examples_share_no_prompt_with_the_rest(tmp_path, tokenizer):
    rows = [{"prompt": f"{i % 7}=", "completion": f" {i}"} for i in range(28)]
    found, _ = load(tmp_path, tokenizer, rows)
    rest, held = hold_out(found, 5, seed=0)
    assert len(held.keys) == 8 and len(rest.keys) == 20  # four of each prompt
    assert not set(rest.keys) & set(held.keys)
    again = hold_out(found, 5, seed=0)[1]
    np.testing.assert_array_equal(again.keys, held.keys)
    assert any(set(hold_out(found, 5, seed=s)[1].keys) != set(held.keys) for s in range(1, 5))
    with pytest.raises(UserError, match="--data.eval-count 28: leaves none of 28 examples"):
        hold_out(found, 28, seed=0)


def test_the_digest_sees_tokens_masks_and_order(tmp_path, tokenizer):
    rows = [GOOD, {"prompt": "2+2=", "completion": " 4"}]
    found, _ = load(tmp_path, tokenizer, rows)
    moved = load(tmp_path, tokenizer, [{"prompt": "1", "completion": "+1= 2"}, rows[1]])[0]
    assert found.digest == load(tmp_path, tokenizer, rows)[0].digest
    assert len({found.digest, moved.digest, found.select([1, 0]).digest}) == 3


def test_the_key_is_what_is_asked():
    chat = Chat(tuple(say(("s", "Be brief."), ("u", "1+1?"), ("a", "2"))), (2,))
    assert key_of(chat) == key_of(Pair("1+1?", "two")) != key_of(Pair("1+2?", "two"))


# --- real tokenizers -------------------------------------------------------------------------

TOKENIZERS = os.environ.get("R1JAX_TOKENIZERS", "")
real = pytest.mark.skipif(
    not Path(TOKENIZERS, "deepseek_r1").is_dir(),
    reason="R1JAX_TOKENIZERS names no directory with deepseek_r1 and qwen3",
)
LONG = "<think>\n2+2=4\n</think>\n\nIt is 4."


@real
def test_deepseeks_template_loses_no_thought():
    tokenizer = load_tokenizer(Path(TOKENIZERS, "deepseek_r1"))
    messages = say(("u", "1+1?"), ("a", "<think>\n2\n</think>\n\n2"), ("u", "2+2?"), ("a", LONG))
    bos, end = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert "<think>" not in rendered  # what training on the rendered chat would learn
    assert shown(tokenizer, Chat(tuple(messages), (1, 3))) == [
        (f"{bos}<｜User｜>1+1?<｜Assistant｜><think>\n2\n</think>\n\n2{end}",
         f"<think>\n2\n</think>\n\n2{end}"),
        (f"{bos}<｜User｜>1+1?<｜Assistant｜>\n\n2{end}<｜User｜>2+2?<｜Assistant｜>{LONG}{end}",
         f"{LONG}{end}"),
    ]  # fmt: skip
    plain = say(("s", "Brief."), ("u", "1+1?"), ("a", "2"), ("u", "2+2?"), ("a", LONG))
    assert shown(tokenizer, Chat(tuple(plain), (2, 4))) == [
        (f"{bos}Brief.<｜User｜>1+1?<｜Assistant｜>2{end}<｜User｜>2+2?<｜Assistant｜>{LONG}{end}",
         f"2{end}{LONG}{end}"),
    ]  # fmt: skip
    ((text, learnt),) = shown(tokenizer, Pair("1+1=", "2"))
    assert (text, learnt) == (f"{bos}1+1=2{end}", f"2{end}")


@real
def test_qwens_template_adds_no_thought_and_loses_none():
    tokenizer = load_tokenizer(Path(TOKENIZERS, "qwen3"))
    ask = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    first = ask.format("1+1?")
    plain = say(("u", "1+1?"), ("a", "2"), ("u", "2+2?"), ("a", LONG))
    rendered = tokenizer.apply_chat_template(plain[:2], tokenize=False)
    assert "<think>\n\n</think>" in rendered  # an empty thought nobody wrote
    assert shown(tokenizer, Chat(tuple(plain), (1, 3))) == [
        (f"{first}2<|im_end|>\n{ask.format('2+2?')}{LONG}<|im_end|>",
         f"2<|im_end|>{LONG}<|im_end|>"),
    ]  # fmt: skip
    thinking = say(("u", "1+1?"), ("a", LONG), ("u", "2+2?"), ("a", LONG))
    assert shown(tokenizer, Chat(tuple(thinking), (1, 3))) == [
        (f"{first}{LONG}<|im_end|>", f"{LONG}<|im_end|>"),
        (f"{first}It is 4.<|im_end|>\n{ask.format('2+2?')}{LONG}<|im_end|>", f"{LONG}<|im_end|>"),
    ]
    # The learnt turn follows exactly what the sampler is asked to go on from.
    encoder = Encoder(tokenizer, (tokenizer.eos_token_id,))
    (((ids, learn),),) = encoder.encode([("here", Chat(tuple(thinking[:2]), (1,)))])
    asked = tokenizer(first, add_special_tokens=False).input_ids
    assert ids[: learn.index(True)] == asked and ids[-1] == tokenizer.eos_token_id
