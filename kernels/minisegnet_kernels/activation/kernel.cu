// Activations: one sweep over memory each. In every comparison a NaN takes the branch that does not return 0.
//
// Thread map: one thread = one element; neighbours in a warp are neighbours in memory.
#include "../cuda/common.cuh"

// activation.relu: y_i = max(0, x_i). Reads x, writes y: 8 bytes an element in float32.
template <typename T>
__global__ void activation_relu(Array<const T, 1> x, Array<T, 1> y) {
    int i = thread_number();
    if (i < y.shape[0]) y(i) = x(i) <= 0 ? T(0) : x(i);
}

// activation.grad_relu: x̄_i = [y_i > 0] g_i. Reads g and y, writes x̄: 12 bytes an element.
template <typename T>
__global__ void activation_grad_relu(Array<const T, 1> g, Array<const T, 1> y, Array<T, 1> xbar) {
    int i = thread_number();
    if (i < xbar.shape[0]) xbar(i) = y(i) <= 0 ? T(0) : g(i);
}

// activation.leaky_relu: y_i = x_i where x_i > 0, else a x_i. Reads x, writes y.
template <typename T>
__global__ void activation_leaky_relu(Array<const T, 1> x, T a, Array<T, 1> y) {
    int i = thread_number();
    if (i < y.shape[0]) y(i) = x(i) > 0 ? x(i) : a * x(i);
}

// activation.grad_leaky_relu: x̄_i = g_i where x_i > 0, else a g_i. Reads g and x, writes x̄.
template <typename T>
__global__ void activation_grad_leaky_relu(Array<const T, 1> g, Array<const T, 1> x, T a, Array<T, 1> xbar) {
    int i = thread_number();
    if (i < xbar.shape[0]) xbar(i) = x(i) > 0 ? g(i) : a * g(i);
}
