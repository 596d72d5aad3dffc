"""Attention: a mean of values, weighted by how well their keys answer a query."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...backend import space_of
from ...errors import DTypeError, OptionError, ShapeError
from ...random import Generator
from ...tensor import Tensor, record_of, wrap
from .dropout import dropout

_matmul, _matrix_transpose, _softmax = record_of("matmul"), record_of("matrix_transpose"), record_of("softmax")
_where, _repeat = record_of("where"), record_of("repeat")


def causal_mask(length: int, keys: int | None = None, beside: Tensor | None = None) -> Tensor:
    """True where query i may see key j, j ≤ i: no position sees what comes after it

    On the CPU, or where the Tensor `beside` is.
    Shapes: [length, keys], keys = length unless told.
    """
    keys = length if keys is None else keys
    if beside is not None and beside.device == "shapes":  # there are no values to be moved there
        return wrap(space_of(beside._array).ones((length, keys), dtype=bool), None)
    return Tensor(np.tri(length, keys, dtype=bool), device=None if beside is None else beside.device)


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    *, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """y = softmax(q kᵀ/√E + mask) v

    The mask is of booleans, True where a query may see a key, or of numbers that are added to the scores. A query
    that may see nothing gets 0. `scale` takes the place of 1/√E. With `enable_gqa` fewer heads of keys and values serve
    groups of query heads. Dropout of the weights is as `dropout_p` says, in training or not.

    Shapes: q [..., L, E], k [..., S, E], v [..., S, Eᵥ], mask broadcastable to [..., L, S], y [..., L, Eᵥ].
    Source: Vaswani et al., "Attention is all you need", 2017, equation 1.
    """
    if enable_gqa:
        key, value = _shared_heads(query, key), _shared_heads(query, value)
    if is_causal:
        if attn_mask is not None:
            raise OptionError("scaled_dot_product_attention: give attn_mask or is_causal, not both")
        attn_mask = causal_mask(query.shape[-2], key.shape[-2], query)
    weights = attention_weights(query, key, attn_mask, scale, "scaled_dot_product_attention")
    if dropout_p:
        weights = dropout(weights, dropout_p, generator=generator)
    return _matmul(weights, value)


def attention_weights(
    query: Tensor, key: Tensor, mask: Tensor | None = None, scale: float | None = None, name: str = "attention"
) -> Tensor:
    """a = softmax(q kᵀ/√E + mask), the weights of `scaled_dot_product_attention`; each row sums to 1, or is 0"""
    if min(query.ndim, key.ndim) < 2 or query.shape[-1] != key.shape[-1]:
        raise ShapeError(
            f"{name}: queries [..., L, E] and keys [..., S, E] agree in E, got {list(query.shape)} and "
            f"{list(key.shape)}"
        )
    scale = 1 / math.sqrt(max(1, query.shape[-1])) if scale is None else scale
    scores = _matmul(query * scale, _matrix_transpose(key))
    if mask is None:
        return _softmax(scores, axis=-1)
    if not isinstance(mask, Tensor) or mask.dtype.kind not in "bf":
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise DTypeError(f"{name}: the mask is a Tensor of booleans, or of numbers to add to the scores, not {kind}")
    _check_mask(name, scores, mask)
    if mask.dtype.kind == "f":
        return _softmax(scores + (mask if mask.dtype == scores.dtype else mask.astype(scores.dtype)), axis=-1)
    # The least number, not −∞: a row without anything to see has a softmax, and no NaN goes back through it.
    weights = _softmax(_where(mask, scores, float(np.finfo(scores.dtype).min)), axis=-1)
    return _where(mask, weights, 0.0) if _blind(mask) else weights


def _blind(mask: Tensor) -> bool:
    """Whether some query may see nothing; on a device, where asking would wait for it, it may be so."""
    array: Any = mask._array
    return not (isinstance(array, np.ndarray) and bool(space_of(array).any(array, axis=-1).all()))


def _check_mask(name: str, scores: Tensor, mask: Tensor) -> None:
    try:
        joint = np.broadcast_shapes(scores.shape, mask.shape)
    except ValueError:
        joint = ()
    if joint != scores.shape:
        raise ShapeError(f"{name}: a mask of shape {list(mask.shape)} does not fit scores of {list(scores.shape)}")


def _shared_heads(query: Tensor, heads: Tensor) -> Tensor:
    groups, rest = divmod(query.shape[-3], max(1, heads.shape[-3]))
    if rest or min(query.ndim, heads.ndim) < 3:
        raise ShapeError(
            f"scaled_dot_product_attention: {query.shape[-3]} query heads cannot share {heads.shape[-3]} heads of keys"
        )
    return heads if groups == 1 else _repeat(heads, repeats=groups, axis=heads.ndim - 3)


def as_additive(mask: Tensor, dtype: Any) -> Tensor:
    """A mask of booleans, True where nothing may be seen, as numbers to add: 0 or −∞."""
    xp = space_of(mask._array)
    return wrap(xp.where(mask._array, -float("inf"), 0.0).astype(dtype), None)


def unmasked(mask: Tensor, keys: int) -> Tensor:
    """What a mask has for `keys` more keys that every query may see."""
    xp, shape = space_of(mask._array), (*mask.shape[:-1], keys)
    return wrap(xp.ones(shape, dtype=bool) if mask.dtype.kind == "b" else xp.zeros(shape, dtype=mask.dtype), None)
