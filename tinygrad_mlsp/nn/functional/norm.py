"""Normalization: mean 0 and variance 1 along some axes, then a scale and a shift."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...backend import space_of
from ...errors import OptionError, ShapeError
from ...tensor import Tensor, record_of, wrap
from .checks import number, tensor

_standardize, _mean, _sqrt = record_of("standardize"), record_of("mean"), record_of("sqrt")
_pad, _clip, _norm = record_of("pad"), record_of("clip"), record_of("vector_norm")


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = w (x − μ)/√(v + ε) + b, channel by channel

    In training μ and v are the batch's own mean and variance, and the gradient flows through them; the running ones
    move towards them by `momentum` (the variance without bias, n/(n − 1) v). Otherwise they are the running ones.
    The running statistics get new arrays; the old ones are not written, so graphs that use them stay valid.

    Shapes: x [batch, channels, …], all else [channels].
    An empty batch gives an empty y, and leaves the running statistics as they are.
    Raises: ShapeError in training with one value a channel, whose variance says nothing.
    Source: Ioffe and Szegedy, "Batch normalization", 2015.
    """
    tensor("batch_norm", "input", input)
    if input.ndim < 2:
        raise ShapeError(f"batch_norm: wants [batch, channels, ...], got shape {list(input.shape)}")
    channels = input.shape[1]
    beside = (1, channels) + (1,) * (input.ndim - 2)  # a channel's number beside its entries
    if training:
        if not input.size:
            running_mean = running_var = None
        elif input.size == channels:
            raise ShapeError(f"batch_norm: training needs more than one value a channel, got shape {list(input.shape)}")
        y, mean, variance = _standardize(input, axis=(0, *range(2, input.ndim)), eps=eps)
        n = input.size // max(1, channels)
        if running_mean is not None:
            running_mean.data = _towards(running_mean, mean, momentum, 1.0)
        if running_var is not None:
            running_var.data = _towards(running_var, variance, momentum, n / max(1, n - 1))
    elif running_mean is None or running_var is None:
        raise OptionError("batch_norm: without training it needs running_mean and running_var")
    else:
        xp = space_of(input._array)
        scale = wrap(1 / xp.sqrt(running_var._array + eps), None)
        if input.ndim == 2 and weight is not None and bias is not None:  # the usual case in the fewest operations
            scale = weight * scale
            return input * scale + (bias - running_mean.detach() * scale)
        y = (input - running_mean.detach().reshape(beside)) * scale.reshape(beside)
    if weight is not None:
        y = y * (weight if input.ndim == 2 else weight.reshape(beside))
    if bias is not None:
        y = y + (bias if input.ndim == 2 else bias.reshape(beside))
    return y


def _towards(running: Tensor, now: Tensor, momentum: float, factor: float) -> Any:
    return running._array * (1 - momentum) + now._array.reshape(running.shape) * (momentum * factor)


def layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """y = w (x − μ)/√(v + ε) + b, with mean μ and variance v over the last axes, those of `normalized_shape`

    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.
    """
    y = _standardize(input, axis=_last(input, normalized_shape, "layer_norm"), eps=eps)[0]
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def _last(input: Tensor, normalized_shape: Any, name: str) -> tuple[int, ...]:
    tensor(name, "input", input)
    shape = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    if not shape or input.shape[-len(shape) :] != shape:
        raise ShapeError(f"{name}: the input must end with {list(shape)}, got shape {list(input.shape)}")
    return tuple(range(-len(shape), 0))


def rms_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:  # fmt: skip
    """y = w x/√(mean x² + ε) over the last axes; ε is the dtype's own, where none is given

    Source: Zhang and Sennrich, "Root mean square layer normalization", 2019.
    """
    axes = _last(input, normalized_shape, "rms_norm")
    eps = float(np.finfo(input.dtype).eps) if eps is None else eps
    y = input / _sqrt(_mean(input * input, axis=axes, keepdims=True) + eps)
    return y if weight is None else y * weight


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """y = w (x − μ)/√(v + ε) + b, with mean μ and variance v of a sample's group of channels; w and b are channels' own

    Shapes: x [batch, channels, …], weight and bias [channels].
    Source: Wu and He, "Group normalization", 2018.
    """
    tensor("group_norm", "input", input)
    if input.ndim < 2 or number("group_norm: num_groups", num_groups) < 1 or input.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm: wants [batch, channels, ...] with channels in {num_groups} groups, got {list(input.shape)}"
        )
    if input.size == num_groups:
        raise ShapeError(f"group_norm: one sample with one value a group says nothing, got shape {list(input.shape)}")
    groups = input.reshape((input.shape[0], num_groups, math.prod(input.shape[1:]) // num_groups))
    y = _standardize(groups, axis=-1, eps=eps)[0].reshape(input.shape)
    return _by_channel(y, weight, bias)


def _by_channel(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    beside = (-1,) + (1,) * (y.ndim - 2)
    if weight is not None:
        y = y * weight.reshape(beside)
    return y if bias is None else y + bias.reshape(beside)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = w (x − μ)/√(v + ε) + b, with mean μ and variance v of each channel of each sample

    Running statistics, if there are any, move towards the batch's average of these; without `use_input_stats` they
    take their place.
    Shapes: x [batch, channels, …], all else [channels].
    Source: Ulyanov, Vedaldi and Lempitsky, "Instance normalization", 2016.
    """
    tensor("instance_norm", "input", input)
    if input.ndim < 3:
        raise ShapeError(f"instance_norm: wants [batch, channels, length, ...], got shape {list(input.shape)}")
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    n = math.prod(input.shape[2:])
    if n < 2:
        raise ShapeError(f"instance_norm: needs more than one value a channel, got shape {list(input.shape)}")
    y, mean, variance = _standardize(input, axis=tuple(range(2, input.ndim)), eps=eps)
    for running, now, factor in ((running_mean, mean, 1.0), (running_var, variance, n / (n - 1))):
        if running is not None:
            running.data = _towards(running, wrap(now._array.mean(axis=0), None), momentum, factor)
    return _by_channel(y, weight, bias)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:  # fmt: skip
    """y = x/(k + α/size Σ x²)^β, the sum over the `size` channels around a channel: neighbours inhibit each other

    Shapes: x [batch, channels, …].
    Source: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional networks", 2012, 3.3,
    with α/size for their α, as in PyTorch.
    """
    tensor("local_response_norm", "input", input)
    if input.ndim < 2 or number("local_response_norm: size", size) < 1:
        raise ShapeError(
            f"local_response_norm: wants [batch, channels, ...] and size from 1 on, got {list(input.shape)}, {size}"
        )
    around = [(0, 0)] * input.ndim
    around[1] = (size // 2, (size - 1) // 2)
    squares = _pad(input * input, pad_width=tuple(around), constant_values=0)
    total = squares[:, : input.shape[1]]
    for i in range(1, size):
        total = total + squares[:, i : i + input.shape[1]]
    return input / (total * (alpha / size) + k) ** beta


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """y = x/max(‖x‖ₚ, ε) along the axis `dim`"""
    number("normalize: p", p)
    return input / _clip(_norm(input, axis=dim, keepdims=True, ord=p), min=eps, max=None)
