// Convolution, its two gradients and the gradient of the bias: for each equation the plain program, which is shown beside
// the formula. One thread computes one result as the literal sum, for any stride, padding, dilation, groups and layout.
//
// This file is also rung 1, "direct", of the ladder: the rungs in ladder/ compute the same sums faster. Its host side is
// therefore ladder/rung1_direct.py. kernel.py has only the rule that assigns a rung to each case.
//
// What holds it back: a multiply-add reads two numbers, and neighbouring threads read nearly the same window, each for
// itself. The caches absorb much of that, but not enough: rung 2 reads a window once for many threads.
// Bound on an H100 by the instructions of its inner loop: 5 TFLOP/s; the data sheet has 66.9. Not measured (docs/ladder.md).
#include "../cuda/moments.cuh"

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

// --- forward, with the statistics of y for batch normalisation -----------------------------------------

// conv2d.forward_statistics, second pass: μ_o = Σ_nij y_noij / M, ν_o = Σ_nij (y_noij − μ_o)² / M, from the moments of slabs of
// `length` pixels, which a rung's epilogue computed (ladder/statistics.cuh). One block = one channel.
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

// --- gradient for the kernel ------------------------------------------------------------------------

// The sum over the pixels n, i, j is split: each share of them makes a slab, a partial w̄. Slab s occupies the rows
// s·O … s·O + O − 1 of `slabs`, an array (S·O, C/G, U, V). Finally the slabs are added, always in the same order.

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

// conv2d.grad_weight, second pass: w̄_{o,c,u,v} = Σ_s slab s. Thread map: one thread = one w̄[o,c,u,v].
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

// conv2d.grad_bias, channels last. Thread map: one thread = one slab's b̄[o]; neighbouring threads have neighbouring o.
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

// conv2d.grad_bias, second pass: b̄_o = Σ_s slabs[s,o]. Thread map: one block, a single warp, = one b̄[o].
// THREADS = 32
template <typename T, int THREADS>
__global__ void conv2d_grad_bias__sum(Array<const T, 2> slabs, Array<T, 1> bbar) {
    T sum = 0;
    for (int s = threadIdx.x; s < slabs.shape[0]; s += THREADS) sum += slabs(s, blockIdx.x);
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) bbar(blockIdx.x) = sum;
}
