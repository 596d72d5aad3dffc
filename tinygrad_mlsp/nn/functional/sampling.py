"""Pictures and volumes read at places between their entries, and channels in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backend import space_of
from ...errors import DTypeError, OptionError, ShapeError
from ...tensor import Tensor, record_of, wrap
from .convolution import beside, numbers

_where, _reshape, _moved, _matmul, _abs = map(record_of, ("where", "reshape", "permute_dims", "matmul", "abs"))
_matrix_transpose = record_of("matrix_transpose")


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """g[b, y, x] = θ[b] (x, y, 1): where an affine map takes the places of a picture of this size, for `grid_sample`

    Places go from −1 to 1: the middles of the corner entries with align_corners, else their outer edges.

    Shapes: θ [batch, 2, 3] and size (batch, channels, height, width), g [batch, height, width, 2]; or
    [batch, 3, 4] and (batch, channels, depth, height, width), [batch, depth, height, width, 3].
    Source: Jaderberg et al., "Spatial transformer networks", 2015.
    """
    sizes = tuple(size)
    n = len(sizes) - 2
    if not isinstance(theta, Tensor) or theta.dtype.kind != "f":
        kind = theta.dtype if isinstance(theta, Tensor) else type(theta).__name__
        raise DTypeError(f"affine_grid: theta is a Tensor of real numbers, not {kind}")
    if n not in (2, 3) or theta.shape != (sizes[0], n, n + 1):
        raise ShapeError(
            "affine_grid: wants theta [batch, 2, 3] with size (batch, channels, height, width), or [batch, 3, 4] with "
            f"(batch, channels, depth, height, width); got {list(theta.shape)} and {sizes}"
        )
    space = numbers("affine_grid: size", sizes[2:], n)
    lines = [np.linspace(-1, 1, m) * (1 if align_corners else (m - 1) / m) if m > 1 else np.zeros(1) for m in space]
    places = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(space)], axis=-1)
    base = wrap(beside(places.reshape(-1, n + 1), theta), None)
    return _reshape(_matmul(base, _matrix_transpose(theta)), (sizes[0], *space, n))


def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False
) -> Tensor:
    """y[b, c, p] = x[b, c] at the place grid[b, p], given as (x, y) or (x, y, z) from −1 to 1, between the entries

    mode: 'bilinear' (of volumes trilinear), 'nearest', or for pictures 'bicubic'. Outside there are zeros, or with
    padding_mode 'border' the edge entries, 'reflection' the mirror image. −1 and 1 are the middles of the corner
    entries with align_corners, else their outer edges.

    Shapes: x [batch, channels, height, width], grid [batch, …, …, 2], y [batch, channels, …, …]; volumes likewise.
    Source: Jaderberg et al., "Spatial transformer networks", 2015.
    """
    n = input.ndim - 2
    if mode not in ("bilinear", "nearest", "bicubic") or (mode == "bicubic" and n == 3):
        raise OptionError(f"grid_sample: mode is 'bilinear', 'nearest' or, for pictures, 'bicubic', not {mode!r}")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise OptionError(f"grid_sample: padding_mode is 'zeros', 'border' or 'reflection', not {padding_mode!r}")
    if n not in (2, 3) or grid.ndim != n + 2 or grid.shape[-1] != n or grid.shape[0] != input.shape[0]:
        raise ShapeError(
            "grid_sample: wants an input [batch, channels, height, width] and a grid [batch, …, …, 2], or volumes and "
            f"a grid [batch, …, …, …, 3]; got {list(input.shape)} and {list(grid.shape)}"
        )
    if grid.dtype != input.dtype:
        raise DTypeError(f"grid_sample: input and grid have one dtype, not {input.dtype} and {grid.dtype}")
    space = input.shape[2:]
    if 0 in space:
        raise ShapeError(f"grid_sample: an axis of space has no entries in shape {list(input.shape)}")
    xp = space_of(input._array)
    batch = xp.arange(input.shape[0]).reshape((-1, *(1,) * n))
    channels_last = _moved(input, (0, *range(2, n + 2), 1))
    at = []  # along each axis of space, where the places are, in entries
    for i, m in enumerate(space):
        place = grid[..., n - 1 - i]
        at.append((place + 1) * ((m - 1) / 2) if align_corners else ((place + 1) * m - 1) * 0.5)
    if mode != "bicubic":
        at = [_inside(a, m, padding_mode, align_corners) for a, m in zip(at, space, strict=True)]
    total: Tensor | None = None
    for corner in np.ndindex(*({"nearest": 1, "bilinear": 2, "bicubic": 4}[mode],) * n):
        share: Tensor | None = None
        index: list[Any] = [batch]
        seen: Any = True
        for k, a, m in zip(corner, at, space, strict=True):
            if mode == "nearest":
                entry = xp.round(a._array)
            else:
                first = xp.floor(a._array)
                part = a - wrap(first, None)
                entry = first + (k - 1 if mode == "bicubic" else k)
                factor = _cubic(part, k) if mode == "bicubic" else part if k else 1 - part
                share = factor if share is None else share * factor
                if mode == "bicubic":
                    entry = _inside(wrap(entry, None), m, padding_mode, align_corners)._array
            there = (entry >= 0) & (entry <= m - 1)  # not so for NaN
            seen = there & seen
            index.append(xp.where(there, entry, 0).astype(np.int64))
        found = _where(wrap(seen[..., None], None), channels_last[tuple(index)], 0.0)
        if share is not None:
            found = found * _reshape(share, (*share.shape, 1))
        elif grid.requires_grad:  # the nearest entry steps: the slope in the places is 0
            always = wrap(xp.ones((1,) * found.ndim, dtype=bool), None)
            found = _where(always, found, _reshape(at[0], (*at[0].shape, 1)))
        total = found if total is None else total + found
    assert total is not None
    return _moved(total, (0, n + 1, *range(1, n + 1)))


def _cubic(t: Tensor, k: int, a: float = -0.75) -> Tensor:
    """The share of the k-th of the four entries around a place, by Keys' cubic."""
    d = (t + 1, t, 1 - t, 2 - t)[k]
    if k in (1, 2):
        return ((a + 2) * d - (a + 3)) * d * d + 1
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a


def _inside(at: Tensor, m: int, padding_mode: str, align_corners: bool) -> Tensor:
    """Places beyond the ends taken to the ends, or mirrored; the slope is 0 from the ends on."""
    if padding_mode == "zeros":
        return at
    xp = space_of(at._array)
    if padding_mode == "reflection":
        low, span = (0.0, float(m - 1)) if align_corners else (-0.5, float(m))
        if span == 0:
            return at * 0.0
        from_low = _abs(at - low)
        turns = xp.floor(from_low._array / span)
        beyond = from_low - wrap(turns * span, None)
        at = _where(wrap(turns % 2 == 0, None), beyond + low, (span + low) - beyond)
    array = at._array
    within = wrap((array > 0) & (array < m - 1), None)
    return _where(within, at, wrap(xp.clip(array, 0, m - 1), None))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of `groups` groups, one of each in turn: so that grouped convolutions hear of each other

    Shapes: x and y [batch, channels, …].
    Source: Zhang et al., "ShuffleNet", 2018.
    """
    (g,) = numbers("channel_shuffle: groups", groups, 1)
    if input.ndim < 3 or input.shape[1] % g:
        raise ShapeError(
            f"channel_shuffle: wants [batch, channels, …space] with channels (axis 1) in {g} equal groups, got "
            f"{list(input.shape)}"
        )
    batch, channels, *space = input.shape
    x = _reshape(input, (batch, g, channels // g, *space))
    return _reshape(_moved(x, (0, 2, 1, *range(3, x.ndim))), input.shape)
