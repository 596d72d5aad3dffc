"""Activations as modules. Their slopes, and the bounds of these, are stated in `rules/elementwise.py`."""

from __future__ import annotations

from typing import Any

from ..backend import float32
from ..namespace import full
from ..random import Generator
from ..tensor import Tensor, record_of
from . import functional
from .functional import elu, leaky_relu, softplus
from .linear import Linear
from .module import Module, Parameter, _size


class Identity(Module):
    """y = x, whatever it is made with"""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return x


class Sigmoid(Module):
    """y = 1/(1 + e⁻ˣ)"""

    forward = staticmethod(record_of("sigmoid"))


class Tanh(Module):
    """y = tanh x"""

    forward = staticmethod(record_of("tanh"))


class LeCunTanh(Module):
    """y = 1.7159 tanh(2x/3): y = ±1 at x = ±1, where the second derivative is largest

    Source: LeCun et al., "Efficient backprop", 1998, section 4.4.
    """

    forward = staticmethod(record_of("lecun_tanh"))


class ReLU(Module):
    """y = max(0, x)"""

    forward = staticmethod(record_of("relu"))


class LogSigmoid(Module):
    """y = ln σ(x)"""

    forward = staticmethod(record_of("log_sigmoid"))


class Softsign(Module):
    """y = x/(1 + |x|)"""

    forward = staticmethod(record_of("softsign"))


class SiLU(Module):
    """y = x σ(x)"""

    forward = staticmethod(record_of("silu"))


class Mish(Module):
    """y = x tanh(ln(1 + eˣ))"""

    forward = staticmethod(functional.mish)


class SELU(Module):
    """y = 1.0507 (x where x > 0, else 1.6733 (eˣ − 1))"""

    forward = staticmethod(functional.selu)


class ReLU6(Module):
    """y = min(max(0, x), 6)"""

    forward = staticmethod(functional.relu6)


class Hardsigmoid(Module):
    """y = min(max(0, x + 3), 6)/6"""

    forward = staticmethod(functional.hardsigmoid)


class Hardswish(Module):
    """y = x min(max(0, x + 3), 6)/6"""

    forward = staticmethod(functional.hardswish)


class Tanhshrink(Module):
    """y = x − tanh x"""

    forward = staticmethod(functional.tanhshrink)


class _WithOptions(Module):
    """A function with options, which are the module's attributes; the repr names them."""

    function: Any
    options: tuple[str, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, **{name: getattr(self, name) for name in self.options})

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.options)


class Softplus(_WithOptions):
    """y = ln(1 + e^(βx))/β, stable for every x, so that PyTorch's `threshold` is not needed"""

    function, options = staticmethod(softplus), ("beta",)

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta


class LeakyReLU(_WithOptions):
    """y = x where x > 0, else a x with a = negative_slope"""

    function, options = staticmethod(leaky_relu), ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope


class ELU(_WithOptions):
    """y = x where x > 0, else α(eˣ − 1)"""

    function, options = staticmethod(elu), ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha


class CELU(_WithOptions):
    """y = x where x > 0, else α(e^(x/α) − 1)"""

    function, options = staticmethod(functional.celu), ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha


class GELU(_WithOptions):
    """y = x Φ(x) with the normal distribution's Φ, or its approximation by tanh"""

    function, options = staticmethod(functional.gelu), ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate


class Hardtanh(_WithOptions):
    """y = x between min_val and max_val, which it does not leave"""

    function, options = staticmethod(functional.hardtanh), ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        self.min_val, self.max_val = min_val, max_val


class Softshrink(_WithOptions):
    """y = x moved towards 0 by λ, and 0 within λ of it"""

    function, options = staticmethod(functional.softshrink), ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd


class Hardshrink(_WithOptions):
    """y = x where |x| > λ, else 0"""

    function, options = staticmethod(functional.hardshrink), ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd


class Threshold(_WithOptions):
    """y = x where x > threshold, else the value"""

    function, options = staticmethod(functional.threshold), ("threshold", "value")

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold, self.value = threshold, value


class GLU(_WithOptions):
    """y = a σ(b) for the two halves a and b of x along the axis `dim`"""

    function, options = staticmethod(functional.glu), ("dim",)

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim


class PReLU(Module):
    """y = x where x > 0, else a x, with a learned slope a for all, or one a channel

    Shapes: x [batch, channels, …], weight [num_parameters].
    Source: He et al., "Delving deep into rectifiers", 2015.
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: str | None = None, dtype: Any = None
    ) -> None:
        self.num_parameters = _size("PReLU: num_parameters", num_parameters, 1)
        self.weight = Parameter(full((self.num_parameters,), init, dtype or float32, device))

    def forward(self, x: Tensor) -> Tensor:
        return functional.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class NoisyReLU(Module):
    """y = max(0, x + s n) in training, with a standard normal n; max(0, x) in evaluation

    s is `std`, or without it √σ(x): see `functional.noisy_relu`.
    """

    def __init__(self, std: float | None = None, *, generator: Generator | None = None) -> None:
        self.std, self.generator = std, generator

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        return functional.noisy_relu(x, self.std, self.training, noise=noise, generator=self.generator)

    def extra_repr(self) -> str:
        return "" if self.std is None else f"std={self.std}"


class Maxout(Module):
    """yᵢ = maxⱼ (W x + b)ᵢⱼ, j = 1 … k: each output is the largest of k linear functions

    Shapes: x [..., in_features], y [..., out_features], linear.weight [out_features · pieces, in_features].
    Source: Goodfellow et al., "Maxout networks", 2013.
    """

    def __init__(
        self, in_features: int, out_features: int, pieces: int = 2, bias: bool = True, device: str | None = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.pieces = _size("Maxout: pieces", pieces, 1)
        self.linear = Linear(in_features, out_features * pieces, bias, device, dtype, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return functional.maxout(self.linear(x), self.pieces)

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}"


class _AlongAxis(Module):
    operation: Any

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return self.operation(x, axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """yᵢ = e^(xᵢ) / Σⱼ e^(xⱼ) along the axis `dim`, the last unless told"""

    operation = staticmethod(record_of("softmax"))


class LogSoftmax(_AlongAxis):
    """yᵢ = xᵢ − ln Σⱼ e^(xⱼ) along the axis `dim`, the last unless told"""

    operation = staticmethod(record_of("log_softmax"))


class Softmin(_WithOptions):
    """yᵢ = e^(−xᵢ) / Σⱼ e^(−xⱼ) along the axis `dim`, the last unless told"""

    function, options = staticmethod(functional.softmin), ("dim",)

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim
