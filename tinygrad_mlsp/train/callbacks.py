"""What looks in on a training: early stopping, checkpoints, logs, and a record of the gradients."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import norm_of, space_of, to_device
from ..errors import DataError, OptionError
from ..nn.module import _size
from .loop import Callback, State
from .tensorfile import as_path


def _every(name: str, value: Any) -> int | None:
    return None if value is None else _size(name, value, 1)


class _Monitor(Callback):
    """Watches one figure of the epochs' records."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("min", "max"):
            raise OptionError(f"{type(self).__name__}: mode is 'min' or 'max', got {mode!r}")
        if not isinstance(monitor, str):
            raise OptionError(f"{type(self).__name__}: monitor is the name of a figure, got {monitor!r}")
        delta: Any = min_delta
        if isinstance(delta, bool) or not isinstance(delta, Real) or not math.isfinite(delta):
            raise OptionError(f"{type(self).__name__}: min_delta must be a finite number, got {min_delta!r}")
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.best: float | None = None

    def better(self, state: State) -> bool:
        """Whether the figure is better than ever before; then it is the best from now on."""
        if self.monitor not in state.record:
            raise OptionError(f"{type(self).__name__}: no figure {self.monitor!r}, only {', '.join(state.record)}")
        value = float(state.record[self.monitor])
        sign = 1.0 if self.mode == "min" else -1.0
        if math.isnan(value) or (self.best is not None and not sign * value < sign * self.best - self.min_delta):
            return False
        self.best = value
        return True


class EarlyStopping(_Monitor):
    """Stops when the monitored figure has not become better for more than `patience` epochs, and puts the best
    weights back.

    It is better when it is more than `min_delta` below the best so far (above it with mode="max"). When the training
    ends without having been stopped, the model keeps its last weights; `restore(state)` puts the best ones back.

    Source: Prechelt, "Early stopping - but when?", 1998.
    """

    def __init__(
        self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, mode: str = "min",
        restore_best: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode, min_delta)
        self.patience = 0 if patience == 0 else _every("EarlyStopping: patience", patience) or 0
        self.restore_best = restore_best
        self.wait = 0  # epochs since the best one
        self.best_epoch: int | None = None
        self.stopped = False
        self.weights: dict[str, Any] | None = None

    def on_start(self, state: State) -> None:
        state.stop = state.stop or self.stopped  # a training that has been stopped does not go on after a resume

    def on_epoch(self, state: State) -> None:
        if self.better(state):
            self.wait, self.best_epoch = 0, state.epoch
            self.weights = state.model.state_dict() if self.restore_best else None
            return
        self.wait += 1
        if self.wait > self.patience:
            self.stopped = state.stop = True
            if self.restore_best:
                self.restore(state)

    def restore(self, state: State) -> None:
        """Puts the best epoch's weights into the model."""
        if self.weights is not None:
            state.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best", "wait", "best_epoch", "stopped", "weights")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class Checkpoints(_Monitor):
    """Saves a Trainer into a folder: every so many epochs or steps, at the end, and after Ctrl-C.

    The newest `keep` files stay, named step-….safetensors. With `monitor`, best.safetensors is the checkpoint of the
    best epoch. Trainer.resume(folder) goes on from the newest. A file appears whole or not at all.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, epochs: int | None = None, steps: int | None = None, keep: int = 3,
        monitor: str | None = None, mode: str = "min",
    ) -> None:  # fmt: skip
        super().__init__(monitor or "", mode)
        self.folder = as_path("Checkpoints", folder)
        self.epochs = _every("Checkpoints: epochs", 1 if epochs is None and steps is None else epochs)
        self.steps, self.keep = _every("Checkpoints: steps", steps), _every("Checkpoints: keep", keep) or 1
        self._last: Any = None  # where the training stood when it was last saved

    @staticmethod
    def files(folder: str | os.PathLike[str]) -> list[Path]:
        """The checkpoints in a folder, oldest first."""
        found = [p for p in Path(folder).glob("step-*.safetensors") if re.fullmatch(r"step-\d+", p.stem)]
        return sorted(found, key=lambda p: int(p.stem.removeprefix("step-")))

    def on_start(self, state: State) -> None:
        if not hasattr(state, "save"):
            raise OptionError("Checkpoints: a Trainer can be saved, the function `fit` cannot")
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in self.folder.glob(".*.safetensors.part"):  # of a process that was killed while it wrote
            part.unlink(missing_ok=True)

    def on_step(self, state: State) -> None:
        if self.steps is not None and state.step % self.steps == 0:
            self._save(state)

    def on_epoch(self, state: State) -> None:
        best = bool(self.monitor) and self.better(state)
        if best:
            state.save(self.folder / "best.safetensors")  # type: ignore[attr-defined]
        if self.epochs is not None and (state.epoch + 1) % self.epochs == 0:
            self._save(state)

    def on_end(self, state: State) -> None:
        if state.whole and self._place(state) != self._last:  # type: ignore[attr-defined]
            self._save(state)

    def _place(self, state: State) -> Any:
        return state.step, len(state.history.loss)

    def _save(self, state: State) -> None:
        state.save(self.folder / f"step-{state.step:09d}.safetensors")  # type: ignore[attr-defined]
        self._last = self._place(state)
        old = [path for path in self.files(self.folder) if int(path.stem.removeprefix("step-")) <= state.step]
        for path in old[: -self.keep]:
            path.unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best} if self.monitor else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


class Log(Callback):
    """One row an epoch, and with `steps` one every so many updates, in a .csv or .jsonl file; each is there at once.

    Columns: epoch and step (from 1), lr, loss and the other figures of the record. After a resume the rows that came
    after the checkpoint are dropped and written anew, so none is there twice. A training that starts afresh starts a
    new file; one that is there is kept with ".old" behind its name.
    """

    def __init__(self, path: str | os.PathLike[str], *, steps: int | None = None) -> None:
        self.path, self.steps = as_path("Log", path), _every("Log: steps", steps)
        if self.path.suffix not in (".csv", ".jsonl"):
            raise OptionError(f"Log: writes .csv or .jsonl, got {str(path)!r}")
        self.rows = 0
        self._columns: list[str] = []

    def on_start(self, state: State) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.rows == 0 and self.path.exists():
            os.replace(self.path, self.path.with_name(self.path.name + ".old"))

    def on_step(self, state: State) -> None:
        if self.steps is not None and state.step % self.steps == 0 and state.loss is not None:
            self._write(state, {"loss": float(state.loss.item())})

    def on_epoch(self, state: State) -> None:
        self._write(state, {name: _plain(value) for name, value in state.record.items()})

    def read(self) -> list[dict[str, Any]]:
        """The rows so far; in a .csv all values but matrices are numbers."""
        return read_log(self.path)

    def _write(self, state: State, found: dict[str, Any]) -> None:
        lr = state.optimizer.param_groups[0].get("lr")
        row = {"epoch": state.epoch + 1, "step": state.step, **({} if lr is None else {"lr": float(lr)}), **found}
        if self.path.suffix == ".csv" and not set(row) <= set(self._columns):
            self._columns += [name for name in row if name not in self._columns]
            self._rewrite([*(self.read() if self.rows else []), row])
        else:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(self._line(row))
        self.rows += 1

    def _line(self, row: dict[str, Any]) -> str:
        if self.path.suffix == ".jsonl":
            return json.dumps(row) + "\n"
        text = io.StringIO()
        # a CSV cell is a number as Python writes it, or a matrix as JSON
        csv.DictWriter(text, self._columns, lineterminator="\n").writerow(
            {name: json.dumps(value) if isinstance(value, list) else repr(value) for name, value in row.items()}
        )
        return text.getvalue()

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        head = ",".join(self._columns) + "\n" if self.path.suffix == ".csv" and rows else ""
        part = self.path.with_name(f".{self.path.name}.part")
        part.write_text(head + "".join(map(self._line, rows)), encoding="utf-8", newline="")
        os.replace(part, self.path)

    def state_dict(self) -> dict[str, Any]:
        if self.path.exists():
            with open(self.path, "rb") as file:
                os.fsync(file.fileno())  # a checkpoint never knows of a row that is not on the disk
        return {"rows": self.rows, "columns": list(self._columns)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        rows = read_log(self.path, state["rows"]) if self.path.exists() else []
        self._columns, self.rows = list(state["columns"]), len(rows)
        if rows:
            self._rewrite(rows)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value if isinstance(value, list) else float(value)


def read_log(path: str | os.PathLike[str], rows: int | None = None) -> list[dict[str, Any]]:
    """The rows of a log that `Log` wrote, or the first so many; a last line that was cut off is left out.

    Raises: DataError for a line that is no row.
    """
    path = as_path("read_log", path)
    if not path.is_file():
        raise DataError(f"read_log: there is no file {path}")
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]  # what follows the last line's end is not a line
    head = 1 if path.suffix == ".csv" else 0
    lines = whole[: None if rows is None else head + rows]
    found = []
    try:
        if not head:
            return [dict(json.loads(line)) for line in lines]
        for row in csv.DictReader(lines):
            cells = {name: cell for name, cell in row.items() if cell != ""}
            found.append({name: json.loads(_as_json(cell)) for name, cell in cells.items()})
    except (ValueError, TypeError, KeyError, csv.Error) as problem:
        raise DataError(f"{path} is not a log of a training: {problem}") from None
    return found


def _as_json(cell: str) -> str:
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(cell, cell)


class GradientFlow(Callback):
    """The norm of the gradient of every parameter, every so many steps, before anything is clipped.

    `norms` is an array [records, parameters], `zeros` the share of each gradient's entries that are exactly zero (as
    those of dead units are), `steps` the step of each record, and `names` are the parameters' names. A parameter
    without a gradient has NaN.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = _every("GradientFlow: every", every) or 1
        self.names: list[str] = []
        self._steps: list[int] = []
        self._rows: list[np.ndarray[Any, Any]] = []  # [2, parameters] each

    def on_backward(self, state: State) -> None:
        if state.step % self.every:
            return
        named = list(state.model.named_parameters())
        self.names = [name for name, _ in named]
        row = np.full((2, len(named)), math.nan)
        there = [(i, p.grad._array) for i, (_, p) in enumerate(named) if p.grad is not None]
        if there:
            xp = space_of(there[0][1])
            norms = [norm_of(g) for _, g in there]
            zeros = [xp.sum(g == 0).astype(np.float64) / max(1, g.size) for _, g in there]
            row[:, [i for i, _ in there]] = to_device(xp.stack([xp.stack(norms), xp.stack(zeros)]), "cpu")
        self._steps.append(state.step + 1)
        self._rows.append(row)

    @property
    def steps(self) -> np.ndarray[Any, Any]:
        return np.array(self._steps, np.int64)

    @property
    def norms(self) -> np.ndarray[Any, Any]:
        return self._table()[:, 0]

    @property
    def zeros(self) -> np.ndarray[Any, Any]:
        return self._table()[:, 1]

    def _table(self) -> np.ndarray[Any, Any]:
        return np.stack(self._rows) if self._rows else np.empty((0, 2, len(self.names)))

    def state_dict(self) -> dict[str, Any]:
        return {"names": list(self.names), "steps": self.steps, "table": self._table()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.names, self._steps = list(state["names"]), state["steps"].tolist()
        self._rows = list(state["table"])
