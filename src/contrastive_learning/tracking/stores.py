"""Where a record goes: addresses of MLflow stores, checked before anything is written."""

import re
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from contrastive_learning.tracking.provenance import redact

SERVER_TIMEOUT_SECONDS = 5
ANY_REQUEST = "api/2.0/mlflow/experiments/get?experiment_id=0"  # /health is answered to any name


def folder_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def sqlite_path(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def absolute(uri: str) -> str:
    """sqlite:///mlflow.db -> sqlite:////where/it/started/mlflow.db; an absolute path or a server stays as it is."""
    path = sqlite_path(uri)
    if path is not None:
        return f"sqlite:///{path.expanduser().resolve()}"
    if uri.startswith(("http://", "https://", "postgresql", "mysql", "mssql")):
        return uri.rstrip("/")
    raise ValueError(
        f"tracking.uri must start with sqlite:///, http://, https:// or name a database; got {redact(uri)}"
    )


def creation_lock(uri: str) -> FileLock:
    path = sqlite_path(uri) or Path.home() / ".cache" / "contrastive_learning" / "tracking"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"tracking.uri must point into a folder that can be written: {error}") from error
    return FileLock(f"{path}.lock")


def check_reachable(uri: str) -> None:
    if not uri.startswith("http"):
        return
    try:
        with urllib.request.urlopen(f"{uri}/{ANY_REQUEST}", timeout=SERVER_TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as answer:  # it answers; MLflow itself will say what else it refuses
        if answer.code == HTTPStatus.FORBIDDEN and b"Invalid Host header" in answer.read():
            host = urlsplit(uri).netloc.rpartition("@")[2]
            raise ValueError(f"the MLflow server refuses that name: start it with --allowed-hosts {host}") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ValueError(
            f"cannot reach the MLflow server {redact(uri)}: {reason}; tracking=none runs without"
        ) from error
