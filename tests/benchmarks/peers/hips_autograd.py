"""The workloads in HIPS autograd."""

from __future__ import annotations

import autograd.numpy as np
from autograd import value_and_grad
from autograd.scipy.signal import convolve
from autograd.scipy.special import logsumexp

from . import updates


def chain(p):
    def loss(leaves):
        w, b = leaves
        y = p.x
        for i in range(p.operations):
            y = y * w if i % 3 == 0 else y + b if i % 3 == 1 else np.tanh(y)
        return np.sum(y)

    both = value_and_grad(loss)

    def step():
        value, (w, b) = both((p.w, p.b))
        return value, w, b

    return step


def mlp(p):
    parameters = [a.copy() for a in p.parameters]
    rows = np.arange(len(p.labels))
    update = updates.optimizer(p, parameters)

    def loss(parameters):
        h = p.x
        for i in range(0, len(parameters), 2):
            h = h @ parameters[i].T + parameters[i + 1]
            if i + 2 < len(parameters):
                h = np.maximum(h, 0)
        return np.mean(logsumexp(h, axis=1) - h[rows, p.labels])

    both = value_and_grad(loss)

    def step():
        value, gradients = both(parameters)
        if update is not None:
            update(gradients)
        return (value,)

    return step


def deep(p):
    parameters = [a.copy() for a in p.parameters]
    update = updates.sgd(parameters, p.rate)

    def loss(parameters):
        h = p.x
        for i in range(0, len(parameters), 2):
            h = np.tanh(h @ parameters[i].T + parameters[i + 1])
        return np.mean((h - p.y) ** 2)

    both = value_and_grad(loss)

    def step():
        value, gradients = both(parameters)
        update(gradients)
        return (value,)

    return step


def lstm(p):
    parameters = [a.copy() for a in p.parameters]
    update = updates.sgd(parameters, p.rate)
    n = p.hidden

    def sigmoid(x):
        return 0.5 * (np.tanh(0.5 * x) + 1)

    def loss(parameters):
        w_x, w_h, b_x, b_h = parameters
        h = c = np.zeros_like(p.y)
        for x in p.x:
            z = x @ w_x.T + b_x + h @ w_h.T + b_h
            i, f, u, o = (z[:, k * n : (k + 1) * n] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
            h = sigmoid(o) * np.tanh(c)
        return np.mean((h - p.y) ** 2)

    both = value_and_grad(loss)

    def step():
        value, gradients = both(parameters)
        update(gradients)
        return (value,)

    return step


def _pool(x):
    n, c, h, w = x.shape
    return np.max(np.max(np.reshape(x, (n, c, h // 2, 2, w // 2, 2)), axis=5), axis=3)


def lenet(p):
    parameters = [a.copy() for a in p.parameters]
    rows, padded = np.arange(len(p.labels)), np.pad(p.x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    update = updates.sgd(parameters, p.rate)

    def layer(x, w, b):
        y = convolve(x, w[:, :, ::-1, ::-1], axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")
        return _pool(np.maximum(y + b[:, None, None], 0))

    def loss(parameters):
        w1, b1, w2, b2, *rest = parameters
        h = layer(layer(padded, w1, b1), w2, b2)
        h = np.reshape(h, (len(h), -1))
        for i in range(0, len(rest), 2):
            h = h @ rest[i].T + rest[i + 1]
            if i + 2 < len(rest):
                h = np.maximum(h, 0)
        return np.mean(logsumexp(h, axis=1) - h[rows, p.labels])

    both = value_and_grad(loss)

    def step():
        value, gradients = both(parameters)
        update(gradients)
        return (value,)

    return step


def additions(p):
    def total(x):
        y = x
        for _ in range(p.count):
            y = y + p.one
        return np.sum(y)

    both = value_and_grad(total)

    def step():
        return both(p.x)

    return step
