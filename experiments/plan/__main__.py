"""Whether a model fits devices that are not at hand, and what it would take there: predicted.

    python -m experiments.plan --topology v5p:8x8x8 --mesh.fsdp 16 --mesh.expert 32
    python -m experiments.plan --model llama-70b --topology h200:64 --mesh.fsdp 64 --price 3.5

Bytes of a device by what holds them, operations, memory and collectives of every program with
their seconds, and the hours of a run, by formula (`experiments/plan/work.py`). For a TPU the very
functions of training and rollouts are compiled as well, without one: on a CPU, by libtpu
(`pip install 'jax[tpu]'`), from abstract weights. That takes minutes; what was found is kept. Exit
status 2 where it does not fit, with the flag to change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.sharding import Mesh

from experiments.bench.table import markdown
from experiments.plan import calibration, compiled, counts, memory, stage, work
from experiments.plan.chips import Topology, absent_mesh, topology
from experiments.plan.config import Config
from experiments.plan.shapes import named
from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.models.config import ModelConfig
from r1jax.rollout.ladder import ladder, widths
from r1jax.training.batches import fit_rows
from r1jax.training.flops import train_flops


def main(config: Config) -> None:
    """Prints the plan; UserError where it does not fit."""
    if config.calibration:
        print(markdown(calibration.rows()))
        return
    where, c = topology(config.topology), named(config.model)
    mesh = absent_mesh(config.mesh, where)
    config = fit_rows(config, mesh, note=print)
    held = memory.of(c, mesh, config)
    print(f"# {config.model} on {where.count} x {config.topology.partition(':')[0]}: predicted\n")
    show("GB of a device", memory_rows(held, where.chip.memory))
    programs = programs_of(c, mesh, config)
    show("A device's work", [program_row(n, p, mesh, where) for n, p in programs.items()])
    show("Collectives", sent_rows(programs))
    show("The run", [run_row(c, mesh, where, config)])
    most, limit = max(held["while learning"], held["while sampling"]), where.chip.memory
    if where.chip.platform == "tpu" and config.compile:
        found = compiled.found(c, config, where)
        show("Compiled, GiB of a device", [compiled.row(one) for one in found])
        compiled.check(found, held, limit)
    if most > limit:
        raise UserError(
            f"does not fit: {most / 1e9:,.1f} GB of {limit / 1e9:,.1f} by formula; "
            f"{memory.advice(held, limit)}"
        )
    print(f"fits: {most / 1e9:,.1f} of {limit / 1e9:,.1f} GB by formula")


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """A table with its title."""
    print(f"{title}\n\n{markdown(rows)}\n", flush=True)


def memory_rows(held: dict[str, float], limit: float) -> list[dict[str, Any]]:
    """What holds memory, the two phases, and what there is."""
    rows = held | {"a device has": limit}
    return [{"": name, "GB": size / 1e9} for name, size in rows.items() if size]


def programs_of(c: ModelConfig, mesh: Mesh, config: Config) -> dict[str, work.Program]:
    """Every program of a run, by name: a full micro-batch, prefills by width, decoding by shape."""
    t, r = config.train, config.rollout.engine
    n = min(config.run.prompt + config.run.tokens, t.width)
    totals = [float(n)] * (t.rows * t.width // n)
    shapes = ladder(r, counts.copies(mesh))
    programs = {
        "accumulate": work.update(c, mesh, t, totals, how=config.assumed),
        "apply": work.apply(c, mesh),
        "score": work.forward(c, mesh, t, totals, config.assumed),
    }
    for width in widths(r, shapes)[:4]:
        programs[f"prefill {r.prefill} x {width}"] = work.prefill(c, mesh, r.prefill, width)
    for slots, length in shapes:
        programs[f"decode {slots} x {length}"] = work.decode(
            c, mesh, slots, length / 2, config.assumed
        )
    return programs


def program_row(name: str, program: work.Program, mesh: Mesh, where: Topology) -> dict[str, Any]:
    """Operations, bytes, collectives and seconds of one program on one device."""
    seconds = work.seconds(program, mesh, where.chip)
    flops = sum(part.flops for part in program.values())
    parts = {n: work.part_seconds(part, mesh, where.chip) for n, part in program.items()}
    most = max(parts, key=parts.get)
    return {
        "program": name,
        "TFLOP": flops / 1e12,
        "GB of memory": sum(part.bytes for part in program.values()) / 1e9,
        "GB received": sum(s.bytes for part in program.values() for s in part.sent) / 1e9,
        "ms": 1e3 * seconds,
        "of the peak %": 100 * flops / seconds / where.chip.flops_per_s,
        "longest part": f"{most} {parts[most] / seconds:.0%}",
    }


def sent_rows(programs: dict[str, work.Program]) -> list[dict[str, Any]]:
    """Each kind of collective of each program: what it is over, what a device receives."""
    return [
        {"program": name, "kind": s.kind, "axis": s.axis, "GB": s.bytes / 1e9}
        for name, program in programs.items()
        for part in program.values()
        for s in part.sent
    ]


def run_row(c: ModelConfig, mesh: Mesh, where: Topology, config: Config) -> dict[str, Any]:
    """Seconds of an update by phase, MFU of learning, hours and cost of the run."""
    run = config.run
    one = stage.update_of(
        c,
        mesh,
        where.chip,
        run,
        config.train,
        config.rollout.engine,
        1 + config.reference,
        config.assumed,
    )
    hours = run.updates * one.whole / 3600
    totals = np.full(run.completions, run.prompt + run.tokens)
    needed = train_flops(c, totals) / where.count / where.chip.flops_per_s
    row = {
        "update s": one.whole,
        "rollout": one.rollout,
        "waits for": one.bound,
        "scoring": one.scoring,
        "learning": one.learning,
        "MFU of learning %": 100 * needed / one.learning,
        f"hours of {run.updates:,} updates": hours,
        "chip hours": hours * where.count,
    }
    cost = stage.dollars(3600 * hours, where.count, config.price)
    return row | ({"dollars": cost} if config.price else {})


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
