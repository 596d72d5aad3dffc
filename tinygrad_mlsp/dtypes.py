"""The dtypes by their names, and what the array API asks about them and about the library."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backend import available
from .convert import as_dtype, common_dtype
from .errors import DTypeError, OptionError

bool, int8, int16, int32, int64 = np.dtype("bool"), np.dtype("i1"), np.dtype("i2"), np.dtype("i4"), np.dtype("i8")
uint8, uint16, uint32, uint64 = np.dtype("u1"), np.dtype("u2"), np.dtype("u4"), np.dtype("u8")
float16, float32, float64 = np.dtype("f2"), np.dtype("f4"), np.dtype("f8")
complex64, complex128 = np.dtype("c8"), np.dtype("c16")

STANDARD = (
    bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64, complex64, complex128,
)  # fmt: skip
KINDS = {
    "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu", "real floating": "f",
    "complex floating": "c", "numeric": "iufc",
}  # fmt: skip
VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")  # of the standard; each holds the ones before


def isdtype(dtype: Any, kind: Any) -> builtins.bool:
    """Whether a dtype is of a kind ("integral", "real floating", …), is another dtype, or is one of several."""
    dtype = as_dtype(dtype, "isdtype")
    if isinstance(kind, tuple):
        return any([isdtype(dtype, k) for k in kind])
    if isinstance(kind, str):
        if kind not in KINDS:
            raise OptionError(f"isdtype: {kind!r} is not a kind; {', '.join(map(repr, KINDS))} are, and every dtype")
        return dtype.kind in KINDS[kind]
    return dtype == as_dtype(kind, "isdtype")


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype in which arrays, dtypes and Python numbers meet; the numbers do not widen it."""
    if not arrays_and_dtypes:
        raise OptionError("result_type: needs at least one array, dtype or number")
    weak = (builtins.bool, int, float, complex)
    dtypes = [_dtype_of(o, "result_type") for o in arrays_and_dtypes if not isinstance(o, weak)]
    return common_dtype(dtypes, [o for o in arrays_and_dtypes if isinstance(o, weak)])


def can_cast(from_: Any, to: Any) -> builtins.bool:
    """Whether an array or a dtype goes into the dtype `to` wherever the two meet (see `result_type`)."""
    to = as_dtype(to, "can_cast")
    return builtins.bool(common_dtype([_dtype_of(from_, "can_cast"), to]) == to)


def _dtype_of(value: Any, what: str) -> Any:
    return as_dtype(value if isinstance(value, type) else getattr(value, "dtype", value), what)


@dataclass(frozen=True)
class FloatFacts:
    """The machine limits of a floating-point dtype, as Python numbers; of its parts, where it is complex."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: Any

    @property
    def tiny(self) -> float:
        """`smallest_normal` under NumPy's older name."""
        return self.smallest_normal


@dataclass(frozen=True)
class IntegerFacts:
    """The limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: Any


def finfo(type: Any) -> FloatFacts:
    """The machine limits of a floating-point dtype, or of an array's."""
    dtype = _dtype_of(type, "finfo")
    if dtype.kind not in "fc":
        raise DTypeError(f"finfo: {dtype} is not a floating-point dtype; iinfo speaks of integers")
    f = np.finfo(dtype)
    return FloatFacts(f.bits, float(f.eps), float(f.max), float(f.min), float(f.smallest_normal), np.dtype(f.dtype))


def iinfo(type: Any) -> IntegerFacts:
    """The limits of an integer dtype, or of an array's."""
    dtype = _dtype_of(type, "iinfo")
    if dtype.kind not in "iu":
        raise DTypeError(f"iinfo: {dtype} is not an integer dtype; finfo speaks of floating-point numbers")
    i = np.iinfo(dtype)
    return IntegerFacts(int(i.bits), int(i.max), int(i.min), dtype)


class Info:
    """What the library can do, in the words of the array API."""

    def capabilities(self) -> dict[str, Any]:
        """Which optional behaviour is there."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """Where arrays are made unless told."""
        return "cpu"

    def devices(self) -> list[str]:
        """'cpu', and every GPU that CuPy finds."""
        return ["cpu", *(f"cuda:{i}" for i in range(available().cuda))]

    def default_dtypes(self, *, device: str | None = None) -> dict[str, Any]:
        """The dtypes of what is made without one; float32 and complex64, not NumPy's double width."""
        return {"real floating": float32, "complex floating": complex64, "integral": int64, "indexing": int64}

    def dtypes(self, *, device: str | None = None, kind: Any = None) -> dict[str, Any]:
        """The standard's dtypes by name, all of them or those of a kind; float16, which it lacks, is there besides."""
        return {d.name: d for d in STANDARD if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> Info:
    """Devices, dtypes and capabilities, for array-API code that asks."""
    return Info()


__array_api_version__ = VERSIONS[-1]
