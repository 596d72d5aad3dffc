"""Convolution and pooling in one, two or three dimensions of space.

Convolution is linear in the image and in the kernel, each by itself. With the cotangent it makes one trilinear form,

    ⟨g, convolution(x, w)⟩ = Σ g[b, o, p] w[o, c, k] x[b, c, p s + k d]

and what is to its left, to its right and in its middle are the three operations here. Each is the adjoint of the
others, so derivatives of every order are again these three. Pooling works along one axis; more are taken in turn.

Padding is a pair (before, after) an axis of space, or one number for all.
"""

from __future__ import annotations

from ..op import constant, general, linear, multilinear


def each(value, n, name):
    """A number for every axis of space, of one number or of n."""
    if value.__class__ is tuple and len(value) == n:
        return value
    values = (value,) * n if isinstance(value, int) else tuple(value)
    if len(values) != n:
        raise ValueError(f"{name} has {len(values)} entries for {n} dimensions of space; pass one number, or {n}")
    return values


def pairs(padding, n):
    """(before, after) for every axis of space."""
    return tuple([p if p.__class__ is tuple else (p, p) for p in each(padding, n, "padding")])


def geometry(n, stride, padding, dilation):
    """Stride, padding and dilation of every one of n axes of space."""
    stride, dilation = each(stride, n, "stride"), each(dilation, n, "dilation")
    padding = pairs(padding, n)
    if min(stride) < 1 or min(dilation) < 1 or min(map(min, padding)) < 0:
        raise ValueError(
            f"stride={stride} and dilation={dilation} are whole numbers of 1 or more, padding={padding} of 0 or more"
        )
    return stride, padding, dilation


def places(shape, kernel, stride, padding, dilation):
    """How many windows there are along every axis of space."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padded = [n + before + after for n, (before, after) in zip(shape, padding, strict=True)]
    if any([r > n or k < 1 for r, n, k in zip(reach, padded, kernel, strict=True)]):
        raise ValueError(
            f"a kernel of {list(kernel)} that reaches over {reach} entries is larger than the input of {list(shape)}, "
            f"{padded} with its padding; take a smaller kernel or dilation, or more padding"
        )
    return tuple([(n - r) // s + 1 for n, r, s in zip(padded, reach, stride, strict=True)])


def _space(x_shape, weight_shape, groups):
    """The number of dimensions of space, once the shapes fit."""
    n = len(x_shape) - 2
    if not 1 <= n <= 3 or len(weight_shape) != n + 2:
        raise ValueError(
            "wants [batch, channels, ...space] and a kernel [outputs, channels / groups, ...space] of as many "
            "dimensions, with one to three of space"
        )
    if groups < 1 or weight_shape[0] % groups:
        raise ValueError(f"{weight_shape[0]} output channels cannot be dealt out to groups={groups}")
    return n


@general
def convolution(xp, x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    """y[b, o, p] = Σ w[o, c, k] x[b, c, p s + k d] + bias[o]: the same weights at every place

    What signal processing calls correlation: the kernel is not turned round. Of several groups of channels each sees
    only its own.

    Shapes: x [batch, channels, …space], weight [outputs, channels / groups, …kernel], bias [outputs],
    y [batch, outputs, …places] with (space + padding − dilation (kernel − 1) − 1) // stride + 1 places.
    """
    n = _space(x.shape, weight.shape, groups)
    settings = geometry(n, stride, padding, dilation)
    if x.shape[1] != weight.shape[1] * groups:
        raise ValueError(
            f"the input has {x.shape[1]} channels (axis 1), the kernel is made for {weight.shape[1] * groups}"
            f"{f' (its {weight.shape[1]} times {groups} groups)' if groups > 1 else ''}"
        )
    places(x.shape[2:], weight.shape[2:], *settings)
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias has shape {list(bias.shape)}, there are {weight.shape[0]} output channels")
    return xp.convolution(x, weight, bias, *settings, groups)


@multilinear
def convolution_input(xp, u, weight, *, shape, stride=1, padding=0, dilation=1, groups=1):
    """x[b, c, i] = Σ w[o, c, k] u[b, o, p] over all p s + k d = i: the adjoint of convolution to its input

    Also called transposed convolution: every entry of u writes a kernel into an image of `shape`.

    Shapes: u [batch, outputs, …places], weight [outputs, channels / groups, …kernel], x [batch, channels, …shape].
    """
    n = _space(u.shape, weight.shape, groups)
    settings = geometry(n, stride, padding, dilation)
    shape = each(shape, n, "shape")
    if u.shape[1] != weight.shape[0]:
        raise ValueError(f"the input has {u.shape[1]} channels (axis 1), the kernel is made for {weight.shape[0]}")
    found = places(shape, weight.shape[2:], *settings)
    if found != tuple(u.shape[2:]):
        raise ValueError(f"a result of {list(shape)} has {list(found)} places for the kernel, not {list(u.shape[2:])}")
    return xp.convolution_input(u, weight, shape, *settings, groups)


@multilinear
def convolution_weight(xp, x, u, *, kernel, stride=1, padding=0, dilation=1, groups=1):
    """w[o, c, k] = Σ u[b, o, p] x[b, c, p s + k d] over b and p: the adjoint of convolution to its kernel

    Shapes: x [batch, channels, …space], u [batch, outputs, …places], w [outputs, channels / groups, …kernel].
    """
    n = _space(x.shape, u.shape, 1) if x.shape else 0
    settings = geometry(n, stride, padding, dilation)
    kernel = each(kernel, n, "kernel")
    if groups < 1 or x.shape[1] % groups or u.shape[1] % groups:
        raise ValueError(f"{x.shape[1]} and {u.shape[1]} channels cannot be dealt out to groups={groups}")
    found = places(x.shape[2:], kernel, *settings)
    if x.shape[0] != u.shape[0] or found != tuple(u.shape[2:]):
        raise ValueError(f"u must have the shape {[x.shape[0], u.shape[1], *found]}, not {list(u.shape)}")
    return xp.convolution_weight(x, u, kernel, *settings, groups)


def _forward(xp, x, weight, stride, padding, dilation, groups):
    return xp.convolution(x, weight, None, *geometry(len(x.shape) - 2, stride, padding, dilation), groups)


def _input(xp, u, weight, shape, stride, padding, dilation, groups):
    return xp.convolution_input(u, weight, shape, *geometry(len(shape), stride, padding, dilation), groups)


def _weight(xp, x, u, kernel, stride, padding, dilation, groups):
    return xp.convolution_weight(x, u, kernel, *geometry(len(kernel), stride, padding, dilation), groups)


convolution.adjoints(
    x=lambda xp, g, weight, x_shape, stride, padding, dilation, groups: _input(
        xp, g, weight, x_shape[2:], stride, padding, dilation, groups
    ),
    weight=lambda xp, g, x, weight_shape, stride, padding, dilation, groups: _weight(
        xp, x, g, weight_shape[2:], stride, padding, dilation, groups
    ),
    bias=lambda xp, g: xp.sum(g, axis=(0, *range(2, len(g.shape)))),
)
convolution.tangents(
    x=lambda xp, t, weight, stride, padding, dilation, groups: _forward(
        xp, t, weight, stride, padding, dilation, groups
    ),
    weight=lambda xp, t, x, stride, padding, dilation, groups: _forward(xp, x, t, stride, padding, dilation, groups),
    bias=lambda xp, t, y: xp.broadcast_to(xp.reshape(t, (1, t.shape[0]) + (1,) * (len(y.shape) - 2)), y.shape),
)
convolution_input.adjoints(
    u=lambda xp, g, weight, stride, padding, dilation, groups: _forward(
        xp, g, weight, stride, padding, dilation, groups
    ),
    weight=lambda xp, g, u, weight_shape, stride, padding, dilation, groups: _weight(
        xp, g, u, weight_shape[2:], stride, padding, dilation, groups
    ),
)
convolution_weight.adjoints(
    x=lambda xp, g, u, x_shape, stride, padding, dilation, groups: _input(
        xp, u, g, x_shape[2:], stride, padding, dilation, groups
    ),
    u=lambda xp, g, x, stride, padding, dilation, groups: _forward(xp, x, g, stride, padding, dilation, groups),
)


# Pooling


def _line(x_shape, axis, size, stride, padding, dilation):
    """The settings of a pooling along one axis: axis, size, stride, padding, dilation."""
    if not -len(x_shape) <= axis < len(x_shape):
        raise ValueError(f"axis {axis} is out of range for a tensor of {len(x_shape)} dimensions")
    axis %= len(x_shape)
    stride = size if stride is None else stride
    padding = padding if padding.__class__ is tuple else (padding, padding)
    reach = (size - 1) * dilation
    if stride < 1 or dilation < 1 or min(padding) < 0 or not 0 <= reach < x_shape[axis] + padding[0] + padding[1]:
        geometry(1, stride, (padding,), dilation)  # which says what is wrong
        places((x_shape[axis],), (size,), (stride,), (padding,), (dilation,))
    return axis, size, stride, padding, dilation


@general
def max_pool(xp, x, *, axis, size, stride=None, padding=0, dilation=1):
    """yₚ = max xₖ over the k of the window p, along one axis     ∂y/∂x = 1 for the largest, 0 for the others

    Windows of `size` entries, `dilation` apart, begin every `stride` (by default their size). The padding never wins.
    """
    return xp.max_pool(x, *_line(x.shape, axis, size, stride, padding, dilation))


@linear
def max_pool_spread(xp, u, x, top, *, axis, size, stride=None, padding=0, dilation=1):
    """Zeros like x, with u added where the largest entry of each window, `top`, is: the adjoint of max_pool at x"""
    return xp.max_pool_spread(u, x, top, *_line(x.shape, axis, size, stride, padding, dilation))


@linear
def max_pool_pick(xp, u, x, top, *, axis, size, stride=None, padding=0, dilation=1):
    """The entries of u where the largest of each window of x is: the derivative of max_pool at x"""
    return xp.max_pool_pick(u, x, top, *_line(x.shape, axis, size, stride, padding, dilation))


@constant
def max_pool_place(xp, x, *, axis, size, stride=None, padding=0, dilation=1):
    """The index along the axis of the largest entry of each window, the first at a tie"""
    return xp.max_pool_place(x, *_line(x.shape, axis, size, stride, padding, dilation))


def _spread(xp, g, x, y, axis, size, stride, padding, dilation):
    return xp.max_pool_spread(g, x, y, *_line(x.shape, axis, size, stride, padding, dilation))


def _pick(xp, t, x, y, axis, size, stride, padding, dilation):
    return xp.max_pool_pick(t, x, y, *_line(x.shape, axis, size, stride, padding, dilation))


max_pool.adjoints(x=_spread).tangents(x=_pick)
max_pool.at_kink("the first of several largest entries has the slope").ordered()
max_pool_spread.adjoints(
    u=lambda xp, g, x, top, axis, size, stride, padding, dilation: _pick(
        xp, g, x, top, axis, size, stride, padding, dilation
    )
)
max_pool_pick.adjoints(
    u=lambda xp, g, x, top, axis, size, stride, padding, dilation: _spread(
        xp, g, x, top, axis, size, stride, padding, dilation
    )
)


@linear
def sum_pool(xp, x, *, axis, size, stride=None, padding=0, dilation=1):
    """yₚ = Σ xₖ over the k of the window p, along one axis; its mean, times 1/size, is average pooling"""
    return xp.sum_pool(x, *_line(x.shape, axis, size, stride, padding, dilation))


@linear
def sum_pool_spread(xp, u, *, length, axis, size, stride=None, padding=0, dilation=1):
    """An axis of `length` entries, to each of which the u of all windows around it are added: adjoint of sum_pool"""
    whole = (*u.shape[:axis], length, *u.shape[axis + 1 :]) if axis != -1 else (*u.shape[:-1], length)
    return xp.sum_pool_spread(u, length, *_line(whole, axis, size, stride, padding, dilation))


sum_pool.adjoints(
    x=lambda xp, g, x_shape, axis, size, stride, padding, dilation: xp.sum_pool_spread(
        g, x_shape[axis], *_line(x_shape, axis, size, stride, padding, dilation)
    )
)
sum_pool_spread.adjoints(
    u=lambda xp, g, axis, size, stride, padding, dilation: xp.sum_pool(
        g, *_line(g.shape, axis, size, stride, padding, dilation)
    )
)
