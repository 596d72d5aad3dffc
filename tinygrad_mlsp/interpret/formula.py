"""The formula writer: what an operation and its derivatives compute, in text or LaTeX, read off the rules themselves.

    formula("tanh")     y = tanh(x)            ∂y/∂x = 1 − y²
    formula("matmul")   y = a b                ā = ȳ bᵀ,  b̄ = aᵀ ȳ

A rule is run on symbols instead of arrays; what it does with them is what is written. A symbol has a shape and a
dtype as well (the shape reader gives them), for a rule may branch on those; it has no value to branch on.

Notation: x̄ is the cotangent ∂L/∂x, ẋ a tangent. A subscript at Σ, max, … is the axis (−1 is the last). [y > 0] is 1
where that holds, else 0. Elementwise products stand side by side, as ⊙ where there are matrix products too. Axes
of length one come and go unwritten, as in broadcasting. What is needed twice gets a letter of its own: u, v, w.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ..errors import OptionError
from ..op import Operation, registry
from ..recipe import unbroadcast
from .shape_space import ShapeArray
from .symbols import Size, Symbol, ValueNeeded, space
from .writer import HOLE, Writer, equations, holes


@dataclass(frozen=True)
class Formula:
    """An operation, written out.

    `derivatives` has an entry an argument: the slope ∂y/∂x where one is declared, else the adjoint x̄ of ȳ.
    `tangents` has what each argument's tangent alone makes of the result. `notes` says how 0/0 counts, if it does.
    """

    operation: str
    forward: str
    derivatives: dict[str, str]
    tangents: dict[str, str]
    kink: str = ""
    notes: tuple[str, ...] = ()
    style: str = "text"

    def lines(self) -> list[str]:
        """The forward formula, then the derivatives."""
        return [self.forward, *self.derivatives.values()]

    def __str__(self) -> str:
        return "\n".join([*self.lines(), *([f"at the kink: {self.kink}"] if self.kink else []), *self.notes])

    def _repr_latex_(self) -> str | None:
        rows = r" \\ ".join(line.replace(" = ", " &= ", 1) for line in self.lines())
        return rf"$\begin{{aligned}} {rows} \end{{aligned}}$" if self.style == "latex" else None

    def _repr_html_(self) -> str | None:
        return None if self.style == "latex" else f"<pre>{escape(str(self))}</pre>"


LETTERS = {
    "logits": "x", "target": "t", "weight": "W", "bias": "b", "condition": "c", "indices": "i", "arrays": "x",
    "sign_of": "s", "gates": "z",
}  # fmt: skip
_N, _M, _K = Size("n", 2), Size("m", 3), Size("k", 4)


def _array(*shape: int, dtype: str = "float64") -> ShapeArray:
    return ShapeArray(shape, dtype)


_X, _INTEGERS = _array(_N, _M), _array(_N, _M, dtype="int64")
_SQUARE = _array(_N, _N)
# Samples, for the operations that do not take float64 [n, m] with the default options or say more otherwise.
EXAMPLES: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "reshape": ((_X,), {"shape": (_M, _N)}),
    "permute_dims": ((_X,), {"axes": (1, 0)}),
    "broadcast_to": ((_X,), {"shape": (_K, _N, _M)}),
    "split": ((_X,), {"sections": 3, "axis": 1}),
    "pad": ((_X,), {"pad_width": 1}),
    "eye_like": ((_X,), {"n": _N}),
    "prod": ((_array(_N),), {}),
    "clip": ((_X,), {"min": 0, "max": 1}),
    "astype": ((_X,), {"dtype": np.dtype("float32")}),
    "transfer": ((_X,), {"source": "cpu", "target": "cuda"}),
    "real": ((_array(_N, _M, dtype="complex128"),), {}),
    "imag": ((_array(_N, _M, dtype="complex128"),), {}),
    "conj": ((_array(_N, _M, dtype="complex128"),), {}),
    "matmul": ((_X, _array(_M, _K)), {}),
    "linear": ((_X, _array(_K, _M), _array(_K)), {}),
    "einsum": (([_X, _array(_M, _K)],), {"equation": "ij,jk->ik"}),
    "getitem": ((_X,), {"index": (slice(None), 0)}),
    "scatter_at": ((_array(_N),), {"index": (slice(None), 0), "shape": (_N, _M)}),
    "take": ((_X, _array(_K, dtype="int64")), {"axis": 1}),
    "take_along_axis": ((_X, _array(_N, _K, dtype="int64")), {"axis": -1}),
    "scatter_along_axis": ((_array(_N, _K), _array(_N, _K, dtype="int64")), {"shape": (_N, _M), "axis": -1}),
    "where": ((_array(_N, _M, dtype="bool"), _X, _X), {}),
    "cross_entropy": ((_X, _array(_N, dtype="int64")), {}),
    "standardize": ((_X,), {"axis": 0}),
    "lstm_cell": ((_array(_N, 4), _array(_N, 1)), {}),
    "lstm_sequence": (([_array(1, _N, _M), *[_array(_N, 1)] * 2, _array(4, _M), _array(4, 1), _array(4)],), {}),
    "gru_sequence": (([_array(1, _N, _M), _array(_N, 1), _array(3, _M), _array(3, 1)],), {}),
    "rnn_sequence": (([_array(1, _N, _M), _array(_N, _K), _array(_K, _M), _array(_K, _K), _array(_K)],), {}),
    "convolution": ((_array(_N, 3, 8), _array(4, 3, 3), _array(4)), {}),
    "convolution_input": ((_array(_N, 4, 6), _array(4, 3, 3)), {"shape": (8,)}),
    "convolution_weight": ((_array(_N, 3, 8), _array(_N, 4, 6)), {"kernel": (3,)}),
    **{name: ((_array(_N, 8),), {"axis": 1, "size": 2}) for name in ("max_pool", "max_pool_place", "sum_pool")},
    **{
        name: ((_array(_N, u), _array(_N, 8), _array(_N, 4)), {"axis": 1, "size": 2})
        for name, u in {"max_pool_spread": 4, "max_pool_pick": 8}.items()
    },
    "sum_pool_spread": ((_array(_N, 4),), {"length": 8, "axis": 1, "size": 2}),
    "unfold": ((_array(_N, 8),), {"axis": 1, "size": 3}),
    "overlap_add": ((_array(_N, 6, 3),), {"shape": (_N, 8), "axis": 1}),
    **{f"cumulative_{name}": ((_array(_N),), {}) for name in ("sum", "prod", "max", "min", "argmax", "argmin")},
    "logcumsumexp": ((_array(_N),), {}),
    "running_product_adjoint": ((_array(_N), _array(_N)), {"axis": 0}),
    "set_at": ((_X, _array(_N)), {"index": (slice(None), 0)}),
    "last_written": ((_array(_N),), {"index": (slice(None), 0), "shape": (_N, _M)}),
    "repeat": ((_array(_N),), {"repeats": 2}),
    "roll": ((_array(_N),), {"shift": 1}),
    "tile": ((_array(_N),), {"repetitions": (2,)}),
    "solve": ((_SQUARE, _X), {}),
    **{name: ((_SQUARE,), {}) for name in ("inv", "det", "slogdet", "cofactor", "cholesky", "eigh", "eigvalsh")},
    "outer": ((_array(_N), _array(_M)), {}),
    "cross": ((_array(_N, 3), _array(_N, 3)), {}),
    "bitwise_invert": ((_INTEGERS,), {}),
    **{f"bitwise_{name}": ((_INTEGERS, _INTEGERS), {}) for name in ("and", "or", "xor", "left_shift", "right_shift")},
}


def formula(operation: Operation | str, *sample: Any, style: str = "text", **options: Any) -> Formula:
    """What an operation and its derivatives compute, written from its rules in "text" or "latex".

    `sample` and `options` are what the operation would be called with (arrays, or `interpret.shapes.spec`): rules
    may branch on shapes, dtypes and options, never on values. Without a sample, one of shape (n, m) is taken.

    Raises: OptionError for an operation that is not known or needs a sample, and for a rule that branches on values.

    >>> print(formula("sigmoid"))
    y = σ(x)
    ∂y/∂x = y − y²
    >>> formula("matmul").derivatives["b"]
    'b̄ = aᵀ ȳ'
    """
    op = registry.get(operation) if isinstance(operation, str) else operation
    if op is None:
        raise OptionError(f"formula: no operation is named {operation!r}; tinygrad_mlsp.op.registry has them all")
    if style not in ("text", "latex"):
        raise OptionError(f"formula: style {style!r} is not known; 'text' and 'latex' are")
    return Application(op, sample, options, style == "latex").formula(style)


_HOLE = re.compile(f"{HOLE[0]}([^|]*)\\|([^|]*)\\|([^{HOLE[1]}]*){HOLE[1]}")


@dataclass(frozen=True)
class Template:
    """A formula in which each letter is a hole, to be filled with the letters, or the numbers, of one application."""

    formula: Formula

    def filled(self, text: str, put: Callable[[str, int | None, str], str]) -> str:
        """One of the formula's texts, with `put(letter, number, mark)` for each letter: put("x", 2, "bar") for x̄₂"""
        return _HOLE.sub(lambda hole: put(hole[1], int(hole[2]) if hole[2] else None, hole[3].removeprefix("\\")), text)


def template(operation: Operation, *sample: Any, style: str = "text", **options: Any) -> Template:
    """The operation's formula with holes for letters; see `formula`."""
    token = holes.set(True)
    try:
        return Template(formula(operation, *sample, style=style, **options))
    finally:
        holes.reset(token)


def _leaf(name: str, number: int | None, mark: str, like: Any) -> Symbol:
    """A letter of the shape and dtype of an array, or of whatever has them."""
    like = like if hasattr(like, "dtype") else np.asarray(like)
    return Symbol("symbol", (LETTERS.get(name, name), number, mark), {}, ShapeArray(like.shape, like.dtype))


class Application:
    """One application of an operation to symbols, and its rules run on it."""

    def __init__(self, op: Operation, sample: tuple[Any, ...], options: dict[str, Any], latex: bool = False) -> None:
        given = bool(sample)
        if not given:
            usual = tuple([_X, _X] if a == op.list_argument else _X for a in op.arguments)
            sample, defaults = EXAMPLES.get(op.name, (usual, {}))
            options = {**defaults, **options}
        options = {**op.options, **options}
        wrong = [f"{o} is missing" for o, value in options.items() if value is inspect.Parameter.empty]
        wrong += [f"{o} is no option of it" for o in sorted(options.keys() - op.options.keys())]
        if not len(op.arguments) - len(op.optional) <= len(sample) <= len(op.arguments):
            wrong.append(f"it has {len(op.arguments)} arguments, not {len(sample)}")
        if wrong:
            raise OptionError(f"{self.wanted(op)}: {'; '.join(wrong)}")
        self.op, self.options, self.latex = op, options, latex
        self.notes: set[str] = set()
        self.arguments: list[Any] = []
        for name, value in zip(op.arguments, (*sample, *[None] * len(op.optional)), strict=False):
            if name == op.list_argument:
                self.arguments.append([_leaf(name, i + 1, "", v) for i, v in enumerate(value)])
            else:
                self.arguments.append(None if value is None else _leaf(name, None, "", value))
        try:
            with self.naming("forward function"):
                self.result = op.forward(space, *self.arguments, **options)
        except (ValueError, TypeError, IndexError) as problem:
            if given or isinstance(problem, OptionError):
                raise
            raise OptionError(f"{self.wanted(op)}: the usual sample does not fit ({problem})") from problem
        if isinstance(self.result, list):
            self.result = tuple(self.result)
        self.y = self.mark("")

    @staticmethod
    def wanted(op: Operation) -> str:
        call = ", ".join([repr(op.name), *op.arguments, *(f"{o}=…" for o in op.options)])
        return f"formula of {op.name}: pass a sample call, formula({call})"

    @contextmanager
    def naming(self, what: str) -> Iterator[None]:
        """Says which rule it was that wanted a value."""
        try:
            yield
        except ValueNeeded as problem:
            asked = Writer(self.latex).show(problem.args[0])
            raise OptionError(
                f"formula of {self.op.name}: its {what} asks for the value of {asked}, which a formula does not have. "
                "A rule may branch on shapes, dtypes and options; what depends on values is said with xp.where"
            ) from None

    def mark(self, mark: str) -> Any:
        """y, or its cotangent or tangent; a tuple of them where there are several results."""
        if isinstance(self.result, tuple):
            return tuple(_leaf("y", i + 1, mark, part) for i, part in enumerate(self.result))
        return _leaf("y", None, mark, self.result)

    def equate(self, left: Any, right: Any) -> str:
        """left = right; lists entry by entry."""
        write = Writer(self.latex).show
        lefts, rights = (list(v) if isinstance(v, (tuple, list)) else [v] for v in (left, right))
        wholes = {id(r.args[0]): r.args[0] for r in rights if isinstance(r, Symbol) and r.name == "part"}
        if len(wholes) == 1 and len(rights) == len(next(iter(wholes.values())).spec):
            pairs = [(", ".join(map(write, lefts)), next(iter(wholes.values())))]
        else:
            pairs = [(write(one), other) for one, other in zip(lefts, rights, strict=True) if other is not None]
        text, notes = equations(pairs, self.latex)
        self.notes |= notes
        return text

    def marked(self, i: int, mark: str) -> Any:
        """An argument's cotangent or tangent."""
        value = self.arguments[i]
        if isinstance(value, list):
            return [Symbol("symbol", (*v.args[:2], mark), {}, v.spec) for v in value]
        return Symbol("symbol", (*value.args[:2], mark), {}, value.spec)

    def slope(self, name: str) -> Any:
        """∂y/∂x"""
        op = self.op
        with self.naming(f"slope for {name!r}"):
            return op.slope[name](**op.passed(op.slope[name], {"xp": space}, self.arguments, self.y, self.options))

    def pulled(self, i: int) -> Any:
        """x̄, broadcasting undone as the sweep does it."""
        op, value = self.op, self.arguments[i]
        several = isinstance(value, list)
        given = {"xp": space, "g": self.mark(r"\bar"), "needed": [True] * len(value) if several else None}
        with self.naming(f"{'slope' if op.arguments[i] in op.slope else 'adjoint'} for {op.arguments[i]!r}"):
            part = op.pull_argument(op.arguments[i], given, self.arguments, self.y, self.options)
            parts, values = (part, value) if several else ([part], [value])
            parts = [
                p if p.shape == v.shape else unbroadcast(space, p, v.shape) for p, v in zip(parts, values, strict=True)
            ]
            return parts if several else parts[0]

    def pushed(self, i: int) -> Any:
        """ẏ, of this argument's tangent alone."""
        tangents = [self.marked(i, r"\dot") if k == i else None for k in range(len(self.arguments))]
        with self.naming(f"tangent for {self.op.arguments[i]!r}"):
            return self.op.push_forward(space, tangents, self.arguments, self.y, self.options)

    def derivative(self, i: int, name: str) -> str:
        if name not in self.op.slope:
            return self.equate(self.marked(i, r"\bar"), self.pulled(i))
        d = Writer(self.latex)
        y, x = d.show(self.y), d.show(self.arguments[i])
        left = rf"\frac{{\partial {y}}}{{\partial {x}}}" if self.latex else f"∂{y}/∂{x}"
        text, notes = equations([(left, self.slope(name))], self.latex)
        self.notes |= notes
        return text

    def formula(self, style: str) -> Formula:
        op = self.op
        present = [
            (op.arguments.index(a), a) for a in op.differentiable if self.arguments[op.arguments.index(a)] is not None
        ]
        return Formula(
            operation=op.name,
            forward=self.equate(self.y, self.result),
            derivatives={name: self.derivative(i, name) for i, name in present},
            tangents={name: self.equate(self.mark(r"\dot"), self.pushed(i)) for i, name in present},
            kink=op.kink,
            notes=tuple(sorted(self.notes)),
            style=style,
        )
