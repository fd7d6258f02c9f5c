"""A plan compiles the programs of a run for a TPU that is not here, and keeps what it found."""

from __future__ import annotations

import importlib.util
import json

import pytest

from experiments.plan import compiled
from experiments.plan.__main__ import main
from experiments.plan.config import Config
from r1jax.commands import cli
from r1jax.errors import UserError

pytestmark = [
    pytest.mark.aot,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None,
        reason="needs libtpu, in the version jax[tpu] asks for",
    ),
]

PLAN = ["--model", "tiny", "--topology", "v5e:2x2", "--mesh.fsdp", "2", "--mesh.tensor", "2",
        "--train.rows", "4", "--train.width", "128", "--rollout.slots", "8",
        "--rollout.max-prompt", "64", "--rollout.max-tokens", "64", "--quick",
        "--programs", "accumulate", "score", "decode"]  # fmt: skip


def test_a_plan_is_compiled_once(tmp_path, capsys, monkeypatch):
    plan = [*PLAN, "--kept", str(tmp_path)]
    main(cli.parse(Config(), plan))
    said = capsys.readouterr().out
    (kept,) = tmp_path.glob("*.json")
    found = {one["program"]: one for one in json.loads(kept.read_text())["programs"]}
    assert list(found) == ["accumulate", "score", "decode 8 x 128"]
    assert all(0 < one["peak"] < 2**30 for one in found.values())
    assert {"all-gather", "all-reduce"} <= found["accumulate"]["collectives"].keys()
    assert "fits: " in said
    # Stopped behind the first program, it goes on there.
    whole = json.loads(kept.read_text())
    kept.write_text(json.dumps(whole | {"complete": False, "programs": whole["programs"][:1]}))
    main(cli.parse(Config(), plan))
    said = capsys.readouterr().out
    assert "compiling score" in said and "compiling accumulate" not in said
    again = json.loads(kept.read_text())
    assert again["complete"] and again["programs"][0] == whole["programs"][0]
    assert [one["peak"] for one in again["programs"]] == [one["peak"] for one in whole["programs"]]
    monkeypatch.setattr(compiled, "asked", lambda *_: pytest.fail("compiled again"))
    main(cli.parse(Config(), plan))
    assert "compiled before" in capsys.readouterr().out


def test_what_does_not_fit_is_an_answer(tmp_path):
    plan = ["--model", "llama-70b", "--topology", "v5e:4x4", "--mesh.fsdp", "16",
            "--train.rows", "16", "--programs", "accumulate", "--quick",
            "--kept", str(tmp_path)]  # fmt: skip
    with pytest.raises(UserError, match=r"accumulate does not fit: .*--train\.rows"):
        main(cli.parse(Config(), plan))
    with pytest.raises(UserError, match=r"--topology v5e:5x7"):
        main(cli.parse(Config(), [*plan, "--topology", "v5e:5x7", "--mesh.fsdp", "35"]))
