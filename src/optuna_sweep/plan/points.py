"""Composes the points of a sweep and has the application check them, before the first trial and in a dry run."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from optuna_sweep.errors import SweepError, innermost
from optuna_sweep.plan.space import Point, Space

MOST_REASONS = 5  # in one line
MOST_CHECKED = 1000  # points; more would keep a person waiting for longer than a trial that fails costs


def points_to_check(space: Space, points: Sequence[Point] | None, enqueue: Sequence[Point]) -> list[Point]:
    """Every point of a grid; of a search its corners, each value of each choice once, and the starting points."""
    if points is not None:
        return list(points[:MOST_CHECKED])
    first, last = space.first, {name: axis.last for name, axis in space.axes.items()}
    choices = ((name, value) for name, axis in space.axes.items() for value in list(axis.choices or [])[1:])
    found = [first, last, *(first | point for point in enqueue), *(first | {name: value} for name, value in choices)]
    return found[:MOST_CHECKED]


def check_points(
    context: HydraContext,
    config: DictConfig,
    space: Space,
    points: Sequence[Point],
    check: Callable[[DictConfig], Any] | None,
) -> None:
    """Raises SweepError with what cannot be composed, or what `check` refuses: each reason once, with its first point
    and the number of points.

    Without a point if all are refused for the same reason: that is not in what is swept.

    check: raises ValueError, or what Hydra raises for a node that cannot be built.
    """
    refused: list[tuple[Point, Exception]] = []
    composed = _Composed(context, config, space)
    for point in points:
        try:
            found = composed.at(point)
            if check is not None:
                check(found)
        except (ValueError, HydraException, OmegaConfBaseException) as error:
            refused.append((point, error))
    if not refused:
        return
    cause = refused[0][1]
    reasons: dict[str, list[Point]] = {}
    for point, why in refused:
        reasons.setdefault(str(innermost(why)), []).append(point)
    if len(refused) == len(points) and len(reasons) == 1:
        if isinstance(cause, HydraException):
            raise cause
        raise SweepError(next(iter(reasons))) from cause
    named = [
        " ".join(space.overrides(found[0])[len(space.fixed) :])
        + f": {reason}"
        + f" ({len(found)} such points)" * (len(found) > 1)
        for reason, found in list(reasons.items())[:MOST_REASONS]
    ]
    more = f"; and {len(reasons) - MOST_REASONS} more reasons" if len(reasons) > MOST_REASONS else ""
    raise SweepError(f"{len(refused)} of {len(points)} points are refused: {'; '.join(named)}{more}") from cause


class _Composed:
    """The task's configuration at each point.

    To compose takes a fifth of a second; so the points that choose the same of the config groups share one
    configuration, in which only the other values are set anew.
    """

    def __init__(self, context: HydraContext, config: DictConfig, space: Space) -> None:
        self.context, self.config, self.space = context, config, space
        loader = context.config_loader
        self.values = [name for name, axis in space.axes.items() if axis.key == name and not _is_group(name, loader)]
        self.parsed = cache(OverridesParser.create(loader).parse_override)
        self.by_choices: dict[str, DictConfig] = {}

    def at(self, point: Point) -> DictConfig:
        """Valid until the next call."""
        choices = str({name: value for name, value in point.items() if name not in self.values})
        if choices not in self.by_choices:
            self.by_choices[choices] = self._compose(point)
            return self.by_choices[choices]
        config = self.by_choices[choices]
        for name in self.values:
            if name in point:
                OmegaConf.update(config, name, self.parsed(self.space.axes[name].override(point[name])).value())
        return config

    def _compose(self, point: Point) -> DictConfig:
        composed = self.context.config_loader.load_sweep_config(self.config, self.space.overrides(point))
        with read_write(composed), open_dict(composed):
            del composed["hydra"]
        return composed


def _is_group(name: str, loader: Any) -> bool:
    return "@" in name or "/" in name or bool(loader.get_group_options(name))
