"""Shapes instead of arrays, and the namespace `xp` that they live in.

Views take NumPy's own word for their shape, and elementwise functions and reductions for their dtype, on arrays that
take no memory. Indices may be real arrays, and then are checked.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from types import FrameType, NoneType
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..backend import numpy_space, register
from ..errors import DeviceError
from ..op import registry
from ..rules.linear_algebra import explicit

Shape = tuple[int, ...]


class Meter:
    """Counts operations and memory while it is the current one."""

    def __init__(self) -> None:
        self.flops = self.live = self.peak = 0

    def note(self, flops: int) -> None:
        """A function of the namespace has run."""
        self.flops += flops

    def made(self, nbytes: int) -> None:
        """An array has been made; views are not told of."""
        self.live += nbytes
        self.peak = max(self.peak, self.live)


current_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)


class ShapeArray:
    """What is known of an array that is not there. `base` is the array whose memory a view shares."""

    __slots__ = ("__weakref__", "_meter", "base", "dtype", "shape")
    __array_ufunc__ = None  # NumPy's arrays leave the operators to this class, and its functions refuse it
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: Iterable[int], dtype: Any, base: ShapeArray | None = None) -> None:
        self.shape, self.dtype, self.base = tuple(shape), np.dtype(dtype), base
        self._meter = None if base is not None else current_meter.get()
        if self._meter is not None:
            self._meter.made(self.nbytes)

    def __del__(self) -> None:
        if self._meter is not None:
            self._meter.live -= self.nbytes

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def reshape(self, *shape: Any) -> ShapeArray:
        return space.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> ShapeArray:
        return space.permute_dims(self, axes[0] if len(axes) == 1 else axes or tuple(reversed(range(self.ndim))))

    def astype(self, dtype: Any, copy: bool = True) -> ShapeArray:
        return self if not copy and self.dtype == dtype else space.astype(self, dtype)

    def copy(self) -> ShapeArray:
        return space.copy(self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d array")
        return self.shape[0]

    def __getitem__(self, index: Any) -> ShapeArray:
        return space.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        _fits(np.shape(value) if np.isscalar(value) else value.shape, _indexed(self.shape, index)[0])

    def __array_function__(self, *_: Any) -> Any:
        return NotImplemented

    def __repr__(self) -> str:
        return f"ShapeArray({self.shape}, {self.dtype})"

    def _no_value(self, *_: Any, **__: Any) -> Any:
        """Raised where a value is asked for; which operation asks is looked up only then."""
        frame: FrameType | None = sys._getframe(1)
        asking = ""
        while frame is not None and not asking:
            name = frame.f_code.co_name.removeprefix("carry_").removeprefix("pull_")
            if frame.f_code.co_filename == "<string>" and name in registry:  # as the recorder and the sweep write them
                asking = f"{name}: "
            frame = frame.f_back
        raise DeviceError(
            f"{asking}device 'shapes' knows shapes and dtypes, not values, and a value of an array of shape "
            f"{self.shape} was asked for (if, float(), item(), numpy(), a move to another device). Run this on real "
            "tensors, or let nothing depend on values (tg.where instead of if)"
        )

    __array__ = __bool__ = __float__ = __int__ = __complex__ = __index__ = item = tolist = _no_value


BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "pow", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip
COMPARISONS = {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
}  # fmt: skip
UNARY = {"neg": "negative", "pos": "positive", "abs": "abs", "invert": "bitwise_invert"}


def give_operators(kind: type, xp: Any) -> None:
    """Python's operators for a class of values, as functions of its namespace."""

    def give(symbol: str, operate: Callable[..., Any]) -> None:
        setattr(kind, f"__{symbol}__", operate)

    for symbol, name in {**BINARY, **COMPARISONS}.items():
        give(symbol, lambda a, b, name=name: getattr(xp, name)(a, b))
    for symbol, name in BINARY.items():
        give("r" + symbol, lambda a, b, name=name: getattr(xp, name)(b, a))
    for symbol, name in UNARY.items():
        give(symbol, lambda a, name=name: getattr(xp, name)(a))


# The shapes of results. A primitive is a function of the namespace, with the operations that it counts for.

PRIMITIVES: dict[str, Callable[..., Any]] = {}


def primitive(work: Callable[..., int] = lambda y, *_, **__: 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declares a function of the namespace; `work(y, *arguments)` is how many operations it takes."""

    def declare(rule: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
        @functools.wraps(rule)
        def counted(*arguments: Any, **options: Any) -> Any:
            y = rule(*arguments, **options)
            meter = current_meter.get()
            if meter is not None:
                meter.note(work(y, *arguments, **options))
            return y

        PRIMITIVES[name or rule.__name__] = counted
        return rule

    return declare


def _each(y: Any, *_: Any, **__: Any) -> int:
    return y.size


def _entered(y: Any, x: Any, *_: Any, **__: Any) -> int:
    return x.size


@functools.lru_cache(maxsize=4096)
def _dtype(name: str, length: int, *kinds: Any) -> np.dtype[Any]:
    """The dtype that NumPy gives: it is asked, on arrays of `length` entries and on Python's numbers."""
    stand = [np.ones(length, k) if isinstance(k, np.dtype) else None if k is NoneType else k(1) for k in kinds]
    return getattr(numpy_space, name)(*stand).dtype


def _kind(x: Any) -> Any:
    if isinstance(x, ShapeArray):
        return x.dtype
    for number in (bool, int, float, complex, NoneType):
        if isinstance(x, number):
            return number
    raise TypeError(f"{type(x).__name__} among arrays of device 'shapes'; use interpret.shapes.like")


def _elementwise(name: str, *arrays: Any) -> ShapeArray:
    dtype = _dtype(name, 0, *map(_kind, arrays))
    return ShapeArray(_joint([a.shape for a in arrays if isinstance(a, ShapeArray)]), dtype)


def _joint(shapes: list[Shape]) -> Shape:
    """The shape that they broadcast to, of their own lengths (which may have names)."""
    if all(s == shapes[0] for s in shapes):
        return shapes[0]
    joint = np.broadcast_shapes(*shapes)
    return tuple(next(s[i] for s in shapes if len(s) >= -i and s[i] == joint[i]) for i in range(-len(joint), 0))


def _reduction(name: str, x: ShapeArray, axis: Any = None, keepdims: bool = False) -> ShapeArray:
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    if name in ("max", "min", "argmax", "argmin") and 0 in [x.shape[a] for a in axes]:
        raise ValueError(f"{name} of an axis without entries, in shape {x.shape}")
    if keepdims:
        return ShapeArray((1 if a in axes else n for a, n in enumerate(x.shape)), _dtype(name, 1, x.dtype))
    return ShapeArray((n for a, n in enumerate(x.shape) if a not in axes), _dtype(name, 1, x.dtype))


def _nothing(shape: Shape) -> Any:
    """A NumPy array of that shape in one byte of memory."""
    return np.broadcast_to(np.empty((), np.int8), shape)


def _view(name: str, x: ShapeArray, *arguments: Any, **options: Any) -> Any:
    y = getattr(numpy_space, name)(_nothing(x.shape), *arguments, **options)
    if isinstance(y, (list, tuple)):
        return [ShapeArray(part.shape, x.dtype, x) for part in y]
    return ShapeArray(y.shape, x.dtype, x)


for _names, _rule, _work in (
    (
        "add subtract multiply divide negative abs pow maximum minimum remainder floor_divide hypot copysign clip "
        "sign floor ceil trunc round signbit isnan isinf isfinite logical_not bitwise_invert equal not_equal less "
        "less_equal greater greater_equal logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor "
        "bitwise_left_shift bitwise_right_shift nextafter sqrt exp expm1 log log2 log10 log1p logaddexp sin cos tan "
        "asin acos atan atan2 sinh cosh tanh asinh acosh atanh sigmoid erf where", _elementwise, _each,
    ),
    ("positive real imag conj", _elementwise, lambda *_: 0),
    ("sum mean prod max min any all argmax argmin", _reduction, _entered),
    ("permute_dims matrix_transpose broadcast_to expand_dims squeeze flip split", _view, lambda *_, **__: 0),
):  # fmt: skip
    for _name in _names.split():
        primitive(_work)(functools.partial(_rule, _name), _name)  # type: ignore[call-arg]


@primitive()
def reshape(x: ShapeArray, shape: Any) -> ShapeArray:
    wanted = [shape] if isinstance(shape, int) else list(shape)
    known = math.prod(n for n in wanted if n != -1)
    if wanted.count(-1) == 1 and known and x.size % known == 0:
        wanted[wanted.index(-1)] = x.size // known
    if math.prod(wanted) != x.size or any(n < 0 for n in wanted):
        raise ValueError(f"cannot reshape an array of shape {x.shape} into shape {shape}")
    return ShapeArray(wanted, x.dtype, x)


@primitive()
def astype(x: ShapeArray, dtype: Any) -> ShapeArray:
    return ShapeArray(x.shape, dtype)


@primitive()
def copy(x: ShapeArray) -> ShapeArray:
    return ShapeArray(x.shape, x.dtype)


@primitive()
def transfer(x: ShapeArray, source: str, target: str) -> ShapeArray:
    return x if target == "shapes" else x._no_value()


@primitive()
def asarray(x: Any, dtype: Any = None) -> ShapeArray:
    if not isinstance(x, ShapeArray):
        x = np.asarray(x, dtype)
        return ShapeArray(x.shape, x.dtype)
    return x if dtype is None or x.dtype == dtype else ShapeArray(x.shape, dtype)


def _product_shape(a: ShapeArray, b: ShapeArray) -> Shape:
    if not a.shape or not b.shape:
        raise ValueError("matmul: a 0-d array has no matrix product")
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise ValueError(f"matmul: the inner dimensions disagree: {a.shape[-1]} against {inner}")
    rows, columns = a.shape[-2:-1], b.shape[-1:] if b.ndim > 1 else ()
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *rows, *columns)


@primitive(lambda y, a, b: 2 * y.size * a.shape[-1])
def matmul(a: ShapeArray, b: ShapeArray) -> ShapeArray:
    return ShapeArray(_product_shape(a, b), np.result_type(_kind(a), _kind(b)))


def _letters(equation: str, arrays: Any) -> tuple[dict[str, int], str]:
    """The size of every index of an equation, and the indices of the result."""
    operands, result = explicit(equation, [a.shape for a in arrays])
    sizes: dict[str, int] = {}
    for operand, array in zip(operands, arrays, strict=True):
        if len(operand) != array.ndim:
            raise ValueError(
                f"einsum: operand {operand!r} has {len(operand)} indices, its array has shape {array.shape}"
            )
        for letter, n in zip(operand, array.shape, strict=True):
            if sizes.get(letter, 1) != 1 and n not in (1, sizes[letter]):
                raise ValueError(f"einsum: index {letter!r} is {sizes[letter]} in one place and {n} in another")
            sizes[letter] = n if sizes.get(letter, 1) == 1 else sizes[letter]
    unknown = set(result) - set(sizes)
    if unknown:
        raise ValueError(f"einsum: the result names {''.join(sorted(unknown))!r}, which no operand has")
    return sizes, result


def _einsum_work(y: Any, equation: str, *arrays: Any) -> int:
    sizes, result = _letters(equation, arrays)
    summed = set(sizes) != set(result)
    return math.prod(sizes.values()) * (len(arrays) - 1 + summed)


@primitive(_einsum_work)
def einsum(equation: str, *arrays: ShapeArray) -> ShapeArray:
    sizes, result = _letters(equation, arrays)
    return ShapeArray((sizes[c] for c in result), np.result_type(*map(_kind, arrays)))


@primitive()
def concat(arrays: Any, axis: int | None = 0) -> ShapeArray:
    dtype = np.result_type(*map(_kind, arrays))
    if axis is None:
        return ShapeArray((sum(a.size for a in arrays),), dtype)
    first = arrays[0].shape
    axis = normalize_axis_index(axis, len(first))
    for i, other in enumerate(a.shape for a in arrays):
        if len(other) != len(first) or any(
            a != axis and n != m for a, (n, m) in enumerate(zip(first, other, strict=True))
        ):
            raise ValueError(f"array 0 of shape {first} and array {i} of shape {other} disagree outside axis {axis}")
    return ShapeArray((*first[:axis], sum(a.shape[axis] for a in arrays), *first[axis + 1 :]), dtype)


@primitive()
def stack(arrays: Any, axis: int = 0) -> ShapeArray:
    first = arrays[0].shape
    for i, other in enumerate(a.shape for a in arrays):
        if other != first:
            raise ValueError(f"all arrays must have one shape; array 0 has {first}, array {i} has {other}")
    axis = normalize_axis_index(axis, len(first) + 1)
    return ShapeArray((*first[:axis], len(arrays), *first[axis:]), np.result_type(*map(_kind, arrays)))


@primitive()
def pad(x: ShapeArray, pad_width: Any, constant_values: Any = 0) -> ShapeArray:
    widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
    return ShapeArray((before + n + after for n, (before, after) in zip(x.shape, widths, strict=True)), x.dtype)


def _indices(part: Any) -> list[Any]:
    """One part of an index as slices, numbers, None and arrays of integers; a mask is as many as it has axes."""
    if isinstance(part, list):
        part = np.asarray(part) if part else np.empty(0, np.intp)
    if isinstance(part, np.ndarray) and part.dtype == bool and part.shape:
        return [*part.nonzero()]
    if isinstance(part, bool) or (hasattr(part, "dtype") and part.dtype == bool):
        raise IndexError("how many entries a mask picks depends on its values; index with a real NumPy mask")
    if hasattr(part, "dtype"):
        if part.dtype.kind not in "iu":
            raise IndexError(f"an index has integers (or is a mask), not {part.dtype}")
        if not part.shape:
            return [0 if isinstance(part, ShapeArray) else int(part)]
    return [part]


def _check_bounds(index: Any, n: int, axis: int) -> None:
    known = index if isinstance(index, int) else None
    if isinstance(index, np.ndarray) and index.size:
        known = int(index.min()) if index.min() < -n else int(index.max())
    if known is not None and not -n <= known < n:
        raise IndexError(f"index {known} is out of bounds for axis {axis} with size {n}")


def _indexed(shape: Shape, index: Any) -> tuple[Shape, bool]:
    """The shape of x[index], and whether it is a view, by NumPy's rules."""
    given = index if isinstance(index, tuple) else (index,)
    parts = [p for part in given for p in _indices(part)]
    if not any(hasattr(p, "dtype") for p in parts):
        return _nothing(shape)[tuple(parts)].shape, True
    taken = sum(p is not None and p is not Ellipsis for p in parts)
    if taken > len(shape):
        raise IndexError(f"too many indices: the array has {len(shape)} axes, the index names {taken}")
    at = next((i for i, p in enumerate(parts) if p is Ellipsis), len(parts))
    rest: list[Any] = [slice(None)] * (len(shape) - taken)
    parts[at : at + 1] = rest or [Ellipsis]
    result: list[int] = []
    places: list[int] = []  # the parts that pick; their joint axes go where the first is
    picked: list[Shape] = []
    start = axis = 0
    for i, part in enumerate(parts):
        if part is None or part is Ellipsis:
            result += [1] * (part is None)
            continue
        if isinstance(part, slice):
            result.append(len(range(*part.indices(shape[axis]))))
        else:
            _check_bounds(part, shape[axis], axis)
            start = start if places else len(result)
            places.append(i)
            picked.append(() if isinstance(part, int) else part.shape)
        axis += 1
    if places[-1] - places[0] >= len(places):  # with others between them, NumPy puts their axes first
        start = 0
    try:
        joint = np.broadcast_shapes(*picked)
    except ValueError:
        raise IndexError(f"indexing arrays of shapes {', '.join(map(str, picked))} do not broadcast together") from None
    return (*result[:start], *joint, *result[start:]), False


@primitive()
def getitem(x: ShapeArray, index: Any) -> ShapeArray:
    shape, view = _indexed(x.shape, index)
    return ShapeArray(shape, x.dtype, x if view else None)


@primitive()
def take(x: ShapeArray, indices: Any, axis: int) -> ShapeArray:
    axis = normalize_axis_index(axis, x.ndim)
    return ShapeArray(_indexed(x.shape, (slice(None),) * axis + (indices,))[0], x.dtype)


@primitive()
def take_along_axis(x: ShapeArray, indices: Any, axis: int = -1) -> ShapeArray:
    axis = normalize_axis_index(axis, x.ndim)
    if len(indices.shape) != x.ndim:
        raise ValueError(f"`indices` and `x` must have as many axes; they have shapes {indices.shape} and {x.shape}")
    try:
        others = np.broadcast_shapes(*((*s[:axis], 1, *s[axis + 1 :]) for s in (x.shape, indices.shape)))
    except ValueError:
        raise IndexError(f"indices of shape {indices.shape} do not fit an array of shape {x.shape}") from None
    return ShapeArray((*others[:axis], indices.shape[axis], *others[axis + 1 :]), x.dtype)


def _fits(shape: Shape, target: Shape) -> None:
    lead = len(shape) - len(target)
    if any(n != 1 for n in shape[: max(lead, 0)]) or np.broadcast_shapes(shape[max(lead, 0) :], target) != target:
        raise ValueError(f"values of shape {shape} do not fit an index of shape {target}")


@primitive(lambda y, g, *_, **__: g.size)
def scatter(g: ShapeArray, index: Any, shape: Shape) -> ShapeArray:
    _fits(g.shape, _indexed(shape, index)[0])
    return ShapeArray(shape, g.dtype)


@primitive(lambda y, g, *_, **__: g.size)
def scatter_along_axis(g: ShapeArray, indices: Any, shape: Shape, axis: int) -> ShapeArray:
    _fits(g.shape, take_along_axis(ShapeArray(shape, g.dtype), indices, axis).shape)
    return ShapeArray(shape, g.dtype)


@primitive()
def zeros(shape: Any, dtype: Any = float) -> ShapeArray:
    return ShapeArray([shape] if isinstance(shape, int) else shape, dtype)


@primitive()
def full(shape: Any, fill_value: Any, dtype: Any = None) -> ShapeArray:
    return zeros(shape, np.asarray(fill_value).dtype if dtype is None else dtype)


@primitive()
def eye(n: int, m: int | None = None, dtype: Any = float) -> ShapeArray:
    return ShapeArray((n, n if m is None else m), dtype)


@primitive()
def eye_like(x: ShapeArray, n: int) -> ShapeArray:
    return ShapeArray((n, n), x.dtype)


@primitive()
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ShapeArray:
    start, stop = (0, start) if stop is None else (start, stop)
    return ShapeArray(
        (max(0, math.ceil((stop - start) / step)),), np.asarray(start + stop + step).dtype if dtype is None else dtype
    )


@primitive()
def linspace(start: Any, stop: Any, num: int = 50, dtype: Any = None) -> ShapeArray:
    return ShapeArray((num,), dtype or float)


for _name in ("ones", "empty"):
    PRIMITIVES[_name] = PRIMITIVES["zeros"]
for _name in ("zeros_like", "ones_like", "empty_like"):
    PRIMITIVES[_name] = PRIMITIVES["copy"]


class ShapeSpace:
    """The namespace `xp` of shapes: the primitives, and what NumPy lacks composed of them, by the operations."""

    name = "shapes"
    ndarray = ShapeArray

    def __getattr__(self, name: str) -> Any:
        if name in PRIMITIVES:
            found = PRIMITIVES[name]
        elif name in registry:
            found = functools.partial(registry[name].forward, self)
        else:
            raise AttributeError(f"the shape reader has no {name!r}: declare it in interpret/shape_space.py")
        setattr(self, name, found)
        return found


space = ShapeSpace()
give_operators(ShapeArray, space)


def _in_place(name: str) -> Callable[[ShapeArray, Any], ShapeArray]:
    def change(x: ShapeArray, other: Any) -> ShapeArray:
        _kind(other)
        if isinstance(other, ShapeArray) and np.broadcast_shapes(x.shape, other.shape) != x.shape:
            raise ValueError(f"an array of shape {other.shape} does not broadcast into one of shape {x.shape}")
        meter = current_meter.get()
        if meter is not None:
            meter.note(x.size)
        return x

    change.__name__ = name
    return change


for _name in ("sum", "mean", "prod", "max", "min", "any", "all"):
    setattr(
        ShapeArray, _name, functools.partialmethod(lambda x, name, *a, **o: getattr(space, name)(x, *a, **o), _name)
    )
for _name in ("iadd", "isub", "imul", "itruediv"):
    setattr(ShapeArray, f"__{_name}__", _in_place(_name))


register(ShapeArray, space)
