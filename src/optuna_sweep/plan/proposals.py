"""Asks the sampler for a point that no trial has yet: on small spaces samplers repeat themselves."""

import optuna
from optuna.trial import TrialState, create_trial

from optuna_sweep.plan.space import Point, Space
from optuna_sweep.study.ledger import DONE, OPEN, planned_params

ATTEMPTS = 10


def propose_unseen(study: optuna.Study, space: Space) -> Point | None:
    """The next point that the sampler proposes and no trial has; None when every point has a trial.

    After ATTEMPTS proposals of points that are taken, one of the rest is chosen, the same for the same study.
    """
    trials = study.get_trials(deepcopy=False)
    taken = [planned_params(trial) for trial in trials if trial.state in (*DONE, *OPEN)]
    unseen = [point for point in space.points() if point not in taken]
    if not unseen:
        return None
    shadow = optuna.create_study(directions=study.directions)
    shadow.sampler = study.sampler
    shadow.add_trials([trial for trial in trials if trial.state in DONE])
    for point in (planned_params(trial) for trial in trials if trial.state == TrialState.RUNNING):
        running = create_trial(state=TrialState.RUNNING, params=point, distributions=space.distributions)
        shadow.add_trial(running)
    for _ in range(ATTEMPTS):
        asked = shadow.ask(space.distributions)
        point = {name: space.axes[name].nearest(value) for name, value in asked.params.items()}
        if point in unseen:
            return point
        shadow.tell(asked, state=TrialState.FAIL)
    return unseen[len(trials) * 7919 % len(unseen)]  # scattered, and the same each time
