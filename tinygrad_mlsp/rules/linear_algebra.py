"""Products of matrices. (Batches lead, and broadcast; the sweep undoes the broadcast.)"""

from __future__ import annotations

from math import inf
from string import ascii_letters

from ..op import general, multilinear
from ..op import linear as linear_in_all  # `linear` is an operation here
from .reductions import axes_of, count, expand
from .shape import whole


@multilinear
def matmul(xp, a, b):
    """y = a b     a: [..., n, k]   b: [..., k, m]   y: [..., n, m]; a vector is a row left, a column right

    ā = ȳ bᵀ     b̄ = aᵀ ȳ
    """
    return xp.matmul(a, b)


def _matmul_a(xp, g, b, a_shape):
    if len(b.shape) == 1:
        return (xp.expand_dims(g, -1) if len(a_shape) > 1 else g) * b
    if len(a_shape) == 1:
        return xp.squeeze(xp.matmul(xp.expand_dims(g, -2), xp.matrix_transpose(b)), -2)
    return xp.matmul(g, xp.matrix_transpose(b))


def _matmul_b(xp, g, a, b_shape):
    if len(a.shape) == 1:
        return xp.expand_dims(a, -1) * xp.expand_dims(g, -2) if len(b_shape) > 1 else g * a
    if len(b_shape) == 1:
        return xp.squeeze(xp.matmul(xp.matrix_transpose(a), xp.expand_dims(g, -1)), -1)
    if len(b_shape) == 2 and len(a.shape) > 2:
        rows = 1
        for n in a.shape[:-1]:
            rows *= n
        a, g = xp.reshape(a, (rows, a.shape[-1])), xp.reshape(g, (rows, g.shape[-1]))
    return xp.matmul(xp.matrix_transpose(a), g)


def _inner(a, b):
    if not a or not b:
        return "a 0-d tensor has no matrix product; use *"
    k, k2 = a[-1], b[-2] if len(b) > 1 else b[0]
    if k != k2:
        return f"the inner dimensions disagree: {k} against {k2}"
    return f"the batches {a[:-2]} and {b[:-2]} disagree"


matmul.adjoints(a=_matmul_a, b=_matmul_b).on_failure(_inner)


@general
def linear(xp, x, weight, bias=None):
    """y = x Wᵀ + b     x: [..., n]   W: [m, n]   b: [m]   y: [..., m]

    x̄ = ȳ W     W̄ = ȳᵀ x, summed over the batch     b̄ = Σ ȳ
    """
    y = xp.matmul(x, xp.matrix_transpose(weight))
    if bias is not None:
        y += bias
    return y


def _linear_weight(xp, g, x):
    if len(x.shape) != 2:
        rows = 1
        for n in x.shape[:-1]:
            rows *= n
        x, g = xp.reshape(x, (rows, x.shape[-1])), xp.reshape(g, (rows, g.shape[-1]))
    return xp.matmul(xp.matrix_transpose(g), x)


linear.adjoints(x=lambda xp, g, weight: xp.matmul(g, weight), weight=_linear_weight, bias=lambda g: g)
linear.tangents(
    x=lambda xp, t, weight: xp.matmul(t, xp.matrix_transpose(weight)),
    weight=lambda xp, t, x: xp.matmul(x, xp.matrix_transpose(t)),
    bias=lambda t: t,
)


def _features(x, w, *b):
    if not x or len(w) != 2:
        return "x needs at least one dimension, weight two [out, in]"
    if b and b[0] != w[:1]:
        return f"bias has shape {b[0]}, weight gives {w[:1]}"
    return f"x has {x[-1]} features in its last dimension, weight takes {w[-1]}"


linear.on_failure(_features)


@multilinear
def einsum(xp, arrays: list, *, equation):
    """y = the products of the arrays summed as the equation says ("ij,jk->ik")"""
    return xp.einsum(equation, *arrays)


def explicit(equation, shapes):
    """An equation's operands and result as strings of single letters, ellipses and implied results spelled out."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    operands = left.split(",")
    if len(operands) != len(shapes):
        raise ValueError(f"einsum: the equation {equation!r} has {len(operands)} operands, {len(shapes)} were given")
    spare = [c for c in ascii_letters if c not in equation]
    extra = [len(s) - len(o.replace("...", "")) if "..." in o else 0 for o, s in zip(operands, shapes, strict=True)]
    dots = spare[: max(extra, default=0)]
    if not arrow:
        letters = left.replace("...", "").replace(",", "")
        right = ("..." if "..." in left else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    operands = [o.replace("...", "".join(dots[len(dots) - n :])) for o, n in zip(operands, extra, strict=True)]
    return operands, right.replace("...", "".join(dots))


def _einsum_parts(xp, g, arrays, equation, needed):
    """For one operand: the cotangent times the other operands, summed over what the operand lacks."""
    operands, result = explicit(equation, [a.shape for a in arrays])
    parts = []
    for i, wanted in enumerate(needed):
        if not wanted:
            parts.append(None)
            continue
        mine, target, deltas, delta_names = operands[i], "", [], []
        spare = iter([c for c in ascii_letters if c not in "".join(operands)])
        for axis, letter in enumerate(mine):  # a repeated letter picks a diagonal: δ puts it back
            if letter in target:
                fresh = next(spare)
                deltas.append(xp.eye_like(g, arrays[i].shape[axis]))
                delta_names.append(letter + fresh)
                target += fresh
            else:
                target += letter
        rest = [o for k, o in enumerate(operands) if k != i]
        inputs = [result, *rest, *delta_names]
        available = set("".join(inputs))
        found = "".join(c for c in target if c in available)
        values = [g, *(a for k, a in enumerate(arrays) if k != i), *deltas]
        part = xp.einsum(",".join(inputs) + "->" + found, *values)
        shape, at = [], 0
        for c in target:  # a letter that nobody else has was summed over alone: its cotangent is constant along it
            shape.append(part.shape[at] if c in available else 1)
            at += c in available
        sizes = tuple(arrays[i].shape)
        if tuple(shape) != sizes:
            whole = tuple(b if a == 1 else a for a, b in zip(shape, sizes, strict=True))
            part = xp.broadcast_to(xp.reshape(part, tuple(shape)), whole)
        parts.append(part)
    return parts


einsum.adjoints(arrays=_einsum_parts)


@multilinear
def outer(xp, a, b):
    """yᵢⱼ = aᵢ bⱼ     a: [n]   b: [m]   y: [n, m]     ā = ȳ b     b̄ = ȳᵀ a"""
    if len(a.shape) != 1 or len(b.shape) != 1:
        raise ValueError("takes two vectors; of matrices, tensordot(a, b, axes=0) or kron makes the products")
    return xp.expand_dims(a, -1) * b


outer.adjoints(a=lambda xp, g, b: xp.matmul(g, b), b=lambda xp, g, a: xp.matmul(a, g))


@multilinear
def vecdot(xp, a, b, *, axis=-1):
    """y = Σ conj(a) b along an axis     ā = conj(ȳ b)     b̄ = ȳ conj(a)"""
    _same_axis(a, b, axis)
    products = (xp.conj(a) if a.dtype.kind == "c" else a) * b
    y = xp.sum(products, axis=axis)
    return y if products.dtype.kind in "fc" else xp.astype(y, products.dtype)  # no wider, as matmul


def _same_axis(a, b, axis, n=None):
    """The two have as many entries along the axis, and agree where it is."""
    shapes = a.shape, b.shape
    shorter = len(shapes[0]) if len(shapes[0]) < len(shapes[1]) else len(shapes[1])
    if not shorter:
        raise ValueError("takes tensors with at least one axis, not a number")
    if not -shorter <= axis < shorter or (axis >= 0 and len(shapes[0]) != len(shapes[1])):
        raise ValueError(f"axis {axis} is not one of both; count it from the end, from -1 to -{shorter}")
    wanted = shapes[0][axis] if n is None else n
    if shapes[0][axis] != wanted or shapes[1][axis] != wanted:
        only = "" if n is None else f", where {n} and {n} belong"
        raise ValueError(f"along axis {axis} they have {shapes[0][axis]} and {shapes[1][axis]} entries{only}")


vecdot.adjoints(
    a=lambda xp, g, b, axis: _conjugate(xp, xp.expand_dims(g, axis) * b),
    b=lambda xp, g, a, axis: xp.expand_dims(g, axis) * _conjugate(xp, a),
)


def _conjugate(xp, a):
    return xp.conj(a) if a.dtype.kind == "c" else a


@multilinear
def cross(xp, a, b, *, axis=-1):
    """y = a × b, of vectors of three along an axis     ā = b × ȳ     b̄ = ȳ × a"""
    _same_axis(a, b, axis, 3)
    return xp.cross(a, b, axis=axis)


cross.adjoints(a=lambda xp, g, b, axis: xp.cross(b, g, axis=axis), b=lambda xp, g, a, axis: xp.cross(g, a, axis=axis))


@linear_in_all
def diagonal(xp, x, *, offset=0, axis1=0, axis2=1):
    """y = the entries of x on a diagonal of two axes, as the last axis: of a matrix xᵢⱼ with j − i = offset"""
    return xp.diagonal(x, offset, axis1, axis2)


def _on_diagonal(xp, g, shape, offset, axis1, axis2):
    """Zeros of `shape` with g on the diagonal: every (m + 1)th entry of the matrices' entries in a row."""
    ndim = len(shape)
    axis1, axis2 = axis1 % ndim, axis2 % ndim
    order = (*(a for a in range(ndim) if a not in (axis1, axis2)), axis1, axis2)
    moved = tuple([shape[a] for a in order])
    n, m = moved[-2:]
    start = offset if offset >= 0 else -offset * m
    k = g.shape[-1]
    flat = (*moved[:-2], n * m)
    place = slice(start, start + (k - 1) * (m + 1) + 1, m + 1) if k else slice(0, 0)
    whole = xp.reshape(xp.scatter_at(g, (..., place), flat), moved)
    return xp.permute_dims(whole, tuple([order.index(a) for a in range(ndim)]))


def _planes(shape):
    return "takes a tensor with at least two axes" if len(shape) < 2 else ""


diagonal.adjoints(
    x=lambda xp, g, x_shape, offset, axis1, axis2: _on_diagonal(xp, g, x_shape, offset, axis1, axis2)
).on_failure(_planes)


@linear_in_all
def trace(xp, x, *, offset=0, axis1=0, axis2=1):
    """y = Σ of a diagonal of two axes     x̄ = ȳ on it, 0 elsewhere"""
    return xp.sum(xp.diagonal(x, offset, axis1, axis2), axis=-1)


def _trace_back(xp, g, x_shape, offset, axis1, axis2):
    n, m = x_shape[axis1], x_shape[axis2]
    n, m = (n, m - offset) if offset >= 0 else (n + offset, m)
    k = n if n < m else m
    g = xp.broadcast_to(xp.expand_dims(g, -1), (*g.shape, k if k > 0 else 0))
    return _on_diagonal(xp, g, x_shape, offset, axis1, axis2)


trace.adjoints(x=_trace_back).on_failure(_planes)


@linear_in_all
def tril(xp, x, *, k=0):
    """y = x below its kth diagonal and on it, 0 above"""
    return xp.tril(_plane(x), whole("k", k))


@linear_in_all
def triu(xp, x, *, k=0):
    """y = x above its kth diagonal and on it, 0 below"""
    return xp.triu(_plane(x), whole("k", k))


def _plane(x):
    if len(x.shape) < 2:
        raise ValueError("takes a tensor with at least two axes")  # NumPy would make a matrix of a vector
    return x


tril.adjoints(x=lambda xp, g, k: xp.tril(g, k))
triu.adjoints(x=lambda xp, g, k: xp.triu(g, k))


@general
def vector_norm(xp, x, *, axis=None, keepdims=False, ord=2):
    """y = (Σ |x|ᵖ)^(1/p), p = ord     ∂y/∂x = (|x|/y)^(p − 1) sign x, and sign x is x̄/|x| where x is complex

    ord may be any number: ∞ and −∞ give the largest and smallest |x|, 0 counts what is not 0. Entries are divided by
    the largest of them first, so nothing overflows or vanishes on the way.
    """
    if ord != ord:
        raise ValueError("ord is a number, inf or −inf, not nan")
    a = xp.abs(x)
    if ord == inf:
        return xp.max(a, axis=axis, keepdims=keepdims)
    if ord == -inf:
        return xp.min(a, axis=axis, keepdims=keepdims)
    if ord == 0:
        return xp.astype(xp.sum(a != 0, axis=axis, keepdims=keepdims), a.dtype)
    if ord == 1 or not count(x.shape, axis):
        return xp.sum(a, axis=axis, keepdims=keepdims)
    most = (xp.max if ord > 0 else xp.min)(a, axis=axis, keepdims=True)
    scale = xp.where((most == 0) | ~xp.isfinite(most), 1, most)
    a = (a if ord > 0 else xp.where(a == 0, 1, a)) / scale
    folded = a * a if ord == 2 else xp.pow(a, ord)
    total = xp.sum(folded, axis=axis, keepdims=True)
    y = scale * (xp.sqrt(total) if ord == 2 else xp.pow(total, 1 / ord))
    if ord < 0:
        y = xp.where(most == 0, 0, y)
    return xp.reshape(y, reduced(x.shape, axis, keepdims))


def reduced(shape, axis, keepdims):
    """The shape that a reduction leaves."""
    folded = axes_of(axis, len(shape))
    return tuple([1 if a in folded else n for a, n in enumerate(shape) if keepdims or a not in folded])


def _norm_slope(xp, x, y, axis, keepdims, ord):
    a, y = xp.abs(x), expand(xp, y, x.shape, axis, keepdims)
    phase = xp.conj(x) / xp.where(a == 0, inf, a) if x.dtype.kind == "c" else xp.sign(x)
    if ord in (inf, -inf):
        won = xp.astype(a == y, a.dtype)
        return phase * (won / xp.sum(won, axis=axis, keepdims=True))
    if ord == 2:
        return _conjugate(xp, x) / xp.where(y == 0, inf, y)
    if ord == 1:
        return phase
    ratio = xp.where((a == 0) | (y == 0), 1, a) / xp.where((a == 0) | (y == 0), 1, y)
    return phase * xp.pow(ratio, ord - 1) * (y != 0)


def _norm_back(xp, g, x, y, axis, keepdims, ord):
    if ord == 0:
        return xp.zeros_like(x)
    return expand(xp, g, x.shape, axis, keepdims) * _norm_slope(xp, x, y, axis, keepdims, ord)


def _norm_forth(xp, t, x, y, axis, keepdims, ord):
    if ord == 0:
        return xp.zeros_like(y)
    return xp.sum(xp.real(_norm_slope(xp, x, y, axis, keepdims, ord) * t), axis=axis, keepdims=keepdims)


vector_norm.adjoints(x=_norm_back).tangents(x=_norm_forth)
vector_norm.at_kink("0 at 0, and for an entry of 0; ties of ∞ and −∞ share the slope equally")
