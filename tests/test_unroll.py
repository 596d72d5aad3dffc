"""Backpropagation through time: the gradient of every state against NumPy and `retain_grad`, steps, folds, cuts."""

from __future__ import annotations

import math
import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, viz
from tinygrad_mlsp.errors import DTypeError, GraphError, OptionError
from tinygrad_mlsp.viz.unroll import Unrolled

graphviz = pytest.importorskip("graphviz")


def layer(kind, steps, device="cpu", **options):
    net = getattr(nn, kind)(3, 6, generator=tg.Generator(0), **options).to(device)
    return net, tg.Tensor(tg.Generator(1).normal((steps, 4, 3)).astype("float32"), device=device)


def at_the_end(net, x, **options):
    return lambda: (net(x, **options)[0][-1] ** 2).sum()


def retained(net, x, steps):
    """‖∂L/∂hₜ‖ (and c) the slow way."""
    states = net.unroll(x)
    parts = [s if isinstance(s, tuple) else (s,) for s in states]
    for state in parts:
        for part in state:
            part.retain_grad()
    (parts[-1][0] ** 2).sum().backward()
    return [
        [float(np.linalg.norm(s[i].grad.numpy())) for s in parts if s[i].grad is not None] for i in range(len(parts[0]))
    ]


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_the_gradients_are_those_of_retain_grad(kind, device):
    net, x = layer(kind, 9, device)
    seen = viz.through_time(at_the_end(net, x), net)
    expected = retained(net, x, 9)
    assert list(seen.norms) == ["h", "c"][: len(expected)]
    assert seen.norms["h"] == pytest.approx(expected[0], rel=1e-4)
    if kind == "LSTM":
        assert seen.norms["c"] == pytest.approx(expected[1][:8], rel=1e-4)
    assert seen.steps == 9 and len(seen.gains["h"]) == 8
    assert seen.gains["h"][3] == pytest.approx(expected[0][3] / expected[0][4], rel=1e-4)


def test_no_grad_is_touched_and_a_later_backward_works():
    net, x = layer("GRU", 4)
    with viz.trace(net) as seen:
        loss = at_the_end(net, x)()
    assert len(viz.through_time(loss, net).norms["h"]) == 4 and seen
    assert all(p.grad is None for p in net.parameters())
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_scalar_rnn_by_hand():
    """h_t = tanh(w h_{t−1}): ∂h_T/∂h_t is the product of w (1 − h²)."""
    cell = nn.RNNCell(1, 1, bias=False, dtype="float64")
    cell.weight_hh.copy_([[1.3]])
    cell.weight_ih.copy_([[0.0]])
    h, hs, zero = tg.Tensor([[0.5]], dtype="float64"), [], tg.zeros((1, 1), "float64")

    def loss():
        state = h
        for _ in range(5):
            state = cell(zero, state)
        return state.sum()

    value = 0.5
    for _ in range(5):
        value = math.tanh(1.3 * value)
        hs.append(value)
    expected = [1.0]
    for later in reversed(hs[1:]):
        expected.insert(0, expected[0] * 1.3 * (1 - later * later))
    assert viz.through_time(loss, cell).norms == {"h": pytest.approx(expected)}


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_cells_in_a_loop_are_the_layer(kind):
    net, x = layer(kind, 7)
    cell = getattr(nn, kind + "Cell")(3, 6)
    for a, b in zip(cell.parameters(), net.parameters(), strict=True):
        a.copy_(b.data)

    def loss():
        state = None
        for t in range(7):
            state = cell(x[t], state)
        return ((state[0] if isinstance(state, tuple) else state) ** 2).sum()

    by_cells, by_layer = viz.through_time(loss, cell), viz.through_time(at_the_end(net, x), net)
    assert by_cells.norms.keys() == by_layer.norms.keys()
    for name, values in by_layer.norms.items():
        assert by_cells.norms[name] == pytest.approx(values, rel=1e-4)
    labels = {node.scope[-1] for node in by_cells.graph.nodes if node.scope and "=" in node.scope[-1]}
    assert labels == {f"t={t}" for t in range(1, 8)}


class Two(nn.Module):
    """Two cells a step, a linear readout that is used at every step, and an activation that is shared."""

    def __init__(self):
        generator = tg.Generator(0)
        self.low, self.high = nn.RNNCell(3, 4, generator=generator), nn.GRUCell(4, 5, generator=generator)
        self.relu, self.read = nn.ReLU(), nn.Linear(5, 2, generator=generator)

    def forward(self, x):
        a = b = None
        total = 0.0
        for t in range(len(x)):
            a = self.low(x[t], a)
            b = self.high(self.relu(a), b)
            total = total + (self.read(b) ** 2).sum()
        return total


def test_two_cells_a_step_are_two_runs_and_a_readout_is_none():
    model, (_, x) = Two(), layer("RNN", 5)
    seen = viz.through_time(lambda: model(x), model)
    assert len(seen.norms) == 2
    assert all(len(v) == 5 and min(v) > 0 for v in seen.norms.values())
    assert all("read" not in name and "relu" not in name for name in seen.norms)


def test_layers_and_directions_are_runs_of_their_own():
    net, x = layer("LSTM", 5, num_layers=2)
    seen = viz.through_time(at_the_end(net, x), net)
    assert [*seen.norms] == ["LSTM layer 1 h", "LSTM layer 1 c", "LSTM layer 2 h", "LSTM layer 2 c"]
    states = net.unroll(x)
    for h, _ in states:
        h.retain_grad()
    (states[-1][0] ** 2).sum().backward()
    assert seen.norms["LSTM layer 2 h"] == pytest.approx([np.linalg.norm(h.grad.numpy()) for h, _ in states], rel=1e-4)
    net, x = layer("RNN", 5, bidirectional=True)
    both = viz.through_time(lambda: (net(x)[0] ** 2).sum(), net)
    assert len(both.norms) == 2 and all(len(v) == 5 for v in both.norms.values())


def test_variants_that_end_in_other_operations():
    net, x = layer("LSTM", 6, proj_size=2)
    assert viz.through_time(at_the_end(net, x), net).norms["h"] == pytest.approx(retained(net, x, 6)[0], rel=1e-4)
    net, x = layer("LSTM", 6, peephole=True)
    seen, slow = viz.through_time(at_the_end(net, x), net), retained(net, x, 6)
    assert seen.norms["h"] == pytest.approx(slow[0], rel=1e-4)
    assert seen.norms["c"][:5] == pytest.approx(slow[1][:5], rel=1e-4)


# Cuts


def test_cuts_are_found_drawn_and_stop_the_gradient():
    net, x = layer("RNN", 12)
    seen = viz.through_time(at_the_end(net, x, detach_every=5), net, title="truncated")
    assert seen.cuts == (6, 11)
    assert seen.norms["h"][:10] == [0] * 10 and min(seen.norms["h"][10:]) > 0
    assert seen.verdict().word == "cut" and "before step 11" in seen.verdict().sentence
    assert "cut before 6, 11" in seen.text()
    shown = seen.folded(12)
    assert sum(node.op == "cut" for node in shown.nodes) == 2
    folded = seen.folded(2)
    assert any(node.name.endswith(", 2 cuts") for node in folded.nodes if node.kind == "group")
    assert "dashed" in seen.folded(12).dot()


# Folding


@pytest.mark.parametrize("shown", [1, 2, 3, 5, 11, 99])
def test_folding_keeps_first_last_and_some_between(shown):
    net, x = layer("RNN", 11)
    seen = viz.through_time(at_the_end(net, x), net)
    graph = seen.folded(shown)
    there = [node.scope[-1] for node in graph.nodes if node.scope and node.scope[-1].startswith("t=")]
    steps = sorted({int(s[2:]) for s in there})
    assert len(steps) >= min(shown, 11)
    assert steps[-1] == 11 and (shown == 1 or steps[0] == 1)
    assert graph.operations == seen.graph.operations
    ET.fromstring(seen.svg(shown=shown))


def test_gaps_are_named_by_their_steps():
    net, x = layer("GRU", 30)
    graph = viz.through_time(at_the_end(net, x), net).folded(3)
    names = [node.name for node in graph.nodes if node.kind == "group"]
    assert names == ["t=2 … t=14", "t=16 … t=29"] or names == ["t=2 … t=15", "t=17 … t=29"]


# What it is given


def test_a_walk_a_trace_and_a_loss_give_the_same():
    net, x = layer("RNN", 6)
    with viz.trace(net) as seen:
        loss = at_the_end(net, x)()
        walked = viz.walk(loss, net, trace=seen)
        expected = viz.through_time(loss, net).norms["h"]
        assert viz.through_time(walked).norms["h"] == pytest.approx(expected)
    with viz.trace(net) as seen:
        at_the_end(net, x)().backward()
    assert viz.through_time(seen).norms["h"] == pytest.approx(expected, rel=1e-4)


def test_steps_marked_by_hand():
    w, h = tg.Tensor(0.9, requires_grad=True, dtype="float64"), tg.Tensor(0.4, dtype="float64")
    with viz.trace() as seen:
        for t in range(4):
            with seen.step(f"t={t + 1}"):
                h = tg.tanh(w * h)
    assert len(viz.through_time(h).norms["h"]) == 4


def test_what_has_no_steps_is_refused():
    net, x = layer("LSTM", 5)
    outside = at_the_end(net, x)()
    with pytest.raises(GraphError, match=r"one operation.*pass a function"):
        viz.through_time(outside)
    plain = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    with pytest.raises(GraphError, match="no time steps"):
        viz.through_time(lambda: plain(x).sum(), plain)
    shared = nn.ReLU()
    with pytest.raises(GraphError, match="no time steps"):
        viz.through_time(lambda: nn.Sequential(nn.Linear(3, 3), shared, nn.Linear(3, 3), shared)(x).sum())
    with pytest.raises(GraphError, match="scalar"):
        viz.through_time(lambda: net(x)[0])
    with pytest.raises(GraphError, match=r"nothing|not computed from"):
        viz.through_time(tg.Tensor(1.0))
    with pytest.raises(DTypeError):
        viz.through_time(3)
    with pytest.raises(OptionError, match="by name"):
        viz.compare_through_time([])
    with viz.trace(net) as seen:
        at_the_end(net, x)()
    with pytest.raises(GraphError, match=r"no backward|no time steps"):
        viz.through_time(seen)


# Side by side


def test_three_kinds_side_by_side():
    pytest.importorskip("matplotlib")
    losses = {kind: at_the_end(*layer(kind, 20)) for kind in ("RNN", "LSTM", "GRU")}
    both = viz.compare_through_time(losses, title="Who forgets?")
    assert [*both.curves] == ["RNN ∂L/∂h", "LSTM ∂L/∂h", "LSTM ∂L/∂c", "GRU ∂L/∂h"]
    axes = both.profile()
    assert axes.get_xlabel() == "time step"
    assert both.curves["RNN ∂L/∂h"][0] < both.curves["GRU ∂L/∂h"][0]
    page = both._repr_html_()
    assert page.count("<svg") == 3 and page.count("<img") == 1
    assert len(both.markdown().splitlines()) > 14 and "LSTM: h:" in both.text()


def test_hostile_names():
    name = "</script>--><b>\"'|$日本\n" + "x" * 10_000
    seen = viz.compare_through_time({name: at_the_end(*layer("RNN", 3))}, title=name)
    page = seen._repr_html_()
    assert "</script>" not in page and "<b>" not in page
    assert "\n\n" not in seen.text() and seen.markdown()


def test_an_open_forget_gate_carries_the_gradient():
    closed, x = layer("LSTM", 40)
    opened, _ = layer("LSTM", 40)
    opened.bias_ih_l0.copy_(opened.bias_ih_l0.data + np.repeat([0, 4, 0, 0], 6).astype("float32"))
    a, b = (viz.through_time(at_the_end(net, x), net) for net in (closed, opened))
    assert a.verdict().word == "vanishing" and b.norms["c"][0] > 1e5 * a.norms["c"][0]
    assert b.gains["c"][10] == pytest.approx(1, abs=0.2)


def test_two_hundred_steps_in_seconds(tmp_path):
    net, x = layer("LSTM", 200)
    start = time.perf_counter()
    seen = viz.through_time(at_the_end(net, x), net)
    seen.save(tmp_path / "time.svg")
    assert isinstance(seen, Unrolled) and len(seen.folded().nodes) < 60
    assert time.perf_counter() - start < 10
