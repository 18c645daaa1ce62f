"""Optimisers; names, arguments and defaults are PyTorch's.

An optimiser updates all parameters that have a gradient in one launch of a kernel: equations
``optimiser.sgd``, ``optimiser.adam`` and ``optimiser.rmsprop``.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from minisegnet_kernels import optimiser as kernels
from minisegnet_kernels.layout import full, in_memory_order, lying_like
from minisegnet_kernels.optimiser.rates import only_rates

from .. import backend
from ..tensor import Tensor

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "parameter_groups"]


def parameter_groups(named_parameters: Iterable[tuple[str, Tensor]], lr: float, factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser that give some parts of a network their own learning rate.

    Parameters
    ----------
    named_parameters : iterable of (str, Tensor)
        ``model.named_parameters()``
    lr : float
        The rate of all other parameters.
    factors : mapping of str to float
        A factor on the rate for the parameters under a name: with ``{"outc": 10}`` a U-Net's head learns ten times as fast.
        If several names fit, the longest one applies.

    Returns
    -------
    list of dict
        First the group of the other parameters, if there are any, then a group for each factor.

    Raises
    ------
    ValueError
        If no parameter lies under one of the names, or a factor is negative.
    """
    named = list(named_parameters)
    groups: dict[str, list[Tensor]] = {"": [], **{part: [] for part in factors}}
    for name, parameter in named:
        owners = [part for part in factors if f"{name}.".startswith(f"{part}.")]
        groups[max(owners, key=len, default="")].append(parameter)
    for part, factor in factors.items():
        if not groups[part]:
            parts = dict.fromkeys(name.partition(".")[0] for name, _ in named)
            raise ValueError(f"no parameters under {part!r} to learn at another rate; the parts of this network are {', '.join(parts)}")
        if not 0 <= factor < math.inf:
            raise ValueError(f"the factor of the learning rate of {part!r} must not be negative, it is {factor}")
    return [{"params": params, "lr": lr * factors.get(part, 1.0)} for part, params in groups.items() if params]


class Optimizer:
    """What all optimisers share: groups of parameters, their state, and the step.

    Attributes
    ----------
    param_groups : list of dict
        Each holds ``params`` and the options of its group (``lr``, ...), which may be changed between steps.
    state : dict
        For each parameter, the values that are kept between steps, by name.
    """

    def __init__(self, params: Iterable, defaults: dict[str, Any]):
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        params = [params] if isinstance(params, Tensor) else list(params)
        if not params:
            raise ValueError(f"{type(self).__name__} got no parameters; model.parameters() can be read once, keep it as list(...)")
        for group in params if isinstance(params[0], Mapping) else [{"params": params}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own: ``{"params": [...], "lr": 0.01}``.

        Raises
        ------
        TypeError, ValueError
            If a value is not a leaf tensor, a parameter is given twice, or an option is unknown.
        """
        given = group["params"]
        params = [given] if isinstance(given, Tensor) else list(given)
        known = {p for g in self.param_groups for p in g["params"]}
        for parameter in params:
            if not isinstance(parameter, Tensor):
                raise TypeError(
                    f"an optimiser takes tensors, got {type(parameter).__name__}; from named_parameters() take the second of each pair"
                )
            if not parameter.is_leaf:
                raise ValueError("an optimiser takes leaves; this tensor was computed from others")
        if len(set(params)) < len(params) or known & set(params):
            raise ValueError("a parameter comes twice: in one group, or in two")
        unknown = set(group) - set(self.defaults) - {"params", "initial_lr"}
        if unknown:
            raise ValueError(f"{type(self).__name__} has no option {sorted(unknown)}; it has {', '.join(self.defaults)}")
        options = {**self.defaults, **group, "params": params}
        self._check(options)
        self.param_groups.append(options)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to None (or fill them with zeros). Without this call they add up from step to step."""
        for parameter in (p for group in self.param_groups for p in group["params"]):
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def step(self) -> None:
        """Update every parameter that has a gradient, in place. Inside ``backend.use("shapes")`` neither parameters nor state change."""
        if not backend.computes():
            return
        for group in self.param_groups:
            # Parameters with different step counts (one got its first gradient later) are updated in separate calls.
            alike: dict[Hashable, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(self._batch_key(parameter), []).append(parameter)
            for age, params in alike.items():
                gradients = _flat([p.array if only_rates() else lying_like(p.array, p.grad.array) for p in params])  # type: ignore[union-attr]
                self._update(group, age, params, gradients)
                for parameter in params:
                    state = self.state.get(parameter, {}).values()
                    for changed in (parameter, *(value for value in state if isinstance(value, Tensor))):
                        changed._memory.changes += 1  # a graph that used the old values refuses `backward`

    def _check(self, options: dict[str, Any]) -> None:
        for name in ("lr", "weight_decay", "eps", "momentum"):
            if name in options and not options[name] >= 0:
                raise ValueError(f"{type(self).__name__}: {name} must not be negative, got {options[name]}")

    def _batch_key(self, parameter: Tensor) -> Hashable:
        """A key that is equal for parameters which one call can update together."""
        raise NotImplementedError

    def _update(self, group: dict[str, Any], age: Any, params: list[Tensor], gradients: list) -> None:
        raise NotImplementedError

    def _remembered(self, name: str, params: list[Tensor]) -> list:
        """The arrays of this name in the state, one for each parameter, in its layout. Before the first step they are created as zeros."""
        for p in () if only_rates() else params:
            state = self.state.setdefault(p, {})
            if name not in state:  # not setdefault, which would make and fill new arrays in every step
                state[name] = Tensor(full(p.array, p.shape, 0))
            elif (lying := lying_like(p.array, state[name].array)) is not state[name].array:  # the module was given another layout
                state[name] = Tensor(lying)
        return _flat([self.state[p][name].array for p in params])

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {number: {name: value}}, "param_groups": [...]}``; parameters are numbers, as in PyTorch."""
        numbers = {p: k for k, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [{**group, "params": [numbers[p] for p in group["params"]]} for group in self.param_groups]
        return {"state": {numbers[p]: dict(state) for p, state in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a `state_dict`, of this library or of PyTorch; its arrays are copied.

        Raises
        ------
        ValueError
            If groups, numbers of parameters or shapes differ from this optimiser's.
        """
        ours, theirs = ([len(g["params"]) for g in groups] for groups in (self.param_groups, state_dict["param_groups"]))
        if ours != theirs:
            raise ValueError(f"the groups differ: this optimiser has {ours} parameters in its groups, the state_dict {theirs}")
        numbers = [k for group in state_dict["param_groups"] for k in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        owner = dict(zip(numbers, params, strict=True))
        state = {
            owner[int(k)]: {n: _restored(n, v, owner[int(k)]) for n, v in kept.items() if v is not None}
            for k, kept in state_dict["state"].items()
        }
        self.state = state
        for group, loaded in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({name: value for name, value in loaded.items() if name in (*self.defaults, "initial_lr")})

    def __repr__(self) -> str:
        groups = [", ".join(f"{k}={v}" for k, v in g.items() if k != "params") + f", {len(g['params'])} tensors" for g in self.param_groups]
        return f"{type(self).__name__}({'; '.join(groups)})"


def _flat(arrays: list) -> list:
    """The arrays in the order of memory, C-contiguous; unchanged before the replay of a captured step, which needs only their dtypes."""
    return arrays if only_rates() else [in_memory_order(a) for a in arrays]


def _restored(name: str, value: Any, parameter: Tensor) -> Any:
    if name == "step":
        return int(value)
    array = value.array if isinstance(value, Tensor) else np.asarray(value)
    if tuple(array.shape) != parameter.shape:
        raise ValueError(f"{name} of a parameter of shape {parameter.shape} has shape {tuple(array.shape)}")
    return Tensor(lying_like(parameter.array, Tensor(array.astype(parameter.dtype)).to(parameter.device).array))


class SGD(Optimizer):
    """Stochastic gradient descent (equation ``optimiser.sgd``).

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        ``model.parameters()``, or groups ``{"params": ..., "lr": ...}``.
    lr : float
    momentum, dampening : float
        The velocity is ``v ← momentum·v + (1 − dampening)·g``, and the step follows v.
    weight_decay : float
        Adds ``weight_decay·θ`` to the gradient.
    nesterov : bool
        Step along ``g + momentum·v``.

    References
    ----------
    Sutskever et al., ICML 2013
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov}
        )

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        if options["nesterov"] and not (options["momentum"] > 0 and options["dampening"] == 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and a dampening of 0")

    def _batch_key(self, parameter: Tensor) -> bool:
        return "momentum_buffer" not in self.state.get(parameter, {})

    def _update(self, group: dict[str, Any], age: bool, params: list[Tensor], gradients: list) -> None:
        velocities = self._remembered("momentum_buffer", params) if group["momentum"] else None
        options = {name: group[name] for name in self.defaults}
        kernels.sgd(_flat([p.array for p in params]), gradients, velocities, **options, first=age)


class Adam(Optimizer):
    """Gradient descent whose step size adapts to each element of a parameter (equation ``optimiser.adam``).

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        ``model.parameters()``, or groups ``{"params": ..., "lr": ...}``.
    lr : float
    betas : (float, float)
        The shares of the old averages (of the gradient, and of its square) that are kept in each step.
    eps : float
        Added to the root of the second average.
    weight_decay : float
        Adds ``weight_decay·θ`` to the gradient.

    References
    ----------
    Kingma & Ba, ICLR 2015
    """

    _decoupled = False

    def __init__(
        self, params: Iterable, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        if len(options["betas"]) != 2 or not all(0 <= beta < 1 for beta in options["betas"]):
            raise ValueError(f"{type(self).__name__}: betas must be two numbers from 0 to less than 1, got {options['betas']}")

    def _batch_key(self, parameter: Tensor) -> int:
        return self.state.get(parameter, {}).get("step", 0) + 1

    def _update(self, group: dict[str, Any], age: int, params: list[Tensor], gradients: list) -> None:
        first, second = (self._remembered(name, params) for name in ("exp_avg", "exp_avg_sq"))
        (beta1, beta2), options = group["betas"], {name: group[name] for name in ("lr", "eps", "weight_decay")}
        kernels.adam(
            _flat([p.array for p in params]),
            gradients,
            first,
            second,
            step=age,
            beta1=beta1,
            beta2=beta2,
            **options,
            decoupled=self._decoupled,
        )
        for parameter in params:
            self.state[parameter]["step"] = age


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves, ``θ ← (1 − lr·weight_decay)·θ``.

    Parameters
    ----------
    params, lr, betas, eps
        As in `Adam`.
    weight_decay : float

    References
    ----------
    Loshchilov & Hutter, ICLR 2019
    """

    _decoupled = True

    def __init__(
        self, params: Iterable, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2
    ):
        super().__init__(params, lr, betas, eps, weight_decay)


class RMSprop(Optimizer):
    """Divide each gradient by the root of the moving average of its square (equation ``optimiser.rmsprop``).

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        ``model.parameters()``, or groups ``{"params": ..., "lr": ...}``.
    lr : float
    alpha : float
        The share of the average that is kept in each step.
    eps : float
        Added to the root.
    weight_decay : float
        Adds ``weight_decay·θ`` to the gradient.
    momentum : float
        The step goes along ``b ← momentum·b + d``, where d is the divided gradient.
    centered : bool
        Divide by the standard deviation instead: the mean of the gradient is averaged too, and its square subtracted.

    References
    ----------
    Tieleman & Hinton, Coursera 2012, lecture 6.5; centered: Graves, arXiv 1308.0850
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ):
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum, "centered": centered}
        super().__init__(params, defaults)

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        if not 0 <= options["alpha"] <= 1:
            raise ValueError(f"RMSprop: alpha must lie between 0 and 1, got {options['alpha']}")

    def _batch_key(self, parameter: Tensor) -> None:
        return None  # the first step needs no special treatment

    def _update(self, group: dict[str, Any], age: None, params: list[Tensor], gradients: list) -> None:
        squares = self._remembered("square_avg", params)
        means = self._remembered("grad_avg", params) if group["centered"] else None
        velocities = self._remembered("momentum_buffer", params) if group["momentum"] else None
        options = {name: group[name] for name in self.defaults}
        kernels.rmsprop(_flat([p.array for p in params]), gradients, squares, means, velocities, **options)
        for parameter in params:
            self.state[parameter]["step"] = self.state[parameter].get("step", 0) + 1
