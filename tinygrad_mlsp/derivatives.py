"""Derivatives as functions of functions, by composing the two sweeps, to any order.

    grad, value_and_grad      ∇f of a scalar f          a sweep backward
    vjp                       v ↦ Jᵀv                   a sweep backward
    jvp                       t ↦ J t                   a sweep forward
    hvp                       v ↦ ∇²f v                 forward over backward
    ggnvp, gauss_newton       v ↦ Jᵀ ∇²L J v            forward, forward over backward, backward
    jacobian, hessian         the matrices, a row (or column) a sweep

Arguments may be tensors, arrays, numbers, or lists, tuples and dictionaries of them; results have the
same structure. What is differentiated may itself be differentiated: if an argument, or anything that f
uses, takes part in a graph, the derivative is recorded in it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .backend import space_of
from .errors import DTypeError, GraphError, OptionError, ShapeError
from .modes import FULL, LEAN, OFF, _mode, _Recording
from .namespace import asarray
from .recipe import Node, make_node
from .sweep import backward, forward, reach, sole
from .tensor import Tensor, library, record_of, wrap


def flatten(tree: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """The leaves of nested lists, tuples and dictionaries, and the function that puts others in their place.

    A list of numbers (or of such lists) is one leaf: an array.
    """
    if isinstance(tree, dict):
        keys, parts = list(tree), [flatten(v) for v in tree.values()]
        rebuild: Callable[[list[Any]], Any] = lambda values: type(tree)(zip(keys, values, strict=True))
    elif isinstance(tree, (list, tuple)) and not _is_numbers(tree):
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


def _is_numbers(tree: Any) -> bool:
    if isinstance(tree, list):
        return bool(tree) and all(map(_is_numbers, tree))
    return isinstance(tree, (int, float, complex, np.generic))


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
        _function(name, f)
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
            return [_zeros(x) if g is None else _conj(g) for x, g in zip(self.inputs, found, strict=True)]
        raw = [(node, c._array) for node, c in pairs]
        pairs.clear()
        found = backward(raw, space_of(self.inputs[0]._array), retain=retain, targets=self.nodes, prune=self.others)
        raw.clear()
        return [_conj(_taken(found, i, x)) for i, x in enumerate(self.inputs)]

    def push(self, tangents: Sequence[Tensor]) -> list[Tensor]:
        if self.recorded(tangents):
            pairs = list(zip(self.nodes, tangents, strict=True))
            moved = iter(forward(pairs, self.roots, library, wrap))
            found = [None if y._node is None else next(moved) for y in self.outputs]
            return [_zeros(y) if t is None else t for y, t in zip(self.outputs, found, strict=True)]
        raw = [(node, t._array) for node, t in zip(self.nodes, tangents, strict=True)]
        arrays = forward(raw, self.roots, space_of(self.inputs[0]._array))
        raw.clear()
        places = iter(range(len(arrays)))
        return [_zeros(y) if y._node is None else _taken(arrays, next(places), y) for y in self.outputs]


def _zeros(like: Tensor) -> Tensor:
    return wrap(space_of(like._array).zeros_like(like._array), None)


def _taken(found: list[Any], place: int, like: Tensor) -> Tensor:
    """The array at a place of `found`, in memory that nobody else sees; zeros if there is none."""
    g, found[place] = found[place], None
    if g is None:
        return _zeros(like)
    holder = [g]
    del g
    return wrap(sole(space_of(like._array), holder), None)


def _conj(x: Tensor) -> Tensor:
    return x.conj() if x.dtype.kind == "c" else x


def _matched(name: str, what: str, values: Any, form: Any) -> list[Tensor]:
    """The leaves of `values`, which are nested as `form` is, as tensors of its tensors' shapes and dtypes."""
    if not isinstance(form, Tensor):
        if isinstance(form, dict):
            keys, fits = list(form), isinstance(values, dict) and values.keys() == form.keys()
        else:
            keys, fits = [*range(len(form))], isinstance(values, (list, tuple)) and len(values) == len(form)
        if not fits:
            raise ShapeError(
                f"{name}: the {what}s must be nested as what they belong to: {_kind(form)}, not {_kind(values)}"
            )
        return [leaf for k in keys for leaf in _matched(name, what, values[k], form[k])]
    tensor = asarray(values, device=form.device)
    if tensor.shape != form.shape:
        raise ShapeError(f"{name}: a {what} has shape {tensor.shape}, expected {form.shape}")
    return [tensor if tensor.dtype == form.dtype else tensor.astype(form.dtype)]


def _kind(tree: Any) -> str:
    size = f" of {len(tree)}" if isinstance(tree, (list, tuple, dict)) else ""
    return f"a {type(tree).__name__}{size}"


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(f(x), v ↦ Jᵀv). The returned function may be called many times.

    >>> y, pull = vjp(lambda x: x * x, [1.0, 2.0])
    >>> pull([1.0, 10.0])
    (Tensor([ 2., 40.], dtype=float32),)
    """
    run = _Run("vjp", f, primals, full=False)

    def pull(cotangent: Any) -> Any:
        form = run.like_outputs(run.outputs)
        return run.like_inputs(run.pull(_matched("vjp", "cotangent", cotangent, form), retain=True))

    return run.values(), pull


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """(f(x), J t): the value, and how it moves when x moves along t.

    >>> jvp(lambda x: x * x, ([1.0, 2.0],), ([1.0, 1.0],))[1]
    Tensor([2., 4.], dtype=float32)
    """
    return _jvp("jvp", f, primals, tangents)


def _jvp(name: str, f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    primals = primals if isinstance(primals, (tuple, list)) else (primals,)
    run = _Run(name, f, primals, full=True)
    tangents = tuple(tangents) if isinstance(tangents, (tuple, list)) else (tangents,)
    moved = run.push(_matched(name, "tangent", tangents, run.like_inputs(run.inputs)))
    return run.values(), run.like_outputs(moved)


def _places(name: str, argnums: Sequence[int], args: Sequence[Any]) -> list[int]:
    if not all(-len(args) <= n < len(args) for n in argnums):
        raise OptionError(f"{name}: argnums {tuple(argnums)} do not fit a call with {len(args)} argument(s)")
    return [n % len(args) for n in argnums]


def _function(name: str, f: Any) -> Any:
    if not callable(f):
        raise DTypeError(f"{name}: takes a function to differentiate, not {type(f).__name__}")
    return f


def _numbers(name: str, argnums: Any, many: bool) -> tuple[int, ...]:
    """`argnums` as a tuple of places."""
    chosen = tuple(argnums) if many and isinstance(argnums, (tuple, list)) else (argnums,)
    if not chosen or any(type(n) is bool or not isinstance(n, (int, np.integer)) for n in chosen):
        wanted = "a whole number or a tuple of them" if many else "a whole number"
        raise OptionError(f"{name}: argnums is {wanted}, not {argnums!r}")
    return chosen


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., tuple[Any, Any]]:
    """The function x ↦ (f(x), ∇f(x)) of a scalar f, with respect to the arguments numbered `argnums`."""
    return _value_and_grad("value_and_grad", f, argnums)


def _value_and_grad(name: str, f: Callable[..., Any], argnums: int | tuple[int, ...]) -> Callable[..., tuple[Any, Any]]:
    chosen = _numbers(name, argnums, many=True)

    @functools.wraps(_function(name, f))
    def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        places = _places(name, chosen, args)

        def partial(*values: Any) -> Any:
            full = list(args)
            for place, value in zip(places, values, strict=True):
                full[place] = value
            return f(*full, **kwargs)

        run = _Run(name, partial, [args[n] for n in places], full=False)
        if len(run.outputs) != 1 or run.outputs[0].shape != ():
            shapes = [y.shape for y in run.outputs]
            raise ShapeError(
                f"{name}: the function must return one scalar, it returned {shapes}; reduce it, or use vjp"
            )
        y = run.outputs[0]
        if y.dtype.kind == "c":
            raise GraphError(f"{name}: the function returned a complex number; take its real part or abs, or use vjp")
        seed = wrap(space_of(y._array).ones_like(y._array), None)
        grads = run.like_inputs(run.pull([seed], retain=False))
        return run.values(), grads if isinstance(argnums, (tuple, list)) else grads[0]

    return both


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function x ↦ ∇f(x) of a scalar f. Zeros where f does not depend on the argument.

    >>> grad(grad(lambda x: x * x * x))(2.0)
    Tensor(12., dtype=float32)
    """
    return _grad("grad", f, argnums)


def _grad(name: str, f: Callable[..., Any], argnums: int | tuple[int, ...]) -> Callable[..., Any]:
    both = _value_and_grad(name, f, argnums)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """∇²f(x) v of a scalar f, at about the cost of four evaluations; no matrix is formed."""
    return _jvp("hvp", _grad("hvp", f, 0), (x,), (v,))[1]


def gauss_newton(f: Callable[..., Any], loss: Callable[..., Any], x: Any) -> tuple[Any, Any, Callable[[Any], Any]]:
    """(L(f(x)), ∇ₓL(f(x)), v ↦ Jᵀ ∇²L J v) of a function f with Jacobian J and a scalar loss L of its outputs

    The product is that of the Gauss–Newton matrix, which is never indefinite if L is convex. f is evaluated once; the
    product may be called many times, each at about the cost of two evaluations.

    Source: Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", 2002.
    """
    return _gauss_newton("gauss_newton", f, loss, x)


def _gauss_newton(name: str, f: Any, loss: Any, x: Any) -> tuple[Any, Any, Callable[[Any], Any]]:
    run = _Run(name, f, (x,), full=True)
    if len(run.outputs) != 1:
        raise ShapeError(f"{name}: f must return one tensor, it returned {len(run.outputs)}")
    value, slope = _value_and_grad(name, loss, 0)(run.values())
    curvature = _Run(name, _grad(name, loss, 0), (run.values(),), full=True)

    def product(v: Any) -> Any:
        moved = run.push(_matched(name, "tangent", (v,), run.like_inputs(run.inputs)))
        return run.like_inputs(run.pull(curvature.push(moved), retain=True))[0]

    return value, run.like_inputs(run.pull([slope], retain=True))[0], product


def ggnvp(f: Callable[..., Any], loss: Callable[..., Any], x: Any, v: Any) -> Any:
    """Jᵀ ∇²L(f(x)) J v: the product of a vector with the generalized Gauss–Newton matrix of L(f(x))

    >>> ggnvp(lambda x: x * x, lambda z: (z * z).sum(), [1.0, 2.0], [1.0, 1.0])
    Tensor([ 8., 32.], dtype=float32)
    """
    return _gauss_newton("ggnvp", f, loss, x)[2](v)


def jacobian(f: Callable[..., Any], argnums: int = 0, mode: str = "auto") -> Callable[..., Tensor]:
    """The function x ↦ J, of shape [*f(x).shape, *x.shape].

    `mode` is "reverse" (a sweep an output), "forward" (a sweep an input) or "auto", the fewer of the two. For a matrix
    that is too large to be held, `jacobian(f).chunks(k, x)` goes over it, k sweeps at a time: pairs of a slice and the
    part of J at that slice of the flattened outputs, of shape [k, *x.shape] (with mode="forward", of the flattened
    inputs: [*f(x).shape, k]).

    >>> [(rows, block.shape) for rows, block in jacobian(lambda x: x * x).chunks(2, [1.0, 2.0, 3.0])]
    [(slice(0, 2, None), (2, 3)), (slice(2, 3, None), (1, 3))]
    """
    return _jacobian("jacobian", f, argnums, mode)


def _jacobian(name: str, f: Callable[..., Any], argnums: int, mode: str) -> Callable[..., Tensor]:
    chosen = _numbers(name, argnums, many=False)
    if mode not in ("auto", "forward", "reverse"):
        raise OptionError(f"jacobian: mode is 'auto', 'forward' or 'reverse', not {mode!r}")
    _function(name, f)

    def sweeps(chunk: int, mode: str, args: tuple[Any, ...], kwargs: Any) -> Iterator[tuple[slice, Tensor, Any]]:
        """J in blocks of so many sweeps (0: of all), and its shape."""
        (place,) = _places(name, chosen, args)

        def partial(x: Any) -> Any:
            return f(*args[:place], x, *args[place + 1 :], **kwargs)

        run = _Run(name, partial, [args[place]], full=mode != "reverse")
        if len(run.outputs) != 1 or len(run.inputs) != 1:
            raise ShapeError(f"{name}: one tensor in, one tensor out; use vjp or jvp for more")
        x, y = run.inputs[0], run.outputs[0]
        both_complex = x.dtype.kind == y.dtype.kind == "c"
        sees_all = x.dtype.kind == "c" or y.dtype.kind != "c"  # a sweep back to a real x keeps the real part only
        backwards = mode == "reverse" or (mode == "auto" and y.size <= x.size and sees_all)
        like = y if backwards else x
        if not like.size:
            shape = (0, *x.shape) if backwards else (*y.shape, 0)
            yield slice(0, 0), wrap(space_of(x._array).zeros(shape, dtype=y.dtype), None), y.shape + x.shape

        def sweep(i: int) -> Tensor:
            unit = space_of(like._array).zeros_like(like._array)
            unit.reshape(-1)[i] = 1
            if not backwards:
                return run.push([wrap(unit, None)])[0]
            row = run.pull([wrap(unit, None)], retain=True)[0]
            return _conj(row) if both_complex else row

        for start in range(0, like.size, chunk := chunk or like.size or 1):
            rows = slice(start, min(start + chunk, like.size))
            parts = [sweep(i) for i in range(rows.start, rows.stop)]
            yield rows, record_of("stack")(parts, axis=0 if backwards else -1), y.shape + x.shape

    @functools.wraps(f)
    def matrix(*args: Any, **kwargs: Any) -> Tensor:
        ((_, block, shape),) = sweeps(0, mode, args, kwargs)
        return record_of("reshape")(block, shape)

    def chunks(size: int, *args: Any, **kwargs: Any) -> Iterator[tuple[slice, Tensor]]:
        if not isinstance(size, int) or size < 1:
            raise OptionError(f"{name}.chunks: {size!r} sweeps at a time; a whole number from 1 on is wanted")
        found = sweeps(size, "reverse" if mode == "auto" else mode, args, kwargs)
        return ((rows, block) for rows, block, _ in found)

    matrix.chunks = chunks  # type: ignore[attr-defined]
    return matrix


def hessian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Tensor]:
    """The function x ↦ ∇²f, of shape [*x.shape, *x.shape], of a scalar f: forward over backward.

    `hessian(f).chunks(k, x)` goes over its columns, k at a time, as `jacobian` says.

    >>> hessian(lambda x: (x * x * x).sum())([1.0, 2.0])
    Tensor([[ 6.,  0.],
            [ 0., 12.]], dtype=float32)
    """
    return _jacobian("hessian", _grad("hessian", f, argnums), argnums, "forward")
