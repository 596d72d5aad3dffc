"""An operation: a forward function of `xp`, and the calculus of each argument, declared beside it.

Four kinds are enough, named after how the operation depends on its array arguments:

    linear        linear in all of them together        one adjoint an argument
    elementwise   entry by entry                        one slope an argument
    multilinear   linear in each by itself              one adjoint an argument
    general       anything else                         one adjoint and one tangent an argument

and `constant` for what has no slope at all (comparisons, floor, argmax). A rule is a plain function
that names what it needs, and nothing else is kept alive for it:

    xp              the namespace it computes in: numbers, a new graph, formulas or shapes
    g, t            the cotangent that arrives (of `y`), the tangent that arrives (of the argument)
    y, <argument>   the result (a tuple where there are several) and the arguments
    <argument>_shape, <argument>_dtype     metadata alone, which keeps no array alive
    <option>        a keyword-only argument of the operation
    needed          which entries of a list argument want a gradient

Array arguments are positional; an argument annotated `list` takes a list of arrays; a forward function
annotated `-> tuple` has several outputs. Absent cotangents and tangents are None.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from .errors import NoRuleError, OptionError

registry: dict[str, Operation] = {}
on_declaration: list[Callable[[Operation], None]] = []  # the spaces, which offer every operation to the rules

Rule = Callable[..., Any]


@functools.cache
def names(rule: Rule) -> tuple[str, ...]:
    """The parameters of a rule: what it needs."""
    return tuple(inspect.signature(rule).parameters)


class Operation:
    """One entry of the calculus. Call it with Tensors to compute, and to record where a gradient is wanted."""

    def __init__(self, forward: Rule, kind: str, name: str | None = None, register: bool = True) -> None:
        parameters = list(inspect.signature(forward).parameters.values())[1:]
        self.forward, self.kind, self.name = forward, kind, name or forward.__name__
        self.__doc__, self.__name__, self.__module__ = forward.__doc__, self.name, forward.__module__
        self.arguments = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
        self.options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        self.optional = {p.name for p in parameters if p.name in self.arguments and p.default is None}
        if taken := {"xp", "y", "needed"} & {*self.arguments, *self.options}:
            raise OptionError(
                f"{self.name}: an argument cannot be called {' or '.join(taken)}: rules mean others by that"
            )
        lists = [p.name for p in parameters if p.annotation in (list, "list")]
        self.list_argument = lists[0] if lists else None
        self.several = "tuple" in str(inspect.signature(forward).return_annotation).split("[")[0]
        self.adjoint: dict[str, Rule] = {}
        self.slope: dict[str, Rule] = {}
        self.tangent: dict[str, Rule] = {}
        self.kink = ""
        self.compares = False
        self.diagnose: Callable[..., str] | None = None
        self._record: Callable[..., Any] | None = None
        self.lasting = self.__module__ != "__main__"  # at a prompt or in a notebook, one may be declared again
        if not register:
            return
        if self.name in registry and (self.lasting or registry[self.name].lasting):
            raise OptionError(f"an operation named {self.name!r} is declared already")
        registry[self.name] = self
        for adopt in on_declaration:
            adopt(self)

    def slopes(self, **rules: Rule) -> Operation:
        """∂y/∂x entry by entry, one an argument: gives both directions."""
        return self._declare("slope", rules)

    def adjoints(self, **rules: Rule) -> Operation:
        """Jᵀg, one an argument (transposed, not conjugated: see `sweep`)."""
        return self._declare("adjoint", rules)

    def tangents(self, **rules: Rule) -> Operation:
        """J t, one an argument; the contributions of several arguments are added."""
        return self._declare("tangent", rules)

    def at_kink(self, convention: str) -> Operation:
        """States which slope is taken where the derivative does not exist; the tests hold it."""
        self.kink = convention
        return self

    def ordered(self) -> Operation:
        """States that it compares, and so takes no complex numbers: they have no order."""
        self.compares, self._record = True, None
        return self

    def on_failure(self, diagnose: Callable[..., str]) -> Operation:
        """`diagnose(*shapes)` says in words which dimension disagrees; it runs only after a failure."""
        self.diagnose = diagnose
        return self

    def _declare(self, what: str, rules: dict[str, Rule]) -> Operation:
        known = {"xp", "g", "t", "y", "needed", *self.arguments, *self.options}
        known |= {f"{a}_{fact}" for a in self.arguments for fact in ("shape", "dtype")}
        for argument, rule in rules.items():
            unknown = [n for n in names(rule) if n not in known]
            if argument not in self.arguments or unknown:
                raise OptionError(
                    f"{self.name}: the {what} rule for {argument!r} names {unknown or argument!r}; "
                    f"arguments are {', '.join(self.arguments)}, options {', '.join(self.options) or 'none'}"
                )
        getattr(self, what).update(rules)
        self._record = None
        return self

    @property
    def differentiable(self) -> tuple[str, ...]:
        """The arguments through which a gradient flows, in order."""
        return tuple(a for a in self.arguments if a in self.adjoint or a in self.slope)

    @property
    def backward_rules(self) -> dict[str, Rule]:
        return {**self.slope, **self.adjoint}

    @property
    def record(self) -> Callable[..., Any]:
        """The function that computes on Tensors and records; written once, at the first use."""
        if self._record is None:
            self._record = build_record(self)
        return self._record

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.record(*arguments, **options)

    def __repr__(self) -> str:
        return f"<{self.kind} operation {self.name}({', '.join((*self.arguments, *self.options))})>"

    def passed(
        self, rule: Rule, given: dict[str, Any], arguments: Sequence[Any], y: Any, options: Any
    ) -> dict[str, Any]:
        """What a rule asks for by name: from `given` (xp, g, t, needed), or from the record of one application."""
        values = {}
        for name in names(rule):
            if name in given:
                values[name] = given[name]
            elif name == "y":
                values[name] = y
            elif name in self.arguments:
                values[name] = arguments[self.arguments.index(name)]
            elif name in options:
                values[name] = options[name]
            else:
                argument, fact = name.rsplit("_", 1)
                value = arguments[self.arguments.index(argument)]
                is_list = isinstance(value, (list, tuple))
                values[name] = tuple([getattr(v, fact) for v in value]) if is_list else getattr(value, fact)
        return values

    def pull_argument(
        self, argument: str, given: dict[str, Any], arguments: Sequence[Any], y: Any, options: Any
    ) -> Any:
        """The contribution Jᵀg to one argument, written for reading; `sweep.Recipe` is the same, unrolled."""
        rule = self.backward_rules[argument]
        part = rule(**self.passed(rule, given, arguments, y, options))
        return given["g"] * part if argument in self.slope else part

    def push_forward(self, xp: Any, tangents: Sequence[Any], arguments: Sequence[Any], y: Any, options: Any) -> Any:
        """J t: what the tangents of the arguments (None for zero) make of the result."""
        if self.kind == "linear":
            moved = self.forward(xp, *self._filled(xp, tangents, arguments), **options)
            return tuple(moved) if self.several else moved
        parts = []
        for i, (name, t) in enumerate(zip(self.arguments, tangents, strict=True)):
            if t is None:
                continue
            if self.kind == "multilinear":
                places = (
                    [t]
                    if name != self.list_argument
                    else [[*arguments[i][:k], u, *arguments[i][k + 1 :]] for k, u in enumerate(t) if u is not None]
                )
                for put in places:
                    parts.append(self.forward(xp, *arguments[:i], put, *arguments[i + 1 :], **options))
            else:
                rule = self.slope.get(name) or self.tangent.get(name)
                if rule is None:
                    raise NoRuleError(f"{self.name}: forward mode needs a rule; declare .tangents({name}=...)")
                part = rule(**self.passed(rule, {"xp": xp, "t": t}, arguments, y, options))
                parts.append(part * t if name in self.slope else part)
        total = parts[0]
        for part in parts[1:]:
            total = tuple([a + b for a, b in zip(total, part, strict=True)]) if self.several else total + part
        return total

    def _filled(self, xp: Any, tangents: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """The arguments of a linear operation, tangents in place of what is differentiated, zeros for absent ones."""
        filled: list[Any] = []
        for name, t, value in zip(self.arguments, tangents, arguments, strict=True):
            if name == self.list_argument:
                filled.append([xp.zeros_like(v) if u is None else u for u, v in zip(t, value, strict=True)])
            elif name not in self.differentiable or value is None:
                filled.append(value)
            else:
                filled.append(xp.zeros_like(value) if t is None else t)
        return filled


def build_record(operation: Operation) -> Callable[..., Any]:
    """Replaced by `tensor`, which knows what a Tensor is."""
    raise OptionError(f"{operation.name}: import tinygrad_mlsp before calling an operation")


def _kind(kind: str) -> Callable[[Rule], Operation]:
    def declare(forward: Rule) -> Operation:
        return Operation(forward, kind)

    declare.__doc__ = f"Declares a {kind} operation; see the top of this file."
    return declare


linear = _kind("linear")
elementwise = _kind("elementwise")
multilinear = _kind("multilinear")
general = _kind("general")
constant = _kind("constant")
