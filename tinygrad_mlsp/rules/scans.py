"""Running sums, products and extremes along one axis. Every rule here is a scan itself: nothing is divided, and any
order of derivative is made of the same few operations. No product overflows or vanishes on the way to a value or a
gradient that fits its dtype (see `wide`); from the second derivative on, one may.

`axis` may be left out for a vector alone.
"""

from __future__ import annotations

from math import inf
from typing import Any

from ..op import constant, general, linear
from .shape import axis_of


def line(shape: tuple[int, ...], axis: Any) -> int:
    """The axis to run along, from 0 on."""
    if axis is None and len(shape) != 1:
        raise ValueError(f"axis= is needed: the tensor has {len(shape)} dimensions")
    return axis_of(0 if axis is None else axis, shape)


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

    In log₂ n steps over the whole axis. a₁ is without effect. Each yₖ that a float can hold is finite, whether those
    before it are or not.

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
    return xp.running_product_adjoint(x, g, axis)


def _prod_tangent(xp, t, x, axis, include_initial):
    axis = line(x.shape, axis)
    moved = xp.linear_recurrence(x, _product_before(xp, x, axis) * t, axis)
    if not include_initial:
        return moved
    still = xp.zeros_like(xp.sum(moved, axis=axis, keepdims=True))
    return xp.concat([still, moved], axis=axis)


cumulative_prod.adjoints(x=_prod_adjoint).tangents(x=_prod_tangent)


@general
def running_product_adjoint(xp, x, u, *, axis):
    """yᵢ = pᵢ sᵢ, pᵢ = x₁ ⋯ xᵢ₋₁, sᵢ = uᵢ + xᵢ₊₁ sᵢ₊₁: the adjoint of cumulative_prod

    Shapes: x and u the same. The two are multiplied before they are rounded, so either may be beyond the floats.
    """
    if x.shape != u.shape:
        raise ValueError(f"x and u must have one shape, not {list(x.shape)} and {list(u.shape)}")
    return xp.running_product_adjoint(x, u, line(x.shape, axis))


def _both(xp, x, u, axis):
    """p and s."""
    return _product_before(xp, x, axis), xp.linear_recurrence(x, u, axis, True)


def _both_back(xp, g, x, u, axis):
    axis = line(x.shape, axis)
    p, s = _both(xp, x, u, axis)
    through_p = xp.running_product_adjoint(x, _earlier(xp, g * s, axis), axis)
    return through_p + _later(xp, xp.linear_recurrence(x, g * p, axis), axis, xp.zeros_like) * s


def _both_forth(xp, t, x, u, axis):
    axis = line(x.shape, axis)
    p, s = _both(xp, x, u, axis)
    p_moved = _later(xp, xp.linear_recurrence(x, p * t, axis), axis, xp.zeros_like)
    return p * xp.linear_recurrence(x, _earlier(xp, t * s, axis), axis, True) + p_moved * s


running_product_adjoint.adjoints(
    x=_both_back,
    u=lambda xp, g, x, axis: _prod_tangent(xp, g, x, axis, False),
)
running_product_adjoint.tangents(
    x=_both_forth,
    u=lambda xp, t, x, axis: xp.running_product_adjoint(x, t, line(x.shape, axis)),
)


@general
def product_of_others(xp, x):
    """yᵢ = Πₖ≠ᵢ xₖ along the last axis, zeros or not     x̄ₗ = Σᵢ≠ₗ ȳᵢ Πₖ≠ᵢ,ₗ xₖ, and the same of a tangent

    No product overflows or vanishes on the way to one that fits its dtype.
    """
    return xp.product_of_others(x)


def _without_two(xp, t, x):
    """Σᵢ≠ₗ tᵢ Πₖ≠ᵢ,ₗ xₖ: with i before l, and with i after l."""
    axis = len(x.shape) - 1
    p, a = _without_one_before(xp, t, x, axis)
    q, b = [xp.flip(v, axis) for v in _without_one_before(xp, xp.flip(t, axis), xp.flip(x, axis), axis)]
    return a * q + p * b


def _without_one_before(xp, t, x, axis):
    """pₗ = x₁ ⋯ xₗ₋₁, and Σ over i < l of tᵢ times that without xᵢ."""
    p = _product_before(xp, x, axis)
    return p, _later(xp, xp.linear_recurrence(x, t * p, axis), axis, xp.zeros_like)


product_of_others.adjoints(x=lambda xp, g, x: _without_two(xp, g, x))
product_of_others.tangents(x=lambda xp, t, x: _without_two(xp, t, x))


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
    return xp.exp(xp.below(xp.where(top, 0, a), xp.where(top | (b == -inf), 0, b)))


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
