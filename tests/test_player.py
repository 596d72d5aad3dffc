"""The step player, in a real browser: it opens, steps, folds, searches, and says what the walk says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Browser

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, viz
from tinygrad_mlsp.errors import OptionError
from tinygrad_mlsp.viz.player import folds

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


def neuron() -> viz.Player:
    w, x, b = (tg.Tensor(v, requires_grad=True, dtype="float64") for v in (0.5, 2.0, -0.3))
    return viz.play(
        lambda: (tg.tanh(w * x + b) - 1.0) ** 2 * 0.5 + w * 0.1, names={"w": w, "x": x, "b": b}, title="A neuron"
    )


class Recurrent(nn.Module):
    def __init__(self, generator: tg.Generator) -> None:
        self.rnn = nn.RNNCell(2, 3, generator=generator)
        self.out = nn.Linear(3, 2, generator=generator)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        h = None
        for t in range(len(x)):
            h = self.rnn(x[t], h)
        return self.out(h)


def recurrent(steps: int) -> viz.Player:
    generator = tg.Generator(0)
    model = Recurrent(generator)
    x = tg.Tensor(generator.normal((steps, 4, 2)))
    return viz.play(lambda: nn.functional.cross_entropy(model(x), tg.Tensor([0, 1, 0, 1])), model)


@pytest.mark.parametrize("steps", [1, 3, 40, 200])
def test_folds_hold_every_step_once_in_order_and_few_side_by_side(steps: int) -> None:
    tree = folds(recurrent(steps).walk)
    assert all(len(children) <= 12 for _, _, children in tree)
    order: list[int] = []
    stack = [-1]
    while stack:
        at = stack.pop()
        if at >= 0:
            order.append(at)
        else:
            stack += reversed(tree[-1 - at][2])
    assert order == list(range(len(order))) and len(order) == len(recurrent(steps).walk.steps)
    labels = {label for label, kind, _ in tree if kind == "scope"}
    assert {"rnn RNNCell", "out Linear"} <= labels
    assert steps == 1 or f"rnn RNNCell (call {steps})" in labels


def test_the_page_holds_the_walk_and_no_text_ends_its_element() -> None:
    hostile = ["</script><script>window.hacked=1</script>", "-->", "'\"&", "Привет 你好", "n" * 10_000]
    tensors = {name: tg.Tensor(1.0 + i, requires_grad=True) for i, name in enumerate(hostile)}

    def loss() -> tg.Tensor:
        total = tg.Tensor(0.0)
        for tensor in tensors.values():
            total = total + tg.tanh(tensor)
        return total

    page = viz.play(loss, names=tensors, title=hostile[0]).html()
    assert page.count("<script") == 2 and page.count("</script>") == 2  # the data and the program
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    letters = [leaf[1] for leaf in json.loads(data[1])["leaves"]]
    assert hostile[0] in letters and hostile[3] in letters and max(map(len, letters)) <= 121
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "") and "https:" not in page


def test_values_that_are_not_finite_are_in_the_page_as_text(tmp_path: Path) -> None:
    x = tg.Tensor([0.0, 1.0], requires_grad=True)
    with np.errstate(all="ignore"):
        player = viz.play(lambda: (tg.log(x) * tg.Tensor([0.0, 1.0])).sum())
    player.save(tmp_path / "page.html")
    assert "NaN" not in json.dumps(player.data()) and "Infinity" not in json.dumps(player.data())
    assert "nan" in json.dumps(player.data())


def test_wrong_input_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="takes a scalar Tensor, or a function"):
        viz.play(3)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"must end in \.html"):
        neuron().save(tmp_path / "page.svg")


@needs_browser
def test_it_opens_without_network_or_complaint_and_steps_forward_and_back(browser: Browser, tmp_path: Path) -> None:
    player = neuron()
    player.save(tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert browser.requests == [(tmp_path / "page.html").as_uri()]
    assert "1 of 8" in browser.text("#where") and "forward" in browser.text("#where")
    assert browser.text("#detail h2") == "z₁ = multiply"
    assert browser.text("#numbers") == "0.5 · 2 = 1"
    browser.key("ArrowRight", "ArrowRight")
    assert browser.text("#numbers") == "tanh(0.7) = 0.6044"
    browser.key("b")
    assert "backward" in browser.text("#where") and browser.text("#detail h2") == "z₈ = add"
    browser.key("End")
    gradients = {leaf.letter: leaf.gradient.entries[0] for leaf in player.walk.leaves if leaf.gradient}
    detail = browser.text("#detail")
    assert "(−0.2511) · 0.5 = −0.1256" in detail  # to x: the upstream gradient times w
    assert f"{gradients['x']:.4g}".replace("-", "−") in detail
    browser.key("Home", "ArrowLeft")
    assert "forward → 1 of 8" in browser.text("#where")
    browser.key("End", "ArrowRight")
    assert "8 of 8" in browser.text("#where")
    assert browser.complaints == []


@needs_browser
def test_one_entry_of_a_weight_is_followed_through_every_path(browser: Browser, tmp_path: Path) -> None:
    player = recurrent(3)
    player.save(tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    leaf = next(leaf for leaf in player.walk.leaves if leaf.name == "rnn.weight_hh")
    browser.evaluate("document.getElementById('search').focus()")
    browser.evaluate(f"document.getElementById('search').value = {json.dumps('weight_hh')}")
    browser.key("Enter")
    assert browser.text("#detail h2") == leaf.letter and "1 of 1" in browser.text("#found")
    assert "3 paths" in browser.text("#detail")  # h₃ ← W, h₂ ← W, h₁ ← W
    rows = browser.evaluate("[...document.querySelectorAll('#detail tr')].map(r => r.innerText)")
    by = [row for row in rows if row.startswith("by ")]
    assert len(by) == len([a for _, a in player.walk.users(leaf.id) if a.contribution])
    entry = [float(row.rsplit("\t", 1)[1].replace("−", "-").replace("·10", "e").translate(
        str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))) for row in by]  # fmt: skip
    assert leaf.gradient is not None
    assert sum(entry) == pytest.approx(leaf.gradient.entries[0], rel=1e-3)
    browser.evaluate("document.activeElement.blur()")
    browser.key("e")
    assert browser.text("#entry") == "1"
    assert browser.complaints == []


@needs_browser
def test_folds_open_and_close_by_key_and_the_list_follows(browser: Browser, tmp_path: Path) -> None:
    recurrent(200).save(tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    shown = "document.querySelectorAll('#map .node').length"
    assert 2 < browser.evaluate(shown) < 200
    folded = "document.querySelectorAll('#map .node.fold').length"
    before = browser.evaluate(folded)
    assert before > 2
    while "folded" not in browser.text("#say"):
        browser.key("ArrowRight")
    browser.key("o")
    assert browser.evaluate("document.querySelectorAll('#map .node').length") > 2
    assert "folded" not in browser.text("#say") or browser.evaluate(folded) != before
    browser.key("c")
    assert browser.evaluate(folded) == before
    # a search opens what is around the hit
    browser.evaluate("document.getElementById('search').value = 'cross_entropy'")
    browser.evaluate("document.getElementById('search').focus()")
    browser.key("Enter")
    assert "cross_entropy" in browser.text("#detail h2")
    assert browser.evaluate("document.querySelectorAll('#tree .row').length") < 100  # only the rows in sight exist
    assert browser.complaints == []


@needs_browser
def test_several_results_are_told_one_by_one(browser: Browser, tmp_path: Path) -> None:
    x = tg.Tensor([[2.0, 0.0], [0.0, 3.0]], requires_grad=True)
    viz.play(lambda: tg.linalg.slogdet(x)[1]).save(tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert browser.text("#say").endswith("; z₁,1: 1, z₁,2: 1.792.")
    browser.key("b")
    assert "back: to z₁ = slogdet came z₁,2: 1; [0.5, 0, 0, 0.3333]" in browser.text("#say")
    assert browser.complaints == []


@needs_browser
def test_the_focus_stays_where_it_is_and_the_list_has_arrow_keys(browser: Browser, tmp_path: Path) -> None:
    recurrent(200).save(tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    where = "document.activeElement.getAttribute('aria-label') || document.activeElement.id"
    labels = browser.evaluate("[...document.querySelectorAll('#tree .row')].map(r => r.getAttribute('aria-label'))")
    browser.evaluate("document.querySelector('#tree .row[tabindex=\"0\"]').focus()")
    at = labels.index(browser.evaluate(where))
    browser.key("ArrowDown", "ArrowDown")
    assert browser.evaluate(where) == labels[at + 2]
    browser.key("ArrowUp")
    assert browser.evaluate(where) == labels[at + 1]
    browser.key("ArrowRight")  # steps, and the rows are made anew
    assert browser.evaluate(where) == labels[at + 1]
    for _ in range(60):  # beyond what is in sight
        browser.key("ArrowDown")
    assert browser.evaluate("document.activeElement.className").startswith("row")
    browser.key("b")
    while not browser.evaluate("!!document.getElementById('entry')"):
        browser.key("ArrowRight", "o")
    browser.evaluate("document.getElementById('entry').focus()")
    browser.key("Enter")
    assert browser.evaluate(where) == "entry"
    assert browser.complaints == []


@needs_browser
def test_the_text_has_every_step_both_ways_and_what_is_announced_is_that_text(browser: Browser, tmp_path: Path) -> None:
    player = neuron()
    player.save(tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    said = browser.evaluate("document.getElementById('say').textContent")
    assert said == "Step 1 of 8, forward: z₁ = w x; it is 1."
    browser.key("t")
    lines = browser.text("#walk").split("\n\n")
    assert lines[0] == "Forward" and said in lines
    assert sum(line.startswith("Step") for line in lines) == 16
    assert any(line.startswith("∂L/∂w is −0.4022") for line in lines)
    assert browser.evaluate("document.getElementById('text').getAttribute('aria-pressed')") == "true"
    browser.key("t")
    assert browser.evaluate("document.getElementById('walk').hidden")
    assert browser.complaints == []


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 420])
def test_ink_stands_out_from_paper_and_nothing_is_wider_than_the_window(
    dark: bool, width: int, browser: Browser, tmp_path: Path
) -> None:
    neuron().save(tmp_path / "page.html")
    browser.open(tmp_path / "page.html", width=width, dark=dark)

    def luminance(what: str) -> float:
        got = browser.evaluate(f"getComputedStyle(document.body).{what}")
        r, g, b = (int(v) / 255 for v in re.findall(r"\d+", got)[:3])
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (r, g, b)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    ink, paper = luminance("color"), luminance("backgroundColor")
    assert (paper < 0.2) == dark
    assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 7
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.key("d")
    assert (luminance("backgroundColor") < 0.2) != dark
    assert browser.complaints == []


@needs_browser
def test_hostile_names_run_nothing(browser: Browser, tmp_path: Path) -> None:
    names = ["</script><script>window.hacked=1</script>", "<img src=x onerror=window.hacked=1>", "${window.hacked=1}"]
    tensors = {name: tg.Tensor(2.0, requires_grad=True) for name in names}
    viz.play(lambda: tg.tanh(tensors[names[0]] * tensors[names[1]] * tensors[names[2]]), names=tensors,
             title=names[1]).save(tmp_path / "page.html")  # fmt: skip
    browser.open(tmp_path / "page.html")
    browser.key("End", "Home", "t", "t")
    assert names[1] in browser.text("#detail")
    assert browser.evaluate("window.hacked") is None
    assert browser.complaints == [] and len(browser.requests) == 1


@needs_browser
@pytest.mark.slow
def test_twenty_thousand_nodes_stay_usable(browser: Browser, tmp_path: Path) -> None:
    x = tg.Tensor(0.5, requires_grad=True, dtype="float64")

    def loss() -> Any:
        y = x
        for _ in range(6667):
            y = (y * 1.0001).tanh() + x
        return y

    viz.play(loss).save(tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert browser.evaluate("document.querySelectorAll('#map .node').length") < 400
    browser.key("b")
    for _ in range(6):
        browser.key("o")
    assert browser.text("#detail h2").startswith("z₂₀₀₀₁")
    browser.key("ArrowRight", "t")
    assert browser.text("#walk").count("Step") == 400
    assert browser.complaints == []


@needs_browser
def test_two_gradients_to_one_argument_are_both_shown(browser: Browser, tmp_path: Path) -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    viz.play(lambda: (x * x).sum()).save(tmp_path / "two.html")
    browser.open(tmp_path / "two.html")
    browser.key("End")
    notes = browser.evaluate("[...document.querySelectorAll('#map .small')].map(n => n.textContent)")
    assert "2.236 and 2.236" in notes  # √5 each; their sum has √20
    assert browser.complaints == []
