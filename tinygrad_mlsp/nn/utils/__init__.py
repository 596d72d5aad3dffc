"""Helpers around gradients and parameters: clipping, penalties, weight normalization."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from ...backend import space_of
from ...errors import DTypeError, GraphError, OptionError, ShapeError
from ...namespace import zeros
from ...tensor import Tensor, record_of, wrap
from ..functional.checks import number
from ..module import Module, Parameter
from ..sequence import cut as cut
from ..sequence import truncated as truncated
from ..spectral import remove_spectral_norm as remove_spectral_norm
from ..spectral import spectral_norm as spectral_norm
from . import rnn as rnn

M = TypeVar("M", bound=Module)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """g ← g · min(1, max_norm/‖g‖), with the joint norm ‖g‖ of all gradients, which is returned

    The norm is computed in float64, so that it does not overflow before the gradients do. `foreach` chooses among
    PyTorch's implementations and has no effect here.
    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    number("clip_grad_norm_: max_norm", max_norm, 0)
    if not number("clip_grad_norm_: norm_type", norm_type) > 0:
        raise OptionError(f"clip_grad_norm_: norm_type must be positive, got {norm_type!r}")
    parameters = _tensors("clip_grad_norm_", parameters)
    total = _total("clip_grad_norm_", [p.grad for p in parameters if p.grad is not None], norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def _tensors(name: str, parameters: Any) -> list[Tensor]:
    """One Tensor or several, as a list."""
    if isinstance(parameters, Tensor):
        return [parameters]
    if isinstance(parameters, (Module, str)) or not isinstance(parameters, Iterable):
        hint = "; write its parameters()" if isinstance(parameters, Module) else ""
        raise DTypeError(f"{name}: takes Tensors, not {type(parameters).__name__}{hint}")
    found = list(parameters)
    for p in found:
        if not isinstance(p, Tensor):
            raise DTypeError(f"{name}: takes Tensors, not {type(p).__name__}")
    return found


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """The norm of all numbers of several Tensors together, in float64; `foreach` has no effect here"""
    if not number("get_total_norm: norm_type", norm_type) > 0:
        raise OptionError(f"get_total_norm: norm_type must be positive, got {norm_type!r}")
    return _total("get_total_norm", _tensors("get_total_norm", tensors), norm_type, error_if_nonfinite)


def _total(name: str, tensors: list[Tensor], norm_type: float, error_if_nonfinite: bool) -> Tensor:
    if not tensors:
        return zeros((), np.float64)
    xp = space_of(tensors[0]._array)
    total = _norm(xp, xp.stack([_norm(xp, t._array, norm_type) for t in tensors]), norm_type)
    if error_if_nonfinite and not bool(xp.isfinite(total)):
        raise GraphError(f"{name}: the norm of the gradients is {float(total)}; no clipping can mend that")
    return wrap(xp.asarray(total), None)


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """g ← g · min(1, max_norm/total_norm), with a norm that is known already (see `get_total_norm`)"""
    number("clip_grads_with_norm_: max_norm", max_norm, 0)
    total = total_norm._array
    factor = space_of(total).minimum(max_norm / (total + 1e-6), 1.0)
    for p in _tensors("clip_grads_with_norm_", parameters):
        if p.grad is not None:
            g = p.grad._array
            p.grad = wrap(g * factor.astype(g.real.dtype), None)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All numbers of several Tensors in one, end to end; gradients pass"""
    found = [p.reshape((-1,)) for p in _tensors("parameters_to_vector", parameters)]
    if not found:
        raise OptionError("parameters_to_vector: got no parameters")
    return record_of("concat")(found, axis=0)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Writes the numbers of one vector into several Tensors, end to end: `parameters_to_vector` undone"""
    parameters = _tensors("vector_to_parameters", parameters)
    wanted = sum(p.size for p in parameters)
    if not isinstance(vec, Tensor) or vec.shape != (wanted,):
        got = f"shape {list(vec.shape)}" if isinstance(vec, Tensor) else type(vec).__name__
        raise ShapeError(f"vector_to_parameters: wants a Tensor of shape [{wanted}], as many numbers as the "
                         f"parameters have, got {got}")  # fmt: skip
    at = 0
    for p in parameters:
        p.copy_(vec.detach()[at : at + p.size].reshape(p.shape))
        at += p.size


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:  # fmt: skip
    """g ← min(max(g, −c), c), each number for itself, with c = clip_value; `foreach` has no effect here

    Source: Mikolov, "Statistical language models based on neural networks", 2012.
    """
    number("clip_grad_value_: clip_value", clip_value, 0)
    for p in _tensors("clip_grad_value_", parameters):
        if p.grad is not None:
            g = p.grad._array
            p.grad = wrap(space_of(g).clip(g, -clip_value, clip_value), None)


def _norm(xp: Any, g: Any, norm_type: float) -> Any:
    size = xp.abs(g).astype(np.float64).reshape(-1)
    if norm_type == float("inf"):
        return xp.max(size) if g.size else xp.zeros(())
    if norm_type == 2.0:
        return xp.sqrt(xp.dot(size, size))
    return xp.sum(size**norm_type) ** (1 / norm_type)


# Penalties


def l1_penalty(model: Module | Iterable[Tensor], weights_only: bool = True) -> Tensor:
    """Ω = Σ |w|, whose slope is sign w: λ Ω beside the loss moves each weight towards 0 by η λ, whatever its size

    `weights_only` leaves out what has fewer than two dimensions: biases, and the scales of normalization.
    (A slide adds α λ/m sign w to w; that grows the weights. A step down subtracts it.)
    """
    return _penalty("l1_penalty", model, weights_only, lambda w: abs(w).sum())


def l2_penalty(model: Module | Iterable[Tensor], weights_only: bool = True) -> Tensor:
    """Ω = ½ Σ w², whose slope is w: λ Ω beside the loss is what `weight_decay` = λ does in SGD

    `weights_only` leaves out what has fewer than two dimensions: biases, and the scales of normalization.
    """
    return _penalty("l2_penalty", model, weights_only, lambda w: (w * w).sum() * 0.5)


def _penalty(name: str, model: Any, weights_only: bool, of_one: Callable[[Tensor], Tensor]) -> Tensor:
    parameters = model.parameters() if isinstance(model, Module) else [model] if isinstance(model, Tensor) else model
    terms = [of_one(p) for p in parameters if p.ndim >= 2 or not weights_only]
    if not terms:
        raise OptionError(f"{name}: there is nothing to penalize: no parameter with two dimensions or more")
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


# Weight normalization


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """W = g V/‖V‖: the parameter becomes two, its lengths g (`weight_g`) and its directions V (`weight_v`)

    ‖V‖ is over all axes but `dim`, so that each output has a length of its own; over all for dim=None. W is computed
    anew whenever the module asks for it. The gradient of V is orthogonal to V: a step never makes V shorter.

    Source: Salimans and Kingma, "Weight normalization", 2016.
    """
    if isinstance(module, _WeightNormed):
        raise OptionError(f"weight_norm: {type(module).__name__} has weight norm already")
    weight = vars(module).get(name)
    if not isinstance(weight, Parameter):
        raise OptionError(f"weight_norm: {type(module).__name__} has no parameter {name!r}")
    axes = _all_but(weight, dim)
    length = Parameter(weight.detach() * 0 + 1) if not weight.ndim else _length(weight.detach(), axes)
    del vars(module)[name]
    kind: Any = type(module)
    module.__class__ = _weight_normed(kind, name, axes)
    setattr(module, f"{name}_g", Parameter(length.detach(), dtype=weight.dtype, device=weight.device))
    setattr(module, f"{name}_v", Parameter(weight.detach(), dtype=weight.dtype, device=weight.device))
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Puts the one parameter W = g V/‖V‖ back in the place of the two."""
    if not isinstance(module, _WeightNormed) or module.normed != name:
        raise OptionError(f"remove_weight_norm: {name!r} of {type(module).__name__} has no weight norm")
    weight = getattr(module, name).detach()
    module.__class__ = type(module).__mro__[2]
    for part in ("g", "v"):
        del vars(module)[f"{name}_{part}"]
    setattr(module, name, Parameter(weight, dtype=weight.dtype, device=weight.device))
    return module


def _all_but(weight: Tensor, dim: int | None) -> tuple[int, ...]:
    if dim is not None and not -weight.ndim <= dim < weight.ndim:
        raise OptionError(f"weight_norm: dim {dim} is not one of a weight of shape {list(weight.shape)}")
    return tuple(a for a in range(weight.ndim) if dim is None or a != dim % weight.ndim)


def _length(v: Tensor, axes: tuple[int, ...]) -> Tensor:
    flat_length = record_of("vector_norm")(v, axis=axes, keepdims=True)
    return flat_length.reshape(()) if len(axes) == v.ndim else flat_length


class _WeightNormed(Module):
    """Marks a module whose weight is computed; `_weight_normed` puts it above the module's own class."""

    normed: str
    axes: tuple[int, ...]

    def __reduce__(self) -> Any:
        return _rebuilt, (type(self).__mro__[2], self.normed, self.axes), self.__dict__


def _rebuilt(kind: Any, name: str, axes: tuple[int, ...]) -> Any:
    kind = _weight_normed(kind, name, axes)
    return kind.__new__(kind)


@functools.cache
def _weight_normed(kind: Any, name: str, axes: tuple[int, ...]) -> Any:
    def weight(self: Any) -> Tensor:
        g, v = vars(self)[f"{name}_g"], vars(self)[f"{name}_v"]
        return v * (g / _length(v, axes))

    members = {name: property(weight), "normed": name, "axes": axes, "__doc__": kind.__doc__}
    return type(kind.__name__, (_WeightNormed, kind), members)
