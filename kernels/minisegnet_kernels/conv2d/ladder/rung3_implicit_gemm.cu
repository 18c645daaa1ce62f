// Rung 3, implicit GEMM: a convolution is a product of two matrices, one of which is never stored.
//
//     y[m, o] = Σ_q x[m, q] w[o, q]        m = (n, i, j): N·P·Q pixels,  q = (u, v, c): C·U·V terms
//
// What it adds: rung 2 has a tile of the *image*. Its shape depends on kernel, stride and dilation, and it stages so many cells that
// a large kernel does not fit. Here the tile is one of the *matrices*: 16 pixels, 16 outputs and 16 terms (BM, BN, BK), whatever
// the convolution. An index map (matrix.cuh) finds the cell at row m and column q. A condition (a predicate) makes it 0 where
// the window hangs over the edge, or where the row or column is past the last.
//
//               q ──▶                     A block computes the 16 × 16 results of its tile. It walks along q: each time 16
//            ┌────┬────┬────┬─            columns of x[m, q] and of w[o, q] are staged, one number of either by each thread,
//    m    16 │////│    │    │             and each thread adds up 16 products. So a number that was read from memory
//    │       └────┴────┴────┴─            once is used 16 times.
//    ▼         16
//            ┌────┬────┬────┬─      y[m, o]   ┌────┐
//    o    16 │////│    │    │           ──▶   │    │ 16 pixels × 16 outputs, one thread each
//            └────┴────┴────┴─                └────┘
//
// What holds it back: each multiply-add reads two numbers from shared memory, which gives a warp 32 numbers a cycle where the
// arithmetic could use 256; and the index map divides four times for each cell. Rung 4 removes the first limit, rung 5 the second.
// Bound on an H100 by the instructions of its inner loop: 5.8 TFLOP/s; the data sheet has 66.9. Not measured (docs/ladder.md).
//
// Serves everything: any stride, padding, dilation, groups, layout; float and double.
#include "matrix.cuh"

constexpr int TILE = 16;  // pixels, outputs and terms: BM, BN and BK

// Thread map: a block = 16 pixels × 16 outputs of one group; one thread = one y[n,o,i,j]. Every 16 terms it stages one
// cell and one weight. Neighbouring threads read and write neighbours in memory: pixels or, channels last, channels.
template <typename T, typename Finish>
__device__ void multiply(const Array<const T, 4>& x, const Array<const T, 4>& w, const Array<T, 4>& y, Window at, int groups, Finish finish) {
    const int O = w.shape[0] / groups, C = w.shape[1], V = w.shape[3];  // channels of a group
    const int pixels = y.shape[0] * y.shape[2] * y.shape[3], terms = C * w.shape[2] * V;
    SHARED(T, cells, [TILE][TILE + 1]);    // [m][q]; the odd row length puts the elements of a column into different banks
    SHARED(T, weights, [TILE][TILE + 1]);  // [o][q]

    const int tiles = ceil_div(O, TILE), group = blockIdx.x / tiles % groups;  // blocks with the same cells follow each other
    const int m0 = blockIdx.x / (tiles * groups) * TILE, o0 = blockIdx.x % tiles * TILE;
    const bool last = x.stride[1] == 1;  // channels last
    const int fast = threadIdx.x % TILE, slow = threadIdx.x / TILE;

    const int row = last ? slow : fast, column = last ? fast : slow;  // of x[m, q], to stage; of y[m, o], to compute
    T sum = 0;
    for (int q0 = 0; q0 < terms; q0 += TILE) {
        const auto [n, i, j] = pixel_of(m0 + row, y.shape[2], y.shape[3]);
        const auto [c, u, v] = term_of(q0 + column, C, V);
        const int k = i * at.sh + u * at.dh - at.ph, l = j * at.sw + v * at.dw - at.pw;
        cells[row][column] = m0 + row < pixels && q0 + column < terms && k >= 0 && k < x.shape[2] && l >= 0 && l < x.shape[3]
                                 ? x(n, group * C + c, k, l)
                                 : T(0);
        const auto [c_, u_, v_] = term_of(q0 + fast, C, V);
        weights[slow][fast] = o0 + slow < O && q0 + fast < terms ? w(group * O + o0 + slow, c_, u_, v_) : T(0);
        __syncthreads();
        for (int q = 0; q < TILE; ++q) sum += cells[row][q] * weights[column][q];
        __syncthreads();  // before these terms are overwritten
    }
    if (m0 + row >= pixels || o0 + column >= O) return;
    const auto [n, i, j] = pixel_of(m0 + row, y.shape[2], y.shape[3]);
    const int o = group * O + o0 + column;
    y(n, o, i, j) = finish(o, sum);
}

// conv2d.forward: y_{n,o,i,j} = b_o + Σ_q x[m, q] w[o, q]. Thread map: one thread = one y[n,o,i,j].
template <typename T>
__global__ void conv2d_forward__implicit_gemm(Array<const T, 4> x, Array<const T, 4> w, Array<const T, 1> b, Array<T, 4> y, Window at,
                                              int groups) {
    multiply(x, w, y, at, groups, [&](int o, T sum) { return b(o) + sum; });
}

// conv2d.forward_relu: y_{n,o,i,j} = max(0, b_o + Σ_q x[m, q] w[o, q]). Thread map: one thread = one y[n,o,i,j].
template <typename T>
__global__ void conv2d_forward_relu__implicit_gemm(Array<const T, 4> x, Array<const T, 4> w, Array<const T, 1> b, Array<T, 4> y, Window at,
                                                   int groups) {
    multiply(x, w, y, at, groups, [&](int o, T sum) { return relu(b(o) + sum); });
}
