"""The study as the single truth: who owns a trial, what is still to run, what may not be mixed."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from mlflow_stores import redact
from optuna_sweep.patience import Patience
from optuna_sweep.states import PAUSED_AT, PROMOTED_FROM, Direction, paused_at
from optuna_sweep.study.identity import IDENTITY, Identity, check_identity
from optuna_sweep.study.patient_storage import PatientStorage
from optuna_sweep.study.storage import Lock, held, is_alive, open_storage, runs_here, storage_lock, this_owner

NOBODY = ""  # the owner of a trial whose sweep, of an earlier version, was killed while it claimed the trial
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
RESULT_ATTRIBUTES = ("output_dir", "seconds", "seed_values", "seed_doubts")
OPEN = (TrialState.RUNNING, TrialState.WAITING)

Params = dict[str, Any]
Key = tuple[tuple[str, str], ...]


@dataclass
class Ledger:
    """A study, its lock, and the name under which this process owns trials.

    A trial belongs to the process in its attribute `owner`. Trials are claimed under the lock, so that two commands
    never run the same one; a RUNNING trial whose owner is dead is abandoned, and the next command recovers it.
    """

    study: optuna.Study
    lock: Lock
    owner: str
    storage: PatientStorage

    @contextmanager
    def locked(self) -> Iterator[None]:
        self.storage.patience.wait(self.lock.acquire)
        try:
            yield
        finally:
            self.lock.release()

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    @property
    def directions(self) -> list[Direction]:
        return ["minimize" if direction.name == "MINIMIZE" else "maximize" for direction in self.study.directions]

    def trial(self, number: int) -> FrozenTrial:
        """The trial as it is now, without the others."""
        found: FrozenTrial = self.storage.get_trial(self.trial_id(number))
        return found

    def count(self, *states: TrialState) -> int:
        return sum(trial.state in states for trial in self.trials)

    def trial_id(self, number: int) -> int:
        return int(self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number))

    def add_missing(self, points: Iterable[Mapping[str, Any]]) -> int:
        """Enqueue every point that has no trial, or only failed ones. Returns how many."""
        with self.locked():
            tried = [planned_params(trial) for trial in self.trials if trial.state in (*DONE, *OPEN)]
            known: dict[frozenset[str], set[Key]] = {}
            missing = []
            for point in points:
                names = frozenset(point)  # a point may leave some to the sampler
                if names not in known:
                    known[names] = {_key(params, names) for params in tried if names <= params.keys()}
                if _key(point, names) not in known[names]:
                    missing.append(point)
            for point in missing:
                self.study.enqueue_trial(dict(point))
        return len(missing)

    def claim(self, waiting: FrozenTrial | None) -> optuna.Trial:
        """Make a WAITING trial, else a new one, RUNNING and this process's own. Call it with the lock held."""
        if waiting is None:
            new = create_trial(state=TrialState.RUNNING, user_attrs={"owner": self.owner})
            trial_id = self.storage.create_new_trial(self.study._study_id, new)
        else:
            trial_id = waiting._trial_id
            self.storage.set_trial_user_attr(trial_id, "owner", self.owner)  # first: a RUNNING trial has an owner
            if (rung := paused_at(waiting)) is not None:
                self.storage.set_trial_user_attr(trial_id, PROMOTED_FROM, rung)
                self.storage.set_trial_user_attr(trial_id, PAUSED_AT, None)
            self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        self.study._thread_local.cached_all_trials = None  # as study.ask() does, which would take any WAITING trial
        return optuna.Trial(self.study, trial_id)

    def requeue(self, trial: FrozenTrial, *, counts: bool) -> None:
        """Enqueue the trial's parameters once more. counts: whether it is one of the max_retries."""
        attributes = {"retry_of": trial.number, "retries": trial.user_attrs.get("retries", 0) + int(counts)}
        self.study.enqueue_trial(planned_params(trial), user_attrs=attributes)

    def put_back(self, trial: FrozenTrial, *, counts: bool, begun: bool) -> None:
        """Put the trial itself back into the queue, to continue where it was interrupted, if its job had begun."""
        retries = trial.user_attrs.get("retries", 0) + int(counts)
        if begun:
            self.storage.set_trial_user_attr(trial._trial_id, "continues", True)
        self.storage.set_trial_user_attr(trial._trial_id, "retries", retries)
        self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def pause(self, trial: FrozenTrial, rung: int) -> None:
        """Have the trial wait at the rung until the sweeper promotes it."""
        self.storage.set_trial_user_attr(trial._trial_id, "continues", True)
        self.storage.set_trial_user_attr(trial._trial_id, PAUSED_AT, rung)
        self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def give_up(self, trial: FrozenTrial) -> None:
        """Make a paused trial PRUNED, with its last value."""
        last = trial.intermediate_values.get(trial.last_step or 0, math.nan)
        values = [last] if math.isfinite(last) else None
        self.storage.set_trial_state_values(trial._trial_id, TrialState.PRUNED, values)

    def find_complete(self, params: Mapping[str, Any]) -> FrozenTrial | None:
        """A COMPLETE trial with the same parameters, whose result can be reused."""
        key = _key(params, params)
        alike = (trial for trial in self.trials if trial.params == params)  # quick, but True is 1
        same = (trial for trial in alike if _key(trial.params, trial.params) == key)
        return next((trial for trial in same if trial.state == TrialState.COMPLETE and not trial.constraints), None)

    def reuse(self, number: int, source: FrozenTrial) -> None:
        """Complete the trial with the result of another one."""
        for name, value in _result_of(source, self.study.study_name).items():
            self.storage.set_trial_user_attr(self.trial_id(number), name, value)
        self.study.tell(number, source.values, skip_if_finished=True)

    def fail(self, number: int, reason: str, trace: str = "") -> None:
        trial_id = self.trial_id(number)
        self.storage.set_trial_user_attr(trial_id, "reason", reason[:2000])
        if trace:
            self.storage.set_trial_user_attr(trial_id, "trace", trace[-8000:])
        self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def abandoned(self) -> list[FrozenTrial]:
        """RUNNING trials whose sweep is gone. Call it with the lock held, under which trials are claimed."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in running if not is_alive(trial.user_attrs.get("owner", NOBODY))]

    def running_here(self) -> list[FrozenTrial]:
        """RUNNING trials of this process and of others on this machine: of those elsewhere nothing is known."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in running if runs_here(trial.user_attrs.get("owner", NOBODY))]

    def own(self) -> list[FrozenTrial]:
        """RUNNING trials of this process."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in running if trial.user_attrs.get("owner") == self.owner]

    def ranked(self) -> list[FrozenTrial]:
        """COMPLETE trials, best first, feasible ones before the others.

        With several objectives: the Pareto front, then the rest, both by the first objective.
        """
        complete = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        sign = 1 if self.directions[0] == "minimize" else -1
        if len(self.directions) > 1:
            front = {trial.number for trial in self.study.best_trials} if complete else set()
            return sorted(complete, key=lambda trial: (trial.number not in front, sign * trial.values[0], trial.number))
        return sorted(complete, key=lambda trial: (not is_feasible(trial), sign * trial.values[0], trial.number))

    def best(self) -> FrozenTrial | None:
        """The first of `ranked`, found without ranking the others."""
        complete = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        if len(self.directions) == 1 and complete:
            sign = 1 if self.directions[0] == "minimize" else -1
            first = min(complete, key=lambda trial: (sign * trial.values[0], trial.number))
            if is_feasible(first):
                return first
        return self.ranked()[0] if complete else None

    def since_best(self) -> int:
        """How many trials have finished after the best one."""
        best = self.best()
        if best is None or best.datetime_complete is None:
            return 0
        later = (trial for trial in self.trials if trial.state in DONE and trial.number != best.number)
        return sum(trial.datetime_complete > best.datetime_complete for trial in later if trial.datetime_complete)


def open_patiently(storage: Any, seconds: float) -> PatientStorage:
    """Open a resolved storage. If it is away now, that is an error; later, it is waited for."""
    name = redact(storage) if isinstance(storage, str) else str(storage.get("_target_"))
    with held(storage_lock(storage)):
        return PatientStorage(open_storage(storage), Patience(f"hydra.sweeper.storage: {name}", seconds))


def open_ledger(
    storage: PatientStorage,
    lock: Lock,
    name: str,
    directions: Sequence[Direction],
    identity: Mapping[str, Any],
    pruner: optuna.pruners.BasePruner,
) -> Ledger:
    """Make or load the study. Raises SweepError with the differences if it has trials of something else."""
    with held(lock):
        names = optuna.get_all_study_names(storage)
        if name in names:
            check_identity(optuna.load_study(study_name=name, storage=storage), identity)
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=list(directions),
            sampler=optuna.samplers.RandomSampler(),  # until the first trial is asked for
            pruner=pruner,
            load_if_exists=True,
        )
        if study.user_attrs.get(IDENTITY) != identity:
            study.set_user_attr(IDENTITY, dict(identity))
    return Ledger(study, lock, this_owner(), storage)


def free_name(storage: Any, name: str) -> str:
    """The name, or the first of name-2, name-3, … that no study has."""
    with held(storage_lock(storage)):
        taken = set(optuna.get_all_study_names(open_storage(storage)))
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}" if name in taken else name


def import_known(ledger: Ledger, points: Iterable[Params], distributions: dict[str, BaseDistribution]) -> None:
    """Add the points that are COMPLETE in another study of the storage which differs in nothing but the space."""
    storage, same = ledger.storage, ledger.study.user_attrs[IDENTITY]
    wanted = {_key(point, point): point for point in points}
    with ledger.locked():
        planned = [planned_params(trial) for trial in ledger.trials if trial.state in (*DONE, *OPEN)]
        have = {_key(params, params) for params in planned}
        for name in optuna.get_all_study_names(storage):
            other = optuna.load_study(study_name=name, storage=storage)
            if name == ledger.study.study_name or not _differ_in_space_only(other.user_attrs.get(IDENTITY), same):
                continue
            for trial in other.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
                key = _key(trial.params, trial.params)
                if key in wanted and key not in have:
                    ledger.study.add_trial(_linked(trial, name, wanted[key], distributions))
                    have.add(key)


def _linked(
    trial: FrozenTrial, study_name: str, point: Params, distributions: dict[str, BaseDistribution]
) -> FrozenTrial:
    attributes = _result_of(trial, study_name)
    return create_trial(params=point, distributions=distributions, values=trial.values, user_attrs=attributes)


def _result_of(trial: FrozenTrial, study_name: str) -> dict[str, Any]:
    """The attributes of a trial that takes the result of this one."""
    origin = trial.user_attrs.get("reused_from", f"{study_name}/{trial.number}")
    return {name: value for name, value in trial.user_attrs.items() if name in RESULT_ATTRIBUTES} | {
        "reused_from": origin
    }


def _differ_in_space_only(one: Identity | None, other: Identity) -> bool:
    return one is not None and {**one, "space": None} == {**other, "space": None}


def planned_params(trial: FrozenTrial) -> Params:
    """A trial's parameters, and those that a queued trial will have."""
    queued: Params = trial.system_attrs.get("fixed_params", {})
    return {**queued, **trial.params}


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether it meets its constraints: Optuna counts a value above 0 as violated."""
    return all(value <= 0 for value in trial.constraints.values())


def is_as_good(value: float, than: float, direction: Direction) -> bool:
    """Whether `value` is at least as good."""
    return value <= than if direction == "minimize" else value >= than


def _key(params: Mapping[str, Any], names: Collection[str]) -> Key:
    return tuple((name, repr(_as_stored(params[name]))) for name in sorted(names))


def _as_stored(value: Any) -> Any:
    """1 as 1.0, which it is once it is a point of an interval."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
