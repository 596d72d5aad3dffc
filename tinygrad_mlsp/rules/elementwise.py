"""Functions of one number, with their slopes. Where a slope is bounded, the bound is stated: it decides
what a chain of such functions does to a gradient."""

from __future__ import annotations

from math import log as _ln
from math import pi, sqrt

from ..op import elementwise, general
from .arithmetic import over, positive_or_infinite


@elementwise
def exp(xp, x):
    """y = eˣ     dy/dx = y"""
    return xp.exp(x)


exp.slopes(x=lambda y: y)


@elementwise
def expm1(xp, x):
    """y = eˣ − 1     dy/dx = eˣ"""
    return xp.expm1(x)


expm1.slopes(x=lambda xp, x: xp.exp(x))


@general
def log(xp, x):
    """y = ln x     dy/dx = 1/x"""
    return xp.log(x)


log.adjoints(x=lambda xp, g, x: over(xp, g, x)).tangents(x=lambda xp, t, x: over(xp, t, x))


@general
def log2(xp, x):
    """y = log₂ x     dy/dx = 1/(x ln 2)"""
    return xp.log2(x)


log2.adjoints(x=lambda xp, g, x: over(xp, g / _ln(2), x)).tangents(x=lambda xp, t, x: over(xp, t / _ln(2), x))


@general
def log10(xp, x):
    """y = log₁₀ x     dy/dx = 1/(x ln 10)"""
    return xp.log10(x)


log10.adjoints(x=lambda xp, g, x: over(xp, g / _ln(10), x)).tangents(x=lambda xp, t, x: over(xp, t / _ln(10), x))


@general
def log1p(xp, x):
    """y = ln(1 + x)     dy/dx = 1/(1 + x)"""
    return xp.log1p(x)


log1p.adjoints(x=lambda xp, g, x: over(xp, g, 1 + x)).tangents(x=lambda xp, t, x: over(xp, t, 1 + x))


@elementwise
def logaddexp(xp, a, b):
    """y = ln(eᵃ + eᵇ)     ∂y/∂a = σ(a − b)     ∂y/∂b = σ(b − a)"""
    return xp.logaddexp(a, b)


def _difference(xp, a, b):
    same = xp.isinf(a) & (a == b)
    return xp.where(same, 0, a) - xp.where(same, 0, b)


logaddexp.slopes(
    a=lambda xp, a, b: xp.sigmoid(_difference(xp, a, b)),
    b=lambda xp, a, b: xp.sigmoid(_difference(xp, b, a)),
)
logaddexp.at_kink("½ each at a = b = ±∞").ordered()


@elementwise
def sin(xp, x):
    """y = sin x     dy/dx = cos x"""
    return xp.sin(x)


sin.slopes(x=lambda xp, x: xp.cos(x))


@elementwise
def cos(xp, x):
    """y = cos x     dy/dx = −sin x"""
    return xp.cos(x)


cos.slopes(x=lambda xp, x: -xp.sin(x))


@elementwise
def tan(xp, x):
    """y = tan x     dy/dx = 1 + y²"""
    return xp.tan(x)


tan.slopes(x=lambda y: 1 + y * y)


@general
def asin(xp, x):
    """y = arcsin x     dy/dx = 1/√(1 − x²)"""
    return xp.asin(x)


asin.adjoints(x=lambda xp, g, x: over(xp, g, xp.sqrt((1 - x) * (1 + x))))
asin.tangents(x=lambda xp, t, x: over(xp, t, xp.sqrt((1 - x) * (1 + x))))


@general
def acos(xp, x):
    """y = arccos x     dy/dx = −1/√(1 − x²)"""
    return xp.acos(x)


acos.adjoints(x=lambda xp, g, x: -over(xp, g, xp.sqrt((1 - x) * (1 + x))))
acos.tangents(x=lambda xp, t, x: -over(xp, t, xp.sqrt((1 - x) * (1 + x))))


@elementwise
def atan(xp, x):
    """y = arctan x     dy/dx = 1/(1 + x²), in (0, 1]"""
    return xp.atan(x)


atan.slopes(x=lambda x: 1 / (1 + x * x))


@elementwise
def atan2(xp, a, b):
    """y = the angle of (b, a)     ∂y/∂a = b/(a² + b²)     ∂y/∂b = −a/(a² + b²)"""
    return xp.atan2(a, b)


def _turn(xp, part, a, b):
    length = positive_or_infinite(xp, xp.hypot(a, b))  # its square may be too large or too small for a float
    return part / length / length


atan2.slopes(a=lambda xp, a, b: _turn(xp, b, a, b), b=lambda xp, a, b: _turn(xp, -a, a, b))
atan2.at_kink("0 at a = b = 0")


@elementwise
def sinh(xp, x):
    """y = sinh x     dy/dx = cosh x"""
    return xp.sinh(x)


sinh.slopes(x=lambda xp, x: xp.cosh(x))


@elementwise
def cosh(xp, x):
    """y = cosh x     dy/dx = sinh x"""
    return xp.cosh(x)


cosh.slopes(x=lambda xp, x: xp.sinh(x))


@elementwise
def tanh(xp, x):
    """y = tanh x     dy/dx = 1 − y², in (0, 1]: a chain of tanh can only shrink a gradient."""
    return xp.tanh(x)


tanh.slopes(x=lambda y: 1 - y * y)


@elementwise
def asinh(xp, x):
    """y = arsinh x     dy/dx = 1/√(1 + x²), in (0, 1]"""
    return xp.asinh(x)


def _root(xp, x):
    """√(1 + x²); where x is real, without overflow."""
    return xp.sqrt(1 + x * x) if x.dtype.kind == "c" else xp.hypot(x, xp.ones_like(x))


asinh.slopes(x=lambda xp, x: 1 / _root(xp, x))


@general
def acosh(xp, x):
    """y = arcosh x     dy/dx = 1/√(x² − 1)"""
    return xp.acosh(x)


acosh.adjoints(x=lambda xp, g, x: over(xp, g, xp.sqrt(x - 1) * xp.sqrt(x + 1)))
acosh.tangents(x=lambda xp, t, x: over(xp, t, xp.sqrt(x - 1) * xp.sqrt(x + 1)))


@general
def atanh(xp, x):
    """y = artanh x     dy/dx = 1/(1 − x²)"""
    return xp.atanh(x)


atanh.adjoints(x=lambda xp, g, x: over(xp, g, (1 - x) * (1 + x)))
atanh.tangents(x=lambda xp, t, x: over(xp, t, (1 - x) * (1 + x)))


@elementwise
def sigmoid(xp, x):
    """y = σ(x) = 1/(1 + e⁻ˣ)     dy/dx = y(1 − y), in (0, ¼]: each such layer quarters a gradient, at best."""
    return xp.sigmoid(x)


sigmoid.slopes(x=lambda y: y - y * y)


@elementwise
def softplus(xp, x):
    """y = ln(1 + eˣ)     dy/dx = σ(x), in (0, 1)"""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


softplus.slopes(x=lambda xp, x: xp.sigmoid(x)).ordered()


@elementwise
def log_sigmoid(xp, x):
    """y = ln σ(x)     dy/dx = σ(−x), in (0, 1)"""
    return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x)))


log_sigmoid.slopes(x=lambda xp, x: xp.sigmoid(-x)).ordered()


@elementwise
def relu(xp, x):
    """y = max(0, x)     dy/dx = 1 where x > 0, else 0: passes a gradient whole or not at all"""
    return xp.maximum(x, 0)


relu.slopes(x=lambda y: y > 0).at_kink("0 at 0").ordered()


@elementwise
def leaky_relu(xp, x, *, negative_slope=0.01):
    """y = x where x > 0, else a x     dy/dx = 1 or a"""
    return xp.where(x > 0, x, negative_slope * x)


leaky_relu.slopes(x=lambda xp, x, negative_slope: xp.where(x > 0, xp.ones_like(x), negative_slope)).at_kink("a at 0")
leaky_relu.ordered()


@elementwise
def elu(xp, x, *, alpha=1.0):
    """y = x where x > 0, else α(eˣ − 1)     dy/dx = 1 or y + α"""
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


elu.slopes(x=lambda xp, x, alpha: xp.where(x > 0, 1, alpha * xp.exp(xp.minimum(x, 0)))).at_kink("α at 0").ordered()


@elementwise
def prelu(xp, x, weight):
    """y = x where x > 0, else a x, with the slope a learned     ∂y/∂x = 1 or a     ∂y/∂a = 0 or x"""
    return xp.where(x > 0, x, weight * x)


prelu.slopes(
    x=lambda xp, x, weight: xp.where(x > 0, xp.ones_like(x), weight), weight=lambda xp, x: xp.minimum(x, 0)
).at_kink("a at 0")  # fmt: skip
prelu.ordered()


@elementwise
def hardtanh(xp, x, *, min_val=-1.0, max_val=1.0):
    """y = x between min and max, which it does not leave     dy/dx = 1 between them, else 0"""
    return xp.minimum(xp.maximum(x, min_val), max_val)


hardtanh.slopes(x=lambda x, min_val, max_val: (x > min_val) & (x < max_val)).at_kink("0 at both ends").ordered()


@elementwise
def lecun_tanh(xp, x):
    """y = 1.7159 tanh(2x/3)     dy/dx = ⅔ (1.7159 − y²/1.7159), in (0, 1.144]: near 1 where y = ±1"""
    return 1.7159 * xp.tanh(x / 1.5)


lecun_tanh.slopes(x=lambda y: (1.7159 - y * y / 1.7159) / 1.5)


@elementwise
def softsign(xp, x):
    """y = x/(1 + |x|)     dy/dx = 1/(1 + |x|)², in (0, 1]"""
    return x / (1 + xp.abs(x))


softsign.slopes(x=lambda xp, x: 1 / (1 + xp.abs(x)) / (1 + xp.abs(x))).ordered()


@elementwise
def silu(xp, x):
    """y = x σ(x)     dy/dx = σ(x) (1 + x σ(−x)), in (−0.1, 1.1)"""
    return x * _vanishing_sigmoid(xp, x)


def _vanishing_sigmoid(xp, x):
    """σ(x) that becomes 0, and does not stay at the smallest number: it is multiplied by a large one."""
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))


silu.slopes(x=lambda xp, x: _vanishing_sigmoid(xp, x) * (1 + x * _vanishing_sigmoid(xp, -x))).ordered()


@elementwise
def gelu(xp, x):
    """y = x Φ(x), with the normal distribution's Φ(x) = ½ erfc(−x/√2)     dy/dx = Φ(x) + x e^(−x²/2)/√(2π)"""
    return x * (xp.erfc(x / -sqrt(2)) / 2)


gelu.slopes(x=lambda xp, x: xp.erfc(x / -sqrt(2)) / 2 + x * (xp.exp(x * x / -2) / sqrt(2 * pi))).ordered()


@elementwise
def erf(xp, x):
    """y = erf x = 2/√π ∫₀ˣ e^(−s²) ds     dy/dx = 2/√π e^(−x²)"""
    return xp.erf(x)


erf.slopes(x=lambda xp, x: 2 / sqrt(pi) * xp.exp(-(x * x)))
