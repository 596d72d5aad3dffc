"""The cells of recurrent nets, a time step each."""

from __future__ import annotations

from ..op import general


def _cut(xp, x, n):
    """The four gates of [..., 4n], in PyTorch's order: input, forget, candidate, output."""
    return [xp.getitem(x, (..., slice(k * n, (k + 1) * n))) for k in range(4)]


@general
def lstm_cell(xp, gates, c) -> tuple:
    """h = o tanh c′ with c′ = f c + i u: the cell forgets by f = σ(·), and takes in i u with i = σ(·), u = tanh(·)

    ∂c′/∂c = f: with the forget gate open (f ≈ 1) a gradient passes through time unshrunk. Besides h and c′ the results
    are σ of all gates, and u, which the derivatives need.

    Shapes: gates [..., 4 hidden] in the order i, f, u, o, before their activation; c, h, c′, u [..., hidden].
    Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997; the forget gate: Gers et al., 2000.
    """
    n = c.shape[-1]
    opened = xp.sigmoid(gates)
    i, f, _, o = _cut(xp, opened, n)
    candidate = xp.tanh(xp.getitem(gates, (..., slice(2 * n, 3 * n))))
    new = f * c + i * candidate
    return o * xp.tanh(new), new, opened, candidate


def _towards_cell(xp, g, y, o):
    """The whole cotangent of c′: its own, and what comes through h."""
    towards_h, towards_cell, _, _ = g
    if towards_h is None:
        return towards_cell
    top = xp.tanh(y[1])
    through = towards_h * o * (1 - top * top)
    return through if towards_cell is None else through + towards_cell


def _lstm_gates(xp, g, y, c):
    _, new, opened, candidate = y
    n = candidate.shape[-1]
    i, f, _, o = _cut(xp, opened, n)
    back = _towards_cell(xp, g, y, o)
    nothing = xp.zeros_like(c)
    parts = [nothing] * 4
    if back is not None:
        parts[:3] = [back * candidate * (i - i * i), back * c * (f - f * f), back * i * (1 - candidate * candidate)]
    if g[0] is not None:
        parts[3] = g[0] * xp.tanh(new) * (o - o * o)
    if g[3] is not None:
        parts[2] = parts[2] + g[3] * (1 - candidate * candidate)
    total = xp.concat(parts, axis=-1)
    return total if g[2] is None else total + g[2] * (opened - opened * opened)


def _lstm_c(xp, g, y):
    _, f, _, o = _cut(xp, y[2], y[3].shape[-1])
    back = _towards_cell(xp, g, y, o)
    return xp.zeros_like(y[3]) if back is None else back * f


lstm_cell.adjoints(gates=_lstm_gates, c=_lstm_c)


def _along(xp, y, o, new):
    """What a change of c′ makes of h and c′."""
    top = xp.tanh(y[1])
    return o * (1 - top * top) * new, new


def _lstm_tangent_gates(xp, t, y, c):
    _, new, opened, candidate = y
    i, _, _, o = _cut(xp, opened, candidate.shape[-1])
    t_opened = t * (opened - opened * opened)
    t_i, t_f, _, t_o = _cut(xp, t_opened, candidate.shape[-1])
    t_candidate = _cut(xp, t, candidate.shape[-1])[2] * (1 - candidate * candidate)
    t_h, t_new = _along(xp, y, o, t_f * c + t_i * candidate + i * t_candidate)
    return t_h + t_o * xp.tanh(new), t_new, t_opened, t_candidate


def _lstm_tangent_c(xp, t, y):
    _, f, _, o = _cut(xp, y[2], y[3].shape[-1])
    return (*_along(xp, y, o, f * t), xp.zeros_like(y[2]), xp.zeros_like(y[3]))


lstm_cell.tangents(gates=_lstm_tangent_gates, c=_lstm_tangent_c)
lstm_cell.on_failure(
    lambda gates, c: f"the gates of a cell of shape {c} have shape {(*c[:-1], 4 * c[-1]) if c else '(4,)'}, not {gates}"
)
