"""What the tests of the engine share: a comparison that is strict about shape, and whose memory is whose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_mlsp as tg
from tinygrad_mlsp import backend

Make = Callable[..., tg.Tensor]


def maker(device: str) -> Make:
    """The function that makes Tensors where the tests compute."""

    def make(data: Any, requires_grad: bool = False, dtype: Any = None) -> tg.Tensor:
        return tg.Tensor(data, requires_grad, dtype, device)

    return make


def holds(tensor: tg.Tensor | None, expected: Any, dtype: Any = None, tolerance: float = 1e-6) -> None:
    """The tensor is an array of just this shape and these values."""
    assert tensor is not None
    assert type(tensor.data) in backend.spaces, f"{type(tensor.data)} is not an array"
    expected = np.asarray(expected)
    assert tensor.shape == expected.shape
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=tolerance, atol=tolerance)
    if dtype is not None:
        assert tensor.dtype == np.dtype(dtype)


def shared(a: Any, b: Any) -> bool:
    """Whether two arrays, or two Tensors, lie in the same memory."""
    a, b = (x.data if isinstance(x, tg.Tensor) else x for x in (a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.shares_memory(a, b)
    return root(a) is root(b)


def root(array: Any) -> Any:
    """The array that owns the memory."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array
