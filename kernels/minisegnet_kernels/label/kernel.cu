// Labelling: every point gets the label of the region of values that it lies in. One sweep over memory each.
//
// Thread map: one thread = one point n, i, j; neighbours in a warp are neighbours in memory. A point in no region
// gets the label of the option `default`; `default` is a keyword of C++, so the argument is called `otherwise`.
#include "../cuda/common.cuh"

// o = min { (nH + i) W + j : point in no region }, over all blocks. It starts as −1, which is the largest unsigned
// number. A minimum of integers does not depend on the order of the atomics. Each block first finds its own first
// point in shared memory, so that only one of its threads updates the single place in global memory.
__device__ inline void first_outside(bool outside, const Array<unsigned long long, 1>& o) {
    SHARED(unsigned, first, [1]);
    if (threadIdx.x == 0) first[0] = blockDim.x;  // no point yet
    __syncthreads();
    if (outside) atomicMin(&first[0], unsigned(threadIdx.x));
    __syncthreads();
    if (threadIdx.x == 0 && first[0] < blockDim.x) atomicMin(&o(0), 0ull + thread_number() + first[0]);
}

// label.argmax: S_nij = l_k for the first k with x_nkij = max_c x_ncij. The first NaN wins.
// Reads x, writes S: 4 C bytes a point in float32, plus the size of a label.
template <typename T, typename L>
__global__ void label_argmax(Array<const T, 4> x, Array<const L, 1> l, Array<L, 3> S) {
    int number = thread_number();
    if (number >= count(S)) return;
    auto [n, _, i, j] = place(S, number);
    T best = x(n, 0, i, j);
    int k = 0;
    for (int c = 1; c < x.shape[1]; ++c) {
        T score = x(n, c, i, j);
        if (score > best || (is_nan(score) && !is_nan(best))) best = score, k = c;  //: f
    }
    S(n, i, j) = l(k);
}

// label.intervals: S_nij = l_k for the first k with r_k0 ≤ x_nij < r_k1. Reads x, writes S: 4 bytes a point, plus the size of a label.
template <typename T, typename L>
__global__ void label_intervals(
    Array<const T, 3> x, Array<const T, 2> r, Array<const L, 1> l, L otherwise, Array<L, 3> S, Array<unsigned long long, 1> o) {
    int number = thread_number();
    bool outside = false;
    if (number < count(S)) {
        auto [n, _, i, j] = place(S, number);
        T value = x(n, i, j);
        const int K = l.shape[0];
        int k = 0;
        while (k < K && !(r(k, 0) <= value && value < r(k, 1))) ++k;  //: f, x
        outside = k == K;
        S(n, i, j) = outside ? otherwise : l(k);  //: default
    }
    first_outside(outside, o);
}

// label.prototypes: S_nij = l_k for the first k with the least d_k = Σ_c (x_ncij − p_kc)² < ∞.
// Reads x from memory once and then K − 1 times from the cache, writes S: 4 C bytes a point, plus the size of a label.
template <typename T, typename L>
__global__ void label_prototypes(
    Array<const T, 4> x, Array<const T, 2> p, Array<const L, 1> l, L otherwise, Array<L, 3> S, Array<unsigned long long, 1> o) {
    int number = thread_number();
    bool outside = false;
    if (number < count(S)) {
        auto [n, _, i, j] = place(S, number);
        int nearest = -1;
        T least = 0;
        for (int k = 0; k < l.shape[0]; ++k) {
            T d = 0;
            for (int c = 0; c < x.shape[1]; ++c) d += (x(n, c, i, j) - p(k, c)) * (x(n, c, i, j) - p(k, c));
            if (nearest < 0 ? isfinite(d) : d < least) nearest = k, least = d;  //: f
        }
        outside = nearest < 0;
        S(n, i, j) = outside ? otherwise : l(nearest);  //: default
    }
    first_outside(outside, o);
}
