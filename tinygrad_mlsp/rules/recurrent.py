"""Recurrent nets: a time step of a cell, and whole sequences as one operation."""

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


# Whole sequences, each one operation: [x; h; 1] meets all weights in one product a step, and the weights' gradients are
# one product over all steps. Inside, a step's arrays are [features, batch], so that a gate is one piece of memory.


def _features_first(xp, a):
    """[time, batch, features] as [time, features, batch], and back."""
    return xp.permute_dims(a, (0, 2, 1))


def _rows(xp, a, n, parts):
    """[time, features, batch] in so many parts of n features."""
    return [xp.getitem(a, (slice(None), slice(j * n, (j + 1) * n))) for j in range(parts)]


def _part(xp, a, start, stop):
    """Rows of an array."""
    return xp.getitem(a, slice(start, stop))


def _columns(xp, a, start, stop):
    return xp.getitem(a, (slice(None), slice(start, stop)))


def _in_turn(steps, reverse):
    """The steps in the order in which the net goes through them."""
    return range(steps - 1, -1, -1) if reverse else range(steps)


def _held(xp, new, old, active):
    """Where a sequence is over, or in reverse has not begun, the state stays: in all columns but the first `active`."""
    if active is None or active == old.shape[1]:
        return new
    return xp.concat([_columns(xp, new, None, active), _columns(xp, old, active, None)], axis=1)


def _parted(xp, g, active):
    """The cotangent of a state, in two: what goes through the step, and what went past it (None for nothing)."""
    if active is None or active == g.shape[1]:
        return g, None
    through, past = _columns(xp, g, None, active), _columns(xp, g, active, None)
    first, last = xp.zeros_like(through), xp.zeros_like(past)
    return xp.concat([through, last], axis=1), xp.concat([first, past], axis=1)


def _sum_of(*parts):
    """The sum of those that are there."""
    found = [p for p in parts if p is not None]
    total = found[0]
    for part in found[1:]:
        total = total + part
    return total


def _actives(sizes, steps, batch):
    """How many sequences take part in each step; None for all."""
    if sizes is None:
        return [None] * steps
    falls = all(a >= b for a, b in zip((batch, *sizes), (*sizes, 0), strict=True))
    if len(sizes) != steps or not falls:
        raise ValueError(f"sizes are {steps} whole numbers that do not rise, from at most {batch}; got {list(sizes)}")
    return list(sizes)


def _before(xp, states, start, reverse):
    """The state that each step began with: [time, batch, hidden]."""
    start = xp.expand_dims(start, 0)
    if reverse:
        return xp.concat([xp.getitem(states, slice(1, None)), start], axis=0)
    return xp.concat([start, xp.getitem(states, slice(0, -1))], axis=0)


def _flat(xp, a):
    """[time, batch, features] as rows."""
    return xp.reshape(a, (a.shape[0] * a.shape[1], a.shape[2]))


class _Steps:
    """The steps' arrays [features, batch], collected as one. Numbers are written to their place at once, while they
    are in the cache; a graph, or a formula, has its arrays stacked at the end."""

    def __init__(self, xp, steps, axis=0):
        self.xp, self.axis, self.places = xp, axis, [None] * steps
        self.whole = None

    def put(self, k, a):
        """The array of step k."""
        if self.whole is None:
            if not hasattr(self.xp, "module"):
                self.places[k] = a
                return
            steps = len(self.places)
            shape = (steps, *a.shape) if self.axis == 0 else (a.shape[0], steps, a.shape[1])
            self.whole = self.xp.empty(shape, dtype=a.dtype)
            self.places = self.whole if self.axis == 0 else self.whole.swapaxes(0, 1)
        self.places[k] = a

    def all(self):
        """[time, features, batch], or [features, time, batch] along axis 1."""
        return self.xp.stack(self.places, axis=self.axis) if self.whole is None else self.whole


def _collected(xp, steps, names):
    return [_Steps(xp, steps) for _ in range(names)]


def _put(places, k, arrays):
    for place, a in zip(places, arrays):
        place.put(k, a)


def _over_time(xp, places):
    """Each as one [time, batch, features]."""
    return tuple([_features_first(xp, place.all()) for place in places])


def _side_by_side(xp, place):
    """[features, time · batch]"""
    whole = place.all()
    return xp.reshape(whole, (whole.shape[0], whole.shape[1] * whole.shape[2]))


def _turned(xp, a, first):
    """The rows from `first` on, then the others."""
    return xp.concat([xp.getitem(a, slice(first, None)), xp.getitem(a, slice(0, first))], axis=0)


def _checked(arrays, gates, kind, states, bias):
    """The shapes of a sequence's arrays fit, or a ValueError says which does not."""
    x, start, *rest = arrays
    if len(x.shape) != 3 or not x.shape[0] or len(start.shape) != 2:
        raise ValueError(f"{kind}: x is [time, batch, features] with time ≥ 1, h [batch, hidden]")
    (steps, batch, features), n = x.shape, start.shape[1]
    rows = gates * n
    wanted = [(batch, n)] * states + [(rows, features), (rows, n), *[(rows,)] * bias]
    found = [tuple(a.shape) for a in (start, *rest)]
    if found not in (wanted, wanted[: len(wanted) - bias]):
        raise ValueError(f"{kind}: the shapes after x are {found}; {wanted} fit, the biases left out or not")
    return steps, batch, features, n


def _filled(xp, tangents, arrays):
    """The tangents, zeros for absent ones."""
    return [xp.zeros_like(a) if t is None else t for t, a in zip(tangents, arrays, strict=True)]


def _weights_in_one(xp, arrays):
    """[W_ih W_hh b], the bias where there is one."""
    w_ih, w_hh, *bias = arrays
    return xp.concat([w_ih, w_hh, *[xp.expand_dims(b, -1) for b in bias]], axis=1)


def _column_of_ones(xp, h, bias):
    """What the bias is multiplied by, where there is one."""
    return [xp.ones_like(_part(xp, h, 0, 1))] if bias else []


def _weights_back(xp, moved, x, before, bias):
    """The cotangents of W_ih, W_hh and b, from those of all gates [gates, time · batch], in one product."""
    ones = [xp.ones_like(xp.getitem(before, (..., slice(0, 1))))] if bias else []
    whole, n = xp.matmul(moved, _flat(xp, xp.concat([x, before, *ones], axis=2))), x.shape[2]
    m = n + before.shape[2]
    return [_columns(xp, whole, 0, n), _columns(xp, whole, n, m), *[xp.getitem(whole, (slice(None), m)) for _ in ones]]


# LSTM. The gates' rows in turn are o, i, f, u inside: the three that σ opens are one piece, and so are the three
# whose cotangents come through the cell.


def _halved(xp, weight, rows):
    """The first rows halved, for σ z = ½ + ½ tanh ½z."""
    return xp.concat([_part(xp, weight, 0, rows) * 0.5, _part(xp, weight, rows, None)], axis=0)


@general
def lstm_sequence(xp, arrays: list, *, reverse=False, sizes=None) -> tuple:
    """hₜ = oₜ tanh cₜ with cₜ = fₜ cₜ₋₁ + iₜ uₜ, for t = 1 … T, or T … 1 in reverse

    The gates are σ, and for u tanh, of W_ih xₜ + W_hh hₜ₋₁ + b. `arrays` is [x, h₀, c₀, W_ih, W_hh] and b, if there is
    one. `sizes` is how many sequences take part in each step: the others' state stays. Besides h and c of all steps
    the results are σ of o, i, f, and u, which the derivatives need. One tanh does for all gates, σ z = ½ + ½ tanh ½z: a
    gate is right within a rounding of 1, and of a closed one fewer digits hold than `sigmoid` has.

    Shapes: x [time, batch, features]; h₀, c₀ [batch, hidden]; W_ih [4 hidden, features], W_hh [4 hidden, hidden] and
    b [4 hidden] in the order i, f, u, o; h, c, u [time, batch, hidden], σ [time, batch, 3 hidden] in the order o, i, f.
    Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997; the forget gate: Gers et al., 2000.
    """
    steps, batch, _, n = _checked(arrays, 4, "lstm_sequence", 2, 1)
    x, h, c, *weights = arrays
    active = _actives(sizes, steps, batch)
    weight = _halved(xp, _turned(xp, _weights_in_one(xp, weights), 3 * n), 3 * n)
    x, h, c = _features_first(xp, x), xp.matrix_transpose(h), xp.matrix_transpose(c)
    ones = _column_of_ones(xp, h, len(weights) > 2)
    found = _collected(xp, steps, 4)
    for k in _in_turn(steps, reverse):
        gates = xp.tanh(xp.matmul(weight, xp.concat([xp.getitem(x, k), h, *ones], axis=0)))
        opened, u = _part(xp, gates, 0, 3 * n) * 0.5, _part(xp, gates, 3 * n, None)
        opened += 0.5
        o, i, f = [_part(xp, opened, j * n, (j + 1) * n) for j in range(3)]
        new = f * c + i * u
        h, c = _held(xp, o * xp.tanh(new), h, active[k]), _held(xp, new, c, active[k])
        _put(found, k, (h, c, opened, u))
    return _over_time(xp, found)


def _lstm_sequence_back(xp, g, arrays, y, needed, reverse, sizes):
    x, h, c, w_ih, w_hh, *bias = arrays
    (steps, batch, _), n = x.shape, h.shape[1]
    active = _actives(sizes, steps, batch)
    to_h, to_c, to_opened, to_u = [None if part is None else _features_first(xp, part) for part in g]
    _, cells, opened, us = [_features_first(xp, part) for part in y]
    os, is_, fs = _rows(xp, opened, n, 3)
    back = xp.matrix_transpose(_turned(xp, w_hh, 3 * n))
    h_bar, first = xp.zeros_like(xp.matrix_transpose(h)), xp.matrix_transpose(c)
    c_bar, found, order = h_bar, _Steps(xp, steps, 1), _in_turn(steps, reverse)
    for k in reversed(order):
        before = first if k == order[0] else xp.getitem(cells, k + 1 if reverse else k - 1)
        s, u, top = xp.getitem(opened, k), xp.getitem(us, k), xp.tanh(xp.getitem(cells, k))
        o, i, f = xp.getitem(os, k), xp.getitem(is_, k), xp.getitem(fs, k)
        h_bar = h_bar if to_h is None else h_bar + xp.getitem(to_h, k)
        c_bar = c_bar if to_c is None else c_bar + xp.getitem(to_c, k)
        h_past = c_past = None
        if active[k] is not None:
            h_bar, h_past = _parted(xp, h_bar, active[k])
            c_bar, c_past = _parted(xp, c_bar, active[k])
        shown = h_bar * top
        through = 1 - top * top
        through *= h_bar
        through *= o
        through += c_bar
        c_bar = through
        open_bar, u_bar = xp.concat([shown, c_bar * u, c_bar * before], axis=0), c_bar * i
        if to_opened is not None:
            open_bar += xp.getitem(to_opened, k)
        if to_u is not None:
            u_bar += xp.getitem(to_u, k)
        open_bar *= s - s * s
        u_bar *= 1 - u * u
        moved = xp.concat([open_bar, u_bar], axis=0)
        found.put(k, moved)
        h_bar = _sum_of(xp.matmul(back, moved), h_past)
        c_bar = _sum_of(c_bar * f, c_past)
    moved = _side_by_side(xp, found)
    x_bar = None
    if needed[0]:
        x_bar = xp.reshape(xp.matmul(xp.matrix_transpose(moved), _turned(xp, w_ih, 3 * n)), x.shape)
    weights = _weights_back(xp, moved, x, _before(xp, y[0], h, reverse), bias)
    weights = [_turned(xp, w, n) for w in weights]  # in the order i, f, u, o again
    return [x_bar, xp.matrix_transpose(h_bar), xp.matrix_transpose(c_bar), *weights]


def _lstm_sequence_forth(xp, t, arrays, y, reverse, sizes):
    x, h, c, *weights = arrays
    (steps, batch, _), n = x.shape, h.shape[1]
    active = _actives(sizes, steps, batch)
    t_x, t_h, t_c, *t_weights = _filled(xp, t, arrays)
    weight, t_weight = [_turned(xp, _weights_in_one(xp, w), 3 * n) for w in (weights[:2], t_weights)]
    cells, opened, us = [_features_first(xp, part) for part in y[1:]]
    x, t_x, hs = [_features_first(xp, a) for a in (x, t_x, _before(xp, y[0], h, reverse))]
    c, t_h, t_c = [xp.matrix_transpose(a) for a in (c, t_h, t_c)]
    ones = _column_of_ones(xp, c, len(weights) > 2)
    found = _collected(xp, steps, 4)
    for k in _in_turn(steps, reverse):
        s, u = xp.getitem(opened, k), xp.getitem(us, k)
        t_gates = xp.matmul(t_weight, xp.concat([xp.getitem(x, k), xp.getitem(hs, k), *ones], axis=0))
        t_gates = t_gates + xp.matmul(weight, xp.concat([xp.getitem(t_x, k), t_h], axis=0))
        t_s, t_u = _part(xp, t_gates, 0, 3 * n) * (s - s * s), _part(xp, t_gates, 3 * n, None) * (1 - u * u)
        o, i, f = [_part(xp, s, j * n, (j + 1) * n) for j in range(3)]
        t_o, t_i, t_f = [_part(xp, t_s, j * n, (j + 1) * n) for j in range(3)]
        new = t_f * c + f * t_c + t_i * u + i * t_u
        c = xp.getitem(cells, k)
        top = xp.tanh(c)
        t_h = _held(xp, t_o * top + o * (1 - top * top) * new, t_h, active[k])
        t_c = _held(xp, new, t_c, active[k])
        _put(found, k, (t_h, t_c, t_s, t_u))
    return _over_time(xp, found)


lstm_sequence.adjoints(arrays=_lstm_sequence_back).tangents(arrays=_lstm_sequence_forth)


# GRU. Its candidate sees r (W_hn h + b_hn), so both sides' biases stay apart.


@general
def gru_sequence(xp, arrays: list, *, reverse=False, sizes=None) -> tuple:
    """hₜ = uₜ + zₜ (hₜ₋₁ − uₜ) with uₜ = tanh(W_in xₜ + b_in + rₜ qₜ) and qₜ = W_hn hₜ₋₁ + b_hn, for t = 1 … T

    r and z are σ of W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh. `arrays` is [x, h₀, W_ih, W_hh] and b_ih, b_hh, if there are
    any; `reverse` and `sizes` as for `lstm_sequence`. Besides h the results are r and z, u, and q.

    Shapes: x [time, batch, features]; h₀ [batch, hidden]; W_ih [3 hidden, features], W_hh [3 hidden, hidden], b_ih and
    b_hh [3 hidden] in the order r, z, u; h, u, q [time, batch, hidden], r and z [time, batch, 2 hidden].
    Source: Cho et al., "Learning phrase representations using RNN encoder–decoder", 2014, with r as PyTorch has it.
    """
    steps, batch, _, n = _checked(arrays, 3, "gru_sequence", 1, 2)
    x, h, w_ih, w_hh, *bias = arrays
    active = _actives(sizes, steps, batch)
    x, h = _features_first(xp, x), xp.matrix_transpose(h)
    from_x, from_h = [xp.expand_dims(b, -1) for b in bias] if bias else (None, None)
    found = _collected(xp, steps, 4)
    for k in _in_turn(steps, reverse):
        left = _sum_of(xp.matmul(w_ih, xp.getitem(x, k)), from_x)
        right = _sum_of(xp.matmul(w_hh, h), from_h)
        opened = xp.sigmoid(_part(xp, left, 0, 2 * n) + _part(xp, right, 0, 2 * n))
        r, z, q = _part(xp, opened, 0, n), _part(xp, opened, n, None), _part(xp, right, 2 * n, None)
        u = xp.tanh(_part(xp, left, 2 * n, None) + r * q)
        h = _held(xp, u + z * (h - u), h, active[k])
        _put(found, k, (h, opened, u, q))
    return _over_time(xp, found)


def _gru_sequence_back(xp, g, arrays, y, needed, reverse, sizes):
    x, h, w_ih, w_hh, *bias = arrays
    (steps, batch, _), n = x.shape, h.shape[1]
    active = _actives(sizes, steps, batch)
    to_h, to_opened, to_u, to_q = [None if part is None else _features_first(xp, part) for part in g]
    opened, us, qs = [_features_first(xp, part) for part in y[1:]]
    starts = _before(xp, y[0], h, reverse)
    before = _features_first(xp, starts)
    back = xp.matrix_transpose(w_hh)
    h_bar = xp.zeros_like(xp.matrix_transpose(h))
    lefts, rights = _Steps(xp, steps, 1), _Steps(xp, steps, 1)
    for k in reversed(_in_turn(steps, reverse)):
        s, u, q = xp.getitem(opened, k), xp.getitem(us, k), xp.getitem(qs, k)
        r, z = _part(xp, s, 0, n), _part(xp, s, n, None)
        h_bar = h_bar if to_h is None else h_bar + xp.getitem(to_h, k)
        h_bar, past = _parted(xp, h_bar, active[k])
        kept = h_bar * z
        u_bar = h_bar - kept
        if to_u is not None:
            u_bar = u_bar + xp.getitem(to_u, k)
        u_bar = u_bar * (1 - u * u)
        open_bar = xp.concat([u_bar * q, h_bar * (xp.getitem(before, k) - u)], axis=0)
        if to_opened is not None:
            open_bar = open_bar + xp.getitem(to_opened, k)
        open_bar = open_bar * (s - s * s)
        q_bar = u_bar * r if to_q is None else u_bar * r + xp.getitem(to_q, k)
        right = xp.concat([open_bar, q_bar], axis=0)
        _put((lefts, rights), k, (xp.concat([open_bar, u_bar], axis=0), right))
        h_bar = _sum_of(xp.matmul(back, right) + kept, past)
    left, right = _side_by_side(xp, lefts), _side_by_side(xp, rights)
    x_bar = xp.reshape(xp.matmul(xp.matrix_transpose(left), w_ih), x.shape) if needed[0] else None
    weights = [xp.matmul(left, _flat(xp, x)), xp.matmul(right, _flat(xp, starts))]
    biases = [xp.sum(left, axis=1), xp.sum(right, axis=1)] if bias else []
    return [x_bar, xp.matrix_transpose(h_bar), *weights, *biases]


def _gru_sequence_forth(xp, t, arrays, y, reverse, sizes):
    x, h, w_ih, w_hh, *bias = arrays
    (steps, batch, _), n = x.shape, h.shape[1]
    active = _actives(sizes, steps, batch)
    t_x, t_h, t_w_ih, t_w_hh, *t_bias = _filled(xp, t, arrays)
    opened, us, qs = [_features_first(xp, part) for part in y[1:]]
    x, t_x, before = [_features_first(xp, a) for a in (x, t_x, _before(xp, y[0], h, reverse))]
    t_h = xp.matrix_transpose(t_h)
    from_x, from_h = [xp.expand_dims(b, -1) for b in t_bias] if bias else (None, None)
    found = _collected(xp, steps, 4)
    for k in _in_turn(steps, reverse):
        s, u, h = xp.getitem(opened, k), xp.getitem(us, k), xp.getitem(before, k)
        r, z = _part(xp, s, 0, n), _part(xp, s, n, None)
        left = _sum_of(xp.matmul(t_w_ih, xp.getitem(x, k)), xp.matmul(w_ih, xp.getitem(t_x, k)), from_x)
        right = _sum_of(xp.matmul(t_w_hh, h), xp.matmul(w_hh, t_h), from_h)
        t_s = (_part(xp, left, 0, 2 * n) + _part(xp, right, 0, 2 * n)) * (s - s * s)
        t_r, t_z, t_q = _part(xp, t_s, 0, n), _part(xp, t_s, n, None), _part(xp, right, 2 * n, None)
        t_u = (_part(xp, left, 2 * n, None) + t_r * xp.getitem(qs, k) + r * t_q) * (1 - u * u)
        t_h = _held(xp, t_u + t_z * (h - u) + z * (t_h - t_u), t_h, active[k])
        _put(found, k, (t_h, t_s, t_u, t_q))
    return _over_time(xp, found)


gru_sequence.adjoints(arrays=_gru_sequence_back).tangents(arrays=_gru_sequence_forth)


@general
def rnn_sequence(xp, arrays: list, *, nonlinearity="tanh", reverse=False, sizes=None):
    """hₜ = tanh(W_ih xₜ + W_hh hₜ₋₁ + b), or the positive part of it (nonlinearity "relu"), for t = 1 … T

    `arrays` is [x, h₀, W_ih, W_hh] and b, if there is one; `reverse` and `sizes` as for `lstm_sequence`. The slope of
    the positive part at 0 is 0.

    Shapes: x [time, batch, features]; h₀ [batch, hidden]; W_ih [hidden, features], W_hh [hidden, hidden], b [hidden];
    h [time, batch, hidden].
    """
    steps, batch, _, _ = _checked(arrays, 1, "rnn_sequence", 1, 1)
    x, h, *weights = arrays
    active, act = _actives(sizes, steps, batch), {"tanh": xp.tanh, "relu": xp.relu}[nonlinearity]
    weight = _weights_in_one(xp, weights)
    x, h = _features_first(xp, x), xp.matrix_transpose(h)
    ones = _column_of_ones(xp, h, len(weights) > 2)
    found = _Steps(xp, steps)
    for k in _in_turn(steps, reverse):
        h = _held(xp, act(xp.matmul(weight, xp.concat([xp.getitem(x, k), h, *ones], axis=0))), h, active[k])
        found.put(k, h)
    return _features_first(xp, found.all())


def _bent(xp, g, h, nonlinearity):
    """Times the slope of the activation, whose value is h."""
    return g * (1 - h * h) if nonlinearity == "tanh" else xp.where(h > 0, g, 0)


def _rnn_sequence_back(xp, g, arrays, y, needed, nonlinearity, reverse, sizes):
    x, h, w_ih, w_hh, *bias = arrays
    active = _actives(sizes, x.shape[0], x.shape[1])
    to_h, hs = _features_first(xp, g), _features_first(xp, y)
    back = xp.matrix_transpose(w_hh)
    h_bar, found = xp.zeros_like(xp.matrix_transpose(h)), _Steps(xp, x.shape[0], 1)
    for k in reversed(_in_turn(x.shape[0], reverse)):
        through, past = _parted(xp, h_bar + xp.getitem(to_h, k), active[k])
        moved = _bent(xp, through, xp.getitem(hs, k), nonlinearity)
        found.put(k, moved)
        h_bar = _sum_of(xp.matmul(back, moved), past)
    moved = _side_by_side(xp, found)
    x_bar = xp.reshape(xp.matmul(xp.matrix_transpose(moved), w_ih), x.shape) if needed[0] else None
    return [x_bar, xp.matrix_transpose(h_bar), *_weights_back(xp, moved, x, _before(xp, y, h, reverse), bias)]


def _rnn_sequence_forth(xp, t, arrays, y, nonlinearity, reverse, sizes):
    x, h, *weights = arrays
    active = _actives(sizes, x.shape[0], x.shape[1])
    t_x, t_h, *t_weights = _filled(xp, t, arrays)
    weight, t_weight = _weights_in_one(xp, weights[:2]), _weights_in_one(xp, t_weights)
    x, t_x, before, hs = [_features_first(xp, a) for a in (x, t_x, _before(xp, y, h, reverse), y)]
    t_h = xp.matrix_transpose(t_h)
    ones = _column_of_ones(xp, t_h, len(weights) > 2)
    found = _Steps(xp, x.shape[0])
    for k in _in_turn(x.shape[0], reverse):
        moved = xp.matmul(t_weight, xp.concat([xp.getitem(x, k), xp.getitem(before, k), *ones], axis=0))
        moved = moved + xp.matmul(weight, xp.concat([xp.getitem(t_x, k), t_h], axis=0))
        t_h = _held(xp, _bent(xp, moved, xp.getitem(hs, k), nonlinearity), t_h, active[k])
        found.put(k, t_h)
    return _features_first(xp, found.all())


rnn_sequence.adjoints(arrays=_rnn_sequence_back).tangents(arrays=_rnn_sequence_forth)
