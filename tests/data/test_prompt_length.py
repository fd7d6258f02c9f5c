"""Prompts that are too long: found and named as problems are loaded, or dropped and counted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from r1jax.data import DataConfig, ProblemStream, load_eval_sets, load_file, open_source
from r1jax.data.problems.prompt_length import LOOKED_AT, PromptRoom
from r1jax.errors import UserError

FILES = DataConfig(grader="number")
ROOM = PromptRoom(4, lambda problems: [p.question.split() for p in problems])
DROP = replace(FILES, too_long="drop")


def write(path, *questions):
    rows = [{"question": question, "answer": str(i)} for i, question in enumerate(questions)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


LONG = "one two three four five six seven"


def test_a_row_that_is_too_long_is_named_before_anything_runs(tmp_path):
    source = write(tmp_path / "a.jsonl", "a b c d", LONG, "short", "a b c d e")
    said = (
        r"a.jsonl: 2 of 4 prompts \(line 2 \(7 tokens\), line 4 \(5 tokens\)\) are longer than "
        "--rollout.max-prompt 4; raise that to 7, or give --data.too-long drop$"
    )
    config = replace(FILES, train=(source,), eval=(source,))
    for load in (
        lambda: load_file(source, FILES, ROOM),
        lambda: ProblemStream(config, ROOM),
        lambda: load_eval_sets(config, room=ROOM),
    ):
        with pytest.raises(UserError, match=said):
            load()
    assert load_file(source, FILES)[1].kept == 4


def test_long_rows_are_dropped_counted_and_listed_where_that_is_asked(tmp_path):
    source = write(tmp_path / "a.jsonl", "a b c d", LONG, "short")
    problems, report = load_file(source, DROP, ROOM)
    assert [problem.answer for problem in problems] == ["0", "2"] and report.kept == 2
    assert str(report).endswith("2 of 3 problems kept; 1 prompts too long, dropped: "
                                "line 2 (7 tokens)")  # fmt: skip
    only_long = write(tmp_path / "b.jsonl", LONG)
    with pytest.raises(UserError, match=r"1 of 1 prompts .* raise that to 7$"):
        load_file(only_long, DROP, ROOM)


def widths(problems):
    """A made-up length: every third number is too long."""
    return [[0] * (5 if sum(map(int, p.question.split())) % 3 == 0 else 3) for p in problems]


@pytest.fixture
def task(tmp_path, monkeypatch):
    (tmp_path / "numbers_task.py").write_text(
        "from r1jax.problem import Problem\n"
        "def numbers(rng, low=0):\n"
        "    n = str(rng.randint(low, 10**6))\n"
        "    return Problem(n, n, n, 'number')\n"
        "def same(rng): return Problem(str(rng.randint(0, 99)), '3', '3', 'number')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "numbers_task:numbers"


def test_another_made_problem_stands_in_place_of_a_long_one(task):
    room = PromptRoom(4, widths)
    plain, _ = open_source(task, FILES, 0)
    fitting, _ = open_source(task, DROP, 0, room)
    long = room.too_long([plain[i] for i in range(60)])
    assert 5 < len(long) < 40
    found = [fitting[i] for i in range(60)]
    assert not room.too_long(found)
    assert [i for i in range(60) if found[i] != plain[i]] == sorted(long)
    assert found == [open_source(task, DROP, 0, room)[0][i] for i in range(60)]
    assert not room.too_long(fitting.evaluation(20))


def test_made_problems_without_room_are_counted_and_said(task):
    notes, room = [], PromptRoom(4, widths)
    config = replace(DROP, train=(task,), eval=(task,), eval_count=50)
    (report,) = ProblemStream(config, room).reports
    (problems,) = load_eval_sets(config, notes.append, room).values()
    assert 0 < len(problems) < 50 and not report.digest
    assert f"numbers_task:numbers, its first problems: {report.kept} of 64 problems kept; " in (
        f"{report}"
    )
    (said,) = map(str, notes)
    assert said.startswith(f"numbers_task:numbers: {len(problems)} of 50 problems kept; ")
    assert f"{50 - len(problems)} prompts too long, dropped: " in said
    everything = PromptRoom(9, widths)
    assert not ProblemStream(config, everything).reports
    load_eval_sets(config, pytest.fail, everything)


def test_a_long_made_problem_is_an_error_at_once_or_as_it_is_met(task):
    room = PromptRoom(4, widths)
    said = (
        r"numbers_task:numbers: problem \d+ has a prompt of 5 tokens, longer than "
        "--rollout.max-prompt 4; raise that to 5, or give --data.too-long drop"
    )
    with pytest.raises(UserError, match=said):
        open_source(task, FILES, 0, room)
    seen = []

    def grows(problems):
        seen.extend(problems)
        return [[0] * (3 if len(seen) <= LOOKED_AT else 5) for _ in problems]

    source, _ = open_source(task, FILES, 0, PromptRoom(4, grows))
    with pytest.raises(UserError, match=said):
        source[0]


def test_a_source_of_which_nothing_fits_is_refused(task):
    for config, end in ((FILES, "drop"), (DROP, "raise that to 5")):
        with pytest.raises(UserError, match=f"{end}$"):
            open_source("numbers_task:same", config, 0, PromptRoom(4, widths))


def test_names_that_take_turns_go_on_doing_so():
    room = PromptRoom(2, lambda ps: [[0] * (3 if p.number % 3 == 0 else 1) for p in ps])
    source, _ = open_source("world:sum,word", DROP, 0, room)
    plain, _ = open_source("world:sum,word", DROP, 0)
    assert any(source[i] != plain[i] for i in range(80))
    for i in range(80):
        names = ("family", "language")
        assert [source[i].metadata[n] for n in names] == [plain[i].metadata[n] for n in names]


def test_the_digest_of_a_file_sees_every_problem_and_the_order(tmp_path):
    def digest(*questions, **flags):
        source = write(tmp_path / "a.jsonl", *questions)
        return load_file(source, replace(FILES, **flags))[1].digest

    one = digest("a", "b")
    assert one == digest("a", "b") and len(one) == 16
    assert len({one, digest("b", "a"), digest("a"), digest("a", "B"),
                digest("a", "b", grader="math")}) == 5  # fmt: skip
