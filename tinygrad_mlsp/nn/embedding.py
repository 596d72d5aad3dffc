"""A table of vectors, looked up by number."""

from __future__ import annotations

from typing import Any

from ..backend import float32
from ..errors import OptionError, ShapeError
from ..namespace import empty
from ..random import Generator
from ..tensor import Tensor, no_grad
from . import functional, init
from .functional.checks import number, tensor
from .module import Module, Parameter, _size


def _draw(weight: Tensor, padding_idx: int | None, generator: Generator | None) -> None:
    init.normal_(weight, generator=generator)
    if padding_idx is not None:
        with no_grad():
            weight[padding_idx] = 0.0


class Embedding(Module):
    """y = weight[x]: a vector for each of `num_embeddings` things; equal to a linear layer on one-hot inputs

    The table starts from N(0, 1), as PyTorch's does, the row `padding_idx` from 0; that row gets no gradient. With
    `max_norm`, rows that are used and longer are first made that long.

    Shapes: x [...] of whole numbers, weight [num_embeddings, embedding_dim], y [..., embedding_dim].
    """

    weight: Parameter

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False, device: str | None = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.num_embeddings = _size("Embedding: num_embeddings", num_embeddings)
        self.embedding_dim = _size("Embedding: embedding_dim", embedding_dim)
        if scale_grad_by_freq or sparse:
            raise OptionError("Embedding: gradients here are dense sums over all uses; leave scale_grad_by_freq and "
                              "sparse False")  # fmt: skip
        self.max_norm = None if max_norm is None else number("Embedding: max_norm", max_norm, 0)
        self.norm_type = number("Embedding: norm_type", norm_type)
        if padding_idx is not None:
            if not -num_embeddings <= number("Embedding: padding_idx", padding_idx) < num_embeddings:
                raise OptionError(f"Embedding: padding_idx={padding_idx} is not one of {num_embeddings} rows")
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.weight = Parameter(empty((num_embeddings, embedding_dim), dtype or float32, device))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draws the table anew."""
        _draw(self.weight, self.padding_idx, generator)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0,
    ) -> Embedding:  # fmt: skip
        """A layer with a table that is there already, which is not trained unless freeze=False."""
        tensor("Embedding.from_pretrained", "table", embeddings)
        if embeddings.ndim != 2:
            raise ShapeError(f"Embedding: the table must be [rows, features], got shape {list(embeddings.shape)}")
        rows, features = embeddings.shape
        layer = cls(rows, features, padding_idx, max_norm, norm_type, device=embeddings.device, dtype=embeddings.dtype)
        layer.weight.copy_(embeddings.detach())
        layer.weight.requires_grad = not freeze
        return layer

    def forward(self, x: Any) -> Tensor:
        return functional.embedding(x, self.weight, self.padding_idx, self.max_norm, self.norm_type)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class EmbeddingBag(Module):
    """y[b] = Σ weight[i] over the numbers i of bag b, or their mean, or the largest: see `functional.embedding_bag`

    The table starts from N(0, 1), the row `padding_idx` from 0.

    Shapes: input [bags, numbers], or [numbers] with offsets [bags]; weight [num_embeddings, embedding_dim],
    y [bags, embedding_dim].
    """

    weight: Parameter

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
        include_last_offset: bool = False, padding_idx: int | None = None, device: str | None = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.num_embeddings = _size("EmbeddingBag: num_embeddings", num_embeddings)
        self.embedding_dim = _size("EmbeddingBag: embedding_dim", embedding_dim)
        if scale_grad_by_freq or sparse:
            raise OptionError(
                "EmbeddingBag: gradients here are dense sums over all uses; leave scale_grad_by_freq and sparse False"
            )
        if mode not in ("sum", "mean", "max"):
            raise OptionError(f"EmbeddingBag: mode is 'sum', 'mean' or 'max', not {mode!r}")
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise OptionError(f"EmbeddingBag: padding_idx={padding_idx} is not one of {num_embeddings} rows")
            padding_idx %= num_embeddings
        self.max_norm, self.norm_type, self.mode = max_norm, norm_type, mode
        self.include_last_offset, self.padding_idx = include_last_offset, padding_idx
        self.weight = Parameter(empty((num_embeddings, embedding_dim), dtype or float32, device))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draws the table anew."""
        _draw(self.weight, self.padding_idx, generator)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:  # fmt: skip
        """A layer with a table that is there already, which is not trained unless freeze=False."""
        if embeddings.ndim != 2:
            raise ShapeError(f"EmbeddingBag: the table must be [rows, features], got shape {list(embeddings.shape)}")
        rows, features = embeddings.shape
        layer = cls(
            rows, features, max_norm, norm_type, scale_grad_by_freq, mode, sparse, include_last_offset, padding_idx,
            embeddings.device, embeddings.dtype,
        )  # fmt: skip
        layer.weight.copy_(embeddings.detach())
        layer.weight.requires_grad = not freeze
        return layer

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return functional.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, mode=self.mode,
            per_sample_weights=per_sample_weights, include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )  # fmt: skip

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}, mode={self.mode!r}{padding}"
