"""Other libraries at the door: NumPy's protocols, DLPack, and the display in notebooks."""

from __future__ import annotations

import html
import sys
from typing import Any

import numpy as np

from . import fft, linalg, namespace
from .backend import cupy_space
from .dtypes import VERSIONS
from .errors import DeviceError, DTypeError, Error, OptionError
from .op import registry
from .tensor import Tensor, maker, wrap

# NumPy's names that differ from the array API's.
_NAMES = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "true_divide": "divide", "power": "pow", "concatenate": "concat",
    "invert": "bitwise_invert", "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift",
    "transpose": "permute_dims", "conjugate": "conj", "cumsum": "cumulative_sum", "cumprod": "cumulative_prod",
    "amax": "max", "amin": "min", "rint": "round", "around": "round",
}  # fmt: skip
_ROOMS = {"numpy.linalg": linalg, "numpy.fft": fft}
_KEYWORDS = {"ddof": "correction", "a_min": "min", "a_max": "max"}


def _ours(name: str) -> Any:
    name = _NAMES.get(name, name)
    return getattr(namespace, name) if name in registry or name in _COMPOSED else None


_COMPOSED = {
    "einsum", "moveaxis", "swapaxes", "broadcast_arrays", "full_like", "empty_like", "meshgrid", "nonzero",
    "tensordot", "kron", "diff", "median", "quantile", "repeat", "searchsorted",
    "count_nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values", "result_type", "can_cast",
}  # fmt: skip


def _refusal(name: str, module: str = "numpy") -> DTypeError:
    return DTypeError(
        f"{module}.{name} has no counterpart here that carries a gradient; use .numpy() for the bare values"
    )


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy's ufuncs on Tensors, and `ndarray * Tensor`, reach the operation of the same name."""
    function = _ours(ufunc.__name__)
    if method != "__call__" or function is None:
        raise _refusal(ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}")
    if options:
        raise DTypeError(f"numpy.{ufunc.__name__} on a Tensor takes no {', '.join(options)}; assign the result instead")
    return function(*inputs)


def _array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's functions on Tensors reach the function of the same name, or say that there is none."""
    if func.__name__ in ("shape", "ndim", "size") and len(args) == 1 and not kwargs:
        return getattr(args[0], func.__name__)
    room = _ROOMS.get(func.__module__)
    function = _ours(func.__name__) if room is None else getattr(room, func.__name__, None)
    if function is None:
        raise _refusal(func.__name__, func.__module__ or "numpy")
    given = {_KEYWORDS.get(k, k): v for k, v in kwargs.items()}
    if room is fft:  # by position too in NumPy, where norm=None is "backward"
        several = func.__name__.endswith("fftn")
        names = ("axes",) if "shift" in func.__name__ else ("s", "axes", "norm") if several else ("n", "axis", "norm")
        args, given = args[:1], {**dict(zip(names, args[1:], strict=False)), **given}
        given = {k: v for k, v in given.items() if v is not None}
    if func.__name__ == "transpose" and len(args) == 1 and not given:
        return args[0].T
    try:
        return function(*args, **given)
    except TypeError as problem:
        if "argument" in str(problem) and not isinstance(problem, Error):
            raise DTypeError(f"numpy.{func.__name__} on a Tensor: {problem}") from problem
        raise


def _array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
    """`numpy.asarray(tensor)`: the bare values, outside the graph."""
    if self.device != "cpu":
        raise DeviceError(
            f"a Tensor on {self.device} does not turn into a NumPy array unasked; use .numpy(), which copies"
        )
    return np.array(self._array, dtype=dtype, copy=copy)


def from_dlpack(x: Any, device: str | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor that shares the memory of another library's array, on the CPU or a GPU; with `copy`, or when it is
    moved to another device, a copy.

    Raises: OptionError for copy=False where only a copy would do.
    """
    return namespace.asarray(_imported(x), device=device, copy=copy)


def _imported(x: Any) -> Tensor:
    if isinstance(x, Tensor):
        x = x._array
    if not hasattr(x, "__dlpack_device__"):
        raise DTypeError(f"from_dlpack: takes an array with __dlpack__, not {type(x).__name__}")
    kind = x.__dlpack_device__()[0]
    if int(kind) in (1, 3):
        return wrap(np.from_dlpack(x), None)
    if int(kind) in (2, 13):
        return wrap(cupy_space().module.from_dlpack(x), None)
    raise DeviceError(f"from_dlpack: memory of device type {kind} is neither CPU nor CUDA")


def _dlpack(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """The memory, for another library to share; see `from_dlpack`."""
    if self._node is not None:
        raise DTypeError("DLPack carries no graph; use detach() first")
    return self._array.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)


def _array_namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """The library, for array-API code; every version of the standard up to 2024.12 holds."""
    if api_version is not None and api_version not in VERSIONS:
        raise OptionError(f"__array_namespace__: {api_version!r} is none of the versions {', '.join(VERSIONS)}")
    return sys.modules[__package__]


def _html(self: Tensor) -> str:
    """A table of the values (the first ten each way), shaded by magnitude, with shape, dtype and origin."""
    facts = f"Tensor {list(self.shape)} {self.dtype} on {self.device}"
    made = maker(self._node) if self._node is not None else ""
    facts += f", made by {made}" if made else ", a leaf" if self.requires_grad else ""
    caption = f"<caption style='text-align:left'>{html.escape(facts)}</caption>"
    if self.ndim > 2 or self.size == 0 or self.device == "shapes":
        return f"<pre>{html.escape(repr(self))}</pre>"
    values = np.atleast_2d(self.numpy())
    top = float(np.max(np.abs(values[np.isfinite(values)].astype(complex)), initial=0.0)) or 1.0
    rows = []
    for row in values[:10]:
        cells = []
        for v in row[:10]:
            strength = min(1.0, abs(complex(v)) / top) if np.isfinite(v) else 1.0
            hue = "213, 94, 0" if np.real(v) < 0 else "0, 114, 178"
            text = f"{v:.4g}" if self.dtype.kind in "fc" else str(v)
            cells.append(f"<td style='text-align:right;background:rgba({hue},{0.35 * strength:.2f})'>{text}</td>")
        rows.append(f"<tr>{''.join(cells)}{'<td>…</td>' if row.size > 10 else ''}</tr>")
    more = "<tr><td>…</td></tr>" if len(values) > 10 else ""
    return f"<table>{caption}{''.join(rows)}{more}</table>"


Tensor.__array_ufunc__ = _array_ufunc  # type: ignore[attr-defined]
Tensor.__array_function__ = _array_function  # type: ignore[attr-defined]
Tensor.__array__ = _array  # type: ignore[attr-defined]
Tensor.__dlpack__ = _dlpack  # type: ignore[attr-defined]
Tensor.__dlpack_device__ = lambda self: self._array.__dlpack_device__()  # type: ignore[attr-defined]
Tensor.__array_namespace__ = _array_namespace  # type: ignore[attr-defined]
Tensor._repr_html_ = _html  # type: ignore[attr-defined]
