"""A backward pass as records: that every number in them is the one that the engine computed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from support import Make, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, viz
from tinygrad_mlsp.errors import GraphError, OptionError, ShapeError
from tinygrad_mlsp.viz.walk import value_of


@pytest.fixture
def make(device: str) -> Make:
    return maker(device)


def net(device: str) -> tuple[nn.Module, tg.Tensor, tg.Tensor]:
    generator = tg.Generator(0)
    model = nn.Sequential(
        nn.Linear(3, 4, generator=generator), nn.Tanh(), nn.Linear(4, 2, generator=generator)
    ).to(device)  # fmt: skip
    return model, tg.Tensor(generator.normal((5, 3)), device=device), tg.Tensor([0, 1, 0, 1, 1], device=device)


def test_gradients_of_the_leaves_are_those_of_backward_and_no_grad_is_touched(device: str) -> None:
    model, x, target = net(device)
    loss = nn.functional.cross_entropy(model(x), target)
    seen = viz.walk(loss, model, keep=100)
    assert all(p.grad is None for p in model.parameters())
    loss.backward()
    leaves = {leaf.name: leaf for leaf in seen.leaves}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_array_equal(leaves[name].gradient.entries, parameter.grad.numpy().ravel())
        np.testing.assert_array_equal(leaves[name].value.entries, parameter.numpy().ravel())


@pytest.mark.parametrize("traced", [False, True])
def test_each_step_obeys_the_chain_rule(traced: bool, device: str) -> None:
    """What came back to a node is the sum over its users; an elementwise contribution is upstream times slope."""
    model, x, target = net(device)
    if traced:
        with viz.trace() as kept:  # noqa: F841 (found by itself, while it exists)
            loss = nn.functional.cross_entropy(model(x), target)
    else:
        loss = nn.functional.cross_entropy(model(x), target)
    seen = viz.walk(loss, keep=100)
    assert [s.op for s in seen.steps] == ["linear", "tanh", "linear", "cross_entropy", "mean"]
    assert seen.steps[-1].gradient.entries == (1.0,)
    for step in seen.steps[:-1]:
        came = [np.array(a.contribution.entries) for _, a in seen.users(step.id)]
        np.testing.assert_allclose(sum(came), step.gradient.entries, rtol=1e-6)
    tanh = seen.steps[1]
    y, (a,) = np.array(tanh.value.entries), tanh.arguments
    np.testing.assert_allclose(a.local.entries, 1 - y * y, rtol=1e-6)
    np.testing.assert_allclose(np.array(a.local.entries) * tanh.gradient.entries, a.contribution.entries, rtol=1e-6)
    assert a.gain == pytest.approx(a.contribution.norm / tanh.gradient.norm)
    if traced:
        assert tanh.scope == ("Sequential", "1 Tanh")
        np.testing.assert_allclose(np.tanh(a.value.entries), y, rtol=1e-5)
        assert all(s.value is not None for s in seen.steps)


def test_formulas_have_holes_for_the_letters() -> None:
    x = tg.Tensor(0.5, requires_grad=True, dtype="float64")
    (step,) = viz.walk(tg.tanh(x)).steps
    made = step.template()
    assert made is not None
    assert made.filled(made.formula.derivatives["x"], lambda *hole: repr(hole)) == (
        "∂('y', None, '')/∂('x', None, '') = 1 − ('y', None, '')²"
    )


def test_an_argument_used_twice_and_several_results(make: Make) -> None:
    x = make([2.0, 3.0], requires_grad=True, dtype="float64")
    product = viz.walk((x * x).sum()).steps[0]
    assert [a.source for a in product.arguments] == [product.arguments[0].source] * 2
    assert [a.contribution.entries for a in product.arguments] == [(2.0, 3.0), (2.0, 3.0)]
    a = make(np.diag([1.0, 2.0]), requires_grad=True, dtype="float64")
    values, _ = tg.linalg.eigh(a)
    seen = viz.walk(values.sum())
    eigh = next(s for s in seen.steps if s.op == "eigh")
    assert len(eigh.upstream) == 2 and eigh.upstream[0].entries == (1.0, 1.0) and eigh.upstream[1] is None
    assert seen.leaves[0].gradient.entries == pytest.approx((1, 0, 0, 1))


def test_ids_of_constants_are_small_and_nodes_are_found_by_them(make: Make) -> None:
    x, c = make([1.0, 2.0], requires_grad=True), make([3.0, 4.0])
    seen = viz.walk((x * c).sum())
    step = seen.steps[0]
    assert seen.nodes[step.arguments[0].source].kind == "parameter"
    with viz.trace():
        seen = viz.walk((x * c).sum())
    constant = seen.nodes[seen.steps[0].arguments[1].source]
    assert (constant.kind, constant.value.entries, constant.id) == ("constant", (3.0, 4.0), -1)
    assert {node.id for node in seen.graph.nodes} == set(seen.nodes)


@pytest.mark.parametrize(
    "array",
    [[1.0, np.nan, np.inf, -2.0], [], [True, False], [1, 2], [1 + 2j, 3.0], np.float16([6e4] * 3)],
    ids=lambda a: str(np.asarray(a).dtype) + str(np.size(a)),
)
def test_values_of_any_kind(array: Any, device: str) -> None:
    value = value_of(tg.Tensor(array, device=device), keep=2)
    assert value.size == np.size(array) and len(value.entries) == min(2, value.size)
    assert value.odd == (0 if np.asarray(array).dtype.kind in "bi" else (~np.isfinite(array)).sum())
    if not value.odd:
        assert value.norm == pytest.approx(float(np.linalg.norm(np.asarray(array, dtype=complex))), rel=1e-3)


def test_what_cannot_be_walked_says_why(make: Make) -> None:
    x = make([1.0, 2.0], requires_grad=True)
    with pytest.raises(GraphError, match="not a scalar; pass gradient="):
        viz.walk(x * 2)
    assert viz.walk(x * 2, gradient=[1.0, 5.0]).leaves[0].gradient.entries == (2.0, 10.0)
    with pytest.raises(GraphError, match="not computed from anything"):
        viz.walk(make(1.0))
    with pytest.raises(OptionError, match="at least 1"):
        viz.walk(x.sum(), keep=0)
    loss = x.sum()
    loss.backward()
    with pytest.raises(GraphError, match="freed"):
        viz.walk(loss)


def written(step: Any) -> tuple[str, ...]:
    made = step.template()
    if made is None:
        return ()
    texts = (made.formula.forward, *made.formula.derivatives.values())
    return tuple(made.filled(text, lambda letter, number, mark: letter + mark) for text in texts)


@pytest.mark.parametrize(
    ("compute", "part"),
    [
        (lambda x: x.sum(axis=1), "Σ₁ x"),
        (lambda x: tg.softmax(x, axis=0), "Σ₀"),
        (lambda x: x[:, 1], "x[:, 1]"),
        (lambda x: x[tg.Tensor([1, 1], device=x.device)], "x[[1 1]]"),
        (lambda x: x.reshape(3, 2), "(3, 2)"),
        (lambda x: tg.broadcast_to(x, (4, 2, 3)), "(4, 2, 3)"),
        (lambda x: tg.expand_dims(x, axis=1), "expand_dims(x, 1)"),
        (lambda x: tg.clip(x, -2.0, 2.0), "clip(x, −2, 2)"),
    ],
)
def test_formulas_have_the_options_of_the_application_or_there_is_none(compute: Any, part: str, make: Make) -> None:
    """In a trace all options are kept; outside, those that a rule needs, and without the others nothing is claimed."""
    x = make([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    y = compute(x)
    (step,) = viz.walk(y, gradient=y.detach()).steps
    assert not written(step) or part in written(step)[0]
    assert step.op in ("expand_dims", "clip") or written(step)
    with viz.trace() as seen:
        y = compute(x)
    (step,) = viz.walk(y, gradient=y.detach(), trace=seen).steps
    assert part in written(step)[0]


def test_complex_gradients_are_those_of_backward(make: Make) -> None:
    x = make([1.0 + 2.0j, -1.0j], requires_grad=True)
    y = x * x
    given = [1.0 + 1.0j, 2.0 - 3.0j]
    (leaf,) = (leaf for leaf in viz.walk(y, gradient=given).leaves if leaf.kind != "constant")
    y.backward(gradient=make(given))
    np.testing.assert_allclose(leaf.gradient.entries, x.grad.numpy())


def test_constants_of_a_long_trace_are_not_taken_for_one_another(make: Make) -> None:
    """An array that is gone leaves its address to the next."""
    w = make([1.0, 2.0, 3.0], requires_grad=True)
    with viz.trace() as seen:
        for n in range(20):
            loss = (w * make(np.ones((n % 3 + 1, 3), "float32"))).sum()
            loss.backward()
            del loss
    graph = seen.graph()
    shapes = {node.id: node.shape for node in graph.nodes}
    constants = {node.id for node in graph.nodes if node.kind == "constant"}
    assert len(constants) == 20
    assert all(shapes[e.source] == shapes[e.target] for e in graph.edges if e.source in constants)


@pytest.mark.parametrize("traced", [False, True])
def test_an_operation_of_several_results_is_no_scalar(traced: bool, make: Make) -> None:
    x = make([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0]], requires_grad=True)
    with viz.trace() if traced else nullcontext():
        loss = tg.linalg.qr(x)[1].sum()
    (qr,) = (node for node in viz.graph_of(loss).nodes if node.op == "qr")
    assert qr.shape == (2, 2)


def test_norms_of_half_precision_do_not_overflow(make: Make) -> None:
    assert value_of(make(np.full(100_000, 2.0, "float16"))).norm == pytest.approx(2 * 100_000**0.5)


def test_an_operation_that_is_declared_again_has_its_new_formula(make: Make) -> None:
    x = make(2.0, requires_grad=True)
    found = []
    for forward, slope in ((lambda xp, x: x**2, lambda xp, x: 2 * x), (lambda xp, x: xp.exp(x), lambda xp, y: y)):
        mine = tg.op.Operation(forward, "elementwise", "of_this_test", register=False).slopes(x=slope)
        found.append(written(viz.walk(mine(x)).steps[0])[0])
    assert found == ["y = x²", "y = exp(x)"]


def test_wrong_input_is_named(make: Make) -> None:
    x = make([1.0, 2.0], requires_grad=True)
    with pytest.raises(GraphError, match="was not computed from anything"):
        viz.explain(make(1.0, requires_grad=True))
    with pytest.raises(ShapeError, match=r"gradient has shape \(3,\)"):
        viz.walk(x * x, gradient=[1.0, 2.0, 3.0])
    for given in ({"keep": 1.5}, {"keep": "3"}, {"names": [x]}, {"names": {3: x}}, {"model": 3}, {"model": nn.ReLU}):
        with pytest.raises(OptionError, match=r"keep is|names are|model is a Module"):
            viz.walk((x * x).sum(), **given)
    with pytest.raises(OptionError, match="model is a Module"):
        viz.explain(lambda: (x * x).sum(), 3)
