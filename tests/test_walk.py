"""A backward pass as records: that every number in them is the one that the engine computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import Make, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, viz
from tinygrad_mlsp.errors import GraphError, OptionError
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
