"""The variational bound, sigmoid belief nets and deep belief nets: everything against enumeration, in float64."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from support import holds, maker
from test_boltzmann import frequencies_fit, states_of

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn
from tinygrad_mlsp.energy import (
    DBN,
    RBM,
    Bernoulli,
    Factorial,
    Gaussian,
    Recognition,
    SigmoidBeliefNet,
    VariationalBound,
    binary_states,
    contrastive_divergence,
    fit,
    fit_mean_field,
    local_expectation_loss,
    up_down,
    wake_sleep,
)  # fmt: skip
from tinygrad_mlsp.energy import dbn as dbn_module
from tinygrad_mlsp.energy.dbn import Directed, log_conditional
from tinygrad_mlsp.errors import DivergenceError, DTypeError, OptionError, ShapeError, TrainingWarning
from tinygrad_mlsp.random import Generator

F64 = np.float64


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def log_bits(x: Any, z: Any) -> Any:
    """Σ ln P(xᵢ), P(xᵢ = 1) = σ(zᵢ)"""
    return np.where(np.asarray(x) == 1, np.log(sigmoid(z)), np.log(1 - sigmoid(z))).sum(axis=-1)


def randomized(module: nn.Module, seed: int, std: float = 1.0) -> Any:
    """Every parameter drawn anew, biases too."""
    generator = Generator(seed)
    for p in module.parameters():
        p.copy_(generator.normal(p.shape, 0.0, std, dtype=F64, device=p.device))
    return module


def gradients(module: nn.Module) -> dict[str, np.ndarray]:
    found = {n: p.grad.numpy().copy() for n, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return found


def alike(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


# Sigmoid belief nets


def belief(device: str, *sizes: int, seed: int = 0) -> SigmoidBeliefNet:
    return randomized(SigmoidBeliefNet(*(sizes or (3, 2, 2)), dtype=F64, device=device), seed)


def joint_by_hand(net: SigmoidBeliefNet, v: np.ndarray, h1: np.ndarray, h2: np.ndarray) -> np.ndarray:
    """ln p(v, h₁, h₂), factor by factor"""
    first, second = ((d.weight.numpy(), d.bias.numpy()) for d in net.down)  # type: ignore[attr-defined]
    return (
        log_bits(h2, net.top_bias.numpy())
        + log_bits(h1, h2 @ second[0].T + second[1])
        + log_bits(v, h1 @ first[0].T + first[1])
    )


def test_a_belief_net_is_the_product_of_its_conditionals(device: str) -> None:
    net, make = belief(device), maker(device)
    x = states_of(7)
    e = joint_by_hand(net, x[:, :3], x[:, 3:5], x[:, 5:])
    assert math.isclose(np.exp(e).sum(), 1)
    holds(net.log_joint(make(x[:, :3]), make(x[:, 3:])), e, tolerance=1e-12)
    p = np.exp(e).reshape(8, 16)
    v = make(states_of(3))
    holds(net.log_likelihood(v), np.log(p.sum(axis=1)), tolerance=1e-12)
    posterior = p / p.sum(axis=1, keepdims=True)
    holds(net.posterior(v).mean(), posterior @ states_of(4), tolerance=1e-12)
    holds(net.posterior(v).log_prob(net.states()), np.log(posterior).T, tolerance=1e-12)


def test_ancestral_and_conditional_samples_have_their_distributions(device: str) -> None:
    """20,000 ancestral and 3,000 conditional draws; false-alarm rate 1e-4 each."""
    net, generator = belief(device), Generator(1)
    x = states_of(7)
    p = np.exp(joint_by_hand(net, x[:, :3], x[:, 3:5], x[:, 5:]))
    v, h = net.sample(20000, generator)
    assert frequencies_fit(np.concatenate([v.numpy(), h.numpy()], axis=1), p)
    start_v, start_h = net.sample(3000, generator)
    start = start_v.numpy()
    start[:, 1] = 1
    v, h = net.gibbs(maker(device)(start), start_h, 30, clamp=np.array([False, True, False]), generator=generator)
    assert (v.numpy()[:, 1] == 1).all()
    given = p.reshape(2, 2, 2, 16)[:, 1].reshape(-1)
    assert frequencies_fit(np.concatenate([v.numpy()[:, [0, 2]], h.numpy()], axis=1), given / given.sum())
    rows = np.zeros((3000, 3), bool)
    rows[:1500, 0] = rows[1500:, 2] = True
    w, _ = net.gibbs(v, h, 3, clamp=rows, generator=generator)
    assert (w.numpy()[rows] == v.numpy()[rows]).all() and (w.numpy()[~rows] != v.numpy()[~rows]).any()
    with pytest.raises(ShapeError, match="clamp is a mask"):
        net.gibbs(v, h, clamp=np.zeros(2, bool))
    drawn = net.posterior(v[:1]).sample(5000, generator)[:, 0].numpy()
    given = p.reshape(8, 16)[int(v.numpy()[0] @ [4, 2, 1])]
    assert frequencies_fit(drawn, given / given.sum())


def test_the_likelihoods_gradient_is_that_of_finite_differences(device: str) -> None:
    net, v = belief(device), maker(device)(states_of(3)[[1, 6]])
    net.log_likelihood(v).mean().backward()
    for (name, p), g in zip(net.named_parameters(), gradients(net).values(), strict=True):
        values, flat = p.numpy().copy(), []
        for i in np.ndindex(p.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = values.copy()
                moved[i] += step
                p.copy_(moved)
                ends.append(net.log_likelihood(v).mean().item())
            flat.append((ends[0] - ends[1]) / 2e-5)
        p.copy_(values)
        np.testing.assert_allclose(g.reshape(-1), flat, atol=1e-8, err_msg=name)


# The bound


def test_the_bound_and_the_gap_make_the_likelihood_for_any_q(device: str) -> None:
    """bound + KL = ln p(v), each computed on its own, for random factorial q and for a recognition net's"""
    net, v = belief(device), maker(device)(states_of(3))
    qs: list[Any] = [Factorial(maker(device)(Generator(s).normal((8, 4), 0, 2, dtype=F64))) for s in range(5)]
    recognition = randomized(Recognition(net), 3)
    for q in [*qs, recognition(v), recognition.mean_field(v)]:
        bound = VariationalBound(lambda h: net.log_joint(v, h), q)
        q_of, p_of = np.exp(bound.log_q.numpy()), net.posterior(v).log_prob(net.states()).numpy()
        np.testing.assert_allclose(q_of.sum(axis=0), 1, atol=1e-12)
        kl = (q_of * (bound.log_q.numpy() - p_of)).sum(axis=0)
        assert (kl > 0).all()
        holds(bound.gap, kl, tolerance=1e-12)
        holds(bound.value + bound.gap, net.log_likelihood(v).numpy(), tolerance=1e-12)
        holds(bound.entropy - bound.expected_energy, bound.value.numpy(), tolerance=1e-12)
        holds(bound.log_evidence, net.log_likelihood(v).numpy(), tolerance=1e-12)
    holds(VariationalBound(lambda h: net.log_joint(v, h), qs[0]).entropy, qs[0].entropy().numpy(), tolerance=1e-12)


def test_the_gap_closes(device: str) -> None:
    """It is 0 at the posterior. By gradient it closes all the way where the posterior is factorial; where it is not,
    it falls, and the best factorial q leaves a gap."""
    net, v = belief(device), maker(device)(states_of(3))
    log_joint = lambda h: net.log_joint(v, h)
    exact = VariationalBound(log_joint, net.posterior(v))
    holds(exact.gap, np.zeros(8), tolerance=1e-12)
    holds(exact.value, net.log_likelihood(v).numpy(), tolerance=1e-12)
    single = belief(device, 3, 1)
    free = Factorial(maker(device)(np.zeros((8, 1))))
    one = lambda h: single.log_joint(v, h)
    fit_mean_field(one, free, steps=400, lr=0.1)
    assert VariationalBound(one, free).gap.numpy().max() < 1e-8
    q = Factorial(maker(device)(np.zeros((8, 4))))
    before = VariationalBound(log_joint, q).gap.mean().item()
    trace = fit_mean_field(log_joint, q, steps=200)
    after = VariationalBound(log_joint, q).gap.mean().item()
    assert 1e-3 < after < 0.5 * before and trace[-1] > trace[0]
    # a stationary point of mean field: each logit is the mean difference that its unit makes
    h, mean = states_of(4), q.mean.numpy()
    for i in range(4):
        others = np.exp(
            log_bits(h[:, None], np.log(mean / (1 - mean)))
            - log_bits(h[:, None, i : i + 1], np.log(mean / (1 - mean))[:, i : i + 1])
        )
        table = log_joint(net.states()).numpy()
        up, down = (((h[:, i] == s)[:, None] * others * table).sum(axis=0) for s in (1, 0))
        np.testing.assert_allclose(q.logits.numpy()[:, i], up - down, atol=0.05)


def test_q_that_samples_and_says_its_probabilities(device: str) -> None:
    """5,000 draws of each kind of q against its own log_prob; false-alarm rate 1e-4 each."""
    net, make = belief(device), maker(device)
    v = make(np.array([[1.0, 0, 1]]))
    recognition = randomized(Recognition(net), 3)
    for i, q in enumerate([Factorial(make([[0.3, -1.0, 2.0, 0.0]], dtype=F64)), recognition(v), net.posterior(v)]):
        drawn = q.sample(5000, Generator(i))
        assert drawn.shape == (5000, 1, 4)
        assert frequencies_fit(drawn[:, 0].numpy(), np.exp(q.log_prob(q.states())[:, 0].numpy()))
        for state in drawn[:3]:
            at = int(state.numpy()[0] @ [8, 4, 2, 1])
            assert math.isclose(q.log_prob(state).item(), q.log_prob(q.states())[at].item())
    by_hand = log_bits(
        states_of(4)[:, :2], v.numpy() @ recognition.up[0].weight.numpy().T + recognition.up[0].bias.numpy()
    )
    by_hand += log_bits(
        states_of(4)[:, 2:], states_of(4)[:, :2] @ recognition.up[1].weight.numpy().T + recognition.up[1].bias.numpy()
    )
    holds(recognition(v).log_prob(recognition(v).states()), by_hand[:, None], tolerance=1e-12)


def test_sampled_bounds_and_their_gradients_are_right_on_average(device: str) -> None:
    """20,000 draws: within five standard errors of the exact bound, and gradients near the exact ones."""
    net, make = belief(device), maker(device)
    v = make(states_of(3)[[2, 5]])
    log_joint = lambda h: net.log_joint(v, h)
    recognition = randomized(Recognition(net), 3)
    exact = VariationalBound(log_joint, recognition(v))
    exact.loss().backward()
    expected = gradients(recognition) | gradients(net)
    bound = VariationalBound(log_joint, recognition(v), samples=20000, generator=Generator(0))
    error = (bound.log_p - bound.log_q).numpy().std(axis=0) / math.sqrt(20000)
    assert (np.abs(bound.value.numpy() - exact.value.numpy()) < 5 * error).all()
    np.testing.assert_allclose(bound.entropy.numpy(), exact.entropy.numpy(), atol=0.05)
    near = VariationalBound(log_joint, Factorial(net.posterior(v).mean().log()), samples=20000, generator=Generator(1))
    np.testing.assert_allclose(near.log_evidence.numpy(), net.log_likelihood(v).numpy(), atol=0.05)
    assert (near.log_evidence.numpy() >= near.value.numpy()).all()
    assert math.isclose(bound.loss().item(), -bound.value.mean().item())
    bound.loss().backward()
    alike(gradients(recognition) | gradients(net), expected, 0.05)
    pairs = make(np.repeat(states_of(3)[[2, 5]], 10000, axis=0))  # two draws for each: the baseline is the other one
    VariationalBound(
        lambda h: net.log_joint(pairs, h), recognition(pairs), samples=2, generator=Generator(2)
    ).loss().backward()
    alike(gradients(recognition) | gradients(net), expected, 0.05)
    with pytest.raises(OptionError, match="leave `samples` out"):
        _ = bound.gap
    with pytest.raises(OptionError, match="2 samples or more"):
        VariationalBound(log_joint, recognition(v), samples=1).loss()


def test_local_expectations_are_the_gradient_with_less_noise(device: str) -> None:
    net, make = belief(device), maker(device)
    v = make(states_of(3)[[2, 5]])
    log_joint = lambda h: net.log_joint(v, h)
    logits = make(Generator(2).normal((2, 4), dtype=F64), requires_grad=True)
    VariationalBound(log_joint, Factorial(logits)).loss().backward()
    exact = {"logits": logits.grad.numpy(), **gradients(net)}  # type: ignore[union-attr]
    logits.grad = None
    local_expectation_loss(log_joint, Factorial(logits), 20000, generator=Generator(0)).backward()
    alike({"logits": logits.grad.numpy(), **gradients(net)}, exact, 0.02)  # type: ignore[union-attr]
    noise = []
    for local in (True, False):
        found = []
        for seed in range(50):
            logits.grad = None
            q, generator = Factorial(logits), Generator(seed)
            if local:
                local_expectation_loss(log_joint, q, 4, generator=generator).backward()
            else:
                VariationalBound(log_joint, q, samples=4, generator=generator).loss().backward()
            found.append(logits.grad.numpy().copy())  # type: ignore[union-attr]
        noise.append(np.var(found, axis=0).sum())
    assert noise[0] < 0.5 * noise[1]


# Learning


def patterns(n: int, seed: int = 0) -> np.ndarray:
    """One of two blocks is on, or both: what two causes make."""
    causes = Generator(seed).bernoulli(0.5, (n, 2)).astype(float)
    return np.repeat(causes, 2, axis=1)


def test_wake_sleep_is_the_two_likelihoods(device: str) -> None:
    """Given the same draws: awake only the net gets a gradient, −ln p(v, h)'s; asleep only recognition, −ln q's."""
    net, make = belief(device), maker(device)
    recognition = randomized(Recognition(net), 3)
    v = make(states_of(3))
    wake_sleep(net, recognition, v, generator=Generator(5)).backward()
    found = gradients(net) | {"q." + k: g for k, g in gradients(recognition).items()}
    generator = Generator(5)
    h = recognition(v).sample(1, generator)[0]
    dreamt, cause = net.sample(8, generator)
    (-net.log_joint(v, h).mean()).backward()
    assert not gradients(recognition)
    awake = gradients(net)
    (-recognition(dreamt).log_prob(cause).mean()).backward()
    assert not any(p.grad is not None for p in net.parameters())
    alike(found, awake | {"q." + k: g for k, g in gradients(recognition).items()}, 1e-12)


@pytest.mark.parametrize("how", ["wake-sleep", "likelihood ratio", "mean field", "exact"])
def test_a_belief_net_learns(how: str, device: str) -> None:
    """Four patterns of 4 units, ln 4 = 1.39 nats: from 4 × ln 2 = 2.77, the exact likelihood rises by every method."""
    generator = Generator(0)
    net = SigmoidBeliefNet(4, 3, std=0.1, generator=generator, dtype=F64, device=device)
    recognition = Recognition(net, std=0.1, generator=generator)
    optimizer = tg.optim.Adam([*net.parameters(), *recognition.parameters()], 0.05)
    data = maker(device)(patterns(200))
    logits = tg.Tensor(np.zeros((200, 3)), True, device=device)
    steps = 400 if how == "wake-sleep" else 250
    if how == "mean field":
        optimizer.add_param_group({"params": [logits], "lr": 0.2})
    for _ in range(steps):
        log_joint = lambda h: net.log_joint(data, h)
        if how == "wake-sleep":
            loss = wake_sleep(net, recognition, data, generator=generator)
        elif how == "likelihood ratio":
            loss = VariationalBound(log_joint, recognition(data), samples=5, generator=generator).loss()
        elif how == "mean field":
            loss = local_expectation_loss(log_joint, Factorial(logits), generator=generator)
        else:
            loss = -net.log_likelihood(data).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    reached = net.log_likelihood(data).mean().item()
    assert reached > -1.75, reached
    if how in ("wake-sleep", "likelihood ratio"):
        gap = VariationalBound(lambda h: net.log_joint(data, h), recognition(data)).gap.mean().item()
        assert gap < 0.15


def test_belief_nets_refuse_what_they_cannot_take(device: str) -> None:
    net, make = belief(device), maker(device)
    with pytest.raises(OptionError, match="hidden layers"):
        SigmoidBeliefNet(3)
    with pytest.raises(ShapeError, match=r"2 \+ 2 units"):
        net.log_joint(make(np.zeros((2, 3))), make(np.zeros((2, 5))))
    with pytest.raises(OptionError, match="more than 2"):
        SigmoidBeliefNet(3, 30).log_likelihood(make(np.zeros((2, 3)), dtype=np.float32))
    with pytest.raises(ShapeError, match=r"\[batch, hidden\]"):
        Factorial(make(np.zeros(3)))
    with pytest.raises(OptionError, match="at least 1"):
        VariationalBound(lambda h: h, Factorial(make(np.zeros((1, 3)))), samples=0)
    with pytest.raises(ShapeError, match="log_joint gave"):
        VariationalBound(lambda h: h, Factorial(make(np.zeros((1, 3)))))
    with pytest.raises(OptionError, match="inf in row 0, column 1"):
        net.check_data(np.array([[0, np.inf, 0]]), "learn")
    net.top_bias.copy_(np.full(2, np.nan))
    with pytest.raises(DivergenceError, match="not finite: top_bias"):
        wake_sleep(net, Recognition(net), make(np.zeros((2, 3))))


# Deep belief nets


def rbm(device: str, visible: Any, hidden: Any, seed: int, std: float = 0.8) -> RBM:
    return randomized(RBM(visible, hidden, dtype=F64, device=device), seed, std)


def deep(device: str, labels: int = 0, seed: int = 0) -> DBN:
    """3 visible units, 2 and 3 hidden ones, 2 on top, every parameter random and untied."""
    net = DBN(rbm(device, 3, 2, seed))
    net.add(3)
    net.add(2, labels)
    return randomized(net, seed + 1, 0.8)


def dbn_by_hand(net: DBN, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """ln p(v, h₁, h₂, y) for all states, and ln q(h₁, h₂ | v), loops and all."""
    top, (low, mid) = net.top, net.layers
    w, b, c = top.weight.numpy(), top.visible.bias.numpy(), top.hidden.bias.numpy()
    eye = np.eye(labels) if labels else np.zeros((1, 0))
    seen = [np.concatenate([x, y]) for x in states_of(3) for y in eye]
    weight = np.array([sum(math.exp(x @ b + t @ c + x @ w @ t) for t in states_of(2)) for x in seen])
    prior = np.log(weight / weight.sum()).reshape(8, len(eye))
    log_p, log_q = np.zeros((8, 4, 8, len(eye))), np.zeros((8, 4, 8))
    for i, v in enumerate(states_of(3)):
        for j, h1 in enumerate(states_of(2)):
            for k, h2 in enumerate(states_of(3)):
                log_p[i, j, k] = (
                    prior[k]
                    + log_bits(h1, mid.visible.bias.numpy() + mid.weight.numpy() @ h2)
                    + log_bits(v, low.visible.bias.numpy() + low.weight.numpy() @ h1)
                )
                log_q[i, j, k] = log_bits(h1, low.hidden.bias.numpy() + v @ low.recognition.numpy()) + log_bits(
                    h2, mid.hidden.bias.numpy() + h1 @ mid.recognition.numpy()
                )
    return log_p, log_q


@pytest.mark.parametrize("labels", [0, 2])
def test_a_deep_belief_net_against_enumeration(labels: int, device: str) -> None:
    net, make = deep(device, labels), maker(device)
    log_p, log_q = dbn_by_hand(net, labels)
    assert math.isclose(np.exp(log_p).sum(), 1)
    v = make(states_of(3))
    for y in range(max(labels, 1)):
        given = np.full(8, y) if labels else None
        truth = np.log(np.exp(log_p[..., y]).sum(axis=(1, 2)))
        holds(net.log_likelihood(v, given), truth, tolerance=1e-12)
        bound = net.bound(v, given)
        q = np.exp(log_q)
        holds(bound.value, (q * (log_p[..., y] - log_q)).sum(axis=(1, 2)), tolerance=1e-12)
        holds(bound.value + bound.gap, truth, tolerance=1e-12)
        sampled = net.bound(v, given, samples=4000, generator=Generator(y))
        np.testing.assert_allclose(sampled.value.numpy(), bound.value.numpy(), atol=0.1)
        h = make(np.concatenate([np.repeat(states_of(2), 8, axis=0), np.tile(states_of(3), (4, 1))], axis=1))
        holds(net.log_joint(v, h[:, None], given), log_p[..., y].reshape(8, 32).T, tolerance=1e-12)


def test_labels_are_classified_by_the_free_energy(device: str) -> None:
    net, make = deep(device, 2), maker(device)
    log_p, _ = dbn_by_hand(net, 2)
    prior = np.exp(log_p).sum(axis=(0, 1))  # p(h₂, y)
    p = prior / prior.sum(axis=1, keepdims=True)
    holds(net.top.class_probabilities(make(states_of(3))), p, tolerance=1e-12)
    v = make(states_of(3))
    means = net.up(v)[-1]
    assert net.classify(v, batch=3).tolist() == net.top.class_probabilities(means).numpy().argmax(axis=1).tolist()
    low, mid = net.layers
    h1 = sigmoid(low.hidden.bias.numpy() + states_of(3) @ low.recognition.numpy())
    holds(means, sigmoid(mid.hidden.bias.numpy() + h1 @ mid.recognition.numpy()), tolerance=1e-12)
    features = sigmoid(net.top.hidden.bias.numpy() + means.numpy() @ net.top.weight.numpy()[:3])
    holds(net(v), features, tolerance=1e-12)


@pytest.mark.parametrize("labels", [0, 2])
def test_fantasies_have_the_nets_distribution(labels: int, device: str) -> None:
    """4,000 chains in the top RBM and down; with labels of a class. False-alarm rate 1e-4."""
    net = deep(device, labels)
    p = np.exp(dbn_by_hand(net, labels)[0]).sum(axis=(1, 2))
    given = np.ones(4000, int) if labels else None
    drawn = net.sample(4000, 40, labels=given, sampled=True, generator=Generator(2)).numpy()
    p = p[:, -1] / p[:, -1].sum()
    assert frequencies_fit(drawn, p)
    means = net.sample(4000, 40, labels=given, generator=Generator(3)).numpy()
    np.testing.assert_allclose(means.mean(axis=0), p @ states_of(3), atol=0.03)
    from_data = net.sample(10, 0, start=maker(device)(np.ones((10, 3))), generator=Generator(4))
    assert from_data.shape == (10, 3)


@pytest.mark.parametrize("hidden", [4, 6])
def test_a_tied_start_is_tight(hidden: int, device: str) -> None:
    """The new net has the distribution of the RBM, and the bound is an equality; with more units too. An untied start
    has another. Training the new layer on q's samples raises the bound."""
    make = maker(device)
    below = rbm(device, 4, 3, 5)
    v, before = make(states_of(4)), below.log_likelihood(make(states_of(4))).numpy()
    net = DBN(below)
    net.add(hidden, tied=True, std=0.0)
    holds(net.log_likelihood(v), before, tolerance=1e-12)
    holds(net.bound(v).value, before, tolerance=1e-12)
    holds(net.bound(v).gap, np.zeros(16), tolerance=1e-12)
    data = make(patterns(100))
    start = net.bound(data).value.mean().item()
    optimizer = tg.optim.SGD(net.top.parameters(), 0.5)
    features = binary_states(3, F64, device)
    q = np.exp(net.q(data).log_prob(net.q(data).states()).numpy()).mean(axis=1)
    for _ in range(50):
        optimizer.zero_grad()
        (-(net.top.log_likelihood(features) * make(q)).sum()).backward()
        optimizer.step()
    assert net.bound(data).value.mean().item() > start + 0.01
    assert net.log_likelihood(data).mean().item() >= net.bound(data).value.mean().item()
    other = DBN(rbm(device, 4, 3, 5))
    other.add(hidden, tied=False, generator=Generator(0))
    assert np.abs(other.log_likelihood(v).numpy() - before).max() > 0.1
    with pytest.raises(OptionError, match="at least 4"):
        DBN(rbm(device, 4, 3, 5)).add(2, tied=True)


def test_a_centred_rbm_becomes_the_same_layer(device: str) -> None:
    below, make = rbm(device, 4, 3, 5), maker(device)
    below.center(make(patterns(50)), 1.0)
    v, h = make(states_of(4)), make(states_of(3))
    layer = Directed(below)
    holds(layer.up(v), below.hidden_input(v).numpy(), tolerance=1e-12)
    holds(layer.down(h), below.visible_input(h).numpy(), tolerance=1e-12)


def test_conditionals_of_gaussian_units(device: str) -> None:
    from scipy.stats import norm

    units = Gaussian(2, 0.7, dtype=F64, device=device)
    units.bias.copy_(np.array([0.3, -1.0]))
    x, sent = np.array([[0.1, 0.2]]), np.array([[0.5, 0.25]])
    expected = norm.logpdf(x, np.array([0.8, -0.75]), 0.7).sum(axis=1)
    holds(log_conditional(units, maker(device)(x), maker(device)(sent)), expected, tolerance=1e-12)


def expected_up_down(net: DBN, make: Any, v: Any) -> dict[str, np.ndarray]:
    """The mean gradients of wake and sleep, by enumeration; the top's chain in the limit, from the model itself."""
    states = net.q(v).states()
    q = np.exp(net.q(v).log_prob(states).numpy())
    (-(make(q) * net.log_joint(v, states)).sum(axis=0).mean()).backward()
    awake = gradients(net)
    every = make(states_of(3))
    joint = np.exp(net.log_joint(every, states).detach().numpy())
    (-(make(joint) * net.q(every).log_prob(states)).sum()).backward()
    return awake | gradients(net)


def test_up_down_is_wake_sleep_with_the_chain_on_top(device: str) -> None:
    """4,000 copies of the data and 40 rounds, so that the chain is the model: gradients near the exact ones, those of
    the generative weights from q, those of recognition from p, the top's the likelihood's."""
    net, make = deep(device), maker(device)
    v = make(states_of(3)[[1, 4, 6]])
    expected = expected_up_down(net, make, v)
    many = make(np.repeat(v.numpy(), 4000, axis=0))
    found = up_down(net, many, steps=40, generator=Generator(3))
    found.loss.backward()
    alike(gradients(net), expected, 0.02)
    assert math.isclose(found.loss.item(), (found.wake + found.top + found.sleep).item())
    for term, touched in ((0, {"weight", "visible"}), (2, {"recognition", "hidden"})):
        (up_down(net, v, generator=Generator(4)).wake if term == 0 else up_down(net, v).sleep).backward()
        assert {name.split(".")[2] for name in gradients(net)} == touched
    up_down(net, v).top.backward()
    assert {name.split(".")[0] for name in gradients(net)} == {"top"}


def test_up_down_with_labels_learns_the_association(device: str) -> None:
    """Pattern and label go together; from a greedy start up–down raises bound and likelihood, and classifies all."""
    generator, make = Generator(1), maker(device)
    x = patterns(200)
    y = x[:, 2].astype(int)

    def learn(machine: RBM, data: Any) -> None:
        optimizer = tg.optim.Adam(machine.parameters(), 0.05)
        for _ in range(60):
            optimizer.zero_grad()
            (machine.free_energy(data).mean() + machine.log_partition()).backward()
            optimizer.step()

    net = DBN.greedy(
        4, (4, 6), make(x), y, labels=2, learn=learn, sampled=True, std=0.1, generator=generator, dtype=F64,
        device=device,
    )  # fmt: skip
    data = make(x)
    before, likelihood = net.bound(data, y).value.mean().item(), net.log_likelihood(data, y).mean().item()
    optimizer = tg.optim.SGD(net.parameters(), 0.1)
    for _ in range(300):
        optimizer.zero_grad()
        up_down(net, data, y, steps=5, generator=generator).loss.backward()
        optimizer.step()
    assert net.bound(data, y).value.mean().item() > before + 0.05
    assert net.log_likelihood(data, y).mean().item() > likelihood
    assert (net.classify(data).numpy() == y).mean() == 1.0


def test_the_net_for_backprop_answers_as_the_belief_net(device: str) -> None:
    net, make = deep(device), maker(device)
    v = make(states_of(3))
    mlp = net.to_mlp()
    assert [type(m).__name__ for m in mlp] == ["Linear", "Sigmoid"] * 3
    holds(mlp(v), net(v).numpy(), tolerance=1e-12)
    with_labels = deep(device, 2)
    holds(with_labels.to_mlp()(v), with_labels(v).numpy(), tolerance=1e-12)
    assert net.to_mlp(5)(v).shape == (8, 5)
    for each in (net, with_labels):
        seen = each.top_data(v, np.zeros(8, int) if each.labels else None)
        each.top.center(seen, 1.0)
        holds(each.to_mlp()(v), each(v).numpy(), tolerance=1e-12)
    other = copy.deepcopy(net)
    randomized(other, 9)
    other.load_state_dict(net.state_dict())
    holds(other.log_likelihood(v), net.log_likelihood(v).numpy())
    mlp[0].weight.copy_(mlp[0].weight.numpy() + 1)  # a copy, not the net's own
    assert np.abs(mlp(v).numpy() - net(v).numpy()).max() > 0.01


def test_an_unrolled_net_reconstructs_by_means(device: str) -> None:
    net, make = deep(device), maker(device)
    v = make(states_of(3))
    unrolled = net.unroll()
    x = net.top.visible.mean(net.top.visible_input(net(v)))
    for layer in reversed(net.layers):
        x = layer.visible.mean(layer.down(x))
    holds(unrolled(v), x.numpy(), tolerance=1e-12)
    assert len(list(unrolled.parameters())) == 12
    grown = DBN(rbm(device, Gaussian(3, 0.5, dtype=F64, device=device), 2, 0))
    grown.add(Gaussian(2, dtype=F64, device=device))
    grown.top.weight.copy_(Generator(0).normal((2, 2), dtype=F64))
    unrolled = grown.unroll()
    assert [type(m).__name__ for m in unrolled[0]] == ["Linear", "Sigmoid", "Linear", "Identity"]
    assert [type(m).__name__ for m in unrolled[1]] == ["Linear", "Sigmoid", "Linear", "Identity"]
    code = grown(v)
    holds(unrolled[0](v), code.numpy(), tolerance=1e-12)
    low = grown.layers[0]
    x = low.visible.mean(low.down(grown.top.visible.mean(grown.top.visible_input(code))))
    holds(unrolled(v), x.numpy(), tolerance=1e-12)
    with pytest.raises(OptionError, match="label units"):
        deep(device, 2).unroll()


def test_deep_belief_nets_refuse_what_they_cannot_take(device: str) -> None:
    net, make = deep(device), maker(device)
    v = make(np.zeros((2, 3)))
    with pytest.raises(OptionError, match="nothing can be added"):
        deep(device, 2).add(3)
    with pytest.raises(OptionError, match="y is missing"):
        deep(device, 2).log_likelihood(v)
    with pytest.raises(OptionError, match="classes are 0 to 1"):
        deep(device, 2).log_likelihood(v, np.array([0, 2]))
    with pytest.raises(ShapeError, match="class numbers"):
        deep(device, 2).log_likelihood(v, np.zeros((2, 3)))
    with pytest.raises(OptionError, match="no label units"):
        net.sample(2, 1, labels=np.array([0, 1]))
    with pytest.raises(OptionError, match="no label units"):
        net.classify(v)
    with pytest.raises(OptionError, match="give both or neither"):
        DBN.greedy(3, (2,), v, labels=2, learn=lambda m, d: None)
    with pytest.raises(OptionError, match="sizes of one or more"):
        DBN.greedy(3, 2, v, learn=lambda m, d: None)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="learn is a function"):
        DBN.greedy(3, (2,), v, learn="cd")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="begins with an RBM"):
        DBN(3)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"end in Softmax\(2\)"):
        DBN(rbm(device, 3, 2, 0), 2)
    with pytest.raises(ShapeError, match="3 fantasies start from 3 rows, got 2"):
        net.sample(3, 1, start=v)
    with pytest.raises(OptionError, match="one layer"):
        up_down(rbm(device, 3, 2, 0), v)  # type: ignore[arg-type]
    assert net.log_likelihood(v[:0]).shape == (0,)
    with pytest.raises(OptionError, match="one layer"):
        up_down(DBN(rbm(device, 3, 2, 0)), v)
    with pytest.raises(OptionError, match="no bound"):
        DBN(rbm(device, 3, 2, 0)).bound(v)
    with pytest.raises(OptionError, match="outside"):
        net.fit_layer(lambda m, d: None, np.full((2, 3), 7.0))
    with pytest.raises(DivergenceError, match=r"layer 3.*not finite: weight"):
        net.fit_layer(lambda m, d: m.weight.copy_(m.weight.numpy() * math.nan), np.zeros((2, 3)))
    alone = DBN(rbm(device, 3, 2, 0))
    holds(alone.log_likelihood(v), alone.top.log_likelihood(v).numpy(), tolerance=1e-12)
    assert alone.sample(5, 2).shape == (5, 3)
    assert isinstance(alone.visible, Bernoulli) and alone.sizes == ()


# Hard data


@pytest.mark.parametrize("case", ["all zero", "one example", "more hidden than data"])
def test_learning_stays_finite_on_poor_data(case: str, device: str) -> None:
    x = {"all zero": np.zeros((20, 4)), "one example": patterns(1), "more hidden than data": patterns(3)}[case]
    v, generator = maker(device)(x), Generator(0)
    net = SigmoidBeliefNet(
        4, 30 if case == "more hidden than data" else 3, generator=generator, dtype=F64, device=device
    )
    recognition = Recognition(net, generator=generator)
    deep_net = DBN(rbm(device, 4, 3, 0))
    deep_net.add(4, generator=generator)
    for model, loss in (
        (nn.ModuleList([net, recognition]), lambda: wake_sleep(net, recognition, v, generator=generator)),
        (deep_net, lambda: up_down(deep_net, v, generator=generator).loss),
    ):
        optimizer = tg.optim.SGD(model.parameters(), 0.5)
        for _ in range(30):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        assert all(np.isfinite(p.numpy()).all() for p in model.parameters())
    assert np.isfinite(deep_net.bound(v).value.numpy()).all()


def test_a_rate_that_diverges_is_told_of(device: str) -> None:
    net, v = deep(device), maker(device)(patterns(20)[:, :3])
    optimizer = tg.optim.SGD(net.parameters(), 1e200)
    with (
        pytest.raises(DivergenceError, match=r"up_down: the loss is .*smaller learning rate"),
        np.errstate(all="ignore"),
    ):
        for _ in range(20):
            optimizer.zero_grad()
            up_down(net, v).loss.backward()
            optimizer.step()


def test_greedy_learning_by_fit_warns_of_poor_data(device: str) -> None:
    """`energy.fit` trains the layers; what it says of the data passes through."""
    how: Any = {"learn": lambda m, d: fit(m, d, epochs=1, generator=Generator(0)), "dtype": F64, "device": device}
    with pytest.warns(TrainingWarning) as seen:
        net = DBN.greedy(4, (2, 3), np.zeros((20, 4)), **how)
    assert "all zero" in str(seen[0].message)
    assert net.sizes == (2,) and len(list(net.parameters())) == 7
    from scipy.sparse import csr_matrix

    with pytest.raises(DTypeError, match="sparse"):
        DBN.greedy(4, (2, 3), csr_matrix(np.zeros((20, 4))), **how)
    with pytest.raises(DTypeError, match="sparse"):
        belief(device).check_data(csr_matrix(np.zeros((20, 3))), "learn")


# Planted bugs, each found by a test above


def down_by_recognition(layer: Directed, h: Any) -> Any:
    return layer.hidden.scaled(h) @ layer.recognition.mT + layer.visible.bias


def log_down_by_recognition(layer: Directed, v: Any, h: Any) -> Any:
    return log_conditional(layer.visible, v, layer.hidden.scaled(h) @ layer.recognition.mT)


def log_up_by_weight(layer: Directed, v: Any, h: Any) -> Any:
    return log_conditional(layer.hidden, h, layer.visible.scaled(v) @ layer.weight)


def up_without_bias(layer: Directed, v: Any) -> Any:
    return layer.visible.scaled(v) @ layer.recognition


def down_without_bias(layer: Directed, h: Any) -> Any:
    return layer.hidden.scaled(h) @ layer.weight.mT


def asleep_awake(net: Any, recognition: Any, v: Any, *, generator: Any = None) -> Any:
    """The data where the dream should be."""
    h = recognition(v).sample(1, generator)[0]
    dreamt, cause = net.sample(len(v), generator)
    return -net.log_joint(dreamt, cause).mean() - recognition(v).log_prob(h).mean()


BUGS = {
    "down by recognition weights": ("down", down_by_recognition, "test_fantasies_have_the_nets_distribution", (0,)),
    "generative and recognition weights swapped in the likelihood": (
        "log_down", log_down_by_recognition, "test_a_deep_belief_net_against_enumeration", (0,)
    ),
    "recognition learns by generative weights": (
        "log_up", log_up_by_weight, "test_up_down_is_wake_sleep_with_the_chain_on_top", ()
    ),
    "up without bias": ("up", up_without_bias, "test_a_deep_belief_net_against_enumeration", (2,)),
    "down without bias": ("down", down_without_bias, "test_fantasies_have_the_nets_distribution", (2,)),
    "wake and sleep swapped": ("wake_sleep", asleep_awake, "test_wake_sleep_is_the_two_likelihoods", ()),
    "phases of the top swapped": (
        "contrastive_divergence", lambda model, v, samples: -contrastive_divergence(model, v, samples),
        "test_up_down_is_wake_sleep_with_the_chain_on_top", (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(bug: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong, test, more = BUGS[bug]
    if name == "wake_sleep":
        monkeypatch.setitem(globals(), name, wrong)
    elif name == "contrastive_divergence":
        monkeypatch.setattr(dbn_module, name, wrong)
    else:
        monkeypatch.setattr(Directed, name, wrong)
    with pytest.raises(AssertionError):
        globals()[test](*[*more, device])
