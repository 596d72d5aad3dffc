"""Activations that draw: categories, slopes, and channels that are dropped."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import space_of
from ...errors import OptionError, ShapeError
from ...random import Generator, default_generator
from ...tensor import Tensor, record_of, wrap
from .checks import in_place, number, tensor
from .dropout import _channels, _check_probability, alpha_dropout

_softmax, _where = record_of("softmax"), record_of("where")


def gumbel_softmax(
    logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1,
    *, noise: Tensor | None = None, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """y = softmax((x + n)/τ) with Gumbel noise n: the largest is class k with probability softmax(x)ₖ

    With `hard` y is that class, as 0 and 1, and its gradient that of the softmax. `noise` takes the place of a drawn
    n = −ln(−ln u). `eps` has no effect, as in PyTorch.
    Source: Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", 2017; Maddison, Mnih and Teh,
    "The concrete distribution", 2017.
    """
    tensor("gumbel_softmax", "logits", logits)
    if not number("gumbel_softmax: tau", tau, 0) > 0:
        raise OptionError(f"gumbel_softmax: tau must be positive, got {tau!r}")
    if noise is None:
        u = (generator or default_generator()).uniform(logits.shape, dtype=np.float64, device=logits.device)
        xp = space_of(u)
        # 1 − u is never 0; u may be, and then ln 2⁻⁵⁴ stands for it: half the least that is drawn
        noise = wrap((-xp.log(-xp.log1p(-xp.maximum(u, 2.0**-54)))).astype(logits.dtype), None)
    soft = _softmax((logits + noise) * (1 / tau), axis=dim)
    if not hard:
        return soft
    xp, values = space_of(soft._array), soft._array
    chosen = xp.expand_dims(xp.argmax(values, axis=dim), dim)
    shape = [1] * values.ndim
    shape[dim] = values.shape[dim]
    picked = (xp.arange(values.shape[dim]).reshape(shape) == chosen).astype(values.dtype)
    return wrap(picked, None) - soft.detach() + soft


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
    inplace: bool = False, *, slopes: Tensor | None = None, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """y = x where x > 0, else a x with a ~ U(lower, upper) for each entry in training, otherwise their middle

    `slopes` take the place of drawn ones.
    Source: Xu et al., "Empirical evaluation of rectified activations in convolutional network", 2015.
    """
    number("rrelu: lower", lower)
    if number("rrelu: upper", upper) < lower:
        raise OptionError(f"rrelu: lower must not be above upper, got {lower!r} and {upper!r}")
    tensor("rrelu", "input", input)
    slope: Any = (lower + upper) / 2
    if training:
        if slopes is None:
            drawn = (generator or default_generator()).uniform(
                input.shape, lower, upper, dtype=input.dtype, device=input.device
            )
            slopes = wrap(drawn, None)
        slope = slopes
    y = _where(wrap(input._array > 0, None), input, input * slope)
    return y if not inplace else in_place("rrelu", input, y)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, *,
    mask: Tensor | None = None, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """`alpha_dropout` of whole channels: x [batch, channels, …]

    Source: Klambauer et al., "Self-normalizing neural networks", 2017; Tompson et al., 2015.
    """
    tensor("feature_alpha_dropout", "input", input)
    if input.ndim < 2:
        raise ShapeError(f"feature_alpha_dropout: wants [batch, channels, …], got shape {list(input.shape)}")
    if training and mask is None and p > 0:
        _check_probability(p, "feature_alpha_dropout: p")
        mask = _channels("feature_alpha_dropout", input, input.ndim - 2, p, generator)
    return alpha_dropout(input, p, training, inplace, mask=mask)
