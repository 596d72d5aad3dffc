"""A graph of operations as plain records: fold it, draw it, read it as text."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Literal

from ..errors import Error, MissingDependency, OptionError
from . import dot, export, layout

Kind = Literal["operation", "parameter", "input", "constant", "group"]
Unit = int | tuple[Any, ...]  # what a node is folded into: itself (its id), a scope, or a range of neighbours

LIMIT = 400  # nodes in a drawing: more are hard to read, and the layout would take long
DOZEN = 12  # more scopes than this, side by side, become ranges of neighbours rather than one node


@dataclass(frozen=True, slots=True)
class Node:
    """An operation, a parameter, an input or a constant; or, after folding, a group of them."""

    id: int
    kind: Kind
    op: str = ""  # the operation's name, "tanh"; a group's operations, "matmul, add, tanh"
    name: str = ""  # the parameter's dotted name or the layer's name
    shape: tuple[int, ...] = ()
    dtype: str = ""
    scope: tuple[str, ...] = ()  # module path and time steps, the outermost first: ("lstm", "t=5")
    count: int = 1  # of an operation or a group: the operations that it stands for
    change: str = ""  # in a diff of two graphs: "+" came, "−" went, "±" a group with such in it


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` is an argument of `target`; `norm` is the norm of the gradient that came back along this edge."""

    source: int
    target: int
    argument: str = ""
    norm: float | None = None  # None: not computed
    gain: float | None = None  # `norm` over the norm that reached the operation
    count: int = 1  # the edges that it stands for
    change: str = ""  # in a diff, as of nodes
    before: float | None = None  # in a diff, the norm that it had


@dataclass(frozen=True, repr=False)
class Graph:
    """Nodes, the operations in the order of their creation, and the edges between them."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    title: str = ""

    def __post_init__(self) -> None:
        ids = {node.id for node in self.nodes}
        if len(ids) != len(self.nodes):
            raise Error(f"Graph: {len(self.nodes)} nodes have only {len(ids)} different ids; give each node its own")
        for edge in self.edges:
            if edge.source not in ids or edge.target not in ids:
                raise Error(f"Graph: the edge {edge.source} → {edge.target} ends at a node that is not in the graph")

    @property
    def operations(self) -> int:
        """The number of operations, those inside groups included; folding does not change it."""
        return sum(node.count for node in self.nodes if node.kind in ("operation", "group"))

    def settled(self) -> "Graph":
        """The graph with each parameter and constant that has no scope in the one that all its users share."""
        homeless = {node.id for node in self.nodes if node.kind in ("parameter", "constant") and not node.scope}
        scope_of = {node.id: node.scope for node in self.nodes}
        shared: dict[int, tuple[str, ...]] = {}
        for edge in self.edges:
            if edge.source in homeless:
                used = scope_of[edge.target]
                shared[edge.source] = _common(shared.get(edge.source, used), used)
        if not any(shared.values()):
            return self
        nodes = (replace(node, scope=shared[node.id]) if node.id in shared else node for node in self.nodes)
        return replace(self, nodes=tuple(nodes))

    def collapsed(self, *, depth: int | None = None, limit: int | None = None) -> "Graph":
        """The graph with modules and time steps folded into one node each.

        `depth` outer scopes stay open: 0 makes each outermost module one node. `limit` folds the innermost scopes
        first, level by level, until at most so many nodes are left; more than a dozen scopes side by side, and
        operations outside all scopes, are folded into ranges of neighbours ("t=0 … t=9").

        A group of one node stays that node. Edges between the same two nodes become one; its norm is the square root
        of the sum of the squares of those that were computed, that is the norm of all these gradients as one vector;
        its gain is that over what reached the group, so along a chain the gains' product is still the gradient's norm.
        What reached what still does. Takes linear time, without recursion.

        Raises: OptionError unless one of `depth` ≥ 0 and `limit` ≥ 1 is given.
        """
        graph = self.settled()
        if (depth is None) == (limit is None):
            raise OptionError("Graph.collapsed: give one of depth and limit")
        if depth is not None:
            if depth < 0:
                raise OptionError(f"Graph.collapsed: depth is {depth}; it must be 0 or more")
            return graph._merged([_unit(node, depth) for node in graph.nodes])
        assert limit is not None
        if limit < 1:
            raise OptionError(f"Graph.collapsed: limit is {limit}; it must be 1 or more")
        return self if len(self.nodes) <= limit else graph._merged(graph._units(limit))

    def _units(self, limit: int) -> list[Unit]:
        """For every node its unit, at most `limit` different ones."""
        deep = max(len(node.scope) for node in self.nodes)
        depth = next((d for d in range(deep - 1, -1, -1) if len({_unit(n, d) for n in self.nodes}) <= limit), -1)
        outer = [_unit(node, depth) for node in self.nodes]  # few enough; with depth -1, all nodes together
        inner = [_unit(node, depth + 1) for node in self.nodes]  # one level further in, they were too many

        # Inner units by outer unit, in the order of their first operations. Parameters, which are created long before
        # they are used, stand just before what first uses them.
        place = {node.id: float(i) for i, node in enumerate(self.nodes)}
        unit_of = {node.id: unit for node, unit in zip(self.nodes, inner, strict=True)}
        users: dict[int, set[Unit]] = {node.id: set() for node in self.nodes if node.kind in dot.SOURCES}
        first: dict[int, float] = {}
        for edge in self.edges:
            if edge.source in users:
                users[edge.source].add(unit_of[edge.target])
                first[edge.source] = min(first.get(edge.source, math.inf), place[edge.target] - 0.5)
        place.update(first)
        children: dict[Unit, dict[Unit, None]] = {}
        for i in sorted(range(len(self.nodes)), key=lambda i: place[self.nodes[i].id]):
            children.setdefault(outer[i], {})[inner[i]] = None

        wide = {
            unit: list(inside)
            for unit, inside in children.items()
            if depth == -1 or sum(isinstance(child, tuple) for child in inside) > DOZEN
        }
        spare = limit - len(children)  # nodes that may be added, shared out by the number of children
        ranges: dict[Unit, Unit] = {}
        # In a range, a parameter that all ranges share would make its range look like an argument of the others.
        alone = [c for inside in wide.values() for c in inside if isinstance(c, int) and len(users.get(c, ())) > 1]
        if len(alone) <= spare // 2:
            spare -= len(alone)
            ranges = {child: child for child in alone}
            wide = {unit: [child for child in inside if child not in ranges] for unit, inside in wide.items()}
        extra = max(1, sum(map(len, wide.values())) - len(wide))
        for unit, inside in wide.items():
            parts = 1 + (len(inside) - 1) * spare // extra
            if parts > 1:
                size = -(-len(inside) // min(parts, len(inside)))
                for i, child in enumerate(inside):
                    last = i % size == 0 and i == len(inside) - 1
                    ranges[child] = child if size == 1 or last else (unit, i // size)
        return [ranges.get(child, unit) for child, unit in zip(inner, outer, strict=True)]

    def _merged(self, units: list[Unit]) -> "Graph":
        """The graph with one node for each different unit."""
        members: dict[Unit, list[Node]] = {}
        for node, unit in zip(self.nodes, units, strict=True):
            members.setdefault(unit, []).append(node)
        # in the order of their first operations: a parameter is often created long before its module is called
        place = {node.id: i for i, node in enumerate(self.nodes)}
        order = sorted(members, key=lambda unit: min(place[n.id] for n in _operations(members[unit]) or members[unit]))
        unit_of = {node.id: unit for node, unit in zip(self.nodes, units, strict=True)}
        leaving = {edge.source for edge in self.edges if unit_of[edge.source] != unit_of[edge.target]}
        group = {unit: _group(unit, members[unit], leaving) for unit in order}

        between: dict[tuple[Unit, Unit], list[Edge]] = {}
        for edge in self.edges:
            between.setdefault((unit_of[edge.source], unit_of[edge.target]), []).append(edge)
        reached = self._reached(unit_of)
        edges: list[Edge] = []
        for (a, b), several in between.items():
            if a == b:
                continue
            if len(members[a]) == 1 == len(members[b]):  # the two edges of x * x stay two
                edges.extend(several)
            else:
                edges.append(_joined(group[a].id, group[b].id, several, reached.get(b)))
        return replace(self, nodes=tuple(group.values()), edges=tuple(edges))

    def _reached(self, unit_of: dict[int, Unit]) -> dict[Unit, float]:
        """The norm of the gradient that reached each unit: at the results that others use, or at the last of all."""
        at_node = {e.target: e.norm / e.gain for e in self.edges if e.norm is not None and e.gain}
        out: dict[int, list[float]] = {}  # what comes from outside the unit, edge by edge
        inside: set[int] = set()  # results that their own unit uses too
        for edge in self.edges:
            if unit_of[edge.source] == unit_of[edge.target]:
                inside.add(edge.source)
            elif edge.norm is not None:
                out.setdefault(edge.source, []).append(edge.norm)
        arrived: dict[Unit, list[float]] = {}
        for node in self.nodes:
            if node.kind in dot.SOURCES or (node.id in inside and node.id not in out):
                continue
            if node.id in at_node and node.id not in inside:
                arrived.setdefault(unit_of[node.id], []).append(at_node[node.id])
            elif node.id in out:
                arrived.setdefault(unit_of[node.id], []).append(math.hypot(*out[node.id]))
        return {unit: math.hypot(*norms) for unit, norms in arrived.items()}

    def drawable(self, limit: int = LIMIT) -> "Graph":
        """The graph, folded until it has at most `limit` nodes and its edges are few and short enough to lay out."""
        graph = self if len(self.nodes) <= limit else self.collapsed(limit=limit)
        while len(graph.nodes) > 8 and dot.span(graph) > dot.LONGEST:
            graph = self.collapsed(limit=len(graph.nodes) // 2)
        return graph

    def dot(self, *, rankdir: str = "TB", scale: tuple[float, float] | None = None) -> str:
        """The whole graph as DOT text; `scale` gives the gradient norms at the two ends of the colour scale.

        Raises: OptionError if `rankdir` is not TB, LR, BT or RL.
        """
        return dot.write(self, rankdir, scale)

    def svg(self, *, rankdir: str = "TB", scale: tuple[float, float] | None = None, limit: int | None = LIMIT) -> str:
        """The drawing as a self-contained SVG document, folded to `limit` nodes (None: not folded).

        Raises: MissingDependency if there is neither Graphviz's `dot` nor the `viz` extra.
        """
        return self._drawn("svg", rankdir, scale, limit).decode()

    def html(self, *, rankdir: str = "TB", scale: tuple[float, float] | None = None, limit: int | None = LIMIT) -> str:
        """The drawing and the same in words, in one page that stands alone, in light and dark, without script.

        Raises: as `svg`.
        """
        return export.page(self.title or "Graph", self.svg(rankdir=rankdir, scale=scale, limit=limit), self.text())

    def to_json(self) -> str:
        """The whole graph as JSON that `from_json` reads; ids are places in the list of nodes."""
        return export.written(export.graph_record(self))

    @staticmethod
    def from_json(text: str | bytes) -> "Graph":
        """The graph that `to_json` wrote, its nodes numbered by their places.

        Raises: OptionError for what is not such a text.
        """
        return export.graph_of_record(text)

    def networkx(self) -> Any:
        """The whole graph as a networkx.MultiDiGraph, all fields of nodes and edges as attributes.

        Raises: MissingDependency without networkx.
        """
        return export.networkx_graph(self)

    def __repr__(self) -> str:
        title = f" {dot.visible(self.title, 60)}" if self.title else ""
        return f"<Graph{title} of {_many(self.operations, 'operation')}>"

    def __str__(self) -> str:
        return self.text()

    def _repr_svg_(self) -> str | None:
        try:
            return self.svg() if self.nodes else None
        except (MissingDependency, layout.LayoutFailed):
            return None

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What a notebook shows where nothing can draw: the first sentences."""
        lines = self.text().splitlines()
        more = [f"and {len(lines) - 60:,} lines more: print() it"] if len(lines) > 60 else []
        printer.text("\n".join([*lines[:60], *more]))

    def save(
        self,
        path: str | PathLike[str],
        *,
        rankdir: str = "TB",
        scale: tuple[float, float] | None = None,
        limit: int | None = LIMIT,
    ) -> None:
        """Write .dot or .json (the whole graph), or .svg, .png, .pdf or .html (folded to `limit` nodes).

        Raises: OptionError for another ending or a folder that is not there. MissingDependency if nothing here can
            draw the format; the drawing's DOT text is then written beside it.
        """
        target, format = layout.target(path, ("dot", "svg", "png", "pdf", "html", "json"))
        if format in ("dot", "json"):
            text = self.to_json() if format == "json" else self.dot(rankdir=rankdir, scale=scale)
            layout.write_whole(target, text.encode())
            return
        try:
            if format == "html":
                data = self.html(rankdir=rankdir, scale=scale, limit=limit).encode()
            else:
                data = self._drawn(format, rankdir, scale, limit)
            layout.write_whole(target, data)
        except MissingDependency as error:
            graph = self if limit is None else self.drawable(limit)
            beside = target.with_suffix(".dot")
            layout.write_whole(beside, graph.dot(rankdir=rankdir, scale=scale).encode())
            raise MissingDependency(f"{error} The drawing's DOT text is in {beside}.") from None

    def _drawn(self, format: str, rankdir: str, scale: tuple[float, float] | None, limit: int | None) -> bytes:
        graph = self if limit is None else self.drawable(limit)
        while True:
            try:
                return layout.render(dot.write(graph, rankdir, scale), format, dot.visible(self.title or "graph"))
            except layout.LayoutFailed:  # too large after all: fold further, unless told not to
                if limit is None or len(graph.nodes) <= 8:
                    raise
                graph = self.collapsed(limit=len(graph.nodes) // 2)

    def text(self) -> str:
        """The graph in sentences, in order, for reading aloud: what each operation takes and what came back."""
        graph = self.settled()
        kinds = [_many(self.operations, "operation")]
        for kind in ("parameter", "input", "constant"):
            if number := sum(node.kind == kind for node in graph.nodes):
                kinds.append(_many(number, kind))
        lines = [f"{self.title or 'Graph'}: {', '.join(kinds)}."]
        norms = [edge.norm for edge in graph.edges if edge.norm is not None]
        if finite := [norm for norm in norms if math.isfinite(norm)]:
            lines.append(f"Gradient norms from {dot.number(min(finite))} to {dot.number(max(finite))}.")
        if len(finite) < len(norms):
            lines.append(f"Gradient norms that are not finite: {len(norms) - len(finite)}.")
        if not norms:
            lines.append("Gradients: not computed.")
        names = {node.id: f"{i} ({dot.heading(node)})" for i, node in enumerate(graph.nodes, 1)}
        taken: dict[int, list[Edge]] = {}
        for edge in graph.edges:
            taken.setdefault(edge.target, []).append(edge)
        scope: tuple[str, ...] = ()
        for i, node in enumerate(graph.nodes, 1):
            if node.scope != scope:
                scope = node.scope
                lines.append(f"In {dot.path(scope)}:" if scope else "Outside all modules:")
            shape = " by ".join(map(str, node.shape)) or "scalar"
            lines.append(f"{i}. {', '.join([*dot.words(node), f'{shape} {node.dtype}'.strip()])}.")
            for edge in taken.get(node.id, ()):
                argument = f" as {edge.argument}" if edge.argument else ""
                came = "" if not norms else f", gradient norm {dot.number(edge.norm)}"
                lines.append(f"   from {names[edge.source]}{argument}{came}")
        return "\n".join(dot.visible(line) for line in lines) + "\n"


def _unit(node: Node, depth: int) -> Unit:
    return node.scope[: depth + 1] if len(node.scope) > depth else node.id


def _operations(nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if node.kind in ("operation", "group")]


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:same]


def _group(unit: Unit, nodes: list[Node], leaving: set[int]) -> Node:
    """One node for all of them; id, shape and dtype are those of the last result that leaves the group."""
    if len(nodes) == 1:
        return nodes[0]
    inner = _operations(nodes)
    result = next((n for n in reversed(inner) if n.id in leaving), (inner or nodes)[-1])
    assert isinstance(unit, tuple)
    if unit and isinstance(unit[-1], int):  # a range within an outer scope
        scope: tuple[str, ...] = unit[0]
        name = " … ".join(
            dot.path(n.scope[: len(scope) + 1]) if len(n.scope) > len(scope) else dot.heading(n)
            for n in ((inner or nodes)[0], (inner or nodes)[-1])
        )
    else:
        scope, name = unit[:-1], dot.path(unit) if unit else "all"
    parts = dict.fromkeys(op for n in inner for op in n.op.split(", ")) or dict.fromkeys(f"{n.kind}s" for n in nodes)
    op = ", ".join([*parts][:4]) + (", …" if len(parts) > 4 else "")
    count = sum(node.count for node in inner)
    return Node(
        result.id, "group", op, name, result.shape, result.dtype, scope, count, _change(n.change for n in nodes)
    )


def _joined(source: int, target: int, edges: list[Edge], reached: float | None) -> Edge:
    norms = [edge.norm for edge in edges if edge.norm is not None]
    old = [edge.before for edge in edges if edge.before is not None]
    arguments = {edge.argument for edge in edges}
    return Edge(
        source,
        target,
        argument=arguments.pop() if len(arguments) == 1 else "",
        norm=math.hypot(*norms) if norms else None,
        gain=math.hypot(*norms) / reached if norms and reached else None,
        count=sum(edge.count for edge in edges),
        change=_change(edge.change for edge in edges),
        before=math.hypot(*old) if old else None,
    )


def _change(changes: Iterable[str]) -> str:
    """That of all of them, if it is one."""
    found = set(changes)
    return found.pop() if len(found) == 1 else "±" if found else ""


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
