"""Moves entries about without changing them; every operation here is linear, and its adjoint moves them back."""

from __future__ import annotations

from math import prod as _product
from typing import Any

from ..op import constant, general, linear


def axis_of(axis: Any, shape: tuple[int, ...]) -> int:
    """One axis of a shape, from 0 on."""
    ndim = len(shape)
    known = hasattr(axis, "__index__") and not isinstance(axis, bool) and not getattr(axis, "shape", ())
    if not known or not -ndim <= axis < ndim:
        shown = f"of shape {axis.shape}" if hasattr(axis, "shape") else repr(axis)
        raise ValueError(f"axis {shown} is not one of a tensor of shape {shape}, which has {ndim}")
    return axis.__index__() % ndim


def whole(name: str, value: Any) -> int:
    """An option that is a whole number."""
    if not hasattr(value, "__index__") or isinstance(value, bool) or getattr(value, "shape", ()):
        shown = f"an array of shape {value.shape}" if hasattr(value, "shape") else repr(value)
        raise ValueError(f"{name} is a whole number, not {shown}")
    return value.__index__()


@linear
def reshape(xp, x, *, shape):
    """y = the same entries in another shape"""
    return xp.reshape(x, shape)


reshape.adjoints(x=lambda xp, g, x_shape: xp.reshape(g, x_shape))
reshape.on_failure(lambda shape: f"a tensor of shape {shape} does not have that many entries")


@linear
def permute_dims(xp, x, *, axes):
    """y = the axes in another order"""
    return xp.permute_dims(x, axes)


permute_dims.adjoints(
    x=lambda xp, g, axes: xp.permute_dims(g, tuple(sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))))
)


@linear
def matrix_transpose(xp, x):
    """y = xᵀ, of the last two axes"""
    return xp.matrix_transpose(x)


matrix_transpose.adjoints(x=lambda xp, g: xp.matrix_transpose(g))


@linear
def broadcast_to(xp, x, *, shape):
    """y = x copied along new or unit axes"""
    return xp.broadcast_to(x, shape)


broadcast_to.adjoints(x=lambda g: g)  # the sweep undoes every broadcast, this one too


@linear
def expand_dims(xp, x, *, axis=0):
    """y = x with new axes of length one"""
    return xp.expand_dims(x, axis)


expand_dims.adjoints(x=lambda xp, g, x_shape: xp.reshape(g, x_shape))


@linear
def squeeze(xp, x, *, axis=None):
    """y = x without axes of length one"""
    return xp.squeeze(x, axis)


squeeze.adjoints(x=lambda xp, g, x_shape: xp.reshape(g, x_shape))


@linear
def flip(xp, x, *, axis=None):
    """y = x read backwards along the axes"""
    return xp.flip(x, axis)


flip.adjoints(x=lambda xp, g, axis: xp.flip(g, axis))


@linear
def concat(xp, arrays: list, *, axis=0):
    """y = the arrays end to end along an axis (None: all of them flattened)"""
    return xp.concat(arrays, axis=axis)


def _cut(xp, g, arrays_shape, axis, needed):
    parts, start = [], 0
    for shape, wanted in zip(arrays_shape, needed, strict=True):
        if axis is None:
            n = 1
            for length in shape:
                n *= length
            piece = xp.reshape(xp.getitem(g, slice(start, start + n)), shape) if wanted else None
        else:
            n = shape[axis]
            piece = xp.getitem(g, (slice(None),) * (axis % len(shape)) + (slice(start, start + n),)) if wanted else None
        parts.append(piece)
        start += n
    return parts


concat.adjoints(arrays=_cut)


def _odd_ones(*shapes):
    """Which of the arrays are unlike the first."""
    odd = [f"arrays[{i}] {list(s)}" for i, s in enumerate(shapes) if s != shapes[0]]
    return f"{', '.join(odd)} against arrays[0] {list(shapes[0])}" if odd else ""


# Where several dimensions differ, one of them may be the axis joined, and the array library knows which is not.
concat.on_failure(
    lambda *shapes: (
        _odd_ones(*shapes)
        if len({*map(len, shapes)}) > 1 or sum(len({*lengths}) > 1 for lengths in zip(*shapes, strict=True)) == 1
        else ""
    )
)


@linear
def stack(xp, arrays: list, *, axis=0):
    """y = the arrays side by side along a new axis"""
    return xp.stack(arrays, axis=axis)


stack.adjoints(
    arrays=lambda xp, g, axis, needed: [
        xp.getitem(g, (slice(None),) * (axis % len(g.shape)) + (i,)) if wanted else None
        for i, wanted in enumerate(needed)
    ]
)


stack.on_failure(lambda *shapes: (odd := _odd_ones(*shapes)) and f"they must have the same shape: {odd}")


@linear
def split(xp, x, *, sections, axis=0) -> tuple:
    """y₁, y₂, … = x cut along an axis, into equal `sections` or at the places listed"""
    return xp.split(x, sections, axis)


def _join(xp, g, x_shape, sections, axis):
    n = x_shape[axis]
    cuts = [i * (n // sections) for i in range(1, sections)] if isinstance(sections, int) else list(sections)
    zero = next(xp.zeros_like(xp.sum(part)) for part in g if part is not None)
    pieces = []
    for part, start, stop in zip(g, [0, *cuts], [*cuts, n], strict=True):
        length = len(range(*slice(start, stop).indices(n)))
        shape = tuple(length if a == axis % len(x_shape) else m for a, m in enumerate(x_shape))
        pieces.append(xp.broadcast_to(zero, shape) if part is None else part)
    return xp.concat(pieces, axis=axis)


split.adjoints(x=_join)
split.on_failure(lambda shape: f"a tensor of shape {shape} does not divide into those sections")


@linear
def unstack(xp, x, *, axis=0) -> tuple:
    """y₁, y₂, … = the slices of x along an axis: undoes `stack`"""
    place = (slice(None),) * (axis % len(x.shape))
    return [xp.getitem(x, (*place, i)) for i in range(x.shape[axis])]


def _stacked(xp, g, axis):
    zero = next(xp.zeros_like(part) for part in g if part is not None)
    return xp.stack([zero if part is None else part for part in g], axis=axis)


unstack.adjoints(x=_stacked)


@general
def pad(xp, x, *, pad_width, constant_values=0):
    """y = x with a border of a constant; `pad_width` is a number, (before, after), or a pair an axis"""
    return xp.pad(x, pad_width, constant_values=constant_values)


def _widths(pad_width, ndim):
    if isinstance(pad_width, int):
        return [(pad_width, pad_width)] * ndim
    if len(pad_width) == 2 and isinstance(pad_width[0], int):
        return [tuple(pad_width)] * ndim
    return list(pad_width) * (ndim if len(pad_width) == 1 else 1)


def _unpad(xp, g, x_shape, pad_width):
    widths = _widths(pad_width, len(x_shape))
    return xp.getitem(g, tuple(slice(w[0], w[0] + n) for w, n in zip(widths, x_shape, strict=True)))


pad.adjoints(x=_unpad).tangents(x=lambda xp, t, pad_width: xp.pad(t, pad_width))


@constant
def zeros_like(xp, x):
    """y = 0, of the shape, dtype and device of x"""
    return xp.zeros_like(x)


@constant
def ones_like(xp, x):
    """y = 1, of the shape, dtype and device of x"""
    return xp.ones_like(x)


@constant
def eye_like(xp, x, *, n):
    """y = the identity matrix [n, n], of the dtype and device of x"""
    return xp.eye_like(x, n)


@linear
def roll(xp, x, *, shift, axis=None):
    """y = x moved along the axes by `shift` places, what leaves at one end entering at the other"""
    for places in shift if isinstance(shift, (tuple, list)) else (shift,):
        whole("shift", places)
    return xp.roll(x, shift, axis=axis)


roll.adjoints(
    x=lambda xp, g, shift, axis: xp.roll(
        g, tuple(-s for s in shift) if isinstance(shift, (tuple, list)) else -shift, axis=axis
    )
)


@linear
def repeat(xp, x, *, repeats, axis=None):
    """y = every entry `repeats` times, along an axis (None: of x flattened)     x̄ = the sum over the copies"""
    return xp.repeat(x, repeats, axis=axis)


def _sum_copies(xp, g, x_shape, repeats, axis):
    at = 0 if axis is None else axis % len(x_shape)
    shape = (_product(x_shape),) if axis is None else x_shape
    copies = xp.reshape(g, (*shape[: at + 1], repeats, *shape[at + 1 :]))
    return xp.reshape(xp.sum(copies, axis=at + 1), x_shape)


repeat.adjoints(x=_sum_copies)


@linear
def tile(xp, x, *, repetitions):
    """y = x laid out `repetitions` times along its last axes     x̄ = the sum over the copies"""
    return xp.tile(x, repetitions)


def _sum_tiles(xp, g, x_shape, repetitions):
    times = repetitions if isinstance(repetitions, (tuple, list)) else (repetitions,)
    ndim = max(len(times), len(x_shape))
    times, lengths = (1,) * (ndim - len(times)) + tuple(times), (1,) * (ndim - len(x_shape)) + tuple(x_shape)
    tiles = xp.reshape(g, tuple(n for pair in zip(times, lengths, strict=True) for n in pair))
    return xp.reshape(xp.sum(tiles, axis=tuple(range(0, 2 * ndim, 2))), x_shape)


tile.adjoints(x=_sum_tiles)


@linear
def unfold(xp, x, *, axis, size, step=1):
    """yₖ = x[k step : k step + size]: windows along an axis, their entries along a new last one

    On NumPy and CuPy a view of x that cannot be written to.
    """
    axis = axis_of(axis, x.shape)
    size, step, n = whole("size", size), whole("step", step), x.shape[axis]
    if not 1 <= size <= n or step < 1:
        raise ValueError(f"windows of {size} entries, {step} apart, do not lie in axis {axis} of length {n}")
    return xp.unfold(x, axis, size, step)


unfold.adjoints(x=lambda xp, g, x_shape, axis, step: xp.overlap_add(g, x_shape, axis % len(x_shape), step))


@linear
def overlap_add(xp, windows, *, shape, axis, step=1):
    """y = zeros of `shape` with the windows added where `unfold` finds them: its adjoint"""
    axis = axis_of(axis, shape)
    count, size, n = windows.shape[axis], windows.shape[-1], shape[axis]
    if count < 1 or (count - 1) * step + size > n or step < 1:
        raise ValueError(f"{count} windows of {size} entries, {step} apart, do not lie in axis {axis} of length {n}")
    return xp.overlap_add(windows, shape, axis, step)


def _windows(xp, g, windows_shape, axis, step):
    axis %= len(g.shape)
    found = xp.unfold(g, axis, windows_shape[-1], step)
    return xp.getitem(found, (slice(None),) * axis + (slice(0, windows_shape[axis]),))


overlap_add.adjoints(windows=_windows)
