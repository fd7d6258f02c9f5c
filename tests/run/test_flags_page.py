"""docs/flags.md: what its table and its example name is a flag, and takes the value beside it."""

import re
from pathlib import Path

from r1jax.commands import cli, load
from r1jax.run.settings import read_settings

PAGE = (Path(__file__).parents[2] / "docs" / "flags.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][2:]
DEFAULT = load("zero")[0].default
FLAGS = cli.flag_types(DEFAULT)


def test_every_row_has_four_columns_and_a_flag_or_a_reason():
    assert len(ROWS) > 50 and {len(row) for row in ROWS} == {4}
    for *_, ours in ROWS:
        assert re.findall(r"`--", ours) or ours.strip().startswith("- ("), ours


def test_no_row_names_a_flag_that_is_none_or_a_value_that_it_does_not_take():
    named = [words.split() for *_, ours in ROWS for words in re.findall(r"`(--[^`]+)`", ours)]
    assert {flag for flag, *_ in named} <= FLAGS.keys()
    for words in named:
        if len(words) > 1:
            cli.parse(DEFAULT, words)


def test_the_example_file_is_one(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)
    (tmp_path / "run.yaml").write_text(text)
    found = read_settings(str(tmp_path / "run.yaml"), FLAGS | {"--preset": str}, lambda flag: None)
    assert found["--optimizer.lr"].words == ["--optimizer.lr=2e-6"]
    cli.parse(DEFAULT, [w for k, s in found.items() if k != "--preset" for w in s.words])
