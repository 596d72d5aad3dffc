"""Layers whose input is whitened, by a change of coordinates that leaves what they compute as it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import float32, space_of
from ..errors import OptionError, ShapeError
from ..namespace import eye, zeros
from ..random import Generator
from ..tensor import Tensor, record_of, wrap
from .linear import Linear
from .module import Module, _size

_linear = record_of("linear")


class WhitenedLinear(Linear):
    """y = V U (h − c) + d: the layer's own V and d see an input of mean 0 and unit covariance

    `whiten` estimates mean and covariance C of the inputs seen since it was last called, sets c to the mean and
    U = (Λ + ε)^(−½) Eᵀ by the eigenvectors E and eigenvalues Λ of C, and moves V and d so that y stays what it was: a
    step of plain gradient descent is then one of natural gradient descent, as far as the layers' inputs go. With
    `every` = T it calls itself at every T-th batch in training; `whiten(model, optimizer)` takes an optimizer's state
    along.

    At first U = 1 and c = 0, so the layer is a Linear. U, c and the sums for the next estimate are buffers.

    Shapes: h [..., in_features], weight (V) [out_features, in_features], bias (d) [out_features],
    whitening (U) [in_features, in_features], mean (c) [in_features].
    Source: Desjardins et al., "Natural neural networks", 2015 (PRONG), algorithm 1.
    """

    whitening: Tensor
    mean: Tensor
    seen: Tensor
    total: Tensor
    products: Tensor
    steps: Tensor

    def __init__(
        self, in_features: int, out_features: int, every: int = 0, eps: float = 1e-3, device: str | None = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(in_features, out_features, True, device, dtype, generator=generator)
        if not eps > 0:
            raise OptionError(f"WhitenedLinear: eps must be positive, got {eps!r}")
        self.every, self.eps = _size("WhitenedLinear: every", every), eps
        n, dtype = self.in_features, dtype or float32
        self.register_buffer("whitening", eye(n, dtype=dtype, device=device))
        self.register_buffer("mean", zeros((n,), dtype, device))
        self.register_buffer("seen", zeros((), np.int64, device))
        self.register_buffer("steps", zeros((), np.int64, device))
        self.register_buffer("total", zeros((n,), np.float64, device))
        self.register_buffer("products", zeros((n, n), np.float64, device))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self._watch(x._array)
            if self.every and int(self.steps) % self.every == 0:
                self.whiten()
        return _linear(_linear(x - self.mean.detach(), self.whitening.detach(), None), self.weight, self.bias)

    def _watch(self, h: Any) -> None:
        """Adds a batch to the sums; about c, so that a large mean does not cost the covariance its digits."""
        if h.shape[-1:] != (self.in_features,):
            raise ShapeError(f"WhitenedLinear: wants [..., {self.in_features}], got shape {list(h.shape)}")
        h = h.reshape(-1, self.in_features) - self.mean._array
        self.seen.data = self.seen._array + len(h)
        self.steps.data = self.steps._array + 1
        self.total.data = self.total._array + h.sum(axis=0)
        self.products.data = self.products._array + space_of(h).matrix_transpose(h) @ h

    def whiten(self, optimizer: Any = None) -> None:
        """New c and U from the inputs seen since the last time, V and d moved with them; nothing if none was seen.

        The state that `optimizer` keeps of V and d goes with them too. Gradients are G_V = δᵀ U (h − c) and G_d, so
        averages of gradients move exactly, by A = U′ U⁻¹: B′_V = B_V Aᵀ + B_d (U′ (c − c′))ᵀ; averages of squares as
        those of independent entries, by A's squares; all other state starts anew, at 0.
        """
        n = int(self.seen)
        if n == 0:
            return
        weight, bias, whitening, mean = (
            x._array.astype(np.float64) for x in (self.weight, self.bias, self.whitening, self.mean) if x is not None
        )
        xp = space_of(weight).module
        shift = self.total._array / n  # c′ − c
        values, vectors = xp.linalg.eigh(self.products._array / n - xp.outer(shift, shift))
        root = xp.sqrt(xp.maximum(values, 0) + self.eps)
        new = vectors.T / root[:, None]
        whole = weight @ whitening
        assert self.bias is not None
        if optimizer is not None:
            turn = xp.linalg.solve(whitening.T, new.T).T
            self._carry(optimizer, turn, new @ -shift)
        self.weight.copy_(wrap((whole @ (vectors * root)).astype(self.weight.dtype), None))
        self.bias.copy_(wrap((bias + whole @ shift).astype(self.bias.dtype), None))
        self.whitening.data = new.astype(self.whitening.dtype)
        self.mean.data = (mean + shift).astype(self.mean.dtype)
        for sums in (self.seen, self.total, self.products):
            sums.data = sums._array * 0

    def _carry(self, optimizer: Any, turn: Any, offset: Any) -> None:
        shown, saved = optimizer.state, optimizer.state_dict()
        parameters = [id(p) for group in optimizer.param_groups for p in group["params"]]
        of_weight, of_bias = (dict(shown.get(p, {})) for p in (self.weight, self.bias))
        for name in list(of_weight):
            if name in _AVERAGES:
                moved = _plain(of_weight, name) @ turn.T + _plain(of_bias, name)[:, None] * offset
            elif name in _SQUARES:
                moved = _plain(of_weight, name) @ (turn * turn).T + _plain(of_bias, name)[:, None] * (offset * offset)
            elif isinstance(of_weight[name], Tensor) and of_weight[name].shape == self.weight.shape:
                moved = _plain(of_weight, name) * 0
                of_bias[name] = of_bias[name] * 0.0
            else:
                continue
            of_weight[name] = wrap(moved.astype(self.weight.dtype), None)
        for p, entry in ((self.weight, of_weight), (self.bias, of_bias)):
            if entry:
                saved["state"][parameters.index(id(p))] = entry
        optimizer.load_state_dict(saved)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, every={self.every}, eps={self.eps}"


def _plain(entry: dict[str, Any], name: str) -> Any:
    return entry[name]._array.astype(np.float64)


_AVERAGES = {"momentum_buffer", "exp_avg", "grad_avg"}
_SQUARES = {"exp_avg_sq", "square_avg", "sum", "max_exp_avg_sq"}


def whiten(model: Module, optimizer: Any = None) -> None:
    """Re-estimates the whitening of every WhitenedLinear of the model, and takes the optimizer's state along.

    To be called between steps, every T of them: what the model computes does not change.
    """
    for module in model.modules():
        if isinstance(module, WhitenedLinear):
            module.whiten(optimizer)
