"""Normalization of a batch's features, of a sample, of a sample's channels or groups of them, and across channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import float32
from ..errors import OptionError, ShapeError
from ..namespace import ones, zeros
from ..tensor import Tensor
from . import functional, init
from .functional.checks import number
from .module import Module, Parameter, _size


class _Running(Module):
    """What batch and instance norm share: scale and shift a channel, and running statistics."""

    axes: tuple[int, ...]  # how many there may be
    shapes: str
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool,
        device: str | None, dtype: Any, bias: bool,
    ) -> None:  # fmt: skip
        self.num_features = num_features = _size(f"{type(self).__name__}: num_features", num_features)
        name = type(self).__name__
        self.eps = number(f"{name}: eps", eps, 0)
        self.momentum = None if momentum is None else number(f"{name}: momentum (None for the plain average)", momentum)
        self.affine, self.track_running_stats = affine, track_running_stats
        shape, dtype = (num_features,), dtype or float32
        self.weight = Parameter(ones(shape, dtype, device)) if affine else None
        self.bias = Parameter(zeros(shape, dtype, device)) if affine and bias else None
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(shape, dtype, device) if tracked else None)
        self.register_buffer("running_var", ones(shape, dtype, device) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), np.int64, device) if tracked else None)

    def reset_running_stats(self) -> None:
        """Mean 0 and variance 1, as before the first batch."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Weight 1 and bias 0."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check(self, x: Tensor, axes: tuple[int, ...]) -> None:
        if x.ndim not in axes or x.shape[1 if x.ndim in self.axes else 0] != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}({self.num_features}): wants {self.shapes.format(self.num_features)}, "
                f"got shape {list(x.shape)}"
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: str | None = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, x: Tensor) -> Tensor:
        self._check(x, self.axes)
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.data = self.num_batches_tracked._array + 1
            if momentum is None:
                momentum = 1 / int(self.num_batches_tracked)
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, momentum or 0.0, self.eps,
        )  # fmt: skip


class BatchNorm1d(_BatchNorm):
    """y = w (x − μ)/√(v + ε) + b, feature by feature, with the batch's mean μ and variance v

    In evaluation μ and v are the running statistics, which training moves by `momentum` towards each batch's; with
    momentum=None they are the plain averages of all batches, with track_running_stats=False there are none, and
    evaluation too uses the batch's.

    Shapes: x [batch, features] or [batch, features, length].
    Source: Ioffe and Szegedy, "Batch normalization", 2015.
    """

    axes, shapes = (2, 3), "[batch, {0}] or [batch, {0}, length]"


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for x [batch, channels, height, width]: a channel's mean and variance are over all its places"""

    axes, shapes = (4,), "[batch, {0}, height, width]"


class BatchNorm3d(_BatchNorm):
    """`BatchNorm1d` for x [batch, channels, depth, height, width]"""

    axes, shapes = (5,), "[batch, {0}, depth, height, width]"


class _InstanceNorm(_Running):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: str | None = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, x: Tensor) -> Tensor:
        alone = x.ndim == self.axes[0] - 1
        self._check(x, (self.axes[0] - 1, self.axes[0]))
        y = functional.instance_norm(
            x.reshape((1, *x.shape)) if alone else x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, self.momentum or 0.0, self.eps,
        )  # fmt: skip
        return y.reshape(x.shape) if alone else y


class InstanceNorm1d(_InstanceNorm):
    """y = w (x − μ)/√(v + ε) + b, with mean μ and variance v of each channel of each sample, in evaluation too

    There is neither scale and shift (affine) nor running statistics, unless they are asked for.
    Shapes: x [batch, channels, length] or [channels, length].
    Source: Ulyanov, Vedaldi and Lempitsky, "Instance normalization", 2016.
    """

    axes, shapes = (3,), "[batch, {0}, length] or [{0}, length]"


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm1d` for x [batch, channels, height, width] or [channels, height, width]"""

    axes, shapes = (4,), "[batch, {0}, height, width] or [{0}, height, width]"


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm1d` for x [batch, channels, depth, height, width] or [channels, depth, height, width]"""

    axes, shapes = (5,), "[batch, {0}, depth, height, width] or [{0}, depth, height, width]"


def _shape(name: str, normalized_shape: Any) -> tuple[int, ...]:
    shape = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    return tuple(_size(f"{name}: normalized_shape", n) for n in shape)


class LayerNorm(Module):
    """y = w (x − μ)/√(v + ε) + b, with mean μ and variance v of each sample, over the last axes

    Shapes: x [..., *normalized_shape], weight and bias [*normalized_shape].
    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True,
        device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.normalized_shape, self.eps = _shape("LayerNorm", normalized_shape), number("LayerNorm: eps", eps, 0)
        self.elementwise_affine = elementwise_affine
        shape, dtype = self.normalized_shape, dtype or float32
        self.weight = Parameter(ones(shape, dtype, device)) if elementwise_affine else None
        self.bias = Parameter(zeros(shape, dtype, device)) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """y = w x/√(mean x² + ε) over the last axes; ε is the dtype's own, where none is given

    Shapes: x [..., *normalized_shape], weight [*normalized_shape].
    Source: Zhang and Sennrich, "Root mean square layer normalization", 2019.
    """

    weight: Parameter | None

    def __init__(
        self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True,
        device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.normalized_shape = _shape("RMSNorm", normalized_shape)
        self.eps = None if eps is None else number("RMSNorm: eps", eps, 0)
        self.elementwise_affine = elementwise_affine
        self.weight = (
            Parameter(ones(self.normalized_shape, dtype or float32, device)) if elementwise_affine else None
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """y = w (x − μ)/√(v + ε) + b, with mean μ and variance v of each group of channels of each sample

    Shapes: x [batch, num_channels, …], weight and bias [num_channels].
    Source: Wu and He, "Group normalization", 2018.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: str | None = None,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        self.num_groups = _size("GroupNorm: num_groups", num_groups, 1)
        self.num_channels, self.affine = _size("GroupNorm: num_channels", num_channels), affine
        self.eps = number("GroupNorm: eps", eps, 0)
        if num_channels % num_groups:
            raise OptionError(f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups")
        shape, dtype = (num_channels,), dtype or float32
        self.weight = Parameter(ones(shape, dtype, device)) if affine else None
        self.bias = Parameter(zeros(shape, dtype, device)) if affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        return functional.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class LocalResponseNorm(Module):
    """y = x/(k + α/size Σ x²)^β, the sum over the `size` channels around a channel

    Source: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional networks", 2012, 3.3.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = _size("LocalResponseNorm: size", size, 1), alpha, beta, k
        for option, value in (("alpha", alpha), ("beta", beta), ("k", k)):
            number(f"LocalResponseNorm: {option}", value)

    def forward(self, x: Tensor) -> Tensor:
        return functional.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
