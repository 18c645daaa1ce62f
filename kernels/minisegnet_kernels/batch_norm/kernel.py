"""The host side of ``kernel.cu``: how the values of a channel are split, and what is launched.

Everything follows from shapes and layout alone, so that the sums are added in the same order in every run.
"""

from ..cuda import THREADS, Module
from ..layout import poisoned
from .running import UPDATE

_cu = Module(__file__)

_VALUES = 16  # of a thread, unless that makes too many slabs
_SLABS = 1024  # at most, of a channel whose slabs are merged in a second pass
_GRID = 65535  # blocks along y


def _map(x, most):
    """Grid, width and length of a sweep: see the thread map in ``kernel.cu``."""
    C = x.shape[1]
    M = x.size // C
    width = min(1 << (C - 1).bit_length(), 32) if x.strides[1] == x.itemsize else 1
    length = max(_VALUES * THREADS // width, -(-M // most))
    return (-(-C // width), -(-M // length)), width, length


def _sweep(kernel, x, *arguments):
    """Write an array like x, value by value."""
    out = poisoned(x, x.shape)
    if x.size:
        grid, width, length = _map(x, _GRID)
        _cu.launch(kernel, grid, (THREADS,), *arguments, width, length, out)
    return out


def moments(x):
    """One pass over x. Returns the means and the sums of squared deviations of the slabs, both (C, slabs), and the number of values of a slab."""
    grid, width, length = _map(x, _SLABS)
    means, spreads = (poisoned(x, (x.shape[1], grid[1])) for _ in range(2))
    _cu.launch("batch_norm_forward__statistics", grid, (THREADS,), x, width, length, means, spreads, THREADS=THREADS)
    return means, spreads, length


def _train(kernel, x, gamma, beta, eps):
    C, M = x.shape[1], x.size // x.shape[1]
    mu, nu, rho = (poisoned(gamma, (C,)) for _ in range(3))
    means, spreads, length = moments(x)
    _cu.launch("batch_norm_forward__merge", (C,), (THREADS,), means, spreads, length, M, eps, mu, nu, rho, THREADS=THREADS)
    return _sweep(kernel, x, x, gamma, beta, mu, rho), mu, nu, rho


def forward(x, gamma, beta, *, eps):
    return _train("batch_norm_forward", x, gamma, beta, eps)


def forward_relu(x, gamma, beta, *, eps):
    return _train("batch_norm_forward_relu", x, gamma, beta, eps)


def _update_running(mu, nu, update, eps):
    """`batch_norm.update_running` in one launch: as array arithmetic it would be fifteen."""
    _cu.over("batch_norm_forward__running", len(mu), mu, nu, eps, *update.arguments(mu))
    return update.rho


def _affine(kernel, rho, g, x, *vectors):
    C = x.shape[1]
    gammabar, betabar = poisoned(rho, (C,)), poisoned(rho, (C,))
    grid, width, length = _map(x, _SLABS) if x.size else ((C, 0), 1, 1)
    products, ones = poisoned(rho, (C, grid[1])), poisoned(rho, (C, grid[1]))
    if x.size:
        _cu.launch(kernel, grid, (THREADS,), g, x, *vectors, width, length, products, ones, THREADS=THREADS)
    if C:
        _cu.launch("batch_norm_grad_affine__sum", (C,), (THREADS,), products, ones, rho, gammabar, betabar, THREADS=THREADS)
    return gammabar, betabar


def grad_affine(g, x, mu, rho):
    return _affine("batch_norm_grad_affine", rho, g, x, mu)


def grad_affine_relu(g, x, gamma, beta, mu, rho):
    return _affine("batch_norm_grad_affine_relu", rho, g, x, gamma, beta, mu, rho)


def grad_input(g, x, gamma, mu, rho, gammabar, betabar):
    M = x.size // max(x.shape[1], 1)
    return _sweep("batch_norm_grad_input", x, g, x, gamma, mu, rho, gammabar, betabar, M)


def grad_input_relu(g, x, gamma, beta, mu, rho, gammabar, betabar):
    M = x.size // max(x.shape[1], 1)
    return _sweep("batch_norm_grad_input_relu", x, g, x, gamma, beta, mu, rho, gammabar, betabar, M)


def _inference(kernel, x, mu, v, gamma, beta, eps):
    if (update := UPDATE.get()) is None:
        return _sweep(kernel, x, x, mu, v, gamma, beta, eps)
    return _sweep(f"{kernel}__running", x, x, mu, v, gamma, beta, eps, *update.arguments(mu))


def inference(x, mu, v, gamma, beta, *, eps):
    return _inference("batch_norm_inference", x, mu, v, gamma, beta, eps)


def inference_relu(x, mu, v, gamma, beta, *, eps):
    return _inference("batch_norm_inference_relu", x, mu, v, gamma, beta, eps)


def grad_inference(g, v, gamma, *, eps):
    return _sweep("batch_norm_grad_inference", g, g, v, gamma, eps)
