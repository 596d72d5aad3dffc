"""What is seen, for other programs: graphs and walks as JSON, a graph for networkx, pages that stand alone, tables."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import Error, MissingDependency, OptionError
from .dot import visible

if TYPE_CHECKING:
    from .graph import Graph
    from .walk import Argument, Leaf, Step, Value, Walk

VERSION = 1
GRAPH, WALK = "tinygrad_mlsp graph", "tinygrad_mlsp walk"


def graph_record(graph: Graph) -> dict[str, Any]:
    """The graph for JSON: all fields of all nodes and edges. A node's id is its place, the same in every run."""
    place = {node.id: i for i, node in enumerate(graph.nodes)}
    return {
        "format": GRAPH,
        "version": VERSION,
        "title": graph.title,
        "nodes": [_fields(replace(node, id=place[node.id])) for node in graph.nodes],
        "edges": [_fields(replace(edge, source=place[edge.source], target=place[edge.target])) for edge in graph.edges],
    }


def graph_of_record(text: str | bytes) -> Graph:
    """The graph that `to_json` wrote.

    Raises: OptionError for a text that is not such a graph, with what is wrong.
    """
    from .graph import Edge, Graph, Node

    try:
        record = json.loads(text)
        if not isinstance(record, dict) or record.get("format") != GRAPH:
            raise OptionError(f"Graph.from_json: this is not a graph; its format is not {GRAPH!r}")
        if record.get("version") != VERSION:
            raise OptionError(f"Graph.from_json: version {record.get('version')!r} of the format; this reads {VERSION}")
        nodes = [Node(**{**n, "shape": tuple(n["shape"]), "scope": tuple(n["scope"])}) for n in record["nodes"]]
        numbers = ("norm", "gain", "before")
        edges = [Edge(**{**e, **{k: _read(e[k]) for k in numbers}}) for e in record["edges"]]
        return Graph(tuple(nodes), tuple(edges), record["title"])
    except (KeyError, TypeError, ValueError) as problem:
        if isinstance(problem, Error):
            raise
        raise OptionError(f"Graph.from_json: this is not a whole graph: {type(problem).__name__}: {problem}") from None


def walk_record(walk: Walk) -> dict[str, Any]:
    """The walk for JSON: steps in the order of the computation, leaves, and the graph. Ids are places in the graph."""
    place = {node.id: i for i, node in enumerate(walk.graph.nodes)}

    def at(id: int | None) -> int | None:
        return None if id is None else place.get(id)

    def argument(a: Argument) -> dict[str, Any]:
        return {
            "name": a.name, "letter": a.letter, "number": a.number, "source": at(a.source), "value": _value(a.value),
            "local": _value(a.local), "contribution": _value(a.contribution), "gain": _number(a.gain),
        }  # fmt: skip

    def step(s: Step) -> dict[str, Any]:
        return {
            "id": at(s.id), "op": s.op, "scope": list(s.scope), "letter": s.letter, "shape": list(s.shape),
            "calls": list(s.calls), "options": {name: str(value) for name, value in s.options},
            "formula": _formula(s), "arguments": [argument(a) for a in s.arguments],
            "results": [_value(v) for v in s.results], "upstream": [_value(v) for v in s.upstream],
        }  # fmt: skip

    def leaf(x: Leaf) -> dict[str, Any]:
        return {
            "id": at(x.id), "kind": x.kind, "letter": x.letter, "name": x.name, "shape": list(x.shape),
            "value": _value(x.value), "gradient": _value(x.gradient),
        }  # fmt: skip

    return {
        "format": WALK, "version": VERSION, "title": walk.title, "steps": [step(s) for s in walk.steps],
        "leaves": [leaf(x) for x in walk.leaves], "graph": graph_record(walk.graph),
    }  # fmt: skip


def _formula(step: Step) -> dict[str, Any] | None:
    """The operation's formulas in its own letters, which the arguments bear: y = tanh(x)."""
    from .explain import barred

    template = step.template()
    if template is None:
        return None

    def own(letter: str, number: int | None, mark: str) -> str:
        return (barred(letter, mark) if mark else letter) + ("" if number is None else str(number))

    made = template.formula
    derivatives = {name: template.filled(text, own) for name, text in made.derivatives.items()}
    return {"forward": template.filled(made.forward, own), "derivatives": derivatives, "kink": made.kink}


def written(record: Any) -> str:
    """JSON in ASCII, so that any text in it is safe wherever it is put."""
    return json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n"


def _raw(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _fields(record: Any) -> dict[str, Any]:
    return {name: _number(value) for name, value in _raw(record).items()}


def _value(value: Value | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {**_fields(value), "entries": [_number(e) for e in value.entries]}


def _number(x: Any) -> Any:
    """JSON has no NaN and no infinity, and no complex numbers; these are texts that float() and complex() read."""
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    return str(x) if isinstance(x, complex) else x


def _read(x: Any) -> float | None:
    return None if x is None else float(x)


def networkx_graph(graph: Graph) -> Any:
    """A networkx.MultiDiGraph with all fields of all nodes and edges as attributes."""
    try:
        import networkx
    except ImportError as error:
        raise MissingDependency(
            "Graph.networkx needs networkx, which is in the viz extra: pip install 'tinygrad_mlsp[viz]'"
        ) from error
    made = networkx.MultiDiGraph(title=graph.title)
    for node in graph.nodes:
        made.add_node(node.id, **{name: value for name, value in _raw(node).items() if name != "id"})
    for edge in graph.edges:
        rest = {name: value for name, value in _raw(edge).items() if name not in ("source", "target")}
        made.add_edge(edge.source, edge.target, **rest)
    return made


def page(title: str, svg: str, text: str) -> str:
    """A drawing and the same in words, as a page that stands alone, in light and dark, without script or network."""
    title = html.escape(visible(title, 200))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>\n'
        f"<body><main>\n<h1>{title}</h1>\n<div class='drawing' tabindex='0' role='region' aria-label='Drawing'>{svg}"
        f"</div>\n<details><summary>The same in words</summary><pre tabindex='0'>{escaped(text)}</pre></details>\n"
        "</main></body></html>\n"
    )


def escaped(text: str) -> str:
    """Text for HTML. Half of a character, which UTF-8 cannot have, becomes a question mark."""
    return html.escape(text.encode("utf-8", "replace").decode())


# The drawing has dark ink on white; turned over, and its hues turned back, it has light ink on black.
_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2024; --line: #c9ced6; }
@media (prefers-color-scheme: dark) { :root { --paper: #000000; --ink: #e6e8eb; --line: #454b54; }
  .drawing svg { filter: invert(1) hue-rotate(180deg); } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { padding: 1rem; }
h1 { font-size: 1.15rem; margin: 0 0 .75rem; overflow-wrap: anywhere; }
.drawing { overflow: auto; max-height: 85vh; border: 1px solid var(--line); }
.drawing svg { display: block; margin: auto; }
summary { margin-top: 1rem; cursor: pointer; }
pre { overflow: auto; font-size: 13px; }
"""


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table for a notebook."""
    cell = lambda kind, text: f"<{kind} style='text-align:left'>{escaped(visible(text, 80))}</{kind}>"
    body = "".join(f"<tr>{''.join(cell('td', text) for text in row)}</tr>" for row in rows)
    return (
        f"<table><caption style='text-align:left'>{escaped(visible(caption, 200))}</caption>"
        f"<thead><tr>{''.join(cell('th', text) for text in head)}</tr></thead><tbody>{body}</tbody></table>"
    )
