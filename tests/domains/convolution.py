"""Convolution and pooling, against sums and maxima written out entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .core import tied
from .draw import Case, Domain, Draw

# x, weight, and the settings; one a corner
CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 2, 4), (3, 2, 2), {}),
    ((2, 1, 3, 4), (2, 1, 2, 3), {"padding": 1}),
    ((1, 4, 3, 3), (2, 2, 2, 2), {"groups": 2, "stride": (1, 2)}),
    ((2, 2, 3, 3), (1, 2, 1, 1), {}),
    ((1, 1, 5, 4), (1, 1, 2, 2), {"dilation": (2, 1), "padding": ((1, 0), (0, 2))}),
    ((1, 1, 2, 3, 3), (2, 1, 2, 1, 2), {"stride": (1, 2, 1), "padding": (0, 1, 0)}),
    ((2, 3, 5), (3, 1, 3), {"groups": 3, "stride": 3, "padding": 2}),
    ((0, 2, 4), (2, 2, 3), {"padding": 1}),
    ((1, 2, 4, 2), (2, 1, 2, 2), {"groups": 2, "stride": 2, "dilation": 1}),
]


ALL: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}


def settings(n: int, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> tuple[Any, Any, Any]:
    def each(value: Any) -> Any:
        return (value,) * n if isinstance(value, int) else value

    return each(stride), tuple((p, p) if isinstance(p, int) else p for p in each(padding)), each(dilation)


def meetings(
    space: Any, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Every place, every entry of the kernel, and the entry of the image that they meet in."""
    out = counts(space, kernel, stride, padding, dilation)
    for p in np.ndindex(*out):
        for k in np.ndindex(*kernel):
            i = tuple(a * s + b * d - q[0] for a, s, b, d, q in zip(p, stride, k, dilation, padding, strict=True))
            if all(0 <= a < n for a, n in zip(i, space, strict=True)):
                yield p, k, i


def counts(space: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    each = zip(space, kernel, stride, padding, dilation, strict=True)
    return tuple((n + sum(q) - (k - 1) * d - 1) // s + 1 for n, k, s, q, d in each)


def three(x: Any, u: Any, w: Any, into: str, groups: int = 1, **options: Any) -> Any:
    """The trilinear form without the array named by `into`, which is there for its shape only."""
    stride, padding, dilation = settings(x.ndim - 2, **options)
    x, u, w = (np.zeros_like(v) if name == into else v for name, v in zip("xuw", (x, u, w), strict=True))
    target = {"x": x, "u": u, "w": w}[into]
    outputs, inside = w.shape[0] // groups, w.shape[1]
    for p, k, i in meetings(x.shape[2:], w.shape[2:], stride, padding, dilation):
        for o in range(w.shape[0]):
            for c in range(inside):
                channel = o // outputs * inside + c
                a, b, e = (slice(None), channel, *i), (slice(None), o, *p), (o, c, *k)
                if target is u:
                    u[b] += x[a] * w[e]
                elif target is x:
                    x[a] += u[b] * w[e]
                else:
                    w[e] += (u[b] * x[a]).sum()
    return target


def sizes(d: Draw) -> tuple[Any, Any, Any, dict[str, Any]]:
    """The shapes of x, u and w, and the options."""
    x, w, options = d.each(CONVOLUTIONS)
    found = settings(len(x) - 2, **{o: v for o, v in options.items() if o != "groups"})
    return x, (x[0], w[0], *counts(x[2:], w[2:], *found)), w, ALL | options


def convolution(d: Draw) -> Case:
    x, _, w, options = sizes(d)
    return Case((d.values(x), d.values(w), d.values(w[:1]) if d.one([True, False]) else None), options)


def convolved(x: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
    like = {o: v for o, v in options.items() if o != "groups"}
    out = counts(x.shape[2:], weight.shape[2:], *settings(x.ndim - 2, **like))
    y = three(x, np.zeros((x.shape[0], weight.shape[0], *out), x.dtype), weight, "u", **options)
    return y if bias is None else y + bias.reshape(-1, *(1,) * (x.ndim - 2))


def to_input(d: Draw) -> Case:
    x, u, w, options = sizes(d)
    return Case((d.values(u), d.values(w)), {"shape": x[2:], **options})


def to_weight(d: Draw) -> Case:
    x, u, w, options = sizes(d)
    return Case((d.values(x), d.values(u)), {"kernel": w[2:], **options})


def back(u: Any, weight: Any, shape: Any, groups: int = 1, **options: Any) -> Any:
    x = np.zeros((u.shape[0], weight.shape[1] * groups, *shape), u.dtype)
    return three(x, u, weight, "x", groups=groups, **options)


def between(x: Any, u: Any, kernel: Any, groups: int = 1, **options: Any) -> Any:
    w = np.zeros((u.shape[1], x.shape[1] // groups, *kernel), x.dtype)
    return three(x, u, w, "w", groups=groups, **options)


# Pooling: shape, axis, and the settings

LINES: list[tuple[tuple[int, ...], int, dict[str, Any]]] = [
    ((2, 1, 4), 2, {"size": 2}),
    ((2, 5, 3), 1, {"size": 3, "stride": 2}),
    ((6,), 0, {"size": 2, "stride": 1, "padding": 1}),
    ((2, 5), -1, {"size": 2, "stride": 3}),
    ((1, 2, 6), -1, {"size": 3, "stride": 1, "dilation": 2, "padding": (1, 0)}),
    ((3, 4), 0, {"size": 3, "stride": 3, "padding": (1, 2)}),
    ((0, 4), 1, {"size": 2}),
    ((2, 3), 1, {"size": 1}),
    ((2, 4, 3), -2, {"size": 4, "stride": 1}),
]


DEFAULTS: dict[str, Any] = {"stride": None, "padding": 0, "dilation": 1}


def windows(n: int, size: int, stride: Any = None, padding: Any = 0, dilation: int = 1) -> list[list[int]]:
    """The entries of every window that lie in the array."""
    (stride,), (padding,), (dilation,) = settings(1, size if stride is None else stride, (padding,), dilation)
    (count,) = counts((n,), (size,), (stride,), (padding,), (dilation,))
    every = [[p * stride + k * dilation - padding[0] for k in range(size)] for p in range(count)]
    return [[i for i in window if 0 <= i < n] for window in every]


def line_by_line(reduce: Callable[[Any, list[int]], Any]) -> Any:
    """Along the axis, a reduction of every window of every line."""

    def expect(x: Any, axis: int, **options: Any) -> Any:
        lines = np.moveaxis(x, axis, 0)
        found = [reduce(lines, window) for window in windows(x.shape[axis], **options)]
        return np.moveaxis(np.array(found).reshape(len(found), *lines.shape[1:]), 0, axis)

    return expect


def pooled(values: Callable[..., Any]) -> Callable[[Draw], Case]:
    def draw(d: Draw) -> Case:
        shape, axis, options = d.each(LINES)
        return Case((values(d, shape),), {**DEFAULTS, "axis": axis, **options})

    return draw


largest = line_by_line(lambda x, window: x[window].max(0, initial=-np.inf))
place = line_by_line(lambda x, window: np.array(window)[x[window].argmax(0)] if x.size else np.empty(x.shape[1:], int))
total = line_by_line(lambda x, window: x[window].sum(0))


def towards_largest(spread: bool) -> Callable[[Draw], Case]:
    def draw(d: Draw) -> Case:
        shape, axis, options = d.each(LINES)
        x = tied(d, shape)
        top = largest(x, axis, **options)
        return Case((d.values(top.shape if spread else shape), x, top), {**DEFAULTS, "axis": axis, **options})

    return draw


def picked(u: Any, x: Any, top: Any, axis: int, **options: Any) -> Any:
    return np.take_along_axis(u, place(x, axis, **options).astype(int), axis)


def scattered(u: Any, x: Any, top: Any, axis: int, **options: Any) -> Any:
    out = np.zeros(x.shape, u.dtype)
    index = list(np.indices(u.shape))
    index[axis] = place(x, axis, **options).astype(int)
    np.add.at(out, tuple(index), u)
    return out


def spread(d: Draw) -> Case:
    shape, axis, options = d.each(LINES)
    u = total(np.zeros(shape), axis, **options).shape
    return Case((d.values(u),), {**DEFAULTS, "length": shape[axis], "axis": axis, **options})


def added(u: Any, length: int, axis: int, **options: Any) -> Any:
    lines = np.moveaxis(u, axis, 0)
    out = np.zeros((length, *lines.shape[1:]), u.dtype)
    for line, window in zip(lines, windows(length, **options), strict=True):
        out[window] += line
    return np.moveaxis(out, 0, axis)


DOMAINS: dict[str, Domain] = {
    "convolution": Domain(convolution, convolved, complex=True),
    "convolution_input": Domain(to_input, back, complex=True),
    "convolution_weight": Domain(to_weight, between, complex=True),
    "max_pool": Domain(pooled(Draw.apart), largest),
    "max_pool_spread": Domain(towards_largest(True), scattered, complex=False),
    "max_pool_pick": Domain(towards_largest(False), picked, complex=False),
    "max_pool_place": Domain(pooled(tied), place),
    "sum_pool": Domain(pooled(Draw.values), total, complex=True),
    "sum_pool_spread": Domain(spread, added, complex=True),
}
