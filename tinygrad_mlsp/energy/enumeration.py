"""The oracle: sums over every state, for models small enough. What else estimates is tested against it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import OptionError
from ..namespace import concat
from ..tensor import Tensor, record_of

_logsumexp, _exp = record_of("logsumexp"), record_of("exp")
LARGEST = 24  # binary units, 16.7 million states


def binary_states(n: int, dtype: Any = np.float64, device: str = "cpu") -> Tensor:
    """All 2ⁿ rows of n zeros and ones, counting up, the first unit the highest bit

    Shapes: [2ⁿ, n].
    Raises: OptionError for more than 24 units.
    """
    n = operator.index(n)
    if not 0 <= n <= LARGEST:
        raise OptionError(
            f"enumeration: {n} binary units have 2^{n} states, more than 2^{LARGEST}; estimate the sum instead "
            "(annealed importance sampling)"
        )
    bits = np.arange(2**n, dtype=np.int32)[:, None] >> np.arange(n - 1, -1, -1, dtype=np.int32) & 1
    return Tensor(bits.astype(dtype), device=device)


def log_sum(log_weight: Callable[[Tensor], Tensor], states: Tensor, batch: int = 1 << 12) -> Tensor:
    """ln Σ_s e^(log_weight(s)) over the rows s of `states`, in pieces of `batch` rows; gradients flow through it

    With log_weight = −E this is ln Z, and −∂ ln Z/∂θ the exact mean of ∂E/∂θ.
    """
    parts = [_logsumexp(log_weight(states[i : i + batch])) for i in range(0, len(states), batch)]
    return parts[0] if len(parts) == 1 else _logsumexp(concat([p.reshape(1) for p in parts]))


def expectation(log_weight: Callable[[Tensor], Tensor], of: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
    """Σ_s p(s) of(s) with p(s) ∝ e^(log_weight(s)), over the rows s of `states`

    Shapes: of(states) [n, …], result […].
    """
    weights = log_weight(states)
    p = _exp(weights - _logsumexp(weights))
    values = of(states)
    return (p.reshape((-1,) + (1,) * (values.ndim - 1)) * values).sum(axis=0)
