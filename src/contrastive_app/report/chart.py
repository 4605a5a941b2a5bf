"""The objective over each swept parameter, as points of an SVG chart."""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from contrastive_app.report.evidence import Arm, Evidence
from contrastive_app.report.wording import compact
from hydra_plugins.contrastive_sweeper.outcome import noise_width, seed_noise

WIDTH, HEIGHT = 300, 170  # of the plotting area, in the SVG's own units
MAX_CHARTS = 4
LOG_FROM = 3  # a ratio of the largest to the smallest value from which the axis is logarithmic
LETTER = 6.5  # average width of a letter in a tick's label


class Point(NamedTuple):
    x: float
    y: float
    mark: str  # best, baseline or nothing
    label: str


class Tick(NamedTuple):
    at: float
    label: str


class Chart(NamedTuple):
    name: str
    points: Sequence[Point]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    noise: float  # length on the y-axis of two standard deviations over seeds; 0 if they are not known


def charts(evidence: Evidence) -> Iterator[Chart]:
    """One chart per parameter with several values; with two objectives, one objective over the other comes first."""
    outcome = evidence.outcome
    if len(outcome.metrics) > 1:
        yield _chart(
            evidence, outcome.metrics[1], evidence.arms, [fmean(arm.objective(1).values()) for arm in evidence.arms]
        )
    for name in list(outcome.labels)[:MAX_CHARTS]:
        arms = [arm for arm in evidence.arms if name in arm.params]
        values = [arm.params[name] for arm in arms]
        if len({repr(value) for value in values}) > 1:
            yield _chart(evidence, outcome.labels[name], arms, values)


def _chart(evidence: Evidence, name: str, arms: Sequence[Arm], values: Sequence[Any]) -> Chart:
    places, x_ticks = _places(values)
    means = [fmean(arm.objective(0).values()) for arm in arms]
    low, high = _ends(means, noise_width(evidence.values()))
    digits = max(3, 1 - math.floor(math.log10(high - low)))
    points = [
        Point(
            WIDTH * place,
            HEIGHT * (1 - _share(mean, low, high)),
            "best" if set(arm.trials) & set(evidence.outcome.front) else "baseline" if arm.is_baseline else "",
            f"{name} {compact(value)}: {mean:.4f}",
        )
        for arm, value, place, mean in zip(arms, values, places, means, strict=True)
    ]
    y_ticks = [Tick(HEIGHT, f"{low:.{digits}f}"), Tick(0, f"{high:.{digits}f}")]
    noise = 2 * (seed_noise(evidence.values()) or 0) * HEIGHT / (high - low)
    points.sort(key=lambda point: point.mark != "")  # marked points on top
    return Chart(name, points, x_ticks, y_ticks, noise)


def _ends(means: Sequence[float], least: float) -> tuple[float, float]:
    """Of the axis that holds the means, at least so wide that noise does not fill it."""
    low, high = min(means), max(means)
    beyond = max(0.0, least - (high - low)) / 2
    return low - beyond, high + beyond


def _places(values: Sequence[Any]) -> tuple[list[float], list[Tick]]:
    """The place of each value on the axis, 0 to 1, and the ticks: numbers to scale, other values evenly spaced."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        names = list(dict.fromkeys(map(str, values)))
        places = {name: (index + 0.5) / len(names) for index, name in enumerate(names)}
        ticks = [Tick(WIDTH * place, _short(name, WIDTH / len(names))) for name, place in places.items()]
        return [places[str(value)] for value in values], ticks
    low, high = min(numbers), max(numbers)
    is_log = low > 0 and high / low >= LOG_FROM
    on_axis = [_share(*map(math.log, (value, low, high))) if is_log else _share(value, low, high) for value in numbers]
    return on_axis, [Tick(0, compact(low)), Tick(WIDTH, compact(high))]


def _short(name: str, width: float) -> str:
    """The name without its middle, if it is too long."""
    most = max(int(width / LETTER), 3)
    half = most // 2
    return name if len(name) <= most else f"{name[: most - half]}…{name[len(name) - half + 1 :]}"


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5
