"""Fully connected nets of any depth: plain, residual, highway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from itertools import pairwise
from numbers import Real
from types import FunctionType
from typing import Any

from ..errors import DTypeError, OptionError, ShapeError
from ..nn import (
    BatchNorm1d,
    Dropout,
    Highway,
    Linear,
    Module,
    ReLU,
    ResidualBlock,
    Sequential,
    init,
    survival_probability,
)
from ..random import Generator
from ..tensor import Tensor

Make = Callable[[], Module]


def _check_makers(name: str, activation: Any, norm: Any) -> None:
    needs = isinstance(activation, FunctionType) and any(
        p.default is p.empty for p in signature(activation).parameters.values()
    )
    if not callable(activation) or isinstance(activation, Module) or needs:
        raise OptionError(
            f"{name}: activation makes a layer for each place: a class such as nn.ReLU, or lambda: nn.ELU(0.5); got "
            f"{_said(activation)}"
        )
    if norm is not None and (not callable(norm) or isinstance(norm, Module)):
        raise OptionError(
            f"{name}: norm makes a layer for a width: a class such as nn.BatchNorm1d, or None; got {_said(norm)}"
        )


def _said(value: Any) -> str:
    if isinstance(value, FunctionType):
        return f"the function {value.__name__}"
    return f"one {type(value).__name__}" if isinstance(value, Module) else repr(value)


def flat(x: Tensor) -> Tensor:
    """[batch, features], whatever the shape of a sample is."""
    if not isinstance(x, Tensor):
        raise DTypeError(f"a net takes a Tensor [batch, ...], got {type(x).__name__}")
    return x if x.ndim == 2 else x.reshape((x.shape[0], -1))


class MLP(Sequential):
    """h ← φ(N(W h + b)) for every size but the last, y = W h + b

    `sizes` are those of the input, of the hidden layers, and of the output: MLP([784, 100, 10]). `norm` makes a norm
    for a width (BatchNorm1d, LayerNorm), None for none; `dropout` is the probability with which a hidden unit is
    dropped. Weights and biases start as `Linear`'s do.

    Shapes: x [batch, …] with sizes[0] numbers a sample, y [batch, sizes[-1]].
    """

    def __init__(
        self, sizes: Sequence[int], activation: Make = ReLU, norm: Callable[[int], Module] | None = None,
        dropout: float = 0.0, *, generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if not isinstance(sizes, Sequence) or isinstance(sizes, str) or len(sizes) < 2:
            raise ShapeError(f"MLP: sizes are those of the input, of each layer, and of the output, got {sizes!r}")
        _check_makers("MLP", activation, norm)
        for k, (before, after) in enumerate(pairwise(sizes), 1):
            self.append(Linear(before, after, generator=generator, device=device, dtype=dtype))
            if k == len(sizes) - 1:
                break
            if norm is not None:
                self.append(norm(after).to(device, dtype))
            self.append(activation())
            if dropout:
                self.append(Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(flat(x))


class ResidualMLP(Module):
    """A fully connected net of `depth` weight layers: one in, pairs that are each a `ResidualBlock`, one out

        y = W_out B_n … B₁ W_in x      B(h) = h + W φ N W φ N h (preactivation)

    With residual=False the same weights, norms and activations stand in a plain chain, to compare. Where the blocks
    end in a sum, a norm and an activation stand before the last layer. `last_survival` p_L < 1 is stochastic depth,
    the probability of block l falling linearly to p_L. Weights are He's, N(0, 2/fan_in), biases 0.

    Shapes: x [batch, …], result [batch, out_features].
    Source: He et al., "Deep residual learning", 2015; "Identity mappings", 2016.
    """

    def __init__(
        self, in_features: int, out_features: int, width: int = 64, depth: int = 20, variant: str = "preactivation",
        residual: bool = True, norm: Callable[[int], Module] | None = BatchNorm1d, activation: Make = ReLU,
        last_survival: float = 1.0, *, generator: Generator | None = None, device: str | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        _check_makers("ResidualMLP", activation, norm)
        if not isinstance(depth, int) or depth < 4 or depth % 2:
            raise OptionError(f"ResidualMLP: depth is even and 4 or more (one in, pairs, one out), got {depth!r}")
        last: Any = last_survival
        if not isinstance(last, Real) or not 0 < float(last) <= 1:
            raise OptionError(f"ResidualMLP: last_survival is a probability above 0, up to 1, got {last_survival!r}")
        self.depth, self.residual, blocks = depth, residual, depth // 2 - 1

        def linear(before: int, after: int) -> Linear:
            layer = Linear(before, after, generator=generator, device=device, dtype=dtype)
            init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                init.zeros_(layer.bias)
            return layer

        def norms(count: int) -> list[Module]:
            return [] if norm is None else [norm(width).to(device, dtype) for _ in range(count)]

        self.enter = linear(in_features, width)
        self.blocks = Sequential()
        for k in range(1, blocks + 1):
            pair = [linear(width, width), linear(width, width)]
            if residual:
                survival = survival_probability(k, blocks, last_survival)
                self.blocks.append(ResidualBlock(
                    pair, norms(2), activation, variant, survival=survival, generator=generator
                ))  # fmt: skip
            else:
                for layer in pair:
                    self.blocks.append(Sequential(*norms(1), activation(), layer))
        ends_in_sum = not residual or variant not in ("original", "norm_after_addition")
        self.last = Sequential(*norms(1), activation()) if ends_in_sum else Sequential()
        self.out = linear(width, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.last(self.blocks(self.enter(flat(x)))))


class HighwayNet(Module):
    """y = W_out H_n … H₁ W_in x, with `Highway` layers H whose gates know the depth; `depth` counts all weight layers

    Weights are He's, N(0, 2/fan_in), for ReLU, those of the gates N(0, 1/fan_in); biases are 0, but for the gates',
    −ln depth.

    Shapes: x [batch, …], result [batch, out_features].
    Source: Srivastava, Greff and Schmidhuber, "Training very deep networks", 2015.
    """

    def __init__(
        self, in_features: int, out_features: int, width: int = 50, depth: int = 20, activation: Make = ReLU,
        *, generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        _check_makers("HighwayNet", activation, None)
        if not isinstance(depth, int) or depth < 3:
            raise OptionError(f"HighwayNet: depth is 3 or more (one in, highways, one out), got {depth!r}")
        place: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}
        self.depth = depth
        self.enter = Linear(in_features, width, **place)
        self.layers = Sequential(*(Highway(width, activation(), depth, **place) for _ in range(depth - 2)))
        self.out = Linear(width, out_features, **place)
        for name, layer in self.named_modules():
            if isinstance(layer, Linear):
                gate = name.endswith("gate")
                init.scaled_normal_(layer.weight, 1.0 if gate else 2**0.5, generator=generator)
                if layer.bias is not None and not gate:
                    init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layers(self.enter(flat(x))))
