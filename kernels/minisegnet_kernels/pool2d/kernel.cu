// Pooling: each window of the input leaves one value, its largest or its mean. Unpooling puts values back.
//
// Thread map: one thread = one element of the result, unless a kernel says otherwise; neighbours in a warp
// are neighbours in memory, in either layout. Gradients gather: the thread of an element visits the windows
// that reach it, in row-major order, so that no two threads add to one place and sums keep their order.
// Byte counts are for float32 and for each window of 2 × 2 cells with stride 2.
#include "../cuda/common.cuh"

constexpr int THREADS = 64;  // of a block that adds slabs

// --- the maximum -----------------------------------------------------------------------------------

// The largest value of a window, and its place there, u V + v. `weigh` maps a cell to the value that is compared. Padding takes no part.
template <typename T, typename Weigh>
__device__ T maximum(const Array<const T, 4>& x, Place p, int U, int V, Window at, Weigh weigh, int& winner) {
    const int H = x.shape[2], W = x.shape[3];
    T best = 0;
    winner = -1;
    for (int u = 0; u < U; ++u) {
        for (int v = 0; v < V; ++v) {
            int k = p.i * at.sh + u * at.dh - at.ph, l = p.j * at.sw + v * at.dw - at.pw;
            if (k >= 0 && k < H && l >= 0 && l < W) {
                T value = weigh(x(p.n, p.c, k, l), u, v);
                if (winner < 0 || value > best || is_nan(value)) best = value, winner = u * V + v;
            }
        }
    }
    return best;
}

// pool2d.forward: y_ncij = max_uv { w_cuv x_nckl + b_c }, and m_ncij, the place that won. Reads x (16), writes y and m (5).
template <typename T, typename M>
__global__ void pool2d_forward(
    Array<const T, 4> x, Array<const T, 3> w, Array<const T, 1> b, Array<T, 4> y, Array<M, 4> m, Window at) {
    int number = thread_number(), winner;
    if (number >= count(y)) return;
    Place p = place(y, number);
    auto weigh = [&](T value, int u, int v) { return w(p.c, u, v) * value; };  //: x
    y(p.n, p.c, p.i, p.j) = maximum(x, p, w.shape[1], w.shape[2], at, weigh, winner) + b(p.c);
    m(p.n, p.c, p.i, p.j) = winner;
}

// pool2d.max: y_ncij = max_uv x_nckl, and m_ncij, the place that won. Reads x (16), writes y and m (5).
template <typename T, typename M>
__global__ void pool2d_max(Array<const T, 4> x, Array<T, 4> y, Array<M, 4> m, int U, int V, Window at) {
    int number = thread_number(), winner;
    if (number >= count(y)) return;
    Place p = place(y, number);
    auto weigh = [](T value, int, int) { return value; };
    y(p.n, p.c, p.i, p.j) = maximum(x, p, U, V, at, weigh, winner);
    m(p.n, p.c, p.i, p.j) = winner;
}

// --- gradients of the maximum ------------------------------------------------------------------------

// The windows i that reach over row k: 0 ≤ k + p − i s ≤ (U − 1) d. They are few, whatever the size of the image.
struct Windows {
    int first, last;
};

__device__ inline Windows windows_over(int k, int size, int stride, int padding, int dilation, int outputs) {
    int end = k + padding, start = end - (size - 1) * dilation;
    return {start > 0 ? (start + stride - 1) / stride : 0, min(end / stride, outputs - 1)};
}

// The offset u at which window i meets row k, i s + u d − p = k; a dilated window may step over the row.
__device__ inline bool offset(int k, int i, int stride, int padding, int dilation, int& u) {
    int steps = k + padding - i * stride;
    u = dilation == 1 ? steps : steps / dilation;  // divisions are slow and rarely needed
    return u * dilation == steps;
}

// Σ over the windows that cell k, l of plane n, c has won. `weigh` maps a gradient to its share for the cell.
template <typename T, typename M, typename Weigh>
__device__ T sum_of_won(const Array<const T, 4>& g, const Array<const M, 4>& m, Place p, int U, int V, Window at, Weigh weigh) {
    const int k = p.i, l = p.j;
    const Windows rows = windows_over(k, U, at.sh, at.ph, at.dh, g.shape[2]), columns = windows_over(l, V, at.sw, at.pw, at.dw, g.shape[3]);
    T sum = 0;
    for (int i = rows.first; i <= rows.last; ++i) {
        for (int j = columns.first; j <= columns.last; ++j) {
            int u, v;
            if (offset(k, i, at.sh, at.ph, at.dh, u) && offset(l, j, at.sw, at.pw, at.dw, v) && m(p.n, p.c, i, j) == u * V + v)
                sum += weigh(g(p.n, p.c, i, j), u, v);
        }
    }
    return sum;
}

// pool2d.grad_input: x̄_nckl = Σ_ij [m_ncij = uV + v] w_cuv g_ncij. Reads g and m (5), writes x̄ (16).
template <typename T, typename M>
__global__ void pool2d_grad_input(Array<const T, 4> g, Array<const M, 4> m, Array<const T, 3> w, Array<T, 4> xbar, Window at) {
    int number = thread_number();
    if (number >= count(xbar)) return;
    Place p = place(xbar, number);
    auto weigh = [&](T value, int u, int v) { return w(p.c, u, v) * value; };  //: g
    xbar(p.n, p.c, p.i, p.j) = sum_of_won(g, m, p, w.shape[1], w.shape[2], at, weigh);
}

// pool2d.grad_max: x̄_nckl = Σ_ij [m_ncij = uV + v] g_ncij. Reads g and m (5), writes x̄ (16).
template <typename T, typename M>
__global__ void pool2d_grad_max(Array<const T, 4> g, Array<const M, 4> m, Array<T, 4> xbar, int U, int V, Window at) {
    int number = thread_number();
    if (number >= count(xbar)) return;
    Place p = place(xbar, number);
    auto weigh = [](T value, int, int) { return value; };
    xbar(p.n, p.c, p.i, p.j) = sum_of_won(g, m, p, U, V, at, weigh);
}

// Sums over n, i, j, for each channel, take two passes. In the first one thread = one part s of one channel:
// the positions s, s + S, s + 2S, … of all S parts lie side by side, so that a warp reads neighbours. It leaves
// its sum in a slab in float64. In the second one block = one sum: it adds the slabs, always in the same order.
struct Part {
    int c, s;
};

template <typename T>
__device__ Part part(const Array<const T, 4>& g, const Array<double, 3>& slabs, int number) {
    const int C = slabs.shape[1], S = slabs.shape[2];
    if (g.stride[1] == 1) return {number % C, number / C};  // channels last: neighbours are channels
    return {number / S, number % S};
}

template <typename T>
__device__ void add_slabs(const Array<const double, 3>& slabs, int o, int c, T& result) {
    double sum = 0;
    for (int s = threadIdx.x; s < slabs.shape[2]; s += THREADS) sum += slabs(o, c, s);
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) result = sum;
}

// pool2d.grad_weight, first pass: every window adds g_ncij x_nckl at the place o = uV + v of its winner.
// Reads g, m, and x at the winners (5, and up to 16); the U V sums of a thread stay in the cache.
template <typename T, typename M>
__global__ void pool2d_grad_weight__part(
    Array<const T, 4> g, Array<const M, 4> m, Array<const T, 4> x, Array<double, 3> slabs, int U, int V, Window at) {
    const int C = slabs.shape[1], S = slabs.shape[2];
    const int N = g.shape[0], P = g.shape[2], Q = g.shape[3], H = x.shape[2], W = x.shape[3];
    int number = thread_number();
    if (number >= C * S) return;
    const Part p = part(g, slabs, number);
    for (int o = 0; o < U * V; ++o) slabs(o, p.c, p.s) = 0;
    for (int position = p.s; position < N * P * Q; position += S) {
        int j = position % Q, i = position / Q % P, n = position / (P * Q), o = m(n, p.c, i, j);
        int k = i * at.sh + o / V * at.dh - at.ph, l = j * at.sw + o % V * at.dw - at.pw;
        // As an unsigned number a negative one is huge: one comparison checks both ends.
        if (unsigned(o) < unsigned(U * V) && unsigned(k) < unsigned(H) && unsigned(l) < unsigned(W)) slabs(o, p.c, p.s) += g(n, p.c, i, j) * x(n, p.c, k, l);
    }
}

// pool2d.grad_weight: w̄_cuv = Σ_nij [m_ncij = uV + v] g_ncij x_nckl. One block = one w̄_cuv.
template <typename T>
__global__ void pool2d_grad_weight(Array<const double, 3> slabs, Array<T, 3> wbar) {
    int V = wbar.shape[2], c = blockIdx.x, u = blockIdx.y / V, v = blockIdx.y % V;
    add_slabs(slabs, blockIdx.y, c, wbar(c, u, v));
}

// pool2d.grad_bias, first pass. Reads g (4).
template <typename T>
__global__ void pool2d_grad_bias__part(Array<const T, 4> g, Array<double, 3> slabs) {
    const int C = slabs.shape[1], S = slabs.shape[2], N = g.shape[0], P = g.shape[2], Q = g.shape[3];
    int number = thread_number();
    if (number >= C * S) return;
    const Part p = part(g, slabs, number);
    double sum = 0;
    for (int position = p.s; position < N * P * Q; position += S) sum += g(position / (P * Q), p.c, position / Q % P, position % Q);
    slabs(0, p.c, p.s) = sum;
}

// pool2d.grad_bias: b̄_c = Σ_nij g_ncij. One block = one b̄_c.
template <typename T>
__global__ void pool2d_grad_bias(Array<const double, 3> slabs, Array<T, 1> bbar) {
    add_slabs(slabs, 0, blockIdx.x, bbar(blockIdx.x));
}

// --- averages ----------------------------------------------------------------------------------------

// The cells that count in a mean: rows top … bottom − 1, columns left … right − 1.
struct Edges {
    int top, bottom, left, right;
};

// a_ij: how many cells of window i, j count.
__device__ inline int cells(int i, int j, int U, int V, Window at, Edges edges) {
    int k = i * at.sh - at.ph, l = j * at.sw - at.pw;
    return (min(k + U, edges.bottom) - max(k, edges.top)) * (min(l + V, edges.right) - max(l, edges.left));
}

// pool2d.average: y_ncij = 1/a_ij Σ_uv x_nckl, x = 0 outside. Reads x (16), writes y (4).
template <typename T>
__global__ void pool2d_average(Array<const T, 4> x, Array<T, 4> y, int U, int V, Window at, Edges edges) {
    int number = thread_number();
    if (number >= count(y)) return;
    auto [n, c, i, j] = place(y, number);
    T sum = 0;
    for (int u = 0; u < U; ++u) {
        for (int v = 0; v < V; ++v) {
            int k = i * at.sh + u - at.ph, l = j * at.sw + v - at.pw;
            if (k >= 0 && k < x.shape[2] && l >= 0 && l < x.shape[3]) sum += x(n, c, k, l);
        }
    }
    y(n, c, i, j) = sum / cells(i, j, U, V, at, edges);  //: a, count_include_pad, q_h, q_w
}

// pool2d.grad_average: x̄_nckl = Σ_ij g_ncij / a_ij over the windows that hold k, l. Reads g (4), writes x̄ (16).
template <typename T>
__global__ void pool2d_grad_average(Array<const T, 4> g, Array<T, 4> xbar, int U, int V, Window at, Edges edges) {
    int number = thread_number();
    if (number >= count(xbar)) return;
    auto [n, c, k, l] = place(xbar, number);
    const Windows rows = windows_over(k, U, at.sh, at.ph, 1, g.shape[2]), columns = windows_over(l, V, at.sw, at.pw, 1, g.shape[3]);
    T sum = 0;
    for (int i = rows.first; i <= rows.last; ++i)
        for (int j = columns.first; j <= columns.last; ++j) sum += g(n, c, i, j) / cells(i, j, U, V, at, edges);  //: a, count_include_pad, q_h, q_w
    xbar(n, c, k, l) = sum;
}

// Region i of an axis that is cut into regions: cells ⌊i H / P⌋ … ⌈(i + 1) H / P⌉ − 1.
struct Region {
    int start, end;
};

__device__ inline Region region(int i, int size, int regions) { return {i * size / regions, ((i + 1) * size + regions - 1) / regions}; }

// pool2d.adaptive_average, first pass: a region may be a whole image, so S threads share it. One thread = one
// part s of one y_ncij: it adds the cells s, s + S, s + 2S, … of the region, in float64. Reads x.
template <typename T>
__global__ void pool2d_adaptive_average__part(Array<const T, 4> x, Array<const T, 4> y, Array<double, 2> slabs) {
    const int S = slabs.shape[1];
    int number = thread_number();
    if (number >= count(y) * S) return;
    bool channels_last = x.stride[1] == 1;
    int s = channels_last ? number / count(y) : number % S, element = channels_last ? number % count(y) : number / S;
    auto [n, c, i, j] = place(y, element);
    const Region A = region(i, x.shape[2], y.shape[2]), B = region(j, x.shape[3], y.shape[3]);
    int width = B.end - B.start;
    double sum = 0;
    for (int cell = s; cell < (A.end - A.start) * width; cell += S) sum += x(n, c, A.start + cell / width, B.start + cell % width);
    slabs(element, s) = sum;
}

// pool2d.adaptive_average: y_ncij = 1 / (|A_i| |B_j|) Σ_{k ∈ A_i} Σ_{l ∈ B_j} x_nckl. Reads S slabs, writes y.
template <typename T>
__global__ void pool2d_adaptive_average(Array<const double, 2> slabs, Array<T, 4> y, int H, int W) {
    int element = thread_number();
    if (element >= count(y)) return;
    auto [n, c, i, j] = place(y, element);
    const Region A = region(i, H, y.shape[2]), B = region(j, W, y.shape[3]);
    double sum = 0;
    for (int s = 0; s < slabs.shape[1]; ++s) sum += slabs(element, s);
    y(n, c, i, j) = sum / ((A.end - A.start) * (B.end - B.start));
}

// pool2d.grad_adaptive_average: x̄_nckl = Σ_ij g_ncij / (|A_i| |B_j|) over the regions that hold k, l. Reads g, writes x̄.
template <typename T>
__global__ void pool2d_grad_adaptive_average(Array<const T, 4> g, Array<T, 4> xbar) {
    const int P = g.shape[2], Q = g.shape[3], H = xbar.shape[2], W = xbar.shape[3];
    int number = thread_number();
    if (number >= count(xbar)) return;
    auto [n, c, k, l] = place(xbar, number);
    const Region rows = region(k, P, H), columns = region(l, Q, W);  // with the roles of cells and regions exchanged
    T sum = 0;
    for (int i = rows.start; i < rows.end; ++i) {
        for (int j = columns.start; j < columns.end; ++j) {
            const Region A = region(i, H, P), B = region(j, W, Q);
            sum += g(n, c, i, j) / ((A.end - A.start) * (B.end - B.start));
        }
    }
    xbar(n, c, k, l) = sum;
}

// --- unpooling ---------------------------------------------------------------------------------------

// pool2d.unpool, first pass: if several values go to one cell, the last in row-major order stays. `last` starts as −1
// and becomes the largest i Q + j that goes there; a maximum of integers does not depend on the order of the atomics.
// One thread = one m_ncij. Reads m (8), 4 bytes of `last` each way.
__global__ void pool2d_unpool__last(Array<const long long, 4> m, Array<int, 4> last) {
    int number = thread_number();
    if (number >= count(m)) return;
    auto [n, c, i, j] = place(m, number);
    const int W = last.shape[3];
    long long cell = m(n, c, i, j);
    if (cell >= 0 && cell < last.shape[2] * W) atomicMax(&last(n, c, int(cell) / W, int(cell) % W), i * m.shape[3] + j);
}

// pool2d.unpool: y_nckl = x_ncij of the last i, j with m_ncij = kW + l, or 0. Reads x (4) and `last` (16), writes y (16).
template <typename T>
__global__ void pool2d_unpool(Array<const T, 4> x, Array<const int, 4> last, Array<T, 4> y) {
    int number = thread_number();
    if (number >= count(y)) return;
    auto [n, c, k, l] = place(y, number);
    int from = last(n, c, k, l), Q = x.shape[3];  //: e
    y(n, c, k, l) = from < 0 ? T(0) : x(n, c, from / Q, from % Q);
}

// pool2d.grad_unpool: x̄_ncij = g_nckl with kW + l = m_ncij, or 0 if a later value has covered it. Reads g, m, `last` (up to 40), writes x̄ (4).
template <typename T>
__global__ void pool2d_grad_unpool(Array<const T, 4> g, Array<const long long, 4> m, Array<const int, 4> last, Array<T, 4> xbar) {
    int number = thread_number();
    if (number >= count(xbar)) return;
    auto [n, c, i, j] = place(xbar, number);
    const int W = g.shape[3];
    long long cell = m(n, c, i, j);
    bool stays = cell >= 0 && cell < g.shape[2] * W && last(n, c, int(cell) / W, int(cell) % W) == i * xbar.shape[3] + j;  //: e
    xbar(n, c, i, j) = stays ? g(n, c, int(cell) / W, int(cell) % W) : T(0);
}
