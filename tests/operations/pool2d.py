"""Rows of the table for pooling."""

import numpy as np
from hypothesis import strategies as st

from minisegnet_kernels import pool2d
from minisegnet_kernels.pool2d import reference

from . import Case, Operation, distinct, unchecked


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


def every_window_meets_the_input(options, size):
    """By looking at every cell of every window, one axis at a time."""
    for axis in (0, 1):
        h, u, s, p, d = (options[name][axis] if name else size[axis] for name in (None, "kernel_size", "stride", "padding", "dilation"))
        windows = pool2d.pooled_size(h, u, s, p, d, options["ceil_mode"])
        if windows < 1 or not all(any(0 <= i * s + v * d - p[0] < h for v in range(u)) for i in range(windows)):
            return False
    return True


@st.composite
def geometry(draw, largest=6, channels=2, dilated=True):
    """Sizes and options that fit together, and a generator of values."""
    options = {
        "kernel_size": draw(pairs(1, 3)),
        "stride": draw(pairs(1, 3)),
        "padding": draw(st.tuples(pairs(0, 2), pairs(0, 2))),
        "dilation": draw(pairs(1, 2)) if dilated else (1, 1),
        "ceil_mode": draw(st.booleans()),
    }
    if draw(st.integers(0, 3)) == 0:  # the tiles of most networks, which have a program of their own
        options |= {"kernel_size": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, channels)), draw(st.integers(1, largest)), draw(st.integers(1, largest)))
    return shape, options, np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def fitting(**limits):
    return geometry(**limits).filter(lambda drawn: every_window_meets_the_input(drawn[1], drawn[0][2:]))


def _eighths(rng, shape):
    """Values with many ties, whose products are exact in float32: the tie rule decides, in every dtype."""
    return rng.integers(-32, 33, shape) / 8


def _without(options, *names):
    return {name: value for name, value in options.items() if name not in names}


def _max(values, **limits):
    def build(drawn):
        shape, options, rng = drawn
        return Case({"x": values(rng, shape)}, options)

    return fitting(**limits).map(build)


def _clear(x, w, options):
    """Whether a step of 1e-5 leaves every winner of the weighted maximum in place."""
    padding = options["padding"]
    whole = {**_without(options, "kernel_size"), "kernel_size": w.shape[1:]}
    products = np.full((w.shape[1] * w.shape[2], *pool2d.max(x, **whole)[0].shape), -np.inf)
    for o, (u, v) in enumerate(np.ndindex(*w.shape[1:])):
        for i, j in np.ndindex(*products.shape[3:]):
            k = i * options["stride"][0] + u * options["dilation"][0] - padding[0][0]
            l = j * options["stride"][1] + v * options["dilation"][1] - padding[1][0]
            if 0 <= k < x.shape[2] and 0 <= l < x.shape[3]:
                products[o, :, :, i, j] = w[:, u, v] * x[:, :, k, l]
    products.sort(axis=0)
    return len(products) < 2 or not (products[-1] - products[-2] < 1e-4).any()


def _weighted(exact=False, **limits):
    def build(drawn):
        shape, options, rng = drawn
        weights = (shape[1], *options["kernel_size"])
        while True:  # until no two values are nearly tied; with so few values, one draw is usually enough
            x, w = (_eighths(rng, shape), _eighths(rng, weights)) if exact else (rng.normal(size=shape), rng.normal(size=weights))
            if exact or _clear(x, w, options):
                return Case({"x": x, "w": w, "b": rng.normal(size=shape[1])}, _without(options, "kernel_size"))

    return fitting(**limits).map(build)


def _gradient(*names, exact=False, **limits):
    """g and the winners of a weighted maximum, with the other arguments of a gradient.

    Some winners are drawn freely and may lie in the padding: there is nothing to add there.
    """

    def build(case):
        options, x, w, b = _without(case.options, "ceil_mode"), *case.arrays.values()
        y, m = reference.forward(x, w, b, **case.options)
        rng = np.random.default_rng(int(m.sum()))
        g = rng.normal(size=y.shape)
        m = np.where(rng.random(m.shape) < 0.25, rng.integers(0, w[0].size, m.shape), m).astype(m.dtype)
        arrays = {"g": g, "m": m, "w": w, "x": x}
        extra = {"w": {"input_size": x.shape[2:]}, "x": {"kernel_size": w.shape[1:]}}.get(
            names[-1], {"input_size": x.shape[2:], "kernel_size": w.shape[1:]}
        )
        return Case({name: arrays[name] for name in names}, {**extra, **options})

    return _weighted(exact, **limits).map(build)


def _only_g(case):
    return Case({"g": case.arrays["g"]})


@st.composite
def _average(draw, gradient=False, **limits):
    shape, options, rng = draw(fitting(dilated=False, **limits))
    options = {**_without(options, "dilation"), "count_include_pad": draw(st.booleans())}
    if not gradient:
        return Case({"x": rng.normal(size=shape)}, options)
    outputs = (
        pool2d.pooled_size(*axis, 1, options["ceil_mode"])
        for axis in zip(shape[2:], options["kernel_size"], options["stride"], options["padding"], strict=True)
    )
    return Case({"g": rng.normal(size=(*shape[:2], *outputs))}, {"input_size": shape[2:], **_without(options, "ceil_mode")})


@st.composite
def _adaptive(draw, gradient=False, largest=6):
    shape, rng = (draw(st.integers(1, 2)), draw(st.integers(1, 3))), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    whole, regions = draw(pairs(1, largest)), draw(pairs(1, largest))
    if gradient:
        return Case({"g": rng.normal(size=(*shape, *regions))}, {"input_size": whole})
    return Case({"x": rng.normal(size=(*shape, *whole))}, {"output_size": regions})


@st.composite
def _unpool(draw, gradient=False, largest=5):
    """Winners drawn freely, so that several values often go to one cell."""
    planes, pooled, whole = draw(pairs(1, 2)), draw(pairs(1, largest)), draw(pairs(1, largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m = rng.integers(0, whole[0] * whole[1], (*planes, *pooled))
    if gradient:
        return Case({"g": rng.normal(size=(*planes, *whole)), "m": m})
    return Case({"x": rng.normal(size=(*planes, *pooled)), "m": m}, {"output_size": whole})


def _vjp_forward(case, outputs, g):
    (x, w, _), (_, winner), options = case.arrays.values(), outputs, _without(case.options, "ceil_mode")
    return {
        "x": pool2d.grad_input(g, winner, w, input_size=x.shape[2:], **options),
        "w": pool2d.grad_weight(g, winner, x, kernel_size=w.shape[1:], **options),
        "b": pool2d.grad_bias(g),
    }


def _vjp_max(case, outputs, g):
    return {"x": pool2d.grad_max(g, outputs[1], input_size=case.arrays["x"].shape[2:], **_without(case.options, "ceil_mode"))}


def _vjp_average(case, outputs, g):
    return {"x": pool2d.grad_average(g, input_size=case.arrays["x"].shape[2:], **_without(case.options, "ceil_mode"))}


def _window(case):
    return int(np.prod(case.options.get("kernel_size", (3, 3))))


_LARGE = {"largest": 70, "channels": 20}

ROWS = [
    Operation(
        "pool2d.forward",
        _weighted(),
        large=_weighted(exact=True, **_LARGE),
        differentiable=("x", "w", "b"),
        vjp=_vjp_forward,
        analytic=False,
        exact=True,
    ),
    Operation(
        "pool2d.grad_input", _gradient("g", "m", "w"), large=_gradient("g", "m", "w", exact=True, **_LARGE), terms=_window, exact=True
    ),
    Operation(
        "pool2d.grad_weight",
        _gradient("g", "m", "x"),
        large=_gradient("g", "m", "x", exact=True, **_LARGE),
        terms=lambda case: case.arrays["g"][:, 0].size,
        exact=True,
    ),
    Operation(
        "pool2d.grad_bias",
        _gradient("g").map(_only_g),
        large=_gradient("g", exact=True, **_LARGE).map(_only_g),
        terms=lambda case: case.arrays["g"][:, 0].size,
        exact=True,
    ),
    Operation(
        "pool2d.max", _max(distinct), large=_max(_eighths, **_LARGE), differentiable=("x",), vjp=_vjp_max, analytic=False, exact=True
    ),
    Operation("pool2d.grad_max", _gradient("g", "m"), large=_gradient("g", "m", exact=True, **_LARGE), terms=_window, exact=True),
    Operation("pool2d.average", _average(), large=_average(**_LARGE), differentiable=("x",), vjp=_vjp_average, terms=_window),
    Operation("pool2d.grad_average", _average(gradient=True), large=_average(gradient=True, **_LARGE), terms=_window),
    Operation(
        "pool2d.adaptive_average",
        _adaptive(),
        large=_adaptive(largest=40),
        differentiable=("x",),
        vjp=lambda case, outputs, g: {"x": pool2d.grad_adaptive_average(g, input_size=case.arrays["x"].shape[2:])},
        terms=lambda case: case.arrays["x"][0, 0].size,
    ),
    Operation(
        "pool2d.grad_adaptive_average",
        _adaptive(gradient=True),
        large=_adaptive(gradient=True, largest=40),
        terms=lambda case: case.arrays["g"][0, 0].size,
    ),
    Operation(
        "pool2d.unpool",
        _unpool(),
        large=_unpool(largest=40),
        differentiable=("x",),
        vjp=lambda case, outputs, g: {"x": pool2d.grad_unpool(g, case.arrays["m"])},
        exact=True,
    ),
    Operation("pool2d.grad_unpool", _unpool(gradient=True), large=_unpool(gradient=True, largest=40), exact=True),
]


# --- what the mutation test needs beside ------------------------------------------------------------


@st.composite
def _no_cells(draw, gradient=False):
    """Some of the winners are not cells: no value goes there, and no gradient comes from there."""
    case = draw(_unpool(gradient))
    m = case.arrays["m"]
    H, W = _whole(case)
    wrong = [-W * H - 1, -1, H * W, H * W + 1, 2**40, 2**40 + 1]
    some = np.random.default_rng(m.size).random(m.shape) < 0.3
    some.flat[draw(st.integers(0, m.size - 1))] = True
    m[some] = np.resize(draw(st.permutations(wrong)), m.shape)[some]
    return case


def _whole(case):
    return case.options["output_size"] if case.options else case.arrays["g"].shape[2:]


def _spare_row(case):
    """The same winners, but those that are not cells point to a row of zeros below the last."""
    (H, W), m = _whole(case), case.arrays["m"]
    return np.where((m >= 0) & (m < H * W), m, H * W)


def _unpooled(case):
    H, W = _whole(case)
    return reference.unpool(case.arrays["x"], _spare_row(case), output_size=(H + 1, W))[:, :, :H]


def _not_unpooled(case):
    return reference.grad_unpool(np.pad(case.arrays["g"], [(0, 0), (0, 0), (0, 1), (0, 0)]), _spare_row(case))


def _any_winners():
    """Windows that hang over every edge, and winners outside of their windows or outside of the image: they add nothing."""
    rng, options = np.random.default_rng(2), {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    x, w = rng.normal(size=(2, 2, 5, 6)), rng.normal(size=(2, 3, 3))
    y, m = reference.forward(x, w, np.zeros(2), ceil_mode=False, **options)
    limits = np.iinfo(m.dtype)
    m = rng.choice(np.array([max(limits.min, -1)] * 30 + [limits.max, *range(36)], m.dtype), m.shape)
    return Case({"g": rng.normal(size=y.shape), "m": m, "x": x}, {"kernel_size": (3, 3), **options})


RARE = [
    unchecked(
        "pool2d.grad_weight",
        st.builds(_any_winners),
        lambda case: reference.grad_weight(**case.arrays, **case.options),
        terms=lambda case: case.arrays["g"][:, 0].size,
    ),
    unchecked("pool2d.unpool", _no_cells(), _unpooled),
    unchecked("pool2d.grad_unpool", _no_cells(gradient=True), _not_unpooled),
]
