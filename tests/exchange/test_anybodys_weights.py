"""Checkpoints as other people's programs write them, made here by PyTorch, Lightning and torchvision themselves."""

import argparse
import collections
import pathlib

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import models

torch = pytest.importorskip("torch", reason="PyTorch writes these files")


class Block(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = torch.nn.Conv2d(c, c, 3, bias=False)
        self.norm = torch.nn.BatchNorm2d(c)


class Network(torch.nn.Module):
    """A module with all that a module can hold: parameters, buffers that are saved and that are not, modules in modules."""

    def __init__(self):
        super().__init__()
        self.block = Block(2)
        self.scale = torch.nn.Parameter(torch.arange(3.0))
        self.shared = self.block
        self.register_buffer("mean", torch.ones(2))
        self.register_buffer("grid", torch.zeros(5), persistent=False)


def the_tutorial(network, optimizer):
    """PyTorch's tutorial "Saving and loading a general checkpoint"."""
    loss = torch.tensor(0.25, requires_grad=True) * 2
    return {"epoch": 5, "model_state_dict": network.state_dict(), "optimizer_state_dict": optimizer.state_dict(), "loss": loss}


def torchvisions_script(network, optimizer):
    """What references/segmentation/train.py of torchvision saves."""
    args = argparse.Namespace(lr=0.01, device=torch.device("cpu"), output_dir=pathlib.Path("."), weights=None)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
    return {
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "epoch": 1,
        "args": args,
    }


def numbers_of_numpy(network, optimizer):
    best = {"iou": np.float64(0.5), "each": np.arange(3), "seen": {1, 2}, "names": frozenset("ab"), "by": collections.defaultdict(list)}
    return {"net": network.state_dict(), "best": best, (1, 2): 3}


FORMS = [
    the_tutorial,
    torchvisions_script,
    numbers_of_numpy,
    lambda network, optimizer: network,
    lambda network, optimizer: {"model": network, "ema": None, "train_args": {}},
    lambda network, optimizer: {"segmenter": network.state_dict(), "epoch": 1},
]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", FORMS, ids=["tutorial", "torchvision", "numpy", "module", "module in a dict", "one entry"])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_every_form_gives_the_weights(tmp_path, form, zipped):
    network = Network()
    optimizer = torch.optim.Adam(network.parameters())
    (network.scale.sum() + network.block.conv.weight.sum()).backward()
    optimizer.step()
    torch.save(form(network, optimizer), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found, expected = ms.load(tmp_path / "a.pth"), network.state_dict()
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name].array, value.numpy())


def test_the_line_that_extracts_the_weights_of_torchscript(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = torch.nn.Conv2d(1, 2, 3)
    torch.jit.save(torch.jit.script(network), "net.pt")
    with pytest.raises(ValueError, match="TorchScript") as error:
        ms.load("net.pt")
    line = str(error.value).partition("PyTorch: ")[2]
    exec(line, {"torch": torch})
    np.testing.assert_array_equal(ms.load("net_weights.pth")["weight"].array, network.weight.detach().numpy())


def as_torch(model):
    return {name: torch.from_numpy(value.array.copy()) for name, value in model.state_dict().items()}


def test_a_checkpoint_of_lightning(tmp_path):
    """The module of segmentation_models.pytorch's own example: the network in `model`, and `mean` and `std` beside it."""
    lightning = pytest.importorskip("lightning", reason="Lightning writes this file")
    theirs = models.create("unet", 1, 2, width=1 / 16)

    class Inner(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, value in as_torch(theirs).items():
                self.register_buffer(name.replace(".", "__"), value)

        def state_dict(self, *, destination, prefix, keep_vars):
            for name, value in as_torch(theirs).items():
                destination[prefix + name] = value
            return destination

    class CamVidModel(lightning.LightningModule):
        def __init__(self, arch="unet", classes=2, device=None, where=None):
            super().__init__()
            self.save_hyperparameters()
            self.hparams.update(device=torch.device("cpu"), where=pathlib.Path("runs"))
            self.model = Inner()
            self.head = torch.nn.Parameter(torch.zeros(1))
            self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
            self.register_buffer("std", torch.ones(1, 3, 1, 1))

        def training_step(self, batch, index):
            return self.head.sum() + batch.sum()

        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters())
            return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)}

    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path
    )
    trainer.fit(CamVidModel(), torch.zeros(2, 1, 1))
    (path,) = tmp_path.rglob("*.ckpt")
    model = models.create("unet", 1, 2, width=1 / 16)
    report = ms.load_pretrained(model, path)
    assert report.matched == list(theirs.state_dict())
    assert sorted(entry.source for entry in report.of("skipped")) == ["head", "mean", "std"]
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name].array, value.array)
