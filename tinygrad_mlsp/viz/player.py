"""The step player: one page, without server or network, in which one steps forward and back through a computation.

    viz.play(loss, model).save("player.html")

What the page shows is a Walk, written as JSON; player.js draws it and player.css dresses it. Steps are folded by
module, by time step, and, where many stand side by side, by ranges of neighbours. A fold is a run of neighbours in the
order of computation, so that a folded graph has no cycles, whatever is folded.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Mapping
from importlib.resources import files
from os import PathLike
from typing import Any

from ..errors import OptionError
from ..tensor import Tensor
from .dot import path, visible
from .layout import target, write_whole
from .tape import trace
from .walk import Argument, Leaf, Step, Value, Walk, walk

WIDE = 12  # more than this side by side are folded into ranges
LONGEST = 120  # characters of a name on the page


def play(
    loss: Tensor | Callable[[], Tensor] | Walk,
    model: Any = None,
    *,
    names: Mapping[str, Tensor] | None = None,
    title: str = "",
    keep: int | None = None,
) -> Player:
    """The step player of one backward pass; see the top of this file.

    `loss` is a Tensor, a function without arguments that computes one (then nothing is missing, as inside
    `viz.trace()`), or a Walk. `names` gives your own letters to tensors; `keep` says how many entries of each array the
    page holds (12, or 4 beyond 2,000 operations). No `.grad` changes, and the graph stays.

    Raises: GraphError for a Tensor without a graph, or with one that backward() has freed.
    """
    if isinstance(loss, Walk):
        return Player(loss)
    if isinstance(loss, Tensor):
        return Player(walk(loss, model, names=names, title=title, keep=keep))
    if not callable(loss):
        raise OptionError(f"play: takes a scalar Tensor, or a function that computes one; got {loss!r}")
    with trace(model) as seen:
        loss = loss()
    return Player(walk(loss, model, names=names, title=title, keep=keep, trace=seen))


class Player:
    """The page; `save("player.html")` it, or let a notebook show it."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk

    def data(self) -> dict[str, Any]:
        """What the page knows, ready for JSON."""
        return _Record(self.walk).all()

    def html(self) -> str:
        """The whole page."""
        here = files(__package__)
        style, script = ((here / f"player.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
        # In JSON nothing but text has these characters, and there \u003c means the same: no text can end the element.
        data = json.dumps(self.data(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        for character in "<>&\u2028\u2029":
            data = data.replace(character, f"\\u{ord(character):04x}")
        title = html.escape(visible(self.walk.title or "Step player", LONGEST))
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
            '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
            f"<style>{style}</style></head>\n<body>\n<div id='app'></div>\n<noscript>This page draws itself with a "
            "script that is part of it; explain() gives the same content as text.</noscript>\n"
            f'<script type="application/json" id="data">{data}</script>\n<script>{script}</script>\n</body></html>\n'
        )

    def _repr_html_(self) -> str:
        page = html.escape(self.html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:44rem;border:0" title="Step player"></iframe>'

    def save(self, where: str | PathLike[str]) -> None:
        """Writes the page, .html."""
        file, _ = target(where, ("html",))
        write_whole(file, self.html().encode())


class _Record:
    """A walk as lists of numbers and texts; what occurs often is there once, and has a number."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.index: dict[int, int] = {}
        self.formulas: dict[Any, int] = {}
        self.written: list[Any] = []

    def all(self) -> dict[str, Any]:
        walk = self.walk
        # steps first: their place is their number
        self.index = {id: i for i, id in enumerate([*(s.id for s in walk.steps), *(leaf.id for leaf in walk.leaves)])}
        return {
            "title": visible(walk.title or "One backward pass", LONGEST),
            "steps": [self.step(step) for step in walk.steps],
            "leaves": [self.leaf(leaf) for leaf in walk.leaves],
            "formulas": self.written,
            "folds": folds(walk),
        }

    def step(self, step: Step) -> list[Any]:
        return [
            step.op,
            visible(step.letter, LONGEST),
            list(step.shape),
            [_value(v) for v in step.results],
            [_value(v) for v in step.upstream],
            [self.argument(a) for a in step.arguments],
            self.formula(step),
            visible(path(step.scope), LONGEST),
            [f"{name}={visible(str(value), 40)}" for name, value in step.options],
        ]

    def leaf(self, leaf: Leaf) -> list[Any]:
        return [
            leaf.kind,
            visible(leaf.letter, LONGEST),
            list(leaf.shape),
            _value(leaf.value),
            _value(leaf.gradient),
            visible(leaf.name, LONGEST),
        ]

    def argument(self, a: Argument) -> list[Any]:
        return [
            a.name, a.letter, a.number, None if a.source is None else self.index.get(a.source), _value(a.value),
            _value(a.local), _value(a.contribution), _number(a.gain),
        ]  # fmt: skip

    def formula(self, step: Step) -> int | None:
        made = step.template()
        if made is None:
            return None
        known = self.formulas.get(id(made))
        if known is None:
            known = self.formulas[id(made)] = len(self.written)
            self.written.append([made.formula.forward, made.formula.derivatives, made.formula.kink])
        return known


def folds(walk: Walk) -> list[list[Any]]:
    """The tree of folds: [label, kind, children], the root first; a child is a step's number, or −1 − a fold's.

    A fold is one call of a module or one time step; ranges of neighbours are folds as well.
    """
    tree: list[list[Any]] = [["all", "scope", []]]
    pending = [(0, range(len(walk.steps)), 0)]  # a fold, its steps, and how deep it lies
    while pending:
        fold, steps, depth = pending.pop()
        children: list[int] = []
        seen: dict[str, int] = {}
        start = steps.start
        while start < steps.stop:
            step = walk.steps[start]
            stop = start + 1
            if len(step.scope) <= depth:
                children.append(start)
            else:
                while stop < steps.stop and walk.steps[stop].calls[: depth + 1] == step.calls[: depth + 1]:
                    stop += 1
                label = visible(step.scope[depth], LONGEST)
                seen[label] = seen.get(label, 0) + 1
                children.append(-1 - len(tree))
                pending.append((len(tree), range(start, stop), depth + 1))
                tree.append([label if seen[label] == 1 else f"{label} (call {seen[label]})",
                             "time" if "=" in label else "scope", []])  # fmt: skip
            start = stop
        tree[fold][2] = _ranged(children, tree, walk)
    return tree


def _ranged(children: list[int], tree: list[list[Any]], walk: Walk) -> list[int]:
    """Neighbours in ranges, until at most a dozen stand side by side."""
    while len(children) > WIDE:
        size = max(WIDE, math.ceil(len(children) / WIDE)) if len(children) <= WIDE * WIDE else WIDE
        outer = []
        for i in range(0, len(children), size):
            part = children[i : i + size]
            if len(part) == 1:
                outer += part
                continue
            first, last = _heading(part[0], tree, walk, 0), _heading(part[-1], tree, walk, -1)
            outer.append(-1 - len(tree))
            tree.append([f"{first} … {last}", "range", part])
        children = outer
    return children


def _heading(child: int, tree: list[list[Any]], walk: Walk, end: int) -> str:
    """What a range is called by its first part (end 0) or its last (end −1)."""
    if child >= 0:
        return visible(walk.steps[child].letter, 20)
    label, kind, _ = tree[-1 - child]
    return str(label.split(" … ")[end] if kind == "range" else label)


def _value(value: Value | None) -> list[Any] | None:
    """[entries, shape, norm, lowest, highest, how many are not finite]"""
    if value is None:
        return None
    entries = [_number(e) for e in value.entries]
    if value.whole and value.size == 1:
        return [entries, list(value.shape)]
    return [entries, list(value.shape), *map(_number, (value.norm, value.low, value.high)), value.odd]


def _number(x: Any) -> Any:
    """A number with six digits; JSON has no NaN and no infinity, so these are texts."""
    if isinstance(x, (bool, int)) or x is None:
        return x
    if isinstance(x, complex):
        return f"{x:.4g}"
    return float(f"{x:.6g}") if math.isfinite(x) else str(x)
