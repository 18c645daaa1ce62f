"""Every network: its gradient end to end, compared with differences; and that it can memorise two images."""

import numpy as np
import pytest

from minisegnet import functional as F
from minisegnet import nn, optim, random
from minisegnet.models import create, list_models
from minisegnet.tensor import Tensor, no_grad

# The shallowest backbone that each network takes; smaller bottlenecks for networks that need large images otherwise.
OPTIONS = {
    "deconvnet": {"bottleneck": 2},
    "deeplabv2": {"backbone": "resnet50"},
    "deeplabv3": {"backbone": "resnet18", "aux": True},
    "fcn_resnet": {"backbone": "resnet18", "aux": True},
    "pspnet": {"backbone": "resnet18", "aux": True},
    "deeplabv3plus": {"backbone": "resnet18"},
    "pspnet_smp": {"backbone": "resnet18"},
    "unet_resnet": {"backbone": "resnet18"},
}
NAMES = sorted(list_models())


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    return model


def outputs(model, x):
    y = model(x)
    return y if isinstance(y, tuple) else (y,)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_along_a_random_direction(name):
    """In float64, for all parameters and the image at once: ⟨∇L, v⟩ = (L(+εv) − L(−εv)) / 2ε, with a random gradient of the output.

    A difference across the kink of a ReLU or a pool is slightly wrong. Therefore ε is small, and two values are tried.
    """
    random.manual_seed(0)
    rng = np.random.default_rng(0)
    model = without_dropout(create(name, 2, 3, width=1 / 32, **OPTIONS.get(name, {})).double())
    for parameter in model.parameters():
        if parameter.requires_grad:  # score layers that start at zero would hide the gradients of all layers before them
            parameter.array += 0.1 * rng.normal(size=parameter.shape) * (parameter.array.std() or 1)
    size = getattr(model, "size_for", lambda n: n)(33)
    x = Tensor(rng.normal(size=(2, 2, size, size)), requires_grad=True)
    variables = [x, *(p for p in model.parameters() if p.requires_grad)]
    cotangents = [Tensor(rng.normal(size=y.shape)) for y in outputs(model, x)]

    def loss():
        return sum((y * g).sum() for y, g in zip(outputs(model, x), cotangents, strict=True))

    loss().backward()
    directions = [rng.normal(size=v.shape) * (np.abs(v.array).mean() + 0.01) for v in variables]
    product = sum(float((v.grad.array * d).sum()) for v, d in zip(variables, directions, strict=True))
    origin = [v.array for v in variables]
    errors: list[float] = []
    for step in (1e-6, 1e-7, 1e-8):
        found = []
        for sign in (1, -1):
            for v, start, d in zip(variables, origin, directions, strict=True):
                v.array = start + sign * step * d
            with no_grad():
                found.append(loss().item())
        errors.append(abs((found[0] - found[1]) / (2 * step) - product) / abs(product))
        if errors[-1] < 1e-5:
            return
    raise AssertionError(f"relative errors {errors}")


# --- memorising two images --------------------------------------------------------------------

WIDTHS = {"article1": 1 / 32, "article2": 1 / 16, "pspnet_smp": 1 / 4, "unet_resnet": 1 / 8, "deeplabv3plus": 1 / 8}


def two_images(size):
    """Two images of noise: the left half of the first and the upper half of the second are a little brighter."""
    rng = np.random.default_rng(0)
    masks = np.zeros((2, size, size), np.int64)
    masks[0, :, : size // 2] = 1
    masks[1, : size // 2] = 1
    images = rng.normal(size=(2, 1, size, size)) + masks[:, None]
    return images.astype(np.float32), masks


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_learns_two_images_by_heart(name):
    """Within 400 steps of Adam the IoU exceeds 0.95, in evaluation mode, so that running statistics are tested too."""
    random.manual_seed(0)
    options = {key: value for key, value in OPTIONS.get(name, {}).items() if key != "aux"}
    if name == "deconvnet":  # 2 × 2 vectors per image: with one each, batch statistics would be computed from two values
        options["bottleneck"] = 1
    model = without_dropout(create(name, 1, 2, width=WIDTHS.get(name, 1 / 16), **options))
    size = getattr(model, "size_for", lambda n: n)(64)
    images, masks = two_images(size)
    optimizer = optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    best = 0.0
    for step in range(1, 401):
        model.train()
        y = model(Tensor(images))
        margin = (size - y.shape[2]) // 2  # the border that a network without padding cuts off
        truth = masks[:, margin : size - margin, margin : size - margin]
        optimizer.zero_grad()
        F.cross_entropy(y, truth).backward()
        optimizer.step()
        if step % 20 == 0:
            model.eval()
            with no_grad():
                labels = F.label(model(Tensor(images))).array
            best = max(best, ((labels == 1) & (truth == 1)).sum() / ((labels == 1) | (truth == 1)).sum())
            if best > 0.95:
                return
    raise AssertionError(f"IoU {best:.3f} after {step} steps")
