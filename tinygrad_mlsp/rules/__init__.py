"""The calculus, a chapter a file. A rule knows only `xp`: what it computes with decides what it yields.

Reading order: arithmetic, elementwise, special, reductions, scans, shape, indexing, sorting, linear_algebra,
decompositions, fourier, convolution, normalization, recurrent, losses.
"""

from . import (
    arithmetic,
    convolution,
    decompositions,
    elementwise,
    fourier,
    indexing,
    linear_algebra,
    losses,
    normalization,
    recurrent,
    reductions,
    scans,
    shape,
    sorting,
    special,
)  # fmt: skip

__all__ = [
    "arithmetic", "convolution", "decompositions", "elementwise", "fourier", "indexing", "linear_algebra", "losses",
    "normalization", "recurrent", "reductions", "scans", "shape", "sorting", "special",
]  # fmt: skip
