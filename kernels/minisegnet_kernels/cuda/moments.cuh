// Mean and variance of many values, by many threads: each computes the moments of some values, and these are merged.
#pragma once
#include "common.cuh"

// The moments of some values: their number, their mean, and the sum of their squared deviations from it.
template <typename T>
struct Moments {
    int count;
    T mean, spread;
};

// Chan, Golub & LeVeque (1979): the moments of a union from those of its parts. E[x²] − E[x]² would be
// shorter, and would have no digits left where the mean is large.
template <typename T>
__device__ Moments<T> merged(const Moments<T>& a, const Moments<T>& b) {
    const int count = a.count + b.count;
    if (count == 0) return a;
    const T step = b.mean - a.mean, share = T(b.count) / T(count);
    return {count, a.mean + share * step, a.spread + b.spread + step * step * share * T(a.count)};
}

// Merges what the threads of each channel found, in a tree whose order never changes. The result is in
// the threads that lead; THREADS is the size of the block, a power of two as width is.
template <int THREADS, typename Part>
__device__ Part block_merged(const Part& mine, int width) {
    SHARED(Part, part, [THREADS]);
    part[threadIdx.x] = mine;
    for (int half = THREADS / 2; half >= width; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] = merged(part[threadIdx.x], part[threadIdx.x + half]);
    }
    return part[threadIdx.x];
}
