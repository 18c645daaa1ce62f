"""Batches are complete and the same whatever the timing, and no thread is left behind."""

import threading
import time

import numpy as np
import pytest

from minisegnet import data
from minisegnet.data import transforms


class Slow(data.Shapes):
    """A data set that takes a random time for each item, so that threads finish in any order."""

    def __getitem__(self, k):
        time.sleep(float(np.random.default_rng().uniform(0, 0.003)))
        return super().__getitem__(k)


def collect(loader):
    return [(images.copy(), masks.copy()) for images, masks in loader]


def equal(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True))


def loader_threads():
    return [t for t in threading.enumerate() if t.name == "minisegnet-loader"]


def test_batches_have_shapes_and_dtypes():
    loader = data.Loader(data.Shapes(7, 16), 3)
    batches = collect(loader)
    assert len(loader) == len(batches) == 3
    assert [images.shape for images, _ in batches] == [(3, 3, 16, 16), (3, 3, 16, 16), (1, 3, 16, 16)]
    assert all(i.dtype == np.float32 and m.dtype == np.int64 and m.shape == (len(i), 16, 16) for i, m in batches)
    assert len(collect(data.Loader(data.Shapes(7, 16), 3, drop_last=True))) == 2


def test_an_epoch_contains_every_item_once_or_repeat_times():
    masks = np.arange(5)
    items = data.Arrays([np.zeros((1, 1))] * 5, [np.full((1, 1), k) for k in masks], "abcde")
    for repeat in (1, 3):
        seen = np.concatenate([m.ravel() for _, m in data.Loader(items, 2, repeat=repeat)])
        assert sorted(seen) == sorted(masks.tolist() * repeat)
    in_order = np.concatenate([m.ravel() for _, m in data.Loader(items, 2, shuffle=False)])
    assert in_order.tolist() == [0, 1, 2, 3, 4]
    full = [m.ravel() for _, m in data.Loader(items, 2, steps=5)]
    assert [len(m) for m in full] == [2] * 5
    assert sorted(np.concatenate(full)[:5]) == sorted(np.concatenate(full)[5:]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("prefetch", [0, 1, 5])
def test_batches_do_not_depend_on_the_timing_of_the_thread(prefetch):
    crop = transforms.augmentation(8)
    expected = collect(data.Loader(data.Shapes(9, 16), 2, crop, seed=4, prefetch=0))
    assert equal(collect(data.Loader(Slow(9, 16), 2, crop, seed=4, prefetch=prefetch)), expected)
    assert not equal(collect(data.Loader(data.Shapes(9, 16), 2, crop, seed=5)), expected)


def test_epochs_differ_and_can_be_had_again():
    loader = data.Loader(data.nuclei(), 2, transforms.augmentation(16), repeat=4)
    first, second = collect(loader), collect(loader)
    assert not equal(first, second)
    assert not np.array_equal(first[0][0][0], first[0][0][1]), "two crops of one image are the same"
    loader.set_epoch(0)
    assert equal(collect(loader), first) and equal(collect(loader), second)


def test_the_order_is_new_in_every_epoch_and_for_every_seed():
    items = data.Arrays([np.zeros((1, 1))] * 20, [np.full((1, 1), k) for k in range(20)], [str(k) for k in range(20)])
    orders = set()
    for seed in (0, 1):
        loader = data.Loader(items, 4, seed=seed)
        orders |= {tuple(np.concatenate([m.ravel() for _, m in loader])) for _ in range(2)}
        laps = np.concatenate([m.ravel() for _, m in data.Loader(items, 4, seed=seed, steps=10)])
        assert laps[:20].tolist() != laps[20:].tolist()
    assert len(orders) == 4


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_loader_resumes_in_the_middle_of_an_epoch(at):
    def make():
        return data.Loader(data.Shapes(8, 16), 2, transforms.augmentation(8), seed=1)

    through = make()
    expected = collect(through) + collect(through)
    stopped, got = make(), []
    for images, masks in stopped:
        got.append((images.copy(), masks.copy()))
        if len(got) == at:
            state = dict(stopped.state)
            break
    resumed = make()
    resumed.load_state(state)
    while len(got) < len(expected):
        got += collect(resumed)
    assert equal(got, expected)


@pytest.mark.parametrize("leave", ["break", "error", "forget"])
def test_leaving_early_ends_the_thread(leave):
    assert not loader_threads()
    batches = iter(data.Loader(Slow(100, 16), 1))
    next(batches)
    assert len(loader_threads()) == 1
    if leave == "error":
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt)
    elif leave == "break":
        batches.close()
    else:
        del batches
    assert not loader_threads()


class Broken(data.Shapes):
    def __getitem__(self, k):
        if k == 3:
            raise OSError("cut off")
        return super().__getitem__(k)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_in_the_thread_comes_out_with_the_name_of_the_item(prefetch):
    with pytest.raises(data.DataError, match="scene 3: OSError: cut off") as caught:
        collect(data.Loader(Broken(5, 16), 2, prefetch=prefetch))
    assert isinstance(caught.value.__cause__, OSError)
    assert not loader_threads()


def test_items_of_different_size_are_named():
    items = data.Arrays([np.zeros((4, 4)), np.zeros((5, 4))], [np.zeros((4, 4), int), np.zeros((5, 4), int)], "ab", names=["left", "right"])
    with pytest.raises(data.DataError, match=r"(?s)different shapes.*left.*RandomCrop"):
        collect(data.Loader(items, 2, shuffle=False))
    assert len(collect(data.Loader(items, 2, transforms.RandomCrop(4)))) == 1


def test_wrong_options_are_errors():
    scenes = data.Shapes(3, 16)
    for options in ({"batch_size": 0}, {"repeat": 0}, {"prefetch": -1}, {"seed": -1}, {"steps": 0}):
        with pytest.raises(ValueError, match="Loader"):
            data.Loader(scenes, **{"batch_size": 2} | options)
    with pytest.raises(data.DataError, match=r"3 items are fewer than a batch of 4.*drop_last"):
        data.Loader(scenes, 4, drop_last=True)
