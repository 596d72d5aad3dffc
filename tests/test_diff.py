"""The diff of two graphs: what came, what went, and by how much numbers changed."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, viz
from tinygrad_mlsp.errors import OptionError
from tinygrad_mlsp.viz.walk import Leaf, Step


class Deep(nn.Module):
    """Layers of tanh, plain or with x + around each."""

    def __init__(self, layers: int, residual: bool, device: str = "cpu") -> None:
        generator = tg.Generator(0)
        self.layers = nn.ModuleList([nn.Linear(4, 4, generator=generator) for _ in range(layers)])
        self.residual = residual
        self.to(device)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        for layer in self.layers:
            y = tg.tanh(layer(x))
            x = x + y if self.residual else y
        return x


def walked(model: nn.Module, device: str) -> viz.Walk:
    x = tg.Tensor(tg.Generator(1).normal((3, 4)), device=device)
    with viz.trace(model) as seen:
        loss = (model(x) ** 2).mean()
    return viz.walk(loss, model, trace=seen)


def test_the_same_graph_differs_in_nothing(device: str) -> None:
    model = Deep(3, residual=False, device=device)
    made = viz.diff(walked(model, device), walked(model, device))
    assert made.same_structure
    assert made.text() == "before: 8 operations; after: 8. The structure is the same.\nNo number differs.\n"


def test_plain_against_residual(device: str) -> None:
    plain, residual = (walked(Deep(6, r, device), device) for r in (False, True))
    made = viz.diff(plain, residual, names=("plain", "residual"))
    came = [p.b for p in made.steps if p.change == "+"]
    assert [step.op for step in came if isinstance(step, Step)] == ["add"] * 6
    assert not any(p.change == "−" for p in made.steps) and not made.same_structure
    text = made.text()
    assert text.startswith("plain: 14 operations; residual: 20. 6 came, 0 went.\n")
    grads = [
        next(leaf.gradient.norm for leaf in w.leaves if leaf.name == "layers.0.weight" and leaf.gradient)
        for w in (plain, residual)
    ]
    assert f"gradient of layers.0.weight: {grads[0]:.3g} → {grads[1]:.3g}, × {grads[1] / grads[0]:.3g}" in text


def test_an_edit_in_the_middle_is_found_where_it_is() -> None:
    def loss(edit: bool) -> viz.Walk:
        x = tg.Tensor([0.5, 0.2], requires_grad=True)
        y = tg.tanh(tg.exp(x) * 2.0)
        y = tg.sigmoid(y) if edit else tg.square(y)
        return viz.walk((y + 1.0).sum())

    made = viz.diff(loss(False), loss(True))
    changed = [(p.change, (p.a or p.b).op) for p in made.steps if p.change]  # type: ignore[union-attr]
    assert sorted(changed) == [("+", "sigmoid"), ("−", "square")]
    places = [(p.a or p.b).op for p in made.steps]  # type: ignore[union-attr]
    assert places[:3] == ["exp", "multiply", "tanh"] and places[-2:] == ["add", "sum"]


def test_numbers_before_and_after_an_update(device: str) -> None:
    model = Deep(2, residual=False, device=device)
    before = walked(model, device)
    model.layers[0].weight.copy_(model.layers[0].weight.detach() * 3.0)
    made = viz.diff(before, walked(model, device))
    assert made.same_structure
    pair = next(p for p in made.leaves if isinstance(p.b, Leaf) and p.b.name == "layers.0.weight")
    assert isinstance(pair.a, Leaf) and pair.a.value and pair.b.value
    assert pair.b.value.norm == pytest.approx(3 * pair.a.value.norm)
    assert f"value of layers.0.weight: {pair.a.value.norm:.3g} → {pair.b.value.norm:.3g}, × 3" in made.text()


def test_a_parameter_that_went_is_told(device: str) -> None:
    made = viz.diff(walked(Deep(3, False, device), device), walked(Deep(2, False, device), device))
    assert "− parameter layers.2.weight, 4×4" in made.text()


def test_the_joint_graph_has_both_and_is_drawn(device: str, tmp_path: Path) -> None:
    made = viz.diff(*(walked(Deep(3, r, device), device) for r in (True, False)), names=("residual", "plain"))
    graph = made.graph
    assert sum(n.change == "−" and n.op == "add" for n in graph.nodes) == 3
    assert sum(n.change == "+" for n in graph.nodes) == 0
    assert graph.operations == len(made.a.steps)  # plain has nothing that residual lacks
    kept = [e for e in graph.edges if e.before is not None]
    assert kept and all(e.norm is not None for e in kept)
    dot = graph.dot()
    assert 'label="− add' in dot and "dashed" in dot and " → " in dot
    folded = graph.collapsed(depth=0)
    assert {"±", ""} >= {n.change for n in folded.nodes if n.kind == "group"}
    made.save(tmp_path / "diff.svg")
    made.save(tmp_path / "diff.txt")
    assert "− add" in (tmp_path / "diff.svg").read_text(encoding="utf-8")
    assert (tmp_path / "diff.txt").read_text(encoding="utf-8").startswith("residual: ")


def test_long_graphs_are_matched_by_their_modules() -> None:
    def walked_over(steps: int) -> viz.Walk:
        cell = nn.RNNCell(2, 2, generator=tg.Generator(0))
        with viz.trace() as seen:
            h = cell(tg.ones((1, 2)))
            for _ in range(steps - 1):
                h = cell(tg.ones((1, 2)), h)
            loss = h.sum()
        return viz.walk(loss, cell, trace=seen, keep=1)

    made = viz.diff(walked_over(900), walked_over(901))
    assert sum(p.change == "+" for p in made.steps) == len(made.b.steps) - len(made.a.steps)
    assert not any(p.change == "−" for p in made.steps)


def test_wrong_input() -> None:
    x = tg.Tensor(1.0, requires_grad=True)
    with pytest.raises(OptionError, match="b is a scalar Tensor, a function that computes one, or a Walk; got 3"):
        viz.diff(x * 2, 3)  # type: ignore[arg-type]
