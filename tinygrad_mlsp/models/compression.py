"""Model compression: a small net, the student, learns what a large one, the teacher, answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import OptionError
from ..nn import Module
from ..nn import functional as F
from ..optim import Adam
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad


def distillation_loss(
    logits: Tensor, teacher_logits: Tensor, target: Any = None, temperature: float = 4.0, alpha: float = 0.9
) -> Tensor:
    """L = α T² KL(softmax(z_teacher/T) ‖ softmax(z/T)) + (1 − α) cross-entropy(z, target), in nats

    The first term carries over what the teacher knows of the wrong classes; T² keeps its gradient's size at any
    temperature. Without a target it stands alone, whatever α is.

    Shapes: logits [batch, classes], target [batch].
    Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015.
    """
    if not temperature > 0 or not 0 <= alpha <= 1:
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

    Raises: OptionError for data without batches.
    """
    optimizer = Adam(student.parameters()) if optimizer is None else optimizer
    modes, losses = (teacher.training, student.training), []
    teacher.eval()
    student.train()
    try:
        for _ in range(epochs):
            total = batches = 0.0
            for batch in data:
                x, target = batch if isinstance(batch, (tuple, list)) else (batch, None)
                x = x if isinstance(x, Tensor) else Tensor(x)
                with no_grad():
                    answer = teacher(x)
                optimizer.zero_grad()
                loss = distillation_loss(student(x), answer, target, temperature, alpha)
                loss.backward()
                optimizer.step()
                total, batches = total + loss.item(), batches + 1
            if not batches:
                raise OptionError("distill: the data gave no batches (an iterator is used up after the first epoch)")
            losses.append(total / batches)
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
        self.shape, self.batches, self.batch_size = (batch_size, *shape), batches, batch_size
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
