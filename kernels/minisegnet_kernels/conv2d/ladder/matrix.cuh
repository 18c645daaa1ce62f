// The convolution as a matrix product, which the rungs from 3 on share. For one group of channels:
//
//     y[m, o] = Σ_q  x[m, q] w[o, q]        m = (n, i, j) a pixel,  q = (u, v, c) a term of the sum
//
// x[m, q] = x[n, c, i s_h + u d_h − p_h, j s_w + v d_w − p_w], and 0 outside, is the matrix that "im2col" writes down;
// U V times as large as x. Here it is never written: `pixel` and `term` say where its elements lie.
#pragma once
#include "../../cuda/common.cuh"

__device__ inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

// max(0, a), and a NaN stays one.
template <typename T>
__device__ T relu(T a) { return a < 0 ? T(0) : a; }

struct Pixel {
    int n, i, j;
};

// m = (n P + i) Q + j
__device__ inline Pixel pixel(int m, int P, int Q) { return {m / (P * Q), m / Q % P, m % Q}; }

struct Term {
    int c, u, v;
};

// q = (u V + v) C + c: neighbouring terms are neighbouring channels.
__device__ inline Term term(int q, int C, int V) { return {q % C, q / C / V, q / C % V}; }
