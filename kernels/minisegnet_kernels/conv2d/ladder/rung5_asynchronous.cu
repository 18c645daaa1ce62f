// Rung 5, asynchronous copies: the next step is copied while this one is computed (double buffering).
//
//     y[m, o] = finish(o, Σ_q x[m, q] w[o, q])        m = (n, i, j) a pixel,  q = (u, v, c) a term (matrix.cuh)
//
// What it adds to the 8 × 8 results of rung 4:
//
// 1. cp.async copies 16 bytes from memory to shared memory without passing through registers and without waiting. There are
//    two buffers: one is filled while the other is read.
//
//        copies of step   0 │ 1 │ 2 │ 3 │            wait     my copies have arrived
//        products of step     0 │ 1 │ 2 │ 3          barrier  everybody's have, and no thread reads the other buffer any more
//        buffer               a   b   a   b          one of each in a step is enough
//
// 2. No division in the loop. Each thread always copies the same pixels, whose place is found once, and its four channels move
//    16 terms further in each step, which `carry` counts with additions.
// 3. The epilogue is fused: bias and ReLU are applied to the sums in registers. A pass of their own over y would cost as much as a
//    convolution of few channels. So are the statistics that a batch normalisation behind it needs (statistics.cuh).
//
//     cells[m][q] 128 × 16          A copy cannot transpose, so a row is a pixel with its 16 terms: four pieces of 16 bytes
//    ┌────┬────┬────┬────┬──┐       and one piece of padding. A thread reads four terms of 8 pixels and of 8 outputs and
//  0 │ 4q │    │    │    │▒▒│       computes 256 products: as many for each read as in rung 4.
//  1 │    │    │    │    │▒▒│       Rows are 20 numbers apart, so 8 threads that read a piece of 8 neighbouring rows meet 32
//    │    │    │    │    │▒▒│       different banks (20 r mod 32 = 0 20 8 28 16 4 24 12). That is why a thread's pixels are
//    └────┴────┴────┴────┴──┘       not neighbours but 16 apart, and its outputs likewise.
//
// Shared memory: 40 KiB with 128 outputs, less than the 48 KiB that every GPU gives.
// What holds it back: the multiply-add rate of the ordinary cores. The tensor cores are faster: rung 6.
// Bound on an H100 by the instructions of its inner loop: 60.1 TFLOP/s; the data sheet has 66.9. Not measured (docs/ladder.md).
//
// Serves what rung 4 serves: float, channels last, a multiple of four channels of a group.
// rung8_grad_input.cu uses `multiply` for the gradient for the input, which is also such a product.
#include "matrix.cuh"

#include "../../cuda/async.cuh"
#include "statistics.cuh"

constexpr int PIXELS = 128, SLICE = 16;      // of a tile: pixels (BM), terms of a step (BK); BN is OUTPUTS
constexpr int FOUR = 4, EIGHT = 8;           // numbers in a piece of 16 bytes; a thread computes EIGHT × EIGHT results
constexpr int PIECES = SLICE / FOUR;         // of a row
constexpr int ROW = PIECES + 1;              // pieces from a row to the next

// How many blocks share a multiprocessor: as many as its shared memory holds. That is 2 with 128 outputs and 4 with 64, or 3 in the 100 KiB
// of 8.6, 8.9 and 12.0. With the statistics it is one fewer where otherwise the registers would not suffice.
static constexpr bool SMALL = ARCHITECTURE == 860 || ARCHITECTURE == 890 || ARCHITECTURE >= 1200;
template <int OUTPUTS> constexpr int RESIDENT = OUTPUTS == 128 ? 2 : SMALL ? 3 : 4;
template <int OUTPUTS> constexpr int RESIDENT_WITH_STATISTICS = OUTPUTS == 128 ? (ARCHITECTURE >= 1200 ? 1 : 2) : SMALL || ARCHITECTURE >= 1000 ? 3 : 4;

// Moves on to the next tap of the window until c is below C.
__device__ inline void carry(Term& t, int C, int V) {
    for (; t.c >= C; t.c -= C)
        if (++t.v == V) t.v = 0, ++t.u;
}

__device__ inline void add_product(float& sum, const float4& a, const float4& b) {
    sum += a.x * b.x, sum += a.y * b.y, sum += a.z * b.z, sum += a.w * b.w;
}

// Thread map: a block = 128 pixels × OUTPUTS outputs of one group; one thread = 8 × 8 of y[n,o,i,j]. In a step it copies
// four terms of PIXELS · PIECES / THREADS pixels and of OUTPUTS · PIECES / THREADS outputs.
// Rows past the last repeat the last row: they are computed, but not written.
template <int OUTPUTS, typename Finish, typename Statistics = NoStatistics>
__device__ void multiply(const Array<const float, 4>& x, const Array<const float, 4>& w, const Array<float, 4>& y, Window at, int groups,
                         Finish finish, const Statistics& statistics = {}) {
    constexpr int ACROSS = OUTPUTS / EIGHT, DOWN = PIXELS / EIGHT, THREADS = DOWN * ACROSS;
    constexpr int LINES = THREADS / PIECES;                             // rows that the block copies at once
    const int O = w.shape[0] / groups, C = w.shape[1], V = w.shape[3];  // channels of a group
    const int pixels = y.shape[0] * y.shape[2] * y.shape[3], terms = C * w.shape[2] * V;
    SHARED(float4, cells, [2][PIXELS][ROW]);     // [buffer][m][q / 4]
    SHARED(float4, weights, [2][OUTPUTS][ROW]);  // [buffer][o][q / 4]

    const int tiles = ceil_div(O, OUTPUTS), group = blockIdx.x / tiles % groups;  // blocks with the same cells follow each other
    const int m0 = blockIdx.x / (tiles * groups) * PIXELS, o0 = blockIdx.x % tiles * OUTPUTS;
    const int piece = threadIdx.x % PIECES, line = threadIdx.x / PIECES;

    int windows[PIXELS / LINES], kernels[OUTPUTS / LINES];  // where in x and w the rows begin that this thread copies
    int k0[PIXELS / LINES], l0[PIXELS / LINES];                        // the cell under the corner of the window
#pragma unroll
    for (int r = 0; r < PIXELS / LINES; ++r) {
        const auto [n, i, j] = pixel_of(min(m0 + line + r * LINES, pixels - 1), y.shape[2], y.shape[3]);
        k0[r] = i * at.sh - at.ph, l0[r] = j * at.sw - at.pw;
        windows[r] = n * x.stride[0] + group * C + k0[r] * x.stride[2] + l0[r] * x.stride[3];
    }
#pragma unroll
    for (int r = 0; r < OUTPUTS / LINES; ++r) kernels[r] = (group * O + min(o0 + line + r * LINES, O - 1)) * w.stride[0];

    Term at_term = {piece * FOUR, 0, 0};
    carry(at_term, C, V);
    const auto start_copies = [&](int buffer, int q) {  // terms q … q + 3 of all rows of this thread; then advance to the next step
        const auto [c, u, v] = at_term;
        const int offset = u * at.dh * x.stride[2] + v * at.dw * x.stride[3] + c;
#pragma unroll
        for (int r = 0; r < PIXELS / LINES; ++r) {
            const int k = k0[r] + u * at.dh, l = l0[r] + v * at.dw;
            const bool inside = q < terms && k >= 0 && k < x.shape[2] && l >= 0 && l < x.shape[3];
            copy_async(&cells[buffer][line + r * LINES][piece], reinterpret_cast<const float4*>(x.data + windows[r] + offset), inside);
        }
#pragma unroll
        for (int r = 0; r < OUTPUTS / LINES; ++r) {
            const bool exists = q < terms;
            copy_async(&weights[buffer][line + r * LINES][piece], reinterpret_cast<const float4*>(w.data + kernels[r] + q), exists);
        }
        commit_copies();
        at_term.c += SLICE;
        carry(at_term, C, V);
    };

    const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
    float sum[EIGHT][EIGHT] = {};
    start_copies(0, piece * FOUR);
    for (int q0 = 0, buffer = 0; q0 < terms; q0 += SLICE, buffer ^= 1) {
        wait_for_copies<0>();
        __syncthreads();  // the copies of all threads have arrived, and no thread reads the other buffer any more
        if (q0 + SLICE < terms) start_copies(buffer ^ 1, q0 + SLICE + piece * FOUR);
#pragma unroll 1  // unrolled, it would need more registers than two blocks on a multiprocessor have
        for (int p = 0; p < PIECES; ++p) {
            float4 a[EIGHT];
#pragma unroll
            for (int r = 0; r < EIGHT; ++r) a[r] = cells[buffer][down + r * DOWN][p];
#pragma unroll
            for (int s = 0; s < EIGHT; ++s) {
                const float4 b = weights[buffer][across + s * ACROSS][p];
#pragma unroll
                for (int r = 0; r < EIGHT; ++r) add_product(sum[r][s], a[r], b);
            }
        }
    }
    if constexpr (Statistics::WANTED)
        keep_of_block<OUTPUTS, DOWN>(statistics, reinterpret_cast<float2*>(cells), sum, m0, pixels, group * O + o0, min(O - o0, OUTPUTS));
#pragma unroll
    for (int r = 0; r < EIGHT; ++r) {
        const int m = m0 + down + r * DOWN;
        if (m >= pixels) break;
        const auto [n, i, j] = pixel_of(m, y.shape[2], y.shape[3]);
#pragma unroll
        for (int s = 0; s < EIGHT; ++s) {
            const int o = o0 + across + s * ACROSS;
            if (o < O) y(n, group * O + o, i, j) = finish(group * O + o, sum[r][s]);
        }
    }
}

// conv2d.forward: y_{n,o,i,j} = b_o + Σ_q x[m, q] w[o, q]. Thread map: one thread = 8 × 8 of y[n,o,i,j].
// OUTPUTS = 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(2 * OUTPUTS, RESIDENT<OUTPUTS>) conv2d_forward__asynchronous(Array<const float, 4> x, Array<const float, 4> w,
                                                                            Array<const float, 1> b, Array<float, 4> y, Window at,
                                                                            int groups) {
    multiply<OUTPUTS>(x, w, y, at, groups, [&](int o, float sum) { return b(o) + sum; });
}

// conv2d.forward_relu: y_{n,o,i,j} = max(0, b_o + Σ_q x[m, q] w[o, q]). Thread map: one thread = 8 × 8 of y[n,o,i,j].
// OUTPUTS = 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(2 * OUTPUTS, RESIDENT<OUTPUTS>) conv2d_forward_relu__asynchronous(Array<const float, 4> x, Array<const float, 4> w,
                                                                                 Array<const float, 1> b, Array<float, 4> y, Window at,
                                                                                 int groups) {
    multiply<OUTPUTS>(x, w, y, at, groups, [&](int o, float sum) { return relu(b(o) + sum); });
}

// conv2d.forward_statistics: y_{n,o,i,j} = b_o + Σ_q x[m, q] w[o, q], and the moments of each 128 pixels m of y.
// Thread map: one thread = 8 × 8 of y[n,o,i,j].
// OUTPUTS = 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(2 * OUTPUTS, RESIDENT_WITH_STATISTICS<OUTPUTS>) conv2d_forward_statistics__asynchronous(Array<const float, 4> x, Array<const float, 4> w,
                                                                                       Array<const float, 1> b, Array<float, 4> y, Window at,
                                                                                       int groups, Array<float, 2> means, Array<float, 2> spreads) {
    multiply<OUTPUTS>(x, w, y, at, groups, [&](int o, float sum) { return b(o) + sum; }, Slabs{b, means, spreads});
}
