"""Into arrays: what users pass, and the dtype in which different arguments meet."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .backend import device_of, float32, numpy_space, space_of, spaces, to_device
from .errors import DTypeError, ShapeError


def as_dtype(dtype: Any, what: str = "Tensor") -> Any:
    """The NumPy dtype that `dtype` names; only numbers and truths have a place in a Tensor."""
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError) as problem:
        raise DTypeError(f"{what}: {dtype!r} is not a dtype; 'float32', 'float64', 'int64', 'bool' are") from problem
    if found.kind not in "fciub":
        raise DTypeError(f"{what}: dtype {found} is not numeric; 'float32', 'float64', 'int64', 'bool' are")
    return found


def _bare(data: Any) -> Any:
    """Nested lists in which every Tensor is replaced by its array."""
    kinds = set(map(type, data))
    if not any(issubclass(k, (list, tuple)) or hasattr(k, "_as_element") for k in kinds):
        return data
    return [
        d._as_element() if hasattr(d, "_as_element") else _bare(d) if isinstance(d, (list, tuple)) else d for d in data
    ]


def _wide(data: Any) -> bool:
    """Whether nested lists hold a Tensor of double width, which no number beside it makes narrower."""
    if not isinstance(data, (list, tuple)):
        return False
    kinds = set(map(type, data))
    if any(hasattr(k, "_as_element") for k in kinds) and any(
        getattr(d, "dtype", None) in (np.float64, np.complex128) for d in data if hasattr(d, "_as_element")
    ):
        return True
    return any(issubclass(k, (list, tuple)) for k in kinds) and any(map(_wide, data))


def as_array(data: Any, dtype: Any = None, device: str | None = None) -> Any:
    """A raw array of anything array-like. Python floats become float32."""
    data = getattr(data, "_array", data)  # of a Tensor
    given = type(data).__name__
    if dtype is not None:
        dtype = as_dtype(dtype)
    plain = data
    if type(data) not in spaces and space_of(data) is numpy_space:  # not an array, or one of NumPy's other kinds
        if isinstance(data, (list, tuple)):
            data = _bare(data)
        elif isinstance(data, np.ma.MaskedArray):
            raise DTypeError("Tensor: takes no masked array, its mask would be lost; use .filled(value) first")
        is_array = isinstance(data, (np.ndarray, np.generic))
        try:
            data = np.asarray(data)
        except ValueError as problem:
            raise ShapeError(f"Tensor: nested lists of unequal lengths ({problem})") from problem
        if dtype is not None and dtype.kind in "iu" and isinstance(plain, (int, list, tuple)) and data.dtype != dtype:
            data = _whole(plain, data, dtype)
        if not is_array and dtype is None and data.dtype in (np.float64, np.complex128) and not _wide(plain):
            data = data.astype(float32 if data.dtype == np.float64 else np.complex64)
    if data.dtype.kind not in "fciub":
        raise DTypeError(f"Tensor: dtype {data.dtype} is not numeric (from {given})")
    if dtype is not None and data.dtype != dtype:
        if data.dtype.kind == "c" and dtype.kind != "c":
            raise DTypeError(f"Tensor: complex values do not fit dtype {dtype}; take their real part or abs")
        data = data.astype(dtype)
    elif not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("="))
    return data if device is None else to_device(data, device)


def _whole(plain: Any, data: Any, dtype: Any) -> Any:
    """Numbers as whole ones straight away: on the way through float64 NumPy would round those that need 64 bits."""
    if data.dtype.kind not in "iufO":
        return data
    try:
        return np.asarray(plain, dtype=dtype)
    except (OverflowError, ValueError) as problem:
        raise DTypeError(f"Tensor: the numbers do not fit dtype {dtype} ({problem})") from problem
    except TypeError:
        return data  # no numbers at all, of which the caller speaks


def common_dtype(dtypes: Sequence[Any], numbers: Sequence[Any] = ()) -> Any:
    """The dtype in which arguments meet: the widest of the highest kind (bool < integer < float < complex).

    Python numbers raise the kind but never the width, and integers take the floats' width: float32 stays float32.
    """
    best = [d for d in dtypes if _rank(d) == max(map(_rank, dtypes))]
    dtype = functools.reduce(np.promote_types, best) if best else None
    rank = max([_rank(np.asarray(n).dtype) for n in numbers], default=0)
    if dtype is None or rank > _rank(dtype):
        wide = dtype is not None and dtype.itemsize == 8 and dtype.kind == "f"
        dtype = np.dtype({0: "bool", 1: "int64", 2: "float32", 3: "complex128" if wide else "complex64"}[rank])
    floats = [d for d in dtypes if d.kind == "f"]
    if dtype.kind == "c" and any(d == np.float64 for d in floats):
        dtype = np.dtype("complex128")
    return np.dtype(dtype.type)


def _rank(dtype: Any) -> int:
    return {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}[dtype.kind]


_numbers: dict[Any, Any] = {}


def number(value: Any, dtype: Any, like: Any) -> Any:
    """A Python number as a 0-d array of `dtype` beside the array `like`; small tables of them are kept."""
    kind = type(like)
    key = (type(value), value, dtype, kind, None if kind is np.ndarray else device_of(like))
    found = _numbers.get(key) if value else None  # 0.0 and −0.0 are one key, so zeros are made anew
    if found is None:
        try:
            found = space_of(like).asarray(value, dtype=dtype)
        except OverflowError as problem:
            raise DTypeError(
                f"the number {value} does not fit a tensor of dtype {dtype}; use astype first"
            ) from problem
        if len(_numbers) >= 1024:
            _numbers.clear()
        if value:
            _numbers[key] = found
    return found
