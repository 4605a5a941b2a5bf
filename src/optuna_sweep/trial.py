"""The job's side of a trial: its reports to the study, and a result file that outlives the process."""

import json
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mlflow_stores import redact
from optuna_sweep.errors import innermost
from optuna_sweep.states import INTERVAL, EndState, end_state_of
from optuna_sweep.study.reports import Reports, write_atomically

RESULT_FILE = "result.json"


class TrialPruned(Exception):  # noqa: N818  named as in Optuna
    """Raised by a task to end its trial as PRUNED, or to leave it PAUSED; optuna.TrialPruned does the same."""

    end_state: EndState = "pruned"


class ConfigurationError(ValueError):
    """Raised by a task for what would fail every trial, for example a misspelt metric: it ends the sweep at once."""

    end_state: EndState = "refused"


class JobTimedOutError(Exception):
    """The task ran past hydra.sweeper.trial_timeout."""

    end_state: EndState = "timeout"


class CurrentTrial(Protocol):
    """The trial that this process runs. Outside a sweep its methods do nothing, so a task needs no branch.

    trial = current_trial()
    for epoch in range(1, epochs + 1):
        trial.report(train_epoch(), epoch)
        if trial.should_prune():
            break
    """

    number: int | None  # None outside a sweep, like the next two
    run_name: str | None  # for the job's MLflow run: 007 τ=0.083 λ=0.21
    parent_run_id: str | None  # the sweep's MLflow run
    pruned: bool  # whether should_prune has said True, for good
    paused: bool  # whether it has said True for now: what the trial leaves in its folder, it may continue from
    continues: bool  # whether it was interrupted or paused, and its folder has what it had written until then

    def report(self, value: float, step: int) -> None:
        """Tell the pruner and the live table the objective after a step. Steps count up."""
        ...

    def should_prune(self) -> bool:
        """Whether the pruner gives the trial up, or pauses it. It then ends as PRUNED, or waits as PAUSED, whatever the
        task returns. Ask only if there is more to train: a trial that has had all of it is COMPLETE.
        """
        ...

    def set_constraint(self, name: str, value: float) -> None:
        """Tell the study how far the trial is from a limit; a value above 0 makes the trial infeasible."""
        ...

    def set_interval(self, low: float, high: float) -> None:
        """Tell the 95 % interval of the objective, over what it is measured on; it is shown beside the best value."""
        ...

    def set_doubt(self, doubt: str) -> None:
        """Say why this run should not decide a comparison; it reads on after "2 of 9 runs": never left its start.

        The run counts as before; the sweep tells its means without such runs, too.
        """
        ...

    def tags(self) -> dict[str, str]:
        """Tags that the job must set on its MLflow run, so that the sweep can find it."""
        ...


class NoTrial:
    """The trial of a process that no sweep has started."""

    number: int | None = None
    run_name: str | None = None
    parent_run_id: str | None = None
    pruned = False
    paused = False
    continues = False

    def report(self, value: float, step: int) -> None:
        return None

    def should_prune(self) -> bool:
        return False

    def set_constraint(self, name: str, value: float) -> None:
        return None

    def set_interval(self, low: float, high: float) -> None:
        return None

    def set_doubt(self, doubt: str) -> None:
        return None

    def tags(self) -> dict[str, str]:
        return {}


class SweepTrial:
    """The trial of a job: conf is the job's `hydra.sweeper`, folder its output folder."""

    def __init__(self, conf: Mapping[str, Any], folder: Path) -> None:
        self.number: int | None = conf["trial_number"]
        self.run_name: str | None = conf["trial_name"]
        self.parent_run_id: str | None = conf["parent_run_id"]
        self.pruned = self.paused = False
        self.doubt = ""
        self.continues: bool = conf["trial_continues"]
        self._conf = conf
        self._reports = Reports(folder, conf)

    def report(self, value: float, step: int) -> None:
        if self._may_report:
            self._reports.put("report", float(value), step)

    def should_prune(self) -> bool:
        if self._may_report and self._reports.should_prune():
            self.paused = self._reports.pauses
            self.pruned = not self.paused
        return self.pruned or self.paused

    def set_constraint(self, name: str, value: float) -> None:
        if self._conf["trial_reports"]:
            self._reports.put("set_constraint", name, float(value))

    def set_interval(self, low: float, high: float) -> None:
        if self._may_report:
            self._reports.put("set_user_attr", INTERVAL, [float(low), float(high)])

    def set_doubt(self, doubt: str) -> None:
        self.doubt = doubt

    def tags(self) -> dict[str, str]:
        tags = {
            "sweep.id": str(self._conf["study_name"]),
            "sweep.trial": str(self.number),
            "sweep.job": str(self._conf["trial_dir"]),
            "sweep.state": "RUNNING",
        }
        return tags | ({} if self.parent_run_id is None else {"mlflow.parentRunId": self.parent_run_id})

    @property
    def _may_report(self) -> bool:
        """Only the job of the first seed reports; with several objectives none does, as Optuna takes no such report."""
        return bool(self._conf["trial_reports"]) and not isinstance(self._conf["direction"], list)


class _Current:
    trial: CurrentTrial = NoTrial()


def current_trial() -> CurrentTrial:
    """The trial that this process runs; outside a sweep, one whose methods do nothing."""
    return _Current.trial


class RecordedTask:
    """The task, but its end is written to result.json and returned, so that no exception crosses a process boundary."""

    def __init__(self, task: Callable[[DictConfig], Any]) -> None:
        self.task = task

    def __call__(self, config: DictConfig) -> dict[str, Any]:
        folder = Path(HydraConfig.get().runtime.output_dir)
        conf = OmegaConf.to_container(HydraConfig.get().sweeper, resolve=True)
        assert isinstance(conf, dict)
        trial = _Current.trial = SweepTrial({str(key): value for key, value in conf.items()}, folder)
        try:
            with _time_limit(conf["trial_alarm"]):
                value = self.task(config)
            state = "paused" if trial.paused else "pruned" if trial.pruned else "ok"
            result = {"state": state, "value": _plain(value)}
            result |= {"doubt": trial.doubt} if trial.doubt else {}
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit in a task must not end the sweep
            if _is_follower():
                raise  # to the launcher
            if (interrupt := _interrupt_behind(error)) is not None:
                raise interrupt from error
            result = _failure(error, is_paused=trial.paused)
        finally:
            _Current.trial = NoTrial()
        if not _is_follower():
            write_atomically(folder / RESULT_FILE, json.dumps(result))
        return result


def _is_follower() -> bool:
    """Whether this is a process of rank > 0: if a trial has several processes, the first one gives the result."""
    return int(os.environ.get("RANK", 0)) > 0 and int(os.environ.get("WORLD_SIZE", 1)) > 1


def _interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C during whose clean-up the error was raised, if there was one: it must end the sweep all the same."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def _failure(error: BaseException, *, is_paused: bool) -> dict[str, Any]:
    state = end_state_of(error) or "failed"
    if state == "pruned":
        return {"state": "paused" if is_paused else state, "value": None}
    cause = innermost(error)
    reason = f"sys.exit({error.code!r})" if isinstance(error, SystemExit) else f"{type(cause).__name__}: {cause}"
    reason = str(error) if state == "refused" else reason
    trace = "".join(traceback.format_exception(error))
    return {"state": state, "value": None, "reason": redact(reason), "trace": redact(trace)}


def _plain(value: Any) -> Any:
    """The value as JSON has it: numbers (also of numpy and torch), texts, lists and dicts of them, else the repr."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    try:
        return float(value)
    except (TypeError, ValueError):
        return repr(value)


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Raises JobTimedOutError inside the task, for launchers that cannot end a job themselves."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(signum: int, frame: FrameType | None) -> None:
        raise JobTimedOutError(f"ran for more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
