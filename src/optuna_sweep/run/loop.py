"""Ask, launch, tell, until the plan is done or a limit says stop."""

import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from optuna_sweep.errors import SweepError
from optuna_sweep.plan.plan import Plan
from optuna_sweep.plan.proposals import propose_unseen
from optuna_sweep.plan.samplers import make_sampler
from optuna_sweep.record.parent import Record
from optuna_sweep.record.pictures import forgiving
from optuna_sweep.run.limits import Limits
from optuna_sweep.run.progress import Progress
from optuna_sweep.run.slots import Ending, Job, Slots, saved_ending
from optuna_sweep.study.ledger import DONE, Ledger
from optuna_sweep.study.reports import UNSENT_FILE, open_trial, unsent
from optuna_sweep.trial import RESULT_FILE

POLL_SECONDS = 0.5
SIGNING_SECONDS = 5.0  # by far more than a command needs between claiming a trial and signing it


@dataclass
class OpenTrial:
    params: Mapping[str, Any]
    is_retry: bool = False
    continues: bool = False
    started: float = field(default_factory=time.time)
    values: list[list[float]] = field(default_factory=list)  # of each seed that is done


class Loop:
    def __init__(self, plan: Plan, ledger: Ledger, record: Record, slots: Slots, progress: Progress) -> None:
        self.plan, self.ledger, self.record, self.slots, self.progress = plan, ledger, record, slots, progress
        self.limits = Limits(plan.settings, slots.num_slots)
        self._open: dict[int, OpenTrial] = {}
        self._next_seeds: deque[Job] = deque()
        self._sampler_made = False

    def recover(self) -> None:
        """Settle what a killed sweep left RUNNING: take its results, fail and repeat the rest."""
        with self.ledger.locked():
            for trial in self.ledger.abandoned():
                self._settle(trial, counts=True)
            self.record.reconcile(self.ledger.trials)

    def run(self) -> str | None:
        """Returns why it ended early, if it did; SweepError when failures ended it."""
        stop: str | None = None
        while True:
            while len(self.slots.running) < self.slots.num_slots:
                stop = stop or self.limits.stops(self.ledger)
                job = self._next_job(stop)
                if job is None:
                    stop = stop or self.limits.stops(self.ledger)
                    break
                for file in (RESULT_FILE, UNSENT_FILE):
                    (job.folder / file).unlink(missing_ok=True)
                self.slots.start(job)
            if not self.slots.running and not self._found_unsigned():
                break
            for job, ending in self.slots.wait(POLL_SECONDS):
                self._take(job, ending)
            with self.ledger.storage.patience.unless_away():
                self.progress.update(self.ledger, list(self._open))
        if self.limits.broken is not None:
            raise SweepError(f"stopped: {self.limits.broken}; the first error was: {self.limits.first_error}")
        return stop

    def abandon(self, reason: str) -> None:
        """The jobs are gone: their trials are queued again for the next start, as they are or as new ones."""
        for number in list(self._open):
            trial = self.ledger.trials[number]
            if self.plan.settings.continue_interrupted:
                self._settle(trial, counts=False)
            else:
                self.ledger.fail(number, reason)
                self.ledger.requeue(trial, counts=False)
            finished = self.ledger.trials[number]
            with forgiving(f"record of trial {number} yet"):
                self.record.close_trial(finished)
        self._open.clear()

    def _next_job(self, stop: str | None) -> Job | None:
        if self._next_seeds:
            return self._next_seeds.popleft()
        while stop is None and self._has_next():
            self.record.wait()  # a trial fails that cannot open its run
            with self.ledger.locked():  # whoever asks next sees these parameters, and proposes others
                trial = self._claim() if self._has_next() else None
                if trial is None:
                    return None
                try:
                    params = self._params(trial)
                except BaseException as error:
                    self.ledger.fail(trial.number, f"{type(error).__name__}: {error}")
                    raise
                if not self._settled_without_a_job(trial):
                    return self._opened(trial, params)
            stop = self.limits.stops(self.ledger)
        return None

    def _settled_without_a_job(self, trial: optuna.Trial) -> bool:
        """Whether it was a trial that this command need not, or cannot, run."""
        if "continues" in trial.user_attrs:
            if (self.plan.sweep_dir / self.plan.folder(trial.number, 0)).exists():
                return False
            self.ledger.fail(
                trial.number, "interrupted on a machine whose folder is not here; another trial repeats it"
            )
            self.ledger.requeue(self.ledger.trials[trial.number], counts=False)
            return True
        twin = self.ledger.twin(trial.params)
        if twin is not None:  # a sampler that has converged, at a corner of the space for one
            self.ledger.reuse(trial.number, twin)
            self.progress.finished(self.ledger, self.ledger.trials[trial.number])
        return twin is not None

    def _opened(self, trial: optuna.Trial, params: Mapping[str, Any]) -> Job:
        continues = "continues" in trial.user_attrs
        is_retry = continues or "retry_of" in trial.user_attrs
        done = self._saved_values(trial.number) if continues else []
        self._open[trial.number] = OpenTrial(params, is_retry, continues, values=done)
        return self._job(trial.number, len(done))

    def _found_unsigned(self) -> bool:
        """The answer to a claim can be lost in an outage: such a trial is settled here, and its place filled again."""
        if not self.ledger.unsigned():
            return False
        time.sleep(SIGNING_SECONDS)
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
            seed = len(trials) + len(owners)  # no two commands have the same, as each signs a trial in its turn
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

    def _take(self, job: Job, ending: Ending) -> None:
        trial = self._open[job.trial_number]
        self._deliver(job.trial_number, job.folder)
        if ending.state == "ok":
            try:
                trial.values.append(self.plan.values(ending.value))
            except ValueError as error:
                ending = Ending("failed", reason=str(error))
        if ending.state == "ok" and len(trial.values) < len(self.plan.seeds):
            self._next_seeds.append(self._job(job.trial_number, len(trial.values)))
            return
        self._tell(job.trial_number, trial, ending)
        del self._open[job.trial_number]

    def _tell(self, number: int, trial: OpenTrial, ending: Ending) -> None:
        study = self.ledger.study
        folder = str(self.plan.job(number, trial.params, 0, parent=None, alarm=False).folder)
        self._note(number, output_dir=folder, seconds=round(time.time() - trial.started, 3))
        if ending.state == "ok":
            if len(trial.values) > 1:
                self._note(number, seed_values=trial.values)
            means = [fmean(values) for values in zip(*trial.values, strict=True)]
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
            self.limits.refuse(reason)
        if ending.state != "lost":
            self.limits.count(failed=ending.state not in ("ok", "pruned"), reason=reason)
        finished = self.ledger.trials[number]
        # MLflow cannot take one new tag of a run from two processes at once; reconcile mends what it did not take
        with self.ledger.locked(), forgiving(f"record of trial {number} yet"):
            self.record.close_trial(finished)
        self.progress.finished(self.ledger, finished)

    def _deliver(self, number: int, folder: Path) -> None:
        """What the job could not tell the study while that was away; what the study refuses is said and left out."""
        calls = unsent(folder)
        if calls and not self.ledger.trials[number].state.is_finished():
            trial = open_trial(self.ledger.storage, self.plan.study_name, number)
            for call, *arguments in calls:
                try:
                    getattr(trial, call)(*arguments)
                except ValueError as error:
                    print(f"trial {number}: the study refuses {call}{tuple(arguments)}: {error}", file=sys.stderr)
        (folder / UNSENT_FILE).unlink(missing_ok=True)

    def _settle(self, trial: FrozenTrial, *, counts: bool) -> None:
        """Take what a trial without a process has left, else have it run again; `counts` towards the retries."""
        for seed_index in range(len(self.plan.seeds)):
            self._deliver(trial.number, self.plan.sweep_dir / self.plan.folder(trial.number, seed_index))
        has_params = trial.params.keys() >= set(self.plan.space.axes)  # else it was killed before it was a job
        values = self._saved_values(trial.number) if has_params else []
        first = self._saved_ending(trial.number, 0) if has_params else None
        if len(values) == len(self.plan.seeds):
            self._tell(trial.number, OpenTrial(trial.params, values=values), Ending("ok"))
        elif first is not None and first.state == "pruned":
            self._tell(trial.number, OpenTrial(trial.params), first)
        elif has_params and self.plan.settings.continue_interrupted and (self._may_retry(trial) or not counts):
            self.ledger.pause(trial, counts=counts)
        else:
            self.ledger.fail(trial.number, "the sweep that ran it was killed")
            self._retry(trial)

    def _saved_values(self, number: int) -> list[list[float]]:
        """Of the first seeds that are done."""
        values: list[list[float]] = []
        for index in range(len(self.plan.seeds)):
            ending = self._saved_ending(number, index)
            if ending is None or ending.state != "ok":
                break
            try:
                values.append(self.plan.values(ending.value))
            except ValueError:
                break
        return values

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
