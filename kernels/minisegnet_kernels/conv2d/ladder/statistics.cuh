// The statistics of y that batch normalisation needs, computed from the sums while they are still in registers: the moments (mean
// and sum of squared deviations) of each channel over the pixels of a block, or in rung 7 of a warp: a *slab*. This saves a
// pass that would read all of y again: 4 of the 16 bytes a value that a convolution with batch normalisation otherwise moves.
// The slabs take 16 bytes for 64 or 128 values.
//
//    y     o ─▶                      a thread: 8 pixels of a channel; their mean first, then the squared deviations from it
//    m  ┌───────────┐                a slab:   the threads of a column merge their moments, always in the same order
//    │  │ ▒  slab 0 │ 64 or 128      all:      conv2d_forward_statistics__merge, in kernel.cu
//    ▼  ├───────────┤ pixels
//       │ ▒  slab 1 │
#pragma once
#include "../../cuda/moments.cuh"

constexpr int VALUES = 8;  // pixels of a thread in each of its channels

// The last argument of `multiply`: either only y is written, ...
struct NoStatistics {
    static constexpr bool WANTED = false;
};

// ... or also means(o, slab), and spreads(o, slab), the sums of squared deviations from them.
struct Slabs {
    static constexpr bool WANTED = true;
    Array<const float, 1> b;
    Array<float, 2> means, spreads;

    // Takes the moments of the sums without the bias: the bias shifts a mean and leaves deviations alone.
    __device__ void keep(int o, int slab, const Moments<float>& all) const { means(o, slab) = b(o) + all.mean, spreads(o, slab) = all.spread; }
};

// How many of a thread's pixels `first`, first + step, ... are below M. A warp with none gets 0 or less, and keeps nothing.
__device__ inline int number_of(int first, int step, int M) { return min((M - first + step - 1) / step, VALUES); }

// The moments of the first `count` values.
__device__ inline Moments<float> moments(const float (&value)[VALUES], int count) {
    float mean = 0, spread = 0;
#pragma unroll
    for (int r = 0; r < VALUES; ++r) mean += r < count ? value[r] : 0.0f;
    mean /= float(max(count, 1));
#pragma unroll
    for (int r = 0; r < VALUES; ++r) {
        const float deviation = r < count ? value[r] - mean : 0.0f;
        spread += deviation * deviation;
    }
    return {count, mean, spread};
}

// Rung 5: a slab is a block's pixels. `sum[r][s]` is pixel m0 + down + r·DOWN and output o0 + across + s·ACROSS of this thread.
// `partial` has a place for each of the block's outputs in each row of threads.
template <int OUTPUTS, int DOWN>
__device__ void keep_of_block(const Slabs& slabs, float2* partial, const float (&sum)[VALUES][VALUES], int m0, int M, int o0, int outputs) {
    constexpr int ACROSS = OUTPUTS / VALUES;
    const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
    __syncthreads();  // `partial` overwrites the cells: no thread reads them any more
#pragma unroll
    for (int s = 0; s < VALUES; ++s) {
        float value[VALUES];
#pragma unroll
        for (int r = 0; r < VALUES; ++r) value[r] = sum[r][s];
        const Moments<float> some = moments(value, number_of(m0 + down, DOWN, M));
        partial[down * OUTPUTS + across + s * ACROSS] = make_float2(some.mean, some.spread);
    }
    __syncthreads();
    const int o = threadIdx.x;
    if (o >= outputs) return;
    Moments<float> all = {0, 0, 0};
    for (int row = 0; row < DOWN; ++row) {
        const float2 some = partial[row * OUTPUTS + o];
        all = merged(all, Moments<float>{number_of(m0 + row, DOWN, M), some.x, some.y});
    }
    slabs.keep(o0 + o, m0 / (DOWN * VALUES), all);
}

__device__ inline Moments<float> from_lane(const Moments<float>& mine, int bits) {
    constexpr unsigned ALL = 0xffffffff;
    return {__shfl_xor_sync(ALL, mine.count, bits), __shfl_xor_sync(ALL, mine.mean, bits), __shfl_xor_sync(ALL, mine.spread, bits)};
}

// Rung 7: a slab is a warp's 64 pixels. This keeps one column of its results: `value` is this lane's pixels m, m + 8, ..., and the
// eight lanes with the same `member` (mma.cuh) hold the pixels between them. They exchange moments by shuffles, without a barrier.
__device__ inline void keep_of_warp(const Slabs& slabs, const float (&value)[VALUES], int m, int M, int o) {
    Moments<float> all = moments(value, number_of(m, 8, M));
    for (int bits = 4; bits < 32; bits *= 2) all = merged(all, from_lane(all, bits));
    const bool leads = threadIdx.x % 32 / 4 == 0;
    if (leads && o < slabs.means.shape[0] && m < M) slabs.keep(o, m / 64, all);
}
