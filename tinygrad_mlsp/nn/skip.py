"""Layers that let a gradient pass: what is added, carried or kept beside a transform goes back through it unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import OptionError, ShapeError
from ..random import Generator, default_generator
from ..tensor import Tensor, record_of
from . import functional, init
from .activation import ReLU
from .container import ModuleList
from .linear import Linear
from .module import Module, _size

_sigmoid, _concat, _linear = record_of("sigmoid"), record_of("concat"), record_of("linear")


def survival_probability(block: int, blocks: int, last: float = 0.5) -> float:
    """p = 1 − (l/L)(1 − p_L): how likely block l = 1 … L stays, falling from near 1 to `last`

    Source: Huang et al., "Deep networks with stochastic depth", 2016, equation 4.
    """
    if not 1 <= block <= blocks or not 0 < last <= 1:
        raise OptionError(
            f"survival_probability: block is one of 1 to {blocks} and the last probability in (0, 1], "
            f"got block {block} and {last!r}"
        )
    return 1 - block / blocks * (1 - last)


class _Skipping(Module):
    """What is added to a shortcut: f(x) in the common case, and with stochastic depth sometimes nothing."""

    survival = 1.0
    generator: Generator | None = None

    def _stochastic(self, survival: float, generator: Generator | None) -> None:
        if not 0 < survival <= 1:
            raise OptionError(f"{type(self).__name__}: survival is a probability in (0, 1], got {survival!r}")
        self.survival, self.generator = survival, generator

    def _added(self, shortcut: Tensor, block: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """x + b f(x), b one draw for the whole batch, in training; x + p f(x) in evaluation. A block that is not drawn
        is not computed."""
        if self.survival == 1:
            return shortcut + block(x)
        if not self.training:
            return shortcut + block(x) * self.survival
        drawn = bool((self.generator or default_generator()).bernoulli(self.survival))
        return shortcut + block(x) if drawn else shortcut


class Residual(_Skipping):
    """y = x + f(x), with ∂y/∂x = 1 + ∂f/∂x: the 1 carries the gradient past f, however small f's slope is

    With a `norm`, `order` says where it stands: "before" the block, y = x + f(norm(x)), which leaves the path of the
    identity free, or "after" the sum, y = norm(x + f(x)). A `shortcut` takes the place of x where f changes the shape.
    With `survival` p < 1 (stochastic depth) f stays with probability p in training, and counts p f(x) in evaluation.

    Source: He et al., "Deep residual learning", 2015; "Identity mappings in deep residual networks", 2016; Huang et
    al., "Deep networks with stochastic depth", 2016.
    """

    def __init__(
        self, block: Module, norm: Module | None = None, order: str = "before", shortcut: Module | None = None,
        survival: float = 1.0, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if order not in ("before", "after"):
            raise OptionError(f"Residual: order is 'before' or 'after', not {order!r}")
        self.block, self.norm, self.order, self.shortcut = block, norm, order, shortcut
        self._stochastic(survival, generator)

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.shortcut is None else self.shortcut(x)
        if self.norm is None:
            return self._added(kept, self.block, x)
        if self.order == "before":
            return self._added(kept, self._normed, x)
        return self.norm(self._added(kept, self.block, x))

    def _normed(self, x: Tensor) -> Tensor:
        return self.block(x if self.norm is None else self.norm(x))

    def extra_repr(self) -> str:
        own = [f"order={self.order!r}"] if self.norm is not None else []
        return ", ".join([*own, *([f"survival={self.survival:.4g}"] if self.survival < 1 else [])])


# Where norm (N), activation (φ) and weight layer (W) stand: inside the block, then after the sum.
VARIANTS = {
    "original": (("WNφ", "WN"), "φ"),
    "norm_after_addition": (("WNφ", "W"), "Nφ"),
    "activation_before_addition": (("WNφ", "WNφ"), ""),
    "activation_only_preactivation": (("φWN", "φWN"), ""),
    "preactivation": (("NφW", "NφW"), ""),
}


class ResidualBlock(_Skipping):
    """y = a(s(x) + f(x)) with f of several weight layers, norms and activations, in one of five orders

        original                       y = φ(x + N W φ N W x)
        norm_after_addition            y = φ(N(x + W φ N W x))
        activation_before_addition     y = x + φ N W φ N W x
        activation_only_preactivation  y = x + N W φ N W φ x
        preactivation                  y = x + W φ N W φ N x

    The first has the slope of φ on every path, the last a path of plain sums from end to end, and trains deepest.
    `layers` are the W in the order of their use, and `norms` as many N (or none): a norm before its layer is of the
    layer's input, else of its output. `shortcut` is s, the identity unless given; `survival` is that of `Residual`.

    Source: He et al., "Identity mappings in deep residual networks", 2016, figure 4.
    """

    def __init__(
        self, layers: Sequence[Module], norms: Sequence[Module] = (), activation: Callable[[], Module] = ReLU,
        variant: str = "original", shortcut: Module | None = None, survival: float = 1.0,
        *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if variant not in VARIANTS:
            raise OptionError(f"ResidualBlock: no variant {variant!r}; {', '.join(VARIANTS)} are known")
        if not layers or len(norms) not in (0, len(layers)):
            raise ShapeError(
                f"ResidualBlock: takes one layer or more, and a norm for each or none, got {len(layers)} layers "
                f"and {len(norms)} norms"
            )
        self.variant = variant
        self.layers, self.norms, self.shortcut = ModuleList(layers), ModuleList(norms), shortcut
        self.activations = ModuleList(activation() for _ in range(self._uses()))  # one a use, for the graph's sake
        self._stochastic(survival, generator)

    def _orders(self) -> list[str]:
        """The order of W, N and φ at each layer, and after the sum."""
        (inner, last), after = VARIANTS[self.variant]
        return [*[inner] * (len(self.layers) - 1), last, after]

    def _uses(self) -> int:
        return "".join(self._orders()).count("φ")

    def _run(self, x: Tensor, places: Sequence[int], used: int) -> Tensor:
        orders, count = self._orders(), len(self.layers)
        for k in places:
            for symbol in orders[k]:
                if symbol == "W":
                    x = self.layers[k](x)
                elif symbol == "φ":
                    x = self.activations[used](x)
                    used += 1
                elif len(self.norms):
                    x = self.norms[min(k, count - 1)](x)
        return x

    def _block(self, x: Tensor) -> Tensor:
        return self._run(x, range(len(self.layers)), 0)

    def forward(self, x: Tensor) -> Tensor:
        total = self._added(x if self.shortcut is None else self.shortcut(x), self._block, x)
        after = self._orders()[-1]
        return self._run(total, [len(self.layers)], len(self.activations) - 1) if after else total

    def extra_repr(self) -> str:
        return f"variant={self.variant!r}" + (f", survival={self.survival:.4g}" if self.survival < 1 else "")


class StochasticDepth(Module):
    """y = x m/(1 − p) in training, with m = 0, for a whole sample or the whole batch, with probability p

    To stand at the end of a branch; its mean is x, so evaluation leaves x as it is. `mode` is "row" (a draw a sample)
    or "batch". (The paper's own scaling, by the survival probability at evaluation, is in `Residual`.)

    Shapes: x [batch, …].
    Source: Huang et al., "Deep networks with stochastic depth", 2016; the names are torchvision's.
    """

    def __init__(self, p: float, mode: str = "row", *, generator: Generator | None = None) -> None:
        if mode not in ("row", "batch"):
            raise OptionError(f"StochasticDepth: mode is 'row' or 'batch', not {mode!r}")
        if not 0 <= p < 1:
            raise OptionError(f"StochasticDepth: p is a probability in [0, 1), got {p!r}")
        self.p, self.mode, self.generator = p, mode, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        shape = (x.shape[0] if self.mode == "row" else 1,) + (1,) * (x.ndim - 1)
        mask = functional.dropout_mask(shape, self.p, self.generator, x.device)
        return functional.dropout(x, self.p, True, mask=mask)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode!r}"


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


class Concat(Module):
    """y = [f₁(x), …, fₙ(x)]: branches side by side, their results joined along the axis `dim`

    With an Identity as a branch, what a dense layer does; with convolutions of several sizes, an inception block.
    """

    def __init__(self, *branches: Module, dim: int = 1) -> None:
        self.dim = dim
        for k, branch in enumerate(branches):
            self.register_module(str(k), branch)

    def forward(self, x: Tensor) -> Tensor:
        return _concat([branch(x) for branch in vars(self).values() if isinstance(branch, Module)], axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class SqueezeExcitation(Module):
    """y = x σ(W₂ φ(W₁ s + b₁) + b₂), where s is the mean of each channel: a gate a channel that has seen the whole

    Shapes: x and y [batch, channels, …].
    Source: Hu, Shen and Sun, "Squeeze-and-excitation networks", 2018.
    """

    def __init__(
        self, channels: int, reduction: int = 16, activation: Callable[[], Module] = ReLU, device: str | None = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        channels = _size("SqueezeExcitation: channels", channels, 1)
        inside = max(1, channels // _size("SqueezeExcitation: reduction", reduction, 1))
        self.fc1 = Linear(channels, inside, device=device, dtype=dtype, generator=generator)
        self.activation = activation()
        self.fc2 = Linear(inside, channels, device=device, dtype=dtype, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.mean(axis=tuple(range(2, x.ndim))) if x.ndim > 2 else x
        gate = _sigmoid(self.fc2(self.activation(self.fc1(squeezed))))
        return x * gate.reshape((*gate.shape, *(1,) * (x.ndim - 2)))
