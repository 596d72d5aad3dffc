"""A graph of operations as plain records: fold it, draw it, read it as text."""

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from os import PathLike
from typing import Literal

from ..errors import Error, OptionError
from . import dot, layout

Kind = Literal["operation", "parameter", "input", "constant", "group"]

#: A drawing with more nodes than this is folded first: it stays readable, and the layout takes seconds.
LIMIT = 400

#: A scope with more inner scopes than this folds into ranges of neighbours ("t=0 … t=9"), not into one node.
DOZEN = 12


@dataclass(frozen=True, slots=True)
class Node:
    """An operation, a parameter, an input or a constant; or a group of them, after folding."""

    id: int
    kind: Kind
    op: str = ""  # the operation's name, "tanh"; of a group, the names of its operations
    name: str = ""  # the parameter's dotted name or the layer's name
    shape: tuple[int, ...] = ()
    dtype: str = ""
    scope: tuple[str, ...] = ()  # module path and time steps, the outermost first: ("lstm", "t=5")
    count: int = 1  # operations that it stands for, when it is an operation or a group


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` is an argument of `target`; `norm` is of the gradient that came back along the edge."""

    source: int
    target: int
    argument: str = ""
    norm: float | None = None  # None: not computed
    gain: float | None = None  # the local slope's size, where the operation has one
    count: int = 1  # edges that it stands for


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of their creation, and the edges between them."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    title: str = ""

    def __post_init__(self) -> None:
        ids = {node.id for node in self.nodes}
        if len(ids) != len(self.nodes):
            raise Error(f"Graph: {len(self.nodes)} nodes bear only {len(ids)} different ids; give each its own")
        for edge in self.edges:
            if edge.source not in ids or edge.target not in ids:
                raise Error(f"Graph: the edge {edge.source} → {edge.target} ends at a node that is not in the graph")

    @property
    def operations(self) -> int:
        """The number of operations, those inside groups included. Folding does not change it."""
        return sum(node.count for node in self.nodes if node.kind in ("operation", "group"))

    def collapsed(self, *, depth: int | None = None, limit: int | None = None) -> "Graph":
        """The graph with its modules and time steps folded into one node each.

        `depth` keeps that many outer scopes open: 0 makes each outermost module one node. `limit` folds the innermost
        scopes first, one level after the other, until at most `limit` nodes are left; more than a dozen scopes side by
        side, and operations outside all scopes, are folded into ranges of neighbours.

        A group of one node stays as it is. Edges between the same two nodes become one, its norm the square root of the
        sum of the squares of the norms that were computed: the norm of all those gradients taken as one vector. What
        reached what still does. The time is linear in nodes times scopes, without recursion.

        Raises: OptionError if not exactly one of `depth` ≥ 0 and `limit` ≥ 1 is given.
        """
        if (depth is None) == (limit is None):
            raise OptionError("Graph.collapsed: give either depth or limit")
        if depth is not None:
            if depth < 0:
                raise OptionError(f"Graph.collapsed: depth is {depth}; it must be 0 or more")
            return _merge(self, [_unit(node, depth) for node in self.nodes])
        assert limit is not None
        if limit < 1:
            raise OptionError(f"Graph.collapsed: limit is {limit}; it must be 1 or more")
        return self if len(self.nodes) <= limit else _merge(self, _units_within(self, limit))

    def dot(self, *, rankdir: str = "TB", scale: tuple[float, float] | None = None) -> str:
        """The whole graph as DOT text. `scale` fixes the gradient norms at the two ends of the colour scale.

        Raises: OptionError if `rankdir` is none of TB, LR, BT and RL.
        """
        return dot.write(self, rankdir=rankdir, scale=scale)

    def svg(
        self, *, rankdir: str = "TB", scale: tuple[float, float] | None = None, limit: int | None = LIMIT
    ) -> str:
        """The drawing as one self-contained SVG element, folded to at most `limit` nodes (None: not folded).

        Raises: MissingDependency if there is neither Graphviz's `dot` nor the `viz` extra.
        """
        return layout.svg(self._drawn("svg", rankdir, scale, limit).decode(), self.title or "graph")

    def save(
        self,
        path: str | PathLike[str],
        *,
        rankdir: str = "TB",
        scale: tuple[float, float] | None = None,
        limit: int | None = LIMIT,
    ) -> None:
        """Write .dot (the whole graph), .svg, .png or .pdf (folded to `limit` nodes); the file is whole or not there.

        Raises: OptionError for another extension; MissingDependency if nothing here can draw that format: the text of
        the drawing is then in a .dot file of the same name.
        """
        target = layout.target(path)
        format = target.suffix[1:].lower()
        if format == "dot":
            return layout.write_whole(target, self.dot(rankdir=rankdir, scale=scale).encode())
        if format == "svg":
            drawing = lambda: self.svg(rankdir=rankdir, scale=scale, limit=limit).encode()  # noqa: E731
        else:
            drawing = lambda: self._drawn(format, rankdir, scale, limit)  # noqa: E731
        try:
            data = drawing()
        except layout.MissingDependency as error:
            text = target.with_suffix(".dot")
            layout.write_whole(text, self._drawable(limit).dot(rankdir=rankdir, scale=scale).encode())
            raise layout.MissingDependency(f"{error} The drawing's DOT text was written to {text}.") from None
        layout.write_whole(target, data)
