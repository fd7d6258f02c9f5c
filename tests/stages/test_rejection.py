"""Rejection sampling: what is kept and why not, and runs that are killed and go on."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest
from runs import Boundaries, Interrupted, changed, save_model, write_rows

from r1jax.commands import cli
from r1jax.commands import rejection as command
from r1jax.data import TrainDataConfig
from r1jax.data.curation.datasheet import datasheet, histogram, quantiles
from r1jax.data.curation.filters import FilterConfig, make_filters
from r1jax.data.curation.streams import CurationFiles, write_parquet
from r1jax.data.examples.conversations import ConversationConfig, Pair, read_conversations
from r1jax.data.templates import TEMPLATES, Template
from r1jax.endpoint import Reply
from r1jax.errors import Stopped, UserError
from r1jax.problem import Completion, Problem
from r1jax.report.markdown import datasheet_page
from r1jax.rewards import RewardPool, accuracy
from r1jax.rollout.engine import EngineConfig
from r1jax.rollout.policy import load_policy
from r1jax.stages import rejection
from r1jax.stages.harvest.judges import endpoint_judge, rule_judge
from r1jax.stages.harvest.samples import (
    BalanceConfig,
    Room,
    Sample,
    Steps,
    decide,
    judged,
    rewritten,
    settle,
    training_layout,
)
from r1jax.stages.rejection import RejectionConfig

ROOT = Path(__file__).parents[2]
ASKED = Problem("p", "What is 2+3+4?", "9", "number")
GOOD = "<think> First I have 2+3=5. Then I have {0}. </think> <answer> 9 </answer>"
FILES = ("kept.jsonl", "dropped.jsonl", "prompts.jsonl", "kept.parquet", "dropped.parquet",
         "datasheet.json", "datasheet.md", "kept.mixture.jsonl")  # fmt: skip


def of(text, right=True, finish="stop", **fields):
    return Sample(ASKED, Completion.parse(text, finish_reason=finish), right, **fields)


# --- what is kept ----------------------------------------------------------------------------


def test_every_sample_that_is_dropped_has_its_reason():
    samples = [
        of(GOOD.format("5+4=9")),
        of(GOOD.format("5+4=9")),
        of("9", right=False),
        of(GOOD.format("x"), finish="length"),
        of(GOOD.format("y"), right=None),
        of("9"),
        of(GOOD.format("4+5=9")),
        of(GOOD.format("9=9")),
        of(GOOD.format("z"), reason="not_rewritten"),
        of(" "),
    ]
    filters = make_filters(FilterConfig())
    assert decide(samples, filters, most=2, wanted=True) == [
        None, "duplicate", "wrong", "truncated", "unjudged", "incomplete", None, "enough",
        "not_rewritten", "empty",
    ]  # fmt: skip
    assert decide(samples[:2], filters, most=2, wanted=False) == ["easy", "duplicate"]


@pytest.mark.parametrize(
    "share, prompts, fits",
    [
        (0.5, [], False),  # it would be the only one
        (1.0, [], True),
        (0.0, [(1, 0)] * 9, False),
        (0.5, [(1, 0)], True),  # 1 of 2
        (0.5, [(1, 0), (1, 1)], False),  # 2 of 3
        (0.5, [(1, 0), (1, 1), (0, 1)], False),  # one that was not kept does not count
        (0.25, [(2, 0), (4, 0), (1, 0)], True),  # 1 of 4
    ],
)
def test_prompts_without_difficulty_are_kept_up_to_a_share(share, prompts, fits):
    room = Room(share, [{"kept": kept, "easy": bool(easy)} for kept, easy in prompts])
    assert room.for_easy() is fits


def test_rules_and_a_model_judge(monkeypatch):
    completions = [of(GOOD.format("a")).completion, of("8").completion, of("9", finish="length")]
    completions[2] = completions[2].completion
    rules = rule_judge(accuracy("auto"), RewardPool(workers=0))
    assert rules([ASKED] * 3, completions) == [True, False, False]

    class Model:
        def chat(self, requests):
            self.asked = [r.messages[0]["content"] for r in requests]
            marks = [re.search("mark-[0-9a-f]{16}", asked)[0] for asked in self.asked]
            said = [f"9 is 9.\n{marks[0]}: correct", "I cannot say"]
            return [Reply(text, "", "stop", 1, 1) for text in said]

    model = Model()
    assert endpoint_judge(model)([ASKED] * 3, completions) == [True, None, False]
    shown = re.sub(" mark-[0-9a-f]{16}", "", model.asked[0])
    assert "<student>\n9\n</student>" in shown and "First I have" not in shown
    assert "<reference>\n9\n</reference>" in shown


def test_what_did_not_come_is_listed_and_counts_neither_right_nor_wrong(tmp_path):
    policy = load_policy("embedded", "mini")
    judge = lambda problems, completions: [{"9": True, "8": False}.get(c.text) for c in completions]  # noqa: E731
    steps = Steps(judge, None, [], BalanceConfig(), training_layout(policy), len)
    drawn = [[Completion.parse(text) if text else None for text in group] for group in
             (["9", None, "8", "?"], [None, None], ["9", None])]  # fmt: skip
    streams, room = CurationFiles(tmp_path, fresh=True), Room(1.0, [])
    for samples in judged(steps, [ASKED] * 3, drawn):
        settle(steps, ASKED, samples, streams, room)
    sheet = datasheet(streams, "T", {})
    assert sheet["dropped_by_reason"] == {"no_reply": 4, "unjudged": 1, "wrong": 1}
    assert [p["pass_rate"] for p in streams.prompts] == [0.5, None, 1.0]
    assert [p["easy"] for p in streams.prompts] == [False, False, True]
    assert (sheet["samples"], sheet["kept"], sheet["pass_rate_mean"]) == (8, 2, 0.75)
    write_parquet(tmp_path / "dropped.jsonl", tmp_path / "dropped.parquet")
    streams.close()


def test_only_right_and_whole_samples_are_rewritten_and_all_of_them_are_judged_again():
    samples = [of("a 9"), of("b 8", right=False), of("c 9"), of("d 9"), of("e 9", finish="length")]
    seen = []

    def rewrite(pairs):
        seen.extend(pairs)
        return [None if text[0] == "a" else f"new {text}" for _, text in pairs]

    says = {"c": True, "d": False}
    judge = lambda problems, completions: [says.get(c.text[4]) for c in completions]  # noqa: E731
    samples.append(of("f 9"))
    found = rewritten(rewrite, judge, samples)
    assert seen == [(ASKED.question, f"{x} 9") for x in "acdf"]
    assert found.pop().reason == "unjudged"
    assert [s.reason for s in found] == ["not_rewritten", None, None, "rewritten_wrong", None]
    assert [s.completion.text for s in found] == ["a 9", "b 8", "new c 9", "new d 9", "e 9"]
    assert [s.source for s in found] == ["a 9", None, "c 9", "d 9", None]


@pytest.mark.parametrize(
    "template, text, anew, row",
    [
        ("mini", " <think> a", False, ("User: q\nAssistant:", " <think> a")),
        ("mini", "<think> a", True, ("User: q\nAssistant:", " <think> a")),
        ("plain", "<think> a", True, ("q\n", "<think> a")),
        ("prefilled", "<think> a", False, ("q: <think>", " a")),
        ("prefilled", "<think> a", True, ("q: <think>", " a")),
    ],
)
def test_a_kept_row_is_the_pair_that_is_learnt(template, text, anew, row):
    policy = load_policy("embedded", "mini")
    named = TEMPLATES | {"prefilled": Template("prefilled", "{question}: ", prefill="<think>")}
    policy = dataclasses.replace(policy, template=named[template])
    found = training_layout(policy)(Problem("p", "q", "1"), text, anew)
    assert (found["prompt"], found["completion"]) == row


def test_a_chat_template_gives_messages():
    policy = load_policy("embedded", "mini")
    chat = Template("chat", "{question}!", chat=True)
    policy = dataclasses.replace(policy, template=chat, system="S")
    assert training_layout(policy)(Problem("p", "q", "1"), "a", False) == {
        "messages": [
            {"role": "system", "content": "S"}, {"role": "user", "content": "q!"},
            {"role": "assistant", "content": "a"},
        ]
    }  # fmt: skip


# --- streams and datasheet -------------------------------------------------------------------


def feed(streams, last, pause=0.0):
    """Prompts number `len(streams.prompts)` to `last`; every third keeps nothing."""
    for i in range(len(streams.prompts), last):
        kept = [{"id": str(i), "tokens": i, "words": 2 * i, "language": "en", "text": "é" * i}]
        dropped = [{"id": str(i), "reason": "wrong" if i % 2 else "short"}] * (i % 4)
        facts = {"id": str(i), "samples": 4, "pass_rate": (i % 5) / 4, "kept": int(i % 3 > 0)}
        streams.add(facts | {"easy": i % 5 == 4}, kept if i % 3 else [], dropped)
        time.sleep(pause)
    streams.close()


def contents(path):
    return {name: (path / f"{name}.jsonl").read_bytes() for name in ("kept", "dropped", "prompts")}


@pytest.mark.parametrize("cut", [0, 1, 57, 400])
def test_streams_go_on_after_any_half_written_line(tmp_path, cut):
    feed(CurationFiles(tmp_path, fresh=True), 30)
    expected = contents(tmp_path)
    ledger = expected["prompts"]
    (tmp_path / "prompts.jsonl").write_bytes(ledger[: len(ledger) - cut])
    for name in ("kept", "dropped"):
        with (tmp_path / f"{name}.jsonl").open("ab") as file:
            file.write(b'{"id": "half')
    streams = CurationFiles(tmp_path, fresh=False)
    assert len(streams.prompts) >= 30 - cut // 50 - 1
    feed(streams, 30)
    assert contents(tmp_path) == expected


def test_streams_survive_sigkill(tmp_path):
    feed(CurationFiles(tmp_path, fresh=True), 60)
    expected = contents(tmp_path)
    (killed := tmp_path / "killed").mkdir()
    code = (
        "import sys; sys.path[:0] = ['tests', 'tests/stages']\n"
        "from pathlib import Path; from test_rejection import feed; "
        "from r1jax.data.curation.streams import CurationFiles\n"
        f"feed(CurationFiles(Path({str(killed)!r}), fresh=True), 60, 0.02)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=os.environ)
    marks = killed / "prompts.jsonl"
    deadline = time.monotonic() + 120  # of a busy machine
    while time.monotonic() < deadline and not (marks.exists() and marks.stat().st_size > 200):
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    streams = CurationFiles(killed, fresh=False)
    assert 0 < len(streams.prompts) < 60
    feed(streams, 60)
    assert contents(killed) == expected


def test_a_datasheet_counts_by_hand(tmp_path):
    streams = CurationFiles(tmp_path, fresh=True)
    feed(streams, 6)
    sheet = datasheet(streams, "T", {"model": "m|n"})
    # Prompts 1, 2, 4, 5 kept one sample each; dropped are 1, 2, 3, 0, 1 of prompts 1 to 5.
    assert (sheet["prompts"], sheet["prompts_kept"], sheet["samples"]) == (6, 4, 24)
    assert sheet["kept"] == 4 and sheet["dropped"] == 7
    assert sheet["dropped_by_reason"] == {"wrong": 5, "short": 2}
    assert {k: n for k, n in sheet["pass_rates"].items() if n} == {
        "0": 2, "(0.2, 0.3]": 1, "(0.4, 0.5]": 1, "(0.7, 0.8]": 1, "1": 1,
    }  # fmt: skip
    assert sheet["tokens"] == {
        "min": 1, "p5": 1, "median": 2, "mean": 3.0, "p95": 4, "max": 5, "sum": 12,
    }  # fmt: skip
    text = datasheet_page(sheet)
    assert "4 of 24 samples kept (16.7%), of 4 of 6 prompts" in text
    assert "| wrong | 5 |" in text and "| m\\|n |" in text and sheet["sha256"] in text


def test_histogram_and_quantiles_of_the_edges():
    counts = histogram([0, 1, 0.1, 0.9, 0.95, 1 / 3, 2 / 3])
    assert sum(counts.values()) == 7 and len(counts) == 12
    assert (counts["0"], counts["1"], counts["(0, 0.1]"], counts["(0.9, 1)"]) == (1, 1, 1, 1)
    assert counts["(0.8, 0.9]"] == counts["(0.3, 0.4]"] == counts["(0.6, 0.7]"] == 1
    assert quantiles([]) is None


def test_parquet_keeps_texts_that_look_like_something_else(tmp_path):
    rows = [{"gold": "2024-01-01", "n": 1, "x": 0.5}, {"gold": "7", "n": 2, "x": 1.0, "late": "y"}]
    source = tmp_path / "a.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_parquet(source, tmp_path / "a.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist() == [
        rows[0] | {"late": None}, rows[1],
    ]  # fmt: skip
    source.write_text("")
    write_parquet(source, tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()


# --- whole runs ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


def even(problem, completion):
    """A judge that needs no sense: texts of an even number of characters are right."""
    return len(completion.text) % 2 == 0


def flags(model, path, **changes):
    config = RejectionConfig(
        run=str(path),
        model=model,
        prompts=12,
        batch=4,
        samples=3,
        judge="test_rejection:even",
        workers=0,
        data=TrainDataConfig(template="mini", train=("world:sum",)),
        rollout=EngineConfig(slots=8, max_prompt=160, max_tokens=8, prefill=4),
        filters=FilterConfig(1.1, 0.0, False, False, False, 0),
        balance=BalanceConfig(per_prompt=2, easy_share=0.5),
        export=("mixture",),
    )
    return changed(config, changes)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """A run from start to end."""
    path = tmp_path_factory.mktemp("whole") / "run"
    rejection.run(flags(model, path))
    return path


def rows(path, name):
    return [json.loads(line) for line in (path / f"{name}.jsonl").read_text().splitlines()]


def test_a_run_asks_each_prompt_once_and_accounts_for_every_sample(whole):
    kept, dropped, prompts = (rows(whole, name) for name in ("kept", "dropped", "prompts"))
    assert len(prompts) == len({p["id"] for p in prompts}) == 12
    assert sorted((r["id"], r["sample"]) for r in kept + dropped) == sorted(
        (p["id"], i) for p in prompts for i in range(3)
    )
    order = [p["id"] for p in prompts]
    assert [r["id"] for r in kept] == sorted((r["id"] for r in kept), key=order.index)
    assert kept and {r["reason"] for r in dropped} >= {"wrong"}
    assert all(sum(r["id"] == name for r in kept) <= 2 for name in order)
    assert all(r["pass_rate"] in (1 / 3, 2 / 3, 1.0) for r in kept)
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["kept"] == len(kept) and summary["dropped"] == len(dropped)
    assert pyarrow.parquet.read_table(whole / "kept.parquet").to_pylist() == kept


def test_supervised_training_reads_what_was_kept(whole):
    read = [e for _, e in read_conversations(str(whole / "kept.jsonl"), ConversationConfig())]
    kept = rows(whole, "kept")
    assert read == [Pair(row["prompt"], row["completion"]) for row in kept]
    assert all(r["prompt"] == f"User: {r['question']}\nAssistant:" for r in kept)


def test_a_run_killed_thrice_ends_with_the_same_bytes(model, whole, tmp_path, monkeypatch):
    """The second time by a signal, which is told what it costs."""
    path = tmp_path / "run"
    add = CurationFiles.add
    added = []
    for killed in (1, 6, 11, None):
        added.append(0)

        def fails(self, *args, killed=killed):
            if len(self.prompts) == killed:
                self._files["kept"].write(b'{"half": ')  # a row on its way to the disk
                if killed == 6:
                    os.kill(os.getpid(), signal.SIGTERM)
                raise Interrupted
            added[-1] += 1
            add(self, *args)

        monkeypatch.setattr(CurationFiles, "add", fails)
        kind = Stopped if killed == 6 else Interrupted
        with contextlib.nullcontext() if killed is None else pytest.raises(kind) as caught:
            rejection.run(flags(model, path))
        done = [(path / f"{name}.json").exists() for name in ("summary", "datasheet")]
        assert done == [killed is None] * 2
        assert killed != 6 or "SIGTERM: ended; 6 of 12 prompts are kept; the same" in str(caught)
    assert added == [1, 5, 5, 1]  # what is decided is not asked again
    for name in FILES:
        assert (path / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_signal_costs_no_samples_that_are_there(model, whole, tmp_path, monkeypatch):
    path, kept = tmp_path / "run", []
    for at in (5, 1, 2, None):  # boundaries come after every few tokens
        with monkeypatch.context() as patch:
            Boundaries(patch, at)
            with contextlib.nullcontext() if at is None else pytest.raises(Stopped) as caught:
                rejection.run(flags(model, path))
        if at:
            there = (path / "samples.part.jsonl").exists()
            kept.append([r["of"][3] for r in rows(path, "samples.part")[1:]] if there else [])
            assert "problems of this batch are answered; the same command goes" in str(caught.value)
    assert any(kept)  # and what is kept of a batch is not drawn again
    assert all(b[: len(a)] == a or not {*a} & {*b} for a, b in itertools.pairwise(kept))
    for name in FILES:
        assert (path / name).read_bytes() == (whole / name).read_bytes(), name
    assert not (path / "samples.part.jsonl").exists()


def test_what_a_judge_of_ones_own_has_said_is_kept_problem_by_problem(model, whole, tmp_path):
    path, asked, usual = tmp_path / "run", [], even

    def judge(problem, completion):
        asked.append(problem.id)
        if len(asked) == 8:  # the second sample of the third problem
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(problem, completion)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped, match="2 of 12 prompts are"):
        patch.setattr(sys.modules["test_rejection"], "even", judge)
        rejection.run(flags(model, path))
    rejection.run(flags(model, path))
    for name in FILES:
        assert (path / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_finished_run_is_left_alone_and_overwriting_starts_anew(model, whole, tmp_path, capsys):
    before = (whole / "kept.jsonl").stat().st_mtime_ns
    rejection.run(flags(model, whole))
    assert "finished already" in capsys.readouterr().out
    assert (whole / "kept.jsonl").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="samples: 3 -> 2"):
        rejection.run(flags(model, whole, samples=2))
    path = tmp_path / "run"
    rejection.run(flags(model, path, seed=1, prompts=4))
    rejection.run(flags(model, path, overwrite=True))
    for name in FILES:
        assert (path / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_source_that_ends_is_used_once(model, tmp_path, capsys):
    source = tmp_path / "few.jsonl"
    write_rows(source, [{"question": f"What is {i}+1?", "answer": str(i + 1)} for i in range(5)])
    config = flags(model, tmp_path / "run", **{"data.train": (str(source),), "judge": "rules"})
    rejection.run(config)
    found = rows(tmp_path / "run", "prompts")
    assert len(found) == len({p["id"] for p in found}) == 5
    assert "--prompts 12: the sources hold 5 different problems" in capsys.readouterr().out
    assert not rows(tmp_path / "run", "kept")
    reasons = {row["reason"] for row in rows(tmp_path / "run", "dropped")}
    assert reasons <= {"wrong", "truncated", "empty"}


def test_settling_writes_what_was_decided(tmp_path):
    steps = Steps(
        lambda p, c: [], None, make_filters(FilterConfig()),
        BalanceConfig(per_prompt=1), lambda p, text, anew: {"completion": text}, len,
    )  # fmt: skip
    streams = CurationFiles(tmp_path, fresh=True)
    room = Room(1.0, [])
    settle(steps, ASKED, [of(GOOD.format("5+4=9")), of("8", right=False)], streams, room)
    streams.close()
    (kept,), (dropped,), (prompt,) = (rows(tmp_path, n) for n in ("kept", "dropped", "prompts"))
    text = GOOD.format("5+4=9")
    assert kept == {
        "id": "p", "sample": 0, "pass_rate": 0.5, "question": ASKED.question, "gold": "9",
        "grader": "number", "completion": text, "tokens": len(text), "words": 8, "language": "en",
    }  # fmt: skip
    assert (dropped["reason"], dropped["text"], dropped["sample"]) == ("wrong", "8", 1)
    assert (prompt["right"], prompt["easy"], prompt["kept"]) == (1, False, 1)
    assert (room.kept, room.easy) == (1, 0)


@pytest.mark.parametrize(
    "words, said",
    [
        ("--samples 0", "--samples 0: must be at least 1"),
        ("--top-p 0", "--top-p 0.0"),
        ("--parent-step 3", "--parent-step 3: needs --parent"),
        ("--balance.easy-share 2", "--balance.easy-share 2.0"),
        ("--export stratos --filters.no-complete", "--export stratos: needs a thought"),
        ("--judge endpoint", "--judge endpoint: needs --endpoint.base-url"),
        ("--judge nowhere", "--judge nowhere: not of the form package.module:function"),
    ],
)
def test_wrong_flags_are_one_line(model, tmp_path, capsys, words, said):
    default = flags(model, tmp_path / "run", judge="rules")
    assert cli.run(command.main, default, words.split()) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_presets_are_valid_and_the_demo_keeps_the_envelope():
    assert command.PRESETS["demo"].filters.strict and command.PRESETS["demo"].samples == 4
