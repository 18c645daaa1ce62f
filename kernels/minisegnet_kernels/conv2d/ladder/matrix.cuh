// The convolution as a matrix product (GEMM): what the rungs from 3 on share. For one group of channels:
//
//     y[m, o] = Σ_q  x[m, q] w[o, q]        m = (n, i, j) a pixel of y,  q = (u, v, c) a term of the sum
//
// x[m, q] = x[n, c, i s_h + u d_h − p_h, j s_w + v d_w − p_w], and 0 outside. "im2col" writes this matrix to memory, where it is
// U V times as large as x. Here it is never written: `pixel_of` and `term_of` say which element of x stands at (m, q).
//
// The field calls the tile of a block BM × BN × BK: BM pixels, BN outputs, BK terms a step. In these files they are PIXELS,
// OUTPUTS, and SLICE or DEPTH; the TM × TN results of one thread are EIGHT × EIGHT.
#pragma once
#include "../../cuda/common.cuh"

struct Pixel {
    int n, i, j;
};

// m = (n P + i) Q + j
__device__ inline Pixel pixel_of(int m, int P, int Q) { return {m / (P * Q), m / Q % P, m % Q}; }

struct Term {
    int c, u, v;
};

// q = (u V + v) C + c: neighbouring terms are neighbouring channels.
__device__ inline Term term_of(int q, int C, int V) { return {q % C, q / C / V, q / C % V}; }

// Four floats at a multiple of 16 bytes, which one instruction reads or writes.
__device__ inline float4& four(float* a) { return *reinterpret_cast<float4*>(a); }
__device__ inline float4 four(const float* a) { return *reinterpret_cast<const float4*>(a); }

// The compute capability that this is compiled for, times 100: 750 is a T4, 890 an RTX 4090. 0 in the emulator.
#ifdef __CUDA_ARCH__
static constexpr int ARCHITECTURE = __CUDA_ARCH__;
#else
static constexpr int ARCHITECTURE = 0;
#endif
