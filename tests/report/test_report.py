"""The report of whole, half-done and nearly empty runs: self-contained, escaped, never a crash."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from r1jax.errors import UserError
from r1jax.report.chart import DARK, Line, lines
from r1jax.report.curves import CURVES, charts
from r1jax.report.page import write_report

pytestmark = pytest.mark.painted

HOSTILE = "<think>so <script>alert('x')</script> & \"1\" < 2</think> <answer>5</answer>"
PNG = b"\x89PNG\r\n\x1a\n"


def metrics_rows(updates, per_rollout=2):
    """Rows with the keys and the shape of a run that learns."""
    rng = np.random.default_rng(0)
    rows = []
    for u in range(1, updates + 1):
        done = u / updates
        rise = 1 / (1 + math.exp(-8 * (done - 0.4)))
        noise = rng.normal(size=8)
        row = {
            "update": u, "step": u, "rollout": (u - 1) // per_rollout + 1,
            "policy/entropy": 0.55 - 0.3 * rise + 0.02 * noise[0],
            "policy/clip_frac": abs(0.004 + 0.006 * noise[1] * done),
            "policy/logp_diff_mean": 2e-7 * math.exp(0.1 * noise[2]),
            "policy/logp_diff_p99": 1.4e-6 * math.exp(0.1 * noise[3]),
            "policy/logp_diff_max": 4e-6 * math.exp(0.3 * noise[4]),
            "policy/kl_ref": None, "perf/train_tokens_per_s": 9000 + 300 * noise[5],
            "loss": 0.003 * noise[6], "grad_norm": 0.4 + 0.05 * abs(noise[7]),
            "lr": 1e-4 * min(1.0, u / 10), "time/update": 1.1 + 0.05 * noise[1],
        }  # fmt: skip
        if (u - 1) % per_rollout == 0:
            row |= {
                "reward/mean": 0.3 + 0.75 * rise + 0.03 * noise[0],
                "reward/accuracy": 0.28 + 0.65 * rise + 0.03 * noise[1],
                "reward/format": 0.2 + 0.78 * rise + 0.02 * noise[2],
                "completion/length_mean": 38 + 30 * rise + noise[3],
                "completion/length_mean_correct": 34 + 30 * rise + noise[4],
                "completion/length_mean_wrong": 40 + 45 * rise + 2 * noise[5],
                "completion/truncated_frac": 0.01 + 0.004 * abs(noise[6]),
                "completion/reflection_per_1k": 4 + 9 * rise + 0.6 * noise[7],
                "group/zero_std_frac": 0.1 + 0.4 * rise + 0.03 * noise[0],
                "perf/rollout_tokens_per_s": 14000 + 500 * noise[1],
                "time/rollout": 1.9 + 0.1 * noise[2], "time/reward": 0.3, "time/score": 0.2,
                "time/eval": 4.0 if u % 40 == 1 else 0.0, "time/checkpoint": 0.1,
            }  # fmt: skip
        rows.append(row)
    return rows


def record(pass_at_1, **changes):
    part = {"problems": 128, "pass_at_1": pass_at_1, "pass_at_1_strict": pass_at_1 / 2,
            "cons_at_16": 0.6, "format": 0.2, "length_mean": 40.0, "truncated": 0.01}  # fmt: skip
    return {
        "set": "eval", "samples": 16, "temperature": 0.6, "top_p": 0.95, **part, "problems": 256,
        "pass_at_1_ci": [pass_at_1 - 0.03, pass_at_1 + 0.03], "pass_at_1_greedy": None,
        "pass_at_16": 0.85,
        "by": {"family": {"sum": part, "countdown": part}, "language": {"en": part, "zh": part}},
    } | changes  # fmt: skip


def summary():
    return {
        "schema": 1, "before": record(0.312),
        "after": record(0.743, format=0.985, length_mean=66.2),
        "gain": {"pass_at_1": 0.431, "ci": [0.392, 0.468]}, "wall_seconds": 452.4,
        "updates": 200, "rollouts": 100,
        "transcripts": [
            {"question": "What is 23+45-<b>9</b>?", "answer": "59", "language": "en",
             "family": "sum", "before": {"text": HOSTILE, "correct": False},
             "after": {"text": "<think>23+45=68, 68-9=59. Check: 59+9=68, good.</think> "
                               "<answer>59</answer>", "correct": True}},
            {"question": "小明有12个苹果，又买了30个，吃了5个，还剩几个？", "answer": "37",
             "language": "zh", "family": "word",
             "before": {"text": "12+30=42 <answer>42</answer>", "correct": False},
             "after": {"text": "<think>先有12个，再买30个，12+30=42。吃了5个，42-5=37。"
                               "检查：37+5=42，没错。</think> <answer>37</answer>",
                       "correct": True}},
        ],
    }  # fmt: skip


def write_run(path, updates=200, finished=True):
    path.mkdir(parents=True, exist_ok=True)

    def dump(name, value):
        (path / name).write_text(json.dumps(value), encoding="utf-8")

    def lines(name, rows):
        (path / name).write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")

    dump("config.json", {"seed": 0, "train": {"lr": 1e-4, "note": "<i>hot</i>"}})
    dump("environment.json", {
        "python": "3.12.4", "command": ["python", "-m", "experiments.zero_demo"], "cpu_count": 2,
        "packages": {"jax": "0.11.2", "wandb": None}, "device_kind": "cpu", "device_count": 1,
        "commit": None,
    })  # fmt: skip
    lines("metrics.jsonl", metrics_rows(updates))
    samples = [{"update": u, "step": u, "rollout": u // 2 + 1, "question": "What is 1+1?",
                "text": HOSTILE, "reward": 0.1} for u in (0, 0, updates, updates)]  # fmt: skip
    lines("samples.jsonl", samples)
    evaluations = [
        record(0.31 + 0.43 / (1 + math.exp(-(u - 80) / 25)), cons_at_16=0.52 + 0.3 * u / updates)
        | {"update": u, "step": u}
        for u in range(0, updates + 1, 20)
    ]
    dump("eval.json", evaluations)
    if finished:
        dump("summary.json", summary())
    return path


class Page(HTMLParser):
    """The elements and the text of a page; every tag must be closed in its order."""

    VOID = {"meta", "img", "source", "br", "link"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.sources, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [v for k, v in attributes if k in ("src", "srcset", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def unpainted(monkeypatch):
    monkeypatch.setattr("r1jax.report.chart.Chart.png", lambda chart, theme=None: PNG)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = write_run(tmp_path_factory.mktemp("runs") / "demo")
    report = write_report(path)
    return path, report, report.read_text(encoding="utf-8")


def test_the_report_is_one_file_that_opens_offline(finished):
    path, report, text = finished
    page = Page(text)
    assert report == path / "report.html"
    assert page.sources and all(s.startswith("data:image/png;base64,") for s in page.sources)
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"https?://|@import|url\(", text)


def test_what_a_run_says_is_escaped(finished):
    _, _, text = finished
    page = Page(text)
    assert "<script" not in text and "<b>9</b>" not in text and "<i>hot" not in text
    assert "alert('x')" in page.text and "23+45-<b>9</b>?" in page.text


def test_the_top_of_the_page(finished):
    _, _, text = finished
    said = " ".join(Page(text).text.split())
    for phrase in ("200 updates", "100 rollouts", "7m32s", "31.2 % → 74.3 %", "+43.1",
                   "95 % interval +39.2 to +46.8", "pass@1, strict", "cons@16", "98.5 %",
                   "+26.2",
                   "256 held-out problems, 16 samples", "cpu · jax 0.11.2",
                   "Resolved flags"):  # fmt: skip
        assert phrase in said
    assert "pass@1, greedy" not in said  # it was not drawn
    assert "not finished" not in said


def test_transcripts_say_right_and_wrong_in_words_and_dim_the_thought(finished):
    _, _, text = finished
    assert text.count("✓ right") == 2 and text.count("✗ wrong") == 2
    assert '<span class="thought">23+45=68, 68-9=59. Check: 59+9=68, good.</span>' in text
    assert '<span class="tag">&lt;answer&gt;</span>59' in text


def test_pictures_are_left_beside_the_report(finished):
    path, _, text = finished
    names = {p.stem for p in (path / "plots").iterdir()}
    # Nulls; no critic, no reward tower, no teacher, no experts.
    without = {"kl", "critic", "prime", "prime_loss", "teacher", "routes", "load"}
    drawn = {c.name for c in CURVES} - without
    assert names == drawn | {"accuracy", "reward", "time"}
    assert all(p.read_bytes().startswith(PNG) for p in (path / "plots").iterdir())
    assert text.count("<figure") == len(names)


def test_drawing_leaves_pyplot_alone(finished):
    assert pyplot.get_fignums() == []


@pytest.mark.usefixtures("unpainted")
def test_an_unfinished_run(tmp_path):
    path = write_run(tmp_path / "r", updates=7, finished=False)
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"update": 8, "los')
    said = Page(write_report(path).read_text(encoding="utf-8")).text
    assert "has not finished" in said and "7 updates" in said and "4 rollouts" in said


def test_a_run_that_has_only_begun(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    said = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "0 updates" in said and "Curves" not in said


def test_a_finished_run_of_another_experiment(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text('{"update": 1, "step": 1, "loss": 2.5}\n')
    (tmp_path / "summary.json").write_text('{"schema": 1, "wall_seconds": 12, "updates": 1}')
    said = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "12s" in said and "Loss" in said and "not finished" not in said
    assert [p.name for p in (tmp_path / "plots").iterdir()] == ["loss.png"]


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match="no config.json"):
        write_report(tmp_path)


def test_charts_are_drawn_only_with_data():
    assert charts([], []) == []
    assert charts([{"update": 1, "loss": None}], [{"update": 0, "pass_at_1": None}]) == []
    one = charts([{"update": 1, "rollout": 1, "time/update": 1.0}], [])
    assert [c.name for c in one] == ["time"] and one[0].png(DARK).startswith(PNG)


def test_several_sets_and_a_zero_on_a_log_axis():
    sets = [record(0.3, set=name) | {"update": 0} for name in ("easy", "hard")]
    rows = [{"update": 1, "policy/logp_diff_max": 0.0}, {"update": 2, "policy/logp_diff_max": 1e-6}]
    drawn = charts(rows, sets)
    assert [c.name for c in drawn] == ["accuracy", "logp_diff"]
    assert all(c.png().startswith(PNG) for c in drawn)


@pytest.mark.parametrize("name", ["cost $5 and $6", r"$\frac{$", "_hidden", "[/x]", "<b>&"])
def test_a_metric_of_any_name_is_drawn_and_named_as_it_is(name):
    """`$` is no formula, a leading `_` hides nothing; labels of pictures have no markup at all."""
    chart = lines("any", "any", "any", name, [Line(name, [(0, 1.0), (1, 2.0)])], places=[name, "b"])
    axes = Figure().add_subplot()
    chart.draw(axes, DARK)
    said = axes.legend().get_texts() + axes.get_xticklabels()[:1] + [axes.yaxis.label]
    for text in said:
        shown, formula = text._preprocess_math(text.get_text())
        assert (shown.strip().replace("\n", " "), formula) == (name, False)
    assert chart.png().startswith(PNG)


def test_lines_without_points_are_no_chart():
    assert lines("a", "a", "a", "a", [Line("a", [])]) is None
    assert lines("a", "a", "a", "a", [Line("a", [(0, -1.0), (1, math.inf)])], log=True) is None


def supervised_run(path, updates=30):
    """A supervised run: one row for each update, no rollouts, the loss of two held-out sets."""
    path.mkdir(parents=True)
    judged = lambda name, update: {  # noqa: E731
        "set": name, "update": update, "step": update, "examples": 12, "tokens": 3456,
        "nll": 2.5 - 0.04 * update, "perplexity": math.exp(2.5 - 0.04 * update),
    }  # fmt: skip
    metrics = [
        {"update": u, "step": u, "rollout": 0, "sft/nll": 2.4 - 0.04 * u, "loss": 2.4 - 0.04 * u,
         "lr": 1e-5 * u / updates, "time/update": 0.5, "time/eval": 0.1 if u % 10 == 0 else None,
         "grad_norm": 1.0}
        for u in range(1, updates + 1)
    ]  # fmt: skip
    ends = {"before": judged("<held> out", 0), "after": judged("<held> out", updates)}
    files = {
        "config.json": {}, "environment.json": {},
        "eval.json": [judged(n, u) for u in (0, 10, 30) for n in ("<held> out", "other")],
        "summary.json": {"schema": 1, **ends, "updates": updates, "wall_seconds": 60.0,
                         "learnt_tokens_seen": 1234567},
    }  # fmt: skip
    for name, value in files.items():
        (path / name).write_text(json.dumps(value))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    return metrics, files["eval.json"]


def test_a_supervised_run(tmp_path):
    supervised_run(tmp_path / "sft")
    text = write_report(tmp_path / "sft").read_text(encoding="utf-8")
    said = " ".join(Page(text).text.split())
    for phrase in ("30 updates", "1,234,567 tokens learnt", "2.500 → 1.300",
                   "held-out loss, nats per token", "2.5000", "1.3000", "−1.2000", "12.182",
                   "3.669",
                   "12 held-out examples, 3,456 learnt tokens", "set <held> out",
                   "Seconds of an update, by phase"):  # fmt: skip
        assert phrase in said
    for absent in ("rollouts", "policy gradient", "pass@1", "not finished"):
        assert absent not in said
    names = {p.stem for p in (tmp_path / "sft" / "plots").iterdir()}
    assert names == {"nll", "lr", "grad_norm", "time"}


def test_the_loss_is_drawn_in_training_and_on_every_held_out_set(tmp_path):
    first, *_ = charts(*supervised_run(tmp_path / "sft"))
    figure = Figure()
    axes = figure.add_subplot()
    first.draw(axes, DARK)
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["<held> out"] == drawn["other"] == [[0, 2.5], [10, 2.1], [30, 2.5 - 0.04 * 30]]
    assert "training" in drawn
    assert [c.name for c in charts([], [{"update": 0, "set": "a", "nll": 2.0}])] == ["nll"]


def test_where_updates_have_no_rollout_each_has_its_bar(tmp_path):
    *_, time = charts(*supervised_run(tmp_path / "sft"))
    axes = Figure().add_subplot()
    time.draw(axes, DARK)
    assert (time.name, axes.get_ylabel()) == ("time", "seconds per update")
    heights = [patch.get_height() for patch in axes.patches]
    assert heights == pytest.approx([0.5] * 30 + [0.1 * (u % 10 == 0) for u in range(1, 31)])
