// Rung 7, feed the tensor cores: they multiply faster than rung 6 delivers numbers. Here x is read 16 bytes at a time along
// the channels, straight into shared memory (cp.async), three steps ahead, to places without bank conflicts; and every cell
// that a warp reads from there serves 64 products instead of 32, as a weight already does (tf32_pipeline.cuh has the drawing).
//
//     y[n, o, i, j] = b_o + Σ_{u,v,c} w[o, c, u, v] x[n, c, i s_h + u d_h − p_h, j s_w + v d_w − p_w]
//
// What it adds, per warp and step of 16 terms
//                                       rung 6, 64 × 32     here, 64 × 64
//       numbers from shared memory          1536                2048
//       multiplications                    32768               65536
//       bank conflicts                      none                none, nor do the 16-byte copies have any
//       threads wait for memory             yes                 no: STAGES − 1 steps are in flight
//
// A copy changes nothing on its way, so inputs are rounded to TF32 when they are read from shared memory. The host chooses
// OUTPUTS (BN): with 32 and 64, narrow layers do not compute outputs that do not exist. The epilogue is fused: bias and ReLU are
// applied to the sums in registers, because a pass of their own would cost as much memory traffic as the convolution.
// So are the statistics that a batch normalisation behind it needs (statistics.cuh).
//
// What holds it back: each fragment is read from shared memory element by element; ldmatrix and, on Hopper, wgmma read whole tiles.
// Bound on an H100 by the instructions of its inner loop: 250.9 TFLOP/s; the data sheet has 494.7. Not measured (docs/ladder.md).
//
// Serves float without groups; x channels last with C a multiple of 4, and w as a matrix O × U V C, which the host lays out.
#include "tf32_pipeline.cuh"

// Cell of x under tap u of output i, along one axis: i s + u d − p.
struct Forward {
    static constexpr bool PART = false;  // all of y is computed
    int stride, padding, dilation;
    __device__ int cell(int i, int u) const { return i * stride + u * dilation - padding; }
};

// conv2d.forward: y_{n,o,i,j} = b_o + Σ_{c,u,v} w x. Thread map: a block of 128 threads = 128 pixels × OUTPUTS.
// OUTPUTS = 32, 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(128) conv2d_forward__tf32_tuned(Array<const float, 4> x, Array<const float, 2> w,
    Array<const float, 1> b, Array<float, 4> y, Window at, int U, int V) {
    const Forward rows = {at.sh, at.ph, at.dh}, columns = {at.sw, at.pw, at.dw};
    multiply<OUTPUTS>(x, w, y, rows, columns, U, V, [&](int o, float sum) { return b(o) + sum; });
}

// conv2d.forward_relu: y_{n,o,i,j} = max(0, b_o + Σ_{c,u,v} w x). Thread map: a block of 128 threads = 128 pixels × OUTPUTS.
// OUTPUTS = 32, 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(128) conv2d_forward_relu__tf32_tuned(Array<const float, 4> x, Array<const float, 2> w,
    Array<const float, 1> b, Array<float, 4> y, Window at, int U, int V) {
    const Forward rows = {at.sh, at.ph, at.dh}, columns = {at.sw, at.pw, at.dw};
    multiply<OUTPUTS>(x, w, y, rows, columns, U, V, [&](int o, float sum) { return relu(b(o) + sum); });
}

// conv2d.forward_statistics: y_{n,o,i,j} = b_o + Σ_{c,u,v} w x, and the moments of each 64 pixels of y.
// Thread map: a block of 128 threads = 128 pixels × OUTPUTS.
// OUTPUTS = 32, 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(128) conv2d_forward_statistics__tf32_tuned(Array<const float, 4> x, Array<const float, 2> w,
    Array<const float, 1> b, Array<float, 4> y, Window at, int U, int V, Array<float, 2> means, Array<float, 2> spreads) {
    const Forward rows = {at.sh, at.ph, at.dh}, columns = {at.sw, at.pw, at.dw};
    multiply<OUTPUTS>(x, w, y, rows, columns, U, V, [&](int o, float sum) { return b(o) + sum; }, Slabs{b, means, spreads});
}
