"""Annealed importance sampling against enumeration: its weights, its bracket, its doubts, and planted faults.

The statistical tests compare a mean with its exact value, in standard errors: at the bound of 4 a false alarm over
seeds has a chance below 1e-4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp
from test_rbm import DISCRETE, machine, noticed

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, optim
from tinygrad_mlsp import energy as E
from tinygrad_mlsp.energy import partition
from tinygrad_mlsp.energy.annealing import RBMPath, path_of, temperatures
from tinygrad_mlsp.errors import OptionError, ShapeError

F64 = np.float64


def base(model: E.RBM, seed: int = 5) -> tg.Tensor:
    return tg.Tensor(tg.Generator(seed).normal((model.visible.size,), dtype=F64), device=model.weight.device)


# The path


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", DISCRETE)
def test_every_distribution_of_the_path(kind: str, centred: bool, device: str) -> None:
    """Its densities sum to Z₀ at β = 0 and to Z at 1, and are those of the energy on the way."""
    model = machine(kind, device, centred=centred)
    path = RBMPath(model, base(model))
    states, h = model.visible.states(), model.hidden.states()
    state = path.state(states)
    assert logsumexp(path.log_density(state, 0.0).numpy()) == pytest.approx(float(path.log_normalizer()), abs=1e-11)
    assert logsumexp(path.log_density(state, 1.0).numpy()) == pytest.approx(float(model.log_partition()), abs=1e-11)
    coupled = np.stack([-model.energy(states, h[j : j + 1] + states[:, :1] * 0.0).numpy() for j in range(len(h))], 1)
    own = -(model.visible.energy(states).numpy()[:, None] + model.hidden.energy(h).numpy())
    pulls = states.numpy() @ (path.visible_bias - model.visible.bias).numpy()
    pulls = pulls[:, None] - h.numpy() @ model.hidden.bias.numpy()
    for beta in (0.0, 0.3, 0.9):
        expected = logsumexp(own + beta * (coupled - own) + (1 - beta) * pulls, axis=1)
        np.testing.assert_allclose(path.log_density(state, beta).numpy(), expected, atol=1e-11)


@pytest.mark.parametrize("kind", ["binary", "label", "softmax hidden", "counts hidden"])
def test_the_steps_keep_detailed_balance(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """p(x) T(x → y) = p(y) T(y → x), with T from the conditionals that the step draws from."""
    model = machine(kind, centred=True)
    path, beta = RBMPath(model, base(model)), 0.6
    v, h = model.visible.states(), model.hidden.states()
    seen: dict[str, tg.Tensor] = {}

    def hidden(z: tg.Tensor, b: float = 1.0, generator: Any = None) -> tg.Tensor:
        seen["z"] = z
        return h

    def visible(z: tg.Tensor, b: float = 1.0, generator: Any = None) -> tg.Tensor:
        seen["inputs"] = z
        return v

    monkeypatch.setattr(model.hidden, "sample", hidden)
    monkeypatch.setattr(model.visible, "sample", visible)
    path.step(path.state(v), beta)

    def conditional(units: E.Units, inputs: tg.Tensor, states: tg.Tensor) -> Any:
        pulls = (inputs - units.bias).numpy() @ units.scaled(states).numpy().T
        log_p = pulls - units.energy(states).numpy()
        return np.exp(log_p - units.log_normalizer(inputs).numpy()[:, None])

    to_h, to_v = conditional(model.hidden, seen["z"], h), conditional(model.visible, seen["inputs"], v)
    for rows in (to_h, to_v):
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-12)
    log_p = path.log_density(path.state(v), beta).numpy()
    flow = np.exp(log_p - logsumexp(log_p))[:, None] * (to_h @ to_v)
    np.testing.assert_allclose(flow, flow.T, atol=1e-14)


def test_the_temperatures() -> None:
    found = temperatures(30)
    assert len(found) == 31 and found[0] == 0 and found[-1] == 1 and (np.diff(found) > 0).all()
    np.testing.assert_allclose([found[5], found[15]], [0.5, 0.8])
    assert (temperatures([0, 0.2, 1]) == [0, 0.2, 1]).all() and len(temperatures(1)) == 2
    for wrong in (0, [0.1, 1], [0, 0.9], [0, 0.5, 0.5, 1], [1, 0], [0.5], [], [[0, 1]]):
        with pytest.raises(OptionError, match="annealing"):
            temperatures(wrong)


# The estimate


def check_unbiased(kind: str = "binary", device: str = "cpu", centred: bool = False) -> None:
    """mean w = Z/Z₀, with so few temperatures that the weights are far from equal, and so many chains that it shows;
    and backwards from exact samples mean w = Z₀/Z."""
    model = machine(kind, device, std=1.0, centred=centred)
    path = RBMPath(model, base(model))
    exact = float(model.log_partition())
    for betas in ([0.0, 0.5, 1.0], [0.0, 0.2, 0.4, 0.7, 1.0]):
        samples = model.sample_exact(40000, tg.Generator(1))
        forward = E.annealed_importance_sampling(path, betas, 40000, generator=tg.Generator(2))
        w = np.exp(forward.log_weights + float(path.log_normalizer()) - exact)
        assert abs(w.mean() - 1) < 4 * w.std() / 200
        assert w.std() > 0.1, "too easy to tell anything"
        backward = partition._weights(path, path.state(samples), np.array(betas)[::-1], tg.Generator(3))
        w = np.exp(backward + exact - float(path.log_normalizer()))
        assert abs(w.mean() - 1) < 4 * w.std() / 200


@pytest.mark.parametrize("kind, centred", [(k, False) for k in DISCRETE] + [("binary", True), ("label", True)])
def test_the_weights_are_unbiased_in_either_direction(kind: str, centred: bool, device: str) -> None:
    check_unbiased(kind, device, centred)


@pytest.mark.parametrize("kind", ["gaussian visible", "gaussian and bits"])
def test_real_valued_units(kind: str, device: str) -> None:
    model = machine(kind, device, std=0.6)
    found = E.annealed_importance_sampling(
        model, 300, 400, visible_bias=base(model), exact_samples=model.sample_exact(400, tg.Generator(1)),
        generator=tg.Generator(2),
    )  # fmt: skip
    assert found.trusted and float(found) == pytest.approx(float(model.log_partition()), abs=0.1)
    both = E.RBM(E.Gaussian(2), E.Gaussian(2), std=0.0, dtype=F64)  # p(v) is normal: its precision is 1 − WWᵀ
    weight = np.array([[0.4, -0.2], [0.1, 0.5]])
    both.weight.copy_(weight)
    exact = 2 * math.log(2 * math.pi) - 0.5 * np.linalg.slogdet(np.eye(2) - weight @ weight.T)[1]
    found = E.annealed_importance_sampling(both, 60, 400, generator=tg.Generator(4))
    assert float(found) == pytest.approx(exact, abs=0.05) and found.trusted


def test_rectified_hidden_units() -> None:
    """Counts without end, drawn as the noisy rectified units: near the truth, a sum over the visible states."""
    model = E.RBM(6, E.ReLU(3), std=0.3, generator=tg.Generator(0), dtype=F64)
    exact = float(model.log_partition())
    found = E.annealed_importance_sampling(model, 200, 300, generator=tg.Generator(1))
    assert float(found) == pytest.approx(exact, abs=0.1)


def trained() -> tuple[E.RBM, tg.Tensor]:
    """A machine of 64 × 16 that has learned the small digits."""
    x = data.digits().train_x.reshape(-1, 64).astype(np.float32)
    model = E.RBM(64, 16, generator=tg.Generator(7))
    E.fit(model, x / x.max(), optim.SGD(model.parameters(), lr=0.05, momentum=0.5), epochs=8, binarize=True,
          generator=tg.Generator(8), start_from_data=True)  # fmt: skip
    return model, tg.Tensor(x / x.max())


def test_a_trained_machine_of_64_by_16_within_a_tenth() -> None:
    model, x = trained()
    exact = float(model.log_partition())
    for seed in range(3):
        found = E.annealed_importance_sampling(
            model, 100, 100, data=x, exact_samples=model.sample_exact(100, tg.Generator(seed)),
            generator=tg.Generator(seed),
        )  # fmt: skip
        assert found.trusted and abs(found.log_z - exact) < 0.1 and abs(found.reverse - exact) < 0.2
        assert found.lower < exact < found.upper and found.effective_sample_size > 30


def test_the_bracket_holds_and_doubt_is_said() -> None:
    """Over many seeds and few temperatures: the forward estimate lies low on average, the reverse one high, and what
    is off is not trusted."""
    model = E.RBM(10, 6, std=5.0, generator=tg.Generator(0), dtype=F64)
    exact = float(model.log_partition())
    low, high, off_but_trusted = [], [], 0
    for seed in range(40):
        found = E.annealed_importance_sampling(
            model, 4, 20, exact_samples=model.sample_exact(20, tg.Generator(seed)), generator=tg.Generator(100 + seed)
        )
        low.append(found.log_z - exact)
        high.append(found.reverse - exact)
        off_but_trusted += found.trusted and abs(found.log_z - exact) > 1
    assert np.mean(low) < -0.3 and np.mean(high) > 0.3 and off_but_trusted == 0
    many = E.annealed_importance_sampling(
        E.RBM(5, 4, std=1.0, generator=tg.Generator(3), dtype=F64), 3, 4000,
        exact_samples=E.RBM(5, 4, std=1.0, generator=tg.Generator(3), dtype=F64).sample_exact(4000, tg.Generator(1)),
        generator=tg.Generator(2),
    )  # fmt: skip
    assert many.reverse == pytest.approx(many.log_z, abs=0.06)  # 1/Z without bias, however few the temperatures
    assert "do not trust it" in str(found) and found.reasons and not found.trusted
    plenty = E.annealed_importance_sampling(model, 1000, 100, generator=tg.Generator(0))
    assert abs(float(plenty) - exact) < 0.3


def test_a_mode_that_no_chain_found_is_known_from_behind() -> None:
    """A machine with half of its mass where annealing does not lead: forwards all looks well; the reverse tells."""
    model = E.RBM(20, 1, std=0.0, dtype=F64)
    model.weight.copy_(np.full((20, 1), 6.0))
    model.visible.bias.copy_(np.full(20, -6.0))
    model.hidden.bias.copy_(np.full(1, -13.0))
    exact = float(model.log_partition())
    alone = E.annealed_importance_sampling(model, 5, 50, generator=tg.Generator(0), visible_bias=model.visible.bias)
    both = E.annealed_importance_sampling(
        model, 5, 50, generator=tg.Generator(0), visible_bias=model.visible.bias.detach(),
        exact_samples=model.sample_exact(50, tg.Generator(1)),
    )  # fmt: skip
    assert alone.log_z < exact - 1 and alone.trusted and alone.effective_sample_size > 49
    assert not both.trusted and "backwards" in both.reasons[0] and both.upper > exact > both.lower


def test_weights_that_are_not_finite_are_not_trusted() -> None:
    model = machine()
    model.weight.copy_(np.nan * model.weight.numpy())
    found = E.annealed_importance_sampling(model, 3, 5, generator=tg.Generator(0))
    assert "not finite" in str(found) and not found.trusted


def test_a_path_of_ones_own(device: str) -> None:
    """Anything with densities and a step: two coins that become dependent."""

    class Coins:
        def log_normalizer(self) -> tg.Tensor:
            return tg.Tensor(math.log(4.0))

        def start(self, chains: int, generator: Any = None) -> Any:
            return tg.Tensor(generator.bernoulli(0.5, (chains, 2))).astype("float64").to(device)

        def state(self, given: Any) -> Any:
            return given

        def log_density(self, x: Any, beta: float) -> Any:
            return 2.0 * beta * x[:, 0] * x[:, 1]

        def step(self, x: Any, beta: float, generator: Any = None) -> Any:
            for i in (0, 1, 0):
                p = 1 / (1 + (-2.0 * beta * x[:, 1 - i]).exp())
                drawn = (tg.Tensor(generator.uniform((len(x),), dtype=F64), device=device) < p).astype("float64")
                x = tg.stack([drawn, x[:, 1]] if i == 0 else [x[:, 0], drawn], axis=1)
            return x

    class Model:
        def annealing(self, visible_bias: Any = None) -> Any:
            return Coins()

    for model in (Coins(), Model()):
        found = E.annealed_importance_sampling(model, 20, 500, generator=tg.Generator(0))
        assert float(found) == pytest.approx(math.log(3 + math.exp(2.0)), abs=0.05)


def test_wrong_options() -> None:
    model = machine()
    with pytest.raises(OptionError, match="two chains"):
        E.annealed_importance_sampling(model, 3, 1)
    with pytest.raises(OptionError, match="not both"):
        E.annealed_importance_sampling(model, 3, data=model.visible.states(), visible_bias=base(model))
    for wrong in (np.full((2, 5), np.nan), np.full((2, 5), 3.0)):
        with pytest.raises(OptionError, match="annealing: data"):
            E.annealed_importance_sampling(model, 3, data=wrong)
    with pytest.raises(OptionError, match="numbers from 0 to 1"):
        E.annealed_importance_sampling(model, [0, "half", 1])
    with pytest.raises(OptionError, match="base already"):
        path_of(RBMPath(model), data=model.visible.states())
    with pytest.raises(OptionError, match="no path is known"):
        path_of(tg.nn.Linear(2, 2))
    with pytest.raises(ShapeError, match="one bias a visible unit"):
        RBMPath(model, base(machine("more hidden")))


# Planted faults: `check_unbiased`, which the test of the weights is made of, notices each

_right = RBMPath.step
_weigh = RBMPath.log_density


def at_one(self: Any, state: Any, beta: Any, generator: Any = None) -> Any:
    return _right(self, state, 1.0, generator)


def standing_still_after_one(self: Any, state: Any, beta: Any, generator: Any = None) -> Any:
    return _right(self, state, beta**2, generator)


def base_forgotten(self: Any, state: Any, beta: Any) -> Any:
    return _weigh(self, state, beta) + 0.3 * beta


def hidden_at_once(self: Any, state: Any, beta: Any) -> Any:
    v, z = state
    pull = self.model.visible.scaled(v) @ (self.visible_bias - self.model.visible.bias)
    return self.model.hidden.log_normalizer(z) - self.model.visible.energy(v) + pull * (1 - beta)


def shifted(values: np.ndarray[Any, Any]) -> Callable[..., Any]:
    return lambda path, state, betas, generator: partition_weights(path, state, np.clip(betas + 0.05, 0, 1), generator)


partition_weights = partition._weights


@pytest.mark.parametrize(
    "name, fault",
    [("step", at_one), ("step", standing_still_after_one), ("log_density", base_forgotten),
     ("log_density", hidden_at_once)],
)  # fmt: skip
def test_wrong_temperatures_are_noticed(monkeypatch: pytest.MonkeyPatch, name: str, fault: Any) -> None:
    assert not noticed(check_unbiased)
    monkeypatch.setattr(RBMPath, name, fault)
    assert noticed(check_unbiased)


def test_temperatures_that_are_shifted_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "_weights", shifted(np.empty(0)))
    assert noticed(check_unbiased)
