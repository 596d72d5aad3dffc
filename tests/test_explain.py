"""Derivations: that they read as on the board, and that every number in them is the engine's own."""

from __future__ import annotations

import importlib.util
import re
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from browser import CHROMIUM, Browser

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, viz
from tinygrad_mlsp.errors import GraphError, OptionError

EXAMPLE = Path(__file__).parent.parent / "examples" / "backprop_on_the_board.py"


@pytest.fixture(scope="module")
def board() -> ModuleType:
    spec = importlib.util.spec_from_file_location("backprop_on_the_board", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scalar() -> viz.Explanation:
    w, x, b = (tg.Tensor(v, requires_grad=True, dtype="float64") for v in (0.5, 2.0, -0.3))
    return viz.explain(
        lambda: (tg.tanh(w * x + b) - 1.0) ** 2 * 0.5 + w * 0.1, names={"w": w, "x": x, "b": b}, title="A neuron"
    )


def test_a_scalar_reads_like_a_lecture() -> None:
    text = scalar().text()
    forward, backward = text.split("Backward\n")
    for line in ("z₁ = w x = 0.5 · 2 = 1", "z₂ = z₁ + b = 1 + (−0.3) = 0.7", "z₃ = tanh(z₂) = tanh(0.7) = 0.6044"):
        assert f"   {line}\n" in forward
    assert "6. tanh: z₃ = tanh(z₂)\n   z̄₃ = −0.3956\n   ∂z₃/∂z₂ = 1 − z₃² = 1 − 0.6044² = 0.6347\n" in backward
    assert "   z̄₂ ← z̄₃ · ∂z₃/∂z₂ = (−0.3956) · 0.6347 = −0.2511\n" in backward
    assert "   ∂L/∂w = −0.4022    ((−0.5022) by z₁ + 0.1 by z₇: a sum over the 2 paths)\n" in backward


def test_its_steps_go_backward_in_order_and_each_number_is_the_gradient() -> None:
    made = scalar()
    assert [part.heading.split(":")[0] for part in made.backward] == [
        "add", "multiply", "multiply", "square", "subtract", "tanh", "add", "multiply",
    ]  # fmt: skip
    z = np.tanh(0.5 * 2 - 0.3)
    assert made.walk.leaves[0].gradient is not None
    assert made.walk.leaves[0].gradient.entries[0] == pytest.approx((z - 1) * (1 - z * z) * 2 + 0.1)


def test_the_mlp_of_lecture_1_comes_out_and_its_slides_sign_is_wrong(board: ModuleType) -> None:
    made, of = board.regression()
    text = made.text()
    for line in ("h = tanh(z₁)", "e = t − z₂", "z̄₂ = −ē", "v̄ = hᵀ z̄₂", "h̄ = z̄₂ v", "∂h/∂z₁ = 1 − h²", "W̄ = xᵀ z̄₁"):
        assert f"   {line} = " in text, line
    e, h = of["e"].numpy(), of["h"].numpy()
    gradient = {leaf.letter: leaf.gradient for leaf in made.walk.leaves if leaf.gradient}["v"]
    np.testing.assert_allclose(gradient.entries, -e @ h)  # the formula
    assert not np.allclose(gradient.entries, e @ h)  # the slide
    # and the slide's direction climbs: a step against it raises the loss
    v, x, t, w = (of[name].numpy() for name in ("v", "x", "t", "W"))
    loss = lambda v: 0.5 * ((t - np.tanh(x @ w) @ v) ** 2).sum()
    assert loss(v - 0.01 * (-e @ h)) < loss(v) < loss(v - 0.01 * (e @ h))


def test_the_mask_of_lecture_2_comes_back_in_the_gradient(board: ModuleType) -> None:
    made, of = board.dropout()
    text = made.text()
    for line in ("h = g m", "ḡ = h̄ m", "∂g/∂a = g − g²", "ā ← ḡ · ∂g/∂a", "c̄ = s̄", "h̄ = Vᵀ z̄₂"):
        assert f"   {line} = " in text, line
    f, g, m, v = (of[name].numpy() for name in ("f", "g", "m", "V"))
    s = np.exp(f) - np.array([1.0, 0.0])  # the slide: −(e(y) − f(x))
    a = (v.T @ s) * g * (1 - g) * m
    gradients = {leaf.letter: np.array(leaf.gradient.entries) for leaf in made.walk.leaves if leaf.gradient}
    np.testing.assert_allclose(gradients["c"], s, atol=1e-12)
    np.testing.assert_allclose(gradients["b"], a, atol=1e-12)
    np.testing.assert_allclose(gradients["V"], np.outer(s, g * m).ravel(), atol=1e-12)
    np.testing.assert_allclose(gradients["W"], np.outer(a, of["x"].numpy()).ravel(), atol=1e-12)


def test_markdown_has_the_formulas_in_latex() -> None:
    made = scalar().markdown()
    assert made.startswith("# A neuron\n")
    assert r"- $\frac{\partial z_{3}}{\partial z_{2}} = 1 - z_{3}^{2}$ = 1 − 0.6044² = 0.6347" in made
    assert r"- $\frac{\partial L}{\partial w}$ = −0.4022" in made


def test_modules_and_parameters_are_named(device: str) -> None:
    generator = tg.Generator(0)
    model = nn.Sequential(nn.Linear(3, 4, generator=generator), nn.ReLU(), nn.Linear(4, 1, generator=generator))
    model.to(device)
    x = tg.Tensor(generator.normal((5, 3)), device=device)
    made = viz.explain(lambda: (model(x) ** 2).mean(), model)
    text = made.text()
    assert "W₁ is 0.weight, 4×3; b₁ is 0.bias, 4; W₂ is 2.weight, 1×4; b₂ is 2.bias, 1." in text
    assert "  in Sequential.1 ReLU:\n   z₂ = max(z₁, 0) = [" in text or "in Sequential.1 ReLU:" in text
    assert "W̄₁ = z̄₁ᵀ x₁ = [" in text and "∂L/∂W₁ (0.weight) = [" in text
    assert "not kept" not in text
    before = viz.explain((model(x) ** 2).mean(), model).text()
    assert "its values not kept" in before and "pass explain() a function" in before


@pytest.mark.parametrize("ending", ["txt", "md", "html"])
def test_it_is_saved_whole(ending: str, tmp_path: Path) -> None:
    scalar().save(tmp_path / f"made.{ending}")
    assert "0.6347" in (tmp_path / f"made.{ending}").read_text(encoding="utf-8")


def test_wrong_input_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="takes a scalar Tensor, or a function"):
        viz.explain("loss")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="not computed from anything"):
        viz.explain(tg.Tensor(1.0))
    with pytest.raises(OptionError, match=r"\.txt, \.md, \.html"):
        scalar().save(tmp_path / "made.pdf")


HOSTILE = ["</td><script>x()</script>", "-->", "'\"&<b>", "`*_|#", "Привет", "n" * 10_000]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    tensors = {name: tg.Tensor(1.0, requires_grad=True) for name in HOSTILE}

    def loss() -> tg.Tensor:
        total = tg.Tensor(0.0)
        for tensor in tensors.values():
            total = total + tensor * tensor
        return total

    made = viz.explain(loss, names=tensors, title=HOSTILE[0])
    page = made.html()
    assert "<script" not in page and "<b>" not in page
    assert re.search(r"(?<!\\)<script", made.markdown()) is None
    assert HOSTILE[4] in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")
def test_the_page_stands_alone(tmp_path: Path) -> None:
    scalar().save(tmp_path / "made.html")
    browser = Browser()
    try:
        browser.open(tmp_path / "made.html", width=420, dark=True)
        assert browser.complaints == [] and len(browser.requests) == 1
        assert "tanh(0.7) = 0.6044" in browser.text("main")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 420
    finally:
        browser.close()


def test_several_results_are_told_one_by_one(device: str) -> None:
    x = tg.Tensor([[2.0, 0.0], [0.0, 3.0]], requires_grad=True, device=device)
    made = viz.explain(lambda: tg.linalg.slogdet(x)[1])
    assert "   z₁,1, z₁,2 = slogdet(x₁)\n   z₁,1 = 1\n   z₁,2 = 1.792\n" in made.text()
    assert "   z̄₁,2 = 1    (the start: ∂L/∂L)\n" in made.text()
    assert "$z_{1,2}$ = 1.792" in made.markdown()


def test_complex_gradients_say_that_they_are_conjugated(device: str) -> None:
    x = tg.Tensor(1.0 + 2.0j, requires_grad=True, device=device)
    text = viz.explain(lambda: tg.abs(x * x)).text()
    assert text.endswith("conjugated, as .grad is)\n")


@pytest.mark.slow
def test_twenty_thousand_steps_in_seconds(device: str) -> None:
    h = tg.Tensor(0.5, requires_grad=True, device=device)
    for _ in range(20_000):
        h = tg.tanh(h)
    start = time.perf_counter()
    made = viz.explain(h)
    assert len(made.html()) > 1_000_000
    assert time.perf_counter() - start < 10
