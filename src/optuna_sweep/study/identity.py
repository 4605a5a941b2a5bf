"""What all trials of a study share: a study is not continued with trials of something else."""

import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from optuna_sweep.errors import SweepError
from optuna_sweep.states import state_of

IDENTITY = "identity"  # the study's attribute

Identity = dict[str, Any]


def check_identity(study: optuna.Study, identity: Mapping[str, Any]) -> None:
    """Raises SweepError with the differences if the study has trials of something else."""
    stored = study.user_attrs.get(IDENTITY)
    if stored is None:
        return
    changes = [
        (part, f"{label}: {old} -> {new}")
        for part in stored.keys() | identity.keys()
        for label, old, new in _differences(part, stored.get(part), identity.get(part))
    ]
    begun = [trial for trial in study.get_trials(deepcopy=False) if state_of(trial) not in ("FAIL", "WAITING")]
    if changes and (begun or any(part == "direction" for part, _ in changes)):  # a study's directions cannot be changed
        raise SweepError(
            f"study {study.study_name} has trials of something else, and mixing them would mislead: "
            f"{'; '.join(sorted(change for _, change in changes))}. "
            "Choose another hydra.sweeper.study_name, or hydra.sweeper.fresh=true for the next free one"
        )
    if changes:  # the queued points belong to the former space
        for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def _differences(part: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    if part == "data" and old and new and old != new:
        return [("the data have changed, fingerprint", old[:12], new[:12])]
    if isinstance(old, dict) and isinstance(new, dict):
        keys = old.keys() | new.keys()
        return [item for key in keys for item in _differences(f"{part} {key}", old.get(key), new.get(key))]
    same = old == new or (isinstance(old, float) and isinstance(new, float) and math.isnan(old) and math.isnan(new))
    return [] if same else [(part, old, new)]
