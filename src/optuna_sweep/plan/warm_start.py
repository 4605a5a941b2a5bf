"""What earlier searches teach a new one: where their best trials lie (`hydra.sweeper.warm_start`).

The new search begins with the centre of each earlier study's best trials, and looks only into the box that holds the
best trials of all of them, as in Perrone et al. 2019 (https://arxiv.org/abs/1909.12552); a margin, and a least width,
leave room for other data to differ. Choices are not narrowed.
"""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import optuna
import yaml
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from optuna_sweep.errors import SweepError
from optuna_sweep.plan.objective import Objective
from optuna_sweep.plan.space import Axis, Point, Space
from optuna_sweep.study.identity import IDENTITY
from optuna_sweep.study.storage import open_storage

BEST_SHARE, FEWEST_BEST = 0.25, 3  # of a study's trials; one alone may be luck
MARGIN = 0.1  # of an axis, at each end of the box
LEAST_WIDTH = 1 / 3  # of an axis, that is still searched
RESULTS, TRIALS = "optimization_results.yaml", "trials.csv"


class Past(NamedTuple):
    """The best trials of an earlier study, as far as they have axes of the new space, best first."""

    name: str
    best: list[Point]


def learn(names: Sequence[str], space: Space, objective: Objective, storage: Any) -> list[Past]:
    """names: folders or results files of sweeps, or studies of the storage.

    Raises SweepError if one cannot be read, had another aim, or tells nothing about this space.
    """
    if names and len(objective.directions) > 1:
        raise SweepError("hydra.sweeper.warm_start needs one objective")
    aim = (objective.metrics[0], objective.directions[0])
    return [_past(name, space, aim, storage) for name in names]


def narrowed(space: Space, past: Sequence[Past], keep: Iterable[Point]) -> Space:
    """The space with each interval cut to where the best trials lie. keep: further points that must lie inside."""
    points = [*(point for each in past for point in each.best), *keep]
    axes = {name: _cut(axis, [point[name] for point in points if name in point]) for name, axis in space.axes.items()}
    return replace(space, axes=axes)


def first_points(space: Space, past: Sequence[Past]) -> list[Point]:
    """The centre of each study's best trials: an axis that it did not search is left to the sampler."""
    centres = [
        {
            name: _centre(axis, [point[name] for point in each.best if name in point])
            for name, axis in space.axes.items()
            if any(name in point for point in each.best)
        }
        for each in past
    ]
    return [point for index, point in enumerate(centres) if point not in centres[:index]]


def _past(name: str, space: Space, aim: tuple[str, str], storage: Any) -> Past:
    found = _of_results(name, aim) if Path(name).exists() else _of_study(name, aim, storage)
    sign = 1 if aim[1] == "minimize" else -1
    ranked = sorted(found, key=lambda pair: sign * pair[1])
    known = [
        {key: axis.nearest(params[key]) for key, axis in space.axes.items() if _fits(axis, params.get(key))}
        for params, _ in ranked
    ]
    known = [point for point in known if point]
    if not known:
        raise SweepError(f"warm_start: {name} has no COMPLETE trial with {' or '.join(space.axes)} in this space")
    return Past(name, known[: max(FEWEST_BEST, math.ceil(BEST_SHARE * len(known)))])


def _of_results(name: str, aim: tuple[str, str]) -> list[tuple[Mapping[str, Any], float]]:
    """The COMPLETE trials of a sweep's folder, or of a file in it."""
    folder = Path(name) if Path(name).is_dir() else Path(name).parent
    try:
        summary = yaml.safe_load((folder / RESULTS).read_text(encoding="utf-8"))
        with (folder / TRIALS).open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["state"] == "COMPLETE"]
        _check_aim(name, (str(summary["metric"]), str(summary["direction"])), aim)
        return [({key: yaml.safe_load(value) for key, value in row.items()}, float(row[aim[0]])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SweepError(f"warm_start: {name} is no folder of a sweep's results: {reason}") from error


def _of_study(name: str, aim: tuple[str, str], storage: Any) -> list[tuple[Mapping[str, Any], float]]:
    try:
        study = optuna.load_study(study_name=name, storage=open_storage(storage))
    except KeyError:
        raise SweepError(f"warm_start: {name} is neither a file or folder nor a study of this storage") from None
    metric = study.user_attrs.get(IDENTITY, {}).get("metric", aim[0])
    _check_aim(name, (metric, ", ".join(direction.name.lower() for direction in study.directions)), aim)
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [(trial.params, trial.values[0]) for trial in trials]


def _check_aim(name: str, was: tuple[str, str], aim: tuple[str, str]) -> None:
    if was != aim:
        raise SweepError(f"warm_start: {name} was to {was[1]} {was[0]}, this sweep is to {aim[1]} {aim[0]}")


def _fits(axis: Axis, value: Any) -> bool:
    if axis.choices is not None:
        return value in axis.choices
    return isinstance(value, int | float) and axis.first <= value <= axis.last


def _cut(axis: Axis, values: Sequence[float]) -> Axis:
    distribution = axis.distribution
    if axis.choices is not None or not values:
        return axis
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    to_scale, to_value = (math.log, math.exp) if distribution.log else (float, float)
    start, end = to_scale(distribution.low), to_scale(distribution.high)
    low, high = to_scale(min(values)) - MARGIN * (end - start), to_scale(max(values)) + MARGIN * (end - start)
    missing = max(0.0, LEAST_WIDTH * (end - start) - (high - low)) / 2
    ends = to_value(max(start, low - missing)), to_value(min(end, high + missing))
    bounds = [float(f"{end:.4g}") for end in ends]  # people read them; the margin is wider than what that cuts off
    if isinstance(distribution, FloatDistribution):
        if distribution.step is not None:
            return axis
        new = max(distribution.low, bounds[0]), min(distribution.high, bounds[1])
        return replace(axis, distribution=FloatDistribution(*new, log=distribution.log))
    if distribution.step != 1:
        return axis
    whole = max(distribution.low, math.floor(bounds[0])), min(distribution.high, math.ceil(bounds[1]))
    return replace(axis, distribution=IntDistribution(*whole, log=distribution.log))


def _centre(axis: Axis, values: Sequence[Any]) -> Any:
    """The mean on the scale of the search; of choices the most frequent one."""
    if axis.choices is not None:
        return Counter(values).most_common(1)[0][0]
    distribution = axis.distribution
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    mean = math.exp(fmean(map(math.log, values))) if distribution.log else fmean(values)
    return axis.nearest(round(mean) if isinstance(distribution, IntDistribution) else mean)
