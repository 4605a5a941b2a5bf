from pathlib import Path

import pytest

from mlflow_stores import absolute, folder_name, redact, sqlite_path


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://me:secret@host:5000", "http://***@host:5000"),
        ("https://token@host/path", "https://***@host/path"),
        ("postgresql://me:secret@host/db", "postgresql://***@host/db"),
        ("postgresql+psycopg2://me:secret@host/db", "postgresql+psycopg2://***@host/db"),
        ("mysql+pymysql://me:s:ec:ret@host/db", "mysql+pymysql://***@host/db"),
        ("mssql+pyodbc://me:secret@host/db", "mssql+pyodbc://***@host/db"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("http://kim:pw word@host:5000", "http://***@host:5000"),
        ("postgresql://kim:pa/ss@host/db", "postgresql://***@host/db"),
        ("mysql+pymysql://kim:p@ss@host/db", "mysql+pymysql://***@host/db"),
        ("redis://:secret@host", "redis://***@host"),
        ("postgresql://host/db?user=kim&password=secret&x=1", "postgresql://host/db?user=kim&password=***&x=1"),
        ("tracking.uri=http\\://a\\:secret@h\\:80", "tracking.uri=http\\://***@h\\:80"),  # as Hydra quotes it
        ("https://host/x?a=1&api_key=secret&auth-token=hidden", "https://host/x?a=1&api_key=***&auth-token=***"),
        ("tracking.uri=http://a:secret@h,http://b:hidden@i", "tracking.uri=http://***@h,http://***@i"),
        ("no answer of http://host:5000 (ask kim@host)", "no answer of http://host:5000 (ask kim@host)"),
        ("cannot reach http://me:secret@a, nor http://you:hidden@b", "cannot reach http://***@a, nor http://***@b"),
        ("write to me@host", "write to me@host"),
    ],
)
def test_credentials_are_left_out_of_every_form_of_address(address, expected):
    assert redact(address) == expected


@pytest.mark.parametrize("text", ["port: 'pw word@host'", "'kim:pw%20word@host'", "login pw word", "pw%20word refused"])
def test_what_a_library_says_about_an_address_loses_its_password_in_every_form(text):
    assert "word" not in redact(text, "http://kim:pw%20word@host:5000")


def test_an_address_from_a_record_which_has_no_login_any_more_is_told_apart():
    with pytest.raises(ValueError, match=r"has no login, since records leave it out: http://\*\*\*@host; write it out"):
        absolute("http://***@host")


def test_a_sqlite_file_gets_an_absolute_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert absolute("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert absolute("sqlite:///~/mlflow.db") == f"sqlite:///{tmp_path}/home/mlflow.db"
    assert absolute("sqlite:////data/mlflow.db") == "sqlite:////data/mlflow.db"


@pytest.mark.parametrize("uri", ["http://host:5000", "https://host/mlflow", "postgresql://me:secret@host/db"])
def test_a_server_or_database_keeps_its_address(uri):
    assert absolute(uri) == uri
    assert absolute(f"{uri}/") == uri


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "ftp://me:secret@host", ""])
def test_an_address_that_mlflow_cannot_use_is_refused_without_its_credentials(uri):
    with pytest.raises(ValueError, match="tracking.uri must start with sqlite:///") as error:
        absolute(uri)
    assert "secret" not in str(error.value)


def test_only_a_sqlite_address_has_a_file():
    assert sqlite_path("sqlite:////data/mlflow.db") == Path("/data/mlflow.db")
    assert sqlite_path("http://host") is None


@pytest.mark.parametrize(
    ("name", "expected"), [("a project/with spaces", "a_project_with_spaces"), ("..", "_"), ("", "_"), ("품질", "품질")]
)
def test_a_folder_name_has_no_separator_and_is_not_hidden(name, expected):
    assert folder_name(name) == expected
