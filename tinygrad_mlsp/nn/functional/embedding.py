"""Rows of a table, by their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import space_of
from ...errors import DTypeError, IndexingError, OptionError, ShapeError
from ...namespace import asarray
from ...tensor import Tensor, record_of, wrap

_take, _where = record_of("take"), record_of("where")


def _indices(name: str, input: Any, n: int, device: str) -> Tensor:
    input = input if isinstance(input, Tensor) else asarray(input, device=device)
    if input.dtype.kind not in "iu":
        raise DTypeError(f"{name}: wants whole numbers, not {input.dtype}; use astype('int64')")
    if input.size and input.device != "shapes":
        low, high = int(input._array.min()), int(input._array.max())
        if low < 0 or high >= n:
            raise IndexingError(f"{name}: index {low if low < 0 else high} is not one of 0 to {n - 1}")
    return input


def embedding(
    input: Any, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0
) -> Tensor:
    """y = weight[input]: the rows of a table; the gradient of a row is the sum over all its uses

    The row `padding_idx` gets no gradient. With `max_norm`, rows that are used and longer (in the norm of order
    `norm_type`) are first made that long, in place.

    Shapes: input [...] of whole numbers, weight [rows, features], y [..., features].
    Raises: IndexingError for a number that is no row's.
    """
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight must be [rows, features], got shape {list(weight.shape)}")
    rows = weight.shape[0]
    index = _indices("embedding", input, rows, weight.device)
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise OptionError(f"embedding: padding_idx={padding_idx} is not one of {rows} rows")
        padding_idx %= rows
    if max_norm is not None and index.size and weight.device != "shapes":
        _shorten(index, weight, max_norm, norm_type)
    y = _take(weight, index, axis=0)
    if padding_idx is None:
        return y
    padding = wrap((index._array == padding_idx)[..., None], None)
    return _where(padding, y.detach(), y)


def _shorten(index: Tensor, weight: Tensor, max_norm: float, norm_type: float) -> None:
    xp, table = space_of(weight._array), weight._array
    used = xp.unique(index._array.reshape(-1))
    picked = table[used]
    lengths = (xp.abs(picked) ** norm_type).sum(axis=1, keepdims=True) ** (1 / norm_type)
    if not bool((lengths > max_norm).any()):
        return
    factors = xp.where(lengths > max_norm, max_norm / (lengths + 1e-7), 1).astype(table.dtype)
    new = table.copy()
    new[used] = picked * factors
    weight.copy_(new)


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """y[..., k] = 1 where the number is k, else 0, as whole numbers

    Without `num_classes` there are as many as the largest number needs.
    """
    tensor = tensor if isinstance(tensor, Tensor) else asarray(tensor)
    if num_classes == -1:
        if not tensor.size:
            raise ShapeError("one_hot: no numbers, so num_classes must be given")
        num_classes = int(tensor._array.max()) + 1
    index = _indices("one_hot", tensor, num_classes, tensor.device)
    xp = space_of(index._array)
    return wrap((index._array[..., None] == xp.arange(num_classes)).astype(np.int64), None)
