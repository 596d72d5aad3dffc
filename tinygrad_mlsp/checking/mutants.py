"""Tests of the tests: faults planted in the rules that a function uses, and which checks notice them.

A fault changes what one rule hands on: the contribution Jᵀg to one argument, or the tangent J t of the result. It is
planted in the operation itself, for the time of a `with` block, so that every way to the operation meets it (operators,
methods, functions, graphs recorded earlier), and everything else stays as it is.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ..backend import space_of, spaces
from ..derivatives import flatten, jvp, vjp
from ..errors import OptionError
from ..namespace import asarray
from ..op import Operation
from ..recipe import Recipe, carry_by_pull, unbroadcast
from ..sweep import reach
from ..tensor import Tensor, enable_grad

_planting = threading.RLock()  # one fault at a time: while it is planted, every thread meets it


# The faults


def _one_entry(xp: Any, part: Any) -> Any:
    """The last entry doubled."""
    factor = np.ones(part.shape)
    factor.reshape(-1)[-1:] = 2
    array = part._array if isinstance(part, Tensor) else part
    wrong = space_of(array).module.asarray(factor.astype(array.dtype)) if type(array) in spaces else factor
    return part * (Tensor(wrong) if isinstance(part, Tensor) else wrong)


def _first_of_each(xp: Any, part: Any, shape: tuple[int, ...]) -> Any:
    """A broadcast undone by taking the first entry where the sum belongs."""
    index = (0,) * (part.ndim - len(shape))
    part = part[index] if index else part
    return part[tuple([slice(0, n) for n in shape])] if part.shape != tuple(shape) else part


def _square(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and shape[-1] == shape[-2] > 1


# Of the contribution to one argument, its broadcast undone. Where the fault does not apply, it changes nothing.
VALUES: dict[str, Callable[[Any, Any], Any]] = {
    "sign": lambda xp, part: -part,
    "dropped": lambda xp, part: part * 0,
    "factor 2": lambda xp, part: part * 2,
    "1 % too much": lambda xp, part: part * 1.01,
    "one entry doubled": _one_entry,
    "reversed": lambda xp, part: xp.flip(part) if part.shape else part,
    "transposed": lambda xp, part: xp.matrix_transpose(part) if _square(part.shape) else part,
    "conjugated": lambda xp, part: xp.conj(part) if part.dtype.kind == "c" else part,
}
STATEFUL = ("buffer used again", "stale")
WRITTEN = "upstream gradient written"
FROZEN = "frozen: wrong from the second order on"
BACKWARD = (*VALUES, "swapped", "broadcast not summed", WRITTEN, *STATEFUL, FROZEN)
FORWARD = ("sign", "dropped", "1 % too much", FROZEN)


@dataclass(frozen=True)
class Site:
    """Where a fault is planted: `place` counts the differentiable arguments, or the entries of a list argument;
    `other` is the argument that it is swapped with, and None in forward mode stands for all of them."""

    op: Operation
    mode: str
    fault: str
    place: int | None
    other: int | None = None

    def label(self, place: int | None) -> str:
        if place is None:
            return "all"
        return f"{self.op.list_argument}[{place}]" if self.op.list_argument else self.op.differentiable[place]

    @property
    def argument(self) -> str:
        return self.label(self.place) + ("" if self.other is None else f", {self.label(self.other)}")


@contextmanager
def planted(site: Site, recipes: Sequence[Recipe]) -> Iterator[None]:
    """The fault is in the operation within this block; `recipes` are those of the graphs that shall meet it."""
    shadowed = vars(site.op)  # a method put on the instance hides the one of the class
    with _planting:
        saved = [(recipe, recipe.pull, recipe.carry) for recipe in recipes]
        try:
            if site.mode == "forward":
                shadowed["push_forward"] = _wrong_push(site)
            else:
                wrong = _wrong_parts(site)
                shadowed["pull_argument"] = _wrong_pull_argument(site, wrong)
                for recipe, pull, _ in saved:
                    recipe.pull = _wrong_pull(site, wrong, recipe, pull)
                    recipe.carry = functools.partial(carry_by_pull, recipe)
            yield
        finally:
            shadowed.pop("push_forward", None)
            shadowed.pop("pull_argument", None)
            for recipe, pull, carry in saved:
                recipe.pull, recipe.carry = pull, carry


Parts = list[Any]
Wrong = Callable[[Any, Any, Parts, Sequence[Any]], None]  # xp, g, contributions, the arguments' shapes: changes them


def _wrong_parts(site: Site) -> Wrong:
    fault, i, j = site.fault, site.place or 0, site.other
    memory: dict[Any, Any] = {}

    def wrong(xp: Any, g: Any, parts: Parts, shapes: Sequence[Any]) -> None:
        part = parts[i]
        if part is None:
            return
        if fault == "broadcast not summed":
            parts[i] = _first_of_each(xp, part, shapes[i])
            return
        part = unbroadcast(xp, part, shapes[i]) if part.shape != shapes[i] else part
        if fault in VALUES:
            parts[i] = VALUES[fault](xp, part)
        elif fault == "swapped":
            assert j is not None
            if parts[j] is not None and shapes[i] == shapes[j]:
                parts[i], parts[j] = unbroadcast(xp, parts[j], shapes[j]), part
        elif fault in STATEFUL and not isinstance(part, Tensor):
            if fault == "stale":
                parts[i] = memory.setdefault(shapes[i], xp.copy(xp.asarray(part)))
            else:
                buffer = memory.setdefault(shapes[i], xp.copy(xp.asarray(part)))
                buffer[...] = part
                parts[i] = buffer

    return wrong


def _write(xp: Any, g: Any, part: Any) -> Any:
    """The contribution, in memory of its own, and the gradient that it was made of overwritten."""
    if isinstance(part, Tensor) or part is None:
        return part
    part = xp.copy(xp.asarray(part))
    for h in g.values() if isinstance(g, dict) else g if isinstance(g, tuple) else [g]:
        if h is not None and h.dtype.kind in "fc":
            h *= 2
    return part


def _frozen(value: Any) -> Any:
    """The value without its graph."""
    if isinstance(value, (list, tuple)):
        return type(value)(_frozen(v) for v in value)
    return value.detach() if isinstance(value, Tensor) else value


def _wrong_pull(site: Site, wrong: Wrong, recipe: Recipe, pull: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(xp: Any, g: Any, links: Any) -> Any:
        parents = recipe.parents(links)
        parts, i = list(pull(xp, g, links)), site.place or 0
        if site.fault == WRITTEN:  # the rules of the arguments before have run by then, those after are yet to run
            parts[i] = _write(xp, g, parts[i])
            parts[i + 1 :] = list(pull(xp, g, links))[i + 1 :]
        elif site.fault == FROZEN:
            parts[i] = list(pull(xp, g, recipe.link(parents, _frozen(list(links[recipe.lead :])))))[i]
        else:
            wrong(xp, g, parts, [None if p is None else p.shape for p in parents])
        return parts

    return mutant


def _wrong_pull_argument(site: Site, wrong: Wrong) -> Callable[..., Any]:
    op = site.op
    right = op.pull_argument

    def mutant(argument: str, given: dict[str, Any], arguments: Sequence[Any], y: Any, options: Any) -> Any:
        def part_of(name: str) -> Any:
            return right(name, given, arguments, y, options)

        xp, g = given["xp"], given["g"]
        if op.list_argument:
            parts, i = list(part_of(argument)), site.place or 0
            if site.fault == WRITTEN:
                parts[i] = _write(xp, g, parts[i])
                parts[i + 1 :] = list(part_of(argument))[i + 1 :]
            elif site.fault == FROZEN:
                parts[i] = list(right(argument, given, _frozen(list(arguments)), _frozen(y), options))[i]
            else:
                wrong(xp, g, parts, [v.shape for v in arguments[op.arguments.index(argument)]])
            return parts
        at = op.differentiable.index(argument)
        if at not in (site.place, site.other):
            return part_of(argument)
        if site.fault == WRITTEN:
            return _write(xp, g, part_of(argument))
        if site.fault == FROZEN:
            return right(argument, given, _frozen(list(arguments)), _frozen(y), options)
        values = [arguments[op.arguments.index(a)] for a in op.differentiable]
        shapes = [None if v is None else v.shape for v in values]
        parts = [None if k not in (at, site.place, site.other) else part_of(a) for k, a in enumerate(op.differentiable)]
        wrong(xp, g, parts, shapes)
        return parts[at]

    return mutant


def _wrong_push(site: Site) -> Callable[..., Any]:
    right = site.op.push_forward

    def mutant(xp: Any, tangents: Any, arguments: Any, y: Any, options: Any) -> Any:
        def push(ts: Any) -> Any:
            return right(xp, ts, arguments, y, options)

        if site.fault == FROZEN:
            return right(xp, tangents, _frozen(list(arguments)), _frozen(y), options)
        if site.fault == "dropped" and site.place is not None:
            return push(_without(site, xp, tangents))
        by = {"sign": -1.0, "dropped": 0.0, "1 % too much": 1.01}[site.fault]
        moved = push(tangents)
        return tuple([t * by for t in moved]) if isinstance(moved, tuple) else moved * by

    return mutant


def _without(site: Site, xp: Any, tangents: Sequence[Any]) -> list[Any]:
    """The tangents, that of one argument replaced by zeros."""
    op, place, zero = site.op, site.place or 0, lambda t: None if t is None else xp.zeros_like(t)
    if op.list_argument:
        at = op.arguments.index(op.list_argument)
        inner = [zero(t) if k == place else t for k, t in enumerate(tangents[at])]
        return [inner if k == at else t for k, t in enumerate(tangents)]
    at = op.arguments.index(op.differentiable[place])
    return [zero(t) if k == at else t for k, t in enumerate(tangents)]


# Where to plant


class _Subject:
    """f as a function of its floating-point inputs, to a list of its floating-point results."""

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any]) -> None:
        self.f = f
        leaves, self.rebuild = flatten(tuple(inputs))
        self.leaves: list[Any] = [v if v is None or isinstance(v, (int, str)) else asarray(v) for v in leaves]
        self.places = [i for i, v in enumerate(self.leaves) if isinstance(v, Tensor) and v.dtype.kind in "fc"]
        self.primals = [self.leaves[i].detach() for i in self.places]

    def __call__(self, *primals: Any) -> list[Tensor]:
        leaves = list(self.leaves)
        for place, x in zip(self.places, primals, strict=True):
            leaves[place] = x
        found, _ = flatten(self.f(*self.rebuild(leaves)))
        return [y for y in found if isinstance(y, Tensor) and y.dtype.kind in "fc"]

    def recorded(self) -> dict[Operation, list[Any]]:
        """The nodes that a run of f makes, by operation."""
        leaves = [Tensor(x._array, requires_grad=True) for x in self.primals]
        with enable_grad():
            roots = [y._node for y in self(*leaves) if y._node is not None]
        found: dict[Operation, list[Any]] = {}
        for _, node in sorted(reach(roots).items(), reverse=True):
            if isinstance(node.recipe, Recipe):
                found.setdefault(node.recipe.op, []).append(node)
        return found

    def fingerprint(self) -> list[Any]:
        """All that derivatives of f say here, up to the second order, as arrays; twice, for what remembers.

        Upstream gradients are new at each use, so that one that was written to does not spoil what comes after.
        """
        xs, ys = self.primals, self(*self.primals)

        def new(likes: Sequence[Tensor], seed: int) -> list[Tensor]:
            random = np.random.default_rng(seed)
            return [_numbers_like(x, random) for x in likes]

        def gradient(*x: Any) -> Any:
            return list(vjp(self, *x)[1](new(ys, 1)))

        def tangent(*x: Any) -> Any:
            return list(jvp(self, x, tuple(new(xs, 3)))[1])

        def by_upstream(*u: Any) -> Any:
            return list(vjp(self, *xs)[1](list(u)))

        def reverse() -> list[Any]:
            upstream = [new(ys, 1), new(ys, 2)]
            grads = [g for us in upstream for g in vjp(self, *xs)[1](us)]
            return [*grads, *(u for us in upstream for u in us)]

        pieces: list[Callable[[], Any]] = [
            reverse,
            lambda: tangent(*xs),
            lambda: vjp(gradient, *xs)[1](new(xs, 3)),
            lambda: jvp(gradient, tuple(xs), tuple(new(xs, 3)))[1],
            lambda: vjp(tangent, *xs)[1](new(ys, 4)),
            lambda: vjp(by_upstream, *new(ys, 1))[1](new(xs, 3)),
        ]
        found: list[Any] = []
        for piece in pieces:
            try:
                found += [t.numpy().copy() for t in piece()]
            except Exception as problem:  # an answer too: f may have no second derivative, and a fault may break one
                found.append(np.asarray(type(problem).__name__))
        return found


def _numbers_like(x: Tensor, random: np.random.Generator) -> Tensor:
    """Numbers of order one, none of them small."""
    v = random.uniform(0.5, 1.5, x.shape) * random.choice([-1.0, 1.0], x.shape)
    v = v + 1j * random.uniform(0.5, 1.5, x.shape) if x.dtype.kind == "c" else v
    return Tensor(np.asarray(v, x.dtype), device=x.device)


def _sites(nodes: dict[Operation, list[Any]], complex_too: bool) -> Iterator[tuple[Site, list[Recipe]]]:
    """Every fault that may matter, with the recipes that it is planted in."""
    for op, applied in nodes.items():
        recipes = list({id(n.recipe): n.recipe for n in applied}.values())
        count = max(len(n.parents) for n in applied)
        wanted = [[(n.parents[i].shape, n.shape) for n in applied if i < len(n.parents) and n.parents[i]]
                  for i in range(count)]  # fmt: skip
        places = [i for i in range(count) if wanted[i]]
        for fault in BACKWARD:
            for i in places:
                shapes = {shape for shape, _ in wanted[i]}
                if fault == "swapped":
                    for j in places:
                        if j > i and shapes & {shape for shape, _ in wanted[j]}:
                            yield Site(op, "reverse", fault, i, j), recipes
                elif (
                    (fault != "conjugated" or complex_too)
                    and (fault != "transposed" or any(map(_square, shapes)))
                    and (fault != "broadcast not summed" or any(inner != outer for inner, outer in wanted[i]))
                ):
                    yield Site(op, "reverse", fault, i), recipes
        for fault in FORWARD:
            for place in places if fault == "dropped" and len(places) > 1 else [None]:
                yield Site(op, "forward", fault, place), recipes


# The survey


@dataclass(frozen=True)
class Mutant:
    """One planted fault, and the names of the checks that noticed it; `equivalent` if it changes no derivative of f."""

    operation: str
    mode: str
    argument: str
    fault: str
    noticed: tuple[str, ...]
    equivalent: bool = False

    def __str__(self) -> str:
        answer = "changes nothing here" if self.equivalent else ", ".join(self.noticed) or "NOBODY"
        return f"{self.operation:<16} {self.mode:<8} {self.argument:<10} {self.fault:<40} {answer}"


@dataclass(frozen=True)
class Survey:
    """All mutants of a function, and what was asked of them."""

    mutants: tuple[Mutant, ...]
    checks: tuple[str, ...]

    @property
    def unnoticed(self) -> list[Mutant]:
        """Those that change a derivative and that no check noticed."""
        return [m for m in self.mutants if not m.noticed and not m.equivalent]

    @property
    def ok(self) -> bool:
        return not self.unnoticed

    def assert_ok(self) -> None:
        """Raises AssertionError with the faults that nobody noticed."""
        if not self.ok:
            raise AssertionError("\n".join([f"not noticed by {', '.join(self.checks)}:", *map(str, self.unnoticed)]))

    def __str__(self) -> str:
        head = f"{'operation':<16} {'mode':<8} {'argument':<10} {'fault':<40} noticed by"
        noticed = sum(bool(m.noticed) for m in self.mutants)
        same = sum(m.equivalent for m in self.mutants)
        counts = f"{noticed} noticed, {same} change nothing here, {len(self.unnoticed)} not noticed"
        foot = f"{len(self.mutants)} faults: {counts}"
        return "\n".join([head, *map(str, self.mutants), foot])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


Check = Callable[..., Any]


def default_checks() -> dict[str, Check]:
    """What is asked where nothing else is named."""
    from .check import check
    from .contracts import contracts

    return {
        "check": check,
        "check of order 2": lambda f, *inputs: check(f, *inputs, order=2),
        "contracts": contracts,
    }


def _discontent(found: Any) -> bool:
    """Whether what a check returned says that something is wrong."""
    return found is False or getattr(found, "ok", True) is False


def _notices(check: Check, f: Callable[..., Any], inputs: Sequence[Any]) -> bool:
    """Whether the check raises, or is discontent."""
    try:
        return _discontent(check(f, *inputs))
    except Exception:
        return True


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two fingerprints differ by rounding alone: of each array, or, where one vanishes, of all."""
    rounding = 1e-14 * max([_largest(y) for y in b], default=0.0)

    def close(x: Any, y: Any) -> bool:
        if x.dtype.kind == "U" and y.dtype.kind == "U":
            return str(x) == str(y)
        if x.shape != y.shape or x.dtype != y.dtype:
            return False
        return np.allclose(x, y, rtol=0, atol=1e-12 * _largest(y) + rounding, equal_nan=True)

    return len(a) == len(b) and all(map(close, a, b))


def _largest(x: Any) -> float:
    return 0.0 if x.dtype.kind == "U" else float(np.max(np.abs(x)[np.isfinite(x)], initial=0.0))


def mutants(
    f: Callable[..., Any],
    *inputs: Any,
    checks: Mapping[str, Check] | None = None,
    faults: Sequence[str] | None = None,
    stop_early: bool = False,
) -> Survey:
    """Plants faults in the rules that f uses, one after another, and says which checks notice each.

    A check is a function of f and its inputs that raises, returns False, or returns a report whose `ok` is False, when
    it notices something; by default `check`, `check` of order 2, and `contracts`. `faults`
    names the kinds to plant (see BACKWARD and FORWARD), by default all. With `stop_early` the first check that notices
    ends the questions about that fault. A fault that changes no derivative of f at these inputs, up to the second
    order, is reported as equivalent.

    While a fault is planted, it is there for every thread.

    >>> import tinygrad_mlsp as tg
    >>> def positive_slope(f, x):
    ...     return bool((tg.grad(lambda x: f(x).sum())(x) > 0).all())
    >>> print(mutants(tg.exp, tg.Tensor([0.5, 1.0]), checks={"positive slope": positive_slope}, faults=["sign"]))
    operation        mode     argument   fault                                    noticed by
    exp              reverse  x          sign                                     positive slope
    exp              forward  all        sign                                     NOBODY
    2 faults: 1 noticed, 0 change nothing here, 1 not noticed

    Raises: OptionError if a check rejects f as it is, or if a kind of fault is unknown.
    """
    if not callable(f):
        raise OptionError(f"mutants: f must be a function, not {f!r}")
    if checks is not None and not isinstance(checks, Mapping):
        raise OptionError("mutants: checks is a dictionary of names and functions of f and its inputs")
    asked = default_checks() if checks is None else dict(checks)
    unknown = set(faults or ()) - {*BACKWARD, *FORWARD}
    if unknown:
        raise OptionError(f"mutants: no fault named {', '.join(sorted(unknown))}; there are {', '.join(BACKWARD)}")
    with _planting:
        found = Survey(tuple(_surveyed(f, inputs, asked, faults, stop_early)), tuple(asked))
    if not found.mutants and faults is None:
        raise OptionError("mutants: f records no operation that a fault could be planted in")
    return found


def _surveyed(
    f: Callable[..., Any],
    inputs: Sequence[Any],
    asked: Mapping[str, Check],
    faults: Sequence[str] | None,
    stop_early: bool,
) -> Iterator[Mutant]:
    subject = _Subject(f, inputs)
    for name, check in asked.items():
        cause: Exception | None = None
        try:
            found = check(f, *inputs)
            why = f"it is not ok:\n{found}" if _discontent(found) else ""
        except Exception as problem:
            why, cause = f"{type(problem).__name__}: {problem}", problem
        if why:
            raise OptionError(f"mutants: {name!r} rejects the function as it is ({why})") from cause
    right: list[Any] = []
    for site, recipes in _sites(subject.recorded(), any(x.dtype.kind == "c" for x in subject.primals)):
        if faults is not None and site.fault not in faults:
            continue
        noticed: list[str] = []
        equivalent = False
        with np.errstate(all="ignore"):
            for name, check in asked.items():
                with planted(site, recipes):
                    if _notices(check, f, inputs):
                        noticed.append(name)
                if noticed and stop_early:
                    break
            if not noticed:
                right = right or subject.fingerprint()
                with planted(site, recipes):
                    equivalent = _same(subject.fingerprint(), right)
        yield Mutant(site.op.name, site.mode, site.argument, site.fault, tuple(noticed), equivalent)
