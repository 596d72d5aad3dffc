"""Activations. What is a single operation is that operation."""

from __future__ import annotations

import math
from typing import Any

from ...errors import OptionError, ShapeError
from ...random import Generator, default_generator
from ...tensor import Tensor, record_of, wrap

relu, leaky_relu, elu = record_of("relu"), record_of("leaky_relu"), record_of("elu")
sigmoid, tanh, logsigmoid = record_of("sigmoid"), record_of("tanh"), record_of("log_sigmoid")
lecun_tanh, softsign, silu = record_of("lecun_tanh"), record_of("softsign"), record_of("silu")

_softmax, _log_softmax, _softplus = record_of("softmax"), record_of("log_softmax"), record_of("softplus")
_hardtanh, _prelu, _gelu, _clip = record_of("hardtanh"), record_of("prelu"), record_of("gelu"), record_of("clip")
_where, _abs, _exp, _split = record_of("where"), record_of("abs"), record_of("exp"), record_of("split")
_max, _multiply = record_of("max"), record_of("multiply")


def softmax(input: Tensor, dim: int = -1) -> Tensor:
    """yᵢ = e^(xᵢ) / Σⱼ e^(xⱼ) along the axis `dim`"""
    return _softmax(input, axis=dim)


def softmin(input: Tensor, dim: int = -1) -> Tensor:
    """yᵢ = e^(−xᵢ) / Σⱼ e^(−xⱼ) along the axis `dim`"""
    return _softmax(-input, axis=dim)


def log_softmax(input: Tensor, dim: int = -1) -> Tensor:
    """yᵢ = xᵢ − ln Σⱼ e^(xⱼ) along the axis `dim`"""
    return _log_softmax(input, axis=dim)


def softplus(input: Tensor, beta: float = 1.0) -> Tensor:
    """y = ln(1 + e^(βx))/β"""
    return _softplus(input) if beta == 1 else _softplus(input * beta) / beta


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """y = x where x > 0, else a x, with one slope a for all or one a channel

    Shapes: x [batch, channels, …] or [channels], a [channels], [1] or [].
    Source: He et al., "Delving deep into rectifiers", 2015.
    """
    channels = input.shape[min(1, input.ndim - 1)] if input.ndim else 1
    if weight.ndim > 1 or (weight.size != 1 and weight.size != channels):
        raise ShapeError(
            f"prelu: weight is one slope or one a channel, {channels} here; got shape {list(weight.shape)} for an "
            f"input of shape {list(input.shape)}"
        )
    if weight.size == 1:
        return _prelu(input, weight.reshape(()) if weight.ndim else weight)
    return _prelu(input, weight.reshape((channels,) + (1,) * (input.ndim - 2)) if input.ndim > 2 else weight)


def selu(input: Tensor) -> Tensor:
    """y = 1.0507 (x where x > 0, else 1.6733 (eˣ − 1)): a net of these draws its signals to mean 0 and variance 1

    Source: Klambauer et al., "Self-normalizing neural networks", 2017.
    """
    return elu(input, alpha=1.6732632423543772848170429916717) * 1.0507009873554804934193349852946


def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """y = x where x > 0, else α(e^(x/α) − 1)

    Source: Barron, "Continuously differentiable exponential linear units", 2017.
    """
    if alpha == 0:
        raise OptionError("celu: alpha must not be 0")
    return elu(input) if alpha == 1 else elu(input / alpha) * alpha if alpha > 0 else _where(
        input > 0, input, (_exp(input / alpha) - 1) * alpha
    )  # fmt: skip


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """y = x Φ(x) with the normal distribution's Φ; with approximate="tanh" x σ(√(8/π) (x + 0.044715 x³))

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    """
    if approximate == "none":
        return _gelu(input)
    if approximate != "tanh":
        raise OptionError(f"gelu: approximate is 'none' or 'tanh', not {approximate!r}")
    return input * sigmoid((input + input * input * input * 0.044715) * math.sqrt(8 / math.pi))


def mish(input: Tensor) -> Tensor:
    """y = x tanh(ln(1 + eˣ))"""
    return input * tanh(_softplus(input))


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """y = x between min_val and max_val, which it does not leave"""
    return _hardtanh(input, min_val=min_val, max_val=max_val)


def relu6(input: Tensor) -> Tensor:
    """y = min(max(0, x), 6)"""
    return _hardtanh(input, min_val=0.0, max_val=6.0)


def hardsigmoid(input: Tensor) -> Tensor:
    """y = min(max(0, x + 3), 6)/6: straight between −3 and 3, where the sigmoid nearly is"""
    return _hardtanh(input + 3, min_val=0.0, max_val=6.0) / 6


def hardswish(input: Tensor) -> Tensor:
    """y = x min(max(0, x + 3), 6)/6

    Source: Howard et al., "Searching for MobileNetV3", 2019.
    """
    return input * hardsigmoid(input)


def tanhshrink(input: Tensor) -> Tensor:
    """y = x − tanh x"""
    return input - tanh(input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """y = x moved towards 0 by λ, and 0 within λ of it"""
    if lambd < 0:
        raise OptionError(f"softshrink: lambd must not be negative, got {lambd!r}")
    return input - _clip(input, min=-lambd, max=lambd)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """y = x where |x| > λ, else 0"""
    return _where(_abs(input.detach()) > lambd, input, 0.0)


def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """y = x where x > threshold, else the value"""
    return _where(input > threshold, input, float(value))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """y = a σ(b) for the two halves a and b of x along the axis `dim`

    Source: Dauphin et al., "Language modeling with gated convolutional networks", 2017.
    """
    if not -input.ndim <= dim < input.ndim or input.shape[dim] % 2:
        raise ShapeError(f"glu: axis {dim} must have two halves, the input has shape {list(input.shape)}")
    a, b = _split(input, sections=2, axis=dim)
    return a * sigmoid(b)


def maxout(input: Tensor, pieces: int) -> Tensor:
    """yᵢ = maxⱼ xᵢⱼ: the largest of each run of `pieces` entries

    Shapes: x [..., features · pieces], y [..., features].
    Source: Goodfellow et al., "Maxout networks", 2013.
    """
    if not input.ndim or pieces < 1 or input.shape[-1] % pieces:
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
    if not training:
        return relu(input)
    if noise is None:
        drawn = (generator or default_generator()).normal(input.shape, dtype=input.dtype, device=input.device)
        noise = wrap(drawn, None)
    scale: Any = _exp(logsigmoid(input) * 0.5) if std is None else std
    return relu(input + _multiply(noise, scale))
