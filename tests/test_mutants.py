"""Every operation of the registry, with every kind of fault planted in its rules: our own tests notice each.

What is asked is what test_registry asks of every operation, on a few small cases. A fault that changes no derivative
of a case is not counted, but some case must show it to matter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pytest
import test_registry as suite
from domains import CORNERS, DOMAINS, Case, Draw

import tinygrad_mlsp as tg
from tinygrad_mlsp.checking.mutants import (
    BACKWARD,
    FORWARD,
    WRITTEN,
    Site,
    Survey,
    _sites,
    _Subject,
    default_checks,
    mutants,
    planted,
)
from tinygrad_mlsp.errors import OptionError
from tinygrad_mlsp.op import Operation, registry
from tinygrad_mlsp.tensor import Tensor

QUESTIONS: dict[str, Callable[[suite.Trial, suite.Trial], Any]] = {
    "first order": lambda trial, other: suite.check_first_order(trial),
    "memory": lambda trial, other: suite.check_memory(trial),
    "second order": lambda trial, other: suite.check_second_order(trial),
    "two examples": lambda *both: [suite.check_first_order(t) for t in both],
    "paths": lambda trial, other: suite.check_paths(trial),
    "float32": lambda trial, other: suite.check_single_precision(trial),
    "repeated": lambda trial, other: suite.check_repeated(trial),
}
DIFFERENTIABLE = [name for name, op in registry.items() if op.differentiable and name in DOMAINS]


def features(inputs: list[Any]) -> set[str]:
    """What a case can show."""
    shapes = {x.shape for x in inputs}
    found = {"several entries"} if any(x.size > 1 for x in inputs) else set()
    found |= {"complex"} if any(x.dtype.kind == "c" for x in inputs) else {"real"}
    found |= {"broadcast"} if len(shapes) > 1 else set()
    found |= {"same shapes"} if len(shapes) < len(inputs) else set()
    found |= {"square"} if any(x.ndim > 1 and x.shape[-1] == x.shape[-2] > 1 for x in inputs) else set()
    return found


def drawn(name: str, seeds: int) -> Iterator[tuple[set[str], Case]]:
    """Small cases of an operation, without empty arrays."""
    op = registry[name]
    for seed in range(seeds):
        for corner in range(CORNERS):
            case = DOMAINS[name].case(Draw(Random(100 * seed + corner), corner))
            inputs = suite.in_order(op, case.arguments)
            if inputs and all(x.size for x in inputs) and sum(x.size for x in inputs) <= 40:
                yield features(inputs), case


def cases(name: str) -> Iterator[Case]:
    """Few cases that together show all that the operation's domain can show."""
    left, seen = list(drawn(name, 3)), set[str]()
    while best := max(left, key=lambda d: (len(d[0] - seen), "complex" in d[0]), default=None):
        if not best[0] - seen:
            return
        seen |= best[0]
        yield best[1]


def trials(op: Operation, case: Case, count: int = 2) -> list[suite.Trial]:
    """The case with upstream gradients without gaps, in which every fault can show."""
    found: list[suite.Trial] = []
    for seed in range(100):
        trial = suite.Trial(op, DOMAINS[op.name], case, Draw(Random(seed)), "cpu")
        if all(u is not None and np.all(u != 0) for u in trial.us):
            found.append(trial)
            if len(found) == count:
                break
    return found


def application(op: Operation, case: Case) -> tuple[Callable[..., Any], list[Tensor]]:
    """The operation as a function of what a gradient flows to."""
    inputs = [Tensor(x) for x in suite.in_order(op, case.arguments)]
    fixed = [v if v is None or isinstance(v, list) else Tensor(v) for v in case.arguments]
    return lambda *leaves: op(*suite.replaced(op, fixed, leaves), **case.options), inputs


def survey(op: Operation, case: Case, **how: Any) -> Survey:
    """All faults in one case, put to the questions of the suite."""
    f, inputs = application(op, case)
    both = trials(op, case)
    checks = {what: lambda f, *x, ask=ask: ask(*both) for what, ask in QUESTIONS.items()}
    return mutants(f, *inputs, checks=checks, stop_early=True, **how)


def hold(name: str, chosen: Iterator[Case]) -> None:
    shown, planted = set(), set()
    for case in chosen:
        found = survey(registry[name], case)
        assert found.ok, f"{name}, {case}\n" + "\n".join(map(str, found.unnoticed))
        shown |= {(m.mode, m.argument, m.fault) for m in found.mutants if m.noticed}
        planted |= {(m.mode, m.argument, m.fault) for m in found.mutants}
    assert planted, f"{name}: nothing was planted; its domain draws no small case"
    never = sorted(m for m in planted - shown if m[2] in ("sign", "dropped", "factor 2", "1 % too much"))
    assert not never, f"{name}: no case shows {never}"


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_every_fault_in_every_operation_is_noticed(name: str) -> None:
    hold(name, cases(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_every_fault_in_every_operation_is_noticed_in_many_cases(name: str) -> None:
    hold(name, (case for _, case in drawn(name, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_check_and_contracts_notice_every_fault(name: str) -> None:
    """The same question, put to the checks that everybody has, so far as they accept the operation at this case."""
    case = next(cases(name))
    f, inputs = application(registry[name], case)
    with np.errstate(all="ignore"):
        checks = {what: check for what, check in default_checks().items() if check(f, *inputs).ok}
    assert checks, "no check accepts the operation"
    found = mutants(f, *inputs, checks=checks, stop_early=True)
    missing = set(default_checks()) - set(checks)
    assert missing or found.ok, "\n".join(map(str, found.unnoticed))


def test_the_operations_are_all_there() -> None:
    assert set(DIFFERENTIABLE) == {name for name, op in registry.items() if op.differentiable}
    assert all(next(drawn(name, 3), None) for name in DIFFERENTIABLE)


# Tests of the planting


def array(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(len(shape)).normal(size=shape))


def right_slope(f: Callable[..., Any], x: Tensor) -> bool:
    """A weak check: the gradient of f's sum at one point of one argument, against differences."""

    def total(v: Any) -> Any:
        y = f(v)
        return y.sum() if y.ndim else y

    found = tg.grad(total)(x).numpy()
    step = 1e-5
    for index in np.ndindex(x.shape):
        moved = np.zeros(x.shape)
        moved[index] = step
        difference = (total(x + moved) - total(x - moved)).item() / (2 * step)
        if abs(difference - found[index]) > 1e-6:
            return False
    return True


def rows(found: Survey) -> dict[tuple[str, str, str], tuple[tuple[str, ...], bool]]:
    return {(m.mode, m.argument, m.fault): (m.noticed, m.equivalent) for m in found.mutants}


def test_what_a_weak_check_notices_and_what_not() -> None:
    found = mutants(tg.tanh, array(2, 2), checks={"slope": right_slope})
    by = rows(found)
    for fault in ("sign", "dropped", "factor 2", "1 % too much", "one entry doubled", "reversed", "transposed"):
        assert by["reverse", "x", fault] == (("slope",), False)
    assert by["reverse", "x", "frozen: wrong from the second order on"] == ((), False)
    assert by["forward", "all", "sign"] == ((), False)
    assert not found.ok and len(found.unnoticed) >= 5
    with pytest.raises(AssertionError, match=r"not noticed by slope:\ntanh"):
        found.assert_ok()


def test_a_fault_that_changes_nothing_is_called_equivalent() -> None:
    by = rows(mutants(tg.negative, array(3), checks={"slope": right_slope}))
    assert by["reverse", "x", "frozen: wrong from the second order on"] == ((), True)
    by = rows(mutants(lambda a, b: a + b, array(3), array(3), checks={}))
    assert by["reverse", "a, b", "swapped"] == ((), True)
    assert by["reverse", "a", "sign"] == ((), False)


def test_a_gradient_that_does_not_matter_hides_its_faults() -> None:
    found = mutants(lambda x: tg.exp(x) * 0 + x, array(3), checks={"slope": right_slope})
    assert found.ok or all(m.operation != "exp" for m in found.unnoticed)
    assert all(m.equivalent for m in found.mutants if m.operation == "exp" and m.mode == "reverse")


def test_operators_methods_and_several_uses_meet_the_fault() -> None:
    def f(x: Any) -> Any:
        return (x * x).sum() + tg.multiply(x, 3.0).sum() + tg.sum(x[0] * x)

    found = mutants(f, array(3), checks={"slope": right_slope}, faults=["sign"])
    assert {m.operation for m in found.mutants} == {"multiply", "sum", "add", "getitem"}
    assert all(m.noticed for m in found.mutants if m.mode == "reverse")


def test_every_entry_of_a_list_is_a_place() -> None:
    found = mutants(lambda a, b: tg.concat([a, b]), array(2), array(3), checks={}, faults=["sign"])
    assert [m.argument for m in found.mutants] == ["arrays[0]", "arrays[1]", "all"]


def test_an_argument_that_needs_no_gradient_is_no_place() -> None:
    fixed = array(3)
    found = mutants(lambda x: x * fixed, array(3), checks={}, faults=["sign"])
    assert [m.argument for m in found.mutants] == ["a", "all"]


def test_an_error_counts_as_noticing() -> None:
    def strict(f: Callable[..., Any], x: Tensor) -> None:
        assert right_slope(f, x), "wrong"

    assert mutants(tg.sin, array(3), checks={"strict": strict}, faults=["sign"]).mutants[0].noticed == ("strict",)


def test_each_check_is_asked_unless_told_to_stop() -> None:
    checks = {"one": right_slope, "two": right_slope}
    assert mutants(tg.sin, array(3), checks=checks, faults=["sign"]).mutants[0].noticed == ("one", "two")
    early = mutants(tg.sin, array(3), checks=checks, faults=["sign"], stop_early=True)
    assert early.mutants[0].noticed == ("one",)


def test_everything_is_as_before_afterwards() -> None:
    op = registry["tanh"]
    x = array(4)
    before = dict(vars(op)), tg.grad(lambda v: tg.tanh(v).sum())(x).numpy()
    recipe = tg.tanh.__globals__["recipe"]
    rules = recipe.pull, recipe.carry

    def breaks(f: Callable[..., Any], x: Tensor) -> bool:
        if not right_slope(f, x):
            raise RuntimeError("in the middle")
        return True

    mutants(tg.tanh, x, checks={"breaks": breaks})
    with pytest.raises(KeyboardInterrupt), planted(Site(op, "reverse", "sign", 0), [recipe]):
        assert tg.grad(lambda v: tg.tanh(v).sum())(x).numpy()[0] == -before[1][0]
        raise KeyboardInterrupt
    assert (recipe.pull, recipe.carry) == rules
    assert vars(op) == before[0]
    np.testing.assert_array_equal(tg.grad(lambda v: tg.tanh(v).sum())(x).numpy(), before[1])


def test_on_a_device(device: str) -> None:
    x, w = (Tensor(v.numpy(), device=device) for v in (array(2, 2), array(2, 2) + 1))

    def f(a: Any, b: Any) -> Any:
        return tg.concat([tg.matmul(a, b) * a[:1], b])

    for site, recipes in _sites(_Subject(f, (x, w)).recorded(), False):
        with planted(site, recipes):
            runs = all(v.dtype.kind == "f" for v in _Subject(f, (x, w)).fingerprint())
        assert runs or site.fault == WRITTEN, site  # memory that may not be written to says so
    by = rows(mutants(tg.exp, x, checks={}))
    assert {fault for (_, _, fault), (_, equivalent) in by.items() if equivalent} <= {"buffer used again", WRITTEN}


def test_two_threads_plant_one_after_the_other() -> None:
    found: list[Any] = []

    def work() -> None:
        found.append(rows(mutants(tg.tanh, array(2, 2), checks={"slope": right_slope}, faults=["sign", "dropped"])))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert len(found) == 4 and all(f == found[0] for f in found)


def test_a_check_that_rejects_the_function_as_it_is_is_refused() -> None:
    with pytest.raises(OptionError, match="'never' rejects the function as it is"):
        mutants(tg.tanh, array(2), checks={"never": lambda f, x: False})


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(OptionError, match="no fault named typo"):
        mutants(tg.tanh, array(2), checks={}, faults=["typo"])


def test_our_own_checks_notice_every_fault_in_a_small_net() -> None:
    b = Tensor(np.array([0.1, -0.2]))
    found = mutants(lambda x, w, b: tg.softmax(tg.tanh(x @ w + b)), array(2, 3), array(3, 2), b, stop_early=True)
    found.assert_ok()
    assert {m.operation for m in found.mutants} >= {"matmul", "add", "tanh", "softmax"}
    assert "noticed by" in str(found) and f"{len(found.mutants)} faults" in str(found)


@pytest.mark.parametrize("fault", sorted({*BACKWARD, *FORWARD}))
def test_every_kind_of_fault_matters_somewhere(fault: str) -> None:
    z = Tensor(np.array([[1 + 2j, 2 - 1j], [0.5j, 1 - 1j]]))
    x = array(2, 2)
    found = [
        *mutants(lambda a, b: tg.matmul(a, b) * a, x, Tensor(x.numpy() + 1), checks={}, faults=[fault]).mutants,
        *mutants(lambda a, b: a * b, x, array(2), checks={}, faults=[fault]).mutants,
        *mutants(lambda v: v * v * v, z, checks={}, faults=[fault]).mutants,
        *mutants(lambda a, b: tg.matmul(a, b) + tg.matmul(a, 2 * b), x, x + 1.0, checks={}, faults=[fault]).mutants,
    ]
    assert any(not m.equivalent for m in found)
