"""Kinds of units: what a layer of an energy-based model may consist of.

A layer x of units with biases b has an energy of its own, A(x), and meets the rest of the model in the product
s(x)·y, where y is what the other layers send to it: x has the density e^(β(−A(x) + s(x)·y))/e^(log normalizer) at the
inverse temperature β. The functions here take the total input z = b + y.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..backend import float32
from ..errors import OptionError, ShapeError
from ..namespace import concat, zeros
from ..nn import Module, Parameter
from ..nn.module import _size
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of, wrap
from .enumeration import LARGEST, binary_states

_softplus, _sigmoid, _softmax = record_of("softplus"), record_of("sigmoid"), record_of("softmax")
_logsumexp, _exp, _less = record_of("logsumexp"), record_of("exp"), record_of("less")
_where, _maximum, _round = record_of("where"), record_of("maximum"), record_of("round")
_TAIL = 40  # copies of a unit; further ones are on with a probability below e⁻⁴⁰ where the input is not positive


def _uniform(like: Tensor, generator: Generator | None) -> Tensor:
    drawn = (generator or default_generator()).uniform(like.shape, dtype=like.dtype, device=like.device)
    return wrap(drawn, None)


def _smoothed(x: Tensor, values: int) -> Tensor:
    """The mean over the rows as if there had been, with 1 % of the weight, rows in which all values are as likely."""
    return x.detach().mean(axis=0) * 0.99 + 0.01 / values


def amount(what: str, std: Any, least: str = "0 or more") -> float:
    """A finite number, if it is as large as it should be; `what` is the layer's and the option's name."""
    right = isinstance(std, (int, float, np.number)) and 0 <= std < math.inf and (std > 0 or least == "0 or more")
    if not right:
        raise OptionError(f"{what} must be a finite number, {least}, got {std!r}")
    return float(std)


class Units(Module):
    """A layer of `size` units with a bias each. What a kind must say of itself follows."""

    def __init__(self, size: int, *, dtype: Any = float32, device: str = "cpu") -> None:
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise OptionError(f"{type(self).__name__}: size must be a whole number of units, got {size!r}")
        self.size = int(size)
        self.bias = Parameter(zeros((self.size,), dtype=dtype, device=device))

    def energy(self, x: Tensor) -> Tensor:
        """A(x) = −b·x    [batch]"""
        return -(x @ self.bias)

    def scaled(self, x: Tensor) -> Tensor:
        """s(x), as the weights see x: x itself, unless the units have a scale"""
        return x

    def log_normalizer(self, z: Tensor, beta: float = 1.0) -> Tensor:
        """Σᵢ ln Σ_x e^(β(−A(xᵢ) + s(xᵢ) yᵢ)) over what each unit can be    [batch]"""
        raise NotImplementedError

    def mean(self, z: Tensor, beta: float = 1.0) -> Tensor:
        """E[x]    [batch, size]"""
        raise NotImplementedError

    def sample(self, z: Tensor, beta: float = 1.0, generator: Generator | None = None) -> Tensor:
        """x drawn    [batch, size]"""
        raise NotImplementedError

    def shift_bias(self, by: Tensor) -> None:
        """Adds this to the biases, outside the graph."""
        with no_grad():
            self.bias.copy_(self.bias + by)

    def bias_for(self, x: Tensor) -> Tensor:
        """The biases at which these units, left alone, have the means of the data x, a little drawn to the middle

        Shapes: x [n, size], result [size].
        """
        raise OptionError(f"{type(self).__name__}: it is not known which biases give which means")

    def states(self) -> Tensor:
        """Every state of the layer    [states, size]

        Raises: OptionError where there are too many, or a continuum.
        """
        raise OptionError(f"{type(self).__name__}: the states are a continuum; they cannot be enumerated")

    def fault(self, x: np.ndarray[Any, Any]) -> str | None:
        """What is wrong with these values as data for such units, or None."""
        return None

    def extra_repr(self) -> str:
        return str(self.size)


class Bernoulli(Units):
    """x in {0, 1}: P(x = 1) = σ(βz)

    As visible units of grey pictures the values from 0 to 1 stand for probabilities, as is customary.
    """

    def log_normalizer(self, z: Tensor, beta: float = 1.0) -> Tensor:
        return _softplus(z if beta == 1 else z * beta).sum(axis=-1)

    def mean(self, z: Tensor, beta: float = 1.0) -> Tensor:
        return _sigmoid(z if beta == 1 else z * beta)

    def sample(self, z: Tensor, beta: float = 1.0, generator: Generator | None = None) -> Tensor:
        p = self.mean(z, beta)
        return _less(_uniform(p, generator), p).astype(p.dtype)

    def bias_for(self, x: Tensor) -> Tensor:
        mean = _smoothed(x, 2)
        return (mean / (1.0 - mean)).log()

    def states(self) -> Tensor:
        return binary_states(self.size, self.bias.dtype, self.bias.device)

    def fault(self, x: np.ndarray[Any, Any]) -> str | None:
        if x.min() < 0 or x.max() > 1:
            return f"values from {x.min():.4g} to {x.max():.4g}, outside [0, 1]; rescale them, or use Gaussian units"
        return None


class Gaussian(Units):
    """x real, A(x) = Σ (x − b)²/2σ², s(x) = x/σ²: given the rest, x is normal with mean z = b + y and variance σ²/β

    `std` is σ; with learned=True it is trained, as the parameter log_std.
    Source: Cho, Ilin and Raiko, "Improved learning of Gaussian–Bernoulli restricted Boltzmann machines", 2011.
    """

    def __init__(
        self, size: int, std: float = 1.0, learned: bool = False, *, dtype: Any = float32, device: str = "cpu"
    ) -> None:
        super().__init__(size, dtype=dtype, device=device)
        log_std = Tensor(
            np.full(self.size, math.log(amount("Gaussian: std", std, "above 0"))), dtype=dtype, device=device
        )
        if learned:
            self.log_std = Parameter(log_std)
        else:
            self.register_buffer("log_std", log_std)

    def _precision(self) -> Tensor:
        return _exp(self.log_std * -2.0)

    def energy(self, x: Tensor) -> Tensor:
        difference = x - self.bias
        return 0.5 * (difference * difference * self._precision()).sum(axis=-1)

    def scaled(self, x: Tensor) -> Tensor:
        return x * self._precision()

    def log_normalizer(self, z: Tensor, beta: float = 1.0) -> Tensor:
        squares = (z * z - self.bias * self.bias) * self._precision() * (0.5 * beta)
        return (squares + self.log_std + 0.5 * np.log(2 * math.pi / beta)).sum(axis=-1)

    def mean(self, z: Tensor, beta: float = 1.0) -> Tensor:
        return z

    def sample(self, z: Tensor, beta: float = 1.0, generator: Generator | None = None) -> Tensor:
        drawn = (generator or default_generator()).normal(z.shape, dtype=z.dtype, device=z.device)
        return z + _exp(self.log_std) * wrap(drawn, None) * (1 / beta**0.5)

    def bias_for(self, x: Tensor) -> Tensor:
        return x.detach().mean(axis=0)


class Softmax(Units):
    """x in groups of `classes` units, of which just one is 1: P(xᵢ = 1) = softmax(βz) within the group

    One group of ten makes label units.
    """

    def __init__(self, classes: int, groups: int = 1, *, dtype: Any = float32, device: str = "cpu") -> None:
        self.classes, self.groups = _size("Softmax: classes", classes, 1), _size("Softmax: groups", groups, 1)
        super().__init__(self.classes * self.groups, dtype=dtype, device=device)

    def _grouped(self, z: Tensor) -> Tensor:
        return z.reshape((*z.shape[:-1], self.groups, self.classes))

    def log_normalizer(self, z: Tensor, beta: float = 1.0) -> Tensor:
        return _logsumexp(self._grouped(z * beta), axis=-1).sum(axis=-1)

    def mean(self, z: Tensor, beta: float = 1.0) -> Tensor:
        return _softmax(self._grouped(z * beta), axis=-1).reshape(z.shape)

    def sample(self, z: Tensor, beta: float = 1.0, generator: Generator | None = None) -> Tensor:
        grouped = self._grouped(z * beta)
        u = _uniform(grouped, generator)
        tiny = float(np.finfo(u.dtype).tiny)
        drawn = (grouped - (-(u + tiny).log()).log()).argmax(axis=-1, keepdims=True)  # Gumbel's maximum
        of = Tensor(np.arange(self.classes), device=z.device)
        return (drawn == of).astype(z.dtype).reshape(z.shape)

    def bias_for(self, x: Tensor) -> Tensor:
        return _smoothed(x, self.classes).log()

    def states(self) -> Tensor:
        if self.groups * math.log2(self.classes) > LARGEST:
            raise OptionError(f"Softmax: {self.classes}^{self.groups} states are too many to enumerate")
        rows = np.eye(self.classes)[list(itertools.product(range(self.classes), repeat=self.groups))]
        return Tensor(rows.reshape(len(rows), -1), dtype=self.bias.dtype, device=self.bias.device)

    def fault(self, x: np.ndarray[Any, Any]) -> str | None:
        sums = x.reshape(*x.shape[:-1], self.groups, self.classes).sum(axis=-1)
        if x.min() < 0 or np.abs(sums - 1).max() > 1e-4:
            return f"each group of {self.classes} must be non-negative and sum to 1 (one-hot, or probabilities)"
        return None

    def extra_repr(self) -> str:
        return f"{self.classes}, groups={self.groups}"


class ReLU(Units):
    """x counts which of many binary units are on that share weights and bias, the i-th shifted by ½ − i

    That is P(x) ∝ e^(zx − x²/2)/Πₖ≤ₓ(1 − e⁻ᵏ), with the normalizer Πᵢ (1 + e^(z − i + ½)), and the mean is nearly
    softplus(z). `copies` is how many there are, and then x is drawn as it is, a whole number. With None, infinitely
    many, x is real: max(0, z + √σ(z) ε), the noisy rectified unit, whose mean and variance, ln(1 + eᶻ) and σ(z), are
    the count's to 0.02. Its normalizer is exact for the count.

    Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010. The infinite product
    by Jacobi's: that at z and that at −z make Σₙ e^(nz − n²/2), which is √2π e^(z²/2) to 5e-9, over Πₖ (1 − e⁻ᵏ).
    """

    def __init__(self, size: int, copies: int | None = None, *, dtype: Any = float32, device: str = "cpu") -> None:
        super().__init__(size, dtype=dtype, device=device)
        if copies is not None and (isinstance(copies, bool) or not isinstance(copies, int) or copies < 1):
            raise OptionError(f"ReLU: copies is a whole number, or None for infinitely many; got {copies!r}")
        self.copies = copies

    def _log_ways(self, like: Tensor) -> Tensor:
        """ln of how many copies in e^(−energy) make the counts 0, 1, …, beside x²/2"""
        below = np.cumsum(np.log1p(-np.exp(-np.arange(1.0, (self.copies or _TAIL) + 1))))
        below = np.concatenate([[0.0], below])
        ways = -below if self.copies is None else below[-1] - below - below[::-1]
        return Tensor(ways, dtype=like.dtype, device=like.device)

    def _shifts(self, z: Tensor) -> Tensor:
        return Tensor(np.arange(self.copies or _TAIL) + 0.5, dtype=z.dtype, device=z.device)

    def energy(self, x: Tensor) -> Tensor:
        whole = _round(x.detach().clip(0, self.copies or _TAIL)).astype("int64")
        return (0.5 * x * x - x * self.bias - self._log_ways(x)[whole]).sum(axis=-1)

    def log_normalizer(self, z: Tensor, beta: float = 1.0) -> Tensor:
        if self.copies is not None:
            return _softplus((z[..., None] - self._shifts(z)) * beta).sum(axis=-1).sum(axis=-1)
        if beta != 1:
            raise OptionError("ReLU: infinitely many copies have their normalizer at β = 1; scale the input instead")
        negative = _softplus(_where(z > 0, -z, z)[..., None] - self._shifts(z)).sum(axis=-1)
        constant = 0.5 * math.log(2 * math.pi) + float(np.sum(-np.log1p(-np.exp(-np.arange(1.0, 40)))))
        return _where(z > 0, 0.5 * z * z + constant - negative, negative).sum(axis=-1)

    def mean(self, z: Tensor, beta: float = 1.0) -> Tensor:
        if self.copies is not None:
            return _sigmoid((z[..., None] - self._shifts(z)) * beta).sum(axis=-1)
        return _softplus(z * beta) / beta

    def sample(self, z: Tensor, beta: float = 1.0, generator: Generator | None = None) -> Tensor:
        if self.copies is not None:
            p = _sigmoid((z[..., None] - self._shifts(z)) * beta)
            return _less(_uniform(p, generator), p).astype(p.dtype).sum(axis=-1)
        drawn = wrap((generator or default_generator()).normal(z.shape, dtype=z.dtype, device=z.device), None)
        return _maximum(z + (_sigmoid(z * beta) / beta).sqrt() * drawn, 0.0)

    def bias_for(self, x: Tensor) -> Tensor:
        mean = x.detach().mean(axis=0) + 0.01
        return mean + (1.0 - _exp(-mean)).log()  # of the softplus, the inverse

    def states(self) -> Tensor:
        if self.copies is None or self.size * math.log2(self.copies + 1) > LARGEST:
            raise OptionError(f"ReLU: {self.extra_repr()}: the states are too many to enumerate")
        rows = np.array(list(itertools.product(range(self.copies + 1), repeat=self.size)))
        return Tensor(rows, dtype=self.bias.dtype, device=self.bias.device)

    def fault(self, x: np.ndarray[Any, Any]) -> str | None:
        top = math.inf if self.copies is None else self.copies
        if x.min() < 0 or x.max() > top:
            return f"values from {x.min():.4g} to {x.max():.4g}, outside [0, {top:g}]"
        return None

    def extra_repr(self) -> str:
        return str(self.size) if self.copies is None else f"{self.size}, copies={self.copies}"


class Joint(Units):
    """Several kinds side by side, such as pixels and a label: Joint(Bernoulli(784), Softmax(10))"""

    def __init__(self, *parts: Units) -> None:
        if len(parts) < 2 or not all(isinstance(p, Units) for p in parts):
            raise OptionError(f"Joint: takes two or more layers of units, got {parts!r}")
        self.size = sum(p.size for p in parts)
        self.parts = tuple(parts)
        for i, part in enumerate(parts):
            self.register_module(f"part{i}", part)

    @property
    def bias(self) -> Tensor:  # type: ignore[override]
        """The parts' biases, one after the other."""
        return concat([p.bias for p in self.parts])

    def split(self, x: Tensor) -> list[Tensor]:
        """The parts of x, one a kind."""
        if x.shape[-1] != self.size:
            raise ShapeError(f"Joint: {self.size} units, but the values have shape {list(x.shape)}")
        ends = np.cumsum([p.size for p in self.parts])
        return [x[..., int(e) - p.size : int(e)] for e, p in zip(ends, self.parts, strict=True)]

    def _each(self, method: str, x: Tensor, *args: Any) -> list[Tensor]:
        return [getattr(p, method)(part, *args) for p, part in zip(self.parts, self.split(x), strict=True)]

    def shift_bias(self, by: Tensor) -> None:
        for part, of in zip(self.parts, self.split(by), strict=True):
            part.shift_bias(of)

    def energy(self, x: Tensor) -> Tensor:
        first, *rest = self._each("energy", x)
        return sum(rest, start=first)

    def scaled(self, x: Tensor) -> Tensor:
        return concat(self._each("scaled", x), axis=-1)

    def log_normalizer(self, z: Tensor, beta: float = 1.0) -> Tensor:
        first, *rest = self._each("log_normalizer", z, beta)
        return sum(rest, start=first)

    def mean(self, z: Tensor, beta: float = 1.0) -> Tensor:
        return concat(self._each("mean", z, beta), axis=-1)

    def sample(self, z: Tensor, beta: float = 1.0, generator: Generator | None = None) -> Tensor:
        return concat(self._each("sample", z, beta, generator), axis=-1)

    def bias_for(self, x: Tensor) -> Tensor:
        return concat(self._each("bias_for", x))

    def states(self) -> Tensor:
        parts = [p.states().numpy() for p in self.parts]
        if sum(math.log2(len(p)) for p in parts) > LARGEST:
            raise OptionError(f"Joint: {' · '.join(str(len(p)) for p in parts)} states are too many to enumerate")
        rows = [np.concatenate(row) for row in itertools.product(*parts)]
        return Tensor(np.array(rows), dtype=self.bias.dtype, device=self.bias.device)

    def fault(self, x: np.ndarray[Any, Any]) -> str | None:
        start = 0
        for part in self.parts:
            found = part.fault(x[..., start : start + part.size])
            if found is not None:
                return f"units {start} to {start + part.size - 1}: {found}"
            start += part.size
        return None

    def extra_repr(self) -> str:
        return ""


def as_units(given: int | Units, what: str) -> Units:
    """So many Bernoulli units, or the units given."""
    if isinstance(given, Units):
        return given
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
        raise OptionError(f"{what}: takes a number of binary units, or units such as Gaussian(n); got {given!r}")
    return Bernoulli(int(given))
