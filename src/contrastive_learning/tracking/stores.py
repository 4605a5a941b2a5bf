"""Whether an MLflow server answers, asked before anything is written."""

import urllib.error
import urllib.request
from http import HTTPStatus
from urllib.parse import urlsplit

from mlflow_stores import redact

SERVER_TIMEOUT_SECONDS = 5
ANY_REQUEST = "api/2.0/mlflow/experiments/get?experiment_id=0"  # /health is answered to any name


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
