// Rung 8, the gradient for the input in float32: rung 5 with permuted weights.
//
//     x̄[m, c] = Σ_q g[m, q] w[c, q]        m = (n, k, l) a pixel of x̄,  q = (u, v, o) a term (matrix.cuh)
//
// What it adds: with stride 1, x̄ is a convolution of g whose kernel is turned by 180° and has its two channel axes swapped.
// The host permutes the weights in this way, and rung 5's `multiply` does the rest.
//
//     stride 2,    k = 0  1  2  3  4  5        A row k meets only the taps u of its own parity (k + p − u d must be
//     2 × 2, p 0   i = 0     1     2           divisible by s). So the rows of x̄ fall into s classes, k mod s, and
//                  u = 0  1  0  1  0  1        the columns likewise.
//
// All rows of a class meet the same taps. The class is therefore a convolution with these taps and stride 1 that writes every s-th
// row and column; the host launches one for each class. No product with a zero between the pixels is computed: a transposed
// convolution 2 × 2 with stride 2 is four products with a 1 × 1 kernel each.
//
// What holds it back: what holds rung 5 back, and with a stride the writes, which are s pixels apart.
// Bound on an H100 by the instructions of its inner loop: 60.1 TFLOP/s; the data sheet has 66.9. Not measured (docs/ladder.md).
//
// Serves float with channels last in g and multiples of four channels of a group in x̄ and g; any stride, padding, dilation, groups.
#include "rung5_asynchronous.cu"

// conv2d.grad_input, one class of rows and columns: x̄[m, c] = Σ_q g[m, q] turned[c, q]. `xbar` is every s_h-th row and every
// s_w-th column of the result; `turned` has the taps of this class, last tap first. Thread map: one thread = 8 × 8 of x̄[n,c,k,l].
// OUTPUTS = 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(2 * OUTPUTS, RESIDENT<OUTPUTS>) conv2d_grad_input__asynchronous(
    Array<const float, 4> g, Array<const float, 4> turned, Array<float, 4> xbar, Window at, int groups) {
    multiply<OUTPUTS>(g, turned, xbar, at, groups, [](int, float sum) { return sum; });
}
