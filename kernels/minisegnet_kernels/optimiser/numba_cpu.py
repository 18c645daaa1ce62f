"""Steps of the optimisers on the CPU, compiled by Numba: one sweep over the arrays of a parameter.

Written with NumPy, a step of Adam goes through memory a dozen times; here each value is
loaded once and stored once. Options are converted to the dtype of the arrays, because a
float64 option would turn the arithmetic of float32 arrays into float64.
"""

from ..jit import kernel, prange


@kernel
def _sgd(theta, g, v, lr, momentum, kept, taken, weight_decay, nesterov):
    for i in prange(theta.size):
        ghat = g[i] + weight_decay * theta[i]
        d = ghat
        if momentum != 0:
            velocity = taken * ghat
            if kept != 0:  # not at the first step, when v may hold anything
                velocity += kept * v[i]
            v[i] = velocity
            d = ghat + momentum * velocity if nesterov else velocity
        theta[i] -= lr * d


@kernel
def _adam(theta, g, m, v, rate, root, beta1, beta2, rest1, rest2, eps, shrink, weight_decay):
    for i in prange(theta.size):
        ghat = g[i] + weight_decay * theta[i]
        first = beta1 * m[i] + rest1 * ghat
        second = beta2 * v[i] + rest2 * ghat * ghat
        m[i] = first
        v[i] = second
        theta[i] = shrink * theta[i] - rate * first / (root * second**0.5 + eps)


@kernel
def _rmsprop(theta, g, v, m, b, lr, alpha, rest, eps, weight_decay, momentum, centered):
    for i in prange(theta.size):
        ghat = g[i] + weight_decay * theta[i]
        square = alpha * v[i] + rest * ghat * ghat
        v[i] = square
        if centered:
            mean = alpha * m[i] + rest * ghat
            m[i] = mean
            square = max(square - mean * mean, theta.dtype.type(0))
        d = ghat / (square**0.5 + eps)
        if momentum != 0:
            d += momentum * b[i]
            b[i] = d
        theta[i] -= lr * d


def _flat(array):
    """The array with one axis. A read-only gradient is copied, because the kernel would be compiled again for it."""
    return array.reshape(-1) if array.flags.writeable else array.flatten()


def _cast(theta, *options):
    """The options in each dtype that occurs."""
    return {dtype: [dtype.type(o) for o in options] for dtype in {array.dtype for array in theta}}


def sgd(theta, g, v, *, lr, momentum, dampening, weight_decay, nesterov, first):
    kept, taken = (0.0, 1.0) if first else (momentum, 1 - dampening)
    options = _cast(theta, lr, momentum, kept, taken, weight_decay)
    for k in range(len(theta)):
        _sgd(_flat(theta[k]), _flat(g[k]), _flat(v[k]), *options[theta[k].dtype], nesterov)


def adam(theta, g, m, v, *, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    rate, root = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
    shrink, coupled = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    options = _cast(theta, rate, root, beta1, beta2, 1 - beta1, 1 - beta2, eps, shrink, coupled)
    for k in range(len(theta)):
        _adam(_flat(theta[k]), _flat(g[k]), _flat(m[k]), _flat(v[k]), *options[theta[k].dtype])


def rmsprop(theta, g, v, m, b, *, lr, alpha, eps, weight_decay, momentum, centered):
    options = _cast(theta, lr, alpha, 1 - alpha, eps, weight_decay, momentum)
    for k in range(len(theta)):
        _rmsprop(_flat(theta[k]), _flat(g[k]), _flat(v[k]), _flat(m[k]), _flat(b[k]), *options[theta[k].dtype], centered)
