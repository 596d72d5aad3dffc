"""PyTorch's names for activations that are written into their input, `relu_(x)` for `relu(x, inplace=True)`."""

from __future__ import annotations

from ...random import Generator
from ...tensor import Tensor
from .activation import celu, elu, hardtanh, leaky_relu, relu, selu, threshold
from .drawn import rrelu


def relu_(input: Tensor) -> Tensor:
    """`relu`, written into its input."""
    return relu(input, True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu`, written into its input."""
    return leaky_relu(input, negative_slope, True)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu`, written into its input."""
    return elu(input, alpha, True)


def selu_(input: Tensor) -> Tensor:
    """`selu`, written into its input."""
    return selu(input, True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu`, written into its input."""
    return celu(input, alpha, True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh`, written into its input."""
    return hardtanh(input, min_val, max_val, True)


def threshold_(input: Tensor, at: float, value: float) -> Tensor:
    """`threshold`, written into its input."""
    return threshold(input, at, value, True)


def rrelu_(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
    *, slopes: Tensor | None = None, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """`rrelu`, written into its input."""
    return rrelu(input, lower, upper, training, True, slopes=slopes, generator=generator)
