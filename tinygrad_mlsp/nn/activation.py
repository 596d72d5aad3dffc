"""Activations as modules. Their slopes, and the bounds of these, are stated in `rules/elementwise.py`."""

from __future__ import annotations

import math
import operator
from typing import Any

from ..backend import float32
from ..errors import OptionError
from ..namespace import full
from ..random import Generator
from ..tensor import Tensor, record_of
from . import functional
from .functional.checks import in_place, number
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


class _InPlace(Module):
    """A function without options; with `inplace` its result is written into the input too, which is returned."""

    function: Any

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(x)
        return y if not self.inplace else in_place(type(self).__name__, x, y)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """y = max(0, x)"""

    function = staticmethod(record_of("relu"))


class LogSigmoid(Module):
    """y = ln σ(x)"""

    forward = staticmethod(record_of("log_sigmoid"))


class Softsign(Module):
    """y = x/(1 + |x|)"""

    forward = staticmethod(record_of("softsign"))


class SiLU(_InPlace):
    """y = x σ(x)"""

    function = staticmethod(record_of("silu"))


class Mish(_InPlace):
    """y = x tanh(ln(1 + eˣ))"""

    function = staticmethod(functional.mish)


class SELU(_InPlace):
    """y = 1.0507 (x where x > 0, else 1.6733 (eˣ − 1))"""

    function = staticmethod(functional.selu)


class ReLU6(_InPlace):
    """y = min(max(0, x), 6)"""

    function = staticmethod(functional.relu6)


class Hardsigmoid(_InPlace):
    """y = min(max(0, x + 3), 6)/6"""

    function = staticmethod(functional.hardsigmoid)


class Hardswish(_InPlace):
    """y = x min(max(0, x + 3), 6)/6"""

    function = staticmethod(functional.hardswish)


class Tanhshrink(Module):
    """y = x − tanh x"""

    forward = staticmethod(functional.tanhshrink)


class _WithOptions(Module):
    """A function with options, which are the module's attributes; the repr names them."""

    function: Any
    options: tuple[str, ...] = ()
    inplace: bool = False

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(x, **{name: getattr(self, name) for name in self.options})
        return y if not self.inplace else in_place(type(self).__name__, x, y)

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self.options]
        return ", ".join([*shown, "inplace=True"] if self.inplace else shown)

    def _number(self, option: str, value: Any, low: float = -math.inf) -> Any:
        return number(f"{type(self).__name__}: {option}", value, low)


class Softplus(_WithOptions):
    """y = ln(1 + e^(βx))/β, and x itself where βx > threshold: see `functional.softplus`"""

    function, options = staticmethod(functional.softplus), ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = self._number("beta", beta), self._number("threshold", threshold)


class LeakyReLU(_WithOptions):
    """y = x where x > 0, else a x with a = negative_slope"""

    function, options = staticmethod(functional.leaky_relu), ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope, self.inplace = self._number("negative_slope", negative_slope), inplace


class ELU(_WithOptions):
    """y = x where x > 0, else α(eˣ − 1)"""

    function, options = staticmethod(functional.elu), ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha, self.inplace = self._number("alpha", alpha), inplace


class CELU(_WithOptions):
    """y = x where x > 0, else α(e^(x/α) − 1)"""

    function, options = staticmethod(functional.celu), ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha, self.inplace = self._number("alpha", alpha), inplace


class GELU(_WithOptions):
    """y = x Φ(x) with the normal distribution's Φ, or its approximation by tanh"""

    function, options = staticmethod(functional.gelu), ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise OptionError(f"GELU: approximate is 'none' or 'tanh', not {approximate!r}")
        self.approximate = approximate


class Hardtanh(_WithOptions):
    """y = x between min_val and max_val, which it does not leave"""

    function, options = staticmethod(functional.hardtanh), ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        self.min_val, self.max_val = self._number("min_val", min_val), self._number("max_val", max_val)
        if not min_val < max_val:
            raise OptionError(f"Hardtanh: min_val must be below max_val, got {min_val!r} and {max_val!r}")
        self.inplace = inplace


class Softshrink(_WithOptions):
    """y = x moved towards 0 by λ, and 0 within λ of it"""

    function, options = staticmethod(functional.softshrink), ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = self._number("lambd", lambd, 0)


class Hardshrink(_WithOptions):
    """y = x where |x| > λ, else 0"""

    function, options = staticmethod(functional.hardshrink), ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = self._number("lambd", lambd)


class Threshold(_WithOptions):
    """y = x where x > threshold, else the value"""

    function, options = staticmethod(functional.threshold), ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self.threshold, self.value = self._number("threshold", threshold), self._number("value", value)
        self.inplace = inplace


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
        start = number("PReLU: init", init)
        self.weight = Parameter(full((self.num_parameters,), start, dtype or float32, device))

    def forward(self, x: Tensor) -> Tensor:
        return functional.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class NoisyReLU(Module):
    """y = max(0, x + s n) in training, with a standard normal n; max(0, x) in evaluation

    s is `std`, or without it √σ(x): see `functional.noisy_relu`.
    """

    def __init__(self, std: float | None = None, *, generator: Generator | None = None) -> None:
        self.std, self.generator = None if std is None else number("NoisyReLU: std", std, 0), generator

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
    function: Any

    def __init__(self, dim: int | None = None) -> None:
        if dim is not None:
            try:
                operator.index(dim)
            except TypeError:
                raise OptionError(f"{type(self).__name__}: dim is the number of an axis, not {dim!r}") from None
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.dim, _stacklevel=5)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """yᵢ = e^(xᵢ) / Σⱼ e^(xⱼ) along the axis `dim`, which should be named: see `functional.softmax`"""

    function = staticmethod(functional.softmax)


class LogSoftmax(_AlongAxis):
    """yᵢ = xᵢ − ln Σⱼ e^(xⱼ) along the axis `dim`, which should be named: see `functional.softmax`"""

    function = staticmethod(functional.log_softmax)


class Softmin(_AlongAxis):
    """yᵢ = e^(−xᵢ) / Σⱼ e^(−xⱼ) along the axis `dim`, which should be named: see `functional.softmax`"""

    function = staticmethod(functional.softmin)
