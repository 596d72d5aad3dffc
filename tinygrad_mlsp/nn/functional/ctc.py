"""Connectionist temporal classification: the likelihood of a sequence whose alignment is not known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import OptionError, ShapeError
from ...tensor import Tensor, record_of
from .checks import tensor
from .loss import _reduce

_pad, _stack, _unstack, _logsumexp = (record_of(name) for name in ("pad", "stack", "unstack", "logsumexp"))
_where, _mean, _expand_dims = record_of("where"), record_of("mean"), record_of("expand_dims")
_take_along_axis = record_of("take_along_axis")

_NEVER = -1e30  # the logarithm of a probability that is none: finite, so that a difference of two is not NaN


def ctc_loss(
    log_probs: Tensor, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: str = "mean", zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """L = −ln Σ_π Πₜ p_t(π_t), in nats, over all alignments π that read as the target

    An alignment reads as a target when runs of a label are taken for one, and blanks are left out. With the target
    l′ = (blank, l₁, blank, l₂, …, blank) the sum goes step by step, in logarithms:
    αₜ(s) = ln pₜ(l′ₛ) + ln(e^αₜ₋₁(s) + e^αₜ₋₁(s−1) + e^αₜ₋₁(s−2)), the last only if l′ₛ is no blank and not l′ₛ₋₂.

    "mean" divides each loss by its target's length first. A target that does not fit into its input costs ∞, with the
    gradient 0 (PyTorch's is NaN without `zero_infinity`, which makes the cost 0 too). PyTorch gives the gradient of
    log_probs up to a part that `log_softmax` takes away again; here it is the gradient itself.

    Shapes: log_probs [time, batch, classes] or [time, classes]; targets [batch, longest], or all labels one after the
    other; lengths [batch].
    Raises: OptionError for a length or label that is not there.
    Source: Graves et al., "Connectionist temporal classification", 2006.
    """
    tensor("ctc_loss", "log_probs", log_probs)
    alone = log_probs.ndim == 2
    logp = _expand_dims(log_probs, axis=1) if alone else log_probs
    if logp.ndim != 3:
        raise ShapeError(
            f"ctc_loss: log_probs is [time, batch, classes] or [time, classes], got {list(log_probs.shape)}"
        )
    steps, batch, classes = logp.shape
    times, sizes = (_lengths(name, x, batch) for name, x in (("input", input_lengths), ("target", target_lengths)))
    labels = _labels(targets, sizes, alone)
    if not 0 <= blank < classes or (labels.size and not 0 <= labels.min() <= labels.max() < classes):
        raise OptionError(
            f"ctc_loss: blank ({blank}) and labels ({labels.tolist()}) must be classes 0 to {classes - 1}"
        )
    if steps == 0 or times.max(initial=0) > steps:
        raise OptionError(f"ctc_loss: input_lengths {times.tolist()} want more steps than there are, {steps}")

    states = 2 * labels.shape[1] + 1
    extended = np.full((batch, states), blank)
    extended[:, 1::2] = labels
    barred = np.zeros((3, batch, states))  # stay, from one before, from two before
    barred[2] = _NEVER
    jump = extended[:, 2:] != extended[:, :-2]  # which blanks, at every other place, never are
    barred[2, :, 2:][jump] = 0.0
    start = np.where(np.arange(states) < 2, 0.0, _NEVER)
    ends = np.stack([2 * sizes, np.maximum(2 * sizes - 1, 0)], axis=1)
    end_barred = np.stack([np.zeros(batch), np.where(sizes > 0, 0.0, _NEVER)], axis=1)

    def there(x: Any, dtype: Any = logp.dtype) -> Tensor:
        return Tensor(x, dtype=dtype, device=logp.device)

    emitted = _unstack(_take_along_axis(logp, there(extended[None], np.int64), axis=-1), axis=0)
    barred_there = there(barred)
    alphas = [emitted[0] + there(start)]
    for step in emitted[1 : int(times.max(initial=1))]:
        before = _pad(alphas[-1], pad_width=((0, 0), (2, 0)), constant_values=_NEVER)
        ways = _stack([before[:, 2 - k : 2 - k + states] for k in range(3)], axis=0)
        alphas.append(_logsumexp(ways + barred_there, axis=0) + step)
    if (times == len(alphas)).all():
        last = alphas[-1]
    else:
        last = _stack(alphas, axis=0)[there(np.maximum(times - 1, 0), np.int64), there(np.arange(batch), np.int64)]
    losses = -_logsumexp(_take_along_axis(last, there(ends, np.int64), axis=1) + there(end_barred), axis=-1)

    cost = 0.0 if zero_infinity else math.inf
    losses = _where(losses > -_NEVER / 2, cost, losses)
    if (times == 0).any():
        losses = _where(there(times == 0, bool), there(np.where(sizes == 0, 0.0, cost)), losses)
    if reduction == "mean":
        return _mean(losses / there(np.maximum(sizes, 1)))
    return _reduce(losses[0] if alone and reduction == "none" else losses, reduction, "ctc_loss")


def _lengths(name: str, lengths: Any, batch: int) -> Any:
    lengths = np.atleast_1d(lengths.numpy() if isinstance(lengths, Tensor) else np.asarray(lengths))
    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu" or (lengths < 0).any():
        raise OptionError(f"ctc_loss: {name}_lengths must be {batch} whole numbers from 0 on, got {lengths.tolist()}")
    return lengths.astype(np.int64)


def _labels(targets: Any, sizes: Any, alone: bool) -> Any:
    """The targets on the host as [batch, longest], zeros behind the shorter ones."""
    given = targets.numpy() if isinstance(targets, Tensor) else np.asarray(targets)
    if given.ndim not in (1, 2) or (given.dtype.kind not in "iu" and given.size):
        raise OptionError(
            f"ctc_loss: targets are whole numbers, [batch, longest] or one after the other; got {given!r}"
        )
    joined = given.ndim == 1 and not alone
    longest, batch = int(sizes.max(initial=0)), len(sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]) if joined else np.zeros(batch, int)
    rows = given.reshape(1, -1).repeat(batch, 0) if given.ndim == 1 else given
    if len(rows) != batch or (sizes.sum() != given.size if joined else rows.shape[1] < longest):
        raise OptionError(
            f"ctc_loss: target_lengths {sizes.tolist()} do not fit targets of shape {list(given.shape)}"
        )  # fmt: skip
    labels = np.zeros((batch, longest), np.int64)
    for n, size in enumerate(sizes):
        labels[n, :size] = rows[n, starts[n] : starts[n] + size]
    return labels
