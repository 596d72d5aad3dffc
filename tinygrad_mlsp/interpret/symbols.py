"""Symbols: what a rule is run with to yield a formula, and the namespace `xp` that they live in.

A function of the namespace computes nothing: it notes its name and arguments, and asks the shape reader what shape and
dtype its result would have. Simplified is only what a reader would not write: x·1, x + 0, −(−x), 0·x, x/1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .shape_space import ShapeArray, give_operators
from .shape_space import space as shape_space


class ValueNeeded(Exception):
    """A rule wants the value of a symbol (its one argument)."""


class Symbol:
    """A formula: a function's name and arguments (symbols, numbers, options), and the shape and dtype of what it gives.

    The leaves are "symbol" (a letter, a number beneath, a mark above) and "number".
    """

    __slots__ = ("args", "name", "options", "spec")
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]
    base = None

    def __init__(self, name: str, args: Sequence[Any], options: dict[str, Any], spec: Any) -> None:
        self.name, self.args, self.options, self.spec = name, tuple(args), options, spec

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @property
    def dtype(self) -> Any:
        return self.spec.dtype

    @property
    def ndim(self) -> int:
        return len(self.spec.shape)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.args))})"

    def _no_value(self, *_: Any, **__: Any) -> Any:
        raise ValueNeeded(self)

    __bool__ = __float__ = __int__ = __complex__ = __index__ = __iter__ = __array__ = item = _no_value


class Size(int):
    """A length with a name, so that a sample's shape (2, 3) is written (n, m)."""

    text: str

    def __new__(cls, text: str, value: int) -> Size:
        size = super().__new__(cls, value)
        size.text = text
        return size

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        if other in (0, 1):
            return self if other else 0
        first, second = (self, other) if isinstance(other, Size) else (other, self)
        return Size(f"{_tight(first)} {_tight(second)}", int(self) * int(other))

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, int) or not other:
            return self if isinstance(other, int) else NotImplemented
        return Size(f"{self} + {other}", int(self) + int(other))

    def __radd__(self, other: Any) -> Any:
        return Size(f"{other} + {self}", int(self) + other) if other else self

    def __sub__(self, other: Any) -> Any:
        if not isinstance(other, (int, float)) or not other:
            return self if isinstance(other, (int, float)) else NotImplemented
        return (
            Size(f"{self} − {_tight(other)}", int(self) - int(other)) if isinstance(other, int) else int(self) - other
        )

    def __rtruediv__(self, other: Any) -> Any:
        return Symbol("divide", (other, self), {}, ShapeArray((), float))


def _tight(size: int) -> str:
    return f"({size})" if any(sign in str(size) for sign in "+−") else str(size)


def same(a: Any, b: Any) -> bool:
    """Whether two formulas are one."""
    if a is b:
        return True
    if isinstance(a, Symbol) and isinstance(b, Symbol):
        return (
            a.name == b.name
            and a.options.keys() == b.options.keys()
            and same((a.args, *a.options.values()), (b.args, *b.options.values()))
        )
    if isinstance(a, (tuple, list)) and type(a) is type(b):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and not hasattr(a, "shape") and not isinstance(a, Symbol) and bool(a == b)


def number(x: Any) -> Any:
    """The number that x is, if it is one."""
    if isinstance(x, Symbol):
        return x.args[0] if x.name == "number" else None
    return x if isinstance(x, (int, float, complex)) and not isinstance(x, Size) else None


def _specs(value: Any) -> Any:
    """Symbols replaced by their shapes and dtypes, in lists too."""
    if isinstance(value, Symbol):
        return value.spec
    return type(value)(map(_specs, value)) if isinstance(value, (list, tuple)) else value


class FormulaSpace:
    """The namespace `xp` of formulas: every function that the shape reader has writes itself down."""

    name = "formulas"

    def __getattr__(self, name: str) -> Any:
        shape_rule = getattr(shape_space, name)

        def write(*args: Any, **options: Any) -> Any:
            return _write(name, args, options, shape_rule(*_specs(args), **{k: _specs(v) for k, v in options.items()}))

        setattr(self, name, write)
        return write

    def transfer(self, x: Symbol, source: str, target: str) -> Symbol:
        return Symbol("transfer", (x, source, target), {}, x.spec)

    def asarray(self, x: Any, dtype: Any = None) -> Symbol:
        return x if isinstance(x, Symbol) else Symbol("number", (x,), {}, shape_space.asarray(x, dtype))


def _write(name: str, args: tuple[Any, ...], options: dict[str, Any], spec: Any) -> Any:
    if isinstance(spec, (list, tuple)):
        whole = Symbol(name, args, options, spec)
        return [Symbol("part", (whole, i), {}, s) for i, s in enumerate(spec)]
    if name in ("zeros_like", "ones_like"):
        return Symbol("number", (int(name == "ones_like"),), {}, spec)
    simple = _simplified(name, args, spec)
    if simple is None:
        return Symbol(name, args, options, spec)
    if not isinstance(simple, Symbol):
        return Symbol("number", (simple,), {}, spec)
    if simple.spec.shape != spec.shape or simple.spec.dtype != spec.dtype:
        return Symbol(simple.name, simple.args, simple.options, spec)
    return simple


def _simplified(name: str, args: tuple[Any, ...], spec: Any) -> Any:
    """x·1, x + 0, −(−x), 0·x, x/1, arithmetic on numbers, and what changes nothing; None where nothing is simpler."""
    a, b = (*args, None, None)[:2]
    p, q = number(a), number(b)
    if name == "positive" or (name == "astype" and p is not None):
        return a
    if (name in ("real", "conj") and a.dtype.kind != "c") or (name == "reshape" and a.shape == spec.shape):
        return a
    if name == "permute_dims" and b is not None and tuple(b) == tuple(range(len(b))):
        return a
    if name == "negative":
        return -p if p is not None else a.args[0] if a.name == "negative" else None
    if name == "divide":
        return a if q == 1 else _over(a, b)
    if name not in _ARITHMETIC:
        return None
    if p is not None and q is not None:
        return _ARITHMETIC[name](p, q)
    if name == "multiply":
        return b if p == 1 else a if q == 1 else 0 if 0 in (p, q) else None
    if name == "add":
        return b if p == 0 else a if q == 0 else None
    return a if q == 0 else space.negative(b) if p == 0 else None


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda p, q: p + q, "subtract": lambda p, q: p - q, "multiply": lambda p, q: p * q,
}  # fmt: skip


def _over(g: Any, d: Any) -> Symbol | None:
    """g / where(d = 0 and g = 0, 1, d) is g/d with 0/0 = 0, and is written so."""
    if isinstance(g, Symbol) and isinstance(d, Symbol) and d.name == "where" and number(d.args[1]) == 1:
        bottom = d.args[2]
        if same(d.args[0], (bottom == 0) & (g == 0)):
            return Symbol("over", (g, bottom), {}, g.spec)
    return None


space = FormulaSpace()
give_operators(Symbol, space)
