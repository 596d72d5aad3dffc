"""cupy.ndarray over a hidden NumPy array: attributes, indexing, conversions, NumPy's protocols.

Operators and the methods that are NumPy's own are attached in __init__.py.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from . import strict

SUPPORTED = "?bhilqBHILQefdFD"
SCALARS = frozenset((bool, int, float, complex, *(np.dtype(c).type for c in SUPPORTED)))
namespace: Any = None  # the package itself, set there: an import at call time could find another cupy
COMPARISONS = ("less", "less_equal", "equal", "not_equal", "greater", "greater_equal")


class MemoryPointer:
    """An address, of host memory in truth."""

    __slots__ = ("ptr",)
    device_id = 0

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr

    @property
    def device(self) -> Any:
        return namespace.cuda.Device(0)


class Flags:
    """The three flags that CuPy has, as attributes and as items."""

    __slots__ = ("c_contiguous", "f_contiguous", "owndata")

    def __init__(self, c_contiguous: bool, f_contiguous: bool, owndata: bool) -> None:
        self.c_contiguous, self.f_contiguous, self.owndata = c_contiguous, f_contiguous, owndata

    def __getitem__(self, name: str) -> bool:
        return {"C_CONTIGUOUS": self.c_contiguous, "F_CONTIGUOUS": self.f_contiguous, "OWNDATA": self.owndata}[name]


class ndarray:
    """As cupy.ndarray: no attributes of one's own, weakly referable, a view's base always the one root object."""

    __slots__ = ("__weakref__", "_hidden", "base")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    _hidden: np.ndarray[Any, Any]
    base: "ndarray | None"

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C"):
        if memptr is not None or strides is not None:
            raise NotImplementedError("the stand-in has no device memory to point at")
        self._hidden, self.base = supported(np.empty(shape, dtype, order or "C")), None  # type: ignore[call-overload]

    # attributes
    dtype = property(lambda self: self._hidden.dtype)
    ndim = property(lambda self: self._hidden.ndim)
    size = property(lambda self: self._hidden.size)
    strides = property(lambda self: self._hidden.strides)
    nbytes = property(lambda self: self._hidden.nbytes)
    itemsize = property(lambda self: self._hidden.itemsize)
    data = property(lambda self: MemoryPointer(self._hidden.__array_interface__["data"][0]))
    device = property(lambda self: self.data.device)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._hidden.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        self._hidden = np.reshape(self._hidden, shape, copy=False)

    @property
    def flags(self) -> Flags:
        flags = self._hidden.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, self.base is None)

    @property
    def T(self) -> "ndarray":
        return self if self.ndim < 2 else view(self, self._hidden.T)

    @property
    def mT(self) -> "ndarray":
        if self.ndim < 2:
            raise ValueError("matrix transpose with ndim < 2 is undefined")
        return view(self, self._hidden.mT)

    @property
    def real(self) -> "ndarray":
        return view(self, self._hidden.real) if self.dtype.kind == "c" else self

    @real.setter
    def real(self, value: Any) -> None:
        self._hidden.real = assignable(value)

    @property
    def imag(self) -> "ndarray":
        return view(self, self._hidden.imag) if self.dtype.kind == "c" else new(np.zeros(self.shape, self.dtype))

    @imag.setter
    def imag(self, value: Any) -> None:
        self._hidden.imag = assignable(value)

    # from device to host and back: the only ways
    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray[Any, Any]:
        return self._fetch("get()", order, out)

    def _fetch(self, what: str, order: Any = "C", out: Any = None) -> np.ndarray[Any, Any]:
        strict.synchronize(f"ndarray.{what}")
        if out is None:
            return self._hidden.copy(order)
        if type(out) is not np.ndarray or out.dtype != self.dtype or out.shape != self.shape:
            raise TypeError("out must be a NumPy array of the same shape and dtype")
        out[...] = self._hidden
        return out

    def set(self, arr: Any, stream: Any = None) -> None:
        if type(arr) is not np.ndarray or arr.dtype != self.dtype or arr.shape != self.shape:
            raise TypeError("Only a numpy.ndarray of the same shape and dtype can be set to cupy.ndarray")
        self._hidden[...] = arr

    def item(self) -> Any:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self._fetch("item()").item()

    def tolist(self) -> Any:
        return self._fetch("tolist()").tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        return self._fetch("tobytes()").tobytes(order)

    def __float__(self) -> float:
        return float(self._fetch("__float__"))

    def __int__(self) -> int:
        return int(self._fetch("__int__"))

    def __complex__(self) -> complex:
        return complex(self._fetch("__complex__"))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError("The truth value of an array with other than one element is ambiguous. Use a.any()")
        return bool(self._fetch("__bool__"))

    def __repr__(self) -> str:
        return repr(self._fetch("__repr__"))

    def __str__(self) -> str:
        return str(self._fetch("__str__"))

    def __format__(self, spec: str) -> str:
        return format(self._fetch("__format__"), spec)

    def __reduce__(self) -> Any:
        return namespace.array, (self._fetch("__reduce__", "K"),)

    def __copy__(self) -> "ndarray":
        return new(self._hidden.copy())

    def __deepcopy__(self, memo: Any) -> "ndarray":
        return new(self._hidden.copy())

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0  # kDLCUDA

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("the stand-in has no device memory to export")

    # NumPy's protocols
    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, out: Any = (), **kwargs: Any) -> Any:
        ours = getattr(namespace, function.__name__, None)
        if ours is None or any(
            type(x) is not ndarray and type(x) not in SCALARS and not isinstance(x, np.ndarray)
            for x in (*inputs, *out)
            if x is not None
        ):
            return NotImplemented
        if function.__name__ in COMPARISONS:  # here NumPy hands its own scalars over as 0-d arrays
            inputs = tuple(x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs)
        if out:
            kwargs["out"] = out if len(out) > 1 else out[0]
        return getattr(ours, method)(*inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        scope = namespace
        for part in function.__module__.split(".")[1:]:
            scope = getattr(scope, part, None)
        ours = getattr(scope, function.__name__, None)
        if ours is None or ours is function or any(t not in (ndarray, np.ndarray) for t in types):
            return NotImplemented
        return ours(*args, **kwargs)

    # indexing
    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator["ndarray"]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, slices: Any) -> "ndarray":
        key, advanced = resolve(self._hidden.shape, slices)
        found = self._hidden[key]
        if not advanced:
            return view(self, found)
        found = np.asarray(found)
        return new(found if found.base is None else found.copy())

    def __setitem__(self, slices: Any, value: Any) -> None:
        key, advanced = resolve(self._hidden.shape, slices)
        value = assignable(value)
        if advanced:
            # CuPy lets any of several writes to one place win; here it is the first, unlike in NumPy
            places = np.arange(self.size).reshape(self.shape)[key]
            value = np.broadcast_to(np.asarray(value).astype(self.dtype), places.shape)
            np.put(self._hidden, places.ravel()[::-1], value.ravel()[::-1])
        else:
            self._hidden[key] = value

    def scatter_add(self, slices: Any, value: Any) -> None:
        namespace.add.at(self, slices, value)

    def scatter_max(self, slices: Any, value: Any) -> None:
        namespace.maximum.at(self, slices, value)

    def scatter_min(self, slices: Any, value: Any) -> None:
        namespace.minimum.at(self, slices, value)


_blank = partial(object.__new__, ndarray)


def new(hidden: np.ndarray[Any, Any], base: ndarray | None = None) -> ndarray:
    """The array on the device that holds `hidden`."""
    made = _blank()
    made._hidden = hidden
    made.base = base
    return made


def view(of: ndarray, hidden: np.ndarray[Any, Any]) -> ndarray:
    return new(hidden, of if of.base is None else of.base)


def root(hidden: Any) -> Any:
    """The object that owns the memory."""
    while (base := getattr(hidden, "base", None)) is not None:
        hidden = base
    return hidden


def supported(hidden: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if hidden.dtype.char not in SUPPORTED:
        raise ValueError(f"Unsupported dtype {hidden.dtype}")
    return hidden


def wrap(result: Any, sources: tuple[Any, ...]) -> Any:
    """What NumPy returned, as CuPy returns it: arrays on the device, 0-d ones too, views of their sources' roots."""
    if isinstance(result, np.generic):
        return new(supported(np.asarray(result)))
    if isinstance(result, (tuple, list)):
        return (list if isinstance(result, list) else tuple)([wrap(r, sources) for r in result])
    if not isinstance(result, np.ndarray):
        return result
    if result.base is None:
        sources = tuple(s for s in sources if type(s) is ndarray and s._hidden is result)
        return sources[0] if sources else new(supported(result))
    owner = root(result)
    for source in sources:
        if type(source) is ndarray and root(source._hidden) is owner:
            return source if source._hidden is result else view(source, result)
    return new(supported(result))


def assignable(value: Any) -> Any:
    """A cupy.ndarray or a number."""
    if type(value) is ndarray:
        return value._hidden
    if type(value) in SCALARS:
        return value
    raise TypeError(f"only a cupy.ndarray or a number can be assigned to a cupy.ndarray, not {type(value)}")


def resolve(shape: tuple[int, ...], slices: Any) -> tuple[tuple[Any, ...], bool]:
    """An index for the hidden array, and whether it is advanced: integer arrays wrap around, masks synchronize."""
    items = list(slices) if type(slices) is tuple else [slices]
    advanced = False
    for i, item in enumerate(items):
        if item is None or item is Ellipsis or type(item) in (int, slice) or isinstance(item, np.integer):
            continue
        if isinstance(item, np.ndarray):
            raise TypeError("a NumPy array cannot index a cupy.ndarray")
        if isinstance(item, (list, bool, np.bool_)):
            if any(isinstance(leaf, (ndarray, np.ndarray)) for leaf in leaves(item)):
                raise TypeError("a list of arrays cannot index a cupy.ndarray")
            item = np.asarray(item) if item != [] else np.empty(0, np.intp)
        elif type(item) is ndarray:
            item = item._hidden
        else:
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays "
                f"are valid indices, not {type(item)}"
            )
        if item.dtype.kind not in "biu":
            raise IndexError(f"arrays used as indices must be of integer or boolean type, not {item.dtype}")
        if item.dtype.kind == "b":
            strict.synchronize("indexing with a mask")
        items[i], advanced = item, True
    if not advanced:  # with an ellipsis NumPy returns a view where it would return a scalar
        return tuple(items) if any(item is Ellipsis for item in items) else (*items, Ellipsis), False

    def taken(item: Any) -> int:
        if item is None or item is Ellipsis:
            return 0
        return item.ndim if isinstance(item, np.ndarray) and item.dtype.kind == "b" else 1

    axis = 0
    for i, item in enumerate(items):
        if item is Ellipsis:
            axis = len(shape) - sum(map(taken, items[i + 1 :]))
        elif isinstance(item, np.ndarray) and item.dtype.kind != "b" and axis < len(shape) and shape[axis]:
            items[i] = item % shape[axis]
        axis += taken(item)
    return tuple(items), True


def leaves(value: Any) -> Iterator[Any]:
    """What a nest of lists and tuples holds."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, (list, tuple)):
            stack.extend(reversed(item))
        else:
            yield item


def scatter(combine: Callable[..., Any], dtypes: str, a: ndarray, slices: Any, value: Any) -> None:
    """a[slices] = combine(a[slices], value), each of several writes to one place taking part."""
    if a.dtype.char not in dtypes:
        raise TypeError(f"cupy.{combine.__name__}.at does not support {a.dtype}")
    key, _ = resolve(a.shape, slices)
    combine.at(a._hidden, key, np.asarray(assignable(value)).astype(a.dtype))  # type: ignore[attr-defined]
