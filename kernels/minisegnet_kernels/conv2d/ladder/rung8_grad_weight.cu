// Rung 8, the gradient for the kernel in float32: a matrix product with a split reduction (split-K).
//
//     w̄[o, q] = Σ_m g[m, o] x[m, q]        m = (n, i, j) a pixel,  q = (u, v, c) a term (matrix.cuh)
//
// The sum over the pixels m is long, and there are few results (o, q). For 64 → 64 channels and a 3 × 3 kernel the results are
// 5 tiles of 64 × 128, and a large GPU has 132 multiprocessors.
//
// What it adds: the sum is split. Each of S blocks sums a share of the pixels into a slab of its own, a partial w̄, and a
// second kernel (conv2d_grad_weight__sum, in ../kernel.cu) adds the slabs, always in the same order. Atomic additions would
// need no slabs, but they add in the order in which the blocks end, so the last digits would differ from run to run.
//
//        m ──▶  share 0   share 1   share 2                       slab 0   slab 1   slab 2
//            ┌─────────┬─────────┬─────────┐                     ┌──────┐ ┌──────┐ ┌──────┐
//     g    o │/////////│         │         │        each block   │//////│+│      │+│      │  =  w̄[o, q]
//            └─────────┴─────────┴─────────┘     ───────────▶  o │//////│ │      │ │      │
//            ┌─────────┬─────────┬─────────┐                     └──────┘ └──────┘ └──────┘
//     x    q │/////////│         │         │                        q
//            └─────────┴─────────┴─────────┘
//
// In both matrices the index that is *not* summed lies innermost (channels last), so a copy of 16 bytes holds four o or
// four q of one pixel, and shared memory has rung 4's order: [m][o] and [m][q]. A thread always copies the same four terms
// (u, v, c … c+3); only its pixel moves on, which `step` counts with additions. As in rung 5, the next step is copied while
// this one is computed.
//
// What holds it back: the slabs are written and read back; g is read again for every 128 terms, x for every tap and 64 outputs.
// Bound on an H100 by the instructions of its inner loop: 60.7 TFLOP/s; the data sheet has 66.9. Not measured (docs/ladder.md).
//
// Serves float with channels last in x and g and multiples of four channels of a group in both; any stride, padding, dilation,
// groups.
#include "../../cuda/async.cuh"
#include "split_reduction.cuh"

// The pieces that a thread copies in a step: cp.async brings each to its place without registers.
struct Asynchronous {
    __device__ void start(int, float4* to, const float4* from, bool present) { copy_async(to, from, present); }
    __device__ void commit() { commit_copies(); }
    __device__ void arrive() { wait_for_copies<0>(); }
};

// conv2d.grad_weight: slab s of w̄_{o,c,u,v} = Σ_m g[m, o] x[m, q], over share s of the pixels. Slab s stands in the rows s·O …
// s·O + O − 1 of `slabs` (S·O, C/G, U, V). Thread map: a block = 64 outputs × 128 terms of one group and slab; one thread = 8 × 8.
__global__ void __launch_bounds__(128) conv2d_grad_weight__asynchronous(Array<const float, 4> g, Array<const float, 4> x,
                                                                        Array<float, 4> slabs, Window at, int groups, int share) {
    sum_slab<Asynchronous>(g, x, slabs, at, groups, share);
}
