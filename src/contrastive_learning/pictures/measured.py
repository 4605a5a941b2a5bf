"""What runs measured over the numbers that a sweep varied, with the spread over the seeds."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from contrastive_learning.pictures.fonts import families, hangul_family, legible

LOG_FROM = 3  # a ratio of the largest to the smallest value from which an axis is logarithmic
SHADES = "cividis"  # also for colour-blind people
PLAIN, BASELINE = "#174f8f", "#b34700"


class Measured(NamedTuple):
    """One configuration."""

    numbers: Mapping[str, float]  # what was swept -> its value; empty of a baseline
    values: Mapping[str, Sequence[float]]  # measure -> one value per seed, without seeds that lack it
    is_fresh: bool = False  # on seeds that the search has not seen


def draw_measured(
    configurations: Sequence[Measured],
    baseline: Measured | None,
    *,
    numbers: Sequence[str],
    measures: Sequence[str],
    least_widths: Mapping[str, float],
    baseline_name: str,
) -> Figure:
    """Has a row per measure and a column per number: dots are means, bars standard deviations over the seeds.

    numbers, measures: keys of the configurations, which are also the axes' labels. With two numbers, the colour of a
    dot is the other number's value. least_widths: measure -> below which differences are noise, so that no axis is
    narrower.
    """
    apart = ConstrainedLayoutEngine(wspace=0.05)  # the ends of colour bars
    width, height = 4.4 * len(numbers) + 0.6, 2.5 * len(measures) + (1.5 if len(numbers) == 2 else 0.7)
    figure = Figure(figsize=(width, height), dpi=100, facecolor="white", layout=apart)
    panels = figure.subplots(len(measures), len(numbers), sharex="col", sharey="row", squeeze=False)
    hangul = hangul_family() if any("가" <= mark <= "힣" for mark in "".join(measures)) else None
    for column, number in enumerate(numbers):
        shades = _shades(configurations, numbers[1 - column]) if len(numbers) == 2 else None
        for row, measure in enumerate(measures):
            axes = panels[row, column]
            _draw(axes, configurations, number, measure, shades, numbers[1 - column] if shades else None)
            _draw_baseline(axes, baseline, measure)
            name = legible(measure, "score", hangul) if column == 0 else ""
            axes.set_ylabel(name, fontsize=11, fontfamily=families([name], hangul))
            axes.ticklabel_format(axis="y", useOffset=False)
            axes.grid(color="#e4e4e4", linewidth=0.8)
            axes.set_axisbelow(True)
        panels[-1, column].set_xlabel(number, fontsize=12)
        if shades is not None:
            bar = figure.colorbar(shades, ax=list(panels[:, column]), location="top", aspect=40, pad=0.02)
            bar.set_label(f"colour: {numbers[1 - column]}", fontsize=11)
            ticks = _ticks([each.numbers[numbers[1 - column]] for each in configurations])
            bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
            bar.minorticks_off()
    for axes, measure in zip(panels[:, 0], measures, strict=True):  # after all is drawn: a row has one axis
        _widen(axes, least_widths[measure])
    handles = list(_legend(configurations, baseline, baseline_name))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(numbers), frameon=False, fontsize=11)
    FigureCanvasAgg(figure)
    return figure


def _draw(
    axes: Axes,
    configurations: Sequence[Measured],
    number: str,
    measure: str,
    shades: ScalarMappable | None,
    other: str | None,
) -> None:
    places = [each.numbers[number] for each in configurations]
    axes.set_xscale("log" if _is_log(places) else "linear")
    axes.set_xticks(_ticks(places), labels=[f"{tick:.2g}" for tick in _ticks(places)])
    axes.minorticks_off()
    for each in configurations:
        values = each.values.get(measure, ())
        if not values:
            continue
        colour: Any = PLAIN if shades is None or other is None else shades.to_rgba(np.array([each.numbers[other]]))[0]
        look: dict[str, Any] = {"color": colour, "marker": "D" if each.is_fresh else "o", "markeredgecolor": "#1a1a1a"}
        spread = stdev(values) if len(values) > 1 else None
        axes.errorbar(
            each.numbers[number], fmean(values), yerr=spread, **look, markersize=8, capsize=4, elinewidth=1.6, zorder=3
        )


def _widen(axes: Axes, least: float) -> None:
    low, high = axes.get_ylim()
    beyond = max(0.0, least - (high - low)) / 2
    axes.set_ylim(low - beyond, high + beyond)


def _draw_baseline(axes: Axes, baseline: Measured | None, measure: str) -> None:
    values = () if baseline is None else baseline.values.get(measure, ())
    if values:
        mean, spread = fmean(values), stdev(values) if len(values) > 1 else 0.0
        axes.axhline(mean, color=BASELINE, linestyle="--", linewidth=1.4)
        axes.axhspan(mean - spread, mean + spread, color=BASELINE, alpha=0.12, linewidth=0)


def _legend(configurations: Sequence[Measured], baseline: Measured | None, baseline_name: str) -> list[Line2D]:
    look: dict[str, Any] = {"color": "#8a8a8a", "linestyle": "", "markeredgecolor": "#1a1a1a", "markersize": 8}
    handles = []
    for is_fresh, marker, name in ((False, "o", "search"), (True, "D", "on fresh seeds")):
        seeds = [len(values) for each in configurations if each.is_fresh == is_fresh for values in each.values.values()]
        if seeds:
            handles.append(Line2D([], [], marker=marker, label=f"{name}, {_of_seeds(max(seeds))}", **look))
    if baseline is not None:
        seeds = [len(values) for values in baseline.values.values()]
        label = f"{baseline_name}, {_of_seeds(max(seeds, default=1))}"
        handles.append(Line2D([], [], color=BASELINE, linestyle="--", label=label))
    return handles


def _of_seeds(number: int) -> str:
    return "one seed" if number == 1 else f"mean ± sd of {number} seeds"


def _shades(configurations: Sequence[Measured], number: str) -> ScalarMappable:
    values = [each.numbers[number] for each in configurations]
    low, high = min(values), max(values)
    return ScalarMappable(LogNorm(low, high) if _is_log(values) else Normalize(low, high), SHADES)


def _ticks(values: Sequence[float]) -> list[float]:
    """The ends and the middle."""
    low, high = min(values), max(values)
    return list(dict.fromkeys((low, math.sqrt(low * high) if _is_log(values) else (low + high) / 2, high)))


def _is_log(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) >= LOG_FROM
