"""Model compression: a small net, the student, learns what a large one, the teacher, answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import DivergenceError, DTypeError, OptionError, ShapeError
from ..nn import Module
from ..nn import functional as F
from ..nn.functional.checks import number
from ..nn.module import _size
from ..optim import Adam, Optimizer
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad
from .probabilistic import is_number, settled, split


def distillation_loss(
    logits: Tensor, teacher_logits: Tensor, target: Any = None, temperature: float = 4.0, alpha: float = 0.9
) -> Tensor:
    """L = α T² KL(softmax(z_teacher/T) ‖ softmax(z/T)) + (1 − α) cross-entropy(z, target), in nats

    The first term carries over what the teacher knows of the wrong classes; T² keeps its gradient's size at any
    temperature. Without a target it stands alone, whatever α is.

    Shapes: logits [batch, classes], target [batch].
    Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015.
    """
    if not (is_number(temperature) and temperature > 0 and is_number(alpha) and 0 <= alpha <= 1):
        raise OptionError(
            f"distillation_loss: the temperature is positive and alpha from 0 to 1, got {temperature!r} and {alpha!r}"
        )
    teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=-1)
    soft = (teacher.exp() * (teacher - F.log_softmax(logits / temperature, dim=-1))).sum(
        axis=-1
    ).mean() * temperature**2
    return soft if target is None else alpha * soft + (1 - alpha) * F.cross_entropy(logits, target)


def distill(
    teacher: Module, student: Module, data: Iterable[Any], temperature: float = 4.0, alpha: float = 0.9,
    *, optimizer: Any = None, epochs: int = 1,
) -> list[float]:  # fmt: skip
    """Trains the student on the teacher's answers; returns the mean loss of each epoch.

    `data` gives batches: (x, target), or x alone, for which the teacher's answer is all that is learned from; see
    `random_inputs`. The optimizer is Adam with its defaults unless given. The teacher answers in evaluation mode and
    is not changed.

    Raises: OptionError for data without batches; DivergenceError.
    """
    epochs = _size("distill: epochs", epochs)
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise DTypeError(f"distill: the optimizer is an Optimizer, got {optimizer!r}")
    optimizer = Adam(student.parameters()) if optimizer is None else optimizer
    modes = (teacher.training, student.training)
    losses: list[float] = []
    teacher.eval()
    student.train()
    try:
        for _ in range(epochs):
            total = batches = 0.0
            for batch in data:
                x, target = split(batch)
                x = x if isinstance(x, Tensor) else Tensor(x)
                if x.ndim < 2 or not x.size:
                    raise ShapeError(
                        f"distill: a batch has the shape [batch, …], one row at least, got {list(x.shape)}"
                    )
                with no_grad():
                    answer = teacher(x)
                optimizer.zero_grad()
                loss = distillation_loss(student(x), answer, target, temperature, alpha)
                value, batches = loss.item(), batches + 1
                if not math.isfinite(value):
                    raise DivergenceError(
                        f"distill: the loss is {value} at batch {batches:.0f} of epoch {len(losses) + 1}; look for NaN "
                        "in the data, or take a smaller learning rate"
                    )
                loss.backward()
                optimizer.step()
                total += value
            if not batches:
                raise OptionError("distill: the data gave no batches (an iterator is used up after the first epoch)")
            losses.append(total / batches)
        settled("distill", student)
    finally:
        teacher.train(modes[0])
        student.train(modes[1])
    return losses


class random_inputs:
    """Batches of random inputs, uniform on [low, high) or, with a `std`, normal: what a teacher can be asked about
    when there are no data

    Every pass over it draws anew. With a `like`, samples [n, …], each entry is drawn with the mean and the standard
    deviation that it has there, which keeps the questions near the data.

    Source: lecture 0, "Model compression"; Bucilă, Caruana and Niculescu-Mizil, 2006.
    """

    def __init__(
        self, shape: tuple[int, ...], batches: int, batch_size: int = 64, low: float = 0.0, high: float = 1.0,
        std: float | None = None, like: Tensor | None = None, *, generator: Generator | None = None,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        if not isinstance(shape, (tuple, list)):
            raise ShapeError(f"random_inputs: the shape is that of one input, such as (784,), got {shape!r}")
        shape = tuple(_size("random_inputs: a size of the shape", n, 1) for n in shape)
        if std is not None:
            number("random_inputs: std", std, 0)
        if like is not None and tuple(like.shape[1:]) != shape:
            raise ShapeError(f"random_inputs: like has inputs of shape {list(like.shape[1:])}, asked for {list(shape)}")
        self.batches = _size("random_inputs: batches", batches, 1)
        self.batch_size = _size("random_inputs: batch_size", batch_size, 1)
        self.shape = (batch_size, *shape)
        self.low, self.high, self.std, self.like = low, high, std, like
        self.generator, self.device = generator, device

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Tensor]:
        generator = self.generator or default_generator()
        if self.like is not None:
            std, mean = self.like.std(axis=0), self.like.mean(axis=0)
        for _ in range(self.batches):
            if self.like is not None:
                yield Tensor(generator.normal(self.shape, device=self.device)) * std + mean
            elif self.std is not None:
                yield Tensor(generator.normal(self.shape, 0.0, self.std, device=self.device))
            else:
                yield Tensor(generator.uniform(self.shape, self.low, self.high, device=self.device))
