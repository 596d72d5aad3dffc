"""Losses of samples that have several labels, and of triplets by a distance of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...backend import space_of
from ...errors import DTypeError, IndexingError, OptionError, ShapeError
from ...tensor import Tensor, record_of, wrap
from .checks import number, reduction_of, tensor
from .loss import _beside, _factor, _given, _hinge, _reduce, pairwise_distance

_softplus, _mean, _sum, _relu, _where = map(record_of, ("softplus", "mean", "sum", "relu", "where"))
_along, _reshape, _minimum = map(record_of, ("take_along_axis", "reshape", "minimum"))


def multilabel_margin_loss(
    input: Tensor, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """L = mean Σ_t Σᵢ max(0, 1 − x_t + xᵢ)/classes over the sample's classes t and all other classes i

    A sample's classes stand at the beginning of its row of the target; the first −1 ends them.

    Shapes: x and target [batch, classes] or [classes].
    """
    name = "multilabel_margin_loss"
    if size_average is not None or reduce is not None:
        reduction = reduction_of(name, reduction, size_average, reduce)
    tensor(name, "input", input)
    target = _given(name, "target", target, input)
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{name}: the target must be class numbers (integers), ended by -1, not {target.dtype}")
    if input.ndim not in (1, 2) or target.shape != input.shape:
        raise ShapeError(
            f"{name}: input and target are both [batch, classes] or both [classes], got {list(input.shape)} and "
            f"{list(target.shape)}"
        )
    classes = input.shape[-1]
    x = _reshape(input, (-1, classes))
    labels = target._array.reshape((-1, classes))
    xp = space_of(labels)
    if labels.size and input.device != "shapes" and not -1 <= int(labels.min()) <= int(labels.max()) < classes:
        raise IndexingError(f"{name}: class numbers are from 0 to {classes - 1}, or -1 at their end")
    named = xp.cumsum(labels < 0, axis=1) == 0
    labels = xp.where(named, labels, 0)
    own = ((labels[:, :, None] == xp.arange(classes)) & named[:, :, None]).any(axis=1)
    scores = _along(x, wrap(labels, None), axis=-1)
    excess = _relu(1 - _reshape(scores, (*scores.shape, 1)) + _reshape(x, (-1, 1, classes)))
    counted = wrap(named[:, :, None] & ~own[:, None, :], None)
    losses = _sum(_where(counted, excess, 0.0), axis=(1, 2)) / classes
    return _reduce(_reshape(losses, input.shape[:-1]), reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Any, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """L = mean −t ln σ(x) − (1 − t) ln(1 − σ(x)), the mean over a sample's classes and then over samples

    Shapes: x and target [..., classes], weight [classes].
    """
    name = "multilabel_soft_margin_loss"
    if size_average is not None or reduce is not None:
        reduction = reduction_of(name, reduction, size_average, reduce)
    tensor(name, "input", input)
    target = _beside(name, input, target)
    if not input.ndim:
        raise ShapeError(f"{name}: wants [..., classes], got a number")
    losses = target * _softplus(-input) + (1 - target) * _softplus(input)
    weight = _factor(name, "weight", weight, input)
    return _reduce(_mean(losses if weight is None else losses * weight, axis=-1), reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0, swap: bool = False,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """L = mean max(0, d(a, p) − d(a, n) + margin) with a distance d of one's own; without one, `pairwise_distance`

    With `swap` the negative's distance is the smaller of those to the anchor and to the positive.
    """
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError(
            "triplet_margin_with_distance_loss: anchor, positive and negative must have as many axes as each other, "
            f"got shapes {list(anchor.shape)}, {list(positive.shape)}, {list(negative.shape)}"
        )
    number("triplet_margin_with_distance_loss: margin", margin)
    distance = pairwise_distance if distance_function is None else distance_function
    if not callable(distance):
        raise OptionError(
            f"triplet_margin_with_distance_loss: distance_function is a function of two Tensors, not {distance!r}"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = _minimum(far, distance(positive, negative))
    return _reduce(_hinge(near - far + margin), reduction)
