"""Judged responses: what rows may look like, which part of them counts, how pairs are packed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_sequences

from r1jax.data.examples.conversations import Chat, Pair, wrapped
from r1jax.data.examples.encoding import Encoder
from r1jax.data.examples.judged import hold_out_prompts, load_preferences, pack_pairs, unpack_pairs
from r1jax.data.examples.preferences import PreferenceConfig, read_judged, summary
from r1jax.data.packing import Denominators
from r1jax.errors import UserError
from r1jax.rollout.policy import load_policy

PAIR = {"prompt": "1+1=", "chosen": "2", "rejected": "3"}
LABELLED = {"prompt": "1+1=", "response": "2", "label": "safe"}
USER = {"role": "user", "content": "1+1=?"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("2", "3"))


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(tmp_path, row, kind="pairwise", view="whole", **config):
    source = write(tmp_path / "rows.jsonl", [row])
    ((_, found),) = read_judged(source, PreferenceConfig(**config), kind, view)
    return found


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": "2", "rejected": BAD},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},  # TRL, implicit prompt
        {"prompt": "1+1=?", "chosen": [USER, GOOD], "rejected": [USER, BAD]},  # UltraFeedback
        {
            "conversations": [{"from": "human", "value": "1+1=?"}],  # LLaMA-Factory
            "chosen": {"from": "gpt", "value": "2"},
            "rejected": {"from": "gpt", "value": "3"},
        },
        {
            "problem": [{"from": "human", "value": "1+1=?"}],
            "chosen": {"from": "gpt", "value": "2"},
            "rejected": "3",
        },
    ],
)
def test_layouts_of_chats_are_one(tmp_path, row):
    chosen, rejected = read(tmp_path, row).responses
    assert chosen == Chat((USER, GOOD), (1,)) and rejected == Chat((USER, BAD), (1,))


def test_pairs_of_text(tmp_path):
    assert read(tmp_path, PAIR).responses == (Pair("1+1=", "2"), Pair("1+1=", "3"))
    other = {"ask": "1+1=", "chosen": "2", "rejected": "3"}
    assert read(tmp_path, other, prompt_column="ask") == read(tmp_path, PAIR)


def test_a_template_and_a_system_message_go_around(tmp_path):
    (mini, _) = read(tmp_path, PAIR, template="mini").responses
    assert mini.prompt != "1+1=" and "1+1=" in mini.prompt
    assert mini == wrapped("1+1=", "2", "mini", "")
    chat, _ = read(tmp_path, PAIR, template="chat", system="Be brief.").responses
    assert [m["role"] for m in chat.messages] == ["system", "user", "assistant"]
    assert chat == wrapped("1+1=", "2", "chat", "Be brief.")
    told = {"conversations": [{"from": "human", "value": "?"}], "chosen": "2", "rejected": "3"}
    chat, _ = read(tmp_path, told | {"system": "Hm."}).responses
    assert chat.messages[0] == {"role": "system", "content": "Hm."}
    chat, _ = read(tmp_path, PAIR | {"system": "Hm."}, template="chat").responses
    assert chat.messages[0] == {"role": "system", "content": "Hm."}


def test_a_response_may_go_on_from_its_prompt(tmp_path):
    row = {"prompt": [USER], "chosen": [BAD, USER, GOOD], "rejected": [BAD, USER, BAD]}
    chosen, rejected = read(tmp_path, row).responses
    assert chosen == Chat((USER, BAD, USER, GOOD), (3,))
    assert rejected == Chat((USER, BAD, USER, BAD), (3,))


@pytest.mark.parametrize(
    ("label", "value"),
    [("safe", 1.0), ("unsafe", 0.0), (1, 1.0), (0, 0.0), (True, 1.0), (1.0, 1.0), (0.0, 0.0)],
)
def test_labels(tmp_path, label, value):
    found = read(tmp_path, LABELLED | {"label": label}, "pointwise")
    assert found.label == value and found.responses == (Pair("1+1=", "2"),)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>1 and 1</think> 2 ", "2"),
        ("1 and 1</think>\n2", "2"),  # the prompt opened the thought
        ("no thought", "no thought"),
        ("<think>never closed", ""),
        ("<think>a</think>", ""),
        ("<think>a</think>b</think>c", "b</think>c"),
    ],
)
def test_the_summary_is_what_follows_the_thought(text, left):
    assert summary(text) == left


def test_the_view_decides_what_is_judged(tmp_path):
    row = PAIR | {"chosen": "<think>1, 1</think>2"}
    assert read(tmp_path, row, view="summary").responses[0].completion == "2"
    assert read(tmp_path, row, view="whole").responses[0].completion == row["chosen"]


def test_a_thought_beside_a_labelled_response_is_lost_where_it_is_not_judged(tmp_path):
    row = LABELLED | {"thinking": "hm"}
    with pytest.raises(UserError, match="thinking beside the content; write it into column resp"):
        read(tmp_path, row, "pointwise", "whole")
    thought = LABELLED | {"response": "<think>hm</think> r", "thinking": "hm"}
    for fine, view in ((row, "summary"), (thought, "whole")):
        assert read(tmp_path, fine, "pointwise", view)


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ({"chosen": "a", "rejected": "b"}, "pairwise", "no column prompt or question or"),
        ({"prompt": "p", "chosen": "a"}, "pairwise", "no column rejected; it has prompt, chosen"),
        (PAIR | {"rejected": 3}, "pairwise", "column rejected: expected a list of messages"),
        (
            PAIR | {"prompt": [USER], "chosen": [GOOD | {"thinking": "hm"}]},
            "pairwise",
            "column chosen, message 1: thinking beside the content; write it into the content",
        ),
        (PAIR | {"chosen": [USER]}, "pairwise", "column chosen: expected text, or a message of"),
        (PAIR | {"prompt": 3}, "pairwise", "column prompt: expected a list of messages"),
        (PAIR | {"chosen_reasoning": "hm"}, "pairwise", "column chosen_reasoning would be lost"),
        (PAIR | {"tools": [{"name": "f"}]}, "pairwise", "column tools would be lost"),
        (PAIR | {"system": "Hm."}, "pairwise", "column system, 'Hm.', would be lost"),
        (
            {"prompt": [USER, GOOD, USER], "chosen": [GOOD, USER, GOOD], "rejected": [BAD]},
            "pairwise",
            "the messages before chosen and before rejected differ",
        ),
        (
            {"prompt": "q", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
            "pairwise",
            "the prompt is not what stands before the response",
        ),
        (PAIR | {"prompt": [{"role": "robot", "content": ""}]}, "pairwise", "role is 'robot'"),
        (
            {"chosen": [USER, GOOD], "rejected": [USER, GOOD, USER, BAD]},
            "pairwise",
            "the messages before chosen and before rejected differ",
        ),
        (LABELLED | {"label": "fine"}, "pointwise", "column label: 'fine'; expected safe, unsafe"),
        ({"prompt": "p", "response": "r"}, "pointwise", "no column label; it has prompt, respons"),
        ({"prompt": "p", "label": 1}, "pointwise", "no column response"),
    ],
)
def test_bad_rows_are_named_in_one_line(tmp_path, row, kind, said):
    source = write(tmp_path / "rows.jsonl", [PAIR if kind == "pairwise" else LABELLED, row])
    with pytest.raises(UserError) as caught:
        list(read_judged(source, PreferenceConfig(), kind, "summary"))
    text = str(caught.value)
    assert said in text and text.startswith(f"{source}, line 2") and "\n" not in text


@pytest.mark.parametrize(
    ("row", "kind", "why"),
    [
        (PAIR | {"chosen": ""}, "pairwise", "column chosen is empty"),
        (PAIR | {"rejected": None}, "pairwise", "column rejected is empty"),
        (PAIR | {"prompt": None}, "pairwise", "column prompt is empty"),
        (PAIR | {"prompt": []}, "pairwise", "column prompt is empty"),
        (
            PAIR | {"chosen": "<think>a</think>"},
            "pairwise",
            "column chosen is empty after </think>",
        ),
        (PAIR | {"chosen": GOOD | {"content": None}}, "pairwise", "message 1: the assistant says"),
        (LABELLED | {"label": None}, "pointwise", "column label is empty"),
        (LABELLED | {"response": " "}, "pointwise", "column response is empty"),
    ],
)
def test_rows_with_nothing_to_judge_are_left_out_and_named(tmp_path, row, kind, why):
    unfit, whole = [], PAIR if kind == "pairwise" else LABELLED
    source = write(tmp_path / "rows.jsonl", [whole, row, whole])
    found = list(read_judged(source, PreferenceConfig(), kind, "summary", unfit))
    assert [where for where, _ in found] == [f"{source}, line 1", f"{source}, line 3"]
    assert len(unfit) == 1 and unfit[0].startswith(f"line 2 ({why}")


def loaded(tmp_path, rows, kind="pairwise", width=64, **config):
    policy = load_policy("embedded", "plain")
    said = []
    found = load_preferences(
        (write(tmp_path / "rows.jsonl", rows),), PreferenceConfig(**config), kind, "whole",
        Encoder(policy.tokenizer, policy.stop_ids), width, said.append,
    )  # fmt: skip
    return found, str(said[0]), policy


def test_rows_become_tokens_that_end_in_the_stop_token(tmp_path):
    rows, said, policy = loaded(tmp_path, [PAIR, PAIR | {"chosen": "17"}])
    part = rows.take(np.asarray([1, 0]))
    texts = [
        policy.tokenizer.decode(tokens[:total])
        for tokens, total in zip(part.tokens, part.totals, strict=True)
    ]
    end = policy.tokenizer.eos_token
    assert texts == [f"1+1={x}{end}" for x in ("17", "3", "2", "3")]
    assert part.learn is None and rows.lengths.tolist() == [4, 5]
    assert "2 rows -> 2 kept" in said


def test_labels_travel_with_their_responses(tmp_path):
    found, _, _ = loaded(
        tmp_path, [LABELLED, LABELLED | {"response": "3", "label": "unsafe"}], "pointwise"
    )
    assert found.take(np.asarray([1, 0])).columns["label"].tolist() == [0.0, 1.0]
    moved = replace(found, labels=1 - found.labels)
    assert moved.digest != found.digest


def test_equal_and_long_pairs_are_left_out_and_counted(tmp_path):
    rows = [PAIR, PAIR | {"rejected": "2"}, PAIR | {"chosen": "1" * 40}]
    found, said, _ = loaded(tmp_path, rows, width=20, too_long="drop")
    assert len(found.lengths) == 1
    assert "1 with equal responses left out; 1 too long, dropped" in said
    with pytest.raises(UserError, match=r"line 3: chosen and rejected have \d+ tokens with the"):
        loaded(tmp_path, rows, width=20)
    with pytest.raises(UserError, match="no row is left; raise --train.width 3"):
        loaded(tmp_path, rows, width=3, too_long="drop")
    equal = [PAIR | {"rejected": rejected} for rejected in ("2", "2</s>")]
    with pytest.raises(UserError, match="no row is left .*2 with equal responses") as caught:
        loaded(tmp_path, equal)
    assert "--train.width" not in str(caught.value)
    with pytest.raises(UserError, match=r"no row is left .*1 rows left out: line 1 \(column chos"):
        loaded(tmp_path, [PAIR | {"chosen": None}])


def test_held_out_prompts_are_never_learnt(tmp_path):
    rows = [PAIR | {"prompt": f"{i % 7}+1=", "chosen": str(10 + i)} for i in range(30)]
    found, _, _ = loaded(tmp_path, rows)
    rest, held = hold_out_prompts(found, 6, seed=1)
    assert len(rest.lengths) + len(held.lengths) == 30 and 6 <= len(held.lengths) <= 11
    assert not np.isin(rest.keys, held.keys).any()
    assert hold_out_prompts(found, 6, seed=1)[1].digest == held.digest
    with pytest.raises(UserError, match="leaves none of 30 examples"):
        hold_out_prompts(found, 30, seed=1)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(*[st.integers(1, 6)] * 3), min_size=1, max_size=9),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_both_responses_of_a_pair_share_a_row(pairs, rows, most):
    """Neighbouring segments, positions of their own, every token once; `unpack_pairs` inverts."""
    prompts = [p for p, _, _ in pairs for _ in range(2)]
    lengths = [n for _, *both in pairs for n in both]
    whole = random_sequences(prompts, lengths)
    totals = Denominators.of(whole, 1)
    batches = pack_pairs(whole, rows, 30, 2 * most, totals)
    seen = []
    for batch in batches:
        assert batch.lengths.shape == (rows, 2 * most) and batch.n_sequences == len(lengths)
        for row in range(rows):
            ids, mask = batch.segment_ids[row], batch.mask[row]
            for m in range(2 * most):
                own = ids == m + 1
                assert batch.lengths[row, m] == mask[own].sum()
                if own.any():
                    assert batch.positions[row][own].tolist() == list(range(own.sum()))
                    seen.append((m % 2, batch.tokens[row][own].tolist()))
            assert (batch.lengths[row, 0::2] > 0).tolist() == (
                batch.lengths[row, 1::2] > 0
            ).tolist()
    wanted = [(i % 2, whole.tokens[i, : whole.totals[i]].tolist()) for i in range(len(lengths))]
    assert sorted(seen) == sorted(wanted)
    back = unpack_pairs([b.ref_logp for b in batches], whole, rows, 30, 2 * most)
    for i, n in enumerate(lengths):
        np.testing.assert_array_equal(back[i, :n], whole.columns["ref_logp"][i, :n])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"template": "nope"}, "--data.template nope: no such template"),
        ({"eval_count": -1}, "--data.eval-count -1: must be 0 or more"),
        ({"eval": ("a.jsonl",), "eval_count": 2}, "give one of the two"),
    ],
)
def test_flags_that_do_not_fit(values, said):
    with pytest.raises(UserError, match=said):
        PreferenceConfig(**values)
