// Rung 6, the tensor cores: an implicit GEMM as in rung 3, but a warp computes 1024 products in one instruction, with inputs
// rounded to TF32 (10 bits of fraction) and sums in float32.
//
//     Y = X W   with  Y[m, o] = y[n, o, i, j],   X[m, k] = x[n, c, i s_h + u d_h − p_h, j s_w + v d_w − p_w],   W[k, o] = w[o, c, u, v]
//     pixel m = (n P + i) Q + j,   term k = (c U + u) V + v
//
//            k →  16 terms a stage                           64 outputs o
//          ┌────┐                        ┌───────────┐        ┌─────┬─────┐
//          │    │ 128 pixels m           │ W, staged │ 16     │ 64  │warp │  Each of the four warps computes 64 × 32 sums:
//          │ X, │                        └───────────┘        │ × 32│  1  │  4 × 4 products of mma.m16n8k8, whose
//          │stag│          × ───────────────────▶   += Y      ├─────┼─────┤  16 × 8 results lie in 4 registers a lane,
//          │ ed │                                             │warp │warp │  64 in all. Of each stage it reads
//          └────┘                                             │  2  │  3  │  (64 + 32) · 16 numbers for 64 · 32 · 16 products.
//                                                             └─────┴─────┘
//
// What it adds: the instruction. A lane (one of the 32 threads of a warp) holds a few elements of each matrix, its fragment
// (cuda/mma.cuh says which). It reads them from shared memory: four rows k, and eight neighbours m or o in each. If a row were
// 128 words long, the four rows would lie in the same banks and each read would take four turns; with 8 words more they
// lie in 32 different banks.
//
// What holds it back: x is read one number at a time (in any layout; neighbouring threads have neighbouring pixels), and no thread
// multiplies meanwhile. Rung 7 removes both.
// Bound on an H100 by the instructions of its inner loop: 178.9 TFLOP/s; the data sheet has 494.7. Not measured (docs/ladder.md).
//
// Serves float without groups; any stride, padding, dilation, layout, C and O.
#include "../../cuda/mma.cuh"
#include "matrix.cuh"

constexpr int PIXELS = 128, OUTPUTS = 64, DEPTH = 16;  // of a block: pixels (BM), outputs (BN), terms of a stage (BK)
constexpr int THREADS = PIXELS;                        // one for each pixel while x is staged
constexpr int GAP = 8;                                 // words of padding after a row, so that four rows lie in different banks

// Y[m, o] = finish(o, Σ_k X[m, k] W[k, o]). Thread map: a block = 128 pixels × 64 outputs; a warp = 64 × 32 of them; a lane
// = the elements of mma.cuh. Reads x and w (as a matrix O × K) once for each block, 4 bytes a number; writes y once.
template <typename Finish>
__device__ void multiply(const Array<const float, 4>& x, const Array<const float, 2>& w, const Array<float, 4>& y, Window at, int U, int V,
                         Finish finish) {
    SHARED(float, cells, [DEPTH][PIXELS + GAP]);
    SHARED(float, weights, [DEPTH][OUTPUTS + GAP]);
    const int O = w.shape[0], K = w.shape[1], M = y.shape[0] * y.shape[2] * y.shape[3];
    const int across = ceil_div(O, OUTPUTS), o0 = blockIdx.x % across * OUTPUTS, m0 = blockIdx.x / across * PIXELS;
    const int group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
    const int row = threadIdx.x / 64 * 64 + group, column = threadIdx.x / 32 % 2 * 32 + group;  // of the warp's fragments

    const int m = m0 + threadIdx.x;  // the pixel that this thread stages
    const Pixel pixel = pixel_of(m, y.shape[2], y.shape[3]);
    const int k0 = pixel.i * at.sh - at.ph, l0 = pixel.j * at.sw - at.pw;
    int c = 0, u = 0, v = 0;  // of the next term

    float sum[4][4][4] = {};
    for (int first = 0; first < K; first += DEPTH) {
        for (int d = 0; d < DEPTH; ++d) {
            const int k = k0 + u * at.dh, l = l0 + v * at.dw;
            float cell = 0;
            if (m < M && c < x.shape[1] && k >= 0 && k < x.shape[2] && l >= 0 && l < x.shape[3]) cell = x(pixel.n, c, k, l);
            cells[d][threadIdx.x] = to_tf32(cell);
            if (++v == V) v = 0, ++u;
            if (u == U) u = 0, ++c;
        }
        for (int d = threadIdx.x / OUTPUTS; d < DEPTH; d += THREADS / OUTPUTS) {
            const int o = o0 + threadIdx.x % OUTPUTS;
            float weight = 0;
            if (o < O && first + d < K) weight = w(o, first + d);
            weights[d][threadIdx.x % OUTPUTS] = to_tf32(weight);
        }
        __syncthreads();
#pragma unroll
        for (int d = 0; d < DEPTH; d += 8) {
            float a[4][4], b[4][2];
#pragma unroll
            for (int r = 0; r < 4; ++r) {
                a[r][0] = cells[d + member][row + 16 * r], a[r][1] = cells[d + member][row + 16 * r + 8];
                a[r][2] = cells[d + member + 4][row + 16 * r], a[r][3] = cells[d + member + 4][row + 16 * r + 8];
                b[r][0] = weights[d + member][column + 8 * r], b[r][1] = weights[d + member + 4][column + 8 * r];
            }
#pragma unroll
            for (int r = 0; r < 4; ++r)
#pragma unroll
                for (int s = 0; s < 4; ++s) mma_m16n8k8(sum[r][s], a[r], b[s]);
        }
        __syncthreads();  // before these terms are overwritten
    }
#pragma unroll
    for (int r = 0; r < 8; ++r) {
        const int m = m0 + row + 8 * r;
        if (m >= M) break;
        const Pixel p = pixel_of(m, y.shape[2], y.shape[3]);
#pragma unroll
        for (int s = 0; s < 8; ++s) {
            const int o = o0 + column - group + s / 2 * 8 + 2 * member + s % 2;
            if (o < O) y(p.n, o, p.i, p.j) = finish(o, sum[r / 2][s / 2][r % 2 * 2 + s % 2]);
        }
    }
}

// conv2d.forward: y_{n,o,i,j} = b_o + Σ_{c,u,v} w x. Thread map: a block of 128 threads = 128 pixels × 64 outputs.
__global__ void __launch_bounds__(128) conv2d_forward__tf32(Array<const float, 4> x, Array<const float, 2> w, Array<const float, 1> b,
                                                            Array<float, 4> y, Window at, int U, int V) {
    multiply(x, w, y, at, U, V, [&](int o, float sum) { return b(o) + sum; });
}

// conv2d.forward_relu: y_{n,o,i,j} = max(0, b_o + Σ_{c,u,v} w x). Thread map: a block of 128 threads = 128 pixels × 64 outputs.
__global__ void __launch_bounds__(128) conv2d_forward_relu__tf32(Array<const float, 4> x, Array<const float, 2> w, Array<const float, 1> b,
                                                                 Array<float, 4> y, Window at, int U, int V) {
    multiply(x, w, y, at, U, V, [&](int o, float sum) { return relu(b(o) + sum); });
}

// conv2d.grad_input, one class of rows and columns (see rung8_tf32_grad_input.cu): x̄_{n,c,k,l} = Σ_{o,u,v} w g, a convolution of
// g with stride 1; `w` is turned, C × O U V. Thread map: a block of 128 threads = 128 pixels × 64 channels c.
__global__ void __launch_bounds__(128) conv2d_grad_input__tf32(Array<const float, 4> g, Array<const float, 2> w, Array<float, 4> xbar,
                                                               Window at, int U, int V) {
    multiply(g, w, xbar, at, U, V, [](int, float sum) { return sum; });
}
