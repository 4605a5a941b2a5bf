"""Promotion with pause, as a pruner of Optuna: jobs ask it whether a trial pauses, the sweeper which one continues."""

import copy
from collections.abc import Iterable
from math import isfinite

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_sweep.rungs import Curve, Rungs
from optuna_sweep.states import PROMOTED_FROM

ENOUGH = 10  # trials at a rung for a sampler to learn from, as many as its n_startup_trials


class PromotionPruner(optuna.pruners.BasePruner):
    """Successive halving whose stopped trials are paused, not lost: the rule is `rungs`.

    max_paused: how many trials may be paused at each rung, with their checkpoints on this machine.
    Raises ValueError if it is below 1, or the rungs are impossible.

    >>> pruner = PromotionPruner(min_resource=1, reduction_factor=3, progressive=False, max_paused=5)
    >>> study = optuna.create_study(pruner=pruner)
    >>> trial = study.ask()
    >>> trial.report(0.5, step=1)
    >>> trial.should_prune()  # one third of one trial is none: it pauses
    True
    """

    def __init__(self, *, min_resource: int, reduction_factor: int, progressive: bool, max_paused: int) -> None:
        if max_paused < 1:
            raise ValueError(f"hydra.sweeper.pruner.max_paused must be at least 1, got {max_paused}")
        self.rungs = Rungs(min_resource, reduction_factor, progressive)
        self.max_paused = max_paused

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial pauses after its last report.

        Not twice at one rung: a promoted trial that has lost its checkpoint passes the rung once more.
        """
        rung = self.rungs.reached(trial.intermediate_values)
        if not self.rungs.is_at_rung(trial.intermediate_values) or rung == trial.user_attrs.get(PROMOTED_FROM):
            return False
        curves = curves_of(study.get_trials(deepcopy=False), study.direction)
        return not self.rungs.continues(curves, trial.number)


def as_observed(trials: Iterable[FrozenTrial], rungs: Rungs, direction: StudyDirection) -> list[FrozenTrial]:
    """The trials for a sampler, which would not learn from paused ones: COMPLETE, with their values at one rung.

    Those that have not come to that rung are left out. See Rungs.observed.
    """
    by_number = {trial.number: trial for trial in trials}
    values = rungs.observed(curves_of(by_number.values(), direction), ENOUGH)
    return [
        _complete(by_number[number], _sign(direction) * value) for number, value in values.items() if isfinite(value)
    ]


def _complete(trial: FrozenTrial, value: float) -> FrozenTrial:
    complete = copy.copy(trial)
    complete.state, complete.values = TrialState.COMPLETE, [value]
    complete.datetime_complete = trial.datetime_complete or trial.datetime_start
    return complete


def curves_of(trials: Iterable[FrozenTrial], direction: StudyDirection) -> dict[int, Curve]:
    """What the trials have reported, the higher the better. Failed ones are left out: another one repeats them."""
    return {
        trial.number: {step: _sign(direction) * value for step, value in trial.intermediate_values.items()}
        for trial in trials
        if trial.state != TrialState.FAIL
    }


def _sign(direction: StudyDirection) -> int:
    return 1 if direction == StudyDirection.MAXIMIZE else -1
