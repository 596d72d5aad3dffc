"""A graph of operations as DOT text: shapes, clusters, and the gradient on every edge."""

import math
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import OptionError

if TYPE_CHECKING:
    from .graph import Edge, Graph, Node

FONT = "Helvetica"  # one name: Graphviz measures a list of names as Times; the SVG gets its list afterwards
GREY = "#6b6b6b"
ALARM = "#b3261e"  # what is not finite

# Viridis from its green to its purple: even to the eye also for the colour-blind, darker is more, and at every point
# at least 3 to 1 against white.
ANCHORS = ("#1f9f88", "#228b8d", "#2a788e", "#32648e", "#3c4f8a", "#453781", "#481d6f", "#440154")

# Each kind has a shape of its own, so that none depends on the fill.
LOOK: dict[str, dict[str, str]] = {
    "operation": {"shape": "box", "style": "rounded,filled", "fillcolor": "#f3f5f8", "color": "#4a5a70"},
    "parameter": {"shape": "cylinder", "style": "filled", "fillcolor": "#fdf0d5", "color": "#8a5a00"},
    "input": {"shape": "ellipse", "style": "filled", "fillcolor": "#e0f3ea", "color": "#17694a"},
    "constant": {"shape": "note", "style": "filled", "fillcolor": "#eeeeee", "color": "#555555"},
    "group": {"shape": "box", "peripheries": "2", "style": "filled", "fillcolor": "#e3ebf7", "color": "#2d4a7c"},
}
CUT = {"shape": "box", "style": "dashed,filled", "fillcolor": "#ffffff", "color": ALARM}  # no gradient goes back here

CHANGED: dict[str, dict[str, str]] = {  # in a diff: each with a mark before its name too
    "+": {"color": "#17694a", "penwidth": "3"},
    "−": {"color": ALARM, "style": "dashed,filled", "fillcolor": "#ffffff", "penwidth": "2"},
    "±": {"color": "#8a5a00", "penwidth": "2.5"},
}

SOURCES = ("parameter", "input", "constant")
SHARED = 3  # by more users than this, and each gets a copy
LONGEST = 1_500  # ranks that all edges cross together: beyond, the layout takes minutes and shows a tangle


def write(graph: "Graph", rankdir: str = "TB", scale: tuple[float, float] | None = None) -> str:
    """The DOT text: modules and time steps are clusters, edges show the gradient by width, colour and number."""
    import graphviz

    if rankdir not in ("TB", "LR", "BT", "RL"):
        raise OptionError(f"rankdir is {rankdir!r}; it must be TB, LR, BT or RL")
    graph = _copied(graph.settled())
    norms = [edge.norm for edge in graph.edges if edge.norm is not None]
    colours = Scale(norms, scale)
    title = [graph.title] if graph.title else []
    if not norms:
        title.append("no gradients: before a backward pass")
    whole = graphviz.Digraph(
        graph_attr={
            "label": label(title), "labelloc": "t", "fontname": FONT, "fontsize": "15", "bgcolor": "white",
            "rankdir": rankdir, "newrank": "true", "ranksep": "0.35", "nodesep": "0.3", "pad": "0.2",
        },
        node_attr={"fontname": FONT, "fontsize": "11", "margin": "0.16,0.07", "height": "0.3", "penwidth": "1.2"},
        edge_attr={"fontname": FONT, "fontsize": "10", "arrowsize": "0.7"},
    )  # fmt: skip
    inside: dict[tuple[str, ...], list[Node]] = {}
    clusters: dict[tuple[str, ...], Any] = {(): whole}
    for node in graph.nodes:
        inside.setdefault(node.scope, []).append(node)
        for depth in range(len(node.scope), 0, -1):  # up to the first that is known
            scope = node.scope[:depth]
            if scope in clusters:
                break
            clusters[scope] = graphviz.Digraph(
                name=f"cluster_{len(clusters)}",
                graph_attr={
                    "label": label([path(scope)]), "style": "rounded", "color": "#9aa5b4", "penwidth": "1",
                    "fontname": FONT, "fontsize": "11", "fontcolor": "#3d4a5c", "labeljust": "l", "margin": "10",
                },
            )  # fmt: skip
    for scope, cluster in clusters.items():
        for node in inside.get(scope, ()):
            look = CUT if node.op == "cut" else LOOK[node.kind]
            if node.kind in SOURCES and node.count > 1:  # a copy
                text = [node.name or node.kind, f"shared by {node.count:,}"]
                look = {**look, "style": "filled,dashed", "fontsize": "10"}
            else:
                text = [*words(node), f"{shape(node)} {node.dtype}".strip()]
            if node.change:
                text, look = [f"{node.change} {text[0]}", *text[1:]], {**look, **CHANGED[node.change]}
            cluster.node(f"n{node.id}", label=label(text), **look, **_room(text))
    for scope in sorted((scope for scope in clusters if scope), key=len, reverse=True):  # the innermost first
        clusters[scope[:-1]].subgraph(clusters[scope])

    arguments: dict[int, int] = {}
    for edge in graph.edges:
        arguments[edge.target] = arguments.get(edge.target, 0) + 1
    inner = {node.id for node in graph.nodes if node.kind not in SOURCES}
    for edge in graph.edges:
        note = []
        if edge.argument and arguments[edge.target] > 1:
            note.append(edge.argument)
        if edge.count > 1:
            note.append(f"{edge.count} edges")
        if edge.change:
            note.append(edge.change)
        if norms:
            was = "" if edge.before is None or edge.before == edge.norm else f"{number(edge.before)} → "
            note.append(number(edge.norm) if edge.norm is None else f"‖∂L‖ {was}{number(edge.norm)}")
        if edge.gain is not None:
            note.append(f"× {number(edge.gain)}")
        style = colours.style(edge.norm) if norms else {"color": "#4a5a70"}
        if edge.change == "−":
            style["style"] = "dashed"
        if edge.source in inner:  # what is computed runs straight
            style["weight"] = "8"
        whole.edge(f"n{edge.source}", f"n{edge.target}", label=label(note, "  ", "\\l"), **style)
    for a, b in _below(graph):
        whole.edge(f"n{a}", f"n{b}", style="invis", weight="2")
    if norms:
        _legend(whole, graphviz, colours, graph.edges)
    return str(whole.source)


def _room(lines: list[str]) -> dict[str, str]:
    """The width of a node whose label has characters as wide as high, which Graphviz takes for narrower."""
    wide = [[unicodedata.east_asian_width(c) in "WF" for c in visible(line, 60)] for line in lines]
    if not any(map(any, wide)):
        return {}
    return {"width": f"{max(sum(1.0 if w else 0.6 for w in line) for line in wide) * 11 / 72 + 0.32:.2f}"}


def _copied(graph: "Graph") -> "Graph":
    """The graph as it is drawn: a parameter that many share has a copy at each, for 64 long edges show nothing.

    A copy's count is the number of copies.
    """
    sources = {node.id: node for node in graph.nodes if node.kind in SOURCES}
    scope_of = {node.id: node.scope for node in graph.nodes}
    users: dict[int, int] = {}
    for edge in graph.edges:
        if edge.source in sources:
            users[edge.source] = users.get(edge.source, 0) + 1
    many = {id: number for id, number in users.items() if number > SHARED}
    if not many:
        return graph
    nodes, edges = [node for node in graph.nodes if node.id not in many], []
    free = max(scope_of) + 1
    for edge in graph.edges:
        if edge.source in many:
            scope, count = scope_of[edge.target], many[edge.source]
            nodes.append(replace(sources[edge.source], id=free, scope=scope, count=count))
            edge = replace(edge, source=free)
            free += 1
        edges.append(edge)
    return replace(graph, nodes=tuple(nodes), edges=tuple(edges))


def _below(graph: "Graph") -> list[tuple[int, int]]:
    """Pairs that put a cluster's parameters below what the cluster is entered from, so that clusters stack up."""
    place = {node.id: i for i, node in enumerate(graph.nodes)}
    scope_of = {node.id: node.scope for node in graph.nodes}
    first: dict[tuple[str, ...], int] = {}  # the place of a cluster's first operation
    for node in graph.nodes:
        if node.kind not in SOURCES:
            first.setdefault(node.scope, place[node.id])
    entered: dict[tuple[str, ...], int] = {}
    used: dict[int, int] = {}  # the place of a node's first user
    for edge in graph.edges:
        a, b, scope = place[edge.source], place[edge.target], scope_of[edge.target]
        used[edge.source] = min(used.get(edge.source, b), b)
        if graph.nodes[a].kind not in SOURCES and graph.nodes[a].scope != scope and a < first.get(scope, 0):
            entered[scope] = max(entered.get(scope, a), a)
    return [
        (graph.nodes[entered[node.scope]].id, node.id)
        for node in graph.nodes
        if node.kind in SOURCES and node.id in used and entered.get(node.scope, math.inf) < used[node.id]
    ]


def _legend(whole: Any, graphviz: Any, colours: "Scale", edges: "tuple[Edge, ...]") -> None:
    """Sample edges, drawn as the graph's own are."""
    low, high = round(colours.low), round(colours.high)
    step = max(1, -(-(high - low) // 4))
    samples: list[tuple[str, float | None]] = [
        (number(10.0**decade), 10.0**decade) for decade in range(high, low - 1, -step) if -308 <= decade <= 308
    ]
    if any(edge.norm == 0 for edge in edges):
        samples.append(("0", 0.0))
    if any(edge.norm is not None and not math.isfinite(edge.norm) for edge in edges):
        samples.append(("not finite", math.nan))
    if any(edge.norm is None for edge in edges):
        samples.append((number(None), None))
    note = ["‖∂L‖: norm of the gradient", "that came back along the edge"]
    if any(edge.gain is not None for edge in edges):
        note.append("× gain: against what reached the operation;")
        note.append("along a chain, ‖∂L‖ is their product")
    legend = graphviz.Digraph(
        name="cluster_legend",
        graph_attr={
            "label": label(note), "style": "rounded", "color": "#cccccc", "margin": "10", "fontname": FONT,
            "fontsize": "10",
        },
        node_attr={"shape": "point", "width": "0.06", "color": "#888888"},
    )  # fmt: skip
    for i, (text, norm) in enumerate(samples):
        legend.node(f"legend{i}", label="")
        legend.edge(f"legend{i}", f"legend{i + 1}", label=label([text], "  ", "\\l"), **colours.style(norm))
    legend.node(f"legend{len(samples)}", label="")
    whole.subgraph(legend)


class Scale:
    """From log10 of a gradient's norm to colour and width; it spans at least three decades."""

    def __init__(self, norms: list[float], ends: tuple[float, float] | None = None) -> None:
        logs = [math.log10(norm) for norm in (ends or norms) if norm > 0 and math.isfinite(norm)]
        self.high = math.ceil(max(logs, default=0.0))
        self.low = min(math.floor(min(logs, default=0.0)), self.high - 3)

    def style(self, norm: float | None) -> dict[str, str]:
        """The look of an edge; what has no logarithm differs by its dashes too."""
        if norm is None:
            return {"style": "dashed", "color": GREY, "fontcolor": GREY, "penwidth": "1"}
        if not math.isfinite(norm):
            return {"style": "bold", "color": f"{ALARM}:white:{ALARM}", "fontcolor": ALARM, "penwidth": "2"}
        if norm <= 0:
            return {"style": "dotted", "color": ANCHORS[0], "penwidth": "1.5"}
        at = (math.log10(norm) - self.low) / (self.high - self.low)
        at = min(1.0, max(0.0, at))
        return {"color": colour(at), "penwidth": f"{1 + 4.5 * at:.2f}"}


def colour(at: float) -> str:
    """The colour at 0 … 1 of the scale, mixed in OKLab between two anchors."""
    at = min(1.0, max(0.0, at)) * (len(ANCHORS) - 1)
    i = min(int(at), len(ANCHORS) - 2)
    return _hex([a + (b - a) * (at - i) for a, b in zip(_LAB[i], _LAB[i + 1], strict=True)])


# Source: Björn Ottosson, A perceptual color space for image processing (2020)
_TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
_FROM_LAB = ((1, 0.3963377774, 0.2158037573), (1, -0.1055613458, -0.0638541728), (1, -0.0894841775, -1.2914855480))
_FROM_LMS = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)


def _times(matrix: tuple[tuple[float, ...], ...], vector: list[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def _oklab(colour: str) -> list[float]:
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return _times(_TO_LAB, [v ** (1 / 3) for v in _times(_TO_LMS, linear)])


_LAB = [_oklab(anchor) for anchor in ANCHORS]


def _hex(lab: list[float]) -> str:
    linear = [min(1.0, max(0.0, v)) for v in _times(_FROM_LMS, [v**3 for v in _times(_FROM_LAB, lab)])]
    values = [12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in linear]
    return "#" + "".join(f"{round(255 * v):02x}" for v in values)


def span(graph: "Graph") -> int:
    """How many ranks all edges cross together: what the layout's time grows with."""
    graph = _copied(graph)
    sources = [node.id for node in graph.nodes if node.kind in SOURCES]
    order = [*sources, *(node.id for node in graph.nodes if node.kind not in SOURCES)]
    place = {id: i for i, id in enumerate(order)}
    rank = dict.fromkeys(order, 0)
    users: dict[int, list[int]] = {}
    for a, b in sorted(((e.source, e.target) for e in graph.edges), key=lambda pair: place[pair[1]]):
        if place[a] < place[b]:
            rank[b] = max(rank[b], rank[a] + 1)
            users.setdefault(a, []).append(b)
    for id in reversed(order):  # each as near to its first user as it can be
        if id in users:
            rank[id] = min(rank[b] for b in users[id]) - 1
    return sum(abs(rank[edge.target] - rank[edge.source]) for edge in graph.edges)


def words(node: "Node") -> list[str]:
    """What a node is, phrase by phrase."""
    if node.kind == "operation":
        return [text for text in (node.op, node.name) if text]
    if node.kind == "group":
        number = f"{node.count:,} operation{'' if node.count == 1 else 's'}" if node.count else ""
        return [text for text in (node.name, number, node.op) if text]
    return [text for text in (node.kind, node.name) if text]


def heading(node: "Node") -> str:
    """A node in a word or two."""
    return (node.op if node.kind == "operation" else node.name) or node.kind


def shape(node: "Node") -> str:
    """(32, 64), or "scalar"."""
    return f"({', '.join(map(str, node.shape))}{',' if len(node.shape) == 1 else ''})" if node.shape else "scalar"


def number(norm: float | None) -> str:
    """3.2e-05, or "not computed"."""
    return "not computed" if norm is None else f"{norm:.2g}"


def path(scope: tuple[str, ...]) -> str:
    """layers.3 for a module; t=5 for a time step, whose module is around it."""
    if not scope or "=" in scope[-1]:
        return scope[-1] if scope else ""
    return ".".join(part for part in scope if "=" not in part)


def visible(text: str, longest: int = 10**9) -> str:
    r"""The text on one line: a newline as \n, and so every character that does not print; the middle of a long one …"""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= longest else f"{text[: longest // 2]}…{text[-(longest // 2) :]}"


def label(lines: list[str], indent: str = "", end: str = "\\n") -> str:
    r"""Lines of a label, in which nothing means anything to DOT: no escape, entity or HTML.

    They are centred; with the end \l, set left.
    """
    import graphviz

    # a label is an escString, in which Graphviz also reads &entities;
    escaped = (indent + visible(line, 60).replace("&", "&amp;").replace("\\", "\\\\") for line in lines)
    whole: str = graphviz.nohtml(end.join(escaped) + (end if end != "\\n" and lines else ""))
    return whole
