"""What is optimized, and how it is read from what a task returned."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna_sweep.errors import SweepError
from optuna_sweep.states import Direction


@dataclass(frozen=True)
class Objective:
    """One direction for each metric; several metrics are several objectives, with a Pareto front.

    >>> Objective(("loss",), ("minimize",)).values({"loss": 0.5, "accuracy": 0.9})
    [0.5]
    """

    metrics: tuple[str, ...]  # names for tables, and the keys to read if the task returns a dict
    directions: tuple[Direction, ...]

    def values(self, returned: Any) -> list[float]:
        """The objective values in what a task returned; ValueError says what is wrong with it."""
        if isinstance(returned, Mapping):
            missing = [name for name in self.metrics if name not in returned]
            if missing:
                raise ValueError(f"the task returned no {missing[0]}; it has {', '.join(map(str, returned))}")
            returned = [returned[name] for name in self.metrics]
        values = returned if isinstance(returned, list) else [returned]
        if len(values) != len(self.directions):
            raise ValueError(f"the task returned {len(values)} values for {len(self.directions)} objectives")
        for value in values:
            try:
                finite = math.isfinite(float(value))
            except (TypeError, ValueError):
                raise ValueError(f"the task must return a number, got {value!r}") from None
            if not finite:
                raise ValueError(f"the objective is {value}")
        return [float(value) for value in values]


def objective_of(direction: Any, metric: Any) -> Objective:
    """From `hydra.sweeper.direction` and `.metric`, each a text or a list. SweepError if they do not fit together."""
    directions = tuple(direction) if isinstance(direction, list) else (direction,)
    for name in directions:
        if name not in ("minimize", "maximize"):
            raise SweepError(f"hydra.sweeper.direction must be minimize or maximize, got {name}")
    return Objective(_metrics(metric, len(directions)), directions)


def _metrics(metric: Any, count: int) -> tuple[str, ...]:
    if metric is None:
        return ("value",) if count == 1 else tuple(f"value_{index}" for index in range(count))
    names = tuple(map(str, metric)) if isinstance(metric, list) else (str(metric),)
    if len(names) != count:
        raise SweepError(f"{len(names)} metrics ({', '.join(names)}) need as many directions, got {count}")
    return names
