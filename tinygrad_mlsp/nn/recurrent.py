"""Recurrent nets, unrolled through time: one application of the cell a step, and the whole unrolled graph to
differentiate (and to draw: each step is a scope "t=…")."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from ..backend import float32
from ..errors import OptionError, ShapeError
from ..namespace import empty, zeros
from ..random import Generator
from ..tensor import Tensor, current_tracer, record_of
from . import init
from .module import Module, Parameter, _size

_linear, _lstm_cell, _stack, _unstack = map(record_of, ("linear", "lstm_cell", "stack", "unstack"))
_permute_dims, _reshape = record_of("permute_dims"), record_of("reshape")
_activations: dict[str, Callable[[Tensor], Tensor]] = {"tanh": record_of("tanh"), "relu": record_of("relu")}


def _known(nonlinearity: str) -> str:
    if nonlinearity not in _activations:
        raise OptionError(f"nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}")
    return nonlinearity


class _Weights(Module):
    """W_ih [gates · hidden, input], W_hh [gates · hidden, hidden] and their two biases, all from U(±1/√hidden)."""

    gates = 1
    weight_ih: Parameter  # of a cell; a layer's names end in _l0, _l1, …
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(self, input_size: int, hidden_size: int, bias: bool) -> None:
        self.input_size = _size(f"{type(self).__name__}: input_size", input_size)
        self.hidden_size = _size(f"{type(self).__name__}: hidden_size", hidden_size, 1)
        self.bias = bias

    def _declare(self, suffix: str, input_size: int, device: str | None, dtype: Any) -> None:
        rows, dtype = self.gates * self.hidden_size, dtype or float32
        for name, *columns in (("weight_ih", input_size), ("weight_hh", self.hidden_size), ("bias_ih",), ("bias_hh",)):
            wanted = bool(columns) or self.bias
            parameter = Parameter(empty((rows, *columns), dtype, device)) if wanted else None
            self.register_parameter(name + suffix, parameter)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draws all weights and biases anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound, generator)

    def _project(self, x: Tensor, suffix: str = "") -> Tensor:
        """What the input, and both biases, give to the gates."""
        bias = getattr(self, "bias_ih" + suffix) + getattr(self, "bias_hh" + suffix) if self.bias else None
        return _linear(x, getattr(self, "weight_ih" + suffix), bias)

    def _start(self, batch: tuple[int, ...], x: Tensor) -> Tensor:
        return zeros((*batch, self.hidden_size), x.dtype, x.device)

    def _check(self, x: Tensor, dimensions: tuple[int, ...], shape: str) -> None:
        if x.ndim not in dimensions or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: wants {shape} with input_size={self.input_size}, got {list(x.shape)}"
            )

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


def _named(nonlinearity: str) -> str:
    return "" if nonlinearity == "tanh" else f", nonlinearity={nonlinearity}"


class RNNCell(_Weights):
    """h′ = tanh(W_ih x + b_ih + W_hh h + b_hh)

    Shapes: x [batch, input_size] or [input_size], h and h′ [batch, hidden_size] or [hidden_size].
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias)
        self.nonlinearity = _known(nonlinearity)
        self._declare("", input_size, device, dtype)
        self.reset_parameters(generator)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        self._check(x, (1, 2), "[batch, input_size]")
        h = self._start(x.shape[:-1], x) if h is None else h
        return _activations[self.nonlinearity](_linear(h, self.weight_hh, self._project(x)))

    def extra_repr(self) -> str:
        return super().extra_repr() + _named(self.nonlinearity)


class LSTMCell(_Weights):
    """c′ = σ(f) c + σ(i) tanh(u), h′ = σ(o) tanh c′, with the gates (i, f, u, o) = W_ih x + b_ih + W_hh h + b_hh

    Shapes: x [batch, input_size] or [input_size]; h, c, h′, c′ [batch, hidden_size] or [hidden_size].
    Source: Hochreiter and Schmidhuber, 1997; Gers et al., 2000.
    """

    gates = 4

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True,
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias)
        self._declare("", input_size, device, dtype)
        self.reset_parameters(generator)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        self._check(x, (1, 2), "[batch, input_size]")
        h, c = (self._start(x.shape[:-1], x),) * 2 if state is None else state
        h, c, *_ = _lstm_cell(_linear(h, self.weight_hh, self._project(x)), c)
        return h, c


class _Recurrent(_Weights):
    """Layers of cells over a sequence."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool, device: str | None,
        dtype: Any, generator: Generator | None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias)
        self.num_layers = _size(f"{type(self).__name__}: num_layers", num_layers, 1)
        self.batch_first = batch_first
        for layer in range(self.num_layers):
            self._declare(f"_l{layer}", self.hidden_size if layer else self.input_size, device, dtype)
        self.reset_parameters(generator)

    def _step(self, gates: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The next state from the gates' values before their activation; the state's first entry is h."""
        raise NotImplementedError

    def _layer(self, inputs: Tensor, layer: int, state: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
        """The states of one layer, step by step; inputs [time, batch, features]."""
        suffix = f"_l{layer}"
        time, batch, features = inputs.shape
        rows = self._project(_reshape(inputs, (time * batch, features)), suffix)  # one product for all steps
        weight = getattr(self, "weight_hh" + suffix)
        tracer = current_tracer()
        for t, gates in enumerate(_unstack(_reshape(rows, (time, batch, rows.shape[-1])))):
            if tracer is None:
                state = self._step(_linear(state[0], weight, gates), state)
            else:
                with tracer.step(f"t={t + 1}"):
                    state = self._step(_linear(state[0], weight, gates), state)
            yield state

    def _run(
        self, x: Tensor, state: tuple[Tensor, ...] | None
    ) -> tuple[list[tuple[Tensor, ...]], list[tuple[Tensor, ...]]]:
        """The top layer's states, step by step, and each layer's last."""
        shape = "[batch, time, input_size]" if self.batch_first else "[time, batch, input_size]"
        self._check(x, (3,), shape)
        inputs = _permute_dims(x, (1, 0, 2)) if self.batch_first else x
        if not inputs.shape[0]:
            raise ShapeError(f"{type(self).__name__}: the sequence has no steps, its shape is {list(x.shape)}")
        starts = [tuple(_unstack(part)) for part in state] if state is not None else []
        last = []
        for layer in range(self.num_layers):
            if state is None:
                begin = (self._start((inputs.shape[1],), x),) * (2 if self.gates == 4 else 1)
            else:
                begin = tuple([part[layer] for part in starts])
            states = list(self._layer(inputs, layer, begin))
            last.append(states[-1])
            if layer + 1 < self.num_layers:
                inputs = _stack([s[0] for s in states])
        return states, last

    def _outputs(self, states: list[tuple[Tensor, ...]]) -> Tensor:
        return _stack([s[0] for s in states], axis=1 if self.batch_first else 0)

    def extra_repr(self) -> str:
        return (
            super().extra_repr()
            + (f", num_layers={self.num_layers}" if self.num_layers > 1 else "")
            + (", batch_first=True" if self.batch_first else "")
        )


class RNN(_Recurrent):
    """hₜ = tanh(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), for t = 1 … T

    The gradient that reaches step s from step T is multiplied by W_hhᵀ diag(1 − hₜ²) at each step between: it vanishes
    or explodes exponentially in T − s. `unroll` gives every hₜ, so that `retain_grad` on them shows it.

    Shapes: x [time, batch, input_size], or [batch, time, input_size] with batch_first; hx and h_n
    [num_layers, batch, hidden_size]; outputs as x, with hidden_size.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, *, device: str | None = None, dtype: Any = None, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, device, dtype, generator)
        self.nonlinearity = _known(nonlinearity)

    def _step(self, gates: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (_activations[self.nonlinearity](gates),)

    def extra_repr(self) -> str:
        return super().extra_repr() + _named(self.nonlinearity)

    def unroll(self, x: Tensor, hx: Tensor | None = None) -> list[Tensor]:
        """h₁, …, h_T of the top layer, each [batch, hidden_size]."""
        return [h for (h,) in self._run(x, None if hx is None else (hx,))[0]]

    def forward(self, x: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        states, last = self._run(x, None if hx is None else (hx,))
        return self._outputs(states), _stack([h for (h,) in last])


class LSTM(_Recurrent):
    """The cell of `LSTMCell` for t = 1 … T

    The gradient reaches cₛ from c_T along ∏ σ(fₜ), without a matrix between: with open forget gates it survives.

    Shapes: x as for RNN; hx is (h, c), and (h_n, c_n), each [num_layers, batch, hidden_size].
    """

    gates = 4

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, *, device: str | None = None, dtype: Any = None, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, device, dtype, generator)

    def _step(self, gates: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h, c, *_ = _lstm_cell(gates, state[1])
        return h, c

    def unroll(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> list[tuple[Tensor, Tensor]]:
        """(h₁, c₁), …, (h_T, c_T) of the top layer, each [batch, hidden_size]."""
        return self._run(x, hx)[0]  # type: ignore[return-value]

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        states, last = self._run(x, hx)
        return self._outputs(states), (_stack([h for h, _ in last]), _stack([c for _, c in last]))
