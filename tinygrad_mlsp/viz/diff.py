"""What differs between two graphs: operations that came or went, and how values and gradients changed.

    print(viz.diff(plain, residual))
    viz.diff(before, after).save("diff.svg")

Steps are matched in the order of computation, by operation, module and shape; what matches is compared by its numbers.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cached_property
from os import PathLike
from typing import Any

from ..errors import OptionError
from ..tensor import Tensor
from . import layout
from .dot import path, visible
from .graph import Edge, Graph, Node
from .tape import trace
from .walk import Leaf, Step, Value, Walk, walk

_LONG = 3_000  # steps: beyond, only the outer modules and time steps are matched before what is in them


def diff(
    a: Tensor | Callable[[], Tensor] | Walk,
    b: Tensor | Callable[[], Tensor] | Walk,
    model_a: Any = None,
    model_b: Any = None,
    *,
    names: tuple[str, str] = ("before", "after"),
) -> Diff:
    """What differs between two backward passes: see the top of this file.

    Each is a scalar Tensor, a function without arguments that computes one, or a Walk; the models name parameters.
    `names` says what the two are called. No `.grad` changes.

    Raises: GraphError for a Tensor without a graph, or with one that backward() has freed.
    """
    return Diff(_as_walk(a, model_a, "a"), _as_walk(b, model_b if model_b is not None else model_a, "b"), names)


def _as_walk(x: Any, model: Any, which: str) -> Walk:
    if isinstance(x, Walk):
        return x
    if isinstance(x, Tensor):
        return walk(x, model)
    if not callable(x):
        raise OptionError(f"diff: {which} is a scalar Tensor, a function that computes one, or a Walk; got {x!r}")
    with trace(model) as seen:
        x = x()
    return walk(x, model, trace=seen)


@dataclass(frozen=True)
class Pair:
    """A step or a leaf of each; None on the side where there is none."""

    a: Step | Leaf | None
    b: Step | Leaf | None

    @property
    def change(self) -> str:
        """ "−" for what went, "+" for what came, "" for what both have"""
        return "+" if self.a is None else "−" if self.b is None else ""


class Diff:
    """The difference; print it, `save()` it, or take `steps` and `leaves`, pairs in the order of computation."""

    def __init__(self, a: Walk, b: Walk, names: tuple[str, str] = ("before", "after")) -> None:
        self.a, self.b, self.names = a, b, names
        self.steps = tuple(Pair(x, y) for x, y in _matched(a.steps, b.steps))
        self.leaves = tuple(_matched_leaves(a, b, self.steps))

    @property
    def same_structure(self) -> bool:
        """Whether nothing came and nothing went."""
        return not any(pair.change for pair in (*self.steps, *self.leaves))

    def text(self, most: int = 40) -> str:
        """The difference in sentences: what came, what went, and then the numbers that changed most."""
        first, second = (visible(n, 60) for n in self.names)
        came = [p.b for p in self.steps if p.change == "+"]
        gone = [p.a for p in self.steps if p.change == "−"]
        lines = [
            f"{first}: {len(self.a.steps):,} operations; {second}: {len(self.b.steps):,}. "
            + ("The structure is the same." if self.same_structure else f"{len(came):,} came, {len(gone):,} went."),
        ]
        for mark, many in (("+", came), ("−", gone)):
            for step in many[:most]:
                assert isinstance(step, Step)
                lines.append(f"{mark} {_said(step)}")
            if len(many) > most:
                lines.append(f"{mark} and {len(many) - most:,} more")
        for pair in self.leaves:
            leaf = pair.b or pair.a
            if pair.change and isinstance(leaf, Leaf) and leaf.kind == "parameter":
                shape = "×".join(map(str, leaf.shape)) or "a number"
                lines.append(f"{pair.change} parameter {visible(leaf.name or leaf.letter, 80)}, {shape}")
        rows = self._rows()
        if rows:
            lines.append(f"Norms, {first} → {second}:")
        for name, what, x, y in sorted(rows, key=lambda r: -abs(_decades(r[2], r[3])))[:most]:
            ratio = f", × {y / x:.3g}" if x and y and math.isfinite(y / x) else ""
            lines.append(f"  {what} {name}: {x:.3g} → {y:.3g}{ratio}")
        if len(rows) > most:
            lines.append(f"  and {len(rows) - most:,} more")
        if not rows and self.same_structure:
            lines.append("No number differs.")
        return "\n".join(lines) + "\n"

    __str__ = text

    def _rows(self) -> list[tuple[str, str, float, float]]:
        """What both have, with norms that differ: name, which norm, and both norms."""
        rows = []
        for pair in (*self.leaves, *self.steps):
            a, b = pair.a, pair.b
            if a is None or b is None or (isinstance(b, Leaf) and b.kind == "constant"):
                continue
            name = visible(b.name or b.letter, 80) if isinstance(b, Leaf) else _said(b)
            for what, x, y in (("gradient of", a.gradient, b.gradient), ("value of", a.value, b.value)):
                if x is not None and y is not None and _changed(x, y):
                    rows.append((name, what, x.norm, y.norm))
        return rows

    @cached_property
    def graph(self) -> Graph:
        """Both graphs in one: what came is marked +, what went −; edges have both norms."""
        first = 1 + max((node.id for node in self.b.graph.nodes), default=0)
        nodes = {node.id: node for node in self.b.graph.nodes}
        matched: dict[int, int] = {}  # ids of a in the joint graph
        came = set(nodes)
        for pair in (*self.steps, *self.leaves):
            if pair.a is not None and pair.b is not None:
                matched[pair.a.id] = pair.b.id
                came.discard(pair.b.id)
        out: list[Node] = []
        order = {node.id: place for place, node in enumerate(self.b.graph.nodes)}
        extra: list[tuple[float, Node]] = []
        place = -0.5
        for node in self.a.graph.nodes:
            if node.id in matched:
                place = order[matched[node.id]] + 0.5
                continue
            new = replace(node, id=first, change="−")
            first += 1
            matched[node.id] = new.id
            extra.append((place, new))
        everyone = [(float(order[n.id]), replace(n, change="+") if n.id in came else n) for n in nodes.values()]
        out = [node for _, node in sorted([*everyone, *extra], key=lambda entry: entry[0])]
        before: dict[tuple[int, int], list[Edge]] = {}
        for edge in self.a.graph.edges:
            before.setdefault((matched[edge.source], matched[edge.target]), []).append(edge)
        edges: list[Edge] = []
        for edge in self.b.graph.edges:
            old = before.get((edge.source, edge.target))
            if old:
                edges.append(replace(edge, before=old.pop(0).norm))
            else:
                edges.append(replace(edge, change="+"))
        for (source, target), left in before.items():
            edges += [replace(edge, source=source, target=target, change="−") for edge in left]
        first_name, second = (visible(n, 60) for n in self.names)
        return Graph(tuple(out), tuple(edges), f"{first_name} → {second}:  + came,  − went")

    def svg(self, **options: Any) -> str:
        """The joint graph as a drawing; see `Graph.svg`."""
        return self.graph.svg(**options)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text(12))}</pre>"

    def save(self, where: str | PathLike[str], **options: Any) -> None:
        """Writes the sentences, .txt, or the joint graph: .svg, .dot, .png, .pdf (see `Graph.save`)."""
        if str(where).endswith(".txt"):
            file, _ = layout.target(where, ("txt",))
            layout.write_whole(file, self.text(10**6).encode())
        else:
            self.graph.save(where, **options)


def _key(step: Step) -> tuple[Any, ...]:
    return step.op, step.scope, step.shape, len(step.arguments)


def _matched(a: tuple[Step, ...], b: tuple[Step, ...]) -> list[tuple[Step | None, Step | None]]:
    """The steps of both in one order."""
    left, right = [_key(s) for s in a], [_key(s) for s in b]
    if left == right:
        return list(zip(a, b, strict=True))
    if max(len(a), len(b)) > _LONG:
        outer = _matched_runs(a, b)
        if outer is not None:
            return outer
    found: list[tuple[Step | None, Step | None]] = []
    for what, i, j, k, m in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if what == "equal":
            found += zip(a[i:j], b[k:m], strict=True)
        else:
            found += _renamed(a[i:j], b[k:m])
    return found


def _renamed(a: tuple[Step, ...], b: tuple[Step, ...]) -> list[tuple[Step | None, Step | None]]:
    """What is the same operation on the same shape, though in another module, is matched after all."""
    left, right = [(s.op, s.shape) for s in a], [(s.op, s.shape) for s in b]
    found: list[tuple[Step | None, Step | None]] = []
    for what, i, j, k, m in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if what == "equal":
            found += zip(a[i:j], b[k:m], strict=True)
        else:
            found += [(s, None) for s in a[i:j]]
            found += [(None, s) for s in b[k:m]]
    return found


def _matched_runs(a: tuple[Step, ...], b: tuple[Step, ...]) -> list[tuple[Step | None, Step | None]] | None:
    """Long sequences, cut where the calls of outer modules begin: these are matched first, then what is in each."""

    def runs(steps: tuple[Step, ...]) -> list[tuple[Any, tuple[Step, ...]]]:
        out: list[tuple[Any, list[Step]]] = []
        last: Any = None
        for step in steps:
            here = (step.scope[:2], step.calls[:2]) if step.scope else None
            if not out or here != last or (here is None and len(out[-1][1]) >= 500):
                out.append((step.scope[:2], []))
            out[-1][1].append(step)
            last = here
        return [(scope, tuple(steps)) for scope, steps in out]

    left, right = runs(a), runs(b)
    if max(map(len, (left, right))) > _LONG or max(len(s) for _, s in (*left, *right)) > _LONG:
        return None
    found: list[tuple[Step | None, Step | None]] = []
    matcher = SequenceMatcher(None, [s for s, _ in left], [s for s, _ in right], autojunk=False)
    for what, i, j, k, m in matcher.get_opcodes():
        if what == "equal":
            for (_, x), (_, y) in zip(left[i:j], right[k:m], strict=True):
                found += _matched(x, y)
        else:
            found += [(s, None) for _, x in left[i:j] for s in x]
            found += [(None, s) for _, y in right[k:m] for s in y]
    return found


def _matched_leaves(a: Walk, b: Walk, steps: tuple[Pair, ...]) -> list[Pair]:
    """Parameters by their names; what has none by being the same argument of matched steps."""
    to: dict[int, int] = {}
    named = {leaf.name: leaf.id for leaf in b.leaves if leaf.name}
    for leaf in a.leaves:
        if leaf.name in named:
            to[leaf.id] = named[leaf.name]
    taken = set(to.values())
    ends_a, ends_b = {leaf.id: leaf for leaf in a.leaves}, {leaf.id: leaf for leaf in b.leaves}
    for pair in steps:
        if not (isinstance(pair.a, Step) and isinstance(pair.b, Step)):
            continue
        for x, y in zip(pair.a.arguments, pair.b.arguments, strict=False):
            if x.source in ends_a and y.source in ends_b and x.source not in to and y.source not in taken:
                assert x.source is not None and y.source is not None
                if not ends_a[x.source].name and not ends_b[y.source].name:
                    to[x.source] = y.source
                    taken.add(y.source)
    pairs = [Pair(leaf, ends_b[to[leaf.id]] if leaf.id in to else None) for leaf in a.leaves]
    return pairs + [Pair(None, leaf) for leaf in b.leaves if leaf.id not in taken]


def _said(step: Step) -> str:
    where = f" in {visible(path(step.scope), 80)}" if step.scope else ""
    return f"{visible(step.letter, 40)} = {step.op}{where}"


def _changed(x: Value, y: Value) -> bool:
    return x.entries != y.entries or x.norm != y.norm


def _decades(x: float, y: float) -> float:
    if x == y:
        return 0.0
    if not (x > 0 and y > 0 and math.isfinite(x) and math.isfinite(y)):
        return math.inf
    return math.log10(y / x)
