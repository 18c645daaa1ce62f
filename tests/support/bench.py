"""The GPU benchmark in a test: workers in this process, and cases that are small enough for the emulator."""

import json
from contextlib import contextmanager

import pytest

from minisegnet.bench import cases, clock, libraries, rungs, runner, worker
from minisegnet.bench.cases import Case
from minisegnet.bench.ladder import Layer
from minisegnet_kernels import backends
from minisegnet_kernels.conv2d.ladder import allow_tf32, tf32_allowed

STEP = "a small step"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """CuPy's stand-in, workers in this process, and cases small enough for an emulator."""
    monkeypatch.setattr(clock, "FLUSHED", 64)
    monkeypatch.setitem(clock.COPIED, "cuda", 2**12)
    monkeypatch.setitem(clock.MATRIX, "cuda", 16)
    few = {
        "conv": Case(lambda F, x, w: F.conv2d(x, w, padding=1), ((1, 16, 6, 5), (16, 16, 3, 3))),
        "relu": Case(lambda F, x: F.relu(x), ((1, 4, 3, 3),)),
    }
    for module in (cases, worker):
        monkeypatch.setattr(module, "CASES", few)
        monkeypatch.setitem(module.STEPS, STEP, (2, 16))
    layer = Layer(16, 64, 6)
    monkeypatch.setattr(rungs, "CASES", {f"{equation}  small": (layer, equation) for equation in rungs.EQUATIONS})
    monkeypatch.setattr(libraries, "WIDTH", 1 / 32)
    tf32 = tf32_allowed()

    @contextmanager
    def here(name, threads, device):
        """A worker in this process. It sets backend and precision before each request, because the workers share them here."""
        library = libraries.make(name, threads, device)
        prepared = {}

        def ask(request):
            if isinstance(library, libraries.Minisegnet):
                backends.use(library.backend)
                allow_tf32(library.precision == "tf32")
            return json.loads(json.dumps(worker._answer(library, request, prepared)))

        yield ask

    monkeypatch.setattr(runner, "_worker", here)
    yield
    backends.use(None)
    allow_tf32(tf32)
