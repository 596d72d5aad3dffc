"""The chain rule twice, facing each other: a sweep backward and a sweep forward over the recorded graph.

    backward   x̄ = Jᵀ ȳ     from the result to the leaves, in falling order of creation
    forward    ẏ = J ẋ      from the leaves to the result, in rising order of creation

Creation order is a topological order, so nothing here recurses. Both sweeps are written for any `xp`:
with NumPy or CuPy they compute numbers; with the library itself and a `wrap` that rebuilds Tensors from
saved arrays, every step is recorded in turn, and can be differentiated again.

Complex numbers: the sweeps carry the plain transpose, which needs no conjugation in any rule; what is
handed to a user (a `.grad`, a hook) is conjugated once, on delivery, so a gradient points uphill as PyTorch's does.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from types import SimpleNamespace
from typing import Any

import numpy as np

from .backend import space_of
from .errors import GraphError, MatrixError
from .op import names
from .recipe import PART, FullRecipe, Node, Watch, Wrap, freed, give, next_order

# Writes in place. A write notes the clock beside the root of the memory that it changed; a node made earlier
# that saved a view of that memory is stale. Success pays one comparison a node, and only writers pay more.
_writes: dict[int, tuple[int, weakref.ref[Any]]] = {}
_last_write = 0


_spans_devices = False


def span_devices() -> None:
    """Notes that a graph may span devices from now on: the sweeps then look up the namespace at every node."""
    global _spans_devices
    _spans_devices = True


def _root(array: Any) -> Any:
    while (base := getattr(array, "base", None)) is not None and (hasattr(base, "dtype") or hasattr(base, "base")):
        array = base  # which of a strided view is a holder of the array, no array itself
    return array


def wrote(array: Any) -> None:
    """Notes that the memory of `array` has been changed in place."""
    global _last_write
    root = _root(array)
    key = id(root)
    _last_write = next_order()
    _writes[key] = (_last_write, weakref.ref(root, lambda _: _writes.pop(key, None)))


def _check_unchanged(node: Node, back: bool = True) -> None:
    links = node.links
    if links is None:
        return  # freed, and refused for that
    if isinstance(node.recipe, FullRecipe):
        parents, arguments, y, options = links
        op = node.recipe.op
        kept = [*arguments, y, *options.values()]
        if back and not op.list_argument:  # what no rule needs may change; forward mode may need any
            wanted = [a for a, p in zip(op.differentiable, parents, strict=True) if p is not None]
            needed = {name for a in wanted for name in names(op.backward_rules[a])}
            named = zip((*op.arguments, "y", *options), kept, strict=True)
            kept = [v for name, v in named if name in needed]
    else:
        kept = links[node.recipe.lead :]
    for value in kept:
        for array in value if isinstance(value, (list, tuple)) else [value]:
            entry = _writes.get(id(_root(array))) if hasattr(array, "dtype") and hasattr(array, "base") else None
            if entry is not None and entry[0] < node.order:
                raise GraphError(
                    f"backward of {node.recipe.op.name}: a tensor of shape {array.shape} and dtype {array.dtype} that "
                    "it saved was changed in place afterwards, so its gradient would be wrong. "
                    "Change a copy, or run backward() before the change."
                )


def reach(roots: Iterable[Node]) -> dict[int, Node]:
    """Every node that the roots depend on, by order, the roots included."""
    found = {node.order: node for node in roots}
    stack = list(found.values())
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent.order not in found:
                found[parent.order] = parent
                stack.append(parent)
    return found


def depending_on(nodes: dict[int, Node], targets: Iterable[Node]) -> set[int]:
    """The orders among `nodes` through which a change of the targets flows, the targets included."""
    useful = {t.order for t in targets}
    for order in sorted(nodes, reverse=True):
        if any(p is not None and p.order in useful for p in nodes[order].parents):
            useful.add(order)
    return useful


def backward(
    seeds: Sequence[tuple[Node, Any]],
    xp: Any,
    wrap: Wrap | None = None,
    retain: bool = False,
    targets: Sequence[Node] | None = None,
    prune: bool = False,
    observer: Any = None,
    stop: bool = False,
) -> list[Any]:
    """Carries the seeds' cotangents back.

    With `targets`, returns the cotangent that reaches each (None for none) and touches no `.grad`; `prune`
    leaves out what does not lead to them, `stop` what lies behind them. Without, adds to the `.grad` of every leaf at
    the very end, so a failure changes nothing.
    """
    wanted: dict[int, Any] = {} if targets is None else {t.order: None for t in targets}
    useful = depending_on(reach(node for node, _ in seeds), targets) if prune and targets is not None else None
    plain = wrap is None and observer is None and useful is None
    spans = _spans_devices and wrap is None
    if observer is not None:
        observer.begin(reach(node for node, _ in seeds))
    # The newest node that has a cotangent has all of it: whoever could add to it is newer still, and done.
    arrived: dict[int, Any] = {}
    nodes: dict[int, Node] = {}
    pending: list[int] = []
    owned: set[int] = set()
    deliveries: list[tuple[Watch, Any]] = []
    for node, g in seeds:
        give(xp, node, g, arrived, nodes, pending, owned)
    try:
        while nodes:
            if pending:
                key = heappop(pending)
                node = nodes.pop(key)
            else:  # only leaves are left, whose order is of no matter
                key, node = nodes.popitem()
            g = arrived.pop(key)
            if spans:
                xp = space_of(next(iter(g.values())) if g.__class__ is dict else g)
            if node.watch is not None:
                if node.watch.hooks:
                    g = _call_hooks(xp, node.watch, g)
                if node.watch.keep and targets is None:
                    deliveries.append((node.watch, g))
            recipe = node.recipe
            if wanted and key in wanted:
                wanted[key] = g
                if stop:
                    continue
            if recipe is None:
                continue
            if recipe is PART:
                whole, place = node.links
                if whole.order not in arrived:
                    arrived[whole.order] = {}
                    nodes[whole.order] = whole
                    heappush(pending, whole.order)
                parts = arrived[whole.order]
                parts[place] = parts[place] + g if place in parts else g
                continue
            if key > _last_write:
                _check_unchanged(node)
            if plain:
                recipe.carry(xp, g, node, retain, arrived, nodes, pending, owned)
            else:
                links = node.links
                if links is None:
                    raise freed(recipe.op)
                parents = recipe.parents(links)
                kept = links[recipe.lead :] if wrap is None else recipe.revive(node, wrap)
                if useful is not None:
                    parents = tuple([p if p is not None and p.order in useful else None for p in parents])
                for parent, part in zip(parents, recipe.pull(xp, g, recipe.link(parents, kept)), strict=True):
                    if parent is not None and part is not None:
                        part = give(xp, parent, part, arrived, nodes, pending, owned)
                        if observer is not None:
                            observer.edge(node, parent, part, g)
                if not retain:
                    node.free()
    except (MatrixError, np.linalg.LinAlgError) as problem:
        raise _from_rule("backward", node.recipe, problem) from problem
    g = part = links = kept = None  # so that a delivered array is known to be ours alone
    _deliver(xp, deliveries, wrap is not None)
    return [] if targets is None else [wanted[t.order] for t in targets]


_HOOK = SimpleNamespace(name="a hook")


def _from_rule(way: str, recipe: Any, problem: Exception) -> Exception:
    """What went wrong in a rule, with the operation that it is of."""
    lacking = isinstance(problem, np.linalg.LinAlgError)
    remedy = "; the derivative wants a matrix that is not singular: add a small multiple of the identity to it"
    name = getattr(recipe, "op", _HOOK).name
    return MatrixError(f"{way} through {name}: {problem}{remedy if lacking else ''}")


def _call_hooks(xp: Any, watch: Watch, g: Any) -> Any:
    for hook in list(watch.hooks.values()):
        changed = hook(xp.asarray(xp.conj(g) if watch.complex else g))
        if changed is not None:
            g = xp.conj(changed) if watch.complex else changed
    return g


def sole(xp: Any, holder: list[Any]) -> Any:
    """The array in the one-element `holder`, copied unless this was the only reference to its memory."""
    g = xp.asarray(holder.pop())
    return xp.copy(g) if g.base is not None or sys.getrefcount(g) > _ALONE else g


def _references(holder: list[Any]) -> int:
    g = holder.pop()
    return sys.getrefcount(g)


_ALONE = _references([object()])  # what one local variable counts, which differs between Pythons


def seen_elsewhere(array: Any) -> bool:
    """Whether the array is a view of memory that somebody else holds too."""
    base = getattr(array, "base", None)
    return base is not None and sys.getrefcount(base) > _ALONE + 1  # the array itself holds it


_delivering = threading.Lock()


def _deliver(xp: Any, deliveries: list[tuple[Watch, Any]], recorded: bool) -> None:
    """Adds what arrived to each `.grad`, in memory that nobody else sees."""
    with _delivering:
        while deliveries:
            watch, g = deliveries.pop()
            if not recorded:
                unseen = watch.grad is None and not watch.complex and g.__class__ is xp.ndarray and g.base is None
                if unseen and sys.getrefcount(g) <= _ALONE:  # the usual case: nobody else has it
                    watch.grad = g
                    continue
                xp = space_of(g)
            if watch.complex:
                g = xp.conj(g)
            if watch.grad is not None:
                total = watch.grad + g
                watch.grad = total if recorded or hasattr(total, "_array") else xp.asarray(total)
            elif recorded:
                watch.grad = xp.positive(g)
            else:
                holder = [g]
                del g
                watch.grad = sole(xp, holder)


def forward(
    tangents: Sequence[tuple[Node, Any]],
    outputs: Sequence[Node],
    xp: Any,
    wrap: Wrap | None = None,
) -> list[Any]:
    """Carries tangents of leaves to the outputs (None where nothing arrives)."""
    nodes = reach(outputs)
    useful = depending_on(nodes, [node for node, _ in tangents])
    moved: dict[int, Any] = {node.order: t for node, t in tangents}
    for order in sorted(useful & nodes.keys(), reverse=True):
        node = nodes[order]
        if order in moved:
            continue
        if node.recipe is PART:
            whole, place = node.links
            moved[order] = moved[whole.order][place]
            continue
        if not isinstance(node.recipe, FullRecipe):
            raise GraphError(f"forward mode through {node.recipe.op.name}, which was recorded for backward only")
        if order > _last_write:
            _check_unchanged(node, back=False)
        incoming = [None if p is None else moved.get(p.order) for p in node.parents]
        kept = node.links[1:] if wrap is None else node.recipe.revive(node, wrap)
        if _spans_devices and wrap is None:
            xp = space_of(kept[1][0] if node.recipe.op.several else kept[1])
        try:
            t = node.recipe.push(xp, incoming, kept)
        except (MatrixError, np.linalg.LinAlgError) as problem:
            raise _from_rule("forward mode", node.recipe, problem) from problem
        if t.__class__ is not tuple and t.shape != node.shape:
            t = xp.broadcast_to(t, node.shape)
        moved[order] = t
    return [moved.get(node.order) for node in outputs]
