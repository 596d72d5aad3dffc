"""Running sums, products and extremes along one axis. Every rule here is a scan itself: nothing is divided, nothing
overflows that the result does not hold, and any order of derivative is made of the same few operations.

`axis` may be left out for a vector alone.
"""

from __future__ import annotations

from math import inf
from typing import Any

from ..op import constant, general, linear


def line(shape: tuple[int, ...], axis: Any) -> int:
    """The axis to run along, from 0 on."""
    ndim = len(shape)
    if axis is None and ndim != 1:
        raise ValueError(f"axis= is needed: the tensor has {ndim} dimensions")
    axis = 0 if axis is None else axis
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} is out of range for a tensor of {ndim} dimensions")
    return axis % ndim


def along(axis: int, part: Any) -> tuple[Any, ...]:
    """The index of `part` of one axis."""
    return (slice(None),) * axis + (part,)


def _later(xp: Any, x: Any, axis: int, first: Any) -> Any:
    """x one place later; `first`, zeros_like or ones_like, makes what comes in."""
    new = first(xp.getitem(x, along(axis, slice(0, 1))))
    return xp.concat([new, xp.getitem(x, along(axis, slice(0, -1)))], axis=axis)


def _earlier(xp: Any, x: Any, axis: int) -> Any:
    """x one place earlier, zero coming in."""
    new = xp.zeros_like(xp.getitem(x, along(axis, slice(0, 1))))
    return xp.concat([xp.getitem(x, along(axis, slice(1, None))), new], axis=axis)


@linear
def cumulative_sum(xp, x, *, axis=None, include_initial=False):
    """yₖ = x₁ + … + xₖ     x̄ᵢ = ȳᵢ + ȳᵢ₊₁ + …"""
    return xp.cumulative_sum(x, axis=line(x.shape, axis), include_initial=include_initial)


def _sum_of_later(xp, g, x_shape, axis, include_initial):
    axis = line(x_shape, axis)
    if include_initial:
        g = xp.getitem(g, along(axis, slice(1, None)))
    return xp.flip(xp.cumulative_sum(xp.flip(g, axis), axis=axis), axis)


cumulative_sum.adjoints(x=_sum_of_later)


@general
def linear_recurrence(xp, a, b, *, axis=-1, reverse=False):
    """yₖ = aₖ yₖ₋₁ + bₖ, from y₀ = 0; in reverse yₖ = aₖ₊₁ yₖ₊₁ + bₖ, its adjoint     āₖ = b̄ₖ yₖ₋₁

    In log₂ n steps over the whole axis. a₁ is without effect.

    Shapes: a and b the same.
    """
    if a.shape != b.shape:
        raise ValueError(f"a and b must have one shape, not {list(a.shape)} and {list(b.shape)}")
    return xp.linear_recurrence(a, b, line(b.shape, axis), reverse)


def _to_factors(xp, g, a, y, axis, reverse):
    axis = line(y.shape, axis)
    b = xp.linear_recurrence(a, g, axis, not reverse)
    return _later(xp, b, axis, xp.zeros_like) * y if reverse else b * _later(xp, y, axis, xp.zeros_like)


def _from_factors(xp, t, a, y, axis, reverse):
    axis = line(y.shape, axis)
    moved = _earlier(xp, t * y, axis) if reverse else t * _later(xp, y, axis, xp.zeros_like)
    return xp.linear_recurrence(a, moved, axis, reverse)


linear_recurrence.adjoints(
    a=_to_factors,
    b=lambda xp, g, a, axis, reverse: xp.linear_recurrence(a, g, line(g.shape, axis), not reverse),
)
linear_recurrence.tangents(
    a=_from_factors,
    b=lambda xp, t, a, axis, reverse: xp.linear_recurrence(a, t, line(t.shape, axis), reverse),
)


@general
def cumulative_prod(xp, x, *, axis=None, include_initial=False):
    """yₖ = x₁ ⋯ xₖ     x̄ᵢ = x₁ ⋯ xᵢ₋₁ (ȳᵢ + xᵢ₊₁ (ȳᵢ₊₁ + xᵢ₊₂ (…))), zeros or not"""
    return xp.cumulative_prod(x, axis=line(x.shape, axis), include_initial=include_initial)


def _product_before(xp, x, axis):
    return _later(xp, xp.cumulative_prod(x, axis=axis), axis, xp.ones_like)


def _prod_adjoint(xp, g, x, axis, include_initial):
    axis = line(x.shape, axis)
    if include_initial:
        g = xp.getitem(g, along(axis, slice(1, None)))
    return _product_before(xp, x, axis) * xp.linear_recurrence(x, g, axis, True)


def _prod_tangent(xp, t, x, axis, include_initial):
    axis = line(x.shape, axis)
    moved = xp.linear_recurrence(x, _product_before(xp, x, axis) * t, axis)
    if not include_initial:
        return moved
    still = xp.zeros_like(xp.sum(moved, axis=axis, keepdims=True))
    return xp.concat([still, moved], axis=axis)


cumulative_prod.adjoints(x=_prod_adjoint).tangents(x=_prod_tangent)


@general
def cumulative_max(xp, x, *, axis=None):
    """yₖ = the largest of x₁ … xₖ     its slope goes to that entry"""
    return xp.accumulate(x, "maximum", line(x.shape, axis))


@general
def cumulative_min(xp, x, *, axis=None):
    """yₖ = the smallest of x₁ … xₖ     its slope goes to that entry"""
    return xp.accumulate(x, "minimum", line(x.shape, axis))


def _holders(xp, x, axis, extreme):
    """Where the running extreme stands: the last place, up to each, that ties with it; a NaN wins for good."""
    axis = line(x.shape, axis)
    held = (x == xp.accumulate(x, extreme, axis)) | (x != x)
    places = xp.reshape(xp.arange(x.shape[axis]), (-1,) + (1,) * (len(x.shape) - 1 - axis))
    return xp.accumulate(xp.where(held, places, 0), "maximum", axis)


@constant
def cumulative_argmax(xp, x, *, axis=None):
    """The place of the largest of x₁ … xₖ; the last one at a tie"""
    return _holders(xp, x, axis, "maximum")


@constant
def cumulative_argmin(xp, x, *, axis=None):
    """The place of the smallest of x₁ … xₖ; the last one at a tie"""
    return _holders(xp, x, axis, "minimum")


cumulative_argmax.ordered()
cumulative_argmin.ordered()
cumulative_max.adjoints(
    x=lambda xp, g, x, axis: xp.scatter_along_axis(g, xp.cumulative_argmax(x, axis=axis), x.shape, line(x.shape, axis))
)
cumulative_max.tangents(
    x=lambda xp, t, x, axis: xp.take_along_axis(t, xp.cumulative_argmax(x, axis=axis), axis=line(x.shape, axis))
)
cumulative_min.adjoints(
    x=lambda xp, g, x, axis: xp.scatter_along_axis(g, xp.cumulative_argmin(x, axis=axis), x.shape, line(x.shape, axis))
)
cumulative_min.tangents(
    x=lambda xp, t, x, axis: xp.take_along_axis(t, xp.cumulative_argmin(x, axis=axis), axis=line(x.shape, axis))
)
for _extreme in (cumulative_max, cumulative_min):
    _extreme.at_kink("the last of the tied entries so far has the slope, as in PyTorch").ordered()


@general
def logcumsumexp(xp, x, *, axis=None):
    """yₖ = ln (eˣ¹ + … + eˣᵏ)     ∂yₖ/∂xᵢ = e^(xᵢ − yₖ), at most 1"""
    return xp.accumulate(x, "logaddexp", line(x.shape, axis))


def _ratio(xp, a, b):
    """e^(a − b) for a ≤ b; 0 where a is −∞, 1 where it is ∞."""
    top = a == inf
    return xp.exp(xp.where(top, 0, a) - xp.where(top | (b == -inf), 0, b))


def _fade(xp, y, axis):
    """e^(yₖ₋₁ − yₖ): how much of what was before is left."""
    return _ratio(xp, _later(xp, y, axis, xp.zeros_like), y)


def _share(xp, x, y, axis):
    """e^(xₖ − yₖ): how much of it is new."""
    return xp.where(_later(xp, y, axis, xp.zeros_like) == inf, 0, _ratio(xp, x, y))


def _exp_adjoint(xp, g, x, y, axis):
    axis = line(x.shape, axis)
    return _share(xp, x, y, axis) * xp.linear_recurrence(_fade(xp, y, axis), g, axis, True)


def _exp_tangent(xp, t, x, y, axis):
    axis = line(x.shape, axis)
    return xp.linear_recurrence(_fade(xp, y, axis), _share(xp, x, y, axis) * t, axis)


logcumsumexp.adjoints(x=_exp_adjoint).tangents(x=_exp_tangent)
logcumsumexp.at_kink("an entry of −∞ has no slope; the first of ∞ has all of it").ordered()
