"""Multiple choice as others write it: which option an answer names, and where it names none."""

from __future__ import annotations

import json
import math

import pyarrow
import pyarrow.parquet
import pytest

from r1jax.data import DataConfig, load_file
from r1jax.errors import UserError

COLOURS = ["red", "green", "blue"]
ARC = {"text": COLOURS, "label": ["1", "2", "3"]}


def load(tmp_path, row):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"question": "Which?"} | row) + "\n")
    return load_file(str(path), DataConfig())[0][0]


@pytest.mark.parametrize(
    ("row", "letter"),
    [
        ({"choices": ARC, "answerKey": "2"}, "B"),
        ({"choices": ARC, "answerKey": 3}, "C"),
        ({"choices": ARC, "answerKey": "red"}, "A"),
        ({"choices": ARC | {"label": [1, 2, 3]}, "answer": 2.0}, "B"),
        ({"choices": ARC | {"label": ["c", "a", "b"]}, "answerKey": "A"}, "B"),
        ({"choices": ARC | {"label": ["A", "B", "C"]}, "answerKey": "C."}, "C"),
        ({"choices": ARC | {"label": ["A", "B", "C"]}, "answer": 1}, "B"),
        ({"choices": {"text": COLOURS}, "answer": "1"}, "B"),
        ({"choices": [{"label": str(i), "text": t} for i, t in enumerate(COLOURS, 1)],
          "answerKey": "1"}, "A"),
        ({"options": {"A": "red", "B": "green"}, "answer": "green", "answer_idx": "B"}, "B"),
        ({"choices": COLOURS, "answer": None, "answer_index": 2}, "C"),
        ({"choices": [*COLOURS, None, None], "answer": "C"}, "C"),
        ({"choices": [*COLOURS, math.nan, " "], "answer": 2}, "C"),
        ({"A": "red", "B": "green", "C": None, "D": None, "answer": "b"}, "B"),
        ({"choices": ["0", "1", "2", "3"], "answer": 1}, "B"),
        ({"choices": [4, 5, 6, 7], "answer": 6}, "C"),
        ({"choices": ["10", "20", "30"], "answer": "20"}, "B"),
        ({"choices": ["AB", "A", "O"], "answer": "AB"}, "A"),
    ],
)  # fmt: skip
def test_the_option_that_an_answer_names(tmp_path, row, letter):
    assert load(tmp_path, row).answer == letter


def test_empty_options_at_the_end_are_none(tmp_path):
    rows = [{"question": "Which?", "choices": [*COLOURS[:n], *[None] * (5 - n)], "answer": 0}
            for n in (2, 3)]  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    problems, _ = load_file(f"{tmp_path}/a.parquet", DataConfig())
    assert [p.question for p in problems] == [
        "Which?\nA. red\nB. green", "Which?\nA. red\nB. green\nC. blue",
    ]  # fmt: skip
    assert problems[0].metadata["options"] == ["red", "green"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"choices": ARC, "answerKey": "0"}, "column answerKey: '0' names none of the 3 options, "
         "or two; expected one of 1, 2, 3, a place from 0"),
        ({"choices": ARC, "answerKey": 4}, "4 names none of the 3"),
        ({"choices": [*COLOURS, None], "answer": "D"}, "'D' names none of the 3"),
        ({"choices": ["1", "2", "3"], "answer": "1"}, "'1' names none of the 3 options, or two"),
        ({"choices": [1, 2, 3], "answer": 2}, "2 names none of the 3 options, or two"),
        ({"choices": ["red", "red", "blue"], "answer": "red"}, "names none"),
        ({"choices": ["red", "red", "blue"], "answer": "B"}, "right option, 'red', is there twice"),
        ({"choices": COLOURS, "answer": None}, "column answer: None names none"),
        ({"choices": COLOURS, "answer": math.nan}, "column answer: None names none"),
        ({"choices": COLOURS, "answer": True}, "True names none"),
        ({"choices": ["red", None, "blue"], "answer": 0}, "option 2 of 3 is empty; expected 2 to"),
        ({"choices": [None, None], "answer": 0}, "expected 2 to 10 options"),
        ({"choices": "['red', 'blue']", "answer": 0}, "expected 2 to 10 options"),
        ({"choices": [["red"], ["blue"]], "answer": 0}, "expected 2 to 10 options"),
        ({"choices": ARC | {"label": ["1", "1", "2"]}, "answer": 0}, "the labels 1, 1, 2;"),
        ({"choices": ARC | {"label": ["1"]}, "answer": 0}, "3 options have the labels 1; expected"),
        ({"choices": COLOURS, "key": 0}, "no column answer or answerkey or"),
    ],
)  # fmt: skip
def test_an_answer_that_names_none_or_two_is_refused(tmp_path, row, said):
    with pytest.raises(UserError) as caught:
        load(tmp_path, row)
    assert said in str(caught.value) and "a.jsonl, line 1" in str(caught.value)
