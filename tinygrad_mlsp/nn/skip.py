"""Layers that let a gradient pass: what is added, carried or kept beside a transform goes back through it unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import OptionError
from ..random import Generator
from ..tensor import Tensor, record_of
from . import init
from .activation import ReLU
from .linear import Linear
from .module import Module, _size

_sigmoid, _concat, _linear = record_of("sigmoid"), record_of("concat"), record_of("linear")


class Residual(Module):
    """y = x + f(x), with ∂y/∂x = 1 + ∂f/∂x: the 1 carries the gradient past f, however small f's slope is

    With a `norm`, `order` says where it stands: "before" the block, y = x + f(norm(x)), which leaves the path of the
    identity free, or "after" the sum, y = norm(x + f(x)).

    Source: He et al., "Deep residual learning", 2015; "Identity mappings in deep residual networks", 2016.
    """

    def __init__(self, block: Module, norm: Module | None = None, order: str = "before") -> None:
        if order not in ("before", "after"):
            raise OptionError(f"Residual: order is 'before' or 'after', not {order!r}")
        self.block, self.norm, self.order = block, norm, order

    def forward(self, x: Tensor) -> Tensor:
        if self.norm is None:
            return x + self.block(x)
        return x + self.block(self.norm(x)) if self.order == "before" else self.norm(x + self.block(x))

    def extra_repr(self) -> str:
        return "" if self.norm is None else f"order={self.order!r}"


class Highway(Module):
    """y = x + T(x) (H(x) − x), with H = f(W x + b) and the gate T = σ(W_T x + b_T): x is carried where T is near 0

    The gate starts nearly closed, b_T = −ln depth, where `depth` is the number of layers of the net: each layer then
    carries 1 − T ≈ 1 − 1/(depth + 1), so the product of the carries over the whole depth is about 1/e at any depth.
    (A fixed bias depends on the depth: −2 trained at 20 layers and did not at 56, where −4 did.)

    Shapes: x and y [..., features].
    Source: Srivastava, Greff and Schmidhuber, "Highway networks", 2015.
    """

    def __init__(
        self, features: int, activation: Callable[[Tensor], Tensor] | None = None, depth: int = 10,
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        features, depth = _size("Highway: features", features), _size("Highway: depth", depth, 1)
        self.activation = ReLU() if activation is None else activation
        self.depth = depth
        self.transform = Linear(features, features, device=device, dtype=dtype, generator=generator)
        self.gate = Linear(features, features, device=device, dtype=dtype, generator=generator)
        assert self.gate.bias is not None
        init.constant_(self.gate.bias, -math.log(depth))

    def forward(self, x: Tensor) -> Tensor:
        return x + _sigmoid(self.gate(x)) * (self.activation(self.transform(x)) - x)

    def extra_repr(self) -> str:
        return f"depth={self.depth}"


class DenseLayer(Linear):
    """y = [x, f(W x + b)]: a layer of a DenseBlock, which gives it the activation f

    In a graph each use of f belongs to its layer; one module called by all would tie the layers in a knot.

    Shapes: x [..., in_features], y [..., in_features + out_features].
    """

    shared: tuple[Callable[[Tensor], Tensor], ...] = ()  # f; in a tuple, for it is registered as the block's

    def forward(self, x: Tensor) -> Tensor:
        h = _linear(x, self.weight, self.bias)
        for f in self.shared:
            h = f.forward(h) if isinstance(f, Module) else f(h)
        return _concat([x, h], axis=-1)


class DenseBlock(Module):
    """hₖ = f(Wₖ [x, h₁, …, hₖ₋₁] + bₖ), y = [x, h₁, …, hₙ]: each layer sees all earlier ones, the loss sees each layer

    Shapes: x [batch, in_features], h [batch, growth], y [batch, in_features + layers · growth].
    Source: Huang et al., "Densely connected convolutional networks", 2017.
    """

    def __init__(
        self, in_features: int, growth: int, layers: int, activation: Callable[[Tensor], Tensor] | None = None,
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        in_features = _size("DenseBlock: in_features", in_features)
        growth, layers = _size("DenseBlock: growth", growth), _size("DenseBlock: layers", layers)
        self.activation = ReLU() if activation is None else activation
        self.in_features, self.out_features = in_features, in_features + layers * growth
        self.growth, self.depth = growth, layers
        for k in range(layers):
            inside = DenseLayer(in_features + k * growth, growth, device=device, dtype=dtype, generator=generator)
            inside.shared = (self.activation,)
            self.register_module(str(k), inside)

    def layers(self) -> list[DenseLayer]:
        """The layers, in order."""
        return [m for m in self.children() if isinstance(m, DenseLayer)]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers():
            if layer.shared[0] is not self.activation:  # another was assigned
                layer.shared = (self.activation,)
            x = layer(x)
        return x

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, growth={self.growth}, layers={self.depth}"
