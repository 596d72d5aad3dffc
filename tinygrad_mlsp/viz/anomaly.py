"""The first NaN or infinity, explained: which operation made it, of what, where it came from, and on which line.

    with tg.detect_anomaly():
        loss = criterion(model(x), y)
        loss.backward()

Every operation on the way is looked at, forward and back, and its line noted; that costs several times the
computation itself. `loss.backward(check_finite=True)` is the cheap question to ask first.
"""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import space_of, to_numpy
from ..errors import NonFiniteError
from ..interpret.formula import formula
from ..op import Operation
from ..recipe import Node as TapeNode
from ..tensor import Tensor
from .dot import path, visible
from .tape import Trace, whole
from .walk import UNWRITTEN, arguments_kept, lacks, named_arguments, options_kept, result_kept, usual

_HERE = str(Path(__file__).resolve().parents[1])
_SHOWN, _BACK = 3, 6  # offending entries, and operations upstream, that a report names
_TRY = {
    "log": "keep its argument above 0: log(x + 1e-12), or the operation that has the log inside (log_softmax, "
    "cross_entropy, binary_cross_entropy_with_logits, xlogy)",
    "sqrt": "its slope 1/(2√x) is infinite at 0: add a small number under the root",
    "divide": "keep the divisor away from 0: x / (s + 1e-12), or choose with where() the divisor, not the quotient",
    "reciprocal": "keep its argument away from 0",
    "exp": "subtract the largest first, as logsumexp and softmax do; or lower the learning rate",
    "pow": "a negative number to a fraction is NaN, and 0 to a negative power infinite: clip the base first",
    "matmul": "the products overflow: scale the inputs, or lower the learning rate",
    "linear": "the sums overflow: scale the inputs or the initial weights, or lower the learning rate",
}


class detect_anomaly(Trace):
    """Raises NonFiniteError at the first operation, forward or backward, that makes a NaN or an infinity of what was
    fine; see the top of this file. An input or a parameter that is NaN before anything is done with it is told as such.

    What wants no gradient is not recorded, so not looked at: data before the first parameter, all under no_grad(), and
    other threads. `model` names the modules and parameters where only parts of it are called. With infinities=False
    only NaN counts; infinities that are put in on purpose, such as the −inf of a mask, never do.
    """

    def __init__(self, model: Any = None, *, infinities: bool = True) -> None:
        super().__init__(model)
        self.infinities = infinities
        self._lines: dict[int, tuple[str, int]] = {}
        self._quiet: list[Any] = []
        self._from: dict[int, TapeNode] = {}  # who gave a node its gradient last

    def __enter__(self) -> detect_anomaly:
        super().__enter__()
        self._quiet.append(np.errstate(all="ignore"))  # the report says more
        self._quiet[-1].__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._quiet.pop().__exit__(*problem)
        super().__exit__(*problem)

    def _bad(self, array: Any) -> bool:
        """Whether the array has what counts: a sum is NaN or infinite if an entry is, and seldom otherwise."""
        array = array._array if isinstance(array, Tensor) else array
        if array is None or getattr(array, "dtype", None) is None or array.dtype.kind not in "fc" or not array.size:
            return False
        xp = space_of(array)
        total = array.sum()
        if bool(xp.isfinite(total)):
            return False
        return bool((xp.isnan(array) if not self.infinities else ~xp.isfinite(array)).any())

    # Told by the recorder and by the sweep

    def applied(self, node: TapeNode) -> None:
        """An operation has been computed."""
        self._lines[node.order] = _users_line()
        result = node.links[2]
        if not any(map(self._bad, result if isinstance(result, tuple) else (result,))):
            return
        for (name, array), (parent, _) in zip(_named(node), arguments_kept(node), strict=True):
            if array is None or not self._bad(array):
                continue
            if parent is not None and parent.recipe is not None:
                return  # made before this block, or by an operation that passes an infinity on
            if bool(space_of(array).isnan(array).any()):
                what = self._leaf(parent) if parent is not None else "a constant"
                self._raise(node, f"{node.recipe.op.name} was given NaN: its argument {name} is {what}", "", array, {})
            return
        op = node.recipe.op
        self._raise(node, f"forward through {op.name} made ", _forward(node), result, dict(_named(node)))

    def begin(self, nodes: dict[int, TapeNode]) -> None:
        """A sweep over these nodes starts."""
        self._first = True

    def edge(self, node: TapeNode, parent: TapeNode, part: Any, g: Any) -> None:
        """`part` of the cotangent goes from a node to a parent."""
        self._from.setdefault(whole(parent).order, node)
        parts = [p for p in g.values()] if isinstance(g, dict) else [g]
        if any(map(self._bad, parts)):
            if self._first:
                self._raise(node, f"backward() was given a gradient that is not finite, for {node.recipe.op.name}", "",
                            parts[0], {})  # fmt: skip
            return
        self._first = False
        if not self._bad(part):
            return
        name = next((n for n, p in _parents(node) if p is not None and whole(p) is whole(parent)), "its argument")
        given: dict[str, Any] = {"upstream gradient": parts[0], **dict(_named(node))}
        result = result_kept(node)
        if result is not None and not isinstance(result, tuple):
            given["y"] = result
        self._raise(node, f"backward through {node.recipe.op.name}, to its argument {name}, made ",
                    _derivative(node, name), part, given)  # fmt: skip

    # The report

    def _raise(self, node: TapeNode, what: str, equation: str, array: Any, given: dict[str, Any]) -> None:
        arrays = [a for a in (array if isinstance(array, tuple) else (array,)) if self._bad(a)]
        bad = to_numpy(arrays[0]._array if isinstance(arrays[0], Tensor) else arrays[0])
        wrong = ~np.isfinite(bad) if self.infinities else np.isnan(bad)
        kind = "NaN" if np.isnan(bad).any() else "infinity"
        lines = [(what + kind if what.endswith("made ") else what) + (f":  {equation}" if equation else "")]
        lines.append(f"  {self._where(node)}")
        places = np.argwhere(wrong)
        of = f"{len(places):,} of {bad.size:,} entries" if bad.size > 1 else "a number"
        lines.append(f"  {of}, shape {list(bad.shape)}, {bad.dtype}")
        numbers = {
            name: to_numpy(v._array if isinstance(v, Tensor) else v) for name, v in given.items() if v is not None
        }
        elementwise = all(v.shape == bad.shape or v.size == 1 for v in numbers.values())
        for at in places[:_SHOWN]:
            place = tuple(int(i) for i in at)
            entry = [f"{name} = {_entry(v, place)}" for name, v in numbers.items()] if elementwise else []
            where = f"at {list(place)}: " if place else ""
            lines.append(f"  {where}{', '.join([*entry, f'result {bad[place]}'])}")
        if not elementwise:
            for name, v in numbers.items():
                lines.append(f"  {name}: shape {list(v.shape)}, {_range(v)}")
        lines += self._upstream(node, "backward" in what)
        name = node.recipe.op.name
        if name in _TRY:
            lines.append(f"  to try: {_TRY[name]}")
        raise NonFiniteError("\n".join(lines))

    def _where(self, node: TapeNode) -> str:
        scope = self._scopes[self._place(node.order)]
        inside = f"in {visible(path(scope), 120)}, " if scope else ""
        if node.order not in self._lines:
            return f"{inside}computed before this block was entered, so its line is not known"
        file, line = self._lines[node.order]
        source = linecache.getline(file, line).strip()
        return f"{inside}{file}, line {line}" + (f":  {source}" if source else "")

    def _leaf(self, node: TapeNode) -> str:
        name = self._names.get(node.order)
        if name:
            return f"the parameter {visible(name, 120)}, which is so before this pass: the last update made it so"
        return "a tensor that was put in so"

    def _upstream(self, node: TapeNode, back: bool) -> list[str]:
        """Where it came from: the operations before (forward), or those whose gradient came down (backward)."""
        lines: list[str] = []
        seen = {node.order}
        pending = [node]
        while pending and len(lines) < _BACK:
            at = pending.pop(0)
            before = [self._from[at.order]] if back and at.order in self._from else []
            if not back:
                before = [whole(p) for p in at.parents if p is not None] if at.recipe is not None else []
            for other in before:
                if other.order in seen or len(lines) == _BACK:
                    continue
                seen.add(other.order)
                pending.append(other)
                if other.recipe is None:
                    name = self._names.get(other.order, "an input")
                    lines.append(f"    {visible(name, 120)}, shape {list(other.shape)}")
                else:
                    lines.append(f"    {other.recipe.op.name}, {self._where(other)}")
        head = "  the gradient came down through" if back else "  its arguments came from"
        return [head, *lines] if lines else []


def _users_line() -> tuple[str, int]:
    """The innermost line that is not the library's."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_HERE) and not name.startswith("<"):
            return name, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return "?", 0


def _named(node: TapeNode) -> list[tuple[str, Any]]:
    """The arguments that are there, by name, entries of a list one by one."""
    op, found = node.recipe.op, named_arguments(node)
    out = []
    for name in op.arguments:
        if name == op.list_argument:
            values = found.get(name) or [None] * len(node.parents)
            out += [(f"{name}[{i}]", v) for i, v in enumerate(values)]
        else:
            out.append((name, found.get(name)))
    return out


def _parents(node: TapeNode) -> list[tuple[str, TapeNode | None]]:
    op = node.recipe.op
    if op.list_argument:
        return [(f"{op.list_argument}[{i}]", p) for i, p in enumerate(node.parents)]
    return list(zip(op.differentiable, node.parents, strict=True))


def _written(node: TapeNode) -> Any:
    op: Operation = node.recipe.op
    given = named_arguments(node)
    sample = [given.get(name) for name in op.arguments]
    while sample and sample[-1] is None:
        sample.pop()
    options = options_kept(node)
    if lacks(op, options):
        return None
    for attempt in ((tuple(sample), options), *([((), {})] if usual(op, options) else [])):
        try:
            return formula(op, *attempt[0], **attempt[1])
        except UNWRITTEN:
            continue
    return None


def _forward(node: TapeNode) -> str:
    made = _written(node)
    return "" if made is None else made.forward


def _derivative(node: TapeNode, name: str) -> str:
    made = _written(node)
    return "" if made is None else made.derivatives.get(name.split("[")[0], "")


def _entry(v: np.ndarray[Any, Any], place: tuple[int, ...]) -> str:
    x = v.reshape(-1)[0] if v.size == 1 else v[place]
    return f"{x:.6g}" if v.dtype.kind in "fc" else str(x)


def _range(v: np.ndarray[Any, Any]) -> str:
    if v.dtype.kind not in "fiu" or not v.size:
        return str(v.dtype)
    fine = v[np.isfinite(v)]
    odd = v.size - fine.size
    text = f"from {fine.min():.6g} to {fine.max():.6g}" if fine.size else "nothing finite"
    return text + (f", {odd:,} not finite" if odd else "")
