"""Optimizers with a line search: L-BFGS, BFGS, nonlinear conjugate gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..backend import space_of, to_device
from ..errors import OptionError, ShapeError
from ..sweep import wrote
from ..tensor import Tensor, enable_grad, wrap
from .line_search import Point, strong_wolfe
from .optimizer import Arena, Optimizer, _arenas


class WholeBatch(Optimizer):
    """What optimizers share that look at one loss many times in a step: one vector of all parameters, one memory.

    The loss must be the same function at each look: all the data or one batch, no dropout.
    """

    remembered: tuple[str, ...] = ("func_evals", "n_iter")

    def __init__(self, params: Iterable[Any], options: dict[str, Any]) -> None:
        super().__init__(params, options)
        if len(self._arenas[0]) != 1:
            raise OptionError(f"{type(self).__name__}: all parameters must be of one dtype and on one device")
        self._memory: dict[str, Any] = {}
        self.watch: Callable[[Any, float, Any], None] | None = None  # sees x, f(x), ∇f(x) after every iteration

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        if self.param_groups:
            raise OptionError(f"{type(self).__name__}: takes one group of parameters")
        super().add_param_group(group)

    def _check_counts(self, options: Mapping[str, Any], *names: str) -> None:
        for name in names:
            value = options[name]
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise OptionError(f"{type(self).__name__}: {name} must be a whole number of 1 or more, got {value!r}")

    @property
    def _arena(self) -> Arena:
        arena = self._arenas[0][0]
        if arena.moved():
            self._arenas = [_arenas(self.param_groups[0]["params"])]
            self._memory.clear()
            arena = self._arenas[0][0]
        return arena

    def _count(self, name: str, more: int = 1) -> int:
        self._memory[name] = self._memory.get(name, 0) + more
        return self._memory[name]

    def _move(self, x: Any) -> None:
        arena = self._arenas[0][0]
        arena.values[...] = x
        wrote(arena.values)

    def _gradient_here(self) -> Any:
        """All gradients end to end, in memory of their own."""
        arena = self._arenas[0][0]
        parts = [arena.xp.zeros((p.size,), dtype=p.dtype) if p.grad is None else p.grad._array.reshape(-1)
                 for p in arena.parameters]  # fmt: skip
        return arena.xp.concat(parts)

    # State

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """What is remembered, at the first parameter, as PyTorch's LBFGS has it."""
        return {self.param_groups[0]["params"][0]: _tensors(self._memory)} if self._memory else {}

    def state_dict(self) -> dict[str, Any]:
        options = {k: v for k, v in self.param_groups[0].items() if k != "params"}
        numbers = list(range(len(self.param_groups[0]["params"])))
        return {"state": {0: _tensors(self._memory, copy=True)} if self._memory else {},
                "param_groups": [{**options, "params": numbers}]}  # fmt: skip

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict({**state_dict, "state": {}} if isinstance(state_dict, Mapping) else state_dict)
        entry, arena = state_dict["state"].get(0, {}), self._arena
        unknown = set(entry) - set(self.remembered)
        if unknown:
            raise OptionError(f"{type(self).__name__}.load_state_dict: has no state {sorted(unknown)}")
        for name in ("d", "prev_flat_grad"):
            if name in entry and tuple(entry[name].shape) != arena.values.shape:
                raise ShapeError(f"{type(self).__name__}.load_state_dict: {name} has shape {list(entry[name].shape)}, "
                                 f"the parameters are {arena.values.size} numbers")  # fmt: skip
        self._memory = {name: _arrays(value, arena.device) for name, value in entry.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._memory, self.watch = {}, None
        super().__setstate__(state)


def _tensors(value: Any, copy: bool = False) -> Any:
    if isinstance(value, dict):
        return {k: _tensors(v, copy) for k, v in value.items()}
    if isinstance(value, list):
        return [_tensors(v, copy) for v in value]
    return wrap(value.copy() if copy else value, None) if getattr(value, "ndim", 0) else value


def _arrays(value: Any, device: str) -> Any:
    if isinstance(value, list):
        return [_arrays(v, device) for v in value]
    if getattr(value, "ndim", None) == 0:
        return float(value)
    return to_device(value._array if isinstance(value, Tensor) else value, device) if hasattr(value, "ndim") else value


def size_of(g: Any) -> float:
    """max |g|, which is not a number if one of its entries is none."""
    xp = space_of(g)
    return float(xp.max(xp.abs(g))) if g.size else 0.0


def dot(a: Any, b: Any) -> float:
    return float(space_of(a).dot(a, b))


class LineSearch(WholeBatch):
    """x ← x + t d along a direction d that the subclass chooses, until one of the tolerances is met"""

    remembered: tuple[str, ...] = ("func_evals", "n_iter", "d", "t", "prev_flat_grad", "prev_loss")
    c2 = 0.9
    roundings = 0  # by how many of its roundings a loss may seem higher where its slope says that it is lower

    def __init__(
        self, params: Iterable[Any], lr: float, max_iter: int, max_eval: int | None, tolerance_grad: float,
        tolerance_change: float, line_search_fn: str | None, **more: Any,
    ) -> None:  # fmt: skip
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        options = {"lr": lr, "max_iter": max_iter, "max_eval": max_eval, "tolerance_grad": tolerance_grad,
                   "tolerance_change": tolerance_change, **more, "line_search_fn": line_search_fn}  # fmt: skip
        super().__init__(params, options)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "tolerance_grad", "tolerance_change")
        self._check_counts(options, "max_iter", "max_eval")
        if options["line_search_fn"] not in (None, "strong_wolfe"):
            raise OptionError(
                f"{type(self).__name__}: line_search_fn is None or 'strong_wolfe', not {options['line_search_fn']!r}"
            )

    def _direction(self, g: Any) -> Any:
        """Where to go, from the gradient here, and what is remembered of the iteration before."""
        raise NotImplementedError

    def _first_step(self, g: Any, slope: float) -> float:
        lr = self.param_groups[0]["lr"]
        return lr if self._memory["n_iter"] > 1 else min(1.0, 1.0 / float(space_of(g).sum(space_of(g).abs(g)))) * lr

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to max_iter iterations; `closure` forgets the gradients, computes the loss, calls backward, returns it.

        Returns: the loss before the step.
        """
        if closure is None:
            raise OptionError(f"{type(self).__name__}.step: wants a closure that computes the loss and its gradients")
        arena, memory, options = self._arena, self._memory, self.param_groups[0]
        xp, small = arena.xp, options["tolerance_change"]

        def look() -> tuple[Any, float, Any]:
            with enable_grad():
                value = closure()
            return value, float(value), self._gradient_here()

        def along(x: Any, t: float, d: Any) -> Point:
            self._move(x + t * d)
            _, f, g = look()
            return Point(t, f, dot(g, d), g)

        first, loss, g = look()
        self._count("func_evals")
        asked = 1
        if size_of(g) <= options["tolerance_grad"]:
            return first
        for iteration in range(1, options["max_iter"] + 1):
            self._count("n_iter")
            d = self._direction(g)
            slope, before = dot(g, d), loss
            t = self._first_step(g, slope)
            memory.update(d=d, t=t, prev_flat_grad=g, prev_loss=loss)
            if slope > -small:
                break
            if options["line_search_fn"]:
                x = xp.asarray(arena.values, copy=True)
                point, asks = strong_wolfe(
                    lambda t, x=x, d=d: along(x, t, d), Point(0.0, loss, slope, g), t, c2=self.c2,  # type: ignore[misc]
                    smallest=small / size_of(d),
                    rounding=self.roundings * float(xp.finfo(arena.values.dtype).eps) * abs(loss),
                )  # fmt: skip
                memory["t"], loss, g = point.t, point.f, point.known
                t = point.t
                self._move(x + t * d)
            else:
                self._move(arena.values + t * d)
                asks = 0
                if iteration < options["max_iter"]:
                    _, loss, g = look()
                    asks = 1
            asked += asks
            self._count("func_evals", asks)
            if self.watch is not None:
                self.watch(arena.values, loss, g)
            if (
                asked >= options["max_eval"] or size_of(g) <= options["tolerance_grad"]
                or size_of(d) * abs(t) <= small or abs(loss - before) < small or not math.isfinite(loss)
            ):  # fmt: skip
                break
        return first


class LBFGS(LineSearch):
    """d = −H g with H from the last history_size pairs s = Δx, y = Δg, applied by Nocedal's two loops

    PyTorch's, figure for figure. Without a line search (the default), steps of lr; with "strong_wolfe" lr is 1.

    Source: Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989. Lecture 000
    (Second-order updates).
    """

    remembered = (*LineSearch.remembered, "old_dirs", "old_stps", "ro", "al", "H_diag")

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, max_iter, max_eval, tolerance_grad, tolerance_change, line_search_fn, history_size=history_size
        )  # fmt: skip

    def _check(self, options: Mapping[str, Any]) -> None:
        super()._check(options)
        self._check_counts(options, "history_size")

    def _direction(self, g: Any) -> Any:
        memory = self._memory
        if "d" not in memory:
            memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -g
        ys, ss, ro = memory["old_dirs"], memory["old_stps"], memory["ro"]
        y, s = g - memory["prev_flat_grad"], memory["d"] * memory["t"]
        if (bend := dot(y, s)) > 1e-10:
            if len(ys) == self.param_groups[0]["history_size"]:
                del ys[0], ss[0], ro[0]
            ys.append(y)
            ss.append(s)
            ro.append(1.0 / bend)
            memory["H_diag"] = bend / dot(y, y)
        q, shares = -g, []
        for s, y, r in zip(reversed(ss), reversed(ys), reversed(ro), strict=True):
            shares.append(dot(s, q) * r)
            q = q - shares[-1] * y
        q = q * memory["H_diag"]
        for s, y, r, share in zip(ss, ys, ro, reversed(shares), strict=True):
            q = q + s * (share - dot(y, q) * r)
        return q


class BFGS(LineSearch):
    """d = −H g with H ← (I − s yᵀ/yᵀs) H (I − y sᵀ/yᵀs) + s sᵀ/yᵀs, the whole inverse Hessian; for small models

    H is I at first, so that the first step is PyTorch's cautious one.

    Source: Broyden; Fletcher; Goldfarb; Shanno, 1970; Nocedal and Wright, "Numerical optimization", 2006, chapter 6.
    Lecture 004 (BFGS, where M stands for the approximate Hessian and no line search is spoken of).
    """

    remembered = (*LineSearch.remembered, "H")

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, line_search_fn: str | None = "strong_wolfe",
    ) -> None:  # fmt: skip
        super().__init__(params, lr, max_iter, max_eval, tolerance_grad, tolerance_change, line_search_fn)

    def _direction(self, g: Any) -> Any:
        memory, xp = self._memory, self._arenas[0][0].xp
        if "d" not in memory:
            return -g
        y, s = g - memory["prev_flat_grad"], memory["d"] * memory["t"]
        bend = dot(y, s)
        if bend > 1e-10 * math.sqrt(dot(y, y) * dot(s, s)):
            if "H" not in memory:
                memory["H"] = xp.eye(g.size, dtype=g.dtype)
            H = memory["H"]
            Hy = H @ y
            H += xp.outer(s, s) * ((1 + dot(y, Hy) / bend) / bend)
            cross = xp.outer(Hy, s) / bend
            H -= cross
            H -= cross.T
        return -(memory["H"] @ g) if "H" in memory else -g


class NonlinearCG(LineSearch):
    """d ← −g + β d with β = gᵀg/g₋ᵀg₋ (Fletcher–Reeves) or max(0, gᵀ(g − g₋)/g₋ᵀg₋) (Polak–Ribière+)

    β = 0, a restart, every `restart` iterations (by default as many as there are numbers), where successive gradients
    are far from orthogonal (Powell: |gᵀg₋| ≥ ½ gᵀg), and where d would lead upward. `method` is "PR+" or "FR".

    Source: Fletcher and Reeves, 1964; Polak and Ribière, 1969; Powell, 1977; Gilbert and Nocedal, 1992. Lecture 004
    (Conjugate Gradients, where d is added to the gradient without its sign, and β may turn negative).
    """

    remembered = (*LineSearch.remembered, "since", "prev_slope")
    c2 = 0.1
    roundings = 4

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, method: str = "PR+", restart: int | None = None,
        line_search_fn: str | None = "strong_wolfe",
    ) -> None:  # fmt: skip
        max_eval = 4 * max_iter if max_eval is None else max_eval
        super().__init__(
            params, lr, max_iter, max_eval, tolerance_grad, tolerance_change, line_search_fn, method=method,
            restart=restart,
        )  # fmt: skip

    def _check(self, options: Mapping[str, Any]) -> None:
        super()._check(options)
        if options["method"] not in ("PR+", "FR"):
            raise OptionError(f"NonlinearCG: method is 'PR+' or 'FR', not {options['method']!r}")
        if options["restart"] is not None:
            self._check_counts(options, "restart")

    def _direction(self, g: Any) -> Any:
        memory, options = self._memory, self.param_groups[0]
        memory["since"] = memory.get("since", 0) + 1
        if "d" in memory:
            last, square = memory["prev_flat_grad"], dot(g, g)
            both, before = dot(g, last), dot(last, last)
            beta = square / before if options["method"] == "FR" else max(0.0, (square - both) / before)
            d = beta * memory["d"] - g
            far = memory["since"] <= (options["restart"] or max(g.size, 2)) and abs(both) < 0.5 * square
            if far and dot(d, g) < -1e-8 * square:
                return d
        memory["since"] = 0
        return -g

    def _first_step(self, g: Any, slope: float) -> float:
        memory, lr = self._memory, self.param_groups[0]["lr"]
        step = super()._first_step(g, slope)
        if "prev_slope" in memory and slope:  # as much as the last step changed to first order
            step = min(lr * 10.0, memory["t"] * memory["prev_slope"] / slope)
            if not step > 0:  # the last search found nothing better: that of a first iteration
                step = min(1.0, 1.0 / float(space_of(g).sum(space_of(g).abs(g)))) * lr
        memory["prev_slope"] = slope
        return step
