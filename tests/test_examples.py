"""The examples run as they stand; the evidence scripts, whose verdicts take minutes, take their quick look."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_mlsp import Generator, nn, optim

EXAMPLES = sorted(p for p in (Path(__file__).parents[1] / "examples").glob("[a-z]*.py"))
EVIDENCE = [p for p in EXAMPLES if "from _evidence" in p.read_text(encoding="utf-8")]


def run(path: Path, folder: Path, *options: str) -> str:
    command = [sys.executable, str(path), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    for what in ("mnist", "speech"):
        if f"{what}: expected" in done.stderr:
            pytest.skip(f"{what} is not there: set TINYGRAD_MLSP_DATA")
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


def test_every_evidence_script_is_in_the_docs_with_its_seeds() -> None:
    page = (Path(__file__).parents[1] / "docs" / "evidence.md").read_text(encoding="utf-8")
    rows = {row[0]: row[-1] for row in re.findall(r"^\| `(\w+)\.py` \|.*\| ([^|]*) \|$", page, re.M)}
    assert sorted(rows) == [p.stem for p in EVIDENCE]
    for path in EVIDENCE:
        found = re.search(r"options\([^)]*?\bseeds=(\d+)", path.read_text(encoding="utf-8"))
        assert rows[path.stem].split()[0] == (found[1] if found else "1"), path.stem


def test_a_claim_that_does_not_hold_fails_its_script(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES[0].parent))
    from _evidence import verdict

    for quick, claims, code in ((False, (True, True), 0), (False, (True, False), 1), (True, (True, False), 0)):
        with pytest.raises(SystemExit) as left:
            verdict(argparse.Namespace(quick=quick), dict(zip("ab", claims, strict=True)), 0.0)
        assert left.value.code == code
        assert ("DOES NOT HOLD  b" in capsys.readouterr().out) == (code == 1)


def test_the_evidences_training_lets_the_rate_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES[0].parent))
    from _evidence import decayed, errors, trained

    x = Generator(0).normal((200, 3))
    y = (x.sum(axis=1) > 0).astype(np.int64)
    net = nn.Linear(3, 2, generator=Generator(1))
    sgd = optim.SGD(net.parameters(), lr=0.5)
    history = trained(net, x, y, 8, sgd, batch=20, cosine=True)
    assert len(history.loss) == 8 and history.loss[-1] < history.loss[0] and sgd.param_groups[0]["lr"] < 1e-9
    assert errors(net, x, y) < 5
    sgd.param_groups[0]["lr"] = 0.5
    assert list(decayed(net, x, y, 3, sgd, 0.5)) == [0, 1, 2] and sgd.param_groups[0]["lr"] == 0.0625
