"""Ten wrong solutions for the exercises of the tutorials that `test_exercises`, `test_kernels` and `test_counting` do not have."""

import contextlib
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest

import minisegnet as ms
from minisegnet_kernels import registry

pytest.importorskip("nbformat", reason='the notebooks need the extra "test"')
ROOT = Path(__file__).parents[2] / "tutorials"
_spec = importlib.util.spec_from_file_location("tutorials_build", ROOT / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)

# --- the puzzles ----------------------------------------------------------------------------------------


def first(change):
    """A wrong answer that changes the first result."""

    def spoil(right):
        def answer(*arrays, **options):
            made = right(*arrays, **options)
            return (change(made[0]), *made[1:]) if isinstance(made, tuple) else change(made)

        return answer

    return spoil


def given(change):
    """A wrong answer that changes the first argument."""
    return lambda right: lambda a, *others, **options: right(change(a), *others, **options)


def instead(function):
    return lambda right: function


def last_of(y):
    """The last image for all; of a vector, its numbers in reverse order."""
    return np.repeat(y[-1:], len(y), 0) if y.ndim == 4 else y[::-1]


# A comment says on which inputs the answer would be right.
ALL = [
    first(lambda y: -y),  # zeros
    first(lambda y: 2 * y),  # zeros
    first(lambda y: 0 * y),  # zeros
    first(lambda y: y + 1),
    first(lambda y: np.full_like(y, y.flat[0])),  # constants
    first(last_of),  # one image
    given(lambda x: np.abs(x) + 0.25),
    given(lambda x: -x),
    given(lambda x: np.full_like(x, x.mean())),  # constants
]
TILES = [
    first(lambda y: y[..., ::-1, :]),  # one row
    first(lambda y: y[..., ::-1]),  # one column
    given(lambda x: np.repeat(x[:, :1], x.shape[1], 1)),  # one channel
]
PUZZLES = {
    "activation.relu": [*ALL, instead(np.abs), instead(lambda x: np.minimum(x, 0)), instead(lambda x: np.where(x > 1, x, 0)), instead(lambda x: np.maximum(x, 0.01 * x))],
    "activation.grad_relu": [
        *ALL,
        instead(lambda g, y: g * (y >= 0)),  # no zeros
        instead(lambda g, y: g * y),  # outputs of 0 and 1
        instead(lambda g, y: g * (g > 0)),
        instead(lambda g, y: 1.0 * (y > 0)),  # g = 1
    ],
    "conv2d.grad_bias": [
        *ALL[:6],
        ALL[7],
        instead(lambda g: g.mean((0, 2, 3))),
        instead(lambda g: g[:1].sum((0, 2, 3))),  # one image
        instead(lambda g: np.full(g.shape[1], g.sum())),  # one channel
        instead(lambda g: g.sum((0, 2, 3)) / len(g)),  # one image
        instead(lambda g: g[:, :, 0].sum((0, 2))),  # one row
    ],
    "pool2d.average": [*ALL, *TILES],
    "pool2d.grad_average": [*ALL, *TILES],
    "pool2d.max": [*ALL, *TILES],
    "pool2d.grad_max": [*ALL, *TILES],
    "resize.nearest": [*ALL, *TILES],
    "resize.grad_nearest": [*ALL, *TILES],
    "batch_norm.forward": [
        *(wrong for wrong in ALL if wrong is not ALL[7]),
        lambda right: lambda x, gamma, beta, **o: right(x, np.ones_like(gamma), beta, **o),
        lambda right: lambda x, gamma, beta, **o: right(x, gamma, 0 * beta, **o),
        lambda right: lambda x, gamma, beta, **o: right(x[:1], gamma, beta, **o)[0].repeat(len(x), 0),  # one image
        instead(lambda x, gamma, beta: gamma[:, None, None] * x + beta[:, None, None]),  # standardised inputs
        instead(lambda x, gamma, beta: gamma[:, None, None] * (x - x.mean()) / x.std() + beta[:, None, None]),  # one channel
    ],
    "label.prototypes": [
        first(lambda y: y + 1),
        first(lambda y: np.full_like(y, y.flat[0])),
        first(lambda y: y[..., ::-1]),
        first(last_of),
        given(lambda x: -x),
        given(lambda x: x[:, ::-1]),  # one channel
        given(np.abs),
        lambda right: lambda x, p, l: right(x, p, np.arange(len(l))),  # labels 0, 1, 2, …
        lambda right: lambda x, p, l: right(x, p[::-1], l),  # one prototype
        lambda right: lambda x, p, l: right(x, -p, l),
        instead(lambda x, p, l: l[((x[:, None] - p[:, :, None, None]) ** 2).sum(2).argmax(1)]),  # the farthest
        instead(lambda x, p, l: l[(x[:, None] - p[:, :, None, None]).sum(2).argmin(1)]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("id", PUZZLES)
def test_ten_wrong_answers_to_a_puzzle_are_refused(id, monkeypatch):
    monkeypatch.setattr(
        "minisegnet.learn.exercises._recognised", lambda *_: None
    )  # which mistake it is takes longer, and has its own tests
    right = registry.get(id).program("numpy")
    assert len(PUZZLES[id]) >= 10
    for number, wrong in enumerate(PUZZLES[id]):
        with np.errstate(all="ignore"):
            verdict = ms.check(id, wrong(right))
        assert verdict.state == "wrong", f"answer {number} passes"


# --- gradients ------------------------------------------------------------------------------------------


def pool(x, w, b):
    return (np.lib.stride_tricks.sliding_window_view(x, w.shape) * w).max(axis=(2, 3)) + b


def pooled(g, x, w, b, add=np.add, winner=np.argmax, through=1.0, seen=None):
    """The gradients of `pool`, with slips."""
    xbar, wbar = np.zeros_like(x), np.zeros_like(w)
    for i, j in np.ndindex(g.shape):
        window = (w if seen is None else seen) * x[i : i + w.shape[0], j : j + w.shape[1]]
        u, v = np.unravel_index(winner(window), w.shape)
        xbar[i + u, j + v] = add(xbar[i + u, j + v], g[i, j] * (w[u, v] if through else 1))
        wbar[u, v] = add(wbar[u, v], g[i, j] * x[i + u, j + v])
    return xbar, wbar, g.sum()


def swapped(k, change):
    def answer(*a):
        made = list(pooled(*a))
        made[k] = change(*a)
        return tuple(made)

    return answer


rng = np.random.default_rng(3)
POOL_AT = rng.normal(size=(4, 5)), rng.normal(size=(2, 3)), np.array(0.5)
WRONG_POOL = [
    lambda *a: pooled(*a, add=lambda old, new: new),  # windows that do not overlap
    lambda *a: pooled(*a, winner=np.argmin),
    lambda *a: pooled(*a, winner=lambda window: 0),
    lambda *a: pooled(*a, through=0),  # weights of 1
    lambda g, x, w, b: pooled(g, x, w, b, seen=np.ones_like(w)),  # weights of 1
    lambda g, x, w, b: pooled(np.ones_like(g), x, w, b),  # a seed of ones
    lambda g, x, w, b: pooled(g[::-1, ::-1], x, w, b),  # a seed of ones
    lambda g, x, w, b: tuple(-part for part in pooled(g, x, w, b)),
    swapped(2, lambda g, x, w, b: g.mean()),
    swapped(2, lambda g, x, w, b: np.float64(1)),
    swapped(1, lambda g, x, w, b: pooled(g, x, w, b)[1][::-1, ::-1]),
    swapped(1, lambda g, x, w, b: 0 * w),
    swapped(0, lambda g, x, w, b: pooled(g, x, w, b)[0].T.reshape(x.shape)),
]
A, B = (np.random.default_rng(0).normal(size=shape) for shape in ((2, 3), (3, 4)))
WRONG_PRODUCT = [
    lambda g, A, B: (g @ B.T, g.T @ A),
    lambda g, A, B: (B.T, A.T),
    lambda g, A, B: (g @ B.T, A.T @ np.ones_like(g)),  # a seed of ones
    lambda g, A, B: (np.ones_like(g) @ B.T, A.T @ g),  # a seed of ones
    lambda g, A, B: (-(g @ B.T), A.T @ g),
    lambda g, A, B: (g @ B.T, 2 * A.T @ g),
    lambda g, A, B: (A.T @ g, g @ B.T),
    lambda g, A, B: (g[::-1] @ B.T, A.T @ g),  # one row
    lambda g, A, B: (g @ B.T, A.T @ g[:, ::-1]),  # one column
    lambda g, A, B: (g @ np.abs(B.T), A.T @ g),  # positive matrices
    lambda g, A, B: (0 * A, A.T @ g),
    lambda g, A, B: (g @ B.T / len(A), A.T @ g),
]
AT = np.array([-1.5, -0.3, 0.4, 2.0])
SLOPES = {
    "exp": (np.exp, [lambda x: x, lambda x: x * np.exp(x - 1), lambda x: np.exp(-x), lambda x: -np.exp(x), lambda x: 1 / x, lambda x: 1 + x,
                     lambda x: np.exp(x) + 1, lambda x: np.exp(x) / 2, lambda x: np.exp(x) ** 2, lambda x: np.ones_like(x), lambda x: 1 + x + x**2 / 2]),
    "inverse": (lambda x: 1 / x, [lambda x: 1 / x**2, lambda x: -1 / x, lambda x: 1 / x, lambda x: -1 / np.abs(x) ** 3, lambda x: np.log(np.abs(x)),
                                  lambda x: -2 / x**2, lambda x: -1 / x**3, lambda x: -(x**2), lambda x: -np.ones_like(x), lambda x: -np.sign(x) / x**2]),
    "relu": (lambda x: np.maximum(x, 0), [lambda x: x, lambda x: np.maximum(x, 0), lambda x: (x < 0) * 1.0, lambda x: np.sign(x), lambda x: 0 * x,
                                          lambda x: np.ones_like(x), lambda x: (x > 1) * 1.0, lambda x: (x > -1) * 1.0, lambda x: (x > 0) * 2.0, lambda x: (x > 0) - 1.0]),
}  # fmt: skip


def test_wrong_gradients_of_the_pool_are_refused():
    assert len(WRONG_POOL) >= 10 and ms.check_grads(pool, pooled, *POOL_AT)
    for number, wrong in enumerate(WRONG_POOL):
        assert ms.check_grads(pool, wrong, *POOL_AT).state == "wrong", number


def test_wrong_gradients_of_a_product_are_refused():
    product = lambda A, B: A @ B
    assert len(WRONG_PRODUCT) >= 10 and ms.check_grads(product, lambda g, A, B: (g @ B.T, A.T @ g), A, B)
    for number, wrong in enumerate(WRONG_PRODUCT):
        assert ms.check_grads(product, wrong, A, B).state == "wrong", number


@pytest.mark.parametrize("name", SLOPES)
def test_wrong_slopes_are_refused(name):
    function, answers = SLOPES[name]
    assert len(answers) >= 10
    for number, slope in enumerate(answers):
        assert ms.check_grads(function, lambda g, x, slope=slope: (g * slope(x),), AT, names=[name]).state == "wrong", number


# --- exercises whose check is a line of the notebook ------------------------------------------------------


def cell_of(stem, text):
    """The namespace before a cell of a notebook, and the cell: the one that contains `text`."""
    scope = {}
    cells = [c["source"] for c in build.notebook_from(ROOT / "src" / f"{stem}.py")["cells"] if c["cell_type"] == "code"]
    for source in cells[1:]:  # the first is the set-up
        if text in source:
            return scope, source
        with contextlib.redirect_stdout(io.StringIO()):
            exec(source, scope)
    raise LookupError(text)


def said(scope, source):
    with contextlib.redirect_stdout(io.StringIO()) as printed, np.errstate(all="ignore"):
        exec(source, dict(scope))
    return printed.getvalue()


#: Notebook, a piece of the cell, what the reader replaces, what the cell says of a wrong answer, a right answer, ten wrong ones.
LINES = {
    "your thresholds": (
        "01_one_pixel_decides", "REGIONS = [", "REGIONS = [(-np.inf, 100), (100, np.inf)]", "not yet",
        "REGIONS = [(-np.inf, 44), (44, np.inf)]",
        [f"REGIONS = [(-np.inf, {k}), ({k}, np.inf)]" for k in (0, 10, 25, 60, 70, 100, 200)]
        + ["REGIONS = [(44, np.inf), (-np.inf, 44)]", "REGIONS = [(-np.inf, 44), (-np.inf, np.inf)]  # the first that holds a value wins".replace("44", "90"),
           "REGIONS = [(-np.inf, np.inf), (44, np.inf)]"],
    ),
    "break it": (
        "03_the_window_that_chooses", "my_w = np.ones((3, 3))", "my_x = np.zeros((3, 3))\nmy_w = np.ones((3, 3))", "try again",
        "my_x, my_w = np.zeros((3, 3)), -np.ones((3, 3))",
        [f"my_x, my_w = {x}, {w}" for x, w in (
            ("np.zeros((3, 3))", "np.ones((3, 3))"), ("-np.ones((3, 3))", "np.ones((3, 3))"), ("-1e9 * np.ones((3, 3))", "np.ones((3, 3))"),
            ("np.arange(9.0).reshape(3, 3)", "0.1 * np.ones((3, 3))"), ("np.arange(-9.0, 0).reshape(3, 3)", "1e-9 * np.ones((3, 3))"),
            ("np.eye(3)", "np.eye(3) + 0.1"), ("-np.eye(3)", "np.arange(1.0, 10).reshape(3, 3)"), ("np.full((3, 3), -7.0)", "5 * np.ones((3, 3))"),
            ("np.full((3, 3), 1e300)", "np.ones((3, 3))"), ("np.random.default_rng(1).normal(size=(3, 3))", "np.random.default_rng(2).random((3, 3)) + 0.01"),
        )],
    ),
    "lie to the test": (
        "06_twelve_lies", "def my_lie", "return right(g, x, w, stride)", "not yet",
        "return right(np.abs(g), x, w, stride)",
        ["return right(g, x, w, stride)", "return right(2 * g, x, w, stride)", "return right(-g, x, w, stride)", "return right(0 * g, x, w, stride)",
         "return right(g, 2 * x, w, stride)", "return right(g, x, 2 * w, stride)", "return right(g, -x, -w, stride)",
         "xbar, wbar = right(g, x, w, stride); return xbar + 1, wbar", "xbar, wbar = right(g, x, w, stride); return xbar, wbar[..., ::-1]",
         "xbar, wbar = right(g, x, w, stride); return 0 * xbar, wbar", "return right(g + 0.5, x, w, stride)"],
    ),
    "catch all twelve": (
        "06_twelve_lies", "def my_test", "return True", "not yet",
        "return trial(gradients, (2, 2, 5, 5), (3, 2, 3, 3)) and trial(gradients, (2, 2, 7, 6), (3, 2, 3, 2), stride=(2, 1))",
        ["return True", "return False", "return trial(gradients, (1, 1, 5, 5), (1, 1, 3, 3), seed='ones', values='ones')",
         "return trial(gradients, (1, 1, 5, 5), (1, 1, 3, 3), seed='ones')", "return trial(gradients, (1, 1, 5, 5), (1, 1, 3, 3))",
         "return trial(gradients, (2, 2, 5, 5), (3, 2, 3, 3))", "return trial(gradients, (2, 2, 7, 6), (3, 2, 3, 2), stride=(2, 1))",
         "return trial(gradients, (1, 2, 7, 7), (3, 2, 3, 3), stride=(2, 1))", "return trial(gradients, (2, 1, 7, 7), (1, 1, 3, 3), stride=(2, 2))",
         "return not trial(gradients, (2, 2, 5, 5), (3, 2, 3, 3))"],
    ),
    "a slip in a formula": (
        "06_twelve_lies", "MY_STRIDE, MY_DILATION", "MY_STRIDE, MY_DILATION = (1, 1), (1, 1)", "not yet",
        "MY_STRIDE, MY_DILATION = (2, 1), (1, 1)",
        [f"MY_STRIDE, MY_DILATION = {s}, {s}" for s in ((1, 1), (2, 2), (1, 2), (2, 1), (3, 3), (3, 1), (1, 3), (2, 3), (3, 2))]
        + ["MY_STRIDE, MY_DILATION = (1, 1), (1, 1)  # again"],
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("exercise", LINES)
def test_a_line_of_a_notebook_refuses_ten_wrong_answers(exercise):
    stem, text, replaced, refused, right, wrong = LINES[exercise]
    scope, cell = cell_of(stem, text)
    assert cell.count(replaced) == 1 and len(wrong) >= 10
    assert refused not in said(scope, cell.replace(replaced, right))
    for answer in wrong:
        assert refused in said(scope, cell.replace(replaced, answer)), answer
