"""The library as an array namespace: the array API's names, on Tensors, with gradients.

Every operation of `rules` is here under its own name; beside them stand creation functions and the
compositions that need no rule of their own. The operators of Tensor are attached here.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from types import NoneType
from typing import Any, NamedTuple

import numpy as np

from . import record, rules  # noqa: F401  (they make and declare the operations)
from .backend import space_for, space_of, spaces
from .compositions import (
    add_at,
    diff,
    gather,
    index_add,
    masked_fill,
    masked_select,
    median,
    put_along_axis,
    quantile,
    repeat,
    scatter,
    searchsorted,
    set_at,
    topk,
)  # fmt: skip
from .convert import as_array, as_dtype
from .dtypes import (
    __array_api_version__,
    __array_namespace_info__,
    bool,
    can_cast,
    complex64,
    complex128,
    finfo,
    float16,
    float32,
    float64,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    isdtype,
    result_type,
    uint8,
    uint16,
    uint32,
    uint64,
)  # fmt: skip
from .errors import DTypeError, OptionError, ShapeError
from .op import registry
from .record import named
from .rules.shape import axis_of
from .tensor import Tensor, record_of, wrap

# Every operation is public beside these, by its own name.
__all__ = [
    "UniqueAll",
    "UniqueCounts",
    "UniqueInverse",
    "__array_api_version__",
    "__array_namespace_info__",
    "add_at",
    "arange",
    "asarray",
    "astype",
    "bool",
    "broadcast_arrays",
    "can_cast",
    "clip",
    "complex64",
    "complex128",
    "count_nonzero",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "e",
    "einsum",
    "empty",
    "empty_like",
    "eye",
    "finfo",
    "float16",
    "float32",
    "float64",
    "full",
    "full_like",
    "gather",
    "iinfo",
    "index_add",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "kron",
    "linspace",
    "masked_fill",
    "masked_select",
    "median",
    "meshgrid",
    "moveaxis",
    "mse",
    "nan",
    "newaxis",
    "nonzero",
    "ones",
    "ones_like",
    "pi",
    "prod",
    "put_along_axis",
    "quantile",
    "repeat",
    "reshape",
    "result_type",
    "scatter",
    "searchsorted",
    "set_at",
    "sign",
    "sum",
    "swapaxes",
    "take",
    "tensor",
    "tensordot",
    "topk",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "zeros",
    "zeros_like",
]  # fmt: skip

pi, e, inf, nan, newaxis = np.pi, np.e, np.inf, np.nan, None


def __getattr__(name: str) -> Callable[..., Any]:
    """An operation by its name; found once, then an ordinary attribute."""
    if name in registry:
        if registry[name].lasting:
            globals()[name] = registry[name].record
        return registry[name].record
    raise AttributeError(f"tinygrad_mlsp has no {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *registry})


# Creation


def tensor(data: Any, dtype: Any = None, device: str | None = None, requires_grad: builtins.bool = False) -> Tensor:
    """A new Tensor with a copy of the data."""
    return Tensor(
        np.array(data) if isinstance(data, np.ndarray) else as_array(data).copy(), requires_grad, dtype, device
    )


def asarray(data: Any, dtype: Any = None, device: str | None = None, copy: Any = None) -> Tensor:
    """A Tensor of the data; a Tensor that fits is returned as it is, graph included.

    With `copy` the memory is new; with copy=False it is the data's own, and what needs a copy is an error.

    Raises: OptionError for copy=False where only a copy would do.
    """
    if isinstance(data, Tensor):
        out = data.to(device, dtype if dtype != data.dtype else None)
        if copy is False and out._array is not data._array:
            raise _no_copy("asarray", f"a tensor of {data.dtype} on {data.device} as {out.dtype} on {out.device}")
        return _copied(out) if copy and out._array is data._array else out
    if copy is False and type(data) not in spaces:
        try:
            data = np.asarray(data, copy=False)
        except ValueError as problem:
            raise _no_copy("asarray", f"{type(data).__name__} into an array") from problem
    out = tensor(data, dtype, device) if copy else Tensor(data, dtype=dtype, device=device)
    if copy is False and out._array is not data:
        raise _no_copy("asarray", f"an array of {data.dtype} as {out.dtype} on {out.device}")
    return out


def _copied(x: Tensor) -> Tensor:
    """x in memory of its own; truths, which have no sign, too."""
    return record_of("positive")(x) if x.dtype.kind != "b" else wrap(x._array.copy(), None)


def _no_copy(name: str, what: str) -> OptionError:
    return OptionError(f"{name}: copy=False, but {what} needs a copy; leave copy out")


def _create(name: str, dtype: Any, device: str | None, *arguments: Any, **options: Any) -> Tensor:
    if isinstance(dtype, int):
        raise DTypeError(f"{name}: {dtype!r} is not a dtype; pass the shape as a tuple, as in {name}((2, 3))")
    dtype = as_dtype(float32 if dtype is None else dtype, name)
    space, index = space_for(device or "cpu")
    try:
        if space.name == "cuda":
            with space.module.cuda.Device(index):
                return wrap(getattr(space, name)(*arguments, dtype=dtype, **options), None)
        return wrap(getattr(space, name)(*arguments, dtype=dtype, **options), None)
    except (TypeError, ValueError, OverflowError) as problem:
        if name in ("arange", "linspace"):
            raise OptionError(f"{name}: cannot count along {arguments}: {problem}") from problem
        what = f"{arguments[0]!r}, {arguments[1]!r}" if name == "eye" else f"shape {arguments[0]!r}"
        raise ShapeError(f"{name}: {what} is not of whole numbers from 0 on that fit: {problem}") from problem


def zeros(shape: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """Zeros, float32 unless told."""
    return _create("zeros", dtype, device, shape)


def ones(shape: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """Ones, float32 unless told."""
    return _create("ones", dtype, device, shape)


def full(shape: Any, fill_value: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """One value everywhere; Python floats give float32. A gradient goes to a value that is a 0-d tensor."""
    if isinstance(fill_value, Tensor):
        value = asarray(fill_value, device=device)
        return _copied(record_of("broadcast_to")(value if dtype is None else astype(value, dtype), shape))
    return _create("full", dtype or as_array(fill_value).dtype, device, shape, fill_value)


def empty(shape: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """Uninitialized memory."""
    return _create("empty", dtype, device, shape)


def eye(n: int, m: int | None = None, k: int = 0, dtype: Any = None, device: str | None = None) -> Tensor:
    """The identity matrix [n, m], its ones moved `k` places to the right."""
    return _create("eye", dtype, device, n, n if m is None else m, k=k)


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


def linspace(
    start: Any,
    stop: Any,
    num: int,
    dtype: Any = None,
    device: str | None = None,
    endpoint: builtins.bool = True,
) -> Tensor:
    """`num` numbers from start to stop, both included; without the endpoint, one step short of it."""
    if dtype is None and (isinstance(start, complex) or isinstance(stop, complex)):
        dtype = complex64
    return _create("linspace", dtype, device, start, stop, num, endpoint=endpoint)


@named
def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Tensor]:
    """The coordinates of a grid: each vector along an axis of its own, copied along all others.

    Shapes: of vectors of lengths n, m, k, … each [m, n, k, …], or with indexing="ij" each [n, m, k, …]
    """
    if indexing not in ("xy", "ij"):
        raise OptionError(f"meshgrid: indexing is 'xy' or 'ij', not {indexing!r}")
    axes = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        axes[:2] = [1, 0]
    lines = [_reshape(t, (1,) * a + (-1,) + (1,) * (len(axes) - a - 1)) for t, a in zip(map(asarray, arrays), axes)]
    return broadcast_arrays(*lines)


# Like another: its shape, and unless told its dtype and device.


def full_like(x: Any, fill_value: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """One value everywhere, like x."""
    x = asarray(x)
    return full(x.shape, fill_value, dtype or x.dtype, device or x.device)


def empty_like(x: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """Uninitialized memory, like x."""
    x = asarray(x)
    return empty(x.shape, dtype or x.dtype, device or x.device)


def zeros_like(x: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """Zeros, like x."""
    return record_of("zeros_like")(x) if dtype is None is device else full_like(x, 0, dtype, device)


def ones_like(x: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """Ones, like x."""
    return record_of("ones_like")(x) if dtype is None is device else full_like(x, 1, dtype, device)


# Compositions


def astype(x: Any, dtype: Any, copy: builtins.bool = True, device: str | None = None) -> Tensor:
    """y = x in another dtype; where nothing changes, with copy=False x itself. No gradient goes through whole
    numbers and truths."""
    x, dtype = asarray(x, device=device), as_dtype(dtype, "astype")
    if not copy and x.dtype == dtype:
        return x
    if x.dtype.kind == "c" and dtype.kind not in "cb":
        raise DTypeError(f"astype: {x.dtype} does not fit {dtype}; take its real or imag part, or abs")
    return record_of("astype")(x if dtype.kind in "fc" else x.detach(), dtype)


def sum(x: Any, axis: Any = None, keepdims: builtins.bool = False, dtype: Any = None) -> Tensor:
    """y = Σ x, added up in `dtype`; whole numbers in 64 bits unless told"""
    y = record_of("sum")(x if dtype is None else astype(x, dtype), axis=axis, keepdims=keepdims)
    return y if dtype is None else astype(y, dtype, copy=False)


def prod(x: Any, axis: Any = None, keepdims: builtins.bool = False, dtype: Any = None) -> Tensor:
    """y = Π x, multiplied in `dtype`; whole numbers in 64 bits unless told"""
    y = record_of("prod")(x if dtype is None else astype(x, dtype), axis=axis, keepdims=keepdims)
    return y if dtype is None else astype(y, dtype, copy=False)


def cumulative_sum(x: Any, axis: Any = None, include_initial: builtins.bool = False, dtype: Any = None) -> Tensor:
    """yᵢ = x₁ + … + xᵢ along an axis, added up in `dtype`; with the empty sum 0 before it if wanted"""
    x = x if dtype is None else astype(x, dtype)
    y = record_of("cumulative_sum")(x, axis=axis, include_initial=include_initial)
    return y if dtype is None else astype(y, dtype, copy=False)


def cumulative_prod(x: Any, axis: Any = None, include_initial: builtins.bool = False, dtype: Any = None) -> Tensor:
    """yᵢ = x₁ x₂ … xᵢ along an axis, multiplied in `dtype`; with the empty product 1 before it if wanted"""
    x = x if dtype is None else astype(x, dtype)
    y = record_of("cumulative_prod")(x, axis=axis, include_initial=include_initial)
    return y if dtype is None else astype(y, dtype, copy=False)


def reshape(x: Any, shape: Any, copy: builtins.bool | None = None) -> Tensor:
    """y = the same entries in another shape; in memory of its own with `copy`, in x's with copy=False.

    Raises: OptionError for copy=False where only a copy would do.
    """
    if copy is None:
        return record_of("reshape")(x, shape)
    x = asarray(x)
    y = record_of("reshape")(_copied(x) if copy else x, shape)
    if not copy and x.size and not space_of(x._array).module.may_share_memory(x._array, y._array):
        raise _no_copy("reshape", f"shape {x.shape} in this order of memory as {y.shape}")
    return y


@named
def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """y = x held in [min, max], which are numbers, or arrays that broadcast; where x is at a bound its slope is 1"""
    if isinstance(min, (int, float, NoneType)) and isinstance(max, (int, float, NoneType)):
        return record_of("clip")(x, min=min, max=max)
    y = x = asarray(x)
    for bound, inside in ((min, "greater_equal"), (max, "less_equal")):
        if bound is not None:
            kept = record_of(inside)(y, bound) | record_of("isnan")(y)  # a bound that is NaN is not kept to
            y = record_of("where")(kept, y, bound)
    return astype(y, x.dtype, copy=False) if y.dtype.kind == x.dtype.kind else y


def sign(x: Any) -> Tensor:
    """y = −1, 0 or 1; of complex numbers x/|x|, with its slope"""
    if getattr(x, "dtype", bool).kind != "c":
        return record_of("sign")(x)
    x = asarray(x)
    size = record_of("abs")(x)
    return x / record_of("where")(size == 0, inf, size) + 0


def einsum(equation: str, *arrays: Any) -> Tensor:
    """y = the products of the arrays summed as the equation says.

    >>> einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.], dtype=float32)
    """
    try:
        return record_of("einsum")(arrays, equation)
    except (ShapeError, DTypeError) as problem:
        if fault := _einsum_fault(equation, [asarray(a).shape for a in arrays]):
            raise type(problem)(f"einsum: {fault}") from problem
        raise


def _einsum_fault(equation: Any, shapes: list[tuple[int, ...]]) -> str:
    """What is wrong with an equation, in words; empty if it is something else."""
    if not isinstance(equation, str):
        return f"the equation is a string such as 'ij,jk->ik', not {equation!r}"
    left, arrow, result = equation.replace(" ", "").replace("...", "…").partition("->")
    wrong = sorted({c for c in left + result if not (c in ",…" or (c.isascii() and c.isalpha()))})
    if wrong:
        return f"{', '.join(map(repr, wrong))} in {equation!r} is no letter, comma, ellipsis or arrow"
    operands = left.split(",")
    if len(operands) != len(shapes):
        return f"{equation!r} has {len(operands)} operand(s), {len(shapes)} were given"
    for letters, shape in zip(operands, shapes, strict=True):
        named = len(letters.replace("…", ""))
        if named > len(shape) or (named < len(shape) and "…" not in letters):
            return f"{letters!r} in {equation!r} names {named} axes, but the tensor of shape {shape} has {len(shape)}"
    lost = sorted({c for c in result if c not in left})
    if lost:
        return f"{', '.join(map(repr, lost))} of the result of {equation!r} is in no operand"
    twice = sorted({c for c in result if result.count(c) > 1})
    return f"{', '.join(map(repr, twice))} is twice in the result of {equation!r}" if arrow and twice else ""


@named
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Tensor:
    """y = Σ x1 x2 over pairs of axes: the last and first `axes` of them, or those in two lists. No conjugation.

    Shapes: x1 [..., k], x2 [k, ...], y [..., ...]
    """
    a, b = asarray(x1), asarray(x2)
    if isinstance(axes, (int, np.integer)):
        if not 0 <= axes <= builtins.min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot: axes={axes} of shapes {a.shape} and {b.shape}")
        axes = range(a.ndim - axes, a.ndim), range(axes)
    if not isinstance(axes, (tuple, list, range)) or len(axes) != 2:
        raise OptionError(f"tensordot: axes is how many, or two lists of them, one for each tensor, not {axes!r}")
    left, right = (list(n) if isinstance(n, (tuple, list, range)) else [n] for n in axes)
    left, right = [axis_of(n, a.shape) for n in left], [axis_of(n, b.shape) for n in right]
    lengths = [a.shape[n] for n in left]
    if lengths != [b.shape[n] for n in right] or len({*left}) < len(left) or len({*right}) < len(right):
        raise ShapeError(f"tensordot: axes {left} of shape {a.shape} and {right} of {b.shape} do not pair up")
    rows, columns = ([n for n in range(t.ndim) if n not in done] for t, done in ((a, left), (b, right)))
    outside = [a.shape[n] for n in rows], [b.shape[n] for n in columns]
    a = _reshape(record_of("permute_dims")(a, (*rows, *left)), math.prod(outside[0]), math.prod(lengths))
    b = _reshape(record_of("permute_dims")(b, (*right, *columns)), math.prod(lengths), math.prod(outside[1]))
    return _reshape(record_of("matmul")(a, b), (*outside[0], *outside[1]))


@named
def kron(x1: Any, x2: Any) -> Tensor:
    """y = the blocks x1ᵢⱼ x2: every entry of one times all of the other.

    Shapes: x1 [n, m], x2 [k, l], y [n k, m l]; of any, and of unequal numbers of axes
    """
    a, b = asarray(x1), asarray(x2)
    ndim = builtins.max(a.ndim, b.ndim)
    first, second = ((1,) * (ndim - t.ndim) + t.shape for t in (a, b))
    a = _reshape(a, tuple([n for pair in first for n in (pair, 1)]))
    b = _reshape(b, tuple([n for pair in second for n in (1, pair)]))
    return _reshape(record_of("multiply")(a, b), tuple([n * m for n, m in zip(first, second, strict=True)]))


@named
def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """The arrays, each broadcast to their common shape."""
    tensors = [asarray(a) for a in arrays]
    try:
        shape = np.broadcast_shapes(*[t.shape for t in tensors])
    except ValueError as problem:
        shapes = ", ".join([str(t.shape) for t in tensors])
        raise ShapeError(f"broadcast_arrays: shapes {shapes} do not fit") from problem
    return [record_of("broadcast_to")(t, shape) for t in tensors]


@named
def moveaxis(x: Any, source: Any, destination: Any) -> Tensor:
    """x with one axis moved, or each of several."""
    x = asarray(x)
    sources = [axis_of(a, x.shape) for a in (source if isinstance(source, (tuple, list)) else (source,))]
    targets = destination if isinstance(destination, (tuple, list)) else (destination,)
    places = [axis_of(a, x.shape) for a in targets]
    if len(sources) != len(places) or len({*sources}) < len(sources) or len({*places}) < len(places):
        raise ShapeError(f"moveaxis: axes {source} do not go to {destination}; as many, and each once, are needed")
    order = [i for i in range(x.ndim) if i not in sources]
    for place, a in sorted(zip(places, sources, strict=True)):
        order.insert(place, a)
    return record_of("permute_dims")(x, tuple(order))


@named
def swapaxes(x: Any, a: int, b: int) -> Tensor:
    """x with two axes exchanged."""
    x = asarray(x)
    order = list(range(x.ndim))
    a, b = axis_of(a, x.shape), axis_of(b, x.shape)
    order[a], order[b] = order[b], order[a]
    return record_of("permute_dims")(x, tuple(order))


@named
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """y = the entries of x at `indices` along an axis, which a vector need not name."""
    if axis is None:
        if (ndim := np.ndim(x) if not hasattr(x, "ndim") else x.ndim) != 1:
            raise ShapeError(f"take: a tensor of {ndim} dimensions needs axis=")
        axis = 0
    return record_of("take")(x, indices, axis)


# Of values alone: the results' shapes depend on them, and no gradient passes.


class UniqueAll(NamedTuple):
    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    values: Tensor
    inverse_indices: Tensor


def _unique(x: Any, *wanted: str) -> list[Tensor]:
    """The different values in order, and what else is asked for; every NaN is a value of its own."""
    array = asarray(x)._array
    options = {f"return_{w}": True for w in wanted}
    found = space_of(array).module.unique(array.reshape(-1), equal_nan=False, **options)
    parts = dict(zip(("values", *wanted), found if wanted else (found,), strict=True))
    if "inverse" in parts:
        parts["inverse"] = parts["inverse"].reshape(array.shape)
    return [wrap(p, None) for p in parts.values()]


@named
def unique_all(x: Any) -> UniqueAll:
    """The different values in order, the first place of each, which of them each entry is, and how often they occur."""
    return UniqueAll(*_unique(x, "index", "inverse", "counts"))


@named
def unique_counts(x: Any) -> UniqueCounts:
    """The different values in order, and how often each occurs."""
    return UniqueCounts(*_unique(x, "counts"))


@named
def unique_inverse(x: Any) -> UniqueInverse:
    """The different values in order, and which of them each entry is."""
    return UniqueInverse(*_unique(x, "inverse"))


@named
def unique_values(x: Any) -> Tensor:
    """The different values in order."""
    return _unique(x)[0]


@named
def nonzero(x: Any) -> tuple[Tensor, ...]:
    """The places of the entries that are not 0, an index tensor an axis."""
    x = asarray(x)
    if x.ndim == 0:
        raise ShapeError("nonzero: a 0-d tensor has no axes to index; reshape it to (1,)")
    return tuple([wrap(i, None) for i in space_of(x._array).module.nonzero(x._array)])


@named
def count_nonzero(x: Any, axis: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """How many entries are not 0."""
    return record_of("sum")(record_of("not_equal")(x, 0), axis=axis, keepdims=keepdims)


@named
def mse(input: Any, target: Any) -> Tensor:
    """y = mean (input − target)²"""
    difference = record_of("subtract")(input, target)
    return record_of("mean")(record_of("square")(difference))


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
Tensor.sum, Tensor.prod, Tensor.clip = sum, prod, clip
