"""Dropout and its kin: units, channels, connections or steps in time that are left out at random.

Each layer draws from `generator`, or from the default one; a mask that is passed in takes the place of a drawn one,
and can be had back, where a layer has `return_mask`.
"""

from __future__ import annotations

from typing import Any

from ..random import Generator
from ..tensor import Tensor
from . import functional
from .functional.dropout import _channels, _check_probability
from .linear import Linear
from .module import Module


class Dropout(Module):
    """y = x m/(1 − p) in training, with a mask m that is 0 with probability p; y = x in evaluation

    With inverted=False, the lectures' form: y = x m in training, y = x (1 − p), the mask's expectation, in evaluation.
    With `inplace` y is written into the input too, which is returned.

    >>> layer, x = Dropout(0.5, generator=Generator(0)), Tensor([1.0, 2.0, 3.0, 4.0])
    >>> y, mask = layer(x, return_mask=True)
    >>> bool((layer(x, mask) == y).all())
    True
    """

    def __init__(
        self, p: float = 0.5, inplace: bool = False, *, inverted: bool = True, generator: Generator | None = None
    ) -> None:
        _check_probability(p, f"{type(self).__name__}: p")
        self.p, self.inplace, self.inverted, self.generator = p, inplace, inverted, generator

    def draw(self, shape: tuple[int, ...], device: str = "cpu") -> Tensor:
        """A mask, True where an entry is kept."""
        return functional.dropout_mask(shape, self.p, self.generator, device)

    def _mask_for(self, x: Tensor) -> Tensor:
        return self.draw(x.shape, x.device)

    def forward(self, x: Tensor, mask: Tensor | None = None, return_mask: bool = False) -> Any:
        """`return_mask` gives y and the mask: in evaluation, where nothing is dropped, None."""
        if self.training and mask is None and (return_mask or self.p > 0):
            mask = self._mask_for(x)
        y = self._drop(x, mask)
        return (y, mask if self.training else None) if return_mask else y

    def _drop(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return functional.dropout(x, self.p, self.training, self.inplace, mask=mask, inverted=self.inverted)

    def extra_repr(self) -> str:
        inplace = ", inplace=True" if self.inplace else ""
        return f"p={self.p}{inplace}" if self.inverted else f"p={self.p}{inplace}, inverted=False"


class _ChannelDropout(Dropout):
    axes: int

    def _mask_for(self, x: Tensor) -> Tensor:
        return _channels(type(self).__name__, x, self.axes, self.p, self.generator)


class Dropout1d(_ChannelDropout):
    """Drops whole channels of [batch, channels, length]

    Source: Tompson et al., "Efficient object localization using convolutional networks", 2015.
    """

    axes = 1


class Dropout2d(_ChannelDropout):
    """Drops whole channels of [batch, channels, height, width]."""

    axes = 2


class Dropout3d(_ChannelDropout):
    """Drops whole channels of [batch, channels, depth, height, width]."""

    axes = 3


class AlphaDropout(Dropout):
    """y = a (x m + α′(1 − m)) + b in training, which keeps mean 0 and variance 1: dropout for SELU

    Source: Klambauer et al., "Self-normalizing neural networks", 2017.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, *, generator: Generator | None = None) -> None:
        super().__init__(p, inplace, generator=generator)

    def _drop(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return functional.alpha_dropout(x, self.p, self.training, self.inplace, mask=mask)


class Zoneout(Module):
    """h = m h′ + (1 − m) h₋ in training, (1 − p) h′ + p h₋ in evaluation: units that skip a step in time

    Called with the new state h′ and the old one h₋, after a recurrent cell.
    Source: Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden activations", 2017.
    """

    def __init__(self, p: float = 0.1, *, generator: Generator | None = None) -> None:
        _check_probability(p, "Zoneout: p")
        self.p, self.generator = p, generator

    def forward(self, x: Tensor, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        return functional.zoneout(x, hidden, self.p, self.training, mask=mask, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class DropConnect(Linear):
    """y = x (m W)ᵀ/(1 − p) + b in training, with a mask m of the connections; x Wᵀ + b in evaluation

    Shapes: x [..., in_features], weight and mask [out_features, in_features].
    Source: Wan et al., "Regularization of neural networks using DropConnect", 2013.
    """

    def __init__(
        self, in_features: int, out_features: int, p: float = 0.5, bias: bool = True, device: str | None = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        _check_probability(p, "DropConnect: p")
        super().__init__(in_features, out_features, bias, device, dtype, generator=generator)
        self.p, self.generator = p, generator

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return functional.dropconnect(
            x, self.weight, self.bias, self.p, self.training, mask=mask, generator=self.generator
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, p={self.p}"
