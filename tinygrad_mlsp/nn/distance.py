"""Layers of two inputs: products and distances of pairs of vectors."""

from __future__ import annotations

import math
from typing import Any

from ..backend import float32
from ..namespace import empty
from ..random import Generator
from ..tensor import Tensor
from . import functional, init
from .module import Module, Parameter, _size


class Bilinear(Module):
    """y[o] = x₁ᵀ W[o] x₂ + b[o]

    Weight and bias start from U(−1/√in1, 1/√in1), as PyTorch's do.

    Shapes: x₁ [..., in1_features], x₂ [..., in2_features], weight [out_features, in1_features, in2_features],
    bias [out_features], y [..., out_features].
    """

    bias: Parameter | None

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: str | None = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.in1_features = _size("Bilinear: in1_features", in1_features, 1)
        self.in2_features = _size("Bilinear: in2_features", in2_features)
        self.out_features = _size("Bilinear: out_features", out_features)
        self.weight = Parameter(empty((out_features, in1_features, in2_features), dtype or float32, device))
        self.bias = Parameter(empty((out_features,), dtype or float32, device)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draws weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound, generator)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return functional.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class CosineSimilarity(Module):
    """y = x₁·x₂ / (max(‖x₁‖, ε) max(‖x₂‖, ε)) along the axis `dim`"""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return functional.cosine_similarity(x1, x2, self.dim, self.eps)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, eps={self.eps}"


class PairwiseDistance(Module):
    """y = ‖x₁ − x₂ + ε‖ₚ along the last axis"""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return functional.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)

    def extra_repr(self) -> str:
        return f"p={self.norm}, eps={self.eps}, keepdim={self.keepdim}"
