"""A device that runs out of memory: one line with the flag that makes room, and its value."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import pytest
from runs import changed, save_model, tiny_run

from r1jax.errors import UserError
from r1jax.run.directory import RunDirectory
from r1jax.run.progress import Alone
from r1jax.stages import zero
from r1jax.stages.exhausted_memory import OutOfMemory, make_room
from r1jax.stages.opening import Run
from r1jax.stages.pipeline.config import R1Config
from r1jax.stages.pipeline.plan import plan
from r1jax.stages.pipeline.refusals import named_for
from r1jax.stages.supervised import SFTConfig
from r1jax.training.rl import learning
from r1jax.training.rl.config import RLConfig

GIB = 2**30
OOM = jax.errors.JaxRuntimeError(
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 2.31GiB.\n[tf-allocator ...]"
)
PLAN = {
    "weights": 6 * GIB, "frozen base": 0, "optimizer": 12 * GIB, "reference": 0,
    "reward models": 0, "gradients": 6 * GIB, "update": 80 * GIB, "rollout weights": 3 * GIB,
    "cache": 90 * GIB, "rollout logits": 10 * GIB,
}  # fmt: skip
RUN = changed(RLConfig(), {"rollout.slots": 256, "train.rows": 16})


@pytest.mark.parametrize(
    ("phase", "limit", "flag"),
    [
        ("update", 60, "--train.rows 6"),  # 57 - 24 = 33 GiB hold 6.6 rows of 5 GiB
        ("update", 600, "--train.rows 8"),  # the plan was wrong: half
        ("rollout", 60, "--rollout.slots 92"),  # 57 - 21 = 36 GiB hold 92 slots of 0.39 GiB
        ("evaluation", 600, "--rollout.slots 128"),
    ],
)
def test_the_value_fits_by_the_plan_and_is_half_at_most(phase, limit, flag):
    assert make_room(RUN, phase, PLAN, limit * GIB) == flag


def test_weights_that_do_not_fit_need_another_optimizer_or_more_devices():
    for phase in ("update", ""):
        said = make_room(RUN, phase, PLAN, 20 * GIB)
        assert said.startswith("weights and what belongs to them take 24.0 GiB: --optimizer.kind")
        assert "less by up to 12.0 GiB" in said and "--lora.rank 16" in said


def test_where_nothing_is_left_to_halve_other_flags_follow():
    one = changed(RUN, {"train.rows": 1, "train.remat": "dots", "rollout.slots": 1})
    full = changed(one, {"train.remat": "full"})
    assert make_room(one, "update", {}, GIB) == "--train.remat full"
    assert make_room(full, "update", {}, GIB) == "--train.chunk 64"
    assert "--lora.rank" in make_room(changed(full, {"train.chunk": 8}), "update", {}, GIB)
    assert make_room(one, "rollout", {}, GIB) == "--rollout.max-tokens 128"


def test_without_a_plan_what_is_held_side_by_side_is_halved():
    assert make_room(RUN, "rollout", {}, GIB) == "--rollout.slots 128"
    course = SFTConfig(run="r", train=replace(SFTConfig().train, rows=6))
    assert make_room(course, "evaluation", {}, GIB) == "--train.rows 3"


def test_the_door_turns_it_into_one_line(tmp_path, monkeypatch):
    config = tiny_run(save_model(tmp_path / "model"), tmp_path / "run", {"checkpoint.every": 1})
    real = learning.update

    def update(functions, state, *rest):
        if int(state.update) == 2:
            raise OOM
        return real(functions, state, *rest)

    monkeypatch.setattr(learning, "update", update)
    said = r"out of memory in the update, asked for 2.31GiB: --train.rows 4; --continue-from .*/run"
    with pytest.raises(UserError, match=said + " --run NEW goes on from update [12] with it$"):
        zero.run(config)
    monkeypatch.setattr(zero, "begin", lambda *_: (_ for _ in ()).throw(OOM))
    with pytest.raises(UserError, match="in the loading of weights.*; with --overwrite"):
        zero.run(changed(config, {"run": str(tmp_path / "other")}))


def test_a_run_that_cannot_be_continued_begins_anew(tmp_path):
    run = Run(RunDirectory(tmp_path, "new"), Alone(), "", 0.0, None)
    run.opened = SimpleNamespace(
        checkpoints=SimpleNamespace(whole=3), progress=SimpleNamespace(doing="update")
    )
    said = str(run.out_of_memory(OOM, SFTConfig()))
    assert said.endswith("--train.rows 4; with --overwrite it begins anew with it")


def test_in_a_pipeline_flags_have_the_name_of_their_stage():
    config = R1Config(students=("mine=embedded",))
    (zero_stage,) = [stage for stage in plan(config) if stage.name == "zero"]
    student = plan(config)[-1]
    memory = OutOfMemory("ran out: --train.rows 4, or devices (--mesh.fsdp)", "--continue-from x")
    for stage, mistake, said in (
        (zero_stage, memory, "ran out: --zero.train.rows 4, or devices (--mesh.fsdp); "
                             "--from zero --overwrite begins the stage anew with it"),
        (student, memory, "ran out: --distill.train.rows 4, or devices (--mesh.fsdp); "
                          "--from distill --overwrite begins the stage anew with it"),
        (zero_stage, UserError("other flags; start anew with --overwrite"),
         "other flags; start anew with --from zero --overwrite"),
        (zero_stage, UserError("a/x--run.y: --data.train and --reward.model, --until-plateau."),
         "a/x--run.y: --data.train and --zero.reward.model, --zero.until-plateau."),
    ):  # fmt: skip
        with pytest.raises(UserError) as caught, named_for(stage, config):
            raise mistake
        assert str(caught.value) == said


def test_other_errors_of_the_devices_stay_what_they_are(tmp_path, monkeypatch):
    broken = jax.errors.JaxRuntimeError("INTERNAL: a kernel failed")
    monkeypatch.setattr(zero, "begin", lambda *_: (_ for _ in ()).throw(broken))
    with pytest.raises(jax.errors.JaxRuntimeError, match="a kernel failed"):
        zero.run(tiny_run(save_model(tmp_path / "model"), tmp_path / "run"))
