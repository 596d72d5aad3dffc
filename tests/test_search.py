"""The search for hyper-parameters: what it tries, in which order, and how it goes on after a stop."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tinygrad_mlsp.errors import DataError, MissingDependency, OptionError
from tinygrad_mlsp.train import Integers, Uniform, search

SPACE = {"lr": Uniform(1e-4, 1.0, log=True), "width": Integers(1, 64, log=True), "activation": ["relu", "tanh", None]}


def bowl(params: dict[str, Any]) -> float:
    """Smallest at lr = 0.01, width = 16, tanh."""
    far = math.log10(params["lr"] / 0.01) ** 2 + math.log2(params["width"] / 16) ** 2
    return far + (params["activation"] != "tanh")


def test_a_grid_has_all_combinations() -> None:
    space = {"a": [1, 2], "b": Uniform(1, 100, log=True, grid=3), "c": Integers(0, 1)}
    seen: list[Any] = []
    result = search(lambda p: seen.append(p) or -p["a"] * p["b"] + p["c"], space, "grid")
    assert [tuple(p.values()) for p in seen[:5]] == [
        (1, 1.0, 0),
        (1, 1.0, 1),
        (1, seen[2]["b"], 0),
        (1, seen[3]["b"], 1),
        (1, 100.0, 0),
    ]
    assert abs(seen[2]["b"] - 10) < 1e-12 and len(seen) == 12 and len({tuple(p.values()) for p in seen}) == 12
    assert result.best.params == {"a": 2, "b": 100.0, "c": 0} and result.best.value == -200
    assert [t.value for t in result] == sorted(t.value for t in result) and result.best.number == 10
    assert len(search(bowl, {"lr": [1, 2], "width": [3], "activation": [0]}, "grid", n_trials=1)) == 1
    assert [p for p in Integers(1, 1000, log=True, grid=4).points()] == [1, 10, 100, 1000]


def test_random_draws_are_spread_as_asked() -> None:
    result = search(bowl, SPACE, "random", 3000, seed=5)
    low = sum(t.params["lr"] < 1e-2 for t in result)
    assert 1380 < low < 1620 and all(1e-4 <= t.params["lr"] <= 1 for t in result)
    widths = Counter(t.params["width"] for t in result)
    assert min(widths) == 1 and max(widths) == 64 and widths[1] > 400 > 100 > widths[64]
    assert all(900 < n < 1100 for n in Counter(t.params["activation"] for t in result).values())
    plain = search(lambda p: p["n"], {"n": Integers(-2, 2)}, "random", 2000)
    assert set(Counter(t.params["n"] for t in plain)) == {-2, -1, 0, 1, 2}
    assert all(330 < n < 470 for n in Counter(t.params["n"] for t in plain).values())


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_the_same_seed_gives_the_same_trials(method: str) -> None:
    if method == "bayes":
        pytest.importorskip("optuna")
    first, again, other = (search(bowl, SPACE, method, 15, seed=s) for s in (1, 1, 2))
    assert first == again and first != other


def test_bayes_beats_random() -> None:
    pytest.importorskip("optuna")
    best = {m: sum(search(bowl, SPACE, m, 40, seed=s).best.value for s in range(5)) for m in ("random", "bayes")}
    assert best["bayes"] < best["random"] / 2
    up = search(lambda p: -bowl(p), SPACE, "bayes", 40, seed=0, direction="max")
    assert up.best.value == max(t.value for t in up) > -1


def test_nan_is_the_worst() -> None:
    values = {0: math.nan, 1: -math.inf, 2: 3.0, 3: math.inf}
    for direction, expected in (("min", [1, 2, 3, 0]), ("max", [3, 2, 1, 0])):
        result = search(lambda p: values[p["x"]], {"x": [0, 1, 2, 3]}, "grid", direction=direction)
        assert [t.params["x"] for t in result] == expected
    pytest.importorskip("optuna")
    result = search(lambda p: math.nan, SPACE, "bayes", 3)
    assert all(math.isnan(t.value) for t in result)
    with pytest.raises(OptionError, match="none of the 3 trials gave a number"):
        assert result.best


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
@pytest.mark.parametrize("cut", [False, True])
def test_it_goes_on_where_it_was_cut_off(method: str, cut: bool, tmp_path: Path) -> None:
    if method == "bayes":
        pytest.importorskip("optuna")
    space = {**SPACE, "lr": Uniform(1e-4, 1.0, log=True, grid=5), "width": Integers(1, 64, log=True, grid=3)}
    whole = search(bowl, space, method, 30, seed=4, log=tmp_path / "whole.jsonl")
    calls = 0

    def tiring(params: dict[str, Any]) -> float:
        nonlocal calls
        calls += 1
        if calls == 13:
            raise KeyboardInterrupt
        return bowl(params)

    log = tmp_path / "log.jsonl"
    with pytest.raises(KeyboardInterrupt):
        search(tiring, space, method, 30, seed=4, log=log)
    assert len(log.read_text().splitlines()) == 13
    if cut:  # in the middle of a line
        log.write_text(log.read_text()[:-9])
    assert search(tiring, space, method, 30, seed=4, log=log) == whole
    assert calls == 31 + cut and log.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert search(tiring, space, method, 30, seed=4, log=log) == whole and calls == 31 + cut
    assert json.loads(log.read_text().splitlines()[1])["trial"] == 0
    with pytest.raises(DataError, match="another search"):
        search(bowl, space, method, 30, seed=5, log=log)
    with pytest.raises(DataError, match="another search"):
        search(bowl, {"lr": [1]}, "grid", log=log)
    log.write_text("hello\n")
    with pytest.raises(DataError, match="not the log of a search"):
        search(bowl, space, method, 30, seed=4, log=log)


def test_changed_parameters_in_the_log_are_noticed(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    search(bowl, SPACE, "random", 2, log=log)
    log.write_text(log.read_text().replace('"trial": 1, "params": {"lr": ', '"trial": 1, "params": {"lr": 9'))
    with pytest.raises(DataError, match="trial 1 has other parameters"):
        search(bowl, SPACE, "random", 3, log=log)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"method": "best"}, "'grid', 'random' or 'bayes'"), ({"direction": "up"}, "'min' or 'max'"),
        ({"space": {}}, "no parameters"), ({"space": {"a": 3}}, "a is a list of choices"),
        ({"space": {"a": "abc"}}, "a is a list of choices"), ({"space": {"a": []}}, "a is a list of choices"),
        ({"method": "random"}, "how many"), ({"n_trials": -1}, "n_trials"),
        ({"space": {"a": Uniform(0, 1)}}, "a grid needs grid="),
    ],
)  # fmt: skip
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        search(bowl, **{"space": {"a": [1]}, "method": "grid", **options})


@pytest.mark.parametrize(
    "make", [lambda: Uniform(1, 1), lambda: Uniform(0, 1, log=True), lambda: Uniform(0, math.inf),
             lambda: Integers(2, 1), lambda: Integers(0.5, 2), lambda: Integers(0, 2, log=True)],
)  # fmt: skip
def test_wrong_ranges(make: Any) -> None:
    with pytest.raises(OptionError):
        make()
    assert search(lambda p: 0.0, {"a": [1]}, "grid", n_trials=0) == []
    with pytest.raises(OptionError, match="no trial yet"):
        assert search(lambda p: 0.0, {"a": [1]}, "grid", n_trials=0).best


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependency, match=r"tinygrad_mlsp\[search\]"):
        search(bowl, SPACE, "bayes", 1)


@pytest.mark.parametrize("found", ["a", None, 1j, [1.0, 2.0]])
def test_an_objective_that_gives_no_number_is_named(found: Any) -> None:
    with pytest.raises(OptionError, match=r"the objective must give a number.* for \{'a': 1\} it gave"):
        search(lambda p: found, {"a": [1]}, "grid")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: search(3, {"a": [1]}, "grid"), "the objective is a function"),  # type: ignore[arg-type]
        (lambda: search(bowl, [1], "grid"), "the space is a dictionary"),  # type: ignore[arg-type]
        (lambda: search(bowl, {"a": [1]}, "grid", log="no folder/log"), "the folder of the log is not there"),
        (lambda: Uniform("a", 2), "low must be below high"),  # type: ignore[arg-type]
        (lambda: Uniform(0, 1, grid="a").points(), "a grid needs"),  # type: ignore[arg-type]
        (lambda: Integers(0, 9, grid=0).points(), "points of 1 or more"),
    ],
)
def test_what_cannot_be_searched(call: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call()
