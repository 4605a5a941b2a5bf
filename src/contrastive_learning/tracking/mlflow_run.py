"""The record of a run in MLflow."""

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from PIL import Image

from contrastive_learning.runtime.interrupts import HeldSignals
from contrastive_learning.tracking.models import check_model_name, record_model, register_champion
from contrastive_learning.tracking.outbox import KeptTracking
from contrastive_learning.tracking.stores import check_reachable
from mlflow_stores import (
    absolute,
    creation_lock,
    experiment_id,
    metric_name,
    quiet_client_settings,
    redact,
    sqlite_path,
)

logger = logging.getLogger(__name__)
MAX_DIGEST_LENGTH = 36  # MLflow's limit
MAX_PARAM_LENGTH = 6000  # MLflow's limit; the whole config is an artifact as well


class Run(Protocol):
    """What a run says to its record; a context manager that closes it with the true status."""

    run_id: str | None

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def params(self, params: Mapping[str, Any]) -> None: ...

    def data(self, name: str, context: str, *, fingerprint: str, source: str, num_responses: int) -> None:
        """What the run was trained on, or judged by."""
        ...

    def log(self, metrics: Mapping[str, float], step: int) -> None: ...

    def text(self, text: str, name: str) -> None: ...

    def artifact(self, path: Path, folder: str | None = None) -> None: ...

    def image(self, png: bytes, key: str, step: int) -> None:
        """One of a series of pictures that a person can slide through."""
        ...

    def model(self, judge: Path, criteria: Sequence[str]) -> str | None:
        """Record the folder that `export_judge` wrote as a model that can be served. Returns its address, if it was."""
        ...

    def register(self, run_id: str) -> str | None:
        """Register the model that a run recorded, as the champion of its name. Returns its address, if it was."""
        ...

    def location(self) -> str:
        """Where a person finds the run."""
        ...


class Tracker(Run, Protocol):
    """What every `tracking` config builds; once it is open, the run itself."""

    def open(self, name: str | None, tags: Mapping[str, str], *, resume_run_id: str | None = None) -> Self: ...

    def kept_in(self, folder: Path) -> Run:
        """The same run; what the server cannot take is kept in a file in `folder` until it can."""
        ...


class NoTracking:
    """Records nothing; for trying things out."""

    run_id: str | None = None

    def open(self, name: str | None, tags: Mapping[str, str], *, resume_run_id: str | None = None) -> Self:
        return self

    def kept_in(self, folder: Path) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def params(self, params: Mapping[str, Any]) -> None:
        return None

    def data(self, name: str, context: str, *, fingerprint: str, source: str, num_responses: int) -> None:
        return None

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        return None

    def text(self, text: str, name: str) -> None:
        return None

    def artifact(self, path: Path, folder: str | None = None) -> None:
        return None

    def image(self, png: bytes, key: str, step: int) -> None:
        return None

    def model(self, judge: Path, criteria: Sequence[str]) -> str | None:
        return None

    def register(self, run_id: str) -> str | None:
        return None

    def location(self) -> str:
        return "nowhere (tracking=none)"


class MlflowTracking:
    """One MLflow run, through the client API: MLflow's own `with` would call a SIGTERM RUNNING for ever."""

    def __init__(
        self, *, uri: str, experiment: str, log_model: bool, register: str | None, system_metrics: bool
    ) -> None:
        if register is not None:
            check_model_name(register, log_model)
        quiet_client_settings()
        self.uri = absolute(uri)
        self.experiment = experiment
        self.log_model = log_model
        self.registered_name = register
        self.system_metrics = system_metrics
        self._monitor: Any = None
        self.run_id: str | None = None
        check_reachable(self.uri)

    def open(self, name: str | None, tags: Mapping[str, str], *, resume_run_id: str | None = None) -> Self:
        if resume_run_id is None:
            self._connect()
            run = self._client.create_run(self.experiment_id, run_name=name, tags=_user_tags() | dict(tags))
            self.run_id = run.info.run_id
        else:
            self._reopen(resume_run_id, tags)
        if self.system_metrics:
            self._monitor = _watch_system(self.uri, self.run_id, resume=resume_run_id is not None)
        return self

    def _reopen(self, run_id: str, tags: Mapping[str, str]) -> None:
        self.attach(run_id)
        self._client.update_run(run_id, status="RUNNING")
        if "error" in self._client.get_run(run_id).data.tags:  # of the part that was interrupted
            self._client.delete_tag(run_id, "error")
        for key, value in tags.items():
            self._client.set_tag(run_id, key, value)

    def attach(self, run_id: str) -> Self:
        """Add to a run, whatever its status, and leave that as it is."""
        self._connect()
        self.run_id = run_id
        return self

    def _connect(self) -> None:
        from mlflow import MlflowClient

        for chatty in ("alembic", "mlflow.store", "mlflow.pyfunc", "mlflow.system_metrics"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # the outbox tells of outages
        with creation_lock(self.uri):  # MLflow's first use of a store is not safe for several processes
            self._client = MlflowClient(tracking_uri=self.uri)
            self.experiment_id = experiment_id(self._client, self.uri, self.experiment)

    def kept_in(self, folder: Path) -> KeptTracking:
        return KeptTracking(self, folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(*self.outcome(error))

    def outcome(self, error: BaseException | None) -> tuple[str, str | None]:
        """Status, and why."""
        if error is None:
            return "FINISHED", None
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        return status, redact(f"{type(error).__name__}: {error}")[:8000]

    def end(self, status: str, reason: str | None, at_ms: int | None = None) -> None:
        if self._monitor is not None:
            _stop_watching(self._monitor)
            self._monitor = None
        if reason is not None:
            self._client.set_tag(self._run, "error", reason)
        self._client.set_terminated(self._run, status, at_ms)

    def is_outage(self, error: Exception) -> bool:
        """The store is away or overloaded: the same call may succeed later."""
        causes = (error, error.__cause__, error.__context__)
        if any(isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError) for cause in causes):
            return True
        return getattr(error, "error_code", None) in ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")

    def uninterrupted(self) -> AbstractContextManager[object]:
        """Ctrl-C within a transaction can leave SQLite locked, so it waits; a server may take too long to answer."""
        return nullcontext() if sqlite_path(self.uri) is None else HeldSignals()

    def params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        entities = [
            Param(metric_name(key), redact("null" if value is None else str(value))[:MAX_PARAM_LENGTH])
            for key, value in params.items()
        ]
        for start in range(0, len(entities), 100):  # MLflow's limit a call
            self._client.log_batch(self._run, params=entities[start : start + 100])

    def data(self, name: str, context: str, *, fingerprint: str, source: str, num_responses: int) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            f"{name} ({num_responses} responses)",  # MLflow keeps one dataset for a name and digest
            fingerprint[:MAX_DIGEST_LENGTH],
            source_type="local",
            source=json.dumps({"uri": redact(source)}, ensure_ascii=False),
            profile=json.dumps({"num_rows": num_responses}),
        )
        tags = [InputTag("mlflow.data.context", context)]
        self._client.log_inputs(self._run, [DatasetInput(dataset, tags)])

    def log(self, metrics: Mapping[str, float], step: int, at_ms: int | None = None) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000) if at_ms is None else at_ms
        entities = [Metric(metric_name(key), float(value), now, step) for key, value in metrics.items()]
        for start in range(0, len(entities), 1000):
            self._client.log_batch(self._run, metrics=entities[start : start + 1000])

    def text(self, text: str, name: str) -> None:
        self._client.log_text(self._run, redact(text), name)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self._client.log_artifact(self._run, str(path), folder)

    def image(self, png: bytes, key: str, step: int, at_ms: int | None = None) -> None:
        with Image.open(BytesIO(png)) as image:
            self._client.log_image(self._run, image, key=key, step=step, timestamp=at_ms, synchronous=True)

    def model(self, judge: Path, criteria: Sequence[str], at_ms: int | None = None) -> str | None:
        if not self.log_model:
            return None
        from mlflow.entities import LoggedModelOutput

        call = str(at_ms or int(time.time() * 1000))
        model_id = record_model(self._client, self.experiment_id, self._run, judge, criteria, call=call)
        outputs = self._client.get_run(self._run).outputs
        if model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
            self._client.log_outputs(self._run, [LoggedModelOutput(model_id, step=0)])
        return f"models:/{model_id}"

    def register(self, run_id: str) -> str | None:
        if self.registered_name is None:
            return None
        from mlflow import MlflowClient

        with creation_lock(self.uri):
            return register_champion(MlflowClient(tracking_uri=self.uri), self.registered_name, run_id)

    def location(self) -> str:
        where = f"run {self.run_id} of experiment {self.experiment} in {redact(self.uri)}"
        if self.uri.startswith("http"):
            return f"{redact(self.uri)}/#/experiments/{self.experiment_id}/runs/{self.run_id}"
        return where

    @property
    def _run(self) -> str:
        if self.run_id is None:
            raise RuntimeError("open the run first")
        return self.run_id


def _watch_system(uri: str, run_id: str | None, *, resume: bool) -> Any:
    """Processor, memory, disk, network and, with nvidia-ml-py, the GPU: a thread that samples every 10 s."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, resume_logging=resume, tracking_uri=uri)
    monitor.start()
    return monitor


def _stop_watching(monitor: Any) -> None:
    """With the sample that it holds, so that a run of a few seconds has one, too."""
    from mlflow.exceptions import MlflowException

    monitor.finish()
    try:
        monitor.publish_metrics(monitor.aggregate_metrics())
        monitor.mlflow_logger.flush()
    except MlflowException as error:  # the run itself is whole
        logger.warning("the last system metrics are not recorded: %s", error)


def _user_tags() -> dict[str, str]:
    return {"mlflow.user": os.environ.get("USER", "unknown"), "mlflow.source.name": "src.train"}
