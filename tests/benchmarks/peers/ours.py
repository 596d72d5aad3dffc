"""The workloads in tinygrad_mlsp, as a user would write them."""

from __future__ import annotations

import tinygrad_mlsp as tg
from tinygrad_mlsp import energy, nn, optim, viz
from tinygrad_mlsp.nn import functional as F


def chain(p):
    x, w, b = tg.Tensor(p.x), tg.Tensor(p.w, requires_grad=True), tg.Tensor(p.b, requires_grad=True)

    def step():
        w.grad = b.grad = None
        y = x
        for i in range(p.operations):
            y = y * w if i % 3 == 0 else y + b if i % 3 == 1 else tg.tanh(y)
        loss = y.sum()
        loss.backward()
        return loss, w.grad, b.grad

    return step


def _load(model, arrays):
    for parameter, array in zip(model.parameters(), arrays, strict=True):
        parameter.copy_(array)
    return model


def _optimizer(p, model):
    if p.optimizer == "adam":
        return optim.Adam(model.parameters(), lr=p.rate)
    return optim.SGD(model.parameters(), lr=p.rate, momentum=0.9)


def mlp(p):
    parts = []
    for n, m in zip(p.sizes, p.sizes[1:], strict=False):
        parts += [nn.Linear(n, m), nn.ReLU()]
    model = _load(nn.Sequential(*parts[:-1]), p.parameters)
    x, labels = tg.Tensor(p.x), tg.Tensor(p.labels)
    optimizer = _optimizer(p, model) if p.optimizer else None

    def step():
        if optimizer is not None:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        if optimizer is not None:
            optimizer.step()
        return (loss,)

    return step


def deep(p, watched=False):
    width = p.x.shape[1]
    parts = [part for _ in range(p.depth) for part in (nn.Linear(width, width), nn.Tanh())]
    model = _load(nn.Sequential(*parts), p.parameters)
    x, y = tg.Tensor(p.x), tg.Tensor(p.y)
    optimizer = optim.SGD(model.parameters(), lr=p.rate)
    if watched:
        viz.watch(model, every=1)

    def step():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return (loss,)

    return step


def deep_watched(p):
    return deep(p, watched=True)


def lstm(p):
    cell = _load(nn.LSTMCell(p.x.shape[2], p.hidden), p.parameters)
    xs, y = [tg.Tensor(x) for x in p.x], tg.Tensor(p.y)
    zero = tg.zeros(p.y.shape)
    optimizer = optim.SGD(cell.parameters(), lr=p.rate)

    def step():
        optimizer.zero_grad()
        state = (zero, zero)
        for x in xs:
            state = cell(x, state)
        loss = F.mse_loss(state[0], y)
        loss.backward()
        optimizer.step()
        return (loss,)

    return step


def lstm_layer(p):
    net = _load(nn.LSTM(p.x.shape[2], p.hidden), p.parameters)
    x, y = tg.Tensor(p.x), tg.Tensor(p.y)
    optimizer = optim.SGD(net.parameters(), lr=p.rate)

    def step():
        optimizer.zero_grad()
        outputs, _ = net(x)
        loss = F.mse_loss(outputs[-1], y)
        loss.backward()
        optimizer.step()
        return (loss,)

    return step


def lenet(p):
    features, hidden = [nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)], p.parameters[4::2]
    parts = [part for conv in features for part in (conv, nn.ReLU(), nn.MaxPool2d(2))] + [nn.Flatten()]
    for weight in hidden:
        parts += [nn.Linear(weight.shape[1], weight.shape[0]), nn.ReLU()]
    model = _load(nn.Sequential(*parts[:-1]), p.parameters)
    x, labels = tg.Tensor(p.x), tg.Tensor(p.labels)
    optimizer = optim.SGD(model.parameters(), lr=p.rate)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return (loss,)

    return step


def update(p):
    parameters = [nn.Parameter(a) for a in p.parameters]
    optimizer = optim.Adam(parameters, lr=p.rate)
    for parameter, g in zip(parameters, p.gradients, strict=True):
        parameter.grad = g

    def step():
        optimizer.step()
        return (parameters[0],)

    return step


def additions(p):
    x, one = tg.Tensor(p.x, requires_grad=True), tg.Tensor(p.one)

    def step():
        x.grad = None
        y = x
        for _ in range(p.count):
            y = y + one
        y.sum().backward()
        return y.detach(), x.grad

    return step


def contrastive(p):
    model = energy.RBM(*p.weight.shape)
    model.weight.copy_(p.weight)
    optimizer = optim.SGD(model.parameters(), lr=p.rate)
    samples, v = energy.FromData(model), tg.Tensor(p.x)

    def step():
        optimizer.zero_grad()
        energy.contrastive_divergence(model, v, samples).backward()
        optimizer.step()
        return (model.weight[0],)

    return step
