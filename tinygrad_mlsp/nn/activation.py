"""Activations as modules. Their slopes, and the bounds of these, are stated in `rules/elementwise.py`."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor, record_of
from .functional import elu, leaky_relu, softplus
from .module import Module


class Identity(Module):
    """y = x, whatever it is made with"""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return x


class Sigmoid(Module):
    """y = 1/(1 + e⁻ˣ)"""

    forward = staticmethod(record_of("sigmoid"))


class Tanh(Module):
    """y = tanh x"""

    forward = staticmethod(record_of("tanh"))


class ReLU(Module):
    """y = max(0, x)"""

    forward = staticmethod(record_of("relu"))


class LogSigmoid(Module):
    """y = ln σ(x)"""

    forward = staticmethod(record_of("log_sigmoid"))


class Softplus(Module):
    """y = ln(1 + e^(βx))/β, stable for every x, so that PyTorch's `threshold` is not needed"""

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        return softplus(x, self.beta)

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


class LeakyReLU(Module):
    """y = x where x > 0, else a x with a = negative_slope"""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, negative_slope=self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """y = x where x > 0, else α(eˣ − 1)"""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return elu(x, alpha=self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class _AlongAxis(Module):
    operation: Any

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return self.operation(x, axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """yᵢ = e^(xᵢ) / Σⱼ e^(xⱼ) along the axis `dim`, the last unless told"""

    operation = staticmethod(record_of("softmax"))


class LogSoftmax(_AlongAxis):
    """yᵢ = xᵢ − ln Σⱼ e^(xⱼ) along the axis `dim`, the last unless told"""

    operation = staticmethod(record_of("log_softmax"))
