"""Batch normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import float32
from ..errors import ShapeError
from ..namespace import ones, zeros
from ..tensor import Tensor
from . import functional, init
from .module import Module, Parameter, _size


class BatchNorm1d(Module):
    """y = w (x − μ)/√(v + ε) + b, feature by feature, with the batch's mean μ and variance v

    In evaluation μ and v are the running statistics, which training moves by `momentum` towards each batch's; with
    momentum=None they are the plain averages of all batches, with track_running_stats=False there are none, and
    evaluation too uses the batch's.

    Shapes: x [batch, features] or [batch, features, length].
    Source: Ioffe and Szegedy, "Batch normalization", 2015.
    """

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: str | None = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        self.num_features = num_features = _size("BatchNorm1d: num_features", num_features)
        self.eps, self.momentum = eps, momentum
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

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            raise ShapeError(
                f"BatchNorm1d({self.num_features}): wants [batch, {self.num_features}] or [batch, {self.num_features}, "
                f"length], got shape {list(x.shape)}"
            )
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.data = self.num_batches_tracked._array + 1
            if momentum is None:
                momentum = 1 / int(self.num_batches_tracked)
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, momentum or 0.0, self.eps,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )
