"""Promotion with pause, as a pruner of Optuna: jobs ask it whether a trial pauses, the sweeper which one continues."""

from collections.abc import Iterable

import optuna
from optuna.trial import FrozenTrial, TrialState

from optuna_sweep.rungs import Curve, Rungs


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
        """Whether the trial pauses after its last report."""
        if not self.rungs.is_at_rung(trial.intermediate_values):
            return False
        curves = curves_of(study.get_trials(deepcopy=False), study.direction)
        return not self.rungs.continues(curves, trial.number)


def curves_of(trials: Iterable[FrozenTrial], direction: optuna.study.StudyDirection) -> dict[int, Curve]:
    """What the trials have reported, the higher the better. Failed ones are left out: another one repeats them."""
    sign = 1 if direction == optuna.study.StudyDirection.MAXIMIZE else -1
    return {
        trial.number: {step: sign * value for step, value in trial.intermediate_values.items()}
        for trial in trials
        if trial.state != TrialState.FAIL
    }
