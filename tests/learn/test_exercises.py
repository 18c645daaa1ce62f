"""``ms.check``: right answers pass, wrong ones never do, and the mistake is named."""

import inspect

import numpy as np
import pytest

import minisegnet as ms
from minisegnet.learn.cases import cases
from minisegnet.learn.exercises import _same, check
from minisegnet.learn.extra import find, read
from minisegnet.learn.mistakes import _TABLE, Mistake, _program, right, updated
from minisegnet.learn.slips import slips
from minisegnet_kernels import registry
from minisegnet_kernels.conv2d import reference as conv2d
from minisegnet_kernels.cross_entropy import reference as cross_entropy
from minisegnet_kernels.label import reference as label
from minisegnet_kernels.pool2d import reference as pool2d

EQUATIONS = [e.id for e in registry.equations()]
PLAIN = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
CONV = {**PLAIN, "groups": 1}
POOL = {**PLAIN, "ceil_mode": False}
LOSS = {"ignore_index": -100, "label_smoothing": 0.0, "reduction": "mean"}


def options_of(equation):
    return {p.name for p in inspect.signature(equation.oracle).parameters.values() if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize("id", EQUATIONS)
def test_the_library_passes_every_check(id):
    """With all options; and, with none, on cases in which every option has its default."""
    equation = registry.get(id)
    verdict = ms.check(id, equation.program("numpy"))
    assert verdict, verdict
    every, none = cases(id, options_of(equation)), cases(id, set())
    assert str(verdict) == f"✓ {id}: equal to the literal loops on {len(every)} inputs"
    assert len(none) >= 2
    shapes = [[np.shape(part) for a in arrays for part in (a if isinstance(a, list) else [a])] for arrays, _ in every]
    sizes = [sum(int(np.prod(shape)) for shape in of_case) for of_case in shapes]
    assert 2 * sizes[0] <= max(sizes), "the first case is a small one"


def conv(x, w, b):
    return conv2d.forward(x, w, b, **CONV)


def grad_weight(g, x):
    return conv2d.grad_weight(g, x, kernel_size=tuple(a - b + 1 for a, b in zip(x.shape[2:], g.shape[2:], strict=True)), **CONV)


def grad_input(g, w, stride, input_size, s=None):
    return conv2d.grad_input(g, w, input_size=input_size, **{**CONV, "stride": s or stride})


def pool(x, w, b, **more):
    return pool2d.forward(x, w, b, **{**POOL, **more})


def loss(x, t, w):
    return cross_entropy.forward(x, t, w, **LOSS)


def surprise(x, t, w):
    return cross_entropy.grad_input(np.float64(1), x, t, w, **LOSS)


def argmax(x, l):
    return label.argmax(x, l)


def intervals(x, r, l):
    return label.intervals(x, r, l, default=None)[0]


def _overflowing(x, t, w):
    with np.errstate(all="ignore"):
        p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
        picked = -np.log(np.take_along_axis(p, t[:, None], 1)[:, 0])
    return (w[t] * picked).sum() / w[t].sum()


def _remembers(made={}):  # noqa: B006  (the mistake is that it remembers)
    def function(x, w, b):
        return made.setdefault(x.shape + w.shape, conv(x, w, b))

    return function


def _last(x, w, b):
    """= for +=, in loops."""
    H, W = x.shape[2] - w.shape[2] + 1, x.shape[3] - w.shape[3] + 1
    return np.einsum("nchw,oc->nohw", x[:, -1:, -H:, -W:], w[:, -1:, -1, -1])


def _filled(value):
    def function(x, w, b, padding):
        return pool(np.pad(x, ((0, 0), (0, 0), *padding), constant_values=value), w, b)

    return function


# For each exercise of a tutorial ten wrong answers or more, and a word of the mistake that the check has to name ("" if it names none).
# A comment says on which inputs the answer would be right.
WRONG = {
    "conv2d.forward": [
        (lambda x, w, b: conv(x, w[..., ::-1, ::-1], b), "turned by 180°"),  # symmetric kernels
        (lambda x, w, b: conv(x, w, 0 * b), "bias is missing"),
        (lambda x, w, b: conv(x, w, 0 * b) + b.sum(), ""),  # one channel
        (lambda x, w, b: conv(x, w, -b), "b[o] has the wrong sign"),
        (lambda x, w, b: conv(x.swapaxes(2, 3), w.swapaxes(2, 3), b), ""),  # square results that are symmetric
        (lambda x, w, b: np.repeat(conv(x[:1], w, b), len(x), 0), ""),  # one image
        (lambda x, w, b: conv(x, w, b)[:, ::-1], ""),  # one channel
        (lambda x, w, b: conv(x, w, x.shape[1] * b), "once for each channel c"),  # one channel
        (lambda x, w, b: conv(np.abs(x), w, b), ""),  # ones
        (lambda x, w, b: np.maximum(conv(x, w, b), 0), ""),  # positive results
        (lambda x, w, b: conv(x, w, b) / w.size, ""),
        (lambda x, w, b: np.full(conv(x, w, b).shape, conv(x, w, b).flat[0]), ""),  # constant images
        (lambda x, w, b: conv(x, w, b).astype(int) // 2 * 2, ""),  # even numbers
        (_remembers(), ""),  # the first numbers of each shape
        (_last, "= stands where += belongs"),
        (lambda x, w, b, stride: conv2d.forward(x, w, b, **{**CONV, "stride": stride[:1] * 2}), "stride of the rows"),  # equal strides
        (lambda x, w, b, stride: conv(x, w, b), "the stride is not used"),
        (
            lambda x, w, b, stride, dilation: conv2d.forward(x, w, b, **{**CONV, "stride": dilation, "dilation": stride}),
            "stride and dilation are exchanged",
        ),
        (lambda x, w, b, padding: conv2d.forward(x, w, b, **{**CONV, "padding": [(p, p) for p, _ in padding]}), "one side"),
    ],
    "conv2d.grad_weight": [
        (lambda g, x: grad_weight(g[..., ::-1, ::-1], x), "turned by 180°"),  # a seed of ones
        (lambda g, x: grad_weight(np.ones_like(g), x), "g is not used"),  # a seed of ones
        (lambda g, x: grad_weight(g, x)[..., ::-1, ::-1], "turned by 180°"),
        (lambda g, x: grad_weight(g[:1], x[:1]), "only the first image"),  # one image
        (lambda g, x: grad_weight(g, x) / len(g), "mean over the images"),  # one image
        (lambda g, x: grad_weight(g, x) / g[:, 0].size, "mean over n, i, j"),
        (lambda g, x: -grad_weight(g, x), "sign"),
        (lambda g, x: 2 * grad_weight(g, x), "twice too large"),
        (lambda g, x: grad_weight(g, x).swapaxes(0, 1), "first two axes"),
        (lambda g, x: grad_weight(g.mean((2, 3), keepdims=True) + 0 * g, x), ""),  # a constant seed
        (lambda g, x: grad_weight(g, np.abs(x)), ""),
    ],
    "conv2d.grad_input": [
        (lambda g, w, stride, input_size: grad_input(g, w[..., ::-1, ::-1], stride, input_size), "not turned by 180°"),  # symmetric kernels
        (lambda g, w, stride, input_size: grad_input(np.ones_like(g), w, stride, input_size), "g is not used"),
        (lambda g, w, stride, input_size: grad_input(g, w, stride, input_size, (1, 1)), "stride is not used"),
        (lambda g, w, stride, input_size: grad_input(g, w, stride, input_size, stride[::-1]), "rows and columns is exchanged"),
        (lambda g, w, stride, input_size: grad_input(g, w, stride, input_size, stride[:1] * 2), "stride of the rows"),
        (lambda g, w, stride, input_size: grad_input(g, w, stride, input_size)[..., :-1], ""),
        (lambda g, w, stride, input_size: grad_input(g[..., ::-1, ::-1], w, stride, input_size), ""),  # a seed of ones
        (lambda g, w, stride, input_size: grad_input(g, w.mean(0, keepdims=True) + 0 * w, stride, input_size), ""),  # one channel
        (lambda g, w, stride, input_size: -grad_input(g, w, stride, input_size), "sign"),
        (lambda g, w, stride, input_size: grad_input(g, w, stride, input_size) / w[0, 0].size, ""),
        (lambda g, w, stride, input_size: grad_input(g, np.abs(w), stride, input_size), ""),
    ],
    "pool2d.forward": [
        (lambda x, w, b: pool(x, np.ones_like(w), b), "weights are not used"),  # ordinary max pooling
        (lambda x, w, b: pool(x, w, 0 * b), "bias is missing"),
        (lambda x, w, b: pool(x, w, b)[0], ""),
        (lambda x, w, b: (pool(x, w, b)[0], 0 * pool(x, w, b)[1]), ""),
        (lambda x, w, b: pool(x, w[..., ::-1, ::-1], b), "turned by 180°"),
        (lambda x, w, b: pool(x, np.abs(w), b), ""),  # positive weights
        (lambda x, w, b: tuple(-a for a in pool(-x, w, -b)), ""),  # the smallest
        (lambda x, w, b: (pool(x, w, b)[0], _last_winner(x, w, b)), "the last one wins"),  # no ties
        (_filled(0.0), "filled with 0"),  # positive products
        (_filled(-np.inf), "−∞"),  # positive weights
        (lambda x, w, b: pool(np.repeat(x[:1], len(x), 0), w, b), ""),  # one image
        (lambda x, w, b: (np.maximum(pool(x, w, b)[0], 0), pool(x, w, b)[1]), ""),  # positive maxima
        (lambda x, w, b, stride: pool(x, w, b), "stride is not used"),
    ],
    "label.argmax": [
        (lambda x, l: x.argmax(1), "numbers of the regions"),  # labels 0, 1, 2, ...
        (lambda x, l: argmax(-x, l), "smallest score"),
        (lambda x, l: l[len(l) - 1 - x[:, ::-1].argmax(1)], "the last one wins"),  # no ties
        (lambda x, l: argmax(x[:, ::-1], l), ""),
        (lambda x, l: l[x[:, 1:].argmax(1)], ""),
        (lambda x, l: np.full(argmax(x, l).shape, l[0]), ""),
        (lambda x, l: np.where(x[:, 0] >= x[:, 1], l[0], l[1]), ""),  # two classes
        (lambda x, l: l[np.abs(x).argmax(1)], ""),  # positive scores
        (lambda x, l: argmax(x, l)[:1].repeat(len(x), 0), ""),  # one image
        (lambda x, l: x.max(1), ""),
        (lambda x, l: argmax(x, l).astype(float) + 0.5, ""),
    ],
    "label.intervals": [
        (lambda x, r, l: intervals(x, r, np.arange(len(l))), "numbers of the regions"),
        (lambda x, r, l: intervals(x, r, l[::-1]), ""),
        (lambda x, r, l: l[((r[:, 0] < x[..., None]) & (x[..., None] <= r[:, 1])).argmax(-1)], ""),  # no value on an edge
        (lambda x, r, l: np.where(x >= r[:, 0].max(), l[-1], l[0]), ""),
        (lambda x, r, l: l[np.searchsorted(np.sort(r[:, 0])[1:], x, side="right")], ""),  # regions that come in order
        (lambda x, r, l: intervals(np.abs(x), r, l), ""),  # positive values
        (lambda x, r, l: intervals(x[:, ::-1], r, l), ""),  # one row
        (lambda x, r, l: np.full(x.shape, l[0]), ""),
        (lambda x, r, l: intervals(x + 1, r, l), ""),
        (lambda x, r, l: intervals(x, r, l).astype(str), ""),
    ],
    "cross_entropy.forward": [
        (lambda x, t, w: loss(x, t, np.ones_like(w)), "weights of the classes"),  # equal weights
        (lambda x, t, w: loss(x, t, w) * w[t].sum(), "mean is forgotten"),
        (lambda x, t, w: loss(x, t, w) * w[t].sum() / t.size, "number of pixels"),  # equal weights
        (lambda x, t, w: -loss(x, t, w), "sign"),
        (lambda x, t, w: loss(-x, t, w), ""),
        (lambda x, t, w: loss(x, (t + 1) % len(w), w), ""),
        (lambda x, t, w: loss(x[:1], t[:1], w), ""),  # one image
        (lambda x, t, w: loss(x, t, w) / np.log(2), ""),
        (_overflowing, ""),  # small scores
        (lambda x, t, w: np.float64(np.log(len(w))), ""),  # equal scores
    ],
    "cross_entropy.grad_input": [
        (lambda g, x, t, w: surprise(x, t, w), "g is missing|"),  # g = 1
        (lambda g, x, t, w: g * surprise(x, t, np.ones_like(w)), "weights of the classes"),
        (lambda g, x, t, w: -g * surprise(x, t, w), "sign"),
        (lambda g, x, t, w: g * surprise(x, t, w) * w[t].sum(), "mean is forgotten"),
        (lambda g, x, t, w: g * np.maximum(surprise(x, t, w), 0), ""),
        (lambda g, x, t, w: g * np.exp(x) / np.exp(x).sum(1, keepdims=True), ""),
        (lambda g, x, t, w: g * surprise(x[:1], t[:1], w).repeat(len(x), 0), ""),
        (lambda g, x, t, w: g * surprise(x, (t + 1) % len(w), w), ""),
        (lambda g, x, t, w: 2 * g * surprise(x, t, w), "twice"),
        (lambda g, x, t, w: 0 * x, "all values are 0"),
    ],
    "metrics.iou": [
        (lambda p, t: (p == t).mean(), "share of all pixels"),
        (lambda p, t: (p & t).sum() / (p.sum() + t.sum()), "counted twice"),
        (lambda p, t: 2 * (p & t).sum() / (p.sum() + t.sum()), ""),  # Dice
        (lambda p, t: (p & t).sum() / t.sum(), "B is missing"),  # recall
        (lambda p, t: (p & t).sum() / p.sum(), "D is missing"),  # precision
        (lambda p, t: (p & t).sum(), "division"),
        (lambda p, t: 1 - (p & t).sum() / (p | t).sum(), ""),
        (lambda p, t: (p & t).sum() // (p | t).sum(), ""),  # 0 and 1
        (lambda p, t: (p & t).mean(), ""),
        (lambda p, t: (p | t).sum() / (p & t).sum(), "upside down"),
        (lambda p, t: (p[0] & t[0]).sum() / (p[0] | t[0]).sum(), ""),  # one row
    ],
    "probability.softmax": [
        (lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True), "overflow"),  # small scores
        (lambda x: _softmax(x, 2), "over the rows"),
        (lambda x: _softmax(x, 3), "over the columns"),
        (lambda x: _softmax(x, 0), "over the images"),
        (lambda x: np.log(_softmax(x) + 1e-300), ""),
        (lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(), ""),  # one pixel
        (lambda x: np.exp(x - x.max(1, keepdims=True)), ""),
        (lambda x: x / x.sum(1, keepdims=True), ""),
        (lambda x: _softmax(-x), ""),  # equal scores
        (lambda x: np.full(x.shape, 1 / x.shape[1]), ""),  # equal scores
    ],
}  # fmt: skip


def _softmax(x, axis=1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _last_winner(x, w, b):
    return pool2d.forward(x[..., ::-1, ::-1], w[..., ::-1, ::-1], b, **POOL)[1][..., ::-1, ::-1].astype(int) * -1 + w[0].size - 1


@pytest.mark.parametrize("id", WRONG)
def test_ten_wrong_answers_are_refused(id, monkeypatch):
    assert len(WRONG[id]) >= 10
    for number, (answer, word) in enumerate(WRONG[id]):
        with np.errstate(all="ignore"), monkeypatch.context() as patched:
            if not word:  # no mistake is to be found: do not look for one
                patched.setattr("minisegnet.learn.exercises._recognised", lambda *_: None)
            verdict = ms.check(id, answer)
        assert not verdict and verdict.state == "wrong", f"answer {number} passes"
        words = word.split("|")
        assert any(w in verdict.mistake for w in words), f"answer {number}: {verdict}"
        assert "<" in verdict._repr_html_()


@pytest.mark.parametrize("stub", [lambda x, w, b: None, lambda x, w, b: ..., None, ...])
def test_a_stub_is_not_yet_right(stub):
    verdict = ms.check("conv2d.forward", stub)
    assert not verdict and verdict.state == "not yet"
    assert str(verdict).startswith("… conv2d.forward: not yet")


def test_other_stubs():
    def later(x, w, b):
        raise NotImplementedError

    assert ms.check("conv2d.forward", later).state == "not yet"
    assert str(ms.check("pool2d.forward", lambda x, w, b: (pool(x, w, b)[0], None))).endswith("result 2 of 2 is None")
    assert ms.check("optimiser.sgd", lambda theta, g, v: None).state == "not yet"


def _first_moment_only(theta, g, v):
    theta[0] -= 0.1 * g[0]


@pytest.mark.parametrize(
    ("id", "function", "words"),
    [
        ("conv2d.forward", lambda x, w: x, "has to take (x, w, b), and it takes (x, w)"),
        ("conv2d.forward", lambda x, w, b: conv(x, w, b)[:, 0], "y has to have the shape (1, 1, 1, 1) (n, o, i, j), and it has (1, 1, 1)"),
        ("conv2d.forward", lambda x, w, b: conv(x, w, 0 * b) + b, "axes after it, b[:, None, None]"),
        ("conv2d.forward", lambda x, w, b: "image", "array of numbers"),
        ("conv2d.forward", lambda x, w, b: conv(x, w, b) + 0 * x.sort(), "the function changes its argument x"),
        ("conv2d.forward", lambda x, w, b: conv(x, w[..., ::-1, ::-1], b), "first wrong value: y[n=0, o=0, i=0, j=0]: expected"),
        ("pool2d.max", lambda x: x[..., ::2, ::2], "has to return 2 arrays (y, m), and it returns 1"),
        ("optimiser.sgd", _first_moment_only, "theta1"),
    ],
)
def test_what_a_check_says(id, function, words):
    verdict = ms.check(id, function)
    assert verdict.state == "wrong"
    assert words in str(verdict)


def test_the_first_wrong_cell_is_painted():
    def off_by_one(x, w, b):
        y = conv(x, w, b)
        y[..., -1, 1:] += 1
        return y

    verdict = ms.check("conv2d.forward", off_by_one)
    assert (verdict.grid.first, int(verdict.grid.wrong.sum())) == ((0, 0, 1, 1), 2)
    *_, row = str(verdict).splitlines()
    assert row.count("[") == 1 and row.count("*") == 1
    assert verdict._repr_html_().count("outline:3px") == 1


def test_values_that_differ_by_rounding_are_told_apart():
    verdict = ms.check("probability.softmax", lambda x: _softmax(x).astype(np.float32))
    first, second = verdict.lines[1].partition("expected ")[2].partition(" (")[0].split(", got ")
    assert first != second and float(first) == pytest.approx(float(second), rel=1e-6)


def test_a_slip_in_the_formula_is_shown_in_the_formula():
    verdict = ms.check("conv2d.grad_bias", lambda g: g[-1:, :, -1, -1].sum(0))
    assert verdict.mistake == "only the last term of the sum over n, i, j is left (= stands where += belongs)"
    assert verdict.formula.count('class="marked"') == 1


def test_unknown_equations_and_what_is_not_a_function_are_refused():
    with pytest.raises(ValueError, match=r"conv2d\.forwrad.*conv2d\.forward"):
        ms.check("conv2d.forwrad", lambda x: x)
    with pytest.raises(TypeError, match=r"a function of \(x, w, b\), and got ndarray"):
        ms.check("conv2d.forward", np.zeros(3))


# --- every slip of every formula, and every mistake of the table ---------------------------------------

# Slips that change nothing: at x = 0 both sides are 0; a sum over both letters, whichever axis each has; m cancels.
EQUIVALENT = {
    ("activation.leaky_relu", "edge", "y"),
    ("conv2d.grad_bias", "indices changed over", "bbar"),
    ("pool2d.grad_bias", "indices changed over", "bbar"),
    ("cross_entropy.grad_input", "max and min", "m"),
}


def _passes(equation, mistake):
    """Whether the mistake makes the right results on all inputs of a check; what cannot be computed does not pass."""
    accepted = options_of(equation)
    for arrays, options in cases(equation.id, accepted):
        made = mistake.results(equation, arrays, options)
        if made is None or not _same(made, tuple(map(np.asarray, right(equation, arrays, options)))):
            return False
    return True


def _passing(id):
    equation, formula = find(id), read(id)
    names = [statement.name for statement in formula.statements]
    planted = [s for s in slips(formula) if (id, s.kind, names[s.statement]) not in EQUIVALENT]
    return len(planted), [s.sentence for s in planted if _passes(equation, Mistake(s.sentence, _program(s), s))]


def _slow(id):
    return pytest.param(id, marks=() if id in ("label.argmax", "activation.grad_leaky_relu") else pytest.mark.slow)


@pytest.mark.parametrize("id", [_slow(id) for id in EQUATIONS])
def test_no_slip_passes_its_check(id):
    planted, passing = _passing(id)
    assert planted > 0
    assert passing == []


def test_every_mistake_of_the_table_can_be_made():
    """For each row there is an equation and an input of its check on which the mistake gives a wrong result."""
    everything = [*registry.equations(), find("metrics.iou"), find("probability.softmax")]
    for operations, names, mistake in _TABLE:
        for equation in everything:
            if (operations and equation.operation not in operations) or (names and not any(n in equation.name for n in names)):
                continue
            inputs = cases(equation.id, options_of(equation))
            made = [(mistake.results(equation, *case), tuple(map(np.asarray, right(equation, *case)))) for case in inputs]
            if any(wrong is not None and not _same(wrong, truth) for wrong, truth in made):
                break
        else:
            pytest.fail(f"no equation for: {mistake.sentence}")


def test_results_of_updates_in_place():
    theta, g, v = ([np.array([1.0, 2.0])] for _ in range(3))
    made = right(registry.get("optimiser.sgd"), [theta, g, v], cases("optimiser.sgd", set())[0][1])
    assert made[0].tolist() == [0.9, 1.8] and theta[0].tolist() == [1, 2]
    assert len(updated([theta, g])) == 2
    assert check is ms.check
