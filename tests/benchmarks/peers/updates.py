"""Optimizers on lists of NumPy arrays, parameter by parameter, for peers that have none of their own."""

from __future__ import annotations

import numpy as np


def sgd(parameters, rate):
    def update(gradients):
        for p, g in zip(parameters, gradients, strict=True):
            p -= rate * g

    return update


def momentum(parameters, rate, factor=0.9):
    velocities = [np.zeros_like(p) for p in parameters]

    def update(gradients):
        for p, g, v in zip(parameters, gradients, velocities, strict=True):
            v *= factor
            v += g
            p -= rate * v

    return update


def adam(parameters, rate, betas=(0.9, 0.999), eps=1e-8):
    first, second = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
    time = 0

    def update(gradients):
        nonlocal time
        time += 1
        scale, root = rate / (1 - betas[0] ** time), (1 - betas[1] ** time) ** 0.5
        for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
            m *= betas[0]
            m += (1 - betas[0]) * g
            v *= betas[1]
            v += (1 - betas[1]) * (g * g)
            p -= scale * m / (np.sqrt(v) / root + eps)

    return update


def optimizer(p, parameters):
    """What a problem asks for; None where it only wants gradients."""
    if p.optimizer == "adam":
        return adam(parameters, p.rate)
    return momentum(parameters, p.rate) if p.optimizer == "momentum" else None
