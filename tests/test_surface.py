"""Loss surfaces on functions whose surfaces, Hessians and saddle points are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim, viz
from tinygrad_mlsp.errors import DTypeError, OptionError, ShapeError

BENDS = np.array([7.0, 5.0, 3.0, 2.0, 0.5, 0.1])
TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]  # the eigenvectors, as columns
BOWL = TURN @ np.diag(BENDS) @ TURN.T


def bowl(device: str, bends: np.ndarray = BENDS) -> tuple[tg.Tensor, Any]:
    """½ wᵀ A w + 3, of which everything is known."""
    w = tg.Tensor(np.arange(6.0) - 2.5, requires_grad=True, dtype="float64", device=device)
    a = tg.Tensor(TURN @ np.diag(bends) @ TURN.T, dtype="float64", device=device)
    return w, lambda: 0.5 * (w @ (a @ w)) + 3.0


class Net(nn.Module):
    """A parameter, batch norm and dropout: a model with buffers and a mode."""

    def __init__(self, device: str) -> None:
        generator = tg.Generator(0)
        self.first, self.norm = nn.Linear(3, 4, generator=generator), nn.BatchNorm1d(4)
        self.last = nn.Linear(4, 1, generator=generator)
        self.to(device)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.last(tg.tanh(self.norm(self.first(x))))


def test_the_values_are_the_losses_at_those_weights(device: str) -> None:
    w, loss = bowl(device)
    plane = np.random.default_rng(1).normal(size=(2, 6))
    made = viz.surface(loss, w, plane, points=5, span=((-1.0, 2.0), (-3.0, 1.0)))
    at = np.arange(6.0) - 2.5
    expected = [[3 + 0.5 * (v := at + a * plane[0] + b * plane[1]) @ BOWL @ v for a in made.a] for b in made.b]
    np.testing.assert_allclose(made.values, expected, rtol=1e-12)
    assert made.a.tolist() == [-1.0, -0.25, 0.5, 1.25, 2.0] and made.b.tolist() == [-3.0, -2.0, -1.0, 0.0, 1.0]
    assert made.loss == pytest.approx(3 + 0.5 * at @ BOWL @ at, rel=1e-12)


def test_the_hessians_eigenvectors_are_found(device: str) -> None:
    w, loss = bowl(device)
    found = viz.curvature(loss, w, ends="largest")
    np.testing.assert_allclose(found.values, [5.0, 7.0], rtol=1e-8)
    np.testing.assert_allclose(np.abs(found.vectors @ TURN[:, [1, 0]]), np.eye(2), atol=1e-8)
    both = viz.curvature(loss, w)
    np.testing.assert_allclose([both.lowest, both.highest], [0.1, 7.0], rtol=1e-8)
    made = viz.surface(loss, w, "hessian", points=3)
    np.testing.assert_allclose(np.abs(made.directions @ TURN[:, :2]), np.eye(2), atol=1e-8)
    assert made.names == ("eigenvector, λ = 7", "eigenvector, λ = 5")


def test_lanczos_agrees_where_there_are_many_weights(device: str) -> None:
    bends = np.concatenate([[-4.0], np.linspace(0.1, 2.0, 57), [6.0, 9.0]])
    w = tg.Tensor(np.zeros(60), requires_grad=True, dtype="float64", device=device)
    scale = tg.Tensor(bends, dtype="float64", device=device)
    loss = lambda: 0.5 * (scale * w * w).sum()
    found = viz.curvature(loss, w)
    np.testing.assert_allclose(found.values, [-4.0, 9.0], rtol=1e-6)
    assert found.kind == "saddle" and found.gradient == 0.0
    np.testing.assert_allclose(np.abs(found.vectors[:, [0, -1]]), np.eye(2), atol=1e-6)
    np.testing.assert_allclose(viz.curvature(loss, w, ends="largest").values, [6.0, 9.0], rtol=1e-6)


@pytest.mark.parametrize(
    "bends, kind",
    [
        ([1.0, 2, 3, 4, 5, 6], "minimum"), ([-1.0, -2, -3, -4, -5, -6], "maximum"), ([-1.0, 2, 3, 4, 5, 6], "saddle"),
        ([0.0, 0, 0, 1, 2, 3], "degenerate"), ([0.0, 0, 0, 0, 0, 0], "degenerate"),
    ],
)  # fmt: skip
def test_a_point_without_slope_has_its_kind(bends: list[float], kind: str) -> None:
    w, loss = bowl("cpu", np.array(bends))
    w.copy_(np.zeros(6))
    assert viz.curvature(loss, w).kind == kind
    w.copy_(np.ones(6))
    assert viz.curvature(loss, w).kind == ("slope" if any(bends) else kind)


def test_a_linear_net_of_two_layers_has_a_saddle_at_zero() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    for p in model.parameters():
        p.copy_(np.zeros((1, 1)))
    found = viz.curvature(lambda: ((model(tg.ones((1, 1))) - 1.0) ** 2).sum(), model)
    np.testing.assert_allclose(found.values, [-2.0, 2.0], atol=1e-5)  # (w₂w₁ − 1)² is 1 − 2 w₁w₂ + …
    assert found.kind == "saddle" and str(found).startswith("saddle: ‖∇L‖ = 0,")


def test_filters_of_a_random_direction_are_as_long_as_the_weights_own(device: str) -> None:
    model = Net(device)
    plane = viz.random_directions(model, tg.Generator(3))
    at = 0
    for name, p in model.named_parameters():
        theta = p.numpy().astype(float)
        for row in plane:
            piece = row[at : at + p.size].reshape(p.shape)
            if p.ndim < 2:
                assert not piece.any(), name
            else:
                np.testing.assert_allclose(np.linalg.norm(piece, axis=1), np.linalg.norm(theta, axis=1), rtol=1e-6)
        at += p.size
    assert at == plane.shape[1] and abs(np.corrcoef(plane)[0, 1]) < 0.9
    assert np.array_equal(plane, viz.random_directions(model, tg.Generator(3)))


def test_a_way_in_a_plane_is_found_and_projected_exactly(device: str) -> None:
    w, loss = bowl(device)
    home = np.arange(6.0) - 2.5
    plane = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 2)))[0].T
    steps = np.array([[4.0, 1.0], [2.0, -1.0], [1.0, 0.5], [0.0, 0.0]])
    way = list(home + steps @ plane)
    made = viz.surface(loss, w, "pca", trajectory=way, points=4)
    assert made.path is not None and made.off is not None and made.heights is not None
    np.testing.assert_allclose(home + made.path @ made.directions, way, atol=1e-12)
    np.testing.assert_allclose(made.off, 0.0, atol=1e-12)
    np.testing.assert_allclose(made.heights, [3 + 0.5 * v @ BOWL @ v for v in way], rtol=1e-10)
    assert made.a[0] < made.path[:, 0].min() and made.a[-1] > made.path[:, 0].max()
    slanted = viz.surface(loss, w, np.array([[1.0, 0, 0, 0, 0, 0], [1.0, 1.0, 0, 0, 0, 0]]), points=2)
    points, off = slanted.project(home + np.array([[3.0, 2.0, 0, 0, 0, 0], [0, 0, 2.0, 0, 0, 0]]))
    np.testing.assert_allclose(points, [[1.0, 2.0], [0.0, 0.0]], atol=1e-12)  # 3 = a + b, 2 = b
    np.testing.assert_allclose(off, [0.0, 2.0], atol=1e-12)


def test_the_components_are_those_of_the_way() -> None:
    way = [np.array([3.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), np.zeros(3)]
    rows, shares = viz.pca_directions(way)
    np.testing.assert_allclose(rows, [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(shares, [0.9, 0.1])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_the_model_is_as_before_afterwards(training: bool, fails: bool, device: str) -> None:
    model = Net(device).train(training)
    x = tg.Tensor(tg.Generator(1).normal((8, 3)), device=device)
    arrays = {n: t._array for n, t in (*model.named_parameters(), *model.named_buffers())}
    before = {n: t.numpy().copy() for n, t in (*model.named_parameters(), *model.named_buffers())}
    calls: list[tuple[bool, bool]] = []

    def loss() -> tg.Tensor:
        y = (model(x) ** 2).mean()
        calls.append((model.training, model.norm.training))
        if fails and len(calls) == 5:
            raise ValueError("no more")
        return y

    if fails:
        with pytest.raises(ValueError, match="no more"):
            viz.surface(loss, model, points=3)
    else:
        viz.surface(loss, model, points=3)
        viz.curvature(loss, model)
    assert set(calls) == {(training, training)}
    for name, t in (*model.named_parameters(), *model.named_buffers()):
        assert t._array is arrays[name], name
        np.testing.assert_array_equal(t.numpy(), before[name])
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    y = (model(x) ** 2).mean()
    y.backward()
    assert model.first.weight.grad is not None


def test_minima_and_saddles_of_a_function_are_found() -> None:
    found = viz.critical_points(lambda p: p[0] ** 2 - p[1] ** 2 + p[1] ** 4, ((-1.2, 0.8), (-1.0, 1.2)))
    assert [c.kind for c in found] == ["minimum", "minimum", "saddle"]
    points = sorted(c.point for c in found)
    np.testing.assert_allclose(points, [(0, -(0.5**0.5)), (0, 0), (0, 0.5**0.5)], atol=1e-9)
    np.testing.assert_allclose(found[2].eigenvalues, [-2.0, 2.0])
    assert str(found[2]) == "saddle at (0, 0), f = 0, eigenvalues -2, 2"


def test_all_nine_of_himmelblaus_points_are_found(device: str) -> None:
    f = lambda p: (p[0] ** 2 + p[1] - 11) ** 2 + (p[0] + p[1] ** 2 - 7) ** 2
    found = viz.critical_points(f, 5.0, device=device)
    assert sorted(c.kind for c in found) == ["maximum"] + ["minimum"] * 4 + ["saddle"] * 4
    assert any(np.allclose(c.point, (3, 2)) for c in found if c.kind == "minimum")
    assert any(np.allclose(c.point, (-0.270845, -0.923039), atol=1e-5) for c in found if c.kind == "maximum")


def test_a_point_whose_hessian_vanishes_is_degenerate() -> None:
    (found,) = viz.critical_points(lambda p: p[0] ** 4 + p[1] ** 4, 1.0)
    assert found.kind == "degenerate" and np.allclose(found.point, 0, atol=1e-3)


def test_principal_components_keep_the_datas_distances(device: str) -> None:
    flat = np.random.default_rng(3).normal(size=(20, 2)) * [3.0, 1.0]
    data = flat @ np.linalg.qr(np.random.default_rng(4).normal(size=(5, 2)))[0].T + 7.0
    made = viz.embed(tg.Tensor(data, dtype="float64", device=device))
    np.testing.assert_allclose(
        np.linalg.norm(made[:, None] - made, axis=-1), np.linalg.norm(flat[:, None] - flat, axis=-1), atol=1e-10
    )
    assert made[:, 0].var() > made[:, 1].var() and np.allclose(made.mean(axis=0), 0)


@pytest.mark.slow
def test_tsne_keeps_groups_together() -> None:
    pytest.importorskip("sklearn")
    labels = np.arange(60) % 3
    data = np.random.default_rng(0).normal(size=(60, 8)) + 20 * np.eye(8)[labels]
    made = viz.embed(data, "t-sne", perplexity=10)
    centers = np.stack([made[labels == c].mean(axis=0) for c in range(3)])
    assert (np.linalg.norm(made[:, None] - centers, axis=-1).argmin(axis=1) == labels).all()


# ---- Pictures


def test_pictures_are_axes_that_can_be_changed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    w, loss = bowl("cpu")
    way = [viz.weights(w) + d for d in np.random.default_rng(0).normal(size=(4, 6))] + [viz.weights(w)]
    made = viz.surface(loss, w, "pca", trajectory=way, points=6, title="$\\frac a title")
    axes = made.contour()
    axes.set_title("mine")
    (line,) = [line for line in axes.lines if line.get_label() == "the way"]
    np.testing.assert_array_equal(line.get_xydata(), made.path)
    assert axes.get_xlim() == (made.a[0], made.a[-1])
    assert made.contour(axes) is axes
    relief = made.relief()
    assert relief.name == "3d" and relief.get_zlabel() == "loss"
    for ending in ("svg", "png", "pdf", "json"):
        made.save(tmp_path / f"made.{ending}")
    record = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))
    np.testing.assert_array_equal(record["values"], made.values)
    assert "36 losses" in repr(made)


def test_what_is_not_finite_is_left_out_of_the_picture() -> None:
    pytest.importorskip("matplotlib")
    w = tg.Tensor([1.0, 1.0], requires_grad=True, dtype="float64")
    made = viz.surface(lambda: tg.where(w[0] < 0.5, float("nan"), (w * w).sum()), w, np.eye(2), points=5)
    assert np.isnan(made.values).any() and np.isfinite(made.values).any()
    assert made._repr_png_() is not None and None in made.records()["values"][0]
    flat = viz.surface(lambda: (0.0 * w).sum(), w, np.eye(2), points=3)
    assert flat._repr_png_() is not None


def test_ways_start_and_end_where_the_optimizers_did() -> None:
    pytest.importorskip("matplotlib")
    f = lambda p: p[0] ** 2 - p[1] ** 2 + p[1] ** 4
    ways = {m: optim.minimize(f, [-1.0, 0.01], m, max_iter=8, lr=0.05).trajectory for m in ("sgd", "adam")}
    axes = viz.trajectories(f, {**ways, "$x_{": ways["sgd"]}, ((-1.2, 0.8), (-1.0, 1.2)))
    labels = {line.get_label(): line for line in axes.lines}
    assert {"minimum", "saddle", "sgd", "adam"} <= {*labels}
    np.testing.assert_array_equal(labels["adam"].get_xydata(), ways["adam"])
    looks = [(labels[m].get_color(), labels[m].get_linestyle(), labels[m].get_marker()) for m in ("sgd", "adam")]
    assert all(a != b for a, b in zip(*looks, strict=True))  # never colour alone
    assert viz.trajectories(f, ways).figure._repr_png_() is not None  # a window that holds them


def test_classes_have_marks_too() -> None:
    pytest.importorskip("matplotlib")
    axes = viz.embedding(np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3, names=["a", "b", "c"])
    assert len({line.get_marker() for line in axes.lines}) == len({line.get_color() for line in axes.lines}) == 3
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b", "c"]


# ---- Wrong input


@pytest.mark.parametrize(
    "call, kind, says",
    [
        (lambda w, f: viz.surface(f(), w), OptionError, "a function without arguments"),
        (lambda w, f: viz.surface(lambda: w * 1.0, w), ShapeError, r"one number, got shape \[6\]; take its mean"),
        (lambda w, f: viz.surface(f, "w"), OptionError, "a model with parameters"),
        (lambda w, f: viz.surface(f, w, "best"), OptionError, "'random', 'pca', 'hessian' or two vectors; got 'best'"),
        (lambda w, f: viz.surface(f, w, "pca"), OptionError, "pass trajectory="),
        (lambda w, f: viz.surface(f, w, trajectory=[[1.0, 2.0]]), ShapeError, "6 weights, the trajectory's points 2"),
        (lambda w, f: viz.surface(f, w, np.ones((2, 6))), OptionError, "lie on one line"),
        (lambda w, f: viz.surface(f, w, np.eye(2)), ShapeError, r"two directions of 6 weights, got \[2, 2\]"),
        (lambda w, f: viz.surface(f, w, points=1), OptionError, "2 or more, got 1"),
        (lambda w, f: viz.surface(f, w, span=-1.0), OptionError, "a number above 0"),
        (lambda w, f: viz.surface(f, tg.Tensor([1, 2])), DTypeError, "real weights, not int64"),
        (lambda w, f: viz.curvature(f, w, ends="top"), OptionError, "'largest' or 'both'"),
        (lambda w, f: viz.pca_directions([[1.0, 2.0]]), ShapeError, "several steps"),
        (lambda w, f: viz.critical_points(lambda p: (p * p).sum(), 1.0), ShapeError, r"write it with p\[0\] and"),
        (lambda w, f: viz.trajectories(lambda p: p[0], {"a": [[1.0] * 3]}), ShapeError, "points of 3 numbers"),
        (lambda w, f: viz.embed([[1.0], [2.0]]), ShapeError, "two numbers or more"),
        (lambda w, f: viz.embed([[1.0, 2.0], [np.nan, 1.0]]), OptionError, "not finite"),
        (lambda w, f: viz.embed(np.eye(3), "umap"), OptionError, "'pca' or 't-sne'"),
    ],
)  # fmt: skip
def test_wrong_input_says_what_is_wanted(call: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        call(*bowl("cpu"))


def test_empty_data_and_no_function_are_refused():
    with pytest.raises(ShapeError, match="two points or more"):
        viz.embedding(np.ones((0, 3)))
    with pytest.raises(OptionError, match="the function must be one of a point"):
        viz.landscape(3, ((0, 1), (0, 1)))
