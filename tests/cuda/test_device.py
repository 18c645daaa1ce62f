"""The host's side of the GPU path, with a stand-in for CuPy (`fake_cupy`): every operation, and a training step.

Nothing goes back to NumPy on the way, and a step makes the host wait for nothing.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import TABLE
from support import fake_cupy
from support.checks import check_parity
from support.targets import Target, few

import minisegnet as ms
from minisegnet.training import CapturedStep
from minisegnet_kernels import backends
from minisegnet_kernels.backends import BackendError

CUDA, NUMPY = Target("cuda", "cuda"), Target("numpy", "cuda")
pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")


@pytest.fixture(scope="module", autouse=True)
def cupy():
    with pytest.MonkeyPatch.context() as patch:
        yield fake_cupy.install(patch)


@pytest.mark.parametrize("operation", TABLE, ids=str)
@pytest.mark.parametrize("target", [CUDA, NUMPY], ids=str)
@few(2)
@given(data=st.data())
def test_every_operation_runs_on_device_arrays(operation, target, data):
    check_parity(operation, target, data.draw(operation.cases), "float32")


def step_of(device, batches=2):
    """Losses and weights of a small U-Net."""
    ms.manual_seed(0)
    model = ms.models.create("unet", in_channels=1, num_classes=3, width=1 / 32).to(device)
    optimizer = ms.optim.Adam(model.parameters(), lr=1e-2)
    rng = np.random.default_rng(1)
    losses = []
    for _ in range(batches):
        images = ms.tensor(rng.normal(size=(2, 1, 32, 32)).astype(np.float32), device=device)
        labels = ms.tensor(rng.integers(0, 3, (2, 32, 32)), device=device)
        fake_cupy.waits.clear()
        loss = ms.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert not fake_cupy.waits, f"the host waits in a step: {dict(fake_cupy.waits)}"
        losses.append(loss.item())
    return losses, {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}


def test_a_training_step_stays_on_the_device_and_makes_nobody_wait():
    losses, weights = step_of("cuda")
    with ms.backend.use("cuda"):  # the same kernels, on NumPy arrays
        expected_losses, expected = step_of("cpu")
    assert losses == expected_losses
    for name in expected:
        np.testing.assert_array_equal(weights[name], expected[name], err_msg=name)


def test_weights_move_between_devices(tmp_path):
    model = ms.models.create("unet", in_channels=1, num_classes=2, width=1 / 32).to("cuda")
    assert {p.device for p in model.parameters()} == {"cuda"}
    ms.save(model.state_dict(), tmp_path / "weights.safetensors")
    other = ms.models.create("unet", in_channels=1, num_classes=2, width=1 / 32)
    other.load_state_dict(ms.load(tmp_path / "weights.safetensors"))
    for name, value in model.cpu().state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].numpy(), value.numpy(), err_msg=name)


def small_network(device):
    ms.manual_seed(0)
    return ms.models.create("unet", in_channels=1, num_classes=3, width=1 / 32).to(device)


def batches(count):
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(2, 1, 16, 16)).astype(np.float32), rng.integers(0, 3, (2, 16, 16))) for _ in range(count)]


@pytest.mark.parametrize("make", [ms.optim.AdamW, lambda p: ms.optim.SGD(p, momentum=0.9)], ids=["adamw", "sgd"])
def test_a_captured_step_trains_as_an_ordinary_one(make):
    """Same losses and weights, while the learning rate changes from step to step."""

    def run(captured):
        model = small_network("cuda")
        optimizer = make(list(model.parameters()))
        made, losses = None, []
        for k, batch in enumerate(batches(3)):
            images, labels = (ms.tensor(a, device="cuda") for a in batch)
            optimizer.param_groups[0]["lr"] = 1e-2 / (k + 1)
            if captured:
                made = made or CapturedStep(model, ms.functional.cross_entropy, optimizer, images, labels)
                loss = made(images, labels)
            else:
                loss = ms.functional.cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses.append(loss.item())
        return losses, [p.detach().cpu().numpy().copy() for p in [*model.parameters(), *model.buffers()]]

    losses, weights = run(captured=True)
    expected_losses, expected = run(captured=False)
    assert losses == expected_losses
    for a, b in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_captured_step_refuses_what_it_cannot_do():
    model = small_network("cuda")
    images, labels = (ms.tensor(a, device="cuda") for a in batches(1)[0])
    optimizer = ms.optim.Adam(model.parameters())
    step = CapturedStep(model, ms.functional.cross_entropy, optimizer, images, labels)
    with pytest.raises(ValueError, match=r"captured for images of shape \(2, 1, 16, 16\) .* got \(3, 1, 16, 16\)"):
        step(ms.tensor(np.zeros((3, 1, 16, 16), np.float32), device="cuda"), labels)
    with pytest.raises(BackendError, match="the batch lies on the cpu"):
        CapturedStep(model, ms.functional.cross_entropy, optimizer, images.cpu(), labels)
