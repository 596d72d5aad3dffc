"""Losses as modules; the functions are in `functional`."""

from __future__ import annotations

from typing import Any

from ..errors import OptionError
from ..namespace import zeros
from ..tensor import Tensor
from . import functional
from .functional.checks import number, reduction_of
from .functional.loss import _factor
from .module import Module, _size


def _tensor(name: str, argument: str, value: Any) -> Tensor | None:
    return _factor(name, argument, value, zeros(()))


def _positive(name: str, value: Any) -> Any:
    if not number(name, value, 0) > 0:
        raise OptionError(f"{name} must be positive, got {value!r}")
    return value


class _Loss(Module):
    weight: Tensor | None

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        self.reduction = reduction_of(type(self).__name__, reduction, size_average, reduce)
        self.register_buffer("weight", _tensor(type(self).__name__, "weight", weight))

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class MSELoss(_Loss):
    """L = mean (x − t)²"""

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        self.reduction = reduction_of("MSELoss", reduction, size_average, reduce)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return functional.mse_loss(input, target, reduction=self.reduction)


class _Pointwise(Module):
    """A function of input(s) and target with options, which are the module's attributes."""

    function: Any
    options: tuple[str, ...] = ()
    more: tuple[str, ...] = ()  # reductions beside the usual ones

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        self.reduction = reduction_of(type(self).__name__, reduction, size_average, reduce, self.more)

    def forward(self, *inputs: Any) -> Tensor:
        options = {name: getattr(self, name) for name in self.options}
        return self.function(*inputs, reduction=self.reduction, **options)

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self.options]
        return ", ".join(shown + ([] if self.reduction == "mean" else [f"reduction={self.reduction!r}"]))


class L1Loss(_Pointwise):
    """L = mean |x − t|"""

    function = staticmethod(functional.l1_loss)


class SmoothL1Loss(_Pointwise):
    """L = mean ½ d²/β where |d| < β, else |d| − β/2, with d = x − t"""

    function, options = staticmethod(functional.smooth_l1_loss), ("beta",)

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = number("SmoothL1Loss: beta", beta, 0)


class HuberLoss(_Pointwise):
    """L = mean ½ d² where |d| < δ, else δ (|d| − δ/2), with d = x − t"""

    function, options = staticmethod(functional.huber_loss), ("delta",)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = _positive("HuberLoss: delta", delta)


class KLDivLoss(_Pointwise):
    """L = mean t (ln t − x), in nats, for logarithms x of probabilities; "batchmean" is a sample's divergence"""

    function, options = staticmethod(functional.kl_div), ("log_target",)
    more = ("batchmean",)

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
        log_target: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target


class HingeEmbeddingLoss(_Pointwise):
    """L = mean x where t = 1, max(0, margin − x) where t = −1"""

    function, options = staticmethod(functional.hinge_embedding_loss), ("margin",)

    def __init__(
        self, margin: float = 1.0, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.margin = number("HingeEmbeddingLoss: margin", margin)


class SoftMarginLoss(_Pointwise):
    """L = mean ln(1 + e^(−t x)) for t = ±1"""

    function = staticmethod(functional.soft_margin_loss)


class CosineEmbeddingLoss(_Pointwise):
    """L = mean 1 − cos where t = 1, max(0, cos − margin) where t = −1, of the angle between two inputs"""

    function, options = staticmethod(functional.cosine_embedding_loss), ("margin",)

    def __init__(
        self, margin: float = 0.0, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.margin = number("CosineEmbeddingLoss: margin", margin)


class MarginRankingLoss(_Pointwise):
    """L = mean max(0, −t (x₁ − x₂) + margin)"""

    function, options = staticmethod(functional.margin_ranking_loss), ("margin",)

    def __init__(
        self, margin: float = 0.0, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.margin = number("MarginRankingLoss: margin", margin)


class TripletMarginLoss(_Pointwise):
    """L = mean max(0, d(anchor, positive) − d(anchor, negative) + margin)"""

    function, options = staticmethod(functional.triplet_margin_loss), ("margin", "p", "eps", "swap")

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False,
        size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.margin, self.p = _positive("TripletMarginLoss: margin", margin), number("TripletMarginLoss: p", p, 0)
        self.eps, self.swap = number("TripletMarginLoss: eps", eps), swap


class GaussianNLLLoss(_Pointwise):
    """L = mean ½ (ln v + (x − t)²/v), in nats, called with (x, t, v)"""

    function, options = staticmethod(functional.gaussian_nll_loss), ("full", "eps")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, number("GaussianNLLLoss: eps", eps, 0)


class PoissonNLLLoss(_Pointwise):
    """L = mean eˣ − t x with the logarithm x of the rate, or x − t ln(x + ε) with the rate x (log_input=False)"""

    function, options = staticmethod(functional.poisson_nll_loss), ("log_input", "full", "eps")

    def __init__(
        self, log_input: bool = True, full: bool = False, size_average: bool | None = None, eps: float = 1e-8,
        reduce: bool | None = None, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, number("PoissonNLLLoss: eps", eps)


class CTCLoss(_Pointwise):
    """L = −ln Σ_π Πₜ p_t(π_t), in nats, over all alignments π that read as the target: see `functional.ctc_loss`

    Called with (log_probs, targets, input_lengths, target_lengths).
    """

    function, options = staticmethod(functional.ctc_loss), ("blank", "zero_infinity")

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = _size("CTCLoss: blank", blank), zero_infinity


class MultiMarginLoss(_Loss):
    """L = mean Σᵢ max(0, margin − x_t + xᵢ)ᵖ/classes over the wrong classes i"""

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Any = None, size_average: bool | None = None,
        reduce: bool | None = None, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise OptionError(f"MultiMarginLoss: p is 1 or 2, not {p!r}")
        self.p, self.margin = p, number("MultiMarginLoss: margin", margin)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return functional.multi_margin_loss(
            input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction
        )


class BCELoss(_Loss):
    """L = mean −t ln x − (1 − t) ln(1 − x), in nats, for probabilities x"""

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return functional.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """L = mean −t ln σ(x) − (1 − t) ln(1 − σ(x)), in nats"""

    pos_weight: Tensor | None

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean", pos_weight: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", _tensor(type(self).__name__, "pos_weight", pos_weight))

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class NLLLoss(_Loss):
    """L = mean −x[target], for x that are logarithms of probabilities"""

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, ignore_index: int = -100,
        reduce: bool | None = None, reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return functional.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class CrossEntropyLoss(_Loss):
    """L = mean −ln softmax(x)[target], in nats; the target is class numbers, or probabilities"""

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, ignore_index: int = -100,
        reduce: bool | None = None, reduction: str = "mean", label_smoothing: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = number("CrossEntropyLoss: label_smoothing", label_smoothing, 0, 1)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return functional.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
