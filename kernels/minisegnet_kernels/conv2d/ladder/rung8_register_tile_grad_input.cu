// Rung 8, the gradient for the input in float32 on a GPU without asynchronous copies (before 8.0): rung 4 with permuted weights.
//
//     x̄[m, c] = Σ_q g[m, q] w[c, q]        m = (n, k, l) a pixel of x̄,  q = (u, v, o) a term (matrix.cuh)
//
// What it adds to rung 4: nothing but the weights that the host permutes. With stride 1, x̄ is a convolution of g whose kernel is
// turned by 180° and has its two channel axes swapped. A stride cuts it into classes of rows and columns, one launch each, as
// rung8_grad_input.cu explains.
//
// What holds it back: what holds rung 4 back, and with a stride the writes, which are s pixels apart.
// Bound on an H100 by the instructions of its inner loop: 26 TFLOP/s; the data sheet has 66.9. Not measured (docs/ladder.md).
//
// Serves float with channels last in g and a multiple of four channels of a group in g; any stride, padding, dilation, groups.
#include "rung4_register_tile.cu"

// conv2d.grad_input, one class of rows and columns: x̄[m, c] = Σ_q g[m, q] turned[c, q]. `xbar` is every s_h-th row and every
// s_w-th column of the result; `turned` has the taps of this class, last tap first. Thread map: one thread = 8 × 8 of x̄[n,c,k,l].
// OUTPUTS = 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(2 * OUTPUTS) conv2d_grad_input__register_tile(Array<const float, 4> g, Array<const float, 4> turned,
                                                                                Array<float, 4> xbar, Window at, int groups) {
    multiply<OUTPUTS>(g, turned, xbar, at, groups, [](int, float sum) { return sum; });
}
