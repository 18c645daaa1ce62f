// The gradient for the kernel as a split matrix product: what the two float32 forms of rung 8 share. `Copies` says how a piece of
// 16 bytes reaches shared memory: by an asynchronous copy, or through the registers of a GPU that has none.
//
//     w̄[o, q] = Σ_m g[m, o] x[m, q]        m = (n, i, j) a pixel,  q = (u, v, c) a term (matrix.cuh)
//
// rung8_grad_weight.cu explains why and how the sum is split.
#pragma once
#include "matrix.cuh"

constexpr int TERMS = 128, ROWS = 64, DEPTH = 16;  // of a tile of w̄: terms q and outputs o (BN, BM); pixels of a step (BK)
constexpr int FOUR = 4, EIGHT = 8;                 // numbers in a piece of 16 bytes; a thread computes EIGHT × EIGHT results
constexpr int THREADS = TERMS / EIGHT * (ROWS / EIGHT);

// Advances by some pixels without a division.
__device__ inline void step(Pixel& p, int pixels, int P, int Q) {
    for (p.j += pixels; p.j >= Q; p.j -= Q)
        if (++p.i == P) p.i = 0, ++p.n;
}
constexpr int STEP = DEPTH * (TERMS + ROWS) / FOUR / THREADS;  // pieces that a thread copies in a step

// Slab s of w̄_{o,c,u,v} = Σ_m g[m, o] x[m, q], over share s of the pixels. Slab s stands in the rows s·O … s·O + O − 1 of `slabs`
// (S·O, C/G, U, V), which lies as (S·O, U, V, C/G). `share` pixels make a slab, a multiple of DEPTH.
// Thread map: a block = 64 outputs × 128 terms of one group and slab; one thread = 8 × 8 of them. In a step of 16 pixels
// it copies four terms of 4 pixels and four outputs of 2 pixels. Reads g once for 128 terms and x once for 64 outputs and tap.
template <typename Copies>
__device__ void sum_slab(const Array<const float, 4>& g, const Array<const float, 4>& x, const Array<float, 4>& slabs, Window at,
                         int groups, int share) {
    constexpr int ACROSS = TERMS / EIGHT, Q_PIECES = TERMS / FOUR, O_PIECES = ROWS / FOUR;  // pieces of 16 bytes in a row
    constexpr int Q_LINES = THREADS / Q_PIECES, O_LINES = THREADS / O_PIECES;
    const int O = g.shape[1] / groups, C = slabs.shape[1], V = slabs.shape[3], terms = C * slabs.shape[2] * V;  // of a group
    const int P = g.shape[2], Q = g.shape[3], pixels = g.shape[0] * P * Q;
    SHARED(float4, cells, [2][DEPTH][Q_PIECES]);      // [buffer][m][q / 4]
    SHARED(float4, gradients, [2][DEPTH][O_PIECES]);  // [buffer][m][o / 4]

    const int o_tiles = ceil_div(O, ROWS), q_tiles = ceil_div(terms, TERMS);
    const int o0 = blockIdx.x % o_tiles * ROWS, q0 = blockIdx.x / o_tiles % q_tiles * TERMS;
    const int group = blockIdx.x / (o_tiles * q_tiles) % groups, slab = blockIdx.x / (o_tiles * q_tiles * groups);
    const int end = min((slab + 1) * share, pixels);

    const int q_piece = threadIdx.x % Q_PIECES, q_line = threadIdx.x / Q_PIECES;
    const int o_piece = threadIdx.x % O_PIECES, o_line = threadIdx.x / O_PIECES;
    const Term tap = term_of(min(q0 + q_piece * FOUR, terms - FOUR), C, V);  // terms past the last repeat the last
    const float* const corner = x.data + group * C + tap.c;
    const float* const outputs = g.data + group * O + min(o0 + o_piece * FOUR, O - FOUR);
    Pixel place = pixel_of(slab * share + q_line, P, Q);

    Copies copies;
    const auto start_copies = [&](int buffer, int m0) {  // pixels m0 … m0 + 15
#pragma unroll
        for (int r = 0; r < DEPTH; r += Q_LINES) {
            const int k = place.i * at.sh + tap.u * at.dh - at.ph, l = place.j * at.sw + tap.v * at.dw - at.pw;
            const bool inside = m0 + q_line + r < end && k >= 0 && k < x.shape[2] && l >= 0 && l < x.shape[3];
            const float* const from = corner + place.n * x.stride[0] + k * x.stride[2] + l * x.stride[3];
            copies.start(r / Q_LINES, &cells[buffer][q_line + r][q_piece], reinterpret_cast<const float4*>(from), inside);
            step(place, Q_LINES, P, Q);
        }
#pragma unroll
        for (int r = 0; r < DEPTH; r += O_LINES) {
            const int m = m0 + o_line + r;  // g has no gaps, so that its pixels lie g.stride[3] apart
            const float* const from = outputs + m * g.stride[3];
            const bool exists = m < end;
            copies.start((DEPTH / Q_LINES) + r / O_LINES, &gradients[buffer][o_line + r][o_piece], reinterpret_cast<const float4*>(from), exists);
        }
        copies.commit();
    };

    const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
    float sum[EIGHT][EIGHT] = {};
    start_copies(0, slab * share);
    for (int m0 = slab * share, buffer = 0; m0 < end; m0 += DEPTH, buffer ^= 1) {
        copies.arrive();
        __syncthreads();  // the copies of all threads have arrived, and no thread reads the other buffer any more
        if (m0 + DEPTH < end) start_copies(buffer ^ 1, m0 + DEPTH);
#pragma unroll 2  // unrolled further, it would need more than 128 registers
        for (int m = 0; m < DEPTH; ++m) {
            float a[EIGHT], b[EIGHT];
            four(&a[0]) = gradients[buffer][m][down], four(&a[FOUR]) = gradients[buffer][m][down + O_PIECES / 2];
            four(&b[0]) = cells[buffer][m][across], four(&b[FOUR]) = cells[buffer][m][across + Q_PIECES / 2];
#pragma unroll
            for (int r = 0; r < EIGHT; ++r)
#pragma unroll
                for (int s = 0; s < EIGHT; ++s) sum[r][s] += a[r] * b[s];
        }
    }
#pragma unroll
    for (int r = 0; r < EIGHT; ++r) {
        const int o = o0 + down * FOUR + r % FOUR + r / FOUR * (ROWS / 2);
        if (o >= O) break;
#pragma unroll
        for (int s = 0; s < EIGHT; s += FOUR) {  // four terms at once
            const int q = q0 + across * FOUR + s / FOUR * (TERMS / 2);
            if (q < terms) four(&slabs.data[(slab * g.shape[1] + group * O + o) * terms + q]) = four(&sum[r][s]);
        }
    }
}
