"""A language model of attention alone: each position sees those before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import OptionError, ShapeError
from ..nn import (
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Module,
    Parameter,
    PositionalEncoding,
    TransformerEncoder,
    TransformerEncoderLayer,
    init,
)
from ..random import Generator
from ..tensor import Tensor, no_grad
from .sampling import draw
from .sequence import _tokens


class CausalLanguageModel(Module):
    """p(xₜ₊₁ | x₁ … xₜ) = softmax(E N T_n … T₁(√d E[x] + p)), blocks T that look back only, and E the embedding

    The blocks are `nn.TransformerEncoderLayer` with the norms first. `positions` p are "sinusoidal" or "learned".
    With `tie` the embedding E is the matrix of the output as well, and starts from N(0, 1/d).

    Shapes: tokens [batch, time ≤ max_len], logits [batch, time, vocabulary].
    Source: Vaswani et al., 2017; Radford et al., "Improving language understanding by generative pre-training", 2018;
    Press and Wolf, "Using the output embedding to improve language models", 2017.
    """

    def __init__(
        self, vocabulary: int, d_model: int = 64, nhead: int = 4, num_layers: int = 2,
        dim_feedforward: int | None = None, dropout: float = 0.0, max_len: int = 256, positions: str = "sinusoidal",
        tie: bool = True, *, generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if positions not in ("sinusoidal", "learned"):
            raise OptionError(f"CausalLanguageModel: positions are 'sinusoidal' or 'learned', not {positions!r}")
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.vocabulary, self.max_len, self.scale = vocabulary, max_len, math.sqrt(d_model)
        self.embedding = Embedding(vocabulary, d_model, generator=generator, **place)
        init.normal_(self.embedding.weight, 0.0, 1 / math.sqrt(d_model), generator)
        self.learned: Parameter | None = None
        self.positions: Module = Dropout(dropout)
        if positions == "learned":
            self.learned = Parameter(np.zeros((max_len, d_model)), **{"dtype": np.float32, **_given(place)})
            init.normal_(self.learned, 0.0, 0.02, generator)
        else:
            self.positions = PositionalEncoding(d_model, dropout, max_len, batch_first=True, **place)

        def block() -> Module:
            return TransformerEncoderLayer(
                d_model, nhead, 4 * d_model if dim_feedforward is None else dim_feedforward, dropout, "gelu",
                batch_first=True, norm_first=True, generator=generator, **place,
            )  # fmt: skip

        self.blocks = TransformerEncoder(block, num_layers, LayerNorm(d_model, **place))
        self.out = Linear(d_model, vocabulary, bias=not tie, generator=generator, **place)
        if tie:
            self.out.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.ndim != 2 or tokens.shape[1] > self.max_len:
            raise ShapeError(
                f"CausalLanguageModel: wants [batch, time], at most max_len={self.max_len} steps, got "
                f"{list(tokens.shape)}"
            )
        x = self.embedding(tokens) * self.scale
        if self.learned is not None:
            x = x + self.learned[: tokens.shape[1]]
        return self.out(self.blocks(self.positions(x), is_causal=True))

    def generate(
        self, prompt: Any, length: int, temperature: float = 1.0, top_k: int | None = None,
        *, generator: Generator | None = None,
    ) -> np.ndarray[Any, Any]:  # fmt: skip
        """`length` symbols after the prompt, of which the last max_len are seen at each step.

        Shapes: prompt [batch, time] or [time], result [batch, length].
        """
        tokens = _tokens("CausalLanguageModel.generate", prompt, self.embedding.weight.device)
        seen, device = tokens.numpy().astype(np.int64), tokens.device
        was_training, begin = self.training, tokens.shape[1]
        self.eval()
        try:
            with no_grad():
                for _ in range(length):
                    logits = self(Tensor(seen[:, -self.max_len :], device=device))[:, -1]
                    drawn = draw(logits, temperature, top_k, generator)
                    seen = np.concatenate([seen, drawn[:, None]], axis=1)
        finally:
            self.train(was_training)
        return seen[:, begin:]


def _given(place: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in place.items() if value is not None}
