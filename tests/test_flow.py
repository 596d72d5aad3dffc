"""Gradient flow while a net is trained: what is recorded against plain NumPy, the verdicts on nets made to fail."""

from __future__ import annotations

import gc
import math
import re
import weakref

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim, train, viz
from tinygrad_mlsp.backend import norm_of, to_numpy
from tinygrad_mlsp.errors import DTypeError, OptionError
from tinygrad_mlsp.viz import flow as flow_module
from tinygrad_mlsp.viz.flow import DECADES, advice

HOSTILE = "</script>--><b>\"'|$日本\n" + "x" * 10_000


def deep(activation, depth=30, width=32, *, gain=None, bias=None, scale=1.0, he=False, device="cpu"):
    generator, parts = tg.Generator(0), []
    for _ in range(depth):
        layer = nn.Linear(width, width, generator=generator)
        if he:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        if gain is not None:
            layer.weight.copy_(generator.normal((width, width)) * (gain / width**0.5))
        layer.weight.copy_(layer.weight.data * scale)
        if bias is not None:
            layer.bias.copy_(np.full(width, bias, np.float32))
        parts += [layer, activation()]
    return nn.Sequential(*parts, nn.Linear(width, 10, generator=generator)).to(device)


def batch(device="cpu", n=64, width=32):
    x = tg.Generator(1).normal((n, width)).astype("float32")
    return tg.Tensor(x, device=device), tg.Tensor(np.arange(n) % 10, device=device)


def fit(model, steps=3, every=1, lr=1e-3, device="cpu", **options):
    x, y = batch(device)
    optimizer = optim.SGD(model.parameters(), lr=lr)
    with viz.watch(model, every=every, **options) as flow:
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return flow


class Residual(nn.Module):
    def __init__(self, width, generator):
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width, generator=generator), nn.ReLU())

    def forward(self, x):
        return x + self.inner(x)


# What is recorded


def test_what_is_recorded_is_what_numpy_computes(device):
    model = deep(nn.Tanh, depth=2, device=device)
    w1, b1, w2, b2, w3, b3 = (to_numpy(p.data).astype(float) for p in model.parameters())
    flow = fit(model, steps=2, lr=0.1, device=device)
    x, y = (to_numpy(a.data).astype(float) for a in batch(device))
    h1 = np.tanh(x @ w1.T + b1)
    h2 = np.tanh(h1 @ w2.T + b2)
    z = h2 @ w3.T + b3
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    g3 = (p - np.eye(10)[y.astype(int)]) / len(x)
    gh2 = g3 @ w3
    g2 = gh2 * (1 - h2**2)
    gh1 = g2 @ w2
    g1 = gh1 * (1 - h1**2)
    assert flow.layers == ["0", "1", "2", "3", "4"]
    assert flow.steps == [1, 2]
    expected = [np.linalg.norm(g) for g in (g1, gh1, g2, gh2, g3)]
    assert flow.values()[0] == pytest.approx(expected, rel=1e-4)
    weight = [np.hypot(np.linalg.norm(w), np.linalg.norm(b)) for w, b in ((w1, b1), (w2, b2), (w3, b3))]
    assert flow.values("weight")[0, ::2] == pytest.approx(weight, rel=1e-5)
    back = [np.hypot(np.linalg.norm(g.T @ a), np.linalg.norm(g.sum(axis=0))) for g, a in ((g1, x), (g2, h1), (g3, h2))]
    assert flow.values("weight_gradient")[0, ::2] == pytest.approx(back, rel=1e-4)
    assert flow.values("update")[0, ::2] == pytest.approx(0.1 * np.array(back) / weight, rel=1e-3)
    assert np.isnan(flow.values("weight")[0, 1::2]).all()
    assert flow.values("saturated")[0, 1] == pytest.approx(np.mean(1 - h1**2 < 0.05), abs=1e-6)


def test_norms_are_right_where_squares_under_and_overflow(device):
    for size, dtype in (
        (1e-40, "float32"),
        (1e30, "float32"),
        (1e-200, "float64"),
        (1e200, "float64"),
        (0.0, "float64"),
    ):
        x = tg.Tensor(np.full((3, 3), size, dtype), device=device)
        assert float(norm_of(x.data)) == pytest.approx(3 * float(np.asarray(size, dtype)), rel=1e-6)
    assert float(norm_of(tg.Tensor(np.array([3 + 4j]), device=device).data)) == pytest.approx(5)
    for odd in (math.inf, math.nan):
        found = float(norm_of(tg.Tensor(np.array([1.0, odd]), device=device).data))
        assert not math.isfinite(found)
    assert float(norm_of(tg.Tensor(np.zeros((0, 2)), device=device).data)) == 0


def test_the_trainer_and_watch_agree_on_the_gradients():
    model = deep(nn.Tanh, depth=2)
    x, y = batch()
    seen, flow = train.GradientFlow(), viz.watch(model, every=1)
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    train.fit(model, nn.functional.cross_entropy, optimizer, [(x, y)] * 3, 1, callbacks=[seen, flow], progress=False)
    assert flow.steps == seen.steps.tolist() == [1, 2, 3]
    joint = np.hypot(seen.norms[:, ::2], seen.norms[:, 1::2])
    assert flow.values("weight_gradient")[:, ::2] == pytest.approx(joint)
    flow.remove()


def test_it_leaves_no_hooks_and_changes_nothing():
    plain, watched = deep(nn.ReLU, depth=3), deep(nn.ReLU, depth=3)
    x, y = batch()
    before = [dict(vars(m)) for m in watched.modules()]
    fit(watched, steps=4, every=2, lr=0.1)
    optimizer = optim.SGD(plain.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(x), y).backward()
        optimizer.step()
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
    assert [set(vars(m)) for m in watched.modules()] == [set(d) for d in before]
    assert all(not p._node.watch.hooks for p in watched.parameters())


def test_every_so_many_steps_and_bounded_memory():
    model = deep(nn.Tanh, depth=1)
    assert fit(model, steps=7, every=3).steps == [1, 4, 7]
    flow = fit(model, steps=40, every=1, keep=8)
    assert len(flow.steps) <= 8 and flow.every == 8
    assert flow.steps == [1, 9, 17, 25, 33]


def test_the_graph_of_a_step_is_not_kept():
    model = deep(nn.ReLU, depth=1)
    flow = viz.watch(model, every=1)
    x, y = batch()
    loss = nn.functional.cross_entropy(model(x), y)
    gone = weakref.ref(loss)
    loss.backward()
    del loss
    gc.collect()
    assert gone() is None
    flow.remove()


def test_evaluation_frozen_parts_and_a_read_in_the_middle():
    model = deep(nn.Tanh, depth=2)
    flow = viz.watch(model, every=1)
    x, y = batch()
    with tg.no_grad():
        model(x)
    model(x)  # recorded, but nothing goes back
    assert flow.steps == []
    assert flow.verdict().word == "unknown"
    model[0].requires_grad_(False)
    nn.functional.cross_entropy(model(x), y).backward()
    assert len(flow.steps) == 1
    values = flow.values()
    assert np.isnan(values[0, flow.layers.index("0")]) and np.isfinite(values[0, flow.layers.index("2")])
    assert np.isnan(flow.values("update")).all(), "no update was made"
    model[0].requires_grad_(True)  # a new node
    nn.functional.cross_entropy(model(x), y).backward()
    assert np.isfinite(flow.values("weight_gradient")[1, flow.layers.index("0")])
    flow.remove()
    nn.functional.cross_entropy(model(x), y).backward()
    assert len(flow.steps) == 2


class Shared(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(4, 4, generator=tg.Generator(0))
        self.again = self.layer

    def forward(self, x):
        return self.again(tg.tanh(self.layer(x)))


def test_a_shared_module_counts_once_with_all_its_calls():
    model = Shared()
    x = tg.Tensor(tg.Generator(1).normal((5, 4)).astype("float32"))
    with viz.watch(model, every=1) as flow:
        model(x).sum().backward()
    w, b = (p.numpy().astype(float) for p in model.parameters())
    h = np.tanh(x.numpy() @ w.T + b)
    g = np.ones((5, 4))
    first = (g @ w) * (1 - h * h)
    assert flow.layers == ["layer"]
    assert flow.values()[0, 0] == pytest.approx(math.hypot(np.linalg.norm(g), np.linalg.norm(first)), rel=1e-5)
    assert flow.values("saturated")[0, 0] == pytest.approx(np.mean(1 - h * h < 0.05)), "tanh as a function"


class Over(nn.Module):
    def __init__(self, kind, generator):
        self.cell = getattr(nn, kind)(3, 5, generator=generator)

    def forward(self, x):
        state = None
        for t in range(len(x)):
            state = self.cell(x[t], state)
        return state[0] if isinstance(state, tuple) else state


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_over_time(kind, device):
    model = Over(kind, tg.Generator(0)).to(device)
    x = tg.Tensor(tg.Generator(1).normal((6, 2, 3)).astype("float32"), device=device)
    with viz.watch(model, every=1) as flow:
        for _ in range(2):
            model(x).sum().backward()
    assert flow.steps == [1, 2]
    assert flow.values()[0, 0] == pytest.approx(flow.values()[1, 0])
    assert np.isnan(flow.values("saturated")[0, 0]) == (kind != "RNNCell")


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_layers_over_time_stay_one_operation(kind):
    net = getattr(nn, kind)(3, 5, generator=tg.Generator(0))
    x = tg.Tensor(tg.Generator(1).normal((6, 2, 3)).astype("float32"))
    with viz.watch(net, every=1) as flow:
        net(x)[0].sum().backward()
    assert flow.layers == [kind] and flow.values()[0, 0] == pytest.approx(math.sqrt(60))


def test_histograms_count_every_sampled_entry(device):
    flow = fit(deep(nn.ReLU, depth=2, device=device), device=device, sample=100)
    counts = flow.counts("activation")
    assert counts.shape == (3, 5, len(DECADES) + 1)
    assert (counts.sum(axis=2)[:, [0, 1]] == 98).all()  # every 21st of 2,048
    share = counts[0, 1, 0] / 98  # of zeros behind a ReLU
    assert 0.2 < share < 0.8
    found = flow_module._counted(np.array([0, 1e-30, 1e-3, 2e-3, 5.0, 1e9, np.inf, np.nan]), [(None, np.zeros(8))])[0]
    assert found.sum() == 8 and found[0] == 1 and found[1] == 1 and found[-1] == 3
    assert found[1 - 3 - DECADES[0]] == 2 and found[1 - DECADES[0]] == 1


# Verdicts


@pytest.mark.parametrize(
    "word, place, net",
    [
        ("vanishing", None, lambda device: deep(nn.Sigmoid, device=device)),
        ("exploding", None, lambda device: deep(nn.Identity, gain=3, device=device)),
        ("dead", "1", lambda device: deep(nn.ReLU, depth=4, bias=-10.0, device=device)),
        ("saturated", "1", lambda device: deep(nn.Sigmoid, depth=4, scale=50, device=device)),
        ("saturated", "1", lambda device: deep(nn.Tanh, depth=4, scale=50, device=device)),
        ("healthy", "", lambda device: deep(nn.ReLU, he=True, device=device)),
    ],
)
def test_verdicts(word, place, net, device):
    flow = fit(net(device), steps=1, device=device)
    verdict = flow.verdict()
    assert verdict.word == word, verdict
    assert verdict.sentence.startswith(word)
    if place is not None:
        assert verdict.layer == place
    else:  # the first beyond the threshold, going back from the loss
        g = flow.values()[0]
        beyond = g < g[-1] / 100 if word == "vanishing" else g > g[-1] * 100
        assert flow.layers.index(verdict.layer) == verdict.place == np.flatnonzero(beyond)[-1]
    assert bool(verdict.advice) == (word != "healthy")
    if word == "vanishing":
        assert any("sigmoid" in line for line in verdict.advice)


def test_a_residual_net_is_healthy():
    generator = tg.Generator(0)
    model = nn.Sequential(*(Residual(32, generator) for _ in range(30)), nn.Linear(32, 10, generator=generator))
    assert fit(model, steps=2).verdict().word == "healthy"


def test_one_dead_layer_is_found_and_a_unit_that_lives_once_is_not_never_alive():
    model = deep(nn.ReLU, depth=3)
    model[2].bias.copy_(np.full(32, -10, np.float32))
    flow = viz.watch(model, every=1)
    x, y = batch()
    nn.functional.cross_entropy(model(x), y).backward()
    assert flow.verdict().layer == "3" and flow.never_alive["3"] == 1
    model[2].bias.copy_(np.full(32, 1, np.float32))
    nn.functional.cross_entropy(model(x), y).backward()
    assert flow.verdict().word == "healthy"
    assert flow.verdict(at=0).word == "dead" and flow.never_alive["3"] < 0.1
    flow.remove()


def test_what_is_not_finite_is_named():
    model = deep(nn.Identity, depth=3)
    for layer in (model[2], model[4]):
        layer.weight.copy_(np.full((32, 32), 1e30, np.float32))
    with np.errstate(all="ignore"):
        flow = fit(model, steps=1)
    assert flow.verdict().word == "not finite"


def test_a_threshold_that_moves_moves_the_verdict(monkeypatch):
    flow = fit(deep(nn.Sigmoid, depth=4, scale=50), steps=1)
    monkeypatch.setattr(flow_module, "SLOPE", 1e-9)
    monkeypatch.setitem(flow_module.MOST, "saturated", 0.99)
    assert flow.verdict().word != "saturated"


def test_recurrent_nets_get_advice_of_their_own():
    assert any("forget-gate" in line for line in advice("vanishing", set(), True))
    assert not any("forget-gate" in line for line in advice("vanishing", set()))
    assert advice("healthy", set()) == ()


# Views


@pytest.fixture(scope="module")
def recorded():
    return fit(deep(nn.ReLU, depth=3), steps=5, lr=0.1)


def test_views(recorded):
    pytest.importorskip("matplotlib")
    for axes in (
        recorded.profile(), recorded.heat_map(), recorded.heat_map("dead"), recorded.heat_map("update"),
        recorded.histogram(), recorded.histogram("activation", layer="1"),
    ):  # fmt: skip
        assert axes.figure.axes[0] is axes
        assert axes.get_xlabel()
    table = recorded.heat_map()
    assert [t.get_text() for t in table.get_yticklabels()][:2] == ["0 Linear", "1 ReLU"]
    assert any(re.fullmatch(r"\de-\d+", t.get_text()) for t in table.texts), "numbers stand in the cells"
    assert "<img" in recorded._repr_html_() and recorded._repr_html_().count("<tr>") == 8


def test_text_and_markdown_say_the_same(recorded):
    text, markdown = recorded.text(), recorded.markdown()
    assert text.startswith("healthy: ") and markdown.startswith("**healthy**")
    assert len([line for line in markdown.splitlines() if line.startswith("|")]) == 9
    for row in recorded.rows():
        assert row[0] in text and row[0] in markdown
    assert "5 records of 5 steps" in repr(recorded)


def test_a_heat_map_shows_what_has_no_logarithm():
    pytest.importorskip("matplotlib")
    from tinygrad_mlsp.viz.plots import heat_map

    axes = heat_map([[1.0, 0.0], [math.inf, math.nan]], ["a", "b"], ["1", "2"])
    assert [t.get_text() for t in axes.texts] == ["1e0", "0", "∞", ""]


def test_hostile_names_break_nothing():
    pytest.importorskip("matplotlib")
    model = nn.Sequential(nn.Linear(4, 4))
    model.register_module(HOSTILE.replace(".", ""), nn.Tanh())
    with viz.watch(model, every=1) as flow:
        y = model(tg.Tensor(np.ones((2, 4), np.float32)))
        getattr(model, HOSTILE.replace(".", ""))(y).sum().backward()
    shown = flow._repr_html_()
    assert "</script>" not in shown and '<b>"' not in shown
    assert "\n" not in flow.rows()[-1][0] and len(flow.rows()[-1][0]) < 80
    flow.heat_map().figure.canvas.draw()
    assert flow.text() and flow.markdown()


@pytest.mark.parametrize("options", [{"every": 0}, {"every": 1.5}, {"keep": "a"}, {"sample": -1}])
def test_numbers_that_are_none(options):
    with pytest.raises(OptionError, match="whole number of 1 or more"):
        viz.watch(nn.Linear(2, 2), **options)


def test_errors_say_what_there_is(recorded):
    with pytest.raises(DTypeError, match="takes a module"):
        viz.watch(3)
    with pytest.raises(OptionError, match="no measure 'nothing', only gradient"):
        recorded.values("nothing")
    with pytest.raises(OptionError, match="no layer"):
        recorded.histogram(layer="nothing")
    with pytest.raises(OptionError, match="no record 99"):
        recorded.verdict(at=99)
    with pytest.raises(OptionError, match="train a step"):
        viz.watch(nn.Linear(2, 2)).profile()


# In the graph: local gains


def test_the_gains_along_a_chain_multiply_to_the_gradient_also_when_modules_are_folded():
    model = deep(nn.Sigmoid, depth=6)
    x, y = batch()
    with viz.trace() as seen:
        nn.functional.cross_entropy(model(x), y).backward()
    whole = seen.graph()
    for graph in (whole, whole.collapsed(depth=1), whole.collapsed(depth=0), whole.collapsed(limit=12)):
        computed = {node.id for node in graph.nodes if node.kind in ("operation", "group")}
        into = {e.target: e for e in graph.edges if e.source in computed and e.norm is not None}
        (at,) = computed - {e.source for e in graph.edges}
        product, steps = 1.0, 0
        while at in into:
            edge = into[at]
            product *= edge.gain
            assert product == pytest.approx(edge.norm, rel=1e-5)
            at, steps = edge.source, steps + 1
        assert steps >= (12 if len(graph.nodes) > 12 else 1)
    assert "× 0." in whole.collapsed(depth=1).dot()


def test_one_transfer_a_record(device, monkeypatch):
    moved = []
    real = flow_module.to_device
    monkeypatch.setattr(flow_module, "to_device", lambda a, d: moved.append(a.shape) or real(a, d))
    flow = fit(deep(nn.Tanh, depth=10, device=device), steps=4, every=2, device=device)
    assert len(moved) == len(flow.steps) == 2


def test_an_empty_batch_has_no_dead_units():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with viz.watch(net, every=1) as flow:
        net(tg.Tensor(np.zeros((0, 4), "float32"))).sum().backward()
    assert np.isnan(flow.values("dead")).all()
    assert flow.verdict().word != "dead"
