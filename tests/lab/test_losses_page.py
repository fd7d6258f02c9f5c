"""docs/losses.md is what the code gives today."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.pages.losses import RATIO, SPOTLIGHTS, Config, evaluate, main
from experiments.pages.losses_text import CHOICES, PROJECTS
from r1jax.losses import GRPO, PRESETS

COMMITTED = Path(__file__).parents[2] / "docs" / "losses.md"


@pytest.mark.slow
def test_committed_page_is_the_generated_one(tmp_path):
    main(Config(str(tmp_path / "page.md")))
    written = (tmp_path / "page.md").read_text(encoding="utf-8")
    right = "run python -m experiments.pages.losses"
    assert written == COMMITTED.read_text(encoding="utf-8"), right


def test_page_shows_every_preset_and_every_choice():
    shown = {row.name for row in PROJECTS}
    assert shown == {f"`{name}`" for name in PRESETS if name != "demo"}
    configs = [row.config for rows in [PROJECTS, *CHOICES.values()] for row in rows]
    for name, field in GRPO.__dataclass_fields__.items():
        values = {getattr(config, name) for config in configs}
        assert len(values) > 1, f"no row changes {name} from {field.default}"


def test_spotlight_is_where_the_page_says():
    assert [RATIO[i][t] for i, t in SPOTLIGHTS] == [1.25, 4.0]
    inside, outside = (evaluate(PRESETS[name])[1][SPOTLIGHTS[0]] for name in ("dapo", "verl"))
    # dapo: −A · ρ / 17 tokens, A = ⅓ / √⅓.
    np.testing.assert_allclose(inside, -(1 / 3) / np.sqrt(1 / 3) * 1.25 / 17, rtol=1e-5)
    assert outside == 0.0
