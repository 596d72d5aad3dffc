"""The report on vanishing gradients: a table for the terminal, and a folder with a page, its pictures and figures."""

from __future__ import annotations

import csv
import math
import os
import re
import secrets
import shutil
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..errors import MissingDependency
from ..viz.flow import VANISHES
from .page import MARK, Picture, page, percent
from .vanishing import FileError, Result, Settings, folded

OURS = re.compile(
    r"index\.html|(figures|gains|profiles|curves)\.csv|graphs/\w+\.(svg|dot)|plots/\w+\.(svg|png)"
)  # files
NODES = {False: 40, True: 14}  # in a drawing of the page, of a deep net, of a recurrent one


class Folder:
    """The place of a report: made beside it, and put there whole, in the stead of an older report."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.realpath(os.path.expanduser(path)))
        self._refuse_what_is_not_ours()
        with _told(self.path):
            parent = next(p for p in self.path.parents if p.exists())
            trial = parent / f".{self.path.name}.{secrets.token_hex(8)}"
            trial.mkdir()
            trial.rmdir()

    def _refuse_what_is_not_ours(self) -> None:
        path = self.path
        if path == path.parent:
            raise FileError(f"cannot write the report into {path}: name a folder of its own")
        with _told(path):
            if path.exists() and not path.is_dir():
                raise FileError(f"cannot write the report into {path}: that is a file; name a folder")
            if not path.exists() or not any(path.iterdir()):
                found = []
            else:
                files = [p for p in sorted(path.rglob("*")) if p.is_symlink() or not p.is_dir()]
                found = [p.relative_to(path).as_posix() for p in files]
                page = path / "index.html"
                if not page.is_file() or MARK not in page.read_text("utf-8", "replace")[:2_000]:
                    raise FileError(
                        f"cannot write the report into {path}: it is not empty and holds no older report; name "
                        "another folder"
                    )
            foreign = next((name for name in found if not OURS.fullmatch(name)), None)
            if foreign:
                raise FileError(
                    f"cannot replace the report in {path}: {foreign} there is not part of it; move it away or name "
                    "another folder"
                )
            if path.exists() and Path.cwd().is_relative_to(path):
                raise FileError(
                    f"cannot write the report into {path}: it is the current folder; name another, or change to the "
                    "one above it"
                )

    @contextmanager
    def new(self) -> Iterator[Path]:
        """An empty folder to write into. It takes its place when the block ends, and goes away when that fails."""
        self._refuse_what_is_not_ours()
        parent, made = self.path.parent, []
        draft, older = (parent / f".{self.path.name}.{secrets.token_hex(8)}" for _ in range(2))
        with _told(self.path):
            try:
                for folder in [p for p in reversed(self.path.parents) if not p.exists()]:
                    folder.mkdir()
                    made.append(folder)
                draft.mkdir()
                yield draft
                if self.path.exists():
                    self.path.rename(older)
                draft.rename(self.path)
            except BaseException:
                if older.exists() and not self.path.exists():
                    older.rename(self.path)
                shutil.rmtree(draft, ignore_errors=True)
                for folder in reversed(made):
                    if not any(folder.iterdir()):
                        folder.rmdir()
                raise
            shutil.rmtree(older, ignore_errors=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """An error of the file system becomes one that says what was to be done."""
    try:
        yield
    except FileError:
        raise
    except OSError as problem:
        raise FileError(f"cannot write the report into {path}: {problem.strerror or problem}") from problem


# The terminal


def table(results: Sequence[Result]) -> str:
    """The table for the terminal."""
    rows = [["net", "first", "last", "per layer", "accuracy %", "verdict"]]
    for r in results:
        after = f"{100 * r.accuracies[-1]:4.1f}" if len(r.accuracies) > 1 else "-"
        factor = "-" if math.isnan(r.factor) else f"x {r.factor:.3g}"
        rows.append([r.title, f"{r.norms[0, 0]:.1e}", f"{r.norms[0, -1]:.1e}", factor,
                     f"{100 * r.accuracies[0]:4.1f} → {after}", r.verdict.sentence])  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]) for row in rows]
    note = (
        "first, last: the gradient's norm before any training, |dL/dW| of the first and the last layer's weights,\n"
        "of the RNN and the LSTM |dL/dh| at the first and the last time step. per layer: the factor from one layer\n"
        "or step to the one before it. accuracy: on the test images, before and after training."
    )
    return "\n".join([*lines, "", note])


# The figures


def write_figures(results: Sequence[Result], folder: Path) -> None:
    """figures.csv, gains.csv, profiles.csv and curves.csv: every number with all its digits."""
    figures = (
        [
            r.net, r.gradient, r.norms.shape[1], r.norms[0, 0], r.norms[0, -1], r.ratios[0], r.factor, r.ratios[-1],
            min(r.ratios), max(r.ratios), r.accuracies[0], r.accuracies[-1], r.losses[-1] if r.losses else None,
            r.verdict.word, r.verdict.sentence,
        ]
        for r in results
    )  # fmt: skip
    header = (
        "net gradient positions first_norm last_norm ratio factor_per_position ratio_last_update ratio_smallest "
        "ratio_largest accuracy_before accuracy_after loss_last_epoch verdict verdict_in_words"
    )
    _csv(folder / "figures.csv", header, figures)
    gains = (
        [r.net, i, norm, slope] for r in results for i, (norm, slope) in enumerate(zip_longest(r.hidden, r.slopes), 1)
    )
    _csv(folder / "gains.csv", "net position norm_of_dL_dh gain_of_activation", gains)
    profiles = (
        [r.net, gradient, update, i, norm]
        for r in results
        for gradient, measured in r.profiles()
        for update, profile in zip(r.updates, measured, strict=True)
        for i, norm in enumerate(profile, 1)
    )
    _csv(folder / "profiles.csv", "net gradient updates_made position norm", profiles)
    curves = (
        [r.net, epoch, r.losses[epoch - 1] if epoch else None, accuracy]
        for r in results
        for epoch, accuracy in enumerate(r.accuracies)
    )
    _csv(folder / "curves.csv", "net epoch training_loss test_accuracy", curves)


def _csv(path: Path, header: str, rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split())
        writer.writerows([repr(float(v)) if isinstance(v, float) else v for v in row] for row in rows)


# The pictures


def write_plots(results: Sequence[Result], folder: Path) -> dict[str, Picture]:
    """The plots, as SVG and PNG, and for the page."""
    from ..viz import plots

    deep = [r for r in results if not r.recurrent]
    recurrent = [r for r in results if r.recurrent]
    figures = {}
    if deep:
        figures["layers"] = (
            plots.gradient_profile({r.title: r.norms[0].tolist() for r in deep}, ylabel="‖∂L/∂W‖ of the layer",
                                   title="Before training: the gradient of each layer’s weights"),
            "Before the first update: the norm of the gradient of each layer’s weights.",
            _ends(deep),
        )  # fmt: skip
    if recurrent:
        curves = {r.title: r.norms[0].tolist() for r in recurrent}
        curves |= {f"{r.title}: ‖∂L/∂c‖": r.cell_norms[0].tolist() for r in recurrent if r.cell_norms is not None}
        figures["steps"] = (
            plots.gradient_profile(curves, xlabel="time step", ylabel="‖∂L/∂h‖ at the step",
                                   title="Before training: the gradient at each time step"),
            "Before the first update: the norm of the gradient with respect to the hidden state h at each time step, "
            "and of the LSTM’s cell state c, which is what carries it.",
            _ends(recurrent),
        )  # fmt: skip
    if results[0].losses:
        figures["training"] = (
            plots.training_curves({r.title: r.losses for r in results}, {r.title: r.accuracies[1:] for r in results}),
            "Training loss (in nats; the mean of an epoch) and accuracy on the test images after each epoch.",
            "Test accuracy at the end: " + ", ".join(f"{r.title} {percent(r.accuracies[-1])}" for r in results) + ".",
        )
        figures["ratios"] = (
            plots.gradient_profile({r.title: r.ratios[:-1].tolist() for r in results}, first=0, threshold=VANISHES,
                                   xlabel="half epochs trained", ylabel="first / last"),
            "The gradient at the first layer or time step as a part of that at the last, while the nets learn.",
            "First over last, before training and at the last measurement: "
            + ", ".join(f"{r.title} {r.ratios[0]:.1e} and {r.ratios[-1]:.1e}" for r in results) + ".",
        )  # fmt: skip
    pictures = {}
    (folder / "plots").mkdir()
    for name, (figure, caption, alt) in figures.items():
        for ending in ("svg", "png"):
            plots.save_figure(figure, folder / "plots" / f"{name}.{ending}")
        data = b64encode((folder / "plots" / f"{name}.svg").read_bytes()).decode()
        pictures[name] = Picture(f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(alt)}">', caption)
    return pictures


def _ends(results: Sequence[Result]) -> str:
    """What a plot of profiles shows, in words."""
    ends = [f"{r.title} {r.norms[0, -1]:.1e} at {r.unit} {r.norms.shape[1]}, {r.norms[0, 0]:.1e} at 1" for r in results]
    return f"Norms of the gradient, from the last {results[0].unit} to the first: {'; '.join(ends)}."


def write_graphs(results: Sequence[Result], folder: Path) -> dict[str, Picture]:
    """Each net's graph as an SVG file, and for the page; as DOT text where nothing can draw it.

    Raises: MissingDependency, with the DOT texts written.
    """
    pictures = {}
    missing = None
    (folder / "graphs").mkdir()
    for r in results:
        graph = folded(r.graph, NODES[r.recurrent])
        try:
            svg = graph.svg()
        except MissingDependency as problem:
            missing = problem
            graph.save(folder / "graphs" / f"{r.net}.dot")
            continue
        (folder / "graphs" / f"{r.net}.svg").write_text(svg, encoding="utf-8")
        caption = f"{r.graph.operations:,} operations, drawn as {len(graph.nodes):,} nodes"
        pictures[r.net] = Picture(svg, caption, graph.text())
    if missing:
        raise MissingDependency(f"{missing} The graphs' DOT texts are in graphs/.")
    return pictures


# The whole


def write(settings: Settings, results: Sequence[Result], about: str, command: str, folder: Folder) -> list[str]:
    """Write the report, and say in a line or two what is there; `about` and `command` are told in the page."""
    notes: list[str] = []
    with folder.new() as draft:
        write_figures(results, draft)
        pictures: dict[str, Picture] = {}
        graphs: dict[str, Picture] = {}
        for part, draw in ((pictures, write_plots), (graphs, write_graphs)):
            try:
                part.update(draw(results, draft))
            except MissingDependency as problem:
                notes.append(f"{'no plots' if draw is write_plots else 'no graphs'}: {problem}")
        html = page(settings, results, pictures, graphs, "; ".join(notes), about, command)
        (draft / "index.html").write_text(html, encoding="utf-8")
    return [*notes, f"report: {folder.path / 'index.html'}"]
