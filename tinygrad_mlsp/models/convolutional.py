"""Convolutional nets for small images, 28×28 or 32×32: LeNet, AlexNet, ResNet, DenseNet, GoogLeNet, each in its small
form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import OptionError, ShapeError
from ..namespace import ones, zeros
from ..nn import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvNormAct,
    DenseConvBlock,
    Dropout,
    Inception,
    LeCunTanh,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    PaddedShortcut,
    Parameter,
    ReLU,
    ResidualBlock,
    Sequential,
    Tanh,
    Transition,
    init,
    survival_probability,
)
from ..nn import functional as F
from ..random import Generator
from ..tensor import Tensor
from .mlp import flat


def _images(name: str, x: Tensor, channels: int, size: int | None) -> Tensor:
    """Images [batch, channels, height, width], where one channel may be left out."""
    if channels == 1 and x.ndim == 3:
        x = x.reshape((x.shape[0], 1, *x.shape[1:]))
    if x.ndim != 4 or x.shape[1] != channels or (size is not None and x.shape[2:] != (size, size)):
        wanted = "height, width" if size is None else f"{size}, {size}"
        raise ShapeError(f"{name}: wants images [batch, {channels}, {wanted}], got {list(x.shape)}")
    return x


def _he(module: Module, generator: Generator | None) -> None:
    """He's weights for every convolution and linear layer, and biases of 0."""
    for layer in module.modules():
        if isinstance(layer, (Conv2d, Linear)):
            init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                init.zeros_(layer.bias)


# LeNet

# Which of the six maps of S2 each of the sixteen maps of C3 looks at (LeCun et al., 1998, table I).
TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5), (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5),
    (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip


class Subsampling(Module):
    """y = φ(w · mean over 2×2 + b), a weight and a bias a map: LeNet's pooling"""

    def __init__(self, channels: int, activation: Module, device: str | None = None, dtype: Any = None) -> None:
        dtype = np.float32 if dtype is None else dtype
        self.pool, self.activation = AvgPool2d(2), activation
        self.weight, self.bias = (
            Parameter(ones((channels,), dtype, device)),
            Parameter(zeros((channels,), dtype, device)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.pool(x) * self.weight.reshape((-1, 1, 1)) + self.bias.reshape((-1, 1, 1)))


class PartialConv2d(Module):
    """y = (W m) ∗ x + b: a convolution of which each map sees only some of those before it, m says which"""

    mask: Tensor

    def __init__(
        self, in_channels: int, table: Sequence[Sequence[int]], kernel_size: int, device: str | None = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.conv = Conv2d(in_channels, len(table), kernel_size, device=device, dtype=dtype, generator=generator)
        mask = np.zeros((len(table), in_channels, 1, 1))
        for i, seen in enumerate(table):
            mask[i, list(seen)] = 1.0
        self.register_buffer("mask", Tensor(mask, dtype=self.conv.weight.dtype, device=device))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.conv.weight * self.mask, self.conv.bias)


class LeNet(Module):
    """C1 6@5×5, S2, C3 16@5×5, S4, C5 120@5×5, F6 84, and a linear output

        1998    1.7159 tanh(2z/3), averages with weights of their own, and a C3 of which each map sees some of S2's
        tanh    the same with tanh, plain averages, and C3 that sees all
        relu    the same with ReLU and maxima

    Images of 28×28 are padded by 2 to the 32×32 of the paper. The variant of 1998 trains 60,850 numbers; its last
    layer, fixed codes in the paper, is linear here.

    Shapes: x [batch, in_channels, size, size] (or [batch, size, size]), result [batch, classes].
    Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.
    """

    def __init__(
        self, variant: str = "relu", in_channels: int = 1, classes: int = 10, size: int = 28,
        *, generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if variant not in ("1998", "tanh", "relu"):
            raise OptionError(f"LeNet: variant is '1998', 'tanh' or 'relu', not {variant!r}")
        if size not in (28, 32):
            raise OptionError(f"LeNet: images are 28×28 or 32×32, not {size!r}")
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        made: dict[str, Any] = {"generator": generator, **place}
        act: Callable[[], Module] = {"1998": LeCunTanh, "tanh": Tanh, "relu": ReLU}[variant]
        self.variant, self.in_channels, self.size = variant, in_channels, size

        def pool(channels: int) -> list[Module]:
            if variant == "1998":  # squashed there, and not before
                return [Subsampling(channels, act(), **place)]
            return [act(), MaxPool2d(2) if variant == "relu" else AvgPool2d(2)]

        c3 = PartialConv2d(6, TABLE, 5, **made) if variant == "1998" else Conv2d(6, 16, 5, **made)
        c1 = Conv2d(in_channels, 6, 5, padding=(32 - size) // 2, **made)
        self.features = Sequential(c1, *pool(6), c3, *pool(16), Conv2d(16, 120, 5, **made), act())
        self.classifier = Sequential(Linear(120, 84, **made), act(), Linear(84, classes, **made))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(flat(self.features(_images("LeNet", x, self.in_channels, self.size))))

    def extra_repr(self) -> str:
        return f"variant={self.variant!r}"


# AlexNet


class AlexNet(Module):
    """Five convolutions and three linear layers, 1 to 8, and any of 2 to 7 left out: what does depth give?

        1  w@5×5, max     2  2w@5×5, max     3, 4  3w@3×3     5  2w@3×3, max     6, 7  linear, dropout     8  linear

    The shape of AlexNet at the size of small images, w = `width`; maxima are over 3×3 with stride 2, so they overlap.
    `remove` names the layers that are left out, as in lecture 3: (7,), (6, 7), (3, 4), (3, 4, 6, 7). A pool stays where
    its layer goes. With `lrn` the first two layers are normalized across channels.

    Shapes: x [batch, in_channels, size, size], result [batch, classes].
    Source: Krizhevsky, Sutskever and Hinton, 2012; the ablation is Zeiler and Fergus, "Visualizing and understanding
    convolutional networks", 2014, table 3.
    """

    def __init__(
        self, in_channels: int = 3, classes: int = 10, size: int = 32, remove: Iterable[int] = (), width: int = 32,
        hidden: int = 256, dropout: float = 0.5, lrn: bool = False,
        *, generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.removed = tuple(sorted({*remove}))
        if not {*self.removed} <= {2, 3, 4, 5, 6, 7}:
            raise OptionError(f"AlexNet: layers 2 to 7 can be left out, not {list(self.removed)}")
        self.in_channels, self.size = in_channels, size
        made: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}
        layers: dict[str, Module] = {}
        channels = in_channels
        for k, (after, kernel) in enumerate([(1, 5), (2, 5), (3, 3), (3, 3), (2, 3)], 1):
            if k not in self.removed:
                layers[f"conv{k}"] = Conv2d(channels, after * width, kernel, padding=kernel // 2, **made)
                layers[f"relu{k}"] = ReLU()
                channels = after * width
            if lrn and k < 3:
                layers[f"lrn{k}"] = LocalResponseNorm(5)
            if k in (1, 2, 5):
                if size < 3:
                    raise OptionError(f"AlexNet: images of {self.size}×{self.size} are too small to be pooled thrice")
                layers[f"pool{k}"] = MaxPool2d(3, stride=2)
                size = (size - 3) // 2 + 1
        self.features = Sequential(layers)
        features = channels * size * size
        top: dict[str, Any] = {}
        for k in (6, 7):
            if k not in self.removed:
                top[f"dropout{k}"], top[f"fc{k}"] = Dropout(dropout), Linear(features, hidden, **made)
                top[f"relu{k}"] = ReLU()
                features = hidden
        top["fc8"] = Linear(features, classes, **made)
        self.classifier = Sequential(top)
        _he(self, generator)
        init.normal_(top["fc8"].weight, 0.0, 0.01, generator)  # as in the paper: the maxima leave large activations

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(flat(self.features(_images("AlexNet", x, self.in_channels, self.size))))

    def extra_repr(self) -> str:
        return f"remove={list(self.removed)}" if self.removed else ""


# ResNet


class ResNet(Module):
    """A convolution, three stages of n residual blocks of two 3×3 convolutions each, the mean over the image, a linear
    layer: depth 6n + 2

    The stages have `widths` channels; the second and third begin with stride 2, where the `shortcut` is "pad" (option
    A, no weights) or "project" (option B, 1×1 with batch norm). `variant` is that of `nn.ResidualBlock`. With
    residual=False the same convolutions stand in a plain chain. `last_survival` p_L < 1 is stochastic depth.

    Shapes: x [batch, in_channels, height, width], result [batch, classes].
    Source: He et al., "Deep residual learning", 2015, section 4.2; "Identity mappings", 2016.
    """

    def __init__(
        self, depth: int = 20, in_channels: int = 3, classes: int = 10, widths: Sequence[int] = (16, 32, 64),
        variant: str = "original", shortcut: str = "pad", residual: bool = True, last_survival: float = 1.0,
        *, generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if depth < 8 or (depth - 2) % 6:
            raise OptionError(f"ResNet: depth is 6n + 2 (8, 14, 20, …), got {depth!r}")
        if shortcut not in ("pad", "project"):
            raise OptionError(f"ResNet: shortcut is 'pad' or 'project', not {shortcut!r}")
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        n, blocks = (depth - 2) // 6, (depth - 2) // 2
        self.depth, self.in_channels, self.residual = depth, in_channels, residual

        def conv(before: int, after: int, stride: int = 1, kernel: int = 3) -> Conv2d:
            return Conv2d(before, after, kernel, stride, kernel // 2, bias=False, generator=generator, **place)

        def skip(before: int, after: int, stride: int) -> Module | None:
            if before == after and stride == 1:
                return None
            if shortcut == "pad":
                return PaddedShortcut(before, after, stride)
            return Sequential(conv(before, after, stride, 1), BatchNorm2d(after, **place))

        before, done = widths[0], 0
        norm_first = variant == "preactivation" and residual
        stem: list[Module] = [] if norm_first else [BatchNorm2d(before, **place), ReLU()]
        self.stem = Sequential(conv(in_channels, before), *stem)
        self.stages = Sequential()
        for stage, after in enumerate(widths):
            self.stages.append(blocks_here := Sequential())
            for k in range(n):
                stride, done = 2 if stage and not k else 1, done + 1
                pair = [conv(before, after, stride), conv(after, after)]
                norms = [BatchNorm2d(before if norm_first else after, **place), BatchNorm2d(after, **place)]
                block: Module
                if residual:
                    survival = survival_probability(done, blocks, last_survival)
                    block = ResidualBlock(
                        pair, norms, ReLU, variant, skip(before, after, stride), survival, generator=generator
                    )
                else:
                    block = Sequential(pair[0], norms[0], ReLU(), pair[1], norms[1], ReLU())
                blocks_here.append(block)
                before = after
        ends_in_sum = residual and variant not in ("original", "norm_after_addition")
        self.last = Sequential(BatchNorm2d(before, **place), ReLU()) if ends_in_sum else Sequential()
        self.out = Linear(before, classes, generator=generator, **place)
        _he(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.stages(self.stem(_images("ResNet", x, self.in_channels, None))))
        return self.out(x.mean(axis=(2, 3)))


def resnet(n: int, **options: Any) -> ResNet:
    """The ResNet of 6n + 2 layers: n = 3, 5, 7, 9, 18 are the paper's ResNet-20, 32, 44, 56 and 110."""
    return ResNet(6 * n + 2, **options)


# DenseNet and GoogLeNet


class DenseNet(Module):
    """A convolution, dense blocks with transitions between them, norm, the mean over the image, a linear layer

    `blocks` are the layers of each dense block, `growth` the maps that each adds. A transition keeps the share
    `compression` of the maps. `bottleneck` puts a 1×1 convolution before each 3×3 (DenseNet-BC, with compression ½).

    Shapes: x [batch, in_channels, height, width], result [batch, classes].
    Source: Huang et al., "Densely connected convolutional networks", 2017.
    """

    def __init__(
        self, in_channels: int = 3, classes: int = 10, growth: int = 12, blocks: Sequence[int] = (4, 4, 4),
        compression: float = 0.5, bottleneck: bool = False, dropout: float = 0.0,
        *, generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if not 0 < compression <= 1:
            raise OptionError(
                f"DenseNet: compression is the share of maps that is kept, in (0, 1], got {compression!r}"
            )
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        channels, self.in_channels = 2 * growth, in_channels
        layers: list[Module] = [Conv2d(in_channels, channels, 3, padding=1, bias=False, generator=generator, **place)]
        for k, count in enumerate(blocks):
            block = DenseConvBlock(channels, growth, count, bottleneck, dropout, generator=generator, **place)
            layers.append(block)
            channels = block.out_channels
            if k < len(blocks) - 1:
                kept = max(1, int(channels * compression))
                layers.append(Transition(channels, kept, generator=generator, **place))
                channels = kept
        self.features = Sequential(*layers, BatchNorm2d(channels, **place), ReLU())
        self.out = Linear(channels, classes, generator=generator, **place)
        _he(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.features(_images("DenseNet", x, self.in_channels, None)).mean(axis=(2, 3)))


class GoogLeNet(Module):
    """A convolution, inception blocks in two stages, the mean over the image, dropout, a linear layer

    A small net in GoogLeNet's manner: four inception blocks, a maximum over 3×3 with stride 2 after the stem and after
    two of them. `width` w scales all: the blocks give 4w, 6w, 8w and 10w channels.

    Shapes: x [batch, in_channels, height, width], result [batch, classes].
    Source: Szegedy et al., "Going deeper with convolutions", 2015.
    """

    def __init__(
        self, in_channels: int = 3, classes: int = 10, width: int = 16, dropout: float = 0.2,
        *, generator: Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if width < 4 or width % 4:
            raise OptionError(f"GoogLeNet: width is a multiple of 4, got {width!r}")
        place: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}
        self.in_channels = in_channels
        channels = 2 * width
        self.stem = Sequential(ConvNormAct(in_channels, channels, 3, **place), MaxPool2d(3, stride=2, padding=1))
        self.blocks = Sequential()
        for k, size in enumerate((4, 6, 8, 10)):
            unit = size * width // 8  # of the channels: 1×1 two eighths, 3×3 four, 5×5 one, pool one
            block = Inception(channels, 2 * unit, 3 * unit, 4 * unit, max(1, unit // 2), unit, unit, **place)
            self.blocks.append(block)
            channels = block.out_channels
            if k == 1:
                self.blocks.append(MaxPool2d(3, stride=2, padding=1))
        self.dropout = Dropout(dropout)
        self.out = Linear(channels, classes, **place)
        _he(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(_images("GoogLeNet", x, self.in_channels, None)))
        return self.out(self.dropout(x.mean(axis=(2, 3))))
