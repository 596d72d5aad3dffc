"""What runs on the hidden arrays where NumPy's function of the same name does not do as CuPy's does."""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import strict
from ._ndarray import leaves, ndarray, new, supported, wrap


def array(obj: Any, dtype: Any, copy: Any, order: Any, ndmin: int) -> ndarray:
    """A copy from the host, or from arrays on the device; never from both."""
    if isinstance(obj, ndarray):
        return wrap(np.array(obj._hidden, dtype, copy=True if copy else None, order=order, ndmin=ndmin), (obj,))
    on_device = [isinstance(leaf, ndarray) for leaf in leaves(obj)]
    if any(on_device):
        if not all(on_device):
            raise TypeError("Implicit conversion to a NumPy array is not allowed: a list of arrays and numbers")

        def unwrap(nest: Any) -> Any:
            return nest._hidden if isinstance(nest, ndarray) else [unwrap(n) for n in nest]

        obj = unwrap(obj)
    return new(supported(np.array(obj, dtype, order=order, ndmin=ndmin)))


def _wrapped(indices: Any, n: int) -> Any:
    return np.asarray(indices) % n if n else indices


def _take(a: Any, indices: Any, axis: Any = None, out: Any = None) -> Any:
    return np.take(a, indices, axis, out, mode="wrap")


def _take_along_axis(a: Any, indices: Any, axis: Any) -> Any:
    return np.take_along_axis(a, _wrapped(indices, a.size if axis is None else a.shape[axis]), axis)


# Of several writes to one place the first wins: they are made in reverse order.
def _put(a: Any, indices: Any, values: Any, mode: Any = "wrap") -> None:
    indices = np.ravel(indices)
    np.put(a, indices[::-1], np.resize(values, indices.size)[::-1], mode=mode)


def _put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    indices = _wrapped(indices, arr.size if axis is None else arr.shape[axis])
    values = np.broadcast_to(values, indices.shape)
    np.put_along_axis(arr, np.flip(indices, axis or 0), np.flip(values, axis or 0), axis)


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        strict.synchronize("where() of a condition alone")
        return np.nonzero(condition)
    if x is None or y is None:
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    return np.where(condition, x, y)


def _average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    if weights is not None:
        strict.synchronize("average() with weights")
    average: Any = np.average
    return average(a, axis, weights, returned, keepdims=keepdims)


def _with_dtype(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, dtype=None, **options: np.asarray(run(a, **options)).astype(dtype or np.int64)


def _astype(a: Any, dtype: Any, **options: Any) -> Any:
    if {"casting", "subok"} & set(options):
        raise TypeError("casting and subok are not supported yet")
    return a.astype(dtype, **options)


RUN: dict[str, Callable[..., Any]] = {
    "average": _average,
    "put": _put,
    "put_along_axis": _put_along_axis,
    "take": _take,
    "take_along_axis": _take_along_axis,
    "where": _where,
    **{name: _with_dtype(getattr(np, name)) for name in ("argmax", "argmin", "nanargmax", "nanargmin")},
}
METHODS: dict[str, Callable[..., Any]] = {"astype": _astype, "ptp": np.ptp}
