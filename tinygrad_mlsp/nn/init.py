"""Initial values, in place, drawn so that a signal keeps its size from layer to layer.

A layer y = W x with independent weights of variance v multiplies the variance of the signal by fan_in · v on the way
forward, and that of the gradient by fan_out · v on the way back (times the activation's mean squared slope). Each
rule below sets v so that these factors stay near 1. The lectures' first rules are `normal_`, N(0, 1), with which a
layer's signal has the variance n, and `scaled_normal_`, N(0, 1/√n).

`fan_in` and `fan_out` are a weight's second and first dimension (times the size of the kernel, if it has one).
Without `generator`, the numbers come from the default one (see `manual_seed`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..backend import space_for
from ..errors import DTypeError, OptionError, ShapeError
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, wrap
from .functional.checks import number

if TYPE_CHECKING:
    from .module import Module

T = TypeVar("T", bound=Tensor)

_GAINS = {
    "linear": 1.0, "identity": 1.0, "sigmoid": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0,
    "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4,
}  # fmt: skip


def _written(name: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise DTypeError(f"{name}: writes into a Tensor, not into {type(tensor).__name__}")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights grow to make up for what the nonlinearity shrinks: √2 for ReLU, 5/3 for tanh,
    √(2/(1 + a²)) for leaky ReLU with the slope a (`param`, 0.01 by default), 1 for linear and sigmoid."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else number("calculate_gain: the slope", param)
        return math.sqrt(2 / (1 + slope**2))
    if not isinstance(nonlinearity, str) or nonlinearity not in _GAINS:
        raise OptionError(
            f"calculate_gain: no nonlinearity {nonlinearity!r}; {', '.join([*_GAINS, 'leaky_relu'])} are known"
        )
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """fan_in and fan_out of a weight [out, in, …kernel]."""
    _written("init", tensor)
    if tensor.ndim < 2:
        raise ShapeError(
            f"init: fan in and fan out need a weight with two dimensions or more, got shape {list(tensor.shape)}"
        )
    kernel = math.prod(tensor.shape[2:])
    return tensor.shape[1] * kernel, tensor.shape[0] * kernel


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise OptionError(f"init: mode is 'fan_in' or 'fan_out', not {mode!r}")
    return max(1, fans(tensor)[mode == "fan_out"])


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> T:
    """U(a, b)"""
    _written("uniform_", tensor)
    if not number("uniform_: a", a) <= number("uniform_: b", b):
        raise OptionError(f"uniform_: a must not be above b, got a={a!r}, b={b!r}")
    drawn = (generator or default_generator()).uniform(tensor.shape, a, b, tensor.dtype, tensor.device)
    return tensor.copy_(drawn)  # type: ignore[return-value]


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> T:
    """N(mean, std²)"""
    _written("normal_", tensor)
    number("normal_: mean", mean)
    number("normal_: std", std, 0)
    drawn = (generator or default_generator()).normal(tensor.shape, mean, std, tensor.dtype, tensor.device)
    return tensor.copy_(drawn)  # type: ignore[return-value]


def scaled_normal_(tensor: T, gain: float = 1.0, mode: str = "fan_in", generator: Generator | None = None) -> T:
    """N(0, gain²/n) with n = fan_in: keeps the size of a linear layer's signal."""
    return normal_(tensor, 0.0, number("scaled_normal_: gain", gain) / math.sqrt(_fan(tensor, mode)), generator)


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """U(−a, a) with a = gain √(6/(fan_in + fan_out))

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    a = number("xavier_uniform_: gain", gain) * math.sqrt(6 / max(1, sum(fans(tensor))))
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """N(0, gain² · 2/(fan_in + fan_out)): between what forward and what backward asks for

    Source: Glorot and Bengio, 2010.
    """
    std = number("xavier_normal_: gain", gain) * math.sqrt(2 / max(1, sum(fans(tensor))))
    return normal_(tensor, 0.0, std, generator)


def xavier_for_(tensor: T, activation: str = "tanh", generator: Generator | None = None) -> T:
    """U(−a, a) with a = k √(6/(fan_in + fan_out)): k = 1 for tanh, k = 4 for the sigmoid

    The sigmoid is ½ + ½ tanh(x/2), its slope a quarter of tanh's, so it wants weights four times as large for the same
    signal. (A lecture slide has the factor 4 at tanh and 1 at the sigmoid; the paper's rule is for tanh.)
    Source: Glorot and Bengio, 2010, equation 16.
    """
    if activation not in ("tanh", "sigmoid"):
        raise OptionError(f"xavier_for_: activation is 'tanh' or 'sigmoid', not {activation!r}; see kaiming_* for ReLU")
    return xavier_uniform_(tensor, 4.0 if activation == "sigmoid" else 1.0, generator)


def kaiming_uniform_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """U(−b, b) with b = gain √(3/fan); `a` is the leaky slope from which the gain follows

    Source: He et al., "Delving deep into rectifiers", 2015.
    """
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """N(0, gain²/fan): with ReLU, 2/fan_in, since half the signal is cut off

    Source: He et al., 2015.
    """
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


def orthogonal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """A random matrix with orthonormal rows (or columns, if they are fewer), times the gain: keeps every length

    Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning", 2013.
    """
    _written("orthogonal_", tensor)
    number("orthogonal_: gain", gain)
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: needs two dimensions or more, got shape {list(tensor.shape)}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    drawn = (generator or default_generator()).normal((max(rows, columns), min(rows, columns)), dtype=np.float64)
    q, r = np.linalg.qr(drawn)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # makes the decomposition unique, and q uniformly distributed
    return tensor.copy_(gain * (q if rows >= columns else q.T).reshape(tensor.shape))  # type: ignore[return-value]


def trunc_normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Generator | None = None
) -> T:
    """N(mean, std²) within [a, b]: x = mean + std Φ⁻¹(u), with u uniform between Φ at the ends"""
    _written("trunc_normal_", tensor)
    for option, value in (("mean", mean), ("std", std), ("a", a), ("b", b)):
        number(f"trunc_normal_: {option}", value)
    if not (std > 0 and a < b):
        raise OptionError(f"trunc_normal_: std must be positive and a < b; got std={std}, a={a}, b={b}")
    low, high = (0.5 * math.erfc(-(end - mean) / (std * math.sqrt(2))) for end in (a, b))
    u = (generator or default_generator()).uniform(tensor.shape, low, high, np.float64)
    x = space_for("cpu")[0].erfinv(2 * u - 1) * (std * math.sqrt(2)) + mean
    return tensor.copy_(np.clip(x, a, b))  # type: ignore[return-value]


def sparse_(tensor: T, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> T:
    """N(0, std²) but for a fraction `sparsity` of each column, which is 0

    Source: Martens, "Deep learning via Hessian-free optimization", 2010.
    """
    _written("sparse_", tensor)
    number("sparse_: std", std, 0)
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_: wants a matrix, got shape {list(tensor.shape)}")
    number("sparse_: sparsity", sparsity, 0, 1)
    generator = generator or default_generator()
    rows, columns = tensor.shape
    drawn = generator.normal((rows, columns), 0.0, std, np.float64)
    for column in range(columns):
        drawn[generator.permutation(rows)[: math.ceil(sparsity * rows)], column] = 0.0
    return tensor.copy_(drawn)  # type: ignore[return-value]


def eye_(tensor: T, gain: float = 1.0) -> T:
    """The identity, times the gain; for the weights of a recurrence, whose state it keeps

    Source: Le, Jaitly and Hinton, "A simple way to initialize recurrent networks of rectified linear units", 2015.
    """
    _written("eye_", tensor)
    number("eye_: gain", gain)
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: wants a matrix, got shape {list(tensor.shape)}")
    return tensor.copy_(gain * np.eye(tensor.shape[0], tensor.shape[1]))  # type: ignore[return-value]


def dirac_(tensor: T, groups: int = 1) -> T:
    """A convolution that hands its input on: 1 at the kernel's middle from channel i to channel i, else 0

    Shapes: weight [out, in/groups, …kernel].
    """
    _written("dirac_", tensor)
    if number("dirac_: groups", groups, 1) != int(groups):
        raise OptionError(f"dirac_: groups must be a whole number, got {groups!r}")
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise ShapeError(
            f"dirac_: wants a convolution's weight, three to five dimensions, the first in {groups} groups; got "
            f"{list(tensor.shape)}"
        )
    weight, of_group = np.zeros(tensor.shape), tensor.shape[0] // groups
    middle = tuple(n // 2 for n in tensor.shape[2:])
    for g in range(groups):
        for i in range(min(of_group, tensor.shape[1])):
            weight[(g * of_group + i, i, *middle)] = 1.0
    return tensor.copy_(weight)  # type: ignore[return-value]


def identity_rnn_(module: Module, gain: float = 1.0, std: float = 0.001, generator: Generator | None = None) -> Module:
    """W_hh = gain · 1, W_ih from N(0, std²), b = 0: with ReLU, a net that remembers its state unless taught otherwise

    For an RNN or RNNCell, all its layers and directions.
    Source: Le, Jaitly and Hinton, 2015 (IRNN).
    """
    for name, parameter in module.named_parameters():
        if "weight_hh" in name:
            eye_(parameter, gain)
        elif "weight_ih" in name:
            normal_(parameter, 0.0, std, generator)
        elif "bias" in name:
            zeros_(parameter)
    return module


def lsuv_(
    model: Module, data: Any, tolerance: float = 0.01, max_iterations: int = 10, generator: Generator | None = None
) -> dict[str, float]:
    """Orthonormal weights, then layer by layer W ← W/√Var(y), until the layer's output y has the variance 1 on a batch

    A layer is a module with a `weight` of two dimensions or more that the batch passes through. Biases become 0.
    Returns each layer's variance at the end, in the order in which the batch passes.

    Source: Mishkin and Matas, "All you need is a good init", 2016, algorithm 1.
    """
    layers: list[tuple[str, Any]] = []
    outputs: dict[Any, Tensor] = {}
    names: dict[Any, str] = {m: n for n, m in model.named_modules()}
    chosen = [m for m in names if isinstance(vars(m).get("weight"), Tensor) and m.weight.ndim >= 2]

    def note(module: Module, arguments: Any, output: Any) -> None:
        if module not in outputs:
            layers.append((names[module], module))
        outputs[module] = output

    def variance(layer: Any) -> float:
        with no_grad():
            model(data)
        found = outputs[layer]._array.astype(np.float64)
        return float(found.var())

    hooks = [layer.register_forward_hook(note) for layer in chosen]
    try:
        for layer in chosen:
            orthogonal_(layer.weight, generator=generator)
            if isinstance(vars(layer).get("bias"), Tensor):
                zeros_(layer.bias)
        with no_grad():
            model(data)
        reached = {}
        for name, layer in list(layers):
            v = variance(layer)
            for _ in range(max_iterations):
                if abs(v - 1) < tolerance or not v > 0 or not math.isfinite(v):
                    break
                layer.weight.copy_(wrap(layer.weight._array / math.sqrt(v), None))
                v = variance(layer)
            reached[name] = v
    finally:
        for hook in hooks:
            hook.remove()
    return reached


def constant_(tensor: T, val: float) -> T:
    """The same value everywhere"""
    _written("constant_", tensor)
    number("constant_: val", val)
    return tensor.copy_(val)  # type: ignore[return-value]


def zeros_(tensor: T) -> T:
    """0"""
    return constant_(tensor, 0.0)


def ones_(tensor: T) -> T:
    """1"""
    return constant_(tensor, 1.0)
