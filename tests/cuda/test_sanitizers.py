"""The compilers' sanitizers over recorded launches: nothing to report for the library's kernels, and every planted bug is found."""

import math

import pytest
from support.mutants import cases, modules
from support.planted import KERNELS, NO_BARRIER, planted
from support.planted import run as run_planted
from support.targets import EMULATED

from minisegnet_kernels import backends, emulator, registry
from minisegnet_kernels.cuda.source import COMMON, parse
from minisegnet_kernels.emulator.replay import replay

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")
each_sanitizer = pytest.mark.parametrize("sanitizer", ["address", "thread"])


def report(text, kernel, sanitizer, size=128):
    path = COMMON.parent / "planted.cu"
    with emulator.recording(run=False) as launches:
        run_planted(kernel, text, size)
    return replay(parse(path, text), launches, sanitizer)


@each_sanitizer
@pytest.mark.parametrize("kernel", ["turned", "twice", "block_sums", "warp_sums", "handed_on"])
def test_correct_kernels_give_no_report(kernel, sanitizer):
    assert report(KERNELS, kernel, sanitizer) == ""


@pytest.mark.parametrize(
    ("kernel", "text", "sanitizer", "expected"),
    [
        ("turned", NO_BARRIER, "thread", "data race"),
        ("handed_on", planted("    __syncwarp();\n", ""), "thread", "data race"),
        ("block_sums", planted("y(blockIdx.x) = sum", "y(0) = sum"), "thread", "data race"),
        ("turned", planted("i < x.shape[0] ? x(i) : 0.0f", "x(i)"), "address", "heap-buffer-overflow"),
        (
            "turned",
            planted("int i = thread_number();\n    tile", "int i = thread_number() + 2147483647;\n    tile"),
            "address",
            "signed integer overflow",
        ),
    ],
    ids=["missing barrier", "missing warp barrier", "race between blocks", "out of bounds", "signed overflow"],
)
def test_planted_bugs_are_found(kernel, text, sanitizer, expected):
    assert expected in report(text, kernel, sanitizer, size=120 if "heap" in expected else 128)


@pytest.mark.slow
@each_sanitizer
@pytest.mark.parametrize("operation", registry.OPERATIONS)
def test_every_kernel_is_clean(operation, sanitizer):
    """One tiny case of every equation for ThreadSanitizer, which is slow; a dozen for AddressSanitizer."""
    with emulator.recording() as launches:
        for row, case in cases(operation, 1 if sanitizer == "thread" else 12):
            if sanitizer == "address" or sum(a.size for a in case.arrays.values() if hasattr(a, "size")) < 3000:
                EMULATED.run(row, case.cast("float32"))
    if sanitizer == "thread":  # it keeps memory for every thread that has existed, and has room for about 8000
        launches = [launch for launch in launches if math.prod(launch.grid) * math.prod(launch.block) <= 4096]
    assert launches
    for module in modules(operation):
        assert replay(module.source, launches, sanitizer) == ""
