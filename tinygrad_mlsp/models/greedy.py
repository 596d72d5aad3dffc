"""Greedy layer-wise training: each layer learns from what the layers before it make of the data.

    for l = 1 … L:  train a greedy module on D = {h⁽ˡ⁻¹⁾(x)};  W⁽ˡ⁾, b⁽ˡ⁾ ← those of its hidden layer
    add an output layer, started as usual;  train the whole net with labels

A greedy module is anything with an `encoder`: a Module that computes its features, or a method that makes one. It is
trained by a function that is given, or by its own `fit`. With a `decoder` too it can be unrolled.

Source: Bengio, Lamblin, Popovici and Larochelle, "Greedy layer-wise training of deep networks", 2007; Hinton, Osindero
and Teh, "A fast learning algorithm for deep belief nets", 2006. Lecture 2, "Deep learning: pseudocode".
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..backend import space_of, to_device
from ..errors import DivergenceError, DTypeError, Error, OptionError, ShapeError, TrainingWarning
from ..namespace import asarray, concat
from ..nn import Linear, Module, Sequential
from ..nn.module import _size
from ..optim import Adam, Optimizer
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad
from .probabilistic import unheard

Make = Callable[[int], Any]
Train = Callable[[Any, Tensor], Any]
Optimize = Callable[[Iterable[Any]], Optimizer]


def greedy_pretrain(
    data: Any, layers: Sequence[Any], train: Train | None = None, output: int | Module | None = None, *,
    batch_size: int = 1000, generator: Generator | None = None,
) -> Pretrained:  # fmt: skip
    """Trains the layers one after the other, each on the features of those before; returns the net they make

    `layers` are greedy modules (RBM, Autoencoder, KernelPCA …), or functions that make one for a number of inputs, such
    as `lambda n: DenoisingAutoencoder([n, 400])`. `train(module, x)` trains one and returns its history; without it
    they are asked to `fit(x)`. `output` is the layer that is put on top: a number of outputs, for a Linear started as
    usual, or a Module. Features are computed `batch_size` rows at a time.

    The net has copies of the trained weights. `net.history` has what each training returned, `net.greedy` the trained
    modules, from which `unroll` makes a deep autoencoder.

    Shapes: data [n, features].
    Raises: ShapeError, DTypeError or OptionError for data without rows, of another width, or not finite;
    DivergenceError where a layer's weights or features stop being finite. They name the layer. What a layer raises
    while it trains is raised with the layer's name in front. TrainingWarning, which also names the layer, for inputs
    or features that are the same in every row: nothing can be learned from them.
    """
    batch_size = _size("greedy_pretrain: batch_size", batch_size, 1)
    x = matrix("greedy_pretrain", data)
    if not isinstance(layers, Sequence) or not layers:
        raise OptionError("greedy_pretrain: layers is a list of one greedy module or more, or of functions making them")
    if train is not None and not callable(train):
        raise DTypeError(f"greedy_pretrain: train is a function of a module and its inputs, got {train!r}")
    net = Pretrained()
    trained: list[Any] = []
    varied = len(x) > 1
    for k, given in enumerate(layers, 1):
        module = given if hasattr(given, "encoder") or not callable(given) else given(x.shape[1])
        where = f"greedy_pretrain: layer {k} ({type(module).__name__})"
        if k == 1 and len(x) == 1:
            _warn(f"{where}: the data are one example; there is nothing but that one to learn")
        elif varied and _constant(x):
            varied = False
            _warn(f"{where}: its {x.shape[1]} inputs are the same in all {len(x)} rows; there is nothing to learn")
        try:
            history = _fit(where, module, x) if train is None else train(module, x)
            encoder = copy.deepcopy(part_of(module, "encoder"))
            x = features(encoder, x, batch_size)
        except Error as error:
            raise type(error)(f"{where}: {error}") from error
        bad = next((name for name, p in encoder.named_parameters() if not _finite(p)), None)
        if bad is not None or not _finite(x):
            what = f"the weights ({bad})" if bad is not None else "the features"
            raise DivergenceError(f"{where}: {what} are not finite after its training; try a smaller learning rate")
        net.extend(encoder if isinstance(encoder, Sequential) else [encoder])
        net.history.append(history)
        trained.append(module)
    if varied and _constant(x):
        _warn(f"{where}: its {x.shape[1]} features are the same in all {len(x)} rows; the units are saturated or dead")
    net.greedy = tuple(trained)
    if output is not None:
        top = output
        if not isinstance(top, Module):
            top = Linear(x.shape[1], output, generator=generator, device=x.device, dtype=x.dtype)  # type: ignore[arg-type]
        net.append(top)
    return net


class Pretrained(Sequential):
    """The net of `greedy_pretrain`: a Sequential of the layers, with the modules they come from"""

    def __init__(self, *modules: Any) -> None:
        super().__init__(*modules)
        self.history: list[Any] = []
        self.greedy: tuple[Any, ...] = ()


def part_of(module: Any, name: str) -> Module:
    """A greedy module's encoder or decoder: the attribute of that name, or what the method of that name makes."""
    part = getattr(module, name, None)
    if not isinstance(part, Module) and callable(part):
        part = part()
    if not isinstance(part, Module):
        article = "an" if name[0] in "aeiou" else "a"
        raise OptionError(
            f"{type(module).__name__} is no greedy module: it needs {article} {name}, a Module, or a method making one"
        )
    return part


def features(encoder: Module, x: Tensor, batch_size: int = 1000) -> Tensor:
    """What the encoder makes of every row, in evaluation mode, nothing recorded."""
    was_training = encoder.training
    encoder.eval()
    try:
        with no_grad():
            found = [encoder(x[i : i + batch_size]) for i in range(0, len(x), batch_size)]
    finally:
        encoder.train(was_training)
    made = found[0] if len(found) == 1 else concat(found)
    return matrix("features", made, check_finite=False)


def _fit(where: str, module: Any, x: Tensor) -> Any:
    if not callable(getattr(module, "fit", None)):
        raise OptionError(f"{where}: it has no fit(x); give train=, a function of the module and its inputs")
    return module.fit(x)


def matrix(name: str, data: Any, width: int | None = None, check_finite: bool = True) -> Tensor:
    """The data as a Tensor [n, features] of floating-point numbers

    Raises: ShapeError, DTypeError, or OptionError for NaN and infinity, with their place.
    """
    if hasattr(data, "toarray"):
        raise DTypeError(f"{name}: the data are a sparse matrix; give dense ones, data.toarray()")
    x = data if isinstance(data, Tensor) else asarray(data)
    if x.dtype.kind not in "biuf":
        raise DTypeError(f"{name}: the data must be real numbers, not {x.dtype}")
    if x.ndim != 2 or not x.size or (width is not None and x.shape[1] != width):
        wanted = f"[n, {width}]" if width is not None else "[n, features]"
        raise ShapeError(f"{name}: the data have the shape {wanted}, n at least 1; got {list(x.shape)}")
    if x.dtype.kind != "f":
        x = x.astype("float32")
    if check_finite and not _finite(x):
        row, column = (int(i[0]) for i in space_of(x._array).nonzero(~space_of(x._array).isfinite(x._array)))
        raise OptionError(f"{name}: the data have {float(x[row, column])} in row {row}, column {column}")
    return x


@unheard()
def descend(
    module: Module, loss: Callable[..., Tensor], data: Sequence[Tensor], epochs: int = 10, batch_size: int = 100,
    optimizer: Optimize | Optimizer | None = None, generator: Generator | None = None,
) -> list[float]:  # fmt: skip
    """p ← p − update(∂ loss(batch …)/∂p) over shuffled batches of rows; returns the mean loss of each epoch

    `optimizer` is one, or makes one from the parameters; Adam with its defaults where none is given.
    Raises: DivergenceError, with the epoch and the update, as soon as a loss is not finite, or where weights are not
    after the last update.
    """
    name = type(module).__name__
    epochs, batch_size = _size(f"{name}: epochs", epochs), _size(f"{name}: batch_size", batch_size, 1)
    if generator is not None and not isinstance(generator, Generator):
        raise DTypeError(f"{name}: generator is a Generator or None, got {generator!r}")
    if not isinstance(optimizer, Optimizer):
        if optimizer is not None and not callable(optimizer):
            raise DTypeError(f"{name}: optimizer is an Optimizer, or a function of the parameters, got {optimizer!r}")
        optimizer = Adam(module.parameters()) if optimizer is None else optimizer(module.parameters())
    n, history, step = len(data[0]), [], 0
    was_training = module.training
    module.train()
    try:
        for epoch in range(1, epochs + 1):
            order = (generator or default_generator()).permutation(n)
            total = 0.0
            for start in range(0, n, batch_size):
                rows = to_device(order[start : start + batch_size], data[0].device)
                optimizer.zero_grad()
                found = loss(*(x[rows] for x in data))
                value = float(found.item())
                if not math.isfinite(value):
                    raise DivergenceError(
                        f"{name}: the loss is {value} in epoch {epoch}, after {step} updates; try a smaller learning "
                        "rate, or data of a smaller scale"
                    )
                found.backward()
                optimizer.step()
                total, step = total + value * len(rows), step + 1
            history.append(total / n)
    finally:
        module.train(was_training)
    bad = next((where for where, p in module.named_parameters() if not _finite(p)), None)
    if step and bad is not None:
        raise DivergenceError(f"{name}: {bad} is not finite after {step} updates; try a smaller learning rate")
    return history


def _finite(x: Tensor) -> bool:
    return bool(space_of(x._array).isfinite(x._array).all())


def _constant(x: Tensor) -> bool:
    """Whether no column varies by more than rounding."""
    a = x.detach()
    spread, size = float((a.max(axis=0) - a.min(axis=0)).max()), float(abs(a).max())
    return spread <= 1e-6 * max(size, 1e-30)


def _warn(message: str) -> None:
    warnings.warn(message, TrainingWarning, stacklevel=3)
