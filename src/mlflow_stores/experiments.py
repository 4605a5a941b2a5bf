"""The first use of a store, and the experiment whose artifacts must land in one folder whoever creates it."""

import logging
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from mlflow_stores.addresses import folder_name, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient


def quiet_client_settings() -> None:
    """Set MLflow's environment variables, unless the user has, and its loggers. Call this before MLflow is imported."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # training waits for each call, and calls are repeated by us after an outage
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    for chatty in ("alembic", "mlflow.store", "mlflow.pyfunc", "mlflow.system_metrics"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # outages are reported by us


def creation_lock(uri: str) -> FileLock:
    """Held during the first use of a store, which MLflow does not make safe for several processes.

    Raises ValueError if the store's folder cannot be written. All servers share one lock per user, in the cache or, if
    the home folder cannot be written, in the folder for temporary files.
    """
    path = sqlite_path(uri)
    if path is None:
        return FileLock(_user_folder() / "tracking.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"tracking.uri must point into a folder that can be written: {error}") from error
    return FileLock(f"{path}.lock")


def _user_folder() -> Path:
    cache = Path.home() / ".cache" / "contrastive_learning"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # the latter: the user has no home folder at all
        writable = False
    else:
        writable = os.access(cache, os.W_OK)
    if writable:
        return cache
    temporary = Path(tempfile.gettempdir()) / f"contrastive_learning-{os.getuid()}"
    temporary.mkdir(mode=0o700, exist_ok=True)
    return temporary


def experiment_id(client: "MlflowClient", uri: str, name: str) -> str:
    """The experiment called `name`, created if there is none. Needs `creation_lock(uri)`."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    path = sqlite_path(uri)
    # absolute and explicit: MLflow's default depends on the folder that the first run was started from
    location = None if path is None else (path.parent / "mlartifacts" / folder_name(name)).as_uri()
    return str(client.create_experiment(name, artifact_location=location))


def metric_name(key: str) -> str:
    """`key` with only what MLflow takes in names of metrics and parameters: letters, digits and _-. :/"""
    return re.sub(r"[^\w\-. :/]", "_", key)
