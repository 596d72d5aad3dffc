"""Where each operation is tested: its arguments away from kinks and poles, its options, and what NumPy says.

A domain draws one `Case` after another from a `Draw`. A case's arrays are float64 (complex128 where the calculus is
complex too); the tests cast and lay them out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

CORNERS = 9  # structural choices (shapes, index forms, equations) that every example goes through

SHAPES: dict[int, list[Any]] = {
    1: [(), (3,), (2, 3), (0,), (1,), (2, 1, 3), (2, 0, 3), (2, 2), (1, 1)],
    2: [
        ((2, 3), (1, 3)), ((3,), (2, 3)), ((2, 1), (1, 3)), ((), ()), ((2, 3), (2, 3)),
        ((0, 3), (1, 3)), ((3,), ()), ((2, 1, 3), (2, 1)), ((0,), ()),
    ],
    3: [
        ((2, 3), (1, 3), (2, 1)), ((), (), ()), ((3,), (2, 3), ()), ((), (3,), (2, 1)), ((2, 3), (2, 3), (2, 3)),
        ((0, 1), (3,), ()), ((2, 1), (), (1, 3)), ((1,), (2, 2), (2,)), ((1, 3), (2, 1), (1,)),
    ],
}  # fmt: skip


@dataclass
class Case:
    """One application: positional arguments (arrays, lists of arrays, None) and options."""

    arguments: tuple[Any, ...]
    options: dict[str, Any]


class Draw:
    """Structure from `random` (hypothesis', which it can shrink), or from the corner it is sent to; values from a
    generator that it seeds."""

    def __init__(self, random: Random, corner: int | None = None, device: str = "cpu") -> None:
        self.one, self.device = random.choice, device
        self.corner = corner if corner is None else corner + CORNERS * random.choice([0, 1, 2])
        self.random = np.random.default_rng(random.getrandbits(32))
        self.complex = False

    def each(self, choices: Sequence[Any]) -> Any:
        """Every choice in its turn, corner by corner."""
        return self.one(choices) if self.corner is None else choices[self.corner % len(choices)]

    def shape(self) -> tuple[int, ...]:
        return self.shapes(1)[0]

    def shapes(self, n: int) -> tuple[Any, ...]:
        """Shapes that broadcast together."""
        if self.corner is not None:
            return (self.each(SHAPES[1]),) if n == 1 else self.each(SHAPES[n])
        whole = [self.one([2, 3, 1, 0]) for _ in range(self.one([0, 1, 2, 3]))]
        return tuple(
            tuple(self.one([side, side, 1]) for side in whole[self.one(range(len(whole) + 1)) :])
            if n > 1
            else tuple(whole)
            for _ in range(n)
        )

    def values(
        self, shape: Any, low: float = -2.0, high: float = 2.0, avoid: Sequence[float] = (), gap: float = 0.15
    ) -> Any:
        """Uniform in [low, high], no nearer than `gap` to what is to be avoided; complex where the case is."""
        x = self.random.uniform(low, high, shape)
        for point in avoid:
            x = np.where(
                np.abs(x - point) < gap, point + np.where(x < point, -gap, gap) * self.random.uniform(1, 1.5, shape), x
            )
        return np.asarray(x + 1j * self.random.uniform(-0.5, 0.5, shape) if self.complex else x)

    def apart(self, shape: Any, step: float = 0.4, offset: float = 0.0) -> Any:
        """No two entries nearer than three quarters of `step`, in random order."""
        n = int(np.prod(shape))
        x = (self.random.permutation(n) - n // 2) * step + self.random.uniform(0, step / 4, n) + offset
        return x.reshape(shape)

    def integers(self, shape: Any, n: int, low: int | None = None) -> Any:
        """Indices of an axis of length n, negative ones and repetitions included."""
        return self.random.integers(-n if low is None else low, n, shape)

    def axes(self, ndim: int, several: bool = True) -> Any:
        """None, one axis, or several, from either end."""
        choices: list[Any] = [None, *range(ndim), *range(-ndim, 0)]
        if several and ndim > 1:
            choices += [(0, -1), tuple(range(ndim)), (ndim - 1,)]
        return self.one(choices)


@dataclass(frozen=True)
class Domain:
    """`draw` makes a case; `expect` is an independent account of the values, where there is one.

    `complex` is whether the calculus is tested on complex numbers as well.
    """

    draw: Callable[[Draw], Case]
    expect: Callable[..., Any] | None = None
    complex: bool = False

    def case(self, draw: Draw) -> Case:
        draw.complex = self.complex and draw.one([False, False, True])
        case = self.draw(draw)
        case.arguments = tuple(v if v is None or isinstance(v, list) else np.asarray(v) for v in case.arguments)
        return case


def unary(
    low: float = -2.0, high: float = 2.0, avoid: Sequence[float] = (), *,
    expect: Any = None, complex: bool = False, **options: Sequence[Any],
) -> Domain:  # fmt: skip
    """One array, and options each drawn from its list."""
    return Domain(
        lambda d: Case((d.values(d.shape(), low, high, avoid),), {o: d.one(c) for o, c in options.items()}),
        expect,
        complex,
    )


def binary(a: tuple[Any, ...] = (), b: tuple[Any, ...] = (), *, expect: Any = None, complex: bool = False) -> Domain:
    """Two arrays that broadcast; `a` and `b` are arguments of `Draw.values`."""

    def draw(d: Draw) -> Case:
        left, right = d.shapes(2)
        return Case((d.values(left, *a), d.values(right, *b)), {})

    return Domain(draw, expect, complex)


def reduction(
    draw_values: Callable[..., Any] = Draw.values, *, least: int = 0, several: bool = True, keepdims: bool = True,
    expect: Any = None, complex: bool = False, **options: Sequence[Any],
) -> Domain:  # fmt: skip
    """One array and an axis to reduce, along which there are at least `least` entries."""

    def draw(d: Draw) -> Case:
        shape = d.shape() if least < 2 else d.shape() or (3,)
        axis = d.axes(len(shape), several)
        reduced = (
            {a % len(shape) for a in (range(len(shape)) if axis is None else np.atleast_1d(axis))} if shape else set()
        )
        shape = tuple(max(n, least) if a in reduced else n for a, n in enumerate(shape))
        drawn = {o: d.one(c) for o, c in options.items()}
        if keepdims:
            drawn["keepdims"] = d.one([False, True])
        return Case((draw_values(d, shape),), {"axis": axis, **drawn})

    return Domain(draw, expect, complex)


def moving(draw: Callable[[Draw], tuple[Any, dict[str, Any]]], expect: Any = None) -> Domain:
    """`draw` gives a shape, or a list of them for an operation on a list, and options."""

    def case(d: Draw) -> Case:
        shape, options = draw(d)
        return Case(([d.values(s) for s in shape] if isinstance(shape, list) else d.values(shape),), options)

    return Domain(case, expect, complex=True)


def per_case(*cases: tuple[Any, dict[str, Any]], expect: Any = None) -> Domain:
    """Shapes with options that fit them, one a corner."""
    return moving(lambda d: d.each(cases), expect)
