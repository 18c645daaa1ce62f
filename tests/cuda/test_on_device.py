"""Networks, training, files and other libraries on a GPU. Every test needs one: ``pytest -m gpu``, or ``tests/on_gpu.py``.

Most are rehearsed in ``tests/nullgpu`` with a GPU that does nothing.
"""

import numpy as np
import pytest
from PIL import Image
from support.targets import need_gpu
from support.training import batches, network, read_log, squares, steps

import minisegnet as ms
from minisegnet import nn, training
from minisegnet.cli import main
from minisegnet.training import CapturedStep, CaptureError
from minisegnet.training import gpu as steps_on_gpu

pytestmark = pytest.mark.gpu
#: Rows and columns of the images of networks that do not take 64.
SIZES = {"deconvnet": 224, "unet_paper": 204}


@pytest.fixture(autouse=True)
def on_a_gpu():
    need_gpu()


@pytest.fixture
def no_tf32():
    with ms.backend.allow_tf32(False):
        yield


def first(scores):
    return scores if isinstance(scores, ms.Tensor) else scores[0]


def cross_entropy(scores, labels):
    return ms.functional.cross_entropy(first(scores), labels)


def a_step(name, device, layout=None):
    """Loss and gradients of one step of a network, in evaluation mode, so that dropout draws nothing."""
    model = network(name, channels=3, width=1 / 16).to(device).eval()
    size = SIZES.get(name, 64)
    images = ms.tensor(batches(1, channels=3, size=size)[0][0], device=device)
    scores = first(model(images.to(memory_format=layout) if layout else images))
    labels = np.random.default_rng(2).integers(0, 3, (2, *scores.shape[2:]))  # the scores of some networks are smaller than the image
    loss = ms.functional.cross_entropy(scores, ms.tensor(labels, device=device))
    loss.backward()
    return loss.item(), {key: p.grad.cpu().numpy() for key, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ms.models.list_models())
def test_every_network_has_the_loss_and_the_gradients_of_numpy(name, no_tf32):
    with ms.backend.use("numpy"):
        expected, expected_gradients = a_step(name, "cpu")
    for layout in (None, "channels_last"):
        loss, gradients = a_step(name, "cuda", layout)
        np.testing.assert_allclose(loss, expected, rtol=1e-4)
        assert gradients.keys() == expected_gradients.keys()
        for key, value in gradients.items():
            scale = np.abs(expected_gradients[key]).max()
            np.testing.assert_allclose(value, expected_gradients[key], atol=2e-3 * scale + 1e-7, err_msg=f"{key}, {layout}")


@pytest.mark.parametrize("name", ["unet", "unet_resnet", "fcn8s"])
@pytest.mark.parametrize("tf32", [False, True])
def test_a_network_trains_as_in_numpy(name, tf32):
    """The losses of three steps. Adam's first steps are signs of gradients, so later losses agree less well."""

    def trained(device, layout=None):
        model = network(name, channels=3).to(device)
        optimizer = ms.optim.Adam(model.parameters(), lr=1e-3)
        return [loss.item() for loss in steps(model, optimizer, batches(3, channels=3, size=64), device, cross_entropy, layout)]

    with ms.backend.use("numpy"):
        expected = trained("cpu")
    with ms.backend.allow_tf32(tf32):
        losses = trained("cuda", "channels_last")
        assert losses == trained("cuda", "channels_last"), "the same bits in every run"
    np.testing.assert_allclose(losses[0], expected[0], rtol=5e-3 if tf32 else 1e-5)
    np.testing.assert_allclose(losses, expected, rtol=5e-2 if tf32 else 5e-3)


def test_a_step_does_not_wait_for_the_device():
    """CUDA refuses to capture a step that waits for the device. A captured step trains like an ordinary one."""
    losses = []
    for captured in (False, True):
        model = network().to("cuda")
        optimizer = ms.optim.Adam(model.parameters(), lr=1e-3)
        data = [tuple(ms.tensor(a, device="cuda") for a in batch) for batch in batches(3, size=64)]
        if captured:
            step = CapturedStep(model, ms.functional.cross_entropy, optimizer, *data[0])
            losses.append([step(*batch).item() for batch in data])
        else:
            arrays = [tuple(a.cpu().numpy() for a in batch) for batch in data]
            losses.append([loss.item() for loss in steps(model, optimizer, arrays, "cuda")])
    assert losses[0] == losses[1]


# --- training runs -----------------------------------------------------------------------------------


def fit(steps=12, **options):
    ms.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(16, 2, 3, padding=1)
    ).to("cuda")
    options = {"batch_size": 4, "crop": 32, "progress": False, "eval_every": 6, "learning_rate": 1e-2, **options}
    history = training.fit(model, squares(8, 0, 32, 9), squares(4, 1, 32, 9), steps=steps, **options)
    return history.losses, {name: value.cpu().numpy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    "options", [{}, {"clip_norm": 0.5, "optimizer": "sgd", "ema": 0.9, "schedule": "cosine"}], ids=["dropout", "clipping"]
)
def test_a_run_replayed_as_a_graph_has_the_bits_of_the_ordinary_one(options, monkeypatch):
    losses, weights = fit(**options)

    def refused(*arguments, **options):
        raise CaptureError("not today")

    monkeypatch.setattr(steps_on_gpu, "CapturedStep", refused)
    ordinary, ordinary_weights = fit(**options)
    assert losses == ordinary and len(set(losses)) == len(losses)
    for name, value in weights.items():
        np.testing.assert_array_equal(value, ordinary_weights[name], err_msg=name)


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(tmp_path):
    whole, weights = fit(out=tmp_path / "whole")
    fit(steps=6, out=tmp_path / "part")
    losses, resumed = fit(steps=12, out=tmp_path / "part", resume=tmp_path / "part")
    assert losses[-6:] == whole[-6:]
    for name, value in weights.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)


def test_the_commands_train_and_evaluate_and_segment(tmp_path, capsys):
    data = squares(8, 0, 32, 9)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for name, (image, mask) in zip(data.names, data, strict=True):
        Image.fromarray((255 * (image[0] > 0.5)).astype(np.uint8)).save(tmp_path / "data" / "images" / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "data" / "masks" / f"{name}.png")
    run, data_folder = str(tmp_path / "run"), str(tmp_path / "data")
    options = ["--width", "0.125", "--steps", "60", "--crop", "32", "--batch-size", "4", "--device", "cuda", "--out", run]
    assert main(["train", "--data", data_folder, *options]) == 0, capsys.readouterr().err
    log = read_log(tmp_path / "run" / "log.csv")
    assert len(log) == 60 and log[-1]["loss"] < 0.5 * log[0]["loss"]
    assert main(["evaluate", run, "--device", "cuda"]) == 0, capsys.readouterr().err
    out = tmp_path / "segmented"
    assert main(["segment", f"{data_folder}/images", "--checkpoint", run, "--out", str(out), "--device", "cuda"]) == 0, (
        capsys.readouterr().err
    )
    assert len(list(out.iterdir())) >= 8


# --- other libraries ---------------------------------------------------------------------------------


def test_dlpack_shares_memory_with_cupy_and_with_pytorch():
    import cupy

    array = cupy.arange(6, dtype="float32").reshape(2, 3)
    tensor = ms.from_dlpack(array)
    assert tensor.device == "cuda" and tensor.array.data.ptr == array.data.ptr
    torch = pytest.importorskip("torch")
    theirs = torch.from_dlpack(tensor)
    assert theirs.is_cuda and theirs.data_ptr() == array.data.ptr
    theirs += 1
    torch.cuda.synchronize()
    np.testing.assert_array_equal(tensor.numpy() if tensor.device == "cpu" else tensor.cpu().numpy(), np.arange(1, 7).reshape(2, 3))
    back = ms.from_dlpack(torch.ones(3, device="cuda"))
    assert back.device == "cuda" and back.cpu().numpy().tolist() == [1, 1, 1]


def test_weights_move_between_devices_and_files(tmp_path):
    model = network().to("cuda")
    ms.save(model.state_dict(), tmp_path / "weights.safetensors")
    other = network()
    other.load_state_dict(ms.load(tmp_path / "weights.safetensors"))
    for name, value in model.cpu().state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].numpy(), value.numpy(), err_msg=name)


def test_memory_that_runs_out_is_an_error_and_the_gpu_goes_on():
    one = ms.tensor(np.ones(1, np.float32), device="cuda")
    with pytest.raises(MemoryError):
        one.expand(1_000_000, 1_000_000) * 2
    assert (one + 1).cpu().numpy().tolist() == [2]
