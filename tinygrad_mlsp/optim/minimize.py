"""minimize(f, x0): any of the optimizers on a function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from ..derivatives import flatten
from ..errors import OptionError
from ..tensor import Tensor
from .adafactor import Adafactor
from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .adaptive import Adadelta, Adagrad, RMSprop
from .asgd import ASGD
from .newton import HessianFree, Newton
from .optimizer import Optimizer
from .quasi_newton import BFGS, LBFGS, NonlinearCG, WholeBatch, size_of
from .sgd import SGD
from .signs import DeltaBarDelta, Lion, Rprop

METHODS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "sgd": (SGD, {}),
    "momentum": (SGD, {"momentum": 0.9}),
    "nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "delta-bar-delta": (DeltaBarDelta, {}),
    "adagrad": (Adagrad, {}),
    "rmsprop": (RMSprop, {}),
    "adadelta": (Adadelta, {}),
    "adam": (Adam, {}),
    "adamw": (AdamW, {}),
    "adamax": (Adamax, {}),
    "nadam": (NAdam, {}),
    "radam": (RAdam, {}),
    "lion": (Lion, {}),
    "rprop": (Rprop, {}),
    "asgd": (ASGD, {}),
    "adafactor": (Adafactor, {}),
    "cg": (NonlinearCG, {}),
    "cg-fr": (NonlinearCG, {"method": "FR"}),
    "bfgs": (BFGS, {}),
    "l-bfgs": (LBFGS, {"line_search_fn": "strong_wolfe", "history_size": 10}),
    "newton": (Newton, {}),
    "newton-damped": (Newton, {"method": "damped"}),
    "hessian-free": (HessianFree, {}),
}


@dataclass
class Result:
    """Where a minimization ended, and the way there."""

    x: Any
    fun: float
    nit: int  # iterations
    nfev: int  # evaluations of f
    success: bool  # whether the gradient was as small as asked
    trajectory: list[Any] = field(repr=False)  # x after each iteration, as NumPy arrays, x0 first
    losses: list[float] = field(repr=False)


def minimize(
    f: Callable[[Any], Any], x0: Any, method: str = "bfgs", *, max_iter: int = 200, tolerance_grad: float = 1e-7,
    loss: Callable[[Any], Any] | None = None, **options: Any,
) -> Result:  # fmt: skip
    """The x at which the scalar f is least, from x0 on, with any optimizer of this package by name

    x0 is an array, a number, or a nest of them; what is not an array counts in float64. `options` are the optimizer's.
    With method="hessian-free", f returns outputs and `loss` makes the number of them: loss(f(x)) is minimized.

    >>> minimize(lambda x: ((x - 3.0) ** 2).sum(), [0.0, 1.0], "newton").x.tolist()
    [3.0, 3.0]
    """
    if method not in METHODS:
        raise OptionError(f"minimize: method is one of {', '.join(METHODS)}; got {method!r}")
    if not callable(f) or not (loss is None or callable(loss)):
        raise OptionError(f"minimize: f and loss are functions, got {f!r} and {loss!r}")
    most: Any = max_iter
    least: Any = tolerance_grad
    whole = isinstance(most, (int, np.integer)) and not isinstance(most, bool) and most >= 0
    if not whole or isinstance(least, bool) or not isinstance(least, Real):
        raise OptionError(
            f"minimize: max_iter is a whole number of 0 or more, tolerance_grad a number; got {max_iter!r} and "
            f"{tolerance_grad!r}"
        )
    kind, preset = METHODS[method]
    if (loss is not None) != (kind is HessianFree):
        raise OptionError("minimize: 'hessian-free', and only that, takes loss=, a scalar function of f's outputs")
    leaves, rebuild = flatten(x0)
    parameters = [_start(leaf) for leaf in leaves]
    if not parameters:
        raise OptionError(f"minimize: x0 has no numbers: {x0!r}")
    more = {"tolerance_grad": tolerance_grad, "max_iter": max_iter} if issubclass(kind, WholeBatch) else {}
    if kind in (BFGS, LBFGS, NonlinearCG):
        more |= {"max_eval": 25 * max_iter, "tolerance_change": 1e-300}
    try:
        optimizer = kind(parameters, **{**preset, **more, **options})
    except TypeError as problem:
        raise OptionError(f"minimize: {problem}; options are those of optim.{kind.__name__}") from None
    trajectory: list[Any] = [_snapshot(parameters, rebuild)]
    losses: list[float] = []
    slopes: list[float] = []
    evaluations = 0

    def scalar(value: Any) -> Tensor:
        if not isinstance(value, Tensor) or value.size != 1:
            got = f"shape {list(value.shape)}" if isinstance(value, Tensor) else repr(value)
            name = "f" if loss is None else "loss"
            raise OptionError(f"minimize: {name} must give a Tensor of one number, got {got}")
        return value

    def objective() -> Any:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        value = scalar(f(rebuild(parameters)))
        value.backward()
        return value

    def record(x: Any, value: float, g: Any) -> None:
        trajectory.append(_snapshot(parameters, rebuild))
        losses.append(value)

    if isinstance(optimizer, WholeBatch):
        optimizer.watch = record
        if isinstance(optimizer, HessianFree) and loss is not None:
            losses.insert(0, float(optimizer.step(lambda: f(rebuild(parameters)), lambda out: scalar(loss(out)))))
        else:
            compute = lambda: scalar(f(rebuild(parameters)))
            losses.insert(0, float(optimizer.step(compute if isinstance(optimizer, Newton) else objective)))
        evaluations = max(evaluations, optimizer._memory.get("func_evals", 0))
    else:
        for _ in range(max_iter):
            losses.append(float(objective()))
            slopes.append(max((size_of(p.grad._array) for p in parameters if p.grad is not None), default=0.0))
            if not slopes[-1] > tolerance_grad:
                break
            optimizer.step()
            trajectory.append(_snapshot(parameters, rebuild))
    total = (lambda: f(rebuild(parameters))) if loss is None else (lambda: loss(f(rebuild(parameters))))
    optimizer.zero_grad()
    last = total()
    last.backward()
    steep = max((size_of(p.grad._array) for p in parameters if p.grad is not None), default=0.0)
    value = float(last)
    if len(losses) < len(trajectory):
        losses.append(value)
    x = rebuild([p.detach() for p in parameters])
    done = steep <= tolerance_grad and math.isfinite(value)
    return Result(x, value, len(trajectory) - 1, evaluations, done, trajectory, losses)


def _start(leaf: Any) -> Tensor:
    """One array of x0 as a parameter, in memory of its own."""
    leaf = leaf._array if isinstance(leaf, Tensor) else leaf
    try:
        if leaf is None or isinstance(leaf, (str, bytes)):
            raise TypeError
        p = Tensor(leaf.copy() if hasattr(leaf, "dtype") else np.asarray(leaf, np.float64))
    except (TypeError, ValueError):
        raise OptionError(f"minimize: x0 is made of real numbers and arrays, got {leaf!r}"[:200]) from None
    p.requires_grad = True
    return p


def _snapshot(parameters: list[Tensor], rebuild: Callable[[Any], Any]) -> Any:
    return rebuild([p.numpy().copy() for p in parameters])
