"""check: the derivatives of a function against measured ones, every element of the Jacobian."""

from __future__ import annotations

import difflib
import functools
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import DTypeError, NoRuleError, OptionError
from . import tally
from .numeric import Slope, noise_of, slope
from .report import SYMBOLS, VERDICTS, Element, Report
from .subject import Array, Misfit, Subject, require_scalar, to_host

LARGEST = 4_000_000  # elements of a Jacobian that is checked as a whole
RELATIVE = 1e-8  # what an analytic value may be off in any case, of its own size
SAFETY = 5  # error bars are estimates
_OPTIONS = ("vjp", "jvp", "jacobian", "tolerance", "directions", "method")
_METHODS = ("auto", "complex step", "differences")
_PASS, _KINK, _UNDECIDABLE, _FAIL = range(4)  # VERDICTS' order


def check(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 1,
    modes: Sequence[str] = ("reverse", "forward"),
    gradient: Callable[..., Any] | None = None,
    argnums: int | Sequence[int] | None = None,
    elements: str = "all",
    seed: int = 0,
    **options: Any,
) -> Report:
    """Compares the derivatives of f at the inputs with measured ones, and says how far that can be trusted.

    f is a function on Tensors, differentiated by this library; or any callable on arrays, with its derivative
    beside it: `gradient=df` for a scalar f (one array for each differentiated input), or `jacobian=`, `vjp=`
    (called with the inputs and a cotangent) or `jvp=` (called with the inputs and a tangent for each).
    Floating-point and complex inputs are differentiated by, all of them or those that `argnums` names; others
    are passed through. A complex number counts as the pair of its real and imaginary part.

    Every element of the Jacobian is measured and compared. `elements="projection"` compares sums over random
    signs in `directions` (16) directions instead, and the report says what that may hide. `order=2` or 3 goes on
    with the derivatives of the gradient. `tolerance` (1e-8) is the relative error that is let pass at least;
    `method` may be "complex step" or "differences" instead of "auto".

    The report's verdict is "pass", "fail", "kink" (the one-sided slopes differ) or "undecidable" (the numeric
    side is too uncertain); it is true if all is well: a pass, or kinks with the analytic value among the slopes.

    Raises: OptionError, DTypeError, ShapeError for a call that makes no sense. A wrong gradient raises nothing;
    `check(...).raise_if_failed()` does.

    >>> import tinygrad_mlsp as tg
    >>> check(lambda x: (x * x).sum(), [1.0, 2.0]).verdict
    'pass'
    >>> check(np.sum, np.ones(3), gradient=lambda x: 2 * x).worst.numeric
    1.0
    """
    start = time.perf_counter()
    settings = _settings(order, modes, elements, seed, options)
    given = {name: options.get(name) for name in ("vjp", "jvp", "jacobian")}
    subject = Subject(f, inputs, gradient, argnums, **given)
    if order > 1 and not subject.ours:
        raise OptionError(
            f"check: order={order} differentiates the gradient again, which needs a function on Tensors without "
            "gradient=; check the derivative itself as a function instead: check(df, x, jacobian=d2f)"
        )
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        report = _all_orders(subject, settings)
    report.seconds = time.perf_counter() - start
    tally.note("check", report)
    return report


@dataclass
class _Settings:
    order: int
    modes: tuple[str, ...]
    projection: bool
    generator: np.random.Generator
    tolerance: float
    directions: int
    method: str


def _settings(order: Any, modes: Any, elements: Any, seed: Any, options: dict[str, Any]) -> _Settings:
    for name in options:
        if name not in _OPTIONS:
            near = difflib.get_close_matches(name, [*_OPTIONS, "order", "modes", "gradient", "argnums", "elements"], 1)
            hint = f"; did you mean {near[0]}?" if near else f"; it knows {', '.join(_OPTIONS)}"
            raise OptionError(f"check: no option {name!r}{hint}")
    if isinstance(order, bool) or not isinstance(order, int) or not 1 <= order <= 3:
        raise OptionError(f"check: order is 1, 2 or 3, not {order!r}")
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if not modes or any(mode not in ("reverse", "forward") for mode in modes):
        raise OptionError(f"check: modes are 'reverse' and 'forward', not {modes!r}")
    if elements not in ("all", "projection"):
        raise OptionError(f"check: elements is 'all' or 'projection', not {elements!r}")
    method = options.get("method", "auto")
    if method not in _METHODS:
        raise OptionError(f"check: method is one of {', '.join(map(repr, _METHODS))}, not {method!r}")
    tolerance, directions = options.get("tolerance", RELATIVE), options.get("directions", 16)
    if not isinstance(tolerance, (int, float)) or not 0 < tolerance < 1:
        raise OptionError(f"check: tolerance is a relative error between 0 and 1, not {tolerance!r}")
    if isinstance(directions, bool) or not isinstance(directions, int) or directions < 1:
        raise OptionError(f"check: directions is a whole number from 1 on, not {directions!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise OptionError(f"check: seed is a whole number, not {seed!r}")
    generator = np.random.default_rng(seed)
    return _Settings(order, modes, elements == "projection", generator, float(tolerance), directions, method)


def _all_orders(subject: Subject, settings: _Settings) -> Report:
    found: list[_Outcome] = []
    current, evaluations = subject, 0
    for order in range(1, settings.order + 1):
        outcome = _Check(current, settings, order).run()
        found.append(outcome)
        evaluations += current.evaluations
        if outcome.reason or order == settings.order or not outcome.outputs:
            break
        both = not any(note.startswith("reverse mode only") for note in outcome.notes)
        if (
            order == 1 and "forward" in settings.modes and both
        ):  # reverse over forward: what the tangents' own rules make of it
            tangent = subject.derived(outcome.outputs, settings.generator, forward=True)
            found.append(_Check(tangent, replace(settings, modes=("reverse",)), 2).run())
            evaluations += tangent.evaluations
        current = current.derived(outcome.outputs, settings.generator)
    return _report(subject, settings, found, evaluations)


@dataclass
class _Outcome:
    """What the check of one order found."""

    verdict: int = _PASS
    ok: bool = True
    reason: str = ""  # what decides it without looking at an element
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    ranked: list[tuple[float, Element]] = field(default_factory=list)  # how bad, and what
    method: str = ""
    notes: list[str] = field(default_factory=list)
    outputs: list[Array] = field(default_factory=list)
    disagreement: float | None = None
    grid: list[str] = field(default_factory=list)


class _Check:
    """One order of one subject."""

    def __init__(self, subject: Subject, settings: _Settings, order: int) -> None:
        self.subject, self.settings, self.order = subject, settings, order
        self.outcome = _Outcome()
        self.troubles: dict[str, None] = {}

    def run(self) -> _Outcome:
        subject, outcome = self.subject, self.outcome
        self.native = subject.values()
        outcome.outputs = self.native
        require_scalar(subject, self.native)
        for leaf in subject.leaves:
            if not np.isfinite(leaf.array).all():
                where = [int(k) for k in np.argwhere(~np.isfinite(leaf.array))[0]]
                return self._decide(
                    _UNDECIDABLE, f"input {leaf.name} is not finite at {where}; a derivative needs a finite point"
                )
        unchanged = all(_same(leaf.array, _host(leaf.original)) for leaf in subject.leaves)
        if not unchanged:
            return self._decide(_FAIL, f"{subject.function} changes its inputs, so their gradient means nothing")
        drift = self._drift()
        if outcome.reason:
            return outcome
        self._choose_precision()
        self.center = _flat(self.wide_outputs)
        self.entries = [
            (leaf, k, part)
            for leaf, array in enumerate(self.arrays)
            for k in range(array.size)
            for part in range(1 + (array.dtype.kind == "c"))
        ]
        rows, columns = self.center.size, len(self.entries)
        if rows * columns > LARGEST and not self.settings.projection:
            raise OptionError(
                f"check: the Jacobian of {subject.function} has {rows} × {columns} elements, which is too many to "
                'measure one by one; use elements="projection"'
            )
        if not rows or not columns:
            return self._nothing(rows, columns)
        self._prepare_directions()
        try:
            analytic = self._all_analytic()
            if self._gradient_drifts(analytic):
                return outcome
            wide = {}
            if self.widened:
                wide = {f"{mode}, {self.precision}": self._analytic(mode, self.arrays) for mode in analytic}
        except Misfit as problem:
            return self._decide(_FAIL, str(problem))
        self.measured = self._measure(drift)
        self._compare(analytic, wide)
        return outcome

    def _all_analytic(self) -> dict[str, Array]:
        """Every mode that there is; an operation that is declared for one direction only is checked in that."""
        found, wanted = {}, self.subject.modes(self.settings.modes)
        for mode in wanted:
            try:
                found[mode] = self._analytic(mode, None)
            except NoRuleError as problem:
                if mode != "forward" or len(wanted) == 1:
                    raise
                self.outcome.notes.append(f"reverse mode only was checked ({problem})")
        return found

    def _decide(self, verdict: int, reason: str) -> _Outcome:
        self.outcome.verdict, self.outcome.ok, self.outcome.reason = verdict, False, reason
        return self.outcome

    # What stands before the numbers

    def _drift(self) -> Array:
        """How far two evaluations at the same inputs differ."""
        again = self.subject.values()
        first, second = _flat(self.native), _flat(again)
        if [y.shape for y in again] != [y.shape for y in self.native]:
            self._decide(_UNDECIDABLE, f"{self.subject.function} is not deterministic: its outputs change shape")
            return np.zeros(0)
        both = np.isfinite(first) & np.isfinite(second)
        drift = np.where(both, np.abs(first - second), 0.0)
        size = np.where(both, np.maximum(np.abs(first), np.abs(second)), 0.0).max(initial=0.0)
        eps = max([_eps(y.dtype) for y in self.native], default=0.0)
        if (np.isfinite(first) != np.isfinite(second)).any() or drift.max(initial=0.0) > 1000 * eps * size:
            self._decide(
                _UNDECIDABLE,
                f"{self.subject.function} is not deterministic: two evaluations at the same inputs differ by "
                f"{drift.max(initial=0.0):.2g}; fix its random numbers (a seed or a mask as an argument, evaluation "
                "mode), so that there is one function to differentiate",
            )
        elif drift.any():
            self.outcome.notes.append(
                f"two evaluations at the same inputs differ by {drift.max():.2g}, about its rounding; the error bars "
                "count it in"
            )
        return drift

    def _gradient_drifts(self, analytic: dict[str, Array]) -> bool:
        for mode, first in analytic.items():
            second = self._analytic(mode, None, only=1)
            at = (slice(None), slice(1)) if mode in ("forward", "jvp") else (slice(1),)
            seen = first[at] if not self.settings.projection else first[..., :1]
            both = np.isfinite(seen) & np.isfinite(second)
            size = np.abs(seen[both]).max(initial=0.0)
            difference = np.abs(seen - second)[both].max(initial=0.0)
            if difference > 1000 * self.eps_native * size:
                self._decide(
                    _FAIL,
                    f"the {mode} derivative is not deterministic: two calls with the same arguments differ by "
                    f"{difference:.2g}, while {self.subject.function} itself repeats",
                )
                return True
        return False

    def _choose_precision(self) -> None:
        """float64 for the numeric side, if f takes it; its own precision otherwise."""
        subject = self.subject
        own = [leaf.array for leaf in subject.leaves]
        dtypes = [a.dtype for a in own] + [y.dtype for y in self.native]
        self.eps_native = max([_eps(d) for d in dtypes], default=2.0**-52)
        low = [a for a in own if a.dtype.itemsize < _wide(a.dtype).itemsize]
        self.arrays, self.wide_outputs, self.widened = own, self.native, False
        if low:
            wide = [a.astype(_wide(a.dtype)) for a in own]
            try:
                held = all(_host(x).dtype == a.dtype for x, a in zip(subject.objects(wide), wide))
                outputs = subject.values(wide) if held else []
                if held and [y.shape for y in outputs] == [y.shape for y in self.native]:
                    self.arrays, self.wide_outputs, self.widened = wide, outputs, True
                else:
                    self.outcome.notes.append(f"{subject.function} does not take float64; measured in its own dtype")
            except Exception as problem:
                self.outcome.notes.append(
                    f"{subject.function} does not take float64 ({type(problem).__name__}); measured in its own dtype"
                )
        self.eps_inputs = max(_eps(a.dtype) for a in self.arrays)
        self.eps_outputs = np.concatenate(
            [np.full(y.size * (1 + (y.dtype.kind == "c")), _eps(y.dtype)) for y in self.wide_outputs] or [np.zeros(0)]
        )
        worst = float(self.eps_outputs.max(initial=0.0))
        self.precision = {2.0**-52: "float64", 2.0**-23: "float32", 2.0**-10: "float16"}.get(
            max(worst, self.eps_inputs), "the widest dtype"
        )
        if worst > 2.0**-50 and self.widened:
            self.outcome.notes.append(
                f"{subject.function} returns {self.precision} even for float64 inputs, so the measurement is as coarse"
            )

    def _nothing(self, rows: int, columns: int) -> _Outcome:
        """Zero-size inputs or outputs: the shapes are all that can be wrong."""
        subject = self.subject
        if not self.native:
            raise DTypeError(
                f"check: {subject.function} returns no floating-point number, so there is nothing to check"
            )
        self.outcome.notes.append(f"{subject.function} has zero-size inputs or outputs: only shapes were checked")
        try:
            for mode in subject.modes(self.settings.modes):
                if mode == "jacobian":
                    subject.matrix(None, self.native[0].shape)
                elif mode in ("forward", "jvp"):
                    moved = subject.pusher(mode, None)([np.zeros_like(leaf.array) for leaf in subject.leaves])
                    if [t.shape for t in moved] != [y.shape for y in self.native]:
                        raise Misfit(f"{mode} returned other shapes than {subject.function}")
                elif self.native:
                    for g in subject.puller(mode, None)([np.ones_like(y) for y in self.native]):
                        if g.size and np.any(g != 0) and not rows:
                            raise Misfit(f"{mode} is not zero, though there is no output it could come from")
        except Misfit as problem:
            return self._decide(_FAIL, str(problem))
        return self.outcome

    # Directions: the unit vectors, or random signs

    def _prepare_directions(self) -> None:
        rows, columns = self.center.size, len(self.entries)
        if self.settings.projection:
            count, generator = self.settings.directions, self.settings.generator
            self.tangents = generator.choice([-1.0, 1.0], (count, columns))
            self.cotangents = generator.choice([-1.0, 1.0], (count, rows))
            with np.errstate(all="ignore"):
                self.center = np.concatenate([self.center, self.cotangents @ self.center])
            self.eps_outputs = np.concatenate([self.eps_outputs, np.full(count, self.eps_outputs.max())])
        self.rows = rows

    def _moved(self, column: int, t: float) -> tuple[list[Array], float]:
        """The inputs moved along a direction, and how far they really moved."""
        if self.settings.projection:
            return self._along(self.tangents[column] * t), t
        leaf, k, part = self.entries[column]
        arrays = list(self.arrays)
        arrays[leaf] = array = np.array(arrays[leaf], order="C")
        real = _real(array)
        place = k * (2 if array.dtype.kind == "c" else 1) + part
        before = float(real[place])
        real[place] = before + t
        return arrays, float(real[place]) - before

    def _along(self, step: Array) -> list[Array]:
        arrays, at = [], 0
        for array in self.arrays:
            array = np.array(array, order="C")
            real = _real(array)
            real += step[at : at + real.size].astype(real.dtype)
            at += real.size
            arrays.append(array)
        return arrays

    def _evaluate(self, arrays: list[Array]) -> Array:
        try:
            found = _flat(self.subject.values(arrays))
        except Exception as problem:
            self.troubles[f"{self.subject.function} raised {type(problem).__name__} at nearby inputs: {problem}"] = None
            return np.full(self.center.size, np.nan)
        if found.size != self.rows:
            self.troubles[f"{self.subject.function} returns other shapes at nearby inputs"] = None
            return np.full(self.center.size, np.nan)
        if self.settings.projection:
            found = np.concatenate([found, self.cotangents @ found])
        return found

    # The numeric side

    def _measure(self, drift: Array) -> Slope:
        columns = self.settings.directions if self.settings.projection else len(self.entries)
        positions = [self._position(j) for j in range(columns)]
        sizes = np.abs(_flat(self.arrays))
        probe = np.where(sizes > 0, sizes, 1.0) * np.random.default_rng(1).uniform(0.5, 1.0, sizes.size)
        noise = noise_of(lambda t: self._evaluate(self._along(probe * t)), self.center)
        noise[: self.rows] = np.maximum(noise[: self.rows], drift)
        self.noise = noise
        steps = self._complex_steps(columns)
        slopes = []
        for j in range(columns):

            def evaluate(t: float, j: int = j) -> tuple[Array, float]:
                arrays, moved = self._moved(j, t)
                return self._evaluate(arrays), moved

            step = None if steps is None else steps[j]
            slopes.append(slope(evaluate, self.center, positions[j], noise, self.eps_inputs, self.eps_outputs, step))
        self.positions = np.abs(np.array(positions))
        measured = Slope(**{name: np.stack([getattr(s, name) for s in slopes], axis=-1) for name in vars(slopes[0])})
        self._describe_method(measured.exact)
        return measured

    @functools.cached_property
    def _steepest(self) -> Array:
        """Of outputs whose slopes along mixed directions are not what their slopes along the axes add up to, and which
        therefore have no gradient here (the median of three equal numbers), the largest such slope; −1 for others."""
        m, generator = self.measured, np.random.default_rng(3)
        matrix, bars = np.nan_to_num(m.value), np.nan_to_num(m.bar, posinf=0.0)
        found = np.full(self.center.size, -1.0)
        for _ in range(4):
            signs = generator.choice([-1.0, 1.0], len(self.entries))

            def evaluate(t: float, signs: Array = signs) -> tuple[Array, float]:
                return self._evaluate(self._along(signs * t)), t

            mixed = slope(evaluate, self.center, 1.0, self.noise, self.eps_inputs, self.eps_outputs)
            size = np.fmax(np.abs(mixed.left), np.abs(mixed.right))
            gap = np.abs(mixed.value - matrix @ signs)
            beyond = gap > 1e-3 * size + 10 * (mixed.bar + bars.sum(axis=1))
            found = np.where(beyond & np.isfinite(size), np.fmax(found, size * (1 + 1e-6)), found)
        return found

    def _position(self, column: int) -> float:
        if self.settings.projection:
            return 1.0
        leaf, k, part = self.entries[column]
        array = self.arrays[leaf]
        return float(np.array(array, order="C").reshape(-1).view(_real_dtype(array.dtype))[
            k * (2 if array.dtype.kind == "c" else 1) + part
        ])  # fmt: skip

    def _complex_steps(self, columns: int) -> list[Array] | None:
        """Im F(x + ih)/h for every direction; None where f is not made for it. Believed only after comparison."""
        real = all(a.dtype == np.float64 for a in self.arrays) and all(y.dtype == np.float64 for y in self.wide_outputs)
        if self.settings.method == "differences" or not real:
            if self.settings.method == "complex step":
                self.outcome.notes.append("no complex step: inputs and outputs must be real and float64 (or lower)")
            return None
        steps = []
        for j in range(columns):
            h = 1e-40
            arrays = [a.astype(complex) for a in self.arrays]
            if self.settings.projection:
                at = 0
                for array in arrays:
                    array += 1j * h * self.tangents[j, at : at + array.size].reshape(array.shape)
                    at += array.size
            else:
                leaf, k, _ = self.entries[j]
                h *= min(1.0, abs(float(self.arrays[leaf].reshape(-1)[k]))) or 1.0
                h = max(h, 1e-200)
                arrays[leaf].reshape(-1)[k] += 1j * h
            try:
                outputs = self.subject.values(arrays)
                if [y.shape for y in outputs] != [y.shape for y in self.wide_outputs]:
                    raise ValueError("other shapes")
                parts = [y.imag.reshape(-1) / h if y.dtype.kind == "c" else np.full(y.size, np.nan) for y in outputs]
            except Exception as problem:
                if self.settings.method == "complex step":
                    self.outcome.notes.append(f"no complex step: {type(problem).__name__}: {problem}")
                return None
            found = np.concatenate(parts)
            if self.settings.projection:
                found = np.concatenate([found, self.cotangents @ found])
            steps.append(found)
        return steps

    def _describe_method(self, exact: Array) -> None:
        differences = f"central differences with Richardson extrapolation in {self.precision}"
        if not exact.any():
            self.outcome.method = differences
        elif exact.all():
            self.outcome.method = f"complex step in {self.precision}, confirmed by central differences"
        else:
            self.outcome.method = (
                f"complex step, confirmed by differences, for {exact.sum()} of {exact.size} elements; {differences}"
            )

    # The analytic side

    def _analytic(self, mode: str, arrays: list[Array] | None, only: int | None = None) -> Array:
        """The analytic Jacobian (or its projections) as [outputs, directions], nan where the mode has no say."""
        subject, projection = self.subject, self.settings.projection
        outputs = self.native if arrays is None else self.wide_outputs
        like = [leaf.array for leaf in subject.leaves] if arrays is None else arrays
        columns = self.settings.directions if projection else len(self.entries)
        found = np.full((self.center.size, columns), np.nan)
        if mode == "jacobian":
            if len(outputs) != 1:
                raise Misfit("jacobian is for one output")
            whole = _matrix(subject.matrix(arrays, outputs[0].shape), outputs[0], like)
            if not projection:
                return whole[:only]
            found[: self.rows] = whole @ self.tangents.T
        elif mode in ("forward", "jvp"):
            push = subject.pusher(mode, arrays)
            for j in range(columns)[:only]:
                moved = push(_unflat(self.tangents[j] if projection else _unit(len(self.entries), j), like))
                for t, y in zip(moved, outputs):
                    if t.shape != y.shape:
                        raise Misfit(f"{mode} returned shape {t.shape} for an output of shape {y.shape}")
                if len(moved) != len(outputs):
                    raise Misfit(f"{mode} returned {len(moved)} array(s) for {len(outputs)} output(s)")
                found[: self.rows, j] = _flat(
                    [t.astype(y.dtype) if y.dtype.kind == "c" else t for t, y in zip(moved, outputs)]
                )
            return found[:, :only]
        else:
            pull = subject.puller(mode, arrays)
            for i in range(self.settings.directions if projection else self.rows)[:only]:
                row = pull(_unflat(self.cotangents[i] if projection else _unit(self.rows, i), outputs))
                flat = _flat([g.astype(a.dtype) if a.dtype.kind == "c" else g for g, a in zip(row, like)])
                if projection:
                    found[self.rows + i, i] = flat @ self.tangents[i]
                else:
                    found[i] = flat
            return found[:only] if not projection else found[:, :only]
        return found[:, :only]

    # The comparison

    def _compare(self, analytic: dict[str, Array], wide: dict[str, Array]) -> None:
        m, n = self.measured, len(self.entries)
        finite = np.where(np.isfinite(m.value) & ~m.kink, np.abs(m.value), 0.0)
        for side in (m.left, m.right):
            finite = np.fmax(finite, np.where(m.kink & np.isfinite(side), np.abs(side), 0.0))
        row = np.broadcast_to(self._of_number(finite.max(axis=1))[:, None], finite.shape)
        center = self._of_number(np.where(np.isfinite(self.center), np.abs(self.center), 0.0))[:, None]
        reach = center / np.maximum(1.0, self.positions)[None, :]
        around = np.where(np.isfinite(m.nearby), m.nearby, 0.0).max(axis=1, keepdims=True)
        eps = np.maximum(self.eps_outputs, self.eps_inputs)[:, None]
        # an error bar below this is small beside what F does, however small the derivative
        negligible = 1e-7 * np.maximum(row, m.secant) + 1000 * 2.0**-52 * np.maximum(reach, around)
        # how much more than one rounding F loses inside, and its derivative then too
        seen = np.maximum(center[:, 0], (finite * self.positions[None, :]).max(axis=1))
        lost = np.clip(self.noise / np.maximum(self.eps_outputs * seen, 1e-300), 1.0, 1e10)[:, None]
        base = SAFETY * m.bar + self.settings.tolerance * finite + 8 * eps * reach + 1e-290
        tight = base + 16 * eps * lost * row
        allowed = {mode: tight for mode in wide or analytic}
        if self.widened:
            coarse = base + self._coarseness(wide, row) + 8 * self.eps_native * reach
            allowed |= {mode: coarse for mode in analytic}
        judged = {
            mode: self._judge(values, allowed[mode], negligible, mode)
            for mode, values in (analytic | wide).items()
        }  # fmt: skip
        self._collect(analytic | wide, allowed, judged)
        matrices = [a for a in (wide or analytic).values() if np.isfinite(a).any()]
        if len(matrices) > 1 and not self.settings.projection:
            gap = np.abs(matrices[0] - matrices[1]) / np.where(row > 0, row, 1.0)
            self.outcome.disagreement = float(np.nan_to_num(gap).max())
        if not self.settings.projection and self.rows <= 40 and n <= 60:
            worst = np.max([codes for codes, _ in judged.values()], axis=0)
            self.outcome.grid = ["".join(SYMBOLS[VERDICTS[code]] for code in line) for line in worst]
        self.outcome.notes.extend(list(self.troubles)[:3])
        if self.settings.projection:
            self._say_what_is_hidden()

    def _of_number(self, sizes: Array) -> Array:
        """The larger of both parts, for outputs that are complex: they are rounded together."""
        sizes, at = sizes.copy(), 0
        for y in self.wide_outputs:
            count = y.size * (1 + (y.dtype.kind == "c"))
            if y.dtype.kind == "c":
                sizes[at : at + count] = np.repeat(sizes[at : at + count].reshape(-1, 2).max(axis=1), 2)
            at += count
        return sizes

    def _coarseness(self, wide: dict[str, Array], row: Array) -> Array:
        """How far the derivatives in f's own low precision may be off: their own rounding, that of f, and how much
        they move when the inputs move by a rounding."""
        eps = self.eps_native
        native, exact = _flat(self.native), self.center[: self.rows]
        size = np.nan_to_num(np.abs(exact), posinf=0.0)
        size = np.maximum(size, 1e-3 * size.max() + 1e-300)
        with np.errstate(all="ignore"):
            error = np.nan_to_num(np.abs(native - exact) / (eps * size), posinf=1.0)
        error = np.clip(error, 1.0, 1e4)
        if self.settings.projection:
            row = np.full_like(row, row.max(initial=0.0))
        else:
            row = np.maximum(row, row.max(axis=0, keepdims=True))
        generator = np.random.default_rng(2)
        moved = np.zeros_like(row)
        kept = self.arrays
        for _ in range(2):
            nearby = []
            for a in kept:
                factor = 1 + eps * generator.choice([-1.0, 1.0], a.shape)
                nearby.append(a * factor)
            for mode, before in wide.items():
                after = self._analytic(mode.partition(",")[0], nearby)
                moved = np.fmax(moved, np.nan_to_num(np.abs(after - before)))
        tiny = max(_smallest(leaf.array.dtype) for leaf in self.subject.leaves)
        many = math.sqrt(max(leaf.array.size for leaf in self.subject.leaves))
        return 32 * eps * error.max() * row * max(1.0, many / 8) + 16 * moved + 8 * tiny

    def _judge(self, a: Array, allowed: Array, negligible: Array, mode: str) -> tuple[Array, Array]:
        """Verdict codes, −1 where the mode has no say; and whether each is all right."""
        m = self.measured
        difference = np.abs(a - m.value)
        agree = difference <= allowed
        decisive = (m.bar <= 0.05 * np.maximum(np.abs(a), np.abs(m.value))) | (m.bar <= negligible)
        decisive |= (a == 0) & (m.value == 0)
        codes = np.where(agree, np.where(decisive, _PASS, _UNDECIDABLE), _FAIL)
        unknown = ~np.isfinite(m.value) | ~np.isfinite(m.bar) | ~np.isfinite(self.center)[:, None]
        codes = np.where(unknown, _UNDECIDABLE, codes)
        codes = np.where(~np.isfinite(a) & ~unknown, _FAIL, codes)
        if self.widened and "," not in mode:  # too large for f's own dtype: no matter of calculus
            largest = min(float(np.finfo(leaf.array.dtype).max) for leaf in self.subject.leaves)
            codes = np.where(~np.isfinite(a) & (np.abs(m.value) > 0.1 * largest), _UNDECIDABLE, codes)
            codes = np.where(~np.isfinite(self._padded(_flat(self.native)))[:, None], _UNDECIDABLE, codes)
        # at a kink: among the slopes, or not
        low, high = np.fmin(m.left, m.right), np.fmax(m.left, m.right)
        size = np.fmax(*(np.where(np.isfinite(s), np.abs(s), 0.0) for s in (m.left, m.right)))
        slack = np.where(np.isfinite(allowed), allowed - SAFETY * m.bar, 0.0)
        side_bar = sum(np.where(np.isfinite(b), b, 0.0) for b in (m.left_bar, m.right_bar))
        slack = np.where(np.isfinite(slack), np.abs(slack), 0.0) + 10 * side_bar + 1e-5 * size
        among = (a >= low - slack) & (a <= high + slack)
        bounded = ~np.isinf(low) & ~np.isinf(high)
        at_kink = np.where(among | (~bounded & ~np.isnan(a)), _KINK, _FAIL)
        known = m.kink & np.isfinite(self.center)[:, None] & ~(np.isnan(m.left) & np.isnan(m.right))
        codes = np.where(known, at_kink, codes)
        folded = codes == _FAIL
        if folded.any() and not self.settings.projection:
            folded &= np.isfinite(a) & (np.abs(a) <= self._steepest[:, None]) & (np.abs(a) > allowed)
            codes = np.where(folded, _KINK, codes)
            among |= folded
        ok = (codes == _PASS) | ((codes == _KINK) & among)
        silent = np.isnan(a) & self._silent(mode, a.shape)
        return np.where(silent, -1, codes), ok | silent

    def _silent(self, mode: str, shape: tuple[int, ...]) -> Array:
        """Where a check of projections has nothing to compare: a mode sees its own rows only."""
        silent = np.zeros(shape, bool)
        if self.settings.projection:
            forward = mode.partition(",")[0] in ("forward", "jvp", "jacobian")
            silent[: self.rows] = not forward
            silent[self.rows :] = forward or ~np.eye(self.settings.directions, dtype=bool)
        return silent

    def _padded(self, flat: Array) -> Array:
        return np.concatenate([flat, self.cotangents @ flat]) if self.settings.projection else flat

    def _collect(
        self, values: dict[str, Array], allowed: dict[str, Array], judged: dict[str, tuple[Array, Array]]
    ) -> None:
        outcome, m = self.outcome, self.measured
        for mode, (codes, ok) in judged.items():
            a, tolerance = values[mode], allowed[mode]
            for code in range(4):
                outcome.counts[code] += int((codes == code).sum())
            outcome.ok &= bool(ok.all())
            outcome.verdict = max(outcome.verdict, int(codes.max(initial=_PASS)))
            with np.errstate(all="ignore"):
                excess = np.abs(a - m.value) / np.maximum(tolerance, 1e-300)
            excess = np.nan_to_num(excess, nan=1e9, posinf=1e9)
            # fail, then undecidable, then a kink that is not all right, then a kink, then a pass
            badness = np.select(
                [codes == _FAIL, codes == _UNDECIDABLE, (codes == _KINK) & ~ok, codes == _KINK],
                [4.0, 3.0, 2.0, 1.0], 0.0,
            )  # fmt: skip
            badness += np.clip(excess / (1 + excess), 0, 0.999)
            badness = np.where(codes < 0, -1.0, badness)
            flat = badness.reshape(-1)
            order = np.argsort(-flat, kind="stable")[:20]
            for place in order:
                i, j = np.unravel_index(place, badness.shape)
                code = int(codes[i, j])
                if code >= 0 and (code != _PASS or place == order[0]):
                    outcome.ranked.append(
                        (float(flat[place]), self._element(int(i), int(j), mode, values, allowed, judged))
                    )

    def _element(
        self, i: int, j: int, mode: str, values: dict[str, Array], allowed: dict[str, Array],
        judged: dict[str, tuple[Array, Array]],
    ) -> Element:  # fmt: skip
        m = self.measured
        a, code, ok = float(values[mode][i, j]), int(judged[mode][0][i, j]), bool(judged[mode][1][i, j])
        output, output_index, output_part = self._output(i)
        common: dict[str, Any] = {}
        if self.settings.projection:
            argument, name, part = 0, "x", ""
            index: tuple[int, ...] = ()
            common["direction"] = j
        else:
            leaf, k, p = self.entries[j]
            array, about = self.arrays[leaf], self.subject.leaves[leaf]
            argument, name = about.argument, about.name
            index = tuple(int(q) for q in np.unravel_index(k, array.shape))
            part = ("re", "im")[p] if array.dtype.kind == "c" else ""
        left, right = float(m.left[i, j]), float(m.right[i, j])
        return Element(
            argument, name, index, output, output_index, a, float(m.value[i, j]), float(m.bar[i, j]),
            float(allowed[mode][i, j]), mode, self.order, VERDICTS[code], ok, left, right, part, output_part,
            self._why(i, j, a, code, ok), bool(m.kink[i, j]), **common,
        )  # fmt: skip

    def _why(self, i: int, j: int, a: float, code: int, ok: bool) -> str:
        m = self.measured
        left, right = float(m.left[i, j]), float(m.right[i, j])
        f = self.subject.function
        if not math.isfinite(self.center[i]):
            return f"{f} is {self.center[i]} at this point; choose another"
        if code == _KINK:
            what = f"{f} jumps here" if m.jump[i, j] else "the one-sided slopes differ"
            if math.isnan(left) or math.isnan(right):
                what = f"{f} is defined only to the {'right' if math.isnan(left) else 'left'} of this point"
            elif math.isinf(left) or math.isinf(right):
                what = "a one-sided slope grows without bound" if not m.jump[i, j] else what
            return what + ("" if ok else "; the analytic value is a convention that no slope supports")
        if code == _FAIL:
            if math.isnan(a) and m.kink[i, j]:
                return f"the analytic value is nan, though there are slopes: {left:.6g} and {right:.6g}"
            if not math.isfinite(a) and not m.kink[i, j]:
                return f"the analytic value is {a}, though {f} is finite and has a slope here"
            if m.kink[i, j]:
                return "the one-sided slopes differ, and the analytic value lies outside them"
            ratio = a / float(m.value[i, j]) if m.value[i, j] else math.inf
            if abs(float(m.value[i, j])) <= float(m.bar[i, j]):
                return f"{f} does not depend on this input to within the error bar"
            if a == 0:
                return "the analytic value is zero"
            return f"analytic / numeric = {ratio:.6g}"
        if code == _UNDECIDABLE:
            if math.isnan(left) and math.isnan(right):
                return f"{f} is not finite on either side of this point; choose another"
            if not math.isfinite(a):
                return f"{f} or its derivative overflows {self.subject.leaves[0].array.dtype}; use float64 or scale it"
            advice = "use float64" if self.eps_inputs > 1e-10 or self.eps_outputs[i] > 1e-10 else "try another point"
            return (
                f"the numeric error bar is as large as the derivative: the values of {f} carry a noise of about "
                f"{max(self.noise[i], self.eps_outputs[i] * abs(self.center[i])):.2g}; {advice}, or rescale {f}"
            )
        return ""

    def _output(self, i: int) -> tuple[int, tuple[int, ...], str]:
        if i >= self.rows:  # a sum over all of them
            return 0, (), ""
        for number, y in enumerate(self.wide_outputs):
            parts = 1 + (y.dtype.kind == "c")
            if i < y.size * parts:
                index = tuple(int(q) for q in np.unravel_index(i // parts, y.shape))
                return number, index, ("re", "im")[i % parts] if parts == 2 else ""
            i -= y.size * parts
        raise AssertionError

    def _say_what_is_hidden(self) -> None:
        count = self.settings.directions
        modes = self.subject.modes(self.settings.modes)
        worst = "; ".join(
            f"{mode}: at most {(0.5 if mode in ('forward', 'jvp', 'jacobian') else 0.75) ** count:.1g}"
            for mode in modes
        )
        self.outcome.notes.append(
            f"projections on {count} random sign vectors, not elements: one wrong element by itself shows if it is "
            f"off by more than {self.settings.tolerance:.0e} of its projection's sum, larger than the element; "
            f"errors in several elements may cancel in every direction, with a probability of ({worst}); "
            'elements="all" hides neither'
        )


# Arrays as flat rows of real numbers


def _real_dtype(dtype: Any) -> Any:
    return np.empty(0, dtype).real.dtype


def _real(array: Array) -> Array:
    """The entries of a contiguous array as one row of real numbers, in the same memory."""
    flat = array.reshape(-1)
    return flat.view(_real_dtype(array.dtype)) if array.dtype.kind == "c" else flat


def _flat(arrays: Sequence[Array]) -> Array:
    rows = [_real(np.ascontiguousarray(a)).astype(np.float64) for a in arrays]
    return np.concatenate(rows) if rows else np.zeros(0)


def _unflat(row: Array, like: Sequence[Array]) -> list[Array]:
    arrays, at = [], 0
    for a in like:
        count = a.size * (1 + (a.dtype.kind == "c"))
        part = np.array(row[at : at + count], _real_dtype(a.dtype))
        arrays.append((part.view(a.dtype) if a.dtype.kind == "c" else part).reshape(a.shape))
        at += count
    return arrays


def _unit(size: int, place: int) -> Array:
    row = np.zeros(size)
    row[place] = 1.0
    return row


def _matrix(blocks: Sequence[Array], output: Array, like: Sequence[Array]) -> Array:
    """Jacobian blocks [*y.shape, *x.shape] as one real matrix; a complex block is a complex derivative."""
    columns = []
    for block, a in zip(blocks, like, strict=True):
        block = block.reshape(output.size, a.size)
        if a.dtype.kind == "c":
            block = np.stack([block, 1j * block], axis=-1).reshape(output.size, 2 * a.size)
        if output.dtype.kind == "c":
            block = np.stack([block.real, block.imag], axis=1).reshape(2 * output.size, -1)
        columns.append(np.real(block).astype(np.float64))
    return np.concatenate(columns, axis=1)


def _wide(dtype: Any) -> Any:
    return np.promote_types(dtype, np.complex128 if dtype.kind == "c" else np.float64)


def _eps(dtype: Any) -> float:
    return float(np.finfo(dtype).eps)


def _smallest(dtype: Any) -> float:
    return float(np.finfo(dtype).smallest_subnormal)


def _host(value: Any) -> Array:
    return to_host(value, "an input")


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=True)


# The report


def _report(subject: Subject, settings: _Settings, found: list[_Outcome], evaluations: int) -> Report:
    ranked = sorted((pair for outcome in found for pair in outcome.ranked), key=lambda pair: -pair[0])
    counts = {v: sum(outcome.counts[i] for outcome in found) for i, v in enumerate(VERDICTS)}
    reasons = [outcome.reason for outcome in found if outcome.reason]
    notes = list(dict.fromkeys(note for outcome in found for note in outcome.notes))
    verdict = max(outcome.verdict for outcome in found)
    gaps = [outcome.disagreement for outcome in found if outcome.disagreement is not None]
    methods = list(dict.fromkeys(outcome.method for outcome in found if outcome.method))
    worst = ranked[0][1] if ranked else None
    if worst is not None and reasons and worst.verdict == "pass":
        worst = None
    outputs = [f"{y.dtype} {list(y.shape)}" for y in found[0].outputs]
    return Report(
        subject.function, VERDICTS[verdict], all(outcome.ok for outcome in found), worst, counts, sum(counts.values()),
        "; ".join(methods), notes, [e for _, e in ranked if e.verdict != "pass"][:20],
        [leaf.described for leaf in subject.leaves], outputs, tuple(subject.modes(settings.modes)), settings.order,
        evaluations, 0.0, max(gaps, default=None), found[0].grid, "; ".join(reasons),
    )  # fmt: skip
