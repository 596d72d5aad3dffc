"""The first NaN or infinity: told at the operation that made it, with its numbers, its origin and the user's line."""

from __future__ import annotations

import inspect
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from support import Make, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, viz
from tinygrad_mlsp.errors import DivergenceError, NonFiniteError, OptionError


@pytest.fixture
def make(device: str) -> Make:
    return maker(device)


def line_of(text: str) -> int:
    """The line of this file that has the text."""
    lines = inspect.getsource(inspect.getmodule(line_of)).splitlines()  # type: ignore[arg-type]
    return next(i for i, line in enumerate(lines, 1) if text in line and "line_of" not in line)


def test_forward_the_operation_its_formula_the_numbers_and_the_line(make: Make) -> None:
    x = make([[1.0, 2.0], [0.0, -3.0]], requires_grad=True)
    with pytest.raises(NonFiniteError) as told, tg.detect_anomaly():
        scaled = x * 2.0
        y = tg.log(scaled)  # the fault
        (y * 0.0).sum()
    text = str(told.value)
    assert text.startswith("forward through log made NaN:  y = ln(x)\n")
    assert f"test_anomaly.py, line {line_of('# the fault')}:  y = tg.log(scaled)  # the fault" in text
    assert "2 of 4 entries, shape [2, 2], float32" in text
    assert "at [1, 0]: x = 0, result -inf" in text and "at [1, 1]: x = -6, result nan" in text
    assert "multiply, " in text and "scaled = x * 2.0" in text
    assert "to try: keep its argument above 0" in text


def test_backward_where_the_forward_pass_was_fine(make: Make) -> None:
    x = make([4.0, 0.0], requires_grad=True)
    with tg.detect_anomaly():
        root = tg.sqrt(x)
        loss = (root * 3.0).sum()
        with pytest.raises(NonFiniteError) as told:
            loss.backward()
    text = str(told.value)
    assert text.startswith("backward through sqrt, to its argument x, made infinity:")
    assert "at [1]: upstream gradient = 3, " in text and "y = 0" in text and "root = tg.sqrt(x)" in text
    assert "the gradient came down through\n    multiply, " in text
    assert x.grad is None  # nothing half done


def test_the_module_is_named_and_a_parameter_that_was_nan_before(device: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2, generator=tg.Generator(0)), nn.Tanh(), nn.Linear(2, 1)).to(device)
    model[2].weight.copy_([[np.nan, 1.0]])
    x = tg.Tensor([[1.0, 2.0]], device=device)
    with pytest.raises(NonFiniteError) as told, tg.detect_anomaly():
        model(x)
    text = str(told.value)
    assert text.startswith("linear was given NaN: its argument weight is the parameter 2.weight, which is so before")
    assert "in Sequential.2 Linear" in text


def test_matrix_products_overflow_with_ranges_for_numbers(make: Make) -> None:
    a = make(np.full((2, 3), 1e30), requires_grad=True, dtype="float32")
    with pytest.raises(NonFiniteError) as told, tg.detect_anomaly():
        a @ make(np.full((3, 2), 1e30), dtype="float32")
    text = str(told.value)
    assert "forward through matmul made infinity:  y = a b" in text
    assert "a: shape [2, 3], from 1e+30 to 1e+30" in text and "b: shape [3, 2]" in text


def test_infinities_put_in_on_purpose_pass(make: Make) -> None:
    scores = make([[1.0, 2.0, 3.0]], requires_grad=True)
    with tg.detect_anomaly():
        masked = tg.where(make([[True, True, False]]), scores, -np.inf)
        loss = (tg.softmax(masked) * make([[1.0, 2.0, 3.0]])).sum()
        loss.backward()
    assert scores.grad is not None and bool(np.isfinite(scores.grad.numpy()).all())
    with tg.detect_anomaly(infinities=False):
        tg.exp(make([1000.0], requires_grad=True))
    with pytest.raises(NonFiniteError, match="exp made infinity"), tg.detect_anomaly():
        tg.exp(make([1000.0], requires_grad=True))


def test_large_sums_of_finite_numbers_are_no_alarm(make: Make) -> None:
    x = make(np.full(10, 1e38), requires_grad=True, dtype="float32")
    with tg.detect_anomaly():
        x * 1.0


def test_a_gradient_that_is_given_as_nan(make: Make) -> None:
    x = make([1.0], requires_grad=True)
    with tg.detect_anomaly(), pytest.raises(NonFiniteError, match="was given a gradient that is not finite"):
        (x * 2).backward(gradient=[np.nan])


def test_a_graph_of_before_has_no_line_but_is_explained(make: Make) -> None:
    x = make([0.0], requires_grad=True)
    y = tg.sqrt(x).sum()
    with tg.detect_anomaly(), pytest.raises(NonFiniteError, match="computed before this block was entered"):
        y.backward()


def test_sound_computations_are_left_alone_and_outside_nothing_is_checked(make: Make) -> None:
    x = make([1.0, 2.0], requires_grad=True)
    with tg.detect_anomaly():
        (tg.tanh(x) * x).sum().backward()
    expected = x.grad.numpy().copy()
    x.grad = None
    (tg.tanh(x) * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), expected)
    with np.errstate(all="ignore"):
        tg.log(make([-1.0], requires_grad=True))


def test_backward_checks_when_asked(make: Make) -> None:
    x = make([4.0, 0.0], requires_grad=True)
    with np.errstate(all="ignore"):
        with pytest.raises(NonFiniteError, match=r"gradient of a leaf of shape \(2,\) is not finite"):
            tg.sqrt(x).sum().backward(check_finite=True)
        with pytest.raises(NonFiniteError, match="the tensor itself is not finite"):
            tg.log(x).sum().backward(check_finite=True)
    x = make([0.1, -0.1], requires_grad=True)
    (x * 3e38).sum().backward(check_finite=True)  # finite, though the sum of its gradients is not
    assert issubclass(NonFiniteError, DivergenceError)


def test_no_warning_competes_with_the_report(make: Make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NonFiniteError), tg.detect_anomaly():
            tg.log(make([0.0], requires_grad=True))


def test_wrong_input() -> None:
    with pytest.raises(OptionError, match="model is a Module"):
        tg.detect_anomaly(True)


def test_it_looks_on_from_around_a_trace_and_within_itself(make: Make) -> None:
    x = make([1.0, -1.0], requires_grad=True)
    with tg.detect_anomaly() as outer:
        with viz.trace() as seen:
            with pytest.raises(NonFiniteError, match="forward through log"):
                tg.log(x)
            root = tg.sqrt(x * 0.0)
            with pytest.raises(NonFiniteError, match="backward through sqrt"):
                root.sum().backward()
            assert seen.graph().operations == 3
        with outer, pytest.raises(NonFiniteError):
            tg.log(x)
        with pytest.raises(NonFiniteError):
            tg.log(x)
    with pytest.warns(RuntimeWarning) if x.device == "cpu" else nullcontext():
        tg.log(x)


def test_the_pictures_can_be_made_inside_it(make: Make) -> None:
    x = make([1.0, -1.0], requires_grad=True)
    with tg.detect_anomaly():
        assert len(viz.walk((x * x).sum()).steps) == 2
        assert viz.diff((x * x).sum(), (x * x).sum()).same_structure
