"""Cross-entropy: properties, edge cases, and PyTorch as a second oracle."""

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.targets import cuda

from minisegnet_kernels import backends, cross_entropy, emulator

on_each_backend = pytest.mark.parametrize("backend", ["formula", "numpy", "numba", cuda])
seeds = st.integers(0, 2**32 - 1)
reductions = st.sampled_from(["mean", "sum", "none"])
options = st.fixed_dictionaries(
    {"ignore_index": st.sampled_from([-100, 255, 1]), "label_smoothing": st.sampled_from([0.0, 0.2, 1.0]), "reduction": reductions}
)


def drawn(seed, shape=(2, 3, 3, 4), ignored=-100, dtype="float64"):
    """x, t, w; about a quarter of the pixels is ignored, and at least one is not."""
    rng = np.random.default_rng(seed)
    (N, C, H, W), free = shape, [c for c in range(shape[1]) if c != ignored]
    t = np.where(rng.random((N, H, W)) < 0.25, ignored, rng.integers(0, C, (N, H, W)))
    t[0, 0, 0] = free[0]
    return (2 * rng.normal(size=shape)).astype(dtype), t, (0.2 + rng.random(C)).astype(dtype)


def gradient_seed(loss, seed):
    return np.random.default_rng(seed + 1).normal(size=loss.shape)


@on_each_backend
def test_loss_by_hand(backend):
    """Scores 0 and log 3 are probabilities 1/4 and 3/4. Classes 0 and 1, weights 1 and 2."""
    x = np.log([[1.0, 1.0], [3.0, 3.0]]).reshape(1, 2, 1, 2)
    t, w = np.array([[[0, 1]]]), np.array([1.0, 2.0])
    with backends.use(backend):
        loss = cross_entropy.forward(x, t, w, reduction="none")
        np.testing.assert_allclose(loss, [[[np.log(4), 2 * np.log(4 / 3)]]])
        np.testing.assert_allclose(cross_entropy.forward(x, t, w), loss.sum() / 3)
        np.testing.assert_allclose(cross_entropy.forward(x, t, label_smoothing=1.0), (np.log(4) + np.log(4 / 3)) / 2)


@on_each_backend
@given(seed=seeds, options=options, shift=st.floats(-50, 50))
def test_softmax_does_not_see_a_shift_of_all_scores(backend, seed, options, shift):
    x, t, w = drawn(seed, ignored=options["ignore_index"])
    moved = x + shift * np.random.default_rng(seed).normal(size=(2, 1, 3, 4))
    with backends.use(backend):
        loss, xbar = cross_entropy.forward_and_grad(x, t, w, **options)
        again, xbar_again = cross_entropy.forward_and_grad(moved, t, w, **options)
    np.testing.assert_allclose(again, loss, atol=1e-11)
    np.testing.assert_allclose(xbar_again, xbar, atol=1e-11)
    np.testing.assert_allclose(xbar.sum(axis=1), 0, atol=1e-12)


@on_each_backend
@given(seed=seeds, options=options)
def test_one_pass_gives_what_two_give(backend, seed, options):
    x, t, w = drawn(seed, ignored=options["ignore_index"])
    with backends.use(backend):
        loss = cross_entropy.forward(x, t, w, **options)
        g = gradient_seed(loss, seed)
        both, unit = cross_entropy.forward_and_grad(x, t, w, **options)
        xbar = cross_entropy.grad_input(g, x, t, w, **options)
    np.testing.assert_allclose(both, loss, rtol=1e-13)
    np.testing.assert_allclose((g[:, None] if options["reduction"] == "none" else g) * unit, xbar, rtol=1e-12, atol=1e-14)


@on_each_backend
@pytest.mark.parametrize("ignored", [-100, 255, 0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_all_pixels_ignored_is_zero_and_so_is_the_gradient(backend, ignored, reduction):
    x, t = np.random.default_rng(0).normal(size=(1, 3, 2, 2)), np.full((1, 2, 2), ignored)
    with backends.use(backend):
        loss, xbar = cross_entropy.forward_and_grad(x, t, ignore_index=ignored, reduction=reduction, label_smoothing=0.1)
        again = cross_entropy.grad_input(np.ones(loss.shape), x, t, ignore_index=ignored, reduction=reduction)
    np.testing.assert_array_equal(loss, np.zeros(loss.shape))
    np.testing.assert_array_equal(xbar, np.zeros_like(x))
    np.testing.assert_array_equal(again, np.zeros_like(x))


@on_each_backend
@given(seed=seeds, options=options)
def test_ignored_pixels_have_no_effect_on_loss_or_gradient(backend, seed, options):
    """The scores of ignored pixels, even NaN, affect neither the loss nor the gradient of other pixels."""
    x, t, w = drawn(seed, ignored=options["ignore_index"])
    ignored = t == options["ignore_index"]
    other = np.where(ignored[:, None], np.nan, x)
    with backends.use(backend):
        loss, xbar = cross_entropy.forward_and_grad(x, t, w, **options)
        other_loss, other_xbar = cross_entropy.forward_and_grad(other, t, w, **options)
        unmasked = cross_entropy.forward(x, np.where(ignored, 0, t), w, **(options | {"ignore_index": -100}))
    np.testing.assert_array_equal(other_loss, loss)
    np.testing.assert_array_equal(other_xbar, xbar)
    np.testing.assert_array_equal(xbar[np.broadcast_to(ignored[:, None], x.shape)], 0)
    assert not ignored.any() or not np.array_equal(unmasked, loss), "ignore_index has no effect"


@on_each_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_scores_stay_finite(backend, dtype):
    x = np.array([1e4, -1e4, 0, 88, -1e4, 1e4, 0, 89], dtype).reshape(1, 2, 1, 4)
    t = np.array([[[0, 0, 1, 0]]])
    with backends.use(backend):
        loss, xbar = cross_entropy.forward_and_grad(x, t, reduction="none")
    np.testing.assert_allclose(loss, [[[0, 2e4, np.log(2), 1 + np.log(1 + np.exp(-1))]]], rtol=1e-6)
    p = 1 / (1 + np.e)
    np.testing.assert_allclose(xbar[0, :, 0], [[0, -1, 0.5, p - 1], [0, 1, -0.5, 1 - p]], rtol=1e-5)
    assert loss.dtype == xbar.dtype == dtype


@pytest.mark.parametrize("backend", ["numpy", "numba", "numba_cuda", cuda])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_class_with_an_infinitely_low_score_and_a_nan_score(backend):
    x = np.array([-np.inf, np.nan, 2.0, 0.0]).reshape(1, 2, 1, 2)
    with backends.use(backend):
        loss, xbar = cross_entropy.forward_and_grad(x, np.array([[[1, 1]]]), reduction="none")
    np.testing.assert_array_equal(loss, [[[0, np.nan]]])
    np.testing.assert_array_equal(xbar[0, :, 0, 0], [0, 0])
    assert np.isnan(xbar[0, :, 0, 1]).all()


@pytest.mark.parametrize("backend", ["formula", "numpy", "numba", "numba_cuda", cuda])
def test_a_mean_over_no_weight_is_zero_and_so_is_the_gradient(backend):
    x, t, _ = drawn(0, shape=(1, 3, 2, 2))
    with backends.use(backend):
        loss, xbar = cross_entropy.forward_and_grad(x, t, np.zeros(3))
        again = cross_entropy.grad_input(np.ones(()), x, t, np.zeros(3))
    for zero in (loss, xbar, again):
        np.testing.assert_array_equal(zero, np.zeros(zero.shape))


SCORES = [[-np.inf, -np.inf, 2.0], [2.0, -np.inf, -np.inf], [-np.inf] * 3, [1.0, np.inf, 0.0], [np.inf, 1.0, -np.inf], [0.0, np.nan, 1.0]]


@pytest.mark.parametrize("backend", ["numba_cuda", cuda])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.25, 1.0])
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
def test_one_sweep_treats_infinite_scores_as_the_formula_does(backend, label_smoothing):
    """The order of the scores does not matter, although the maximum is found while the exponentials are added up."""
    x = np.array(SCORES).T.reshape(1, 3, 1, len(SCORES))
    for target in (0, 2):
        arguments = {"label_smoothing": label_smoothing, "reduction": "none"}
        results = []
        for name in ("formula", backend):
            with backends.use(name):
                results.append(cross_entropy.forward_and_grad(x, np.full((1, 1, len(SCORES)), target), **arguments))
        for actual, expected in zip(results[1], results[0], strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-14)


@pytest.mark.parametrize("program", ["numba_cuda", "kernel"])
@pytest.mark.parametrize(("wrong", "dtype"), [(3, "uint8"), (-1, "int32"), (2**40, "int64")])
def test_an_unchecked_target_that_is_not_a_class_makes_the_loss_nan(program, wrong, dtype):
    """On a GPU the front door does not check targets. A wrong one causes no access out of bounds and no number that seems right."""
    if program == "kernel" and not backends.available()["cuda"]:
        pytest.skip("no C++ compiler")
    view = import_module(f"minisegnet_kernels.cross_entropy.{program}")
    x, t, w = drawn(0, ignored=255)
    t = t.astype(dtype)
    t[1, 2, 3] = wrong
    options = {"ignore_index": 255, "label_smoothing": 0.1}
    with emulator.options(watched=True):
        each, xbar = view.forward_and_grad(x, t, w, reduction="none", **options)
        loss, all_nan = view.forward_and_grad(x, t, w, reduction="mean", **options)
        np.testing.assert_array_equal(np.isnan(view.forward(x, t, w, reduction="mean", **options)), True)
    bad = np.zeros(t.shape, bool)
    bad[1, 2, 3] = True
    np.testing.assert_array_equal(np.isnan(each), bad)
    np.testing.assert_array_equal(np.isnan(xbar), np.broadcast_to(bad[:, None], x.shape))
    assert np.isnan(loss)
    assert np.isnan(all_nan[np.broadcast_to((t != 255)[:, None], x.shape)]).all()


def test_the_exponential_of_the_kernel_has_all_its_digits():
    """The exponential is measured through the loss: with two classes and target 0, e^d = exp(loss) − 1."""
    d = -np.linspace(0, 36, 2001)
    x = np.stack([np.zeros_like(d), d])[None, :, None]
    _, xbar = cross_entropy.forward_and_grad(x, np.zeros((1, 1, d.size), int), reduction="sum")
    np.testing.assert_allclose(xbar[0, 1, 0], np.exp(d) / (1 + np.exp(d)), rtol=4e-15)


@on_each_backend
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", ">i4"])
@pytest.mark.parametrize("ignored", [1, 127, -100, 2**40])
def test_targets_of_every_integer_dtype(backend, dtype, ignored):
    """If `ignore_index` does not fit in the dtype, no pixel is ignored, even if the last bits agree."""
    info = np.iinfo(dtype)
    x, t, w = drawn(0, ignored=ignored if info.min <= ignored <= info.max else 1)
    g = gradient_seed(np.zeros(t.shape), 0)
    results = []
    for name, target in (("formula", t), (backend, t.astype(dtype))):
        with backends.use(name):
            loss, xbar = cross_entropy.forward_and_grad(x, target, w, ignore_index=ignored)
            again = cross_entropy.grad_input(g, x, target, w, ignore_index=ignored, reduction="none")
            results.append((loss, xbar, again, cross_entropy.forward(x, target, w, ignore_index=ignored)))
    for actual, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backend", ["numpy", "numba", cuda])
def test_bytes_as_targets_of_more_classes_than_a_byte_counts(backend):
    """As a byte −100 has the bits of 156, but no pixel of class 156 is ignored."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(1, 300, 3, 4)), rng.integers(0, 256, (1, 3, 4))
    t[0, 0, 0] = 156
    with backends.use("formula"):
        expected = cross_entropy.forward_and_grad(x, t)
    with backends.use(backend):
        actual = cross_entropy.forward_and_grad(x, t.astype("uint8"))
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-14)


def test_errors_name_operation_expected_and_actual():
    x, t = np.ones((2, 3, 4, 5)), np.zeros((2, 4, 5), int)
    wrong = t.copy()
    wrong[1, 2, 3] = 3
    wrong[1, 3, 0] = -7
    with pytest.raises(ValueError, match=r"(?s)cross_entropy\.forward: the target is not a class.*\(1, 2, 3\).*≤ 2.*3 classes.*-100.*= 3"):
        cross_entropy.forward(x, wrong)
    with pytest.raises(ValueError, match=r"(?s)cross_entropy\.grad_input: the target.*\(1, 3, 0\).*ignore_index = 3.*= -7"):
        cross_entropy.grad_input(np.ones(()), x, wrong, ignore_index=3)
    for dtype, value in {"uint8": 200, "int16": -3, "uint16": 60000, "int32": -(2**31)}.items():
        other = t.astype(dtype)
        other[0, 1, 2] = value
        with pytest.raises(ValueError, match=rf"(?s)the target is not a class.*\(0, 1, 2\).*t\[0, 1, 2\] = {value}\n"):
            cross_entropy.forward(x, other)
    with pytest.raises(ValueError, match=r"(?s)cross_entropy\.forward: scores and target do not fit.*\(2, 4, 5\).*\(2, 5, 4\)"):
        cross_entropy.forward(x, t.reshape(2, 5, 4))
    with pytest.raises(
        ValueError, match=r"(?s)cross_entropy\.forward_and_grad: the target does not hold classes.*integer.*float64.*astype"
    ):
        cross_entropy.forward_and_grad(x, t.astype(float))
    with pytest.raises(ValueError, match=r"(?s)cross_entropy\.forward: weights and scores do not fit.*\(3,\).*\(2,\)"):
        cross_entropy.forward(x, t, np.ones(2))
    with pytest.raises(ValueError, match=r"(?s)cross_entropy\.forward: the dtypes differ.*w: float32"):
        cross_entropy.forward(x, t, np.ones(3, "float32"))
    with pytest.raises(ValueError, match=r"(?s)unknown reduction.*mean.*'median'"):
        cross_entropy.forward(x, t, reduction="median")
    with pytest.raises(ValueError, match=r"(?s)label_smoothing is out of range.*1\.5"):
        cross_entropy.forward(x, t, label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"(?s)cross_entropy\.grad_input: g does not have the shape of the loss.*\(2, 4, 5\).*\(\)"):
        cross_entropy.grad_input(np.ones(()), x, t, reduction="none")
    with pytest.raises(ValueError, match=r"(?s)x has 2 axes.*N, C, H, W"):
        cross_entropy.forward(x[0, 0], t)


@on_each_backend
@given(seed=seeds, options=options, weighted=st.booleans())
def test_equals_pytorch(backend, seed, options, weighted):
    torch = pytest.importorskip("torch")
    x, t, w = drawn(seed, ignored=options["ignore_index"])
    tx = torch.tensor(x, requires_grad=True)
    tloss = torch.nn.functional.cross_entropy(tx, torch.tensor(t), torch.tensor(w) if weighted else None, **options)
    with backends.use(backend):
        loss = cross_entropy.forward(x, t, w if weighted else None, **options)
        g = gradient_seed(loss, seed)
        xbar = cross_entropy.grad_input(g, x, t, w if weighted else None, **options)
    tloss.backward(torch.tensor(g))
    np.testing.assert_allclose(loss, tloss.detach().numpy(), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(xbar, tx.grad.numpy(), rtol=1e-11, atol=1e-13)
