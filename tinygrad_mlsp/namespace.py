"""The library as an array namespace: the array API's names, on Tensors, with gradients.

Every operation of `rules` is here under its own name; beside them stand creation functions and the
compositions that need no rule of their own. The operators of Tensor are attached here.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from . import record, rules  # noqa: F401  (they make and declare the operations)
from .backend import space_for
from .convert import as_array, as_dtype, common_dtype
from .errors import DTypeError, OptionError, ShapeError
from .op import registry
from .tensor import Tensor, record_of, wrap

pi, e, inf, nan, newaxis = np.pi, np.e, np.inf, np.nan, None
bool, int8, int16, int32, int64 = np.dtype("bool"), np.dtype("i1"), np.dtype("i2"), np.dtype("i4"), np.dtype("i8")
uint8, uint16, uint32, uint64 = np.dtype("u1"), np.dtype("u2"), np.dtype("u4"), np.dtype("u8")
float16, float32, float64 = np.dtype("f2"), np.dtype("f4"), np.dtype("f8")
complex64, complex128 = np.dtype("c8"), np.dtype("c16")


def __getattr__(name: str) -> Callable[..., Any]:
    """An operation by its name; found once, then an ordinary attribute."""
    if name in registry:
        globals()[name] = registry[name].record
        return globals()[name]
    raise AttributeError(f"tinygrad_mlsp has no {name!r}")


def __dir__() -> list[str]:
    return sorted({*(n for n in globals() if not n.startswith("_")), *registry})


# Creation


def tensor(data: Any, dtype: Any = None, device: str | None = None, requires_grad: builtins.bool = False) -> Tensor:
    """A new Tensor with a copy of the data."""
    return Tensor(
        np.array(data) if isinstance(data, np.ndarray) else as_array(data).copy(), requires_grad, dtype, device
    )


def asarray(data: Any, dtype: Any = None, device: str | None = None, copy: Any = None) -> Tensor:
    """A Tensor of the data; a Tensor that fits is returned as it is, graph included."""
    if isinstance(data, Tensor):
        out = data.to(device, dtype if dtype != data.dtype else None)
        return +out if copy else out
    return tensor(data, dtype, device) if copy else Tensor(data, dtype=dtype, device=device)


def _create(name: str, dtype: Any, device: str | None, *arguments: Any) -> Tensor:
    if isinstance(dtype, int):
        raise DTypeError(f"{name}: {dtype!r} is not a dtype; pass the shape as a tuple, as in {name}((2, 3))")
    dtype = as_dtype(float32 if dtype is None else dtype, name)
    space, index = space_for(device or "cpu")
    try:
        if space.name == "cuda":
            with space.module.cuda.Device(index):
                return wrap(getattr(space, name)(*arguments, dtype=dtype), None)
        return wrap(getattr(space, name)(*arguments, dtype=dtype), None)
    except (TypeError, ValueError, OverflowError) as problem:
        if name in ("arange", "linspace"):
            raise OptionError(f"{name}: cannot count along {arguments}: {problem}") from problem
        what = f"{arguments[0]!r}, {arguments[1]!r}" if name == "eye" else f"shape {arguments[0]!r}"
        raise ShapeError(f"{name}: {what} is not of whole numbers from 0 on that fit: {problem}") from problem


def zeros(shape: Any, dtype: Any = float32, device: str | None = None) -> Tensor:
    """Zeros, float32 unless told."""
    return _create("zeros", dtype, device, shape)


def ones(shape: Any, dtype: Any = float32, device: str | None = None) -> Tensor:
    """Ones, float32 unless told."""
    return _create("ones", dtype, device, shape)


def full(shape: Any, fill_value: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """One value everywhere; Python floats give float32."""
    return _create("full", dtype or as_array(fill_value).dtype, device, shape, fill_value)


def empty(shape: Any, dtype: Any = float32, device: str | None = None) -> Tensor:
    """Uninitialized memory."""
    return _create("empty", dtype, device, shape)


def eye(n: int, m: int | None = None, dtype: Any = float32, device: str | None = None) -> Tensor:
    """The identity matrix [n, m]."""
    return _create("eye", dtype, device, n, n if m is None else m)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, device: str | None = None) -> Tensor:
    """start, start + step, … before stop; int64 from whole numbers, else float32."""
    if stop is None:
        start, stop = 0, start
    if isinstance(step, (int, float)) and step == 0:
        raise OptionError("arange: step is 0 and would never arrive")
    if dtype is None:
        dtype = int64 if all_ints(start, stop, step) else float32
    return _create("arange", dtype, device, start, stop, step)


def all_ints(*values: Any) -> Any:
    return builtins.all(isinstance(v, (int, np.integer)) for v in values)


def linspace(start: float, stop: float, num: int, dtype: Any = float32, device: str | None = None) -> Tensor:
    """`num` numbers from start to stop, both included."""
    return _create("linspace", dtype, device, start, stop, num)


def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """One value everywhere, like x."""
    return full(x.shape, fill_value, dtype or x.dtype, x.device)


def empty_like(x: Any, dtype: Any = None) -> Tensor:
    """Uninitialized memory, like x."""
    return empty(x.shape, dtype or x.dtype, x.device)


# Compositions


def astype(x: Any, dtype: Any) -> Tensor:
    """y = x in another dtype. No gradient goes through whole numbers and truths."""
    x, dtype = asarray(x), as_dtype(dtype, "astype")
    return record_of("astype")(x if dtype.kind in "fc" else x.detach(), dtype)


def einsum(equation: str, *arrays: Any) -> Tensor:
    """y = the products of the arrays summed as the equation says.

    >>> einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.], dtype=float32)
    """
    return record_of("einsum")(arrays, equation)


def broadcast_arrays(*arrays: Any) -> tuple[Tensor, ...]:
    """The arrays, each broadcast to their common shape."""
    tensors = [asarray(a) for a in arrays]
    shape = np.broadcast_shapes(*[t.shape for t in tensors])
    return tuple(record_of("broadcast_to")(t, shape) for t in tensors)


def _axis(name: str, x: Tensor, axis: Any) -> int:
    if not isinstance(axis, (int, np.integer)) or not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"{name}: axis {axis!r} is not one of a tensor of shape {x.shape}, which has {x.ndim}")
    return int(axis) % x.ndim


def moveaxis(x: Any, source: int, destination: int) -> Tensor:
    """x with one axis moved."""
    x = asarray(x)
    source, destination = _axis("moveaxis", x, source), _axis("moveaxis", x, destination)
    order = [i for i in range(x.ndim) if i != source]
    order.insert(destination, source)
    return record_of("permute_dims")(x, tuple(order))


def swapaxes(x: Any, a: int, b: int) -> Tensor:
    """x with two axes exchanged."""
    x = asarray(x)
    order = list(range(x.ndim))
    a, b = _axis("swapaxes", x, a), _axis("swapaxes", x, b)
    order[a], order[b] = order[b], order[a]
    return record_of("permute_dims")(x, tuple(order))


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """y = the entries of x at `indices` along an axis, which a vector need not name."""
    if axis is None:
        if (ndim := np.ndim(x) if not hasattr(x, "ndim") else x.ndim) != 1:
            raise ShapeError(f"take: a tensor of {ndim} dimensions needs axis=")
        axis = 0
    return record_of("take")(x, indices, axis)


def mse(input: Any, target: Any) -> Tensor:
    """y = mean (input − target)²"""
    difference = record_of("subtract")(input, target)
    return record_of("mean")(record_of("square")(difference))


def result_type(*operands: Any) -> Any:
    """The dtype in which the operands meet; Python numbers do not widen it."""
    dtypes = [
        o.dtype if hasattr(o, "dtype") else np.dtype(o) for o in operands if not isinstance(o, (int, float, complex))
    ]
    return common_dtype(dtypes, [o for o in operands if isinstance(o, (int, float, complex))])


finfo, iinfo = np.finfo, np.iinfo


# Operators


def _reflected(name: str) -> Callable[[Tensor, Any], Tensor]:
    function = _operator(name)
    return lambda self, other: function(other, self)


def _operator(name: str) -> Callable[..., Any]:
    """The operation as a method: beside what is no array, it leaves the answer to the other operand."""
    return record.as_operator(registry[name].record)


def _power(x: Tensor, p: Any) -> Tensor:
    """xᵖ, by multiplication for the small whole powers, where it is far cheaper and as exact."""
    if type(p) in (int, float):
        if p == 2:
            return record_of("square")(x)
        if p == 1:
            return record_of("positive")(x)
        if p == 3:
            return x * record_of("square")(x)
        if p == 0.5:
            return record_of("sqrt")(x)
        if p == -1:
            return record_of("reciprocal")(x)
    return _general_power(x, p)


_general_power = _operator("pow")


def _round(x: Tensor, ndigits: int | None = None) -> Tensor:
    if ndigits is not None:
        raise OptionError("round: rounds to whole numbers only; multiply by 10**n before, divide after")
    return record_of("round")(x)


def _operators() -> None:
    binary = {
        "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "matmul": "matmul",
        "floordiv": "floor_divide", "mod": "remainder", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
        "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
    }  # fmt: skip
    for symbol, name in binary.items():
        setattr(Tensor, f"__{symbol}__", _operator(name))
        setattr(Tensor, f"__r{symbol}__", _reflected(name))
    comparisons = {
        "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
    }  # fmt: skip
    for symbol, name in comparisons.items():
        setattr(Tensor, f"__{symbol}__", _operator(name))
    for symbol, name in {"neg": "negative", "pos": "positive", "abs": "abs", "invert": "bitwise_invert"}.items():
        setattr(Tensor, f"__{symbol}__", record_of(name))
    Tensor.__pow__ = _power
    Tensor.__rpow__ = _reflected("pow")
    extra = {
        "__divmod__": lambda self, other: (self // other, self % other),
        "__rdivmod__": lambda self, other: (other // self, other % self),
        "__round__": _round,
    }
    for symbol, method in extra.items():
        setattr(Tensor, symbol, method)
    methods = """
        sum mean var std max min prod logsumexp softmax log_softmax argmax argmin any all
        exp log sqrt square tanh sigmoid relu abs conj squeeze clip
    """
    for name in methods.split():
        setattr(Tensor, name, record_of(name))


def _reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same entries in another shape, given as a tuple or as numbers."""
    return record_of("reshape")(x, shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)


def _transpose(x: Tensor, *axes: int) -> Tensor:
    """The axes in another order; reversed if none is named."""
    if len(axes) == 1 and isinstance(axes[0], (tuple, list)):
        axes = tuple(axes[0])
    return record_of("permute_dims")(x, axes or tuple(reversed(range(x.ndim))))


_operators()
Tensor.astype = astype
Tensor.reshape = _reshape
Tensor.transpose = _transpose
Tensor.flatten = lambda x: _reshape(x, -1)
Tensor.T = property(_transpose)  # type: ignore[assignment]
Tensor.mT = property(record_of("matrix_transpose"))  # type: ignore[assignment]
Tensor.take = take
