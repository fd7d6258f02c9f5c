"""The pages under docs/: every example file works as it stands, every command parses."""

from __future__ import annotations

import csv
import importlib
import json
import os
import random
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from tiny import mesh_of, tiny_config, tiny_params

from experiments import bench_precision
from experiments.plan import config as plan
from experiments.pretraining.config import Config as PretrainingConfig
from experiments.process_reward import labels
from experiments.smollm2 import study
from r1jax.commands import cli, compare, load, paths
from r1jax.data import DataConfig
from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.data.problems.generated import held_out
from r1jax.data.problems.sources import open_source, set_name
from r1jax.data.tokenizer import load_tokenizer
from r1jax.errors import UserError
from r1jax.losses.plugin import load_loss
from r1jax.models.hub import directory as hub
from r1jax.models.hub.find import model_directory
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, accuracy, grade, load_reward
from r1jax.rewards.adapters import named_reward
from r1jax.types import Stats

DOCS = Path(__file__).parents[2] / "docs"
OWN = (DOCS / "bring_your_own.md").read_text(encoding="utf-8")
CLUSTER = (DOCS / "cluster.md").read_text(encoding="utf-8")
FILES = {
    text.split()[1]: text for text in re.findall(r"^```python\n(.*?)^```$", OWN, flags=re.M | re.S)
}
SCRIPTS = re.findall(r"^```bash\n(.*?)^```$", CLUSTER, flags=re.M | re.S)
PAGES = {
    page.name: re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    for page in sorted(DOCS.glob("*.md"))
    if page.name != "graders.md"  # whose code is what models wrote
}
COMMAND = r"(?:python\s+-m\s+experiments[.]|r1jax\s+)[a-z]\w*"
COMMANDS = sorted({
    (page, " ".join(found.partition("  #")[0].split()))
    for page, text in PAGES.items()
    for found in re.findall(rf"^ *({COMMAND}.*)|`({COMMAND}[^`]*)`", text, flags=re.M)
    for found in found if " --" in found
})  # fmt: skip
"""(page, command): on lines of their own, and within sentences."""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The directory of a user who has copied every example of the page."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


def parsed(command):
    """The config that a command line of the cluster's page gives."""
    _, _, module, *flags = shlex.split(command)
    return cli.parse(load(module.removeprefix("experiments."))[0].default, flags)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_what_a_page_points_to_is_there(page):
    text = (DOCS.parent / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:r1jax|experiments|tests|docs)/[\w./]*)`", text)
    assert paths and not [path for path in paths if not (DOCS.parent / path).exists()]


def test_every_picture_is_on_a_page():
    pages = "".join(PAGES.values()) + (DOCS.parent / "README.md").read_text(encoding="utf-8")
    pictures = [path.name for path in (DOCS / "images").iterdir()]
    assert pictures and not [name for name in pictures if f"images/{name})" not in pages]


def test_the_page_has_an_example_of_each_under_30_lines():
    assert list(FILES) == ["coins.py", "novelty.py", "steps.py", "lessons.py", "families.py"]
    assert max(len(text.splitlines()) for text in FILES.values()) < 30


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_every_command_of_every_page_parses(page, command, tmp_path, monkeypatch, capsys):
    """As a shell would start it, with the flag that prints what it would run with."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.json").write_text("{}")
    command = re.sub(r"\[(.*)\]", r"\1", command).replace("$rate", "1e-6")  # [what may be added]
    first, *words = shlex.split(re.sub(r"\$\{?\w+\}?", "1", command).rstrip("'& "))
    module = words.pop(1) if first == "python" else "r1jax"
    words = words[1:] if first == "python" else words
    monkeypatch.setattr(sys, "argv", [module, *words, "--print-config"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert not ended.value.code, capsys.readouterr().err
    assert yaml.safe_load(capsys.readouterr().out)


def test_pages_speak_of_flags_that_there_are():
    there = {"--config", "--print-config", "--help", "--preset", "--protocol", "--on-policy"}
    # Of experiments that pages speak of.
    own = (bench_precision.Config(), study.Config(), labels.Config(), PretrainingConfig(),
           plan.Config())  # fmt: skip
    for default in (*own, *(load(name)[0].default for name in paths())):
        there |= cli.flag_types(default).keys()
    for page, text in PAGES.items() - {("results.md", PAGES["results.md"])}:  # has benches' flags
        spans = re.findall(r"`((?:--|r1jax )[^`]*)`", text)
        said = {flag for span in spans for flag in re.findall(r"(?<!\S)--[a-z][\w.-]*", span)}
        assert not {f for f in said if not any(flag.startswith(f) for flag in there)}, page


def test_a_task_draws_problems_and_keeps_the_splits_apart(own):
    source, report = open_source("coins:pay?most=500", DataConfig(), seed=0)
    drawn = [source[i] for i in range(200)]
    judged = source.evaluation(99)
    assert report is None and len(source) == sys.maxsize and source[7] == drawn[7]
    assert all(11 <= int(p.answer) <= 500 for p in drawn + judged)
    assert judged and all(held_out(p.id) for p in judged)
    assert not {p.id for p in judged} & {p.id for p in drawn}
    assert drawn != [
        open_source("coins:pay?most=500&seed=1", DataConfig(), 0)[0][i] for i in range(9)
    ]
    assert set_name("coins:pay?most=500") == "pay"


@pytest.mark.parametrize(
    "spec, said",
    [
        ("coins:pays", "source coins:pays: coins has no function pays"),
        ("coins:pay?least=3", "coins:pay: no parameter least; there are most, seed"),
        ("coins:pay?most=11", "coins:pay: no problem of the .* split in 10,000 tries"),
        ("coins:adds_up", r"must be a function of 1 argument, \(rng\)"),
        ("no_such_file:pay", "cannot import no_such_file"),
    ],
)
def test_a_task_that_cannot_be_is_one_line(own, spec, said):
    with pytest.raises(UserError, match=said):
        open_source(spec, DataConfig(), seed=0)[0].evaluation(1)


def test_a_task_that_returns_something_else_is_one_line(own):
    (own / "odd_task.py").write_text("def task(rng):\n    return 3\n")
    with pytest.raises(UserError, match="odd_task:task: returned a int; expected an r1jax.problem"):
        open_source("odd_task:task", DataConfig(), seed=0)


def test_a_tasks_own_grader_judges_also_in_a_worker(own):
    problem = importlib.import_module("coins").pay(random.Random(0))
    amount = int(problem.answer)
    answers = [
        f"{amount}, 0, 0",
        f"{amount % 20}, 0, {amount // 20}",
        "1, 2, 3",
        "1",
        "-5, 0, 9",
        "x",
    ]
    assert [grade(problem, answer) for answer in answers] == [1, 1, 0, 0, 0, 0]
    completions = [Completion.parse(f"<answer>{answer}</answer>") for answer in answers]
    with RewardPool(workers=1) as pool:
        given, counts = pool.map(
            accuracy("answer_tag"), [problem] * 6, completions, RewardContext(), "accuracy"
        )
    assert given == [1, 1, 0, 0, 0, 0] and counts.lost == 0


def test_a_data_file_cannot_name_a_function_to_run(own):
    row = {"question": "Pay 12", "answer": "12"}
    Path("pay.jsonl").write_text(json.dumps(row))
    (problem,) = open_source("pay.jsonl", DataConfig(grader="coins:adds_up"), 0)[0].evaluation(1)
    assert grade(problem, "2, 2, 0") == 1.0
    Path("pay.jsonl").write_text(json.dumps(row | {"grader": "coins:adds_up"}))
    with pytest.raises(UserError, match="line 1, column grader: 'coins:adds_up' names a function"):
        open_source("pay.jsonl", DataConfig(), 0)


def test_the_reward_prefers_what_nobody_else_says(own):
    texts = ["<answer>1</answer>", "<answer>1</answer>", "<answer>2</answer>", "none"]
    texts += ["<answer>1</answer>"]
    context = RewardContext(group_ids=(0, 0, 0, 0, 1))
    completions = [Completion.parse(text) for text in texts]
    problems = [Problem("p", "?", "1")] * 5
    assert load_reward("novelty:rare")(problems, completions, context) == [0.5, 0.5, 1, None, 1]


def test_the_process_reward_judges_each_line_at_its_end(own):
    tokenizer, text = load_tokenizer(model_directory("embedded")), "1 + 2 = 3\nso\n 3 = 3"
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    completion = Completion.parse("<think>" + text, tokens)
    name, reward, weight = named_reward("steps:equations=0.1")
    context = RewardContext(tokenizer=tokenizer)
    with RewardPool(workers=0) as pool:
        (values,), counts = pool.map(reward, [Problem("p", "?", "3")], [completion], context)
    assert (name, weight, counts.first_error) == ("equations", 0.1, "")
    assert len(values) == len(tokens)
    assert [value for value in values if not np.isnan(value)] == [1.0, 0.0]


def test_the_loss_is_a_share(own):
    rng = np.random.default_rng(0)
    sequences = Sequences(
        tokens=rng.integers(2, 9, (4, 7)).astype(np.int32),
        prompt_lengths=np.array([2, 3, 1, 2]),
        lengths=np.array([4, 2, 5, 3]),
        columns={"advantages": np.array([1.0, -0.5, 0.25, -1.0], np.float32)},
    )
    loss, totals = load_loss("lessons:mostly_from_mistakes"), Denominators.of(sequences, 8)
    values = []
    for rows in (1, 4):  # one micro-batch of four rows, or four of one
        batches = pack(sequences, rows, 8, 4, totals)
        stats = [Stats(jnp.asarray(-b.tokens * 0.1), jnp.ones(b.mask.shape)) for b in batches]
        values.append(sum(float(loss(s, b)[0]) for s, b in zip(stats, batches, strict=True)))
    expected = 0.0
    for tokens, p, n, a in zip(
        sequences.tokens, sequences.prompt_lengths, sequences.lengths,
        sequences.columns["advantages"],
        strict=True,
    ):  # fmt: skip
        expected += (0.1 if a > 0 else 1.0) * a * tokens[p : p + n].sum() * 0.1 / 14
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_the_family_reads_its_config_and_its_weights(own, tmp_path):
    config = tiny_config("llama")
    hub.save(tmp_path / "model", tiny_params(config), config)
    raw = json.loads((tmp_path / "model" / "config.json").read_text())
    raw |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    raw["sliding_window"] = None
    (tmp_path / "model" / "config.json").write_text(json.dumps(raw))
    family = importlib.import_module("families").mistral
    read = hub.read_config(tmp_path / "model", family)
    assert (read.family, read.n_layers) == ("mistral", config.n_layers)
    assert hub.to_hf(read)["architectures"] == ["MistralForCausalLM"]
    hub.load(tmp_path / "model", read, mesh_of())
    raw["sliding_window"] = 4096
    (tmp_path / "model" / "config.json").write_text(json.dumps(raw))
    with pytest.raises(UserError, match="sliding_window 4096 is not supported"):
        hub.read_config(tmp_path / "model", family)


@pytest.fixture
def slurm(tmp_path):
    """Runs a script of the page with commands that only say how they were called."""
    (tmp_path / "bin").mkdir()
    for name in ("python", "scontrol", "srun"):
        said = {"scontrol": "echo node1", "srun": 'exec "$@"'}.get(name, 'echo "CALLED $*"')
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\n{said}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text("")

    def run(script, **variables):
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, text=True, capture_output=True, check=True,
            env=os.environ | {"PATH": path} | variables,
        )  # fmt: skip
        (line,) = [x for x in done.stdout.splitlines() if x.startswith("CALLED ")]
        return parsed("python " + line.removeprefix("CALLED "))

    return run


def test_every_task_of_the_array_is_another_run(slurm):
    (highest,) = re.findall(r"--array=0-(\d+)", SCRIPTS[0])
    configs = [slurm(SCRIPTS[0], SLURM_ARRAY_TASK_ID=str(i)) for i in range(int(highest) + 1)]
    assert len({c.run for c in configs}) == len(configs)
    seen = {(c.optimizer.lr, c.seed) for c in configs}
    rates, seeds = {lr for lr, _ in seen}, {seed for _, seed in seen}
    assert seen == {(lr, seed) for lr in rates for seed in seeds} and len(seen) == len(configs)
    assert all(c.seed == c.data.seed for c in configs)


def test_every_process_of_several_nodes_meets_at_the_first(slurm):
    variables = {"SLURM_JOB_NODELIST": "node[1-4]", "SLURM_NTASKS": "4", "SLURM_PROCID": "2"}
    process = slurm(SCRIPTS[1], **variables).process
    assert (process.coordinator, process.count, process.id) == ("node1:12345", 4, 2)


def sweep(tmp_path):
    """Three runs, the third unfinished."""
    for i, (lr, score) in enumerate([(1e-6, 0.4), (1e-6, 0.6), (1e-5, 0.1)]):
        run = tmp_path / f"run{i}"
        run.mkdir()
        flags = {"run": str(run), "seed": i, "optimizer": {"lr": lr, "b1": 0.9}}
        (run / "config.json").write_text(json.dumps(flags))
        judged = [{"set": "a", "pass_at_1": 0.1}, {"set": "b", "pass_at_1": 0.9},
                  {"set": "a", "pass_at_1": score}]  # fmt: skip
        (run / "eval.json").write_text(json.dumps(judged))
        (run / "metrics.jsonl").write_text(json.dumps({"update": 7 + i, "reward/mean": i}) + "\n")
        if i < 2:
            (run / "summary.json").write_text("{}")
    return tuple(str(tmp_path / f"run{i}") for i in range(3))


def test_compare_shows_what_differs(tmp_path, capsys):
    out = tmp_path / "table.csv"
    argv = ["--runs", *sweep(tmp_path), "--out", str(out), "--metrics", "reward/mean"]
    assert cli.run(compare.main, compare.Config(), argv) == 0
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == ["run", "seed", "optimizer.lr", "state", "updates", "before", "after",
                             "reward/mean"]  # fmt: skip
    assert [row["after"] for row in rows] == ["0.4", "0.6", "0.1"]
    assert [row["state"] for row in rows] == ["finished", "finished", "unfinished"]
    assert "optimizer.lr" in capsys.readouterr().out


def test_compare_averages_over_equal_flags(tmp_path):
    out = tmp_path / "table.csv"
    argv = ["--runs", *sweep(tmp_path), "--by", "optimizer.lr", "--out", str(out)]
    assert cli.run(compare.main, compare.Config(), argv) == 0
    first, second = csv.DictReader(out.open())
    assert (first["optimizer.lr"], first["runs"], float(first["after"])) == ("1e-06", "2", 0.5)
    assert float(first["±after"]) == pytest.approx(0.1)  # stdev 0.1414 / sqrt 2
    assert (second["runs"], second["±after"]) == ("1", "")


@pytest.mark.parametrize(
    "argv, said",
    [
        ([], "--runs: name at least one run directory"),
        (["--runs", "nowhere"], "--runs nowhere: holds no config.json"),
        (["--by", "optimizer.rate"], "--by optimizer.rate: no such flag in config.json"),
        (["--metrics", "reward"], "--metrics reward: is in no last row of metrics.jsonl"),
        (["--out", "/dev/null/x.csv"], "--out /dev/null/x.csv: cannot be written (File exists)"),
    ],
)
def test_compare_refuses_in_one_line(argv, said, tmp_path, capsys):
    runs = ["--runs", *sweep(tmp_path)] if argv and argv[0] != "--runs" else []
    assert cli.run(compare.main, compare.Config(), [*runs, *argv]) == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")


@pytest.mark.parametrize(
    "name, text, said",
    [("eval.json", "[1]", "its eval.json is no list of evaluations"),
     ("eval.json", "{}", "its eval.json is no list of evaluations"),
     ("config.json", "[]", "its config.json holds no flags")],
)  # fmt: skip
def test_compare_names_a_file_that_is_none_of_a_run(tmp_path, name, text, said):
    first, *_ = sweep(tmp_path)
    (Path(first) / name).write_text(text)
    with pytest.raises(UserError, match=f"--runs {first}: {said}"):
        compare.main(compare.Config(runs=(first,)))
