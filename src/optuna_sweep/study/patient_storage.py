"""An Optuna storage that waits when its database or file goes away."""

import copy
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, get_storage
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_sweep.patience import Patience

CALL = "call"  # the system attribute by which a trial is found that was made before the answer was lost


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
        template = copy.deepcopy(template_trial or create_trial(state=TrialState.RUNNING))
        mark = uuid.uuid4().hex
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
