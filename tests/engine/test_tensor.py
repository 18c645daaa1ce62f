"""The promises of the engine: order, accumulation, freeing, dtypes, memory, messages."""

import gc
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from minisegnet import functional as F
from minisegnet.functional import arithmetic
from minisegnet.tensor import Tensor, detect_anomaly, differentiable, enable_grad, no_grad, tensor

pytestmark = pytest.mark.quick


def leaf(*values, dtype=np.float64):
    return tensor(np.array(values, dtype), requires_grad=True)


def test_a_value_used_twice_gets_both_influences():
    x = leaf(3.0)
    (x * x + x).sum().backward()
    assert x.grad.item() == 7.0


def test_gradients_of_all_paths_arrive_before_a_node_is_left():
    x = leaf(2.0)
    a = x * 3
    b = a * a  # used by c directly and through d
    d = b * 2
    (b * d).sum().backward()  # 2 (3x)^4, derivative 648 x^3
    assert x.grad.item() == 648 * 8


def test_backward_accumulates_into_grad_until_it_is_cleared():
    x = leaf(1.0)
    for _ in range(3):
        (2 * x).sum().backward()
    assert x.grad.item() == 6.0
    x.grad = None
    (2 * x).sum().backward()
    assert x.grad.item() == 2.0


def test_a_graph_of_50_000_nodes():
    x = leaf(1.0)
    y = x
    for _ in range(50_000):
        y = y + x
    y.sum().backward()
    assert x.grad.item() == 50_001
    del y
    gc.collect()


def test_second_backward_needs_retain_graph():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_backward_frees_what_the_pullbacks_remember():
    x = leaf(*range(5))
    y = x.exp()
    held = weakref.ref(y.array.base if y.array.base is not None else y)
    z = y.sum()
    z.backward()
    del y
    gc.collect()
    assert held() is None


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: tensor([1.0]).sum().backward(), RuntimeError, "requires_grad=True"),
        (lambda: (leaf(1.0, 2.0) * 2).backward(), RuntimeError, r"scalar.*\(2,\)"),
        (lambda: (leaf(1.0, 2.0) * 2).backward(np.ones(3)), ValueError, r"\(2,\).*\(3,\)"),
        (lambda: tensor([1, 2], requires_grad=True), TypeError, "int64"),
        (lambda: leaf(1.0).numpy(), RuntimeError, "detach"),
        (lambda: leaf(1.0).__setitem__(0, 2.0), RuntimeError, "no_grad"),
        (lambda: leaf(1.0, 2.0).item(), ValueError, r"\(2,\)"),
        (lambda: leaf(1.0) @ leaf(1.0, 2.0), ValueError, "matmul"),
        (lambda: F.cat([leaf(1.0), Tensor(np.ones((2, 2)))]), ValueError, "cat"),
        (lambda: leaf(1.0).to("tpu", device="tpu"), (ValueError, TypeError), "tpu"),
    ],
)
def test_errors_say_what_to_do(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_leaf_scalar_has_gradient_one():
    x = leaf(5.0).sum().detach().requires_grad_()
    x.backward()
    assert x.grad.item() == 1.0


def test_no_grad_and_enable_grad():
    x = leaf(1.0)
    with no_grad():
        assert not (x * 2).requires_grad
        with enable_grad():
            assert (x * 2).requires_grad

    @no_grad()
    def decorated():
        return x * 2

    assert not decorated().requires_grad
    assert (x * 2).requires_grad
    assert not (x * 2).detach().requires_grad


@pytest.mark.parametrize("scalar", [2, 2.0, np.float64(2.0), np.float32(2.0), np.int64(2)])
def test_scalars_take_the_dtype_of_the_tensor(scalar):
    x = leaf(1.0, 2.0, dtype=np.float32)
    for y in (x * scalar, scalar * x, x + scalar, x - scalar, scalar - x, x / scalar, scalar / x, x**scalar):
        assert isinstance(y, Tensor) and y.dtype == np.float32
        y.sum().backward()
        assert x.grad.dtype == np.float32


def test_gradients_have_the_dtype_of_their_tensor():
    x, y = leaf(1.0, 2.0, dtype=np.float32), leaf(3.0, 4.0)
    (x * y).sum().backward()
    assert x.grad.dtype == np.float32 and y.grad.dtype == np.float64


def test_python_numbers_become_float32_and_arrays_keep_their_dtype():
    assert tensor([1.0]).dtype == np.float32
    assert tensor(np.ones(1)).dtype == np.float64
    assert tensor([1]).dtype == np.int64
    assert tensor([1], dtype="float64").dtype == np.float64


def test_gradients_never_share_memory():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    z = x + y
    z.retain_grad()
    seed = np.ones(2)
    z.reshape(2, 1).reshape(2).backward(seed)
    arrays = [x.grad.array, y.grad.array, z.grad.array, seed, x.array, y.array]
    for i, a in enumerate(arrays):
        for b in arrays[i + 1 :]:
            assert not np.shares_memory(a, b)


def test_hooks_see_and_replace_the_complete_gradient():
    x = leaf(1.0, 2.0)
    h = x * 1
    seen = []
    handle = h.register_hook(lambda g: seen.append(g.array.copy()))
    h.register_hook(lambda g: g * 10)
    (h + h).sum().backward()
    np.testing.assert_array_equal(seen, [[2.0, 2.0]])
    np.testing.assert_array_equal(x.grad.array, [20.0, 20.0])
    handle.remove()
    (x * 1).sum().backward()
    assert len(seen) == 1


def test_only_leaves_and_retained_tensors_keep_gradients():
    x = leaf(1.0)
    h, k = x * 2, x * 3
    h.retain_grad()
    (h + k).sum().backward()
    assert h.grad.item() == 1.0 and k.grad is None


def test_a_change_in_place_is_noticed():
    x = leaf(3.0)
    y = (x * x).sum()
    with no_grad():
        x.copy_([4.0])
    with pytest.raises(RuntimeError, match="in place"):
        y.backward()


@pytest.mark.parametrize("how", ["detach", "no_grad"])
def test_a_change_by_another_name_is_noticed(how):
    x = leaf(3.0)
    y = (x * x).sum()
    if how == "detach":
        x.detach()[0] = 4.0
    else:
        with no_grad():
            x[0] = 4.0
    assert x.array[0] == 4.0
    with pytest.raises(RuntimeError, match="in place"):
        y.backward()
    with pytest.raises(RuntimeError, match="no_grad"):
        x[0] = 5.0


def test_only_needed_products_are_computed():
    computed = []

    @differentiable
    def spy(a, b):
        return a + b, lambda g: (lambda: computed.append("a") or g, lambda: computed.append("b") or g)

    spy(leaf(1.0), tensor([1.0])).sum().backward()
    assert computed == ["a"]


def test_anomaly_mode_names_operation_and_line():
    with detect_anomaly():
        with pytest.raises(FloatingPointError, match=r"log made a NaN.*test_tensor\.py"), np.errstate(invalid="ignore"):
            leaf(-1.0).log()
        x = leaf(0.0)
        y = (arithmetic.sqrt(x) * 0.0).sum()  # 0 · ∞ on the way back
        with pytest.raises(FloatingPointError, match=r"gradient of sqrt.*test_tensor\.py"), np.errstate(all="ignore"):
            y.backward()


def test_keywords_reach_the_graph():
    a, b = leaf(2.0), leaf(3.0)
    arithmetic.mul(b=b, a=a).sum().backward()
    assert (a.grad.item(), b.grad.item()) == (3.0, 2.0)


def test_arguments_behind_one_that_is_left_out_reach_the_graph():
    x, b = tensor(np.arange(8.0).reshape(2, 1, 2, 2)), leaf(0.0)
    F.batch_norm(x, None, None, bias=b, training=True).sum().backward()
    assert b.grad.item() == 8.0
    y = leaf(1.0, 5.0)
    F.clip(y, max=tensor([2.0, 2.0])).sum().backward()
    assert y.grad.tolist() == [1.0, 0.0]


def test_a_tensor_of_a_tensor_and_a_loop_over_a_number():
    assert isinstance(Tensor(tensor([1.0])).array, np.ndarray)
    assert [row.tolist() for row in tensor([[1.0], [2.0]])] == [[1.0], [2.0]]
    with pytest.raises(TypeError, match="no length"):
        list(tensor(1.0))


def test_numpy_protocols():
    x = tensor([[1.0, 2.0]])
    assert np.asarray(x).shape == (1, 2)
    np.testing.assert_array_equal(np.from_dlpack(x), x.array)
    assert isinstance(np.ones((1, 2), np.float32) * x, Tensor)
    assert isinstance(np.float64(2) * x, Tensor)
    assert (x > 1).tolist() == [[False, True]]
    assert len(x) == 1 and float(x.sum()) == 3.0
    assert not hasattr(x, "__cuda_array_interface__")


def test_repr_shows_dtype_and_history():
    assert repr(leaf(1.0)) == "tensor([1.], dtype=float64, requires_grad=True)"
    assert "grad_fn=<mul>" in repr(leaf(1.0) * 2)


def test_a_deep_copy_is_a_leaf_of_its_own():
    import copy

    x = leaf(1.0, 2.0)
    (x * 2).sum().backward()
    twin = copy.deepcopy(x)
    (twin * 3).sum().backward()
    assert twin.grad.tolist() == [3.0, 3.0] and x.grad.tolist() == [2.0, 2.0]
    assert not np.shares_memory(twin.array, x.array) and twin.requires_grad


def test_backward_for_chosen_tensors_leaves_every_other_gradient_alone():
    x, w, v = (tensor([2.0, 3.0], requires_grad=True) for _ in range(3))
    v.grad = kept = tensor([5.0, 5.0])
    hidden = x * w
    loss = (hidden * hidden * v).sum()
    loss.backward(inputs=[hidden, w], retain_graph=True)
    np.testing.assert_allclose(hidden.grad.array, 2 * hidden.array * v.array)
    np.testing.assert_allclose(w.grad.array, hidden.grad.array * x.array)
    assert x.grad is None and v.grad is kept and np.array_equal(kept.array, [5.0, 5.0])
    loss.backward(inputs=x)
    np.testing.assert_allclose(x.grad.array, w.grad.array)
    assert v.grad is kept


def test_backward_for_a_tensor_that_was_not_used_computes_nothing():
    x, unused, frozen = tensor([1.0], requires_grad=True), tensor([1.0], requires_grad=True), tensor([1.0])
    loss = (x * 2).sum()
    loss.backward(inputs=unused, retain_graph=True)
    assert unused.grad is None and x.grad is None
    with pytest.raises(ValueError, match="name at least one"):
        loss.backward(inputs=[])
    with pytest.raises(RuntimeError, match="must require a gradient"):
        loss.backward(inputs=[x, frozen])


def test_two_threads_that_use_a_leaf_first_share_its_node(monkeypatch):
    """If each had a node of its own, the gradients of one thread would be lost."""
    engine = sys.modules[Tensor.__module__]
    made, leaf = [], tensor([1.0], requires_grad=True)

    class Slow(engine.Node):
        def __init__(self, owner, *rest):
            made.append(owner)
            time.sleep(0.2)  # the other thread comes by
            super().__init__(owner, *rest)

    monkeypatch.setattr(engine, "Node", Slow)
    nodes = []
    threads = [threading.Thread(target=lambda: nodes.append(engine._node_of(leaf))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and nodes[0] is nodes[1]


@pytest.mark.parametrize("dtype", [None, np.float64])
def test_a_tensor_keeps_the_layout_of_its_array(dtype):
    array = np.zeros((2, 4, 5, 3), np.float32).transpose(0, 3, 1, 2)  # channels last
    copy = tensor(array, dtype).array
    assert not np.shares_memory(copy, array)
    assert [stride // copy.itemsize for stride in copy.strides] == [stride // array.itemsize for stride in array.strides]
