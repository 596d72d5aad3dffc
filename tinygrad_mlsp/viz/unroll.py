"""Backpropagation through time, unrolled: one cluster a step, and the gradient with respect to every state.

    seen = viz.through_time(lambda: criterion(rnn(x)[0][-1], y), model)
    seen.norms["h"]                 ‖∂L/∂h₁‖, …, ‖∂L/∂h_T‖
    seen.profile()                  the same as a plot
    seen.save("time.svg")           the graph: first, last and a few steps between, the others folded

Works on cells in a Python loop and on recurrent layers, which go step by step while they are traced.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..backend import space_of
from ..errors import GraphError, MissingDependency, OptionError
from ..recipe import PART
from ..recipe import Node as TapeNode
from ..sweep import backward, reach
from ..tensor import Tensor
from . import dot, plots
from .flow import Verdict, _plain, advice, judge, picture
from .graph import Graph, Node
from .tape import Trace, _check_tensor, containing, norm, trace, whole
from .walk import Walk

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 5  # steps that are drawn open
Run = tuple[tuple[str, ...], list[list[int]]]  # its scope, and the operations of each step
Place = tuple[int, int]  # which run, and which of its steps, from 0


@dataclass(frozen=True)
class Unrolled:
    """One loss, back through time.

    `norms` are those of the loss's gradient with respect to each state, from the first step to the last: "h", and "c"
    of an LSTM (up to the step before the last, whose c goes nowhere but into h); where there are several recurrent
    layers, "layer h". `cuts` are the steps before which the past was cut off.
    """

    graph: Graph  # whole: a scope a time step
    norms: dict[str, list[float]]
    cuts: tuple[int, ...] = ()
    title: str = ""
    _places: dict[int, Place] = field(default_factory=dict, repr=False)
    _scopes: tuple[tuple[str, ...], ...] = ()

    @property
    def steps(self) -> int:
        """How many there are (of the longest run)."""
        return max(map(len, self.norms.values()))

    @property
    def gains(self) -> dict[str, list[float]]:
        """‖∂L/∂hₜ‖ over ‖∂L/∂hₜ₊₁‖, one less than there are steps: what a step back multiplies the gradient by."""
        return {name: [a / b if b else math.nan for a, b in pairwise(values)] for name, values in self.norms.items()}

    def verdict(self) -> Verdict:
        """Vanishing below 1/100 of the last step's gradient, exploding above 100 ×, by the first of `norms`."""
        name, values = next(iter(self.norms.items()))
        found = judge(values, "time step")
        word = {"vanishes": "vanishing", "explodes": "exploding", "zero": "vanishing"}.get(found.word, found.word)
        if self.cuts and found.word == "zero" and found.place is not None and found.place + 2 in self.cuts:
            sentence = f"cut: before step {found.place + 2} the past was cut off, so {found.sentence}"
            return replace(found, word="cut", sentence=sentence, layer=name)
        per_step = ""
        if len(values) > 1 and values[0] > 0 and 0 < values[-1] < math.inf and values[0] < math.inf:
            rate = math.exp((math.log(values[0]) - math.log(values[-1])) / (len(values) - 1))
            per_step = f"; × {rate:.3g} a step back, on the (geometric) average"
        return replace(
            found, word=word, sentence=f"{name}: {found.sentence}{per_step}", layer=name,
            advice=advice(word, set(), recurrent=True),
        )  # fmt: skip

    def profile(self) -> Axes:
        """The norms over the time steps, as matplotlib axes.

        Raises: MissingDependency without matplotlib.
        """
        axes: Axes = plots.gradient_profile(
            {f"∂L/∂{name}": values for name, values in self.norms.items()}, xlabel="time step",
            ylabel="norm of the gradient", title=_plain(self.title),
        ).axes[0]  # fmt: skip
        for t in self.cuts:
            axes.axvline(t - 0.5, color=dot.ALARM, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        if self.cuts:
            axes.text(self.cuts[0] - 0.5, 1.0, " cut", color=dot.ALARM, fontsize=8, va="bottom",
                      transform=axes.get_xaxis_transform())  # fmt: skip
        return axes

    def folded(self, shown: int = SHOWN) -> Graph:
        """The graph with `shown` steps of each run open (first, last and between), each gap one node.

        Raises: OptionError unless shown ≥ 1.
        """
        _whole_shown(shown)
        lengths: dict[int, int] = {}
        for run, k in self._places.values():
            lengths[run] = max(lengths.get(run, 0), k + 1)
        gap: dict[Place, int | None] = {}  # None: shown
        for run, n in lengths.items():
            open_ = {round(i * (n - 1) / max(1, min(shown, n) - 1)) for i in range(min(shown, n))}
            if shown == 1:
                open_ = {n - 1}
            number = 0
            for k in range(n):
                number += k in open_
                gap[run, k] = None if k in open_ else number
        units: list[Any] = []
        for node in self.graph.nodes:
            place = self._places.get(node.id)
            found = None if place is None else gap[place]
            units.append(node.id if found is None or place is None else ((*self._scopes[place[0]],), found))
        graph = self.graph._merged(units)
        unit_of = {node.id: unit for node, unit in zip(self.graph.nodes, units, strict=True)}
        cuts: dict[Any, int] = {}
        for node in self.graph.nodes:
            if node.op == "cut":
                cuts[unit_of[node.id]] = cuts.get(unit_of[node.id], 0) + 1
        nodes = []
        for node in graph.nodes:
            number = cuts.get(unit_of[node.id], 0)
            if node.kind == "group" and number:
                node = replace(node, name=f"{node.name}, {number} cut{'' if number == 1 else 's'}")
            nodes.append(node)
        return replace(graph, nodes=tuple(nodes))

    def svg(self, *, shown: int = SHOWN, rankdir: str = "TB", scale: tuple[float, float] | None = None) -> str:
        """The folded graph as a self-contained SVG document; `scale` as for `Graph.svg`.

        Raises: MissingDependency if there is neither Graphviz's `dot` nor the `viz` extra.
        """
        return self.folded(shown).svg(rankdir=rankdir, scale=scale)

    def save(self, path: str | PathLike[str], *, shown: int = SHOWN, rankdir: str = "TB") -> None:
        """Writes the folded graph as .svg, .png or .pdf, or .dot.

        Raises: as `Graph.save`.
        """
        self.folded(shown).save(path, rankdir=rankdir)

    def text(self) -> str:
        """The verdict, and the norms step by step: all of up to 12, else first, last and some between."""
        places = _some(self.steps, 12)
        lines = [str(self.verdict()), ""]
        lines += [
            f"{self.title or 'Through time'}: {self.steps} steps"
            + (f", cut before {_listed(self.cuts)}" if self.cuts else "")
        ]
        for name, values in self.norms.items():
            gains = self.gains[name]
            for i in places:
                if i < len(values):
                    gain = f"  × {gains[i]:.3g} of step {i + 2}" if i < len(gains) and math.isfinite(gains[i]) else ""
                    lines.append(f"  t={i + 1}: ‖∂L/∂{name}‖ = {values[i]:.3g}{gain}")
        return "\n".join(dot.visible(line) for line in lines[2:]) + "\n" + "\n".join(lines[:1]) + "\n"

    def markdown(self) -> str:
        """The norms as a table, and the verdict."""
        return _table({self.title or "": self}) + f"\n{_escaped(self.verdict().sentence)}\n"

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, the profile and the folded graph."""
        parts = [f"<p>{html.escape(self.verdict().sentence)}</p>"]
        for draw in (lambda: picture(self.profile(), self.verdict().sentence), self.svg):
            try:
                parts.append(draw())
            except MissingDependency as problem:
                parts.append(f"<p>{html.escape(str(problem))}</p>")
        return "\n".join(parts)


def through_time(
    source: Callable[[], Tensor] | Tensor | Walk | Trace, model: Any = None, *, title: str = ""
) -> Unrolled:
    """The unrolled graph of a recurrent computation, and the gradient at every step: see the top of this file.

    `source` is a function that computes a scalar loss, the loss itself if it was computed inside `viz.trace()`, or
    what has been recorded of a backward pass: a Walk, or a Trace in which backward() ran. From the first two, all
    gradients come from one backward pass that touches no `.grad`; from the others, norms are those that were recorded.
    A time step is what a recurrent layer marks as one ("t=5"), else one call of a module with parameters that is
    called again on what it gave.

    Raises: GraphError where nothing recurs: a sequence computed outside a trace is one operation, without steps.
    """
    if isinstance(source, Walk):
        came = {(step.id, i): g.norm for step in source.steps for i, g in enumerate(step.upstream) if g is not None}
        return _unrolled(source.graph, {step.id: step.calls for step in source.steps}, came, title or source.title)
    if isinstance(source, Trace):
        graph = source.graph(title=title)
        calls = {n.id: source.calls(-n.id) for n in graph.nodes if n.kind == "operation"}
        return _unrolled(graph, calls, {}, title)
    if callable(source) and not isinstance(source, Tensor):
        with trace(model) as seen:
            root = source()
    else:
        root, seen = source, None
    _check_tensor(root)
    if root._node is None:
        raise GraphError("through_time: this tensor was not computed from anything that wants a gradient")
    if root.shape:
        raise GraphError(f"through_time: a loss is a scalar, this tensor has shape {root.shape}; reduce it first")
    seen = seen or containing(root._node.order) or Trace()
    if model is not None:
        seen._learn_names(model)
    tape = reach([root._node])
    graph = seen.graph(root, title)  # refuses what has been freed
    calls = {-order: seen.calls(order) for order, n in tape.items() if n.recipe is not None and n.recipe is not PART}
    targets: dict[tuple[int, int], TapeNode] = {}  # by operation and which of its results
    for id in {id for steps in _recurring(graph, calls)[1] for ids in steps for id in ids}:
        if not tape[-id].recipe.op.several:
            targets[id, 0] = tape[-id]
    for node in tape.values():
        for parent in node.parents if node.recipe is not PART else ():
            if parent is not None and parent.recipe is PART:
                targets[-whole(parent).order, parent.links[1]] = parent
    xp = space_of(root._array)
    found = backward(
        [(root._node, xp.ones_like(root._array))], xp, retain=True, targets=[*targets.values()], observer=seen
    )
    came = {key: 0.0 if g is None else norm(g) for key, g in zip(targets, found, strict=True)}
    return _unrolled(seen.graph(root, title), calls, came, title)


def compare_through_time(
    sources: Mapping[str, Callable[[], Tensor] | Tensor | Walk | Trace | Unrolled], *, title: str = ""
) -> Comparison:
    """Several recurrent nets side by side: {"RNN": lambda: …, "LSTM": lambda: …}, each as `through_time` takes it."""
    if not isinstance(sources, Mapping) or not sources:
        raise OptionError("compare_through_time: takes losses by name, {'RNN': lambda: …, 'LSTM': …}")
    found = {n: s if isinstance(s, Unrolled) else through_time(s, title=n) for n, s in sources.items()}
    return Comparison(found, title or "Backpropagation through time")


@dataclass(frozen=True)
class Comparison:
    """Unrolled nets by name."""

    nets: dict[str, Unrolled]
    title: str = ""

    @property
    def curves(self) -> dict[str, list[float]]:
        """The norms of all, by net and state."""
        return {
            f"{dot.visible(net, 40)} ∂L/∂{name}": v for net, seen in self.nets.items() for name, v in seen.norms.items()
        }

    def profile(self) -> Axes:
        """All gradients over the time steps, in one plot, as matplotlib axes."""
        axes: Axes = plots.gradient_profile(self.curves, xlabel="time step", title=_plain(self.title)).axes[0]
        return axes

    def text(self) -> str:
        """The verdicts, a line a net, and the norms at some steps."""
        lines = [f"{name}: {seen.verdict().sentence}" for name, seen in self.nets.items()]
        places = _some(max(seen.steps for seen in self.nets.values()), 6)
        for name, values in self.curves.items():
            lines.append(f"  {name}: " + ", ".join(f"t={i + 1} {values[i]:.2g}" for i in places if i < len(values)))
        return "\n".join(dot.visible(line) for line in lines) + "\n"

    def markdown(self) -> str:
        """The norms as a table, and the verdicts."""
        verdicts = (f"- {_escaped(name)}: {_escaped(seen.verdict().sentence)}" for name, seen in self.nets.items())
        return _table(self.nets) + "\n" + "\n".join(verdicts) + "\n"

    def _scale(self) -> tuple[float, float] | None:
        """The ends of the colour scale that all graphs share."""
        found = [e.norm for seen in self.nets.values() for e in seen.graph.edges if e.norm and math.isfinite(e.norm)]
        return (min(found), max(found)) if found else None

    def _repr_html_(self) -> str:
        """The profiles in one plot, and the folded graphs side by side."""
        parts = [f"<pre>{html.escape(self.text())}</pre>"]
        try:
            parts.insert(0, picture(self.profile(), self.text()))
            style = '<svg style="max-width:100%;height:auto" '
            drawn = [
                f'<div style="flex:1 1 0;min-width:18em"><h4>{html.escape(dot.visible(name, 200))}</h4>'
                f"{seen.svg(shown=3, scale=self._scale()).replace('<svg ', style, 1)}</div>"
                for name, seen in self.nets.items()
            ]
            parts.append('<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start">')
            parts += [*drawn, "</div>"]
        except MissingDependency as problem:
            parts.append(f"<p>{html.escape(str(problem))}</p>")
        return "\n".join(parts)


# Where the steps are


def _recurring(graph: Graph, calls: dict[int, tuple[int, ...]]) -> tuple[list[Run], list[list[list[int]]]]:
    """The runs, and of each the operations whose results are a step's state."""
    runs = _runs(graph, calls)
    places = {id: (r, k) for r, (_, steps) in enumerate(runs) for k, ids in enumerate(steps) for id in ids}
    states = _states(runs, places, _users(graph), {node.id: node for node in graph.nodes})
    keep = [r for r in range(len(runs)) if states[r]]
    if not keep:
        raise GraphError(
            "through_time: the graph has no time steps. A sequence that was computed outside a trace is one operation: "
            "pass a function, viz.through_time(lambda: …), or compute the loss inside viz.trace(). Cells in a loop are "
            "found by their calls, if they have parameters and are called on what they gave before; steps of your own "
            'are marked by `with seen.step("t=1"):` inside `with viz.trace() as seen:`'
        )
    return [runs[r] for r in keep], [states[r] for r in keep]


def _users(graph: Graph) -> dict[int, list[int]]:
    users: dict[int, list[int]] = {}
    for edge in graph.edges:
        users.setdefault(edge.source, []).append(edge.target)
    return users


def _unrolled(
    graph: Graph, calls: dict[int, tuple[int, ...]], came: dict[tuple[int, int], float], title: str
) -> Unrolled:
    """`came`: by operation and which of its results, the norm of what reached it; else it is read from the edges."""
    runs, states = _recurring(graph, calls)
    users = _users(graph)
    places = {id: (r, k) for r, (_, steps) in enumerate(runs) for k, ids in enumerate(steps) for id in ids}
    inner = {id for by_step in states for ids in by_step for id in ids}
    if not came:
        out: dict[int, list[float]] = {}
        for edge in graph.edges:
            if edge.norm is None:
                continue
            if edge.gain and edge.target in inner:
                came[edge.target, 0] = edge.norm / edge.gain
            out.setdefault(edge.source, []).append(edge.norm)
        for id in inner & out.keys():
            came.setdefault((id, 0), math.hypot(*out[id]))
    if not came:
        raise GraphError("through_time: no backward() ran inside this trace; call it there, or pass the loss")
    results: dict[int, list[int]] = {}
    for id, o in sorted(came):
        results.setdefault(id, []).append(o)
    norms: dict[str, list[float]] = {}
    paths = [dot.path(scope) for scope, _ in runs]
    for r, by_step in enumerate(states):
        number = f" layer {paths[: r + 1].count(paths[r])}" if paths.count(paths[r]) > 1 else ""
        layer = "" if len(runs) == 1 else f"{paths[r] or 'net'}{number} "
        for k, ids in enumerate(by_step):
            # the last that is computed is h, what it is computed from is c
            for j, key in enumerate([(id, o) for id in sorted(ids, reverse=True) for o in results.get(id, ())]):
                name = layer + ("h", "c")[j] if j < 2 else f"{layer}state {j + 1}"
                norms.setdefault(name, [math.nan] * len(by_step))[k] = came[key]
    for values in norms.values():
        while math.isnan(values[-1]):
            values.pop()
    # clusters: what only one step uses belongs to it
    for node in reversed(graph.nodes):
        if node.kind in ("operation", "constant") and node.id not in places and node.op != "cut":
            where = {places.get(t) for t in users.get(node.id, ())}
            if len(where) == 1 and None not in where:
                places[node.id] = where.pop()  # type: ignore[assignment]
    scopes = []
    for r, (scope, _) in enumerate(runs):
        same = [i for i, (s, _) in enumerate(runs) if s == scope]
        scopes.append((*scope, f"layer {same.index(r) + 1}") if len(same) > 1 else scope)
    cuts: list[int] = []
    nodes = []
    for node in graph.nodes:
        place = places.get(node.id)
        if node.op == "cut" and place is None:
            place = next((places[t] for t in users.get(node.id, ()) if t in places), None)
            if place is not None:
                cuts.append(place[1] + 1)
                places[node.id] = place
        if place is not None:
            node = replace(node, scope=(*scopes[place[0]], f"t={place[1] + 1}"))
        nodes.append(node)
    return Unrolled(
        replace(graph, nodes=tuple(nodes), title=title), norms, tuple(sorted(set(cuts))), title, places, tuple(scopes)
    )


def _runs(graph: Graph, calls: dict[int, tuple[int, ...]]) -> list[Run]:
    """Stretches of time steps, in order: marked ones, else the calls of the outermost modules that are called again."""
    nodes = [node for node in graph.nodes if node.kind == "operation" and node.scope]
    marked = [(n, next((i for i, part in enumerate(n.scope) if part.startswith("t=")), None)) for n in nodes]
    runs: dict[Any, dict[Any, list[int]]] = {}
    scopes: dict[Any, tuple[str, ...]] = {}
    if any(depth is not None for _, depth in marked):
        latest: dict[Any, tuple[Any, set[str], Any]] = {}
        for node, depth in marked:
            if depth is None:
                continue
            call = calls.get(node.id, ())[: depth + 1]
            outer, label = (node.scope[:depth], call[:-1]), node.scope[depth]
            run, labels, last = latest.get(outer, ((outer, 0), set(), None))
            if call != last:
                if label in labels:  # from the start again: the next layer, or the other way
                    run, labels = (outer, run[1] + 1), set()
                labels.add(label)
                latest[outer] = (run, labels, call)
            runs.setdefault(run, {}).setdefault(call, []).append(node.id)
            scopes[run] = node.scope[:depth]
    else:
        times: dict[tuple[str, ...], set[Any]] = {}
        for node in nodes:
            call = calls.get(node.id, ())
            for depth in range(len(node.scope)):
                times.setdefault(node.scope[: depth + 1], set()).add(call[: depth + 1])
        learned = {node.id for node in graph.nodes if node.kind == "parameter"}
        weights = {edge.target for edge in graph.edges if edge.source in learned}
        for node in nodes:
            depth = next((d for d in range(len(node.scope)) if len(times[node.scope[: d + 1]]) > 1), None)
            if depth is not None:
                run = node.scope[: depth + 1]
                runs.setdefault(run, {}).setdefault(calls[node.id][: depth + 1], []).append(node.id)
                scopes[run] = run
        runs = {run: steps for run, steps in runs.items() if any(id in weights for ids in steps.values() for id in ids)}
    return [(scopes[run], list(steps.values())) for run, steps in runs.items()]


def _states(
    runs: list[Run], places: dict[int, Place], users: dict[int, list[int]], nodes: dict[int, Node]
) -> list[list[list[int]]]:
    """For each run and step the operations whose results go on to the next step; of the last, their likes."""
    found: list[list[list[int]]] = []
    for r, (_, steps) in enumerate(runs):
        by_step: list[list[int]] = []
        for k, ids in enumerate(steps[:-1]):
            by_step.append([id for id in ids if _reaches(id, (r, k), (r, k + 1), places, users)])
        if not any(by_step):
            found.append([])
            continue
        kinds = [nodes[id].op for ids in by_step[-1:] for id in ids]
        last = []
        for kind in kinds:
            last += [id for id in steps[-1] if nodes[id].op == kind][-kinds.count(kind) :]
        found.append([*by_step, list(dict.fromkeys(last))])
    return found


def _reaches(id: int, here: Place, there: Place, places: dict[int, Place], users: dict[int, list[int]]) -> bool:
    """Whether a result gets from one step to the next through nothing but what lies outside all steps."""
    stack = [u for u in users.get(id, ()) if places.get(u) != here]
    seen: set[int] = set()
    while stack and len(seen) < 64:
        user = stack.pop()
        if places.get(user) == there:
            return True
        if user in seen or user in places:
            continue
        seen.add(user)
        stack.extend(users.get(user, ()))
    return False


def _whole_shown(shown: Any) -> None:
    if not isinstance(shown, int) or isinstance(shown, bool) or shown < 1:
        raise OptionError(f"Unrolled: shown is how many steps are drawn open, at least 1; got {shown!r}")


def _some(n: int, most: int) -> list[int]:
    """At most so many of 0 … n − 1, the first and the last among them."""
    return [*range(n)] if n <= most else sorted({round(i * (n - 1) / (most - 1)) for i in range(most)})


def _listed(steps: tuple[int, ...]) -> str:
    return ", ".join(map(str, steps[:8])) + (", …" if len(steps) > 8 else "")


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\|*_`<>[]" else c for c in dot.visible(text))


def _table(nets: dict[str, Unrolled]) -> str:
    columns = {f"{net} ‖∂L/∂{name}‖".strip(): v for net, seen in nets.items() for name, v in seen.norms.items()}
    rows = [["t", *map(_escaped, columns)], ["---:"] * (len(columns) + 1)]
    for i in _some(max(map(len, columns.values())), 12):
        rows.append([str(i + 1), *(f"{v[i]:.3g}" if i < len(v) else "" for v in columns.values())])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
