"""Autoencoders: nets that learn to give back their input, and are kept from just copying it.

A bottleneck (few hidden units), sparsity (many units, few at work), noise (the input is corrupted, the output is not)
and contraction (features that hardly change with the input) are the ways. Lecture 0, "Autoencoders"; lecture 2,
"Deep autoencoder".
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from ..backend import float32
from ..derivatives import vjp
from ..errors import OptionError, ShapeError
from ..namespace import broadcast_to, eye, zeros
from ..nn import Identity, Linear, Module, Parameter, Sequential, Sigmoid, init
from ..nn import functional as F
from ..nn.functional.checks import number
from ..nn.module import _size
from ..optim import Optimizer
from ..random import Generator, default_generator
from ..tensor import Tensor, record_of, wrap
from .greedy import Optimize, descend, matrix, part_of
from .mlp import flat

_where, _abs, _linear = record_of("where"), record_of("abs"), record_of("linear")
Make = Callable[[], Module]
Loss = Callable[[Tensor, Tensor], Tensor]


# Corruption, in training alone


class MaskingNoise(Module):
    """x̃ᵢ = 0 with probability p, else xᵢ, in training; x̃ = x in evaluation

    Unlike dropout it leaves what remains at its size.
    Source: Vincent et al., "Extracting and composing robust features with denoising autoencoders", 2008.
    """

    def __init__(self, p: float = 0.25, *, generator: Generator | None = None) -> None:
        self.p, self.generator = number(f"{type(self).__name__}: p", p, 0, 1), generator

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask`, True where an entry stays, may be given."""
        if not self.training:
            return x
        kept = self._drawn(1 - self.p, x) if mask is None else mask
        return _where(kept, x, self._instead(x))

    def _instead(self, x: Tensor) -> Tensor:
        return x.detach() * 0

    def _drawn(self, p: float, x: Tensor) -> Tensor:
        return wrap((self.generator or default_generator()).bernoulli(p, x.shape, x.device), None)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class SaltAndPepper(MaskingNoise):
    """x̃ᵢ = low or high, a coin decides, with probability p, else xᵢ, in training; x̃ = x in evaluation"""

    def __init__(
        self, p: float = 0.25, low: float = 0.0, high: float = 1.0, *, generator: Generator | None = None
    ) -> None:
        super().__init__(p, generator=generator)
        self.low, self.high = low, high

    def _instead(self, x: Tensor) -> Tensor:
        return self._drawn(0.5, x).astype(x.dtype) * (self.high - self.low) + self.low

    def extra_repr(self) -> str:
        return f"p={self.p}, low={self.low}, high={self.high}"


# Penalties


def l1_sparsity(h: Tensor) -> Tensor:
    """Σⱼ |hⱼ|, in the mean over the batch

    Source: Ranzato, Poultney, Chopra and LeCun, "Efficient learning of sparse representations", 2007, has it as an
    energy of the code.
    """
    return _abs(h).sum(axis=-1).mean()


def kl_sparsity(h: Tensor, target: float = 0.05) -> Tensor:
    """Σⱼ ρ ln(ρ/ρ̂ⱼ) + (1 − ρ) ln((1 − ρ)/(1 − ρ̂ⱼ)), ρ̂ the units' means over the batch, in nats

    For units from 0 to 1. ρ̂ is kept 10⁻⁶ away from 0 and 1, where the divergence is infinite.
    Source: Ng, "Sparse autoencoder", CS294A lecture notes, 2011.
    """
    if not 0 < target < 1:
        raise OptionError(f"kl_sparsity: target is a mean activity between 0 and 1, got {target!r}")
    mean = h.mean(axis=0)
    mean = mean.clip(1e-6, 1 - 1e-6)
    return (target * (target / mean).log() + (1 - target) * ((1 - target) / (1 - mean)).log()).sum()


def contraction(encoder: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """‖∂h/∂x‖² = Σⱼᵢ (∂hⱼ/∂xᵢ)², in the mean over the batch, by a sweep backward for all hⱼ at once

    For an encoder of any depth that treats the rows of a batch alone. It may itself be differentiated.
    Costs the memory of the encoder's pass over hidden × batch rows.
    Source: Rifai, Vincent, Muller, Glorot and Bengio, "Contractive auto-encoders", 2011, equation 2.
    """
    batch, n = x.shape
    width = encoder(x[:1]).shape[-1]
    rows = broadcast_to(x, (width, batch, n)).reshape((width * batch, n))
    units = eye(width, dtype=x.dtype, device=x.device)
    seeds = broadcast_to(units.reshape((width, 1, width)), (width, batch, width)).reshape((width * batch, width))
    _, pull = vjp(encoder, rows)
    (slopes,) = pull(seeds)
    return (slopes * slopes).sum() * (1 / batch)


def sigmoid_contraction(h: Tensor, weight: Tensor) -> Tensor:
    """‖∂h/∂x‖² = Σⱼ (hⱼ (1 − hⱼ))² Σᵢ Wⱼᵢ² for h = σ(W x + b), in the mean over the batch

    Source: Rifai et al., 2011, equation 6.
    """
    slope = h * (1 - h)
    return ((slope * slope) @ (weight * weight).sum(axis=1)).mean()


# The nets


class TiedLinear(Module):
    """y = h W + c with the weights W of another Linear, x ↦ W x + b, transposed, and biases of its own"""

    def __init__(self, of: Linear) -> None:
        self.of = of
        self.bias = Parameter(zeros((of.in_features,), dtype=of.weight.dtype, device=of.weight.device))

    def forward(self, h: Tensor) -> Tensor:
        return _linear(h, self.of.weight.mT, self.bias)


class Autoencoder(Module):
    """x̂ = g(D(E(x̃))), trained so that x̂ is like x; x̃ is x, or x corrupted

    `encoder` E gives the code; `decoder` D what `output` g (Identity, Sigmoid …) makes the reconstruction of. `loss`
    compares: "squared" is Σᵢ (x̂ᵢ − xᵢ)², "cross_entropy" is −Σᵢ xᵢ ln x̂ᵢ + (1 − xᵢ) ln(1 − x̂ᵢ), which wants a Sigmoid
    as output and data in [0, 1]; both are means over the batch. Or it is a function of (x̂, x).
    `corruption` is a Module that is applied in training, such as MaskingNoise.

    Shapes: x [batch, …], code [batch, hidden], x̂ [batch, features].
    """

    def __init__(
        self, encoder: Module, decoder: Module, output: Module | None = None, loss: str | Loss = "squared",
        corruption: Module | None = None,
    ) -> None:  # fmt: skip
        self.encoder, self.decoder, self.output = encoder, decoder, Identity() if output is None else output
        if not callable(loss) and loss not in ("squared", "cross_entropy"):
            raise OptionError(
                f"{type(self).__name__}: loss is 'squared', 'cross_entropy' or a function of (x̂, x), got {loss!r}"
            )
        if loss == "cross_entropy" and not isinstance(self.output, Sigmoid):
            raise OptionError(f"{type(self).__name__}: loss='cross_entropy' wants output Sigmoid(), for x̂ in (0, 1)")
        self.compare, self.corruption = loss, corruption

    def encode(self, x: Tensor) -> Tensor:
        """The code    [batch, hidden]"""
        return self.encoder(flat(x))

    def decode(self, h: Tensor) -> Tensor:
        """The reconstruction from a code    [batch, features]"""
        return self.output(self.decoder(h))

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def penalty(self, x: Tensor, h: Tensor) -> Any:
        """What the loss has besides the reconstruction: a function of the (corrupted) input and its code."""
        return 0

    def loss(self, x: Tensor, target: Tensor | None = None) -> Tensor:
        """The reconstruction's loss, and the penalty; `target` takes the place of x as what is to be given back."""
        x = flat(x)
        target = x if target is None else flat(target)
        if self.corruption is not None:
            x = self.corruption(x)
        h = self.encoder(x)
        z = self.decoder(h)
        if z.shape != target.shape:
            raise ShapeError(
                f"{type(self).__name__}: the reconstruction is {list(z.shape)}, what it is compared with "
                f"{list(target.shape)}"
            )
        if self.compare == "cross_entropy":
            found = F.binary_cross_entropy_with_logits(z, target, reduction="sum") * (1 / len(x))
        elif self.compare == "squared":
            difference = self.output(z) - target
            found = (difference * difference).sum() * (1 / len(x))
        else:
            found = self.compare(self.output(z), target)  # type: ignore[operator]
        return found + self.penalty(x, h)

    def fit(
        self, x: Any, epochs: int = 10, batch_size: int = 100, optimizer: Optimize | Optimizer | None = None, *,
        target: Any = None, generator: Generator | None = None,
    ) -> list[float]:  # fmt: skip
        """Trains on shuffled batches; returns the mean loss of each epoch

        `optimizer` is one, or makes one from parameters: `lambda p: SGD(p, lr=0.1)`; Adam with its defaults where none
        is given. With a `target`, as many rows as x, that is what is to be given back: clean signals for noisy ones.
        Raises: ShapeError, DTypeError, OptionError for data that do not fit, are not finite, or not in [0, 1] where
        the loss is the cross-entropy; DivergenceError.
        """
        name = f"{type(self).__name__}.fit"
        place = next(self.parameters())
        width = next((m.in_features for m in self.encoder.modules() if isinstance(m, Linear)), None)
        x, target = (a.reshape((a.shape[0], -1)) if getattr(a, "ndim", 2) > 2 else a for a in (x, target))
        rows = [matrix(name, x, width)] if target is None else [matrix(name, x, width), matrix(name, target)]
        rows = [a.to(place.device, place.dtype) for a in rows]
        if len(rows[0]) != len(rows[-1]):
            raise ShapeError(f"{name}: x has {len(rows[0])} rows, target {len(rows[-1])}")
        low, high = float(rows[-1].min()), float(rows[-1].max())
        if self.compare == "cross_entropy" and not 0 <= low <= high <= 1:
            raise OptionError(
                f"{name}: the cross-entropy wants data in [0, 1], these go from {low:.4g} to {high:.4g}; rescale them, "
                "or take loss='squared' with a linear output"
            )
        return descend(self, self.loss, rows, epochs, batch_size, optimizer, generator)


class DeepAutoencoder(Autoencoder):
    """h ← φ(W h + b) through `sizes` to the code, and back through the same sizes

    `sizes` are those of the input, the hidden layers and the code: [784, 30] is the shallow bottleneck, [784, 1000,
    500, 250, 30] the deep one of 2006. `activation` makes φ, `code` the code layer's (φ where it is None), `output` the
    last one's. `tied`: the decoder's weights are the encoder's, transposed. Weights are Glorot's, `gain` times as
    large, biases 0.

    Source: Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", 2006.
    """

    def __init__(
        self, sizes: Sequence[int], activation: Make = Sigmoid, code: Make | None = None, output: Make = Sigmoid,
        tied: bool = False, loss: str | Loss = "cross_entropy", corruption: Module | None = None, gain: float = 1.0, *,
        generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if not isinstance(sizes, Sequence) or len(sizes) < 2:
            raise OptionError(f"{type(self).__name__}: sizes are those of the input, …, and of the code, got {sizes!r}")
        sizes = [_size(f"{type(self).__name__}: a size", n, 1) for n in sizes]
        for name, make in (("activation", activation), ("code", code), ("output", output)):
            if (make is not None or name != "code") and (isinstance(make, Module) or not callable(make)):
                raise OptionError(f"{type(self).__name__}: {name} makes a Module, such as nn.Tanh, got {make!r}")
        place: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype or float32}

        def linear(before: int, after: int) -> Linear:
            layer = Linear(before, after, **place)
            init.xavier_uniform_(layer.weight, gain, generator=generator)
            assert layer.bias is not None
            init.zeros_(layer.bias)
            return layer

        down = [linear(n, m) for n, m in pairwise(sizes)]
        up: list[Module] = [TiedLinear(of) if tied else linear(of.out_features, of.in_features) for of in down[::-1]]
        encoder, decoder = Sequential(), Sequential()
        for k, layer in enumerate(down, 1):
            encoder.extend([layer, activation() if k < len(down) or code is None else code()])
        for k, back in enumerate(up, 1):
            decoder.extend([back, activation()] if k < len(up) else [back])
        super().__init__(encoder, decoder, output(), loss, corruption)
        self.sizes = tuple(sizes)


class SparseAutoencoder(DeepAutoencoder):
    """DeepAutoencoder with the penalty λ times `l1_sparsity` of the code, or, kind="kl", λ times `kl_sparsity`

    Takes DeepAutoencoder's options.
    Raises: OptionError.
    """

    def __init__(
        self, sizes: Sequence[int], kind: str = "l1", weight: float = 0.1, target: float = 0.05, **options: Any
    ) -> None:
        super().__init__(sizes, **options)
        if kind not in ("l1", "kl"):
            raise OptionError(f"SparseAutoencoder: kind is 'l1' or 'kl', got {kind!r}")
        if kind == "kl" and not isinstance(self.encoder[-1], Sigmoid):  # type: ignore[index]
            raise OptionError("SparseAutoencoder: kind='kl' is for codes from 0 to 1; the code layer must be a Sigmoid")
        self.kind, self.weight, self.target = kind, number("SparseAutoencoder: weight", weight, 0), target

    def penalty(self, x: Tensor, h: Tensor) -> Tensor:
        return self.weight * (l1_sparsity(h) if self.kind == "l1" else kl_sparsity(h, self.target))


class DenoisingAutoencoder(DeepAutoencoder):
    """DeepAutoencoder that is given a corrupted input and must give back the clean one

    `corruption` is the p of MaskingNoise, or a Module: nn.GaussianNoise(0.3), SaltAndPepper(0.1). Takes
    DeepAutoencoder's options; weights are tied unless told otherwise, as in the paper.
    Source: Vincent et al., 2008; lecture 0, "Noisy autoencoders".
    """

    def __init__(
        self, sizes: Sequence[int], corruption: float | Module = 0.25, tied: bool = True,
        generator: Generator | None = None, **options: Any,
    ) -> None:  # fmt: skip
        noise = corruption if isinstance(corruption, Module) else MaskingNoise(corruption, generator=generator)
        super().__init__(sizes, tied=tied, corruption=noise, generator=generator, **options)


class ContractiveAutoencoder(DeepAutoencoder):
    """DeepAutoencoder with the penalty λ ‖∂code/∂x‖²: the code hardly changes where the data do not

    For one sigmoid layer the penalty is `sigmoid_contraction`, for any other encoder `contraction`. Takes
    DeepAutoencoder's options; weights are tied unless told otherwise.
    Source: Rifai et al., 2011.
    """

    def __init__(self, sizes: Sequence[int], weight: float = 0.1, tied: bool = True, **options: Any) -> None:
        super().__init__(sizes, tied=tied, **options)
        self.weight = number("ContractiveAutoencoder: weight", weight, 0)

    def penalty(self, x: Tensor, h: Tensor) -> Tensor:
        layers = [*self.encoder] if isinstance(self.encoder, Sequential) else []
        if len(layers) == 2 and isinstance(layers[0], Linear) and isinstance(layers[1], Sigmoid):
            return self.weight * sigmoid_contraction(h, layers[0].weight)
        return self.weight * contraction(self.encoder, x)


def unroll(modules: Sequence[Any], loss: str | Loss = "cross_entropy") -> Autoencoder:
    """x ↦ D₁ … D_L E_L … E₁ x of trained greedy modules: a deep autoencoder that starts where they ended

    The modules are those of `greedy_pretrain(…).greedy`, or any with an encoder and a decoder, of width fitting width.
    Weights are copied, so that encoder and decoder part while they are fine-tuned (tied ones stay tied).

    Source: Hinton and Salakhutdinov, 2006; lecture 2, "Deep autoencoder".
    """
    if not isinstance(modules, Sequence) or not modules:
        raise OptionError("unroll: wants a list of one trained module or more")
    copies = [copy.deepcopy(m) for m in modules]
    encoder, decoder = Sequential(), Sequential()
    for module in copies:
        encoder.extend(_layers(part_of(module, "encoder")))
    for module in copies[::-1]:
        decoder.extend(_layers(part_of(module, "decoder")))
        decoder.extend(_layers(getattr(module, "output", Sequential())))
    last: Module = decoder[-1]
    if any(True for _ in last.parameters()):
        return Autoencoder(encoder, decoder, None, loss)
    return Autoencoder(encoder, decoder[:-1], last, loss)


def _layers(part: Module) -> list[Module]:
    return [*part] if isinstance(part, Sequential) else [part]
