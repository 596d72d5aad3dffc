"""Sums, products, quotients, powers; what compares and rounds has no slope."""

from __future__ import annotations

from math import inf
from typing import Any

from ..op import constant, elementwise, general, linear, multilinear


def over(xp: Any, g: Any, d: Any) -> Any:
    """g/d, and 0 where both are 0: a zero cotangent stays zero at a pole, so `where(x > 0, sqrt(x), 0)`
    has the slope 0 at 0, not NaN."""
    return g / xp.where((d == 0) & (g == 0), 1, d)


def positive_or_infinite(xp: Any, y: Any) -> Any:
    """A length to divide by, ∞ instead of 0: a slope that has it below is 0 there, and so are all further ones."""
    return xp.where(y == 0, inf, y)


@linear
def add(xp, a, b):
    """y = a + b"""
    return xp.add(a, b)


add.adjoints(a=lambda g: g, b=lambda g: g)


@linear
def subtract(xp, a, b):
    """y = a − b"""
    return xp.subtract(a, b)


subtract.adjoints(a=lambda g: g, b=lambda g: -g)


@linear
def negative(xp, x):
    """y = −x"""
    return xp.negative(x)


negative.adjoints(x=lambda g: -g)


@linear
def positive(xp, x):
    """y = x, in memory of its own"""
    return xp.positive(x)


positive.adjoints(x=lambda g: g)


@linear
def alias(xp, x):
    """y = x, the same memory: a second place in the graph for the same values"""
    return x


alias.adjoints(x=lambda g: g)


@multilinear
def multiply(xp, a, b):
    """y = a b"""
    return xp.multiply(a, b)


multiply.adjoints(a=lambda g, b: g * b, b=lambda g, a: g * a)


@general
def divide(xp, a, b):
    """y = a / b     ∂y/∂a = 1/b     ∂y/∂b = −y/b"""
    return xp.divide(a, b)


divide.adjoints(a=lambda xp, g, b: over(xp, g, b), b=lambda xp, g, a, b: -over(xp, over(xp, g * a, b), b))
divide.tangents(a=lambda xp, t, b: over(xp, t, b), b=lambda xp, t, a, b: -over(xp, over(xp, t * a, b), b))


@general
def reciprocal(xp, x):
    """y = 1/x     dy/dx = −y²"""
    return 1 / x


reciprocal.adjoints(x=lambda xp, g, x: -over(xp, over(xp, g, x), x))
reciprocal.tangents(x=lambda xp, t, x: -over(xp, over(xp, t, x), x))


@elementwise
def square(xp, x):
    """y = x²     dy/dx = 2x"""
    return xp.multiply(x, x)


square.slopes(x=lambda x: x + x)


@general
def sqrt(xp, x):
    """y = √x     dy/dx = 1/(2y)"""
    return xp.sqrt(x)


sqrt.adjoints(x=lambda xp, g, y: over(xp, g, y + y)).tangents(x=lambda xp, t, y: over(xp, t, y + y))
sqrt.at_kink("∞ at 0, but 0 where the cotangent is 0")


@general
def pow(xp, x, p):
    """y = xᵖ     ∂y/∂x = p xᵖ⁻¹     ∂y/∂p = y ln x"""
    return xp.pow(x, p)


def _by_base(xp, g, x, p):
    still = (x == 0) & (g == 0)  # as in `over`: a zero cotangent stays zero at a pole
    constant = (p == 0) & ((x == 0) | ~xp.isfinite(x))  # x⁰ = 1 for these too, whose x⁻¹ would make NaN of it
    return g * p * xp.pow(xp.where(still | constant, 1, x), p - 1)


def _by_exponent(xp, g, x, y):
    return g * xp.where(x == 0, 0, y) * xp.log(xp.where(x == 0, 1, x))


pow.adjoints(x=_by_base, p=_by_exponent)
pow.tangents(x=lambda xp, t, x, p: _by_base(xp, t, x, p), p=lambda xp, t, x, y: _by_exponent(xp, t, x, y))
pow.at_kink("at x = 0: ∂y/∂p = 0, and ∂y/∂x = ∞ for p < 1, but 0 where the cotangent is 0")


@general
def abs(xp, x):
    """y = |x|     dy/dx = sign x, which is x̄/y where x is complex"""
    return xp.abs(x)


def _phase(xp, x, y):
    return xp.conj(x) / positive_or_infinite(xp, y) if x.dtype.kind == "c" else xp.sign(x)


abs.adjoints(x=lambda xp, g, x, y: g * _phase(xp, x, y)).tangents(x=lambda xp, t, x, y: xp.real(_phase(xp, x, y) * t))
abs.at_kink("0 at 0")


@elementwise
def maximum(xp, a, b):
    """y = max(a, b)     slope 1 for the larger"""
    return xp.maximum(a, b)


maximum.slopes(
    a=lambda xp, a, b: xp.where(a == b, 0.5, xp.astype(a > b, a.dtype)),
    b=lambda xp, a, b: xp.where(a == b, 0.5, xp.astype(b > a, a.dtype)),
).at_kink("½ each at a tie").ordered()


@elementwise
def minimum(xp, a, b):
    """y = min(a, b)     slope 1 for the smaller"""
    return xp.minimum(a, b)


minimum.slopes(
    a=lambda xp, a, b: xp.where(a == b, 0.5, xp.astype(a < b, a.dtype)),
    b=lambda xp, a, b: xp.where(a == b, 0.5, xp.astype(b < a, a.dtype)),
).at_kink("½ each at a tie").ordered()


@elementwise
def remainder(xp, x, d):
    """y = x − d ⌊x/d⌋     ∂y/∂x = 1     ∂y/∂d = −⌊x/d⌋"""
    return xp.remainder(x, d)


remainder.slopes(x=lambda: 1, d=lambda xp, x, d: -xp.floor_divide(x, d)).at_kink("x = k d: the slope from the right")


@elementwise
def hypot(xp, a, b):
    """y = √(a² + b²)     ∂y/∂a = a/y     ∂y/∂b = b/y"""
    return xp.hypot(a, b)


hypot.slopes(a=lambda xp, a, y: a / positive_or_infinite(xp, y), b=lambda xp, b, y: b / positive_or_infinite(xp, y))
hypot.at_kink("0 at a = b = 0")


@elementwise
def copysign(xp, x, sign_of):
    """y = |x| with the sign of the second     dy/dx = ±1"""
    return xp.copysign(x, sign_of)


copysign.slopes(x=lambda xp, x, sign_of: xp.sign(x) * xp.copysign(xp.ones_like(x), sign_of)).at_kink("0 at 0")


@elementwise
def clip(xp, x, *, min=None, max=None):
    """y = x held in [min, max]     dy/dx = 1 inside, 0 outside"""
    return xp.clip(x, _bound(min), _bound(max))


def _bound(value):
    """A bound as a plain number, which widens no dtype."""
    return value.item() if hasattr(value, "item") else value


clip.slopes(x=lambda x, y: x == y).at_kink("1 at the bounds").ordered()


@linear
def astype(xp, x, *, dtype):
    """y = x in another dtype"""
    return xp.astype(x, dtype)


astype.adjoints(x=lambda xp, g, x_dtype: xp.astype(xp.real(g) if x_dtype.kind != "c" else g, x_dtype))


@linear
def transfer(xp, x, *, source, target):
    """y = x on another device"""
    return xp.transfer(x, source, target)


transfer.adjoints(x=lambda xp, g, source, target: xp.transfer(g, target, source))


@linear
def real(xp, x):
    """y = Re x"""
    return xp.real(x)


real.adjoints(x=lambda xp, g, x_dtype: xp.astype(g, x_dtype))


@linear
def imag(xp, x):
    """y = Im x"""
    return xp.imag(x)


imag.adjoints(x=lambda xp, g, x_dtype: xp.astype(g, x_dtype) * (-1j if x_dtype.kind == "c" else 0))


@linear
def conj(xp, x):
    """y = x̄"""
    return xp.conj(x)


conj.adjoints(x=lambda xp, g: xp.conj(g))


def _flat(name, doc, *arguments):
    """A function of one or two arguments without slope, passed through to the namespace."""
    if len(arguments) == 1:

        def forward(xp, x):
            return getattr(xp, name)(x)
    else:

        def forward(xp, a, b):
            return getattr(xp, name)(a, b)

    forward.__name__, forward.__doc__ = name, doc
    return constant(forward)


for _name, _doc in {
    "floor": "y = ⌊x⌋", "ceil": "y = ⌈x⌉", "trunc": "y = x towards 0",
    "round": "y = x to the nearest whole number, ties to even", "signbit": "x < 0, −0 included",
    "isnan": "x is NaN", "isinf": "x is ±∞", "isfinite": "x is neither NaN nor ±∞",
    "logical_not": "not x", "bitwise_invert": "~x",
}.items():  # fmt: skip
    globals()[_name] = _flat(_name, _doc, "x")

for _name, _doc in {
    "equal": "a = b", "not_equal": "a ≠ b", "less": "a < b", "less_equal": "a ≤ b", "greater": "a > b",
    "greater_equal": "a ≥ b", "logical_and": "a and b", "logical_or": "a or b",
    "logical_xor": "a or b, not both", "bitwise_and": "a & b", "bitwise_or": "a | b", "bitwise_xor": "a ^ b",
    "bitwise_left_shift": "a « b", "bitwise_right_shift": "a » b", "nextafter": "the float after a towards b",
}.items():  # fmt: skip
    globals()[_name] = _flat(_name, _doc, "a", "b")

for _name in ("less", "less_equal", "greater", "greater_equal"):
    globals()[_name].ordered()


@constant
def floor_divide(xp, a, b):
    """y = ⌊a/b⌋"""
    y = xp.floor_divide(a, b)
    if y.dtype.kind != "f":
        return y
    return xp.where(xp.isinf(a) | xp.isinf(b), xp.floor(xp.divide(a, b)), y)  # NumPy's makes NaN of ∞ // 2


@constant
def sign(xp, x):
    """y = −1, 0 or 1"""
    return xp.sign(x) + 0  # which makes 0 of −0
