"""How the suite runs: on which device, and how hypothesis explores."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_quiet = [
    HealthCheck.function_scoped_fixture,
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
]
settings.register_profile(
    "default", derandomize=True, max_examples=20, deadline=None, suppress_health_check=_quiet, database=None
)
settings.register_profile("explore", max_examples=500, deadline=None, suppress_health_check=_quiet, print_blob=True)


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", choices=["cpu", "strict", "cuda"],
                     help="cpu, strict (the strict CuPy stand-in on the CPU) or cuda (a real GPU)")  # fmt: skip
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow too")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: longer evidence; run with --run-slow")
    config.addinivalue_line("markers", "gpu: needs a real GPU; run with --device cuda")
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
    if config.getoption("--device") == "strict":
        sys.path.insert(0, str(Path(__file__).parent / "strict_cupy"))


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "slow" in item.keywords and not config.getoption("--run-slow"):
            item.add_marker(pytest.mark.skip(reason="slow: pass --run-slow"))
        if "gpu" in item.keywords and config.getoption("--device") != "cuda":
            item.add_marker(pytest.mark.skip(reason="needs a GPU: pass --device cuda"))


@pytest.fixture(scope="session")
def device(request):
    """Where the tests compute: 'cpu', or 'cuda' on a GPU or on the strict stand-in."""
    return "cpu" if request.config.getoption("--device") == "cpu" else "cuda"
