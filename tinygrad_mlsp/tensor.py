"""Tensor: an array, and the node that remembers how it was made.

    Tensor → node → parents' nodes        no cycle, so a graph is freed the moment nobody holds it

Every operation is recorded by one function that `build_record` writes out once, from the operation's
declaration: unwrap, compute, and, where a gradient is wanted, keep what the rules name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from . import op as op_module
from .backend import device_of, float32, numpy_space, space_for, space_of, spaces, to_device, to_numpy
from .errors import DeviceError, DTypeError, Error, GraphError, IndexingError, ShapeError
from .op import Operation
from .source import inlined
from .sweep import PART, FullRecipe, Node, Recipe, Watch, backward, make_node, next_order, wrote

OFF, LEAN, FULL = 0, 1, 2  # record nothing; what backward needs; everything (forward mode, explanations)
_mode: ContextVar[int] = ContextVar("recording", default=LEAN)
_observer: ContextVar[Any] = ContextVar("observer", default=None)


class Tensor:
    """An n-dimensional array that can remember how it was computed.

    `data` may be a number, nested lists, a NumPy or CuPy array, or a Tensor. Numbers and lists of Python
    floats become float32; arrays keep their dtype and, on the same device, their memory.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4.], dtype=float32)
    """

    __slots__ = ("_array", "_node", "__weakref__")
    __array_priority__ = 1000
    __hash__ = object.__hash__
    _array: Any
    _node: Node | None

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, device: str | None = None) -> None:
        self._array = as_array(data, dtype, device)
        self._node = None
        if requires_grad:
            self.requires_grad = True

    # What it is

    @property
    def data(self) -> Any:
        """The raw NumPy or CuPy array, shared. Writes into it are not seen by the engine; assign to `.data`
        or use `copy_` to change a tensor's values."""
        return self._array

    @data.setter
    def data(self, value: Any) -> None:
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
        if wanted and self._node is None:
            if self._array.dtype.kind not in "fc":
                raise DTypeError(f"requires_grad: only floating-point tensors have gradients, not {self.dtype}; use astype")
            watch = Watch(keep=True, is_complex=self._array.dtype.kind == "c")
            self._node = make_node(None, None, self._array.shape, watch)
        elif not wanted and self._node is not None:
            if not self.is_leaf:
                raise GraphError("requires_grad = False on a computed tensor; use detach()")
            self._node = None

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

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Calls `hook(grad)` when the gradient arrives here; what it returns, if not None, goes on instead.
        Returns a function that removes the hook."""
        hooks = self._watch(keep=False).hooks

        def call(g: Any) -> Any:
            changed = hook(g if isinstance(g, Tensor) else wrap(g, None))
            if changed is None:
                return None
            if changed.shape != self.shape:
                raise ShapeError(f"hook: returned a gradient of shape {changed.shape} for a tensor of shape {self.shape}")
            return changed if isinstance(g, Tensor) else changed._array

        key = next_order()
        hooks[key] = call
        return lambda: hooks.pop(key, None) and None

    # Backward

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Adds ∂self/∂leaf to the `.grad` of every leaf that self was computed from.

        `gradient` is the cotangent ∂L/∂self, of self's shape; a scalar needs none. The graph is freed as the
        sweep passes, unless `retain_graph`; `create_graph` records the sweep itself (and retains).

        Raises: GraphError where there is no graph, or it was freed or changed; ShapeError for a gradient
        that does not fit, or is missing for a non-scalar.
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
                raise DeviceError(f"backward(): gradient is on {gradient.device}, the tensor on {self.device}; use .to()")
            if gradient.dtype != self.dtype:
                gradient = gradient.astype(self.dtype)
            if self.dtype.kind == "c":
                gradient = gradient.conj()
        if create_graph:
            backward([(self._node, gradient)], library, wrap, retain=True, observer=_observer.get())
        else:
            backward([(self._node, gradient._array)], xp, retain=retain_graph, observer=_observer.get())

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
        if device is not None and not isinstance(device, str):
            device, dtype = None, device
        out = self if dtype is None else self.astype(dtype)
        if device is None:
            return out
        space, index = space_for(device)
        there = f"cuda:{index}" if space.name == "cuda" else space.name
        return out if there == out.device else record_of("transfer")(out, source=out.device, target=there)

    def copy_(self, values: Any) -> Tensor:
        """Overwrites the values in place. A backward pass that still needs the old ones will refuse."""
        self._array[...] = as_array(values, self.dtype, self.device)
        wrote(self._array)
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        if self._node is not None and _mode.get():
            raise GraphError(
                "assigning into a tensor that takes part in a graph would change values that backward may need; "
                "use tg.where or tg.concat to make a new tensor, or assign under no_grad()"
            )
        self._array[raw_index(index)] = as_array(value, self.dtype, self.device)
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

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.size != 1:
            raise DTypeError(f"only a tensor of one integer is an index, not {self.dtype} of shape {self.shape}")
        return int(self._array)

    def __repr__(self) -> str:
        with np.printoptions(threshold=50, edgeitems=3):
            body = np.array2string(self.numpy(), separator=", ", prefix="Tensor(") if self.device != "shapes" else f"{self.shape}"
        facts = [f"dtype={self.dtype}"]
        if self.device != "cpu":
            facts.append(f"device='{self.device}'")
        if self._node is not None:
            recipe = self._node.recipe
            made = "an output" if recipe is PART else recipe and recipe.op.name
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


def wrap(array: Any, node: Node | None) -> Tensor:
    """A Tensor of a raw array and its node, without checks."""
    tensor = Tensor.__new__(Tensor)
    tensor._array, tensor._node = array, node
    return tensor


def as_array(data: Any, dtype: Any = None, device: str | None = None) -> Any:
    """A raw array of anything array-like. Python floats become float32."""
    if isinstance(data, Tensor):
        data = data._array
    if not (type(data) in spaces or type(data).__module__.partition(".")[0] == "cupy"):
        if isinstance(data, (list, tuple)) and any(isinstance(d, Tensor) for d in data):
            data = [d.numpy() if isinstance(d, Tensor) else d for d in data]
        is_array = isinstance(data, np.generic)
        try:
            data = np.asarray(data)
        except ValueError as problem:
            raise ShapeError(f"Tensor: nested lists of unequal lengths ({problem})") from problem
        if not is_array and dtype is None and data.dtype in (np.float64, np.complex128):
            data = data.astype(float32 if data.dtype == np.float64 else np.complex64)
    if data.dtype.kind not in "fciub":
        raise DTypeError(f"Tensor: dtype {data.dtype} is not numeric (from {type(data).__name__})")
    if dtype is not None and data.dtype != dtype:
        data = data.astype(dtype)
    elif not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("="))
    return data if device is None else to_device(data, device)


def raw_index(index: Any) -> Any:
    """An index with Tensors and lists replaced by arrays."""
    if isinstance(index, Tensor):
        return index._array
    if isinstance(index, tuple):
        return tuple(raw_index(i) for i in index)
    return index


# Recording on and off


class _Recording:
    """Sets the mode of recording for a block or a function. Each thread and task has its own."""

    def __init__(self, mode: int) -> None:
        self._to = mode
        self._tokens: list[Any] = []

    def __enter__(self) -> None:
        self._tokens.append(_mode.set(self._to))

    def __exit__(self, *_: Any) -> None:
        _mode.reset(self._tokens.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        mode = self._to
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def steps(*args: Any, **kwargs: Any) -> Any:
                generator, value = function(*args, **kwargs), None
                while True:  # the mode holds inside the generator only, not in whoever consumes it
                    with _Recording(mode):
                        try:
                            item = generator.send(value)
                        except StopIteration as end:
                            return end.value
                    value = yield item

            return steps

        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with _Recording(mode):
                return function(*args, **kwargs)

        return inner


def no_grad() -> _Recording:
    """Records nothing: as `with no_grad():` or as a decorator `@no_grad()`, of generators too."""
    return _Recording(OFF)


def enable_grad() -> _Recording:
    """Records again, inside a `no_grad` block."""
    return _Recording(LEAN)


def record_everything() -> _Recording:
    """Keeps all arguments and results of every operation: what forward mode and explanations need."""
    return _Recording(FULL)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded here."""
    return _mode.get() != OFF


def current_tracer() -> Any:
    """Who follows this computation (`viz.trace`): it is told of modules, time steps and backward sweeps."""
    return _observer.get()


# Recording an operation


class _Library:
    """The library as the `xp` of a recorded sweep: every operation by its name."""

    def __getattr__(self, name: str) -> Any:
        if name not in op_module.registry:
            raise AttributeError(f"no operation {name!r}")
        setattr(self, name, op_module.registry[name].record)
        return getattr(self, name)

    def einsum(self, equation: str, *arrays: Any) -> Tensor:
        return record_of("einsum")(arrays, equation)

    def getitem(self, x: Any, index: Any) -> Tensor:
        return record_of("getitem")(x, raw_index(index))

    def scatter(self, g: Any, index: Any, shape: tuple[int, ...]) -> Tensor:
        return record_of("scatter")(g, raw_index(index), shape)

    def asarray(self, x: Any) -> Any:
        return x


library = _Library()


def record_of(name: str) -> Callable[..., Tensor]:
    return op_module.registry[name].record


def build_record(op: Operation) -> Callable[..., Any]:
    """Writes the function that applies `op` to Tensors, for exactly its arguments, options and rules."""
    args, differentiable = op.arguments, op.differentiable
    joined = [a for a in (differentiable or args) if a != op.list_argument]
    signature = [f"{a}=None" if a in op.optional else a for a in args]
    scope: dict[str, Any] = {
        "forward": op.forward, "op": op, "spaces": spaces, "Tensor": Tensor, "new": object.__new__, "Node": Node,
        "recording": _mode.get, "next_order": next_order, "retry": _retry, "explain": explain, "special": _special,
        "several": _several, "wrap": wrap,
    }  # fmt: skip
    if op.options:
        for option, default in op.options.items():
            scope[f"default_{option}"] = default
            signature.append(option if default is inspect.Parameter.empty else f"{option}=default_{option}")
    options = "{" + ", ".join(f"'{o}': {o}" for o in op.options) + "}"
    tensors = "(" + "".join(f"{a}, " for a in args) + ")"
    again = f"return retry(op, {tensors}, {options})"
    lines = [f"def {op.name}({', '.join(signature)}):", "    try:"]
    for a in args:
        if a == op.list_argument:
            lines.append(f"        A_{a} = [t._array for t in {a}]")
        else:
            lines.append(f"        A_{a} = {a}._array" + (f" if {a} is not None else None" if a in op.optional else ""))
    lines += ["    except (AttributeError, TypeError):", f"        {again}"]
    first = f"A_{args[0]}"
    if op.list_argument:
        first = f"A_{op.list_argument}[0]"
        lines += [f"    if not A_{op.list_argument} or any([x.dtype is not {first}.dtype for x in A_{op.list_argument}]):"]
        lines += [f"        {again}"]
    elif len(joined) > 1:
        lead, *rest = joined
        tests = [f"A_{r}.dtype is not A_{lead}.dtype" for r in rest]
        tests = [f"(A_{r} is not None and {t})" if r in op.optional else t for r, t in zip(rest, tests, strict=True)]
        lines += [f"    if {' or '.join(tests)}:", f"        {again}"]
    passed = ["xp", *(f"A_{a}" for a in args)]
    call = inlined(op.forward, passed, op.options) or f"forward({', '.join([*passed, *(f'{o}={o}' for o in op.options)])})"
    lines += [
        "    try:",
        f"        kind = {first}.__class__",
        "        xp = spaces[kind]",
        f"        Y = {call}",
        "    except Exception as problem:",
        f"        raise explain(op, problem, {tensors}, {options}) from problem",
    ]
    if op.several:
        lines.append("    Y = tuple(Y)")
    else:
        lines += ["    if Y.__class__ is not kind:", "        Y = xp.asarray(Y)"]
    node = "None"
    if differentiable:
        recipe = Recipe(op)
        scope["recipe"] = recipe
        if op.list_argument:
            lines.append(f"    parents = tuple([t._node for t in {op.list_argument}])")
            lines.append("    if any(parents):")
            parents, leading = "parents", "parents, "
        else:
            for a in differentiable:
                lines.append(f"    N_{a} = {a}._node" + (f" if {a} is not None else None" if a in op.optional else ""))
            everyone = [f"N_{a} is not None" for a in differentiable]
            lines.append(f"    if {' or '.join(everyone)}:")
            leading = "".join(f"N_{a}, " for a in differentiable)
            parents = f"({leading})"
        kept = []
        for expression, users in recipe.captures:
            if users is not None and not op.list_argument:
                expression = f"{expression} if {' or '.join(f'N_{u} is not None' for u in users)} else None"
            kept.append(f"({expression}), ")
        lines += [
            "        if recording() != 1:",
            f"            return special(op, ({''.join(f'A_{a}, ' for a in args)}), Y, {options}, {parents})",
            "        node = new(Node)",
            "        node.order = next_order()",
            "        node.recipe = recipe",
            f"        node.links = ({leading}{''.join(kept)})",
            "        node.watch = None",
        ]
        if op.several:
            lines += ["        node.shape = len(Y)", "        return several(Y, node)"]
        else:
            lines += ["        node.shape = Y.shape", "    else:", "        node = None"]
            node = "node"
    if op.several:
        lines.append("    return tuple([wrap(y, None) for y in Y])")
    else:
        lines += ["    tensor = new(Tensor)", "    tensor._array = Y", f"    tensor._node = {node}", "    return tensor"]
    exec("\n".join(lines), scope)  # written once an operation, as dataclasses do
    function = scope[op.name]
    function.__doc__, function.__module__, function.__qualname__ = op.__doc__, op.__module__, op.name
    function.operation = op
    return function


op_module.build_record = build_record  # type: ignore[assignment]


def _several(Y: tuple[Any, ...], node: Node) -> tuple[Tensor, ...]:
    return tuple([wrap(y, make_node(PART, (node, i), y.shape)) for i, y in enumerate(Y)])


def _special(op: Operation, arrays: Any, Y: Any, options: dict[str, Any], parents: tuple[Node | None, ...]) -> Any:
    """The end of an application when recording is off, or keeps everything."""
    if _mode.get() == OFF:
        return tuple(wrap(y, None) for y in Y) if op.several else wrap(Y, None)
    node = make_node(FullRecipe(op), (parents, arrays, Y, options), len(Y) if op.several else Y.shape)
    return _several(Y, node) if op.several else wrap(Y, node)


def _retry(op: Operation, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """Once more, after numbers and arrays have become Tensors and dtypes agree."""
    flat: list[Any] = []
    for name, value in zip(op.arguments, arguments, strict=True):
        if name == op.list_argument:
            try:
                value = list(value)
            except TypeError:
                raise DTypeError(f"{op.name}: {name} must be a list of tensors, not {type(value).__name__}") from None
            if not value:
                raise ShapeError(f"{op.name}: needs at least one tensor")
            flat += value
        else:
            flat.append(value)
    like = next((v for v in flat if isinstance(v, Tensor)), None)
    weak = [isinstance(v, (bool, int, float, complex, np.generic)) for v in flat]
    flat = [v if w or v is None else _lift_argument(op, v, like) for v, w in zip(flat, weak, strict=True)]
    joined = set(op.differentiable or op.arguments)
    if op.list_argument:
        joins = [True] * len(flat)
    else:
        joins = [name in joined for name in op.arguments]
    strong = [v for v, w, j in zip(flat, weak, joins, strict=True) if j and not w and v is not None]
    numbers = [v for v, w, j in zip(flat, weak, joins, strict=True) if j and w]
    dtype = common_dtype([t.dtype for t in strong], numbers)
    beside = next((v._array for v in flat if isinstance(v, Tensor)), np.zeros(()))
    ready = []
    for v, w, j in zip(flat, weak, joins, strict=True):
        if w:
            ready.append(number(v, dtype if j else np.asarray(v).dtype, beside))
        elif j and v is not None and v.dtype is not dtype:
            ready.append(v.astype(dtype) if v.dtype != dtype else wrap(v._array.astype(dtype), v._node))
        else:
            ready.append(v)
    if op.list_argument:
        return op.record(ready, **options)
    return op.record(*ready, **options)


def _lift_argument(op: Operation, value: Any, like: Tensor | None) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (str, bytes, dict, set)) or callable(value):
        raise DTypeError(f"{op.name}: takes tensors, arrays and numbers, not {type(value).__name__}")
    tensor = Tensor(value)
    if like is not None and isinstance(value, (list, tuple)):
        return tensor.to(like.device)
    return tensor


def common_dtype(dtypes: Sequence[Any], numbers: Sequence[Any] = ()) -> Any:
    """The dtype in which arguments meet: the widest of the highest kind (bool < integer < float < complex).

    Python numbers raise the kind but never the width, and integers take the floats' width: float32 stays float32.
    """
    best = [d for d in dtypes if _rank(d) == max(map(_rank, dtypes))]
    dtype = functools.reduce(np.promote_types, best) if best else None
    rank = max([_rank(np.asarray(n).dtype) for n in numbers], default=0)
    if dtype is None or rank > _rank(dtype):
        wide = dtype is not None and dtype.itemsize == 8 and dtype.kind == "f"
        dtype = np.dtype({0: "bool", 1: "int64", 2: "float32", 3: "complex128" if wide else "complex64"}[rank])
    floats = [d for d in dtypes if d.kind == "f"]
    if dtype.kind == "c" and any(d == np.float64 for d in floats):
        dtype = np.dtype("complex128")
    return np.dtype(dtype.type)


def _rank(dtype: Any) -> int:
    return {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}[dtype.kind]


_numbers: dict[Any, Any] = {}


def number(value: Any, dtype: Any, like: Any) -> Tensor:
    """A Python number as a 0-d tensor of `dtype` beside the array `like`; small tables of them are kept."""
    key = (type(value), value, dtype, type(like), device_of(like))
    found = _numbers.get(key) if value else None  # 0.0 and −0.0 are one key, so zeros are made anew
    if found is None:
        found = space_of(like).asarray(value, dtype=dtype)
        if len(_numbers) >= 1024:
            _numbers.clear()
        if value:
            _numbers[key] = found
    return wrap(found, None)


def explain(op: Operation, problem: Exception, tensors: Sequence[Any], options: dict[str, Any]) -> BaseException:
    """The error that says which operation failed, on what, and where the shapes disagree."""
    if isinstance(problem, Error):
        return problem
    facts: list[str] = []
    found: list[Tensor] = []
    for name, value in zip(op.arguments, tensors, strict=True):
        for i, t in enumerate(value) if isinstance(value, (list, tuple)) else [(None, value)]:
            if isinstance(t, Tensor):
                found.append(t)
                where = "" if t.device == "cpu" else f" on {t.device}"
                facts.append(f"{name if i is None else f'{name}[{i}]'}: {t.dtype} {list(t.shape)}{where}")
    shown = ", ".join(f"{k}={v!r}" for k, v in options.items() if not hasattr(v, "dtype"))
    call = f"{op.name}({', '.join(facts)}{'; ' + shown if shown else ''})"
    devices = sorted({t.device for t in found})
    if len(devices) > 1:
        return DeviceError(f"{call}: arguments are on {' and '.join(devices)}; move one with .to('{devices[0]}')")
    if isinstance(problem, (ValueError, TypeError, IndexError, ZeroDivisionError)):
        reason = _disagreement(op, [t.shape for t in found]) or str(problem)
        kind: type[Error] = DTypeError if isinstance(problem, TypeError) else ShapeError
        if isinstance(problem, IndexError) and not isinstance(problem, ValueError):
            kind = IndexingError
        return kind(f"{call}: {reason}")
    problem.add_note(f"while computing {call}")
    return problem


def _disagreement(op: Operation, shapes: list[tuple[int, ...]]) -> str:
    """Which dimension disagrees, in words."""
    if op.diagnose is not None:
        return op.diagnose(*shapes)
    if op.kind in ("elementwise", "constant", "linear", "multilinear") and len(shapes) > 1 and op.list_argument is None:
        for axis in range(1, max(map(len, shapes)) + 1):
            sizes = {s[-axis] for s in shapes if len(s) >= axis} - {1}
            if len(sizes) > 1:
                return f"dimension -{axis} disagrees: {' against '.join(str(s[-axis]) for s in shapes if len(s) >= axis)}"
    return ""

