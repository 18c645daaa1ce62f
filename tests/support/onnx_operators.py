"""ONNX's operators, computed by this library's functions: a node's inputs and attributes become our arguments."""

import math
from functools import reduce

import numpy as np

from minisegnet import functional as F
from minisegnet.tensor import Tensor


class NotOffered(Exception):
    """An option of the operator that our function, like PyTorch's, does not have."""


def only(a, **allowed):
    """Refuse the attributes that have another value than the allowed one."""
    for name, value in allowed.items():
        if a.get(name, value) != value:
            raise NotOffered(f"{name} = {a[name]}")


# --- arguments ----------------------------------------------------------------------------------------


def numbers(x):
    return [int(n) for n in np.asarray(x.detach().array).reshape(-1)]


def pairs(pads):
    """(begin, begin, end, end) as ((begin, end), (begin, end))."""
    return tuple(zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True))


def window(x, size, a):
    """Stride, padding and dilation of a convolution or a pool."""
    if x.ndim != 4:
        raise NotOffered(f"{x.ndim - 2} axes of places")
    stride, dilation = tuple(a.get("strides", (1, 1))), tuple(a.get("dilations", (1, 1)))
    padding = pairs(a.get("pads", (0,) * 4))
    if a.get("auto_pad", "NOTSET").startswith("SAME"):
        padding = []
        for n, k, s, d in zip(x.shape[2:], size, stride, dilation, strict=True):
            total = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
            before = total // 2 if a["auto_pad"] == "SAME_UPPER" else total - total // 2
            padding.append((before, total - before))
        padding = tuple(padding)
    return {"stride": stride, "padding": padding, "dilation": dilation}


def conv(x, w, b=None, **a):
    options = window(x, w.shape[2:], a)
    if a.get("auto_pad") == "SAME_UPPER":
        options["padding"] = "same"
    return F.conv2d(x, w, b, groups=a.get("group", 1), **options)


def conv_transpose(x, w, b=None, **a):
    if x.ndim != 4:
        raise NotOffered(f"{x.ndim - 2} axes of places")
    stride, dilation, extra = (tuple(a.get(name, (m, m))) for name, m in (("strides", 1), ("dilations", 1), ("output_padding", 0)))
    whole = [(n - 1) * s + (k - 1) * d + 1 + e for n, k, s, d, e in zip(x.shape[2:], w.shape[2:], stride, dilation, extra, strict=True)]
    if "output_shape" in a or a.get("auto_pad", "NOTSET").startswith("SAME"):
        size = a.get("output_shape", [n * s for n, s in zip(x.shape[2:], stride, strict=True)])
        total = [n - m for n, m in zip(whole, size, strict=True)]
        before = [0 if t < 0 else t // 2 if a.get("auto_pad") == "SAME_UPPER" else t - t // 2 for t in total]
        sides = [(m, t - m) for m, t in zip(before, total, strict=True)]
    else:
        sides = pairs(a.get("pads", (0,) * 4))
    # PyTorch's padding is the same on both sides; a difference is cropped or, where the operator adds zeros, padded afterwards.
    padding = tuple(max(min(side), 0) for side in sides)
    y = F.conv_transpose2d(x, w, b, stride, padding, extra, a.get("group", 1), dilation)
    crop = [(p - m, p - n) for (m, n), p in zip(sides, padding, strict=True)]
    return F.pad(y, (*crop[1], *crop[0])) if np.any(crop) else y


def average_pool(x, **a):
    only(a, dilations=[1, 1])
    options = window(x, a["kernel_shape"], a)
    del options["dilation"]
    return F.avg_pool2d(
        x, tuple(a["kernel_shape"]), ceil_mode=bool(a.get("ceil_mode")), count_include_pad=bool(a.get("count_include_pad")), **options
    )


def max_pool(x, **a):
    only(a, storage_order=0)
    y, places = F.max_pool2d(
        x, tuple(a["kernel_shape"]), ceil_mode=bool(a.get("ceil_mode")), return_indices=True, **window(x, a["kernel_shape"], a)
    )
    planes = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], 1, 1)  # ONNX counts through the whole tensor
    return y, places + Tensor(planes * math.prod(x.shape[2:]))


def max_unpool(x, places, size=None, **a):
    if size is not None:
        raise NotOffered("an output size that differs from the indices' size")
    whole = tuple((n - 1) * s + k for n, s, k in zip(x.shape[2:], a["strides"], a["kernel_shape"], strict=True))
    return F.max_unpool2d(x, places % math.prod(whole), tuple(a["kernel_shape"]), tuple(a["strides"]), output_size=whole)


def batch_norm(x, scale, bias, mean, variance, **a):
    mean, variance = mean.clone(), variance.clone()
    training, momentum = bool(a.get("training_mode")), 1 - a.get("momentum", 0.9)
    y = F.batch_norm(x, mean, variance, scale, bias, training, momentum, a.get("epsilon", 1e-5))
    return (y, mean, variance) if training else y


def dropout(x, given=None, training=None, **a):
    p = a.get("ratio", 0.5) if given is None else given.item()
    if training is not None and training.item() and p:
        raise NotOffered("the random numbers of another library")
    y = F.dropout(x, p, False)
    return y, Tensor(np.ones(x.shape, bool))


def pad(x, pads=None, value=None, axes=None, **a):
    widths = numbers(pads)
    given = pairs(widths)
    sides = [(0, 0)] * x.ndim
    for axis, side in zip(range(x.ndim) if axes is None else numbers(axes), given, strict=True):
        sides[axis] = side
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[a.get("mode", "constant")]
    return F.pad(x, tuple(n for side in sides[::-1] for n in side), mode, None if value is None else value.item())


def resize(x, roi=None, scales=None, sizes=None, **a):
    only(a, antialias=0, exclude_outside=0, keep_aspect_ratio_policy="stretch")
    how = a.get("coordinate_transformation_mode", "half_pixel")
    wanted = [*x.shape[:2]]
    given = [float(s) for s in (sizes if sizes is not None else scales).detach().array]
    axes = [axis % x.ndim for axis in a.get("axes", range(x.ndim))]
    full = [*map(float, x.shape)] if sizes is not None else [1.0] * x.ndim
    for axis, value in zip(axes, given, strict=True):
        full[axis] = value
    if full[:2] != ([*map(float, wanted)] if sizes is not None else [1.0, 1.0]):
        raise NotOffered("another number of images or channels")
    options = {"size": tuple(map(int, full[2:]))} if sizes is not None else {"scale_factor": tuple(full[2:])}
    if a["mode"] == "nearest":
        only(a, nearest_mode="floor", coordinate_transformation_mode="asymmetric")
        if "nearest_mode" not in a or how != "asymmetric":
            raise NotOffered("nearest pixels by another rule")
        return F.interpolate(x, mode="nearest", **options)
    if a["mode"] != "linear" or how not in ("half_pixel", "align_corners"):
        raise NotOffered(f"{a['mode']}, {how}")
    return F.interpolate(x, mode="bilinear", align_corners=how == "align_corners", **options)


def reshape(x, shape, **a):
    sizes = numbers(shape)
    return F.reshape(x, [n if n or a.get("allowzero") else x.shape[k] for k, n in enumerate(sizes)])


def sliced(x, starts, ends, axes=None, steps=None, **a):
    starts, ends = numbers(starts), numbers(ends)
    key = [slice(None)] * x.ndim
    steps = [1] * len(starts) if steps is None else numbers(steps)
    for axis, start, end, step in zip(range(len(starts)) if axes is None else numbers(axes), starts, ends, steps, strict=True):
        n = x.shape[axis]
        end = end if end >= -n or step > 0 else None  # for ONNX, any end before the first element includes it
        key[axis] = slice(max(start, -n) if step > 0 else start, end, step)
    return x[tuple(key)]


def split(x, sizes=None, **a):
    axis = a.get("axis", 0)
    return F.split(x, math.ceil(x.shape[axis] / a["num_outputs"]) if sizes is None else numbers(sizes), axis)


def transpose(x, **a):
    return F.permute(x, a.get("perm", range(x.ndim)[::-1]))


def unsqueeze(x, axes):
    dims = numbers(axes)
    for dim in sorted(d % (x.ndim + len(dims)) for d in dims):
        x = F.unsqueeze(x, dim)
    return x


def reduction(function, whole=lambda x: x):
    def apply(x, axes=None, **a):
        dims = a.get("axes", []) if axes is None else numbers(axes)
        if not dims and a.get("noop_with_empty_axes"):
            return whole(x)
        return function(x, tuple(dims) or None, bool(a.get("keepdims", 1)))

    return apply


def argument(function):
    def apply(x, **a):
        only(a, select_last_index=0)
        return function(x, a.get("axis", 0), bool(a.get("keepdims", 1)))

    return apply


def cross_entropy(scores, labels, weights=None, **a):
    loss = F.cross_entropy(scores, labels, weights, a.get("ignore_index", -100), a.get("reduction", "mean"))
    return loss, F.log_softmax(scores, 1)


def gemm(x, w, c=None, **a):
    x, w = (v.T if a.get(name) else v for v, name in ((x, "transA"), (w, "transB")))
    y = a.get("alpha", 1.0) * F.matmul(x, w)
    return y if c is None else y + a.get("beta", 1.0) * c


def cumsum(x, axis, **a):
    only(a, exclusive=0, reverse=0)
    return F.cumsum(x, axis.item())


def remainder(x, y, **a):
    only(a, fmod=0)
    return F.remainder(x, y)


#: ONNX's operator: the name of our function, and the function with the operator's inputs and attributes.
OPERATORS = {
    **{
        op: (op.lower(), getattr(F, op.lower()))
        for op in ("Abs", "Add", "Div", "Exp", "Log", "MatMul", "Mul", "Neg", "Pow", "Relu", "Sigmoid")
    },
    **{op: (op.lower(), getattr(F, op.lower())) for op in ("Sqrt", "Sub", "Tanh", "Where")},
    **{op: ("bitwise_" + op.lower(), getattr(F, "bitwise_" + op.lower())) for op in ("And", "Not", "Or", "Xor")},
    **{f"Bitwise{op}": ("bitwise_" + op.lower(), getattr(F, "bitwise_" + op.lower())) for op in ("And", "Not", "Or", "Xor")},
    "ArgMax": ("argmax", argument(F.argmax)),
    "ArgMin": ("argmin", argument(F.argmin)),
    "AveragePool": ("avg_pool2d", average_pool),
    "BatchNormalization": ("batch_norm", batch_norm),
    "Clip": ("clip", F.clip),
    "Concat": ("cat", lambda *tensors, axis: F.cat(tensors, axis)),
    "Conv": ("conv2d", conv),
    "ConvTranspose": ("conv_transpose2d", conv_transpose),
    "CumSum": ("cumsum", cumsum),
    "Dropout": ("dropout", dropout),
    "Equal": ("==", lambda x, y: x == y),
    "Expand": ("expand", lambda x, shape: F.expand(x, np.broadcast_shapes(x.shape, numbers(shape)))),
    "Flatten": ("flatten", lambda x, axis=1: F.reshape(x, math.prod(x.shape[: axis % x.ndim]), math.prod(x.shape[axis % x.ndim :]))),
    "Gather": ("[]", lambda x, places, axis=0: x[(slice(None),) * (axis % x.ndim) + (places,)]),
    "Gemm": ("matmul", gemm),
    "GlobalAveragePool": ("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 1)),
    "GlobalMaxPool": ("amax", lambda x: F.amax(x, (2, 3), keepdim=True)),
    "Greater": (">", lambda x, y: x > y),
    "GreaterOrEqual": (">=", lambda x, y: x >= y),
    "Identity": ("clone", F.clone),
    "LRN": ("local_response_norm", lambda x, size, alpha=1e-4, beta=0.75, bias=1.0: F.local_response_norm(x, size, alpha, beta, bias)),
    "LeakyRelu": ("leaky_relu", lambda x, alpha=0.01: F.leaky_relu(x, alpha)),
    "Less": ("<", lambda x, y: x < y),
    "LessOrEqual": ("<=", lambda x, y: x <= y),
    "LogSoftmax": ("log_softmax", lambda x, axis=-1: F.log_softmax(x, axis)),
    "Max": ("maximum", lambda *tensors: reduce(F.maximum, tensors)),
    "MaxPool": ("max_pool2d", max_pool),
    "MaxUnpool": ("max_unpool2d", max_unpool),
    "Mean": ("mean", lambda *tensors: F.mean(F.stack(tensors), 0)),
    "Min": ("minimum", lambda *tensors: reduce(F.minimum, tensors)),
    "Mod": ("remainder", remainder),
    "Pad": ("pad", pad),
    "ReduceL1": ("norm", reduction(lambda x, dim, keepdim: F.norm(x, 1, dim, keepdim), F.abs)),
    "ReduceL2": ("norm", reduction(lambda x, dim, keepdim: F.norm(x, 2, dim, keepdim), F.abs)),
    "ReduceMax": ("amax", reduction(F.amax)),
    "ReduceMean": ("mean", reduction(F.mean)),
    "ReduceMin": ("amin", reduction(F.amin)),
    "ReduceProd": ("prod", reduction(F.prod)),
    "ReduceSum": ("sum", reduction(F.sum)),
    "Reshape": ("reshape", reshape),
    "Resize": ("interpolate", resize),
    "Slice": ("[]", sliced),
    "Softmax": ("softmax", lambda x, axis=-1: F.softmax(x, axis)),
    "SoftmaxCrossEntropyLoss": ("cross_entropy", cross_entropy),
    "Split": ("split", split),
    "Squeeze": ("squeeze", lambda x, axes=None: F.squeeze(x, None if axes is None else tuple(numbers(axes)))),
    "Sum": ("add", lambda *tensors: reduce(F.add, tensors)),
    "Tile": ("repeat", lambda x, counts: F.repeat(x, numbers(counts))),
    "Transpose": ("permute", transpose),
    "Unsqueeze": ("unsqueeze", unsqueeze),
}
