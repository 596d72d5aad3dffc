"""Plots of gradients and of training, as figures of their own: no pyplot, no global state, no display."""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependency
from .dot import visible
from .layout import target, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours for all kinds of colour vision, without the yellow, which is lost on white. Colours, dashes
# and markers repeat after 7, 4 and 9 curves, so that no two of 252 look the same, with or without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


def gradient_profile(
    profiles: Mapping[str, Sequence[float]],
    *,
    xlabel: str = "layer",
    ylabel: str = "norm of the gradient",
    title: str = "",
    first: int = 1,
    threshold: float | None = None,
) -> "Figure":
    """One curve a net: the gradient's norm, on a log scale, over layer or time step, from `first` on.

    What a log scale cannot show is marked at its edge and told in a note: zero at the bottom, infinity at the top, NaN
    as a cross. `threshold` is drawn as a line: below it the gradient counts as vanished.

    Raises: MissingDependency without matplotlib.
    """
    figure, (axes,) = _figure(1, title)
    # The axis is linear in log10: matplotlib's own log axis overflows where an exploding gradient is near 1e308.
    shown = [math.log10(v) for values in profiles.values() for v in values if v > 0 and math.isfinite(v)]
    if threshold is not None:
        shown.append(math.log10(threshold))
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    room = max(0.5, 0.05 * (high - low))
    low, high = low - room, high + room
    step = max(1, math.ceil((high - low) / 8))
    decades = range(math.ceil(low / step) * step, math.floor(high) + 1, step)
    axes.set_yticks(decades, [f"$10^{{{decade}}}$" for decade in decades])
    # a row below for each net that needs one, so that no mark covers another's
    hidden = [name for name, values in profiles.items() if any(not v > 0 for v in values)]
    floors = {name: low - (i + 0.5) * room for i, name in enumerate(hidden)}
    ceiling = high + 0.5 * room
    infinite = any(v == math.inf for values in profiles.values() for v in values)
    low, high = low - len(hidden) * room, high + infinite * room
    notes: dict[str, None] = {}
    ends = []
    for name, values, look in _curves(profiles):
        points = [
            (step, ceiling if v == math.inf else math.log10(v) if v > 0 else floors[name])
            for step, v in enumerate(values, first)
        ]
        drawn = [y if v > 0 and v < math.inf else math.nan for (_, y), v in zip(points, values, strict=True)]
        axes.plot([step for step, _ in points], drawn, label=name, **look)
        ends.append((look, name, points))
        for (step, y), v in zip(points, values, strict=True):
            if v > 0 and v < math.inf:
                continue
            if v == 0:
                note, marker, inner = "▽ at the bottom: exactly 0", "v", "white"
            elif v == math.inf:
                note, marker, inner = "△ at the top: infinite", "^", "white"
            elif v < 0:
                note, marker, inner = "+ at the bottom: below 0", "+", look["color"]
            else:
                note, marker, inner = "× at the bottom: not a number", "x", look["color"]
            notes[note] = None
            axes.plot([step], [y], marker=marker, markersize=8, clip_on=False, zorder=3, linestyle="none",
                      color=look["color"], markerfacecolor=inner)  # fmt: skip
    axes.set_ylim(low, high)
    if threshold is not None:
        y = math.log10(threshold)
        axes.axhline(y, color="#555555", linewidth=1, linestyle=(0, (1, 2)))
        axes.text(0.99, y, f"vanished below {threshold:.0e}", transform=axes.get_yaxis_transform(),
                  ha="right", va="top", color="#555555", fontsize=8)  # fmt: skip
    if notes:
        figure.supxlabel(";  ".join(notes), fontsize=8, color="#333333")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    _name(axes, ends, (low, high), either=True)
    return figure


def heat_map(
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    label: str = "",
    xlabel: str = "",
    log: bool = True,
    most: float | None = None,
    title: str = "",
) -> "Axes":
    """A table as colours, dark for little, with numbers in some of its cells, as axes that can be changed.

    With `log` the colours go by log₁₀; what has none stands in its cell as 0 or ∞, and NaN is an empty, grey cell.
    Without, values are shares, and the colours go from 0 to `most` (or the largest).

    Shapes: values [rows, columns].
    Raises: MissingDependency without matplotlib.
    """
    import numpy as np

    table = np.asarray(values, float)
    figure, (axes,) = _figure(1, title)
    figure.set_size_inches(8.5, min(14.0, max(2.6, 1.7 + 0.17 * len(rows))))
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.log10(table) if log else table.copy()
    shown[~np.isfinite(shown)] = np.nan
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if log:
        low, high = min(low, high - 1), high
    else:
        low, high = 0.0, max(high, 0.01) if most is None else most
    axes.grid(False)
    axes.set_facecolor("#eeeeee")
    image = axes.imshow(shown, aspect="auto", cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, label=label, pad=0.015)
    bar.outline.set_visible(False)
    if log:
        step = max(1, math.ceil((high - low) / 8))
        decades = [d for d in range(math.ceil(low), math.floor(high) + 1) if d % step == 0]
        if len(decades) > 1:
            bar.set_ticks(decades, labels=[f"$10^{{{d}}}$" for d in decades])
        else:
            bar.set_ticks([low, high], labels=[f"{10.0**v:.1e}" for v in (low, high)])
    down, across = -(-len(rows) // 40) or 1, -(-len(columns) // 20) or 1
    axes.set_yticks(range(0, len(rows), down), [rows[i] for i in range(0, len(rows), down)], fontsize=7)
    axes.set_xticks(range(0, len(columns), across), [columns[i] for i in range(0, len(columns), across)], fontsize=7)
    room = 9 if log else 18
    each = -(-len(columns) // room) or 1  # a number fits in one of these
    for i in range(0, len(rows), down):
        for j in range(0, len(columns)):
            v, found = table[i, j], shown[i, j]
            plain = not math.isnan(found)
            if plain and (j % each or (not log and v < 0.005)):
                continue
            if plain:
                text = f"{v:.0e}".replace("e-0", "e-").replace("e+0", "e") if log else f"{v:.0%}"
            else:
                text = "0" if v == 0 else "∞" if v == math.inf else "" if math.isnan(v) else "–"
            light = plain and found > low + 0.6 * (high - low)
            axes.text(j, i, text, ha="center", va="center", fontsize=6.5,
                      color="black" if light or not plain else "white")  # fmt: skip
    axes.set_xlabel(xlabel)
    return axes


def training_curves(
    loss: Mapping[str, Sequence[float]],
    accuracy: Mapping[str, Sequence[float]] | None = None,
    *,
    title: str = "",
    xlabel: str = "epoch",
    first: int = 1,
) -> "Figure":
    """The training loss and, where given, the test accuracy (0 … 1) over the epochs, one curve a net.

    Values that are not finite leave a gap, marked by a cross at the bottom and told in a note.

    Raises: MissingDependency without matplotlib.
    """
    panels = [("training loss", loss)] + ([("test accuracy", accuracy)] if accuracy is not None else [])
    figure, many = _figure(len(panels), title)
    styles = {name: look for name, _, look in _curves({**loss, **(accuracy or {})})}  # a net looks the same in both
    gaps = False
    for axes, (ylabel, curves) in zip(many, panels, strict=True):
        finite = [v for values in curves.values() for v in values if math.isfinite(v)]
        low, high = (0.0, 1.0) if ylabel == "test accuracy" else (min([0.0, *finite]), max(finite, default=1.0))
        room = 0.04 * (high - low) or 1.0
        floor, low, high = low - room, low - room, high + room
        if any(not math.isfinite(v) for values in curves.values() for v in values):
            low -= room
        ends = []
        for name, values in curves.items():
            steps = range(first, first + len(values))
            axes.plot(steps, [v if math.isfinite(v) else math.nan for v in values], label=name, **styles[name])
            lost = [step for step, v in zip(steps, values, strict=True) if not math.isfinite(v)]
            gaps = gaps or bool(lost)
            if lost:
                axes.plot(lost, [floor] * len(lost), "x", color=styles[name]["color"], clip_on=False, zorder=3)
            points = [(step, v if math.isfinite(v) else floor) for step, v in zip(steps, values, strict=True)]
            ends.append((styles[name], name, points))
        axes.set_ylim(low, high)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        _name(axes, ends, (low, high), gap=0.065 if accuracy is None else 0.08)
    if gaps:
        figure.supxlabel("× at the bottom: not a finite number", fontsize=8, color="#333333")
    return figure


def save_figure(figure: "Figure", path: str | PathLike[str]) -> None:
    """Write .svg, .png or .pdf; the same figure gives the same bytes, and the file is whole or not there.

    Raises: OptionError for another ending, or a folder that is not there.
    """
    import matplotlib

    file, format = target(path, ("svg", "png", "pdf"))
    data = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tinygrad_mlsp", "svg.fonttype": "path"}):
        undated: dict[str, dict[str, Any]] = {
            "svg": {"Date": None, "Creator": None}, "png": {"Software": None}, "pdf": {"CreationDate": None},
        }  # fmt: skip
        figure.savefig(data, format=format, dpi=144, metadata=undated[format])
    write_whole(file, data.getvalue())


def shows_itself(figure: "Figure") -> None:
    """Lets a notebook show the figure, and each of its axes, where pyplot has not been imported either."""
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    figure.add_axobserver(_axes_show_it)


def _axes_show_it(figure: "Figure") -> None:
    for axes in figure.axes:
        axes._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]


def _png(figure: "Figure") -> bytes:
    data = BytesIO()
    figure.savefig(data, format="png", dpi=100)
    return data.getvalue()


def _figure(panels: int, title: str) -> "tuple[Figure, list[Axes]]":
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise MissingDependency(
            "Plots need matplotlib, which is in the viz extra: pip install 'tinygrad_mlsp[viz]'"
        ) from error
    figure = Figure(figsize=(8.5, 4.6 if panels == 1 else 6.8), layout="constrained")
    FigureCanvasAgg(figure)
    shows_itself(figure)
    figure.suptitle(title, fontsize=12)
    many = [figure.add_subplot(panels, 1, i + 1) for i in range(panels)]
    for axes in many:
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "left", "right"]].set_visible(False)
        axes.tick_params(length=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, many


def _curves(curves: Mapping[str, Sequence[float]]) -> list[tuple[str, Sequence[float], dict[str, Any]]]:
    """Every curve with its look."""
    return [
        (
            name,
            values,
            {
                "color": COLOURS[i % len(COLOURS)],
                "linestyle": DASHES[i % len(DASHES)],
                "marker": MARKERS[i % len(MARKERS)],
                "markersize": 4.5,
                "markevery": max(1, len(values) // 12),
                "linewidth": 1.5,
            },
        )
        for i, (name, values) in enumerate(curves.items())
    ]


def _name(
    axes: "Axes",
    curves: list[tuple[dict[str, Any], str, list[tuple[int, float]]]],
    limits: tuple[float, float],
    *,
    gap: float = 0.065,
    either: bool = False,
) -> None:
    """Each curve's name, with a piece of the curve, at its end; or at the start, if `either` and there is more room.

    `gap`, the least distance of two names, is a fraction of the panel's height.
    """
    from matplotlib.lines import Line2D

    curves = [curve for curve in curves if curve[2]]
    if not curves:
        return
    low, high = limits
    steps = [step for _, _, points in curves for step, _ in points]
    xlow, xhigh = min(steps) - 0.5, max(steps) + 0.5
    axes.set_xlim(xlow, xhigh)
    gap = min(gap, 1 / len(curves))

    def at(side: int) -> tuple[float, list[float], list[float]]:
        """How far names must move so that none covers another; where the curves end; where the names go."""
        ends = [min(1.0, max(0.0, (points[side][1] - low) / (high - low))) for _, _, points in curves]
        order = sorted(range(len(ends)), key=lambda i: ends[i])
        places = list(ends)
        for below, i in itertools.pairwise(order):
            places[i] = max(places[i], places[below] + gap)
        over = max(0.0, places[order[-1]] - 1)  # push back down from the top
        if over:
            places[order[-1]] -= over
            for above, i in itertools.pairwise(reversed(order)):
                places[i] = min(places[i], places[above] - gap)
        return sum(abs(a - b) for a, b in zip(ends, places)), ends, places

    side = 0 if either and at(0)[0] < at(-1)[0] else -1
    _, ends, places = at(side)
    if side == 0:
        axes.yaxis.tick_right()
        axes.yaxis.set_label_position("right")
    away = -1 if side == 0 else 1
    edge = 0.0 if side == 0 else 1.0
    for (look, name, points), end, place in zip(curves, ends, places, strict=True):
        x = (points[side][0] - xlow) / (xhigh - xlow)
        axes.add_line(
            Line2D([x, edge + away * 0.025], [end, place], transform=axes.transAxes, clip_on=False, linewidth=0.6,
                   color=look["color"])
        )  # fmt: skip
        sample = [edge + away * x for x in (0.025, 0.06, 0.095)]
        axes.add_line(
            Line2D(sample, [place] * 3, transform=axes.transAxes, clip_on=False, **{**look, "markevery": [1]})
        )
        axes.text(edge + away * 0.105, place, visible(name, 60).replace("$", r"\$"), transform=axes.transAxes,
                  va="center", ha="right" if side == 0 else "left", fontsize=9)  # fmt: skip
