// Rung 8, the gradient for the kernel on the tensor cores. It is a matrix product too, but its long sum runs over pixels:
//
//     w̄[o, c, u, v] = Σ_m g[m, o] X[m, e]   with the pixel m = (n P + i) Q + j and the entry e = (u V + v) C + c,
//     X[m, e] = x[n, c, i s_h + u d_h − p_h, j s_w + v d_w − p_w]
//
//          outputs o              entries e, 64 of a block
//        ┌───────────┐           ┌───────────┐                 w̄ is small (9 tiles of 64 × 64 for 64 → 64 channels), and
//    32  │ g, staged │     32    │ X, staged │  pixels m       a GPU has 132 multiprocessors. So the pixels are split into
//    m ↓ └───────────┘     m ↓   └───────────┘  of a step      S slabs, each with a partial w̄, and a second kernel
//              └────── gᵀ X ───────────┘                       (conv2d_grad_weight__sum) adds them in a fixed order.
//                  64 × 64 sums, a warp 32 × 32                No atomics: every run gives the same bits.
//
// What it adds to rung 7: a transposed operand. A lane of mma.sync takes its fragment element by element, so gᵀ costs nothing: a
// lane reads column o of row m. A warp reads four rows, and in each row eight neighbours, two squares of four words. All rows
// start at bank 0; to put the four rows into different banks, square q of row r stands at q xor 2 (r mod 4).
//
// What holds it back: the slabs cross memory twice, and each fragment read serves fewer products than rung 7's (32 × 32 a warp).
// Serves float with O and C multiples of 4 and both images channels last: a copy is 16 bytes, and three steps are in flight.
// Bound on an H100 by the instructions of its inner loop: 107.7 TFLOP/s; the data sheet has 494.7. Not measured (docs/ladder.md).
#include "../../cuda/async.cuh"
#include "../../cuda/mma.cuh"
#include "matrix.cuh"

constexpr int SIDE = 64, SQUARES = SIDE / 4, DEPTH = 32, STAGES = 3;  // of a block: outputs and entries; pixels of a step; steps under way
constexpr int THREADS = 128, TOGETHER = THREADS / SQUARES;            // rows that are copied at once

// A step of g, or of X: 32 pixels × 64.
struct alignas(16) Tile {
    float word[DEPTH * SIDE];
};

// Where square q of a row starts.
__device__ inline int swizzled(int row, int q) { return (q ^ 2 * (row & 3)) * 4; }

// conv2d.grad_weight, a slab: Σ_m g x over the pixels m of slab s. Thread map: a block = 64 outputs × 64 entries of one slab;
// a warp = 32 × 32 of them, in the fragments of mma.cuh. Reads g once for each 64 entries and x once for each 64 outputs and
// tap; writes 4 bytes for each slab and weight. `slabs` is (S, O, U V C).
__global__ void __launch_bounds__(128) conv2d_grad_weight__tf32_tuned(Array<const float, 4> g, Array<const float, 4> x,
                                                                      Array<float, 3> slabs, Window at, int U, int V) {
    SHARED(Tile, gradients, [STAGES]);
    SHARED(Tile, cells, [STAGES]);
    const int O = g.shape[1], P = g.shape[2], Q = g.shape[3], C = x.shape[1], E = slabs.shape[2], S = slabs.shape[0];
    const int across = ceil_div(E, SIDE), down = ceil_div(O, SIDE);
    const int e0 = blockIdx.x % across * SIDE, o0 = blockIdx.x / across % down * SIDE, s = blockIdx.x / (across * down);
    const int pixels = g.shape[0] * P * Q, share = ceil_div(pixels, S), end = min((s + 1) * share, pixels);
    const int steps = max(ceil_div(end - s * share, DEPTH), 0);

    // A thread copies one square q of the rows `first`, first + 8, ...: its outputs and its entries never change.
    const int q = threadIdx.x % SQUARES, first = threadIdx.x / SQUARES;
    const int o = o0 + 4 * q, e = e0 + 4 * q, c = e % C, u = e / C / V, v = e / C % V;
    int m = s * share + first;  // the pixel that is copied next
    auto start_copies = [&](int step) {
        if (step >= steps) return;  // it would copy zeros that no thread reads
#pragma unroll
        for (int r = first; r < DEPTH; r += TOGETHER, m += TOGETHER) {
            const Pixel p = pixel_of(m, P, Q);
            const int k = p.i * at.sh + u * at.dh - at.ph, l = p.j * at.sw + v * at.dw - at.pw;
            bool with_g = false, with_x = false;
            if (m < end && o < O) with_g = true;
            if (m < end && e < E && k >= 0 && k < x.shape[2] && l >= 0 && l < x.shape[3]) with_x = true;
            const float* const from_g = with_g ? &g(p.n, o, p.i, p.j) : g.data;
            const float* const from_x = with_x ? &x(p.n, c, k, l) : x.data;
            const int place = r * SIDE + swizzled(r, q);
            copy_async(reinterpret_cast<float4*>(gradients[step % STAGES].word + place), reinterpret_cast<const float4*>(from_g), with_g);
            copy_async(reinterpret_cast<float4*>(cells[step % STAGES].word + place), reinterpret_cast<const float4*>(from_x), with_x);
        }
    };

    const int group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
    const int row = threadIdx.x / 64 * 32 + group, column = threadIdx.x / 32 % 2 * 32 + group;
    float sum[2][4][4] = {};
    for (int step = 0; step < STAGES - 1; ++step) start_copies(step), commit_copies();
    for (int step = 0; step < steps; ++step) {
        wait_for_copies<STAGES - 2>();
        __syncthreads();  // the copies of all threads for this step have arrived, and no thread reads the slot of the step before any more
        start_copies(step + STAGES - 1);
        commit_copies();
        const float* const G = gradients[step % STAGES].word;
        const float* const X = cells[step % STAGES].word;
#pragma unroll
        for (int d = 0; d < DEPTH; d += 8) {
            auto word = [&](const float* tile, int across, int more) {  // row d + member (+ 4) of a tile: both are swizzled alike
                return to_tf32(tile[(d + member + more) * SIDE + swizzled(member, across / 4) + across % 4]);
            };
            float a[2][4], b[4][2];
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                a[r][0] = word(G, row + 16 * r, 0), a[r][1] = word(G, row + 16 * r + 8, 0);
                a[r][2] = word(G, row + 16 * r, 4), a[r][3] = word(G, row + 16 * r + 8, 4);
            }
#pragma unroll
            for (int t = 0; t < 4; ++t) b[t][0] = word(X, column + 8 * t, 0), b[t][1] = word(X, column + 8 * t, 4);
#pragma unroll
            for (int r = 0; r < 2; ++r)
#pragma unroll
                for (int t = 0; t < 4; ++t) mma_m16n8k8(sum[r][t], a[r], b[t]);
        }
    }
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int t = 0; t < 4; ++t) {  // of e two neighbours, 8 bytes
            const int o = o0 + row + 8 * r, e = e0 + column - group + 8 * t + 2 * member;
            const float* const both = sum[r / 2][t] + r % 2 * 2;
            if (o < O && e < E) *reinterpret_cast<float2*>(&slabs(s, o, e)) = make_float2(both[0], both[1]);
        }
}
