"""Layers that act on channels: shuffled, as shares of a whole, dropped; and slopes that are drawn."""

from __future__ import annotations

from ..errors import OptionError, ShapeError
from ..random import Generator
from ..tensor import Tensor
from . import functional
from .functional.checks import number
from .functional.convolution import numbers
from .functional.dropout import _check_probability
from .module import Module


class ChannelShuffle(Module):
    """The channels of `groups` groups, one of each in turn: see `functional.channel_shuffle`."""

    def __init__(self, groups: int) -> None:
        (self.groups,) = numbers("ChannelShuffle: groups", groups, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class Softmax2d(Module):
    """y = softmax of x over the channels, at each place: x [batch, channels, height, width], or without a batch"""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in (3, 4):
            raise ShapeError(
                f"Softmax2d: wants [batch, channels, height, width] or [channels, height, width], got {list(x.shape)}"
            )
        return functional.softmax(x, -3)


class RReLU(Module):
    """y = x where x > 0, else a x with a ~ U(lower, upper) for each entry in training, otherwise their middle

    Source: Xu et al., "Empirical evaluation of rectified activations in convolutional network", 2015.
    """

    def __init__(
        self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False, *, generator: Generator | None = None
    ) -> None:
        number("RReLU: lower", lower)
        if number("RReLU: upper", upper) < lower:
            raise OptionError(f"RReLU: lower must not be above upper, got {lower!r} and {upper!r}")
        self.lower, self.upper, self.inplace, self.generator = lower, upper, inplace, generator

    def forward(self, x: Tensor, slopes: Tensor | None = None) -> Tensor:
        return functional.rrelu(
            x, self.lower, self.upper, self.training, self.inplace, slopes=slopes, generator=self.generator
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")


class FeatureAlphaDropout(Module):
    """`AlphaDropout` of whole channels: x [batch, channels, …]

    Source: Klambauer et al., "Self-normalizing neural networks", 2017; Tompson et al., 2015.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, *, generator: Generator | None = None) -> None:
        _check_probability(p, "FeatureAlphaDropout: p")
        self.p, self.inplace, self.generator = p, inplace, generator

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return functional.feature_alpha_dropout(
            x, self.p, self.training, self.inplace, mask=mask, generator=self.generator
        )

    def extra_repr(self) -> str:
        return f"p={self.p}" + (", inplace=True" if self.inplace else "")
