"""Losses. Each entry's loss, then `reduction`: "mean", "sum", or "none", which leaves them.

`size_average` and `reduce` are PyTorch's older arguments for the same, which are taken with a warning.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...backend import space_of
from ...errors import DTypeError, IndexingError, OptionError, ShapeError
from ...namespace import asarray, moveaxis
from ...record import named
from ...tensor import Tensor, record_of, wrap
from .checks import number, reduction_of, tensor

_log_softmax, _softplus, _cross_entropy = record_of("log_softmax"), record_of("softplus"), record_of("cross_entropy")
_binary_cross_entropy, _where = record_of("binary_cross_entropy_with_logits"), record_of("where")
_sum, _mean, _squeeze = record_of("sum"), record_of("mean"), record_of("squeeze")
_expand_dims, _take, _take_along_axis = record_of("expand_dims"), record_of("take"), record_of("take_along_axis")
_abs, _clip, _exp, _log, _sqrt = (record_of(name) for name in ("abs", "clip", "exp", "log", "sqrt"))
_xlogy, _maximum, _relu, _norm = (record_of(name) for name in ("xlogy", "maximum", "relu", "vector_norm"))
_plain_binary_cross_entropy = record_of("binary_cross_entropy")


def _reduce(losses: Tensor, reduction: str, name: str = "loss") -> Tensor:
    if reduction == "mean":
        return _mean(losses)
    if reduction == "sum":
        return _sum(losses)
    reduction_of(name, reduction)
    return losses


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
    tensor(name, "input", input)
    value = _given(name, argument, value, input)
    return value if value.dtype.kind == "f" else value.astype(input.dtype)


def _beside(name: str, input: Tensor, target: Any) -> Tensor:
    """The target as a Tensor of the input's shape and dtype."""
    tensor(name, "input", input)
    target = _given(name, "target", target, input)
    if target.shape != input.shape:
        raise ShapeError(
            f"{name}: the target has shape {list(target.shape)}, the input {list(input.shape)}; they must be equal "
            "(reshape one: broadcasting here is nearly always a mistake)"
        )
    return target if target.dtype == input.dtype else target.astype(input.dtype)


def mse_loss(
    input: Tensor, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Any = None,
) -> Tensor:  # fmt: skip
    """L = mean (x − t)²; with a `weight` of x's shape Σ w (x − t)² / Σ w"""
    if size_average is not None or reduce is not None:
        reduction = reduction_of("mse_loss", reduction, size_average, reduce)
    difference = input - _beside("mse_loss", input, target)
    return _times("mse_loss", difference * difference, weight, reduction)


def l1_loss(
    input: Tensor, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Any = None,
) -> Tensor:  # fmt: skip
    """L = mean |x − t|, with the slope 0 at x = t; with a `weight` of x's shape Σ w |x − t| / Σ w"""
    if size_average is not None or reduce is not None:
        reduction = reduction_of("l1_loss", reduction, size_average, reduce)
    return _times("l1_loss", _abs(input - _beside("l1_loss", input, target)), weight, reduction)


def _times(name: str, losses: Tensor, weight: Any, reduction: str, by_weight: bool = True) -> Tensor:
    """The losses times a weight each, reduced; the mean is the weights' own, or one of all entries."""
    if weight is None:
        return _reduce(losses, reduction, name)
    weight = _factor(name, "weight", weight, losses)
    if weight.shape != losses.shape:
        raise ShapeError(f"{name}: weight has shape {list(weight.shape)}, the input {list(losses.shape)}")
    if reduction == "mean" and by_weight:
        return _sum(losses * weight) / _sum(weight)
    return _reduce(losses * weight, reduction, name)


def huber_loss(input: Tensor, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Tensor:
    """L = mean c (d − c/2) with d = x − t and c = d cut to ±δ: ½ d² near 0, δ (|d| − δ/2) beyond; its slope is c

    A `weight` of x's shape is a factor each; a mean is over the entries, as in PyTorch, not over the weights.
    Source: Huber, "Robust estimation of a location parameter", 1964.
    """
    if not number("huber_loss: delta", delta, 0) > 0:
        raise OptionError(f"huber_loss: delta must be positive, got {delta!r}")
    losses = _huber(input - _beside("huber_loss", input, target), delta)
    return _times("huber_loss", losses, weight, reduction, by_weight=False)


def _huber(difference: Tensor, delta: float) -> Tensor:
    cut = _clip(difference, min=-delta, max=delta)
    return cut * (difference - cut * 0.5)


def smooth_l1_loss(
    input: Tensor, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", beta: float = 1.0,
) -> Tensor:  # fmt: skip
    """L = mean ½ d²/β where |d| < β, else |d| − β/2, with d = x − t; |d| for β = 0

    Source: Girshick, "Fast R-CNN", 2015.
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("smooth_l1_loss", reduction, size_average, reduce)
    number("smooth_l1_loss: beta", beta, 0)
    difference = input - _beside("smooth_l1_loss", input, target)
    losses = _abs(difference) if beta == 0 else _huber(difference, beta)
    return _reduce(losses if beta in (0, 1) else losses / beta, reduction)


def binary_cross_entropy(
    input: Tensor, target: Any, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """L = mean −t ln x − (1 − t) ln(1 − x), in nats, for probabilities x; no logarithm is below −100

    From the sigmoid's argument rather use `binary_cross_entropy_with_logits`, which loses nothing.
    Raises: OptionError for an x that is no probability (on a GPU, which is not waited for, NaN).
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("binary_cross_entropy", reduction, size_average, reduce)
    target = _beside("binary_cross_entropy", input, target)
    weight = _factor("binary_cross_entropy", "weight", weight, input)
    with np.errstate(invalid="ignore"):  # told of below
        losses = _plain_binary_cross_entropy(input, target)
    loss = _reduce(losses if weight is None else losses * weight, reduction)
    y = loss._array  # what is no probability gives NaN, so that only NaN need be looked into
    if type(y) is np.ndarray and (y != y if y.ndim == 0 else (y != y).any()) and _improbable(input._array):
        low, high = float(input._array.min()), float(input._array.max())
        raise OptionError(
            f"binary_cross_entropy: the input must be probabilities from 0 to 1, it goes from {low:g} to {high:g}; for "
            "logits use binary_cross_entropy_with_logits"
        )
    return loss


def _improbable(x: Any) -> bool:
    return bool(((x < 0) | (x > 1)).any())


def binary_cross_entropy_with_logits(
    input: Tensor, target: Any, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", pos_weight: Any = None,
) -> Tensor:  # fmt: skip
    """L = mean −t ln σ(x) − (1 − t) ln(1 − σ(x)), in nats; the first term times `pos_weight`, all times `weight`"""
    if size_average is not None or reduce is not None:
        reduction = reduction_of("binary_cross_entropy_with_logits", reduction, size_average, reduce)
    name = "binary_cross_entropy_with_logits"
    target = _beside(name, input, target)
    weight, pos_weight = _factor(name, "weight", weight, input), _factor(name, "pos_weight", pos_weight, input)
    if pos_weight is None:
        losses = _binary_cross_entropy(input, target)
    else:
        losses = (1 - target) * input + (1 + (pos_weight - 1) * target) * _softplus(-input)
    return _reduce(losses if weight is None else losses * weight, reduction)


def cross_entropy(
    input: Tensor, target: Any, weight: Any = None, size_average: bool | None = None, ignore_index: int = -100,
    reduce: bool | None = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """L = mean −ln softmax(x)[target], in nats

    The target is a class number a sample, or, as floats of x's shape, a probability a class. `weight` is a factor a
    class, by which a mean over class numbers is divided again; samples with the class `ignore_index` count nothing.
    `label_smoothing` ε moves the target towards equal probabilities: (1 − ε) t + ε/classes.

    Shapes: x [batch, classes, …] or [classes], target [batch, …] or x's.
    Raises: ShapeError, DTypeError, and IndexingError for a class that is not there.
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("cross_entropy", reduction, size_average, reduce)
    if label_smoothing:
        number("cross_entropy: label_smoothing", label_smoothing, 0, 1)
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
    input: Tensor, target: Any, weight: Any = None, size_average: bool | None = None, ignore_index: int = -100,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """L = mean −x[target]: cross-entropy for x that are logarithms of probabilities already

    Shapes: x [batch, classes, …] or [classes], target [batch, …].
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("nll_loss", reduction, size_average, reduce)
    weight = _factor("nll_loss", "weight", weight, input)
    target, logp = _classes("nll_loss", input, target, weight)
    if target.dtype.kind == "f":
        raise DTypeError(f"nll_loss: the target must be class numbers (integers), not {target.dtype}")
    target, valid = _valid("nll_loss", target, ignore_index, logp.shape[-1])
    return _weighted(_named("nll_loss", _pick, logp, target), target, weight, valid, reduction)


def _classes(name: str, input: Tensor, target: Any, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """The target as a Tensor, and the input with its classes last, as the target if that is of floats."""
    tensor(name, "input", input)
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


# Divergences and likelihoods


def kl_div(
    input: Tensor, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", log_target: bool = False,
) -> Tensor:  # fmt: skip
    """L = mean t (ln t − x), in nats, for logarithms of probabilities x; with `log_target` the target is ln t too

    "batchmean" divides the sum by the batch alone, and so is the divergence a sample; "mean" divides by all entries.
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("kl_div", reduction, size_average, reduce)
    target = _beside("kl_div", input, target)
    losses = _exp(target) * (target - input) if log_target else _xlogy(target, target) - target * input
    if reduction == "batchmean":
        return _sum(losses) / max(1, input.shape[0] if input.ndim else 1)
    reduction_of("kl_div", reduction, more=("batchmean",))
    return _reduce(losses, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """L = mean ½ (ln v + (x − t)²/v), in nats; with `full` ½ ln 2π beside it

    v is not below ε; the gradient reaches it as if it were not held there.
    Shapes: v as x, or without x's last axis, or with length 1 there, or a number.
    Raises: OptionError for a negative v.
    """
    target = _beside("gaussian_nll_loss", input, target)
    number("gaussian_nll_loss: eps", eps, 0)
    var = _given("gaussian_nll_loss", "var", var, input)
    if var.device != "shapes" and bool((var._array < 0).any()):
        raise OptionError(f"gaussian_nll_loss: var must not be negative, its least is {float(var._array.min()):g}")
    if var.ndim and var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = _expand_dims(var, axis=-1)
        elif var.shape[:-1] != input.shape[:-1] or var.shape[-1] != 1:
            raise ShapeError(
                f"gaussian_nll_loss: var is {list(input.shape)}, {list(input.shape[:-1])} or a number, got "
                f"{list(var.shape)}"
            )
    var = var if var.dtype == input.dtype else var.astype(input.dtype)
    below = wrap(space_of(var._array).maximum(eps - var._array, 0), None)
    var = var + below
    difference = input - target
    losses = (_log(var) + difference * difference / var) * 0.5
    return _reduce(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def poisson_nll_loss(
    input: Tensor, target: Any, log_input: bool = True, full: bool = False, size_average: bool | None = None,
    eps: float = 1e-8, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """L = mean eˣ − t x with the logarithm x of the rate, or x − t ln(x + ε) with the rate x; without ln t!

    With `full` Stirling's t ln t − t + ½ ln 2πt stands for ln t! where t > 1.
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("poisson_nll_loss", reduction, size_average, reduce)
    target = _beside("poisson_nll_loss", input, target)
    number("poisson_nll_loss: eps", eps)
    losses = _exp(input) - target * input if log_input else input - target * _log(input + eps)
    if full:
        large = _where(target > 1, target, 1.0)
        stirling = large * _log(large) - large + _log(large * (2 * math.pi)) * 0.5
        losses = losses + _where(target > 1, stirling, 0.0)
    return _reduce(losses, reduction)


# Margins


def _hinge(x: Tensor) -> Tensor:
    """max(0, x) with the slope 1 at 0, which is the convention of these losses."""
    return _clip(x, min=0, max=None)


def hinge_embedding_loss(
    input: Tensor, target: Any, margin: float = 1.0, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """L = mean x where t = 1, max(0, margin − x) where t = −1: alike is near, unlike not nearer than the margin"""
    if size_average is not None or reduce is not None:
        reduction = reduction_of("hinge_embedding_loss", reduction, size_average, reduce)
    target = _beside("hinge_embedding_loss", input, target)
    number("hinge_embedding_loss: margin", margin)
    return _reduce(
        _where(target != 1, _hinge(margin - input), 0.0) + _where(target != -1, input, 0.0), reduction
    )  # fmt: skip


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Any, margin: float = 0.0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """L = mean max(0, −t (x₁ − x₂) + margin): t = 1 where x₁ should rank higher, −1 where x₂ should"""
    if size_average is not None or reduce is not None:
        reduction = reduction_of("margin_ranking_loss", reduction, size_average, reduce)
    target = _beside("margin_ranking_loss", input1, target)
    number("margin_ranking_loss: margin", margin)
    difference = input1 - _beside("margin_ranking_loss", input1, input2)
    return _reduce(_hinge(margin - target * difference), reduction)


def soft_margin_loss(
    input: Tensor, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """L = mean ln(1 + e^(−t x)) for t = ±1"""
    if size_average is not None or reduce is not None:
        reduction = reduction_of("soft_margin_loss", reduction, size_average, reduce)
    return _reduce(_softplus(-_beside("soft_margin_loss", input, target) * input), reduction)


def multi_margin_loss(
    input: Tensor, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """L = mean Σᵢ max(0, margin − x_t + xᵢ)ᵖ/classes over the wrong classes i: the hinge loss of many classes

    Shapes: x [batch, classes] or [classes], target [batch] or [] of class numbers, weight [classes].
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("multi_margin_loss", reduction, size_average, reduce)
    name = "multi_margin_loss"
    if p not in (1, 2):
        raise OptionError(f"{name}: p is 1 or 2, not {p!r}")
    tensor(name, "input", input)
    number(f"{name}: margin", margin)
    if input.ndim not in (1, 2):
        raise ShapeError(f"{name}: the input is [batch, classes] or [classes], got {list(input.shape)}")
    weight = _factor(name, "weight", weight, input)
    target, scores = _classes(name, input, target, weight)
    if target.dtype.kind == "f":
        raise DTypeError(f"{name}: the target must be class numbers (integers), not {target.dtype}")
    target, _ = _valid(name, target, -1, scores.shape[-1])
    place = _expand_dims(target, axis=-1)
    excess = _relu(scores - _named(name, _at, scores, place) + margin)
    excess = excess if p == 1 else excess * excess
    if weight is not None:
        excess = excess * _expand_dims(_take(weight, target, axis=0), axis=-1)
    wrong = wrap(_classes_beside(scores, place), None)  # the right one's own excess, the margin, does not count
    return _reduce(_sum(_where(wrong, excess, 0.0), axis=-1) / scores.shape[-1], reduction)


def _at(scores: Tensor, place: Tensor) -> Tensor:
    return _take_along_axis(scores, place, axis=-1)


def _classes_beside(scores: Tensor, place: Tensor) -> Any:
    xp = space_of(scores._array)
    return xp.arange(scores.shape[-1]) != place._array


@named
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """y = x₁·x₂ / (max(‖x₁‖, ε) max(‖x₂‖, ε)) along the axis `dim`"""
    tensor("cosine_similarity", "first input", x1)
    tensor("cosine_similarity", "second input", x2)
    dot = _sum(x1 * x2, axis=dim)
    lengths = (_clip(_norm(x, axis=dim), min=eps, max=None) for x in (x1, x2))
    return dot / next(lengths) / next(lengths)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Any, margin: float = 0.0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """L = mean 1 − cos where t = 1, max(0, cos − margin) where t = −1, of the angle between x₁ and x₂

    Shapes: x₁ and x₂ [batch, features], target [batch]; or [features] and [].
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("cosine_embedding_loss", reduction, size_average, reduce)
    tensor("cosine_embedding_loss", "first input", input1)
    tensor("cosine_embedding_loss", "second input", input2)
    number("cosine_embedding_loss: margin", margin)
    target = _given("cosine_embedding_loss", "target", target, input1)
    if input1.shape != input2.shape or target.shape != input1.shape[:-1] or input1.ndim not in (1, 2):
        raise ShapeError(
            "cosine_embedding_loss: wants two inputs [batch, features] and a target [batch]; got "
            f"{list(input1.shape)}, {list(input2.shape)} and {list(target.shape)}"
        )
    squares = (_sum(x * x, axis=-1) + 1e-12 for x in (input1, input2))
    cosine = _sum(input1 * input2, axis=-1) / _sqrt(next(squares) * next(squares))
    return _reduce(
        _where(target == 1, 1 - cosine, 0.0) + _where(target == -1, _hinge(cosine - margin), 0.0), reduction
    )  # fmt: skip


@named
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """y = ‖x₁ − x₂ + ε‖ₚ along the last axis"""
    tensor("pairwise_distance", "first input", x1)
    tensor("pairwise_distance", "second input", x2)
    return _norm(x1 - x2 + eps, axis=-1, keepdims=keepdim, ord=p)


@named
def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
    swap: bool = False, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """L = mean max(0, d(a, p) − d(a, n) + margin): what belongs together is nearer, by the margin

    With `swap` the negative's distance is the smaller of those to the anchor and to the positive.
    Source: Balntas et al., "Learning shallow convolutional feature descriptors with triplet losses", 2016.
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("triplet_margin_loss", reduction, size_average, reduce)
    for argument, value in (("anchor", anchor), ("positive", positive), ("negative", negative)):
        tensor("triplet_margin_loss", argument, value)
    if not number("triplet_margin_loss: margin", margin, 0) > 0:
        raise OptionError(f"triplet_margin_loss: margin must be positive, got {margin!r}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError(
            "triplet_margin_loss: anchor, positive and negative must have as many axes as each other, got shapes "
            f"{list(anchor.shape)}, {list(positive.shape)}, {list(negative.shape)}"
        )
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = record_of("minimum")(far, pairwise_distance(positive, negative, p, eps))
    return _reduce(_hinge(near - far + margin), reduction)
