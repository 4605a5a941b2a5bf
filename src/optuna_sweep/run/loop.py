"""Ask, launch, tell, until the plan is done or a limit says stop:

recover what a killed sweep has left RUNNING
while trials are left, or jobs run:
    for each free slot:
        under the lock, claim a trial: a paused one that may continue, else a queued one, else one of the sampler
        complete it at once if its result is known; else start its first job
    for each job that has ended:
        send the study the reports that the job could not send
        start the job of the trial's next seed; after the last, tell the study the mean of the values
        (or PRUNED or FAIL; a trial whose process died is enqueued again), and close its MLflow run;
        a trial that pauses waits for its promotion
tell the study that the trials which are still paused are PRUNED
"""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from optuna_sweep.errors import SweepError, warn_instead
from optuna_sweep.plan.job import Job
from optuna_sweep.plan.plan import Plan
from optuna_sweep.record.parent import Record
from optuna_sweep.run.left_behind import Done, first_ending, saved_runs, send_late_reports
from optuna_sweep.run.limits import Limits
from optuna_sweep.run.progress import Progress
from optuna_sweep.run.queue import Queue
from optuna_sweep.run.seed_race import is_out_of_the_race
from optuna_sweep.run.slots import Ending, Slots
from optuna_sweep.study.ledger import Ledger
from optuna_sweep.study.reports import UNSENT_FILE
from optuna_sweep.trial import RESULT_FILE

POLL_SECONDS = 0.5


@dataclass
class OpenTrial:
    """A trial that this command runs."""

    params: Mapping[str, Any]
    is_retry: bool = False
    continues: bool = False
    started: float = field(default_factory=time.time)
    done: list[Done] = field(default_factory=list)  # one for each seed


class Loop:
    """Keeps the slots busy with the trials of a plan; the module's docstring has the steps.

    The study in the ledger is the truth; the loop only remembers which trials are its own. So several commands can
    run loops on one study, and a new one can take over from one that was killed:

        loop = Loop(plan, ledger, record, slots, progress)
        loop.recover()
        ledger.add_missing(plan.points or [])
        try:
            stopped_by = loop.run()
        except KeyboardInterrupt:
            slots.stop()
            loop.abandon("interrupted")
            raise
    """

    def __init__(self, plan: Plan, ledger: Ledger, record: Record, slots: Slots, progress: Progress) -> None:
        self.plan, self.ledger, self.record, self.slots, self.progress = plan, ledger, record, slots, progress
        self.limits = Limits(plan.settings, slots.num_slots, plan.answered)
        self._open: dict[int, OpenTrial] = {}
        self._next_seeds: deque[Job] = deque()
        self._queue = Queue(plan, ledger)

    def recover(self) -> None:
        """For trials that a killed sweep has left RUNNING: take their results, or repeat or continue them."""
        with self.ledger.locked():
            for trial in self.ledger.abandoned():
                self._recover_abandoned(trial, counts=True)
            self.record.reconcile(self.ledger.trials)

    def run(self) -> str | None:
        """Returns which limit ended the search early, if one did. Raises SweepError if failures ended it."""
        stop: str | None = None
        while True:
            while len(self.slots.running) < self.slots.num_slots:
                stop = stop or self.limits.reason_to_stop(self.ledger)
                job = self._next_job(stop)
                if job is None:
                    stop = stop or self.limits.reason_to_stop(self.ledger)
                    break
                for file in (RESULT_FILE, UNSENT_FILE):
                    (job.folder / file).unlink(missing_ok=True)
                self.slots.start(job)
            if not self.slots.running:
                if not self._waits_for_others(stop):
                    break
                time.sleep(POLL_SECONDS)
            for job, ending in self.slots.wait(POLL_SECONDS):
                self._on_job_end(job, ending)
            with self.ledger.storage.patience.unless_away():
                self.progress.update(self.ledger, list(self._open))
        if self.limits.broken is not None:
            raise SweepError(f"stopped: {self.limits.broken}; the first error was: {self.limits.first_error}")
        with self.ledger.locked():
            if not self.ledger.running_here():  # else another command may promote them
                self._give_up(self._queue.paused())
        return stop

    def abandon(self, reason: str) -> None:
        """The jobs are gone: enqueue their trials for the next start, as they are or as new ones."""
        with self.ledger.locked():
            for trial in self.ledger.own():  # one may have been claimed, but not begun
                if self.plan.settings.continue_interrupted:
                    self._recover_abandoned(trial, counts=False)
                else:
                    self.ledger.fail(trial.number, reason)
                    self.ledger.requeue(trial, counts=False)
            with warn_instead("not every trial is recorded yet"):
                self.record.reconcile(self.ledger.trials)  # one may have ended, but not been recorded
        self._open.clear()

    def _next_job(self, stop: str | None) -> Job | None:
        if self._next_seeds:
            return self._next_seeds.popleft()
        while self.limits.broken is None and self._queue.has_next(ended=stop is not None):
            self.record.wait()  # a job that cannot open its MLflow run would fail
            with self.ledger.locked():  # the next command that asks sees these parameters, and proposes others
                ended = stop is not None
                trial = self._queue.claim(ended=ended) if self._queue.has_next(ended=ended) else None
                if trial is None:
                    return None
                try:
                    params = self._params(trial)
                except Exception as error:
                    self.ledger.fail(trial.number, f"{type(error).__name__}: {error}")
                    raise
                if not self._finished_without_a_job(trial):
                    return self._opened(trial, params)
            stop = stop or self.limits.reason_to_stop(self.ledger)
        return None

    def _waits_for_others(self, stop: str | None) -> bool:
        """Whether what other commands on this machine run now may yet let a paused trial continue here."""
        if self.plan.promotion is None or not self.ledger.running_here():
            return False
        return stop is None or self.ledger.best() is None

    def _finished_without_a_job(self, trial: optuna.Trial) -> bool:
        """Finish the trial here if this command need not, or cannot, run it. Returns whether it did."""
        if "continues" in trial.user_attrs:
            if (self.plan.sweep_dir / self.plan.folder(trial.number, 0)).exists():
                return False
            self.ledger.fail(trial.number, "its folder was deleted or is on another machine; another trial repeats it")
            self.ledger.requeue(self.ledger.trial(trial.number), counts=False)
            self.progress.finished(self.ledger, self.ledger.trial(trial.number))
            return True
        known = self.ledger.find_complete(trial.params)
        if known is not None:  # the sampler has converged, for example at a corner of the space
            self.ledger.reuse(trial.number, known)
            self.progress.finished(self.ledger, self.ledger.trial(trial.number))
        return known is not None

    def _opened(self, trial: optuna.Trial, params: Mapping[str, Any]) -> Job:
        continues = "continues" in trial.user_attrs
        is_retry = "retry_of" in trial.user_attrs or trial.user_attrs.get("retries", 0) > 0
        done = saved_runs(self.plan, trial.number) if continues else []
        self._open[trial.number] = OpenTrial(params, is_retry, continues, done=done)
        return self._job(trial.number, len(done))

    def _params(self, trial: optuna.Trial) -> dict[str, Any]:
        for name, distribution in self.plan.space.distributions.items():
            trial._suggest(name, distribution)
        if self.plan.extend is not None:
            self.plan.extend(self.plan.config, trial)
            fixed = {line.partition("=")[0] for line in self.plan.space.fixed}
            if both := fixed & trial.params.keys():
                raise SweepError(f"custom_search_space suggests {', '.join(sorted(both))}, which the overrides fix")
        return dict(trial.params)

    def _job(self, number: int, seed_index: int) -> Job:
        parent, alarm = self.record.parent_run_id, not self.slots.streams
        trial = self._open[number]
        job = self.plan.job(number, trial.params, seed_index, parent=parent, alarm=alarm, continues=trial.continues)
        return replace(job, is_retry=trial.is_retry)

    def _on_job_end(self, job: Job, ending: Ending) -> None:
        self.limits.window = self.progress.num_slots = self.slots.num_slots  # there may be more than before
        trial = self._open[job.trial_number]
        send_late_reports(self.ledger, job.trial_number, job.folder)
        if ending.state == "ok":
            try:
                trial.done.append(Done(self.plan.objective.values(ending.value), ending.doubt))
            except ValueError as error:
                ending = Ending("failed", reason=str(error))
        if ending.state == "ok" and len(trial.done) < len(self.plan.seeds):
            if not is_out_of_the_race(self.plan, self.ledger.trials, trial.done):
                self._next_seeds.append(self._job(job.trial_number, len(trial.done)))
                return
            reason = f"after {len(trial.done)} of {len(self.plan.seeds)} seeds it can hardly become the best"
            self._note(job.trial_number, reason=reason)
            ending = Ending("pruned")
        self._finish_trial(job.trial_number, trial, ending)
        del self._open[job.trial_number]

    def _finish_trial(self, number: int, trial: OpenTrial, ending: Ending) -> None:
        study = self.ledger.study
        folder = str(self.plan.job(number, trial.params, 0, parent=None, alarm=False).folder)
        before = self.ledger.trial(number).user_attrs.get("seconds", 0.0)  # of a trial that was paused
        self._note(number, output_dir=folder, seconds=round(before + time.time() - trial.started, 3))
        if ending.state == "paused":
            self._pause(number)
            return
        values, doubts = [done.values for done in trial.done], [done.doubt for done in trial.done]
        if len(self.plan.seeds) > 1 and values:
            self._note(number, seed_values=values)
        if any(doubts):
            self._note(number, seed_doubts=doubts)
        if ending.state == "ok":
            means = [fmean(each) for each in zip(*values, strict=True)]
            study.tell(number, means, skip_if_finished=True)
        elif ending.state == "pruned":
            study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            reason = ending.reason if ending.state != "timeout" else f"timeout: {ending.reason}"
            self.ledger.fail(number, reason, ending.trace)
            if ending.state == "died":
                self._retry(self.ledger.trial(number))
            elif ending.state == "lost":
                self.ledger.requeue(self.ledger.trial(number), counts=False)
        reason = f"trial {number}: {ending.reason}"
        if ending.state == "refused":
            self.limits.stop_as_misconfigured(reason)
        if ending.state != "lost":
            self.limits.count(failed=ending.state not in ("ok", "pruned"), reason=reason)
        self._record_end(number)

    def _pause(self, number: int) -> None:
        assert self.plan.promotion is not None
        with self.ledger.locked():
            trial = self.ledger.trial(number)
            self.ledger.pause(trial, self.plan.promotion.rungs.reached(trial.intermediate_values) or 0)
            self._record_end(number)
            self._give_up(self._queue.surplus())
        self.limits.count(failed=False, reason="")

    def _give_up(self, trials: Iterable[FrozenTrial]) -> None:
        """Make paused trials PRUNED. A trial loses its checkpoints first: a kill between the two leaves none behind."""
        for trial in trials:
            with warn_instead(f"the checkpoints of trial {trial.number} stay"):
                self.plan.discard(self.plan.sweep_dir / self.plan.folder(trial.number, 0))
            self.ledger.give_up(trial)
            self._record_end(trial.number)

    def _record_end(self, number: int) -> None:
        """Mirror the state of a trial that has ended or paused in the record, and tell it."""
        trial = self.ledger.trial(number)
        # locked, because MLflow fails if two processes set a new tag of a run at once; `reconcile` repeats what failed
        with self.ledger.locked(), warn_instead(f"trial {number} is not recorded yet"):
            self.record.close_trial(trial)
        self.progress.finished(self.ledger, trial)
        with self.ledger.locked(), warn_instead("the parent run does not say how far the search is"):
            self.record.running(lambda: self.progress.state(self.ledger))

    def _recover_abandoned(self, trial: FrozenTrial, *, counts: bool) -> None:
        """Finish a trial without a process from what its jobs have left, or have it run again.

        counts: whether that is one of the max_retries.
        """
        for seed_index in range(len(self.plan.seeds)):
            folder = self.plan.sweep_dir / self.plan.folder(trial.number, seed_index)
            send_late_reports(self.ledger, trial.number, folder)
        has_params = trial.params.keys() >= set(self.plan.space.axes)  # else it was killed before its job started
        done = saved_runs(self.plan, trial.number) if has_params else []
        first = first_ending(self.plan, trial.number) if has_params else None
        if len(done) == len(self.plan.seeds):
            self._finish_trial(trial.number, OpenTrial(trial.params, done=done), Ending("ok"))
        elif first is not None and (first.state == "pruned" or (first.state == "paused" and self.plan.promotion)):
            self._finish_trial(trial.number, OpenTrial(trial.params), first)
        elif self.plan.settings.continue_interrupted and (self._may_retry(trial) or not counts):
            begun = (self.plan.sweep_dir / self.plan.folder(trial.number, 0)).exists()
            self.ledger.put_back(trial, counts=counts, begun=begun)
        else:
            self.ledger.fail(trial.number, "the sweep that ran it was killed")
            self._retry(trial)

    def _retry(self, trial: FrozenTrial) -> None:
        if self._may_retry(trial):
            self.ledger.requeue(trial, counts=True)

    def _may_retry(self, trial: FrozenTrial) -> bool:
        retries: int = trial.user_attrs.get("retries", 0)
        return retries < self.plan.settings.max_retries

    def _note(self, number: int, **attributes: Any) -> None:
        for name, value in attributes.items():
            self.ledger.storage.set_trial_user_attr(self.ledger.trial_id(number), name, value)
