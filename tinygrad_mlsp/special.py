"""The numbers of special functions: SciPy's or CuPy's own, and what these lack or round too coarsely.

Functions of a space and real arrays, which know nothing of derivatives; the rules are in `rules/special.py`. Each space
offers them beside its module's functions, and instead of those of the same name.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from math import ceil, factorial, inf, nan, pi
from typing import Any

from .errors import OptionError

functions: dict[str, Callable[..., Any]] = {}
_module = functools.cache(importlib.import_module)


def _given(name: str, theirs: str = "") -> None:
    """A function of the space's special module; half precision stays half precision."""

    def function(xp: Any, *x: Any) -> Any:
        y = getattr(_module(xp.special), theirs or name)(*x)
        half = any(getattr(v, "dtype", None) == "float16" for v in x)
        return y.astype(xp.module.result_type(*x)) if half else y

    functions[name] = function


for _name in ("erf", "erfinv", "i0", "i0e", "i1", "i1e", "xlogy", "xlog1py"):
    _given(_name)
_given("_erfc", "erfc")
_given("_erfcx", "erfcx")
_given("_psi", "psi")
_given("_gammaln", "gammaln")
_given("_zeta", "zeta")


def _function(function: Callable[..., Any]) -> None:
    """A function composed here; half precision is computed in single."""

    def rounded(xp: Any, x: Any, n: Any = None) -> Any:
        if n is not None and (not isinstance(n, int) or n < 0):
            shown = f"an array of shape {n.shape}" if getattr(n, "shape", ()) else repr(n)
            raise OptionError(f"{function.__name__}: the order n is a whole number from 0 on, not {shown}")
        order = () if n is None else (n,)
        if x.dtype == "float16":
            return function(xp, x.astype("float32"), *order).astype("float16")
        return function(xp, x, *order)

    functions[function.__name__] = rounded


# (1 + 2a) e^(a²) erfc a for a from 0 to 10.3, as a polynomial of (a − 2)/(a + 2), the highest power first: the best
# approximation at Chebyshev's points, within 3.4·10⁻⁸
_ERFC_SINGLE = (
    -0.000421702804, -0.00125889212, 0.00132921839, 0.00866083987, -0.00806267839,
    -0.0542136654, 0.164055333, -0.166030437, -0.0927639678, 1.27697837,
)  # fmt: skip


def _erfc_single(xp: Any, x: Any) -> Any:
    """The same for single precision on the CPU, in steps that run over whole vectors, as SciPy's do not."""
    a = xp.minimum(xp.abs(x), x.dtype.type(10.3))
    h = xp.round(16 * a) / 16
    t = (a - 2) / (a + 2)
    y = t * _ERFC_SINGLE[0] + _ERFC_SINGLE[1]
    for c in _ERFC_SINGLE[2:]:
        y *= t
        y += c
    y /= 1 + 2 * a
    y *= xp.exp(-h * h)
    y *= xp.exp((h - a) * (h + a))
    return xp.copysign(y, x + 0) + (x < 0) * x.dtype.type(2)  # 2 − y below 0


@_function
def erfc(xp: Any, x: Any) -> Any:
    """1 − erf x; from ½ on as e^(−x²) times a slow function, with x² in two parts, the larger of them exact."""
    if x.dtype == "float32" and xp.special == "scipy.special":
        return _erfc_single(xp, x)
    far = (x > 0.5) & (x < 28)
    a = xp.where(far, x, 1)
    h = xp.round(16 * a) / 16
    return xp.where(far, xp._erfcx(a) * xp.exp(-h * h) * xp.exp((h - a) * (h + a)), xp._erfc(x))


def _half_turns(xp: Any, x: Any, m: int = 0) -> Any:
    """The m-th derivative of the sine at πx, to full accuracy near its roots: first x is reduced to [−½, ½]."""
    n = xp.round(x)
    r, sign = pi * (x - n), 1 - 2 * xp.abs(xp.remainder(n, 2))
    return (sign if m % 4 < 2 else -sign) * (xp.cos(r) if m % 2 else xp.sin(r))


@_function
def sinc(xp: Any, x: Any, n: int = 0) -> Any:
    """The n-th derivative of sin(πx)/(πx): near 0 by its series, elsewhere by x y⁽ⁿ⁾ + n y⁽ⁿ⁻¹⁾ = πⁿ⁻¹ sin⁽ⁿ⁾(πx)."""
    near = xp.abs(x) < (n + 1.5) / pi if n else x == 0
    far = xp.where(near, 1, x)
    y = _half_turns(xp, far) / pi / far  # π x may be too large for a float
    for m in range(1, n + 1):
        y = (pi ** (m - 1) * _half_turns(xp, far, m) - m * y) / far
    if not n:
        return xp.where(near, 1, y)
    first = ceil(n / 2)  # Σₖ (−1)ᵏ π²ᵏ x²ᵏ⁻ⁿ / ((2k + 1) (2k − n)!) begins here
    close = xp.where(near, x, 0)
    z = (pi * close) ** 2
    series = xp.ones_like(z)
    for k in range(first + 12 + 3 * n, first - 1, -1):
        series = 1 - z * series * ((2 * k + 1) / ((2 * k + 3) * (2 * k - n + 1) * (2 * k - n + 2)))
    lead = (-1) ** first * pi ** (2 * first) / (2 * first + 1)
    return xp.where(near, lead * series * (close if 2 * first > n else 1), y)


@_function
def ive(xp: Any, x: Any, n: int = 0) -> Any:
    """e^(−|x|) Iₙ(x): where x is small by its series, of positive terms, elsewhere upwards from the orders 0 and 1."""
    if n < 2:
        return xp.i1e(x) if n else xp.i0e(x)
    a = xp.abs(x)
    near = a < 2 * n + 4
    far, close = xp.where(near, 1, a), xp.where(near, a, 0)
    below, y = xp.i0e(far), xp.i1e(far)
    for m in range(1, n):
        below, y = y, below - 2 * m / far * y
    z, series = close * close / 4, xp.ones_like(close)
    for k in range(25 + 3 * n, 0, -1):
        series = 1 + z * series / (k * (k + n))
    series = series * (close / 2) ** n / float(factorial(n)) * xp.exp(-close)
    y = xp.where(near, series, y)
    return xp.where(x < 0, -y, y) if n % 2 else y


@_function
def iv(xp: Any, x: Any, n: int = 0) -> Any:
    """Iₙ(x)"""
    if n < 2:
        return xp.i1(x) if n else xp.i0(x)
    half = xp.exp(xp.abs(x) / 2)  # its square alone would be too large before the product is
    return xp.ive(x, n) * half * half


@functools.cache
def _lgamma_terms(count: int = 40) -> list[float]:
    """Of ln Γ(2 + e) = Σ cₖ eᵏ: c₁ = 1 − γ, cₖ = (−1)ᵏ (ζ(k) − 1)/k."""
    zeta = _module("scipy.special").zeta
    return [0.42278433509846713] + [(-1) ** k * float(zeta(float(k), 2.0)) / k for k in range(2, count)]


@_function
def lgamma(xp: Any, x: Any) -> Any:
    """ln |Γ(x)|; from ½ to 2½, where it has its roots 1 and 2, by a series, which has all digits there."""
    low, near = x < 1.25, (x > 0.5) & (x < 2.5)
    e = xp.where(near, xp.where(low, x - 1, x - 2), 0)
    series = 0 * e
    for c in reversed(_lgamma_terms()):
        series = (series + c) * e
    tiny = (xp.abs(x) < 1e-30) & (x != 0)
    y = xp.where(tiny, -xp.log(xp.where(tiny, xp.abs(x), 1)), xp._gammaln(x))
    return xp.where(near, series - xp.where(low, xp.log1p(e), 0), y)


@_function
def polygamma(xp: Any, x: Any, n: int = 0) -> Any:
    """ψ⁽ⁿ⁾(x) = (−1)ⁿ⁺¹ n! ζ(n + 1, x); where x < 0 by reflection: the sum has |x| terms there, ψ few digits."""
    negative = x < 0
    a = xp.where(negative, 1 - x, x)
    y = (-1.0) ** (n + 1) * float(factorial(n)) * xp._zeta(n + 1.0, a) if n else xp._psi(a)
    r = xp.where(negative, x - xp.round(x), 0.25)
    pole = r == 0
    c = xp.where(negative, xp.cos(pi * r) / xp.sin(pi * xp.where(pole, 0.25, r)), 0)
    cot = [0, 1]  # π^(n+1) Q(cot πx) is the n-th derivative of π cot πx: Q = c, then −(1 + c²) Q′
    for _ in range(n):
        slope = [k * q for k, q in enumerate(cot)][1:]
        cot = [-p - q for p, q in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    q = 0 * c
    for coefficient in reversed(cot):
        q = q * c + float(coefficient)
    q = xp.where(pole, (-1.0) ** n * inf if n else nan, q)
    return xp.where(negative, (-1) ** n * y, y) - xp.where(negative, pi ** (n + 1) * q, 0)


@_function
def digamma(xp: Any, x: Any) -> Any:
    """ψ(x), NaN at −1, −2, …"""
    return xp.polygamma(x, 0)
