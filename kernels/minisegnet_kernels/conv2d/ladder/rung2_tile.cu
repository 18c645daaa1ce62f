// Rung 2, shared-memory tile: the threads of a block share what they read.
//
//     y[n, o, i, j] = b_o + Σ_{c,u,v} w[o, c, u, v] x[n, ⌊oG/O⌋ C/G + c, i s_h + u d_h − p_h, j s_w + v d_w − p_w]
//
// What it adds: the windows of neighbouring outputs overlap, and in rung 1 every thread reads its own window. Here a block first
// copies ("stages") the cells that its threads need into shared memory, a few channels at a time; then each thread reads
// its window from there and adds up four output channels in registers.
//
//      x, one channel              y
//      ┌─────────────────┐                          A block computes a tile of ROWS × COLUMNS outputs. It needs the
//      │  halo           │         ┌───────────┐    cells of x under the tile and a border around them, the halo: in
//      │   ┌ ─ ─ ─ ─ ┐   │   ──▶   │  8 × 32   │    all (ROWS − 1) s_h + (U − 1) d_h + 1 rows, for a 3 × 3 kernel
//      │                 │         │  threads  │    10 × 34 cells. Each cell is read once from memory, and up to
//      │   └ ─ ─ ─ ─ ┘   │         └───────────┘    9 times, for four output channels each, from shared memory.
//      └─────────────────┘
//
// What holds it back: four multiply-adds read five numbers from shared memory. And the size of the tile depends on kernel, stride
// and dilation: the tile of a large dilated kernel does not fit into shared memory. Rung 3 removes that dependence, rung 4 those reads.
// Bound on an H100 by the instructions of its inner loop: 29.9 TFLOP/s; the data sheet has 66.9. Not measured (docs/ladder.md).
//
// Serves every case whose tile fits, one channel at a time, into the 48 KiB of shared memory that every GPU gives a block;
// the input gradient with stride 1 only. float and double, any layout.
#include "../../cuda/common.cuh"

constexpr int ROWS = 8, COLUMNS = 32;  // of a tile; a warp (32 threads) is one row, so that its reads meet 32 different banks
constexpr int OUTPUTS = 4;             // output channels of a thread

// --- forward ----------------------------------------------------------------------------------------

// Cells of the input that `outputs` positions of a window with `taps` cells cover along one axis.
__device__ inline int reach(int outputs, int taps, int stride, int dilation) { return (outputs - 1) * stride + (taps - 1) * dilation + 1; }

// Cells k0 … k0 + height − 1, l0 … l0 + width − 1 of `channels` channels of x, from c0 on: memory → shared
// memory, [channels][height][width], 0 outside. Neighbouring threads read neighbours in memory.
template <typename T>
__device__ void stage(const Array<const T, 4>& x, int n, int c0, int k0, int l0, int channels, int height, int width, T* cells) {
    const bool last = x.stride[1] == 1;  // channels last
    for (int t = threadIdx.x; t < channels * height * width; t += blockDim.x) {
        const int c = last ? t % channels : t / (height * width);
        const int cell = last ? t / channels : t % (height * width);
        const int k = k0 + cell / width, l = l0 + cell % width;
        const bool inside = k >= 0 && k < x.shape[2] && l >= 0 && l < x.shape[3];
        cells[c * height * width + cell] = inside ? x(n, c0 + c, k, l) : T(0);
    }
}

// The tile form: y[n,o,i,j] = finish(o, Σ_{c,u,v} w x). Thread map: a block = ROWS × COLUMNS pixels of four
// output channels o of one image; one thread = y[n, o … o+3, i, j]. `channels` of x are staged at a time.
// Reads x (with halo) once for four output channels.
template <typename T, typename Finish>
__device__ void convolve_tile(const Array<const T, 4>& x, const Array<const T, 4>& w, const Array<T, 4>& y, Window at, int groups,
                              int channels, Finish finish) {
    const int O = w.shape[0] / groups, C = w.shape[1], U = w.shape[2], V = w.shape[3];  // channels of a group
    const int height = reach(ROWS, U, at.sh, at.dh), width = reach(COLUMNS, V, at.sw, at.dw);
    DYNAMIC_SHARED(T, weights);                             // [channels][U][V][OUTPUTS]
    T* const cells = weights + channels * U * V * OUTPUTS;  // [channels][height][width]

    int number = blockIdx.x;  // blocks that read the same cells of x follow each other, so that these stay in the L2 cache
    const int quads = ceil_div(O, OUTPUTS), across = ceil_div(y.shape[3], COLUMNS), down = ceil_div(y.shape[2], ROWS);
    const int quad = number % quads * OUTPUTS, group = number / quads % groups;
    number /= quads * groups;
    const int j0 = number % across * COLUMNS, i0 = number / across % down * ROWS, n = number / (across * down);
    const int row = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS;
    const int outputs = min(OUTPUTS, O - quad), o = group * O + quad;

    T sum[OUTPUTS] = {};
    for (int c0 = 0; c0 < C; c0 += channels) {
        const int some = min(channels, C - c0);
        stage(x, n, group * C + c0, i0 * at.sh - at.ph, j0 * at.sw - at.pw, some, height, width, cells);
        for (int t = threadIdx.x; t < some * U * V * OUTPUTS; t += blockDim.x) {
            const int tap = t % (some * U * V), r = t / (some * U * V);
            weights[tap * OUTPUTS + r] = r < outputs ? w(o + r, c0 + tap / (U * V), tap / V % U, tap % V) : T(0);
        }
        __syncthreads();
        for (int c = 0; c < some; ++c)
            for (int u = 0; u < U; ++u)
                for (int v = 0; v < V; ++v) {
                    const T cell = cells[(c * height + row * at.sh + u * at.dh) * width + column * at.sw + v * at.dw];
                    const T* const taps = weights + ((c * U + u) * V + v) * OUTPUTS;
#pragma unroll
                    for (int r = 0; r < OUTPUTS; ++r) sum[r] += taps[r] * cell;
                }
        __syncthreads();  // before the next channels overwrite these
    }
    const int i = i0 + row, j = j0 + column;
    if (i >= y.shape[2] || j >= y.shape[3]) return;
#pragma unroll
    for (int r = 0; r < OUTPUTS; ++r)
        if (r < outputs) y(n, o + r, i, j) = finish(o + r, sum[r]);
}

// conv2d.forward in tiles: y_{n,o,i,j} = b_o + Σ_{c,u,v} w x. Thread map: one thread = y[n, o … o+3, i, j].
template <typename T>
__global__ void conv2d_forward__tile(Array<const T, 4> x, Array<const T, 4> w, Array<const T, 1> b, Array<T, 4> y, Window at, int groups,
                                     int channels) {
    convolve_tile(x, w, y, at, groups, channels, [&](int o, T sum) { return b(o) + sum; });
}

// conv2d.forward_relu in tiles: y_{n,o,i,j} = max(0, b_o + Σ_{c,u,v} w x). Thread map: one thread = y[n, o … o+3, i, j].
template <typename T>
__global__ void conv2d_forward_relu__tile(Array<const T, 4> x, Array<const T, 4> w, Array<const T, 1> b, Array<T, 4> y, Window at,
                                          int groups, int channels) {
    convolve_tile(x, w, y, at, groups, channels, [&](int o, T sum) { return relu(b(o) + sum); });
}

// --- gradient for the input -------------------------------------------------------------------------

// conv2d.grad_input with stride 1, in tiles: then x̄ is a convolution of g with d (U − 1) − p cells of padding. The host turns
// the kernel by 180° and swaps its two channel axes. Thread map: one thread = x̄[n, c … c+3, k, l].
template <typename T>
__global__ void conv2d_grad_input__tile(Array<const T, 4> g, Array<const T, 4> turned, Array<T, 4> xbar, Window at, int groups,
                                        int channels) {
    convolve_tile(g, turned, xbar, at, groups, channels, [](int, T sum) { return sum; });
}

// --- gradient for the kernel ------------------------------------------------------------------------

// conv2d.grad_weight in tiles. Thread map: a block = four output channels o, `channels` input channels c and all u, v of one
// slab; one thread = w̄[o … o+3, c, u, v] of that slab. It walks over the slab's tiles of pixels; of each, g and x are staged.
template <typename T>
__global__ void conv2d_grad_weight__tile(Array<const T, 4> g, Array<const T, 4> x, Array<T, 4> slabs, Window at, int groups, int channels) {
    const int O = g.shape[1] / groups, C = slabs.shape[1], U = slabs.shape[2], V = slabs.shape[3];  // channels of a group
    const int height = reach(ROWS, U, at.sh, at.dh), width = reach(COLUMNS, V, at.sw, at.dw);
    DYNAMIC_SHARED(T, gradients);                          // [ROWS][COLUMNS][OUTPUTS]
    T* const cells = gradients + ROWS * COLUMNS * OUTPUTS;  // [channels][height][width]

    const int quads = ceil_div(O, OUTPUTS), parts = ceil_div(C, channels), S = slabs.shape[0] / g.shape[1];
    const int quad = blockIdx.x % quads * OUTPUTS, c0 = blockIdx.x / quads % parts * channels;
    const int group = blockIdx.x / (quads * parts) % groups, s = blockIdx.x / (quads * parts * groups);
    const int outputs = min(OUTPUTS, O - quad), o = group * O + quad, some = min(channels, C - c0);
    const int c = threadIdx.x / (U * V), u = threadIdx.x / V % U, v = threadIdx.x % V;

    const int across = ceil_div(g.shape[3], COLUMNS), down = ceil_div(g.shape[2], ROWS);
    const int share = ceil_div(g.shape[0] * down * across, S), end = min((s + 1) * share, g.shape[0] * down * across);
    T sum[OUTPUTS] = {};
    for (int tile = s * share; tile < end; ++tile) {
        const int j0 = tile % across * COLUMNS, i0 = tile / across % down * ROWS, n = tile / (across * down);
        const int rows = min(ROWS, g.shape[2] - i0), columns = min(COLUMNS, g.shape[3] - j0);
        stage(x, n, group * C + c0, i0 * at.sh - at.ph, j0 * at.sw - at.pw, some, height, width, cells);
        for (int t = threadIdx.x; t < rows * columns * OUTPUTS; t += blockDim.x) {
            const int r = t % OUTPUTS, i = t / OUTPUTS / columns, j = t / OUTPUTS % columns;
            gradients[(i * COLUMNS + j) * OUTPUTS + r] = r < outputs ? g(n, o + r, i0 + i, j0 + j) : T(0);
        }
        __syncthreads();
        for (int i = 0; i < rows && c < some; ++i)
            for (int j = 0; j < columns; ++j) {
                const T cell = cells[(c * height + i * at.sh + u * at.dh) * width + j * at.sw + v * at.dw];
#pragma unroll
                for (int r = 0; r < OUTPUTS; ++r) sum[r] += gradients[(i * COLUMNS + j) * OUTPUTS + r] * cell;
            }
        __syncthreads();  // before the next tile overwrites this one
    }
    if (c >= some) return;
#pragma unroll
    for (int r = 0; r < OUTPUTS; ++r)
        if (r < outputs) slabs(s * g.shape[1] + o + r, c0 + c, u, v) = sum[r];
}
