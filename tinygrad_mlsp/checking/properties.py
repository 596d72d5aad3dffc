"""Gradient checks as properties: hypothesis draws the inputs, `check` judges, a failure prints code to paste.

    @checking.property(x=tensors("n,m"), w=tensors("m,k"))
    def test_layer(x, w):
        return tg.tanh(x @ w)

A function that returns tensors is gradient-checked at each example. One that returns nothing is a test of its own,
which calls `check` or `contracts` itself. Called without the drawn arguments, it searches; pytest does so.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import OptionError
from . import tally
from .check import check
from .contracts import contracts as hold_contracts
from .report import GradientCheckError
from .strategies import Example, Spec, linked, required

MODES = ("reverse", "forward")
THEIRS = {"gradient", "jacobian", "vjp", "jvp"}  # options that give the derivative of a function on arrays
NEARLY_ALL = 0.9  # of the examples undecidable, and the property fails for want of evidence


class Outcome(tally.Tally):
    """What one search of a property executed: `examples` decided, `undecided` and `empty` ones, `elements` compared."""

    def __init__(self) -> None:
        super().__init__()
        self.examples = self.undecided = self.empty = 0
        self.last = ""  # why the last undecidable one was

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(self.verdicts.items()))
        return f"<{self.examples} examples, {self.elements} elements checked: {verdicts or 'nothing'}>"


def property(
    specs: Mapping[str, Spec] | None = None,
    /,
    *,
    order: int = 1,
    modes: Sequence[str] = MODES,
    max_examples: int | None = None,
    contracts: bool = False,
    kinks: bool = True,
    gradient: Callable[..., Any] | None = None,
    sides: Any = (0, 3),
    options: Mapping[str, Any] | None = None,
    **arguments: Spec,
) -> Callable[[Callable[..., Any]], Any]:
    """Checks the gradient of the decorated function at inputs that hypothesis draws and shrinks.

    Each argument is described by `tensors(...)`; other arguments are left to pytest's fixtures, and an argument with
    an option's name is put into `specs`. `order`, `modes` and further `options` are those of `check`. `max_examples`
    is the profile's where it is not given. `contracts` holds each example to the contracts too. `kinks=False` fails
    where the function has a kink at the inputs. `gradient` is the gradient function of a function on NumPy arrays.
    `options` with `jacobian`, `vjp` or `jvp` are for such functions too. `sides` are the least and greatest side of a
    shape, or a dictionary of such pairs by letter. A property that takes the plugin's fixtures `gradcheck_dtype` and
    `gradcheck_device` draws with that precision and on that device.

    The decorated function searches when it is called; `.function` is the function itself, `.outcome` what the last
    search executed.

    Raises: MissingDependency without hypothesis. The decorated function raises GradientCheckError with code to paste,
    and where it executed no check, or nearly all examples were undecidable.
    """
    hypothesis = required("checking.property")
    if not (specs is None or isinstance(specs, Mapping)):
        raise OptionError('checking.property: describe arguments by name, as in x=tensors("n,m")')
    if max_examples is not None and (not isinstance(max_examples, int) or max_examples < 1):
        raise OptionError(f"checking.property: max_examples is a whole number from 1 on, not {max_examples!r}")
    described = {**(specs or {}), **arguments}
    if not described:
        raise OptionError('checking.property: describe at least one argument, as in x=tensors("n,m")')
    how: dict[str, Any] = {"order": order, "modes": tuple(modes), "gradient": gradient, **(options or {})}
    if contracts and not THEIRS.isdisjoint(options or {}):
        raise OptionError(
            "checking.property: contracts=True takes a function on Tensors, or gradient= beside one on arrays"
        )
    usual = {"order": 1, "modes": MODES, "gradient": None}
    how = {name: value for name, value in how.items() if name not in usual or value != usual[name]}

    def decorate(f: Callable[..., Any]) -> Any:
        if not callable(f):
            raise OptionError(f"checking.property: decorates a function, not {f!r}")
        parameters = inspect.signature(f).parameters
        unknown = [name for name in described if name not in parameters]
        if unknown:
            raise OptionError(f"checking.property: {f.__name__} has no argument {', '.join(unknown)}")
        names = [name for name in parameters if name in described]
        linked(described, sides)  # what is wrong with them is said here, not at the first call
        rest = [p for name, p in parameters.items() if name not in described]

        @functools.wraps(f)
        def search(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            outcome = search.outcome = Outcome()  # type: ignore[attr-defined]
            given = inspect.Signature(rest).bind(*args, **kwargs).arguments
            examples = linked(_parametrised(described, given), sides)

            def one(drawn: Example) -> None:
                __tracebackhide__ = True
                paste = Paste(f, names, drawn, given, how)
                try:
                    with np.errstate(all="ignore"):
                        _try(f, names, drawn, given, how, contracts, kinks, outcome, paste)
                except hypothesis.errors.HypothesisException:
                    raise
                except Exception as problem:
                    if not isinstance(problem, Failure):  # which has said it in its own words
                        problem.add_note(f"To see it again:\n\n{paste.code()}\n")
                    raise

            functools.update_wrapper(one, f)  # so that hypothesis names it and remembers its failures
            one.__signature__ = inspect.Signature([inspect.Parameter("drawn", inspect.Parameter.KEYWORD_ONLY)])  # type: ignore[attr-defined]
            looked = hypothesis.settings(
                max_examples=tally.EXAMPLES[tally.profile] if max_examples is None else max_examples,
                deadline=None,
                suppress_health_check=list(hypothesis.HealthCheck),
                report_multiple_bugs=False,
                phases=[p for p in hypothesis.settings().phases if p is not hypothesis.Phase.explain],
            )(hypothesis.given(drawn=examples)(one))
            try:
                looked()
            except hypothesis.errors.Unsatisfiable:
                pass  # said below, in our words
            _conclude(f.__qualname__, outcome)

        search.__signature__ = inspect.Signature(rest)  # type: ignore[attr-defined]
        search.function, search.outcome, search.gradcheck = f, Outcome(), True  # type: ignore[attr-defined]
        return search

    return decorate


def _parametrised(specs: Mapping[str, Spec], kwargs: Mapping[str, Any]) -> dict[str, Spec]:
    """The plugin's fixtures, where a property takes them, say the precision and the device of what is drawn."""
    found = dict(specs)
    for name, spec in specs.items():
        if "gradcheck_dtype" in kwargs:
            dtype = np.dtype(kwargs["gradcheck_dtype"]).name
            twice = {"float32": "complex64", "float64": "complex128"}
            kinds = {np.dtype(d).kind: d for d in spec.dtype}
            chosen = {"f": dtype, "c": twice.get(dtype, dtype)}
            spec = replace(spec, dtype=tuple(chosen.get(kind, d) for kind, d in kinds.items()))
        if "gradcheck_device" in kwargs:
            spec = replace(spec, device=(kwargs["gradcheck_device"],))
        found[name] = spec
    return found


class Failure(GradientCheckError):
    """The smallest example found on which the gradient is wrong or a contract broken, with code to paste."""


def _try(
    f: Callable[..., Any],
    names: Sequence[str],
    drawn: Example,
    fixtures: Mapping[str, Any],
    how: Mapping[str, Any],
    contracts: bool,
    kinks: bool,
    outcome: Outcome,
    paste: Paste,
) -> None:
    """One example."""
    __tracebackhide__ = True
    foreign = not THEIRS.isdisjoint(how)
    with tally.counting() as counted:
        result = f(**fixtures, **{n: d.array if foreign else d.tensor(True) for n, d in drawn.items()})
        if result is not None:
            arrays = [drawn[name].array if foreign else drawn[name].tensor() for name in names]

            def at(*values: Any) -> Any:
                return f(**fixtures, **dict(zip(names, values, strict=True)))

            at.__name__, at.__qualname__, at.__module__ = f.__name__, f.__qualname__, f.__module__
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            at.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])  # type: ignore[attr-defined]
            paste.code = paste.check
            report = check(at, *arrays, **how)
            unwanted = report.verdict == "kink" and not kinks
            if unwanted or not (report.ok or report.verdict == "undecidable"):
                why = "A kink, which this property does not accept (kinks=False).\n" if unwanted and report.ok else ""
                raise Failure(f"{why}{report}\n\nTo see it again:\n\n{paste.code()}\n", report)
            if contracts and report.verdict != "undecidable":
                paste.code = paste.contracts
                # Many examples see what many threads would.
                held = hold_contracts(at, *arrays, gradient=how.get("gradient"), skip=("second order",), threads=2)
                if not held.ok:
                    raise Failure(f"{held}\n\nTo see it again:\n\n{paste.code()}\n")
    outcome.verdicts.update(counted.verdicts)
    outcome.elements += counted.elements
    outcome.contracts += counted.contracts
    if counted.verdicts["undecidable"] and not counted.executed:
        outcome.undecided += 1
        if result is not None:
            outcome.last = str(report)
        required("checking.property").reject()
    if counted.executed:
        outcome.examples += 1
    else:
        outcome.empty += 1


def _conclude(name: str, outcome: Outcome) -> None:
    """A search that found nothing wrong must have looked.

    Raises: GradientCheckError where it did not.
    """
    seen = outcome.examples + outcome.undecided
    if outcome.undecided and outcome.undecided >= NEARLY_ALL * seen:
        raise GradientCheckError(
            f"{name}: {outcome.undecided} of {seen} examples were undecidable, so this says nothing about the "
            f"gradient. Limit the domain (min=, max=, away_from=, values=) or the dtype. The last one:\n{outcome.last}"
        )
    if not outcome.executed:
        raise GradientCheckError(
            f"{name}: {outcome.empty} examples executed no check: return the tensors to be checked, or call "
            "checking.check, and let shapes have elements"
        )


class Paste:
    """Code that shows one example again."""

    def __init__(
        self,
        f: Callable[..., Any],
        names: Sequence[str],
        drawn: Example,
        fixtures: Mapping[str, Any],
        how: Mapping[str, Any],
    ) -> None:
        self.f, self.names, self.drawn, self.fixtures, self.how = f, names, drawn, fixtures, how
        self.code = self.call  # as far as the example has come

    def _head(self, ours: str) -> list[str]:
        modules = sorted({d.module for d in self.drawn.values()})
        lines = [f"import {'numpy' if m == 'np' else 'cupy'} as {m}" for m in modules]
        lines.append(f"from tinygrad_mlsp import {ours}")
        lines.append(_imported(self.f, self._name()))
        lines += [_imported(v, _called(v)) for n, v in self.how.items() if callable(v)]
        return [*lines, "", self.drawn.code()]

    def _name(self) -> str:
        return _called(self.f)

    def _function(self) -> str:
        if not self.fixtures:
            return f"{self._name()}.function"
        named = [f"{n}={n}" for n in self.names]
        return f"lambda {', '.join(self.names)}: {self._name()}.function({', '.join([*self._fixtures(), *named])})"

    def _fixtures(self) -> list[str]:
        return [f"{type(v).__name__}()" if n == "self" else f"{n}={v!r}" for n, v in self.fixtures.items()]

    def _options(self, only: Sequence[str] | None = None) -> str:
        shown = {n: _called(v) if callable(v) else repr(v) for n, v in self.how.items()}
        return "".join(f", {n}={text}" for n, text in shown.items() if only is None or n in only)

    def check(self) -> str:
        """The call of `check` that failed."""
        call = f"checking.check({self._function()}, {', '.join(self.names)}{self._options()}).assert_ok()"
        return "\n".join([*self._head("checking"), call])

    def contracts(self) -> str:
        """The call of `contracts` that failed."""
        options = self._options(("gradient",))
        call = f"checking.contracts({self._function()}, {', '.join(self.names)}{options}).assert_ok()"
        return "\n".join([*self._head("checking"), call])

    def call(self) -> str:
        """The call of the function that raised."""
        if not THEIRS.isdisjoint(self.how):
            arguments = [f"{n}={n}" for n in self.names]
        else:
            arguments = [
                f"{n}=Tensor({n}, requires_grad=True)" if self.drawn[n].array.dtype.kind in "fc" else f"{n}=Tensor({n})"
                for n in self.names
            ]
        return "\n".join(
            [*self._head("Tensor"), f"{self._name()}.function({', '.join([*self._fixtures(), *arguments])})"]
        )


def _called(f: Callable[..., Any]) -> str:
    """The name by which a function is called where it is known: f for a lambda, which has none."""
    name = getattr(f, "__qualname__", type(f).__name__).rpartition("<locals>.")[2]
    return name if "<" not in name else "f"


def _imported(f: Callable[..., Any], name: str) -> str:
    """The line that makes a function known, or says which one is meant."""
    written = getattr(f, "__qualname__", "<")
    if "<" not in written and f.__module__ != "__main__":
        return f"from {f.__module__} import {written.partition('.')[0]}"
    code = getattr(f, "__code__", None)
    return f"# {name} is {f'the function at {code.co_filename}:{code.co_firstlineno}' if code else repr(f)}"
