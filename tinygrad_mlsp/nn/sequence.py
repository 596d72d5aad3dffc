"""Sequences of different lengths in one batch, and backpropagation through time that is cut; as `nn.utils.rnn`.

A packed sequence has no padding: its rows are the first steps of all sequences, the longest first, then the second
steps of those that have one, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..errors import OptionError, ShapeError
from ..modes import current_tracer
from ..namespace import full
from ..op import Operation
from ..tensor import Tensor, no_grad, record_of

_concat, _take, _reshape = map(record_of, ("concat", "take", "reshape"))

__all__ = [
    "PackedSequence", "cut", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "truncated", "unpack_sequence", "unpad_sequence",
]  # fmt: skip


class PackedSequence(NamedTuple):
    """The steps of several sequences without padding; made by `pack_padded_sequence` and `pack_sequence`.

    `batch_sizes` is how many sequences have each step. `sorted_indices` says which sequence of the batch stands at
    each place, the longest first, and `unsorted_indices` where each stands; None where they were in order.

    Shapes: data [steps of all sequences, *], batch_sizes [time], indices [batch].
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    @property
    def device(self) -> str:
        return self.data.device

    def lengths(self) -> list[int]:
        """Of each sequence, the longest first."""
        sizes = np.array(self.batch_sizes.tolist())
        return [int(np.sum(sizes > b)) for b in range(int(sizes[0]))]

    def padded(self) -> Tensor:
        """[time, batch, *], the longest first, zeros after the ends."""
        return _spread(self.data, _places(self.lengths()), 0.0)

    def with_data(self, padded: Tensor) -> PackedSequence:
        """The same sequences with what `padded` [time, batch, *] has at each step."""
        return self._replace(data=_picked(padded, self.lengths()))


def _integers(values: Any, device: str) -> Tensor:
    return Tensor(np.asarray(values, np.int64), device=device)


def _places(lengths: Sequence[int]) -> Any:
    """Where each step [time, batch] of sequences, the longest first, stands in packed data; −1 after its end."""
    steps = np.arange(max(lengths, default=0))[:, None]
    there = steps < np.asarray(lengths)[None, :]
    return np.where(there, np.cumsum(there.reshape(-1)).reshape(there.shape) - 1, -1)


def _spread(data: Tensor, places: Any, padding_value: float) -> Tensor:
    """The rows of `data` at `places`, the padding at −1."""
    if (places < 0).any():
        data = _concat([data, full((1, *data.shape[1:]), padding_value, data.dtype, data.device)], axis=0)
        places = np.where(places < 0, data.shape[0] - 1, places)
    rows = _take(data, _integers(places.reshape(-1), data.device), axis=0)
    return _reshape(rows, (*places.shape, *data.shape[1:]))


def _picked(padded: Tensor, lengths: Sequence[int]) -> Tensor:
    """The steps that are there of [time, batch, *], as packed data."""
    time, batch = padded.shape[:2]
    rows = np.flatnonzero(np.arange(time)[:, None] < np.asarray(lengths)[None, :])
    return _take(_reshape(padded, (time * batch, *padded.shape[2:])), _integers(rows, padded.device), axis=0)


def _time_first(x: Tensor, batch_first: bool) -> Tensor:
    return x.transpose(1, 0, *range(2, x.ndim)) if batch_first else x


def _whole(lengths: Any, name: str) -> list[int]:
    found = lengths.tolist() if hasattr(lengths, "tolist") else list(lengths)
    if any(int(n) != n for n in found):
        raise OptionError(f"{name}: lengths are whole numbers, got {found}")
    return [int(n) for n in found]


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """q with q[p[i]] = i; None for None"""
    if permutation is None:
        return None
    return _integers(np.argsort(permutation.numpy(), kind="stable"), permutation.device)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Packs padded sequences, so that a recurrent layer goes through their own steps only.

    With enforce_sorted=False they need not come in falling length; outputs and last states keep the batch's order.

    Shapes: input [time, batch, *], or [batch, time, *] with batch_first; lengths [batch].
    Raises: ShapeError for lengths that do not fit the input, OptionError for lengths that rise (with enforce_sorted).
    """
    known = _whole(lengths, "pack_padded_sequence")
    if input.ndim < 2:
        raise ShapeError(f"pack_padded_sequence: input is [time, batch, …], not {list(input.shape)}")
    x = _time_first(input, batch_first)
    if len(known) != x.shape[1] or not known or min(known) < 1 or max(known) > x.shape[0]:
        raise ShapeError(
            f"pack_padded_sequence: wants {x.shape[1]} lengths from 1 to {x.shape[0]}, one a sequence, got {known}"
        )
    order = sorted(range(len(known)), key=lambda b: -known[b])
    if enforce_sorted and any(a < b for a, b in pairwise(known)):
        raise OptionError(
            f"pack_padded_sequence: the lengths {known} are not in falling order; pass enforce_sorted=False"
        )
    indices = None
    if not enforce_sorted:
        indices = _integers(order, input.device)
        x, known = _take(x, indices, axis=1), [known[b] for b in order]
    sizes = [sum(n > t for n in known) for t in range(known[0])]
    return PackedSequence(_picked(x, known), _integers(sizes, "cpu"), indices, invert_permutation(indices))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The sequences in the batch's order, `padding_value` after their ends, and their lengths.

    `total_length` makes the time longer than the longest needs.
    """
    lengths = sequence.lengths()
    places = _places(lengths)
    if total_length is not None:
        if total_length < len(places):
            raise OptionError(
                f"pad_packed_sequence: total_length is {total_length}, the longest sequence has {len(places)} steps"
            )
        places = np.pad(places, ((0, total_length - len(places)), (0, 0)), constant_values=-1)
    if sequence.unsorted_indices is not None:
        order = sequence.unsorted_indices.numpy()
        places, lengths = places[:, order], [lengths[b] for b in order]
    padded = _spread(sequence.data, places.T if batch_first else places, padding_value)
    return padded, _integers(lengths, "cpu")


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences [length, *] as one [time, batch, *], or [batch, time, *] with batch_first

    `padding_side` is where the padding is: "right", after a sequence, or "left", before it.
    """
    sequences = list(sequences)
    if not sequences or any(s.ndim == 0 or s.shape[1:] != sequences[0].shape[1:] for s in sequences):
        shapes = [list(s.shape) for s in sequences]
        raise ShapeError(f"pad_sequence: wants tensors [length, …] that agree but for the length, got {shapes}")
    if padding_side not in ("left", "right"):
        raise OptionError(f"pad_sequence: padding_side is 'left' or 'right', not {padding_side!r}")
    lengths = [s.shape[0] for s in sequences]
    time, first = max(lengths), np.cumsum([0, *lengths])
    places = np.full((len(lengths), time), -1)
    for b, n in enumerate(lengths):
        places[b, time - n if padding_side == "left" else 0 :][:n] = np.arange(first[b], first[b] + n)
    return _spread(_concat(sequences, axis=0), places if batch_first else places.T, padding_value)


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs a list of sequences [length, *]."""
    sequences = list(sequences)
    return pack_padded_sequence(pad_sequence(sequences), [s.shape[0] for s in sequences], enforce_sorted=enforce_sorted)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences [length, *] of a padded batch: `pad_sequence` undone."""
    x = padded_sequences if batch_first else _time_first(padded_sequences, True)
    return [x[b, :n] for b, n in enumerate(_whole(lengths, "unpad_sequence"))]


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences [length, *] of a packed batch: `pack_sequence` undone."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)


# Truncated backpropagation through time


def _cut(xp, x):  # type: ignore[no-untyped-def]
    """y = x, and no gradient goes back: x̄ = 0"""
    return xp.positive(x)


# Not in the registry: its derivative is not its own, by intent. It stands in graphs that are drawn.
_cut_shown = Operation(_cut, "general", "cut", register=False)
_cut_shown.adjoints(x=lambda xp, g: xp.zeros_like(g)).tangents(x=lambda xp, t: xp.zeros_like(t))


def cut(x: Tensor) -> Tensor:
    """y = x, through which no gradient goes back: `detach`, but while the graph is traced (`viz.trace`) a node "cut",
    behind which every gradient is exactly 0"""
    return x.detach() if current_tracer() is None else _cut_shown.record(x)


def _cut_state(state: Any) -> Any:
    return tuple(map(_cut_state, state)) if isinstance(state, tuple) else cut(state)


def truncated(
    net: Any, input: Tensor, hx: Any = None, *, k1: int, k2: int | None = None
) -> Iterator[tuple[Tensor, Any]]:
    """Truncated backpropagation through time: the outputs of every k₁ steps, whose gradient goes k₂ steps back

        for outputs, state in truncated(net, x, k1=20, k2=40):
            loss = criterion(outputs, …)
            loss.backward()
            optimizer.step()

    Each window ends k₁ steps after the one before it. Before its outputs lie k₂ − k₁ steps through which their
    gradient still goes, and which are computed once more for that; k₂ is k₁ unless told, and what is older is behind a
    `cut`. `state` is the one after the window. So h_t has no gradient from a window that ends k₂ steps later or more.

    `net` is a recurrent layer, or anything called as one: net(input, hx) gives outputs and a state.
    Shapes: input [time, batch, features], or [batch, time, features] for a net with batch_first; outputs likewise.
    Source: Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories", 1990.
    """
    k2 = k1 if k2 is None else k2
    if not 1 <= k1 <= k2:
        raise OptionError(f"truncated: wants 1 ≤ k1 ≤ k2, got k1={k1}, k2={k2}")
    if getattr(net, "bidirectional", False):
        raise OptionError("truncated: a net that goes both ways knows the future; its sequence cannot be cut in time")
    axis = 1 if getattr(net, "batch_first", False) and input.ndim == 3 else 0
    time = input.shape[axis]

    def steps(x: Tensor, start: int, stop: int) -> Tensor:
        return x[(slice(None),) * axis + (slice(start, stop),)]

    begin, state, last = 0, hx, hx  # of the window before: its first step, the state there, and the one after it
    for start in range(0, time, k1):
        stop = min(start + k1, time)
        first = max(0, stop - k2)
        if first > begin:
            if first == start:
                state = last
            else:
                with no_grad():
                    state = net(steps(input, begin, first), state)[1]
            begin = first
        outputs, last = net(steps(input, begin, stop), None if state is None else _cut_state(state) if begin else state)
        yield steps(outputs, start - begin, stop - begin), last
