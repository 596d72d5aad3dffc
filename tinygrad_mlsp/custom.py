"""A function of Tensors as one operation: with a gradient of its own, or computed again instead of stored.

    custom_vjp      a composite whose gradient you write
    checkpoint      a composite whose inside is let go of, and computed once more on the way back

Operations from scratch are declared as the library's own are: see `op`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from .backend import space_of
from .derivatives import flatten
from .errors import GraphError, OptionError, ShapeError
from .modes import FULL, LEAN, OFF, _casting, _mode, _Recording
from .op import Operation, names
from .random import default_generator
from .recipe import FullRecipe, Node, make_node, next_order
from .record import several
from .sweep import backward
from .tensor import Tensor, library, no_grad, record_of, wrap


class custom_vjp:
    """y = f(x) as one operation, whose gradient is the one that you declare

    f and the rules compute on Tensors. A rule names what it needs, as the rules of operations do: `g`, the gradient
    that arrives at y; `y`; arguments and options by their names. It returns the gradient of its argument, of that
    argument's shape. Arguments without a rule get none. What the rules compute can be differentiated again.

    >>> @custom_vjp
    ... def clipped_identity(x):
    ...     return x * 1.0
    >>> clipped_identity.adjoints(x=lambda g: g.clip(-1.0, 1.0))
    <custom_vjp clipped_identity(x)>
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (clipped_identity(x) * Tensor([5.0, 0.5])).sum().backward()
    >>> x.grad
    Tensor([1. , 0.5], dtype=float32)

    Forward mode wants `tangents` beside them: rules of `t`, the argument's tangent.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise OptionError(f"custom_vjp: takes a function of Tensors, not {function!r}")
        try:
            signature = inspect.signature(function)
            kinds = {p.kind for p in signature.parameters.values()}
        except ValueError:
            kinds = {inspect.Parameter.VAR_POSITIONAL}
        if kinds - {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}:
            raise OptionError(
                f"custom_vjp: {_name(function)} takes *args, **kwargs or arguments without a name; name its arguments "
                "(tensors are positional, everything else is keyword-only, after a *)"
            )

        def forward(xp: Any, *arrays: Any, **options: Any) -> Any:
            if xp is library:
                return function(*arrays, **options)
            with no_grad():
                y = function(*map(_tensor, arrays), **options)
            if isinstance(y, tuple) is not self.operation.several:
                raise OptionError(f"custom_vjp: if {name} returns a tuple, annotate it so: def {name}(...) -> tuple")
            return tuple(map(_array, y)) if isinstance(y, tuple) else _array(y)

        name = function.__name__ if getattr(function, "__name__", "").isidentifier() else "function"  # not "<lambda>"
        forward.__name__, forward.__doc__, forward.__module__ = name, function.__doc__, function.__module__
        forward.__signature__ = _with("xp", signature)  # type: ignore[attr-defined]
        self.operation = Operation(forward, "general", register=False)
        self.__doc__, self.__name__, self.__wrapped__ = function.__doc__, name, function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if not self.operation.adjoint and _mode.get() and any(isinstance(a, Tensor) and a._node for a in arguments):
            first = (*self.operation.arguments, "x")[0]
            raise OptionError(
                f"{self.__name__}: no gradient is declared; declare .adjoints({first}=lambda g, ...: ...)"
            )
        return self.operation(*arguments, **options)

    def adjoints(self, **rules: Callable[..., Any]) -> custom_vjp:
        """The gradient of each argument, from `g`."""
        self._known(rules)
        self.operation.adjoints(**{a: _on_tensors(self.__name__, a, rule, True) for a, rule in rules.items()})
        return self

    def tangents(self, **rules: Callable[..., Any]) -> custom_vjp:
        """What the tangent `t` of each argument makes of y."""
        self._known(rules)
        self.operation.tangents(**{a: _on_tensors(self.__name__, a, rule, False) for a, rule in rules.items()})
        return self

    def _known(self, rules: dict[str, Callable[..., Any]]) -> None:
        for argument, rule in rules.items():
            if argument not in self.operation.arguments or not callable(rule):
                raise OptionError(
                    f"{self.__name__}: a rule is a function and belongs to an argument "
                    f"({', '.join(self.operation.arguments)}); got {argument}={rule!r}"
                )

    def __repr__(self) -> str:
        return f"<custom_vjp {self.__name__}({', '.join((*self.operation.arguments, *self.operation.options))})>"


def _with(first: str, signature: inspect.Signature) -> inspect.Signature:
    parameter = inspect.Parameter(first, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return signature.replace(parameters=[parameter, *signature.parameters.values()])


def _on_tensors(function: str, argument: str, rule: Callable[..., Any], back: bool) -> Callable[..., Any]:
    """A rule of Tensors as a rule of whatever the sweep carries. It names its argument's shape besides."""
    wanted = tuple(n for n in names(rule) if n != "xp")
    shape_of = f"{argument}_shape"
    named = ("xp", *dict.fromkeys((*wanted, shape_of)))

    def on_arrays(*values: Any, **more: Any) -> Any:
        given = {**dict(zip(named, values, strict=False)), **more}
        recorded = given["xp"] is library
        with nullcontext() if recorded else no_grad():
            part = rule(**{n: given[n] if recorded else _tensor(given[n]) for n in wanted})
        if back and not (isinstance(part, Tensor) and part.shape == given[shape_of]):
            raise ShapeError(
                f"{function}: the gradient of {argument} must be a Tensor of its shape {list(given[shape_of])}, "
                f"got {type(part).__name__}{f' {list(part.shape)}' if hasattr(part, 'shape') else ''}"
            )
        return part if recorded else _array(part)

    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in named]
    on_arrays.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return on_arrays


def _tensor(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_tensor, value))
    return wrap(value, None) if hasattr(value, "dtype") and not isinstance(value, Tensor) else value


def _array(value: Any) -> Any:
    return value._array if isinstance(value, Tensor) else value


# Computing again instead of storing


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """y = f(x), keeping only x and y: what lies between is computed once more when the gradient comes back

    Memory for time: of a chain of n such pieces the graph keeps the n ends, and at any moment the inside of one. f's
    arguments may be nested; Tensors that it uses without being given them (a module's parameters) get their gradients
    too. Random numbers from the default generator are drawn the same again. Works to any order; under `viz.trace` and
    forward mode, which look inside, f is simply called.

    Raises: GraphError, in the backward pass, if f then computes something else.
    Source: Chen et al., "Training deep nets with sublinear memory cost", 2016.
    """
    if not callable(function):
        raise OptionError(f"checkpoint: takes a function and its arguments, not {function!r}")
    if _mode.get() in (OFF, FULL):
        return function(*args, **kwargs)
    state, casting, began = default_generator().state_dict(), _casting.get(), next_order()
    result = function(*args, **kwargs)
    leaves, rebuild = flatten((args, kwargs))
    inputs = [i for i, v in enumerate(leaves) if isinstance(v, Tensor) and v._node is not None]
    found, shape_result = flatten(result)
    inner = [i for i, y in enumerate(found) if isinstance(y, Tensor) and y._node is not None and y._node.order < began]
    if not inner:
        return result
    count = len(found)  # the results themselves hold the graph that is to go
    given = {leaves[i]._node.order for i in inputs}
    captured = [n for n in _outside([found[i]._node for i in inner], began) if n.order not in given]
    parents = (*(leaves[i]._node for i in inputs), *captured)

    def again(xp: Any, g: Any, arrays: Any, y: Any, needed: Any) -> list[Any]:
        recorded = xp is library
        with _Recording(LEAN), _as_before(state, casting):
            fresh = [
                record_of("alias")(a) if recorded else wrap(a, make_node(None, None, a.shape))
                for a in arrays[: len(inputs)]
            ]
            places = dict(zip(inputs, fresh, strict=True))
            arguments, options = rebuild([places.get(i, v) for i, v in enumerate(leaves)])
            ys = flatten(function(*arguments, **options))[0]
        same = len(ys) == count and all(isinstance(ys[i], Tensor) and ys[i]._node is not None for i in inner)
        if not same or not all(_agree(ys[i], first) for i, first in zip(inner, y, strict=True)):
            raise GraphError(
                f"checkpoint: {_name(function)} computed something else the second time, so its gradient would be "
                "wrong. It must depend on its arguments alone (random numbers on the default generator), and what it "
                "uses must not change before backward()"
            )
        pairs = [(ys[i]._node, part) for i, part in zip(inner, g, strict=True) if part is not None]
        targets: list[Any] = [*(t._node for t in fresh), *captured]
        return backward(pairs, xp, wrap if recorded else None, retain=recorded, targets=targets, stop=True)

    operation = Operation(_inside, "general", f"checkpoint({_name(function)})", register=False).adjoints(arrays=again)
    # What was captured is known by its place in the graph alone; of its array, nothing is needed.
    arrays = [leaves[i]._array for i in inputs]
    blank = [found[inner[0]]._array[..., None][..., :0]] * len(captured)
    Y = tuple([found[i]._array for i in inner])
    node = make_node(FullRecipe(operation), (parents, ([*arrays, *blank],), Y, {}), len(Y))
    replaced = dict(zip(inner, several(Y, node), strict=True))
    return shape_result([replaced.get(i, v) for i, v in enumerate(found)])


def _inside(xp: Any, arrays: list) -> tuple:
    """Computed again on the way back"""
    raise GraphError("checkpoint: is not computed from outside")


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _outside(nodes: Sequence[Node], began: int) -> list[Node]:
    """The nodes made before `began` on which those made since directly depend. (Orders fall.)"""
    seen, stack = {n.order for n in nodes}, list(nodes)
    found: list[Node] = []
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent.order not in seen:
                seen.add(parent.order)
                (found if parent.order > began else stack).append(parent)
    return found


@contextmanager
def _as_before(state: dict[str, int], casting: frozenset[str]) -> Iterator[None]:
    """The default generator and the precision as they were, for a while."""
    generator = default_generator()
    now, token = generator.state_dict(), _casting.set(casting)
    generator.load_state_dict(state)
    try:
        yield
    finally:
        generator.load_state_dict(now)
        _casting.reset(token)


def _agree(y: Tensor, first: Any) -> bool:
    """Whether two results are the same, but for the last digits, in which sums on a GPU may differ."""
    a, b = y._array, _array(first)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    xp = space_of(a)
    same = (a == b) | ((a != a) & (b != b))
    if a.dtype.kind in "fc" and a.size:
        size = xp.abs(b)
        same |= xp.abs(a - b) <= 1000 * float(np.finfo(a.dtype).eps) * xp.max(xp.where(xp.isfinite(size), size, 0))
    return bool(same.all())
