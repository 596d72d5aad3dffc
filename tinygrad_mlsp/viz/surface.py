"""Loss surfaces, the ways of optimizers over them, saddle points, and embeddings in two dimensions.

    made = viz.surface(lambda: criterion(model(x), y), model)
    made.contour().figure.savefig("surface.svg")
    made.relief()

A surface is the loss on a plane through the weights, along two directions: random ones whose filters are as long as
the weights' own, the principal components of a training's way, or the directions in which the loss is bent most.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..backend import to_numpy
from ..derivatives import grad, hvp
from ..errors import DTypeError, MissingDependency, OptionError, ShapeError
from ..random import Generator
from ..tensor import Tensor, no_grad
from .dot import visible
from .layout import target, write_whole
from .pictures import codes
from .plots import COLOURS, DASHES, MARKERS, save_figure, shows_itself

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = np.ndarray[Any, Any]
Kind = Literal["minimum", "maximum", "saddle", "degenerate", "slope"]

# A mark and an ink for each kind of point: none depends on colour alone.
MARKS: dict[str, tuple[str, str]] = {
    "minimum": ("*", "#E69F00"), "maximum": ("^", "#ffffff"), "saddle": ("P", "#ffffff"),
    "degenerate": ("h", "#999999"),
}  # fmt: skip
SMALL = 32  # weights: up to so many, the whole Hessian is written down


# ---- The weights as one vector


def weights(model: Any) -> Array:
    """All parameters in one vector of float64, for the way of a training: `way.append(viz.weights(model))`."""
    return np.concatenate([p.numpy().astype(np.float64).ravel() for p in _parameters("weights", model)])


def _parameters(name: str, model: Any) -> list[Tensor]:
    """The parameters of a module, or the tensors themselves."""
    found = model.parameters() if hasattr(model, "parameters") else [model] if isinstance(model, Tensor) else model
    found = list(found) if isinstance(found, Sequence) or hasattr(found, "__iter__") else [found]
    if not found or not all(isinstance(p, Tensor) for p in found):
        raise OptionError(f"{name}: wants a model with parameters, a Tensor, or a list of Tensors; got {model!r:.200}")
    for p in found:
        if p.dtype.kind != "f":
            raise DTypeError(f"{name}: a surface is over real weights, not {p.dtype}")
    return found


@contextmanager
def _standing_in(parameters: list[Tensor], buffers: list[Tensor], flat: Tensor) -> Iterator[None]:
    """The parameters are pieces of `flat`, and buffers copies of what they are; afterwards all are what they were."""
    everything = [*parameters, *buffers]
    kept, at = [(t._array, t._node) for t in everything], 0
    try:
        for p in parameters:
            piece = flat[at : at + p.size].reshape(p.shape)
            piece = piece if piece.dtype == p.dtype else piece.astype(p.dtype)
            at += p.size
            p._array, p._node = piece._array, piece._node
        for b in buffers:
            b._array = +b._array if b._array.dtype.kind != "b" else b._array | False
        yield
    finally:
        for t, (array, node) in zip(everything, kept, strict=True):
            t._array, t._node = array, node


class _Loss:
    """The loss as a function of all weights in one vector."""

    def __init__(self, name: str, loss: Any, model: Any) -> None:
        if not callable(loss):
            raise OptionError(f"{name}: the loss is a function without arguments that computes it; got {loss!r:.200}")
        self.name, self.loss = name, loss
        self.parameters = _parameters(name, model)
        self.buffers = list(model.buffers()) if hasattr(model, "buffers") else []
        self.size = sum(p.size for p in self.parameters)
        self.device = self.parameters[0].device
        self.dtype = np.result_type(*(p.dtype for p in self.parameters))
        self.home = weights(self.parameters)

    def __call__(self, flat: Tensor) -> Tensor:
        with _standing_in(self.parameters, self.buffers, flat):
            value = self.loss()
        if not isinstance(value, Tensor) or value.size != 1:
            got = f"shape {list(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.100}"
            raise ShapeError(f"{self.name}: the loss must be a Tensor of one number, got {got}; take its mean()")
        return value.reshape(())

    def vector(self, values: Array) -> Tensor:
        return Tensor(values, dtype=self.dtype, device=self.device)

    def at(self, values: Array) -> float:
        """The loss at these weights."""
        with no_grad():
            return float(self(self.vector(values)))


# ---- Directions


def random_directions(model: Any, generator: Generator | None = None) -> Array:
    """Two random directions, each filter of which is as long as the model's own

    A filter is all that leads to one unit: θ[i] of a parameter with two axes or more. Biases and other parameters
    with one axis stay as they are; where there is nothing else, each of these counts as one filter.

    Shapes: [2, weights].
    Source: Li et al., "Visualizing the loss landscape of neural nets", 2018, section 4.
    """
    parameters = _parameters("random_directions", model)
    generator = generator or Generator(0)
    filtered = any(p.ndim > 1 for p in parameters)
    rows = []
    for _ in range(2):
        parts = []
        for p in parameters:
            theta = p.numpy().astype(np.float64)
            drawn = to_numpy(generator.normal(p.shape, dtype="float64")).reshape(p.shape)
            if filtered and p.ndim < 2:
                parts.append(np.zeros(p.size))
                continue
            lines = (len(theta), -1) if filtered else (1, -1)
            drawn, theta = drawn.reshape(lines), theta.reshape(lines)
            length = np.linalg.norm(drawn, axis=1, keepdims=True)
            parts.append((drawn / np.maximum(length, 1e-300) * np.linalg.norm(theta, axis=1, keepdims=True)).ravel())
        rows.append(np.concatenate(parts))
    return np.stack(rows)


def pca_directions(trajectory: Any, center: Any = None) -> tuple[Array, tuple[float, float]]:
    """The two directions, of length 1, in which a training's way goes furthest from its end, and their shares

    A share is what a direction has of all squared distances of the way from `center` (its end).

    Shapes: trajectory [steps, weights]; directions [2, weights].
    Source: Li et al., "Visualizing the loss landscape of neural nets", 2018, section 7.
    """
    way = _way("pca_directions", trajectory)
    offsets = way - (way[-1] if center is None else np.asarray(center, float))
    _, lengths, rows = np.linalg.svd(offsets, full_matrices=False)
    if len(rows) < 2:
        raise ShapeError("pca_directions: a way of one step has no two directions; keep the weights of several steps")
    whole = float((lengths**2).sum()) or 1.0
    return _signed(rows[:2]), (float(lengths[0] ** 2) / whole, float(lengths[1] ** 2) / whole)


@dataclass(frozen=True)
class Curvature:
    """How the loss is bent at a point: eigenvalues of the Hessian, ascending, and eigenvectors of length 1 as rows.

    `kind` is "minimum", "maximum", "saddle" or "degenerate" (an end of the spectrum is 0) where the gradient is so
    small that a Newton step along the most bent direction would be shorter than the tolerance; else "slope".
    """

    values: Array
    vectors: Array
    lowest: float
    highest: float
    gradient: float  # its norm
    kind: Kind

    def __str__(self) -> str:
        values = ", ".join(f"{v:.4g}" for v in self.values)
        return f"{self.kind}: ‖∇L‖ = {self.gradient:.3g}, eigenvalues of the Hessian {values}"

    def _repr_html_(self) -> str:
        return f"<pre>{self}</pre>"


def curvature(
    loss: Callable[[], Tensor], model: Any, *, ends: Literal["largest", "both"] = "both", tolerance: float = 1e-3
) -> Curvature:
    """The two eigenvectors of the Hessian with the largest eigenvalues, or with the smallest and the largest

    The Hessian is seen only in products with vectors (`hvp`), about four losses each; the eigenvectors come from
    SciPy's Lanczos iteration. The model is as before afterwards.

    Raises: OptionError; ShapeError for a loss that is not one number.
    """
    if ends not in ("largest", "both"):
        raise OptionError(f"curvature: ends is 'largest' or 'both', not {ends!r}")
    f = _Loss("curvature", loss, model)
    here = f.vector(f.home)
    gradient = float(np.linalg.norm(grad(f)(here).numpy().astype(np.float64)))

    def product(v: Array) -> Array:
        found: Array = hvp(f, here, f.vector(np.asarray(v).ravel())).numpy().astype(np.float64)
        return found

    if f.size <= SMALL:
        dense = np.stack([product(row) for row in np.eye(f.size)])
        spectrum, columns = np.linalg.eigh((dense + dense.T) / 2)
        lowest, highest = float(spectrum[0]), float(spectrum[-1])
        pick = [*range(f.size)[-2:]] if ends == "largest" or f.size == 1 else [0, f.size - 1]
        values, vectors = spectrum[pick], columns.T[pick]
    else:
        from scipy.sparse.linalg import LinearOperator, eigsh

        matrix = LinearOperator((f.size, f.size), matvec=product, dtype=np.float64)
        options = {"tol": 1e-4 if f.dtype.itemsize < 8 else 1e-9, "v0": np.random.default_rng(0).normal(size=f.size)}
        spectrum, columns = eigsh(matrix, k=2, which="BE", **options)
        lowest, highest = float(spectrum[0]), float(spectrum[-1])
        if ends == "largest":
            spectrum, columns = eigsh(matrix, k=2, which="LA", **options)
        order = np.argsort(spectrum)
        values, vectors = spectrum[order], columns.T[order]
    noise = 1e-3 if f.dtype.itemsize < 8 else 1e-8
    top = max(abs(lowest), abs(highest))
    kind: Kind = "slope" if gradient > tolerance * top else _kind(lowest, highest, noise * top)
    return Curvature(values, _signed(vectors), lowest, highest, gradient, kind)


def _kind(lowest: float, highest: float, noise: float) -> Kind:
    """The kind of a point without slope, by the ends of its Hessian's spectrum."""
    if lowest < -noise and highest > noise:
        return "saddle"
    return "minimum" if lowest > noise else "maximum" if highest < -noise else "degenerate"


def _signed(rows: Array) -> Array:
    """Rows whose largest entry is positive: which of ±v a decomposition gives is chance."""
    largest = np.take_along_axis(rows, np.argmax(np.abs(rows), axis=1)[:, None], axis=1)
    return np.where(largest < 0, -rows, rows)


def _way(name: str, trajectory: Any) -> Array:
    way = np.asarray([to_numpy(_plain_array(x)).ravel() for x in trajectory], float)
    if way.ndim != 2 or not len(way):
        raise ShapeError(f"{name}: a way is a list of vectors, as weights() gives them; got shape {list(way.shape)}")
    return way


def _plain_array(x: Any) -> Any:
    return x._array if isinstance(x, Tensor) else np.asarray(x) if isinstance(x, (list, tuple, float, int)) else x


# ---- Surfaces


@dataclass(frozen=True)
class Surface:
    """The loss at center + a d₁ + b d₂; `contour()` and `relief()` draw it, `save()` writes it.

    Shapes: center [weights], directions [2, weights], a [n], b [m], values [m, n], path [steps, 2], heights [steps].
    """

    center: Array
    directions: Array
    a: Array
    b: Array
    values: Array
    loss: float  # at the center
    names: tuple[str, str] = ("direction 1", "direction 2")
    path: Array | None = None  # a training's way, projected onto the plane
    heights: Array | None = None  # the loss at the projected points
    off: Array | None = None  # how far each point of the way is from the plane
    title: str = ""

    def project(self, way: Any) -> tuple[Array, Array]:
        """The coordinates (a, b) of the nearest points of the plane, and how far away from it the way is

        Shapes: way [steps, weights]; [steps, 2] and [steps].
        """
        points = _way("Surface.project", way)
        if points.shape[1] != self.center.size:
            raise ShapeError(f"Surface.project: {self.center.size} weights, but the way has {points.shape[1]}")
        offsets = points - self.center
        found = np.linalg.lstsq(self.directions.T, offsets.T, rcond=None)[0].T
        return found, np.linalg.norm(offsets - found @ self.directions, axis=1)

    def contour(self, axes: Axes | None = None) -> Axes:
        """Contour lines with their losses, and the way over them, in these matplotlib axes or in new ones."""
        axes = axes if axes is not None else _axes()
        _contours(axes, self.a, self.b, self.values)
        axes.plot([0], [0], marker="*", markersize=15, color="#E69F00", markeredgecolor="black", linestyle="none",
                  label=f"the weights: {self.loss:.4g}", zorder=8)  # fmt: skip
        if self.path is not None:
            _draw_way(axes, self.path, "the way", 1)
        _dress(axes, self.names, self.title)
        axes.legend(fontsize=8, loc="upper right")
        return axes

    def relief(self, axes: Axes | None = None) -> Axes:
        """The surface in three dimensions, in these axes (of projection "3d") or in new ones."""
        axes = axes if axes is not None else _axes("3d")
        axes.computed_zorder = False  # type: ignore[attr-defined]
        axes.view_init(38, -60)  # type: ignore[attr-defined]
        axes.set_box_aspect(None, zoom=0.85)  # type: ignore[call-arg]
        a, b = np.meshgrid(self.a, self.b)
        shown = np.where(np.isfinite(self.values), self.values, np.nan)
        low, high = _range(self.values)
        axes.plot_surface(  # type: ignore[attr-defined]
            a, b, shown, cmap="viridis", vmin=low, vmax=high, alpha=0.85, rstride=1, cstride=1, linewidth=0.15,
            edgecolor="#333333", antialiased=True,
        )  # fmt: skip
        if self.path is not None and self.heights is not None:
            lift = 0.01 * (high - low)
            axes.plot(*self.path.T, self.heights + lift, color=COLOURS[1], marker="o", markersize=2.5, zorder=6)
        axes.plot([0], [0], [self.loss], marker="*", markersize=12, color="#E69F00", markeredgecolor="black", zorder=7)
        axes.set_zlabel("loss")  # type: ignore[attr-defined]
        _dress(axes, self.names, self.title)
        return axes

    def records(self) -> dict[str, Any]:
        """All but the vectors themselves, ready for JSON; what is not finite is None."""

        def plain(x: Array | None) -> Any:
            return None if x is None else np.where(np.isfinite(x), x, np.array(None)).tolist()

        return {
            "title": self.title, "names": list(self.names), "a": plain(self.a), "b": plain(self.b),
            "values": plain(self.values), "loss": self.loss if math.isfinite(self.loss) else None,
            "path": plain(self.path), "heights": plain(self.heights), "off": plain(self.off),
        }  # fmt: skip

    def save(self, where: str | PathLike[str]) -> None:
        """Writes the contour lines, .svg, .png or .pdf, or the numbers, .json."""
        file, format = target(where, ("svg", "png", "pdf", "json"))
        if format == "json":
            write_whole(file, json.dumps(self.records(), allow_nan=False).encode())
        else:
            save_figure(self.contour().figure, file)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        low, high = _range(self.values)
        return f"<Surface of {self.center.size:,} weights, {self.values.size:,} losses from {low:.4g} to {high:.4g}>"

    def _repr_png_(self) -> bytes | None:
        try:
            return self.contour()._repr_png_()  # type: ignore[attr-defined]
        except MissingDependency:
            return None


def surface(
    loss: Callable[[], Tensor],
    model: Any,
    directions: Literal["random", "pca", "hessian"] | Any = "random",
    *,
    trajectory: Any = None,
    span: float | tuple[tuple[float, float], tuple[float, float]] | None = None,
    points: int = 25,
    generator: Generator | None = None,
    title: str = "",
) -> Surface:
    """The loss on a plane through the model's weights, along two directions.

    `loss` computes the loss with the weights that the model has at the time, on all data or one fixed batch; it is
    called points² times, without recording. `directions` are "random" (`random_directions`), "pca" (of `trajectory`,
    a list of what `weights` gave), "hessian" (the two largest eigenvalues of `curvature`), or two vectors. The plane
    reaches `span` each way (1; with a trajectory, as far as that goes), or ((left, right), (low, high)).

    The model is as before afterwards: weights, buffers, mode. It is run in the mode that it is in; in training mode
    dropout draws anew for each point, so call `model.eval()` first for a surface without that noise.

    Raises: OptionError; ShapeError for directions or a trajectory of another size.
    Source: Li et al., "Visualizing the loss landscape of neural nets", 2018.
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise OptionError(f"surface: points is a whole number of 2 or more, got {points!r}")
    f = _Loss("surface", loss, model)
    way = None if trajectory is None else _way("surface", trajectory)
    if way is not None and way.shape[1] != f.size:
        raise ShapeError(f"surface: the model has {f.size} weights, the trajectory's points {way.shape[1]}")
    names = ("direction 1", "direction 2")
    if isinstance(directions, str):
        if directions == "random":
            plane = random_directions(f.parameters, generator)
            names = ("random direction 1", "random direction 2")
        elif directions == "pca":
            if way is None:
                raise OptionError(
                    "surface: directions='pca' are those of a trajectory; pass trajectory=, a list of weights"
                )
            plane, shares = pca_directions(way, f.home)
            names = (f"component 1 ({shares[0]:.1%} of the way)", f"component 2 ({shares[1]:.1%})")
        elif directions == "hessian":
            bent = curvature(loss, model, ends="largest")
            plane = bent.vectors[::-1]
            if len(plane) == 2:
                names = (f"eigenvector, λ = {bent.values[1]:.3g}", f"eigenvector, λ = {bent.values[0]:.3g}")
        else:
            raise OptionError(f"surface: directions are 'random', 'pca', 'hessian' or two vectors; got {directions!r}")
    else:
        plane = _way("surface", directions)
    if plane.shape != (2, f.size):
        raise ShapeError(f"surface: wants two directions of {f.size} weights, got {list(plane.shape)}")
    if np.linalg.matrix_rank(plane) < 2:
        raise OptionError("surface: the two directions lie on one line; they must span a plane")
    empty = np.zeros(0)
    made = Surface(f.home, plane, empty, empty, empty, f.at(f.home), names, title=title)
    path = heights = off = None
    if way is not None:
        path, off = made.project(way)
        heights = np.array([f.at(f.home + point @ plane) for point in path])
    (left, right), (low, high) = _window(span, path)
    a, b = np.linspace(left, right, points), np.linspace(low, high, points)
    values = np.array([[f.at(f.home + x * plane[0] + y * plane[1]) for x in a] for y in b])
    return Surface(f.home, plane, a, b, values, made.loss, names, path, heights, off, title)


def _window(span: Any, path: Array | None) -> tuple[tuple[float, float], tuple[float, float]]:
    if span is None and path is not None:
        ends = np.concatenate([path, [[0.0, 0.0]]])
        low, high = ends.min(axis=0), ends.max(axis=0)
        room = 0.15 * (high - low) + 0.05 * (high - low).max() + 1e-12
        return tuple(zip((low - room).tolist(), (high + room).tolist(), strict=True))  # type: ignore[return-value]
    span = 1.0 if span is None else span
    try:
        limits = [(-float(span), float(span))] * 2 if np.ndim(span) == 0 else [(float(x), float(y)) for x, y in span]
    except (TypeError, ValueError):
        limits = []
    if len(limits) != 2 or not all(x < y for x, y in limits):
        raise OptionError(f"a window is a number above 0, or ((left, right), (low, high)); got {span!r}")
    return limits[0], limits[1]


# ---- Functions of two variables


@dataclass(frozen=True)
class Critical:
    """A point where the gradient vanishes; `eigenvalues` of the Hessian there are ascending."""

    point: tuple[float, ...]
    value: float
    gradient: float
    eigenvalues: tuple[float, ...]
    kind: Kind

    def __str__(self) -> str:
        at = ", ".join(f"{x:.4g}" for x in self.point)
        bent = ", ".join(f"{x:.4g}" for x in self.eigenvalues)
        return f"{self.kind} at ({at}), f = {self.value:.4g}, eigenvalues {bent}"


def critical_points(
    f: Callable[[Tensor], Tensor], window: Any, *, starts: int = 12, device: str | None = None
) -> list[Critical]:
    """Minima, maxima and saddle points of a function of two variables in a window, each with its kind

    From a grid of starts^2 points Newton's method goes to where ∇f = 0, all at once; gradient and Hessian are the
    engine's. `f` takes p with p[0] and p[1] and works on arrays of points. `window` is ((left, right), (low, high)).
    What a grid's paths all miss is not found.

    Raises: ShapeError for an f that does not take arrays of points.
    """
    (left, right), (low, high) = _window(window, None)
    x, y = np.meshgrid(np.linspace(left, right, starts), np.linspace(low, high, starts))
    points = np.stack([x.ravel(), y.ravel()])
    size = math.hypot(right - left, high - low)
    total = lambda p: _many(f, p).sum()
    slope = grad(total)

    def at(points: Array) -> tuple[Array, Array]:
        """Gradients [n, 2] and Hessians [n, 2, 2]."""
        p = Tensor(points, dtype="float64", device=device)
        rows = [hvp(total, p, np.broadcast_to(e[:, None], points.shape).copy()).numpy() for e in np.eye(2)]
        return slope(p).numpy().T, np.stack(rows).transpose(2, 0, 1)

    g, h = at(points)
    steep, bent = (float(np.median(np.abs(v)[np.isfinite(v)])) if np.isfinite(v).any() else 1.0 for v in (g, h))
    for _ in range(50):
        h = np.where(np.isfinite(h), h, 0.0)
        values, vectors = np.linalg.eigh((h + h.transpose(0, 2, 1)) / 2)
        parts = np.einsum("nij,ni->nj", vectors, np.where(np.isfinite(g), g, 0.0))
        least = np.abs(values) > 1e-14 * max(bent, 1e-300)
        step = -np.einsum("nij,nj->ni", vectors, np.where(least, parts / np.where(least, values, 1.0), 0.0))
        length = np.linalg.norm(step, axis=1, keepdims=True)
        step *= np.minimum(1.0, 0.2 * size / np.maximum(length, 1e-300))
        points = np.clip((points.T + step).T, [[left - size], [low - size]], [[right + size], [high + size]])
        g, h = at(points)
        if np.linalg.norm(step, axis=1).max() < 1e-13 * size:
            break
    norms = np.linalg.norm(g, axis=1)
    inside = (points[0] >= left) & (points[0] <= right) & (points[1] >= low) & (points[1] <= high)
    good = np.flatnonzero(
        inside & np.isfinite(norms) & np.isfinite(h).all(axis=(1, 2)) & (norms <= 1e-8 * max(steep, 1e-300))
    )
    with no_grad():
        heights = _many(f, Tensor(points, dtype="float64", device=device)).numpy()
    found: list[Critical] = []
    for i in good[np.argsort(norms[good])]:
        point = points[:, i]
        if any(math.dist(point, other.point) < 1e-3 * size for other in found):
            continue
        spectrum = np.linalg.eigvalsh((h[i] + h[i].T) / 2)
        kind = _kind(float(spectrum[0]), float(spectrum[1]), 1e-5 * max(float(np.abs(spectrum).max()), 1e-3 * bent))
        found.append(
            Critical(tuple(point.tolist()), float(heights[i]), float(norms[i]), tuple(spectrum.tolist()), kind)
        )
    return sorted(found, key=lambda c: c.value)


def _many(f: Callable[[Tensor], Tensor], p: Tensor) -> Tensor:
    """f at all points p [2, …]."""
    if not callable(f):
        raise OptionError(f"the function must be one of a point p, written with p[0] and p[1]; got {f!r}")
    value = f(p)
    if not isinstance(value, Tensor) or value.shape != p.shape[1:]:
        got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ShapeError(
            f"the function must take points of shape [2, n] and give [n] values, it gave {got} for n = {p.shape[1]}; "
            "write it with p[0] and p[1]"
        )
    return value


def landscape(
    f: Callable[[Tensor], Tensor],
    window: Any,
    *,
    critical: bool | Sequence[Critical] = True,
    points: int = 100,
    device: str | None = None,
    title: str = "",
    axes: Axes | None = None,
) -> Axes:
    """Contour lines of a function of two variables, with its minima, maxima and saddle points marked

    `f` and `window` are as for `critical_points`, whose finds are marked (or those given, or none with False).
    """
    (left, right), (low, high) = _window(window, None)
    axes = axes if axes is not None else _axes()
    x, y = np.linspace(left, right, points), np.linspace(low, high, points)
    grid = np.stack(np.meshgrid(x, y)).reshape(2, -1)
    with no_grad():
        values = _many(f, Tensor(grid, dtype="float64", device=device)).numpy().reshape(points, points)
    _contours(axes, x, y, values)
    if critical is True:
        critical = critical_points(f, window, device=device)
    for kind, (mark, ink) in MARKS.items():
        found = [c for c in critical or () if c.kind == kind]
        if found:
            axes.plot(*np.transpose([c.point for c in found]), marker=mark, color=ink, markeredgecolor="black",
                      markersize=20 if mark == "*" else 11, linestyle="none", label=kind, zorder=4)  # fmt: skip
    _dress(axes, ("x", "y"), title)
    axes.set(xlim=(left, right), ylim=(low, high))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    return axes


def trajectories(
    f: Callable[[Tensor], Tensor],
    ways: Mapping[str, Any],
    window: Any = None,
    *,
    critical: bool | Sequence[Critical] = True,
    device: str | None = None,
    title: str = "",
    axes: Axes | None = None,
) -> Axes:
    """The ways of several optimizers over a function of two variables, with its minima and saddle points marked

    `ways` has the points of each by name, as `optim.minimize(…).trajectory`: a dot where it starts, a cross where it
    ends. `window` is chosen to hold them if none is given.

    Shapes: each way [steps, 2].
    """
    points = {name: _way(f"trajectories: {visible(name, 40)!r}", way) for name, way in ways.items()}
    for name, way in points.items():
        if way.shape[1] != 2:
            raise ShapeError(f"trajectories: {visible(name, 40)!r} has points of {way.shape[1]} numbers, not of 2")
    if window is None:
        if not points:
            raise OptionError("trajectories: with no way to show, say which window")
        every = np.concatenate([*points.values()])
        window = _window(None, every[np.isfinite(every).all(axis=1)])
    axes = landscape(f, window, critical=critical, device=device, title=title, axes=axes)
    for i, (name, way) in enumerate(points.items()):
        _draw_way(axes, way, name, i)
    if points:
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return axes


# ---- Embeddings


def embed(data: Any, method: Literal["pca", "t-sne"] = "pca", *, seed: int = 0, perplexity: float = 30.0) -> Array:
    """Points of many numbers as points of two: their first principal components, or t-SNE

    Principal components come from the SVD of the centred data; distances along them are the data's own. t-SNE is
    scikit-learn's; it keeps neighbours together, and distances between groups mean little.

    Shapes: data [n, …]; [n, 2].
    Raises: ShapeError; MissingDependency for t-SNE without scikit-learn.
    """
    x = np.asarray(to_numpy(_plain_array(data)), float)
    x = x.reshape(len(x), -1) if x.size else x
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 2:
        raise ShapeError(f"embed: wants two points or more, of two numbers or more each; got {list(x.shape)}")
    if not np.isfinite(x).all():
        raise OptionError("embed: the data have entries that are not finite; leave those points out")
    if method == "pca":
        x = x - x.mean(axis=0)
        rows = _signed(np.linalg.svd(x, full_matrices=False)[2][:2])
        made: Array = x @ rows.T
        return made
    if method != "t-sne":
        raise OptionError(f"embed: method is 'pca' or 't-sne', not {method!r}")
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingDependency(
            "embed: t-SNE needs scikit-learn, which is in the estimators extra: pip install 'tinygrad_mlsp[estimators]'"
        ) from error
    made = TSNE(2, perplexity=min(perplexity, (len(x) - 1) / 3), random_state=seed, init="pca").fit_transform(x)
    return made


def embedding(
    data: Any,
    labels: Any = None,
    method: Literal["pca", "t-sne"] = "pca",
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    axes: Axes | None = None,
) -> Axes:
    """`embed`, drawn: each class has a colour and a mark of its own; `names` by class

    Shapes: data [n, …], labels [n] whole numbers.
    """
    shown = None if names is None else [_plain(name) for name in names]
    axes = codes(embed(data, method), labels, names=shown, axes=axes if axes is not None else _axes())
    for i, line in enumerate(axes.lines):
        line.set(marker=MARKERS[i % len(MARKERS)], markersize=4, alpha=0.8)
    if legend := axes.get_legend():
        legend.remove()
        axes.legend(fontsize=8, markerscale=1.5, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    which = ("component 1", "component 2") if method == "pca" else ("t-SNE 1", "t-SNE 2")
    _dress(axes, which, title)
    return axes


# ---- Drawing


def _axes(projection: str | None = None) -> Axes:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency(
            "Pictures need matplotlib, which is in the viz extra: pip install 'tinygrad_mlsp[viz]'"
        ) from error
    figure = Figure(figsize=(6.8, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    shows_itself(figure)
    return figure.add_subplot(projection=projection)


def _range(values: Array) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)


def _contours(axes: Axes, x: Array, y: Array, values: Array) -> None:
    """Filled contours with labelled lines, closer together where the values are low if they span decades."""
    low, high = _range(values)
    if not high > low:
        axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
        return
    shown = np.ma.masked_invalid(values)
    from matplotlib.colors import BoundaryNorm

    steps = np.linspace(0, 1, 17)
    if high - low > 20 * (float(np.quantile(values[np.isfinite(values)], 0.25)) - low):
        steps = np.expm1(steps * math.log1p(1e3)) / 1e3  # the bottom of a deep valley has lines too
    levels = np.unique(low + (high - low) * steps)

    axes.contourf(x, y, shown, levels, cmap="viridis", norm=BoundaryNorm(levels, 256), alpha=0.45, extend="both")
    lines = axes.contour(x, y, shown, levels, colors="#333333", linewidths=0.5)
    axes.clabel(lines, levels[1:-1:3], fmt="%.3g", fontsize=7)


def _draw_way(axes: Axes, way: Array, name: str, number: int) -> None:
    look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}
    mark = MARKERS[number % len(MARKERS)]
    axes.plot(*way.T, **look, linewidth=1.5, marker=mark, markersize=3.5, markevery=max(1, len(way) // 12),
              label=_plain(name), zorder=5)  # fmt: skip
    axes.plot(*way[0], marker="o", markersize=6, color=look["color"], markeredgecolor="white", zorder=6)
    axes.plot(*way[-1], marker="X", markersize=7, color=look["color"], markeredgecolor="white", zorder=7)


def _dress(axes: Axes, names: tuple[str, str], title: str) -> None:
    axes.set_xlabel(_plain(names[0]), fontsize=9)
    axes.set_ylabel(_plain(names[1]), fontsize=9)
    axes.set_title(_plain(title), fontsize=11)
    axes.tick_params(labelsize=8)


def _plain(text: str) -> str:
    """A name for matplotlib, which reads mathematics between dollars."""
    return visible(str(text), 60).replace("$", r"\$")
