"""Orbax checkpoints: save in the background, resume exactly, hand weights to the next stage."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh
from jax.tree_util import keystr, tree_leaves_with_path
from orbax.checkpoint import checkpoint_managers as policies

from r1jax.errors import UserError, check_ranges, told
from r1jax.models import table
from r1jax.models.config import ModelConfig
from r1jax.models.lora import LoraConfig, attach, merge
from r1jax.models.lora import rows as lora_rows
from r1jax.run import digests
from r1jax.run.flags import TrustConfig
from r1jax.run.quiet import quiet_writers
from r1jax.run.saved import ARRAYS, Saved, check_same, targets
from r1jax.types import Params, TrainState

UNJUDGED = -1e9  # stands for the score of a checkpoint without evaluation: below every real one


@dataclasses.dataclass(frozen=True)
class CheckpointConfig(TrustConfig):
    """When a run is saved and what is kept."""

    every: int = 50
    """Updates between checkpoints; the last update is always saved. 0 saves only that one."""
    keep: int = 2
    """Newest checkpoints kept, beside the best by held-out evaluation; of two, the older serves
    where the newer turns out damaged."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--checkpoint.", every="[0,]", keep="[1,]")


class Checkpoints:
    """The checkpoints of one run, by update; writing is asynchronous and atomic.

    The best has the highest score, the later one on ties: held-out pass@1, or minus the loss.
    """

    def __init__(
        self,
        directory: str | Path,
        keep: int,
        unverified: bool = False,
        note: Callable[[str], Any] = print,
        settle: Callable[[], Any] = lambda: None,
    ) -> None:
        """Sets aside what is damaged, or `unverified` and not wanted: `note` says which.

        A new one counts once `settle`, in a thread, has put onto the disk what belongs to it.
        Raises UserError where none is left.
        """
        quiet_writers()
        directory = Path(directory).absolute()
        for line in digests.set_aside(directory, unverified):
            note(line)
        self._held = contextlib.ExitStack()  # what `close` ends, the last first
        self._held.callback(self._forget)
        self._sealer = ThreadPoolExecutor(1, "digests")
        self._sealing: tuple[Future[None], int] | None = None
        self._settle, self._failed = settle, False
        rank = lambda metrics: metrics["score"]  # noqa: E731
        best = policies.BestN(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False)
        keep_policy = policies.AnyPreservationPolicy([policies.LatestN(keep), best])
        with told(f"{directory}: cannot be read"):
            self._manager = ocp.CheckpointManager(
                directory,
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=keep_policy,
                    best_fn=rank,
                    enable_async_checkpointing=True,
                ),
                item_handlers={name: ocp.StandardCheckpointHandler() for name in ARRAYS}
                | {"meta": ocp.JsonCheckpointHandler()},
            )
        self._held.callback(self._end)
        self._held.callback(self._sealer.shutdown)
        self.whole = self.latest()  # the newest with its digests

    def latest(self) -> int | None:
        """Update of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """Update of the checkpoint with the highest score, later on ties, or None."""
        steps = self._manager.all_steps()
        scored = [(self._manager.metrics(step)["score"], step) for step in steps]
        score, step = max(scored, default=(UNJUDGED, 0))
        return step if score > UNJUDGED else None

    def save(self, saved: Saved, score: float | None = None) -> None:
        """Starts writing a checkpoint of `saved`; returns once the arrays may be reused.

        `score` is that of an evaluation after this update, None without one. Raises UserError where
        this checkpoint, or the one before, could not be written.
        """
        self.wait()
        step = int(saved.state.update)
        metrics = {"score": UNJUDGED if score is None else float(score)}
        with self._told(step):
            digests.mark(Path(self._manager.directory), step)
            if step in self._manager.all_steps():  # saved before it was judged
                self._manager.delete(step)
            args = ocp.args.Composite(**saved.items())
            self._manager.save(step, args=args, metrics=metrics, force=True)
        self._sealing = self._sealer.submit(self._seal, step), step

    def restore(
        self,
        step: int,
        like: TrainState,
        expected: Mapping[str, Any],
        towers: Mapping[str, TrainState] | None = None,
    ) -> Saved:
        """The checkpoint of update `step`, laid out over the mesh of `like`'s arrays.

        Raises UserError, showing the difference, when its model or tokenizer is not `expected`.
        """
        where = self._manager.directory
        with told(f"{where / str(step)}: cannot be read"):
            only = ocp.args.Composite(meta=ocp.args.JsonRestore())
            meta = self._manager.restore(step, args=only)["meta"]
            items = self._manager.item_metadata(step)
        check_same(meta, expected, where)
        asked = targets(like, towers or {}, lambda name: items.get(name) is not None)
        if items.get("pending") is not None:  # its tree is one of shapes and types
            host = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), items["pending"].tree)
            asked["pending"] = ocp.args.StandardRestore(host)
        with told(f"{where / str(step)}: cannot be read"):
            got = self._manager.restore(step, args=ocp.args.Composite(**asked))
        pending = jax.tree.map(np.asarray, got.get("pending") or {})
        return Saved.read(got, pending, meta)

    def wait(self) -> None:
        """Blocks until all that was saved is on disk with its digests; UserError if it is not."""
        if self._sealing is None:
            return
        (done, step), self._sealing = self._sealing, None
        with self._told(step):
            done.result()
        self.whole = step

    def close(self) -> None:
        """Finishes writing and releases the manager."""
        with self._held:
            self.wait()
            digests.unmark(Path(self._manager.directory))

    def _forget(self) -> None:
        """A failed write leaves coroutines, which would end badly later."""
        if self._failed:
            gc.collect()

    def _seal(self, step: int) -> None:
        """In a thread: waits for Orbax to commit, then writes this process's digests."""
        self._settle()
        self._manager.wait_until_finished()
        folder = Path(self._manager.directory) / str(step)
        digests.seal(folder, jax.process_index(), jax.process_count())

    @contextlib.contextmanager
    def _told(self, step: int) -> Iterator[None]:
        """Says in one line that a checkpoint could not be written, and what is left."""
        directory = Path(self._manager.directory)

        def left() -> str:
            before = "none is before it" if self.whole is None else f"{self.whole} is whole"
            if self.whole is not None and not (directory / str(self.whole)).is_dir():
                before = f"{self.whole} is not there any more either"
            return f"; {before}; the same command goes on once that is mended"

        self._failed = True  # where an error leaves this block
        with told(f"{directory / str(step)}: the checkpoint could not be written", left):
            yield
        self._failed = False

    def _end(self) -> None:
        """Releases the manager, which says again what failed: that was told already."""
        with contextlib.suppress(Exception) if self._failed else contextlib.nullcontext():
            self._manager.close()


def load_params(
    directory: str | Path,
    c: ModelConfig,
    mesh: Mesh,
    step: int | None = None,
    base: Callable[[], Params] | None = None,
    unverified: bool = False,
) -> Params:
    """Only the policy's weights of a run's checkpoint (the newest, or `step`): a stage's start.

    A LoRA checkpoint holds the factors alone: they are merged into the weights `base` loads, or
    into those of the checkpoint that its run started from.
    """
    meta = read_meta(directory, step := digests.find_step(directory, step, unverified))
    lora = LoraConfig(**meta["lora"]) if meta.get("lora") else None
    params = restore_params(directory, step, lora_rows(c, lora) if lora else c, mesh)
    if lora is None:
        return params
    if parent := meta.get("parent"):
        below = load_params(parent["directory"], c, mesh, parent["step"], base, unverified)
        return merge(attach(below, params, lora))
    if base is None:
        raise UserError(f"{directory}: holds LoRA factors; the base's weights are needed as well")
    return merge(attach(base(), params, lora))


def read_meta(directory: str | Path, step: int) -> dict[str, Any]:
    """Counters and descriptions that the checkpoint of update `step` holds."""
    return _restored(directory, step, meta=ocp.args.JsonRestore())["meta"]


def restore_params(
    directory: str | Path, step: int, model: ModelConfig | table.Rows, mesh: Mesh
) -> Params:
    """Of a checkpoint only what was trained, shaped and laid out as the weight table says.

    Raises UserError where a file of it does not agree with its digest, or a weight has another
    shape than the model's; every process calls it.
    """
    digests.check(Path(directory) / str(step))
    item = {"params": table.abstract(model, mesh)}
    _check_shapes(Path(directory) / str(step), item["params"])
    how = ocp.checkpoint_utils.construct_restore_args(item)
    part = ocp.args.PyTreeRestore(item=item, restore_args=how, partial_restore=True)
    return _restored(directory, step, state=part)["state"]["params"]


def _check_shapes(folder: Path, asked: Params) -> None:
    with told(f"{folder}: cannot be read"):
        tree = ocp.PyTreeCheckpointHandler().metadata(folder.absolute() / "state").tree["params"]
    named = lambda path: keystr(path, simple=True, separator=".")  # noqa: E731
    saved = {named(path): leaf.shape for path, leaf in tree_leaves_with_path(tree)}
    for path, leaf in tree_leaves_with_path(asked):
        if (found := saved.get(named(path))) != leaf.shape:
            there = f"its weight {named(path)} has the shape {found}"
            if found is None:
                there = f"it holds no weight {named(path)}"
            raise UserError(
                f"{folder}: {there}, the model's has {leaf.shape}; name the --model that it was "
                "trained from"
            )


def restore_saved(
    directory: str | Path,
    step: int,
    like: TrainState,
    expected: Mapping[str, Any],
    towers: Mapping[str, TrainState] | None = None,
) -> Saved:
    """As `Checkpoints.restore` of another run's checkpoint, which is only read; `pending` is left.

    Raises UserError where a file of it is damaged, or it is not what is `expected`.
    """
    folder = Path(directory) / str(step)
    digests.check(folder)
    check_same(read_meta(directory, step), expected, folder)
    asked = targets(like, towers or {}, lambda name: (folder / name).exists())
    return Saved.read(_restored(directory, step, **asked), {}, {})


def _restored(directory: str | Path, step: int, **items: Any) -> Any:
    folder = Path(directory).absolute() / str(step)
    reader = ocp.Checkpointer(ocp.CompositeCheckpointHandler())  # a manager reads what is beside it
    with told(f"{folder}: cannot be read"), reader:
        return reader.restore(folder, args=ocp.args.Composite(**items))
