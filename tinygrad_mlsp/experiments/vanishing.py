"""Where the gradient dies in deep and in recurrent nets, and what keeps it alive.

Nets of one depth and width learn the same digits from the same seed with the same optimizer. At the start and while
they learn, the norm of the gradient is measured at every layer (of the loss with respect to the layer's weights) or,
in nets that read the image step by step, at every time step (with respect to the hidden state).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import data, nn, optim
from ..backend import space_for, to_device
from ..errors import Error, OptionError
from ..models.deep import ACTIVATIONS, DeepNet, SequenceClassifier
from ..namespace import concat
from ..random import Generator
from ..tensor import Tensor, no_grad
from ..viz import Graph, trace
from ..viz.flow import Verdict, judge
from ..viz.tape import norm

CLASSES = 10
MOMENTUM, CLIP = 0.9, 1.0  # of the optimizer: its momentum, and the largest norm of a whole gradient


class FileError(Error, OSError):
    """A file or folder that cannot be written."""


@dataclass(frozen=True)
class Kind:
    """A net that the job can train: how it is called, and what its gradient is measured over."""

    title: str
    recurrent: bool = False


NETS: dict[str, Kind] = {
    "sigmoid": Kind("plain sigmoid"),
    "tanh": Kind("plain tanh"),
    "relu": Kind("plain ReLU"),
    "batchnorm": Kind("batch norm"),
    "residual": Kind("residual"),
    "highway": Kind("highway"),
    "dense": Kind("dense"),
    "rnn": Kind("tanh RNN", recurrent=True),
    "lstm": Kind("LSTM", recurrent=True),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is trained, on what, and how."""

    nets: tuple[str, ...] = tuple(NETS)
    depth: int = 30
    width: int = 32
    activation: str | None = None
    init: str | None = None
    data: str = "digits"
    data_folder: str | None = None
    device: str = "cpu"
    seed: int = 0
    epochs: int = 20
    learning_rate: float = 0.05
    batch_size: int = 64


@dataclass(frozen=True, eq=False)
class Result:
    """What was measured of one net.

    Shapes: norms and cell_norms [measurements, layers or time steps].
    """

    net: str
    updates: tuple[int, ...]  # how many updates had been made at each measurement
    norms: NDArray[np.float64]
    losses: tuple[float, ...]  # the mean training loss of each epoch, in nats
    accuracies: tuple[float, ...]  # on the test images, before the first epoch and after each
    cell_norms: NDArray[np.float64] | None = None  # of an LSTM: with respect to the cell state
    hidden: tuple[float, ...] = ()  # at the start, ‖∂L/∂h‖ of every layer but the last, or of every time step
    slopes: tuple[float, ...] = ()  # at the start, what each activation multiplied the gradient's norm by
    graph: Any = None  # viz.Graph of the first update

    @property
    def title(self) -> str:
        return NETS[self.net].title

    @property
    def recurrent(self) -> bool:
        return NETS[self.net].recurrent

    @property
    def unit(self) -> str:
        return "time step" if self.recurrent else "layer"

    @property
    def gradient(self) -> str:
        return "dL/dh" if self.recurrent else "dL/dW"

    @property
    def ratios(self) -> NDArray[np.float64]:
        """The first layer's norm over the last's, at each measurement."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.norms[:, 0] / self.norms[:, -1]

    @property
    def factor(self) -> float:
        """What one layer multiplies the gradient's norm by at the start, on the (geometric) average."""
        return per_layer(self.norms[0])

    @property
    def gain(self) -> float:
        """What one layer or step multiplies ‖∂L/∂h‖ by at the start, on the average."""
        return per_layer(self.hidden)

    @property
    def slope(self) -> float | None:
        """The part of `gain` that is the activation's, in the nets whose gradient passes nothing else but weights."""
        inside = self.slopes[1:]  # the first layer's lies beyond h₁
        if self.net not in ("sigmoid", "tanh", "relu", "batchnorm", "rnn") or not inside or not min(inside) > 0:
            return None
        return math.exp(sum(map(math.log, inside)) / len(inside))

    @property
    def cell_gain(self) -> float:
        """What one step multiplies ‖∂L/∂c‖ of an LSTM by at the start, on the average."""
        return math.nan if self.cell_norms is None else per_layer(self.cell_norms[0])

    @property
    def verdict(self) -> Verdict:
        return judge(self.norms[0], self.unit, self.losses)

    def profiles(self) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """What was measured, by its name: [measurements, positions]."""
        yield self.gradient, self.norms
        if self.cell_norms is not None:
            yield "dL/dc", self.cell_norms


def per_layer(norms: Sequence[float] | NDArray[np.float64]) -> float:
    """(first / last)^(1 / steps between them)"""
    first, last = float(norms[0]), float(norms[-1])
    if not last > 0 or not math.isfinite(first) or not math.isfinite(last):
        return math.nan
    # the logarithms apart, since their ratio may be too small or large for a float
    return math.exp((math.log(first) - math.log(last)) / (len(norms) - 1)) if first > 0 else 0.0


# Training and measuring


@dataclass(frozen=True, eq=False)
class Images:
    """The data set as the nets see it: centred, and scaled to variance 1 over all training pixels.

    Shapes: x [images, pixels]; as steps [images, steps, pixels a step].
    """

    train_x: NDArray[np.float64]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float64]
    test_y: NDArray[np.int64]
    step: int  # pixels that a recurrent net reads at once
    about: str

    def x(self, part: str, recurrent: bool) -> NDArray[np.float64]:
        x: NDArray[np.float64] = getattr(self, f"{part}_x")
        return x.reshape(len(x), -1, self.step) if recurrent else x


def load(settings: Settings) -> Images:
    """The images that the settings name.

    Raises: DataError, DeviceError, MissingDependency where they, or the device, are not there; OptionError for a batch
    that is larger than the training set.
    """
    space_for(settings.device)  # a missing GPU is known before anything is downloaded
    if settings.data == "digits":
        found, step = data.digits(dtype=np.float64), 1
        size = "8 × 8"
    else:
        found, step = data.mnist(settings.data_folder, dtype=np.float64), 28
        size = "28 × 28"
    if settings.batch_size > len(found.train_x):
        raise OptionError(f"batch size {settings.batch_size:,} is more than the {len(found.train_x):,} training images")
    mean, std = found.train_x.mean(), found.train_x.std()
    about = (
        f"{found.name}, {size} pixels: {len(found.train_x):,} handwritten digits to train on and "
        f"{len(found.test_x):,} to test on, the same for every seed, centred and scaled to variance 1 by the mean and "
        "variance of all training pixels; recurrent nets read "
        f"{'a pixel' if step == 1 else f'a row of {step} pixels'} a step. {found.source}"
    )
    return Images((found.train_x - mean) / std, found.train_y, (found.test_x - mean) / std, found.test_y, step, about)


def updates(settings: Settings, images: Images) -> int:
    """The number of updates in one net's training."""
    return settings.epochs * (len(images.train_x) // settings.batch_size)


def run(
    settings: Settings, images: Images, progress: Callable[[str, int], None] = lambda net, updates: None
) -> list[Result]:
    """Train the nets one after the other; `progress` is told the net that is at work and the updates just made."""
    return [train(settings, net, images, progress) for net in settings.nets]


def first_batch(settings: Settings, kind: str, images: Images) -> tuple[Any, Any]:
    """What such a net would see first."""
    part = images.x("train", NETS[kind].recurrent), images.train_y
    x, y = next(iter(data.Loader(*part, batch_size=settings.batch_size, seed=settings.seed)))
    return to_device(x, settings.device), to_device(y, settings.device)


class Net:
    """A net of the job, and what is measured in it."""

    def __init__(self, settings: Settings, kind: str, images: Images) -> None:
        generator = Generator(settings.seed)
        place: dict[str, Any] = {"generator": generator, "device": settings.device, "dtype": np.float64}
        self.model: DeepNet | SequenceClassifier
        self.states: list[tuple[Tensor, ...]] = []  # of the last batch: (h₁, c₁), …
        if NETS[kind].recurrent:
            self.model = SequenceClassifier(kind, images.step, CLASSES, settings.width, **place)
            if settings.init is not None:
                _initialize(self.model, settings.init, generator)
        else:
            activation = None if kind in ACTIVATIONS else settings.activation  # plain nets bear theirs in the name
            self.model = DeepNet(
                kind,
                images.train_x.shape[1],
                CLASSES,
                settings.width,
                settings.depth,
                activation,
                settings.init,
                **place,
            )

    def loss(self, x: Any, y: Any, measured: bool = False) -> Tensor:
        """The mean cross-entropy of a batch, in nats. `measured` keeps the gradients of the states in time."""
        if isinstance(self.model, DeepNet):
            logits = self.model(Tensor(x))
        else:
            self.states = self.model.states(Tensor(x))
            for state in self.states if measured else []:
                for part in state:
                    part.retain_grad()
            logits = self.model.read(self.states)
        return nn.functional.cross_entropy(logits, y)

    def profile(self) -> list[float]:
        """After backward: ‖∂L/∂W‖ of every layer, or ‖∂L/∂h‖ of every time step."""
        if isinstance(self.model, DeepNet):
            return [norm(w.grad) for _, w in self.model.weights()]
        return [norm(h.grad) for h, *_ in self.states]

    def cell_profile(self) -> list[float]:
        """After backward: of an LSTM, the norm of what each step but the last got back along its cell state."""
        return [norm(c.grad) for _, c in self.states[:-1]]

    def watch(self) -> list[Tensor]:
        """A list that the next batch fills with h₁, h₂, …, of a deep net, whose gradients are then kept."""
        hidden: list[Tensor] = []
        if not isinstance(self.model, DeepNet):
            return hidden

        def watch(layer: nn.Module, before: bool) -> None:
            forward = layer.forward

            def watched(x: Tensor) -> Tensor:
                y = forward(x)
                hidden.append((x if before else y).retain_grad())
                return y

            layer.forward = watched  # type: ignore[method-assign]

        *layers, last = self.model.layers
        if self.model.kind == "dense":  # a layer's h is all that the next one sees
            _, *rest = [m for layer in layers for m in layer.modules() if isinstance(m, nn.Linear)]
            for layer in [*rest, last]:
                watch(layer, before=True)
        else:
            for layer in layers:
                watch(layer, before=False)
        return hidden


def _initialize(model: SequenceClassifier, how: str, generator: Generator) -> None:
    """Draws the recurrent weights anew, gate by gate, by the rule of that name."""
    rules: dict[str, Callable[..., Tensor]] = {
        "xavier": nn.init.xavier_normal_,
        "he": lambda w, generator: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=generator),
        "scaled": nn.init.scaled_normal_,
    }
    draw = rules[how]
    for name, weight in model.cell.named_parameters():
        if name.startswith("weight"):
            gates = len(weight) // model.cell.hidden_size
            parts = [nn.init.zeros_(w) for w in weight.detach().reshape(gates, model.cell.hidden_size, -1)]
            weight.copy_(concat([draw(w, generator=generator) for w in parts], axis=0))


def arranged(graph: Graph, kind: str) -> Graph:
    """The graph with scopes to fold by: "layer 1", "layer 2", … as in the profiles, or input, time steps and output."""
    nodes, concatenated, reading = [], 0, True
    for node in graph.nodes:  # in the order of their creation
        scope = node.scope
        places = [int(found[0]) for part in scope if (found := re.match(r"\d+", part))]
        if NETS[kind].recurrent and node.kind == "operation":
            step = any("=" in part for part in scope)
            reading = reading and not step
            scope = ("time", scope[-1]) if step else ("input",) if reading else ("output",)
        elif places:
            layer = places[0] + 1
            if kind == "dense" and layer > 1:  # the block of layers, each of which ends with a concatenation
                layer += concatenated - (layer > 2)
                concatenated += node.op == "concat"
            scope = (f"layer {layer}",)
        nodes.append(replace(node, scope=scope))
    return replace(graph, nodes=tuple(nodes))


def folded(graph: Graph, limit: int) -> Graph:
    """The graph with so many nodes at most; ranges of time steps go without a frame, which would spoil the layout."""
    drawn = graph.drawable(limit)
    return replace(drawn, nodes=tuple(replace(n, scope=()) if n.scope == ("time",) else n for n in drawn.nodes))


def look(settings: Settings, kind: str, images: Images, x: Any, y: Any) -> tuple[Graph, list[float], list[float]]:
    """A net's first backward pass: the graph, the norms ‖∂L/∂h‖, and what each activation multiplied the norm by."""
    net = Net(settings, kind, images)
    hidden = net.watch()
    with trace(net.model) as seen:
        net.loss(x, y, measured=True).backward()
    graph = arranged(seen.graph(title=NETS[kind].title), kind)
    activation = "tanh" if kind == "rnn" else kind if kind in ACTIVATIONS else settings.activation or "relu"
    applied = {node.id for node in graph.nodes if node.op == activation}
    slopes = [edge.gain for edge in graph.edges if edge.target in applied and edge.gain is not None]
    return graph, [norm(h.grad) for h in hidden] or net.profile(), slopes


def train(settings: Settings, kind: str, images: Images, progress: Callable[[str, int], None]) -> Result:
    """Train one net, and measure its gradients: before the first update, twice an epoch, and at the last update."""
    net = Net(settings, kind, images)
    recurrent = NETS[kind].recurrent
    train_x, train_y, test_x, test_y = (
        to_device(a, settings.device)
        for a in (images.x("train", recurrent), images.train_y, images.x("test", recurrent), images.test_y)
    )
    loader = data.Loader(train_x, train_y, batch_size=settings.batch_size, seed=settings.seed, drop_last=True)
    parameters = list(net.model.parameters())
    optimizer = optim.SGD(parameters, lr=settings.learning_rate, momentum=MOMENTUM)

    total = updates(settings, images)
    measured_at: list[int] = []
    norms: list[list[float]] = []
    cells: list[list[float]] = []
    losses: list[float] = []
    graph: Graph | None = None
    hidden: list[float] = []
    slopes: list[float] = []

    def accuracy() -> float:
        with no_grad():
            answers = net.model.eval()(Tensor(test_x)).argmax(axis=-1)
        net.model.train()
        return float((answers == test_y).astype(np.float64).mean())

    accuracies = [accuracy()]
    with np.errstate(all="ignore"):  # a net that diverges says so in its verdict
        for epoch in range(max(1, settings.epochs)):  # without training, one batch is still measured
            mean = 0.0
            for i, (x, y) in enumerate(loader):
                update = epoch * len(loader) + i
                measured = i in (0, len(loader) // 2) or update == total - 1
                if update == 0:
                    graph, hidden, slopes = look(settings, kind, images, x, y)
                loss = net.loss(x, y, measured)
                loss.backward()
                if measured:
                    measured_at.append(update)
                    norms.append(net.profile())
                    cells.append(net.cell_profile() if kind == "lstm" else [])
                if not total:
                    break
                nn.utils.clip_grad_norm_(parameters, CLIP)
                optimizer.step()
                optimizer.zero_grad()
                mean += float(loss) / len(loader)
                progress(kind, 1)
            if total:
                losses.append(mean)
                accuracies.append(accuracy())
    return Result(
        kind, tuple(measured_at), np.array(norms), tuple(losses), tuple(accuracies),
        np.array(cells) if kind == "lstm" else None, tuple(hidden), tuple(slopes), graph,
    )  # fmt: skip


def draw(settings: Settings, path: str | os.PathLike[str], backward: bool = True, limit: int | None = None) -> str:
    """Draw the graph of the first net of the settings into a file, and say in a line what was drawn."""
    kind, images = settings.nets[0], load(settings)
    x, y = first_batch(settings, kind, images)
    net = Net(settings, kind, images)
    with trace(net.model) as seen:
        loss = net.loss(x, y)
        if backward:
            loss.backward()
    graph = arranged(seen.graph(None if backward else loss, title=NETS[kind].title), kind)
    whole = limit is None or os.fspath(path).lower().endswith(".dot")
    drawn = graph if whole else folded(graph, limit)  # type: ignore[arg-type]
    try:
        drawn.save(path, limit=limit)
    except OSError as problem:
        raise FileError(f"cannot write {os.fspath(path)}: {problem.strerror or problem}") from problem
    less = f", folded to {len(drawn.nodes):,} nodes" if len(drawn.nodes) < len(graph.nodes) else ""
    return f"{os.fspath(path)}: the {NETS[kind].title} net, {graph.operations:,} operations{less}"
