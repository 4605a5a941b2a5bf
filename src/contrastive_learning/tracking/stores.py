"""Checks that an MLflow server answers, before anything is written."""

import urllib.error
import urllib.request
from http import HTTPStatus
from urllib.parse import urlsplit

from mlflow_stores import redact

SERVER_TIMEOUT_SECONDS = 5
ANY_REQUEST = "api/2.0/mlflow/experiments/get?experiment_id=0"  # /health is answered whatever the host name


def check_reachable(uri: str) -> None:
    """Raises ValueError if `uri` is a server that does not answer or refuses the host name; other stores pass."""
    if not uri.startswith("http"):
        return
    try:
        with urllib.request.urlopen(f"{uri}/{ANY_REQUEST}", timeout=SERVER_TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as answer:  # it answers; MLflow reports other refusals itself
        if answer.code == HTTPStatus.FORBIDDEN and b"Invalid Host header" in answer.read():
            host = urlsplit(uri).netloc.rpartition("@")[2]
            raise ValueError(f"the MLflow server refuses this host: start it with --allowed-hosts {host}") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ValueError(
            f"cannot reach the MLflow server {redact(uri)}: {reason}; tracking=none runs without a record"
        ) from error
