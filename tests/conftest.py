"""The machine every test sees: eight CPU devices, unless R1JAX_TEST_GPU=1 asks for the real one."""

from __future__ import annotations

import os

import hypothesis

os.environ["TOKENIZERS_PARALLELISM"] = "false"
if os.environ.get("R1JAX_TEST_GPU") != "1":
    os.environ["JAX_PLATFORMS"] = "cpu"
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8".strip()

# Machines are shared: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("r1jax", deadline=None)
hypothesis.settings.load_profile("r1jax")
