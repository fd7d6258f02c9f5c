"""What a model writes is shown as what it is, on a terminal, in a table and on a page."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.commands import compare, evaluate
from r1jax.errors import UserError
from r1jax.report.html import _templates
from r1jax.run.visible import line, visible

HOSTILE = "\x1b[31m \u202e \x9b2J [/x] [bold]"


@given(st.text())
def test_nothing_is_obeyed_and_nothing_else_is_changed(text):
    found = visible(text)
    kinds = {unicodedata.category(c) for c in found if c not in "\n\t"}
    assert not kinds & {"Cc", "Cs"} and "\u202e" not in found and "\n" not in line(text)
    if text.isascii() and text.isprintable():
        assert found == text


def test_emoji_of_several_parts_and_scripts_that_join_stay_whole():
    for text in ("\U0001f469\u200d\U0001f52c", "\u0645\u06cc\u200c\u062e", "\u7b54\u6848\uff1a7"):
        assert visible(text) == text


def test_tables_take_names_as_they_are(capsys):
    row = {"pass_at_1": 0.5}
    record = {"set": "algebra [/x]", "problems": 3, "samples": 2, "mixed": 0.1, "seconds": 1.0}
    evaluate.show({**record, **row, "by": {"level": {"\x1b[0m [/x]": row}}})
    compare.show([{"run [/y]": HOSTILE, "n": 2}])
    said = capsys.readouterr().out
    assert "algebra [/x]" in said and "run [/y]" in said
    assert "level \\x1b[0m [/x]" in said and "\\x1b[31m \\u202e \\x9b2J [/x] [bold]" in said
    assert "\x1b" not in said


def test_an_evaluation_does_not_write_into_a_run(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is a run with an eval.json of its own"):
        evaluate.main(evaluate.Config(out=str(tmp_path)))


def test_a_page_shows_marks_of_direction_and_codes():
    page = _templates().from_string("{{ text }} {{ safe }}").render(text=HOSTILE + "<b>", safe=1)
    assert page == "\\x1b[31m \\u202e \\x9b2J [/x] [bold]&lt;b&gt; 1"
