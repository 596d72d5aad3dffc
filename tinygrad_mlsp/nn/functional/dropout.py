"""Dropout and noise, with masks that can be seen, kept and used again."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...errors import DTypeError, OptionError, ShapeError
from ...random import Generator, default_generator
from ...tensor import Tensor, record_of, wrap
from .checks import in_place, number, tensor

_multiply, _where, _linear = record_of("multiply"), record_of("where"), record_of("linear")
_einsum, _abs, _sqrt, _sign = record_of("einsum"), record_of("abs"), record_of("sqrt"), record_of("sign")


def dropout_mask(
    shape: tuple[int, ...], p: float = 0.5, generator: Generator | None = None, device: str = "cpu"
) -> Tensor:
    """A mask for `dropout`: True, with probability 1 − p, where an entry is kept."""
    _check_probability(p)
    return wrap((generator or default_generator()).bernoulli(1 - p, shape, device), None)


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    mask: Tensor | None = None,
    generator: Generator | None = None,
    inverted: bool = True,
) -> Tensor:
    """y = x m/(1 − p) with a random mask m that is 0 with probability p, so that the mean stays x; x if not training

    With inverted=False, the lectures' form: y = x m in training, and otherwise x (1 − p), the mask's expectation in
    its place. Both forms have the mean in training that they have otherwise.
    `mask` (True where an entry is kept) takes the place of a drawn one: the same mask, the same result. With `inplace`
    y is written into the input too, which is returned.
    Source: Hinton et al., "Improving neural networks by preventing co-adaptation of feature detectors", 2012;
    Srivastava et al., "Dropout", 2014.
    """
    _check_probability(p)
    if inplace:
        y = dropout(input, p, training, mask=mask, generator=generator, inverted=inverted)
        return input if y is input else in_place("dropout", input, y)
    if not training:
        return input if inverted or p == 0 else input * (1 - p)
    if p == 0 and mask is None:
        return input
    tensor("dropout", "input", input)
    if mask is None:
        mask = dropout_mask(input.shape, p, generator, input.device)
    kept = _kept("dropout", mask, input)
    if inverted and p < 1:
        kept *= 1 / (1 - p)
    return _multiply(input, wrap(kept, None))


def _kept(name: str, mask: Any, input: Tensor) -> Any:
    """The mask as a new array of the input's dtype."""
    if not isinstance(mask, Tensor) or mask.dtype.kind != "b":
        raise DTypeError(f"{name}: mask must be a Tensor of booleans, True where an entry is kept")
    return mask._array.astype(input.dtype)


def _check_probability(p: float, name: str = "dropout: p") -> None:
    try:
        right = 0 <= p <= 1
    except TypeError:
        right = False
    if not right:
        raise OptionError(f"{name} must be a probability from 0 to 1, got {p!r}")


def _channels(name: str, input: Tensor, axes: int, p: float, generator: Generator | None) -> Tensor:
    """A mask for whole channels, each of `axes` axes."""
    tensor(name, "input", input)
    if input.ndim not in (axes + 1, axes + 2):
        raise ShapeError(
            f"{name}: wants [batch, channels{', …' * axes}] or [channels{', …' * axes}], got {list(input.shape)}"
        )
    return dropout_mask((*input.shape[: input.ndim - axes], *(1,) * axes), p, generator, input.device)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, mask: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """y = x m/(1 − p) with one mask entry a channel [batch, channels, length]: neighbours, which are alike, go together

    Source: Tompson et al., "Efficient object localization using convolutional networks", 2015.
    """
    return _spatial("dropout1d", input, 1, p, training, inplace, mask, generator)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, mask: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """`dropout1d` for channels that are pictures [batch, channels, height, width]."""
    return _spatial("dropout2d", input, 2, p, training, inplace, mask, generator)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, mask: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """`dropout1d` for channels that are volumes [batch, channels, depth, height, width]."""
    return _spatial("dropout3d", input, 3, p, training, inplace, mask, generator)


def _spatial(
    name: str, input: Tensor, axes: int, p: float, training: bool, inplace: bool, mask: Tensor | None,
    generator: Generator | None,
) -> Tensor:  # fmt: skip
    if training and mask is None and p > 0:
        _check_probability(p, f"{name}: p")
        mask = _channels(name, input, axes, p, generator)
    return dropout(input, p, training, inplace, mask=mask)


def alpha_dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    mask: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """y = a (x m + α′(1 − m)) + b: what is dropped is −1.7581, SELU's lower end; a and b keep mean 0 and variance 1

    Source: Klambauer et al., "Self-normalizing neural networks", 2017.
    """
    _check_probability(p, "alpha_dropout: p")
    if inplace:
        y = alpha_dropout(input, p, training, mask=mask, generator=generator)
        return input if y is input else in_place("alpha_dropout", input, y)
    if not training or (p == 0 and mask is None):
        return input
    if p == 1:
        return input * 0.0
    tensor("alpha_dropout", "input", input)
    if mask is None:
        mask = dropout_mask(input.shape, p, generator, input.device)
    kept = _kept("alpha_dropout", mask, input)
    low = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946
    a = 1 / math.sqrt((1 - p) * (1 + p * low * low))
    return _multiply(input, wrap(kept * a, None)) + wrap((1 - kept) * (a * low) - a * low * p, None)


def zoneout(
    input: Tensor,
    hidden: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    mask: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """h = m h′ + (1 − m) h₋: in training each unit keeps its old state h₋ with probability p; (1 − p) h′ + p h₋ if not

    `input` is the new state h′, `hidden` the old one; `mask` is True where the new state is taken.
    Source: Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden activations", 2017.
    """
    _check_probability(p, "zoneout: p")
    tensor("zoneout", "new state", input)
    tensor("zoneout", "old state", hidden)
    if input.shape != hidden.shape:
        raise ShapeError(f"zoneout: the new state is {list(input.shape)}, the old one {list(hidden.shape)}")
    if not training:
        return input * (1 - p) + hidden * p
    if mask is None:
        mask = dropout_mask(input.shape, p, generator, input.device)
    elif not isinstance(mask, Tensor) or mask.dtype.kind != "b":
        raise DTypeError("zoneout: mask must be a Tensor of booleans, True where the new state is taken")
    return _where(mask, input, hidden)


def dropconnect(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    p: float = 0.5,
    training: bool = True,
    *,
    mask: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """y = x (m W)ᵀ/(1 − p) + b: single connections are dropped, not units; x Wᵀ + b if not training

    A mask is drawn for the whole batch; one of [batch, out, in] can be passed, with a mask a sample, as in the paper.
    Shapes: x [..., in], weight and mask [out, in].
    Source: Wan et al., "Regularization of neural networks using DropConnect", 2013.
    """
    _check_probability(p, "dropconnect: p")
    if not training or (p == 0 and mask is None):
        return _linear(input, weight, bias)
    if mask is None:
        mask = dropout_mask(weight.shape, p, generator, weight.device)
    kept = _kept("dropconnect", mask, weight)
    if p < 1:
        kept *= 1 / (1 - p)
    masked = _multiply(weight, wrap(kept, None))
    if kept.ndim == 2:
        return _linear(input, masked, bias)
    y = _einsum([input, masked], equation="bi,boi->bo")
    return y if bias is None else y + bias


def shakeout(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    tau: float = 0.5,
    c: float = 0.1,
    training: bool = True,
    *,
    mask: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """y = x W̃ᵀ + b, where unit by unit W̃ = −c s with probability τ, else (W + c τ s)/(1 − τ), with s = sign W

    The mean of W̃ is W. With c = 0 this is dropout of the inputs. With r = m/(1 − τ) it is (x r) Wᵀ + c (x (r − 1)) sᵀ,
    so each sample has a mask of its own. s counts as constant. `mask` is True where a unit is kept.
    Shapes: x and mask [..., in], weight [out, in].
    Source: Kang, Li and Tao, "Shakeout: a new regularized deep neural network training scheme", 2016.
    """
    _check_probability(tau, "shakeout: tau")
    if not training or (tau == 0 and mask is None):
        return _linear(input, weight, bias)
    if tau == 1:
        raise OptionError("shakeout: tau must be below 1: something must be kept")
    if mask is None:
        mask = dropout_mask(input.shape, tau, generator, input.device)
    kept = _kept("shakeout", mask, input) * (1 / (1 - tau))
    y = _linear(_multiply(input, wrap(kept, None)), weight, bias)
    return y + _linear(_multiply(input, wrap((kept - 1) * c, None)), _sign(weight.detach()), None)


def whiteout(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    sigma: float = 0.5,
    gamma: float = 1.0,
    lambd: float = 0.0,
    multiplicative: bool = False,
    training: bool = True,
    *,
    noise: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """yᵢ = Σⱼ wᵢⱼ (xⱼ + eᵢⱼ) + bᵢ with eᵢⱼ ~ N(0, σ²|wᵢⱼ|^(−γ) + λ): noise on each connection, less where it is strong

    Multiplicative: wᵢⱼ xⱼ (1 + eᵢⱼ). The sum of a row's noise is normal itself, with the variance
    Σⱼ σ²|wᵢⱼ|^(2−γ) + λ wᵢⱼ² (each term times xⱼ² where multiplicative), so one number a unit and sample is drawn, not
    one a connection; the gradient flows through that variance. On average additive noise acts as a penalty
    σ²|w|^(2−γ) + λ w²: γ = 1 as L1, γ = 0 as L2, between them an elastic net.
    `noise` takes the place of the standard normal numbers that are drawn.
    Shapes: x [..., in], weight [out, in], y and noise [..., out].
    Source: Li and Liu, "Whiteout: Gaussian adaptive noise regularization in deep neural networks", 2016.
    """
    if not (sigma >= 0 and 0 <= gamma < 2 and lambd >= 0):
        raise OptionError(f"whiteout: sigma ≥ 0, 0 ≤ gamma < 2, lambd ≥ 0 are wanted; got {sigma}, {gamma}, {lambd}")
    y = _linear(input, weight, bias)
    if not training or (sigma == 0 and lambd == 0):
        return y
    if noise is None:
        noise = wrap((generator or default_generator()).normal(y.shape, dtype=y.dtype, device=y.device), None)
    size = _abs(weight)
    power = size if gamma == 1 else weight * weight if gamma == 0 else size ** (2.0 - gamma)
    variance = power * sigma**2
    if lambd:
        variance = variance + weight * weight * lambd
    if multiplicative:
        return y + noise * _sqrt(_linear(input * input, variance, None))
    return y + noise * _sqrt(variance.sum(axis=-1))


def gaussian_noise(
    input: Tensor,
    std: float = 0.1,
    training: bool = True,
    *,
    noise: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """y = x + s n with a standard normal n; x if not training. `noise` takes the place of a drawn n."""
    number("gaussian_noise: std", std, 0)
    if not training or (std == 0 and noise is None):
        return input
    return input + _normal(input, noise, generator) * std


def gaussian_dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    noise: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """y = x (1 + n √(p/(1 − p))) with a standard normal n: mean and variance of dropout, without its zeros

    Source: Srivastava et al., "Dropout", 2014, section 10.
    """
    _check_probability(p, "gaussian_dropout: p")
    if p == 1:
        raise OptionError("gaussian_dropout: p must be below 1")
    if not training or p == 0:
        return input
    return input * (_normal(input, noise, generator) * math.sqrt(p / (1 - p)) + 1)


def _normal(input: Tensor, noise: Tensor | None, generator: Generator | None) -> Tensor:
    if noise is not None:
        return noise
    tensor("gaussian noise", "input", input)
    drawn = (generator or default_generator()).normal(input.shape, dtype=input.dtype, device=input.device)
    return wrap(drawn, None)


class Mixed(NamedTuple):
    """What `mixup` gives: the mixed inputs, both targets, and the share λ of the first."""

    input: Tensor
    first: Tensor
    second: Tensor
    share: float


def mixup(
    input: Tensor, target: Tensor, alpha: float = 0.2, *, share: float | None = None, order: Any = None,
    generator: Generator | None = None,
) -> Mixed:  # fmt: skip
    """x̃ = λ xᵢ + (1 − λ) xⱼ for random pairs of a batch, with λ ~ Beta(α, α), one for the batch

    The loss is the mixture too: λ L(ŷ, first) + (1 − λ) L(ŷ, second). `share` and `order` (a permutation of the
    batch) take the place of drawn ones.
    Source: Zhang et al., "mixup: beyond empirical risk minimization", 2018.
    """
    generator = generator or default_generator()
    if share is None:
        if alpha < 0:
            raise OptionError(f"mixup: alpha must not be negative, got {alpha}")
        share = float(np.random.default_rng(generator.bits(4)).beta(alpha, alpha)) if alpha else 1.0
    _check_probability(share, "mixup: share")
    if order is None:
        order = generator.permutation(input.shape[0], input.device)
    order = order._array if isinstance(order, Tensor) else order
    other = input[order]
    return Mixed(input * share + other * (1 - share), target, target[order], share)
