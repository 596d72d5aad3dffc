"""Convolution, its transpose, without weight sharing; windows, borders, and other sizes for images.

Images are [batch, channels, …space], and one without a batch, [channels, …space], is taken too. A number for stride,
padding and the like counts for every axis of space.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import DTypeError, OptionError, ShapeError
from ...tensor import Tensor, record_of, wrap

_convolution, _transposed = record_of("convolution"), record_of("convolution_input")
_pad, _take, _matmul, _moved = record_of("pad"), record_of("take"), record_of("matmul"), record_of("permute_dims")
_reshape, _unfold, _overlap = record_of("reshape"), record_of("unfold"), record_of("overlap_add")
_repeated = record_of("sum_pool_spread")

Ints = int | Sequence[int]
LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}  # by the number of axes that an image has


def numbers(name: str, value: Any, n: int, least: int = 1) -> tuple[int, ...]:
    """n whole numbers of `least` or more, of one or of n."""
    if type(value) is int and value >= least:
        return (value,) * n
    try:
        values = tuple(map(operator.index, value)) if isinstance(value, Sequence) else (operator.index(value),) * n
    except TypeError:
        values = ()
    if len(values) != n or min(values, default=least) < least:
        each = f"or {n} of them, one a dimension of space, " if n > 1 else ""
        raise OptionError(f"{name} must be a whole number of {least} or more, {each}not {value!r}")
    return values


def images(name: str, input: Tensor, n: int) -> tuple[Tensor, bool]:
    """The input with a batch, and whether it had one."""
    if not isinstance(input, Tensor):
        raise DTypeError(f"{name}: takes a Tensor, not {type(input).__name__}")
    if input.ndim not in (n + 1, n + 2):
        space = ", ".join(("length",) if n == 1 else ("depth", "height", "width")[3 - n :])
        raise ShapeError(
            f"{name}: wants [batch, channels, {space}] or [channels, {space}], got shape {list(input.shape)}"
        )
    return (input, True) if input.ndim == n + 2 else (_reshape(input, (1, *input.shape)), False)


def given_back(y: Tensor, batched: bool) -> Tensor:
    return y if batched else _reshape(y, y.shape[1:])


# Convolution


def same_padding(name: str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Any:
    """The padding with which an image keeps its size; an odd one more comes after."""
    if any(s != 1 for s in stride):
        raise OptionError(
            f"{name}: padding='same' keeps the size, which stride={tuple(stride)} does not; give the padding in numbers"
        )
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple([(t // 2, t - t // 2) for t in total])


def _borders(name: str, padding: Any, kernel: Sequence[int], stride: Any, dilation: Any) -> Any:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        return same_padding(name, kernel, stride, dilation)
    if isinstance(padding, str):
        raise OptionError(f"{name}: padding is 'same', 'valid' or numbers, not {padding!r}")
    return tuple([(p, p) for p in numbers(f"{name}: padding", padding, len(kernel), 0)])


def _kernel(name: str, weight: Tensor, n: int) -> tuple[int, ...]:
    if not isinstance(weight, Tensor) or weight.ndim != n + 2:
        shape = list(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise ShapeError(f"{name}: weight must have {n + 2} dimensions, two and {n} of the kernel, got {shape}")
    return weight.shape[2:]


def _conv(
    n: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    name = f"conv{n}d"
    x, batched = images(name, input, n)
    kernel = _kernel(name, weight, n)
    stride, dilation = numbers(f"{name}: stride", stride, n), numbers(f"{name}: dilation", dilation, n)
    borders = _borders(name, padding, kernel, stride, dilation)
    (groups,) = numbers(f"{name}: groups", groups, 1)
    return given_back(_convolution(x, weight, bias, stride, borders, dilation, groups), batched)


def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints | str = 0,
    dilation: Ints = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """y[b, o, p] = Σ w[o, c, k] x[b, c, p s + k d − padding] + bias[o]

    `padding` may also be 'same', which keeps the length, or 'valid' for none.

    Shapes: x [batch, channels, length], w [outputs, channels / groups, kernel], y [batch, outputs, places].
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints | str = 0,
    dilation: Ints = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """`conv1d` for pictures: x [batch, channels, height, width], w [outputs, channels / groups, height, width]."""
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints | str = 0,
    dilation: Ints = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """`conv1d` for volumes: x [batch, channels, depth, height, width], w [outputs, channels / groups, …kernel]."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    n: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, output_padding: Any,
    groups: int, dilation: Any,
) -> Tensor:  # fmt: skip
    name = f"conv_transpose{n}d"
    x, batched = images(name, input, n)
    kernel = _kernel(name, weight, n)
    stride, dilation = numbers(f"{name}: stride", stride, n), numbers(f"{name}: dilation", dilation, n)
    padding = numbers(f"{name}: padding", padding, n, 0)
    extra = numbers(f"{name}: output_padding", output_padding, n, 0)
    (groups,) = numbers(f"{name}: groups", groups, 1)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise OptionError(
            f"{name}: output_padding={extra} must be smaller than stride={stride} or dilation={dilation}; it only "
            "chooses among the sizes that the same stride makes of several"
        )
    whole = [(m - 1) * s + (k - 1) * d + 1 for m, s, k, d in zip(x.shape[2:], stride, kernel, dilation, strict=True)]
    reached = [min(e, s - 1) for e, s in zip(extra, stride, strict=True)]  # beyond, nothing is written
    shape = tuple([w - 2 * p + e for w, p, e in zip(whole, padding, reached, strict=True)])
    if any(m < 1 for m in shape):
        raise ShapeError(f"{name}: padding={padding} leaves nothing of a result of {whole}; take less")
    y = _transposed(x, weight, shape, stride, padding, dilation, groups)
    if tuple(reached) != extra:
        beyond = [(0, e - r) for e, r in zip(extra, reached, strict=True)]
        y = _pad(y, ((0, 0), (0, 0), *beyond))
    if bias is not None:
        y = y + _reshape(bias, (-1, *(1,) * n))
    return given_back(y, batched)


def conv_transpose1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0,
    output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1,
) -> Tensor:  # fmt: skip
    """y[b, o, i] = Σ w[c, o, k] x[b, c, p] over all p s + k d − padding = i, + bias[o]: conv1d's adjoint

    A stride makes the result larger. Several lengths have the same number of places; `output_padding` chooses.

    Shapes: x [batch, channels, places], w [channels, outputs / groups, kernel], y [batch, outputs, length] with
    length (places − 1) stride − 2 padding + dilation (kernel − 1) + output_padding + 1.
    """
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0,
    output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1,
) -> Tensor:  # fmt: skip
    """`conv_transpose1d` for pictures."""
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0,
    output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1,
) -> Tensor:  # fmt: skip
    """`conv_transpose1d` for volumes."""
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


# Windows


def _windows(x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """[batch, channels, …space] → [batch, channels, …places, …kernel]"""
    n = len(kernel)
    for i in range(n):
        reach = (kernel[i] - 1) * dilation[i] + 1
        x = _unfold(x, 2 + i, reach, stride[i])
    if any(d > 1 for d in dilation):
        x = x[(..., *(slice(None, None, d) for d in dilation))]
    return x


def fit(name: str, space: Sequence[int], kernel: Sequence[int], padding: Sequence[int], dilation: Any) -> None:
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(r > m + 2 * p for r, m, p in zip(reach, space, padding, strict=True)):
        raise ShapeError(
            f"{name}: a kernel of {list(kernel)} that reaches over {reach} entries is larger than the input of "
            f"{list(space)} with padding={tuple(padding)}; take a smaller kernel or dilation, or more padding"
        )


def unfold(input: Tensor, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1) -> Tensor:
    """Every window of a picture as a column

    Shapes: x [batch, channels, height, width], y [batch, channels · kernel entries, places].
    """
    x, batched = images("unfold", input, 2)
    kernel, stride = numbers("unfold: kernel_size", kernel_size, 2), numbers("unfold: stride", stride, 2)
    dilation, padding = numbers("unfold: dilation", dilation, 2), numbers("unfold: padding", padding, 2, 0)
    fit("unfold", x.shape[2:], kernel, padding, dilation)
    if any(padding):
        x = _pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    found = _windows(x, kernel, stride, dilation)  # [batch, channels, rows, columns, height, width]
    batch, channels, rows, columns, height, width = found.shape
    y = _reshape(_moved(found, (0, 1, 4, 5, 2, 3)), (batch, channels * height * width, rows * columns))
    return given_back(y, batched)


def fold(
    input: Tensor, output_size: Ints, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1
) -> Tensor:
    """The columns of `unfold` put back, what overlaps added: its adjoint

    Shapes: x [batch, channels · kernel entries, places], y [batch, channels, height, width].
    """
    x, batched = (input, True) if input.ndim == 3 else (_reshape(input, (1, *input.shape)), False)
    size, kernel = numbers("fold: output_size", output_size, 2), numbers("fold: kernel_size", kernel_size, 2)
    stride, dilation = numbers("fold: stride", stride, 2), numbers("fold: dilation", dilation, 2)
    padding = numbers("fold: padding", padding, 2, 0)
    fit("fold", size, kernel, padding, dilation)
    height, width = kernel
    settings = zip(size, kernel, stride, dilation, padding, strict=True)
    places = [(m + 2 * p - d * (k - 1) - 1) // s + 1 for m, k, s, d, p in settings]
    if x.ndim != 3 or x.shape[1] % (height * width) or x.shape[2] != places[0] * places[1]:
        raise ShapeError(
            f"fold: for output_size={size} and kernel_size={kernel} wants [batch, channels · {height * width}, "
            f"{places[0] * places[1]}], got shape {list(input.shape)}"
        )
    channels = x.shape[1] // (height * width)
    # Written as a transposed convolution of each channel with every unit kernel.
    units = wrap(beside(np.eye(height * width).reshape(height * width, 1, height, width), x), None)
    u = _reshape(x, (x.shape[0] * channels, height * width, *places))
    y = _transposed(u, units, size, stride, padding, dilation, 1)
    return given_back(_reshape(y, (x.shape[0], channels, *size)), batched)


def beside(values: Any, x: Tensor) -> Any:
    """Numbers as an array of the dtype and on the device of x."""
    return Tensor(np.asarray(values, x.dtype), device=x.device)._array


def locally_connected(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0, dilation: Ints = 1
) -> Tensor:
    """y[b, o, p] = Σ w[o, c, p, k] x[b, c, p s + k d − padding] + bias[o, p]: convolution with weights for each place

    Shapes: x [batch, channels, …space], w [outputs, channels, …places, …kernel], bias [outputs, …places].
    Source: LeCun, "Generalization and network design strategies", 1989.
    """
    n = (weight.ndim - 2) // 2
    name = f"locally_connected{n}d"
    x, batched = images(name, input, n)
    stride, dilation = numbers(f"{name}: stride", stride, n), numbers(f"{name}: dilation", dilation, n)
    padding = numbers(f"{name}: padding", padding, n, 0)
    outputs, channels, places, kernel = *weight.shape[:2], weight.shape[2 : 2 + n], weight.shape[2 + n :]
    fit(name, x.shape[2:], kernel, padding, dilation)
    if any(padding):
        x = _pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    if x.shape[1] != channels:
        raise ShapeError(f"{name}: the input has {x.shape[1]} channels (axis 1), the weight is made for {channels}")
    found = _windows(x, kernel, stride, dilation)
    if found.shape[2 : 2 + n] != places:
        raise ShapeError(
            f"{name}: an input of {list(input.shape)} has {list(found.shape[2 : 2 + n])} places, the weight is made "
            f"for {list(places)}; without shared weights the size of the input cannot change"
        )
    at, within = range(2, 2 + n), range(2 + n, 2 + 2 * n)
    size = int(np.prod(places))
    columns = _reshape(_moved(found, (*at, 0, 1, *within)), (size, x.shape[0], -1))
    rows = _reshape(_moved(weight, (*at, 1, *within, 0)), (size, -1, outputs))
    y = _reshape(_matmul(columns, rows), (*places, x.shape[0], outputs))
    y = _moved(y, (n, n + 1, *range(n)))
    return given_back(y if bias is None else y + bias, batched)


# Borders and other sizes


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """A border around the last axes; `pad` is (before, after) of the last axis, then of the one before it, …

    mode: 'constant', of `value`; 'reflect' mirrors about the edge entry, 'replicate' repeats it, 'circular' goes on at
    the other end. Negative numbers cut off.
    """
    try:
        given = tuple(map(operator.index, pad))
    except TypeError:
        given = (0,)
    if len(given) % 2 or len(given) > 2 * input.ndim:
        raise OptionError(f"pad: wants a pair (before, after) for each of the last axes, got {pad!r}")
    widths = {input.ndim - 1 - i: (given[2 * i], given[2 * i + 1]) for i in range(len(given) // 2)}
    if any(w < 0 for pair in widths.values() for w in pair):
        ends = {a: (max(-before, 0), input.shape[a] - max(-after, 0)) for a, (before, after) in widths.items()}
        if any(start > end for start, end in ends.values()):
            raise ShapeError(f"pad: {pad!r} cuts off more than there is of shape {list(input.shape)}")
        input = input[tuple([slice(*ends.get(a, (None, None))) for a in range(input.ndim)])]
        widths = {a: (max(before, 0), max(after, 0)) for a, (before, after) in widths.items()}
    if mode == "constant":
        return _pad(input, tuple([widths.get(a, (0, 0)) for a in range(input.ndim)]), value or 0)
    if mode not in ("reflect", "replicate", "circular"):
        raise OptionError(f"pad: mode is 'constant', 'reflect', 'replicate' or 'circular', not {mode!r}")
    for axis, (before, after) in widths.items():
        n = input.shape[axis]
        most = {"reflect": n - 1, "circular": n}.get(mode, before + after)
        if n == 0 or not 0 <= before <= most or not 0 <= after <= most:
            raise ShapeError(
                f"pad: mode {mode!r} has no {before} entries before and {after} after an axis of length {n}"
            )
        if before or after:
            places = np.arange(-before, n + after)
            if mode == "reflect":
                places = n - 1 - np.abs(n - 1 - np.abs(places))
            places = places.clip(0, n - 1) if mode == "replicate" else places % n
            input = _take(input, whole_numbers(places, input), axis=axis)
    return input


def whole_numbers(values: Any, x: Tensor) -> Any:
    """Indices, on the device of x; shapes know those of the host."""
    values = np.asarray(values, np.int64)
    return Tensor(values, device=None if x.device == "shapes" else x.device)


def interpolate(
    input: Tensor,
    size: Ints | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """An image in another size, given as `size` or by `scale_factor`

    mode: 'nearest' (PyTorch's, which rounds down), 'nearest-exact', 'linear', 'bilinear' and 'trilinear' by the number
    of dimensions, 'bicubic', and 'area', the mean of what falls together. With `align_corners` the middles of the
    corner entries are where they were, without it their outer edges.
    """
    n = input.ndim - 2
    if not 1 <= n <= 3:
        raise ShapeError(f"interpolate: wants [batch, channels, …] with 1 to 3 dimensions of space, got {input.shape}")
    if antialias:
        raise OptionError("interpolate: antialias is not here; blur first, or use mode='area'")
    known = {"nearest", "nearest-exact", "area", LINEAR[n + 2]} | ({"bicubic"} if n == 2 else set())
    if mode not in known:
        raise OptionError(f"interpolate: for {n} dimensions of space mode is one of {sorted(known)}, not {mode!r}")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise OptionError(f"interpolate: align_corners is of the linear and cubic modes, not of {mode!r}")
    if (size is None) == (scale_factor is None):
        raise OptionError("interpolate: give either size or scale_factor")
    steps: list[float | None] = [None] * n
    if size is not None:
        lengths = numbers("interpolate: size", size, n)
    else:
        try:
            listed = isinstance(scale_factor, Sequence)
            factors = [float(f) for f in (scale_factor if listed else [scale_factor] * n)]  # type: ignore[union-attr, arg-type]
        except (TypeError, ValueError):
            factors = []
        if len(factors) != n or not all(f > 0 for f in factors):
            raise OptionError(f"interpolate: scale_factor is a positive number, or {n} of them, not {scale_factor!r}")
        lengths = tuple([int(m * f) for m, f in zip(input.shape[2:], factors, strict=True)])
        if not recompute_scale_factor:
            steps = [1 / f for f in factors]
    if min(*lengths, *input.shape[2:]) < 1:
        raise ShapeError(f"interpolate: from {list(input.shape[2:])} to {list(lengths)}: an axis without entries")
    for i, (length, step) in enumerate(zip(lengths, steps, strict=True)):
        input = _resized(input, 2 + i, length, step, mode, bool(align_corners))
    return input


def _resized(x: Tensor, axis: int, length: int, step: float | None, mode: str, align: bool) -> Tensor:
    n = x.shape[axis]
    if mode.startswith("nearest"):
        by = np.float32(n / length if step is None else step)
        at = (np.arange(length) + (0.5 if mode == "nearest-exact" else 0)).astype(np.float32)
        places = np.minimum(np.floor(at * by).astype(np.int64), n - 1)
        if length % n == 0 and (places == np.arange(length) // (length // n)).all():
            return x if length == n else _repeated(x, length, axis, length // n)
        return _take(x, whole_numbers(places, x), axis=axis)
    if mode == "area":
        return averaged(x, axis, length)
    if align:
        at = np.arange(length) * ((n - 1) / (length - 1) if length > 1 else 0.0)
    else:
        at = (np.arange(length) + 0.5) * (n / length if step is None else step) - 0.5
        at = at if mode == "bicubic" else np.maximum(at, 0)
    first = np.floor(at).astype(np.int64)
    part = at - first
    parts = _cubic(part) if mode == "bicubic" else [(0, 1 - part), (1, part)]
    matrix = np.zeros((length, n))
    for offset, share in parts:
        np.add.at(matrix, (np.arange(length), np.clip(first + offset, 0, n - 1)), share)
    return applied(x, axis, matrix)


def _cubic(t: Any, a: float = -0.75) -> list[tuple[int, Any]]:
    """The shares of the four entries around a place, by Keys' cubic."""

    def near(d: Any) -> Any:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Any) -> Any:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [(-1, far(t + 1)), (0, near(t)), (1, near(1 - t)), (2, far(2 - t))]


def applied(x: Tensor, axis: int, matrix: Any) -> Tensor:
    """A constant matrix [new, old] along an axis."""
    if axis == x.ndim - 1:
        return _matmul(x, wrap(beside(matrix.T, x), None))
    order = (*range(axis), *range(axis + 1, x.ndim), axis)
    back = tuple([order.index(a) for a in range(x.ndim)])
    return _moved(_matmul(_moved(x, order), wrap(beside(matrix.T, x), None)), back)


def adaptive_windows(n: int, length: int) -> list[tuple[int, int]]:
    """`length` windows that cover n entries, as equal as they can be: where each begins and ends."""
    return [(i * n // length, -(-(i + 1) * n // length)) for i in range(length)]


def averaged(x: Tensor, axis: int, length: int) -> Tensor:
    """The mean over each of `length` windows along an axis."""
    n = x.shape[axis]
    matrix = np.zeros((length, n))
    for i, (start, end) in enumerate(adaptive_windows(n, length)):
        matrix[i, start:end] = 1 / (end - start)
    return applied(x, axis, matrix)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """r² channels become one that is r times as high and as wide

    Shapes: x [..., channels r², height, width], y [..., channels, height r, width r].
    Source: Shi et al., "Real-time single image and video super-resolution", 2016.
    """
    (r,) = numbers("pixel_shuffle: upscale_factor", upscale_factor, 1)
    if input.ndim < 3 or input.shape[-3] % (r * r):
        raise ShapeError(f"pixel_shuffle: wants channels (axis -3) in multiples of {r * r}, got {list(input.shape)}")
    *batch, c, h, w = input.shape
    b = len(batch)
    x = _reshape(input, (*batch, c // (r * r), r, r, h, w))
    x = _moved(x, (*range(b), b, b + 3, b + 1, b + 4, b + 2))
    return _reshape(x, (*batch, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Squares of r × r entries become r² channels: `pixel_shuffle` undone."""
    (r,) = numbers("pixel_unshuffle: downscale_factor", downscale_factor, 1)
    if input.ndim < 3 or input.shape[-1] % r or input.shape[-2] % r:
        raise ShapeError(f"pixel_unshuffle: wants height and width in multiples of {r}, got {list(input.shape)}")
    *batch, c, h, w = input.shape
    b = len(batch)
    x = _reshape(input, (*batch, c, h // r, r, w // r, r))
    x = _moved(x, (*range(b), b, b + 2, b + 4, b + 1, b + 3))
    return _reshape(x, (*batch, c * r * r, h // r, w // r))
