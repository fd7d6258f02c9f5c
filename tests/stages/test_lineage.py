"""Lineage: digests that say what is equal, and a record that refuses nonsense."""

from __future__ import annotations

import hashlib

import jax.numpy as jnp
import numpy as np
import pytest
from tiny import mesh_of, placed, tiny_config, tiny_params

from r1jax.errors import UserError
from r1jax.run.names import BASE
from r1jax.stages.pipeline.lineage import (
    Entry,
    add_entry,
    ancestors,
    drop_entries,
    file_digest,
    outdated,
    read_lineage,
    weights_digest,
)


def test_the_digest_is_of_the_weights_and_not_of_their_layout():
    config = tiny_config()
    params = tiny_params(config)
    found = weights_digest(params)
    assert found == weights_digest(placed(params, config, mesh_of(fsdp=2, tensor=2)))
    assert found == weights_digest(tiny_params(config)) != weights_digest(tiny_params(config, 1))


@pytest.mark.parametrize(
    "other",
    [
        {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0])},
        {"a": jnp.array([1.0]), "c": jnp.array([2.0, 3.0])},
        {"a": jnp.array([1.0]), "b": jnp.array([[2.0, 3.0]])},
        {"a": jnp.array([1.0]), "b": jnp.array([2.0, np.nextafter(np.float32(3), 4)])},
        {"a": jnp.array([1.0], jnp.bfloat16), "b": jnp.array([2.0, 3.0])},
    ],
)
def test_names_shapes_types_and_bits_all_count(other):
    params = {"a": jnp.array([1.0]), "b": jnp.array([2.0, 3.0])}
    assert weights_digest(params) != weights_digest(other)


def test_the_digest_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(UserError, match="nothing: cannot be read"):
        file_digest(tmp_path / "nothing")


def test_a_pipeline_is_recorded_and_read_back(tmp_path):
    path = tmp_path / "lineage.json"
    assert read_lineage(path) == {}
    entries = {
        BASE: Entry(weights="b"),
        "zero": Entry(BASE, "w0", {BASE: "b"}),
        "data": Entry(used={"zero": "w0"}, made={"cold.jsonl": "d0"}),
        "cold_start": Entry(BASE, "w1", {BASE: "b"}, {"cold.jsonl": "d0"}),
        "reasoning_rl": Entry("cold_start", "w2", {"cold_start": "w1"}),
    }
    for name, entry in entries.items():
        add_entry(path, name, entry)
    found = read_lineage(path)
    assert found == entries and list(found) == list(entries)
    assert ancestors(found, "reasoning_rl") == ["cold_start", BASE]
    assert ancestors(found, "data") == []
    assert not any(outdated(found, name) for name in found)
    add_entry(path, "cold_start", Entry(BASE, "w3", {BASE: "b"}, {"cold.jsonl": "d0"}))
    assert outdated(read_lineage(path), "reasoning_rl") == ["cold_start"]
    add_entry(path, "data", Entry(used={"zero": "w0"}, made={"cold.jsonl": "d1"}))
    assert outdated(read_lineage(path), "cold_start") == ["cold.jsonl"]
    assert outdated(read_lineage(path), "reasoning_rl") == ["cold_start", "cold.jsonl"]
    drop_entries(path, ["data", "cold_start", "unknown"])
    assert list(read_lineage(path)) == [BASE, "zero", "reasoning_rl"]


def test_what_cannot_be_is_refused(tmp_path):
    path = tmp_path / "lineage.json"
    add_entry(path, BASE, Entry(weights="b"))
    add_entry(path, "zero", Entry(BASE, "w0"))
    with pytest.raises(UserError, match="rl descends from sft, which is not there yet"):
        add_entry(path, "rl", Entry("sft", "w1"))
    for weights, other in (("w0", "zero"), ("b", BASE)):
        with pytest.raises(UserError, match=f"sft left the very weights of {other}"):
            add_entry(path, "sft", Entry(BASE, weights))
    assert list(read_lineage(path)) == [BASE, "zero"]
