"""Losses of samples that have several labels, and of triplets, as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from . import functional
from .loss import _Loss, _Pointwise


class MultiLabelMarginLoss(_Pointwise):
    """L = mean Σ_t Σᵢ max(0, 1 − x_t + xᵢ)/classes over a sample's classes t and all other classes i"""

    function = staticmethod(functional.multilabel_margin_loss)


class MultiLabelSoftMarginLoss(_Loss):
    """L = mean −t ln σ(x) − (1 − t) ln(1 − σ(x)), the mean over a sample's classes and then over samples"""

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return functional.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class TripletMarginWithDistanceLoss(_Pointwise):
    """L = mean max(0, d(anchor, positive) − d(anchor, negative) + margin) with a distance d of one's own"""

    function = staticmethod(functional.triplet_margin_with_distance_loss)
    options = ("distance_function", "margin", "swap")

    def __init__(
        self, *, distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0,
        swap: bool = False, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(reduction=reduction)
        self.distance_function, self.margin, self.swap = distance_function, margin, swap
