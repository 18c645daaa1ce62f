"""The statistics of a batch from the epilogue of the convolution: right, in a fixed order, and one pass less over memory."""

import copy

import numpy as np
import pytest
from support.ladder import SCHEDULES, arguments, name_of
from support.ladder_trials import PADDED, SIZES, assert_right, statistics
from support.ladder_trials import statistics_served as served

from minisegnet import functional as F
from minisegnet import models, nn, tensor
from minisegnet.nn import containers
from minisegnet_kernels import backends, conv2d, emulator
from minisegnet_kernels.conv2d.ladder import RUNGS, allow_tf32
from minisegnet_kernels.emulator.replay import replay
from minisegnet_kernels.layout import channels_last

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator")
WITH = [rung for rung in RUNGS if rung.with_statistics]
each_rung = pytest.mark.parametrize("rung", WITH, ids=name_of)

# --- a rung -----------------------------------------------------------------------------------------------


def test_the_fast_rungs_of_the_dispatcher_have_an_epilogue_with_statistics():
    assert [(rung.number, rung.name) for rung in WITH] == [(5, "asynchronous"), (7, "tf32_tuned")]


@each_rung
def test_statistics_are_those_of_the_output(rung):
    assert len(served(rung)) >= len(SIZES) - 1
    for sizes in served(rung):
        with emulator.launches() as seen:
            assert_right(rung, sizes)
        assert [launch.kernel.partition("<")[0] for launch in seen] == [
            f"conv2d_forward_statistics__{rung.name}",
            "conv2d_forward_statistics__merge",
            f"conv2d_forward__{rung.name}",
        ]


@each_rung
def test_a_large_mean_leaves_the_variance_its_digits(rung):
    """A mean of 10⁴ has an ulp of 10⁻³, which is how far y is rounded; the difference E[y²] − E[y]² would be off by 10."""
    assert_right(rung, SIZES["several slabs, more outputs than a tile"], rtol=2e-4, shift=1e4)


@each_rung
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_every_order_of_the_threads_gives_the_same_bits_and_a_watched_run_no_report(rung, sizes):
    if sizes not in served(rung):
        pytest.skip("not served")
    bits = set()
    for schedule, seed in SCHEDULES:
        with emulator.options(schedule=schedule, seed=seed, watched=seed == 2):
            bits.add(b"".join(a.tobytes() for a in statistics(rung, sizes)))
    assert len(bits) == 1


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
@each_rung
def test_sanitizers_have_nothing_to_report(rung, sanitizer):
    with emulator.recording() as launches:
        for sizes in served(rung) if sanitizer == "address" else served(rung)[:2]:
            statistics(rung, sizes)
    own = [launch for launch in launches if "statistics__" + rung.name in str(launch)]
    assert own
    assert replay(rung.module.source, own, sanitizer) == ""


# --- which pass is saved ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "dtype", "lay", "epilogue"),
    [
        (16, "float32", channels_last, True),
        (3, "float32", channels_last, False),
        (16, "float64", channels_last, False),
        (16, "float32", np.asarray, False),
    ],
    ids=["served", "three channels", "float64", "rows first"],
)
@pytest.mark.parametrize("tf32", [False, True])
def test_where_the_rung_has_no_epilogue_a_pass_over_the_output_follows(channels, dtype, lay, epilogue, tf32):
    arrays, options = arguments(WITH[0], (2, channels, 6, 7, 36, 3, 3, *PADDED, 1), dtype, lay)
    with backends.use("cuda"), allow_tf32(tf32), emulator.launches() as seen:
        y, mu, nu = conv2d.forward_statistics(*arrays, **options)
    assert ("batch_norm_forward__statistics" in {launch.kernel.partition("<")[0] for launch in seen}) != epilogue
    exact, rtol = y.astype("float64"), 2e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(mu, exact.mean((0, 2, 3)), rtol=rtol, atol=rtol * exact.std())
    np.testing.assert_allclose(nu, exact.var((0, 2, 3)), rtol=rtol)


@pytest.mark.parametrize("tf32", [False, True])
def test_a_convolution_with_its_normalisation_reads_its_output_once(tf32, monkeypatch):
    """Forwards in float32, y is written, read, and written normalised: 12 bytes per value. Separate passes read y twice: 16 bytes."""
    block = models.create("unet", 16, 2, 5 / 8).inc.double_conv[:3]  # 40 channels
    x = tensor(channels_last(np.random.default_rng(0).normal(size=(2, 16, 24, 20)).astype("float32")))
    values = 2 * 24 * 20 * 40

    def moved():
        with backends.use("cuda"), allow_tf32(tf32), emulator.options(watched=True), emulator.launches() as seen:
            block(x)
        return {launch.kernel.partition("<")[0].partition("__")[2]: launch.counters["global_bytes"] for launch in seen}

    together = moved()
    monkeypatch.setattr(containers, "FUSED", {k: run for k, run in containers.FUSED.items() if k[:2] != (nn.Conv2d, nn.BatchNorm2d)})
    apart = moved()
    rung = "tf32_tuned" if tf32 else "asynchronous"
    assert set(together) == {rung, "merge", ""}
    assert set(apart) == {rung, "statistics", "merge", ""}
    assert apart["statistics"] >= 4 * values
    saved = sum(apart.values()) - sum(together.values())
    assert 0.9 * 4 * values < saved, f"{saved / values:.2f} bytes a value"
    assert together[rung] - apart[rung] < 0.25 * values, "16 bytes a slab of 64 or more values and its bias"


# --- in a network -----------------------------------------------------------------------------------------


def trained(block, x, g, steps=2):
    """Outputs, gradients, running statistics after two steps; then the output in evaluation."""
    block.train()
    results = []
    for _ in range(steps):
        x = tensor(x.array, requires_grad=True)
        block.zero_grad()
        y = block(x)
        y.backward(g)
        results += [y.array, x.grad.array, *(p.grad.array for p in block.parameters()), *(b.array.copy() for b in block.buffers())]
    return [*results, block.eval()(x).array]


@pytest.mark.parametrize(("dtype", "tf32"), [("float32", False), ("float32", True), ("float64", False)])
@pytest.mark.parametrize("relu", [False, True])
def test_training_is_the_same_as_one_after_the_other(dtype, tf32, relu, monkeypatch):
    layers = [nn.Conv2d(16, 20, 3, padding=1, stride=2), nn.BatchNorm2d(20, momentum=0.3)] + [nn.ReLU()] * relu
    fused = nn.Sequential(*layers, nn.Conv2d(20, 16, 1), nn.BatchNorm2d(16, affine=False)).to(dtype)
    apart, rng = copy.deepcopy(fused), np.random.default_rng(1)
    x, g = (channels_last(rng.normal(size=s).astype(dtype)) for s in ((2, 16, 9, 10), (2, 16, 5, 5)))
    with backends.use("cuda"), allow_tf32(tf32):
        together = trained(fused, tensor(x), g)
        monkeypatch.setattr(containers, "FUSED", {k: run for k, run in containers.FUSED.items() if k[:2] != (nn.Conv2d, nn.BatchNorm2d)})
        expected = trained(apart, tensor(x), g)
    assert len(together) == len(expected) > 20
    bound = 2**-11 if tf32 else 100 * np.finfo(dtype).eps  # a last bit may decide how a factor is rounded to TF32
    for a, b in zip(together, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=bound, atol=bound * max(1, np.abs(b).max()))


def test_when_statistics_are_taken_from_the_convolution(monkeypatch):
    calls = []
    original = F.conv2d_statistics
    monkeypatch.setattr(F, "conv2d_statistics", lambda *args: (calls.append(args), original(*args))[1])
    block = models.create("unet", 2, 2, 1 / 32).inc
    x = tensor(np.random.default_rng(0).normal(size=(1, 2, 4, 5)).astype("float32"))

    def taken(backend):
        calls.clear()
        with backends.use(backend):
            block(x)
        return len(calls)

    assert (taken("cuda"), taken("numpy"), taken("numba")) == (2, 0, 0)
    norm = block.double_conv[1].eval()
    assert taken("cuda") == 1, "frozen statistics are not those of the batch"
    norm.train()
    handle = block.double_conv[3].register_forward_hook(lambda module, args, output: None)
    assert taken("cuda") == 1, "a hook wants to see what the layer makes"
    handle.remove()
    assert taken("cuda") == 2
    block.eval()
    assert taken("cuda") == 0


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_one_value_a_channel_has_no_statistics(backend):
    x, w = np.ones((1, 2, 3, 3)), np.ones((4, 2, 3, 3))
    with backends.use(backend):
        with pytest.raises(ValueError, match=r"(?s)conv2d\.forward_statistics: too few values per channel.*N · P · Q ≥ 2"):
            conv2d.forward_statistics(x, w)
        assert conv2d.forward_statistics(x, w, padding=1)[0].shape == (1, 4, 3, 3)
