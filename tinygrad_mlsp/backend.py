"""Where arrays live: the namespace, device and random numbers of NumPy and CuPy, and of anything like them.

An array's class decides its space. `register` adds one more (the shape reader and the formula writer do),
and the rest of the library computes in it unchanged.
"""

from __future__ import annotations

import functools
import importlib
import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from .errors import DeviceError, IndexingError, MissingDependency
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
        for operation in registry.values():
            self.adopt(operation)
        on_declaration.append(self.adopt)

    def adopt(self, operation: Operation) -> None:
        """Offers an operation's forward function beside the module's own functions."""
        if not hasattr(type(self), operation.name) and not hasattr(self.module, operation.name):
            setattr(self, operation.name, functools.partial(operation.forward, self))

    def erf(self, x: Any) -> Any:
        self.erf = importlib.import_module(self.special).erf  # type: ignore[method-assign]
        return self.erf(x)

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

    def transfer(self, x: Any, device: str) -> Any:
        return to_device(x, device)

    def logaddexp(self, a: Any, b: Any) -> Any:
        m = self.module
        return m.where(a == b, a + _LN2, m.maximum(a, b) + m.log1p(m.exp(-m.abs(a - b))))

    def sigmoid(self, x: Any) -> Any:
        """1/(1 + e⁻ˣ) with the exponent held where e⁻ˣ is still finite; four vectorized passes."""
        m = self.module
        return 1 / (1 + m.exp(m.minimum(-x, _EXPONENT.get(x.dtype.itemsize, 709) if x.dtype.kind == "f" else 709)))

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
        axis = 0
        for part in index if isinstance(index, tuple) else (index,):
            if part is None:
                continue
            if part is Ellipsis or (hasattr(part, "dtype") and part.dtype.kind == "b"):
                return  # what follows counts from the other end; NumPy's own forms are left to CuPy
            if hasattr(part, "dtype") and part.dtype.kind in "iu" and part.size:
                low, high = int(part.min()), int(part.max())
                if low < -shape[axis] or high >= shape[axis]:
                    wrong = low if low < -shape[axis] else high
                    raise IndexingError(f"index {wrong} is out of bounds for axis {axis} with size {shape[axis]}")
            axis += 1

    def scatter(self, g: Any, index: Any, shape: tuple[int, ...]) -> Any:
        """Zeros of `shape` with g added at index: the adjoint of `x[index]`. Repeated indices add up."""
        out = self.module.zeros(shape, dtype=g.dtype)
        if repeats(index):
            self.add_at(out, index, g)
        else:
            out[index] = g
        return out

    def add_at(self, out: Any, index: Any, g: Any) -> None:
        self.module.add.at(out, index, g)

    def scatter_along_axis(self, g: Any, indices: Any, shape: tuple[int, ...], axis: int) -> Any:
        """Zeros of `shape` with g added along the axis: the adjoint of `take_along_axis`."""
        axis = axis % len(shape)
        where = tuple(
            indices if i == axis else self.module.arange(n).reshape((-1,) + (1,) * (len(shape) - i - 1))
            for i, n in enumerate(indices.shape)
        )
        return self.scatter(g, where, shape)


_LN2 = math.log(2)
_EXPONENT = {2: 11, 4: 88, 8: 709}  # e to this is finite in a float of so many bytes


class LateSpace(Space):
    """A space of a module that makes some of its names only when asked for them."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.module, name)
        setattr(self, name, found)
        return found


def repeats(index: Any) -> bool:
    """Whether an index may name one entry twice: only arrays of integers may."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(hasattr(p, "dtype") and p.dtype.kind in "iu" and p.ndim > 0 for p in parts)


numpy_space = Space(np, "scipy.special", "cpu")
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


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """A NumPy array of the same values; shares memory on the CPU."""
    return array if isinstance(array, np.ndarray) else to_device(array, "cpu")


def available() -> SimpleNamespace:
    """What is there to compute on: `.cuda` is the number of GPUs."""
    try:
        return SimpleNamespace(cpu=True, cuda=cupy_space().module.cuda.runtime.getDeviceCount())
    except (MissingDependency, DeviceError):
        return SimpleNamespace(cpu=True, cuda=0)
