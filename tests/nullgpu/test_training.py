"""Training with the real CuPy on the null GPU: losses and weights, no waits, captured as a graph."""

import numpy as np
import pytest
from support.training import batches, network, steps

import minisegnet as ms
from minisegnet.training import CapturedStep, CaptureError
from minisegnet_kernels.backends import BackendError


def trained(device, name="unet", count=2, layout=None, **options):
    """Losses of some steps, and the weights after them."""
    model = network(name, **options).to(device)
    optimizer = ms.optim.Adam(model.parameters(), lr=1e-2)
    of_scores = lambda scores, labels: ms.functional.cross_entropy(scores if isinstance(scores, ms.Tensor) else scores[0], labels)
    data = batches(count, channels=options.get("channels", 1))
    losses = [loss.item() for loss in steps(model, optimizer, data, device, of_scores, layout)]
    return losses, {name: value.cpu().numpy() for name, value in model.state_dict().items()}


def assert_equal_to_numpy(gpu, name, count, **options):
    """Both sides compute in float32. The first loss agrees up to rounding, later ones less well, because Adam's first steps are signs."""
    losses, weights = trained("cuda", name, count, "channels_last", **options)
    assert all(call.computed for call in gpu.launches())
    with ms.backend.use("numpy"):
        expected, expected_weights = trained("cpu", name, count, **options)
    np.testing.assert_allclose(losses[0], expected[0], rtol=2e-6)
    np.testing.assert_allclose(losses, expected, rtol=3e-3)
    for key, value in weights.items():
        np.testing.assert_allclose(value, expected_weights[key], atol=0.05, err_msg=key)


def test_a_unet_trains_as_in_numpy(gpu):
    assert_equal_to_numpy(gpu, "unet", 3)


@pytest.mark.parametrize("name", ["unet_resnet", "fcn8s"])
def test_a_step_of_a_resnet_and_of_a_vgg_network_is_as_in_numpy(gpu, name):
    assert_equal_to_numpy(gpu, name, 1, channels=3, width=1 / 32)


def test_a_step_makes_the_host_wait_for_nothing(gpu):
    model = network().to("cuda")
    optimizer = ms.optim.Adam(model.parameters())
    data = [tuple(ms.tensor(a, device="cuda") for a in batch) for batch in batches(2)]
    for images, labels in data:
        gpu.log.clear()
        loss = ms.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert not gpu.waits()
    assert all(call.computed for call in gpu.launches())


@pytest.mark.parametrize(
    ("make", "layout"),
    [(ms.optim.AdamW, "channels_last"), (lambda p: ms.optim.SGD(p, momentum=0.9), None)],
    ids=["adamw, channels last", "sgd, rows first"],
)
def test_a_captured_step_trains_as_an_ordinary_one(gpu, make, layout):
    """Same bits in losses and weights, while the learning rate changes from step to step; the layout is the batch's."""

    def run(captured):
        model = network(channels=4, width=1 / 32).to("cuda")
        optimizer = make(list(model.parameters()))
        made, losses = None, []
        for k, (images, labels) in enumerate(batches(3, channels=4, size=16)):
            images, labels = ms.tensor(images, device="cuda"), ms.tensor(labels, device="cuda")
            images = images.to(memory_format=layout) if layout else images
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
        launched = {c.name for c in gpu.log if c.captured} if captured else {c.name for c in gpu.launches()}
        gpu.log.clear()
        return losses, [p.detach().cpu().numpy().copy() for p in [*model.parameters(), *model.buffers()]], launched

    expected_losses, expected, names = run(captured=False)
    losses, weights, captured_names = run(captured=True)
    assert losses == expected_losses
    for a, b in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    ours = lambda names: {n for n in names if n.startswith("conv2d")}
    assert ours(captured_names) == ours(names), "the captured step takes the rungs of the ordinary one"


def _untouched(model, optimizer, attempt, error, match):
    before = [value.array.get() for value in model.state_dict().values()], ms.random.generator().bit_generator.state
    with pytest.raises(error, match=match):
        attempt()
    after = [value.array.get() for value in model.state_dict().values()], ms.random.generator().bit_generator.state
    for a, b in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert before[1] == after[1]
    for kept in optimizer.state.values():
        assert all(not np.any(v.array.get()) if isinstance(v, ms.Tensor) else v == 0 for v in kept.values())
    for _ in steps(model, optimizer, batches(1), "cuda"):  # the stream is free again, and ordinary steps go on
        pass


@pytest.mark.parametrize("layer", [ms.nn.Dropout, ms.nn.Dropout2d])
def test_a_captured_step_draws_the_masks_of_the_ordinary_one(gpu, layer):
    """Three steps, three masks: the losses have the same bits, and the generator stands at the same place afterwards."""

    def run(captured):
        model = ms.nn.Sequential(ms.nn.Conv2d(1, 4, 3, padding=1), layer(0.5), ms.nn.Conv2d(4, 3, 1)).to("cuda")
        with ms.no_grad():
            for p, rng in zip(model.parameters(), map(np.random.default_rng, range(9)), strict=False):
                p.copy_(ms.tensor(rng.normal(size=p.shape).astype(np.float32), device="cuda"))
        optimizer, made, losses = ms.optim.SGD(model.parameters(), lr=0.0), None, []
        ms.manual_seed(3)
        images, labels = (ms.tensor(a, device="cuda") for a in batches(1, size=8)[0])
        for _ in range(3):
            if captured:
                made = made or CapturedStep(model, ms.functional.cross_entropy, optimizer, images, labels)
                losses.append(made(images, labels).item())
            else:
                losses.append(next(steps(model, optimizer, [(images.cpu().numpy(), labels.cpu().numpy())], "cuda")).item())
        return losses, ms.random.generator().random()

    (losses, then), (expected, expected_then) = run(captured=True), run(captured=False)
    assert losses == expected and then == expected_then
    assert len(set(losses)) == 3, "the same weights and batch, and another mask in each step"


@pytest.mark.parametrize(
    ("what", "loss"),
    [
        ("reads a value", lambda scores, labels: ms.functional.cross_entropy(scores, labels) * float(scores.sum().item() > 0)),
        (
            "takes an array from the CPU",
            lambda scores, labels: ms.functional.cross_entropy(scores + ms.tensor(np.ones((3, 1, 1), np.float32)).to("cuda"), labels),
        ),
    ],
)
def test_what_cannot_be_captured_says_so_and_leaves_everything_as_it_was(what, loss):
    model = network().to("cuda")
    optimizer = ms.optim.Adam(model.parameters())
    images, labels = (ms.tensor(a, device="cuda") for a in batches(1)[0])
    attempt = lambda: CapturedStep(model, loss, optimizer, images, labels)
    _untouched(model, optimizer, attempt, CaptureError, "cannot be captured as a CUDA graph: .*captur")


def test_a_captured_step_counts_what_it_changes_and_refuses_batches_that_do_not_fit():
    model = network().to("cuda")
    images, labels = (ms.tensor(a, device="cuda") for a in batches(1, size=16)[0])
    optimizer = ms.optim.Adam(model.parameters())
    step = CapturedStep(model, ms.functional.cross_entropy, optimizer, images, labels)
    changed = [*model.parameters(), *(p.grad for p in model.parameters()), *model.buffers(), step.loss]
    before = [t._memory.changes for t in changed]
    step(images, labels)
    assert all(t._memory.changes > count for t, count in zip(changed, before, strict=True))
    with pytest.raises(ValueError, match=r"captured for images of shape \(2, 1, 16, 16\) .* got \(3, 1, 16, 16\)"):
        step(ms.tensor(np.zeros((3, 1, 16, 16), np.float32), device="cuda"), labels)
    with pytest.raises(BackendError, match="the batch is on the cpu"):
        CapturedStep(model, ms.functional.cross_entropy, optimizer, images.cpu(), labels)


def test_weights_move_between_devices_and_files(tmp_path):
    model = network().to("cuda")
    assert {p.device for p in model.parameters()} == {"cuda"}
    ms.save(model.state_dict(), tmp_path / "weights.safetensors")
    other = network()
    other.load_state_dict(ms.load(tmp_path / "weights.safetensors"))
    for name, value in model.cpu().state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].numpy(), value.numpy(), err_msg=name)


def test_dlpack_shares_memory_with_cupy(gpu):
    import cupy

    array = cupy.arange(6, dtype="float32").reshape(2, 3)
    tensor = ms.from_dlpack(array)
    assert tensor.device == "cuda" and tensor.array.data.ptr == array.data.ptr
    again = cupy.from_dlpack(tensor)
    assert again.data.ptr == array.data.ptr and not [c for c in gpu.log if c.kind == "copy"]
