"""TinyZero's gate: its arithmetic on literal numbers, its runs and their flags, its pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.gates import jobs, rejection_sft, tinyzero_plots
from experiments.gates import tinyzero as tinyzero_gate
from experiments.gates.tinyzero import ZERO, Config
from experiments.gates.tinyzero_table import collate, markdown
from r1jax.commands import cli
from r1jax.data.tinyzero.tasks import countdown_problem
from r1jax.presets.reproductions import REPRODUCTIONS

pytestmark = [pytest.mark.lab, pytest.mark.painted]


def record(pass_at_1, length):
    return {
        "pass_at_1": pass_at_1,
        "pass_at_1_greedy": pass_at_1 + 0.1,
        "pass_at": {"1": pass_at_1, "16": 0.9},
        "length_mean": length,
        "truncated": 0.01,
    }


def summary(before, after, length=80.0):
    gain = after - before
    return {
        "before": record(before, 50.0),
        "after": record(after, length),
        "gain": {"pass_at_1": gain, "ci": [gain - 0.02, gain + 0.02]},
        "wall_seconds": 100.0,
    }


GOOD = {
    "seed0": summary(0.2, 0.5, 80.0),
    "seed1": summary(0.2, 0.6, 90.0),
    "seed2": summary(0.2, 0.55, 85.0),
    "random": summary(0.2, 0.18),
    "rejection": summary(0.2, 0.3),
}
JUDGED = {"base": {"reward": 0.2, "tagged": 0.6, "tries": 1.5}} | {
    f"seed{i}": {"reward": 0.5, "tagged": 1.0, "tries": 3.0 + i / 2} for i in range(3)
}


def holds(summaries):
    return [v["holds"] for v in collate(summaries, JUDGED, {})["verdicts"]]


def test_one_seed_has_no_verdict():
    assert holds({"seed0": GOOD["seed0"], "random": GOOD["random"]}) == [None] * 4


def test_rows_mean_and_verdicts():
    gate = collate(GOOD, JUDGED, {})
    assert gate["mean"]["gain"] == pytest.approx(0.35)
    gain = gate["intervals"]["gain"]
    assert gain["mean"] == pytest.approx(0.35)
    assert gain["low"] == pytest.approx(0.35 - 4.3026527 * 0.05 / 3**0.5)
    assert gate["intervals"]["length_change"]["mean"] == pytest.approx(35.0)
    assert gate["rows"]["seed2"]["reward_gain"] == pytest.approx(0.3)
    assert gate["rows"]["seed2"]["tries_change"] == pytest.approx(2.5)
    assert gate["rows"]["random"]["reward"] is None
    assert list(gate["pass_at"])[:3] == ["seed0 before", "seed0 after", "seed1 after"]
    assert [v["holds"] for v in gate["verdicts"]] == [True] * 4


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        # gains 0.3, 0.4, -0.05: mean 0.217, sd 0.236, t 4.303 -> lower bound -0.37
        ({"seed2": summary(0.2, 0.15, 85.0)}, [0, 2, 3]),
        # lengths +30, +40, -20: mean 16.7, sd 32.1 -> lower bound -63
        ({"seed2": summary(0.2, 0.55, 30.0)}, [1]),
        ({"random": summary(0.2, 0.45)}, [2]),
        ({"rejection": summary(0.2, 0.43)}, [3]),
    ],
)
def test_a_negative_result_is_said(changes, broken):
    assert holds(GOOD | changes) == [i not in broken for i in range(4)]
    text = markdown(collate(GOOD | changes, JUDGED, {}))
    assert ("This is a negative result." in text) == bool({0, 1} & set(broken))
    assert text.count(": NO**") == len(broken)


def test_the_table():
    lines = markdown(collate(GOOD, JUDGED, {})).splitlines()
    assert lines[0] == "**R1-Zero raises held-out pass@1: yes**  "
    assert lines[1] == "**Response length grows: yes**  "
    row = next(line for line in lines if line.startswith("| seed0 | 20.0"))
    assert row.startswith(
        "| seed0 | 20.0 | 50.0 | 30.0 | 28.0 | 32.0 | 30.0 | 60.0 | 20.0 | 50.0 |"
    )
    assert row.endswith("| 50.0 | 80.0 | 1.5 | 3.0 | 1.0 | 100.0 |")
    assert next(line for line in lines if line.startswith("| random")).count("–") == 3
    assert "| change of response length in tokens | 35.0 | 22.6 | 47.4 |" in lines
    assert "| change of tries per response | 2.0 | 0.8 | 3.2 |" in lines
    assert "| seed0 before | 20.0 | 90.0 |" in lines
    bare = markdown(collate(GOOD, {}, {}))
    assert "| change of tries per response | – | – | – |" in bare


def test_the_jobs_and_their_flags(tmp_path):
    config = Config(base="somewhere", out=str(tmp_path), seeds=2)
    found = {job.name: job for job in tinyzero_gate.runs(config)}
    assert list(found) == ["seed0", "seed1", "random", "rejection"]
    published = REPRODUCTIONS["tinyzero-countdown"]
    for name in ("seed1", "random"):
        assert found[name].module == "experiments.reproductions.tinyzero_countdown"
        assert cli.parse(published, found[name].command[3:]) == found[name].config
    run = found["seed1"].config
    assert (run.seed, run.data.seed, run.model) == (1, 1, "somewhere")
    assert run.reward.user == published.reward.user and run.data.template == "tinyzero"
    reward = found["random"].config.reward
    assert (reward.random, reward.user, reward.accuracy, reward.format) == (1, (), 0, 0)
    rejection = found["rejection"].config
    assert cli.parse(rejection_sft.Config(), found["rejection"].command[3:]) == rejection
    drawn = rejection.rollouts * ZERO.train.updates_per_rollout
    assert drawn == ZERO.updates and rejection.sft.train.width == ZERO.train.width


def test_every_run_and_the_base_are_judged(tmp_path):
    config = Config(base="somewhere", out=str(tmp_path), seeds=1)
    done = tinyzero_gate.runs(config)
    found = {job.name: job.config for job in tinyzero_gate.judgements(config, done)}
    assert list(found) == ["judge-base", "judge-seed0", "judge-random", "judge-rejection"]
    assert (found["judge-base"].model, found["judge-base"].checkpoint) == ("somewhere", "")
    assert found["judge-seed0"].checkpoint == str(tmp_path / "seed0" / "checkpoints")
    assert found["judge-rejection"].model == str(tmp_path / "rejection" / "hf")
    assert {c.data.template for c in found.values()} == {"tinyzero"}
    assert {c.eval.samples for c in found.values()} == {16}
    assert tinyzero_gate.judgements(replace(config, judge=False), done) == []


def test_completions_are_judged_by_tinyzeros_reward(tmp_path):
    problem = countdown_problem([19, 36, 7], 48)
    texts = [
        "<think>\n19+36=55, 55-7=48 yes\n</think>\n<answer> (19+36)-7 </answer>",
        "<think>\n19+36=55, 55+7=62 no\n36-19=17, 17+7=24 no\n</think>\n<answer> 1 </answer>",
        "<think>\nI guess.\n</think>\nThe answer is (19+36)-7.",
        "<think>\n19+36=55, 55-7=48 yes\nCheck: 19+36=55, 55-7=48, right\n</think>",
    ]
    path = tmp_path / "completions.jsonl"
    rows = [{"id": problem.id, "text": text, "finish_reason": "stop"} for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = tinyzero_gate.measures(path, {problem.id: problem})
    assert found == {"reward": pytest.approx(1.1 / 4), "tagged": 0.5, "tries": 1.0}


def test_tries_are_averaged_over_stretches_of_training():
    text = "<think>" + "\n1+2=3, 3+4=7 no" * 2
    rows = [{"update": 4 * i, "text": text if i % 2 else "<think>"} for i in range(24)]
    found = tinyzero_gate.tries_in_training(rows)
    assert len(found) == tinyzero_gate.BINS
    assert found[:2] == [(0, 1.0), (8, 1.0)]


def test_the_band_is_over_shared_updates():
    values = tinyzero_plots.shared([[(0, 1.0), (4, 2.0)], [(0, 3.0), (4, 2.0), (8, 1.0)]])
    line = tinyzero_plots.spread("mean", values, "-", 0)
    assert line.points == [(0, 2.0), (4, 2.0)]
    assert line.ends[0] == pytest.approx((0, -10.706205, 14.706205))


def test_the_gate_is_written_from_what_runs_left(tmp_path, monkeypatch, capsys):
    def pretend(wanted, setting):
        for job in wanted:
            place = Path(setting.out) / job.name
            place.mkdir()
            (place / "summary.json").write_text(json.dumps(GOOD.get(job.name, {})))
            rows = [{"update": u, "set": "s", "pass_at_1": 0.2 + u / 100, "length_mean": 50.0 + u}
                    for u in (0, 20, 40)]  # fmt: skip
            (place / "eval.json").write_text(json.dumps(rows))
            line = json.dumps({"update": 0, "text": "<think>\n1+2=3, 3+4=7 no"})
            (place / "samples.jsonl").write_text(line + "\n")
        return ["rejection"] if any(job.name == "rejection" for job in wanted) else []

    monkeypatch.setattr(jobs, "perform", pretend)
    argv = ["--out", str(tmp_path), "--seeds", "3", "--no-judge"]
    assert cli.run(tinyzero_gate.main, Config(), argv) == 2
    said = capsys.readouterr()
    assert "failed: rejection" in said.err and "R1-Zero raises held-out pass@1: yes" in said.out
    gate = json.loads((tmp_path / "gate.json").read_text())
    assert list(gate["rows"]) == ["seed0", "seed1", "seed2", "random"]
    assert gate["curves"]["seed1"]["length_mean"] == [[0, 50.0], [20, 70.0], [40, 90.0]]
    assert gate["verdicts"][3]["holds"] is None
    pictures = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert pictures == ["accuracy.png", "length.png", "tries.png"]
    assert all((tmp_path / "plots" / name).stat().st_size > 5000 for name in pictures)


@pytest.mark.parametrize("flags", [["--seeds", "0"], ["--jobs", "8", "--memory-fraction", "0.13"]])
def test_values_that_make_no_gate_are_refused(flags, capsys):
    assert cli.run(tinyzero_gate.main, Config(), flags) == 2
    assert capsys.readouterr().err.startswith("error: ")
