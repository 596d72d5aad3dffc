"""Activations. What is a single operation is that operation."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ...errors import DTypeError, OptionError, ShapeError
from ...random import Generator, default_generator
from ...tensor import Tensor, record_of, wrap
from .checks import in_place, number, tensor

lecun_tanh = record_of("lecun_tanh")
_relu, _leaky_relu, _elu, _silu = record_of("relu"), record_of("leaky_relu"), record_of("elu"), record_of("silu")
_sigmoid, _tanh = record_of("sigmoid"), record_of("tanh")
_log_sigmoid, _softsign = record_of("log_sigmoid"), record_of("softsign")
_softmax, _log_softmax, _softplus = record_of("softmax"), record_of("log_softmax"), record_of("softplus")
_hardtanh, _prelu, _gelu, _clip = record_of("hardtanh"), record_of("prelu"), record_of("gelu"), record_of("clip")
_where, _abs, _exp, _split = record_of("where"), record_of("abs"), record_of("exp"), record_of("split")
_max, _multiply = record_of("max"), record_of("multiply")


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = max(0, x); with `inplace`, here and below, y is written into the input too, which is returned

    In place nothing is lost: what the gradient needs of the old values is kept.
    Raises: GraphError in place, for a leaf that wants a gradient, and for a view of another tensor.
    """
    return _relu(input) if not inplace else in_place("relu", input, _relu(input))


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """y = x where x > 0, else a x with a = negative_slope"""
    y = _leaky_relu(input, negative_slope)
    return y if not inplace else in_place("leaky_relu", input, y)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """y = x where x > 0, else α(eˣ − 1)"""
    return _elu(input, alpha) if not inplace else in_place("elu", input, _elu(input, alpha))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = x σ(x)"""
    return _silu(input) if not inplace else in_place("silu", input, _silu(input))


def sigmoid(input: Tensor) -> Tensor:
    """y = 1/(1 + e⁻ˣ)"""
    return _sigmoid(input)


def logsigmoid(input: Tensor) -> Tensor:
    """y = ln σ(x)"""
    return _log_sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """y = tanh x"""
    return _tanh(input)


def softsign(input: Tensor) -> Tensor:
    """y = x/(1 + |x|)"""
    return _softsign(input)


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """yᵢ = e^(xᵢ) / Σⱼ e^(xⱼ) along the axis `dim`, of the dtype `dtype` if one is named

    Name `dim`. Without it PyTorch's old rule holds, with a warning: the axis 0 of 0, 1 or 3 dimensions, else 1.
    """
    return _along("softmax", _softmax, input, dim, _stacklevel, dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """yᵢ = e^(−xᵢ) / Σⱼ e^(−xⱼ) along the axis `dim`; without `dim` as for `softmax`"""
    return _along("softmin", _softmin, input, dim, _stacklevel, dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """yᵢ = xᵢ − ln Σⱼ e^(xⱼ) along the axis `dim`; without `dim` as for `softmax`"""
    return _along("log_softmax", _log_softmax, input, dim, _stacklevel, dtype)


def _softmin(input: Tensor, axis: int) -> Tensor:
    return _softmax(-input, axis=axis)


def _along(name: str, function: Any, input: Tensor, dim: int | None, level: int, dtype: Any) -> Tensor:
    tensor(name, "input", input)
    if dtype is not None:
        input = input.astype(dtype)
    if dim is None:
        dim = 0 if input.ndim in (0, 1, 3) else 1
        warnings.warn(
            f"{name}: no dim is named; as in PyTorch, {input.ndim} dimensions mean the axis {dim}. Write dim={dim}, or "
            "dim=-1 for the last axis",
            stacklevel=level,
        )
    if not input.ndim and dim in (0, -1):
        return function(input.reshape((1,)), axis=0).reshape(())
    return function(input, axis=dim)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """y = ln(1 + e^(βx))/β, and x itself where βx > threshold

    This is stable for every x, so the threshold is PyTorch's only where it changes something: from 20 on x and
    ln(1 + eˣ) are closer than 2.1·10⁻⁹, and the second is taken.
    """
    tensor("softplus", "input", input)
    number("softplus: beta", beta)
    number("softplus: threshold", threshold)
    y = _softplus(input) if beta == 1 else _softplus(input * beta) / beta
    return y if threshold >= 20 else _where(input.detach() * beta > threshold, input, y)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """y = x where x > 0, else a x, with one slope a for all or one a channel

    Shapes: x [batch, channels, …] or [channels], a [channels], [1] or [].
    Source: He et al., "Delving deep into rectifiers", 2015.
    """
    tensor("prelu", "input", input)
    if not isinstance(weight, Tensor):
        raise DTypeError(f"prelu: the weight must be a Tensor, not {type(weight).__name__}; leaky_relu takes a number")
    channels = input.shape[min(1, input.ndim - 1)] if input.ndim else 1
    if weight.ndim > 1 or (weight.size != 1 and weight.size != channels):
        raise ShapeError(
            f"prelu: weight is one slope or one a channel, {channels} here; got shape {list(weight.shape)} for an "
            f"input of shape {list(input.shape)}"
        )
    if weight.size == 1:
        return _prelu(input, weight.reshape(()) if weight.ndim else weight)
    return _prelu(input, weight.reshape((channels,) + (1,) * (input.ndim - 2)) if input.ndim > 2 else weight)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = 1.0507 (x where x > 0, else 1.6733 (eˣ − 1)): a net of these draws its signals to mean 0 and variance 1

    Source: Klambauer et al., "Self-normalizing neural networks", 2017.
    """
    tensor("selu", "input", input)
    y = _elu(input, alpha=1.6732632423543772848170429916717) * 1.0507009873554804934193349852946
    return y if not inplace else in_place("selu", input, y)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """y = x where x > 0, else α(e^(x/α) − 1)

    Source: Barron, "Continuously differentiable exponential linear units", 2017.
    """
    tensor("celu", "input", input)
    number("celu: alpha", alpha)
    if alpha == 0:
        raise OptionError("celu: alpha must not be 0")
    y = _elu(input) if alpha == 1 else _elu(input / alpha) * alpha if alpha > 0 else _where(
        input > 0, input, (_exp(input / alpha) - 1) * alpha
    )  # fmt: skip
    return y if not inplace else in_place("celu", input, y)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """y = x Φ(x) with the normal distribution's Φ; with approximate="tanh" x σ(√(8/π) (x + 0.044715 x³))

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    """
    tensor("gelu", "input", input)
    if approximate == "none":
        return _gelu(input)
    if approximate != "tanh":
        raise OptionError(f"gelu: approximate is 'none' or 'tanh', not {approximate!r}")
    return input * _sigmoid((input + input * input * input * 0.044715) * math.sqrt(8 / math.pi))


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """y = x tanh(ln(1 + eˣ))"""
    tensor("mish", "input", input)
    y = input * _tanh(_softplus(input))
    return y if not inplace else in_place("mish", input, y)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """y = x between min_val and max_val, which it does not leave"""
    try:
        right = min_val <= max_val
    except TypeError:
        right = False
    if not right:
        raise OptionError(f"hardtanh: wants numbers, min_val not above max_val; got {min_val!r} and {max_val!r}")
    y = _hardtanh(input, min_val=min_val, max_val=max_val)
    return y if not inplace else in_place("hardtanh", input, y)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """y = min(max(0, x), 6)"""
    y = _hardtanh(input, min_val=0.0, max_val=6.0)
    return y if not inplace else in_place("relu6", input, y)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """y = min(max(0, x + 3), 6)/6: straight between −3 and 3, where the sigmoid nearly is"""
    tensor("hardsigmoid", "input", input)
    y = _hardtanh(input + 3, min_val=0.0, max_val=6.0) / 6
    return y if not inplace else in_place("hardsigmoid", input, y)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """y = x min(max(0, x + 3), 6)/6

    Source: Howard et al., "Searching for MobileNetV3", 2019.
    """
    tensor("hardswish", "input", input)
    y = input * hardsigmoid(input)
    return y if not inplace else in_place("hardswish", input, y)


def tanhshrink(input: Tensor) -> Tensor:
    """y = x − tanh x"""
    tensor("tanhshrink", "input", input)
    return input - _tanh(input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """y = x moved towards 0 by λ, and 0 within λ of it"""
    tensor("softshrink", "input", input)
    number("softshrink: lambd", lambd, 0)
    return input - _clip(input, min=-lambd, max=lambd)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """y = x where |x| > λ, else 0"""
    tensor("hardshrink", "input", input)
    number("hardshrink: lambd", lambd)
    return _where(_abs(input.detach()) > lambd, input, 0.0)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """y = x where x > threshold, else the value"""
    tensor("threshold", "input", input)
    number("threshold: threshold", threshold)
    y = _where(input > threshold, input, float(number("threshold: value", value)))
    return y if not inplace else in_place("threshold", input, y)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """y = a σ(b) for the two halves a and b of x along the axis `dim`

    Source: Dauphin et al., "Language modeling with gated convolutional networks", 2017.
    """
    tensor("glu", "input", input)
    if not -input.ndim <= number("glu: dim", dim) < input.ndim or input.shape[dim] % 2:
        raise ShapeError(f"glu: axis {dim} must have two halves, the input has shape {list(input.shape)}")
    a, b = _split(input, sections=2, axis=dim)
    return a * _sigmoid(b)


def maxout(input: Tensor, pieces: int) -> Tensor:
    """yᵢ = maxⱼ xᵢⱼ: the largest of each run of `pieces` entries

    Shapes: x [..., features · pieces], y [..., features].
    Source: Goodfellow et al., "Maxout networks", 2013.
    """
    tensor("maxout", "input", input)
    if not input.ndim or number("maxout: pieces", pieces) < 1 or input.shape[-1] % pieces:
        raise ShapeError(f"maxout: the last axis must divide into {pieces} each, the input is {list(input.shape)}")
    return _max(input.reshape((*input.shape[:-1], input.shape[-1] // pieces, pieces)), axis=-1)


def noisy_relu(
    input: Tensor,
    std: float | None = None,
    training: bool = True,
    *,
    noise: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """y = max(0, x + s n), with a standard normal n in training and without noise otherwise

    With `std` s is that (the first lecture's form, max(0, xᵢ + nᵢ)). Without it the noise has the variance σ(x) (the
    other lecture's form, max(0, x + N(0, σ(x))), Nair and Hinton's): s = e^(½ ln σ(x)), a function of x through which
    the gradient flows. `noise` takes the place of a drawn n.

    Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010, section 2.
    """
    tensor("noisy_relu", "input", input)
    if std is not None:
        number("noisy_relu: std", std, 0)
    if not training:
        return _relu(input)
    if noise is None:
        drawn = (generator or default_generator()).normal(input.shape, dtype=input.dtype, device=input.device)
        noise = wrap(drawn, None)
    scale: Any = _exp(_log_sigmoid(input) * 0.5) if std is None else std
    return _relu(input + _multiply(noise, scale))
