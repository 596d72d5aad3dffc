"""Mean 0 and variance 1 along some axes: the heart of batch norm and layer norm."""

from __future__ import annotations

from ..op import general
from .reductions import count, max_one


def _mean(xp, x, axis):
    return xp.sum(x, axis=axis, keepdims=True) / max_one(count(x.shape, axis))


@general
def standardize(xp, x, *, axis, eps=1e-5) -> tuple:
    """y = (x − μ)/√(v + ε), and the mean μ and the variance v over the axes

    x̄ = (ȳ − mean ȳ − y · mean(ȳ y))/√(v + ε): the gradient loses its mean and its part along y, since neither a shift
    nor a stretch of x changes y. To this come μ̄/n and v̄ · 2(x − μ)/n.
    """
    mean = _mean(xp, x, axis)
    centred = x - mean
    variance = _mean(xp, centred * centred, axis)
    return centred / xp.sqrt(variance + eps), mean, variance


def _standardize_adjoint(xp, g, y, axis, eps):
    (towards_y, towards_mean, towards_variance), (y, _, variance) = g, y
    scale, n = xp.sqrt(variance + eps), max_one(count(y.shape, axis))
    total = 0
    if towards_y is not None:
        total = (towards_y - _mean(xp, towards_y, axis) - y * _mean(xp, towards_y * y, axis)) / scale
    if towards_variance is not None:
        total = total + y * (scale * towards_variance * (2 / n))
    if towards_mean is not None:
        total = total + xp.broadcast_to(towards_mean / n, y.shape)
    return total


def _standardize_tangent(xp, t, y, axis, eps):
    y, _, variance = y
    scale, mean, along = xp.sqrt(variance + eps), _mean(xp, t, axis), _mean(xp, y * t, axis)
    return (t - mean - y * along) / scale, mean, scale * along * 2


standardize.adjoints(x=_standardize_adjoint).tangents(x=_standardize_tangent)
