"""The null GPU itself: what it computes, what it refuses, what it records."""

import numpy as np
import pytest

RNG = np.random.default_rng(0)
A = RNG.standard_normal((37, 50)).astype(np.float32)
COMPUTED = {
    "ufunc": lambda m, a: m.exp(a + 1) * 2,
    "sum of columns": lambda m, a: a.sum(0),
    "sum of all": lambda m, a: a.sum(),
    "mean": lambda m, a: a.mean(1),
    "max": lambda m, a: a.max(),
    "argmax": lambda m, a: a.argmax(1),
    "where": lambda m, a: m.where(a > 0, a, 0),
    "float64": lambda m, a: a.astype("float64") / 3,
    "concatenate": lambda m, a: m.concatenate([a, a[:, ::2]], 1),
    "cumsum": lambda m, a: m.cumsum(a, 1),
    "mask": lambda m, a: a[a > 0],
    "take": lambda m, a: a[m.asarray([3, 1])],
    "take along an axis": lambda m, a: m.take_along_axis(a, a.argmax(1)[:, None], 1),
    "matrix product": lambda m, a: a @ a.T,
    "transpose": lambda m, a: a.T.copy(),
    "fill": lambda m, a: m.full(3, 7.0),
}


@pytest.mark.parametrize("what", COMPUTED)
def test_what_cupy_computes_with_its_own_kernels_is_right(gpu, what):
    import cupy

    found = COMPUTED[what](cupy, cupy.asarray(A))
    expected = COMPUTED[what](np, A)
    assert found.dtype == expected.dtype and gpu.log
    np.testing.assert_allclose(found.get(), expected, rtol=2e-5, atol=1e-5)


def test_fresh_memory_and_what_is_handed_out_again_holds_no_old_values(gpu):
    import cupy

    assert np.isnan(cupy.empty(1000, "float32").get()).all() and (cupy.empty(3, "int32").get() == -1).all()
    ones = cupy.ones(1000, "float32")
    address = ones.data.ptr
    del ones
    again = cupy.empty(1000, "float32")
    assert again.data.ptr == address and np.isnan(again.get()).all()


def test_kernels_that_are_compiled_into_cupy_are_refused_and_not_passed_over(gpu):
    import cupy

    with pytest.raises(RuntimeError, match="failed inside CUB"):
        cupy.sort(cupy.asarray(A))


def test_copies_have_a_direction_and_waits_are_seen(gpu):
    import cupy

    a = cupy.asarray(A)
    assert [c.name for c in gpu.log if c.kind == "copy"] == ["host to device"] and gpu.log[-1].bytes == A.nbytes
    gpu.log.clear()
    b = a + a
    assert [c.kind for c in gpu.log] == ["launch"] and not gpu.waits()
    b.get()
    assert [c.name for c in gpu.log if c.kind == "copy"] == ["device to host"] and gpu.waits()
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="not memory of a device"):
        cupy.cuda.runtime.memcpy(A.ctypes.data, a.data.ptr, 4, 1)


LIMITS = {
    "threads": ((1,), (1025,), 0, "1024 threads"),
    "depth": ((1,), (1, 1, 65), 0, "64 in z"),
    "rows of blocks": ((1, 65536), (1,), 0, "65535"),
    "shared memory": ((1,), (1,), 49153, "48 KiB"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_launches_beyond_a_limit_are_refused(gpu, limit):
    import cupy

    grid, block, shared, said = LIMITS[limit]
    kernel = cupy.RawKernel('extern "C" __global__ void nothing(float* a) { a[0] = 1; }', "nothing")
    a = cupy.zeros(1, "float32")
    kernel((1,), (1,), (a,))
    assert a.get()[0] == 1
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match=said):
        kernel(grid, block, (a,), shared_mem=shared)


def test_registers_and_shared_memory_are_the_compilers(gpu):
    import cupy

    kernel = cupy.RawKernel(
        'extern "C" __global__ void shares(float* a) { __shared__ float s[100]; s[threadIdx.x] = a[threadIdx.x];'
        " __syncthreads(); a[threadIdx.x] = s[99 - threadIdx.x]; }",
        "shares",
    )
    a = cupy.arange(100, dtype="float32")
    kernel((1,), (100,), (a,))
    np.testing.assert_array_equal(a.get(), np.arange(100)[::-1])
    assert kernel.shared_size_bytes == 400 and 0 < kernel.num_regs < 32


def test_a_capture_does_nothing_until_it_is_replayed(gpu):
    import cupy

    a, stream = cupy.zeros(4, "float32"), cupy.cuda.Stream(non_blocking=True)
    with stream:
        a += 1  # compiled before
        stream.begin_capture()
        a += 1
        graph = stream.end_capture()
        assert a.get()[0] == 1
        for _ in range(3):
            graph.launch(stream)
        assert a.get()[0] == 4
    assert [c.captured for c in gpu.launches()[-2:]] == [False, True] and sum(c.kind == "replay" for c in gpu.log) == 3


def test_a_wait_spoils_a_capture(gpu):
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="while a stream is captured"):
            cupy.cuda.Device().synchronize()
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="cannot be captured"):
            stream.end_capture()


@pytest.mark.nullgpu(capability=75, count=2)
def test_another_gpu_and_two_of_them(gpu):
    import cupy

    assert cupy.cuda.runtime.getDeviceCount() == 2 and cupy.cuda.Device(1).compute_capability == "75"
    with cupy.cuda.Device(1):
        b = cupy.zeros(3)
    assert gpu.memory_at(b.data.ptr).device == 1 and gpu.log[-1].device == 1
    code = 'extern "C" __global__ void f(unsigned a, void* p) { asm("cp.async.ca.shared.global [%0], [%1], 4;" :: "r"(a), "l"(p)); }'
    kernel = cupy.RawKernel(code, "f")
    with pytest.raises(cupy.cuda.compiler.CompileException, match="sm_80"):
        kernel.compile()
