"""Optuna's plots of a study, for its parent run."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial

from optuna_sweep.errors import warn_instead
from optuna_sweep.outcome import Outcome, TrialResult

MIN_TRIALS_FOR_IMPORTANCE = 10
CAVEAT = (
    "Share of the variation among the {count} complete trials, inside the ranges that were searched.\n"
    "An estimate from few trials of one seed: the order can change with more, and a flat\n"
    "objective has importances too. Look at the contour before you trust it."
)

Draw = Callable[[], Any]  # returns matplotlib axes, or an array of them


def draw_study(outcome: Outcome, study: Study) -> Iterator[Path]:
    """Yields the PNGs that it writes to the sweep's folder: those plots for which there are enough trials.

    study: Optuna's own, because its plots take nothing else.
    """
    if not outcome.complete:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    for name, draw in _plots(outcome, study).items():
        path = outcome.sweep_dir / f"{name}.png"
        with warn_instead(f"no {path.name}"):
            _save(draw, path)
            yield path


def _plots(outcome: Outcome, study: Study) -> dict[str, Draw]:
    from optuna.visualization import matplotlib as plots

    count, varying = len(outcome.complete), _varying(outcome.complete)
    several = len(outcome.metrics) > 1
    drawn: dict[str, Draw] = {}
    for index, metric in enumerate(outcome.metrics):
        of: dict[str, Any] = {"target": partial(_value, index=index) if several else None, "target_name": metric}
        end = f"_{index}" if several else ""
        drawn[f"history{end}"] = partial(_draw_history, study, **of)
        if varying:
            drawn[f"parallel_coordinates{end}"] = partial(plots.plot_parallel_coordinate, study, varying, **of)
        if len(varying) > 1 and count > 2:
            drawn[f"contour{end}"] = partial(plots.plot_contour, study, varying[:3], **of)
        if len(varying) > 1 and count >= MIN_TRIALS_FOR_IMPORTANCE:
            drawn[f"importance{end}"] = partial(_draw_importance, study, count, varying, **of)
    if len(outcome.metrics) == 2:
        drawn["pareto_front"] = partial(plots.plot_pareto_front, study, target_names=list(outcome.metrics))
    return drawn


def _draw_history(study: Study, **of: Any) -> Any:
    from matplotlib.ticker import MaxNLocator
    from optuna.visualization.matplotlib import plot_optimization_history

    axes = plot_optimization_history(study, **of)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no trial 0.25
    return axes


def _draw_importance(study: Study, count: int, params: list[str], **of: Any) -> Any:
    from optuna.visualization.matplotlib import plot_param_importances

    axes = plot_param_importances(study, params=params, **of)
    axes.figure.text(0.01, -0.02, CAVEAT.format(count=count), va="top", fontsize=9)
    return axes


def _save(draw: Draw, path: Path) -> None:
    from matplotlib import pyplot, rc_context

    try:
        with warnings.catch_warnings(), rc_context():  # Optuna changes the style of all later pictures
            warnings.simplefilter("ignore")  # all of these plots are experimental to Optuna
            figure = np.ravel(draw())[0].figure
            figure.set_size_inches(8, 6)
            figure.savefig(path, dpi=100, bbox_inches="tight")
    finally:
        pyplot.close("all")


def _varying(trials: list[TrialResult]) -> list[str]:
    """Parameters with at least two values: a plot of the others shows nothing."""
    trials = sorted(trials, key=lambda trial: trial.number)
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    return [name for name in names if len({repr(trial.params.get(name)) for trial in trials}) > 1]


def _value(trial: FrozenTrial, index: int) -> float:
    return float(trial.values[index])
