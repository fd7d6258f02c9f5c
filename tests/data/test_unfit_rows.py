"""Rows that teach nothing: left out, counted and named; a thought apart is never lost silently."""

from __future__ import annotations

import pytest
from test_conversations import GOOD, TWO_TURNS, read, say, write

from r1jax.data.examples.conversations import ConversationConfig, Pair, read_conversations
from r1jax.errors import UserError

CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (GOOD | {"completion": ""}, "column completion is empty"),
        (GOOD | {"completion": " \n"}, "column completion is empty"),
        (GOOD | {"completion": None}, "column completion is empty"),
        (GOOD | {"prompt": None}, "column prompt is empty"),
        ({"prompt": TWO_TURNS[:1], "completion": say(("a", ""))},
         "message 2: the assistant says nothing"),
    ],
)  # fmt: skip
def test_a_pair_that_teaches_nothing_is_left_out_and_named(tmp_path, row, why):
    unfit = []
    source = write(tmp_path / "rows.jsonl", [GOOD, row, GOOD])
    places = [where for where, _ in read_conversations(source, ConversationConfig(), unfit)]
    assert places == [f"{source}, line 1", f"{source}, line 3"] and unfit == [f"line 2 ({why})"]


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        (say(("u", "x"), ("a", "")), "message 2: the assistant says nothing"),
        (say(("u", "x"), ("a", " "), ("u", "y"), ("a", "z")), "message 2: the assistant says not"),
        (say(("u", "x"), ("a", None)), "message 2: the assistant says nothing"),
        ([*say(("u", "x")), {"role": "assistant"}], "message 2: the assistant says nothing"),
        ([*say(("u", "x")), CALL], "message 2: a call of a tool, which is not learnt"),
        ([*say(("u", "x")), CALL | {"content": "Let me see."}], "message 2: a call of a tool"),
        (None, "column messages is empty"),
        ([], "column messages is empty"),
        ([*say(("u", "x")), {"role": "assistant", "content": "z", "weight": 0}], "has weight 0"),
    ],
)
def test_a_chat_that_teaches_nothing_is_left_out_and_named(tmp_path, messages, why):
    unfit = []
    source = write(tmp_path / "rows.jsonl", [{"messages": TWO_TURNS}, {"messages": messages}])
    assert len(list(read_conversations(source, ConversationConfig(), unfit))) == 1
    assert len(unfit) == 1 and why in unfit[0] and unfit[0].startswith("line 2 (")


def test_a_sharegpt_call_is_left_out_too_and_a_turn_of_weight_0_is_read_only(tmp_path):
    call = [{"from": "human", "value": "x"}, {"from": "function_call", "value": "{}"},
            {"from": "observation", "value": "1"}, {"from": "gpt", "value": "1"}]  # fmt: skip
    unfit = []
    source = write(tmp_path / "rows.jsonl", [{"conversations": call}])
    assert not list(read_conversations(source, ConversationConfig(), unfit))
    assert unfit == ["line 1 (message 2: a call of a tool, which is not learnt)"]
    light = [TWO_TURNS[0], TWO_TURNS[1] | {"weight": 0}, *TWO_TURNS[2:]]
    (chat,) = read(tmp_path, [{"messages": light}])
    assert chat.learnt == (3,)
    for odd in ("0", 0.5, [0], 2):
        light[1]["weight"] = odd
        with pytest.raises(UserError, match=r"line 1, a message's weight: is .*; expected 0 or 1"):
            read(tmp_path, [{"messages": light}])


def test_a_layout_goes_by_the_columns_that_hold_something(tmp_path):
    row = {"messages": None, "prompt": None, "question": "1+1=", "answer": "2", "text": None}
    assert read(tmp_path, [row]) == [Pair("1+1=", "2")]


def test_a_thought_in_a_column_can_be_left_out_by_name(tmp_path):
    row = GOOD | {"reasoning": "1 and 1"}
    assert read(tmp_path, [row], completion_column="completion") == [Pair("1+1=", " 2")]
    whole = row | {"completion": "<think>1 and 1</think> 2"}
    assert read(tmp_path, [whole]) == [Pair("1+1=", whole["completion"])]


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"reasoning": "hm"}, "reasoning beside the content"),
        ({"reasoning_details": [{"text": "hm"}]}, "reasoning_details beside the content"),
        ({"tools": [{"name": "f"}]}, "column tools would be lost"),
        ({"prompt": "p", "completion": "c"}, "column completion beside messages would be lost"),
    ],
)
def test_a_column_beside_a_chat_is_lost_by_flag_alone(tmp_path, beside, said):
    row = {"messages": TWO_TURNS} | beside
    with pytest.raises(UserError, match=rf"line 1: [^\n]*{said}[^\n]*--data\.layout messages"):
        read(tmp_path, [row])
    (chat,) = read(tmp_path, [row], layout="messages")
    assert list(chat.messages) == TWO_TURNS
    assert read(tmp_path, [{"messages": TWO_TURNS, "tools": [], "reasoning": ""}]) == [chat]


def test_a_column_system_leads_a_chat_and_does_not_contradict_it(tmp_path):
    (chat,) = read(tmp_path, [{"messages": TWO_TURNS, "system": "Be brief."}], system="Else.")
    assert chat.messages[0]["content"] == "Be brief." and chat.learnt == (2, 4)
    other = {"messages": [*say(("s", "Be long.")), *TWO_TURNS], "system": "Be brief."}
    with pytest.raises(UserError, match="its column system and its system message differ"):
        read(tmp_path, [other])
    with pytest.raises(UserError, match="column system, 'Be brief.', would be lost"):
        read(tmp_path, [GOOD | {"system": "Be brief."}])


def test_a_message_with_details_of_a_thought_is_refused(tmp_path):
    told = [TWO_TURNS[0], TWO_TURNS[1] | {"reasoning_details": [{"text": "hm"}]}]
    with pytest.raises(UserError, match="message 2: reasoning_details beside the content"):
        read(tmp_path, [{"messages": told}])


def parts(*texts):
    return [{"type": "text", "text": text} for text in texts]


def test_content_in_parts_of_text_is_the_text(tmp_path):
    whole = [m | {"content": parts(m["content"][:3], m["content"][3:])} for m in TWO_TURNS]
    assert read(tmp_path, [{"messages": whole}]) == read(tmp_path, [{"messages": TWO_TURNS}])
    unfit = []
    empty = [{"messages": TWO_TURNS}, {"messages": [TWO_TURNS[0], {**TWO_TURNS[1], "content": []}]}]
    source = write(tmp_path / "rows.jsonl", empty)
    list(read_conversations(source, ConversationConfig(), unfit))
    assert unfit == ["line 2 (message 2: the assistant says nothing)"]


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "x"}}, "'image_url'"),
        ({"type": "thinking", "thinking": "hm"}, "'thinking'"),
        ({"type": "text", "text": None}, None),
        ({"type": ["text"], "text": "x"}, r"\['text'\]"),
        ("x", "'str'"),
    ],
)
def test_a_part_that_is_no_text_is_refused(tmp_path, part, kind):
    messages = [TWO_TURNS[0] | {"content": [*parts("look"), part]}, TWO_TURNS[1]]
    fault = f"is of type {kind}" if kind else "has no text"
    said = f"line 1, column messages, message 1, content, part 2: {fault}; only text is read"
    with pytest.raises(UserError, match=said):
        read(tmp_path, [{"messages": messages}])


def test_a_thought_beside_plain_text_is_not_lost(tmp_path):
    row = {"text": "1+1=2", "reasoning": "1 and 1"}
    with pytest.raises(UserError, match="reasoning beside the content; write it into column text"):
        read(tmp_path, [row])
    assert read(tmp_path, [row], layout="text") == [Pair("", "1+1=2")]
