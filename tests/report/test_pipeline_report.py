"""The report of a whole pipeline, from files written here: numbers, lineage, partial runs."""

from __future__ import annotations

import json
import re

import pytest
from matplotlib.figure import Figure
from test_report import Page

from r1jax.errors import UserError
from r1jax.report.chart import LIGHT
from r1jax.report.pipeline import write_pipeline_report
from r1jax.report.pipeline.curves import StageCurves, charts
from r1jax.report.pipeline.lineage import sources
from r1jax.report.pipeline.page import chosen
from r1jax.report.pipeline.tables import set_table

EVIL = "<script>alert(1)</script>"
ASKED = ("What is 1+1?", f"一加二等于几？{EVIL}", "What is 3+3?")
PROMPT = "Write a greeting."


def sha(name):
    """A recognisable digest."""
    return name.encode().hex().ljust(64, "0")


def record(pass_at_1, language, **changes):
    return {
        "set": "held out", "problems": 96, "samples": 16, "temperature": 0.6, "top_p": 0.95,
        "pass_at_1": pass_at_1, "pass_at_1_ci": [pass_at_1 - 0.03, pass_at_1 + 0.03],
        "pass_at_1_strict": pass_at_1 - 0.1, "cons_at_16": pass_at_1 + 0.01, "format": 0.9,
        "length_mean": 50.0, "language_consistency": language, "thought_words_mean": 12.5,
        "per_problem": [],
    } | changes  # fmt: skip


def judged(found, texts, general=(0.5, 0.4, 0.1)):
    """judged.json: `texts` are (text, correct) for each of ASKED; the general prompt comes last."""
    scores = dict(zip(("helpfulness", "unsafe_compliance", "safe_refusal"), general, strict=True))
    told = [
        {"question": q, "answer": "2", "family": "sum", "language": "en", "text": text,
         "correct": right}
        for q, (text, right) in zip(ASKED, texts, strict=True)
    ]  # fmt: skip
    hello = {"question": PROMPT, "answer": "", "family": "", "language": "en",
             "text": f"Hello from {found['pass_at_1']}", "correct": None}  # fmt: skip
    return {"record": found, "sets": {}, "general": scores, "transcripts": [*told, hello]}


WRONG = [("5", False)] * 3
RIGHT = [("<think> I add. </think> <answer> 2 </answer>", True)] * 3
MIXED = [RIGHT[0], ("<think> 我算 then I add </think> <answer> 3 </answer>", True), RIGHT[2]]

SIDES = {
    "01-zero": judged(record(0.9, 0.61), MIXED),
    "03-cold_start": judged(record(0.7, 0.97), RIGHT),
    "04-reasoning_rl": judged(record(0.88, 0.985), RIGHT),
    "07-general_sft": judged(record(0.85, 0.97), RIGHT, (0.7, 0.2, 0.05)),
    "10-general_rl": judged(record(0.934, 0.991), RIGHT, (0.8, 0.02, 0.03)),
}

LINEAGE = {
    "base": {"weights": sha("base"), "parent": None, "used": {}, "data": {}, "made": {}},
    "zero": {"weights": sha("zero"), "parent": "base", "used": {"base": sha("base")}},
    "cold_start_data": {"weights": None, "parent": None, "used": {"zero": sha("zero")},
                        "made": {"stages/02-cold_start_data/kept.jsonl": sha("chains")}},
    "cold_start": {"weights": sha("dev1"), "parent": "base", "used": {"base": sha("base")},
                   "data": {"stages/02-cold_start_data/kept.jsonl": sha("chains"),
                            "/x/<i>own.jsonl": sha("other")}},
}  # fmt: skip


def dump(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def rows(path, found):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")


def rl_stage(path, updates, model=()):
    """A stage of reinforcement learning; with `model` its score rises while accuracy falls."""
    dump(path / "config.json", {"reward": {"model": list(model)}})
    rows(path / "metrics.jsonl", [
        {"update": u, "rollout": u, "reward/accuracy": 0.9 - u / 100, "reward/language": 0.9,
         "completion/length_mean": 40 + u} | {f"reward/{n}": u / 10 for n in ("08-helpfulness",)
                                              if model}
        for u in range(1, updates + 1)
    ])  # fmt: skip
    dump(path / "eval.json", [record(0.3, 0.7) | {"update": 0}, record(0.8, 0.8) | {"update": 30}])
    (path / "report.html").write_text("")


def sheet(**changes):
    return {
        "prompts": 50, "prompts_kept": 30, "samples": 200, "kept": 77, "pass_rate_mean": 0.625,
        "dropped_by_reason": {"wrong": 60, "not_rewritten": 40, "truncated": 15, "enough": 8},
        "languages": {"en": 40, "zh": 37},
    } | changes  # fmt: skip


def zero_stage(path):
    """The first stage and the base."""
    dump(path / "config.json", {"seed": 7, "note": EVIL})
    dump(path / "environment.json", {"device_kind": "cpu", "packages": {"jax": "0.11.2"}})
    dump(path / "base.json", judged(record(0.288, 0.55), WRONG, (0.3, 0.9, 0.2)))
    rl_stage(path / "stages" / "01-zero", 30)
    dump(path / "stages" / "01-zero" / "judged.json", SIDES["01-zero"])
    dump(path / "lineage.json", {name: LINEAGE[name] for name in ("base", "zero")})
    dump(path / "seconds.json", {"zero": 125.0})


def write_pipeline(path):
    zero_stage(path)
    stages = path / "stages"
    for name, side in SIDES.items():
        dump(stages / name / "judged.json", side)
    rl_stage(stages / "04-reasoning_rl", 30)
    rl_stage(stages / "10-general_rl", 30, [f"{stages}/08-helpfulness?only=kind:helpfulness=0.5"])
    dump(stages / "02-cold_start_data" / "datasheet.json", sheet())
    (stages / "02-cold_start_data" / "datasheet.md").write_text("")
    dump(stages / "05-rejection" / "datasheet.json", sheet(kept=66, dropped_by_reason={}))
    rows(stages / "06-general_data" / "sft.jsonl", [{}] * 12)
    dump(stages / "08-helpfulness" / "summary.json", {
        "kind": "pairwise", "examples": 1800, "before": {"accuracy": 0.5}, "wall_seconds": 33.0,
        "after": {"accuracy": 0.873, "accuracy_ci": [0.84, 0.9], "ece": 0.021},
    })  # fmt: skip
    dump(stages / "11-student-qwen" / "before.json", judged(record(0.2, 0.5), WRONG))
    dump(stages / "11-student-qwen" / "judged.json", judged(record(0.6, 0.98), RIGHT))
    dump(path / "lineage.json", LINEAGE)
    dump(path / "summary.json", {
        "schema": 1, "wall_seconds": 640.0, "budget_seconds": 900,
        "seconds": {"zero": 120.0, "general_rl": 225.0},
        "students": {"qwen": {"gain": {"pass_at_1": 0.4, "ci": [0.352, 0.448]},
                              "parameters": 1234567}},
    })  # fmt: skip
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = write_pipeline(tmp_path_factory.mktemp("runs") / "r1")
    report = write_pipeline_report(path)
    return path, report, report.read_text(encoding="utf-8")


def words(text):
    return " ".join(Page(text).text.split())


def section(text, title):
    """What stands below a heading, up to the next."""
    return text.partition(f"<h2>{title}</h2>")[2].partition("</section>")[0]


def cells(text, head):
    """The cells of the first table line with this head, below which something small may stand."""
    start = rf'<tr><th scope="row">(?:<a[^>]*>)?{head}(?:</a>)?(?:<small>[^<]*</small>)?</th>'
    return re.findall(r"<td[^>]*>(.*?)</td>", re.search(f"{start}(.*?)</tr>", text)[1])


def test_every_held_out_set_has_its_column_where_there_are_several(whole, tmp_path):
    path, _, text = whole
    assert "on every held-out set" not in text
    first, other = record(0.9, 0.6, set="sums"), record(0.25, 0.6, set="products")
    found = {"Zero": {"sums": first, "products": other}, "R1": {"sums": first}}
    table = set_table(found)
    assert table.heads == ["", "sums", "products"]
    assert table.lines == [("Zero", ["90.0 %", "25.0 %"], ""), ("R1", ["90.0 %", "–"], "")]
    assert set_table({"Zero": {"sums": first}}).lines == []
    base = json.loads((path / "base.json").read_text()) | {"sets": {"products": other}}
    zero_stage(tmp_path)
    dump(tmp_path / "base.json", base)
    shown = section(write_pipeline_report(tmp_path).read_text(), "Stage by stage")
    assert "pass@1 on every held-out set" in shown
    assert cells(shown[shown.index("on every held-out set") :], "Base") == ["28.8 %", "25.0 %"]


def test_the_page_is_one_file_that_opens_offline(whole):
    path, report, text = whole
    page = Page(text)
    assert report == path / "report.html"
    links = {source for source in page.sources if not source.startswith("data:image/png;base64,")}
    assert links == {
        "stages/01-zero/report.html", "stages/02-cold_start_data/datasheet.md",
        "stages/04-reasoning_rl/report.html", "stages/10-general_rl/report.html",
    }  # fmt: skip
    assert all((path / link).exists() for link in links)
    assert not re.search(r"https?://|@import|url\(", text)


def test_what_the_files_say_is_escaped(whole):
    _, _, text = whole
    assert "<script" not in text and "<i>own" not in text
    assert text.count("&lt;script&gt;") == 2 and "&lt;i&gt;own.jsonl" in text


def test_the_top_of_the_page(whole):
    said = words(whole[2])
    for phrase in ("28.8 % → 93.4 %", "61.0 % → 99.1 %", "+40.0", "10m40s of 15m00s",
                   "cpu · jax 0.11.2",
                   "Of 96 held-out problems the base answers 28.8 % rightly, Zero"):  # fmt: skip
        assert phrase in said
    assert "not finished" not in said


def test_every_checkpoint_has_its_line_and_the_best_are_marked(whole):
    _, _, text = whole
    assert cells(text, "Base") == [
        "28.8 %", "18.8 %", "29.8 %", "90.0 %", "55.0 %", "50.0", "12.5", "30.0 %", "90.0 %",
        "20.0 %",
    ]  # fmt: skip
    best = '<b class="best">{}</b>'.format
    assert cells(text, "R1") == [
        best("93.4 %"), best("83.4 %"), best("94.4 %"), "90.0 %", best("99.1 %"), "50.0", "12.5",
        best("80.0 %"), best("2.0 %"), best("3.0 %"),
    ]  # fmt: skip
    order = [text.index(f'<th scope="row">{name}<') for name in
             ("Base", "Zero", "Dev1", "Dev2", "Dev3", "R1")]  # fmt: skip
    assert order == sorted(order)


def test_students_stand_before_and_after(whole):
    assert cells(whole[2], "qwen") == [
        "1,234,567", "20.0 %", "60.0 %", "+40.0 [+35.2, +44.8]", "90.0 %", "98.0 %", "50.0",
    ]  # fmt: skip


def test_the_data_is_counted(whole):
    # 200 drawn, 60 wrong and 15 cut: 125 are right and whole.
    assert cells(whole[2], "Cold start") == ["50", "200", "125", "77", "62.5 %"]
    assert cells(whole[2], "Rejection sampling") == ["50", "200", "200", "66", "62.5 %"]
    said = words(whole[2])
    assert "left out wrong 60, not rewritten 40, truncated 15, enough 8." in said
    assert "General data: sft 12 rows." in said and "40 en, 37 zh" in said


def test_reward_models_and_the_watch_over_them(whole):
    path, _, text = whole
    line = ["pairwise", "1,800", "50.0 %", "87.3 %", "84.0 % to 90.0 %", "2.1 %"]
    assert cells(section(text, "Reward models"), "helpfulness") == line
    assert "the score of reward model 08-helpfulness rises" in words(text)
    assert (path / "plots" / "watch_08-helpfulness.png").exists()


def test_pictures_are_left_beside_the_report(whole):
    names = {file.stem for file in (whole[0] / "plots").iterdir()}
    assert names == {"stages", "accuracy", "length", "language", "watch_08-helpfulness"}


def test_one_problem_is_followed_and_one_prompt(whole):
    _, _, text = whole
    story = section(text, "One problem through every stage")
    said = words(story)
    assert "一加二等于几" in said and "What is 3+3?" not in said
    assert story.count("✗ wrong") == 1 and story.count("✓ right") == 5
    assert "Hello from 0.288" in said and "Hello from 0.934" in said


def side(*answers):
    return {f"q{i}": {"text": text, "correct": right} for i, (text, right) in enumerate(answers)}


@pytest.mark.parametrize(
    "base, zero, last, question",
    [
        ("WW", "aa", "WR", "q1"),  # R1 must be right
        ("RW", "aa", "RR", "q1"),  # the base wrong
        ("WW", "am", "RR", "q1"),  # then Zero mixed
        ("RW", "ma", "RR", "q1"),  # the base counts more than Zero
        ("WW", "aa", "RR", "q0"),  # those alike: the first
    ],
)
def test_which_problem_is_followed(base, zero, last, question):
    texts = {"a": "<think> I add </think>", "m": "<think> 我 add </think>"}
    sides = {
        "Base": side(*(("", c == "R") for c in base)),
        "Zero": side(*((texts[c], True) for c in zero)),
        "R1": side(*(("", c == "R") for c in last)),
    }
    assert chosen(sides) == [question]


def test_the_lineage_is_shown_with_short_hashes(whole):
    _, _, text = whole
    part = section(text, "Lineage")
    short = {name: sha(name)[:8] for name in ("base", "zero", "dev1", "chains")}
    assert all(digest in part for digest in short.values())
    assert sha("base")[:9] not in part
    assert part.count('<path class="weights"') == 2  # base to zero and to cold_start
    assert part.count('<path class="data"') == 2  # zero to its samples, those to cold_start
    assert part.count("<circle") == 3 and part.count("<rect") == 1
    row = cells(part, "cold_start")
    assert short["dev1"] in row[0] and row[1:3] == ["base", "–"]
    assert row[3].startswith(f'kept.jsonl <span class="hash">{short["chains"]}</span> of cold_st')


def test_sources_are_what_a_stage_used_but_for_its_parent():
    assert sources(LINEAGE, "cold_start") == {"cold_start_data"}
    assert sources(LINEAGE, "cold_start_data") == {"zero"}
    assert sources(LINEAGE, "zero") == set()


def test_time_is_held_against_the_budget(whole):
    part = section(whole[2], "Time")
    bar = '<span class="bar" style="margin-left:{}%;width:{}%"></span>'.format
    assert cells(part, "zero") == ["2m00s", bar("0.0", "13.3")]
    # After 120 s of zero and 33 s of helpfulness.
    assert cells(part, "general_rl") == ["3m45s", bar("17.0", "25.0")]
    assert cells(part, "helpfulness")[0] == "33s"  # from its own summary
    assert cells(part, "rejection") == ["", ""]
    assert "6m18s of 15m00s" in words(part) and "whole width is the budget" in words(part)


def test_a_pipeline_that_ended_after_its_first_stage(tmp_path):
    zero_stage(tmp_path / "r1")
    text = write_pipeline_report(tmp_path / "r1").read_text(encoding="utf-8")
    said = words(text)
    for present in ("has not finished", "28.8 % → 90.0 %", "base and Zero", "2m05s", "1 stage"):
        assert present in said
    for absent in ("Dev1", "Students", "Reward models", "left out", "None", "nan", "1 stages"):
        assert absent not in said
    assert {p.stem for p in (tmp_path / "r1" / "plots").iterdir()} == {
        "stages", "accuracy", "length", "language",
    }  # fmt: skip


def test_a_pipeline_that_has_only_begun(tmp_path):
    dump(tmp_path / "config.json", {})
    said = words(write_pipeline_report(tmp_path).read_text(encoding="utf-8"))
    assert "0 stages" in said and "Stage by stage" not in said and "Lineage" not in said


def test_a_folder_that_is_no_pipeline(tmp_path):
    with pytest.raises(UserError, match="no config.json"):
        write_pipeline_report(tmp_path)


def test_curves_run_on_over_the_stages_without_joining():
    metrics = [{"update": u, "reward/accuracy": u / 10} for u in (1, 2)]
    evaluations = [{"update": u, "set": "a", "pass_at_1": 0.5 + u / 10} for u in (0, 2)]
    other = [{"update": 2, "set": "b", "pass_at_1": 0.1}]
    courses = [StageCurves("zero", metrics, evaluations + other), StageCurves("empty", [], []),
               StageCurves("last", metrics, [])]  # fmt: skip
    (chart,) = charts(courses)
    axes = Figure().add_subplot()
    chart.draw(axes, LIGHT)
    drawn = [line.get_xydata().tolist() for line in axes.lines]
    assert drawn == [
        [[1, 0.1], [2, 0.2]],
        [[0, 0.5], [2, 0.7]],
        [[3, 0.1], [4, 0.2]],
    ]
    assert [text.get_text() for text in axes.texts] == ["zero", "last"]
    assert axes.get_legend_handles_labels()[1] == ["training", "held out"]


def test_without_records_there_is_no_curve():
    assert charts([]) == []
    assert charts([StageCurves("zero", [{"update": 1, "loss": 1.0}], [])]) == []
