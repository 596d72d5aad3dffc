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
from ..rules.convolution import places
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
        if self._meter is not None and math is not None:  # which a module is while the interpreter shuts down
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
        "asin acos atan atan2 sinh cosh tanh asinh acosh atanh sigmoid erf "
        "erfc erfinv digamma lgamma i0 i0e i1 i1e xlogy xlog1py where", _elementwise, _each,
    ),
    ("positive real imag conj", _elementwise, lambda *_: 0),
    ("sum mean prod max min any all argmax argmin", _reduction, _entered),
    ("permute_dims matrix_transpose broadcast_to expand_dims squeeze flip split", _view, lambda *_, **__: 0),
):  # fmt: skip
    for _name in _names.split():
        primitive(_work)(functools.partial(_rule, _name), _name)  # type: ignore[call-arg]

for _name in ("polygamma", "iv", "ive", "sinc"):  # of the order n, which changes no dtype
    primitive(_each)(lambda x, name=_name, n=0: _elementwise(name, x), _name)  # type: ignore[call-arg]


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
    if not first:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
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
def scatter_at(g: ShapeArray, index: Any, shape: Shape) -> ShapeArray:
    _fits(g.shape, _indexed(shape, index)[0])
    return ShapeArray(shape, g.dtype)


@primitive(lambda y, g, *_, **__: g.size)
def scatter_along_axis(g: ShapeArray, indices: Any, shape: Shape, axis: int) -> ShapeArray:
    _fits(g.shape, take_along_axis(ShapeArray(shape, g.dtype), indices, axis).shape)
    return ShapeArray(shape, g.dtype)


@primitive(lambda y, x, value, *_: getattr(value, "size", 1))
def set_at(x: ShapeArray, value: Any, index: Any) -> ShapeArray:
    _fits(getattr(value, "shape", ()), _indexed(x.shape, index)[0])
    return ShapeArray(x.shape, x.dtype)


@primitive()
def last_written(u: ShapeArray, index: Any, shape: Shape) -> ShapeArray:
    return ShapeArray(u.shape, u.dtype)


@primitive()
def along_axis(indices: Any, shape: Shape, axis: int) -> tuple[Any, ...]:
    return tuple([
        indices if i == axis else 0 if n == 1 else arange(n).reshape((-1,) + (1,) * (len(shape) - i - 1))
        for i, n in enumerate(shape)
    ])  # fmt: skip


@primitive()
def below(x: ShapeArray, top: Any) -> ShapeArray:
    return x - top


def _scan(x: ShapeArray, axis: int = -1, dtype: Any = None) -> ShapeArray:
    normalize_axis_index(axis, x.ndim)
    return ShapeArray(x.shape, x.dtype if dtype is None else dtype)


def _running(name: str, x: ShapeArray, axis: int, include_initial: bool = False) -> ShapeArray:
    y = _scan(x, axis, _dtype(name.replace("ulative_", ""), 1, x.dtype))
    return ShapeArray((n + (a == axis and include_initial) for a, n in enumerate(y.shape)), y.dtype)


for _name in ("cumulative_sum", "cumulative_prod"):
    primitive(_entered)(functools.partial(_running, _name), _name)  # type: ignore[call-arg]


@primitive(_entered)
def accumulate(x: ShapeArray, name: str, axis: int) -> ShapeArray:
    return _scan(x, axis)


@primitive(lambda y, a, *_: 2 * y.size)
def linear_recurrence(a: ShapeArray, b: ShapeArray, axis: int, reverse: bool = False) -> ShapeArray:
    return ShapeArray(b.shape, np.result_type(_kind(a), _kind(b)))


@primitive(lambda y, *_: 3 * y.size)
def product_of_others(x: ShapeArray) -> ShapeArray:
    return ShapeArray(x.shape, x.dtype)


@primitive(lambda y, *_: 4 * y.size)
def running_product_adjoint(x: ShapeArray, g: ShapeArray, axis: int) -> ShapeArray:
    return ShapeArray(x.shape, np.result_type(_kind(x), _kind(g)))


def _comparisons(y: Any, x: ShapeArray, axis: int = -1, descending: bool = False) -> int:
    return x.size * math.ceil(math.log2(max(x.shape[axis], 1)))


@primitive(_comparisons)
def sort(x: ShapeArray, axis: int = -1, descending: bool = False) -> ShapeArray:
    return _scan(x, axis)


@primitive(_comparisons)
def argsort(x: ShapeArray, axis: int = -1, descending: bool = False) -> ShapeArray:
    return _scan(x, axis, np.int64)


@primitive(lambda y, x1, x2, side="left": x2.size * math.ceil(math.log2(max(x1.size, 1))))
def searchsorted(x1: ShapeArray, x2: ShapeArray, side: str = "left") -> ShapeArray:
    return ShapeArray(x2.shape, np.int64)


@primitive()
def roll(x: ShapeArray, shift: Any, axis: Any = None) -> ShapeArray:
    if axis is not None:
        normalize_axis_tuple(axis, x.ndim, allow_duplicate=True)
    return ShapeArray(x.shape, x.dtype)


@primitive()
def repeat(x: ShapeArray, repeats: int, axis: int | None = None) -> ShapeArray:
    shape = (x.size,) if axis is None else x.shape
    axis = 0 if axis is None else normalize_axis_index(axis, x.ndim)
    return ShapeArray((*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]), x.dtype)


@primitive()
def tile(x: ShapeArray, repetitions: Any) -> ShapeArray:
    times = tuple(repetitions) if isinstance(repetitions, (tuple, list)) else (repetitions,)
    ndim = max(len(times), x.ndim)
    lengths = (1,) * (ndim - x.ndim) + x.shape
    return ShapeArray((n * t for n, t in zip(lengths, (1,) * (ndim - len(times)) + times, strict=True)), x.dtype)


@primitive()
def unfold(x: ShapeArray, axis: int, size: int, step: int = 1) -> ShapeArray:
    count = (x.shape[axis] - size) // step + 1
    return ShapeArray((*x.shape[:axis], count, *x.shape[axis + 1 :], size), x.dtype, x)


@primitive(lambda y, windows, *_, **__: windows.size)
def overlap_add(windows: ShapeArray, shape: Shape, axis: int, step: int = 1) -> ShapeArray:
    return ShapeArray(shape, windows.dtype)


# Convolution and pooling. One step is a multiplication and an addition for each entry of the kernel, or one comparison.


def _tap_work(u: ShapeArray, weight_shape: Shape) -> int:
    return 2 * u.size * math.prod(weight_shape[1:])


@primitive(lambda y, x, weight, bias, *_: _tap_work(y, weight.shape) + (0 if bias is None else y.size))
def convolution(
    x: ShapeArray, weight: ShapeArray, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> ShapeArray:
    out = places(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    return ShapeArray((x.shape[0], weight.shape[0], *out), np.result_type(_kind(x), _kind(weight)))


@primitive(lambda y, u, weight, *_: _tap_work(u, weight.shape))
def convolution_input(
    u: ShapeArray, weight: ShapeArray, shape: Shape, stride: Any, padding: Any, dilation: Any, groups: int
) -> ShapeArray:
    channels = weight.shape[1] * groups if groups > 1 else weight.shape[1]
    return ShapeArray((u.shape[0], channels, *shape), np.result_type(_kind(u), _kind(weight)))


@primitive(lambda y, x, u, *_: _tap_work(u, y.shape))
def convolution_weight(
    x: ShapeArray, u: ShapeArray, kernel: Shape, stride: Any, padding: Any, dilation: Any, groups: int
) -> ShapeArray:
    channels = x.shape[1] // groups if groups > 1 else x.shape[1]
    return ShapeArray((u.shape[1], channels, *kernel), np.result_type(_kind(x), _kind(u)))


def _pooled(
    x: ShapeArray, axis: int, size: int, stride: int, padding: tuple[int, int], dilation: int
) -> ShapeArray:  # fmt: skip
    (n,) = places((x.shape[axis],), (size,), (stride,), (padding,), (dilation,))
    return ShapeArray((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype)


for _name in ("max_pool", "sum_pool"):
    primitive(lambda y, x, axis, size, *_: y.size * (size - 1))(_pooled, _name)  # type: ignore[call-arg]


@primitive(lambda y, x, axis, size, *_: y.size * size)
def max_pool_place(x: ShapeArray, axis: int, size: int, *settings: Any) -> ShapeArray:
    return ShapeArray(_pooled(x, axis, size, *settings).shape, np.int64)


@primitive(lambda y, u, x, top, axis, size, *_: 2 * top.size * size)
def max_pool_spread(u: ShapeArray, x: ShapeArray, top: ShapeArray, *settings: Any) -> ShapeArray:
    return ShapeArray(x.shape, u.dtype)


@primitive(lambda y, u, x, top, axis, size, *_: 2 * top.size * size)
def max_pool_pick(u: ShapeArray, x: ShapeArray, top: ShapeArray, *settings: Any) -> ShapeArray:
    return ShapeArray(top.shape, u.dtype)


@primitive(lambda y, u, length, axis, size, *_: u.size * size)
def sum_pool_spread(u: ShapeArray, length: int, axis: int, *settings: Any) -> ShapeArray:
    return ShapeArray((*u.shape[:axis], length, *u.shape[axis + 1 :]), u.dtype)


@primitive()
def zeros(shape: Any, dtype: Any = float) -> ShapeArray:
    return ShapeArray([shape] if isinstance(shape, int) else shape, dtype)


@primitive()
def full(shape: Any, fill_value: Any, dtype: Any = None) -> ShapeArray:
    return zeros(shape, np.asarray(fill_value).dtype if dtype is None else dtype)


@primitive()
def eye(n: int, m: int | None = None, k: int = 0, dtype: Any = float) -> ShapeArray:
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
def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None) -> ShapeArray:
    return ShapeArray((num,), dtype or float)


# Linear algebra, with the usual counts of its operations to the leading order; one of complex numbers counts as one.


def _inexact(x: ShapeArray, complex: bool = False) -> Any:
    """The dtype of a factor or a transform: that of x, float64 of whole numbers, complex if asked."""
    dtype = x.dtype if x.dtype.kind in "fc" else np.dtype(float)
    return np.result_type(dtype, np.complex64) if complex else dtype


def _real(x: ShapeArray) -> Any:
    return np.empty(0, _inexact(x)).real.dtype


def _plane(name: str, x: ShapeArray, square: bool = True) -> tuple[Shape, int, int]:
    """The batch of matrices, and how many rows and columns they have."""
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ValueError(f"{name} takes {'square ' * square}matrices, not an array of shape {x.shape}")
    return x.shape[:-2], x.shape[-2], x.shape[-1]


def _cubic(factor: float) -> Callable[..., int]:
    """So many operations times n³, or n m min(n, m) for matrices that are not square."""
    return lambda y, x, *_, **__: int(factor * x.size * min(x.shape[-2:]))


def _matrix(name: str, x: ShapeArray) -> ShapeArray:
    return ShapeArray((*_plane(name, x)[0], x.shape[-2], x.shape[-1]), _inexact(x))


for _name, _factor in (("inv", 2.0), ("cholesky", 1 / 3)):
    primitive(_cubic(_factor))(functools.partial(_matrix, _name), _name)  # type: ignore[call-arg]


@primitive(lambda y, a, b: int(2 / 3 * a.size * a.shape[-1]) + 2 * a.shape[-1] * y.size)
def solve(a: ShapeArray, b: ShapeArray) -> ShapeArray:
    batch, n, _ = _plane("solve", a)
    if b.ndim < 2 or b.shape[-2] != n:
        raise ValueError(f"solve: a has {n} rows, b the shape {b.shape}")
    joint = np.broadcast_shapes(batch, b.shape[:-2])
    return ShapeArray((*joint, n, b.shape[-1]), np.result_type(_inexact(a), _inexact(b)))


@primitive(_cubic(2 / 3))
def det(x: ShapeArray) -> ShapeArray:
    return ShapeArray(_plane("det", x)[0], _inexact(x))


@primitive(_cubic(2 / 3))
def slogdet(x: ShapeArray) -> tuple[ShapeArray, ShapeArray]:
    batch = _plane("slogdet", x)[0]
    return ShapeArray(batch, _inexact(x)), ShapeArray(batch, _real(x))


@primitive(_cubic(9))
def eigh(x: ShapeArray, apart: bool = False) -> tuple[ShapeArray, ShapeArray]:
    batch, n, _ = _plane("eigh", x)
    return ShapeArray((*batch, n), _real(x)), ShapeArray((*batch, n, n), _inexact(x))


@primitive(_cubic(4 / 3))
def eigvalsh(x: ShapeArray) -> ShapeArray:
    batch, n, _ = _plane("eigvalsh", x)
    return ShapeArray((*batch, n), _real(x))


@primitive(lambda y, x, full_matrices=True, compute_uv=True, apart=False: _cubic(22 if compute_uv else 8 / 3)(y, x))
def svd(x: ShapeArray, full_matrices: bool = True, compute_uv: bool = True, apart: bool = False) -> Any:
    batch, n, m = _plane("svd", x, square=False)
    k = min(n, m)
    s = ShapeArray((*batch, k), _real(x))
    if not compute_uv:
        return s
    u = ShapeArray((*batch, n, n if full_matrices else k), _inexact(x))
    return u, s, ShapeArray((*batch, m if full_matrices else k, m), _inexact(x))


@primitive(_cubic(8 / 3))
def qr(x: ShapeArray, mode: str = "reduced") -> tuple[ShapeArray, ShapeArray]:
    batch, n, m = _plane("qr", x, square=False)
    k = n if mode == "complete" else min(n, m)
    return ShapeArray((*batch, n, k), _inexact(x)), ShapeArray((*batch, k, m), _inexact(x))


@primitive()
def diagonal(x: ShapeArray, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ShapeArray:
    return ShapeArray(_nothing(x.shape).diagonal(offset, axis1, axis2).shape, x.dtype, x)


@primitive(lambda y, *_, **__: 3 * y.size)
def cross(a: ShapeArray, b: ShapeArray, axis: int = -1) -> ShapeArray:
    return ShapeArray(np.broadcast_shapes(a.shape, b.shape), np.result_type(_kind(a), _kind(b)))


@primitive()
def tril(x: ShapeArray, k: int = 0) -> ShapeArray:
    return ShapeArray(x.shape, x.dtype)


PRIMITIVES["triu"] = PRIMITIVES["tril"]


def _fourier(name: str, x: ShapeArray, s: Any, axes: Any, norm: str = "backward") -> ShapeArray:
    """A transform of lengths `s`: half of the last one's where one side is real."""
    shape = list(x.shape)
    for axis, n in zip(normalize_axis_tuple(axes, x.ndim), s, strict=True):
        if n < 1:
            raise ValueError(f"{name}: a transform of length {n}")
        shape[axis] = n
    if name == "rfftn":
        shape[axes[-1]] = s[-1] // 2 + 1
    return ShapeArray(shape, _real(x) if name == "irfftn" else _inexact(x, complex=True))


def _butterflies(y: ShapeArray, x: ShapeArray, s: Any, *_: Any) -> int:
    """5 N log₂ N a transform, half of that where one side is real."""
    points = max(x.size, y.size)
    return int(5 * points * math.log2(max(math.prod(s), 1)) * (1 if x.dtype.kind == y.dtype.kind == "c" else 0.5))


for _name in ("fftn", "ifftn", "rfftn", "irfftn"):
    primitive(_butterflies)(functools.partial(_fourier, _name), _name)  # type: ignore[call-arg]


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
