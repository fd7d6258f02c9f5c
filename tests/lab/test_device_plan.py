"""Plans for devices that are not here: formulas against numbers counted by hand and by tracing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec
from tiny import tiny_config

from experiments.pages import scale
from experiments.plan import compiled, counts, memory, stage, traffic, work
from experiments.plan.__main__ import main
from experiments.plan.calibration import CASES, within
from experiments.plan.chips import CHIPS, Chip, absent_mesh, link, topology
from experiments.plan.config import Config
from experiments.plan.shapes import MODELS, named
from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.losses import GRPO, grpo
from r1jax.mesh import MeshConfig, make_mesh
from r1jax.models import table
from r1jax.models.attention import Segments, attention
from r1jax.models.config import Experts, Latent
from r1jax.rollout.ladder import EngineConfig
from r1jax.training import update
from r1jax.training.batches import ComputeConfig, abstract_batch
from r1jax.training.optimizer import OptimizerConfig, make_optimizer
from r1jax.training.rl.memory import nbytes

TOY = tiny_config("qwen3")
"""3 layers, width 32, inner 48, 4 heads and 2 of keys of 8, vocabulary 97, head untied."""
LAYER = 32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 48
"""Weights in a layer's matrices: queries, keys and values, output, feed-forward."""
ROWS = ComputeConfig(rows=4, width=32, max_segments=1, dtype="bfloat16", remat="full", chunk=32)
SLOW = Chip("gpu", flops_per_s=1e6, bytes_per_s=1e6, memory=1e6, link=1e3, per_host=4, network=1e2)


def mesh_of(*axes, name="h200"):
    """A mesh of absent devices: data, fsdp, tensor."""
    return absent_mesh(MeshConfig(*axes), topology(f"{name}:{math.prod(axes)}"))


def test_the_models_have_their_published_sizes():
    sizes = {name: table.count(c) / 1e9 for name, c in MODELS.items()}
    assert sizes == pytest.approx(
        {"qwen2.5-7b": 7.616, "qwen2.5-32b": 32.764, "llama-70b": 70.554, "deepseek-v3": 671.026},
        abs=1e-3,
    )
    assert named("tiny").d_model == 64 and named("embedded").vocab_size == 1024


def test_weights_of_a_device_are_those_of_the_weight_table():
    mesh = mesh_of(1, 4, 2)
    assert 4 * counts.held(TOY, mesh) == nbytes(table.abstract(TOY, mesh))
    assert counts.products(TOY, 0) == 3 * LAYER
    assert counts.passing(TOY, 0) == 3 * (64 + 2 * 48 + 64 + 3 * 80)
    assert counts.outputs(TOY, 0) == 3 * (32 + 2 * 16 + 32 + 2 * 48 + 32)
    assert counts.cache_bytes(TOY, mesh_of(1, 1, 2)) == 3 * 2 * 8 * 2  # one of two heads of keys


def test_experts_are_counted_by_what_a_token_meets():
    v3 = MODELS["deepseek-v3"]
    moe, dense = 3 * 7168 * 2048, 3 * 7168 * 18432
    attention = 7168 * 1536 + 1536 * 24576 + 7168 * 576 + 512 * 32768 + 16384 * 7168
    met = 61 * attention + 3 * dense + 58 * (9 * moe + 7168 * 256)
    assert counts.products(v3, 8) == met
    assert met + 129280 * 7168 == pytest.approx(36.63e9, rel=1e-3)  # "37B active", no embedding
    whole = mesh_of(1, 8)
    assert counts.experts_run(v3, whole) == 256  # all over all rows, where nothing spreads them
    assert counts.cache_bytes(v3, whole) == 61 * 576 * 2
    assert counts.absorbed(v3) == 61 * 128 * (512 + 64 + 512)


@pytest.fixture(scope="module")
def accumulate():
    """(function, abstract arguments) of the toy's micro-batch on one device."""
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    optimizer = make_optimizer(OptimizerConfig(), 100, table.decay_mask(TOY))
    functions = update.make_functions(TOY, mesh, ROWS, grpo(GRPO()), optimizer)
    total = jax.eval_shape(functions.start)
    return functions.accumulate, (table.abstract(TOY), total, abstract_batch(ROWS))


def test_the_work_of_an_update_is_that_of_its_program(accumulate):
    """But for the last product of each layer, which nothing computes again for a backward pass."""
    function, args = accumulate
    counted = work.update(TOY, mesh_of(1, name="v5e"), ROWS, [32] * 4)
    flops = sum(part.flops for part in counted.values())
    assert traffic.flops(function, *args) == flops - 2 * 128 * 3 * 48 * 32
    assert counted["products"].flops == 2 * 4 * 128 * 3 * LAYER
    assert counted["logits"].flops == 2 * 4 * 128 * 97 * 32
    # Without a kernel all pairs of a row: two products forward, twice, and four backward.
    assert counted["attention"].flops == 8 * 3 * 4 * (8 + 8) * 4 * 32**2
    fused = work.update(TOY, mesh_of(1, name="v5e"), ROWS, [32] * 4, how=counts.Assumed(fused=True))
    assert fused["attention"].flops == counted["attention"].flops / 2


def test_what_is_traced_counts_loops_branches_and_devices():
    a, mesh = jnp.ones((8, 4)), make_mesh(MeshConfig(), jax.devices()[:1])
    one = 2 * 8 * 4 * 8

    def f(a):
        _, ys = jax.lax.scan(lambda _, x: (None, a @ a.T), None, length=5)
        branch = jax.lax.cond(a[0, 0] > 0, lambda: a @ a.T, lambda: ys[0])
        own = jax.shard_map(
            lambda x: x @ x.T, mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec()
        )
        grouped = jax.lax.ragged_dot(a, jnp.ones((2, 4, 3)), jnp.array([2, 6]))
        return ys, branch, own(a), grouped

    assert traffic.flops(f, a) == (5 + 1 + 1) * one + 2 * 8 * 4 * 3


def test_what_is_traced_counts_all_blocks_of_a_kernel():
    """Attention's, of 2 rows, 4 heads and 256 tokens: scores over 24, and values of 16."""
    q, v = jnp.ones((2, 256, 4, 24)), jnp.ones((2, 256, 4, 16))
    segments = Segments(jnp.ones((2, 256), jnp.int32))
    found = traffic.flops(lambda q, v: attention(q, q, v, segments, "splash"), q, v)
    assert found == 2 * 2 * 4 * 256**2 * (24 + 16)


HLO = """HloModule m
%body.1 (p: f32[4]) -> f32[4] {
  %g = bf16[16,32]{1,0} all-gather(%p), dimensions={0}
}
%cond.1 (p: f32[4]) -> pred[] {
  %limit = s32[]{:T(128)} constant(3)
  ROOT %c = pred[] compare(%p, %limit), direction=LT
}
ENTRY %main.2 (p: f32[4]) -> f32[4] {
  %w = while(%p), condition=%cond.1, body=%body.1, backend_config={"known_trip_count":{"n":"7"}}
  %v = while(%w), condition=%cond.1, body=%body.1
  %s = (f32[8]{0}, f32[64]{0}) all-gather-start(%w), dimensions={0}
  %d = f32[64] all-gather-done(%s)
  %r = (f32[10], s8[3]) all-reduce(%d, %d), to_apply=%add
}
"""


def test_collectives_of_compiled_text_count_the_turns_of_loops():
    assert traffic.collectives(HLO) == {"all-gather": 10 * 16 * 32 * 2 + 256, "all-reduce": 43}


def test_collectives_follow_from_the_layout():
    """fsdp 2: weights in 16 bits twice, f32 gradients once, a half of each from the other."""
    matrices = 3 * LAYER + 2 * 97 * 32
    sent = {(s.kind, s.axis): s.bytes for s in _sent(mesh_of(1, 2, 1))}
    assert sent["all-gather", "embed"] == 2 * 2 * matrices / 2
    assert sent["reduce-scatter", "embed"] == 4 * matrices / 2
    # data 2: what is whole on both is summed, there and back.
    sent = {(s.kind, s.axis): s.bytes for s in _sent(mesh_of(2, 1, 1))}
    assert sent == {("all-reduce", "batch"): 2 * 4 * table.count(TOY) / 2}
    # tensor 2: two sums of activations a layer, forward, again, and backward; 128 tokens.
    sent = {(s.kind, s.axis): s.bytes for s in _sent(mesh_of(1, 1, 2))}
    assert sent == {("all-reduce", "ffn"): 2 * 3 * 3 * (2 / 2) * 128 * 32 * 2}


def test_tokens_travel_where_experts_and_rows_are_spread():
    """Two expert layers of width 16 with 4 experts of 8, of which a token takes 2."""
    experts = Experts(count=4, chosen=2, width=8, shared=1)
    c = replace(TOY, n_layers=2, experts=experts, latent=Latent(0, 8, 4, 4), head_dim=4)
    mesh = absent_mesh(MeshConfig(data=1, expert=2), topology("h200:2"))
    sent = {
        (s.kind, s.axis): s.bytes for s in work.update(c, mesh, ROWS, [32] * 4)["collectives"].sent
    }
    # 64 tokens here, each to 2 experts and back, three times, with twice the room; half stays.
    assert sent["all-to-all", "experts"] == 2 * 2 * 3 * (64 * 2 * 2 / 2) * 32 * 2
    assert counts.experts_run(c, mesh) == 4 and counts.token_devices(mesh) == 2
    whole, each = counts.decoded(c, mesh_of(1)), 2 * 3 * 4 * 32 * 8
    assert counts.decoded(c, mesh) == whole - each / 2
    along = absent_mesh(MeshConfig(data=1, context=2), topology("h200:2"))
    sent = {(s.kind, s.axis) for s in work.update(TOY, along, ROWS, [32] * 4)["collectives"].sent}
    assert ("all-to-all", "tokens") in sent and counts.token_devices(along) == 2


def _sent(mesh):
    return work.update(TOY, mesh, ROWS, [32] * 4)["collectives"].sent


def test_seconds_add_up_and_a_collective_beyond_a_host_takes_the_network():
    mesh = mesh_of(2, 2, 2)
    part = work.PartWork(flops=1e6, bytes=2e6, share=0.5, fixed=1.0)
    assert work.part_seconds(part, mesh, SLOW) == pytest.approx(2 + 2 / 0.85 + 1)
    assert link(mesh, SLOW, "ffn") == link(mesh, SLOW, "embed") == 1e3  # 2, and 2 x 2, of 4
    assert link(mesh, SLOW, "batch") == 1e2  # 8
    sent = work.PartWork(sent=(work.Sent("all-reduce", "batch", 500.0),))
    assert work.seconds({"a": sent, "b": part}, mesh, SLOW) == pytest.approx(5 + 3 + 2 / 0.85)


def test_a_decode_step_reads_weights_and_cache():
    program = work.decode(TOY, mesh_of(1), 6, 10)
    read = 2 * (table.count(TOY) - 2 * 97 * 32)
    assert program["products"] == work.PartWork(2 * 6 * 3 * LAYER, read)
    assert program["cache"].bytes == 6 * 10 * 3 * 2 * 2 * 8 * 2
    assert program["attention"].flops == 2 * 6 * 10 * 3 * 4 * 16
    # On two devices each has half of the slots and all of the weights, unless the model is cut.
    assert work.decode(TOY, mesh_of(1, 2), 6, 10)["products"] == work.PartWork(
        program["products"].flops / 2, read
    )
    cut = mesh_of(1, 2, 2)
    own = counts.Assumed(own=True)
    kinds = [s.kind for s in work.decode(TOY, cut, 6, 10)["collectives"].sent]
    assert kinds == ["all-gather", "all-reduce"]
    assert [s.kind for s in work.decode(TOY, cut, 6, 10, own)["collectives"].sent] == ["all-reduce"]
    assert counts.decoded(TOY, cut, own=True) > counts.decoded(TOY, cut)


def test_memory_is_that_of_the_layout_and_of_what_is_kept():
    mesh, rollout = mesh_of(1, 2), EngineConfig(slots=8, max_prompt=64, max_tokens=64)
    held = memory.training(TOY, mesh, ROWS, "adamw", True, counts.NOTHING)
    held = memory.peak(held | memory.sampling(TOY, mesh, rollout, counts.NOTHING))
    weights = nbytes(table.abstract(TOY, mesh))
    assert held["weights"] == held["reference"] == weights
    assert held["optimizer"] == held["gradients"] == 2 * weights
    assert held["rollout weights"] == 2 * table.count(TOY)
    assert held["cache"] == 4 * 128 * 3 * 2 * 2 * 8 * 2
    kept = 4 * 3 * 64 * 32 + 4 * 64 * counts.passing(TOY, 0) / 3 + 2 * LAYER
    logits = 12 * 2 * 32 * 97 + 6 * 32 * 97
    assert held["update"] == kept + logits  # heads of 8 have cuDNN's kernel
    assert held["while learning"] == 4 * weights + 2 * weights + held["update"] + weights / 2
    dots = memory.update(TOY, mesh, replace(ROWS, remat="dots"), counts.NOTHING)
    assert dots - held["update"] == 2 * 64 * counts.outputs(TOY, 0)
    tpu = memory.update(TOY, mesh_of(1, 2, name="v5e"), ROWS, counts.NOTHING)
    assert tpu - held["update"] == 8 * 2 * 4 * 32**2  # two rows' scores, twice
    assert memory.advice(held, held["weights"]) == memory.ADVICE["state"]
    assert memory.advice(held, held["while learning"] - 1) == memory.ADVICE["update"]


def test_an_update_waits_for_its_tokens_or_for_the_longest():
    run = stage.RunConfig(completions=8, of_a_rollout=2, prompt=8, tokens=24, longest=24, group=4)
    rollout = EngineConfig(slots=4, max_prompt=64, max_tokens=64)
    mesh, chip = mesh_of(1), CHIPS["h200"]
    one = stage.update_of(TOY, mesh, chip, run, ROWS, rollout, 2)
    step = work.seconds(work.decode(TOY, mesh, 4, 12 + 2), mesh, chip)
    before = work.seconds(work.prefill(TOY, mesh, 1, 8), mesh, chip)
    assert one.bound == "tokens"
    assert one.rollout == pytest.approx(16 / 4 / 0.66 * (24 * step + before) / 2)
    batches = 8 * 32 / (4 * 32 * 0.95)
    scored = work.seconds(work.forward(TOY, mesh, ROWS, [32.0] * 4), mesh, chip)
    assert one.scoring == pytest.approx(2 * batches * scored)
    late = stage.update_of(TOY, mesh, chip, replace(run, longest=24_000), ROWS, rollout, 2)
    assert late.bound == "longest" and late.rollout > one.rollout
    assert stage.dollars(7200, 8, 2.5) == 40


def test_most_cases_that_were_measured_are_predicted():
    """All but the one that the page names: a group's long prompt is not read once."""
    missed = [case.name for case in CASES if not within(case)]
    assert len(CASES) >= 16 and missed == ["1.5b rollout 64 x 1024 after 30720 / 16"]


def test_the_plan_says_what_does_not_fit_and_what_to_change(capsys):
    plan = ["--model", "tiny", "--topology", "v5e:2x2", "--train.rows", "4", "--train.width", "128",
            "--rollout.slots", "8", "--price", "2", "--no-compile"]  # fmt: skip
    main(cli.parse(Config(), plan))
    said = capsys.readouterr().out
    assert "fits: " in said and "| accumulate | " in said and "dollars" in said
    with pytest.raises(UserError, match=r"does not fit: .*lower --train\.rows"):
        main(cli.parse(Config(), [*plan, "--train.width", "65536", "--train.kernel", "xla"]))
    main(cli.parse(Config(), [*plan, "--train.width", "65536"]))  # splash holds no scores
    with pytest.raises(UserError, match=r"does not fit: .*--rollout\.slots"):
        main(cli.parse(Config(), [*plan, "--rollout.slots", "400000000"]))
    with pytest.raises(UserError, match=r"--topology v9:2: write KIND:AxBxC"):
        main(cli.parse(Config(), ["--topology", "v9:2"]))
    with pytest.raises(UserError, match="--mesh: .* does not"):
        main(cli.parse(Config(), [*plan, "--mesh.fsdp", "3"]))


def test_what_was_compiled_is_checked_with_what_lies_beside_it():
    held = {"weights": 4.0, "optimizer": 8.0, "reference": 4.0}
    one = {"program": "accumulate", "peak": 10.0}
    compiled.check([one], held, 22.0)
    with pytest.raises(UserError, match=r"accumulate does not fit: .*--train\.rows"):
        compiled.check([one], held, 21.0)
    with pytest.raises(UserError, match=r"decode 8 x 64 does not fit: Ran out; .*--rollout\.slots"):
        compiled.check([{"program": "decode 8 x 64", "refused": "Ran out"}], held, 1e9)


def test_the_committed_page_is_what_the_formulas_give():
    """One model on few devices; the whole page takes a minute."""
    committed = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    made = scale.page(scale.Config(most=16), ("qwen2.5-7b",)).splitlines()
    other = [line for line in made if "more than 16" in line]
    lost = set(made) - set(committed.splitlines()) - set(other)
    assert not lost and len(other) < 3, "run python -m experiments.pages.scale"
