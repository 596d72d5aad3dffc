"""Planted faults: functions with a wrong derivative rule, and correct functions that look suspicious, written once.

A fault is a forward function and a rule for Jᵀg, both in the names of a namespace `xp`, so that the same fault can be
handed to this library's `check` and `contracts`, and to the checkers of PyTorch, JAX and autograd (tests/evidence).
`number` is the place in the list of fifteen faults that users of such libraries met. Forward mode is tested where a
fault has a `jvp`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import tinygrad_mlsp as tg
from tinygrad_mlsp import op as op_module
from tinygrad_mlsp.op import Operation
from tinygrad_mlsp.tensor import Tensor, library


class NotApplicable(Exception):
    """A namespace cannot express the fault at all (JAX's arrays cannot be written to)."""


class Names:
    """A module's names, and the few that the table needs beside them."""

    conjugates = False  # whether a rule has to conjugate by itself, for the gradient that the library delivers

    def __init__(self, module: Any) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def constant(self, array: Any, like: Any) -> Any:
        return self.module.asarray(np.asarray(array, like.dtype))

    def write(self, x: Any, by: float) -> None:
        """Multiplies in place, behind everybody's back."""
        x *= by

    def detach(self, x: Any) -> Any:
        return x

    def cast(self, x: Any, dtype: str) -> Any:
        return x.astype(dtype)

    def in_memory_order(self, x: Any) -> Any:
        """The entries as they lie in memory, read as if they lay in C order."""
        return np.ravel(x, order="K").reshape(x.shape)

    def raw(self, x: Any) -> Any:
        """A NumPy array of what a rule is given, without derivative."""
        return np.array(x)

    def adjoint_of(self, slope: Any) -> Any:
        """The factor of a holomorphic function's rule, as the library's convention wants it."""
        return self.module.conj(slope) if self.conjugates else slope

    def wrong_adjoint_of(self, slope: Any) -> Any:
        return slope if self.conjugates else self.module.conj(slope)


@dataclass
class Fault:
    """A function that is built of one operation (`build`), the operation's forward and its rule, and where to look.

    `vjp(xp, g, y, *x)` gives one contribution an argument; `jvp(xp, t, y, *x)`, of functions of one argument, the
    tangent. `by` says who of ours has to notice: "check" or "contracts". Where forward and rule remember something,
    `memory` makes them anew.
    """

    name: str
    forward: Any
    vjp: Any
    inputs: Sequence[Any]
    number: int | None = None
    jvp: Callable[..., Any] | None = None
    order: int = 1
    by: str = "check"
    memory: Callable[[], tuple[Any, Any]] | None = None
    build: Callable[[Callable[..., Any]], Callable[..., Any]] = field(default=lambda op: op)
    correct: bool = False

    @property
    def id(self) -> str:
        return self.name if self.number is None else f"{self.number}: {self.name}"

    def fresh(self) -> Fault:
        """Itself, with nothing remembered."""
        if self.memory is None:
            return self
        forward, vjp = self.memory()
        return replace(self, forward=forward, vjp=vjp)


def slope(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a function that works entry by entry, from its slope."""
    return lambda xp, g, y, x: (g * rule(xp, x, y),)


# This library


class Ours(Names):
    """`xp` as a rule of ours meets it: numbers, or the library itself while a graph is recorded."""

    def constant(self, array: Any, like: Any) -> Any:
        return tg.asarray(np.asarray(array, like.dtype)) if self.module is library else super().constant(array, like)

    def write(self, x: Any, by: float) -> None:
        if not isinstance(x, Tensor):
            x *= by

    def detach(self, x: Any) -> Any:
        return x.detach() if isinstance(x, Tensor) else x

    def in_memory_order(self, x: Any) -> Any:
        return x if isinstance(x, Tensor) else super().in_memory_order(x)

    def raw(self, x: Any) -> Any:
        return np.array(x.numpy() if isinstance(x, Tensor) else x)


def operation(fault: Fault) -> Operation:
    """The fault as an operation of ours, outside the registry."""
    n = len(fault.inputs)
    names = [f"x{i}" for i in range(n)]
    scope: dict[str, Any] = {"fault": fault, "Ours": Ours}
    xs = ", ".join(names)

    def rule(head: str, call: str) -> Any:
        return eval(f"lambda {head}, {xs}: {call}", scope)

    kept = op_module.registry, op_module.on_declaration
    op_module.registry, op_module.on_declaration = {}, []
    try:
        made = Operation(rule("xp", f"fault.forward(Ours(xp), {xs})"), "general", "planted")
    finally:
        op_module.registry, op_module.on_declaration = kept
    made.adjoints(
        **{x: rule("xp, g, y", f"fault.vjp(Ours(xp), g, y, {xs})[{i}]") for i, x in enumerate(names)}
    )  # fmt: skip
    if fault.jvp is not None:
        made.tangents(x0=rule("xp, t, y", f"fault.jvp(Ours(xp), t, y, {xs})"))
    return made


def ours(fault: Fault) -> tuple[Callable[..., Any], tuple[Tensor, ...], dict[str, Any]]:
    """What to hand to `check`: the function, its inputs, and the options."""
    modes = ("reverse",) if fault.jvp is None else ("reverse", "forward")
    inputs = tuple(Tensor(np.array(x)) for x in fault.inputs)
    return fault.build(operation(fault.fresh())), inputs, {"order": fault.order, "modes": modes}


# Inputs

_random = np.random.default_rng(7)


def normal(*shape: int) -> Any:
    """Standard normal numbers, none nearer to 0 than 0.1."""
    x = _random.normal(size=shape)
    return np.asarray(np.where(np.abs(x) < 0.1, 0.1 + np.abs(x), x))


def positive(*shape: int) -> Any:
    return 0.3 + np.abs(normal(*shape))


def softmax(xp: Any, x: Any) -> Any:
    e = xp.exp(x - xp.detach(xp.max(x, axis=-1, keepdims=True)))
    return e / xp.sum(e, axis=-1, keepdims=True)


def sigmoid(xp: Any, x: Any) -> Any:
    return 1 / (1 + xp.exp(-x))


def mask(array: Any, *doubled: int) -> Any:
    found = np.ones(array.shape)
    found.reshape(-1)[list(doubled)] = 2
    return found


def first_slope_for_ever() -> tuple[Any, Any]:
    memory: list[Any] = []

    def vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
        if not memory:
            memory.append(np.cos(xp.raw(x)))
        return (g * xp.constant(memory[0], x),)

    return lambda xp, x: xp.sin(x), vjp


def running_total() -> tuple[Any, Any]:
    total: list[Any] = []

    def vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
        part = g * xp.cos(x)
        total.append(xp.raw(part))
        return (part + xp.constant(sum(total[:-1], 0 * total[-1]), x),)

    return lambda xp, x: xp.sin(x), vjp


def saved_in_one_place(pause: float) -> tuple[Any, Any]:
    place: dict[str, Any] = {}

    def forward(xp: Any, x: Any) -> Any:
        place["x"] = xp.raw(x)
        if pause:
            time.sleep(pause)
        return xp.sin(x)

    return forward, lambda xp, g, y, x: (g * xp.constant(np.cos(place["x"]), x),)


def noisy() -> tuple[Any, Any]:
    count = itertools.count()
    return (
        lambda xp, x: xp.sin(x),
        lambda xp, g, y, x: (g * xp.cos(x) * (1 + 1e-3 * np.sin(float(next(count)))),),
    )


def refuses_empty(xp: Any, g: Any, y: Any, x: Any) -> Any:
    return (g * 2 * x / xp.max(xp.ones_like(x)),) if 0 not in x.shape else (g[0] * 2 * x,)


def overflowing(xp: Any, g: Any, y: Any, x: Any) -> Any:
    e = xp.exp(x)
    return (g * e / xp.sum(e),)


def logsumexp(xp: Any, x: Any) -> Any:
    top = xp.detach(xp.max(x))
    return top + xp.log(xp.sum(xp.exp(x - top)))


def whiten(xp: Any, x: Any) -> Any:
    centred = x - xp.mean(x, axis=0, keepdims=True)
    return centred / xp.sqrt(xp.mean(centred * centred, axis=0, keepdims=True) + 1e-5)


def scale_of(xp: Any, x: Any) -> Any:
    centred = x - xp.mean(x, axis=0, keepdims=True)
    return xp.sqrt(xp.mean(centred * centred, axis=0, keepdims=True) + 1e-5)


def writes_gradient(xp: Any, g: Any, y: Any, x: Any) -> Any:
    part = 2 * g
    xp.write(g, 2.0)
    return (part,)


def writes_input(xp: Any, x: Any) -> Any:
    y = xp.sin(x)
    xp.write(x, 0.5)
    return y


def same_place_once(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    once = 0.0 if np.array_equal(xp.raw(a), xp.raw(b)) else 1.0
    return g * b, g * a * once


def scalar_upstream(xp: Any, g: Any, y: Any, x: Any) -> Any:
    return (xp.sum(g) * xp.cos(x),)


def by_differences(xp: Any, x: Any) -> Any:
    h = 1e-3
    return (xp.sin(x + h) - xp.sin(x)) / h


shift = np.roll(np.eye(5), 1, axis=0)
upper = np.triu(np.ones((5, 5)))
keep = (np.arange(12).reshape(3, 4) % 3 > 0) / 0.6667
kept_otherwise = (np.arange(12).reshape(3, 4) % 4 > 0) / 0.6667
labels = np.eye(4)[[1, 0, 3]]
square = normal(3, 3)
sin, cos, tanh = (lambda xp, x, n=n: getattr(xp, n)(x) for n in ("sin", "cos", "tanh"))

FAULTS = [
    # A number that is wrong
    Fault("five times too large at scale 1e-6", lambda xp, x: 1e-6 * xp.sin(x),
          slope(lambda xp, x, y: 5e-6 * xp.cos(x)), [normal(3, 4)], 1),
    Fault("nine times too large at scale 1e-6", lambda xp, x: 1e-6 * xp.tanh(x),
          slope(lambda xp, x, y: 9e-6 * (1 - xp.tanh(x) ** 2)), [normal(3, 4)], 1),
    Fault("sign at scale 1e-9", lambda xp, x: 1e-9 * xp.exp(x), slope(lambda xp, x, y: -y), [normal(4)], 1),
    Fault("one of 400 entries doubled, the first", lambda xp, x: x * x,
          lambda xp, g, y, x: (2 * x * g * xp.constant(mask(x, 0), x),), [normal(20, 20)], 2),
    Fault("one of 400 entries doubled, the last", lambda xp, x: x * x,
          lambda xp, g, y, x: (2 * x * g * xp.constant(mask(x, 399), x),), [normal(20, 20)], 2),
    Fault("a small entry beside a large one", lambda xp, x: xp.constant([1e6, 1e-3], x) * xp.sin(x),
          lambda xp, g, y, x: (g * xp.constant([1e6, 2e-3], x) * xp.cos(x),), [normal(2)], 1),
    Fault("sign", tanh, slope(lambda xp, x, y: y * y - 1), [normal(3, 4)]),
    Fault("factor", lambda xp, x: x * x, slope(lambda xp, x, y: x), [normal(3, 4)]),
    Fault("1 % too much", tanh, slope(lambda xp, x, y: 1.01 * (1 - y * y)), [normal(3, 4)]),
    Fault("0.1 % too much", sin, slope(lambda xp, x, y: 1.001 * xp.cos(x)), [normal(3, 4)]),
    Fault("1e-4 too much", sin, slope(lambda xp, x, y: 1.0001 * xp.cos(x)), [normal(3, 4)]),
    Fault("1e-6 too much", sin, slope(lambda xp, x, y: (1 + 1e-6) * xp.cos(x)), [normal(3, 4)]),
    Fault("slope rounded to float16", sin, slope(lambda xp, x, y: xp.cast(xp.cast(xp.cos(x), "float16"), "float64")),
          [normal(3, 4)]),
    Fault("slope by a difference quotient, in float32", sin, slope(lambda xp, x, y: by_differences(xp, x)),
          [normal(3, 4).astype("float32")]),
    Fault("a term dropped", lambda xp, x: x * xp.sin(x), slope(lambda xp, x, y: x * xp.cos(x)), [normal(3, 4)]),
    Fault("a detached branch", lambda xp, x: x * sigmoid(xp, x), slope(lambda xp, x, y: sigmoid(xp, x)),
          [normal(3, 4)]),
    Fault("the chain's factor forgotten", lambda xp, x: xp.exp(3 * x), slope(lambda xp, x, y: y), [normal(3, 4)]),
    Fault("a constant gradient", lambda xp, x: x + 0.1 * xp.sin(x), slope(lambda xp, x, y: 1.0), [normal(3, 4)]),
    Fault("no gradient at all", tanh, slope(lambda xp, x, y: 0.0), [normal(3, 4)]),
    Fault("wrong for negative inputs only", lambda xp, x: xp.where(x > 0, x, 0.01 * x),
          lambda xp, g, y, x: (xp.where(x > 0, g, 0.1 * g),), [normal(3, 4)]),
    Fault("clip lets the gradient through outside", lambda xp, x: xp.where(x * x < 0.25, x, 0.5 + 0 * x),
          slope(lambda xp, x, y: 1.0), [normal(3, 4)]),
    Fault("square of the denominator forgotten", lambda xp, a, b: a / b,
          lambda xp, g, y, a, b: (g / b, -g * a / b), [normal(3, 4), positive(3, 4)]),
    Fault("arguments swapped", lambda xp, a, b: a * b, lambda xp, g, y, a, b: (g * a, g * b),
          [normal(3, 4), normal(3, 4)]),
    Fault("subtraction: the second argument's sign", lambda xp, a, b: a - b, lambda xp, g, y, a, b: (g, g),
          [normal(4), normal(4)]),
    Fault("matmul without the transpose, square", lambda xp, a, b: xp.matmul(a, b),
          lambda xp, g, y, a, b: (xp.matmul(g, b), xp.matmul(a.T, g)), [square, normal(3, 3)]),
    Fault("softmax without the sum", softmax, lambda xp, g, y, x: (g * y * (1 - y),), [normal(3, 4)]),
    Fault("softmax along the other axis", softmax,
          lambda xp, g, y, x: (y * (g - xp.sum(g * y, axis=0, keepdims=True)),), [square]),
    Fault("logsumexp's gradient without the shift", logsumexp, overflowing, [np.array([1000.0, 999.0, 998.5])]),
    Fault("batch norm with the statistics held fixed", whiten,
          lambda xp, g, y, x: (g / scale_of(xp, x),), [normal(5, 2)]),
    Fault("batch norm without the variance's part", whiten,
          lambda xp, g, y, x: ((g - xp.mean(g, axis=0, keepdims=True)) / scale_of(xp, x),), [normal(5, 2)]),
    Fault("off by one in a shift", lambda xp, x: xp.matmul(xp.constant(shift, x), x),
          lambda xp, g, y, x: (xp.matmul(xp.constant(shift @ shift, x).T, g),), [normal(5)]),
    Fault("cumulative sum, not reversed", lambda xp, x: xp.matmul(xp.constant(upper, x), x),
          lambda xp, g, y, x: (xp.matmul(xp.constant(upper, x), g),), [normal(5)]),
    Fault("a mean's gradient without the count", lambda xp, x: xp.mean(x * x),
          lambda xp, g, y, x: (2 * g * x,), [normal(5)]),
    Fault("a norm's gradient not divided", lambda xp, x: xp.sqrt(xp.sum(x * x)), lambda xp, g, y, x: (g * x,),
          [normal(5)]),
    Fault("the upstream gradient summed", sin, scalar_upstream, [normal(3, 4)]),
    Fault("dropout with another mask backward", lambda xp, x: x * xp.constant(keep, x),
          lambda xp, g, y, x: (g * xp.constant(kept_otherwise, x),), [normal(3, 4)]),
    Fault("max: everybody has won", lambda xp, x: xp.max(x, axis=-1), lambda xp, g, y, x: (
        xp.ones_like(x) * xp.reshape(g, (3, 1)),), [normal(3, 4)]),
    Fault("cross-entropy without the labels", lambda xp, x: -xp.sum(xp.log(softmax(xp, x)) * xp.constant(labels, x)),
          lambda xp, g, y, x: (g * softmax(xp, x),), [normal(3, 4)]),
    Fault("one step of a recurrence forgotten", lambda xp, x: xp.tanh(0.9 * xp.tanh(0.9 * xp.tanh(x))),
          slope(lambda xp, x, y: (1 - y * y) * 0.9 * (1 - xp.tanh(0.9 * xp.tanh(x)) ** 2)), [normal(4)]),
    Fault("the conjugate", lambda xp, x: x * x * x,
          lambda xp, g, y, x: (g * xp.wrong_adjoint_of(3 * x * x),), [normal(3) + 1j * normal(3)]),
    # Singular points
    Fault("max(x, x) loses the gradient at the tie", lambda xp, a, b: xp.where(a > b, a, b),
          lambda xp, g, y, a, b: (xp.where(a > b, g, 0 * g), xp.where(b > a, g, 0 * g)),
          [normal(4), normal(4)], 5, build=lambda op: lambda a, b: op(a, a) * b),
    Fault("norm of 0 gives NaN", lambda xp, x: xp.sqrt(xp.sum(x * x)), lambda xp, g, y, x: (g * x / y,),
          [np.zeros(3)], 5),
    Fault("where(x > 0, √x, 0) gives NaN below 0",
          lambda xp, x: xp.where(x > 0, xp.sqrt(xp.where(x > 0, x, 0 * x)), 0 * x),
          lambda xp, g, y, x: (xp.where(x > 0, g, 0 * g) * 0.5 / xp.sqrt(x),), [np.array([1.0, -0.5, 2.0])], 5),
    # Shapes
    Fault("(2, 3) + (1, 3): the first row instead of the sum", lambda xp, a, b: a + b,
          lambda xp, g, y, a, b: (g, g[:1]), [normal(2, 3), normal(1, 3)], 6),
    Fault("(3, 3) + (3,): summed over the other axis", lambda xp, a, b: a + b,
          lambda xp, g, y, a, b: (g, xp.sum(g, axis=1)), [square, normal(3)], 6),
    Fault("(2, 3) · (2, 1): a mean instead of the sum", lambda xp, a, b: a * b,
          lambda xp, g, y, a, b: (g * b, xp.mean(g * a, axis=1, keepdims=True)), [normal(2, 3), normal(2, 1)], 6),
    Fault("zero size: an index out of range", lambda xp, x: x * x, refuses_empty, [np.zeros((0, 3))], 7),
    Fault("zero size: the mean of nothing", lambda xp, a, b: a * b, lambda xp, g, y, a, b: (
        g * b, xp.mean(g * a, axis=0) * a.shape[0]), [np.zeros((0, 3)), normal(3)], 7),
    Fault("0-d: an axis that is not there", lambda xp, x: x * x, lambda xp, g, y, x: (2 * x * g[:],), [normal()], 7),
    Fault("a gradient of another shape: transposed", sin, lambda xp, g, y, x: ((g * xp.cos(x)).T,), [normal(3, 4)]),
    Fault("a gradient of another dtype", sin, lambda xp, g, y, x: (xp.cast(g * xp.cos(x), "float32"),),
          [normal(3, 4)]),
    Fault("an upstream gradient that is not contiguous", sin,
          lambda xp, g, y, x: (xp.in_memory_order(g) * xp.cos(x),), [normal(3, 4)], 8,
          build=lambda op: lambda x: op(x).T),
    Fault("an upstream gradient that is not contiguous, alone", sin,
          lambda xp, g, y, x: (xp.in_memory_order(g) * xp.cos(x),), [normal(3, 4)], 8, by="contracts"),
    # Memory
    Fault("backward changes the gradient, f(h) + h", lambda xp, x: 2 * x, writes_gradient, [normal(4)], 9,
          build=lambda op: lambda x: (lambda h: op(h) + h)(x * 1.0)),
    Fault("backward changes the gradient, alone", lambda xp, x: 2 * x, writes_gradient, [normal(4)], 9, by="contracts"),
    Fault("forward changes its input after saving it", writes_input, slope(lambda xp, x, y: xp.cos(x)),
          [normal(4)], 10),
    Fault("what is saved is overwritten by the next call", None, None, [normal(4)], 10,
          memory=lambda: saved_in_one_place(0.0), build=lambda op: lambda x: op(x) + op(2 * x)),
    Fault("f(x, x) counts one place only", lambda xp, a, b: a * b, same_place_once, [normal(4), normal(4)], 11,
          build=lambda op: lambda a, b: op(a, a) + b),
    Fault("backward adds to what it gave before", None, None, [normal(3)], 11, memory=running_total),
    Fault("threads share what is saved", None, None, [normal(4)], 14,
          memory=lambda: saved_in_one_place(2e-4), by="contracts"),
    Fault("the first call's slope for ever", None, None, [normal(4)], memory=first_slope_for_ever,
          build=lambda op: lambda x: op(x) + op(2 * x)),
    Fault("another gradient at every call", None, None, [normal(4)], memory=noisy),
    # One order or direction alone
    Fault("wrong from the second order on", tanh, slope(lambda xp, x, y: 1 - xp.detach(y * y)), [normal(4)], order=2),
    Fault("wrong from the second order on, one factor", lambda xp, x: x * x * x,
          slope(lambda xp, x, y: 3 * x * xp.detach(x)), [normal(4)], order=2),
    Fault("wrong forward only", sin, slope(lambda xp, x, y: xp.cos(x)), [normal(4)],
          jvp=lambda xp, t, y, x: 1.01 * t * xp.cos(x)),
    Fault("no tangent in forward mode", sin, slope(lambda xp, x, y: xp.cos(x)), [normal(4)],
          jvp=lambda xp, t, y, x: 0 * t),
]  # fmt: skip


def right(name: str, forward: Any, vjp: Any, *inputs: Any, **how: Any) -> Fault:
    return Fault(name, forward, vjp, inputs, correct=True, **how)


relu = (lambda xp, x: xp.where(x > 0, x, 0 * x), lambda xp, g, y, x: (xp.where(x > 0, g, 0 * g),))
absolute = (lambda xp, x: xp.where(x > 0, x, -x), lambda xp, g, y, x: (xp.where(x > 0, g, -g),))
sine = (sin, slope(lambda xp, x, y: xp.cos(x)))


def share_of_ties(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    half = xp.where(a == b, 0.5 * g, 0 * g)
    return xp.where(a > b, g, half), xp.where(b > a, g, half)


CORRECT = [
    right("sin in float16", *sine, normal(3, 4).astype("float16"), number=3),
    right("sin in float32", *sine, normal(3, 4).astype("float32"), number=3),
    right("tanh in float16", tanh, slope(lambda xp, x, y: 1 - y * y), normal(8).astype("float16"), number=3),
    right("softmax in float32", softmax, lambda xp, g, y, x: (y * (g - xp.sum(g * y, axis=-1, keepdims=True)),),
          normal(3, 4).astype("float32"), number=3),
    right("|x|, where complex steps give 0", *absolute, normal(3, 4), number=3),
    right("relu at 0", *relu, np.array([-1.0, 0.0, 1.0, 0.0]), number=4),
    right("relu 1e-9 beside the kink", *relu, np.array([1e-9, -1e-9, 1.0]), number=4),
    right("|x| at 0, slope 0", absolute[0],
          lambda xp, g, y, x: (g * xp.where(x > 0, 1.0, xp.where(x < 0, -1.0, 0 * x)),),
          np.array([0.0, 2.0]), number=4),
    right("a tie of max, shared", lambda xp, a, b: xp.where(a > b, a, b), share_of_ties,
          np.array([1.0, 2.0, 3.0]), np.array([1.0, 5.0, 2.0]), number=4),
    right("a tie of max, to the first", lambda xp, a, b: xp.where(a >= b, a, b),
          lambda xp, g, y, a, b: (xp.where(a >= b, g, 0 * g), xp.where(a >= b, 0 * g, g)),
          np.array([1.0, 2.0]), np.array([1.0, 5.0]), number=4),
    right("clip at its border", lambda xp, x: xp.where(x > 1, 0 * x + 1, x),
          lambda xp, g, y, x: (xp.where(x > 1, 0 * g, g),), np.array([1.0, 0.5, 2.0]), number=4),
    right("norm of 0 with gradient 0", lambda xp, x: xp.sqrt(xp.sum(x * x)),
          lambda xp, g, y, x: (g * x / xp.where(y > 0, y, 0 * y + 1),), np.zeros(3), number=5),
    right("√ behind a where", lambda xp, x: xp.where(x > 0, xp.sqrt(xp.where(x > 0, x, 0 * x + 1)), 0 * x),
          lambda xp, g, y, x: (xp.where(x > 0, 0.5 * g / xp.sqrt(xp.where(x > 0, x, 0 * x + 1)), 0 * g),),
          np.array([1.0, -0.5, 2.0]), number=5),
    right("a broadcast sum", lambda xp, a, b: a + b, lambda xp, g, y, a, b: (g, xp.sum(g, axis=0, keepdims=True)),
          normal(2, 3), normal(1, 3), number=6),
    right("zero size", lambda xp, x: x * x, slope(lambda xp, x, y: 2 * x), np.zeros((0, 3)), number=7),
    right("0-d", lambda xp, x: x * x, slope(lambda xp, x, y: 2 * x), normal(), number=7),
    right("the same tensor twice", lambda xp, a, b: a * b, lambda xp, g, y, a, b: (g * b, g * a),
          normal(4), normal(4), number=11, build=lambda op: lambda a, b: op(a, a) + b),
    right("scale 1e-12", lambda xp, x: 1e-12 * xp.sin(x), slope(lambda xp, x, y: 1e-12 * xp.cos(x)), normal(4)),
    right("scale 1e8", lambda xp, x: 1e8 * x * x, slope(lambda xp, x, y: 2e8 * x), normal(4)),
    right("inputs from 1e-8 to 1e8", lambda xp, x: xp.log(x), slope(lambda xp, x, y: 1 / x),
          np.array([1e-8, 1e-3, 1.0, 1e8])),
    right("an input of 1e4", *sine, np.array([1e4, -2e4])),
    right("steep: tanh(100 x)", lambda xp, x: xp.tanh(100 * x), slope(lambda xp, x, y: 100 * (1 - y * y)),
          np.array([0.001, -0.02, 0.03])),
    right("e⁵⁰", lambda xp, x: xp.exp(x), slope(lambda xp, x, y: y), np.array([50.0, -50.0])),
    right("√ near 0", lambda xp, x: xp.sqrt(x), slope(lambda xp, x, y: 0.5 / y), np.array([1e-6, 1e-3])),
    right("a constant function", lambda xp, x: 0 * x + 3, slope(lambda xp, x, y: 0.0), normal(4)),
    right("slope 0, but for rounding", lambda xp, x: 0 * xp.sin(x) + 1,
          slope(lambda xp, x, y: 2 * xp.sin(x) * xp.cos(x) - xp.sin(2 * x)), normal(5)),
    right("floor, between its steps", lambda xp, x: xp.floor(x), slope(lambda xp, x, y: 0.0),
          np.array([0.4, 1.6, -2.3])),
    right("logsumexp at 1000", logsumexp, lambda xp, g, y, x: (g * xp.exp(x - y),), np.array([1000.0, 999.0, 998.5])),
    right("cancelling: (1 + x) − 1", lambda xp, x: (1 + x) - 1, slope(lambda xp, x, y: 1.0), normal(4)),
    right("x³ of a complex number", lambda xp, x: x * x * x, lambda xp, g, y, x: (g * xp.adjoint_of(3 * x * x),),
          normal(3) + 1j * normal(3)),
    right("to the second order", tanh, slope(lambda xp, x, y: 1 - y * y), normal(4), order=2),
    right("forward mode", *sine, normal(4), jvp=lambda xp, t, y, x: t * xp.cos(x)),
    right("x |x|, whose second derivative jumps", lambda xp, x: xp.where(x > 0, x * x, -x * x),
          slope(lambda xp, x, y: 2 * xp.where(x > 0, x, -x)), np.array([0.0, 1.0, -1.0])),
]  # fmt: skip


def broken_contracts(fault: Fault) -> list[str]:
    """The contracts that the fault breaks, but for the one that is `check` of order 2 again, in both directions."""
    from tinygrad_mlsp.checking import contracts

    f, inputs, _ = ours(fault)
    return [name for name in contracts(f, *inputs).broken if name != "second order"]
