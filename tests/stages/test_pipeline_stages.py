"""The pipeline in parts: stages are chosen, begun anew, and refused where they do not fit."""

from __future__ import annotations

import subprocess

import pytest
from test_pipeline import command, miniature, surroundings

from r1jax.run.names import BASE
from r1jax.stages.pipeline.lineage import read_lineage


@pytest.mark.slow
def test_stages_are_chosen_and_begun_anew(tmp_path):
    own, config = surroundings(), miniature(tmp_path / "r1")

    def go(*more):
        return subprocess.run([*command(config), *more], env=own, capture_output=True, text=True)

    early = go("--only", "rejection")
    assert early.returncode == 2
    assert "rejection builds on reasoning_rl, which is not finished" in early.stderr
    assert go("--to", "cold_start").returncode == 0
    first = read_lineage(tmp_path / "r1" / "lineage.json")
    assert list(first) == [BASE, "zero", "cold_start_data", "cold_start"]
    assert not (tmp_path / "r1" / "summary.json").exists()
    other = go("--to", "cold_start", "--cold-start.batch", "4")
    assert other.returncode == 2 and "batch: 8 -> 4" in other.stderr
    anew = go("--only", "cold_start", "--cold-start.batch", "4", "--overwrite")
    assert anew.returncode == 0, anew.stderr
    second = read_lineage(tmp_path / "r1" / "lineage.json")
    assert second["zero"] == first["zero"]
    assert second["cold_start"].weights != first["cold_start"].weights
    assert go("--from", "cold_start", "--to", "reasoning_rl", "--cold-start.batch", "4",
              ).returncode == 0  # fmt: skip
    # Made again from other data, a stage leaves what was built on it behind.
    more = ("--cold-start.batch", "4", "--zero.optimizer.lr", "2e-4")
    assert go("--only", "zero", "--overwrite", *more).returncode == 0
    for asked in (("--to", "reasoning_rl"), ("--only", "rejection")):
        stale = go(*asked, *more)
        assert stale.returncode == 2 and "came from another zero than is there now" in stale.stderr
