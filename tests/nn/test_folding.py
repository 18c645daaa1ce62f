"""Folding batch normalisation changes only the time. A layer whose use is not certain stays as it is."""

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import functional as F
from minisegnet import inference, models, nn, random

RNG = np.random.default_rng(0)


def lived_in(model):
    """Set statistics, scales and shifts to values as after some training: none of them is 0 or 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            module.running_mean.array[...] = RNG.normal(0, 1, n)
            module.running_var.array[...] = RNG.uniform(0.3, 3, n)
            if module.affine:
                module.weight.array[...] = RNG.normal(0, 1, n)  # negative ones too
                module.bias.array[...] = RNG.normal(0, 1, n)
    return model


def outputs(model, x):
    with ms.no_grad():
        return model.eval()(ms.Tensor(x)).array


def norms(model):
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


@pytest.mark.parametrize(("name", "left"), [("unet", 0), ("article1", 0), ("article2", 5)])
def test_folded_networks_compute_the_same(name, left):
    """article2 crops between the transposed convolutions and their normalisations: those five stay."""
    random.manual_seed(0)
    model = lived_in(models.create(name, 2, 3, width=1 / 32).double())
    x = RNG.standard_normal((2, 2, 48, 37))
    expected = outputs(model, x)
    before = {k: v.array.copy() for k, v in model.state_dict().items()}
    folded = nn.fold(model)
    assert norms(model) == (18 if name == "unet" else 11) and norms(folded) == left
    np.testing.assert_allclose(outputs(folded, x), expected, rtol=1e-9, atol=1e-9)
    assert not folded.training and all(np.array_equal(v.array, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize(("groups", "bias", "affine"), [(1, False, True), (2, True, True), (2, False, False), (1, True, False)])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_every_kind_of_convolution(kind, groups, bias, affine):
    random.manual_seed(0)
    net = lived_in(
        nn.Sequential(kind(4, 6, (3, 2), stride=2, groups=groups, bias=bias), nn.BatchNorm2d(6, 0.1, affine=affine), nn.ReLU())
    ).double()
    x = RNG.standard_normal((2, 4, 9, 11))
    folded = nn.fold(net, x)
    assert [type(m) for m in folded] == [kind, nn.Identity, nn.ReLU]
    np.testing.assert_allclose(outputs(folded, x), outputs(net, x), rtol=1e-12, atol=1e-12)


def test_the_convolution_meets_its_relu(monkeypatch):
    calls = []
    fused = {pair: lambda *args, pair=pair, run=run: calls.append(pair) or run(*args) for pair, run in nn.containers.FUSED.items()}
    monkeypatch.setattr(nn.containers, "FUSED", fused)
    model = models.create("unet", 1, 2, 1 / 32)
    x = np.zeros((1, 1, 16, 16), np.float32)
    outputs(model, x)
    assert calls == [(nn.BatchNorm2d, nn.ReLU)] * 18
    calls.clear()
    outputs(nn.fold(model), x)
    assert calls == [(nn.Conv2d, nn.ReLU)] * 18


class Block(nn.Module):
    """As in residual networks, the layers are attributes, not a Sequential; `forward` determines their order."""

    def __init__(self, forward):
        self.conv1, self.bn1, self.bn2 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)


@pytest.mark.parametrize(
    ("forward", "left"),
    [
        (lambda m, x: F.relu(m.bn1(m.conv1(x))) + m.bn2(x), 1),  # bn2 does not follow a convolution, so it stays
        (lambda m, x: m.bn1(m.conv1(x)) + m.bn2(x), 1),
        (lambda m, x: (lambda y: m.bn1(y) + y)(m.conv1(x)), 2),  # the convolution's output is used a second time
        (lambda m, x: (lambda y: m.bn1(y) + m.bn2(y))(m.conv1(x)), 2),
        (lambda m, x: m.bn1(m.conv1(m.conv1(x))), 2),  # the convolution is used twice
        (lambda m, x: m.bn1(m.conv1(m.bn1(x))), 2),  # the normalisation is
        (lambda m, x: m.bn1(F.relu(m.conv1(x))), 2),  # something is in between
        (lambda m, x: m.bn2(m.bn1(m.conv1(x))), 1),
    ],
)  # fmt: skip
def test_only_what_is_certain_is_folded(forward, left):
    random.manual_seed(0)
    net = lived_in(Block(forward)).double()
    x = RNG.standard_normal((1, 3, 8, 8))
    folded = nn.fold(net)
    assert norms(folded) == left
    np.testing.assert_allclose(outputs(folded, x), outputs(net, x), rtol=1e-11, atol=1e-11)


def test_a_normalisation_by_the_batch_stays():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))
    assert norms(nn.fold(net)) == 1


def test_an_output_that_is_returned_beside_the_normalised_one_stays():
    class Two(Block):
        def forward(self, x):
            y = self.conv1(x)
            return {"out": self.bn1(y), "features": y}

    assert norms(nn.fold(Two(None))) == 2


def test_frames_per_second_times_the_requested_frames(monkeypatch):
    calls, clock = [], iter(np.cumsum([0, 1, 0, 1, 0, 1, 0, 3.0]))  # a start and an end for each of four frames
    monkeypatch.setattr("minisegnet.inference.speed.predict", lambda model, images: calls.append(images.shape))
    monkeypatch.setattr("minisegnet.inference.speed.time.perf_counter", lambda: next(clock))
    found = inference.frames_per_second(models.create("unet", 1, 2, 1 / 32), (20, 30), batch=2, warm_up=3, frames=4)
    assert calls == [(2, 1, 20, 30)] * 7
    assert found.median == 0.5 and found.fps == 2 and found.p95 == pytest.approx(0.5 + (1.5 - 0.5) * 0.85)
    assert "2.0 frames/s at 20 × 30" in str(found)
    with pytest.raises(ValueError, match="positive"):
        inference.frames_per_second(models.create("unet", 1, 2, 1 / 32), frames=0)
