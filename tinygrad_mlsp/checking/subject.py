"""What is checked, in one view: a function on Tensors, or any callable on arrays with its gradient beside it."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..derivatives import flatten, jvp, vjp
from ..errors import DTypeError, OptionError, ShapeError
from ..namespace import asarray
from ..tensor import Tensor, no_grad

Array = np.ndarray[Any, Any]


class Misfit(Exception):
    """An analytic gradient that is wrong before its numbers are looked at: its shape, its kind, its length."""


@dataclass
class Leaf:
    """One array that f is differentiated by: where it came from, and how f wants to see it."""

    argument: int
    name: str
    original: Any  # as f gets it: the user's own layout
    array: Array  # its values on the host, a copy
    restore: Callable[[Array], Any]  # other values in the form that f takes

    @property
    def described(self) -> str:
        return f"{self.name}: {self.array.dtype} {list(self.array.shape)}"


def to_host(value: Any, what: str) -> Array:
    """A NumPy array of a Tensor, a number, an array, or another library's array."""
    if isinstance(value, Tensor):
        return np.array(value.detach().numpy())
    if hasattr(value, "detach"):  # torch hands out no array of a tensor that takes part in a graph
        value = value.detach()
    if not isinstance(value, (np.ndarray, np.generic)) and hasattr(value, "__dlpack__"):
        try:
            value = np.from_dlpack(value)
        except (RuntimeError, BufferError, TypeError, ValueError):
            value = value.get() if hasattr(value, "get") else value.cpu() if hasattr(value, "cpu") else value
    try:
        array = np.array(value)
    except (TypeError, ValueError) as problem:
        raise DTypeError(f"check: {what} is a {type(value).__name__}, which is no array of numbers") from problem
    if array.dtype.kind not in "fciub":
        raise DTypeError(f"check: {what} is a {type(value).__name__} of dtype {array.dtype}, not an array of numbers")
    return array


def _restorer(value: Any, ours: bool) -> Callable[[Array], Any]:
    """The function that gives an array the form in which `value` came."""
    if isinstance(value, Tensor):
        device = value.device
        return lambda array: Tensor(array, device=device)
    if ours:
        return Tensor
    if isinstance(value, (np.ndarray, list)):
        return lambda array: array
    if isinstance(value, (float, complex, np.generic)):
        return lambda array: array[()]
    library: Any = sys.modules[type(value).__module__.partition(".")[0].removesuffix("lib")]
    module: Any
    for module in (library, getattr(library, "numpy", None), getattr(library, "dlpack", None)):
        if hasattr(module, "from_dlpack"):
            take = module.from_dlpack
            return lambda array: take(array)
    raise DTypeError(f"check: do not know how to make a {type(value).__name__} of an array; wrap the function")


def _parameter_names(f: Callable[..., Any], count: int) -> list[str]:
    """The names of f's positional parameters, or x, or x0, x1, … where it has none."""
    try:
        found = [
            p.name
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        found = []
    plain = ["x"] if count == 1 else [f"x{i}" for i in range(count)]
    return [found[i] if i < len(found) else plain[i] for i in range(count)]


class Subject:
    """f at its inputs: its values, and what its analytic side says, as lists of NumPy arrays.

    Without `gradient`, `vjp`, `jvp` or `jacobian`, f is a function on Tensors and the engine differentiates it.
    With one of them, f is any callable on arrays:

        gradient(*inputs)             of a scalar f: one array for each differentiated input
        jacobian(*inputs)             for each differentiated input an array of shape [*f(x).shape, *x.shape]
        vjp(*inputs, cotangent)       Jᵀ cotangent, one array for each differentiated input
        jvp(*inputs, *tangents)       J tangents, nested as f's value
    """

    def __init__(
        self,
        f: Callable[..., Any],
        inputs: Sequence[Any],
        gradient: Callable[..., Any] | None = None,
        argnums: int | Sequence[int] | None = None,
        **given: Callable[..., Any] | None,
    ) -> None:
        if not callable(f):
            raise DTypeError(f"check: takes a function, then its inputs, not {type(f).__name__}")
        self.given = {k: v for k, v in {"gradient": gradient, **given}.items() if v is not None}
        for name, function in self.given.items():
            if not callable(function):
                raise DTypeError(f"check: {name} is a function of the inputs, not {type(function).__name__}")
        self.f, self.ours = f, not self.given
        self.evaluations = 0
        self.function = getattr(f, "__name__", None) or type(f).__name__
        chosen = self._chosen(argnums, len(inputs))
        self.leaves: list[Leaf] = []
        self.passed: list[Any] = []  # every leaf of every argument, the differentiated ones replaced call by call
        self.places: list[int] = []
        self.unflatten: list[tuple[int, Callable[[Sequence[Any]], Any]]] = []
        for argument, name in enumerate(_parameter_names(f, len(inputs))):
            found, rebuild = flatten(inputs[argument])
            self.unflatten.append((len(found), rebuild))
            for k, value in enumerate(found):
                label = name if len(found) == 1 else f"{name}.{k}"
                self._take(value, argument, label, argument in chosen, stated=argnums is not None)
        if not self.leaves:
            kinds = ", ".join(_kind(x) for x in inputs) or "none"
            raise DTypeError(
                f"check: no input of {self.function} is floating-point or complex, so there is nothing to "
                f"differentiate by; the inputs are: {kinds}"
            )
        self.like_output: Callable[[Sequence[Any]], Any] = tuple
        self.differentiable: list[bool] = []

    @staticmethod
    def _chosen(argnums: int | Sequence[int] | None, count: int) -> set[int]:
        if argnums is None:
            return {*range(count)}
        numbers = [argnums] if isinstance(argnums, (int, np.integer)) else list(argnums)
        if not numbers or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) for n in numbers):
            raise OptionError(f"check: argnums is a whole number or a tuple of them, not {argnums!r}")
        if not all(-count <= n < count for n in numbers):
            raise OptionError(f"check: argnums {tuple(numbers)} do not fit {count} input(s)")
        return {int(n) % count for n in numbers}

    def _take(self, value: Any, argument: int, name: str, chosen: bool, stated: bool) -> None:
        is_array = isinstance(value, Tensor) or hasattr(value, "__dlpack__") or hasattr(value, "__array__")
        numeric = is_array or isinstance(value, (int, float, complex, list))
        if numeric and not isinstance(value, bool):
            array = to_host(value, f"input {name}")
            if chosen and array.dtype.kind in "fc":
                restore = _restorer(value, self.ours)
                original = value.detach() if isinstance(value, Tensor) else value
                if not isinstance(value, Tensor) and (self.ours or not is_array):
                    original = restore(value if isinstance(value, np.ndarray) else array)
                self.leaves.append(Leaf(argument, name, original, array, restore))
                self.places.append(len(self.passed))
            elif chosen and stated:
                raise DTypeError(
                    f"check: argnums names input {name}, which is {array.dtype} and has no derivative; use floats"
                )
        self.passed.append(value)

    # The call

    def _call(self, f: Callable[..., Any], leaves: Sequence[Any], *more: Any) -> Any:
        passed = list(self.passed)
        for place, leaf in zip(self.places, leaves, strict=True):
            passed[place] = leaf
        at, arguments = 0, []
        for count, rebuild in self.unflatten:
            arguments.append(rebuild(passed[at : at + count]))
            at += count
        self.evaluations += 1
        return f(*arguments, *more)

    def objects(self, arrays: Sequence[Array] | None) -> list[Any]:
        """The leaves as f takes them; the user's own if no arrays are given."""
        if arrays is None:
            return [leaf.original for leaf in self.leaves]
        return [leaf.restore(array) for leaf, array in zip(self.leaves, arrays, strict=True)]

    def values(self, arrays: Sequence[Array] | None = None) -> list[Array]:
        """f's floating-point and complex outputs."""
        with no_grad():
            result = self._call(self.f, self.objects(arrays))
        found, self.like_output = flatten(result)
        if self.ours:
            for value in found:
                if not isinstance(value, Tensor):
                    raise DTypeError(
                        f"check: {self.function} returned a {type(value).__name__}, not a Tensor, so the engine has "
                        "nothing to differentiate; give its derivative with gradient=, vjp=, jvp= or jacobian="
                    )
        host = [to_host(value, f"what {self.function} returned") for value in found]
        self.differentiable = [y.dtype.kind in "fc" for y in host]
        return [y for y, wanted in zip(host, self.differentiable, strict=True) if wanted]

    def flat(self, *leaves: Any) -> tuple[Any, ...]:
        """f from its differentiated leaves to its differentiable outputs."""
        found = flatten(self._call(self.f, leaves))[0]
        return tuple(y for y in found if y.dtype.kind in "fc")

    # The analytic side

    def modes(self, wanted: Sequence[str]) -> list[str]:
        """The names of the analytic sides that there are."""
        return list(wanted) if self.ours else list(self.given)

    def puller(self, mode: str, arrays: Sequence[Array] | None) -> Callable[[list[Array]], list[Array]]:
        """cotangents ↦ Jᵀ cotangents, at the user's own inputs or at others."""
        leaves = self.objects(arrays)
        if self.ours:
            _, pull = vjp(self.flat, *leaves)
            devices = [getattr(x, "device", None) for x in leaves]

            def ours(cotangents: list[Array]) -> list[Array]:
                self.evaluations += 1
                found = pull(tuple(asarray(c, device=devices[0]) for c in cotangents))
                return self._fitting(mode, found, self.leaves)

            return ours
        if mode == "vjp":
            return lambda cotangents: self._fitting(
                mode, self._call(self.given[mode], leaves, self._cotangent(cotangents)), self.leaves
            )
        result = self._call(self.given[mode], leaves)
        if mode == "gradient":
            (row,) = [self._fitting(mode, result, self.leaves)]
            return lambda cotangents: [row_ * cotangents[0].reshape(()) for row_ in row]
        raise AssertionError(mode)

    def matrix(self, arrays: Sequence[Array] | None, shape: tuple[int, ...]) -> list[Array]:
        """What `jacobian` returns: an array of shape [*y.shape, *x.shape] for each leaf."""
        result = self._call(self.given["jacobian"], self.objects(arrays))
        return self._fitting("jacobian", result, self.leaves, shape)

    def pusher(self, mode: str, arrays: Sequence[Array] | None) -> Callable[[list[Array]], list[Array]]:
        """tangents ↦ J tangents."""
        leaves = self.objects(arrays)
        if self.ours:

            def ours(tangents: list[Array]) -> list[Array]:
                moved = jvp(self.flat, leaves, self.objects(tangents))[1]
                return [to_host(t, "a tangent") for t in moved]

            return ours
        return lambda tangents: self._outputs(self._call(self.given[mode], leaves, *self.objects(tangents)))

    def _cotangent(self, cotangents: list[Array]) -> Any:
        rest = iter(cotangents)
        return self.like_output([next(rest) if wanted else None for wanted in self.differentiable])

    def _outputs(self, result: Any) -> list[Array]:
        found = [to_host(t, "what jvp returned") for t in flatten(result)[0]]
        return [t for t, wanted in zip(found, self.differentiable) if wanted]

    def _fitting(self, mode: str, result: Any, leaves: Sequence[Leaf], front: tuple[int, ...] = ()) -> list[Array]:
        """The gradients as arrays of the leaves' shapes; Misfit if they are anything else."""
        found = flatten(result)[0]
        if len(found) != len(leaves) and isinstance(result, (list, tuple)):
            found = list(result)
        if len(found) == len(self.passed) != len(leaves):
            found = [found[place] for place in self.places]
        if len(found) != len(leaves):
            raise Misfit(f"{mode} returned {len(found)} array(s) for {len(leaves)} differentiated input(s)")
        fitted = []
        for value, leaf in zip(found, leaves, strict=True):
            if value is None:
                raise Misfit(f"{mode} returned None for input {leaf.name}; zeros say that f does not depend on it")
            try:
                array = to_host(value, f"the {mode} for input {leaf.name}")
            except DTypeError as problem:
                raise Misfit(str(problem).removeprefix("check: ")) from problem
            wanted = front + leaf.array.shape
            if array.shape != wanted:
                raise Misfit(f"{mode} returned shape {array.shape} for input {leaf.name}, which asks for {wanted}")
            if array.dtype.kind == "c" and leaf.array.dtype.kind != "c" and mode != "jacobian":
                raise Misfit(f"{mode} returned a complex array for the real input {leaf.name}")
            fitted.append(array)
        return fitted

    # The next order

    def derived(self, outputs: Sequence[Array], generator: np.random.Generator, forward: bool = False) -> Subject:
        """(x, v) ↦ Jᵀ(x) v, whose derivatives are those of the next order, at random cotangents v; with `forward`
        (x, v) ↦ J(x) v at random tangents."""
        if not self.ours:
            raise OptionError("check: order above 1 needs a function on Tensors; check the gradient's own derivative")
        count = len(self.leaves)
        device = getattr(self.leaves[0].original, "device", None)

        @functools.wraps(self.f)
        def gradient(*arguments: Any) -> Any:
            if forward:
                return jvp(self.flat, arguments[:count], arguments[count:])[1]
            _, pull = vjp(self.flat, *arguments[:count])
            return pull(tuple(arguments[count:]))

        cotangents = []
        for y in [leaf.array for leaf in self.leaves] if forward else outputs:
            v = generator.uniform(0.5, 1.5, y.shape) * generator.choice([-1.0, 1.0], y.shape)
            cotangents.append(Tensor(np.asarray(v).astype(y.dtype), device=device))
        names = [leaf.name for leaf in self.leaves] + [f"v{i or ''}" for i in range(len(cotangents))]
        found = Subject(gradient, [leaf.original for leaf in self.leaves] + cotangents)
        for leaf, name in zip(found.leaves, names, strict=True):
            leaf.name = name
        for leaf, own in zip(found.leaves, self.leaves):
            leaf.argument = own.argument
        return found


def _kind(value: Any) -> str:
    dtype = getattr(value, "dtype", None)
    return f"{type(value).__name__} of {dtype}" if dtype is not None else type(value).__name__


def require_scalar(subject: Subject, outputs: Sequence[Array]) -> None:
    """`gradient` belongs to a scalar f, `jacobian` to one with a single output."""
    shapes = ", ".join(str(y.shape) for y in outputs)
    if "gradient" in subject.given and (len(outputs) != 1 or outputs[0].size != 1 or outputs[0].dtype.kind == "c"):
        raise ShapeError(
            f"check: {subject.function} returned {shapes or 'nothing'}, but gradient= is for one real number; "
            "give vjp=, jvp= or jacobian= instead, or check lambda x: f(x).sum()"
        )
    if "jacobian" in subject.given and len(outputs) != 1:
        raise ShapeError(f"check: jacobian= is for one output, {subject.function} returned {len(outputs)}; use vjp=")
