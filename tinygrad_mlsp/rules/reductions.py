"""Sums, means, extremes, products along axes. `axis` is None (all), one axis or several."""

from __future__ import annotations

from math import inf, nan
from math import prod as _product
from typing import Any

from ..op import constant, general, linear
from .arithmetic import positive_or_infinite


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """`axis` as a sorted tuple of non-negative axes."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(a % ndim if ndim else a for a in (axis if isinstance(axis, (tuple, list)) else (axis,))))


def count(shape: tuple[int, ...], axis: Any) -> int:
    """How many entries a reduction folds into one."""
    return _product(shape if axis is None else [shape[a] for a in axes_of(axis, len(shape))])


def expand(xp: Any, g: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """g with the reduced axes put back, of length one."""
    folded = axes_of(axis, len(shape))
    return g if keepdims else xp.reshape(g, tuple(1 if a in folded else n for a, n in enumerate(shape)))


def spread(xp: Any, g: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """g copied along the reduced axes: the adjoint of a sum."""
    return xp.broadcast_to(g if axis is None else expand(xp, g, shape, axis, keepdims), shape)


@linear
def sum(xp, x, *, axis=None, keepdims=False):
    """y = Σ x     x̄ = ȳ, spread"""
    return xp.sum(x, axis=axis, keepdims=keepdims)


sum.adjoints(x=lambda xp, g, x_shape, axis, keepdims: spread(xp, g, x_shape, axis, keepdims))


@linear
def mean(xp, x, *, axis=None, keepdims=False):
    """y = Σ x / n"""
    return xp.mean(x, axis=axis, keepdims=keepdims)


mean.adjoints(
    x=lambda xp, g, x_shape, axis, keepdims: spread(xp, over(g, max_one(count(x_shape, axis))), x_shape, axis, keepdims)
)


def over(g: Any, n: float) -> Any:
    """g/n, by way of 1/n where float16 cannot hold n"""
    return g * (1 / n) if n > 65504 and g.dtype.itemsize == 2 else g / n


def max_one(n: float) -> float:
    """n, and 1 for the empty case, whose gradient has no entries."""
    return n if n > 0 else 1


def _degrees(shape: tuple[int, ...], axis: Any, correction: float) -> float:
    """How many entries may vary about their mean; a variance with none is NaN."""
    n = count(shape, axis) - correction
    return n if n > 0 else nan


def _real(x: Any) -> Any:
    if x.dtype.kind == "c":
        raise TypeError("complex numbers have no order and no variance here; take their abs, real or imag first")
    return x


def _centred(xp: Any, x: Any, axis: Any) -> Any:
    return x - xp.mean(x, axis=axis, keepdims=True)


@general
def var(xp, x, *, axis=None, correction=0, keepdims=False):
    """y = Σ (x − x̄)² / (n − correction)     ∂y/∂x = 2 (x − x̄)/(n − correction)"""
    d = _centred(xp, _real(x), axis)
    return over(xp.sum(d * d, axis=axis, keepdims=keepdims), _degrees(x.shape, axis, correction))


def _var_slope(xp, x, axis, correction):
    return _centred(xp, x, axis) * (2 / _degrees(x.shape, axis, correction))


var.adjoints(
    x=lambda xp, g, x, axis, correction, keepdims: (
        expand(xp, g, x.shape, axis, keepdims) * _var_slope(xp, x, axis, correction)
    )
)
var.tangents(
    x=lambda xp, t, x, axis, correction, keepdims: xp.sum(
        t * _var_slope(xp, x, axis, correction), axis=axis, keepdims=keepdims
    )
)


@general
def std(xp, x, *, axis=None, correction=0, keepdims=False):
    """y = √var     ∂y/∂x = (x − x̄)/((n − correction) y)"""
    d, n = _centred(xp, _real(x), axis), _degrees(x.shape, axis, correction)
    if count(x.shape, axis) == 0:
        return xp.sqrt(xp.sum(d, axis=axis, keepdims=keepdims) / n)
    top = xp.max(xp.abs(d), axis=axis, keepdims=True)  # a square of d may be too large or too small for a float
    top = xp.where(xp.isfinite(top) & (top > 0), top, 1)
    d = d / top
    y = xp.sqrt(xp.sum(d * d, axis=axis, keepdims=True) / n) * top
    folded = axes_of(axis, len(x.shape))
    return y if keepdims else xp.reshape(y, tuple(m for a, m in enumerate(x.shape) if a not in folded))


def _std_slope(xp, x, y, axis, correction, keepdims):
    y = expand(xp, y, x.shape, axis, keepdims)
    return _centred(xp, x, axis) / (positive_or_infinite(xp, y) * _degrees(x.shape, axis, correction))


std.adjoints(
    x=lambda xp, g, x, y, axis, correction, keepdims: (
        expand(xp, g, x.shape, axis, keepdims) * _std_slope(xp, x, y, axis, correction, keepdims)
    )
)
std.tangents(
    x=lambda xp, t, x, y, axis, correction, keepdims: xp.sum(
        t * _std_slope(xp, x, y, axis, correction, keepdims), axis=axis, keepdims=keepdims
    )
)
std.at_kink("0 where all entries are equal")


def _winners(xp, x, y, axis, keepdims):
    """Each entry's share of the extreme: ties share it equally."""
    won = xp.astype(x == expand(xp, y, x.shape, axis, keepdims), x.dtype)
    return won / xp.sum(won, axis=axis, keepdims=True)


@general
def max(xp, x, *, axis=None, keepdims=False):
    """y = the largest entry     ∂y/∂x = 1 there, 0 elsewhere"""
    return xp.max(_real(x), axis=axis, keepdims=keepdims)


@general
def min(xp, x, *, axis=None, keepdims=False):
    """y = the smallest entry     ∂y/∂x = 1 there, 0 elsewhere"""
    return xp.min(_real(x), axis=axis, keepdims=keepdims)


for _extreme in (max, min):
    _extreme.adjoints(
        x=lambda xp, g, x, y, axis, keepdims: (
            expand(xp, g, x.shape, axis, keepdims) * _winners(xp, x, y, axis, keepdims)
        )
    )
    _extreme.tangents(
        x=lambda xp, t, x, y, axis, keepdims: xp.sum(
            t * _winners(xp, x, y, axis, keepdims), axis=axis, keepdims=keepdims
        )
    )
    _extreme.at_kink("ties share the slope equally")


def others(xp, x, axis):
    """For each entry the product of all the others along the axes, zeros or not."""
    axes = axes_of(axis, len(x.shape))
    kept = tuple(a for a in range(len(x.shape)) if a not in axes)
    order = kept + axes
    moved = xp.permute_dims(x, order)
    n = count(x.shape, axis)
    flat = xp.reshape(moved, (*(x.shape[a] for a in kept), n))
    product = xp.reshape(xp.product_of_others(flat), tuple(x.shape[a] for a in order))
    return xp.permute_dims(product, tuple(order.index(a) for a in range(len(order))))


@general
def prod(xp, x, *, axis=None, keepdims=False):
    """y = Π x     ∂y/∂xᵢ = the product of the others"""
    return xp.prod(x, axis=axis, keepdims=keepdims)


prod.adjoints(x=lambda xp, g, x, axis, keepdims: expand(xp, g, x.shape, axis, keepdims) * others(xp, x, axis))
prod.tangents(x=lambda xp, t, x, axis, keepdims: xp.sum(t * others(xp, x, axis), axis=axis, keepdims=keepdims))


@general
def logsumexp(xp, x, *, axis=None, keepdims=False):
    """y = ln Σ eˣ     ∂y/∂x = e^(x − y), which sums to 1"""
    if count(x.shape, axis) == 0:
        return xp.sum(x, axis=axis, keepdims=keepdims) - inf
    top = xp.max(x, axis=axis, keepdims=True)
    won, e = x == top, xp.exp(xp.below(x, xp.where(xp.isfinite(top), top, 0)))
    ties = xp.sum(xp.astype(won, x.dtype), axis=axis, keepdims=True) - 1
    rest = xp.sum(xp.where(won, 0, e), axis=axis, keepdims=True) + ties  # Σ e, less the 1 of the largest
    y = xp.where(xp.isfinite(top), xp.log1p(rest), 0) + top
    folded = axes_of(axis, len(x.shape))
    return y if keepdims else xp.reshape(y, tuple(n for a, n in enumerate(x.shape) if a not in folded))


def _share(xp, x, y, axis, keepdims):
    y = expand(xp, y, x.shape, axis, keepdims)
    e = xp.exp(xp.below(x, xp.where(y == -inf, 0, y)))
    total = xp.sum(e, axis=axis, keepdims=True)  # 1, but for the rounding of y, which is large where y is
    return e / xp.where(total > 0, total, 1)


logsumexp.adjoints(
    x=lambda xp, g, x, y, axis, keepdims: expand(xp, g, x.shape, axis, keepdims) * _share(xp, x, y, axis, keepdims)
)
logsumexp.tangents(
    x=lambda xp, t, x, y, axis, keepdims: xp.sum(t * _share(xp, x, y, axis, keepdims), axis=axis, keepdims=keepdims)
)


@general
def softmax(xp, x, *, axis=-1):
    """y = eˣ / Σ eˣ     x̄ = y (ȳ − Σ ȳ y)"""
    if count(x.shape, axis) == 0:
        return xp.exp(x)
    e = xp.exp(xp.below(x, xp.max(x, axis=axis, keepdims=True)))
    return e / xp.sum(e, axis=axis, keepdims=True)


softmax.adjoints(x=lambda xp, g, y, axis: y * (g - xp.sum(g * y, axis=axis, keepdims=True)))
softmax.tangents(x=lambda xp, t, y, axis: y * (t - xp.sum(t * y, axis=axis, keepdims=True)))


@general
def log_softmax(xp, x, *, axis=-1):
    """y = x − ln Σ eˣ     x̄ = ȳ − eʸ Σ ȳ"""
    if count(x.shape, axis) == 0:
        return xp.exp(x)
    shifted = xp.below(x, xp.max(x, axis=axis, keepdims=True))
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


log_softmax.adjoints(x=lambda xp, g, y, axis: g - xp.exp(y) * xp.sum(g, axis=axis, keepdims=True))
log_softmax.tangents(x=lambda xp, t, y, axis: t - xp.sum(xp.exp(y) * t, axis=axis, keepdims=True))


@constant
def argmax(xp, x, *, axis=None, keepdims=False):
    """The place of the largest entry, the first at a tie"""
    return expand(xp, xp.argmax(_real(x), axis=axis), x.shape, axis, not keepdims)


@constant
def argmin(xp, x, *, axis=None, keepdims=False):
    """The place of the smallest entry, the first at a tie"""
    return expand(xp, xp.argmin(_real(x), axis=axis), x.shape, axis, not keepdims)


@constant
def any(xp, x, *, axis=None, keepdims=False):
    """Whether any entry is true"""
    return xp.any(x, axis=axis, keepdims=keepdims)


@constant
def all(xp, x, *, axis=None, keepdims=False):
    """Whether every entry is true"""
    return xp.all(x, axis=axis, keepdims=keepdims)
