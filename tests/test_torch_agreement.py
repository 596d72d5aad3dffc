"""Values and gradients against what PyTorch gave, singular points too: they agree, or the page says why."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest

from tinygrad_mlsp.op import registry

sys.path.insert(0, str(Path(__file__).parent / "evidence"))
import torch_agreement as agreement

AGAIN = "python tests/evidence/torch_agreement.py"


def test_values_and_gradients_agree_or_differ_for_a_reason() -> None:
    assert agreement.disagreements() == []


def test_every_operation_is_compared_or_has_no_counterpart() -> None:
    lasting = {name for name, op in registry.items() if op.forward.__module__.startswith("tinygrad_mlsp.rules.")}
    listed = agreement.covered() | set(agreement.NOT_IN_PYTORCH)
    assert lasting - listed == set(), "put these into TABLE of evidence/torch_agreement.py, or into NOT_IN_PYTORCH"
    assert listed - lasting == set(), "these are no operations (any more)"
    assert agreement.covered() & set(agreement.NOT_IN_PYTORCH) == set()


def test_what_is_recorded_is_what_is_compared() -> None:
    _, found = agreement.recorded()
    assert {t: list(line.cases) for t, line in agreement.TABLE.items()} == {t: list(c) for t, c in found.items()}, (
        f"{AGAIN} --record (needs PyTorch)"
    )


@pytest.mark.parametrize("difference", agreement.DIFFERENCES, ids=lambda d: d.titles)
def test_a_reason_names_cases(difference: agreement.Difference) -> None:
    assert difference.why and difference.parts in ("values", "gradients", "values and gradients")
    cases: set[str] = set()
    for title in difference.titles.split("; "):
        named = [t for t in agreement.TABLE if fnmatchcase(t, title)]
        assert named, f"no line of the table is called {title!r}"
        cases.update(*(agreement.TABLE[t].cases for t in named))
    for case in difference.cases.split("; "):
        assert any(fnmatchcase(c, case) for c in cases), f"no case is called {case!r}"


def test_the_page_is_current() -> None:
    assert agreement.PAGE.read_text(encoding="utf-8") == agreement.page(), f"{AGAIN} --write"


def test_the_comparison_sees_what_differs() -> None:
    one, nan, inf = np.array([1.0, 2.0]), np.array([1.0, np.nan]), np.array([np.inf, 2.0])
    assert not agreement._apart([one], [one * (1 + 1e-15)], 32) and not agreement._apart([nan], [nan], 32)
    for other in (one * (1 + 1e-13), nan, inf, -inf, one[:1], one * 1j):
        assert agreement._apart([one], [other], 32)
    assert agreement._apart([one], "error: LinAlgError", 32) and not agreement._apart("error: a", "error: b", 32)
