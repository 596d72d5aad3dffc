"""The layers' functions, with PyTorch's names and arguments. What is a single operation is that operation."""

from __future__ import annotations

from typing import Any

from ..backend import space_of
from ..errors import DTypeError, IndexingError, OptionError, ShapeError
from ..namespace import asarray, moveaxis
from ..random import Generator, default_generator
from ..tensor import Tensor, record_of, wrap

relu, leaky_relu, elu = record_of("relu"), record_of("leaky_relu"), record_of("elu")
sigmoid, tanh, logsigmoid = record_of("sigmoid"), record_of("tanh"), record_of("log_sigmoid")
linear = record_of("linear")

_softmax, _log_softmax, _softplus = record_of("softmax"), record_of("log_softmax"), record_of("softplus")
_standardize, _cross_entropy, _where = record_of("standardize"), record_of("cross_entropy"), record_of("where")
_sum, _mean, _multiply, _squeeze = record_of("sum"), record_of("mean"), record_of("multiply"), record_of("squeeze")
_expand_dims, _take, _take_along_axis = record_of("expand_dims"), record_of("take"), record_of("take_along_axis")
_binary_cross_entropy = record_of("binary_cross_entropy_with_logits")


def softmax(input: Tensor, dim: int = -1) -> Tensor:
    """yᵢ = e^(xᵢ) / Σⱼ e^(xⱼ) along the axis `dim`"""
    return _softmax(input, axis=dim)


def log_softmax(input: Tensor, dim: int = -1) -> Tensor:
    """yᵢ = xᵢ − ln Σⱼ e^(xⱼ) along the axis `dim`"""
    return _log_softmax(input, axis=dim)


def softplus(input: Tensor, beta: float = 1.0) -> Tensor:
    """y = ln(1 + e^(βx))/β"""
    return _softplus(input) if beta == 1 else _softplus(input * beta) / beta


# Noise and normalization


def dropout_mask(
    shape: tuple[int, ...], p: float = 0.5, generator: Generator | None = None, device: str = "cpu"
) -> Tensor:
    """A mask for `dropout`: True, with probability 1 − p, where an entry is kept."""
    _check_probability(p)
    return wrap((generator or default_generator()).bernoulli(1 - p, shape, device), None)


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    mask: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """y = x m/(1 − p) with a random mask m that is 0 with probability p, so that the mean stays x; x if not training

    `mask` (True where an entry is kept) takes the place of a drawn one: the same mask, the same result.
    Source: Srivastava et al., "Dropout", 2014.
    """
    _check_probability(p)
    if not training or (p == 0 and mask is None):
        return input
    if mask is None:
        mask = dropout_mask(input.shape, p, generator, input.device)
    elif not isinstance(mask, Tensor) or mask.dtype.kind != "b":
        raise DTypeError("dropout: mask must be a Tensor of booleans, True where an entry is kept")
    kept = mask._array.astype(input.dtype)
    if p < 1:
        kept *= 1 / (1 - p)
    return _multiply(input, wrap(kept, None))


def _check_probability(p: float) -> None:
    try:
        right = 0 <= p <= 1
    except TypeError:
        right = False
    if not right:
        raise OptionError(f"dropout: p must be a probability from 0 to 1, got {p!r}")


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
    Raises: ShapeError in training with one value a channel, whose variance says nothing.
    Source: Ioffe and Szegedy, "Batch normalization", 2015.
    """
    if input.ndim < 2:
        raise ShapeError(f"batch_norm: wants [batch, channels, ...], got shape {list(input.shape)}")
    channels = input.shape[1]
    beside = (1, channels) + (1,) * (input.ndim - 2)  # a channel's number beside its entries
    if training:
        if channels and input.size <= channels:
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


# Losses


def _reduce(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return _mean(losses)
    if reduction == "sum":
        return _sum(losses)
    if reduction == "none":
        return losses
    raise OptionError(f"reduction is 'mean', 'sum' or 'none', not {reduction!r}")


def _given(name: str, argument: str, value: Any, input: Tensor) -> Tensor:
    """An argument of a loss as a Tensor, where the input is."""
    if isinstance(value, Tensor):
        return value
    try:
        return asarray(value, device=input.device)
    except (DTypeError, ShapeError) as error:
        raise type(error)(f"{name}: the {argument} must be a Tensor or numbers; {error}") from None


def _factor(name: str, argument: str, value: Any, input: Tensor) -> Tensor | None:
    """A weight as a Tensor of floats."""
    if value is None:
        return None
    value = _given(name, argument, value, input)
    return value if value.dtype.kind == "f" else value.astype(input.dtype)


def _beside(name: str, input: Tensor, target: Any) -> Tensor:
    """The target as a Tensor of the input's shape and dtype."""
    target = _given(name, "target", target, input)
    if target.shape != input.shape:
        raise ShapeError(
            f"{name}: the target has shape {list(target.shape)}, the input {list(input.shape)}; they must be equal "
            "(reshape one: broadcasting here is nearly always a mistake)"
        )
    return target if target.dtype == input.dtype else target.astype(input.dtype)


def mse_loss(input: Tensor, target: Any, *, reduction: str = "mean") -> Tensor:
    """L = mean (x − t)²"""
    difference = input - _beside("mse_loss", input, target)
    return _reduce(difference * difference, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Any,
    weight: Any = None,
    *,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """L = mean −t ln σ(x) − (1 − t) ln(1 − σ(x)), in nats; the first term times `pos_weight`, all times `weight`"""
    name = "binary_cross_entropy_with_logits"
    target = _beside(name, input, target)
    weight, pos_weight = _factor(name, "weight", weight, input), _factor(name, "pos_weight", pos_weight, input)
    if pos_weight is None:
        losses = _binary_cross_entropy(input, target)
    else:
        losses = (1 - target) * input + (1 + (pos_weight - 1) * target) * _softplus(-input)
    return _reduce(losses if weight is None else losses * weight, reduction)


def cross_entropy(
    input: Tensor,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """L = mean −ln softmax(x)[target], in nats

    The target is a class number a sample, or, as floats of x's shape, a probability a class. `weight` is a factor a
    class, by which a mean over class numbers is divided again; samples with the class `ignore_index` count nothing.
    `label_smoothing` ε moves the target towards equal probabilities: (1 − ε) t + ε/classes.

    Shapes: x [batch, classes, …] or [classes], target [batch, …] or x's.
    Raises: ShapeError, DTypeError, and IndexingError for a class that is not there.
    """
    if not 0 <= label_smoothing <= 1:
        raise OptionError(f"cross_entropy: label_smoothing must be from 0 to 1, got {label_smoothing!r}")
    weight = _factor("cross_entropy", "weight", weight, input)
    target, logits = _classes("cross_entropy", input, target, weight)
    if target.dtype.kind == "f":
        if ignore_index >= 0:
            raise OptionError(
                f"cross_entropy: ignore_index={ignore_index} wants a target of class numbers, not of probabilities"
            )
        target = target if target.dtype == logits.dtype else target.astype(logits.dtype)
        if label_smoothing:
            target = target * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
        losses = -_sum((target if weight is None else target * weight) * _log_softmax(logits), axis=-1)
        return _reduce(losses, reduction)
    target, valid = _valid("cross_entropy", target, ignore_index, logits.shape[-1])
    if not label_smoothing:
        return _weighted(_named("cross_entropy", _cross_entropy, logits, target), target, weight, valid, reduction)
    logp = _log_softmax(logits)
    smooth = -_sum(logp if weight is None else logp * weight, axis=-1) * (label_smoothing / logits.shape[-1])
    picked = _named("cross_entropy", _pick, logp, target) * (1 - label_smoothing)
    return _weighted(picked, target, weight, valid, reduction, smooth)


def nll_loss(
    input: Tensor, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """L = mean −x[target]: cross-entropy for x that are logarithms of probabilities already

    Shapes: x [batch, classes, …] or [classes], target [batch, …].
    """
    weight = _factor("nll_loss", "weight", weight, input)
    target, logp = _classes("nll_loss", input, target, weight)
    if target.dtype.kind == "f":
        raise DTypeError(f"nll_loss: the target must be class numbers (integers), not {target.dtype}")
    target, valid = _valid("nll_loss", target, ignore_index, logp.shape[-1])
    return _weighted(_named("nll_loss", _pick, logp, target), target, weight, valid, reduction)


def _classes(name: str, input: Tensor, target: Any, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """The target as a Tensor, and the input with its classes last, as the target if that is of floats."""
    target = _given(name, "target", target, input)
    kind, shape = target.dtype.kind, input.shape
    if not shape:
        raise ShapeError(f"{name}: the input has no axis of classes, its shape is []")
    samples = shape[:1] + shape[2:] if len(shape) > 1 else ()
    if kind not in "iuf":
        raise DTypeError(
            f"{name}: the target must be class numbers (integers) or probabilities (floats), not {target.dtype}"
        )
    if target.shape != (shape if kind == "f" else samples):
        other = (
            f"; class numbers must be integers, these are {target.dtype}"
            if kind == "f" and target.shape == samples
            else ""
        )
        raise ShapeError(
            f"{name}: for an input of shape {list(shape)} (classes on axis {min(1, len(shape) - 1)}) the target is "
            f"{list(samples)} class numbers or {list(shape)} probabilities, got {list(target.shape)}{other}"
        )
    if weight is not None and weight.shape != (shape[min(1, len(shape) - 1)],):
        raise ShapeError(
            f"{name}: weight has shape {list(weight.shape)}, the input has {shape[min(1, len(shape) - 1)]} classes"
        )
    if len(shape) > 2:
        return (moveaxis(target, 1, -1) if kind == "f" else target), moveaxis(input, 1, -1)
    return target, input


def _valid(name: str, target: Tensor, ignore_index: int, classes: int) -> tuple[Tensor, Any]:
    """The target with class 0 for ignored samples, and which are not ignored (None for all)."""
    array = target._array
    xp = space_of(array)
    if not array.size or (ignore_index < 0 and (array.dtype.kind == "u" or xp.min(array) >= 0)):
        return target, None
    ignored = array == ignore_index
    array = xp.where(ignored, 0, array)
    if array.min() < 0:
        raise IndexingError(f"{name}: the target has class {int(array.min())}; classes are 0 to {classes - 1}")
    return wrap(array, None), xp.logical_not(ignored)


def _named(name: str, function: Any, scores: Tensor, target: Tensor) -> Tensor:
    try:
        return function(scores, target)
    except IndexingError:
        wrong, classes = int(target._array.max()), scores.shape[-1]
        raise IndexingError(f"{name}: the target has class {wrong}; classes are 0 to {classes - 1}") from None


def _pick(logp: Tensor, target: Tensor) -> Tensor:
    return -_squeeze(_take_along_axis(logp, _expand_dims(target, axis=-1), axis=-1), axis=-1)


def _weighted(
    losses: Tensor, target: Tensor, weight: Tensor | None, valid: Any, reduction: str, smooth: Tensor | None = None
) -> Tensor:
    """The losses with their classes' weights, reduced; the mean is one of those weights. `smooth` has its own."""
    if weight is None and valid is None:
        return _reduce(losses if smooth is None else losses + smooth, reduction)
    if weight is not None:
        shares = _take(weight, target, axis=0)
        losses = losses * shares
    else:
        shares = wrap(space_of(losses._array).ones_like(losses._array), None)
    if smooth is not None:
        losses = losses + smooth
    if valid is not None:
        losses = _where(wrap(valid, None), losses, 0.0)
        shares = _where(wrap(valid, None), shares, 0.0)
    return _sum(losses) / _sum(shares) if reduction == "mean" else _reduce(losses, reduction)
