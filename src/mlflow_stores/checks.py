"""Checks that an MLflow store takes a run, before anything else is done. Nothing is created or written."""

import json
from contextlib import nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from mlflow_stores.addresses import redact, sqlite_path
from mlflow_stores.databases import MLFLOW_TABLES, check_owner, tables_of
from mlflow_stores.experiments import creation_lock, quiet_client_settings

if TYPE_CHECKING:
    from requests import Response

SERVER_TIMEOUT_SECONDS = 5
BY_NAME = "/api/2.0/mlflow/experiments/get-by-name?experiment_name="  # /health is answered without login, for any host
LOGIN = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


def check_store(uri: str, experiment: str, *, option: str, run_id: str | None = None) -> None:
    """Connect once to the store at `uri`, as MLflow will: server, login, schema, experiment and, if given, the run.

    Raises ValueError with what to do, in one line without credentials. option: what set `uri`.
    """
    quiet_client_settings()
    if uri.startswith("http"):
        _check_server(uri, experiment, option)
    elif not _check_database_at_rest(uri, option):
        if run_id is not None:
            raise ValueError(_no_run(run_id, uri, option))
        return
    _check_active(uri, experiment, option, run_id)


def _check_server(uri: str, experiment: str, option: str) -> None:
    response = _ask(uri, experiment, option)
    server, status, text = f"the MLflow server {redact(uri)}", response.status_code, response.text
    host = urlsplit(uri).netloc.rpartition("@")[2]
    if status == HTTPStatus.UNAUTHORIZED:
        raise ValueError(f"{option}: {server} wants a login, or another one: set {LOGIN}")
    if status == HTTPStatus.FORBIDDEN and "Invalid Host header" in text:
        raise ValueError(f"{option}: {server} refuses this host: start it with --allowed-hosts {host}")
    if status == HTTPStatus.FORBIDDEN:
        raise ValueError(
            f"{option}: {server} refuses this user: ask for the right to the experiment {experiment}, or set {LOGIN}"
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ValueError(
            f"{option}: {server} answers with the error {status}: {_first_line(text, uri)}; "
            "try again later; tracking=none runs without a record"
        )
    if not _is_mlflow_answer(status, text):
        raise ValueError(f"{option}: {redact(uri)} is no MLflow server: it answers {status} {_first_line(text, uri)}")


def _ask(uri: str, experiment: str, option: str) -> "Response":
    """Through MLflow's own client, so with every login that it knows: address, environment, ~/.mlflow/credentials."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        urlsplit(uri).port  # noqa: B018  raises for what is no number
        response: Response = http_request(
            get_default_host_creds(uri),
            f"{BY_NAME}{quote(experiment, safe='')}",
            "GET",
            timeout=SERVER_TIMEOUT_SECONDS,
            max_retries=0,
            raise_on_status=False,
        )
        return response
    except (MlflowException, ValueError) as error:
        raise ValueError(
            f"{option}: cannot reach the MLflow server {redact(uri)}: {_innermost(error, uri)}; "
            "tracking=none runs without a record"
        ) from None


def _innermost(error: BaseException, uri: str) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return _first_line(str(error), uri) or type(error).__name__


def _first_line(text: str, uri: str) -> str:
    lines = text.strip().splitlines()
    return redact(lines[0], uri)[:200] if lines else ""


def _is_mlflow_answer(status: int, text: str) -> bool:
    try:
        answer = json.loads(text)
    except ValueError:
        return False
    return isinstance(answer, dict) and ("experiment" in answer if status == HTTPStatus.OK else "error_code" in answer)


def _check_database_at_rest(uri: str, option: str) -> bool:
    """`check_database`, not while another process makes the tables: a schema half made is that of no MLflow."""
    path = sqlite_path(uri)
    with nullcontext() if path is not None and not path.exists() else creation_lock(uri):
        return check_database(uri, option)


def check_database(uri: str, option: str) -> bool:
    """Whether the database holds MLflow's tables; False if it holds none. Raises ValueError for any others."""
    tables = tables_of(uri, option)
    if not tables:
        return False
    check_owner(uri, option, tables, MLFLOW_TABLES)
    from mlflow.store.db.utils import _get_latest_schema_revision

    found, expected = tables.get("alembic_version"), _get_latest_schema_revision()
    if found != expected:
        import mlflow

        raise ValueError(
            f"{option}: the database {redact(uri)} has the schema of another MLflow ({found}; {mlflow.__version__} has "
            f"{expected}): use that MLflow, or back it up, then run: mlflow db upgrade {redact(uri)}"
        )
    return True


def _check_active(uri: str, experiment: str, option: str, run_id: str | None) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    with creation_lock(uri):
        client = MlflowClient(tracking_uri=uri)
        try:
            found = client.get_experiment_by_name(experiment)
            run = None if run_id is None else _run_if_there(client, run_id)
        except MlflowException as error:
            raise ValueError(f"{option}: {redact(uri)}: {_first_line(error.message, uri)}") from error
    if found is not None and found.lifecycle_stage == "deleted":
        raise ValueError(
            f"the experiment {experiment} was deleted in {redact(uri)}: choose another tracking.experiment, or "
            f"restore it: MLFLOW_TRACKING_URI={redact(uri)} mlflow experiments restore -x {found.experiment_id}"
        )
    if run_id is not None and run is None:
        raise ValueError(_no_run(run_id, uri, option))
    if run is not None and run.info.lifecycle_stage == "deleted":
        raise ValueError(
            f"the run {run_id} was deleted in {redact(uri)}: start a new run without trainer.resume_from, or restore "
            f"it: MLFLOW_TRACKING_URI={redact(uri)} mlflow runs restore --run-id {run_id}"
        )


def _run_if_there(client: Any, run_id: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _no_run(run_id: str, uri: str, option: str) -> str:
    return f"there is no run {run_id} in {redact(uri)}: {option} must be the store that it was recorded in"
