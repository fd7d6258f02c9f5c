"""Cold-start data: the rule-based rewriter of the embedded world, and the four routes."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import changed, save_model

from r1jax.commands import cli
from r1jax.commands import cold_start_data as command
from r1jax.data import TrainDataConfig
from r1jax.data.curation.filters import FilterConfig, Text, first_reason, make_filters
from r1jax.data.world import documents
from r1jax.data.world.rewrite import (
    countdown_target,
    equations,
    read_story,
    rewrite,
    value_of,
)
from r1jax.data.world.stories import STORIES
from r1jax.endpoint import EndpointConfig, Reply
from r1jax.errors import UserError
from r1jax.problem import Completion, Problem
from r1jax.rewards import RewardPool, accuracy
from r1jax.rewards.format import is_strict_format
from r1jax.rewards.language import count_words
from r1jax.rollout.engine import EngineConfig
from r1jax.stages import cold_start
from r1jax.stages.cold_start import (
    ColdStartConfig,
    asking_template,
    endpoint_generator,
    endpoint_rewriter,
    make_rewriter,
    read_examples,
)
from r1jax.stages.harvest.judges import rule_judge
from r1jax.stages.harvest.review import read_review, reviewed
from r1jax.stages.harvest.samples import Sample, rewritten

EQUATION = re.compile(r"[0-9]+(?:[-+*][0-9]+)+=-?[0-9]+")


def told(thought, answer):
    return f"<think> {thought} </think> <answer> {answer} </answer>"


# --- the rewriter ----------------------------------------------------------------------------

SUM, ZH_SUM = "What is 15+11+42?", "15+11+42等于多少？"
MAKE, ZH_MAKE = (
    "Make 41 from 25, 9, 7 with + - *, each number once.",
    "用25、9、7和+-*得到41，每个数用一次。",
)
BAG = "Max buys 2 toys at 13 yuan each and a bag for 59 yuan. How much does Max pay?"


@pytest.mark.parametrize(
    "question, source, text",
    [
        (
            SUM, " 先算15+11=26。 Then 26+42=68. The answer is 68.",
            told("First I have 15+11=26. Then I have 26+42=68. So the answer is 68.", "68"),
        ),
        (
            ZH_SUM, " First 15+11=26.再算26+42=68。= 68",
            told("先算15+11=26。再算26+42=68。所以我的答案是68。", "68"),
        ),
        (  # a slip that is put right stays, with its doubt
            SUM, " <think> First 15+11=16. Wait, 15+11=26. Then 26+42=68. </think> <answer> 68 "
            "</answer>",
            told("First I have 15+11=16. Wait, I was wrong: 15+11=26. Then I have 26+42=68. "
                 "So the answer is 68.", "68"),
        ),
        (  # putting right what was not wrong is a check; a check that fails is left out
            SUM, "First 15+11=26. A mistake, retry: 15+11=26. Then 26+42=68. "
            "Check: 68-42=25, good. The answer is 68.",
            told("First I have 15+11=26. I check: 15+11=26, good. Then I have 26+42=68. "
                 "So the answer is 68.", "68"),
        ),
        (
            SUM, "First 15+11=26. However, I forgot one step: 26+42=68. 验证：68-42=26，没错。= 68",
            told("First I have 15+11=26. Wait, I forgot one step: 26+42=68. I check: 68-42=26, "
                 "good. So the answer is 68.", "68"),
        ),
        (
            MAKE, "试试25+7-9=23不对，9*7-25=38不对，25-9-7=1不对，25+7-9=23不对， 25+9+7=41 yes."
            "答案是25+9+7。",  # one trial is miscalculated, one comes twice
            told("I try 25+7-9=23 no, 9*7-25=38 no, 25+9+7=41 yes. So the answer is 25+9+7.",
                 "25+9+7"),
        ),
        (
            ZH_MAKE, "Try 9*7-25=41 yes. Wait, 9*7-25=38 no, 25+9+7=41 yes. Check: 25+9=34, good. "
            "= 25+9+7",
            told("我试试9*7-25=41对了。等等，9*7-25=38不对，25+9+7=41对了。我检查：25+9=34，没错。"
                 "所以我的答案是25+9+7。", "25+9+7"),
        ),
        (
            BAG, " 先看题目：小华一共要付多少元，要算出来。买玩具花了2*13=26元。 With the "
            "bag it is 26+59=85 yuan. = 85",
            told("I want to know how much Max has to pay in total. The toys cost 2*13=26 yuan. "
                 "With the bag it is 26+59=85 yuan. So the answer is 85.", "85"),
        ),
    ],
)  # fmt: skip
def test_rewrites_literally(question, source, text):
    assert rewrite(question, source) == text


@pytest.mark.parametrize(
    "question, source",
    [
        (SUM, " The answer is 68."),  # a guess has no steps
        (SUM, "First 15+11=26. The answer is 68."),  # does not follow
        (SUM, "First 15+11=27. Then 27+42=69. The answer is 69."),  # wrong, never put right
        (SUM, "First 15+11=16. Wait, 15+11=27. Then 27+42=69. = 69"),
        (SUM, "Check: 15+11=26, good. = 26"),
        (SUM, ""),
        (MAKE, "Try 25+7-9=23 no, I stop here. The answer is 25+9+7."),
        (MAKE, "Try 25+9+7=41 yes. The answer is 25+7-9."),
        (MAKE, "Try 25+9+7=41 no, I stop here. The answer is 25+9+7."),
        (MAKE, "Try 25*9-7=41 yes. The answer is 25*9-7."),
    ],
)
def test_what_cannot_be_told_well_is_refused(question, source):
    assert rewrite(question, source) is None


@pytest.fixture(scope="module")
def corpus():
    """Documents with their rewrites, None among them."""
    found = [(d, rewrite(d.problem.question, d.completion)) for d in documents(11, 0, 4000)]
    assert sum(text is not None for _, text in found) > 800
    return found


def test_every_equation_of_a_rewrite_stands_in_its_source(corpus):
    for document, text in corpus:
        if text is not None:
            thought = Text.of("", text).thought
            assert EQUATION.findall(thought)
            assert all(found in document.completion for found in EQUATION.findall(thought)), text


def test_a_rewrite_is_in_the_envelope_in_one_script_the_questions_and_passes_the_filters(corpus):
    filters = make_filters(FilterConfig(strict=True, shortest=4))
    for document, text in corpus:
        if text is None:
            continue
        script = "han" if document.problem.metadata["language"] == "zh" else "latin"
        assert set(count_words(text)) == {script} and is_strict_format(text)
        assert ("我" in text) if script == "han" else re.search(r"\bI\b", text)
        assert first_reason(filters, Text.of(document.problem.question, text)) is None, text


def test_the_rewriter_keeps_the_answer_and_nearly_all_right_chains(corpus):
    judge = rule_judge(accuracy("answer_tag"), RewardPool(workers=0))
    told = [(d, text) for d, text in corpus if text is not None]
    right = judge([d.problem for d, _ in told], [Completion.parse(text) for _, text in told])
    assert all(verdict == d.correct for verdict, (d, _) in zip(right, told, strict=True))
    chains = [text for d, text in corpus if d.correct and d.mode in ("long", "checked")]
    assert sum(text is not None for text in chains) >= 0.99 * len(chains)
    assert not any(text for d, text in corpus if d.mode == "guess")


def test_a_wrong_gold_changes_no_text(corpus):
    """The stage hands the rewriter question and source alone, whatever the problem's answer."""
    assert list(inspect.signature(rewrite).parameters) == ["question", "source"]
    always = lambda problems, completions: [True] * len(completions)  # noqa: E731
    chosen = [(d, text) for d, text in corpus if text][:200]
    for gold in ("-1", ""):
        samples = [
            Sample(
                dataclasses.replace(d.problem, answer=gold), Completion.parse(d.completion), True
            )
            for d, _ in chosen
        ]
        found = rewritten(make_rewriter("rules", None), always, samples)
        assert [s.completion.text for s in found] == [text for _, text in chosen]


@given(st.text(alphabet="0123456789+-*=. yesno不对Wait,检查<think>/answr", max_size=120))
def test_any_source_is_refused_or_rewritten_from_its_own_equations(source):
    for question in (SUM, ZH_MAKE):
        text = rewrite(question, source)
        if text is not None:
            thought = Text.of("", text).thought
            assert all(found in source for found in EQUATION.findall(thought))


@pytest.mark.parametrize(
    "expression, value",
    [("2", 2), ("2+3*4", 14), ("2*3-4*5", -14), ("10-2-3", 5), ("7*1*2", 14)],
)
def test_values(expression, value):
    assert value_of(expression) == value


def test_equations_have_their_roles():
    text = "先算1+2=3。 Wait, 1+2=4. one step is missing: 3*4=12. Check: 12-9=3, good. 5-4=1 no, 2-3=-1 yes. 1+1=2=2 x1+1.5=3"  # noqa: E501
    assert [(e.text, e.role, e.true) for e in equations(text)] == [
        ("1+2=3", "step", True), ("1+2=4", "repair", False), ("3*4=12", "forgotten", True),
        ("12-9=3", "check", True), ("5-4=1", "miss", True), ("2-3=-1", "hit", True),
    ]  # fmt: skip


def test_questions_are_read_backwards():
    assert countdown_target(MAKE) == countdown_target(ZH_MAKE) == 41
    assert countdown_target(SUM) is None and read_story(SUM, 0) is None
    told = read_story(BAG, 0)
    assert told.goal == "We want to know how much Max has to pay in total."
    assert told.says == ("The toys cost %s yuan.", "With the bag it is %s yuan.")
    for story in STORIES:  # every sentence has one place for its equation
        for pair in story.says:
            for said in pair:
                assert len(re.findall(r"%\(\w\)d[-+*]%\(\w\)d=%\(\w\)d", said)) == 1


# --- the routes ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


def even(problem, completion):
    """A judge that needs no sense; what was rewritten is right."""
    return completion.text.startswith("<think>") or len(completion.text) % 2 == 0


def dress(question, text):
    """A rewriter that refuses texts with a full stop."""
    return (
        None
        if "." in text
        else f"<think> I read {len(text)} signs here. </think> <answer> 1 </answer>"
    )


def flags(model, path, **changes):
    config = ColdStartConfig(
        run=str(path), model=model, prompts=6, batch=4, samples=3, judge="test_cold_start:even",
        rewriter="test_cold_start:dress", workers=0,
        data=TrainDataConfig(template="mini", train=("world:sum",), language="en"),
        rollout=EngineConfig(slots=8, max_prompt=160, max_tokens=8, prefill=4),
    )  # fmt: skip
    return changed(config, changes)


def rows(path, name):
    return [json.loads(line) for line in (path / f"{name}.jsonl").read_text().splitlines()]


def test_zero_samples_rewrites_and_keeps_the_source_beside_the_text(model, tmp_path):
    path = tmp_path / "run"
    cold_start.run(flags(model, path))
    kept, dropped = rows(path, "kept"), rows(path, "dropped")
    assert len(kept) + len(dropped) == 18 and kept
    for row in kept:
        text = dress(row["question"], row["source"])
        assert row["completion"] == f" {text}" and row["prompt"].endswith("Assistant:")
    reasons = {r["reason"] for r in dropped}
    known = {"wrong", "truncated", "duplicate", "not_rewritten", "empty"}
    assert "wrong" in reasons and reasons <= known
    sheet = json.loads((path / "datasheet.json").read_text())
    assert sheet["title"] == "Cold start: zero"
    assert sheet["origin"]["rewriter"] == "test_cold_start:dress"


def test_prompts_of_the_other_routes(tmp_path):
    config = ColdStartConfig(data=TrainDataConfig(template="mini"))
    assert asking_template(config) is None
    direct = asking_template(dataclasses.replace(config, source="direct"))
    text = direct.fill("Why {x}?")
    assert "verify" in text and "doubt" in text and text.endswith("User: Why {x}?\nAssistant:")
    shown = asking_template(dataclasses.replace(config, source="few_shot")).fill("Why?")
    assert shown.count("Question: ") == 3 and shown.endswith("Question: Why?\nAnswer:")
    chat = TrainDataConfig(template="chat")
    asked = asking_template(dataclasses.replace(config, source="direct", data=chat))
    assert asked.chat and not asked.fill("q").endswith("Assistant:")


def test_our_own_examples_are_fit_to_be_learnt():
    filters = make_filters(FilterConfig(strict=True))
    for question, text in read_examples(ColdStartConfig()):
        assert first_reason(filters, Text.of(question, text)) is None
        answer = Completion.parse(text).answer
        true = [e for e in equations(text) if e.true]
        assert any(e.value == int(answer) for e in true)


def test_examples_come_from_a_file(tmp_path):
    path = tmp_path / "shots.jsonl"
    path.write_text('{"question": "1+1?", "completion": "<think> a </think>"}\n')
    config = ColdStartConfig(source="few_shot", examples=str(path))
    assert asking_template(config).fill("q") == (
        "Question: 1+1?\nAnswer: <think> a </think>\n\nQuestion: q\nAnswer:"
    )
    path.write_text('{"question": "1+1?"}\n')
    with pytest.raises(UserError, match="shots.jsonl, line 1: expected text in question and"):
        read_examples(config)


@pytest.mark.parametrize("source", ["few_shot", "direct"])
def test_the_asking_routes_run_and_keep_pairs_in_the_training_template(model, tmp_path, source):
    path = tmp_path / "run"
    changes = {"source": source, "rewriter": "test_cold_start:dress", "prompts": 4, "samples": 2}
    wide = {"rollout.max_prompt": 512} if source == "few_shot" else {"rollout.max_prompt": 256}
    cold_start.run(flags(model, path, **changes, **wide))
    assert all(r["prompt"] == f"User: {r['question']}\nAssistant:" for r in rows(path, "kept"))
    assert len(rows(path, "prompts")) == 4


class Model:
    """An endpoint that answers from its requests."""

    def __init__(self, say):
        self.say, self.requests = say, []

    def chat(self, requests):
        self.requests += requests
        return [self.say(request) for request in requests]


def test_an_endpoint_generates_samples_told_apart_by_their_seeds():
    ends = ["stop", "length", "content_filter", None]
    model = Model(lambda r: (end := ends[r.seed % 4]) and Reply(f"{r.seed}", "why", end, 1, 1))
    config = ColdStartConfig(seed=5, samples=4, source="direct")
    generate = endpoint_generator(model, asking_template(config), config)
    found = generate([Problem("a", "A?", "1"), Problem("b", "B?", "1")])
    assert [[c and c.text[-2:] for c in own] for own in found] == [["20", "21", "22", None]] * 2
    assert [c.finish_reason for c in found[0][:3]] == ["stop", "length", "length"]
    assert found[0][0].thought == "why"
    assert ["A?" in r.messages[0]["content"] for r in model.requests] == [True] * 4 + [False] * 4


def test_an_endpoint_rewrites_and_a_reply_that_was_cut_is_none():
    ends = {"one": "stop", "two": "length", "three": "content_filter"}

    def say(request):
        asked = request.messages[0]["content"]
        end = next((end for word, end in ends.items() if f"\n{word}\n" in asked), None)
        return end and Reply(" <think> new </think> ", "inner", end, 1, 1)

    found = endpoint_rewriter(Model(say))([("q", word) for word in (*ends, "four")])
    assert found == ["<think> new </think>", None, None, None]


def test_people_review_what_was_kept(model, tmp_path, capsys):
    path, review = tmp_path / "run", tmp_path / "review.jsonl"
    cold_start.run(flags(model, path))
    human = flags(model, tmp_path / "human", source="human", review=str(review),
                  judge="rules", review_from=str(path))  # fmt: skip
    cold_start.run(human)
    listed = [json.loads(line) for line in review.read_text().splitlines()]
    assert len(listed) == len(rows(path, "kept")) and not (tmp_path / "human").exists()
    assert all(r["accept"] is None and r["text"].startswith("<think>") for r in listed)
    with pytest.raises(UserError, match="no row has accept set to true"):
        cold_start.run(human)

    own = {"question": SUM, "accept": True, "text": rewrite(SUM, "First 15+11=26. = 26")}
    answers = [
        {"id": "s", "gold": "26", "grader": "number", **own},
        {"id": "s", "gold": "26", "grader": "number", **own, "accept": False},
        {"id": "t", "gold": "27", "grader": "number", **own},  # accepted, and wrong
        {"id": "u", **own},  # no gold answer: what people say counts
        {"id": "v", **own, "accept": None},
        {"id": "w", **own, "text": "26"},
        {"id": "x", "gold": "1+25", "grader": "countdown", **own},
    ]
    review.write_text("".join(json.dumps(row) + "\n" for row in answers))
    cold_start.run(changed(human, {"overwrite": True}))
    found = tmp_path / "human"
    assert [r["id"] for r in rows(found, "kept")] == ["s", "u", "x"]
    assert [r["reason"] for r in rows(found, "dropped")] == [
        "rejected", "wrong", "unreviewed", "incomplete",
    ]  # fmt: skip
    (first, *_) = rows(found, "kept")
    assert first["completion"] == f" {own['text']}" and first["prompt"].endswith("Assistant:")


def test_a_review_that_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "r.jsonl"
    for row, said in (
        ({"question": "q", "text": "t", "accept": "yes"}, "column accept: is 'yes'"),
        ({"question": "q", "text": "t", "accept": 1}, "column accept: is 1; expected true"),
        ({"question": "q", "text": " ", "accept": True}, "column text: expected text"),
        ({"text": "t", "accept": True}, "column question: expected text"),
    ):
        path.write_text(json.dumps(row) + "\n")
        with pytest.raises(UserError, match=f"r.jsonl, line 1, {said}"):
            read_review(str(path))
    judge = lambda problems, completions: [False] * len(completions)  # noqa: E731
    (sample,) = reviewed(Problem("p", "q", "1", "math"), [{"text": "t", "accept": True}], judge)
    assert sample.right is False and sample.reason is None and sample.anew


@pytest.mark.parametrize(
    "words, said",
    [
        ("--source human", "--review: --source human needs the file"),
        ("--source human --review no.jsonl", "--review no.jsonl: no such file, and --review-from"),
        ("--review x.jsonl", "only --source human reads them"),
        ("--examples x.jsonl", "only --source few_shot shows examples"),
        ("--source direct --generator endpoint", "--generator endpoint: needs --endpoint.base-url"),
        ("--rewriter endpoint", "--rewriter endpoint: needs --endpoint.base-url"),
        ("--rewriter nothing", "--rewriter nothing: not of the form package.module:function"),
    ],
)
def test_wrong_flags_are_one_line(model, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert cli.run(command.main, flags(model, tmp_path / "run"), words.split()) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_endpoint_is_off_by_default():
    assert all(preset.endpoint == EndpointConfig() for preset in command.PRESETS.values())
