"""The convolutional RBM: the same weights at every place of an image, and pooling that samples can go back through."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import float32
from ..errors import OptionError, ShapeError
from ..namespace import asarray, concat, zeros
from ..nn import Parameter
from ..nn import functional as F
from ..nn.module import _size
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of
from .rbm import RBM
from .units import Bernoulli, Gaussian, Units, _uniform, as_units

_cumulative_sum = record_of("cumulative_sum")
_exp, _logsumexp, _permute = record_of("exp"), record_of("logsumexp"), record_of("permute_dims")


class EveryPlace(Units):
    """Units of one kind at every place of an image, with one bias a channel

    Shapes: x [batch, channels, height, width].
    """

    def __init__(self, kind: Units) -> None:
        self.size, self.kind = kind.size, kind

    @property
    def bias(self) -> Tensor:  # type: ignore[override]
        return self.kind.bias

    def shift_bias(self, by: Tensor) -> None:
        self.kind.shift_bias(by)

    def energy(self, x: Tensor) -> Tensor:
        return self.kind.energy(_last(x)).sum(axis=(1, 2))

    def scaled(self, x: Tensor) -> Tensor:
        return _first(self.kind.scaled(_last(x)))

    def log_normalizer(self, z: Tensor, beta: float = 1.0) -> Tensor:
        return self.kind.log_normalizer(_last(z), beta).sum(axis=(1, 2))

    def mean(self, z: Tensor, beta: float = 1.0) -> Tensor:
        return _first(self.kind.mean(_last(z), beta))

    def sample(self, z: Tensor, beta: float = 1.0, generator: Generator | None = None) -> Tensor:
        return _first(self.kind.sample(_last(z), beta, generator))

    def bias_for(self, x: Tensor) -> Tensor:
        return self.kind.bias_for(_last(x).reshape((-1, self.size)))

    def fault(self, x: np.ndarray[Any, Any]) -> str | None:
        return self.kind.fault(np.moveaxis(x, 1, -1))


class Pooled(Units):
    """Binary units in blocks of pool × pool, of which one at most is on: P(hᵢ = 1) = e^(βzᵢ)/(1 + Σⱼ e^(βzⱼ))

    The pooling unit above a block is on where one of it is: see `pooled`. There is one bias a channel.

    Shapes: h, z [batch, channels, height, width], of which the pool is a divisor.
    Source: Lee, Grosse, Ranganath and Ng, "Convolutional deep belief networks for scalable unsupervised learning of
    hierarchical representations", 2009, section 3.3.
    """

    def __init__(self, size: int, pool: int = 2, *, dtype: Any = float32, device: str = "cpu") -> None:
        super().__init__(size, dtype=dtype, device=device)
        self.pool = _size("Pooled: pool", pool, 1)

    def _blocks(self, z: Tensor) -> Tensor:
        """[batch, channels, rows, columns of blocks, units of a block]"""
        n, k, height, width = z.shape
        c = self.pool
        if height % c or width % c:
            raise ShapeError(f"Pooled: blocks of {c} × {c} do not fill a map of {height} × {width}")
        return _permute(z.reshape((n, k, height // c, c, width // c, c)), (0, 1, 2, 4, 3, 5)).reshape(
            (n, k, height // c, width // c, c * c)
        )

    def _places(self, blocks: Tensor) -> Tensor:
        """The opposite of `_blocks`."""
        n, k, rows, columns, _ = blocks.shape
        c = self.pool
        parts = _permute(blocks.reshape((n, k, rows, columns, c, c)), (0, 1, 2, 4, 3, 5))
        return parts.reshape((n, k, rows * c, columns * c))

    def _log_total(self, blocks: Tensor) -> Tensor:
        """ln (1 + Σ e^z) of each block"""
        return record_of("softplus")(_logsumexp(blocks, axis=-1))

    def energy(self, x: Tensor) -> Tensor:
        return -(x.sum(axis=(2, 3)) @ self.bias)

    def log_normalizer(self, z: Tensor, beta: float = 1.0) -> Tensor:
        return self._log_total(self._blocks(z * beta)).sum(axis=(1, 2, 3))

    def mean(self, z: Tensor, beta: float = 1.0) -> Tensor:
        blocks = self._blocks(z * beta)
        return self._places(_exp(blocks - self._log_total(blocks)[..., None]))

    def pooled(self, z: Tensor, beta: float = 1.0) -> Tensor:
        """P(the pooling unit is on) = 1 − 1/(1 + Σ e^(βz))    [batch, channels, rows, columns]"""
        return record_of("sigmoid")(_logsumexp(self._blocks(z * beta), axis=-1))

    def sample(self, z: Tensor, beta: float = 1.0, generator: Generator | None = None) -> Tensor:
        p = self._blocks(self.mean(z, beta))
        below = (_uniform(p[..., :1], generator) < _cumulative_sum(p, axis=-1)).astype(z.dtype)
        return self._places(
            concat([below[..., :1], below[..., 1:] - below[..., :-1]], axis=-1)
        )  # the first such, if any

    def extra_repr(self) -> str:
        return f"{self.size}, pool={self.pool}"


class ConvolutionalRBM(RBM):
    """E(v, h) = A(v) + B(h) − Σₖ Σᵢⱼ hₖᵢⱼ (wₖ ⋆ s(v))ᵢⱼ: an RBM whose weights are filters

    `visible` is a number of channels of binary pixels, or units such as Gaussian(3); `filters` are as many maps of
    hidden units, in blocks of `pool` × `pool` of which at most one is on. The image may have any size at which the
    blocks fill the maps: height − kernel + 1 is a multiple of the pool. What trains an RBM trains this. Its partition
    function is neither summed nor estimated.

    Shapes: v [batch, channels, height, width], h [batch, filters, height − kernel + 1, width − kernel + 1], weight
    [filters, channels, kernel, kernel].
    Source: Lee, Grosse, Ranganath and Ng, "Convolutional deep belief networks for scalable unsupervised learning of
    hierarchical representations", 2009.
    """

    def __init__(
        self, visible: int | Units, filters: int, kernel: int | tuple[int, int], pool: int = 2, *, std: float = 0.01,
        generator: Generator | None = None, dtype: Any = float32, device: str = "cpu",
    ) -> None:  # fmt: skip
        kind = as_units(visible, "ConvolutionalRBM: visible")
        if not isinstance(kind, (Bernoulli, Gaussian)):
            raise OptionError(f"ConvolutionalRBM: visible units are Bernoulli or Gaussian, got {kind!r}")
        sides = tuple(kernel) if isinstance(kernel, (tuple, list)) else (kernel, kernel)
        if len(sides) != 2:
            raise OptionError(f"ConvolutionalRBM: the kernel has a height and a width, got {kernel!r}")
        self.kernel = tuple(_size("ConvolutionalRBM: a side of the kernel", n, 1) for n in sides)
        super().__init__(EveryPlace(kind), Pooled(_size("ConvolutionalRBM: filters", filters, 1), pool), std=std,
                         generator=generator, dtype=dtype, device=device)  # fmt: skip
        shape = (self.hidden.size, kind.size, *self.kernel)
        drawn = (generator or default_generator()).normal(shape, 0.0, std, dtype=np.dtype(dtype))
        self.weight = Parameter(drawn)
        self.to(device, dtype)

    def extra_repr(self) -> str:
        return f"{self.visible.size}, {self.hidden.size}, {self.kernel}"

    def hidden_input(self, v: Tensor) -> Tensor:
        return F.conv2d(self.visible.scaled(v), self.weight, self.hidden.bias)

    def visible_input(self, h: Tensor) -> Tensor:
        return F.conv_transpose2d(h, self.weight, self.visible.bias)

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        sent = F.conv2d(self.visible.scaled(v), self.weight)
        return self.visible.energy(v) + self.hidden.energy(h) - (sent * h).sum(axis=(1, 2, 3))

    def features(self, v: Tensor) -> Tensor:
        """P(each pooling unit is on | v)    [batch, filters, rows, columns]"""
        hidden = self.hidden
        assert isinstance(hidden, Pooled)
        return hidden.pooled(self.hidden_input(v))

    def sample(
        self, n: int, steps: int = 1000, *, start: Tensor | None = None, clamp: Any = None,
        generator: Generator | None = None, shape: tuple[int, int] | None = None,
    ) -> Tensor:  # fmt: skip
        """n fantasies, images of this shape, after so many rounds of Gibbs sampling; see `RBM.sample`"""
        if start is None:
            if shape is None:
                raise OptionError("ConvolutionalRBM.sample: needs the shape (height, width), or images to start from")
            nothing = zeros((n, self.visible.size, *shape), dtype=self.weight.dtype, device=self.weight.device)
            with no_grad():
                biases = nothing + self.visible.bias.reshape((-1, 1, 1))
                start = self.visible.sample(biases, 1.0, generator)
        return super().sample(n, steps, start=start, clamp=clamp, generator=generator)

    def annealing(self, visible_bias: Tensor | None = None) -> Any:
        raise OptionError("ConvolutionalRBM: no path from a simple distribution to it is there yet, so ln Z is unknown")

    def _listed(self) -> tuple[Tensor, bool]:
        raise OptionError("ConvolutionalRBM: its states depend on the image's size; they are not listed")

    def center(self, v: Tensor, rate: float = 0.01) -> None:
        raise OptionError("ConvolutionalRBM: offsets are not there yet; center=None")

    def check_data(self, v: Any, what: str) -> Tensor:
        shape = np.shape(v) if not isinstance(v, Tensor) else v.shape
        if len(shape) != 4 or shape[1] != self.visible.size or not shape[0]:
            raise ShapeError(
                f"{what}: images have the shape [batch, {self.visible.size}, height, width] with at least one of them, "
                f"got {list(shape)}"
            )
        pool = self.hidden.pool if isinstance(self.hidden, Pooled) else 1
        if any((n - k + 1) < 1 or (n - k + 1) % pool for n, k in zip(shape[2:], self.kernel, strict=True)):
            raise ShapeError(
                f"{what}: with a kernel of {self.kernel[0]} × {self.kernel[1]} images of {shape[2]} × {shape[3]} give "
                f"maps that blocks of {pool} × {pool} do not fill"
            )
        return self._suitable(asarray(v), what)


def _last(x: Tensor) -> Tensor:
    """The channels at the end."""
    return _permute(x, (0, 2, 3, 1))


def _first(x: Tensor) -> Tensor:
    return _permute(x, (0, 3, 1, 2))
