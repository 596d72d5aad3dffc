"""Whole sequences through recurrent cells, against a plain loop over sequences and steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit

from .draw import Case, Domain, Draw

RUNS: list[Any] = [  # steps, batch, features, hidden, sizes
    (2, 2, 1, 1, None), (1, 1, 2, 1, None), (2, 1, 1, 2, None), (2, 2, 1, 1, (2, 1)), (2, 0, 1, 1, None),
    (3, 1, 1, 1, None), (2, 2, 1, 1, (1, 1)), (1, 2, 0, 1, None), (3, 2, 1, 1, (2, 1, 0)),
]  # fmt: skip


def sequences(gates: int, states: int, biases: int, **options: list[Any]) -> Callable[[Draw], Case]:
    def draw(d: Draw) -> Case:
        steps, batch, features, hidden, sizes = d.each(RUNS)
        rows = gates * hidden
        shapes = [(steps, batch, features), *[(batch, hidden)] * states, (rows, features), (rows, hidden)]
        shapes += [(rows,)] * (biases * d.one([True, True, False]))
        drawn = {o: d.one(c) for o, c in options.items()}
        return Case(
            ([d.values(s, -1.2, 1.2) for s in shapes],), {**drawn, "reverse": d.one([False, True]), "sizes": sizes}
        )

    return draw


def walk(x: Any, states: list[Any], reverse: bool, sizes: Any, step: Callable[..., tuple[list[Any], list[Any]]]) -> Any:
    """One sequence after another: `step` gives the next states, and what else is wanted of a step that is taken or
    not."""
    steps, batch, _ = x.shape
    found: list[Any] = [[None] * batch for _ in range(steps)]
    for b in range(batch):
        now = [s[b] for s in states]
        for t in reversed(range(steps)) if reverse else range(steps):
            new, others = step(x[t, b], now)
            now = new if sizes is None or b < sizes[t] else now
            found[t][b] = [*now, *others]
    if not batch:
        new, others = step(np.ones(x.shape[2]), [np.ones(s.shape[1]) for s in states])
        return tuple(np.ones((steps, 0, len(v))) for v in [*new, *others])
    return tuple(np.array([[row[k] for row in line] for line in found]) for k in range(len(found[0][0])))


def side(w: Any, v: Any, b: Any) -> Any:
    return w @ v + b


def lstm(arrays: list[Any], reverse: bool, sizes: Any) -> Any:
    x, h0, c0, w_ih, w_hh, *b = arrays

    def step(v: Any, state: list[Any]) -> Any:
        h, c = state
        i, f, u, o = np.split(side(w_ih, v, 0) + side(w_hh, h, sum(b)), 4)
        new = expit(f) * c + expit(i) * np.tanh(u)
        return [expit(o) * np.tanh(new), new], [expit(np.concatenate([o, i, f])), np.tanh(u)]

    return walk(x, [h0, c0], reverse, sizes, step)


def gru(arrays: list[Any], reverse: bool, sizes: Any) -> Any:
    x, h0, w_ih, w_hh, *b = arrays

    def step(v: Any, state: list[Any]) -> Any:
        (h,) = state
        left, right = np.split(side(w_ih, v, b[0] if b else 0), 3), np.split(side(w_hh, h, b[1] if b else 0), 3)
        r, z = expit(left[0] + right[0]), expit(left[1] + right[1])
        u = np.tanh(left[2] + r * right[2])
        return [(1 - z) * u + z * h], [np.concatenate([r, z]), u, right[2]]

    return walk(x, [h0], reverse, sizes, step)


def rnn(arrays: list[Any], nonlinearity: str, reverse: bool, sizes: Any) -> Any:
    x, h0, w_ih, w_hh, *b = arrays
    bend = np.tanh if nonlinearity == "tanh" else lambda v: np.maximum(v, 0)
    (h,) = walk(x, [h0], reverse, sizes, lambda v, s: ([bend(side(w_ih, v, 0) + side(w_hh, s[0], sum(b)))], []))
    return h


def away_from_the_kink(draw: Callable[[Draw], Case]) -> Callable[[Draw], Case]:
    """Drawn anew until no unit is near relu's kink at any step."""

    def again(d: Draw) -> Case:
        while True:
            case = draw(d)
            if case.options["nonlinearity"] == "tanh" or _clear(case.arguments[0], case.options):
                return case

    return again


def _clear(arrays: list[Any], options: dict[str, Any]) -> bool:
    x, h0, w_ih, w_hh, *b = arrays
    near = []

    def step(v: Any, state: list[Any]) -> Any:
        gate = side(w_ih, v, 0) + side(w_hh, state[0], sum(b))
        near.append(float(np.min(np.abs(gate))))
        return [np.maximum(gate, 0)], []

    walk(x, [h0], options["reverse"], options["sizes"], step)
    return min(near) > 0.1


DOMAINS: dict[str, Domain] = {
    "lstm_sequence": Domain(sequences(4, 2, 1), lstm),
    "gru_sequence": Domain(sequences(3, 1, 2), gru),
    "rnn_sequence": Domain(away_from_the_kink(sequences(1, 1, 1, nonlinearity=["tanh", "relu"])), rnn),
}
