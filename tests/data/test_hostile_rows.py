"""Whatever stands in a row: it is read, left out, or one line that names it; never a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from r1jax.data import LAYOUTS, DataConfig, load_file
from r1jax.data.examples.conversations import READERS, ConversationConfig, read_conversations
from r1jax.data.examples.preferences import PreferenceConfig, read_judged
from r1jax.errors import UserError

WORDS = (
    "", " ", "2", "#### 4", "\\boxed{", "\\boxed{3}", "B", "1e999", "-1", "nan", "٣", "system",
    "user", "assistant", "gpt", "human", "text", "label", "assert f(1) == 1", "{}", '{"inputs": 3}',
)  # fmt: skip
NAMES = (
    "question", "problem", "prompt", "answer", "solution", "choices", "options", "A", "B", "text",
    "label", "answerKey", "answer_index", "Correct Answer", "Incorrect Answer 1",
    "Incorrect Answer 2", "Incorrect Answer 3", "test", "test_list", "tests", "entry_point",
    "input_output", "inputs", "outputs", "fn_name", "nums", "numbers", "target", "id", "grader",
    "messages", "conversations", "role", "content", "from", "value", "chosen", "rejected",
    "response", "completion", "reasoning", "tool_calls", "weight", "system", "input", "output",
)  # fmt: skip

scalars = (
    st.sampled_from(WORDS)
    | st.sampled_from([None, True, False, 0, 1, 3, -7, 10**30, 10**400, 0.5, 1e300, float("nan")])
    | st.text(max_size=3)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=12,
)
USER, SAID = {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}
WHOLE = (
    {"question": "1+1?", "answer": "2", "id": "a", "grader": "math"},
    {"problem": "1+1?", "solution": "So \\boxed{2}."},
    {"question": "1?", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"},
    {"question": "1?", "A": "x", "B": "y", "answer": "A"},
    {"Question": "1?", "Correct Answer": "2"} | {f"Incorrect Answer {i}": "3" for i in (1, 2, 3)},
    {"text": "f", "code": "def f(x): return x", "test_list": ["assert f(1) == 1"]},
    {"prompt": "def f(x):", "canonical_solution": "return 1", "test": "check", "entry_point": "f"},
    {"question": "1?", "tests": [{"input": "1", "output": "2"}]},
    {"question": "1?", "input_output": {"inputs": ["1"], "outputs": ["2"]}},
    {"nums": [1, 2], "target": 3},
    {"prompt": "1+1?", "completion": "2", "chosen": "2", "rejected": "3", "label": "safe"},
    {"messages": [USER, SAID], "chosen": [USER, SAID], "rejected": [USER, SAID], "label": 1},
    {"conversations": [{"from": "human", "value": "1"}, {"from": "gpt", "value": "2"}],
     "chosen": SAID, "rejected": {"from": "gpt", "value": "2"}, "response": "2", "label": True},
    {"text": "all of it"},
)  # fmt: skip
"""A row of every layout, in which other values are put."""


@st.composite
def broken(draw):
    """A whole row, with something else in one or two places, deep or not, or with a key more."""
    row = json.loads(json.dumps(draw(st.sampled_from(WHOLE))))
    for _ in range(draw(st.integers(1, 2))):
        inside = row
        while True:
            keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(inside[key], dict | list) or draw(st.booleans()):
                inside[key] = draw(values)
                break
            inside = inside[key]
    return row | draw(st.just({}) | st.dictionaries(st.sampled_from(NAMES), values, max_size=2))


rows = broken() | st.dictionaries(st.sampled_from(NAMES), values, max_size=8)


def only_user_errors(read):
    """Reads; a UserError has to be one line that names the file."""
    try:
        found = read()
        return list(found) if isinstance(found, Iterator) else found
    except UserError as error:
        assert "\n" not in str(error) and "rows.jsonl" in str(error)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile") / "rows.jsonl"


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(rows, min_size=1, max_size=2), st.sampled_from(["auto", *LAYOUTS]))
@example([{"question": "1+1?", "answer": "", "grader": "math"}], "ifeval")
@example([{"prompt": "1+1?", "instruction_id_list": 5, "grader": "math"}], "ifeval")
def test_problems(path, found, layout):
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    config = DataConfig(layout=layout, grader="number")
    only_user_errors(lambda: load_file(str(path), config))


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(rows, min_size=1, max_size=2), st.sampled_from(["auto", *READERS]))
def test_conversations_and_judged_rows(path, found, layout):
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    source = str(path)
    only_user_errors(lambda: read_conversations(source, ConversationConfig(layout=layout)))
    pair, single = PreferenceConfig(), PreferenceConfig(template="mini")
    only_user_errors(lambda: read_judged(source, pair, "pairwise", "summary"))
    only_user_errors(lambda: read_judged(source, single, "pointwise", "whole"))


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60))
def test_bytes(path, content):
    path.write_bytes(b'{"question": "1?", "answer": 1}\n' + content)
    only_user_errors(lambda: load_file(str(path), DataConfig(grader="number")))


@pytest.mark.parametrize("name", ["answer", "question", "id", "target", "label"])
def test_a_number_beyond_what_floats_hold(path, name):
    for row in WHOLE:
        path.write_text(json.dumps(row | {name: 10**400}) + "\n")
        only_user_errors(lambda: load_file(str(path), DataConfig(grader="number")))
        only_user_errors(lambda: read_conversations(str(path), ConversationConfig()))


def test_a_name_that_no_system_takes_is_one_line():
    for read in (load_file, lambda name, config: list(read_conversations(name, config))):
        with pytest.raises(UserError, match=r"x\.jsonl: no such file$"):
            read("x" * 300 + ".jsonl", DataConfig())
