// Rung 8, the gradient for the kernel in float32 on a GPU without asynchronous copies (before 8.0): the split reduction of
// rung8_grad_weight.cu, whose pieces pass through registers.
//
//     w̄[o, q] = Σ_m g[m, o] x[m, q]        m = (n, i, j) a pixel,  q = (u, v, c) a term (matrix.cuh)
//
// What it adds to rung 4: the split sum, and copies that overlap with products although the GPU cannot copy by itself. A load that
// no thread waits for yet blocks nothing: the thread goes on until the value is used. So a step is loaded into registers, the
// products of the step before are computed, and only then are the registers stored in the other buffer:
//
//        loads of step    0 │ 1    │ 2    │ 3    │          into registers
//        stores of step     0 │    1 │    2 │    3 │        into the buffer that no thread reads
//        products of step       0      1      2      3      one barrier a step is enough, as with cp.async
//        buffer             a      b      a      b
//
// What holds it back: 6 pieces are 24 registers that hold no sums, and each piece is moved by two instructions instead of one.
// Bound on an H100 by the instructions of its inner loop: 58.3 TFLOP/s; the data sheet has 66.9. Not measured (docs/ladder.md).
//
// Serves float with channels last in x and g and multiples of four channels of a group in both; any stride, padding, dilation,
// groups.
#include "split_reduction.cuh"

// The pieces that a thread copies in a step wait in registers until the products of the step before are computed.
struct ThroughRegisters {
    float4 piece[STEP];
    float4* place[STEP];

    __device__ void start(int number, float4* to, const float4* from, bool present) {
        piece[number] = present ? *from : float4{};
        place[number] = to;
    }
    __device__ void commit() {}
    __device__ void arrive() {
#pragma unroll
        for (int p = 0; p < STEP; ++p) *place[p] = piece[p];
    }
};

// conv2d.grad_weight: slab s of w̄_{o,c,u,v} = Σ_m g[m, o] x[m, q], over share s of the pixels. Slab s stands in the rows s·O …
// s·O + O − 1 of `slabs` (S·O, C/G, U, V). Thread map: a block = 64 outputs × 128 terms of one group and slab; one thread = 8 × 8.
__global__ void __launch_bounds__(128, 2) conv2d_grad_weight__register_tile(Array<const float, 4> g, Array<const float, 4> x,
                                                                           Array<float, 4> slabs, Window at, int groups, int share) {
    sum_slab<ThroughRegisters>(g, x, slabs, at, groups, share);
}
