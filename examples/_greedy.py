"""What the scripts of pre-training share: an RBM's training by CD-1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinygrad_mlsp as tg
from tinygrad_mlsp import energy, optim
from tinygrad_mlsp.tensor import Tensor


def cd1(
    epochs: int, generator: tg.Generator, lr: float = 0.05, code_lr: float = 0.005, batch: int = 100
) -> Callable[[Any, Tensor], list[float]]:
    """A function that trains an RBM by CD-1 and returns the reconstruction error of each epoch

    Momentum 0.9 (0.5 at first), weight decay 0.0002; `code_lr` where the hidden units are Gaussian, which learn at
    smaller rates.
    Source: Hinton, "A practical guide to training restricted Boltzmann machines", 2010.
    """

    def train(rbm: energy.RBM, x: Tensor) -> list[float]:
        others = [p for p in rbm.parameters() if p is not rbm.weight]
        groups = [{"params": [rbm.weight], "weight_decay": 2e-4}, {"params": others}]
        rate = code_lr if isinstance(rbm.hidden, energy.Gaussian) else lr
        optimizer = optim.SGD(groups, lr=rate, momentum=0.5)

        def faster(rbm: energy.RBM, record: dict[str, list[float]]) -> None:
            if len(record["reconstruction"]) == min(5, epochs // 2):
                for group in optimizer.param_groups:
                    group["momentum"] = 0.9

        record = energy.fit(
            rbm, x, optimizer, energy.FromData(rbm, mean_field=True, generator=generator), epochs=epochs,
            batch_size=batch, callbacks=[faster], generator=generator,
        )  # fmt: skip
        return record["reconstruction"]

    return train
