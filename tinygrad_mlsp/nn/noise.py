"""Noise on signals and on weights, in training alone."""

from __future__ import annotations

from typing import Any

from ..random import Generator
from ..tensor import Tensor
from . import functional
from .functional.checks import number
from .functional.dropout import _check_probability
from .linear import Linear
from .module import Module


class GaussianNoise(Module):
    """y = x + s n in training, with a standard normal n; y = x in evaluation"""

    def __init__(self, std: float = 0.1, *, generator: Generator | None = None) -> None:
        self.std, self.generator = number("GaussianNoise: std", std, 0), generator

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        return functional.gaussian_noise(x, self.std, self.training, noise=noise, generator=self.generator)

    def extra_repr(self) -> str:
        return f"std={self.std}"


class GaussianDropout(Module):
    """y = x (1 + n √(p/(1 − p))) in training, with a standard normal n; y = x in evaluation

    Source: Srivastava et al., "Dropout", 2014, section 10.
    """

    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        _check_probability(p, "GaussianDropout: p")
        self.p, self.generator = p, generator

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        return functional.gaussian_dropout(x, self.p, self.training, noise=noise, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Shakeout(Linear):
    """y = x W̃ᵀ + b in training, where a unit's weights are −c sign W with probability τ, else (W + c τ sign W)/(1 − τ)

    (A slide has w ← α w + (1 − α) c and −c without the sign of w: the mean would not be w.)
    Source: Kang, Li and Tao, "Shakeout: a new regularized deep neural network training scheme", 2016.
    """

    def __init__(
        self, in_features: int, out_features: int, tau: float = 0.5, c: float = 0.1, bias: bool = True,
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        _check_probability(tau, "Shakeout: tau")
        super().__init__(in_features, out_features, bias, device, dtype, generator=generator)
        self.tau, self.c, self.generator = tau, number("Shakeout: c", c), generator

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return functional.shakeout(
            x, self.weight, self.bias, self.tau, self.c, self.training, mask=mask, generator=self.generator
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, tau={self.tau}, c={self.c}"


class Whiteout(Linear):
    """yᵢ = Σⱼ wᵢⱼ (xⱼ + eᵢⱼ) + bᵢ in training, with eᵢⱼ ~ N(0, σ²|wᵢⱼ|^(−γ) + λ): see `functional.whiteout`

    Source: Li and Liu, "Whiteout: Gaussian adaptive noise regularization in deep neural networks", 2016.
    """

    def __init__(
        self, in_features: int, out_features: int, sigma: float = 0.5, gamma: float = 1.0, lambd: float = 0.0,
        multiplicative: bool = False, bias: bool = True, device: str | None = None, dtype: Any = None, *,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(in_features, out_features, bias, device, dtype, generator=generator)
        for option, value in (("sigma", sigma), ("gamma", gamma), ("lambd", lambd)):
            number(f"Whiteout: {option}", value, 0)
        self.sigma, self.gamma, self.lambd = sigma, gamma, lambd
        self.multiplicative, self.generator = multiplicative, generator

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        return functional.whiteout(
            x, self.weight, self.bias, self.sigma, self.gamma, self.lambd, self.multiplicative, self.training,
            noise=noise, generator=self.generator,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, sigma={self.sigma}, gamma={self.gamma}, lambd={self.lambd}"
