"""Trainer: minibatches, updates, measures and callbacks, in a state that can be saved and resumed bit for bit."""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from inspect import Parameter, signature
from itertools import islice
from typing import Any

import numpy as np

from ..amp import GradScaler, autocast
from ..backend import space_of
from ..errors import CheckpointError, DivergenceError, Error, OptionError
from ..nn import Module
from ..nn.module import _size
from ..nn.utils import clip_grad_norm_, clip_grad_value_
from ..optim import BFGS, LBFGS, HessianFree, Newton, NonlinearCG, Optimizer
from ..random import default_generator
from ..tensor import Tensor, no_grad
from .callbacks import Checkpoints
from .checkpoint import load_state, model_state, save_state, set_model_state
from .loop import Callback, History, State, _AfterEpoch, _check_loader, _checked, _loss_of, _shown, _until_interrupted
from .metrics import Metric
from .tensorfile import as_path

_SMALLEST_SCALE = 2.0**-16  # of the loss: gradients that overflow even so are infinite, or NaN
_PLACE = ("epoch", "step", "_total", "_samples", "_taken")


class Trainer(State):
    r"""p ← p − update(∂ loss(model(x), target)/∂p) for every batch (x, target) of `train_loader`, until told to stop

    A batch may have several inputs; the target is its last entry. After each epoch the model is measured on
    `val_loader`. `record` then has the epoch's figures by name: "loss" and the metrics over the training batches (in
    training mode, while the weights change), and the same with "val\_" before the name over the validation batches;
    History has them all.

    - `metrics`: see `train.metrics`. `callbacks`: Callbacks, or functions that are called with this after each epoch.
    - `schedule`: objects with step(), called after every epoch, or after every update with schedule_every="step". With
      `monitor`, step is given that figure of the epoch's record (for a plateau schedule).
    - `accumulate`: batches that make one update together: its gradient is that of the mean over all their samples.
    - `clip_norm`, `clip_value`: bounds for the gradients' joint norm, and for each entry.
    - `device`: where the model goes, and every batch.
    - `precision`: "mixed" computes in float16 what `amp.autocast` says, with the loss scaled by `scaler`, an
      `amp.GradScaler`. A step whose gradients overflowed changes nothing but the scale (and calls no on_backward).
    - `keep`: other objects by name, with state_dict and load_state_dict, that checkpoints shall keep.

    Ctrl-C ends the training after the update that is at work; a second one at once. A loss or gradient that is not
    finite raises DivergenceError, which says at which step and where it was first seen.

    >>> from tinygrad_mlsp import nn, optim, data, train
    >>> model = nn.Linear(1, 1)
    >>> loader = data.Loader([[0.0], [1.0]], [[1.0], [3.0]], batch_size=2)
    >>> trainer = Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.5), loader, progress=False)
    >>> trainer.fit(epochs=200).loss[-1] < 1e-6
    True
    """

    def __init__(
        self, model: Module, loss: Callable[[Tensor, Tensor], Tensor], optimizer: Optimizer,
        train_loader: Iterable[Sequence[Any]], val_loader: Iterable[Sequence[Any]] | None = None, *,
        metrics: Sequence[Metric] = (), callbacks: Sequence[Callback | Callable[[State], Any]] = (),
        schedule: Any = (), schedule_every: str = "epoch", monitor: str | None = None, accumulate: int = 1,
        clip_norm: float | None = None, clip_value: float | None = None, device: str | None = None,
        progress: bool = True, keep: Mapping[str, Any] | None = None, precision: str = "full",
    ) -> None:  # fmt: skip
        _checked("Trainer", model, loss, optimizer, callbacks, train_loader, clip_norm=clip_norm, clip_value=clip_value)
        if val_loader is not None:
            _check_loader("Trainer", val_loader)
        super().__init__(model if device is None else model.to(device), optimizer, History())
        if schedule_every not in ("epoch", "step"):
            raise OptionError(f"Trainer: schedule_every is 'epoch' or 'step', got {schedule_every!r}")
        if monitor is not None and schedule_every == "step":
            raise OptionError("Trainer: monitor is a figure of a whole epoch; it goes with schedule_every='epoch'")
        self.loss_fn, self.train_loader, self.val_loader = loss, train_loader, val_loader
        keep = {} if keep is None else keep
        if not isinstance(keep, Mapping) or not isinstance(metrics, (list, tuple)):
            raise OptionError(
                f"Trainer: keep has objects by name and metrics is a list, got {type(keep).__name__} and "
                f"{type(metrics).__name__}"
            )
        schedules = list(schedule) if isinstance(schedule, (list, tuple)) else [schedule]
        for what, things, needed in (
            ("a schedule", schedules, ("step",)), ("a metric", metrics, ("reset", "update", "value")),
            ("what is kept", keep.values(), ("state_dict", "load_state_dict")),
        ):  # fmt: skip
            for thing in things:
                if isinstance(thing, type) or not all(callable(getattr(thing, name, None)) for name in needed):
                    raise OptionError(f"Trainer: {what} is an object with {', '.join(needed)}; got {_shown(thing)}")
        if precision not in ("full", "mixed"):
            raise OptionError(f"Trainer: precision is 'full' or 'mixed', got {precision!r}")
        self.metrics = [copy.deepcopy(metric) for metric in metrics]
        self.val_metrics = [copy.deepcopy(metric) for metric in metrics]
        self.schedules = schedules
        self.schedule_every, self.monitor = schedule_every, monitor
        self.accumulate = _size("Trainer: accumulate", accumulate, 1)
        self.clip_norm, self.clip_value, self.device = clip_norm, clip_value, device
        closure = signature(optimizer.step).parameters.get("closure")
        asks = closure is not None and closure.default is Parameter.empty
        self._asks = asks or isinstance(optimizer, (BFGS, LBFGS, NonlinearCG))  # for loss and gradients anew
        if isinstance(optimizer, HessianFree) and accumulate != 1:
            raise OptionError("Trainer: HessianFree takes one batch at a time; make it larger, with accumulate=1")
        if precision == "mixed" and (self._asks or isinstance(optimizer, (HessianFree, Newton))):
            raise OptionError(
                f"Trainer: precision='mixed' goes with optimizers that want the gradient alone, not with "
                f"{type(optimizer).__name__}, whose steps rest on more digits than float16 has"
            )
        self.mixed = precision == "mixed"
        self._kind = next((p.device.partition(":")[0] for p in model.parameters()), "cpu")
        self.scaler = GradScaler(self._kind, enabled=self.mixed)
        self.progress, self.keep = progress, dict(keep)
        hooks = [c if isinstance(c, Callback) else _AfterEpoch(c) for c in callbacks]
        self.callbacks = sorted(hooks, key=lambda hook: isinstance(hook, Checkpoints))  # which see what the others did
        self.whole = True  # no batch is half done: a checkpoint may be made
        self._between = False  # the epoch is done and measured, the next has not begun
        self._total, self._samples = 0.0, 0  # of the epoch so far
        self._taken = 0  # batches of the epoch, for a loader that cannot tell
        self._batches: Iterator[Any] | None = None
        self._bar: Any = None

    def __repr__(self) -> str:
        return (
            f"Trainer({type(self.model).__name__}, {type(self.optimizer).__name__}, step {self.step}; {self.history})"
        )

    # The loop

    def fit(self, epochs: int | None = None, *, steps: int | None = None) -> History:
        """Trains until so many epochs are done, or so many updates, counted from the very start: after `resume`, and in
        a second call, it goes on to there.

        Raises: OptionError; DivergenceError.
        """
        if epochs is None and steps is None:
            raise OptionError("Trainer.fit: how long? Give epochs=, steps=, or both")
        last_epoch = math.inf if epochs is None else _size("Trainer: epochs", epochs)
        last_step = math.inf if steps is None else _size("Trainer: steps", steps)
        self.stop = self.history.interrupted = False
        self._tell("on_start")
        with self._shown(last_epoch, last_step), _until_interrupted(self):
            while (
                not self.stop and self.epoch + self._between < last_epoch and (self.step < last_step or self._at_end())
            ):
                self._epoch(last_step)
        self._tell("on_end")
        return self.history

    def _tell(self, what: str) -> None:
        for hook in self.callbacks:
            getattr(hook, what)(self)

    def _epoch(self, last_step: float) -> None:
        """The rest of an epoch, or as much of it as is wanted."""
        if self._between:
            self.epoch, self._between = self.epoch + 1, False
            self._begin()
        if self._batches is None:
            self._batches = iter(self.train_loader)
            if not hasattr(self.train_loader, "load_state_dict"):
                self._batches = islice(self._batches, self._taken, None)
        self.model.train()
        while not self.stop and self.step < last_step:
            self.whole = False
            group = list(islice(self._batches, self.accumulate))
            if not group:
                self.whole = True
                self._finish()
                return
            self._taken += len(group)
            self._update(group)
            self.whole = True
            self._tell("on_step")
        if not self.stop and self._at_end():
            next(self._batches, None)  # there is none: it lets the loader know
            self._finish()

    def _at_end(self) -> bool:
        """Whether an epoch is at work that has no batch left, if that can be known without taking one."""
        batches = None if self._between else self._length()
        return batches is not None and self._taken >= batches

    def _length(self) -> int | None:
        loader: Any = self.train_loader
        return len(loader) if hasattr(loader, "__len__") else None

    def _begin(self) -> None:
        self._total, self._samples, self._taken, self._batches = 0.0, 0, 0, None
        for metric in self.metrics:
            metric.reset()

    def _update(self, group: list[Any]) -> None:
        """One update from one batch or more."""
        batches = [self._batch(batch) for batch in group]
        sizes = [len(target) for _, target in batches]
        value = self._gradients(batches, sizes)
        self._step(batches, sizes)
        self.step += 1
        self._total, self._samples = self._total + value * sum(sizes), self._samples + sum(sizes)
        if self.schedule_every == "step":
            for schedule in self.schedules:
                schedule.step()
        if self._bar is not None:
            self._bar.set_postfix_str(f"epoch {self.epoch + 1}, loss {value:.4g}", refresh=False)
            self._bar.update()

    def _step(self, batches: list[Any], sizes: list[int]) -> None:
        """An update; what computes losses anew on its way is given the batches."""
        optimizer = self.optimizer
        if isinstance(optimizer, HessianFree):
            ((inputs, target),) = batches
            optimizer.step(lambda: self.model(*inputs), lambda output: self.loss_fn(output, target))
        elif isinstance(optimizer, Newton):
            shares = [size / sum(sizes) for size in sizes]
            parts = [*zip(batches, shares, strict=True)]
            optimizer.step(lambda: sum(self.loss_fn(self.model(*x), t) * share for (x, t), share in parts))
        elif self._asks:
            optimizer.step(lambda: Tensor(self._gradients(batches, sizes, again=True), dtype=np.float64))
        else:
            self.scaler.step(optimizer)
            self.scaler.update()

    def _gradients(self, batches: list[Any], sizes: list[int], again: bool = False) -> float:
        """The mean loss over batches, whose gradient is left at the parameters, clipped."""
        self.optimizer.zero_grad()
        value = 0.0
        for (inputs, target), size in zip(batches, sizes, strict=True):
            with self._precision():
                output = self.model(*inputs)
                self.loss = _loss_of("Trainer", self.loss_fn, output, target)
            share = size / sum(sizes)
            found = float(self.loss.item())
            value += found * share
            if not math.isfinite(found):
                raise DivergenceError(self._explained(f"the loss is {found}", inputs, target))
            with np.errstate(over="ignore", invalid="ignore") if self.mixed else nullcontext():
                self.scaler.scale(self.loss if len(batches) == 1 else self.loss * share).backward()
            for metric in () if again else self.metrics:
                metric.update(output, target)
        if self.mixed:
            self.scaler.unscale_(self.optimizer)
            if self.scaler.overflowed(self.optimizer) and self.scaler.get_scale() > _SMALLEST_SCALE:
                return value
        if not self._finite_gradients():
            raise DivergenceError(self._explained("the loss is finite, its gradient is not", *batches[-1]))
        if not again:
            self._tell("on_backward")
        if self.clip_value is not None:
            clip_grad_value_(self._learned(), self.clip_value)
        if self.clip_norm is not None:
            clip_grad_norm_(self._learned(), self.clip_norm)
        return value

    def _precision(self) -> AbstractContextManager[None]:
        return autocast(self._kind) if self.mixed else nullcontext()

    def _learned(self) -> list[Tensor]:
        """What the optimizer has: nobody else's gradients are forgotten between updates."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _batch(self, batch: Any) -> tuple[list[Tensor], Tensor]:
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            got = f"{len(batch)} array" if isinstance(batch, (tuple, list)) else type(batch).__name__
            raise OptionError(f"Trainer: a batch needs inputs and a target, (x, target), got {got}")
        tensors = [values if isinstance(values, Tensor) else Tensor(values) for values in batch]
        *inputs, target = tensors if self.device is None else [t.to(self.device) for t in tensors]
        return inputs, target

    def _finish(self) -> None:
        """The epoch has no more batches: measures, schedules, callbacks."""
        if not self._samples:
            raise OptionError("Trainer: the train_loader gave no batches")
        self._batches, self.whole = iter(()), False  # if it is interrupted, it is measured again
        self.record = {"loss": self._total / self._samples, **{m.name: m.value() for m in self.metrics}}
        if self.val_loader is not None:
            self.record.update({f"val_{name}": value for name, value in self.evaluate(self.val_loader).items()})
        self.history.loss.append(self.record["loss"])
        for name, value in self.record.items():
            if name != "loss" and isinstance(value, (int, float)):
                self.history.metrics.setdefault(name, []).append(float(value))
        if self.schedule_every == "epoch":
            for schedule in self.schedules:
                if self.monitor is not None and self.monitor not in self.record:
                    raise OptionError(f"Trainer: no figure {self.monitor!r} to monitor, only {', '.join(self.record)}")
                schedule.step(*([] if self.monitor is None else [self.record[self.monitor]]))
        self._between = self.whole = True
        self._batches = None
        self._tell("on_epoch")

    def evaluate(self, loader: Iterable[Sequence[Any]]) -> dict[str, Any]:
        """The loss and the metrics over a loader, in evaluation mode and without recording.

        The loss is the mean over the samples, which takes for granted that the loss function gives a batch's mean.
        """
        _check_loader("Trainer.evaluate", loader)
        was_training, total, samples = self.model.training, 0.0, 0
        for metric in self.val_metrics:
            metric.reset()
        self.model.eval()
        try:
            with no_grad(), self._precision():
                for batch in loader:
                    inputs, target = self._batch(batch)
                    output = self.model(*inputs)
                    total += float(_loss_of("Trainer", self.loss_fn, output, target).item()) * len(target)
                    samples += len(target)
                    for metric in self.val_metrics:
                        metric.update(output, target)
        finally:
            self.model.train(was_training)
        if not samples:
            raise OptionError("Trainer.evaluate: the loader gave no batches")
        return {"loss": total / samples, **{m.name: m.value() for m in self.val_metrics}}

    # What went wrong

    def _finite_gradients(self) -> bool:
        """Whether all gradients are finite: their sum is, or, as that may overflow, all entries are."""
        gradients = [g._array for p in self._learned() if (g := p.grad) is not None]
        if not gradients:
            return True
        xp = space_of(gradients[0])
        with np.errstate(all="ignore"):
            total = sum(xp.sum(g) for g in gradients)
        return bool(xp.isfinite(total)) or all(_bad(Tensor(g)) == 0 for g in gradients)

    def _explained(self, what: str, inputs: list[Tensor], target: Tensor) -> str:
        where = "no parameter, input or gradient was infinite or NaN before: the numbers grew too large in this step"
        found: list[tuple[str, Tensor]] = [(f"the parameter {name!r}", p) for name, p in self.model.named_parameters()]
        found += [(f"input {i} of the batch", x) for i, x in enumerate(inputs)] + [("the target", target)]
        found += [
            (f"the gradient of {name!r}", p.grad) for name, p in self.model.named_parameters() if p.grad is not None
        ]
        for name, tensor in found:
            if bad := _bad(tensor):
                where = f"first not finite: {name} ({bad} of {tensor.size} entries)"
                break
        self.history.diverged = (
            f"diverged: {what} in step {self.step + 1} (epoch {self.epoch + 1}, from 1); {where}. "
            "Try a smaller learning rate, or clip_norm"
        )
        return self.history.diverged

    @contextmanager
    def _shown(self, last_epoch: float, last_step: float) -> Iterator[None]:
        if not self.progress:
            yield
            return
        from tqdm.auto import tqdm

        total = last_step
        if (batches := self._length()) is not None:
            total = min(total, last_epoch * -(-batches // self.accumulate))
        with tqdm(total=None if total == math.inf else int(total), initial=self.step, unit="step") as self._bar:
            yield
        self._bar = None

    # Checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on. Between updates only: see `whole`."""
        return {
            "kind": "trainer",
            "model": model_state(self.model),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "schedules": [_saved(schedule) for schedule in self.schedules],
            "loader": _saved(self.train_loader),
            "val_loader": _saved(self.val_loader),
            "random": default_generator().state_dict(),
            "place": {name: getattr(self, name) for name in _PLACE} | {"between": self._between},
            "metrics": [metric.state_dict() for metric in self.metrics],
            "record": self.record,
            "history": asdict(self.history),
            "callbacks": {name: state for name, hook in self._named_callbacks() if (state := hook.state_dict())},
            "keep": {name: _saved(thing) for name, thing in self.keep.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on exactly where the trainer stood that gave this state. If it does not fit, nothing is changed.

        Raises: CheckpointError.
        """
        before = self.state_dict()
        try:
            self._take(state)
        except Exception as problem:
            self._take(before)
            if isinstance(problem, (Error, KeyError, TypeError, ValueError, AttributeError)):
                said = str(problem) if isinstance(problem, Error) else f"{type(problem).__name__}: {problem}"
                raise CheckpointError(f"the saved training does not fit this one: {said}") from problem
            raise

    def _take(self, state: Mapping[str, Any]) -> None:
        if not isinstance(state, Mapping) or state.get("kind") != "trainer":
            raise OptionError("it is not the state of a Trainer")
        hooks = dict(self._named_callbacks())
        for what, mine, theirs in (
            ("schedules", len(self.schedules), len(state["schedules"])),
            ("metrics", len(self.metrics), len(state["metrics"])),
            ("keep", sorted(self.keep), sorted(state["keep"])),
        ):  # fmt: skip
            if mine != theirs:
                raise OptionError(f"it has other {what}, {theirs} and not {mine}")
        scaler = state.get("scaler", {})  # checkpoints of before have none
        if bool(scaler) is not self.mixed:
            raise OptionError(f"it was trained with precision={'mixed' if scaler else 'full'!r}; make this Trainer so")
        if lost := [name for name in state["callbacks"] if name not in hooks]:
            raise OptionError(f"it has the callbacks {', '.join(lost)}, which are missing here")
        set_model_state(self.model, state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(scaler)
        for thing, saved in [
            *zip(self.schedules, state["schedules"], strict=True), *zip(self.metrics, state["metrics"], strict=True),
            (self.train_loader, state["loader"]), (self.val_loader, state["val_loader"]),
            *[(thing, state["keep"][name]) for name, thing in self.keep.items()],
            *[(hooks[name], saved) for name, saved in state["callbacks"].items()],
        ]:  # fmt: skip
            if saved is not None:
                thing.load_state_dict(saved)
        for name in _PLACE:
            setattr(self, name, state["place"][name])
        self._between, self._batches, self.loss = state["place"]["between"], None, None
        self.record, self.history = dict(state["record"]), History(**copy.deepcopy(state["history"]))
        default_generator().load_state_dict(state["random"])

    def _named_callbacks(self) -> Iterator[tuple[str, Callback]]:
        counts: dict[str, int] = {}
        for hook in self.callbacks:
            name = type(hook).__name__
            counts[name] = counts.get(name, 0) + 1
            yield f"{name} {counts[name]}", hook

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a checkpoint: one safetensors file, forced to disk and then put in place.

        Raises: OptionError in the middle of an update; OSError.
        """
        if not self.whole:
            raise OptionError("Trainer.save: an update is half done; save in on_step, on_epoch or after fit")
        save_state(self.state_dict(), path)

    def resume(self, path: str | os.PathLike[str]) -> bool:
        """Takes up a checkpoint, or the newest one in a folder that can be read; False if the folder has none.

        A damaged file in a folder is warned of and passed over.
        Raises: CheckpointError, with the file and the reason; it is a FileNotFoundError too where there is no file.
        """
        path = as_path("Trainer.resume", path)
        folder = path.is_dir() or (not path.exists() and not path.suffix)
        files = Checkpoints.files(path)[::-1] if folder else [path]
        for file in files:
            try:
                state = load_state(file)
            except CheckpointError as problem:
                if file is files[-1]:
                    raise
                warnings.warn(f"{problem}; going back to the checkpoint before it", stacklevel=2)
                continue
            try:
                self.load_state_dict(state)
            except CheckpointError as problem:
                raise CheckpointError(f"cannot resume from {file}: {problem}") from problem
            return True
        return False


def _saved(thing: Any) -> Any:
    return thing.state_dict() if callable(getattr(thing, "state_dict", None)) else None


def _bad(tensor: Tensor) -> int:
    if tensor.dtype.kind not in "fc":
        return 0
    return tensor.size - int(space_of(tensor._array).isfinite(tensor._array).sum())
