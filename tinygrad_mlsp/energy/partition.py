"""The partition function of a model too large to enumerate, estimated from both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from ..errors import OptionError
from ..random import Generator
from ..tensor import Tensor, no_grad
from .annealing import path_of, temperatures

_FEW = 0.1  # of the chains: a smaller effective sample is not to be trusted
_WIDE, _NARROW = 1.0, 0.1  # nats between the two directions: too far apart, and near enough in any case


@dataclass
class Partition:
    """An estimate of ln Z in nats, and what speaks for and against it.

    `lower` and `upper` are three standard errors of Z away from the estimate: the lower that of the forward direction,
    the upper that of the reverse one, where there is one. `trusted` is False where `reasons` has an entry.
    """

    log_z: float
    lower: float
    upper: float
    effective_sample_size: float
    chains: int
    reverse: float | None = None  # the estimate of ln Z from the other side
    reasons: list[str] = field(default_factory=list)
    log_weights: np.ndarray[Any, Any] = field(default_factory=lambda: np.empty(0), repr=False)

    @property
    def trusted(self) -> bool:
        return not self.reasons

    def __float__(self) -> float:
        return self.log_z

    def __str__(self) -> str:
        said = f"ln Z = {self.log_z:.3f} ({self.lower:.3f} to {self.upper:.3f}) nats, effective sample size "
        said += f"{self.effective_sample_size:.1f} of {self.chains}"
        return said + ("" if self.trusted else f"; do not trust it: {'; '.join(self.reasons)}")

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def annealed_importance_sampling(
    model: Any, betas: Any = 1000, chains: int = 100, *, data: Tensor | None = None, visible_bias: Tensor | None = None,
    exact_samples: Tensor | None = None, generator: Generator | None = None,
) -> Partition:  # fmt: skip
    """ln Z ≈ ln Z₀ + ln mean w,  ln w = Σₖ ln p*_βₖ(xₖ₋₁) − ln p*_βₖ₋₁(xₖ₋₁): Z itself without bias, ln Z from below

    `model` is an RBM, a model with a method `annealing`, or a Path. `betas` are the inverse temperatures from 0 to 1,
    or how many steps there shall be. The base distribution has the visible biases `visible_bias`, or those of `data`.

    With `exact_samples`, drawn from the model (see `RBM.sample_exact`), the same way is gone backwards from them, which
    gives 1/Z without bias, so ln Z from above: the two are a bracket. Samples that are not quite the model's make the
    upper end a guess.

    The result says what it is worth: too few effective samples, or two directions that disagree, and it is not
    `trusted`. A sample in which no chain found a mode cannot tell; the reverse direction can.

    Source: Neal, "Annealed importance sampling", 2001; Salakhutdinov and Murray, "On the quantitative analysis of deep
    belief networks", 2008; for the reverse Grosse, Ghahramani and Adams, "Sandwiching the marginal likelihood using
    bidirectional Monte Carlo", 2015.
    """
    if isinstance(chains, bool) or not isinstance(chains, (int, np.integer)) or chains < 2:
        raise OptionError(f"annealed_importance_sampling: two chains or more, got {chains!r}")
    path, values = path_of(model, visible_bias, data), temperatures(betas)
    with no_grad():
        base = float(path.log_normalizer())
        forward = _weights(path, path.start(int(chains), generator), values, generator)
        backward = None
        if exact_samples is not None:
            backward = _weights(path, path.state(exact_samples), values[::-1], generator)
    mean, below, above, size = _summed(forward)
    found = Partition(base + mean, base + below, base + above, size, int(chains), log_weights=forward)
    if not np.isfinite(forward).all():
        found.reasons.append(f"{np.sum(~np.isfinite(forward))} of the weights are not finite")
    elif size < _FEW * chains:
        found.reasons.append(
            f"the effective sample size is {size:.1f} of {chains} chains; take more temperatures, or a base nearer to "
            "the model"
        )
    if backward is not None:
        most = found.upper
        mean, below, above, size = _summed(backward)
        found.reverse = base - mean
        found.upper = max(base - below, found.log_z)
        apart = abs(found.reverse - found.log_z)
        if not apart < _WIDE or (apart > _NARROW and most < base - above):  # their errors do not explain it
            found.reasons.append(
                f"forwards ln Z is {found.log_z:.2f}, backwards {found.reverse:.2f}; take more temperatures"
            )
        elif size < _FEW * len(backward):
            found.reasons.append(f"the effective sample size of the reverse is {size:.1f} of {len(backward)}")
    return found


def _weights(path: Any, state: Any, values: np.ndarray[Any, Any], generator: Generator | None) -> np.ndarray[Any, Any]:
    """ln w of each chain along these inverse temperatures, in float64    [chains]"""
    total: Any = 0.0
    last = len(values) - 2
    for i, (here, there) in enumerate(zip(values[:-1].tolist(), values[1:].tolist(), strict=True)):
        total = total + (path.log_density(state, there) - path.log_density(state, here)).to(dtype=np.float64)
        if i < last:
            state = path.step(state, there, generator)
    weights: np.ndarray[Any, Any] = total.numpy()
    return weights


def _summed(log_weights: np.ndarray[Any, Any]) -> tuple[float, float, float, float]:
    """ln of the weights' mean, of the mean less and more three standard errors, and the effective sample size."""
    top = float(np.max(log_weights))
    if not math.isfinite(top):
        return top, -math.inf, math.inf, 0.0
    w = np.exp(log_weights - top)
    mean, error = float(w.mean()), 3 * float(w.std(ddof=1)) / math.sqrt(len(w))
    below = math.log(mean - error) if mean > error else -math.inf
    size = float(w.sum() ** 2 / (w * w).sum())
    return top + math.log(mean), top + below, top + math.log(mean + error), size
