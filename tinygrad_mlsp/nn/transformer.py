"""Attention over sequences, and the block that transformers are stacked from, with PyTorch's arguments and keys."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import float32
from ..errors import DTypeError, OptionError, ShapeError
from ..namespace import empty
from ..random import Generator
from ..tensor import Tensor, record_of
from . import functional, init
from .container import ModuleList
from .dropout import Dropout
from .functional.attention import as_additive, attention_weights, causal_mask, unmasked
from .functional.dropout import _check_probability
from .linear import Linear
from .module import Module, Parameter, _size
from .norm import LayerNorm

_concat, _split, _permute_dims, _reshape = map(record_of, ("concat", "split", "permute_dims", "reshape"))
_matmul, _logical_or, _logical_not = map(record_of, ("matmul", "logical_or", "logical_not"))
_linear, _mean, _expand_dims, _squeeze = map(record_of, ("linear", "mean", "expand_dims", "squeeze"))
_broadcast_to = record_of("broadcast_to")


class MultiheadAttention(Module):
    """y = W_o [h₁, …, hₙ] + b_o, with hᵢ = softmax(Wᵢq q (Wᵢk k)ᵀ/√E) Wᵢv v in each head i, E = embed_dim/num_heads

    The weights of queries, keys and values are packed in `in_proj_weight` [3 · embed_dim, embed_dim]; where keys or
    values have a size of their own (kdim, vdim) they are `q_proj_weight`, `k_proj_weight` and `v_proj_weight`.

    Masks follow PyTorch's module: booleans that are True where a key may *not* be seen, or numbers to add to the
    scores. A query that may see nothing gets weights of 0, and so b_o (in PyTorch, NaN).

    Shapes: query [L, batch, embed_dim], key [S, batch, kdim], value [S, batch, vdim], with batch_first the batch
    first, without a batch [L, embed_dim] …; key_padding_mask [batch, S]; attn_mask [L, S] or [batch · heads, L, S];
    the weights [batch, L, S], the mean over the heads, or [batch, heads, L, S] with average_attn_weights=False.
    Source: Vaswani et al., "Attention is all you need", 2017.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.embed_dim = _size("MultiheadAttention: embed_dim", embed_dim, 1)
        self.num_heads = _size("MultiheadAttention: num_heads", num_heads, 1)
        if embed_dim % num_heads:
            raise OptionError(f"MultiheadAttention: {num_heads} heads do not divide embed_dim={embed_dim}")
        _check_probability(dropout, "MultiheadAttention: dropout")
        self.kdim = embed_dim if kdim is None else _size("MultiheadAttention: kdim", kdim, 1)
        self.vdim = embed_dim if vdim is None else _size("MultiheadAttention: vdim", vdim, 1)
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        self.head_dim = embed_dim // num_heads
        self.generator: Generator | None = None  # of the dropout's masks
        dtype = dtype or float32

        def weight(*shape: int) -> Parameter:
            return Parameter(empty(shape, dtype, device))

        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight = weight(3 * embed_dim, embed_dim)
        else:
            self.q_proj_weight = weight(embed_dim, embed_dim)
            self.k_proj_weight = weight(embed_dim, self.kdim)
            self.v_proj_weight = weight(embed_dim, self.vdim)
        self.in_proj_bias = weight(3 * embed_dim) if bias else None
        self.bias_k = weight(1, 1, embed_dim) if add_bias_kv else None
        self.bias_v = weight(1, 1, embed_dim) if add_bias_kv else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype, generator=generator)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draws the projections anew, by Xavier's rule; biases are 0."""
        for name, parameter in self.named_parameters(recurse=False):
            if name.endswith("weight"):
                init.xavier_uniform_(parameter, generator=generator)
            elif name != "in_proj_bias":  # bias_k and bias_v
                init.xavier_normal_(parameter, generator=generator)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """`is_causal` says that attn_mask is the causal one, which then need not be given."""
        single = query.ndim == 2
        if self._misfits(query, key, value):
            order = "[batch, time, …]" if self.batch_first else "[time, batch, …]"
            raise ShapeError(
                f"MultiheadAttention: wants {order} (or without a batch) with query, key and value of {self.embed_dim},"
                f" {self.kdim} and {self.vdim} features, got {list(query.shape)}, {list(key.shape)}, "
                f"{list(value.shape)}"
            )
        same, keys_are_values = query is key is value, key is value
        arguments = [query] if same else [query, key] if keys_are_values else [query, key, value]
        if single:
            arguments = [_expand_dims(x, axis=0) for x in arguments]
        elif not self.batch_first:
            arguments = [_permute_dims(x, (1, 0, 2)) for x in arguments]
        batch, length = arguments[0].shape[:2]
        q, k, v = self._projected(arguments)
        if self.bias_k is not None and self.bias_v is not None:
            beside = (batch, 1, self.embed_dim)
            k = _concat([k, _broadcast_to(self.bias_k, shape=beside)], axis=1)
            v = _concat([v, _broadcast_to(self.bias_v, shape=beside)], axis=1)
        q, k, v = map(self._heads, (q, k, v))
        mask = self._mask(
            q, key.shape[0 if single or not self.batch_first else 1], key_padding_mask, attn_mask, is_causal
        )
        if self.add_zero_attn:
            nothing = k[:, :, :1] * 0.0
            k, v = _concat([k, nothing], axis=2), _concat([v, nothing], axis=2)
        mask = self._padded(mask, k.shape[2])
        weights = attention_weights(q, k, mask, name="MultiheadAttention")
        if self.training and self.dropout:
            weights = functional.dropout(weights, self.dropout, generator=self.generator)
        y = _reshape(_permute_dims(_matmul(weights, v), (0, 2, 1, 3)), (batch, length, self.embed_dim))
        y = self.out_proj(y)
        if single:
            y = _squeeze(y, axis=0)
        elif not self.batch_first:
            y = _permute_dims(y, (1, 0, 2))
        if not need_weights:
            return y, None
        weights = _mean(weights, axis=1) if average_attn_weights else weights
        return y, _squeeze(weights, axis=0) if single else weights

    def _misfits(self, query: Tensor, key: Tensor, value: Tensor) -> bool:
        at = 0 if query.ndim == 2 or not self.batch_first else 1  # where the time is
        return (
            query.ndim not in (2, 3)
            or not query.ndim == key.ndim == value.ndim
            or (query.shape[-1], key.shape[-1], value.shape[-1]) != (self.embed_dim, self.kdim, self.vdim)
            or key.shape[at] != value.shape[at]
            or (query.ndim == 3 and not query.shape[1 - at] == key.shape[1 - at] == value.shape[1 - at])
        )

    def _projected(self, arguments: list[Tensor]) -> list[Tensor]:
        """Queries, keys and values, by one product where they come from the same Tensor."""
        if not hasattr(self, "in_proj_weight"):
            inputs = [arguments[0], arguments[min(1, len(arguments) - 1)], arguments[-1]]
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
            biases = [None] * 3 if self.in_proj_bias is None else _split(self.in_proj_bias, 3)
            return [_linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True)]
        parts = {1: [3], 2: [1, 2], 3: [1, 1, 1]}[len(arguments)]
        found: list[Tensor] = []
        begin = 0
        for x, part in zip(arguments, parts, strict=True):
            rows = slice(begin, begin := begin + part * self.embed_dim)
            whole = part == 3
            weight = self.in_proj_weight if whole else self.in_proj_weight[rows]
            bias = self.in_proj_bias if whole or self.in_proj_bias is None else self.in_proj_bias[rows]
            y = _linear(x, weight, bias)
            found.extend(_split(y, part, axis=-1) if part > 1 else [y])
        return found

    def _heads(self, x: Tensor) -> Tensor:
        """[batch, time, embed_dim] as [batch, heads, time, head_dim]"""
        return _permute_dims(_reshape(x, (*x.shape[:2], self.num_heads, self.head_dim)), (0, 2, 1, 3))

    def _mask(
        self, q: Tensor, keys: int, key_padding_mask: Tensor | None, attn_mask: Tensor | None, is_causal: bool
    ) -> Tensor | None:
        """The two masks as one that fits [batch, heads, L, keys]: True where a key may be seen, or numbers to add."""
        batch, heads, length = q.shape[:3]
        masks = []
        if attn_mask is not None:
            allowed = [(length, keys), (batch * heads, length, keys)]
            masks.append(_checked("attn_mask", attn_mask, allowed))
            if attn_mask.ndim == 3:
                masks[0] = _reshape(attn_mask, (batch, heads, length, keys))
        elif is_causal:
            masks.append(_logical_not(causal_mask(length, keys, q)))
        if key_padding_mask is not None:
            allowed = [(batch, keys), (keys,)] if batch == 1 else [(batch, keys)]
            padding = _checked("key_padding_mask", key_padding_mask, allowed)
            masks.append(_reshape(padding, (batch, 1, 1, keys)))
        if not masks:
            return None
        if all(m.dtype.kind == "b" for m in masks):
            return _logical_not(masks[0] if len(masks) == 1 else _logical_or(*masks))
        added = [as_additive(m, q.dtype) if m.dtype.kind == "b" else m for m in masks]
        return added[0] if len(added) == 1 else added[0] + added[1]

    def _padded(self, mask: Tensor | None, keys: int) -> Tensor | None:
        """The mask for keys that were added at the end, and may be seen by all."""
        if mask is None or mask.shape[-1] == keys:
            return mask
        return _concat([mask, unmasked(mask, keys - mask.shape[-1])], axis=-1)

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}" + (f", dropout={self.dropout}" if self.dropout else "") + (
            ", batch_first=True" if self.batch_first else ""
        )  # fmt: skip


def _checked(name: str, mask: Tensor, shapes: list[tuple[int, ...]]) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype.kind not in "bf":
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise DTypeError(
            f"MultiheadAttention: {name} is a Tensor of booleans (True where a key may not be seen) or of numbers to "
            f"add to the scores, not {kind}"
        )
    if mask.shape not in shapes:
        wanted = " or ".join(str(list(shape)) for shape in shapes)
        raise ShapeError(f"MultiheadAttention: {name} is {wanted}, got {list(mask.shape)}")
    return mask


_ACTIVATIONS: dict[str, Callable[..., Tensor]] = {"relu": functional.relu, "gelu": functional.gelu}


def activation_of(layer: str, activation: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function that is meant, by its name or itself."""
    found = _ACTIVATIONS.get(activation) if isinstance(activation, str) else activation
    if not callable(found):
        raise OptionError(f"{layer}: activation is 'relu', 'gelu' or a function, not {activation!r}")
    return found


class TransformerEncoderLayer(Module):
    """x ← N₁(x + A(x)), x ← N₂(x + W₂ φ(W₁ x + b₁) + b₂), with self-attention A and layer norms N

    With `norm_first` the norms stand before the branches, x ← x + A(N₁ x), and the path of the sums is free, as in a
    pre-activation residual net. Dropout is on the attention weights, on φ and on what each branch adds.

    Shapes: src [time, batch, d_model], or [batch, time, d_model] with batch_first; masks as in `MultiheadAttention`.
    Source: Vaswani et al., 2017; Xiong et al., "On layer normalization in the transformer architecture", 2020.
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
        self.linear1 = Linear(d_model, dim_feedforward, bias, generator=generator, **place)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, generator=generator, **place)
        self.norm_first, self.activation = norm_first, activation
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)

    def forward(
        self, src: Tensor, src_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        masks = (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = src + self._attended(self.norm1(src), *masks)
            return x + self._transformed(self.norm2(x))
        x = self.norm1(src + self._attended(src, *masks))
        return self.norm2(x + self._transformed(x))

    def _attended(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool) -> Tensor:
        y, _ = self.self_attn(
            x, x, x, key_padding_mask=padding, need_weights=False, attn_mask=mask, is_causal=is_causal
        )
        return self.dropout1(y)

    def _transformed(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))

    def extra_repr(self) -> str:
        return "norm_first=True" if self.norm_first else ""


def copies(
    name: str, layer: Module | Callable[[], Module], number: int, norm: Module | None
) -> tuple[ModuleList, Module | None]:
    """So many copies of a layer, and the norm after them."""
    if not callable(layer):
        raise DTypeError(f"{name} is a module, or a function that makes one, not {layer!r}")
    if norm is not None and not isinstance(norm, Module):
        raise DTypeError(f"{name.partition(':')[0]}: norm is a module or None, not {norm!r}")
    return ModuleList(copy.deepcopy(layer) if isinstance(layer, Module) else layer() for _ in range(number)), norm


class TransformerEncoder(Module):
    """num_layers copies of a layer, one after the other, and a last norm

    As in PyTorch the copies begin with equal weights; `encoder_layer` may also be a function that makes a layer anew.
    `enable_nested_tensor` and `mask_check` choose how PyTorch computes, and have no effect here.

    Shapes: those of `TransformerEncoderLayer`.
    """

    def __init__(
        self, encoder_layer: Module | Callable[[], Module], num_layers: int, norm: Module | None = None,
        enable_nested_tensor: bool = True, mask_check: bool = True,
    ) -> None:  # fmt: skip
        self.num_layers = _size("TransformerEncoder: num_layers", num_layers, 1)
        self.layers, self.norm = copies("TransformerEncoder: encoder_layer", encoder_layer, num_layers, norm)

    def forward(
        self, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=is_causal)
        return src if self.norm is None else self.norm(src)


class PositionalEncoding(Module):
    """y = x + p, pₜ,₂ᵢ = sin(t/10000^(2i/d)), pₜ,₂ᵢ₊₁ = cos(t/10000^(2i/d)): where in the sequence an entry stands

    Shapes: x and y [time, batch, d_model], or [batch, time, d_model] with batch_first.
    Source: Vaswani et al., 2017, section 3.5.
    """

    pe: Tensor

    def __init__(
        self, d_model: int, dropout: float = 0.0, max_len: int = 5000, batch_first: bool = False,
        device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.d_model = _size("PositionalEncoding: d_model", d_model, 1)
        self.max_len = _size("PositionalEncoding: max_len", max_len, 1)
        self.dropout, self.batch_first = Dropout(dropout), batch_first
        table = np.zeros((max_len, d_model))
        angles = np.arange(max_len)[:, None] * np.exp(-math.log(10000) * np.arange(0, d_model, 2) / d_model)
        table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles[:, : d_model // 2])
        self.register_buffer("pe", Tensor(table, dtype=dtype or float32, device=device), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        time = x.shape[1 if self.batch_first else 0] if x.ndim == 3 else 0
        if x.ndim != 3 or x.shape[-1] != self.d_model or time > self.max_len:
            order = "[batch, time, d_model]" if self.batch_first else "[time, batch, d_model]"
            raise ShapeError(
                f"PositionalEncoding: wants {order} with d_model={self.d_model} and at most max_len={self.max_len} "
                f"steps, got {list(x.shape)}"
            )
        positions = self.pe[:time]
        return self.dropout(x + (positions if self.batch_first else _expand_dims(positions, axis=1)))

    def extra_repr(self) -> str:
        return f"d_model={self.d_model}, max_len={self.max_len}"
