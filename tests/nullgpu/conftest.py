"""Tests with the real CuPy and the real numba-cuda on the null GPU (`support.nullgpu`), each in a process with such a GPU.

``@pytest.mark.nullgpu(capability=75, count=2)`` chooses another GPU, or several; tests of one GPU share a process.
"""

import os
from pathlib import Path

import pytest
from support import nullgpu
from support.nullgpu.process import VARIABLE, Process, serve

FOLDER = Path(__file__).parent
#: The null GPU, in the process that has one.
GPU = nullgpu.install(*map(int, os.environ[VARIABLE].split(",")[:2])) if VARIABLE in os.environ else None


def pytest_collection_modifyitems(items):
    for item in items:
        if FOLDER in item.path.parents and item.get_closest_marker("nullgpu") is None:
            item.add_marker(pytest.mark.nullgpu)


@pytest.fixture
def gpu():
    """The null GPU, with an empty log."""
    GPU.log.clear()
    return GPU


if GPU is not None:

    @pytest.fixture(autouse=True)
    def no_empty_shape(monkeypatch):
        """CuPy reads ``shape=()`` as "no shape given" and silently makes an array of another shape."""
        import cupy

        def checked(make):
            def call(*arguments, **options):
                assert options.get("shape") != (), "CuPy would take the shape of the other array"
                return make(*arguments, **options)

            return call

        for name in ("empty_like", "zeros_like", "ones_like", "full_like"):
            monkeypatch.setattr(cupy, name, checked(getattr(cupy, name)))

    def pytest_runtestloop(session):
        serve(session)
        return True

else:
    _processes: dict = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item, nextitem):
        if FOLDER not in item.path.parents:  # a hook of this folder sees the tests of others, too
            return None
        if reason := nullgpu.missing():
            item.add_marker(pytest.mark.skip(reason=reason))
            return None
        key = _which(item)
        if key not in _processes or _processes[key].ended:
            _processes[key] = Process(item.config, str(FOLDER), *key)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        try:
            reports = _processes[key].run(
                item, nextitem if nextitem and FOLDER in nextitem.path.parents and _which(nextitem) == key else None
            )
        except RuntimeError as ended:
            reports = [pytest.TestReport(item.nodeid, item.location, {}, "failed", str(ended), "call")]
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _which(item):
        marker = item.get_closest_marker("nullgpu")
        return marker.kwargs.get("capability", 90), marker.kwargs.get("count", 1)

    def pytest_sessionfinish():
        for process in _processes.values():
            process.close()
