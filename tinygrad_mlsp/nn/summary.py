"""A net's layers with their shapes, parameters, operations and memory, worked out without computing anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from ..errors import OptionError
from ..interpret.shape_space import Meter, current_meter
from ..interpret.shapes import like, spec
from ..tensor import Tensor, no_grad
from .hooks import Hooked
from .module import Module

__all__ = ["LayerRow", "Summary", "summary"]


@dataclass(frozen=True)
class LayerRow:
    """One call of one module. `parameters`, `operations` and `bytes` include those of the modules inside it."""

    name: str  # dotted; empty for the net itself
    layer: str  # the class
    depth: int
    shape: Any  # of the output: a shape, or a tuple of them
    dtype: str
    parameters: int  # 0 where an earlier row has counted them all
    trainable: int
    operations: int  # multiply-adds are 2, as in interpret.shapes
    bytes: int  # of all arrays that were made on the way


@dataclass(frozen=True)
class Summary:
    """The table of `summary`: print it, or read its `rows`."""

    rows: tuple[LayerRow, ...]
    inputs: tuple[tuple[int, ...], ...]
    parameters: int
    trainable: int
    parameter_bytes: int
    buffer_bytes: int
    operations: int
    bytes: int
    peak_bytes: int

    def records(self) -> list[dict[str, Any]]:
        """The rows as dictionaries, for a data frame or a file."""
        return [asdict(row) for row in self.rows]

    def __str__(self) -> str:
        table: list[tuple[str, ...]] = [("layer", "output shape", "parameters", "operations", "bytes")]
        for row in self.rows:
            last = row.name.rpartition(".")[2]
            title = "  " * row.depth + (f"{last}: {row.layer}" if last else row.layer)
            counts = (row.parameters, row.operations, row.bytes)
            table.append((title, _written(row.shape), *(f"{n:,}" if n else "–" for n in counts)))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join([*(c.ljust(w) for c, w in zip(line[:2], widths[:2], strict=True)),
                       *(c.rjust(w) for c, w in zip(line[2:], widths[2:], strict=True))]).rstrip()
            for line in table
        ]  # fmt: skip
        rule = "─" * max(map(len, lines))
        frozen = f", {self.parameters - self.trainable:,} of them frozen" if self.trainable < self.parameters else ""
        return "\n".join([
            lines[0], rule, *lines[1:], rule,
            f"input           {', '.join(_written(shape) for shape in self.inputs)}",
            f"parameters      {self.parameters:,}{frozen} ({_size(self.parameter_bytes)})",
            f"operations      {self.operations:,} forward (a multiply-add is 2)",
            f"arrays made     {_size(self.bytes)}, at most {_size(self.peak_bytes)} at one time",
        ])  # fmt: skip

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def summary(model: Module, *inputs: Any, dtype: Any = "float32", training: bool = False, depth: int = 99) -> Summary:
    """The layers of a net for these inputs: output shapes, parameters, operations, bytes

    An input is a shape (with the batch), of the `dtype` given, or a Tensor or array, of which shape and dtype are
    taken. The net is run by the shape reader on stand-ins without values, in evaluation mode unless `training`, so
    a net of any width costs the same: next to nothing. The model is not changed. `depth` is how deep rows go.

    Raises: DeviceError where the net's way depends on values.

    >>> from tinygrad_mlsp.nn import Linear, ReLU, Sequential
    >>> print(summary(Sequential(Linear(4096, 4096), ReLU()), (64, 4096)))
    layer        output shape  parameters     operations      bytes
    ───────────────────────────────────────────────────────────────
    Sequential   [64, 4096]    16,781,312  2,148,007,936  2,097,152
      0: Linear  [64, 4096]    16,781,312  2,147,745,792  1,048,576
      1: ReLU    [64, 4096]             –        262,144  1,048,576
    ───────────────────────────────────────────────────────────────
    input           [64, 4096]
    parameters      16,781,312 (67.1 MB)
    operations      2,148,007,936 forward (a multiply-add is 2)
    arrays made     2.1 MB, at most 2.1 MB at one time
    """
    if not inputs:
        raise OptionError("summary: wants the shape of an input, or a sample of it, after the model")
    stand = [spec(x, dtype) if _is_shape(x) else like(x if hasattr(x, "shape") else Tensor(x)) for x in inputs]
    copied = like(model)
    for module in copied.modules():
        vars(module).pop("forward", None) if isinstance(vars(module).get("forward"), Hooked) else None
    copied.train(training)
    meter, rows = _Counter(), _Rows(depth)
    for name, module in copied.named_modules():
        rows.watch(name, module, meter)
    token = current_meter.set(meter)
    try:
        with no_grad():
            copied(*stand)
    finally:
        current_meter.reset(token)
    parameters = list(copied.parameters())
    return Summary(
        rows=rows.rows(),
        inputs=tuple(x.shape for x in stand if isinstance(x, Tensor)),
        parameters=sum(p.size for p in parameters),
        trainable=sum(p.size for p in parameters if p.requires_grad),
        parameter_bytes=sum(p._array.nbytes for p in parameters),
        buffer_bytes=sum(b._array.nbytes for b in copied.buffers()),
        operations=meter.flops,
        bytes=meter.total,
        peak_bytes=meter.peak,
    )


class _Counter(Meter):
    """Counts also all that was ever made."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def made(self, nbytes: int) -> None:
        super().made(nbytes)
        self.total += nbytes


class _Rows:
    """The rows, in the order in which the calls began."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.found: list[Any] = []
        self.counted: set[int] = set()  # parameters of rows that are done
        self.running: list[tuple[int, list[Any], int, int]] = []  # row, its parameters, operations and bytes before

    def watch(self, name: str, module: Module, meter: _Counter) -> None:
        """Hooks that note every call of the module."""

        def begin(module: Module, args: Any) -> None:
            own = [p for p in module.parameters() if id(p) not in self.counted]
            self.running.append((len(self.found), own, meter.flops, meter.total))
            self.found.append(None)

        def end(module: Module, args: Any, output: Any) -> None:
            place, own, flops, total = self.running.pop()
            level = len(self.running)
            self.counted.update(map(id, own))
            self.found[place] = LayerRow(
                name, type(module).__name__, level, *_facts(output), sum(p.size for p in own),
                sum(p.size for p in own if p.requires_grad), meter.flops - flops, meter.total - total,
            )  # fmt: skip

        module.register_forward_pre_hook(begin)
        module.register_forward_hook(end)

    def rows(self) -> tuple[LayerRow, ...]:
        return tuple([row for row in self.found if row.depth <= self.depth])


def _is_shape(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str) and all(type(n) is int for n in x)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _facts(output: Any) -> tuple[Any, str]:
    tensors = list(_tensors(output))
    if len(tensors) == 1:
        return tensors[0].shape, str(tensors[0].dtype)
    return tuple(t.shape for t in tensors), ", ".join(dict.fromkeys(str(t.dtype) for t in tensors))


def _written(shape: Any) -> str:
    if shape and isinstance(shape[0], tuple):
        return ", ".join(_written(part) for part in shape)
    return f"[{', '.join(map(str, shape))}]"


def _size(nbytes: int) -> str:
    if nbytes < 1000:
        return f"{nbytes} bytes"
    power = min(4, int(math.log10(nbytes) // 3))
    return f"{nbytes / 1000**power:.3g} {'kMGT'[power - 1]}B"
