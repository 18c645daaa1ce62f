"""From an image, taken as a whole, to its labels."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import functional as F
from .. import models
from ..data import standardise, to_channels
from ..exchange import checkpoint
from ..nn import Module
from ..nn.modes import evaluating
from ..tensor import Tensor, no_grad


def load_model(path: str | os.PathLike, model: Module | None = None) -> Module:
    """The network of a checkpoint, ready to use.

    Parameters
    ----------
    path : path
        A checkpoint, or the folder of a run: then its best one.
    model : Module, optional
        The network to load into, for one that `models.create` cannot make.

    Returns
    -------
    Module
        In evaluation mode. Its `about` (`checkpoint.About`) tells classes, palette, step and figures.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, no checkpoint, or does not fit the network.
    """
    found = checkpoint.read(path)
    if model is None:
        if found.about.recipe is None:
            raise ValueError(
                f"{found.path}: the network of this checkpoint was not made by models.create: load_model(path, model=your_model)"
            )
        try:
            model = models.create(**found.about.recipe)
        except (TypeError, ValueError) as error:  # an option or a network that this version does not know
            raise ValueError(f"{found.path}: the network that it describes cannot be made ({error})") from error
    try:
        model.load_state_dict(found.weights)
    except RuntimeError as error:
        raise ValueError(f"{found.path}: {error}") from error
    model.about = found.about
    return model.eval()


def scores(model: Module, images: Any) -> Tensor:
    """The class scores (logits) of images of any size.

    A network that takes only some sizes, or whose output is smaller than its input, gets the images
    with a border of their own reflection; what it says about the border is cut off.

    Parameters
    ----------
    model : Module
        If it has a method ``size_for(size)``, the fewest rows whose output has at least `size`, images are
        enlarged to that. It computes in evaluation mode and is left in the mode in which it was.
    images : Tensor or array, (N, C, H, W)
        Prepared as in training: standardised.

    Returns
    -------
    Tensor, (N, K, H, W)
        Without a history.

    Raises
    ------
    ValueError
        If shapes do not fit, or the network's output is too small to cover the image.
    """
    with no_grad():
        return run(model, images).scores


@dataclass(frozen=True)
class Pass:
    """One pass through a network: what went in and what came out.

    Attributes
    ----------
    input : Tensor, (N, C, H', W')
        The images, with a border where the network wants one.
    offset : (int, int)
        Row and column of `input` where the images begin.
    scores : Tensor, (N, K, H, W)
        Cut to the size of the images.
    """

    input: Tensor
    offset: tuple[int, int]
    scores: Tensor


def run(model: Module, images: Any, record: bool = False) -> Pass:
    """What `scores` does; with `record`, the result remembers how it was computed, from `Pass.input` on."""
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
    given = Tensor(Tensor(images.astype(dtype, copy=False)).to(device).array, requires_grad=record)
    with evaluating(model):
        result = model(given)
    # A network without padding loses as much on one side as on the other.
    start = [b - (p - out) // 2 for b, p, out in zip(before, padded, result.shape[2:], strict=True)]
    if any(s < 0 or s + n > out for s, n, out in zip(start, size, result.shape[2:], strict=True)):
        raise ValueError(
            f"the network's output for {padded[0]} × {padded[1]} pixels is {' × '.join(map(str, result.shape[2:]))}: "
            f"it does not cover the image of {size[0]} × {size[1]}, so it cannot be laid over it pixel by pixel"
        )
    if result.shape[2:] != tuple(size):
        result = result[:, :, start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
    return Pass(given, (before[0], before[1]), result)


def predict(model: Module, images: Any) -> np.ndarray:
    """The labels of images of any size.

    Parameters
    ----------
    model : Module
    images : Tensor or array, (N, C, H, W) or (C, H, W)
        Prepared as in training: standardised. See `segment_image` for images as they come.

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
    """The label map of an image as it comes from a file or a camera.

    Parameters
    ----------
    model : Module
        From `load_model`, or trained just now.
    image : array, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
        uint8, uint16, other integers, float or bool; of any size. Grey, colour, or colour with alpha,
        which is dropped. It is converted to the channels of the network and standardised.
    confidence : bool
        Whether to return the probability of the chosen label too.

    Returns
    -------
    labels : array, int64, (H, W)
    confidence : array, float32, (H, W)
        Only if asked for.

    Raises
    ------
    ValueError
        If it is no image, is empty, or holds NaN or infinity.
    """
    return segment_prepared(model, prepare(image, getattr(model, "in_channels", None)), confidence)


def segment_prepared(model: Module, image: np.ndarray, confidence: bool = False, scorer: Callable[[Module, Any], Tensor] = scores) -> Any:
    """As `segment_image`, for an image (C, H, W) that `prepare` has made; `scorer` may be `augmented_scores`, for example."""
    found = scorer(model, image[None])
    labels = F.label(found).cpu().array[0]
    if not confidence:
        return labels
    probabilities = F.softmax(found, dim=1).cpu().array[0]
    return labels, probabilities.max(axis=0).astype(np.float32)


def prepare(image: np.ndarray, channels: int | None = None) -> np.ndarray:
    """An image as it comes, (H, W) or (H, W, 1 to 4), as the network wants it: float32 (C, H, W), standardised."""
    image = np.asarray(image)
    if image.dtype.kind not in "buif":
        raise ValueError(f"an image holds numbers, not {image.dtype}")
    if image.ndim not in (2, 3) or not image.size or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4)):
        hint = "; that looks like (C, H, W): np.moveaxis(image, 0, 2)" if image.ndim == 3 and image.shape[0] in (1, 3, 4) else ""
        raise ValueError(f"an image has the shape (H, W), (H, W, 3) or (H, W, 4), and is not empty; got {image.shape}{hint}")
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    planes = planes[: 1 if len(planes) < 3 else 3].astype(np.float32)
    return standardise(planes if channels is None else to_channels(planes, channels))
