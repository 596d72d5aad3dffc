"""Hopfield's memories: energies that fall, patterns that stay, and the modern form as attention."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import holds, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn
from tinygrad_mlsp.energy import Hopfield, HopfieldLayer, ModernHopfield, bit_error
from tinygrad_mlsp.errors import DivergenceError, OptionError, ShapeError
from tinygrad_mlsp.random import Generator

F64 = np.float64


def signs(*shape: int, seed: int = 0) -> np.ndarray:
    return 2.0 * Generator(seed).bernoulli(0.5, shape) - 1


def any_memory(device: str, n: int, seed: int) -> Hopfield:
    """Weights and thresholds at random; what counts is the symmetric part."""
    memory, generator = Hopfield(n, dtype=F64, device=device), Generator(seed)
    memory.weight.copy_(generator.normal((n, n), dtype=F64))
    memory.threshold.copy_(generator.normal((n,), dtype=F64))
    return memory


def test_energy_and_inputs_by_hand(device: str) -> None:
    memory, s = any_memory(device, 4, 0), signs(5, 4)
    w, t = memory.weight.numpy(), memory.threshold.numpy()
    pairs = [(i, j) for i in range(4) for j in range(i)]
    e = [-sum((w[i, j] + w[j, i]) / 2 * x[i] * x[j] for i, j in pairs) + t @ x for x in s]
    holds(memory.energy(maker(device)(s)), e, tolerance=1e-12)
    a = memory.total_input(maker(device)(s)).numpy()
    for i in range(4):
        turned = s.copy()
        turned[:, i] *= -1
        rise = memory.energy(maker(device)(turned)).numpy() - e
        np.testing.assert_allclose(2 * s[:, i] * a[:, i], rise, atol=1e-12)


@given(st.integers(2, 12), st.integers(0, 10**6))
def test_the_energy_never_rises_asynchronously(device: str, n: int, seed: int) -> None:
    memory = any_memory(device, n, seed)
    found = memory.recall(signs(6, n, seed=seed), generator=Generator(seed))
    assert found.converged and (np.diff(found.energies.numpy(), axis=0) <= 1e-12).all()
    s = found.state.numpy()
    assert (s * memory.total_input(found.state).numpy() >= 0).all()  # a minimum among its neighbours
    holds(memory.synchronous(found.state), s)


def test_a_single_unit_goes_where_its_energy_falls_and_stays_on_a_plain(device: str) -> None:
    memory, make = Hopfield(2, dtype=F64, device=device), maker(device)
    memory.threshold.copy_(np.array([0.5, 0.0]))
    holds(memory.asynchronous(make([[1.0, 1.0], [1.0, -1.0]])), [[-1, 1], [-1, -1]])


def test_synchronous_updates_may_cycle_where_asynchronous_ones_rest(device: str) -> None:
    memory = Hopfield(2, dtype=F64, device=device)
    memory.weight.copy_(np.array([[0.0, -1], [-1, 0]]))
    start = np.array([[1.0, 1.0]])
    assert not memory.recall(start, 5, mode="synchronous").converged
    holds(memory.synchronous(maker(device)(start), 2), start)
    found = memory.recall(start)
    assert found.converged and found.state.numpy().sum() == 0


@pytest.mark.parametrize("rule", ["hebb", "pseudo_inverse", "flow", "pseudo_likelihood"])
def test_stored_patterns_are_recalled_from_noise(rule: str, device: str) -> None:
    """A tenth of the bits turned; 5 patterns in 100 units for Hebb, 20 for the others."""
    patterns = signs(5 if rule == "hebb" else 20, 100)
    memory = Hopfield(100, device=device)
    if rule in ("hebb", "pseudo_inverse"):
        memory.store(patterns, rule)
    else:
        loss = {"flow": memory.flow, "pseudo_likelihood": lambda x: -memory.pseudo_likelihood(x)}[rule]
        trace = memory.learn(patterns, 60, loss=loss)
        assert trace[-1] < 0.5 * trace[0]
    assert bit_error(memory, patterns) == 0
    noisy = patterns * (1 - 2.0 * Generator(1).bernoulli(0.1, patterns.shape))
    for mode in ("asynchronous", "synchronous"):
        found = memory.recall(noisy, mode=mode, generator=Generator(2))
        assert found.converged and (found.state.numpy() == patterns).mean() > 0.99
    holds(memory(patterns), patterns)


def test_what_the_rules_store(device: str) -> None:
    patterns = signs(3, 8)
    w = Hopfield(8, dtype=F64, device=device).store(patterns).couplings().numpy()
    expected = patterns.T @ patterns / 8
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(w, expected, atol=1e-12)
    correlated = signs(1, 60) * np.where(Generator(3).bernoulli(0.2, (30, 60)), -1.0, 1.0)  # all of them much alike
    twice = np.concatenate([correlated, correlated[:2]])  # dependent ones do no harm
    memory = Hopfield(60, dtype=F64, device=device).store(twice, "pseudo_inverse")
    assert bit_error(memory, twice) == 0
    assert bit_error(Hopfield(60, device=device).store(correlated), correlated) > 0
    with pytest.raises(OptionError, match="span all 4 dimensions"):
        Hopfield(4, device=device).store(2 * np.eye(4) - 1, "pseudo_inverse")


def test_flow_and_pseudo_likelihood_are_sums_over_neighbours(device: str) -> None:
    memory, s = any_memory(device, 5, 4), signs(3, 5)
    e, flow, pseudo = memory.energy(maker(device)(s)).numpy(), 0.0, 0.0
    for i in range(5):
        turned = s.copy()
        turned[:, i] *= -1
        other = memory.energy(maker(device)(turned)).numpy()
        flow += np.exp((e - other) / 2).mean()
        pseudo += np.log(np.exp(-e) / (np.exp(-e) + np.exp(-other))).mean()
    holds(memory.flow(maker(device)(s)), flow, tolerance=1e-12)
    holds(memory.pseudo_likelihood(maker(device)(s)), pseudo, tolerance=1e-12)


def test_capacity(device: str) -> None:
    """Of 200 units: at a load of 0.05 nothing is lost, at 0.3 much is."""
    few, many = signs(10, 200), signs(60, 200)
    assert bit_error(Hopfield(200, device=device).store(few), few) == 0
    assert bit_error(Hopfield(200, device=device).store(many), many, generator=Generator(0)) > 0.1


def test_a_memory_refuses_what_it_cannot_take(device: str) -> None:
    memory = Hopfield(3, device=device)
    with pytest.raises(OptionError, match="2 x − 1"):
        memory.store(np.array([[0.0, 1.0, 1.0]]))
    with pytest.raises(OptionError, match="nan in row 0"):
        memory.recall(np.full((1, 3), np.nan))
    with pytest.raises(ShapeError, match=r"\[batch, 3\]"):
        memory.store(np.ones((2, 4)))
    with pytest.raises(OptionError, match="rule is"):
        memory.store(np.ones((2, 3)), "storkey")
    with pytest.raises(OptionError, match="mode is"):
        memory.recall(np.ones((2, 3)), mode="parallel")
    with pytest.raises(OptionError, match="units"):
        Hopfield(0)
    for call in (lambda: memory.recall(np.ones((2, 3)), 1.5), lambda: memory.learn(np.ones((2, 3)), "many"),
                 lambda: ModernHopfield(beta="cold"), lambda: HopfieldLayer(3, 0)):  # fmt: skip
        with pytest.raises(OptionError, match=r"sweeps|steps|beta|size"):
            call()  # type: ignore[no-untyped-call]
    with pytest.raises(DivergenceError, match="learn: the loss is"), np.errstate(all="ignore"):
        memory.learn(signs(3, 3), 50, optimizer=tg.optim.SGD(memory.parameters(), 1e30))


# The modern one


@given(st.integers(1, 6), st.integers(1, 5), st.floats(0.1, 8.0), st.integers(0, 10**6))
def test_a_modern_step_never_raises_the_energy(device: str, n: int, d: int, beta: float, seed: int) -> None:
    generator, make = Generator(seed), maker(device)
    stored, state = (make(generator.normal((k, d), dtype=F64)) for k in (n, 7))
    memory = ModernHopfield(beta)
    energies = [memory.energy(stored, state).numpy()]
    for _ in range(5):
        state = memory(stored, state)
        energies.append(memory.energy(stored, state).numpy())
    assert (np.diff(energies, axis=0) <= 1e-12).all()
    assert (np.array(energies) >= -1e-12).all()


def test_modern_fixed_points_and_energy_by_hand(device: str) -> None:
    make, generator = maker(device), Generator(0)
    x = generator.normal((4, 6), dtype=F64)
    s = generator.normal((3, 6), dtype=F64)
    memory = ModernHopfield(2.0)
    e = [
        -math.log(sum(math.exp(2 * row @ q) for row in x)) / 2 + q @ q / 2 + math.log(4) / 2 + (x**2).sum(1).max() / 2
        for q in s
    ]
    holds(memory.energy(make(x), make(s)), e, tolerance=1e-12)
    holds(memory.energy(make(np.stack([x, x])), make(np.stack([s, s]))), [e, e], tolerance=1e-12)
    rest = ModernHopfield(2.0, 2000, 0.0)(make(x), make(s))
    holds(memory(make(x), rest), rest.numpy(), tolerance=1e-9)
    slope = tg.grad(lambda q: memory.energy(make(x), q).sum())(rest)  # the fixed points are where the slope vanishes
    np.testing.assert_allclose(slope.numpy(), 0, atol=1e-9)
    x /= np.sqrt((x**2).sum(axis=1, keepdims=True))
    holds(ModernHopfield(100.0)(make(x), make(x + 0.01)), x, tolerance=1e-6)  # sharp: one step, and it is the pattern


def test_a_modern_layer_of_one_step_is_attention(device: str) -> None:
    make, generator = maker(device), Generator(0)
    layer = HopfieldLayer(5, 4, 3, device=device, dtype=F64, generator=generator)
    stored, state = (make(generator.normal((2, n, 5), dtype=F64)) for n in (6, 3))
    q, k, v = layer.query(state), layer.key(stored), layer.value(stored)
    holds(layer(stored, state), nn.functional.scaled_dot_product_attention(q, k, v).numpy(), tolerance=1e-12)
    assert layer(stored).shape == (2, 6, 3)
    deep = HopfieldLayer(5, 4, 3, 2.0, 3, device=device, dtype=F64, generator=generator)
    out = deep(stored, state)
    xi, keys = deep.query(state).numpy(), deep.key(stored).numpy()
    for _ in range(3):
        p = np.exp(2.0 * xi @ keys.transpose(0, 2, 1))
        p /= p.sum(axis=-1, keepdims=True)
        xi = p @ keys
    holds(out, p @ deep.value(stored).numpy(), tolerance=1e-12)
    out.sum().backward()
    assert all(p.grad is not None and float(p.grad.numpy().std()) > 0 for p in deep.parameters())
    with pytest.raises(OptionError, match="steps"):
        HopfieldLayer(5, 4, steps=0)
    with pytest.raises(OptionError, match="beta"):
        ModernHopfield(0.0)
    with pytest.raises(ShapeError, match="stored patterns"):
        ModernHopfield()(make(np.zeros((3, 2))), make(np.zeros((3, 4))))
