"""The training loop: minibatches, gradients, updates, and a history of what came out."""

from __future__ import annotations

import math
import operator
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from numbers import Real
from types import NoneType
from typing import Any

from ..errors import OptionError, ShapeError
from ..nn import Module
from ..nn.module import _size
from ..nn.utils import clip_grad_norm_
from ..optim import Optimizer
from ..tensor import Tensor, no_grad


@dataclass
class History:
    """What a training gave, an entry a whole epoch; plain numbers, so it can be saved and plotted as it is.

    Units: loss in the loss function's (nats for cross-entropy), accuracy a share from 0 to 1.
    """

    loss: list[float] = field(default_factory=list)  # mean over the training samples
    accuracy: list[float] = field(default_factory=list)  # what `evaluate` gave, if it gave a number
    metrics: dict[str, list[float]] = field(default_factory=dict)  # the same, if it gave several by name
    interrupted: bool = False  # by Ctrl-C, before all epochs were done
    diverged: str = ""  # in words, when and how the loss stopped being a finite number

    def __str__(self) -> str:
        parts = [f"{len(self.loss)} epoch{'' if len(self.loss) == 1 else 's'}"]
        if self.loss:
            parts.append(f"loss {self.loss[-1]:.4g}")
        if self.accuracy:
            parts.append(f"accuracy {self.accuracy[-1]:.1%}")
        parts += [f"{name} {values[-1]:.4g}" for name, values in self.metrics.items() if values]
        return (
            ", ".join(parts)
            + (", interrupted" if self.interrupted else "")
            + (f"; {self.diverged}" if self.diverged else "")
        )

    def _repr_html_(self) -> str:
        """A table by epoch, the first and the last ones."""
        columns = {"loss": self.loss, "accuracy": self.accuracy, **self.metrics}
        columns = {name: values for name, values in columns.items() if values}
        epochs = max(map(len, columns.values()), default=0)
        rows = [["epoch", *columns]]
        for i in range(epochs):
            if epochs <= 12 or i < 5 or i >= epochs - 5:
                rows.append([str(i + 1), *(f"{v[i]:.4g}" if i < len(v) else "" for v in columns.values())])
            elif i == 5:
                rows.append(["…"] * (1 + len(columns)))
        cells = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
        return f"<table><caption>{escape(str(self))}</caption>{cells}</table>"


@dataclass
class State:
    """Where the training stands: what a callback is given."""

    model: Module
    optimizer: Optimizer
    history: History
    epoch: int = 0  # from 0
    step: int = 0  # updates made so far, over all epochs
    loss: Tensor | None = None  # of the last batch
    stop: bool = False  # set it, and the training ends after this batch
    record: dict[str, Any] = field(default_factory=dict)  # what the last whole epoch gave, by name


class Callback:
    """Looks in on a training; override what is needed."""

    def on_start(self, state: State) -> None:
        """The training begins, or goes on."""

    def on_backward(self, state: State) -> None:
        """The gradients are there, the update is not made yet (and nothing is clipped)."""

    def on_step(self, state: State) -> None:
        """An update has been made."""

    def on_epoch(self, state: State) -> None:
        """An epoch is done, and evaluated."""

    def on_end(self, state: State) -> None:
        """The training is over, also when it was interrupted."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep of it: numbers, texts, arrays, and lists and dictionaries of these."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the callback stood that gave this state."""


def fit(
    model: Module,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    optimizer: Optimizer,
    loader: Iterable[Sequence[Any]],
    epochs: int = 1,
    evaluate: Callable[[], Any] | None = None,
    callbacks: Sequence[Callback | Callable[[State], Any]] = (),
    progress: bool = True,
    clip_norm: float | None = None,
) -> History:
    """Trains: for every batch (x, target), p ← p − update(∂ loss_fn(model(x), target)/∂p).

    A batch may have several inputs; the target is its last entry. After each epoch `evaluate()` is called with the
    model in evaluation mode, without recording; it gives a number (the accuracy) or numbers by name. A callback that
    is a plain function is called after each epoch. With `clip_norm` the gradients' joint norm is held there.

    Ctrl-C ends the training after the batch that is at work, so parameters and optimizer are whole, and what there is
    is returned; a second Ctrl-C stops at once. A loss that is not a finite number ends it too: see History.diverged.
    """
    try:
        wrong = operator.index(epochs) < 0
    except TypeError:
        wrong = True
    if wrong:
        raise OptionError(f"fit: epochs must be a whole number of 0 or more, got {epochs!r}")
    _checked("fit", model, loss_fn, optimizer, callbacks, loader, clip_norm=clip_norm)
    if evaluate is not None and not callable(evaluate):
        raise OptionError(
            f"fit: evaluate is a function that gives a number, or numbers by name; got {_shown(evaluate)}"
        )
    state = State(model, optimizer, History())
    history = state.history
    hooks = [c if isinstance(c, Callback) else _AfterEpoch(c) for c in callbacks]
    for hook in hooks:
        hook.on_start(state)
    with _bar(progress, epochs, loader) as bar, _until_interrupted(state):
        for state.epoch in range(epochs):
            model.train()
            mean = _epoch(state, loss_fn, loader, hooks, clip_norm, bar)
            if mean is None:
                break
            history.loss.append(mean)
            state.record = {"loss": mean}
            if evaluate is not None and not history.diverged:
                _record(state, _evaluated(model, evaluate))
            for hook in hooks:
                hook.on_epoch(state)
            if state.stop:
                break
    for hook in hooks:
        hook.on_end(state)
    return history


def _epoch(
    state: State, loss_fn: Callable[[Tensor, Tensor], Tensor], loader: Any, hooks: list[Callback],
    clip_norm: float | None, bar: Any,
) -> float | None:  # fmt: skip
    """The mean loss of one epoch of updates; None if it was left early, the loss itself if that is not finite."""
    total, samples = 0.0, 0
    for batch in loader:
        if state.stop:
            return None
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            got = f"{len(batch)} array" if isinstance(batch, (tuple, list)) else type(batch).__name__
            raise OptionError(f"fit: a batch needs inputs and a target, (x, target), got {got}")
        *inputs, target = batch
        state.optimizer.zero_grad()
        state.loss = _loss_of("fit", loss_fn, state.model(*map(_tensor, inputs)), _tensor(target))
        value = float(state.loss.item())
        if not math.isfinite(value):
            state.stop, state.history.diverged = (
                True,
                (
                    f"diverged: the loss is {value} in epoch {state.epoch + 1}, after {state.step} updates; "
                    "try a smaller learning rate, or clip_norm"
                ),
            )
            return value
        state.loss.backward()
        for hook in hooks:
            hook.on_backward(state)
        if clip_norm is not None:
            clip_grad_norm_([p for group in state.optimizer.param_groups for p in group["params"]], clip_norm)
        state.optimizer.step()
        state.step += 1
        total, samples = total + value * len(target), samples + len(target)
        for hook in hooks:
            hook.on_step(state)
        if bar is not None:
            bar.set_postfix_str(f"epoch {state.epoch + 1}, loss {value:.4g}", refresh=False)
            bar.update()
    if not samples:
        raise OptionError("fit: the loader gave no batches")
    return total / samples


def _checked(
    name: str, model: Any, loss: Any, optimizer: Any, callbacks: Any, loader: Any, **bounds: Any
) -> None:  # fmt: skip
    """Raises OptionError for what cannot be trained, before anything is changed."""
    if not isinstance(model, Module):
        raise OptionError(f"{name}: the model is an nn.Module, got {_shown(model)}")
    if not callable(loss) or isinstance(loss, type):
        raise OptionError(
            f"{name}: the loss is a function of (output, target), such as nn.MSELoss(); got {_shown(loss)}"
        )
    if not isinstance(optimizer, Optimizer):
        raise OptionError(f"{name}: the optimizer is one of tinygrad_mlsp.optim, got {_shown(optimizer)}")
    mine = {id(p) for p in model.parameters()}
    if not any(id(p) in mine for group in optimizer.param_groups for p in group["params"]):
        kind = type(optimizer).__name__
        raise OptionError(
            f"{name}: {kind} has no parameter of this {type(model).__name__}, only another model's, so nothing would "
            f"be learned; make it with optim.{kind}(model.parameters())"
        )
    _check_loader(name, loader)
    if not isinstance(callbacks, (list, tuple)):
        raise OptionError(f"{name}: callbacks is a list, got {_shown(callbacks)}")
    for hook in callbacks:
        if isinstance(hook, type) or not (isinstance(hook, Callback) or callable(hook)):
            raise OptionError(f"{name}: a callback is a train.Callback or a function of the state; got {_shown(hook)}")
    for bound, value in bounds.items():
        if value is not None and (
            isinstance(value, (str, bool)) or not isinstance(value, Real) or not float(value) > 0
        ):
            raise OptionError(f"{name}: {bound} must be a positive number, got {value!r}")


def _check_loader(name: str, loader: Any) -> None:
    if not isinstance(loader, Iterable) or isinstance(loader, (str, dict, type)):
        raise OptionError(
            f"{name}: the loader gives batches (inputs, target), as data.Loader does; got {_shown(loader)}"
        )


def _loss_of(name: str, loss_fn: Callable[[Tensor, Tensor], Tensor], output: Any, target: Tensor) -> Tensor:
    loss = loss_fn(output, target)
    if not isinstance(loss, Tensor) or loss.size != 1:
        got = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise OptionError(f"{name}: the loss function must give a Tensor of one number, got {got}")
    return loss


def _shown(value: Any) -> str:
    """What was given, in a few words."""
    if isinstance(value, type):
        return f"the class {value.__name__} itself; make one of it"
    return repr(value)[:80] if isinstance(value, (int, float, str, NoneType)) else type(value).__name__


class _AfterEpoch(Callback):
    def __init__(self, function: Callable[[State], Any]) -> None:
        self.function = function

    def on_epoch(self, state: State) -> None:
        self.function(state)


def _tensor(values: Any) -> Tensor:
    return values if isinstance(values, Tensor) else Tensor(values)


def _evaluated(model: Module, evaluate: Callable[[], Any]) -> Any:
    model.eval()
    try:
        with no_grad():
            return evaluate()
    finally:
        model.train()


def _record(state: State, found: Any) -> None:
    figures = found.values() if isinstance(found, dict) else [found]
    for value in figures:
        try:
            float(value)
        except (TypeError, ValueError):
            raise OptionError(f"fit: evaluate must give a number, or numbers by name; got {value!r}"[:300]) from None
    if isinstance(found, dict):
        for name, value in found.items():
            state.history.metrics.setdefault(name, []).append(float(value))
            state.record[name] = float(value)
    else:
        state.history.accuracy.append(float(found))
        state.record["accuracy"] = float(found)


def accuracy(model: Module, x: Any, target: Any, batch_size: int = 1024) -> float:
    """The share of samples whose largest output is at the target's class, in evaluation mode.

    Shapes: x [n, …], target [n], the model's output [n, classes].
    Raises: ShapeError.
    """
    if not isinstance(model, Module):
        raise OptionError(f"accuracy: the model is an nn.Module, got {_shown(model)}")
    batch_size, x, target = _size("accuracy: batch_size", batch_size, 1), _tensor(x), _tensor(target)
    if target.shape != (len(x),):
        raise ShapeError(
            f"accuracy: the target is one class number a sample, shape [{len(x)}], got {list(target.shape)}"
        )
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            right = sum(
                _right(model(x[i : i + batch_size]), target[i : i + batch_size]) for i in range(0, len(x), batch_size)
            )
    finally:
        model.train(was_training)
    return right / max(1, len(x))


def _right(scores: Tensor, target: Tensor) -> int:
    if scores.ndim != 2 or len(scores) != len(target):
        raise ShapeError(
            f"accuracy: for {len(target)} samples the model gives [{len(target)}, classes], got {list(scores.shape)}"
        )
    return int((scores.argmax(axis=-1) == target).sum())


@contextmanager
def _bar(progress: bool, epochs: int, loader: Any) -> Iterator[Any]:
    """A tqdm bar over all updates, or None."""
    if not progress:
        yield None
        return
    from tqdm.auto import tqdm

    with tqdm(total=epochs * len(loader) if hasattr(loader, "__len__") else None, unit="batch") as bar:
        yield bar


@contextmanager
def _until_interrupted(state: State) -> Iterator[None]:
    """Turns the first Ctrl-C into a wish to stop, which the loop follows when the batch is done."""

    def wish(number: int, frame: Any) -> None:
        state.stop = state.history.interrupted = True
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    # another's handler is left alone, and only the main thread may set one
    ours = before is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGINT, wish)
    try:
        yield
    except KeyboardInterrupt:
        state.history.interrupted = True
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
