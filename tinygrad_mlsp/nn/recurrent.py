"""Recurrent nets. A layer goes through a whole sequence as one operation with a derivative of its own; while the graph
is traced, for `unroll`, and for the variants, it is unrolled through time: one application of the cell a step, and the
whole unrolled graph to differentiate (and to draw: each step is a scope "t=…")."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from ..backend import float32
from ..errors import DTypeError, OptionError, ShapeError
from ..modes import current_tracer
from ..namespace import empty, zeros
from ..random import Generator
from ..tensor import Tensor, record_of
from . import init
from .functional import dropout
from .functional.checks import number, tensor
from .module import Module, Parameter, _size
from .sequence import PackedSequence, cut

_linear, _lstm_cell, _stack, _unstack = map(record_of, ("linear", "lstm_cell", "stack", "unstack"))
_concat, _split, _take = map(record_of, ("concat", "split", "take"))
_permute_dims, _reshape, _expand_dims = map(record_of, ("permute_dims", "reshape", "expand_dims"))
_sigmoid, _tanh = map(record_of, ("sigmoid", "tanh"))
_lstm_sequence, _gru_sequence, _rnn_sequence = map(record_of, ("lstm_sequence", "gru_sequence", "rnn_sequence"))
_activations: dict[str, Callable[[Tensor], Tensor]] = {"tanh": _tanh, "relu": record_of("relu")}
State = tuple[Tensor, ...]


def _known(nonlinearity: str) -> str:
    if not isinstance(nonlinearity, str) or nonlinearity not in _activations:
        raise OptionError(f"nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}")
    return nonlinearity


def _what(state: Any) -> str:
    """In words, for an error."""
    parts = len(state) if isinstance(state, (tuple, list)) else 0
    return f"a {type(state).__name__} of {parts}" if parts else type(state).__name__


def _no_pair(layer: str, state: Any) -> Exception:
    kind = ShapeError if isinstance(state, (tuple, list)) else DTypeError
    return kind(f"{layer}: the state is a pair (h, c) of Tensors, got {_what(state)}")


def _gates(name: str, peephole: bool | str, coupled: bool) -> str:
    """The gates that see the cell."""
    there = "fo" if coupled else "ifo"
    wanted = (there if peephole else "") if isinstance(peephole, bool) else peephole
    if not isinstance(wanted, str) or set(wanted) - set(there) or len(set(wanted)) < len(wanted):
        raise OptionError(f"{name}: peephole is True, False, or some of the gates {there!r}, not {peephole!r}")
    return wanted


def _gru_step(left: Tensor, right: Tensor, h: Tensor) -> Tensor:
    """u + z (h − u) with u = tanh(left + r right), from what x and h give to r, z and u."""
    r, z, u = _split(left, 3, axis=-1)
    right_r, right_z, q = _split(right, 3, axis=-1)
    u = _tanh(u + _sigmoid(r + right_r) * q)
    return u + _sigmoid(z + right_z) * (h - u)


def _lstm_step(gates: Tensor, c: Tensor, peepholes: dict[str, Tensor], coupled: bool) -> State:
    """The LSTM's variants: gates that see the cell, i and f the old one and o the new, and i = 1 − f."""
    names = "fuo" if coupled else "ifuo"
    given = dict(zip(names, _split(gates, len(names), axis=-1), strict=True))
    for gate in "if":
        if gate in peepholes:
            given[gate] = given[gate] + peepholes[gate] * c
    f = _sigmoid(given["f"])
    i = 1 - f if coupled else _sigmoid(given["i"])
    c = f * c + i * _tanh(given["u"])
    o = given["o"] + peepholes["o"] * c if "o" in peepholes else given["o"]
    return _sigmoid(o) * _tanh(c), c


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
        for name, *columns in (("weight_ih", input_size), ("weight_hh", self._width()), ("bias_ih",), ("bias_hh",)):
            wanted = bool(columns) or self.bias
            parameter = Parameter(empty((rows, *columns), dtype, device)) if wanted else None
            self.register_parameter(name + suffix, parameter)

    def _width(self) -> int:
        """The size of h."""
        return self.hidden_size

    def _declare_peepholes(self, suffix: str, gates: str, device: str | None, dtype: Any) -> None:
        for gate in gates:
            self.register_parameter(
                f"weight_c{gate}{suffix}", Parameter(empty((self.hidden_size,), dtype or float32, device))
            )

    def _peepholes(self, suffix: str, gates: str) -> dict[str, Tensor]:
        return {gate: getattr(self, f"weight_c{gate}{suffix}") for gate in gates}

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draws all weights and biases anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound, generator)

    def _project(self, x: Tensor, suffix: str = "") -> Tensor:
        """What the input, and both biases, give to the gates."""
        return _linear(x, getattr(self, "weight_ih" + suffix), self._joint_bias(suffix))

    def _joint_bias(self, suffix: str) -> Tensor | None:
        return getattr(self, "bias_ih" + suffix) + getattr(self, "bias_hh" + suffix) if self.bias else None

    def _start(self, batch: tuple[int, ...], x: Tensor) -> Tensor:
        return zeros((*batch, self.hidden_size), x.dtype, x.device)

    def _check(self, x: Tensor, dimensions: tuple[int, ...], shape: str) -> None:
        tensor(type(self).__name__, "input", x)
        if x.ndim not in dimensions or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: wants {shape} with input_size={self.input_size}, got {list(x.shape)}"
            )

    def _check_state(self, x: Tensor, name: str, state: Any) -> Any:
        """What a cell is given as its old state."""
        if not isinstance(state, Tensor) and not hasattr(state, "shape"):
            raise DTypeError(f"{type(self).__name__}: {name} must be a Tensor, not {type(state).__name__}")
        if state.shape != (*x.shape[:-1], self.hidden_size):
            raise ShapeError(
                f"{type(self).__name__}: for an input of shape {list(x.shape)} {name} has the shape "
                f"{[*x.shape[:-1], self.hidden_size]}, got {list(state.shape)}"
            )
        return state

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
        h = self._start(x.shape[:-1], x) if h is None else self._check_state(x, "h", h)
        return _activations[self.nonlinearity](_linear(h, self.weight_hh, self._project(x)))

    def extra_repr(self) -> str:
        return super().extra_repr() + _named(self.nonlinearity)


class LSTMCell(_Weights):
    """c′ = σ(f) c + σ(i) tanh(u), h′ = σ(o) tanh c′, with the gates (i, f, u, o) = W_ih x + b_ih + W_hh h + b_hh

    With `peephole` (True, or the gates that have one, such as "fo") i and f also see w ∘ c, o sees w ∘ c′. With
    `coupled` there is no gate i: what is forgotten is replaced, σ(i) = 1 − σ(f), and the gates are f, u, o.

    Shapes: x [batch, input_size] or [input_size]; h, c, h′, c′ [batch, hidden_size] or [hidden_size].
    Source: Hochreiter and Schmidhuber, 1997; Gers et al., 2000; peepholes: Gers and Schmidhuber, "Recurrent nets that
    time and count", 2000; coupled gates: Greff et al., "LSTM: a search space odyssey", 2017.
    """

    gates = 4

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: str | None = None, dtype: Any = None, *,
        peephole: bool | str = False, coupled: bool = False, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias)
        self.peephole, self.coupled = _gates("LSTMCell", peephole, coupled), coupled
        self.gates = 3 if coupled else 4
        self._declare("", input_size, device, dtype)
        self._declare_peepholes("", self.peephole, device, dtype)
        self.reset_parameters(generator)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        self._check(x, (1, 2), "[batch, input_size]")
        if state is None:
            h = c = self._start(x.shape[:-1], x)
        elif isinstance(state, (tuple, list)) and len(state) == 2:
            h, c = self._check_state(x, "h", state[0]), self._check_state(x, "c", state[1])
        else:
            raise _no_pair("LSTMCell", state)
        gates = _linear(h, self.weight_hh, self._project(x))
        if self.peephole or self.coupled:
            h, c = _lstm_step(gates, c, self._peepholes("", self.peephole), self.coupled)
        else:
            h, c, *_ = _lstm_cell(gates, c)
        return h, c

    def extra_repr(self) -> str:
        return super().extra_repr() + _variant(self.peephole, self.coupled)


def _variant(peephole: str, coupled: bool) -> str:
    return (f", peephole={peephole!r}" if peephole else "") + (", coupled=True" if coupled else "")


class GRUCell(_Weights):
    """h′ = (1 − z) u + z h with u = tanh(W_in x + b_in + r (W_hn h + b_hn)), and the gates r and z σ of
    W_ih x + b_ih + W_hh h + b_hh

    Shapes: x [batch, input_size] or [input_size], h and h′ [batch, hidden_size] or [hidden_size]; the rows of the
    weights in the order r, z, u.
    Source: Cho et al., "Learning phrase representations using RNN encoder–decoder", 2014, with r inside the brackets.
    """

    gates = 3

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True,
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias)
        self._declare("", input_size, device, dtype)
        self.reset_parameters(generator)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        self._check(x, (1, 2), "[batch, input_size]")
        h = self._start(x.shape[:-1], x) if h is None else self._check_state(x, "h", h)
        return _gru_step(_linear(x, self.weight_ih, self.bias_ih), _linear(h, self.weight_hh, self.bias_hh), h)


class _Recurrent(_Weights):
    """Layers of cells over a sequence, one way or both ways."""

    proj_size = 0

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool, dropout: float,
        bidirectional: bool, device: str | None, dtype: Any, generator: Generator | None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias)
        name = type(self).__name__
        self.num_layers = _size(f"{name}: num_layers", num_layers, 1)
        number(f"{name}: dropout", dropout, 0, 1)
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.generator = generator
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                width = self._width() * (2 if bidirectional else 1)
                self._declare(suffix, width if layer else self.input_size, device, dtype)
        self.reset_parameters(generator)

    def _suffixes(self, layer: int) -> list[str]:
        """How the names of a layer's weights end, one a direction."""
        return [f"_l{layer}", f"_l{layer}_reverse"][: 2 if self.bidirectional else 1]

    # One layer, one way: inputs [time, batch, features], state [batch, hidden] each

    def _step(self, gates: Tensor, state: State, suffix: str) -> State:
        """The next state from what the input gives to the gates; its first entry is h."""
        raise NotImplementedError

    def flatten_parameters(self) -> None:
        """Does nothing: in PyTorch it puts the weights into one piece of memory for cuDNN."""

    def _sequence(self, inputs: Tensor, state: State, suffix: str, reverse: bool, sizes: Any) -> State:
        """The same for all steps as one operation: the states, each [time, batch, hidden]."""
        raise NotImplementedError

    def _in_one(self) -> bool:
        """Whether all steps can be one operation."""
        return current_tracer() is None

    def _weights(self, suffix: str) -> list[Tensor]:
        return [getattr(self, "weight_ih" + suffix), getattr(self, "weight_hh" + suffix)]

    def _steps(
        self, inputs: Tensor, state: State, suffix: str, reverse: bool = False, sizes: Any = None, every: int = 0
    ) -> Iterator[State]:
        """The states, step by step in the order in which the net goes; `every` so many steps the past is cut off."""
        time, batch, features = inputs.shape
        rows = self._project(_reshape(inputs, (time * batch, features)), suffix)  # one product for all steps
        gates = _unstack(_reshape(rows, (time, batch, rows.shape[-1])))
        tracer = current_tracer()
        for k in range(time):
            t = time - 1 - k if reverse else k
            if every and k and k % every == 0:
                state = tuple(map(cut, state))
            if tracer is None:
                new = self._step(gates[t], state, suffix)
            else:
                with tracer.step(f"t={t + 1}"):
                    new = self._step(gates[t], state, suffix)
            if sizes is not None and sizes[t] < batch:  # the others are at their end, or in reverse not yet there
                new = tuple([_concat([n[: sizes[t]], s[sizes[t] :]], axis=0) for n, s in zip(new, state, strict=True)])
            state = new
            yield state

    def _pass(
        self, inputs: Tensor, state: State, suffix: str, reverse: bool, sizes: Any, every: int
    ) -> tuple[Tensor, State]:
        """h at all steps [time, batch, hidden], and the last state."""
        time = inputs.shape[0]
        if not self._in_one():
            states = list(self._steps(inputs, state, suffix, reverse, sizes, every))
            hs = [s[0] for s in states]
            return _stack(hs[::-1] if reverse else hs), states[-1]
        parts = []
        for start in range(0, time, every or time):
            if start:
                state = tuple(map(cut, state))
            stop = min(start + every, time) if every else time
            part, some = (inputs, sizes) if stop - start == time else (inputs[start:stop], sizes and sizes[start:stop])
            found = self._sequence(part, state, suffix, reverse, some)
            state = tuple([s[0 if reverse else -1] for s in found])
            parts.append(found[0])
        return parts[0] if len(parts) == 1 else _concat(parts, axis=0), state

    # All layers

    def _state_shapes(self) -> list[int]:
        return [self._width()]

    def _begin(self, hx: State | None, x: Tensor, batch: int, batched: bool) -> list[State]:
        """The first state of every layer and direction."""
        rows = self.num_layers * (2 if self.bidirectional else 1)
        if hx is None:
            start = tuple([zeros((batch, n), x.dtype, x.device) for n in self._state_shapes()])
            return [start] * rows
        found = []
        for part, name, n in zip(hx, "hc", self._state_shapes(), strict=False):
            wanted = (rows, batch, n) if batched else (rows, n)
            if part.shape != wanted:
                raise ShapeError(
                    f"{type(self).__name__}: {name} of {'a batch' if batched else 'one sequence'} wants shape "
                    f"{list(wanted)}, got {list(part.shape)}"
                )
            found.append(_unstack(part if batched else _expand_dims(part, axis=1)))
        return list(zip(*found, strict=True))

    def _check_begin(self, hx: Any) -> None:
        """What a layer is given as its first state."""
        layer, names = type(self).__name__, "hc"[: len(self._state_shapes())]
        if not isinstance(hx, (tuple, list)) or len(hx) != len(names):  # of an LSTM: others put theirs into a tuple
            raise _no_pair(layer, hx)
        for name, part in zip(names, hx, strict=True):
            if not isinstance(part, Tensor) and not hasattr(part, "shape"):
                raise DTypeError(f"{layer}: {name} must be a Tensor, not {_what(part)}")

    def _inputs(self, x: Tensor) -> Tensor:
        """[time, batch, features], of one sequence too."""
        shape = "[batch, time, input_size]" if self.batch_first else "[time, batch, input_size]"
        self._check(x, (2, 3), shape)
        inputs = _expand_dims(x, axis=1) if x.ndim == 2 else _permute_dims(x, (1, 0, 2)) if self.batch_first else x
        if not inputs.shape[0]:
            raise ShapeError(f"{type(self).__name__}: the sequence has no steps, its shape is {list(x.shape)}")
        return inputs

    def _cuts(self, every: int | None) -> int:
        if every is None:
            return 0
        if self.bidirectional:
            raise OptionError(f"{type(self).__name__}: what goes both ways cannot be cut in time; detach_every=None")
        return _size(f"{type(self).__name__}: detach_every", every, 1)

    def _run(self, x: Any, hx: State | None, every: int | None) -> tuple[Any, State]:
        """The top layer's h at all steps, as x is, and the last state of every layer and direction, stacked."""
        every, packed = self._cuts(every), isinstance(x, PackedSequence)
        if hx is not None:
            self._check_begin(hx)
        if packed:
            inputs, sizes = self._inputs_of(x), x.batch_sizes.tolist()
            if x.sorted_indices is not None and hx is not None:
                hx = tuple([_take(part, x.sorted_indices, axis=1) for part in hx])
            sizes = None if sizes[-1] == sizes[0] else sizes
        else:
            inputs, sizes = self._inputs(x), None
        begin = self._begin(hx, inputs, inputs.shape[1], packed or x.ndim == 3)
        last: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                inputs = dropout(inputs, self.dropout, True, generator=self.generator)
            found = []
            for way, suffix in enumerate(self._suffixes(layer)):
                hs, end = self._pass(inputs, begin[len(last)], suffix, way == 1, sizes, every)
                found.append(hs)
                last.append(end)
            inputs = found[0] if len(found) == 1 else _concat(found, axis=-1)
        ends = tuple([_stack(list(part)) for part in zip(*last, strict=True)])
        if packed:
            if x.unsorted_indices is not None:
                ends = tuple([_take(part, x.unsorted_indices, axis=1) for part in ends])
            return x.with_data(inputs), ends
        if x.ndim == 2:
            return inputs[:, 0], tuple([part[:, 0] for part in ends])
        return _permute_dims(inputs, (1, 0, 2)) if self.batch_first else inputs, ends

    def _inputs_of(self, x: PackedSequence) -> Tensor:
        if x.data.ndim != 2 or x.data.shape[1] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: wants packed data [steps, input_size] with input_size={self.input_size}, "
                f"got {list(x.data.shape)}"
            )
        return x.padded()

    def _unrolled(self, x: Tensor, hx: State | None, every: int | None) -> list[State]:
        """The top layer's states, step by step."""
        every = self._cuts(every)
        if hx is not None:
            self._check_begin(hx)
        if self.bidirectional:
            raise OptionError(f"{type(self).__name__}.unroll: goes one way; a bidirectional net has two states a step")
        inputs = self._inputs(x)
        begin = self._begin(hx, inputs, inputs.shape[1], x.ndim == 3)
        states: list[State] = []
        for layer in range(self.num_layers):
            if layer:
                inputs = _stack([s[0] for s in states])
                inputs = (
                    dropout(inputs, self.dropout, self.training, generator=self.generator) if self.dropout else inputs
                )
            states = list(self._steps(inputs, begin[layer], f"_l{layer}", every=every))
        return states if x.ndim == 3 else [tuple([part[0] for part in s]) for s in states]

    def extra_repr(self) -> str:
        return (
            super().extra_repr()
            + (f", num_layers={self.num_layers}" if self.num_layers > 1 else "")
            + (", batch_first=True" if self.batch_first else "")
            + (f", dropout={self.dropout}" if self.dropout else "")
            + (", bidirectional=True" if self.bidirectional else "")
        )


class RNN(_Recurrent):
    """hₜ = tanh(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), for t = 1 … T

    The gradient that reaches step s from step T is multiplied by W_hhᵀ diag(1 − hₜ²) at each step between: it vanishes
    or explodes exponentially in T − s. `unroll` gives every hₜ, so that `retain_grad` on them shows it.

    With `bidirectional` a second net goes through the sequence from its end, and the outputs of both stand side by
    side; `dropout` is between the layers. `detach_every=k` of a call cuts the past off every k steps: no gradient goes
    back through the cuts (see `nn.utils.truncated` for gradients that go further back than a window).

    Shapes: x [time, batch, input_size], or [batch, time, input_size] with batch_first, or [time, input_size], or a
    PackedSequence; hx and h_n [num_layers · directions, batch, hidden_size]; outputs as x, with
    hidden_size · directions.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.nonlinearity = _known(nonlinearity)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, generator
        )

    def _step(self, gates: Tensor, state: State, suffix: str) -> State:
        return (_activations[self.nonlinearity](_linear(state[0], getattr(self, "weight_hh" + suffix), gates)),)

    def _sequence(self, inputs: Tensor, state: State, suffix: str, reverse: bool, sizes: Any) -> State:
        bias = self._joint_bias(suffix)
        arrays = [inputs, *state, *self._weights(suffix), *([] if bias is None else [bias])]
        return (_rnn_sequence(arrays, nonlinearity=self.nonlinearity, reverse=reverse, sizes=sizes),)

    def extra_repr(self) -> str:
        return super().extra_repr() + _named(self.nonlinearity)

    def unroll(self, x: Tensor, hx: Tensor | None = None, *, detach_every: int | None = None) -> list[Tensor]:
        """h₁, …, h_T of the top layer, each [batch, hidden_size]."""
        return [h for (h,) in self._unrolled(x, None if hx is None else (hx,), detach_every)]

    def forward(self, x: Any, hx: Tensor | None = None, *, detach_every: int | None = None) -> tuple[Any, Tensor]:
        outputs, (last,) = self._run(x, None if hx is None else (hx,), detach_every)
        return outputs, last


class GRU(_Recurrent):
    """The cell of `GRUCell` for t = 1 … T

    Shapes, both directions, packed sequences and `detach_every` as for RNN.
    """

    gates = 3

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, device: str | None = None, dtype: Any = None, *,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, generator
        )

    def _project(self, x: Tensor, suffix: str = "") -> Tensor:
        return _linear(x, getattr(self, "weight_ih" + suffix), getattr(self, "bias_ih" + suffix))

    def _step(self, gates: Tensor, state: State, suffix: str) -> State:
        (h,) = state
        right = _linear(h, getattr(self, "weight_hh" + suffix), getattr(self, "bias_hh" + suffix))
        return (_gru_step(gates, right, h),)

    def _sequence(self, inputs: Tensor, state: State, suffix: str, reverse: bool, sizes: Any) -> State:
        bias = [getattr(self, name + suffix) for name in ("bias_ih", "bias_hh")] if self.bias else []
        return _gru_sequence([inputs, *state, *self._weights(suffix), *bias], reverse=reverse, sizes=sizes)[:1]  # type: ignore[return-value]

    def unroll(self, x: Tensor, hx: Tensor | None = None, *, detach_every: int | None = None) -> list[Tensor]:
        """h₁, …, h_T of the top layer, each [batch, hidden_size]."""
        return [h for (h,) in self._unrolled(x, None if hx is None else (hx,), detach_every)]

    def forward(self, x: Any, hx: Tensor | None = None, *, detach_every: int | None = None) -> tuple[Any, Tensor]:
        outputs, (last,) = self._run(x, None if hx is None else (hx,), detach_every)
        return outputs, last


class LSTM(_Recurrent):
    """The cell of `LSTMCell` for t = 1 … T

    The gradient reaches cₛ from c_T along ∏ σ(fₜ), without a matrix between: with open forget gates it survives.

    With `proj_size` h is W_hr of the cell's h and has that size. `peephole` and `coupled` as for LSTMCell. These
    variants go step by step.

    Shapes: x as for RNN; hx is (h, c), and (h_n, c_n), each [num_layers · directions, batch, hidden_size], h with
    proj_size where there is one.
    """

    gates = 4

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: str | None = None, dtype: Any = None, *,
        peephole: bool | str = False, coupled: bool = False, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.proj_size = _size("LSTM: proj_size", proj_size)
        if self.proj_size >= _size("LSTM: hidden_size", hidden_size, 1):
            raise OptionError(f"LSTM: proj_size {proj_size} must be smaller than hidden_size {hidden_size}")
        self.peephole, self.coupled = _gates("LSTM", peephole, coupled), coupled
        self.gates = 3 if coupled else 4
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, generator
        )

    def _width(self) -> int:
        return self.proj_size or self.hidden_size

    def _state_shapes(self) -> list[int]:
        return [self._width(), self.hidden_size]

    def _declare(self, suffix: str, input_size: int, device: str | None, dtype: Any) -> None:
        super()._declare(suffix, input_size, device, dtype)
        if self.proj_size:
            shape = (self.proj_size, self.hidden_size)
            self.register_parameter("weight_hr" + suffix, Parameter(empty(shape, dtype or float32, device)))
        self._declare_peepholes(suffix, self.peephole, device, dtype)

    def _in_one(self) -> bool:
        return super()._in_one() and not (self.proj_size or self.peephole or self.coupled)

    def _step(self, gates: Tensor, state: State, suffix: str) -> State:
        gates = _linear(state[0], getattr(self, "weight_hh" + suffix), gates)
        if self.peephole or self.coupled:
            h, c = _lstm_step(gates, state[1], self._peepholes(suffix, self.peephole), self.coupled)
        else:
            h, c, *_ = _lstm_cell(gates, state[1])
        return (_linear(h, getattr(self, "weight_hr" + suffix)) if self.proj_size else h), c

    def _sequence(self, inputs: Tensor, state: State, suffix: str, reverse: bool, sizes: Any) -> State:
        bias = self._joint_bias(suffix)
        arrays = [inputs, *state, *self._weights(suffix), *([] if bias is None else [bias])]
        return _lstm_sequence(arrays, reverse=reverse, sizes=sizes)[:2]  # type: ignore[return-value]

    def extra_repr(self) -> str:
        projected = f", proj_size={self.proj_size}" if self.proj_size else ""
        return super().extra_repr() + projected + _variant(self.peephole, self.coupled)

    def unroll(
        self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None, *, detach_every: int | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """(h₁, c₁), …, (h_T, c_T) of the top layer, each [batch, hidden_size]."""
        return self._unrolled(x, hx, detach_every)  # type: ignore[return-value]

    def forward(
        self, x: Any, hx: tuple[Tensor, Tensor] | None = None, *, detach_every: int | None = None
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        return self._run(x, hx, detach_every)  # type: ignore[return-value]
