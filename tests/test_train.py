"""The training loop: what it reports, and how it ends when something or somebody stops it."""

from __future__ import annotations

import math
import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim
from tinygrad_mlsp.data import Loader
from tinygrad_mlsp.errors import OptionError, ShapeError
from tinygrad_mlsp.nn import functional as F
from tinygrad_mlsp.random import Generator
from tinygrad_mlsp.train import Callback, History, State, Trainer, accuracy, fit


def problem(device: str, lr: float = 0.5) -> Any:
    """Two clouds of points, a small net, and a loader with 4 batches."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = (rng.standard_normal((40, 2)) + 3 * y[:, None]).astype(np.float32)
    model = nn.Sequential(
        nn.Linear(2, 8, generator=Generator(0)), nn.Tanh(), nn.Dropout(0.1, generator=Generator(1)),
        nn.Linear(8, 2, generator=Generator(2)),
    ).to(device)  # fmt: skip
    x, y = tg.Tensor(x, device=device).data, tg.Tensor(y, device=device).data
    return model, optim.SGD(model.parameters(), lr, momentum=0.9), Loader(x, y, batch_size=10, seed=1), x, y


def test_it_learns_and_keeps_a_history(device: str) -> None:
    model, optimizer, loader, x, y = problem(device)
    seen: list[bool] = []

    def evaluate() -> float:
        seen.append(model.training or tg.is_grad_enabled())
        return accuracy(model, x, y)

    history = fit(model, F.cross_entropy, optimizer, loader, 5, evaluate, progress=False)
    assert len(history.loss) == len(history.accuracy) == 5 and history.loss[-1] < history.loss[0]
    assert history.accuracy[-1] > 0.9 and not history.interrupted and history.diverged == ""
    assert seen == [False] * 5 and model.training
    assert all(type(v) is float for v in history.loss + history.accuracy)
    assert str(history).startswith("5 epochs, loss 0.") and "accuracy" in str(history)
    assert str(History()) == "0 epochs"


def test_the_same_seed_gives_the_same_figures(device: str) -> None:
    runs = []
    for _ in range(2):
        model, optimizer, loader, *_ = problem(device)
        runs.append(fit(model, F.cross_entropy, optimizer, loader, 3, progress=False).loss)
    assert runs[0] == runs[1]


def test_the_loss_is_the_mean_over_samples(device: str) -> None:
    x = tg.Tensor([[1.0], [1.0], [1.0]], device=device).data
    y = tg.Tensor([[1.0], [2.0], [5.0]], device=device).data
    model = nn.Linear(1, 1, bias=False, device=device)
    model.weight.copy_([[0.0]])
    loader = Loader(x, y, batch_size=2, shuffle=False)
    history = fit(model, F.mse_loss, optim.SGD(model.parameters(), 0.0), loader, 1, progress=False)
    assert history.loss == [10.0]


def test_callbacks_are_told_in_order(device: str) -> None:
    model, optimizer, loader, *_ = problem(device)
    told: list[str] = []

    class Tell(Callback):
        def on_backward(self, state: State) -> None:
            assert all(p.grad is not None for p in state.model.parameters()) and state.loss is not None
            told.append(f"backward {state.step}")

        def on_step(self, state: State) -> None:
            told.append(f"step {state.step}")

        def on_epoch(self, state: State) -> None:
            told.append(f"epoch {state.epoch}")

    def after(state: State) -> None:
        told.append(f"{len(state.history.metrics['a'])} {state.history.metrics['a'][-1]}")
        state.stop = state.epoch == 1

    history = fit(
        model, F.cross_entropy, optimizer, loader, 9, lambda: {"a": 1, "b": 2.5}, [Tell(), after, Callback()], False
    )
    assert told[:3] == ["backward 0", "step 1", "backward 1"] and told[8:10] == ["epoch 0", "1 1.0"]
    assert told[-2:] == ["epoch 1", "2 1.0"] and history.metrics == {"a": [1.0, 1.0], "b": [2.5, 2.5]}
    assert len(history.loss) == 2 and history.accuracy == [] and "b 2.5" in str(history)


def test_gradients_are_clipped_for_the_update(device: str) -> None:
    model, _, loader, *_ = problem(device)
    optimizer = optim.SGD(model.parameters(), 1.0)
    before = [p.numpy().copy() for p in model.parameters()]

    class Once(Callback):
        def on_step(self, state: State) -> None:
            moved = math.sqrt(
                sum(((p.numpy() - b) ** 2).sum() for p, b in zip(model.parameters(), before, strict=True))
            )
            assert abs(moved - 0.01) < 1e-5
            state.stop = True

    fit(model, F.cross_entropy, optimizer, loader, 1, callbacks=[Once()], progress=False, clip_norm=0.01)


def test_ctrl_c_ends_after_the_batch_and_returns_what_there_is(device: str) -> None:
    model, optimizer, loader, x, y = problem(device)
    steps = []

    class Press(Callback):
        def on_step(self, state: State) -> None:
            steps.append(state.step)

        def on_backward(self, state: State) -> None:
            if state.step == 5:
                os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    history = fit(model, F.cross_entropy, optimizer, loader, 9, lambda: accuracy(model, x, y), [Press()], False)
    assert history.interrupted and len(history.loss) == len(history.accuracy) == 1 and "interrupted" in str(history)
    assert steps == [1, 2, 3, 4, 5, 6] and signal.getsignal(signal.SIGINT) is handler
    assert all(optimizer.state[p]["step"] == 6 for p in model.parameters())


def test_a_second_ctrl_c_stops_at_once(device: str) -> None:
    model, optimizer, loader, *_ = problem(device)

    class Press(Callback):
        def on_backward(self, state: State) -> None:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)

        def on_step(self, state: State) -> None:
            raise AssertionError("the update is not made")

    handler = signal.getsignal(signal.SIGINT)
    history = fit(model, F.cross_entropy, optimizer, loader, 2, callbacks=[Press()], progress=False)
    assert history.interrupted and history.loss == [] and signal.getsignal(signal.SIGINT) is handler


def test_another_handler_or_thread_is_left_alone(device: str) -> None:
    model, optimizer, loader, *_ = problem(device)
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        press = lambda state: os.kill(os.getpid(), signal.SIGINT)
        history = fit(model, F.cross_entropy, optimizer, loader, 2, callbacks=[press], progress=False)
        assert len(pressed) == 2 and not history.interrupted and len(history.loss) == 2
    finally:
        signal.signal(signal.SIGINT, before)
    found: list[History] = []
    thread = threading.Thread(
        target=lambda: found.append(fit(model, F.cross_entropy, optimizer, loader, 1, progress=False))
    )
    thread.start()
    thread.join()
    assert len(found[0].loss) == 1


def test_divergence_is_said_in_words(device: str) -> None:
    model, _, loader, *_ = problem(device)
    optimizer = optim.SGD(model.parameters(), 1e30)
    with np.errstate(all="ignore"):
        history = fit(
            model, lambda y, t: ((y - t.reshape(-1, 1)) ** 4).mean(), optimizer, loader, 5, lambda: 1.0, progress=False
        )
    assert "diverged: the loss is" in history.diverged and "in epoch 1, after" in history.diverged
    assert "smaller learning rate" in str(history) and not math.isfinite(history.loss[-1]) and history.accuracy == []


def test_the_progress_bar(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, optimizer, loader, *_ = problem(device)
    fit(model, F.cross_entropy, optimizer, loader, 2)
    shown = capsys.readouterr()
    assert "8/8" in shown.err and "epoch 2, loss" in shown.err and shown.out == ""
    fit(model, F.cross_entropy, optimizer, iter(loader), 1)
    assert "4batch" in capsys.readouterr().err


def test_several_inputs_and_accuracy_in_batches(device: str) -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2, device=device)

        def forward(self, a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
            return self.layer(a + b)

    _, _, _, x, y = problem(device)
    model = Sum()
    history = fit(model, F.cross_entropy, optim.Adam(model.parameters(), 0.1), Loader(x, x, y), 2, progress=False)
    assert len(history.loss) == 2
    model.eval()
    assert accuracy(model.layer, x, y, batch_size=7) == accuracy(model.layer, x, y) and model.layer.training is False
    picks = nn.Identity()
    assert accuracy(picks, tg.Tensor([[0.0, 1.0], [1.0, 0.0]], device=device), tg.Tensor([1, 1], device=device)) == 0.5


def test_wrong_options(device: str) -> None:
    model, optimizer, loader, *_ = problem(device)
    for options, message in (({"epochs": -1}, "epochs"), ({"clip_norm": 0.0}, "clip_norm")):
        with pytest.raises(OptionError, match=message):
            fit(model, F.cross_entropy, optimizer, loader, progress=False, **options)
    with pytest.raises(OptionError, match="no batches"):
        fit(model, F.cross_entropy, optimizer, [], progress=False)
    assert fit(model, F.cross_entropy, optimizer, loader, 0, progress=False).loss == []


@pytest.mark.parametrize(
    "given, message",
    [
        ({"epochs": "a"}, "epochs must be a whole number of 0 or more, got 'a'"),
        ({"epochs": 1.5}, "epochs.*got 1.5"),
        ({"loader": 3}, "the loader gives batches.*got 3"),
        ({"loader": Loader(np.ones((4, 2), np.float32))}, "a batch needs inputs and a target.*got 1 array"),
        ({"loader": [3]}, "a batch needs inputs and a target.*got int"),
    ],
)
def test_what_cannot_be_trained_with_is_named(given: dict[str, Any], message: str) -> None:
    model, optimizer, loader, *_ = problem("cpu")
    with pytest.raises(OptionError, match=message):
        fit(model, F.cross_entropy, optimizer, **{"loader": loader, "progress": False, **given})


@pytest.mark.parametrize("x, target", [((2, 3), (2, 1)), ((2, 3), (3,)), ((2, 1, 3), (2,))])
def test_accuracy_does_not_broadcast(x: Any, target: Any) -> None:
    with pytest.raises(ShapeError, match="accuracy"):
        accuracy(nn.Identity(), tg.ones(x), tg.zeros(target))


@pytest.mark.parametrize("who", ["fit", "Trainer"])
@pytest.mark.parametrize(
    "place, given, message",
    [
        (0, 3, "the model is an nn.Module, got 3"), (0, nn.Linear, "the class Linear itself; make one of it"),
        (1, None, "the loss is a function"), (1, nn.MSELoss, "the class MSELoss itself"),
        (2, "adam", "the optimizer is one of tinygrad_mlsp.optim, got 'adam'"),
        (2, optim.SGD, "the class SGD itself"), (3, "loader", "the loader gives batches.*got 'loader'"),
        ("callbacks", [3], "a callback is a train.Callback or a function"),
        ("callbacks", [Callback], "the class Callback itself"), ("callbacks", Callback(), "callbacks is a list"),
        ("clip_norm", "1", "clip_norm must be a positive number, got '1'"),
        ("clip_norm", math.nan, "clip_norm must be a positive number"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named_before_anything_is_trained(who: str, place: Any, given: Any, message: str) -> None:
    model, optimizer, loader, *_ = problem("cpu")
    arguments: list[Any] = [model, F.cross_entropy, optimizer, loader]
    options: dict[str, Any] = {"progress": False}
    if isinstance(place, int):
        arguments[place] = given
    else:
        options[place] = given
    with pytest.raises(OptionError, match=f"^{who}: .*{message}"):
        (fit if who == "fit" else Trainer)(*arguments, **options)


@pytest.mark.parametrize("train", [fit, Trainer])
def test_an_optimizer_of_another_model_is_refused_and_of_a_part_is_not(train: Any) -> None:
    model, _, loader, *_ = problem("cpu")
    other = optim.Adam(problem("cpu")[0].parameters())
    with pytest.raises(OptionError, match=r"Adam has no parameter of this Sequential.*optim.Adam\(model.parameters"):
        train(model, F.cross_entropy, other, loader, progress=False)
    part = optim.SGD(model[0].parameters(), 0.1)
    before = [p.numpy().copy() for p in model.parameters()]
    trained = train(model, F.cross_entropy, part, loader, progress=False, clip_norm=0.5)
    if isinstance(trained, Trainer):
        trained.fit(1)
    changed = [bool((p.numpy() != b).any()) for p, b in zip(model.parameters(), before, strict=True)]
    assert changed == [True, True, False, False]


def test_clipping_does_not_count_gradients_that_nobody_forgets() -> None:
    """Those of parameters that the optimizer has not: they add up over all the steps."""
    norms = []

    class Look(Callback):
        def on_step(self, state: State) -> None:
            norms.append(math.sqrt(sum(float((p.grad**2).sum()) for p in state.model[0].parameters())))

    model, _, loader, *_ = problem("cpu")
    fit(model, lambda y, t: F.cross_entropy(y, t) * 100, optim.SGD(model[0].parameters(), 1e-6), loader, 2,
        callbacks=[Look()], progress=False, clip_norm=0.5)  # fmt: skip
    assert norms == pytest.approx([0.5] * 8, rel=1e-3)


@pytest.mark.parametrize(
    "loss, got", [(lambda y, t: 3.0, "float"), (lambda y, t: y, r"shape \[10, 2\]"), (lambda y, t: None, "NoneType")]
)
def test_a_loss_that_is_no_number_is_named(loss: Any, got: str) -> None:
    model, optimizer, loader, *_ = problem("cpu")
    for train in (
        lambda: fit(model, loss, optimizer, loader, progress=False),
        lambda: Trainer(model, loss, optimizer, loader, progress=False).fit(1),
        lambda: Trainer(model, loss, optimizer, loader, progress=False).evaluate(loader),
    ):
        with pytest.raises(OptionError, match="the loss function must give a Tensor of one number, got " + got):
            train()


def test_other_wrong_arguments() -> None:
    model, optimizer, loader, x, y = problem("cpu")
    with pytest.raises(OptionError, match="evaluate must give a number, or numbers by name; got None"):
        fit(model, F.cross_entropy, optimizer, loader, evaluate=lambda: None, progress=False)
    with pytest.raises(OptionError, match=r"accuracy: the model is an nn.Module, got ndarray"):
        accuracy(x, y, model)
    with pytest.raises(OptionError, match="accuracy: batch_size must be a whole number of 1 or more, got 0"):
        accuracy(model, x, y, 0)
