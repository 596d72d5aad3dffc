"""cupyx, as far as the stand-in goes: scattering, rsqrt, errstate and the special functions."""

import contextlib
from collections.abc import Iterator
from typing import Any

import cupy
import numpy as np
from cupy import _gate, linalg

from . import scipy

__all__ = ["scipy"]


def scatter_add(a: cupy.ndarray, slices: Any, value: Any) -> None:
    a.scatter_add(slices, value)


def scatter_max(a: cupy.ndarray, slices: Any, value: Any) -> None:
    a.scatter_max(slices, value)


def scatter_min(a: cupy.ndarray, slices: Any, value: Any) -> None:
    a.scatter_min(slices, value)


def geterr() -> dict[str, Any]:
    names = ("divide", "over", "under", "invalid")
    return {**dict.fromkeys(names), "linalg": "raise" if linalg.raises else "ignore"}


@contextlib.contextmanager
def errstate(
    *, divide: Any = None, over: Any = None, under: Any = None, invalid: Any = None, linalg: Any = None
) -> Iterator[None]:
    """Only linalg="raise" or "ignore": a device reports no floating-point errors."""
    if any(option is not None for option in (divide, over, under, invalid)) or linalg not in (None, "ignore", "raise"):
        raise NotImplementedError("cupyx.errstate has linalg='ignore' and linalg='raise' alone")
    before = cupy.linalg.raises
    cupy.linalg.raises = before if linalg is None else linalg == "raise"
    try:
        yield
    finally:
        cupy.linalg.raises = before


__getattr__ = _gate.namespace("cupyx", lambda name: (lambda x: 1 / np.sqrt(x)) if name == "rsqrt" else None, globals())
