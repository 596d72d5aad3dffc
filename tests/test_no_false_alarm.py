"""`check` on every operation, where it is differentiable: it must never cry wolf, and seldom be in doubt.

Hypothesis draws the cases from the operations' domains, complex ones too; by default a few an operation, with
--run-slow 10,000 in all.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import numpy as np
import pytest
from domains import CORNERS, DOMAINS, Draw
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

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


def example(op: Operation, random: Random, device: str) -> Any:
    """A function of the arrays that a gradient flows to, these, and the case; None for one that is too large."""
    draw = Draw(random, random.choice([None, *range(CORNERS)]), device)
    case = DOMAINS[op.name].case(draw)
    options = {o: there(v, device) if o == "index" else v for o, v in case.options.items()}
    names = [a for a, v in zip(op.arguments, case.arguments, strict=True) if a in op.differentiable and v is not None]
    inputs = [case.arguments[op.arguments.index(a)] for a in names]
    flat = [np.asarray(x) for v in inputs for x in (v if isinstance(v, list) else [v])]
    if sum(x.size for x in flat) > ENOUGH:
        return None

    def f(*tensors: tg.Tensor) -> Any:
        left = iter(tensors)
        given = [
            ([next(left) for _ in v] if isinstance(v, list) else next(left)) if a in names else there(v, device)
            for a, v in zip(op.arguments, case.arguments, strict=True)
        ]
        return op(*given, **options)

    return f, [tg.Tensor(x, device=device) for x in flat], case


def verdicts(name: str, n: int, device: str, order: int = 1) -> Counter[str]:
    op = registry[name]
    found: Counter[str] = Counter()

    @settings(max_examples=n, phases=[Phase.generate], report_multiple_bugs=False, database=None)
    @given(st.randoms(note_method_calls=False, use_true_random=False))
    def look(random: Random) -> None:
        drawn = example(op, random, device)
        if drawn is not None:
            f, inputs, case = drawn
            report = tg.check(f, *inputs, order=order)
            found[report.verdict] += 1
            assert report.verdict not in ("fail", "kink"), f"{name} on {case}:\n{report}"

    look()
    return found


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_no_false_alarm(name: str, device: str) -> None:
    assert verdicts(name, 3, device)["undecidable"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_no_false_alarm_in_ten_thousand(name: str, device: str) -> None:
    assert verdicts(name, SLOW, device)["undecidable"] <= SLOW // 20


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_no_false_alarm_at_second_order(name: str, device: str) -> None:
    assert verdicts(name, 5, device, order=2)["undecidable"] == 0
