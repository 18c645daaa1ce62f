"""Arguments that do not fit are errors that name the argument: nothing is cut to another number, and no size is believed."""

import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import functional as F
from minisegnet import losses, nn, optim
from minisegnet.data import Arrays, Loader

LABELS = np.array([[[0, 1], [2, 1]]])


def tensor(*shape):
    return ms.tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32), requires_grad=True)


def optimizer():
    return optim.SGD([nn.Parameter(np.zeros(2))], lr=1.0)


@pytest.mark.parametrize("name", ["ce", "focal", "ohem", "boundary"])
@pytest.mark.parametrize("weight", [np.ones((3, 1)), np.ones(5), np.ones(2)], ids=["a column", "five", "two"])
def test_weights_of_classes_are_one_a_class(name, weight):
    with pytest.raises(ValueError, match=r"weights (of classes|and scores do not fit)[\s\S]*Expected[\s\S]*\(C,\)"):
        losses.create(name, weight=weight.astype(np.float32))(tensor(1, 3, 2, 2), LABELS)


@pytest.mark.parametrize("name", ["focal", "ohem", "boundary"])
@pytest.mark.parametrize("weight", [[-1.0, 1, 1], [1, np.nan, 1], [1, np.inf, 1]])
def test_weights_of_classes_are_numbers_from_0(name, weight):
    with pytest.raises(ValueError, match="a finite number of 0 or more for each class"):
        losses.create(name, weight=weight)


@pytest.mark.parametrize("ignored", [1.7, "1", None, True, 2**63])
def test_an_ignored_label_is_an_int(ignored):
    with pytest.raises(ValueError, match="ignore_index: an int of 64 bits"):
        F.cross_entropy(tensor(1, 3, 2, 2), LABELS, ignore_index=ignored)
    for name in ("focal", "ohem", "boundary", "dice", "lovasz"):
        with pytest.raises(ValueError, match="ignore_index: an int of 64 bits"):
            losses.create(name, ignore_index=ignored)


def test_a_label_too_large_for_int64_is_no_ignored_label():
    with pytest.raises(ValueError, match=rf"t\[0, 0, 0\] = {2**64 - 100}"):
        F.cross_entropy(tensor(1, 3, 2, 2), np.full((1, 2, 2), 2**64 - 100, np.uint64))


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.StepLR(optimizer(), -2),
        lambda: optim.StepLR(optimizer(), 0),
        lambda: optim.CosineAnnealingLR(optimizer(), 0),
        lambda: optim.PolynomialLR(optimizer(), 0),
        lambda: optim.LinearLR(optimizer(), total_iters=0),
        lambda: optim.LinearWarmup(optimizer(), 0),
        lambda: optim.LinearWarmup(optimizer(), 5, start_factor=-1),
    ],
)
def test_a_schedule_has_a_length(make):
    with pytest.raises(ValueError, match=r"expected .*(more than 0|start_factor)"):
        make()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.pad(tensor(1, 1, 3, 3), (1.9, 1, 1, 1)), r"a width = 1\.9"),
        (lambda: nn.Conv2d(2, 2, 0), r"kernel_size=\(0, 0\)"),
        (lambda: nn.Conv2d(0, 2, 3), "in_channels=0"),
        (lambda: F.local_response_norm(tensor(1, 1, 2, 2), float("inf")), "size = inf"),
        (lambda: F.conv2d(tensor(1, 1, 5, 5), tensor(1, 1, 0, 3)), "kernel"),
        (lambda: F.interpolate(tensor(1, 1, 2, 2), size=10**30), "size"),
        (lambda: F.conv2d(tensor(1, 1, 5, 5), tensor(1, 1, 3, 3), padding=10**12), "padding"),
        (lambda: losses.LovaszSoftmaxLoss(classes=[]), "a mean over no class"),
    ],
)
def test_sizes_are_whole_and_possible(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- time and memory grow with what is asked for --------------------------------------------------------------


def peak(work):
    tracemalloc.start()
    try:
        result = work()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_stride_beyond_the_input_costs_nothing():
    x, w = tensor(1, 1, 8, 8), tensor(1, 1, 3, 3)
    g = np.ones((1, 1, 1, 1), np.float32)
    F.conv2d(x, w, stride=3).backward(np.ones((1, 1, 2, 2), np.float32))  # compiles
    results = []
    for stride in (7, 30_000):
        x.grad = w.grad = None
        y, most = peak(lambda stride=stride: F.conv2d(x, w, stride=stride))
        _, most_of_gradient = peak(lambda y=y: y.backward(g))
        assert max(most, most_of_gradient) < 1 << 20
        results.append([y.detach().numpy(), x.grad.numpy(), w.grad.numpy()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(results[0][0].ravel(), (x.detach().numpy()[0, 0, :3, :3] * w.detach().numpy()[0, 0]).sum(), rtol=1e-5)


def test_windows_in_the_padding_are_refused_before_they_are_counted():
    def refused():
        with pytest.raises(ValueError, match="only padding"):
            F.max_pool2d(tensor(1, 1, 8, 8), 3, padding=2**27)

    assert peak(refused)[1] < 1 << 20


def test_a_million_steps_are_not_drawn_before_the_first():
    data = Arrays([np.zeros((4, 4))] * 6, [np.zeros((4, 4), int)] * 6, ("a", "b"))
    loader = Loader(data, 2, steps=10**8, prefetch=0)
    loader.load_state({"epoch": 0, "batch": 10**8 - 2})
    batches, most = peak(lambda: [pair for pair in loader])  # noqa: C416  (`list` would make room for all of them)
    assert len(batches) == 2 and most < 1 << 20


def test_the_order_of_a_continued_epoch_is_that_of_the_whole():
    data = Arrays([np.full((1, 1), k + 1.0) for k in range(7)], [np.zeros((1, 1), int)] * 7, ("a", "b"), standardise=False)
    whole = [images.ravel().tolist() for images, _ in Loader(data, 3, steps=9, seed=4)]
    for first in range(9):
        loader = Loader(data, 3, steps=9, seed=4)
        loader.load_state({"epoch": 0, "batch": first})
        assert [images.ravel().tolist() for images, _ in loader] == whole[first:]
    seen = [value for batch in whole for value in batch]
    assert all(sorted(seen[lap * 7 : lap * 7 + 7]) == list(range(1, 8)) for lap in range(3))


def test_a_nested_reference_in_a_file_of_pytorch_is_not_written_out(tmp_path):
    """Forty levels of a tuple of itself twice: 2⁴⁰ elements, if a message wrote them out."""
    nested = pickle.EMPTY_TUPLE + b"".join(b"q%ch%c\x86" % (k, k) for k in range(40))  # remember it, take it again, make a pair
    index = b"\x80\x02" + nested + pickle.BINPERSID + pickle.STOP
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", index)
        archive.writestr("a/byteorder", "little")
    with pytest.raises(ValueError, match=r"reference[\s\S]*\(tuple, tuple\)"):
        ms.load(tmp_path / "a.pth")
