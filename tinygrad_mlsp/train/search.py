"""The search for hyper-parameters: on a grid, at random, or by a model of what was found so far (Bayesian)."""

from __future__ import annotations

import itertools
import json
import math
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingDependency, OptionError
from ..random import Generator


@dataclass(frozen=True)
class Uniform:
    """A number from low to high; with `log`, its logarithm is uniform. `grid` is how many points a grid takes."""

    low: float
    high: float
    log: bool = False
    grid: int | None = None

    def __post_init__(self) -> None:
        finite = all(isinstance(v, Real) and math.isfinite(v) for v in (self.low, self.high))
        if not (finite and self.low < self.high and (self.low > 0 or not self.log)):
            raise OptionError(f"{self}: low must be below high, both finite, and above 0 with log=True")

    def at(self, share: float) -> float:
        """The value that has this share of the range below it."""
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(value, self.low), self.high)

    def points(self) -> list[Any]:
        """What a grid takes."""
        if not isinstance(self.grid, int) or self.grid < 2:
            raise OptionError(f"{self}: a grid needs grid=, a number of points of 2 or more")
        return [self.at(i / (self.grid - 1)) for i in range(self.grid)]


@dataclass(frozen=True)
class Integers:
    """A whole number from low to high, both included; with `log`, its logarithm is uniform. See Uniform for `grid`."""

    low: int
    high: int
    log: bool = False
    grid: int | None = None

    def __post_init__(self) -> None:
        try:
            right = operator.index(self.low) <= operator.index(self.high) and (self.low > 0 or not self.log)
        except TypeError:
            right = False
        if not right:
            raise OptionError(f"{self}: low and high must be whole numbers, low not above high, above 0 with log=True")

    def at(self, share: float) -> int:
        """The number that has this share of the range below it."""
        low, high = self.low, self.high + 1
        value = low * (high / low) ** share if self.log else low + share * (high - low)
        return min(max(math.floor(value), self.low), self.high)

    def points(self) -> list[Any]:
        """What a grid takes: all numbers, or `grid` of them."""
        if self.grid is None:
            return list(range(self.low, self.high + 1))
        if not isinstance(self.grid, int) or self.grid < 1:
            raise OptionError(f"{self}: grid= is a number of points of 1 or more")
        return sorted({self.at(i / max(1, self.grid - 1)) for i in range(self.grid)})


@dataclass
class Trial:
    """One try: its number, from 0, the parameters, and what the objective gave; NaN counts as the worst."""

    number: int
    params: dict[str, Any]
    value: float


class Result(list[Trial]):
    """The trials, best first."""

    @property
    def best(self) -> Trial:
        """The best one."""
        if not self:
            raise OptionError("search: there is no trial yet")
        if math.isnan(self[0].value):
            raise OptionError(f"search: none of the {len(self)} trials gave a number, so none is best; all gave NaN")
        return self[0]


def search(
    objective: Callable[[dict[str, Any]], float], space: Mapping[str, Any], method: str = "random",
    n_trials: int | None = None, seed: int = 0, *, direction: str = "min", log: str | os.PathLike[str] | None = None,
) -> Result:  # fmt: skip
    """Calls objective(params) for parameters from the space, and gives the trials, best first.

    `space` has, by name, a list of choices, a Uniform or an Integers. `method` is "grid" (all combinations, the last
    name changing fastest, or the first `n_trials` of them), "random", or "bayes", a tree of Parzen estimators, which
    needs optuna. The same seed gives the same trials.

    With `log`, a file of one JSON line a trial, each on the disk when its trial is done, a search that was cut off goes
    on where it was: trials in the file are not run again, and the rest are those that would have come.

    Raises: OptionError; DataError for a log of another search; MissingDependency.

    >>> search(lambda p: (p["x"] - 2) ** 2, {"x": [0, 1, 2, 3]}, "grid").best.params
    {'x': 2}
    """
    if direction not in ("min", "max"):
        raise OptionError(f"search: direction is 'min' or 'max', got {direction!r}")
    if method not in ("grid", "random", "bayes"):
        raise OptionError(f"search: method is 'grid', 'random' or 'bayes', got {method!r}")
    if not callable(objective):
        raise OptionError(f"search: the objective is a function of a dictionary of parameters, got {objective!r}")
    if not isinstance(space, Mapping):
        raise OptionError(f"search: the space is a dictionary, by name what to choose from; got {space!r}")
    if not space:
        raise OptionError("search: the space has no parameters")
    for name, choices in space.items():
        listed = isinstance(choices, Sequence) and not isinstance(choices, str) and len(choices)
        if not listed and not isinstance(choices, (Uniform, Integers)):
            raise OptionError(f"search: {name} is a list of choices, a Uniform or an Integers, got {choices!r}")
    if n_trials is None and method != "grid":
        raise OptionError(f"search: how many trials? method={method!r} needs n_trials")
    if n_trials is not None and (not isinstance(n_trials, int) or n_trials < 0):
        raise OptionError(f"search: n_trials must be a whole number of 0 or more, got {n_trials!r}")
    of = {"search": {"space": {k: repr(v) for k, v in space.items()}, "method": method, "seed": seed,
                     "direction": direction}}  # fmt: skip
    if log is not None and not Path(log).absolute().parent.is_dir():
        raise OptionError(f"search: the folder of the log is not there: {log}")
    path = None if log is None else Path(log)
    done = [] if path is None else _logged(path, of)
    trials: Result = Result()
    tries = {"grid": _grid, "random": _random, "bayes": _bayes}[method](space, seed, direction)
    for number in range(n_trials) if n_trials is not None else itertools.count():
        params = next(tries, None)
        if params is None:
            break
        if number < len(done):
            if done[number]["params"] != _plain(params):
                raise DataError(f"{path}: trial {number} has other parameters, {done[number]['params']}, not {params}; "
                                "it is the log of another search, or of another version of optuna")  # fmt: skip
            value = float(done[number]["value"])
        else:
            value = _figure(objective(dict(params)), params)
            if path is not None:
                _append(path, {"trial": number, "params": params, "value": value})
        trials.append(Trial(number, params, value))
        tries.send(value)  # type: ignore[attr-defined]
    sign = 1.0 if direction == "min" else -1.0
    return Result(sorted(trials, key=lambda t: (math.isnan(t.value), sign * t.value, t.number)))


def _figure(found: Any, params: dict[str, Any]) -> float:
    try:
        return float(found)
    except (TypeError, ValueError):
        raise OptionError(
            f"search: the objective must give a number, or NaN for a failure; for {params} it gave {found!r}"[:300]
        ) from None


# Each gives parameters, and is then sent what they gave, for which it gives nothing back


def _grid(space: Mapping[str, Any], seed: int, direction: str) -> Iterator[Any]:
    lists = [choices.points() if isinstance(choices, (Uniform, Integers)) else choices for choices in space.values()]
    for values in itertools.product(*lists):
        yield dict(zip(space, values, strict=True))
        yield None


def _random(space: Mapping[str, Any], seed: int, direction: str) -> Iterator[Any]:
    generator = Generator(seed)
    while True:
        shares = generator.uniform((len(space),), dtype="float64").tolist()
        yield {
            name: choices.at(share) if isinstance(choices, (Uniform, Integers)) else choices[int(share * len(choices))]
            for (name, choices), share in zip(space.items(), shares, strict=True)
        }
        yield None


def _bayes(space: Mapping[str, Any], seed: int, direction: str) -> Iterator[Any]:
    try:
        import optuna
    except ImportError as problem:
        raise MissingDependency("search(method='bayes') needs optuna: pip install 'tinygrad_mlsp[search]'") from problem
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed), direction="minimize" if direction == "min" else "maximize"
        )
        while True:
            trial = study.ask()
            params = {}
            for name, choices in space.items():
                if isinstance(choices, Uniform):
                    params[name] = trial.suggest_float(name, choices.low, choices.high, log=choices.log)
                elif isinstance(choices, Integers):
                    params[name] = trial.suggest_int(name, choices.low, choices.high, log=choices.log)
                else:  # optuna knows choices of a few types only, a list has any: it chooses the place
                    params[name] = choices[trial.suggest_categorical(name, range(len(choices)))]
            value = yield params
            if value is None or math.isnan(value):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, value)
            yield None
    finally:
        optuna.logging.set_verbosity(before)


# The log


def _plain(value: Any) -> Any:
    """What JSON makes of it."""
    return json.loads(json.dumps(value, default=repr))


def _append(path: Path, entry: dict[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry, default=repr) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _logged(path: Path, of: dict[str, Any]) -> list[dict[str, Any]]:
    """The trials in the log, which is begun if there is none; a last line that was cut off is taken away."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if not whole:
        path.write_text("", encoding="utf-8")
        _append(path, of)
        return []
    if len(whole) < len(text):
        part = path.with_name(f".{path.name}.part")
        part.write_text(whole, encoding="utf-8")
        os.replace(part, path)
    try:
        head, *lines = [json.loads(line) for line in whole.splitlines()]
        right = all(line["trial"] == i and {"params", "value"} <= set(line) for i, line in enumerate(lines))
    except (ValueError, KeyError, TypeError) as problem:
        raise DataError(f"{path} is not the log of a search: {problem}") from None
    if not right or head != _plain(of):
        raise DataError(f"{path} is the log of another search, of {str(head)[:300]}; this one is {_plain(of)}")
    return lines
