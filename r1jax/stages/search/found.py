"""The search of a round's problems, batch by batch on the disk, and what is to be learnt of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from r1jax.data.packing import Sequences
from r1jax.data.padding import side_by_side
from r1jax.data.problems.known import digest_of, refuse_other_problems
from r1jax.errors import UserError
from r1jax.run.directory import Record, read_jsonl, write_jsonl
from r1jax.run.names import ROUNDS
from r1jax.run.signals import keeping
from r1jax.search.side_by_side import search
from r1jax.search.tree import Node, Tree
from r1jax.stages.opening import Run
from r1jax.stages.search.parts import SearchParts
from r1jax.types import Params

FOUND, SOLUTIONS = "found.jsonl", "solutions.jsonl"


def searched(
    parts: SearchParts, run: Run, number: int, weights: Params, value: Params
) -> list[dict[str, Any]]:
    """A row for each problem of round `number`, from the disk as far as it was searched before."""
    config = parts.config
    folder = run.path / ROUNDS / str(number)
    whole, part = folder / FOUND, folder / f"{FOUND}.part"
    folder.mkdir(parents=True, exist_ok=True)
    taken = parts.stream.take((number - 1) * config.prompts, config.prompts)
    problems = list({p.id: p for p in taken}.values())  # twice in a round, it would be drawn alike
    there = next((path for path in (whole, part) if path.exists()), None)
    rows = read_jsonl(there) if there else []
    refuse_other_problems(there or part, rows, problems)
    oracles = parts.oracles(weights, value, number, knows=True)
    with keeping(lambda: f"round {number}, {len(rows):,} problems searched; the same command goes "
                         "on behind them"):  # fmt: skip
        for start in range(len(rows), len(problems), config.batch):
            trees = [parts.tree(p) for p in problems[start : start + config.batch]]
            search(trees, config.method, config.search, oracles)
            rows += [row_of(parts, tree) for tree in trees]
            if not start and number == 1:
                refuse_no_steps(config.steps, rows)
            write_jsonl(part, rows)  # anew, in one step: a kill leaves whole batches
            right = np.mean([any(s["right"] for s in row["solutions"]) for row in rows])
            run.note(f"round {number}: {len(rows):,} of {len(problems):,} problems searched, "
                     f"{100 * right:.1f} % solved")  # fmt: skip
    if part.exists():
        write_jsonl(folder / SOLUTIONS, solution_rows(parts, rows))
        os.replace(part, whole)
    return rows


def refuse_no_steps(cut: str, rows: Sequence[Record]) -> None:
    """UserError where no solution has a second step: then there is nothing to search over."""
    if not any(len(s["ends"]) > 1 for row in rows for s in row["solutions"]):
        raise UserError(
            f"--steps {cut}: no solution of the first {len(rows)} problems has a second step; the "
            "model writes none that end so: choose another --steps, more --search.tokens, a larger "
            "--search.depth, or another model"
        )


def row_of(parts: SearchParts, tree: Tree) -> dict[str, Any]:
    """What is kept of a searched problem: its cost, and the solutions that are learnt from."""
    most = parts.config.search.solutions
    nodes = [node for node in tree.root.walk() if node is not tree.root]
    return {
        "id": tree.problem.id, "problem": digest_of(tree.problem),
        "question": tree.problem.question, "prompt": tree.prompt,
        "spent": tree.spent, "operations": tree.operations,
        "q": tree.root.q, "nodes": len(nodes), "ends": len(tree.ends),
        "capped": sum(node.step.capped for node in nodes),
        "solutions": [solution_of(tree, end) for end in learnt(tree, most)],
    }  # fmt: skip


def learnt(tree: Tree, most: int) -> list[Node]:
    """The first right ends and the first wrong ones, at most so many of each, no text twice."""
    different: dict[tuple[int, ...], Node] = {}
    for end in tree.ends:
        different.setdefault(tree.tokens(end), end)
    sides = ([end for end in different.values() if is_right(end) == way] for way in (True, False))
    return [end for side in sides for end in side[:most]]


def is_right(end: Node) -> bool:
    """What the rule has said of an end."""
    return end.value == 1.0


def solution_of(tree: Tree, end: Node) -> dict[str, Any]:
    """A solution as tokens, where its steps end among them, and q below each."""
    return {
        "right": is_right(end),
        "tokens": tree.tokens(end),
        "ends": end.stops,
        "q": [node.q for node in end.path],
    }


def solution_rows(parts: SearchParts, rows: Sequence[Record]) -> list[dict[str, Any]]:
    """The solutions in TRL's layout, a step's label the share (q + 1) / 2 that ended right."""
    decode, stops = parts.policy.tokenizer.decode, parts.policy.stop_ids
    return [
        {
            "prompt": row["question"],
            "completions": [
                decode([t for t in s["tokens"][a:b] if t not in stops])
                for a, b in zip([0, *s["ends"]], s["ends"], strict=False)
            ],
            "labels": [(q + 1) / 2 for q in s["q"]],
            "right": s["right"], "id": row["id"],
        }
        for row in rows for s in row["solutions"]
    ]  # fmt: skip


def digest_of_solutions(rows: Sequence[Record]) -> str:
    """SHA-256 of what a round learns from."""
    return hashlib.sha256(json.dumps([r["solutions"] for r in rows]).encode()).hexdigest()


def right_solutions(rows: Sequence[Record]) -> Sequences | None:
    """What the policy learns: every kept solution that is right; None where there is none."""
    pairs = [(r["prompt"], s["tokens"]) for r in rows for s in r["solutions"] if s["right"]]
    return side_by_side(pairs) if pairs else None


def marked_steps(rows: Sequence[Record]) -> Sequences | None:
    """What the value model learns: q at the end of the question and of each step."""
    pairs = [(row, s) for row in rows for s in row["solutions"]]
    if not pairs:
        return None
    # The question's last token counts with the solution, so that it may be marked.
    split = ((r["prompt"][:-1], [*r["prompt"][-1:], *s["tokens"]]) for r, s in pairs)
    sequences = side_by_side(split)
    learn = np.zeros((len(pairs), int(sequences.lengths.max())), bool)
    q = np.zeros(learn.shape, np.float32)
    for i, (row, s) in enumerate(pairs):
        learn[i, [0, *s["ends"]]] = True
        q[i, [0, *s["ends"]]] = [row["q"], *s["q"]]
    return replace(sequences, columns={"q": q}, learn=learn)
