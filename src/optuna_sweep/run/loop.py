"""Ask, launch, tell, until the plan is done or a limit says stop:

recover what a killed sweep has left RUNNING
while trials are left, or jobs run:
    for each free slot:
        under the lock, claim a trial: a queued one, else one that the sampler proposes
        complete it at once if its result is known; else start its first job
    for each job that has ended:
        send the study the reports that the job could not send
        start the job of the trial's next seed; after the last, tell the study the mean of the values
        (or PRUNED or FAIL; a trial whose process died is enqueued again), and close its MLflow run
"""

import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from optuna_sweep.errors import SweepError, warn_instead
from optuna_sweep.plan.job import Job
from optuna_sweep.plan.plan import Plan
from optuna_sweep.plan.proposals import propose_unseen
from optuna_sweep.plan.samplers import make_sampler
from optuna_sweep.record.parent import Record
from optuna_sweep.run.limits import Limits
from optuna_sweep.run.progress import Progress
from optuna_sweep.run.slots import Ending, Slots, saved_ending
from optuna_sweep.study.ledger import DONE, Ledger
from optuna_sweep.study.reports import UNSENT_FILE, open_trial, unsent
from optuna_sweep.trial import RESULT_FILE

POLL_SECONDS = 0.5
CLAIMING_SECONDS = 5.0  # by far more than a command needs to put its name into a trial that it has asked for


class Done(NamedTuple):
    """A run that ended well."""

    values: list[float]  # of the objectives
    doubt: str  # see CurrentTrial.set_doubt


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
        self._sampler_made = False

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
            if not self.slots.running and not self._recovered_ownerless():
                break
            for job, ending in self.slots.wait(POLL_SECONDS):
                self._on_job_end(job, ending)
            with self.ledger.storage.patience.unless_away():
                self.progress.update(self.ledger, list(self._open))
        if self.limits.broken is not None:
            raise SweepError(f"stopped: {self.limits.broken}; the first error was: {self.limits.first_error}")
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
        while stop is None and self._has_next():
            self.record.wait()  # a job that cannot open its MLflow run would fail
            with self.ledger.locked():  # the next command that asks sees these parameters, and proposes others
                trial = self._claim() if self._has_next() else None
                if trial is None:
                    return None
                try:
                    params = self._params(trial)
                except Exception as error:
                    self.ledger.fail(trial.number, f"{type(error).__name__}: {error}")
                    raise
                if not self._finished_without_a_job(trial):
                    return self._opened(trial, params)
            stop = self.limits.reason_to_stop(self.ledger)
        return None

    def _finished_without_a_job(self, trial: optuna.Trial) -> bool:
        """Finish the trial here if this command need not, or cannot, run it. Returns whether it did."""
        if "continues" in trial.user_attrs:
            if (self.plan.sweep_dir / self.plan.folder(trial.number, 0)).exists():
                return False
            self.ledger.fail(
                trial.number, "interrupted on a machine whose folder is not here; another trial repeats it"
            )
            self.ledger.requeue(self.ledger.trials[trial.number], counts=False)
            return True
        known = self.ledger.find_complete(trial.params)
        if known is not None:  # the sampler has converged, for example at a corner of the space
            self.ledger.reuse(trial.number, known)
            self.progress.finished(self.ledger, self.ledger.trials[trial.number])
        return known is not None

    def _opened(self, trial: optuna.Trial, params: Mapping[str, Any]) -> Job:
        continues = "continues" in trial.user_attrs
        is_retry = continues or "retry_of" in trial.user_attrs
        done = self._saved(trial.number) if continues else []
        self._open[trial.number] = OpenTrial(params, is_retry, continues, done=done)
        return self._job(trial.number, len(done))

    def _recovered_ownerless(self) -> bool:
        """Recover trials whose claim was lost in an outage. Returns whether there were any: others take their place."""
        if not self.ledger.has_ownerless():
            return False
        time.sleep(CLAIMING_SECONDS)
        self.record.wait()
        self.recover()
        return True

    def _has_next(self) -> bool:
        if self.plan.points is not None:
            return self.ledger.count(TrialState.WAITING) > 0
        return self.ledger.count(*DONE, TrialState.RUNNING) < self.plan.num_trials

    def _claim(self) -> optuna.Trial | None:
        """The next trial, RUNNING and owned by this process; None when all points of the space are taken."""
        ledger, plan = self.ledger, self.plan
        waiting = ledger.count(TrialState.WAITING)
        if plan.points is None:
            self._make_sampler()
        if plan.points is None and not waiting and plan.extend is None and plan.space.is_listed:
            point = propose_unseen(ledger.study, plan.space)
            if point is None:
                return None
            ledger.study.enqueue_trial(point)
        trial = ledger.study.ask()
        trial.set_user_attr("owner", ledger.owner)
        return trial

    def _make_sampler(self) -> None:
        if not self._sampler_made:
            trials = self.ledger.trials
            owners = {trial.user_attrs["owner"] for trial in trials if "owner" in trial.user_attrs}
            seed = len(trials) + len(owners)  # two commands never have the same: each claims a trial in its turn
            sampler = make_sampler(self.plan.settings.sampler, self.plan.sampler, seed)
            self.ledger.study.sampler = sampler
            self._sampler_made = True

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
        trial = self._open[job.trial_number]
        self._send_late_reports(job.trial_number, job.folder)
        if ending.state == "ok":
            try:
                trial.done.append(Done(self.plan.objective.values(ending.value), ending.doubt))
            except ValueError as error:
                ending = Ending("failed", reason=str(error))
        if ending.state == "ok" and len(trial.done) < len(self.plan.seeds):
            self._next_seeds.append(self._job(job.trial_number, len(trial.done)))
            return
        self._finish_trial(job.trial_number, trial, ending)
        del self._open[job.trial_number]

    def _finish_trial(self, number: int, trial: OpenTrial, ending: Ending) -> None:
        study = self.ledger.study
        folder = str(self.plan.job(number, trial.params, 0, parent=None, alarm=False).folder)
        self._note(number, output_dir=folder, seconds=round(time.time() - trial.started, 3))
        if ending.state == "ok":
            values, doubts = map(list, zip(*trial.done, strict=True))
            if len(values) > 1:
                self._note(number, seed_values=values)
            if any(doubts):
                self._note(number, seed_doubts=doubts)
            means = [fmean(each) for each in zip(*values, strict=True)]
            study.tell(number, means, skip_if_finished=True)
        elif ending.state == "pruned":
            study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            reason = ending.reason if ending.state != "timeout" else f"timeout: {ending.reason}"
            self.ledger.fail(number, reason, ending.trace)
            if ending.state == "died":
                self._retry(self.ledger.trials[number])
            elif ending.state == "lost":
                self.ledger.requeue(self.ledger.trials[number], counts=False)
        reason = f"trial {number}: {ending.reason}"
        if ending.state == "refused":
            self.limits.stop_as_misconfigured(reason)
        if ending.state != "lost":
            self.limits.count(failed=ending.state not in ("ok", "pruned"), reason=reason)
        finished = self.ledger.trials[number]
        # locked, because MLflow fails if two processes set a new tag of a run at once; `reconcile` repeats what failed
        with self.ledger.locked(), warn_instead(f"trial {number} is not recorded yet"):
            self.record.close_trial(finished)
        self.progress.finished(self.ledger, finished)

    def _send_late_reports(self, number: int, folder: Path) -> None:
        """Send the reports that the job could not send during an outage. What the study refuses is printed."""
        calls = unsent(folder)
        if calls and not self.ledger.trials[number].state.is_finished():
            trial = open_trial(self.ledger.storage, self.plan.study_name, number)
            for call, *arguments in calls:
                try:
                    getattr(trial, call)(*arguments)
                except ValueError as error:
                    print(f"trial {number}: the study refuses {call}{tuple(arguments)}: {error}", file=sys.stderr)
        (folder / UNSENT_FILE).unlink(missing_ok=True)

    def _recover_abandoned(self, trial: FrozenTrial, *, counts: bool) -> None:
        """Finish a trial without a process from what its jobs have left, or have it run again.

        counts: whether that is one of the max_retries.
        """
        for seed_index in range(len(self.plan.seeds)):
            self._send_late_reports(trial.number, self.plan.sweep_dir / self.plan.folder(trial.number, seed_index))
        has_params = trial.params.keys() >= set(self.plan.space.axes)  # else it was killed before its job started
        done = self._saved(trial.number) if has_params else []
        first = self._saved_ending(trial.number, 0) if has_params else None
        if len(done) == len(self.plan.seeds):
            self._finish_trial(trial.number, OpenTrial(trial.params, done=done), Ending("ok"))
        elif first is not None and first.state == "pruned":
            self._finish_trial(trial.number, OpenTrial(trial.params), first)
        elif has_params and self.plan.settings.continue_interrupted and (self._may_retry(trial) or not counts):
            self.ledger.pause(trial, counts=counts)
        else:
            self.ledger.fail(trial.number, "the sweep that ran it was killed")
            self._retry(trial)

    def _saved(self, number: int) -> list[Done]:
        """The first seeds whose jobs have ended well, up to the first that has not."""
        done: list[Done] = []
        for index in range(len(self.plan.seeds)):
            ending = self._saved_ending(number, index)
            if ending is None or ending.state != "ok":
                break
            try:
                done.append(Done(self.plan.objective.values(ending.value), ending.doubt))
            except ValueError:
                break
        return done

    def _saved_ending(self, number: int, seed_index: int) -> Ending | None:
        return saved_ending(self.plan.sweep_dir / self.plan.folder(number, seed_index))

    def _retry(self, trial: FrozenTrial) -> None:
        if self._may_retry(trial):
            self.ledger.requeue(trial, counts=True)

    def _may_retry(self, trial: FrozenTrial) -> bool:
        retries: int = trial.user_attrs.get("retries", 0)
        return retries < self.plan.settings.max_retries

    def _note(self, number: int, **attributes: Any) -> None:
        for name, value in attributes.items():
            self.ledger.storage.set_trial_user_attr(self.ledger.trial_id(number), name, value)
