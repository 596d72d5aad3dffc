"""Blocks of convolutions: dense blocks and their transitions, inception, and the shortcut without weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ShapeError
from ..random import Generator
from ..tensor import Tensor, record_of
from .activation import Identity, ReLU
from .container import Sequential
from .convolution import Conv2d
from .dropout import Dropout
from .module import Module, _size
from .norm import BatchNorm2d
from .pooling import AvgPool2d, MaxPool2d
from .skip import Concat

_pad = record_of("pad")


class ConvNormAct(Sequential):
    """y = φ(N(W ∗ x)): a convolution, without bias since the norm takes it away, a batch norm and an activation

    Shapes: x [batch, in_channels, height, width]; with padding kernel_size // 2, unless told, only the stride shrinks.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, padding: int | None = None,
        activation: Callable[[], Module] = ReLU, device: str | None = None, dtype: Any = None,
        *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        padding = kernel_size // 2 if padding is None else padding
        super().__init__(
            Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False, device=device, dtype=dtype,
                   generator=generator),
            BatchNorm2d(out_channels, device=device, dtype=dtype),
            activation(),
        )  # fmt: skip


class PaddedShortcut(Module):
    """y = x at every `stride`-th row and column, with channels of 0 after its own: the shortcut without weights

    Shapes: x [batch, in_channels, height, width], y [batch, out_channels, ⌈height/stride⌉, ⌈width/stride⌉].
    Source: He et al., "Deep residual learning", 2015, option A.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        if out_channels < in_channels:
            raise ShapeError(f"PaddedShortcut: {in_channels} channels do not fit into {out_channels}")
        self.more, self.stride = out_channels - in_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return _pad(x, pad_width=((0, 0), (0, self.more), (0, 0), (0, 0))) if self.more else x

    def extra_repr(self) -> str:
        return f"more={self.more}, stride={self.stride}"


class DenseConvLayer(Concat):
    """y = [x, W ∗ φ(N x)], or with a bottleneck [x, W ∗ φ(N(V φ(N x)))], V of 1×1 and 4 · growth channels

    Shapes: x [batch, in_channels, height, width], y [batch, in_channels + growth, height, width].
    """

    def __init__(
        self, in_channels: int, growth: int, bottleneck: bool = False, dropout: float = 0.0,
        activation: Callable[[], Module] = ReLU, device: str | None = None, dtype: Any = None,
        *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        branch: list[Module] = []
        for size in [1, 3] if bottleneck else [3]:
            after = growth if size == 3 else 4 * growth
            branch += [BatchNorm2d(in_channels, **place), activation()]
            branch += [Conv2d(in_channels, after, size, padding=size // 2, bias=False, generator=generator, **place)]
            branch += [Dropout(dropout)] if dropout else []
            in_channels = after
        super().__init__(Identity(), Sequential(*branch))


class DenseConvBlock(Sequential):
    """`layers` times a `DenseConvLayer`: each convolution sees the maps of all before it, and adds `growth` to them

    Shapes: x [batch, in_channels, height, width], y [batch, in_channels + layers · growth, height, width].
    Source: Huang et al., "Densely connected convolutional networks", 2017.
    """

    def __init__(
        self, in_channels: int, growth: int, layers: int, bottleneck: bool = False, dropout: float = 0.0,
        activation: Callable[[], Module] = ReLU, device: str | None = None, dtype: Any = None,
        *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        growth, layers = _size("DenseConvBlock: growth", growth, 1), _size("DenseConvBlock: layers", layers)
        self.out_channels = in_channels + layers * growth
        super().__init__(*(
            DenseConvLayer(in_channels + k * growth, growth, bottleneck, dropout, activation, device, dtype,
                           generator=generator)
            for k in range(layers)
        ))  # fmt: skip


class Transition(Sequential):
    """y = mean over 2×2 of W φ(N x), with W of 1×1: from one dense block to the next, of fewer maps of half the size

    Shapes: x [batch, in_channels, height, width], y [batch, out_channels, height/2, width/2].
    Source: Huang et al., 2017.
    """

    def __init__(
        self, in_channels: int, out_channels: int, activation: Callable[[], Module] = ReLU, device: str | None = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(
            BatchNorm2d(in_channels, **place),
            activation(),
            Conv2d(in_channels, out_channels, 1, bias=False, generator=generator, **place),
            AvgPool2d(2),
        )


class Inception(Concat):
    """y = [1×1, 1×1 → 3×3, 1×1 → 5×5, max 3×3 → 1×1]: several sizes of receptive field side by side

    The 1×1 before a larger convolution brings down the channels that it has to look at. `n1`, `n3`, `n5` and `pool` are
    the channels of the four results, `reduce3` and `reduce5` those between. Each convolution has batch norm and ReLU.

    Shapes: x [batch, in_channels, height, width], y [batch, n1 + n3 + n5 + pool, height, width].
    Source: Szegedy et al., "Going deeper with convolutions", 2015.
    """

    def __init__(
        self, in_channels: int, n1: int, reduce3: int, n3: int, reduce5: int, n5: int, pool: int,
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        place: dict[str, Any] = {"device": device, "dtype": dtype, "generator": generator}
        self.out_channels = n1 + n3 + n5 + pool
        super().__init__(
            ConvNormAct(in_channels, n1, 1, **place),
            Sequential(ConvNormAct(in_channels, reduce3, 1, **place), ConvNormAct(reduce3, n3, 3, **place)),
            Sequential(ConvNormAct(in_channels, reduce5, 1, **place), ConvNormAct(reduce5, n5, 5, **place)),
            Sequential(MaxPool2d(3, stride=1, padding=1), ConvNormAct(in_channels, pool, 1, **place)),
        )
