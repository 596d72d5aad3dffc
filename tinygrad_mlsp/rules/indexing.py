"""Picks entries, and puts them back. Picking is linear; its adjoint adds up what was picked twice."""

from __future__ import annotations

from ..op import linear


@linear
def getitem(xp, x, *, index):
    """y = x[index]     x̄ = zeros with ȳ added at the index"""
    return xp.getitem(x, index)


getitem.adjoints(x=lambda xp, g, x_shape, index: xp.scatter(g, index, x_shape))


@linear
def scatter(xp, g, *, index, shape):
    """y = zeros of `shape` with g added at the index: the adjoint of getitem"""
    return xp.scatter(g, index, shape)


scatter.adjoints(g=lambda xp, g, index: xp.getitem(g, index))


@linear
def take(xp, x, indices, *, axis):
    """y = the entries of x at `indices` along an axis"""
    return xp.take(x, indices, axis=axis)


take.adjoints(
    x=lambda xp, g, indices, x_shape, axis: xp.scatter(g, (slice(None),) * (axis % len(x_shape)) + (indices,), x_shape)
)


@linear
def take_along_axis(xp, x, indices, *, axis=-1):
    """yᵢ = x at indicesᵢ along the axis, row by row"""
    return xp.take_along_axis(x, indices, axis=axis)


take_along_axis.adjoints(x=lambda xp, g, indices, x_shape, axis: xp.scatter_along_axis(g, indices, x_shape, axis))


@linear
def scatter_along_axis(xp, g, indices, *, shape, axis):
    """y = zeros of `shape` with gᵢ added at indicesᵢ along the axis: the adjoint of take_along_axis"""
    return xp.scatter_along_axis(g, indices, shape, axis)


scatter_along_axis.adjoints(g=lambda xp, g, indices, axis: xp.take_along_axis(g, indices, axis=axis))


@linear
def where(xp, condition, a, b):
    """y = a where the condition holds, else b"""
    return xp.where(condition, a, b)


where.adjoints(
    a=lambda xp, g, condition: xp.where(condition, g, 0),
    b=lambda xp, g, condition: xp.where(condition, 0, g),
)
