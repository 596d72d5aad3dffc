"""Activations and losses of the networks' chapter."""

from __future__ import annotations

import numpy as np
import scipy.special
import scipy.stats

from .draw import Domain, binary, unary

DOMAINS: dict[str, Domain] = {
    "prelu": binary((-2.0, 2.0, (0.0,)), (-1.0, 1.0), expect=lambda x, a: np.where(x < 0, a * x, x)),
    "hardtanh": unary(
        -2, 2, (-1.0, 0.5, 1.0), min_val=[-1.0, -1], max_val=[1, 0.5],
        expect=lambda x, min_val, max_val: np.clip(x, min_val, max_val),
    ),
    "lecun_tanh": unary(expect=lambda x: 1.7159 * np.tanh(2 * x / 3), complex=True),
    "softsign": unary(-2, 2, (0.0,), expect=lambda x: x / (1 + np.abs(x))),
    "silu": unary(-3, 3, expect=lambda x: x * scipy.special.expit(x)),
    "gelu": unary(-3, 3, expect=lambda x: x * scipy.stats.norm.cdf(x)),
    "binary_cross_entropy": binary(
        (0.1, 0.9), (0.1, 0.9), expect=lambda x, t: -t * np.log(x) - (1 - t) * np.log(1 - x)
    ),
}  # fmt: skip
