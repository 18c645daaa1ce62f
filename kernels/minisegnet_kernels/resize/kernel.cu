// Resizing: an output is a sum over at most two rows and two columns of the input, or a copy of one pixel.
// A gradient gathers from the outputs that read its pixel, in a fixed order.
//
// The position of an output pixel on the input is a fraction of integers, h_i = (step·i + offset) / unit (struct
// Axis; the host computes the three). Which pixels take part is therefore decided exactly, and each weight
// Λ(h_i − k) = max(0, 1 − |h_i − k|) is rounded once: no error grows along a row.
#include "../cuda/common.cuh"

// One axis of `size` pixels of the input: h_i = (step·i + offset) / unit, moved onto 0 … size − 1.
struct Axis {
    int step, offset, unit, size;
};

// unit · h_i
__device__ inline int coordinate(Axis on, int i) { return min(max(on.step * i + on.offset, 0), (on.size - 1) * on.unit); }

// Λ(h_i − k): 0 at a distance of 1 or more.
template <typename T>
__device__ T tent(Axis on, int h, int k) {
    const int distance = abs(h - k * on.unit);
    return distance < on.unit ? T(on.unit - distance) / T(on.unit) : T(0);
}

// The first output with h_i > k − 1: none before it reads pixel k. (step ≥ 1.)
__device__ inline int first_reader(Axis on, int k) {
    const int above = (k - 1) * on.unit - on.offset;
    return above < 0 ? 0 : above / on.step + 1;
}

// resize.bilinear: y_{n,c,i,j} = Σ_{k,l} Λ(h_i − k) Λ(w_j − l) x_{n,c,k,l}. Thread map: one thread = one y[n,c,i,j].
// Reads x once (4 bytes a pixel of the input; pixels that neighbours share come from caches), writes 4 bytes an output.
template <typename T>
__global__ void resize_bilinear(Array<const T, 4> x, Array<T, 4> y, Axis rows, Axis columns) {
    const int number = thread_number();
    if (number >= count(y)) return;
    const auto [n, c, i, j] = place(y, number);
    const int h = coordinate(rows, i), w = coordinate(columns, j), k0 = h / rows.unit, l0 = w / columns.unit;  //: align_corners
    T sum = 0;
    for (int k = k0; k <= k0 + 1; ++k)
        for (int l = l0; l <= l0 + 1; ++l) {
            const T weight = tent<T>(rows, h, k) * tent<T>(columns, w, l);
            if (weight > 0) sum += weight * x(n, c, k, l);  // a pixel outside has no weight
        }
    y(n, c, i, j) = sum;
}

// resize.grad_bilinear: x̄_{n,c,k,l} = Σ_{i,j} Λ(h_i − k) Λ(w_j − l) g_{n,c,i,j}. Thread map: one thread = one x̄[n,c,k,l].
// It takes the outputs with k − 1 < h_i < k + 1, and likewise for the columns. Reads g once from memory, writes 4 bytes a pixel.
template <typename T>
__global__ void resize_grad_bilinear(Array<const T, 4> g, Array<T, 4> xbar, Axis rows, Axis columns) {
    const int number = thread_number();
    if (number >= count(xbar)) return;
    const auto [n, c, k, l] = place(xbar, number);
    T sum = 0;
    for (int i = first_reader(rows, k); i < g.shape[2] && coordinate(rows, i) < (k + 1) * rows.unit; ++i) {
        const T weight = tent<T>(rows, coordinate(rows, i), k);
        for (int j = first_reader(columns, l); j < g.shape[3] && coordinate(columns, j) < (l + 1) * columns.unit; ++j)
            sum += weight * tent<T>(columns, coordinate(columns, j), l) * g(n, c, i, j);  //: align_corners, w
    }
    xbar(n, c, k, l) = sum;
}

// resize.nearest: y_{n,c,i,j} = x_{n,c,k,l}, k = ⌊iH/P⌋, l = ⌊jW/Q⌋. Thread map: one thread = one y[n,c,i,j].
// Reads the pixels of x that are copied, writes 4 bytes an output.
template <typename T>
__global__ void resize_nearest(Array<const T, 4> x, Array<T, 4> y) {
    const int number = thread_number();
    if (number >= count(y)) return;
    const auto [n, c, i, j] = place(y, number);
    y(n, c, i, j) = x(n, c, i * x.shape[2] / y.shape[2], j * x.shape[3] / y.shape[3]);  //: k, l
}


// resize.grad_nearest: x̄_{n,c,k,l} = Σ_{⌊iH/P⌋ = k} Σ_{⌊jW/Q⌋ = l} g_{n,c,i,j}. Thread map: one thread = one x̄[n,c,k,l].
// ⌊iH/P⌋ = k is ⌈kP/H⌉ ≤ i < ⌈(k+1)P/H⌉. Reads g once, writes 4 bytes a pixel.
template <typename T>
__global__ void resize_grad_nearest(Array<const T, 4> g, Array<T, 4> xbar) {
    const int number = thread_number();
    if (number >= count(xbar)) return;
    const auto [n, c, k, l] = place(xbar, number);
    const int H = xbar.shape[2], W = xbar.shape[3], P = g.shape[2], Q = g.shape[3];
    T sum = 0;
    for (int i = ceil_div(k * P, H); i < ceil_div((k + 1) * P, H); ++i)
        for (int j = ceil_div(l * Q, W); j < ceil_div((l + 1) * Q, W); ++j) sum += g(n, c, i, j);
    xbar(n, c, k, l) = sum;
}
