"""How many digits are right: every function of numbers, and its slopes, against mpmath over the whole range.

    python tests/evidence/accuracy.py            measures, and prints the page
    python tests/evidence/accuracy.py --write    measures, and writes docs/accuracy.md

`CLAIMS` states the bounds, once: `tests/test_accuracy.py` holds them on a small grid, the page shows them beside what
was measured on a large one. An error is counted in ULP: units in the last place of the true value, or, where a claim
names a `scale` (the result is a difference of larger numbers), of the scale.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

import tinygrad_mlsp as tg

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"
DTYPES = ("float64", "float32")
Exact = Callable[..., Any]

mp.mp.prec = 240


@dataclass(frozen=True)
class Claim:
    """What is promised of one function: how far value and slopes may be from `value` and `slopes`, computed by mpmath.

    `low`, `high` and `near` say where: between which numbers, and near which points especially. Bounds are in ULP, for
    float64 and float32. `scale` and `slope_scale` are what an error is measured against, if that is more than
    the truth.
    """

    value: Exact
    slopes: Exact  # of all arguments: a tuple, or the only one
    forward: tuple[float, float] = (4, 4)
    slope: tuple[float, float] = (8, 8)
    note: str = ""
    low: float = -math.inf
    high: float = math.inf
    near: tuple[float, ...] = (0.0,)
    arity: int = 1
    call: Callable[..., tg.Tensor] | None = None
    flushed: bool = False  # below the smallest normal number, anything below it will do
    scale: Exact = lambda *_: 0
    slope_scale: Exact = lambda *_: 0
    where: Callable[..., Any] = lambda *x: np.isfinite(x[0])
    ranges: tuple[tuple[float, float], ...] = field(default=())  # of each argument, where they differ


def points(claim: Claim, dtype: str, n: int, seed: int = 0) -> list[Any]:
    """About n points for each argument: every magnitude down to the subnormal ones, the middle, and what is near."""
    random, info = np.random.default_rng(seed), np.finfo(dtype)
    columns = []
    for i in range(claim.arity):
        low, high = claim.ranges[i] if claim.ranges else (claim.low, claim.high)
        low, high = max(low, -float(info.max)), min(high, float(info.max))
        exponents = random.uniform(np.log2(float(info.smallest_subnormal)), np.log2(float(info.max)), n // 3)
        wide = random.choice([-1, 1], n // 3) * np.exp2(exponents)
        middle = random.uniform(max(low, -6), min(high, 6), n // 3)
        far = random.uniform(max(low, -120), min(high, 120), n // 6)
        steps = np.exp2(-random.uniform(1, info.nmant + 1, n // 6)) * random.choice([-1, 1], n // 6)
        close = random.choice(claim.near, n // 6) + steps
        x = np.concatenate([wide, middle, far, close]).astype(dtype)
        x = np.where((x < low) | (x > high), random.uniform(max(low, -3), min(high, 3), len(x)).astype(dtype), x)
        columns.append(random.permutation(x) if i else x)
    with np.errstate(over="ignore"):
        if claim.arity > 1:  # nearly equal, and nearly opposite
            third = n // 6
            for other in columns[1:]:
                sign = random.choice([-1, 1], third)
                tied = columns[0][:third] * (1 + sign * np.exp2(-random.uniform(1, info.nmant, third)))
                fits = (tied >= (claim.ranges or [(claim.low, 0)])[-1][0]) & np.isfinite(tied.astype(dtype))
                other[:third] = np.where(fits, tied.astype(dtype), other[:third])
    with np.errstate(all="ignore"):
        kept = claim.where(*columns)
    return [np.ascontiguousarray(c[kept]) for c in columns]


def _ulps(got: Any, exact: Any, scale: Any, info: Any, flushed: bool) -> float | None:
    """How far `got` is from the truth; None where there is no finite truth in this dtype."""
    if not isinstance(exact, (mp.mpf, int, float)) or not mp.isfinite(exact) or abs(exact) > float(info.max):
        return None
    if not np.isfinite(got):
        return math.inf
    if flushed and abs(exact) < float(info.tiny) and abs(got) < info.tiny:
        return 0.0
    size = min(max(abs(mp.mpf(exact)), mp.mpf(scale)), mp.mpf(float(info.max)))
    exponent = mp.frexp(size)[1] if size else -5000
    unit = mp.ldexp(1, max(exponent, int(info.minexp) + 1) - info.nmant - 1)
    return float(abs(mp.mpf(float(got)) - exact) / unit)


def measure(name: str, dtype: str, n: int, seed: int = 0) -> tuple[tuple[float, Any], tuple[float, Any]]:
    """The largest error of the value and of the slopes, in ULP, each with the arguments at which it occurs."""
    claim, info = CLAIMS[name], np.finfo(dtype)
    columns = points(claim, dtype, n, seed)
    leaves = [tg.Tensor(c, requires_grad=True) for c in columns]
    with np.errstate(all="ignore"):
        y = (claim.call or getattr(tg, name))(*leaves)
        y.backward(tg.ones_like(y))
    gradients = [np.zeros_like(c) if x.grad is None else x.grad.numpy() for x, c in zip(leaves, columns, strict=True)]
    worst: list[tuple[float, Any]] = [(0.0, None), (0.0, None)]
    for i, x in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        exact = [mp.mpf(v) for v in x]
        for kind, truth, found, scale in (
            (0, claim.value, [y.numpy()[i]], claim.scale),
            (1, claim.slopes, [g[i] for g in gradients], claim.slope_scale),
        ):
            try:
                true = truth(*exact)
                size = scale(*exact)
            except (ZeroDivisionError, ValueError):  # a pole
                continue
            for got, one in zip(found, true if isinstance(true, (tuple, list)) else (true,), strict=False):
                error = None if one is None else _ulps(got, one, size, info, claim.flushed)
                if error is not None and error > worst[kind][0]:
                    worst[kind] = (error, x)
    return worst[0], worst[1]


# The truth


def sigma(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def _normal_share(x: Any) -> Any:
    """The normal distribution's Φ."""
    return mp.erfc(-x / mp.sqrt(2)) / 2 if abs(x) < 100 else mp.mpf(x > 0)


def _softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


def _sinc(x: Any) -> Any:
    return mp.sinpi(x) / (mp.pi * x) if x else mp.mpf(1)


def _sinc_slope(x: Any) -> Any:
    with mp.workprec(3000):
        return (mp.cospi(x) - mp.sinpi(x) / (mp.pi * x)) / x if x else mp.mpf(0)


def _scaled_bessel(n: int) -> Exact:
    return lambda x: mp.besseli(n, x) * mp.exp(-abs(x))


def _scaled_slope(n: int) -> Exact:
    def slope(x: Any) -> Any:
        with mp.workprec(400):
            inner = mp.besseli(1, x) if n == 0 else (mp.besseli(n - 1, x) + mp.besseli(n + 1, x)) / 2
            return (inner - mp.sign(x) * mp.besseli(n, x)) * mp.exp(-abs(x))

    return slope


def _bessel_slope(n: int) -> Exact:
    return lambda x: mp.besseli(1, x) if n == 0 else (mp.besseli(n - 1, x) + mp.besseli(n + 1, x)) / 2


def _log_gamma(x: Any) -> Any:
    return mp.log(abs(mp.gamma(x))) if abs(x) < 200 else mp.re(mp.loggamma(x))


def _softmax(*x: Any) -> Any:
    top = max(x)
    return (
        1 / mp.fsum(mp.exp(v - x[0]) for v in x)
        if x[0] == top
        else mp.exp(x[0] - top) / mp.fsum(mp.exp(v - top) for v in x)
    )


def _logsumexp(*x: Any) -> Any:
    top = max(x)
    rest = list(x)
    rest.remove(top)
    return top + mp.log1p(mp.fsum(mp.exp(v - top) for v in rest))


def _shares(*x: Any) -> list[Any]:
    return [_softmax(v, *(w for j, w in enumerate(x) if j != i)) for i, v in enumerate(x)]


def _log_share(*x: Any) -> Any:
    with mp.workprec(4500):
        return x[0] - _logsumexp(*x)


def _spread(*x: Any) -> Any:
    top = max(x)
    return max(abs(top), *((top - v) * mp.exp(v - top) for v in x))


def _softmax_slopes(*x: Any) -> list[Any]:
    p = _shares(*x)
    rest = mp.fsum(p[1:])
    return [p[0] * rest, *(-p[0] * q for q in p[1:])]


def _log_share_slopes(*x: Any) -> list[Any]:
    p = _shares(*x)
    return [mp.fsum(p[1:]), *(-q for q in p[1:])]


def _var(*x: Any) -> Any:
    mean = mp.fsum(x) / len(x)
    return mp.fsum((v - mean) ** 2 for v in x) / len(x)


def _var_slopes(*x: Any) -> list[Any]:
    mean = mp.fsum(x) / len(x)
    return [2 * (v - mean) / len(x) for v in x]


def _std_slopes(*x: Any) -> Any:
    mean, deviation = mp.fsum(x) / len(x), mp.sqrt(_var(*x))
    return [(v - mean) / (len(x) * deviation) for v in x] if deviation else [None for _ in x]


def _norm(*x: Any) -> Any:
    return mp.sqrt(mp.fsum(v * v for v in x))


def _bce(x: Any, t: Any) -> Any:
    with mp.workprec(4500):
        return _softplus(x) - x * t


def _over_axis(function: str, **how: Any) -> Callable[..., tg.Tensor]:
    return lambda *x: getattr(tg, function)(tg.stack(x, axis=-1), axis=-1, **how)


def _first(function: str) -> Callable[..., tg.Tensor]:
    return lambda *x: getattr(tg, function)(tg.stack(x, axis=-1), axis=-1)[..., 0]


def _cross_entropy(*x: Any) -> tg.Tensor:
    logits = tg.stack(x, axis=-1)
    return tg.cross_entropy(logits, np.zeros(logits.shape[:-1], int))


def _bool(condition: Any) -> Any:
    return mp.mpf(1 if condition else 0)


def _largest(*x: Any) -> Any:
    return max(abs(v) for v in x)


def _normal(*x: Any) -> Any:
    """Where every argument is 0 or a normal number, and not within a factor of two of the largest."""
    info = np.finfo(x[0].dtype)
    return np.logical_and.reduce([(v == 0) | ((np.abs(v) >= info.tiny) & (np.abs(v) < info.max / 2)) for v in x])


def _kept(a: Any, b: Any, _: Any) -> Any:
    """Where a product on the way is not subnormal."""
    with np.errstate(all="ignore"):
        return (np.abs(a * b) >= np.finfo(a.dtype).tiny) | (a * b == 0)


def _pole(x: Any) -> Any:
    return mp.pi / abs(mp.sinpi(x))


def _relative_size(*x: Any) -> Any:
    deviation = mp.sqrt(_var(*x))
    return _largest(*x) / deviation if deviation else 0


LN2 = math.log(2)
HALF_TURNS = (0.0, math.pi, math.pi / 2, 3 * math.pi / 2)
ROOT = 1.4616321449683622  # of ψ
row: dict[str, Any] = {"arity": 3, "low": -1e30, "high": 1e30}

# Notes that several claims share.
LOST_AT_ONE = "slope from y: within 2 ULP of {}, so a slope below 10⁻¹⁶ (10⁻⁷ in float32) becomes 0"
ROUNDED_EXPONENT = "eᶻ of a rounded z has an error of |z|/2 ULP"
LIKE_EXP_SQUARE = "slope: e^(−x²) of a rounded x² has an error of x²/2 ULP"
NEAR_ZERO = "ULP of the largest entry, or of |z| eᶻ where the others are z below it, if that is more. Slope: "
CANCELS = "slope: ULP of y, as a difference of nearly equal numbers where |x| is large"
SUBNORMAL = "few digits where a product on the way is subnormal; one that overflows or vanishes loses none"
FLUSH = "below the smallest normal number it stays at about half of that"

CLAIMS: dict[str, Claim] = {
    # arithmetic
    "divide": Claim(
        lambda a, b: a / b, lambda a, b: (1 / b, -a / b**2), arity=2, where=lambda a, b: _normal(a) & (b != 0),
        note="slope in b: few digits where a is subnormal",
    ),
    "reciprocal": Claim(lambda x: 1 / x, lambda x: -1 / x**2),
    "square": Claim(lambda x: x * x, lambda x: 2 * x),
    "sqrt": Claim(mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x)), low=0),
    "pow": Claim(
        lambda x, p: x**p, lambda x, p: (p * x ** (p - 1), x**p * mp.log(x)), arity=2, near=(1.0, 2.0),
        ranges=((0, math.inf), (-1e3, 1e3)), where=lambda x, p: x >= np.finfo(x.dtype).tiny, slope=(450, 60),
        note="slope: the exponent p − 1 is rounded, an error of |ln x|/2 ULP where |p| < 1; x is to be normal",
    ),
    "abs": Claim(abs, mp.sign, where=lambda x: x != 0),
    "maximum": Claim(max, lambda a, b: (_bool(a > b), _bool(b > a)), arity=2, where=lambda a, b: a != b),
    "minimum": Claim(min, lambda a, b: (_bool(a < b), _bool(b < a)), arity=2, where=lambda a, b: a != b),
    "remainder": Claim(
        lambda x, d: x - d * mp.floor(x / d), lambda x, d: (mp.mpf(1), -mp.floor(x / d)), arity=2,
        ranges=((-1e3, 1e3), (0.1, 50)),
    ),
    "hypot": Claim(
        mp.hypot, lambda a, b: (a / mp.hypot(a, b), b / mp.hypot(a, b)), arity=2, where=_normal,
        note="slope: few digits where the length is subnormal, none where it overflows",
    ),
    "copysign": Claim(
        lambda x, s: mp.mpf(math.copysign(1, s)) * abs(x), lambda x, s: (mp.sign(x) * math.copysign(1, s), None),
        arity=2, where=lambda x, s: x != 0,
    ),
    "clip": Claim(
        lambda x: min(max(x, -1), mp.mpf(2)), lambda x: _bool(-1 <= x <= 2), call=lambda x: tg.clip(x, min=-1, max=2)
    ),
    # elementwise
    "exp": Claim(mp.exp, mp.exp),
    "expm1": Claim(mp.expm1, mp.exp),
    "log": Claim(mp.log, lambda x: 1 / x, low=0, near=(1.0,)),
    "log2": Claim(lambda x: mp.log(x, 2), lambda x: 1 / (x * mp.log(2)), low=0, near=(1.0,)),
    "log10": Claim(lambda x: mp.log(x, 10), lambda x: 1 / (x * mp.log(10)), low=0, near=(1.0,)),
    "log1p": Claim(mp.log1p, lambda x: 1 / (1 + x), low=-1, near=(0.0, -1.0), where=lambda x: x > -1),
    "logaddexp": Claim(
        _logsumexp, _shares, arity=2, near=(0.0, -LN2), scale=_spread, flushed=True, forward=(8, 8),
        slope=(450, 80), note=NEAR_ZERO + ROUNDED_EXPONENT,
    ),
    "sin": Claim(mp.sin, mp.cos, near=HALF_TURNS),
    "cos": Claim(mp.cos, lambda x: -mp.sin(x), near=HALF_TURNS),
    "tan": Claim(mp.tan, lambda x: 1 / mp.cos(x) ** 2, slope=(16, 16), near=HALF_TURNS),
    "asin": Claim(mp.asin, lambda x: 1 / mp.sqrt((1 - x) * (1 + x)), low=-1, high=1, near=(0.0, -1.0, 1.0)),
    "acos": Claim(mp.acos, lambda x: -1 / mp.sqrt((1 - x) * (1 + x)), low=-1, high=1, near=(0.0, -1.0, 1.0)),
    "atan": Claim(mp.atan, lambda x: 1 / (1 + x * x), flushed=True),
    "atan2": Claim(
        mp.atan2, lambda a, b: (b / (a * a + b * b), -a / (a * a + b * b)), arity=2, where=_normal,
        note="slope: few digits where the length is subnormal, none where it overflows",
    ),
    "sinh": Claim(mp.sinh, mp.cosh),
    "cosh": Claim(mp.cosh, mp.sinh),
    "tanh": Claim(mp.tanh, lambda x: mp.sech(x) ** 2, slope_scale=lambda x: 1, note=LOST_AT_ONE.format("1")),
    "asinh": Claim(mp.asinh, lambda x: 1 / mp.sqrt(1 + x * x)),
    "acosh": Claim(mp.acosh, lambda x: 1 / mp.sqrt((x - 1) * (x + 1)), low=1, near=(1.0,)),
    "atanh": Claim(mp.atanh, lambda x: 1 / ((1 - x) * (1 + x)), low=-1, high=1, near=(0.0, -1.0, 1.0)),
    "sigmoid": Claim(
        sigma, forward=(8, 8), slopes=lambda x: sigma(x) * sigma(-x), slope_scale=sigma, flushed=True,
        note=LOST_AT_ONE.format("y") + " where x > 0; " + FLUSH,
    ),
    "softplus": Claim(_softplus, sigma, (8, 8), flushed=True, note="slope: " + FLUSH),
    "log_sigmoid": Claim(lambda x: -_softplus(-x), lambda x: sigma(-x), (8, 8), flushed=True, note="slope: " + FLUSH),
    "relu": Claim(lambda x: max(x, mp.mpf(0)), lambda x: _bool(x > 0), where=lambda x: x != 0),
    "leaky_relu": Claim(
        lambda x: x if x > 0 else x * mp.mpf(0.01), lambda x: mp.mpf(1) if x > 0 else mp.mpf(0.01),
        where=lambda x: x != 0,
    ),
    "elu": Claim(lambda x: x if x > 0 else mp.expm1(x), lambda x: mp.mpf(1) if x > 0 else mp.exp(x)),
    "prelu": Claim(
        lambda x, a: x if x > 0 else a * x, lambda x, a: (mp.mpf(1), mp.mpf(0)) if x > 0 else (a, x), arity=2,
        ranges=((-1e30, 1e30), (-10, 10)), flushed=True, where=lambda x, a: x != 0,
    ),
    "hardtanh": Claim(
        lambda x: min(max(x, mp.mpf(-1)), mp.mpf(1)), lambda x: _bool(-1 < x < 1), near=(0.0, -1.0, 1.0),
    ),
    "lecun_tanh": Claim(
        lambda x: mp.mpf(1.7159) * mp.tanh(x / 1.5), lambda x: mp.mpf(1.7159) / 1.5 * mp.sech(x / 1.5) ** 2,
        slope_scale=lambda x: 1, flushed=True, note=LOST_AT_ONE.format("1.7159"),
    ),
    "softsign": Claim(lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2, flushed=True),
    "silu": Claim(
        lambda x: x * sigma(x), lambda x: sigma(x) * (1 + x * sigma(-x)), (16, 16), (16, 16), flushed=True,
        slope_scale=lambda x: sigma(x) * max(1, abs(x) * sigma(-x)),
        note="slope: ULP of the larger of its two terms",
    ),
    "gelu": Claim(
        lambda x: x * _normal_share(x), lambda x: _normal_share(x) + x * mp.npdf(x), flushed=True,
        forward=(1200, 200), slope=(1200, 200), slope_scale=lambda x: max(_normal_share(x), abs(x) * mp.npdf(x)),
        note="far below 0 the argument of erfc is rounded; slope: ULP of the larger of its two terms",
    ),
    "erf": Claim(mp.erf, lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x), slope=(800, 120), note=LIKE_EXP_SQUARE),
    # special
    "erfc": Claim(
        lambda x: mp.erfc(x) if x < 100 else mp.mpf(0), lambda x: -2 / mp.sqrt(mp.pi) * mp.exp(-x * x),
        forward=(8, 8), slope=(800, 120), flushed=True, note=LIKE_EXP_SQUARE,
    ),
    "erfinv": Claim(
        mp.erfinv, lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(mp.erfinv(x) ** 2), low=-1, high=1, near=(0.0, -1.0, 1.0),
        where=lambda x: np.abs(x) < 1, slope=(150, 80), note="slope: e^(y²) of a rounded y has an error of 2 y² ULP",
    ),
    "lgamma": Claim(
        _log_gamma, mp.digamma, near=(0.0, 1.0, 2.0, ROOT), low=-30, high=1e300, forward=(8, 8),
        scale=lambda x: 3 - x if x < 0 else 0, slope_scale=lambda x: 4 + _pole(x) if x < 0 else 0,
        note="where x < 0, ULP of the parts that cancel at a root: 3 + |x|, and 4 + π/|sin πx| for the slope",
    ),
    "digamma": Claim(
        mp.digamma, lambda x: mp.polygamma(1, x), near=(0.0, ROOT), low=-30, high=1e300, slope=(12, 12),
        scale=lambda x: 4 + _pole(x) if x < 0 else 0,
        note="where x < 0, ULP of the parts that cancel at a root: 4 + π/|sin πx|",
    ),
    "polygamma": Claim(
        lambda x: mp.polygamma(1, x), lambda x: mp.polygamma(2, x), low=-30, high=1e300,
        forward=(12, 12), slope=(12, 12), slope_scale=lambda x: 2 * _pole(x) ** 3 if x < 0 else 0,
        note="of the order n = 1; slope, where x < 0: ULP of 2 (π/|sin πx|)³, as parts of this size cancel",
    ),
    "i0": Claim(lambda x: mp.besseli(0, x), _bessel_slope(0), low=-700, high=700, slope=(12, 12)),
    "i1": Claim(lambda x: mp.besseli(1, x), _bessel_slope(1), low=-700, high=700, forward=(12, 12), slope=(12, 12)),
    "i0e": Claim(
        _scaled_bessel(0), _scaled_slope(0), low=-700, high=700, forward=(8, 8), where=lambda x: x != 0,
        slope=(12, 12), slope_scale=_scaled_bessel(0), note=CANCELS,
    ),
    "i1e": Claim(
        _scaled_bessel(1), _scaled_slope(1), low=-700, high=700, forward=(8, 8), where=lambda x: x != 0,
        slope=(12, 12), slope_scale=lambda x: abs(_scaled_bessel(1)(x)), note=CANCELS,
    ),
    "iv": Claim(
        lambda x: mp.besseli(2, x), _bessel_slope(2), low=-700, high=700, call=lambda x: tg.iv(x, n=2), forward=(8, 8),
        slope=(16, 16), note="of the order n = 2",
    ),
    "ive": Claim(
        _scaled_bessel(2), _scaled_slope(2), low=-700, high=700, call=lambda x: tg.ive(x, n=2), forward=(8, 8),
        where=lambda x: x != 0, slope=(12, 12), slope_scale=_scaled_bessel(2), note="of the order n = 2; " + CANCELS,
    ),
    "sinc": Claim(
        _sinc, _sinc_slope, near=(0.0, 1.0, 2.0, -1.0), slope_scale=lambda x: 1 / abs(x) if abs(x) > 0.7 else 0,
        note="slope: ULP of 1/|x| where |x| > 0.7, as it has roots there",
    ),
    "xlogy": Claim(
        lambda x, a: x * mp.log(a), lambda x, a: (mp.log(a), x / a), arity=2, near=(1.0,),
        ranges=((-math.inf, math.inf), (0, math.inf)), where=lambda x, a: a > 0,
    ),
    "xlog1py": Claim(
        lambda x, a: x * mp.log1p(a), lambda x, a: (mp.log1p(a), x / (1 + a)), arity=2,
        ranges=((-math.inf, math.inf), (-1, math.inf)), where=lambda x, a: a > -1,
    ),
    # along an axis of three
    "mean": Claim(
        lambda *x: mp.fsum(x) / 3, lambda *x: (mp.mpf(1) / 3,) * 3, call=_over_axis("mean"), scale=_largest,
        note="ULP of the largest entry; the sum must not overflow", **row,
    ),
    "var": Claim(
        _var, _var_slopes, call=_over_axis("var"), scale=lambda *x: _largest(*x) * mp.sqrt(_var(*x)),
        slope_scale=_largest, arity=3, low=-1e18, high=1e18,
        note="the mean is rounded: ULP of the largest entry times the deviation, slope: of the largest entry; the sum "
        "of squares must not overflow",
    ),
    "std": Claim(
        lambda *x: mp.sqrt(_var(*x)), _std_slopes, call=_over_axis("std"), scale=_largest, slope_scale=_relative_size,
        note="the mean is rounded: ULP of the largest entry; slope: of the largest entry over the deviation",
        where=_normal, **row,
    ),
    "vector_norm": Claim(
        _norm, lambda *x: [v / _norm(*x) for v in x], call=_over_axis("vector_norm"), where=_normal, arity=3,
        note="slope: few digits where the norm is subnormal, none where it overflows",
    ),
    "logsumexp": Claim(
        _logsumexp, _shares, call=_over_axis("logsumexp"), scale=_spread, forward=(8, 8),
        slope=(450, 80),
        note=NEAR_ZERO + ROUNDED_EXPONENT, **row,
    ),
    "softmax": Claim(
        _softmax, _softmax_slopes, call=_first("softmax"), forward=(450, 80), slope=(450, 80), slope_scale=_softmax,
        note=ROUNDED_EXPONENT + "; slope: ULP of y, as 1 − y is computed from y", **row,
    ),
    "log_softmax": Claim(
        _log_share, _log_share_slopes, call=_first("log_softmax"), scale=lambda *x: 1,
        slope_scale=lambda *x: 1, note="ULP of 1 where the probability is near 1", **row,
    ),
    "cross_entropy": Claim(
        lambda *x: -_log_share(*x), lambda *x: [-s for s in _log_share_slopes(*x)], call=_cross_entropy,
        scale=lambda *x: 1, slope_scale=lambda *x: 1, note="ULP of 1 where the probability is near 1", **row,
    ),
    "binary_cross_entropy": Claim(
        lambda x, t: -t * mp.log(x) - (1 - t) * mp.log(1 - x),
        lambda x, t: ((x - t) / (x * (1 - x)), mp.log(1 - x) - mp.log(x)), arity=2, ranges=((0, 1), (0, 1)),
        near=(0.0, 1.0), flushed=True,
        where=lambda x, t: (x > 1e-12) & (x < 1 - 1e-12) & ((t == 0) | (t > 1e-30) & (t <= 1)),
        slope_scale=lambda x, t: max(x, t) / (x * (1 - x)),
        note="slope: ULP of the larger of x and t, over x (1 − x)",
    ),
    "prod": Claim(
        lambda a, b, c: a * b * c, lambda a, b, c: (b * c, a * c, a * b), arity=3, call=_over_axis("prod"), where=_kept,
        note=SUBNORMAL,
    ),
    "cumulative_prod": Claim(
        lambda a, b, c: a * b * c, lambda a, b, c: (b * c, a * c, a * b), arity=3, where=_kept, note=SUBNORMAL,
        call=lambda *x: tg.cumulative_prod(tg.stack(x, axis=-1), axis=-1)[..., -1],
    ),
    "binary_cross_entropy_with_logits": Claim(
        _bce, lambda x, t: (sigma(x) - t, -x), arity=2, ranges=((-1e30, 1e30), (0, 1)), near=(0.0, 1.0), flushed=True,
        scale=lambda x, t: abs(x * t), slope_scale=lambda x, t: max(sigma(x), t),
        where=lambda x, t: (t == 0) | (t > 1e-30) & (t <= 1),
        note="ULP of |x t|, and of the larger of σ(x) and t for the slope",
    ),
}  # fmt: skip


# The page


INTRODUCTION = """# Accuracy

How many digits are right, of every function of numbers and of its slopes (in reverse mode; forward mode runs the same
rules). Each was compared with [mpmath](https://mpmath.org) at some {points} points in each dtype: every magnitude from
the subnormal numbers to the largest, and more of them in the middle, near roots and poles, and where arguments are
nearly equal.

A number is an error in ULP, units in the last place of the true value: half an ULP is the least that rounding allows.
First comes the bound that is promised, which the tests hold; in brackets the worst that was measured where this page
was made (NumPy has other code for other processors, with other roundings). Where the value or the slope is a difference
of larger numbers, an error in ULP of the truth would be without bound near its roots; the note says of what the ULP
are counted then.

No value and no slope overflows, or is NaN, where the truth is a finite number of the dtype, unless the note says so.

The cheap forms stay where a network spends its time: tanh, sigmoid and softmax take their slopes from their results,
which have no digits left for 1 − y² where y is within an ULP of 1. So the slope of a saturated unit is 0 (from |x| = 19
on in float64, from 9 on in float32), not 10⁻¹⁷: look at vanishing gradients in float64.
"""
EXTREMES = """
## At the ends

| where | value | slope |
| --- | --- | --- |
| `sigmoid` at ±10⁴ | 1, and 1.2·10⁻³⁰⁸ (6·10⁻³⁹ in float32) for 0 | 0, and as small |
| `softplus` at 10³⁰ | x | 1 |
| `hypot` at (0, 0) | 0 | 0 for both (PyTorch: NaN) |
| `atan2` at (0, 0) | 0 | 0 for both |
| `logaddexp` where both are ∞, or both −∞ | ±∞ | ½ each (PyTorch: NaN) |
| `xlogy` at (0, a), a ≤ 0 | 0 | 0 for both (PyTorch: NaN for a at a = 0) |
| `xlog1py` at (0, a), a ≤ −1 | 0 | 0 for both (PyTorch: NaN for a at a = −1) |
| `sinc`, `i1`, `i1e` at 0 | 1, 0, 0 | 0, ½, ½ |
| `i0e` at 0, a kink | 1 | 0 |
| `erfinv` at ±1 | ±∞ | ∞, but 0 where the cotangent is 0 |
| `lgamma`, `digamma` at 0; at −1, −2, … | ∞, −∞; ∞, NaN | −∞, ∞; NaN, ∞ |
| `logsumexp` of nothing but −∞ | −∞ | 0 (PyTorch: NaN) |
| `softmax`, `log_softmax` of nothing but −∞; with an ∞ | NaN: there is no answer | NaN |
| `cross_entropy` with logits ±10³⁰, or −∞ for other classes | finite | finite |
| `cross_entropy` with −∞ for the target | ∞ | softmax − onehot |
| `std` of equal entries | 0 | 0 |
| `mean` where the sum overflows (on a GPU it does) | finite | 1/n |
| `prod`, `cumulative_prod`, `linear_recurrence` where a product on the way overflows, or meets a 0 | finite | finite |
"""


def bound(stated: float, measured: float | None) -> str:
    """The bound, and what was measured."""
    return f"{stated:g}" + (
        "" if measured is None else f" ({measured:.2g})" if measured < 100 else f" ({measured:.0f})"
    )


def table(measured: dict[str, list[float]] | None = None) -> str:
    """One row an operation: value and slope, float64 and float32."""
    lines = [
        "| function | value, float64 | float32 | slope, float64 | float32 | of what, and why |",
        "| --- " * 6 + "|",
    ]
    for name, claim in CLAIMS.items():
        errors = measured[name] if measured else [None] * 4
        cells = [bound(s, e) for s, e in zip((*claim.forward, *claim.slope), errors, strict=True)]
        lines.append(f"| `{name}` | {' | '.join(cells)} | {claim.note.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def page(n: int) -> str:
    """The page, measured at about n points."""
    measured = {}
    for name in CLAIMS:
        (value64, slope64), (value32, slope32) = (measure(name, dtype, n, seed=1) for dtype in DTYPES)
        measured[name] = [value64[0], value32[0], slope64[0], slope32[0]]
    return f"{INTRODUCTION.format(points=n)}\n{table(measured)}{EXTREMES}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/accuracy.md instead of printing it")
    parser.add_argument("--points", type=int, default=1000, help="points for each function and dtype")
    given = parser.parse_args()
    text = page(given.points)
    if given.write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
