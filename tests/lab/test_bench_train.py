"""The bench of an update: that it is the update of training, and that its table says all."""

from __future__ import annotations

import contextlib
import io
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from tiny import largest_difference, mesh_of, only

from experiments import bench_train
from experiments.bench import train
from experiments.bench.ceilings import Ceilings
from experiments.bench.clock import Compiled
from experiments.bench.rows import Case, batches_of, draw
from experiments.bench.shapes import SHAPES
from r1jax.commands import cli
from r1jax.losses import PRESETS, grpo
from r1jax.models import table
from r1jax.models.lora import LoraConfig
from r1jax.training.batches import ComputeConfig, place_batch
from r1jax.training.optimizer import OptimizerConfig, make_optimizer
from r1jax.training.rl.tower import copied
from r1jax.training.train_state import init_state
from r1jax.training.update import make_functions, update
from r1jax.training.weights import drawn

pytestmark = [pytest.mark.lab, pytest.mark.devices(2)]

TINY = SHAPES["tiny"]
CASE = Case(2, 320, "packed")
COMPUTE = ComputeConfig(remat="none", chunk=64)
MESH = mesh_of()
FLAGS = ["--shape", "tiny", "--cases", "2x320", "--sequences", "packed", "--repeats", "1"]
FLAGS += ["--train.dtype", "float32", "--train.chunk", "64", "--train.remat", "none"]
NUMBERS = ("tokens", "packing %", "ms", "tok/s", "of matrix rate %", "accumulate ms", "apply ms",
           "needed GB", "compile s")  # fmt: skip


def command(out, *argv, meshes=None, trainer=train.Trainer):
    """The rows that the command writes, on one device, and what it prints; nothing is measured
    before."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setattr(bench_train, "measured_ceilings", lambda dtype: Ceilings(1e9, 1e9))
        patch.setattr(bench_train, "meshes_of", lambda config: meshes or {"given": MESH})
        patch.setattr(bench_train, "Trainer", trainer)
        argv = [*FLAGS, *argv, "--out", str(out)]
        assert cli.run(bench_train.main, bench_train.Config(), argv) == 0
    return rows_of(out), said.getvalue()


def rows_of(path):
    return json.loads(path.read_text())["rows"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "bench" / "train.json"
    return out, *command(out, "--kernels", "2", "--logp")


@pytest.fixture(scope="module")
def trainer():
    return train.Trainer(TINY, MESH, COMPUTE, OptimizerConfig(), LoraConfig(), CASE).start()


def test_the_command_counts_what_it_packed_and_fills_every_column(report):
    out, (row,), printed = report
    (batch,) = batches_of(CASE, draw(CASE, TINY.vocab_size, 0))
    assert row["case"] == "2x320 packed"
    assert row["tokens"] == np.count_nonzero(batch.segment_ids)
    assert row["packing %"] == pytest.approx(100 * row["tokens"] / 640)
    assert all(row[name] > 0 for name in NUMBERS)
    assert row["tok/s"] == pytest.approx(1e3 * row["tokens"] / row["ms"])
    assert row["attention"] == "xla"
    assert row["MFU %"] is None  # a CPU's peak is not known
    assert row["matrix product %"] > 0
    (other,) = rows_of(out.with_name("train-logp.json"))
    assert other["case"] == "2x320"
    assert other["ratio"] == pytest.approx(other["logp + entropy ms"] / other["products ms"])
    assert other["head MiB"] == 4 * 512 * 64 / 2**20
    assert other["temporaries MiB"] >= 4 * 2 * 64 * 512 / 2**20  # a chunk of logits, f32
    assert "2x320 packed, longest kernels of an update" in printed
    assert "| 2x320 packed |" in printed


def test_an_update_is_that_of_training(report, trainer):
    (batch,) = batches_of(CASE, draw(CASE, TINY.vocab_size, 0))
    compute = ComputeConfig(2, 320, batch.lengths.shape[1], remat="none", chunk=64)
    optimizer = make_optimizer(OptimizerConfig(), 1000, table.decay_mask(TINY))
    functions = make_functions(TINY, MESH, compute, grpo(PRESETS["research"], True), optimizer)
    start = drawn(TINY, MESH, 0)
    state, expected = update(functions, init_state(optimizer, start, MESH), [batch], MESH)

    assert largest_difference(trainer.state.params, start) == 0
    metrics = trainer.whole()
    assert report[1][0]["loss"] == pytest.approx(expected["loss"], abs=1e-6)
    assert metrics["loss"] == pytest.approx(expected["loss"], abs=1e-6)
    assert metrics["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-5)
    # Adam's first step moves every weight that has a gradient by the learning rate.
    assert largest_difference(trainer.state.params, start) == pytest.approx(1e-6, rel=0.2)
    assert largest_difference(trainer.state.params, state.params) < 1e-7


def test_the_parts_make_the_whole(trainer):
    before = copied(trainer.state)
    metrics = trainer.whole()
    whole, trainer.state = trainer.state, before
    total = trainer.accumulated(place_batch(trainer.batch, MESH))
    assert float(total.share) == pytest.approx(metrics["loss"], abs=1e-6)
    assert largest_difference(trainer.applied(total).params, whole.params) == 0


def test_what_is_compiled_before_the_weights_serves_the_updates():
    with Compiled() as first:
        trainer = train.Trainer(TINY, MESH, COMPUTE, OptimizerConfig(), LoraConfig(), CASE)
    with Compiled() as later:
        trainer.start().whole()
    assert first.names == ["jit(accumulate)", "jit(apply)"]
    assert "jit(start)" in later.names
    assert not set(first.names) & set(later.names)
    assert trainer.needed_bytes == max(trainer.gradient_bytes, trainer.step_bytes)


@pytest.mark.slow  # two programs of its own to compile
def test_adafactor_over_two_devices_begins_at_the_same_loss(report):
    args = OptimizerConfig(kind="adafactor"), LoraConfig(), CASE
    trainer = train.Trainer(TINY, mesh_of(fsdp=2), COMPUTE, *args).start()
    losses = [trainer.whole()["loss"], trainer.whole()["loss"]]
    assert losses[0] == pytest.approx(report[1][0]["loss"], abs=1e-5)
    assert losses[1] < losses[0]


@pytest.mark.slow  # two programs of its own to compile
def test_low_rank_training_begins_at_the_same_loss_in_less_memory(report, tmp_path):
    (row,), _ = command(tmp_path / "x.json", "--lora.rank", "2", "--lora.targets", "wq")
    (full,) = report[1]
    assert row["loss"] == pytest.approx(full["loss"], abs=1e-5)
    assert row["needed GB"] < full["needed GB"]


@pytest.mark.slow  # two programs of its own to compile
def test_several_devices_beside_one(report, tmp_path):
    meshes = {"1 device": MESH, "data=2": mesh_of(data=2)}
    (one, two), _ = command(tmp_path / "x.json", "--scaling", "data", meshes=meshes)
    assert (one["mesh"], two["mesh"]) == ("1 device", "data=2")
    assert two["speed-up"] == pytest.approx(one["ms"] / two["ms"])
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
    # Half the arithmetic for each device, and the ceiling is that of one.
    share = two["of matrix rate %"] / one["of matrix rate %"]
    assert share == pytest.approx(two["speed-up"] / 2)


def test_scaling_goes_from_one_device_to_all():
    meshes = bench_train.meshes_of(bench_train.Config(scaling=("data", "fsdp", "expert")))
    sizes = {name: mesh.size for name, mesh in meshes.items()}
    assert sizes == {"1 device": 1, "data=2": 2, "fsdp=2": 2, "expert=2": 2}
    assert meshes["fsdp=2"].shape["fsdp"] == 2


@pytest.mark.parametrize("said", ["RESOURCE_EXHAUSTED: out of memory", "INTERNAL: other"])
def test_a_case_that_does_not_fit_says_so_and_other_errors_end_the_bench(said, tmp_path):
    def failing(*args):
        raise jax.errors.JaxRuntimeError(said)

    if said.startswith("INTERNAL"):
        with pytest.raises(jax.errors.JaxRuntimeError, match="other"):
            command(tmp_path / "x.json", trainer=failing)
        return
    rows, _ = command(tmp_path / "x.json", trainer=failing)
    assert rows == [{"case": "2x320 packed", "attention": "out of memory"}]


def test_another_kernel_than_the_one_asked_for_is_named():
    stand_in = SimpleNamespace(compute=ComputeConfig(kernel="cudnn"), attention="xla")
    assert train._attention(stand_in) == "xla (asked: cudnn)"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--cases", "16*64"], "--cases 16*64: expected ROWSxWIDTH"),
        (["--cases", "3x64"], "3 rows do not divide over 2 devices"),
        (["--shape", "huge"], "--shape huge: no such shape"),
        (["--sequences", "mixed"], "expected any number of values, each one of packed, single"),
        (["--train.rows", "4"], "--train.rows: the cases say it"),
        (["--repeats", "0"], "--repeats 0"),
        (["--scaling", "data", "--mesh.fsdp", "2"], "--scaling: chooses the meshes itself"),
        (["--rows-each"], "--rows-each: says what --scaling compares"),
    ],
)
def test_mistakes_end_in_one_line(argv, said, capsys):
    assert cli.run(bench_train.main, bench_train.Config(shape="tiny"), argv) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_scaling_on_one_device_is_a_mistake(capsys):
    argv = ["--scaling", "fsdp"]
    with only(1):
        assert cli.run(bench_train.main, bench_train.Config(shape="tiny"), argv) == 2
    assert capsys.readouterr().err.startswith("error: --scaling: there is one device")
