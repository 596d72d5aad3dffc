"""The workloads in MyGrad, with its locking of arrays off, as its manual advises for speed."""

from __future__ import annotations

import mygrad as mg
from mygrad.nnet.activations import relu, sigmoid, tanh
from mygrad.nnet.layers import conv_nd, max_pool
from mygrad.nnet.losses import softmax_crossentropy

from . import updates

mg.turn_memory_guarding_off()


def _leaves(arrays):
    return [mg.tensor(a, copy=True) for a in arrays]


def _gradients(leaves):
    return [leaf.grad for leaf in leaves]


def chain(p):
    w, b = _leaves((p.w, p.b))

    def step():
        w.null_grad(), b.null_grad()
        y = mg.tensor(p.x, constant=True)
        for i in range(p.operations):
            y = y * w if i % 3 == 0 else y + b if i % 3 == 1 else mg.tanh(y)
        loss = y.sum()
        loss.backward()
        return loss, w.grad, b.grad

    return step


def mlp(p):
    leaves = _leaves(p.parameters)
    update = updates.optimizer(p, [leaf.data for leaf in leaves])

    def step():
        h = p.x
        for i in range(0, len(leaves), 2):
            h = mg.matmul(h, leaves[i].T) + leaves[i + 1]
            if i + 2 < len(leaves):
                h = relu(h)
        loss = softmax_crossentropy(h, p.labels)
        loss.backward()
        if update is not None:
            update(_gradients(leaves))
        for leaf in leaves:
            leaf.null_grad()
        return (loss,)

    return step


def deep(p):
    leaves = _leaves(p.parameters)
    update = updates.sgd([leaf.data for leaf in leaves], p.rate)

    def step():
        h = p.x
        for i in range(0, len(leaves), 2):
            h = tanh(mg.matmul(h, leaves[i].T) + leaves[i + 1])
        loss = mg.mean((h - p.y) ** 2)
        loss.backward()
        update(_gradients(leaves))
        for leaf in leaves:
            leaf.null_grad()
        return (loss,)

    return step


def lstm(p):
    leaves = _leaves(p.parameters)
    update = updates.sgd([leaf.data for leaf in leaves], p.rate)
    n = p.hidden

    def step():
        w_x, w_h, b_x, b_h = leaves
        h = c = mg.zeros_like(p.y)
        for x in p.x:
            z = mg.matmul(x, w_x.T) + b_x + mg.matmul(h, w_h.T) + b_h
            i, f, u, o = (z[:, k * n : (k + 1) * n] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * tanh(u)
            h = sigmoid(o) * tanh(c)
        loss = mg.mean((h - p.y) ** 2)
        loss.backward()
        update(_gradients(leaves))
        for leaf in leaves:
            leaf.null_grad()
        return (loss,)

    return step


def additions(p):
    (x,) = _leaves((p.x,))

    def step():
        x.null_grad()
        y = x
        for _ in range(p.count):
            y = y + p.one
        y.sum().backward()
        return y.data, x.grad

    return step


def lenet(p):
    leaves = _leaves(p.parameters)
    update = updates.sgd([leaf.data for leaf in leaves], p.rate)

    def step():
        h = p.x
        for i, border in ((0, 2), (2, 0)):
            b = mg.reshape(leaves[i + 1], (1, -1, 1, 1))
            h = max_pool(relu(conv_nd(h, leaves[i], stride=1, padding=border) + b), (2, 2), 2)
        h = mg.reshape(h, (len(p.x), -1))
        for i in range(4, len(leaves), 2):
            h = mg.matmul(h, leaves[i].T) + leaves[i + 1]
            if i + 2 < len(leaves):
                h = relu(h)
        loss = softmax_crossentropy(h, p.labels)
        loss.backward()
        update(_gradients(leaves))
        for leaf in leaves:
            leaf.null_grad()
        return (loss,)

    return step
