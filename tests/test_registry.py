"""Every operation of the registry, held to the calculus by one property; then the tests of that test.

`examine` puts one case through all of it. Numbers are differentiated on NumPy in float64 with a stencil of
fourth order, and complex numbers count as pairs: a value is flattened to (re, im), a cotangent, which pairs
with it as Re Σ u y, to (re, −im).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from domains import CORNERS, DOMAINS, Case, Domain, Draw
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tinygrad_mlsp as tg
from tinygrad_mlsp import op as op_module
from tinygrad_mlsp import recipe, sweep
from tinygrad_mlsp.backend import numpy_space, space_for, spaces, to_numpy
from tinygrad_mlsp.modes import record_everything
from tinygrad_mlsp.op import Operation, registry
from tinygrad_mlsp.source import inlined
from tinygrad_mlsp.tensor import Tensor, library, wrap

STEP = 1e-3
LAYOUTS = ["plain", "transposed", "strided", "reversed"]
PROFILE = settings()
EXAMPLES = max(2, PROFILE.max_examples // 2)  # each goes through all corners
# A failing case is small as it is drawn; only the exploring profile spends minutes on a smaller one.
PHASES = (Phase.generate,) if PROFILE.derandomize else tuple(Phase)


def test_every_operation_has_a_domain_and_every_domain_an_operation() -> None:
    assert set(registry) - set(DOMAINS) == set(), "declare where these operations are tested, in domains.py"
    assert set(DOMAINS) - set(registry) == set(), "domains.py names operations that do not exist"


@pytest.mark.parametrize("name", DOMAINS)
def test_operation(name: str, device: str) -> None:
    hold(registry[name], DOMAINS[name], device)


def hold(op: Operation, domain: Domain, device: str) -> None:
    """The property: in every corner, and in one place anywhere, the operation passes `examine`."""

    @settings(max_examples=EXAMPLES, phases=PHASES, report_multiple_bugs=False)
    @given(st.randoms(note_method_calls=False))
    def anywhere(random: Random) -> None:
        for corner in [*range(CORNERS), None]:
            draw = Draw(random, corner, device)
            case = domain.case(draw)
            with np.errstate(divide="raise", invalid="raise", over="raise"):
                try:
                    (examine if op.differentiable else examine_constant)(op, domain, case, draw, device)
                except Exception as problem:
                    problem.add_note(f"{op.name}, corner {corner}, {case}")
                    raise

    anywhere()


# Numbers on NumPy


def flat(values: Any, cotangent: bool = False) -> Any:
    """All entries as one vector of real numbers."""
    parts = [np.asarray(v).reshape(-1) for v in values]
    return np.concatenate([np.ascontiguousarray(p.conj() if cotangent else p).view(p.real.dtype) for p in parts])


def in_order(op: Operation, arguments: Sequence[Any]) -> list[Any]:
    """The arrays that a gradient flows to, lists opened."""
    found: list[Any] = []
    for name, value in zip(op.arguments, arguments, strict=True):
        if name in op.differentiable and value is not None:
            found += value if isinstance(value, list) else [value]
    return found


def replaced(op: Operation, arguments: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """The arguments with others in the places of `in_order`."""
    left = iter(values)
    return [
        value
        if name not in op.differentiable or value is None
        else [next(left) for _ in value]
        if isinstance(value, list)
        else next(left)
        for name, value in zip(op.arguments, arguments, strict=True)
    ]


def as_tuple(y: Any) -> tuple[Any, ...]:
    return tuple(y) if isinstance(y, (tuple, list)) else (y,)


def on_numpy(op: Operation, case: Case, values: Sequence[Any]) -> tuple[Any, ...]:
    """The forward function on plain arrays; a move to another device is a move to the same one."""
    ys = as_tuple(op.forward(numpy_space, *replaced(op, case.arguments, values), **at_home(case.options)))
    return tuple(np.asarray(y) for y in ys)


def at_home(options: dict[str, Any]) -> dict[str, Any]:
    return {o: "cpu" if o in ("source", "target") else v for o, v in options.items()}


def stencil(f: Callable[[float], Any]) -> Any:
    """f'(0), with an error of h⁴ f⁽⁵⁾/30."""
    return (8 * (f(STEP) - f(-STEP)) - (f(2 * STEP) - f(-2 * STEP))) / (12 * STEP)


def jacobian(op: Operation, case: Case, values: Sequence[Any]) -> Any:
    """∂y/∂x, every entry, in real numbers."""
    copies = [np.array(v, order="C") for v in values]
    columns = []
    for x in copies:
        entries = x.reshape(-1).view(x.real.dtype)
        for i in range(entries.size):
            at = entries[i]

            def moved(by: float, i: int = i, entries: Any = entries, at: float = at) -> Any:
                entries[i] = at + by
                return flat(on_numpy(op, case, copies))

            columns.append(stencil(moved))
            entries[i] = at
    return np.array(columns).T


# The engine


def place(array: Any, layout: str, device: str) -> Any:
    """The array on the device, in memory that is contiguous or not."""
    xp = space_for(device)[0].module
    array = xp.asarray(np.array(array, order="C"))
    if layout == "plain" or array.ndim == 0:
        return array
    if layout == "transposed":
        return xp.ascontiguousarray(array.T).T
    if layout == "reversed":
        back = (slice(None, None, -1),) * array.ndim
        return xp.ascontiguousarray(array[back])[back]
    wide = xp.zeros((*array.shape[:-1], 2 * array.shape[-1]), dtype=array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def lower(value: Any) -> Any:
    """Single precision."""
    if isinstance(value, list):
        return [lower(v) for v in value]
    kinds = {"float64": "float32", "complex128": "complex64"}
    if isinstance(value, np.dtype):
        return np.dtype(kinds.get(value.name, value))
    return value.astype(kinds.get(value.dtype.name, value.dtype)) if isinstance(value, np.ndarray) else value


class Bench:
    """One case laid out on a device: applies the operation and sweeps, as often as asked."""

    def __init__(self, op: Operation, case: Case, draw: Draw | None, device: str, single: bool = False) -> None:
        self.op, self.device, self.single = op, device, single
        self.xp = space_for(device)[0]

        def prepare(v: Any) -> Any:
            if isinstance(v, (list, tuple)):
                return type(v)(prepare(w) for w in v)
            if not isinstance(v, np.ndarray):
                return v
            return place(lower(v) if single else v, draw.one(LAYOUTS) if draw else "plain", device)

        self.arguments = [prepare(v) for v in case.arguments]
        self.options = {o: prepare(v) if o == "index" else lower(v) if single else v for o, v in case.options.items()}
        self.inputs = in_order(op, self.arguments)

    def apply(self, leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
        arguments = [v if v is None or isinstance(v, list) else Tensor(v) for v in self.arguments]
        return as_tuple(self.op(*replaced(self.op, arguments, leaves), **self.options))

    def record(
        self, full: bool = False, wanted: Sequence[bool] | None = None
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """Leaves, and what the operation makes of them."""
        leaves = [Tensor(x, requires_grad=wanted is None or wanted[i]) for i, x in enumerate(self.inputs)]
        with record_everything() if full else tg.enable_grad():
            return leaves, self.apply(leaves)

    def lay(self, arrays: Sequence[Any], layouts: Sequence[str] | None = None, device: str | None = None) -> list[Any]:
        """Tangents, on the arguments' device; None stays None."""
        return [
            None if v is None else place(lower(v) if self.single else v, layout, device or self.device)
            for v, layout in zip(arrays, layouts or ["plain"] * len(arrays), strict=True)
        ]

    def lay_upstream(self, us: Sequence[Any], layouts: Sequence[str] | None = None) -> list[Any]:
        """Cotangents, on the results' device."""
        return self.lay(us, layouts, self.options.get("target"))

    def gradients(self, us: Sequence[Any], full: bool = False, wanted: Sequence[bool] | None = None) -> list[Any]:
        """What the plain sweep leaves in `.grad`; None where nothing is wanted."""
        leaves, ys = self.record(full, wanted)
        sweep.backward(paired(ys, us), self.xp)
        return [x.grad for x in leaves]


def paired(tensors: Sequence[Tensor], values: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Nodes with the cotangents or tangents that are there."""
    return [(t._node, v) for t, v in zip(tensors, values, strict=True) if v is not None and t._node is not None]


def carried(bench: Any, tensors: Sequence[Tensor], tangents: Sequence[Any], outputs: Sequence[Tensor]) -> list[Any]:
    """The forward sweep; None for an output that depends on nothing."""
    reached = [y for y in outputs if y._node is not None]
    moved = iter(sweep.forward(paired(tensors, tangents), nodes(reached), bench.xp))
    return [None if y._node is None else next(moved) for y in outputs]


def nodes(tensors: Sequence[Any]) -> list[Any]:
    return [t._node for t in tensors]


def numbers(values: Sequence[Any]) -> list[Any]:
    """NumPy arrays of tensors and of arrays on the device. A tensor holds an array, never a bare scalar."""
    for v in values:
        assert not isinstance(v, Tensor) or type(v.data) in spaces, f"a tensor holds a {type(v.data).__name__}"
    return [None if v is None else v.numpy() if isinstance(v, Tensor) else to_numpy(v) for v in values]


def filled(values: Sequence[Any], likes: Sequence[Any]) -> list[Any]:
    """NumPy arrays, with zeros for None; each must have the shape and dtype of its like."""
    found = []
    for v, like in zip(numbers(values), likes, strict=True):
        found.append(np.zeros(like.shape, like.dtype) if v is None else v)
        assert found[-1].shape == like.shape, f"shape {found[-1].shape} where {like.shape} belongs"
        assert found[-1].dtype == like.dtype, f"dtype {found[-1].dtype} where {like.dtype} belongs"
    return found


def near(what: str, got: Any, want: Any, allowed: float) -> None:
    assert got.shape == want.shape, f"{what}: {got.size} numbers, expected {want.size}"
    error = np.max(np.abs(got - want), initial=0.0)
    assert error <= allowed, f"{what}: off by {error:.3g} where {allowed:.3g} is allowed; got {got}, expected {want}"


def identical(what: str, got: Sequence[Any], want: Sequence[Any]) -> None:
    for a, b in zip(numbers(got), numbers(want), strict=True):
        assert a is not None and a.dtype == b.dtype and np.array_equal(a, b), f"{what}: got {a}, expected {b}"


def largest(x: Any) -> float:
    return float(np.max(np.abs(x), initial=0.0))


# The property


class Trial:
    """One case with upstream gradients `us`, directions `ts`, and the truth: values, J, and ∇²⟨u, f⟩ t."""

    def __init__(self, op: Operation, domain: Domain, case: Case, draw: Draw, device: str) -> None:
        self.op, self.domain, self.case, self.draw, self.device = op, domain, case, draw, device
        self.bench = Bench(op, case, draw, device)
        self.inputs = in_order(op, case.arguments)
        self.values = on_numpy(op, case, self.inputs)
        self.us = [self.numbers_like(y, sparse=True) for y in self.values]
        if len(self.us) > 1 and draw.one([False, True]):  # some results may have no cotangent, but not all
            kept = draw.one(range(len(self.us)))
            self.us = [u if i == kept or draw.random.random() < 0.5 else None for i, u in enumerate(self.us)]
        self.ts = [self.numbers_like(x) for x in self.inputs]
        self.layouts = [draw.one(LAYOUTS) for _ in self.us]
        self.u = flat([np.zeros_like(y) if u is None else u for u, y in zip(self.us, self.values, strict=True)], True)
        self.t = flat(self.ts)
        self.J = jacobian(op, case, self.inputs).reshape(self.u.size, self.t.size)
        noise = 1e-11 * largest(flat(self.values))
        self.allowed = 1e-6 * largest(self.J) + 10 * noise
        self.bend = stencil(self.gradient_at)
        self.allowed_bend = 1e-6 * max(largest(self.bend), largest(self.J)) + 10 * noise

    def numbers_like(self, like: Any, sparse: bool = False) -> Any:
        """Numbers of order one, none of them small; some exactly 0 if `sparse`."""
        random = self.draw.random
        x = random.uniform(0.5, 1.5, like.shape) * random.choice([-1.0, 1.0], like.shape)
        x = np.asarray(x + 1j * random.uniform(-1, 1, like.shape) if like.dtype.kind == "c" else x)
        return (
            np.where(random.random(like.shape) < 0.5, 0 * x, x) if sparse and self.draw.one([False, False, True]) else x
        )

    def gradient_at(self, by: float) -> Any:
        """∇⟨u, f⟩ at x + by t, on the CPU; reverse mode itself is held to J elsewhere."""
        moved = [x + by * t for x, t in zip(self.inputs, self.ts, strict=True)]
        case = Case(tuple(replaced(self.op, self.case.arguments, moved)), at_home(self.case.options))
        return flat(numbers(Bench(self.op, case, None, "cpu").gradients(self.us)))


def examine(op: Operation, domain: Domain, case: Case, draw: Draw, device: str) -> None:
    """All that is asked of an operation with slopes."""
    trial = Trial(op, domain, case, draw, device)
    check_values(trial)
    check_first_order(trial)
    check_memory(trial)
    check_paths(trial)
    check_second_order(trial)
    check_single_precision(trial)
    check_repeated(trial)


def check_values(trial: Trial) -> None:
    """The forward function against an independent account."""
    _, ys = trial.bench.record()
    assert all(y.requires_grad for y in ys)
    found = filled(ys, trial.values)
    if trial.domain.expect is not None:
        expected = as_tuple(trial.domain.expect(*trial.case.arguments, **trial.case.options))
        assert [v.shape for v in expected] == [v.shape for v in found]
        near("values", flat(found), flat(expected), 1e-12 * largest(flat(expected)))


def check_first_order(trial: Trial) -> None:
    """Jᵀu and J t against differences, entry by entry, and against each other: ⟨u, Jt⟩ = ⟨Jᵀu, t⟩."""
    bench, u, t = trial.bench, trial.u, trial.t
    back = flat(filled(bench.gradients(bench.lay_upstream(trial.us, trial.layouts)), trial.inputs))
    near("reverse mode", back, u @ trial.J, trial.allowed)
    leaves, ys = bench.record(full=True)
    moved = carried(bench, leaves, bench.lay(trial.ts), ys)
    forth = flat(filled(moved, trial.values))
    near("forward mode", forth, trial.J @ t, trial.allowed)
    size = np.abs(u) @ np.abs(forth) + np.abs(back) @ np.abs(t)
    near("adjoint identity", u @ forth, back @ t, 1e-12 * size)


def check_memory(trial: Trial) -> None:
    """The sweep changes neither the upstream gradient nor an argument, and every gradient has memory of its own."""
    bench = trial.bench
    us = bench.lay_upstream(trial.us, trial.layouts)
    grads = bench.gradients(us)
    for u, original in zip(numbers(us), trial.us, strict=True):
        assert u is None or np.array_equal(u, original), "the upstream gradient was changed"
    for x, original in zip(numbers(bench.inputs), trial.inputs, strict=True):
        assert np.array_equal(x, original), "an argument was changed"
    others = [g.data for g in grads] + [u for u in us if u is not None] + bench.inputs
    for i, g in enumerate(grads):
        before = [v.copy() for v in numbers(others)]
        g.data[...] = i + 7
        for j, (v, old) in enumerate(zip(numbers(others), before, strict=True)):
            assert i == j or np.array_equal(v, old), "a gradient shares memory"


def check_paths(trial: Trial) -> None:
    """All ways of sweeping agree: what the recorder unrolled, its pullback, the full record, the recorded sweep,
    `Tensor.backward`, and one argument at a time."""
    bench = trial.bench
    us = bench.lay_upstream(trial.us, trial.layouts)
    want = bench.gradients(us)
    plain = [g.conj() if g.dtype.kind == "c" else g for g in want]  # as the sweep carries it
    for full in (False, True):
        what = "full record" if full else "lean record"
        identical(f"plain sweep, {what}", bench.gradients(us, full), want)
        leaves, ys = bench.record(full)
        for prune in (False, True):
            found = sweep.backward(paired(ys, us), bench.xp, retain=True, targets=nodes(leaves), prune=prune)
            identical(f"sweep to targets, {what}, pruned {prune}", found, plain)
        upstream = [None if u is None else wrap(u, None) for u in us]
        again = sweep.backward(paired(ys, upstream), library, wrap, retain=True, targets=nodes(leaves))
        near(
            f"recorded sweep, {what}",
            flat(filled(again, trial.inputs)),
            flat(numbers(plain)),
            1e-13 * largest(flat(numbers(plain))),
        )
    if len(us) == 1:
        leaves, ys = bench.record()
        gradient = wrap(us[0], None)
        ys[0].backward(gradient.conj() if gradient.dtype.kind == "c" else gradient)
        found = flat(numbers([x.grad for x in leaves]))
        near("Tensor.backward", found, flat(numbers(want)), 1e-13 * largest(found))
    for i in range(len(want) if len(want) > 1 else 0):
        alone = bench.gradients(us, wanted=[j == i for j in range(len(want))])
        assert [g is None for g in alone] == [j != i for j in range(len(want))], (
            "a gradient arrived where none is wanted"
        )
        identical(f"the gradient of argument {i} alone", [alone[i]], [want[i]])


def check_second_order(trial: Trial) -> None:
    """∇²⟨u, f⟩ t, by differences and three ways: reverse over reverse, forward over reverse, reverse over forward."""
    bench, J, allowed = trial.bench, trial.J, trial.allowed_bend
    present = [u for u in trial.us if u is not None]
    sizes = [flat([y]).size for y in trial.values]
    tangent = (J @ trial.t)[np.repeat([u is not None for u in trial.us], sizes)]
    for full in (False, True):
        with record_everything() if full else tg.enable_grad():
            leaves, ys = bench.record(full)
            upstream = [None if u is None else Tensor(u, requires_grad=True) for u in bench.lay_upstream(trial.us)]
            grads = sweep.backward(paired(ys, upstream), library, wrap, retain=True, targets=nodes(leaves))
        inner = [u for u in upstream if u is not None]
        ts = bench.lay(trial.ts)
        found = sweep.backward(paired(grads, ts), bench.xp, retain=True, targets=nodes([*leaves, *inner]))
        what = "reverse over reverse, " + ("full record" if full else "lean record")
        near(what, flat(filled(found[: len(leaves)], trial.inputs), True), trial.bend, allowed)
        by_upstream = flat(filled(found[len(leaves) :], present))
        near(f"{what}, by the upstream gradient", by_upstream, tangent, allowed)
    moved = carried(bench, leaves, ts, grads)
    near("forward over reverse", flat(filled(moved, trial.inputs), True), trial.bend, allowed)
    moved = carried(bench, inner, bench.lay_upstream(present), grads)
    near(
        "forward over reverse, by the upstream gradient", flat(filled(moved, trial.inputs), True), trial.u @ J, allowed
    )

    with record_everything():
        leaves, ys = bench.record(True)
        inner = [Tensor(t, requires_grad=True) for t in bench.lay(trial.ts)]
        pushed = sweep.forward(paired(leaves, inner), nodes(ys), library, wrap)
    found = sweep.backward(
        paired(pushed, bench.lay_upstream(trial.us)), bench.xp, retain=True, targets=nodes([*leaves, *inner])
    )
    near("reverse over forward", flat(filled(found[: len(leaves)], trial.inputs), True), trial.bend, allowed)
    near(
        "reverse over forward, by the tangent",
        flat(filled(found[len(leaves) :], trial.inputs), True),
        trial.u @ J,
        allowed,
    )


def check_single_precision(trial: Trial) -> None:
    """float32 in, float32 throughout, close to float64; second order included."""
    bench = Bench(trial.op, trial.case, trial.draw, trial.device, single=True)
    inputs, values = lower(trial.inputs), lower(list(trial.values))
    us, ts = bench.lay_upstream(trial.us), bench.lay(trial.ts)
    scale = 1 + largest(flat(trial.values))

    def close(what: str, got: Any, likes: Sequence[Any], want: Any, cotangent: bool = False) -> None:
        try:
            near(what, flat(filled(got, likes), cotangent), want, 2e-4 * (largest(want) + scale))
        except AssertionError as problem:
            raise AssertionError(f"float32: {what}: {problem}") from None

    leaves, ys = bench.record(full=True)
    close("values", ys, values, flat(trial.values))
    close("reverse mode", bench.gradients(us), inputs, trial.u @ trial.J)
    close("forward mode", carried(bench, leaves, ts, ys), values, trial.J @ trial.t)
    with record_everything():
        upstream = [None if u is None else Tensor(u, requires_grad=True) for u in us]
        grads = sweep.backward(paired(ys, upstream), library, wrap, retain=True, targets=nodes(leaves))
        moved = carried(bench, leaves, ts, grads)
    close("recorded sweep", grads, inputs, trial.u @ trial.J, True)
    close("second order", moved, inputs, trial.bend, True)


def check_repeated(trial: Trial) -> None:
    """f(x, x): the contributions of the two places add up."""
    op, case, inputs = trial.op, trial.case, trial.inputs
    if len(inputs) < 2 or any(x.shape != inputs[0].shape or x.dtype != inputs[0].dtype for x in inputs):
        return
    for x in inputs:
        places = [x] * len(inputs)
        try:
            values = on_numpy(op, case, places)
        except FloatingPointError:
            continue
        bench = Bench(op, Case(tuple(replaced(op, case.arguments, places)), case.options), None, trial.device)
        us = bench.lay_upstream([np.ones_like(v) for v in values])
        apart = numbers(bench.gradients(us))
        leaves, _ = bench.record()
        sweep.backward(paired(bench.apply(leaves[:1] * len(inputs)), us), bench.xp)
        total = flat([sum(apart)])
        near("one tensor in every place", flat(numbers([leaves[0].grad])), total, 1e-12 * largest(total))
        assert all(np.all(u == 1) for u in numbers(us)), "the upstream gradient was changed by an accumulation"
        return


def examine_constant(op: Operation, domain: Domain, case: Case, draw: Draw, device: str) -> None:
    """The values are NumPy's, in either precision, and no gradient flows."""
    for single in (False, True):
        bench = Bench(op, case, draw, device, single)
        tensors = [Tensor(v) for v in bench.arguments]
        for x in tensors:
            x.requires_grad = x.dtype.kind in "fc"
        y = op(*tensors, **bench.options)
        assert not y.requires_grad, "a gradient flows through an operation without slope"
        assert domain.expect is not None
        arguments = [lower(v) if single else v for v in case.arguments]
        want = np.asarray(domain.expect(*arguments, **case.options))
        assert y.shape == want.shape and np.array_equal(y.numpy(), want, equal_nan=want.dtype.kind in "fc")
        assert op.name == "eye_like" or y.dtype == want.dtype


# Tests of the test: planted mistakes, and the words in which the property notices each


def variant(
    op: Operation, forward: Callable[..., Any] | None = None, **rules: dict[str, Callable[..., Any]]
) -> Operation:
    """A private copy, outside the registry; `slopes`, `adjoints`, `tangents` replace its rules of that kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(op_module, "registry", {})
        patch.setattr(op_module, "on_declaration", [])
        new = Operation(forward or op.forward, op.kind, op.name)
    new.slope, new.adjoint, new.tangent = dict(op.slope), dict(op.adjoint), dict(op.tangent)
    return (
        new.slopes(**rules.get("slopes", {}))
        .adjoints(**rules.get("adjoints", {}))
        .tangents(**rules.get("tangents", {}))
    )


@pytest.mark.parametrize("name", ["exp", "divide", "add", "matmul", "concat", "split", "where"])
def test_a_copy_passes(name: str, device: str) -> None:
    hold(variant(registry[name]), DOMAINS[name], device)


def frozen(v: Any) -> Any:
    """The value without its graph: a rule that sees this is right at first order only."""
    return v.detach() if isinstance(v, Tensor) else v


def negate_in_place(g: Any) -> Any:
    if isinstance(g, Tensor):
        return -g
    g *= -1
    return g


def in_memory_order(xp: Any, g: Any) -> Any:
    return -g if isinstance(g, Tensor) or xp.name != "cpu" else -np.asarray(g).ravel(order="K").reshape(g.shape)


def overwrite(xp: Any, g: Any, x_shape: Any, index: Any) -> Any:
    if isinstance(g, Tensor):
        return xp.scatter_at(g, index, x_shape)
    out = xp.zeros(x_shape, dtype=g.dtype)
    out[index] = g
    return out


def untransposed(xp: Any, g: Any, b: Any, a_shape: Any) -> Any:
    square = len(b.shape) == 2 and b.shape[0] == b.shape[1] and len(a_shape) == 2
    return xp.matmul(g, b) if square else registry["matmul"].adjoint["a"](xp, g, b, a_shape)


def unlike(name: str, **rules: Any) -> Callable[[], Operation]:
    return lambda: variant(registry[name], **rules)


MUTANTS: dict[str, tuple[str, Callable[[], Operation], str]] = {
    "sign": ("exp", unlike("exp", slopes={"x": lambda y: -y}), "reverse mode"),
    "one percent": ("tanh", unlike("tanh", slopes={"x": lambda y: 1.01 * (1 - y * y)}), "reverse mode"),
    "one argument": ("multiply", unlike("multiply", adjoints={"b": lambda g, a: g * a * 1.01}), "reverse mode"),
    "factor": ("square", unlike("square", slopes={"x": lambda x: x}), "reverse mode"),
    "term": ("softmax", unlike("softmax", adjoints={"x": lambda g, y: g * y}), "reverse mode"),
    "axis": (
        "softmax",
        unlike("softmax", adjoints={"x": lambda xp, g, y: y * (g - xp.sum(g * y, axis=-1, keepdims=True))}),
        "reverse mode",
    ),
    "transpose": ("matmul", unlike("matmul", adjoints={"a": untransposed}), "reverse mode"),
    "conjugate": ("abs", unlike("abs", adjoints={"x": lambda xp, g, x, y: g * x / y}), "reverse mode"),
    "repeated index": ("getitem", unlike("getitem", adjoints={"x": overwrite}), "reverse mode"),
    "memory order": ("negative", unlike("negative", adjoints={"x": in_memory_order}), "reverse mode"),
    "which operand": (
        "concat",
        unlike("concat", adjoints={"arrays": lambda xp, g, arrays_shape, axis, needed: (
            registry["concat"].adjoint["arrays"](xp, g, arrays_shape, axis, needed)[::-1])}),
        "reverse mode|shape",
    ),
    "tangent": ("log", unlike("log", tangents={"x": lambda t, x: 1.01 * t / x}), "forward mode"),
    "tangent of one result": (
        "standardize",
        unlike("standardize", tangents={"x": lambda xp, t, y, axis, eps: (
            *registry["standardize"].tangent["x"](xp, t, y, axis, eps)[:2], 0 * y[2])}),
        "forward mode",
    ),
    "second order": ("tanh", unlike("tanh", slopes={"x": lambda y: 1 - frozen(y) * frozen(y)}), "reverse over reverse"),
    "second order, one term": (
        "divide", unlike("divide", adjoints={"b": lambda g, a, b: -g * frozen(a) / (b * b)}), "reverse over reverse",
    ),
    "second order, upstream": (
        "negative", unlike("negative", adjoints={"x": lambda g: -frozen(g)}), "recorded sweep|reverse over reverse",
    ),
    "second order of the tangent": (
        "log", unlike("log", tangents={"x": lambda t, x: t / frozen(x)}), "reverse over forward",
    ),
    "upstream gradient written": (
        "negative", unlike("negative", adjoints={"x": negate_in_place}), "upstream gradient was changed",
    ),
    "wide constant": (
        "sigmoid", unlike("sigmoid", slopes={"x": lambda xp, y: xp.asarray(1.0) * (y - y * y)}), "float32",
    ),
    "no 0-d": (
        "negative", unlike("negative", adjoints={"x": lambda xp, g: -xp.getitem(g, slice(None))}), "0-d|indices",
    ),
    "no zero size": ("relu", unlike("relu", slopes={"x": lambda xp, y: y > 0 * xp.max(y)}), "zero-size"),
}  # fmt: skip


@pytest.mark.parametrize("planted", MUTANTS)
def test_a_planted_mistake_is_noticed(planted: str, device: str) -> None:
    if planted == "memory order" and device != "cpu":
        pytest.skip("the memory order is NumPy's")
    name, make, words = MUTANTS[planted]
    with pytest.raises(Exception, match=words):
        hold(make(), DOMAINS[name], device)


def first_of_each(xp: Any, g: Any, shape: tuple[int, ...]) -> Any:
    """Undoes a broadcast along new axes, and forgets to sum along axes of length one."""
    g = xp.sum(g, axis=tuple(range(len(g.shape) - len(shape))))
    return xp.getitem(g, tuple(slice(0, n) for n in shape)) if g.shape != shape else g


def rewritten(rule: Any, passed: Any, options: Any = ()) -> Any:
    text = inlined(rule, passed, options)
    return text and text.replace(" - ", " + ")


ENGINE_MUTANTS: dict[str, tuple[str, str, Any, str]] = {
    "unit axes not summed": ("add", "recipe.unbroadcast", first_of_each, "reverse mode"),
    "broadcast not undone": ("add", "recipe.unbroadcast", lambda xp, g, shape: g, "shape"),
    "sums written over": (
        "add",
        "recipe._GIVE",
        recipe._GIVE.replace("key in owned", "True"),
        "upstream gradient was changed",
    ),
    "gradients shared": ("add", "sweep.sole", lambda xp, holder: holder.pop(), "shares memory"),
    "a sign lost by the source writer": ("sigmoid", "recipe.inlined", rewritten, "reverse mode"),
}


@pytest.mark.parametrize("planted", ENGINE_MUTANTS)
def test_a_planted_mistake_of_the_engine_is_noticed(planted: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, place, wrong, words = ENGINE_MUTANTS[planted]
    monkeypatch.setattr(f"tinygrad_mlsp.{place}", wrong)
    with pytest.raises(AssertionError, match=words):
        hold(variant(registry[name]), DOMAINS[name], device)


def test_a_wrong_scale_is_noticed_and_a_right_one_passes(device: str) -> None:
    """Tolerances know the scale: at 1e-6 a gradient five times too large does not hide."""

    def forward(xp: Any, x: Any) -> Any:
        return 1e-6 * xp.sin(x)

    domain = Domain(DOMAINS["sin"].draw)
    hold(variant(registry["sin"], forward, slopes={"x": lambda xp, x: 1e-6 * xp.cos(x)}), domain, device)
    with pytest.raises(AssertionError, match="reverse mode"):
        hold(variant(registry["sin"], forward, slopes={"x": lambda xp, x: 5e-6 * xp.cos(x)}), domain, device)


@pytest.mark.parametrize("at", [0, 217, 399])
def test_one_wrong_entry_of_400_is_noticed(at: int, device: str) -> None:
    doubled = np.ones(400)
    doubled[at] = 2

    def slope(xp: Any, x: Any) -> Any:
        return (
            2 * x * xp.reshape(tg.asarray(doubled) if xp is library else xp.asarray(doubled, dtype=x.dtype), (20, 20))
        )

    domain = Domain(lambda d: Case((d.values((20, 20)),), {}))
    with pytest.raises(AssertionError, match="reverse mode"):
        hold(variant(registry["square"], slopes={"x": slope}), domain, device)


def test_an_operation_without_a_domain_fails_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry, "cube", registry["square"])
    with pytest.raises(AssertionError, match="declare where"):
        test_every_operation_has_a_domain_and_every_domain_an_operation()
    monkeypatch.undo()
    monkeypatch.setitem(DOMAINS, "cube", DOMAINS["square"])
    with pytest.raises(AssertionError, match="do not exist"):
        test_every_operation_has_a_domain_and_every_domain_an_operation()
