// Local response normalisation: each value is damped by the squares of the neighbouring channels.
//
// Thread map of both kernels: one thread = one element n, c, i, j. The threads of neighbouring channels read the
// same values again, but from caches: memory is swept once.
#include "../cuda/common.cuh"

// s_{n,c,i,j} = k + α/Z Σ_m x²_{n,m,i,j}, m = c − ⌊Z/2⌋ … c + ⌊(Z−1)/2⌋; channels that do not exist count as zeros.
template <typename T>
__device__ T scale(const Array<const T, 4>& x, int n, int c, int i, int j, int Z, T alpha_Z, T k) {
    T sum = 0;
    for (int m = max(0, c - Z / 2); m <= min(x.shape[1] - 1, c + (Z - 1) / 2); ++m) sum += x(n, m, i, j) * x(n, m, i, j);
    return k + alpha_Z * sum;  //: s, alpha
}

// lrn.forward: y_{n,c,i,j} = x_{n,c,i,j} s_{n,c,i,j}^{−β}. Thread map: one thread = one y[n,c,i,j].
// Reads x, writes y: 8 bytes an element (float32). alpha_Z = α/Z.
template <typename T>
__global__ void lrn_forward(Array<const T, 4> x, Array<T, 4> y, int Z, T alpha_Z, T beta, T k) {
    const int number = thread_number();
    if (number >= count(y)) return;
    const auto [n, c, i, j] = place(y, number);
    y(n, c, i, j) = x(n, c, i, j) * pow(scale(x, n, c, i, j, Z, alpha_Z, k), -beta);
}

// lrn.grad_input: x̄_{n,c,i,j} = g s^{−β} − 2αβ/Z x Σ_m g_m x_m s_m^{−β−1}, m = c − ⌊(Z−1)/2⌋ … c + ⌊Z/2⌋: the channels that
// have c in their neighbourhood. Thread map: one thread = one x̄[n,c,i,j].
// Reads g and x, writes x̄: 12 bytes an element. There is no array of s: each s_m is recomputed, which takes Z² reads from caches.
template <typename T>
__global__ void lrn_grad_input(Array<const T, 4> g, Array<const T, 4> x, Array<T, 4> xbar, int Z, T alpha_Z, T beta, T k) {
    const int number = thread_number();
    if (number >= count(xbar)) return;
    const auto [n, c, i, j] = place(xbar, number);
    T sum = 0, damped = 0;
    for (int m = max(0, c - (Z - 1) / 2); m <= min(x.shape[1] - 1, c + Z / 2); ++m) {
        const T s = scale(x, n, m, i, j, Z, alpha_Z, k);
        const T term = g(n, m, i, j) * pow(s, -beta);
        if (m == c) damped = term;
        sum += term * x(n, m, i, j) / s;  //: g
    }
    xbar(n, c, i, j) = damped - 2 * beta * alpha_Z * x(n, c, i, j) * sum;
}
