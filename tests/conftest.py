"""Hypothesis profiles and shared fixtures.

``dev`` (the default) is for the desk, ``ci`` for every change, ``thorough`` for a night:
``HYPOTHESIS_PROFILE=thorough pytest``.
"""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

from minisegnet_kernels import backends

_common = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("dev", max_examples=12, **_common)
settings.register_profile("ci", max_examples=30, derandomize=True, **_common)
settings.register_profile("thorough", max_examples=500, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(autouse=True)
def default_backend():
    """Every test starts with the default backend and leaves it selected; float32 is float32, unless a test asks for TF32."""
    with backends.use(None), backends.allow_tf32(False):
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """``-n auto``: a process takes up to 2 GB, and its kernels have threads of their own."""
    return min(os.cpu_count() or 1, 4)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    """What the mutation tests planted in this run, and what was rejected."""
    if table := getattr(sys.modules.get("mutants"), "score", str)():
        terminalreporter.write_line(f"\n{table}")
