"""Which trial runs next: one that waits in the study, else one that the sampler proposes."""

from optuna.trial import FrozenTrial, Trial, TrialState

from optuna_sweep.plan.plan import Plan
from optuna_sweep.plan.proposals import propose_unseen
from optuna_sweep.plan.samplers import make_sampler
from optuna_sweep.study.ledger import DONE, Ledger


class Queue:
    """The trials of a plan that are still to begin or to continue.

    queue = Queue(plan, ledger)
    with ledger.locked():
        trial = queue.claim() if queue.has_next() else None
    """

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self._plan, self._ledger = plan, ledger
        self._has_sampler = False

    def has_next(self) -> bool:
        if self._plan.points is not None:
            return self._ledger.count(TrialState.WAITING) > 0
        return self._ledger.count(*DONE, TrialState.RUNNING) < self._plan.num_trials

    def claim(self) -> Trial | None:
        """The next trial, RUNNING and owned by this process; None when all points of the space are taken.

        Call it with the lock held.
        """
        ledger, plan = self._ledger, self._plan
        if plan.points is None:
            self._make_sampler()
        if plan.points is None and self._waiting() is None and plan.extend is None and plan.space.is_listed:
            point = propose_unseen(ledger.study, plan.space)
            if point is None:
                return None
            ledger.study.enqueue_trial(point)
        return ledger.claim(self._waiting())

    def _waiting(self) -> FrozenTrial | None:
        return next((trial for trial in self._ledger.trials if trial.state == TrialState.WAITING), None)

    def _make_sampler(self) -> None:
        if not self._has_sampler:
            trials = self._ledger.trials
            owners = {trial.user_attrs["owner"] for trial in trials if "owner" in trial.user_attrs}
            seed = len(trials) + len(owners)  # two commands never have the same: each claims a trial in its turn
            sampler = make_sampler(self._plan.settings.sampler, self._plan.sampler, seed)
            self._ledger.study.sampler = sampler
            self._has_sampler = True
