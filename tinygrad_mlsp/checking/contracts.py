"""Contracts: what a gradient owes its caller besides being right.

    contracts(f, x, w).assert_ok()

Each contract is a function of a `_Case` here; its docstring is its name in words. It returns None if it holds, the
reason if it is broken, and raises `_Skip` where it does not apply.
"""

from __future__ import annotations

import itertools
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import space_of, to_numpy
from ..derivatives import flatten
from ..errors import Error, NoRuleError, OptionError
from ..namespace import asarray
from ..sweep import backward, reach
from ..tensor import Tensor, enable_grad, library, no_grad, wrap
from . import tally
from .report import GradientCheckError

THREADS = 8
ROUNDS = 4


@dataclass(frozen=True)
class Contract:
    """One contract: its name, "pass", "fail" or "skip", and the reason for the latter two."""

    name: str
    verdict: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:5} {self.name}{': ' if self.reason else ''}{self.reason}"


class ContractReport:
    """What became of each contract, by name: `report["inputs unchanged"].verdict`."""

    def __init__(self, function: str, results: Sequence[Contract]) -> None:
        self.function, self.results = function, tuple(results)

    @property
    def ok(self) -> bool:
        """Whether no contract is broken."""
        return not self.broken

    @property
    def verdict(self) -> str:
        """ "pass" or "fail"."""
        return "pass" if self.ok else "fail"

    @property
    def broken(self) -> tuple[str, ...]:
        """The names of the broken ones."""
        return tuple(c.name for c in self.results if c.verdict == "fail")

    @property
    def checked(self) -> int:
        """How many contracts were tried and not skipped."""
        return sum(c.verdict != "skip" for c in self.results)

    def __getitem__(self, name: str) -> Contract:
        for contract in self.results:
            if contract.name == name:
                return contract
        raise OptionError(f"contracts: there is none named {name!r}; there are {', '.join(names(self.results))}")

    def assert_ok(self) -> ContractReport:
        """The report itself.

        Raises: GradientCheckError naming each broken contract and the reason.
        """
        if not self.ok:
            raise GradientCheckError(str(self))
        return self

    def __str__(self) -> str:
        passed = sum(c.verdict == "pass" for c in self.results)
        head = f"contracts of {self.function}: {passed} hold, {len(self.broken)} broken"
        return "\n".join([head, *(f"  {c}" for c in self.results)])

    __repr__ = __str__


def names(results: Sequence[Contract]) -> tuple[str, ...]:
    return tuple(c.name for c in results)


class _Skip(Exception):
    """The contract does not apply; says why."""


def contracts(
    f: Callable[..., Any],
    *inputs: Any,
    gradient: Callable[..., Any] | None = None,
    only: str | Sequence[str] | None = None,
    skip: str | Sequence[str] = (),
    threads: int = THREADS,
    seed: int = 0,
) -> ContractReport:
    """Holds f to every contract at these inputs; each passes, fails with the reason, or is skipped with the reason.

    With `gradient`, f is a function of NumPy arrays that is not ours, and `gradient` of the same arguments gives its
    gradient (one array, or one an argument); the contracts that make sense for it are tried. `only` names the
    contracts to try, `skip` those to leave out.

    Give each side a length of its own: "zero size" takes axes of one length for one side.

    Raises: OptionError for a contract that is not known, or inputs without any floating-point array.
    """
    for name, function in (("f", f), ("gradient", gradient)):
        if not (callable(function) or (function is None and name == "gradient")):
            raise OptionError(f"contracts: {name} must be a function, not {function!r}")
    only = (only,) if isinstance(only, str) else only
    skip = (skip,) if isinstance(skip, str) else skip
    case: _Case = _Recorded(f, inputs, threads, seed) if gradient is None else _Foreign(f, gradient, inputs, threads)
    table = _OURS if gradient is None else _THEIRS
    unknown = [name for name in (*(only or ()), *skip) if name not in (*_OURS, *_THEIRS)]
    if unknown:
        raise OptionError(f"contracts: none is named {unknown}; there are {', '.join(table)}")
    results = []
    before = _copies(case.inputs)
    for name, contract in table.items():
        if (only is not None and name not in only) or name in skip:
            continue
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # f is asked for more than its user asks
                reason = contract(case)
        except (_Skip, NoRuleError) as why:
            results.append(Contract(name, "skip", str(why)))
            continue
        except Exception as problem:
            reason = f"raised {type(problem).__name__}: {problem}"
        finally:
            _restore(case.inputs, before)
        results.append(Contract(name, "fail" if reason else "pass", reason or ""))
    report = ContractReport(getattr(f, "__qualname__", getattr(f, "__name__", type(f).__name__)), results)
    tally.note("contracts", report)
    return report


# Comparisons


def _difference(got: Sequence[Any], want: Sequence[Any], exact: bool = False) -> str | None:
    """How two lists of arrays differ, in shape, dtype or, beyond rounding, in value; None if they do not."""
    if len(got) != len(want):
        return f"{len(got)} arrays where {len(want)} belong"
    for i, (a, b) in enumerate(zip(map(_host, got), map(_host, want), strict=True)):
        if a is None or b is None:
            if a is not b:
                return f"array {i} is {'missing' if a is None else 'there'} in one and not in the other"
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"array {i} has shape {a.shape} and dtype {a.dtype}, expected {b.shape} and {b.dtype}"
        if np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
            continue
        with np.errstate(all="ignore"):
            off = np.abs(a - b)
            rounding = 0.0 if exact or a.dtype.kind not in "fc" else 64 * float(np.finfo(a.dtype).eps)
            size = np.abs(b[np.isfinite(b)]).max(initial=0.0)
            same = np.isclose(a, b, rtol=rounding, atol=rounding * float(size), equal_nan=True)
        if not np.all(same):
            at = np.unravel_index(np.argmax(np.where(same, -1, np.nan_to_num(off, nan=np.inf))), off.shape)
            return f"array {i} at {tuple(int(k) for k in at)}: {a[at]} and {b[at]}"
    return None


def _host(value: Any) -> Any:
    if value is None:
        return None
    return value.numpy() if isinstance(value, Tensor) else to_numpy(value)


def _copies(arrays: Sequence[Any]) -> list[Any]:
    return [None if a is None else np.array(_host(a)) for a in arrays]


def _bytes(arrays: Sequence[Any]) -> list[bytes | None]:
    """What lies in memory, so that −0 is not 0."""
    return [None if a is None else _host(a).tobytes() for a in arrays]


def _restore(arrays: Sequence[Any], values: Sequence[Any]) -> None:
    """Puts back what a broken contract wrote over: the arrays are the caller's."""
    for array, old, new in zip(arrays, values, _bytes(arrays), strict=True):
        if old.tobytes() != new:
            array[...] = space_of(array).asarray(old)


def _share(a: Any, b: Any) -> bool:
    """Whether two arrays lie in the same memory."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return bool(np.shares_memory(a, b))
    return type(a) is type(b) and _root(a) is _root(b)


def _root(array: Any) -> Any:
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _shared(found: Sequence[tuple[str, Any]], others: Sequence[tuple[str, Any]]) -> str | None:
    """The first of `found` that shares memory with another of them, or with one of the `others`."""
    there = [(name, a) for name, a in found if a is not None and a.size]
    pairs = [*itertools.product(there, others), *itertools.combinations(there, 2)]
    for (name, a), (other, b) in pairs:
        if b is not None and _share(a, b):
            return f"{name} shares memory with {other}"
    return None


def _layouts(array: Any) -> dict[str, Any]:
    """The same values in memory laid out differently."""
    xp = space_of(array).module
    if array.ndim == 0 or array.size == 0:
        return {}
    turned = (slice(None, None, -1),) * array.ndim
    wide = xp.repeat(array, 2, axis=-1)
    return {
        "transposed": xp.asfortranarray(array) if array.ndim > 1 else array,
        "reversed": xp.ascontiguousarray(array[turned])[turned],
        "strided": wide[..., ::2],
        "non-owned": xp.array(array[None])[0],
    }


def _together(work: Callable[[int], Any], threads: int) -> list[Any]:
    """work(0), work(1), … in threads that start at once and switch often."""
    results: list[Any] = [None] * threads
    problems: list[BaseException] = []
    start = threading.Barrier(threads)

    def run(i: int) -> None:
        try:
            start.wait()
            with np.errstate(all="ignore"):
                results[i] = work(i)
        except BaseException as problem:
            problems.append(problem)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    if problems:
        raise problems[0]
    return results


class _Case:
    """A function at its inputs: `values` and `gradients` give new arrays each time, on the inputs as they are."""

    threads: int
    inputs: list[Any]  # raw arrays, the leaves of the arguments

    def values(self, arrays: Sequence[Any] | None = None) -> list[Any]:
        raise NotImplementedError

    def results(self, arrays: Sequence[Any]) -> list[Any]:
        """The values as f returned them: arrays, or Python's own numbers."""
        return self.values(arrays)

    def gradients(self, arrays: Sequence[Any] | None = None, scale: float = 1.0) -> list[Any]:
        raise NotImplementedError

    def differentiable(self) -> list[int]:
        return [i for i, x in enumerate(self.inputs) if x.dtype.kind in "fc"]


class _Recorded(_Case):
    """A function of Tensors."""

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any], threads: int, seed: int) -> None:
        self.f, self.threads, self.seed = f, threads, seed
        leaves, self.like_inputs = flatten(tuple(inputs))
        self.inputs = [asarray(x)._array for x in leaves]
        if not self.differentiable():
            raise OptionError("contracts: none of the inputs is a floating-point array")

    def run(self, arrays: Sequence[Any] | None = None, share: bool = False) -> tuple[list[Tensor], list[Tensor]]:
        """Leaves and outputs; `share` passes one Tensor wherever one array is meant."""
        arrays = self.inputs if arrays is None else arrays
        leaves = [Tensor(a, requires_grad=a.dtype.kind in "fc") for a in arrays]
        if share:
            first = {id(a): leaf for a, leaf in reversed([*zip(arrays, leaves, strict=True)])}
            leaves = [first[id(a)] for a in arrays]
        return leaves, self.apply(leaves)

    def apply(self, leaves: Sequence[Tensor]) -> list[Tensor]:
        found, _ = flatten(self.f(*self.like_inputs(leaves)))
        for y in found:
            if not isinstance(y, Tensor):
                raise OptionError(f"the function must return tensors, not {type(y).__name__}; pass gradient= beside it")
        return found

    def upstream(self, outputs: Sequence[Tensor], scale: float = 1.0) -> list[Any]:
        """Cotangents of order one, the same each time."""
        random = np.random.default_rng(self.seed)
        found = []
        for y in outputs:
            u = random.uniform(0.5, 1.5, y.shape) * random.choice([-1.0, 1.0], y.shape) * scale
            if y.dtype.kind == "c":
                u = u + 1j * random.uniform(-1, 1, y.shape) * scale
            space = space_of(y._array)
            found.append(space.asarray(np.asarray(u, dtype=y.dtype if y.dtype.kind in "fc" else None)))
        return found

    def values(self, arrays: Sequence[Any] | None = None) -> list[Any]:
        return [y._array for y in self.run(arrays)[1]]

    def results(self, arrays: Sequence[Any]) -> list[Any]:
        return [y._array for y in self.run(arrays)[1] if y._node is not None]  # a constant has its own dtype

    def gradients(self, arrays: Sequence[Any] | None = None, scale: float = 1.0) -> list[Any]:
        leaves, outputs = self.run(arrays)
        return pull(leaves, outputs, self.upstream(outputs, scale))


def pull(
    leaves: Sequence[Tensor], outputs: Sequence[Tensor], us: Sequence[Any], retain: bool = False, record: bool = False
) -> list[Any]:
    """The gradients of the leaves alone; no other leaf's `.grad` is touched. Zeros where nothing arrives."""
    _require_graph(outputs)
    tracked = [x for x in leaves if x._node is not None]
    if record:
        tensors = [wrap(u, None) if not isinstance(u, Tensor) else u for u in us]
        seeds = [(y._node, _turned(u)) for y, u in zip(outputs, tensors, strict=True) if y._node is not None]
    else:
        seeds = [(y._node, _turned(u)) for y, u in zip(outputs, us, strict=True) if y._node is not None]
    xp = library if record else space_of(leaves[0]._array)
    nodes: list[Any] = [x._node for x in tracked]
    found = iter(backward(seeds, xp, wrap if record else None, retain or record, nodes))
    grads = []
    for x in leaves:
        g = next(found) if x._node is not None else None
        if g is None and x._node is not None:
            g = wrap(_zeros(x), None) if record else _zeros(x)
        grads.append(None if g is None else _turned(g))
    return grads


def _require_graph(outputs: Sequence[Tensor]) -> None:
    if not any(y.requires_grad for y in outputs):
        raise _Skip("no result depends on a floating-point argument")


def _turned(g: Any) -> Any:
    """The sweep carries the plain transpose: conjugated on the way in and out."""
    if g.dtype.kind != "c":
        return g
    return g.conj()


# The contracts of our own functions


def _inputs_unchanged(case: _Case) -> str | None:
    before = _bytes(case.inputs)
    case.values()
    if _bytes(case.inputs) != before:
        return f"computing f changed argument {_first_change(before, case.inputs)} in place"
    case.gradients()
    if _bytes(case.inputs) != before:
        return f"computing the gradient changed argument {_first_change(before, case.inputs)} in place"
    return None


def _first_change(before: Sequence[Any], arrays: Sequence[Any]) -> int:
    return next(i for i, (a, b) in enumerate(zip(before, _bytes(arrays), strict=True)) if a != b)


def _upstream_unchanged(case: _Recorded) -> str | None:
    for record in (False, True):
        leaves, outputs = case.run()
        us = case.upstream(outputs)
        before = _bytes(us)
        pull(leaves, outputs, us, record=record)
        if _bytes(us) != before:
            return f"backward wrote into the gradient of output {_first_change(before, us)} that it was given"
    return None


def _own_memory(case: _Recorded) -> str | None:
    leaves, outputs = case.run()
    us = case.upstream(outputs)
    found = _delivered(leaves, outputs, us)
    others = [(f"the gradient given for output {i}", u) for i, u in enumerate(us)]
    others += [(f"argument {i}", x) for i, x in enumerate(case.inputs)]
    others += [(f"output {i}", y._array) for i, y in enumerate(outputs)]
    reason = _shared(found, others)
    if reason:
        return reason
    leaves, outputs = case.run()  # a rule may hand out one buffer each time
    return _shared(found, [(f"a later one, {name}", g) for name, g in _delivered(leaves, outputs, us)])


def _delivered(leaves: Sequence[Tensor], outputs: Sequence[Tensor], us: Sequence[Any]) -> list[tuple[str, Any]]:
    """What backward leaves in `.grad`, parameters that f closes over included; theirs are put back as they were."""
    parameters = _parameters(leaves, outputs)
    kept = [watch.grad for watch in parameters]
    for watch in parameters:
        watch.grad = None
    try:
        _sweep(leaves, outputs, us)
        found = [(f"the gradient of argument {i}", x.grad) for i, x in enumerate(leaves)]
        found += [("the gradient of a parameter", watch.grad) for watch in parameters]
        return [(name, g if g is None else asarray(g)._array) for name, g in found]
    finally:
        for watch, grad in zip(parameters, kept, strict=True):
            watch.grad = grad


def _parameters(leaves: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Any]:
    """Where the gradients of what f closes over are kept, which are none of ours."""
    ours = {x._node.order for x in leaves if x._node is not None}
    nodes = reach(y._node for y in outputs if y._node is not None)
    return [n.watch for o, n in nodes.items() if o not in ours and n.recipe is None and n.watch is not None]


def _sweep(leaves: Sequence[Tensor], outputs: Sequence[Tensor], us: Sequence[Any]) -> None:
    """Adds to each leaf's `.grad`, as `backward` does, of several results together."""
    _require_graph(outputs)
    seeds = [(y._node, _turned(u)) for y, u in zip(outputs, us, strict=True) if y._node is not None]
    backward(seeds, space_of(leaves[0]._array))


def _form(case: _Case) -> str | None:
    for i, (g, x) in enumerate(zip(case.gradients(), case.inputs, strict=True)):
        if g is not None and (g.shape != x.shape or g.dtype != x.dtype):
            return f"argument {i} is {x.dtype} of shape {x.shape}, its gradient {g.dtype} of shape {g.shape}"
    return None


def _input_layout(case: _Case) -> str | None:
    plain = [space_of(x).module.ascontiguousarray(x) if x.ndim else x for x in case.inputs]
    values, gradients = case.values(plain), case.gradients(plain)
    ways = [_layouts(x) for x in plain]
    if not any(ways):
        raise _Skip("only 0-d or empty arguments")
    for way in ("transposed", "reversed", "strided", "non-owned"):
        laid = [w.get(way, x) for w, x in zip(ways, plain, strict=True)]
        reason = _difference(case.values(laid), values) or _difference(case.gradients(laid), gradients)
        if reason:
            return f"with {way} arguments the result differs from that with contiguous ones: {reason}"
    return None


def _upstream_layout(case: _Recorded) -> str | None:
    leaves, outputs = case.run()
    us = case.upstream(outputs)
    ways = [_layouts(u) for u in us]
    if not any(ways):
        raise _Skip("only 0-d or empty results")
    want = pull(leaves, outputs, us, retain=True)
    for way in ("transposed", "reversed", "strided", "non-owned"):
        laid = [w.get(way, u) for w, u in zip(ways, us, strict=True)]
        reason = _difference(pull(leaves, outputs, laid, retain=True), want)
        if reason:
            return f"a {way} upstream gradient gives another result than a contiguous one: {reason}"
    ones = [space_of(u).module.ones_like(u) for u in us]
    wide = [space_of(u).module.broadcast_to(space_of(u).module.ones((), dtype=u.dtype), u.shape) for u in us]
    reason = _difference(pull(leaves, outputs, wide, retain=True), pull(leaves, outputs, ones, retain=True))
    return f"a broadcast (zero-stride) upstream gradient gives another result than a full one: {reason}" * bool(reason)


def _repeated(case: _Recorded) -> str | None:
    places = case.differentiable()
    pairs = [
        (i, j)
        for i, j in itertools.combinations(places, 2)
        if case.inputs[i].shape == case.inputs[j].shape and case.inputs[i].dtype == case.inputs[j].dtype
    ]
    if not pairs:
        raise _Skip("no two arguments of one shape and dtype")
    for i, j in pairs:
        apart = [*case.inputs]
        apart[j] = apart[i].copy()
        try:
            values = case.values(apart)
        except Exception as problem:
            raise _Skip(f"f does not take equal arguments {i} and {j}: {problem}") from problem
        separate = case.gradients(apart)
        together = [*apart]
        together[j] = together[i]
        leaves, outputs = case.run(together, share=True)
        reason = _difference([y._array for y in outputs], values)
        if reason:
            return f"f(x, x) differs from f(x, copy of x): {reason}"
        found = pull(leaves, outputs, case.upstream(outputs))[i]
        reason = _difference([found], [separate[i] + separate[j]])
        if reason:
            return f"arguments {i} and {j} the same tensor: the gradient is not the sum of the two: {reason}"
    return None


def _accumulation(case: _Recorded) -> str | None:
    once = case.gradients()
    leaves, first = case.run()
    parameters = _parameters(leaves, first)
    kept = [watch.grad for watch in parameters]
    try:
        for outputs in (first, case.apply(leaves)):
            _sweep(leaves, outputs, case.upstream(outputs))
    finally:
        for watch, grad in zip(parameters, kept, strict=True):
            watch.grad = grad
    found = [_zeros(x) if x.grad is None and x.requires_grad else x.grad for x in leaves]
    reason = _difference(found, [None if g is None else g + g for g in once])
    return reason and f"two backward calls do not add up to twice the gradient: {reason}"


def _zeros(x: Tensor) -> Any:
    return space_of(x._array).zeros_like(x._array)


def _retain_graph(case: _Recorded) -> str | None:
    leaves, outputs = case.run()
    us = case.upstream(outputs)
    first = _copies(pull(leaves, outputs, us, retain=True))
    reason = _difference(_copies(pull(leaves, outputs, us, retain=True)), first)
    return reason and f"the second backward through one graph gives another gradient: {reason}"


def _zero_size(case: _Case) -> str | None:
    tried = 0
    for i, x in enumerate(case.inputs):
        for axis in range(x.ndim if x.size else 0):
            for arrays in _without(case.inputs, i, axis):
                try:
                    case.values(arrays)
                except Exception:  # f has nothing to say there
                    continue
                tried += 1
                shapes = [a.shape for a in arrays]
                try:
                    grads = case.gradients(arrays)
                except _Skip:
                    raise
                except Exception as problem:
                    return f"f takes shapes {shapes}, its gradient raises {type(problem).__name__}: {problem}"
                for k, (g, shape) in enumerate(zip(grads, shapes, strict=True)):
                    if g is not None and g.shape != shape:
                        return f"an empty argument {k} of shape {shape} has a gradient of shape {g.shape}"
                break
    if not tried:
        raise _Skip("f takes no empty arguments")
    return None


def _without(arrays: Sequence[Any], i: int, axis: int) -> list[list[Any]]:
    """The arrays with one axis of one of them emptied: with all axes of that length, which may be the same side, and
    alone."""
    length = arrays[i].shape[axis]

    def linked(k: int, y: Any) -> Any:
        if k != i and length == 1:  # a partner of a broadcast, most likely
            return y
        return _emptied(y, *(a for a, n in enumerate(y.shape) if n == length))

    return [
        [linked(k, y) for k, y in enumerate(arrays)],
        [_emptied(y, axis) if k == i else y for k, y in enumerate(arrays)],
    ]


def _emptied(array: Any, *axes: int) -> Any:
    return array[tuple(slice(0, 0) if a in axes else slice(None) for a in range(array.ndim))]


def _deterministic(case: _Case) -> str | None:
    values, gradients = _copies(case.values()), _copies(case.gradients())
    for _ in range(3):
        reason = _difference(case.values(), values, exact=True)
        if reason:
            return f"f gives another value the second time: {reason}"
        reason = _difference(case.gradients(), gradients, exact=True)
        if reason:
            return f"the gradient is another one the second time: {reason}"
    return None


def _double_backward(case: _Recorded) -> str | None:
    plain = case.gradients()
    leaves, outputs = case.run()
    with enable_grad():
        recorded = pull(leaves, outputs, case.upstream(outputs), record=True)
    reason = _difference(recorded, plain)
    if reason:
        return f"with create_graph the gradient is another one: {reason}"
    return None


def _second_order(case: _Recorded) -> str | None:
    from .check import check

    report = check(case.f, *case.like_inputs([wrap(x, None) for x in case.inputs]), order=2)
    if report.verdict == "undecidable":
        raise _Skip("undecidable here")
    return None if report.verdict != "fail" else str(report)


def _thread_safe(case: _Case) -> str | None:
    # Each thread has inputs and upstream gradients of its own, so what passes from one to another shows.
    inputs = [[_scaled(x, 1 - k / 64) for x in case.inputs] for k in range(case.threads)]

    def once(k: int) -> tuple[list[Any], list[Any]]:
        return _copies(case.values(inputs[k])), _copies(case.gradients(inputs[k], scale=1 + k / 16))

    serial = [once(k) for k in range(case.threads)]

    def work(k: int) -> list[Any]:
        return [once(k) for _ in range(ROUNDS)]

    for k, rounds in enumerate(_together(work, case.threads)):
        for values, gradients in rounds:
            reason = _difference(values, serial[k][0]) or _difference(gradients, serial[k][1])
            if reason:
                return f"in one of {case.threads} threads the result is another than alone: {reason}"
    return None


def _no_grad(case: _Recorded) -> str | None:
    want = case.values()
    with no_grad():
        leaves = [Tensor(a, requires_grad=a.dtype.kind in "fc") for a in case.inputs]
        outputs = case.apply(leaves)
        after = Tensor(np.ones(1), requires_grad=True) * 2
    if any(y.requires_grad and not any(y is x for x in leaves) for y in outputs):
        return "under no_grad the result records its making"
    if after.requires_grad:
        return "after f, recording is on again inside no_grad"
    if not (Tensor(np.ones(1), requires_grad=True) * 2).requires_grad:
        return "after f under no_grad, recording stays off"
    reason = _difference([y._array for y in outputs], want)
    return reason and f"under no_grad the values differ: {reason}"


def _recording(case: _Recorded) -> str | None:
    case.run()
    if not (Tensor(np.ones(1), requires_grad=True) * 2).requires_grad:
        return "after f, recording is off"
    return None


def _scaled(x: Any, by: float) -> Any:
    return space_of(x).asarray(x * by, dtype=x.dtype) if x.dtype.kind in "fc" else x


_LOWER = {"float64": "float32", "complex128": "complex64"}


def _single(case: _Case) -> str | None:
    narrow = [x.astype(_LOWER.get(x.dtype.name, x.dtype)) for x in case.inputs]
    if any(x.dtype.name in ("float64", "complex128", "float16") for x in narrow):
        raise _Skip(f"arguments of dtypes {', '.join(x.dtype.name for x in narrow)}")
    for i, y in enumerate(case.results(narrow)):
        if getattr(y, "dtype", np.dtype("f4")).name in _LOWER:
            return f"output {i} of {narrow[0].dtype.name} arguments is {y.dtype.name}"
    for i, (g, x) in enumerate(zip(case.gradients(narrow), narrow, strict=True)):
        if g is not None and g.dtype != x.dtype:
            return f"the gradient of {x.dtype.name} argument {i} is {g.dtype.name}"
    return None


_OURS: dict[str, Callable[[Any], str | None]] = {
    "inputs unchanged": _inputs_unchanged,
    "upstream gradient unchanged": _upstream_unchanged,
    "gradients own their memory": _own_memory,
    "shape and dtype": _form,
    "layout of the inputs": _input_layout,
    "layout of the upstream gradient": _upstream_layout,
    "the same tensor twice": _repeated,
    "accumulation": _accumulation,
    "retain_graph": _retain_graph,
    "zero size": _zero_size,
    "deterministic": _deterministic,
    "double backward": _double_backward,
    "second order": _second_order,
    "threads": _thread_safe,
    "no_grad": _no_grad,
    "recording restored": _recording,
    "float32 stays float32": _single,
}


# Functions that are not ours


class _Foreign(_Case):
    """A function of NumPy arrays, with its gradient beside it."""

    def __init__(
        self, f: Callable[..., Any], gradient: Callable[..., Any], inputs: Sequence[Any], threads: int
    ) -> None:
        self.f, self.gradient, self.threads = f, gradient, threads
        self.inputs = [x if isinstance(x, np.ndarray) else np.asarray(x) for x in inputs]

    def values(self, arrays: Sequence[Any] | None = None) -> list[Any]:
        return [np.asarray(y) for y in self.results(self.inputs if arrays is None else arrays)]

    def results(self, arrays: Sequence[Any]) -> list[Any]:
        return flatten(self.f(*arrays))[0]

    def gradients(self, arrays: Sequence[Any] | None = None, scale: float = 1.0) -> list[Any]:
        arrays = self.inputs if arrays is None else arrays
        found = self.gradient(*arrays)
        parts = list(found) if isinstance(found, (tuple, list)) and len(arrays) > 1 else [found]
        if len(arrays) == 1 and isinstance(found, tuple):
            parts = list(found)
        if len(parts) != len(arrays):
            raise Error(f"the gradient function returned {len(parts)} arrays for {len(arrays)} arguments")
        return [None if g is None else np.asarray(g) for g in parts]


def _foreign_memory(case: _Foreign) -> str | None:
    first = [(f"the gradient of argument {i}", g) for i, g in enumerate(case.gradients())]
    reason = _shared(first, [(f"argument {i}", x) for i, x in enumerate(case.inputs)])
    later = [(f"a later one, {name}", g) for (name, _), g in zip(first, case.gradients(), strict=True)]
    return reason or _shared(first, later)


def _foreign_repeated(case: _Foreign) -> str | None:
    pairs = [
        (i, j)
        for i, j in itertools.combinations(case.differentiable(), 2)
        if case.inputs[i].shape == case.inputs[j].shape and case.inputs[i].dtype == case.inputs[j].dtype
    ]
    if not pairs:
        raise _Skip("no two arguments of one shape and dtype")
    for i, j in pairs:
        apart, together = [*case.inputs], [*case.inputs]
        apart[j], together[j] = apart[i].copy(), together[i]
        reason = _difference(case.values(together), case.values(apart))
        reason = reason or _difference(case.gradients(together), case.gradients(apart))
        if reason:
            return f"f(x, x) differs from f(x, copy of x): {reason}"
    return None


_THEIRS: dict[str, Callable[[Any], str | None]] = {
    "inputs unchanged": _inputs_unchanged,
    "gradients own their memory": _foreign_memory,
    "shape and dtype": _form,
    "layout of the inputs": _input_layout,
    "the same tensor twice": _foreign_repeated,
    "zero size": _zero_size,
    "deterministic": _deterministic,
    "threads": _thread_safe,
    "float32 stays float32": _single,
}
