"""What a job reports to the study; while its storage is away, reports are kept in a file of the job's folder."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

UNSENT_FILE = "unsent.json"
RETRY_SECONDS = 10.0


class Reports:
    """Calls of an Optuna trial, made in their order.

    The calls that the study has not taken yet are in unsent.json in `folder`; the sweeper sends those that are left
    when the job has ended.
    """

    def __init__(self, folder: Path, conf: Mapping[str, Any]) -> None:
        self._path, self._conf = folder / UNSENT_FILE, conf
        self._unsent: list[list[Any]] = []
        self._next_try = 0.0
        self._opened: optuna.Trial | None = None

    def put(self, call: str, *arguments: Any) -> None:
        """Add a call, and send all that wait, unless the storage is away. Raises what the study refuses."""
        self._unsent.append([call, *arguments])
        try:
            self._unless_away(self._send)
        except Exception:
            del self._unsent[0]
            raise
        finally:
            if self._unsent:
                write_atomically(self._path, json.dumps(self._unsent))

    def should_prune(self) -> bool:
        """Whether the pruner would stop or pause the trial; False while the storage is away."""
        return not self._unsent and self._unless_away(lambda trial: trial.should_prune())

    @property
    def pauses(self) -> bool:
        """Whether what should_prune stops may continue later."""
        from optuna_sweep.study.promotion import PromotionPruner

        return self._opened is not None and isinstance(self._opened.study.pruner, PromotionPruner)

    def _send(self, trial: "optuna.Trial") -> bool:
        while self._unsent:
            call, *arguments = self._unsent[0]
            getattr(trial, call)(*arguments)
            del self._unsent[0]
        self._path.unlink(missing_ok=True)
        return True

    def _unless_away(self, ask: Callable[["optuna.Trial"], bool]) -> bool:
        """False while the storage is away; it is asked again so rarely that at most a tenth of the time is lost."""
        began = time.monotonic()
        if began < self._next_try:
            return False
        try:
            if self._opened is None:
                self._opened = _open(self._conf)
            answer = ask(self._opened)
        except Exception as error:
            from optuna_sweep.patience import is_outage, reason_of

            if not is_outage(error):
                raise
            if self._next_try == 0.0:
                print(f"training continues, the study takes no reports: {reason_of(error)}", file=sys.stderr)
            now = time.monotonic()
            self._next_try = now + max(RETRY_SECONDS, 10 * (now - began))
            return False
        if self._next_try > 0.0:
            print("the study takes reports again", file=sys.stderr)
        self._next_try = 0.0
        return answer


def unsent(folder: Path) -> list[list[Any]]:
    """The calls that a job in this folder could not send: name of the trial's method, then its arguments."""
    path = folder / UNSENT_FILE
    calls: list[list[Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return calls


def open_trial(
    storage: "BaseStorage", study_name: str, number: int, pruner: "optuna.pruners.BasePruner | None" = None
) -> "optuna.Trial":
    import optuna

    sampler = optuna.samplers.RandomSampler()  # never asked; given, so that Optuna makes no default sampler
    study = optuna.load_study(study_name=study_name, storage=storage, sampler=sampler, pruner=pruner)
    return optuna.Trial(study, storage.get_trial_id_from_study_id_trial_number(study._study_id, number))


def write_atomically(path: Path, content: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(content, encoding="utf-8")
    partial.replace(path)


def _open(conf: Mapping[str, Any]) -> "optuna.Trial":
    from optuna_sweep.study.pruner import make_pruner
    from optuna_sweep.study.storage import open_storage

    return open_trial(
        open_storage(conf["storage"]), conf["study_name"], conf["trial_number"], make_pruner(conf["pruner"])
    )
