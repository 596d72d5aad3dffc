"""The pytest plugin of gradient checking: profiles, devices and dtypes, and how much was really checked.

    pytest --gradcheck-profile thorough --gradcheck-dtype float32,float64

It is loaded by itself once the package is installed, and says nothing in a run that checks no gradient. A test is a
gradient check if it is marked `gradcheck` or made by `checking.property`; one that executes no check fails.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from . import tally

_counts = pytest.StashKey[tally.Tally]()
PARAMETERS = {"gradcheck_device": "device", "gradcheck_dtype": "dtype"}
KNOWN = {"device": re.compile(r"cpu|cuda(:\d+)?"), "dtype": re.compile(r"float(16|32|64)|complex(64|128)")}
WORDS = {"device": "cpu, cuda and cuda:N are", "dtype": "float16, float32, float64, complex64 and complex128 are"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gradcheck", "gradient checking (tinygrad_mlsp.checking)")
    group.addoption(
        "--gradcheck-profile",
        choices=[*tally.EXAMPLES],
        default="quick",
        help="how many examples a property draws: "
        + ", ".join(f"{name} {number}" for name, number in tally.EXAMPLES.items()),
    )
    group.addoption("--gradcheck-device", default="cpu", metavar="A,B", help="values of the fixture gradcheck_device")
    group.addoption("--gradcheck-dtype", default="float64", metavar="A,B", help="values of the fixture gradcheck_dtype")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "gradcheck(device=..., dtype=...): a gradient check, which fails if it executes none; device and dtype are the "
        "values of the fixtures gradcheck_device and gradcheck_dtype",
    )
    tally.profile = config.getoption("--gradcheck-profile")
    for what in ("device", "dtype"):
        for value in config.getoption(f"--gradcheck-{what}").split(","):
            if not KNOWN[what].fullmatch(value):
                raise pytest.UsageError(f"--gradcheck-{what}: {value!r} is not known; {WORDS[what]}")


def pytest_unconfigure(config: pytest.Config) -> None:
    tally.profile = "quick"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The two fixtures take the values of the marker, or of the command line."""
    marker = metafunc.definition.get_closest_marker("gradcheck")
    if marker and (unknown := {*marker.kwargs} - {*PARAMETERS.values()}):
        pytest.fail(f"gradcheck: no argument {', '.join(sorted(unknown))}; there are device and dtype", pytrace=False)
    direct = list(metafunc.definition.iter_markers("parametrize"))
    for fixture, what in PARAMETERS.items():
        given = marker.kwargs.get(what, ()) if marker else ()
        for value in (given,) if isinstance(given, str) else given:
            if not all(KNOWN[what].fullmatch(v) for v in value.split(",")):
                pytest.fail(f"gradcheck: {what}={value!r} is not known; {WORDS[what]}", pytrace=False)
        if fixture in metafunc.fixturenames and not any(fixture in _names(m) for m in direct):
            values = (marker.kwargs if marker else {}).get(what) or metafunc.config.getoption(f"--gradcheck-{what}")
            values = values.split(",") if isinstance(values, str) else list(values)
            metafunc.parametrize(fixture, values, indirect=True)


def _names(parametrize: pytest.Mark) -> list[str]:
    """The arguments that the test sets itself."""
    names = parametrize.args[0] if parametrize.args else parametrize.kwargs.get("argnames", ())
    return [n.strip() for n in (names.split(",") if isinstance(names, str) else names)]


@pytest.fixture
def gradcheck_device(request: pytest.FixtureRequest) -> str:
    """A device of --gradcheck-device, or of the marker; the test is skipped where the device is not there."""
    device: str = request.param
    if device != "cpu":
        from ..backend import space_for
        from ..errors import DeviceError, MissingDependency

        try:
            space_for(device)
        except (MissingDependency, DeviceError) as problem:
            pytest.skip(str(problem))
    return device


@pytest.fixture
def gradcheck_dtype(request: pytest.FixtureRequest) -> str:
    """A dtype of --gradcheck-dtype, or of the marker."""
    dtype: str = request.param
    return dtype


def is_gradient_check(item: pytest.Item) -> bool:
    return item.get_closest_marker("gradcheck") is not None or hasattr(getattr(item, "obj", None), "gradcheck")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    __tracebackhide__ = True
    with tally.counting() as counted:
        item.stash[_counts] = counted
        result = yield
    if not counted.executed and is_gradient_check(item):
        undecidable = counted.verdicts["undecidable"]
        why = f"all {undecidable} were undecidable" if undecidable else "it compared no element"
        pytest.fail(f"this gradient check executed none: {why}", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
    report = yield
    counted = item.stash.get(_counts, None)
    if call.when == "call" and counted is not None and (counted.verdicts or counted.contracts):
        # Plain numbers, which a worker of pytest-xdist can send.
        report.gradcheck = {
            **counted.verdicts,
            "elements": counted.elements,
            "contracts": counted.contracts,
            "tests": 1,
        }
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    total: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            total.update(getattr(report, "gradcheck", {}))
    if total:
        terminalreporter.write_line(summary(total))


def summary(total: Counter[str]) -> str:
    """gradient checks: 1840 elements in 75 checks (70 pass, 3 kink, 2 undecidable) and 45 contracts, in 4 tests"""
    verdicts = [v for v in ("pass", "kink", "undecidable", "fail") if total[v]]
    found = ", ".join(f"{total[v]} {v}" for v in verdicts)
    checks = f"{total['elements']} elements in {sum(total[v] for v in verdicts)} checks" + (
        f" ({found})" if found else ""
    )
    contracts = f" and {total['contracts']} contracts" if total["contracts"] else ""
    return f"gradient checks, {tally.profile}: {checks}{contracts}, in {total['tests']} tests"
