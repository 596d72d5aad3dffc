"""Losses whose stable or fused form needs a rule of its own; the rest are compositions in `nn.functional`."""

from __future__ import annotations

from ..op import elementwise, general


@general
def cross_entropy(xp, logits, target):
    """y = ln Σⱼ e^(xⱼ) − x_target, in nats     x̄ = (softmax(x) − onehot) ȳ

    Shapes: logits [..., classes], target [...] of integers, y [...].
    """
    x = xp.below(logits, xp.max(logits, axis=-1, keepdims=True))
    picked = xp.take_along_axis(x, xp.expand_dims(target, -1), axis=-1)
    return xp.log(xp.sum(xp.exp(x), axis=-1)) - xp.squeeze(picked, -1)


def _towards_target(xp, g, logits, target):
    g = xp.expand_dims(g, -1)
    return xp.softmax(logits, axis=-1) * g - xp.scatter_along_axis(g, xp.expand_dims(target, -1), logits.shape, -1)


cross_entropy.adjoints(logits=_towards_target)
cross_entropy.tangents(
    logits=lambda xp, t, logits, target: (
        xp.sum(xp.softmax(logits, axis=-1) * t, axis=-1)
        - xp.squeeze(xp.take_along_axis(t, xp.expand_dims(target, -1), axis=-1), -1)
    )
)
cross_entropy.on_failure(
    lambda x, t: (
        f"logits of shape {x} want a target of shape {x[:-1]} with classes 0 to {x[-1] - 1 if x else '?'}, got {t}"
    )
)


@elementwise
def binary_cross_entropy_with_logits(xp, logits, target):
    """y = −t ln σ(x) − (1 − t) ln(1 − σ(x)), in nats     ∂y/∂x = σ(x) − t     ∂y/∂t = −x"""
    share = xp.where(logits > 0, 1 - target, -target)
    certain = share == 0  # where infinite logits are right, and cost nothing
    return xp.where(certain, 0, logits) * share + xp.log1p(xp.exp(-xp.abs(logits)))


binary_cross_entropy_with_logits.slopes(
    logits=lambda xp, logits, target: xp.sigmoid(logits) - target, target=lambda logits: -logits
)


@elementwise
def binary_cross_entropy(xp, x, target):
    """y = −t ln x − (1 − t) ln(1 − x), in nats     ∂y/∂x = (x − t)/(x (1 − x))     ∂y/∂t = ln(1 − x) − ln x

    No logarithm is below −100, and no x (1 − x) below 10⁻¹², so that a wrong certainty costs 100 nats, not ∞.
    """
    return (target - 1) * _log_of_rest(xp, x) - target * _log(xp, x)


def _log(xp, x):
    return xp.maximum(xp.where(x == 0, -100, xp.log(xp.where(x == 0, 1, x))), -100)


def _log_of_rest(xp, x):
    return xp.maximum(xp.where(x == 1, -100, xp.log1p(xp.where(x == 1, 0, -x))), -100)


binary_cross_entropy.slopes(
    x=lambda xp, x, target: (x - target) / xp.maximum(x * (1 - x), 1e-12),
    target=lambda xp, x: _log_of_rest(xp, x) - _log(xp, x),
).ordered()
binary_cross_entropy.at_kink("10¹² (x − t) in x, and 100 or −100 in t, at x = 0 and x = 1")
