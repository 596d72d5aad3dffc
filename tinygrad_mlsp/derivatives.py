"""Derivatives as functions of functions, by composing the two sweeps, to any order.

    grad, value_and_grad      ∇f of a scalar f          a sweep backward
    vjp                       v ↦ Jᵀv                   a sweep backward
    jvp                       t ↦ J t                   a sweep forward
    hvp                       v ↦ ∇²f v                 forward over backward
    jacobian, hessian         the matrices, a row (or column) a sweep

Arguments may be tensors, arrays, numbers, or lists, tuples and dictionaries of them; results have the
same structure. What is differentiated may itself be differentiated: if an argument, or anything that f
uses, takes part in a graph, the derivative is recorded in it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .backend import space_of
from .errors import DTypeError, GraphError, ShapeError
from .namespace import asarray
from .recipe import Node, make_node
from .sweep import backward, forward, reach, sole
from .tensor import FULL, LEAN, OFF, Tensor, _mode, _Recording, library, record_of, wrap


def flatten(tree: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """The leaves of nested lists, tuples and dictionaries, and the function that puts others in their place."""
    if isinstance(tree, dict):
        keys, parts = list(tree), [flatten(v) for v in tree.values()]
        rebuild: Callable[[list[Any]], Any] = lambda values: type(tree)(zip(keys, values, strict=True))
    elif isinstance(tree, (list, tuple)):
        parts = [flatten(v) for v in tree]
        make = type(tree)
        rebuild = (lambda values: make(*values)) if hasattr(tree, "_fields") else make
    else:
        return [tree], lambda values: values[0]
    leaves = [leaf for found, _ in parts for leaf in found]

    def unflatten(values: Sequence[Any]) -> Any:
        at, built = 0, []
        for found, inner in parts:
            built.append(inner(values[at : at + len(found)]))
            at += len(found)
        return rebuild(built)

    return leaves, unflatten


def _fresh(name: str, value: Any, outer: int) -> Tensor:
    """The same values at a new place in the graph, which an outer derivative can still see through."""
    x = asarray(value)
    if x.dtype.kind not in "fc":
        raise DTypeError(f"{name}: can only differentiate with respect to floating-point arguments, not {x.dtype}")
    if x._node is not None and outer != OFF:
        return record_of("alias")(x)
    return wrap(x._array, make_node(None, None, x._array.shape))


class _Run:
    """One evaluation of f at fresh arguments, ready to be swept."""

    def __init__(self, name: str, f: Callable[..., Any], primals: Sequence[Any], full: bool) -> None:
        self.outer = _mode.get()
        leaves, self.like_inputs = flatten(tuple(primals))
        self.inputs = [_fresh(name, leaf, self.outer) for leaf in leaves]
        with _Recording(FULL if full or self.outer == FULL else LEAN):
            result = f(*self.like_inputs(self.inputs))
        found, self.like_outputs = flatten(result)
        for value in found:
            if not isinstance(value, Tensor):
                raise DTypeError(f"{name}: the function must return tensors, not {type(value).__name__}")
        self.outputs: list[Tensor] = found
        self.nodes: list[Node] = [x._node for x in self.inputs]  # type: ignore[misc]
        self.roots = [y._node for y in self.outputs if y._node is not None]
        ours = {node.order for node in self.nodes}
        self.others = self.outer != OFF and any(
            node.recipe is None and order not in ours for order, node in reach([*self.roots, *self.nodes]).items()
        )

    def recorded(self, seeds: Sequence[Tensor]) -> bool:
        """Whether somebody outside may want to differentiate the result."""
        return self.outer != OFF and (self.others or any(s._node is not None for s in seeds))

    def values(self) -> Any:
        """The outputs; inside the outer graph if there is one."""
        kept = self.outputs if self.others else [y.detach() for y in self.outputs]
        return self.like_outputs(kept)

    def pull(self, cotangents: Sequence[Tensor], retain: bool) -> list[Tensor]:
        recorded = self.recorded(cotangents)
        pairs = [(y._node, _conj(c)) for y, c in zip(self.outputs, cotangents, strict=True) if y._node is not None]
        if recorded:
            found = backward(pairs, library, wrap, retain=True, targets=self.nodes, prune=self.others)
            return [x.detach() * 0 if g is None else _conj(g) for x, g in zip(self.inputs, found, strict=True)]
        xp = space_of(self.inputs[0]._array)
        raw = [(node, c._array) for node, c in pairs]
        pairs.clear()
        found = backward(raw, xp, retain=retain, targets=self.nodes, prune=self.others)
        raw.clear()
        results = []
        for i, x in enumerate(self.inputs):
            g, found[i] = found[i], None
            holder = [xp.zeros_like(x._array) if g is None else g]
            del g
            results.append(_conj(wrap(sole(xp, holder), None)))
        return results

    def push(self, tangents: Sequence[Tensor]) -> list[Tensor]:
        recorded = self.recorded(tangents)
        if recorded:
            moved = forward(list(zip(self.nodes, tangents, strict=True)), self.roots, library, wrap)
        else:
            raw = [(node, t._array) for node, t in zip(self.nodes, tangents, strict=True)]
            xp = space_of(self.inputs[0]._array)
            moved = [None if t is None else wrap(xp.asarray(t), None) for t in forward(raw, self.roots, xp)]
        by_root = {node.order: t for node, t in zip(self.roots, moved, strict=True)}
        found = [None if y._node is None else by_root[y._node.order] for y in self.outputs]
        return [y.detach() * 0 if t is None else t for y, t in zip(self.outputs, found, strict=True)]


def _conj(x: Tensor) -> Tensor:
    return x.conj() if x.dtype.kind == "c" else x


def _matched(name: str, what: str, values: Any, likes: Sequence[Tensor]) -> list[Tensor]:
    """`values` as tensors of the shapes and dtypes of `likes`."""
    leaves, _ = flatten(values)
    if len(leaves) != len(likes):
        raise ShapeError(f"{name}: {len(likes)} {what}(s) expected, {len(leaves)} given")
    found = []
    for i, (value, like) in enumerate(zip(leaves, likes, strict=True)):
        tensor = asarray(value, device=like.device)
        if tensor.shape != like.shape:
            raise ShapeError(f"{name}: {what} {i} has shape {tensor.shape}, expected {like.shape}")
        found.append(tensor if tensor.dtype == like.dtype else tensor.astype(like.dtype))
    return found


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(f(x), v ↦ Jᵀv). The returned function may be called many times.

    >>> y, pull = vjp(lambda x: x * x, [1.0, 2.0])
    >>> pull([1.0, 10.0])
    (Tensor([ 2., 40.], dtype=float32),)
    """
    run = _Run("vjp", f, primals, full=False)

    def pull(cotangent: Any) -> Any:
        return run.like_inputs(run.pull(_matched("vjp", "cotangent", cotangent, run.outputs), retain=True))

    return run.values(), pull


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """(f(x), J t): the value, and how it moves when x moves along t.

    >>> jvp(lambda x: x * x, ([1.0, 2.0],), ([1.0, 1.0],))[1]
    Tensor([2., 4.], dtype=float32)
    """
    primals = primals if isinstance(primals, (tuple, list)) else (primals,)
    run = _Run("jvp", f, [asarray(p) if isinstance(p, list) else p for p in primals], full=True)
    pairs = [
        asarray(t) if isinstance(t, list) else t
        for t in (tangents if isinstance(tangents, (tuple, list)) else (tangents,))
    ]
    moved = run.push(_matched("jvp", "tangent", pairs, run.inputs))
    return run.values(), run.like_outputs(moved)


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., tuple[Any, Any]]:
    """The function x ↦ (f(x), ∇f(x)) of a scalar f, with respect to the arguments numbered `argnums`."""
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(f)
    def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if not all(-len(args) <= n < len(args) for n in chosen):
            raise ShapeError(f"grad: argnums {argnums} does not fit a call with {len(args)} argument(s)")
        places = [n % len(args) for n in chosen]

        def partial(*values: Any) -> Any:
            full = list(args)
            for place, value in zip(places, values, strict=True):
                full[place] = value
            return f(*full, **kwargs)

        run = _Run("grad", partial, [args[n] for n in places], full=False)
        if len(run.outputs) != 1 or run.outputs[0].shape != ():
            shapes = [y.shape for y in run.outputs]
            raise ShapeError(f"grad: the function must return one scalar, it returned {shapes}; reduce it, or use vjp")
        y = run.outputs[0]
        if y.dtype.kind == "c":
            raise GraphError("grad: the function returned a complex number; take its real part or abs, or use vjp")
        seed = wrap(space_of(y._array).ones_like(y._array), None)
        grads = run.like_inputs(run.pull([seed], retain=False))
        return run.values(), grads[0] if isinstance(argnums, int) else grads

    return both


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function x ↦ ∇f(x) of a scalar f. Zeros where f does not depend on the argument.

    >>> grad(grad(lambda x: x * x * x))(2.0)
    Tensor(12., dtype=float32)
    """
    both = value_and_grad(f, argnums)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """∇²f(x) v of a scalar f, at about the cost of four evaluations; no matrix is formed."""
    return jvp(grad(f), (asarray(x),), (v,))[1]


def jacobian(f: Callable[..., Any], argnums: int = 0, mode: str = "auto") -> Callable[..., Tensor]:
    """The function x ↦ J, of shape [*f(x).shape, *x.shape].

    `mode` is "reverse" (a sweep an output), "forward" (a sweep an input) or "auto", the fewer of the two.
    """
    if mode not in ("auto", "forward", "reverse"):
        raise ShapeError(f"jacobian: mode is 'auto', 'forward' or 'reverse', not {mode!r}")

    @functools.wraps(f)
    def matrix(*args: Any) -> Tensor:
        args = tuple(asarray(a) if isinstance(a, (list, int, float)) else a for a in args)
        run = _Run(
            "jacobian", lambda x: f(*args[:argnums], x, *args[argnums + 1 :]), [args[argnums]], full=mode != "reverse"
        )
        if len(run.outputs) != 1 or len(run.inputs) != 1:
            raise ShapeError("jacobian: one tensor in, one tensor out; use vjp or jvp for more")
        x, y = run.inputs[0], run.outputs[0]
        xp = space_of(x._array)
        stack, reshape = record_of("stack"), record_of("reshape")
        backwards = mode == "reverse" or (mode == "auto" and y.size <= x.size)
        like = y if backwards else x
        units = [wrap(xp.reshape(row, like.shape), None) for row in xp.eye(like.size, dtype=like.dtype)]
        if not units:
            return wrap(xp.zeros(y.shape + x.shape, dtype=y.dtype), None)
        if backwards:
            return reshape(stack([run.pull([u], retain=True)[0] for u in units]), y.shape + x.shape)
        return reshape(stack([run.push([u])[0] for u in units], axis=-1), y.shape + x.shape)

    return matrix


def hessian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Tensor]:
    """The function x ↦ ∇²f, of shape [*x.shape, *x.shape], of a scalar f: forward over backward.

    >>> hessian(lambda x: (x * x * x).sum())([1.0, 2.0])
    Tensor([[ 6.,  0.],
            [ 0., 12.]], dtype=float32)
    """
    return jacobian(grad(f, argnums), argnums, mode="forward")
