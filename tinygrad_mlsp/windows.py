"""The numbers of convolution and pooling: a product with every window of an array, and sums and maxima along an axis.

Functions of a space and raw arrays, which know nothing of derivatives; the rules are in `rules/convolution.py`. Each
space offers them beside its module's functions.

Arrays have the shapes [batch, channels, depth, height, width] (the first of the three lengths absent for fewer
dimensions), but results lie in memory as depth, height, channels, width, batch: there the windows of a whole row are
copied in long runs, and one matrix product a row does the rest. Elementwise functions keep that order, so a chain of
layers converts nothing. Windows of rows overlap in memory: a row is copied once for each column of the kernel, not once
for each of its entries, and block by block, so that little memory is taken and the copies stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

functions: dict[str, Callable[..., Any]] = {}
BLOCK = {"cpu": 1 << 19, "cuda": 1 << 25}  # how many entries of windows are copied at a time

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def _offer(function: Callable[..., Any]) -> Callable[..., Any]:
    functions[function.__name__] = function
    return function


def _three(values: Any, other: Any) -> Any:
    """Three entries, one a dimension of space, of which the first may not have been there."""
    return (other,) * (3 - len(values)) + tuple(values)


def _five(x: Any) -> Any:
    return x[(slice(None), slice(None), *(None,) * (5 - x.ndim))]


def _laid(xp: Any, x: Any, padding: Pairs) -> Any:
    """[depth, height, channels, width, batch], in that order in memory, with a border of zeros."""
    moved = _five(x).transpose(2, 3, 1, 4, 0)
    (d, d_after), (h, h_after), (w, w_after) = padding
    if not (d or d_after or h or h_after or w or w_after):
        return xp.module.ascontiguousarray(moved)
    depth, height, channels, width, batch = moved.shape
    shape = (depth + d + d_after, height + h + h_after, channels, width + w + w_after, batch)
    laid = xp.module.zeros(shape, dtype=x.dtype)
    laid[d : d + depth, h : h + height, :, w : w + width] = moved
    return laid


def _delaid(y: Any, ndim: int) -> Any:
    """A laid array in the public shape; a view."""
    moved = y.transpose(4, 2, 0, 1, 3)
    return moved[(slice(None), slice(None), *(0,) * (5 - ndim))]


def _strided(xp: Any, x: Any, first: int, shape: Ints, strides: Ints) -> Any:
    """A view of a contiguous array that begins at its byte `first`; as_strided takes longer than some products."""
    if xp.name == "cpu":
        return xp.ndarray(shape, x.dtype, x, first, strides)
    return xp.module.lib.stride_tricks.as_strided(x.reshape(-1)[first // x.itemsize :], shape, strides)


def _strides(shape: Ints, itemsize: int) -> list[int]:
    return [prod(shape[i + 1 :]) * itemsize for i in range(len(shape))]


def _blocks(xp: Any, out: Ints, row: int, share: int = 1) -> Iterator[Ints]:
    """Where each block of windows is: a plane, and its first and last rows and columns. A row of windows has `row`
    entries, of which `share` rows have most in common."""
    planes, rows, columns = out
    limit = BLOCK.get(xp.name, 1 << 19)
    height = max(1, min(rows, limit * share // max(row, 1)))
    width = columns if row <= 8 * limit else max(1, columns * 8 * limit // row)
    for plane in range(planes):
        for top in range(0, rows, height):
            for left in range(0, columns, width):
                yield plane, top, min(top + height, rows), left, min(left + width, columns)


def _windows(
    xp: Any, laid: Any, out: Ints, kernel: Ints, stride: Ints, dilation: Ints, groups: int
) -> Iterator[tuple[Ints, Any]]:
    """Each block with its windows: [groups, rows, kernel height · depth · channels · width, columns · batch]."""
    _, _, channels, _, batch = laid.shape
    (kd, kh, kw), (sd, sh, sw), (dd, dh, dw) = kernel, stride, dilation
    inside = channels // groups
    size = kh * kd * inside * kw
    one = laid.itemsize
    along_d, along_h, along_c, along_w, _ = _strides(laid.shape, one)
    in_place = kd == kw == sw == 1 and (groups == 1 or kh == 1) and (dh == 1 or kh == 1)
    overlapping = dh == 1 and sh < kh
    row = size * groups * out[2] * batch
    for block in _blocks(xp, out, row, kh if overlapping and xp.name == "cpu" else 1):
        plane, top, bottom, left, right = block
        rows, columns = bottom - top, right - left
        n = columns * batch
        start = plane * sd * along_d + top * sh * along_h + left * sw * along_w
        if in_place:
            strides = (inside * along_c, sh * along_h, along_c, one)
            yield block, _strided(xp, laid, start, (groups, rows, size, n), strides)
        elif overlapping:
            needed = (rows - 1) * sh + kh
            found = _strided(
                xp,
                laid,
                start,
                (groups, needed, kd, inside, kw, columns, batch),
                (inside * along_c, along_h, dd * along_d, along_c, dw * along_w, sw * along_w, one),
            )
            copied = xp.module.empty(found.shape, dtype=laid.dtype)
            copied[...] = found
            step = size // kh * n * one
            strides = (needed * step, sh * step, n * one, one)
            yield block, _strided(xp, copied, 0, (groups, rows, size, n), strides)
        else:
            found = _strided(
                xp,
                laid,
                start,
                (groups, rows, kh, kd, inside, kw, columns, batch),
                (
                    inside * along_c, sh * along_h, dh * along_h, dd * along_d, along_c, dw * along_w, sw * along_w,
                    one,
                ),
            )  # fmt: skip
            copied = xp.module.empty(found.shape, dtype=laid.dtype)
            copied[...] = found
            yield block, copied.reshape(groups, rows, size, n)


def _matrices(weight: Any, groups: int) -> Any:
    """A kernel as a matrix a group: [groups, 1, outputs, height · depth · inputs · width]."""
    w = _five(weight).reshape(groups, weight.shape[0] // groups, weight.shape[1], *_three(weight.shape[2:], 1))
    return w.transpose(0, 1, 4, 3, 2, 5).reshape(groups, 1, w.shape[1], -1)


def _settings(stride: Ints, padding: Pairs, dilation: Ints) -> tuple[Ints, Pairs, Ints]:
    return _three(stride, 1), _three(padding, (0, 0)), _three(dilation, 1)


def _places(shape: Ints, kernel: Ints, stride: Ints, dilation: Ints) -> Ints:
    """How many windows there are along each axis of a laid array."""
    lengths = (shape[0], shape[1], shape[3])
    return tuple((n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(lengths, kernel, stride, dilation, strict=True))


def _rows(laid: Any, block: Ints, groups: int) -> Any:
    """The part of a laid array at a block's places: [groups, rows, channels, columns · batch]."""
    plane, top, bottom, left, right = block
    planes, height, channels, _, batch = laid.shape
    flat = laid.reshape(planes, height, groups, channels // groups, -1)
    return flat[plane, top:bottom, :, :, left * batch : right * batch].swapaxes(0, 1)


@_offer
def convolution(
    xp: Any, x: Any, weight: Any, bias: Any, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    """y[b, o, p] = Σ w[o, c, k] x[b, c, p s + k d]"""
    stride, padding, dilation = _settings(stride, padding, dilation)
    kernel = _three(weight.shape[2:], 1)
    laid, w = _laid(xp, x, padding), _matrices(weight, groups)
    out = _places(laid.shape, kernel, stride, dilation)
    y = xp.module.empty((*out[:2], weight.shape[0], out[2], x.shape[0]), dtype=x.dtype)
    if bias is not None:
        bias = bias.reshape(groups, 1, -1, 1)
    for block, windows in _windows(xp, laid, out, kernel, stride, dilation, groups):
        target = _rows(y, block, groups)
        if xp.name == "cpu":
            xp.module.matmul(w, windows, out=target)
        else:
            target[...] = xp.module.matmul(w, windows)
        if bias is not None:
            target += bias
    return _delaid(y, x.ndim)


@_offer
def convolution_input(
    xp: Any, g: Any, weight: Any, shape: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    """x̄[b, c, i] = Σ w[o, c, k] g[b, o, p] over all p s + k d = i"""
    stride, padding, dilation = _settings(stride, padding, dilation)
    (kd, kh, kw), (sd, sh, sw), (dd, dh, dw) = _three(weight.shape[2:], 1), stride, dilation
    laid, w = _laid(xp, g, ((0, 0),) * 3), _matrices(weight, groups).swapaxes(-1, -2)
    lengths, inside, batch = _three(shape, 1), weight.shape[1], g.shape[0]
    whole = [n + before + after for n, (before, after) in zip(lengths, padding, strict=True)]
    out = xp.module.zeros((*whole[:2], groups, inside, whole[2], batch), dtype=g.dtype)
    places = (laid.shape[0], laid.shape[1], laid.shape[3])
    for block in _blocks(xp, places, kd * kh * kw * inside * groups * places[2] * batch):
        plane, top, bottom, left, right = block
        rows, columns = bottom - top, right - left
        parts = xp.module.matmul(w, _rows(laid, block, groups))
        parts = parts.reshape(groups, rows, kh, kd, inside, kw, columns, batch)
        height, width = (rows - 1) * sh + 1, (columns - 1) * sw + 1
        if kh == 1:
            down, step = parts[:, :, 0], sh
        else:  # first the rows of the kernel, in long runs, then its columns
            down, step = xp.module.zeros((groups, height + (kh - 1) * dh, *parts.shape[3:]), dtype=g.dtype), 1
            for i in range(kh):
                part = down[:, i * dh : i * dh + height : sh]
                part += parts[:, :, i]
        y, x = top * sh, left * sw
        for a in range(kd):
            for j in range(kw):
                target = out[
                    plane * sd + a * dd,
                    y : y + height + (kh - 1) * dh : step,
                    :,
                    :,
                    x + j * dw : x + j * dw + width : sw,
                ]
                target += down[:, :, a, :, j].swapaxes(0, 1)
    (d, _), (h, _), (v, _) = padding
    kept = out.reshape(*whole[:2], groups * inside, whole[2], batch)
    return _delaid(kept[d : d + lengths[0], h : h + lengths[1], :, v : v + lengths[2]], g.ndim)


@_offer
def convolution_weight(
    xp: Any, x: Any, g: Any, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    """w̄[o, c, k] = Σ g[b, o, p] x[b, c, p s + k d] over b and p"""
    stride, padding, dilation = _settings(stride, padding, dilation)
    k = _three(kernel, 1)
    laid, upstream = _laid(xp, x, padding), _laid(xp, g, ((0, 0),) * 3)
    outputs, inside = g.shape[1], x.shape[1] // groups
    out = (upstream.shape[0], upstream.shape[1], upstream.shape[3])
    total = xp.module.zeros((groups, k[1] * k[0] * inside * k[2], outputs // groups), dtype=x.dtype)
    for block, windows in _windows(xp, laid, out, k, stride, dilation, groups):
        product = xp.module.matmul(windows, _rows(upstream, block, groups).swapaxes(-1, -2))
        total += product.sum(axis=1, dtype=total.dtype)
    w = total.reshape(groups, k[1], k[0], inside, k[2], -1).transpose(0, 5, 3, 2, 1, 4)
    return w.reshape(outputs, inside, *kernel)


# Pooling, along one axis at a time


def _taps(
    n: int, count: int, axis: int, size: int, stride: int, padding: tuple[int, int], dilation: int
) -> Iterator[tuple[int, Any, Any]]:
    """For each entry of the window its number, the windows in which it lies inside the array, and where it lies."""
    before = (slice(None),) * axis
    for k in range(size):
        offset = k * dilation - padding[0]
        first = max(0, -(offset // stride))
        last = min(count, (n - 1 - offset) // stride + 1)
        if first < last:
            start = first * stride + offset
            stop = start + (last - first - 1) * stride + 1
            yield k, (*before, slice(first, last)), (*before, slice(start, stop, stride))


def _count(n: int, size: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
    return (n + sum(padding) - (size - 1) * dilation - 1) // stride + 1


def _with_length(shape: Ints, axis: int, n: int) -> Ints:
    return (*shape[:axis], n, *shape[axis + 1 :])


def _new(xp: Any, x: Any, shape: Ints, value: Any = None, dtype: Any = None) -> Any:
    """An array whose axes lie in memory in the order of those of x."""
    order = sorted(range(x.ndim), key=lambda a: -abs(x.strides[a]))
    made = xp.module.empty(tuple([shape[a] for a in order]), dtype=dtype or x.dtype)
    if value is not None:
        made.fill(value)
    return made.transpose(tuple([order.index(a) for a in range(x.ndim)]))


@_offer
def max_pool(
    xp: Any, x: Any, axis: int, size: int, stride: int, padding: tuple[int, int], dilation: int
) -> Any:  # fmt: skip
    """The largest entry of every window"""
    m, n = xp.module, x.shape[axis]
    count = _count(n, size, stride, padding, dilation)
    taps = list(_taps(n, count, axis, size, stride, padding, dilation))
    shape, y = _with_length(x.shape, axis, count), None
    if padding == (0, 0) and len(taps) == size > 1:
        y = m.maximum(x[taps[0][2]], x[taps[1][2]])
        taps = taps[2:]
    if y is None:
        lowest = -m.inf if x.dtype.kind == "f" else False if x.dtype.kind == "b" else m.iinfo(x.dtype).min
        y = _new(xp, x, shape, lowest)
    for _, there, here in taps:
        part = y[there]
        m.maximum(part, x[here], out=part)
    return y


def _winners(
    xp: Any, x: Any, y: Any, axis: int, size: int, stride: int, padding: tuple[int, int], dilation: int
) -> Iterator[tuple[int, Any, Any, Any]]:
    """For each entry of the window where it is the first that is largest; the last one takes what is left (NaN)."""
    m, taken = xp.module, None
    taps = list(_taps(x.shape[axis], y.shape[axis], axis, size, stride, padding, dilation))
    for i, (k, there, here) in enumerate(taps):
        if padding == (0, 0) and i == len(taps) - 1:
            won = m.ones(y.shape, dtype=bool) if taken is None else ~taken
            yield k, there, here, won
            return
        won = x[here] == y[there]
        if taken is None:
            if won.shape == y.shape:
                taken = won
            else:
                taken = _new(xp, y, y.shape, False, bool)
                taken[there] = won
        else:
            before = taken[there]
            won &= ~before
            before |= won
        yield k, there, here, won


@_offer
def max_pool_spread(
    xp: Any, g: Any, x: Any, y: Any, axis: int, size: int, stride: int, padding: tuple[int, int], dilation: int
) -> Any:  # fmt: skip
    """Zeros of the shape of x, with g added at the largest entry of every window"""
    apart = stride > (size - 1) * dilation
    out = _new(xp, x, x.shape, None if apart and stride == size and x.shape[axis] == size * y.shape[axis] else 0)
    out = out if out.dtype == g.dtype else out.astype(g.dtype)
    for _, there, here, won in _winners(xp, x, y, axis, size, stride, padding, dilation):
        part = out[here]
        if apart:
            xp.module.multiply(g[there], won, out=part)
        else:
            part += g[there] * won
    return out


@_offer
def max_pool_pick(
    xp: Any, t: Any, x: Any, y: Any, axis: int, size: int, stride: int, padding: tuple[int, int], dilation: int
) -> Any:  # fmt: skip
    """Of t, the entry where that of x is the largest of every window"""
    out = _new(xp, x, y.shape, 0, t.dtype)
    for _, there, here, won in _winners(xp, x, y, axis, size, stride, padding, dilation):
        part = out[there]
        part += t[here] * won
    return out


@_offer
def max_pool_place(
    xp: Any, x: Any, axis: int, size: int, stride: int, padding: tuple[int, int], dilation: int
) -> Any:  # fmt: skip
    """Where along the axis the largest entry of every window lies, the first at a tie"""
    y = max_pool(xp, x, axis, size, stride, padding, dilation)
    starts = xp.module.arange(y.shape[axis]).reshape((-1,) + (1,) * (x.ndim - axis - 1)) * stride - padding[0]
    out = _new(xp, x, y.shape, 0, int)
    for k, there, _, won in _winners(xp, x, y, axis, size, stride, padding, dilation):
        part = out[there]
        part += (starts[there[axis]] + k * dilation) * won
    return out


@_offer
def sum_pool(
    xp: Any, x: Any, axis: int, size: int, stride: int, padding: tuple[int, int], dilation: int
) -> Any:  # fmt: skip
    """The sum over every window"""
    n = x.shape[axis]
    count = _count(n, size, stride, padding, dilation)
    taps = list(_taps(n, count, axis, size, stride, padding, dilation))
    if padding == (0, 0) and len(taps) == size > 1:
        y = x[taps[0][2]] + x[taps[1][2]]
        taps = taps[2:]
    else:
        y = _new(xp, x, _with_length(x.shape, axis, count), 0)
    for _, there, here in taps:
        part = y[there]
        part += x[here]
    return y


@_offer
def sum_pool_spread(
    xp: Any, g: Any, length: int, axis: int, size: int, stride: int, padding: tuple[int, int], dilation: int
) -> Any:  # fmt: skip
    """An axis of `length` entries, to each of which the g of every window that it lies in is added"""
    out = _new(xp, g, _with_length(g.shape, axis, length), 0)
    for _, there, here in _taps(length, g.shape[axis], axis, size, stride, padding, dilation):
        part = out[here]
        part += g[there]
    return out
