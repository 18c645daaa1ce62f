// Batch normalisation: memory is the limit, so every kernel makes one sweep. In training x is read twice, because the
// statistics must be known before the first value is normalised; the backward pass reads g and x twice.
//
// Thread map of every sweep: a block has a slab, `length` of the M values of each of `width` neighbouring channels.
// A thread keeps to one channel, so it loads the channel's parameters once. In NCHW `width` is 1, and neighbouring threads
// are neighbours in the channel's plane; with channels last, `width` is up to 32, and neighbouring threads are
// neighbouring channels. Either way a warp reads memory without gaps.
#include "../cuda/moments.cuh"

// The values of a thread, one after another. A step is a number with the digits n i j. It is added with carries, because a division for
// each value would take longer than reading it.
struct Walk {
    int c, n, i, j;  // the value at which it stands
    int count;       // how many values it has
    bool leads;      // whether it writes the block's result for channel c
    int H, W, dn, di, dj;

    template <typename T>
    __device__ Walk(const Array<T, 4>& x, int width, int length) : H(x.shape[2]), W(x.shape[3]) {
        const int C = x.shape[1], M = x.shape[0] * H * W;
        const int row = threadIdx.x / width, step = blockDim.x / width, slab = blockIdx.y * length;
        const int channel = blockIdx.x * width + threadIdx.x % width;
        const bool exists = channel < C;
        c = min(channel, C - 1);  // a thread beyond the last channel has no values
        count = exists * (max(min(length, M - slab) - row, 0) + step - 1) / step;
        leads = exists && row == 0;
        digits(slab + row, n, i, j);
        digits(step, dn, di, dj);
    }

    // number = (n H + i) W + j
    __device__ void digits(int number, int& n, int& i, int& j) const {
        const int rows = number / W;
        j = number - rows * W, n = rows / H, i = rows - n * H;
    }

    __device__ void next() {
        j += dj, i += di, n += dn;
        if (j >= W) j -= W, ++i;
        if (i >= H) i -= H, ++n;
    }
};

// __ldg reads through the read-only cache and tells the compiler that no store changes the value, so it can start several loads at once.
template <typename T>
__device__ T read(const Array<const T, 4>& x, const Walk& at) { return __ldg(&x(at.n, at.c, at.i, at.j)); }

// The two sums behind the gradients for scale and shift: of g (x − μ), and of g.
template <typename T>
struct Sums {
    T products, ones;
};

template <typename T>
__device__ Sums<T> merged(const Sums<T>& a, const Sums<T>& b) { return {a.products + b.products, a.ones + b.ones}; }

// The map of a channel: y = scale (x − centre) + shift. Forward and backward use this one function, so that
// the ReLU is closed in the gradient exactly where it was closed in the output.
template <typename T>
struct Line {
    T centre, scale, shift;
    __device__ T operator()(T x) const { return scale * (x - centre) + shift; }
};

template <bool RELU, typename T>
__device__ void apply(const Array<const T, 4>& x, const Line<T>& line, Walk at, const Array<T, 4>& y) {
#pragma unroll 4
    for (int k = 0; k < at.count; ++k, at.next()) {
        const T value = line(read(x, at));
        y(at.n, at.c, at.i, at.j) = RELU && value < 0 ? T(0) : value;  // a NaN stays
    }
}

// --- training: the statistics of the batch ------------------------------------------------------------

// Moments of each slab. Reads x once; the number of slabs follows from the shape of x.
// THREADS = 256
template <typename T, int THREADS>
__global__ void batch_norm_forward__statistics(Array<const T, 4> x, int width, int length, Array<T, 2> means, Array<T, 2> spreads) {
    Walk at(x, width, length);
    Moments<T> some = {0, 0, 0};
#pragma unroll 4
    for (int k = 0; k < at.count; ++k, at.next()) some = merged(some, Moments<T>{1, read(x, at), 0});  //: x
    some = block_merged<THREADS>(some, width);
    if (at.leads) means(at.c, blockIdx.y) = some.mean, spreads(at.c, blockIdx.y) = some.spread;
}

// μ_c = Σ x / M, ν_c = Σ (x − μ_c)² / M, ρ_c = (ν_c + ε)^(−1/2), from the slabs. One block = one channel.
// THREADS = 256
template <typename T, int THREADS>
__global__ void batch_norm_forward__merge(Array<const T, 2> means, Array<const T, 2> spreads, int length, int M, T epsilon, Array<T, 1> mu, Array<T, 1> nu, Array<T, 1> rho) {
    const int c = blockIdx.x;
    Moments<T> all = {0, 0, 0};
    for (int slab = threadIdx.x; slab < means.shape[1]; slab += THREADS)
        all = merged(all, Moments<T>{min(length, M - slab * length), means(c, slab), spreads(c, slab)});
    all = block_merged<THREADS>(all, 1);
    if (threadIdx.x == 0) mu(c) = all.mean, nu(c) = all.spread / T(M), rho(c) = 1 / sqrt(nu(c) + epsilon);
}

// batch_norm.forward: y_ncij = γ_c ρ_c (x_ncij − μ_c) + β_c. Reads x, writes y: with the statistics 12 bytes a value in float32.
template <typename T>
__global__ void batch_norm_forward(Array<const T, 4> x, Array<const T, 1> gamma, Array<const T, 1> beta, Array<const T, 1> mu, Array<const T, 1> rho, int width, int length, Array<T, 4> y) {
    Walk at(x, width, length);
    apply<false>(x, Line<T>{mu(at.c), gamma(at.c) * rho(at.c), beta(at.c)}, at, y);
}

// batch_norm.forward_relu: y_ncij = max(0, γ_c ρ_c (x_ncij − μ_c) + β_c). The ReLU costs no sweep of its own.
template <typename T>
__global__ void batch_norm_forward_relu(Array<const T, 4> x, Array<const T, 1> gamma, Array<const T, 1> beta, Array<const T, 1> mu, Array<const T, 1> rho, int width, int length, Array<T, 4> y) {
    Walk at(x, width, length);
    apply<true>(x, Line<T>{mu(at.c), gamma(at.c) * rho(at.c), beta(at.c)}, at, y);
}

// --- training: gradients ----------------------------------------------------------------------------------

template <bool RELU, int THREADS, typename T>
__device__ void add_up(const Array<const T, 4>& g, const Array<const T, 4>& x, const Line<T>& line, Walk at, int width, const Array<T, 2>& products, const Array<T, 2>& ones) {
    Sums<T> some = {0, 0};
#pragma unroll 4
    for (int k = 0; k < at.count; ++k, at.next()) {
        const T seed = read(g, at), value = read(x, at);
        const bool open = !RELU || line(value) > 0;
        if (open) some = merged(some, Sums<T>{seed * (value - line.centre), seed});  //: g, x, mu, rho
    }
    some = block_merged<THREADS>(some, width);
    if (at.leads) products(at.c, blockIdx.y) = some.products, ones(at.c, blockIdx.y) = some.ones;
}

// batch_norm.grad_affine: γ̄_c = Σ_nij g_ncij ρ_c (x_ncij − μ_c), β̄_c = Σ_nij g_ncij, per slab. Reads g and x: 8 bytes a value.
// THREADS = 256
template <typename T, int THREADS>
__global__ void batch_norm_grad_affine(Array<const T, 4> g, Array<const T, 4> x, Array<const T, 1> mu, int width, int length, Array<T, 2> products, Array<T, 2> ones) {
    Walk at(x, width, length);
    add_up<false, THREADS>(g, x, Line<T>{mu(at.c), 0, 0}, at, width, products, ones);
}

// batch_norm.grad_affine_relu: the same over the values that the ReLU let through, which are recomputed from x.
// THREADS = 256
template <typename T, int THREADS>
__global__ void batch_norm_grad_affine_relu(Array<const T, 4> g, Array<const T, 4> x, Array<const T, 1> gamma, Array<const T, 1> beta, Array<const T, 1> mu, Array<const T, 1> rho, int width, int length, Array<T, 2> products, Array<T, 2> ones) {
    Walk at(x, width, length);
    add_up<true, THREADS>(g, x, Line<T>{mu(at.c), gamma(at.c) * rho(at.c), beta(at.c)}, at, width, products, ones);
}

// The slabs, added in a fixed order. One block = one channel.
// THREADS = 256
template <typename T, int THREADS>
__global__ void batch_norm_grad_affine__sum(Array<const T, 2> products, Array<const T, 2> ones, Array<const T, 1> rho, Array<T, 1> gammabar, Array<T, 1> betabar) {
    const int c = blockIdx.x;
    Sums<T> all = {0, 0};
    for (int slab = threadIdx.x; slab < ones.shape[1]; slab += THREADS) all = merged(all, Sums<T>{products(c, slab), ones(c, slab)});
    all = block_merged<THREADS>(all, 1);
    if (threadIdx.x == 0) gammabar(c) = all.products * rho(c), betabar(c) = all.ones;
}

template <bool RELU, typename T>
__device__ void centre_gradient(const Array<const T, 4>& g, const Array<const T, 4>& x, const Line<T>& line, T offset, T slope, Walk at, const Array<T, 4>& xbar) {
#pragma unroll 4
    for (int k = 0; k < at.count; ++k, at.next()) {
        const T seed = read(g, at), value = read(x, at);
        const bool open = !RELU || line(value) > 0;
        xbar(at.n, at.c, at.i, at.j) = line.scale * ((open ? seed : T(0)) - offset - slope * (value - line.centre));  //: g, x
    }
}

// batch_norm.grad_input: x̄_ncij = γ_c ρ_c (g_ncij − β̄_c / M − ρ_c (x_ncij − μ_c) γ̄_c / M). Reads g and x, writes x̄: 12 bytes a value.
template <typename T>
__global__ void batch_norm_grad_input(Array<const T, 4> g, Array<const T, 4> x, Array<const T, 1> gamma, Array<const T, 1> mu, Array<const T, 1> rho, Array<const T, 1> gammabar, Array<const T, 1> betabar, int M, int width, int length, Array<T, 4> xbar) {
    Walk at(x, width, length);
    const T offset = betabar(at.c) / T(M), slope = rho(at.c) * gammabar(at.c) / T(M);
    centre_gradient<false>(g, x, Line<T>{mu(at.c), gamma(at.c) * rho(at.c), 0}, offset, slope, at, xbar);
}

// batch_norm.grad_input_relu: the same with [y_ncij > 0] g_ncij for g_ncij; y is recomputed from x.
template <typename T>
__global__ void batch_norm_grad_input_relu(Array<const T, 4> g, Array<const T, 4> x, Array<const T, 1> gamma, Array<const T, 1> beta, Array<const T, 1> mu, Array<const T, 1> rho, Array<const T, 1> gammabar, Array<const T, 1> betabar, int M, int width, int length, Array<T, 4> xbar) {
    Walk at(x, width, length);
    const T offset = betabar(at.c) / T(M), slope = rho(at.c) * gammabar(at.c) / T(M);
    centre_gradient<true>(g, x, Line<T>{mu(at.c), gamma(at.c) * rho(at.c), beta(at.c)}, offset, slope, at, xbar);
}

// --- running statistics -----------------------------------------------------------------------------------

// batch_norm.inference: y_ncij = γ_c (x_ncij − μ_c) / √(v_c + ε) + β_c. Reads x, writes y: 8 bytes a value. The scale equals γ ρ to the
// last bit: in training, the gradients find with ρ where the ReLU of inference_relu was closed.
template <typename T>
__global__ void batch_norm_inference(Array<const T, 4> x, Array<const T, 1> mu, Array<const T, 1> v, Array<const T, 1> gamma, Array<const T, 1> beta, T epsilon, int width, int length, Array<T, 4> y) {
    Walk at(x, width, length);
    apply<false>(x, Line<T>{mu(at.c), gamma(at.c) * (1 / sqrt(v(at.c) + epsilon)), beta(at.c)}, at, y);
}

// batch_norm.inference_relu: y_ncij = max(0, γ_c (x_ncij − μ_c) / √(v_c + ε) + β_c).
template <typename T>
__global__ void batch_norm_inference_relu(Array<const T, 4> x, Array<const T, 1> mu, Array<const T, 1> v, Array<const T, 1> gamma, Array<const T, 1> beta, T epsilon, int width, int length, Array<T, 4> y) {
    Walk at(x, width, length);
    apply<true>(x, Line<T>{mu(at.c), gamma(at.c) * (1 / sqrt(v(at.c) + epsilon)), beta(at.c)}, at, y);
}

// batch_norm.grad_inference: x̄_ncij = γ_c g_ncij / √(v_c + ε). Reads g, writes x̄: 8 bytes a value.
template <typename T>
__global__ void batch_norm_grad_inference(Array<const T, 4> g, Array<const T, 1> v, Array<const T, 1> gamma, T epsilon, int width, int length, Array<T, 4> xbar) {
    Walk at(g, width, length);
    apply<false>(g, Line<T>{0, gamma(at.c) / sqrt(v(at.c) + epsilon), 0}, at, xbar);
}

// After a training batch: compute ρ of channel c from its biased variance ν, and move the running statistics towards those of the batch.
// `unbiased` is M / (M − 1), and `batches`, of length 0 or 1, counts the batches.
template <typename T>
__device__ void update_running(int c, T mu, T nu, T epsilon, T momentum, T unbiased, T* mean, T* variance, T* rho, const Array<long long, 1>& batches) {
    rho[c] = 1 / sqrt(nu + epsilon);
    mean[c] += momentum * (mu - mean[c]);
    variance[c] += momentum * (nu * unbiased - variance[c]);
    if (c < batches.shape[0]) ++batches(c);
}

// The update alone. One thread = one channel.
template <typename T>
__global__ void batch_norm_forward__running(Array<const T, 1> mu, Array<const T, 1> nu, T epsilon, T momentum, T unbiased, T* mean, T* variance, T* rho, Array<long long, 1> batches) {
    const int c = thread_number();
    if (c < mu.shape[0]) update_running(c, mu(c), nu(c), epsilon, momentum, unbiased, mean, variance, rho, batches);
}

// batch_norm.inference or inference_relu with the batch's statistics, and the update in the same launch: the block with the first slab of a
// channel updates that channel.
template <bool RELU, typename T>
__device__ void normalise_and_update(const Array<const T, 4>& x, T mu, T nu, T gamma, T beta, T epsilon, const Walk& at, const Array<T, 4>& y, T momentum, T unbiased, T* mean, T* variance, T* rho, const Array<long long, 1>& batches) {
    if (at.leads && blockIdx.y == 0) update_running(at.c, mu, nu, epsilon, momentum, unbiased, mean, variance, rho, batches);
    apply<RELU>(x, Line<T>{mu, gamma * (1 / sqrt(nu + epsilon)), beta}, at, y);
}

template <typename T>
__global__ void batch_norm_inference__running(Array<const T, 4> x, Array<const T, 1> mu, Array<const T, 1> v, Array<const T, 1> gamma, Array<const T, 1> beta, T epsilon, T momentum, T unbiased, T* mean, T* variance, T* rho, Array<long long, 1> batches, int width, int length, Array<T, 4> y) {
    Walk at(x, width, length);
    normalise_and_update<false>(x, mu(at.c), v(at.c), gamma(at.c), beta(at.c), epsilon, at, y, momentum, unbiased, mean, variance, rho, batches);
}

template <typename T>
__global__ void batch_norm_inference_relu__running(Array<const T, 4> x, Array<const T, 1> mu, Array<const T, 1> v, Array<const T, 1> gamma, Array<const T, 1> beta, T epsilon, T momentum, T unbiased, T* mean, T* variance, T* rho, Array<long long, 1> batches, int width, int length, Array<T, 4> y) {
    Walk at(x, width, length);
    normalise_and_update<true>(x, mu(at.c), v(at.c), gamma(at.c), beta(at.c), epsilon, at, y, momentum, unbiased, mean, variance, rho, batches);
}
