"""Rows of a table, by their numbers."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ...backend import space_of, to_device
from ...errors import DTypeError, IndexingError, OptionError, ShapeError
from ...namespace import asarray
from ...tensor import Tensor, record_of, wrap
from .checks import number, tensor
from .convolution import beside

_take, _where = record_of("take"), record_of("where")
_sum, _reshape, _scattered, _along = map(record_of, ("sum", "reshape", "scatter_at", "take_along_axis"))


def _indices(name: str, input: Any, n: int, device: str) -> Tensor:
    if not isinstance(input, Tensor):
        try:
            input = asarray(input, device=device)
        except DTypeError:
            raise DTypeError(f"{name}: wants whole numbers, not {type(input).__name__}") from None
    if input.dtype.kind not in "iu":
        raise DTypeError(f"{name}: wants whole numbers, not {input.dtype}; use astype('int64')")
    if input.size and input.device != "shapes":
        low, high = int(input._array.min()), int(input._array.max())
        if low < 0 or high >= n:
            raise IndexingError(f"{name}: index {low if low < 0 else high} is not one of 0 to {n - 1}")
    return input


def embedding(
    input: Any, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """y = weight[input]: the rows of a table; the gradient of a row is the sum over all its uses

    The row `padding_idx` gets no gradient. With `max_norm`, rows that are used and longer (in the norm of order
    `norm_type`) are first made that long, in place.

    Shapes: input [...] of whole numbers, weight [rows, features], y [..., features].
    Raises: IndexingError for a number that is no row's.
    """
    tensor("embedding", "weight", weight)
    if scale_grad_by_freq or sparse:
        raise OptionError(
            "embedding: gradients here are dense sums over all uses; leave scale_grad_by_freq and sparse False"
        )
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
    number("embedding: max_norm", max_norm, 0)
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


def embedding_bag(
    input: Any, weight: Tensor, offsets: Any = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """y[b] = Σ weight[i] over the numbers i of bag b, or their mean, or the largest of each feature

    Bags are the rows of a matrix of numbers; of a list, bag b begins at offsets[b] (with include_last_offset there is
    one offset more, the end). `per_sample_weights` are factors in the sum. An empty bag gives 0, and `padding_idx`
    counts as not there. Of equal largest entries the first has the gradient. `max_norm` as in `embedding`.

    Shapes: input [bags, numbers] or [numbers] with offsets [bags], weight [rows, features], y [bags, features].
    Raises: IndexingError for a number that is no row's.
    """
    name = "embedding_bag"
    if scale_grad_by_freq or sparse:
        raise OptionError(
            f"{name}: gradients here are dense sums over all uses; leave scale_grad_by_freq and sparse False"
        )
    if mode not in ("sum", "mean", "max"):
        raise OptionError(f"{name}: mode is 'sum', 'mean' or 'max', not {mode!r}")
    if weight.ndim != 2:
        raise ShapeError(f"{name}: weight must be [rows, features], got shape {list(weight.shape)}")
    rows, features = weight.shape
    index = _indices(name, input, rows, weight.device)
    starts, lengths = _bags(index, offsets, include_last_offset)
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise OptionError(f"{name}: padding_idx={padding_idx} is not one of {rows} rows")
        padding_idx %= rows
    if per_sample_weights is not None and (mode != "sum" or per_sample_weights.shape != index.shape):
        raise OptionError(
            f"{name}: per_sample_weights go with mode='sum' and have the input's shape {list(index.shape)}, got "
            f"mode={mode!r} and {list(per_sample_weights.shape)}"
        )
    if max_norm is not None and index.size and weight.device != "shapes":
        _shorten(index, weight, max_norm, norm_type)
    xp, flat, bags = space_of(index._array), index._array.reshape(-1), len(lengths)
    counted = None if padding_idx is None else flat != padding_idx
    if mode == "max":
        return _largest(weight, flat, counted, starts, lengths)
    found = _take(weight, wrap(flat, None), axis=0)
    if per_sample_weights is not None:
        found = found * _reshape(per_sample_weights, (-1, 1))
    if counted is not None:
        found = _where(wrap(counted[:, None], None), found, 0.0)
    bag = None if index.ndim == 2 else _beside(np.repeat(np.arange(bags), lengths), index)
    if bag is None:
        y = _sum(_reshape(found, (*index.shape, features)), axis=1)
    else:
        y = _scattered(found, index=(bag,), shape=(bags, features))
    if mode == "sum":
        return y
    if counted is None:
        counts = beside(np.maximum(lengths, 1)[:, None], y)
    elif bag is None:
        counts = xp.maximum(counted.reshape(index.shape).sum(axis=1, keepdims=True), 1)
    else:
        counts = xp.maximum(xp.bincount(bag, counted, bags), 1)[:, None]
    return y / wrap(counts.astype(y.dtype), None)


def _beside(values: Any, index: Tensor) -> Any:
    """Whole numbers of the host as an array where the index is."""
    return to_device(values, "cpu" if index.device == "shapes" else index.device)


def _bags(index: Tensor, offsets: Any, include_last_offset: bool) -> tuple[Any, Any]:
    """Where each bag begins, and how many numbers it has, on the host."""
    if index.ndim == 2 and offsets is None:
        bags, length = index.shape
        return np.arange(bags) * length, np.full(bags, length)
    given = offsets.numpy() if isinstance(offsets, Tensor) else np.asarray([] if offsets is None else offsets, int)
    ends = [] if include_last_offset else [index.size]
    starts = np.concatenate([given.reshape(-1), ends]).astype(np.int64)
    right = len(starts) > 0 and starts[0] == 0 and starts[-1] == index.size and bool((np.diff(starts) >= 0).all())
    if index.ndim != 1 or given.ndim != 1 or given.dtype.kind not in "iu" or not right:
        raise ShapeError(
            "embedding_bag: wants numbers [bags, numbers] without offsets, or [numbers] with offsets that begin with 0 "
            f"and rise to at most {index.size} (with include_last_offset to just that); got shape "
            f"{list(index.shape)} and offsets {None if offsets is None else given.tolist()}"
        )
    return starts[:-1], np.diff(starts)


def _largest(weight: Tensor, flat: Any, counted: Any, starts: Any, lengths: Any) -> Tensor:
    xp, bags, longest = space_of(flat), len(lengths), int(lengths.max(initial=0))
    if not longest:
        return wrap(xp.zeros((bags, weight.shape[1]), dtype=weight.dtype), None)
    within = np.arange(longest) < lengths[:, None]
    index = wrap(flat, None)
    at = _beside(np.where(within, starts[:, None] + np.arange(longest), 0), index)
    there = _beside(within, index)
    there = (there if counted is None else there & counted[at])[..., None]
    found = _take(weight, wrap(flat[at], None), axis=0)
    first = xp.argmax(xp.where(there, found._array, -float("inf")), axis=1)[:, None]
    y = _reshape(_along(found, wrap(first, None), axis=1), (bags, weight.shape[1]))
    return _where(wrap(there.any(axis=1), None), y, 0.0)


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """y[..., k] = 1 where the number is k, else 0, as whole numbers

    Without `num_classes` there are as many as the largest number needs.
    """
    tensor = _indices("one_hot", tensor, sys.maxsize, tensor.device if isinstance(tensor, Tensor) else "cpu")
    if number("one_hot: num_classes", num_classes, -1) == -1:
        if not tensor.size:
            raise ShapeError("one_hot: no numbers, so num_classes must be given")
        num_classes = int(tensor._array.max()) + 1
    index = _indices("one_hot", tensor, num_classes, tensor.device)
    xp = space_of(index._array)
    return wrap((index._array[..., None] == xp.arange(num_classes)).astype(np.int64), None)
