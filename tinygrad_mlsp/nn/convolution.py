"""Convolution and its transpose, layers without weight sharing, windows, other shapes and sizes of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..backend import float32
from ..errors import AxisError, OptionError, ShapeError
from ..namespace import empty
from ..random import Generator
from ..tensor import Tensor
from . import functional, init
from .functional.convolution import Ints, fit, images, numbers, same_padding
from .module import Module, Parameter, _size

_MODES = ("zeros", "reflect", "replicate", "circular")


class _Layer(Module):
    """What the layers with a kernel share."""

    n = 1  # dimensions of space
    weight: Parameter
    bias: Parameter | None

    @property
    def name(self) -> str:
        return type(self).__name__

    def _settings(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, dilation: Any, groups: int
    ) -> None:
        self.in_channels = _size(f"{self.name}: in_channels", in_channels, 1)
        self.out_channels = _size(f"{self.name}: out_channels", out_channels, 1)
        self.groups = _size(f"{self.name}: groups", groups, 1)
        self.kernel_size = numbers(f"{self.name}: kernel_size", kernel_size, self.n)
        self.stride = numbers(f"{self.name}: stride", stride, self.n)
        self.dilation = numbers(f"{self.name}: dilation", dilation, self.n)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise OptionError(
                f"{self.name}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draws weight and bias anew, from U(−1/√n, 1/√n) with n the number of weights that an output sums over."""
        bound = 1 / math.sqrt(max(1, init.fans(self.weight)[0]))
        init.uniform_(self.weight, -bound, bound, generator)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator)

    def _channels(self, x: Tensor) -> None:
        images(self.name, x, self.n)
        if x.shape[-1 - self.n] != self.in_channels:
            raise ShapeError(
                f"{self.name}: the input of shape {list(x.shape)} has {x.shape[-1 - self.n]} channels (axis "
                f"{x.ndim - 1 - self.n}), the layer is made for {self.in_channels}"
            )


class _Conv(_Layer):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Ints, stride: Ints = 1, padding: Ints | str = 0,
        dilation: Ints = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: str | None = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self._settings(in_channels, out_channels, kernel_size, stride, dilation, groups)
        if padding_mode not in _MODES:
            raise OptionError(f"{self.name}: padding_mode is one of {', '.join(_MODES)}, not {padding_mode!r}")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise OptionError(f"{self.name}: padding is 'same', 'valid' or numbers, not {padding!r}")
            borders = ((0, 0),) * self.n
            if padding == "same":
                borders = same_padding(self.name, self.kernel_size, self.stride, self.dilation)
            self.padding: Any = padding
        else:
            self.padding = numbers(f"{self.name}: padding", padding, self.n, 0)
            borders = tuple([(p, p) for p in self.padding])
        self.padding_mode = padding_mode
        self._border = [width for pair in reversed(borders) for width in pair]
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, dtype or float32, device))
        self.bias = Parameter(empty((out_channels,), dtype or float32, device)) if bias else None
        self.reset_parameters(generator)

    def forward(self, x: Tensor) -> Tensor:
        self._channels(x)
        padding = self.padding
        if self.padding_mode != "zeros" and any(self._border):
            x, padding = functional.pad(x, self._border, self.padding_mode), 0
        convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[self.n - 1]
        return convolve(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding not in ((0,) * self.n, "valid"):
            text += f", padding={self.padding!r}"
        if self.dilation != (1,) * self.n:
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class Conv1d(_Conv):
    """y[b, o, p] = Σ w[o, c, k] x[b, c, p s + k d − padding] + bias[o]: the same weights at every place

    `padding` is a number, 'same', which keeps the length, or 'valid', none; padding_mode says what is there: zeros,
    or the sequence 'reflect'ed, its ends 'replicate'd, or gone on with at the other end ('circular'). Of several
    `groups` of channels each sees only its own. Weight and bias start as PyTorch's do, from U(−1/√n, 1/√n) with
    n = in_channels · kernel_size / groups.

    Shapes: x [batch, in_channels, length] or [in_channels, length], weight [out_channels, in_channels / groups,
    kernel_size], bias [out_channels], y [batch, out_channels, places] with
    (length + 2 padding − dilation (kernel_size − 1) − 1) // stride + 1 places.
    Source: LeCun et al., "Gradient-based learning applied to document recognition", 1998.
    """

    n = 1


class Conv2d(_Conv):
    """`Conv1d` for pictures

    Shapes: x [batch, in_channels, height, width], weight [out_channels, in_channels / groups, *kernel_size].
    """

    n = 2


class Conv3d(_Conv):
    """`Conv1d` for volumes

    Shapes: x [batch, in_channels, depth, height, width], weight [out_channels, in_channels / groups, *kernel_size].
    """

    n = 3


class _ConvTranspose(_Layer):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Ints, stride: Ints = 1, padding: Ints = 0,
        output_padding: Ints = 0, groups: int = 1, bias: bool = True, dilation: Ints = 1, padding_mode: str = "zeros",
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self._settings(in_channels, out_channels, kernel_size, stride, dilation, groups)
        if padding_mode != "zeros":
            raise OptionError(f"{self.name}: padding_mode is 'zeros', not {padding_mode!r}")
        self.padding = numbers(f"{self.name}: padding", padding, self.n, 0)
        self.output_padding = numbers(f"{self.name}: output_padding", output_padding, self.n, 0)
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, dtype or float32, device))
        self.bias = Parameter(empty((out_channels,), dtype or float32, device)) if bias else None
        self.reset_parameters(generator)

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        self._channels(x)
        extra = self.output_padding if output_size is None else self._extra(x, output_size)
        convolve = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[self.n - 1]
        return convolve(x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _extra(self, x: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output_padding that gives a size."""
        wanted = tuple(output_size)[-self.n :]
        settings = zip(
            x.shape[-self.n :], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
        )  # fmt: skip
        least = [(m - 1) * s - 2 * p + d * (k - 1) + 1 for m, s, p, d, k in settings]
        extra = tuple([w - m for w, m in zip(wanted, least, strict=False)])
        if len(wanted) != self.n or any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            raise ShapeError(
                f"{self.name}: output_size={list(output_size)} cannot be reached; sizes from {least} to "
                f"{[m + s - 1 for m, s in zip(least, self.stride, strict=True)]} can"
            )
        return extra

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for option, usual in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            if getattr(self, option) != (usual,) * self.n:
                text += f", {option}={getattr(self, option)}"
        text += f", groups={self.groups}" if self.groups != 1 else ""
        return text if self.bias is not None else f"{text}, bias=False"


class ConvTranspose1d(_ConvTranspose):
    """y[b, o, i] = Σ w[c, o, k] x[b, c, p] over all p s + k d − padding = i, + bias[o]: Conv1d's adjoint

    Every entry of x writes the kernel into y, a stride apart, so that y is larger. Several lengths have the same
    number of places; `output_padding`, or `output_size` at the call, chooses among them.

    Shapes: x [batch, in_channels, places], weight [in_channels, out_channels / groups, kernel_size],
    y [batch, out_channels, (places − 1) stride − 2 padding + dilation (kernel_size − 1) + output_padding + 1].
    """

    n = 1


class ConvTranspose2d(_ConvTranspose):
    """`ConvTranspose1d` for pictures"""

    n = 2


class ConvTranspose3d(_ConvTranspose):
    """`ConvTranspose1d` for volumes"""

    n = 3


class _LocallyConnected(_Layer):
    def __init__(
        self, in_channels: int, out_channels: int, input_size: Ints, kernel_size: Ints, stride: Ints = 1,
        padding: Ints = 0, dilation: Ints = 1, bias: bool = True, device: str | None = None, dtype: Any = None,
        *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self._settings(in_channels, out_channels, kernel_size, stride, dilation, 1)
        self.input_size = numbers(f"{self.name}: input_size", input_size, self.n)
        self.padding = numbers(f"{self.name}: padding", padding, self.n, 0)
        fit(self.name, self.input_size, self.kernel_size, self.padding, self.dilation)
        each = zip(self.input_size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        self.output_size = tuple([(m + 2 * p - d * (k - 1) - 1) // s + 1 for m, k, s, p, d in each])
        shape = (out_channels, in_channels, *self.output_size, *self.kernel_size)
        self.weight = Parameter(empty(shape, dtype or float32, device))
        self.bias = Parameter(empty((out_channels, *self.output_size), dtype or float32, device)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draws weight and bias anew, as the convolution of that kernel does."""
        bound = 1 / math.sqrt(self.in_channels * math.prod(self.kernel_size))
        init.uniform_(self.weight, -bound, bound, generator)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator)

    def forward(self, x: Tensor) -> Tensor:
        self._channels(x)
        return functional.locally_connected(x, self.weight, self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, input_size={self.input_size}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, bias={self.bias is not None}"
        )


class LocallyConnected1d(_LocallyConnected):
    """y[b, o, p] = Σ w[o, c, p, k] x[b, c, p s + k d − padding] + bias[o, p]: Conv1d with weights for each place

    The size of the input is fixed, as there are weights for every place of it.

    Shapes: x [batch, in_channels, input_size], weight [out_channels, in_channels, places, kernel_size],
    bias [out_channels, places], y [batch, out_channels, places].
    Source: LeCun, "Generalization and network design strategies", 1989; Keras' layer of this name.
    """

    n = 1


class LocallyConnected2d(_LocallyConnected):
    """`LocallyConnected1d` for pictures

    Shapes: x [batch, in_channels, *input_size], weight [out_channels, in_channels, *places, *kernel_size].
    """

    n = 2


class Unfold(Module):
    """Every window of a picture as a column: see `functional.unfold`."""

    def __init__(self, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1) -> None:
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """The columns of `Unfold` put back, what overlaps added: see `functional.fold`."""

    def __init__(
        self, output_size: Ints, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1
    ) -> None:
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class Upsample(Module):
    """An image in another size, by its nearest entries or between them: see `functional.interpolate`."""

    def __init__(
        self, size: Ints | None = None, scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
        align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    ) -> None:  # fmt: skip
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(
            x, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        size = f"size={self.size}" if self.size is not None else f"scale_factor={self.scale_factor}"
        return f"{size}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of pictures by their nearest entries"""

    def __init__(self, size: Ints | None = None, scale_factor: float | Sequence[float] | None = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of pictures between their entries, the corners staying where they are"""

    def __init__(self, size: Ints | None = None, scale_factor: float | Sequence[float] | None = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Module):
    """r² channels become one that is r times as high and as wide: see `functional.pixel_shuffle`."""

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """`PixelShuffle` undone."""

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = downscale_factor

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class Flatten(Module):
    """The axes from start_dim to end_dim as one: [batch, channels, …] → [batch, entries]"""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        if not (-x.ndim <= self.start_dim < x.ndim and -x.ndim <= self.end_dim < x.ndim):
            raise AxisError(f"Flatten({self.extra_repr()}): an input of shape {list(x.shape)} has {x.ndim} axes")
        start, end = self.start_dim % x.ndim, self.end_dim % x.ndim
        if start > end:
            raise AxisError(f"Flatten({self.extra_repr()}): the first axis, {start}, comes after the last, {end}")
        return x.reshape((*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """The axis `dim` as several, of lengths `unflattened_size` (one may be −1): `Flatten` undone"""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        if not -x.ndim <= self.dim < x.ndim:
            raise AxisError(f"Unflatten({self.extra_repr()}): an input of shape {list(x.shape)} has {x.ndim} axes")
        dim = self.dim % x.ndim
        known = math.prod(n for n in self.unflattened_size if n != -1)
        sizes = tuple([x.shape[dim] // max(known, 1) if n == -1 else n for n in self.unflattened_size])
        if math.prod(sizes) != x.shape[dim]:
            raise ShapeError(
                f"Unflatten({self.extra_repr()}): axis {dim} of {list(x.shape)} has {x.shape[dim]} entries"
            )
        return x.reshape((*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
