"""Pooling by a norm, and max-pooling undone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...backend import space_of
from ...errors import DTypeError, IndexingError, OptionError, ShapeError
from ...tensor import Tensor, record_of, wrap
from .convolution import Ints, given_back, images, numbers
from .pooling import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d

_abs, _where, _reshape, _set_at = map(record_of, ("abs", "where", "reshape", "set_at"))
_AVERAGE = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}
_MAXIMUM = {1: max_pool1d, 2: max_pool2d, 3: max_pool3d}


def _lp_pool(n: int, input: Tensor, norm_type: float, kernel: Any, stride: Any, ceil_mode: bool) -> Tensor:
    name = f"lp_pool{n}d"
    if (
        isinstance(norm_type, bool)
        or not isinstance(norm_type, (int, float))
        or norm_type == 0
        or norm_type != norm_type
    ):
        raise OptionError(f"{name}: norm_type is a number other than 0, or ±inf, not {norm_type!r}")
    if math.isinf(norm_type):
        sign = 1 if norm_type > 0 else -1
        y: Tensor = _MAXIMUM[n](_abs(input) * sign, kernel, stride, 0, 1, ceil_mode)
        return y * sign
    count = math.prod(numbers(f"{name}: kernel_size", kernel, n))
    total = _AVERAGE[n](input**norm_type, kernel, stride, 0, ceil_mode) * count
    nothing = wrap(total._array == 0, None)  # where the root has no slope: 0
    return _where(nothing, 0.0, _where(nothing, 1.0, total) ** (1 / norm_type))


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
) -> Tensor:
    """y[b, c, p] = (Σ x[b, c, p s + k]ᵖ)^(1/p) over the k of a window, p = norm_type; the slope is 0 where the sum is 0

    The powers are of x itself, not of |x|. p = 1 is the sum, p = ∞ the largest |x|.

    Shapes: x [batch, channels, length], y [batch, channels, places].
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
) -> Tensor:
    """`lp_pool1d` for pictures."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
) -> Tensor:
    """`lp_pool1d` for volumes."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def _max_unpool(
    n: int, input: Tensor, indices: Tensor, kernel: Any, stride: Any, padding: Any, output_size: Sequence[int] | None
) -> Tensor:
    name = f"max_unpool{n}d"
    x, batched = images(name, input, n)
    if not isinstance(indices, Tensor) or indices.dtype.kind not in "iu":
        kind = indices.dtype if isinstance(indices, Tensor) else type(indices).__name__
        raise DTypeError(f"{name}: the indices are those of max_pool{n}d(..., return_indices=True), not {kind}")
    if indices.shape != input.shape:
        raise ShapeError(f"{name}: the indices have shape {list(indices.shape)}, the input {list(input.shape)}")
    kernel = numbers(f"{name}: kernel_size", kernel, n)
    stride = kernel if stride is None else numbers(f"{name}: stride", stride, n)
    padding = numbers(f"{name}: padding", padding, n, 0)
    space = tuple([(m - 1) * s - 2 * p + k for m, k, s, p in zip(x.shape[2:], kernel, stride, padding, strict=True)])
    if output_size is not None:
        size = tuple(output_size)[2 if len(output_size) == n + 2 else 0 :]
        if len(size) != n or any(abs(m - usual) >= s for m, usual, s in zip(size, space, stride, strict=False)):
            raise OptionError(
                f"{name}: output_size={tuple(output_size)} must be nearer to {space}, the size without it, than "
                f"the stride {stride}"
            )
        space = size
    whole, rows = math.prod(space), x.shape[0] * x.shape[1]
    xp = space_of(x._array)
    if indices.size and x.device != "shapes":
        low, high = int(indices._array.min()), int(indices._array.max())
        if low < 0 or high >= whole:
            raise IndexingError(f"{name}: index {low if low < 0 else high} is not one of 0 to {whole - 1}, of {space}")
    at = indices._array.reshape((rows, -1))
    row = xp.arange(rows).reshape((rows, 1))
    y = _set_at(wrap(xp.zeros((rows, whole), dtype=x.dtype), None), _reshape(x, at.shape), index=(row, at))
    return given_back(_reshape(y, (*x.shape[:2], *space)), batched)


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Each entry back at the place that `max_pool1d(..., return_indices=True)` took it from, and zeros elsewhere

    Several lengths are pooled to the same one; `output_size` chooses. Where windows overlap and two entries have the
    same place, the last is there, and it alone has a gradient.

    Shapes: input and indices [batch, channels, places], y [batch, channels, length] with length
    (places − 1) stride − 2 padding + kernel_size.
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """`max_unpool1d` for pictures."""
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """`max_unpool1d` for volumes."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)
