"""Problem sources: files and their mistakes, generated problems, the stream of one integer."""

import json
import os
import sys
from collections import Counter
from dataclasses import replace

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.data import DataConfig, ProblemStream, load_eval_sets, load_file, open_source, set_name
from r1jax.data.problems.gym import held_out
from r1jax.errors import UserError
from r1jax.rewards import unsafe_reasoning_gym_tasks
from r1jax.rewards.answers.graders import grade

FILES = DataConfig(grader="number")


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def sums(count, **more):
    return [{"question": f"{i}+{i}?", "answer": str(2 * i), **more} for i in range(count)]


# --- files -----------------------------------------------------------------------------------


def test_a_jsonl_file(tmp_path):
    rows = [
        {"question": "What is 6*7?", "answer": 42, "level": 3},
        {"problem": "Natalia sold 48 clips ...", "answer": "48/2 = 24 ...\n#### 72"},
        {"prompt": "Pick.", "solution": "B", "grader": "choice", "id": "q-3"},
        {"question": "  What is\n6*7?", "answer": "42"},
    ]
    problems, report = load_file(write_jsonl(tmp_path / "a.jsonl", rows), FILES)
    assert [(p.question, p.answer, p.grader, dict(p.metadata)) for p in problems] == [
        ("What is 6*7?", "42", "number", {"level": 3}),
        ("Natalia sold 48 clips ...", "72", "number", {}),
        ("Pick.", "B", "choice", {}),
    ]
    assert problems[2].id == "q-3"
    assert (report.rows, report.kept, report.duplicates, report.unreadable) == (4, 3, 1, 0)
    assert str(report).endswith("a.jsonl: 3 of 4 problems kept; 1 repeated questions dropped")


def test_a_parquet_file_reads_like_the_same_jsonl(tmp_path):
    rows = sums(7, level=1)
    jsonl = write_jsonl(tmp_path / "a.jsonl", rows)
    parquet = str(tmp_path / "a.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), parquet)
    assert load_file(parquet, FILES)[0] == load_file(jsonl, FILES)[0]


def test_named_columns_win(tmp_path):
    rows = [{"question": "no", "aufgabe": "1+1?", "answer": "no", "lösung": "2"}]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    config = DataConfig(question_column="aufgabe", answer_column="lösung", grader="number")
    (problem,), _ = load_file(path, config)
    assert (problem.question, problem.answer) == ("1+1?", "2")
    assert problem.metadata == {"question": "no", "answer": "no"}


GOOD = '{"question": "1+1?", "answer": "2"}\n'


@pytest.mark.parametrize(
    "name, content, line",
    [
        ("a.jsonl", "", "a.jsonl: is empty; expected one problem per line"),
        ("a.jsonl", "\n\n", "a.jsonl: is empty"),
        ("a.jsonl", GOOD + "{oops\n", "a.jsonl, line 2: not JSON"),
        ("a.jsonl", GOOD + "\n[1, 2]\n", "a.jsonl, line 3: expected an object"),
        (
            "a.jsonl",
            GOOD + '{"text": "x", "answer": "2"}\n',
            "a.jsonl, line 2: no column question or problem or prompt; it has text, answer "
            "(--data.question-column names another)",
        ),
        ("a.jsonl", '{"question": "x"}\n', "a.jsonl, line 1: no column answer or solution"),
        (
            "a.jsonl",
            GOOD + '{"prompt": [{"role": "user"}], "answer": "2"}\n',
            "a.jsonl, line 2, column prompt: is [{'role': 'user'}]; expected text",
        ),
        ("a.jsonl", '{"question": " ", "answer": "2"}\n', "line 1, column question: is empty"),
        ("a.jsonl", '{"question": "x", "answer": true}\n', "line 1, column answer: is True"),
        (
            "a.jsonl",
            '{"id": "x", "question": "1", "answer": 2}\n{"id": "x", "question": "2", "answer": 1}',
            "a.jsonl, line 2, column id: 'x' is used twice",
        ),
        ("a.jsonl", GOOD[:-2] + ', "grader": "vibes"}\n', "a.jsonl, line 1: problem"),
        ("a.parquet", "not parquet", "a.parquet: not a readable parquet file"),
        ("a.csv", "question,answer\n", "a.csv: not a source; expected world:FAMILIES"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, line):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        load_file(str(path), FILES)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_a_parquet_file_without_the_column_names_row_and_columns(tmp_path):
    path = str(tmp_path / "a.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"q": ["x"], "answer": ["1"]}), path)
    with pytest.raises(UserError, match="row 1: no column question .* it has q, answer"):
        load_file(path, FILES)
    empty = pyarrow.table({"question": pyarrow.array([], pyarrow.string())})
    pyarrow.parquet.write_table(empty, path)
    with pytest.raises(UserError, match="is empty; expected one problem per row"):
        load_file(path, FILES)


def test_what_is_not_a_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        open_source(str(tmp_path / "b.jsonl"), FILES, 0)
    (tmp_path / "c.jsonl").mkdir()
    with pytest.raises(UserError, match="is a directory"):
        open_source(str(tmp_path / "c.jsonl"), FILES, 0)
    os.mkfifo(tmp_path / "d.jsonl")
    with pytest.raises(UserError, match="d.jsonl: is a pipe or a device; write its rows to a file"):
        open_source(str(tmp_path / "d.jsonl"), FILES, 0)
    for nothing in ("", " ", "?a=1"):
        with pytest.raises(UserError, match=r"^'.*': names no source"):
            open_source(nothing, FILES, 0)
    with pytest.raises(UserError, match="gsm8k: not a source"):
        open_source("gsm8k", FILES, 0)


def test_unreadable_gold_answers_are_dropped_counted_and_listed(tmp_path):
    rows = sums(200)
    rows[16]["answer"], rows[40]["answer"] = "see below", ""
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    problems, report = load_file(path, FILES)
    assert len(problems) == report.kept == 198 and report.unreadable == 2
    assert not {"16+16?", "40+40?"} & {problem.question for problem in problems}
    assert "198 of 200 problems kept; 2 gold answers cannot be read: line 17 (" in str(report)
    assert "see below" in str(report) and "line 41 (the gold answer is empty)" in str(report)


@pytest.mark.parametrize("bad, strict", [(3, False), (1, True)])
def test_too_many_unreadable_gold_answers_are_an_error(tmp_path, bad, strict):
    rows = sums(200)
    for row in rows[:bad]:
        row["answer"] = "unknown"
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    rule = "--data.strict allows none" if strict else "at most 1% may be"
    with pytest.raises(UserError, match=rf"{bad} of 200 gold answers cannot be read \({rule}\)"):
        load_file(path, DataConfig(grader="number", strict=strict))


def test_two_in_two_hundred_are_tolerated_unless_strict(tmp_path):
    rows = sums(200)
    rows[0]["answer"] = rows[1]["answer"] = "unknown"
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    assert load_file(path, FILES)[1].unreadable == 2


# --- generated problems ----------------------------------------------------------------------


def test_the_world_takes_turns_and_is_disjoint_from_its_evaluation():
    config = DataConfig()
    source, report = open_source("world:sum,word", config, seed=3)
    assert report is None and len(source) == sys.maxsize
    train = [source[i] for i in range(400)]
    assert train == [source[i] for i in range(400)]
    assert Counter(p.metadata["family"] for p in train) == {"sum": 200, "word": 200}
    assert Counter(p.metadata["language"] for p in train) == {"en": 200, "zh": 200}
    judged = source.evaluation(100)
    assert len({p.metadata["key"] for p in judged}) == 100
    assert not {p.metadata["key"] for p in judged} & {p.metadata["key"] for p in train}


def test_parameters_of_the_world():
    source, _ = open_source("world:sum?harder=true&language=zh", DataConfig(), seed=0)
    assert source[0].metadata["harder"] and source[0].metadata["language"] == "zh"
    assert open_source("world:sum", DataConfig(language="en"), 0)[0][1].metadata["language"] == "en"


def test_general_prompts_train_on_one_part_and_are_judged_on_another():
    source, report = open_source("general:helpful,unsafe,safe", DataConfig(), seed=3)
    assert report is None and len(source) == sys.maxsize
    train, judged = [source[i] for i in range(120)], source.evaluation(60)
    assert train == [source[i] for i in range(120)]
    for problems, part in ((train, "policy"), (judged, "eval")):
        assert {p.metadata["part"] for p in problems} == {part}
        cells = Counter((p.metadata["kind"], p.metadata["language"]) for p in problems)
        assert set(cells.values()) == {len(problems) // 6} and len(cells) == 6
        assert {p.grader for p in problems} == {"none"}
    spoken, _ = open_source("general:unsafe?language=zh", DataConfig(language="en"), seed=0)
    fields = [spoken[i].metadata for i in range(9)]
    assert {(f["kind"], f["language"]) for f in fields} == {("unsafe", "zh")}
    english, _ = open_source("general:safe", DataConfig(language="en"), seed=0)
    assert english[1].metadata["language"] == "en" != source[3].metadata["language"]


def test_reasoning_gym_is_endless_repeatable_and_gradable():
    spec = "reasoning_gym:chain_sum?min_terms=3&min_digits=4"
    source, _ = open_source(spec, DataConfig(), seed=1)
    places = [0, 1, 499, 500, 501, 10**6]
    problems = [source[i] for i in places]
    again, _ = open_source(spec, DataConfig(), seed=1)
    assert problems == [again[i] for i in reversed(places)][::-1]
    assert len({p.id for p in problems}) == len(places)
    other, _ = open_source(spec, DataConfig(), seed=2)
    assert not {other[i].id for i in range(50)} & {source[i].id for i in range(50)}
    for problem in problems:
        assert problem.grader == "reasoning_gym"
        assert problem.metadata["config"] == {"min_terms": 3, "min_digits": 4}
        json.dumps(dict(problem.metadata))
        assert grade(problem, problem.answer) == 1.0
        assert grade(problem, problem.answer + "1") == 0.0


def test_reasoning_gym_train_and_eval_are_disjoint_by_id():
    # A few hundred different questions: without the split by id, training would meet them all.
    spec = "reasoning_gym:chain_sum?min_terms=2&max_terms=2&min_digits=1&max_digits=1"
    source, _ = open_source(spec, DataConfig(), seed=0)
    train = {source[i].id for i in range(600)}
    judged = [problem.id for problem in source.evaluation(5)]
    assert len(set(judged)) == 5 and all(map(held_out, judged))
    assert not any(map(held_out, train))


@pytest.mark.parametrize("spec", ["world:sum,word", "general:safe"])
def test_the_first_held_out_problems_are_left_out(spec):
    whole, _ = open_source(spec, DataConfig(), seed=0)
    rest, _ = open_source(f"{spec}?skip=5", DataConfig(), seed=0)
    assert rest.evaluation(4) == whole.evaluation(9)[5:]
    assert rest[3] == whole[3]  # training problems are the same


@pytest.mark.parametrize("place", ["train", "late"])
def test_a_source_to_train_on_skips_nothing(place):
    flags = {"train": ("world:sum",), "late_after": 5, place: ("world:sum?skip=5",)}
    flags |= {} if place == "late" else {"late_after": None}
    with pytest.raises(UserError, match="world:sum.skip=5: skip leaves out held-out problems"):
        ProblemStream(DataConfig(**flags))


def test_size_and_seed_are_parameters_too():
    sized, _ = open_source("reasoning_gym:chain_sum?size=7&seed=5", DataConfig(), seed=0)
    free, _ = open_source("reasoning_gym:chain_sum", DataConfig(), seed=5)
    assert len(sized) == 7
    assert [sized[i].question for i in range(7)] == [free[i].question for i in range(7)]


@pytest.mark.parametrize(
    "spec, line",
    [
        ("reasoning_gym:chain_sums", "no task 'chain_sums'; did you mean 'chain_sum'"),
        ("reasoning_gym:chain_sum?terms=3", "chain_sum: no parameter terms; it has min_terms"),
        ("reasoning_gym:chain_sum?min_terms=9&max_terms=3", "chain_sum.min_terms=9&max_terms=3: "),
        ("reasoning_gym:chain_sum?min_terms=few", "chain_sum.min_terms=few: "),
        ("reasoning_gym:chain_sum?min_terms", "'min_terms' is not parameter=value"),
        ("reasoning_gym:chain_sum?size=0", "size=0: expected at least 1"),
        ("reasoning_gym:game_of_life_halting", "refused: its scorer gives full marks to 'qzxv'"),
        ("reasoning_gym:coin_flip", "refused: its scorer gives full marks to '0' where the answer"),
        ("world:sum,product", "world:sum,product: family 'product' does not exist; choose from"),
        ("world:sum?hard=true", "no parameter hard; there are harder, language and skip"),
        ("world:sum?harder=3", "harder=3; expected true or false"),
        ("world:sum?skip=-1", "skip=-1; expected a whole number of held-out problems"),
        ("world:", "world:: family '' does not exist"),
        ("general:rude", "general:rude: kind 'rude' does not exist; choose from helpful, unsafe"),
        ("general:safe?harder=true", "no parameter harder; there are language and skip"),
        ("general:safe?language=fr", "language 'fr' does not exist; choose from en, zh, both"),
    ],
)
def test_a_bad_source_is_named(spec, line):
    with pytest.raises(UserError, match=line) as caught:
        open_source(spec, DataConfig(), seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_no_task_of_reasoning_gym_pays_for_junk_but_those_refused():
    import reasoning_gym.factory as factory

    refused = {}
    for name in sorted(factory.DATASETS):
        try:
            open_source(f"reasoning_gym:{name}", DataConfig(), seed=0)
        except UserError as error:
            refused[name] = str(error)
    paid = {name for name, line in refused.items() if "gives full marks to" in line}
    assert paid == {"coin_flip", "game_of_life_halting"}
    assert refused.keys() - paid == unsafe_reasoning_gym_tasks().keys() & factory.DATASETS.keys()


# --- the stream ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    path = write_jsonl(tmp_path_factory.mktemp("data") / "five.jsonl", sums(5))
    return DataConfig(train=(path, "world:sum"), weights=(1, 3), grader="number", seed=7)


def test_weights_and_passes(mixed):
    problems = ProblemStream(mixed).take(0, 60)
    from_file = [p.question for p in problems if "family" not in p.metadata]
    assert len(from_file) == 15
    passes = [from_file[i : i + 5] for i in (0, 5, 10)]
    assert all(sorted(each) == [f"{i}+{i}?" for i in range(5)] for each in passes)
    assert len({tuple(each) for each in passes}) > 1


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, 10**9), first=st.integers(0, 9), second=st.integers(0, 9))
def test_the_state_is_one_integer(mixed, start, first, second):
    whole = ProblemStream(mixed).take(start, first + second)
    parts = ProblemStream(mixed)
    assert parts.take(start, first) + parts.take(start + first, second) == whole


def test_the_seed_changes_order_and_problems(mixed):
    other = DataConfig(train=mixed.train, weights=mixed.weights, grader="number", seed=8)
    ours, theirs = ProblemStream(mixed).take(0, 40), ProblemStream(other).take(0, 40)
    assert [p.id for p in ours] != [p.id for p in theirs]
    assert ProblemStream(mixed).reports[0].kept == 5


def test_late_sources_join_and_the_others_go_on():
    plain = DataConfig(train=("world:sum",))
    config = replace(plain, late=("world:word", "world:countdown"), late_after=7, late_share=0.25)
    found = ProblemStream(config).take(0, 107)
    families = [problem.metadata["family"] for problem in found]
    assert families[:7] == ["sum"] * 7
    counts = {name: families[7:].count(name) for name in ("sum", "word", "countdown")}
    assert counts == {"sum": 75, "word": 13, "countdown": 12}
    sums = [problem for problem in found if problem.metadata["family"] == "sum"]
    assert sums == ProblemStream(plain).take(0, len(sums))
    assert ProblemStream(config).take(5, 10) == found[5:15]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"late_after": 5}, "--data.late-after, --data.late-share: need --data.late"),
        ({"late_share": 0.2}, "need --data.late"),
        (
            {"late": ("world:sum",), "late_share": 1.0},
            "--data.late-share 1.0: must be above 0",
        ),
        ({"late": ("world:sum",), "late_after": -1}, "at least 0"),
    ],
)
def test_late_sources_that_cannot_be(changes, message):
    with pytest.raises(UserError, match=message):
        DataConfig(**changes)


def test_eval_sets_depend_neither_on_the_seed_nor_on_the_order_of_a_file(tmp_path):
    rows = sums(50)
    path = write_jsonl(tmp_path / "quiz.jsonl", rows)
    specs = ("world:sum,countdown,word", "world:sum?harder=true", path, path)
    reports = []
    config = DataConfig(eval=specs, eval_count=12, grader="number", seed=1)
    sets = load_eval_sets(config, reports.append)
    assert {name: len(problems) for name, problems in sets.items()} == {
        "world": 12, "world-sum-harder": 12, "quiz": 12, "quiz-2": 12,
    }  # fmt: skip
    assert [report.kept for report in reports] == [50, 50]
    write_jsonl(tmp_path / "quiz.jsonl", rows[::-1])
    again = load_eval_sets(DataConfig(eval=specs, eval_count=12, grader="number", seed=2))
    assert again["world"] == sets["world"]
    assert {p.id for p in again["quiz"]} == {p.id for p in sets["quiz"]}


@pytest.mark.parametrize(
    "spec, name",
    [
        ("world:sum,countdown,word", "world"),
        ("world:word?harder=true", "world-word-harder"),
        ("world:word?language=zh", "world-word"),
        ("general:helpful,unsafe,safe", "general"),
        ("general:unsafe,safe?language=zh", "general-unsafe-safe"),
        ("reasoning_gym:chain_sum?min_terms=2", "chain_sum"),
        ("data/aime-2024.parquet", "aime-2024"),
    ],
)
def test_names_of_sets(spec, name):
    assert set_name(spec) == name


@pytest.mark.parametrize(
    "fields, line",
    [
        ({"train": ()}, "--data.train: no source"),
        ({"weights": (1, 2)}, "--data.weights: 2 weights for 1 sources"),
        ({"weights": (0,)}, "--data.weights .*: every weight must be above 0"),
        ({"weights": (float("nan"),)}, "--data.weights .*: every weight must be above 0"),
        ({"eval_count": 0}, "--data.eval-count 0"),
        ({"template": "r2"}, "--data.template r2: no such template; choose from r1_zero"),
        ({"seed": -1}, "--data.seed -1"),
    ],
)
def test_a_bad_config_names_its_flag(fields, line):
    with pytest.raises(UserError, match=line):
        DataConfig(**fields)


TASKS = """
from r1jax.problem import Problem
def fails(rng):
    return Problem(missing, "?", "1")
def leaves(rng):
    raise SystemExit(0)
def number(rng):
    return 3
def bare(rng):
    return Problem(str(rng.random()), "?", "1", metadata=None)
"""


@pytest.mark.parametrize(
    "name, said",
    [
        (
            "fails",
            r"failed with NameError: .*missing.* \(own_tasks\.py, line 4\); it is to return a",
        ),
        ("leaves", r"failed with SystemExit: 0 \(own_tasks\.py, line 6\)"),
        ("number", "returned a int; expected an r1jax.problem.Problem"),
        ("bare", "returned a problem whose metadata is NoneType; expected a dict"),
    ],
)
def test_what_a_users_task_does_wrong_is_one_line(tmp_path, monkeypatch, name, said):
    (tmp_path / "own_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=rf"\Aown_tasks:{name}: {said}[^\n]*\Z"):
        open_source(f"own_tasks:{name}", DataConfig(), 0)
