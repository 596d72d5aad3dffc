"""`check` on every operation, where it is differentiable: it must never cry wolf, and seldom be in doubt.

By default a few examples an operation; with --run-slow 10,000 of them in all.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import numpy as np
import pytest
from domains import CORNERS, DOMAINS, Draw

import tinygrad_mlsp as tg
from tinygrad_mlsp.backend import to_device
from tinygrad_mlsp.op import Operation, registry

DIFFERENTIABLE = sorted(name for name in DOMAINS if registry[name].differentiable)
SLOW = -(-10_000 // len(DIFFERENTIABLE))
ENOUGH = 60  # entries of a Jacobian's side: what is larger says nothing new


def there(value: Any, device: str) -> Any:
    """Arrays on the device, however they are nested."""
    if isinstance(value, (list, tuple)):
        return type(value)(there(v, device) for v in value)
    return to_device(value, device) if isinstance(value, np.ndarray) else value


def examples(op: Operation, random: Random, device: str) -> Any:
    """Functions of the arrays that a gradient flows to, and these, from the operation's domain."""
    corner = 0
    while True:
        draw = Draw(random, corner if corner < CORNERS else None, device)
        corner += 1
        case = DOMAINS[op.name].draw(draw)  # not `case`, which may be complex
        arguments = [v if v is None or isinstance(v, list) else np.asarray(v) for v in case.arguments]
        options = {o: there(v, device) if o == "index" else v for o, v in case.options.items()}
        names = [a for a, v in zip(op.arguments, arguments, strict=True) if a in op.differentiable and v is not None]
        inputs = [arguments[op.arguments.index(a)] for a in names]
        flat = [x for v in inputs for x in (v if isinstance(v, list) else [v])]
        if sum(x.size for x in flat) > ENOUGH or any(x.dtype.kind != "f" for x in flat):
            continue

        def f(*tensors: tg.Tensor, options: Any = options, arguments: Any = arguments, names: Any = names) -> Any:
            left = iter(tensors)
            given = [
                ([next(left) for _ in v] if isinstance(v, list) else next(left)) if a in names else there(v, device)
                for a, v in zip(op.arguments, arguments, strict=True)
            ]
            return op(*given, **options)

        yield f, [tg.Tensor(x, dtype=np.float64, device=device) for x in flat], case


def verdicts(name: str, n: int, device: str, order: int = 1) -> Counter[str]:
    op, random = registry[name], Random(f"no false alarm {name}")
    found: Counter[str] = Counter()
    for f, inputs, case in examples(op, random, device):
        report = tg.check(f, *inputs, order=order)
        found[report.verdict] += 1
        assert report.verdict not in ("fail", "kink"), f"{name} on {case}:\n{report}"
        if found.total() == n:
            return found
    raise AssertionError("unreachable")


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_no_false_alarm(name: str, device: str) -> None:
    assert verdicts(name, 2, device)["undecidable"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_no_false_alarm_in_ten_thousand(name: str, device: str) -> None:
    assert verdicts(name, SLOW, device)["undecidable"] <= SLOW // 20


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_no_false_alarm_at_second_order(name: str, device: str) -> None:
    assert verdicts(name, 5, device, order=2)["undecidable"] <= 1
