"""Products and distances of pairs of vectors."""

from __future__ import annotations

import numpy as np

from ...errors import OptionError, ShapeError
from ...tensor import Tensor, record_of
from .convolution import whole_numbers

_matmul, _reshape, _take, _norm, _sum = map(record_of, ("matmul", "reshape", "take", "vector_norm", "sum"))
_moved, _expand_dims = map(record_of, ("permute_dims", "expand_dims"))


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y[o] = x₁ᵀ W[o] x₂ + b[o]

    Shapes: x₁ [..., in1], x₂ [..., in2], W [out, in1, in2], b [out], y [..., out].
    """
    fits = weight.ndim == 3 and min(input1.ndim, input2.ndim) > 0 and input1.shape[:-1] == input2.shape[:-1]
    if not fits or (input1.shape[-1], input2.shape[-1]) != weight.shape[1:]:
        raise ShapeError(
            "bilinear: wants inputs [..., in1] and [..., in2] and a weight [out, in1, in2], got "
            f"{list(input1.shape)}, {list(input2.shape)} and {list(weight.shape)}"
        )
    outputs, one, two = weight.shape
    x = _matmul(input1, _reshape(_moved(weight, (1, 0, 2)), (one, outputs * two)))
    y = _sum(_reshape(x, (*input1.shape[:-1], outputs, two)) * _expand_dims(input2, axis=-2), axis=-1)
    return y if bias is None else y + bias


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """‖xᵢ − xⱼ‖ₚ for all pairs of rows i < j, row by row; the slope is 0 where two rows are equal

    Shapes: x [rows, features], y [rows (rows − 1)/2].
    """
    if input.ndim != 2:
        raise ShapeError(f"pdist: wants [rows, features], got shape {list(input.shape)}")
    if not p >= 0:
        raise OptionError(f"pdist: p must not be negative, got {p!r}")
    i, j = np.triu_indices(input.shape[0], 1)
    difference = _take(input, whole_numbers(i, input), axis=0) - _take(input, whole_numbers(j, input), axis=0)
    return _norm(difference, axis=-1, ord=p)
