"""Tensor: an array, and the node that remembers how it was made.

    Tensor → node → parents' nodes        no cycle, so a graph is freed the moment nobody holds it

What happens when an operation meets Tensors is in `record`; the operators are attached in `namespace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import op as op_module
from .backend import device_of, space_for, space_of, to_numpy
from .convert import as_array, as_dtype
from .errors import DeviceError, DTypeError, GraphError, IndexingError, NonFiniteError, ShapeError
from .modes import _mode, _observer
from .modes import enable_grad as enable_grad
from .modes import is_grad_enabled as is_grad_enabled
from .modes import no_grad as no_grad
from .recipe import PART, Node, Watch, make_node, next_order
from .sweep import backward, reach, seen_elsewhere, span_devices, wrote


class Tensor:
    """An n-dimensional array that can remember how it was computed.

    `data` may be a number, nested lists, a NumPy or CuPy array, or a Tensor. Numbers and lists of Python
    floats become float32; arrays keep their dtype and, on the same device, their memory.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_array", "_node")
    __array_priority__ = 1000
    __hash__ = object.__hash__
    _array: Any
    _node: Node | None

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, device: str | None = None) -> None:
        self._array = as_array(data, dtype, device)
        self._node = None
        if requires_grad is not False:
            self.requires_grad = requires_grad

    if TYPE_CHECKING:  # attached by `namespace`, from the operations

        def __add__(self, other: Any) -> Tensor: ...

        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __add__
        __matmul__ = __rmatmul__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __lshift__ = __rshift__ = __add__
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __lt__ = __le__ = __gt__ = __ge__ = __add__

        def __neg__(self) -> Tensor: ...

        __pos__ = __abs__ = __invert__ = __neg__

        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]

        T: Tensor
        mT: Tensor
        sum: Callable[..., Tensor]
        mean = var = std = max = min = prod = logsumexp = softmax = log_softmax = argmax = argmin = any = all = sum
        exp = log = sqrt = square = tanh = sigmoid = relu = abs = conj = squeeze = clip = astype = take = sum
        reshape = transpose = flatten = sum

    # What it is

    @property
    def data(self) -> Any:
        """The raw NumPy or CuPy array, shared. Writes into it are not seen by the engine; assign to `.data`
        or use `copy_` to change a tensor's values."""
        return self._array

    @data.setter
    def data(self, value: Any) -> None:
        self._refuse_computed("assigning .data")
        array = as_array(value, self._array.dtype, self.device)
        if array.shape != self._array.shape:
            raise ShapeError(f"assigning .data: shape {array.shape} does not fit the tensor's shape {self.shape}")
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> Any:
        return self._array.dtype

    @property
    def device(self) -> str:
        return device_of(self._array)

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def size(self) -> int:
        return self._array.size

    @property
    def requires_grad(self) -> bool:
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not isinstance(wanted, (bool, np.bool_)):
            hint = "; a dtype is passed by name, dtype=" if isinstance(wanted, (np.dtype, type)) else ""
            raise DTypeError(f"requires_grad is True or False, not {wanted!r}{hint}")
        if wanted and self._node is None:
            if self._array.dtype.kind not in "fc":
                raise DTypeError(
                    f"requires_grad: only floating-point tensors have gradients, not {self.dtype}; use astype"
                )
            watch = Watch(keep=True, is_complex=self._array.dtype.kind == "c")
            self._node = make_node(None, None, self._array.shape, watch)
        elif not wanted and self._node is not None:
            if not self.is_leaf:
                raise GraphError("requires_grad = False on a computed tensor; use detach()")
            self._node = None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets `requires_grad`, and returns the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user, not computed from tensors that want gradients."""
        return self._node is None or self._node.recipe is None

    @property
    def grad(self) -> Tensor | None:
        """What backward() has added up here, for a leaf or after `retain_grad()`; None before."""
        if self._node is None or self._node.watch is None or self._node.watch.grad is None:
            return None
        kept = self._node.watch.grad
        return kept if isinstance(kept, Tensor) else wrap(kept, None)

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            value = value if isinstance(value, Tensor) else Tensor(value, dtype=self.dtype, device=self.device)
            if value.shape != self.shape:
                raise ShapeError(f"assigning .grad: shape {value.shape} does not fit the tensor's shape {self.shape}")
            if value.device != self.device:
                raise DeviceError(f"assigning .grad: it is on {value.device}, the tensor on {self.device}; use .to()")
            if value.dtype != self.dtype:
                value = value.astype(self.dtype)
            if value._node is None:
                value = value._array
        self._watch(keep=True).grad = value

    def _watch(self, keep: bool) -> Watch:
        if self._node is None:
            raise GraphError("this tensor does not require a gradient; set requires_grad=True")
        if self._node.watch is None:
            self._node.watch = Watch(keep=False, is_complex=self._array.dtype.kind == "c")
        self._node.watch.keep |= keep
        return self._node.watch

    def retain_grad(self) -> Tensor:
        """Keeps `.grad` of a computed tensor too."""
        self._watch(keep=True)
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Hook:
        """Calls `hook(grad)` when the gradient arrives here; what it returns, if not None, goes on instead.
        Returns a handle: call it, or its `remove()`, to remove the hook."""
        if not callable(hook):
            raise DTypeError(f"register_hook: takes a function of the gradient, not {type(hook).__name__}")
        hooks = self._watch(keep=False).hooks
        shape, dtype, device = self.shape, self.dtype, self.device  # self would make a cycle

        def call(g: Any) -> Any:
            changed = hook(g if isinstance(g, Tensor) else wrap(g, None))
            if changed is None:
                return None
            if not isinstance(changed, Tensor):
                changed = Tensor(changed, dtype=dtype, device=device)
            if changed.shape != shape:
                raise ShapeError(f"hook: returned a gradient of shape {changed.shape} for a tensor of shape {shape}")
            if changed.device != device:
                raise DeviceError(f"hook: returned a gradient on {changed.device} for a tensor on {device}; use .to()")
            if changed.dtype != dtype:
                changed = changed.astype(dtype)
            return changed if isinstance(g, Tensor) else changed._array

        key = next_order()
        hooks[key] = call
        return Hook(hooks, key)

    # Backward

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool = False,
        create_graph: bool = False,
        *,
        check_finite: bool = False,
    ) -> None:
        """Adds ∂self/∂leaf to the `.grad` of every leaf that self was computed from.

        `gradient` is the cotangent ∂L/∂self, of self's shape; a scalar needs none. The graph is freed as the
        sweep passes, unless `retain_graph`; `create_graph` records the sweep itself (and retains). `check_finite` looks
        for NaN and infinities in the result and in what has arrived at the leaves; `detect_anomaly` then
        says where they come from.

        Raises: GraphError where there is no graph, or it was freed or changed; ShapeError for a gradient
        that does not fit, or is missing for a non-scalar; NonFiniteError where check_finite finds something.
        """
        if self._node is None:
            raise GraphError(
                "backward(): this tensor was not computed from any tensor with requires_grad=True "
                "(or was computed under no_grad)"
            )
        xp = space_of(self._array)
        if gradient is None:
            if self.shape != ():
                raise ShapeError(
                    f"backward(): a tensor of shape {self.shape} is not a scalar. Pass gradient= of shape {self.shape} "
                    "(the cotangent dL/dself), or reduce first: .sum().backward() or .mean().backward()"
                )
            gradient = wrap(xp.ones_like(self._array), None)
        else:
            if not isinstance(gradient, Tensor):
                gradient = Tensor(gradient, dtype=self.dtype, device=self.device)
            if gradient.shape != self.shape:
                raise ShapeError(f"backward(): gradient has shape {gradient.shape}, the tensor has shape {self.shape}")
            if gradient.device != self.device:
                raise DeviceError(
                    f"backward(): gradient is on {gradient.device}, the tensor on {self.device}; use .to()"
                )
            if gradient.dtype != self.dtype:
                gradient = gradient.astype(self.dtype)
            if self.dtype.kind == "c":
                gradient = gradient.conj()
        leaves = _leaves_above(self, self._node, xp) if check_finite else []
        if create_graph:
            with enable_grad():
                backward([(self._node, gradient)], library, wrap, retain=True, observer=_observer.get())
        else:
            backward([(self._node, gradient._array)], xp, retain=retain_graph, observer=_observer.get())
        if check_finite:
            _check_finite(leaves)

    def detach(self) -> Tensor:
        """The same values, cut off from the graph; memory is shared."""
        return wrap(self._array, None)

    # Values out, and moves

    def item(self) -> Any:
        """The one value as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item(): a tensor of shape {self.shape} has {self.size} values; use .numpy() or index it")
        return self._array.item()

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array (shared memory on the CPU, a copy from a GPU), outside the graph."""
        return to_numpy(self._array)

    def tolist(self) -> Any:
        return to_numpy(self._array).tolist()

    def to(self, device: str | None = None, dtype: Any = None) -> Tensor:
        """On another device and/or with another dtype; gradients flow back through the move."""
        if device is not None and dtype is None and (not isinstance(device, str) or _names_dtype(device)):
            device, dtype = None, device
        dtype = None if dtype is None else as_dtype(dtype, "to")
        out = self if dtype is None or dtype == self.dtype else self.astype(dtype)
        if device is None:
            return out
        space, index = space_for(device)
        there = f"cuda:{index}" if space.name == "cuda" else space.name
        if there == out.device:
            return out
        span_devices()
        return record_of("transfer")(out, source=out.device, target=there)

    def to_device(self, device: str, *, stream: Any = None) -> Tensor:
        """On another device, in the array API's words; streams are CuPy's current ones, so none is taken."""
        if stream is not None:
            raise DeviceError("to_device: takes no stream; the current CuPy stream is used")
        return self.to(device)

    def copy_(self, values: Any) -> Tensor:
        """Overwrites the values in place. A backward pass that still needs the old ones will refuse.

        Raises: GraphError on a computed tensor, or for values that take part in a graph (outside no_grad).
        """
        self._refuse_computed("copy_")
        self._write(..., values, "copy_")
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        """`x[index] = value`: in place where no gradient is involved. Else x becomes the result of the operation
        `set_at`, and later uses see that one; views of x made before keep the old values.

        Raises: GraphError for a leaf that wants a gradient, and for a view (outside no_grad).
        """
        if not _mode.get() or (self._node is None and (not isinstance(value, Tensor) or value._node is None)):
            return self._write(raw_index(index), value, "assigning to an index")
        if self._node is not None and self._node.recipe is None:
            raise GraphError(
                "assigning to an index: a leaf that wants a gradient cannot become a computed tensor; write into a "
                "copy (y = +x; y[index] = value), make a new tensor with tg.set_at, or write under no_grad()"
            )
        if self._is_view():
            raise GraphError(
                "assigning to an index: this tensor is a view of another, which would not see the new values where "
                "gradients are recorded; write y[i, j] = value for y[i][j] = value, or write into a copy (y = +x)"
            )
        new, old = library.set_at(self, value, index), self._node
        self._array, self._node = new._array, new._node
        if old is not None and old.watch is not None and old.watch.keep:  # hooks stay with the value, this goes along
            old.watch.keep = False
            self.retain_grad()

    def _is_view(self) -> bool:
        """Whether another tensor may have this one's memory too."""
        if self._node is None:
            return seen_elsewhere(self._array)
        return self._array.base is not None and maker(self._node) in VIEWS

    def _refuse_computed(self, what: str) -> None:
        if self._node is not None and self._node.recipe is not None and _mode.get():
            raise GraphError(
                f"{what}: writing into a tensor that takes part in a graph would change values that backward may need; "
                "use tg.where or tg.concat to make a new tensor, or write under no_grad()"
            )

    def _as_element(self) -> Any:
        """The values, as an element of a list that is to become one array."""
        if self._node is not None and _mode.get():
            raise GraphError(
                "a list of tensors that want gradients would lose its graph as an array; "
                "join them with tg.stack or tg.concat, or detach() them"
            )
        if self.device.startswith("cuda"):
            raise DeviceError(f"a list of tensors on {self.device} would move to the CPU; join them with tg.stack")
        return self.numpy()

    def _write(self, index: Any, value: Any, what: str) -> None:
        if isinstance(value, Tensor) and value._node is not None and _mode.get():
            raise GraphError(
                f"{what}: no gradient would reach the values through this; detach() it, or use tg.where or tg.concat"
            )
        array = as_array(value, self.dtype, self.device)
        try:
            if (space := space_of(self._array)).name == "cuda":
                space.check_bounds(self.shape, index)
            self._array[index] = array
        except (ValueError, IndexError) as problem:
            kind = IndexingError if isinstance(problem, IndexError) else ShapeError
            raise kind(f"{what}: shape {array.shape} into shape {self.shape}: {problem}") from problem
        wrote(self._array)

    def __getitem__(self, index: Any) -> Tensor:
        return library.getitem(self, index)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(self.shape[0]))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(f"the truth of a tensor of shape {self.shape} is ambiguous; use .any() or .all()")
        return bool(self._array)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.size != 1:
            raise DTypeError(f"only a tensor of one integer is an index, not {self.dtype} of shape {self.shape}")
        return int(self.item())

    def __repr__(self) -> str:
        with np.printoptions(threshold=50, edgeitems=3):
            body = (
                np.array2string(self.numpy(), separator=", ", prefix="Tensor(")
                if self.device != "shapes"
                else f"{self.shape}"
            )
        facts = [f"dtype={self.dtype}"]
        if self.size == 0 and self.ndim > 1 and self.device != "shapes":
            facts.insert(0, f"shape={self.shape}")
        if self.device != "cpu":
            facts.append(f"device='{self.device}'")
        if self._node is not None:
            made = maker(self._node)
            facts.append(f"op={made}" if made else "requires_grad=True")
        return f"{type(self).__name__}({body}, {', '.join(facts)})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf is copied with its values and gradient; a computed tensor has no copy (see `detach`)."""
        if not self.is_leaf:
            raise GraphError("only leaves can be deep-copied; detach() a computed tensor first")
        new = type(self).__new__(type(self))
        new._array, new._node = self._array.copy(), None
        memo[id(self)] = new
        if self._node is not None:
            new.requires_grad = True
            new.grad = None if self.grad is None else self.grad.detach()._array.copy()
        return new

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise GraphError("only leaves can be pickled; detach() a computed tensor first")
        return _unpickle, (type(self), self.numpy(), self.requires_grad, self.device)


def _unpickle(kind: type[Tensor], values: Any, requires_grad: bool, device: str) -> Tensor:
    new = kind.__new__(kind)
    new._array, new._node = as_array(values, None, device), None
    new.requires_grad = requires_grad
    return new


class Hook:
    """A registered hook: `handle()` or `handle.remove()` removes it; a second time does nothing."""

    __slots__ = ("_hooks", "_key")

    def __init__(self, hooks: dict[int, Any], key: int) -> None:
        self._hooks, self._key = hooks, key

    def remove(self) -> None:
        """Removes the hook."""
        self._hooks.pop(self._key, None)

    __call__ = remove


# The operations whose results lie in their arguments' memory, where the array library can have it so.
VIEWS = {
    "getitem", "reshape", "permute_dims", "matrix_transpose", "broadcast_to", "expand_dims", "squeeze", "flip", "split",
    "unstack", "real", "imag", "diagonal", "unfold", "einsum",
}  # fmt: skip


def _leaves_above(x: Tensor, top: Node, xp: Any) -> list[Node]:
    """The leaves that x was computed from; x itself is looked at for NaN and infinities."""
    if not bool(xp.isfinite(x._array).all()):
        raise NonFiniteError(
            f"backward(): the tensor itself is not finite, {x!r}: run the forward pass inside tg.detect_anomaly() to "
            "see where that comes from"
        )
    return [node for node in reach([top]).values() if node.recipe is None and node.watch is not None]


def _check_finite(leaves: list[Node]) -> None:
    for node in leaves:
        g = getattr(node.watch.grad, "_array", node.watch.grad)  # type: ignore[union-attr]
        if g is None:
            continue
        if not bool(space_of(g).isfinite(g).all()):
            raise NonFiniteError(
                f"backward(): the gradient of a leaf of shape {node.shape} is not finite; run both passes inside "
                "tg.detect_anomaly() to see where that comes from"
            )


def maker(node: Node) -> str:
    """The name of the operation that made a node; empty for a leaf."""
    if node.recipe is PART:
        return maker(node.links[0]) if node.links is not None else "an output"
    return "" if node.recipe is None else node.recipe.op.name


def _names_dtype(name: str) -> bool:
    """Whether a string is a dtype's full name, and so no device's."""
    try:
        return np.dtype(name).name == name
    except TypeError:
        return False


def wrap(array: Any, node: Node | None) -> Tensor:
    """A Tensor of a raw array and its node, without checks."""
    tensor = Tensor.__new__(Tensor)
    tensor._array, tensor._node = array, node
    return tensor


def raw_index(index: Any) -> Any:
    """An index with Tensors replaced by their arrays, and lists, which their owner may change, by copies."""
    if isinstance(index, Tensor):
        return index._array
    if isinstance(index, tuple):
        return tuple([raw_index(i) for i in index])
    if isinstance(index, list):
        return [raw_index(i) for i in index]
    return index


def values_for(x: Tensor, value: Any, what: str) -> Tensor:
    """What is written into x, in x's dtype."""
    if not isinstance(value, Tensor):
        return wrap(as_array(value, x.dtype, x.device), None)
    if value.dtype.kind == "c" and x.dtype.kind != "c":
        raise DTypeError(f"{what}: complex values do not fit dtype {x.dtype}; take their real part or abs")
    if x.dtype.kind not in "fc" and value._node is not None and _mode.get():
        raise GraphError(f"{what}: no gradient goes through dtype {x.dtype}; detach() the value, or use astype")
    return value if value.dtype == x.dtype else value.astype(x.dtype)


class _Library:
    """The library as the `xp` of a recorded sweep: every operation by its name."""

    def __getattr__(self, name: str) -> Any:
        if name not in op_module.registry:
            raise AttributeError(f"no operation {name!r}")
        operation = op_module.registry[name]
        if operation.lasting:
            setattr(self, name, operation.record)
        return operation.record

    def einsum(self, equation: str, *arrays: Any) -> Tensor:
        return record_of("einsum")(arrays, equation)

    def below(self, x: Any, top: Any) -> Tensor:
        return record_of("subtract")(x, top)

    def getitem(self, x: Any, index: Any) -> Tensor:
        return record_of("getitem")(x, raw_index(index))

    def scatter_at(self, g: Any, index: Any, shape: tuple[int, ...]) -> Tensor:
        return record_of("scatter_at")(g, raw_index(index), shape)

    def set_at(self, x: Any, value: Any, index: Any) -> Tensor:
        return record_of("set_at")(x, values_for(x, value, "set_at"), raw_index(index))

    def last_written(self, u: Any, index: Any, shape: tuple[int, ...]) -> Tensor:
        return record_of("last_written")(u, raw_index(index), shape)

    def asarray(self, x: Any) -> Any:
        return x


library = _Library()


def record_of(name: str) -> Callable[..., Tensor]:
    return op_module.registry[name].record
