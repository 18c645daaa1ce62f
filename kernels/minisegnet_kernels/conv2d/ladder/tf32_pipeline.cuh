// The pipeline of rung 7, which rung7_tf32_tuned.cu (forward) and rung8_tf32_grad_input.cu (gradient for the input) fill with their
// equations: a matrix product Y[m, o] = Σ_k X[m, k] W[o, k] on the tensor cores, where X is gathered from an image that lies
// channels last. The term k = (u V + v) C + c, so four neighbouring terms are four channels of one cell: one copy of 16 bytes.
//
//   slot     0         1         2         3        STAGES slots (stages) of shared memory, each with 16 terms (BK) of
//         ┌───────┐ ┌───────┐ ┌───────┐ ┌───────┐   X and of W. While the warps multiply the terms of step t, the copies
//  step t │ used  │ │arrives│ │arrives│ │started│   of the next STAGES − 1 steps are in flight, so that a warp
//         └───────┘ └───────┘ └───────┘ └───────┘   seldom waits for memory. One barrier a step is enough.
//  t + 1   started    used     arrives   arrives
//
//   a slot, 16 words a row:  row 0  │ 0 │ 1 │ 2 │ 3 │   A square is four words and fills four banks; two rows fill all
//   its squares are          row 1  │ 0 │ 1 │ 2 │ 3 │   32. A fragment (what a lane holds of a matrix) is read as one
//   *swizzled*: square q of  row 2  │ 1 │ 0 │ 3 │ 2 │   column of eight rows. Without the swizzle every second row
//   row r stands at          row 3  │ 1 │ 0 │ 3 │ 2 │   meets the banks of the first: four turns a read. Swizzled,
//   q xor (r / 2 mod 4).     row 4  │ 2 │ 3 │ 0 │ 1 │   column q of eight rows lies in eight different squares of
//                              ⋮                        banks: one turn, for the reads and for the copies.
#pragma once
#include "../../cuda/async.cuh"
#include "../../cuda/common.cuh"
#include "../../cuda/mma.cuh"
#include "statistics.cuh"
#include "matrix.cuh"

constexpr int PIXELS = 128, DEPTH = 16, SQUARES = DEPTH / 4;  // of a block: pixels (BM); terms of a stage (BK), and squares of four
constexpr int THREADS = 128, WARP_PIXELS = 64;               // four warps, two down and two across; pixels of a warp

static_assert(WARP_PIXELS == 8 * VALUES, "a slab of the statistics is a warp's pixels");

// ROWS × 16 words of shared memory.
template <int ROWS>
struct alignas(16) Tile {
    float word[ROWS * DEPTH];
};

// How W lies in memory and in a slot. A thread copies its share of each step, and a lane reads the fragment b of mma.cuh: column
// `column` of the terms 4 q + member and 4 (q + 1) + member.
template <int OUTPUTS, int AXES>
struct Weights;

// Where square q of a row starts. Rows that differ by a multiple of 8 are swizzled alike.
__device__ inline int swizzled(int row, int q) { return ((q ^ (row >> 1)) & 3) * 4; }

// A matrix O × U V C: four neighbouring terms of an output are one copy, and a slot holds OUTPUTS rows of 16 terms, swizzled.
template <int OUTPUTS>
struct Weights<OUTPUTS, 2> {
    const Array<const float, 2>& w;
    int o0, k;  // the first output of the block; the first term of the square that this thread copies next

    __device__ Weights(const Array<const float, 2>& w, int o0, int C, int V) : w(w), o0(o0), k(threadIdx.x % SQUARES * 4) {}

    __device__ void start_copies(Tile<OUTPUTS>& slot, int C, int U, int V) {
        const int first = threadIdx.x / SQUARES;
        float* const to = slot.word + swizzled(first, threadIdx.x % SQUARES);
#pragma unroll
        for (int r = 0; r < OUTPUTS / 32; ++r) {
            const int o = o0 + first + 32 * r;
            bool inside = false;
            if (o < w.shape[0] && k < w.shape[1]) inside = true;
            const float* const from = inside ? &w(o, k) : w.data;
            copy_async(reinterpret_cast<float4*>(to + (first + 32 * r) * DEPTH), reinterpret_cast<const float4*>(from), inside);
        }
        k += DEPTH;
    }

    __device__ static void read(const Tile<OUTPUTS>& slot, int q, int column, int member, float (&b)[2]) {
        const float* const row = slot.word + column * DEPTH + member;
        b[0] = to_tf32(row[swizzled(column, q)]), b[1] = to_tf32(row[swizzled(column, q + 1)]);
    }
};

// The kernel as it lies, with its outputs side by side: w[c, o, u, v] with the stride 1 along o. Four neighbouring outputs of a term
// are one copy, and a slot holds 16 rows of OUTPUTS. A fragment reads 8 columns of four rows, so row t is swizzled too: column o
// stands at o xor 8 (t mod 4), which are four different groups of 8 banks.
template <int OUTPUTS>
struct Weights<OUTPUTS, 4> {
    const Array<const float, 4>& w;
    int o0, c, u, v;  // the first output of the block; the term that this thread copies next, one of 16

    __device__ Weights(const Array<const float, 4>& w, int o0, int C, int V) : w(w), o0(o0) {
        const int term = threadIdx.x / 8;
        c = term % C, u = term / C / V, v = term / C % V;
    }

    __device__ static int place(int term, int column) { return term * OUTPUTS + (column ^ (term & 3) * 8); }

    __device__ void start_copies(Tile<OUTPUTS>& slot, int C, int U, int V) {
#pragma unroll
        for (int r = 0; r < OUTPUTS / 32; ++r) {
            const int column = threadIdx.x % 8 * 4 + 32 * r, o = o0 + column;
            bool inside = false;
            if (u < U && o < w.shape[1]) inside = true;
            const float* const from = inside ? &w(c, o, u, v) : w.data;
            float* const to = slot.word + place(threadIdx.x / 8, column);
            copy_async(reinterpret_cast<float4*>(to), reinterpret_cast<const float4*>(from), inside);
        }
        for (c += DEPTH; c >= C; c -= C)
            if (++v == V) v = 0, ++u;
    }

    __device__ static void read(const Tile<OUTPUTS>& slot, int q, int column, int member, float (&b)[2]) {
        b[0] = to_tf32(slot.word[place(4 * q + member, column)]), b[1] = to_tf32(slot.word[place(4 * (q + 1) + member, column)]);
    }
};

// Where the outputs of pixel m begin: at the m-th row of y if y is whole and channels last, but not if y is every s-th row and column of a
// larger array.
template <bool PART>
__device__ float* outputs_of(const Array<float, 4>& y, int m) {
    if constexpr (!PART) return y.data + m * y.shape[1];
    const Pixel p = pixel_of(m, y.shape[2], y.shape[3]);
    return &y(p.n, 0, p.i, p.j);
}

// Y[m, o] = finish(o, Σ_k X[m, k] W[o, k]). Thread map: a block of four warps = 128 pixels × OUTPUTS (BM × BN); a warp = 64 pixels ×
// half of the outputs, in the fragments of mma.cuh. `rows.cell(i, u)` and `columns.cell(j, v)` say which cell of x a tap of pixel (i, j)
// reads. Each block reads x once for each tap (after the first time from the L2 cache) and w once; y is written once.
template <int OUTPUTS, int AXES, typename Axis, typename Finish, typename Statistics = NoStatistics>
__device__ void multiply(const Array<const float, 4>& x, const Array<const float, AXES>& w, const Array<float, 4>& y, Axis rows, Axis columns,
                         int U, int V, Finish finish, const Statistics& statistics = {}) {
    constexpr int STAGES = OUTPUTS == 128 ? 3 : 4;  // as many as fit into the 48 KiB that every block has
    constexpr int ACROSS = OUTPUTS / 16;             // fragments across a warp's outputs
    SHARED(Tile<PIXELS>, cells, [STAGES]);
    SHARED(Tile<OUTPUTS>, slots, [STAGES]);  // of W
    const int C = x.shape[1], O = y.shape[1], K = U * V * C, M = y.shape[0] * y.shape[2] * y.shape[3];
    const int tiles = ceil_div(O, OUTPUTS), o0 = blockIdx.x % tiles * OUTPUTS, m0 = blockIdx.x / tiles * PIXELS;

    // A thread copies the same square q of the rows `first`, first + 32, ...: all divisions are done here, before the loop.
    const int q = threadIdx.x % SQUARES, first = threadIdx.x / SQUARES;
    int c = q * 4 % C, u = q * 4 / C / V, v = q * 4 / C % V;  // of the square that this thread copies next
    Pixel pixel[PIXELS / 32];
#pragma unroll
    for (int r = 0; r < PIXELS / 32; ++r) pixel[r] = pixel_of(m0 + first + 32 * r, y.shape[2], y.shape[3]);
    Weights<OUTPUTS, AXES> weights(w, o0, C, V);

    const int steps = ceil_div(K, DEPTH);
    auto start_copies = [&](int step) {
        if (step >= steps) return;  // it would copy zeros that no thread reads
        float* const to = cells[step % STAGES].word + swizzled(first, q);
#pragma unroll
        for (int r = 0; r < PIXELS / 32; ++r) {
            const int k = rows.cell(pixel[r].i, u), l = columns.cell(pixel[r].j, v);
            bool inside = false;
            if (u < U && pixel[r].n < y.shape[0] && k >= 0 && k < x.shape[2] && l >= 0 && l < x.shape[3]) inside = true;
            const float* const from = inside ? &x(pixel[r].n, c, k, l) : x.data;
            copy_async(reinterpret_cast<float4*>(to + (first + 32 * r) * DEPTH), reinterpret_cast<const float4*>(from), inside);
        }
        weights.start_copies(slots[step % STAGES], C, U, V);
        for (c += DEPTH; c >= C; c -= C)  // advance to the same square of the next step
            if (++v == V) v = 0, ++u;
    };

    const int group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
    const int row = threadIdx.x / 64 * 64 + group, column = threadIdx.x / 32 % 2 * (OUTPUTS / 2) + group;
    float sum[4][ACROSS][4] = {};
    for (int step = 0; step < STAGES - 1; ++step) start_copies(step), commit_copies();
    for (int step = 0; step < steps; ++step) {
        wait_for_copies<STAGES - 2>();
        __syncthreads();  // the copies of all threads for this step have arrived, and no thread reads the slot of the step before any more
        start_copies(step + STAGES - 1);
        commit_copies();
        const float* const X = cells[step % STAGES].word + row * DEPTH + member;
#pragma unroll
        for (int q = 0; q < SQUARES; q += 2) {
            const int near = swizzled(group, q), far = swizzled(group, q + 1);
            float a[4][4], b[ACROSS][2];
#pragma unroll
            for (int r = 0; r < 4; ++r) {
                a[r][0] = to_tf32(X[16 * r * DEPTH + near]), a[r][1] = to_tf32(X[(16 * r + 8) * DEPTH + near]);
                a[r][2] = to_tf32(X[16 * r * DEPTH + far]), a[r][3] = to_tf32(X[(16 * r + 8) * DEPTH + far]);
            }
#pragma unroll
            for (int s = 0; s < ACROSS; ++s) Weights<OUTPUTS, AXES>::read(slots[step % STAGES], q, column + 8 * s, member, b[s]);
#pragma unroll
            for (int r = 0; r < 4; ++r)
#pragma unroll
                for (int s = 0; s < ACROSS; ++s) mma_m16n8k8(sum[r][s], a[r], b[s]);
        }
    }
    if constexpr (Statistics::WANTED)
#pragma unroll
        for (int s = 0; s < 2 * ACROSS; ++s) {  // the columns of this lane
            float value[8];
#pragma unroll
            for (int r = 0; r < 8; ++r) value[r] = sum[r / 2][s / 2][r % 2 * 2 + s % 2];
            keep_of_warp(statistics, value, m0 + row, M, o0 + column - group + s / 2 * 8 + 2 * member + s % 2);
        }
    const bool in_pairs = O % 2 == 0;  // two neighbours are written as 8 bytes
#pragma unroll
    for (int r = 0; r < 8; ++r) {
        const int m = m0 + row + 8 * r;
        if (m >= M) break;
        float* const to = outputs_of<Axis::PART>(y, m);
#pragma unroll
        for (int s = 0; s < ACROSS; ++s) {
            const int o = o0 + column - group + 8 * s + 2 * member;
            if (o >= O) break;
            const float one = finish(o, sum[r / 2][s][r % 2 * 2]);
            if (in_pairs) *reinterpret_cast<float2*>(to + o) = make_float2(one, finish(o + 1, sum[r / 2][s][r % 2 * 2 + 1]));
            else to[o] = one;
            if (!in_pairs && o + 1 < O) to[o + 1] = finish(o + 1, sum[r / 2][s][r % 2 * 2 + 1]);
        }
    }
}
