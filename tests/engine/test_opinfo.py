"""PyTorch's own sample inputs (its OpInfo database) on our functions, forward and backward."""

import re
import warnings

import numpy as np
import pytest

from minisegnet import functional as F
from minisegnet.tensor import Tensor

# PyTorch's name, and its variant: our function. Methods and operators of `Tensor` are these functions too.
FUNCTIONS = {
    **{
        (name, ""): getattr(F, name)
        for name in ["abs", "add", "amax", "amin", "argmax", "argmin", "cat", "chunk", "clone", "cumsum", "exp", "floor_divide"]
    },
    **{
        (name, ""): getattr(F, name) for name in ["bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "log", "masked_fill", "matmul"]
    },
    **{
        (name, ""): getattr(F, name)
        for name in ["maximum", "mean", "minimum", "mul", "neg", "permute", "pow", "remainder", "sigmoid", "sqrt"]
    },
    **{(name, ""): getattr(F, name) for name in ["std", "sub", "sum", "tanh", "unsqueeze", "var", "stack"]},
    ("where", ""): lambda value, condition, other: F.where(condition, value, other),  # the order of the samples
    ("clamp", ""): F.clip,
    ("expand", ""): F.expand,
    ("repeat", ""): F.repeat,
    ("reshape", ""): F.reshape,
    ("flatten", ""): F.flatten,
    ("squeeze", ""): F.squeeze,
    ("squeeze", "multiple"): F.squeeze,
    ("transpose", ""): F.transpose,
    ("split", ""): F.split,
    ("split", "list_args"): F.split,
    ("prod", ""): F.prod,
    ("norm", ""): F.norm,
    ("div", "no_rounding_mode"): F.div,
    ("softmax", ""): F.softmax,
    ("log_softmax", ""): F.log_softmax,
    **{("max", variant): F.max for variant in ("binary", "reduction_no_dim", "reduction_with_dim")},
    **{("min", variant): F.min for variant in ("binary", "reduction_no_dim", "reduction_with_dim")},
}
IMAGES = {
    (f"nn.functional.{name}", variant): getattr(F, name)
    for name, variant in [
        ("conv2d", ""),
        ("conv_transpose2d", ""),
        ("avg_pool2d", ""),
        ("adaptive_avg_pool2d", ""),
        ("interpolate", "nearest"),
        ("interpolate", "bilinear"),
        *(("pad", mode) for mode in ("constant", "reflect", "replicate", "circular")),
        ("batch_norm", ""),
        ("relu", ""),
        ("leaky_relu", ""),
        ("cross_entropy", ""),
        ("binary_cross_entropy_with_logits", ""),
    ]
}
FUNCTIONS |= IMAGES

# Where our function differs: its name, its error (or "value" for another number), and the reason. An entry without a sample fails.
DIFFERENT: list[tuple[str, str, str]] = [
    ("cat", r"ValueError: cat: all sizes", "an empty vector beside matrices is an old exception of PyTorch's"),
    ("add", r"OverflowError: Python integer -3", "PyTorch takes −3 for 253 in uint8"),
    ("sub", r"OverflowError: Python integer -3", "PyTorch takes −3 for 253 in uint8"),
    *(
        (f"nn.functional.{name}", r"ValueError: \S+: \w+ has [1235] axes", "images come as (N, C, H, W); the message says how")
        for name in ("conv2d", "conv_transpose2d", "adaptive_avg_pool2d", "interpolate.nearest", "batch_norm")
    ),
    ("nn.functional.avg_pool2d", r"ValueError: \S+: (padding|stride) does not fit", "(1,) and () are old spellings of a pair"),
    ("nn.functional.adaptive_avg_pool2d", r"ValueError: \S+: output_size does not fit", "None for the length of the input is not taken"),
]


def ours(value, with_gradient=False):
    import torch

    if isinstance(value, torch.Tensor):
        return Tensor(value.detach().numpy().copy(), requires_grad=with_gradient and value.requires_grad)
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(ours(v, with_gradient) for v in value)
    return tuple(value) if isinstance(value, torch.Size) else value


def tensors(value):
    import torch

    if isinstance(value, torch.Tensor | Tensor):
        return [value]
    return [t for v in value for t in tensors(v)] if isinstance(value, list | tuple) else []


def difference(operator, function, sample, dtype):
    """What differs for one sample; empty if nothing does."""
    import torch

    theirs = [sample.input, *sample.args]
    mine = [ours(v, True) for v in theirs]
    options = {name: ours(v, True) for name, v in sample.kwargs.items()}
    expected = operator.op(*theirs, **sample.kwargs)
    try:
        with np.errstate(all="ignore"):
            actual = function(*mine, **options)
    except (ValueError, TypeError, RuntimeError, IndexError, OverflowError) as error:
        return f"{type(error).__name__}: {error}"
    rtol = {torch.float32: 2e-4, torch.float64: 1e-9}.get(dtype, 1e-6)
    close = lambda a, b: np.allclose(a, b, rtol=rtol, atol=rtol, equal_nan=True)
    pairs = list(zip(tensors(actual), tensors(expected), strict=True))
    for a, b in pairs:
        if a.shape != tuple(b.shape) or str(a.dtype) != str(b.dtype).removeprefix("torch."):
            return f"value: {a.shape} {a.dtype}, not {tuple(b.shape)} {b.dtype}"
        if not close(a.detach().numpy(), b.detach().numpy()):
            return "value"
    leaves = [(a, b) for a, b in zip(tensors([mine, list(options.values())]), tensors([theirs, list(sample.kwargs.values())]), strict=True)]
    leaves = [(a, b) for a, b in leaves if b.requires_grad]
    for b in (b for _, b in leaves):
        b.grad = None
    for a, b in pairs:
        if not b.requires_grad:
            continue
        if not a.requires_grad:
            return "no gradient"
        g = np.random.default_rng(0).normal(size=a.shape).astype(a.dtype)
        try:
            with np.errstate(all="ignore"):
                a.backward(g, retain_graph=True)
        except (ValueError, TypeError, RuntimeError) as error:
            return f"backward: {type(error).__name__}: {error}"
        b.backward(torch.from_numpy(np.asarray(g)), retain_graph=True)
    for a, b in leaves:
        wanted = np.zeros(tuple(b.shape)) if b.grad is None else b.grad.numpy()
        found = np.zeros(a.shape) if a.grad is None else a.grad.numpy()
        if not close(found, wanted):
            return "gradient"
    return ""


@pytest.mark.parametrize("name", FUNCTIONS, ids=".".join)
def test_pytorchs_samples(name):
    torch = pytest.importorskip("torch")
    database = pytest.importorskip("torch.testing._internal.common_methods_invocations").op_db
    (operator,) = [op for op in database if (op.name, op.variant_test_name) == name]
    listed = [(pattern, reason) for function, pattern, reason in DIFFERENT if function == ".".join(name).strip(".")]
    met, held, tried, wrong = set(), 0, 0, {}
    warnings.simplefilter("ignore")
    for dtype in (torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool):
        if not operator.supports_dtype(dtype, "cpu"):
            continue
        if name in IMAGES and not dtype.is_floating_point and "cross_entropy" not in name[0] and "pad" not in name[0]:
            continue  # the kernels compute in float32 and float64
        gradient = dtype.is_floating_point and operator.supports_autograd
        for sample in operator.sample_inputs("cpu", dtype, requires_grad=gradient):
            found = difference(operator, FUNCTIONS[name], sample, dtype)
            tried, held = tried + 1, held + (not found)
            known = [pattern for pattern, _ in listed if re.match(pattern, found, re.S)]
            met.update(known)
            if found and not known:
                wrong.setdefault(found[:300], f"{dtype} {sample.summary()}"[:600])
    print(f"held {held} of {tried}: {'.'.join(name).strip('.')}")
    assert tried
    assert not wrong, "\n".join(f"{found}\n    {sample}" for found, sample in wrong.items())
    assert met == {pattern for pattern, _ in listed}, "a listed difference that no longer exists"
