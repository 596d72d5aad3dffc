"""The examples run as they stand; the evidence scripts, whose verdicts take minutes, take their quick look."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(p for p in (Path(__file__).parents[1] / "examples").glob("[a-z]*.py"))
EVIDENCE = [p for p in EXAMPLES if "from _evidence" in p.read_text(encoding="utf-8")]


def run(path: Path, folder: Path, *options: str) -> str:
    command = [sys.executable, str(path), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if "mnist: expected" in done.stderr:
        pytest.skip("MNIST is not there: set TINYGRAD_MLSP_DATA")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p not in EVIDENCE], ids=lambda p: p.stem)
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    said = run(path, tmp_path)
    if path.stem == "gradient_checks":
        assert "analytic / numeric = 0.99" in said and "gradient check of rosen: pass" in said


@pytest.mark.slow
@pytest.mark.parametrize("path", EVIDENCE, ids=lambda p: p.stem)
def test_the_evidence_runs(path: Path, tmp_path: Path) -> None:
    assert "not judged" in run(path, tmp_path, "--quick", "--seeds", "1")
    assert (tmp_path / f"{path.stem}.png").stat().st_size > 5000
