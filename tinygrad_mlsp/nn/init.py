"""Initial values, in place, drawn so that a signal keeps its size from layer to layer.

A layer y = W x with independent weights of variance v multiplies the variance of the signal by fan_in · v on the way
forward, and that of the gradient by fan_out · v on the way back (times the activation's mean squared slope). Each
rule below sets v so that these factors stay near 1.

`fan_in` and `fan_out` are a weight's second and first dimension (times the size of the kernel, if it has one).
Without `generator`, the numbers come from the default one (see `manual_seed`).
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from ..errors import OptionError, ShapeError
from ..random import Generator, default_generator
from ..tensor import Tensor

T = TypeVar("T", bound=Tensor)

_GAINS = {
    "linear": 1.0, "identity": 1.0, "sigmoid": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0,
    "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights grow to make up for what the nonlinearity shrinks: √2 for ReLU, 5/3 for tanh,
    √(2/(1 + a²)) for leaky ReLU with the slope a (`param`, 0.01 by default), 1 for linear and sigmoid."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise OptionError(
            f"calculate_gain: no nonlinearity {nonlinearity!r}; {', '.join([*_GAINS, 'leaky_relu'])} are known"
        )
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """fan_in and fan_out of a weight [out, in, …kernel]."""
    if tensor.ndim < 2:
        raise ShapeError(
            f"init: fan in and fan out need a weight with two dimensions or more, got shape {list(tensor.shape)}"
        )
    kernel = math.prod(tensor.shape[2:])
    return tensor.shape[1] * kernel, tensor.shape[0] * kernel


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise OptionError(f"init: mode is 'fan_in' or 'fan_out', not {mode!r}")
    return max(1, fans(tensor)[mode == "fan_out"])


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> T:
    """U(a, b)"""
    drawn = (generator or default_generator()).uniform(tensor.shape, a, b, tensor.dtype, tensor.device)
    return tensor.copy_(drawn)  # type: ignore[return-value]


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> T:
    """N(mean, std²)"""
    drawn = (generator or default_generator()).normal(tensor.shape, mean, std, tensor.dtype, tensor.device)
    return tensor.copy_(drawn)  # type: ignore[return-value]


def scaled_normal_(tensor: T, gain: float = 1.0, mode: str = "fan_in", generator: Generator | None = None) -> T:
    """N(0, gain²/n) with n = fan_in: keeps the size of a linear layer's signal."""
    return normal_(tensor, 0.0, gain / math.sqrt(_fan(tensor, mode)), generator)


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """U(−a, a) with a = gain √(6/(fan_in + fan_out))

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    a = gain * math.sqrt(6 / max(1, sum(fans(tensor))))
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """N(0, gain² · 2/(fan_in + fan_out)): between what forward and what backward asks for

    Source: Glorot and Bengio, 2010.
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2 / max(1, sum(fans(tensor)))), generator)


def kaiming_uniform_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """U(−b, b) with b = gain √(3/fan); `a` is the leaky slope from which the gain follows

    Source: He et al., "Delving deep into rectifiers", 2015.
    """
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """N(0, gain²/fan): with ReLU, 2/fan_in, since half the signal is cut off

    Source: He et al., 2015.
    """
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


def orthogonal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """A random matrix with orthonormal rows (or columns, if they are fewer), times the gain: keeps every length

    Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning", 2013.
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: needs two dimensions or more, got shape {list(tensor.shape)}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    drawn = (generator or default_generator()).normal((max(rows, columns), min(rows, columns)), dtype=np.float64)
    q, r = np.linalg.qr(drawn)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # makes the decomposition unique, and q uniformly distributed
    return tensor.copy_(gain * (q if rows >= columns else q.T).reshape(tensor.shape))  # type: ignore[return-value]


def constant_(tensor: T, val: float) -> T:
    """The same value everywhere"""
    return tensor.copy_(val)  # type: ignore[return-value]


def zeros_(tensor: T) -> T:
    """0"""
    return constant_(tensor, 0.0)


def ones_(tensor: T) -> T:
    """1"""
    return constant_(tensor, 1.0)
