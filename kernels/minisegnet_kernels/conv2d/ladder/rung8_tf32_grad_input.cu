// Rung 8, first half: the gradient for the input is a convolution too, with the channels of the kernel changed over:
//
//     x̄[n, c, k, l] = Σ_{u,v,o} w[o, c, u, v] g[n, o, i, j]   with   i s_h + u d_h − p_h = k,   j s_w + v d_w − p_w = l
//
// As a matrix product on the pipeline of rung 7: pixels are those of x̄, the gathered image is g, terms are (u V + v) O + o,
// and the kernel, turned by 180°, is the matrix C × U V O, which the host lays in memory.
//
//     stride 1      g ───────┐                   stride 2    k = 0  1  2  3  4  5       a row k meets the taps u of its
//     3 × 3, p 1    i−1 i i+1│                   2 × 2, p 0  i = 0     1     2           own parity only: of four taps of
//     x̄ row k reads rows k − 1, k, k + 1                     u = 0  1  0  1  0  1        a 2 × 2 kernel one is not zero
//
// With a stride s the rows of x̄ fall into s classes, k mod s, and so do the columns. Each class meets the same taps
// everywhere: it is a convolution with these and with stride 1, and writes every s-th row and column. The host launches
// one for each (as in 08_gradients.cu), and no product with a zero between the pixels is made: a 2 × 2 kernel with stride 2
// takes four products with 1 × 1. Gathers in a fixed order, so the same bits in each run.
// Expected on an H100: 70–100 % of rung 7 [an estimate].
#include "tf32_pipeline.cuh"

// Cell of g that a tap brings to x̄, along one axis: the row of its class + u d − p.
struct Backward {
    static constexpr bool PART = true;  // every s-th row and column of x̄
    int padding, dilation;
    __device__ int cell(int k, int u) const { return k + u * dilation - padding; }
};

// conv2d.grad_input, one class of rows and columns: x̄_{n,c,k,l} = Σ_o Σ_{u,v} w g. `w` has the taps that this class meets, turned.
// Thread map: a block of 128 threads = 128 pixels × OUTPUTS channels c.
// OUTPUTS = 32, 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(128) conv2d_grad_input__tf32_tuned(Array<const float, 4> g, Array<const float, 2> w, Array<float, 4> xbar, Window at, int U, int V) {
    multiply<OUTPUTS>(g, w, xbar, Backward{at.ph, at.dh}, Backward{at.pw, at.dw}, U, V, [](int, float sum) { return sum; });
}
