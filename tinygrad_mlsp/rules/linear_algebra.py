"""Products of matrices. (Batches lead, and broadcast; the sweep undoes the broadcast.)"""

from __future__ import annotations

from string import ascii_letters

from ..op import general, multilinear


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
