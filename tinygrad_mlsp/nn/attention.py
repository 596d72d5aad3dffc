"""Attention between an encoder's states and a decoder's: at each step the decoder looks where it needs to."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..random import Generator
from ..tensor import Tensor, record_of
from .linear import Linear
from .module import Module

_matmul, _matrix_transpose, _softmax, _tanh = map(record_of, ("matmul", "matrix_transpose", "softmax", "tanh"))
_expand_dims, _squeeze, _where = map(record_of, ("expand_dims", "squeeze", "where"))


class _Attention(Module):
    """c = Σ aⱼ vⱼ with a = softmax(scores of the query with the keys); masked keys have weight 0."""

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """How well each key answers each query: [batch, queries, keys]."""
        raise NotImplementedError

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The contexts and the weights. Values are the keys unless told; `mask` is True where a key may be seen."""
        name, value = type(self).__name__, key if value is None else value
        single = query.ndim == 2
        if query.ndim not in (2, 3) or key.ndim != 3 or value.shape[:2] != key.shape[:2] or len(query) != len(key):
            raise ShapeError(
                f"{name}: wants queries [batch, (queries,) features], keys and values [batch, keys, features], got "
                f"{list(query.shape)}, {list(key.shape)} and {list(value.shape)}"
            )
        if mask is not None and mask.shape != key.shape[:2]:
            raise ShapeError(
                f"{name}: the mask is {list(key.shape[:2])}, a key of a batch each, not {list(mask.shape)}"
            )
        scores = self.scores(_expand_dims(query, axis=1) if single else query, key)
        if mask is None:
            weights = _softmax(scores, axis=-1)
        else:  # the least number, not −∞: where no key may be seen there is a softmax, and no NaN
            seen = _expand_dims(mask, axis=1)
            weights = _softmax(_where(seen, scores, float(np.finfo(scores.dtype).min)), axis=-1)
            weights = _where(seen, weights, 0.0)
        context = _matmul(weights, value)
        return (_squeeze(context, axis=1), _squeeze(weights, axis=1)) if single else (context, weights)


class AdditiveAttention(_Attention):
    """eⱼ = vᵀ tanh(W q + U kⱼ), a = softmax e, c = Σ aⱼ vⱼ

    Shapes: queries [batch, query_size] or [batch, queries, query_size], keys [batch, keys, key_size], values
    [batch, keys, *], mask [batch, keys]; contexts [batch, (queries,) *], weights [batch, (queries,) keys].
    Source: Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align and translate", 2015.
    """

    def __init__(
        self, query_size: int, key_size: int, hidden_size: int, device: str | None = None, dtype: Any = None, *,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        place: dict[str, Any] = {"bias": False, "device": device, "dtype": dtype, "generator": generator}
        self.query = Linear(query_size, hidden_size, **place)
        self.key = Linear(key_size, hidden_size, **place)
        self.score = Linear(hidden_size, 1, **place)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        both = _expand_dims(self.query(query), axis=2) + _expand_dims(self.key(key), axis=1)
        return _squeeze(self.score(_tanh(both)), axis=-1)


class DotAttention(_Attention):
    """eⱼ = qᵀ kⱼ, or with sizes qᵀ W kⱼ; a = softmax e, c = Σ aⱼ vⱼ

    Without sizes queries and keys have one size and there is nothing to learn ("dot"); with `query_size` and
    `key_size` they may differ ("general").

    Shapes: as for AdditiveAttention.
    Source: Luong, Pham and Manning, "Effective approaches to attention-based neural machine translation", 2015.
    """

    def __init__(
        self, query_size: int | None = None, key_size: int | None = None, device: str | None = None, dtype: Any = None,
        *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if (query_size is None) != (key_size is None):
            raise ShapeError("DotAttention: give both query_size and key_size, or neither")
        self.key = (
            None
            if query_size is None or key_size is None
            else Linear(key_size, query_size, bias=False, device=device, dtype=dtype, generator=generator)
        )

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        try:
            return _matmul(query, _matrix_transpose(key if self.key is None else self.key(key)))
        except ShapeError as problem:
            raise ShapeError(f"DotAttention: queries and keys do not fit; {problem}") from problem
