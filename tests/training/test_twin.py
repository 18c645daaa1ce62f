"""A U-Net and its PyTorch twin, from the same weights over the same batches."""

from pathlib import Path

import numpy as np
import pytest

from minisegnet import cli, data, models, optim
from minisegnet import functional as F
from minisegnet.inference import load_model
from minisegnet.metrics import ConfusionMatrix
from minisegnet.tensor import Tensor
from minisegnet.training import evaluate

torch = pytest.importorskip("torch")
NUCLEI = Path(__file__).parents[3] / "shared" / "data" / "nuclei"
WIDTH, STEPS = 0.25, 20


class Race:
    """Both networks, each with Adam, trained on the same arrays."""

    def __init__(self, dtype, width=WIDTH):
        from minisegnet.bench.twin import UNet
        from minisegnet.random import manual_seed

        manual_seed(0)
        torch.manual_seed(0)
        self.twin = UNet(1, 2, width).to(getattr(torch, dtype))
        self.model = models.create("unet", in_channels=1, num_classes=2, width=width).to(dtype)
        self.model.load_state_dict({k: Tensor(v.numpy().copy()) for k, v in self.twin.state_dict().items()})
        self.ours, self.theirs = optim.Adam(self.model.parameters(), lr=1e-3), torch.optim.Adam(self.twin.parameters(), lr=1e-3)
        self.dtype = dtype

    def step(self, images, masks):
        images = images.astype(self.dtype)
        loss = F.cross_entropy(self.model(Tensor(images)), masks)
        self.ours.zero_grad()
        loss.backward()
        self.ours.step()
        other = torch.nn.functional.cross_entropy(self.twin(torch.from_numpy(images)), torch.from_numpy(masks))
        self.theirs.zero_grad()
        other.backward()
        self.theirs.step()
        return loss.item(), other.item()


def losses(dtype):
    race = Race(dtype)
    loader = data.Loader(data.nuclei("train"), 4, data.augmentation(64), seed=0, steps=STEPS)
    return np.array([race.step(*batch) for batch in loader])


def test_in_float64_the_losses_of_20_steps_agree():
    ours, theirs = losses("float64").T
    assert ours[-1] < ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_in_float32_the_losses_stay_together():
    ours, theirs = losses("float32").T
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
    np.testing.assert_allclose(ours[-1], theirs[-1], rtol=5e-3)


SEEDS, FIELD_STEPS = (0, 1, 2, 3), 300
COMMAND = f"train --data {NUCLEI} --model unet --width {WIDTH} --batch-size 8 --crop 128 --schedule poly --steps {FIELD_STEPS} --eval-every 300 --quiet"


def fields(seed):
    """The held-out fields, and the batches that the command trains on with this seed."""
    if not NUCLEI.exists():
        pytest.skip(f"no fields at {NUCLEI}")
    train, held_out = data.split(data.Folder(NUCLEI), 0.2, seed)
    return held_out, data.Loader(train, 8, data.augmentation(128), seed=seed, steps=FIELD_STEPS)


def falling(optimizer):
    return torch.optim.lr_scheduler.PolynomialLR(optimizer, FIELD_STEPS, power=0.9)


def twins_iou(twin, held_out):
    twin.eval()
    confusion = ConfusionMatrix(2)
    with torch.no_grad():
        for image, mask in (held_out[k] for k in range(len(held_out))):
            confusion.update(mask, twin(torch.from_numpy(image[None])).argmax(1).numpy()[0])
    return confusion.iou[1]


@pytest.mark.slow
def test_as_good_on_real_fields_as_the_twin():
    """After 300 steps from the same weights, the pooled IoU of the nuclei on held-out fields is that of the twin.

    The learning rate falls to zero. At a constant 1e-3 the IoU of a network changes by up to 0.03 from one step to the next,
    so two networks that differ only by rounding would be compared at different points of this swing.
    """
    held_out, batches = fields(0)
    race = Race("float32")
    schedules = optim.PolynomialLR(race.ours, FIELD_STEPS, power=0.9), falling(race.theirs)
    for batch in batches:
        race.step(*batch)
        for schedule in schedules:
            schedule.step()
    ours, theirs = evaluate(race.model, held_out).iou[1], twins_iou(race.twin, held_out)
    print(f"IoU: ours {ours:.4f}, the twin's {theirs:.4f}")
    assert abs(ours - theirs) <= 0.01


@pytest.mark.slow
def test_the_command_is_as_good_as_the_twin_over_the_seeds(tmp_path):
    """``minisegnet train`` reaches the mean IoU over several seeds of a twin with PyTorch's own initial weights.

    A seed determines the held-out fields, the batches and the initial weights; the result of a single seed is mostly chance.
    """
    pairs = np.array([(commands_iou(seed, tmp_path / str(seed)), trained_twins_iou(seed)) for seed in SEEDS])
    print(f"IoU of each seed (ours, the twin's): {pairs.round(4).tolist()}, means {pairs.mean(0).round(4).tolist()}")
    assert abs(np.subtract(*pairs.mean(0))) <= 0.01


def commands_iou(seed, out):
    assert cli.main([*COMMAND.split(), "--seed", str(seed), "--out", str(out)]) == 0
    return evaluate(load_model(out / "last.safetensors"), fields(seed)[0]).iou[1]


def trained_twins_iou(seed):
    from minisegnet.bench.twin import UNet

    held_out, batches = fields(seed)
    torch.manual_seed(seed)
    twin = UNet(1, 2, WIDTH)
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3)
    schedule = falling(optimizer)
    for images, masks in batches:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(twin(torch.from_numpy(images)), torch.from_numpy(masks)).backward()
        optimizer.step()
        schedule.step()
    return twins_iou(twin, held_out)
