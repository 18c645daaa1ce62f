"""Steps of the optimisers: in place, all parameters at once, and PyTorch as a second oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet_kernels import backends, optimiser

on_each_backend = pytest.mark.parametrize("backend", ["formula", "numpy", "numba"])
SHAPES = [(2, 3, 2, 1), (4,), (1, 1), (3, 5)]
seeds = st.integers(0, 2**32 - 1)


def drawn(seed, shapes=SHAPES, dtype="float64"):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def zeros(shapes=SHAPES, dtype="float64"):
    return [np.zeros(shape, dtype) for shape in shapes]


@on_each_backend
def test_sgd_by_hand(backend):
    """θ = 10, λ = 0.1, g = 3 then 1: ĝ = 4, v = 4, θ = 8; ĝ = 1.8, v = 0.5·4 + 0.8·1.8 = 3.44, θ = 6.28."""
    theta, v = [np.array([10.0])], [np.array([np.nan])]
    options = {"lr": 0.5, "momentum": 0.5, "dampening": 0.2, "weight_decay": 0.1}
    with backends.use(backend):
        assert optimiser.sgd(theta, [np.array([3.0])], v, first=True, **options) is None
        np.testing.assert_allclose([theta[0][0], v[0][0]], [8, 4])
        optimiser.sgd(theta, [np.array([1.0])], v, first=False, **options)
        np.testing.assert_allclose([theta[0][0], v[0][0]], [6.28, 3.44])


@on_each_backend
@given(seed=seeds)
def test_the_first_step_of_adam_is_lr_in_the_direction_of_the_sign(backend, seed):
    theta, g = drawn(seed), drawn(seed + 1)
    before = [a.copy() for a in theta]
    with backends.use(backend):
        assert optimiser.adam(theta, g, zeros(), zeros(), step=1, lr=0.01, eps=0.0) is None
    for after, start, gradient in zip(theta, before, g, strict=True):
        np.testing.assert_allclose(start - after, 0.01 * np.sign(gradient), rtol=1e-9)


@on_each_backend
@given(seed=seeds)
def test_decoupled_decay_shrinks_whatever_the_gradient(backend, seed):
    theta = drawn(seed)
    before = [a.copy() for a in theta]
    with backends.use(backend):
        optimiser.adam(theta, zeros(), zeros(), zeros(), step=3, lr=0.1, weight_decay=0.5, decoupled=True)
    for after, start in zip(theta, before, strict=True):
        np.testing.assert_allclose(after, 0.95 * start, rtol=1e-14)


@on_each_backend
@given(seed=seeds)
def test_gradients_are_read_only_and_a_missing_momentum_needs_no_velocity(backend, seed):
    theta, g, v = drawn(seed), drawn(seed + 1), drawn(seed + 2)
    before, velocity = [a.copy() for a in g], [a.copy() for a in v]
    expected = [t - 0.1 * a for t, a in zip(theta, g, strict=True)]
    for a in g:
        a.flags.writeable = False
    with backends.use(backend):
        other = [a.copy() for a in theta]
        optimiser.sgd(theta, g, v, lr=0.1)
        optimiser.sgd(other, g, lr=0.1)
        optimiser.adam(drawn(seed), g, zeros(), zeros(), step=1)
    for result in (theta, other):
        for a, e in zip(result, expected, strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-13, atol=1e-15)
    for a, e in zip([*g, *v], [*before, *velocity], strict=True):
        np.testing.assert_array_equal(a, e)


def test_without_parameters_nothing_is_launched():
    assert optimiser.sgd([], [], lr=0.1) is None
    assert optimiser.adam([], [], [], [], step=1) is None
    assert optimiser.rmsprop([], [], []) is None


def test_errors_name_operation_expected_and_actual():
    one, two = [np.ones((2, 3))], [np.ones(3)]
    with pytest.raises(ValueError, match=r"(?s)optimiser\.sgd: the lists differ in length.*'theta': 1, 'g': 2"):
        optimiser.sgd(one, one + two, lr=0.1)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.adam: the shapes at place 0 differ.*theta\[0\].*'m\[0\]': \(3,\)"):
        optimiser.adam(one, one, two, one, step=1)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.sgd: the dtypes differ.*g\[0\]: float32"):
        optimiser.sgd(one, [one[0].astype("float32")], lr=0.1)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.sgd: theta\[0\] is not contiguous.*C-contiguous.*strides.*np\.ascontiguousarray"):
        optimiser.sgd([np.ones((3, 2)).T], one, lr=0.1)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.sgd: g\[1\] is not an array.*every parameter.*NoneType"):
        optimiser.sgd(one + one, [*one, None], lr=0.1)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.adam: v is not a list.*ndarray"):
        optimiser.adam(one, one, one, one[0], step=1)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.sgd: nesterov needs a momentum.*momentum > 0.*momentum = 0"):
        optimiser.sgd(one, one, lr=0.1, nesterov=True)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.sgd: momentum without velocities.*v = None"):
        optimiser.sgd(one, one, lr=0.1, momentum=0.9)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.sgd: lr is out of range.*lr ≥ 0.*-1"):
        optimiser.sgd(one, one, lr=-1)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.adam: beta1 is out of range.*beta1 < 1.*1\.0"):
        optimiser.adam(one, one, one, one, step=1, beta1=1.0)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.adam: step does not fit.*≥ 1.*0"):
        optimiser.adam(one, one, one, one, step=0)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.rmsprop: alpha is out of range.*alpha ≤ 1.*1\.5"):
        optimiser.rmsprop(one, one, one, alpha=1.5)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.rmsprop: m is missing.*m = None, centered = True"):
        optimiser.rmsprop(one, one, one, centered=True)
    with pytest.raises(ValueError, match=r"(?s)optimiser\.rmsprop: b is missing.*b = None, momentum = 0\.9"):
        optimiser.rmsprop(one, one, one, momentum=0.9)
    fixed = [np.ones((2, 3))]
    fixed[0].flags.writeable = False
    with pytest.raises(ValueError, match=r"(?s)optimiser\.adam: m\[0\] is read-only.*writable"):
        optimiser.adam(one, one, fixed, one, step=1)


def pytorch_steps(optimiser_class, gradients, theta, **options):
    """Parameters after each step of an optimiser of PyTorch."""
    torch = pytest.importorskip("torch")
    parameters = [torch.tensor(a, requires_grad=True) for a in theta]
    steps = getattr(torch.optim, optimiser_class)(parameters, **options)
    history = []
    for g in gradients:
        for parameter, gradient in zip(parameters, g, strict=True):
            parameter.grad = torch.tensor(gradient)
        steps.step()
        history.append([p.detach().numpy().copy() for p in parameters])
    return history


@on_each_backend
@given(
    seed=seeds,
    lr=st.floats(1e-4, 1),
    weight_decay=st.sampled_from([0.0, 0.01, 0.3]),
    form=st.sampled_from([(0.0, 0.0, False), (0.9, 0.0, False), (0.9, 0.0, True), (0.5, 0.4, False), (0.0, 0.4, False)]),
)
def test_ten_steps_of_sgd_equal_pytorch(backend, seed, lr, weight_decay, form):
    options = {"lr": lr, "weight_decay": weight_decay} | dict(zip(("momentum", "dampening", "nesterov"), form, strict=True))
    theta, v = drawn(seed), [np.full(shape, np.nan) for shape in SHAPES]
    gradients = [drawn(seed + 1 + t) for t in range(10)]
    expected = pytorch_steps("SGD", gradients, theta, **options)
    with backends.use(backend):
        for t, g in enumerate(gradients):
            optimiser.sgd(theta, g, v, first=t == 0, **options)
            for a, e in zip(theta, expected[t], strict=True):
                np.testing.assert_allclose(a, e, rtol=1e-11, atol=1e-12)


@on_each_backend
@given(
    seed=seeds,
    lr=st.floats(1e-4, 0.5),
    weight_decay=st.sampled_from([0.0, 0.01, 0.3]),
    betas=st.tuples(st.floats(0, 0.99), st.floats(0.5, 0.9999)),
    eps=st.sampled_from([1e-8, 1e-2]),
    decoupled=st.booleans(),
)
def test_ten_steps_of_adam_equal_pytorch(backend, seed, lr, weight_decay, betas, eps, decoupled):
    theta, m, v = drawn(seed), zeros(), zeros()
    gradients = [drawn(seed + 1 + t) for t in range(10)]
    options = {"lr": lr, "weight_decay": weight_decay, "eps": eps}
    expected = pytorch_steps("AdamW" if decoupled else "Adam", gradients, theta, betas=betas, **options)
    with backends.use(backend):
        for t, g in enumerate(gradients):
            optimiser.adam(theta, g, m, v, step=t + 1, beta1=betas[0], beta2=betas[1], decoupled=decoupled, **options)
            for a, e in zip(theta, expected[t], strict=True):
                np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-11)


@on_each_backend
@given(
    seed=seeds,
    lr=st.floats(1e-4, 0.1),
    weight_decay=st.sampled_from([0.0, 0.3]),
    alpha=st.floats(0.5, 0.999),
    eps=st.sampled_from([1e-8, 1e-2]),
    momentum=st.sampled_from([0.0, 0.9]),
    centered=st.booleans(),
)
def test_ten_steps_of_rmsprop_equal_pytorch(backend, seed, **options):
    theta, v, m, b = drawn(seed), zeros(), zeros(), zeros()
    gradients = [drawn(seed + 1 + t) for t in range(10)]
    expected = pytorch_steps("RMSprop", gradients, theta, **options)
    with backends.use(backend):
        for t, g in enumerate(gradients):
            optimiser.rmsprop(theta, g, v, m if options["centered"] else None, b if options["momentum"] else None, **options)
            for a, e in zip(theta, expected[t], strict=True):
                np.testing.assert_allclose(a, e, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("backend", ["formula", "numpy", "numba", "numba_cuda", "cuda"])
def test_a_variance_that_rounding_makes_negative_is_zero(backend):
    """A constant gradient has variance 0. In float32 v − m² is negative for some such gradients, but no step becomes NaN."""
    theta, g = [np.zeros(40, "float32")], [np.linspace(0.1, 3, 40, dtype="float32")]
    m = [g[0].copy()]
    v = [np.nextafter(g[0] * g[0], np.float32(0))]
    with backends.use(backend):
        optimiser.rmsprop(theta, g, v, m, alpha=1.0, eps=1e-3, lr=1e-4, centered=True)
    np.testing.assert_allclose(theta[0], -g[0] / 10, rtol=1e-5)
