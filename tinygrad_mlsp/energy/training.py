"""Training by contrastive divergence, and what is watched on the way."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DivergenceError, OptionError, TrainingWarning
from ..nn import Module
from ..nn.module import _size
from ..optim import SGD, Optimizer
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of
from .divergence import FromData, Samples, phases_apart
from .monitor import log_likelihood, pseudo_likelihood, reconstruction_error
from .rbm import RBM
from .units import Bernoulli, Joint, Softmax, Units

Record = dict[str, list[float]]
_isfinite = record_of("isfinite")
_WATCHED = 1000  # examples that the figures of an epoch are of
_LARGEST = 50.0  # a weight beyond which a binary unit does what the other says, whatever the rest


class Sparsity:
    """A penalty whose gradient by the hidden units' inputs is cost · (q − target), q the mean activity so far

    q is a running mean: `decay` of the old one, the rest from the batch. It is the slope of the cross-entropy between
    the wanted and the actual share of the time that a unit is on.

    Source: Hinton, "A practical guide to training restricted Boltzmann machines", 2010, section 11.
    """

    def __init__(self, target: float, cost: float, decay: float = 0.9) -> None:
        if not 0 < target < 1 or not cost >= 0 or not 0 <= decay < 1:
            raise OptionError(
                "Sparsity: the target lies between 0 and 1, the cost is not negative, decay is from 0 to below 1; got "
                f"{target!r}, {cost!r} and {decay!r}"
            )
        self.target, self.cost, self.decay = target, cost, decay
        self.activity: Tensor | None = None

    def __call__(self, model: RBM, z: Tensor) -> Tensor:
        with no_grad():
            now = model.hidden.mean(z).mean(axis=0)
            self.activity = now if self.activity is None else self.decay * self.activity + (1 - self.decay) * now
            slope = (self.activity - self.target) * self.cost
        return (z.mean(axis=0) * slope).sum()


def fit(
    model: RBM, data: Any, optimizer: Optimizer | None = None, samples: Samples | None = None, *, epochs: int = 10,
    batch_size: int = 100, validation: Any = None, sparsity: tuple[float, float] | Sparsity | None = None,
    center: float | None = None, binarize: bool = False, start_from_data: bool = False, likelihood: int = 0,
    measures: Mapping[str, Callable[[RBM], float]] | None = None,
    callbacks: Sequence[Callable[[RBM, Record], Any]] = (), shuffle: bool = True, generator: Generator | None = None,
) -> Record:  # fmt: skip
    """θ ← θ − update(∂(mean F(batch) − mean F(samples))/∂θ) for every batch of the data, so many times over

    - `samples`: where the model's samples come from: FromData (CD-1 unless given), Persistent, FastPersistent,
      Tempered, Exact. `optimizer`: any of `optim`, with its momentum and decay; SGD unless given, its rate 0.05, for
      units that are not bounded 0.001. Decay of the weights alone: optim.SGD([{"params": [model.weight],
      "weight_decay": 2e-4}, {"params": [model.visible.bias, model.hidden.bias]}], lr=0.05).
    - `sparsity`: (target, cost) of the hidden units, or a `Sparsity`. `center`: the share of the way to the batch's
      means that the offsets move before each step (see `RBM.center`).
    - `binarize`: values between 0 and 1 are probabilities, from which every batch is drawn anew.
      `start_from_data`: the visible biases begin where the units alone would have the data's means.
    - `likelihood`: every so many epochs also the log-likelihood, exact or by annealed importance sampling.
      `measures`: further figures by name. `callbacks` are called with the model and the record after each epoch; one
      that returns True ends the training.

    Returns the record: figures by name, an entry an epoch, over at most 1,000 examples. "reconstruction" and
    "free_energy" always; "pseudo_likelihood" where the visible units are discrete; with `validation` data
    "validation_free_energy" and "gap", mean F(validation) − mean F(training); the log-likelihood as
    "log_likelihood", of the validation data if there are any (NaN in the epochs between).

    Units: nats an example; the reconstruction error as in `monitor.reconstruction_error`.
    Raises: OptionError, ShapeError, DTypeError for data that the units cannot stand for; DivergenceError, which names
    the layer, when parameters stop being finite numbers. Warns with TrainingWarning.
    """
    if not isinstance(model, RBM):
        raise OptionError(
            f"fit: trains RBMs, not a {getattr(model, '__name__', type(model).__name__)}; for a DBN see DBN.greedy and "
            "up_down, for a DBM MeanFieldPersistent, for a Boltzmann machine TwoPhases, for a belief net wake_sleep"
        )
    name = type(model).__name__
    v = model.check_data(data, "fit")
    held = None if validation is None else model.check_data(validation, "fit: validation")
    epochs, batch_size = _size("fit: epochs", epochs), _size("fit: batch_size", batch_size, 1)
    likelihood = _size("fit: likelihood", likelihood)
    if center is not None and not (isinstance(center, (int, float)) and 0 < center <= 1):
        raise OptionError(f"fit: center is a share of the way, above 0 and up to 1, got {center!r}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise OptionError(f"fit: the optimizer is one of tinygrad_mlsp.optim, got {optimizer!r}")
    if optimizer is not None:
        _share(model, (p for group in optimizer.param_groups for p in group["params"]), "optimizer")
    if samples is not None and not callable(samples):
        raise OptionError(f"fit: samples is FromData, Persistent or the like, called with a batch; got {samples!r}")
    if isinstance(other := getattr(samples, "model", None), Module):
        _share(model, other.parameters(), "source of samples")
    if callable(callbacks):
        raise OptionError("fit: callbacks is a list of functions; put this one into a list")
    if binarize and bool(((v < 0) | (v > 1)).any()):
        raise OptionError("fit: binarize wants probabilities, but there are values outside [0, 1]; rescale them")
    generator = generator or default_generator()
    if isinstance(sparsity, (tuple, list)) and len(sparsity) == 2:
        sparsity = Sparsity(*sparsity)
    if sparsity is not None and not isinstance(sparsity, Sparsity):
        raise OptionError(f"fit: sparsity is (target, cost) or a Sparsity, got {sparsity!r}")
    penalty = sparsity
    if penalty is not None and not isinstance(model.hidden, Bernoulli):
        raise OptionError(f"fit: sparsity is for binary hidden units, not {type(model.hidden).__name__}")
    _look_at(model, v)
    if start_from_data:
        model.visible.shift_bias(model.visible.bias_for(v) - model.visible.bias)
    samples = FromData(model, generator=generator) if samples is None else samples
    if optimizer is None:
        optimizer = SGD(model.parameters(), lr=0.05 if _bounded(model.visible) and _bounded(model.hidden) else 0.001)

    record: Record = {}
    step, warned = 0, False
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what comes of it is looked at
        for epoch in range(1, epochs + 1):
            for rows in _batches(v, batch_size, generator if shuffle else None):
                x = drawn(v[rows], generator) if binarize else v[rows]
                if center is not None:
                    model.center(x, center)
                optimizer.zero_grad()
                z = model.hidden_input(x)
                loss = phases_apart(model, x, samples, z)
                if penalty is not None:
                    loss = loss + penalty(model, z)
                if not math.isfinite(loss.item()):
                    _diverged(model, epoch, step)
                loss.backward()
                optimizer.step()
                step += 1
            _check_parameters(model, epoch, step)
            figures = _figures(model, v, held, generator)
            if not math.isfinite(figures["free_energy"]):
                _diverged(model, epoch, step)
            if likelihood:
                figures["log_likelihood"] = math.nan
                if epoch % likelihood == 0:
                    some = v[:_WATCHED] if held is None else held
                    figures["log_likelihood"], _ = log_likelihood(model, some, data=v, generator=generator)
            figures |= {key: float(measure(model)) for key, measure in (measures or {}).items()}
            for key, value in figures.items():
                record.setdefault(key, []).append(value)
            warned = warned or _warn_of_state(model, name, epoch)
            if any([callback(model, record) is True for callback in callbacks]):
                break
    return record


def drawn(p: Tensor, generator: Generator | None = None) -> Tensor:
    """Zeros and ones, one with these probabilities."""
    u = (generator or default_generator()).uniform(p.shape, dtype=p.dtype, device=p.device)
    return (Tensor(u) < p).astype(p.dtype)


def _batches(v: Tensor, size: int, generator: Generator | None) -> Iterator[Any]:
    order = None if generator is None else Tensor(generator.permutation(len(v), device=v.device))
    for start in range(0, len(v), size):
        rows = slice(start, min(start + size, len(v)))
        yield rows if order is None else order[rows]


def _figures(model: RBM, v: Tensor, held: Tensor | None, generator: Generator) -> dict[str, float]:
    some = v[:_WATCHED]
    with no_grad():
        free = float(model.free_energy(some).mean())
    found = {"reconstruction": reconstruction_error(model, some), "free_energy": free}
    if _discrete(model.visible):
        few = some[:100]
        found["pseudo_likelihood"] = float(pseudo_likelihood(model, few, 50, generator=generator).mean())
    if held is not None:
        with no_grad():
            other = float(model.free_energy(held[:_WATCHED]).mean())
        found |= {"validation_free_energy": other, "gap": other - free}
    return found


def _share(model: RBM, parameters: Iterable[Any], what: str) -> None:
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for p in parameters):
        raise OptionError(f"fit: the {what} is another model's: it has none of the parameters of this one")


def _bounded(units: Units) -> bool:
    return all(map(_bounded, units.parts)) if isinstance(units, Joint) else isinstance(units, (Bernoulli, Softmax))


_discrete = _bounded


def _look_at(model: RBM, v: Tensor) -> None:
    """Warns of data from which there is little to learn."""
    n, hidden = len(v), model.hidden.size
    if n == 1:
        _warn("the data are one example; the machine will learn that and nothing else")
    elif bool((v == v[:1]).all()):
        kind = "all zero" if not bool(v.any()) else "all the same"
        grows = "the visible bias will grow without end, and " if _bounded(model.visible) else ""
        _warn(f"the {n} examples are {kind}; {grows}the weights learn nothing")
    if hidden > n > 1:
        _warn(f"there are more hidden units ({hidden}) than examples ({n}); watch the gap to validation data")


def _layers(model: RBM) -> Iterator[tuple[str, Tensor]]:
    for key, parameter in model.named_parameters():
        side, _, rest = key.partition(".")
        yield (f"{side} {rest.replace('.', ' ')}" if rest else key), parameter


def _diverged(model: RBM, epoch: int, step: int) -> None:
    _check_parameters(model, epoch, step)
    raise DivergenceError(
        f"fit: the free energies are not finite in epoch {epoch}, after {step} updates, while the parameters still are "
        f"({_extent(model)}); use a smaller learning rate"
    )


def _check_parameters(model: RBM, epoch: int, step: int) -> None:
    wrong = [key for key, p in _layers(model) if not bool(_isfinite(p).all())]
    if wrong:
        raise DivergenceError(
            f"fit: {' and '.join(wrong)} of the {type(model).__name__} stopped being finite numbers in epoch {epoch}, "
            f"after {step} updates; use a smaller learning rate"
            + ("" if _bounded(model.visible) else " (for real-valued units 0.001 or less), on data of variance 1")
        )


def _extent(model: RBM) -> str:
    return ", ".join(f"{key} up to {float(abs(p.detach()).max()):.3g}" for key, p in _layers(model))


def _warn_of_state(model: RBM, name: str, epoch: int) -> bool:
    if not (_bounded(model.visible) and _bounded(model.hidden)):
        return False
    top = float(abs(model.weight.detach()).max())
    if top > _LARGEST:
        _warn(
            f"the weight of the {name} has entries up to {top:.0f} in epoch {epoch}: its units answer to nothing but "
            "one another; use a smaller learning rate, or weight decay"
        )
    return top > _LARGEST


def _warn(message: str) -> None:
    warnings.warn(f"fit: {message}", TrainingWarning, stacklevel=4)
