"""Rows of the table for batch normalisation."""

import numpy as np
from hypothesis import strategies as st

from minisegnet_kernels import batch_norm
from minisegnet_kernels.batch_norm import kernel

from . import Case, Operation

_IMAGES = ("x", "g")


@st.composite
def _drawn(draw, *names, eps=False, size=5, channels=3):
    """Arrays by name. Channels have means far from zero and at least six values; the
    pre-activations keep clear of the kink of the ReLU (but not those of a large `forward_relu`,
    which is continuous there)."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, channels)), draw(st.integers(2, size)), draw(st.integers(3, size)))
    options = {"eps": draw(st.sampled_from([1e-5, 1e-3, 0.1]))} if eps else {}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = {name: rng.normal(size=shape if name in _IMAGES else shape[1]) for name in names}
    arrays |= {name: 1 + rng.random(shape[1]) for name in ("v", "rho") if name in names}
    if "gamma" in names:
        arrays["gamma"] = rng.choice([-1, 1], size=shape[1]) * (0.5 + rng.random(shape[1]))
    arrays |= {name: arrays[name] + 3 for name in ("x", "mu") if name in names}
    if {"x", "gamma", "beta", "mu"} <= set(names):
        near = np.abs(_activation(arrays, **options)) < 1e-3
        arrays["x"] += near * 4e-3
    elif {"x", "gamma", "beta"} <= set(names) and size < 10:
        while np.abs(_activation(arrays, **options)).min() < 1e-3:
            arrays["beta"] = rng.normal(size=shape[1])
    return Case(arrays, options)


def _activation(arrays, eps=0.0):
    """The input of a ReLU after the normalisation."""
    channel = lambda vector: vector[:, None, None]
    x = arrays["x"]
    if "rho" in arrays:
        mu, rho = arrays["mu"], arrays["rho"]
    elif "v" in arrays:
        mu, rho = arrays["mu"], 1 / np.sqrt(arrays["v"] + eps)
    else:
        mu, rho = x.mean(axis=(0, 2, 3)), 1 / np.sqrt(x.var(axis=(0, 2, 3)) + eps)
    return channel(arrays["gamma"] * rho) * (x - channel(mu)) + channel(arrays["beta"])


def _terms(case):
    """Values of a channel, times what cancellation costs: squares of x against its variance,
    and, in the sums of the gradients, the size of the addends against the size of the sums."""
    x = case.arrays.get("x", case.arrays.get("g")).astype(np.float64)
    count = x.size // x.shape[1]
    lost = np.max(np.square(x).max(axis=(0, 2, 3)) / x.var(axis=(0, 2, 3)))
    if "g" in case.arrays:
        g = case.arrays["g"].astype(np.float64)
        for addends in (g, g * (x - x.mean(axis=(0, 2, 3), keepdims=True))):
            lost = max(lost, (np.abs(addends).sum(axis=(0, 2, 3)).max() / np.abs(addends.sum(axis=(0, 2, 3))).max()) ** 2)
    return int(count * (1 + lost))


def _vjp(case, outputs, g):
    x, gamma, _ = case.arrays.values()
    _, mu, _, rho = outputs
    gammabar, betabar = batch_norm.grad_affine(g, x, mu, rho)
    return {"x": batch_norm.grad_input(g, x, gamma, mu, rho, gammabar, betabar), "gamma": gammabar, "beta": betabar}


def _vjp_relu(case, outputs, g):
    x, gamma, beta = case.arrays.values()
    _, mu, _, rho = outputs
    gammabar, betabar = batch_norm.grad_affine_relu(g, x, gamma, beta, mu, rho)
    xbar = batch_norm.grad_input_relu(g, x, gamma, beta, mu, rho, gammabar, betabar)
    return {"x": xbar, "gamma": gammabar, "beta": betabar}


def _vjp_inference(case, outputs, g):
    x, mu, v, gamma, _ = case.arrays.values()
    gammabar, betabar = batch_norm.grad_affine(g, x, mu, 1 / np.sqrt(v + case.options["eps"]))
    return {"x": batch_norm.grad_inference(g, v, gamma, **case.options), "gamma": gammabar, "beta": betabar}


def _vjp_inference_relu(case, outputs, g):
    x, mu, v, gamma, beta = case.arrays.values()
    rho, none = 1 / np.sqrt(v + case.options["eps"]), np.zeros_like(v)
    gammabar, betabar = batch_norm.grad_affine_relu(g, x, gamma, beta, mu, rho)
    return {"x": batch_norm.grad_input_relu(g, x, gamma, beta, mu, rho, none, none), "gamma": gammabar, "beta": betabar}


def _row(name, *arguments, eps=False, **more):
    cases, large = (_drawn(*arguments, eps=eps, **limits) for limits in ({}, {"size": 90, "channels": 9}))
    return Operation(f"batch_norm.{name}", cases, large=large, terms=_terms, **more)


_ALL = {"differentiable": ("x", "gamma", "beta")}
_SUMS = ("mu", "rho", "gammabar", "betabar")
_GIVEN = ("x", "mu", "v", "gamma", "beta")

ROWS = [
    _row("forward", "x", "gamma", "beta", eps=True, vjp=_vjp, **_ALL),
    _row("forward_relu", "x", "gamma", "beta", eps=True, vjp=_vjp_relu, analytic=False, **_ALL),
    _row("grad_affine", "g", "x", "mu", "rho"),
    _row("grad_affine_relu", "g", "x", "gamma", "beta", "mu", "rho"),
    _row("grad_input", "g", "x", "gamma", *_SUMS),
    _row("grad_input_relu", "g", "x", "gamma", "beta", *_SUMS),
    _row("inference", *_GIVEN, eps=True, vjp=_vjp_inference, **_ALL),
    _row("inference_relu", *_GIVEN, eps=True, vjp=_vjp_inference_relu, analytic=False, **_ALL),
    _row("grad_inference", "g", "v", "gamma", eps=True),
]


# --- what the mutation test needs beside ------------------------------------------------------------


def _two_slabs():
    """4160 values, of which the second slab has the last 64: these differ from the rest, so that their number matters."""
    x = np.random.default_rng(5).normal(size=(1, 1, 64, 65)) + 3
    x[:, :, -1] += 20
    return Case({"x": x, "gamma": np.ones(1), "beta": np.zeros(1)}, {"eps": 1e-3})


def _three_channels():
    """Statistics of three channels, fewer than the threads of a block."""
    rng = np.random.default_rng(6)
    return Case({name: rng.uniform(0.5, 2, 3) for name in ("mean", "variance", "mu", "nu")}, {})


def _running(case):
    """The running statistics and ρ after the launch that updates them on a GPU."""
    mean, variance, mu, nu = (a.copy() for a in case.arrays.values())
    rho = kernel._running(mean, variance, mu, nu, 7, 0.25, 1e-3)
    return mean, variance, rho


def _running_expected(case):
    mean, variance, mu, nu = (a.copy() for a in case.arrays.values())
    return 0.75 * mean + 0.25 * mu, 0.75 * variance + 0.25 * nu * 7 / 6, 1 / np.sqrt(nu + 1e-3)


RARE = [
    Operation("batch_norm.forward", st.builds(_two_slabs), terms=_terms),
    Operation("batch_norm.forward", st.builds(_three_channels), run=_running, expected=_running_expected),
]
