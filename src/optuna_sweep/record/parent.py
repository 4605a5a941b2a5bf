"""The sweep's parent run in MLflow; keeps the status of each child run equal to the state of its Optuna trial."""

import copy
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from optuna.trial import FrozenTrial, TrialState

from mlflow_stores import creation_lock, experiment_id, metric_name, quiet_client_settings
from optuna_sweep.outcome import Outcome, TrialResult
from optuna_sweep.patience import Patience
from optuna_sweep.record.note import MAX_NOTE_LENGTH, describe
from optuna_sweep.record.show import NOTE, base_address, show
from optuna_sweep.states import SweepState, paused_at, state_of

Label = Callable[[int, Mapping[str, Any]], str]  # a trial's number and parameters -> the name of its run
TELL_EVERY = 10.0  # seconds, at most
STATUS: Mapping[SweepState, str] = {"ok": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class Record(Protocol):
    """Where the trials of a sweep are mirrored. A trial's children are the runs that its jobs opened."""

    parent_run_id: str | None

    def wait(self) -> None:
        """Return when the record can be written to; AwayError if that takes longer than its patience."""
        ...

    def close_trial(self, trial: FrozenTrial) -> None:
        """Close the children of a finished or paused trial, and tag them with its state."""
        ...

    def running(self, state: Callable[[], str]) -> None:
        """Say in the parent's description how far the search is, above what an earlier command has answered.

        state: finds that out, if it is time to tell.
        """
        ...

    def reconcile(self, trials: Iterable[FrozenTrial]) -> None:
        """The same for all finished and paused trials, for what an outage or a killed sweep has left open."""
        ...

    def finish(self, state: SweepState, best: TrialResult | None, files: Sequence[Path]) -> None:
        """Close the parent, with the best trial's values and the files."""
        ...

    def show(self, outcome: Outcome) -> Mapping[str, str]:
        """Make the comparison of the runs and describe the parent. Returns what a person can open, and where."""
        ...

    def of_study(self, name: str, label: Label) -> "Record":
        """The same parent, for the trials of another study."""
        ...


class NoRecord:
    """For a sweep without hydra.sweeper.mlflow_uri."""

    parent_run_id: str | None = None

    def wait(self) -> None:
        return None

    def close_trial(self, trial: FrozenTrial) -> None:
        return None

    def running(self, state: Callable[[], str]) -> None:
        return None

    def reconcile(self, trials: Iterable[FrozenTrial]) -> None:
        return None

    def finish(self, state: SweepState, best: TrialResult | None, files: Sequence[Path]) -> None:
        return None

    def show(self, outcome: Outcome) -> Mapping[str, str]:
        return {}

    def of_study(self, name: str, label: Label) -> "NoRecord":
        return self


class MlflowRecord:
    """One parent run per study; a command that continues the study opens its parent again."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        study_name: str,
        label: Label,
        facts: Mapping[str, str],
        *,
        ui: str,
        images: Sequence[str],
        columns: Sequence[str],
        patience: Patience,
    ) -> None:
        quiet_client_settings()
        from mlflow import MlflowClient

        self._study_name, self._label = study_name, label
        self._ui, self._patience = base_address(uri, ui), patience
        self._images, self._columns = images, columns
        with creation_lock(uri):  # MLflow's first use of a store is not safe for several processes
            self._client = MlflowClient(tracking_uri=uri)
            self._experiment_id = experiment_id(self._client, uri, experiment)
            self.parent_run_id: str | None = self._open_parent(facts)
        self._answer = str(self._client.get_run(self.parent_run_id).data.tags.get(NOTE, ""))  # of an earlier command
        self._told = -math.inf

    def wait(self) -> None:
        parent = self.parent_run_id
        self._patience.wait(lambda: self._client.get_run(parent))

    def close_trial(self, trial: FrozenTrial) -> None:
        self._close(trial, list(self._children(f"tags.`sweep.trial` = '{trial.number}' and ")))

    def running(self, state: Callable[[], str]) -> None:
        if time.monotonic() - self._told < TELL_EVERY:
            return
        self._told = time.monotonic()
        self._describe("\n\n".join(filter(None, [f"**Running**: {state()}", self._answer])))

    def reconcile(self, trials: Iterable[FrozenTrial]) -> None:
        runs: dict[str, list[Any]] = {}
        for run in self._children(""):
            runs.setdefault(run.data.tags.get("sweep.trial", ""), []).append(run)
        for trial in trials:
            if trial.state != TrialState.RUNNING:  # WAITING: interrupted, to be continued by the next command
                self._close(trial, runs.get(str(trial.number), []))

    def finish(self, state: SweepState, best: TrialResult | None, files: Sequence[Path]) -> None:
        parent = self.parent_run_id
        if best is not None:
            for index, value in enumerate(best.values):
                self._client.log_metric(parent, "best/value" if index == 0 else f"best/value_{index}", value)
            self._client.set_tag(parent, "best.trial", str(best.number))
            self._client.set_tag(parent, "best.params", json.dumps(dict(best.params), ensure_ascii=False, default=str))
            for run in itertools.islice(self._children(f"tags.`sweep.trial` = '{best.number}' and "), 1):
                self._client.set_tag(parent, "best.run_id", run.info.run_id)
        for file in files:
            self._client.log_artifact(parent, str(file))
        self._client.set_terminated(parent, STATUS[state])

    def show(self, outcome: Outcome) -> Mapping[str, str]:
        parent = self.parent_run_id
        assert parent is not None
        shown = {"images": self._images, "columns": self._columns}
        addresses = show(self._client, self._experiment_id, parent, outcome, **shown)
        if outcome.answer or not self._answer:  # an interrupted command has none
            self._answer = describe(outcome, addresses.markdown())
        self._describe(self._answer)
        self._client.set_tag(parent, "sweep.view", addresses.view)
        places = {"Comparison": addresses.view, "Best runs": addresses.compare}
        return {name: self._ui + place for name, place in places.items() if place is not None}

    def of_study(self, name: str, label: Label) -> "MlflowRecord":
        other = copy.copy(self)
        other._study_name, other._label = name, label
        return other

    def _describe(self, note: str) -> None:
        self._client.set_tag(self.parent_run_id, NOTE, note[:MAX_NOTE_LENGTH])

    def _open_parent(self, facts: Mapping[str, str]) -> str:
        found = self._client.search_runs(
            [self._experiment_id],
            f"tags.`sweep.study` = '{self._study_name}' and tags.`sweep.kind` = 'parent'",
            max_results=1,
        )
        if found:
            run_id = str(found[0].info.run_id)
            self._client.update_run(run_id, status="RUNNING")
            return run_id
        own = {"sweep.study": self._study_name, "sweep.id": self._study_name, "sweep.kind": "parent"}
        user = {"mlflow.user": _user()}
        run = self._client.create_run(self._experiment_id, run_name=self._study_name, tags=user | own)
        for name, text in facts.items():
            self._client.log_param(run.info.run_id, metric_name(name), text)
        return str(run.info.run_id)

    def _children(self, condition: str) -> Iterable[Any]:
        """condition: ends in "and"; it comes first, because with the others first SQLite looks at every child."""
        mine = f"tags.mlflow.parentRunId = '{self.parent_run_id}' and tags.`sweep.id` = '{self._study_name}'"
        token = None
        while True:
            page = self._client.search_runs([self._experiment_id], condition + mine, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _close(self, trial: FrozenTrial, runs: list[Any]) -> None:
        if not runs and trial.state == TrialState.FAIL:
            runs = [self._stand_in(trial)]
        for run in runs:
            self._mirror(run, trial)

    def _stand_in(self, trial: FrozenTrial) -> Any:
        """The run of a trial that failed before it could open one."""
        tags = {"mlflow.parentRunId": self.parent_run_id, "sweep.id": self._study_name}
        tags |= {"sweep.trial": str(trial.number), "sweep.state": "RUNNING", "mlflow.user": _user()}
        run = self._client.create_run(self._experiment_id, run_name=self._label(trial.number, trial.params), tags=tags)
        for name, value in trial.params.items():
            self._client.log_param(run.info.run_id, metric_name(name), value)
        self._client.set_terminated(run.info.run_id, "FAILED")
        return run

    def _mirror(self, run: Any, trial: FrozenTrial) -> None:
        run_id, tags = run.info.run_id, run.data.tags
        reason = trial.user_attrs.get("reason")
        rung = paused_at(trial)
        if tags.get("sweep.state") != state_of(trial):
            self._client.set_tag(run_id, "sweep.state", state_of(trial))
        if rung is not None and tags.get("sweep.rung") != str(rung):
            self._client.set_tag(run_id, "sweep.rung", str(rung))
        if reason and tags.get("sweep.reason") != reason:
            self._client.set_tag(run_id, "sweep.reason", reason)
            note = f"**{trial.state.name}**: {reason}"
            self._client.set_tag(run_id, NOTE, "\n\n".join(filter(None, [note, tags.get(NOTE)])))
            if trace := trial.user_attrs.get("trace"):
                self._client.log_text(run_id, trace, "traceback.txt")
        if run.info.status in ("RUNNING", "SCHEDULED"):
            is_done = trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or rung is not None
            ended = "FAILED" if "trace" in trial.user_attrs else "KILLED"
            self._client.set_terminated(run_id, "FINISHED" if is_done else ended)


def _user() -> str:
    return os.environ.get("USER", "unknown")
