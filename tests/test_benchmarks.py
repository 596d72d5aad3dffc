"""The benchmark scripts stay alive: every workload once in miniature, held to the same in NumPy written by hand."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("run", "workloads", "memory", "peers.ours", "peers.by_hand")
    return SimpleNamespace(**{name.rpartition(".")[2]: importlib.import_module(name) for name in names})


@pytest.mark.parametrize("name", ["W1", "W2", "W3", "W4", "W4w", "W5", "W5b", "W10", "W11", "W12"])
def test_a_workload_computes_what_numpy_by_hand_does(benchmarks: SimpleNamespace, name: str) -> None:
    workload = next(w for w in benchmarks.workloads.WORKLOADS if w.name == name)
    steps = {
        peer.__name__: getattr(peer, workload.build)(workload.problem(**workload.small))
        for peer in (benchmarks.by_hand, benchmarks.ours)
    }
    benchmarks.run.agree(workload, steps)
    losses = [float(np.sum(np.asarray(steps["peers.ours"]()[0]))) for _ in range(20)]
    if name in ("W2", "W3", "W4", "W5", "W5b"):
        assert losses[-1] < losses[0], "it learns"


def test_the_chain_of_additions(benchmarks: SimpleNamespace) -> None:
    total, gradient = benchmarks.ours.additions(benchmarks.workloads.additions(50))()
    assert float(total) == 51
    assert gradient.tolist() == [1]


def test_a_measurement_in_its_own_process_reports_its_figures(
    benchmarks: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workload = next(w for w in benchmarks.workloads.WORKLOADS if w.name == "W8")
    monkeypatch.setattr(workload, "sizes", workload.small)
    benchmarks.run.child("W8", "tinygrad_mlsp")
    figures = json.loads(capsys.readouterr().out)
    assert figures["checks"] == [51, 1]
    assert 0 < figures["time"] < 60
    assert figures["total"] >= benchmarks.memory.memory()[0] / 2


def test_the_table(benchmarks: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    samples = {"PyTorch": 2.0, "tinygrad_mlsp": 1.0}
    results = {peer: {"time": t, "samples": [t] * 5} for peer, t in samples.items()}
    lines = benchmarks.run.show("W0", "nothing", results, {"time": 0.4})
    assert "0.500" in (out := capsys.readouterr().out) and "MISSED" in out
    assert "| W0 nothing | time | 0.50 | 0.4 |" in benchmarks.run.markdown(lines)
