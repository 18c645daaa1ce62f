// What the rungs on the tensor cores share.
#pragma once

__device__ inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

// max(0, a), and a NaN stays one.
__device__ inline float relu(float a) { return a < 0 ? 0.0f : a; }

// Row m of the matrix of pixels: m = (n P + i) Q + j.
struct Pixel {
    int n, i, j;
};

__device__ inline Pixel pixel_of(int m, int P, int Q) { return {m / (P * Q), m / Q % P, m % Q}; }
