"""One run in MLflow, written to directly: a call raises if the store does not take it."""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from contrastive_learning.runtime.interrupts import HeldSignals
from contrastive_learning.tracking.champion import register_champion
from contrastive_learning.tracking.models import record_model
from mlflow_stores import metric_name, redact, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)
MAX_DIGEST_LENGTH = 36  # MLflow's limit
MAX_PARAM_LENGTH = 6000  # MLflow's limit; the whole config is an artifact as well
MAX_PARAMS_PER_CALL = 100  # MLflow's limit
MAX_METRICS_PER_CALL = 1000  # MLflow's limit


class MlflowRun:
    """Uses MlflowClient: `mlflow.start_run()` would leave a run that SIGTERM killed in status RUNNING.

    `at_ms`, milliseconds since 1970, is when a call was made; a call that waited in an outbox comes later.
    """

    def __init__(
        self,
        run_id: str,
        client: "MlflowClient",
        *,
        uri: str,
        experiment: str,
        experiment_id: str,
        log_model: bool,
        registered_name: str | None,
        champion_if: str,
    ) -> None:
        self.run_id = run_id
        self._client = client
        self._uri = uri
        self._experiment, self._experiment_id = experiment, experiment_id
        self._log_model, self._registered_name, self._champion_if = log_model, registered_name, champion_if
        self._monitor: Any = None

    def watch_system(self, *, resume: bool) -> None:
        """Record processor, memory, disk, network and, with nvidia-ml-py, the GPU every 10 s, in a thread."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(self.run_id, resume_logging=resume, tracking_uri=self._uri)
        self._monitor.start()

    def end(self, status: str, reason: str | None, at_ms: int) -> None:
        if self._monitor is not None:
            _stop_watching(self._monitor)
            self._monitor = None
        if reason is not None:
            self._client.set_tag(self.run_id, "error", reason)
        self._client.set_terminated(self.run_id, status, at_ms)

    def is_outage(self, error: Exception) -> bool:
        """Whether the store is away or overloaded, so that the same call may succeed later."""
        causes = (error, error.__cause__, error.__context__)
        if any(isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError) for cause in causes):
            return True
        return getattr(error, "error_code", None) in ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")

    def uninterrupted(self) -> AbstractContextManager[object]:
        """Holds signals during a call to SQLite: Ctrl-C inside a transaction can leave the file locked.

        Not during a call to a server, which may take too long to answer.
        """
        return nullcontext() if sqlite_path(self._uri) is None else HeldSignals()

    def params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        entities = [
            Param(metric_name(key), redact("null" if value is None else str(value))[:MAX_PARAM_LENGTH])
            for key, value in params.items()
        ]
        for start in range(0, len(entities), MAX_PARAMS_PER_CALL):
            self._client.log_batch(self.run_id, params=entities[start : start + MAX_PARAMS_PER_CALL])

    def data(self, name: str, context: str, *, fingerprint: str, source: str, num_responses: int) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            f"{name} ({num_responses} responses)",  # MLflow keeps one dataset per name and digest
            fingerprint[:MAX_DIGEST_LENGTH],
            source_type="local",
            source=json.dumps({"uri": redact(source)}, ensure_ascii=False),
            profile=json.dumps({"num_rows": num_responses}),
        )
        tags = [InputTag("mlflow.data.context", context)]
        self._client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])

    def log(self, metrics: Mapping[str, float], step: int, at_ms: int) -> None:
        from mlflow.entities import Metric

        entities = [Metric(metric_name(key), float(value), at_ms, step) for key, value in metrics.items()]
        for start in range(0, len(entities), MAX_METRICS_PER_CALL):
            self._client.log_batch(self.run_id, metrics=entities[start : start + MAX_METRICS_PER_CALL])

    def tags(self, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            self._client.set_tag(self.run_id, name, value)

    def text(self, text: str, name: str) -> None:
        self._client.log_text(self.run_id, redact(text), name)

    def artifact(self, path: Path, folder: str | None) -> None:
        self._client.log_artifact(self.run_id, str(path), folder)

    def image(self, png: bytes, key: str, step: int, at_ms: int) -> None:
        with Image.open(BytesIO(png)) as image:
            self._client.log_image(self.run_id, image, key=key, step=step, timestamp=at_ms, synchronous=True)

    def model(self, judge: Path, criteria: Sequence[str], at_ms: int) -> str | None:
        if not self._log_model:
            return None
        from mlflow.entities import LoggedModelOutput

        model_id = record_model(self._client, self._experiment_id, self.run_id, judge, criteria, call=str(at_ms))
        outputs = self._client.get_run(self.run_id).outputs
        if model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
            self._client.log_outputs(self.run_id, [LoggedModelOutput(model_id, step=0)])
        return f"models:/{model_id}"

    def register(self) -> str | None:
        if self._registered_name is None:
            return None
        return register_champion(self._client, self._registered_name, self.run_id, self._champion_if)

    def location(self) -> str:
        uri = redact(self._uri)
        if self._uri.startswith("http"):
            return f"{uri}/#/experiments/{self._experiment_id}/runs/{self.run_id}"
        return f"run {self.run_id} of experiment {self._experiment} in {uri}"


def _stop_watching(monitor: Any) -> None:
    """Stop with the sample taken last, so that a run of a few seconds has one, too."""
    from mlflow.exceptions import MlflowException

    monitor.finish()
    try:
        monitor.publish_metrics(monitor.aggregate_metrics())
        monitor.mlflow_logger.flush()
    except MlflowException as error:  # the run itself is whole
        logger.warning("the last system metrics are not recorded: %s", error)
