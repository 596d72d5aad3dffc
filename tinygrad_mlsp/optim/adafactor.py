"""Adam's second moment in rows and columns: little memory for large matrices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..backend import to_device
from ..errors import OptionError, ShapeError
from ..tensor import Tensor, wrap
from .optimizer import Arena, Block, Optimizer


class Adafactor(Optimizer):
    """p ← p − a u/max(1, RMS(u)/d), u = g/√v, a = max(ε₂, RMS(p)) min(lr, 1/√t), v ← v + t^β₂ (g² − v)

    Of a matrix v is r c/mean r, with the means r and c of its rows and columns alone (the last two axes), so that
    n × m numbers need n + m of state. The steps are in the units of p. β₂ is beta2_decay, ε = eps; ε₁² is the least v,
    and None the dtype's ε. With weight_decay λ, p shrinks by lr λ p; with maximize, g stands for −g.

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018.
    """

    counted = ("step", "row_var", "col_var", "variance")
    apart = True

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
        maximize: bool = False, **implementation: Any,
    ) -> None:  # fmt: skip
        eps = tuple(eps) if isinstance(eps, list) else eps
        options = {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
                   "maximize": maximize}  # fmt: skip
        super().__init__(params, options, implementation)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "weight_decay", "d")
        try:
            eps1, eps2 = options["eps"]
            right = (eps1 is None or eps1 >= 0) and eps2 >= 0 and options["beta2_decay"] <= 0 and options["d"] >= 1
        except (TypeError, ValueError):
            right = False
        if not right:
            raise OptionError(
                "Adafactor: eps are two numbers of 0 or more (the first may be None), beta2_decay is 0 or less, d 1 or "
                f"more; got {options['eps']!r}, {options['beta2_decay']!r}, {options['d']!r}"
            )

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, (parameter,), lr = arena.xp, block.parameters, options["lr"]
        if not parameter.size:
            return
        p, g = (x.reshape(parameter.shape) for x in (arena.values[block.span], g))
        share = float(block.steps) ** options["beta2_decay"]
        eps1 = float(np.finfo(p.dtype).eps) if options["eps"][0] is None else options["eps"][0]
        rate = xp.maximum(options["eps"][1], _length(xp, p) / math.sqrt(p.size)) * min(lr, 1 / math.sqrt(block.steps))
        if options["weight_decay"]:
            xp.multiply(p, 1 - lr * options["weight_decay"], p)
        squares = g * g
        shapes = _shapes(p.shape)
        kept = block.scale or tuple(xp.zeros(shape, dtype=p.dtype) for shape in shapes.values())
        kept = [to_device(k, arena.device).astype(p.dtype, copy=False) for k in kept]
        if len(kept) == 2:
            rows, columns = (
                k + share * (xp.mean(squares, axis=axis, keepdims=True) - k)
                for k, axis in zip(kept, (-1, -2), strict=True)
            )
            block.scale = rows, columns
            v = rows * columns / xp.maximum(xp.mean(rows, axis=-2, keepdims=True), eps1)
        else:
            v = kept[0] + share * (squares - kept[0])
            block.scale = (v,)
        u = g / xp.sqrt(xp.maximum(v, eps1 * eps1))
        rate = rate / xp.maximum(1.0, _length(xp, u) / (math.sqrt(p.size) * options["d"]))
        if options["maximize"]:
            rate = -rate
        xp.subtract(p, (u * rate).astype(p.dtype, copy=False), p)

    def _scale_entry(self, scale: Any) -> dict[str, Any]:
        names = ("variance",) if len(scale) == 1 else ("row_var", "col_var")
        return {name: wrap(value, None) for name, value in zip(names, scale, strict=True)}

    def _scale_from(self, entry: Mapping[str, Any]) -> Any:
        names = ("variance",) if entry.get("variance") is not None else ("row_var", "col_var")
        found = [entry.get(name) for name in names]
        if any(value is None for value in found):
            return None
        return tuple(value._array if isinstance(value, Tensor) else np.asarray(value) for value in found)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on exactly where the optimizer stood that gave this state. If it does not fit, nothing is changed."""
        state = state_dict.get("state") if isinstance(state_dict, Mapping) else None
        parameters = [p for group in self.param_groups for p in group["params"]]
        for number, entry in state.items() if isinstance(state, Mapping) else ():
            shapes = _shapes(parameters[number].shape) if number in range(len(parameters)) else {}
            for name, value in entry.items() if isinstance(entry, Mapping) else ():
                if name in shapes and value is not None and tuple(np.shape(value)) != shapes[name]:
                    raise ShapeError(
                        f"Adafactor.load_state_dict: {name} of parameter {number} has shape {list(np.shape(value))}, "
                        f"not {list(shapes[name])}"
                    )
        super().load_state_dict(state_dict)


def _shapes(shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """What is kept of the second moment of a parameter."""
    if len(shape) < 2:
        return {"variance": shape}
    return {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, shape[-1])}


def _length(xp: Any, x: Any) -> Any:
    x = x.reshape(-1)
    return xp.sqrt(xp.dot(x, x))
