"""Derivatives by measurement, each with an estimate of its own error.

    F(x + h), F(x − h) for h = h₀, h₀/4, h₀/16, …
        (F(x + h) − F(x − h)) / 2h    →  F′     error in h², h⁴, …
        (F(x + h) − F(x)) / h         →  F′₊    error in h, h², …
        (F(x) − F(x − h)) / h         →  F′₋    error in h, h², …

Each row is extrapolated to h = 0 (Richardson), and of all extrapolated values the one with the smallest
estimated error is kept: what it differs from its neighbours in the table, plus the rounding noise of F over h
(Ridders 1982). The one-sided slopes tell a kink from a derivative.

    Im F(x + ih) / h              →  F′     error in h², no rounding: h = 1e-40

holds where F is real-analytic and computes with complex numbers; it is believed only where it agrees with the
differences (Squire and Trapp 1998).

Source: C. J. F. Ridders, Adv. Eng. Software 4 (1982) 75; the noise of F: J. J. Moré and S. M. Wild,
SIAM J. Sci. Comput. 33 (2011) 1292.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

RATIO = 4.0
COLUMNS = 6  # of the extrapolation table
TINY = 1e-300

# What each extrapolation divides away: even powers of h for the central row, all powers for the one-sided ones.
_POWERS = [
    np.array([[RATIO ** (2 * j)], [RATIO**j], [RATIO**j]]) for j in range(COLUMNS)
]  # fmt: skip


@dataclass
class Slope:
    """The derivative of every output along one direction; arrays with an entry an output."""

    value: Array
    bar: Array
    left: Array
    left_bar: Array
    right: Array
    right_bar: Array
    kink: Array  # where left and right differ
    jump: Array  # where F itself jumps; left and right are then the slopes on either side of the jump
    exact: Array = field(default_factory=lambda: np.zeros(0, bool))  # where the complex step was believed
    nearby: Array = field(default_factory=lambda: np.zeros(0))  # |F| around the point, and |ΔF/h|, at a medium step
    secant: Array = field(default_factory=lambda: np.zeros(0))


class _Table:
    """The extrapolations from every step size so far: central, right and left rows at once, [3, outputs]."""

    def __init__(self, size: int) -> None:
        self.best = np.full((3, size), np.nan)
        self.bars = np.full((3, size), np.inf)
        self.rows: list[Array] = []
        self.steps: list[float] = []
        self.raws: list[Array] = []
        self.noises: list[Array] = []
        self.points: list[tuple[float, float, Array, Array]] = []
        self.candidates: list[tuple[float, Array, Array]] = []  # the step size, a value, its error bar

    def restart(self) -> None:
        """A new sequence of steps; what the old one knew is kept among the candidates."""
        self.rows = []
        self.best, self.bars = np.full_like(self.best, np.nan), np.full_like(self.bars, np.inf)

    def add(self, h: float, raw: Array, noise: Array) -> None:
        previous, self.rows = self.rows, [raw]
        self.steps.append(h)
        self.raws.append(raw)
        self.noises.append(noise)
        for j, above in enumerate(previous[: COLUMNS - 1]):
            if j == 0:
                self._keep(h, raw, np.abs(raw - above) + 2 * noise)
            factor = _POWERS[j + 1]
            found = (factor * self.rows[j] - above) / (factor - 1)
            self.rows.append(found)
            self._keep(h, found, np.maximum(np.abs(found - self.rows[j]), np.abs(found - above)) + 2 * noise)

    def _keep(self, h: float, found: Array, bar: Array) -> None:
        self.candidates.append((h, found, bar))
        better = bar < self.bars
        self.best = np.where(better, found, self.best)
        self.bars = np.where(better, bar, self.bars)

    def reconsider(self) -> None:
        """Keeps of all candidates the best that no smaller step contradicts: a large step may look converged and
        know nothing of what lies close to the point."""
        order = np.argsort(self.steps)  # from the smallest step
        low, high = np.full(self.best.shape, -np.inf), np.full(self.best.shape, np.inf)
        limits: dict[float, tuple[Array, Array]] = {}
        for n, k in enumerate(order):
            h, raw, noise = self.steps[k], self.raws[k], self.noises[k]
            limits[h] = low, high
            neighbour = self.raws[order[n - 1] if n else order[min(1, len(order) - 1)]]
            width = 10 * noise + 2 * np.abs(raw - neighbour)
            known = np.isfinite(raw) & np.isfinite(width)
            low = np.where(known, np.fmax(low, raw - width), low)
            high = np.where(known, np.fmin(high, raw + width), high)
        self.best, self.bars = np.full_like(self.best, np.nan), np.full_like(self.bars, np.inf)
        for h, found, bar in self.candidates:
            low, high = limits[h]
            better = (bar < self.bars) & (found >= low - 3 * bar) & (found <= high + 3 * bar)
            self.best = np.where(better, found, self.best)
            self.bars = np.where(better, bar, self.bars)
        self.best = np.where(np.isnan(self.best), self.raws[order[0]], self.best)


class _Woke(Exception):
    """An output that seemed not to depend on the direction does, after all."""


def slope(
    evaluate: Callable[[float], tuple[Array, float]],
    center: Array,
    position: float,
    noise: Array,
    eps: float,
    output_eps: Array,
    step: Array | None = None,
) -> Slope:
    """The derivative of F(t) at t = 0.

    `evaluate(t)` gives F and the t that was really moved, after rounding; `position` is what t is added to;
    `noise` the measured rounding noise of each output, `output_eps` the precision of its dtype; `step` what the
    complex step gave, which replaces the value where the differences confirm it.
    """
    known: dict[float, tuple[Array, float]] = {}

    def remembered(t: float) -> tuple[Array, float]:
        if t not in known:
            known[t] = evaluate(t)
        return known[t]

    # most outputs of most functions do not move at all: they are not worth an extrapolation
    top = _power_of_two(0.125 * max(1.0, abs(position)))
    active = ~np.isfinite(center)
    for t in (top, -top, top / RATIO, -top / RATIO, top / RATIO**2, -top / RATIO**2):
        active |= remembered(t)[0] != center
    if step is not None:
        active |= step != 0
    try:
        return _spread(remembered, center, position, noise, eps, output_eps, step, active, top)
    except _Woke:
        return _spread(remembered, center, position, noise, eps, output_eps, step, np.ones_like(active), top)


def _spread(
    evaluate: Callable[[float], tuple[Array, float]],
    center: Array,
    position: float,
    noise: Array,
    eps: float,
    output_eps: Array,
    step: Array | None,
    active: Array,
    top: float,
) -> Slope:
    """The slope of the active outputs; zero for the others."""
    if active.all():
        return _slope(evaluate, center, position, noise, eps, output_eps, step)

    def among(t: float) -> tuple[Array, float]:
        values, moved = evaluate(t)
        if (values != center)[~active].any():
            raise _Woke
        return values[active], moved

    zero, off = np.zeros(center.size), np.zeros(center.size, bool)
    bar = 2 * np.maximum(noise, output_eps * np.abs(center)) / top
    whole = Slope(
        zero, bar, zero.copy(), 2 * bar, zero.copy(), 2 * bar, off, off.copy(), np.full(center.size, step is not None),
        np.abs(center), zero.copy(),
    )  # fmt: skip
    if active.any():
        part = _slope(
            among,
            center[active],
            position,
            noise[active],
            eps,
            output_eps[active],
            None if step is None else step[active],
            float(np.max(np.abs(center), initial=0.0, where=np.isfinite(center))),
        )
        for name, found in vars(part).items():
            getattr(whole, name)[active] = found
    return whole


def _slope(
    evaluate: Callable[[float], tuple[Array, float]],
    center: Array,
    position: float,
    noise: Array,
    eps: float,
    output_eps: Array,
    step: Array | None = None,
    scale: float | None = None,
) -> Slope:
    """The slope of outputs that move; the arguments are those of `slope`. `scale` is the size of all outputs."""
    at = abs(position)
    top = _power_of_two(0.125 * max(1.0, at))
    floor = max(8 * eps * at, 2.0**-56 if eps < 1e-10 else 16 * eps * max(at, 2.0**-10))
    near = 2.0**-1000 < at < 2.0**-16  # structure on the scale of the position itself
    base = np.maximum(noise, output_eps * np.abs(center))
    alive = np.isfinite(center)
    target = 1e-10 if step is None else 1e-6
    table = _Table(center.size)
    nearby, secant = np.abs(center), np.zeros(center.size)
    moves: list[Array] = []  # how far F goes with each step
    whole = np.max(np.abs(center), initial=0.0, where=np.isfinite(center)) if scale is None else scale

    def measure(h: float) -> bool:
        plus, up = evaluate(h)
        minus, down = evaluate(-h)
        if up == 0 or down == 0:
            return False
        raw = np.stack([(plus - minus) / (up - down), (plus - center) / up, (center - minus) / -down])
        rounding = np.maximum(base, output_eps * np.maximum(np.abs(plus), np.abs(minus)))
        rounding = np.where(np.isfinite(rounding), rounding, base) / h
        table.points.append((up, down, plus, minus))
        moves.append(np.nan_to_num(np.maximum(np.abs(plus - center), np.abs(minus - center)), posinf=0.0))
        table.add(h, raw, np.stack([rounding, 2 * rounding, 2 * rounding]))
        return True

    def wild() -> Array:
        """Where smaller steps do not move F less: it turns faster than the steps can follow."""
        most = np.max(moves, axis=0)
        resolved = (moves[-1] <= 0.125 * most) & (moves[-1] <= 0.6 * moves[-2])
        size = np.maximum(most, nearby)  # what was taken for noise may be such turns too
        size = np.where(size > 1000 * output_eps * whole, size, np.inf)  # but not the rounding of far larger outputs
        return alive & np.where(
            base > 1e-3 * size, base > 1000 * output_eps * size, ~resolved & (moves[-1] > 100 * base)
        )

    def ladder(start: float, count: int, lowest: float) -> bool:
        table.restart()
        for k in range(count):
            h = start / RATIO**k
            if h < lowest or not measure(h):
                break
            if k == 2:
                _, _, plus, minus = table.points[-1]
                np.fmax(nearby, np.fmax(np.abs(plus), np.abs(minus)), out=nearby)
                np.fmax(secant, np.nan_to_num(np.abs(table.raws[-1]), posinf=0.0).max(axis=0), out=secant)
            if k >= 2 and _settled(table, base / start, alive, target) and not wild().any():
                return True
        return False

    settled = ladder(top, 12 if near else 40, floor)
    if settled and not (believed := _believe(table, step)).all():
        # one look from close by: what a large step shows smooth may be a staircase, or a bend beside the point
        h = _power_of_two(max(2.0**-26, eps**0.5) * max(1.0, at))
        if h < table.steps[-1]:
            table.rows = []
            measure(h)
            seen, rounding = table.raws[-1][0], table.noises[-1][0]
            gap = np.abs(seen - table.best[0])
            strange = gap > 20 * rounding + 10 * table.bars[0] + 1e-4 * np.maximum(np.abs(seen), secant)
            settled = not (strange & alive & ~believed).any()
            if not settled:
                ladder(table.steps[-2] / RATIO, 40, floor)
    if near and not settled:
        ladder(_power_of_two(0.125 * at), 17, 0.0)
    if not settled or len(table.steps) > 8:
        table.reconsider()
    found = _judged(table, alive)
    found.bar = np.where(len(moves) > 1 and wild() & ~found.kink, np.inf, found.bar)
    found.nearby, found.secant = nearby, secant
    found.exact = _believe(table, step) & ~found.kink
    if step is not None:
        found.bar = np.where(found.exact & (step != 0), 1e-13 * np.abs(step), found.bar)
        found.value = np.where(found.exact, step, found.value)
    return found


def _believe(table: _Table, step: Array | None) -> Array:
    """Where the complex step may stand for the differences: they are sharp, and it agrees."""
    value, bar = table.best[0], table.bars[0]
    if step is None:
        return np.zeros(value.shape, bool)
    agree = (bar <= 1e-3 * np.abs(step)) & (np.abs(step - value) <= 10 * bar + 1e-9 * np.abs(step))
    return np.asarray(np.isfinite(step) & (agree | ((step == 0) & (value == 0))))


def _power_of_two(x: float) -> float:
    return 2.0 ** math.floor(math.log2(x))


def _differ(best: Array, bars: Array) -> Array:
    _, right, left = best
    allowed = 10 * (bars[1] + bars[2]) + 1e-5 * np.maximum(np.abs(right), np.abs(left))
    return np.abs(right - left) > allowed


def _settled(table: _Table, first_noise: Array, alive: Array, target: float) -> bool:
    """Whether smaller steps can tell nothing more, about any output."""
    best, bars, raw, rounding = table.best, table.bars, table.raws[-1], table.noises[-1]
    # the value is good enough, or the noise grows beyond what is known already
    goal = np.array([[target], [max(target, 1e-5)], [max(target, 1e-5)]])
    largest = np.abs(best).max(axis=0)
    good = (bars <= goal * largest) | (bars <= 16 * first_noise) | ((raw == 0) & (best == 0))
    good |= (rounding >= bars) & ((rounding >= 0.1 * np.abs(raw)) | (bars <= 1e-3 * np.abs(best)))
    # a kink near the point may still turn out to be beside it
    kink = _differ(best, bars) & (rounding[0] < 1e-3 * np.abs(best[1] - best[2]))
    lost = np.isnan(best[1]) | np.isnan(best[2])
    return bool((~alive | (good.all(axis=0) & ~kink & ~lost)).all())


def _judged(table: _Table, alive: Array) -> Slope:
    value, right, left = table.best.copy()
    bar, right_bar, left_bar = table.bars.copy()
    jump = np.zeros(value.shape, bool)
    largest = np.nan_to_num(np.abs(table.best)).max(axis=0)
    unsure = alive & (
        ~(right_bar <= 1e-3 * np.abs(right) + 1e-12 * largest) | ~(left_bar <= 1e-3 * np.abs(left) + 1e-12 * largest)
    )
    order = [int(k) for k in np.argsort(table.steps)[::-1]]
    for i in np.flatnonzero(unsure):
        noise = [float(table.noises[k][1, i]) for k in order]
        for row, side, side_bar in ((1, right, right_bar), (2, left, left_bar)):
            if not side_bar[i] <= 1e-3 * abs(side[i]):
                found = _divergence([float(table.raws[k][row, i]) for k in order], noise)
                if found is not None:
                    side[i], jumps = found
                    side_bar[i] = 0.0
                    jump[i] |= jumps
        if jump[i]:
            for row, side, side_bar in ((0, right, right_bar), (1, left, left_bar)):
                if math.isinf(side[i]):
                    points = [_point(table.points[k], row, int(i)) for k in order]
                    side[i], side_bar[i] = _beside(points, noise)
    one_sided = np.isnan(left) ^ np.isnan(right)
    kink = jump | _differ(np.stack([value, right, left]), np.stack([bar, right_bar, left_bar]))
    kink |= np.isinf(right) | np.isinf(left) | one_sided
    # where the sides know nothing, a central value that looks exact is a symmetry, not knowledge
    spread = right_bar + left_bar
    blind = ~kink & (spread > 0.1 * largest) & (spread > 1000 * bar)
    bar = np.where(blind, spread, bar)
    return Slope(value, bar, left, left_bar, right, right_bar, kink & alive, jump)


def _divergence(raw: list[float], noise: list[float]) -> tuple[float, bool] | None:
    """(±inf, whether F jumps) if difference quotients grow without bound as the step shrinks."""
    found = [r for r in zip(raw, noise, strict=True) if math.isfinite(r[0])]
    grown = [(b[0] - a[0], b[1]) for a, b in pairwise(found)]
    while grown and 50 * grown[-1][1] >= max(abs(g) for g, _ in grown[-3:]):  # nothing but noise
        grown.pop()
    tail = [g for g, _ in grown[-6:]]
    if len(tail) < 6 or 0 in tail or len({g > 0 for g in tail}) > 1:
        return None
    ratios = [b / a for a, b in pairwise(tail)]
    if min(ratios) < 0.95:
        return None
    return math.copysign(math.inf, tail[-1]), min(ratios) > RATIO**0.95


def _point(entry: tuple[float, float, Array, Array], row: int, i: int) -> tuple[float, float]:
    """(t, F(t)) of output i, to the right (row 0) or to the left."""
    up, down, plus, minus = entry
    return (down, float(minus[i])) if row else (up, float(plus[i]))


def _beside(points: list[tuple[float, float]], noise: list[float]) -> tuple[float, float]:
    """The slope on one side of a jump, from points (t, F(t)) of that side alone."""
    best, bar = math.nan, math.inf
    previous: list[float] = []
    for k, ((t, f), (s, g)) in enumerate(pairwise(points)):
        rows = [(f - g) / (t - s)]
        for j, above in enumerate(previous[: COLUMNS - 1]):
            factor = RATIO ** (j + 1)
            rows.append((factor * rows[j] - above) / (factor - 1))
            error = max(abs(rows[-1] - rows[j]), abs(rows[-1] - above)) + 4 * noise[k + 1]
            if error < bar:
                best, bar = rows[-1], error
        previous = rows
    return best, bar


def noise_of(evaluate: Callable[[float], Array], center: Array) -> Array:
    """The rounding noise of each output, by differences of values at seven nearly equal points.

    Each side of the point is taken by itself and the quieter one believed, so that a kink is not noise. The
    spacing grows until the values differ at all, so that a coarse F (float32 inside) is found out.
    """
    found = np.zeros(center.size)
    quantum = np.zeros(center.size)  # the first step seen in values that stood still at a smaller spacing
    open_ = np.isfinite(center)
    for spacing in (1e-12, 1e-10, 1e-8, 1e-6):
        if not open_.any():
            break
        step = 1.2345 * spacing  # on no grid of F's own
        sides, moved = [], np.zeros(center.size, bool)
        for sign in (1.0, -1.0):
            values = [evaluate(sign * step * k) for k in range(1, 9)]
            table = np.stack(values)
            with np.errstate(all="ignore"):
                changes = np.abs(np.diff(table, axis=0))
                moved |= (changes != 0).sum(axis=0) >= 4
                least = np.where(changes > 0, changes, np.inf).min(axis=0)
                first = (quantum == 0) & np.isfinite(least) & (spacing > 1e-12)
                quantum = np.where(first, least, quantum)
                estimates = []
                for order in range(1, 7):
                    table = np.diff(table, axis=0)
                    if order >= 4:
                        gamma = math.factorial(order) ** 2 / math.factorial(2 * order)
                        estimates.append(np.sqrt(gamma * np.mean(table**2, axis=0)))
                sides.append(np.max(estimates, axis=0))
        with np.errstate(all="ignore"):
            quiet = np.fmin(*sides)
        quiet = np.where(np.isfinite(quiet), quiet, 0.0)
        found = np.where(open_ & moved, np.maximum(2 * quiet, quantum), found)
        open_ &= ~moved
    return found
