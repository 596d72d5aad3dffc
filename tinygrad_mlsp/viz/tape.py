"""From the tape to plain records: what was computed, in which module and time step, and what came back.

    with viz.trace() as seen:
        loss = criterion(model(x), y)
        loss.backward()
    seen.graph().save("net.svg")

A trace keeps a skeleton without arrays, so the graph can be drawn after backward has freed it. Modules and time
steps are intervals of the creation order: nothing is stored in a node for them.
"""

from __future__ import annotations

import bisect
import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

from ..backend import norm_of
from ..errors import DTypeError, GraphError, OptionError
from ..modes import FULL, _mode, _observer
from ..recipe import PART, FullRecipe, next_order
from ..recipe import Node as TapeNode
from ..sweep import reach
from ..tensor import Tensor
from .graph import Edge, Graph, Node


def norm(array: Any) -> float:
    """√Σ|x|²; neither tiny nor huge entries are lost when squared."""
    return float(norm_of(array._array if isinstance(array, Tensor) else array))


class Trace:
    """What a computation did, while it is active; see the top of this file."""

    def __init__(self, model: Any = None) -> None:
        self._nodes: dict[int, Node] = {}
        self._edges: dict[int, list[tuple[int, str]]] = {}  # by target: source and argument
        self._came_back: dict[tuple[int, int], list[tuple[float, float | None]]] = {}
        self._starts: list[int] = [0]  # when each scope began, in the order of creation …
        self._scopes: list[tuple[str, ...]] = [()]  # … and which it was
        self._calls: list[tuple[int, ...]] = [()]  # and for each part of it, which time it was entered
        self._entered = 0
        self._stack: list[str] = [""]  # dotted names of the modules that are running
        self._names: dict[int, str] = {}  # parameters, by the order of their nodes
        self._modules: dict[int, str] = {}
        self._tokens: list[Any] = []
        self._opened, self._closed = math.inf, math.inf
        self._outer: Any = None  # who looked on before, and still does: detect_anomaly() around a trace
        if model is not None:
            self._learn_names(model)

    def _learn_names(self, model: Any) -> None:
        if isinstance(model, type) or not hasattr(model, "named_parameters"):
            raise OptionError(f"{type(self).__name__}: model is a Module, to name things by; got {model!r}")
        for name, inner in model.named_modules():
            self._modules.setdefault(id(inner), name)
        for name, parameter in model.named_parameters():
            if parameter._node is not None:
                self._names.setdefault(parameter._node.order, name)

    def __enter__(self) -> Trace:
        self._opened = -next_order()
        _traces.append(weakref.ref(self))
        if _observer.get() is not self:
            self._outer = _observer.get()
        self._tokens += [_observer.set(self), _mode.set(FULL)]
        return self

    def __exit__(self, *_: Any) -> None:
        _mode.reset(self._tokens.pop())
        _observer.reset(self._tokens.pop())
        self._outer = self._outer if self._tokens else None
        self._closed = -next_order()

    # Told by modules and recurrent loops

    @contextmanager
    def _scope(self, *labels: str) -> Iterator[None]:
        before, calls = self._scopes[-1], self._calls[-1]
        self._entered += 1
        self._enter((*before, *labels), (*calls, *(self._entered for _ in labels)))
        try:
            yield
        finally:
            self._enter(before, calls)

    def _enter(self, scope: tuple[str, ...], calls: tuple[int, ...]) -> None:
        self._starts.append(-next_order())
        self._scopes.append(scope)
        self._calls.append(calls)

    def _place(self, order: int) -> int:
        return bisect.bisect_right(self._starts, -order) - 1

    def calls(self, order: int) -> tuple[int, ...]:
        """For each part of a node's scope, a number that differs between one time that it was entered and the next."""
        return self._calls[self._place(order)]

    @contextmanager
    def module(self, module: Any) -> Iterator[None]:
        """The span of one module's forward."""
        if len(self._stack) == 1:
            self._learn_names(module)
        name, outer = self._modules.get(id(module), type(module).__name__), self._stack[-1]
        inside = name[len(outer) + 1 :] if outer and name.startswith(outer + ".") else name
        self._stack.append(name)
        try:
            *path, last = inside.split(".")
            kind = "" if last and any(True for _ in module.children()) else type(module).__name__
            with self._scope(*path, f"{last} {kind}".strip()):
                yield
        finally:
            self._stack.pop()

    def step(self, label: str) -> Any:
        """The span of one time step, "t=5"."""
        return self._scope(label)

    # Told by the recorder, and by the backward sweep

    def applied(self, node: TapeNode) -> None:
        """An operation has been computed; what is to be known of it, its node knows."""
        if self._outer is not None:
            self._outer.applied(node)

    def begin(self, nodes: dict[int, TapeNode]) -> None:
        """A sweep over these nodes starts."""
        if self._outer is not None:
            self._outer.begin(nodes)
        self._keep_all(nodes)

    def edge(self, node: TapeNode, parent: TapeNode, part: Any, g: Any) -> None:
        """`part` of the cotangent goes from a node to a parent."""
        if self._outer is not None:
            self._outer.edge(node, parent, part, g)
        if node.recipe.op.several or isinstance(g, (dict, tuple)):
            gain = None
        else:
            arrived = norm(g)
            gain = norm(part) / arrived if arrived else None
        self._came_back.setdefault((node.order, whole(parent).order), []).append((norm(part), gain))

    def __repr__(self) -> str:
        return f"<Trace: {self.graph()!r}; graph() has it>"

    def _repr_svg_(self) -> str | None:
        return self.graph()._repr_svg_()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        self.graph()._repr_pretty_(printer, cycle)

    def _keep_all(self, nodes: dict[int, TapeNode]) -> None:
        for order in sorted(nodes, reverse=True):
            self._keep(nodes[order])

    def _keep(self, node: TapeNode) -> None:
        if node.recipe is PART:  # the first result's shape stands for the operation's
            made = self._nodes.get(whole(node).order)
            if made is not None and not made.shape:
                self._nodes[whole(node).order] = replace(made, shape=node.shape)
            return
        if node.order in self._nodes:
            return
        if node.recipe is None:
            name = self._names.get(node.order, "")
            kind = "parameter" if name or node.watch is not None else "input"
            self._nodes[node.order] = Node(-node.order, kind, "", name, node.shape)  # type: ignore[arg-type]
            return
        if node.links is None:
            raise GraphError("graph: an earlier backward() has freed it; draw before, or compute inside viz.trace()")
        op = node.recipe.op
        scope = self._scopes[self._place(node.order)]
        shape = node.shape if isinstance(node.shape, tuple) else ()
        edges = []
        if isinstance(node.recipe, FullRecipe):
            parents, arguments, y, _ = node.links
            given = dict(zip([op.list_argument] if op.list_argument else op.differentiable,
                             [parents] if op.list_argument else parents, strict=True))  # fmt: skip
            for name, value in zip(op.arguments, arguments, strict=True):
                if name == op.list_argument:
                    items = [(f"{name}[{i}]", p, v) for i, (p, v) in enumerate(zip(parents, value, strict=True))]
                else:
                    items = [(name, given.get(name), value)]
                for label, parent, array in items:
                    if parent is not None:
                        edges.append((whole(parent).order, label))
                    elif getattr(array, "shape", ()):  # numbers are left out
                        edges.append((self._constant(array), label))
            dtype = str(y[0].dtype if op.several else y.dtype)
        else:
            names = [op.list_argument] * len(node.parents) if op.list_argument else op.differentiable
            edges = [(whole(p).order, a) for p, a in zip(node.parents, names, strict=True) if p is not None]
            dtype = ""
        self._edges[node.order] = edges
        self._nodes[node.order] = Node(-node.order, "operation", op.name, "", shape, dtype, scope)

    def _constant(self, array: Any) -> int:
        """A node for an array that wants no gradient; one an array, however often it is used."""
        order = constant_order(array)
        if order not in self._nodes:
            self._nodes[order] = Node(-order, "constant", "", "", tuple(array.shape), str(array.dtype))
        return order

    def graph(self, root: Tensor | None = None, title: str = "") -> Graph:
        """What the trace has seen: all that backward() went over, or what `root` depends on."""
        if root is not None:
            _check_tensor(root)
            if root._node is None:
                raise GraphError("graph: this tensor was not computed from anything that wants a gradient")
            self._keep_all(reach([root._node]))
        edges = []
        for target, sources in self._edges.items():
            seen: dict[int, int] = {}
            for source, argument in sources:
                found = self._came_back.get((target, source), [])
                at = seen.get(source, 0)
                seen[source] = at + 1
                value, gain = found[at] if at < len(found) else (None, None)
                edges.append(Edge(-source, -target, argument, value, gain))
        nodes = sorted(self._nodes.values(), key=lambda n: n.id)
        return Graph(tuple(nodes), tuple(edges), title)


def constant_order(array: Any) -> int:
    """What stands for the order of an array that has no node: the same while the array lives, and never given again."""
    known = _constants.get(id(array))
    if known is None or known[0]() is not array:
        known = _constants[id(array)] = weakref.ref(array), -(1 << 62) - next(_counter)
        if len(_constants) % 1024 == 0:
            for key in [key for key, (ref, _) in _constants.items() if ref() is None]:
                del _constants[key]
    return known[1]


_constants: dict[int, tuple[weakref.ref[Any], int]] = {}
_counter = count()


def whole(node: TapeNode) -> TapeNode:
    """The operation's node, for one that stands for one of several results."""
    return node.links[0] if node.recipe is PART else node


_traces: list[weakref.ref[Trace]] = []


def containing(order: int) -> Trace | None:
    """The trace in which the node of this order was made, if it still exists."""
    _traces[:] = [ref for ref in _traces if ref() is not None]
    for ref in reversed(_traces):
        found = ref()
        if found is not None and found._opened < -order < found._closed:
            return found
    return None


def trace(model: Any = None) -> Trace:
    """Follows the computation inside a `with` block; see the top of this file.

    Modules are named from the outermost that is called; pass the `model` where only parts of it are.
    """
    return Trace(model)


def graph_of(root: Tensor, title: str = "") -> Graph:
    """The graph that a tensor was computed by, before its backward pass."""
    _check_tensor(root)
    return Trace().graph(root, title)


def _check_tensor(root: Any) -> None:
    if not isinstance(root, Tensor):
        raise DTypeError(f"graph: what is drawn is the graph of a Tensor, not of {type(root).__name__}")
