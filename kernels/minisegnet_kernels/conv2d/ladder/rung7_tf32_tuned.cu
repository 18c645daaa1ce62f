// Rung 7: feed the tensor cores. They multiply faster than rung 6 brings numbers: x is now read 16 bytes at a time
// along the channels, straight into shared memory (cp.async), three steps ahead, into places without bank conflicts,
// and every number that a warp reads from there serves 64 products instead of 32 (tf32_pipeline.cuh has the drawing).
//
//     y[n, o, i, j] = b_o + Σ_{u,v,c} w[o, c, u, v] x[n, c, i s_h + u d_h − p_h, j s_w + v d_w − p_w]
//
//     per warp and step of 16 terms     rung 6, 64 × 32     here, 64 × 64
//       numbers from shared memory          1536                2048
//       multiplications                    32768               65536
//       bank conflicts                      none                none, of 16-byte copies neither
//       threads wait for memory             yes        while STAGES − 1 steps are under way, no
//
// It wants x channels last with C a multiple of 4, and w as a matrix O × U V C (the host lays it so). Inputs are
// rounded to TF32 when they are read from shared memory, since a copy changes nothing on its way. OUTPUTS is chosen
// by the host: 32 and 64 keep narrow layers from computing outputs that there are not. The bias and the ReLU are
// applied to the sums in registers: a pass of its own would cost as much memory traffic as the convolution. So are the
// statistics that a batch normalisation behind it wants (statistics.cuh).
// On an H100 100–180 TFLOP/s are expected [an estimate].
#include "tf32_pipeline.cuh"

// Cell of x under tap u of output i, along one axis: i s + u d − p.
struct Forward {
    static constexpr bool PART = false;  // all of y is made
    int stride, padding, dilation;
    __device__ int cell(int i, int u) const { return i * stride + u * dilation - padding; }
};

// conv2d.forward: y_{n,o,i,j} = b_o + Σ_{c,u,v} w x. Thread map: a block of 128 threads = 128 pixels × OUTPUTS.
// OUTPUTS = 32, 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(128) conv2d_forward__tf32_tuned(Array<const float, 4> x, Array<const float, 2> w, Array<const float, 1> b, Array<float, 4> y, Window at, int U, int V) {
    multiply<OUTPUTS>(x, w, y, Forward{at.sh, at.ph, at.dh}, Forward{at.sw, at.pw, at.dw}, U, V, [&](int o, float sum) { return b(o) + sum; });
}

// conv2d.forward_relu: y_{n,o,i,j} = max(0, b_o + Σ_{c,u,v} w x). Thread map: a block of 128 threads = 128 pixels × OUTPUTS.
// OUTPUTS = 32, 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(128) conv2d_forward_relu__tf32_tuned(Array<const float, 4> x, Array<const float, 2> w, Array<const float, 1> b, Array<float, 4> y, Window at, int U, int V) {
    multiply<OUTPUTS>(x, w, y, Forward{at.sh, at.ph, at.dh}, Forward{at.sw, at.pw, at.dw}, U, V, [&](int o, float sum) { return relu(b(o) + sum); });
}

// conv2d.forward_statistics: y_{n,o,i,j} = b_o + Σ_{c,u,v} w x, and the moments of each 64 pixels of y.
// Thread map: a block of 128 threads = 128 pixels × OUTPUTS.
// OUTPUTS = 32, 64, 128
template <int OUTPUTS>
__global__ void __launch_bounds__(128) conv2d_forward_statistics__tf32_tuned(Array<const float, 4> x, Array<const float, 2> w, Array<const float, 1> b, Array<float, 4> y, Window at, int U, int V, Array<float, 2> means, Array<float, 2> spreads) {
    multiply<OUTPUTS>(x, w, y, Forward{at.sh, at.ph, at.dh}, Forward{at.sw, at.pw, at.dw}, U, V, [&](int o, float sum) { return b(o) + sum; }, Slabs{b, means, spreads});
}
