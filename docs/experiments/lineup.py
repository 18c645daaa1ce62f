"""The networks that ``architectures.py`` compares: their costs, and their training on a common budget."""

from __future__ import annotations

import base64
import time
import zlib
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from minisegnet import functional as F
from minisegnet import nn, optim, random
from minisegnet.data import Dataset
from minisegnet.inference import predict
from minisegnet.models import create, summary
from minisegnet.tensor import Tensor
from minisegnet.training import evaluate, fit

WIDTHS = (1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64)


def packed(values: np.ndarray) -> str:
    """A map of labels below 256 as text for a record: its bytes, compressed, in base 64."""
    return base64.b64encode(zlib.compress(values.astype(np.uint8).tobytes(), 9)).decode("ascii")


def unpacked(text: str, size: tuple[int, int]) -> np.ndarray:
    """The inverse of `packed`: uint8, of `size` rows and columns."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(size)


@dataclass(frozen=True)
class Entry:
    """A network in the comparison. If it cannot take crops of the common size, `crop` is the size of its own."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    crop: int | None = None


# In the order of their publication; the article's own two come first.
LINEUP = (
    Entry("article1"),
    Entry("article2"),
    Entry("fcn32s"),
    Entry("fcn16s"),
    Entry("fcn8s"),
    Entry("deconvnet", {"bottleneck": 4}),  # 4 rows are left of 128
    Entry("unet_paper", crop=252),  # 68 × 68 scores of 252 × 252 pixels
    Entry("unet"),
    Entry("segnet"),
    Entry("segnet_basic"),
    Entry("dilated"),
    Entry("deeplabv2"),
    Entry("pspnet"),
    Entry("pspnet_smp"),
    Entry("fcn_resnet"),
    Entry("deeplabv3"),
    Entry("deeplabv3plus"),
    Entry("unet_resnet"),
)


@dataclass
class Outcome:
    """The result of training one network.

    Attributes
    ----------
    name : str
    options : dict
    width : float
    parameters : int
        Trained parameters, at this width.
    multiply_adds : int
        For one crop.
    crop : int
    iou : float
        IoU of the foreground class (the mean, if there are several), pooled over the held-out images.
    loss : float
        Mean of the last tenth of the steps.
    seconds : float
        Processor time of all steps.
    losses : list of float
    labels : str
        Its labels of the sample image, as text: see `packed`.
    """

    name: str
    options: dict[str, Any]
    width: float
    parameters: int
    multiply_adds: int
    crop: int
    iou: float
    loss: float
    seconds: float
    losses: list[float]
    labels: str


def widest(entry: Entry, in_channels: int, num_classes: int, crop: int, budget: float) -> tuple[float, int]:
    """The largest of `WIDTHS` at which a crop takes at most `budget` multiply-adds (the smallest if none does), and that count."""
    found = (0.0, 0)
    for width in WIDTHS:
        with nn.init.skip():
            model = create(entry.name, in_channels, num_classes, width, **entry.options)
        found = width, summary(model, (1, in_channels, crop, crop)).multiply_adds
        if found[1] <= budget:
            break
    return found


def learn(
    entry: Entry,
    train: Dataset,
    held_out: Dataset,
    *,
    steps: int,
    batch_size: int,
    crop: int,
    budget: float,
    learning_rate: float,
    seed: int,
) -> Outcome:
    """Train one network on the common budget and evaluate it on whole images."""
    channels, classes = train.in_channels, len(train.classes)
    width, multiply_adds = widest(entry, channels, classes, entry.crop or crop, budget)
    random.manual_seed(seed)
    model = create(entry.name, channels, classes, width, **entry.options)
    ticks: list[float] = []
    history = fit(
        model,
        train,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule="poly",
        crop=entry.crop or crop,
        seed=seed,
        progress=False,
        callback=lambda row: ticks.append(time.process_time()),
    )
    confusion = evaluate(model, held_out, batch_size)
    foreground = confusion.iou[1:]
    # The first step is left out: it includes compilation, or loading compiled kernels.
    seconds = (ticks[-1] - ticks[0]) * steps / (steps - 1)
    return Outcome(
        entry.name,
        entry.options,
        width,
        sum(p.numel() for p in model.parameters() if p.requires_grad),
        multiply_adds,
        entry.crop or crop,
        float(np.nanmean(foreground)),
        float(np.mean(history.losses[-max(1, steps // 10) :])),
        seconds,
        [round(value, 5) for value in history.losses],
        packed(predict(model, held_out[0][0])),
    )


def step_seconds(entry: Entry, width: float, crop: int = 128, batch_size: int = 2, repeats: int = 3, enough: float = 10.0) -> float:
    """Processor seconds of one training step: forward, loss, backward, Adam.

    The median of `repeats` steps, or of fewer once they have taken `enough` seconds together. A first step, which compiles, is
    not counted.
    """
    size = entry.crop or crop
    random.manual_seed(0)
    model = create(entry.name, 3, 21, width, **entry.options)
    optimizer = optim.Adam([p for p in model.parameters() if p.requires_grad])
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((batch_size, 3, size, size), np.float32))
    times: list[float] = []
    while len(times) <= repeats and sum(times[1:]) < enough:
        start = time.process_time()
        y = model(x)
        optimizer.zero_grad()
        F.cross_entropy(y, rng.integers(0, 21, (batch_size, *y.shape[2:]))).backward()
        optimizer.step()
        times.append(time.process_time() - start)
    return median(times[1:])


@dataclass
class Cost:
    """The cost of a training step of one network.

    Attributes
    ----------
    name : str
    options : dict
    crop : int
    parameters, multiply_adds : int
        At width 1, for 3 input channels and 21 classes; multiply-adds are for one image of `crop` rows and columns.
    width, seconds : float
        The width that was timed, and the processor time of a step at this width: see `step_seconds`.
    """

    name: str
    options: dict[str, Any]
    crop: int
    parameters: int
    multiply_adds: int
    width: float
    seconds: float

    def __str__(self) -> str:
        note = f" ({self.crop}²)" if self.crop != 128 else ""
        return f"| `{self.name}` | {self.parameters:,} | {self.multiply_adds / 1e9:.1f} G{note} | {self.seconds:.2f} |"


def cost(entry: Entry, width: float) -> Cost:
    """Count at width 1 and measure at `width`."""
    size = entry.crop or 128
    with nn.init.skip():
        told = summary(create(entry.name, 3, 21, **entry.options), (1, 3, size, size))
    return Cost(entry.name, entry.options, size, told.parameters, told.multiply_adds, width, step_seconds(entry, width))
