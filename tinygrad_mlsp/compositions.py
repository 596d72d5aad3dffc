"""Order statistics, differences, gather and scatter: functions of the namespace that need no rule of their own.

Nothing is changed in place here: what "writes" returns a new tensor, through which gradients flow to the old values
that remain and to the new ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .backend import space_of
from .errors import DTypeError, IndexingError, OptionError, ShapeError
from .record import named
from .rules.shape import axis_of, whole
from .tensor import Tensor, library, raw_index, record_of, values_for, wrap


def _tensor(x: Any, like: Tensor | None = None) -> Tensor:
    if isinstance(x, Tensor) or like is None:
        return x if isinstance(x, Tensor) else Tensor(x)
    number = isinstance(x, (int, float, complex)) and like.dtype.kind in "fc"  # which does not widen what it meets
    there = isinstance(x, (int, float, complex, list, tuple))
    return Tensor(x, dtype=like.dtype if number else None, device=like.device if there else None)


def _at(axis: int, part: Any) -> tuple[Any, ...]:
    return (*[slice(None)] * axis, part)


def _device_integers(x: Tensor, values: Any) -> Any:
    """Whole numbers of the host, beside x. Shapes know indices of the host."""
    return np.asarray(values) if x.device == "shapes" else Tensor(np.asarray(values, np.int64), device=x.device)._array


# Differences and order


@named
def diff(x: Any, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Tensor:
    """yₖ = xₖ₊₁ − xₖ along the axis, n times over; `prepend` and `append` are joined to x before."""
    x = _tensor(x)
    axis, n = axis_of(axis, x.shape), whole("n", n)
    if n < 0:
        raise OptionError(f"diff: n is how many times to take differences, not {n}")
    pieces = [_tensor(p, x) for p in (prepend, x, append) if p is not None]
    edge = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    pieces = [p if p.ndim else record_of("broadcast_to")(p, edge) for p in pieces]
    x = record_of("concat")(pieces, axis) if len(pieces) > 1 else x
    for _ in range(n):
        later, earlier = x[_at(axis, slice(1, None))], x[_at(axis, slice(0, -1))]
        x = later != earlier if x.dtype.kind == "b" else later - earlier
    return x


@named
def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) entries along an axis, in order, and their indices; of ties the earlier ones."""
    x = _tensor(x)
    axis, k = axis_of(axis, x.shape), whole("k", k)
    if not 0 <= k <= x.shape[axis]:
        raise ShapeError(f"topk: {k} entries of axis {axis}, which has {x.shape[axis]} in shape {x.shape}")
    indices = record_of("argsort")(x, axis=axis, descending=largest)[_at(axis, slice(0, k))]
    return record_of("take_along_axis")(x, indices, axis), indices


@named
def median(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """y = the middle entry along the axes; of an even number of entries the mean of the two in the middle.

    Of entries that tie, those have the slope that a stable sort puts there. NaN if an entry is NaN.
    """
    return _quantile("median", x, 0.5, axis, keepdims, "linear")


@named
def quantile(x: Any, q: Any, axis: Any = None, keepdims: bool = False, method: str = "linear") -> Tensor:
    """y = the value below which a fraction q of the entries lies, between the two entries that are next to it.

    `method` is "linear" (in proportion), "midpoint", "lower", "higher" or "nearest"; q is a number, or an array whose
    axes come first in y, and has no gradient. Of entries that tie, those have the slope that a stable sort puts there.
    NaN if an entry is NaN.
    """
    return _quantile("quantile", x, q, axis, keepdims, method)


def _quantile(name: str, x: Any, q: Any, axis: Any, keepdims: bool, method: str) -> Tensor:
    x = _tensor(x)
    if x.dtype.kind in "iub":
        x = x.astype("float32")
    try:
        q = np.asarray(q.numpy() if isinstance(q, Tensor) else q, np.float64)
    except (TypeError, ValueError) as problem:
        raise OptionError(f"{name}: q is a fraction from 0 to 1, or several, not {q!r}") from problem
    if not ((q >= 0) & (q <= 1)).all():
        raise OptionError(f"{name}: q is a fraction from 0 to 1, not {q}")
    given = range(x.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = sorted({axis_of(a, x.shape) for a in given})
    kept = [a for a in range(x.ndim) if a not in axes]
    n = math.prod(x.shape[a] for a in axes)
    if n == 0:
        raise ShapeError(f"{name}: there are no entries along axis {axis} of shape {x.shape}")
    low, high, weight = _between(name, q * (n - 1), method)
    rows = record_of("permute_dims")(x, (*kept, *axes)) if axes != list(range(x.ndim))[len(kept) :] else x
    rows = record_of("sort")(record_of("reshape")(rows, (*[x.shape[a] for a in kept], n)))
    if q.ndim:
        weights = Tensor(weight, dtype=x.dtype, device=x.device)
        y = rows[..., _device_integers(x, low)] * (1 - weights) + rows[..., _device_integers(x, high)] * weights
    else:
        y, w = rows[..., int(low)], float(weight)
        if w:
            y = y * (1 - w) + rows[..., int(high)] * w
    last = rows[(..., -1, *[None] * q.ndim)]  # NaN is the largest
    y = record_of("where")(record_of("isnan")(last), last, y)
    y = record_of("permute_dims")(y, (*range(len(kept), y.ndim), *range(len(kept)))) if q.ndim and kept else y
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    return record_of("reshape")(y, (*q.shape, *shape)) if keepdims else y


def _between(name: str, place: Any, method: str) -> tuple[Any, Any, Any]:
    """The two entries around a place in the order, and the weight of the second."""
    low, high = np.floor(place), np.ceil(place)
    if method == "lower":
        high = low
    elif method == "higher":
        low = high
    elif method == "nearest":
        low = high = np.round(place)
    elif method not in ("linear", "midpoint"):
        raise OptionError(f"{name}: method is 'linear', 'midpoint', 'lower', 'higher' or 'nearest', not {method!r}")
    # Where they are one entry, it is halved and added to itself: at an infinity, 0·∞ would be NaN.
    weight = np.where(low == high, 0.5 if np.ndim(place) else 0.0, 0.5 if method == "midpoint" else place - low)
    return low.astype(int), high.astype(int), weight


@named
def searchsorted(x1: Any, x2: Any, *, side: str = "left", sorter: Any = None) -> Tensor:
    """Where each entry of x2 would go in the sorted vector x1; `sorter` is the indices that sort x1, if it is not."""
    if sorter is not None:
        x1 = record_of("take")(x1, sorter, 0)
    return record_of("searchsorted")(x1, x2, side=side)


# Gather and scatter


@named
def gather(x: Any, indices: Any, axis: int) -> Tensor:
    """yᵢ = x at indicesᵢ along the axis, row by row: `take_along_axis` by PyTorch's name."""
    x = _tensor(x)
    return record_of("take_along_axis")(x, indices, axis_of(axis, x.shape))


@named
def scatter(x: Any, indices: Any, values: Any, axis: int) -> Tensor:
    """y = x, but `values` at the indices along the axis: `put_along_axis` by PyTorch's name."""
    return put_along_axis(x, indices, values, axis)


@named
def put_along_axis(x: Any, indices: Any, values: Any, axis: int) -> Tensor:
    """y = x, but `values` at the indices along the axis, row by row: a new tensor.

    Of several values for one place the last counts.
    """
    x = _tensor(x)
    axis = axis_of(axis, x.shape)
    indices = _tensor(indices, x)
    if indices.ndim != x.ndim:
        raise ShapeError(f"put_along_axis: indices of shape {indices.shape} need as many axes as x, {x.shape}")
    return library.set_at(x, values, space_of(x._array).along_axis(indices._array, x.shape, axis))


@named
def set_at(x: Any, value: Any, *, index: Any) -> Tensor:
    """y = x, but y[index] = value: an assignment that makes a new tensor, of x's dtype.

    Of several values for one place the last counts, in the order of x[index], and it alone has a gradient.
    """
    return library.set_at(_tensor(x), value, index)


@named
def add_at(x: Any, value: Any, *, index: Any) -> Tensor:
    """y = x, but `value` added at the index: a new tensor, of x's dtype. What goes to one place adds up."""
    x, index = _tensor(x), raw_index(index)
    value = values_for(x, value, "add_at")
    value = record_of("reshape")(value, ()) if value.size == 1 else value
    if (space := space_of(x._array)).name == "cuda":
        try:
            space.check_bounds(x.shape, index)
        except IndexError as problem:
            raise IndexingError(f"add_at: {problem}") from problem
    return x + record_of("scatter_at")(value, index, x.shape)


@named
def index_add(x: Any, indices: Any, source: Any, axis: int) -> Tensor:
    """y = x, but the slices of `source` along the axis added to those of x at `indices`."""
    x = _tensor(x)
    axis = axis_of(axis, x.shape)
    source, indices = _tensor(source, x), _tensor(indices, x)
    if indices.ndim != 1 or source.shape != (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]):
        raise ShapeError(
            f"index_add: source of shape {source.shape} does not have one slice along axis {axis} of shape {x.shape} "
            f"for each of the indices, of shape {indices.shape}"
        )
    return add_at(x, source, index=_at(axis, indices))


@named
def masked_fill(x: Any, mask: Any, value: Any) -> Tensor:
    """y = x, but `value` where the mask holds; the mask broadcasts to x."""
    x = _tensor(x)
    return record_of("where")(_mask("masked_fill", x, mask), value, x)


@named
def masked_select(x: Any, mask: Any) -> Tensor:
    """y = the entries of x where the mask holds, in one row; the mask broadcasts to x."""
    x = _tensor(x)
    return x[record_of("broadcast_to")(_mask("masked_select", x, mask), x.shape)]


def _mask(name: str, x: Tensor, mask: Any) -> Tensor:
    mask = _tensor(mask, x)
    if mask.dtype.kind != "b":
        raise DTypeError(f"{name}: a mask is of truths, not {mask.dtype}")
    lead = x.ndim - mask.ndim
    if lead < 0 or any(m not in (1, n) for m, n in zip(mask.shape, x.shape[lead:], strict=True)):
        raise ShapeError(f"{name}: a mask of shape {mask.shape} does not broadcast to x, of shape {x.shape}")
    return mask


@named
def repeat(x: Any, repeats: Any, *, axis: int | None = None) -> Tensor:
    """y = every entry (or slice along an axis) `repeats` times, a number, or one for each; without an axis of x
    flattened."""
    if isinstance(repeats, (int, np.integer)):
        return record_of("repeat")(x, int(repeats), axis)
    x = _tensor(x)
    x, axis = (record_of("reshape")(x, -1), 0) if axis is None else (x, axis_of(axis, x.shape))
    times = np.asarray(repeats.numpy() if isinstance(repeats, Tensor) else repeats)
    if times.dtype.kind not in "iu" or times.ndim > 1 or times.size not in (1, x.shape[axis]) or (times < 0).any():
        raise OptionError(
            f"repeat: {x.shape[axis]} entries are repeated one or as many numbers of times, not {repeats}"
        )
    if times.size == 1:
        return record_of("repeat")(x, int(times.reshape(())), axis)
    return record_of("take")(x, wrap(_device_integers(x, np.repeat(np.arange(times.size), times)), None), axis)
