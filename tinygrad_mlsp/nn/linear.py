"""The affine layer."""

from __future__ import annotations

import math
from typing import Any

from ..backend import float32
from ..namespace import empty
from ..random import Generator
from ..tensor import Tensor, record_of
from . import init
from .module import Module, Parameter, _size

_linear = record_of("linear")


class Linear(Module):
    """y = x Wᵀ + b

    Weight and bias start from U(−1/√in, 1/√in), as PyTorch's do.

    Shapes: x [..., in_features], weight [out_features, in_features], bias [out_features], y [..., out_features].
    """

    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: str | None = None, dtype: Any = None,
        *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.in_features = in_features = _size("Linear: in_features", in_features)
        self.out_features = out_features = _size("Linear: out_features", out_features)
        self.weight = Parameter(empty((out_features, in_features), dtype or float32, device))
        self.bias = Parameter(empty((out_features,), dtype or float32, device)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draws weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        if self.bias is not None:
            bound = 1 / math.sqrt(max(1, self.in_features))
            init.uniform_(self.bias, -bound, bound, generator)

    def forward(self, x: Tensor) -> Tensor:
        return _linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
