"""Markdown tables: numbers stand right, and what stands in a cell cannot break the table."""

from __future__ import annotations

from r1jax.report.markdown import markdown_table


def test_columns_of_numbers_stand_right():
    rows = [["a", 1234, 0.5678, "12.5 %", "1 to 2"], ["b", None, 2.0, "–", ""]]
    assert markdown_table(["", "n", "x", "share", "range"], rows).splitlines() == [
        "|  | n | x | share | range |",
        "| --- | ---: | ---: | ---: | --- |",
        "| a | 1,234 | 0.568 | 12.5 % | 1 to 2 |",
        "| b |  | 2 | – |  |",
    ]


def test_bars_and_line_feeds_stay_in_their_cell():
    table = markdown_table(["a|b"], [["c|d\ne"], ["f\\|g"]])
    assert table.splitlines() == ["| a\\|b |", "| --- |", "| c\\|d e |", "| f\\|g |"]


def test_a_table_without_rows_has_its_heads():
    assert markdown_table(["a", "b"], []) == "| a | b |\n| --- | --- |"
