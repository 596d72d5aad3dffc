"""The workloads written out in NumPy without any autograd, in buffers made once: about the limit of NumPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def chain(p):
    kinds = [i % 3 for i in range(p.operations)]
    values = [p.x, *(np.empty_like(p.x) for _ in kinds)]
    dw, db, g, t = (np.empty_like(p.x) for _ in range(4))
    one = np.ones(1, np.float32)
    w, b = p.w, p.b

    def step():
        for i, kind in enumerate(kinds):
            if kind == 0:
                np.multiply(values[i], w, values[i + 1])
            elif kind == 1:
                np.add(values[i], b, values[i + 1])
            else:
                np.tanh(values[i], values[i + 1])
        dw.fill(0), db.fill(0), g.fill(1)
        for i in range(len(kinds) - 1, -1, -1):
            if kinds[i] == 0:
                np.multiply(g, values[i], t)
                np.add(dw, t, dw)
                np.multiply(g, w, g)
            elif kinds[i] == 1:
                np.add(db, g, db)
            else:
                np.multiply(values[i + 1], values[i + 1], t)
                np.subtract(one, t, t)
                np.multiply(g, t, g)
        return values[-1].sum(), dw, db

    return step


def _arenas(arrays):
    """The parameters and their gradients, each as views of one flat array."""
    flat = np.concatenate([a.ravel() for a in arrays])
    gradient = np.zeros_like(flat)
    cuts = np.cumsum([0, *(a.size for a in arrays)])

    def views(memory):
        return [memory[start:stop].reshape(a.shape) for a, (start, stop) in zip(arrays, pairwise(cuts), strict=True)]

    return flat, gradient, views(flat), views(gradient)


def _blocks(update, *arenas, size=65536):
    """Applies an update block by block, so that a block stays in the cache."""
    blocks = [tuple(a[i : i + size] for a in arenas) for i in range(0, len(arenas[0]), size)]

    def run(*scalars):
        for block in blocks:
            update(*block, *scalars)

    return run


def sgd(flat, gradient, rate):
    t = np.empty_like(flat)
    rate = np.float32(rate)

    def update(p, g, t):
        np.multiply(g, rate, t)
        np.subtract(p, t, p)

    return _blocks(update, flat, gradient, t)


def momentum(flat, gradient, rate, factor=0.9):
    v, t = np.zeros_like(flat), np.empty_like(flat)
    rate, factor = np.float32(rate), np.float32(factor)

    def update(p, g, v, t):
        np.multiply(v, factor, v)
        np.add(v, g, v)
        np.multiply(v, rate, t)
        np.subtract(p, t, p)

    return _blocks(update, flat, gradient, v, t)


def adam(flat, gradient, rate, betas=(0.9, 0.999), eps=1e-8):
    """With m/(1−β₁) and v/(1−β₂) as state, which saves two passes; the constants go into the step size and ε."""
    m, v, t = np.zeros_like(flat), np.zeros_like(flat), np.empty_like(flat)
    f = np.float32
    beta1, beta2 = f(betas[0]), f(betas[1])

    def update(p, g, m, v, t, scale, small):
        np.multiply(m, beta1, m)
        np.add(m, g, m)
        np.multiply(g, g, t)
        np.multiply(v, beta2, v)
        np.add(v, t, v)
        np.sqrt(v, t)
        np.add(t, small, t)
        np.divide(m, t, t)
        np.multiply(t, scale, t)
        np.subtract(p, t, p)

    blocks = _blocks(update, flat, gradient, m, v, t)
    time = 0

    def step():
        nonlocal time
        time += 1
        root = ((1 - betas[1] ** time) / (1 - betas[1])) ** 0.5
        blocks(f(rate * (1 - betas[0]) / (1 - betas[0] ** time) * root), f(eps * root))

    return step


def update(p):
    flat, gradient, parameters, gradients = _arenas(p.parameters)
    for mine, g in zip(gradients, p.gradients, strict=True):
        mine[...] = g
    run = adam(flat, gradient, p.rate)

    def step():
        run()
        return (parameters[0],)

    return step


def mlp(p):
    flat, gradient, parameters, gradients = _arenas(p.parameters)
    weights, biases, dweights, dbiases = parameters[::2], parameters[1::2], gradients[::2], gradients[1::2]
    rows, n = np.arange(len(p.labels)), len(p.labels)
    outs = [np.empty((n, len(b)), np.float32) for b in biases]
    widest = max((h.size for h in outs[:-1]), default=0)
    spare = [np.empty(widest, np.float32) for _ in range(2)]  # the gradient flows back from one to the other
    mask = np.empty(widest, bool)
    last = len(weights) - 1
    update = {"adam": adam, "momentum": momentum}[p.optimizer](flat, gradient, p.rate) if p.optimizer else None

    def step():
        h = p.x
        for i, (w, b, out) in enumerate(zip(weights, biases, outs, strict=True)):
            np.matmul(h, w.T, out)
            np.add(out, b, out)
            if i < last:
                np.maximum(out, 0, out=out)
            h = out
        np.subtract(h, h.max(1, keepdims=True), h)
        picked = h[rows, p.labels]
        np.exp(h, h)
        total = h.sum(1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - picked)
        np.divide(h, total, h)
        h[rows, p.labels] -= 1
        g = np.divide(h, n, h)
        for i in range(last, -1, -1):
            np.matmul(g.T, outs[i - 1] if i else p.x, dweights[i])
            np.sum(g, 0, out=dbiases[i])
            if i:
                before = outs[i - 1]
                inward = spare[i % 2][: before.size].reshape(before.shape)
                np.matmul(g, weights[i], inward)
                open = mask[: before.size].reshape(before.shape)
                np.greater(before, 0, open)
                g = np.multiply(inward, open, inward)
        if update is not None:
            update()
        return (loss,)

    return step


def deep(p):
    flat, gradient, parameters, gradients = _arenas(p.parameters)
    weights, biases, dweights, dbiases = parameters[::2], parameters[1::2], gradients[::2], gradients[1::2]
    outs = [np.empty_like(p.x) for _ in weights]
    g, t = np.empty_like(p.x), np.empty_like(p.x)
    one = np.ones(1, np.float32)
    update = sgd(flat, gradient, p.rate)

    def step():
        h = p.x
        for w, b, out in zip(weights, biases, outs, strict=True):
            np.matmul(h, w.T, out)
            np.add(out, b, out)
            h = np.tanh(out, out)
        np.subtract(h, p.y, g)
        loss = np.dot(g.ravel(), g.ravel()) / g.size
        np.multiply(g, np.float32(2 / g.size), g)
        for i in range(len(weights) - 1, -1, -1):
            np.multiply(outs[i], outs[i], t)
            np.subtract(one, t, t)
            np.multiply(g, t, t)
            np.matmul(t.T, outs[i - 1] if i else p.x, dweights[i])
            np.sum(t, 0, out=dbiases[i])
            if i:
                np.matmul(t, weights[i], g)
        update()
        return (loss,)

    return step


deep_watched = deep  # for the ratio: what it is without


def lstm(p):
    """Feature-major: state and gates are [features, batch], so that each gate is one contiguous block,
    [x; h; 1] is one column stack, and the weights' gradient is one product over all steps."""
    n, (steps, batch, inputs) = p.hidden, p.x.shape
    w_x, w_h, b_x, b_h = p.parameters
    w = np.concatenate([w_x, w_h, (b_x + b_h)[:, None]], 1)  # [4 hidden, inputs + hidden + 1]
    order = np.r_[0 : 2 * n, 3 * n : 4 * n, 2 * n : 3 * n]  # input, forget, output, cell: the sigmoids side by side
    w = np.ascontiguousarray(w[order])
    rows = inputs + n + 1
    stacked = np.ones((rows, steps, batch), np.float32)
    stacked[:inputs] = p.x.transpose(2, 0, 1)
    stacked[inputs : inputs + n, 0] = 0
    column = np.empty((rows, batch), np.float32)
    gates = np.empty((4 * n, steps, batch), np.float32)
    z = np.empty((4 * n, batch), np.float32)
    cells, tanhs = np.zeros((steps + 1, n, batch), np.float32), np.empty((steps, n, batch), np.float32)
    one, half = np.ones(1, np.float32), np.full(1, 0.5, np.float32)
    y = np.ascontiguousarray(p.y.T)
    h, t, dc = np.empty((n, batch), np.float32), np.empty((n, batch), np.float32), np.empty((n, batch), np.float32)
    dz, dgates, dw = np.empty_like(z), np.empty_like(gates), np.empty_like(w)
    column[-1] = 1
    rate, doubled = np.float32(p.rate), np.ones((1, w.shape[1]), np.float32)
    doubled[0, -1] = 2  # two biases, one gradient: their sum moves twice as far

    def step():
        h.fill(0)
        for k in range(steps):
            stacked[inputs : inputs + n, k] = h
            np.copyto(column, stacked[:, k])
            np.matmul(w, column, z)
            s = z[: 3 * n]
            np.multiply(s, half, s)
            np.tanh(z, z)
            np.add(s, one, s)
            np.multiply(s, half, s)
            gates[:, k] = z
            np.multiply(z[n : 2 * n], cells[k], cells[k + 1])
            np.multiply(z[:n], z[3 * n :], t)
            np.add(cells[k + 1], t, cells[k + 1])
            np.tanh(cells[k + 1], tanhs[k])
            np.multiply(z[2 * n : 3 * n], tanhs[k], h)
        np.subtract(h, y, t)
        loss = np.dot(t.ravel(), t.ravel()) / t.size
        dh = np.multiply(t, np.float32(2 / t.size))
        dc.fill(0)
        for k in range(steps - 1, -1, -1):
            np.copyto(z, gates[:, k])
            i, f, o, g = (z[j * n : (j + 1) * n] for j in range(4))
            di, df, do, dg = (dz[j * n : (j + 1) * n] for j in range(4))
            np.multiply(dh, tanhs[k], do)
            np.multiply(tanhs[k], tanhs[k], t)
            np.subtract(one, t, t)
            np.multiply(t, o, t)
            np.multiply(t, dh, t)
            np.add(dc, t, dc)
            np.multiply(dc, g, di)
            np.multiply(dc, cells[k], df)
            np.multiply(dc, i, dg)
            np.multiply(dc, f, dc)
            s, ds = z[: 3 * n], dz[: 3 * n]
            np.multiply(ds, s, ds)
            np.subtract(one, s, s)
            np.multiply(ds, s, ds)
            np.multiply(g, g, g)
            np.subtract(one, g, g)
            np.multiply(dg, g, dg)
            dgates[:, k] = dz
            if k:
                dh = np.matmul(w[:, inputs : inputs + n].T, dz, dh)
        np.matmul(dgates.reshape(4 * n, -1), stacked.reshape(rows, -1).T, dw)
        np.multiply(dw, doubled, dw)
        np.multiply(dw, rate, dw)
        np.subtract(w, dw, w)
        return (loss,)

    return step


lstm_layer = lstm


class _Convolution:
    """ReLU and 2 × 2 max-pooling after a convolution, of images [height, channels, width, batch].

    A row of an image is copied once for each column of the kernel; the windows of rows overlap in the copy.
    """

    def __init__(self, image, w, b, dw, db):
        height, channels, width, batch = image.shape
        outputs, _, self.k, _ = w.shape
        rows, self.columns = height - self.k + 1, width - self.k + 1
        self.image, self.batch, self.b, self.db = image, batch, b.reshape(-1, 1), db
        n, size = self.columns * batch, channels * self.k
        self.copies = np.empty((height, channels, self.k, self.columns, batch), np.float32)
        strides = (size * n * 4, n * 4, 4)
        self.windows = np.lib.stride_tricks.as_strided(self.copies, (rows, self.k * size, n), strides)
        self.w, self.dw = w.transpose(0, 2, 1, 3), dw.transpose(0, 2, 1, 3)  # in the order of the windows, as views
        self.flat = np.empty((outputs, self.k * size), np.float32)
        self.y, self.g = np.empty((2, rows, outputs, n), np.float32)
        self.across = np.empty((rows, outputs, self.columns // 2, batch), np.float32)
        self.first = np.empty_like(self.across)
        self.out = np.empty((rows // 2, outputs, self.columns // 2, batch), np.float32)
        self.parts = np.empty((rows, self.k, channels, self.k, self.columns, batch), np.float32)
        self.inward = np.empty_like(image)

    def forward(self):
        for j in range(self.k):
            self.copies[:, :, j] = self.image[:, :, j : j + self.columns]
        np.copyto(self.flat.reshape(self.w.shape), self.w)
        np.matmul(self.flat, self.windows, out=self.y)
        np.add(self.y, self.b, self.y)
        np.maximum(self.y, 0, out=self.y)
        y = self.y.reshape(*self.y.shape[:2], self.columns, self.batch)
        np.maximum(y[:, :, ::2], y[:, :, 1::2], out=self.across)
        np.maximum(self.across[::2], self.across[1::2], out=self.out)
        return self.out

    def backward(self, g, inward):
        y = self.y.reshape(*self.y.shape[:2], self.columns, self.batch)
        whole = self.g.reshape(y.shape)
        upper = self.across[::2] == self.out
        np.multiply(g, upper, out=self.first[::2])
        np.multiply(g, ~upper, out=self.first[1::2])
        left = y[:, :, ::2] == self.across
        np.multiply(self.first, left, out=whole[:, :, ::2])
        np.multiply(self.first, ~left, out=whole[:, :, 1::2])
        np.multiply(self.g, self.y > 0, out=self.g)
        np.sum(self.g, (0, 2), out=self.db)
        total = np.matmul(self.g, self.windows.swapaxes(1, 2)).sum(0)
        np.copyto(self.dw, total.reshape(self.dw.shape))
        if inward:
            np.matmul(self.flat.T, self.g, out=self.parts.reshape(len(y), self.flat.shape[1], -1))
            self.inward.fill(0)
            for i in range(self.k):
                for j in range(self.k):
                    self.inward[i : i + len(y), :, j : j + self.columns] += self.parts[:, i, :, j]
        return self.inward


def lenet(p):
    """Batch innermost, so that every copy, sum and maximum runs along contiguous memory."""
    flat, gradient, parameters, gradients = _arenas(p.parameters)
    n, _, size, _ = p.x.shape
    image = np.zeros((size + 4, 1, size + 4, n), np.float32)
    image[2:-2, :, 2:-2] = p.x.transpose(2, 1, 3, 0)
    first = _Convolution(image, *parameters[:2], *gradients[:2])
    second = _Convolution(first.out, *parameters[2:4], *gradients[2:4])
    weights, biases, dweights, dbiases = parameters[4::2], parameters[5::2], gradients[4::2], gradients[5::2]
    outs = [np.empty((n, weights[0].shape[1]), np.float32), *(np.empty((n, len(b)), np.float32) for b in biases)]
    rows, update = np.arange(n), sgd(flat, gradient, p.rate)

    def step():
        first.forward()
        pooled = second.forward().transpose(3, 1, 0, 2)
        outs[0].reshape(pooled.shape)[...] = pooled
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            np.matmul(outs[i], w.T, outs[i + 1])
            np.add(outs[i + 1], b, outs[i + 1])
            if i + 1 < len(weights):
                np.maximum(outs[i + 1], 0, out=outs[i + 1])
        h = outs[-1]
        np.subtract(h, h.max(1, keepdims=True), h)
        picked = h[rows, p.labels]
        np.exp(h, h)
        total = h.sum(1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - picked)
        np.divide(h, total, h)
        h[rows, p.labels] -= 1
        g = np.divide(h, n, h)
        for i in range(len(weights) - 1, -1, -1):
            np.matmul(g.T, outs[i], dweights[i])
            np.sum(g, 0, out=dbiases[i])
            g = np.matmul(g, weights[i])
            if i:
                np.multiply(g, outs[i] > 0, g)
        g = second.backward(g.reshape(pooled.shape).transpose(2, 1, 3, 0), inward=True)
        first.backward(g, inward=False)
        update()
        return (loss,)

    return step


def contrastive(p):
    """Plain NumPy as it would be written, with the generator that is quickest."""
    random, w = np.random.default_rng(0), p.weight.copy()
    b, c = np.zeros(w.shape[0], np.float32), np.zeros(w.shape[1], np.float32)
    rate = np.float32(p.rate / len(p.x))

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def drawn(probability):
        return (random.random(probability.shape, dtype=np.float32) < probability).astype(np.float32)

    def step():
        first = sigmoid(p.x @ w + c)
        v = drawn(sigmoid(drawn(first) @ w.T + b))
        second = sigmoid(v @ w + c)
        np.add(w, rate * (p.x.T @ first - v.T @ second), w)
        np.add(b, rate * (p.x - v).sum(0), b)
        np.add(c, rate * (first - second).sum(0), c)
        return (w[0],)

    return step
