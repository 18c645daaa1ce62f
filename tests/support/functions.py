"""Cases of every differentiable function: an expression and the shapes of its arguments."""

import numpy as np

from minisegnet import functional as F
from minisegnet.tensor import Tensor

IMAGE = (2, 4, 7, 6)


def array(functions, values, like=None):
    """A constant for either library: PyTorch needs its own tensors."""
    values = np.asarray(values) if like is None else np.asarray(values, str(like.dtype).removeprefix("torch."))
    if functions is F:
        return Tensor(values)
    import torch

    return torch.tensor(values)


def target(functions):
    return array(functions, np.random.default_rng(5).integers(0, 4, (2, 7, 6)))


# name: (expression, shapes); the expression is valid with ``minisegnet.functional`` and ``torch.nn.functional``
CASES = {
    "conv2d": (lambda F, x, w, b: F.conv2d(x, w, b), [IMAGE, (6, 4, 3, 2), (6,)]),
    "conv2d options": (lambda F, x, w, b: F.conv2d(x, w, b, (2, 1), (1, 2), (1, 2), 2), [IMAGE, (6, 2, 3, 2), (6,)]),
    "conv2d no bias": (lambda F, x, w: F.conv2d(x, w, padding=1, stride=3), [IMAGE, (5, 4, 3, 3)]),
    "conv2d same": (lambda F, x, w: F.conv2d(x, w, padding="same", dilation=2), [IMAGE, (5, 4, 3, 2)]),
    "conv2d relu": (lambda F, x, w, b: F.relu(F.conv2d(x, w, b, padding=1)), [IMAGE, (3, 4, 3, 3), (3,)]),
    "conv_transpose2d": (lambda F, x, w, b: F.conv_transpose2d(x, w, b, 2), [IMAGE, (4, 3, 2, 2), (3,)]),
    "conv_transpose2d options": (lambda F, x, w: F.conv_transpose2d(x, w, None, (3, 2), (1, 0), (2, 1), 2, (1, 2)), [IMAGE, (4, 3, 3, 2)]),
    **{
        f"conv_transpose2d output_padding {extra} of stride {s}, padding {p}, dilation {d}": (
            lambda F, x, w, b, options=(s, p, extra, 1, d): F.conv_transpose2d(x, w, b, *options),
            [(2, 3, 4, 3), (3, 2, 2, 3), (2,)],
        )
        for s, p, extra, d in [(1, 0, 1, 2), (2, 1, 2, 3), (2, 2, 3, 4), (1, 1, 3, 4), (1, (0, 2), (2, 1), 3)]
    },
    "max_pool2d": (lambda F, x: F.max_pool2d(x, 2), [IMAGE]),
    "max_pool2d options": (lambda F, x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0), (1, 2), True), [IMAGE]),
    "max_unpool2d": (lambda F, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=(7, 6)), [IMAGE]),
    "avg_pool2d": (lambda F, x: F.avg_pool2d(x, 3, 2, 1, True, False), [IMAGE]),
    "adaptive_avg_pool2d": (lambda F, x: F.adaptive_avg_pool2d(x, (3, 4)), [IMAGE]),
    "global average": (lambda F, x: F.adaptive_avg_pool2d(x, 1), [IMAGE]),
    "interpolate nearest": (lambda F, x: F.interpolate(x, scale_factor=2), [IMAGE]),
    "interpolate bilinear": (lambda F, x: F.interpolate(x, size=(11, 4), mode="bilinear", align_corners=False), [IMAGE]),
    "interpolate corners": (lambda F, x: F.interpolate(x, size=(13, 9), mode="bilinear", align_corners=True), [IMAGE]),
    "batch_norm training": (lambda F, x, w, b: F.batch_norm(x, None, None, w, b, True), [IMAGE, (4,), (4,)]),
    "batch_norm plain": (lambda F, x: F.batch_norm(x, None, None, training=True), [IMAGE]),
    "relu": (lambda F, x: F.relu(x), [IMAGE]),
    "leaky_relu": (lambda F, x: F.leaky_relu(x, 0.2), [IMAGE]),
    "softmax": (lambda F, x: F.softmax(x, 1), [IMAGE]),
    "log_softmax": (lambda F, x: F.log_softmax(x, 1), [IMAGE]),
    "local_response_norm": (lambda F, x: F.local_response_norm(x, 3, 0.1, 0.75, 2.0), [IMAGE]),
    "cross_entropy": (lambda F, x: F.cross_entropy(x, target(F)), [IMAGE]),
    "cross_entropy options": (
        lambda F, x: F.cross_entropy(x, target(F), array(F, [0.5, 2.0, 1.0, 0.1], x), ignore_index=2, label_smoothing=0.2),
        [IMAGE],
    ),
    "cross_entropy none": (lambda F, x: F.cross_entropy(x, target(F), reduction="none"), [IMAGE]),
    "cross_entropy of one row": (lambda F, x: F.cross_entropy(x, array(F, 2), reduction="none") + F.cross_entropy(x, array(F, 1)), [(4,)]),
    "cross_entropy of volumes": (
        lambda F, x: F.cross_entropy(
            x, array(F, np.arange(24).reshape(2, 3, 2, 2) % 4), array(F, [0.5, 2.0, 1.0, 0.1], x), reduction="none"
        ),
        [(2, 4, 3, 2, 2)],
    ),
    **{
        f"cross_entropy of probabilities, {reduction}, {shape}": (
            lambda F, x, t, r=reduction, a=alpha: F.cross_entropy(
                x, F.softmax(t, min(x.ndim - 1, 1)), array(F, [0.5, 2.0, 1.0, 0.1], x), reduction=r, label_smoothing=a
            ),
            [shape, shape],
        )
        for reduction, alpha, shape in [("mean", 0.2, IMAGE), ("sum", 0.0, (3, 4)), ("none", 0.1, (2, 4, 5)), ("mean", 0.0, (4,))]
    },
    "binary_cross_entropy_with_logits": (lambda F, x, t: F.binary_cross_entropy_with_logits(x * 9, t), [(2, 3), (2, 3)]),
    "binary_cross_entropy_with_logits options": (
        lambda F, x, t: F.binary_cross_entropy_with_logits(
            x, t, array(F, [[0.5], [2.0]], x), reduction="none", pos_weight=array(F, [1.0, 3.0, 0.2], x)
        ),
        [(2, 3), (2, 3)],
    ),
    "avg_pool2d divisor": (lambda F, x: F.avg_pool2d(x, 3, 2, 1, divisor_override=4), [IMAGE]),
    "avg_pool2d divisor ceil": (lambda F, x: F.avg_pool2d(x, (3, 2), (2, 3), (1, 0), True, False, 7), [IMAGE]),
    "interpolate nearest by a fraction": (lambda F, x: F.interpolate(x, scale_factor=(1.3, 0.7)), [IMAGE]),
    "interpolate bilinear by a fraction": (lambda F, x: F.interpolate(x, scale_factor=(1.3, 0.7), mode="bilinear"), [IMAGE]),
    "interpolate recomputed": (lambda F, x: F.interpolate(x, None, (1.3, 0.7), "bilinear", False, True), [IMAGE]),
    "cross_entropy rows": (lambda F, x: F.cross_entropy(x, array(F, [0, 2, 1])), [(3, 4)]),
    "pad": (lambda F, x: F.pad(x, (1, 2, 0, 3), value=1.5), [IMAGE]),
    "pad channels": (lambda F, x: F.pad(x, (0, 0, 0, 0, 1, 1)), [IMAGE]),
    "crop": (lambda F, x: F.pad(x, (-1, -2, 2, -1)), [IMAGE]),
    "pad every axis": (lambda F, x: F.pad(x, (1, 0, 2, 1, 0, 1, 2, -1), value=-1.0), [IMAGE]),
    "pad to nothing": (lambda F, x: F.pad(x, (-3, -3)), [IMAGE]),
    "pad circular": (lambda F, x: F.pad(x, (6, 3, 2, 7), mode="circular"), [IMAGE]),
    "pad circular cropped": (lambda F, x: F.pad(x, (-2, 3, 2, -1), mode="circular"), [IMAGE]),
    "pad reflect cropped": (lambda F, x: F.pad(x, (-4, 3, 2, -1), mode="reflect"), [IMAGE]),
    "pad reflect a sequence": (lambda F, x: F.pad(x, (2, 3), mode="reflect"), [(2, 3, 5)]),
    "pad replicate a volume": (lambda F, x: F.pad(x, (1, 2, 3, 0, 2, 2), mode="replicate"), [(2, 1, 2, 3, 4)]),
    "pad reflect": (lambda F, x: F.pad(x, (5, 3, 2, 6), mode="reflect"), [IMAGE]),
    "pad replicate": (lambda F, x: F.pad(x, (5, 3, 2, 8), mode="replicate"), [IMAGE]),
}
OURS = {  # functions that PyTorch does not have
    "max_pool2d weighted": (lambda F, x, w, b: F.max_pool2d(x, 2, stride=1, padding=1, weight=w, bias=b), [IMAGE, (2, 2), ()]),
    "max_pool2d per channel": (lambda F, x, w, b: F.max_pool2d(x, (3, 2), weight=w, bias=b), [IMAGE, (4, 3, 2), (4,)]),
    "max_pool2d bias": (lambda F, x, b: F.max_pool2d(x, 2, bias=b), [IMAGE, (4,)]),
    "conv2d_relu": (lambda F, x, w, b: F.conv2d_relu(x, w, b, 2, 1), [IMAGE, (3, 4, 3, 3), (3,)]),
    "batch_norm_relu": (lambda F, x, w, b: F.batch_norm_relu(x, None, None, w, b, True), [IMAGE, (4,), (4,)]),
    "conv2d tf same": (lambda F, x, w: F.conv2d(x, w, padding="same", stride=2), [(1, 1, 6, 7), (2, 1, 3, 3)]),
}


def arrays_for(shapes, seed=3):
    """Values without ties: the gaps are far wider than the step of the central difference."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(np.linspace(-2, 2, max(int(np.prod(s)), 2)))[: int(np.prod(s))].reshape(s) + 0.003 for s in shapes], rng
