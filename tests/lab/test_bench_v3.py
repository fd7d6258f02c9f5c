"""The bench of a V3's kernels at toy size: what it prints, that it sees a wrong result."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from experiments import bench_v3
from experiments.bench import grouped
from experiments.bench.shapes import SHAPES
from r1jax.commands import cli
from r1jax.models.config import Latent

pytestmark = pytest.mark.lab
V3 = SHAPES["v3-3b"]
TOY = replace(
    V3, d_model=64, n_heads=4, head_dim=16, latent=Latent(0, 32, 16, 16),
    experts=replace(V3.experts, count=6, chosen=2, width=128),
)  # fmt: skip


def bench(*argv):
    return cli.run(bench_v3.main, bench_v3.Config(), list(argv))


def test_every_product_and_cache_has_its_row_and_is_right(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(SHAPES, "v3-3b", TOY)
    assert bench("--tokens", "100", "--caches", "4x80", "--out", str(tmp_path / "all.json")) == 0
    rows = json.loads((tmp_path / "all.json").read_text())["rows"]
    names = [p.name for p in grouped.products(TOY)]
    assert [row["product"] for row in rows if "product" in row] == names
    assert len(rows) == len(names) + 2 and all(0 < row["error"] < 0.01 for row in rows)
    assert "| mean |" in capsys.readouterr().out


def test_a_wrong_result_has_its_error_and_is_none_of_the_best():
    p = grouped.products(TOY)[0]
    a, b = grouped.operands(p, TOY, 200)
    sizes = jnp.asarray(grouped.skewed(6, 200, 0))
    assert sizes.sum() == 200 and list(sizes[:2]) == [0, 1] and sizes.max() > 200 / 6
    got = jax.lax.ragged_dot(a, b, sizes)
    assert grouped.error(p, got, a, b, sizes) < 0.01
    assert grouped.error(p, got.at[-1].set(0), a, b, sizes) > 0.02
    row = dict(product="up", tile="1", chosen=True, ms=1.0)
    rows = [row | {"error": e, "TFLOP/s": 1.0, "of dense %": s} for e, s in ((0.9, 9), (1e-3, 5))]
    assert [best["of dense %"] for best in grouped.best(rows)] == [5, 5]
    assert grouped.best([row | {"fails": "no room"}]) == []


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--shape", "1.5b"), "--shape 1.5b: it has no experts; use v3-3b"),
        (("--caches", "4x"), "--caches 4x: expected SLOTSxTOKENS, such as 256x1024"),
    ],
)
def test_what_cannot_be_measured_is_one_line(argv, said, capsys):
    assert bench(*argv) == 2
    assert capsys.readouterr().err.strip() == f"error: {said}"
