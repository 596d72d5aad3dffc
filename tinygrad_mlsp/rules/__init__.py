"""The calculus, a chapter a file. A rule knows only `xp`: what it computes with decides what it yields.

Reading order: arithmetic, elementwise, reductions, shape, indexing, linear_algebra, normalization,
recurrent, losses.
"""

from . import arithmetic, elementwise, indexing, linear_algebra, losses, normalization, recurrent, reductions, shape

__all__ = [
    "arithmetic", "elementwise", "indexing", "linear_algebra", "losses", "normalization", "recurrent", "reductions",
    "shape",
]  # fmt: skip
