// What every kernel of the library uses. Each kernel.cu includes it. NVRTC compiles it for a GPU, and the host's C++ compiler for
// the emulator, which defines its own __syncthreads and the other CUDA built-ins.
#pragma once

// Shared memory. In the emulator each block gets fresh memory, full of NaN.
//     SHARED(float, tile, [18][18]);      static
//     DYNAMIC_SHARED(float, buffer);      its size is given at the launch
#ifndef EMULATOR
#define SHARED(type, name, extent) __shared__ __align__(16) type name extent
#define DYNAMIC_SHARED(type, name)                                    \
    extern __shared__ __align__(16) unsigned char dynamic_shared__[]; \
    type* const name = reinterpret_cast<type*>(dynamic_shared__)
#endif

// An array as in the equations: x(n, c, k, l). Strides count elements, so every layout (rows first, channels last, a slice) is read in place.
template <typename T, int RANK>
struct Array {
    T* data;
    int shape[RANK];
    int stride[RANK];

    __device__ T& operator()(int a) const { return data[a * stride[0]]; }
    __device__ T& operator()(int a, int b) const { return data[a * stride[0] + b * stride[1]]; }
    __device__ T& operator()(int a, int b, int c) const { return data[a * stride[0] + b * stride[1] + c * stride[2]]; }
    __device__ T& operator()(int a, int b, int c, int d) const {
        return data[a * stride[0] + b * stride[1] + c * stride[2] + d * stride[3]];
    }
};

// The number of this thread among all threads of a one-dimensional launch.
__device__ inline int thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }

// Which element belongs to a thread. Neighbouring threads get neighbours in memory (coalescing), so
// the order in which the axes are counted is that of the array's own layout.
struct Place {
    int n, c, i, j;
};

template <typename T>
__device__ int count(const Array<T, 4>& a) { return a.shape[0] * a.shape[1] * a.shape[2] * a.shape[3]; }

template <typename T>
__device__ Place place(const Array<T, 4>& a, int number) {
    Place p;
    if (a.stride[1] == 1 && a.shape[1] > 1) {  // channels last: n i j c
        p.c = number % a.shape[1], number /= a.shape[1];
        p.j = number % a.shape[3], number /= a.shape[3];
        p.i = number % a.shape[2], p.n = number / a.shape[2];
    } else {  // n c i j
        p.j = number % a.shape[3], number /= a.shape[3];
        p.i = number % a.shape[2], number /= a.shape[2];
        p.c = number % a.shape[1], p.n = number / a.shape[1];
    }
    return p;
}

// The same for a map (N, H, W), which has no channels.
template <typename T>
__device__ int count(const Array<T, 3>& a) { return a.shape[0] * a.shape[1] * a.shape[2]; }

template <typename T>
__device__ Place place(const Array<T, 3>& a, int number) {
    Place p;
    p.c = 0;
    p.j = number % a.shape[2], number /= a.shape[2];
    p.i = number % a.shape[1], p.n = number / a.shape[1];
    return p;
}

// Where a window stands: stride, padding above and at the left, dilation; rows, then columns.
struct Window {
    int sh, sw, ph, pw, dh, dw;
};

// Whether some output row i has its tap u on row k: i s + u d − p = k with 0 ≤ i < outputs. There is at most one such i. Gradients
// gather with it.
__device__ inline bool meets(int k, int u, int stride, int padding, int dilation, int outputs, int& i) {
    int t = k + padding - u * dilation;
    i = t / stride;
    return t >= 0 && t % stride == 0 && i < outputs;
}

template <typename T>
__device__ bool is_nan(T value) { return value != value; }

// max(0, a); the ReLU of a NaN is NaN.
template <typename T>
__device__ T relu(T a) { return a < 0 ? T(0) : a; }

// ⌈a / b⌉ for a ≥ 0, b > 0.
__device__ inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Σ over the threads of a block, in an order that never changes: a tree over the thread numbers.
// Every thread must call it; every thread gets the sum. THREADS is the size of the block, a power of two.
template <int THREADS, typename T>
__device__ T block_sum(T value) {
    SHARED(T, partial, [THREADS]);
    partial[threadIdx.x] = value;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    }
    __syncthreads();
    T sum = partial[0];
    __syncthreads();  // the memory may be used again by a second sum
    return sum;
}
