"""Running sums and products, sorting and order statistics, gather and scatter, writes, repetitions, windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .core import PICKS, tied
from .draw import Case, Domain, Draw, per_case

LINES: list[Any] = [  # shape, axis to run along
    ((3,), 0), ((2, 3), -1), ((4,), None), ((3, 2), 0), ((0,), 0), ((2, 1, 3), 1), ((5,), -1), ((2, 0, 3), 2),
    ((2, 4, 2), -2),
]  # fmt: skip


def scan(values: Callable[..., Any], expect: Any, complex: bool = False, initial: bool = False) -> Domain:
    def draw(d: Draw) -> Case:
        shape, axis = d.each(LINES)
        options = {"include_initial": d.one([False, True])} if initial else {}
        return Case((values(d, shape),), {"axis": axis, **options})

    return Domain(draw, expect, complex)


def headed(run: Any, first: float) -> Any:
    def expect(x: Any, axis: Any, include_initial: bool) -> Any:
        y, axis = run(x, axis=axis), axis or 0
        return np.insert(y, 0, first, axis=axis) if include_initial else y

    return expect


def with_zeros(d: Draw, shape: Any) -> Any:
    """Zeros among the factors, none, one or several of them a line."""
    return np.where(d.random.random(shape) < d.one([0, 0.3, 0.6]), 0, d.values(shape))


def running(extreme: Any, axis_of: Callable[..., Any] | None = None) -> Any:
    def expect(x: Any, axis: Any) -> Any:
        return extreme.accumulate(x, axis=axis or 0)

    return expect


def last_place(extreme: Any) -> Any:
    """By brute force."""

    def places(line: Any) -> Any:
        return [max(i for i in range(k + 1) if line[i] == extreme(line[: k + 1])) for k in range(len(line))]

    def expect(x: Any, axis: Any) -> Any:
        return np.apply_along_axis(places, axis or 0, x).astype(int) if x.size else np.zeros(x.shape, int)

    return expect


def recurrence(d: Draw) -> Case:
    shape, axis = d.each([line for line in LINES if line[1] is not None])
    return Case((with_zeros(d, shape), d.values(shape)), {"axis": axis, "reverse": d.one([False, True])})


def product_adjoint(d: Draw) -> Case:
    shape, axis = d.each([line for line in LINES if line[1] is not None])
    return Case((with_zeros(d, shape), d.values(shape)), {"axis": axis})


def one_product_after_another(x: Any, u: Any, axis: int) -> Any:
    x, u = np.moveaxis(x, axis, 0), np.moveaxis(u, axis, 0)
    y = np.zeros_like(u)
    for i in range(len(x)):
        for k in range(i, len(x)):
            y[i] += u[k] * np.prod(np.delete(x[: k + 1], i, 0), axis=0)
    return np.moveaxis(y, 0, axis)


def others_of(d: Draw) -> Case:
    x = d.values(d.each([(3,), (2, 4), (1,), (2, 0), (0, 3), (5,)]))
    x[..., : d.one([0, 1, 2])] = 0  # with more of them nothing is left to differentiate
    return Case((x,), {})


def all_but_one(x: Any) -> Any:
    y = np.ones_like(x)
    for i in range(x.shape[-1]):
        y[..., i] = np.prod(np.delete(x, i, -1), axis=-1)
    return y


def recurrent(a: Any, b: Any, axis: int, reverse: bool) -> Any:
    if reverse:
        a = np.roll(np.flip(a, axis), 1, axis)
        return np.flip(recurrent(a, np.flip(b, axis), axis, False), axis)
    a, b = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
    y = np.array(b)
    for k in range(1, len(y)):
        y[k] += a[k] * y[k - 1]
    return np.moveaxis(y, 0, axis)


ORDERS = [((3,), 0), ((2, 3), -1), ((4, 2), 0), ((0,), -1), ((2, 3, 2), 1), ((0, 3), 1), ((1,), 0), ((5,), -1)]


def order(values: Callable[..., Any]) -> Callable[[Draw], Case]:
    def draw(d: Draw) -> Case:
        shape, axis = d.each(ORDERS)
        return Case((values(d, shape),), {"axis": axis, "descending": d.one([False, True])})

    return draw


def ordered(x: Any, axis: int, descending: bool) -> Any:
    return -np.sort(-x, axis=axis) if descending else np.sort(x, axis=axis)


def ranks(x: Any, axis: int, descending: bool) -> Any:
    return np.argsort(-x if descending else x, axis=axis, kind="stable")


def search(d: Draw) -> Case:
    n, shape = d.each([(3, (4,)), (1, ()), (0, (2,)), (4, (2, 3)), (5, (0,))])
    return Case((np.sort(tied(d, (n,))), tied(d, shape)), {"side": d.one(["left", "right"])})


REPEATED: list[tuple[tuple[int, ...], Callable[[Draw], Any]]] = [  # that name some places twice
    ((3,), lambda d: np.array([0, 1, 0, -3])),
    ((2, 3), lambda d: (d.integers((4,), 2), slice(None, 2))),
]


def written(d: Draw) -> Case:
    shape, make = d.each([*PICKS[:1], *REPEATED, *PICKS[3:]])
    index = make(d)
    target = np.empty(shape)[index].shape
    mask = isinstance(index, np.ndarray) and index.dtype.kind == "b"  # which takes no more than its entries in a row
    forms = [target, ()] + [(1, *target)] * (not mask) + ([target[1:]] if target else [])
    return Case((d.values(shape), d.values(d.one(forms))), {"index": index})


def in_turn(x: Any, value: Any, index: Any) -> Any:
    """Entry by entry, in the order of x[index]."""
    y, places = np.array(x), np.arange(x.size).reshape(x.shape)[index]
    value = np.broadcast_to(value.reshape(value.shape[max(value.ndim - places.ndim, 0) :]), places.shape)
    for place, v in zip(places.ravel(), value.ravel(), strict=True):
        y.reshape(-1)[place] = v
    return y


def last_written(d: Draw) -> Case:
    shape, make = d.each([*REPEATED, *PICKS])
    index = make(d)
    return Case((d.values(np.empty(shape)[index].shape),), {"index": index, "shape": shape})


def only_last(u: Any, index: Any, shape: Any) -> Any:
    places = np.arange(int(np.prod(shape))).reshape(shape)[index].ravel()
    keep = [places[k] not in places[k + 1 :] for k in range(len(places))]
    return u * np.reshape(keep, u.shape) if u.size else u


WINDOWS: list[Any] = [  # shape, axis, size, step
    ((5,), 0, 3, 1), ((5,), -1, 2, 2), ((2, 4), 1, 3, 1), ((6, 2), 0, 2, 3), ((3,), 0, 3, 1), ((2, 4, 2), -2, 2, 2),
    ((0, 3), 1, 2, 1), ((4,), 0, 1, 2), ((3, 0), 0, 2, 1),
]  # fmt: skip


def windows(x: Any, axis: int, size: int, step: int) -> Any:
    starts = range(0, x.shape[axis] - size + 1, step)
    return np.stack([np.moveaxis(x.take(range(s, s + size), axis), axis, -1) for s in starts], axis % x.ndim)


def overlapping(d: Draw) -> Case:
    shape, axis, size, step = d.each(WINDOWS)
    like = windows(np.empty(shape), axis, size, step)
    return Case((d.values(like.shape),), {"shape": shape, "axis": axis, "step": step})


def added(w: Any, shape: Any, axis: int, step: int) -> Any:
    out, w = np.zeros(shape, w.dtype), np.moveaxis(w, axis % len(shape), 0)
    moved = np.moveaxis(out, axis, -1)
    for k, window in enumerate(w):
        moved[..., k * step : k * step + window.shape[-1]] += window
    return out


DOMAINS: dict[str, Domain] = {
    "cumulative_sum": scan(Draw.values, headed(np.cumsum, 0), complex=True, initial=True),
    "cumulative_prod": scan(with_zeros, headed(np.cumprod, 1), complex=True, initial=True),
    "cumulative_max": scan(Draw.apart, running(np.maximum)),
    "cumulative_min": scan(Draw.apart, running(np.minimum)),
    "cumulative_argmax": scan(tied, last_place(np.max)),
    "cumulative_argmin": scan(tied, last_place(np.min)),
    "logcumsumexp": scan(
        lambda d, shape: d.values(shape, -3, 3), lambda x, axis: np.log(np.cumsum(np.exp(x), axis=axis or 0))
    ),
    "running_product_adjoint": Domain(product_adjoint, one_product_after_another, complex=True),
    "product_of_others": Domain(others_of, all_but_one, complex=True),
    "linear_recurrence": Domain(recurrence, recurrent, complex=True),
    "sort": Domain(order(Draw.apart), ordered),
    "argsort": Domain(order(tied), ranks),
    "searchsorted": Domain(search, np.searchsorted),
    "set_at": Domain(written, in_turn, complex=True),
    "last_written": Domain(last_written, only_last, complex=True),
    "roll": per_case(
        ((3,), {"shift": 1, "axis": None}), ((2, 3), {"shift": -4, "axis": None}),
        ((2, 3), {"shift": (1, 2), "axis": (0, -1)}), ((), {"shift": 2, "axis": None}),
        ((0, 2), {"shift": 1, "axis": 1}), ((2, 3), {"shift": 2, "axis": (0, 1)}),
        ((4,), {"shift": (1, -2), "axis": (0, 0)}), expect=np.roll,
    ),
    "repeat": per_case(
        ((3,), {"repeats": 2, "axis": 0}), ((2, 3), {"repeats": 3, "axis": -1}), ((), {"repeats": 2, "axis": None}),
        ((2, 2), {"repeats": 2, "axis": None}), ((2, 3), {"repeats": 0, "axis": 0}),
        ((0, 2), {"repeats": 2, "axis": 1}), ((2, 1, 3), {"repeats": 2, "axis": 1}), ((2,), {"repeats": 1, "axis": 0}),
        expect=np.repeat,
    ),
    "tile": per_case(
        ((3,), {"repetitions": 2}), ((2, 3), {"repetitions": (2, 1)}), ((), {"repetitions": (2, 2)}),
        ((2,), {"repetitions": (3, 2)}), ((2, 3), {"repetitions": (2,)}), ((2, 3), {"repetitions": (0, 2)}),
        ((0, 2), {"repetitions": (2, 2)}), ((2, 2), {"repetitions": ()}),
        expect=lambda x, repetitions: np.tile(x, repetitions),
    ),
    "unfold": per_case(*((s, {"axis": a, "size": n, "step": k}) for s, a, n, k in WINDOWS), expect=windows),
    "overlap_add": Domain(overlapping, added, complex=True),
}  # fmt: skip
