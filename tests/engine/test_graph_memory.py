"""A graph keeps only arrays that are needed to compute a gradient."""

import gc
from types import FunctionType

import numpy as np
import pytest
from support.arithmetic import CASES as ARITHMETIC
from support.arithmetic import draw_arguments
from support.functions import CASES, OURS, arrays_for

import minisegnet as ms
from minisegnet import functional as F
from minisegnet.tensor import Node, Tensor, tensor


def kept(node: Node) -> list[np.ndarray]:
    """The arrays that the pullbacks behind a node hold; arrays that share memory are listed once."""
    found: dict[int, np.ndarray] = {}
    seen: set[int] = set()
    waiting: list = [node]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Node):
            waiting += [thing.pullback, *thing.inputs]
        elif isinstance(thing, FunctionType):
            waiting += [cell.cell_contents for cell in thing.__closure__ or ()]
            waiting += [*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
        elif isinstance(thing, np.ndarray):
            while isinstance(thing.base, np.ndarray):
                thing = thing.base
            found[id(thing)] = thing
        elif isinstance(thing, dict):
            waiting += thing.values()
        elif isinstance(thing, list | tuple):
            waiting += thing
    return list(found.values())


def gradients(function, arrays, spoil=None):
    """The gradients of all arguments. If `spoil` is given, the kept array of that number is overwritten before `backward`."""
    tensors = [tensor(a, requires_grad=True) for a in arrays]
    y = function(F, *tensors)
    held = kept(y.grad_fn) if y.grad_fn else []
    if spoil is not None:
        array = held[spoil]
        array.flags.writeable = True
        array[...] = 1 - 3 * array if array.dtype.kind == "f" else array == 0  # other numbers, and indices that exist
    y.backward(np.random.default_rng(1).normal(size=y.shape))
    return [t.grad.numpy().copy() for t in tensors], held


FUNCTIONS = {f"{name} of images": (CASES | OURS)[name] for name in CASES | OURS} | {name: c[:2] for name, c in ARITHMETIC.items()}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_array_that_is_kept_is_needed(name):
    """Overwriting a kept array has to change a gradient or raise an error; otherwise the array is kept without need."""
    function, shapes = FUNCTIONS[name]
    arrays = draw_arguments(name, 7)[0] if name in ARITHMETIC else arrays_for(shapes)[0]
    right, held = gradients(function, arrays)
    for k, array in enumerate(held):
        if array.size < 2:
            continue  # a scalar
        try:
            with np.errstate(all="ignore"):
                wrong, _ = gradients(function, arrays, spoil=k)
        except (ValueError, IndexError):
            continue
        same = all(np.array_equal(a, b) for a, b in zip(right, wrong, strict=True))
        assert not same, f"{name} keeps an array of shape {array.shape} and {array.dtype} that no gradient needs"


def test_dropout_keeps_a_byte_for_each_element():
    x = tensor(np.ones((2, 3, 8, 8), np.float32), requires_grad=True)
    assert sum(a.nbytes for a in kept(F.dropout(x * 2, 0.5).grad_fn)) == x.numel()
    assert sum(a.nbytes for a in kept(F.dropout2d(x * 2, 0.5).grad_fn)) == 6


@pytest.mark.parametrize(
    ("model", "options", "before", "saved"),
    [("unet", {}, 24.71, 0.17), ("unet", {"bilinear": True}, 23.58, 0.20), ("segnet", {}, 19.67, 0.10)],
    ids=str,
)
def test_memory_of_a_networks_graph(model, options, before, saved):
    """In MiB, after the forward pass of one image of 192² at an eighth of the width, without what the caller holds: parameters and image.

    `before` is what the graph kept when some pullbacks still kept an array for its shape.
    """
    ms.manual_seed(0)
    network = ms.models.create(model, in_channels=3, num_classes=4, width=1 / 8, **options)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 3, 192, 192)).astype("float32")
    loss = F.cross_entropy(network(Tensor(image)), rng.integers(0, 4, (1, 192, 192)))
    gc.collect()
    held_by_the_caller = {id(image), *(id(p.array) for p in network.parameters())}
    size = sum(a.nbytes for a in kept(loss.grad_fn) if id(a) not in held_by_the_caller) / 2**20
    print(f"{model} {options}: {size:.2f} MiB, {1 - size / before:.1%} less")
    assert 0.7 * before < size <= (1 - saved) * before
