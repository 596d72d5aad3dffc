"""A line search for the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A place on the line: how far along, the value, the slope, and what else is known there (the gradient)."""

    t: float
    f: float
    slope: float
    known: Any


def cubic_minimum(a: Point, b: Point, low: float | None = None, high: float | None = None) -> float:
    """Where the cubic through two points with their slopes is least, within [low, high]; the middle if there is none.

    Source: Nocedal and Wright, "Numerical optimization", 2006, equation 3.59.
    """
    low, high = min(a.t, b.t) if low is None else low, max(a.t, b.t) if high is None else high
    if a.t > b.t:
        a, b = b, a
    if a.t == b.t:
        return (low + high) / 2
    bend = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    inside = bend * bend - a.slope * b.slope
    below = b.slope - a.slope + 2 * math.sqrt(inside) if inside >= 0 else 0.0
    if not (below and math.isfinite(below)):
        return (low + high) / 2
    t = b.t - (b.t - a.t) * ((b.slope + math.sqrt(inside) - bend) / below)
    return min(max(t, low), high)


def strong_wolfe(
    evaluate: Callable[[float], Point], start: Point, step: float, c1: float = 1e-4, c2: float = 0.9,
    smallest: float = 0.0, evaluations: int = 25, rounding: float = 0.0,
) -> tuple[Point, int]:  # fmt: skip
    """A point with f(t) ≤ f(0) + c₁ t f'(0) and |f'(t)| ≤ c₂ |f'(0)|, or the best found; and how often f was asked.

    First the step grows until a minimum lies behind it, then the bracket shrinks, both by cubic interpolation.
    `evaluate(t)` gives the Point at t. Brackets narrower than `smallest` are not searched. Values that differ by less
    than `rounding` say nothing: there the first condition is f'(t) ≤ (2 c₁ − 1) f'(0), the same for a parabola.

    Source: Nocedal and Wright, 2006, algorithms 3.5 and 3.6; Hager and Zhang, "A new conjugate gradient method with
    guaranteed descent and an efficient line search", 2005, for the condition by slopes.
    """

    def too_high(point: Point) -> bool:
        if rounding and abs(point.f - start.f) <= rounding:
            return not point.slope <= (2 * c1 - 1) * start.slope
        return not point.f <= start.f + c1 * point.t * start.slope  # what is not a number is too high as well

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    previous, point, asked = start, evaluate(step), 1
    for grown in range(evaluations):
        rising = grown > 1 and point.f >= previous.f + rounding
        if too_high(point) or rising or (point.slope >= 0 and not flat(point)):
            bracket = [previous, point]
            break
        if flat(point):
            return point, asked
        least, most = point.t + 0.01 * (point.t - previous.t), 10 * point.t
        previous, point = point, evaluate(cubic_minimum(previous, point, least, most))
        asked += 1
    else:
        return (point if point.f < start.f else start), asked

    low, high = sorted(bracket, key=lambda p: (not p.f <= math.inf, p.f))
    stuck = False
    while asked < evaluations and abs(high.t - low.t) > smallest:
        t = cubic_minimum(low, high) if math.isfinite(high.f) else (low.t + high.t) / 2
        first, last = sorted((low.t, high.t))
        margin = 0.1 * (last - first)
        near = min(last - t, t - first) < margin
        if near and (stuck or t >= last or t <= first):  # twice at an end, or on it: away from there
            t = last - margin if abs(t - last) < abs(t - first) else first + margin
            stuck = False
        else:
            stuck = near
        point = evaluate(t)
        asked += 1
        if too_high(point) or point.f >= low.f + rounding:
            high = point
            if high.f < low.f:
                low, high = high, low
        else:
            if flat(point):
                return point, asked
            if point.slope * (high.t - low.t) >= 0:
                high = low
            low = point
    return low, asked
