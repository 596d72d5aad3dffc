"""Products that no float overflows on the way: numbers m 2ᵉ, with e a whole number of any size.

What is multiplied may have any order and any length; only the result is rounded to a float, where it is 0 or ∞ only if
the truth is beyond the floats. Exponents are exact, so mantissas round as the plain product would. Every function takes
the array module `m`, NumPy or CuPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

_NOTHING = -(2**40)  # the exponent of 0


class Wide(NamedTuple):
    """m 2ᵉ, entry by entry."""

    mantissa: Any
    exponent: Any


def wide(m: Any, x: Any, exponent: Any = 0) -> Wide:
    """x 2ᵉ, the larger of real and imaginary part of its mantissa from ½ to 1; ∞ and NaN as they are."""
    size = m.maximum(m.abs(x.real), m.abs(x.imag)) if x.dtype.kind == "c" else x
    more = m.where(m.isfinite(size), m.frexp(size)[1], 0)
    return Wide(_shifted(m, x, -more), m.where(size == 0, _NOTHING, exponent + more))


def narrow(m: Any, x: Wide) -> Any:
    """The floats."""
    return _shifted(m, *x)


def _shifted(m: Any, x: Any, by: Any) -> Any:
    by = m.clip(by, -4000, 4000).astype("int32")  # beyond, there is only 0 and ∞
    if x.dtype.kind != "c":
        return m.ldexp(x, by)
    y = m.empty(x.shape, x.dtype)
    y.real, y.imag = m.ldexp(x.real, by), m.ldexp(x.imag, by)
    return y


def times(m: Any, x: Wide, y: Wide) -> Wide:
    return wide(m, x.mantissa * y.mantissa, x.exponent + y.exponent)


def plus(m: Any, x: Wide, y: Wide) -> Wide:
    top = m.maximum(x.exponent, y.exponent)
    return wide(m, _shifted(m, x.mantissa, x.exponent - top) + _shifted(m, y.mantissa, y.exponent - top), top)


def _each(x: Wide, do: Callable[[Any], Any]) -> Wide:
    return Wide(do(x.mantissa), do(x.exponent))


def _joined(m: Any, x: Wide, y: Wide, axis: int) -> Wide:
    return Wide(*(m.concatenate(pair, axis=axis) for pair in zip(x, y, strict=True)))


def _part(x: Wide, axis: int, start: int | None, stop: int | None) -> Wide:
    place = (*(slice(None),) * axis, slice(start, stop))
    return _each(x, lambda a: a[place])


def recurrence(m: Any, a: Wide, b: Wide, axis: int) -> Wide:
    """yₖ = aₖ yₖ₋₁ + bₖ along the axis, in log n steps."""
    n, step = b.mantissa.shape[axis], 1
    while step < n:
        late, early = _part(a, axis, step, None), _part(b, axis, None, -step)
        moved = plus(m, _part(b, axis, step, None), times(m, late, early))
        b = _joined(m, _part(b, axis, None, step), moved, axis)
        a = _joined(m, _part(a, axis, None, step), times(m, late, _part(a, axis, None, -step)), axis)
        step *= 2
    return b


def running_product(m: Any, x: Wide, axis: int) -> Wide:
    """yₖ = x₁ ⋯ xₖ along the axis, in log n steps."""
    n, step = x.mantissa.shape[axis], 1
    while step < n:
        moved = times(m, _part(x, axis, step, None), _part(x, axis, None, -step))
        x = _joined(m, _part(x, axis, None, step), moved, axis)
        step *= 2
    return x


def before(m: Any, x: Wide, axis: int) -> Wide:
    """x₁ ⋯ xₖ₋₁, from 1 on."""
    one = wide(m, m.ones_like(_part(x, axis, None, 1).mantissa))
    return _joined(m, one, _part(running_product(m, x, axis), axis, None, -1), axis)


def product_of_others(m: Any, x: Any) -> Any:
    """For each entry the product of all others along the last axis."""
    if x.shape[-1] < 2:
        return m.ones_like(x)
    axis = x.ndim - 1
    w = wide(m, x)
    after = _each(before(m, _each(w, lambda a: m.flip(a, axis)), axis), lambda a: m.flip(a, axis))
    return narrow(m, times(m, before(m, w, axis), after))


def product(m: Any, x: Any) -> Any:
    """The product along the last axis, in pairs."""
    w = wide(m, x)
    axis = x.ndim - 1
    while (n := w.mantissa.shape[-1]) > 1:
        pairs = times(m, _part(w, axis, None, n // 2), _part(w, axis, n // 2, n // 2 * 2))
        w = _joined(m, pairs, _part(w, axis, n // 2 * 2, None), axis)
    return narrow(m, w)[..., 0]


def running_product_adjoint(m: Any, x: Any, g: Any, axis: int) -> Any:
    """x̄ᵢ = x₁ ⋯ xᵢ₋₁ (gᵢ + xᵢ₊₁ (gᵢ₊₁ + xᵢ₊₂ (…)))"""
    if not x.size:
        return m.zeros_like(x)
    w, back = wide(m, x), lambda a: m.flip(a, axis)
    later = m.flip(x, axis)
    factors = _joined(m, wide(m, m.zeros_like(x[(*(slice(None),) * axis, slice(0, 1))])),
                      _part(wide(m, later), axis, None, -1), axis)  # fmt: skip
    after = _each(recurrence(m, factors, wide(m, m.flip(g, axis)), axis), back)
    return narrow(m, times(m, before(m, w, axis), after))
