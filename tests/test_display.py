"""What a notebook shows, what is exported, and that no name breaks any of it."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Browser

import tinygrad_mlsp as tg
from tinygrad_mlsp import interpret, nn, viz
from tinygrad_mlsp.energy.partition import Partition
from tinygrad_mlsp.errors import MissingDependency, OptionError
from tinygrad_mlsp.interpret.shapes import cost, spec
from tinygrad_mlsp.train import History
from tinygrad_mlsp.viz import layout
from tinygrad_mlsp.viz.graph import Edge, Graph, Node

HOSTILE = [
    "</script><script>window.hacked=1</script>", "<img src=x onerror=window.hacked=1>", "--><b>x</b><!--", "]]>",
    "\"'><svg onload=window.hacked=1>", "'\"`${window.hacked=1}",
    "</title></style></pre><script>window.hacked=1</script>",
    "{a|b}\\N\\l", "line\nbreak\ttab", "日本語 Привет é 👩‍💻 \u202e", "&amp;&lt;b", "x\x00\u2028\ud800", "n" * 10_000,
]  # fmt: skip


class Hostile(nn.Module):
    """Parameters and modules with every such name."""

    def __init__(self, device: str) -> None:
        for name in HOSTILE:
            setattr(self, f"{name} w", nn.Parameter([0.5, 2.0], device=device))
            setattr(self, f"{name} m", nn.Tanh())

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        for name in HOSTILE:
            x = getattr(self, f"{name} m")(x * getattr(self, f"{name} w"))
        return x


@pytest.fixture(scope="module")
def seen(device: str) -> dict[str, Any]:
    """A graph, a walk and what else there is to see, all with hostile names."""
    model = Hostile(device)
    x = tg.ones(2, device=device)
    with viz.trace(model) as trace:
        loss = model(x).sum()
        title = "".join(HOSTILE[:-1])
        walk = viz.walk(loss, model, trace=trace, title=title)
        loss.backward(retain_graph=True)
    return {
        "graph": trace.graph(title=title), "trace": trace, "walk": walk, "explanation": viz.Explanation(walk),
        "player": viz.Player(walk), "diff": viz.diff(walk, walk, names=(title, HOSTILE[-1])),
        "summary": nn.summary(model, (2,)), "history": History([1.0, 0.5], metrics={name: [1.0] for name in HOSTILE}),
    }  # fmt: skip


class _Balanced(HTMLParser):
    """Complains of elements that are not closed, or closed twice, and keeps what could act."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script" or any(name.startswith("on") for name, _ in attrs):
            self.active.append(tag)
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}>"


def balanced(page: str) -> list[str]:
    parser = _Balanced()
    parser.feed(page)
    parser.close()
    assert not parser.open, parser.open
    return parser.active


# ---- Exports


def small() -> Graph:
    nodes = (
        Node(-(1 << 62), "constant", shape=(2, 3), dtype="float32"),
        Node(3, "parameter", name="w", shape=(3,), dtype="float32"),
        Node(7, "operation", "multiply", "", (2, 3), "float32", ("net", "t=1"), change="+"),
        Node(9, "group", "tanh, add", "net", (), "float64", (), 5),
    )
    edges = (
        Edge(3, 7, "a", 0.25, 2.0, 1, "±", 0.125), Edge(3, 7, "b", float("inf")),
        Edge(7, 9, "x", float("nan"), count=3), Edge(-(1 << 62), 7, "c"),
    )  # fmt: skip
    return Graph(nodes, edges, "a title")


def test_json_keeps_every_field_and_numbers_nodes_by_their_places(tmp_path: Path) -> None:
    graph = small()
    graph.save(tmp_path / "graph.json")
    text = (tmp_path / "graph.json").read_text(encoding="ascii")
    assert text == graph.to_json()
    record = json.loads(text, parse_constant=pytest.fail)  # no NaN, which is no JSON
    assert (record["format"], record["version"], record["title"]) == ("tinygrad_mlsp graph", 1, "a title")
    assert record["nodes"][2] == {
        "id": 2, "kind": "operation", "op": "multiply", "name": "", "shape": [2, 3], "dtype": "float32",
        "scope": ["net", "t=1"], "count": 1, "change": "+",
    }  # fmt: skip
    assert record["edges"][0] == {
        "source": 1, "target": 2, "argument": "a", "norm": 0.25, "gain": 2.0, "count": 1, "change": "±",
        "before": 0.125,
    }  # fmt: skip
    back = Graph.from_json(text)
    assert back.to_json() == text
    place = {node.id: i for i, node in enumerate(graph.nodes)}
    for a, b in zip(graph.nodes, back.nodes, strict=True):
        assert (b.id, a.kind, a.op, a.name, a.shape, a.dtype, a.scope, a.count) == (
            place[a.id], b.kind, b.op, b.name, b.shape, b.dtype, b.scope, b.count,
        )  # fmt: skip
    assert [e.norm for e in back.edges][:2] == [0.25, float("inf")] and np.isnan(back.edges[2].norm or 0.0)
    assert back.edges[3].norm is None and back.text() == graph.text() and back.dot() == Graph.from_json(text).dot()


@pytest.mark.parametrize(
    "text, says",
    [
        ("{}", "its format is not"), ("[1]", "this is not a graph"), ("nonsense", "not a whole graph"),
        ('{"format": "tinygrad_mlsp graph", "version": 2}', "version 2 of the format; this reads 1"),
        ('{"format": "tinygrad_mlsp graph", "version": 1}', "KeyError: 'nodes'"),
        ('{"format": "tinygrad_mlsp graph", "version": 1, "title": "", "nodes": [{"shape": [], "scope": [], '
         '"age": 3}], "edges": []}', "unexpected keyword argument 'age'"),
    ],
)  # fmt: skip
def test_what_is_no_graph_is_not_read(text: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Graph.from_json(text)


def test_networkx_has_all_nodes_edges_and_fields(seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    networkx = pytest.importorskip("networkx")
    for graph in (small(), seen["graph"]):
        made = graph.networkx()
        assert isinstance(made, networkx.MultiDiGraph) and made.graph["title"] == graph.title
        nodes = [Node(id, **fields) for id, fields in made.nodes(data=True)]
        edges = [Edge(a, b, **fields) for a, b, fields in made.edges(data=True)]
        assert nodes == list(graph.nodes)
        assert sorted(map(repr, edges)) == sorted(map(repr, graph.edges))
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(MissingDependency, match=r"tinygrad_mlsp\[viz\]"):
        small().networkx()


def test_a_walk_as_json_has_its_numbers_exactly(device: str) -> None:
    w = tg.Tensor(0.3, requires_grad=True, dtype="float64", device=device)
    walk = viz.walk(tg.tanh(w * w), names={"w": w}, title="two paths")
    record = json.loads(walk.to_json(), parse_constant=pytest.fail)
    assert (record["format"], record["title"]) == ("tinygrad_mlsp walk", "two paths")
    assert [step["op"] for step in record["steps"]] == ["multiply", "tanh"]
    tanh = record["steps"][1]
    assert tanh["formula"]["forward"] == "y = tanh(x)" and tanh["results"][0]["entries"] == list(
        walk.steps[1].value.entries
    )
    (leaf,) = (x for x in record["leaves"] if x["kind"] != "constant")
    assert leaf["gradient"]["entries"] == list(walk.leaves[0].gradient.entries)
    sources = [a["source"] for a in record["steps"][0]["arguments"]]
    assert sources == [leaf["id"]] * 2 and tanh["arguments"][0]["source"] == record["steps"][0]["id"]
    assert Graph.from_json(json.dumps(record["graph"])).to_json() == walk.graph.to_json()


# ---- Notebooks


def shown(thing: Any) -> dict[str, Any]:
    """What a notebook gets of the last line of a cell."""
    formatters = pytest.importorskip("IPython.core.formatters")
    data, _ = formatters.DisplayFormatter().format(thing)
    return dict(data)


def test_everything_displays_itself(seen: dict[str, Any]) -> None:
    made = {name: shown(thing) for name, thing in seen.items()}
    for name in ("graph", "trace"):
        assert "image/svg+xml" in made[name]
        ET.fromstring(made[name]["image/svg+xml"])
    for name in ("walk", "explanation", "player", "diff", "summary", "history"):
        assert balanced(made[name]["text/html"]) == [], name
    for name, found in made.items():
        assert len(found["text/plain"]) < 50_000, name
    x = tg.Tensor(1.0, requires_grad=True)
    model = nn.Linear(2, 1)
    others = {
        "a tensor": (x, "text/html"), "a formula in LaTeX": (interpret.formula("tanh", style="latex"), "text/latex"),
        "a formula": (interpret.formula("tanh"), "text/html"), "a module": (model, "text/plain"),
        "a cost": (cost(lambda x: tg.tanh(x), spec((2, 3))), "text/html"),
        "a gradient check": (tg.check(tg.tanh, tg.Tensor([0.5], dtype="float64")), "text/html"),
        "an optimizer": (tg.optim.SGD(model.parameters(), lr=0.1), "text/plain"),
        "a partition function": (Partition(1.0, 0.5, 1.5, 9.0, 10), "text/html"),
        "curvature": (viz.curvature(lambda: x * x, x), "text/html"),
    }  # fmt: skip
    for name, (thing, kind) in others.items():
        found = shown(thing)
        assert kind in found, name
        assert " object at 0x" not in found["text/plain"], name


def test_where_nothing_can_draw_a_graph_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> bytes:
        raise MissingDependency("nothing draws here")

    monkeypatch.setattr(layout, "render", missing)
    found = shown(small())
    assert "image/svg+xml" not in found and found["text/plain"].startswith("a title: 6 operations, 1 parameter")
    long = Graph(tuple(Node(i, "operation", "tanh") for i in range(1_000)), ())
    assert shown(long)["text/plain"].endswith("lines more: print() it")
    assert repr(long) == "<Graph of 1,000 operations>"


def test_figures_and_their_axes_show_themselves_without_pyplot() -> None:
    pytest.importorskip("matplotlib")
    from tinygrad_mlsp.viz import pictures, plots

    w = tg.Tensor([1.0, 1.0], requires_grad=True)
    surface = viz.surface(lambda: (w * w).sum(), w, np.eye(2), points=3)
    for thing in (
        surface, surface.contour(), surface.relief(), surface.contour().figure, viz.embedding(np.eye(3)),
        plots.gradient_profile({"a": [1.0, 0.1]}), pictures.images(np.eye(4).reshape(1, 4, 4)),
    ):  # fmt: skip
        assert shown(thing)["image/png"], thing


def test_a_history_is_a_table_with_its_first_and_last_epochs() -> None:
    page = History([1 / (i + 1) for i in range(30)], [0.5] * 29)._repr_html_()
    assert balanced(page) == []
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    assert len(rows) == 1 + 5 + 1 + 5 and rows[0] == "<td>epoch</td><td>loss</td><td>accuracy</td>"
    assert rows[1] == "<td>1</td><td>1</td><td>0.5</td>" and rows[-1] == "<td>30</td><td>0.03333</td><td></td>"
    assert balanced(History()._repr_html_()) == []


# ---- Hostile names


def test_hostile_names_leave_every_text_what_it_is(seen: dict[str, Any]) -> None:
    graph, walk = seen["graph"], seen["walk"]
    assert len(graph.nodes) > 3 * len(HOSTILE)
    assert layout.render(graph.dot(), "svg")  # the engine reads it
    svg = ET.fromstring(graph.svg())
    assert not [
        e.tag for e in svg.iter() if e.tag.rpartition("}")[2] in ("script", "img", "b", "image", "foreignObject")
    ]
    assert not [name for e in svg.iter() for name in e.attrib if name.startswith("on")]
    for kind in (graph.to_json(), walk.to_json()):
        json.loads(kind, parse_constant=pytest.fail)
        assert kind.isascii()
    back = Graph.from_json(graph.to_json())
    assert {node.name for node in back.nodes} == {node.name for node in graph.nodes}
    assert {f"{name} w" for name in HOSTILE} <= {node.name for node in back.nodes}
    for page in (graph.html(), seen["explanation"].html()):
        assert balanced(page) == []
    assert balanced(seen["player"].html()) == ["script", "script"]  # its own
    explanation = seen["explanation"]
    for text in (graph.text(), explanation.text(), explanation.markdown(), seen["diff"].text()):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u2028\u202e\ud800]", text)


@pytest.mark.filterwarnings("ignore:Glyph")  # that the font has no such character
def test_hostile_names_are_drawn_in_plots() -> None:
    pytest.importorskip("matplotlib")
    from tinygrad_mlsp.viz import plots

    f = lambda p: p[0] ** 2 + p[1] ** 2
    names = [*HOSTILE, "$\\frac{$", "$x_$ $"]
    ways = {name: [[0.0, 0.0], [1.0, 1.0]] for name in names}
    for figure in (
        viz.trajectories(f, ways, title="".join(names), critical=False).figure,
        viz.embedding(np.eye(len(names)), np.arange(len(names)), names=names).figure,
        plots.gradient_profile({name: [1.0, 0.1] for name in names}),
    ):  # fmt: skip
        assert figure._repr_png_() is not None


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")
def test_pages_with_hostile_names_run_nothing(seen: dict[str, Any], browser: Browser, tmp_path: Path) -> None:
    seen["graph"].save(tmp_path / "graph.html")
    seen["explanation"].save(tmp_path / "explanation.html")
    seen["player"].save(tmp_path / "player.html")
    notebook = "".join(seen[n]._repr_html_() for n in ("walk", "explanation", "diff", "summary", "history"))
    head = "<!doctype html><html lang='en'><meta charset='utf-8'><title>cells</title><body>"
    page = f"{head}{seen['graph']._repr_svg_()}{notebook}</body></html>"
    (tmp_path / "notebook.html").write_text(page, encoding="utf-8", errors="xmlcharrefreplace")
    for name in ("graph", "explanation", "player", "notebook"):
        browser.open(tmp_path / f"{name}.html")
        assert browser.evaluate("window.hacked") is None, name
        assert browser.evaluate("document.querySelectorAll('[onerror],[onload],body > b').length") == 0, name
        assert browser.complaints == [] and browser.requests == [(tmp_path / f"{name}.html").as_uri()], name


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 380])
def test_a_drawing_in_a_page_fits_light_and_dark(dark: bool, width: int, browser: Browser, tmp_path: Path) -> None:
    small().save(tmp_path / "graph.html")
    browser.open(tmp_path / "graph.html", width=width, dark=dark)
    assert browser.text("h1") == "a title"
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    turned = browser.evaluate("getComputedStyle(document.querySelector('svg')).filter")
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (turned, paper) == (
        ("invert(1) hue-rotate(180deg)", "rgb(0, 0, 0)") if dark else ("none", "rgb(255, 255, 255)")
    )
    browser.click("summary")
    assert browser.text("pre").startswith("a title: 6 operations")
