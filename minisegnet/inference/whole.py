"""From an image to its labels, all pixels at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import functional as F
from .. import models
from ..data import prepared, to_channels
from ..data.preparation import full_scale
from ..exchange import checkpoint
from ..nn import Module
from ..nn.modes import evaluating
from ..tensor import Tensor, enable_grad, no_grad

MISSING = 255  # the label of pixels where nothing was measured


def load_model(path: str | os.PathLike, model: Module | None = None) -> Module:
    """Load the network of a checkpoint, ready to use.

    Parameters
    ----------
    path : path
        A checkpoint, or the folder of a run, of which the best checkpoint is taken.
    model : Module, optional
        The network to load the weights into, if `models.create` cannot make it.

    Returns
    -------
    Module
        In evaluation mode. Its attribute `about` (`checkpoint.About`) has the classes, palette, step and metrics.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is damaged, is not a checkpoint, or does not fit the network.
    """
    found = checkpoint.read(path)
    if model is None:
        if found.about.recipe is None:
            raise ValueError(
                f"{found.path}: the network of this checkpoint was not made by models.create; pass it: load_model(path, model=your_model)"
            )
        try:
            model = models.create(**found.about.recipe)
        except (TypeError, ValueError) as error:  # written by a version with other options or networks
            raise ValueError(f"{found.path}: models.create cannot make the network that it describes ({error})") from error
    try:
        model.load_state_dict(found.weights)
    except RuntimeError as error:
        raise ValueError(f"{found.path}: {error}") from error
    model.about = found.about
    return model.eval()


def scores(model: Module, images: Any) -> Tensor:
    """The class scores (logits) of images of any size; two for a network with one logit (see `functional.class_scores`).

    If the network takes only some sizes, or its output is smaller than its input, the images are padded by
    reflection and the scores of the padding are cut off.

    Parameters
    ----------
    model : Module
        Its method ``size_for(size)``, if it has one, returns the smallest input size whose output has at least
        `size` rows; images are padded to it. The network is used in evaluation mode and then returned to its own mode.
    images : Tensor or array, (N, C, H, W)
        Standardised, as in training.

    Returns
    -------
    Tensor, (N, K, H, W)
        Without a graph.

    Raises
    ------
    ValueError
        If the images are not (N, C, H, W), or the network's output is too small to cover them.
    """
    with no_grad():
        return run(model, images).scores


@dataclass(frozen=True)
class Pass:
    """The input and the output of one pass through a network.

    Attributes
    ----------
    input : Tensor, (N, C, H', W')
        The images, padded if the network needs it.
    offset : (int, int)
        Row and column of `input` where the images begin.
    scores : Tensor, (N, K, H, W)
        Cut to the size of the images.
    one_logit : bool
        Whether the network has one output z per pixel, of which the two scores were made: ``z = 2 · scores[:, 1]``.
    """

    input: Tensor
    offset: tuple[int, int]
    scores: Tensor
    one_logit: bool = False


def run(model: Module, images: Any, record: bool = False) -> Pass:
    """Compute what `scores` does. With `record`, the graph is kept, also inside a caller's `no_grad`, and gradients flow back to `Pass.input`."""
    images = images.array if isinstance(images, Tensor) else np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"images have the shape (N, C, H, W); got {tuple(images.shape)}")
    like = next(iter(model.parameters()), None)
    dtype, device = (images.dtype, "cpu") if like is None else (like.dtype, like.device)

    size_for = getattr(model, "size_for", lambda size: size)
    size = images.shape[2:]
    padded = [size_for(n) for n in size]
    before = [(p - n) // 2 for p, n in zip(padded, size, strict=True)]
    if padded != list(size):
        around = [(b, p - n - b) for b, p, n in zip(before, padded, size, strict=True)]
        images = np.pad(images, [(0, 0), (0, 0), *around], mode="reflect")
    layout = "channels_last" if device == "cuda" else None  # what the fast kernels need
    given = Tensor(Tensor(images.astype(dtype, copy=False)).to(device, memory_format=layout).array, requires_grad=record)
    with evaluating(model), enable_grad() if record else nullcontext():
        result = model(given)
        # A network without padding loses equally many pixels on opposite sides.
        start = [b - (p - out) // 2 for b, p, out in zip(before, padded, result.shape[2:], strict=True)]
        if any(s < 0 or s + n > out for s, n, out in zip(start, size, result.shape[2:], strict=True)):
            raise ValueError(
                f"the network's output for {padded[0]} × {padded[1]} pixels is {' × '.join(map(str, result.shape[2:]))}: "
                f"too small to cover the image of {size[0]} × {size[1]} pixel by pixel"
            )
        if result.shape[2:] != tuple(size):
            result = result[:, :, start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
        return Pass(given, (before[0], before[1]), F.class_scores(result), one_logit=result.shape[1] == 1)


def predict(model: Module, images: Any) -> np.ndarray:
    """The labels of images of any size.

    Parameters
    ----------
    model : Module
    images : Tensor or array, (N, C, H, W) or (C, H, W)
        Standardised, as in training. `segment_image` takes unprepared images.

    Returns
    -------
    array, int64, (N, H, W) or (H, W)

    Notes
    -----
    Equation ``label.argmax``.
    """
    single = len(images.shape) == 3
    labels = F.label(scores(model, images[None] if single else images)).cpu().array
    return labels[0] if single else labels


def segment_image(model: Module, image: np.ndarray, confidence: bool = False) -> Any:
    """The label map of an unprepared image, as it comes from a file or a camera.

    Parameters
    ----------
    model : Module
        From `load_model`, or just trained.
    image : array, (H, W) or (H, W, C)
        Integers, floats or bool, of any size: grey, colour, as many bands as the network takes, or grey or colour with alpha, which is
        dropped. The image is converted to the channels of the network and standardised. NaN means that nothing was measured.
    confidence : bool
        Whether to return the probability of the chosen label as well.

    Returns
    -------
    labels : array, int64, (H, W)
        255 where nothing was measured.
    confidence : array, float32, (H, W)
        Only with ``confidence=True``.

    Raises
    ------
    ValueError
        If the array is not an image, is empty, contains infinity, or contains nothing but NaN.
    """
    image = np.asarray(image)
    found = segment_prepared(model, prepare(image, getattr(model, "in_channels", None), way_of(model)), confidence)
    if image.dtype.kind == "f" and (missing := np.isnan(image if image.ndim == 2 else image.max(axis=2))).any():
        (found[0] if confidence else found)[missing] = MISSING
    return found


def segment_prepared(model: Module, image: np.ndarray, confidence: bool = False, scorer: Callable[[Module, Any], Tensor] = scores) -> Any:
    """As `segment_image`, for an image (C, H, W) from `prepare`. `scorer` computes the scores, for example `augmented_scores`."""
    found = scorer(model, image[None])
    labels = F.label(found).cpu().array[0]
    if not confidence:
        return labels
    probabilities = F.softmax(found, dim=1).cpu().array[0]
    return labels, probabilities.max(axis=0).astype(np.float32)


def way_of(model: Module) -> str:
    """How a network wants its images to be prepared: as its checkpoint says, else "per image"."""
    return getattr(getattr(model, "about", None), "standardise", "per image")


def prepare(image: np.ndarray, channels: int | None = None, way: str = "per image") -> np.ndarray:
    """An image as the network takes it: standardised, float32, (C, H, W).

    Parameters
    ----------
    image : array, (H, W) or (H, W, C)
        As in `segment_image`.
    channels : int, optional
        The channels of the network; by default those of the image, without alpha.
    way : str
        One of `data.preparation.WAYS`.

    Raises
    ------
    ValueError
        If the array is not an image, is empty, contains infinity, or contains nothing but NaN.
    """
    image = np.asarray(image)
    check_pixels(image, channels)
    separate = planes(image, channels)
    return prepared(separate if way == "per image" else separate / np.float32(full_scale(image.dtype)), way)


def check_pixels(image: np.ndarray, channels: int | None = None) -> None:
    """Raise `ValueError` unless an array has the dtype and shape of an image: (H, W), or (H, W, C) with 1 to 4 channels or those of the network."""
    if image.dtype.kind not in "buif":
        raise ValueError(f"an image contains numbers, not {image.dtype}")
    if image.ndim not in (2, 3) or not image.size or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4, channels)):
        hint = "; that looks like (C, H, W): np.moveaxis(image, 0, 2)" if image.ndim == 3 and image.shape[0] in (1, 3, 4, channels) else ""
        raise ValueError(f"an image has the shape (H, W), (H, W, 3) or (H, W, 4), and is not empty; got {image.shape}{hint}")


def planes(pixels: np.ndarray, channels: int | None = None) -> np.ndarray:
    """Pixels (H, W) or (H, W, C) as (C, H, W), with their own values.

    A network that takes as many channels as there are gets all of them. Otherwise a second or fourth one is alpha and is dropped. The
    result is float32, or float64 where an offset could cost the digits of float32.
    """
    separate = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    if len(separate) in (2, 4) and len(separate) != channels:
        separate = separate[: len(separate) - 1]
    separate = separate.astype(np.result_type(separate.dtype, np.float32))
    return separate if channels is None else to_channels(separate, channels)
