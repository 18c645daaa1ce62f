"""PyTorch's own sample inputs (its OpInfo database) on our functions, forward and backward."""

import re
import warnings
from itertools import islice

import numpy as np
import pytest

from minisegnet import functional as F
from minisegnet import nn, random
from minisegnet.tensor import Tensor

# PyTorch's name, and its variant: our function. Methods and operators of `Tensor` are these functions too.
SAME_NAME = """
    abs add amax amin argmax argmin bitwise_and bitwise_not bitwise_or bitwise_xor cat chunk clone cumsum exp expand flatten floor_divide
    log log_softmax masked_fill matmul maximum mean minimum mul neg norm permute pow prod remainder repeat reshape sigmoid softmax split
    sqrt squeeze stack std sub sum tanh transpose unsqueeze var
"""
FUNCTIONS = {
    **{(name, ""): getattr(F, name) for name in SAME_NAME.split()},
    **{(name, ""): getattr(Tensor, f"__{name}__") for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{
        (name, ""): getattr(Tensor, name)
        for name in ("__getitem__", "__radd__", "__rmatmul__", "__rmod__", "__rmul__", "__rpow__", "__rsub__")
    },
    **{(name, ""): getattr(Tensor, name) for name in ("__rand__", "__ror__", "__rxor__", "contiguous", "double", "float", "view")},
    **{(name, "with_dtype"): getattr(F, name) for name in ("softmax", "log_softmax")},
    **{("max", variant): F.max for variant in ("binary", "reduction_no_dim", "reduction_with_dim")},
    **{("min", variant): F.min for variant in ("binary", "reduction_no_dim", "reduction_with_dim")},
    ("__rdiv__", ""): Tensor.__rtruediv__,
    ("T", ""): lambda x: x.T,
    ("clamp", ""): F.clip,
    ("div", "no_rounding_mode"): F.div,
    ("split", "list_args"): F.split,
    ("squeeze", "multiple"): F.squeeze,
    ("where", ""): lambda value, condition, other: F.where(condition, value, other),  # the order of the samples
}
IMAGES = {
    (f"nn.functional.{name}", variant): getattr(F, name)
    for name, variant in [
        *((name, "") for name in ("conv2d", "conv_transpose2d", "avg_pool2d", "adaptive_avg_pool2d", "max_pool2d", "max_unpool2d")),
        *(("interpolate", mode) for mode in ("nearest", "bilinear")),
        *(("pad", mode) for mode in ("constant", "reflect", "replicate", "circular")),
        *((name, "") for name in ("batch_norm", "local_response_norm", "relu", "leaky_relu", "dropout", "dropout2d")),
        *((name, "") for name in ("cross_entropy", "binary_cross_entropy_with_logits")),
    ]
}
FUNCTIONS |= IMAGES | {("nn.functional.max_unpool2d", "grad"): F.max_unpool2d}
FUNCTIONS[("nn.functional.mse_loss", "")] = lambda x, y, reduction="mean": nn.MSELoss(reduction=reduction)(x, y)

# Where our function differs: its name, its error (or "value" for another number), and the reason. An entry without a sample fails.
DIFFERENT: list[tuple[str, str, str]] = [
    ("cat", r"IndexError: cat: dim 1 does not exist", "an empty vector beside matrices is an old exception of PyTorch's"),
    ("add", r"OverflowError: Python integer -3", "PyTorch takes −3 for 253 in uint8"),
    ("sub", r"OverflowError: Python integer -3", "PyTorch takes −3 for 253 in uint8"),
    ("__rpow__", r"ValueError: Integers to negative integer powers", "PyTorch takes 0 for 2⁻¹ among integers"),
    ("nn.functional.batch_norm", r"ValueError: batch_norm: input has 1 axes", "a vector has no axis of channels"),
    ("nn.functional.max_unpool2d", "gradient", "a value that another one overwrites has no influence; PyTorch gives it a gradient"),
    ("nn.functional.interpolate.nearest", r"ValueError: \S+: \w+ has [35] axes", "sequences and volumes; here are images, (N, C, H, W)"),
]
# What PyTorch refuses and ours accepts, in the same form; the pattern is for PyTorch's message.
ACCEPTED: list[tuple[str, str, str]] = [
    *(
        (name, r"must be Tensor|invalid combination of arguments|descriptor|no attribute", "numbers are taken as tensors without axes")
        for name in (
            *("bitwise_and", "bitwise_or", "bitwise_xor", "maximum", "minimum", "pow", "remainder", "eq", "ne", "lt", "le", "gt", "ge"),
            *("__radd__", "__rmul__", "__rand__", "__ror__", "__rxor__", "__rdiv__"),
        )
    ),
    ("mean", r"could not infer output dtype. Input dtype", "the mean of integers is float32"),
]


def ours(value, with_gradient=False):
    import torch

    if isinstance(value, torch.Tensor):
        return Tensor(value.detach().numpy().copy(), requires_grad=with_gradient and value.requires_grad)
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, torch.memory_format):
        return {torch.contiguous_format: "contiguous", torch.channels_last: "channels_last"}.get(value)
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(ours(v, with_gradient) for v in value)
    return tuple(value) if isinstance(value, torch.Size) else value


def tensors(value):
    import torch

    if isinstance(value, torch.Tensor | Tensor):
        return [value]
    return [t for v in value for t in tensors(v)] if isinstance(value, list | tuple) else []


class Drawn:
    """A generator whose numbers keep what PyTorch's dropout has kept: 1 where the result is not 0, and 0 elsewhere."""

    def __init__(self, result):
        self.kept = result.detach().numpy() != 0

    def random(self, shape):
        kept = self.kept.reshape((1,) * (len(shape) - self.kept.ndim) + self.kept.shape)
        together = tuple(axis for axis, size in enumerate(shape) if kept.shape[axis] != size)
        assert (kept.any(together, keepdims=True) == kept.all(together, keepdims=True)).all()  # whole channels
        return kept.any(together, keepdims=True)


def difference(operator, function, sample, dtype, monkeypatch):
    """What differs for one sample; empty if nothing does."""
    import torch

    theirs = [sample.input, *sample.args]
    mine = [ours(v, True) for v in theirs]
    options = {name: ours(v, True) for name, v in sample.kwargs.items()}
    expected = operator.op(*theirs, **sample.kwargs)
    if "dropout" in operator.name:
        monkeypatch.setattr(random, "generator", lambda: Drawn(expected))
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


def operator_of(name):
    with pytest.MonkeyPatch.context() as patch:
        # The import would forbid the whole process to set PyTorch's flags, which the benchmark does.
        patch.setattr(pytest.importorskip("torch").backends, "disable_global_flags", lambda: None)
        database = pytest.importorskip("torch.testing._internal.common_methods_invocations").op_db
    (operator,) = [op for op in database if (op.name, op.variant_test_name) == name]
    return operator


def listed_for(name, differences):
    return [pattern for function, pattern, _ in differences if function == ".".join(name).strip(".")]


#: Functions with hundreds of samples: every ninth is tried, and all of them in the thorough profile.
MANY = [("nn.functional.max_pool2d", ""), ("nn.functional.max_unpool2d", ""), ("nn.functional.max_unpool2d", "grad")]


@pytest.mark.parametrize(
    ("name", "every"),
    [*((name, 9 if name in MANY else 1) for name in FUNCTIONS), *(pytest.param(name, 1, marks=pytest.mark.slow) for name in MANY)],
    ids=lambda v: ".".join(v) if isinstance(v, tuple) else str(v),
)
def test_pytorchs_samples(name, every, monkeypatch):
    torch = pytest.importorskip("torch")
    operator, listed = operator_of(name), listed_for(name, DIFFERENT)
    met, held, tried, wrong = set(), 0, 0, {}
    warnings.simplefilter("ignore")
    for dtype in (torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool):
        if not operator.supports_dtype(dtype, "cpu"):
            continue
        if name in IMAGES and not dtype.is_floating_point and "cross_entropy" not in name[0] and "pad" not in name[0]:
            continue  # the kernels compute in float32 and float64
        gradient = dtype.is_floating_point and operator.supports_autograd
        for sample in islice(operator.sample_inputs("cpu", dtype, requires_grad=gradient), 0, None, every):
            found = difference(operator, FUNCTIONS[name], sample, dtype, monkeypatch)
            tried, held = tried + 1, held + (not found)
            known = [pattern for pattern in listed if re.match(pattern, found, re.S)]
            met.update(known)
            if found and not known:
                wrong.setdefault(found[:300], f"{dtype} {sample.summary()}"[:600])
    print(f"held {held} of {tried}: {'.'.join(name).strip('.')}")
    assert tried
    assert not wrong, "\n".join(f"{found}\n    {sample}" for found, sample in wrong.items())
    assert met == set(listed), "a listed difference that no longer exists"


@pytest.mark.parametrize("name", FUNCTIONS, ids=".".join)
def test_what_pytorch_refuses_is_refused(name):
    """With an error that says what is wrong: none of Python's own about an attribute or an index that is not there."""
    operator, listed = operator_of(name), listed_for(name, ACCEPTED)
    if operator.error_inputs_func is None:
        pytest.skip("PyTorch lists no wrong arguments")
    met, wrong = set(), []
    for case in operator.error_inputs("cpu"):
        sample = case.sample_input
        arguments, options = [sample.input, *sample.args], sample.kwargs
        try:
            operator.op(*arguments, **options)
        except case.error_type as error:
            refused = str(error)
        else:
            continue  # this version of PyTorch takes it
        try:
            result = FUNCTIONS[name](*map(ours, arguments), **{key: ours(value) for key, value in options.items()})
        except (ValueError, TypeError, RuntimeError, case.error_type):
            continue
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}\n    {sample.summary()}\n    PyTorch: {refused}")
            continue
        known = [pattern for pattern in listed if re.search(pattern, refused)]
        met.update(known)
        if not known:
            wrong.append(f"accepted, {result}\n    {sample.summary()}\n    PyTorch: {refused}")
    assert not wrong, "\n".join(wrong)
    assert met == set(listed), "a listed difference that no longer exists"
