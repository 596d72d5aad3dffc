"""The pytest plugin, in runs of its own: what it counts, what it fails, and that it disturbs nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tinygrad_mlsp.checking import tally
from tinygrad_mlsp.checking.plugin import summary

HEAD = """
    import numpy as np
    import pytest
    import tinygrad_mlsp as tg
    from tinygrad_mlsp import checking
    from tinygrad_mlsp.checking import check, contracts, tensors
"""


def run(folder: Path, text: str, *options: str) -> str:
    """What pytest prints about this module, with nothing but this plugin, and warnings as errors."""
    (folder / "test_users.py").write_text(textwrap.dedent(text), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tinygrad_mlsp.checking.plugin",
        "-p",
        "no:cacheprovider",
        *options,
    ]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_what_is_checked_is_counted(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        HEAD
        + """
    @checking.property(x=tensors("n,m"))
    def test_property(x):
        return tg.tanh(x)

    @pytest.mark.gradcheck
    def test_marked():
        check(lambda x: x * x, np.ones(3), modes=["reverse"]).assert_ok()
        contracts(lambda x: x * x, np.ones(3), only=["deterministic"]).assert_ok()

    def test_not_marked():
        assert check(tg.relu, np.zeros(2)).verdict == "kink"

    def test_of_something_else():
        pass
    """,
    )
    assert "4 passed" in said, said
    assert "gradient checks, quick: " in said and "1 kink" in said and "and 1 contracts, in 3 tests" in said, said


def test_a_gradient_check_that_executes_none_fails(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        HEAD
        + """
    @pytest.mark.gradcheck
    def test_nothing():
        pass

    @pytest.mark.gradcheck
    def test_empty():
        check(lambda x: x * x, np.ones((0, 3))).assert_ok()

    @pytest.mark.gradcheck
    def test_undecidable():
        assert check(lambda x: x * np.nan, np.ones(2)).verdict == "undecidable"

    @checking.property(x=tensors("n"))
    def test_looks_away(x):
        assert x.ndim == 1

    @pytest.mark.gradcheck
    @pytest.mark.skip(reason="not here")
    def test_skipped():
        pass

    @pytest.mark.gradcheck
    def test_broken():
        raise KeyError("its own reason")

    @checking.property(x=tensors("n", min=1))
    def test_wrong(x):
        return x * x.detach()
    """,
        "-rf",
    )
    assert "6 failed, 1 skipped" in said, said
    assert said.count("this gradient check executed none: it compared no element") == 2 * 2, said
    assert "executed none: all 1 were undecidable" in said
    assert "executed no check" in said and "its own reason" in said
    assert "checking.check(test_wrong.function, x).assert_ok()" in said and "x = np.array([1.0])" in said


PARAMETERS = (
    HEAD
    + """
    @checking.property(x=tensors("n"), sides=(1, 2), max_examples=5)
    def test_property(x, gradcheck_dtype, gradcheck_device):
        assert x.dtype == gradcheck_dtype
        return 2 * x

    @pytest.mark.gradcheck(dtype="float16")
    def test_marker(gradcheck_dtype):
        check(lambda x: 2 * x, np.ones(3, gradcheck_dtype)).assert_ok()

    @pytest.mark.parametrize(["gradcheck_dtype"], [("float64",)])
    def test_own(gradcheck_dtype):
        print("examples:", __import__("tinygrad_mlsp").checking.tally.profile)

    def test_device(gradcheck_device):
        assert gradcheck_device == "cpu"
    """
)


def test_devices_and_dtypes_and_profiles(tmp_path: Path) -> None:
    options = ["--gradcheck-dtype=float32,float64", "--gradcheck-device=cpu,cuda:99", "--gradcheck-profile=thorough"]
    said = run(tmp_path, PARAMETERS, "-v", "-s", "-rs", *options)
    for name in (
        "test_property[cpu-float32]",
        "test_property[cpu-float64]",
        "test_marker[float16]",
        "test_own[float64]",
    ):
        assert f"{name} " in said or f"{name}\n" in said, said
    assert "5 passed, 3 skipped" in said and "SKIPPED" in said, said
    assert "examples: thorough" in said and "gradient checks, thorough" in said


def test_it_is_silent_where_no_gradient_is_checked(tmp_path: Path) -> None:
    text = """
    import sys

    def test_nothing_heavy_came_with_it():
        assert not {"hypothesis", "scipy", "cupy", "matplotlib"} & sys.modules.keys()
    """
    said = run(tmp_path, text, "-v")
    assert "1 passed" in said and "gradient check" not in said, said
    assert "--gradcheck-profile" in run(tmp_path, text, "--help")
    assert "@pytest.mark.gradcheck(" in run(tmp_path, text, "--markers")


def test_the_entry_point_is_declared() -> None:
    import tomllib

    project = Path(__file__).parents[1] / "pyproject.toml"
    if not project.exists():
        pytest.skip("not in the source tree")
    settings = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    assert settings["entry-points"]["pytest11"] == {"tinygrad_mlsp": "tinygrad_mlsp.checking.plugin"}
    assert any("hypothesis" in need for need in settings["optional-dependencies"]["check"])


def test_the_summary_reads_well() -> None:
    total = tally.Counter({"pass": 70, "kink": 3, "undecidable": 2, "elements": 1840, "contracts": 45, "tests": 4})
    assert summary(total) == (
        f"gradient checks, {tally.profile}: 1840 elements in 75 checks (70 pass, 3 kink, 2 undecidable) "
        "and 45 contracts, in 4 tests"
    )


def test_what_is_undecidable_was_not_checked() -> None:
    with tally.counting() as counted:
        tally.listeners[-1]("check", "undecidable", 5)
        tally.listeners[-1]("check", "pass", 2)
    assert counted.executed == counted.elements == 2 and counted.verdicts == {"undecidable": 1, "pass": 1}
