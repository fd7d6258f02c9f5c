"""Solutions in steps: the layouts of TRL, PRM800K and ProcessBench, cutting, and their tokens."""

from __future__ import annotations

import pytest
from runs import write_rows

from r1jax.data.examples.encoding import Encoder
from r1jax.data.examples.judged_steps import hold_out_solutions, load_steps
from r1jax.data.examples.preferences import PreferenceConfig
from r1jax.data.examples.steps import read_solutions, step_ends
from r1jax.errors import UserError
from r1jax.rollout.policy import load_policy

PRM800K = {
    "question": {"problem": "1+1?"},
    "label": {
        "steps": [
            {"completions": [{"text": "One and one.", "rating": 0}], "chosen_completion": 0},
            {
                "completions": [{"text": "3", "rating": -1}, {"text": "It is 2.", "rating": 1}],
                "chosen_completion": 1,
            },
            {"completions": [{"text": "So 4.", "rating": -1}], "chosen_completion": None},
            {"completions": [{"text": "never rated so", "rating": 1}], "chosen_completion": 0},
        ],
        "finish_reason": "found_error",
    },
}


def solutions(tmp_path, *rows, **how):
    return [s for _, s in read_solutions(write_rows(tmp_path / "rows.jsonl", rows), **how)]


def test_every_layout_is_read(tmp_path):
    trl = {"prompt": "1+1?", "completions": ["a", "b "], "labels": [True, 0.25]}
    bench = {"problem": "1+1?", "steps": ["a", "b", "c"], "label": 1, "generator": "x"}
    one, two, three, four = solutions(tmp_path, trl, PRM800K, bench, bench | {"label": -1})
    assert (one.prompt, one.steps, one.labels) == ("1+1?", ("a", "b"), (1.0, 0.25))
    assert two.steps == ("One and one.", "It is 2.", "So 4.") and two.labels == (1, 1, 0)
    assert three.steps == ("a", "b", "c") and three.labels == (1, 0)  # behind it nothing is known
    assert four.labels == (1, 1, 1)
    some = trl | {"completions": ["a", "b", "c"], "labels": [True, False]}  # up to the wrong one
    assert solutions(tmp_path, some)[0].labels == (1, 0)
    asked = solutions(tmp_path, trl | {"q": "?"}, prompt_column="q")
    assert asked[0].prompt == "?"


@pytest.mark.parametrize(
    "row, said",
    [
        ({"prompt": "a", "chosen": "b"}, "no solution in steps; expected the columns prompt, "),
        ({"prompt": "a", "completions": ["b"], "labels": [2]}, "label 2; expected true, false, "),
        ({"prompt": "a", "completions": ["b"], "labels": [None]}, "label None; expected"),
        ({"prompt": "a", "completions": ["b"], "labels": [1, 0]}, "a label for each step"),
        ({"prompt": "a", "completions": ["b", "c"], "labels": [1]}, "labels: 1 for 2 completions"),
        ({"prompt": "a", "completions": ["b"], "labels": "1"}, "a list with a label for each step"),
        ({"prompt": "a", "completions": "b", "labels": [1]}, "the steps are no list of texts"),
        ({"prompt": 3, "completions": ["b"], "labels": [1]}, "the prompt is int; expected text"),
        ({"problem": "a", "steps": ["b"], "label": 1}, "first wrong step, from 0 to 0, or -1"),
        ({"question": "a", "label": {"steps": ["b"]}}, "column label: step 1 is not PRM800K's"),
        ({"question": "a", "label": {"steps": 5}}, "column label: its steps are 5; expected a lis"),
        (
            {
                "question": "a",
                "label": {
                    "steps": [{"completions": [{"text": "b", "rating": 1}], "chosen_completion": 1}]
                },
            },
            "column label: step 1 is not PRM800K's",
        ),
        ({"problem": "a", "steps": ["b"], "label": True}, "first wrong step, from 0 to 0, or -1"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_with_its_place(tmp_path, row, said):
    with pytest.raises(UserError, match=r"rows\.jsonl, line 1[^\n]*" + said + r"[^\n]*\Z"):
        solutions(tmp_path, row)


def test_a_row_without_steps_is_left_out_and_named(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [
        {"prompt": "a", "completions": [], "labels": []},
        {"prompt": "a", "completions": ["b", " "], "labels": [1, 1]},
        {"prompt": " ", "completions": ["b"], "labels": [1]},
        {"prompt": "\u200b", "completions": ["b"], "labels": [1]},
        {"prompt": "a", "completions": ["\u200b"], "labels": [1]},
        {"prompt": "a", "completions": ["b"], "labels": []},
        {"question": "a", "label": {"steps": [{"completions": [{"text": "b", "rating": None}]}]}},
    ])  # fmt: skip
    unfit = []
    assert list(read_solutions(path, unfit=unfit)) == []
    assert unfit == [
        "line 1 (no steps)", "line 2 (a step is empty)", "line 3 (no prompt)",
        "line 4 (no prompt)", "line 5 (a step is empty)", "line 6 (no step is judged)",
        "line 7 (no steps)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "cut, text, steps",
    [
        ("line", "a b\n\n c \n", ["a b", "c"]),
        ("paragraph", "a\nb\n \nc", ["a\nb", "c"]),
        ("sentence", "So 2.5+1=3.5. Then 7! 是7。完", ["So 2.5+1=3.5.", "Then 7!", "是7。", "完"]),
        ("line", "  ", []),
    ],
)  # fmt: skip
def test_a_text_is_cut_behind_each_step(cut, text, steps):
    ends = step_ends(text, cut)
    pieces = [text[a:b].strip() for a, b in zip([0, *ends], ends, strict=False)]
    assert pieces == steps


@pytest.fixture(scope="module")
def encoder():
    policy = load_policy("embedded", "plain")
    return Encoder(policy.tokenizer, policy.stop_ids)


def test_the_last_token_of_every_judged_step_is_marked(tmp_path, encoder):
    rows = [
        {"prompt": "12+34=?", "completions": ["First 12+34=46.", "答案是47。"], "labels": [1, 0]},
        {"problem": "9-9=?", "steps": ["So 9-9=1.", "1."], "label": 0},
    ]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    lines = []
    found = load_steps((path,), PreferenceConfig(), "sentence", encoder, 64, lines.append)
    assert lines == [f"{path}: 2 solutions, 3 judged steps"]
    taken, decode = found.take([0, 1]), encoder.tokenizer.decode
    judged = [(["First 12+34=46.", "答案是47。"], [1, 0]), (["So 9-9=1."], [0])]
    for i, (steps, labels) in enumerate(judged):
        before, length = taken.prompt_lengths[i], taken.lengths[i]
        marked = [j for j in range(length) if taken.learn[i, j]]
        assert [taken.columns["label"][i, j] for j in marked] == labels
        for step, j in zip(steps, marked, strict=True):
            assert decode(taken.tokens[i, : before + j + 1]).endswith(step)
            assert not decode(taken.tokens[i, : before + j]).endswith(step)
    rest, held = hold_out_solutions(found, 1, seed=0)
    assert len(rest.lengths) == len(held.lengths) == 1
    assert len({rest.digest, held.digest, found.digest}) == 3


def test_a_solution_wider_than_a_row_is_refused_or_dropped(tmp_path, encoder):
    rows = [
        {"prompt": "?", "completions": ["1. " * 40], "labels": [1]},
        {"prompt": "?", "completions": ["1."], "labels": [1]},
    ]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match=r"line 1: the solution has \d+ tokens .* --train.width 16"):
        load_steps((path,), PreferenceConfig(), "line", encoder, 16)
    lines = []
    load_steps((path,), PreferenceConfig(too_long="drop"), "line", encoder, 16, lines.append)
    assert "1 solutions, 1 judged steps; 1 too long, dropped" in lines[0]
