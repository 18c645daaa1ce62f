// Steps of the optimisers: all parameters of a network in one launch, each value loaded once and stored once.
//
// A network has a hundred parameters, most of them smaller than a block, and a launch takes longer than the
// work on one of them. So one launch gets a table of the arrays' addresses among its arguments. Arguments lie in
// constant memory, which a whole warp reads at once; __grid_constant__ lets the kernel read them there without a copy.
//
// Thread map: one thread = one value theta_ki. Block b works on the array k with first[k] ≤ b < first[k + 1].
#include "../cuda/common.cuh"

constexpr int ARRAYS = 80;  // of a launch: a kernel has room for 4096 bytes of arguments

template <typename T>
struct Parameters {
    T* theta[ARRAYS];
    const T* g[ARRAYS];
    T* m[ARRAYS];  // the state: moments m and v, velocities b; an optimiser uses those that it has
    T* v[ARRAYS];
    T* b[ARRAYS];
    int size[ARRAYS];
    int first[ARRAYS];  // the first block of each array; in unused places a number larger than any block's
};

// The array of this block, by bisection. All threads of a block take the same branches.
template <typename T>
__device__ int array_of_block(const Parameters<T>& of) {
    int k = 0, above = ARRAYS;
    while (above - k > 1) {
        const int middle = (k + above) / 2;
        if (of.first[middle] <= int(blockIdx.x)) k = middle;
        else above = middle;
    }
    return k;
}

// optimiser.sgd: ĝ = g_ki + λ θ_ki; v_ki ← κ v_ki + α ĝ with κ = 0, α = 1 at the first step and κ = μ, α = 1 − τ
// later; θ_ki ← θ_ki − η d with d = ĝ (μ = 0), ĝ + μ v_ki (Nesterov), or v_ki. Reads θ, g, v, writes θ, v: 20 bytes a value;
// 16 at the first step, which does not read v, and 12 without momentum.
template <typename T>
__global__ void optimiser_sgd(const __grid_constant__ Parameters<T> of, Array<const T, 1> rates, T mu, T lambda, bool nesterov) {
    const int k = array_of_block(of), i = (blockIdx.x - of.first[k]) * blockDim.x + threadIdx.x;
    if (i >= of.size[k]) return;
    const T eta = rates(0), kappa = rates(1), alpha = rates(2);
    const T theta = of.theta[k][i], ghat = of.g[k][i] + lambda * theta;
    T d = ghat;
    if (mu != 0) {
        T velocity = alpha * ghat;
        if (kappa != 0) velocity += kappa * of.v[k][i];  // not at the first step, when v may hold anything
        of.v[k][i] = velocity;
        d = nesterov ? ghat + mu * velocity : velocity;
    }
    of.theta[k][i] = theta - eta * d;
}

// optimiser.adam: ĝ = g_ki (+ λ θ_ki unless decoupled); m_ki ← β_m m_ki + (1 − β_m) ĝ; v_ki ← β_v v_ki + (1 − β_v) ĝ²;
// θ_ki ← (1 − ηλ if decoupled) θ_ki − η m̂ / (√v̂ + ε), where η m̂ = [η / (1 − β_mᵗ)] m_ki and √v̂ = [(1 − β_vᵗ)^(−1/2)] √v_ki:
// the brackets are the rate and the root. Reads θ, g, m, v, writes θ, m, v: 28 bytes a value.
template <typename T>
__global__ void optimiser_adam(const __grid_constant__ Parameters<T> of, Array<const T, 1> rates, T beta_m, T beta_v, T rest_m, T rest_v, T epsilon, T lambda) {
    const int k = array_of_block(of), i = (blockIdx.x - of.first[k]) * blockDim.x + threadIdx.x;
    if (i >= of.size[k]) return;
    const T rate = rates(0), root = rates(1), shrink = rates(2);
    const T theta = of.theta[k][i], ghat = of.g[k][i] + lambda * theta;
    const T m = beta_m * of.m[k][i] + rest_m * ghat;
    const T v = beta_v * of.v[k][i] + rest_v * ghat * ghat;
    of.m[k][i] = m, of.v[k][i] = v;
    of.theta[k][i] = shrink * theta - rate * m / (root * sqrt(v) + epsilon);
}

// optimiser.rmsprop: ĝ = g_ki + λ θ_ki; v_ki ← α v_ki + (1 − α) ĝ²; centered: m_ki ← α m_ki + (1 − α) ĝ, v̂ = max(0, v_ki − m_ki²),
// otherwise v̂ = v_ki; d = ĝ / (√v̂ + ε); with momentum b_ki ← μ b_ki + d, and d becomes b_ki; θ_ki ← θ_ki − η d.
// Reads θ, g, v, writes θ, v: 20 bytes a value; 8 more if centered, 8 more with momentum.
template <typename T>
__global__ void optimiser_rmsprop(const __grid_constant__ Parameters<T> of, Array<const T, 1> rates, T alpha, T rest, T epsilon, T lambda, T mu, bool centered) {
    const int k = array_of_block(of), i = (blockIdx.x - of.first[k]) * blockDim.x + threadIdx.x;
    if (i >= of.size[k]) return;
    const T eta = rates(0), theta = of.theta[k][i], ghat = of.g[k][i] + lambda * theta;
    T vhat = alpha * of.v[k][i] + rest * ghat * ghat;
    of.v[k][i] = vhat;
    if (centered) {
        const T m = alpha * of.m[k][i] + rest * ghat;
        of.m[k][i] = m;
        vhat -= m * m;
        if (vhat < 0) vhat = 0;  // by rounding
    }
    T d = ghat / (sqrt(vhat) + epsilon);
    if (mu != 0) of.b[k][i] = d = mu * of.b[k][i] + d;
    of.theta[k][i] = theta - eta * d;
}
