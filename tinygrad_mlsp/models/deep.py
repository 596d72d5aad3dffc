"""Deep nets that differ in one thing, what each layer keeps of its input: made to compare how a gradient fares."""

from __future__ import annotations

import math
from typing import Any

from ..errors import OptionError
from ..nn import (
    LSTM,
    RNN,
    BatchNorm1d,
    DenseBlock,
    Highway,
    Linear,
    Module,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Tanh,
)
from ..nn import init as initialization
from ..random import Generator
from ..tensor import Tensor, no_grad

ACTIVATIONS = {"sigmoid": Sigmoid, "tanh": Tanh, "relu": ReLU}
INITS = ("xavier", "he", "scaled")
DEEP = ("sigmoid", "tanh", "relu", "batchnorm", "residual", "highway", "dense")
RECURRENT = ("rnn", "lstm")


def choose(what: str, value: str, known: Any) -> str:
    """`value`, if it is one of the known."""
    if value not in known:
        raise OptionError(f"{what} {value!r} is not known; choose from {', '.join(known)}")
    return value


class DeepNet(Module):
    """A classifier of `depth` weight layers, the first and the last included, with `width` units in each between.

        sigmoid, tanh, relu   h ← φ(W h + b)
        batchnorm             h ← φ(norm(W h + b))
        residual              h ← h + W φ(norm(h)) + b
        highway               h ← h + T (φ(W h + b) − h), T = σ(W_T h + b_T), b_T = −ln depth
        dense                 h ← [h, φ(W h + b)], `growth` units a layer

    Weights are normal: Xavier's variance 2/(in + out) for sigmoid and tanh and for the last layer, He's 2/in for
    ReLU (`init` "xavier", "he" or "scaled", 1/in, for all); a highway's gate has 1/in. Biases are 0.

    Shapes: x [batch, in_features], result [batch, out_features].
    """

    def __init__(
        self, kind: str, in_features: int = 64, out_features: int = 10, width: int = 32, depth: int = 30,
        activation: str | None = None, init: str | None = None, growth: int = 8, *,
        generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        choose("net", kind, DEEP)
        if depth < 2 or width < 1 or growth < 1:
            raise OptionError(f"{kind}: depth is 2 or more, width and growth 1 or more, got {depth}, {width}, {growth}")
        name = choose("activation", activation or (kind if kind in ACTIVATIONS else "relu"), ACTIVATIONS)
        start = choose("init", init or ("he" if name == "relu" else "xavier"), INITS)
        self.kind, self.depth = kind, depth
        self._generator, self._place = generator, {"device": device, "dtype": dtype}
        act = ACTIVATIONS[name]

        def norm() -> BatchNorm1d:
            return BatchNorm1d(width, **self._place)

        def linear(n: int, m: int, how: str = start) -> Linear:
            layer = Linear(n, m, generator=generator, **self._place)
            self._initialize(layer, how)
            return layer

        first = linear(in_features, width)
        layers: list[Module] = []
        if kind == "residual":
            layers.append(first)
        elif kind == "batchnorm":
            layers.append(Sequential(first, norm(), act()))
        else:
            layers.append(Sequential(first, act()))
        if kind == "dense":
            block = DenseBlock(width, growth, depth - 2, act(), generator=generator, **self._place)
            for layer in block.layers():
                self._initialize(layer, start)
            layers.append(block)
            width = block.out_features
        else:
            for _ in range(depth - 2):
                if kind == "highway":
                    gated = Highway(width, act(), depth=depth, generator=generator, **self._place)
                    self._initialize(gated.transform, start)
                    initialization.scaled_normal_(gated.gate.weight, generator=generator)
                    layers.append(gated)
                    continue
                inner = linear(width, width)
                if kind == "residual":
                    layers.append(Residual(Sequential(act(), inner), norm()))
                elif kind == "batchnorm":
                    layers.append(Sequential(inner, norm(), act()))
                else:
                    layers.append(Sequential(inner, act()))
        last = linear(width, out_features, "xavier")
        layers.append(Sequential(norm(), act(), last) if kind == "residual" else last)
        self.layers = Sequential(*layers)

    def _initialize(self, layer: Linear, how: str) -> None:
        if how == "xavier":
            initialization.xavier_normal_(layer.weight, generator=self._generator)
        elif how == "he":
            initialization.kaiming_normal_(layer.weight, nonlinearity="relu", generator=self._generator)
        else:
            initialization.scaled_normal_(layer.weight, generator=self._generator)
        if layer.bias is not None:
            initialization.zeros_(layer.bias)

    def weights(self) -> list[tuple[str, Parameter]]:
        """(name, W) of the `depth` layers in order, gates and norms left out: where a gradient profile is read."""
        return [
            (n, p) for n, p in self.named_parameters() if n.endswith("weight") and p.ndim == 2 and ".gate." not in n
        ]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class SequenceClassifier(Module):
    """A recurrent net that reads a sequence and answers at its last step: y = W h_T + b

    W_ih and W_hh are uniform in ±1/√hidden and the biases 0, but for an LSTM's forget gate, whose bias is
    `forget_bias`; the readout is Xavier's.

    Shapes: x [batch, time, in_features], result [batch, out_features].
    """

    def __init__(
        self, kind: str, in_features: int = 1, out_features: int = 10, hidden: int = 32, forget_bias: float = 2.0, *,
        generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        choose("net", kind, RECURRENT)
        if hidden < 1:
            raise OptionError(f"{kind}: hidden is 1 or more, got {hidden}")
        self.kind = kind
        make = LSTM if kind == "lstm" else RNN
        self.cell = make(in_features, hidden, batch_first=True, generator=generator, device=device, dtype=dtype)
        bound = 1 / math.sqrt(hidden)
        for name, parameter in self.cell.named_parameters():
            if name.startswith("weight"):
                initialization.uniform_(parameter, -bound, bound, generator=generator)
            else:
                initialization.zeros_(parameter)
        if kind == "lstm":
            with no_grad():
                dict(self.cell.named_parameters())["bias_ih_l0"][hidden : 2 * hidden] = forget_bias
        self.out = Linear(hidden, out_features, generator=generator, device=device, dtype=dtype)
        initialization.xavier_normal_(self.out.weight, generator=generator)
        assert self.out.bias is not None
        initialization.zeros_(self.out.bias)

    def states(self, x: Tensor) -> list[tuple[Tensor, ...]]:
        """(h₁,) … or (h₁, c₁) …: the state at every step."""
        return [s if isinstance(s, tuple) else (s,) for s in self.cell.unroll(x)]

    def read(self, states: list[tuple[Tensor, ...]]) -> Tensor:
        """The answer at the last step."""
        return self.out(states[-1][0])

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.states(x))
