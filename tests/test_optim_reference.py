"""Optimizers, schedules and averages equal PyTorch's recorded figures (tests/evidence/optim_reference.py)."""

from __future__ import annotations

import importlib.util
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim
from tinygrad_mlsp.optim import optimizer as implementation

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("optim_reference", HERE / "evidence" / "optim_reference.py")
reference: Any = importlib.util.module_from_spec(_spec)  # type: ignore[arg-type]
_spec.loader.exec_module(reference)  # type: ignore[union-attr]
FLOAT32 = {"NAdam": 1e-7, "ASGD": 1e-6}  # PyTorch keeps the product of momenta, and η and μ, in float32
FIGURES = json.loads((HERE / "data" / "optim.json").read_text())


def make(name: str, options: dict[str, Any], device: str, dtype: Any = np.float64) -> tuple[list[Any], Any]:
    ps = [nn.Parameter(np.asarray(reference.start(s, i)), dtype=dtype, device=device)
          for i, s in enumerate(reference.SHAPES)]  # fmt: skip
    first = {"lr": 0.05} if name != "Rprop" else {}
    return ps, getattr(optim, name)([{"params": ps[:1], **first}, {"params": ps[1:]}], **options)


def take(ps: Any, optimizer: Any, step: int) -> list[float]:
    for i, p in enumerate(ps):
        p.grad = reference.gradient(p.numpy(), step, i).astype(p.dtype)
    optimizer.step()
    return [float(v) for p in ps for v in p.numpy().reshape(-1)]


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("case", FIGURES["trajectories"], ids=lambda c: f"{c[0]} {c[1]}")
def test_twenty_steps_equal_pytorchs(case: Any, small: bool, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if small:  # parameters in pieces and together
        monkeypatch.setattr(implementation, "BLOCK", 3)
        monkeypatch.setattr(implementation, "LARGE", 3)
    name, options, taken, state = case
    assert list(case[:2]) in [[n, o] for n, o in reference.OPTIMIZERS]
    ps, optimizer = make(name, options, device)
    found = [take(ps, optimizer, step) for step in range(reference.STEPS)]
    tolerance = FLOAT32.get(name, 1e-9)
    np.testing.assert_allclose(found[::3] + found[-1:], taken, rtol=tolerance, atol=tolerance)
    mine = optimizer.state[ps[0]]
    assert set(mine) - {"step"} == set(state) - {"step"}
    assert mine["step"] == state.get("step", 20)
    for key in set(state) - {"step"}:
        value = mine[key].numpy() if isinstance(mine[key], tg.Tensor) else mine[key]
        np.testing.assert_allclose(value, state[key], rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("case", FIGURES["trajectories"], ids=lambda c: f"{c[0]} {c[1]}")
def test_it_goes_on_from_a_saved_state_and_in_float32(case: Any, device: str) -> None:
    name, options, taken, _ = case
    ps, optimizer = make(name, options, device)
    for step in range(9):
        take(ps, optimizer, step)
    state = optimizer.state_dict()
    again, other = make(name, options, device)
    for p, q in zip(again, ps, strict=True):
        p.copy_(q.detach())
    other.load_state_dict(state)
    for step in range(9, 20):
        assert take(again, other, step) == take(ps, optimizer, step)
    if name != "Rprop":  # whose signs rounding can turn
        single, third = make(name, options, device, np.float32)
        found = [take(single, third, step) for step in range(reference.STEPS)]
        assert all(p.dtype == np.float32 for p in single)
        np.testing.assert_allclose(found[-1], taken[-1], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("case", FIGURES["trajectories"], ids=lambda c: f"{c[0]} {c[1]}")
def test_pytorchs_state_is_taken(case: Any, device: str) -> None:
    """From the recorded state, the next step is the one that would have been taken here."""
    name, options, _, state = case
    ps, optimizer = make(name, options, device)
    for step in range(20):
        take(ps, optimizer, step)
    saved = optimizer.state_dict()
    other_ps, other = make(name, options, device)
    for p, q in zip(other_ps, ps, strict=True):
        p.copy_(q.detach())
    theirs = {k: np.asarray(v) for k, v in state.items()}
    other.load_state_dict({**saved, "state": {**saved["state"], **({0: theirs} if theirs else {})}})
    tolerance = {"ASGD": 1e-6}.get(name, 1e-9)
    np.testing.assert_allclose(take(other_ps, other, 20), take(ps, optimizer, 20), rtol=tolerance, atol=tolerance)


def test_schedules_equal_pytorchs() -> None:
    schedulers = optim.lr_scheduler
    made = reference.schedules(optim, schedulers, optim.swa_utils, lambda: nn.Parameter([0.0]))
    for (name, rates), (expected_name, expected) in zip((m for m, _ in made), FIGURES["schedules"], strict=True):
        assert name == expected_name
        np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=1e-15, err_msg=name)
        assert any(a != b for a, b in pairwise(rates)), name


@pytest.mark.parametrize("at", range(len(reference.SCHEDULES)))
def test_schedules_go_on_from_their_state(at: int) -> None:
    name, *rest = reference.SCHEDULES[at]

    def build() -> tuple[Any, Any]:
        ps = [nn.Parameter([0.0]), nn.Parameter([0.0])]
        optimizer = optim.SGD([{"params": ps[:1], "lr": 0.2}, {"params": ps[1:]}], lr=0.1, momentum=0.9)
        return optimizer, reference.build(optim.lr_scheduler, optim.swa_utils, optimizer, name, *rest)

    def advance(optimizer: Any, schedule: Any, epochs: range) -> list[Any]:
        found = []
        for epoch in epochs:
            schedule.step(*([reference.metric(epoch)] if name == "ReduceLROnPlateau" else []))
            found.append([(g["lr"], g["momentum"]) for g in optimizer.param_groups])
        return found

    optimizer, schedule = build()
    advance(optimizer, schedule, range(17))
    saved = json.loads(json.dumps([optimizer.state_dict(), schedule.state_dict()]))
    other, twin = build()
    other.load_state_dict(saved[0])
    twin.load_state_dict(saved[1])
    assert twin.get_last_lr() == schedule.get_last_lr()
    assert [g.get("initial_lr") for g in other.param_groups] == [g.get("initial_lr") for g in optimizer.param_groups]
    assert advance(other, twin, range(17, 40)) == advance(optimizer, schedule, range(17, 40))


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


@pytest.mark.parametrize("case", FIGURES["lbfgs"], ids=lambda c: str(c[0]))
def test_lbfgs_equals_pytorchs(case: Any, device: str) -> None:
    options, taken, evaluations, iterations = case
    p = nn.Parameter([-1.2, 1.0, 0.5, -0.3], dtype=np.float64, device=device)
    optimizer = optim.LBFGS([p], **options)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = rosenbrock(p)
        loss.backward()
        return loss

    found = []
    for step in range(8):
        if step == 4:  # saved and loaded on the way
            state, q = optimizer.state_dict(), nn.Parameter(p.numpy().copy(), device=device)
            p, optimizer = q, optim.LBFGS([q])
            optimizer.load_state_dict(state)
        loss = float(optimizer.step(closure))
        found.append([loss, *p.tolist()])
    np.testing.assert_allclose(found, taken, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found[:3], taken[:3], rtol=1e-9, atol=1e-12)
    assert optimizer.state[p]["func_evals"] == evaluations and optimizer.state[p]["n_iter"] == iterations


@pytest.mark.parametrize("case", FIGURES["averages"], ids=lambda c: c[0])
def test_averages_equal_pytorchs(case: Any, device: str) -> None:
    kind, expected = case
    model = nn.Sequential(nn.Linear(3, 2, dtype=np.float64), nn.BatchNorm1d(2, dtype=np.float64)).to(device)
    averaged = optim.averaging.AveragedModel(
        model, avg_fn=optim.averaging.get_ema_avg_fn(0.8) if kind == "ema" else None
    )
    for step in range(6):
        with tg.no_grad():
            for i, p in enumerate(model.parameters()):
                p.copy_(reference.start(p.shape, 10 * step + i))
        averaged.update_parameters(model)
    batches = [tg.Tensor(reference.start((5, 3), 70 + i), device=device) for i in range(3)]
    optim.averaging.update_bn(batches, averaged)
    found = averaged.state_dict()
    assert set(found) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key].numpy(), value, rtol=1e-12, atol=1e-12, err_msg=key)
    assert averaged(batches[0]).shape == (5, 2)


def test_an_optimizers_state_carries_what_schedules_noted() -> None:
    optimizer = optim.SGD([nn.Parameter([0.0])], lr=0.1)
    optim.lr_scheduler.ExponentialLR(optimizer, 0.5).step()
    other = optim.SGD([nn.Parameter([0.0])], lr=7.0)
    other.load_state_dict(optimizer.state_dict())
    schedule = optim.lr_scheduler.LambdaLR(other, lambda t: 1 / (1 + t), last_epoch=2)
    assert schedule.get_last_lr() == [0.1 / 4]
