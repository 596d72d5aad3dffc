"""Special functions. Each family has its order as an option n, so that its slopes are of the family again, to any order
and without a singular formula where the function itself is smooth."""

from __future__ import annotations

from math import pi, sqrt

from ..op import elementwise, general
from .arithmetic import over


@elementwise
def erfc(xp, x):
    """y = 1 − erf x, with all digits where erf x is near 1     dy/dx = −2/√π e^(−x²)"""
    return xp.erfc(x)


erfc.slopes(x=lambda xp, x: -(2 / sqrt(pi)) * xp.exp(-(x * x)))


@general
def erfinv(xp, x):
    """erf y = x     dy/dx = √π/2 e^(y²)"""
    return xp.erfinv(x)


def _through_erf(xp, g, y):
    return over(xp, g, 2 / sqrt(pi) * xp.exp(-(y * y)))


erfinv.adjoints(x=lambda xp, g, y: _through_erf(xp, g, y)).tangents(x=lambda xp, t, y: _through_erf(xp, t, y))
erfinv.at_kink("∞ at ±1, but 0 where the cotangent is 0")


@elementwise
def lgamma(xp, x):
    """y = ln |Γ(x)|     dy/dx = ψ(x)"""
    return xp.lgamma(x)


lgamma.slopes(x=lambda xp, x: xp.digamma(x))


@elementwise
def digamma(xp, x):
    """y = ψ(x) = Γ′(x)/Γ(x)     dy/dx = ψ₁(x)"""
    return xp.digamma(x)


digamma.slopes(x=lambda xp, x: xp.polygamma(x, n=1))


@elementwise
def polygamma(xp, x, *, n=1):
    """y = ψₙ(x), the n-th derivative of ψ     dy/dx = ψₙ₊₁(x)"""
    return xp.polygamma(x, n=n)


polygamma.slopes(x=lambda xp, x, n: xp.polygamma(x, n=n + 1))


@elementwise
def iv(xp, x, *, n=0):
    """y = Iₙ(x), the modified Bessel function     dy/dx = ½ (Iₙ₋₁(x) + Iₙ₊₁(x)), which is I₁ for n = 0"""
    return xp.iv(x, n=n)


@elementwise
def i0(xp, x):
    """y = I₀(x)     dy/dx = I₁(x)"""
    return xp.i0(x)


@elementwise
def i1(xp, x):
    """y = I₁(x)     dy/dx = ½ (I₀(x) + I₂(x)), ½ at 0"""
    return xp.i1(x)


def _bessel(xp, x, n):
    return xp.i1(x) if n == 0 else xp.iv(x, n=n - 1) / 2 + xp.iv(x, n=n + 1) / 2


iv.slopes(x=_bessel)
i0.slopes(x=lambda xp, x: xp.i1(x))
i1.slopes(x=lambda xp, x: xp.i0(x) / 2 + xp.iv(x, n=2) / 2)


@elementwise
def ive(xp, x, *, n=0):
    """y = e^(−|x|) Iₙ(x), which does not overflow     dy/dx = e^(−|x|) Iₙ′(x) − y sign x"""
    return xp.ive(x, n=n)


@elementwise
def i0e(xp, x):
    """y = e^(−|x|) I₀(x)     dy/dx = e^(−|x|) I₁(x) − y sign x"""
    return xp.i0e(x)


@elementwise
def i1e(xp, x):
    """y = e^(−|x|) I₁(x)     dy/dx = ½ e^(−|x|) (I₀(x) + I₂(x)) − y sign x, ½ at 0"""
    return xp.i1e(x)


def _scaled(xp, x, y, n):
    slope = xp.i1e(x) if n == 0 else (xp.ive(x, n=n - 1) + xp.ive(x, n=n + 1)) / 2
    return slope - xp.sign(x) * y


ive.slopes(x=lambda xp, x, y, n: _scaled(xp, x, y, n))
i0e.slopes(x=lambda xp, x, y: xp.i1e(x) - xp.sign(x) * y)
i1e.slopes(x=lambda xp, x, y: (xp.i0e(x) + xp.ive(x, n=2)) / 2 - xp.sign(x) * y)
for _scaled_one in (ive, i0e, i1e):
    _scaled_one.at_kink("at 0 the mean of both sides: Iₙ′(0), which is 0 for n = 0")


@elementwise
def sinc(xp, x, *, n=0):
    """y = sin(πx)/(πx), 1 at 0     dy/dx = (cos πx − y)/x, 0 at 0

    With n the n-th derivative of this.
    """
    return xp.sinc(x, n=n)


sinc.slopes(x=lambda xp, x, n: xp.sinc(x, n=n + 1))


@general
def xlogy(xp, x, a):
    """y = x ln a, and 0 where x = 0     ∂y/∂x = ln a     ∂y/∂a = x/a"""
    return xp.xlogy(x, a)


@general
def xlog1py(xp, x, a):
    """y = x ln(1 + a), and 0 where x = 0     ∂y/∂x = ln(1 + a)     ∂y/∂a = x/(1 + a)"""
    return xp.xlog1py(x, a)


def _by_factor(xp, g, x, a):
    return g * xp.log(xp.where(((x == 0) & (a <= 0)) | ((g == 0) & (a == 0)), 1, a))


def _by_factor_1p(xp, g, x, a):
    return g * xp.log1p(xp.where(((x == 0) & (a <= -1)) | ((g == 0) & (a == -1)), 0, a))


xlogy.adjoints(x=_by_factor, a=lambda xp, g, x, a: over(xp, g * x, a))
xlogy.tangents(x=lambda xp, t, x, a: _by_factor(xp, t, x, a), a=lambda xp, t, x, a: over(xp, t * x, a))
xlogy.at_kink("0 for both at x = 0, a ≤ 0, where y is 0 by definition")
xlog1py.adjoints(x=_by_factor_1p, a=lambda xp, g, x, a: over(xp, g * x, 1 + a))
xlog1py.tangents(x=lambda xp, t, x, a: _by_factor_1p(xp, t, x, a), a=lambda xp, t, x, a: over(xp, t * x, 1 + a))
xlog1py.at_kink("0 for both at x = 0, a ≤ −1, where y is 0 by definition")
