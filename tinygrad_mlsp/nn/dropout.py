"""Dropout with masks that can be seen, kept and used again."""

from __future__ import annotations

from typing import Any

from ..random import Generator
from ..tensor import Tensor
from . import functional
from .module import Module


class Dropout(Module):
    """y = x m/(1 − p) in training, with a mask m that is 0 with probability p; y = x in evaluation

    >>> layer, x = Dropout(0.5, generator=Generator(0)), Tensor([1.0, 2.0, 3.0, 4.0])
    >>> y, mask = layer(x, return_mask=True)
    >>> bool((layer(x, mask) == y).all())
    True
    """

    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        functional._check_probability(p)
        self.p, self.generator = p, generator

    def draw(self, shape: tuple[int, ...], device: str = "cpu") -> Tensor:
        """A mask, True where an entry is kept."""
        return functional.dropout_mask(shape, self.p, self.generator, device)

    def forward(self, x: Tensor, mask: Tensor | None = None, return_mask: bool = False) -> Any:
        """`return_mask` gives y and the mask: in evaluation, where nothing is dropped, None."""
        if self.training and mask is None and (return_mask or self.p > 0):
            mask = self.draw(x.shape, x.device)
        y = functional.dropout(x, self.p, self.training, mask=mask)
        return (y, mask if self.training else None) if return_mask else y

    def extra_repr(self) -> str:
        return f"p={self.p}"
