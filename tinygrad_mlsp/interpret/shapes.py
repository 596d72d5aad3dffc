"""The shape reader: the whole library run on shapes and dtypes, so a model's cost is known before it computes.

    spec    a Tensor of a shape and a dtype on the device "shapes": every operation and module takes it
    like    the same for what is there already: a Tensor, an array, a module with its parameters
    cost    operations, bytes and shapes of a function, step by step

Operations are counted so: a multiply-add is 2; an elementwise function of one entry is 1, be it a sum or a
tanh; a reduction is 1 an entry of its argument; scattering is 1 an entry that is added; what only moves,
copies or makes entries is 0. So a matrix product [n, k] [k, m] is 2 n k m.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from types import FrameType
from typing import Any

from ..errors import GraphError
from ..op import Operation
from ..recipe import Node
from ..sweep import backward, reach
from ..tensor import Tensor, wrap
from .shape_space import Meter, Shape, ShapeArray, current_meter, space

__all__ = ["Cost", "Row", "ShapeArray", "cost", "like", "space", "spec"]


@dataclass(frozen=True)
class Row:
    """One operation of a `Cost`. With several results `shape` is a tuple of shapes; backward, the results are
    the cotangents that the operation hands on."""

    operation: str
    shape: Any
    dtype: str
    flops: int
    bytes: int
    backward: bool = False


@dataclass(frozen=True)
class Cost:
    """What a function costs.

    `flops` and `bytes` belong to the forward pass: its operations, and the bytes of all its results.
    `backward_flops` belongs to the backward pass. `peak_bytes` is the most that is alive at one time beyond the
    inputs and parameters, without the scratch memory inside one array function.
    """

    shapes: tuple[Shape, ...]
    dtypes: tuple[str, ...]
    flops: int
    backward_flops: int
    bytes: int
    peak_bytes: int
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        table = [("", "shape", "dtype", "operations", "bytes")]
        for row in self.rows:
            name = f"{row.operation}, backward" if row.backward else row.operation
            table.append((name, str(row.shape), row.dtype, f"{row.flops:,}", f"{row.bytes:,}"))
        shapes, dtypes = ", ".join(map(str, self.shapes)), ", ".join(self.dtypes)
        table.append(
            ("all", shapes, dtypes, f"{self.flops + self.backward_flops:,}", f"{sum(r.bytes for r in self.rows):,}")
        )
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in table]
        return "\n".join([*lines, f"at most {self.peak_bytes:,} bytes at one time"])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


class _Rows(Meter):
    """Counts by operation while a function runs."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.running: list[list[int]] = []  # for each operation that runs: its array functions, and their flops

    def note(self, flops: int) -> None:
        super().note(flops)
        if self.running:
            self.running[-1][0] += 1
            self.running[-1][1] += flops

    def add_row(
        self, name: str, results: list[tuple[Shape, Any]], flops: int, several: bool, backward: bool = False
    ) -> None:
        shape = tuple(s for s, _ in results) if several else results[0][0]
        size = sum(math.prod(s) * d.itemsize for s, d in results)
        self.rows.append(Row(name, shape, str(results[0][1]), flops, size, backward))

    def profile(self, frame: FrameType, event: str, value: Any) -> None:
        """Python's profiling hook: it sees the recorder's functions begin and return."""
        op = frame.f_globals.get("op") if event in ("call", "return") else None
        if not isinstance(op, Operation) or frame.f_code.co_name != op.name:
            return
        if event == "call":
            self.running.append([0, 0])
            return
        computed, flops = self.running.pop()
        if computed and value is not None:  # not what failed, nor what only made its arguments ready and called again
            several = isinstance(value, tuple)
            results = [(t.shape, t.dtype) for t in (value if several else (value,))]
            self.add_row(op.name, results, flops, several)


class _Handed:
    """Told by the backward sweep of each cotangent that is handed on; the work for one node is one row."""

    def __init__(self, meter: _Rows) -> None:
        self.meter, self.counted = meter, meter.flops
        self.node: Node | None = None
        self.parts: list[tuple[Shape, Any]] = []

    def begin(self, nodes: dict[int, Node]) -> None:
        """A sweep over these nodes starts."""

    def edge(self, node: Node, parent: Node, part: Any, g: Any) -> None:
        """`part` of the cotangent goes from a node to a parent."""
        flops, self.counted = self.meter.flops - self.counted, self.meter.flops
        if node is self.node:
            flops += self.meter.rows.pop().flops
        else:
            self.node, self.parts = node, []
        self.parts.append((part.shape, part.dtype))
        self.meter.add_row(node.recipe.op.name, self.parts, flops, len(self.parts) > 1, backward=True)


def spec(shape: Any, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """A Tensor of this shape and dtype that holds no values.

    >>> (spec((32, 784)) @ spec((784, 10))).sum(axis=0)
    Tensor((10,), dtype=float32, device='shapes')
    """
    return Tensor(space.zeros(shape, dtype), requires_grad)


def like(x: Any) -> Any:
    """The stand-in without values of a Tensor or an array, of each in a list or tuple, or of a module (a copy
    whose parameters and buffers are stand-ins); anything else as it is."""
    if isinstance(x, (list, tuple)):
        return type(x)(map(like, x))
    if isinstance(x, Tensor):
        stand: Any = type(x).__new__(type(x))
        stand._array, stand._node = ShapeArray(x.shape, x.dtype), None
        stand.requires_grad = x.requires_grad
        return stand
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return wrap(ShapeArray(x.shape, x.dtype), None)
    if hasattr(x, "parameters") and hasattr(x, "buffers"):
        return copy.deepcopy(x, {id(t): like(t) for t in (*x.parameters(), *x.buffers())})
    return x


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in _tensors(v)]
    return [value] if isinstance(value, Tensor) else []


def cost(f: Callable[..., Any], *inputs: Any, backward: bool = False) -> Cost:
    """What f(*inputs) costs, and with `backward` what its backward pass costs, without computing either.

    Inputs, and f if it is a module, may be real: they are replaced by stand-ins (`like`). So must be a module
    that f merely uses: `net = like(net); cost(lambda x, t: cross_entropy(net(x), t), x, t, backward=True)`.

    Raises: DeviceError where f mixes in real tensors, or asks for a value; GraphError where there is nothing to
    go back to.

    >>> cost(lambda a, b: a @ b, spec((2, 3)), spec((3, 4))).flops
    48
    """
    f, stand = like(f), [like(x) for x in inputs]
    meter, before = _Rows(), sys.getprofile()
    token = current_meter.set(meter)
    try:
        sys.setprofile(meter.profile)
        outputs = _tensors(f(*stand))
        sys.setprofile(before)
        forward_flops, forward_rows = meter.flops, len(meter.rows)
        if backward:
            _go_back(outputs, meter)
    finally:
        sys.setprofile(before)
        current_meter.reset(token)
    return Cost(
        shapes=tuple(t.shape for t in outputs),
        dtypes=tuple(str(t.dtype) for t in outputs),
        flops=forward_flops,
        backward_flops=meter.flops - forward_flops,
        bytes=sum(row.bytes for row in meter.rows[:forward_rows]),
        peak_bytes=meter.peak,
        rows=tuple(meter.rows),
    )


def _go_back(outputs: list[Tensor], meter: _Rows) -> None:
    seeds = [(t._node, space.ones_like(t._array)) for t in outputs if t._node is not None]
    if not seeds:
        raise GraphError(
            "cost(backward=True): no result depends on anything that requires a gradient; spec(…, requires_grad=True)"
        )
    leaves = [node for node in reach(node for node, _ in seeds).values() if node.recipe is None]
    backward(seeds, space, targets=leaves, observer=_Handed(meter))
