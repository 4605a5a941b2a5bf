"""Pictures of a study for its parent run: Optuna's, and what the app adds."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hydra.types import HydraContext
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from optuna_sweep.outcome import Outcome
from optuna_sweep.plan.plan import Plan, compose
from optuna_sweep.study.ledger import Ledger

MIN_TRIALS_FOR_IMPORTANCE = 10
CAVEAT = (
    "Share of the variation among the {count} complete trials, inside the ranges that were searched.\n"
    "An estimate from few trials of one seed: the order can change with more, and a flat\n"
    "objective has importances too. Look at the contour before you trust it."
)

Draw = Callable[[], Any]  # returns matplotlib axes, or an array of them


@contextmanager
def forgiving(what: str) -> Iterator[None]:
    """What only helps to look at results must not cost them."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  a plotting library, the app's report, a server that is away
        print(f"no {what}: {type(error).__name__}: {error}", file=sys.stderr)


def draw_study(plan: Plan, ledger: Ledger) -> Iterator[Path]:
    """PNGs in the sweep's folder, those for which there are trials enough."""
    if ledger.count(TrialState.COMPLETE) == 0:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    for name, draw in _plots(plan, ledger).items():
        path = plan.sweep_dir / f"{name}.png"
        with forgiving(path.name):
            _save(draw, path)
            yield path


def attach_report(plan: Plan, found: Outcome, context: HydraContext) -> Iterator[Path]:
    """What `hydra.sweeper.report` makes of what was found."""
    if plan.report is None:
        return
    with forgiving("report"):
        config = OmegaConf.create(compose(context, plan.config, plan.space.fixed))
        yield from plan.report(config, found, plan.sweep_dir)


def _plots(plan: Plan, ledger: Ledger) -> dict[str, Draw]:
    from optuna.visualization import matplotlib as plots

    study, complete = ledger.study, [trial for trial in ledger.trials if trial.state == TrialState.COMPLETE]
    varying = _varying(complete)
    several = len(plan.metrics) > 1
    drawn: dict[str, Draw] = {}
    for index, metric in enumerate(plan.metrics):
        of: dict[str, Any] = {"target": partial(_value, index=index) if several else None, "target_name": metric}
        end = f"_{index}" if several else ""
        drawn[f"history{end}"] = partial(_draw_history, study, **of)
        if varying:
            drawn[f"parallel_coordinates{end}"] = partial(plots.plot_parallel_coordinate, study, varying, **of)
        if len(varying) > 1 and len(complete) > 2:
            drawn[f"contour{end}"] = partial(plots.plot_contour, study, varying[:3], **of)
        if len(varying) > 1 and len(complete) >= MIN_TRIALS_FOR_IMPORTANCE:
            drawn[f"importance{end}"] = partial(_draw_importance, study, len(complete), varying, **of)
    if len(plan.metrics) == 2:
        names = list(plan.metrics)
        drawn["pareto_front"] = partial(plots.plot_pareto_front, study, target_names=names)
    return drawn


def _draw_history(study: Any, **of: Any) -> Any:
    from matplotlib.ticker import MaxNLocator
    from optuna.visualization.matplotlib import plot_optimization_history

    axes = plot_optimization_history(study, **of)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no trial 0.25
    return axes


def _draw_importance(study: Any, count: int, params: list[str], **of: Any) -> Any:
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


def _varying(trials: list[FrozenTrial]) -> list[str]:
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    return [name for name in names if len({repr(trial.params.get(name)) for trial in trials}) > 1]


def _value(trial: FrozenTrial, index: int) -> float:
    return float(trial.values[index])
