"""Pictures of what is learned without labels: filters, fantasies, reconstructions, codes, and a course over time.

Each draws into matplotlib axes, those given or a figure's of its own, and returns them; `axes.figure` is the figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import to_numpy
from ..errors import DTypeError, MissingDependency, OptionError, ShapeError
from ..tensor import Tensor
from .plots import COLOURS, DASHES, MARKERS, shows_itself

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = np.ndarray[Any, Any]
_NOT_A_NUMBER = "#d62728"


def images(
    pictures: Any, shape: tuple[int, ...] | None = None, *, columns: int | None = None, each: bool = False,
    signed: bool = False, title: str = "", axes: Axes | None = None,
) -> Axes:  # fmt: skip
    """Pictures in a grid, row by row

    All have one scale of grey, from the least to the largest value; with `each`, every picture its own. `signed` puts
    0 at mid-grey. A constant picture is mid-grey. What is not a finite number is red.

    Shapes: pictures [n, height, width], or [n, pixels] with `shape` (height, width), or of square pictures; with a last
    axis of 3 in `shape`, colours from 0 to 1.
    Raises: ShapeError for what are no pictures; MissingDependency without matplotlib.
    """
    x = _pictures("images", pictures, shape)
    axes = _axes(axes, 0.6 * min(len(x), columns or 10), 0.6 * -(-len(x) // (columns or min(len(x), 10))))
    _grid(axes, x, columns or math.ceil(math.sqrt(len(x))), each, signed)
    axes.set_title(title, fontsize=10)
    return axes


def filters(
    weight: Any, shape: tuple[int, ...] | None = None, *, count: int | None = None, columns: int | None = None,
    title: str = "", axes: Axes | None = None,
) -> Axes:  # fmt: skip
    """The weights of each unit as a picture of what it looks for: 0 is mid-grey, each unit has its own scale

    Shapes: weight [units, pixels], as Linear has it (an RBM's is [pixels, units]: give its .mT), or [units, height,
    width]; `count` takes the first few.
    Raises: as `images`.
    """
    x = _pictures("filters", weight, shape)[:count]
    return images(x, columns=columns, each=True, signed=True, title=title, axes=axes)


def fantasies(
    samples: Any, shape: tuple[int, ...] | None = None, *, columns: int = 10, title: str = "", axes: Axes | None = None
) -> Axes:  # fmt: skip
    """What a model dreams: samples, or their means, as pictures on one scale from 0 to 1 (or further, where they go)

    Shapes, Raises: as `images`.
    """
    x = _pictures("fantasies", samples, shape)
    axes = _axes(axes, 0.6 * columns, 0.6 * -(-len(x) // columns))
    _grid(axes, x, columns, False, False, (0.0, 1.0))
    axes.set_title(title, fontsize=10)
    return axes


def reconstructions(
    original: Any, others: Any, shape: tuple[int, ...] | None = None, *, title: str = "", axes: Axes | None = None
) -> Axes:  # fmt: skip
    """The originals in the first row, what was made of them in those below, cut off at the originals' scale

    `others` is one batch of reconstructions, or several by name: {"deep": …, "PCA": …}.
    Shapes: each as for `images`, all alike.
    Raises: ShapeError, also where they are not as many, or of another shape.
    """
    named = dict(others) if isinstance(others, Mapping) else {"reconstruction": others}
    rows = {"original": _pictures("reconstructions", original, shape)}
    for name, values in named.items():
        rows[name] = _pictures("reconstructions", values, shape)
        if rows[name].shape != rows["original"].shape:
            raise ShapeError(
                f"reconstructions: {name!r} are {list(rows[name].shape)}, the originals {list(rows['original'].shape)}"
            )
    x = np.concatenate([*rows.values()])
    n, height = len(rows["original"]), rows["original"].shape[1]
    axes = _axes(axes, 0.7 * n + 1, 0.7 * len(rows))
    finite = rows["original"][np.isfinite(rows["original"])]
    if finite.size and finite.min() < finite.max():
        x = np.where(np.isfinite(x), x.clip(finite.min(), finite.max()), x)
    _grid(axes, x, n, False, False)
    axes.set_yticks([i * (height + 1) + (height - 1) / 2 for i in range(len(rows))], [*rows], fontsize=8)
    axes.set_title(title, fontsize=10)
    return axes


def over_time(
    values: Mapping[str, Sequence[float]], *, xlabel: str = "epoch", ylabel: str = "energy, nats", first: int = 1,
    title: str = "", axes: Axes | None = None,
) -> Axes:  # fmt: skip
    """Energies, bounds or losses over time, one curve a name; what is not finite is marked × at the bottom

    Raises: ShapeError for a curve that is no list of numbers; MissingDependency.
    """
    curves = {name: _array("over_time", v) for name, v in values.items()}
    for name, y in curves.items():
        if y.ndim != 1:
            raise ShapeError(f"over_time: {name!r} must be a list of numbers, got shape {list(y.shape)}")
    axes = _axes(axes, 7, 4)
    for i, (name, y) in enumerate(curves.items()):
        steps, colour = np.arange(first, first + len(y)), COLOURS[i % len(COLOURS)]
        lost = ~np.isfinite(y)
        axes.plot(
            steps, np.where(lost, np.nan, y), DASHES[i % len(DASHES)], color=colour, label=name,
            marker="o" if len(y) == 1 else None,
        )  # fmt: skip
        if lost.any():
            axes.plot(
                steps[lost], [0.02] * int(lost.sum()), "x", color=colour, transform=axes.get_xaxis_transform(),
                label=f"{name}: not finite",
            )  # fmt: skip
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    if curves:
        axes.legend(fontsize=8, frameon=False)
    return axes


def codes(
    points: Any, labels: Any = None, *, names: Sequence[str] | None = None, title: str = "", axes: Axes | None = None
) -> Axes:  # fmt: skip
    """Two-dimensional codes as points, coloured (and marked) by class; those not finite are left out and counted

    Shapes: points [n, 2], labels [n] whole numbers; `names` by class.
    Raises: ShapeError; DTypeError for labels that are not whole numbers.
    """
    x = _array("codes", points)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ShapeError(
            f"codes: points have the shape [n, 2], got {list(x.shape)}; draw two of the axes, or PCA's first"
        )
    y = np.zeros(len(x), int) if labels is None else _array("codes", labels)
    if y.shape != (len(x),):
        raise ShapeError(f"codes: {len(x)} points want labels of shape [{len(x)}], got {list(y.shape)}")
    if y.dtype.kind not in "biu":
        raise DTypeError(f"codes: labels are whole numbers, one a point, not {y.dtype}")
    axes = _axes(axes, 5, 5)
    there = np.isfinite(x).all(axis=1)
    for i, c in enumerate(np.unique(y)):
        mine = x[there & (y == c)]
        axes.plot(
            mine[:, 0], mine[:, 1], MARKERS[i // len(COLOURS) % len(MARKERS)], color=COLOURS[i % len(COLOURS)],
            markersize=2.5, alpha=0.6, markeredgewidth=0, label=names[int(c)] if names is not None else str(c),
        )  # fmt: skip
    if labels is not None:
        axes.legend(fontsize=8, markerscale=3, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    lost = int((~there).sum())
    axes.set_xlabel(f"{lost} points are not finite" if lost else "", fontsize=8)
    axes.set_title(title, fontsize=10)
    return axes


def codes_beside_pca(
    points: Any, data: Any, labels: Any = None, *, names: Sequence[str] | None = None,
    titles: tuple[str, str] = ("codes", "the first two principal components"),
) -> tuple[Axes, Axes]:  # fmt: skip
    """`codes`, and beside them the data's first two principal components, in the same colours

    Shapes: points [n, 2], data [n, …], labels [n].
    Raises: ShapeError, also for data that are not as many as the points.
    """
    x = _array("codes_beside_pca", data)
    x = x.reshape(len(x), -1).astype(np.float64)
    if len(x) != len(_array("codes_beside_pca", points)) or x.shape[1] < 2:
        raise ShapeError(
            f"codes_beside_pca: the data must be as many as the points, of 2 numbers or more each; got {list(x.shape)}"
        )
    there = np.isfinite(x).all(axis=1)
    centred = x - (x[there].mean(axis=0) if there.any() else 0)
    _, vectors = np.linalg.eigh(centred[there].T @ centred[there])
    figure = _figure(10, 4.6)
    left, right = figure.subplots(1, 2)
    codes(points, labels, names=names, title=titles[0], axes=left)
    codes(centred @ vectors[:, :-3:-1], labels, names=names, title=titles[1], axes=right)
    if left.get_legend() is not None:
        left.get_legend().remove()
    return left, right


def _array(name: str, values: Any) -> Array:
    found = to_numpy(values.data) if isinstance(values, Tensor) else np.asarray(to_numpy(values))
    if found.dtype.kind not in "biuf":
        raise DTypeError(f"{name}: wants real numbers, got {found.dtype}")
    return found


def _pictures(name: str, values: Any, shape: tuple[int, ...] | None) -> Array:
    """[n, height, width] or [n, height, width, 3]"""
    x = _array(name, values)
    if shape is None and x.ndim == 2:
        side = math.isqrt(x.shape[1])
        if side * side != x.shape[1]:
            raise ShapeError(
                f"{name}: {x.shape[1]} pixels make no square; give shape=(height, width); got {list(x.shape)}"
            )
        shape = (side, side)
    if shape is not None:
        shape = tuple(shape)
        if x.ndim < 2 or math.prod(x.shape[1:]) != math.prod(shape):
            raise ShapeError(f"{name}: pictures of shape {shape} do not fit values of shape {list(x.shape)}")
        x = x.reshape(-1, *shape)
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[-1] != 3) or not x.size:
        raise ShapeError(
            f"{name}: wants [n, height, width], [n, height, width, 3], or [n, pixels] with shape=(height, width); got "
            f"{list(x.shape)}"
        )
    return x.astype(np.float64)


def _grid(
    axes: Axes, x: Array, columns: int, each: bool, signed: bool, scale: tuple[float, float] | None = None
) -> None:
    """One picture of all, with lines of white between them."""
    from matplotlib import colormaps

    if columns < 1:
        raise OptionError(f"pictures: columns must be 1 or more, got {columns!r}")
    n, height, width = x.shape[:3]
    columns = min(columns, n)
    lost = ~np.isfinite(x)
    known = np.where(lost, 0.0, x)
    if x.ndim == 4:
        shown = known.clip(0, 1)
        bad = lost.any(axis=-1)
    else:
        axis = (1, 2) if each else None
        low = np.where(lost, np.inf, x).min(axis=axis, keepdims=True)
        high = np.where(lost, -np.inf, x).max(axis=axis, keepdims=True)
        if signed:
            high = np.maximum(np.abs(low), np.abs(high))
            low = -high
        if scale is not None:
            low, high = np.minimum(low, scale[0]), np.maximum(high, scale[1])
        with np.errstate(invalid="ignore"):
            span = np.where(np.isfinite(high - low) & (high > low), high - low, 1.0)
            grey = np.where(np.isfinite(low) & (high > low), (known - low) / span, 0.5)
        shown = colormaps["gray"](grey)[..., :3]
        bad = lost
    shown[bad] = [int(_NOT_A_NUMBER[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    rows = -(-n // columns)
    whole = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, 3))
    for i in range(n):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        whole[top : top + height, left : left + width] = shown[i]
    axes.imshow(whole, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _axes(axes: Axes | None, width: float, height: float) -> Axes:
    return axes if axes is not None else _figure(max(2.0, width), max(1.2, height + 0.3)).add_subplot()


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency(
            "Pictures need matplotlib, which is in the viz extra: pip install 'tinygrad_mlsp[viz]'"
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    shows_itself(figure)
    return figure


__all__ = ["codes", "codes_beside_pca", "fantasies", "filters", "images", "over_time", "reconstructions"]
