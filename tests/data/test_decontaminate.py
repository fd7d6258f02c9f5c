"""10-gram overlap: against brute force, by hand, and from the command line."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.commands import cli, decontaminate
from r1jax.data.curation.decontaminate import Match, ngrams, overlaps
from r1jax.errors import UserError


def brute(train, evaluation, n, share):
    """Every pair of every row, word by word."""

    def grams(text):
        spaced = re.sub("([一-龥])", r" \1 ", re.sub("[^a-z0-9é一-龥]", " ", text.lower()))
        words = re.sub("(é+)", r" \1 ", spaced).split()
        rows = [words[i : i + n] for i in range(len(words)) if len(words[i : i + n]) == n]
        return rows or ([words] if words else [])

    found = set()
    for a, left in train:
        for b, right in evaluation.items():
            mine, theirs = grams(left), grams(right)
            distinct = [g for i, g in enumerate(theirs) if g not in theirs[:i]]
            held = sum(g in mine for g in distinct)
            if held and held / len(distinct) >= share:
                found.add((a, b, held / len(distinct)))
    return found


@pytest.mark.parametrize("composed", ["naïve café", "नमस्ते दुनिया", "Ελλάδα ёлка"])
def test_an_accent_does_not_part_a_word(composed):
    apart = unicodedata.normalize("NFD", composed)
    assert ngrams(apart, 2) == ngrams(composed, 2) == {tuple(composed.lower().split())}


texts = st.lists(st.sampled_from(["a", "B", "a.", "-", "c3", "é", "小明", "3苹"]), max_size=9)
texts = texts.map(" ".join)


@settings(max_examples=200, deadline=None)
@given(
    train=st.lists(texts, max_size=5),
    evaluation=st.lists(texts, max_size=5),
    n=st.integers(1, 4),
    share=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
def test_as_brute_force_finds_it(train, evaluation, n, share):
    left = [(f"t{i}", text) for i, text in enumerate(train)]
    right = {f"e{i}": text for i, text in enumerate(evaluation)}
    found = overlaps(left, right, n, share)
    assert {(m.train, m.eval, m.share) for m in found} == brute(left, right, n, share)
    assert len(found) == len({(m.train, m.eval) for m in found})


def test_words_and_shares_by_hand():
    assert ngrams("One, two THREE-4!", 2) == {("one", "two"), ("two", "three"), ("three", "4")}
    assert ngrams("one two", 10) == {("one", "two")} and ngrams("?!", 10) == set()
    assert ngrams("有3个Äpfel", 2) == {("有", "3"), ("3", "个"), ("个", "äpfel")}
    words = "a b c d e f g h i j k l m"  # 4 n-grams of 10 words
    assert overlaps([("t", "x a b c d e f g h i j k y")], {"e": words}) == [Match("t", "e", 0.5)]
    assert overlaps([("t", "a b c d e f g h i j")], {"e": words}) == []
    assert overlaps([("t", "a b c d e f g h i j")], {"e": words}, share=0.0)[0].share == 0.25
    with pytest.raises(UserError, match="n must be at least 1"):
        overlaps([], {}, n=0)


@pytest.mark.parametrize("out", ["t.jsonl", "e.jsonl", "soft.jsonl", "hard.jsonl", "report.jsonl"])
def test_an_output_that_is_an_input_is_refused(tmp_path, out):
    text = '{"question": "1+1?", "answer": 2}\n'
    (tmp_path / "report.report.json").symlink_to(tmp_path / "t.jsonl")
    for name in ("t", "e"):
        (tmp_path / f"{name}.jsonl").write_text(text)
    (tmp_path / "soft.jsonl").symlink_to("t.jsonl")
    (tmp_path / "hard.jsonl").hardlink_to(tmp_path / "e.jsonl")
    flags = dict(train=f"{tmp_path}/t.jsonl?answer=2", eval=(f"{tmp_path}/e.jsonl",))
    with pytest.raises(UserError, match=r"\A--out [^\n]* is read as [^\n]*; name another file\Z"):
        decontaminate.main(decontaminate.Config(**flags, out=f"{tmp_path}/{out}"))
    assert all((tmp_path / f"{name}.jsonl").read_text() == text for name in ("t", "e"))


def test_a_file_without_rows_is_refused(tmp_path):
    """Nothing would be found in it, and the output would look clean."""
    (tmp_path / "t.jsonl").write_text('{"question": "1+1?", "answer": 2}\n')
    (tmp_path / "e.jsonl").write_text("\n\n")
    flags = dict(train=f"{tmp_path}/t.jsonl", eval=(f"{tmp_path}/e.jsonl",))
    with pytest.raises(UserError, match=r"e\.jsonl: is empty; expected one problem per line"):
        decontaminate.main(decontaminate.Config(**flags, out=f"{tmp_path}/o.jsonl"))
    assert not (tmp_path / "o.jsonl").exists()


def test_the_command(tmp_path, capsys):
    long = "tell me how many apples are left when {} of the twelve have been eaten up"
    train = [{"id": f"t{i}", "question": long.format(i), "answer": i} for i in (1, 2)]
    train.append({"id": "t3", "question": "Something else, in fewer words.", "answer": 3})
    held = [{"problem": long.format(1).upper(), "answer": 1}]
    for name, rows in (("train", train), ("held", held)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    out = tmp_path / "new" / "clean.jsonl"
    flags = ["--train", f"{tmp_path}/train.jsonl", "--eval", f"{tmp_path}/held.jsonl"]
    assert cli.run(decontaminate.main, decontaminate.Config(), [*flags, "--out", str(out)]) == 0
    assert [json.loads(line) for line in out.read_text().splitlines()] == train[1:]
    report = json.loads((tmp_path / "new" / "clean.report.json").read_text())
    assert report["matches"] == [{"train": "t1", "eval": "held.jsonl#line-1", "share": 1.0}]
    assert (report["rows"], report["kept"]) == (3, 2)
    assert "1 of 3 rows overlap 1 of 1 evaluation rows; 2 kept" in capsys.readouterr().out
    assert cli.run(decontaminate.main, decontaminate.Config(), flags) == 2
