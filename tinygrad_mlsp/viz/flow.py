"""Gradient flow in any training loop: what reached each layer, how its weights moved, and which units are lost.

    with viz.watch(model, every=10) as flow:
        ...                          your training loop, as it is
    print(flow.verdict())
    flow.heat_map().figure.savefig("flow.svg")

Nothing here knows of layers or losses: modules say by their hooks what they gave, and Tensors what came back to them.
"""

from __future__ import annotations

import html
import math
import operator
import warnings
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import device_of, norm_of, space_of, to_device
from ..errors import DTypeError, MissingDependency, OptionError
from ..tensor import Tensor, is_grad_enabled
from . import plots
from .dot import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VANISHES, EXPLODES = 1e-2, 1e2  # the first layer's gradient over the last's: below, above
SLOPE = 0.05  # of its steepest slope: an activation whose slope is less is saturated
MOST = {
    "dead": 0.8,
    "saturated": 0.5,
}  # of a layer: more is a fault. Deep in a healthy ReLU net half of the units are 0
# for a whole batch: all samples come to point the same way there.
DECADES = range(-12, 4)  # of a histogram; what is smaller or larger is counted with the first and the last

MEASURES = {
    "gradient": "‖∂L/∂output‖",
    "weight_gradient": "‖∂L/∂W‖",
    "weight": "‖W‖",
    "update": "‖ΔW‖/‖W‖",
    "saturated": "saturated",
    "dead": "dead",
}
_SAMPLED = ("weight_gradient", "activation")
_STEEP: dict[str, Callable[[Any, Any], Any]] = {  # the slope over its largest, from the result
    "sigmoid": lambda xp, y: 4 * y * (1 - y),
    "tanh": lambda xp, y: 1 - y * y,
    "lecun_tanh": lambda xp, y: 1 - (y / 1.7159) ** 2,
    "softmax": lambda xp, y: 4 * (top := xp.max(y, axis=-1)) * (1 - top),
}


@dataclass(frozen=True)
class Verdict:
    """What the gradient does on its way back, in a word and in a sentence; where, and what may help."""

    word: str
    sentence: str
    place: int | None = None  # the position of the layer at fault, from 0
    layer: str = ""
    advice: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([self.sentence, *(f"  - {line}" for line in self.advice)])


def judge(norms: Sequence[float] | np.ndarray[Any, Any], unit: str = "layer", losses: Sequence[float] = ()) -> Verdict:
    """The verdict on the norms from the first layer to the last: vanishes below 1/100 of the last, explodes above 100×.

    The layer that is named is the first, walking back from the loss, that is beyond the threshold.
    """
    norms = np.asarray(norms, float)
    if not np.isfinite(norms).all():
        return Verdict(
            "diverged", "diverged: the gradient is not a finite number at the start", _last(~np.isfinite(norms))
        )
    if not norms.any():
        return Verdict("zero", f"the gradient is exactly zero at every {unit}", len(norms) - 1 if len(norms) else None)
    diverged, place = "", None
    if not np.isfinite(losses).all():
        epoch = int(np.argmin(np.isfinite(losses))) + 1
        diverged = f"; diverged while training: the loss is not a finite number in epoch {epoch}"
    if norms[-1] == 0:
        return Verdict("zero", f"the gradient is exactly zero at {unit} {len(norms)}{diverged}", len(norms) - 1)
    if norms[0] == 0:
        place = _last(norms == 0)
        return Verdict("zero", f"the gradient is exactly zero at {unit} {place + 1} and before{diverged}", place)
    with np.errstate(over="ignore"):
        relative = norms / norms[-1]
    if relative[0] < VANISHES:
        place = _last(relative < VANISHES)
        text = f"vanishes: below 1/100 of {unit} {len(norms)}'s from {unit} {place + 1} back"
    elif relative[0] > EXPLODES:
        place = _last(relative > EXPLODES)
        text = f"explodes: above 100 × {unit} {len(norms)}'s from {unit} {place + 1} back"
    else:
        text = f"healthy: within a factor of 100 of {unit} {len(norms)}'s"
    word = "diverged" if diverged else text.partition(":")[0]
    return Verdict(word, text + diverged, place)


def _last(where: np.ndarray[Any, Any]) -> int:
    return int(np.flatnonzero(where)[-1])


def watch(model: Any, every: int = 50, *, keep: int = 500, sample: int = 256) -> Flow:
    """Records how the gradient flows through a model in training, one step in `every`; see the top of this file.

    A step is a forward pass and all that goes back before the next one. It is closed when the next begins, by
    `flow.step()`, or when the record is read. It works as a context manager, and among the callbacks of a training.
    At most `keep` records are held: beyond, every other one is dropped and `every` doubles. Histograms count a `sample`
    of the entries of each array.

    `flow.remove()` takes all hooks away. Measured on a CPU, a step that is recorded takes 1.4 times as long where
    layers are 1,024 wide, 2 to 3 times in a small MLP, and 5 times with 100 layers of 64 units, whose steps are
    mostly overhead; steps between records take no longer. With every=50 training takes up to 10 % longer, with
    every=10 up to 40 % (W4w of tests/benchmarks has every=1). From a GPU there is one transfer a record.

    Raises: DTypeError for what has no modules and hooks; OptionError for numbers that are not whole, or less than 1.
    """
    return Flow(model, every, keep, sample)


@dataclass(eq=False)
class _Pass:
    """One step that is being recorded: numbers on their device, moved when it is closed."""

    step: int
    before: dict[int, Any] = field(default_factory=dict)  # the values of parameters, by id
    found: dict[str, list[tuple[tuple[str, str], Any]]] = field(
        default_factory=dict
    )  # by device: (measure, row), value
    samples: dict[str, list[tuple[tuple[str, str], Any]]] = field(default_factory=dict)
    spaces: dict[str, Any] = field(default_factory=dict)  # by device
    alive: dict[str, Any] = field(default_factory=dict)
    made: dict[int, str] = field(default_factory=dict)  # the row that made a node, by its order
    hooks: list[Any] = field(default_factory=list)

    def note(self, measure: str, row: str, x: Any, value: Any) -> None:
        device = device_of(x)
        if device not in self.found:
            self.found[device], self.spaces[device] = [], space_of(x)
        self.found[device].append(((measure, row), value))

    def norm(self, measure: str, row: str, x: Any) -> None:
        self.note(measure, row, x, norm_of(x))


@dataclass(frozen=True, slots=True)
class _Record:
    step: int
    values: dict[str, dict[str, float]]  # by measure and row
    counts: dict[str, dict[str, np.ndarray[Any, Any]]]  # histograms: [zero, decades …]


class Flow:
    """The record of a training's gradients, and what is to be seen in it; made by `viz.watch`.

    `layers` are the names of the modules in the order of their first call, `steps` the numbers of the steps that were
    recorded, from 1. A module that is called several times in a step (over time, or shared) counts as one: norms are
    those of all its calls' gradients as one vector, shares are means over the calls.

    Measures (`values`, `profile`, `heat_map`):

    gradient         norm of the loss's gradient with respect to the layer's output
    weight_gradient  norm of that with respect to the layer's own parameters
    weight, update   norm of these parameters; norm of their change by the step, over it
    saturated        share of a sigmoid's, tanh's or softmax's results where the slope is below 5 % of its steepest
    dead             share of a ReLU's units that are 0 for the whole batch

    An activation that is a function, not a module, is seen where its result enters the next module or leaves one, and
    counts for the module whose output it was applied to.
    """

    def __init__(self, model: Any, every: int = 50, keep: int = 500, sample: int = 256) -> None:
        if not hasattr(model, "named_modules") or not hasattr(model, "register_forward_hook"):
            raise DTypeError(f"watch: takes a module (nn.Module), not {type(model).__name__}")
        self.every, self._keep, self._size = (
            _whole(name, n) for name, n in (("every", every), ("keep", keep), ("sample", sample))
        )
        self._model = model
        self._names = {id(module): name or type(module).__name__ for name, module in model.named_modules()}
        self._leaf = {id(m): not any(True for _ in m.children()) for m in model.modules()}
        self._rows: dict[str, str] = {}  # and what each is
        self._acts: dict[str, str] = {}
        self._records: list[_Record] = []
        self._pass: _Pass | None = None
        self._count, self._open, self._arrived = 0, False, False
        self._parameters: list[tuple[str, Any]] = []  # and their rows
        self._ever: dict[str, Any] = {}  # which units of a ReLU were ever above 0
        self._entries, self._usual = 0, 1  # how often the model was entered in this step; and is, in one that came back
        self._first: Any = None  # the module that was entered first
        self._modules = [*model.modules()]
        self._doors = [m.register_forward_pre_hook(self._entered) for m in self._modules]
        self._watching = True

    # What the hooks are told

    def _told(self, row: str) -> Callable[[Tensor], None]:
        def see(g: Tensor) -> None:
            self._arrived = True
            if self._pass is not None:
                self._pass.norm("weight_gradient", row, g._array)
                self._sample("weight_gradient", row, g._array)

        return see

    def _entered(self, module: Any, args: tuple[Any, ...]) -> None:
        """A module that may be the first of a step is called."""
        if not is_grad_enabled():
            return
        done = self._arrived if self._pass is not None else self._entries >= self._usual
        if done or not self._open:
            self._begin(module)
        self._entries += module is self._first

    def _after(self, module: Any, args: tuple[Any, ...], output: Any) -> None:
        """A module was called, in a step that is recorded."""
        seen = self._pass
        if seen is None or self._arrived or not is_grad_enabled():
            return
        name = self._names.get(id(module), type(module).__name__)
        leaf = self._leaf.get(id(module), True)
        for x in args:
            if isinstance(x, Tensor):
                self._activation(seen, x, None)
        for y in output if isinstance(output, tuple) else (output,):
            if not isinstance(y, Tensor) or y._node is None or y.dtype.kind not in "fc":
                continue
            if leaf:
                kind = type(module).__name__
                self._output(seen, name, kind, y)
                if kind in ("RNN", "RNNCell"):
                    self._units(seen, name, module.nonlinearity, y._array)
            self._activation(seen, y, name)
            if leaf:
                seen.made[y._node.order] = name

    def _output(self, seen: _Pass, row: str, kind: str, y: Tensor) -> None:
        self._rows.setdefault(row, kind)
        self._sample("activation", row, y._array)

        def came(g: Tensor) -> None:
            self._arrived = True
            if seen is self._pass:
                seen.norm("gradient", row, g._array)

        seen.hooks.append(y.register_hook(came))

    def _activation(self, seen: _Pass, x: Tensor, name: str | None) -> None:
        """Units of a result of an activation, counted once: `name` is whose output x is."""
        node = x._node
        if node is None or node.order in seen.made or node.recipe is None or node.recipe.op is None:
            return
        op = node.recipe.op.name
        if op not in _STEEP and op != "relu":
            return
        before = next((p for p in node.parents if p is not None), None)
        row = seen.made.get(before.order) if before is not None else None
        if name is not None and (row is None or self._rows.get(name, "") != ""):
            row = name
        if row is None:
            return
        if row not in self._rows:  # a block that ends with an activation of its own
            self._output(seen, row, "block", x)
        seen.made[node.order] = row
        self._units(seen, row, op, x._array)

    def _units(self, seen: _Pass, row: str, op: str, y: Any) -> None:
        if not y.size:
            return
        xp = space_of(y)
        self._acts[row] = op
        if op != "relu":
            seen.note("saturated", row, y, xp.mean((_STEEP[op](xp, y) < SLOPE).astype("float64")))
            return
        unit = 1 if y.ndim >= 4 else y.ndim - 1
        alive = xp.any(y > 0, axis=tuple(i for i in range(y.ndim) if i != unit))
        others = seen.alive.get(row)
        seen.alive[row] = alive if others is None or others.shape != alive.shape else others | alive

    def _sample(self, measure: str, row: str, x: Any) -> None:
        seen = self._pass
        if seen is not None and x.size:
            flat = x.reshape(-1)
            some = flat[:: x.size // self._size | 1][: self._size]
            some = abs(some) if x.dtype.kind == "c" else some
            seen.samples.setdefault(device_of(x), []).append(((measure, row), some.astype("float64")))

    # Steps

    def _begin(self, first: Any) -> None:
        if self._open:
            self.step()
        self._open, self._arrived, self._entries = True, False, 0
        if self._first is None or self._count % self.every == 0:
            self._first = first
        if self._count % self.every == 0:
            self._parameters = [
                (name.rpartition(".")[0] or type(self._model).__name__, p) for name, p in self._model.named_parameters()
            ]
            seen = _Pass(self._count + 1, {id(p): p._array.copy() for _, p in self._parameters})
            seen.hooks += [m.register_forward_hook(self._after) for m in self._modules]
            seen.hooks += [p.register_hook(self._told(row)) for row, p in self._parameters if p.requires_grad]
            self._pass = seen
        self._count += 1

    def step(self) -> None:
        """The step is over, its update made; call it, or let the next forward pass do so."""
        seen, self._pass, self._open = self._pass, None, False
        if seen is None:
            return
        for hook in seen.hooks:
            hook.remove()
        if not self._arrived:
            return  # nothing came back: an evaluation that recorded
        self._usual = max(1, self._entries)
        if self._watching:  # between records, only where steps begin is looked at
            self._close_doors()
            doors = {id(m): m for m in (self._model, self._first)}.values()
            self._doors = [m.register_forward_pre_hook(self._entered) for m in doors]
        self._records.append(self._closed(seen))
        if len(self._records) > self._keep:
            self._records = self._records[::2]
            self.every *= 2

    def _close_doors(self) -> None:
        for hook in self._doors:
            hook.remove()
        self._doors = []

    def _closed(self, seen: _Pass) -> _Record:
        for row, p in self._parameters:
            old = seen.before.get(id(p))
            if old is None or old.shape != p.shape or device_of(old) != p.device or not old.size:
                continue
            self._rows.setdefault(row, "parameters")
            seen.norm("weight", row, old)
            seen.norm("change", row, p._array - old)
        for row, alive in seen.alive.items():
            seen.note("dead", row, alive, 1 - space_of(alive).mean(alive.astype("float64")))
            ever = self._ever.get(row)
            self._ever[row] = alive if ever is None or ever.shape != alive.shape else ever | alive
        several: dict[str, dict[str, list[float]]] = {}
        counts: dict[str, dict[str, np.ndarray[Any, Any]]] = {measure: {} for measure in _SAMPLED}
        for device, found in seen.found.items():
            samples = seen.samples.get(device, [])
            xp = seen.spaces[device]
            numbers = [xp.asarray(v, dtype="float64") for _, v in found]
            together = xp.concat([xp.stack(numbers), *(v for _, v in samples)])
            moved = np.asarray(to_device(together, "cpu"))  # the one transfer
            for ((measure, row), _), value in zip(found, moved[: len(found)].tolist(), strict=True):
                several.setdefault(measure, {}).setdefault(row, []).append(value)
            for ((measure, row), _), counted in zip(samples, _counted(moved[len(found) :], samples), strict=True):
                counts[measure][row] = counts[measure][row] + counted if row in counts[measure] else counted
        values = {
            measure: {
                row: math.hypot(*v) if measure not in ("saturated", "dead") else sum(v) / len(v)
                for row, v in rows.items()
            }
            for measure, rows in several.items()
        }
        change = values.pop("change", {})
        if any(change.values()):  # else no update was made
            weight = values["weight"]
            values["update"] = {row: v / weight[row] for row, v in change.items() if weight[row]}
        return _Record(seen.step, values, counts)

    def remove(self) -> None:
        """Takes all hooks away; the record stays."""
        self.step()
        self._close_doors()
        self._watching = False

    def __enter__(self) -> Flow:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()

    def __call__(self, state: Any = None) -> None:
        """Nothing: so that it may stand among a training's callbacks, whose steps the hooks see."""

    # What was recorded

    def _known(self) -> list[_Record]:
        if self._open and self._arrived:
            self.step()
        return self._records

    @property
    def layers(self) -> list[str]:
        """The layers in the order of their first call; those that were never called, but have parameters, last."""
        self._known()
        return [*self._rows]

    @property
    def steps(self) -> list[int]:
        """The steps that were recorded, from 1."""
        return [record.step for record in self._known()]

    def values(self, measure: str = "gradient") -> np.ndarray[Any, Any]:
        """[records, layers]; NaN where there is nothing: see the measures above.

        Raises: OptionError for another measure.
        """
        _one_of(measure, MEASURES)
        rows = self.layers
        table = [[r.values.get(measure, {}).get(row, math.nan) for row in rows] for r in self._records]
        return np.array(table, float).reshape(len(table), len(rows))

    def counts(self, of: str = "weight_gradient") -> np.ndarray[Any, Any]:
        """[records, layers, bins]: how many entries of a sample are 0, and in each of `DECADES`, by their size.

        `of` is weight_gradient or activation. What is not finite is in the last.
        """
        if of not in _SAMPLED:
            raise OptionError(f"Flow: histograms are of {' or '.join(_SAMPLED)}, not {of!r}")
        rows = self.layers
        none = np.zeros(len(DECADES) + 1, np.int64)
        table = [[r.counts[of].get(row, none) for row in rows] for r in self._records]
        return np.array(table).reshape(len(table), len(rows), len(none))

    @property
    def never_alive(self) -> dict[str, float]:
        """Of each layer with a ReLU, the share of units that were 0 in every record."""
        self._known()
        return {row: 1 - float(to_device(ever.astype("float64").mean(), "cpu")) for row, ever in self._ever.items()}

    def verdict(self, at: int = -1) -> Verdict:
        """Healthy, vanishing, exploding, dead or saturated, by one record: the last, unless told.

        Dead (more than 80 % of a layer's units) and saturated (more than half) come first, for they are causes: the
        first such layer as the net computes. Then the norm of the gradient at the first layer's output, over that at
        the last's: below 1/100 it vanishes, above 100 it explodes; the layer at fault is the first beyond that, going
        back from the loss.
        """
        records = self._known()
        if not records:
            return Verdict("unknown", "unknown: no step has been recorded; nothing went back through the model yet")
        record = records[_place(at, len(records))]
        where = f"step {record.step}"
        rows = [row for row in self._rows if row in record.values.get("gradient", {})]
        norms = np.array([record.values["gradient"][row] for row in rows])
        odd = [row for row, g in zip(rows, norms, strict=True) if not math.isfinite(g)]
        if odd:
            sentence = f"not finite: at the output of {self._title(odd[-1])} the gradient is NaN or infinite ({where})"
            return self._found("not finite", sentence, odd[-1])
        for measure, word in (
            ("dead", "units are dead: 0 for the whole batch"),
            ("saturated", f"results are saturated: their slope is below {SLOPE:.0%} of its steepest"),
        ):
            for row in self._rows:
                share = record.values.get(measure, {}).get(row, 0.0)
                if share > MOST[measure] and self._acts.get(row) != "softmax":
                    fault = f"(a fault above {MOST[measure]:.0%}; {where})"
                    sentence = f"{measure}: {share:.0%} of {self._title(row)}'s {word} {fault}"
                    return self._found(measure, sentence, row)
        if len(rows) < 1:
            return Verdict("unknown", f"unknown: no gradient came back to any module's output ({where})")
        found = judge(norms)
        if found.place is None:
            ratio = norms[0] / norms[-1]
            return Verdict(
                "healthy",
                f"healthy: the gradient at {self._title(rows[0])} is {ratio:.2g} × that at {self._title(rows[-1])}, "
                f"within a factor of {EXPLODES:.0f} ({where})",
            )
        row = rows[found.place]
        size = f"{norms[found.place]:.2g} at {self._title(row)}, {norms[0]:.2g} at {self._title(rows[0])}"
        if found.word == "zero":
            return self._found(
                "vanishing", f"vanishing: the gradient is exactly zero at {self._title(row)} ({where})", row
            )
        if found.word == "vanishes":
            text, word = f"below 1/{1 / VANISHES:.0f} of the last layer's", "vanishing"
        else:
            text, word = f"above {EXPLODES:.0f} × the last layer's", "exploding"
        last = f"({norms[-1]:.2g} at {self._title(rows[-1])})"
        sentence = f"{word}: {text} {last} from {self._title(row)} back: {size} ({where})"
        return self._found(word, sentence, row)

    def _found(self, word: str, sentence: str, row: str) -> Verdict:
        kinds = set(self._rows.values())
        recurrent = any(kind.startswith(("RNN", "LSTM", "GRU")) for kind in kinds)
        return Verdict(word, sentence, [*self._rows].index(row), row, advice(word, set(self._acts.values()), recurrent))

    # Seen

    def profile(self, measure: str = "gradient", at: Sequence[int] = (0, -1)) -> Axes:
        """The measure over the layers, as matplotlib axes: one curve a record, the first and the last unless told.

        Raises: MissingDependency without matplotlib; OptionError where nothing was recorded.
        """
        table, steps = self._shown(measure)
        there = np.isfinite(table).any(axis=0) | np.isinf(table).any(axis=0)
        places = sorted({_place(i, len(steps)) for i in at})
        names = [self._title(row) for row, here in zip(self._rows, there, strict=True) if here]
        figure = plots.gradient_profile(
            {f"step {steps[i]:,}": table[i, there].tolist() for i in places},
            xlabel="layer, from the input to the loss",
            ylabel=MEASURES[measure],
            title=f"{MEASURES[measure]} layer by layer",
        )  # fmt: skip
        axes: Axes = figure.axes[0]
        few = range(0, len(names), -(-len(names) // 32) or 1)
        axes.set_xticks(
            [1 + i for i in few], [_plain(names[i], 30) for i in few], rotation=90 if len(names) > 8 else 0, fontsize=7
        )
        return axes

    def heat_map(self, measure: str = "gradient") -> Axes:
        """The measure over training, as matplotlib axes: layers downwards, steps to the right, colours by log₁₀.

        Raises: as `profile`.
        """
        table, steps = self._shown(measure)
        there = ~np.isnan(table).all(axis=0)
        return plots.heat_map(
            table[:, there].T,
            [_plain(self._title(row), 30) for row, here in zip(self._rows, there, strict=True) if here],
            [f"{s:,}" for s in steps], label=MEASURES[measure], xlabel="step", log=measure not in ("saturated", "dead"),
            most=1.0, title=f"{MEASURES[measure]} over training",
        )  # fmt: skip

    def histogram(self, of: str = "weight_gradient", layer: str | None = None, at: int = -1) -> Axes:
        """How large the entries are, as matplotlib axes: of each layer in one record, or of one `layer` over training.

        Columns are decades of the entries' size; each row's shares sum to 1.
        """
        counts = self.counts(of)
        if not len(counts):
            raise OptionError("Flow: no step has been recorded; train a step first")
        if layer is None:
            i = _place(at, len(counts))
            table, rows, when = (
                counts[i],
                [_plain(self._title(row), 30) for row in self._rows],
                f"step {self.steps[i]:,}",
            )
        else:
            _one_of(layer, self._rows, "layer")
            table, rows, when = counts[:, [*self._rows].index(layer)], [f"{s:,}" for s in self.steps], _plain(layer)
        total = table.sum(axis=1)
        shares = table[total > 0] / total[total > 0, None]
        return plots.heat_map(
            shares, [row for row, n in zip(rows, total, strict=True) if n],
            ["0", *(f"$10^{{{d}}}$" for d in DECADES)], label="share of the entries", log=False,
            xlabel=f"|{'∂L/∂W' if of == 'weight_gradient' else 'output'}|, by decades",
            title=f"{of.replace('_', ' ')}s, {when}",
        )  # fmt: skip

    def _title(self, row: str) -> str:
        """A layer with its kind: 3 Linear."""
        kind = self._rows[row]
        return _short(row if row == kind or kind == "parameters" else f"{row} {kind}")

    def _shown(self, measure: str) -> tuple[np.ndarray[Any, Any], list[int]]:
        table, steps = self.values(measure), self.steps
        if not len(table) or np.isnan(table).all():
            raise OptionError(f"Flow: there is no {measure!r} to show yet; train a step, with what makes it, first")
        return table, steps

    def rows(self, at: int = -1) -> list[tuple[str, ...]]:
        """The table of one record, a row a layer, as text; the first row are the titles."""
        records = self._known()
        if not records:
            return [("layer", *MEASURES.values(), "never alive")]
        record, never = records[_place(at, len(records))], self.never_alive
        return [
            ("layer", *MEASURES.values(), "never alive"),
            *(
                (
                    self._title(row),
                    *(_cell(m, record.values.get(m, {}).get(row)) for m in MEASURES),
                    _cell("dead", never.get(row)),
                )
                for row in self._rows
            ),
        ]

    def text(self, at: int = -1) -> str:
        """The verdict and the table of one record, to be read in a terminal."""
        rows = self.rows(at)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]
        return "\n".join([str(self.verdict(at)), "", *(line.rstrip() for line in lines)]) + "\n"

    def markdown(self, at: int = -1) -> str:
        """The same as Markdown."""
        head, *rows = [
            ["".join(f"\\{c}" if c in r"\|*_`<>[]" else c for c in cell) for cell in row] for row in self.rows(at)
        ]
        found = self.verdict(at)
        lines = [f"**{found.word}**: {found.sentence.partition(': ')[2]}", "", *(f"- {a}" for a in found.advice), ""]
        lines += ["| " + " | ".join(row) + " |" for row in (head, ["---"] + ["---:"] * (len(head) - 1), *rows)]
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        word = self.verdict().word if self._records else "no record yet"
        return f"<Flow of {type(self._model).__name__}: {len(self._known())} records of {self._count} steps, {word}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: verdict, profile, heat map and table."""
        found = self.verdict()
        parts = [f"<p><b>{html.escape(found.word)}</b>: {html.escape(found.sentence.partition(': ')[2])}</p>"]
        parts += ["<ul>", *(f"<li>{html.escape(line)}</li>" for line in found.advice), "</ul>"] if found.advice else []
        try:
            drawn = [self.profile(), *([self.heat_map()] if len(self._records) > 1 else [])]
        except (MissingDependency, OptionError):
            drawn = []
        parts += [picture(axes, found.sentence) for axes in drawn]
        head, *rows = self.rows()
        parts += ["<table><thead><tr>", *(f"<th>{html.escape(c)}</th>" for c in head), "</tr></thead><tbody>"]
        parts += ["<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows]
        return "\n".join([*parts, "</tbody></table>"])


ADVICE = {
    "initialization": "initialization: weights of variance 2/fan_in before a ReLU (nn.init.kaiming_normal_), "
    "2/(fan_in + fan_out) before a tanh (xavier_normal_), so that each layer passes the gradient on at about its size",
    "normalization": "normalization: nn.BatchNorm or LayerNorm before the activation keeps it where its slope is "
    "large, at every layer anew",
    "skip": "skip connections: in h + F(h) the gradient goes back through the sum as it is, whatever F does to it",
    "sigmoid": "activation: a sigmoid's slope is at most 1/4, so each layer multiplies the gradient by no more than "
    "that and its weights; tanh has slope 1 at 0, a ReLU where it is above 0",
    "gates": "gates: an LSTM with a forget-gate bias of 1 or 2 begins with open gates, and the gradient goes back "
    "along the cell without a matrix between",
    "clipping": "clipping: nn.utils.clip_grad_norm_ bounds the step that a rare large gradient makes; the direction "
    "stays",
    "rate": "a smaller learning rate: one step that was too large can push all pre-activations to where the slope is 0",
    "recurrent": "recurrent weights: begin with an orthogonal matrix (nn.init.orthogonal_), whose products neither "
    "grow nor shrink",
    "bias": "bias: begin at 0 (or slightly above), for a unit below 0 on every sample gets no gradient and stays there",
    "leaky": "activation: nn.LeakyReLU or ELU has a slope below 0 too, so that a unit can come back",
    "inputs": "inputs: centre and scale them to variance 1; large ones saturate the first layer, whatever its weights",
    "anomaly": "tg.detect_anomaly() names the operation at which the first NaN or infinity arose",
}


def advice(word: str, activations: set[str], recurrent: bool = False) -> tuple[str, ...]:
    """What to try, each with its reason, for a verdict's word and the activations that were seen."""
    wanted = {
        "vanishing": [
            *(["gates", "recurrent"] if recurrent else []), *(["sigmoid"] if "sigmoid" in activations else []),
            "initialization", "normalization", *([] if recurrent else ["skip"]),
        ],
        "exploding": ["clipping", *(["recurrent"] if recurrent else []), "initialization", "normalization"],
        "dead": ["bias", "rate", "initialization", "leaky"],
        "saturated": ["initialization", "inputs", "normalization", "rate"],
        "not finite": ["anomaly", "clipping", "rate"],
    }  # fmt: skip
    return tuple(ADVICE[name] for name in wanted.get(word, []))


def picture(axes: Axes, text: str) -> str:
    """The figure of these axes as an HTML image that stands alone."""
    data = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # that the font lacks: the text beside the image has it
        axes.figure.savefig(data, format="svg")  # type: ignore[union-attr]
    source = b64encode(data.getvalue()).decode()
    return f'<img style="max-width:100%" alt="{html.escape(text)}" src="data:image/svg+xml;base64,{source}">'


def _whole(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise OptionError(f"watch: {name} must be a whole number of 1 or more, got {value!r}")
    return number


def _one_of(value: Any, known: Any, what: str = "measure") -> None:
    if not isinstance(value, str) or value not in known:
        raise OptionError(f"Flow: there is no {what} {value!r}, only {', '.join(map(_short, known))}"[:600])


def _place(at: int, n: int) -> int:
    if not -n <= at < n:
        raise OptionError(f"Flow: there is no record {at}; there are {n}")
    return at % n


def _counted(x: np.ndarray[Any, Any], parts: list[tuple[Any, Any]]) -> np.ndarray[Any, Any]:
    """[parts, bins]: the decades of the entries of each part, whose arrays stand in x end to end."""
    size, bins = np.abs(x), len(DECADES) + 1
    with np.errstate(divide="ignore"):
        decade = np.floor(np.log10(size))
    place = np.where(size == 0, 0, np.fmin(np.maximum(decade - (DECADES[0] - 1), 1), bins - 1))  # NaN: the last
    part = np.repeat(np.arange(len(parts)) * bins, [v.size for _, v in parts])
    found = np.bincount(part + place.astype(np.int64), minlength=bins * len(parts))
    return found.reshape(len(parts), bins).astype(np.int32)


def _short(name: str) -> str:
    return visible(name, 60)


def _plain(name: str, longest: int = 60) -> str:
    """A name for matplotlib, which reads mathematics between dollars."""
    return visible(name, longest).replace("$", r"\$")


def _cell(measure: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–" if value is None else "NaN"
    return f"{value:.0%}" if measure in ("saturated", "dead") else f"{value:.2g}"
