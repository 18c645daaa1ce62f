"""Threads that wait for work sleep, whatever was imported first, unless the user makes them spin."""

import os
import re
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the states of threads from /proc"),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="on one core OpenMP lets threads sleep by itself"),
]

# Runs one kernel and prints in how many of 20 looks, 10 ms apart, one of the other threads was running.
LOOK = """
import os, time
import numpy as np
from minisegnet_kernels import activation
activation.relu(np.ones((4, 4, 64, 64), np.float32))
me = str(os.getpid())
def running():
    states = [open(f"/proc/self/task/{t}/stat").read().rpartition(")")[2].split()[0] for t in os.listdir("/proc/self/task") if t != me]
    assert states, "the kernel started no thread"
    return "R" in states
seen = []
for _ in range(20):
    time.sleep(0.01)
    seen.append(running())
print(sum(seen))
"""
# PyTorch's OpenMP is set to spin without end, so that a pool which used it by mistake would be noticed.
TORCH_FIRST = """
import os
os.environ["OMP_WAIT_POLICY"] = "active"
import torch
del os.environ["OMP_WAIT_POLICY"]
"""


def fresh(code, **variables):
    """What a new process prints. It does not inherit settings of OpenMP."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    environment |= {"NUMBA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", **variables}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.quick
def test_threads_do_not_spin_before_they_sleep():
    _, said = fresh("from minisegnet_kernels import jit", OMP_DISPLAY_ENV="verbose")
    spins = re.findall(r"GOMP_SPINCOUNT = '(.*)'", said)
    if not spins:
        pytest.skip("Numba's threads are not those of GNU's OpenMP here")
    assert set(spins) == {"0"}


def test_threads_that_wait_sleep_if_pytorch_was_imported_first():
    pytest.importorskip("torch")
    looks, _ = fresh(TORCH_FIRST + LOOK)
    assert int(looks) == 0


def test_a_policy_that_the_user_has_set_stays():
    looks, _ = fresh(LOOK, OMP_WAIT_POLICY="active")
    assert int(looks) >= 10


# --- several threads and forks ----------------------------------------------------------------------

MANY = """
import threading
import numba, numpy as np
from minisegnet_kernels import activation, components
x = np.random.default_rng(0).normal(size=(8, 8, 64, 64)).astype(np.float32)
expected = np.maximum(x, 0)
wrong = []
def work():
    for _ in range(20):
        if not np.array_equal(activation.relu(x), expected):
            wrong.append("relu")
        components.connected_components((x[:, 0] > 0).astype(np.int64))
workers = [threading.Thread(target=work) for _ in range(4)]
[w.start() for w in workers], [w.join() for w in workers]
print(numba.threading_layer(), wrong)
"""


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_several_threads_may_compute_on_every_layer(layer):
    """Two simultaneous calls of Numba's workqueue would end the process, so they take turns."""
    said, _ = fresh(MANY, NUMBA_THREADING_LAYER=layer)
    assert said.split() == [layer, "[]"]


FORK = """
import os
import numba, numpy as np
from minisegnet_kernels import activation, backends
x = np.array([[[[-1.0, 2.0]]]])
activation.relu(x)
assert numba.threading_layer() == "omp"
if (child := os.fork()) == 0:
    try:
        activation.relu(x)
    except RuntimeError as error:
        print(error, flush=True)
    with backends.use("numpy"):
        print(activation.relu(x).tolist(), flush=True)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(activation.relu(x).tolist())
"""


def test_a_forked_process_gets_an_error_that_says_what_to_do():
    """GNU OpenMP would end the child without an exception."""
    said, _ = fresh(FORK, NUMBA_THREADING_LAYER="omp")
    error, child, parent = said.splitlines()
    assert "spawn" in error and 'use("numpy")' in error
    assert child == parent == "[[[[0.0, 2.0]]]]"
