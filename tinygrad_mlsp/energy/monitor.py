"""How well an energy-based model does: what can be computed, what can only be estimated, and what says little."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OptionError
from ..nn.module import _size
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of
from .partition import annealed_importance_sampling
from .rbm import RBM
from .units import Bernoulli, Joint, Softmax, Units

_softplus, _logsumexp = record_of("softplus"), record_of("logsumexp")
_take_along_axis = record_of("take_along_axis")
_ENTRIES = 1 << 24  # of an array made on the way


def _able(model: Any, what: str, *methods: str) -> None:
    missing = [name for name in methods if not hasattr(model, name)]
    if missing:
        raise OptionError(
            f"{what}: a {type(model).__name__} has no {missing[0]}; this is for RBMs. What other models have is a "
            "method of theirs, such as log_likelihood or bound"
        )


def reconstruction_error(model: RBM, v: Tensor) -> float:
    """mean (v − E[v | h])² at h = E[h | v], over examples and units; it may fall while the likelihood does, too"""
    _able(model, "reconstruction_error", "reconstruct")
    with no_grad():
        difference = v - model.reconstruct(v)
        return float((difference * difference).mean())


def free_energy_gap(model: RBM, train: Tensor, validation: Tensor) -> float:
    """mean F(validation) − mean F(train), in nats: ln Z cancels, so the gap is that of the log-likelihoods

    It grows when the machine learns the training examples by heart. Compare as many of either, from the same epoch.

    Source: Hinton, "A practical guide to training restricted Boltzmann machines", 2010, section 6.
    """
    _able(model, "free_energy_gap", "free_energy")
    with no_grad():
        return float(model.free_energy(validation).mean()) - float(model.free_energy(train).mean())


def pseudo_likelihood(model: RBM, v: Tensor, units: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Σᵢ ln p(vᵢ | all other v), in nats    [batch]

    The sum over the units, as ln p(v) is: they are equal where the visible units are independent. A Softmax group
    counts as one unit. With `units` only so many bits are conditioned on, drawn for each example anew, and their sum is
    scaled up to all of them: right on average, whatever the number of features.

    Shapes: v [batch, visible]; values 0 or 1, for those between have no alternative.
    Raises: OptionError for continuous visible units, whose conditionals are no sums.
    Source: Besag, "Statistical analysis of non-lattice data", 1975.
    """
    _able(model, "pseudo_likelihood", "hidden_input")
    with no_grad():
        z = model.hidden_input(v)
        sites = _sites(model.visible, 0)
        bits = np.array([s.start for s in sites if s.stop == s.start + 1], dtype=np.int64)
        total = v[:, 0] * 0.0
        for site in sites:
            if site.stop > site.start + 1:
                own = _group(model, v, z, site)
                total = total + (own * v[:, site]).sum(axis=-1) - _logsumexp(own, axis=-1)
        count = len(bits) if units is None else min(_size("pseudo_likelihood: units", units, 1), len(bits))
        scale = len(bits) / max(1, count)
        all_bits = Tensor(bits, device=v.device)
        piece = max(1, _ENTRIES // max(1, z.size))
        for i in range(0, count, piece):
            chosen = all_bits[i : i + piece]
            if count < len(bits):
                shape = (len(v), min(piece, count - i))
                u = (generator or default_generator()).uniform(shape, dtype=np.float64, device=v.device)
                chosen = all_bits[(Tensor(u) * len(bits)).astype("int64")]
            total = total + _bits(model, v, z, chosen) * scale
        return total


def _sites(units: Units, start: int) -> list[slice]:
    """What is conditioned on at a time: bits, and whole groups."""
    if isinstance(units, Joint):
        ends = start + np.cumsum([p.size for p in units.parts])
        return [s for p, end in zip(units.parts, ends.tolist(), strict=True) for s in _sites(p, end - p.size)]
    if not isinstance(units, (Bernoulli, Softmax)):
        raise OptionError(
            f"pseudo_likelihood: visible units are Bernoulli or Softmax; the conditionals of {type(units).__name__} "
            "units given the others are no finite sums"
        )
    width = units.classes if isinstance(units, Softmax) else 1
    return [slice(i, i + width) for i in range(start, start + units.size, width)]


def _bits(model: RBM, v: Tensor, z: Tensor, at: Tensor) -> Tensor:
    """Σ ln p(vᵢ | rest) over these bits, [bits] or [batch, bits]: ln σ of how much the free energy rises where the bit
    is turned    [batch]"""
    weight = model.weight[at]
    turned = 1.0 - 2.0 * (v[:, at] if at.ndim == 1 else _take_along_axis(v, at, axis=1))
    moved = z[:, None, :] + turned[..., None] * weight
    rise = model.hidden.log_normalizer(z)[:, None] - model.hidden.log_normalizer(moved)
    rise = rise - turned * model.visible.bias[at]
    if model.hidden_offset is not None:
        rise = rise + turned * (weight @ model.hidden_offset)
    return -_softplus(-rise).sum(axis=-1)


def _group(model: RBM, v: Tensor, z: Tensor, site: slice) -> Tensor:
    """−F, but for a constant, with each class of the group in turn    [batch, classes]"""
    weight = model.weight[site]
    without = z - v[:, site] @ weight
    found = model.hidden.log_normalizer(without[:, None, :] + weight) + model.visible.bias[site]
    return found if model.hidden_offset is None else found - weight @ model.hidden_offset


def log_likelihood(
    model: RBM, v: Tensor, *, betas: Any = 1000, chains: int = 100, data: Tensor | None = None,
    generator: Generator | None = None,
) -> tuple[float, Any]:  # fmt: skip
    """mean ln p(v) in nats, and the ln Z behind it: exact where a layer can be listed, else a `Partition` by AIS

    The base distribution of the annealing has the means of `data`, or of v itself.
    """
    _able(model, "log_likelihood", "free_energy", "log_partition")
    with no_grad():
        try:
            log_z: Any = float(model.log_partition())
        except OptionError:
            log_z = annealed_importance_sampling(
                model, betas, chains, data=v if data is None else data, generator=generator
            )
        return float(-model.free_energy(v).mean()) - float(log_z), log_z
