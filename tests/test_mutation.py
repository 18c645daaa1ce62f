"""The checks of the CUDA kernels are checked: every barrier and every bound that is taken away must be missed.

`EXPLAINED` lists what is not missed here, with the reason: nothing changes without it, or only another test reaches it.
"""

import pytest
from mutants import barrier_is_missed, barriers, cases, missed_checks

from minisegnet_kernels import backends, registry

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")]

# (operation, the line of a barrier or the text of a check): why this test does not miss it.
_LOOKED_AT = "the front door looks at it on a CPU; a test of the program alone misses the check"
EXPLAINED: dict[tuple[str, str], str] = {
    ("conv2d", "__syncthreads();  // the memory may be used again by a second sum"): "its kernels add once",
    ("conv2d", "__syncthreads();  // before the next channels take the place of these"): (
        "test_conv2d_cuda.py misses it where there are more channels than a stage holds; few large cases of the table have so many"
    ),
    ("conv2d", "__syncthreads();  // before the next tile takes the place of this one"): (
        "test_conv2d_cuda.py misses it where a slab has several tiles; the cases of the table have as many slabs as tiles"
    ),
    ("pool2d", "__syncthreads();  // the memory may be used again by a second sum"): "its kernels add once",
    ("pool2d", "unsigned(o) < unsigned(U * V)"): f"test_pool2d.py: {_LOOKED_AT}",
    ("pool2d", "cell >= 0"): f"test_pool2d.py: {_LOOKED_AT}",
    ("pool2d", "cell < last.shape[2] * W"): f"test_pool2d.py: {_LOOKED_AT}",
    ("cross_entropy", "target >= 0"): f"test_cross_entropy.py: {_LOOKED_AT}",
    ("cross_entropy", "target < w.shape[0]"): f"test_cross_entropy.py: {_LOOKED_AT}",
}

OPERATIONS = [name for name in registry.OPERATIONS if (registry._ROOT / name / "kernel.cu").exists()]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_barrier_is_needed(operation):
    reached = barriers(operation, cases(operation, 12))
    survivors = [m for m, drawn in reached.items() if not barrier_is_missed(m, drawn)]
    print(f"\n{operation}: {len(reached) - len(survivors)} of {len(reached)} barriers and waits are missed when they are skipped")
    assert sorted({m.text for m in survivors if (operation, m.text) not in EXPLAINED}) == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_check_is_needed(operation):
    everything, survivors = missed_checks(operation, cases(operation, 20))
    assert everything, "no check was found"
    print(f"\n{operation}: {len(everything) - len(survivors)} of {len(everything)} checks are missed when they are taken away")
    unexplained = [str(m) for m in survivors if (operation, m.text) not in EXPLAINED]
    assert unexplained == []


def test_the_list_of_explained_faults_is_not_longer_than_needed():
    texts = {
        name: (registry._ROOT / name / "kernel.cu").read_text() + (registry._ROOT / "cuda" / "common.cuh").read_text()
        for name in OPERATIONS
    }
    stale = [key for key in EXPLAINED if key[1] not in texts.get(key[0], "")]
    assert stale == []
