// Rung 4, register tile: a thread computes 8 × 8 results, so that a number read from shared memory is used eight times.
//
//     y[m, o] = Σ_q x[m, q] w[o, q]        m = (n, i, j) a pixel,  q = (u, v, c) a term (matrix.cuh)
//
// What it adds: for each term q, a thread of rung 3 reads two numbers from shared memory and computes one product. Here it reads
// 8 + 8 numbers and computes 64 products (TM × TN) in registers: eight times as many products for each number read. And numbers
// move in pieces of four, 16 bytes an instruction: from memory (four neighbouring channels) and from shared memory.
//
//          across: 16 threads, each has 4 + 4 outputs        A block of 16 × 16 threads computes 128 pixels × 128 outputs
//        0    4    8        64   68   72        o            (BM × BN) in steps of 8 terms (BK):
//       ┌────┬────┬─ ─ ─ ─ ┬────┬────┬─ ─ ─
//    0  │ t0 │ t1 │        │ t0 │ t1 │                         cells[q][m]     8 × 128      x(n, c…c+3, k, l), transposed
//       ├────┼────┼─                                           weights[q][o]   8 × 128      w(o, c…c+3, u, v), transposed
//    4  │t16 │t17 │
//       ├────┼─                                              The 8 × 8 of a thread are four squares of 4 × 4, half a tile
//    │                                                       apart. So the threads of a warp read neighbouring pieces
//   64  │ t0 │ t1 │ ...                                      of 16 bytes, which lie in different banks.
//    m
//
// Layers with at most 64 outputs take tiles of 64 outputs and half the threads.
// Transposing costs little: a thread stores its four numbers into four rows of shared memory. A row has 128 + 4 numbers, so that
// the 32 pieces that a warp stores at once (16 pixels × 2) fall into 32 different banks.
// What holds it back: no thread computes while a step is staged, and every piece of four cells costs divisions. Rung 5 removes both.
// Bound on an H100 by the instructions of its inner loop: 26 TFLOP/s; the data sheet has 66.9. Not measured (docs/ladder.md).
//
// Serves float with channels last in x and a multiple of four channels (of a group); any stride, padding, dilation, groups.
// The weights must lie as (O, U, V, C), which the host ensures.
#include "matrix.cuh"

constexpr int PIXELS = 128, SLICE = 8;  // of a tile: pixels (BM), terms of a step (BK); BN is OUTPUTS
constexpr int FOUR = 4, EIGHT = 8;      // a thread computes EIGHT × EIGHT results (TM × TN), FOUR at a time


// Thread map: a block = 128 pixels × OUTPUTS outputs of one group; one thread = 8 × 8 of y[n,o,i,j]. The block reads its
// cells once for OUTPUTS outputs, and its weights once for 128 pixels.
template <int OUTPUTS, typename Finish>
__device__ void multiply(const Array<const float, 4>& x, const Array<const float, 4>& w, const Array<float, 4>& y, Window at, int groups,
                         Finish finish) {
    constexpr int ACROSS = OUTPUTS / EIGHT, THREADS = PIXELS / EIGHT * ACROSS;
    constexpr int PARTS = SLICE / FOUR;                                 // of a step, for each pixel and each output
    const int O = w.shape[0] / groups, C = w.shape[1], V = w.shape[3];  // channels of a group
    const int pixels = y.shape[0] * y.shape[2] * y.shape[3], terms = C * w.shape[2] * V;
    SHARED(float, cells, [SLICE][PIXELS + FOUR]);     // [q][m]
    SHARED(float, weights, [SLICE][OUTPUTS + FOUR]);  // [q][o]

    const int tiles = ceil_div(O, OUTPUTS), group = blockIdx.x / tiles % groups;  // blocks with the same cells follow each other
    const int m0 = blockIdx.x / (tiles * groups) * PIXELS, o0 = blockIdx.x % tiles * OUTPUTS;
    const int across = threadIdx.x % ACROSS * FOUR, down = threadIdx.x / ACROSS * FOUR;

    float sum[EIGHT][EIGHT] = {};
    for (int q0 = 0; q0 < terms; q0 += SLICE) {
        for (int t = threadIdx.x; t < PIXELS * PARTS; t += THREADS) {
            const int m = t / PARTS, q = t % PARTS * FOUR;
            const auto [n, i, j] = pixel_of(m0 + m, y.shape[2], y.shape[3]);
            const auto [c, u, v] = term_of(q0 + q, C, V);
            const int k = i * at.sh + u * at.dh - at.ph, l = j * at.sw + v * at.dw - at.pw;
            const float4 cell = m0 + m < pixels && q0 + q < terms && k >= 0 && k < x.shape[2] && l >= 0 && l < x.shape[3]
                                    ? four(&x(n, group * C + c, k, l))
                                    : float4{};
            cells[q][m] = cell.x, cells[q + 1][m] = cell.y, cells[q + 2][m] = cell.z, cells[q + 3][m] = cell.w;
        }
        for (int t = threadIdx.x; t < OUTPUTS * PARTS; t += THREADS) {
            const int o = t / PARTS, q = t % PARTS * FOUR;
            const auto [c, u, v] = term_of(q0 + q, C, V);
            const float4 weight = o0 + o < O && q0 + q < terms ? four(&w(group * O + o0 + o, c, u, v)) : float4{};
            weights[q][o] = weight.x, weights[q + 1][o] = weight.y, weights[q + 2][o] = weight.z, weights[q + 3][o] = weight.w;
        }
        __syncthreads();
#pragma unroll
        for (int q = 0; q < SLICE; ++q) {
            float a[EIGHT], b[EIGHT];
            four(&a[0]) = four(&cells[q][down]), four(&a[FOUR]) = four(&cells[q][down + PIXELS / 2]);
            four(&b[0]) = four(&weights[q][across]), four(&b[FOUR]) = four(&weights[q][across + OUTPUTS / 2]);
#pragma unroll
            for (int r = 0; r < EIGHT; ++r)
#pragma unroll
                for (int s = 0; s < EIGHT; ++s) sum[r][s] += a[r] * b[s];
        }
        __syncthreads();  // before these terms are overwritten
    }
#pragma unroll
    for (int r = 0; r < EIGHT; ++r) {
        const int m = m0 + down + r % FOUR + r / FOUR * (PIXELS / 2);
        if (m >= pixels) break;
        const auto [n, i, j] = pixel_of(m, y.shape[2], y.shape[3]);
#pragma unroll
        for (int s = 0; s < EIGHT; ++s) {
            const int o = o0 + across + s % FOUR + s / FOUR * (OUTPUTS / 2);
            if (o < O) y(n, group * O + o, i, j) = finish(group * O + o, sum[r][s]);
        }
    }
}

// conv2d.forward: y_{n,o,i,j} = b_o + Σ_q x[m, q] w[o, q]. Thread map: one thread = 8 × 8 of y[n,o,i,j].
// OUTPUTS = 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(2 * OUTPUTS) conv2d_forward__register_tile(Array<const float, 4> x, Array<const float, 4> w,
                                                                             Array<const float, 1> b, Array<float, 4> y, Window at,
                                                                             int groups) {
    multiply<OUTPUTS>(x, w, y, at, groups, [&](int o, float sum) { return b(o) + sum; });
}

// conv2d.forward_relu: y_{n,o,i,j} = max(0, b_o + Σ_q x[m, q] w[o, q]). Thread map: one thread = 8 × 8 of y[n,o,i,j].
// OUTPUTS = 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(2 * OUTPUTS) conv2d_forward_relu__register_tile(Array<const float, 4> x, Array<const float, 4> w,
                                                                                  Array<const float, 1> b, Array<float, 4> y, Window at,
                                                                                  int groups) {
    multiply<OUTPUTS>(x, w, y, at, groups, [&](int o, float sum) { return relu(b(o) + sum); });
}
