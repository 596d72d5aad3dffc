"""A backward pass as plain records, step by step: what was computed, what came back, and by which formula.

    walk = viz.walk(loss)
    walk.steps[-1].arguments[0].local    the local derivative of the last operation
    walk.steps[-1].formula("text")

The explanations, the step player and the diff are made of these records; nothing in them is an array or a Tensor.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..backend import space_of, to_numpy
from ..errors import Error, GraphError, OptionError, ShapeError
from ..interpret.formula import EXAMPLES, LETTERS, Template, template
from ..op import Operation
from ..recipe import PART, FullRecipe
from ..recipe import Node as TapeNode
from ..sweep import backward, reach
from ..tensor import Tensor
from . import export
from .graph import Graph, Node
from .tape import Trace, _check_tensor, constant_order, containing, norm, whole

KEEP, LARGE = 12, 2_000  # entries of an array that are kept to be shown; beyond so many operations, a third of them


@dataclass(frozen=True, slots=True)
class Value:
    """What is shown of an array: its shape, its first entries in row-major order, and what they all come to."""

    shape: tuple[int, ...]
    dtype: str
    entries: tuple[Any, ...]
    norm: float
    low: float
    high: float
    odd: int = 0  # entries that are NaN or infinite

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def whole(self) -> bool:
        """Whether all entries are here."""
        return len(self.entries) == self.size


def value_of(array: Any, keep: int = KEEP) -> Value:
    """The record of an array, a Tensor or a number."""
    array = array._array if isinstance(array, Tensor) else array
    if not hasattr(array, "dtype"):
        array = np.asarray(array)
    shape, dtype = tuple(array.shape), _name_of(array.dtype)
    if array.size == 1:
        x = array.item()
        fine = math.isfinite(abs(x))
        return Value(
            shape, dtype, (x,), abs(x), *((abs(x),) * 2 if array.dtype.kind == "c" else (x, x)), odd=int(not fine)
        )
    xp = space_of(array)
    entries = tuple(to_numpy(array.reshape(-1)[:keep]).tolist())
    if array.dtype.kind == "b" or not array.size:
        return Value(shape, dtype, entries, norm(array.astype("float32")), 0.0, 0.0)
    sized = xp.abs(array) if array.dtype.kind == "c" else array
    odd = 0 if array.dtype.kind in "iu" else array.size - int(xp.isfinite(array).sum())
    return Value(shape, dtype, entries, norm(array), float(sized.min()), float(sized.max()), odd)


_name_of = lru_cache(64)(str)  # NumPy takes microseconds to spell a dtype


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an operation, and what came back to it."""

    name: str  # as the operation names it; an entry of a list has its number
    letter: str  # as the formula writes it
    number: int | None = None  # of an entry of a list, from 1
    source: int | None = None  # the id of the node that it came from; None for a constant
    value: Value | None = None  # None: not kept
    local: Value | None = None  # the slope ∂y/∂x, where the operation is elementwise
    contribution: Value | None = None  # what came back along this edge
    gain: float | None = None  # its norm over that of what reached the operation


@dataclass(frozen=True, slots=True)
class Step:
    """An operation of the walk, forward and back."""

    id: int
    op: str
    scope: tuple[str, ...]
    letter: str  # z₃: what the walk calls the result
    arguments: tuple[Argument, ...]
    options: tuple[tuple[str, Any], ...]
    results: tuple[Value | None, ...]  # one, or several; None: not kept
    upstream: tuple[Value | None, ...]  # the cotangent of each result; None where none came
    shape: tuple[int, ...] = ()
    calls: tuple[int, ...] = ()  # which call of each module, or pass of each loop, of the scope it belongs to
    _formulas: tuple[Template | None, Template | None] = (None, None)  # in text and in LaTeX

    @property
    def value(self) -> Value | None:
        return self.results[0]

    @property
    def gradient(self) -> Value | None:
        """∂L/∂y, all that came back to the (first) result."""
        return self.upstream[0]

    def template(self, style: str = "text") -> Template | None:
        """The operation's formula with holes; None where the rules could not be written."""
        return self._formulas[style == "latex"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where the walk ends: a parameter, an input, or a constant."""

    id: int
    kind: str
    letter: str
    name: str
    shape: tuple[int, ...]
    value: Value | None
    gradient: Value | None  # as `.grad` has it: of complex numbers the conjugate of the sum of what came back


@dataclass(frozen=True, repr=False)
class Walk:
    """One backward pass. `steps` are in the order of the computation; backward goes through `steps[::-1]`."""

    steps: tuple[Step, ...]
    leaves: tuple[Leaf, ...]
    graph: Graph
    title: str = ""

    @cached_property
    def nodes(self) -> dict[int, Step | Leaf]:
        """Steps and leaves by id."""
        return {leaf.id: leaf for leaf in self.leaves} | {step.id: step for step in self.steps}

    def backward_steps(self) -> Iterator[Step]:
        """The steps that a gradient reached, in the order of the backward pass."""
        return (step for step in reversed(self.steps) if any(g is not None for g in step.upstream))

    def users(self, id: int) -> list[tuple[Step, Argument]]:
        """The steps that use a node, and as which argument: the paths on which its gradient comes back."""
        return [*self._users.get(id, ())]

    @cached_property
    def _users(self) -> dict[int | None, list[tuple[Step, Argument]]]:
        found: dict[int | None, list[tuple[Step, Argument]]] = {}
        for step in self.steps:
            for a in step.arguments:
                found.setdefault(a.source, []).append((step, a))
        return found

    def to_json(self) -> str:
        """Steps, leaves and graph as JSON; numbers are exact, formulas and options are texts."""
        return export.written(export.walk_record(self))

    def __repr__(self) -> str:
        return f"<Walk of {len(self.steps):,} steps; explain() or play() it>"

    def _repr_html_(self) -> str:
        """The first and last steps, with the norms of value and gradient."""
        size = lambda v: "" if v is None else f"{v.norm:.4g}"
        rows = [
            (s.letter, s.op, ".".join(s.scope), str(list(s.shape)), size(s.value), size(s.gradient)) for s in self.steps
        ]
        if len(rows) > 20:
            rows = [*rows[:10], ("…",) * 6, *rows[-10:]]
        title = f"{self.title or 'One backward pass'}: {len(self.steps):,} steps"
        return export.table(title, ("", "operation", "in", "shape", "‖value‖", "‖∂L‖"), rows)


class _Watcher:
    """Sees the sweep go by."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.upstream: dict[int, tuple[Value | None, ...]] = {}
        self.came: dict[tuple[int, int], list[tuple[Value, float | None]]] = {}
        self.norms: dict[int, float] = {}

    def begin(self, nodes: dict[int, TapeNode]) -> None:
        pass

    def edge(self, node: TapeNode, parent: TapeNode, part: Any, g: Any) -> None:
        if node.order not in self.upstream:
            if isinstance(g, dict):  # an operation with several results
                parts = [g.get(i) for i in range(node.shape)]
            else:
                parts = [g]
            self.upstream[node.order] = tuple(None if p is None else value_of(p, self.keep) for p in parts)
            self.norms[node.order] = math.hypot(*(norm(p) for p in parts if p is not None))
        arrived, value = self.norms[node.order], value_of(part, self.keep)
        self.came.setdefault((node.order, whole(parent).order), []).append(
            (value, value.norm / arrived if arrived else None)
        )


def walk(
    root: Tensor,
    model: Any = None,
    *,
    names: Mapping[str, Tensor] | None = None,
    gradient: Any = None,
    title: str = "",
    keep: int | None = None,
    trace: Trace | None = None,
) -> Walk:
    """Walks back from a Tensor, once, without touching any `.grad`; the graph stays for a later backward().

    Modules and time steps come from the trace in which it was computed (found by itself while the trace exists);
    parameters are named by the `model` too, and tensors of your own by `names`: {"h": h}. What the derivatives do not
    need was not kept, unless it was computed inside `viz.trace()`: such values are None. Hooks on tensors run as in any
    backward pass.

    Raises: GraphError for a Tensor without a graph, or one that backward() has freed; ShapeError for a gradient of
    another shape; OptionError unless keep ≥ 1.
    """
    _check_tensor(root)
    if root._node is None:
        raise GraphError("walk: this tensor was not computed from anything that wants a gradient")
    if root._node.recipe is None:
        raise GraphError("walk: this tensor was not computed from anything: it is where a gradient arrives")
    if keep is not None and not (isinstance(keep, int) and keep >= 1):
        raise OptionError(f"walk: keep is how many entries of an array are kept, at least 1; got {keep!r}")
    if not isinstance(names or {}, Mapping) or not all(isinstance(name, str) for name in names or ()):
        raise OptionError(f"walk: names are Tensors by what they are called, {{'h': h}}; got {names!r}")
    xp = space_of(root._array)
    if gradient is None:
        if root.shape:
            raise GraphError(
                f"walk: a tensor of shape {root.shape} is not a scalar; pass gradient=, or reduce it first"
            )
        gradient = xp.ones_like(root._array)
    else:
        gradient = _conjugated(Tensor(gradient, dtype=root.dtype, device=root.device)._array)
        if gradient.shape != root.shape:
            raise ShapeError(f"walk: gradient has shape {gradient.shape}, the tensor has shape {root.shape}")
    found = trace or containing(root._node.order) or Trace()
    if model is not None:
        found._learn_names(model)
    nodes = reach([root._node])
    if keep is None:
        keep = KEEP if len(nodes) <= LARGE else KEEP // 3
    graph = found.graph(root, title)  # first: it refuses what has been freed
    watcher = _Watcher(keep)
    leaves = [n for n in nodes.values() if n.recipe is None]
    totals = backward([(root._node, gradient)], xp, retain=True, targets=leaves, observer=watcher)
    arrived = {
        n.order: None if g is None else value_of(_conjugated(g), keep) for n, g in zip(leaves, totals, strict=True)
    }
    if root._node.recipe is not None and root._node.order not in watcher.upstream and root._node.recipe is not PART:
        watcher.upstream[root._node.order] = (value_of(gradient, keep),)

    values = _Kept(nodes, keep)
    values.known[whole(root._node).order, root._node.links[1] if root._node.recipe is PART else 0] = value_of(
        root._array, keep
    )
    if model is not None:
        for parameter in model.parameters():
            if parameter._node is not None:
                values.note(parameter._node, parameter._array)
    records = {-node.id: node for node in graph.nodes}
    constants: dict[int, None] = {}  # in the order of their first use
    for edge in sorted(graph.edges, key=lambda e: e.target):
        if records[-edge.source].kind == "constant":
            constants.setdefault(-edge.source)
    ids = {order: -1 - i for i, order in enumerate(constants)}  # below all others, and small
    letters = _letters(records, [*sorted(records.keys() - constants, reverse=True), *constants], _orders(names or {}))
    steps = [
        _step(nodes[order], records[order], letters, ids, values, watcher, found, keep)
        for order in sorted(nodes, reverse=True)
        if nodes[order].recipe is not None and nodes[order].recipe is not PART
    ]
    ends = [
        Leaf(
            ids.get(order, -order),
            node.kind,
            letters[order],
            node.name,
            node.shape,
            values.of(order),
            arrived.get(order),
        )
        for order, node in records.items()
        if node.kind != "operation"
    ]
    graph = Graph(
        tuple(replace(node, id=ids.get(-node.id, node.id)) for node in graph.nodes),
        tuple(replace(e, source=ids.get(-e.source, e.source)) for e in _with_gradients(graph, watcher)),
        title,
    )
    return Walk(tuple(steps), tuple(ends), graph, title)


def _conjugated(g: Any) -> Any:
    """A complex gradient as `.grad` has it, of one as the sweep passes it on; and back."""
    return g.conj() if g.dtype.kind == "c" else g


class _Kept:
    """The values that are there: results and arguments that some node keeps."""

    def __init__(self, nodes: dict[int, TapeNode], keep: int) -> None:
        self.known: dict[tuple[int, int], Value] = {}
        self.keep = keep
        for node in nodes.values():
            if node.recipe is None or node.recipe is PART or node.links is None:
                continue
            for parent, array in arguments_kept(node):
                if array is None:
                    continue
                if parent is not None:
                    self.note(parent, array)
                elif getattr(array, "shape", ()):
                    self.known.setdefault((constant_order(array), 0), value_of(array, keep))
            result = result_kept(node)
            for i, array in enumerate(result if isinstance(result, tuple) else [result]):
                if array is not None and (node.order, i) not in self.known:
                    self.known[node.order, i] = value_of(array, keep)

    def note(self, node: TapeNode, array: Any) -> None:
        """What a node's array is."""
        place = (node.links[0].order, node.links[1]) if node.recipe is PART else (node.order, 0)
        if place not in self.known:
            self.known[place] = value_of(array, self.keep)

    def of(self, order: int, result: int = 0) -> Value | None:
        return self.known.get((order, result))


def named_arguments(node: TapeNode) -> dict[str, Any]:
    """The arguments that a node keeps, by name: all of them under full recording, else those that its rules name."""
    op = node.recipe.op
    if isinstance(node.recipe, FullRecipe):
        return dict(zip(op.arguments, node.links[1], strict=True))
    kept = zip(node.recipe.slots, node.links[node.recipe.lead :], strict=True)
    return {op.arguments[slot[1]]: value for slot, value in kept if slot[0] == "argument"}


def arguments_kept(node: TapeNode) -> Iterator[tuple[TapeNode | None, Any]]:
    """Each argument's node, if it has one, and its array, if that was kept."""
    op, given = node.recipe.op, named_arguments(node)
    parents = dict(zip(op.differentiable, [node.parents] if op.list_argument else node.parents, strict=True))
    for name in op.arguments:
        if name == op.list_argument:
            yield from zip(parents[name], given.get(name) or [None] * len(parents[name]), strict=True)
        else:
            yield parents.get(name), given.get(name)


def result_kept(node: TapeNode) -> Any:
    """The result that a node keeps: an array, a tuple of them, or None."""
    if isinstance(node.recipe, FullRecipe):
        return node.links[2]
    kept = zip(node.recipe.slots, node.links[node.recipe.lead :], strict=True)
    return next((value for slot, value in kept if slot[0] == "y"), None)


def options_kept(node: TapeNode) -> dict[str, Any]:
    """The options of an application: all under full recording, else those that its rules name."""
    if isinstance(node.recipe, FullRecipe):
        return dict(node.links[3])
    recipe = node.recipe
    kept = zip(recipe.captures, recipe.slots, node.links[recipe.lead :], strict=True)
    found = {what: v for (what, _), slot, v in kept if slot[0] == "fact" and what in recipe.op.options}
    return {"shape": node.shape, **found} if recipe.op.name in ("reshape", "broadcast_to") else found


_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def subscript(number: int) -> str:
    """₁₂"""
    return str(number).translate(_SUBSCRIPT)


def _orders(names: Mapping[str, Tensor]) -> dict[int, str]:
    """The names given, by the order of what they name: a node, or an array that has none."""
    found = {}
    for name, tensor in names.items():
        _check_tensor(tensor)
        node = tensor._node
        found[constant_order(tensor._array) if node is None else whole(node).order] = name
    return found


def _letters(records: dict[int, Node], orders: list[int], given: dict[int, str]) -> dict[int, str]:
    """What the walk calls each node: as it is told; else W₁, b₁ for a layer's parameters, x₁ for what was put in, z₁,
    z₂ … for results."""
    layers: dict[str, int] = {}
    counts: dict[str, int] = {}
    letters: dict[int, str] = {}
    used = set(given.values())
    for order in orders:
        node = records[order]
        if order in given:
            letters[order] = given[order]
            continue
        layer, _, last = node.name.rpartition(".")
        if last.startswith(("weight", "bias")):
            base, number = ("W" if last.startswith("weight") else "b"), layers.setdefault(layer, len(layers) + 1)
        else:
            base = "z" if node.kind == "operation" else last if node.name and len(last) <= 4 else "x"
            number = counts[base] = counts.get(base, 0) + 1
        letter = last if base == last and last not in used else base + subscript(number)
        while letter in used:
            number = counts[base] = max(counts.get(base, 0), number) + 1
            letter = base + subscript(number)
        used.add(letter)
        letters[order] = letter
    return letters


_templates: dict[Any, tuple[Template | None, Template | None]] = {}
UNWRITTEN = (Error, ValueError, TypeError, IndexError, KeyError, AttributeError)


def lacks(op: Operation, options: dict[str, Any]) -> bool:
    """Whether an option was not kept without which the formula would be that of something else."""
    told = {o for o, default in op.options.items() if default is inspect.Parameter.empty or o == "axis"}
    return not (told | EXAMPLES.get(op.name, ((), {}))[1].keys()) <= options.keys()


def usual(op: Operation, options: dict[str, Any]) -> bool:
    """Whether these options are those with which the operation is written where there is no sample."""
    table = op.options | EXAMPLES.get(op.name, ((), {}))[1]
    return all(same_option(v, table.get(o)) for o, v in options.items())


def same_option(a: Any, b: Any) -> bool:
    """Whether two options are equal; arrays, such as those that index, are the same only if they are one."""
    try:
        return a is b or bool(a == b)
    except (ValueError, TypeError):
        return False


def _formulas(op: Operation, sample: list[Any], options: dict[str, Any]) -> tuple[Template | None, Template | None]:
    """The formula in text and in LaTeX, once for all applications of the same shapes and options."""
    if lacks(op, options):
        return None, None
    key = (op, repr(sample), repr(sorted(options.items(), key=lambda kv: kv[0])))
    if key not in _templates:
        if len(_templates) > 4096:
            _templates.clear()
        made: list[Template | None] = []
        for style in ("text", "latex"):
            try:
                made.append(template(op, *sample, style=style, **options))
            except UNWRITTEN:
                try:
                    made.append(template(op, style=style) if usual(op, options) else None)
                except UNWRITTEN:
                    made.append(None)
        _templates[key] = (made[0], made[1])
    return _templates[key]


class _Spec:
    """A shape and a dtype, for the formula writer."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.shape, self.dtype = shape, dtype

    def __repr__(self) -> str:
        return f"{self.dtype}{self.shape}"


def _step(
    node: TapeNode,
    record: Node,
    letters: dict[int, str],
    ids: dict[int, int],
    values: _Kept,
    watcher: _Watcher,
    trace: Trace,
    keep: int,
) -> Step:
    op, order = node.recipe.op, node.order
    given, options = named_arguments(node), options_kept(node)
    parents = dict(zip(op.differentiable, [node.parents] if op.list_argument else node.parents, strict=True))
    count = node.shape if op.several else 1
    results = tuple(values.of(order, i) for i in range(count))
    upstream = watcher.upstream.get(order, (None,) * count)
    arguments: list[Argument] = []
    sample: list[Any] = []
    taken: dict[int, int] = {}
    for name in op.arguments:
        letter = LETTERS.get(name, name)
        listed = name == op.list_argument
        arrays = given.get(name)
        sources = parents[name] if listed else [parents.get(name)]
        arrays = (arrays or [None] * len(sources)) if listed else [arrays]
        specs: list[Any] = []
        for i, (parent, array) in enumerate(zip(sources, arrays, strict=True)):
            if parent is None and array is None and not listed:
                specs.append(None)
                continue
            source, value, came, gain, local = None, None, None, None, None
            if parent is not None:
                source = -whole(parent).order
                value = values.of(whole(parent).order, parent.links[1] if parent.recipe is PART else 0)
                at = taken.get(source, 0)
                taken[source] = at + 1
                found = watcher.came.get((order, -source), [])
                came, gain = found[at] if at < len(found) else (None, None)
                if name in op.slope and came is not None:
                    local = _slope(node, name, keep)
            elif array is not None:
                value = value_of(array, keep)
                source = ids.get(constant_order(array)) if getattr(array, "shape", ()) else None
            shape = value.shape if value is not None else getattr(parent, "shape", ())
            specs.append(_Spec(tuple(shape), value.dtype if value is not None else "float32"))
            arguments.append(
                Argument(
                    f"{name}[{i}]" if listed else name,
                    letter,
                    i + 1 if listed else None,
                    source,
                    value,
                    local,
                    came,
                    gain,
                )
            )
        sample.append(specs if listed else specs[0])
    while sample and sample[-1] is None:
        sample.pop()
    shown = tuple((o, v) for o, v in options.items() if not same_option(v, op.options.get(o)))
    return Step(
        -order, op.name, record.scope, letters[order], tuple(arguments), shown, results, upstream,
        record.shape, trace.calls(order), _formulas(op, sample, options),
    )  # fmt: skip


def _slope(node: TapeNode, name: str, keep: int) -> Value | None:
    """∂y/∂x of one argument: what the pullback makes of ones."""
    op = node.recipe.op
    y = result_kept(node)
    like = y if y is not None else next((a for _, a in arguments_kept(node) if a is not None), None)
    if like is None:
        return None
    xp = space_of(like)
    parents = node.recipe.parents(node.links)
    parts = node.recipe.pull(xp, xp.ones(node.shape, dtype=like.dtype), node.links)
    for argument, parent, part in zip(op.differentiable, parents, parts, strict=True):
        if argument == name and parent is not None and part is not None:
            return value_of(part, keep)
    return None


def _with_gradients(graph: Graph, watcher: _Watcher) -> Iterator[Any]:
    seen: dict[tuple[int, int], int] = {}
    for edge in graph.edges:
        key = (-edge.target, -edge.source)
        at = seen.get(key, 0)
        seen[key] = at + 1
        found = watcher.came.get(key, [])
        if at < len(found):
            edge = replace(edge, norm=found[at][0].norm, gain=found[at][1])
        yield edge
