"""Records what PyTorch's optimizers, schedules and averages do: python tests/evidence/optim_reference.py

Into tests/data/optim.json, each case a list [name, arguments, figures]; tests/test_optim_reference.py runs the same
here. PyTorch must be installed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).parents[1] / "data" / "optim.json"
SHAPES, STEPS, EPOCHS = [(2, 3), (), (2,)], 20, 50
GROUPS = [{"lr": 0.05}, {}]  # the first parameter's options, and the others'

OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "maximize": True, "weight_decay": 0.2}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.3, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.3, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.7}),
    ("RMSprop", {"lr": 0.05, "centered": True, "maximize": True, "momentum": 0.5}),
    ("RMSprop", {"lr": 0.05, "centered": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 2.0, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": [0.8, 0.9], "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "betas": [0.8, 0.9], "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "betas": [0.8, 0.9], "eps": 1e-3, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.3, "alpha": 0.5, "t0": 5, "weight_decay": 0.1}),
    ("ASGD", {"lr": 0.05, "t0": 2, "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.3, "beta2_decay": -0.5, "eps": [1e-3, 0.1], "d": 1.5, "weight_decay": 0.1}),
    ("Adafactor", {"lr": 0.5, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": [0.4, 1.5], "step_sizes": [0.05, 0.3], "maximize": True}),
]
SCHEDULES = [
    ("StepLR", {"step_size": 7, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [5, 20, 20, 33], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.95}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 9}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 12}),
    ("LinearLR", {}),
    ("PolynomialLR", {"total_iters": 30, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 20, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 7}),
    ("CosineAnnealingWarmRestarts", {"T_0": 6, "T_mult": 2, "eta_min": 0.001}),
    ("CosineAnnealingWarmRestarts", {"T_0": 9}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 51}),
    ("OneCycleLR", {"max_lr": [0.5, 0.2], "epochs": 6, "steps_per_epoch": 10, "three_phase": True,
                    "anneal_strategy": "linear", "pct_start": 0.25, "div_factor": 10.0}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": [0.2, 0.5], "step_size_up": 6}),
    ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": 0.3, "step_size_up": 4, "step_size_down": 9,
                  "mode": "triangular2", "base_momentum": 0.5, "max_momentum": [0.8, 0.95]}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 5, "mode": "exp_range", "gamma": 0.97,
                  "cycle_momentum": False}),
    ("LambdaLR", {"lr_lambda": "lambda t: 1 / (1 + t) ** 0.5"}),
    ("MultiplicativeLR", {"lr_lambda": "lambda t: 1 - 0.01 * t"}),
    ("SequentialLR", [("LinearLR", {"total_iters": 6}), ("CosineAnnealingLR", {"T_max": 20}),
                      ("ExponentialLR", {"gamma": 0.9})], [6, 26]),
    ("ChainedScheduler", [("ConstantLR", {"factor": 0.1, "total_iters": 10}), ("ExponentialLR", {"gamma": 0.97}),
                          ("StepLR", {"step_size": 11})]),
    ("ReduceLROnPlateau", {"patience": 2, "factor": 0.5, "cooldown": 3, "min_lr": [0.0, 0.01]}),
    ("ReduceLROnPlateau", {"mode": "max", "patience": 1, "threshold": 0.1, "threshold_mode": "abs"}),
    ("ReduceLROnPlateau", {"mode": "max", "patience": 1, "threshold": 0.05}),
    ("SWALR", {"swa_lr": 0.02, "anneal_epochs": 8}),
    ("SWALR", {"swa_lr": 0.02, "anneal_epochs": 8, "anneal_strategy": "linear"}),
]  # fmt: skip
LBFGS = [
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 4},
    {"lr": 0.002, "history_size": 5, "max_iter": 3},
]


def start(shape, i):
    return np.random.default_rng(i).standard_normal(shape)


def gradient(p, step, i):
    """Curved, noisy, and with zeros: what a step sees."""
    g = np.cos(3 * p) + p + 0.5 * np.random.default_rng(100 * step + i).standard_normal(p.shape)
    return g * (np.random.default_rng(7 * step + i).random(p.shape) > 0.1)


def metric(epoch):
    return float(np.exp(-epoch / 6) + 0.02 * np.sin(5 * epoch)) if epoch < 20 else 0.05


def flat(parameters):
    return [float(v) for p in parameters for v in np.asarray(p.detach()).reshape(-1)]


def trajectories():
    for name, options in OPTIMIZERS:
        ps = [torch.tensor(start(s, i), requires_grad=True) for i, s in enumerate(SHAPES)]
        first = {"lr": 0.05} if name != "Rprop" else {}
        optimizer = getattr(torch.optim, name)([{"params": ps[:1], **first}, {"params": ps[1:]}], **options)
        taken = []
        for step in range(STEPS):
            for i, p in enumerate(ps):
                p.grad = torch.tensor(gradient(p.detach().numpy(), step, i))
            optimizer.step()
            taken.append(flat(ps))
        state = optimizer.state_dict()["state"].get(0, {})
        kept = {k: np.asarray(v).tolist() for k, v in state.items() if v is not None}
        yield [name, options, taken[::3] + taken[-1:], kept]


def schedules(optim, lr_scheduler, swa, make_parameter):
    """The rates of every schedule, in PyTorch or (from the test) here."""
    for name, *rest in SCHEDULES:
        optimizer = optim.SGD(
            [{"params": [make_parameter()], "lr": 0.2}, {"params": [make_parameter()]}], lr=0.1, momentum=0.9
        )
        made = build(lr_scheduler, swa, optimizer, name, *rest)
        found = []
        for epoch in range(EPOCHS):
            found.append([v for g in optimizer.param_groups for v in (g["lr"], g["momentum"])])
            optimizer.step()
            if name == "ReduceLROnPlateau":
                made.step(metric(epoch))
            else:
                made.step()
        yield [name, found], made


def build(lr_scheduler, swa, optimizer, name, options, milestones=None):
    if name in ("SequentialLR", "ChainedScheduler"):
        parts = [build(lr_scheduler, swa, optimizer, *part) for part in options]
        if name == "ChainedScheduler":
            return lr_scheduler.ChainedScheduler(parts)
        return lr_scheduler.SequentialLR(optimizer, parts, milestones=milestones)
    if "lr_lambda" in options:
        options = {"lr_lambda": eval(options["lr_lambda"])}
    return getattr(swa if name == "SWALR" else lr_scheduler, name)(optimizer, **options)


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def lbfgs():
    for options in LBFGS:
        p = torch.tensor([-1.2, 1.0, 0.5, -0.3], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([p], **options)

        def closure(p=p, optimizer=optimizer):
            optimizer.zero_grad()
            loss = rosenbrock(p)
            loss.backward()
            return loss

        taken = [[float(optimizer.step(closure)), *flat([p])] for _ in range(8)]
        state = optimizer.state_dict()["state"][0]
        yield [options, taken, state["func_evals"], state["n_iter"]]


def averages():
    for kind in ("swa", "ema"):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).double()
        swa = torch.optim.swa_utils
        averaged = swa.AveragedModel(model, avg_fn=swa.get_ema_avg_fn(0.8) if kind == "ema" else None)
        for step in range(6):
            with torch.no_grad():
                for i, p in enumerate(model.parameters()):
                    p.copy_(torch.tensor(start(tuple(p.shape), 10 * step + i)))
            averaged.update_parameters(model)
        batches = [torch.tensor(start((5, 3), 70 + i)) for i in range(3)]
        swa.update_bn(batches, averaged)
        yield [kind, {k: np.asarray(v).tolist() for k, v in averaged.state_dict().items()}]


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.13g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, (list, tuple)) else value


if __name__ == "__main__":
    import torch

    figures = {
        "torch": torch.__version__.split("+")[0],
        "trajectories": list(trajectories()),
        "schedules": [found for found, _ in schedules(
            torch.optim, torch.optim.lr_scheduler, torch.optim.swa_utils, lambda: torch.nn.Parameter(torch.zeros(1)))],
        "lbfgs": list(lbfgs()),
        "averages": list(averages()),
    }  # fmt: skip
    FILE.write_text(json.dumps(rounded(figures), separators=(",", ":")) + "\n")
    print(FILE, FILE.stat().st_size, "bytes")
