"""Steps of the optimisers for a GPU in Numba: one launch a parameter, each value loaded once and stored once.

Thread map: one thread = one value. (``kernel.cu`` needs one launch for all parameters; Numba's kernels take no tables of
addresses.) Options arrive in the dtype of the arrays: a float64 would drag float32 arithmetic up to float64.
"""

import math

from ..cuda.jit import cuda, kernel, over


def _flat(array):
    """One axis, and a copy of a read-only gradient, which the simulator would write back."""
    return array.reshape(-1) if getattr(array.flags, "writeable", True) else array.flatten()


def _cast(array, *options):
    return [array.dtype.type(o) for o in options]


def sgd(theta, g, v, *, lr, momentum, dampening, weight_decay, nesterov, first):
    kept, taken = (0.0, 1.0) if first else (momentum, 1 - dampening)
    for k in range(len(theta)):
        options = _cast(theta[k], lr, momentum, kept, taken, weight_decay)
        velocity = v[k] if momentum else g[k]  # a stand-in that stays untouched; v may be theta, and the simulator takes no array twice
        over(_sgd, theta[k].size, _flat(theta[k]), _flat(g[k]), _flat(velocity), *options, nesterov)


@kernel
def _sgd(theta, g, v, eta, mu, kept, taken, lambda_, nesterov):
    i = cuda.grid(1)
    if i < theta.size:
        ghat = g[i] + lambda_ * theta[i]
        d = ghat
        if mu != 0:
            velocity = taken * ghat
            if kept != 0:  # not at the first step, when v may hold anything
                velocity += kept * v[i]
            v[i] = velocity
            d = ghat + mu * velocity if nesterov else velocity
        theta[i] -= eta * d


def adam(theta, g, m, v, *, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    rate, root = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
    shrink, coupled = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    for k in range(len(theta)):
        options = _cast(theta[k], rate, root, beta1, beta2, 1 - beta1, 1 - beta2, eps, shrink, coupled)
        over(_adam, theta[k].size, _flat(theta[k]), _flat(g[k]), _flat(m[k]), _flat(v[k]), *options)


@kernel
def _adam(theta, g, m, v, rate, root, beta_m, beta_v, rest_m, rest_v, epsilon, shrink, lambda_):
    i = cuda.grid(1)
    if i < theta.size:
        ghat = g[i] + lambda_ * theta[i]
        m[i] = beta_m * m[i] + rest_m * ghat
        v[i] = beta_v * v[i] + rest_v * ghat * ghat
        theta[i] = shrink * theta[i] - rate * m[i] / (root * math.sqrt(v[i]) + epsilon)
