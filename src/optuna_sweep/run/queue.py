"""Which trial runs next: a paused one that may continue, else one that waits, else one that the sampler proposes."""

from collections import Counter
from collections.abc import Sequence

from optuna.trial import FrozenTrial, Trial, TrialState

from optuna_sweep.plan.plan import Plan
from optuna_sweep.plan.proposals import learns_from_values, propose
from optuna_sweep.plan.samplers import make_sampler
from optuna_sweep.states import paused_at
from optuna_sweep.study.ledger import DONE, Ledger
from optuna_sweep.study.promotion import curves_of


class Queue:
    """The trials of a plan that are still to begin or to continue.

    ended: whether a limit has ended the search. Then, and when all trials have begun, the most promising paused one
    continues until there is a COMPLETE trial: the search is to have a best.

        queue = Queue(plan, ledger)
        with ledger.locked():
            trial = queue.claim(ended=False) if queue.has_next(ended=False) else None
    """

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self._plan, self._ledger = plan, ledger
        self._has_sampler = False

    def has_next(self, *, ended: bool) -> bool:
        trials = self._ledger.trials
        return self._promoted(trials, ended=ended) is not None or (not ended and self._has_new(trials))

    def claim(self, *, ended: bool) -> Trial | None:
        """The next trial, RUNNING and owned by this process; None when all points of the space are taken.

        Call it with the lock held, if there is a next one.
        """
        ledger, plan = self._ledger, self._plan
        if plan.points is None:
            self._make_sampler()
        trials = ledger.trials
        next_one = self._promoted(trials, ended=ended) or self._waiting(trials)
        if next_one is None and self._proposes():
            point = propose(ledger.study, plan.space, None if plan.promotion is None else plan.promotion.rungs)
            if point is None:
                return None
            ledger.study.enqueue_trial(point)
            next_one = self._waiting(ledger.trials)
        return ledger.claim(next_one)

    def _proposes(self) -> bool:
        """Whether a new trial's point is proposed in a study of its own, not drawn as the trial begins."""
        plan = self._plan
        learns_from_paused = plan.promotion is not None and learns_from_values(plan.sampler)
        return plan.points is None and plan.extend is None and (plan.space.is_listed or learns_from_paused)

    def paused(self) -> list[FrozenTrial]:
        """The paused trials whose folders are on this machine, the most promising first."""
        return self._paused(self._ledger.trials)

    def surplus(self) -> list[FrozenTrial]:
        """The paused trials beyond the best max_paused of each rung, the least promising first."""
        kept: Counter[int | None] = Counter()
        found = []
        for trial in self.paused():
            kept[paused_at(trial)] += 1
            assert self._plan.promotion is not None
            if kept[paused_at(trial)] > self._plan.promotion.max_paused:
                found.append(trial)
        return found[::-1]

    def _paused(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        plan = self._plan
        if plan.promotion is None:
            return []
        paused = [trial.number for trial in trials if paused_at(trial) is not None]
        here = [number for number in paused if (plan.sweep_dir / plan.folder(number, 0)).exists()]
        curves = curves_of(trials, self._ledger.study.direction)
        return [trials[number] for number in plan.promotion.rungs.ranked(curves, here)]

    def _promoted(self, trials: Sequence[FrozenTrial], *, ended: bool) -> FrozenTrial | None:
        """The paused trial that continues next, because it deserves it or for want of a COMPLETE one."""
        promotion, paused = self._plan.promotion, self._paused(trials)
        if promotion is None or not paused:
            return None
        if not ended:
            curves = curves_of(trials, self._ledger.study.direction)
            number = promotion.rungs.next_promoted(curves, [trial.number for trial in paused])
            if number is not None:
                return trials[number]
        is_over = ended or not self._has_new(trials)
        has_best = any(trial.state == TrialState.COMPLETE for trial in trials)
        return paused[0] if is_over and not has_best and not self._ledger.running_here() else None

    def _has_new(self, trials: Sequence[FrozenTrial]) -> bool:
        if self._plan.points is not None:
            return self._waiting(trials) is not None
        begun = [trial for trial in trials if trial.state in (*DONE, TrialState.RUNNING) or self._is_paused(trial)]
        return len(begun) < self._plan.num_trials

    def _waiting(self, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """The first trial that waits for a slot, not for its promotion."""
        waits = (trial for trial in trials if trial.state == TrialState.WAITING and not self._is_paused(trial))
        return next(waits, None)

    def _is_paused(self, trial: FrozenTrial) -> bool:
        """With another pruner than before, paused trials wait like all others."""
        return self._plan.promotion is not None and paused_at(trial) is not None

    def _make_sampler(self) -> None:
        if not self._has_sampler:
            trials = self._ledger.trials
            owners = {trial.user_attrs["owner"] for trial in trials if "owner" in trial.user_attrs}
            seed = len(trials) + len(owners)  # two commands never have the same: each claims a trial in its turn
            sampler = make_sampler(self._plan.settings.sampler, self._plan.sampler, seed)
            self._ledger.study.sampler = sampler
            self._has_sampler = True
