"""The host side of ``kernel.cu``: the table of the parameters' addresses, and the rates of a step.

A kernel gets the addresses of up to 80 arrays as an argument, so a network takes one or two launches a step.

The values that change from step to step (learning rate, bias corrections, whether the velocity is used) are not
arguments: they lie in a small array on the device, ``rates``. A step can therefore be captured once in a CUDA graph
and replayed with other rates; ``rates.py`` serves ``minisegnet.training.CapturedStep`` in this way.
"""

from functools import cache

import numpy as np

from ..cuda import THREADS, Module, blocks
from .rates import on_device, only_rates

_cu = Module(__file__)

_NO_BLOCK = 2**31 - 1


@cache
def _table(arrays):
    """The struct ``Parameters`` of kernel.cu, with room for `arrays` arrays."""
    return np.dtype(
        [(name, np.uint64, arrays) for name in ("theta", "g", "m", "v", "b")] + [(name, np.int32, arrays) for name in ("size", "first")]
    )


def _address(array):
    return array.data.ptr if hasattr(array, "__cuda_array_interface__") else array.ctypes.data


def _launch(kernel, rates, options, **lists):
    """One launch for each ARRAYS arrays of the dtype of `rates`; arrays without elements are left out."""
    if only_rates():
        return
    chosen = [k for k, a in enumerate(lists["theta"]) if a.dtype == rates.dtype and a.size]
    room = _cu.constant("ARRAYS")
    for start in range(0, len(chosen), room):
        part = chosen[start : start + room]
        table = np.zeros(1, _table(room))
        for name, arrays in lists.items():
            table[name][0, : len(part)] = [_address(arrays[k]) for k in part]
        size = [lists["theta"][k].size for k in part]
        ends = np.cumsum([blocks(s) for s in size])
        if max(size) > _NO_BLOCK or ends[-1] >= _NO_BLOCK:
            raise ValueError(f"{kernel}: {sum(size)} values in one launch; kernels count up to {_NO_BLOCK}")
        table["size"][0, : len(part)] = size
        table["first"][0, : len(part)] = [0, *ends[:-1]]
        table["first"][0, len(part) :] = _NO_BLOCK
        touched = [arrays[k] for arrays in lists.values() for k in part]
        _cu.launch(kernel, (int(ends[-1]),), (THREADS,), table, rates, *options, touches=touched)


def _on_device(theta, rates):
    """The rates on the parameters' device, once for each dtype of the parameters."""
    return [on_device(rates, a) for a in {a.dtype: a for a in theta}.values()]


def _sgd_rates(lr, *, momentum, dampening, first):
    """η, the share of the velocity that is kept, and the share of the gradient that is added; at the first step 0 and 1."""
    return [lr, 0.0, 1.0] if first else [lr, momentum, 1 - dampening]


def _launch_sgd(theta, g, v, rates, *, momentum, weight_decay, nesterov):
    _launch("optimiser_sgd", rates, (momentum, weight_decay, nesterov), theta=theta, g=g, v=v)


def sgd(theta, g, v, *, lr, momentum, dampening, weight_decay, nesterov, first):
    for rates in _on_device(theta, _sgd_rates(lr, momentum=momentum, dampening=dampening, first=first)):
        _launch_sgd(theta, g, v, rates, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


def _adam_rates(step, lr, *, beta1, beta2, weight_decay, decoupled):
    """The rate and the root of the formula in ``kernel.cu``, and the factor of decoupled weight decay."""
    return [lr / (1 - beta1**step), (1 - beta2**step) ** -0.5, 1 - lr * weight_decay if decoupled else 1.0]


def _launch_adam(theta, g, m, v, rates, *, beta1, beta2, eps, weight_decay, decoupled):
    options = (beta1, beta2, 1 - beta1, 1 - beta2, eps, 0.0 if decoupled else weight_decay)
    _launch("optimiser_adam", rates, options, theta=theta, g=g, m=m, v=v)


def adam(theta, g, m, v, *, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    decay = {"beta1": beta1, "beta2": beta2, "weight_decay": weight_decay, "decoupled": decoupled}
    for rates in _on_device(theta, _adam_rates(step, lr, **decay)):
        _launch_adam(theta, g, m, v, rates, eps=eps, **decay)


def _launch_rmsprop(theta, g, v, m, b, rates, *, alpha, eps, weight_decay, momentum, centered):
    options = (alpha, 1 - alpha, eps, weight_decay, momentum, centered)
    _launch("optimiser_rmsprop", rates, options, theta=theta, g=g, m=m, v=v, b=b)


def rmsprop(theta, g, v, m, b, *, lr, alpha, eps, weight_decay, momentum, centered):
    options = {"alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum, "centered": centered}
    for rates in _on_device(theta, [lr]):
        _launch_rmsprop(theta, g, v, m, b, rates, **options)
