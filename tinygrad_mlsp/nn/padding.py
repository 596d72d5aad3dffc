"""Borders around the space of an image: zeros, a constant, its mirror image, its edge, or its other end."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

from ..errors import OptionError
from ..tensor import Tensor
from . import functional
from .functional.convolution import Ints, given_back, images
from .module import Module


class _Pad(Module):
    n: int
    mode: str

    def __init__(self, padding: Ints) -> None:
        sides = 2 * self.n
        try:
            values = tuple(map(index, padding)) if isinstance(padding, Sequence) else (index(padding),) * sides
        except TypeError:
            values = ()
        if len(values) != sides:
            raise OptionError(
                f"{type(self).__name__}: padding is a whole number, or {sides} of them, (before, after) of the last "
                f"axis first, not {padding!r}"
            )
        self.padding = values

    def forward(self, x: Tensor) -> Tensor:
        x, batched = images(type(self).__name__, x, self.n)
        return given_back(functional.pad(x, self.padding, self.mode), batched)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Ints, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Ints) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """A border of `value` around the last axis; a negative number cuts off

    `padding` is one number, or (left, right).

    Shapes: any with so many axes.
    """

    n = 1


class ConstantPad2d(_ConstantPad):
    """A border of `value` around the last two axes; a negative number cuts off

    `padding` is one number, or (left, right, top, bottom).

    Shapes: any with so many axes.
    """

    n = 2


class ConstantPad3d(_ConstantPad):
    """A border of `value` around the last three axes; a negative number cuts off

    `padding` is one number, or (left, right, top, bottom, front, back).

    Shapes: any with so many axes.
    """

    n = 3


class ZeroPad1d(_ZeroPad):
    """A border of zeros around the last axis; a negative number cuts off

    `padding` is one number, or (left, right).

    Shapes: any with so many axes.
    """

    n = 1


class ZeroPad2d(_ZeroPad):
    """A border of zeros around the last two axes; a negative number cuts off

    `padding` is one number, or (left, right, top, bottom).

    Shapes: any with so many axes.
    """

    n = 2


class ZeroPad3d(_ZeroPad):
    """A border of zeros around the last three axes; a negative number cuts off

    `padding` is one number, or (left, right, top, bottom, front, back).

    Shapes: any with so many axes.
    """

    n = 3


class ReflectionPad1d(_Pad):
    """A border that mirrors the last axis about the edge entries, which are not repeated

    `padding` is one number, or (left, right).

    Shapes: [batch, channels, length] or [channels, length].
    """

    n = 1
    mode = "reflect"


class ReflectionPad2d(_Pad):
    """A border that mirrors the last two axes about the edge entries, which are not repeated

    `padding` is one number, or (left, right, top, bottom).

    Shapes: [batch, channels, height, width] or without a batch.
    """

    n = 2
    mode = "reflect"


class ReflectionPad3d(_Pad):
    """A border that mirrors the last three axes about the edge entries, which are not repeated

    `padding` is one number, or (left, right, top, bottom, front, back).

    Shapes: [batch, channels, depth, height, width] or without a batch.
    """

    n = 3
    mode = "reflect"


class ReplicationPad1d(_Pad):
    """A border that repeats the edge entries of the last axis

    `padding` is one number, or (left, right).

    Shapes: [batch, channels, length] or [channels, length].
    """

    n = 1
    mode = "replicate"


class ReplicationPad2d(_Pad):
    """A border that repeats the edge entries of the last two axes

    `padding` is one number, or (left, right, top, bottom).

    Shapes: [batch, channels, height, width] or without a batch.
    """

    n = 2
    mode = "replicate"


class ReplicationPad3d(_Pad):
    """A border that repeats the edge entries of the last three axes

    `padding` is one number, or (left, right, top, bottom, front, back).

    Shapes: [batch, channels, depth, height, width] or without a batch.
    """

    n = 3
    mode = "replicate"


class CircularPad1d(_Pad):
    """A border that goes on at the other end of the last axis

    `padding` is one number, or (left, right).

    Shapes: [batch, channels, length] or [channels, length].
    """

    n = 1
    mode = "circular"


class CircularPad2d(_Pad):
    """A border that goes on at the other end of the last two axes

    `padding` is one number, or (left, right, top, bottom).

    Shapes: [batch, channels, height, width] or without a batch.
    """

    n = 2
    mode = "circular"


class CircularPad3d(_Pad):
    """A border that goes on at the other end of the last three axes

    `padding` is one number, or (left, right, top, bottom, front, back).

    Shapes: [batch, channels, depth, height, width] or without a batch.
    """

    n = 3
    mode = "circular"
