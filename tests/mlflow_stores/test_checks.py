import base64
import json
import socket
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import optuna
import pytest
from mlflow import MlflowClient
from sqlalchemy import Engine, event

from mlflow_stores import check_store
from support.commands import provide_store

NO_SUCH_EXPERIMENT = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"}).encode()


def check(uri, experiment="demo", run_id=None):
    check_store(uri, experiment, option="tracking.uri", run_id=run_id)


@pytest.fixture
def server_that_answers():
    """Starts a server that answers each request with a status and a text, and keeps its headers; returns its host."""
    servers = []

    def start(status, text, headers=None):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if headers is not None:
                    headers.append(self.headers["Authorization"])
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments):
                return

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("userinfo", "login"),
    [("kim:pw@", "kim:pw"), ("kim:pw%20word@", "kim:pw word"), ("kim:p%40ss%2F@", "kim:p@ss/")],
)
def test_the_login_in_the_address_is_used_as_mlflow_uses_it(server_that_answers, userinfo, login):
    headers = []
    check(f"http://{userinfo}{server_that_answers(404, NO_SUCH_EXPERIMENT, headers)}")
    assert set(headers) == {"Basic " + base64.b64encode(login.encode()).decode()}


def test_the_login_in_the_environment_is_used(server_that_answers, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "kim")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    headers = []
    check(f"http://{server_that_answers(404, NO_SUCH_EXPERIMENT, headers)}")
    assert set(headers) == {"Basic " + base64.b64encode(b"kim:secret").decode()}


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (
            401,
            b"not authenticated",
            "wants a login, or another one: set MLFLOW_TRACKING_USERNAME and MLFLOW_",
        ),
        (403, b"Permission denied", "refuses this user: ask for the right to the experiment demo"),
        (403, b"Invalid Host header - possible DNS rebinding", "refuses this host: start it with --allowed-hosts 127"),
        (502, b"Bad Gateway", "answers with the error 502: Bad Gateway; try again later"),
        (404, b"<html>nginx", "is no MLflow server: it answers 404 <html>nginx"),
        (200, b"<html>log in here", "is no MLflow server: it answers 200 <html>log in here"),
    ],
)
def test_what_a_server_refuses_is_one_line_without_the_password(server_that_answers, status, text, message):
    with pytest.raises(ValueError, match=message) as error:
        check(f"http://kim:hidden@{server_that_answers(status, text)}")
    assert "hidden" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://kim:hidden@127.0.0.1:9", r"cannot reach the MLflow server http://\*\*\*@127\.0\.0\.1:9: .*refused"),
        ("http://kim:hid den@127.0.0.1:9", "cannot reach the MLflow server .*refused"),
        ("http://kim:hid%20den@nowhere.invalid", "cannot reach the MLflow server .*(not known|resolution)"),
        ("http://kim:hidden@127.0.0.1:port", "cannot reach the MLflow server .*Port could not be cast"),
        ("http://kim:hidden@[127.0.0.1", "cannot reach the MLflow server .*Invalid IPv6 URL"),
        ("postgresql://kim:hidden@127.0.0.1:9/db", "cannot be opened: .*refused"),
        ("postgresql://kim:hid/den@127.0.0.1:9/db", "cannot be opened: .*refused"),
        ("postgresql://kim:hidden@nowhere.invalid/db", "cannot be opened: .*nowhere"),
        ("postgresql://kim:hidden@127.0.0.1:port/db", "cannot be opened|is not written as"),
        ("postgresql+none://kim:hidden@127.0.0.1/db", "names a kind of database or driver"),
        (
            "mysql+pymysql://kim:hidden@127.0.0.1/db",
            "the driver pymysql, which is not installed: pip install",
        ),
        ("mssql+pyodbc://kim:hidden@127.0.0.1/db", "needs the driver pyodbc, which is not installed"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line_without_the_password(uri, message):
    began = time.monotonic()
    with pytest.raises(ValueError, match=message) as error:
        check(uri)
    assert "hid" not in str(error.value)
    assert "\n" not in str(error.value)
    assert time.monotonic() - began < 30  # MLflow itself tries for 103 s


def test_a_server_that_accepts_and_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(ValueError, match=r"cannot reach the MLflow server .*timed out; tracking=none runs without"):
            check(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - began < 30


def test_a_file_that_is_no_database_is_one_line(tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"response": "this is no database"}\n' * 40)
    with pytest.raises(ValueError, match=r"notes\.jsonl cannot be opened: file is not a database$"):
        check(f"sqlite:///{tmp_path}/notes.jsonl")


def test_a_folder_and_a_path_through_a_file_are_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a folder; name a file in it"):
        check(f"sqlite:///{tmp_path}")
    with pytest.raises(ValueError, match="must point into a folder that can be written"):
        check(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_a_store_that_is_still_to_be_made_is_not_made_by_the_check(tmp_path):
    check(f"sqlite:///{tmp_path}/new/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_the_database_of_another_program_is_refused(tmp_path):
    optuna.create_study(storage=f"sqlite:///{tmp_path}/studies.db")
    with pytest.raises(ValueError, match="holds the tables of another program .*: name a database of its own"):
        check(f"sqlite:///{tmp_path}/studies.db")


def test_the_schema_of_another_mlflow_is_one_line(tmp_path):
    provide_store(tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
    database.close()
    with pytest.raises(ValueError, match=r"the schema of another MLflow \(0123456789ab; .*: mlflow db upgrade sqlite"):
        check(f"sqlite:///{tmp_path}/mlflow.db")


def test_what_was_deleted_is_refused_with_the_way_out(tmp_path):
    provide_store(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("demo", artifact_location=str(tmp_path))
    run = client.create_run(experiment).info.run_id
    check(uri, run_id=run)
    client.delete_run(run)
    with pytest.raises(ValueError, match=f"the run {run} was deleted .*mlflow runs restore --run-id {run}$"):
        check(uri, run_id=run)
    client.delete_experiment(experiment)
    with pytest.raises(ValueError, match=f"experiment demo was deleted .*mlflow experiments restore -x {experiment}$"):
        check(uri)
    check(uri, experiment="other")


def test_a_run_of_another_store_is_one_line(tmp_path):
    message = "there is no run 0123 in .*: tracking.uri must be the store that it was recorded in"
    with pytest.raises(ValueError, match=message):
        check(f"sqlite:///{tmp_path}/mlflow.db", run_id="0123")
    provide_store(tmp_path)
    with pytest.raises(ValueError, match=message):
        check(f"sqlite:///{tmp_path}/mlflow.db", run_id="0123")


def test_a_database_is_opened_once(tmp_path):
    provide_store(tmp_path)
    opened = []

    def count(*connection):
        opened.append(connection)

    event.listen(Engine, "connect", count)
    try:
        with pytest.raises(ValueError, match="there is no run 0123"):
            check(f"sqlite:///{tmp_path}/mlflow.db", run_id="0123")
    finally:
        event.remove(Engine, "connect", count)
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("experiment", "run", "message"),
    [
        ({"experiment_id": "7", "lifecycle_stage": "deleted"}, None, "experiment demo was deleted .* restore -x 7$"),
        (
            {"experiment_id": "7", "lifecycle_stage": "active"},
            {"info": {"lifecycle_stage": "deleted"}},
            "the run 0123 was deleted in http.* mlflow runs restore --run-id 0123$",
        ),
        ({"experiment_id": "7", "lifecycle_stage": "active"}, None, "is no MLflow server: it answers 200 {"),
    ],
)
def test_what_was_deleted_on_a_server_is_refused_with_the_way_out(server_that_answers, experiment, run, message):
    answers = {"experiment": experiment} | ({} if run is None else {"run": run})
    with pytest.raises(ValueError, match=message):
        check(
            f"http://{server_that_answers(200, json.dumps(answers).encode())}",
            run_id=None if "demo" in message else "0123",
        )


def test_a_run_that_a_server_does_not_know_is_one_line(server_that_answers):
    with pytest.raises(ValueError, match="there is no run 0123 in http"):
        check(f"http://{server_that_answers(404, NO_SUCH_EXPERIMENT)}", run_id="0123")


def test_what_a_server_does_not_take_is_told_in_its_words(server_that_answers):
    text = json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": "no such workspace\nat all"}).encode()
    with pytest.raises(ValueError, match=r"^tracking.uri: http://\*\*\*@.*: no such workspace$"):
        check(f"http://kim:hidden@{server_that_answers(400, text)}")
