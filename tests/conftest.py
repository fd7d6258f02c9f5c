"""The machine every test sees: eight CPU devices, unless R1JAX_TEST_GPU=1 asks for the real one."""

from __future__ import annotations

import os

import hypothesis
import pytest

os.environ["TOKENIZERS_PARALLELISM"] = "false"
if os.environ.get("R1JAX_TEST_GPU") != "1":
    os.environ["JAX_PLATFORMS"] = "cpu"
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8".strip()

# Machines are shared: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("r1jax", deadline=None)
hypothesis.settings.load_profile("r1jax")


def pytest_configure(config):
    """Toys are compiled longer than they run, least so without optimisation.

    Slow tests are no toys: where others than those of the default run are asked for, programs are
    compiled as in use. An own XLA_FLAGS=--xla_backend_optimization_level=3 does the same.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    default = config.getoption("markexpr").startswith("not ")
    if default and os.environ.get("R1JAX_TEST_GPU") != "1" and "optimization_level" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_backend_optimization_level=0"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What XLA compiles is kept, and found again by the other files that ask for this fixture."""
    from runs import compiled_once

    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # of all workers
    with compiled_once(place / "compiled"):
        yield


@pytest.fixture(scope="module")
def two_devices():
    """Of reward-model and DPO runs. Eight, on two cores, would mostly wait for one another."""
    from tiny import mesh_of

    from r1jax.stages import reward_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reward_model, "make_mesh", lambda config: mesh_of(data=2))
        yield


@pytest.fixture
def unpainted(monkeypatch):
    """Reports with empty pictures: painting takes a second, and other tests look at them."""
    monkeypatch.setattr("r1jax.report.chart.Chart.png", lambda chart, theme=None: b"")
