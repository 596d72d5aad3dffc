"""Pooling layers: maxima and means of windows, to a size that is given, and of all of space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from . import functional
from .functional.convolution import Ints
from .module import Module


class _MaxPool(Module):
    function: Callable[..., Any]

    def __init__(
        self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, x: Tensor) -> Any:
        return type(self).function(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """y[b, c, p] = max x[b, c, p s + k d − padding] over the k of a window; of equal entries the first has the gradient

    The stride is the kernel's size unless given; see `functional.max_pool1d`.

    Shapes: x [batch, channels, length], y [batch, channels, places].
    """

    function = staticmethod(functional.max_pool1d)


class MaxPool2d(_MaxPool):
    """`MaxPool1d` for pictures"""

    function = staticmethod(functional.max_pool2d)


class MaxPool3d(_MaxPool):
    """`MaxPool1d` for volumes"""

    function = staticmethod(functional.max_pool3d)


class AvgPool1d(Module):
    """y[b, c, p] = mean x[b, c, p s + k − padding] over the k of a window

    The zeros of the padding count as entries, unless count_include_pad=False.

    Shapes: x [batch, channels, length], y [batch, channels, places].
    """

    def __init__(
        self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool1d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(AvgPool1d):
    function: Callable[..., Tensor]

    def __init__(
        self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip


class AvgPool2d(_AvgPool):
    """`AvgPool1d` for pictures; `divisor_override` is divided by instead of the number of entries"""

    function = staticmethod(functional.avg_pool2d)


class AvgPool3d(_AvgPool):
    """`AvgPool2d` for volumes"""

    function = staticmethod(functional.avg_pool3d)


class _Adaptive(Module):
    function: Callable[..., Any]

    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Any:
        return type(self).function(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """The mean of each of `output_size` windows that cover the axis; with size 1, global pooling

    Shapes: x [batch, channels, length], y [batch, channels, output_size].
    """

    function = staticmethod(functional.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_Adaptive):
    """`AdaptiveAvgPool1d` for pictures; None leaves an axis as it is"""

    function = staticmethod(functional.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_Adaptive):
    """`AdaptiveAvgPool1d` for volumes; None leaves an axis as it is"""

    function = staticmethod(functional.adaptive_avg_pool3d)


class _AdaptiveMax(_Adaptive):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Any:
        return type(self).function(x, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The largest entry of each of `output_size` windows that cover the axis"""

    function = staticmethod(functional.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """`AdaptiveMaxPool1d` for pictures; None leaves an axis as it is"""

    function = staticmethod(functional.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMax):
    """`AdaptiveMaxPool1d` for volumes; None leaves an axis as it is"""

    function = staticmethod(functional.adaptive_max_pool3d)


class GlobalAvgPool(Module):
    """The mean over all of space: [batch, channels, …] → [batch, channels]

    Source: Lin, Chen and Yan, "Network in network", 2013.
    """

    def forward(self, x: Tensor) -> Tensor:
        return functional.global_avg_pool(x)


class GlobalMaxPool(Module):
    """The largest entry in all of space: [batch, channels, …] → [batch, channels]"""

    def forward(self, x: Tensor) -> Tensor:
        return functional.global_max_pool(x)
