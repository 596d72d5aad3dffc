"""The Boltzmann machines whose layers are not restricted, and the deep one: everything against enumeration."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from support import holds, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp.energy import (
    DBM,
    BoltzmannMachine,
    Factorial,
    FromData,
    MeanFieldPersistent,
    TwoPhases,
    annealed_importance_sampling,
    contrastive_divergence,
)  # fmt: skip
from tinygrad_mlsp.errors import DivergenceError, OptionError, ShapeError
from tinygrad_mlsp.random import Generator


def states_of(n: int) -> np.ndarray:
    return np.array(list(itertools.product([0.0, 1.0], repeat=n)))


def machine(device: str, visible: int = 3, hidden: int = 2, seed: int = 0, std: float = 1.0) -> BoltzmannMachine:
    found = BoltzmannMachine(visible, hidden, std=std, generator=Generator(seed), dtype=np.float64, device=device)
    found.bias.copy_(Generator(seed + 1).normal((visible + hidden,), dtype=np.float64))
    return found


def by_hand(found: BoltzmannMachine, states: np.ndarray) -> np.ndarray:
    """The energies, by a sum over pairs."""
    w, b, n = found.weight.numpy(), found.bias.numpy(), states.shape[1]
    pairs = list(itertools.combinations(range(n), 2))
    return np.array([-sum(w[i, j] * x[i] * x[j] for i, j in pairs) - b @ x for x in states])


def frequencies_fit(drawn: np.ndarray, p: np.ndarray) -> bool:
    """Whether states drawn independently have these probabilities: Pearson's χ², a false alarm in 10⁴ runs of other
    seeds."""
    from scipy.stats import chi2

    numbers = (drawn @ 2.0 ** np.arange(drawn.shape[1] - 1, -1, -1)).astype(int)
    counts, expected = np.bincount(numbers, minlength=len(p)), len(drawn) * p
    return bool(((counts - expected) ** 2 / expected).sum() < chi2.ppf(1 - 1e-4, len(p) - 1))


# The full machine


def test_energy_partition_likelihood_and_conditionals(device: str) -> None:
    found, x = machine(device), states_of(5)
    make, e = maker(device), by_hand(found, x)
    holds(found.energy(make(x)), e, tolerance=1e-12)
    log_z = np.log(np.exp(-e).sum())
    holds(found.log_partition(), log_z, tolerance=1e-12)
    p_v = np.exp(-e - log_z).reshape(8, 4).sum(axis=1)
    holds(found.log_likelihood(make(states_of(3))), np.log(p_v), tolerance=1e-12)
    joint = found.log_joint(make(states_of(3)), make(states_of(2)[:, None]))
    holds(joint, -e.reshape(8, 4).T, tolerance=1e-12)
    holds(found.posterior(make(states_of(3))).mean(), (np.exp(-e).reshape(8, 4) / np.exp(-e).reshape(8, 4).sum(
        axis=1, keepdims=True)) @ states_of(2), tolerance=1e-12)  # fmt: skip
    z = found.total_input(make(x)).numpy()
    for i in range(5):
        on, off = x.copy(), x.copy()
        on[:, i], off[:, i] = 1, 0
        np.testing.assert_allclose(z[:, i], by_hand(found, off) - by_hand(found, on), atol=1e-12)
    w = found.couplings().numpy()
    assert (w == w.T).all() and not w.diagonal().any()


def test_what_is_not_above_the_diagonal_counts_for_nothing(device: str) -> None:
    found = machine(device)
    before = found.log_partition().item()
    found.weight.copy_(found.weight.numpy() + np.tril(np.ones((5, 5))))
    assert found.log_partition().item() == before
    found.log_partition().backward()
    assert found.weight.grad is not None and not np.tril(found.weight.grad.numpy()).any()


def test_the_exact_gradient_is_that_of_the_two_phases(device: str) -> None:
    """∂ mean ln p(v)/∂wᵢⱼ = ⟨xᵢxⱼ⟩_clamped − ⟨xᵢxⱼ⟩_free, by hand"""
    found, x, make = machine(device), states_of(5), maker(device)
    v = np.array([[1.0, 0, 1], [0, 0, 1]])
    found.log_likelihood(make(v)).mean().backward()
    weight = np.exp(-by_hand(found, x))

    def phase(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        w = w / w.sum()
        return np.triu(np.einsum("s,si,sj->ij", w, x, x), 1), w @ x

    clamped = [phase(weight * (x[:, :3] == row).all(axis=1)) for row in v]
    free = phase(weight)
    for parameter, k in ((found.weight, 0), (found.bias, 1)):
        assert parameter.grad is not None
        holds(parameter.grad, np.mean([c[k] for c in clamped], axis=0) - free[k], tolerance=1e-12)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_gibbs_sampling_leaves_the_distribution_alone(device: str, beta: float) -> None:
    """4,000 chains from fair coins, 30 sweeps; tested at a false-alarm rate of 1e-4."""
    found = machine(device, std=0.7)
    p = np.exp(-beta * by_hand(found, states_of(5)))
    generator = Generator(3)
    drawn = found.gibbs(found.random(4000, generator), 30, beta=beta, generator=generator)
    assert frequencies_fit(drawn.numpy(), p / p.sum())
    other = np.exp(-0.5 * (3 - 2 * beta) * by_hand(found, states_of(5)))  # the other temperature's is told apart
    assert not frequencies_fit(drawn.numpy(), other / other.sum())


@pytest.mark.parametrize("rowwise", [False, True])
def test_clamped_units_stay_and_the_rest_is_conditional(device: str, rowwise: bool) -> None:
    found, clamp = machine(device, std=0.7), np.array([True, False, True, False, False])
    generator = Generator(5)
    start = found.random(4000, generator).numpy()
    start[:, [0, 2]] = 1, 0
    mask = np.tile(clamp, (4000, 1)) if rowwise else clamp
    if rowwise:
        mask[0] = True  # a row of its own
    drawn = found.gibbs(maker(device)(start), 30, clamp=mask, generator=generator).numpy()
    assert (drawn[:, [0, 2]] == [1, 0]).all()
    if rowwise:
        assert (drawn[0] == start[0]).all()
        drawn = drawn[1:]
    x = states_of(5)
    p = np.exp(-by_hand(found, x)) * (x[:, 0] == 1) * (x[:, 2] == 0)
    p = p.reshape(2, 2, 2, 4)[1, :, 0].reshape(-1)
    assert frequencies_fit(drawn[:, [1, 3, 4]], p / p.sum())


def test_annealing_finds_the_least_energy(device: str) -> None:
    """20 frustrated couplings a unit: descent from 50 starts ends in many states, annealing mostly in the best."""
    found = machine(device, 10, 0, seed=4, std=2.0)
    e = by_hand(found, states_of(10))
    generator = Generator(6)
    start = found.random(50, generator)
    cold = found.energy(found.anneal(start, [1e-3] * 20, generator=generator)).numpy()
    slow = found.energy(found.anneal(start, generator=generator)).numpy()
    assert math.isclose(slow.min(), e.min(), abs_tol=1e-9)
    assert (slow < e.min() + 1e-9).mean() > max(0.8, (cold < e.min() + 1e-9).mean())
    with pytest.raises(OptionError, match="temperature must be positive"):
        found.anneal(start, [1.0, 0.0])


def test_two_phases_estimate_the_exact_gradient_and_learn(device: str) -> None:
    """The mean of many sampled gradients against the exact one; then learning by them raises the likelihood."""
    found, make = machine(device, 4, 2, std=0.5), maker(device)
    v = make(np.repeat(np.array([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]), 200, axis=0))
    (-found.log_likelihood(v).mean()).backward()
    exact = {name: p.grad.numpy().copy() for name, p in found.named_parameters()}  # type: ignore[union-attr]
    phases = TwoPhases(found, 4000, clamped=10, free=20, generator=Generator(7))
    found.zero_grad()
    phases(v).backward()
    for name, p in found.named_parameters():
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), exact[name], atol=0.07)  # five standard errors of 600 rows at most
    before = found.log_likelihood(v).mean().item()
    phases = TwoPhases(found, 200, clamped=3, free=3, annealed=[2.0], generator=Generator(8))
    optimizer = tg.optim.SGD(found.parameters(), 0.3)
    for _ in range(120):
        optimizer.zero_grad()
        phases(v).backward()
        optimizer.step()
    after = found.log_likelihood(v).mean().item()
    assert before < -3 and after > -1.6  # ln 3 = 1.10 is the best there is


def test_a_machine_refuses_what_it_cannot_take(device: str) -> None:
    found, make = machine(device), maker(device)
    with pytest.raises(ShapeError, match=r"states are \[batch, 5\]"):
        found.gibbs(make(np.zeros((2, 3))))
    with pytest.raises(ShapeError, match="clamp is a mask"):
        found.gibbs(make(np.zeros((2, 5))), clamp=np.zeros(3, bool))
    with pytest.raises(OptionError, match="`start`, which is missing"):
        found.sample(3, clamp=np.zeros(5, bool))
    with pytest.raises(ShapeError, match="3 states start from 3 rows, got 2"):
        found.sample(3, start=make(np.zeros((2, 5))))
    for wrong in ({"chains": "many"}, {"free": 1.5}, {"clamped": 0}):
        with pytest.raises(OptionError, match=f"TwoPhases: {next(iter(wrong))}"):
            TwoPhases(found, **wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="sweeps"):
        found.gibbs(make(np.zeros((2, 5))), -1)
    with pytest.raises(DivergenceError, match="Look for NaN in the data"):
        TwoPhases(found)(make(np.full((2, 3), np.nan)))
    with pytest.raises(OptionError, match="24"):
        BoltzmannMachine(30).log_partition()
    for bad, what in ((math.nan, "nan in row 1, column 2"), (2.0, r"outside \[0, 1\]")):
        data = np.zeros((3, 3))
        data[1, 2] = bad
        with pytest.raises(OptionError, match=what):
            found.check_data(data, "fit")
    with pytest.raises(ShapeError, match="at least one row"):
        found.check_data(np.zeros((0, 3)), "fit")
    for options in ({"std": -1.0}, {"visible": 0}, {"hidden": -1}):
        with pytest.raises(OptionError):
            BoltzmannMachine(**{"visible": 3, **options})  # type: ignore[arg-type]
    found.weight.copy_(np.full((5, 5), np.nan))
    with pytest.raises(DivergenceError, match="not finite: weight"):
        TwoPhases(found)(make(np.zeros((2, 3))))


# The deep machine


def deep(device: str, *sizes: int, seed: int = 0, std: float = 0.8) -> DBM:
    found, generator = DBM(*(sizes or (3, 2, 3, 2)), dtype=np.float64, device=device), Generator(seed)
    for p in found.parameters():
        p.copy_(generator.normal(p.shape, 0.0, std, dtype=np.float64))
    return found


def deep_energies(found: DBM, states: np.ndarray) -> np.ndarray:
    """Pair by pair, unit by unit."""
    ends, e = np.cumsum((0, *found.sizes)), np.zeros(len(states))
    layers = [states[:, a:b] for a, b in itertools.pairwise(ends)]
    for units, x in zip(found.layers, layers, strict=True):
        e -= x @ units.bias.numpy()
    for w, a, b in zip(found.weights, layers, layers[1:], strict=False):
        e -= np.einsum("si,ij,sj->s", a, w.numpy(), b)
    return e


@pytest.mark.parametrize("sizes", [(3, 2, 3, 2), (3, 4, 2)])
def test_a_deep_machine_against_enumeration(sizes: tuple[int, ...], device: str) -> None:
    found, make = deep(device, *sizes), maker(device)
    x = states_of(sum(sizes))
    e = deep_energies(found, x)
    v, h = make(x[:, :3]), make(x[:, 3:])
    holds(found.energy(v, h), e, tolerance=1e-12)
    log_z = math.log(np.exp(-e).sum())
    holds(found.log_partition(), log_z, tolerance=1e-12)
    p = np.exp(-e - log_z).reshape(8, -1)
    holds(found.log_likelihood(make(states_of(3))), np.log(p.sum(axis=1)), tolerance=1e-12)
    layers = [x[:, a:b] for a, b in itertools.pairwise(np.cumsum((0, *sizes)))]
    for at, start in enumerate(np.cumsum((0, *sizes))[:-1]):
        z = found.total_input([make(a) for a in layers], at).numpy()
        for i in range(sizes[at]):
            on, off = x.copy(), x.copy()
            on[:, start + i], off[:, start + i] = 1, 0
            np.testing.assert_allclose(z[:, i], deep_energies(found, off) - deep_energies(found, on), atol=1e-12)


def test_blocks_of_layers_are_sampled_right(device: str) -> None:
    """4,000 chains, 40 rounds, free and with v clamped; false-alarm rate 1e-4 each."""
    found, generator = deep(device, 2, 2, 1, 1), Generator(2)
    p = np.exp(-deep_energies(found, states_of(6)))
    v, h = found.sample(4000, 40, generator=generator)
    assert frequencies_fit(np.concatenate([v.numpy(), h.numpy()], axis=1), p / p.sum())
    ones = maker(device)(np.ones((4000, 2)))
    v, h = found.gibbs(ones, h, 40, clamp=np.array([True, True]), generator=generator)
    assert (v.numpy() == 1).all()
    given = p.reshape(4, 16)[-1]
    assert frequencies_fit(h.numpy(), given / given.sum())
    v, h = found.gibbs(ones, h, 40, clamp=np.array([False, True]), generator=generator)
    assert (v.numpy()[:, 1] == 1).all()
    given = p.reshape(2, 2, 16)[:, 1].reshape(-1)
    assert frequencies_fit(np.concatenate([v.numpy()[:, :1], h.numpy()], axis=1), given / given.sum())


def test_fantasies_of_a_deep_machine_with_units_clamped(device: str) -> None:
    found = deep(device)
    start = np.array([[1.0, 0.0, 1.0]] * 2000)
    v, h = found.sample(
        2000, 30, start=maker(device)(start), clamp=np.array([True, False, True]), generator=Generator(2)
    )
    assert v.shape == (2000, 3) and h.shape == (2000, 7) and (v.numpy()[:, [0, 2]] == 1).all()
    both = maker(device)(np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]))
    p = 1 / (1 + np.exp(-np.diff(found.log_likelihood(both).numpy())[0]))  # that the middle unit is on
    assert abs(v.numpy()[:, 1].mean() - p) < 5 * math.sqrt(p * (1 - p) / 2000)  # a false alarm in two million


def test_mean_field_is_a_best_factorial_q(device: str) -> None:
    """Each round raises the bound; where it ends no logit can be bettered; the bound by its formula is that by sums."""
    found, make = deep(device), maker(device)
    v = make(states_of(3))
    bounds = [found.bound(v, found.mean_field(v, steps)).numpy() for steps in (0, 1, 2, 5, 200)]
    assert (np.diff(bounds, axis=0) >= -1e-12).all()
    q = found.mean_field(v, 1000, tolerance=1e-14)
    terms = found.variational_bound(v, q)
    holds(found.bound(v, q), terms.value.numpy(), tolerance=1e-12)
    holds(terms.value + terms.gap, found.log_likelihood(v).numpy(), tolerance=1e-12)
    logits = make(q.logits.numpy(), requires_grad=True)
    found.bound(v, Factorial(logits)).sum().backward()
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy(), 0, atol=1e-9)
    assert (found.bound(v).numpy() <= found.log_likelihood(v).numpy()).all()


def test_the_phases_are_the_gradient_of_the_bound(device: str) -> None:
    """With 20,000 chains the model's part is near the exact one: signs of both phases, weights and biases."""
    found, make = deep(device), maker(device)
    v = make(states_of(3)[[1, 3, 6]])
    q = found.mean_field(v)
    (-found.bound(v, Factorial(q.logits.detach())).mean()).backward()
    exact = {name: p.grad.numpy().copy() for name, p in found.named_parameters()}  # type: ignore[union-attr]
    found.zero_grad()
    MeanFieldPersistent(found, 20000, steps=30, generator=Generator(1))(v).backward()
    for name, p in found.named_parameters():
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), exact[name], atol=0.02, err_msg=name)


def test_chains_go_on_and_follow_the_model(device: str) -> None:
    """Chains move at every call from where they stood; when the parameters change so does what they sample."""
    found, make = deep(device), maker(device)
    phases = MeanFieldPersistent(found, 2000, steps=1, generator=Generator(1))
    v = make(np.zeros((2, 3)))
    seen = []
    for _ in range(3):
        phases(v)
        seen.append(np.concatenate([phases.v.numpy(), phases.h.numpy()], axis=1))
    assert all((a != b).any() for a, b in itertools.pairwise(seen))
    assert (phases.v.numpy() == seen[-1][:, :3]).all()
    found.units[0].bias.copy_(np.full(3, 10.0))  # type: ignore[attr-defined]
    phases(v)
    assert phases.v.numpy().mean() > 0.99


def test_a_deep_machine_learns_and_pretraining_helps(device: str) -> None:
    """Blocks of four units: the exact likelihood after the RBMs, and after mean field and chains on top of them."""
    generator, make = Generator(0), maker(device)
    causes = generator.bernoulli(0.5, (200, 2)).astype(float)
    data = make(np.repeat(causes, 2, axis=1))
    found = DBM(4, 4, 2, std=0.1, generator=generator, dtype=np.float64, device=device)
    start = found.log_likelihood(data).mean().item()
    for at in range(2):
        rbm, seen = found.pretraining_rbm(at), found.pretraining_data(data, at)
        optimizer = tg.optim.Adam(rbm.parameters(), 0.05)
        for _ in range(60):
            optimizer.zero_grad()
            contrastive_divergence(rbm, seen, FromData(rbm, generator=generator)).backward()
            optimizer.step()
    pretrained = found.log_likelihood(data).mean().item()
    phases = MeanFieldPersistent(found, 200, steps=5, generator=generator)
    optimizer = tg.optim.SGD(found.parameters(), 0.1)
    for _ in range(300):
        optimizer.zero_grad()
        phases(data).backward()
        optimizer.step()
    reached = found.log_likelihood(data).mean().item()
    assert start < -2.5 and pretrained > start + 0.2 and reached > max(pretrained, -1.8), (start, pretrained, reached)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_modified_rbms_have_their_neighbours_twice(at: int, device: str) -> None:
    found, make = deep(device), maker(device)
    rbm, below, above = found.pretraining_rbm(at), states_of(found.sizes[at]), states_of(found.sizes[at + 1])
    w, b, c = found.weights[at].numpy(), found.layers[at].bias.numpy(), found.layers[at + 1].bias.numpy()
    up, down = {0: (2, 1), 1: (2, 2), 2: (1, 2)}[at]
    seen = np.concatenate([below, below], axis=1) if at == 0 else below
    told = np.concatenate([above, above], axis=1) if at == 2 else above
    z = rbm.hidden_input(make(seen)).numpy()[:, : above.shape[1]]
    np.testing.assert_allclose(z, up * below @ w + c, atol=1e-12)
    z = rbm.visible_input(make(told)).numpy()[:, : below.shape[1]]
    np.testing.assert_allclose(z, down * above @ w.T + b, atol=1e-12)
    assert {id(p) for p in rbm.parameters()} <= {id(p) for p in found.parameters()}
    rbm.free_energy(make(seen)).sum().backward()
    assert found.weights[at].grad is not None
    data = found.pretraining_data(make(states_of(3)), at)
    assert data.shape == (8, seen.shape[1])
    if at:  # what the RBM below makes of its own data
        np.testing.assert_allclose(
            data.numpy(),
            found.pretraining_rbm(at - 1)(found.pretraining_data(make(states_of(3)), at - 1)).numpy(),
            atol=1e-12,
        )


def test_annealed_importance_sampling_of_a_deep_machine(device: str) -> None:
    found = deep(device, 4, 3, 3)
    exact = found.log_partition().item()
    for data in (None, maker(device)(states_of(4))):
        estimate = annealed_importance_sampling(found, 300, 200, data=data, generator=Generator(0))
        assert abs(estimate.log_z - exact) < 0.1, (estimate, exact)


def test_a_deep_machine_refuses_what_it_cannot_take(device: str) -> None:
    found, make = deep(device), maker(device)
    with pytest.raises(OptionError, match="two or more hidden layers"):
        DBM(3, 2)
    with pytest.raises(OptionError, match="layer must be a whole number"):
        found.pretraining_data(make(np.zeros((2, 3))), -1)
    with pytest.raises(OptionError, match="`start`, which is missing"):
        found.sample(3, clamp=np.zeros(3, bool))
    with pytest.raises(ShapeError, match=r"start is \[3, 3\]"):
        found.sample(3, start=make(np.zeros((2, 3))))
    with pytest.raises(OptionError, match="layers 0 to 2"):
        found.pretraining_rbm(3)
    with pytest.raises(ShapeError, match="clamp is a mask"):
        found.gibbs(make(np.zeros((2, 3))), make(np.zeros((2, 7))), clamp=np.zeros(2, bool))
    with pytest.raises(OptionError, match="nan in row 0"):
        found.check_data(np.full((2, 3), np.nan), "learn")
    with pytest.raises(OptionError, match="cannot be centred"):
        found.rbm().center(make(np.zeros((2, 6))))
    with pytest.raises(OptionError, match="chains must be a whole number of 1 or more"):
        MeanFieldPersistent(found, 0)
    with pytest.raises(ShapeError, match=r"data are \[batch, 3\]"):
        MeanFieldPersistent(found)(make(np.zeros((2, 4))))
    found.weights[0].copy_(np.full((3, 2), np.nan))
    with pytest.raises(DivergenceError, match=r"not finite: weights\.0"):
        MeanFieldPersistent(found)(make(np.zeros((2, 3))))


# Planted bugs, each found by a test above


def no_bias(found: BoltzmannMachine, x: tg.Tensor) -> tg.Tensor:
    return x @ found.couplings()


def layer_without_bias(found: DBM, layers: list[tg.Tensor], at: int) -> tg.Tensor:
    z = TOTAL_INPUT(found, layers, at)
    return z - found.layers[at].bias if at == 1 else z


def other_sign(call: Any) -> Any:
    return lambda self, v: -call(self, v)


def stale(call: Any, *names: str) -> Any:
    """The same, but that the chains stay where they stood."""

    def inner(self: Any, v: tg.Tensor) -> tg.Tensor:
        before = [getattr(self, name) for name in names]
        loss = call(self, v)
        for name, value in zip(names, before, strict=True):
            setattr(self, name, value)
        return loss

    return inner


def wrong_beta(self: BoltzmannMachine, x: tg.Tensor, sweeps: int = 1, *, beta: float = 1.0, **how: Any) -> tg.Tensor:
    return GIBBS(self, x, sweeps, beta=1.5 - 0.5 * beta, **how)


TOTAL_INPUT, GIBBS = DBM.total_input, BoltzmannMachine.gibbs
BUGS = {
    "two phases, the sign": (
        TwoPhases, "__call__", other_sign(TwoPhases.__call__), test_two_phases_estimate_the_exact_gradient_and_learn, ()
    ),
    "no bias": (BoltzmannMachine, "total_input", no_bias, test_energy_partition_likelihood_and_conditionals, ()),
    "the other temperature": (
        BoltzmannMachine, "gibbs", wrong_beta, test_gibbs_sampling_leaves_the_distribution_alone, (0.5,)
    ),
    "deep, the sign": (
        MeanFieldPersistent, "__call__", other_sign(MeanFieldPersistent.__call__),
        test_the_phases_are_the_gradient_of_the_bound, (),
    ),
    "deep, stale chains": (
        MeanFieldPersistent, "__call__", stale(MeanFieldPersistent.__call__, "v", "h"),
        test_chains_go_on_and_follow_the_model, (),
    ),
    "deep, a layer without bias": (DBM, "total_input", layer_without_bias, test_blocks_of_layers_are_sampled_right, ()),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(bug: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, wrong, test, more = BUGS[bug]
    monkeypatch.setattr(owner, name, wrong)
    with pytest.raises(AssertionError):
        test(device, *more)  # type: ignore[operator]
