"""Steps of the optimisers for a GPU in Numba: all parameters of a dtype in one launch, each value loaded once and stored once.

A network has a hundred parameters, most of them smaller than a block, and a launch takes longer than the work on one
of them. So the kernel gets a table of the arrays' addresses. In ``kernel.cu`` the table is an argument. Numba's kernels
take no structs, and hundreds of separate arguments would be slow to unpack, so here the table is an array on the device.
Its copy is queued behind the work that runs there, so the CPU does not wait.

Thread map: one thread = one value. Block b works on the array k with table[0, k] ≤ b < table[0, k + 1]. Options are
converted to the dtype of the arrays, because a float64 option would turn float32 arithmetic into float64.
"""

import math

import numpy as np

from ..cuda.jit import THREADS, at, cuda, device, kernel, launch


def _address(array):
    return array.data.ptr if hasattr(array, "__cuda_array_interface__") else array.ctypes.data


def _step(program, lists, *options):
    """One launch for each dtype; arrays without elements are left out."""
    for dtype in {a.dtype: None for a in lists[0]}:
        chosen = [arrays for arrays in zip(*lists, strict=True) if arrays[0].dtype == dtype and arrays[0].size]
        if not chosen:
            continue
        sizes = [arrays[0].size for arrays in chosen]
        ends = np.cumsum([-(-size // THREADS) for size in sizes])
        rows = [[0, *ends[:-1]], sizes, *([_address(a) for a in arrays] for arrays in zip(*chosen, strict=True))]
        table = np.asarray(rows, np.int64, like=chosen[0][0])  # first block, size, then the address of each array
        launch(program, int(ends[-1]), THREADS, table, *(o if isinstance(o, bool) else dtype.type(o) for o in options))


@device
def _place(table):
    """The array of this block, by bisection, and the value of this thread. All threads of a block take the same branches."""
    k, above = 0, table.shape[1]
    while above - k > 1:
        middle = (k + above) // 2
        if table[0, middle] <= cuda.blockIdx.x:
            k = middle
        else:
            above = middle
    return k, (cuda.blockIdx.x - table[0, k]) * cuda.blockDim.x + cuda.threadIdx.x


def sgd(theta, g, v, *, lr, momentum, dampening, weight_decay, nesterov, first):
    kept, taken = (0.0, 1.0) if first else (momentum, 1 - dampening)
    _step(_sgd, (theta, g, v), lr, momentum, kept, taken, weight_decay, nesterov)


@kernel
def _sgd(table, eta, mu, kept, taken, lambda_, nesterov):
    k, i = _place(table)
    size = table[1, k]
    if i < size:
        theta_k, g_k, v_k = at(table[2, k], size, eta), at(table[3, k], size, eta), at(table[4, k], size, eta)
        theta = theta_k[i]
        ghat = g_k[i] + lambda_ * theta
        d = ghat
        if mu != 0:
            velocity = taken * ghat
            if kept != 0:  # at the first step kept is 0, and v may hold anything
                velocity += kept * v_k[i]
            v_k[i] = velocity
            d = ghat + mu * velocity if nesterov else velocity
        theta_k[i] = theta - eta * d


def adam(theta, g, m, v, *, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    rate, root = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
    shrink, coupled = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    _step(_adam, (theta, g, m, v), rate, root, beta1, beta2, 1 - beta1, 1 - beta2, eps, shrink, coupled)


@kernel
def _adam(table, rate, root, beta_m, beta_v, rest_m, rest_v, epsilon, shrink, lambda_):
    k, i = _place(table)
    size = table[1, k]
    if i < size:
        theta_k, g_k = at(table[2, k], size, rate), at(table[3, k], size, rate)
        m_k, v_k = at(table[4, k], size, rate), at(table[5, k], size, rate)
        theta = theta_k[i]
        ghat = g_k[i] + lambda_ * theta
        m = beta_m * m_k[i] + rest_m * ghat
        v = beta_v * v_k[i] + rest_v * ghat * ghat
        m_k[i], v_k[i] = m, v
        theta_k[i] = shrink * theta - rate * m / (root * math.sqrt(v) + epsilon)


def rmsprop(theta, g, v, m, b, *, lr, alpha, eps, weight_decay, momentum, centered):
    _step(_rmsprop, (theta, g, v, m, b), lr, alpha, 1 - alpha, eps, weight_decay, momentum, centered)


@kernel
def _rmsprop(table, eta, alpha, rest, epsilon, lambda_, mu, centered):
    k, i = _place(table)
    size = table[1, k]
    if i < size:
        theta_k, g_k, v_k = at(table[2, k], size, eta), at(table[3, k], size, eta), at(table[4, k], size, eta)
        theta = theta_k[i]
        ghat = g_k[i] + lambda_ * theta
        vhat = alpha * v_k[i] + rest * ghat * ghat
        v_k[i] = vhat
        if centered:
            m_k = at(table[5, k], size, eta)
            m = alpha * m_k[i] + rest * ghat
            m_k[i] = m
            vhat -= m * m
            if vhat < 0:  # by rounding
                vhat -= vhat
        d = ghat / (math.sqrt(vhat) + epsilon)
        if mu != 0:
            b_k = at(table[6, k], size, eta)
            d += mu * b_k[i]
            b_k[i] = d
        theta_k[i] = theta - eta * d
