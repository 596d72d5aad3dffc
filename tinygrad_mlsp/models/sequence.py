"""Recurrent nets of symbols: a language model of characters, and translation from sequence to sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OptionError, ShapeError
from ..nn import GRU, LSTM, RNN, AdditiveAttention, DotAttention, Dropout, Embedding, Linear, Module
from ..random import Generator
from ..tensor import Tensor, no_grad, record_of
from .sampling import draw

_concat, _tanh = record_of("concat"), record_of("tanh")
CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


def _cell(kind: str) -> Any:
    if kind not in CELLS:
        raise OptionError(f"no recurrent net {kind!r}; {', '.join(CELLS)} are known")
    return CELLS[kind]


def _tokens(name: str, x: Any, device: str) -> Tensor:
    """Symbol numbers [batch, time], of one sequence too."""
    x = x if isinstance(x, Tensor) else Tensor(np.asarray(x, dtype=np.int64), device=device)
    if x.ndim == 1:
        x = x.reshape((1, -1))
    if x.ndim != 2 or x.dtype.kind not in "iu" or not x.shape[1]:
        raise ShapeError(f"{name}: wants symbol numbers [batch, time] or [time], got {list(x.shape)} of {x.dtype}")
    return x


class CharModel(Module):
    """p(xₜ₊₁ | x₁ … xₜ) = softmax(W hₜ + b), with h a recurrent net ("rnn", "lstm" or "gru") over embedded symbols

    With `embedding` None each symbol is given to the net as a column of its own: the embedding is of the hidden size.

    Shapes: tokens [batch, time], logits [batch, time, vocabulary]; the state is the recurrent net's.
    Source: Mikolov et al., "Recurrent neural network based language model", 2010; Graves, "Generating sequences
    with recurrent neural networks", 2013.
    """

    def __init__(
        self, vocabulary: int, hidden: int = 128, kind: str = "lstm", num_layers: int = 1, embedding: int | None = None,
        dropout: float = 0.0, *, generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        place: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}
        self.vocabulary, self.kind = vocabulary, kind
        size = hidden if embedding is None else embedding
        self.embedding = Embedding(vocabulary, size, **place)
        self.cell = _cell(kind)(size, hidden, num_layers, batch_first=True, **place)
        self.dropout = Dropout(dropout)
        self.out = Linear(hidden, vocabulary, **place)

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        h, state = self.cell(self.dropout(self.embedding(tokens)), state)
        return self.out(self.dropout(h)), state

    def sample(
        self, prompt: Any, length: int, temperature: float = 1.0, top_k: int | None = None,
        *, generator: Generator | None = None,
    ) -> np.ndarray[Any, Any]:  # fmt: skip
        """`length` symbols after the prompt, each drawn from softmax(logits/temperature) and read again.

        At temperature 0 the likeliest; with `top_k` only from the k likeliest.
        Shapes: prompt [batch, time] or [time], result [batch, length].
        """
        tokens = _tokens("CharModel.sample", prompt, self.out.weight.device)
        was_training, state = self.training, None
        self.eval()
        try:
            with no_grad():
                drawn = []
                for _ in range(length):
                    logits, state = self(tokens, state)
                    drawn.append(draw(logits[:, -1], temperature, top_k, generator))
                    tokens = _tokens("CharModel.sample", drawn[-1][:, None], tokens.device)
        finally:
            self.train(was_training)
        return np.stack(drawn, axis=1) if drawn else np.zeros((len(tokens), 0), np.int64)


class Seq2Seq(Module):
    """p(yₜ | y₁ … yₜ₋₁, x) = softmax(W tanh(W_c [cₜ, hₜ])), with cₜ what attention finds for hₜ in the encoder's states

    An encoder reads x, a decoder begins with its last state and reads y one step behind; `attention` is "dot",
    "general" or "additive", or None for the plain encoder–decoder, where hₜ stands for [cₜ, hₜ].

    Shapes: source [batch, S], target [batch, T] (what the decoder reads: a start symbol, then y without its last),
    source_mask [batch, S], True where a symbol is; logits [batch, T, target_vocabulary].
    Source: Sutskever, Vinyals and Le, 2014; Bahdanau, Cho and Bengio, 2015; Luong, Pham and Manning, 2015.
    """

    def __init__(
        self, source_vocabulary: int, target_vocabulary: int, hidden: int = 64, embedding: int | None = None,
        kind: str = "gru", attention: str | None = "dot", num_layers: int = 1,
        *, generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        place: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}
        size, make = hidden if embedding is None else embedding, _cell(kind)
        self.source = Embedding(source_vocabulary, size, **place)
        self.encoder = make(size, hidden, num_layers, batch_first=True, **place)
        self.target = Embedding(target_vocabulary, size, **place)
        self.decoder = make(size, hidden, num_layers, batch_first=True, **place)
        self.attention: Module | None = None
        if attention == "additive":
            self.attention = AdditiveAttention(hidden, hidden, hidden, **place)
        elif attention in ("dot", "general"):
            self.attention = DotAttention(*((hidden, hidden) if attention == "general" else ()), **place)
        elif attention is not None:
            raise OptionError(f"Seq2Seq: attention is 'dot', 'general', 'additive' or None, not {attention!r}")
        self.combine = None if attention is None else Linear(2 * hidden, hidden, bias=False, **place)
        self.out = Linear(hidden, target_vocabulary, **place)

    def encode(self, source: Tensor) -> tuple[Tensor, Any]:
        """The encoder's states [batch, S, hidden], and its last one."""
        return self.encoder(self.source(source))

    def decode(
        self, target: Tensor, state: Any, encoded: Tensor, source_mask: Tensor | None = None
    ) -> tuple[Tensor, Any, Tensor | None]:
        """Logits, the decoder's state, and the weights of the attention [batch, T, S]."""
        h, state = self.decoder(self.target(target), state)
        if self.attention is None or self.combine is None:
            return self.out(h), state, None
        context, weights = self.attention(h, encoded, mask=source_mask)
        return self.out(_tanh(self.combine(_concat([context, h], axis=-1)))), state, weights

    def forward(self, source: Tensor, target: Tensor, source_mask: Tensor | None = None) -> Tensor:
        encoded, state = self.encode(source)
        return self.decode(target, state, encoded, source_mask)[0]

    def generate(
        self, source: Any, length: int, start: int = 0, source_mask: Tensor | None = None, temperature: float = 0.0,
        *, generator: Generator | None = None,
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:  # fmt: skip
        """`length` symbols, each read again by the decoder, the likeliest unless the temperature is above 0; and where
        it looked: [batch, length], [batch, length, S]."""
        source = _tokens("Seq2Seq.generate", source, self.out.weight.device)
        was_training = self.training
        self.eval()
        try:
            with no_grad():
                encoded, state = self.encode(source)
                symbols, looked = [np.full(len(source), start)], []
                for _ in range(length):
                    read = _tokens("Seq2Seq.generate", symbols[-1][:, None], source.device)
                    logits, state, weights = self.decode(read, state, encoded, source_mask)
                    symbols.append(draw(logits[:, -1], temperature, generator=generator))
                    if weights is not None:
                        looked.append(weights.numpy()[:, 0])
        finally:
            self.train(was_training)
        return np.stack([s.astype(np.int64) for s in symbols], axis=1)[:, 1:], np.stack(looked, 1) if looked else None
