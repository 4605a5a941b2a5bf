"""Opens runs in an MLflow store."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from contrastive_learning.choices import check_choice
from contrastive_learning.tracking.champion import CONDITIONS, register_champion
from contrastive_learning.tracking.headline import check_metrics, chosen
from contrastive_learning.tracking.mlflow_run import MlflowRun
from contrastive_learning.tracking.models import check_model_name
from contrastive_learning.tracking.outbox import OutboxRun
from mlflow_stores import absolute, check_store, creation_lock, experiment_id, quiet_client_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient


class MlflowTracking:
    """Runs in the MLflow experiment `experiment` of the store at `uri`.

    uri: sqlite:///FILE, the address of a server, or a database. log_model: whether `Run.model` records anything.
    register: the name under which models are registered, if they are; champion_if: whether each becomes its champion
    ("always"), or only one that is "better" than the champion. system_metrics: whether MLflow samples
    processor, memory and GPU while a run is open. metrics: which ones `chosen` lets through, "headline" or "all".

    Raises ValueError if `uri` is no address of a store, `register` no name of a model, or `metrics` no choice; `check`
    if the store is away.

    >>> tracking = MlflowTracking(
    ...     uri="sqlite:///mlflow.db", experiment="demo", log_model=False, register=None, system_metrics=False
    ... )
    >>> with tracking.open("first", {"seed": "0"}, folder=Path(".")) as run:
    ...     run.log({"val/macro_f1": 0.5}, step=1)
    """

    def __init__(
        self,
        *,
        uri: str,
        experiment: str,
        log_model: bool,
        register: str | None,
        system_metrics: bool,
        metrics: str = "all",  # as before there was the option, for configurations recorded then
        champion_if: str = "always",  # likewise
    ) -> None:
        if register is not None:
            check_model_name(register, log_model)
        quiet_client_settings()
        self.uri = absolute(uri)
        self.experiment = experiment
        self.log_model = log_model
        self.registered_name = register
        self.champion_if = check_choice("tracking.champion_if", champion_if, CONDITIONS)
        self.system_metrics = system_metrics
        self.metrics = check_metrics(metrics)

    def check(self, resume_run_id: str | None = None) -> None:
        check_store(self.uri, self.experiment, option="tracking.uri", run_id=resume_run_id)

    def find(self, tags: Mapping[str, str]) -> str | None:
        client, experiment = self._connect()
        condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found = client.search_runs([experiment], condition, max_results=1)
        return str(found[0].info.run_id) if found else None

    def open(
        self, name: str | None, tags: Mapping[str, str], *, folder: Path, resume_run_id: str | None = None
    ) -> OutboxRun:
        client, experiment = self._connect()
        if resume_run_id is None:
            run_id = client.create_run(experiment, run_name=name, tags=_user_tags() | dict(tags)).info.run_id
        else:
            run_id = resume_run_id
            _reopen(client, run_id, tags)
        direct = self._run(client, experiment, run_id)
        run = OutboxRun(direct, folder)
        if self.system_metrics:
            direct.watch_system(resume=resume_run_id is not None)
        return run

    def chosen(self, metrics: Mapping[str, float], always: Collection[str]) -> dict[str, float]:
        return chosen(metrics, self.metrics, always)

    def send_outbox(self, run_id: str, folder: Path) -> bool:
        """Send what the ended run `run_id` left in the outbox of `folder`. False if the store is away.

        Nothing is opened: the run gets the status that waits in its outbox, or keeps its own.
        """
        self.check(run_id)
        outbox = OutboxRun(self._run(*self._connect(), run_id), folder).outbox
        try:
            return outbox.flush()
        finally:
            outbox.close()

    def register(self, run_id: str) -> str | None:
        if self.registered_name is None:
            return None
        from mlflow import MlflowClient

        with creation_lock(self.uri):
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return register_champion(client, self.registered_name, run_id, self.champion_if)

    def _connect(self) -> tuple["MlflowClient", str]:
        """A client, and the experiment's id."""
        from mlflow import MlflowClient

        with creation_lock(self.uri):  # MLflow's first use of a store is not safe for several processes
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)  # whatever the environment names
            return client, experiment_id(client, self.uri, self.experiment)

    def _run(self, client: "MlflowClient", experiment_id: str, run_id: str) -> MlflowRun:
        return MlflowRun(
            run_id,
            client,
            uri=self.uri,
            experiment=self.experiment,
            experiment_id=experiment_id,
            log_model=self.log_model,
            registered_name=self.registered_name,
            champion_if=self.champion_if,
        )


def _reopen(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    client.update_run(run_id, status="RUNNING")
    if "error" in client.get_run(run_id).data.tags:  # that of the interruption
        client.delete_tag(run_id, "error")
    for key, value in tags.items():
        client.set_tag(run_id, key, value)


def _user_tags() -> dict[str, str]:
    return {"mlflow.user": os.environ.get("USER", "unknown"), "mlflow.source.name": "src.train"}
