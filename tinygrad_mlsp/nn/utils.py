"""Helpers around gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..backend import space_of
from ..errors import GraphError, OptionError
from ..namespace import zeros
from ..tensor import Tensor, wrap


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """g ← g · min(1, max_norm/‖g‖), with the joint norm ‖g‖ of all gradients, which is returned

    The norm is computed in float64, so that it does not overflow before the gradients do.
    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    if not (max_norm >= 0 and norm_type > 0):
        raise OptionError(
            f"clip_grad_norm_: max_norm must not be negative, norm_type positive; got {max_norm}, {norm_type}"
        )
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    gradients = [(p, p.grad._array) for p in parameters if p.grad is not None]
    if not gradients:
        return zeros((), np.float64)
    xp = space_of(gradients[0][1])
    norms = xp.stack([_norm(xp, g, norm_type) for _, g in gradients])
    total = _norm(xp, norms, norm_type)
    if error_if_nonfinite and not bool(xp.isfinite(total)):
        raise GraphError(f"clip_grad_norm_: the norm of the gradients is {float(total)}; no clipping can mend that")
    factor = xp.minimum(max_norm / (total + 1e-6), 1.0)
    for p, g in gradients:
        p.grad = wrap(g * factor.astype(g.real.dtype), None)
    return wrap(xp.asarray(total), None)


def _norm(xp: Any, g: Any, norm_type: float) -> Any:
    size = xp.abs(g).astype(np.float64).reshape(-1)
    if norm_type == float("inf"):
        return xp.max(size) if g.size else xp.zeros(())
    if norm_type == 2.0:
        return xp.sqrt(xp.dot(size, size))
    return xp.sum(size**norm_type) ** (1 / norm_type)
