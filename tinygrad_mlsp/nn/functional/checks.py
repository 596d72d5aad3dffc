"""What functions and layers ask of their arguments, and the error where it is not so."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ...errors import DTypeError, GraphError, OptionError
from ...tensor import Tensor


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> Any:
    """The value, if it is a number from `low` to `high`; `name` is the function's and the option's."""
    try:
        right = low <= value <= high
    except TypeError:
        right = False
    if not right:
        where = f" from {low:g} to {high:g}" if high < math.inf else f" of {low:g} or more" if low > -math.inf else ""
        raise OptionError(f"{name} must be a number{where}, got {value!r}")
    return value


def tensor(name: str, argument: str, value: Any) -> None:
    """An error unless the value is a Tensor, or at least an array or a number."""
    if not isinstance(value, Tensor) and not hasattr(value, "shape") and not isinstance(value, (int, float, complex)):
        raise DTypeError(
            f"{name}: the {argument} must be a Tensor, not {type(value).__name__}; make one with tg.Tensor(…)"
        )


def in_place(name: str, input: Tensor, y: Tensor) -> Tensor:
    """The input, with y written into it: later uses of it see y, and the gradient goes through y."""
    if not isinstance(input, Tensor):
        raise DTypeError(f"{name}: inplace=True writes into a Tensor, not into {type(input).__name__}")
    try:
        input[...] = y
    except GraphError as error:
        raise GraphError(f"{name}: inplace=True writes into the input; {error}; or leave inplace False") from None
    return input


REDUCTIONS = ("mean", "sum", "none")


def reduction_of(
    name: str, reduction: Any, size_average: bool | None = None, reduce: bool | None = None, more: tuple[str, ...] = ()
) -> str:
    """The reduction, which PyTorch's two older arguments stand for if they are given."""
    if size_average is not None or reduce is not None:
        each, all_of_them = reduce is not None and not reduce, size_average is None or bool(size_average)
        reduction = "none" if each else "mean" if all_of_them else "sum"
        warnings.warn(
            f"{name}: size_average and reduce are PyTorch's older arguments; write reduction={reduction!r} for them",
            FutureWarning,
            stacklevel=3,
        )
    if reduction not in (*REDUCTIONS, *more):
        named = [repr(r) for r in (*REDUCTIONS, *more)]
        raise OptionError(f"{name}: reduction is {', '.join(named[:-1])} or {named[-1]}, not {reduction!r}")
    return str(reduction)
