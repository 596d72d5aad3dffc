"""Properties: what is drawn, what it shrinks to, what is printed, and what counts as having checked."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad_mlsp as tg
from tinygrad_mlsp import checking
from tinygrad_mlsp import op as op_module
from tinygrad_mlsp.checking import GradientCheckError, check, contracts, tally, tensors
from tinygrad_mlsp.checking.strategies import LAYOUTS, VALUES, Example, Spec, code_of, linked
from tinygrad_mlsp.errors import MissingDependency, OptionError
from tinygrad_mlsp.op import Operation
from tinygrad_mlsp.tensor import Tensor

EXACT = settings(max_examples=1000, database=None, derandomize=True)


def operation(forward: Callable[..., Any], **slopes: Callable[..., Any]) -> Operation:
    """An elementwise operation of a user, outside the registry."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(op_module, "registry", {})
        patch.setattr(op_module, "on_declaration", [])
        return Operation(forward, "elementwise", "planted").slopes(**slopes)


wrong_square = operation(lambda xp, x: x * x, x=lambda x: 2.02 * x)


def drawn(specs: Mapping[str, Spec], number: int = 70, **options: Any) -> list[Example]:
    found: list[Example] = []

    @settings(max_examples=number, database=None, derandomize=True)
    @given(linked(specs, **options))
    def look(example: Example) -> None:
        found.append(example)

    look()
    return found


def smallest(specs: Mapping[str, Spec], condition: Callable[[Any], bool], **options: Any) -> Any:
    """The arrays of the smallest example that fulfils the condition."""
    example = hypothesis.find(
        linked(specs, **options), lambda e: condition({n: d.array for n, d in e.items()}), settings=EXACT
    )
    return {name: d.array for name, d in example.items()}


# What is drawn


def test_sides_are_linked_by_their_letters() -> None:
    specs = {
        "x": tensors("n,m"), "w": tensors("m,k"), "b": tensors("k?"), "s": tensors(""), "f": tensors("3,n"),
        "y": tensors("*batch,2"), "z": tensors("*batch?,2?"), "p": tensors(broadcasts_with="x"),
    }  # fmt: skip
    sizes = Counter[str]()
    for example in drawn(specs):
        x, w, b, s, f, y, z, p = (d.array for d in example.values())
        assert x.ndim == w.ndim == 2 and x.shape[1] == w.shape[0]
        assert b.shape in ((1,), (w.shape[1],)) and s.shape == () and f.shape == (3, x.shape[0])
        assert y.shape[-1] == 2 and y.ndim <= 3 and z.ndim == y.ndim
        assert np.broadcast_shapes(y.shape, z.shape) == y.shape and np.broadcast_shapes(x.shape, p.shape) == x.shape
        sizes["empty"] += x.size == 0
        sizes["partner of one"] += p.shape != x.shape
        sizes[f"batch {y.ndim - 1}"] += 1
    assert all(sizes[name] >= 1 for name in ("empty", "partner of one", "batch 0", "batch 1", "batch 2")), sizes


def test_sides_have_limits() -> None:
    shapes = {d.array.shape for e in drawn({"x": tensors("n,m")}, sides={"n": (2, 2), "": (0, 5)}) for d in e.values()}
    assert {n for n, _ in shapes} == {2} and {m for _, m in shapes} == {0, 1, 2, 3, 4, 5}


def test_every_layout_is_drawn_as_the_code_that_made_it() -> None:
    seen = Counter[str]()
    specs = {"x": tensors("n,m", values=("ordinary", "zeros", "nan", "inf")), "y": tensors("")}
    for example in drawn(specs, 120, sides=(2, 3)):
        for d in example.values():
            again = eval(d.code, {"np": np})
            assert again.tobytes() == d.array.tobytes() and again.strides == d.array.strides
            assert again.dtype == d.array.dtype and again.shape == d.array.shape
        x = example["x"].array
        if x.size and min(x.shape) > 1:
            seen["C"] += x.flags.c_contiguous and x.base is None
            seen["view"] += x.flags.c_contiguous and not x.flags.owndata
            seen["F"] += x.flags.f_contiguous and not x.flags.c_contiguous
            seen["reversed"] += x.strides[0] < 0 and x.strides[1] < 0
            seen["strided"] += x.strides[1] == 2 * x.itemsize
            seen["broadcast"] += x.strides[0] == 0
        if x.size:
            numbers = x.ravel()
            seen["nan"] += bool(np.isnan(numbers).any())
            seen["negative zero"] += bool(((numbers == 0) & np.signbit(numbers)).any())
    assert all(seen[name] >= 3 for name in (*LAYOUTS, "nan", "negative zero")), seen


def test_values_keep_to_the_domain_in_every_kind() -> None:
    specs = {
        "low": tensors("n", min=1e-3, values=VALUES[:5]), "high": tensors("n", max=-5),
        "both": tensors("n", min=0, max=1e-3, values=VALUES[:5]), "far": tensors("n", min=1, max=1e6),
        "away": tensors("n", away_from=(0, 1), gap=0.25),
        "half": tensors("n", dtype="float16", max=0.1, min=-0.1), "whole": tensors("n", dtype="int64", min=0, max=2),
    }  # fmt: skip
    kinds = Counter[str]()
    for example in drawn(specs, 120):
        low, high, both, far, away, half, whole = (d.array for d in example.values())
        assert (low >= 1e-3).all() and (high <= -5).all() and (both >= 0).all() and (both <= 1e-3).all()
        assert (far >= 1).all() and (far <= 1e6).all() and np.isfinite(low).all()
        assert (np.abs(away) >= 0.25).all() and (np.abs(away - 1) >= 0.25).all()
        assert half.dtype == np.float16 and (np.abs(half) <= 0.1).all()
        assert whole.dtype == np.int64 and set(whole.tolist()) <= {0, 1, 2}
        kinds["huge"] += bool((low > 1e100).any())
        kinds["tiny"] += bool(((both > 0) & (both < 1e-300)).any())
        kinds["tied"] += len(low) == 3 and len(set(low.tolist())) == 1
    assert all(kinds[kind] for kind in ("huge", "tiny", "tied")), kinds


def test_dtypes_and_devices_are_drawn() -> None:
    dtypes = ["float16", "float32", "float64", "complex64", "complex128"]
    found = drawn({"x": tensors("n", dtype=dtypes)}, 150)
    assert {e["x"].array.dtype.name for e in found} == {*dtypes}
    assert any(e["x"].array.imag.any() for e in found if e["x"].array.dtype.kind == "c")
    assert all(e["x"].tensor(True).requires_grad and e["x"].tensor().device == "cpu" for e in found)


def test_on_another_device(device: str) -> None:
    if device == "cpu":
        pytest.skip("needs --device strict or cuda")
    for example in drawn({"x": tensors("n,m", device="cuda")}, 30):
        assert example["x"].tensor().device == "cuda:0" and "cp." in example["x"].code
    there = {"x": tensors("n,m", device="cuda"), "b": tensors("m?", device="cuda")}
    checking.property(there, contracts=True, max_examples=10)(lambda x, b: tg.tanh(x + b))()
    code = code_in(fails(checking.property(there, max_examples=10)(lambda x, b: wrong_square(x + b))))
    with pytest.raises(GradientCheckError):
        exec(code, {"f": checking.property(there)(lambda x, b: wrong_square(x + b))})


@pytest.mark.parametrize(
    "options, words",
    [
        ({"shape": "n-1"}, "'n-1' in the shape 'n-1' is no side"), ({"shape": "*3"}, "is no side"),
        ({}, "takes a shape"),
        ({"shape": "n", "broadcasts_with": "x"}, "takes a shape"),
        ({"shape": "n", "values": "odd"}, "values are ordinary"),
        ({"shape": "n", "layouts": ()}, "layouts are C"), ({"shape": "n", "min": 2, "max": 1}, "no float64 between"),
        ({"shape": "n", "min": 0, "max": 0.01, "away_from": 0, "gap": 1}, "keeps away"),
    ],
)  # fmt: skip
def test_what_is_no_description_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        tensors(**options)


def test_partners_must_be_there() -> None:
    with pytest.raises(OptionError, match="names no argument before it"):
        linked({"b": tensors(broadcasts_with="x"), "x": tensors("n")})
    with pytest.raises(OptionError, match=r"described by tensors\(...\), not 'n,m'"):
        linked({"x": "n,m"})  # type: ignore[dict-item]


# What it shrinks to


def test_counterexamples_shrink() -> None:
    found = smallest({"x": tensors("n,m"), "w": tensors("m,k")}, lambda a: min(a["x"].size, a["w"].size) > 0)
    assert found["x"].tolist() == [[0.0]] and found["w"].tolist() == [[0.0]] and found["x"].flags.owndata
    assert smallest({"x": tensors("n,m")}, lambda a: a["x"].sum() > 2.5)["x"].size == 2
    assert smallest({"x": tensors("n")}, lambda a: (a["x"] > 0.3).any())["x"].tolist() == [1.0]
    assert smallest({"x": tensors("n,m")}, lambda a: a["x"].size == 0)["x"].shape == (1, 0)
    tied = smallest({"x": tensors("n")}, lambda a: a["x"].size > len({*a["x"].tolist()}))["x"]
    assert tied.tolist() == [0.0, 0.0]
    backwards = smallest({"x": tensors("n")}, lambda a: a["x"].size > 1 and a["x"].strides[0] < 0)["x"]
    assert backwards.tolist() == [0.0, 0.0] and backwards.strides == (-8,)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_code_of_arrays(layout: str) -> None:
    values = [np.zeros((2, 0), "float32"), np.array([1, 2]), np.array([[1 + 2j, complex(-0.0, np.nan)]], "complex64"),
              np.array([[np.inf, -0.0]] * 2, "float16"), np.ones((2, 1, 3))]  # fmt: skip
    for array in values:
        again = eval(code_of(array, layout), {"np": np})
        assert again.shape == array.shape and again.dtype == array.dtype
        expected = array if layout != "broadcast" else np.broadcast_to(array[:1], array.shape)
        assert again.tobytes() == expected.tobytes()


# The decorator


@checking.property(x=tensors("n,m"), w=tensors("m,k"), b=tensors("k?"))
def test_a_layer(x: Any, w: Any, b: Any) -> Any:
    return tg.tanh(x @ w + b)


@checking.property(x=tensors("n,m", min=0.1), contracts=True, max_examples=10, order=2, modes=["reverse"])
def test_options_are_handed_on(x: Any) -> Any:
    return {"log": tg.log(x), "sum": x.sum()}


@checking.property(x=tensors("n"), y=tensors(broadcasts_with="x"), max_examples=10)
def test_a_body_that_checks_itself(x: Any, y: Any) -> None:
    assert x.requires_grad and isinstance(y, Tensor)
    check(lambda a: a * y, x).assert_ok()
    contracts(lambda a, b: a * b, x, y, threads=2, skip=["second order"]).assert_ok()


@checking.property(x=tensors("n"), i=tensors("2", dtype="int64", min=0, max=0), sides=(1, 3), max_examples=10)
def test_whole_numbers_are_left_alone(x: Any, i: Any) -> Any:
    return tg.take(x, i, axis=0)


@checking.property(x=tensors("n", values="ordinary"), max_examples=20, gradient=lambda x: 2 * x)
def test_a_gradient_beside_a_function(x: Any) -> Any:
    assert isinstance(x, np.ndarray)
    return (x * x).sum()


@pytest.mark.parametrize("factor", [1.0, 3.0])
@checking.property(x=tensors("n"), max_examples=10)
def test_beside_fixtures_and_parameters(x: Any, factor: float, tmp_path: Path) -> Any:
    assert tmp_path.is_dir()
    return factor * x


@checking.property(x=tensors("n"), options={"jvp": lambda x, t: 2 * x * t}, modes=["forward"], max_examples=10)
def test_a_derivative_of_another_form(x: Any) -> Any:
    assert isinstance(x, np.ndarray)
    return x * x


class TestInAClass:
    @checking.property({"order": tensors("n")}, max_examples=10)
    def test_an_argument_named_as_an_option(self, order: Any) -> Any:
        assert isinstance(self, TestInAClass)
        return 2 * order


def test_the_outcome_is_there_afterwards() -> None:
    test_a_layer()  # type: ignore[call-arg]
    outcome = test_a_layer.outcome
    assert (
        outcome.examples + outcome.empty == tally.EXAMPLES["quick"]
        and outcome.empty
        and outcome.elements > 100
        and outcome.verdicts["pass"] > 10
    )
    assert "elements checked" in repr(outcome)
    assert test_a_layer.function(np.ones((1, 1)), Tensor([[0.0]]), 0).item() == 0


def module(name: str, text: str, folder: Path) -> Path:
    """A user's module, with a wrong operation in it."""
    head = """
        import numpy as np
        import tinygrad_mlsp as tg
        from tinygrad_mlsp import checking, op
        from tinygrad_mlsp.checking import tensors

        @op.elementwise
        def wrong_square(xp, x):
            return x * x
        wrong_square.slopes(x=lambda x: 2.02 * x)

        @op.linear
        def backwards(xp, x):
            return xp.positive(x)
        backwards.adjoints(x=lambda g: g)
    """
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(head) + textwrap.dedent(text), encoding="utf-8")
    return path


def fails(searched: Any) -> str:
    """What a search says that fails."""
    with pytest.raises(Exception) as caught:
        searched()
    return "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def code_in(text: str) -> str:
    return re.split("Failing test case|Falsifying example", text.split("To see it again:\n\n", 1)[1])[0]


USERS: dict[str, tuple[str, str]] = {
    "a wrong slope": (
        """
        @checking.property(x=tensors("n,m"), y=tensors("m"))
        def searched(x, y):
            return wrong_square(x) + y
        """,
        "GradientCheckError",
    ),
    "a memory layout": (
        """
        @checking.property(x=tensors("n"))
        def searched(x):
            return wrong_square(x) if x.data.strides and x.data.strides[0] < 0 and x.size > 1 else x * x
        """,
        "GradientCheckError",
    ),
    "a contract": (
        """
        @op.linear
        def writes(xp, x):
            return xp.positive(x)
        writes.adjoints(x=lambda g: g if hasattr(g, "_node") else np.multiply(g, 1, out=g))
        @op.linear
        def negates(xp, x):
            return -x
        negates.adjoints(x=lambda g: -g if hasattr(g, "_node") else np.multiply(g, -1, out=g))

        @checking.property(x=tensors("n"), contracts=True)
        def searched(x):
            return negates(x)
        """,
        "upstream gradient unchanged",
    ),
    "an error": (
        """
        @checking.property(x=tensors("n,m"))
        def searched(x):
            return x.reshape((-1,))[2:3] * (1 if x.size < 3 else x.reshape((5, -1)))
        """,
        "Error",
    ),
    "an error in a rule": (
        """
        @op.elementwise
        def half(xp, x):
            return x * 0.5
        half.slopes(x=lambda x: {}["no such thing"])

        @checking.property(x=tensors("n"))
        def searched(x):
            return half(x)
        """,
        "KeyError",
    ),
    "a method, an option, a gradient": (
        """
        def slope(x):
            return 2.1 * x

        class Holder:
            @checking.property(x=tensors("n"), gradient=slope)
            def method(self, x):
                return (x * x).sum()

        def searched():
            Holder().method()
        """,
        "GradientCheckError",
    ),
}


@pytest.mark.parametrize("planted", USERS)
def test_the_code_that_is_printed_shows_the_failure_again(
    planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, words = USERS[planted]
    name = f"users_{[*USERS].index(planted)}"
    module(name, text, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    registered = dict(op_module.registry)
    try:
        said = fails(__import__(name).searched)
        code = code_in(said)
        with pytest.raises(Exception) as caught:
            exec(compile(code, "pasted", "exec"), {})
    finally:
        for new in op_module.registry.keys() - registered.keys():
            del op_module.registry[new]
        sys.modules.pop(name, None)
    assert words in f"{type(caught.value).__name__} {caught.value}", code
    if planted == "a wrong slope":
        assert f"from {name} import searched" in code and "x = np.array([[1.0]])" in code, code
        assert "inputs            x: float64 [1, 1]; y: float64 [1]" in said
        assert "y = np.array([0.0])" in code and "checking.check(searched.function, x, y).assert_ok()" in code
    if planted == "a memory layout":
        assert "[::-1]" in code


def test_the_code_names_a_function_that_cannot_be_imported() -> None:
    code = code_in(fails(checking.property(x=tensors("n"))(lambda x: wrong_square(x))))
    assert "# f is the function at " in code and "checking.check(f.function, x).assert_ok()" in code
    scope: dict[str, Any] = {"f": checking.property(x=tensors("n"))(lambda x: wrong_square(x))}
    with pytest.raises(GradientCheckError):
        exec(code, scope)


def test_the_printed_code_runs_by_itself(tmp_path: Path) -> None:
    """Pasted into a file of its own, in a Python of its own."""
    module("users_own", USERS["a wrong slope"][0], tmp_path)
    run = "from users_own import searched\nsearched()"
    first = subprocess.run([sys.executable, "-c", run], cwd=tmp_path, capture_output=True, text=True)
    assert first.returncode == 1 and "To see it again" in first.stderr
    code = code_in(first.stderr)
    (tmp_path / "pasted.py").write_text(code, encoding="utf-8")
    second = subprocess.run([sys.executable, "pasted.py"], cwd=tmp_path, capture_output=True, text=True)
    assert "GradientCheckError" in second.stderr, code + second.stderr


# What counts


def test_kinks_are_accepted_unless_asked_otherwise() -> None:
    at_zero = {"x": tensors("n", values="zeros")}
    relu = checking.property(at_zero, max_examples=20)(lambda x: tg.relu(x))
    relu()
    assert relu.outcome.verdicts["kink"]
    strict = checking.property(at_zero, max_examples=20, kinks=False)(lambda x: tg.relu(x))
    assert "does not accept" in fails(strict)


def test_a_search_that_decides_nothing_fails() -> None:
    hopeless = checking.property(x=tensors("n", max=-1), max_examples=20)(lambda x: tg.log(x))
    said = fails(hopeless)
    assert "were undecidable, so this says nothing" in said and hopeless.outcome.undecided, said


def test_a_search_that_compares_nothing_fails() -> None:
    assert "executed no check" in fails(checking.property(x=tensors("0,n"), max_examples=5)(lambda x: 2 * x))

    @checking.property(x=tensors("n"), max_examples=5)
    def looks_away(x: Any) -> None:
        assert x.ndim == 1

    assert "executed no check" in fails(looks_away)


def test_arguments_must_exist_and_be_described() -> None:
    with pytest.raises(OptionError, match="has no argument y"):
        checking.property(y=tensors("n"))(lambda x: x)
    with pytest.raises(OptionError, match="describe at least one"):
        checking.property()
    with pytest.raises(OptionError, match="contracts=True takes"):
        checking.property(x=tensors("n"), contracts=True, options={"jvp": lambda x, t: t})
    with pytest.raises(TypeError, match="too many positional"):
        checking.property(x=tensors("n"))(lambda x: x)(Tensor([1.0]))


def test_without_hypothesis_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(MissingDependency, match=r"pip install 'tinygrad_mlsp\[check\]'"):
        checking.property(x=tensors("n"))


def test_hypothesis_comes_with_the_first_property() -> None:
    code = "import sys; from tinygrad_mlsp import checking; checking.tensors('n'); print('hypothesis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
