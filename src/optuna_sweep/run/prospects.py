"""How sure the best value so far is, and how long the rest of a search takes; from what the study knows already."""

import math
from collections.abc import Sequence
from statistics import fmean

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_sweep.comparison import interval_of_mean
from optuna_sweep.plan.plan import Plan
from optuna_sweep.states import INTERVAL
from optuna_sweep.study.promotion import curves_of


def interval_of(best: FrozenTrial, trials: Sequence[FrozenTrial]) -> tuple[float, float] | None:
    """The 95 % interval of the best value: over its seeds or, with one, over what its task measured it on."""
    values = _seed_values(best)
    if len(values) > 1:
        return interval_of_mean(values, map(_seed_values, trials))
    low, high = best.user_attrs.get(INTERVAL, (math.nan, math.nan))
    return None if math.isnan(low) else (low, high)


def seconds_left(plan: Plan, trials: Sequence[FrozenTrial], num_slots: int) -> tuple[float, bool] | None:
    """For a search with promotion: the seconds, and whether it takes at least so long.

    That is so until a trial has come to its end, which tells how many steps that is. None before the first pause.
    """
    assert plan.promotion is not None
    rungs = plan.promotion.rungs
    begun = [trial for trial in trials if trial.state != TrialState.FAIL and trial.last_step is not None]
    paid = [trial for trial in begun if trial.user_attrs.get("seconds")]
    if not paid:
        return None
    per_step = sum(trial.user_attrs["seconds"] for trial in paid) / sum(trial.last_step or 0 for trial in paid)
    whole = max((trial.last_step or 0 for trial in paid if trial.state == TrialState.COMPLETE), default=None)
    direction = StudyDirection.MAXIMIZE if plan.objective.directions[0] == "maximize" else StudyDirection.MINIMIZE
    top = rungs.top_rung(curves_of(trials, direction))
    steps, num_ended = rungs.expected_steps(plan.num_trials, whole, top)
    steps -= sum(trial.last_step or 0 for trial in begun)
    if whole is not None:  # further seeds run in trials that come to their end
        done = sum(trial.state == TrialState.COMPLETE for trial in paid)
        steps += (len(plan.seeds) - 1) * whole * max(0, num_ended - done)
    return max(0, steps) * per_step / num_slots, whole is None


def seconds_of_run(trials: Sequence[FrozenTrial]) -> float | None:
    """The mean time of a run that has come to its end; None while there is none."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.user_attrs.get("seconds")]
    each = [trial.user_attrs["seconds"] / max(1, len(_seed_values(trial))) for trial in complete]
    return fmean(each) if each else None


def _seed_values(trial: FrozenTrial) -> list[float]:
    return [value for value, *_ in trial.user_attrs.get("seed_values", ())]
