"""Rows that nothing could work with later are named by file and line before anything is made."""

from __future__ import annotations

import json

import pyarrow
import pyarrow.parquet
import pytest

from r1jax.commands import cli, compare, decontaminate, evaluate
from r1jax.data import DataConfig, EvalDataConfig, load_file, open_source
from r1jax.data.curation.streams import CurationFiles
from r1jax.data.examples.conversations import ConversationConfig, read_conversations
from r1jax.data.examples.preferences import PreferenceConfig, read_judged
from r1jax.data.rows import DEEPEST, half_character, open_rows, read_json
from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.run.directory import read_json as run_json
from r1jax.run.directory import read_jsonl, write_jsonl

HALF = '"\\ud83d smile"'
DEEP = "[" * 3000 + "]" * 3000


def text_rows(path, *lines):
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


FAULTS = [
    (HALF, r"line 2: holds half a character, \ud83d, without its other half"),
    ('{"\\uDE00": 1}', r"line 2: holds half a character, \ude00"),
    (DEEP, f"line 2: lists and objects lie more than {DEEPEST} deep"),
    ("[" * 100 + "]" * 100, f"line 2: lists and objects lie more than {DEEPEST} deep"),
    ("Infinity", "line 2: Infinity is no number of JSON's"),
    ("1e999", "line 2: holds a number beyond 1.8e308"),
    ('{"a": 1, "b": {}, "a": 1}', "line 2: has the key 'a' twice in one object; take one out"),
    ("9" * 5000, "line 2: holds a whole number of more than 4300 digits; write it as"),
    ("'x'", "line 2: not JSON"),
]


@pytest.mark.parametrize(("value", "said"), FAULTS)
@pytest.mark.parametrize("reader", ["problems", "conversations", "pairs", "decontaminate"])
def test_every_reader_names_the_line(tmp_path, value, said, reader):
    good = '{"question": "1+1?", "answer": "2", "chosen": "2", "rejected": "3"}'
    source = text_rows(tmp_path / "a.jsonl", good, good[:-1] + f', "more": {value}}}')
    read = {
        "problems": lambda: load_file(source, DataConfig(grader="number")),
        "conversations": lambda: list(read_conversations(source, ConversationConfig())),
        "pairs": lambda: list(read_judged(source, PreferenceConfig(), "pairwise", "whole")),
        "decontaminate": lambda: list(decontaminate.questions(source, None)),
    }[reader]
    with pytest.raises(UserError) as caught:
        read()
    assert f"{source}, {said}" in str(caught.value) and "\n" not in str(caught.value)


def test_what_only_looks_like_a_fault_is_read():
    assert read_json('{"a": "\\ud83d\\ude00 \\\\ud83d"}') == {"a": "😀 \\ud83d"}
    assert read_json(b'{"a": NaN, "b": "[[[[' + b"[{" * 99 + b'"}')["a"] is None
    deepest = "[" * DEEPEST + "1" + "]" * DEEPEST
    assert json.dumps(read_json(deepest)) == deepest
    assert half_character("a😀") == "" and half_character("a\udcff") == "\\udcff"


def test_a_mark_before_the_first_line_is_no_part_of_it(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\n{"a": "\xff"}\n')
    rows = open_rows(f"{tmp_path}/a.jsonl")[1]
    assert next(rows) == (1, {"a": 1})
    with pytest.raises(UserError, match=r"a.jsonl, line 2: not UTF-8 .*can't decode byte 0xff"):
        next(rows)


def test_a_parquet_file_whose_text_is_no_utf8_is_one_line(tmp_path):
    bad = pyarrow.array([b"\xff"], pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"question": bad}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a.parquet: not a readable parquet file \('utf-8' codec"):
        load_file(f"{tmp_path}/a.parquet", DataConfig())
    twice = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["answer", "answer"])
    pyarrow.parquet.write_table(twice, tmp_path / "b.parquet")
    with pytest.raises(UserError, match="b.parquet: has two columns answer; rename one"):
        load_file(f"{tmp_path}/b.parquet", DataConfig())


def test_a_choice_of_rows_that_keeps_none_says_so(tmp_path):
    source = text_rows(tmp_path / "a.jsonl", '{"split": "train"}')
    with pytest.raises(UserError, match=r"a.jsonl: none of its rows has split test or dev"):
        list(open_rows(source + "?split=test,dev")[1])


def test_a_users_problem_that_no_tokenizer_takes_is_refused(monkeypatch, tmp_path):
    (tmp_path / "half_task.py").write_text(
        "from r1jax.problem import Problem\n"
        "def half(rng): return Problem('1', 'a\\ud83d', '2')\n"
        "def number(rng): return Problem('1', 'a', 2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, said in (("half", "question has half a character"), ("number", "answer has int")):
        with pytest.raises(UserError, match=f"half_task:{name}: returned a problem whose {said}"):
            open_source(f"half_task:{name}", DataConfig(), 0)
    assert Problem("1", "a", "2").number


# --- what is written -------------------------------------------------------------------------


def run_decontaminate(tmp_path, train, out="clean.jsonl"):
    held = text_rows(tmp_path / "held.jsonl", '{"question": "nothing of the kind"}')
    flags = ["--train", train, "--eval", held, "--out", str(tmp_path / out)]
    return cli.run(decontaminate.main, decontaminate.Config(), flags)


def test_a_failed_decontamination_leaves_nothing_that_looks_whole(tmp_path, capsys):
    bad = text_rows(tmp_path / "a.jsonl", '{"question": "fine"}', f'{{"question": {HALF}}}')
    assert run_decontaminate(tmp_path, bad) == 2
    assert f"{bad}, line 2: holds half a character" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "held.jsonl"}


@pytest.mark.parametrize(
    ("out", "said"),
    [("clean.parquet", "ends in .jsonl"), ("a.jsonl/x.jsonl", "cannot be written"), (".", "ends")],
)
def test_an_output_that_cannot_be_is_one_line(tmp_path, capsys, out, said):
    train = text_rows(tmp_path / "a.jsonl", '{"question": "fine", "much": NaN}')
    assert run_decontaminate(tmp_path, train, out) == 2
    assert said in capsys.readouterr().err
    assert run_decontaminate(tmp_path, train) == 0
    assert (tmp_path / "clean.jsonl").read_text() == '{"question": "fine", "much": null}\n'


def test_evaluation_files_of_one_name_and_rows_of_one_id_are_told_apart(tmp_path):
    for name, word in (("x", "apples"), ("y", "pears")):
        (tmp_path / name).mkdir()
        text_rows(tmp_path / name / "test.jsonl", f'{{"id": 7, "question": "how many {word}"}}')
    rows = [{"id": "t", "question": q} for q in ("how many apples", "why", "how many pears")]
    train = text_rows(tmp_path / "train.jsonl", *map(json.dumps, rows))
    evaluation = tuple(f"{tmp_path}/{name}/test.jsonl" for name in "xy")
    out = tmp_path / "clean.jsonl"
    decontaminate.main(decontaminate.Config(train, evaluation, str(out)))
    assert [json.loads(line)["question"] for line in out.read_text().splitlines()] == ["why"]


def test_a_run_file_takes_whatever_text_comes_and_gives_it_back(tmp_path):
    rows = [{"text": "half \ud83d, whole 😀"}]
    write_jsonl(tmp_path / "samples.jsonl", rows)
    assert read_jsonl(tmp_path / "samples.jsonl") == rows
    assert b"half \\ud83d, whole \xf0" in (tmp_path / "samples.jsonl").read_bytes()


def test_a_run_file_that_lies_too_deep_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text("[" * 10**5)
    (tmp_path / "metrics.jsonl").write_text("[" * 10**5 + "\n")
    with pytest.raises(UserError, match="config.json: not JSON .*--overwrite"):
        run_json(tmp_path / "config.json")
    with pytest.raises(UserError, match="metrics.jsonl, line 1: not JSON; remove it"):
        read_jsonl(tmp_path / "metrics.jsonl")


def test_samples_that_were_cut_are_not_taken_up_and_overwritten_ones_refused(tmp_path):
    streams = CurationFiles(tmp_path, fresh=True)
    for i in range(3):
        streams.add({"id": f"p{i}", "kept": 1}, [{"id": f"p{i}", "text": "x" * 20}], [])
    streams.close()
    kept, prompts = tmp_path / "kept.jsonl", tmp_path / "prompts.jsonl"
    whole = prompts.read_bytes()
    prompts.write_bytes(whole.replace(b'"p1"', b'"p1'))
    with pytest.raises(UserError, match="prompts.jsonl, line 2: cannot be read .*--overwrite"):
        CurationFiles(tmp_path, fresh=False)
    prompts.write_bytes(whole)
    prompts.write_bytes(whole + b"\0" * 30 + b"\n\0")  # what a power cut may leave
    kept.write_bytes(kept.read_bytes()[:-5])
    streams = CurationFiles(tmp_path, fresh=False)
    assert [row["id"] for row in streams.prompts] == ["p0", "p1"] and streams.lost == 1
    assert [row["id"] for row in streams.rows("kept")] == ["p0", "p1"]


@pytest.mark.parametrize(
    "text", ['[{"question": "1+1?", "answer": 2}]', "\n[\n  {}\n]\n", "[1]\n[2]"]
)
def test_a_file_that_is_one_array_says_so(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"\A[^\n]*a\.jsonl: is one JSON array; [^\n]*\Z"):
        load_file(str(tmp_path / "a.jsonl"), DataConfig())


@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_an_output_beside_its_inputs_does_not_overwrite_them(tmp_path, command):
    (tmp_path / "config.json").write_text("{}")
    if command == "compare":
        config = compare.Config(
            runs=(str(tmp_path),), out=str(tmp_path / "x" / ".." / "config.json")
        )
    else:
        (tmp_path / "completions.jsonl").symlink_to(tmp_path / "config.json")
        data = EvalDataConfig(eval=(str(tmp_path / "completions.jsonl"),), template="mini")
        (tmp_path / "out").symlink_to(tmp_path)
        (tmp_path / "config.json").rename(tmp_path / "rows.json")
        config = evaluate.Config(out=str(tmp_path / "out"), data=data)
    with pytest.raises(UserError, match=r"\A--out [^\n]* is read as [^\n]*; name another file\Z"):
        (compare if command == "compare" else evaluate).main(config)
