"""The transformer's decoder, and the whole of both, with PyTorch's arguments and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import float32
from ..errors import DTypeError, ShapeError
from ..random import Generator
from ..tensor import Tensor
from . import init
from .dropout import Dropout
from .linear import Linear
from .module import Module, _size
from .norm import LayerNorm
from .transformer import MultiheadAttention, TransformerEncoder, TransformerEncoderLayer, activation_of, copies


class TransformerDecoderLayer(Module):
    """x ← N₁(x + A(x)), x ← N₂(x + A(x, m)), x ← N₃(x + W₂ φ(W₁ x + b₁) + b₂), with attention A to x and to memory m

    With `norm_first` the norms N stand before the branches, as in `TransformerEncoderLayer`. Dropout is on the
    attention weights, on φ and on what each branch adds.

    Shapes: tgt [time, batch, d_model], memory [source time, batch, d_model], or the batch first with batch_first;
    masks as in `MultiheadAttention`.
    Source: Vaswani et al., "Attention is all you need", 2017, section 3.1.
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, device: str | None = None, dtype: Any = None,
        *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        activation = activation_of(type(self).__name__, activation)
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, generator=generator, **place
        )
        self.multihead_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, generator=generator, **place
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, generator=generator, **place)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, generator=generator, **place)
        self.norm_first, self.activation = norm_first, activation
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.dropout1, self.dropout2, self.dropout3 = Dropout(dropout), Dropout(dropout), Dropout(dropout)

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        mine = (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        theirs = (memory_mask, memory_key_padding_mask, memory_is_causal)
        if self.norm_first:
            x = self.norm1(tgt)
            x = tgt + self.dropout1(_attended(self.self_attn, x, x, *mine))
            x = x + self.dropout2(_attended(self.multihead_attn, self.norm2(x), memory, *theirs))
            return x + self._transformed(self.norm3(x))
        x = self.norm1(tgt + self.dropout1(_attended(self.self_attn, tgt, tgt, *mine)))
        x = self.norm2(x + self.dropout2(_attended(self.multihead_attn, x, memory, *theirs)))
        return self.norm3(x + self._transformed(x))

    def _transformed(self, x: Tensor) -> Tensor:
        return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))

    def extra_repr(self) -> str:
        return "norm_first=True" if self.norm_first else ""


def _attended(
    layer: Module, query: Tensor, memory: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool
) -> Tensor:
    y, _ = layer(
        query, memory, memory, key_padding_mask=padding, need_weights=False, attn_mask=mask, is_causal=is_causal
    )
    found: Tensor = y
    return found


class TransformerDecoder(Module):
    """num_layers copies of a layer, one after the other, each attending to the same memory, and a last norm

    As in PyTorch the copies begin with equal weights; `decoder_layer` may also be a function that makes a layer anew.

    Shapes: those of `TransformerDecoderLayer`.
    """

    def __init__(
        self, decoder_layer: Module | Callable[[], Module], num_layers: int, norm: Module | None = None
    ) -> None:
        self.num_layers = _size("TransformerDecoder: num_layers", num_layers, 1)
        self.layers, self.norm = copies("TransformerDecoder: decoder_layer", decoder_layer, num_layers, norm)

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        for layer in self.layers:
            tgt = layer(
                tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )  # fmt: skip
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """y = decoder(tgt, encoder(src)): sequence to sequence

    Encoder and decoder are stacks of `TransformerEncoderLayer` and `TransformerDecoderLayer`, each with a last norm,
    or what is given as `custom_encoder` and `custom_decoder`. All matrices start by Xavier's rule.

    Shapes: src [S, batch, d_model], tgt and y [T, batch, d_model], with batch_first the batch first, or without a
    batch; masks as in `MultiheadAttention`.
    Source: Vaswani et al., "Attention is all you need", 2017.
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
        dim_feedforward: int = 2048, dropout: float = 0.1, activation: str | Callable[[Tensor], Tensor] = "relu",
        custom_encoder: Module | None = None, custom_decoder: Module | None = None, layer_norm_eps: float = 1e-5,
        batch_first: bool = False, norm_first: bool = False, bias: bool = True, device: str | None = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        settings = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device,
            dtype,
        )  # fmt: skip

        def last() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        for name, given in (("encoder", custom_encoder), ("decoder", custom_decoder)):
            if given is not None and not isinstance(given, Module):
                raise DTypeError(f"Transformer: custom_{name} is a module or None, not {given!r}")
        self.encoder: Any = custom_encoder
        if custom_encoder is None:
            layer: Module = TransformerEncoderLayer(*settings, generator=generator)
            self.encoder = TransformerEncoder(layer, num_encoder_layers, last())
        self.decoder: Any = custom_decoder
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*settings, generator=generator)
            self.decoder = TransformerDecoder(layer, num_decoder_layers, last())
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draws all matrices anew, each for itself, by Xavier's rule."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter, generator=generator)

    def forward(
        self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None, tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None, tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        at = 0 if self.batch_first else 1
        if src.ndim != tgt.ndim or src.ndim not in (2, 3) or (src.ndim == 3 and src.shape[at] != tgt.shape[at]):
            raise ShapeError(
                f"Transformer: src and tgt have the batch on axis {at} (batch_first={self.batch_first}) and as many "
                f"samples each, or both none; got {list(src.shape)} and {list(tgt.shape)}"
            )
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise ShapeError(
                f"Transformer: src and tgt have d_model={self.d_model} features, got {list(src.shape)} and "
                f"{list(tgt.shape)}"
            )
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(src_is_causal)
        )
        y: Tensor = self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )  # fmt: skip
        return y

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: str | None = None, dtype: Any = None) -> Tensor:
        """0 where position i may see position j, j ≤ i, and −∞ elsewhere: [sz, sz], to be added to the scores"""
        sz = _size("generate_square_subsequent_mask: sz", sz)
        return Tensor(np.triu(np.full((sz, sz), -np.inf), 1), dtype=dtype or float32, device=device)

    def extra_repr(self) -> str:
        return f"d_model={self.d_model}, nhead={self.nhead}"
