"""Checks that an MLflow store takes a run, before anything else is done. Nothing is created or written."""

import json
from contextlib import nullcontext
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from mlflow_stores.addresses import redact, sqlite_path
from mlflow_stores.databases import MLFLOW_TABLES, check_owner, opened, tables_in
from mlflow_stores.experiments import creation_lock, quiet_client_settings

if TYPE_CHECKING:
    from requests import Response
    from sqlalchemy import Connection

SERVER_TIMEOUT_SECONDS = 5
BY_NAME = "/api/2.0/mlflow/experiments/get-by-name?experiment_name="  # /health is answered without login, for any host
BY_ID = "/api/2.0/mlflow/runs/get?run_id="
DELETED = "deleted"
LOGIN = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


class Found(NamedTuple):
    """What a store holds. Stages are those of MLflow: active or deleted."""

    experiment: tuple[str, str] | None  # its id and stage
    run_stage: str | None  # None: there is no such run, or none was asked for


def check_store(uri: str, experiment: str, *, option: str, run_id: str | None = None) -> None:
    """Connect once to the store at `uri`, as MLflow will: server, login, schema, experiment and, if given, the run.

    Raises ValueError with what to do, in one line without credentials. option: what set `uri`.
    """
    quiet_client_settings()
    look = _in_server if uri.startswith("http") else _in_database
    found = look(uri, experiment, option, run_id)
    if found.experiment is not None and found.experiment[1] == DELETED:
        raise ValueError(
            f"the experiment {experiment} was deleted in {redact(uri)}: choose another tracking.experiment, or "
            f"restore it: MLFLOW_TRACKING_URI={redact(uri)} mlflow experiments restore -x {found.experiment[0]}"
        )
    if run_id is not None and found.run_stage is None:
        raise ValueError(
            f"there is no run {run_id} in {redact(uri)}: {option} must be the store that it was recorded in"
        )
    if found.run_stage == DELETED:
        raise ValueError(
            f"the run {run_id} was deleted in {redact(uri)}: start a new run without trainer.resume_from, or restore "
            f"it: MLFLOW_TRACKING_URI={redact(uri)} mlflow runs restore --run-id {run_id}"
        )


def _in_server(uri: str, experiment: str, option: str, run_id: str | None) -> Found:
    there = _answer(uri, "experiment", BY_NAME + quote(experiment, safe=""), experiment, option)
    run = None if run_id is None else _answer(uri, "run", BY_ID + quote(run_id, safe=""), experiment, option)
    return Found(
        None if there is None else (str(there["experiment_id"]), str(there["lifecycle_stage"])),
        None if run is None else str(run["info"]["lifecycle_stage"]),
    )


def _answer(uri: str, what: str, endpoint: str, experiment: str, option: str) -> dict[str, Any] | None:
    """What the server says of an experiment or a run; None if it knows none."""
    response = _ask(uri, endpoint, option)
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
    answer = _parsed(text)
    if status == HTTPStatus.OK and isinstance(answer.get(what), dict):
        found: dict[str, Any] = answer[what]
        return found
    if answer.get("error_code") == "RESOURCE_DOES_NOT_EXIST":
        return None
    if "error_code" in answer:
        raise ValueError(f"{option}: {redact(uri)}: {_first_line(str(answer.get('message')), uri)}")
    raise ValueError(f"{option}: {redact(uri)} is no MLflow server: it answers {status} {_first_line(text, uri)}")


def _ask(uri: str, endpoint: str, option: str) -> "Response":
    """Through MLflow's own client, so with every login that it knows: address, environment, ~/.mlflow/credentials."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        urlsplit(uri).port  # noqa: B018  raises for what is no number
        response: Response = http_request(
            get_default_host_creds(uri),
            endpoint,
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


def _parsed(text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _in_database(uri: str, experiment: str, option: str, run_id: str | None) -> Found:
    """Not while another process makes the tables: a schema half made is that of no MLflow."""
    path = sqlite_path(uri)
    lock = nullcontext() if path is not None and not path.exists() else creation_lock(uri)
    with lock, opened(uri, option) as connection:
        if connection is None or not _has_tables(connection, uri, option):
            return Found(None, None)
        from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlRun
        from sqlalchemy import select

        stages = select(SqlExperiment.experiment_id, SqlExperiment.lifecycle_stage)
        rows = connection.execute(stages.where(SqlExperiment.name == experiment)).all()  # one in each workspace
        there = next((row for row in rows if row.lifecycle_stage != DELETED), rows[0] if rows else None)
        run = select(SqlRun.lifecycle_stage).where(SqlRun.run_uuid == run_id)
        stage = None if run_id is None else connection.execute(run).scalar()
    return Found(None if there is None else (str(there.experiment_id), there.lifecycle_stage), stage)


@cache
def expected_revision() -> str:
    """The schema of the installed MLflow. To find it, all of its migrations are imported."""
    from mlflow.store.db.utils import _get_latest_schema_revision

    revision: str = _get_latest_schema_revision()
    return revision


def check_database(uri: str, option: str) -> bool:
    """Whether the database holds MLflow's tables; False if it holds none. Raises ValueError for any others."""
    with opened(uri, option) as connection:
        return _has_tables(connection, uri, option)


def _has_tables(connection: "Connection | None", uri: str, option: str) -> bool:
    tables = tables_in(connection)
    if not tables:
        return False
    check_owner(uri, option, tables, MLFLOW_TABLES)
    found, expected = tables.get("alembic_version"), expected_revision()
    if found != expected:
        import mlflow

        raise ValueError(
            f"{option}: the database {redact(uri)} has the schema of another MLflow ({found}; {mlflow.__version__} has "
            f"{expected}): use that MLflow, or back it up, then run: mlflow db upgrade {redact(uri)}"
        )
    return True
