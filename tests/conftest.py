"""The machine every test sees: eight CPU devices, unless R1JAX_TEST_GPU=1 asks for the real one."""

from __future__ import annotations

import gc
import os

import hypothesis
import pytest
from compiling import quick_flags

os.environ["TOKENIZERS_PARALLELISM"] = "false"
if os.environ.get("R1JAX_TEST_GPU") != "1":
    os.environ["JAX_PLATFORMS"] = "cpu"
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8".strip()

OPTIMISED = (
    "models/test_models.py",
    "models/test_sharding.py",
    "rollout/test_rollout.py",
    "rollout/test_rollout_long.py",
    "rollout/test_sampling.py",
    "training/test_update.py",
)
"""Where rollout and update are tested: .ci/run does it again with optimised programs."""

LAWS = ("data/", "lab/", "losses/", "models/", "rollout/", "search/", "training/")
"""Where slow tests are toys, and mostly compiled; elsewhere whole runs, optimised as in use."""

LONGEST = (
    "stages/test_pipeline.py",
    "stages/test_pipeline_stages.py",
    "lab/test_notebooks.py",
    "stages/test_presets.py",
    "models/test_sharding.py",
    "stages/test_reproductions.py",
    "stages/test_reward_model.py",
)
"""Files whose slow tests take minutes: begun last, they would keep one worker alone."""

FOLDERS = (
    *("models", "training", "stages", "rollout", "rewards", "run"),
    *("losses", "endpoint", "lab", "report", "data", "evaluate"),
)
"""After them, those with the longest files first: what is begun last is short, on both workers."""

KEPT_BYTES = 2**30  # of compiled programs; a default run leaves less than a tenth of it

# Machines are shared: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("r1jax", deadline=None)
hypothesis.settings.load_profile("r1jax")


def pytest_configure(config):
    """How programs are compiled and where they are kept; in which order files are begun."""
    config.option.loadscopereorder = False  # xdist begins with the files of many tests otherwise
    if os.environ.get("R1JAX_TEST_GPU") == "1":
        return
    compile_quickly(config.getoption("markexpr"))
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        keep_programs(config.rootpath / ".pytest_cache" / "compiled")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Marks what is optimised, before any test is chosen by its marks; what is long comes first."""
    tests = config.rootpath / "tests"
    once_more, laws = (tuple(str(tests / p) for p in places) for places in (OPTIMISED, LAWS))
    first = {tests / place: i for i, place in enumerate(LONGEST)}
    for item in items:
        slow = item.get_closest_marker("slow") or item.get_closest_marker("lab")
        if not str(item.path).startswith(laws) if slow else str(item.path).startswith(once_more):
            item.add_marker("optimised")
    places = {name: i for i, name in enumerate(FOLDERS)}
    items.sort(
        key=lambda item: (first.get(item.path, len(first)), places.get(item.path.parent.name, -1))
    )


def pytest_collection_finish():
    """What collecting left stays: the collector of garbage need not walk it again and again.

    Nor young objects so often: tracing makes many that stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def compile_quickly(marks):
    """Toys are compiled longer than they run, least so without optimisation.

    Whole runs are no toys: where tests are asked for by what they are, not by what they are not,
    programs are compiled as in use. XLA_FLAGS=--xla_backend_optimization_level=3 does the same.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if marks.startswith("not ") and "optimization_level" not in flags:
        os.environ["XLA_FLAGS"] = " ".join([flags, *quick_flags()])


def keep_programs(place):
    """What one test compiles is found by all later ones, of all workers and of later sessions.

    The key is JAX's: the program, its options, the flags, and the versions of JAX and jaxlib. What
    has not been read for longest goes once there is more than `KEPT_BYTES`. Remove the directory
    for a cold start.
    """
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(place)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    if "PYTEST_XDIST_WORKER" in os.environ or not place.exists():
        return
    files = {path: path.stat() for path in place.iterdir()}
    excess = sum(stat.st_size for stat in files.values()) - KEPT_BYTES
    for path, stat in sorted(files.items(), key=lambda item: item[1].st_atime):
        if excess <= 0:
            break
        path.unlink()
        excess -= stat.st_size


@pytest.fixture(scope="module", autouse=True)
def few_devices(request):
    """A run takes all devices: one here, or as many as the file's `devices` mark says.

    Eight, on two cores, mostly wait for one another. Tests of sharding name their own mesh.
    """
    from tiny import only

    mark = request.node.get_closest_marker("devices")
    with only(mark.args[0] if mark else 1):
        yield


@pytest.fixture
def traced_anew():
    """For tests that replace what programs are traced from: they find none, and leave none.

    Called, it forgets what the test itself has traced so far.
    """
    from r1jax.rollout.programs import programs
    from r1jax.training.update import make_functions, make_sums, sharp_logp, token_logp

    def forget():
        for made in (programs, make_functions, make_sums, token_logp, sharp_logp):
            made.cache_clear()

    forget()
    yield forget
    forget()


@pytest.fixture(scope="module", autouse=True)
def pictures(request):
    """Reports have empty pictures, which take long: only files marked `painted` look at them."""
    if request.node.get_closest_marker("painted"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("r1jax.report.chart.Chart.png", lambda chart, theme=None: b"")
        yield
