"""Whole stages that ask an endpoint for samples, verdicts and rewriting, some of it in vain."""

from __future__ import annotations

import json
import re

import pytest
from chat_server import completion, flags, serving

from r1jax.commands import cli
from r1jax.commands import cold_start_data as command
from r1jax.data import TrainDataConfig
from r1jax.rollout.engine import EngineConfig
from r1jax.stages.cold_start import ColdStartConfig
from r1jax.stages.rejection import RejectionConfig

ROLES = {"generator": "no_reply", "judge": "unjudged", "rewriter": "not_rewritten"}
"""Who is asked, and why a sample is dropped that got no reply from it."""


class Cast:
    """Answers in the three roles; `null(role, n)` picks requests of a role that get no text."""

    def __init__(self, null):
        self.null, self.asked = null, dict.fromkeys(ROLES, 0)

    def __call__(self, handler, body):
        asked = body["messages"][0]["content"]
        role = "judge" if "<student" in asked else "rewriter" if "<draft" in asked else "generator"
        self.asked[role] += 1
        mark = re.search("mark-[0-9a-f]{16}|$", asked)[0]
        said = {
            "judge": f"Yes.\n{mark}: correct",
            "rewriter": f"<think> I read it once more: {mark}, then I am sure. </think> It is 7.",
            "generator": f"It is 7, by my count of {body.get('seed')}.",
        }[role]
        handler.send(200, completion(None if self.null(role, self.asked[role]) else said))


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving() as running:
        yield running


def config(server, path):
    return ColdStartConfig(
        run=str(path), source="direct", generator="endpoint", judge="endpoint", prompts=6, batch=4,
        rewriter="endpoint", samples=2, workers=0, rollout=EngineConfig(slots=2, prefill=2),
        data=TrainDataConfig(template="mini", train=("world:sum",), language="en"),
        endpoint=flags(server, retries=0, concurrency=1),
    )  # fmt: skip


def test_a_reply_that_says_nothing_costs_its_sample_and_is_listed(server, tmp_path, capsys):
    server.default = Cast(lambda role, n: n == 1)  # the first of each
    assert cli.run(command.main, config(server, tmp_path / "run"), []) == 0
    sheet = json.loads((tmp_path / "run" / "datasheet.json").read_text())
    assert sheet["samples"] == 12 and sheet["kept"] == 9
    assert sheet["dropped_by_reason"] == dict.fromkeys(sorted(ROLES.values()), 1)
    dropped = (tmp_path / "run" / "dropped.jsonl").read_text().splitlines()
    assert sorted(json.loads(row)["reason"] for row in dropped) == sorted(ROLES.values())
    said = capsys.readouterr().out
    for role in ROLES:
        assert re.search(rf"--{role} endpoint: .* 1 lost \(the last: the answer has no text", said)


@pytest.mark.parametrize("kind, asker", [
    (RejectionConfig, "judge"), *((ColdStartConfig, role) for role in ROLES),
])  # fmt: skip
def test_an_endpoint_that_nobody_would_ask_is_refused(kind, asker, capsys):
    place = ["--endpoint.base-url", "http://localhost:1/v1", "--endpoint.model", "m"]
    assert cli.run(lambda config: 0, kind(), place) == 2
    assert "--endpoint.*: nothing here asks an endpoint" in capsys.readouterr().err
    assert cli.run(lambda config: 0, kind(), [*place, f"--{asker}", "endpoint"]) == 0


def test_an_endpoint_that_falls_silent_is_one_line_and_costs_no_prompt(server, tmp_path, capsys):
    asked, path = config(server, tmp_path / "run"), tmp_path / "run" / "prompts.jsonl"
    for silent in ROLES:
        server.default = Cast(lambda role, n, silent=silent: role == silent)
        assert cli.run(command.main, asked, []) == 2
        error = capsys.readouterr().err
        assert "none of 8 requests got a reply" in error and error.count("\n") == 1
        assert not path.read_text()
    server.default = Cast(lambda role, n: False)
    assert cli.run(command.main, asked, []) == 0
    assert len(path.read_text().splitlines()) == 6 and server.default.asked["generator"] == 4
