"""Picks entries, and puts them back. Picking is linear; its adjoint adds up what was picked twice."""

from __future__ import annotations

from ..op import linear
from .shape import axis_of


@linear
def getitem(xp, x, *, index):
    """y = x[index]     x̄ = zeros with ȳ added at the index"""
    return xp.getitem(x, index)


getitem.adjoints(x=lambda xp, g, x_shape, index: xp.scatter_at(g, index, x_shape))


@linear
def scatter_at(xp, g, *, index, shape):
    """y = zeros of `shape` with g added at the index: the adjoint of getitem"""
    return xp.scatter_at(g, index, shape)


scatter_at.adjoints(g=lambda xp, g, index, g_shape: _as_written(xp, xp.getitem(g, index), g_shape))


@linear
def take(xp, x, indices, *, axis):
    """y = the entries of x at `indices` along an axis"""
    return xp.take(x, indices, axis=axis)


take.adjoints(
    x=lambda xp, g, indices, x_shape, axis: xp.scatter_at(
        g, (slice(None),) * (axis % len(x_shape)) + (indices,), x_shape
    )
)


@linear
def take_along_axis(xp, x, indices, *, axis=-1):
    """yᵢ = x at indicesᵢ along the axis, row by row"""
    return xp.take_along_axis(x, indices, axis=axis_of(axis, x.shape))


take_along_axis.adjoints(x=lambda xp, g, indices, x_shape, axis: xp.scatter_along_axis(g, indices, x_shape, axis))


@linear
def scatter_along_axis(xp, g, indices, *, shape, axis):
    """y = zeros of `shape` with gᵢ added at indicesᵢ along the axis: the adjoint of take_along_axis"""
    return xp.scatter_along_axis(g, indices, shape, axis_of(axis, shape))


scatter_along_axis.adjoints(g=lambda xp, g, indices, axis: xp.take_along_axis(g, indices, axis=axis))


@linear
def where(xp, condition, a, b):
    """y = a where the condition holds, else b"""
    return xp.where(condition, a, b)


where.adjoints(
    a=lambda xp, g, condition: xp.where(condition, g, 0),
    b=lambda xp, g, condition: xp.where(condition, 0, g),
)


def _as_written(xp, part, shape):
    """What was read, with the axes of length one that the written value had before its others."""
    extra = len(shape) - len(part.shape)
    return xp.reshape(part, (1,) * extra + part.shape) if extra > 0 else part


@linear
def set_at(xp, x, value, *, index):
    """y = x, but y[index] = value     x̄ = ȳ with zeros at the index     value̅ = ȳ[index]

    Of several values for one place the last counts, in the order of x[index], and it alone has a gradient.
    """
    return xp.set_at(x, value, index)


set_at.adjoints(
    x=lambda xp, g, index: xp.set_at(g, 0, index),
    value=lambda xp, g, index, value_shape: _as_written(
        xp, xp.last_written(xp.getitem(g, index), index, g.shape), value_shape
    ),
)


@linear
def last_written(xp, u, *, index, shape):
    """y = u, with zeros where a later entry goes to the same place of `shape` by the index"""
    return xp.last_written(u, index, shape)


last_written.adjoints(u=lambda xp, g, index, shape: xp.last_written(g, index, shape))
