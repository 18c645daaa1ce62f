// Rung 4s, Winograd's F(2 × 2, 3 × 3): fewer products. It is a side rung: it stands beside rung 4, and no rung is built on it.
//
//     y[n, o, 2×2] = b_o + Aᵀ ( Σ_c  (G w[o, c] Gᵀ) ⊙ (Bᵀ x[n, c, 4×4] B) ) A          ⊙ element by element
//
// What it adds: all other rungs compute the same products, faster; this one computes fewer. Along one axis, two neighbouring
// outputs of a kernel g with three taps need four cells d and six products. Winograd's way (Lavin and Gray, 2015) needs four:
//
//     m₀ = (d₀ − d₂) g₀                        y₀ = m₀ + m₁ + m₂          The sums of g are computed once for all pixels, the
//     m₁ = (d₁ + d₂) (g₀ + g₁ + g₂) / 2        y₁ = m₁ − m₂ − m₃          sums of d once for all outputs, and the sums of m
//     m₂ = (d₂ − d₁) (g₀ − g₁ + g₂) / 2                                   after the sum over c. Expand y₀ and y₁ to check:
//     m₃ = (d₁ − d₃) g₂                                                   every product that does not belong there cancels.
//
// The matrices Bᵀ, G and Aᵀ write these lines down. Along both axes it takes 4 × 4 = 16 products for 2 × 2 outputs instead of
// 36: 2.25 times fewer. For each of the 16 positions e the products are a matrix product, summed over c, as in rung 4:
//
//      x, 4 × 4 cells a tile             one of 16 positions e              M[e], 32 × 32      y, 2 × 2 a tile
//        ┌─┬─┬─┬─┐                            c ──▶                        ┌───────────┐          ┌─┬─┐
//        ├─┼─┼─┼─┤  tiles are        tile  ┌────┬────┬─     o  ┌────┬─     │ t0  t1 t2 │  over    ├─┼─┤
//        ├─┼─┼─┼─┤  2 apart and       │ 32 │ V[e]    │    × 32 │ U[e]   =  │ t4  8 × 8 │  all e   └─┴─┘
//        ├─┼─┼─┼─┤  overlap           ▼    └────┴────┴─        └────┴─     │     each  │  ──▶   Aᵀ M A
//        └─┴─┴─┴─┘  ──▶ Bᵀ d B                8 a step          8          └───────────┘  through shared memory
//
// One kernel does all of this: V is 4 times as large as x, and M as y, so writing them to memory would cost more than the
// products save. In each step every thread transforms one patch of x and one kernel on their way into shared memory. Each
// block transforms the kernels anew: that reads 9 numbers a kernel from memory, and reading transformed ones would take 16.
// Rows of V are 36 numbers apart, as in rung 4, and positions 16 banks apart, so the two halves of a warp meet different banks.
//
// What it costs: digits. With one channel its error is 1.7 times the direct sum's (1.0e-7 against 0.6e-7, root mean square relative to the
// outputs'), because it adds numbers that cancel later. With many channels it is smaller, since each sum has C terms instead of 9 C: with
// 64 it is 2.8e-7 against 4.1e-7 (normal numbers; `python tests/support/tf32_error.py`). Halves and quarters are exact in binary, so whole
// numbers stay exact while no sum reaches 2²². An infinity reaches only the outputs whose windows hold it; there it is NaN: ∞ − ∞.
// Bound on an H100 by the instructions of its inner loop: 85.4 TFLOP/s in products of the literal sum; the data sheet has 66.9. Not measured (docs/ladder.md).
//
// Serves float; 3 × 3, stride 1, dilation 1, one group; any padding, size, C, O and layout. It is fastest with channels last.
#include "matrix.cuh"

constexpr int TILES = 32, OUTPUTS = 32, SLICE = 8;  // of a block: tiles of 2 × 2 pixels, outputs; channels of a step
constexpr int POSITIONS = 16, THREADS = 256;        // positions of a 4 × 4 patch; 16 threads for each
constexpr int FOUR = 4, EIGHT = 8;                  // a thread computes EIGHT × EIGHT numbers of M[e], FOUR at a time
constexpr int ROW = TILES + FOUR;                   // numbers from a channel of V[e] to the next; U[e] is as large
constexpr int SLAB = SLICE * ROW + 16;              // from a position to the next

// Two blocks share a multiprocessor, so a thread may have 128 registers. On 7.5, with 64 KiB of shared memory, only one block fits.
static constexpr int RESIDENT = ARCHITECTURE == 750 ? 1 : 2;
// The loop over the channels of a step is unrolled, unless the compiler then needs more than 128 registers, as for 10.0 and newer.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
#define UNROLL_THE_STEP _Pragma("unroll 1")
#else
#define UNROLL_THE_STEP _Pragma("unroll")
#endif

// Bᵀ d
__device__ inline void transform_cells(float& d0, float& d1, float& d2, float& d3) {
    const float m0 = d0 - d2, m1 = d1 + d2, m2 = d2 - d1, m3 = d1 - d3;
    d0 = m0, d1 = m1, d2 = m2, d3 = m3;
}

// G g
__device__ inline void transform_kernel(float g0, float g1, float g2, float& m0, float& m1, float& m2, float& m3) {
    m0 = g0, m1 = (g0 + g1 + g2) / 2, m2 = (g0 - g1 + g2) / 2, m3 = g2;
}

// Where the 16 outputs of a tile begin in M[e]. In every second group of four tiles, neighbours are swapped in pairs. So tiles four
// apart, which a warp writes together, and neighbouring tiles, which it reads together, lie in different halves of the banks.
__device__ inline int place_of(int tile) { return (tile ^ tile / FOUR % 2) * (OUTPUTS / 2); }

// Thread map: a block = 32 tiles × 32 outputs. In each step a thread transforms one patch (of a channel and a tile) and one kernel (of
// a channel and an output), and then computes 8 × 8 products of one position e for each channel. At the end it finishes four y[n,o,2×2].
template <typename Finish>
__device__ void convolve(const Array<const float, 4>& x, const Array<const float, 4>& w, const Array<float, 4>& y, Window at, Finish finish) {
    const int O = w.shape[0], C = w.shape[1], P = y.shape[2], Q = y.shape[3];
    const int down = ceil_div(P, 2), across = ceil_div(Q, 2), tiles = y.shape[0] * down * across;
    const int m0 = blockIdx.x / ceil_div(O, OUTPUTS) * TILES, o0 = blockIdx.x % ceil_div(O, OUTPUTS) * OUTPUTS;
    SHARED(float, memory, [2 * POSITIONS * SLAB]);  // V[e][c][tile] and U[e][c][o]; at the end half of M[e][tile][o]
    float *const V = memory, *const U = memory + POSITIONS * SLAB, *const M = memory;

    // While a thread transforms: neighbouring threads read neighbours in memory, channels or, rows first, tiles.
    const bool last = x.stride[1] == 1;
    const int tile = last ? threadIdx.x / SLICE : threadIdx.x % TILES, cx = last ? threadIdx.x % SLICE : threadIdx.x / TILES;
    const int output = threadIdx.x % OUTPUTS, cw = threadIdx.x / OUTPUTS;
    const Pixel corner = pixel_of(m0 + tile, down, across);
    float patch[4][4], kernel[3][3];
    const auto bring = [&](int c0) {
#pragma unroll
        for (int p = 0; p < 16; ++p) {
            const int k = 2 * corner.i + p / 4 - at.ph, l = 2 * corner.j + p % 4 - at.pw;
            const bool inside = m0 + tile < tiles && c0 + cx < C && k >= 0 && k < x.shape[2] && l >= 0 && l < x.shape[3];
            patch[p / 4][p % 4] = inside ? x(corner.n, c0 + cx, k, l) : 0;
        }
        const bool exists = o0 + output < O && c0 + cw < C;
#pragma unroll
        for (int p = 0; p < 9; ++p) kernel[p / 3][p % 3] = exists ? w(o0 + output, c0 + cw, p / 3, p % 3) : 0;
    };
    const auto transform = [&] {
#pragma unroll
        for (int a = 0; a < 4; ++a) transform_cells(patch[0][a], patch[1][a], patch[2][a], patch[3][a]);
#pragma unroll
        for (int a = 0; a < 4; ++a) transform_cells(patch[a][0], patch[a][1], patch[a][2], patch[a][3]);
#pragma unroll
        for (int e = 0; e < POSITIONS; ++e) V[e * SLAB + cx * ROW + tile] = patch[e / 4][e % 4];
        float columns[4][3], whole[4][4];
#pragma unroll
        for (int v = 0; v < 3; ++v)
            transform_kernel(kernel[0][v], kernel[1][v], kernel[2][v], columns[0][v], columns[1][v], columns[2][v], columns[3][v]);
#pragma unroll
        for (int a = 0; a < 4; ++a)
            transform_kernel(columns[a][0], columns[a][1], columns[a][2], whole[a][0], whole[a][1], whole[a][2], whole[a][3]);
#pragma unroll
        for (int e = 0; e < POSITIONS; ++e) U[e * SLAB + cw * ROW + output] = whole[e / 4][e % 4];
    };

    // While a thread multiplies: 4 × 4 threads a position.
    const int e = threadIdx.x / 16, t0 = threadIdx.x / 4 % 4 * FOUR, s0 = threadIdx.x % 4 * FOUR;
    float sum[EIGHT][EIGHT] = {};
    bring(0);
    for (int c0 = 0; c0 < C; c0 += SLICE) {
        transform();
        __syncthreads();
        bring(c0 + SLICE);  // in flight while these channels are multiplied; zeros past the last channel
        UNROLL_THE_STEP
        for (int c = 0; c < SLICE; ++c) {
            float a[EIGHT], b[EIGHT];
            float *const cells = V + e * SLAB + c * ROW, *const weights = U + e * SLAB + c * ROW;
            four(&a[0]) = four(&cells[t0]), four(&a[FOUR]) = four(&cells[t0 + TILES / 2]);
            four(&b[0]) = four(&weights[s0]), four(&b[FOUR]) = four(&weights[s0 + OUTPUTS / 2]);
#pragma unroll
            for (int r = 0; r < EIGHT; ++r)
#pragma unroll
                for (int s = 0; s < EIGHT; ++s) sum[r][s] += a[r] * b[s];
        }
        __syncthreads();  // before these channels are overwritten
    }

    // 16 threads hold the 16 positions of a tile. They exchange them in shared memory, which has room for half of the outputs.
#pragma unroll
    for (int half = 0; half < OUTPUTS; half += OUTPUTS / 2) {
#pragma unroll
        for (int r = 0; r < EIGHT; ++r)
            four(&M[e * TILES * OUTPUTS / 2 + place_of(t0 + r % FOUR + r / FOUR * (TILES / 2)) + s0]) = four(&sum[r][half ? FOUR : 0]);
        __syncthreads();
        for (int t = threadIdx.x; t < TILES * OUTPUTS / 2; t += THREADS) {
            const float* const m = M + place_of(t / (OUTPUTS / 2)) + t % (OUTPUTS / 2);
            float result[2][2] = {};
#pragma unroll
            for (int b = 0; b < 4; ++b) {  // a column of Aᵀ m, and its contribution to the columns of (Aᵀ m) A
                float column[4];
#pragma unroll
                for (int a = 0; a < 4; ++a) column[a] = m[(a * 4 + b) * TILES * OUTPUTS / 2];
                const float upper = column[0] + column[1] + column[2], lower = column[1] - column[2] - column[3];
                if (b != 3) result[0][0] += upper, result[1][0] += lower;
                if (b == 1) result[0][1] += upper, result[1][1] += lower;
                if (b >= 2) result[0][1] -= upper, result[1][1] -= lower;
            }
            const int o = o0 + half + t % (OUTPUTS / 2), m_ = m0 + t / (OUTPUTS / 2);
            const auto [n, i, j] = pixel_of(m_, down, across);
#pragma unroll
            for (int p = 0; p < 4; ++p)
                if (m_ < tiles && o < O && 2 * i + p / 2 < P && 2 * j + p % 2 < Q)
                    y(n, o, 2 * i + p / 2, 2 * j + p % 2) = finish(o, result[p / 2][p % 2]);
        }
        __syncthreads();  // before this half is overwritten
    }
}

// conv2d.forward: y_{n,o,i,j} = b_o + Aᵀ (Σ_c U ⊙ V) A. Thread map: one thread = 8 × 8 of M[e], then four times y[n,o,2×2].
__global__ void __launch_bounds__(256, RESIDENT) conv2d_forward__winograd(Array<const float, 4> x, Array<const float, 4> w, Array<const float, 1> b,
                                                                         Array<float, 4> y, Window at) {
    convolve(x, w, y, at, [&](int o, float sum) { return b(o) + sum; });
}

// conv2d.forward_relu: y_{n,o,i,j} = max(0, b_o + Aᵀ (Σ_c U ⊙ V) A). Thread map: one thread = 8 × 8 of M[e], then four times y[n,o,2×2].
__global__ void __launch_bounds__(256, RESIDENT) conv2d_forward_relu__winograd(Array<const float, 4> x, Array<const float, 4> w,
                                                                              Array<const float, 1> b, Array<float, 4> y, Window at) {
    convolve(x, w, y, at, [&](int o, float sum) { return relu(b(o) + sum); });
}

// conv2d.grad_input with stride 1: x̄_{n,c,k,l} = Aᵀ (Σ_o U ⊙ V) A, a convolution of g with the kernel turned by 180° and its two
// channel axes swapped (the host does both). Thread map: one thread = 8 × 8 of M[e], then four times x̄[n,c,2×2].
__global__ void __launch_bounds__(256, RESIDENT) conv2d_grad_input__winograd(Array<const float, 4> g, Array<const float, 4> turned,
                                                                            Array<float, 4> xbar, Window at) {
    convolve(g, turned, xbar, at, [](int, float sum) { return sum; });
}
