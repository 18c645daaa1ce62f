"""`training.fit` and ``minisegnet train --device cuda`` on the null GPU: channels last, captured as a graph, figures read when they are shown."""

import numpy as np
import pytest
from PIL import Image
from support.training import read_log, squares

import minisegnet as ms
from minisegnet import nn, training
from minisegnet.cli import main
from minisegnet.training import CaptureError
from minisegnet.training import gpu as steps_on_gpu


def network(dropout=0.0):
    ms.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(8, 2, 3, padding=1)]
    return nn.Sequential(*layers)


def fit(device="cuda", steps=6, dropout=0.0, validation=True, **options):
    model = network(dropout).to(device)
    options = {"batch_size": 2, "crop": 16, "progress": False, "eval_every": 3, "learning_rate": 1e-2, **options}
    history = training.fit(model, squares(3, 0), squares(2, 1) if validation else None, steps=steps, **options)
    return history, {name: value.cpu().numpy() for name, value in model.state_dict().items()}


OPTIONS = {"plain": {}, "dropout": {"dropout": 0.5}, "clipping": {"clip_norm": 0.5, "optimizer": "sgd", "ema": 0.9, "schedule": "cosine"}}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_captured_run_has_the_bits_of_the_ordinary_one_and_the_values_of_numpy(gpu, options, monkeypatch):
    history, weights = fit(**options)
    replays = [call for call in gpu.log if call.kind == "replay"]
    assert len(replays) == 5, "every step but the first one"
    with ms.backend.use("numpy"):
        expected, _ = fit("cpu", **options)
    np.testing.assert_allclose(history.losses, expected.losses, rtol=1e-4)
    names = [name for name in ("grad_norm", "val_loss") if name in expected.rows[-1]]
    for name in names:
        np.testing.assert_allclose(history.rows[-1][name], expected.rows[-1][name], rtol=1e-3)

    def refused(*arguments, **options):
        raise CaptureError("not today")

    gpu.log.clear()
    monkeypatch.setattr(steps_on_gpu, "CapturedStep", refused)
    ordinary, ordinary_weights = fit(**options)
    assert not [call for call in gpu.log if call.kind == "replay"]
    assert history.losses == ordinary.losses and [r.keys() for r in history.rows] == [r.keys() for r in ordinary.rows]
    for name, value in weights.items():
        np.testing.assert_array_equal(value, ordinary_weights[name], err_msg=name)


def test_the_host_waits_only_to_read_what_is_shown(gpu):
    """Six steps without a bar and with one evaluation: the losses of six steps are read at once."""
    fit(steps=6, eval_every=6, validation=False)
    replay = [k for k, call in enumerate(gpu.log) if call.kind == "replay"]
    between = gpu.log[replay[0] : replay[-1]]
    assert len(replay) == 5 and not [call for call in between if call.blocking]
    assert len([call for call in gpu.log[replay[-1] :] if call.name == "device to host" and call.bytes == 6 * 8]) == 1


def test_a_run_is_in_channels_last_from_its_first_convolution(gpu):
    fit(steps=2, validation=False)
    convolutions = [call for call in gpu.log if call.kind == "launch" and call.name.startswith("conv2d") and call.captured]
    arrays = [
        (call.name, name, tuple(a["stride"])) for call in convolutions for name, a in call.arguments.items() if name in ("x", "y", "g")
    ]
    assert len(arrays) >= 6 and all(stride[1] == 1 for _, _, stride in arrays), arrays


def test_a_step_that_reads_a_number_stays_ordinary_and_says_so(gpu, capsys):
    loss = ms.losses.OhemCrossEntropyLoss(thresh=0.9, min_kept=0)
    history, _ = fit(steps=3, loss=loss, progress=True)
    assert not [call for call in gpu.log if call.kind == "replay"]
    printed = capsys.readouterr()
    assert "kernel by kernel" in printed.out + printed.err and "cannot be captured" in printed.out + printed.err
    with ms.backend.use("numpy"):
        expected, _ = fit("cpu", steps=3, loss=loss)
    np.testing.assert_allclose(history.losses, expected.losses, rtol=1e-4)


def test_several_batches_a_step_are_ordinary_steps(gpu):
    history, _ = fit(steps=2, accumulate=2, batch_size=1, validation=False)
    with ms.backend.use("numpy"):
        expected, _ = fit("cpu", steps=2, accumulate=2, batch_size=1, validation=False)
    np.testing.assert_allclose(history.losses, expected.losses, rtol=1e-5)


def test_a_loss_that_diverges_is_noticed_when_it_is_read(gpu, tmp_path):
    """The loss is checked when it is read: not at its own step, as on a CPU, but before anything is saved."""
    with pytest.raises(training.DivergedError, match=r"loss became nan at step [23]"):
        fit(steps=6, out=tmp_path / "run", optimizer="sgd", learning_rate=1e30, eval_every=3)
    assert not (tmp_path / "run" / "last.safetensors").exists()
    rows = read_log(tmp_path / "run" / "log.csv")
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1)) and rows


def test_the_command_trains_on_the_gpu(gpu, tmp_path, capsys):
    data = squares(6, 0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, (image, mask) in zip(data.names, data, strict=True):
        Image.fromarray((255 * (image[0] > 0)).astype(np.uint8)).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    options = ["--width", "0.02", "--steps", "3", "--crop", "16", "--batch-size", "2", "--device", "cuda", "--out", str(tmp_path / "run")]
    assert main(["train", "--data", str(tmp_path), *options]) == 0, capsys.readouterr().err
    assert len([call for call in gpu.log if call.kind == "replay"]) == 2
    assert len(read_log(tmp_path / "run" / "log.csv")) == 3
