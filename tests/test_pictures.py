"""Pictures: the pixels that are drawn are the values given; NaN, constants and device tensors are shown as they are."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp.errors import DTypeError, MissingDependency, OptionError, ShapeError

pytest.importorskip("matplotlib")
from tinygrad_mlsp.viz import pictures

RED = [int(pictures._NOT_A_NUMBER[i : i + 2], 16) / 255 for i in (1, 3, 5)]


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def pixels(axes: Any) -> np.ndarray:
    return np.asarray(axes.get_images()[0].get_array())


def drawn(axes: Any) -> Any:
    """That it can be drawn without a warning."""
    axes.figure.canvas.draw()
    return axes


def part(axes: Any, i: int, columns: int, height: int, width: int) -> np.ndarray:
    top, left = i // columns * (height + 1), i % columns * (width + 1)
    return pixels(axes)[top : top + height, left : left + width]


def values(n: int = 6, shape: tuple[int, ...] = (4, 5)) -> np.ndarray:
    return np.random.default_rng(0).uniform(-2, 3, (n, *shape))


def test_images_are_where_and_what_they_should_be(device: str) -> None:
    x = values()
    axes = drawn(pictures.images(tg.Tensor(x, device=device), columns=3, title="six"))
    assert pixels(axes).shape == (9, 17, 3) and axes.get_title() == "six"
    for i in range(6):
        np.testing.assert_allclose(part(axes, i, 3, 4, 5)[..., 0], (x[i] - x.min()) / (x.max() - x.min()), atol=1 / 255)
    np.testing.assert_array_equal(pixels(axes)[4], 1)
    np.testing.assert_array_equal(pixels(axes)[:, 5], 1)
    flat = drawn(pictures.images(x.reshape(6, 20), (4, 5), columns=3))
    np.testing.assert_array_equal(pixels(flat), pixels(axes))
    assert pixels(drawn(pictures.images(values(5, (9,))))).shape == (7, 11, 3)  # squares, 3 a row


def test_each_has_its_own_scale_and_signed_has_0_in_the_middle() -> None:
    x = values(2)
    x[1] *= 100
    for i, axes in enumerate((pictures.images(x, each=True), pictures.images(x, each=True, signed=True))):
        for j in range(2):
            low, high = (x[j].min(), x[j].max()) if i == 0 else (-abs(x[j]).max(), abs(x[j]).max())
            np.testing.assert_allclose(part(drawn(axes), j, 2, 4, 5)[..., 0], (x[j] - low) / (high - low), atol=1 / 255)


def test_filters_are_signed_and_count_takes_the_first() -> None:
    axes = drawn(pictures.filters(values(9, (20,)), (4, 5), count=4))
    assert pixels(axes).shape == (9, 11, 3)
    zero = drawn(pictures.filters(np.array([[-1.0, 0.0, 0.5, 1.0]])))
    np.testing.assert_allclose(pixels(zero)[..., 0], [[0, 0.5], [0.75, 1]], atol=1 / 255)


def test_fantasies_have_the_scale_from_0_to_1() -> None:
    axes = drawn(pictures.fantasies(np.full((3, 2, 2), 0.25), columns=2))
    np.testing.assert_allclose(part(axes, 2, 2, 2, 2), 0.25, atol=1 / 255)
    assert (part(axes, 3, 2, 2, 2) == 1).all()  # the place that is left


def test_colours_are_shown_as_they_are() -> None:
    x = np.random.default_rng(0).uniform(-0.5, 1.5, (2, 3, 3, 3))
    axes = drawn(pictures.images(x, columns=2))
    np.testing.assert_allclose(part(axes, 1, 2, 3, 3), x[1].clip(0, 1))


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e300])
def test_constant_pictures_are_grey(value: float) -> None:
    for draw in (pictures.images, lambda x: pictures.images(x, each=True)):
        np.testing.assert_allclose(pixels(drawn(draw(np.full((1, 2, 3), value)))), 0.5, atol=1 / 255)


def test_what_is_not_finite_is_red_and_the_rest_keeps_its_scale() -> None:
    x = values(3)
    x[0, 1, 2], x[1, 0, 0], x[2] = np.nan, np.inf, np.nan
    for each in (False, True):
        axes = drawn(pictures.images(x, columns=3, each=each))
        np.testing.assert_allclose(part(axes, 0, 3, 4, 5)[1, 2], RED)
        np.testing.assert_allclose(part(axes, 1, 3, 4, 5)[0, 0], RED)
        np.testing.assert_allclose(part(axes, 2, 3, 4, 5), np.broadcast_to(RED, (4, 5, 3)))
        known = x[0] if each else x[:2]
        low, high = known[np.isfinite(known)].min(), known[np.isfinite(known)].max()
        keep = np.isfinite(x[0])
        np.testing.assert_allclose(
            part(axes, 0, 3, 4, 5)[..., 0][keep], ((x[0] - low) / (high - low))[keep], atol=1 / 255
        )


def test_reconstructions_stand_under_their_originals(device: str) -> None:
    x = np.random.default_rng(0).uniform(size=(4, 9))
    axes = drawn(pictures.reconstructions(tg.Tensor(x, device=device), {"deep": x * 0.5, "PCA": x}))
    assert pixels(axes).shape == (11, 15, 3)
    np.testing.assert_array_equal(part(axes, 1, 4, 3, 3), part(axes, 9, 4, 3, 3))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["original", "deep", "PCA"]
    assert [label.get_text() for label in drawn(pictures.reconstructions(x, x)).get_yticklabels()][
        1
    ] == "reconstruction"


def test_a_course_over_time_marks_what_is_not_finite() -> None:
    axes = drawn(pictures.over_time({"energy": [3.0, 2.0, np.nan, -np.inf], "bound": [1.0]}, first=0))
    lines = {line.get_label(): line for line in axes.get_lines()}
    np.testing.assert_array_equal(lines["energy"].get_ydata()[:2], [3, 2])
    assert np.isnan(lines["energy"].get_ydata()[2:]).all()
    np.testing.assert_array_equal(lines["energy: not finite"].get_xdata(), [2, 3])
    assert lines["bound"].get_marker() == "o" and axes.get_ylabel() == "energy, nats"


def test_codes_have_a_colour_a_class(device: str) -> None:
    points = np.random.default_rng(0).standard_normal((50, 2))
    labels = np.arange(50) % 10
    points[3, 0] = np.nan
    axes = drawn(pictures.codes(tg.Tensor(points, device=device), tg.Tensor(labels, device=device)))
    lines = axes.get_lines()
    assert len(lines) == 10 and len({(line.get_color(), line.get_marker()) for line in lines}) == 10
    np.testing.assert_array_equal(lines[3].get_xydata(), points[labels == 3][1:])
    assert axes.get_xlabel() == "1 points are not finite"
    named = drawn(pictures.codes(points, labels % 2, names=["even", "odd"]))
    assert [t.get_text() for t in named.get_legend().get_texts()] == ["even", "odd"]
    assert drawn(pictures.codes(points)).get_legend() is None


def test_beside_the_codes_are_the_principal_components() -> None:
    data = np.random.default_rng(0).standard_normal((60, 5)) * [5, 3, 1, 0.5, 0.1] + 7
    left, right = pictures.codes_beside_pca(data[:, :2], data.reshape(60, 5, 1), np.zeros(60, int))
    drawn(left)
    u, s, _ = np.linalg.svd(data - data.mean(axis=0), full_matrices=False)
    found, expected = right.get_lines()[0].get_xydata(), u[:, :2] * s[:2]
    np.testing.assert_allclose(found * np.sign((found * expected).sum(axis=0)), expected, atol=1e-9)
    np.testing.assert_array_equal(left.get_lines()[0].get_xydata(), data[:, :2])


def test_axes_that_are_given_are_drawn_into() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.add_subplot()
    assert pictures.images(values(), axes=axes) is axes and axes.get_images()
    assert pictures.over_time({"a": [1.0, 2.0]}, axes=axes) is axes


@pytest.mark.parametrize(
    "call, kind, says",
    [
        (lambda: pictures.images(values(3, (7,))), ShapeError, "7 pixels make no square"),
        (lambda: pictures.images(values(3, (6,)), (2, 4)), ShapeError, "do not fit"),
        (lambda: pictures.images(np.zeros(4)), ShapeError, r"got \[4\]"),
        (lambda: pictures.images(np.zeros((2, 3, 3, 2))), ShapeError, "wants"),
        (lambda: pictures.images(np.zeros((0, 3, 3))), ShapeError, "wants"),
        (lambda: pictures.images(np.zeros((2, 3, 3)) * 1j), DTypeError, "real"),
        (lambda: pictures.images(values(), columns=-1), OptionError, "columns"),
        (lambda: pictures.filters(values(3, (7,))), ShapeError, "filters"),
        (lambda: pictures.fantasies("abc"), DTypeError, "fantasies"),
        (lambda: pictures.reconstructions(values(3), values(2)), ShapeError, r"'reconstruction' are \[2, 4, 5\]"),
        (lambda: pictures.over_time({"a": [[1.0]]}), ShapeError, "'a' must be a list"),
        (lambda: pictures.codes(np.zeros((3, 3))), ShapeError, "points have the shape"),
        (lambda: pictures.codes(np.zeros((3, 2)), np.zeros(4, int)), ShapeError, "3 points want labels"),
        (lambda: pictures.codes(np.zeros((3, 2)), np.zeros(3)), DTypeError, "whole numbers"),
        (lambda: pictures.codes_beside_pca(np.zeros((3, 2)), np.zeros((4, 5))), ShapeError, "as many"),
    ],
)
def test_wrong_input_is_named(call: Callable[[], Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        call()


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependency, match=r"tinygrad_mlsp\[viz\]"):
        pictures.images(values())
