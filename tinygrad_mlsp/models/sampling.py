"""Drawing the next symbol of a sequence from a model's logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OptionError
from ..random import Generator, default_generator
from ..tensor import Tensor


def draw(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, generator: Generator | None = None
) -> np.ndarray[Any, Any]:
    """One symbol a row from softmax(logits/temperature), on the host; at temperature 0 the likeliest

    With `top_k` only the k likeliest may be drawn.
    Shapes: logits [batch, symbols], result [batch].
    """
    if not temperature >= 0:
        raise OptionError(f"temperature is 0 or more, got {temperature!r}")
    scores = logits.numpy().astype(np.float64)
    if temperature == 0:
        return scores.argmax(axis=-1)
    if top_k is not None:
        least = np.sort(scores, axis=-1)[:, -min(top_k, scores.shape[-1]), None]
        scores = np.where(scores < least, -np.inf, scores)
    p = np.exp((scores - scores.max(axis=-1, keepdims=True)) / temperature)
    below = np.cumsum(p, axis=-1)
    u = (generator or default_generator()).uniform((len(p), 1), dtype=np.float64) * below[:, -1:]
    return (below <= u).sum(axis=-1)
