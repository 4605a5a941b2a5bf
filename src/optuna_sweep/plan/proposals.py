"""Asks the sampler for a point in a study of its own: one that no trial has yet, or one that paused trials suggest."""

import optuna
from optuna.trial import TrialState, create_trial

from optuna_sweep.plan.space import Point, Space
from optuna_sweep.rungs import Rungs
from optuna_sweep.study.ledger import DONE, OPEN, planned_params
from optuna_sweep.study.promotion import as_observed

ATTEMPTS = 10
LEARN_FROM_VALUES = ("GPSampler", "TPESampler")  # others keep what they know in the study's own trials


def propose(study: optuna.Study, space: Space, rungs: Rungs | None) -> Point | None:
    """The next point that the sampler proposes; on a listed space see propose_unseen.

    rungs: at which trials pause, if they do.
    """
    if space.is_listed:
        return propose_unseen(study, space, rungs)
    return dict(_shadow(study, space, rungs).ask(space.distributions).params)


def propose_unseen(study: optuna.Study, space: Space, rungs: Rungs | None = None) -> Point | None:
    """The next point that the sampler proposes and no trial has; None when every point has a trial.

    After ATTEMPTS proposals of points that are taken, one of the rest is chosen, the same for the same study.
    """
    trials = study.get_trials(deepcopy=False)
    taken = [planned_params(trial) for trial in trials if trial.state in (*DONE, *OPEN)]
    unseen = [point for point in space.points() if point not in taken]
    if not unseen:
        return None
    shadow = _shadow(study, space, rungs)
    for _ in range(ATTEMPTS):
        asked = shadow.ask(space.distributions)
        point = {name: space.axes[name].nearest(value) for name, value in asked.params.items()}
        if point in unseen:
            return point
        shadow.tell(asked, state=TrialState.FAIL)
    return unseen[len(trials) * 7919 % len(unseen)]  # scattered, and the same each time


def learns_from_values(sampler: str) -> bool:
    """Whether a sampler, the path of its class, can be asked in a study of its own."""
    return sampler.endswith(LEARN_FROM_VALUES)


def _shadow(study: optuna.Study, space: Space, rungs: Rungs | None) -> optuna.Study:
    """A study with the same sampler, and with the trials as the sampler is to see them."""
    trials = study.get_trials(deepcopy=False)
    shadow = optuna.create_study(directions=study.directions)
    shadow.sampler = study.sampler
    done = (
        [trial for trial in trials if trial.state in DONE]
        if rungs is None
        else as_observed(trials, rungs, study.direction)
    )
    shadow.add_trials(done)
    seen = {trial.number for trial in done}
    for trial in trials:
        if trial.state == TrialState.RUNNING and trial.number not in seen and trial.params.keys() >= space.axes.keys():
            point = {name: trial.params[name] for name in space.axes}
            running = create_trial(state=TrialState.RUNNING, params=point, distributions=space.distributions)
            shadow.add_trial(running)
    return shadow
