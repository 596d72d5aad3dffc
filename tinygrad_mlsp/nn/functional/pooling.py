"""Pooling: the largest entry, or the mean, of every window of an image, each axis of space in its turn.

Images are [batch, channels, …space], or without a batch. Of several equal largest entries the first has the gradient,
row by row, as in PyTorch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...errors import OptionError, ShapeError
from ...tensor import Tensor, record_of, wrap
from .convolution import (
    Ints,
    adaptive_windows,
    averaged,
    beside,
    fit,
    given_back,
    images,
    numbers,
    whole_numbers,
)

_max, _place, _sum = record_of("max_pool"), record_of("max_pool_place"), record_of("sum_pool")
_take, _along, _all_max, _mean = record_of("take"), record_of("take_along_axis"), record_of("max"), record_of("mean")

Line = tuple[int, int, int, tuple[int, int], int]  # axis, size, stride, padding, dilation


def _lines(name: str, x: Tensor, n: int, *settings: Any) -> list[Line]:
    """How each axis is pooled; what ceil_mode adds is padding after."""
    return _worked_out(name, x.shape[2:], n, *[tuple(s) if isinstance(s, list) else s for s in settings])


@functools.lru_cache(maxsize=1024)
def _worked_out(
    name: str, space: tuple[int, ...], n: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> list[Line]:
    kernel = numbers(f"{name}: kernel_size", kernel, n)
    stride = kernel if stride is None or stride == () else numbers(f"{name}: stride", stride, n)
    padding, dilation = numbers(f"{name}: padding", padding, n, 0), numbers(f"{name}: dilation", dilation, n)
    lines = []
    for i, (k, s, p, d) in enumerate(zip(kernel, stride, padding, dilation, strict=True)):
        reach, m = (k - 1) * d + 1, space[i]
        if 2 * p > reach:
            raise OptionError(
                f"{name}: padding={p} is more than half of the kernel's reach of {reach}: windows would lie outside"
            )
        over = m + 2 * p - reach
        count = -(-over // s) if ceil_mode else over // s
        if ceil_mode and count * s >= m + p:  # a window that would begin after the end
            count -= 1
        lines.append((2 + i, k, s, (p, max(p, count * s + reach - m - p)), d))
    fit(name, space, kernel, padding, dilation)
    return lines


def _max_pool(
    n: int, input: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, indices: bool
) -> Any:
    name = f"max_pool{n}d"
    x, batched = images(name, input, n)
    lines = _lines(name, x, n, kernel, stride, padding, dilation, ceil_mode)
    y = x
    places: list[Tensor] = []
    for line in reversed(lines):  # the last axis first: so the first of several equal entries is the first row by row
        axis, size, stride, padding, dilation = line
        if indices:
            found = _place(y.detach(), axis, size, stride, padding, dilation)
            places = [found, *(_along(p, found, axis=axis) for p in places)]
        if (size, stride, padding) != (1, 1, (0, 0)):
            y = _max(y, axis, size, stride, padding, dilation)
    if not indices:
        return given_back(y, batched)
    flat = places[0]
    for place, length in zip(places[1:], x.shape[3:], strict=True):
        flat = flat * length + place
    return given_back(y, batched), given_back(flat, batched)


def max_pool1d(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """y[b, c, p] = max x[b, c, p s + k d − padding] over the k of a window, which begin every `stride` entries

    The stride is the kernel's size unless given. The padding never wins. With ceil_mode the last window may reach over
    the end. With return_indices also the place of each largest entry, counted row by row.

    Shapes: x [batch, channels, length], y [batch, channels, places].
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool1d` for pictures."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool1d` for volumes."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(
    n: int, input: Tensor, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:  # fmt: skip
    name = f"avg_pool{n}d"
    x, batched = images(name, input, n)
    lines = _lines(name, x, n, kernel, stride, padding, 1, ceil_mode)
    y = x
    counts: list[Any] = []
    for axis, size, s, (before, after), _ in reversed(lines):
        if (size, s, before, after) != (1, 1, 0, 0):
            y = _sum(y, axis, size, s, (before, after), 1)
        m, starts = x.shape[axis], np.arange(y.shape[axis]) * s - before
        most = m + before if count_include_pad else m  # the padding counts, what ceil_mode adds does not
        ends = np.minimum(starts + size, most)
        counts.insert(0, ends - (starts if count_include_pad else np.maximum(starts, 0)))
    if divisor_override is not None:
        if divisor_override == 0:
            raise OptionError(f"{name}: divisor_override must not be 0")
        return given_back(y / divisor_override, batched)
    if all((c == c.flat[0]).all() for c in counts if c.size):
        share = int(np.prod([c.flat[0] for c in counts if c.size]))
        return given_back(y if share == 1 else y / share, batched)
    whole = counts[0]
    for c in counts[1:]:
        whole = whole[..., None] * c
    return given_back(y / wrap(beside(whole, x), None), batched)


def avg_pool1d(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """y[b, c, p] = mean x[b, c, p s + k − padding] over the k of a window

    The zeros of the padding count as entries, unless count_include_pad=False.

    Shapes: x [batch, channels, length], y [batch, channels, places].
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """`avg_pool1d` for pictures; `divisor_override` is divided by instead of the number of entries."""
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """`avg_pool2d` for volumes."""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


# To a size that is given


def _sizes(name: str, x: Tensor, n: int, output_size: Any) -> tuple[int, ...]:
    given = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * n
    if len(given) != n:
        raise OptionError(f"{name}: output_size is one number or {n}, not {output_size!r}")
    found = tuple([x.shape[2 + i] if m is None else m for i, m in enumerate(given)])
    if 0 in x.shape[2:]:
        raise ShapeError(f"{name}: an axis of space has no entries in shape {list(x.shape)}")
    return numbers(f"{name}: output_size", found, n)


def _adaptive_avg(n: int, input: Tensor, output_size: Any) -> Tensor:
    name = f"adaptive_avg_pool{n}d"
    x, batched = images(name, input, n)
    sizes = _sizes(name, x, n, output_size)
    if all(m == 1 for m in sizes):
        return given_back(_mean(x, axis=tuple(range(2, 2 + n)), keepdims=True), batched)
    for i in reversed(range(n)):
        m, length = x.shape[2 + i], sizes[i]
        if m % length:
            x = averaged(x, 2 + i, length)
        elif m != length:
            x = _sum(x, 2 + i, m // length) / (m // length)
    return given_back(x, batched)


def _adaptive_max(n: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    name = f"adaptive_max_pool{n}d"
    x, batched = images(name, input, n)
    sizes = _sizes(name, x, n, output_size)
    y, kernel, spots = x, [], []
    for i in range(n):  # windows of one length: a shorter one has its last entry again, which never wins
        m, length = x.shape[2 + i], sizes[i]
        found = adaptive_windows(m, length)
        longest = max(end - start for start, end in found)
        kernel.append(longest)
        at = np.array([min(start + k, end - 1) for start, end in found for k in range(longest)])
        spots.append(at)
        if len(at) != m or (at != np.arange(m)).any():
            y = _take(y, whole_numbers(at, x), axis=2 + i)
    if not return_indices:
        return given_back(_max_pool(n, y, kernel, None, 0, 1, False, False), batched)
    y, flat = _max_pool(n, y, kernel, None, 0, 1, False, True)
    whole = np.zeros((), np.int64)  # where each entry of the gathered image was, counted row by row
    for at, m in zip(spots, x.shape[2:], strict=True):
        whole = whole[..., None] * m + at
    return given_back(y, batched), given_back(_take(Tensor(whole.reshape(-1), device=x.device), flat, axis=0), batched)


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of each of `output_size` windows that cover the axis, from ⌊i n/size⌋ to ⌈(i + 1) n/size⌉

    With size 1 this is global pooling. None for an axis leaves it as it is.

    Shapes: x [batch, channels, …space], y [batch, channels, …output_size].
    """
    return _adaptive_avg(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """`adaptive_avg_pool1d` for pictures."""
    return _adaptive_avg(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """`adaptive_avg_pool1d` for volumes."""
    return _adaptive_avg(3, input, output_size)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_avg_pool1d`, with the largest entry of each window instead."""
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool1d` for pictures."""
    return _adaptive_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool1d` for volumes."""
    return _adaptive_max(3, input, output_size, return_indices)


def _global(reduce: Callable[..., Tensor], name: str, input: Tensor) -> Tensor:
    if input.ndim < 3:
        raise ShapeError(f"{name}: wants [batch, channels, …space], got shape {list(input.shape)}")
    return reduce(input, axis=tuple(range(2, input.ndim)))


def global_avg_pool(input: Tensor) -> Tensor:
    """The mean over all of space: [batch, channels, …] → [batch, channels]"""
    return _global(_mean, "global_avg_pool", input)


def global_max_pool(input: Tensor) -> Tensor:
    """The largest entry in all of space: [batch, channels, …] → [batch, channels]; equal ones share the gradient"""
    return _global(_all_max, "global_max_pool", input)
