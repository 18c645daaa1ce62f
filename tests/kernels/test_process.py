"""Memory that arrays have freed serves the next arrays, unless the user has said how much the C library keeps."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")

# Page faults of ten results of 24 MB, each of which is freed before the next.
FAULTS = """
import resource
import numpy as np
from minisegnet_kernels import activation
x = np.ones((1, 24, 512, 512), np.float32)
activation.relu(x)
activation.relu(x)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    activation.relu(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", FAULTS], env=environment | variables, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_the_pages_of_freed_arrays_serve_the_next_ones():
    assert faults() < 100


@pytest.mark.parametrize(
    "variables", [{"MALLOC_TRIM_THRESHOLD_": "65536"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=65536"}], ids=" ".join
)
def test_what_the_user_has_set_stays(variables):
    """Each result is given back then. With pages of 2 MiB there is a fault for each of them."""
    assert faults(**variables) >= 10 * 24 * 512 * 512 * 4 // (2 << 20)
