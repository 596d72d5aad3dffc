"""Every planted fault is noticed by `check`, or by `contracts` where it is one of contract; correct functions pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from faults import CORRECT, FAULTS, Fault, broken_contracts, ours

from tinygrad_mlsp.checking import check


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.id)
def test_a_planted_fault_is_noticed(fault: Fault) -> None:
    with np.errstate(all="ignore"):
        if fault.by == "contracts":
            assert broken_contracts(fault)
            return
        f, inputs, options = ours(fault)
        try:
            report = check(f, *inputs, **options)
        except IndexError:  # the rule itself stops, and so does the check
            assert fault.id.endswith(("zero size: an index out of range", "0-d: an axis that is not there"))
            return
        assert not report.ok and report.verdict != "undecidable", report


@pytest.mark.parametrize("fault", CORRECT, ids=lambda f: f.id)
def test_a_correct_function_is_accepted(fault: Fault) -> None:
    f, inputs, options = ours(fault)
    report = check(f, *inputs, **options)
    assert report.ok, report
    assert not broken_contracts(fault)


@pytest.mark.parametrize("number", [1, 2, 5, 6, 7, 8, 9, 10, 11, 14])
def test_the_faults_that_users_met_are_in_the_table(number: int) -> None:
    assert any(f.number == number for f in FAULTS)


def test_the_table_is_long_enough_and_names_each_fault_once() -> None:
    names = [f.name for f in [*FAULTS, *CORRECT]]
    assert len(FAULTS) >= 40 and len({*names}) == len(names)
    assert {3, 4} <= {f.number for f in CORRECT}


def test_the_page_of_who_notices_what_has_the_whole_table() -> None:
    page = (Path(__file__).parents[1] / "docs" / "who_notices.md").read_text(encoding="utf-8").replace("\\|", "|")
    missing = [f.name for f in [*FAULTS, *CORRECT] if f"| {f.name} (" not in page]
    assert not missing, "run tests/evidence/who_notices.py again"
    assert f"together notice {len(FAULTS)} of {len(FAULTS)}." in page
