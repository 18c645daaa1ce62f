// Rung 8, the two gradients as products of matrices, on the path of rung 5. (On the tensor cores: 08_…_tf32.)
//
// The gradient of the weight is the product that sums over pixels, and m = (n, i, j) are many, while o and q = (u, v, c) are few:
//
//     w̄[o, q] = Σ_m g[m, o] x[m, q]           64 channels, 3 × 3: 9 tiles of 64 × 64, for 132 multiprocessors
//
// What it adds: the sum is split. Each of S blocks sums a share of the pixels into a slab of its own, a partial w̄; and a second
// kernel adds the slabs, always in the same order. Atomics would add in whatever order the blocks end, with other
// digits in every run.
//
//        m ──▶  share 0   share 1   share 2                       slab 0   slab 1   slab 2
//            ┌─────────┬─────────┬─────────┐                     ┌──────┐ ┌──────┐ ┌──────┐
//     g    o │/////////│         │         │        each block   │//////│+│      │+│      │  =  w̄[o, q]
//            └─────────┴─────────┴─────────┘     ───────────▶  o │//////│ │      │ │      │
//            ┌─────────┬─────────┬─────────┐                     └──────┘ └──────┘ └──────┘
//     x    q │/////////│         │         │                        q
//            └─────────┴─────────┴─────────┘
//
// Both matrices lie with the index that is *not* summed innermost (channels last), so a copy of 16 bytes brings four o or four q
// of one pixel, and shared memory has the order of rung 4: [m][o], [m][q]. A thread's four terms (u, v, c … c+3) never change:
// it is the pixel that goes on, by additions (`step`).
//
// The gradient of the input with stride 1 is a convolution of g with the kernel turned by 180° and its two channels changed
// over: permuted weights, and then nothing else but rung 5's `multiply`. With a stride s the rows k of x̄ fall into s classes,
// k mod s, and each class meets only some of the taps u: it is a convolution with these, and with stride 1, that writes
// every s-th row. The host cuts the kernel so; no product with a zero between the pixels is made.
// A transposed convolution 2 × 2 with stride 2 is four products with a 1 × 1 kernel each.
//
// Expected on an H100 (estimate): 20 to 36 TFLOP/s for x̄, 14 to 25 for w̄.
//
// Serves float, channels last, multiples of four channels of a group, of x and of g; any stride, padding, dilation, groups.
#include "05_asynchronous.cu"

constexpr int TERMS = 128, ROWS = 64, DEPTH = 16;  // of a tile of w̄: q and o; and pixels of a step
constexpr int GRADIENT_THREADS = TERMS / EIGHT * (ROWS / EIGHT);

__device__ inline float4& four(float* a) { return *reinterpret_cast<float4*>(a); }

// Going on by some pixels without a division.
__device__ inline void step(Pixel& p, int pixels, int P, int Q) {
    for (p.j += pixels; p.j >= Q; p.j -= Q)
        if (++p.i == P) p.i = 0, ++p.n;
}

// conv2d.grad_weight: slab s of w̄_{o,c,u,v} = Σ_m g[m, o] x[m, q], over share s of the pixels. Slab s stands in the rows s·O …
// s·O + O − 1 of `slabs` (S·O, C/G, U, V), which lies as (S·O, U, V, C/G). `share` pixels make a slab, a multiple of DEPTH.
// Thread map: a block = 64 outputs × 128 terms of one group and slab; one thread = 8 × 8 of them. In a step of 16 pixels
// it brings four terms of 4 pixels and four outputs of 2 pixels. Reads g once for 128 terms and x once for 64 outputs and tap.
__global__ void __launch_bounds__(128) conv2d_grad_weight__asynchronous(Array<const float, 4> g, Array<const float, 4> x,
                                                                        Array<float, 4> slabs, Window at, int groups, int share) {
    constexpr int ACROSS = TERMS / EIGHT, Q_PIECES = TERMS / FOUR, O_PIECES = ROWS / FOUR;  // pieces of 16 bytes in a row
    constexpr int Q_LINES = GRADIENT_THREADS / Q_PIECES, O_LINES = GRADIENT_THREADS / O_PIECES;
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
    const Term tap = term(min(q0 + q_piece * FOUR, terms - FOUR), C, V);  // terms past the last are the last once more
    const float* const corner = x.data + group * C + tap.c;
    const float* const outputs = g.data + group * O + min(o0 + o_piece * FOUR, O - FOUR);
    Pixel place = pixel(slab * share + q_line, P, Q);

    const auto bring = [&](int buffer, int m0) {  // pixels m0 … m0 + 15
#pragma unroll
        for (int r = 0; r < DEPTH; r += Q_LINES) {
            const int k = place.i * at.sh + tap.u * at.dh - at.ph, l = place.j * at.sw + tap.v * at.dw - at.pw;
            const bool inside = m0 + q_line + r < end && k >= 0 && k < x.shape[2] && l >= 0 && l < x.shape[3];
            const float* const from = corner + place.n * x.stride[0] + k * x.stride[2] + l * x.stride[3];
            copy_async(&cells[buffer][q_line + r][q_piece], reinterpret_cast<const float4*>(from), inside);
            step(place, Q_LINES, P, Q);
        }
#pragma unroll
        for (int r = 0; r < DEPTH; r += O_LINES) {
            const int m = m0 + o_line + r;  // g has no gaps, so that its pixels lie g.stride[3] apart
            const bool exists = m < end;
            copy_async(&gradients[buffer][o_line + r][o_piece], reinterpret_cast<const float4*>(outputs + m * g.stride[3]), exists);
        }
        commit_copies();
    };

    const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
    float sum[EIGHT][EIGHT] = {};
    bring(0, slab * share);
    for (int m0 = slab * share, buffer = 0; m0 < end; m0 += DEPTH, buffer ^= 1) {
        wait_for_copies<0>();
        __syncthreads();  // these pixels have come for all, and all are done with the other buffer
        if (m0 + DEPTH < end) bring(buffer ^ 1, m0 + DEPTH);
#pragma unroll 2  // more would take more than 128 registers
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

// conv2d.grad_weight, at last: w̄_{o,c,u,v} = Σ_s slab s, in the order of s. Thread map: one thread = one w̄[o,c,u,v].
__global__ void conv2d_grad_weight__asynchronous_sum(Array<const float, 4> slabs, Array<float, 4> wbar) {
    const int number = thread_number();
    if (number >= count(wbar)) return;
    const auto [o, c, u, v] = place(wbar, number);
    float sum = 0;
    for (int so = o; so < slabs.shape[0]; so += wbar.shape[0]) sum += slabs(so, c, u, v);
    wbar(o, c, u, v) = sum;
}

// conv2d.grad_input, one class of rows and columns: x̄[m, c] = Σ_q g[m, q] turned[c, q], q = (u, v, o), where `xbar` is every
// s_h-th row and every s_w-th column of the result. Thread map: one thread = 8 × 8 of x̄[n,c,k,l].
// OUTPUTS = 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(2 * OUTPUTS, 256 / OUTPUTS) conv2d_grad_input__asynchronous(
    Array<const float, 4> g, Array<const float, 4> turned, Array<float, 4> xbar, Window at, int groups) {
    multiply<OUTPUTS>(g, turned, xbar, at, groups, [](int, float sum) { return sum; });
}
