"""minisegnet: how a segmentation network works, from the formula down to the GPU.

``import minisegnet as ms`` imports NumPy and the differentiable functions, which give `Tensor` its
operators. Everything else, and with it Numba, Pillow and Matplotlib, is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# These two have the name of their file. They are bound here, at once; otherwise a later import of the file would
# replace the function by the module.
from .doctor import doctor
from .tensor import Tensor, detect_anomaly, enable_grad, is_grad_enabled, no_grad, set_grad_enabled, tensor
from .version import __version__

from . import functional  # isort: skip  (after the names above)

if TYPE_CHECKING:
    from . import backend, data, diagnostics, exchange, inference, learn, losses, metrics, models, nn, optim, training, viz
    from .exchange.dlpack import from_dlpack
    from .exchange.onnx import export_onnx
    from .exchange.tensors import load, save
    from .exchange.weights import load_pretrained
    from .learn.equations import equation
    from .learn.exercises import check
    from .learn.gradients import check_grads
    from .learn.guesses import guess
    from .random import manual_seed

# name -> (module, attribute); without an attribute, the module itself
_LAZY = {
    "check": ("minisegnet.learn.exercises", "check"),
    "check_grads": ("minisegnet.learn.gradients", "check_grads"),
    "equation": ("minisegnet.learn.equations", "equation"),
    "export_onnx": ("minisegnet.exchange.onnx", "export_onnx"),
    "from_dlpack": ("minisegnet.exchange.dlpack", "from_dlpack"),
    "guess": ("minisegnet.learn.guesses", "guess"),
    "load": ("minisegnet.exchange.tensors", "load"),
    "load_pretrained": ("minisegnet.exchange.weights", "load_pretrained"),
    "manual_seed": ("minisegnet.random", "manual_seed"),
    "save": ("minisegnet.exchange.tensors", "save"),
    **{
        name: (f"minisegnet.{name}", None)
        for name in (
            "backend",
            "data",
            "diagnostics",
            "exchange",
            "inference",
            "learn",
            "losses",
            "metrics",
            "models",
            "nn",
            "optim",
            "training",
            "viz",
        )
    },
}

__all__ = [
    "Tensor",
    "__version__",
    "backend",
    "check",
    "check_grads",
    "data",
    "detect_anomaly",
    "diagnostics",
    "doctor",
    "enable_grad",
    "equation",
    "exchange",
    "export_onnx",
    "from_dlpack",
    "functional",
    "guess",
    "inference",
    "is_grad_enabled",
    "learn",
    "load",
    "load_pretrained",
    "losses",
    "manual_seed",
    "metrics",
    "models",
    "nn",
    "no_grad",
    "optim",
    "save",
    "set_grad_enabled",
    "tensor",
    "training",
    "viz",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    found = import_module(module)
    value = found if attribute is None else getattr(found, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
