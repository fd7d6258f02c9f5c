"""TensorBoard against its own reader of event files, W&B against a stand-in module."""

import json
import sys
import types
from dataclasses import dataclass

import pytest

from r1jax.errors import UserError
from r1jax.run.directory import RunDirectory
from r1jax.run.sinks import LogConfig, open_sinks
from r1jax.training.rl.state import Files


@dataclass(frozen=True)
class Config:
    lr: float = 0.5


class FakeWandb(types.ModuleType):
    def __init__(self):
        super().__init__("wandb")
        self.calls = []

    def init(self, **options):
        self.calls.append(("init", options))
        return self

    def log(self, metrics, step):
        self.calls.append(("log", step, metrics))

    def finish(self):
        self.calls.append(("finish",))

    def Table(self, columns, data):
        return {"columns": columns, "data": data}


def test_none_asked_for_none_opened(tmp_path):
    run = RunDirectory.start(tmp_path, Config())
    assert open_sinks(LogConfig(), run, Config()) == ()


def test_only_the_writing_process_opens_sinks(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    run = RunDirectory(tmp_path, "new", write=False)
    assert open_sinks(LogConfig(tensorboard=True, wandb="p"), run, Config()) == ()
    assert sys.modules["wandb"].calls == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "log, line",
    [
        (LogConfig(tensorboard=True), "--log.tensorboard: .* pip install 'r1jax.tensorboard.'"),
        (LogConfig(wandb="p"), "--log.wandb: .* pip install 'r1jax.wandb.'"),
    ],
)
def test_an_absent_package_names_the_extra(tmp_path, monkeypatch, log, line):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=line):
        open_sinks(log, RunDirectory(tmp_path, "new"), Config())


def test_wandb_is_continued_under_the_same_id(tmp_path, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for _ in range(2):
        run = RunDirectory.start(tmp_path, Config())
        (sink,) = open_sinks(LogConfig(wandb="reason"), run, Config(lr=0.25))
        sink.log(3, {"reward/mean": 0.5})
        sink.close()
    first, second = (call[1] for call in wandb.calls if call[0] == "init")
    assert first == second
    assert first["project"] == "reason" and first["config"] == {"lr": 0.25}
    assert first["id"] == json.loads((tmp_path / "wandb.json").read_text())["id"]
    assert wandb.calls[1:3] == [("log", 3, {"reward/mean": 0.5}), ("finish",)]


ROWS = [
    {"question": "1+1", "text": "<think>\n2 | *2*", "reward": 1.0},
    {"question": "2+2", "text": "5", "reward": 0.0},
]


def test_samples_are_a_table_in_wandb(tmp_path, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    run = RunDirectory.start(tmp_path, Config())
    (sink,) = open_sinks(LogConfig(wandb="reason"), run, Config())
    sink.samples(4, ROWS)
    table = {"columns": ["question", "text", "reward"], "data": [[*r.values()] for r in ROWS]}
    assert wandb.calls[1:] == [("log", 4, {"samples": table})]


def test_samples_are_text_in_tensorboard_as_they_stand(tmp_path):
    pytest.importorskip("tensorboardX")
    run = RunDirectory.start(tmp_path, Config())
    (sink,) = open_sinks(LogConfig(tensorboard=True), run, Config())
    sink.samples(4, ROWS)
    sink.close()
    found = {
        value.tag: (event.step, value.tensor.string_val[0].decode())
        for event in events(tmp_path / "tensorboard")
        for value in event.summary.value
    }
    (step, first), (_, second) = found["samples/0/text_summary"], found["samples/1/text_summary"]
    assert step == 4 and "**text**\n\n    <think>\n    2 | *2*\n\n**reward**\n\n    1.0" in first
    assert "    5" in second


@pytest.mark.parametrize("shown", [0, 1, 2])
def test_a_rollout_goes_to_the_file_and_its_first_rows_to_the_sinks(tmp_path, shown):
    run = RunDirectory.start(tmp_path, Config())
    got = []
    sink = types.SimpleNamespace(samples=lambda update, rows: got.append((update, rows)))
    loop = types.SimpleNamespace(update=3, rollout=2)
    Files(run, None, (sink,), None, None).samples(loop, ROWS, shown)
    assert len((tmp_path / "samples.jsonl").read_text().splitlines()) == 2
    assert got == ([(4, ROWS[:shown])] if shown else [])


def events(folder):
    """Every event in the files of `folder`, oldest file first."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:  # TFRecord: u64 length, u32 crc, payload, u32 crc
            length = int.from_bytes(data[:8], "little")
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_tensorboard_event_files_hold_the_scalars(tmp_path):
    pytest.importorskip("tensorboardX")
    run = RunDirectory.start(tmp_path, Config())
    (sink,) = open_sinks(LogConfig(tensorboard=True), run, Config())
    sink.log(1, {"reward/mean": 0.25})
    sink.log(2, {"reward/mean": 0.75, "policy/entropy": 1.5})
    sink.close()
    scalars = [
        (event.step, value.tag, value.simple_value)
        for event in events(tmp_path / "tensorboard")
        for value in event.summary.value
    ]
    assert scalars == [
        (1, "reward/mean", 0.25),
        (2, "reward/mean", 0.75),
        (2, "policy/entropy", 1.5),
    ]


def test_a_resumed_run_purges_later_events(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import SessionLog

    RunDirectory.start(tmp_path, Config())
    run = RunDirectory.start(tmp_path, Config())
    (sink,) = open_sinks(LogConfig(tensorboard=True), run, Config(), update=7)
    sink.close()
    starts = [
        event.step
        for event in events(tmp_path / "tensorboard")
        if event.session_log.status == SessionLog.START
    ]
    assert starts == [8]
