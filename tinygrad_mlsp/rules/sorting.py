"""Puts entries in order. Which entry goes where is a constant; the slope travels with the entry.

NaN counts as larger than every number, as in NumPy.
"""

from __future__ import annotations

from ..op import constant, general


@general
def sort(xp, x, *, axis=-1, descending=False, stable=True):
    """y = the entries of x in order along the axis     x̄ = ȳ, put back"""
    return xp.sort(x, axis=axis, descending=descending)


@constant
def argsort(xp, x, *, axis=-1, descending=False, stable=True):
    """The indices that sort x along the axis; entries that tie keep their order, `stable` or not"""
    return xp.argsort(x, axis=axis, descending=descending)


argsort.ordered()
sort.adjoints(
    x=lambda xp, g, x, axis, descending: xp.scatter_along_axis(
        g, xp.argsort(x, axis=axis, descending=descending), x.shape, axis
    )
)
sort.tangents(
    x=lambda xp, t, x, axis, descending: xp.take_along_axis(
        t, xp.argsort(x, axis=axis, descending=descending), axis=axis
    )
)
sort.at_kink("entries that tie keep their order, and so do their slopes").ordered()


@constant
def searchsorted(xp, x1, x2, *, side="left"):
    """Where each entry of x2 would go in the sorted vector x1: before what ties with it, or after with side="right" """
    if side not in ("left", "right"):
        raise ValueError(f"side is 'left' or 'right', not {side!r}")
    return xp.searchsorted(x1, x2, side=side)


searchsorted.ordered()
