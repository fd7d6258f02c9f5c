"""The benches: what they count, their request lists, rooflines, kernels and tables; no timings."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import bench_rollout
from experiments.bench import kernels as traces
from experiments.bench.ceilings import Ceilings, measured_ceilings
from experiments.bench.clock import Compiled, timed
from experiments.bench.kernels import Kernel, kernels, shares, summed, top
from experiments.bench.loads import equal_cache, fixed, mixed
from experiments.bench.requests import ListedRequest, draw_requests, read_requests, write_requests
from experiments.bench.roofline import (
    expert_weights,
    layer_matrices,
    mean_cache,
    step_seconds,
    used_weights,
)
from experiments.bench.shapes import SHAPES
from experiments.bench.table import emit, markdown
from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.mesh import MeshConfig, make_mesh
from r1jax.models import table
from r1jax.models.config import to_hf
from r1jax.models.decoding.cache import token_bytes
from r1jax.report.markdown import readable
from r1jax.rollout.engine import Engine
from r1jax.training.weights import drawn

pytestmark = pytest.mark.lab

H200 = Ceilings(805e12, 4.3e12)


def model(path, eos_ids=()):
    """A directory with the tiny shape's config.json and stop tokens of choice."""
    path.mkdir()
    config = to_hf(replace(SHAPES["tiny"], eos_ids=tuple(eos_ids)))
    (path / "config.json").write_text(json.dumps(config))
    return str(path)


def bench(*argv):
    return cli.run(bench_rollout.main, bench_rollout.Config(), ["--dtype", "float32", *argv])


def check_row(row, completions, asked):
    """What must hold of any row: all that was asked was written, and rates follow from seconds."""
    assert [run["completions"] for run in row["runs"]] == [completions] * len(row["seconds"])
    assert [run["tokens"] for run in row["runs"]] == [asked] * len(row["seconds"])
    rates = [run["tokens"] / s for run, s in zip(row["runs"], row["seconds"], strict=True)]
    assert row["tok/s"] == pytest.approx(np.median(rates)) and min(rates) > 0
    assert row["stopped"] == row["compiled later"] == 0 and row["compile s"] > 0


def test_the_whole_command(tmp_path, capsys):
    argv = ["--model", model(tmp_path / "m"), "--cases", "8x6", "--groups", "4", "1"]
    argv += ["--prompt", "5", "--repeats", "2", "--kernels", "3", "--out", str(tmp_path / "b.json")]
    assert bench(*argv, "--weights", "float8") == 0
    rows = json.loads((tmp_path / "b.json").read_text())["rows"]
    assert [row["group"] for row in rows] == [4, 1]
    for row in rows:
        check_row(row, completions=8, asked=48)
        # The first of six tokens comes from prefill.
        assert [run["steps"] for run in row["runs"]] == [5, 5] and row["slots filled"] == 1
        assert row["mean cache"] == 8 and row["shapes"] == [[8, 11]]
        assert row["reached"] == pytest.approx(row["tok/s"] * row["roofline ms"] / 1e3 / 8)
        assert len(row["kernels"]) == 3 and sum(row["kinds"].values()) == pytest.approx(1)
    shown = capsys.readouterr().out
    assert shown.count("| 8x6 after 5 |") == 2 and f"jax {jax.__version__}" in shown
    assert "in float32 (float8 weights)" in shown


def test_a_request_list_runs_beside_equal_lengths(tmp_path):
    lengths = [(3, 2), (13, 9), (4, 1), (16, 5), (15, 12), (2, 3)]
    requests = [ListedRequest(i, tuple(range(p)), n) for i, (p, n) in enumerate(lengths)]
    write_requests(tmp_path / "r.jsonl", requests)
    argv = ["--model", model(tmp_path / "m"), "--requests", str(tmp_path / "r.jsonl")]
    argv += ["--slots", "2", "--repeats", "1", "--out", str(tmp_path / "b.json")]
    assert bench(*argv) == 0
    listed, equal = json.loads((tmp_path / "b.json").read_text())["rows"]
    check_row(listed, completions=6, asked=32)
    (run,) = listed["runs"]
    # 26 tokens are left to decode steps of at most two.
    assert 13 <= run["steps"] <= 26
    assert listed["slots filled"] == pytest.approx(26 / run["steps"] / 2)
    assert abs(equal["mean cache"] - listed["mean cache"]) <= 0.5
    assert listed["of equal lengths"] == pytest.approx(listed["tok/s"] / equal["tok/s"])


def test_stop_tokens_end_completions_on_all_devices(tmp_path):
    argv = ["--model", model(tmp_path / "m", range(0, 512, 2)), "--cases", "8x6", "--groups", "4"]
    argv += ["--prompt", "5", "--repeats", "1", "--out", str(tmp_path / "b.json")]
    assert bench(*argv) == 0
    (row,) = json.loads((tmp_path / "b.json").read_text())["rows"]
    assert row["stopped"] > 0 and row["runs"][0]["tokens"] < 48 and row["compiled later"] == 0


def test_compiling_after_warm_up_fails_in_one_line(tmp_path, monkeypatch, capsys):
    generate = Engine.generate

    def compiling(self, *args, **kwargs):
        jax.jit(lambda x: x + kwargs["rollout"])(jnp.ones(3))
        return generate(self, *args, **kwargs)

    monkeypatch.setattr(Engine, "generate", compiling)
    argv = ["--model", model(tmp_path / "m"), "--cases", "8x6", "--groups", "4", "--prompt", "5"]
    assert bench(*argv, "--repeats", "1") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "8x6 after 5: compiled after warm-up: jit(" in line and "(1 in all)" in line


BAD = {
    "--cases 8by4": "--cases 8by4: expected SLOTSxTOKENS",
    "--cases 0x4": "--cases 0x4: expected",
    "--cases 8x4 --groups 3": "--groups 3: must divide the 8 slots",
    "--cases 8x4 --groups 0": "--groups 0: must divide",
    "--cases 8x4 --groups 1 --prompt 0": "--prompt 0: must be at least 1",
    "--cases": "--cases, --groups: name at least one",
    "--shape 3b": "--shape 3b: no such shape; choose from tiny, 0.5b, 1.5b, 7b",
    "--repeats 0": "--repeats 0: must be at least 1",
    "--kernels -1": "--kernels -1: must be at least 0",
    "--rollout.slots 8": "--rollout.slots: follows from",
    "--requests nowhere.jsonl": "--requests nowhere.jsonl: cannot be read",
    "--requests a --write-requests b": "--requests, --write-requests: give one",
    "--requests a --kernels 3": "--kernels: a request list is too long a trace",
}


@pytest.mark.parametrize("argv", BAD)
def test_mistakes_end_in_one_line(argv, capsys):
    assert bench(*argv.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert BAD[argv] in line


def test_a_list_is_written_by_its_seed(tmp_path, capsys):
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        path = tmp_path / name
        argv = ["--shape", "tiny", "--write-requests", str(path), "--count", "20"]
        assert bench(*argv, "--seed", str(seed)) == 0
        found.append(path.read_text())
    assert found[0] == found[1] != found[2]
    assert capsys.readouterr().out.count("20 requests, ") == 3
    assert read_requests(tmp_path / "a", 512) == draw_requests(20, 512, seed=0)


def test_the_lengths_of_many_requests():
    requests = draw_requests(6000, 512, seed=3)
    prompts = np.array([len(r.prompt) for r in requests])
    tokens = np.array([r.max_tokens for r in requests])
    assert (prompts.min(), prompts.max()) == (64, 512) and abs(prompts.mean() - 288) < 6
    assert tokens.min() >= 1 and tokens.max() == 2048 and abs(tokens.mean() - 300) < 12
    # A log-normal's median is its mean over exp(sigma^2 / 2): 300 / 1.377.
    assert abs(np.median(tokens) - 217.8) < 10
    assert [r.id for r in requests] == list(range(6000))
    ids = np.concatenate([r.prompt for r in requests])
    assert (ids.min(), ids.max()) == (0, 511)


@pytest.mark.parametrize(
    "line, said",
    [
        ("{", "expected an object with id, prompt and max_tokens"),
        ('{"id": 0, "prompt": [1]}', "expected an object"),
        ("[1]", "expected an object"),
        ('{"id": 0, "prompt": [], "max_tokens": 3}', "prompt must be token ids"),
        ('{"id": 0, "prompt": [1.5], "max_tokens": 3}', "prompt must be token ids"),
        ('{"id": 0, "prompt": [1], "max_tokens": 0}', "a whole number above 0"),
        ('{"id": 0, "prompt": [1, 512], "max_tokens": 3}', "token ids from 1 to 512; the model"),
        ('{"id": 0, "prompt": [-1, 5], "max_tokens": 3}', "token ids from -1 to 5; the model"),
    ],
)
def test_a_bad_line_is_named(line, said, tmp_path):
    good = '{"id": 0, "prompt": [1, 2], "max_tokens": 3}'
    (tmp_path / "r.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(UserError, match=r"--requests .*r\.jsonl:2: .*") as mistake:
        read_requests(tmp_path / "r.jsonl", 512)
    assert said in str(mistake.value)


def test_an_empty_list_is_refused(tmp_path):
    (tmp_path / "r.jsonl").touch()
    with pytest.raises(UserError, match="empty; write a list with --write-requests"):
        read_requests(tmp_path / "r.jsonl", 512)


@pytest.mark.parametrize(
    "shape, parameters", [("0.5b", 494_032_768), ("1.5b", 1_543_714_304), ("7b", 7_615_616_512)]
)
def test_shapes_have_the_published_sizes(shape, parameters):
    assert table.count(SHAPES[shape]) == parameters


def test_random_weights_differ_by_seed():
    mesh = make_mesh(MeshConfig())
    a, b = (drawn(SHAPES["tiny"], mesh, seed)["embed"] for seed in (0, 1))
    assert not (a == b).any()
    assert a.std() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize(
    "slots, prompt, tokens, cache, ms",
    [(256, 128, 256, 256, 1.42), (1024, 128, 256, 256, 5.67), (256, 128, 1024, 640, 2.07)],
)
def test_the_roofline_of_a_decode_step(slots, prompt, tokens, cache, ms):
    c = SHAPES["1.5b"]
    load = fixed(slots, tokens, prompt, 16, c.vocab_size, seed=0)
    assert load.mean_cache == cache and len(load.prompts) == slots // 16
    # Products are the longer part here: 2 x 1.544e9 x 256 / 805e12 = 0.98 ms, weights 0.72 ms.
    assert step_seconds(c, slots, cache, H200) * 1e3 == pytest.approx(ms, abs=0.006)


def test_parts_of_the_roofline():
    c = SHAPES["1.5b"]
    assert token_bytes(c, 2) == 28_672
    assert used_weights(c) == 1_543_714_304
    assert used_weights(SHAPES["7b"]) == 7_615_616_512 - 152_064 * 3584
    # One slot, no cache: 3.087 GB at 4.3 TB/s.
    assert step_seconds(c, 1, 0, H200) == pytest.approx(0.718e-3, rel=1e-3)
    assert step_seconds(c, 1, 0, H200, itemsize=4) == pytest.approx(1.436e-3, rel=1e-3)
    assert step_seconds(c, 256, 640, H200, tensor=2) == pytest.approx(1.037e-3, rel=1e-3)
    # 1,310 million of the weights are in matrices of the layers: a byte each, and half the time.
    assert layer_matrices(c) == 28 * 1536 * (2048 + 1536 + 3 * 8960)
    assert step_seconds(c, 1, 0, H200, eight_bits=True) == pytest.approx(0.413e-3, rel=1e-3)
    assert step_seconds(c, 256, 0, H200, eight_bits=True) == pytest.approx(0.565e-3, rel=1e-3)


def test_a_mixture_is_read_whole_and_multiplied_by_the_chosen():
    c = SHAPES["v3-3b"]
    assert expert_weights(c) == 12 * 64 * 3 * 2048 * 512 and expert_weights(SHAPES["1.5b"]) == 0
    # 2.788e9 weights without the embedding; a quarter of 2.416e9 in experts on each of four.
    assert step_seconds(c, 1, 0, H200) == pytest.approx(1.297e-3, rel=1e-3)
    assert step_seconds(c, 1, 0, H200, spread=4) == pytest.approx(0.454e-3, rel=1e-3)
    # A token meets 674e6 of them.
    assert step_seconds(c, 1024, 0, H200, spread=4) == pytest.approx(1.715e-3, rel=1e-3)


def test_long_completions_weigh_more_in_the_mean_cache():
    assert mean_cache([(128, 256)]) == 256
    assert mean_cache([(10, 10), (0, 30)]) == (10 * 15 + 30 * 15) / 40


@given(
    st.lists(st.tuples(st.integers(1, 600), st.integers(1, 3000)), min_size=1, max_size=8),
    st.integers(1, 4),
)
def test_equal_lengths_have_the_same_mean_cache(lengths, slots):
    load = mixed(slots, [ListedRequest(i, (0,) * p, n) for i, (p, n) in enumerate(lengths)])
    assert load.lengths == lengths
    equal = equal_cache(load, vocab=8, seed=0)
    assert equal.slots == slots == len(equal.lengths)
    assert abs(equal.mean_cache - load.mean_cache) <= 0.5


@pytest.mark.parametrize(
    "name, kind",
    [
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT", "matrix product"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n", "matrix product"),
        ("gemm_fusion_dot_12", "matrix product"),
        ("void cutlass::Kernel2<cutlass_80_wmma>", "matrix product"),
        ("void cublasLt::splitKreduce_kernel<32, 16>", "matrix product"),
        ("dot.3", "matrix product"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma", "attention"),
        ("pallas_call", "attention"),
        ("attend_kernel", "attention"),
        ("MemcpyD2D", "copy"),
        ("Memset", "copy"),
        ("copy.59", "copy"),
        ("loop_transpose_fusion_2", "copy"),
        ("transpose_copy_fusion.1", "copy"),
        ("loop_fusion.3", "fusion"),
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL", "collective"),
        ("loop_dynamic_update_slice_fusion", "fusion"),
        ("input_reduce_fusion_1", "fusion"),
        ("loop_copy_multiply_fusion", "fusion"),
    ],
)
def test_the_kind_of_a_kernel(name, kind):
    assert Kernel(name, 1, 1.0).kind == kind
    assert kind in {*traces.KINDS, traces.OTHER}


def meta(what, pid, name, tid=0):
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


def event(name, pid, tid, microseconds, **args):
    return {"ph": "X", "name": name, "pid": pid, "tid": tid, "dur": microseconds, "args": args}


def test_a_gpu_trace_counts_its_streams_alone():
    events = [
        meta("process_name", 1, "/device:GPU:0"),
        meta("process_name", 2, "/host:CPU"),
        meta("thread_name", 1, "Stream #13(Compute)", 5),
        meta("thread_name", 1, "XLA Ops", 6),
        meta("thread_name", 2, "Stream reader", 5),
        event("gemm_a", 1, 5, 30.0),
        event("copy.1", 1, 5, 20.0),
        event("gemm_a", 1, 5, 50.0),
        event("gemm_a", 1, 6, 80.0, hlo_op="dot"),
        event("python", 2, 5, 900.0),
    ]
    found = summed(events)
    assert [(k.name, k.count) for k in found] == [("gemm_a", 2), ("copy.1", 1)]
    assert [k.seconds for k in found] == pytest.approx([80e-6, 20e-6])
    assert shares(found) == pytest.approx({"matrix product": 0.8, "copy": 0.2})
    (row,) = top(found, 1)
    assert row | {"ms": 0} == {
        "kernel": "gemm_a", "kind": "matrix product", "runs": 2, "ms": 0, "share": "80.0%"
    }  # fmt: skip
    assert row["ms"] == pytest.approx(0.08)


def test_a_cpu_trace_counts_operations_but_no_loops():
    events = [
        meta("process_name", 2, "/host:CPU"),
        event("while.5", 2, 1, 100.0, hlo_op="while.5"),
        event("dot.3", 2, 1, 60.0, hlo_op="dot.3"),
        event("end: dot.3", 2, 1, 1.0),
    ]
    assert summed(events) == [Kernel("dot.3", 1, pytest.approx(60e-6))]


def test_a_real_trace_has_the_operations_of_a_loop():
    @jax.jit
    def run(x):
        return jax.lax.fori_loop(0, 7, lambda _, x: jnp.sort(x @ x / 100), x)

    x = jnp.ones((64, 64))
    run(x).block_until_ready()
    found = kernels(lambda: run(x))
    assert any("sort" in k.name and k.count == 7 for k in found), found
    assert all(k.seconds > 0 for k in found)


def test_compilations_are_counted_inside_alone():
    @jax.jit
    def twice(x):
        return 2 * x

    x = jnp.ones(5)
    with Compiled() as first:
        twice(x)
    with Compiled() as second:
        twice(x)
    twice(jnp.ones(7))
    assert (first.count, second.count) == (1, 0) and first.seconds > 0 == second.seconds
    second.require_none("here")
    with pytest.raises(
        UserError, match=r"^here: compiled after warm-up: jit\(twice\) \(1 in all\)"
    ):
        first.require_none("here")


def test_timed_calls_and_their_median():
    calls = []
    seconds = timed(lambda: calls.append(jnp.ones(3) + 1), repeats=3, warmup=2)
    assert len(seconds) == 3 and len(calls) == 5 and min(seconds) > 0
    assert median([4.0, 1.0, 2.0]) == 2.0 and median([4.0, 1.0]) == 2.5


def test_ceilings_are_rates_of_this_machine():
    found = measured_ceilings(jnp.float32)
    # Any machine that runs the tests lies between these.
    assert 1e9 < found.flops_per_s < 1e16 and 1e8 < found.bytes_per_s < 1e14


def test_a_table_in_markdown(tmp_path, capsys):
    rows = [{"case": "a", "tok/s": 94567.8, "n": 1234567}, {"case": "b", "ms": 2.0678, "runs": [1]}]
    assert markdown(rows).splitlines() == [
        "| case | tok/s | n | ms |",
        "| --- | ---: | ---: | ---: |",
        "| a | 94,568 | 1,234,567 |  |",
        "| b |  |  | 2.07 |",
    ]
    assert [readable(x) for x in (0.5678, 99.96, 0, True)] == ["0.568", "100", "0", "True"]
    emit("title", rows, str(tmp_path / "new" / "t.json"))
    head, blank, *_ = capsys.readouterr().out.splitlines()
    assert head.endswith(": title") and f"{jax.device_count()} x cpu, jax " in head and not blank
    record = json.loads((tmp_path / "new" / "t.json").read_text())
    assert record["rows"] == rows and record["environment"]["packages"]["jax"] == jax.__version__
