"""Tensors for properties: what each argument may be, and the search among all of that for a small counterexample.

    tensors("n,m")                         a matrix; n and m are the same wherever else they stand
    tensors("3,n")                         a fixed side
    tensors("*batch,n")                    any number of leading sides, together named batch
    tensors("n?,m")                        n, or 1 where the other argument has n: partners of a broadcast
    tensors("")                            0-d
    tensors(broadcasts_with="x")           any shape that broadcasts to x's

Everything is drawn from short lists, simplest first, so hypothesis shrinks sides to 1, values to 0 and 1, and the
memory to plain C order. An array is drawn as the code that makes it, so what is printed is what ran.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ..backend import space_for
from ..convert import as_dtype
from ..errors import MissingDependency, OptionError
from ..tensor import Tensor

LAYOUTS = ("C", "F", "view", "reversed", "strided", "broadcast")
VALUES = ("ordinary", "tied", "zeros", "negative", "extreme", "nan", "inf")
USUAL = VALUES[:4]  # the others overflow or stay where they are in most functions, and are for those that claim more
GAP = 1e-2


@dataclass(frozen=True)
class Spec:
    """What one argument of a property may be; made by `tensors`."""

    shape: tuple[str, ...]
    dtype: tuple[str, ...]
    values: tuple[str, ...]
    layouts: tuple[str, ...]
    device: tuple[str, ...]
    min: float | None = None
    max: float | None = None
    away_from: tuple[float, ...] = ()
    gap: float = GAP
    broadcasts_with: str | None = None


def tensors(
    shape: str | None = None,
    *,
    dtype: Any = "float64",
    min: float | None = None,
    max: float | None = None,
    away_from: float | Sequence[float] = (),
    gap: float = GAP,
    values: str | Sequence[str] = USUAL,
    layouts: str | Sequence[str] = LAYOUTS,
    device: str | Sequence[str] = "cpu",
    broadcasts_with: str | None = None,
) -> Spec:
    """What an argument may be: its shape in letters, its dtypes, values, memory layouts and devices.

    `min`, `max` and `away_from` (no value nearer than `gap` to these points) limit the domain of the function; of
    complex numbers, both parts. `values` names kinds: "ordinary" (−2 to 2), "tied" (repetitions), "zeros" (0 and −0),
    "negative", and where asked for "extreme" (huge, tiny and subnormal), "nan" and "inf". `dtype`, `layouts` and
    `device` may be one or several to draw from.

    Raises: OptionError for a shape, kind or layout that is not known, or a domain with nothing in it.
    """
    if (shape is None) == (broadcasts_with is None):
        raise OptionError('tensors: takes a shape, such as "n,m", or broadcasts_with="x"')
    if not (shape is None or isinstance(shape, str)):
        raise OptionError(f'tensors: a shape is written in letters, as in "n,m" or "3,n", not {shape!r}')
    dtypes = [as_dtype(d, "tensors") for d in _several(dtype)]
    for d in dtypes:
        if d.kind not in "fciub":
            raise OptionError(f"tensors: dtype {d} is no number")
    numbers = {"min": min, "max": max, "gap": gap, **{f"away_from {p!r}": p for p in _several(away_from)}}
    for name, value in numbers.items():
        if not (isinstance(value, (int, float)) or (value is None and name in ("min", "max"))) or gap < 0:
            raise OptionError(f"tensors: {name} must be a number{' from 0 on' * (name == 'gap')}, not {value!r}")
    for where in _several(device):
        space_for(where)
    spec = Spec(
        tuple(s.strip() for s in shape.split(",")) if shape else (),
        tuple(d.name for d in dtypes),
        _known("values", values, VALUES),
        _known("layouts", layouts, LAYOUTS),
        tuple(_several(device)),
        min,
        max,
        tuple(_several(away_from)),
        gap,
        broadcasts_with,
    )
    for side in spec.shape:
        name = side.removeprefix("*").removesuffix("?")
        if not (name.isidentifier() or (name.isdecimal() and not side.startswith("*"))):
            raise OptionError(
                f"tensors: {side!r} in the shape {shape!r} is no side: a number, n, n? (n or 1), *batch or *batch?"
            )
    for name in spec.dtype:
        if not _pools(spec, name):
            raise OptionError(f"tensors: no {name} between min={min} and max={max} keeps away from {spec.away_from}")
    return spec


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _known(what: str, chosen: str | Sequence[str], all_of_them: Sequence[str]) -> tuple[str, ...]:
    found = _several(chosen)
    if not found or any(c not in all_of_them for c in found):
        raise OptionError(f"tensors: {what} are {', '.join(all_of_them)}, not {chosen!r}")
    return tuple(c for c in all_of_them if c in found)  # in their own order, the simplest first


def required(who: str) -> ModuleType:
    """hypothesis, or an error that says how to install it."""
    try:
        import hypothesis
        import hypothesis.strategies
    except ImportError as problem:
        raise MissingDependency(f"{who} needs hypothesis: pip install 'tinygrad_mlsp[check]'") from problem
    return hypothesis


# Values


@functools.lru_cache(256)
def _pools(spec: Spec, dtype: str) -> dict[str, list[Any]]:
    """The values of each kind that lie in the domain, simplest first."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return {"ordinary": [False, True]}
    if kind.kind in "iu":
        least = -2 if spec.min is None else math.ceil(spec.min)
        if kind.kind == "u":
            least = max(least, 0)
        most = max(least, 2) if spec.max is None else math.floor(spec.max)
        return {"ordinary": sorted(range(least, most + 1), key=lambda i: (abs(i), i < 0))[:64]}
    facts = np.finfo(kind)
    real = facts.dtype.type

    def inside(values: Sequence[float]) -> list[float]:
        rounded = {float(real(v)): None for v in values}  # a dictionary keeps the order, a set would not
        low, high = -math.inf if spec.min is None else spec.min, math.inf if spec.max is None else spec.max
        return [v for v in rounded if low <= v <= high and all(abs(v - p) >= spec.gap for p in spec.away_from)]

    low = -2.0 if spec.min is None else spec.min
    high = 2.0 if spec.max is None else spec.max
    if spec.min is not None and spec.max is None:
        high = max(2.0, low + 4)
    if spec.max is not None and spec.min is None:
        low = min(-2.0, high - 4)
    steps = range(math.ceil(low * 64), math.floor(high * 64) + 1) if high - low < 100 else range(0)
    grid = [i / 64 for i in steps] if len(steps) > 16 else list(np.linspace(low, high, 65))
    ordinary = sorted(inside(grid), key=lambda v: (v.as_integer_ratio()[1], abs(v), v < 0))
    far = [math.sqrt(facts.max), facts.max / 4, facts.eps, 1 / facts.eps, facts.tiny, facts.smallest_subnormal]
    pools = {
        "ordinary": ordinary,
        "tied": ordinary,
        "zeros": inside([0.0]) and [0.0, -0.0],
        "negative": [v for v in ordinary if v < 0],
        "extreme": inside([s * float(v) for v in far for s in (1, -1)]),
        "nan": [math.nan],
        "inf": [math.inf, -math.inf],
    }
    return {name: pools[name] for name in spec.values if pools[name]}


def _text(value: Any) -> str:
    """One number as code."""
    if isinstance(value, complex):
        odd = any(not math.isfinite(p) or (p == 0 and math.copysign(1, p) < 0) for p in (value.real, value.imag))
        return f"complex({_text(value.real)}, {_text(value.imag)})" if odd else repr(value)
    return repr(value) if not isinstance(value, float) or math.isfinite(value) else f'float("{value}")'


def _nested(values: Any) -> str:
    return f"[{', '.join(map(_nested, values))}]" if isinstance(values, list) else _text(values)


def code_of(array: np.ndarray[Any, Any], layout: str = "C", np_: str = "np") -> str:
    """An expression that makes an array of these values, laid out in memory so. `np_` names the module."""
    array = np.asarray(array)
    named = "" if array.dtype.name in ("float64", "complex128", "bool") else f', dtype="{array.dtype.name}"'

    def plain(values: Any, more: str = "") -> str:
        if values.size == 0:
            dtype = "" if values.dtype.name == "float64" else f', dtype="{values.dtype.name}"'
            return f"{np_}.zeros({values.shape}{dtype}{more})"
        return f"{np_}.array({_nested(values.tolist())}{named}{more})"

    if layout == "view":
        return f"{plain(array[None])}[0]"
    if array.ndim == 0 or layout == "C":
        return plain(array)
    if layout == "F":
        return plain(array, ', order="F"')
    if layout == "reversed":
        turn = (slice(None, None, -1),) * array.ndim
        return f"{plain(array[turn])}[{', '.join(['::-1'] * array.ndim)}]"
    if layout == "strided":
        return f"{np_}.repeat({plain(array)}, 2, axis=-1)[..., ::2]"
    assert layout == "broadcast"  # the rows are one row, so the others' values are not used
    return f"{np_}.broadcast_to({plain(array[:1])}, {array.shape})"


# Arguments


@dataclass(frozen=True)
class Drawn:
    """One argument as drawn: the code that makes its array, and the array."""

    code: str
    array: Any
    device: str

    @property
    def module(self) -> str:
        """The module that the code names: np or cp."""
        return "np" if self.device == "cpu" else "cp"

    def tensor(self, requires_grad: bool = False) -> Tensor:
        """A Tensor of the array, which shares its memory."""
        return Tensor(self.array, requires_grad=requires_grad and self.array.dtype.kind in "fc", device=self.device)

    def __repr__(self) -> str:
        return self.code


class Example(dict[str, Drawn]):
    """The arguments of one example, by name; shown as the code that makes them."""

    def code(self) -> str:
        """A line an argument."""
        return "\n".join(f"{name} = {drawn.code}" for name, drawn in self.items())

    def __repr__(self) -> str:
        return f"dict({', '.join(f'{name}={drawn.code}' for name, drawn in self.items())})"


def linked(specs: Mapping[str, Spec], sides: Any = (0, 3)) -> Any:
    """A hypothesis strategy of `Example`s: arguments that share the sides they name.

    `sides` are the least and the greatest side, or a dictionary of such pairs by letter ("" for all others).
    """
    st = required("checking.tensors").strategies
    bounds = {"": (0, 3), **sides} if isinstance(sides, Mapping) else {"": sides}
    letters = {s.removeprefix("*").removesuffix("?") for v in specs.values() if isinstance(v, Spec) for s in v.shape}
    for name, pair in bounds.items():
        right = isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(n, int) for n in pair)
        if not right or not 0 <= pair[0] <= pair[1] or name not in ("", *letters):
            raise OptionError(
                f"sides: {name or 'all'}: {pair!r} must be the least and the greatest length of a side that a shape "
                f"names ({', '.join(sorted(letters)) or 'none does'})"
            )
    for name, spec in specs.items():
        if not isinstance(spec, Spec):
            raise OptionError(f"{name}: an argument of a property is described by tensors(...), not {spec!r}")
        if spec.broadcasts_with is not None and spec.broadcasts_with not in [*specs][: [*specs].index(name)]:
            raise OptionError(f"{name}: broadcasts_with={spec.broadcasts_with!r} names no argument before it")

    @st.composite
    def example(draw: Callable[[Any], Any]) -> Example:
        known: dict[str, Any] = {}

        def side(name: str) -> int:
            if name.isdecimal():
                return int(name)
            if name not in known:
                low, high = bounds.get(name, bounds[""])
                usual = [*range(max(low, 1), high + 1)]
                # Zero stands last and once: the smallest example has sides of one, and few are empty.
                known[name] = draw(st.sampled_from([*usual, *usual, *([0] if low <= 0 else [])]))
            return known[name]

        def one_side(written: str) -> list[int]:
            name = written.removesuffix("?")
            if name.startswith("*"):
                if name not in known:
                    known[name] = [side(f"{name}{i}") for i in range(draw(st.sampled_from([0, 1, 2])))]
                found = list(known[name])
            else:
                found = [side(name)]
            return partner(found) if written.endswith("?") else found

        def partner(shape: Sequence[int]) -> list[int]:
            return [1 if draw(st.booleans()) else n for n in shape]

        drawn = Example()
        for name, spec in specs.items():
            if spec.broadcasts_with is not None:
                whole = drawn[spec.broadcasts_with].array.shape
                shape = partner(whole[draw(st.sampled_from(range(len(whole) + 1))) :])
            else:
                shape = [n for written in spec.shape for n in one_side(written)]
            drawn[name] = _drawn(draw, st, spec, tuple(shape))
        return drawn

    return example()


def _drawn(draw: Callable[[Any], Any], st: Any, spec: Spec, shape: tuple[int, ...]) -> Drawn:
    """One argument of this shape."""
    dtype, device = draw(st.sampled_from(spec.dtype)), draw(st.sampled_from(spec.device))
    pools = _pools(spec, dtype)
    kind = draw(st.sampled_from([*pools]))
    pool = pools[kind]
    if kind == "tied":
        pool = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=2))
    number = st.sampled_from(pool)
    if kind in ("zeros", "nan", "inf"):  # among others, which are there unless the domain has nothing else
        number = number | st.sampled_from(_pools(spec, dtype).get("ordinary", pool))
    if dtype.startswith("complex"):
        number = st.builds(complex, number, number)
    size = math.prod(shape)
    values = np.array(draw(st.lists(number, min_size=size, max_size=size)), dtype=dtype).reshape(shape)
    layout = draw(st.sampled_from(spec.layouts if shape else [x for x in spec.layouts if x in ("C", "view")] or ["C"]))
    np_ = "np" if device == "cpu" else "cp"
    code = code_of(values, layout, np_)
    space, _ = space_for(device)
    return Drawn(code, eval(code, {np_: space.module}), device)
