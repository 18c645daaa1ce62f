"""Reading a network never changes it: evaluation mode and hooks belong to a thread and a task."""

import asyncio
import threading

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import nn
from minisegnet.nn.modes import evaluating, watching
from minisegnet.tensor import Tensor, enable_grad, is_grad_enabled, no_grad, set_grad_enabled, tensor
from minisegnet_kernels.modes import Mode


def elsewhere(function):
    """Run a function in another thread and return its result."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.5))


def test_evaluation_is_seen_in_this_thread_alone_and_ends_with_the_block():
    model = network()
    model[1].eval()
    with evaluating(model):
        assert [m.training for m in model.modules()] == [False] * 5
        assert elsewhere(lambda: [m.training for m in model.modules()]) == [True, True, False, True, True]
        with evaluating(model[0]):
            assert not model[3].training
        model[3].train()
        assert model[3].training and not model[0].training
    assert [m.training for m in model.modules()] == [True, True, False, True, True]


def test_evaluation_belongs_to_a_task():
    model = network()
    seen = []

    async def reading(first, second):
        with evaluating(model):
            first.set()
            await second.wait()
            seen.append(model.training)

    async def training(first, second):
        await first.wait()
        seen.append(model.training)
        second.set()

    async def both():
        first, second = asyncio.Event(), asyncio.Event()
        await asyncio.gather(reading(first, second), training(first, second))

    asyncio.run(both())
    assert seen == [True, False]


def test_a_watcher_sees_its_own_thread_alone_and_keeps_neighbours_apart():
    model, x = network().eval(), Tensor(np.ones((1, 1, 4, 4), np.float32))
    plain, seen = model(x).array, []
    with watching([model[2]], lambda module, args, output: seen.append(type(module).__name__) or output * 0):
        assert not model(x).array.any()
        np.testing.assert_array_equal(elsewhere(lambda: model(x).array), plain)
    assert seen == ["ReLU"] and not any(m._forward_hooks for m in model.modules())
    np.testing.assert_array_equal(model(x).array, plain)


@pytest.mark.parametrize(
    "look",
    [
        lambda model: ms.models.summary(model, (1, 1, 16, 16)),
        lambda model: ms.diagnostics.activations(model, np.zeros((1, 16, 16), np.float32)),
        lambda model: ms.nn.fold(model),
        lambda model: ms.inference.scores(model, np.zeros((1, 1, 16, 16))),
        lambda model: ms.inference.monte_carlo_dropout(model, np.zeros((1, 1, 16, 16)), passes=2),
    ],
)
def test_no_attribute_of_a_network_changes_while_it_is_looked_at(look, monkeypatch):
    """Another thread could read the attribute at that moment; and no mode of the process changes either."""
    monkeypatch.setattr(Mode, "set", lambda self, value: pytest.fail(f"the process's {self._here.name} became {value}"))
    model, written = network(), []
    originals = list(model.modules())

    def note(self, name, value):
        if any(self is module for module in originals):
            written.append(name)
        nn.Module.__setattr__(self, name, value)

    class Hooks(dict):
        def __setitem__(self, key, hook):
            written.append(hook)
            super().__setitem__(key, hook)

        def __deepcopy__(self, memo):
            return {}

    for module in originals:
        module.__class__ = type(type(module).__name__, (type(module),), {"__setattr__": note})
        vars(module)["_hooks_of_all"] = Hooks()
    before = {name: value.array.copy() for name, value in model.state_dict().items()}
    look(model)
    assert written == [] and not any(m._forward_hooks for m in model.modules())
    assert all(np.array_equal(value.array, before[name]) for name, value in model.state_dict().items())


# --- recording ------------------------------------------------------------------------------------


def test_recording_belongs_to_a_thread():
    with no_grad():
        assert not is_grad_enabled() and elsewhere(is_grad_enabled)
    set_grad_enabled(False)
    try:
        assert not is_grad_enabled() and elsewhere(is_grad_enabled)
    finally:
        set_grad_enabled(True)
    with set_grad_enabled(False):
        assert not is_grad_enabled()
        with set_grad_enabled(True):
            assert is_grad_enabled()
    assert is_grad_enabled()


def test_overlapping_blocks_of_two_threads_leave_nothing_behind():
    entered, left = threading.Event(), threading.Event()

    def other():
        entered.wait()
        with no_grad():
            left.set()

    thread = threading.Thread(target=other)
    thread.start()
    with no_grad():
        entered.set()
        left.wait()
    thread.join()
    assert is_grad_enabled() and elsewhere(is_grad_enabled)


@pytest.mark.parametrize("decorator", [no_grad, no_grad(), lambda function: set_grad_enabled(False)(function)])
def test_decorators_hold_in_functions_generators_and_coroutines(decorator):
    x = tensor([1.0], requires_grad=True)

    @decorator
    def function():
        return is_grad_enabled()

    @decorator
    def generator():
        yield is_grad_enabled()
        yield (x * 2).requires_grad

    @decorator
    async def coroutine():
        return is_grad_enabled()

    assert is_grad_enabled()
    assert function() is False
    for found in generator():
        assert found is False and is_grad_enabled()
    assert asyncio.run(coroutine()) is False

    @enable_grad
    def undone():
        return is_grad_enabled()

    with no_grad():
        assert undone() is True


# --- buffers, names and places ----------------------------------------------------------------------


def test_a_name_keeps_its_kind():
    norm = nn.BatchNorm2d(2)
    norm.running_mean = tensor([1.0, 2.0])
    assert isinstance(norm.running_mean, nn.Buffer) and "running_mean" in norm.state_dict()
    with pytest.raises(TypeError, match=r"weight is a parameter.*nn\.Parameter"):
        norm.weight = tensor([1.0, 2.0])


def test_a_module_moves_to_a_device_or_raises():
    model = network()
    with pytest.raises(ValueError, match="nonsense"):
        model.to(memory_format="nonsense")
    assert model.to(memory_format="contiguous").to("cpu:0").to("cpu") is model
    for thing in (model, tensor([1.0])):
        with pytest.raises(ValueError, match=r"cuda:1.*CUDA_VISIBLE_DEVICES"):
            thing.to("cuda:1")
        with pytest.raises(ValueError, match=r"cuda:1.*CUDA_VISIBLE_DEVICES"):
            thing.to(device="cuda:1")
        with pytest.raises(ValueError, match=r"'tpu' is neither a device .*nor a dtype"):
            thing.to("tpu")
        with pytest.raises(ValueError, match=r"no device 'tpu'"):
            thing.to(device="tpu")


def test_a_slice_is_appended_to_without_losing_a_module():
    model = network()
    rest = model[1:]
    rest.append(nn.Identity()).append(nn.Flatten())
    assert [type(m).__name__ for m in rest] == ["BatchNorm2d", "ReLU", "Dropout", "Identity", "Flatten"]


def test_a_forward_of_its_own_is_not_bypassed_by_fusion():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()).eval()
    model[1].forward = lambda x: x * 0 + 7
    assert (model(Tensor(np.ones((1, 1, 2, 2), np.float32))).array == 7).all()


def test_an_identity_with_a_forward_of_its_own_is_not_skipped():
    model = nn.Sequential(nn.Identity())
    model[0].forward = lambda x: x + 1
    assert model(tensor([1.0])).tolist() == [2.0]
