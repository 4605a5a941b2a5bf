"""What is searched: each swept key as an axis with an Optuna distribution and exact Hydra override texts."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, QuotedString, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_sweep.errors import SweepError

MOST_LISTED = 10_000  # points of a space with intervals of integers or steps; one with more is treated as continuous
Point = dict[str, Any]  # parameter -> value
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Axis:
    """One swept key. Its overrides are the texts of the command line, so that Hydra reads the same values back."""

    key: str  # as in the override, with its + or @
    distribution: BaseDistribution
    choices: Mapping[Any, str] | None  # value -> override text; None = an interval

    @property
    def name(self) -> str:
        return self.key.lstrip("+")

    @property
    def values(self) -> Sequence[Any] | None:
        """All values, in their order; None for a continuous interval, or one of very many steps."""
        if self.choices is not None:
            return list(self.choices)
        numbers = self.distribution
        assert isinstance(numbers, FloatDistribution | IntDistribution)
        if numbers.step is None or (numbers.high - numbers.low) / numbers.step >= MOST_LISTED:
            return None
        if isinstance(numbers, IntDistribution):
            return range(numbers.low, numbers.high + 1, numbers.step)
        return _decimals(numbers.low, numbers.step, round((numbers.high - numbers.low) / numbers.step) + 1)

    @property
    def first(self) -> Any:
        if self.choices is not None:
            return next(iter(self.choices))
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        return self.distribution.low

    @property
    def last(self) -> Any:
        if self.choices is not None:
            return list(self.choices)[-1]
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        return self.distribution.high

    def nearest(self, value: Any) -> Any:
        """The nearest of the values: a sampler adds up binary fractions, and misses them by a little."""
        values = self.values
        return value if values is None or value in values else min(values, key=lambda other: abs(other - value))

    def override(self, value: Any) -> str:
        return f"{self.key}={text(value) if self.choices is None else self.choices[self.nearest(value)]}"

    def describe(self) -> str:
        if self.choices is not None:
            return ", ".join(self.choices.values())
        distribution = self.distribution
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        kind = "integer " if isinstance(distribution, IntDistribution) else ""
        step = f", step {distribution.step}" if distribution.step not in (None, 1) else ""
        return f"{kind}{distribution.low} to {distribution.high}{', log' if distribution.log else ''}{step}"


@dataclass(frozen=True)
class Space:
    """All swept keys, and what every trial has in common.

    `x=1,2 y=range(0,3) seed=7` is a space of 2 x 3 points, with `seed=7` fixed. A space of choices and ranges only is
    discrete; one with few integers or steps is listed, too; with an interval of floats its size is infinite.
    """

    axes: Mapping[str, Axis]  # by name
    fixed: tuple[str, ...]  # overrides that every trial gets, ~deletes too

    @property
    def is_discrete(self) -> bool:
        return all(axis.choices is not None for axis in self.axes.values())

    @property
    def size(self) -> float:
        """Number of points, or infinity."""
        return math.prod(math.inf if axis.values is None else len(axis.values) for axis in self.axes.values())

    @property
    def is_listed(self) -> bool:
        """Whether its points can be listed: it has choices, and besides only few integers or steps."""
        return self.is_discrete or self.size <= MOST_LISTED

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {name: axis.distribution for name, axis in self.axes.items()}

    @property
    def first(self) -> Point:
        """The point with each axis at its first value, or its lower end."""
        return {name: axis.first for name, axis in self.axes.items()}

    def points(self) -> Iterator[Point]:
        """Every point of a listed space, the last axis fastest, as with Hydra's own sweeper."""
        values = [axis.values or () for axis in self.axes.values()]
        for combination in itertools.product(*values):
            yield dict(zip(self.axes, combination, strict=True))

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """The task overrides for a trial's parameters; a name that is no axis comes from the custom search space."""
        swept = [
            self.axes[name].override(value) if name in self.axes else f"{name}={text(value)}"
            for name, value in params.items()
        ]
        return [*self.fixed, *swept]

    def without_fixed(self, point: Mapping[str, Any]) -> Point:
        """A starting point without the keys that an override fixes: they are not searched."""
        fixed = {line.partition("=")[0].lstrip("+") for line in self.fixed}
        return {name: value for name, value in point.items() if name in self.axes or name not in fixed}

    def check_point(self, point: Mapping[str, Any]) -> None:
        """Raises SweepError if a starting point has a key that is not swept, or a value outside the space."""
        for name, value in point.items():
            if name not in self.axes:
                raise SweepError(f"enqueue: {name} is not swept; swept are {', '.join(self.axes) or 'no keys'}")
            axis = self.axes[name]
            inside = value in axis.choices if axis.choices is not None else _contains(axis.distribution, value)
            if not inside:
                raise SweepError(f"enqueue: {name}={value} is outside {axis.describe()}")

    def describe(self) -> dict[str, str]:
        """Each parameter with what is searched, in words: {"x": "0.1 to 1.0, log"}."""
        return {name: axis.describe() for name, axis in self.axes.items()}


def parse_space(
    params: Mapping[str, Any], search_space: Mapping[str, Any], arguments: Sequence[str], config_loader: ConfigLoader
) -> Space:
    """The space of `hydra.sweeper.params`, the older `search_space` and the command line; the last one given wins.

    Raises SweepError for an interval that goes down or a sweep over nothing.
    """
    parser = OverridesParser.create(config_loader)  # with the loader it can list the choices that a glob stands for
    axes = {key.lstrip("+"): _axis_from_mapping(key, value) for key, value in search_space.items()}
    fixed: dict[str, str] = {}
    lines = [f"{key}={_param_text(value)}" for key, value in params.items()]
    for override in parser.parse_overrides([*lines, *arguments]):
        key = override.get_key_element()
        name = key.lstrip("+~")
        axes.pop(name, None)
        fixed.pop(name, None)
        if override.is_sweep_override():
            axes[name] = _axis(key, override)
        else:
            assert override.input_line is not None
            fixed[name] = override.input_line
    return Space(axes, tuple(fixed.values()))


def text(value: Any) -> str:
    """A value as Hydra reads it back exactly."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{text(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text, value)) + "]"
    return quote(str(value))


def quote(value: str) -> str:
    escaped = value.replace("\\'", "\\\\'").replace("'", "\\'")
    if escaped.endswith("\\"):
        escaped += "\\"
    return f"'{escaped}'"


def _param_text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_param_text(item) for item in value) + "]"
    return value if isinstance(value, str) else text(value)


def _axis(key: str, override: Override) -> Axis:
    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        return Axis(key, _interval(key, sweep), None)
    if isinstance(sweep, RangeSweep) and isinstance(sweep.start, float):
        texts = _decimal_range(sweep)
    else:
        texts = list(dict.fromkeys(override.sweep_string_iterator()))
    parser = OverridesParser.create()
    choices = {_plain(parser.parse_override(f"{key}={item}").value(), item): item for item in texts}
    if not choices:
        raise SweepError(f"{override.input_line}: there is nothing to sweep over")
    if isinstance(sweep, RangeSweep) and not sweep.shuffle and len(choices) > 1:
        return Axis(key, _range(list(choices)), choices)
    return Axis(key, CategoricalDistribution(list(choices)), choices)


def _plain(value: Any, item: str) -> Scalar:
    if isinstance(value, QuotedString):
        return value.text
    return value if isinstance(value, str | int | float | bool | None) else item


def _interval(key: str, sweep: IntervalSweep) -> BaseDistribution:
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None
    assert high is not None
    if low > high or (log and low <= 0):
        raise SweepError(
            f"{key}: an interval goes up{', above 0 with a log scale' if log else ''}; got {low} to {high}"
        )
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _decimal_range(sweep: RangeSweep) -> list[str]:
    """range(0.1, 0.4, 0.1) is 0.1, 0.2, 0.3; adding up binary fractions gives noise, and sometimes the end, too."""
    start, stop, step = (Decimal(repr(value)) for value in (sweep.start, sweep.stop, sweep.step))
    values = [repr(value) for value in _decimals(sweep.start, sweep.step, max(0, math.ceil((stop - start) / step)))]
    if sweep.shuffle:
        random.shuffle(values)
    return values


def _decimals(start: Any, step: Any, count: int) -> list[float]:
    start, step = Decimal(repr(start)), Decimal(repr(step))
    return [float(start + index * step) for index in range(count)]


def _range(values: list[Any]) -> BaseDistribution:
    step = values[1] - values[0]
    if step < 0:
        return CategoricalDistribution(values)
    if all(isinstance(value, int) for value in values):
        return IntDistribution(values[0], values[-1], step=step)
    step = float(Decimal(repr(values[1])) - Decimal(repr(values[0])))
    return FloatDistribution(values[0], values[-1], step=step)


def _axis_from_mapping(key: str, spec: Any) -> Axis:
    if not isinstance(spec, Mapping) or "type" not in spec:
        raise SweepError(f"search_space.{key} must be {{type, low, high}} or {{type, choices}}, got {spec}; see params")
    kind, log, step = str(spec["type"]), bool(spec.get("log", False)), spec.get("step")
    if kind == "categorical":
        choices = {value: text(value) for value in spec["choices"]}
        return Axis(key, CategoricalDistribution(list(choices)), choices)
    if kind == "int":
        return Axis(key, IntDistribution(int(spec["low"]), int(spec["high"]), log=log, step=int(step or 1)), None)
    if kind == "float":
        return Axis(key, FloatDistribution(float(spec["low"]), float(spec["high"]), log=log, step=step), None)
    raise SweepError(f"search_space.{key}.type must be one of int, float, categorical, got {kind}")


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and distribution._contains(distribution.to_internal_repr(value))
