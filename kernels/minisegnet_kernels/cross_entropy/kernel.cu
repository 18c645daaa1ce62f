// Cross-entropy of softmax scores: how surprised the network is by the true class of each pixel.
//
// Thread map: one thread = one pixel n, i, j, which sweeps over its C scores, once for the loss and once more
// (from the cache, as long as the scores of a block fit there) for the gradient; neighbours in a warp are
// neighbours in memory. Losses, and the weights that make up Z, are added in float64: a block leaves the sums
// of its pixels in a slab, and one block adds the slabs, always in the same order. 1/Z stays on the device, where
// the gradient reads it. For the mean, a first kernel reads all labels once, because no gradient can be written
// before Z is known. Labels keep their own type, K. Byte counts are for float32 scores and uint8 labels, for each
// pixel: loss and gradient move 8 C + 1, with the mean 8 C + 2.
#include "../cuda/common.cuh"

constexpr int THREADS = 256;  // of every block here

// The result of the sweep over the scores of one pixel.
template <typename T>
struct Pixel {
    bool counts;      // it is not ignored
    int t;            // the true class
    T weight;         // w_t
    T own, even, wq;  // w_c q_c = even w_c, plus own for the true class; Σ_k w_k q_k = wq
    T m, s;           // the largest score, and Σ_k exp(x_k − m)
    T loss;           // ℓ = −Σ_c w_c q_c (x_c − m − log s)
};

// One sweep. When a larger score comes, the sums so far are rescaled to it (the online softmax: Milakov &
// Gimelshein, 2018), so that the maximum needs no separate sweep.
template <typename T, typename K>
__device__ Pixel<T> pixel(
    const Array<const T, 4>& x, const Array<const K, 3>& t, const Array<const T, 1>& w, Place p, long long ignored, T alpha) {
    const int C = x.shape[1];
    const long long target = t(p.n, p.i, p.j);  // as wide as `ignored`, which may not fit in K
    Pixel<T> a = {};
    a.counts = target != ignored;  //: ignore_index
    if (!a.counts) return a;

    T m = x(p.n, 0, p.i, p.j), s = 1, spread = 0, all = w(0);  // Σ w_c (x_c − m) and Σ w_c so far
    for (int c = 1; c < C; ++c) {
        T score = x(p.n, c, p.i, p.j);
        T d = score == m ? T(0) : score - m;  // also where both are −∞
        T e = exp(-fabs(d));
        if (d > 0) {
            s = s * e + 1, spread -= all * d, m = score;
        } else {
            s += e, spread += w(c) * d;
        }
        all += w(c);
    }
    s += m - m;  // adds 0, or NaN where m is infinite, because exp(∞ − ∞) is NaN

    const bool is_class = target >= 0 && target < C;
    a.t = is_class ? int(target) : 0;
    a.weight = is_class ? w(a.t) : T(nan(""));  // on a GPU targets are not checked first: a bad one makes the loss NaN
    a.own = (1 - alpha) * a.weight, a.even = alpha / C, a.wq = a.own + a.even * all;  //: q
    a.m = m, a.s = s;
    a.loss = a.wq * log(s);
    if (alpha != 1) a.loss -= a.own * (x(p.n, a.t, p.i, p.j) - m);  // 0 · log 0 = 0
    if (alpha != 0) a.loss -= a.even * spread;
    return a;
}

// x̄_c = g (exp(x_c − m) / s Σ_k w_k q_k − w_c q_c), or 0 for an ignored pixel.
template <typename T>
__device__ void gradient(const Pixel<T>& a, T g, const Array<const T, 4>& x, const Array<const T, 1>& w, Place p, const Array<T, 4>& xbar) {
    for (int c = 0; c < x.shape[1]; ++c) {
        T wq = a.even * w(c) + (c == a.t ? a.own : T(0));
        xbar(p.n, c, p.i, p.j) = a.counts ? g * (exp(x(p.n, c, p.i, p.j) - a.m) / a.s * a.wq - wq) : T(0);  //: r
    }
}

// Write the sums of a block to its slab: row 0 the losses, row 1 the weights.
__device__ inline void to_slab(double loss, double weight, const Array<double, 2>& slabs) {
    loss = block_sum<THREADS>(loss), weight = block_sum<THREADS>(weight);
    if (threadIdx.x == 0) slabs(0, blockIdx.x) = loss, slabs(1, blockIdx.x) = weight;
}

// A row of the slabs, added by one block.
__device__ inline double from_slabs(const Array<const double, 2>& slabs, int row) {
    double sum = 0;
    for (int b = threadIdx.x; b < slabs.shape[1]; b += THREADS) sum += slabs(row, b);
    return block_sum<THREADS>(sum);
}

// cross_entropy.forward: ℓ_nij = −Σ_c w_c q_c (x_ncij − m − log s). With EACH the loss of every pixel is written, otherwise
// their sum. Reads x and t (4 C + 1), writes ℓ (4).
template <typename T, typename K, bool EACH>
__global__ void cross_entropy_forward(
    Array<const T, 4> x, Array<const K, 3> t, Array<const T, 1> w, long long ignored, T alpha, Array<T, 3> ell, Array<double, 2> slabs) {
    int number = thread_number();
    Pixel<T> a = {};
    if (number < count(t)) {
        Place p = place(t, number);
        a = pixel(x, t, w, p, ignored, alpha);
        if (EACH) ell(p.n, p.i, p.j) = a.loss;  //: none
    }
    if (!EACH) to_slab(a.loss, a.weight, slabs);
}

// cross_entropy.forward, second pass: L = 1/Z Σ ℓ (MEAN), or Σ ℓ. One block.
template <typename T, bool MEAN>
__global__ void cross_entropy_forward__sum(Array<const double, 2> slabs, Array<T, 1> L) {
    double loss = from_slabs(slabs, 0), Z = from_slabs(slabs, 1);
    if (threadIdx.x == 0) L(0) = !MEAN ? loss : Z != 0 ? loss / Z : 0 * loss;
}

// cross_entropy.grad_input, with the mean: Σ w_t of each block. Reads t (1).
template <typename T, typename K>
__global__ void cross_entropy_grad_input__weigh(Array<const K, 3> t, Array<const T, 1> w, long long ignored, Array<double, 2> slabs) {
    int number = thread_number();
    double weight = 0;
    if (number < count(t)) {
        Place p = place(t, number);
        long long target = t(p.n, p.i, p.j);
        if (target != ignored) weight = target >= 0 && target < w.shape[0] ? double(w(int(target))) : nan("");
    }
    to_slab(0, weight, slabs);
}

// cross_entropy.grad_input, with the mean: g / Z, or 0 where nothing counts. One block.
template <typename T>
__global__ void cross_entropy_grad_input__scale(Array<const double, 2> slabs, Array<const T, 1> g, Array<T, 1> scale) {
    double Z = from_slabs(slabs, 1);
    if (threadIdx.x == 0) scale(0) = Z != 0 ? g(0) / Z : 0;
}

// cross_entropy.grad_input: x̄_ncij = g/Z (exp(x_ncij − m) / s Σ_k w_k q_k − w_c q_c). Here g is already g/Z, and is a map,
// with strides of 0 if it is one number. Reads x and t (4 C + 1), writes x̄ (4 C).
template <typename T, typename K>
__global__ void cross_entropy_grad_input(
    Array<const T, 3> g, Array<const T, 4> x, Array<const K, 3> t, Array<const T, 1> w, long long ignored, T alpha, Array<T, 4> xbar) {
    int number = thread_number();
    if (number >= count(t)) return;
    Place p = place(t, number);
    gradient(pixel(x, t, w, p, ignored, alpha), g(p.n, p.i, p.j), x, w, p, xbar);  //: none
}

// cross_entropy.forward_and_grad: both in one sweep; g is 1 or 1/Z. Reads x and t (4 C + 1), writes x̄ and ℓ (4 C + 4).
template <typename T, typename K, bool EACH>
__global__ void cross_entropy_forward_and_grad(
    Array<const T, 3> g, Array<const T, 4> x, Array<const K, 3> t, Array<const T, 1> w, long long ignored, T alpha, Array<T, 3> ell,
    Array<double, 2> slabs, Array<T, 4> xbar) {
    int number = thread_number();
    Pixel<T> a = {};
    if (number < count(t)) {
        Place p = place(t, number);
        a = pixel(x, t, w, p, ignored, alpha);
        gradient(a, g(p.n, p.i, p.j), x, w, p, xbar);
        if (EACH) ell(p.n, p.i, p.j) = a.loss;  //: none
    }
    if (!EACH) to_slab(a.loss, a.weight, slabs);
}
