"""Changes in place: values, gradients, dtypes and errors are PyTorch's; every change is counted, whichever method makes it."""

import copy
import pickle

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import nn
from minisegnet.tensor import Tensor, no_grad, tensor

RNG = np.random.default_rng(0)

# One line of code each, run with this library's tensors and with PyTorch's.
LINES = [
    "x += y",
    "x -= y",
    "x *= y",
    "x /= y",
    "x **= 2",
    "x //= 0.4",
    "x %= y",
    "x += 1",
    "x *= 0.5",
    "x @= m",
    "x.add_(y, alpha=0.3)",
    "x.sub_(y, alpha=2)",
    "x.mul_(y)",
    "x.div_(y)",
    "x.pow_(3)",
    "x.clamp_(0.8, 1.2)",
    "x.clamp_(min=1.0)",
    "x.zero_()",
    "x.fill_(3.5)",
    "x.copy_(y)",
    "x.copy_(y[0])",
    "x.mul_(0.9).add_(y, alpha=0.1)",
    "x.exp_()",
    "x.sqrt_()",
    "x.neg_()",
    "x[1] = y[0]",
    "x[:, 1] = 2.0",
    "x[x > 1] = 0",
    "x[mask] = y[mask]",
    "x[0] *= y[1]",
    "x[rows] = y",
    "x[..., 1:] += y[..., 1:]",
    "x.data -= 0.1 * y",
    "x.data += -0.1 * y",
    "x.data = y",
    "x.data.clamp_(0, 1)",
]

#: Refused where they would be recorded: changes of a view, and one that has no gradient.
UNRECORDED = ("x[0] *= y[1]", "x[..., 1:] += y[..., 1:]", "x //= 0.4")


def values():
    return RNG.uniform(0.5, 1.5, (3, 3)), RNG.uniform(0.5, 1.5, (3, 3))


def run(line, lib, x, y):
    rows, mask = np.array([2, 0, 1]), x_mask(x)
    names = {"x": x, "y": y, "m": y, "rows": lib.tensor(rows), "mask": lib.tensor(mask)}
    exec(line, names)
    return names["x"]


def x_mask(x):
    return np.asarray(x.detach().numpy()) > 1.1


@pytest.mark.parametrize("line", LINES)
def test_values_are_pytorchs_and_the_tensor_stays_itself(line):
    torch = pytest.importorskip("torch")
    a, b = values()
    x = tensor(a)
    array, changes = x.array, x._memory.changes
    assert run(line, ms, x, tensor(b)) is x
    theirs = run(line, torch, torch.tensor(a), torch.tensor(b))
    np.testing.assert_allclose(x.numpy(), theirs.numpy(), rtol=1e-14)
    if line == "x.data = y":
        return
    assert x.array is array and x._memory.changes > changes


@pytest.mark.parametrize("line", [line for line in LINES if ".data" not in line and line not in UNRECORDED])
def test_recorded_changes_have_pytorchs_gradients(line):
    """The tensor is the result of another operation, whose pullback needs the old values."""
    torch = pytest.importorskip("torch")
    a, b = values()
    found = []
    for lib in (ms, torch):
        leaf, y = lib.tensor(a, requires_grad=True), lib.tensor(b, requires_grad=True)
        x = leaf * 1.25
        x = run(line, lib, x, y)
        (x * x).backward(lib.tensor(b))
        found.append([np.zeros((3, 3)) if t.grad is None else np.asarray(t.grad) for t in (leaf, y)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("line", ["h //= 2", "h.floor_divide_(2)"])
def test_a_change_without_a_gradient_is_refused_for_a_tensor_with_a_history(line):
    h = tensor([3.0], requires_grad=True) * 1
    with pytest.raises(RuntimeError, match=r"has no gradient.*detach"):
        exec(line, {"h": h})
    with no_grad():
        exec(line, {"h": h})
    assert h.tolist() == [1.0]


def test_old_values_that_a_pullback_needs_are_still_there():
    x = tensor([2.0], requires_grad=True)
    h = x * 1.0
    square = h * h
    h *= 10  # PyTorch refuses to go back through `square` now
    (square + h).sum().backward()
    assert x.grad.tolist() == [14.0]


def test_what_happens_to_the_new_values_does_not_concern_a_graph_of_the_old_ones():
    x = tensor([2.0], requires_grad=True)
    h = x * 1.0
    square = h * h
    h *= 10
    with no_grad():
        h.zero_()
    square.sum().backward()
    assert x.grad.tolist() == [4.0]


def test_of_several_values_for_one_element_the_last_one_counts():
    x, v = tensor([1.0, 2.0, 3.0], requires_grad=True), tensor([10.0, 20.0, 30.0], requires_grad=True)
    y = x * 1
    y[np.array([0, 0, 2])] = v
    assert y.tolist() == [20.0, 2.0, 30.0]
    y.sum().backward()
    assert v.grad.tolist() == [0.0, 1.0, 1.0] and x.grad.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("line", [line for line in LINES if ".data" not in line])
def test_a_leaf_that_requires_a_gradient_is_refused_outside_no_grad(line):
    a, b = values()
    x = tensor(a, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"leaf|shares its memory"):
        run(line, ms, x, tensor(b))
    np.testing.assert_array_equal(x.array, a)
    with no_grad():
        run(line, ms, x, tensor(b))
    assert x.requires_grad and x.is_leaf


@pytest.mark.parametrize(
    "view", ["x[0]", "x.reshape(9)", "x.T", "x.transpose(0, 1)", "x.detach()", "x.data", "x.flatten()", "copy.copy(x)"]
)
def test_what_shares_memory_shares_the_count_and_is_refused_where_histories_would_be_wrong(view):
    x = tensor(np.ones((3, 3)))
    y = tensor(2.0, requires_grad=True)
    other = eval(view, {"x": x, "copy": copy})
    assert other._memory is x._memory
    other.mul_(2)
    assert x.array.max() == 2
    for target in (x, other):
        with pytest.raises(RuntimeError, match=r"shares its memory.*clone"):
            target += y


@pytest.mark.parametrize(
    ("dtype", "line"), [("int64", "x += 0.5"), ("int64", "x /= 2"), ("bool", "x += 1"), ("int64", "x *= y"), ("bool", "x *= y")]
)
def test_a_kind_of_number_that_does_not_fit_is_refused(dtype, line):
    torch = pytest.importorskip("torch")
    a = np.ones(3, dtype)
    with pytest.raises(RuntimeError):
        exec(line, {"x": torch.tensor(a), "y": torch.ones(3)})
    with pytest.raises(TypeError, match=dtype):
        exec(line, {"x": tensor(a), "y": tensor(np.ones(3))})


def test_a_wider_float_is_rounded_and_assignment_converts():
    x = tensor([1.0, 2.0])
    x += tensor(np.array([0.1, 0.2]))
    assert x.dtype == np.float32
    n = tensor([1, 2])
    n[0] = 7.9
    n[1:].fill_(3.2)
    assert n.tolist() == [7, 3] and n.dtype == np.int64


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"add_.*\(2, 3\).*\(3,\)"):
        tensor([1.0, 2.0, 3.0]).add_(tensor(np.ones((2, 3), np.float32)))
    with pytest.raises(ValueError, match=r"copy_.*\(3,\).*\(2,\)"):
        tensor([1.0, 2.0, 3.0]).copy_(np.ones(2))


# --- a graph that used the old values notices every change ------------------------------------


def layers():
    norm = nn.BatchNorm2d(2)
    return norm, Tensor(RNG.normal(size=(2, 2, 3, 3)).astype(np.float32), requires_grad=True)


CHANGES = {
    "a forward pass in training": lambda norm, x: norm.train()(x),
    "a fused forward pass in training": lambda norm, x: nn.chain(x, norm.train(), nn.ReLU()),
    "reset_running_stats": lambda norm, x: norm.reset_running_stats(),
    "load_state_dict": lambda norm, x: norm.load_state_dict(nn.BatchNorm2d(2).state_dict()),
    "an optimiser's step": lambda norm, x: step(norm),
    "an initialiser": lambda norm, x: nn.init.uniform_(norm.weight),
    "a constant initialiser": lambda norm, x: nn.init.zeros_(norm.bias),
    "conversion": lambda norm, x: norm.double(),
    "an operator": lambda norm, x: norm.running_mean.mul_(2),
    "data": lambda norm, x: norm.weight.data.mul_(2),
    "other data": lambda norm, x: setattr(norm.weight, "data", np.ones(2, np.float32)),
    "an assignment to a view": lambda norm, x: norm.state_dict()["running_var"].__setitem__(0, 3.0),
    "the input": lambda norm, x: x.data.zero_(),
}


def step(norm):
    for p in norm.parameters():
        p.grad = Tensor(np.ones(2, np.float32))
    ms.optim.SGD(norm.parameters(), 0.1).step()


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("fused", [False, True])
def test_a_graph_in_evaluation_mode_refuses_values_that_were_changed(change, fused):
    norm, x = layers()
    norm.eval()
    y = (nn.chain(x, norm, nn.ReLU()) if fused else norm(x)).sum()
    CHANGES[change](norm, x)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_step_counts_what_the_optimiser_remembers():
    p, x = tensor([1.0], requires_grad=True), tensor([2.0], requires_grad=True)
    optimizer = ms.optim.Adam([p])
    p.grad = tensor([1.0])
    optimizer.step()
    y = x * optimizer.state[p]["exp_avg_sq"]
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_values_that_were_assigned_are_shared_with_the_tensor_that_they_came_from():
    x, other = tensor([1.0], requires_grad=True), tensor([3.0])
    x.data = other
    y = (x * x).sum()
    other.mul_(2)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_gradient_that_grows_is_counted():
    x, z = (tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    (x * x).sum().backward()
    y = (z * x.grad).sum()
    (x * x).sum().backward()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_two_passes_in_training_may_both_go_back():
    """Their gradients need the statistics of the batch, not the running statistics, which the second pass changes."""
    norm, x = layers()
    ((norm(x) ** 2).sum() + (norm(x * 2) ** 2).sum()).backward()
    assert np.isfinite(x.grad.array).all()


def test_clipping_and_clearing_count_for_gradients_too():
    x = tensor([3.0, 4.0], requires_grad=True)
    (x * x).sum().backward()
    grad, before = x.grad, x.grad._memory.changes
    nn.utils.clip_grad_norm_([x], 1.0)
    assert x.grad is grad and grad._memory.changes == before + 1
    np.testing.assert_allclose(grad.array, [0.6, 0.8], rtol=1e-6)


# --- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_models_and_tensors_are_copied_without_their_history(way):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    x = Tensor(RNG.normal(size=(2, 1, 5, 5)).astype(np.float32), requires_grad=True)
    y = model(x)
    y.sum().backward()
    other = way(model)
    assert all(p.requires_grad and p.is_leaf and p.grad is None and isinstance(p, nn.Parameter) for p in other.parameters())
    assert [name for name, _ in other.named_buffers()] == [name for name, _ in model.named_buffers()]
    np.testing.assert_array_equal(other.eval()(x).array, model.eval()(x).array)
    with no_grad():
        other[0].weight.zero_()
    assert model[0].weight.array.any()
    h = way(y)
    assert h.is_leaf and h.requires_grad
    np.testing.assert_array_equal(h.array, y.array)
