"""Samples out in published layouts, and back through the reader of supervised training."""

from __future__ import annotations

import json

import pyarrow.parquet
import pytest

from r1jax.data.curation.exports import EXPORTS, STRATOS_SYSTEM, export
from r1jax.data.examples.conversations import ConversationConfig, read_conversations
from r1jax.errors import UserError

ENGLISH = "<think> I have 2+2=4. </think> <answer> 4 </answer>"
CHINESE = "<think>\n先算2*3=6。\n</think>\n\n结果是6。"
ROWS = [
    {"id": "a", "question": "2+2?", "prompt": "User: 2+2?\nAssistant:",
     "completion": f" {ENGLISH}", "tokens": 17},
    {"id": "b", "question": "2*3=?", "tokens": 9,
     "messages": [{"role": "user", "content": "2*3=?"}, {"role": "assistant", "content": CHINESE}]},
    {"id": "c", "question": "1+1?", "prompt": "User: 1+1?\nAssistant: <think>",
     "completion": " 1+1=2 </think> <answer> 2 </answer>", "tokens": 8, "origin": "mine"},
]  # fmt: skip
TEXTS = [ENGLISH, CHINESE, "<think> 1+1=2 </think> <answer> 2 </answer>"]


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "kept.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS))
    return path


def told(path):
    """(roles, contents) of every chat that supervised training reads from a file."""
    chats = [chat for _, chat in read_conversations(str(path), ConversationConfig())]
    return [([m["role"] for m in c.messages], [m["content"] for m in c.messages]) for c in chats]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("layout", ["sharegpt", "mixture"])
def test_questions_and_texts_come_back_word_for_word(kept, tmp_path, layout, ending):
    target = tmp_path / "out" / f"set.{ending}"
    assert export(kept, target, layout) == 3
    assert told(target) == [
        (["user", "assistant"], [row["question"], text])
        for row, text in zip(ROWS, TEXTS, strict=True)
    ]
    assert [p.name for p in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_stratos_has_a_system_message_two_turns_and_its_four_marks(kept, tmp_path, ending):
    target = tmp_path / f"stratos.{ending}"
    export(kept, target, "stratos")
    found = told(target)
    assert all(roles == ["system", "user", "assistant"] for roles, _ in found)
    assert [contents[:2] for _, contents in found] == [
        [STRATOS_SYSTEM, row["question"]] for row in ROWS
    ]
    assert found[1][1][2] == (
        "<|begin_of_thought|>\n\n先算2*3=6。\n\n<|end_of_thought|>\n\n"
        "<|begin_of_solution|>\n\n结果是6。\n\n<|end_of_solution|>"
    )
    assert found[2][1][2].split("\n\n") == [
        "<|begin_of_thought|>", "1+1=2", "<|end_of_thought|>",
        "<|begin_of_solution|>", "2", "<|end_of_solution|>",
    ]  # fmt: skip


def test_the_columns_are_the_published_ones(kept, tmp_path):
    columns = {
        "sharegpt": [["conversations"]] * 3,
        "stratos": [["system", "conversations"]] * 3,
        "mixture": [["messages", "num_tokens", "source"]] * 3,
    }
    for layout in EXPORTS:
        export(kept, tmp_path / "x.jsonl", layout)
        rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
        assert [list(row) for row in rows] == columns[layout]
    assert [(row["num_tokens"], row["source"]) for row in rows] == [
        (17, "r1jax"), (9, "r1jax"), (8, "mine"),
    ]  # fmt: skip


def test_parquet_has_whole_numbers_and_lists_of_messages(kept, tmp_path):
    export(kept, tmp_path / "x.parquet", "mixture")
    schema = pyarrow.parquet.read_schema(tmp_path / "x.parquet")
    assert str(schema.field("num_tokens").type) == "int64"
    assert str(schema.field("messages").type).startswith("list<element: struct<role: string")


def test_what_cannot_be_exported_is_one_line(kept, tmp_path):
    with pytest.raises(UserError, match="layout 'alpaca' does not exist; choose from sharegpt"):
        export(kept, tmp_path / "x.jsonl", "alpaca")
    with pytest.raises(UserError, match="ends in .jsonl or .parquet"):
        export(kept, tmp_path / "x.csv", "mixture")
    kept.write_text('{"question": "2+2?", "completion": "4"}\n')
    with pytest.raises(UserError, match="'2.2.': has no thought or no summary"):
        export(kept, tmp_path / "x.jsonl", "stratos")
    kept.write_text('{"question": "2+2?"}\n')
    with pytest.raises(UserError, match="kept.jsonl, line 1: expected question and completion"):
        export(kept, tmp_path / "x.jsonl", "mixture")
