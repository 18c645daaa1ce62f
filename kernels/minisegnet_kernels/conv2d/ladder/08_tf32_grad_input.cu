// Rung 8, first half: the gradient for the input is a convolution too, with the channels of the kernel changed over:
//
//     x̄[n, c, k, l] = Σ_{u,v,o} w[o, c, u, v] g[n, o, i, j]   with   i s_h + u d_h − p_h = k,   j s_w + v d_w − p_w = l
//
// As a matrix product on the pipeline of rung 7: pixels are those of x̄, the gathered image is g, terms are (u V + v) O + o,
// and the kernel is the matrix C × U V O, which the host lays in memory once. The only other thing that changes is
// which cell belongs to a tap: i = (k + p_h − u d_h) / s_h, if that is whole.
//
//     stride 1      g ───────┐                   stride 2    k = 0  1  2  3  4  5       a row k meets the taps u of its
//     3 × 3, p 1    i−1 i i+1│                   2 × 2, p 0  i = 0     1     2           own parity only: of four taps of
//     x̄ row k reads rows k − 1, k, k + 1                     u = 0  1  0  1  0  1        a 2 × 2 kernel one is not zero
//
// With stride 1 nothing is wasted. With a stride the products with the absent taps are made, with zeros: s_h s_w times
// the work. Gathers in a fixed order, so the same bits in each run. Expected on an H100: 70–100 % of rung 7 at stride 1
// [an estimate].
#include "tf32_pipeline.cuh"

// Cell of g that tap u brings to k, along one axis: (k + p − u d) / s; −1, which lies outside, if it is not whole.
struct Backward {
    int stride, padding, dilation;
    __device__ int cell(int k, int u) const {
        const int t = k + padding - u * dilation;
        if (stride == 1) return t;
        return t % stride ? -1 : t / stride;
    }
};

// conv2d.grad_input: x̄_{n,c,k,l} = Σ_o Σ_{u,v} w g. Thread map: a block of 128 threads = 128 pixels × OUTPUTS channels c.
// OUTPUTS = 32, 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(128) conv2d_grad_input__tf32_tuned(Array<const float, 4> g, Array<const float, 2> w, Array<float, 4> xbar, Window at, int U, int V) {
    multiply<OUTPUTS>(g, w, xbar, Backward{at.sh, at.ph, at.dh}, Backward{at.sw, at.pw, at.dw}, U, V, [](int, float sum) { return sum; });
}
