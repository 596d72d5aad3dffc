"""Layers of pooling by a norm, and of max-pooling undone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..tensor import Tensor
from . import functional
from .functional.convolution import Ints
from .module import Module


class _LPPool(Module):
    function: Callable[..., Tensor]

    def __init__(
        self, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
    ) -> None:
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """y[b, c, p] = (Σ x[b, c, p s + k]ᵖ)^(1/p) over the k of a window: see `functional.lp_pool1d`

    Shapes: x [batch, channels, length], y [batch, channels, places].
    """

    function = staticmethod(functional.lp_pool1d)


class LPPool2d(_LPPool):
    """`LPPool1d` for pictures"""

    function = staticmethod(functional.lp_pool2d)


class LPPool3d(_LPPool):
    """`LPPool1d` for volumes"""

    function = staticmethod(functional.lp_pool3d)


class _MaxUnpool(Module):
    function: Callable[..., Tensor]

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding = padding

    def forward(self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return type(self).function(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Each entry back at the place that `MaxPool1d(..., return_indices=True)` took it from, and zeros elsewhere

    See `functional.max_unpool1d`. Called with what the pooling gave, (y, indices), and an output_size.

    Shapes: x and indices [batch, channels, places], y [batch, channels, length].
    """

    function = staticmethod(functional.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """`MaxUnpool1d` for pictures"""

    function = staticmethod(functional.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """`MaxUnpool1d` for volumes"""

    function = staticmethod(functional.max_unpool3d)
