"""A U-Net trained by the GPU programs, on the CPU: emulated and simulated, beside NumPy's programs."""

import numpy as np
import pytest

import minisegnet as ms
from minisegnet_kernels import backends

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")


def losses(backend, size, batch, steps, dtype="float64", memory_format=None):
    """The losses of a U-Net with 4 channels at full resolution, and its weights at the end."""
    ms.manual_seed(0)
    model = ms.models.create("unet", in_channels=1, num_classes=2, width=1 / 16).to(dtype)
    optimizer = ms.optim.Adam(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(3)
    found = []
    with ms.backend.use(backend):
        for _ in range(steps):
            images = ms.tensor(rng.normal(size=(batch, 1, size, size)).astype(dtype))
            if memory_format is not None:
                images = images.to(memory_format=memory_format)
            labels = rng.integers(0, 2, (batch, size, size))
            loss = ms.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
    return np.array(found), np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])


def test_emulated_training_follows_numpys():
    """Three steps at 32², in float64 to 1e-9: Adam's first steps are the signs of the gradients, which rounding must not change."""
    (ours, weights), (expected, expected_weights) = (losses(b, 32, 2, 3) for b in ("cuda", "numpy"))
    np.testing.assert_allclose(ours, expected, rtol=1e-9)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-6)


def test_emulated_training_in_float32_stays_near_it():
    (ours, _), (expected, _) = losses("cuda", 32, 2, 3, "float32"), losses("numpy", 32, 2, 3)
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(ours, expected, rtol=5e-3)


def test_channels_last_gives_the_same_and_no_layer_rearranges_it():
    """Every image between the layers lies as the first one does."""
    ms.manual_seed(0)
    model = ms.models.create("unet", in_channels=2, num_classes=3, width=1 / 16)
    x = ms.tensor(np.random.default_rng(0).normal(size=(1, 2, 32, 32)).astype(np.float32))
    seen = []
    for module in model.modules():
        module.register_forward_hook(lambda module, inputs, output: seen.append((type(module).__name__, output)))
    with ms.backend.use("cuda"):
        expected = model(x)
        seen.clear()
        actual = model(x.to(memory_format="channels_last"))
    np.testing.assert_allclose(actual.detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    images = [(name, y) for name, y in seen if y.ndim == 4 and max(y.shape[2:]) > 1]
    assert len(images) > 20
    assert [name for name, y in images if not y.is_contiguous(memory_format="channels_last")] == []


@pytest.mark.slow
def test_simulated_training_follows_numpys():
    """One step at 16². It takes minutes, because the simulator runs a thread of the operating system for each CUDA thread."""
    (ours, weights), (expected, expected_weights) = (losses(b, 16, 2, 1) for b in ("numba_cuda", "numpy"))
    np.testing.assert_allclose(ours, expected, rtol=1e-9)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-6)
