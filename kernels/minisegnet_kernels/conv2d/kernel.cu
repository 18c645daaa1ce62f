// Convolution, its two gradients and the gradient of the bias, each in its plain forms:
//
//   direct   one thread = one result: the literal sum, for any stride, padding, dilation and groups;
//   tile     the threads of a block share what they read: it is staged in shared memory, a few
//            channels at a time, and each thread adds up four output channels in registers.
//
//      x, one channel              y
//      ┌─────────────────┐                          A block makes ROWS × COLUMNS pixels of y. It needs
//      │  halo           │         ┌───────────┐    the cells of x under them and a halo around: in all
//      │   ┌ ─ ─ ─ ─ ┐   │   ──▶   │  8 × 32   │    (ROWS − 1) s_h + (U − 1) d_h + 1 rows, for a 3 × 3
//      │                 │         │  threads  │    kernel 10 × 34 cells. Each is read once from memory,
//      │   └ ─ ─ ─ ─ ┘   │         └───────────┘    and 9 × 4 times from shared memory.
//      └─────────────────┘
//
// The host side, kernel.py, says which form serves which case.
#include "../cuda/moments.cuh"

constexpr int ROWS = 8, COLUMNS = 32;  // of a tile; a warp is one row, so that its reads meet 32 different banks
constexpr int OUTPUTS = 4;             // output channels of a thread

__device__ inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Cells of the input that `outputs` positions of a window with `taps` cells cover along one axis.
__device__ inline int reach(int outputs, int taps, int stride, int dilation) { return (outputs - 1) * stride + (taps - 1) * dilation + 1; }

// max(0, a), and a NaN stays one.
template <typename T>
__device__ T relu(T a) { return a < 0 ? T(0) : a; }

// --- forward ----------------------------------------------------------------------------------------

// Σ_{c,u,v} w[o,c,u,v] x[n, ⌊oG/O⌋ C/G + c, i s_h + u d_h − p_h, j s_w + v d_w − p_w], and x = 0 outside.
template <typename T>
__device__ T window_sum(const Array<const T, 4>& x, const Array<const T, 4>& w, int n, int o, int i, int j, Window at, int groups) {
    const int first = o / (w.shape[0] / groups) * w.shape[1];  // channel of the input
    T sum = 0;
    for (int c = 0; c < w.shape[1]; ++c)
        for (int u = 0; u < w.shape[2]; ++u) {
            const int k = i * at.sh + u * at.dh - at.ph;
            if (k < 0 || k >= x.shape[2]) continue;
            for (int v = 0; v < w.shape[3]; ++v) {
                const int l = j * at.sw + v * at.dw - at.pw;
                if (l >= 0 && l < x.shape[3]) sum += w(o, c, u, v) * x(n, first + c, k, l);
            }
        }
    return sum;
}

// conv2d.forward: y_{n,o,i,j} = b_o + Σ_{c,u,v} w x. Thread map: one thread = one y[n,o,i,j].
// Reads C/G·U·V cells of x and as many of w, mostly from caches; writes 4 bytes an output (float32).
template <typename T>
__global__ void conv2d_forward(Array<const T, 4> x, Array<const T, 4> w, Array<const T, 1> b, Array<T, 4> y, Window at, int groups) {
    const int number = thread_number();
    if (number >= count(y)) return;
    const auto [n, o, i, j] = place(y, number);
    y(n, o, i, j) = b(o) + window_sum(x, w, n, o, i, j, at, groups);
}

// conv2d.forward_relu: y_{n,o,i,j} = max(0, b_o + Σ_{c,u,v} w x). Thread map: one thread = one y[n,o,i,j].
template <typename T>
__global__ void conv2d_forward_relu(Array<const T, 4> x, Array<const T, 4> w, Array<const T, 1> b, Array<T, 4> y, Window at, int groups) {
    const int number = thread_number();
    if (number >= count(y)) return;
    const auto [n, o, i, j] = place(y, number);
    y(n, o, i, j) = relu(b(o) + window_sum(x, w, n, o, i, j, at, groups));
}

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
        __syncthreads();  // before the next channels take the place of these
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

// --- forward, with what batch normalisation asks of y ---------------------------------------------------

// conv2d.forward_statistics, at last: μ_o = Σ_nij y_noij / M, ν_o = Σ_nij (y_noij − μ_o)² / M, from the moments of slabs of
// `length` pixels, which the epilogue of a rung has left (ladder/statistics.cuh). One block = one channel.
// THREADS = 256
template <typename T, int THREADS>
__global__ void conv2d_forward_statistics__merge(Array<const T, 2> means, Array<const T, 2> spreads, int length, int M, Array<T, 1> mu,
                                                 Array<T, 1> nu) {
    const int o = blockIdx.x;
    Moments<T> all = {0, 0, 0};
    for (int slab = threadIdx.x; slab < means.shape[1]; slab += THREADS)
        all = merged(all, Moments<T>{min(length, M - slab * length), means(o, slab), spreads(o, slab)});
    all = block_merged<THREADS>(all, 1);
    if (threadIdx.x == 0) mu(o) = all.mean, nu(o) = all.spread / T(M);
}

// --- gradient for the input -------------------------------------------------------------------------

// conv2d.grad_input: x̄_{n,c,k,l} = Σ_o Σ_{u,v} w_{o, c mod C/G, u, v} g_{n,o,i,j} with i s_h + u d_h − p_h = k, j s_w + v d_w − p_w = l.
// Thread map: one thread = one x̄[n,c,k,l], which gathers. Reads O/G·U·V/(s_h s_w) cells of g and of w; writes 4 bytes a cell.
template <typename T>
__global__ void conv2d_grad_input(Array<const T, 4> g, Array<const T, 4> w, Array<T, 4> xbar, Window at, int groups) {
    const int number = thread_number();
    if (number >= count(xbar)) return;
    const auto [n, c, k, l] = place(xbar, number);
    const int O = w.shape[0] / groups, C = w.shape[1], first = c / C * O;
    T sum = 0;
    for (int u = 0; u < w.shape[2]; ++u)
        for (int v = 0; v < w.shape[3]; ++v) {
            int i, j;
            if (!meets(k, u, at.sh, at.ph, at.dh, g.shape[2], i) || !meets(l, v, at.sw, at.pw, at.dw, g.shape[3], j)) continue;
            for (int o = first; o < first + O; ++o) sum += w(o, c % C, u, v) * g(n, o, i, j);
        }
    xbar(n, c, k, l) = sum;
}

// conv2d.grad_input with stride 1, in tiles: then x̄ is a convolution of g, with the kernel turned by 180°, its two channels
// changed over (which the host does) and d (U − 1) − p cells of padding. Thread map: one thread = x̄[n, c … c+3, k, l].
template <typename T>
__global__ void conv2d_grad_input__tile(Array<const T, 4> g, Array<const T, 4> turned, Array<T, 4> xbar, Window at, int groups,
                                        int channels) {
    convolve_tile(g, turned, xbar, at, groups, channels, [](int, T sum) { return sum; });
}

// --- gradient for the kernel ------------------------------------------------------------------------

// The pixels n, i, j of the sum are dealt out: each share makes a slab, which is a partial w̄. Slab s stands in the
// rows s·O … s·O + O − 1 of `slabs`, an array (S·O, C/G, U, V); at last the slabs are added, always in the same order.

// conv2d.grad_weight: w̄_{o,c,u,v} = Σ_{n,i,j} g_{n,o,i,j} x_{n, ⌊oG/O⌋ C/G + c, i s_h + u d_h − p_h, j s_w + v d_w − p_w}.
// Thread map: one thread = one slab's w̄[o,c,u,v], a sum over some of the rows n, i. Writes 4 bytes for each slab and weight.
template <typename T>
__global__ void conv2d_grad_weight(Array<const T, 4> g, Array<const T, 4> x, Array<T, 4> slabs, Window at, int groups) {
    const int number = thread_number();
    if (number >= count(slabs)) return;
    const auto [so, c, u, v] = place(slabs, number);
    const int O = g.shape[1], P = g.shape[2], Q = g.shape[3], S = slabs.shape[0] / O;
    const int s = so / O, o = so % O, channel = o / (O / groups) * slabs.shape[1] + c;
    const int share = ceil_div(g.shape[0] * P, S), end = min((s + 1) * share, g.shape[0] * P);
    T sum = 0;
    for (int line = s * share; line < end; ++line) {
        const int n = line / P, i = line % P, k = i * at.sh + u * at.dh - at.ph;
        if (k < 0 || k >= x.shape[2]) continue;
        for (int j = 0; j < Q; ++j) {
            const int l = j * at.sw + v * at.dw - at.pw;
            if (l >= 0 && l < x.shape[3]) sum += g(n, o, i, j) * x(n, channel, k, l);
        }
    }
    slabs(so, c, u, v) = sum;
}

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
        __syncthreads();  // before the next tile takes the place of this one
    }
    if (c >= some) return;
#pragma unroll
    for (int r = 0; r < OUTPUTS; ++r)
        if (r < outputs) slabs(s * g.shape[1] + o + r, c0 + c, u, v) = sum[r];
}

// conv2d.grad_weight, at last: w̄_{o,c,u,v} = Σ_s slab s. Thread map: one thread = one w̄[o,c,u,v].
template <typename T>
__global__ void conv2d_grad_weight__sum(Array<const T, 4> slabs, Array<T, 4> wbar) {
    const int number = thread_number();
    if (number >= count(wbar)) return;
    const auto [o, c, u, v] = place(wbar, number);
    T sum = 0;
    for (int so = o; so < slabs.shape[0]; so += wbar.shape[0]) sum += slabs(so, c, u, v);
    wbar(o, c, u, v) = sum;
}

// --- gradient for the bias --------------------------------------------------------------------------

// conv2d.grad_bias: b̄_o = Σ_{n,i,j} g_{n,o,i,j}. Thread map: one block = one slab's b̄[o], a sum over some of the pixels n, i, j;
// a thread takes every THREADS-th of them. Reads g once: 4 bytes an element, neighbours in memory where j is the innermost axis.
// THREADS = 128
template <typename T, int THREADS>
__global__ void conv2d_grad_bias(Array<const T, 4> g, Array<T, 2> slabs) {
    const int O = g.shape[1], P = g.shape[2], Q = g.shape[3], S = slabs.shape[0];
    const int o = blockIdx.x % O, s = blockIdx.x / O;
    const int share = ceil_div(g.shape[0] * P * Q, S), end = min((s + 1) * share, g.shape[0] * P * Q);
    T sum = 0;
    for (int pixel = s * share + threadIdx.x; pixel < end; pixel += THREADS) sum += g(pixel / (P * Q), o, pixel / Q % P, pixel % Q);
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) slabs(s, o) = sum;
}

// conv2d.grad_bias where the channels lie innermost. Thread map: one thread = one slab's b̄[o]; neighbours have neighbouring o.
template <typename T>
__global__ void conv2d_grad_bias__channels_last(Array<const T, 4> g, Array<T, 2> slabs) {
    const int number = thread_number(), O = g.shape[1], P = g.shape[2], Q = g.shape[3], S = slabs.shape[0];
    if (number >= O * S) return;
    const int o = number % O, s = number / O;
    const int share = ceil_div(g.shape[0] * P * Q, S), end = min((s + 1) * share, g.shape[0] * P * Q);
    T sum = 0;
    for (int pixel = s * share; pixel < end; ++pixel) sum += g(pixel / (P * Q), o, pixel / Q % P, pixel % Q);
    slabs(s, o) = sum;
}

// conv2d.grad_bias, at last: b̄_o = Σ_s slabs[s,o]. Thread map: one block, a single warp, = one b̄[o].
// THREADS = 32
template <typename T, int THREADS>
__global__ void conv2d_grad_bias__sum(Array<const T, 2> slabs, Array<T, 1> bbar) {
    T sum = 0;
    for (int s = threadIdx.x; s < slabs.shape[0]; s += THREADS) sum += slabs(s, blockIdx.x);
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) bbar(blockIdx.x) = sum;
}
