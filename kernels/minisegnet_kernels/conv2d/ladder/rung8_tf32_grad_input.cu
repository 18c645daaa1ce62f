// Rung 8, the gradient for the input on the tensor cores: rung 7 with the weights read the other way.
//
//     x̄[n, c, k, l] = Σ_{u,v,o} w[o, c, u, v] g[n, o, i, j]   with   i s_h + u d_h − p_h = k,   j s_w + v d_w − p_w = l
//
// As a matrix product on rung 7's pipeline: the pixels are those of x̄, the gathered image is g, the terms are (u V + v) O + o, and
// the matrix C × U V O is the kernel turned by 180°. Nothing is rearranged in memory: a kernel that lies as (O, U, V, C) has the
// channels c of a term side by side, where forward has the terms of an output, and `Weights` of the pipeline copies those instead.
//
//     stride 1      g ───────┐                   stride 2    k = 0  1  2  3  4  5       a row k meets only the taps u of
//     3 × 3, p 1    i−1 i i+1│                   2 × 2, p 0  i = 0     1     2           its own parity: one of the four taps
//     x̄ row k reads rows k − 1, k, k + 1                     u = 0  1  0  1  0  1        of a 2 × 2 kernel
//
// With a stride s the rows of x̄ fall into s classes, k mod s, and the columns likewise. All rows of a class meet the same taps. The
// class is therefore a convolution with these taps and stride 1 that writes every s-th row and column, and the host launches one
// for each class (as in rung8_grad_input.cu). No product with a zero between the pixels is computed: a 2 × 2 kernel with
// stride 2 takes four products with 1 × 1. Every thread gathers in a fixed order, so every run gives the same bits.
//
// What holds it back: what holds rung 7 back, and with a stride the writes, which are s pixels apart.
// Bound on an H100 by the instructions of its inner loop: 246.9 TFLOP/s; the data sheet has 494.7. Not measured (docs/ladder.md).
#include "tf32_pipeline.cuh"

// Cell of g under tap u of row k of the class, along one axis: k + u d − p.
struct Backward {
    static constexpr bool PART = true;  // every s-th row and column of x̄
    int padding, dilation;
    __device__ int cell(int k, int u) const { return k + u * dilation - padding; }
};

// conv2d.grad_input, one class of rows and columns: x̄_{n,c,k,l} = Σ_o Σ_{u,v} w g. `w` has the taps that this class meets, last first.
// Thread map: a block of 128 threads = 128 pixels × OUTPUTS channels c.
// OUTPUTS = 32, 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(128) conv2d_grad_input__tf32_tuned(Array<const float, 4> g, Array<const float, 4> w, Array<float, 4> xbar,
                                                                     Window at, int U, int V) {
    multiply<OUTPUTS>(g, w, xbar, Backward{at.ph, at.dh}, Backward{at.pw, at.dw}, U, V, [](int, float sum) { return sum; });
}
