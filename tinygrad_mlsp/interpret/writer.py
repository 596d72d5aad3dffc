"""The writer of formulas: symbols as text, or as LaTeX, with no more brackets than needed."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .symbols import Size, Symbol, number, same, space

_WHERE, _LOGIC, _COMPARE, _BITS, _SUM, _BIG, _PRODUCT, _POWER, _ATOM = range(9)  # what binds tighter is greater

_FUNCTIONS = {  # in text and in LaTeX
    "log": ("ln", r"\ln"), "log2": ("log₂", r"\log_2"), "log10": ("log₁₀", r"\log_{10}"),
    "sin": ("sin", r"\sin"), "cos": ("cos", r"\cos"), "tan": ("tan", r"\tan"),
    "asin": ("arcsin", r"\arcsin"), "acos": ("arccos", r"\arccos"), "atan": ("arctan", r"\arctan"),
    "sinh": ("sinh", r"\sinh"), "cosh": ("cosh", r"\cosh"), "tanh": ("tanh", r"\tanh"),
    "asinh": ("arsinh", r"\operatorname{arsinh}"), "acosh": ("arcosh", r"\operatorname{arcosh}"),
    "atanh": ("artanh", r"\operatorname{artanh}"), "sigmoid": ("σ", r"\sigma"), "erf": ("erf", r"\operatorname{erf}"),
    "sign": ("sign", r"\operatorname{sign}"),
    "erfc": ("erfc", r"\operatorname{erfc}"), "erfinv": ("erfinv", r"\operatorname{erf}^{-1}"),
    "lgamma": ("lnΓ", r"\ln\Gamma"), "digamma": ("ψ", r"\psi"), "i0": ("I₀", "I_0"), "i1": ("I₁", "I_1"),
    "real": ("Re", r"\operatorname{Re}"),
    "imag": ("Im", r"\operatorname{Im}"), "maximum": ("max", r"\max"), "minimum": ("min", r"\min"),
}  # fmt: skip
_ALONG = {"max": r"\max", "min": r"\min"} | {  # functions with an axis
    name: rf"\operatorname{{{name}}}"
    for name in ("mean", "var", "std", "any", "all", "argmax", "argmin", "logsumexp", "softmax")
}
_BIG_OPERATORS = {"sum": ("Σ", r"\sum"), "prod": ("Π", r"\prod")}
_AROUND = {
    "floor": ("⌊{}⌋", r"\left\lfloor {}\right\rfloor"),
    "ceil": ("⌈{}⌉", r"\left\lceil {}\right\rceil"),
}  # fmt: skip
_INFIX = {
    "equal": ("=", "=", _COMPARE), "not_equal": ("≠", r"\neq", _COMPARE), "less": ("<", "<", _COMPARE),
    "less_equal": ("≤", r"\leq", _COMPARE), "greater": (">", ">", _COMPARE), "greater_equal": ("≥", r"\geq", _COMPARE),
    "logical_and": ("∧", r"\wedge", _LOGIC), "logical_or": ("∨", r"\vee", _LOGIC),
    "logical_xor": ("⊻", r"\oplus", _LOGIC),
    "bitwise_and": ("&", r"\;\mathrm{and}\;", _BITS), "bitwise_or": ("|", r"\;\mathrm{or}\;", _BITS),
    "bitwise_xor": ("⊕", r"\;\mathrm{xor}\;", _BITS),
    "bitwise_left_shift": ("≪", r"\ll", _BITS), "bitwise_right_shift": ("≫", r"\gg", _BITS),
    "remainder": ("mod", r"\;\mathrm{mod}\;", _BITS),
}  # fmt: skip
_INSTEAD: dict[str, Callable[..., Any]] = {  # written as what they compute, more exactly
    "expm1": lambda x: space.exp(x) - 1,
    "log1p": lambda x: space.log(1 + x),
    "logaddexp": lambda a, b: space.log(space.exp(a) + space.exp(b)),
    "hypot": lambda a, b: space.sqrt(a * a + b * b),
    "floor_divide": lambda a, b: space.floor(a / b),
    "xlogy": lambda x, a: x * space.log(a),
    "xlog1py": lambda x, a: x * space.log(1 + a),
    "below": lambda x, top: x - top,
    "i0e": lambda x: space.exp(-space.abs(x)) * space.i0(x),
    "i1e": lambda x: space.exp(-space.abs(x)) * space.i1(x),
}
_NAMED = {  # numbers that a rule makes of others before any array is there
    math.log(2): ("ln 2", r"\ln 2"), math.log(10): ("ln 10", r"\ln 10"), math.pi: ("π", r"\pi"),
    2 / math.sqrt(math.pi): ("2/√π", r"\frac{2}{\sqrt{\pi}}"), math.inf: ("∞", r"\infty"),
}  # fmt: skip
_STRUCTURAL = {  # where axes of length one matter
    "reshape", "expand_dims", "squeeze", "astype", "permute_dims", "flip", "concat", "stack", "split", "pad", "take",
    "scatter_at",
}  # fmt: skip
_PRODUCTS, _SUMS = ("multiply", "divide", "over"), ("add", "subtract", "negative")
_MATRICES = ("matmul", "matrix_transpose", "inv")
_SUBSCRIPT = str.maketrans("0123456789-−", "₀₁₂₃₄₅₆₇₈₉₋₋")
_SUPERSCRIPT = str.maketrans("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")


HOLE = "\ue000", "\ue001"  # characters of private use, around the letters of a template
holes: ContextVar[bool] = ContextVar("holes", default=False)


def _unwritten(x: Symbol) -> Symbol:
    """x without what only changes its dtype, or gives and takes axes of length one."""
    while isinstance(x, Symbol):
        if x.name in ("reshape", "expand_dims", "squeeze"):
            if [n for n in x.shape if n != 1] != [n for n in x.args[0].shape if n != 1]:
                break
        elif x.name not in ("astype", "positive"):
            break
        x = x.args[0]
    return x


def _long(x: Any, limit: int = 4) -> int:
    """How many symbols a formula has, up to a limit."""
    if not isinstance(x, (Symbol, tuple, list)) or limit <= 0:
        return 0
    count = int(isinstance(x, Symbol))
    for part in x.args if isinstance(x, Symbol) else x:
        count += _long(part, limit - count)
    return count


Text = tuple[str, int]  # how something is written, and how tightly that binds


@dataclass
class _Product:
    """A product as it is written: its sign, and above and below the line the factors, with their powers and shapes."""

    negative: bool = False
    above: list[list[Any]] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)

    def put(self, x: Any, power: int, below: bool) -> None:
        factor: Any = _unwritten(x)
        place, value = self.below if below else self.above, number(factor)
        if isinstance(value, (int, float)):
            self.negative ^= value < 0 and power % 2 == 1
            factor, power = abs(value) ** power, 1
            if factor == 1:
                return
            if place and number(place[0][0]) is not None:
                place[0][0] *= factor
                return
            place.insert(0, [factor, 1, ()])
            return
        shape = getattr(x, "shape", ())
        for entry in place:
            if same(entry[0], factor) and entry[2] == shape:
                entry[1] += power
                return
        if any(same(entry[0], factor) for entry in place):  # the same array along another axis, which must be said
            factor = x
        place.append([factor, power, shape])


class Writer:
    """Writes symbols in one style. The first pass counts; in the second, what stands in several places and is long
    has a letter."""

    def __init__(self, latex: bool, letters: dict[int, str] | None = None, matrices: bool = False) -> None:
        self.latex, self.matrices = latex, matrices
        self.counting, self.letters = letters is None, {} if letters is None else letters
        self.seen: dict[int, list[Any]] = {}  # by identity: a symbol, and in how many places it stands
        self.instead: dict[int, Symbol] = {}
        self.notes: set[str] = set()
        self.used: set[str] = set()  # letters of the leaves
        self.minus = "-" if latex else "−"

    def pick(self, text: str, latex: str) -> str:
        return latex if self.latex else text

    def show(self, x: Any, need: int = _WHERE, strip: bool = True) -> str:
        """x, in brackets if it binds less tightly than it needs to."""
        return self.held(self.parts(x, strip), need)

    def held(self, written: Text, need: int) -> str:
        text, level = written
        return text if level >= need else self.bracket(text, level)

    def value(self, x: Any, strip: bool = True) -> str:
        """x as the whole of something: brackets only around a condition, which counts as 1 or 0."""
        text, level = self.parts(x, strip)
        return text if level == _WHERE else self.held((text, level), _BITS)

    def bracket(self, text: str, level: int = _SUM) -> str:
        left, right = "[]" if level in (_LOGIC, _COMPARE) else "()"  # [c] is 1 where c holds
        tall = self.latex and any(word in text for word in (r"\frac", r"\sum", r"\prod", r"\begin"))
        return rf"\left{left}{text}\right{right}" if tall else f"{left}{text}{right}"

    def opens(self, x: Symbol) -> bool:
        """Whether x is to be written out in this place, not by a letter."""
        if not self.counting:
            return id(x) not in self.letters
        entry = self.seen.setdefault(id(x), [x, 0])
        entry[1] += 1
        return entry[1] == 1

    def parts(self, x: Any, strip: bool = True) -> Text:
        x = _unwritten(x) if strip else x
        if not isinstance(x, Symbol):
            return self.plain(x)
        if x.name == "symbol":
            return self.leaf(*x.args), _ATOM
        if x.name == "number":
            return self.plain(x.args[0])
        return self.written(x) if self.opens(x) else (self.letters.get(id(x), "…"), _ATOM)

    def written(self, x: Symbol) -> Text:
        """x written out."""
        name, args = x.name, x.args
        if name in _INSTEAD:
            return self.written(self.instead.setdefault(id(x), _INSTEAD[name](*args)))
        if name in _SUMS or name in _PRODUCTS:
            return self.total(x)
        if name in _FUNCTIONS:
            return self.applied(_FUNCTIONS[name][self.latex], args), _ATOM
        if name in _ALONG:
            return self.applied(self.pick(name, _ALONG[name]) + self.axes(x), args[:1]), _ATOM
        if name in _BIG_OPERATORS:
            return f"{_BIG_OPERATORS[name][self.latex]}{self.axes(x)} {self.show(args[0], _PRODUCT)}", _BIG
        if name in _AROUND:
            return _AROUND[name][self.latex].format(self.show(args[0])), _ATOM
        if name in _INFIX:
            text, latex, level = _INFIX[name]
            if level == _BITS and x.dtype == bool:
                return self.written(Symbol(name.replace("bitwise", "logical"), args, {}, x.spec))
            return f" {self.pick(text, latex)} ".join(self.show(a, level + 1) for a in args), level
        own = getattr(self, f"write_{name}", None)
        return own(x, *args, **x.options) if own is not None else (self.called(name, args, x.options), _ATOM)

    # Sums and products

    def total(self, x: Symbol) -> Text:
        """A sum, or a product, with its sign."""
        terms: list[list[Any]] = []
        self.terms(x, False, terms, opened=True)
        text, level = "", _SUM
        for i, (negative, term, times, opened) in enumerate(terms):
            minus, body, level = self.product(term, times, opened)
            body, minus = self.held((body, level), _BIG), minus ^ negative
            text += (self.minus * minus if not i else f" {self.minus if minus else '+'} ") + body
        return text, _SUM if len(terms) > 1 or text.startswith(self.minus) else level

    def terms(self, x: Any, negative: bool, found: list[list[Any]], opened: bool = False) -> None:
        """Collects the terms of a sum: whether subtracted, symbol, how many times, whether already opened."""
        x = _unwritten(x)
        if not (isinstance(x, Symbol) and x.name in _SUMS and (opened or self.opens(x))):
            found.append([negative, x, 1, opened])
            return
        if x.name == "add" and x.args[0] is x.args[1]:
            found.append([negative, x.args[0], 2, False])
            return
        self.terms(x.args[0], negative ^ (x.name == "negative"), found)
        if x.name != "negative":
            self.terms(x.args[1], negative ^ (x.name == "subtract"), found)

    def product(self, x: Any, times: int, opened: bool) -> tuple[bool, str, int]:
        """Whether there is a minus before it, the rest, and how tightly that binds."""
        product = _Product()
        product.put(times, 1, below=False)
        self.factors(x, 1, False, product, opened)
        above, level = self.line(product.above)
        if product.below:
            below = self.line(product.below)
            if self.latex:
                above, level = rf"\frac{{{above}}}{{{below[0]}}}", _POWER
            else:
                above, level = f"{self.held((above, level), _PRODUCT)} / {self.held(below, _POWER)}", _PRODUCT
        return product.negative, above, level

    def factors(self, x: Any, power: int, below: bool, product: _Product, opened: bool = False) -> None:
        """Collects the factors of a product."""
        whole, x = x, _unwritten(x)
        name = x.name if isinstance(x, Symbol) else ""
        doubled = name == "add" and x.args[0] is x.args[1]
        if not (name in (*_PRODUCTS, "negative") or doubled) or not (opened or self.opens(x)):
            product.put(whole, power, below)
        elif doubled:
            product.put(2, power, below)
            self.factors(x.args[0], power, below, product)
        elif name == "negative":
            product.negative ^= power % 2 == 1
            self.factors(x.args[0], power, below, product)
        elif name == "multiply" and x.args[0] is x.args[1]:
            self.factors(x.args[0], 2 * power, below, product)
        else:
            if name == "over":
                self.notes.add("0/0 counts as 0")
            self.factors(x.args[0], power, below, product)
            self.factors(x.args[1], power, below ^ (name != "multiply"), product)

    def line(self, entries: list[list[Any]]) -> Text:
        """Factors side by side."""
        pieces = []
        for factor, power, _ in entries:
            piece = self.parts(factor, strip=False)
            if power > 1:
                piece = f"{self.held(piece, _ATOM)}{self.superscript(str(power))}", _POWER
            pieces.append((piece, isinstance(factor, Symbol) and factor.ndim > 0))
        if len(pieces) < 2:
            return pieces[0][0] if pieces else ("1", _ATOM)
        level, text, before = pieces[-1][0][1], "", False
        for i, (piece, array) in enumerate(pieces):
            between = self.pick(" ⊙ ", r" \odot ") if self.matrices and array and before else " "
            need = _BIG if i == len(pieces) - 1 else _POWER
            text += (between if i else "") + self.held(piece, _BIG if level == need == _BIG else _POWER)
            before = array
        return text, _BIG if level == _BIG else _PRODUCT

    # Notations of their own

    def write_where(self, x: Symbol, condition: Any, a: Any, b: Any) -> Text:
        holds, one, other = self.show(condition), self.show(a, _BITS), self.value(b)
        if self.latex:
            return rf"\begin{{cases}} {one} & {holds} \\ {other} & \mathrm{{otherwise}} \end{{cases}}", _WHERE
        return f"{one} where {holds}, else {other}", _WHERE

    def write_exp(self, x: Symbol, a: Any) -> Text:
        return (f"e^{{{self.show(a)}}}", _POWER) if self.latex else (self.applied("exp", (a,)), _ATOM)

    def write_abs(self, x: Symbol, a: Any) -> Text:
        inside = self.show(a)
        if self.latex:
            return rf"\left|{inside}\right|", _ATOM
        return (f"|{inside}|" if "|" not in inside else f"abs({inside})"), _ATOM

    def write_sqrt(self, x: Symbol, a: Any) -> Text:
        return (rf"\sqrt{{{self.show(a)}}}" if self.latex else f"√{self.show(a, _ATOM)}"), _ATOM

    def write_pow(self, x: Symbol, a: Any, p: Any) -> Text:
        base, value = self.show(a, _ATOM), number(p)
        if self.latex or (isinstance(value, (int, float)) and value % 1 == 0):
            return base + self.superscript(self.show(p)), _POWER
        return f"{base}^{self.show(p, _ATOM)}", _POWER

    def write_matmul(self, x: Symbol, a: Any, b: Any) -> Text:
        chained = getattr(_unwritten(a), "name", "") == "matmul"
        return f"{self.show(a, _PRODUCT if chained else _POWER)} {self.show(b, _POWER)}", _PRODUCT

    def write_matrix_transpose(self, x: Symbol, a: Any) -> Text:
        return self.show(a, _ATOM) + self.pick("ᵀ", r"^\top"), _POWER

    def write_polygamma(self, x: Symbol, a: Any, n: int = 0) -> Text:
        return self.applied(self.pick("ψ", r"\psi") + self.subscript(str(n)), (a,)), _ATOM

    def write_iv(self, x: Symbol, a: Any, n: int = 0) -> Text:
        return self.applied("I" + self.subscript(str(n)), (a,)), _ATOM

    def write_ive(self, x: Symbol, a: Any, n: int = 0) -> Text:
        scaled = self.instead.setdefault(id(x), space.exp(-space.abs(a)) * space.iv(a, n=n))
        return self.written(scaled)

    def write_sinc(self, x: Symbol, a: Any, n: int = 0) -> Text:
        if n > 1:
            return self.called("sinc", (a,), {"n": n}), _ATOM
        turn = math.pi * a
        y = space.sin(turn) / turn
        return self.written(self.instead.setdefault(id(x), (space.cos(turn) - y) / a if n else y))

    def write_inv(self, x: Symbol, a: Any) -> Text:
        return self.show(a, _ATOM) + self.superscript("−1" if not self.latex else "-1"), _POWER

    def write_conj(self, x: Symbol, a: Any) -> Text:
        return (f"{self.show(a, _ATOM)}^*", _POWER) if self.latex else (self.applied("conj", (a,)), _ATOM)

    def write_logical_not(self, x: Symbol, a: Any) -> Text:
        return self.pick("¬", r"\neg ") + self.show(a, _ATOM), _COMPARE

    def write_bitwise_invert(self, x: Symbol, a: Any) -> Text:
        return self.pick("~", r"\sim ") + self.show(a, _ATOM), _POWER

    def write_getitem(self, x: Symbol, a: Any, index: Any) -> Text:
        parts = ", ".join(self.index(i) for i in (index if isinstance(index, tuple) else (index,)))
        return f"{self.show(a, _ATOM, strip=False)}[{parts}]", _ATOM

    def write_convolution(
        self, x: Symbol, a: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Text:
        given = self.settings({}, stride, padding, dilation, groups)
        if given:
            text = self.called("convolution", (a, w), given), _ATOM
        else:
            star = self.pick(" ⋆ ", r" \star ")
            text = self.show(a, _POWER) + star + self.show(w, _POWER), _PRODUCT
        return text if bias is None else (f"{self.held(text, _BIG)} + {self.show(bias, _BIG)}", _SUM)

    def write_convolution_input(
        self, x: Symbol, u: Any, w: Any, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Text:
        given = self.settings({"shape": tuple(shape)}, stride, padding, dilation, groups)
        return self.called("convolution_input", (u, w), given), _ATOM

    def write_convolution_weight(
        self, x: Symbol, a: Any, u: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Text:
        given = self.settings({"kernel": tuple(kernel)}, stride, padding, dilation, groups)
        return self.called("convolution_weight", (a, u), given), _ATOM

    def write_max_pool(self, x: Symbol, *args: Any) -> Text:
        return self.pooled(x.name, args, 1), _ATOM

    def write_max_pool_spread(self, x: Symbol, *args: Any) -> Text:
        return self.pooled(x.name, args, 3), _ATOM

    write_sum_pool = write_max_pool_place = write_max_pool
    write_max_pool_pick = write_max_pool_spread

    def write_sum_pool_spread(self, x: Symbol, u: Any, length: int, *args: Any) -> Text:
        return self.pooled(x.name, (u, *args), 1, {"length": length}), _ATOM

    def pooled(self, name: str, args: Sequence[Any], arrays: int, first: dict[str, Any] | None = None) -> str:
        axis, size, stride, padding, dilation = args[arrays:]
        given = {**(first or {}), "axis": axis, "size": size, **({} if stride == size else {"stride": stride})}
        return self.called(name, args[:arrays], self.settings(given, 1, (padding,), dilation, 1))

    def settings(self, given: dict[str, Any], stride: Any, padding: Any, dilation: Any, groups: int) -> dict[str, Any]:
        """What of a convolution's settings is not as usual."""
        for name, value, usual in (
            ("stride", stride, (1,)), ("padding", padding, ((0, 0),)), ("dilation", dilation, (1,)),
        ):  # fmt: skip
            values = value if isinstance(value, tuple) else (value,)
            if any(v != usual[0] for v in values):
                given = {**given, name: values[0] if len(values) == 1 else values}
        return {**given, "groups": groups} if groups != 1 else given

    def write_take_along_axis(self, x: Symbol, a: Any, indices: Any, axis: int = -1) -> Text:
        return f"{self.show(a, _ATOM)}[{self.show(indices)}]", _ATOM

    def write_einsum(self, x: Symbol, equation: str, *arrays: Any) -> Text:
        written = self.word(equation.replace("->", self.pick("→", r" \to ")))
        return self.applied(self.pick("einsum", r"\operatorname{einsum}"), (Verbatim(written), *arrays)), _ATOM

    def write_part(self, x: Symbol, whole: Any, i: int) -> Text:
        return self.show(whole, _ATOM) + self.subscript(str(i + 1)), _ATOM

    # Small parts

    def applied(self, name: str, args: Sequence[Any]) -> str:
        return name + self.bracket(", ".join(self.show(a, _LOGIC if len(args) > 1 else _WHERE) for a in args))

    def called(self, name: str, args: Sequence[Any], options: dict[str, Any]) -> str:
        """A function that has no notation of its own, with its options."""
        strip = name not in _STRUCTURAL
        given = [self.show(a, _LOGIC, strip) for a in args]
        given += [f"{self.word(k)} = {self.show(v, _LOGIC, strip)}" for k, v in options.items()]
        return self.word(name, r"\operatorname") + self.bracket(", ".join(given))

    def word(self, text: str, command: str = r"\mathrm") -> str:
        return self.pick(text, f"{command}{{{text}}}".replace("_", r"\_"))

    def axes(self, x: Symbol) -> str:
        """The axes of a reduction as a subscript; nothing where it is over all."""
        axis = x.options.get("axis", x.args[1] if len(x.args) > 1 else None)
        axes = axis if isinstance(axis, (tuple, list)) else (axis,)
        if axis is None or len({a % x.args[0].ndim for a in axes}) == x.args[0].ndim:
            return ""
        return self.subscript(",".join(str(a) for a in axes))

    def subscript(self, text: str) -> str:
        return self.pick(text.translate(_SUBSCRIPT), f"_{{{text}}}")

    def superscript(self, text: str) -> str:
        return self.pick(text.translate(_SUPERSCRIPT), f"^{{{text}}}")

    def leaf(self, letter: str, number: int | None, mark: str) -> str:
        """x, x̄, ẋ, x₁; a longer name is barred letter by letter."""
        self.used.add(letter)
        if holes.get():
            return f"{HOLE[0]}{letter}|{'' if number is None else number}|{mark}{HOLE[1]}"
        if self.latex:
            text = letter if len(letter) == 1 else self.word(letter)
            text = f"{mark} {text}" if mark else text
        elif len(letter) == 1:
            text = unicodedata.normalize("NFC", letter + {"": "", r"\bar": "\u0304", r"\dot": "\u0307"}[mark])
        else:
            text = {"": letter, r"\bar": "".join(c + "\u0305" for c in letter), r"\dot": "δ" + letter}[mark]
        return text if number is None else text + self.subscript(str(number))

    def index(self, part: Any) -> str:
        if not isinstance(part, slice):
            return self.show(part)
        ends = ["" if end is None else self.show(end) for end in (part.start, part.stop)]
        return ":".join([*ends, *([] if part.step is None else [self.show(part.step)])])

    def plain(self, value: Any) -> Text:
        """A number, a name or an option."""
        if isinstance(value, Verbatim):
            return value.text, _ATOM
        if isinstance(value, Size):
            return str(value).replace(
                "−", self.minus
            ), _SUM if "+" in value.text or "−" in value.text else _PRODUCT if " " in value.text else _ATOM
        if isinstance(value, (tuple, list)):
            inside = ", ".join(self.show(v, _LOGIC, strip=False) for v in value)
            return (f"({inside}{',' * (len(value) == 1)})" if isinstance(value, tuple) else f"[{inside}]"), _ATOM
        if isinstance(value, slice):
            return self.index(value), _ATOM
        if isinstance(value, complex):
            text, level = self.plain(value.imag)
            return (
                {"1": "", f"{self.minus}1": self.minus}.get(text, text) + "i" if not value.real else f"({value})"
            ), level
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if value in _NAMED:
                text = _NAMED[value][self.latex]
                return text, _PRODUCT if " " in text or "/" in text else _POWER
            text = repr(int(value) if value == value // 1 and abs(value) < 1e15 else float(value))
            if "e" in text:
                digits, power = text.split("e")
                times = "" if digits == "1" else digits + self.pick("·", r" \cdot ")
                return f"{times}10{self.superscript(str(int(power)))}", _PRODUCT if times else _POWER
            return text.replace("-", self.minus), _SUM if value < 0 else _ATOM
        if value is Ellipsis:
            return self.pick("…", r"\ldots"), _ATOM
        if isinstance(value, np.ndarray):
            return (np.array2string(value, separator=" ") if value.size <= 8 else f"array{value.shape}"), _ATOM
        return self.word(getattr(value, "name", None) or str(value)), _ATOM


@dataclass
class Verbatim:
    """Text that stands as it is among arguments."""

    text: str


def equations(pairs: Sequence[tuple[str, Any]], latex: bool) -> tuple[str, set[str]]:
    """left = right, …, and then what the letters in it stand for; and the notes."""
    count = Writer(latex)
    for _, right in pairs:
        right_side(count, right)
    matrices = any(s.name in _MATRICES for s, _ in count.seen.values()) or any(
        getattr(r, "name", "") in _MATRICES for _, r in pairs
    )
    shared = [s for s, times in count.seen.values() if times > 1 and _long(s) >= 4]
    free = (name for name in (*"uvwpqr", *(f"u{i}" for i in range(len(shared)))) if name not in count.used)
    letters = {id(s): next(free) for s in shared}
    writer = Writer(latex, letters, matrices)
    lines = [f"{left} = {right_side(writer, right)}" for left, right in pairs]
    for symbol in shared:
        letter = letters.pop(id(symbol))
        lines.append(f"{letter} = {writer.value(symbol)}")
        letters[id(symbol)] = letter
    return writer.pick(",  ", r",\quad ").join(lines), writer.notes


def right_side(writer: Writer, x: Any) -> str:
    """The right side of an equation: only here is written what merely reshapes a letter."""
    bare = _unwritten(x)
    return writer.value(x, strip=not (isinstance(bare, Symbol) and bare.name == "symbol"))
