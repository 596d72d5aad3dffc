"""Where arrays live: the namespace, device and random numbers of NumPy and CuPy, and of anything like them.

An array's class decides its space. `register` adds one more (the shape reader is one),
and the rest of the library computes in it unchanged.
"""

from __future__ import annotations

import cmath
import functools
import math
import operator
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import special as special_functions
from . import wide, windows
from .errors import DeviceError, MissingDependency
from .op import Operation, on_declaration, registry

float32 = np.dtype("float32")

# The array API's names, where an older library has only the classical one.
CLASSICAL = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atanh": "arctanh",
    "atan2": "arctan2", "bitwise_invert": "invert", "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift",
}  # fmt: skip


class Space:
    """A namespace `xp`: an array module with the few functions beside it that the rules need.

    What the module lacks is taken from the operations, whose forward functions are then run in this space.
    Everything is an ordinary attribute, so `xp.tanh` costs one dictionary access.
    """

    minimum: Any  # the module's own, as all that is not below

    def __init__(self, module: Any, special: str, name: str) -> None:
        self.module, self.special, self.name = module, special, name
        self.ndarray = module.ndarray
        own = set(dir(type(self)))
        for found, value in vars(module).items():
            if not found.startswith("_") and found not in own:
                setattr(self, found, value)
        for array_name, classical in CLASSICAL.items():
            if not hasattr(module, array_name):
                setattr(self, array_name, getattr(module, classical))
        for found, function in (special_functions.functions | windows.functions).items():
            setattr(self, found, functools.partial(function, self))
        for operation in registry.values():
            self.adopt(operation)
        on_declaration.append(self.adopt)

    def adopt(self, operation: Operation) -> None:
        """Offers an operation's forward function beside the module's own functions."""
        owned = hasattr(type(self), operation.name) or operation.name in special_functions.functions | windows.functions
        if not owned and not hasattr(self.module, operation.name):
            setattr(self, operation.name, functools.partial(operation.forward, self))

    # The array API's names that NumPy or CuPy lack, and the adjoints of indexing.

    def matrix_transpose(self, x: Any) -> Any:
        return x.swapaxes(-1, -2)

    def permute_dims(self, x: Any, axes: tuple[int, ...]) -> Any:
        return x.transpose(axes)

    def concat(self, arrays: Any, axis: int | None = 0) -> Any:
        return self.module.concatenate(arrays, axis=axis)

    def astype(self, x: Any, dtype: Any) -> Any:
        return x.astype(dtype)

    def pow(self, x: Any, y: Any) -> Any:
        return self.module.power(x, y)

    def eye_like(self, x: Any, n: int) -> Any:
        return self.module.eye(n, dtype=x.dtype)

    def transfer(self, x: Any, source: str, target: str) -> Any:
        return to_device(x, target)

    def below(self, x: Any, top: Any) -> Any:
        """x − top for x ≤ top; that it may be −∞ is as it should be, and no reason for a warning."""
        return x - top

    def logaddexp(self, a: Any, b: Any) -> Any:
        m = self.module
        top = m.maximum(a, b)
        below = m.minimum(a, b) - m.where(m.isfinite(top), top, 0)
        return top + m.log1p(m.exp(m.minimum(below, 0)))

    def sigmoid(self, x: Any) -> Any:
        """1/(1 + e⁻ˣ) with the exponent held where e⁻ˣ is still finite; four vectorized passes."""
        m = self.module
        return 1 / (1 + m.exp(self.minimum(-x, _EXPONENT.get(x.dtype.itemsize, 709) if x.dtype.kind == "f" else 709)))

    def solve(self, a: Any, b: Any) -> Any:
        batches = a.shape[:-2], b.shape[:-2]
        if batches[0] != batches[1]:  # which CuPy does not broadcast
            joint = np.broadcast_shapes(*batches)
            a = self.module.broadcast_to(a, (*joint, *a.shape[-2:]))
            b = self.module.broadcast_to(b, (*joint, *b.shape[-2:]))
        return self.module.linalg.solve(a, b)

    def eigh(self, x: Any, apart: bool = False) -> Any:
        w, q = self.module.linalg.eigh(x)
        return w, q * self.turns(q, -2)

    def svd(self, x: Any, full_matrices: bool = True, compute_uv: bool = True, apart: bool = False) -> Any:
        if not compute_uv:
            return self.module.linalg.svd(x, full_matrices, False)
        u, s, vh = self.module.linalg.svd(x, full_matrices)
        n, m, k = u.shape[-1], vh.shape[-2], s.shape[-1]
        turns = self.turns(u, -2)
        back = turns[..., :k].conj().swapaxes(-1, -2)
        if m > n:
            back = self.concat([back, self.turns(vh[..., k:, :], -1)], axis=-2)
        return u * turns, s, vh * back

    def turns(self, vectors: Any, axis: int) -> Any:
        """The signs, or phases, that make each vector's largest entry positive. Eigenvectors have none of their own;
        with these they move steadily with their matrix, and are the same on every device."""
        m = self.module
        if not vectors.size:
            return m.ones([1 if a == axis % vectors.ndim else n for a, n in enumerate(vectors.shape)], vectors.dtype)
        top = m.take_along_axis(vectors, m.argmax(m.abs(vectors), axis=axis, keepdims=True), axis)
        return top.conj() / m.abs(top)

    def getitem(self, x: Any, index: Any) -> Any:
        if self.name == "cuda":
            self.check_bounds(x.shape, index)
        return x[index]

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        if self.name == "cuda":
            self.check_bounds(x.shape, (slice(None),) * (axis % x.ndim) + (indices,))
        return self.module.take(x, indices, axis=axis)

    def take_along_axis(self, x: Any, indices: Any, axis: int = -1) -> Any:
        if self.name == "cuda":
            self.check_bounds(x.shape, (slice(None),) * (axis % x.ndim) + (indices,))
        return self.module.take_along_axis(x, indices, axis=axis)

    def check_bounds(self, shape: tuple[int, ...], index: Any) -> None:
        """CuPy wraps indices that are out of range; a wrong number without an error is worse than a wait."""
        parts = [np.asarray(p) if isinstance(p, list) else p for p in (index if isinstance(index, tuple) else (index,))]
        if sum(map(_axes_taken, parts)) > len(shape):
            return  # too many indices, of which CuPy itself speaks
        axis = 0
        for i, part in enumerate(parts):
            if part is Ellipsis:
                axis = len(shape) - sum(map(_axes_taken, parts[i + 1 :]))
            elif hasattr(part, "dtype") and part.dtype.kind in "iu" and part.size:
                low, high = int(part.min()), int(part.max())
                if low < -shape[axis] or high >= shape[axis]:
                    wrong = low if low < -shape[axis] else high
                    raise IndexError(f"index {wrong} is out of bounds for axis {axis} with size {shape[axis]}")
            axis += _axes_taken(part)

    def scatter_at(self, g: Any, index: Any, shape: tuple[int, ...]) -> Any:
        """Zeros of `shape` with g added at index: the adjoint of `x[index]`. Repeated indices add up."""
        out = self.module.zeros(shape, dtype=g.dtype)
        if repeats(index):
            self.add_at(out, index, g)
        else:
            out[index] = g
        return out

    def add_at(self, out: Any, index: Any, g: Any) -> None:
        if out.dtype.kind == "c":  # CuPy's add.at knows no complex numbers
            self.module.add.at(out.real, index, g.real)
            self.module.add.at(out.imag, index, g.imag)
        else:
            self.module.add.at(out, index, g)

    def scatter_along_axis(self, g: Any, indices: Any, shape: tuple[int, ...], axis: int) -> Any:
        """Zeros of `shape` with g added along the axis: the adjoint of `take_along_axis`."""
        axis %= len(shape)
        out, where = self.module.zeros(shape, dtype=g.dtype), self.along_axis(indices, shape, axis)
        others = [i for i in range(len(shape)) if i != axis]
        if indices.shape[axis] == 1 and all([indices.shape[i] == shape[i] for i in others]):
            out[where] = g  # one a row: nothing is named twice
        else:
            self.add_at(out, where, g)
        return out

    def set_at(self, x: Any, value: Any, index: Any) -> Any:
        """A copy of x with `value` at the index. Of several values for one place the last counts, here and on a GPU."""
        if self.name == "cuda":
            self.check_bounds(x.shape, index)
        y = self.module.array(x)
        if hasattr(value, "shape") and value.size == 1:
            value = value.reshape(())
        try:
            if hasattr(value, "shape") and value.ndim and repeats(index):
                last = self.last_writers(index, x.shape)
                value = value.reshape(value.shape[max(value.ndim - last.ndim, 0) :])
                value = self.module.broadcast_to(value, last.shape).reshape(-1)[last]
            y[index] = value
        except ValueError as problem:
            there = x[index].shape
            raise ValueError(f"value of shape {value.shape} does not fit x[index], of shape {there}") from problem
        return y

    def last_writers(self, index: Any, shape: tuple[int, ...]) -> Any:
        """For each entry of x[index] the number of the one, among them all, that goes to the same place last."""
        m = self.module
        place = m.zeros(shape, dtype=np.int64)
        m.maximum.at(place, index, self.numbers(place[index].shape))
        return place[index]

    def numbers(self, shape: tuple[int, ...]) -> Any:
        return self.module.arange(math.prod(shape), dtype=np.int64).reshape(shape)

    def last_written(self, u: Any, index: Any, shape: tuple[int, ...]) -> Any:
        if not repeats(index):
            return u
        last = self.last_writers(index, shape)
        return self.module.where(last == self.numbers(last.shape), u, 0)

    # Scans, order and windows

    def accumulate(self, x: Any, name: str, axis: int) -> Any:
        """The running maximum, minimum or logaddexp, in log n steps."""
        join, n, step = getattr(self, name), x.shape[axis], 1
        place = (slice(None),) * axis
        while step < n:
            later = join(x[(*place, slice(step, None))], x[(*place, slice(0, -step))])
            x = self.concat([x[(*place, slice(0, step))], later], axis=axis)
            step *= 2
        return x if n > 1 else self.module.array(x)

    def cumulative_sum(self, x: Any, axis: int, include_initial: bool = False) -> Any:
        return self.headed(self.module.cumsum(x, axis), axis, 0, include_initial)

    def cumulative_prod(self, x: Any, axis: int, include_initial: bool = False) -> Any:
        m = self.module
        with np.errstate(over="ignore", invalid="ignore"):
            y = m.cumprod(x, axis)
        if y.dtype.kind in "fc" and x.size and not bool((m.isfinite(y) & (y != 0)).all()):
            y = wide.narrow(m, wide.running_product(m, wide.wide(m, x), axis))  # it may come back from 0 or ∞
        return self.headed(y, axis, 1, include_initial)

    def headed(self, y: Any, axis: int, value: int, wanted: bool) -> Any:
        """y, with `value` before its first entries where that is wanted; an axis without entries gets it too."""
        shape = tuple([1 if a == axis else n for a, n in enumerate(y.shape)])
        return self.concat([self.module.full(shape, value, dtype=y.dtype), y], axis=axis) if wanted else y

    def linear_recurrence(self, a: Any, b: Any, axis: int, reverse: bool = False) -> Any:
        """yₖ = aₖ yₖ₋₁ + bₖ along the axis; in reverse yₖ = aₖ₊₁ yₖ₊₁ + bₖ. After each of log n steps every y knows of
        twice as many before it, and every a is a product of twice as many. Such a product may be too large for a float
        where no y is: then once more, with exponents of their own."""
        place, m = (slice(None),) * axis, self.module
        if reverse:
            a, b = m.flip(a, axis), m.flip(b, axis)
            a = self.concat([a[(*place, slice(0, 1))], a[(*place, slice(0, -1))]], axis=axis)
            return m.flip(self.linear_recurrence(a, b, axis), axis)
        n, step, y, factor = b.shape[axis], 1, b, a
        with np.errstate(over="ignore", invalid="ignore"):
            while step < n:
                start, late, early = (*place, slice(0, step)), (*place, slice(step, None)), (*place, slice(0, -step))
                y = self.concat([y[start], y[late] + factor[late] * y[early]], axis=axis)
                factor = self.concat([factor[start], factor[late] * factor[early]], axis=axis)
                step *= 2
        if n < 2 or not y.size:
            return m.array(b)
        # What is below the smallest float is lost from a product, times what it meets: little unless that is large.
        if float(m.abs(y).max()) < 2.0**40:
            return y
        return wide.narrow(m, wide.recurrence(m, wide.wide(m, a), wide.wide(m, b), axis))

    def running_product_adjoint(self, x: Any, g: Any, axis: int) -> Any:
        return wide.running_product_adjoint(self.module, x, g, axis)

    def product_of_others(self, x: Any) -> Any:
        return wide.product_of_others(self.module, x)

    def prod(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            y = self.module.prod(x, axis=axis, keepdims=keepdims)
        if y.dtype.kind not in "fc" or not x.size or bool((self.module.isfinite(y) & (y != 0)).all()):
            return y
        axes = [a % x.ndim for a in (range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,))]
        order = [a for a in range(x.ndim) if a not in axes]
        rows = x.transpose((*order, *axes)).reshape((*[x.shape[a] for a in order], -1))
        return wide.product(self.module, rows).reshape(y.shape)

    def sort(self, x: Any, axis: int = -1, descending: bool = False) -> Any:
        y = self.module.sort(x, axis=axis)
        return self.module.flip(y, axis) if descending else y

    def argsort(self, x: Any, axis: int = -1, descending: bool = False) -> Any:
        m = self.module
        if not descending:
            return m.argsort(x, axis=axis, kind="stable")
        return x.shape[axis] - 1 - m.flip(m.argsort(m.flip(x, axis), axis=axis, kind="stable"), axis)

    def unfold(self, x: Any, axis: int, size: int, step: int) -> Any:
        windows = self.module.lib.stride_tricks.sliding_window_view(x, size, axis=axis)
        return windows[(slice(None),) * axis + (slice(None, None, step),)]

    def overlap_add(self, windows: Any, shape: tuple[int, ...], axis: int, step: int) -> Any:
        out = self.module.zeros(shape, dtype=windows.dtype)
        reach = (windows.shape[axis] - 1) * step + 1
        for k in range(windows.shape[-1]):
            out[(slice(None),) * axis + (slice(k, k + reach, step),)] += windows[..., k]
        return out

    def along_axis(self, indices: Any, shape: tuple[int, ...], axis: int) -> tuple[Any, ...]:
        """The index of x[indices] along one axis, row by row: along the others every entry stays in its own place, and
        where x is broadcast, in the only one."""
        place, ndim = self.module.arange, len(shape)
        return tuple([
            indices if i == axis else 0 if n == 1 else place(n).reshape((-1,) + (1,) * (ndim - i - 1))
            for i, n in enumerate(shape)
        ])  # fmt: skip


_EXPONENT = {2: 11, 4: 88, 8: 709}  # e to this is finite in a float of so many bytes


def _inside(room: str, name: str) -> Any:
    def call(self: Space, *arguments: Any, **options: Any) -> Any:
        found = getattr(getattr(self.module, room), name)
        setattr(self, name, found)
        return found(*arguments, **options)

    return call


# What the rules call by its own name lies in a module of NumPy's and CuPy's.
for _room, _names in {
    "linalg": "inv det slogdet cholesky eigvalsh qr", "fft": "fftn ifftn rfftn irfftn",
}.items():  # fmt: skip
    for _name in _names.split():
        setattr(Space, _name, _inside(_room, _name))


class LateSpace(Space):
    """A space of a module that makes some of its names only when asked for them."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.module, name)
        setattr(self, name, found)
        return found


def _axes_taken(part: Any) -> int:
    """How many axes of an array one part of an index uses up."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if hasattr(part, "dtype") and part.dtype.kind == "b" else 1


def repeats(index: Any) -> bool:
    """Whether an index may name one entry twice: only arrays and lists of integers may."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(p, list) or (hasattr(p, "dtype") and p.dtype.kind in "iu" and p.ndim > 0) for p in parts)


_add: Any = np.add.reduce
_most: Any = np.maximum.reduce
_least: Any = np.minimum.reduce


@functools.lru_cache(maxsize=64)
def _row(value: int, n: int, dtype: Any) -> Any:
    return np.full(n, value, dtype)


class NumpySpace(Space):
    """NumPy by its inner functions: on small arrays the public ones spend more on their arguments than on the work."""

    # Against a number these two are not vectorized, and take four times as long as against an array.

    def maximum(self, a: Any, b: Any, out: Any = None) -> Any:
        row = b.__class__ is int and a.ndim and a.shape[-1] < 65536 and a.dtype.kind == "f"
        return np.maximum(a, _row(b, a.shape[-1], a.dtype) if row else b, out=out)

    def minimum(self, a: Any, b: Any, out: Any = None) -> Any:
        row = b.__class__ is int and a.ndim and a.shape[-1] < 65536 and a.dtype.kind == "f"
        return np.minimum(a, _row(b, a.shape[-1], a.dtype) if row else b, out=out)

    def sum(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        if axis == (0,) and not keepdims and x.ndim == 2 and x.size < 65536 and x.dtype.char in "fd":
            return np.dot(_row(1, len(x), x.dtype), x)  # a bias's gradient: two to five times as fast, and rounds less
        return _add(x, axis, None, None, keepdims)

    def mean(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        if axis is None and not keepdims and x.size and x.dtype.char in "fd":
            y = _add(x, None) / x.size
            return y if cmath.isfinite(y) else self.scaled_mean(x, axis, keepdims)
        y = np.mean(x, axis=axis, keepdims=keepdims)
        return y if cmath.isfinite(_add(y, None)) or not x.size else self.scaled_mean(x, axis, keepdims)

    @np.errstate(over="ignore", invalid="ignore")
    def scaled_mean(self, x: Any, axis: Any, keepdims: bool) -> Any:
        """The mean where the sum is too large for a float: of x over a power of two, which rounds nothing."""
        scale = 2.0 ** math.ceil(math.log2(x.size + 1))
        return np.mean(x / scale, axis=axis, keepdims=keepdims) * scale

    def max(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return _most(x, axis, None, None, keepdims)

    def min(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return _least(x, axis, None, None, keepdims)

    def matmul(self, a: Any, b: Any) -> Any:
        return np.dot(a, b) if a.ndim == 2 == b.ndim and len(a) <= 64 else np.matmul(a, b)

    def take_along_axis(self, x: Any, indices: Any, axis: int = -1) -> Any:
        if indices.ndim != x.ndim or indices.dtype.kind not in "iu":
            return np.take_along_axis(x, indices, axis=axis)
        return x[self.along_axis(indices, x.shape, axis % x.ndim)]

    @np.errstate(over="ignore")
    def below(self, x: Any, top: Any) -> Any:
        return x - top

    @np.errstate(over="ignore")
    def accumulate(self, x: Any, name: str, axis: int) -> Any:
        return getattr(np, name).accumulate(x, axis=axis)

    def broadcast_to(self, x: Any, shape: Any) -> Any:
        if x.ndim:
            return np.broadcast_to(x, shape)
        return np.nditer(x, ["multi_index", "zerosize_ok"], ["readonly"], itershape=shape).itviews[0]  # its core

    matrix_transpose = staticmethod(operator.attrgetter("mT"))  # type: ignore[assignment]

    def reshape(self, x: Any, shape: Any) -> Any:
        return x.reshape(shape)

    def zeros_like(self, x: Any) -> Any:
        return np.zeros(x.shape, x.dtype)

    def ones_like(self, x: Any) -> Any:
        return np.ones(x.shape, x.dtype)

    def expand_dims(self, x: Any, axis: Any) -> Any:
        return x[..., None] if axis == -1 else np.expand_dims(x, axis)


# glibc returns large blocks to the system as soon as they are free, and the next step waits until they are mapped and
# zeroed again: up to a fifth of its time. Its limit for this is the largest block freed so far (up to 32 MiB), so one
# is freed here. Nothing is written into it, so it costs no memory.
np.empty((1 << 25) - (1 << 16), np.uint8)

numpy_space = NumpySpace(np, "scipy.special", "cpu")
spaces: dict[type, Any] = {np.ndarray: numpy_space}
_by_name: dict[str, Any] = {"cpu": numpy_space}


def register(array_class: type, space: Any) -> None:
    """Teaches the library one more kind of array; `space.name` is its device name."""
    spaces[array_class] = space
    _by_name[space.name] = space


def space_of(array: Any) -> Any:
    """The space of a raw array."""
    space = spaces.get(type(array))
    if space is not None:
        return space
    if type(array).__module__.partition(".")[0] == "cupy":
        return cupy_space()
    return numpy_space


def cupy_space() -> Any:
    """CuPy's space, imported at the first use."""
    if "cuda" in _by_name:
        return _by_name["cuda"]
    try:
        import cupy  # type: ignore[import-not-found, unused-ignore]

        devices = cupy.cuda.runtime.getDeviceCount()
    except ImportError as problem:
        raise MissingDependency(
            "device 'cuda' needs CuPy: pip install 'tinygrad_mlsp[gpu]' (and an NVIDIA driver)"
        ) from problem
    except Exception as problem:  # CuPy's own error for a missing driver
        raise DeviceError(f"device 'cuda': CuPy found no usable NVIDIA GPU or driver ({problem})") from problem
    if devices == 0:
        raise DeviceError("device 'cuda': CuPy found no NVIDIA GPU")
    space = LateSpace(cupy, "cupyx.scipy.special", "cuda")
    register(cupy.ndarray, space)
    return space


def space_for(device: str) -> tuple[Any, int]:
    """The space and number of a device name: 'cpu', 'cuda', 'cuda:1'."""
    name, _, number = str(device).partition(":")
    if name == "cuda":
        space = cupy_space()
        index = int(number) if number.isdecimal() else (0 if not number else -1)
        if not 0 <= index < space.module.cuda.runtime.getDeviceCount():
            raise DeviceError(f"no device {device!r}: {space.module.cuda.runtime.getDeviceCount()} GPU(s) are there")
        return space, index
    if name in _by_name and not number:
        return _by_name[name], 0
    raise DeviceError(f"no device {device!r}; 'cpu', 'cuda' and 'cuda:N' are known")


def device_of(array: Any) -> str:
    """'cpu', 'cuda:0', …"""
    space = space_of(array)
    return f"cuda:{array.device.id}" if space.name == "cuda" else space.name


def to_device(array: Any, device: str) -> Any:
    """The array itself if it is there already, else a copy on the device."""
    space, index = space_for(device)
    here = space_of(array)
    if space.name == "cuda":
        with space.module.cuda.Device(index):
            return space.module.asarray(array)
    if here is space:
        return array
    if here.name == "cuda" and space is numpy_space:
        return array.get()
    return space.asarray(array)


def norm_of(array: Any) -> Any:
    """√Σ|x|² as a float64 on the array's device: nothing is moved, and float32 neither under- nor overflows."""
    xp = space_of(array)
    x = xp.abs(array) if array.dtype.kind == "c" else array
    x = x.reshape(-1).astype("float64")
    if array.dtype.itemsize < 8 or not x.size:
        return xp.sqrt(xp.dot(x, x))
    top = xp.max(xp.abs(x))  # squares of float64 may
    x = x / xp.where((top > 0) & (top < math.inf), top, 1.0)
    return xp.where(top < math.inf, top, 1.0) * xp.sqrt(xp.dot(x, x))


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """A NumPy array of the same values; shares memory on the CPU."""
    return array if isinstance(array, np.ndarray) else to_device(array, "cpu")


def available() -> SimpleNamespace:
    """What is there to compute on: `.cuda` is the number of GPUs."""
    try:
        return SimpleNamespace(cpu=True, cuda=cupy_space().module.cuda.runtime.getDeviceCount())
    except (MissingDependency, DeviceError):
        return SimpleNamespace(cpu=True, cuda=0)
