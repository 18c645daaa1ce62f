r"""Steps of the optimisers: all parameters of a network at once, updated in place.

Index letters, here and in every view::

    k  parameter array      i  element of that array

``theta``, ``g`` and the moments are lists of arrays of equal shapes. An arrow is an update
in place, and the lines are read from left to right.
"""

import numpy as np

from ..registry import equation

_SYMBOLS = {
    "theta": "parameters, a list of arrays; updated",
    "g": "gradients of the loss with respect to theta, a list of arrays",
    "ghat": "gradient with the weight decay",
    "eta": "option lr, the learning rate",
    "lambda": "option weight_decay",
}


def _sgd_operations(*, momentum, nesterov, first, **options):
    """For an element: decay 2, step 2; with momentum the velocity, 3 but none in the first step; Nesterov 2."""
    return 4 + (momentum != 0) * (3 * (not first) + 2 * nesterov)


@equation(
    "optimiser.sgd",
    tex=r"\hat g_{k,i} = g_{k,i} + \lambda\,\theta_{k,i},\quad"
    r" v_{k,i} \leftarrow \begin{cases} \hat g_{k,i} & \text{first} \\ \mu\,v_{k,i} + (1-\tau)\,\hat g_{k,i} & \text{otherwise} \end{cases} \text{ if } \mu \ne 0,\quad"
    r" d = \begin{cases} \hat g_{k,i} & \mu = 0 \\ \hat g_{k,i} + \mu\,v_{k,i} & \text{Nesterov} \\ v_{k,i} & \text{otherwise} \end{cases},\quad"
    r" \theta_{k,i} \leftarrow \theta_{k,i} - \eta\,d",
    symbols=_SYMBOLS
    | {
        "v": "velocities, a list of arrays; updated, and left alone without momentum",
        "mu": "option momentum",
        "tau": "option dampening",
        "d": "direction of the step",
    },
    reference="Sutskever, Martens, Dahl & Hinton, ICML 2013, with the learning rate outside the velocity",
    shape=lambda *lists, **options: [],
    operations=lambda theta, *_, **options: _sgd_operations(**options) * sum(a.size for a in theta),
    passes=lambda *_, momentum, first, **options: {"theta": 2, "v": (1 if first else 2) if momentum else 0},
)
def sgd(theta, g, v, *, lr, momentum, dampening, weight_decay, nesterov, first):
    eta, mu, tau, lambda_ = lr, momentum, dampening, weight_decay
    for k in range(len(theta)):
        for i in range(theta[k].size):
            ghat = g[k].flat[i] + lambda_ * theta[k].flat[i]
            d = ghat
            if mu != 0:
                v[k].flat[i] = ghat if first else mu * v[k].flat[i] + (1 - tau) * ghat
                d = ghat + mu * v[k].flat[i] if nesterov else v[k].flat[i]
            theta[k].flat[i] -= eta * d


@equation(
    "optimiser.adam",
    tex=r"\hat g_{k,i} = \begin{cases} g_{k,i} & \text{decoupled} \\ g_{k,i} + \lambda\,\theta_{k,i} & \text{otherwise} \end{cases},\quad"
    r" \theta_{k,i} \leftarrow (1 - \eta\lambda)\,\theta_{k,i} \text{ if decoupled},\quad"
    r" m_{k,i} \leftarrow \beta_m\,m_{k,i} + (1-\beta_m)\,\hat g_{k,i},\quad"
    r" v_{k,i} \leftarrow \beta_v\,v_{k,i} + (1-\beta_v)\,\hat g_{k,i}^2,\quad"
    r" \hat m = \frac{m_{k,i}}{1-\beta_m^t},\quad \hat v = \frac{v_{k,i}}{1-\beta_v^t},\quad"
    r" \theta_{k,i} \leftarrow \theta_{k,i} - \eta\,\frac{\hat m}{\sqrt{\hat v} + \epsilon}",
    symbols=_SYMBOLS
    | {
        "m": "first moments, a list of arrays; updated",
        "v": "second moments, a list of arrays; updated",
        "mhat": "first moment without the bias towards its zero at the start; vhat the second",
        "t": "option step, 1 for the first",
        "beta_m": "option beta1, the decay of m",
        "beta_v": "option beta2, the decay of v",
        "epsilon": "option eps",
    },
    reference="Kingma & Ba, arXiv 1412.6980; decoupled: Loshchilov & Hutter, arXiv 1711.05101",
    shape=lambda *lists, **options: [],
    operations=lambda theta, *_, decoupled, **options: (15 if decoupled else 16) * sum(a.size for a in theta),
    passes=lambda *_, **options: {"theta": 2, "m": 2, "v": 2},
)
def adam(theta, g, m, v, *, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    eta, beta_m, beta_v, epsilon, lambda_, t = lr, beta1, beta2, eps, weight_decay, step
    for k in range(len(theta)):
        for i in range(theta[k].size):
            ghat = g[k].flat[i]
            if decoupled:
                theta[k].flat[i] *= 1 - eta * lambda_
            else:
                ghat += lambda_ * theta[k].flat[i]
            m[k].flat[i] = beta_m * m[k].flat[i] + (1 - beta_m) * ghat
            v[k].flat[i] = beta_v * v[k].flat[i] + (1 - beta_v) * ghat * ghat
            mhat, vhat = m[k].flat[i] / (1 - beta_m**t), v[k].flat[i] / (1 - beta_v**t)
            theta[k].flat[i] -= eta * mhat / (np.sqrt(vhat) + epsilon)


@equation(
    "optimiser.rmsprop",
    tex=r"\hat g_{k,i} = g_{k,i} + \lambda\,\theta_{k,i},\quad"
    r" v_{k,i} \leftarrow \alpha\,v_{k,i} + (1-\alpha)\,\hat g_{k,i}^2,\quad"
    r" m_{k,i} \leftarrow \alpha\,m_{k,i} + (1-\alpha)\,\hat g_{k,i} \text{ if centered},\quad"
    r" \hat v = \begin{cases} \max(0,\; v_{k,i} - m_{k,i}^2) & \text{centered} \\ v_{k,i} & \text{otherwise} \end{cases},\quad"
    r" d = \frac{\hat g_{k,i}}{\sqrt{\hat v} + \epsilon},\quad"
    r" b_{k,i} \leftarrow \mu\,b_{k,i} + d \text{ if } \mu \ne 0,\quad"
    r" \theta_{k,i} \leftarrow \theta_{k,i} - \eta \begin{cases} d & \mu = 0 \\ b_{k,i} & \text{otherwise} \end{cases}",
    symbols=_SYMBOLS
    | {
        "v": "moving averages of ghat squared, a list of arrays; updated",
        "m": "moving averages of ghat, a list of arrays; updated if centered, otherwise not used",
        "b": "velocities, a list of arrays; updated, and not used without momentum",
        "vhat": "what the step is divided by, squared: an average square, or if centered a variance",
        "alpha": "option alpha, the share of an average that is kept",
        "mu": "option momentum",
        "d": "normalised gradient",
        "epsilon": "option eps",
    },
    reference="Tieleman & Hinton, Coursera 2012, lecture 6.5; centered: Graves, arXiv 1308.0850",
    shape=lambda *lists, **options: [],
    # decay 2, average of squares 4, quotient 3, step 2; centered: average 3, variance 3
    operations=lambda theta, *_, centered, momentum, **options: (11 + 6 * centered + 2 * (momentum != 0)) * sum(a.size for a in theta),
    passes=lambda *_, centered, momentum, **options: {"theta": 2, "v": 2, "m": 2 * centered, "b": 2 * (momentum != 0)},
)
def rmsprop(theta, g, v, m, b, *, lr, alpha, eps, weight_decay, momentum, centered):
    eta, epsilon, lambda_, mu = lr, eps, weight_decay, momentum
    for k in range(len(theta)):
        for i in range(theta[k].size):
            ghat = g[k].flat[i] + lambda_ * theta[k].flat[i]
            v[k].flat[i] = alpha * v[k].flat[i] + (1 - alpha) * ghat * ghat
            vhat = v[k].flat[i]
            if centered:
                m[k].flat[i] = alpha * m[k].flat[i] + (1 - alpha) * ghat
                vhat = max(0, v[k].flat[i] - m[k].flat[i] ** 2)
            d = ghat / (np.sqrt(vhat) + epsilon)
            if mu != 0:
                b[k].flat[i] = mu * b[k].flat[i] + d
            theta[k].flat[i] -= eta * (d if mu == 0 else b[k].flat[i])
