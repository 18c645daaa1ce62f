"""Small CUDA kernels with known results, and copies with a planted bug. They test the emulator and the sanitizers."""

import numpy as np

from minisegnet_kernels import emulator
from minisegnet_kernels.cuda import Module
from minisegnet_kernels.cuda.source import COMMON, parse

KERNELS = """
#include "common.cuh"
__global__ void turned(Array<const float, 1> x, Array<float, 1> y) {
    SHARED(float, tile, [64]);
    int i = thread_number();
    tile[threadIdx.x] = i < x.shape[0] ? x(i) : 0.0f;
    __syncthreads();
    if (i < y.shape[0]) y(i) = tile[63 - threadIdx.x];
}
__global__ void twice(Array<const float, 1> x, Array<float, 1> y) {
    SHARED(float, tile, [64]);
    int i = thread_number();
    float sum = 0;
    for (int round = 0; round < 2; ++round) {
        tile[threadIdx.x] = x(i) + round;
        __syncthreads();
        sum += tile[(threadIdx.x + 1) % 64];
        __syncthreads();  // before the tile is written again
    }
    y(i) = sum;
}
__global__ void block_sums(Array<const float, 1> x, Array<float, 1> y) {
    float sum = block_sum<64>(x(thread_number()));
    if (threadIdx.x == 0) y(blockIdx.x) = sum;
}
__global__ void warp_sums(Array<const float, 1> x, Array<float, 1> y) {
    float sum = x(thread_number());
    for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(0xffffffff, sum, bits);
    y(thread_number()) = sum;
}
__global__ void handed_on(Array<const float, 1> x, Array<float, 1> y) {
    SHARED(float, tile, [64]);
    tile[threadIdx.x] = x(thread_number());
    __syncwarp();
    y(thread_number()) = tile[threadIdx.x ^ 1];
}
"""
X = np.arange(128, dtype=np.float32)
EXPECTED = {
    "turned": X.reshape(2, 64)[:, ::-1].reshape(-1),
    "twice": 2 * np.roll(X.reshape(2, 64), -1, axis=1).reshape(-1) + 1,
    "block_sums": X.reshape(2, 64).sum(1),
    "warp_sums": np.repeat(X.reshape(4, 32).sum(1), 32),
    "handed_on": X.reshape(64, 2)[:, ::-1].reshape(-1),
}


def run(kernel, text=KERNELS, size=128, **options):
    """Two blocks of 64 threads over the first elements of X."""
    path = COMMON.parent / "planted.cu"
    module = Module(path)
    module.__dict__["source"] = parse(path, text)
    x, y = X[:size].copy(), np.full(2 if kernel == "block_sums" else size, np.nan, np.float32)
    with emulator.options(**options):
        module.launch(kernel, (2,), (64,), x, y)
    return y


def planted(old, new):
    assert KERNELS.count(old) == 1
    return KERNELS.replace(old, new)


NO_BARRIER = planted("    __syncthreads();\n    if", "    if")
NO_SECOND_BARRIER = planted("        __syncthreads();  // before", "        // before")
