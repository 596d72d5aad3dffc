"""Trainer: its loop, measures and callbacks, and how it ends."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim, train
from tinygrad_mlsp.data import Loader
from tinygrad_mlsp.errors import CheckpointError, DataError, DivergenceError, OptionError, ShapeError
from tinygrad_mlsp.nn import functional as F
from tinygrad_mlsp.random import Generator
from tinygrad_mlsp.train import Trainer

RNG = np.random.default_rng(0)
Y = np.arange(40) % 2
X = (RNG.standard_normal((40, 2)) + 3 * Y[:, None]).astype(np.float32)


def made(device: str = "cpu", batch: int = 10, lr: float = 0.1, **options: Any) -> Trainer:
    g = Generator(0)
    model = nn.Sequential(
        nn.Linear(2, 8, generator=g), nn.Tanh(), nn.Dropout(0.1, generator=g), nn.Linear(8, 2, generator=g)
    )
    optimizer = options.pop("optimizer", None) or optim.Adam(model.parameters(), lr)
    loader = options.pop("loader", None) or Loader(X, Y, batch_size=batch, seed=1)
    return Trainer(model, F.cross_entropy, optimizer, loader, device=device, progress=False, **options)


def weights(trainer: Trainer) -> list[np.ndarray[Any, Any]]:
    return [p.numpy().copy() for p in trainer.model.parameters()]


def equal(a: Trainer, b: Trainer) -> bool:
    return all((x == y).all() for x, y in zip(weights(a), weights(b), strict=True))


def test_it_learns_measures_and_moves_to_the_device(device: str) -> None:
    t = made(device, val_loader=Loader(X, Y, batch_size=7, shuffle=False),
             metrics=[train.Accuracy(), train.TopK(2), train.Confusion(2)])  # fmt: skip
    history = t.fit(8)
    assert len(history.loss) == 8 and history.loss[-1] < history.loss[0] and t.step == 32 and t.epoch == 7
    assert set(history.metrics) == {"accuracy", "top2", "val_accuracy", "val_top2", "val_loss"}
    assert history.metrics["val_accuracy"][-1] > 0.9 and history.metrics["val_top2"] == [1.0] * 8
    assert t.record["val_confusion"].sum() == 40 and t.record["val_confusion"].trace() >= 36
    assert t.model[0].weight.device == tg.zeros((), device=device).device and t.model.training
    found = t.evaluate(Loader(X, Y, batch_size=40, shuffle=False))
    assert abs(found["loss"] - history.metrics["val_loss"][-1]) < 1e-6
    t.model.eval()
    expected = F.cross_entropy(t.model(tg.Tensor(X, device=device)), tg.Tensor(Y, device=device)).item()
    assert abs(found["loss"] - expected) < 1e-6 and "8 epochs" in repr(t)


def test_it_equals_fit(device: str) -> None:
    t = made(device)
    history = t.fit(3)
    other = made(device)
    loader = Loader(*(tg.Tensor(a, device=device).data for a in (X, Y)), batch_size=10, seed=1)
    expected = train.fit(other.model, F.cross_entropy, other.optimizer, loader, 3, progress=False)
    assert history.loss == expected.loss and equal(t, other)


def test_epochs_and_steps_count_from_the_start() -> None:
    a, b, c = made(), made(), made()
    a.fit(5)
    for steps in (1, 3, 4, 5, 18, 20):
        b.fit(steps=steps)
        assert b.step == steps and len(b.history.loss) == steps // 4
    c.fit(2)
    c.fit(5, steps=1000)
    c.fit(5)
    assert equal(a, b) and equal(a, c) and a.history == b.history == c.history
    assert a.fit(5, steps=3).loss == b.history.loss and a.step == 20
    for wrong in ({}, {"epochs": -1}, {"epochs": 1.5}, {"steps": "a"}):
        with pytest.raises(OptionError):
            a.fit(**wrong)


@pytest.mark.parametrize("at", range(1, 13))
def test_resumed_at_any_step_it_ends_the_same(at: int, device: str, tmp_path: Path) -> None:
    def one() -> Trainer:
        g = Generator(9)  # shared by two layers
        model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5, generator=g), nn.Dropout(0.5),
                              nn.Dropout(0.5, generator=g), nn.Linear(8, 2))  # fmt: skip
        optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
        return Trainer(model, F.cross_entropy, optimizer, Loader(X, Y, batch_size=10), Loader(X, Y, seed=8),
                       metrics=[train.Accuracy()], device=device, progress=False,
                       callbacks=[train.GradientFlow(2)], keep={"mine": extra})  # fmt: skip

    extra = Generator(1)
    tg.manual_seed(3)
    a = one()
    a.fit(steps=at)
    extra.bits(at)
    a.save(tmp_path / "c.safetensors")
    a.fit(3)
    tg.manual_seed(77)
    extra = Generator(2)
    b = one()
    b.resume(tmp_path / "c.safetensors")
    assert extra.key == 1 and extra.counter == -(-at // 4)
    b.fit(3)
    assert equal(a, b) and a.history == b.history and a.record == b.record
    assert (a.callbacks[0].norms == b.callbacks[0].norms).all() and len(b.callbacks[0].steps) == 6
    assert all((x.numpy() == y.numpy()).all() for x, y in zip(a.model.buffers(), b.model.buffers(), strict=True))


def test_a_loader_that_cannot_tell_where_it_is(tmp_path: Path) -> None:
    batches = [(X[i : i + 7], Y[i : i + 7]) for i in range(0, 40, 7)]
    a, b = made(loader=batches), made(loader=batches)
    a.fit(steps=8)
    a.save(tmp_path / "c.safetensors")
    b.resume(tmp_path / "c.safetensors")
    a.fit(3)
    b.fit(3)
    assert equal(a, b) and a.step == 18

    def endless() -> Any:
        while True:
            yield from batches

    assert made(loader=endless()).fit(steps=11).loss == []


def test_modes_frozen_weights_and_extra_state_are_kept(tmp_path: Path) -> None:
    class Counting(nn.Linear):
        calls = 0

        def get_extra_state(self) -> Any:
            return {"calls": self.calls}

        def set_extra_state(self, state: Any) -> None:
            self.calls = state["calls"]

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return super().forward(x)

    def one() -> Trainer:
        model = nn.Sequential(Counting(2, 4), nn.Linear(4, 2))
        model[0].register_buffer("seen", tg.zeros((2,)), persistent=False)
        return Trainer(model, F.cross_entropy, optim.Adam(model.parameters()), Loader(X, Y), progress=False)

    a = one()
    a.model[1].requires_grad_(False)
    a.model[0].seen.copy_([1.0, 2.0])
    a.fit(1)
    a.model[0].eval()
    a.save(tmp_path / "c.safetensors")
    b = one()
    b.resume(tmp_path / "c.safetensors")
    assert b.model[0].calls == 2 and b.model[0].seen.tolist() == [1.0, 2.0] and not b.model[0].training
    assert b.model[1].training and not b.model[1].weight.requires_grad and b.model[0].weight.requires_grad


def test_accumulated_batches_equal_one_large_batch(device: str) -> None:
    def one(batch: int, accumulate: int) -> Trainer:
        model = nn.Linear(2, 2, generator=Generator(0))
        loader = Loader(X, Y, batch_size=batch, seed=1)
        return Trainer(model, F.cross_entropy, optim.SGD(model.parameters(), 0.1), loader, accumulate=accumulate,
                       device=device, progress=False)  # fmt: skip

    a, b = one(21, 1), one(7, 3)  # 21 and 19 samples; three batches, and 7 + 7 + 5
    a.fit(4)
    b.fit(4)
    assert a.step == b.step == 8
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)
    np.testing.assert_allclose(a.history.loss, b.history.loss, rtol=1e-5)


def test_clipping(device: str) -> None:
    class Look(train.Callback):
        def on_backward(self, state: train.State) -> None:
            before.extend(p.grad.numpy().copy() for p in state.model.parameters())

    before: list[Any] = []
    for options in ({"clip_value": 0.01}, {"clip_norm": 0.01}):
        before.clear()
        t = made(device, optimizer=None, callbacks=[Look()], **options)
        t.optimizer = optim.SGD(t.model.parameters(), 1.0)
        old = weights(t)
        t.fit(steps=1)
        moved = [a - b for a, b in zip(old, weights(t), strict=True)]
        if "clip_value" in options:
            for m, g in zip(moved, before, strict=True):
                np.testing.assert_allclose(m, np.clip(g, -0.01, 0.01), atol=1e-6)
        else:
            assert abs(math.sqrt(sum((m**2).sum() for m in moved)) - 0.01) < 1e-5


def test_an_optimizer_that_asks_for_the_loss_anew_gets_it() -> None:
    class Asking(optim.SGD):
        def step(self, closure: Any) -> Any:  # type: ignore[override]
            first = [p.grad.numpy().copy() for g in self.param_groups for p in g["params"]]
            asked.append(float(closure()))
            for g, p in zip(first, (p for group in self.param_groups for p in group["params"]), strict=True):
                np.testing.assert_array_equal(g, p.grad.numpy())
            super().step()

    asked: list[float] = []
    model = nn.Linear(2, 2, generator=Generator(0))
    t = Trainer(model, F.cross_entropy, Asking(model.parameters(), 0.1), Loader(X, Y, batch_size=10), progress=False,
                metrics=[train.Accuracy()], accumulate=2)  # fmt: skip
    t.fit(1)
    assert len(asked) == t.step == 2 and abs(np.mean(asked) - t.history.loss[0]) < 1e-12
    assert t.metrics[0].totals["samples"] == 40


FIRST_ORDER = ["SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adagrad", "RMSprop", "Adadelta", "Lion", "Rprop",
               "ASGD", "Adafactor"]  # fmt: skip
SECOND_ORDER = ["LBFGS", "BFGS", "NonlinearCG", "Newton", "HessianFree"]


@pytest.mark.parametrize("name", [*FIRST_ORDER, "DeltaBarDelta", *SECOND_ORDER])
def test_every_optimizer_trains_and_is_resumed(name: str, tmp_path: Path) -> None:
    def one() -> Trainer:
        model = nn.Sequential(
            nn.Linear(2, 3, generator=Generator(0)), nn.Tanh(), nn.Linear(3, 2, generator=Generator(1))
        )
        options = {"line_search_fn": "strong_wolfe"} if name == "LBFGS" else {}
        optimizer = getattr(optim, name)(model.parameters(), **options)
        return Trainer(model, F.cross_entropy, optimizer, Loader(X, Y, batch_size=len(X)), progress=False)

    a, b = one(), one()
    a.fit(steps=3)
    a.save(tmp_path / "c")
    a.fit(8)
    assert a.history.loss[-1] < a.history.loss[0]
    b.resume(tmp_path / "c")
    b.fit(8)
    assert equal(a, b) and a.history == b.history


@pytest.mark.parametrize("name", ["StepLR", "CosineAnnealingLR", "OneCycleLR", "ReduceLROnPlateau", "ChainedScheduler"])
def test_schedules_are_resumed(name: str, tmp_path: Path) -> None:
    def one() -> Trainer:
        t, lr = made(), optim.lr_scheduler
        make = {
            "StepLR": lambda o: lr.StepLR(o, 2), "CosineAnnealingLR": lambda o: lr.CosineAnnealingLR(o, 9),
            "OneCycleLR": lambda o: lr.OneCycleLR(o, 0.2, total_steps=50),
            "ReduceLROnPlateau": lambda o: lr.ReduceLROnPlateau(o, patience=0, threshold=0.5),
            "ChainedScheduler": lambda o: lr.ChainedScheduler([lr.StepLR(o, 3), lr.ExponentialLR(o, 0.9)]),
        }  # fmt: skip
        t.schedules = [make[name](t.optimizer)]
        plateau = name == "ReduceLROnPlateau"
        t.schedule_every, t.monitor = ("epoch", "loss") if plateau else ("step", None)
        return t

    a, b = one(), one()
    a.fit(steps=9)
    a.save(tmp_path / "c")
    a.fit(6)
    b.resume(tmp_path / "c")
    b.fit(6)
    assert equal(a, b) and a.optimizer.param_groups[0]["lr"] == b.optimizer.param_groups[0]["lr"] != 0.1


def test_schedules_are_stepped() -> None:
    class Count:
        def __init__(self) -> None:
            self.given: list[Any] = []

        def step(self, *values: Any) -> None:
            self.given.append(values)

    count, other = Count(), Count()
    made(schedule=count).fit(3)
    assert count.given == [()] * 3
    made(schedule=(other, count), schedule_every="step").fit(2)
    assert len(other.given) == 8
    plateau = Count()
    t = made(schedule=plateau, monitor="loss")
    t.fit(2)
    assert [v for (v,) in plateau.given] == t.history.loss
    with pytest.raises(OptionError, match="no figure 'val_loss'"):
        made(schedule=plateau, monitor="val_loss").fit(1)
    with pytest.raises(OptionError, match="whole epoch"):
        made(schedule=plateau, monitor="loss", schedule_every="step")


# How it ends


def test_ctrl_c_leaves_a_checkpoint(tmp_path: Path) -> None:
    class Press(train.Callback):
        def on_backward(self, state: train.State) -> None:
            if state.step == 5:
                os.kill(os.getpid(), signal.SIGINT)

    a = made(callbacks=[Press(), train.Checkpoints(tmp_path)])
    assert a.fit(3).interrupted and a.step == 6
    assert [p.name for p in train.Checkpoints.files(tmp_path)] == [
        "step-000000004.safetensors",
        "step-000000006.safetensors",
    ]
    b, c = made(callbacks=[train.Checkpoints(tmp_path)]), made()
    assert b.resume(tmp_path)
    b.fit(3)
    c.fit(3)
    assert equal(b, c) and b.history == c.history


def test_a_second_ctrl_c_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    class Press(train.Callback):
        def on_backward(self, state: train.State) -> None:
            if state.step == 5:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGINT)

    a = made(callbacks=[Press(), train.Checkpoints(tmp_path, steps=2)])
    assert a.fit(3).interrupted and not a.whole
    assert train.Checkpoints.files(tmp_path)[-1].name == "step-000000004.safetensors"
    with pytest.raises(OptionError, match="half done"):
        a.save(tmp_path / "x.safetensors")
    b, c = made(), made()
    b.resume(tmp_path)
    b.fit(3)
    c.fit(3)
    assert equal(b, c)


def test_ctrl_c_twice_while_measuring(tmp_path: Path) -> None:
    class Press(train.Accuracy):
        def update(self, output: Any, target: Any) -> None:
            if armed and not tg.is_grad_enabled():
                armed.clear()
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGINT)
            super().update(output, target)

    def one() -> Trainer:
        return made(val_loader=Loader(X, Y, batch_size=10, seed=4), metrics=[Press()],
                    callbacks=[train.Checkpoints(tmp_path / "c", steps=3)])  # fmt: skip

    armed: list[int] = []
    whole = one()
    whole.fit(2)
    for path in train.Checkpoints.files(tmp_path / "c"):
        path.unlink()
    armed.append(1)
    a = one()
    assert a.fit(2).interrupted and a.step == 4 and a.history.loss == []
    b = one()
    b.resume(tmp_path / "c")
    assert b.step == 3
    b.fit(2)
    a.fit(2)  # in the same process too
    assert equal(a, whole) and equal(b, whole) and b.history == whole.history
    assert a.history.loss == whole.history.loss


def test_a_checkpoint_by_any_name(tmp_path: Path) -> None:
    a, b = made(), made()
    a.fit(1)
    a.save(tmp_path / "mine")
    assert b.resume(tmp_path / "mine") and b.step == 4
    assert not b.resume(tmp_path / "nothing")


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            "parameter",
            r"the loss is nan in step 2 \(epoch 1, from 1\); first not finite: the parameter '3.weight' \(1 of 16",
        ),
        ("input", r"the loss is nan in step 1 .*input 0 of the batch \(1 of 20"),
        ("gradient", r"the loss is finite, its gradient is not in step 1 .*the gradient of '0.weight' \(16 of 16"),
        ("loss", r"the loss is inf in step 1 .*no parameter, input or gradient"),
    ],
)
def test_a_loss_that_is_not_finite_says_where_it_came_from(
    spoil: str, message: str, device: str, tmp_path: Path
) -> None:
    t = made(device, callbacks=[train.Checkpoints(tmp_path / "c")])
    if spoil == "parameter":

        def ruin(state: train.State) -> None:
            weight = state.model[3].weight.numpy().copy()
            weight[0, 0] = math.nan
            state.model[3].weight.copy_(weight)

        t.callbacks[0].on_step = ruin  # type: ignore[method-assign]
    elif spoil == "input":
        t.train_loader = [(np.where(np.arange(20).reshape(10, 2) == 3, np.nan, X[:10]).astype(np.float32), Y[:10])]
    elif spoil == "gradient":
        t.loss_fn = lambda output, target: tg.sqrt(output.sum() * 0.0)
    else:
        t.loss_fn = lambda output, target: output.sum() * 1e38 * 1e38
    with pytest.raises(DivergenceError, match=message), np.errstate(all="ignore"):
        t.fit(2)
    assert "diverged" in t.history.diverged and not list((tmp_path / "c").glob("*"))


def test_large_finite_gradients_are_no_alarm() -> None:
    t = made()
    t.loss_fn = lambda output, target: output.sum() * 2e37
    t.optimizer = optim.SGD(t.model.parameters(), 0.0)
    with np.errstate(over="ignore"):
        t.fit(steps=1)
    assert t.step == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"clip_norm": 0}, "clip_norm"), ({"clip_value": -1.0}, "clip_value"), ({"accumulate": 0}, "accumulate"),
        ({"loader": 3}, "the loader gives batches"), ({"val_loader": 3}, "the loader gives batches"),
        ({"schedule_every": "day"}, "'epoch' or 'step'"),
    ],
)  # fmt: skip
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        made(**options)


def test_wrong_batches() -> None:
    for loader, message in (([X[:2]], "a batch needs inputs"), ([(X,)], "got 1 array")):
        with pytest.raises(OptionError, match=message):
            made(loader=loader).fit(1)
    t = made()
    t.train_loader = []
    with pytest.raises(OptionError, match="no batches"):
        t.fit(1)
    with pytest.raises(OptionError, match="no batches"):
        t.evaluate([])


def test_the_bar_shows_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    t = made(accumulate=2)
    t.progress = True
    t.fit(2)
    shown = capsys.readouterr()
    assert "4/4" in shown.err and "epoch 2, loss" in shown.err and "step/s" in shown.err and "<" in shown.err
    t.fit(3)
    assert "6/6" in capsys.readouterr().err and shown.out == ""


# Callbacks


class Scripted(train.Callback):
    """Gives the epochs these losses."""

    def __init__(self, *losses: float) -> None:
        self.losses = losses

    def on_epoch(self, state: train.State) -> None:
        state.record["val_loss"] = self.losses[state.epoch]
        state.model[0].bias.copy_(np.full(8, state.epoch))


def test_early_stopping_waits_and_restores(tmp_path: Path) -> None:
    stopping = train.EarlyStopping(patience=2, min_delta=0.1)
    losses = Scripted(5, 3, 2.95, 2.5, 2.45, math.nan, 2.41, 1, 1)
    t = made(callbacks=[losses, stopping, train.Checkpoints(tmp_path)])
    t.fit(9)
    assert len(t.history.loss) == 7 and stopping.best == 2.5 and stopping.best_epoch == 3 and stopping.stopped
    assert (t.model[0].bias.numpy() == 3).all()
    again = made(callbacks=[losses, train.EarlyStopping(patience=2, min_delta=0.1), train.Checkpoints(tmp_path)])
    assert again.resume(tmp_path)
    again.fit(9)  # what was stopped stays so
    assert len(again.history.loss) == 7 and equal(t, again)


def test_early_stopping_upwards_and_without_restoring() -> None:
    stopping = train.EarlyStopping("val_loss", 0, mode="max", restore_best=False)
    t = made(callbacks=[Scripted(1, 2, 2, 3), stopping])
    t.fit(4)
    assert len(t.history.loss) == 3 and stopping.best == 2 and (t.model[0].bias.numpy() == 2).all()
    for wrong in ({"mode": "up"}, {"patience": -1}):
        with pytest.raises(OptionError):
            train.EarlyStopping(**wrong)
    with pytest.raises(OptionError, match="no figure 'val_loss', only loss"):
        made(callbacks=[train.EarlyStopping()]).fit(1)


def test_checkpoints_keep_the_last_and_the_best(tmp_path: Path) -> None:
    t = made(callbacks=[train.Checkpoints(tmp_path, keep=2, monitor="val_loss"), Scripted(5, 1, 2, 3, 4)])
    t.fit(5)
    assert sorted(os.listdir(tmp_path)) == ["best.safetensors"] + [f"step-{n:09d}.safetensors" for n in (16, 20)]
    best = made(callbacks=[train.Checkpoints(tmp_path, monitor="val_loss"), Scripted()])
    best.resume(tmp_path / "best.safetensors")
    assert best.step == 8 and (best.model[0].bias.numpy() == 1).all()
    (tmp_path / ".step-000000024.safetensors.part").write_bytes(b"half")
    best.fit(2)
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(OptionError, match="Trainer can be saved"):
        train.fit(
            best.model, F.cross_entropy, best.optimizer, best.train_loader, callbacks=[train.Checkpoints(tmp_path)]
        )


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_the_log(kind: str, tmp_path: Path) -> None:
    path, folder = tmp_path / f"log.{kind}", tmp_path / "c"

    def one() -> Trainer:
        return made(val_loader=Loader(X, Y), metrics=[train.Confusion(2)],
                    callbacks=[train.Log(path, steps=2), train.Checkpoints(folder, steps=1)])  # fmt: skip

    t = one()
    t.fit(2)
    rows = t.callbacks[0].read()
    assert [(r["epoch"], r["step"]) for r in rows] == [(1, 2), (1, 4), (1, 4), (2, 6), (2, 8), (2, 8)]
    assert [r["loss"] for r in rows if "val_loss" in r] == t.history.loss and rows[0]["lr"] == 0.1
    assert rows[-1]["val_confusion"] == t.record["val_confusion"].tolist()
    whole = path.read_bytes()
    other = one()
    other.resume(folder / "step-000000006.safetensors")
    with open(path, "ab") as file:
        file.write(b'{"epoch": 9, "cut')
    other.resume(folder / "step-000000006.safetensors")
    assert len(other.callbacks[0].read()) == 4
    other.fit(2)
    assert path.read_bytes() == whole
    one().fit(1)  # another training keeps the old log
    assert (tmp_path / f"log.{kind}.old").read_bytes() == whole and len(train.read_log(path)) == 3
    (tmp_path / f"bad.{kind}").write_text("a\n{\n" if kind == "csv" else "{\n")
    with pytest.raises(DataError, match="not a log"):
        train.read_log(tmp_path / f"bad.{kind}")
    with pytest.raises(OptionError, match=r"csv or \.jsonl"):
        train.Log(tmp_path / "log.txt")


def test_each_line_of_the_log_is_there_at_once(tmp_path: Path) -> None:
    seen = []
    log = train.Log(tmp_path / "log.jsonl")
    made(callbacks=[log, lambda state: seen.append(len(log.read()))]).fit(3)
    assert seen == [1, 2, 3]
    assert all(json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())


def test_the_gradients_are_recorded(device: str) -> None:
    found = []

    class Look(train.Callback):
        def on_backward(self, state: train.State) -> None:
            found.append([np.linalg.norm(p.grad.numpy()) for p in state.model.parameters()])

    flow = train.GradientFlow(every=3)
    assert flow.norms.shape == (0, 0)
    t = made(device, callbacks=[flow, Look()], clip_norm=1e-3)
    t.model[0].bias.requires_grad = False
    t.callbacks[1].on_backward = lambda state: None  # type: ignore[method-assign]
    t.fit(2)
    assert flow.steps.tolist() == [1, 4, 7] and flow.norms.shape == flow.zeros.shape == (3, 4)
    assert flow.names == ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert (
        np.isnan(flow.norms[:, 1]).all() and (flow.norms[:, [0, 2, 3]] > 1e-3).any() and (flow.zeros[:, 0] == 0).all()
    )
    flow = train.GradientFlow()
    t = made(device, callbacks=[flow, Look()])
    t.loss_fn = lambda output, target: output[:, 0].sum()
    t.fit(1)
    np.testing.assert_allclose(flow.norms, found, rtol=1e-5)
    assert (flow.zeros[:, 3] == 0.5).all() and (flow.zeros[:, 2] == 0.5).all()


# Metrics


def test_metrics_are_what_they_say() -> None:
    rng = np.random.default_rng(1)
    scores, target = rng.standard_normal((50, 6)), rng.integers(0, 6, 50)
    for metric, expected in (
        (train.Accuracy(), (scores.argmax(1) == target).mean()),
        (train.TopK(1), (scores.argmax(1) == target).mean()),
        (train.TopK(3), np.mean([t in np.argsort(-s)[:3] for s, t in zip(scores, target, strict=True)])),
        (train.TopK(9), 1.0),
    ):  # fmt: skip
        assert math.isnan(metric.value())
        for i in range(0, 50, 13):
            metric.update(tg.Tensor(scores[i : i + 13]), target[i : i + 13])
        assert metric.value() == expected, metric
        other = type(metric)(*([metric.k] if hasattr(metric, "k") else []))
        other.load_state_dict(metric.state_dict())
        assert other.value() == expected and str(expected)[:4] in repr(other)
        metric.reset()
        assert math.isnan(metric.value())
    matrix = train.Confusion(6)
    matrix.update(scores, target)
    expected = np.zeros((6, 6), int)
    for s, t in zip(scores, target, strict=True):
        expected[t, s.argmax()] += 1
    assert (matrix.value() == expected).all()
    rmse = train.RMSE()
    rmse.update(tg.Tensor([[1.0], [2.0]]), tg.Tensor([[2.0], [4.0]]))
    rmse.update(np.ones((1, 1)), np.ones((1, 1)))
    assert abs(rmse.value() - math.sqrt(5 / 3)) < 1e-12


def test_equal_outputs_count_in_order() -> None:
    metric = train.TopK(2)
    metric.update(np.ones((3, 3)), np.array([0, 1, 2]))
    assert metric.value() == 2 / 3
    metric.reset()
    metric.update(np.full((1, 3), np.nan), np.array([0]))
    assert metric.value() == 0


def test_metrics_for_every_pixel() -> None:
    rng = np.random.default_rng(1)
    scores, target = rng.standard_normal((4, 3, 5, 5)), rng.integers(0, 3, (4, 5, 5))
    flat = np.moveaxis(scores, 1, -1).reshape(-1, 3)
    for a, b in ((train.Accuracy(), train.Accuracy()), (train.TopK(2), train.TopK(2)), (train.Confusion(3),) * 2):
        a.update(scores, target)
        found = a.value()
        b.reset()
        b.update(flat, target.reshape(-1))
        assert np.all(found == b.value())


def test_metrics_refuse_what_does_not_fit() -> None:
    for metric in (train.Accuracy(), train.TopK(2), train.Confusion(3)):
        with pytest.raises(ShapeError):
            metric.update(np.ones((3, 3)), np.ones((3, 1), int))
    with pytest.raises(ShapeError):
        train.RMSE().update(np.ones((3, 1)), np.ones(3))
    with pytest.raises(ShapeError, match="made for 3 classes"):
        train.Confusion(3).update(np.ones((1, 3)), np.array([3]))
    for wrong in (lambda: train.TopK(0), lambda: train.Confusion(0)):
        with pytest.raises(OptionError):
            wrong()
    with pytest.raises(CheckpointError, match="not the state of a Trainer"):
        made().load_state_dict({})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"metrics": train.Accuracy()}, "metrics is a list"), ({"metrics": [train.Accuracy]}, "a metric is an object"),
        ({"schedule": 3}, "a schedule is an object with step; got 3"), ({"keep": 3}, "keep has objects by name"),
        ({"keep": {"a": 3}}, "what is kept is an object with state_dict"),
        ({"clip_value": "a"}, "clip_value must be a positive number, got 'a'"),
        ({"precision": 16}, "'full' or 'mixed'"),
    ],
)  # fmt: skip
def test_what_is_no_metric_schedule_or_the_like(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        made(**options)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: train.EarlyStopping(min_delta="a"), OptionError, "EarlyStopping: min_delta must be a finite number"),
        (lambda: train.EarlyStopping(3), OptionError, "monitor is the name of a figure, got 3"),
        (lambda: train.Checkpoints(3), OptionError, "Checkpoints: the path of a file is needed, got 3"),
        (lambda: train.Log(None), OptionError, "Log: the path of a file is needed, got None"),
        (lambda: train.read_log("no such file.csv"), DataError, "there is no file no such file.csv"),
        (lambda: made().resume(3), OptionError, "Trainer.resume: the path of a file is needed, got 3"),
        (lambda: made().evaluate(3), OptionError, "Trainer.evaluate: the loader gives batches"),
    ],
)
def test_callbacks_and_paths_are_checked(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_log_makes_its_folder(tmp_path: Path) -> None:
    made(callbacks=[train.Log(tmp_path / "a" / "b" / "log.csv")]).fit(1)
    assert len(train.read_log(tmp_path / "a" / "b" / "log.csv")) == 1
