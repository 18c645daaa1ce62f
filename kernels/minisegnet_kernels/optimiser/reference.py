"""Steps of the optimisers in NumPy, written to be read beside ``formula.py``.

``[...] =`` and ``+=`` write into the arrays that the caller holds.
"""

import numpy as np


def sgd(theta, g, v, *, lr, momentum, dampening, weight_decay, nesterov, first):
    for k in range(len(theta)):
        ghat = g[k] + weight_decay * theta[k]
        d = ghat
        if momentum != 0:
            v[k][...] = ghat if first else momentum * v[k] + (1 - dampening) * ghat
            d = ghat + momentum * v[k] if nesterov else v[k]
        theta[k] -= lr * d


def adam(theta, g, m, v, *, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    for k in range(len(theta)):
        if decoupled:
            ghat = g[k]
            theta[k] *= 1 - lr * weight_decay
        else:
            ghat = g[k] + weight_decay * theta[k]
        m[k] += (1 - beta1) * (ghat - m[k])
        v[k] += (1 - beta2) * (ghat * ghat - v[k])
        mhat, vhat = m[k] / (1 - beta1**step), v[k] / (1 - beta2**step)
        theta[k] -= lr * mhat / (np.sqrt(vhat) + eps)


def rmsprop(theta, g, v, m, b, *, lr, alpha, eps, weight_decay, momentum, centered):
    for k in range(len(theta)):
        ghat = g[k] + weight_decay * theta[k]
        v[k] += (1 - alpha) * (ghat * ghat - v[k])
        vhat = v[k]
        if centered:
            m[k] += (1 - alpha) * (ghat - m[k])
            vhat = np.maximum(v[k] - m[k] * m[k], 0)
        d = ghat / (np.sqrt(vhat) + eps)
        if momentum != 0:
            b[k][...] = d = momentum * b[k] + d
        theta[k] -= lr * d
