"""A strict stand-in for CuPy on machines without a GPU: NumPy computes, CuPy's limits and a few more are enforced.

Every name, parameter and dtype goes through snapshot.json, taken from the real CuPy by take_snapshot.py. Refused:
whatever that CuPy lacks; implicit conversion to NumPy; a NumPy array among the arguments, operands, indices or
assigned values, inside lists too; a list where CuPy takes an array. As on a device: reductions and integer indices
give 0-d arrays; out-of-range integer arrays wrap around; of several writes to one place the first wins, where NumPy's
last would; a failed factorization raises nothing unless cupyx.errstate(linalg="raise") is on; division by zero warns
of nothing. cupy.strict counts and forbids trips to the host. There is no device memory and no device code.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as _np

from . import _gate, _ndarray, _run, cuda, fft, lib, linalg, random, strict
from ._gate import VERSION as __version__
from ._gate import ufunc
from ._ndarray import SCALARS as _SCALARS
from ._ndarray import ndarray

__all__ = ["__version__", "cuda", "fft", "lib", "linalg", "ndarray", "random", "strict", "ufunc"]
_NAMES = _gate.SNAPSHOT["names"]["cupy"]
_ndarray.namespace = sys.modules[__name__]
newaxis = None


class _DeviceCode:
    """Something that would be compiled for a device: may be declared, cannot be run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("the stand-in runs no device code")


ElementwiseKernel = ReductionKernel = RawKernel = RawModule = _DeviceCode


def fuse(*args: Any, **kwargs: Any) -> Any:
    """With a function: that function, fused; without: a decorator."""
    return _DeviceCode() if args and callable(args[0]) else _DeviceCode


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> ndarray:
    return _run.array(obj, dtype, copy, order, ndmin)


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False) -> ndarray:
    return _run.array(a, dtype, copy, order or "K", 0)


asanyarray = asarray


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> Any:
    if isinstance(a, ndarray):
        return a.get(stream, order, out, blocking)
    return _np.asarray(a, order=order)  # type: ignore[call-overload]


def get_array_module(*args: Any) -> Any:
    return _ndarray.namespace if any(isinstance(a, ndarray) for a in args) else _np


def from_dlpack(array: Any, *, device: Any = None, copy: Any = None) -> ndarray:
    if not isinstance(array, ndarray):
        raise BufferError(f"the stand-in imports only its own arrays, not {type(array)}")
    return array.copy() if copy else array.view()  # type: ignore[attr-defined]


def is_available() -> bool:
    return True


def get_default_memory_pool() -> cuda.MemoryPool:
    return cuda.MemoryPool()


# They would hand hidden arrays to their callers, or to files without counting.
_OMITTED = _gate.words(
    "apply_along_axis apply_over_axes c_ fromfunction load mask_indices mgrid ogrid piecewise r_ save savetxt savez "
    "savez_compressed"
)


def _find(name: str) -> Any:
    found = _run.RUN.get(name) or getattr(_np, name, None) or getattr(_np.exceptions, name, None)
    if _NAMES[name] == "class":  # those that are NumPy's in CuPy too
        hosted = issubclass(found, (_np.generic, Exception)) if isinstance(found, type) else False
        return found if hosted or name in ("dtype", "finfo", "iinfo", "ndindex") else None
    return None if name in _OMITTED or (_NAMES[name] == "module" and name != "exceptions") else found


__getattr__ = _gate.namespace("cupy", _find, globals())


def __dir__() -> list[str]:
    return sorted(_NAMES)


def _defers(other: Any) -> bool:
    """Whether an operator leaves the work to the other operand, as in CuPy."""
    try:
        return other.__array_ufunc__ is None
    except AttributeError:
        return getattr(other, "__array_priority__", 0) > ndarray.__array_priority__


def _operator(name: str, reflected: bool = False) -> Callable[[ndarray, Any], Any]:
    ours, numpys = __getattr__(name), getattr(_np, name)

    def operate(self: ndarray, other: Any) -> Any:
        if type(other) is ndarray or type(other) in _SCALARS:
            return ours(other, self) if reflected else ours(self, other)
        if other is None and name in ("equal", "not_equal"):
            return _ndarray.new(_np.full(self.shape, name == "not_equal"))
        if _defers(other):
            return NotImplemented
        return numpys(other, self) if reflected else numpys(self, other)

    return operate


def _unary(name: str) -> Callable[[ndarray], Any]:
    ours = __getattr__(name)
    return lambda self: ours(self)


def _in_place(name: str) -> Callable[[ndarray, Any], Any]:
    ours = __getattr__(name)
    return lambda self, other: ours(self, other, out=self)


def _equip() -> None:
    """Gives ndarray its operators and the methods that are NumPy's own."""
    binary = dict(
        add="add",
        sub="subtract",
        mul="multiply",
        truediv="divide",
        floordiv="floor_divide",
        mod="remainder",
        divmod="divmod",
        pow="power",
        lshift="left_shift",
        rshift="right_shift",
        matmul="matmul",
        **{"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"},
    )
    for short, name in binary.items():
        setattr(ndarray, f"__{short}__", _operator(name))
        setattr(ndarray, f"__r{short}__", _operator(name, reflected=True))
        if f"__i{short}__" in _gate.SNAPSHOT["names"]["cupy.ndarray"]:
            setattr(ndarray, f"__i{short}__", _in_place(name))
    for short, name in dict(
        lt="less", le="less_equal", eq="equal", ne="not_equal", gt="greater", ge="greater_equal"
    ).items():
        setattr(ndarray, f"__{short}__", _operator(name))
    for short, name in dict(neg="negative", pos="positive", abs="absolute", invert="invert").items():
        setattr(ndarray, f"__{short}__", _unary(name))
    for name, text in _gate.SNAPSHOT["names"]["cupy.ndarray"].items():
        run = _run.METHODS.get(name) or _run.RUN.get(name) or getattr(_np.ndarray, name, None)
        if name.startswith("__") or name in vars(ndarray) or name in ("dump", "dumps", "tofile"):
            continue
        if text.startswith("(") and run is not None:
            setattr(ndarray, name, _gate.method(name, run))


_equip()
