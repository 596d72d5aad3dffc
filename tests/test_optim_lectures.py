"""The lectures' update rules against the optimizers: where two slides agree, and where one is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from support import holds

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim
from tinygrad_mlsp.errors import OptionError

CURVES = np.array([1.0, 10.0])
START, RATE, FRICTION = np.array([2.0, -1.0]), 0.05, 0.8


def slope(w: Any) -> Any:
    """∇ of ½ Σ c w² + ¼ Σ w⁴"""
    return CURVES * w + w**3


def steps(optimizer: Any, p: Any, count: int) -> list[Any]:
    taken = [p.numpy().copy()]
    for _ in range(count):
        p.grad = slope(p.numpy())
        optimizer.step()
        taken.append(p.numpy().copy())
    return taken


def parameter(device: str) -> nn.Parameter:
    return nn.Parameter(START, dtype=np.float64, device=device)


def nesterov_of_000(count: int) -> tuple[list[Any], list[Any]]:
    """u ← η ∇f(w − μ u) + μ u, w ← w − u; the places w, and those looked ahead to."""
    w, u, taken, ahead = START, np.zeros(2), [START], [START]
    for _ in range(count):
        u = RATE * slope(w - FRICTION * u) + FRICTION * u
        w = w - u
        taken.append(w)
        ahead.append(w - FRICTION * u)
    return taken, ahead


def test_both_lectures_nesterov_and_pytorchs_are_one(device: str) -> None:
    taken, ahead = nesterov_of_000(15)
    w, move = START, np.zeros(2)  # seed 004's W_extend slide
    for expected in taken[1:]:
        extended = w + FRICTION * move
        move = FRICTION * move - RATE * slope(extended)
        w = w + move
        np.testing.assert_allclose(w, expected, rtol=1e-12)
    p = parameter(device)
    found = steps(optim.SGD([p], RATE, FRICTION, nesterov=True), p, 15)
    np.testing.assert_allclose(found, ahead, rtol=1e-12)  # it keeps the place looked ahead to


def test_the_nesterov_scheme_of_004_is_plain_momentum(device: str) -> None:
    w, v, found = START, np.zeros(2), []
    for _ in range(15):  # w ← w + v, then the gradient there, then v
        w = w + v
        found.append(w)
        v = FRICTION * v - RATE * slope(w)
    p = parameter(device)
    plain = steps(optim.SGD([p], RATE, FRICTION), p, 14)
    np.testing.assert_allclose(found, plain, rtol=1e-12)
    assert np.max(np.abs(np.array(found[:15]) - nesterov_of_000(14)[0])) > 0.05


def test_adagrads_slide_in_000_sums_twice(device: str) -> None:
    p = parameter(device)
    found = steps(optim.Adagrad([p], 0.5), p, 30)
    w, s = START, np.zeros(2)
    for expected in found[1:]:
        g = slope(w)
        s = s + g**2
        w = w - 0.5 * g / (np.sqrt(s) + 1e-10)
        np.testing.assert_allclose(w, expected, rtol=1e-12)

    def length(double: bool) -> list[float]:
        """Steps on a slope of 2 everywhere."""
        s, total, taken = 0.0, 0.0, []
        for _ in range(100):
            s += 4
            total += s * s
            taken.append(2 / math.sqrt(total if double else s))
        return taken

    assert length(False)[99] == pytest.approx(1 / 10)  # 1/√t
    assert length(True)[99] < 0.001  # 1/t^1.5, smaller by the slope too


def test_adams_slide_in_004_leaves_out_the_power(device: str) -> None:
    def slide(count: int, power: bool) -> list[Any]:
        w, m, v, taken = START, np.zeros(2), np.zeros(2), []
        for t in range(1, count + 1):
            g = slope(w)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            one, two = (0.9**t, 0.999**t) if power else (0.9, 0.999)
            w = w - 0.01 * (m / (1 - one)) / (np.sqrt(v / (1 - two)) + 1e-8)
            taken.append(w)
        return taken

    p = parameter(device)
    found = steps(optim.Adam([p], 0.01), p, 40)[1:]
    np.testing.assert_allclose(found, slide(40, power=True), rtol=1e-9)
    wrong = slide(40, power=False)
    np.testing.assert_allclose(wrong[0], found[0], rtol=1e-9)  # the first step is the same
    assert np.abs(wrong[39] - found[39]).max() > 0.2
    m, v, moves = 0.0, 0.0, []  # to the letter, what is divided is carried on, and nothing moves any more
    for _ in range(10):
        m, v = (0.9 * m + 0.1) / 0.1, (0.999 * v + 0.001) / 0.001
        moves.append(0.01 * m / (math.sqrt(v) + 1e-8))
    assert moves[0] == pytest.approx(0.01) and moves[9] < 1e-6


def test_delta_bar_delta_speeds_up_where_the_sign_stays(device: str) -> None:
    p = nn.Parameter([10.0, 1.0], dtype=np.float64, device=device)
    optimizer = optim.DeltaBarDelta([p], 0.01, kappa=0.01, phi=0.5)
    for step in range(10):
        p.grad = [1.0, (-1.0) ** step]
        optimizer.step()
    rate = optimizer.state[p]["rate"].numpy()
    assert rate[0] == pytest.approx(0.01 + 9 * 0.01) and rate[1] < 0.01 * 0.6**5


def test_gradients_add_up_over_backward_calls(device: str) -> None:
    """Four micro-batches, each loss divided by four, then one step: the step of the whole batch."""
    x, y = np.random.default_rng(0).standard_normal((8, 3)), np.random.default_rng(1).standard_normal((8, 2))
    whole, parts = (nn.Linear(3, 2, dtype=np.float64, generator=tg.Generator(0)).to(device) for _ in range(2))
    for model, pieces in ((whole, 1), (parts, 4)):
        optimizer = optim.Adam(model.parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            for a, b in zip(np.split(x, pieces), np.split(y, pieces), strict=True):
                loss = nn.functional.mse_loss(model(tg.Tensor(a, device=device)), tg.Tensor(b, device=device))
                (loss / pieces).backward()
            optimizer.step()
    holds(parts.weight, whole.weight.numpy(), tolerance=1e-9)
    holds(parts.bias, whole.bias.numpy(), tolerance=1e-9)


def test_clipping_by_value(device: str) -> None:
    a, b, c = (nn.Parameter([1.0, 2.0], device=device) for _ in range(3))
    a.grad, b.grad = [-3.0, 0.5], [0.1, 9.0]
    assert nn.utils.clip_grad_value_([a, b, c], 1.0) is None
    holds(a.grad, [-1, 0.5])
    holds(b.grad, [0.1, 1])
    assert c.grad is None
    nn.utils.clip_grad_value_(b, 0.05)
    holds(b.grad, [0.05, 0.05])
    with pytest.raises(OptionError, match="clip_value must be a number of 0 or more, got -1"):
        nn.utils.clip_grad_value_(a, -1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.Adagrad(p, lr_decay=-1), "Adagrad: lr_decay must be a finite number of 0 or more, got -1"),
        (lambda p: optim.RMSprop(p, alpha=1.5), "RMSprop: alpha is a number from 0 to 1, got 1.5"),
        (lambda p: optim.Adadelta(p, rho=1.5), "Adadelta: rho is a number from 0 to 1"),
        (lambda p: optim.AdamW(p, betas=(1.0, 0.9)), "AdamW: betas are two numbers"),
        (lambda p: optim.NAdam(p, momentum_decay=math.inf), "NAdam: momentum_decay must be a finite number"),
        (lambda p: optim.RAdam(p, betas=(0.9, 1.0)), "RAdam: betas are two numbers"),
        (lambda p: optim.Adamax(p, lr="fast"), "Adamax: lr must be a finite number of 0 or more, got 'fast'"),
        (lambda p: optim.Lion(p, betas=(0.9, -0.1)), "Lion: betas are two numbers"),
        (lambda p: optim.Rprop(p, etas=(1.2, 0.5)), "Rprop: etas are a number from 0 to 1 and one above 1"),
        (lambda p: optim.DeltaBarDelta(p, phi=1.0), "DeltaBarDelta: phi and theta must be below 1"),
        (lambda p: optim.LBFGS(p, line_search_fn="armijo"), "line_search_fn is None or 'strong_wolfe', not 'armijo'"),
        (lambda p: optim.LBFGS(p, history_size=0), "history_size must be a whole number of 1 or more, got 0"),
        (lambda p: optim.LBFGS([{"params": p}, {"params": [tg.zeros(1)]}]), "LBFGS: takes one group"),
        (lambda p: optim.NonlinearCG(p, method="HS"), r"method is 'PR\+' or 'FR', not 'HS'"),
        (lambda p: optim.Newton(p, method="pure"), "method is 'trust region' or 'damped', not 'pure'"),
        (lambda p: optim.HessianFree(p, max_cg=0), "max_cg must be a whole number of 1 or more"),
        (lambda p: optim.BFGS(p).step(), "BFGS.step: wants a closure"),
        (lambda p: optim.Newton(p).step(), "Newton.step: wants a closure"),
        (lambda p: optim.HessianFree(p).step(), "HessianFree.step: wants forward"),
        (lambda p: optim.BFGS([*p, nn.Parameter([1.0], dtype=np.float64)]), "must be of one dtype"),
        (lambda p: optim.minimize(sum, [1.0], "simplex"), "minimize: method is one of sgd, .*got 'simplex'"),
        (lambda p: optim.minimize(sum, [1.0], "hessian-free"), "takes loss="),
        (lambda p: optim.lr_scheduler.StepLR(p, 3), "StepLR: takes an optimizer, not list"),
        (lambda p: optim.lr_scheduler.StepLR(optim.SGD(p), 0), "step_size must be a whole number of 1 or more, got 0"),
        (lambda p: optim.lr_scheduler.StepLR(optim.SGD(p), 1, last_epoch=3), "group 0 has no initial_lr"),
        (lambda p: optim.lr_scheduler.OneCycleLR(optim.SGD(p), 1.0), "wants total_steps, or epochs"),
        (lambda p: optim.lr_scheduler.OneCycleLR(optim.Adagrad(p), 1.0, 5), "no momentum to cycle"),
        (lambda p: optim.lr_scheduler.LinearLR(optim.SGD(p), 0.0), "LinearLR: start_factor and end_factor"),
        (lambda p: optim.lr_scheduler.LambdaLR(optim.SGD(p), [abs, abs]), "lr_lambda has 2 entries for 1 groups"),
        (lambda p: optim.lr_scheduler.ReduceLROnPlateau(optim.SGD(p), factor=1.0), "factor must be below 1"),
        (lambda p: optim.lr_scheduler.StepLR(optim.SGD(p), 3).load_state_dict({}), "StepLR.load_state_dict: wants"),
        (lambda p: optim.averaging.get_ema_avg_fn(2.0), "decay is a number from 0 to 1, got 2.0"),
        (lambda p: optim.averaging.SWALR(optim.SGD(p), 0.1, anneal_epochs=-1), "anneal_epochs is a whole number"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(make: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make([nn.Parameter([1.0])])


def test_one_cycle_moves_adams_first_beta_and_ends() -> None:
    optimizer = optim.Adam([nn.Parameter([1.0])])
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.999)
    for _ in range(3):
        schedule.step()
    assert optimizer.param_groups[0]["betas"][0] < 0.87 and optimizer.param_groups[0]["lr"] > 0.09
    for _ in range(7):
        schedule.step()
    with pytest.raises(OptionError, match="step 11 of a cycle of 10"):
        schedule.step()
