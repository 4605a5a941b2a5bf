"""What may go away in mid-sweep, the study's storage above all: the sweeper waits until it is back."""

import copy
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, get_storage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from optuna_sweep.errors import SweepError

RETRY_SECONDS = 1.0
CALL = "call"  # the system attribute by which a trial is found that was made before the answer was lost


class AwayError(SweepError):
    pass


def is_outage(error: BaseException | None) -> bool:
    """It is away, locked or full: the same call may succeed later."""
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError | OSError):
            return True
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return True
        error = error.__cause__ or error.__context__
    return False


def reason_of(error: BaseException) -> str:
    """The first line of what the driver or the file system said."""
    while (cause := error.__cause__ or error.__context__) is not None and not isinstance(error, DBAPIError | OSError):
        error = cause
    lines = str(getattr(error, "orig", error)).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


class Patience:
    """Repeats a call that met an outage, for up to `seconds`; then AwayError, and nothing is waited for again."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds

    def wait(self, call: Callable[[], Any], repeat: Callable[[], Any] | None = None) -> Any:
        """`repeat` from the second time on, where it has to look what the first time did before the answer was lost."""
        began, failures = time.monotonic(), 0
        while True:
            try:
                answer = repeat() if failures > 0 and repeat is not None else call()
            except Exception as error:
                if not is_outage(error):
                    raise
                if time.monotonic() - began >= self._seconds:
                    raise self._give_up(error) from error
                if failures == 0:
                    self._say(f"is away, waiting up to {self._seconds:g} s (storage_patience): {reason_of(error)}")
                failures += 1
                time.sleep(RETRY_SECONDS)
            else:
                if failures > 0:
                    self._say(f"is back after {time.monotonic() - began:.0f} s")
                return answer

    def hurry(self) -> None:
        """From now on fail at the first outage."""
        self._seconds = 0.0

    @contextmanager
    def unless_away(self) -> Iterator[None]:
        """Skip the rest of the block in an outage."""
        seconds, self._seconds = self._seconds, 0.0
        try:
            with suppress(AwayError):
                yield
        finally:
            self._seconds = seconds

    def _give_up(self, error: Exception) -> AwayError:
        seconds, self._seconds = self._seconds, 0.0
        away = f"{self._name} stayed away for {seconds:g} s (storage_patience): {reason_of(error)}"
        return AwayError(f"{away}; the same command goes on once it is back")

    def _say(self, what: str) -> None:
        print(f"{self._name} {what}", file=sys.stderr)


def _waiting(name: str) -> Callable[..., Any]:
    def call(self: "PatientStorage", *arguments: Any, **options: Any) -> Any:
        return self.patience.wait(lambda: getattr(self._storage, name)(*arguments, **options))

    return call


_CALLS = [name for name, member in vars(BaseStorage).items() if callable(member) and not name.startswith("_")]
_WaitingStorage = type("_WaitingStorage", (BaseStorage,), {name: _waiting(name) for name in _CALLS})


class PatientStorage(_WaitingStorage):  # type: ignore[misc,valid-type]
    """A storage whose calls are repeated after an outage."""

    def __init__(self, storage: BaseStorage, patience: Patience) -> None:
        self._storage, self.patience = get_storage(storage), patience

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is None:  # one that is RUNNING, but nobody's, is found at the end of the sweep
            return int(self.patience.wait(lambda: self._storage.create_new_trial(study_id)))
        template, mark = copy.deepcopy(template_trial), uuid.uuid4().hex
        template.system_attrs = template.system_attrs | {CALL: mark}

        def create() -> int:
            return self._storage.create_new_trial(study_id, template)

        def repeat() -> int:
            trials = self._storage.get_all_trials(study_id, deepcopy=False)
            made = [trial._trial_id for trial in trials if trial.system_attrs.get(CALL) == mark]
            return made[0] if made else create()

        return int(self.patience.wait(create, repeat))

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        def change() -> bool:
            return self._storage.set_trial_state_values(trial_id, state, values)

        def repeat() -> bool:
            with suppress(UpdateFinishedTrialError):
                return change()
            return self._storage.get_trial(trial_id).state == state

        return bool(self.patience.wait(change, repeat))
