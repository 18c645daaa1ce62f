"""What stands between an array and a launch: grids, offsets, devices, streams, the GPU's compute capability."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minisegnet as ms
from minisegnet.functional import conv2d
from minisegnet_kernels import activation, backends, pool2d
from minisegnet_kernels.conv2d.ladder import allow_tf32
from minisegnet_kernels.cuda.gpu import function
from minisegnet_kernels.cuda.source import parse, read
from minisegnet_kernels.layout import channels_last


def test_without_channels_nothing_is_launched(gpu):
    """A grid of no blocks would become one block in CuPy, which would write to memory that does not exist."""
    import cupy

    g = cupy.zeros((2, 0, 3, 3), "float32")
    gpu.log.clear()
    with backends.use("cuda"):
        assert pool2d.grad_bias(g).shape == (0,)
    assert not gpu.launches()


def test_offsets_are_counted_and_not_elements(gpu):
    """Four elements that lie 2³¹ elements apart from each other cannot be addressed with 32 bits."""
    import cupy

    few = cupy.zeros(1, "float32")
    far = cupy.ndarray((1, 1, 2, 2), "float32", memptr=few.data, strides=(0, 0, 4 * 2**31, 4))
    gpu.log.clear()
    with backends.use("cuda"), pytest.raises(ValueError, match=r"spans 2147483650 elements of memory; kernels count up to 2147483647"):
        pool2d.average(far, kernel_size=(1, 1))
    assert not gpu.launches()


@pytest.mark.nullgpu(count=2)
def test_an_array_on_another_gpu_is_named_before_the_launch(gpu):
    import cupy

    with cupy.cuda.Device(1):
        x = cupy.ones(3, "float32")
        assert activation.relu(x).get().tolist() == [1, 1, 1]
    gpu.log.clear()
    with pytest.raises(ValueError, match=r"an array of shape \(3,\) is on GPU 1 and the current GPU is 0"):
        activation.relu(x)
    assert not gpu.launches()


def test_what_is_compiled_is_the_text_that_was_parsed_and_not_the_file_of_its_name(gpu, monkeypatch):
    import cupy

    class Module:
        def __init__(self, code, **options):
            self.code = code

        def get_function(self, expression):
            return self.code

    monkeypatch.setattr(cupy, "RawModule", Module)
    source = read(Path(activation.__file__).parent / "kernel.cu")
    changed = parse(source.path, source.text + "// changed")
    assert [function(s, "f") for s in (source, changed, source)] == [source.whole(), changed.whole(), source.whole()]


@pytest.mark.parametrize("backend", ["cuda", "numba_cuda"])
def test_kernels_keep_their_place_in_cupys_stream(gpu, backend):
    import cupy

    x, stream = cupy.ones(3, "float32"), cupy.cuda.Stream(non_blocking=True)
    activation.relu(x)
    with stream, backends.use(backend):
        gpu.log.clear()
        activation.relu(x)
    (launch,) = gpu.launches()
    assert launch.stream == stream.ptr and not gpu.waits()


def test_numba_cuda_runs_with_a_numpy_that_has_no_row_stack():
    """NumPy 2.5 has removed `row_stack`. It does not support this Python version, so the test removes the name instead."""
    code = """
import numpy as np
np.__dict__.pop("row_stack", None)
from support import nullgpu
gpu = nullgpu.install()
import cupy
from minisegnet_kernels import activation, backends
with backends.use("numba_cuda"):
    activation.relu(cupy.ones(3, "float32"))
print([c.name for c in gpu.launches()])
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MINISEGNET_NULLGPU")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "relu" in done.stdout, done.stderr


@pytest.mark.nullgpu(capability=75)
@pytest.mark.parametrize("last", [False, True], ids=["rows first", "channels last"])
def test_a_t4_convolves_without_tensor_cores_and_asynchronous_copies(gpu, last):
    """TF32 is allowed, as by default, but the rule knows that this GPU does not have it."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 32, 9, 9)).astype(np.float32), rng.normal(size=(32, 32, 3, 3)).astype(np.float32)
    found, expected = [], []
    for device, results in (("cuda", found), ("cpu", expected)):
        inputs = [ms.tensor(a, requires_grad=True) for a in (x, w)]
        on_device = [t.to(device) for t in inputs]
        if last and device == "cuda":
            on_device[0] = on_device[0].to(memory_format="channels_last")
        with allow_tf32(True):
            y = conv2d(*on_device, padding=1)
            (y * y).sum().backward()
        results += [y.detach().cpu().numpy(), *(t.grad.cpu().numpy() for t in inputs)]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)
    names = {call.name.partition("<")[0] for call in gpu.launches() if call.name.startswith("conv2d")}
    assert names and not any("tf32" in name or "asynchronous" in name for name in names), names


@pytest.mark.parametrize("layout", [lambda a: a, channels_last, lambda a: a[:, :, ::2]], ids=["rows first", "channels last", "gaps"])
def test_to_device_keeps_the_layout(layout):
    from support.targets import Target

    from minisegnet_kernels.layout import is_channels_last

    host = layout(np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5))
    device = Target("cuda", "cuda").to_device(host)
    assert is_channels_last(device) == is_channels_last(host)
    np.testing.assert_array_equal(device.get(), host)
